//! What is said over the control socket of a running `labwright up`: one JSON document a line.
//! Only types: the supervisor listens; the terminal, and whoever else shows it, asks and follows.

use serde::{Deserialize, Serialize};

use super::LeftOut;

/// The name of the control socket in the folder of the lab.
pub const SOCKET: &str = "control.sock";

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub enum Request {
    /// How everything is, once.
    State,
    /// How everything is, and each change from now on. Where the asker owns the run, its end ends everything.
    Follow { own: bool, lines: bool },
    /// The last lines of units, and, where that is said, all that come.
    Logs { units: Vec<String>, tail: usize, follow: bool },
    /// Ends units and starts them again, whatever they are.
    Restart { units: Vec<String> },
    /// Ends units, which stay so until they are started: what stands on others goes first. `dependents`: all that needs them
    /// as well. The answer comes at once; before it, a note for each that needs one of them and goes on.
    Stop {
        units: Vec<String>,
        #[serde(default)]
        dependents: bool,
    },
    /// Lines that a unit has told over another way than its output; they stand among its own from now on.
    Record { unit: String, lines: Vec<String> },
    /// Starts units that are not running, with those that they need and somebody has stopped.
    Start { units: Vec<String> },
    /// Ends everything in order. The answer comes when it is done.
    Down,
    /// Ends everything at once.
    Kill,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "tell")]
pub enum Told {
    State(Box<State>),
    /// A unit changed.
    Unit(Box<Status>),
    Line(Line),
    /// Everything is as well as it will be for now: nothing is under way any more.
    Settled,
    /// Something worth a line that is no unit's.
    Note {
        text: String,
    },
    /// How many lines were not told, because they came faster than they were read.
    Missed {
        lines: u64,
    },
    /// The units that are stopped or started for what was asked; told before `Done`.
    Chosen {
        units: Vec<String>,
    },
    Done,
    Refused {
        reason: String,
        help: String,
    },
    /// Everything has ended.
    Ended,
}

/// How everything is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub lab: String,
    /// The process that supervises.
    pub pid: u32,
    /// Since when it does, in seconds since 1970.
    pub since: i64,
    /// BLAKE3 of what it was told to run, in hex.
    pub digest: String,
    pub units: Vec<Status>,
    pub left_out: Vec<LeftOut>,
    pub notes: Vec<String>,
    pub settled: bool,
    pub ending: bool,
    /// The file with the lab's own authority, where it has signed something.
    pub authority: Option<String>,
    /// Where a browser is shown all this.
    #[serde(default)]
    pub dashboard: Option<String>,
}

/// How one unit is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub name: String,
    /// `process`, `containers`, `seeds`, `doors`, `names`, `pages`.
    pub kind: String,
    pub phase: Phase,
    pub pid: Option<u32>,
    pub port: Option<u16>,
    pub links: Vec<String>,
    /// Why it is as it is, where that is not plain.
    pub reason: String,
    /// Its last lines, where it is not well.
    pub last: Vec<String>,
    /// How often it was started again.
    pub restarts: u32,
    /// Milliseconds from its start until it was well.
    pub took: Option<u64>,
    /// Seconds since 1970 of its last start.
    pub started: Option<i64>,
    /// Milliseconds from the start of the supervisor until its last start.
    #[serde(default)]
    pub began: Option<u64>,
    /// What it consists of, where it is made of containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<Container>,
}

/// One container of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// What it is called in its service.
    pub key: String,
    /// What it is called in the engine.
    pub name: String,
    /// The engine's number of it; empty where it is not made yet.
    pub id: String,
    pub image: String,
    /// `waiting`, `starting`, `running`, `healthy`, `unhealthy`, `ended`, `failed`, `stopped`.
    pub state: String,
    /// Its exit code, where it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// `127.0.0.1:8080:80/tcp`: where it is reached here, and the port inside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
}

/// Where a unit stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// For what it needs.
    #[default]
    Waiting,
    /// It runs and is not well yet.
    Starting,
    Ready,
    /// It was well, and is not any more.
    Unwell,
    /// It ended and is started again after a while.
    Pausing,
    /// It did its work and ended, as it should.
    Done,
    /// It is not there, and is not started again by itself.
    Failed,
    Stopping,
    Stopped,
}

impl Phase {
    /// Whether what needs it may start.
    pub fn is_well(self) -> bool {
        matches!(self, Phase::Ready | Phase::Done)
    }

    pub fn word(self) -> &'static str {
        match self {
            Phase::Waiting => "waiting",
            Phase::Starting => "starting",
            Phase::Ready => "ready",
            Phase::Unwell => "unwell",
            Phase::Pausing => "restarting",
            Phase::Done => "done",
            Phase::Failed => "failed",
            Phase::Stopping => "stopping",
            Phase::Stopped => "stopped",
        }
    }
}

/// One line that a unit said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub unit: String,
    /// Milliseconds since 1970.
    pub at: i64,
    /// `out`, `err`, `log` where it came as a record of its own, or `note` where the supervisor says it.
    pub source: Source,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Out,
    Err,
    Log,
    Note,
}
