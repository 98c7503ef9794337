//! One server's things, seen and changed from its host: hands each resource to its kind.

use std::collections::BTreeMap;

use labwright_plan::{Action, Context, Observed, Progress, ProviderError, ResourceId, Seen, Session, Step, Wanted};

use super::{policy, seal, token, transit_key};

/// What was found of one resource: `None` where it is not there, an error where nobody can say.
pub type Look = Result<Option<Observed>, ProviderError>;

/// What the engine said of this host.
pub struct Here {
    pub context: Context,
}

impl Session for Here {
    fn observe(&self, wanted: &[Wanted<'_>]) -> BTreeMap<ResourceId, Seen> {
        let look = |wanted: &Wanted<'_>| match wanted.id.kind() {
            "transit_key" => transit_key::observe(self, wanted),
            "policy" => policy::observe(self, wanted),
            "token" => token::observe(self, wanted),
            "seal" => seal::observe(self, wanted),
            kind => Err(ProviderError::bug(format!("the vault provider has no kind `{kind}`"))),
        };
        wanted.iter().map(|wanted| (wanted.id.clone(), Seen::from(look(wanted)))).collect()
    }

    fn apply(&self, step: &Step, progress: &dyn Progress) -> Result<(), ProviderError> {
        if matches!(step.action, Action::Adopt | Action::Release) {
            return Ok(());
        }
        match step.id.kind() {
            "transit_key" => transit_key::apply(self, step),
            "policy" => policy::apply(self, step),
            "token" => token::apply(self, step),
            "seal" => seal::apply(self, step, progress),
            kind => Err(ProviderError::bug(format!("the vault provider has no kind `{kind}`"))),
        }
    }

    fn persist(&self) -> Result<(), ProviderError> {
        Ok(())
    }
}
