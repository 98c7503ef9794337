//! What follows from the lab itself: implied hosts, inherited owners, services placed in environments.
//! Judges nothing: what contradicts itself is for the rules.

use std::rc::Rc;

use crate::decode::{Decoder, FromNode};
use crate::finding::Findings;
use crate::lab::{Host, Lab, Service};
use crate::reference::{self, Scope};
use crate::span::{Span, Spanned};
use crate::tree::{Key, Kind, Node};

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
pub(crate) fn resolve(lab: &mut Lab) -> (Vec<Derived>, Vec<String>) {
    let mut derived = Vec::new();
    let mut implied = Vec::new();
    for (name, span, role) in role_hosts(lab) {
        if !lab.compute.hosts.contains_key(&name) {
            derived.push(Derived { at: format!("compute.hosts.{name}"), because: format!("named by {role}") });
            implied.push(name.clone());
            lab.compute.hosts.0.insert(name, Spanned::new(Host::default(), span));
        }
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
pub(crate) fn placements(root: &Node, lab: &Lab, findings: &mut Findings) -> Vec<Placement> {
    let mut placements = Vec::new();
    let nodes = root.get("services");
    for (name, service) in lab.services.iter() {
        let node = nodes.and_then(|nodes| nodes.get(name));
        if service.environments.is_empty() {
            placements.push(Placement { service: name.clone(), environment: None, entry: service.value.clone() });
            continue;
        }
        let Some(node) = node else { continue };
        for environment in service.environments.keys() {
            let overrides = node.get("environments").and_then(|table| table.get(environment));
            let merged = overlay(node, overrides.map(Rc::as_ref));
            let scope = Scope { root, environment: Some(environment), in_service: true };
            let merged = reference::interpolate(&Rc::new(merged), &scope, findings);
            // The service itself was read already: only faults of the overrides are new here.
            let mut found = Findings::new();
            let mut decoder = Decoder::new(&mut found);
            let entry = decoder
                .within(&format!("services.{name}.environments.{environment}"), |d| Service::from_node(&merged, d));
            let span = overrides.map_or(Span::NONE, |node| node.span);
            findings.extend(
                found
                    .into_iter()
                    .filter(|f| f.span.file == span.file && f.span.start >= span.start && f.span.end <= span.end),
            );
            placements.push(Placement {
                service: name.clone(),
                environment: Some(environment.clone()),
                entry: entry.unwrap_or_default(),
            });
        }
    }
    placements
}

fn overlay(base: &Node, overrides: Option<&Node>) -> Node {
    let Kind::Map(entries) = &base.kind else { return base.clone() };
    let mut entries: Vec<(Key, Rc<Node>)> =
        entries.iter().filter(|(key, _)| key.text != "environments").cloned().collect();
    if let Some(Node { kind: Kind::Map(more), .. }) = overrides {
        for (key, node) in more {
            match entries.iter_mut().find(|(k, _)| k.text == key.text) {
                Some(entry) => entry.1 = node.clone(),
                None => entries.push((key.clone(), node.clone())),
            }
        }
    }
    Node { kind: Kind::Map(entries), span: base.span }
}
