//! What the two ends of a link say to each other.
//! No versions: both ends are the same binary, by its hash.

use std::collections::BTreeSet;

use labwright_plan::{
    ChangeKey, Doors, ExecAsk, Found, FoundAsk, HostSeen, Line, LogsAsk, Part, Pending, ProviderError, ResourceId,
    Running, Size, Spec, Step,
};
use serde::{Deserialize, Serialize};

/// The line that an agent starts with, so that whatever a login shell prints before it is passed over.
pub const GREETING: &str = "labwright agent ready";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Look at these, and at everything that the lab owns. Changes nothing.
    Observe {
        lab: String,
        host: String,
        /// Names that the host had before: what they marked is its own.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        was: Vec<String>,
        want: Vec<Want>,
        /// The secrets that some of it can only be looked at with, sealed for this host: age, in base64. They are used
        /// for this look and kept nowhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        letter: Option<String>,
    },
    /// Make these steps true, each after what it needs.
    Apply(Box<Work>),
    /// A step on another host has ended, and these wait for it.
    Elsewhere { id: ResourceId, done: bool },
    /// How these fare, and what else is there of their services. Changes nothing.
    Running { parts: Vec<Part> },
    /// What runs there beside what the lab has. Changes nothing.
    Found { ask: FoundAsk },
    /// What only this part's product knows, in its own form. Changes nothing that the lab declares.
    Ask { part: Box<Part>, ask: serde_json::Value },
    /// The logs of these, as a stream of lines in the order of their times, until they end or `Stop` comes.
    Logs { parts: Vec<Part>, ask: LogsAsk },
    /// Runs a command beside a part. It is ended by `Stop`, and by the end of the link.
    Exec { part: Box<Part>, ask: ExecAsk },
    /// For the command that runs.
    Typed(Keys),
    /// Start nothing more; finish what was begun.
    Stop,
    /// Who holds the lab on this host.
    Lease { lab: String },
    /// End the holder, if it is still there.
    Break { lab: String },
    /// Over a fresh connection: the way in is there, and the change may stay.
    Confirm { ticket: String },
    /// To the agent that waits: it is known that nobody comes in any more.
    Revert { ticket: String, because: String },
    /// What became of a change.
    Verdict { ticket: String },
    /// Take back every change that nobody waits for any more.
    Settle,
}

/// What is typed at a command.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keys {
    /// Base64.
    Bytes(String),
    /// No more is typed.
    End,
    Resized(Size),
    Signal(i32),
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Want {
    pub id: ResourceId,
    /// The declared fields, content as digests.
    pub spec: Spec,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Work {
    pub run: Run,
    pub lab: String,
    pub host: String,
    /// Names that the host had before: their marks are written down anew before the first step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<String>,
    pub steps: Vec<Step>,
    /// Steps on other hosts that some of these need.
    pub elsewhere: BTreeSet<ResourceId>,
    /// The secrets of these steps, sealed for this host: age, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter: Option<String>,
    /// How long a change that may cut the way in waits for its confirmation, in seconds.
    pub confirm_within: u64,
}

/// What a host's secrets are sealed for, and what their content is hashed with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKey {
    /// `ssh-ed25519 …` or `age1…`
    pub recipient: String,
    pub change_key: ChangeKey,
}

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostKey({})", self.recipient)
    }
}

/// One apply, as histories and leases tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Sorts by time: `20261120T120433.512Z`.
    pub id: String,
    /// `user@machine` of whoever started it.
    pub by: String,
    pub plan: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Observed {
        seen: Box<HostSeen>,
        /// The host's key, where any of what was looked at holds a secret.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Box<HostKey>>,
    },
    /// Somebody else is at it.
    Held(Lease),
    Lease {
        lease: Option<Lease>,
    },
    Broken(Box<Broken>),
    Event(Event),
    /// A change that may have cut the way in is made, and goes back unless a fresh connection confirms it.
    Confirm {
        id: ResourceId,
        ticket: String,
        /// Where the host takes connections now.
        doors: Doors,
        /// The change is about to be made, and takes this connection with it: nothing more may be heard over it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ahead: bool,
        /// The port that the run's own connection came in by, as the host knows it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        through: Option<u16>,
        /// In seconds.
        within: u64,
    },
    Verdict(Verdict),
    Settled {
        settled: Vec<(Pending, Verdict)>,
    },
    /// `clock`: the host's, in seconds since 1970.
    Running {
        running: Vec<Running>,
        clock: i64,
    },
    Found(Vec<Found>),
    Answered(serde_json::Value),
    /// Lines, each with the number of its part as it was asked for.
    Lines(Vec<(usize, Line)>),
    /// A part has no log, or no more.
    NoLog {
        part: usize,
        error: ProviderError,
    },
    /// What the command that runs prints: base64.
    Printed {
        err: bool,
        bytes: String,
    },
    /// So many typed bytes have arrived there.
    Taken {
        bytes: usize,
    },
    /// The command has ended.
    Exited {
        code: i64,
    },
    /// A step takes its time; the agent is there.
    Alive,
    /// Every step has an outcome.
    Finished,
    Failed(ProviderError),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    Started { id: ResourceId },
    Progress { id: ResourceId, text: String },
    Ended { id: ResourceId, outcome: Outcome },
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Done,
    Failed(ProviderError),
    /// It was made and then unmade, and that was verified.
    Reverted(ProviderError),
    /// Something it needs did not come about, or it was not approved.
    Skipped {
        because: String,
    },
    /// The run ended before its turn.
    NotStarted {
        because: String,
    },
    /// It was begun, and nobody could say how it ended.
    Unknown {
        because: String,
    },
}

impl Outcome {
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Failed(_) => "failed",
            Outcome::Reverted(_) => "reverted",
            Outcome::Skipped { .. } => "skipped",
            Outcome::NotStarted { .. } => "not started",
            Outcome::Unknown { .. } => "unknown",
        }
    }

    pub const WORDS: [&'static str; 6] = ["done", "failed", "reverted", "skipped", "not started", "unknown"];
}

/// What became of a change that may have cut the way in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Neither confirmed nor gone back.
    Pending,
    Confirmed,
    /// What was there before is back.
    Reverted {
        because: String,
    },
    /// A later change of the same thing was confirmed.
    Superseded,
    /// The way back failed, and is tried again at the next start.
    Stuck {
        because: String,
    },
    /// The host knows no such change.
    Unknown,
}

/// Who works on a lab on a host. Lives as long as its holder: the lock under it goes with the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub run: Run,
    /// The process on the host that holds it.
    pub pid: u32,
    /// Seconds since 1970.
    pub acquired: i64,
    /// Renewed while the holder lives; past it the holder hangs, and the next run ends it.
    pub expires: i64,
    /// Seconds since it was acquired, by the host's own clock.
    #[serde(default)]
    pub age: i64,
}

/// What came of ending a holder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Who held the lab; nobody, if none.
    pub was: Option<Lease>,
    /// Who holds it after that: the same one if it did not end, or somebody who was quick.
    pub now: Option<Lease>,
}

impl Broken {
    /// Whether the holder that was there is gone.
    pub fn is_ended(&self) -> bool {
        let name = |lease: &Lease| (lease.run.id.clone(), lease.pid);
        self.was.as_ref().is_none_or(|was| self.now.as_ref().is_none_or(|now| name(was) != name(now)))
    }
}
