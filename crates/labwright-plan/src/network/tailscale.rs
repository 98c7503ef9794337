//! The access policy of a tailnet, from the same matrix as every firewall: what is not allowed in it is denied.
//! Pure; it is printed for whoever puts it into the tailnet. Field names are those of Tailscale's policy file.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::allowed::Allowed;
use super::matrix::Matrix;
use super::parties::Party;
use super::ranges::{Family, Ranges};
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
}

#[derive(Debug, Serialize)]
pub struct Acl {
    pub action: &'static str,
    pub src: Vec<String>,
    /// Absent: every protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proto: Option<&'static str>,
    /// `tag:web:443`, or an address behind a host that routes: `10.0.20.5/32:443`.
    pub dst: Vec<String>,
}

/// The policy, where the lab has a tailnet.
pub fn policy(matrix: &Matrix<'_>) -> Option<Policy> {
    matrix.parties.lab().edge.vpn.as_ref()?.tailscale.as_ref()?;
    let joined = joined(matrix);
    let people = (0..matrix.parties.zones.len()).filter(|zone| matrix.parties.zones[*zone].kind == Some(ZoneKind::Vpn));
    let tagged = joined.iter().map(|host| (tag(matrix.parties.hosts[*host].name), Party::Host(*host)));
    let sources: Vec<(String, Party)> =
        people.map(|zone| (MEMBERS.to_string(), Party::Device(zone))).chain(tagged).collect();
    let mut ways: BTreeMap<(Option<&'static str>, String), BTreeSet<String>> = BTreeMap::new();
    for (source, from) in &sources {
        for host in 0..matrix.parties.hosts.len() {
            let to = Party::Host(host);
            let allowed = matrix.between(*from, to);
            if *from == to || allowed.is_empty() {
                continue;
            }
            for place in places(matrix, host, &joined) {
                for (proto, ports) in parts(&allowed) {
                    ways.entry((proto, source.clone())).or_default().insert(format!("{place}:{ports}"));
                }
            }
        }
    }
    let acl = |((proto, source), dst): ((Option<&'static str>, String), BTreeSet<String>)| Acl {
        action: "accept",
        src: vec![source],
        proto,
        dst: dst.into_iter().collect(),
    };
    let owned = joined.iter().map(|host| (tag(matrix.parties.hosts[*host].name), vec![OWNERS.to_string()]));
    Some(Policy { tag_owners: owned.collect(), acls: ways.into_iter().map(acl).collect() })
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

/// How a host is named: by its tag, or, where it is reached through another one, by its addresses.
fn places(matrix: &Matrix<'_>, host: usize, joined: &[usize]) -> Vec<String> {
    if joined.contains(&host) {
        return vec![tag(matrix.parties.hosts[host].name)];
    }
    let addresses = Family::ALL.into_iter().flat_map(|family| matrix.parties.host_addresses(host, family));
    addresses.map(|address| format!("{address}/{}", if address.is_ipv6() { 128 } else { 32 })).collect()
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
                        "10.0.20.6/32:*",
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
                        "10.0.20.6/32:22,443,8000-8010",
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
}
