//! LW-EDGE-003: a management interface within reach of users or of the internet.

use std::collections::BTreeSet;

use labwright_model::lab::{Lab, Zone};
use labwright_model::units::Traffic;
use labwright_model::{Finding, Findings, Parsed, Severity, Span};

use super::administration_past_vpn::zone_to_add;
use crate::check::network::management::{HARMLESS, administers, opened_to_users};
use crate::check::network::reach::{End, Reach, is_only, sole, traffic};
use crate::check::network::telling::{Stake, and_here, listed};
use crate::check::network::zone_kind::{Kinds, ZoneKind, is_vpn};
use crate::check::{Case, Examples, Rule};

pub struct ManagementReachable;

const CODE: &str = "LW-EDGE-003";

impl Rule for ManagementReachable {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "management within reach of users"
    }

    fn doc(&self) -> &'static str {
        "A flow lets a zone of users (clients, guests, IoT, by its name) or the internet reach what the lab is run from: a \
         management zone, a machine in one by its web pages (a switch, a board's console, UniFi, a NAS), a hypervisor, the \
         router's web interface, or SSH. Or a hypervisor stands in a zone of users itself. \
         Whoever gets into one laptop or one camera is then one password away from every machine.\n\n\
         Document 0: keep management interfaces off user-facing networks, prefer VPN-only ways for administration. \
         Document 3: no open management surfaces from the public internet.\n\n\
         From the internet it is an error where something with `tier: production` hangs on it, and a warning otherwise; from \
         guests and devices a warning; from clients a warning or advice, by tier. A zone is for management if it is called so \
         (`management`, `mgmt`, `admin`), or if nothing but hypervisors and the router is in it. Asking for names, the time \
         or an address is no administration, a flow from one host is a decision, and a machine that services or the proxy run \
         on has web pages that are theirs.\n\n\
         The way out: take the flow out and let the VPN in instead, `{ from: vpn, to: management, allow: [ssh, proxmox] }`; \
         put the hypervisor into a zone of its own."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "edge: { vpn: tailscale }\nnetwork:\n  zones:\n    management: { subnet: 10.0.10.0/24 }\n    clients: { subnet: 10.0.30.0/24 }\n    vpn: { interface: tailscale0, subnet: 100.64.0.0/10 }\n  flows:\n    - { from: clients, to: management, allow: [https, proxmox] }",
            passes: "edge: { vpn: tailscale }\nnetwork:\n  zones:\n    management: { subnet: 10.0.10.0/24 }\n    clients: { subnet: 10.0.30.0/24 }\n    vpn: { interface: tailscale0, subnet: 100.64.0.0/10 }\n  flows:\n    - { from: vpn, to: management, allow: [https, proxmox] }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        let reach = case.reach();
        let kinds = case.kinds();
        for flow in lab.network.flows.iter() {
            let allow = traffic(flow);
            let mut open: Vec<(Span, String, String, Severity)> = Vec::new();
            for name in flow.from.iter() {
                let Some(from) = sole(lab, name) else { continue };
                let Some(user) = user(kinds, from) else { continue };
                for to in flow.to.iter().filter_map(|name| sole(lab, name)).filter(|to| *to != from) {
                    let found = opened_to_users(lab, kinds, reach, to, &allow).or_else(|| match (user, to) {
                        (User::Internet, End::Host(host)) if allow.iter().any(administers) => {
                            Some((format!("host `{host}`"), kinds.stake(host)))
                        }
                        (User::Internet, End::Zone(zone)) if allow.iter().any(administers) => {
                            Some((format!("zone `{zone}`"), kinds.stake_in(zone)))
                        }
                        _ => None,
                    });
                    let Some((what, stake)) = found else { continue };
                    open.push((name.span, name.value.clone(), what, severity(user, stake)));
                }
            }
            let Some(worst) = open.iter().map(|(.., severity)| *severity).max() else { continue };
            let Some((span, ..)) = open.iter().find(|(.., severity)| *severity == worst) else { continue };
            let from: BTreeSet<&str> = open.iter().map(|(_, from, ..)| from.as_str()).collect();
            let what: BTreeSet<&str> = open.iter().map(|(_, _, what, _)| what.as_str()).collect();
            let what: Vec<&str> = what.into_iter().collect();
            let ways = |wanted: &dyn Fn(&Traffic) -> bool| -> Vec<String> {
                allow.iter().filter(|one| wanted(one)).map(Traffic::to_string).collect()
            };
            let mut ports = ways(&administers);
            // The whole of what a machine for management is opened with, where it is not SSH or Proxmox alone.
            if what.iter().all(|what| what.starts_with("host ") && what.contains("management zone")) {
                ports = ways(&|one| !is_only(one, HARMLESS));
            }
            if ports.is_empty() {
                ports = ways(&|one| !is_only(one, HARMLESS));
            }
            let with = match allow.contains(&Traffic::Any) {
                true => "with anything".to_string(),
                false => format!("with {}", listed(ports.iter().map(String::as_str))),
            };
            let message = format!("{} may reach {}, {with}", listed(from), what.join(", "));
            let help = match vpn_zone(lab) {
                Some(vpn) => format!("let the VPN in instead: `from: {vpn}`"),
                None if lab.edge.vpn.is_some() => {
                    format!("take it out, and administer over the VPN: give it a zone, `{}`", zone_to_add(lab))
                }
                None => {
                    "take it out, and administer over a VPN: `edge: { vpn: tailscale }`, and a zone for it".to_string()
                }
            };
            findings.push(
                Finding { severity: worst, ..Finding::warning(CODE, "network.flows", *span, message) }.help(help),
            );
        }
        beside_users(parsed, reach, kinds, findings);
    }
}

/// The zone of the VPN that administration goes over: a tunnel between two routers is one as well, and no way in.
fn vpn_zone(lab: &Lab) -> Option<&str> {
    let zones = || lab.network.zones.iter().filter(|(_, zone)| is_vpn(zone));
    let begins = match lab.edge.vpn.as_ref() {
        Some(vpn) if vpn.tailscale.is_some() => "tailscale",
        Some(vpn) if vpn.wireguard.is_some() => "wg",
        _ => "",
    };
    let of = |zone: &Zone| zone.interface.as_ref().is_none_or(|interface| interface.starts_with(begins));
    let own = zones().find(|(_, zone)| of(zone)).or_else(|| zones().next().filter(|_| lab.edge.vpn.is_none()));
    own.map(|(name, _)| name.as_str())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum User {
    Internet,
    Clients,
    /// Guests, devices, and what the internet reaches.
    Untrusted,
}

fn user(kinds: &Kinds<'_>, end: End<'_>) -> Option<User> {
    match end {
        End::Internet => Some(User::Internet),
        End::Zone(zone) => match kinds.zone(zone)? {
            ZoneKind::Clients => Some(User::Clients),
            ZoneKind::Iot | ZoneKind::Guest | ZoneKind::Dmz => Some(User::Untrusted),
            _ => None,
        },
        End::Host(_) | End::Service(_) => None,
    }
}

fn severity(user: User, stake: Stake) -> Severity {
    match (user, stake) {
        (User::Internet, Stake::Production) => Severity::Error,
        (User::Internet, Stake::Lab) | (User::Untrusted, _) | (User::Clients, Stake::Production) => Severity::Warning,
        (User::Clients, Stake::Lab) => Severity::Advice,
    }
}

/// Hypervisors in a zone of users, where there are other zones to put them in.
fn beside_users(parsed: &Parsed, reach: &Reach<'_>, kinds: &Kinds<'_>, findings: &mut Findings) {
    let lab = &parsed.lab;
    if lab.network.zones.iter().filter(|(_, zone)| !is_vpn(zone)).count() < 2 {
        return;
    }
    let mut beside: Vec<(&str, &str, Span, Severity)> = Vec::new();
    for (name, host) in lab.compute.hosts.iter() {
        let Some(zone) = reach.zone(name).filter(|_| kinds.is_hypervisor(name)) else { continue };
        let Some(user) = user(kinds, End::Zone(zone)) else { continue };
        let span = host.zone.as_ref().map_or(host.span, |zone| zone.span);
        beside.push((name, zone, span, severity(user, kinds.stake(name))));
    }
    let Some((first, zone, span, _)) = beside.first().copied() else { return };
    let worst = beside.iter().map(|(.., severity)| *severity).max().unwrap_or(Severity::Advice);
    let names = listed(beside.iter().map(|(name, ..)| *name));
    let (noun, stand) = if beside.len() == 1 { ("hypervisor", "stands") } else { ("hypervisors", "stand") };
    let message = format!("{noun} {names} {stand} among users, in zone `{zone}`");
    let to = lab.network.zones.keys().find(|zone| kinds.zone(zone) == Some(ZoneKind::Management));
    let help = match to {
        Some(to) => format!("write `zone: {to}`"),
        None => "give hypervisors a zone of their own: `management: { vlan: 10, subnet: … }`".to_string(),
    };
    let finding =
        Finding { severity: worst, ..Finding::warning(CODE, format!("compute.hosts.{first}.zone"), span, message) };
    findings.push(and_here(
        finding.help(help),
        beside.iter().skip(1).map(|(name, _, span, _)| (*span, *name)),
        "so does {}",
    ));
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn users_and_the_internet() {
        says(
            r#"
edge: { router: gateway }
network:
  zones:
    admin: { subnet: 10.0.10.0/24 }
    rack: { subnet: 10.0.11.0/24 }
    servers: { subnet: 10.0.20.0/24 }
    clients: { subnet: 10.0.30.0/24 }
    iot: { subnet: 10.0.40.0/24 }
    wg: { interface: wg0, subnet: 10.9.0.0/24 }
  flows:
    - { from: [clients, iot], to: admin, allow: https }
    - { from: clients, to: [rack, internet] }
    - { from: internet, to: pve-02, allow: 8000-8010/tcp }
    - { from: internet, to: docker-01, allow: ssh }
    - { from: internet, to: [servers, shop], allow: https }
    - { from: [clients, iot], to: gateway, allow: [dns, ntp, dhcp] }
    - { from: clients, to: gateway, allow: https }
    - { from: [clients, iot], to: admin, allow: [dns, syslog, icmp] }
    - { from: wg, to: admin, allow: [ssh, proxmox] }
    - { from: desk, to: admin, allow: ssh }
    - { from: clients, to: servers, allow: https }
    - { from: clients, to: pve-02, allow: 3128/tcp }
    - { from: [internet, iot], to: [unifi, films], allow: [8443/tcp, 8080/tcp] }
    - { from: clients, to: unifi, allow: https }
    - { from: iot, to: unifi, allow: [8080/tcp, 3478/udp] }
compute:
  hosts:
    gateway: { zone: admin, address: [10.0.10.1, 10.0.30.1] }
    pve-01: { zone: rack, address: 10.0.11.2, os: proxmox }
    pve-02: { zone: servers, address: 10.0.20.2, os: proxmox }
    docker-01: { zone: servers, address: 10.0.20.21, vm: { on: pve-02 }, tier: production }
    desk: { zone: clients, address: 10.0.30.5 }
    unifi: { zone: admin, address: 10.0.10.9, os: other }
    films: { zone: admin, address: 10.0.10.10 }
services:
  shop: { use: shop, on: docker-01 }
  player: { use: jellyfin, on: films }
"#,
            expect![[r#"
                12:25 warning LW-EDGE-003: `clients` and `iot` may reach management zone `admin`, with `https`
                    help: let the VPN in instead: `from: wg`
                13:15 advice LW-EDGE-003: `clients` may reach management zone `rack`, with anything
                    help: let the VPN in instead: `from: wg`
                14:15 error LW-EDGE-003: `internet` may reach hypervisor `pve-02`, with `8000-8010/tcp`
                    help: let the VPN in instead: `from: wg`
                15:15 error LW-EDGE-003: `internet` may reach host `docker-01`, with `ssh`
                    help: let the VPN in instead: `from: wg`
                18:15 advice LW-EDGE-003: `clients` may reach router `gateway`, with `https`
                    help: let the VPN in instead: `from: wg`
                24:16 warning LW-EDGE-003: `internet` and `iot` may reach host `unifi` in management zone `admin`, with `8443/tcp` and `8080/tcp`
                    help: let the VPN in instead: `from: wg`
                25:15 advice LW-EDGE-003: `clients` may reach host `unifi` in management zone `admin`, with `https`
                    help: let the VPN in instead: `from: wg`
            "#]],
        );
    }

    #[test]
    fn the_vpn_that_there_is() {
        let lab = |edge: &str| {
            format!(
                "{edge}network:\n  zones: {{ mgmt: {{ subnet: 10.0.10.0/24 }}, lan: {{ subnet: 10.0.30.0/24 }} }}\n  flows: [{{ from: lan, to: mgmt, allow: https }}]\ncompute: {{ hosts: {{ gw: {{ address: 10.0.10.1 }} }} }}\n"
            )
        };
        let help = |edge: &str| {
            let (_, findings) = crate::check::tests::found(&lab(edge));
            findings.into_iter().find(|finding| finding.code == super::CODE).map(|finding| finding.help.to_string())
        };
        let wireguard = help("edge: { vpn: { wireguard: { on: gw } } }\n").unwrap();
        assert!(wireguard.contains("interface: wg0") && !wireguard.contains("tailscale"), "{wireguard}");
        assert!(help("edge: { vpn: tailscale }\n").unwrap().contains("interface: tailscale0"));
        assert!(help("").unwrap().contains("`edge: { vpn: tailscale }`"));
    }

    #[test]
    fn hypervisors_among_users() {
        let lab = |zones: &str| {
            format!(
                "network: {{ zones: {{ {zones} }} }}\ncompute:\n  proxmox: [a, b]\n  hosts:\n    a: {{ zone: lan, address: 10.0.0.1 }}\n    b: {{ zone: lan, address: 10.0.0.2, tier: production }}\n"
            )
        };
        says(
            &lab("lan: { subnet: 10.0.0.0/24 }, iot: {}, mgmt: {}"),
            expect![[r#"
            5:16 warning LW-EDGE-003: hypervisors `a` and `b` stand among users, in zone `lan`
                help: write `zone: mgmt`
                6:16: so does `b`
        "#]],
        );
        says(&lab("lan: { subnet: 10.0.0.0/24 }, vpn: {}"), expect![[""]]);
    }
}
