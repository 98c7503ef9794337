//! One host's firewall, seen and changed from that host.

use std::collections::BTreeMap;

use labwright_plan::{Action, Context, Progress, ProviderError, ResourceId, Seen, Session, Step, Wanted, WayBack};

use super::ruleset;

/// What the engine said of this host.
pub struct Here {
    pub context: Context,
}

impl Session for Here {
    fn observe(&self, wanted: &[Wanted<'_>]) -> BTreeMap<ResourceId, Seen> {
        wanted.iter().map(|wanted| (wanted.id.clone(), Seen::from(ruleset::observe(self)))).collect()
    }

    fn apply(&self, step: &Step, progress: &dyn Progress) -> Result<(), ProviderError> {
        match step.action {
            Action::Adopt | Action::Release => Ok(()),
            Action::Delete => ruleset::remove(self),
            _ => ruleset::apply(self, step, progress),
        }
    }

    fn way_back(&self, step: &Step) -> Result<Option<WayBack>, ProviderError> {
        match step.action {
            Action::Adopt | Action::Release => Ok(None),
            _ => ruleset::way_back(self).map(Some),
        }
    }

    fn persist(&self) -> Result<(), ProviderError> {
        ruleset::persist()
    }
}
