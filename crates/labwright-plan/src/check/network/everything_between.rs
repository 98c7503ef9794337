//! LW-NET-011: hosts of a zone that may all reach each other, and have no reason to.

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::units::Traffic;
use labwright_model::{Finding, Findings, role_hosts};

use super::flat_zone::flat;
use super::reach::{End, ends, hosts, traffic};
use super::zone_kind::serves;
use crate::check::{Case, Examples, Rule};

pub struct EverythingBetween;

const CODE: &str = "LW-NET-011";

impl Rule for EverythingBetween {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "services that may reach each other without a reason"
    }

    fn doc(&self) -> &'static str {
        "A flow lets everything through from a zone of servers to itself, and there are services in it that need nothing of \
         each other. Inside a zone, too, only what a flow allows is let through, and this flow gives that away: whoever gets \
         into one service is beside all others, on every port.\n\n\
         Document 1 says it of its own lab: there is no need for the media server to reach the audiobooks. Document 3 wants \
         that the compromise of one service does not compromise the others. Only flows for `any` from a zone to itself are \
         told, as advice; a flow that gives its reason under `because` is not.\n\n\
         The way out: flows between those that need each other (`{ from: wiki, to: postgres, allow: postgresql }`), and for \
         the roles that reach everything: `{ from: mon-01, to: servers, allow: node-exporter }`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\n  flows:\n    - { from: servers, to: servers }\ncompute:\n  hosts:\n    a-01: { zone: servers, address: 10.0.20.21 }\n    b-01: { zone: servers, address: 10.0.20.22 }\nservices:\n  films: { run: jellyfin, on: a-01 }\n  books: { run: audiobookshelf, on: b-01 }",
            passes: "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\n  flows:\n    - { from: servers, to: internet }\ncompute:\n  hosts:\n    a-01: { zone: servers, address: 10.0.20.21 }\n    b-01: { zone: servers, address: 10.0.20.22 }\nservices:\n  films: { run: jellyfin, on: a-01 }\n  books: { run: audiobookshelf, on: b-01 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        let mut open = lab.network.flows.iter().filter(|flow| {
            flow.because.is_none() && flow.from.len() * flow.to.len() > 0 && traffic(flow).contains(&Traffic::Any)
        });
        let Some(first) = open.next() else { return };
        let kinds = case.kinds();
        // One zone for everything is the greater fault, and has its own page.
        if flat(parsed, kinds).is_some() {
            return;
        }
        let mut pairs: Option<Pairs<'_>> = None;
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for flow in std::iter::once(first).chain(open) {
            let to: BTreeSet<End<'_>> = flow.to.iter().flat_map(|name| ends(lab, name)).collect();
            for from in flow.from.iter() {
                for end in ends(lab, from) {
                    let End::Zone(zone) = end else { continue };
                    let served = kinds.zone(zone).is_none_or(serves);
                    if !to.contains(&end) || !served || !told.insert(zone) {
                        continue;
                    }
                    let pairs = pairs.get_or_insert_with(|| Pairs::of(case));
                    let Some((a, b)) = pairs.apart(kinds.hosts_in(zone)) else { continue };
                    let message = format!(
                        "every host in zone `{zone}` may reach every other on every port; `{a}` and `{b}` need nothing of each \
                         other"
                    );
                    findings.push(Finding::advice(CODE, "network.flows", from.span, message).help(
                        "allow what is needed: `- { from: SERVICE, to: SERVICE, allow: PORT/tcp }`, or say why under `because`",
                    ));
                }
            }
        }
    }
}

/// Services by their hosts, and the hosts that services need of each other.
struct Pairs<'a> {
    services: BTreeMap<&'a str, &'a str>,
    needed: BTreeSet<(&'a str, &'a str)>,
}

impl<'a> Pairs<'a> {
    fn of(case: &Case<'a>) -> Pairs<'a> {
        let (parsed, placed) = (case.parsed, case.placed());
        // What plays a role is there for others.
        let roles: BTreeSet<String> = role_hosts(&parsed.lab)
            .into_iter()
            .filter(|(_, _, role)| role.starts_with("platform."))
            .map(|(host, _, _)| host)
            .collect();
        let mut pairs = Pairs { services: BTreeMap::new(), needed: BTreeSet::new() };
        for placement in &parsed.placements {
            for host in hosts(&placement.entry) {
                if !roles.contains(host) {
                    pairs.services.entry(host).or_insert(&placement.service);
                }
                for need in placement.entry.needs.iter().chain(&placement.entry.egress) {
                    for there in placed.seen_from(placement.environment.as_deref(), need) {
                        pairs.needed.extend(hosts(&there.entry).flat_map(|other| [(host, other), (other, host)]));
                    }
                }
            }
        }
        pairs
    }

    /// Two services on two of these hosts, which need nothing of each other.
    fn apart(&self, hosts: &[&'a str]) -> Option<(&'a str, &'a str)> {
        let serving: Vec<&str> = hosts.iter().copied().filter(|host| self.services.contains_key(host)).collect();
        let pairs = serving.iter().enumerate().flat_map(|(i, a)| serving[i + 1..].iter().map(move |b| (*a, *b)));
        let (a, b) = pairs.into_iter().find(|pair| !self.needed.contains(pair))?;
        Some((self.services.get(a)?, self.services.get(b)?))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn only_any_within_a_zone_of_servers() {
        says(
            r#"
network:
  zones:
    servers: { subnet: 10.0.20.0/24 }
    dmz: { subnet: 10.0.21.0/24 }
    clients: { subnet: 10.0.30.0/24 }
    pair: { subnet: 10.0.31.0/24 }
    roles: { subnet: 10.0.32.0/24 }
  flows:
    - { from: [clients, servers], to: [servers, pair] }
    - { from: servers, to: servers, allow: any }
    - { from: clients, to: clients }
    - { from: pair, to: pair }
    - { from: roles, to: roles }
    - { from: dmz, to: dmz, because: a cluster gossips on any port }
    - { from: dmz, to: dmz, allow: https }
platform: { monitoring: f }
compute:
  hosts:
    a: { zone: servers, address: 10.0.20.1 }
    b: { zone: servers, address: 10.0.20.2 }
    c: { zone: pair, address: 10.0.31.1 }
    d: { zone: pair, address: 10.0.31.2 }
    e: { zone: roles, address: 10.0.32.1 }
    f: { zone: roles, address: 10.0.32.2 }
services:
  of-a: { run: a, on: a }
  of-b: { run: b, on: b }
  of-c: { run: c, on: c, needs: of-d }
  of-d: { run: d, on: d }
  of-e: { run: e, on: e }
  of-f: { run: f, on: f }
"#,
            expect![[r#"
                10:7 advice LW-NET-013: zones and flows are declared, and nothing enforces them
                    help: write `network: { firewall: enforce }`, after `labwright rehearse` has tried it; `firewall: off` keeps it as it is
                10:25 advice LW-NET-011: every host in zone `servers` may reach every other on every port; `of-a` and `of-b` need nothing of each other
                    help: allow what is needed: `- { from: SERVICE, to: SERVICE, allow: PORT/tcp }`, or say why under `because`
                17:25 advice LW-NET-005: `f` watches `a`, `b`, `c` and `d`, and no flow lets it through
                    help: add to `network: { flows: … }`: `- { from: f, to: [a, b, c, d], allow: node-exporter }`
            "#]],
        );
    }
}
