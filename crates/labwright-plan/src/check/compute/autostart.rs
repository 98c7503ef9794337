//! LW-CMP-017: machines that something stands on, and that do not come back by themselves.

use std::collections::BTreeSet;

use labwright_model::lab::Host;
use labwright_model::{Findings, Span};

use super::carried::{Carried, by_tier, is_production, list, told};
use crate::check::{Case, Examples, Rule};

pub struct Autostart;

const CODE: &str = "LW-CMP-017";

impl Rule for Autostart {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a machine that does not come back by itself"
    }

    fn doc(&self) -> &'static str {
        "A guest says `autostart: false`: after a power cut or an update of its hypervisor it stays off until somebody starts \
         it by hand. And something stands on it: a role that the lab leans on (names, the proxy, identity, secrets, \
         monitoring), a service in production, a service that services on other hosts need, or further guests.\n\n\
         Document 1 has it on the list for every new virtual machine: configure it to start when Proxmox boots. Document 4 \
         counts what a reboot must not need: manual intervention.\n\n\
         It is a warning where people rely on something, and advice otherwise. A role or a service that another host carries \
         too is no fault. All such machines of a lab are one finding.\n\n\
         The way out: take `autostart: false` out; guests start with their hypervisor unless they say so."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  proxmox: [pve-01]\n  hosts:\n    pve-01: { address: 10.0.10.11 }\n    dns-01: { address: 10.0.20.53, vm: { on: pve-01, autostart: false } }\nplatform:\n  dns: dns-01",
            passes: "compute:\n  proxmox: [pve-01]\n  hosts:\n    pve-01: { address: 10.0.10.11 }\n    dns-01: { address: 10.0.20.53, vm: { on: pve-01 } }\nplatform:\n  dns: dns-01",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let hosts = &parsed.lab.compute.hosts;
        if hosts.values().all(|host| starts(host)) {
            return;
        }
        let carried = case.carried();
        let mut off: Vec<(&str, Span, Vec<&str>)> = Vec::new();
        let mut production = false;
        for (name, host) in hosts.iter().filter(|(_, host)| !starts(host)) {
            let (things, relied_on) = standing_on(carried, name);
            if !things.is_empty() {
                let kind = if host.vm.is_some() { "vm" } else { "lxc" };
                off.push((name, parsed.span_of(&["compute", "hosts", name, kind, "autostart"]), things));
                production |= relied_on;
            }
        }
        let Some((name, span, things)) = off.first() else { return };
        let verb = if things.len() == 1 { "stands" } else { "stand" };
        let what = list(things.iter().copied());
        let message = format!("`{name}` does not start with its hypervisor, and {what} {verb} on it");
        let help = "take `autostart: false` out: guests start with their hypervisor unless they say so".to_string();
        let kind = hosts.get(*name).map_or("vm", |host| if host.vm.is_some() { "vm" } else { "lxc" });
        let at = format!("compute.hosts.{name}.{kind}.autostart");
        let mut finding = told(CODE, by_tier(production), at, *span, message, help);
        for (name, span, things) in off.iter().skip(1).take(5) {
            finding = finding.related(*span, format!("nor does `{name}`, with {}", list(things.iter().copied())));
        }
        findings.push(finding);
    }
}

fn starts(host: &Host) -> bool {
    host.vm.iter().chain(&host.lxc).all(|guest| guest.autostart)
}

/// What has this host and no other that starts, and whether people rely on any of it.
fn standing_on<'a>(carried: &Carried<'a>, name: &'a str) -> (Vec<&'a str>, bool) {
    let elsewhere = |host: &str| host != name && carried.topology.host(host).is_some_and(starts);
    let mut things: Vec<&str> = Vec::new();
    let mut relied_on = false;
    for core in carried.core.iter().filter(|core| core.on.iter().any(|(host, _)| *host == name)) {
        if !core.on.iter().any(|(host, _)| elsewhere(host)) {
            things.push(core.role);
            relied_on |= carried.production;
        }
    }
    // A router that is a guest has every zone behind it.
    if labwright_model::router(&carried.topology.parsed.lab) == Some(name) {
        things.push("edge.router");
        relied_on |= carried.production;
    }
    let mut seen = BTreeSet::new();
    for placement in carried.on(name) {
        if placement.entry.on.iter().any(|host| elsewhere(host)) {
            continue;
        }
        let dependents = carried.topology.dependents(&placement.service);
        let needed = dependents.iter().any(|other| carried.topology.hosts_of(other).iter().any(|host| *host != name));
        if (is_production(placement) || needed) && seen.insert(placement.service.as_str()) {
            things.push(&placement.service);
            relied_on |= is_production(placement);
        }
    }
    // A guest that does not start either is told by itself.
    let guests = carried.topology.guests_of(name).iter();
    things.extend(guests.filter(|guest| carried.topology.host(guest).is_some_and(starts)));
    (things, relied_on)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn all_of_them_are_one_finding() {
        says(
            r#"
owner: mia
compute:
  hosts:
    pve: { address: 10.0.10.11 }
    dns-01: { address: 10.0.20.53, vm: { on: pve, autostart: false } }
    db-01: { address: 10.0.20.54, lxc: { on: pve, autostart: false } }
    nest: { address: 10.0.20.55, vm: { on: pve, autostart: false } }
    egg: { address: 10.0.20.56, vm: { on: nest } }
    app: { address: 10.0.20.57, vm: { on: pve } }
platform: { dns: dns-01 }
services:
  db: { run: db, on: db-01 }
  wiki: { run: wiki, on: app, needs: [db], tier: production }
  photos: { run: photos, on: db-01, tier: production }
"#,
            expect![[r#"
                6:62 warning LW-CMP-017: `dns-01` does not start with its hypervisor, and `platform.dns` stands on it
                    help: take `autostart: false` out: guests start with their hypervisor unless they say so
                    7:62: nor does `db-01`, with `db` and `photos`
                    8:60: nor does `nest`, with `egg`
            "#]],
        );
    }

    #[test]
    fn advice_in_a_lab_of_experiments_and_nothing_for_what_nobody_needs() {
        says(
            r#"
compute:
  hosts:
    pve: { address: 10.0.10.11 }
    db-01: { address: 10.0.20.54, vm: { on: pve, autostart: false } }
    app: { address: 10.0.20.57, vm: { on: pve } }
services:
  db: { run: db, on: db-01 }
  wiki: { run: wiki, on: app, needs: [db] }
"#,
            expect![[r#"
                5:61 advice LW-CMP-017: `db-01` does not start with its hypervisor, and `db` stands on it
                    help: take `autostart: false` out: guests start with their hypervisor unless they say so
            "#]],
        );
        says(
            r#"
compute:
  hosts:
    pve: { address: 10.0.10.11 }
    pi: { address: 10.0.10.12 }
    dns-01: { address: 10.0.20.53, vm: { on: pve, autostart: false } }
    game: { address: 10.0.20.54, vm: { on: pve, autostart: false } }
    backup: { address: 10.0.20.55, vm: { on: pve, autostart: false } }
platform: { dns: [dns-01, pi], backup: backup }
services: { game: { run: game, on: game }, score: { run: score, on: game, needs: [game] } }
"#,
            expect![[""]],
        );
    }
    #[test]
    fn a_router_that_is_a_guest_has_every_zone_behind_it() {
        let lab = |autostart: &str| {
            format!(
                "edge: {{ router: opnsense }}\ncompute:\n  hosts:\n    pve: {{ address: 10.0.10.11 }}\n    \
                 opnsense: {{ address: 10.0.10.1, os: other, vm: {{ on: pve, autostart: {autostart} }} }}\n"
            )
        };
        says(
            &lab("false"),
            expect![[r#"
            5:74 advice LW-CMP-017: `opnsense` does not start with its hypervisor, and `edge.router` stands on it
                help: take `autostart: false` out: guests start with their hypervisor unless they say so
        "#]],
        );
        says(&lab("true"), expect![[r#""#]]);
    }
}
