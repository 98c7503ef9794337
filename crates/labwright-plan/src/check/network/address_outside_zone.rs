//! LW-NET-004: a host whose address is not in its zone.

use std::net::IpAddr;

use labwright_model::{Finding, Findings, Parsed};

use crate::check::{Examples, Rule};

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
         A host with several addresses needs one of them inside its zone; the others may be anywhere (a VPN's, for one).\n\n\
         The way out: correct the address, the zone, or the subnet."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\ncompute:\n  hosts:\n    docker-01: { zone: servers, address: 10.0.30.21 }",
            passes: "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\ncompute:\n  hosts:\n    docker-01: { zone: servers, address: 10.0.20.21 }",
        }
    }

    fn check(&self, parsed: &Parsed, findings: &mut Findings) {
        let zones = &parsed.lab.network.zones;
        for (name, host) in parsed.lab.compute.hosts.iter() {
            let Some(zone_name) = &host.zone else { continue };
            let Some(zone) = zones.get(&zone_name.value).filter(|zone| !zone.subnet.is_empty()) else { continue };
            let at = format!("compute.hosts.{name}.address");
            let inside = |address: &IpAddr| zone.subnet.iter().any(|subnet| subnet.value.0.contains(address));
            let subnets = zone.subnet.iter().map(|subnet| format!("`{}`", subnet.value)).collect::<Vec<_>>().join(", ");
            if let Some(first) =
                host.address.first().filter(|_| !host.address.iter().any(|address| inside(&address.value)))
            {
                let message = format!("`{}` of `{name}` is not in zone `{}` ({subnets})", first.value, zone_name.value);
                let right = zones
                    .iter()
                    .find(|(_, zone)| zone.subnet.iter().any(|subnet| subnet.value.0.contains(&first.value)));
                let help = match right {
                    Some((right, _)) => format!("it is in zone `{right}`: correct the zone, or the address"),
                    None => "correct the address, or add its subnet to the zone".to_string(),
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
