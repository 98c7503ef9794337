//! LW-NET-001: two hosts with one address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use labwright_model::{Finding, Findings, Span};

use crate::check::{Case, Examples, Rule};

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
        "Two hosts of the lab have the same address, or a host has that of a WireGuard device. On the wire the one that \
         answers faster wins, and it changes from minute to minute; Labwright would apply one host's state to the other.\n\n\
         Private addresses may repeat at different sites: two hosts with a `site` each, and not the same one, are two \
         networks that do not meet.\n\n\
         It comes from RFC 5227, which is about nothing but this, and tells what happens on the wire.\n\n\
         The way out: give one of them an address of its own. \
         An address that moves between hosts (keepalived, VRRP) belongs to neither: leave it out of both."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    nas-01: { address: 10.0.20.5 }\n    docker-01: { address: 10.0.20.5 }",
            passes: "compute:\n  hosts:\n    nas-01: { address: 10.0.20.5 }\n    docker-01: { address: 10.0.20.21 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        let mut owners: BTreeMap<IpAddr, Vec<Owner<'_>>> = BTreeMap::new();
        for (name, host) in lab.compute.hosts.iter() {
            let site = host.site.as_ref().map(|site| site.value.as_str());
            for address in host.address.iter() {
                let owner = Owner { kind: "compute.hosts", name, site, span: address.span };
                owners.entry(address.value).or_default().push(owner);
            }
            let set_up = host.interfaces.values().flat_map(|interface| interface.addresses.iter());
            let mut told: BTreeSet<IpAddr> = host.address.iter().map(|said| said.value).collect();
            for address in set_up {
                let own = address.value.0.addr();
                // What `address` says as well is one address, and not two.
                if told.insert(own) {
                    let owner = Owner { kind: "compute.hosts", name, site, span: address.span };
                    owners.entry(own).or_default().push(owner);
                }
            }
        }
        let wireguard = lab.edge.vpn.iter().flat_map(|vpn| &vpn.wireguard);
        for (name, peer) in wireguard.flat_map(|wireguard| wireguard.peers.iter()) {
            // A host that is a peer may say its address in the VPN as well.
            let of_its_host = |address: std::net::IpAddr| {
                let host = peer.on.as_ref().and_then(|on| lab.host(on));
                host.is_some_and(|host| host.address.iter().any(|own| own.value == address))
            };
            if let Some(address) = peer.address.as_ref().filter(|address| !of_its_host(address.value)) {
                let owner = Owner { kind: "edge.vpn.wireguard.peers", name, site: None, span: address.span };
                owners.entry(address.value).or_default().push(owner);
            }
        }
        for (address, owners) in owners {
            for (i, owner) in owners.iter().enumerate().skip(1) {
                let before = &owners[..i];
                let own = |first: &&Owner<'_>| (first.kind, first.name) == (owner.kind, owner.name);
                let first = before.iter().find(own).or_else(|| before.iter().find(|first| first.meets(owner, address)));
                let Some(first) = first else { continue };
                let name = owner.name;
                let (message, help) = match own(&first) {
                    true => {
                        (format!("`{name}` has the address `{address}` twice"), "remove one of the two".to_string())
                    }
                    false => (
                        format!("`{name}` has the address `{address}` of `{}`", first.name),
                        format!("give `{name}` an address of its own"),
                    ),
                };
                let at = format!("{}.{name}.address", owner.kind);
                findings.push(
                    Finding::error(CODE, at, owner.span, message).help(help).related(first.span, "first given here"),
                );
            }
        }
    }
}

struct Owner<'a> {
    kind: &'static str,
    name: &'a str,
    site: Option<&'a str>,
    span: Span,
}

impl Owner<'_> {
    /// Whether two things with this address are on one network.
    fn meets(&self, other: &Owner<'_>, address: IpAddr) -> bool {
        let private = match address {
            IpAddr::V4(v4) => v4.is_private(),
            IpAddr::V6(v6) => v6.is_unique_local(),
        };
        let apart = matches!((self.site, other.site), (Some(here), Some(there)) if here != there);
        !(private && apart)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn sites_have_networks_of_their_own() {
        says(
            r#"
edge: { vpn: { wireguard: { on: a, peers: { phone: { address: 10.0.0.5 } } } } }
compute:
  hosts:
    a: { address: 10.0.0.5, site: home }
    b: { address: 10.0.0.5, site: cabin }
    c: { address: [10.0.0.5, 10.0.0.5], site: home }
    d: { address: 100.64.0.1, site: home }
    e: { address: 100.64.0.1, site: cabin }
    f: { address: "fd00::1", site: home }
    g: { address: "fd00:0::1" }
"#,
            expect![[r#"
                2:63 error LW-NET-001: `phone` has the address `10.0.0.5` of `a`
                    help: give `phone` an address of its own
                    5:19: first given here
                7:20 error LW-NET-001: `c` has the address `10.0.0.5` of `a`
                    help: give `c` an address of its own
                    5:19: first given here
                7:30 error LW-NET-001: `c` has the address `10.0.0.5` twice
                    help: remove one of the two
                    7:20: first given here
                9:19 error LW-NET-001: `e` has the address `100.64.0.1` of `d`
                    help: give `e` an address of its own
                    8:19: first given here
                11:19 error LW-NET-001: `g` has the address `fd00::1` of `f`
                    help: give `g` an address of its own
                    10:19: first given here
            "#]],
        );
    }

    #[test]
    fn a_host_that_is_a_peer_has_one_address() {
        let lab = |address: &str| {
            format!(
                "edge: {{ vpn: {{ wireguard: {{ on: a, peers: {{ b: {{ on: b, address: {address} }} }} }} }} }}\ncompute: {{ hosts: {{ a: {{ address: [10.0.0.5, 10.9.0.1] }}, b: {{ address: [10.0.0.6, 10.9.0.2] }} }} }}\n"
            )
        };
        says(&lab("10.9.0.2"), expect![[""]]);
        says(
            &lab("10.9.0.1"),
            expect![[r#"
            1:66 error LW-NET-001: `b` has the address `10.9.0.1` of `a`
                help: give `b` an address of its own
                2:46: first given here
        "#]],
        );
    }
}
