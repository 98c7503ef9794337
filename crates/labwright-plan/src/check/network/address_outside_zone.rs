//! LW-NET-004: a host whose address is not in its zone.

use std::net::IpAddr;

use labwright_model::{Finding, Findings, Spanned};

use super::reach::{sites, wireguard_zone};
use crate::check::{Case, Examples, Rule};

pub struct AddressOutsideZone;

const CODE: &str = "LW-NET-004";

impl Rule for AddressOutsideZone {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "an address outside its zone"
    }

    fn doc(&self) -> &'static str {
        "A host says that it is in a zone, and its address is in none of that zone's subnets, or is the network's or the \
         broadcast address of one. Firewall rules are made from zones: this host would be treated as what it is not.\n\n\
         A host with several addresses needs one of them inside its zone; the others may be anywhere (a VPN's, for one, or \
         a router's other legs). IPv6 addresses are looked at where the zone has an IPv6 subnet.\n\n\
         It comes from document 0, whose zones are networks of their own with a VLAN each, and from RFC 1122 \
         (section 3.2.1.3), which keeps a network's first and last address for other uses.\n\n\
         The way out: correct the address, the zone, or the subnet."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\ncompute:\n  hosts:\n    docker-01: { zone: servers, address: 10.0.30.21 }",
            passes: "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\ncompute:\n  hosts:\n    docker-01: { zone: servers, address: 10.0.20.21 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let zones = &parsed.lab.network.zones;
        for (name, host) in parsed.lab.compute.hosts.iter() {
            let Some(zone_name) = &host.zone else { continue };
            let Some(zone) = zones.get(&zone_name.value).filter(|zone| !zone.subnet.is_empty()) else { continue };
            let at = format!("compute.hosts.{name}.address");
            let far = wireguard_zone(&parsed.lab) == Some(zone_name.value.as_str());
            let inside = |address: &IpAddr| {
                zone.subnet.iter().any(|subnet| subnet.value.0.contains(address))
                    || far && sites(&parsed.lab).any(|site| site.0.contains(address))
            };
            let subnets = zone.subnet.iter().map(|subnet| format!("`{}`", subnet.value)).collect::<Vec<_>>().join(", ");
            // A zone that has no IPv6 subnet says nothing of IPv6 addresses.
            let judged = |address: &&Spanned<IpAddr>| {
                zone.subnet.iter().any(|subnet| subnet.value.0.addr().is_ipv4() == address.value.is_ipv4())
            };
            let outside = !host.address.iter().any(|address| inside(&address.value));
            if let Some(first) = host.address.iter().find(judged).filter(|_| outside) {
                let message = format!("`{}` of `{name}` is not in zone `{}` ({subnets})", first.value, zone_name.value);
                let right = zones
                    .iter()
                    .find(|(_, zone)| zone.subnet.iter().any(|subnet| subnet.value.0.contains(&first.value)));
                let help = match right {
                    Some((right, _)) => format!("write `zone: {right}`, which it is in, or an address of {subnets}"),
                    None => format!("write an address of {subnets}, or add its subnet to the zone"),
                };
                findings.push(
                    Finding::error(CODE, at.clone(), first.span, message).help(help).related(zone.span, "the zone"),
                );
            }
            for address in host.address.iter() {
                let edge = zone.subnet.iter().find(|subnet| {
                    let net = subnet.value.0;
                    let v4 = matches!(address.value, IpAddr::V4(_)) && net.prefix_len() < 31;
                    v4 && (net.network() == address.value || net.broadcast() == address.value)
                });
                if let Some(subnet) = edge {
                    let what = if subnet.value.0.network() == address.value { "network" } else { "broadcast" };
                    let message = format!(
                        "`{}` is the {what} address of `{}`, and no host can have it",
                        address.value, subnet.value
                    );
                    findings.push(
                        Finding::error(CODE, at.clone(), address.span, message)
                            .help("give the host another address of the subnet"),
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn several_addresses_and_both_families() {
        says(
            r#"
network:
  zones:
    servers: { subnet: 10.0.20.0/24 }
    clients: { subnet: [10.0.30.0/24, "fd00:30::/64"] }
    vpn: { subnet: 100.64.0.0/10 }
    link: { subnet: 10.9.9.0/31 }
    bare: { vlan: 7 }
compute:
  hosts:
    two-legs: { zone: servers, address: [10.0.20.21, 100.90.1.2] }
    wrong: { zone: servers, address: [10.0.30.5, 100.90.1.3] }
    nowhere: { zone: servers, address: 192.168.1.5 }
    six-only: { zone: servers, address: "fd00::5" }
    six-wrong: { zone: clients, address: "fd00:31::5" }
    net: { zone: servers, address: 10.0.20.0 }
    all: { zone: servers, address: 10.0.20.255 }
    link: { zone: link, address: 10.9.9.0 }
    bare: { zone: bare, address: 10.1.1.1 }
"#,
            expect![[r#"
                12:39 error LW-NET-004: `10.0.30.5` of `wrong` is not in zone `servers` (`10.0.20.0/24`)
                    help: write `zone: clients`, which it is in, or an address of `10.0.20.0/24`
                    4:5: the zone
                13:40 error LW-NET-004: `192.168.1.5` of `nowhere` is not in zone `servers` (`10.0.20.0/24`)
                    help: write an address of `10.0.20.0/24`, or add its subnet to the zone
                    4:5: the zone
                15:42 error LW-NET-004: `fd00:31::5` of `six-wrong` is not in zone `clients` (`10.0.30.0/24`, `fd00:30::/64`)
                    help: write an address of `10.0.30.0/24`, `fd00:30::/64`, or add its subnet to the zone
                    5:5: the zone
                16:36 error LW-NET-004: `10.0.20.0` is the network address of `10.0.20.0/24`, and no host can have it
                    help: give the host another address of the subnet
                17:36 error LW-NET-004: `10.0.20.255` is the broadcast address of `10.0.20.0/24`, and no host can have it
                    help: give the host another address of the subnet
            "#]],
        );
    }
}
