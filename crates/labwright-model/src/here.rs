//! The whole lab on one machine: which ports services have there, and what stands in for them, put into the tree before
//! anything refers to it. So the lab is read, checked and derived from as everywhere, with every host placed here.
//!
//! Asks no machine: which ports are taken there is handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::lab::Lab;
use crate::resolve::{mentions_port, overlay};
use crate::span::Spanned;
use crate::tree::{Key, Kind, Node};

/// What is known of the machine, and wanted of it.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The environment that services are placed in; the first of the lab's when absent.
    pub environment: Option<String>,
    /// The services that are wanted, with what they need; all when empty.
    pub only: Vec<String>,
    /// Ports of the machine that somebody listens on, and who.
    pub taken: BTreeMap<u16, String>,
    /// The first and the last port that the machine gives to connections of its own: one that is free there now may be gone in a
    /// moment.
    pub passing: Option<(u16, u16)>,
    /// Why nothing can run in containers here; `None` where it can.
    pub no_engine: Option<String>,
}

impl Ask {
    /// The ports that are tried in place of one: from there on, first those that no connection takes meanwhile.
    fn instead_of(&self, from: u16) -> impl Iterator<Item = u16> {
        let lasting = move |port: &u16| self.passing.is_none_or(|(first, last)| !(first..=last).contains(port));
        // Where that is among those, each has another place to begin, so that two do not meet at the first.
        let begin = if lasting(&from) { from } else { OTHERS + from % OTHERS_SPREAD };
        let all = move || (begin..=u16::MAX).chain(OTHERS..begin);
        std::iter::once(from).chain(all().filter(lasting)).chain(all())
    }
}

/// Where ports begin that nobody asked for, and over how many they are spread.
const OTHERS: u16 = 20_000;
const OTHERS_SPREAD: u16 = 10_000;

/// Which ports things have on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// The environment that services are placed in, where the lab has some.
    pub environment: Option<String>,
    /// By service.
    pub services: BTreeMap<String, u16>,
    /// Services that are wanted here.
    pub wanted: BTreeSet<String>,
    /// Services that are in other environments alone.
    pub elsewhere: Vec<String>,
    /// Services whose port is another one here, with the one that the lab says.
    pub moved: Vec<(String, u16, u16)>,
    /// Services that cannot have their port here: the port, and who has it.
    pub clashes: BTreeMap<String, (u16, String)>,
    /// Processes of this machine as containers reach them: the port that those use, and the process's own.
    pub relays: BTreeMap<String, (u16, u16)>,
    /// Why nothing can run in containers here.
    pub no_engine: Option<String>,
    pub http: u16,
    pub https: u16,
    pub dns: u16,
}

impl Ports {
    /// What a reference stands for here, where that is something else than in the lab.
    pub(crate) fn answer(&self, kind: &str, name: &str, field: &str) -> Option<String> {
        match (kind, field) {
            ("host", "address") => Some(Ipv4Addr::LOCALHOST.to_string()),
            ("host", "fqdn") => Some("localhost".to_string()),
            ("service", "host" | "fqdn") if self.services.contains_key(name) => Some("localhost".to_string()),
            ("service", "url") => self.services.get(name).map(|port| format!("http://localhost:{port}")),
            _ => None,
        }
    }

    fn is_free(&self, port: u16, ask: &Ask) -> bool {
        !ask.taken.contains_key(&port)
            && !self.services.values().any(|own| *own == port)
            && ![self.http, self.https, self.dns].contains(&port)
    }

    /// A port that nobody here has, for what else is to be reached: this one, or above 1024 the next that is free.
    pub fn claim(&self, from: u16, others: &BTreeSet<u16>, ask: &Ask) -> u16 {
        let from = unprivileged(from);
        let free = |port: &u16| !others.contains(port) && self.is_free(*port, ask);
        ask.instead_of(from).find(free).unwrap_or(from)
    }

    /// A port that nobody here has: this one, or the next that is free.
    fn free(&self, from: u16, ask: &Ask) -> u16 {
        ask.instead_of(from).find(|port| self.is_free(*port, ask)).unwrap_or(from)
    }
}

/// Where the ports begin that containers reach processes of this machine by.
const RELAYS: u16 = 40_000;

/// Ports below 1024 take rights that nobody shall need here: 443 is 8443.
fn unprivileged(port: u16) -> u16 {
    if port < 1024 { port + 8000 } else { port }
}

/// What a service is made of; what stands in for it replaces all of it.
const SOURCES: &[&str] = &[
    "use",
    "compose",
    "containers",
    "networks",
    "volumes",
    "project",
    "folder",
    "run",
    "built_in",
    "external",
    "site",
];

/// The tree with all services as they are on this machine, and their ports.
pub(crate) fn place(root: &Arc<Node>, ask: &Ask) -> (Arc<Node>, Ports) {
    let Kind::Map(sections) = &root.kind else { return (root.clone(), Ports::default()) };
    let environment = environment(root, ask);
    let mut ports = Ports { environment, no_engine: ask.no_engine.clone(), ..Ports::default() };
    let proxy = root.get("platform").and_then(|platform| platform.get("reverse_proxy"));
    let said = |key: &str, default: u16| {
        let said = proxy.and_then(|proxy| proxy.get(key)).and_then(|node| node.text()?.parse().ok());
        unprivileged(said.unwrap_or(default))
    };
    ports.http = ports.free(said("http", 80), ask);
    ports.https = ports.free(said("https", 443), ask);
    ports.dns = ports.free(unprivileged(53), ask);
    let Some(services) = root.get("services") else { return (root.clone(), ports) };
    let Kind::Map(entries) = &services.kind else { return (root.clone(), ports) };
    let mut placed: Vec<(Key, Arc<Node>)> = Vec::new();
    for (key, service) in entries {
        match in_environment(service, ports.environment.as_deref()) {
            Some(service) => placed.push((key.clone(), Arc::new(stand_in(&service)))),
            None => ports.elsewhere.push(key.text.clone()),
        }
    }
    ports.wanted = wanted(&placed, &ask.only);
    // Who cannot move is placed first, so that others give way.
    let all: Vec<(String, u16, bool)> = placed.iter().filter_map(|(key, node)| port(&key.text, node)).collect();
    for (name, port, _) in
        all.iter().filter(|(name, _, movable)| !movable && ports.wanted.contains(name)).cloned().collect::<Vec<_>>()
    {
        let other = ports.services.iter().find(|(_, own)| **own == port).map(|(other, _)| format!("`{other}`"));
        let door = [ports.http, ports.https, ports.dns].contains(&port).then(|| "the lab's own doors".to_string());
        match other.or_else(|| ask.taken.get(&port).cloned()).or(door) {
            Some(who) => drop(ports.clashes.insert(name, (port, who))),
            None => drop(ports.services.insert(name, port)),
        }
    }
    for (name, port, _) in all.iter().filter(|(name, _, movable)| *movable && ports.wanted.contains(name)) {
        let here = ports.free(unprivileged(*port), ask);
        if here != *port {
            ports.moved.push((name.clone(), *port, here));
        }
        ports.services.insert(name.clone(), here);
    }
    if placed.iter().any(|(key, node)| ports.wanted.contains(&key.text) && in_containers(node)) {
        let mut claimed = BTreeSet::new();
        let processes = placed.iter().filter(|(_, node)| !in_containers(node));
        for (key, _) in processes {
            let Some(own) = ports.services.get(&key.text).copied() else { continue };
            let relay = ports.claim(RELAYS + own % 10_000, &claimed, ask);
            claimed.insert(relay);
            ports.relays.insert(key.text.clone(), (relay, own));
        }
    }
    // What a container of the lab calls another service by, there and back.
    let inside: BTreeMap<String, u16> = placed
        .iter()
        .filter(|(_, node)| in_containers(node))
        .filter_map(|(key, node)| Some((key.text.clone(), crate::resolve::port(&key.text, node)?)))
        .collect();
    let seen = |name: &str, field: &str| from_container(&ports, &inside, name, field);
    for (key, node) in &mut placed {
        if in_containers(node) {
            // The port of one is that inside; what a Compose file says is not ours to put anything into.
            if let Some(containers) = node.get("containers") {
                *node = Arc::new(with(node, "containers", rewritten(containers, &seen)));
            }
        } else if let Some(port) = ports.services.get(&key.text) {
            *node = Arc::new(with(node, "port", scalar(&port.to_string(), node)));
        }
    }
    let services = Arc::new(Node { kind: Kind::Map(placed), span: services.span });
    let section = |(key, node): &(Key, Arc<Node>)| match key.text == "services" {
        true => (key.clone(), services.clone()),
        false => (key.clone(), node.clone()),
    };
    (Arc::new(Node { kind: Kind::Map(sections.iter().map(section).collect()), span: root.span }), ports)
}

/// Every host of the lab is this machine.
pub(crate) fn settle(lab: &mut Lab) {
    for host in lab.compute.hosts.0.values_mut() {
        host.value.local = true;
        host.value.address.0 = vec![Spanned::from(IpAddr::V4(Ipv4Addr::LOCALHOST))];
    }
}

fn texts(node: Option<&Arc<Node>>) -> Vec<&str> {
    match node.map(|node| &node.kind) {
        Some(Kind::Scalar { text, .. }) => vec![text],
        Some(Kind::List(items)) => items.iter().filter_map(|item| item.text()).collect(),
        Some(Kind::Map(entries)) => entries.iter().map(|(key, _)| key.text.as_str()).collect(),
        _ => Vec::new(),
    }
}

fn environment(root: &Node, ask: &Ask) -> Option<String> {
    ask.environment.clone().or_else(|| texts(root.get("environments")).first().map(ToString::to_string))
}

/// A service as it is in the one environment; `None` where it is in others alone.
fn in_environment(service: &Arc<Node>, environment: Option<&str>) -> Option<Node> {
    let Some(table) = service.get("environments").filter(|table| !table.is_null()) else {
        return Some((**service).clone());
    };
    let environment = environment?;
    if !texts(Some(table)).contains(&environment) {
        return None;
    }
    let merged = overlay(service, table.get(environment).map(Arc::as_ref));
    // One environment stays, and says nothing more: `${env}` is its name.
    let key = Key { text: environment.to_string(), span: table.span };
    let one =
        Node { kind: Kind::Map(vec![(key, Arc::new(Node { kind: Kind::Null, span: table.span }))]), span: table.span };
    Some(with(&merged, "environments", one))
}

/// Whether a service is made of containers.
fn in_containers(service: &Node) -> bool {
    let said = |key: &str| service.get(key).is_some_and(|node| !node.is_null());
    (said("containers") || said("compose")) && !said("run")
}

/// What a container here finds another service by, where that is something else than for a process: its name, which is
/// known in the network of the lab's containers.
fn from_container(ports: &Ports, inside: &BTreeMap<String, u16>, name: &str, field: &str) -> Option<String> {
    let port = inside.get(name).or_else(|| ports.relays.get(name).map(|(relay, _)| relay))?;
    match field {
        "url" => Some(format!("http://{name}:{port}")),
        "host" | "fqdn" => Some(name.to_string()),
        _ => None,
    }
}

/// A part of a service with what `${service.NAME.FIELD}` stands for put in.
fn rewritten(node: &Node, seen: &dyn Fn(&str, &str) -> Option<String>) -> Node {
    let kind = match &node.kind {
        Kind::Null => Kind::Null,
        Kind::Scalar { text, plain } => {
            let mut out = String::new();
            for part in crate::reference::parts(text) {
                match part {
                    crate::reference::Part::Literal(text) => out.push_str(text),
                    crate::reference::Part::Escape => out.push_str("$${"),
                    crate::reference::Part::Unclosed => out.push_str("${"),
                    crate::reference::Part::Reference(inner) => {
                        let service = inner.strip_prefix("service.").and_then(|rest| rest.rsplit_once('.'));
                        match service.and_then(|(name, field)| seen(name, field)) {
                            Some(value) => out.push_str(&value),
                            None => out.push_str(&format!("${{{inner}}}")),
                        }
                    }
                }
            }
            Kind::Scalar { text: out, plain: *plain }
        }
        Kind::List(items) => Kind::List(items.iter().map(|item| Arc::new(rewritten(item, seen))).collect()),
        Kind::Map(entries) => {
            Kind::Map(entries.iter().map(|(key, item)| (key.clone(), Arc::new(rewritten(item, seen)))).collect())
        }
    };
    Node { kind, span: node.span }
}

/// A service as what stands in for it says: another process or another image, instead of what it is made of.
fn stand_in(service: &Node) -> Node {
    let Some(up) = service.get("up") else { return service.clone() };
    let Kind::Map(entries) = &service.kind else { return service.clone() };
    let (run, image) = (up.get("run"), up.get("image").and_then(|image| image.text()));
    if run.is_none() && image.is_none() {
        return service.clone();
    }
    let bare = entries.iter().filter(|(key, _)| !SOURCES.contains(&key.text.as_str()) && key.text != "port");
    let mut node = Node { kind: Kind::Map(bare.cloned().collect()), span: service.span };
    if let Some(run) = run {
        node = with(&node, "run", (**run).clone());
    } else if let Some(image) = image {
        let container = with(&empty(up), "image", scalar(image, up));
        node = with(&node, "containers", with(&empty(up), "app", container));
    }
    // Whatever port the replaced one had is not one of this process; another image of the same application has the same.
    let same = |_: &&Arc<Node>| run.is_none_or(|run| mentions_port(run));
    let port = up.get("port").or_else(|| service.get("port").filter(same));
    match port.and_then(|port| port.text()) {
        Some(port) => with(&node, "port", scalar(port.rsplit(':').next().unwrap_or(port), up)),
        None => node,
    }
}

/// The port that a process has by the lab, and whether it can have another: one that is told it by `${port}` can.
fn port(name: &str, service: &Arc<Node>) -> Option<(String, u16, bool)> {
    if in_containers(service) {
        let inside = crate::resolve::port(name, service).filter(|port| *port > 0)?;
        return Some((name.to_string(), published(service, inside).unwrap_or(inside), true));
    }
    let run = service.get("run").filter(|run| !run.is_null())?;
    let told = mentions_port(run)
        || service.get("up").and_then(|up| up.get("environment")).is_some_and(|node| mentions_port(node));
    let said = match service.get("up").and_then(|up| up.get("port")) {
        Some(port) => port.text()?.parse().ok(),
        None => crate::resolve::port(name, service),
    };
    Some((name.to_string(), said.filter(|port| *port > 0)?, told))
}

/// The port of the host that a service's containers publish for one inside, where they say so in the short form.
fn published(service: &Node, inside: u16) -> Option<u16> {
    let Some(Kind::Map(containers)) = service.get("containers").map(|containers| &containers.kind) else { return None };
    containers.iter().flat_map(|(_, container)| texts(container.get("ports"))).find_map(|text| {
        let mut parts = text.split('/').next()?.rsplit(':');
        let (target, here) = (parts.next()?, parts.next()?);
        here.parse().ok().filter(|_| target.parse() == Ok(inside))
    })
}

/// The named services, and all that they need.
fn wanted(services: &[(Key, Arc<Node>)], only: &[String]) -> BTreeSet<String> {
    let by_name: BTreeMap<&str, &Arc<Node>> = services.iter().map(|(key, node)| (key.text.as_str(), node)).collect();
    let mut wanted = BTreeSet::new();
    let mut open: Vec<&str> = match only.is_empty() {
        true => by_name.keys().copied().collect(),
        false => only.iter().map(String::as_str).collect(),
    };
    while let Some(name) = open.pop() {
        let Some(service) = by_name.get(name) else { continue };
        if wanted.insert(name.to_string()) {
            open.extend(texts(service.get("needs")));
            open.extend(texts(service.get("egress")));
        }
    }
    wanted
}

fn empty(at: &Node) -> Node {
    Node { kind: Kind::Map(Vec::new()), span: at.span }
}

fn scalar(text: &str, at: &Node) -> Node {
    Node { kind: Kind::Scalar { text: text.to_string(), plain: true }, span: at.span }
}

fn with(node: &Node, name: &str, value: Node) -> Node {
    let Kind::Map(entries) = &node.kind else { return node.clone() };
    let mut entries = entries.clone();
    let span = value.span;
    match entries.iter_mut().find(|(key, _)| key.text == name) {
        Some(entry) => entry.1 = Arc::new(value),
        None => entries.push((Key { text: name.to_string(), span }, Arc::new(value))),
    }
    Node { kind: Kind::Map(entries), span: node.span }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_for_a_port_is_not_one_that_a_connection_may_take() {
        let taken = |ports: &[u16]| ports.iter().map(|port| (*port, "somebody".to_string())).collect();
        let ask = |ports: &[u16]| Ask { taken: taken(ports), passing: Some((32_768, 60_999)), ..Ask::default() };
        let free = |from, ports: &[u16]| Ports::default().free(from, &ask(ports));
        // One that was asked for is kept where nobody listens; the next after one outside is the next.
        assert_eq!(free(40_123, &[]), 40_123);
        assert_eq!(free(8080, &[8080]), 8081);
        assert_eq!(free(32_767, &[32_767]), 61_000);
        // Among those of connections, it is one outside, and another for each.
        assert_eq!(free(40_123, &[40_123]), 20_123);
        assert_eq!(free(40_124, &[40_124, 20_124]), 20_125);
        // Where there is no such, any is better than none.
        let all: Vec<u16> = (1024..32_768).chain(61_000..=u16::MAX).chain([40_123]).collect();
        assert_eq!(free(40_123, &all), 32_768);
    }
}
