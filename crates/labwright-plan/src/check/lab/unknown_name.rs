//! LW-LAB-101: a name that nothing in the lab has.

use std::collections::{BTreeMap, HashSet};

use labwright_model::finding::nearest;
use labwright_model::{Finding, Findings, Parsed, Span, role_hosts};

use crate::check::references::{Reference, Wanted, endpoint, suspects};
use crate::check::spelling::misspelling;
use crate::check::{Case, Examples, Rule};

pub struct UnknownName;

const CODE: &str = "LW-LAB-101";

impl Rule for UnknownName {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a name that nothing has"
    }

    fn doc(&self) -> &'static str {
        "Something is referred to by a name that the lab does not declare, or that is the name of another kind of thing. \
         Each kind has names of its own: `docker-01` is a host, `servers` a zone, `immich` a service.\n\n\
         Roles declare the hosts that they name (`platform.dns: dns-01` makes `dns-01` a host), so that a plain inventory \
         needs nothing else. But where `compute.hosts` describes hosts and a role names one that is all but one of them, \
         it is taken for a typing error; `dns-02` beside `dns-01` is not. The same holds for names that may lead out of \
         the lab: an alias of your SSH configuration in `jump`, a machine that is not the lab's in `nfs`.\n\n\
         A name that is missing in several places is told once, and the places are shown.\n\n\
         It comes from ansible/ansible#15579 and ansible/ansible#32594: a misspelt host was skipped without a \
         word, and a misspelt exception let run what it should have kept away.\n\n\
         The way out: correct the name, or declare it."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    docker-01: { local: true }\nservices:\n  wiki: { external: wiki.example, needs: [postgre] }\n  postgres: { external: db.example }",
            passes: "compute:\n  hosts:\n    docker-01: { local: true }\nservices:\n  wiki: { external: wiki.example, needs: [postgres] }\n  postgres: { external: db.example }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        // A name that is missing in five places is one fault: the first place tells it, the others are shown.
        let mut told: BTreeMap<(Wanted, &str), Finding> = BTreeMap::new();
        for reference in case.references() {
            let (wants, name) = match reference.wants {
                Wanted::Endpoint => endpoint(reference.name),
                wants => (wants, reference.name),
            };
            // Where there is nothing of the kind at all, LW-PLT-001 says so once.
            let undecided = matches!(wants, Wanted::Receiver | Wanted::Repository) && wants.names(lab).is_empty();
            if wants.has(lab, name) || undecided {
                continue;
            }
            let finding = match told.remove(&(wants, name)) {
                Some(first) => first.related(reference.span, "and here"),
                None => unknown(parsed, reference, wants, name),
            };
            told.insert((wants, name), finding);
        }
        findings.extend(told.into_values());
        for (reference, near) in suspects(parsed) {
            let message = format!("there is no {} named `{}`", reference.wants.word(), reference.name);
            let help = format!("did you mean `{near}`?");
            findings.push(Finding::error(CODE, reference.at, reference.span, message).help(help));
        }
        let mut told: BTreeMap<String, Finding> = BTreeMap::new();
        for ((name, span, role), near) in misspelt_hosts(parsed) {
            let message = format!("there is no host named `{name}`");
            let finding = match told.remove(&name) {
                Some(first) => first.related(span, "and here"),
                None => Finding::error(CODE, role, span, message).help(format!("did you mean `{near}`?")),
            };
            told.insert(name, finding);
        }
        findings.extend(told.into_values());
    }
}

fn unknown(parsed: &Parsed, reference: &Reference<'_>, wants: Wanted, name: &str) -> Finding {
    let lab = &parsed.lab;
    let others = [Wanted::Host, Wanted::Zone, Wanted::Service, Wanted::Policy, Wanted::Repository];
    let other = others.into_iter().find(|other| *other != wants && other.has(lab, name));
    let message = match other {
        Some(other) => format!("`{name}` is {}, and {} belongs here", other.a_word(), wants.a_word()),
        None => format!("there is no {} named `{name}`", wants.word()),
    };
    let known = wants.names(lab);
    // `zone/serers`: the kind that was written stays.
    let kind = reference.name.strip_suffix(name).unwrap_or_default();
    let help = match nearest(name, known.iter().copied()) {
        Some(near) if other.is_some() || misspelling(name, [near]).is_some() => format!("did you mean `{kind}{near}`?"),
        // `nas-02` is near `nas-01`, and may be meant.
        Some(near) => format!("did you mean `{kind}{near}`? if not, {}", wants.declaration(name)),
        None if known.is_empty() => wants.declaration(if other.is_some() { "NAME" } else { name }),
        None if other.is_some() && known.len() <= 12 => format!("declared are {}", known.join(", ")),
        None if known.len() <= 12 => format!("declared are {}; {}", known.join(", "), wants.declaration(name)),
        None => wants.declaration(name),
    };
    Finding::error(CODE, reference.at.clone(), reference.span, message).help(help)
}

/// Hosts that only a role names and that are nearly one that is described, with that one.
pub fn misspelt_hosts(parsed: &Parsed) -> Vec<((String, Span, &'static str), &str)> {
    let implied: HashSet<&str> = parsed.implied.iter().map(String::as_str).collect();
    let hosts = parsed.lab.compute.hosts.keys().map(String::as_str);
    let described: Vec<&str> = hosts.filter(|name| !implied.contains(name)).collect();
    let roles = role_hosts(&parsed.lab).into_iter().filter(|(name, ..)| implied.contains(name.as_str()));
    roles.filter_map(|host| misspelling(&host.0, described.iter().copied()).map(|near| (host, near))).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn every_kind_of_name_is_looked_up() {
        says(
            r#"
environments: [dev]
network:
  zones:
    servers: { subnet: 10.0.20.0/24 }
  flows:
    - { from: [zone/server, host/nas, service/wikki], to: internet }
compute:
  hosts:
    nas-01: { zone: serers, address: 10.0.20.5, routes: [clients], vm: { on: pve } }
    dns-01: { zone: servers, address: 10.0.20.53 }
platform:
  dns: { on: dns-01, records: { a: nas-01, b: nas-02, c: 10.0.0.1, d: x.example.net, e: a, "*.f": wiki } }
  identity: { service: authentik }
  monitoring: { on: dns-01, notify: { phone: "ntfy://x" }, routes: [{ to: [fone, none] }] }
services:
  wiki:
    use: wiki
    on: nas-1
    needs: [postgres]
    egress: vpn-gateway
    backup: { policy: nigthly, dump: { d: { service: postgres } } }
    environments: [dev, prod]
protection:
  repositories: { nas: { on: nas-11, path: /b } }
  policies: { nightly: { to: [nas, offsite] } }
"#,
            expect![[r#"
                7:16 error LW-LAB-101: there is no zone named `server`
                    help: did you mean `zone/servers`?
                7:29 error LW-LAB-101: `nas` is a repository, and a host belongs here
                    help: declared are nas-01, dns-01
                7:39 error LW-LAB-101: there is no service named `wikki`
                    help: did you mean `service/wiki`?
                10:21 error LW-LAB-101: there is no zone named `serers`
                    help: did you mean `servers`?
                10:58 error LW-LAB-101: there is no zone named `clients`
                    help: declared are servers; add it under `network: { zones: … }`: `clients: { vlan: …, subnet: … }`
                10:78 error LW-LAB-101: there is no host named `pve`
                    help: declared are nas-01, dns-01; add it under `compute: { hosts: … }`: `pve: { address: … }`
                13:47 error LW-LAB-101: there is no host or service named `nas-02`
                    help: did you mean `nas-01`? if not, add it under `compute: { hosts: … }` or `services:`
                14:24 error LW-LAB-101: there is no service named `authentik`
                    help: declared are wiki; add it under `services:`: `authentik: { use: …, on: … }`
                15:76 error LW-LAB-101: there is no receiver named `fone`
                    help: declared are phone; add it under `platform: { monitoring: { notify: … } }`: `fone: "ntfy://…"`
                17:3 advice LW-LAB-106: nothing here is `tier: production`, so 2 rules judge it mildly: `LW-PLT-013` and `LW-SVC-003` would say more
                    help: put `tier: production` on what others rely on, perhaps `wiki`; `tier: lab` on a service says that nobody does
                19:9 error LW-LAB-101: there is no host named `nas-1`
                    help: did you mean `nas-01`?
                20:13 error LW-LAB-101: there is no service named `postgres`
                    help: declared are wiki; add it under `services:`: `postgres: { use: …, on: … }`
                    22:54: and here
                21:13 error LW-LAB-101: there is no service named `vpn-gateway`
                    help: declared are wiki; add it under `services:`: `vpn-gateway: { use: …, on: … }`
                22:23 error LW-LAB-101: there is no backup policy named `nigthly`
                    help: did you mean `nightly`?
                23:25 error LW-LAB-101: there is no environment named `prod`
                    help: declared are dev; declare it at the top: `environments: [prod]`
                25:30 error LW-LAB-101: there is no host named `nas-11`
                    help: did you mean `nas-01`? if not, add it under `compute: { hosts: … }`: `nas-11: { address: … }`
                26:36 error LW-LAB-101: there is no repository named `offsite`
                    help: declared are nas; add it under `protection: { repositories: … }`: `offsite: { on: HOST, path: /backup }`
            "#]],
        );
    }

    #[test]
    fn a_name_of_another_kind() {
        says(
            r#"
network:
  zones: { servers: { subnet: 10.0.20.0/24 } }
compute:
  hosts:
    docker-01: { zone: servers, address: 10.0.20.21 }
services:
  wiki: { use: wiki, on: servers, needs: [docker-01] }
"#,
            expect![[r#"
                8:26 error LW-LAB-101: `servers` is a zone, and a host belongs here
                    help: declared are docker-01
                8:43 error LW-LAB-101: `docker-01` is a host, and a service belongs here
                    help: declared are wiki
            "#]],
        );
    }

    #[test]
    fn one_missing_name_is_one_finding() {
        says(
            r#"
services:
  a: { use: a, on: nas-01 }
  b: { use: b, on: nas-01 }
  c: { use: c, on: [nas-01], needs: [a, b] }
"#,
            expect![[r#"
                3:20 error LW-LAB-101: there is no host named `nas-01`
                    help: add it under `compute: { hosts: … }`: `nas-01: { address: … }`
                    4:20: and here
                    5:21: and here
            "#]],
        );
    }

    #[test]
    fn nothing_of_the_kind_is_declared_at_all() {
        says(
            r#"
services:
  a: { external: x, environments: [dev], backup: nightly, needs: [b] }
compute:
  hosts:
    h: { local: true, zone: servers }
protection:
  policies: { weekly: { to: nas } }
"#,
            expect![[r#"
                3:36 error LW-LAB-101: there is no environment named `dev`
                    help: declare it at the top: `environments: [dev]`
                3:50 error LW-LAB-101: there is no backup policy named `nightly`
                    help: declared are weekly; add it under `protection: { policies: … }`: `nightly: { schedule: "03:15", to: … }`
                3:67 error LW-LAB-101: there is no service named `b`
                    help: declared are a; add it under `services:`: `b: { use: …, on: … }`
                6:29 error LW-LAB-101: there is no zone named `servers`
                    help: add it under `network: { zones: … }`: `servers: { vlan: …, subnet: … }`
            "#]],
        );
    }

    #[test]
    fn a_role_that_names_nearly_a_host() {
        says(
            r#"
edge: { router: gatway-01 }
compute:
  docker_hosts: [docker-1, docker-02]
  hosts:
    gateway-01: { address: 10.0.10.1 }
    docker-01: { address: 10.0.20.21 }
    nas-01: { address: 10.0.20.5 }
platform:
  dns: [dns-01, dns-02]
  monitoring: docker-1
"#,
            expect![[r#"
                2:17 error LW-LAB-101: there is no host named `gatway-01`
                    help: did you mean `gateway-01`?
                4:18 error LW-LAB-101: there is no host named `docker-1`
                    help: did you mean `docker-01`?
                    11:15: and here
            "#]],
        );
    }

    #[test]
    fn names_that_may_lead_out_of_the_lab() {
        says(
            r#"
compute:
  hosts:
    gateway-01: { address: 10.0.10.1 }
    nas-01: { address: 10.0.20.5 }
    docker-01:
      address: 10.0.20.21
      ssh: { jump: [gatewy-01, bastion, "root@gateway-1:2222", "fd00::1"] }
      mounts: { /a: "nas-1:/x", /b: "synology:/x", /c: "10.0.0.9:/x", /d: "nas-01:/x" }
"#,
            expect![[r#"
                8:21 error LW-LAB-101: there is no host named `gatewy-01`
                    help: did you mean `gateway-01`?
                8:41 error LW-LAB-101: there is no host named `gateway-1`
                    help: did you mean `gateway-01`?
                9:21 error LW-LAB-101: there is no host named `nas-1`
                    help: did you mean `nas-01`?
            "#]],
        );
    }
}
