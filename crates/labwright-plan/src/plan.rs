//! A plan: what will be done, step by step, and why the rest is left alone.
//! Immutable and versioned; it leaves execution no choice.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::resource::{Fingerprint, ResourceId};
use crate::value::{Spec, Value};

/// The version of the stored form.
pub const PLAN_VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub version: u32,
    /// Derived from everything else: equal plans have equal ids.
    pub id: String,
    pub lab: String,
    /// BLAKE3 over the lab's files as they were planned from.
    pub lab_hash: String,
    /// In an order that respects `needs`.
    pub steps: Vec<Step>,
    pub report: Report,
}

/// One change of one resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub id: ResourceId,
    pub action: Action,
    pub consequence: Consequence,
    /// Why, in words: "not there", "content differs".
    pub because: String,
    /// What it will be. Empty for a delete.
    pub spec: Spec,
    /// The fields that change, as they are and as they will be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// Steps of this plan that come first.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub needs: BTreeSet<ResourceId>,
    /// What the resource comes after, in this plan or not; kept in its mark.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub after: BTreeSet<ResourceId>,
    pub expect: Expect,
}

/// What must still be true of the resource when its step runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// Exactly what was seen when the plan was made.
    Fingerprint(Fingerprint),
    /// As it was seen until the plan runs; then these steps may make or change it.
    AfterStep { steps: ResourceId, seen: Fingerprint },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub field: String,
    pub before: Value,
    pub after: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Create,
    Update,
    Replace,
    Delete,
    /// It is there and is as declared: it becomes the lab's, and nothing else happens to it.
    Adopt,
    /// It is no longer declared and was there before the lab: it stays, and is the lab's no more.
    Release,
}

impl Action {
    pub fn word(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Update => "update",
            Action::Replace => "replace",
            Action::Delete => "delete",
            Action::Adopt => "adopt",
            Action::Release => "release",
        }
    }
}

/// What a step costs, from nothing to the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consequence {
    #[default]
    None,
    /// Taken up while running.
    Hot,
    /// Something restarts.
    Restart,
    Reboot,
    Downtime,
    /// The way in may be lost.
    CutsManagement,
    DestroysData,
}

impl Consequence {
    pub const ALL: [Consequence; 7] = [
        Consequence::None,
        Consequence::Hot,
        Consequence::Restart,
        Consequence::Reboot,
        Consequence::Downtime,
        Consequence::CutsManagement,
        Consequence::DestroysData,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Consequence::None => "none",
            Consequence::Hot => "hot",
            Consequence::Restart => "restart",
            Consequence::Reboot => "reboot",
            Consequence::Downtime => "downtime",
            Consequence::CutsManagement => "cuts-management",
            Consequence::DestroysData => "destroys-data",
        }
    }

    /// Whether a general yes covers it, or it must be approved by name.
    pub fn needs_own_approval(self) -> bool {
        self > Consequence::Restart
    }
}

impl fmt::Display for Consequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why the rest of the lab has no step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Declared, there, and as declared.
    pub unchanged: usize,
    /// Declared, and cannot be planned.
    pub blocked: Vec<Blocked>,
    /// No longer declared, and kept.
    pub kept: Vec<Kept>,
    /// Hosts that did not answer.
    pub away: Vec<Away>,
    /// Declared, and left out by `--only`, `--exclude` or `--tag`.
    pub left_out: usize,
    /// Earlier runs that never ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interrupted: Vec<(String, crate::observation::Interrupted)>,
    /// Hosts whose clock differs from this machine's by more than a minute, in seconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clock_skew: Vec<(String, i64)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blocked {
    pub id: ResourceId,
    pub why: Why,
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It is there, differs, and is not the lab's.
    Conflict,
    /// It could not be looked at.
    Unknown,
    /// The host cannot have it.
    Refused,
    /// Something it comes after is blocked.
    Dependency,
    /// More would be removed at once than anyone would mean.
    Brake,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub id: ResourceId,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Away {
    pub host: String,
    /// Being away is normal for it.
    pub intermittent: bool,
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
    /// How many of its resources are declared.
    pub resources: usize,
}

impl Plan {
    /// Nothing to do. Says nothing about what is blocked or away.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub fn worst(&self) -> Consequence {
        self.steps.iter().map(|step| step.consequence).max().unwrap_or_default()
    }

    pub fn count(&self, action: Action) -> usize {
        self.steps.iter().filter(|step| step.action == action).count()
    }

    /// A host that should have answered did not.
    pub fn is_partial(&self) -> bool {
        self.report.away.iter().any(|away| !away.intermittent)
    }

    /// Whether the plan is as it was made: nobody edited its file.
    pub fn is_intact(&self) -> bool {
        let mut again = self.clone();
        again.derive_id();
        again.id == self.id
    }

    /// The plan for other eyes: content that only its owner may read is replaced by its digest.
    #[must_use]
    pub fn without_private_content(mut self) -> Plan {
        for step in &mut self.steps {
            let hidden =
                step.changes.iter().any(|change| change.field == "content" && matches!(change.after, Value::Digest(_)));
            if hidden {
                hide_content(&mut step.spec);
            } else {
                hide_private(&mut step.spec);
            }
        }
        self
    }

    pub(crate) fn derive_id(&mut self) {
        // Written down in pieces of this many bytes: BLAKE3 hashes many blocks at once far faster than one by one.
        const PIECE: usize = 32 << 10;
        let mut hasher = blake3::Hasher::new();
        let mut encoded = Vec::with_capacity(2 * PIECE);
        encoded.extend(self.lab.as_bytes());
        encoded.extend(self.lab_hash.as_bytes());
        for step in &self.steps {
            encoded.extend(step.id.as_str().as_bytes());
            encoded.extend(step.action.word().as_bytes());
            crate::value::encode_spec(&step.spec, &mut encoded);
            match &step.expect {
                Expect::Fingerprint(fingerprint) => encoded.extend(Fingerprint::as_str(fingerprint).as_bytes()),
                Expect::AfterStep { steps, seen } => {
                    encoded.extend(steps.as_str().as_bytes());
                    encoded.extend(seen.as_str().as_bytes());
                }
            }
            encoded.extend(step.consequence.word().as_bytes());
            for need in &step.needs {
                encoded.extend(need.as_str().as_bytes());
            }
            if encoded.len() >= PIECE {
                hasher.update(&encoded);
                encoded.clear();
            }
        }
        hasher.update(&encoded);
        self.id = hasher.finalize().to_hex()[..12].to_string();
    }
}

/// Whether only its owner may read it: then nobody else is shown what stands in it.
pub(crate) fn is_private(spec: &Spec) -> bool {
    spec.get("mode").is_some_and(is_private_mode)
}

pub(crate) fn is_private_mode(mode: &Value) -> bool {
    let mode = mode.text().and_then(|mode| u32::from_str_radix(mode, 8).ok());
    mode.is_some_and(|mode| mode & 0o044 == 0)
}

/// Replaces content that only its owner may read by its digest.
pub fn hide_private(spec: &mut Spec) {
    if is_private(spec) {
        hide_content(spec);
    }
}

fn hide_content(spec: &mut Spec) {
    if let Some(content) = spec.get_mut("content")
        && let Some(digest) = content.digest()
    {
        *content = Value::Digest(digest);
    }
}
