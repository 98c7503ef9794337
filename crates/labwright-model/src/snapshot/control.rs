//! What is said over a daemon's control socket: one JSON document a line, one answer for each.
//! Only types: the daemon listens, providers and the command line speak.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Snapshot;
use super::dns::told;

/// The folder below `/run` that the socket stands in, and below `/var/lib` that the daemon keeps its state in.
pub const FOLDER: &str = "labwright-serve";
/// The name of the control socket.
pub const SOCKET: &str = "control.sock";

/// What a daemon is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub enum Request {
    /// What it does, and how it is.
    Status,
    /// Serve this from now on.
    Apply { snapshot: Box<Snapshot> },
    /// Something that only its resolver knows.
    Dns { dns: told::Ask },
    /// Start the program anew from where it stands, and hand it everything: for a new version of it.
    Upgrade,
    /// Sent by the new program to the old one: the listeners travel back beside the answer.
    HandOver,
    /// Sent by the new program when it serves: the old one takes no more, ends what it has, and goes.
    Leave,
}

/// What a daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Reply {
    /// It serves the snapshot.
    Applied {
        generation: u64,
    },
    /// It served it already.
    AlreadyAt {
        generation: u64,
    },
    /// It serves a newer one.
    Stale {
        have: u64,
    },
    /// It cannot serve that, and goes on with what it has.
    Refused {
        reason: String,
    },
    Status(Box<Status>),
    /// What its resolver says; `Refused` where it has none.
    Dns {
        dns: told::Told,
    },
    /// Listeners come with this answer: how many.
    HandedOver {
        listeners: usize,
    },
    Done,
}

/// How a daemon is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub pid: u32,
    /// The version of the program.
    pub version: String,
    /// BLAKE3 of the program's file as it was started, in hex.
    pub program: String,
    /// What it serves; `None`: nothing yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
    /// The highest generation that any of its roles serves, although another may not; 0: none.
    #[serde(default)]
    pub generation: u64,
    /// Why the last snapshot that was pushed was refused, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What is wrong now, in words.
    #[serde(default)]
    pub faults: Vec<String>,
    pub certificates: Vec<Certificate>,
    /// The lab's own authority as PEM, where the daemon signs with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Upstreams by service, and what was last seen of each.
    #[serde(default)]
    pub upstreams: BTreeMap<String, Vec<Upstream>>,
    /// How its resolver does, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<Box<told::Statistics>>,
}

/// A certificate that a daemon holds or wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    pub names: Vec<String>,
    /// `internal`, or the address of an ACME directory.
    pub issuer: String,
    /// When it ends, in seconds since 1970; `None`: there is none yet.
    pub not_after: Option<i64>,
    /// When it is renewed, or asked for again, in seconds since 1970.
    pub next: Option<i64>,
    /// What went wrong the last time, in the authority's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One place where a service answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upstream {
    pub url: String,
    pub up: bool,
    /// Why it is taken for down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
