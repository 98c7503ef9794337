//! `labwright completions`: what a shell completes.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::error::{CliError, Exit};
use crate::terminal::Terminal;

/// Prints completions for a shell.
#[derive(clap::Args)]
pub struct Completions {
    shell: Shell,
}

impl Completions {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Cli::command(), "labwright", &mut script);
        terminal.data(&String::from_utf8_lossy(&script));
        Ok(Exit::Done)
    }
}
