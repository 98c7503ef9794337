//! LW-NET-007: everything in one zone.

use std::collections::BTreeSet;
use std::net::IpAddr;

use labwright_model::lab::Expose;
use labwright_model::{Finding, Findings, Parsed};

use super::reach::{End, ends, traffic};
use super::telling::listed;
use super::zone_kind::{Kinds, is_vpn};
use crate::check::{Case, Examples, Rule};

pub struct FlatZone;

const CODE: &str = "LW-NET-007";

impl Rule for FlatZone {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "everything in one zone"
    }

    fn doc(&self) -> &'static str {
        "The lab has one zone, VPNs aside, or none and all of its hosts in one network of addresses, and in it stand things of different trust: hypervisors beside what runs on them, \
         what the internet reaches beside what it must not, laptops beside servers. Whoever gets into one of them is beside \
         all of them. The lab that document 1 describes is such a one, and its owner names it as the thing to improve: its \
         media server has no need to reach its audiobooks. Document 0 lays out five zones: management, servers, clients, \
         IoT, guest.\n\n\
         Told of labs with four hosts and more, as advice. Where no zone is declared, one network is 256 addresses \
         (`192.168.1.0/24`) that every host with a private IPv4 address has one of. Flows that divide the zone (from a host or service to another, \
         and none from the zone to itself) are a way to live with one zone: then nothing is told.\n\n\
         The way out: a zone for what the lab is run from and one for what serves, to begin with, and each host's `zone`; or \
         flows between the hosts."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "network:\n  zones:\n    home: { subnet: 192.168.68.0/24 }\ncompute:\n  hosts:\n    pve-01: { zone: home, address: 192.168.68.2, os: proxmox }\n    jellyfin: { zone: home, address: 192.168.68.10 }\n    audiobookshelf: { zone: home, address: 192.168.68.11 }\n    observer: { zone: home, address: 192.168.68.12 }\nservices:\n  films: { run: jellyfin, on: jellyfin }\n  books: { run: audiobookshelf, on: audiobookshelf }",
            passes: "network:\n  zones:\n    management: { subnet: 192.168.67.0/24 }\n    servers: { subnet: 192.168.68.0/24 }\ncompute:\n  hosts:\n    pve-01: { zone: management, address: 192.168.67.2, os: proxmox }\n    jellyfin: { zone: servers, address: 192.168.68.10 }\n    audiobookshelf: { zone: servers, address: 192.168.68.11 }\n    observer: { zone: servers, address: 192.168.68.12 }\nservices:\n  films: { run: jellyfin, on: jellyfin }\n  books: { run: audiobookshelf, on: audiobookshelf }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let kinds = case.kinds();
        let help = "begin with two: `management: { vlan: 10, subnet: … }` and `servers: { vlan: 20, subnet: … }`, and a `zone` for each host";
        if let Some((network, first, hosts)) = one_network(parsed) {
            let kept = kept(parsed, kinds, &hosts);
            if kept.len() > 1 {
                let hosts = hosts.len();
                let message =
                    format!("all {hosts} hosts of the lab are in one network, `{network}`: {}", kept.join(", "));
                let at = format!("compute.hosts.{first}.address");
                let span = parsed.span_of(&["compute", "hosts", first, "address"]);
                let help = format!("{help}, below `network: {{ zones: … }}`");
                findings.push(Finding::advice(CODE, at, span, message).help(help));
            }
            return;
        }
        let Some((zone, kept)) = flat(parsed, kinds) else { return };
        let hosts = kinds.hosts_in(zone).len();
        let message = format!("all {hosts} hosts of the lab are in zone `{zone}`: {}", kept.join(", "));
        let span = parsed.lab.network.zones.get(zone).map_or(labwright_model::Span::NONE, |zone| zone.span);
        findings.push(Finding::advice(CODE, format!("network.zones.{zone}"), span, message).help(help));
    }
}

/// The one network of a lab without zones, a host in it, and all that are: where every host has a private IPv4 address, and
/// all of these are in one /24. What has no address, or another one as well, may be anywhere.
fn one_network(parsed: &Parsed) -> Option<(String, &str, Vec<&str>)> {
    let lab = &parsed.lab;
    if !lab.network.zones.is_empty() || !lab.network.flows.is_empty() {
        return None;
    }
    let mut network: Option<[u8; 3]> = None;
    let mut hosts: Vec<&str> = Vec::new();
    for (name, host) in lab.compute.hosts.iter().filter(|(_, host)| !host.local) {
        let [address] = &host.address[..] else { return None };
        let IpAddr::V4(address) = address.value else { return None };
        let [a, b, c, _] = address.octets();
        if !address.is_private() || network.is_some_and(|network| network != [a, b, c]) {
            return None;
        }
        network = Some([a, b, c]);
        hosts.push(name);
    }
    let [a, b, c] = network?;
    let first = *hosts.first()?;
    (hosts.len() >= 4).then(|| (format!("{a}.{b}.{c}.0/24"), first, hosts))
}

/// The zone that everything is in, and what of different trust is in it.
pub fn flat<'a>(parsed: &'a Parsed, kinds: &Kinds<'a>) -> Option<(&'a str, Vec<String>)> {
    let lab = &parsed.lab;
    let mut zones = lab.network.zones.iter().filter(|(_, zone)| !is_vpn(zone));
    let (Some((zone, _)), None) = (zones.next(), zones.next()) else { return None };
    let hosts = kinds.hosts_in(zone);
    if hosts.len() < 4 {
        return None;
    }
    let within = |names: &[labwright_model::Spanned<String>]| {
        names.iter().any(|name| ends(lab, name).contains(&End::Zone(zone)))
    };
    let open = |flow: &labwright_model::lab::Flow| {
        within(&flow.from) && within(&flow.to) && traffic(flow).contains(&labwright_model::units::Traffic::Any)
    };
    if !lab.network.flows.is_empty() && !lab.network.flows.iter().any(|flow| open(&flow.value)) {
        return None;
    }
    let kept = kept(parsed, kinds, hosts);
    (kept.len() > 1).then_some((zone, kept))
}

/// What of different trust these hosts are, in words.
fn kept<'a>(parsed: &'a Parsed, kinds: &Kinds<'a>, hosts: &[&'a str]) -> Vec<String> {
    let lab = &parsed.lab;
    let here: BTreeSet<&str> = hosts.iter().copied().collect();
    let placed = |wanted: &dyn Fn(Expose) -> bool| -> BTreeSet<&'a str> {
        let services = parsed.placements.iter().filter(|placement| wanted(placement.entry.expose));
        let on = services.flat_map(|placement| placement.entry.on.iter().map(|on| on.value.as_str()));
        on.filter(|host| here.contains(host)).collect()
    };
    let managing: Vec<&str> = hosts.iter().copied().filter(|host| kinds.is_hypervisor(host)).collect();
    let (public, inner) = (placed(&|expose| expose == Expose::Public), placed(&|expose| expose != Expose::Public));
    let sat_at = hosts.iter().copied().filter(|host| lab.host(host).is_some_and(|host| host.intermittent));
    let classes = [
        ("hypervisors", managing),
        ("what the internet reaches", public.into_iter().collect()),
        ("services for the inside", inner.into_iter().collect()),
        ("what people sit at", sat_at.collect()),
    ];
    let classes = classes.into_iter().filter(|(_, hosts)| !hosts.is_empty());
    classes.map(|(what, hosts)| format!("{what} ({})", listed(hosts))).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    const HOSTS: &str = r#"
compute:
  hosts:
    a: { zone: lan, address: 10.0.0.2, os: proxmox }
    b: { zone: lan, address: 10.0.0.3 }
    c: { zone: lan, address: 10.0.0.4 }
    laptop: { zone: lan, address: 10.0.0.5, intermittent: true }
    away: { zone: vpn, address: 100.64.0.5 }
services:
  x: { run: x, on: b }
  y: { run: y, on: c }
"#;

    #[test]
    fn one_zone_and_a_vpn() {
        let zones = "network:\n  zones: { lan: { subnet: 10.0.0.0/24 }, vpn: { interface: tailscale0, subnet: 100.64.0.0/10 } }\n";
        says(
            &format!("{zones}{HOSTS}"),
            expect![[r#"
                2:12 advice LW-NET-007: all 4 hosts of the lab are in zone `lan`: hypervisors (`a`), services for the inside (`b` and `c`), what people sit at (`laptop`)
                    help: begin with two: `management: { vlan: 10, subnet: … }` and `servers: { vlan: 20, subnet: … }`, and a `zone` for each host
            "#]],
        );
        says(
            &format!("{zones}  flows: [{{ from: [lan, vpn], to: lan }}]\n{HOSTS}"),
            expect![[r#"
                2:12 advice LW-NET-007: all 4 hosts of the lab are in zone `lan`: hypervisors (`a`), services for the inside (`b` and `c`), what people sit at (`laptop`)
                    help: begin with two: `management: { vlan: 10, subnet: … }` and `servers: { vlan: 20, subnet: … }`, and a `zone` for each host
                3:11 advice LW-NET-013: zones and flows are declared, and nothing enforces them
                    help: write `network: { firewall: enforce }`, after `labwright rehearse` has tried it; `firewall: off` keeps it as it is
            "#]],
        );
    }

    #[test]
    fn no_zones_and_one_network_of_addresses() {
        let lab = HOSTS.replace("zone: lan, ", "").replace("    away: { zone: vpn, address: 100.64.0.5 }\n", "");
        says(
            &lab,
            expect![[r#"
                4:19 advice LW-NET-007: all 4 hosts of the lab are in one network, `10.0.0.0/24`: hypervisors (`a`), services for the inside (`b` and `c`), what people sit at (`laptop`)
                    help: begin with two: `management: { vlan: 10, subnet: … }` and `servers: { vlan: 20, subnet: … }`, and a `zone` for each host, below `network: { zones: … }`
            "#]],
        );
        for other in ["10.0.1.4", "203.0.113.4", "[10.0.0.4, 10.0.1.4]", "\"fd00::4\""] {
            says(&lab.replace("address: 10.0.0.4 ", &format!("address: {other} ")), expect![[""]]);
        }
        says(&lab.replace("address: 10.0.0.4 ", "tags: [x] "), expect![[""]]);
    }

    #[test]
    fn flows_that_divide_it_and_other_zones() {
        let zones = "network:\n  zones: { lan: { subnet: 10.0.0.0/24 }, vpn: { interface: tailscale0, subnet: 100.64.0.0/10 } }\n";
        says(
            &format!("{zones}  flows: [{{ from: b, to: c, allow: https }}]\n{HOSTS}"),
            expect![[r#"
            3:11 advice LW-NET-013: zones and flows are declared, and nothing enforces them
                help: write `network: { firewall: enforce }`, after `labwright rehearse` has tried it; `firewall: off` keeps it as it is
        "#]],
        );
        let zones = "network:\n  zones: { lan: { subnet: 10.0.0.0/24 }, iot: {}, vpn: { subnet: 100.64.0.0/10 } }\n";
        says(&format!("{zones}{HOSTS}"), expect![""]);
    }
}
