//! A stack of containers as plain data: what a Compose project says, with nothing left to be guessed.
//! Reads no file and knows no engine; `lower` turns it into resources.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Containers that belong together, with the networks and volumes that are theirs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stack {
    /// The Compose project: letters, digits, `-` and `_`.
    pub name: String,
    pub containers: BTreeMap<String, Container>,
    /// By their key in the file; containers refer to them by it.
    pub networks: BTreeMap<String, Network>,
    pub volumes: BTreeMap<String, Volume>,
    /// Containers of other stacks on the same host that these cannot work without, by name.
    pub needs: BTreeSet<String>,
}

/// One service of a Compose file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// The container's own name; `STACK-KEY-1` when absent.
    pub container_name: Option<String>,
    pub image: String,
    /// `None`: the image's own.
    pub command: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub environment: BTreeMap<String, String>,
    pub ports: Vec<Port>,
    pub mounts: Vec<Mount>,
    /// By key of `Stack::networks`, with what it is called there.
    pub networks: BTreeMap<String, Attachment>,
    /// `host`, `none`, `container:NAME`; excludes `networks`.
    pub network_mode: Option<String>,
    pub healthcheck: Option<Healthcheck>,
    /// `no`, `always`, `unless-stopped`, `on-failure[:N]`.
    pub restart: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// By key of `Stack::containers`.
    pub depends_on: BTreeMap<String, Condition>,
    /// Files with secrets in them, by path in the container: the text, with its `${secret.…}`.
    pub secrets: BTreeMap<String, String>,
    /// Files, by path in the container: what stands in them.
    pub configs: BTreeMap<String, String>,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub group_add: Vec<String>,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub security_opt: Vec<String>,
    pub devices: Vec<Device>,
    pub extra_hosts: Vec<String>,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_opt: Vec<String>,
    pub sysctls: BTreeMap<String, String>,
    pub ulimits: BTreeMap<String, (i64, i64)>,
    pub stop_signal: Option<String>,
    /// Seconds.
    pub stop_grace: Option<i64>,
    pub init: Option<bool>,
    pub read_only: bool,
    pub privileged: bool,
    pub tty: bool,
    pub stdin_open: bool,
    /// Bytes.
    pub shm_size: Option<i64>,
    pub pid: Option<String>,
    pub ipc: Option<String>,
    pub uts: Option<String>,
    pub userns: Option<String>,
    pub cgroup_parent: Option<String>,
    pub runtime: Option<String>,
    pub logging: Option<Logging>,
    /// Bytes.
    pub memory: Option<i64>,
    pub memory_reservation: Option<i64>,
    pub memory_swap: Option<i64>,
    /// Thousand-millionths of a processor.
    pub nano_cpus: Option<i64>,
    pub cpu_shares: Option<i64>,
    pub cpuset: Option<String>,
    pub pids_limit: Option<i64>,
    pub oom_score_adj: Option<i64>,
}

/// A published port.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Port {
    /// The address it is bound to; `None`: the host's own in its zone, or loopback.
    pub address: Option<String>,
    /// `None`: the engine chooses one.
    pub published: Option<u16>,
    pub target: u16,
    /// `tcp`, `udp` or `sctp`; empty is `tcp`.
    pub protocol: String,
}

/// What stands at a path of the container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mount {
    /// A path of the host.
    Bind { source: String, target: String, read_only: bool },
    /// By key of `Stack::volumes`; without one, a volume without a name.
    Volume { source: Option<String>, target: String, read_only: bool },
    /// Memory, with its options as `mount` takes them.
    Tmpfs { target: String, options: String },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attachment {
    pub aliases: BTreeSet<String>,
    pub ipv4_address: Option<String>,
    pub ipv6_address: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    /// As the engine takes it: `["CMD", …]`, `["CMD-SHELL", …]`, `["NONE"]`. Empty: the image's own.
    pub test: Vec<String>,
    /// Nanoseconds, each.
    pub interval: Option<i64>,
    pub timeout: Option<i64>,
    pub start_period: Option<i64>,
    pub retries: Option<i64>,
}

/// When a container that depends on another may start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    #[default]
    ServiceStarted,
    ServiceHealthy,
    ServiceCompletedSuccessfully,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Device {
    pub source: String,
    pub target: String,
    pub permissions: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Logging {
    pub driver: String,
    pub options: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
    pub ipv6: bool,
    /// (subnet, gateway), in CIDR notation and as an address.
    pub subnets: Vec<(String, Option<String>)>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
