//! LW-CMP-002: a host without an address that something needs.

use labwright_model::{Finding, Findings, Parsed, Severity};

use crate::check::{Examples, Rule};

pub struct HostAddress;

const CODE: &str = "LW-CMP-002";

impl Rule for HostAddress {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a host without an address"
    }

    fn doc(&self) -> &'static str {
        "A host in a zone has no `address`. Names, firewall rules, probes and routes are made from addresses; without one \
         the host is reached only if SSH can resolve its name by itself, and nothing can be let through to it.\n\n\
         For a host that comes and goes (`intermittent: true`) or has a lease (a laptop) this is advice only.\n\n\
         The way out: give it an `address`, and the same one in the DHCP server or on the host."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\ncompute:\n  hosts:\n    docker-01: { zone: servers }",
            passes: "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\ncompute:\n  hosts:\n    docker-01: { zone: servers, address: 10.0.20.21 }",
        }
    }

    fn check(&self, parsed: &Parsed, findings: &mut Findings) {
        for (name, host) in parsed.lab.compute.hosts.iter() {
            if !host.address.is_empty() || host.local || host.zone.is_none() || parsed.implied.contains(name) {
                continue;
            }
            let mut finding = Finding::warning(
                CODE,
                format!("compute.hosts.{name}"),
                host.span,
                format!("host `{name}` has no address"),
            )
            .help("add `address: …`, as its zone's subnet has it");
            if host.intermittent {
                finding.severity = Severity::Advice;
            }
            findings.push(finding);
        }
    }
}
