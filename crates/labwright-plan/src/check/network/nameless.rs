//! LW-NET-018: a way that a flow allows, and that no firewall can know by an address.

use std::collections::BTreeMap;

use labwright_model::{Finding, Findings, Span};

use super::telling::listed;
use crate::check::{Case, Examples, Rule};
use crate::network::known::Unknown;
use crate::network::matrix::party;
use crate::network::{Grant, Matrix, Why};

pub struct Nameless;

const CODE: &str = "LW-NET-018";

impl Rule for Nameless {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a flow about something without an address"
    }

    fn doc(&self) -> &'static str {
        "A firewall sees addresses and no names. A flow names a host that has no `address`, or a zone that has no `subnet`: \
         there is nothing to put into a rule, so what the flow allows stays denied wherever a firewall is enforced. The host \
         may have an address by DHCP; which one, the lab file does not know.\n\n\
         The same holds for a flow from the internet to a whole zone, or to a host with `any`, behind the router: IPv4 has \
         one public address, and each of its ports leads to one host. Without a port and a host nothing is forwarded.\n\n\
         Only labs that enforce are judged (`network: { firewall: enforce }`), and `labwright reach` answers that such a way \
         is denied. It comes from nftables, whose sets are of addresses (https://wiki.nftables.org/), and from RFC 3022 on \
         translation by ports. A warning.\n\n\
         The way out: an `address` for the host, the same as a reservation in the DHCP server; a `subnet` for the zone; one \
         host and its ports for what the internet may reach."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "edge: { router: gw }\nnetwork:\n  firewall: enforce\n  zones:\n    lan: { subnet: 10.0.30.0/24 }\n    iot: { interface: eth9 }\n  flows:\n    - { from: lan, to: gw, allow: ssh }\n    - { from: lan, to: iot, allow: https }\ncompute:\n  hosts:\n    gw: { zone: lan, address: 10.0.30.1 }",
            passes: "edge: { router: gw }\nnetwork:\n  firewall: enforce\n  zones:\n    lan: { subnet: 10.0.30.0/24 }\n    iot: { interface: eth9, subnet: 10.0.40.0/24 }\n  flows:\n    - { from: lan, to: gw, allow: ssh }\n    - { from: lan, to: iot, allow: https }\ncompute:\n  hosts:\n    gw: { zone: lan, address: 10.0.30.1 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        if !super::firewall_is_asked_for(parsed) {
            return;
        }
        let matrix = case.matrix();
        if !matrix.parties.enforces() {
            return;
        }
        let mut vain: BTreeMap<Vain, Vec<&Grant>> = BTreeMap::new();
        for grant in matrix.grants.iter().filter(|grant| matches!(grant.why, Why::Flow | Why::Administration)) {
            match matrix.unknown(grant, party(grant.from), party(grant.to)) {
                None => {}
                // Each flow from the internet is one of its own.
                Some(Unknown::Public) => vain.entry((Unknown::Public, grant.span.start)).or_default().push(grant),
                Some(why) => vain.entry((why, 0)).or_default().push(grant),
            }
        }
        for ((why, _), grants) in vain {
            findings.push(tell(matrix, why, &grants));
        }
    }
}

/// What is not known, and where a flow is that is told by itself.
type Vain = (Unknown, u32);

fn tell(matrix: &Matrix<'_>, why: Unknown, grants: &[&Grant]) -> Finding {
    let (parties, lab) = (&matrix.parties, matrix.parties.lab());
    let mut ways: Vec<String> = grants.iter().map(|one| ends(matrix, one)).collect();
    ways.dedup();
    let ways = listed(ways.iter().map(String::as_str));
    let first = grants.first().map_or(Span::NONE, |grant| grant.span);
    let finding = match why {
        Unknown::Host(host) => {
            let host = &parties.hosts[host];
            let span = lab.compute.hosts.get(host.name).map_or(first, |entry| entry.span);
            let of = host.zones.iter().flat_map(|zone| parties.zones[*zone].subnets()).next();
            let of = of.map_or_else(String::new, |subnet| format!(" (one of `{subnet}`)"));
            let message =
                format!("`{}` has no address, so no firewall lets through what flows allow: {ways}", host.name);
            let help = format!("add `address: …`{of}, and reserve the same one for it in the DHCP server");
            Finding::warning(CODE, format!("compute.hosts.{}.address", host.name), span, message).help(help)
        }
        Unknown::Zone(zone) => {
            let zone = &parties.zones[zone];
            let span = lab.network.zones.get(zone.name).map_or(first, |entry| entry.span);
            let message = format!(
                "zone `{}` has no subnet, so no firewall knows who is in it, and none lets through what flows allow: {ways}",
                zone.name
            );
            let help = "add the addresses that it has: `subnet: 10.0.50.0/24`";
            Finding::warning(CODE, format!("network.zones.{}.subnet", zone.name), span, message).help(help)
        }
        Unknown::Public => {
            let message = format!(
                "{ways}: the one public IPv4 address leads to a host by a port, and this flow names no {}: nothing is \
                 forwarded",
                if grants.iter().any(|grant| grant.allowed.any) { "port" } else { "host" }
            );
            let help = "name one host and its ports: `- { from: internet, to: HOST, allow: PORT/tcp }`";
            return Finding::warning(CODE, "network.flows", first, message).help(help);
        }
    };
    if first.is_none() { finding } else { finding.related(first, "allowed here") }
}

/// "lan to web".
fn ends(matrix: &Matrix<'_>, grant: &Grant) -> String {
    format!("{} to {}", matrix.parties.name(grant.from), matrix.parties.name(grant.to))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn what_has_no_address_is_told_and_what_works_is_not() {
        says(
            r#"
edge: { router: gw }
network:
  firewall: enforce
  zones:
    lan: { subnet: 10.1.1.0/24, kind: clients }
    srv: { subnet: 10.1.2.0/24, kind: servers }
    dim: { interface: eth9 }
  flows:
    - { from: lan, to: [gw, srv, box], allow: ssh }
    - { from: [lan, srv], to: internet, allow: [https, http] }
    - { from: box, to: web, allow: https }
    - { from: dim, to: web, allow: https }
    - { from: internet, to: web, allow: any }
    - { from: internet, to: srv, allow: 8443/tcp }
    - { from: internet, to: web, allow: 8444/tcp }
compute:
  hosts:
    gw: { zone: lan, address: [10.1.1.1, 10.1.2.1] }
    web: { zone: srv, address: 10.1.2.5 }
    box: { zone: lan }
"#,
            expect![[r#"
                8:5 warning LW-NET-018: zone `dim` has no subnet, so no firewall knows who is in it, and none lets through what flows allow: `dim to web`
                    help: add the addresses that it has: `subnet: 10.0.50.0/24`
                    13:7: allowed here
                14:7 warning LW-NET-018: `internet to web`: the one public IPv4 address leads to a host by a port, and this flow names no port: nothing is forwarded
                    help: name one host and its ports: `- { from: internet, to: HOST, allow: PORT/tcp }`
                15:7 warning LW-NET-018: `internet to srv`: the one public IPv4 address leads to a host by a port, and this flow names no host: nothing is forwarded
                    help: name one host and its ports: `- { from: internet, to: HOST, allow: PORT/tcp }`
                21:5 warning LW-NET-018: `box` has no address, so no firewall lets through what flows allow: `box to web`
                    help: add `address: …` (one of `10.1.1.0/24`), and reserve the same one for it in the DHCP server
                    12:7: allowed here
            "#]],
        );
    }
}
