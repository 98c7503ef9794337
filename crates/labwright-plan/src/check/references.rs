//! Every place where the lab file refers to something by name. Rules judge them; nothing here does.

use std::collections::BTreeSet;

use labwright_model::lab::{Lab, Service};
use labwright_model::{Parsed, Placement, Spanned};

/// What a name must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    Host,
    Zone,
    Service,
    Policy,
    Repository,
    Environment,
    Receiver,
    /// A zone, a host, a service, or `internet`.
    Endpoint,
}

impl Wanted {
    pub fn word(self) -> &'static str {
        match self {
            Wanted::Host => "host",
            Wanted::Zone => "zone",
            Wanted::Service => "service",
            Wanted::Policy => "backup policy",
            Wanted::Repository => "repository",
            Wanted::Environment => "environment",
            Wanted::Receiver => "receiver",
            Wanted::Endpoint => "zone, host or service",
        }
    }

    /// Whether the lab declares this name as this kind.
    pub fn has(self, lab: &Lab, name: &str) -> bool {
        self.names(lab).iter().any(|known| *known == name)
    }

    pub fn names(self, lab: &Lab) -> Vec<&str> {
        fn keys<T>(table: &labwright_model::Table<T>) -> Vec<&str> {
            table.keys().map(String::as_str).collect()
        }
        match self {
            Wanted::Host => keys(&lab.compute.hosts),
            Wanted::Zone => keys(&lab.network.zones),
            Wanted::Service => keys(&lab.services),
            Wanted::Policy => keys(&lab.protection.policies),
            Wanted::Repository => keys(&lab.protection.repositories),
            Wanted::Environment => lab.environments.iter().map(|name| name.value.as_str()).collect(),
            Wanted::Receiver => lab.platform.monitoring.as_ref().map(|m| keys(&m.notify)).unwrap_or_default(),
            Wanted::Endpoint => {
                let all = [Wanted::Zone, Wanted::Host, Wanted::Service];
                all.iter().flat_map(|kind| kind.names(lab)).chain(["internet"]).collect()
            }
        }
    }
}

pub struct Reference<'a> {
    pub name: &'a Spanned<String>,
    pub wants: Wanted,
    pub at: String,
}

/// Every reference, roles aside: a role declares the host that it names.
pub fn references(parsed: &Parsed) -> Vec<Reference<'_>> {
    let lab = &parsed.lab;
    let mut out = Vec::new();
    for flow in lab.network.flows.iter() {
        add(&mut out, flow.from.iter(), Wanted::Endpoint, "network.flows.from");
        add(&mut out, flow.to.iter(), Wanted::Endpoint, "network.flows.to");
    }
    for (name, host) in lab.compute.hosts.iter() {
        let at = |key: &str| format!("compute.hosts.{name}.{key}");
        add(&mut out, &host.zone, Wanted::Zone, &at("zone"));
        add(&mut out, host.routes.iter(), Wanted::Zone, &at("routes"));
        add(&mut out, host.vm.iter().flat_map(|vm| &vm.on), Wanted::Host, &at("vm.on"));
        add(&mut out, host.lxc.iter().flat_map(|lxc| &lxc.on), Wanted::Host, &at("lxc.on"));
    }
    for (name, repository) in lab.protection.repositories.iter() {
        add(&mut out, &repository.on, Wanted::Host, &format!("protection.repositories.{name}.on"));
    }
    for (name, policy) in lab.protection.policies.iter() {
        add(&mut out, policy.to.iter(), Wanted::Repository, &format!("protection.policies.{name}.to"));
    }
    for route in lab.platform.monitoring.iter().flat_map(|monitoring| monitoring.routes.iter()) {
        let to = route.to.iter().filter(|to| to.value != "none");
        add(&mut out, to, Wanted::Receiver, "platform.monitoring.routes.to");
    }
    for placement in &parsed.placements {
        of_service(&placement.entry, &at(placement), &mut out);
    }
    let mut places = BTreeSet::new();
    out.retain(|reference| places.insert((reference.name.span, reference.wants)));
    out
}

/// `services.wiki`, or `services.wiki.environments.dev`.
pub fn at(placement: &Placement) -> String {
    match &placement.environment {
        Some(environment) => format!("services.{}.environments.{environment}", placement.service),
        None => format!("services.{}", placement.service),
    }
}

fn of_service<'a>(service: &'a Service, at: &str, out: &mut Vec<Reference<'a>>) {
    add(out, service.on.iter(), Wanted::Host, &format!("{at}.on"));
    add(out, service.needs.iter(), Wanted::Service, &format!("{at}.needs"));
    add(out, &service.egress, Wanted::Service, &format!("{at}.egress"));
    add(out, service.backup.iter().flat_map(|backup| &backup.policy), Wanted::Policy, &format!("{at}.backup"));
    let dumps = service.backup.iter().flat_map(|backup| backup.dump.values());
    add(out, dumps.flat_map(|dump| &dump.value.service), Wanted::Service, &format!("{at}.backup.dump"));
}

/// Adds references, once for each place: what an environment shares with its service stands in one place.
fn add<'a>(
    out: &mut Vec<Reference<'a>>,
    names: impl IntoIterator<Item = &'a Spanned<String>>,
    wants: Wanted,
    at: &str,
) {
    for name in names {
        if !name.is_empty() {
            out.push(Reference { name, wants, at: at.to_string() });
        }
    }
}

/// A flow's endpoint, with the kind that it was written with: `host/immich`.
pub fn endpoint(name: &str) -> (Wanted, &str) {
    for (prefix, kind) in [("zone/", Wanted::Zone), ("host/", Wanted::Host), ("service/", Wanted::Service)] {
        if let Some(rest) = name.strip_prefix(prefix) {
            return (kind, rest);
        }
    }
    (Wanted::Endpoint, name)
}
