//! What a resolver that runs is asked over its daemon's control socket, and what it tells of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What may become of a query, in the words of log, metrics and statistics.
pub const OUTCOMES: [&str; 10] =
    ["local", "blocked", "cached", "stale", "forwarded", "failed", "refused", "limited", "malformed", "special"];

/// What a resolver is asked, beside names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "of")]
pub enum Ask {
    /// How it is. `tops`: how long lists of the most frequent may be.
    Statistics { tops: usize },
    /// Queries of late that fit.
    Queries(QueriesAsk),
    /// Blocks nothing for so many seconds, for one group of clients or for everybody; 0 ends a pause.
    Pause { group: Option<String>, seconds: u32 },
    /// Fetches lists from their servers now.
    Refresh,
}

/// Which queries are meant: those that fit all that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueriesAsk {
    /// The last ones, so many.
    pub count: usize,
    /// The client's name in the lab, or its address.
    pub client: Option<String>,
    /// A part of the name.
    pub name: Option<String>,
    /// `blocked`, `forwarded`, …
    pub outcome: Option<String>,
    /// None from before; RFC 3339, UTC. Without it what is in memory is enough: the last thousand.
    pub since: Option<String>,
}

/// What a resolver answers to an `Ask`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "of", content = "is")]
pub enum Told {
    Statistics(Box<Statistics>),
    /// The newest first.
    Queries(Vec<Line>),
    Done,
    /// It cannot, and why.
    Refused(String),
}

/// What it did since it was started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    pub generation: u64,
    /// Where it listens: `10.0.20.53:53`.
    pub listening: Vec<String>,
    /// Seconds that it has run.
    pub up: u64,
    pub queries: u64,
    pub blocked: u64,
    /// By the words of the query log.
    pub outcomes: BTreeMap<String, u64>,
    pub top: Top,
    pub lists: Vec<ListStatus>,
    /// Whether the lists of its snapshot have been read: until then those of before hold, or none.
    pub lists_ready: bool,
    /// Names of all lists together.
    pub listed: usize,
    /// Names that are the lab's own.
    pub local_names: usize,
    /// Groups for which nothing is blocked now.
    pub paused: Vec<Paused>,
    pub upstreams: Vec<UpstreamStatus>,
}

/// A group for which nothing is blocked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    pub group: String,
    /// Seconds that are left.
    pub left: u32,
}

/// The most frequent of the last day, with how often.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Top {
    pub names: Vec<(String, u64)>,
    pub blocked: Vec<(String, u64)>,
    pub clients: Vec<(String, u64)>,
}

/// What became of one list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListStatus {
    pub name: String,
    /// Rules in use.
    pub rules: usize,
    /// Lines that are for browsers, or need more than a name.
    pub passed_over: usize,
    /// Lines that are nothing.
    pub malformed: usize,
    /// Rules that no longer fitted.
    pub cut: usize,
    /// Why the list, or its newest edition, is not in use.
    pub fault: Option<String>,
    /// When its server was last heard, in seconds since 1970.
    pub checked: Option<u64>,
}

/// How one upstream does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// As the lab file spells it.
    pub upstream: String,
    pub asked: u64,
    pub failed: u64,
    /// Microseconds that it takes of late; 0 where it was not asked yet.
    pub micros: u32,
}

/// One query as log and dashboard show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// RFC 3339, UTC.
    pub at: String,
    /// The client's name in the lab, or its address; nothing where clients are not told apart.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client: Option<String>,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub outcome: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub list: Option<String>,
    pub code: String,
    pub micros: u32,
}
