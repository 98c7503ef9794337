//! The whole lab on one machine, as `labwright up` runs it: what is started there, in which order, when each is well, and
//! what is left out, with the reason. Plain data, derived from the lab alone.
//!
//! Holds no secret: where a variable has one, the reference to it stands there.

pub mod control;
pub mod engine;
mod place;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dns::DnsSnapshot;
use super::proxy::ProxySnapshot;

pub use place::place;

/// What stands for the lab's own doors among what is started.
pub const DOORS: &str = "reverse-proxy";
/// What stands for the lab's own resolver.
pub const NAMES: &str = "dns";

/// All that runs here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Up {
    pub lab: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// In the order of the file.
    pub units: Vec<Unit>,
    pub left_out: Vec<LeftOut>,
    /// What is other here than in the lab, in words.
    pub notes: Vec<String>,
}

/// Something that is started, and that others may wait for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    pub name: String,
    pub what: What,
    /// Units that must be well before it is started.
    pub needs: Vec<String>,
    pub ready: Ready,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Where a person looks at it.
    pub links: Vec<String>,
}

/// What is started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum What {
    Process(Box<Process>),
    /// The containers of a service. What each of them is made from travels beside this value, to whoever runs containers.
    Containers(Box<Containers>),
    /// Data that is loaded once into the named unit.
    Seeds(Box<Seeds>),
    Doors(Box<ProxySnapshot>),
    Names {
        port: u16,
        snapshot: Box<DnsSnapshot>,
        lists: Vec<(String, String)>,
    },
    /// A folder of pages that the doors lead to.
    Pages {
        folder: String,
    },
}

impl What {
    pub fn word(&self) -> &'static str {
        match self {
            What::Process(_) => "process",
            What::Containers(_) => "containers",
            What::Seeds(_) => "seeds",
            What::Doors(_) => "doors",
            What::Names { .. } => "names",
            What::Pages { .. } => "pages",
        }
    }
}

/// A process of this machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Where it runs; a folder of its own when absent, or when that is not here and may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Directory>,
    /// References to secrets are put in when it is started.
    pub environment: BTreeMap<String, String>,
    pub restart: Restart,
    /// Globs of files whose change restarts it.
    pub watch: Vec<String>,
    /// A command that is run before such a restart.
    pub rebuild: Vec<String>,
    /// Milliseconds that it may take to end before it is killed.
    pub stop_within: u64,
}

/// The containers of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Containers {
    /// What they are called in the service, in the order of the file.
    pub keys: Vec<String>,
    /// The one that the unit's port leads to, and the port inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<(String, u16)>,
    /// Milliseconds that each of them may take to end before it is killed; what the file says of one goes before.
    pub stop_within: u64,
}

/// A folder, absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    pub path: String,
    /// Whether the process cannot do without; a folder of the real host may be missing here.
    pub must: bool,
}

/// When a process is started again after its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    #[default]
    Always,
    OnFailure,
    No,
}

/// Data that is loaded once for each content and each fresh copy of what it is loaded into.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seeds {
    /// The unit that it is loaded into.
    pub into: String,
    /// Files, absolute, in this order.
    pub files: Vec<String>,
    /// The folder that holds the data, where the lab says so; the unit's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The program whose data it is.
    pub program: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The variables of the unit.
    pub environment: BTreeMap<String, String>,
    /// The container that it is loaded in, by what it is called in its service; a process of this machine loads it when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// When something is well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ready {
    /// As soon as it runs.
    Started,
    /// When it has done its work and ended well.
    Ended,
    /// When its port takes connections.
    Port,
    /// When it says so, as to systemd (sd_notify).
    Notify,
    /// When its own answer fits.
    Probe(Probe),
}

/// A question that a process answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    pub path: String,
    /// Conditions in Gatus' language.
    pub expect: Vec<String>,
    /// Milliseconds that one answer may take, and between two once it is well.
    pub timeout: u64,
    pub every: u64,
}

/// Something of the lab that is not here, and why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    pub what: String,
    pub reason: String,
    /// What would bring it here, in words; empty where nothing would.
    pub help: String,
    /// Whether something that is wanted cannot run: a fault, and no mere difference between machines.
    pub fault: bool,
}
