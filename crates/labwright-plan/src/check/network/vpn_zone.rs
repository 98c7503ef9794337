//! LW-NET-019: a WireGuard that is no zone of the lab.

use labwright_model::{Finding, Findings};

use super::reach::wireguard_zone;
use super::zone_kind::ZoneKind;
use crate::check::{Case, Examples, Rule};

pub struct VpnZone;

const CODE: &str = "LW-NET-019";

impl Rule for VpnZone {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a WireGuard that is no zone"
    }

    fn doc(&self) -> &'static str {
        "`edge.vpn.wireguard` has peers, and no zone of the lab is that VPN: none has its interface, none has the addresses of \
         its peers. Flows name zones, so nothing can be opened to who comes in by it; firewalls of this lab let its addresses \
         nowhere (they are not taken for the internet), `labwright exposed` tells it as what reaches nothing, and `labwright \
         reach` knows none of its addresses.\n\n\
         Document 0 wants remote access through a VPN that has a zone and flows of its own. A warning.\n\n\
         The way out: a zone with the VPN's subnet and `interface: wg0`; or that `interface` on the zone that is meant."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "edge:\n  router: gw\n  vpn: { wireguard: { peers: { phone: { address: 10.8.0.2 } } } }\nnetwork:\n  zones:\n    lan: { subnet: 10.0.30.0/24 }\ncompute:\n  hosts:\n    gw: { zone: lan, address: 10.0.30.1 }",
            passes: "edge:\n  router: gw\n  vpn: { wireguard: { peers: { phone: { address: 10.8.0.2 } } } }\nnetwork:\n  zones:\n    lan: { subnet: 10.0.30.0/24 }\n    vpn: { subnet: 10.8.0.0/24, interface: wg0 }\ncompute:\n  hosts:\n    gw: { zone: lan, address: 10.0.30.1 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        let Some(wireguard) = lab.edge.vpn.as_ref().and_then(|vpn| vpn.wireguard.as_ref()) else { return };
        if wireguard.peers.is_empty() || lab.network.zones.is_empty() || wireguard_zone(lab).is_some() {
            return;
        }
        let interface = &wireguard.interface.value;
        let carried = |name: &str| lab.network.zones.get(name).is_some_and(|zone| zone.interface.is_some());
        let meant =
            lab.network.zones.keys().find(|zone| case.kinds().zone(zone) == Some(ZoneKind::Vpn) && !carried(zone));
        let span = parsed.span_of(&["edge", "vpn", "wireguard"]);
        let message = format!("WireGuard `{interface}` is no zone of the lab, so no flow can let its peers anywhere");
        let help = match meant {
            Some(zone) => format!("if `{zone}` is it, say so: `{zone}: {{ …, interface: {interface} }}`"),
            None => {
                let address = wireguard.peers.values().find_map(|peer| peer.address.as_ref());
                let of = address.map_or("10.8.0.0/24".to_string(), |address| match address.value {
                    std::net::IpAddr::V4(four) => {
                        let [a, b, c, _] = four.octets();
                        format!("{a}.{b}.{c}.0/24")
                    }
                    std::net::IpAddr::V6(_) => "SUBNET".to_string(),
                });
                format!(
                    "add to `network: {{ zones: … }}`: `vpn: {{ subnet: {of}, interface: {interface} }}`, and flows from it"
                )
            }
        };
        findings.push(Finding::warning(CODE, "edge.vpn.wireguard", span, message).help(help));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says_only;

    #[test]
    fn a_zone_that_looks_like_it_is_asked_about_and_one_with_its_addresses_is_it() {
        let lab = |zone: &str| {
            format!(
                "edge: {{ router: gw, vpn: {{ wireguard: {{ peers: {{ phone: {{ address: 10.8.0.2 }} }} }} }} }}\nnetwork: {{ zones: {{ lan: {{ subnet: 10.0.1.0/24 }}{zone} }} }}\ncompute: {{ hosts: {{ gw: {{ zone: lan, address: 10.0.1.1 }} }} }}\n"
            )
        };
        says_only(
            "LW-NET-019",
            &lab(""),
            expect![[r#"
                1:39 warning LW-NET-019: WireGuard `wg0` is no zone of the lab, so no flow can let its peers anywhere
                    help: add to `network: { zones: … }`: `vpn: { subnet: 10.8.0.0/24, interface: wg0 }`, and flows from it
            "#]],
        );
        says_only("LW-NET-019", &lab(", vpn: { subnet: 10.9.0.0/24 }"), expect![""]);
        says_only("LW-NET-019", &lab(", away: { subnet: 10.8.0.0/24 }"), expect![""]);
    }
}
