//! LW-NET-001: two hosts with one address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use labwright_model::{Finding, Findings, Parsed, Span};

use crate::check::{Examples, Rule};

pub struct DuplicateAddress;

const CODE: &str = "LW-NET-001";

impl Rule for DuplicateAddress {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "two hosts with one address"
    }

    fn doc(&self) -> &'static str {
        "Two hosts of the lab have the same address. On the wire the one that answers faster wins, and it changes from minute \
         to minute; Labwright would apply one host's state to the other.\n\nThe way out: give one of them an address of its own. \
         An address that moves between hosts (keepalived, VRRP) belongs to neither: leave it out of both."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    nas-01: { address: 10.0.20.5 }\n    docker-01: { address: 10.0.20.5 }",
            passes: "compute:\n  hosts:\n    nas-01: { address: 10.0.20.5 }\n    docker-01: { address: 10.0.20.21 }",
        }
    }

    fn check(&self, parsed: &Parsed, findings: &mut Findings) {
        let mut first: BTreeMap<IpAddr, (&str, Span)> = BTreeMap::new();
        for (name, host) in parsed.lab.compute.hosts.iter() {
            for address in host.address.iter() {
                match first.get(&address.value) {
                    None => drop(first.insert(address.value, (name, address.span))),
                    Some((other, place)) => {
                        let message = match *other == name {
                            true => format!("`{name}` has the address `{}` twice", address.value),
                            false => format!("`{name}` has the address `{}` of `{other}`", address.value),
                        };
                        let finding =
                            Finding::error(CODE, format!("compute.hosts.{name}.address"), address.span, message)
                                .help(format!("give `{name}` an address of its own"))
                                .related(*place, "first given here");
                        findings.push(finding);
                    }
                }
            }
        }
    }
}
