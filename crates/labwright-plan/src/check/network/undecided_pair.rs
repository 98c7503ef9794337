//! LW-NET-005: something needs a way between two zones, and no flow gives it one.

use std::collections::BTreeMap;

use labwright_model::lab::{Expose, Os, Service};
use labwright_model::units::Protocol;
use labwright_model::{Finding, Findings, Parsed, Placement, Span};

use super::missing_flow::{Gathered, Missing, Need, Words, port_of};
use super::reach::{End, Flows, Placed, Reach, hosts, is_only, lets};
use super::telling::Stake;
use super::zone_kind::{Kinds, is_vpn, router};
use crate::check::{Case, Examples, Rule};
use crate::mounted::{Servers, Share, over_network, shares};

pub struct UndecidedPair;

const CODE: &str = "LW-NET-005";

impl Rule for UndecidedPair {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a need that no flow lets through"
    }

    fn doc(&self) -> &'static str {
        "What no flow allows is denied. The lab says that something needs something else in another zone, and no flow leads \
         there, so it would run into the wall on the day the firewall is on:\n\n\
         - a service and one that it `needs`;\n\
         - monitoring and the hosts that it watches, or what `scrape` names;\n\
         - a service and the host of the repository that its backups go to;\n\
         - a host and the one that it mounts from over NFS;\n\
         - the reverse proxy, or the tunnel, and the services behind it;\n\
         - the hosts of a zone and a resolver, where they may not ask one on the internet either.\n\n\
         Only pairs of zones are judged, and only in a lab that enforces none of its flows: where it does \
         (`firewall: enforce`), needs are opened by themselves, and LW-NET-014 tells of those that are not. A flow counts whatever port it is for, as long as \
         it is not for `icmp`, `ssh`, `dns` or `ntp` alone; for a scrape and for DNS the port counts too. Where a host is \
         in several zones (a router, a member of the VPN), any of them will do. A lab with zones and without a single flow \
         leaves everything undecided: that is advice, told once, with what services need, mount and send to repositories.\n\n\
         Document 0 asks to recheck network boundaries when a change in one place breaks another, and to keep dependencies \
         on DNS, secrets and backup explicit; document 3 denies everything by default, with explicit allows only. A matrix \
         of zones that is total has no pair left to guess.\n\n\
         The way out: add the flow that the finding names, with the reason under `because`, or take out the need. Warnings \
         are about what has `tier: production`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "network:\n  zones:\n    apps: { subnet: 10.0.20.0/24 }\n    data: { subnet: 10.0.60.0/24 }\n  flows:\n    - { from: apps, to: internet }\ncompute:\n  hosts:\n    app-01: { zone: apps, address: 10.0.20.21 }\n    db-01: { zone: data, address: 10.0.60.5 }\nservices:\n  wiki: { run: wiki, on: app-01, needs: postgres }\n  postgres: { run: postgres, on: db-01 }",
            passes: "network:\n  zones:\n    apps: { subnet: 10.0.20.0/24 }\n    data: { subnet: 10.0.60.0/24 }\n  flows:\n    - { from: apps, to: internet }\n    - { from: wiki, to: postgres, allow: postgresql }\ncompute:\n  hosts:\n    app-01: { zone: apps, address: 10.0.20.21 }\n    db-01: { zone: data, address: 10.0.60.5 }\nservices:\n  wiki: { run: wiki, on: app-01, needs: postgres }\n  postgres: { run: postgres, on: db-01 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        // Where the firewall is enforced, needs are opened by themselves, and LW-NET-014 tells which are not.
        let undecided = lab.network.flows.is_empty();
        if (undecided && lab.network.zones.len() < 2) || super::firewall_is_asked_for(parsed) {
            return;
        }
        let reach = case.reach();
        let kinds = case.kinds();
        let sight = Sight {
            parsed,
            reach,
            kinds,
            placed: case.placed(),
            carrying: reach.flows_for(|traffic| !is_only(traffic, ASIDE)),
            https: reach.flows_for(|traffic| lets(traffic, 443, Protocol::Tcp)),
        };
        let mut missing = Gathered::default();
        needs(&sight, &mut missing);
        if undecided {
            backups(&sight, &mut missing);
            mounts(&sight, &mut missing);
            findings.extend(nothing_decided(parsed, missing.told(CODE, reach)));
            return;
        }
        scrapes(&sight, &mut missing);
        backups(&sight, &mut missing);
        mounts(&sight, &mut missing);
        doors(&sight, &mut missing);
        resolvers(&sight, &mut missing);
        findings.extend(missing.told(CODE, reach));
    }
}

/// A lab with zones and not one flow: what passes between them is nowhere said. Told once, with the ways that are needed.
/// Where `firewall: off` says that somebody else decides, that is an answer.
fn nothing_decided(parsed: &Parsed, needed: Findings) -> Option<Finding> {
    if parsed.lab.network.firewall.is_some() {
        return None;
    }
    let (first, others) = needed.split_first()?;
    let message = match others.len() {
        0 => format!("{}: the lab has zones and not one flow", first.message),
        1 => format!("{}: the lab has zones and not one flow, and something else needs one as well", first.message),
        more => format!("{}: the lab has zones and not one flow, and {more} others need one as well", first.message),
    };
    let help = format!(
        "{}; or say `network: {{ firewall: off }}` where something else decides what passes between zones",
        first.help
    );
    let finding = Finding::advice(CODE, first.at.clone(), first.span, message).help(help);
    Some(others.iter().take(5).fold(finding, |finding, other| finding.related(other.span, other.message.clone())))
}

struct Sight<'s, 'a> {
    parsed: &'a Parsed,
    reach: &'s Reach<'a>,
    kinds: &'s Kinds<'a>,
    placed: &'s Placed<'a>,
    /// Flows that could carry an application.
    carrying: Flows,
    https: Flows,
}

/// Ports that serve the network itself or its administration.
const ASIDE: &[u16] = &[22, 53, 123];

impl<'a> Sight<'_, 'a> {
    /// Whether both hosts are in zones that are known, and have none in common.
    fn apart(&self, from: &str, to: &str) -> bool {
        let zones = || Some((self.reach.zones(from)?, self.reach.zones(to)?));
        from != to && zones().is_some_and(|(from, to)| from.is_disjoint(to))
    }

    /// The first of `from` that reaches none of `to`, and the first of those.
    fn cut<'n>(
        &self,
        from: impl IntoIterator<Item = &'n str>,
        to: &[&'n str],
        open: impl Fn(&'n str, &'n str) -> bool,
    ) -> Option<(&'n str, &'n str)> {
        let first = *to.first()?;
        let cut = |from: &'n str| to.iter().all(|to| self.apart(from, to) && !open(from, to));
        from.into_iter().find(|from| cut(from)).map(|from| (from, first))
    }

    fn zone(&self, host: &str) -> &'a str {
        self.reach.zone(host).unwrap_or_default()
    }

    fn stake(&self, service: &Service, hosts: &[&str]) -> Stake {
        hosts.iter().map(|host| self.kinds.stake(host)).max().unwrap_or(Stake::Lab).max(Stake::of(service.tier))
    }

    /// Whether services reach each other by the door: a name at the proxy.
    fn by_proxy(&self, service: &'a str, host: &'a str, there: &Service) -> bool {
        let Some(proxy) = &self.parsed.lab.platform.reverse_proxy else { return false };
        !there.url.is_empty()
            && proxy.on.iter().any(|on| {
                self.reach.together(host, on)
                    || self.reach.allows(&self.reach.service(service, host), self.reach.host(on), &self.https)
            })
    }
}

fn needs<'a>(sight: &Sight<'_, 'a>, missing: &mut Gathered<'a>) {
    for placement in &sight.parsed.placements {
        let (name, service) = (placement.service.as_str(), &placement.entry);
        for need in service.needs.iter() {
            for there in sight.placed.seen_from(placement.environment.as_deref(), need) {
                let other = there.service.as_str();
                let to: Vec<&str> = hosts(&there.entry).collect();
                let open = |from: &'a str, to: &'a str| {
                    let (here, ends) = (sight.reach.service(name, from), sight.reach.service(other, to));
                    sight.reach.allows(&here, &ends, &sight.carrying) || sight.by_proxy(name, from, &there.entry)
                };
                let Some((from, to)) = sight.cut(hosts(service), &to, open) else { continue };
                let (here, across) = (sight.zone(from), sight.zone(to));
                missing.push(
                    (Need::Service, here, across),
                    Missing {
                        from: End::Service(name),
                        to: End::Service(other),
                        zones: (here, across),
                        allow: port_of(&there.entry, other),
                        span: need.span,
                        stake: Stake::of(service.tier),
                    },
                    || Words {
                        at: format!("{}.needs", crate::check::references::at(placement)),
                        says: format!(
                            "`{name}` in zone `{here}` needs `{other}` in zone `{across}`, and no flow lets it through"
                        ),
                        also: format!("`{name}` needs `{other}`"),
                    },
                );
            }
        }
    }
}

fn scrapes<'a>(sight: &Sight<'_, 'a>, missing: &mut Gathered<'a>) {
    let lab = &sight.parsed.lab;
    let Some(monitoring) = &lab.platform.monitoring else { return };
    let watching: Vec<&str> = monitoring.on.iter().map(|on| on.value.as_str()).collect();
    let (Some(first), Some(role)) = (watching.first().copied(), monitoring.on.first()) else { return };
    let seen = |to: &'a str, flows: &Flows| {
        watching.iter().any(|from| {
            !sight.apart(from, to) || sight.reach.allows(sight.reach.host(from), sight.reach.host(to), flows)
        })
    };
    for (name, host) in lab.compute.hosts.iter() {
        // What comes and goes, and what the lab runs nothing on, is not watched from inside.
        if host.intermittent || host.local || host.os == Os::Other || seen(name, &sight.carrying) {
            continue;
        }
        let zone = sight.zone(name);
        missing.push(
            (Need::Watch, "", ""),
            Missing {
                from: End::Host(first),
                to: End::Host(name),
                zones: (sight.zone(first), zone),
                allow: "node-exporter".into(),
                span: role.span,
                stake: sight.kinds.stake(name),
            },
            || Words {
                at: "platform.monitoring".into(),
                says: format!("`{first}` watches `{name}` in zone `{zone}`, and no flow lets it through"),
                also: name.clone(),
            },
        );
    }
    let servers = Servers::of(lab);
    let mut by_port: BTreeMap<u16, Flows> = BTreeMap::new();
    for (scrape, entry) in monitoring.scrape.iter() {
        for target in entry.targets.iter() {
            let Some((host, port)) = target.rsplit_once(':') else { continue };
            let (Some(to), Ok(port)) = (servers.host(host), port.parse::<u16>()) else { continue };
            let flows = by_port
                .entry(port)
                .or_insert_with(|| sight.reach.flows_for(|traffic| lets(traffic, port, Protocol::Tcp)));
            if seen(to, flows) {
                continue;
            }
            missing.push(
                (Need::Scrape, scrape, ""),
                Missing {
                    from: End::Host(first),
                    to: End::Host(to),
                    zones: (sight.zone(first), sight.zone(to)),
                    allow: format!("{port}/tcp"),
                    span: target.span,
                    stake: sight.kinds.stake(to),
                },
                || Words {
                    at: format!("platform.monitoring.scrape.{scrape}"),
                    says: format!("`{first}` scrapes `{}`, and no flow lets it through", target.value),
                    also: format!("nor `{}`", target.value),
                },
            );
        }
    }
}

fn backups<'a>(sight: &Sight<'_, 'a>, missing: &mut Gathered<'a>) {
    let protection = &sight.parsed.lab.protection;
    let sending = sight.reach.flows_for(|traffic| !is_only(traffic, &[53, 123]));
    for placement in &sight.parsed.placements {
        let (name, service) = (placement.service.as_str(), &placement.entry);
        let Some(policy) = service.backup.as_ref().and_then(|backup| backup.policy.as_ref()) else { continue };
        let Some(to) = protection.policies.get(&policy.value) else { continue };
        for repository in to.to.iter().filter_map(|to| protection.repositories.get(&to.value)) {
            let Some(keeper) = repository.on.as_ref() else { continue };
            // Sent or fetched: either way round is a decision.
            let open = |from: &'a str, to: &'a str| {
                let (here, there) = (sight.reach.service(name, from), sight.reach.host(to));
                sight.reach.allows(&here, there, &sending) || sight.reach.allows(there, &here, &sending)
            };
            let Some((from, to)) = sight.cut(hosts(service), &[keeper.value.as_str()], open) else { continue };
            let (here, across) = (sight.zone(from), sight.zone(to));
            missing.push(
                (Need::Backup, here, to),
                Missing { from: End::Host(from), to: End::Host(to), zones: (here, across), allow: "ssh".into(), span: policy.span, stake: Stake::of(service.tier) },
                || Words { at: format!("{}.backup", crate::check::references::at(placement)), says: format!(
                    "backups of `{name}` go from `{from}` in zone `{here}` to `{to}` in zone `{across}`, and no flow lets \
                     them through"
                ), also: format!("so do those of `{name}`") },
            );
        }
    }
}

/// Hosts and those that they mount from.
fn mounts<'a>(sight: &Sight<'_, 'a>, missing: &mut Gathered<'a>) {
    let lab = &sight.parsed.lab;
    let mut mounted: Vec<(&str, Share<'_>)> = Vec::new();
    for (name, host) in lab.compute.hosts.iter() {
        mounted.extend(over_network(host).map(|share| (name.as_str(), share)));
    }
    for placement in &sight.parsed.placements {
        for share in shares(sight.parsed, placement) {
            mounted.extend(hosts(&placement.entry).map(|on| (on, share)));
        }
    }
    if mounted.is_empty() {
        return;
    }
    let servers = Servers::of(lab);
    let mut on: BTreeMap<&str, Vec<End<'_>>> = BTreeMap::new();
    for placement in &sight.parsed.placements {
        for host in hosts(&placement.entry) {
            on.entry(host).or_default().push(End::Service(&placement.service));
        }
    }
    let ends = |host: &str| [sight.reach.host(host), on.get(host).map_or(&[], Vec::as_slice)].concat();
    for (name, share) in mounted {
        let Some((to, allow)) = servers.host(share.server).zip(share.protocol.allow()) else { continue };
        if !sight.apart(name, to) || sight.reach.allows(&ends(name), &ends(to), &sight.carrying) {
            continue;
        }
        let (here, across) = (sight.zone(name), sight.zone(to));
        missing.push(
            (Need::Mount, here, to),
            Missing {
                from: End::Host(name),
                to: End::Host(to),
                zones: (here, across),
                allow: allow.into(),
                span: share.span,
                stake: sight.kinds.stake(name),
            },
            || Words {
                at: format!("compute.hosts.{name}.mounts"),
                says: format!(
                    "`{name}` in zone `{here}` mounts from `{to}` in zone `{across}`, and no flow lets it through"
                ),
                also: format!("so does `{name}`"),
            },
        );
    }
}

/// The proxy and the tunnel to what is behind them.
fn doors<'a>(sight: &Sight<'_, 'a>, missing: &mut Gathered<'a>) {
    let lab = &sight.parsed.lab;
    let proxies: Vec<&str> =
        lab.platform.reverse_proxy.iter().flat_map(|proxy| proxy.on.iter()).map(|on| on.value.as_str()).collect();
    let cloudflare = lab.edge.public.as_ref().and_then(|public| public.cloudflare.as_ref());
    let tunnel = cloudflare.and_then(|cloudflare| cloudflare.tunnel.as_ref()?.on.as_ref());
    let web = sight.reach.flows_for(|one| lets(one, 443, Protocol::Tcp) || lets(one, 80, Protocol::Tcp));
    let through = |from: &'a str, service: &'a str, to: &'a str| {
        sight.reach.allows(sight.reach.host(from), &sight.reach.service(service, to), &sight.carrying)
    };
    for Placement { service: name, entry: service, .. } in &sight.parsed.placements {
        let behind: Vec<&str> = hosts(service).collect();
        if service.external.is_some() || service.expose == Expose::Nowhere {
            continue;
        }
        let span = lab.services.get(name).map_or(Span::NONE, |service| service.span);
        let mut push = |need: Need, (from, to): (&'a str, &'a str), door: &str| {
            let across = sight.zone(to);
            missing.push(
                (need, across, ""),
                Missing {
                    from: End::Host(from),
                    to: End::Service(name),
                    zones: (sight.zone(from), across),
                    allow: port_of(service, name),
                    span,
                    stake: sight.stake(service, &[from]),
                },
                || Words {
                    at: format!("services.{name}"),
                    says: format!(
                        "{door} `{from}` leads to `{name}` on `{to}` in zone `{across}`, and no flow lets it through"
                    ),
                    also: format!("nor to `{name}`"),
                },
            );
        };
        // Without a resolver of the lab's own, everybody comes to a public name by the tunnel, which may need no proxy.
        let direct = service.expose == Expose::Public
            && lab.platform.dns.is_none()
            && tunnel.is_some_and(|tunnel| {
                sight.cut([tunnel.value.as_str()], &behind, |from, to| through(from, name, to)).is_none()
            });
        if let (Some(first), Some(to)) = (proxies.first(), behind.first())
            && !(service.url.is_empty() || direct)
            && proxies.iter().all(|proxy| sight.cut([*proxy], &behind, |from, to| through(from, name, to)).is_some())
        {
            push(Need::Proxy, (first, to), "the reverse proxy on");
        }
        let Some(tunnel) = tunnel.filter(|_| service.expose == Expose::Public) else { continue };
        let to_proxy = proxies.iter().any(|proxy| {
            !sight.apart(tunnel, proxy) || sight.reach.allows(sight.reach.host(tunnel), sight.reach.host(proxy), &web)
        });
        let cut = sight.cut([tunnel.value.as_str()], &behind, |from, to| through(from, name, to));
        if let (Some(cut), false) = (cut, to_proxy) {
            push(Need::Tunnel, cut, "the tunnel on");
        }
    }
}

fn resolvers<'a>(sight: &Sight<'_, 'a>, missing: &mut Gathered<'a>) {
    let lab = &sight.parsed.lab;
    let Some(dns) = &lab.platform.dns else { return };
    let answering: Vec<&str> = dns.on.iter().map(|on| on.value.as_str()).collect();
    let Some(first) = answering.first().copied() else { return };
    let asking = sight.reach.flows_for(|traffic| lets(traffic, 53, Protocol::Udp));
    for (name, zone) in lab.network.zones.iter() {
        // What joins from elsewhere has a network, and resolvers, of its own.
        if is_vpn(zone) {
            continue;
        }
        let open = |from: &'a str, to: &'a str| {
            // A router answers for the resolvers behind it, as a rule.
            let elsewhere = router(lab).map(End::Host).into_iter().chain([End::Internet]);
            let there: Vec<End<'_>> = sight.reach.host(to).iter().copied().chain(elsewhere).collect();
            sight.reach.allows(sight.reach.host(from), &there, &asking)
        };
        let hosts = sight.kinds.hosts_in(name).iter().copied().filter(|host| !answering.contains(host));
        let Some((host, _)) = sight.cut(hosts, &answering, open) else { continue };
        missing.push(
            (Need::Resolver, "", ""),
            Missing { from: End::Zone(name), to: End::Host(first), zones: (name, sight.zone(first)), allow: "dns".into(), span: zone.span, stake: sight.kinds.stake_in(name) },
            || Words { at: format!("network.zones.{name}"), says: format!(
                "`{host}` in zone `{name}` may ask no resolver: no flow for `dns` leads to `{first}`, nor to the internet"
            ), also: format!("nor may hosts in zone `{name}`") },
        );
    }
}

#[cfg(test)]
#[path = "undecided_pair_tests.rs"]
mod tests;
