//! The containers that a service of the lab file has in itself, in Compose's syntax.
//! Only the keys that are read here have a meaning; any other is a finding, since leaving one out in silence would run
//! something that nobody wrote down.

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::lab::{Os, Service};
use labwright_model::{Finding, Findings, Parsed, Span, codes, reference};
use labwright_plan::{Input, Lowered, Resource, ResourceId};

use super::lock;
use super::lower::{Ground, container_name, link, lower_stack};
use super::stack::Stack;

mod keys;
mod words;

/// One service on one host, as a stack.
struct Placed<'a> {
    host: &'a str,
    service: &'a str,
    stack: Stack,
    span: Span,
}

/// Every stack of every service that has its containers in the lab file.
pub fn lower(input: &Input<'_>, out: &mut Lowered) {
    let pinned = pinned(input, &mut out.findings);
    let mut placed = Vec::new();
    for placement in &input.parsed.placements {
        if placement.entry.containers.0.is_null() {
            continue;
        }
        let name = match &placement.environment {
            Some(environment) => format!("{}-{environment}", placement.service),
            None => placement.service.clone(),
        };
        let span = input.parsed.span_of(&["services", &placement.service, "containers"]);
        let at = format!("services.{}.containers", placement.service);
        let Some(stack) = keys::stack(&name, &placement.entry.containers.0, (&at, span), &mut out.findings) else {
            continue;
        };
        let stack = Stack { needs: placement.entry.needs.0.iter().map(|need| need.value.clone()).collect(), ..stack };
        for host in hosts(input.parsed, &placement.entry) {
            placed.push(Placed { host, service: &placement.service, stack: stack.clone(), span });
        }
    }
    let mut resources: BTreeMap<ResourceId, Resource> = BTreeMap::new();
    for one in &placed {
        let entry = &input.parsed.lab.compute.hosts.iter().find(|(name, _)| name.as_str() == one.host);
        let Some((_, host)) = entry else { continue };
        // Never every address by accident: the host's own one in its zone, or nobody but the host itself.
        let address = host.address.0.first().map_or("127.0.0.1".to_string(), |address| address.value.to_string());
        let ground = Ground {
            host: one.host,
            address: &address,
            socket: host.docker_socket.as_ref().map(|socket| socket.value.as_str()),
            pinned: &pinned,
            adopt: false,
            span: one.span,
        };
        for resource in lower_stack(&one.stack, &ground, &joins(one, &placed), &after(one, &placed)) {
            resources.entry(resource.id.clone()).or_insert(resource);
        }
    }
    out.resources.extend(resources.into_values());
}

/// The file that holds tags to digests, as `Input::assets` is keyed.
pub fn assets(parsed: &Parsed) -> Vec<String> {
    let any = parsed.placements.iter().any(|placement| !placement.entry.containers.0.is_null());
    let beside = parsed.sources.get(0).map(|source| labwright_model::beside(&source.name, lock::FILE));
    beside.filter(|_| any).into_iter().collect()
}

fn pinned(input: &Input<'_>, findings: &mut Findings) -> BTreeMap<String, String> {
    let path = assets(input.parsed).pop().unwrap_or_default();
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
fn hosts<'a>(parsed: &'a Parsed, service: &'a Service) -> Vec<&'a str> {
    let managed = |name: &str| {
        let host = parsed.lab.compute.hosts.iter().find(|(known, _)| known.as_str() == name);
        host.is_some_and(|(_, host)| matches!(host.os, Os::Debian | Os::Ubuntu | Os::Proxmox))
    };
    let hosts: BTreeSet<&str> =
        service.on.0.iter().map(|host| host.value.as_str()).filter(|name| managed(name)).collect();
    hosts.into_iter().collect()
}

/// The networks in which a stack meets those it needs and those that need it: names lead nowhere else.
fn joins(one: &Placed<'_>, all: &[Placed<'_>]) -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let mut joins = BTreeMap::new();
    for other in all.iter().filter(|other| other.host == one.host && other.stack.name != one.stack.name) {
        if one.stack.needs.contains(other.service) {
            let members = one.stack.containers.keys().map(|key| (key.clone(), BTreeSet::new()));
            joins.insert(link(&other.stack.name, &one.stack.name), members.collect());
        }
        if other.stack.needs.contains(one.service) {
            let alone = one.stack.containers.len() == 1;
            let called = |key: &String| {
                let own = format!("{}-{key}", one.service);
                BTreeSet::from_iter([own].into_iter().chain(alone.then(|| one.service.to_string())))
            };
            let members = one.stack.containers.keys().map(|key| (key.clone(), called(key)));
            joins.insert(link(&one.stack.name, &other.stack.name), members.collect());
        }
    }
    joins
}

/// The containers of the services that a stack needs, wherever they run.
fn after(one: &Placed<'_>, all: &[Placed<'_>]) -> BTreeSet<ResourceId> {
    let needed =
        all.iter().filter(|other| one.stack.needs.contains(other.service) && other.stack.name != one.stack.name);
    needed
        .flat_map(|other| {
            other.stack.containers.iter().map(|(key, container)| {
                ResourceId::new(
                    other.host,
                    super::NAME,
                    "container",
                    &container_name(&other.stack.name, key, container),
                )
            })
        })
        .collect()
}

/// Whether a text holds a secret.
fn is_secret(text: &str) -> bool {
    !reference::secrets(text).is_empty()
}

#[cfg(test)]
#[path = "inline_tests.rs"]
mod tests;
