//! From a lab to boxes and arrows.

use std::collections::{BTreeMap, HashMap};

use labwright_model::{Parsed, Spanned};

use super::{Arrow, By, Graph, Group, Node, Relation, Shape};
use crate::topology::Topology;

/// What is drawn of a lab.
pub fn graph(parsed: &Parsed, by: By) -> Graph {
    let mut drawn = Drawn::new(parsed, by);
    match by {
        By::Layer => layers(&mut drawn),
        By::Zone => zones(&mut drawn),
        By::Domain => domains(&mut drawn),
    }
    drawn.done()
}

struct Drawn<'a> {
    topology: Topology<'a>,
    graph: Graph,
    numbers: HashMap<String, usize>,
    /// Arrows once each, with everything that their flows let through.
    arrows: BTreeMap<(usize, usize, Relation), Vec<String>>,
}

impl<'a> Drawn<'a> {
    fn new(parsed: &'a Parsed, by: By) -> Drawn<'a> {
        let graph = Graph { by, groups: Vec::new(), boxes: Vec::new(), arrows: Vec::new() };
        Drawn { topology: Topology::of(parsed), graph, numbers: HashMap::new(), arrows: BTreeMap::new() }
    }

    fn parsed(&self) -> &'a Parsed {
        self.topology.parsed
    }

    fn group(&mut self, name: &str, note: String) -> usize {
        self.graph.groups.push(Group { name: name.to_string(), note });
        self.graph.groups.len() - 1
    }

    fn add(&mut self, shape: Shape, key: &str, name: &str, note: String, group: usize) {
        let id = id(shape, key);
        if !self.numbers.contains_key(&id) {
            self.numbers.insert(id.clone(), self.graph.boxes.len());
            self.graph.boxes.push(Node { id, name: name.to_string(), note, shape, group });
        }
    }

    fn point(&mut self, from: (Shape, &str), to: (Shape, &str), relation: Relation, label: &str) {
        let number = |(shape, key): (Shape, &str)| self.numbers.get(&id(shape, key)).copied();
        if let (Some(from), Some(to)) = (number(from), number(to))
            && from != to
        {
            let labels = self.arrows.entry((from, to, relation)).or_default();
            if !label.is_empty() && !labels.iter().any(|known| known == label) {
                labels.push(label.to_string());
            }
        }
    }

    /// Groups without a box say nothing.
    fn done(mut self) -> Graph {
        let used: Vec<bool> =
            (0..self.graph.groups.len()).map(|n| self.graph.boxes.iter().any(|node| node.group == n)).collect();
        let new: Vec<usize> = used
            .iter()
            .scan(0, |next, used| {
                let own = *next;
                *next += usize::from(*used);
                Some(own)
            })
            .collect();
        self.graph.boxes.iter_mut().for_each(|node| node.group = new[node.group]);
        let mut keep = used.iter();
        self.graph.groups.retain(|_| keep.next().copied().unwrap_or(false));
        let arrow = |((from, to, relation), labels): ((usize, usize, Relation), Vec<String>)| Arrow {
            from,
            to,
            relation,
            label: labels.join(", "),
        };
        self.graph.arrows = self.arrows.into_iter().map(arrow).collect();
        self.graph
    }

    fn host_note(&self, name: &str) -> String {
        let Some(host) = self.topology.host(name) else { return String::new() };
        host.address.first().map(|address| address.value.to_string()).unwrap_or_default()
    }

    fn service_note(&self, name: &str) -> String {
        let Some(service) = self.topology.service(name) else { return String::new() };
        match &service.external {
            Some(external) => {
                external.provider.as_ref().map_or("external".to_string(), |who| format!("at {}", who.value))
            }
            None => service.tier.word().to_string(),
        }
    }

    /// What services stand on and need; the same in every picture that has them.
    fn services_point(&mut self) {
        for (name, service) in self.parsed().lab.services.iter() {
            for host in self.topology.hosts_of(name) {
                self.point((Shape::Service, name), (Shape::Host, host), Relation::RunsOn, "");
            }
            for need in self.topology.needs(name) {
                self.point((Shape::Service, name), (Shape::Service, need), Relation::Needs, "");
            }
            let policy = service.backup.as_ref().and_then(|backup| backup.policy.as_ref());
            let policy = policy.and_then(|policy| self.parsed().lab.protection.policies.get(policy.value.as_str()));
            for to in policy.iter().flat_map(|policy| policy.to.iter()) {
                self.point((Shape::Service, name), (Shape::Repository, to), Relation::BacksUpTo, "");
            }
        }
    }
}

fn id(shape: Shape, key: &str) -> String {
    let word = match shape {
        Shape::Internet => return "internet".to_string(),
        Shape::Role => "role",
        Shape::Zone => "zone",
        Shape::Host => "host",
        Shape::Service => "service",
        Shape::Repository => "repository",
        Shape::Domain => "domain",
    };
    format!("{word}/{key}")
}

fn zone_note(parsed: &Parsed, name: &str) -> String {
    let Some(zone) = parsed.lab.network.zones.get(name) else { return String::new() };
    let vlan = zone.vlan.as_ref().map(|vlan| format!("VLAN {}", vlan.value));
    let interface = zone.interface.as_ref().map(|interface| interface.value.clone());
    let subnets = zone.subnet.iter().map(|subnet| subnet.value.to_string());
    vlan.into_iter().chain(interface).chain(subnets).collect::<Vec<_>>().join(", ")
}

/// A role's place in the file and in words.
const ROLES: &[(&str, &str)] = &[
    ("edge.router", "router"),
    ("edge.vpn", "VPN"),
    ("edge.public.cloudflare.tunnel", "tunnel"),
    ("platform.dns", "DNS"),
    ("platform.reverse_proxy", "reverse proxy"),
    ("platform.identity", "identity"),
    ("platform.secrets.vault", "secrets store"),
    ("platform.monitoring", "monitoring"),
    ("platform.registry", "registry"),
    ("platform.runners", "runners"),
    ("platform.telemetry", "telemetry"),
    ("platform.backup", "backup target"),
];

fn layers(drawn: &mut Drawn) {
    let parsed = drawn.parsed();
    let lab = &parsed.lab;
    let groups: Vec<usize> = [
        "Edge and access",
        "Network segmentation",
        "Platform services",
        "Application services",
        "Compute",
        "Data protection",
    ]
    .iter()
    .map(|name| drawn.group(name, String::new()))
    .collect();
    let [edge, network, platform, services, compute, protection] = groups[..] else { return };
    for (role, word) in ROLES {
        if !drawn.topology.hosts_with(role).is_empty() {
            drawn.add(Shape::Role, role, word, String::new(), if role.starts_with("edge") { edge } else { platform });
        }
    }
    for name in lab.network.zones.keys() {
        drawn.add(Shape::Zone, name, name, zone_note(parsed, name), network);
    }
    for name in lab.services.keys() {
        drawn.add(Shape::Service, name, name, drawn.service_note(name), services);
    }
    for name in lab.compute.hosts.keys() {
        let zone = lab.host(name).and_then(|host| host.zone.as_ref()).map(|zone| zone.value.clone());
        let note = [drawn.host_note(name)].into_iter().chain(zone).filter(|part| !part.is_empty());
        drawn.add(Shape::Host, name, name, note.collect::<Vec<_>>().join(", "), compute);
    }
    for (name, repository) in lab.protection.repositories.iter() {
        let note = repository.url.as_ref().map(|_| "elsewhere".to_string()).unwrap_or_default();
        drawn.add(Shape::Repository, name, name, note, protection);
    }
    for (role, _) in ROLES {
        for host in drawn.topology.hosts_with(role) {
            drawn.point((Shape::Role, role), (Shape::Host, host), Relation::RunsOn, "");
        }
    }
    for zone in lab.compute.hosts.values().flat_map(|host| host.routes.iter()) {
        drawn.point((Shape::Role, "edge.router"), (Shape::Zone, zone), Relation::Routes, "");
    }
    for name in lab.compute.hosts.keys() {
        if let Some(under) = drawn.topology.under(name).first().copied() {
            drawn.point((Shape::Host, name), (Shape::Host, under), Relation::RunsOn, "");
        }
    }
    repositories_point(drawn);
    drawn.services_point();
}

fn repositories_point(drawn: &mut Drawn) {
    for (name, repository) in drawn.parsed().lab.protection.repositories.iter() {
        if let Some(on) = &repository.on {
            drawn.point((Shape::Repository, name), (Shape::Host, on), Relation::RunsOn, "");
        }
    }
}

fn zones(drawn: &mut Drawn) {
    let parsed = drawn.parsed();
    let lab = &parsed.lab;
    let outside = drawn.group("internet", String::new());
    let mut groups = HashMap::new();
    for name in lab.network.zones.keys() {
        groups.insert(name.as_str(), drawn.group(name, zone_note(parsed, name)));
    }
    let none = drawn.group("in no zone", String::new());
    let of_host = |host: Option<&labwright_model::lab::Host>| {
        let zone = host.and_then(|host| host.zone.as_ref());
        zone.and_then(|zone| groups.get(zone.value.as_str())).copied().unwrap_or(none)
    };
    let flows = lab.network.flows.iter();
    if flows.flat_map(|flow| flow.from.iter().chain(flow.to.iter())).any(|end| end.value == "internet") {
        drawn.add(Shape::Internet, "", "internet", String::new(), outside);
    }
    for name in lab.network.zones.keys() {
        drawn.add(Shape::Zone, name, name, "the whole zone".to_string(), groups[name.as_str()]);
    }
    for (name, host) in lab.compute.hosts.iter() {
        drawn.add(Shape::Host, name, name, drawn.host_note(name), of_host(Some(host)));
    }
    for name in lab.services.keys() {
        let host = drawn.topology.hosts_of(name).into_iter().next();
        if let Some(host) = host {
            drawn.add(Shape::Service, name, name, drawn.service_note(name), of_host(lab.host(host)));
            for host in drawn.topology.hosts_of(name) {
                drawn.point((Shape::Service, name), (Shape::Host, host), Relation::RunsOn, "");
            }
        }
    }
    let end = |name: &Spanned<String>| -> (Shape, String) {
        let text = name.value.as_str();
        for (prefix, shape) in [("zone/", Shape::Zone), ("host/", Shape::Host), ("service/", Shape::Service)] {
            if let Some(rest) = text.strip_prefix(prefix) {
                return (shape, rest.to_string());
            }
        }
        let shape = match text {
            "internet" => Shape::Internet,
            _ if lab.network.zones.contains_key(text) => Shape::Zone,
            _ if lab.compute.hosts.contains_key(text) => Shape::Host,
            _ => Shape::Service,
        };
        (shape, text.to_string())
    };
    for flow in lab.network.flows.iter() {
        let allow: Vec<String> = flow.allow.iter().map(|allow| allow.value.to_string()).collect();
        let label = if allow.is_empty() { "any".to_string() } else { allow.join(", ") };
        for from in flow.from.iter().map(end) {
            for to in flow.to.iter().map(end) {
                drawn.point((from.0, &from.1), (to.0, &to.1), Relation::Flow, &label);
            }
        }
    }
}

fn domains(drawn: &mut Drawn) {
    let lab = &drawn.parsed().lab;
    let mut sites: BTreeMap<&str, usize> = BTreeMap::new();
    let names: Vec<&str> = lab.compute.hosts.keys().filter_map(|host| drawn.topology.site(host)).collect();
    for site in names {
        if !sites.contains_key(site) {
            let group = drawn.group(site, "site".to_string());
            sites.insert(site, group);
        }
    }
    let none = drawn.group("at no named site", String::new());
    let elsewhere = drawn.group("elsewhere", "run by others".to_string());
    for (name, host) in lab.compute.hosts.iter() {
        let group = drawn.topology.site(name).and_then(|site| sites.get(site)).copied().unwrap_or(none);
        drawn.add(Shape::Host, name, name, drawn.host_note(name), group);
        for domain in host.failure_domain.iter() {
            drawn.add(Shape::Domain, domain, domain, "fails together".to_string(), group);
        }
    }
    let place = |drawn: &Drawn, host: Option<&str>| {
        let number = host.and_then(|host| drawn.numbers.get(&id(Shape::Host, host)));
        number.map_or(elsewhere, |number| drawn.graph.boxes[*number].group)
    };
    for name in lab.services.keys() {
        let group = place(drawn, drawn.topology.hosts_of(name).into_iter().next());
        drawn.add(Shape::Service, name, name, drawn.service_note(name), group);
    }
    for (name, repository) in lab.protection.repositories.iter() {
        let group = place(drawn, repository.on.as_ref().map(|on| on.value.as_str()));
        drawn.add(Shape::Repository, name, name, "repository".to_string(), group);
    }
    for (name, host) in lab.compute.hosts.iter() {
        if let Some(under) = drawn.topology.under(name).first().copied() {
            drawn.point((Shape::Host, name), (Shape::Host, under), Relation::RunsOn, "");
        }
        for domain in host.failure_domain.iter() {
            drawn.point((Shape::Host, name), (Shape::Domain, domain), Relation::FailsWith, "");
        }
    }
    repositories_point(drawn);
    drawn.services_point();
}
