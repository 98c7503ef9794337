//! From a lab that is placed here to the containers that are started: the stacks of its services, each made fit for a machine
//! that has other things on it. Reads the small files that configs are made from; asks no engine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use labwright_model::compose::Project;
use labwright_model::snapshot::up::{Containers, Ready, Up, What};
use labwright_model::{Findings, Parsed, Placement, Severity, reference};
use labwright_plan::{Spec, Value};
use serde_json::{Value as Json, json};

use super::super::lower::{Ground, lower_stack};
use super::super::own;
use super::super::project::{self, IN_PLACE, Making, container_name, on_host};
use super::super::services::{self, Members, Placed};
use super::super::stack::{self, Attachment, Container, Mount, Network, Port, Volume};
use super::{GATEWAY, LABEL, Made, Stack, Stacks, unsaid};

const LOOPBACK: &str = "127.0.0.1";
/// The name of this machine to a container, as other tools have it.
const THIS_MACHINE: &str = "host.docker.internal";
/// Paths of the machine, which nobody takes for data; all others have a copy of their own.
const OF_THE_MACHINE: &[&str] = &["/dev", "/proc", "/sys", "/run", "/var/run", "/etc", "/lib", "/usr", "/tmp"];
const DEFAULT: &str = "default";
/// The network of a container that is reached from this machine, and has no way out by its file.
const PUBLISHED: &str = "published";
const HERE: &str = "here";

/// What containers are made from.
pub struct Ask<'a> {
    /// The lab, read with every host placed here.
    pub parsed: &'a Parsed,
    pub up: &'a Up,
    pub socket: &'a str,
    /// Which run they are of: hexadecimal digits.
    pub mark: &'a str,
    /// The folder that the lab has on this machine.
    pub own: &'a Path,
    /// Where files with secrets go.
    pub secrets: &'a Path,
    /// Digests that tags are held to.
    pub pinned: &'a BTreeMap<String, String>,
    /// Processes that containers reach, with the port that they use for each, and its own.
    pub relays: &'a BTreeMap<String, (u16, u16)>,
    /// A port of this machine for one of the lab that is published, and who has that one here where it is another's.
    pub claim: &'a mut dyn FnMut(u16) -> (u16, Option<String>),
}

/// The containers of all units that are made of some, and what is other with them here, in words.
pub fn lower(mut ask: Ask<'_>) -> (Stacks, Vec<String>) {
    let parsed = ask.parsed;
    let name: String = parsed.lab.lab.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let short = &ask.mark[..ask.mark.len().min(8)];
    let shared = format!("{}-up-{short}", name.to_lowercase());
    let mut notes = Vec::new();
    let (mut placed, mut parts) = (Vec::new(), Vec::new());
    for unit in in_order(ask.up) {
        let What::Containers(containers) = &unit.what else { continue };
        let Some((placement, project)) = of_unit(parsed, &unit.name) else { continue };
        let mut making = One {
            unit: &unit.name,
            port: unit.port,
            containers,
            placement,
            shared: &shared,
            short,
            notes: &mut notes,
            ask: &mut ask,
        };
        let (stack, part) = making.stack(project.clone());
        let made = Stack { once: unit.ready == Ready::Ended, ..part.made };
        parts.push(Part { made, ..part });
        placed.push(Placed {
            host: HERE,
            address: LOOPBACK.into(),
            service: &placement.service,
            environment: None,
            entry: &placement.entry,
            what: services::What::Stack(stack),
            span: labwright_model::Span::NONE,
            through: None,
        });
    }
    let others: Vec<String> = ask.up.units.iter().map(|unit| unit.name.clone()).collect();
    notes.extend(unsaid::notes(&placed, &others));
    // Who meets whom is told as for a host of the lab.
    let joins = services::joins(&placed);
    let apart = own::subnets(parsed, &placed);
    let apart = apart.get(HERE).map_or(&[][..], Vec::as_slice);
    let mut stacks = Stacks {
        socket: ask.socket.into(),
        mark: ask.mark.into(),
        secrets: ask.secrets.into(),
        services: Vec::new(),
        relays: ask.relays.clone(),
    };
    for ((placed, part), joins) in placed.iter().zip(parts).zip(joins) {
        if let Some(stack) = placed.stack() {
            stacks.services.push(resources(&ask, stack, joins, part, apart));
        }
    }
    one_spec_each(&mut stacks.services);
    (stacks, notes)
}

/// What is known of a stack's containers beside the stack.
struct Part {
    made: Stack,
    restarts: BTreeMap<String, String>,
    /// What containers are called by their file, by key.
    called: BTreeMap<String, String>,
}

/// What several stacks call by one name is one network: without a way out where one of them says so.
fn one_spec_each(services: &mut [Stack]) {
    let internal = |spec: &Spec| spec.get("internal") == Some(&Value::Bool(true));
    let networks = services.iter().flat_map(|stack| &stack.networks);
    let shut: BTreeSet<String> = networks.filter(|(_, spec)| internal(spec)).map(|(name, _)| name.clone()).collect();
    for (name, spec) in services.iter_mut().flat_map(|stack| &mut stack.networks) {
        spec.insert("internal".into(), shut.contains(name).into());
    }
}

/// What a stack is made of, as the engine is asked for it. `joins`: the networks in which it meets others, with what its
/// containers are called there.
fn resources(
    ask: &Ask<'_>,
    stack: &stack::Stack,
    joins: BTreeMap<String, Members>,
    part: Part,
    apart: &[IpNet],
) -> Stack {
    let Part { mut made, restarts, called } = part;
    let own_links = format!("{}_to_", stack.name);
    // Who needs it brings the network that they meet in, and puts it there: it waits for nobody's network.
    let (own, met): (BTreeMap<_, _>, BTreeMap<_, _>) =
        joins.into_iter().partition(|(network, _)| network.starts_with(&own_links));
    let named = |(key, mut names): (String, BTreeSet<String>)| {
        names.extend(called.get(&key).cloned());
        (container_name(&stack.name, &key, None, 1), names)
    };
    made.met = met.into_iter().map(|(network, members)| (network, members.into_iter().map(named).collect())).collect();
    let ground = Ground {
        host: HERE,
        address: LOOPBACK,
        socket: None,
        pinned: ask.pinned,
        adopt: false,
        apart,
        span: labwright_model::Span::NONE,
    };
    for resource in lower_stack(stack, &ground, &own, &BTreeSet::new()) {
        let (kind, name, mut spec) = (resource.id.kind(), resource.id.name().to_string(), resource.spec);
        if matches!(kind, "network" | "volume" | "container") {
            let labels = spec.entry("labels".into()).or_insert_with(|| Value::Map(BTreeMap::new()));
            if let Value::Map(labels) = labels {
                labels.insert(LABEL.into(), ask.mark.into());
                labels.insert(format!("{LABEL}.unit"), made.unit.as_str().into());
            }
        }
        match kind {
            "network" => drop(made.networks.insert(name, spec)),
            "volume" => drop(made.volumes.insert(name, spec)),
            "directory" => made.folders.push(PathBuf::from(name)),
            "file" => {
                let mode = spec.get("mode").and_then(Value::text).unwrap_or("0644");
                let mode = u32::from_str_radix(mode, 8).unwrap_or(0o644);
                let content = spec.get("content").and_then(Value::text).unwrap_or_default();
                made.files.push((PathBuf::from(name), content.to_string(), mode));
            }
            "container" => {
                let key = spec.get("service").and_then(Value::text).unwrap_or_default().to_string();
                let secrets = match spec.insert("secrets".into(), Value::Map(BTreeMap::new())) {
                    Some(Value::Map(all)) => all,
                    _ => BTreeMap::new(),
                };
                let sealed = |(path, value)| match value {
                    Value::Secret(sealed) => Some((path, sealed)),
                    _ => None,
                };
                let same = |id: &labwright_plan::ResourceId| {
                    (id.provider() == super::super::NAME && id.kind() == "container").then(|| id.name().to_string())
                };
                made.containers.push(Made {
                    image: stack.containers.get(&key).map(|container| container.image.clone()).unwrap_or_default(),
                    restart: restarts.get(&key).cloned().unwrap_or_else(|| "no".into()),
                    secrets: secrets.into_iter().filter_map(sealed).collect(),
                    after: resource.after.iter().filter_map(same).collect(),
                    way: None,
                    key,
                    name,
                    spec,
                });
            }
            _ => {}
        }
    }
    let names: BTreeSet<String> = made.containers.iter().map(|container| container.name.clone()).collect();
    for container in &mut made.containers {
        container.after.retain(|name| names.contains(name));
        let Some(Value::Map(networks)) = container.spec.get("networks") else { continue };
        let out = |name: &&String| {
            made.networks.get(*name).is_some_and(|spec| spec.get("internal") != Some(&Value::Bool(true)))
        };
        container.way = networks.keys().find(out).or_else(|| networks.keys().next()).cloned();
    }
    made
}

/// What is needed stands before what needs it, so that it is made first.
fn in_order(up: &Up) -> Vec<&labwright_model::snapshot::up::Unit> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut all = Vec::new();
    while all.len() < up.units.len() {
        let here = |name: &str| up.units.iter().any(|unit| unit.name == name);
        let next = up.units.iter().filter(|unit| !done.contains(unit.name.as_str()));
        let free: Vec<_> = next
            .clone()
            .filter(|unit| unit.needs.iter().all(|need| done.contains(need.as_str()) || !here(need)))
            .collect();
        // A circle is told by whoever starts them.
        let free = if free.is_empty() { next.collect() } else { free };
        done.extend(free.iter().map(|unit| unit.name.as_str()));
        all.extend(free);
    }
    all
}

fn of_unit<'a>(parsed: &'a Parsed, unit: &str) -> Option<(&'a Placement, &'a Project)> {
    let placement = parsed.placements.iter().find(|placement| placement.service == unit)?;
    Some((placement, parsed.project(placement)?))
}

/// One service that is being lowered.
struct One<'a, 'b> {
    unit: &'a str,
    port: Option<u16>,
    containers: &'a Containers,
    placement: &'a Placement,
    /// What networks of several services are called by here.
    shared: &'a str,
    short: &'a str,
    notes: &'a mut Vec<String>,
    ask: &'a mut Ask<'b>,
}

impl One<'_, '_> {
    fn note(&mut self, text: String) {
        self.notes.push(format!("`{}` {text}", self.unit));
    }

    fn stack(&mut self, mut project: Project) -> (stack::Stack, Part) {
        // The reader fills in the names that networks have outside: those that it made are no wish.
        let usual = project.name.clone();
        project.name = format!("{}-up-{}", project.name, self.short);
        // A name of its own would be that of the lab's real container.
        let mut called: BTreeMap<String, String> = BTreeMap::new();
        for (key, service) in &mut project.services.0 {
            called.extend(service.value.container_name.take().map(|name| (key.clone(), name.value)));
        }
        let beside = if project.folder.is_empty() { Path::new(".") } else { Path::new(&project.folder) };
        let folder = std::fs::canonicalize(beside).unwrap_or_else(|_| beside.to_path_buf()).display().to_string();
        let assets = assets(self.ask.parsed);
        let mut findings = Findings::new();
        let at = format!("services.{}", self.unit);
        let mut stack = project::stack(&mut Making {
            project: &project,
            at,
            assets: &assets,
            folder: &folder,
            findings: &mut findings,
        });
        let relative: BTreeSet<String> =
            project.relative.iter().map(|path| on_host(&folder, &project.folder, path)).collect();
        stack.folder = self.ask.own.join("stacks").join(self.unit).display().to_string();
        let mut made = Stack {
            unit: self.unit.to_string(),
            stop_within: i32::try_from(self.containers.stop_within.div_ceil(1000)).unwrap_or(10),
            ..Stack::default()
        };
        made.fault = findings
            .iter()
            .find(|finding| finding.severity == Severity::Error)
            .map(|finding| format!("{}: {}", finding.message, finding.help));
        self.networks(&mut stack, &called, &usual);
        let needed = self.placement.entry.needs.iter().map(|need| need.value.clone());
        made.relays = needed.filter(|name| self.ask.relays.contains_key(name)).collect();
        self.volumes(&mut stack, &relative, &mut made);
        let mut restarts = BTreeMap::new();
        let keys: Vec<String> = stack.containers.keys().cloned().collect();
        for key in &keys {
            let Some(container) = stack.containers.get_mut(key) else { continue };
            if container.replicas > 1 {
                container.replicas = 1;
                self.notes.push(format!("`{}`: `{key}` runs once here", self.unit));
            }
            restarts.insert(key.clone(), container.restart.take().unwrap_or_else(|| "no".into()));
            self.ports(key, container);
            self.environment(container);
            names(container, &made.relays);
        }
        (stack, Part { made, restarts, called })
    }

    /// The networks of its file are there as on its host, in the run's own name. What its file shares with others by a name,
    /// or expects to be there already, the lab's services share here.
    fn networks(&mut self, stack: &mut stack::Stack, called: &BTreeMap<String, String>, usual: &str) {
        let mut shared = BTreeSet::new();
        for (key, network) in &mut stack.networks {
            network.name.take_if(|name| *name == format!("{usual}_{key}"));
            if network.external || network.name.is_some() {
                let name = format!("{}_{}", self.shared, network.name.as_ref().unwrap_or(key));
                // What carries the real one, and its addresses, are of the real host.
                *network = Network { name: Some(name), internal: network.internal, ..Network::default() };
                shared.insert(key.clone());
            }
        }
        let alone = stack.containers.len() == 1;
        let door = self.containers.door.as_ref().map(|(key, _)| key.clone());
        let mut notes = Vec::new();
        for (key, container) in &mut stack.containers {
            let is_door = door.as_ref() == Some(key);
            if container.network_mode.as_deref() == Some("host") {
                container.network_mode = None;
                notes.push(format!("has a network of its own here, where the lab gives `{key}` that of its host"));
            }
            if container.network_mode.is_some() {
                continue;
            }
            let internal = |network: &String| stack.networks.get(network).is_some_and(|network| network.internal);
            // What its file keeps from every way out has none here either; but its port is published here.
            let shut_in = !container.networks.is_empty() && container.networks.keys().all(internal);
            let more = match container.networks.is_empty() {
                true => Some(DEFAULT),
                false => (shut_in && is_door).then_some(PUBLISHED),
            };
            if let Some(more) = more {
                stack.networks.entry(more.to_string()).or_default();
                container.networks.insert(more.to_string(), Attachment::default());
            }
            let mut names = BTreeSet::from([format!("{}-{key}", self.unit)]);
            if alone || is_door || (door.is_none() && key == self.unit) {
                names.insert(self.unit.to_string());
            }
            for (network, attachment) in &mut container.networks {
                attachment.aliases.extend(called.get(key).cloned());
                if shared.contains(network) {
                    attachment.aliases.extend(names.clone());
                    attachment.settings.clear();
                }
            }
        }
        let used: BTreeSet<String> =
            stack.containers.values().flat_map(|container| container.networks.keys().cloned()).collect();
        stack.networks.retain(|key, _| used.contains(key));
        notes.into_iter().for_each(|note| self.note(note));
    }

    /// Data of the lab's hosts is not touched here: what stands at a path of a host has a folder of its own.
    fn volumes(&mut self, stack: &mut stack::Stack, relative: &BTreeSet<String>, made: &mut Stack) {
        for volume in stack.volumes.values_mut() {
            (volume.name, volume.external) = (None, false);
        }
        let mut nameless = Vec::new();
        let mut moved = Vec::new();
        for (key, container) in &mut stack.containers {
            for mount in &mut container.mounts {
                match mount {
                    Mount::Volume { source: source @ None, target, .. } => {
                        let name = format!("{key}{}", target.replace('/', "_"));
                        *source = Some(name.clone());
                        nameless.push(name);
                    }
                    Mount::Bind { source, read_only, .. }
                        if !relative.contains(source) && !stays(source, *read_only) =>
                    {
                        let own = self.ask.own.join("data").join(self.unit).join(source.trim_start_matches('/'));
                        moved.push(source.clone());
                        made.folders.push(own.clone());
                        *source = own.display().to_string();
                    }
                    _ => {}
                }
            }
        }
        stack.volumes.extend(nameless.into_iter().map(|name| (name, Volume::default())));
        if !moved.is_empty() {
            moved.sort();
            moved.dedup();
            self.note(format!("has a folder of its own here in the place of `{}`", moved.join("`, `")));
        }
    }

    /// Published on loopback alone, each at a port that is free here.
    fn ports(&mut self, key: &str, container: &mut Container) {
        let door = self.containers.door.as_ref().filter(|(door, _)| door == key).map(|(_, port)| *port);
        let mut has_door = false;
        for port in &mut container.ports {
            let is_door = Some(port.target) == door && matches!(port.protocol.as_str(), "" | "tcp") && !has_door;
            has_door |= is_door;
            let said = port.published.as_deref().and_then(|said| said.split('-').next()?.parse().ok());
            let here = match self.port.filter(|_| is_door) {
                Some(here) => here,
                None => {
                    let wanted = said.filter(|port| *port > 0).unwrap_or(port.target);
                    let (here, who) = (self.ask.claim)(wanted);
                    let taken = who
                        .map(|who| format!("`{}` has port {here} here instead of {wanted}: {who} has that", self.unit));
                    self.notes.extend(taken);
                    here
                }
            };
            (port.address, port.published) = (Some(LOOPBACK.into()), Some(here.to_string()));
        }
        if let (Some(target), Some(here), false, None) = (door, self.port, has_door, &container.network_mode) {
            container.ports.push(Port {
                address: Some(LOOPBACK.into()),
                published: Some(here.to_string()),
                target,
                protocol: "tcp".into(),
            });
        }
        let tells = container.healthcheck.is_some();
        container.probe = door.filter(|_| !tells && container.network_mode.is_none()).map(|port| port.to_string());
    }

    fn environment(&self, container: &mut Container) {
        let Some(up) = &self.placement.entry.up else { return };
        for (name, value) in &up.environment {
            container.environment.remove(name);
            container.secret_environment.remove(name);
            match reference::secrets(value).is_empty() {
                true => container.environment.insert(name.clone(), reference::unescape(value)),
                false => container.secret_environment.insert(name.clone(), value.clone()),
            };
        }
    }
}

/// Processes of this machine that are needed are found by their names as well.
fn names(container: &mut Container, relays: &BTreeSet<String>) {
    if container.network_mode.is_some() {
        return;
    }
    let said = container.settings.entry("extra_hosts").or_insert_with(|| json!([]));
    let Json::Array(said) = said else { return };
    for name in relays.iter().map(String::as_str).chain([THIS_MACHINE]) {
        let has = |line: &Json| line.as_str().is_some_and(|line| line.split(':').next() == Some(name));
        if !said.iter().any(has) {
            said.push(json!(format!("{name}:{GATEWAY}")));
        }
    }
}

/// Whether what stands at a path here may be what the lab means.
fn stays(path: &str, read_only: bool) -> bool {
    let below = |folder: &&str| path == *folder || path.starts_with(&format!("{folder}/"));
    let there = Path::new(path);
    there.exists() && (OF_THE_MACHINE.iter().any(below) || (read_only && there.is_file()))
}

/// Folders beside the lab's files are mounted where they are; configs are read.
fn assets(parsed: &Parsed) -> BTreeMap<String, Result<Vec<u8>, String>> {
    let read = |path: &String| match path.ends_with('/') {
        true => Err(IN_PLACE.to_string()),
        false => std::fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "no such file".to_string(),
            _ => error.to_string(),
        }),
    };
    project::assets(parsed).into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// Puts an address where it was not known yet. Without one there is no such name.
pub fn put_gateway(spec: &mut Spec, gateway: Option<IpAddr>) {
    let Some(Value::Map(options)) = spec.get_mut("options") else { return };
    let Some(Value::List(hosts)) = options.get_mut("extra_hosts") else { return };
    hosts.retain(|host| gateway.is_some() || host.text().is_none_or(|text| !text.contains(GATEWAY)));
    for host in hosts {
        if let (Value::Text(text), Some(gateway)) = (host, gateway) {
            *text = text.replace(GATEWAY, &gateway.to_string());
        }
    }
}
