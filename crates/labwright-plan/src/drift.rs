//! Drift: reality against the last apply, told apart from edits of the lab file that are not applied yet.
//! Compares marks with what was seen; the lab file is asked only whether a thing is still declared.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::observation::{Observation, Sight};
use crate::plan::{Change, is_private};
use crate::planner::{differences, without_content};
use crate::provider::{Provider, Seen, kind_of};
use crate::resource::{Resource, ResourceId};
use crate::value::Value;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Drift {
    pub drifted: Vec<Drifted>,
    /// As the last apply left it.
    pub steady: usize,
    /// Could not be looked at.
    pub unknown: Vec<(ResourceId, String)>,
    pub away: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drifted {
    pub id: ResourceId,
    pub what: What,
    /// From what the last apply made, to what is there.
    pub changes: Vec<Change>,
    /// Whether the lab file still declares it.
    pub declared: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    Changed,
    Removed,
    /// A run was killed in the middle of it.
    Unfinished,
}

pub fn drift(observed: &Observation, desired: &[Resource], providers: &[&'static dyn Provider]) -> Drift {
    let desired: BTreeMap<&ResourceId, &Resource> = desired.iter().map(|resource| (&resource.id, resource)).collect();
    let mut drift = Drift::default();
    for (host, sight) in &observed.hosts {
        let seen = match sight {
            Sight::Away(error) => {
                drift.away.push((host.clone(), error.message.clone()));
                continue;
            }
            Sight::Reached(seen) => seen,
        };
        for (id, mark) in &seen.marks {
            let declared = desired.contains_key(id);
            let mut push = |what, changes| drift.drifted.push(Drifted { id: id.clone(), what, changes, declared });
            match seen.seen.get(id) {
                _ if mark.in_flight => push(What::Unfinished, Vec::new()),
                Some(Seen::Absent) => push(What::Removed, Vec::new()),
                Some(Seen::Unknown(error)) => drift.unknown.push((id.clone(), error.message.clone())),
                None => drift.unknown.push((id.clone(), "it was not looked at".into())),
                Some(Seen::Present(observed)) => {
                    let Some(kind) = kind_of(providers, id) else {
                        drift.unknown.push((id.clone(), "this version does not know its kind".into()));
                        continue;
                    };
                    let mut changes = differences(kind, &mark.applied, &observed.spec);
                    changes.retain(|change| seen.changed_by_hand(id, &change.field, &change.before));
                    // `differences` goes from what is there to what is wanted; drift went the other way.
                    let hidden = is_private(&mark.applied) || is_private(&observed.spec);
                    let turned = |change: Change| {
                        let before = known_content(desired.get(id).copied(), &change);
                        let change = Change { before, after: change.before, field: change.field };
                        if hidden { without_content(change) } else { change }
                    };
                    match changes.is_empty() {
                        true => drift.steady += 1,
                        false => push(What::Changed, changes.into_iter().map(turned).collect()),
                    }
                }
            }
        }
    }
    drift
}

/// What was applied: the mark holds only its digest, but while the lab file still says the same, the content is known.
fn known_content(resource: Option<&Resource>, change: &Change) -> Value {
    let declared = resource.and_then(|resource| resource.spec.get(&change.field));
    declared.filter(|declared| declared.same(&change.after)).unwrap_or(&change.after).clone()
}
