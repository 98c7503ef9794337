//! The access policy of a tailnet, from the same matrix as every firewall: what is not allowed in it is denied.
//! Pure; it is printed for whoever puts it into the tailnet. Field names are those of Tailscale's policy file.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use labwright_model::units::InterfaceAddress;
use serde::Serialize;

use super::allowed::Allowed;
use super::matrix::{Matrix, Why};
use super::parties::Party;
use super::ranges::Ranges;
use crate::check::network::reach::wireguard_zone;
use crate::check::network::zone_kind::ZoneKind;

/// People who are in the tailnet, with their own devices.
const MEMBERS: &str = "autogroup:member";
const OWNERS: &str = "autogroup:admin";

#[derive(Debug, Serialize)]
pub struct Policy {
    /// A tag for each host that joins: who may give it.
    #[serde(rename = "tagOwners")]
    pub tag_owners: BTreeMap<String, Vec<String>>,
    pub acls: Vec<Acl>,
    /// What the subnet router may announce without being asked: networks, and the internet as an exit node.
    #[serde(rename = "autoApprovers", skip_serializing_if = "Option::is_none")]
    pub approvers: Option<Approvers>,
}

/// Who may announce what: https://tailscale.com/kb/1337/policy-syntax#auto-approvers.
#[derive(Debug, Serialize)]
pub struct Approvers {
    pub routes: BTreeMap<String, Vec<String>>,
    #[serde(rename = "exitNode", skip_serializing_if = "Vec::is_empty")]
    pub exit_node: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Acl {
    pub action: &'static str,
    pub src: Vec<String>,
    /// Absent: every protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proto: Option<&'static str>,
    /// `tag:web:443`; an address or a zone behind a host that routes: `10.0.20.5/32:443`, `10.0.20.0/24:443`;
    /// `autogroup:internet:443`, by way of an exit node.
    pub dst: Vec<String>,
}

/// The internet by way of an exit node.
const INTERNET: &str = "autogroup:internet";

/// Ways by protocol and by who opens them: the places that they lead to.
type Ways = BTreeMap<(Option<&'static str>, String), BTreeSet<String>>;

/// The policy, where the lab has a tailnet.
pub fn policy(matrix: &Matrix<'_>) -> Option<Policy> {
    matrix.parties.lab().edge.vpn.as_ref()?.tailscale.as_ref()?;
    let joined = joined(matrix);
    let own = tailnets(matrix);
    let tagged = joined.iter().map(|host| (tag(matrix.parties.hosts[*host].name), Party::Host(*host)));
    let sources: Vec<(String, Party)> =
        own.iter().map(|zone| (MEMBERS.to_string(), Party::Device(*zone))).chain(tagged).collect();
    let mut ways = Ways::new();
    for (source, from) in &sources {
        let mut open = |place: &str, allowed: &Allowed| {
            for (proto, ports) in parts(allowed) {
                ways.entry((proto, source.clone())).or_default().insert(format!("{place}:{ports}"));
            }
        };
        // What is behind a subnet router, that router reaches without the tailnet.
        let leads_behind = matrix.parties.subnet_routers.iter().any(|(host, _)| *from == Party::Host(*host));
        for zone in 0..matrix.parties.zones.len() {
            let to = Party::Device(zone);
            let here = leads_behind || matrix.parties.zones_of(*from).contains(&zone);
            let allowed = through(matrix, *from, to);
            match own.contains(&zone) {
                true => open(MEMBERS, &allowed),
                // A machine in the zone itself goes there without the tailnet.
                false if here => {}
                false => matrix.parties.zones[zone].subnets().for_each(|net| open(&net.to_string(), &allowed)),
            }
        }
        for host in (0..matrix.parties.hosts.len()).filter(|host| *from != Party::Host(*host)) {
            let allowed = through(matrix, *from, Party::Host(host));
            if joined.contains(&host) {
                open(&tag(matrix.parties.hosts[host].name), &allowed);
                continue;
            }
            for address in matrix.parties.hosts[host].addresses.iter().filter(|_| !leads_behind) {
                let bits = if address.is_ipv6() { 128 } else { 32 };
                open(&format!("{address}/{bits}"), &allowed.minus(&around(matrix, *from, *address, &own)));
            }
        }
        // Hosts have an internet of their own; what people have through an exit node, a flow says.
        if let Party::Device(_) = from {
            let declared = matrix.grants_between(*from, Party::Internet).into_iter().filter(|one| one.why == Why::Flow);
            let mut allowed = Allowed::default();
            declared.for_each(|grant| allowed.extend(&grant.allowed));
            open(INTERNET, &allowed);
        }
    }
    let acl = |((proto, source), dst): ((Option<&'static str>, String), BTreeSet<String>)| Acl {
        action: "accept",
        src: vec![source],
        proto,
        dst: dst.into_iter().collect(),
    };
    let owned = joined.iter().map(|host| (tag(matrix.parties.hosts[*host].name), vec![OWNERS.to_string()]));
    let approvers = approvers(matrix, &own, &ways);
    Some(Policy { tag_owners: owned.collect(), acls: ways.into_iter().map(acl).collect(), approvers })
}

/// The networks behind the subnet router that people of the tailnet are let into, and whether they go out by it.
fn approvers(matrix: &Matrix<'_>, own: &[usize], ways: &Ways) -> Option<Approvers> {
    let (host, _) = matrix.parties.subnet_routers.first()?;
    let by = vec![tag(matrix.parties.hosts[*host].name)];
    let places = || ways.iter().filter(|((_, source), _)| source == MEMBERS).flat_map(|(_, places)| places);
    let behind = (0..matrix.parties.zones.len()).filter(|zone| !own.contains(zone));
    let leads = |net: &labwright_model::units::Subnet| {
        places().any(|place| {
            let place = place.rsplit_once(':').map_or(place.as_str(), |(place, _)| place);
            place.parse::<InterfaceAddress>().is_ok_and(|place| net.0.contains(&place.0))
        })
    };
    let nets = behind.flat_map(|zone| matrix.parties.zones[zone].subnets()).filter(leads);
    let routes: BTreeMap<String, Vec<String>> = nets.map(|net| (net.to_string(), by.clone())).collect();
    let goes_out = places().any(|place| place.starts_with(INTERNET));
    let exit_node = if goes_out { by } else { Vec::new() };
    (!routes.is_empty() || !exit_node.is_empty()).then_some(Approvers { routes, exit_node })
}

/// The zones that are the tailnet: by their interface; where none says so, the VPN that is not WireGuard's. Other VPNs are
/// other people's ways in, with flows of their own.
fn tailnets(matrix: &Matrix<'_>) -> Vec<usize> {
    let zones = &matrix.parties.zones;
    let all = || (0..zones.len()).filter(|zone| zones[*zone].kind == Some(ZoneKind::Vpn));
    let carried = |zone: &usize| zones[*zone].entry.interface.as_ref().is_some_and(|one| one.starts_with("tailscale"));
    let named: Vec<usize> = (0..zones.len()).filter(carried).collect();
    if !named.is_empty() {
        return named;
    }
    let wireguard = wireguard_zone(matrix.parties.lab());
    all().filter(|zone| wireguard != Some(zones[*zone].name)).collect()
}

/// What is open over the tailnet: it gives addresses out itself, and where the lab declares no resolver it answers for names.
fn through(matrix: &Matrix<'_>, from: Party, to: Party) -> Allowed {
    let resolves = matrix.parties.lab().platform.dns.as_ref().is_some_and(|dns| !dns.on.is_empty());
    let mut allowed = Allowed::default();
    for grant in matrix.grants_between(from, to) {
        let local = match grant.why {
            Why::Addresses | Why::Hairpin | Why::Time => true,
            Why::Names => !resolves,
            _ => false,
        };
        if !local {
            allowed.extend(&grant.allowed);
        }
    }
    allowed
}

/// What is open already to all of the zone around an address.
fn around(matrix: &Matrix<'_>, from: Party, address: IpAddr, own: &[usize]) -> Allowed {
    let here = matrix.parties.zones_of(from);
    let zones = matrix.parties.zones.iter().enumerate();
    let zone = zones
        .filter(|(number, _)| !own.contains(number) && !here.contains(number))
        .find(|(_, zone)| zone.subnets().any(|net| net.0.contains(&address)));
    zone.map_or_else(Allowed::default, |(zone, _)| through(matrix, from, Party::Device(zone)))
}

/// The hosts that join the tailnet, by their numbers: those that are named, else those of the zone that it carries.
pub fn joined(matrix: &Matrix<'_>) -> Vec<usize> {
    let vpn = matrix.parties.lab().edge.vpn.as_ref();
    let Some(tailscale) = vpn.and_then(|vpn| vpn.tailscale.as_ref()) else { return Vec::new() };
    let named: Vec<usize> = tailscale.on.iter().filter_map(|name| matrix.parties.host(name)).collect();
    if !named.is_empty() {
        return named;
    }
    let zones = |host: usize| matrix.parties.hosts[host].zones.iter().map(|zone| matrix.parties.zones[*zone].entry);
    let carried = |host: &usize| {
        zones(*host).any(|zone| zone.interface.as_ref().is_some_and(|name| name.starts_with("tailscale")))
    };
    (0..matrix.parties.hosts.len()).filter(carried).collect()
}

/// Tags are letters, digits and hyphens, and begin with a letter.
pub fn tag(name: &str) -> String {
    let plain: String =
        name.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let first = plain.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    if first { format!("tag:{plain}") } else { format!("tag:host-{plain}") }
}

fn parts(allowed: &Allowed) -> Vec<(Option<&'static str>, String)> {
    if allowed.any {
        return vec![(None, "*".into())];
    }
    let mut parts = Vec::new();
    for (proto, ports) in [("tcp", &allowed.tcp), ("udp", &allowed.udp)] {
        if !ports.is_empty() {
            parts.push((Some(proto), spelled(ports)));
        }
    }
    if allowed.ping {
        parts.push((Some("icmp"), "*".into()));
    }
    parts
}

fn spelled(ports: &Ranges) -> String {
    let part = |(first, last)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
    ports.iter().map(part).collect::<Vec<String>>().join(",")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    struct One<'a>(&'a str);

    impl labwright_model::Files for One<'_> {
        fn read(&self, _: &str) -> Result<Vec<u8>, String> {
            Ok(self.0.as_bytes().to_vec())
        }

        fn list(&self, _: &str) -> Option<Vec<String>> {
            None
        }
    }

    fn check(lab: &str, expected: Expect) {
        let parsed = labwright_model::parse("lab.yaml", &One(&format!("lab: home\n{lab}")));
        let policy = policy(&Matrix::of(&parsed)).map(|policy| serde_json::to_string_pretty(&policy).unwrap());
        expected.assert_eq(&policy.unwrap_or_default());
    }

    #[test]
    fn the_policy_says_what_the_flows_say() {
        check(
            r#"
edge: { vpn: { tailscale: { on: [web] } } }
network:
  zones:
    vpn: { subnet: 100.64.0.0/10, interface: tailscale0 }
    servers: { subnet: 10.0.20.0/24 }
  flows:
    - { from: vpn, to: servers, allow: [https, icmp, 8000-8010/tcp] }
    - { from: web, to: db, allow: 5432/tcp }
compute:
  hosts:
    web: { zone: servers, address: 10.0.20.5 }
    db: { zone: servers, address: 10.0.20.6 }
"#,
            expect![[r#"
                {
                  "tagOwners": {
                    "tag:web": [
                      "autogroup:admin"
                    ]
                  },
                  "acls": [
                    {
                      "action": "accept",
                      "src": [
                        "autogroup:member"
                      ],
                      "proto": "icmp",
                      "dst": [
                        "10.0.20.0/24:*",
                        "tag:web:*"
                      ]
                    },
                    {
                      "action": "accept",
                      "src": [
                        "tag:web"
                      ],
                      "proto": "icmp",
                      "dst": [
                        "10.0.20.6/32:*"
                      ]
                    },
                    {
                      "action": "accept",
                      "src": [
                        "autogroup:member"
                      ],
                      "proto": "tcp",
                      "dst": [
                        "10.0.20.0/24:443,8000-8010",
                        "10.0.20.6/32:22",
                        "tag:web:22,443,8000-8010"
                      ]
                    },
                    {
                      "action": "accept",
                      "src": [
                        "tag:web"
                      ],
                      "proto": "tcp",
                      "dst": [
                        "10.0.20.6/32:22,443,5432,8000-8010"
                      ]
                    }
                  ]
                }"#]],
        );
        check("edge: { vpn: wireguard }", expect![[""]]);
    }

    #[test]
    fn members_get_what_the_tailnet_may_and_no_other_vpn() {
        let lab = r#"
edge: { router: gw, vpn: { tailscale: { on: [gw, nas] }, wireguard: { on: gw, peers: { phone: { address: 10.9.0.2, public_key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=" } } } } }
network:
  firewall: enforce
  zones:
    lan: { subnet: 10.1.1.0/24, kind: clients }
    srv: { subnet: [10.1.2.0/24, "fd00:1:2::/64"], kind: servers }
    wgz: { subnet: 10.9.0.0/24, interface: wg0, kind: vpn }
    ts: { subnet: 100.64.0.0/10, interface: tailscale0, kind: vpn }
  flows:
    - { from: lan, to: [gw, srv, lan], allow: ssh }
    - { from: wgz, to: srv, allow: [5432/tcp] }
    - { from: ts, to: srv, allow: [https] }
    - { from: ts, to: lan, allow: 3389/tcp }
    - { from: ts, to: internet, allow: [https] }
compute:
  hosts:
    gw: { zone: lan, address: [10.1.1.1, 10.1.2.1, "fd00:1:2::1"] }
    nas: { zone: srv, address: [10.1.2.5, "fd00:1:2::5"] }
    mon: { zone: srv, address: 10.1.2.7 }
"#;
        let parsed = labwright_model::parse("lab.yaml", &One(&format!("lab: home\n{lab}")));
        let policy = policy(&Matrix::of(&parsed)).unwrap();
        let to: Vec<&str> = policy
            .acls
            .iter()
            .filter(|acl| acl.src == [MEMBERS] && acl.proto == Some("tcp"))
            .flat_map(|acl| acl.dst.iter().map(String::as_str))
            .collect();
        assert!(!to.iter().any(|place| place.contains("5432")), "{to:#?}");
        for place in ["10.1.1.0/24:3389", "10.1.2.0/24:443", "fd00:1:2::/64:443", "autogroup:internet:443"] {
            assert!(to.contains(&place), "{place} in {to:#?}");
        }
        let all: Vec<&String> = policy.acls.iter().flat_map(|acl| &acl.dst).collect();
        assert!(!all.iter().any(|place| place.contains("67")), "{all:#?}");
    }

    #[test]
    fn a_router_that_is_the_subnet_router_announces_what_people_are_let_into_and_asks_for_none_of_it() {
        let lab = r#"
edge: { router: gw, vpn: { tailscale: { on: gw } } }
network:
  zones:
    lan: { subnet: 10.1.1.0/24, kind: clients }
    srv: { subnet: 10.1.2.0/24, kind: servers }
    ts: { subnet: 100.64.0.0/10, interface: tailscale0 }
  flows:
    - { from: ts, to: [srv, internet], allow: https }
    - { from: gw, to: web, allow: 9100/tcp }
compute:
  hosts:
    gw: { zone: lan, address: [10.1.1.1, 10.1.2.1], os: other }
    web: { zone: srv, address: 10.1.2.5, os: other }
"#;
        check(
            lab,
            expect![[r#"
            {
              "tagOwners": {
                "tag:gw": [
                  "autogroup:admin"
                ]
              },
              "acls": [
                {
                  "action": "accept",
                  "src": [
                    "autogroup:member"
                  ],
                  "proto": "tcp",
                  "dst": [
                    "10.1.2.0/24:443",
                    "autogroup:internet:443"
                  ]
                }
              ],
              "autoApprovers": {
                "routes": {
                  "10.1.2.0/24": [
                    "tag:gw"
                  ]
                },
                "exitNode": [
                  "tag:gw"
                ]
              }
            }"#]],
        );
    }
}
