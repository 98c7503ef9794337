//! `labwright agent`: the host side, started over SSH by the tool itself.

use std::io;

use crate::error::{CliError, Exit};
use crate::lab::PROVIDERS;

/// The host side of a run, on standard input and output. Started by labwright itself.
#[derive(clap::Args)]
#[command(hide = true)]
pub struct Agent {}

impl Agent {
    pub fn run(self) -> Result<Exit, CliError> {
        let served =
            labwright_engine::agent::serve(io::stdin(), io::BufWriter::with_capacity(1 << 16, io::stdout()), PROVIDERS);
        served.map_err(|error| {
            CliError::new(Exit::Internal, format!("the other end of the link is not a labwright: {error}"))
        })?;
        Ok(Exit::Done)
    }
}
