//! LW-CMP-010: a machine that much of the lab stands on alone.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use labwright_model::{Findings, Severity};

use super::carried::{Carried, is_production, list, told};
use crate::check::{Case, Examples, Rule};

pub struct SinglePoint;

const CODE: &str = "LW-CMP-010";

impl Rule for SinglePoint {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a single point of failure"
    }

    fn doc(&self) -> &'static str {
        "Several services that people rely on, or several of the roles that the rest leans on (names, the proxy, identity, \
         secrets, monitoring), stand on one machine, themselves or as its guests, and nowhere else. When it fails they all \
         go at once. What also runs on another machine does not count.\n\n\
         Document 0 asks to design around failure domains and not only for convenience. Document 4 says of a machine that \
         is a single point of failure what to ask of it: is it the urgent thing that would stop? It accepts that for builds, \
         and not for what serves people. So this is advice, and a warning where production services and roles are in the \
         same basket. It is told once for the lab, and not at all where there is no other machine to move anything to.\n\n\
         The way out: move a part of it to another machine, give a role a second host there, or accept it in a comment that \
         says why: `# labwright: allow LW-CMP-010 because …`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  docker_hosts: [docker-01, docker-02]\n  hosts:\n    docker-01: { address: 10.0.20.21, owner: mia }\n    docker-02: { address: 10.0.20.22, owner: mia }\nservices:\n  git: { use: forgejo, on: docker-01, tier: production }\n  photos: { use: immich, on: docker-01, tier: production }",
            passes: "compute:\n  docker_hosts: [docker-01, docker-02]\n  hosts:\n    docker-01: { address: 10.0.20.21, owner: mia }\n    docker-02: { address: 10.0.20.22, owner: mia }\nservices:\n  git: { use: forgejo, on: docker-01, tier: production }\n  photos: { use: immich, on: docker-02, tier: production }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let carried = case.carried();
        // Where nobody relies on anything, two roles on a small machine are thrift.
        let several_roles = if carried.production { 2 } else { 3 };
        let mut heavy: Vec<_> = standing(carried)
            .into_iter()
            .filter(|(_, (services, roles))| services.len() >= 2 || roles.len() >= several_roles)
            .filter(|(machine, _)| carried.elsewhere(machine).is_some())
            .collect();
        heavy.sort_by_key(|(machine, (services, roles))| (Reverse(services.len() + roles.len()), *machine));
        let Some((machine, (services, roles))) = heavy.first() else { return };
        let severity = match services.len() >= 2 && roles.len() >= 2 {
            true => Severity::Warning,
            false => Severity::Advice,
        };
        let message = format!(
            "`{machine}` is a single point of failure: {} stand on it alone",
            list(services.iter().chain(roles).copied())
        );
        let to = carried.elsewhere(machine).map_or(String::new(), |to| format!(", for example `{to}`"));
        let help = format!(
            "move one of them to another machine{to}; or accept it: `# labwright: allow {CODE} because …` above `{machine}`"
        );
        let at = format!("compute.hosts.{machine}");
        let mut finding = told(CODE, severity, at, carried.place(machine), message, help);
        for (machine, (services, roles)) in heavy.iter().skip(1).take(5) {
            let what = list(services.iter().chain(roles).copied());
            finding = finding.related(carried.place(machine), format!("so is `{machine}`, with {what}"));
        }
        findings.push(finding);
    }
}

type Standing<'a> = BTreeMap<&'a str, (BTreeSet<&'a str>, BTreeSet<&'a str>)>;

/// Production services and core roles that have one machine and no other, by that machine.
fn standing<'a>(carried: &Carried<'a>) -> Standing<'a> {
    let mut standing: Standing<'a> = BTreeMap::new();
    let only = |hosts: BTreeSet<&'a str>| if hosts.len() == 1 { hosts.first().copied() } else { None };
    for placement in carried.topology.parsed.placements.iter().filter(|placement| is_production(placement)) {
        let on = placement.entry.on.iter().map(|host| carried.machine(&host.value)).collect();
        if let Some(machine) = only(on).filter(|_| placement.entry.external.is_none()) {
            standing.entry(machine).or_default().0.insert(&placement.service);
        }
    }
    // Several hosts that share a machine are LW-CMP-011.
    for core in carried.core.iter().filter(|core| core.on.len() == 1) {
        if let Some(machine) = only(core.on.iter().map(|(host, _)| carried.machine(host)).collect()) {
            standing.entry(machine).or_default().1.insert(core.role);
        }
    }
    standing
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn what_stands_on_one_machine_through_its_guests() {
        says(
            r#"
owner: mia
compute:
  proxmox: [pve-01, pve-02]
  hosts:
    pve-01: { address: 10.0.10.11 }
    pve-02: { address: 10.0.10.12 }
    dns-01: { address: 10.0.20.53, vm: { on: pve-01 } }
    dns-02: { address: 10.0.20.54, vm: { on: pve-02 } }
    proxy-01: { address: 10.0.20.80, vm: { on: pve-01 } }
    mon-01: { address: 10.0.20.90, vm: { on: pve-01 } }
    docker-01: { address: 10.0.20.21, vm: { on: pve-01 } }
    docker-02: { address: 10.0.20.22, vm: { on: pve-02 } }
platform: { dns: [dns-01, dns-02], reverse_proxy: proxy-01, identity: { service: login } }
services:
  git: { run: git, on: docker-01, tier: production }
  photos: { run: photos, on: docker-01, tier: production }
  login: { run: login, on: docker-01 }
  game: { run: game, on: docker-01 }
  a: { run: a, on: docker-02, tier: production }
  b: { run: b, on: docker-02, tier: production }
  c: { run: c, on: [docker-01, docker-02], tier: production }
  d: { external: d, tier: production }
"#,
            expect![[r#"
                6:5 warning LW-CMP-010: `pve-01` is a single point of failure: `git`, `photos`, `platform.identity` and `platform.reverse_proxy` stand on it alone
                    help: move one of them to another machine, for example `pve-02`; or accept it: `# labwright: allow LW-CMP-010 because …` above `pve-01`
                    7:5: so is `pve-02`, with `a` and `b`
                19:26 advice LW-CMP-012: experiment `game` shares `docker-01` with `platform.identity`
                    help: put it elsewhere, `on: docker-02`; or say `tier: production` if people rely on it
            "#]],
        );
    }

    #[test]
    fn a_lab_of_experiments_one_machine_and_two_copies_are_told_nothing() {
        says(
            r#"
compute: { docker_hosts: [a, b], hosts: { a: { address: 10.0.0.1 }, b: { address: 10.0.0.2 } } }
platform: { dns: a, reverse_proxy: a }
"#,
            expect![[""]],
        );
        says(
            r#"
owner: mia
compute: { docker_hosts: [a], hosts: { a: { address: 10.0.0.1 }, laptop: { address: 10.0.0.2, local: true } } }
services:
  git: { run: git, on: a, tier: production }
  photos: { run: photos, on: a, tier: production }
"#,
            expect![[""]],
        );
        says(
            r#"
owner: mia
compute: { docker_hosts: [a, b], hosts: { a: { address: 10.0.0.1 }, b: { address: 10.0.0.2 } } }
services:
  git: { run: git, on: [a, b], tier: production }
  photos: { run: photos, on: a, tier: production }
"#,
            expect![[""]],
        );
    }
}
