//! `labwright secret get`: one value, to standard output, because somebody asked for exactly that.

use super::Common;
use crate::error::{CliError, Exit};
use crate::terminal::Terminal;

/// Prints a secret, and nothing else, on standard output.
#[derive(clap::Args)]
pub struct Get {
    /// The secret's name.
    name: String,
    #[command(flatten)]
    common: Common,
    /// Print no line break after it.
    #[arg(long, short = 'n')]
    no_newline: bool,
}

impl Get {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = self.common.parsed()?;
        let value = self.common.value(&parsed, &self.name, terminal)?;
        terminal.data(value.expose());
        if !self.no_newline && !value.expose().ends_with('\n') {
            terminal.data("\n");
        }
        Ok(Exit::Done)
    }
}
