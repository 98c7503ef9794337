//! Every place where the lab file refers to something by name. Rules judge them; nothing here does.

use std::borrow::Cow;
use std::net::IpAddr;

use foldhash::{HashSet, HashSetExt};
use labwright_model::lab::{Lab, Service};
use labwright_model::{Parsed, Placement, Span, Spanned, Table};

use super::spelling::misspelling;
use crate::mounted::over_network;

/// What a name must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// What a DNS record may lead to.
    Target,
    /// Who asks the lab's resolvers: a zone or a host.
    Client,
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
            Wanted::Target => "host or service",
            Wanted::Client => "zone or host",
        }
    }

    /// The word with its article.
    pub fn a_word(self) -> String {
        let article = if self == Wanted::Environment { "an" } else { "a" };
        format!("{article} {}", self.word())
    }

    /// What to type to declare one.
    pub fn declaration(self, name: &str) -> String {
        match self {
            Wanted::Host => format!("add it under `compute: {{ hosts: … }}`: `{name}: {{ address: … }}`"),
            Wanted::Endpoint => {
                "add it under `compute: { hosts: … }`, `services:` or `network: { zones: … }`".to_string()
            }
            Wanted::Target => "add it under `compute: { hosts: … }` or `services:`".to_string(),
            Wanted::Client => "add it under `compute: { hosts: … }` or `network: { zones: … }`".to_string(),
            Wanted::Zone => format!("add it under `network: {{ zones: … }}`: `{name}: {{ vlan: …, subnet: … }}`"),
            Wanted::Service => format!("add it under `services:`: `{name}: {{ use: …, on: … }}`"),
            Wanted::Policy => {
                format!("add it under `protection: {{ policies: … }}`: `{name}: {{ schedule: \"03:15\", to: … }}`")
            }
            Wanted::Repository => {
                format!("add it under `protection: {{ repositories: … }}`: `{name}: {{ on: HOST, path: /backup }}`")
            }
            Wanted::Environment => format!("declare it at the top: `environments: [{name}]`"),
            Wanted::Receiver => {
                format!("add it under `platform: {{ monitoring: {{ notify: … }} }}`: `{name}: \"ntfy://…\"`")
            }
        }
    }

    /// Whether the lab declares this name as this kind.
    pub fn has(self, lab: &Lab, name: &str) -> bool {
        match self {
            Wanted::Host => lab.compute.hosts.contains_key(name),
            Wanted::Zone => lab.network.zones.contains_key(name),
            Wanted::Service => lab.services.contains_key(name),
            Wanted::Policy => lab.protection.policies.contains_key(name),
            Wanted::Repository => lab.protection.repositories.contains_key(name),
            // Asked of every flow: the lists that these put together would be searched anew each time.
            Wanted::Endpoint => {
                name == "internet"
                    || [Wanted::Zone, Wanted::Host, Wanted::Service].iter().any(|kind| kind.has(lab, name))
            }
            Wanted::Target => [Wanted::Host, Wanted::Service].iter().any(|kind| kind.has(lab, name)),
            Wanted::Client => [Wanted::Zone, Wanted::Host].iter().any(|kind| kind.has(lab, name)),
            Wanted::Environment | Wanted::Receiver => self.names(lab).contains(&name),
        }
    }

    pub fn names(self, lab: &Lab) -> Vec<&str> {
        fn keys<T>(table: &Table<T>) -> Vec<&str> {
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
            Wanted::Target => [Wanted::Host, Wanted::Service].iter().flat_map(|kind| kind.names(lab)).collect(),
            Wanted::Client => [Wanted::Zone, Wanted::Host].iter().flat_map(|kind| kind.names(lab)).collect(),
        }
    }
}

pub struct Reference<'a> {
    pub name: &'a str,
    pub span: Span,
    pub wants: Wanted,
    /// The path of what refers: `services.wiki.on`.
    pub at: Cow<'static, str>,
}

/// Every reference that must lead somewhere, roles aside: a role declares the host that it names.
pub fn references(parsed: &Parsed) -> Vec<Reference<'_>> {
    let lab = &parsed.lab;
    let mut out = Vec::new();
    for flow in lab.network.flows.iter() {
        add(&mut out, flow.from.iter(), Wanted::Endpoint, "network.flows.from");
        add(&mut out, flow.to.iter(), Wanted::Endpoint, "network.flows.to");
    }
    for (name, host) in lab.compute.hosts.iter() {
        let at = |key: &'static str| move || format!("compute.hosts.{name}.{key}");
        add(&mut out, &host.zone, Wanted::Zone, at("zone"));
        add(&mut out, host.routes.iter(), Wanted::Zone, at("routes"));
        add(&mut out, host.vm.iter().flat_map(|vm| &vm.on), Wanted::Host, at("vm.on"));
        add(&mut out, host.lxc.iter().flat_map(|lxc| &lxc.on), Wanted::Host, at("lxc.on"));
        add(&mut out, &host.backup, Wanted::Policy, at("backup"));
    }
    for (name, ring) in lab.compute.updates.iter() {
        add(&mut out, ring.hosts.iter(), Wanted::Host, || format!("compute.updates.{name}.hosts"));
    }
    of_edge(parsed, &mut out);
    of_platform(parsed, &mut out);
    for (name, repository) in lab.protection.repositories.iter() {
        add(&mut out, &repository.on, Wanted::Host, || format!("protection.repositories.{name}.on"));
    }
    for (name, policy) in lab.protection.policies.iter() {
        add(&mut out, policy.to.iter(), Wanted::Repository, || format!("protection.policies.{name}.to"));
    }
    for (name, snapshots) in lab.protection.snapshots.iter() {
        add(&mut out, snapshots.of.iter(), Wanted::Host, || format!("protection.snapshots.{name}.of"));
    }
    add(&mut out, lab.protection.recovery.iter(), Wanted::Target, "protection.recovery");
    for placement in &parsed.placements {
        of_service(&placement.entry, &at(placement), &mut out);
    }
    for (name, service) in lab.services.iter() {
        out.extend(service.environments.iter().map(|(environment, entry)| Reference {
            name: environment,
            span: entry.span,
            wants: Wanted::Environment,
            at: format!("services.{name}.environments").into(),
        }));
    }
    // What an environment shares with its service stands in one place.
    let mut places = HashSet::with_capacity(out.len());
    out.retain(|reference| places.insert((reference.span, reference.name, reference.wants)));
    out
}

/// `services.wiki`, or `services.wiki.environments.dev`.
pub fn at(placement: &Placement) -> String {
    match &placement.environment {
        Some(environment) => format!("services.{}.environments.{environment}", placement.service),
        None => format!("services.{}", placement.service),
    }
}

fn of_edge<'a>(parsed: &'a Parsed, out: &mut Vec<Reference<'a>>) {
    let cloudflare = parsed.lab.edge.public.iter().flat_map(|public| &public.cloudflare);
    for cloudflare in cloudflare {
        for (name, port) in cloudflare.ports.iter() {
            add(out, [&port.value.to], Wanted::Service, || format!("edge.public.cloudflare.ports.{name}.to"));
        }
        let environments = cloudflare.standby.iter().flat_map(|standby| standby.environments.iter());
        out.extend(environments.map(|(environment, records)| Reference {
            name: environment,
            span: records.span,
            wants: Wanted::Environment,
            at: "edge.public.cloudflare.standby.environments".into(),
        }));
    }
}

fn of_platform<'a>(parsed: &'a Parsed, out: &mut Vec<Reference<'a>>) {
    let platform = &parsed.lab.platform;
    if let Some(proxy) = &platform.reverse_proxy {
        add(out, &proxy.service, Wanted::Service, "platform.reverse_proxy.service");
        let forward = proxy.forward_auth.iter().flat_map(|forward| &forward.service);
        add(out, forward, Wanted::Service, "platform.reverse_proxy.forward_auth");
    }
    for (role, key) in [
        (&platform.identity, "identity"),
        (&platform.runners, "runners"),
        (&platform.telemetry, "telemetry"),
        (&platform.backup, "backup"),
    ] {
        let service = role.iter().flat_map(|role| &role.service);
        add(out, service, Wanted::Service, || format!("platform.{key}.service"));
    }
    for route in platform.monitoring.iter().flat_map(|monitoring| monitoring.routes.iter()) {
        let to = route.to.iter().filter(|to| to.value != "none");
        add(out, to, Wanted::Receiver, "platform.monitoring.routes.to");
    }
    let Some(dns) = &platform.dns else { return };
    add(out, &dns.service, Wanted::Service, "platform.dns.service");
    for (record, entry) in dns.records.iter() {
        for to in entry.to.iter() {
            // A full name may be anywhere in the world, and one record may stand for another.
            if to.is_empty() || to.contains('.') || is_address(to) || dns.records.contains_key(&to.value) {
                continue;
            }
            out.push(Reference {
                name: to,
                span: to.span,
                wants: Wanted::Target,
                at: format!("platform.dns.records.{record}").into(),
            });
        }
    }
    for (name, group) in dns.groups.iter() {
        let named = group.clients.iter().filter(|client| !is_address(client) && !client.contains('/'));
        add(out, named, Wanted::Client, || format!("platform.dns.groups.{name}"));
    }
}

fn of_service<'a>(service: &'a Service, at: &str, out: &mut Vec<Reference<'a>>) {
    add(out, service.on.iter(), Wanted::Host, || format!("{at}.on"));
    add(out, service.needs.iter(), Wanted::Service, || format!("{at}.needs"));
    let routes = service.routes.iter().map(|route| &route.to);
    add(out, routes, Wanted::Service, || format!("{at}.routes"));
    add(out, &service.egress, Wanted::Service, || format!("{at}.egress"));
    add(out, service.backup.iter().flat_map(|backup| &backup.policy), Wanted::Policy, || format!("{at}.backup"));
    let dumps = service.backup.iter().flat_map(|backup| backup.dump.values());
    add(out, dumps.flat_map(|dump| &dump.value.service), Wanted::Service, || format!("{at}.backup.dump"));
}

/// The path of what refers, made where there is something that does.
trait At {
    fn path(&self) -> Cow<'static, str>;
}

impl At for &'static str {
    fn path(&self) -> Cow<'static, str> {
        Cow::Borrowed(self)
    }
}

impl<F: Fn() -> String> At for F {
    fn path(&self) -> Cow<'static, str> {
        Cow::Owned(self())
    }
}

fn add<'a>(
    out: &mut Vec<Reference<'a>>,
    names: impl IntoIterator<Item = &'a Spanned<String>>,
    wants: Wanted,
    at: impl At,
) {
    for name in names {
        if !name.is_empty() {
            out.push(Reference { name, span: name.span, wants, at: at.path() });
        }
    }
}

/// Names that may lead out of the lab (an alias of the user's SSH configuration, a machine that is not the lab's) and
/// look like a misspelling of something in it, with what was probably meant.
pub fn suspects(parsed: &Parsed) -> Vec<(Reference<'_>, &str)> {
    let lab = &parsed.lab;
    let mut out = Vec::new();
    for (name, host) in lab.compute.hosts.iter() {
        let jumps = host.ssh.jump.iter().filter_map(|jump| Some((jump_host(jump)?, jump.span, "ssh.jump".to_string())));
        let mounts = over_network(host).map(|share| (share.server, share.span, format!("mounts.{}", share.path)));
        for (other, span, key) in jumps.chain(mounts) {
            let at = format!("compute.hosts.{name}.{key}");
            out.push(Reference { name: other, span, wants: Wanted::Host, at: at.into() });
        }
    }
    let cloudflare = lab.edge.public.iter().flat_map(|public| &public.cloudflare);
    for (name, policy) in cloudflare.flat_map(|cloudflare| cloudflare.access.iter()) {
        let at = || format!("edge.public.cloudflare.access.{name}.covers");
        add(&mut out, policy.covers.iter(), Wanted::Service, at);
    }
    out.retain(|reference| !reference.wants.has(lab, reference.name) && !is_address(reference.name));
    out.into_iter()
        .filter_map(|reference| {
            let near = misspelling(reference.name, reference.wants.names(lab))?;
            Some((reference, near))
        })
        .collect()
}

/// The host of `user@host:port`.
pub fn jump_host(jump: &str) -> Option<&str> {
    let host = jump.rsplit_once('@').map_or(jump, |(_, host)| host);
    // More than one colon is an IPv6 address, and no name.
    match host.matches(':').count() {
        0 => Some(host),
        1 => host.split_once(':').map(|(host, _)| host),
        _ => None,
    }
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
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
