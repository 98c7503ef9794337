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
        let seen = || match ruleset::observe(self) {
            Ok(Some(observed)) => Seen::Present(observed),
            Ok(None) => Seen::Absent,
            Err(error) => Seen::Unknown(error),
        };
        wanted.iter().map(|wanted| (wanted.id.clone(), seen())).collect()
    }

    fn apply(&self, step: &Step, progress: &dyn Progress) -> Result<(), ProviderError> {
        match step.action {
            Action::Adopt | Action::Release => Ok(()),
            Action::Delete => ruleset::remove(self),
            _ => ruleset::apply(self, step, progress),
        }
    }

    fn batches(&self, _kind: &str) -> bool {
        false
    }

    fn apply_batch(&self, steps: &[&Step], progress: &dyn Progress) -> Vec<Result<(), ProviderError>> {
        steps.iter().map(|step| self.apply(step, progress)).collect()
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
