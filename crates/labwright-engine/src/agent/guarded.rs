//! A step that may cut the way in: armed, made, confirmed by a fresh connection or taken back.
//! How it is undone is the guard's; what it is, its provider's.

use std::time::Duration;

use labwright_plan::{Consequence, Doors, ProviderError, Seen, Session, Step, Wanted, WayBack};

use super::applying::Hands;
use super::guard::{self, Change};
use super::state_error;
use crate::protocol::{Reply, Verdict};

impl Hands<'_> {
    /// Makes one step, guarded where it may cut the way in.
    pub fn make_one(&self, session: &dyn Session, step: &Step) -> Result<(), ProviderError> {
        if step.consequence < Consequence::CutsManagement {
            return session.apply(step, self);
        }
        match session.way_back(step)? {
            None => session.apply(step, self),
            // This process is the way in, and no step takes that away: only a failure is undone.
            Some(way_back) if self.agent.via.is_none() => {
                let before = look(session, step);
                session.apply(step, self).map_err(|error| {
                    if unchanged(session, step, &before, &way_back) {
                        return error;
                    }
                    let faults = guard::undo(&way_back);
                    let because = error.message.clone();
                    let verdict = match faults.is_empty() {
                        true => Verdict::Reverted { because },
                        false => {
                            Verdict::Stuck { because: format!("{because}; and on the way back: {}", faults.join("; ")) }
                        }
                    };
                    taken_back(session, step, &before, verdict, &error.help)
                })
            }
            Some(way_back) => self.guarded(session, step, way_back),
        }
    }

    fn guarded(&self, session: &dyn Session, step: &Step, way_back: WayBack) -> Result<(), ProviderError> {
        // One window at a time: what is confirmed must be this change and no other.
        let _one = self.window.lock();
        let state = &self.agent.state;
        let failed = |error: std::io::Error| state_error(state, &error);
        let before = look(session, step);
        let ahead = session.doors_ahead(step)?;
        let change = Change {
            lab: &self.work.lab,
            run: &self.work.run,
            id: &step.id,
            within: Duration::from_secs(self.work.confirm_within),
            way_back: way_back.clone(),
        };
        let memory = super::secrets::folder(&self.agent.facts);
        let armed = guard::arm(state, &self.agent.facts, &memory, change).map_err(|error| {
            ProviderError::rejected(format!("the way back could not be prepared, so nothing was touched: {error}"))
        })?;
        let wait_for = |doors: Doors, ahead: bool| {
            self.agent.send(Reply::Confirm {
                id: step.id.clone(),
                ticket: armed.ticket.clone(),
                doors,
                ahead,
                through: self.agent.port(),
                within: self.work.confirm_within,
            });
        };
        let told = ahead.is_some();
        if let Some(doors) = ahead {
            wait_for(doors, true);
        }
        let made = session.apply(step, self).and_then(|()| session.doors(step));
        let doors = match made {
            Ok(doors) => doors,
            Err(error) if unchanged(session, step, &before, &way_back) => {
                guard::forget(state, &armed.ticket).map_err(failed)?;
                return Err(error);
            }
            // What is known to have failed goes back at once.
            Err(error) => {
                let verdict = guard::revert(state, &armed.ticket, &error.message);
                return Err(taken_back(session, step, &before, verdict, &error.help));
            }
        };
        armed.made(state).map_err(failed)?;
        if !told {
            wait_for(doors, false);
        }
        match self.agent.wait(armed) {
            Verdict::Confirmed | Verdict::Superseded => Ok(()),
            verdict => Err(taken_back(session, step, &before, verdict, "")),
        }
    }
}

fn look(session: &dyn Session, step: &Step) -> Option<Seen> {
    session.observe(&[Wanted { id: &step.id, spec: &step.spec }]).remove(&step.id)
}

/// Whether a failed step left everything as it was.
fn unchanged(session: &dyn Session, step: &Step, before: &Option<Seen>, way_back: &WayBack) -> bool {
    !guard::differs(way_back) && look(session, step) == *before
}

/// How a step ended that did not stay: reverted only where it was seen that it is as before.
fn taken_back(
    session: &dyn Session,
    step: &Step,
    before: &Option<Seen>,
    verdict: Verdict,
    help: &str,
) -> ProviderError {
    let help = match help {
        "" => "nothing is left pending: correct it, and apply again",
        help => help,
    };
    match verdict {
        Verdict::Reverted { because } if look(session, step) == *before => {
            ProviderError::reverted(format!("{because}; what was there before is back")).help(help)
        }
        Verdict::Reverted { because } => ProviderError::rejected(format!(
            "{because}; its files are back as they were, and yet `{}` is not as it was before",
            step.id
        ))
        .help("look at it on the host's console, or plan again"),
        Verdict::Stuck { because } => ProviderError::rejected(because)
            .help("the host tries again at its next start; its console shows what is in the way"),
        Verdict::Confirmed | Verdict::Superseded | Verdict::Pending | Verdict::Unknown => {
            ProviderError::bug(format!("what became of `{}` was not written down", step.id))
        }
    }
}
