//! What is asked of whoever runs containers for a lab that is up, and what is told of them. Only types: the supervisor asks and
//! listens, and knows no engine; who runs them knows the engine, and no order of units.

use super::control::{Container, Source};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Starts the containers of a unit that do not run. `attempt` comes back with all that is told of this start.
    Start { unit: String, attempt: u64 },
    /// Ends them, those first that others do not stand on, and takes them away.
    Stop { unit: String, attempt: u64, now: bool },
    /// Runs a command in one of them, with a file as its standard input.
    Run(Box<Command>),
    /// All units have ended: takes away what the lab had beside containers, and ends.
    End,
}

/// A command in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The unit that what it prints is of, and which of its starts this is.
    pub unit: String,
    pub attempt: u64,
    /// The unit and the container that it runs in.
    pub of: String,
    pub key: String,
    pub command: Vec<String>,
    /// What it reads, absolute; nothing when absent.
    pub stdin: Option<String>,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// How the containers of a unit are.
    Are { unit: String, containers: Vec<Container> },
    /// Which copy of its data a unit has: another one where that was removed and made anew. Seeds are loaded once into each.
    Copy { unit: String, copy: String },
    /// Lines that one said, or, as `Source::Note`, whoever runs it.
    Said { unit: String, lines: Vec<(Source, String)> },
    /// What is waited for.
    Waits { unit: String, attempt: u64, reason: String },
    /// All of it is up, and well as far as its containers tell.
    Well { unit: String, attempt: u64 },
    /// It runs, and is not well any more.
    Unwell { unit: String, attempt: u64, reason: String },
    /// It could not be started, or ended as it should not.
    Failed { unit: String, attempt: u64, reason: String, then: Then },
    /// It did its work and ended, as it should.
    Done { unit: String, attempt: u64 },
    /// It is gone.
    Stopped { unit: String, attempt: u64 },
    /// A command has ended: its exit code, or why it could not run.
    Ran { unit: String, attempt: u64, ended: Result<i64, String> },
    /// Something that is no unit's.
    Note { text: String },
    /// All of it is gone.
    Ended,
}

/// What becomes of a unit that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is started again after a pause.
    Again,
    /// Starting it again helps only where somebody does something about it.
    Nothing,
}
