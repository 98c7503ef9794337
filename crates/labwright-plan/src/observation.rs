//! What was seen of the world, as plain data. Partial sight is normal.
//! Collected by the engine; nothing here looks.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::ProviderError;
use crate::provider::{Facts, Seen};
use crate::resource::ResourceId;
use crate::value::{Spec, Value};

/// Everything that was seen, host by host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    pub hosts: BTreeMap<String, Sight>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sight {
    Reached(Box<HostSeen>),
    /// Not reached; the host's things are unknown, not absent.
    Away(ProviderError),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostSeen {
    pub facts: Facts,
    /// What this lab owns there.
    pub marks: BTreeMap<ResourceId, Mark>,
    /// What is there, for every declared and every marked resource.
    pub seen: BTreeMap<ResourceId, Seen>,
    /// How things read by what was applied to them last, where they are wanted otherwise now and read otherwise by that than
    /// they were made: whether an interface is written down as wanted says nothing of who changed what.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub as_applied: BTreeMap<ResourceId, Spec>,
    /// Marks that still have a name that the host had before, by the name that they are told by here. The next run there
    /// writes them down anew.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub renamed: BTreeMap<ResourceId, ResourceId>,
    /// An earlier run that never ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<Interrupted>,
    /// Changes that nobody has confirmed yet, of any lab.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<Pending>,
}

impl HostSeen {
    /// Whether a field of a marked thing is no longer what the last apply made it. `now`: as it reads by what is wanted.
    pub fn changed_by_hand(&self, id: &ResourceId, field: &str, now: &Value) -> bool {
        let applied = self.marks.get(id).and_then(|mark| mark.applied.get(field));
        let now = self.as_applied.get(id).map_or(now, |spec| spec.get(field).unwrap_or(&Value::Null));
        applied.is_some_and(|applied| !applied.same(now))
    }
}

/// A change that may have cut the way in, and that goes back by itself unless it is confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// What its revert is called on the host.
    pub ticket: String,
    pub id: ResourceId,
    /// `user@machine` of whoever made it.
    pub by: String,
    /// Seconds until it goes back; below 0 it is overdue.
    pub left: i64,
    /// Whether the run that made it still waits for its confirmation.
    pub awaited: bool,
}

/// The sign that a thing is the lab's: kept on the thing's own host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    pub origin: Origin,
    /// What it was last made to be; content as digests.
    pub applied: Spec,
    /// What it was made after, so that it is removed before.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub after: BTreeSet<ResourceId>,
    /// A step was begun and its result was never written: the outcome is unknown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_flight: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Labwright made it: it may remove it.
    Created,
    /// It was there before: letting go of it leaves it in place.
    Adopted,
}

/// A run that was killed on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupted {
    pub run: String,
    pub by: String,
    pub done: usize,
    /// Begun, with unknown outcome.
    pub unknown: Vec<ResourceId>,
    pub not_started: usize,
}

impl Observation {
    pub fn reached(&self, host: &str) -> Option<&HostSeen> {
        match self.hosts.get(host)? {
            Sight::Reached(seen) => Some(seen),
            Sight::Away(_) => None,
        }
    }

    pub fn mark(&self, id: &ResourceId) -> Option<&Mark> {
        self.reached(id.host())?.marks.get(id)
    }

    pub fn seen(&self, id: &ResourceId) -> Option<&Seen> {
        self.reached(id.host())?.seen.get(id)
    }
}
