//! `labwright secret remove`: takes a value out of the store.

use super::Common;
use crate::error::{CliError, Exit};
use crate::terminal::Terminal;

/// Takes a secret out of the store. Refused while the lab refers to it.
#[derive(clap::Args)]
pub struct Remove {
    /// The secret's name.
    name: String,
    #[command(flatten)]
    common: Common,
}

impl Remove {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = self.common.parsed()?;
        if let Some(used) = parsed.secrets.iter().find(|secret| secret.value == self.name) {
            let place = parsed.place(used.span).map(|place| format!("{}:{}", place.file, place.line));
            let error = CliError::usage(format!("`{}` is used: {}", self.name, place.unwrap_or_default()));
            return Err(error.hint("take the reference out first; nothing was changed"));
        }
        let mut keeper = self.common.keeper_of(&parsed, std::slice::from_ref(&self.name), terminal)?;
        keeper.remove(&self.name)?;
        keeper.save()?;
        terminal.say(&format!("`{}` is out of {}; {}", self.name, keeper.shown(), keeper.stays()));
        Ok(Exit::Done)
    }
}
