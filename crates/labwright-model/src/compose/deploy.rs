//! How much of a host a service may use, how often it runs, and how its image is built.
//! Keeps what a swarm alone heeds only as far as one host can use it.

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::mounts::{ByTarget, FileReference};
use super::values::{Command, Decimal, ExtraHosts, Flag, List, Pairs, Texts, Time, Whole};
use super::{service::Ulimits, values::Bytes};
use crate::decode::{Decoder, FromNode, choice, section};
use crate::span::Spanned;
use crate::tree::{Kind, Node};

section! {
    /// How a service is deployed.
    pub struct Deploy {
        /// `replicated`, the only one that one host knows.
        mode: Option<Spanned<String>>,
        /// How many containers.
        replicas: Option<Spanned<Whole>>,
        /// Labels of the service as a whole; containers do not get them.
        labels: Pairs,
        /// How containers are replaced.
        update_config: Option<UpdateConfig>,
        /// What a container may use, and what is kept for it.
        resources: Resources,
        /// When a container is started again.
        restart_policy: Option<RestartPolicy>,
        /// On which hosts; kept for clusters.
        placement: Placement,
    }
}

section! {
    /// What a container may use, and what is kept for it.
    pub struct Resources {
        /// More than this it does not get.
        limits: Option<Limits>,
        /// This is kept for it.
        reservations: Option<Reservations>,
    }
}

section! {
    /// The most that a container may use.
    pub struct Limits {
        /// Processors.
        cpus: Option<Spanned<Decimal>>,
        /// Memory.
        memory: Option<Spanned<Bytes>>,
        /// Processes.
        pids: Option<Spanned<Whole>>,
    }
}

section! {
    /// What is kept for a container.
    pub struct Reservations {
        /// Processors.
        cpus: Option<Spanned<Decimal>>,
        /// Memory.
        memory: Option<Spanned<Bytes>>,
        /// Devices such as graphics cards.
        devices: List<DeviceRequest>,
    }
}

section! {
    /// Devices that are asked for by what they can do.
    pub struct DeviceRequest {
        /// What they must be able to do, such as `gpu`.
        capabilities: Texts,
        /// The driver, such as `nvidia`.
        driver: Option<String>,
        /// How many; `all` when neither this nor `device_ids` is given.
        count: Option<DeviceCount>,
        /// Which ones.
        device_ids: Texts,
        /// Settings of the driver.
        options: Pairs,
    }
}

/// How many devices; -1 is all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct DeviceCount(pub i64);

impl FromNode for DeviceCount {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match node.text() {
            Some("all") => Some(DeviceCount(-1)),
            text => match text.and_then(|text| text.parse().ok()) {
                Some(count) => Some(DeviceCount(count)),
                None => decoder.wrong(node, "a number or `all`"),
            },
        }
    }
}

impl DeviceRequest {
    /// Without a number and without names, all of them are meant.
    fn completed(mut self) -> Self {
        if self.device_ids.is_empty() {
            self.count.get_or_insert(DeviceCount(-1));
        }
        self
    }
}

impl Reservations {
    pub(super) fn complete(&mut self) {
        self.devices.0 = std::mem::take(&mut self.devices.0).into_iter().map(DeviceRequest::completed).collect();
    }
}

/// Graphics cards: `all`, or a list of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Gpus(pub Vec<DeviceRequest>);

impl FromNode for Gpus {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match node.text() {
            Some("all") => Some(Gpus(vec![DeviceRequest::default().completed()])),
            Some(_) => decoder.wrong_help(node, "`all`, or a list of devices", "write `gpus: all`"),
            None => {
                let list = List::<DeviceRequest>::from_node(node, decoder)?;
                Some(Gpus(list.0.into_iter().map(DeviceRequest::completed).collect()))
            }
        }
    }
}

section! {
    /// How containers are replaced by new ones.
    pub struct UpdateConfig {
        /// How many at once; 0 is all of them.
        parallelism: Option<Whole>,
        /// The pause between two.
        delay: Option<Time>,
        /// What happens when one fails: `continue`, `rollback` or `pause`.
        failure_action: Option<String>,
        /// How long a new one is watched.
        monitor: Option<Time>,
        /// Which share may fail.
        max_failure_ratio: Option<Decimal>,
        /// `stop-first` or `start-first`.
        order: Option<String>,
    }
}

choice! {
    /// When a container is started again.
    pub enum RestartCondition {
        /// Never.
        None = "none",
        /// When it failed.
        OnFailure = "on-failure",
        /// Always.
        Any = "any",
    }
}

section! {
    /// When a container is started again.
    pub struct RestartPolicy {
        /// After which end.
        condition: Option<RestartCondition>,
        /// The pause before.
        delay: Option<Time>,
        /// How often it is tried.
        max_attempts: Option<Whole>,
        /// How long it must run to count as started.
        window: Option<Time>,
    }
}

section! {
    /// On which hosts of a cluster a service runs.
    pub struct Placement {
        /// What must be true of the host.
        constraints: Texts,
        /// What it is spread over.
        preferences: List<Preference>,
        /// How many of its containers one host may run.
        max_replicas_per_node: Option<Whole>,
    }
}

section! {
    /// What a service is spread over.
    pub struct Preference {
        /// A label of hosts.
        spread: Option<String>,
    }
}

section! {
    /// How an image is built; the short form is the folder.
    pub struct Build {
        /// The folder that is sent to the builder.
        context: Option<Spanned<String>>,
        /// The instructions, a file in that folder.
        dockerfile: Option<Spanned<String>>,
        /// The instructions themselves.
        dockerfile_inline: Option<String>,
        /// Arguments of the instructions.
        args: Pairs,
        /// Keys of the SSH agent that the build may use.
        ssh: Texts,
        /// Labels of the image.
        labels: Pairs,
        /// Images that layers are taken from.
        cache_from: Texts,
        /// Where layers are kept.
        cache_to: Texts,
        /// Whether every layer is built anew.
        no_cache: Flag,
        /// Further folders, by name.
        additional_contexts: Pairs,
        /// The network of the build.
        network: Option<String>,
        /// Whether the base image is fetched each time.
        pull: Flag,
        /// The stage that becomes the image.
        target: Option<String>,
        /// Shared memory of the build.
        shm_size: Option<Bytes>,
        /// Addresses for the build's `/etc/hosts`.
        extra_hosts: ExtraHosts,
        /// Whether the build may do what root may.
        privileged: Flag,
        /// Secrets that the build may read.
        secrets: ByTarget<FileReference>,
        /// Further names of the image.
        tags: Texts,
        /// Limits of the build.
        ulimits: Ulimits,
        /// For which platforms.
        platforms: Texts,
    }
    short (node, decoder) {
        String::from_node(node, decoder)
            .map(|context| Build { context: Some(Spanned::new(context, node.span)), ..Build::default() })
    }
    schema crate::decode::or_string
}

section! {
    /// What `docker compose watch` does on a developer's machine.
    pub struct Develop {
        /// The folders it watches.
        watch: List<Watch>,
    }
}

choice! {
    /// What follows a change in a watched folder.
    pub enum WatchAction {
        /// The image is built again.
        Rebuild = "rebuild",
        /// The change is copied.
        Sync = "sync",
        /// The change is copied, and the container restarted.
        SyncRestart = "sync+restart",
        /// The change is copied, and a command run.
        SyncExec = "sync+exec",
        /// The container is restarted.
        Restart = "restart",
    }
}

section! {
    /// A watched folder.
    pub struct Watch {
        /// The folder.
        path: Spanned<String>,
        /// What follows a change.
        action: WatchAction = WatchAction::Rebuild,
        /// The path in the container.
        target: Option<String>,
        /// What is not watched.
        ignore: Texts,
        /// What alone is watched.
        include: Texts,
        /// The command that is run.
        exec: Exec,
        /// Whether everything is copied at the start.
        initial_sync: Flag,
    }
    required ["path", "action"]
}

section! {
    /// A command in a container.
    pub struct Exec {
        /// The command.
        command: Option<Command>,
        /// The user.
        user: Option<String>,
        /// Whether it may do what root may.
        privileged: Flag,
        /// Its working directory.
        working_dir: Option<String>,
        /// Its environment.
        environment: Pairs,
    }
}

/// A limit: one number for both, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Ulimit {
    Both(i64),
    Each { soft: i64, hard: i64 },
}

impl Serialize for Ulimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Ulimit::Both(limit) => limit.serialize(serializer),
            Ulimit::Each { soft, hard } => serde_json::json!({ "soft": soft, "hard": hard }).serialize(serializer),
        }
    }
}

section! {
    /// A limit with two values.
    pub struct UlimitPair {
        /// What a process may not pass by itself.
        soft: Whole,
        /// Up to where it may raise that.
        hard: Whole,
    }
    required ["soft", "hard"]
}

impl FromNode for Ulimit {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Map(_) => {
                let pair = UlimitPair::from_node(node, decoder)?;
                Some(Ulimit::Each { soft: pair.soft.0, hard: pair.hard.0 })
            }
            _ => Whole::from_node(node, decoder).map(|limit| Ulimit::Both(limit.0)),
        }
    }
}
