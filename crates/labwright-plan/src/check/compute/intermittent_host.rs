//! LW-CMP-015: a host that may be away carries what others need.

use std::collections::BTreeMap;

use labwright_model::{Findings, Parsed, Span, Spanned};

use super::carried::{Carried, by_tier, is_production, list, told};
use crate::check::{Case, Examples, Rule};

pub struct IntermittentHost;

const CODE: &str = "LW-CMP-015";

impl Rule for IntermittentHost {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a host that may be away carries what others need"
    }

    fn doc(&self) -> &'static str {
        "A host says `intermittent: true`: being away is normal for it, nobody is woken. And something that is not away \
         leans on it: names, the proxy, identity, secrets, monitoring, the router, the VPN's or the tunnel's end, a \
         repository that backups go to and no other, machines that run on it, a service that services elsewhere need, a \
         service in production.\n\n\
         Document 1 runs services on machines that stay on, and has laptops that only consume them and whose alerts are \
         dropped: that is what the key is for. Whatever others need must raise an alert when it is gone.\n\n\
         It is a warning where people rely on something, and advice otherwise. A role that a second, steady host plays too \
         is no fault, and neither is a lab that is away as a whole.\n\n\
         The way out: move it to a host that stays on, give the role a second host there, or take `intermittent` off if the \
         machine in fact stays on."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    laptop: { address: 10.0.30.5, intermittent: true }\n    nas-01: { address: 10.0.20.5 }\nplatform:\n  dns: laptop",
            passes: "compute:\n  hosts:\n    laptop: { address: 10.0.30.5, intermittent: true }\n    nas-01: { address: 10.0.20.5 }\nplatform:\n  dns: nas-01",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let hosts = &parsed.lab.compute.hosts;
        let away = |name: &str| hosts.get(name).is_some_and(|host| host.intermittent);
        if !hosts.values().any(|host| host.intermittent) {
            return;
        }
        let carried = case.carried();
        // Nobody is left behind when the lab is away as a whole.
        let stays = |name: &&String| !away(name) && !carried.topology.under(name).iter().any(|under| away(under));
        let steady = hosts.iter().any(|(name, host)| stays(&name) && !host.local && !parsed.implied.contains(name));
        if !steady {
            return;
        }
        let mut leaning = Leaning::default();
        roles(carried, &away, &mut leaning);
        guests(carried, &away, &mut leaning);
        services(carried, &away, &mut leaning);
        backups(parsed, &away, &mut leaning);
        for (name, things) in leaning.0 {
            let what = list(things.keys().map(String::as_str));
            let verb = if things.len() == 1 { "needs" } else { "need" };
            let severity = by_tier(things.values().any(|(_, production)| *production));
            let span = parsed.span_of(&["compute", "hosts", name, "intermittent"]);
            let message = format!("`{name}` may be away, and {what} {verb} it");
            let help = match carried.elsewhere(name) {
                Some(to) => {
                    format!("let a host that stays on do that, for example `{to}`, or take `intermittent: true` off")
                }
                None => "let a host that stays on do that, or take `intermittent: true` off".to_string(),
            };
            let at = format!("compute.hosts.{name}.intermittent");
            let mut finding = told(CODE, severity, at, span, message, help);
            for (thing, (place, _)) in things.iter().take(5) {
                finding = finding.related(*place, format!("`{thing}` needs it"));
            }
            findings.push(finding);
        }
    }
}

/// By the host that may be away: what needs it, where that is said, and whether people rely on that.
#[derive(Default)]
struct Leaning<'a>(BTreeMap<&'a str, BTreeMap<String, (Span, bool)>>);

impl<'a> Leaning<'a> {
    fn add(&mut self, host: &'a str, thing: impl Into<String>, place: Span, production: bool) {
        let (_, relied_on) = self.0.entry(host).or_default().entry(thing.into()).or_insert((place, production));
        *relied_on |= production;
    }
}

fn roles<'a>(carried: &Carried<'a>, away: &impl Fn(&str) -> bool, leaning: &mut Leaning<'a>) {
    let edge = &carried.topology.parsed.lab.edge;
    let mut all: Vec<(&str, Vec<(&str, Span)>)> =
        carried.core.iter().map(|core| (core.role, core.on.clone())).collect();
    let tunnel = edge.public.as_ref().and_then(|public| public.cloudflare.as_ref()?.tunnel.as_ref());
    for (role, on) in [
        ("edge.router", edge.router.as_ref().and_then(|router| router.on.as_ref())),
        ("edge.vpn", edge.vpn.as_ref().and_then(|vpn| vpn.wireguard.as_ref()?.on.as_ref())),
        ("edge.public.cloudflare.tunnel", tunnel.and_then(|tunnel| tunnel.on.as_ref())),
    ] {
        all.extend(on.map(|on: &Spanned<String>| (role, vec![(on.value.as_str(), on.span)])));
    }
    for (role, on) in all {
        if on.iter().all(|(host, _)| away(host)) {
            for (host, place) in on {
                leaning.add(host, role, place, carried.production);
            }
        }
    }
}

fn guests<'a>(carried: &Carried<'a>, away: &impl Fn(&str) -> bool, leaning: &mut Leaning<'a>) {
    for (name, host) in carried.topology.parsed.lab.compute.hosts.iter() {
        let guest = host.vm.iter().chain(&host.lxc).next();
        let Some(on) = guest.and_then(|guest| guest.on.as_ref()) else { continue };
        if let Some((on_name, _)) = carried.topology.parsed.lab.compute.hosts.get_key_value(&on.value)
            && away(on_name)
            && !host.intermittent
        {
            leaning.add(on_name, name, on.span, carried.on(name).iter().any(|placement| is_production(placement)));
        }
    }
}

fn services<'a>(carried: &Carried<'a>, away: &impl Fn(&str) -> bool, leaning: &mut Leaning<'a>) {
    for placement in carried.topology.parsed.placements.iter().filter(|placement| placement.entry.external.is_none()) {
        let service = placement.service.as_str();
        let on = &placement.entry.on;
        if is_production(placement) && on.iter().all(|host| away(&host.value)) {
            for host in on.iter() {
                leaning.add(&host.value, service, host.span, true);
            }
        }
        let stays = on.iter().any(|host| !away(&host.value));
        for need in placement.entry.needs.iter().chain(&placement.entry.egress).filter(|_| stays) {
            let there = carried.topology.hosts_of(&need.value);
            if !there.is_empty() && there.iter().all(|host| away(host)) {
                for host in there {
                    leaning.add(host, service, need.span, is_production(placement));
                }
            }
        }
    }
}

fn backups<'a>(parsed: &'a Parsed, away: &impl Fn(&str) -> bool, leaning: &mut Leaning<'a>) {
    let protection = &parsed.lab.protection;
    let mut relied_on: BTreeMap<&str, bool> = BTreeMap::new();
    for placement in &parsed.placements {
        if let Some(policy) = placement.entry.backup.as_ref().and_then(|backup| backup.policy.as_ref()) {
            *relied_on.entry(policy.value.as_str()).or_default() |= is_production(placement);
        }
    }
    for (name, policy) in protection.policies.iter() {
        let Some(production) = relied_on.get(name.as_str()) else { continue };
        let to: Vec<_> = policy.to.iter().filter_map(|to| protection.repositories.get(&to.value)).collect();
        let on: Vec<_> = to.iter().filter_map(|repository| repository.on.as_ref()).collect();
        if !to.is_empty() && on.len() == to.len() && on.iter().all(|host| away(&host.value)) {
            for host in on {
                leaning.add(&host.value, format!("protection.policies.{name}"), host.span, *production);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn everything_that_leans_on_a_host_is_one_finding() {
        says(
            r#"
owner: mia
edge: { router: laptop, vpn: { wireguard: { on: laptop } } }
compute:
  hosts:
    laptop: { address: 10.0.30.5, intermittent: true }
    desk: { address: 10.0.30.6, intermittent: true }
    nas-01: { address: 10.0.20.5 }
    vm: { address: 10.0.30.7, vm: { on: laptop } }
platform: { dns: [laptop, desk], reverse_proxy: [desk, nas-01] }
services:
  db: { run: db, on: desk }
  wiki: { run: wiki, on: nas-01, needs: [db], backup: nightly }
  photos: { run: photos, on: desk, tier: production }
  game: { run: game, on: laptop, needs: [db] }
protection:
  repositories: { disk: { on: desk, path: /backup }, far: { url: "s3:https://s3.example.net/x" } }
  policies: { nightly: { to: disk }, weekly: { to: [disk, far] } }
"#,
            expect![[r#"
                6:49 warning LW-CMP-015: `laptop` may be away, and `edge.router`, `edge.vpn`, `platform.dns` and `vm` need it
                    help: let a host that stays on do that, for example `nas-01`, or take `intermittent: true` off
                    3:17: `edge.router` needs it
                    3:49: `edge.vpn` needs it
                    10:19: `platform.dns` needs it
                    9:41: `vm` needs it
                7:47 warning LW-CMP-015: `desk` may be away, and `photos`, `platform.dns`, `protection.policies.nightly` and `wiki` need it
                    help: let a host that stays on do that, for example `nas-01`, or take `intermittent: true` off
                    14:30: `photos` needs it
                    10:27: `platform.dns` needs it
                    17:31: `protection.policies.nightly` needs it
                    13:42: `wiki` needs it
            "#]],
        );
    }

    #[test]
    fn a_laptop_that_only_consumes_and_a_lab_on_a_laptop_are_no_fault() {
        says(
            r#"
owner: mia
edge: { vpn: { tailscale: { on: [laptop, nas-01] } } }
compute:
  hosts:
    laptop: { address: 10.0.30.5, intermittent: true }
    vm: { address: 10.0.30.7, intermittent: true, vm: { on: laptop } }
    nas-01: { address: 10.0.20.5 }
platform: { dns: [laptop, nas-01], runners: laptop }
services:
  wiki: { run: wiki, on: nas-01, backup: nightly }
  game: { run: game, on: laptop, needs: [wiki] }
protection:
  repositories: { disk: { on: laptop, path: /backup }, far: { url: "s3:https://s3.example.net/x" } }
  policies: { nightly: { to: [disk, far] } }
"#,
            expect![[r#"
                9:45 advice LW-CMP-013: builds on `laptop` compete with `platform.dns` and `game`
                    help: give the runner a machine of its own: `runners: build-01`
            "#]],
        );
        says(
            r#"
compute: { hosts: { laptop: { local: true, intermittent: true }, vm: { address: 10.0.0.2, vm: { on: laptop } } } }
platform: { dns: vm, reverse_proxy: laptop }
"#,
            expect![[""]],
        );
    }
}
