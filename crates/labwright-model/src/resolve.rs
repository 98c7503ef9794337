//! What follows from the lab itself: implied hosts, inherited owners, services placed in environments.
//! Judges nothing: what contradicts itself is for the rules.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::codes;
use crate::compose::{self, Project};
use crate::decode::{Decoder, FromNode};
use crate::finding::{Finding, Findings, nearest};
use crate::here::Ports;
use crate::lab::{Host, Lab, Service};
use crate::reference::{self, Found, Known, Scope, Within};
use crate::span::{Sources, Span, Spanned};
use crate::store::Store;
use crate::tree::{Key, Kind, Node};
use crate::units::Mode;

/// A value that was filled in, and why it is that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// `compute.hosts.docker-01.owner`
    pub at: String,
    pub because: String,
}

/// A service in one environment, or in none where the lab or the service has none.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    pub service: String,
    pub environment: Option<String>,
    pub entry: Service,
}

/// Fills the lab in; returns what was filled in, and the hosts that only a role names.
pub(crate) fn resolve(lab: &mut Lab, chosen: &[(String, u16)]) -> (Vec<Derived>, Vec<String>) {
    let mut derived = Vec::new();
    for (name, port) in chosen {
        if let Some(service) = lab.services.0.get_mut(name) {
            service.value.port = Some(Spanned::from(port.to_string()));
            derived.push(Derived { at: format!("services.{name}.port"), because: "chosen from its name".into() });
        }
    }
    let mut implied = Vec::new();
    for (name, span, role) in role_hosts(lab) {
        if !lab.compute.hosts.contains_key(&name) {
            derived.push(Derived { at: format!("compute.hosts.{name}"), because: format!("named by {role}") });
            implied.push(name.clone());
            lab.compute.hosts.0.insert(name, Spanned::new(Host::default(), span));
        }
    }
    if let Some(tls) = lab.platform.reverse_proxy.as_mut().map(|proxy| &mut proxy.tls)
        && tls.acme.is_some()
        && tls.internal
    {
        // An ACME directory is the other source of certificates, so naming one is enough to choose it.
        tls.internal = false;
        derived.push(Derived { at: "platform.reverse_proxy.tls.internal".into(), because: "`acme` is given".into() });
    }
    if let Some(owner) = lab.owner.clone() {
        let inherit = |slot: &mut Option<Spanned<String>>, at: String, derived: &mut Vec<Derived>| {
            if slot.is_none() {
                *slot = Some(Spanned::from(owner.value.clone()));
                derived.push(Derived { at, because: "the lab's owner".into() });
            }
        };
        for (name, host) in &mut lab.compute.hosts.0 {
            inherit(&mut host.value.owner, format!("compute.hosts.{name}.owner"), &mut derived);
        }
        for (name, service) in &mut lab.services.0 {
            inherit(&mut service.value.owner, format!("services.{name}.owner"), &mut derived);
        }
    }
    for (name, host) in &mut lab.compute.hosts.0 {
        for (path, file) in &mut host.value.files.0 {
            let secret = file.content.as_ref().is_some_and(|content| !reference::secrets(content).is_empty());
            if file.value.mode.is_none() {
                file.value.mode = Some(Spanned::from(Mode(if secret { 0o400 } else { 0o644 })));
                if secret {
                    let at = format!("compute.hosts.{name}.files.{path}.mode");
                    derived.push(Derived { at, because: "it holds a secret".into() });
                }
            }
        }
    }
    (derived, implied)
}

/// Every place outside `compute.hosts` that gives a host a role: the host's name, the place, the role.
pub fn role_hosts(lab: &Lab) -> Vec<(String, Span, &'static str)> {
    let mut hosts = Vec::new();
    let mut role = |names: &[Spanned<String>], role: &'static str| {
        hosts.extend(names.iter().map(|name| (name.value.clone(), name.span, role)));
    };
    let one = |name: &Option<Spanned<String>>| name.clone().into_iter().collect::<Vec<_>>();
    if let Some(router) = &lab.edge.router {
        role(&one(&router.on), "edge.router");
    }
    if let Some(vpn) = lab.edge.vpn.as_ref().and_then(|vpn| vpn.wireguard.as_ref()) {
        role(&one(&vpn.on), "edge.vpn");
        for peer in vpn.peers.values() {
            role(&one(&peer.on), "edge.vpn");
        }
    }
    if let Some(vpn) = lab.edge.vpn.as_ref().and_then(|vpn| vpn.tailscale.as_ref()) {
        role(&vpn.on, "edge.vpn");
    }
    if let Some(tunnel) = lab.edge.public.as_ref().and_then(|p| p.cloudflare.as_ref()).and_then(|c| c.tunnel.as_ref()) {
        role(&one(&tunnel.on), "edge.public.cloudflare.tunnel");
    }
    role(&lab.compute.proxmox, "compute.proxmox");
    role(&lab.compute.docker_hosts, "compute.docker_hosts");
    let platform = &lab.platform;
    if let Some(dns) = &platform.dns {
        role(&dns.on, "platform.dns");
    }
    if let Some(proxy) = &platform.reverse_proxy {
        role(&proxy.on, "platform.reverse_proxy");
    }
    if let Some(monitoring) = &platform.monitoring {
        role(&monitoring.on, "platform.monitoring");
    }
    if let Some(registry) = &platform.registry {
        role(&registry.on, "platform.registry");
    }
    if let Some(vault) = platform.secrets.as_ref().and_then(|secrets| secrets.vault.as_ref()) {
        role(&one(&vault.on), "platform.secrets.vault");
        role(&one(&vault.with), "platform.secrets.vault");
    }
    for (entry, name) in [
        (&platform.identity, "platform.identity"),
        (&platform.runners, "platform.runners"),
        (&platform.telemetry, "platform.telemetry"),
        (&platform.backup, "platform.backup"),
    ] {
        if let Some(entry) = entry {
            role(&entry.on, name);
        }
    }
    hosts
}

/// Every service as it is placed. What an environment says replaces what the service says.
pub(crate) fn placements(
    root: &Node,
    lab: &Lab,
    sources: &Sources,
    store: Option<&Store>,
    here: Option<&Ports>,
    findings: &mut Findings,
) -> (Vec<Placement>, Vec<Option<Arc<Node>>>) {
    let mut placements = Vec::new();
    // The service of each that has its containers in itself: the typed entry keeps no places.
    let mut containers = Vec::new();
    let nodes: HashMap<&str, &Arc<Node>> = match root.get("services").map(|services| &services.kind) {
        Some(Kind::Map(entries)) => entries.iter().map(|(key, node)| (key.text.as_str(), node)).collect(),
        _ => HashMap::new(),
    };
    let known = Known::new(root, sources, store).placed(here);
    for (name, service) in lab.services.iter() {
        if service.environments.is_empty() {
            placements.push(Placement { service: name.clone(), environment: None, entry: service.value.clone() });
            containers.push(nodes.get(name.as_str()).and_then(|node| with_containers(node)));
            continue;
        }
        let Some(node) = nodes.get(name.as_str()) else { continue };
        for environment in service.environments.keys() {
            let path = ["services", name, "environments", environment];
            let overrides = node.get("environments").and_then(|table| table.get(environment));
            if let Some(overrides) = overrides
                && !matches!(overrides.kind, Kind::Map(_) | Kind::Null)
            {
                let mut decoder = Decoder::new(findings);
                let help = format!("for example `{environment}: {{ on: HOST }}`");
                decoder.under(&path, |d| d.wrong_help::<()>(overrides, "a map of what differs there", help));
            }
            if let Some(Kind::Map(entries)) = overrides.map(|overrides| &overrides.kind)
                && let Some((key, _)) = entries.iter().find(|(key, _)| key.text == "environments")
            {
                let at = format!("{}.environments", path.join("."));
                findings.push(
                    Finding::error(codes::UNKNOWN_KEY, at, key.span, "environments hold no environments")
                        .help("list every environment directly under the service's `environments:`"),
                );
            }
            let merged = overlay(node, overrides.map(Arc::as_ref));
            let port = port(&format!("{name}-{environment}"), &merged);
            let scope = Scope { known: &known, within: Within::Placed(environment), port };
            let mut found = Found::default();
            let merged = reference::interpolate(&Arc::new(merged), &scope, &mut found);
            findings.append(&mut found.findings);
            // The service itself was read already: only faults of the overrides are new here.
            let mut found = Findings::new();
            let mut decoder = Decoder::new(&mut found);
            let entry = decoder.under(&path, |d| Service::from_node(&merged, d));
            if let Some(span) = overrides.map(|node| node.span) {
                findings.extend(found.into_iter().filter(|finding| {
                    let at = finding.span;
                    at.file == span.file && at.start >= span.start && at.end <= span.end
                }));
            }
            let mut entry = entry.unwrap_or_default();
            entry.owner = entry.owner.or_else(|| service.owner.clone());
            entry.port = entry.port.or_else(|| port.map(|port| Spanned::from(port.to_string())));
            placements.push(Placement { service: name.clone(), environment: Some(environment.clone()), entry });
            containers.push(with_containers(&merged));
        }
    }
    (placements, containers)
}

/// A service, if it has its containers in itself.
fn with_containers(service: &Arc<Node>) -> Option<Arc<Node>> {
    service.get("containers").filter(|node| !node.is_null()).map(|_| service.clone())
}

/// The port of a service, as its entry says or, for a process of its own, as is chosen from its name: the same each time,
/// whatever else the lab holds.
pub(crate) fn port(name: &str, service: &Node) -> Option<u16> {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 10_000;
    if let Some(said) = service.get("port").filter(|port| !port.is_null()) {
        return said.text()?.rsplit(':').next()?.parse().ok();
    }
    service.get("run").filter(|run| mentions_port(run))?;
    // FNV-1a.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    Some((FIRST + hash % COUNT) as u16)
}

/// The services whose ports are chosen, with them.
pub(crate) fn chosen_ports(root: &Node) -> Vec<(String, u16)> {
    let Some(Kind::Map(services)) = root.get("services").map(|services| &services.kind) else { return Vec::new() };
    let is_open =
        |service: &Node| ["port", "environments"].iter().all(|key| service.get(key).is_none_or(|n| n.is_null()));
    let open = services.iter().filter(|(_, service)| is_open(service));
    open.filter_map(|(name, service)| Some((name.text.clone(), port(&name.text, service)?))).collect()
}

pub(crate) fn mentions_port(node: &Node) -> bool {
    match &node.kind {
        Kind::Null => false,
        Kind::Scalar { text, .. } => text.contains("${port}"),
        Kind::List(items) => items.iter().any(|item| mentions_port(item)),
        Kind::Map(entries) => entries.iter().any(|(_, node)| mentions_port(node)),
    }
}

pub(crate) fn overlay(base: &Node, overrides: Option<&Node>) -> Node {
    let Kind::Map(entries) = &base.kind else { return base.clone() };
    let mut entries: Vec<(Key, Arc<Node>)> =
        entries.iter().filter(|(key, _)| key.text != "environments").cloned().collect();
    if let Some(Node { kind: Kind::Map(more), .. }) = overrides {
        for (key, node) in more.iter().filter(|(key, _)| key.text != "environments") {
            match entries.iter_mut().find(|(k, _)| k.text == key.text) {
                Some(entry) => entry.1 = node.clone(),
                None => entries.push((key.clone(), node.clone())),
            }
        }
    }
    Node { kind: Kind::Map(entries), span: base.span }
}

/// The ports that the names of services lead to: a number, and where it is of a container, one that there is.
pub(crate) fn ports(placements: &[Placement], projects: &BTreeMap<String, Project>, findings: &mut Findings) {
    let mut told: Option<Span> = None;
    for placement in placements {
        let Some(said) = placement.entry.port.as_ref().filter(|port| !port.contains("${")) else { continue };
        // Environments share what they do not say anew.
        if told == Some(said.span) {
            continue;
        }
        let (container, port) = match said.rsplit_once(':') {
            Some((container, port)) => (Some(container), port),
            None => (None, said.as_str()),
        };
        let at = format!("services.{}.port", placement.service);
        let mut fault = |message: String, help: String| {
            told = Some(said.span);
            findings.push(Finding::error(codes::WRONG_VALUE, at.clone(), said.span, message).help(help));
        };
        if !port.parse::<u16>().is_ok_and(|port| port > 0) {
            let message = format!("`{}` is no port: a number from 1 to 65535 is", said.value);
            fault(message, "write `port: 8080`, or `port: CONTAINER:8080`".into());
            continue;
        }
        let key = compose::key(&placement.service, placement.environment.as_deref());
        let (Some(container), Some(project)) = (container, projects.get(&key)) else { continue };
        if !project.services.is_empty() && !project.services.contains_key(container) {
            let names = project.services.keys().map(String::as_str);
            let all: Vec<String> = names.clone().take(5).map(|name| format!("`{name}`")).collect();
            let help = match nearest(container, names) {
                Some(near) => format!("did you mean `{near}:{port}`?"),
                None => format!("its containers are {}", all.join(", ")),
            };
            fault(format!("service `{}` has no container `{container}`", placement.service), help);
        }
    }
}
