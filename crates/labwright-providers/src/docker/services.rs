//! The services of a lab that are containers, as stacks on their hosts: who meets whom, who waits for whom, what is
//! published. A network for each service, a link between two of which one needs the other, and no port that nobody asked for.

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::compose::Project;
use labwright_model::lab::{Host, Service};
use labwright_model::{Finding, Findings, Parsed, Placement, Span, beside, codes};
use labwright_plan::{Input, Lowered, Resource, ResourceId};
use serde_json::{Value as Json, json};

use super::apart;
use super::egress::{self, Through};
use super::lock;
use super::lower::{self, Ground, link, lower_stack};
use super::own;
use super::project::{self, Making};
use super::stack::{Container, Port, Stack};
use crate::process;

/// Where stacks have their folders on a host.
const FOLDERS: &str = "/srv/labwright";
const LOOPBACK: &str = "127.0.0.1";

/// One service on one host.
pub struct Placed<'a> {
    pub host: &'a str,
    /// Where others reach the host.
    pub address: String,
    pub service: &'a str,
    pub environment: Option<&'a str>,
    pub entry: &'a Service,
    pub what: What,
    pub span: Span,
    /// Whose network its containers live in.
    pub through: Option<Through>,
}

pub enum What {
    Stack(Stack),
    /// A unit of the host.
    Process(ResourceId),
}

impl Placed<'_> {
    pub fn stack(&self) -> Option<&Stack> {
        match &self.what {
            What::Stack(stack) => Some(stack),
            What::Process(_) => None,
        }
    }

    /// Whether the two are placed in different environments, and have nothing to do with each other.
    pub fn is_apart(&self, other: &Placed<'_>) -> bool {
        matches!((self.environment, other.environment), (Some(a), Some(b)) if a != b)
    }

    /// Whether it cannot work without another. In an environment, that is the other one's in the same.
    fn needs(&self, other: &Placed<'_>) -> bool {
        let itself = (self.service, self.environment) == (other.service, other.environment);
        !self.is_apart(other) && !itself && self.entry.needs.iter().any(|need| need.value == other.service)
    }

    /// What has to be in place before whatever needs it.
    fn resources(&self) -> Vec<ResourceId> {
        match &self.what {
            What::Process(unit) => vec![unit.clone()],
            What::Stack(stack) => {
                let pinned = BTreeMap::new();
                let ground = Ground {
                    host: self.host,
                    address: &self.address,
                    socket: None,
                    pinned: &pinned,
                    adopt: false,
                    apart: &[],
                    span: self.span,
                };
                let all = stack.containers.iter();
                all.flat_map(|(key, container)| lower::containers(&ground, &stack.name, key, container)).collect()
            }
        }
    }

    /// The container that its port leads to, and the port.
    fn door(&self) -> Option<(String, u16)> {
        let stack = self.stack()?;
        let port = &self.entry.port.as_ref()?.value;
        let (key, number) = port.split_once(':').map_or((None, port.as_str()), |(key, number)| (Some(key), number));
        let only = || (stack.containers.len() == 1).then(|| stack.containers.keys().next().cloned()).flatten();
        let same = || stack.containers.contains_key(self.service).then(|| self.service.to_string());
        let key = key.map(str::to_string).or_else(only).or_else(same)?;
        Some((key, number.parse().ok()?))
    }
}

/// Every stack of every service.
pub fn lower(input: &Input<'_>, out: &mut Lowered) {
    let pinned = pinned(input, &mut out.findings);
    let mut placed = placed(input, &mut out.findings);
    one_name_each(&placed, &mut out.findings);
    apart::check(&placed, &mut out.findings);
    let doors: Vec<Vec<Port>> = placed.iter().map(|one| doors(one, &placed)).collect();
    let hosts: Vec<BTreeMap<String, String>> = placed.iter().map(|one| names(one, &placed)).collect();
    for ((one, doors), names) in placed.iter_mut().zip(doors).zip(hosts) {
        open(one, doors);
        let What::Stack(stack) = &mut one.what else { continue };
        stack.containers.values_mut().for_each(|container| name_hosts(container, &names));
    }
    egress::route(&mut placed, &mut out.findings);
    one_port_each(&placed, &mut out.findings);
    let joins = joins(&placed);
    let apart = own::subnets(input.parsed, &placed);
    let mut known: BTreeSet<ResourceId> = out.resources.iter().map(|resource| resource.id.clone()).collect();
    let mut resources: BTreeMap<ResourceId, Resource> = BTreeMap::new();
    for (one, joins) in placed.iter().zip(&joins) {
        let after = after(one, &placed);
        let stack = match &one.what {
            What::Stack(stack) => stack,
            What::Process(unit) => {
                // The host's own part made it; what it needs is known here.
                let unit = out.resources.iter_mut().find(|resource| resource.id == *unit);
                unit.into_iter().for_each(|unit| unit.after.extend(after.iter().cloned()));
                continue;
            }
        };
        let Some(host) = input.parsed.lab.compute.hosts.get(one.host) else { continue };
        let ground = Ground {
            host: one.host,
            address: &one.address,
            socket: host.docker_socket.as_ref().map(|socket| socket.value.as_str()),
            pinned: &pinned,
            adopt: false,
            apart: apart.get(one.host).map_or(&[], Vec::as_slice),
            span: one.span,
        };
        for resource in lower_stack(stack, &ground, joins, &after) {
            // What the lab file says of a file or folder itself counts.
            if !known.contains(&resource.id) {
                resources.entry(resource.id.clone()).or_insert(resource);
            }
        }
    }
    known.extend(resources.keys().cloned());
    out.resources.extend(resources.into_values());
}

/// The services that run on hosts that Labwright changes, each as often as it does.
fn placed<'a>(input: &Input<'a>, findings: &mut Findings) -> Vec<Placed<'a>> {
    let parsed = input.parsed;
    let mut all = Vec::new();
    for placement in &parsed.placements {
        let environment = placement.environment.as_deref();
        let span = parsed.span_of(&["services", &placement.service, part(placement)]);
        let project = parsed.project(placement);
        // Said once, wherever it runs.
        let stack = project.map(|project| stack(input, placement, project, findings));
        for (host, entry) in hosts(parsed, &placement.entry) {
            let what = match (&stack, &placement.entry.run) {
                (Some(stack), _) => What::Stack(stack.clone()),
                (None, Some(_)) => What::Process(ResourceId::new(host, "host", "unit", &process::unit_name(placement))),
                (None, None) => continue,
            };
            all.push(Placed {
                host,
                address: address(parsed, entry),
                service: &placement.service,
                environment,
                entry: &placement.entry,
                what,
                through: None,
                span: if project.is_some() { span } else { parsed.span_of(&["services", &placement.service]) },
            });
        }
    }
    all
}

fn stack(input: &Input<'_>, placement: &Placement, project: &Project, findings: &mut Findings) -> Stack {
    let folder = folder(placement, project);
    let at = format!("services.{}.{}", placement.service, part(placement));
    let before = findings.len();
    let stack = project::stack(&mut Making { project, at, assets: input.assets, folder: &folder, findings });
    if project.inline {
        findings[before..].iter_mut().for_each(|finding| finding.span = closer(input.parsed, finding));
    }
    stack
}

/// Where what a finding tells of stands in the lab file, if that is closer than the name of its container.
fn closer(parsed: &Parsed, finding: &Finding) -> Span {
    let path: Vec<&str> = finding.at.split('.').collect();
    let (there, said) = (parsed.span_of(&path), finding.span);
    if there.file == said.file && there.start > said.start { there } else { said }
}

/// The key that the containers of a service stand under.
fn part(placement: &Placement) -> &'static str {
    if placement.entry.compose.is_some() { "compose" } else { "containers" }
}

/// What is to be said of the containers of a lab, wherever they run: what cannot be carried out, and what is left out.
pub fn findings(input: &Input<'_>) -> Findings {
    let mut findings = Findings::new();
    for placement in &input.parsed.placements {
        // Of a container that says its image and nothing else there is nothing to say, and most of a large lab are such.
        let bare = |body: &Json| body.as_object().is_some_and(|keys| keys.keys().all(|key| key == "image"));
        let containers = placement.entry.containers.0.as_object();
        let project = input.parsed.project(placement);
        let worth = |project: &&Project| !project.inline || !containers.is_some_and(|all| all.values().all(bare));
        if let Some(project) = project.filter(worth) {
            stack(input, placement, project, &mut findings);
        }
    }
    findings
}

/// A stack's folder on its host.
pub fn folder(placement: &Placement, project: &Project) -> String {
    match &placement.entry.folder {
        Some(folder) => folder.value.trim_end_matches('/').to_string(),
        None => format!("{FOLDERS}/{}", project.name),
    }
}

/// The files that stacks read, as `Input::assets` is keyed.
pub fn assets(parsed: &Parsed) -> Vec<String> {
    let mut all: Vec<String> = project::assets(parsed).into_iter().collect();
    all.extend(lock_path(parsed).filter(|_| !parsed.projects.is_empty()));
    all
}

fn lock_path(parsed: &Parsed) -> Option<String> {
    parsed.sources.get(0).map(|source| beside(&source.name, lock::FILE))
}

fn pinned(input: &Input<'_>, findings: &mut Findings) -> BTreeMap<String, String> {
    let path = lock_path(input.parsed).unwrap_or_default();
    // Without the file nothing is held: the first apply writes it.
    let Some(Ok(content)) = input.assets.get(&path) else { return BTreeMap::new() };
    match lock::read(content) {
        Ok(lock) => lock.images,
        Err(why) => {
            let message = format!("cannot read `{path}`: {why}");
            findings.push(
                Finding::error(codes::WRONG_VALUE, "services", Span::NONE, message)
                    .help("take it from version control as it was, or remove it: the next apply writes it anew"),
            );
            BTreeMap::new()
        }
    }
}

/// The hosts of a service that Labwright changes.
fn hosts<'a>(parsed: &'a Parsed, service: &Service) -> BTreeMap<&'a str, &'a Host> {
    let on = service.on.iter().filter_map(|on| parsed.lab.compute.hosts.get_key_value(&on.value));
    on.filter(|(_, host)| crate::host::managed(host)).map(|(name, host)| (name.as_str(), &host.value)).collect()
}

/// Never every address by accident: the host's own one in its zone, or nobody but the host itself.
fn address(parsed: &Parsed, host: &Host) -> String {
    let zone = host.zone.as_ref().and_then(|zone| parsed.lab.network.zones.get(&zone.value));
    let inside = |address: &&labwright_model::Spanned<std::net::IpAddr>| {
        let subnets = zone.iter().flat_map(|zone| zone.subnet.iter());
        subnets.into_iter().any(|subnet| subnet.value.0.contains(&address.value))
    };
    let own = host.address.iter().find(inside).or_else(|| host.address.iter().next());
    own.map_or_else(|| LOOPBACK.to_string(), |address| address.value.to_string())
}

/// Two services that Docker takes for one would take each other's containers.
fn one_name_each(placed: &[Placed<'_>], findings: &mut Findings) {
    let mut names: BTreeMap<(&str, &str), &Placed<'_>> = BTreeMap::new();
    for one in placed {
        let Some(stack) = one.stack() else { continue };
        let Some(first) = names.insert((one.host, &stack.name), one) else { continue };
        let message = format!(
            "`{}` and `{}` are one project `{}` to Docker on `{}`",
            first.service, one.service, stack.name, one.host
        );
        let at = format!("services.{}", one.service);
        let finding = Finding::error(codes::COMPOSE_CONTRADICTION, at, one.span, message);
        let help = "give one of them another name: `name:` at the top of its Compose file, or another name in the lab";
        findings.push(finding.help(help).related(first.span, "the other one"));
    }
}

/// One port of a host for two containers: one of them would not start.
fn one_port_each(placed: &[Placed<'_>], findings: &mut Findings) {
    // By host, port and protocol: the address, and whose it is.
    type Taken<'a> = BTreeMap<(&'a str, String, String), Vec<(String, &'a Placed<'a>)>>;
    let mut taken: Taken<'_> = BTreeMap::new();
    for one in placed {
        let ports = one.stack().into_iter().flat_map(|stack| stack.containers.values()).flat_map(|c| &c.ports);
        for port in ports {
            let Some(published) = port.published.clone().filter(|port| !port.contains('-') && port != "0") else {
                continue;
            };
            let address = port.address.clone().unwrap_or_else(|| one.address.clone());
            let all = |address: &str| matches!(address, "0.0.0.0" | "::");
            let others = taken.entry((one.host, published.clone(), port.protocol.clone())).or_default();
            let clash = others.iter().find(|(other, _)| *other == address || all(other) || all(&address));
            if let Some((_, first)) = clash.filter(|(_, first)| !std::ptr::eq(*first, one)) {
                let message = format!(
                    "`{}` and `{}` both publish port {published}/{} of `{}`",
                    first.service, one.service, port.protocol, one.host
                );
                let at = format!("services.{}", one.service);
                let finding = Finding::error(codes::COMPOSE_CONTRADICTION, at, one.span, message);
                findings.push(finding.help("give one of them another port").related(first.span, "the other one"));
            }
            others.push((address, one));
        }
    }
}

/// What has to be open for those that need a service from elsewhere: nothing else is. Whoever leads its names to it says
/// so where that is done.
fn doors(one: &Placed<'_>, all: &[Placed<'_>]) -> Vec<Port> {
    let Some((key, number)) = one.door() else { return Vec::new() };
    let Some(container) = one.stack().and_then(|stack| stack.containers.get(&key)) else { return Vec::new() };
    if container.network_mode.is_some() || container.ports.iter().any(|port| port.target == number) {
        return Vec::new();
    }
    let needers = all.iter().filter(|other| other.needs(one));
    let mut near = false;
    let mut far = false;
    for needer in needers {
        far |= needer.host != one.host;
        near |= needer.host == one.host && needer.stack().is_none();
    }
    let port = |address: Option<&str>| Port {
        address: address.map(str::to_string),
        published: Some(number.to_string()),
        target: number,
        protocol: "tcp".into(),
    };
    let near = (near && !(far && one.address == LOOPBACK)).then(|| port(Some(LOOPBACK)));
    near.into_iter().chain(far.then(|| port(None))).collect()
}

/// Opens the port that a service's own is, and says what tells that it works.
fn open(one: &mut Placed<'_>, doors: Vec<Port>) {
    let Some((key, number)) = one.door() else { return };
    let probe = one.entry.probe.as_ref().and_then(|probe| match (&probe.path, &probe.url) {
        (Some(path), None) if probe.expect.iter().any(|wanted| wanted.value == "[STATUS] == 200") => {
            Some(format!("{number}/{}", path.trim_start_matches('/')))
        }
        // What else it is to answer is for whoever watches it; here it is enough that somebody is there.
        (Some(_), None) => Some(number.to_string()),
        (None, Some(url)) if url.starts_with("tcp://") => Some(number.to_string()),
        _ => None,
    });
    if let What::Stack(stack) = &mut one.what
        && let Some(container) = stack.containers.get_mut(&key)
    {
        container.ports.extend(doors);
        container.probe = probe.filter(|_| container.healthcheck.is_none());
    }
}

/// The services that are needed and are not on a network of this engine, with the address that each is found at.
fn names(one: &Placed<'_>, all: &[Placed<'_>]) -> BTreeMap<String, String> {
    let elsewhere = |other: &&Placed<'_>| one.needs(other) && (other.host != one.host || other.stack().is_none());
    let reachable = |other: &&Placed<'_>| other.address != LOOPBACK;
    let needed = all.iter().filter(elsewhere).filter(reachable);
    needed.map(|other| (other.service.to_string(), other.address.clone())).collect()
}

fn name_hosts(container: &mut Container, names: &BTreeMap<String, String>) {
    if names.is_empty() || container.network_mode.is_some() {
        return;
    }
    let said = container.settings.entry("extra_hosts").or_insert_with(|| json!([]));
    let Json::Array(said) = said else { return };
    for (name, address) in names {
        let has = |line: &Json| line.as_str().is_some_and(|line| line.split(':').next() == Some(name));
        if !said.iter().any(has) {
            said.push(json!(format!("{name}:{address}")));
        }
    }
}

/// For each stack, the networks in which it meets those it needs and those that need it: names lead nowhere else. What
/// lives in a gateway's network meets others there: the gateway's container has its names.
pub fn joins(all: &[Placed<'_>]) -> Vec<BTreeMap<String, Members>> {
    let mut joins: Vec<BTreeMap<String, Members>> = vec![BTreeMap::new(); all.len()];
    let mut join = |n: usize, key: &String, network: &str, names: BTreeSet<String>| {
        let (n, key) = all[n].through.as_ref().map_or((n, key), |through| (through.gateway, &through.key));
        joins[n].entry(network.to_string()).or_default().entry(key.clone()).or_default().extend(names);
    };
    for (n, one) in all.iter().enumerate() {
        let Some(stack) = one.stack() else { continue };
        for (m, other) in all.iter().enumerate().filter(|(_, other)| other.host == one.host) {
            let Some(other_stack) = other.stack() else { continue };
            let lives_there = one.through.as_ref().is_some_and(|through| through.gateway == m);
            // Who is in one network by what the files say needs no other to meet in.
            if !one.needs(other) && !lives_there || lower::meet(stack, other_stack) {
                continue;
            }
            let network = link(&other_stack.name, &stack.name);
            for key in stack.containers.keys() {
                // Siblings in there know each other by name still.
                let names = if lives_there { called(one, stack, key) } else { BTreeSet::new() };
                join(n, key, &network, names);
            }
            // Whoever says which container its port is of shows no other.
            let door = other.door().map(|(key, _)| key);
            for key in other_stack.containers.keys().filter(|key| door.as_ref().is_none_or(|door| door == *key)) {
                join(m, key, &network, called(other, other_stack, key));
            }
        }
    }
    joins
}

/// What each container is called in a network, by its key.
pub type Members = BTreeMap<String, BTreeSet<String>>;

/// What a container of a service is called by those who need it.
fn called(one: &Placed<'_>, stack: &Stack, key: &String) -> BTreeSet<String> {
    let door = one.door().map(|(key, _)| key);
    let is_it = stack.containers.len() == 1 || door.as_ref() == Some(key) || (door.is_none() && key == one.service);
    let inside = one.through.is_some().then(|| key.clone());
    let own = format!("{}-{key}", one.service);
    BTreeSet::from_iter([own].into_iter().chain(is_it.then(|| one.service.to_string())).chain(inside))
}

/// The containers and units of the services that one needs, wherever they run.
fn after(one: &Placed<'_>, all: &[Placed<'_>]) -> BTreeSet<ResourceId> {
    let gateway = one.through.as_ref().and_then(|through| all.get(through.gateway));
    all.iter().filter(|other| one.needs(other)).chain(gateway).flat_map(Placed::resources).collect()
}

#[cfg(test)]
#[path = "services_tests.rs"]
mod tests;
