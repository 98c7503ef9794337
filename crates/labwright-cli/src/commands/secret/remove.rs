//! `labwright secret remove`: takes a value out of the store.

use labwright_model::store::{MADE, PUBLIC};

use super::{Common, flat, public_name, shown};
use crate::error::{CliError, Exit};
use crate::secrets;
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
        let mut kept = self.common.hold(&parsed, terminal)?;
        kept.opened.remove(&self.name).map_err(secrets::error)?;
        for name in [
            format!("{MADE}.{}", flat(&self.name)),
            format!("{PUBLIC}.{}", public_name(&self.name, "public")),
            format!("{PUBLIC}.{}", public_name(&self.name, "chain")),
        ] {
            // What goes with it is there only for some.
            drop(kept.opened.remove(&name));
        }
        kept.save()?;
        terminal.say(&format!(
            "`{}` is out of {}; earlier revisions of the file still hold it",
            self.name,
            shown(&kept.path)
        ));
        Ok(Exit::Done)
    }
}
