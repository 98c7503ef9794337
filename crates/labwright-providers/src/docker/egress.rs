//! `egress: GATEWAY`: the containers of a service live in the network of its gateway's container, and have no other.
//! When the gateway is gone so is that network, which is the switch: nothing leaves beside it. What the gateway itself lets
//! through while its tunnel is down is its own matter.

use std::collections::BTreeMap;

use labwright_model::{Finding, Findings, Span, codes};
use serde_json::{Value as Json, json};

use super::project::container_name;
use super::services::{Placed, What};
use super::stack::{Container, Port, Stack};

/// Where a service leaves: which of the placed services, which of its containers, and what that is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Through {
    pub gateway: usize,
    pub key: String,
}

/// The network that Compose puts a service into which names none.
const DEFAULT_NETWORK: &str = "default";

/// Settings that belong to a network of one's own; the engine refuses them to a container without.
const OF_A_NETWORK: &[&str] = &["hostname", "domainname", "dns", "dns_search", "dns_opt"];

/// What moves from a container to its gateway's.
#[derive(Default)]
struct Moved {
    ports: Vec<(String, Port)>,
    hosts: Vec<Json>,
}

/// Puts every service with an `egress` into its gateway's network. What cannot be put there is a finding, since it would
/// leave by another way.
pub fn route(placed: &mut [Placed<'_>], findings: &mut Findings) {
    let direct: Vec<Option<Through>> = (0..placed.len()).map(|n| gateway(placed, n, findings)).collect();
    let mut moved: BTreeMap<(usize, String), Moved> = BTreeMap::new();
    for n in 0..placed.len() {
        let Some(through) = last(&direct, n) else { continue };
        let Some((stack, name)) = network_of(placed, &through) else { continue };
        let into = moved.entry((through.gateway, through.key.clone())).or_default();
        let (service, span) = (placed[n].service.to_string(), placed[n].span);
        let mut say = |key: &str, what: &str, help: &str| {
            let at = format!("services.{service}.egress");
            let message = format!("`{key}` of `{service}` lives in the network of `{stack}`, and {what}");
            findings.push(Finding::error(codes::COMPOSE_CONTRADICTION, at, span, message).help(help));
        };
        if let What::Stack(own) = &mut placed[n].what {
            move_in(own, (&stack, &name, &through.key), into, &mut say);
        }
        placed[n].through = Some(through);
    }
    for ((gateway, key), moved) in moved {
        let (service, span) = (placed[gateway].service.to_string(), placed[gateway].span);
        let What::Stack(stack) = &mut placed[gateway].what else { continue };
        let Some(container) = stack.containers.get_mut(&key) else { continue };
        take_in(&key, container, moved, |message, help| {
            let at = format!("services.{service}");
            findings.push(Finding::error(codes::COMPOSE_CONTRADICTION, at, span, message).help(help));
        });
    }
}

/// The gateway at the end of a chain of them. A circle was a finding.
fn last(direct: &[Option<Through>], n: usize) -> Option<Through> {
    let mut through = direct[n].clone()?;
    for _ in 0..direct.len() {
        match &direct[through.gateway] {
            Some(next) => through = next.clone(),
            None => return Some(through),
        }
    }
    None
}

fn network_of(placed: &[Placed<'_>], through: &Through) -> Option<(String, String)> {
    let stack = placed.get(through.gateway)?.stack()?;
    let own = stack.containers.get(&through.key)?.container_name.as_deref();
    Some((stack.name.clone(), container_name(&stack.name, &through.key, own, 1)))
}

fn gateway(placed: &[Placed<'_>], n: usize, findings: &mut Findings) -> Option<Through> {
    let one = &placed[n];
    let egress = one.entry.egress.as_ref()?;
    let mut say = |message: String, help: String| {
        let span = if egress.span == Span::NONE { one.span } else { egress.span };
        let at = format!("services.{}.egress", one.service);
        findings.push(Finding::error(codes::COMPOSE_CONTRADICTION, at, span, message).help(help));
        None
    };
    let (service, wanted, host) = (one.service, egress.value.as_str(), one.host);
    if one.stack().is_none() {
        return say(
            format!("`{service}` is a process of `{host}`, and only containers can live in the network of `{wanted}`"),
            format!("make it `containers:`, or remove `egress: {wanted}`: it leaves as its host does"),
        );
    }
    let there = |other: &&Placed<'_>| other.service == wanted && other.host == host && !one.is_apart(other);
    let found = placed.iter().position(|other| there(&other));
    let Some(stack) = found.and_then(|found| placed[found].stack()) else {
        return say(
            format!("`{service}` shall leave through `{wanted}`, and no container of that runs on `{host}`"),
            format!("put both on one host: add `on: {host}` to `{wanted}`"),
        );
    };
    let Some(key) = gateway_of(stack, wanted) else {
        let all: Vec<String> = stack.containers.keys().map(|key| format!("`{key}`")).collect();
        return say(
            format!("which container of `{wanted}` is the gateway of `{service}`: {}?", all.join(", ")),
            "the one that holds the tunnel has `devices: [/dev/net/tun]` or `cap_add: [NET_ADMIN]`".into(),
        );
    };
    if matches!(stack.containers[&key].network_mode.as_deref(), Some("host" | "none")) {
        return say(
            format!("`{wanted}` has no network of its own that `{service}` could leave through"),
            format!("take `network_mode` out of `{wanted}`: in its host's network nothing would be held back"),
        );
    }
    found.map(|gateway| Through { gateway, key })
}

/// The container that holds the tunnel.
fn gateway_of(stack: &Stack, service: &str) -> Option<String> {
    let mut all = stack.containers.keys();
    if let (Some(only), None) = (all.next(), all.next()) {
        return Some(only.clone());
    }
    let mut tunnels = stack.containers.iter().filter(|(_, container)| holds_tunnel(container)).map(|(key, _)| key);
    match (tunnels.next(), tunnels.next()) {
        (Some(only), None) => Some(only.clone()),
        _ => stack.containers.contains_key(service).then(|| service.to_string()),
    }
}

fn holds_tunnel(container: &Container) -> bool {
    let said = |name: &str| container.settings.get(name).map(Json::to_string).unwrap_or_default();
    said("cap_add").contains("NET_ADMIN") || said("devices").contains("/dev/net/tun")
}

fn move_in(
    own: &mut Stack,
    (stack, name, key): (&str, &str, &str),
    into: &mut Moved,
    say: &mut dyn FnMut(&str, &str, &str),
) {
    let mode = format!("container:{name}");
    let siblings: Vec<String> = own
        .containers
        .iter()
        .map(|(key, container)| {
            format!("container:{}", container_name(&own.name, key, container.container_name.as_deref(), 1))
        })
        .collect();
    for (own_key, container) in &mut own.containers {
        match container.network_mode.as_deref() {
            Some("none") => continue,
            // A sibling is in there too.
            Some(said) if said == mode || siblings.iter().any(|sibling| sibling == said) => {}
            Some(said) => {
                let what = format!("its own `network_mode: {said}` leads past that");
                say(own_key, &what, "take `network_mode` out: `egress` says where it leaves");
                continue;
            }
            None => {}
        }
        for setting in OF_A_NETWORK.iter().filter(|setting| is_said(container.settings.get(**setting))) {
            let what = format!("cannot have its own `{setting}`");
            say(own_key, &what, &format!("take `{setting}` out, or give it to the gateway"));
        }
        for (network, attachment) in &container.networks {
            if network != DEFAULT_NETWORK || !attachment.settings.is_empty() {
                let what = format!("cannot be in the network `{network}`");
                let help = "take `networks` out: it reaches what it `needs`, and is reached by what needs it";
                say(own_key, &what, help);
            }
        }
        container.networks.clear();
        container.network_mode = Some(mode.clone());
        container.beside.insert(format!("{stack}/{key}"));
        into.ports.extend(std::mem::take(&mut container.ports).into_iter().map(|port| (own_key.clone(), port)));
        if let Some(Json::Array(hosts)) = container.settings.remove("extra_hosts") {
            into.hosts.extend(hosts);
        }
    }
    // The network that nobody is in any more is not made.
    let used = |key: &String| own.containers.values().any(|container| container.networks.contains_key(key));
    let unused: Vec<String> = own.networks.keys().filter(|key| !used(key)).cloned().collect();
    unused.iter().for_each(|key| drop(own.networks.remove(key)));
}

fn is_said(setting: Option<&Json>) -> bool {
    setting.is_some_and(|value| match value {
        Json::Null => false,
        Json::Array(items) => !items.is_empty(),
        Json::String(text) => !text.is_empty(),
        _ => true,
    })
}

/// The ports of all are the gateway's, and what is known by name is known to all.
fn take_in(gateway: &str, container: &mut Container, moved: Moved, mut say: impl FnMut(String, String)) {
    let inside = |port: &Port| {
        let protocol = if port.protocol.is_empty() { "tcp" } else { &port.protocol };
        (port.target, protocol.to_string())
    };
    let mut listening: BTreeMap<(u16, String), String> =
        container.ports.iter().map(|port| (inside(port), gateway.to_string())).collect();
    for (key, port) in moved.ports {
        match listening.get(&inside(&port)).filter(|other| **other != key) {
            Some(other) => say(
                format!("`{other}` and `{key}` both listen on {} in the one network of their gateway", port.target),
                "let one of them listen on another port: many images have a variable for it, such as `WEBUI_PORT`"
                    .into(),
            ),
            None => drop(listening.insert(inside(&port), key)),
        }
        if !container.ports.contains(&port) {
            container.ports.push(port);
        }
    }
    if !moved.hosts.is_empty() {
        let hosts = container.settings.entry("extra_hosts").or_insert_with(|| json!([]));
        if hosts.is_null() {
            *hosts = json!([]);
        }
        if let Json::Array(hosts) = hosts {
            hosts.extend(moved.hosts);
            hosts.sort_by_key(Json::to_string);
            hosts.dedup();
        }
    }
}

#[cfg(test)]
#[path = "egress_tests.rs"]
mod tests;
