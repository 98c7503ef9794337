//! A stack of containers as plain data: what a Compose project says, with nothing left to be guessed.
//! Reads no file and knows no engine; `project` makes it, `lower` turns it into resources.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

/// Containers that belong together, with the networks and volumes that are theirs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stack {
    /// The Compose project: letters, digits, `-` and `_`.
    pub name: String,
    /// Its folder on the host.
    pub folder: String,
    pub containers: BTreeMap<String, Container>,
    /// By their key in the file; containers refer to them by it.
    pub networks: BTreeMap<String, Network>,
    pub volumes: BTreeMap<String, Volume>,
    /// What stands on the host for it, by path: files and folders beside the Compose file that containers mount.
    pub carried: BTreeMap<String, Carried>,
    /// Services that these cannot work without.
    pub needs: BTreeSet<String>,
}

/// One service of a Compose file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
    /// The container's own name; `STACK-KEY-NUMBER` when absent.
    pub container_name: Option<String>,
    /// How many of it run.
    pub replicas: u32,
    pub image: String,
    /// `None`: the image's own.
    pub command: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub environment: BTreeMap<String, String>,
    /// Variables with secrets in them: the text, with its `${secret.…}`.
    pub secret_environment: BTreeMap<String, String>,
    pub ports: Vec<Port>,
    pub mounts: Vec<Mount>,
    /// By key of `Stack::networks`, with what it is called there.
    pub networks: BTreeMap<String, Attachment>,
    /// `host`, `none`, `container:NAME`; excludes `networks`.
    pub network_mode: Option<String>,
    pub healthcheck: Option<Healthcheck>,
    /// What it is asked to tell that it works: `8080/healthz`, or a port alone.
    pub probe: Option<String>,
    /// `no`, `always`, `unless-stopped`, `on-failure[:N]`.
    pub restart: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// By key of `Stack::containers`.
    pub depends_on: BTreeMap<String, Condition>,
    /// The containers that it lives in the network or the processes of, by key: it is made anew when one of them is.
    pub beside: BTreeSet<String>,
    /// Files with secrets in them, by path in the container: the text, with its `${secret.…}`.
    pub secrets: BTreeMap<String, Given>,
    /// Files, by path in the container: what stands in them.
    pub configs: BTreeMap<String, Given>,
    /// All its other settings, in the engine's own form, by the names of `options`.
    pub settings: Map<String, Json>,
}

/// A file that a container is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub content: String,
    /// Whom it belongs to; `None`: whom the container runs as.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// Permission bits of a config; `None`: everybody reads it. A secret is its owner's alone.
    pub mode: Option<u32>,
}

/// Something beside the Compose file that goes to the host with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// A folder; what containers put into it is theirs.
    Folder,
    File {
        content: Vec<u8>,
        /// Containers may write to it.
        shared: bool,
    },
}

/// A published port.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The address it is bound to; `None`: the host's own in its zone, or loopback.
    pub address: Option<String>,
    /// A port, or a range that the engine chooses from; `None`: it chooses any.
    pub published: Option<String>,
    pub target: u16,
    /// `tcp`, `udp` or `sctp`; empty is `tcp`.
    pub protocol: String,
}

/// What stands at a path of the container. Options are the engine's: `rslave`, `z`, `nocopy`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mount {
    /// A path of the host.
    Bind { source: String, target: String, read_only: bool, options: Vec<String> },
    /// By key of `Stack::volumes`; without one, a volume without a name.
    Volume { source: Option<String>, target: String, read_only: bool, options: Vec<String> },
    /// Memory, with its options as `mount` takes them.
    Tmpfs { target: String, options: String },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    pub aliases: BTreeSet<String>,
    /// What else the engine is told of it, in its own words: `IPv4Address`, `MacAddress`, …
    pub settings: BTreeMap<String, Json>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Healthcheck {
    /// As the engine takes it: `["CMD", …]`, `["CMD-SHELL", …]`, `["NONE"]`. Empty: the image's own.
    pub test: Vec<String>,
    /// Nanoseconds, each.
    pub interval: Option<i64>,
    pub timeout: Option<i64>,
    pub start_period: Option<i64>,
    pub start_interval: Option<i64>,
    pub retries: Option<i64>,
}

/// When a container that depends on another may start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    #[default]
    Started,
    Healthy,
    Completed,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Its name in the engine; `STACK_KEY` when absent.
    pub name: Option<String>,
    /// Made by somebody else: only looked up.
    pub external: bool,
    /// `bridge` when absent.
    pub driver: Option<String>,
    pub options: BTreeMap<String, String>,
    /// No way out.
    pub internal: bool,
    pub attachable: bool,
    pub ipv6: bool,
    pub ipv4: Option<bool>,
    pub ipam_driver: Option<String>,
    pub ipam_options: BTreeMap<String, String>,
    pub subnets: Vec<Subnet>,
    pub labels: BTreeMap<String, String>,
}

/// In CIDR notation and as addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subnet {
    pub subnet: String,
    pub gateway: Option<String>,
    pub range: Option<String>,
    /// Addresses that others have, by name.
    pub taken: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Its name in the engine; `STACK_KEY` when absent.
    pub name: Option<String>,
    /// Made by somebody else: only looked up.
    pub external: bool,
    /// `local` when absent.
    pub driver: Option<String>,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}
