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
        let is = |name: &str| core.service == Some(name) || core.on.iter().any(|(host, _)| *host == name);
        // One of several hosts is enough to log in again.
        let first = order.iter().position(|name| is(&name.value));
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
        let help = format!("put `{who}` before `{}`: `recovery: [{who}, …]`", early.value);
        findings.push(told(CODE, by_tier(carried.production), "protection.recovery".to_string(), span, message, help));
    }
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
