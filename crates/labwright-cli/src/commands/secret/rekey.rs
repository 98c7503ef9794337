//! `labwright secret rekey`: who can open the store, made what the lab file says.

use labwright_secrets::store::Rekey;

use super::{Common, init, shown};
use crate::error::{CliError, Exit};
use crate::secrets;
use crate::terminal::Terminal;

/// Encrypts the store to exactly the `admins`, the `recovery` key and the recipients of `.sops.yaml`.
///
/// Whoever is taken out cannot open what comes after; what they could read before, they may have kept: rotate it.
#[derive(clap::Args)]
pub struct RekeyCommand {
    #[command(flatten)]
    common: Common,
    /// Also make a new key for all values, as after somebody left.
    #[arg(long)]
    fresh: bool,
}

impl RekeyCommand {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = self.common.parsed()?;
        let mut kept = self.common.hold(&parsed, terminal)?;
        let recipients = init::recipients(&parsed, init::rule(&kept.path)?.as_ref());
        if recipients.is_empty() {
            let error = CliError::usage("the lab names nobody who may open the store");
            return Err(error.hint("name them: `platform: { secrets: { admins: { NAME: age1… } } }`"));
        }
        let identities = secrets::identities(&self.common.identity).map_err(secrets::error)?;
        let own = identities.recipients();
        if !recipients.iter().any(|recipient| own.contains(recipient)) {
            terminal.warn("none of the keys at hand will open the store after this");
        }
        let before = kept.opened.document().recipients();
        let rekey = if self.fresh { Rekey::Fresh } else { Rekey::WhenNeeded };
        kept.opened.rekey(&recipients, rekey).map_err(secrets::error)?;
        kept.save()?;
        let gone = before.iter().filter(|recipient| !recipients.contains(recipient)).count();
        terminal.say(&format!("{} can be opened by:", shown(&kept.path)));
        recipients.iter().for_each(|recipient| terminal.say(&format!("  {recipient}")));
        if gone > 0 {
            terminal.hint("what the others could read they may have kept: `labwright secret rotate NAME…`");
        }
        Ok(Exit::Done)
    }
}
