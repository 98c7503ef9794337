//! LW-NET-020: a VPN that ends beside the router, and machines in its own network that do not know it.

use std::collections::BTreeSet;

use labwright_model::{Finding, Findings};

use crate::check::{Case, Examples, Rule};
use crate::network::matrix::party;
use crate::network::{Gate, Guard, Matrix, Party};

pub struct VpnWayBack;

const CODE: &str = "LW-NET-020";

impl Rule for VpnWayBack {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "answers to a VPN that take another way"
    }

    fn doc(&self) -> &'static str {
        "WireGuard ends at a host that is not the router, and flows lead from the VPN to machines in that host's own network, \
         or from them into the VPN. What comes out of the VPN reaches them without the router; what they answer goes to their \
         gateway, the router, which saw no question. A router with a stateful firewall drops it, so the flow is there and no \
         connection comes about; a machine that listens to ICMP redirects finds the way after a loss, and many do not listen. \
         The same holds for a router of the lab that has no route to the VPN.\n\n\
         A host whose `interfaces` the lab sets up is given the route by itself. Devices and other hosts are not: nothing of \
         them is changed. `labwright reach` says so of such a pair where the router's firewall is this lab's, and `labwright \
         rehearse` shows it; a router that Labwright does not set has the static route in its work order \
         (`labwright flows --export markdown`).\n\n\
         It comes from how connections are tracked: RFC 5382 (section 4.3) has a firewall take a connection from its first \
         packet on, and nftables calls the half of one `invalid`. Only labs that enforce \
         are judged: a warning where the router has a firewall of this lab's, which drops them for certain, and advice where it \
         is somebody else's.\n\n\
         The way out: a route to the VPN's network on each of them; or the end of the VPN in a zone of its own, so that both \
         ways lead by the router; or WireGuard on the router itself."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "edge:\n  router: gw\n  vpn: { wireguard: { on: vpnbox, peers: { phone: { address: 10.8.0.2 } } } }\nnetwork:\n  firewall: enforce\n  zones:\n    lan: { subnet: 10.0.30.0/24 }\n    vpn: { subnet: 10.8.0.0/24, interface: wg0 }\n  flows:\n    - { from: lan, to: [gw, vpnbox, nas], allow: ssh }\n    - { from: vpn, to: nas, allow: https }\ncompute:\n  hosts:\n    gw: { zone: lan, address: 10.0.30.1, interfaces: { eth0: { addresses: 10.0.30.1/24 } } }\n    vpnbox: { zone: lan, address: 10.0.30.9 }\n    nas: { zone: lan, address: 10.0.30.5 }",
            passes: "edge:\n  router: gw\n  vpn: { wireguard: { on: vpnbox, peers: { phone: { address: 10.8.0.2 } } } }\nnetwork:\n  firewall: enforce\n  zones:\n    lan: { subnet: 10.0.30.0/24 }\n    vpn: { subnet: 10.8.0.0/24, interface: wg0 }\n  flows:\n    - { from: lan, to: [gw, vpnbox, nas], allow: ssh }\n    - { from: vpn, to: nas, allow: https }\ncompute:\n  hosts:\n    gw: { zone: lan, address: 10.0.30.1, interfaces: { eth0: { addresses: 10.0.30.1/24 } } }\n    vpnbox: { zone: lan, address: 10.0.30.9 }\n    nas: { zone: lan, address: 10.0.30.5, interfaces: { eth0: { addresses: 10.0.30.5/24, gateway: 10.0.30.1 } } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let lab = &case.parsed.lab;
        let wireguard = lab.edge.vpn.as_ref().and_then(|vpn| vpn.wireguard.as_ref());
        // A matrix is made for labs that have an end of a VPN beside the router, and for no other.
        if wireguard.is_none_or(|wireguard| wireguard.on.is_none()) {
            return;
        }
        let matrix = case.matrix();
        if !matrix.parties.enforces() {
            return;
        }
        let Some(gate) = matrix.parties.gates.iter().find(|gate| gate.hub).copied() else { return };
        let span = wireguard.and_then(|one| one.on.as_ref()).map_or(labwright_model::Span::NONE, |on| on.span);
        let at = "edge.vpn.wireguard.on";
        if let Some(finding) = astray(matrix, gate) {
            findings.push(Finding { span, ..finding });
        }
        // The router of the lab, where it is a Linux host of ours and beside the end itself.
        let parties = &matrix.parties;
        let Some(router) = parties.router.filter(|router| parties.hosts[*router].guard != Guard::Foreign) else {
            return;
        };
        let lacking = parties.routes_lacking(gate, router);
        if lacking.is_empty() {
            return;
        }
        let (name, vpn) = (parties.hosts[router].name, parties.zones[gate.zone].name);
        let (mapped, typed) = spelled(&lacking);
        let message = format!(
            "the router `{name}` is given no route to `{vpn}`, which is behind `{}`",
            parties.hosts[gate.host].name
        );
        let help = format!(
            "let the lab set its interface up (`interfaces: {{ NAME: {{ addresses: …, routes: {{ {mapped} }} }} }}`), or set it there: `{typed}`"
        );
        findings.push(Finding::warning(CODE, at, span, message).help(help));
    }
}

/// Everybody beside the end of the VPN whom a flow of the lab joins to it, and who answers elsewhere.
fn astray(matrix: &Matrix<'_>, gate: Gate) -> Option<Finding> {
    let parties = &matrix.parties;
    let vpn = Party::Device(gate.zone);
    let mut names: BTreeSet<(bool, String)> = BTreeSet::new();
    let mut routes = BTreeSet::new();
    for other in matrix.everybody().into_iter().filter(|other| *other != vpn) {
        for (from, to) in [(vpn, other), (other, vpn)] {
            // What every machine may ask anybody is no reason to speak of.
            let joined = |grant: &&crate::network::Grant| {
                grant.why == crate::network::Why::Flow || party(grant.from) == from && party(grant.to) == to
            };
            if !matrix.grants_between(from, to).iter().any(joined) {
                continue;
            }
            let Some(astray) = matrix.astray(from, to) else { continue };
            let name = match astray.who {
                Party::Host(host) => (false, format!("`{}`", parties.hosts[host].name)),
                other => (true, parties.party_name(other).replace("another device", "other devices")),
            };
            names.insert(name);
            routes.extend(astray.routes);
        }
    }
    if names.is_empty() {
        return None;
    }
    let names: Vec<String> = names.into_iter().map(|(_, name)| name).collect();
    let who = match names.as_slice() {
        [one] => one.clone(),
        [some @ .., last] if names.len() < 5 => format!("{} and {last}", some.join(", ")),
        all => format!("{}, {} and {} more", all[0], all[1], all.len() - 2),
    };
    let (end, zone) = (parties.hosts[gate.host].name, parties.zones[gate.zone].name);
    let routes: Vec<_> = routes.into_iter().collect();
    let (mapped, typed) = spelled(&routes);
    let drops = if parties.guarding_router().is_some() { "drops" } else { "may well drop" };
    let message = format!(
        "`{zone}` ends at `{end}` in their own network, and {who} would answer it by the router, which {drops} half a connection"
    );
    let help = format!(
        "give them the route: `interfaces: {{ NAME: {{ addresses: …, routes: {{ {mapped} }} }} }}` on hosts (or `{typed}` there), DHCP option 121 for devices; or put `{end}` into a zone of its own"
    );
    let of = match parties.guarding_router() {
        Some(_) => Finding::warning,
        None => Finding::advice,
    };
    Some(of(CODE, "edge.vpn.wireguard.on", labwright_model::Span::NONE, message).help(help))
}

/// Routes as the lab file has them, and as `ip` takes them.
fn spelled(routes: &[(labwright_model::units::Subnet, std::net::IpAddr)]) -> (String, String) {
    let mapped: Vec<String> = routes.iter().map(|(net, via)| format!("\"{net}\": \"{via}\"")).collect();
    let typed: Vec<String> = routes.iter().map(|(net, via)| format!("ip route add {net} via {via}")).collect();
    (mapped.join(", "), typed.join("; "))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use crate::check::tests::says_only;

    fn check(router: &str, hosts: &str, expected: Expect) {
        let lab = format!(
            "edge: {{ router: {router}, vpn: {{ wireguard: {{ on: vpnbox, peers: {{ phone: {{ address: 10.8.0.2 }} }} }} }} }}\nnetwork:\n  firewall: enforce\n  zones: {{ srv: {{ subnet: 10.0.1.0/24, kind: servers }}, far: {{ subnet: 10.0.2.0/24 }}, vpn: {{ subnet: 10.8.0.0/24, interface: wg0 }} }}\n  flows: [{{ from: vpn, to: [srv, far], allow: https }}]\ncompute:\n  hosts:\n    gw: {{ zone: srv, address: [10.0.1.1, 10.0.2.1] }}\n    vpnbox: {{ zone: srv, address: 10.0.1.9 }}\n{hosts}"
        );
        says_only("LW-NET-020", &lab, expected);
    }

    #[test]
    fn who_is_beside_the_end_is_told_and_who_has_a_route_is_not() {
        check(
            "gw",
            "    web: { zone: srv, address: 10.0.1.5 }\n    db: { zone: far, address: 10.0.2.5 }\n",
            expect![[r#"
                1:45 warning LW-NET-020: `vpn` ends at `vpnbox` in their own network, and `web` and other devices in srv would answer it by the router, which drops half a connection
                    help: give them the route: `interfaces: { NAME: { addresses: …, routes: { "10.8.0.0/24": "10.0.1.9" } } }` on hosts (or `ip route add 10.8.0.0/24 via 10.0.1.9` there), DHCP option 121 for devices; or put `vpnbox` into a zone of its own
                1:45 warning LW-NET-020: the router `gw` is given no route to `vpn`, which is behind `vpnbox`
                    help: let the lab set its interface up (`interfaces: { NAME: { addresses: …, routes: { "10.8.0.0/24": "10.0.1.9" } } }`), or set it there: `ip route add 10.8.0.0/24 via 10.0.1.9`
            "#]],
        );
        // The zone's other devices stay.
        check(
            "{ on: gw, kind: unifi }",
            "    web: { zone: srv, address: 10.0.1.5, interfaces: { eth0: { addresses: 10.0.1.5/24, gateway: 10.0.1.1 } } }\n    db: { zone: srv, address: 10.0.1.6, interfaces: { eth0: { addresses: 10.0.1.6/24, routes: { 10.8.0.0/16: 10.0.1.9 } } } }\n",
            expect![[r#"
                1:66 advice LW-NET-020: `vpn` ends at `vpnbox` in their own network, and other devices in srv would answer it by the router, which may well drop half a connection
                    help: give them the route: `interfaces: { NAME: { addresses: …, routes: { "10.8.0.0/24": "10.0.1.9" } } }` on hosts (or `ip route add 10.8.0.0/24 via 10.0.1.9` there), DHCP option 121 for devices; or put `vpnbox` into a zone of its own
            "#]],
        );
    }
}
