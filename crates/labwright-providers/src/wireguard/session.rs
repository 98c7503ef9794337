//! One host's interfaces, seen and changed from that host, and made again after a reboot.

use std::collections::BTreeMap;

use labwright_plan::{Action, Context, Progress, ProviderError, ResourceId, Seen, Session, Step, Wanted, WayBack};

use super::interface;
use crate::host::secret_boot;
use crate::host::touched::Touched;

/// What the engine said of this host.
pub struct Here {
    pub context: Context,
    touched: Touched,
}

impl Here {
    pub fn new(context: &Context) -> Here {
        Here { context: context.clone(), touched: Touched::default() }
    }
}

impl Session for Here {
    fn observe(&self, wanted: &[Wanted<'_>]) -> BTreeMap<ResourceId, Seen> {
        wanted.iter().map(|wanted| (wanted.id.clone(), Seen::from(interface::observe(self, wanted)))).collect()
    }

    fn apply(&self, step: &Step, progress: &dyn Progress) -> Result<(), ProviderError> {
        match step.action {
            Action::Adopt | Action::Release => Ok(()),
            Action::Delete => {
                interface::remove(self, step.id.name())?;
                secret_boot::tidy_without(&self.context, &step.id)
            }
            _ => {
                interface::bring(self, &step.id, &step.spec)?;
                if !self.context.facts.systemd {
                    progress
                        .say(&step.id, "no systemd runs there, so nothing makes the interface again after a reboot");
                }
                secret_boot::see_to(&self.context, &self.touched)
            }
        }
    }

    fn way_back(&self, step: &Step) -> Result<Option<WayBack>, ProviderError> {
        match step.action {
            Action::Adopt | Action::Release => Ok(None),
            _ => interface::way_back(self, step.id.name()).map(Some),
        }
    }

    fn restore(&self) -> Result<usize, ProviderError> {
        let ours = self.context.applied.iter().filter(|(id, spec)| id.provider() == "wireguard" && !spec.is_empty());
        ours.map(|(id, spec)| interface::bring(self, id, spec).map(|()| 1)).sum()
    }

    fn persist(&self) -> Result<(), ProviderError> {
        self.touched.sync().map_err(|(folder, error)| {
            ProviderError::rejected(format!("cannot make `{}` durable: {error}", folder.display()))
        })
    }
}
