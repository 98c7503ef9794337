//! What stands on each machine and how much people rely on it, as rules about machines and about roles ask it.
//! Judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use labwright_model::lab::{Lab, Role, Service, Tier};
use labwright_model::{Finding, Parsed, Placement, Severity, Span, Spanned};

use crate::application;
use crate::check::containers::{Container, containers};
use crate::topology::Topology;

/// A role that the rest of the lab leans on, and who plays it, with the places that say so.
pub struct Core<'a> {
    pub role: &'static str,
    pub on: Vec<(&'a str, Span)>,
    /// The service that is the role, where the lab names one.
    pub service: Option<&'a str>,
}

pub struct Carried<'a> {
    pub topology: Arc<Topology<'a>>,
    /// Services by the host that they are put on.
    on: BTreeMap<&'a str, Vec<&'a Placement>>,
    pub core: Vec<Core<'a>>,
    /// Whether anything in the lab is for people to rely on.
    pub production: bool,
    machines: BTreeSet<&'a str>,
}

impl<'a> Carried<'a> {
    pub fn of(parsed: &'a Parsed, topology: Arc<Topology<'a>>) -> Carried<'a> {
        let mut on: BTreeMap<&str, Vec<&Placement>> = BTreeMap::new();
        for placement in parsed.placements.iter().filter(|placement| placement.entry.external.is_none()) {
            for host in placement.entry.on.iter() {
                on.entry(host.value.as_str()).or_default().push(placement);
            }
        }
        let production = parsed.placements.iter().any(is_production)
            || parsed.lab.compute.hosts.values().any(|host| host.tier == Tier::Production);
        let core = core(&parsed.lab, &topology);
        let machines = machines(&topology, on.keys().copied());
        Carried { topology, on, core, production, machines }
    }

    /// The services that are put on a host itself.
    pub fn on(&self, host: &str) -> &[&'a Placement] {
        self.on.get(host).map_or(&[], Vec::as_slice)
    }

    /// The core roles that a host plays itself.
    pub fn core_on(&self, host: &str) -> Vec<&'static str> {
        self.core.iter().filter(|core| core.on.iter().any(|(name, _)| *name == host)).map(|core| core.role).collect()
    }

    /// The machine at the bottom: the host itself, or the hypervisor that everything under it runs on.
    pub fn machine(&self, host: &'a str) -> &'a str {
        bottom(&self.topology, host)
    }

    /// Another machine that could carry something; a hypervisor rather than anything else.
    pub fn elsewhere(&self, machine: &str) -> Option<&'a str> {
        let others = || self.machines.iter().copied().filter(|name| *name != machine);
        others().find(|name| !self.topology.guests_of(name).is_empty()).or_else(|| others().next())
    }

    /// Where a host's name stands, or the role that is all there is of it.
    pub fn place(&self, host: &str) -> Span {
        self.topology.parsed.lab.compute.hosts.get(host).map_or(Span::NONE, |host| host.span)
    }

    /// These services and whatever they cannot work without.
    pub fn with_needs(&self, services: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let mut all = BTreeSet::new();
        let mut next: Vec<&str> = services.into_iter().collect();
        while let Some(service) = next.pop() {
            if all.insert(service) {
                next.extend(self.topology.needs(service));
            }
        }
        all
    }
}

fn bottom<'a>(topology: &Topology<'a>, host: &'a str) -> &'a str {
    topology.under(host).last().copied().unwrap_or(host)
}

/// The machines that carry something: hypervisors, container hosts, hosts with services.
/// What is away half of the time is none that anything could be moved to.
fn machines<'a>(topology: &Topology<'a>, with_services: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let compute = &topology.parsed.lab.compute;
    let roles = compute.proxmox.iter().chain(compute.docker_hosts.iter()).map(|host| host.value.as_str());
    let guests = compute.hosts.keys().map(String::as_str).filter(|host| !topology.guests_of(host).is_empty());
    let all = roles.chain(guests).chain(with_services).map(|host| bottom(topology, host));
    all.filter(|name| topology.host(name).is_some_and(|host| !host.intermittent && !host.local)).collect()
}

pub fn is_production(placement: &Placement) -> bool {
    placement.entry.tier == Tier::Production
}

fn core<'a>(lab: &'a Lab, topology: &Topology<'a>) -> Vec<Core<'a>> {
    let platform = &lab.platform;
    let vault = platform.secrets.as_ref().and_then(|secrets| secrets.vault.as_ref());
    let named = |on: &'a [Spanned<String>]| on.iter().map(|host| (host.value.as_str(), host.span)).collect();
    let mut all = Vec::new();
    let mut role = |role, on: Option<&'a [Spanned<String>]>| {
        all.extend(on.map(|on| Core { role, on: named(on), service: None }));
    };
    role("platform.dns", platform.dns.as_ref().map(|dns| &dns.on[..]));
    role("platform.reverse_proxy", platform.reverse_proxy.as_ref().map(|proxy| &proxy.on[..]));
    role("platform.secrets.vault", vault.map(|vault| vault.on.as_slice()));
    role("platform.monitoring", platform.monitoring.as_ref().map(|monitoring| &monitoring.on[..]));
    if let Some(identity) = &platform.identity {
        let service = identity.service.as_ref().map(|service| service.value.as_str());
        all.push(Core { role: "platform.identity", on: players(identity, topology), service });
    }
    for core in &mut all {
        let mut seen = BTreeSet::new();
        core.on.retain(|(host, _)| seen.insert(*host));
    }
    all
}

/// The hosts that play a role, themselves or by the service that is it.
pub fn players<'a>(role: &'a Role, topology: &Topology<'a>) -> Vec<(&'a str, Span)> {
    let service = role.service.iter().flat_map(|service| topology.placements(service));
    let placed = service.flat_map(|placement| placement.entry.on.iter());
    role.on.iter().chain(placed).map(|host| (host.value.as_str(), host.span)).collect()
}

/// Names and catalogue entries of what platforms are made of: beside a role, these are the role and no experiment.
const PLATFORM: &str = "adguard alertmanager alerts alloy auth authelia authentik bind blocky caddy cadvisor \
    cloudflared cockpit coredns dashboard ddns dns dnsmasq dockge dozzle gatus glance gotify grafana guacamole \
    haproxy harbor headscale healthchecks homepage identity jaeger kanidm keycloak lldap loki metrics monitoring \
    netdata nginx nodeexporter ntfy openbao pihole pocketid portainer prometheus proxy registry resolver \
    reverseproxy secrets sso status swag technitium traefik unbound uptimekuma vault victoriametrics watchtower \
    zot";

/// Whether a service is a usual part of a platform, by its name or its catalogue entry.
pub fn is_platform(name: &str, service: &Service) -> bool {
    is_part(name) || service.catalogue.as_ref().is_some_and(|entry| is_part(entry))
}

fn is_part(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    // `grafana-agent` is Grafana's; short names are beginnings of too much, as `vault` is of `vaultwarden`.
    PLATFORM.split_whitespace().any(|part| plain == part || (part.len() >= 6 && plain.starts_with(part)))
}

/// The same of a placed service, which may be known by its images, by what runs it, or by the role that names it.
pub fn is_of_platform(parsed: &Parsed, placement: &Placement) -> bool {
    let platform = &parsed.lab.platform;
    let roles = [&platform.identity, &platform.runners, &platform.telemetry, &platform.backup];
    let mut named = roles
        .into_iter()
        .flatten()
        .filter_map(|role| role.service.as_ref())
        .chain(platform.dns.iter().filter_map(|dns| dns.service.as_ref()))
        .chain(platform.reverse_proxy.iter().filter_map(|proxy| proxy.service.as_ref()));
    let image = |container: Container<'_>| {
        container.image().is_some_and(|image| is_part(&application::of_image(image.repository)))
    };
    let entry = &placement.entry;
    is_part(&placement.service)
        || entry.catalogue.as_ref().is_some_and(|entry| is_part(entry))
        || named.any(|name| name.value == placement.service)
        || entry.built_in.as_ref().is_some_and(|name| is_part(name))
        || containers(parsed, placement).next().is_some_and(image)
}

/// "`a`", "`a` and `b`", "`a`, `b`, `c` and 3 more".
pub fn list<'b>(names: impl IntoIterator<Item = &'b str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [some @ .., last] if some.len() <= 3 => format!("{} and {last}", some.join(", ")),
        all => format!("{} and {} more", all[..3].join(", "), all.len() - 3),
    }
}

/// What hurts where people rely on something is worth knowing where nobody does.
pub fn by_tier(production: bool) -> Severity {
    if production { Severity::Warning } else { Severity::Advice }
}

/// A finding of a severity that only the lab decides.
pub fn told(code: &'static str, severity: Severity, at: String, span: Span, message: String, help: String) -> Finding {
    Finding { severity, ..Finding::error(code, at, span, message).help(help) }
}
