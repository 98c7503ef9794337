//! `labwright agent`: the host side, started over SSH by the tool itself.

use std::io;

use crate::error::{CliError, Exit};
use crate::lab::PROVIDERS;
use crate::terminal::Terminal;

/// The host side of a run, on standard input and output. Started by labwright itself.
#[derive(clap::Args)]
#[command(hide = true)]
pub struct Agent {
    /// Put back the secrets that a reboot took from memory, and end. Started at boot.
    #[arg(long)]
    unseal: bool,
}

impl Agent {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        if self.unseal {
            let restored = labwright_engine::agent::unseal(PROVIDERS).map_err(|error| {
                CliError::new(Exit::Partly, format!("failed to unseal the secrets of this host: {}", error.message))
                    .hint(error.help)
            })?;
            terminal.say(&format!("{restored} of this host's secrets are in memory again"));
            return Ok(Exit::Done);
        }
        let served =
            labwright_engine::agent::serve(io::stdin(), io::BufWriter::with_capacity(1 << 16, io::stdout()), PROVIDERS);
        served.map_err(|error| {
            CliError::new(Exit::Internal, format!("the other end of the link is not a labwright: {error}"))
        })?;
        Ok(Exit::Done)
    }
}
