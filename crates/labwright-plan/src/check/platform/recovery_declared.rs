//! The order that the lab file gives itself, as `LW-PLT-017` judges it.

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::Findings;

use super::CODE;
use crate::check::compute::carried::{Carried, by_tier, list, players, told};

pub fn check(carried: &Carried<'_>, findings: &mut Findings) {
    late(carried, findings);
    backwards(carried, findings);
}

/// Identity and secrets that come back behind something that should wait for them.
fn late(carried: &Carried<'_>, findings: &mut Findings) {
    let order = &carried.topology.parsed.lab.protection.recovery;
    let before = before(carried);
    let Some((at, early)) = order.iter().enumerate().find(|(_, name)| !before.contains(name.value.as_str())) else {
        return;
    };
    for core in carried.core.iter().filter(|core| FIRST.contains(&core.role)) {
        // The service is what people wait for; where the order does not name it, one of its hosts is enough.
        let of_service = core.service.and_then(|service| order.iter().position(|name| name.value == service));
        let of_host = || order.iter().position(|name| core.on.iter().any(|(host, _)| *host == name.value));
        let first = of_service.or_else(of_host);
        if first.is_some_and(|first| first < at) {
            continue;
        }
        let Some(who) = core.service.or_else(|| core.on.first().map(|(host, _)| *host)) else { continue };
        let (message, span) = match first {
            Some(first) => (
                format!("`{}` carries `{}`, and comes back behind `{}`", order[first].value, core.role, early.value),
                order[first].span,
            ),
            None => (
                format!("the order of recovery has `{}` and leaves out `{who}`, which is `{}`", early.value, core.role),
                early.span,
            ),
        };
        let moved = with_what_it_stands_on(carried, who, at);
        let help = format!(
            "put {} before `{}`: `recovery: [{}, …]`",
            list(moved.iter().copied()),
            early.value,
            order[..at]
                .iter()
                .map(|name| name.value.as_str())
                .chain(moved.iter().copied())
                .collect::<Vec<_>>()
                .join(", ")
        );
        findings.push(told(CODE, by_tier(carried.production), "protection.recovery".to_string(), span, message, help));
    }
}

/// Something of the order with whatever of the order it stands on and needs, from the bottom up, as far as that comes
/// after a place: moved alone, it would come back before its own host.
fn with_what_it_stands_on<'a>(carried: &Carried<'a>, who: &'a str, after: usize) -> Vec<&'a str> {
    let topology = &carried.topology;
    let late = |name: &&str| {
        let place = topology.parsed.lab.protection.recovery.iter().position(|other| other.value == **name);
        place.is_some_and(|place| place >= after)
    };
    let needs = carried.with_needs(topology.service(who).map(|_| who));
    let hosts: BTreeSet<&str> = needs.iter().flat_map(|service| topology.hosts_of(service)).chain([who]).collect();
    let hosts = hosts.into_iter().filter(|name| topology.host(name).is_some());
    let mut all: Vec<&str> = Vec::new();
    for host in hosts {
        all.extend(topology.under(host).into_iter().rev().chain([host]));
    }
    // What is needed by nothing but `who` comes right before it.
    all.extend(needs.into_iter().filter(|service| *service != who));
    let mut moved: Vec<&str> = Vec::new();
    for name in all.into_iter().filter(late).filter(|name| *name != who) {
        if !moved.contains(&name) {
            moved.push(name);
        }
    }
    moved.push(who);
    moved
}

const FIRST: [&str; 2] = ["platform.identity", "platform.secrets.vault"];

/// What may come before identity and secrets: they themselves, what leads to them, what they are restored from, and
/// whatever these stand on.
fn before<'a>(carried: &Carried<'a>) -> BTreeSet<&'a str> {
    let topology = &carried.topology;
    let lab = &topology.parsed.lab;
    let roles = ["edge.router", "edge.vpn", "platform.dns", "platform.secrets.vault", "platform.backup"].into_iter();
    let mut hosts: Vec<&str> = roles.flat_map(|role| topology.hosts_with(role)).collect();
    let mut services: BTreeSet<&str> = BTreeSet::new();
    for role in [&lab.platform.identity, &lab.platform.backup].into_iter().flatten() {
        hosts.extend(players(role, topology).into_iter().map(|(host, _)| host));
        services.extend(carried.with_needs(role.service.iter().map(|service| service.value.as_str())));
    }
    hosts.extend(
        lab.protection
            .repositories
            .values()
            .filter_map(|repository| repository.on.as_ref())
            .map(|on| on.value.as_str()),
    );
    hosts.extend(services.iter().flat_map(|service| topology.hosts_of(service)));
    let under: Vec<&str> = hosts.iter().flat_map(|host| topology.under(host)).collect();
    hosts.into_iter().chain(under).chain(services).collect()
}

/// What comes before something that it cannot be without.
fn backwards(carried: &Carried<'_>, findings: &mut Findings) {
    let topology = &carried.topology;
    let order = &topology.parsed.lab.protection.recovery;
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, name) in order.iter().enumerate() {
        places.entry(&name.value).or_insert(at);
    }
    for (at, name) in order.iter().enumerate().filter(|(at, name)| places.get(name.value.as_str()) == Some(at)) {
        let needs = carried.with_needs(topology.service(&name.value).map(|_| name.value.as_str()));
        let hosts = needs.iter().flat_map(|service| topology.hosts_of(service)).chain([name.value.as_str()]);
        let hosts: BTreeSet<&str> = hosts.flat_map(|host| topology.under(host).into_iter().chain([host])).collect();
        let later: Vec<&str> = needs
            .into_iter()
            .chain(hosts)
            .filter(|other| places.get(other).is_some_and(|place| *place > at))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        if later.is_empty() {
            continue;
        }
        let message = format!(
            "`{}` cannot come back before {}, which the order has behind it",
            name.value,
            list(later.iter().copied())
        );
        let help = format!("put {} before `{}`", list(later.iter().copied()), name.value);
        let severity = by_tier(carried.production);
        findings.push(told(CODE, severity, "protection.recovery".to_string(), name.span, message, help));
    }
}
