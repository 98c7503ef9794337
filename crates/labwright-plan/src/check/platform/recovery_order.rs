//! LW-PLT-017: identity or secrets wait for something that should wait for them.

use std::collections::BTreeSet;

use labwright_model::lab::{Expose, Host};
use labwright_model::{Findings, Span};

use crate::check::compute::carried::{Carried, by_tier, is_platform, list, told};
use crate::check::{Case, Examples, Rule};
use crate::mounted::{Servers, over_network};

#[path = "recovery_declared.rs"]
mod declared;

pub struct RecoveryOrder;

const CODE: &str = "LW-PLT-017";

impl Rule for RecoveryOrder {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "identity or secrets are not first to come back"
    }

    fn doc(&self) -> &'static str {
        "Logins and secrets are what everything else waits for, so they are to come back first. They cannot if\n\n\
         - the service that is the lab's identity needs an application: a service that people open themselves (it has a \
         `url`, or is exposed), or traffic through a gateway service (`egress`);\n\
         - the host of identity or of the Vault mounts from a virtual machine or container of the lab, which has to be \
         restored before it.\n\n\
         A database or a cache of its own is no fault, nor is a mount from a physical NAS.\n\n\
         Where the lab file gives the order itself (`protection.recovery`), that order is judged as well: identity and secrets \
         come before everything but what they stand on, what leads to them (router, DNS, VPN) and what they are restored \
         from; and nothing comes before what it stands on or needs. `labwright docs` writes the page by it.\n\n\
         Document 0 wants recovery of DNS, identity and backup infrastructure tested first, and no unnecessary coupling \
         between storage and the rest. Document 2: what is relied on for authentication and identity is production, \
         whatever it is called. Document 4 tells of the cascade that follows when secrets cannot be read.\n\n\
         It is a warning in a lab that has something in production, and advice otherwise.\n\n\
         The way out: give identity and secrets what they need on their own host: a database of its own, a local disk that \
         is backed up."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    pve-01: { address: 10.0.10.11 }\n    nas-vm: { address: 10.0.20.5, vm: { on: pve-01 } }\n    id-01: { address: 10.0.20.40, vm: { on: pve-01 }, mounts: { /srv: \"nas-vm:/srv\" } }\nplatform: { identity: id-01 }",
            passes: "compute:\n  hosts:\n    pve-01: { address: 10.0.10.11 }\n    nas-vm: { address: 10.0.20.5, vm: { on: pve-01 } }\n    id-01: { address: 10.0.20.40, vm: { on: pve-01 } }\nplatform: { identity: id-01 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let platform = &parsed.lab.platform;
        if !parsed.lab.protection.recovery.is_empty() {
            declared::check(case.carried(), findings);
        }
        let vault = platform.secrets.as_ref().is_some_and(|secrets| secrets.vault.is_some());
        if platform.identity.is_none() && !vault {
            return;
        }
        let carried = case.carried();
        needs(carried, findings);
        mounts(carried, findings);
    }
}

fn needs(carried: &Carried<'_>, findings: &mut Findings) {
    let Some(identity) = carried.core.iter().find_map(|core| core.service) else { return };
    let mut applications: Vec<(&str, Span, &str)> = Vec::new();
    let mut seen = BTreeSet::from([(identity, false), (identity, true)]);
    for service in carried.with_needs([identity]) {
        for placement in carried.topology.placements(service) {
            let egress = placement.entry.egress.iter().map(|egress| (egress, true));
            for (need, gateway) in placement.entry.needs.iter().map(|need| (need, false)).chain(egress) {
                if seen.insert((&need.value, gateway)) && (gateway || is_application(carried, &need.value)) {
                    applications.push((&need.value, need.span, service));
                }
            }
        }
    }
    let Some((_, span, _)) = applications.first() else { return };
    let what = list(applications.iter().map(|(name, ..)| *name));
    let message = format!("`{identity}` is the lab's identity, and has to wait for {what}");
    let help = format!("let `{identity}` come back first: give it a part of its own instead, or take the need out");
    let at = format!("services.{identity}.needs");
    let mut finding = told(CODE, by_tier(carried.production), at, *span, message, help);
    for (name, span, by) in applications.iter().skip(1).take(5) {
        finding = finding.related(*span, format!("`{by}` needs `{name}`"));
    }
    findings.push(finding);
}

/// Whether people open it themselves: databases and caches have no name of their own.
fn is_application(carried: &Carried<'_>, service: &str) -> bool {
    carried.topology.placements(service).iter().any(|placement| {
        let entry = &placement.entry;
        let opened = !entry.url.is_empty() || entry.expose != Expose::Nowhere;
        opened && entry.external.is_none() && !is_platform(service, entry)
    })
}

fn mounts(carried: &Carried<'_>, findings: &mut Findings) {
    let hosts = &carried.topology.parsed.lab.compute.hosts;
    let servers = Servers::of(&carried.topology.parsed.lab);
    let first = ["platform.identity", "platform.secrets.vault"];
    let mut told_of: Vec<(&str, &str, Span, &str)> = Vec::new();
    for core in carried.core.iter().filter(|core| first.contains(&core.role)) {
        for (name, _) in &core.on {
            let Some(host) = hosts.get(*name) else { continue };
            for share in over_network(host) {
                let guest =
                    servers.host(share.server).filter(|server| carried.topology.host(server).is_some_and(is_guest));
                if let Some(server) = guest
                    && !told_of.iter().any(|(other, from, ..)| other == name && *from == server)
                {
                    told_of.push((name, server, share.span, core.role));
                }
            }
        }
    }
    let Some((name, server, span, role)) = told_of.first() else { return };
    let message = format!("`{name}` carries `{role}`, and has to wait for the guest `{server}`, which it mounts from");
    let help = format!("keep what it needs on a disk of `{name}`, or on a machine that is no guest");
    let at = format!("compute.hosts.{name}.mounts");
    let mut finding = told(CODE, by_tier(carried.production), at, *span, message, help);
    for (name, server, span, role) in told_of.iter().skip(1).take(5) {
        finding = finding.related(*span, format!("so does `{name}` with `{role}`, for `{server}`"));
    }
    findings.push(finding);
}

fn is_guest(host: &Host) -> bool {
    host.vm.is_some() || host.lxc.is_some()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn identity_that_waits_for_applications() {
        says(
            r#"
owner: mia
compute: { hosts: { app: { address: 10.0.0.1, tier: production } } }
platform: { identity: { service: login } }
services:
  login: { run: login, on: app, needs: [db, wiki], egress: gateway }
  db: { run: db, on: app, needs: [files] }
  wiki: { run: wiki, on: app, expose: lan, url: wiki, port: "80" }
  files: { run: files, on: app, url: files, expose: lan, port: "81" }
  gateway: { run: gateway, on: app }
"#,
            expect![[r#"
                7:35 warning LW-PLT-017: `login` is the lab's identity, and has to wait for `files`, `wiki` and `gateway`
                    help: let `login` come back first: give it a part of its own instead, or take the need out
                    6:45: `login` needs `wiki`
                    6:60: `login` needs `gateway`
                8:3 warning LW-PLT-001: services `wiki` and `files` are reached by a name of the lab's own, and nothing answers for it
                    help: name the hosts that answer: `platform: { dns: HOST }`
                    9:3: and here
            "#]],
        );
        says(
            r#"
compute: { hosts: { app: { address: 10.0.0.1 } } }
platform: { identity: { service: authentik } }
services:
  authentik: { run: login, on: app, needs: [db, cache, traefik], url: login, expose: lan, port: "80" }
  db: { run: db, on: app }
  cache: { run: cache, on: app }
  traefik: { run: traefik, on: app, url: proxy, expose: lan, port: "81" }
  wiki: { run: wiki, on: app, needs: [authentik] }
"#,
            expect![[r#"
                5:3 warning LW-PLT-001: services `authentik` and `traefik` are reached by a name of the lab's own, and nothing answers for it
                    help: name the hosts that answer: `platform: { dns: HOST }`
                    8:3: and here
            "#]],
        );
    }

    #[test]
    fn an_order_of_the_labs_own() {
        let lab = |order: &str| {
            format!(
                r#"
edge: {{ router: gateway }}
compute:
  hosts:
    gateway: {{ address: 10.0.0.1 }}
    pve: {{ address: 10.0.0.2 }}
    id: {{ address: 10.0.0.3, vm: {{ on: pve }} }}
    app: {{ address: 10.0.0.4, vm: {{ on: pve }} }}
    vault: {{ address: 10.0.0.5 }}
platform: {{ identity: {{ service: login }}, secrets: {{ vault: {{ on: vault }} }} }}
services:
  login: {{ run: login, on: id, needs: [db] }}
  db: {{ run: db, on: id }}
  wiki: {{ run: wiki, on: app, needs: [db] }}
protection: {{ recovery: [{order}] }}
"#
            )
        };
        says(&lab("gateway, pve, vault, id, db, login, app, wiki"), expect![[""]]);
        says(
            &lab("pve, wiki, login"),
            expect![[r#"
                15:31 advice LW-PLT-017: the order of recovery has `wiki` and leaves out `vault`, which is `platform.secrets.vault`
                    help: put `vault` before `wiki`: `recovery: [pve, vault, …]`
                15:37 advice LW-PLT-017: `login` carries `platform.identity`, and comes back behind `wiki`
                    help: put `login` before `wiki`: `recovery: [pve, login, …]`
            "#]],
        );
        says(
            &lab("id, pve, login, db, vault"),
            expect![[r#"
            15:26 advice LW-PLT-017: `id` cannot come back before `pve`, which the order has behind it
                help: put `pve` before `id`
            15:35 advice LW-PLT-017: `login` cannot come back before `db`, which the order has behind it
                help: put `db` before `login`
        "#]],
        );
    }

    #[test]
    fn the_service_counts_and_is_moved_with_its_host() {
        let lab = |on: &str, order: &str| {
            format!(
                "compute: {{ hosts: {{ docker: {{ address: 10.0.0.1 }}, auth: {{ address: 10.0.0.2 }} }} }}\nplatform: {{ identity: {{ on: {on}, service: login }} }}\nservices:\n  login: {{ run: login, on: {on} }}\n  photos: {{ run: photos, on: docker }}\nprotection: {{ recovery: [{order}] }}\n"
            )
        };
        says(
            &lab("docker", "docker, photos, login"),
            expect![[r#"
            6:42 advice LW-PLT-017: `login` carries `platform.identity`, and comes back behind `photos`
                help: put `login` before `photos`: `recovery: [docker, login, …]`
        "#]],
        );
        says(&lab("docker", "docker, login, photos"), expect![[""]]);
        says(&lab("docker", "docker, photos"), expect![[""]]);
        says(
            &lab("auth", "docker, photos, auth, login"),
            expect![[r#"
            6:48 advice LW-PLT-017: `login` carries `platform.identity`, and comes back behind `docker`
                help: put `auth` and `login` before `docker`: `recovery: [auth, login, …]`
        "#]],
        );
        says(&lab("auth", "auth, login, docker, photos"), expect![[""]]);
    }

    #[test]
    fn hosts_that_mount_from_guests() {
        says(
            r#"
compute:
  hosts:
    pve: { address: 10.0.0.1 }
    nas: { address: 10.0.0.5 }
    truenas: { address: 10.0.0.6, vm: { on: pve } }
    vault-01: { address: 10.0.0.7, mounts: { /a: "10.0.0.6:/a", /b: "truenas:/b", /c: "nas:/c" } }
    id-01: { address: 10.0.0.8, mounts: { /a: { nfs: "truenas:/a" } } }
    wiki: { address: 10.0.0.9, mounts: { /a: "truenas:/a" } }
platform: { identity: id-01, secrets: { vault: { on: vault-01 } } }
"#,
            expect![[r#"
                7:50 advice LW-PLT-017: `vault-01` carries `platform.secrets.vault`, and has to wait for the guest `truenas`, which it mounts from
                    help: keep what it needs on a disk of `vault-01`, or on a machine that is no guest
                    8:54: so does `id-01` with `platform.identity`, for `truenas`
            "#]],
        );
    }
}
