//! LW-CMP-012: experiments beside the platform.

use std::collections::BTreeSet;

use labwright_model::lab::{Os, Tier};
use labwright_model::{Findings, Span};

use super::carried::{Carried, by_tier, is_of_platform, is_production, list, told};
use crate::check::{Case, Examples, Rule};

pub struct MixedHost;

const CODE: &str = "LW-CMP-012";

impl Rule for MixedHost {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "experiments beside the platform"
    }

    fn doc(&self) -> &'static str {
        "A host plays a role that the whole lab leans on (names, the proxy, identity, secrets, monitoring), and services of \
         `tier: lab` run on it too. An experiment may break, fill the disk or ask for a restart of the machine, and takes \
         names or logins along.\n\n\
         Document 0 asks to separate platform services from experimental application stacks, and puts them on small machines \
         of their own. It is a warning on a host of `tier: production`, and advice on others.\n\n\
         A lab that never says `tier: production` does not tell experiments apart, and hears nothing of this; nor does one \
         that has no other host to put services on. Not counted: what is itself a part of a platform (Grafana beside \
         monitoring), and what a production service or the role needs.\n\n\
         The way out: put the experiment on a container host (`on: docker-01`), or say `tier: production` of it if people \
         rely on it."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "owner: mia\ncompute:\n  hosts:\n    infra-01: { address: 10.0.20.53, tier: production }\n    apps-01: { address: 10.0.20.21 }\nplatform: { dns: infra-01 }\nservices:\n  photos: { run: photos, on: apps-01 }\n  game: { run: game, on: infra-01 }",
            passes: "owner: mia\ncompute:\n  hosts:\n    infra-01: { address: 10.0.20.53, tier: production }\n    apps-01: { address: 10.0.20.21 }\nplatform: { dns: infra-01 }\nservices:\n  photos: { run: photos, on: apps-01 }\n  game: { run: game, on: apps-01 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let carried = case.carried();
        if !carried.production {
            return;
        }
        let spared = spared(carried);
        for (name, host) in parsed.lab.compute.hosts.iter() {
            let roles = carried.core_on(name);
            if roles.is_empty() {
                continue;
            }
            let mut experiments: Vec<(&str, Span)> = Vec::new();
            let mut seen = BTreeSet::new();
            for placement in carried.on(name) {
                let spared = spared.contains(placement.service.as_str());
                // A machine's own SSH or web interface that has a name is no experiment.
                let port = placement.entry.port.as_ref().and_then(|port| port.rsplit(':').next());
                let own = placement.entry.built_in.is_some() && matches!(port, Some("22" | "8006"));
                if own || is_production(placement) || spared || is_of_platform(parsed, placement) {
                    continue;
                }
                let on = placement.entry.on.iter().find(|on| on.value == *name).map_or(Span::NONE, |on| on.span);
                if seen.insert(placement.service.as_str()) {
                    experiments.push((&placement.service, on));
                }
            }
            let (Some((first, span)), [_, ..]) = (experiments.first(), &other_hosts(carried, name)[..]) else {
                continue;
            };
            let what = list(experiments.iter().map(|(service, _)| *service));
            let (noun, verb, it) = match experiments.len() {
                1 => ("experiment", "shares", "it"),
                _ => ("experiments", "share", "them"),
            };
            let message = format!("{noun} {what} {verb} `{name}` with {}", list(roles.iter().copied()));
            let elsewhere = match like(carried, name) {
                Some(to) => format!("put {it} elsewhere, `on: {to}`"),
                None => format!("give {it} a host of its own"),
            };
            let elsewhere = if experiments.len() > 1 { elsewhere.replace("its own", "their own") } else { elsewhere };
            let help = format!("{elsewhere}; or say `tier: production` if people rely on {it}");
            let production = host.tier == Tier::Production;
            let mut finding = told(CODE, by_tier(production), format!("services.{first}.on"), *span, message, help);
            for (service, span) in experiments.iter().skip(1).take(5) {
                finding = finding.related(*span, format!("so is `{service}`"));
            }
            findings.push(finding);
        }
    }
}

/// What roles and production services need is no experiment.
fn spared<'a>(carried: &Carried<'a>) -> BTreeSet<&'a str> {
    let platform = &carried.topology.parsed.lab.platform;
    let roles = [&platform.identity, &platform.runners, &platform.telemetry, &platform.backup];
    let roles = roles.into_iter().flatten().filter_map(|role| role.service.as_ref()).map(|name| name.value.as_str());
    let production = carried.topology.parsed.placements.iter().filter(|placement| is_production(placement));
    carried.with_needs(roles.chain(production.map(|placement| placement.service.as_str())))
}

/// The hosts for applications that play no core role.
fn other_hosts<'a>(carried: &Carried<'a>, host: &str) -> Vec<&'a str> {
    let lab = &carried.topology.parsed.lab;
    let container_hosts = lab.compute.docker_hosts.iter().map(|host| host.value.as_str());
    // Home Assistant's own system is no place for anything else.
    let is_appliance = |name: &str| lab.host(name).is_some_and(|host| host.os == Os::Other);
    let with_services = lab.compute.hosts.keys().map(String::as_str);
    let with_services = with_services.filter(|name| !carried.on(name).is_empty() && !is_appliance(name));
    let all = container_hosts.chain(with_services);
    all.filter(|name| *name != host && carried.core_on(name).is_empty()).collect()
}

/// One of them that stands where this one does: what moves to another site or zone is reached by other ways, and what
/// runs beside production is no better off.
fn like<'a>(carried: &Carried<'a>, host: &str) -> Option<&'a str> {
    let zone = |name: &str| carried.topology.host(name)?.zone.as_ref().map(|zone| zone.value.as_str());
    let same = |name: &&str| {
        let beside = carried.topology.site(name) == carried.topology.site(host) && zone(name) == zone(host);
        let relied_on = carried.topology.host(name).is_none_or(|host| host.tier == Tier::Production);
        beside && !relied_on && carried.topology.host(name).is_some_and(|host| !host.intermittent && !host.local)
    };
    // Where container hosts are listed, a NAS that happens to run something is none of them.
    let listed = &carried.topology.parsed.lab.compute.docker_hosts;
    let carries = |name: &&str| listed.is_empty() || listed.iter().any(|host| host.value == **name);
    other_hosts(carried, host).into_iter().filter(carries).find(same)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn experiments_are_folded_and_parts_of_the_platform_are_none() {
        says(
            r#"
owner: mia
compute:
  hosts:
    infra-01: { address: 10.0.20.53, tier: production }
    mon-01: { address: 10.0.20.54 }
    apps-01: { address: 10.0.20.21 }
    apps-02: { address: 10.0.20.22 }
platform: { reverse_proxy: infra-01, monitoring: mon-01, identity: { service: login } }
services:
  photos: { run: photos, on: apps-01, tier: production, needs: [cache] }
  game: { run: game, on: infra-01 }
  wiki: { run: wiki, on: [apps-01, infra-01] }
  pi-hole: { run: pihole, on: infra-01 }
  cache: { run: cache, on: infra-01 }
  login: { run: login, on: infra-01, needs: [login-db] }
  login-db: { run: db, on: infra-01 }
  board: { use: grafana, on: mon-01 }
  chess: { run: chess, on: mon-01 }
  plain: { run: plain, on: apps-02 }
"#,
            expect![[r#"
                5:5 advice LW-CMP-010: `infra-01` is a single point of failure: `platform.identity` and `platform.reverse_proxy` stand on it alone
                    help: move one of them to another machine, for example `apps-01`; or accept it: `# labwright: allow LW-CMP-010 because …` above `infra-01`
                12:26 warning LW-CMP-012: experiments `game` and `wiki` share `infra-01` with `platform.reverse_proxy` and `platform.identity`
                    help: put them elsewhere, `on: apps-01`; or say `tier: production` if people rely on them
                    13:36: so is `wiki`
                19:28 advice LW-CMP-012: experiment `chess` shares `mon-01` with `platform.monitoring`
                    help: put it elsewhere, `on: apps-01`; or say `tier: production` if people rely on it
            "#]],
        );
    }

    #[test]
    fn nobody_is_sent_to_another_site_or_zone() {
        says(
            r#"
owner: mia
network: { zones: { lan: { subnet: 10.0.20.0/24 }, dmz: { subnet: 10.0.30.0/24 } } }
compute:
  docker_hosts: [vps, dmz-01, prod-01]
  hosts:
    infra-01: { zone: lan, address: 10.0.20.53, tier: production, site: home }
    vps: { address: 203.0.113.5, site: rented }
    dmz-01: { zone: dmz, address: 10.0.30.5, site: home }
    prod-01: { zone: lan, address: 10.0.20.54, tier: production, site: home }
platform: { dns: infra-01 }
services:
  game: { run: game, on: infra-01 }
"#,
            expect![[r#"
                8:5 warning LW-CMP-001: host `vps` is in no zone
                    help: add `zone: …`, one of lan, dmz
                13:26 warning LW-CMP-012: experiment `game` shares `infra-01` with `platform.dns`
                    help: give it a host of its own; or say `tier: production` if people rely on it
            "#]],
        );
    }

    #[test]
    fn a_lab_without_tiers_and_a_lab_of_one_host_hear_nothing() {
        says(
            r#"
compute: { hosts: { a: { address: 10.0.0.1 }, b: { address: 10.0.0.2 } } }
platform: { reverse_proxy: a }
services: { game: { run: game, on: a }, wiki: { run: wiki, on: b } }
"#,
            expect![[""]],
        );
        says(
            r#"
owner: mia
compute: { hosts: { a: { address: 10.0.0.1, tier: production } } }
platform: { reverse_proxy: a }
services: { game: { run: game, on: a }, wiki: { run: wiki, on: a } }
"#,
            expect![[""]],
        );
    }
}
