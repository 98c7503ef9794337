//! A service of a Compose project: every key that is supported, typed.
//! A new key is one field here; keys that the specification has and this does not are in `screen`.

use std::sync::Arc;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::deploy::{Build, Deploy, Develop, Gpus, Ulimit};
use super::mounts::{ByTarget, Device, EnvFiles, FileReference, Mount};
use super::ports::Ports;
use super::values::{Bytes, Command, Decimal, ExtraHosts, Flag, Listed, Pairs, Texts, Time, Whole, text_of};
use crate::decode::{Decoder, FromNode, choice, section};
use crate::span::Spanned;
use crate::tree::{Kind, Node};

section! {
    /// A service of a Compose project.
    pub struct Service {
        /// Labels that the runtime understands.
        annotations: Pairs,
        /// Whether its output is shown by `up`.
        attach: Option<Flag>,
        /// How its image is built.
        build: Option<Spanned<Build>>,
        /// Rights of the kernel that it gets.
        cap_add: Listed,
        /// Rights that it loses.
        cap_drop: Listed,
        /// Whose control group it has: `host` or `private`.
        cgroup: Option<String>,
        /// The control group that its own is below.
        cgroup_parent: Option<String>,
        /// The command, instead of the image's.
        command: Option<Command>,
        /// Configs that it sees as files.
        configs: ByTarget<FileReference>,
        /// The container's name; made from project and service when absent.
        container_name: Option<Spanned<String>>,
        /// The length of a period of the processor's scheduler.
        cpu_period: Option<Whole>,
        /// What it gets of a period.
        cpu_quota: Option<Whole>,
        /// The period of real-time scheduling.
        cpu_rt_period: Option<Whole>,
        /// What it gets of that.
        cpu_rt_runtime: Option<Whole>,
        /// Its weight against other containers.
        cpu_shares: Option<Whole>,
        /// How many processors it may use.
        cpus: Option<Spanned<Decimal>>,
        /// Which ones.
        cpuset: Option<String>,
        /// Services that are started before it.
        depends_on: DependsOn,
        /// How it is deployed.
        deploy: Option<Deploy>,
        /// What `docker compose watch` does.
        develop: Option<Develop>,
        /// Rules for devices, such as `c 188:* rmw`.
        device_cgroup_rules: Listed,
        /// Devices of the host.
        devices: ByTarget<Device>,
        /// Resolvers.
        dns: Texts,
        /// Options of the resolver.
        dns_opt: Listed,
        /// Domains that names are searched in.
        dns_search: Texts,
        /// The domain of the container's host name.
        domainname: Option<String>,
        /// The program, instead of the image's.
        entrypoint: Option<Command>,
        /// Files with further variables.
        env_file: EnvFiles,
        /// Its environment, that of the files included.
        environment: Pairs,
        /// Ports that other containers may use; said for people.
        expose: Listed,
        /// Containers of other projects that it wants to reach.
        external_links: Listed,
        /// Addresses for its `/etc/hosts`.
        extra_hosts: ExtraHosts,
        /// Graphics cards.
        gpus: Gpus,
        /// Further groups of its user.
        group_add: Listed,
        /// How to tell that it works.
        healthcheck: Option<Healthcheck>,
        /// Its host name.
        hostname: Option<Spanned<String>>,
        /// Its image.
        image: Option<Spanned<String>>,
        /// Whether a small init collects its dead processes.
        init: Option<Flag>,
        /// Whose shared memory it has: `host`, `shareable`, `service:NAME`, …
        ipc: Option<Spanned<String>>,
        /// Files with labels.
        label_file: Texts,
        /// Its labels.
        labels: Pairs,
        /// Services that it reaches by further names.
        links: Listed,
        /// Where its output goes.
        logging: Option<Logging>,
        /// Its hardware address.
        mac_address: Option<String>,
        /// The most memory that it may use.
        mem_limit: Option<Spanned<Bytes>>,
        /// The memory that is kept for it.
        mem_reservation: Option<Spanned<Bytes>>,
        /// How readily its memory is swapped out, from 0 to 100.
        mem_swappiness: Option<Bytes>,
        /// Memory and swap together; -1 is no limit.
        memswap_limit: Option<Spanned<Bytes>>,
        /// Its network, where that is not one of the project's.
        network_mode: Option<Spanned<NetworkMode>>,
        /// The networks that it is in.
        networks: ServiceNetworks,
        /// Whether it is spared when memory runs out.
        oom_kill_disable: Flag,
        /// How readily it is killed when memory runs out.
        oom_score_adj: Option<Whole>,
        /// Whose processes it sees: `host`, `service:NAME`, …
        pid: Option<Spanned<String>>,
        /// How many processes it may have.
        pids_limit: Option<Spanned<Whole>>,
        /// The platform of its image.
        platform: Option<String>,
        /// Ports of the host that lead to it.
        ports: Ports,
        /// Whether it may do what root on the host may.
        privileged: Flag,
        /// Profiles that it belongs to; in none, it always runs.
        profiles: Listed,
        /// When its image is fetched.
        pull_policy: Option<Spanned<PullPolicy>>,
        /// Whether it can write nowhere but in its mounts.
        read_only: Flag,
        /// When it is started again.
        restart: Option<Spanned<Restart>>,
        /// The runtime.
        runtime: Option<String>,
        /// How many containers.
        scale: Option<Spanned<Whole>>,
        /// Secrets that it sees as files.
        secrets: ByTarget<FileReference>,
        /// Settings of SELinux, AppArmor and seccomp.
        security_opt: Listed,
        /// The size of `/dev/shm`.
        shm_size: Option<Bytes>,
        /// Whether its input stays open.
        stdin_open: Flag,
        /// How long it has to stop by itself.
        stop_grace_period: Option<Time>,
        /// The signal that stops it.
        stop_signal: Option<String>,
        /// Settings of the storage driver.
        storage_opt: Pairs,
        /// Settings of the kernel.
        sysctls: Pairs,
        /// Folders in memory, with their options.
        tmpfs: Texts,
        /// Whether it has a terminal.
        tty: Flag,
        /// Limits of its processes.
        ulimits: Ulimits,
        /// The user that it runs as.
        user: Option<String>,
        /// Whose users it has; `host` or nothing.
        userns_mode: Option<String>,
        /// Whose host name it has; `host` or nothing.
        uts: Option<Spanned<String>>,
        /// What it sees of volumes and of the host.
        volumes: ByTarget<Mount>,
        /// Its working directory.
        working_dir: Option<String>,
    }
}

section! {
    /// How to tell that a service works.
    pub struct Healthcheck {
        /// The command; `NONE` switches the image's own off.
        test: Option<HealthTest>,
        /// How often.
        interval: Option<Time>,
        /// How long it may take.
        timeout: Option<Time>,
        /// After how many failures it counts as broken.
        retries: Option<Whole>,
        /// How long failures do not count at first.
        start_period: Option<Time>,
        /// How often, as long as they do not.
        start_interval: Option<Time>,
        /// Whether the image's own is switched off.
        disable: Flag,
    }
}

/// The command of a health check; its first word is `CMD`, `CMD-SHELL` or `NONE`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct HealthTest(pub Vec<String>);

impl FromNode for HealthTest {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        if let Some(line) = node.text() {
            return Some(HealthTest(vec!["CMD-SHELL".into(), line.to_string()]));
        }
        let words = Command::from_node(node, decoder)?.0;
        match words.first().map(String::as_str) {
            Some("CMD" | "CMD-SHELL" | "NONE") | None => Some(HealthTest(words)),
            Some(_) => decoder.wrong_help(
                node,
                "a list that starts with CMD, CMD-SHELL or NONE",
                "write `[CMD, program, argument]`, or one line of text for a shell",
            ),
        }
    }
}

section! {
    /// Where a service's output goes.
    pub struct Logging {
        /// The driver.
        driver: Option<String>,
        /// Its settings.
        options: Pairs,
    }
}

choice! {
    /// What has to be true of a service before another one is started.
    pub enum Condition {
        /// It was started.
        Started = "service_started",
        /// Its health check passes.
        Healthy = "service_healthy",
        /// It ended without a failure.
        Completed = "service_completed_successfully",
    }
}

section! {
    /// A service that is started first.
    pub struct Dependency {
        /// What has to be true of it.
        condition: Condition = Condition::Started,
        /// Whether a restart of it restarts this one.
        restart: Flag,
        /// Whether it has to be there at all.
        required: Flag = Flag(true),
    }
}

/// Names with what is said of each; a list gives names alone.
fn named<T: FromNode + Default>(node: &Node, decoder: &mut Decoder<'_>) -> Option<IndexMap<String, Spanned<T>>> {
    let mut entries = IndexMap::new();
    match &node.kind {
        Kind::Map(map) => {
            for (key, node) in map {
                let value = decoder.within(&key.text, |d| T::from_node(node, d));
                entries.insert(key.text.clone(), Spanned::new(value.unwrap_or_default(), key.span));
            }
        }
        Kind::List(items) => {
            for item in items {
                if let Some(name) = text_of(item, decoder) {
                    entries.insert(name, Spanned::new(T::default(), item.span));
                }
            }
        }
        _ => return decoder.wrong(node, "a list of names, or a map of them"),
    }
    Some(entries)
}

/// Services that are started first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct DependsOn(pub IndexMap<String, Spanned<Dependency>>);

impl FromNode for DependsOn {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        named(node, decoder).map(DependsOn)
    }
}

section! {
    /// How a service is in a network.
    pub struct ServiceNetwork {
        /// Further names that it has there.
        aliases: Texts,
        /// Settings of the driver.
        driver_opts: Pairs,
        /// Which network leads out, the highest number.
        gw_priority: Option<Whole>,
        /// The name of the interface in the container.
        interface_name: Option<String>,
        /// Its IPv4 address there.
        ipv4_address: Option<Spanned<String>>,
        /// Its IPv6 address there.
        ipv6_address: Option<Spanned<String>>,
        /// Further addresses of the link.
        link_local_ips: Texts,
        /// Its hardware address there.
        mac_address: Option<String>,
        /// In which order networks are joined, the highest number first.
        priority: Option<Whole>,
    }
}

/// The networks that a service is in; `None`: nothing is said but the name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct ServiceNetworks(pub IndexMap<String, Spanned<Option<ServiceNetwork>>>);

/// What is said of one network; nothing is not the same as an empty map.
#[derive(Default)]
struct Said(Option<ServiceNetwork>);

impl FromNode for Said {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match node.is_null() {
            true => Some(Said(None)),
            false => ServiceNetwork::from_node(node, decoder).map(|network| Said(Some(network))),
        }
    }
}

impl FromNode for ServiceNetworks {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let networks = named::<Said>(node, decoder)?;
        let plain = |(name, said): (String, Spanned<Said>)| (name, Spanned::new(said.value.0, said.span));
        Some(ServiceNetworks(networks.into_iter().map(plain).collect()))
    }
}

/// Limits by the kernel's name for each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Ulimits(pub IndexMap<String, Ulimit>);

impl FromNode for Ulimits {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else { return decoder.wrong(node, "a map of limits") };
        let limit = |(key, node): &(crate::tree::Key, Arc<Node>)| {
            Some((key.text.clone(), decoder.within(&key.text, |d| Ulimit::from_node(node, d))?))
        };
        Some(Ulimits(entries.iter().filter_map(limit).collect()))
    }
}

/// Declares a word that may carry a name behind a colon, shown as it is typed.
macro_rules! shown_as_typed {
    ($($type:ident),*) => { $(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )* };
}
shown_as_typed!(NetworkMode, Restart, PullPolicy);

/// The network of a container that is in none of the project's.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
pub enum NetworkMode {
    /// That of the host.
    Host,
    /// None at all.
    None,
    /// Docker's own bridge.
    Bridge,
    /// That of another service, which must run.
    Service(String),
    /// That of a container of another project.
    Container(String),
    /// A network by its name.
    Named(String),
}

impl std::fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NetworkMode::Host => f.write_str("host"),
            NetworkMode::None => f.write_str("none"),
            NetworkMode::Bridge => f.write_str("bridge"),
            NetworkMode::Service(name) => write!(f, "service:{name}"),
            NetworkMode::Container(name) => write!(f, "container:{name}"),
            NetworkMode::Named(name) => f.write_str(name),
        }
    }
}

impl FromNode for NetworkMode {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let text = String::from_node(node, decoder)?;
        Some(match text.split_once(':') {
            Some(("service", name)) => NetworkMode::Service(name.to_string()),
            Some(("container", name)) => NetworkMode::Container(name.to_string()),
            _ => match text.as_str() {
                "host" => NetworkMode::Host,
                "none" => NetworkMode::None,
                "bridge" | "default" => NetworkMode::Bridge,
                _ => NetworkMode::Named(text),
            },
        })
    }
}

/// When a container is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Restart {
    No,
    Always,
    /// After a failure, this often at most; 0 is always.
    OnFailure(u32),
    UnlessStopped,
}

impl std::fmt::Display for Restart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Restart::No => f.write_str("no"),
            Restart::Always => f.write_str("always"),
            Restart::OnFailure(0) => f.write_str("on-failure"),
            Restart::OnFailure(most) => write!(f, "on-failure:{most}"),
            Restart::UnlessStopped => f.write_str("unless-stopped"),
        }
    }
}

impl FromNode for Restart {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match node.text().unwrap_or_default() {
            "no" => Some(Restart::No),
            "always" => Some(Restart::Always),
            "unless-stopped" => Some(Restart::UnlessStopped),
            "on-failure" => Some(Restart::OnFailure(0)),
            other => match other.strip_prefix("on-failure:").and_then(|most| most.parse().ok()) {
                Some(most) => Some(Restart::OnFailure(most)),
                None => {
                    let help = match other {
                        "false" => "write `\"no\"`".to_string(),
                        "on_failure" | "onfailure" => "write `on-failure`".to_string(),
                        _ => "`on-failure:3` is for three attempts".to_string(),
                    };
                    decoder.wrong_help(node, "`no`, `always`, `unless-stopped` or `on-failure`", help)
                }
            },
        }
    }
}

/// When an image is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum PullPolicy {
    Always,
    Never,
    /// Where it is not there yet.
    Missing,
    /// It is built.
    Build,
    Daily,
    Weekly,
    /// When the last time was longer ago than this.
    Every(Time),
}

impl std::fmt::Display for PullPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PullPolicy::Always => f.write_str("always"),
            PullPolicy::Never => f.write_str("never"),
            PullPolicy::Missing => f.write_str("missing"),
            PullPolicy::Build => f.write_str("build"),
            PullPolicy::Daily => f.write_str("daily"),
            PullPolicy::Weekly => f.write_str("weekly"),
            PullPolicy::Every(time) => write!(f, "every_{time}"),
        }
    }
}

impl FromNode for PullPolicy {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match node.text().unwrap_or_default() {
            "always" => Some(PullPolicy::Always),
            "never" => Some(PullPolicy::Never),
            "missing" | "if_not_present" => Some(PullPolicy::Missing),
            "build" => Some(PullPolicy::Build),
            "daily" => Some(PullPolicy::Daily),
            "weekly" => Some(PullPolicy::Weekly),
            other => match other.strip_prefix("every_").and_then(Time::parse) {
                Some(time) => Some(PullPolicy::Every(time)),
                None => decoder.wrong(node, "`always`, `missing`, `never`, `build`, `daily`, `weekly` or `every_12h`"),
            },
        }
    }
}
