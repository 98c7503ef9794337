//! `labwright supervise`: the processes behind `labwright up`, started by it.

use std::path::PathBuf;

use labwright_daemons::up::{Folder, guard, supervise};

use crate::error::{CliError, Exit};
use crate::terminal::Terminal;

/// Runs what `labwright up` hands over on standard input. Started by it, not by hand.
#[derive(clap::Args)]
#[command(hide = true)]
pub struct Supervise {
    /// The folder of the lab on this machine.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// Be the process above the supervisor.
    #[arg(long)]
    guard: bool,
}

impl Supervise {
    pub fn run(self, _: &Terminal) -> Result<Exit, CliError> {
        let folder = Folder::at(&self.folder);
        let ended = match self.guard {
            true => {
                let arguments = ["supervise", "--folder", &self.folder.to_string_lossy()].map(str::to_string);
                guard(&folder, &arguments)
            }
            false => supervise(&folder),
        };
        ended.map_err(|error| CliError::new(Exit::Internal, error.message).hint(error.help))?;
        Ok(Exit::Done)
    }
}
