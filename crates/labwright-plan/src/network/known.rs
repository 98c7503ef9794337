//! What firewalls can know: a packet has addresses and no names. What has none in the lab file stands in no set, and what is
//! allowed to it or from it is let through by nobody who looks.

use std::net::IpAddr;

use super::allowed::Allowed;
use super::matrix::{Grant, Matrix, Why};
use super::parties::{End, Party};
use super::ports;
use super::ranges::Family;

/// Why a way that is allowed does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unknown {
    /// A host without an address: its number.
    Host(usize),
    /// A zone without a subnet: its number.
    Zone(usize),
    /// The one public address leads to hosts by their ports, and this way names no port or no host.
    Public,
}

impl Matrix<'_> {
    /// Why a grant does not let `from` through to `to`, although it says so: somebody on the way denies what it cannot know.
    pub fn unknown(&self, grant: &Grant, from: Party, to: Party) -> Option<Unknown> {
        let parties = &self.parties;
        let guards = |party: Party| matches!(party, Party::Host(host) if parties.guards(host));
        let passes = self.forwarder(from, to).is_some_and(|host| parties.guards(host));
        let source = self.nameless(grant.from, from).filter(|_| guards(to) || passes);
        let target = self.nameless(grant.to, to).filter(|_| guards(from) || passes);
        source.or(target).or_else(|| (passes && self.is_past_the_public_address(grant, to)).then_some(Unknown::Public))
    }

    /// What an end has no address for, as this party.
    fn nameless(&self, end: End, party: Party) -> Option<Unknown> {
        let parties = &self.parties;
        let empty = |zone: usize| Family::ALL.iter().all(|family| parties.ranges(zone, *family).is_empty());
        match (end, party) {
            (End::Internet, _) => None,
            (End::Host(host), _) => parties.hosts[host].addresses.is_empty().then_some(Unknown::Host(host)),
            (End::Zone(zone), Party::Host(host)) if empty(zone) => {
                parties.hosts[host].addresses.is_empty().then_some(Unknown::Zone(zone))
            }
            (End::Zone(zone), _) => empty(zone).then_some(Unknown::Zone(zone)),
        }
    }

    /// Whether the internet is let in to private addresses without a port and a host that the public address could lead to.
    fn is_past_the_public_address(&self, grant: &Grant, to: Party) -> bool {
        if grant.from != End::Internet || matches!(grant.to, End::Host(_)) && !grant.allowed.any {
            return false;
        }
        let parties = &self.parties;
        match to {
            Party::Internet => false,
            Party::Host(host) => {
                let private = |address: &IpAddr| matches!(address, IpAddr::V4(address) if address.is_private());
                parties.router != Some(host) && parties.hosts[host].addresses.iter().all(private)
            }
            Party::Device(zone) => parties.ranges(zone, Family::V6).is_empty(),
        }
    }

    /// The grants from one party to another that really let something through.
    pub fn working(&self, from: Party, to: Party) -> Vec<&Grant> {
        let all = self.grants_between(from, to).into_iter();
        all.filter(|grant| self.unknown(grant, from, to).is_none()).collect()
    }

    /// What containers of a host may open to the host itself: what runs there, and what flows let it open to itself.
    pub fn for_its_containers(&self, host: usize) -> Allowed {
        let (parties, lab) = (&self.parties, self.parties.lab());
        let name = parties.hosts[host].name;
        let itself = Party::Host(host);
        let mut own = Allowed::default();
        for placement in &parties.parsed.placements {
            if placement.entry.on.iter().any(|on| on.value == name) {
                own.extend(&ports::of(parties.parsed, placement));
            }
        }
        if lab.platform.dns.iter().flat_map(|dns| dns.on.iter()).any(|on| on.value == name) {
            own.extend(&Allowed::both(53));
        }
        if lab.platform.reverse_proxy.iter().flat_map(|proxy| proxy.on.iter()).any(|on| on.value == name) {
            own.extend(&Allowed::tcp([80, 443]));
        }
        let named = self.grants_between(itself, itself).into_iter().filter(|grant| self.is_for_containers(grant, host));
        named.for_each(|grant| own.extend(&grant.allowed));
        own
    }

    /// Whether a grant is one of a host's containers to it. What is said of a whole zone is said between its machines.
    pub(super) fn is_for_containers(&self, grant: &Grant, host: usize) -> bool {
        grant.from == End::Host(host)
    }

    /// Whether a way from a host to itself is one of its containers': the host itself needs none.
    pub(super) fn is_of_its_containers(&self, grant: &Grant) -> bool {
        let contained = matches!(grant.from, End::Host(host) if self.parties.hosts[host].containers);
        grant.from == grant.to && contained && matches!(grant.why, Why::Flow | Why::Watching)
    }
}

#[cfg(test)]
mod tests {
    use labwright_model::{Files, Parsed, parse};

    use crate::network::answer::{Answer, Nobody, Sought, somebody, target};
    use crate::network::exposed::exposed;
    use crate::network::nft::ruleset;
    use crate::network::work_order::{markdown, work_order};
    use crate::network::{Matrix, Party};

    struct One(String);

    impl Files for One {
        fn read(&self, _: &str) -> Result<Vec<u8>, String> {
            Ok(self.0.as_bytes().to_vec())
        }
        fn list(&self, _: &str) -> Option<Vec<String>> {
            None
        }
    }

    fn lab(text: &str) -> Parsed {
        parse("lab.yaml", &One(format!("lab: home\n{text}")))
    }

    fn reach(matrix: &Matrix<'_>, from: &str, to: &str) -> Answer {
        let (name, asked) = target(to).unwrap();
        let from = somebody(matrix, from, Sought::AtHome).unwrap();
        let to = somebody(matrix, name, Sought::AtHome).unwrap();
        matrix.answer(&from[0], &to[0], &asked)
    }

    fn hops(answer: &Answer) -> String {
        let hop = |hop: &crate::network::answer::Hop| format!("{}{}", hop.name, if hop.enforces { "!" } else { "" });
        answer.hops.iter().map(hop).collect::<Vec<_>>().join(" > ")
    }

    const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

    #[test]
    fn a_network_behind_a_peer_is_the_vpns_and_not_the_internet() {
        let parsed = lab(&format!(
            r#"
edge:
  router: gw
  vpn: {{ wireguard: {{ peers: {{ cabin: {{ address: 10.9.0.5, public_key: "{KEY}", networks: 10.77.0.0/24 }}, way-out: {{ address: 10.9.0.6, public_key: "{KEY}", networks: 0.0.0.0/0 }} }} }} }}
network:
  firewall: enforce
  zones:
    lan: {{ subnet: 10.1.1.0/24, kind: clients }}
    guest: {{ subnet: 10.1.5.0/24 }}
    vpn: {{ subnet: 10.9.0.0/24, interface: wg0 }}
  flows:
    - {{ from: guest, to: internet }}
    - {{ from: vpn, to: web, allow: https }}
    - {{ from: internet, to: web, allow: 8443/tcp }}
compute:
  hosts:
    gw: {{ zone: lan, address: [10.1.1.1, 10.1.5.1] }}
    web: {{ zone: lan, address: 10.1.1.9 }}
"#
        ));
        let matrix = Matrix::of(&parsed);
        let vpn = matrix.parties.zone("vpn").unwrap();
        assert_eq!(matrix.parties.who("10.77.0.10".parse().unwrap()), Party::Device(vpn));
        assert_eq!(matrix.parties.who("9.9.9.9".parse().unwrap()), Party::Internet);
        assert!(!reach(&matrix, "guest", "10.77.0.10:445").allowed);
        assert!(reach(&matrix, "guest", "9.9.9.9:445").allowed);
        assert!(reach(&matrix, "10.77.0.10", "web:443").allowed && !reach(&matrix, "10.77.0.10", "web:8443").allowed);
        let router = ruleset(&matrix, "gw").unwrap();
        let part = |name: &str| router.split(&format!("set {name} {{")).nth(1).unwrap().split("\t}\n").next().unwrap();
        assert!(part("lab4").contains("10.77.0.0/24"), "{router}");
        assert!(router.contains("10.77.0.0/24 . 10.1.1.9 . 443"), "{router}");
    }

    #[test]
    fn a_vpn_that_ends_beside_the_router_passes_through_where_it_ends() {
        let parsed = lab(&format!(
            r#"
edge: {{ router: {{ on: gw, kind: unifi }}, vpn: {{ wireguard: {{ on: vpnbox, peers: {{ phone: {{ address: 10.9.0.2, public_key: "{KEY}" }} }} }} }} }}
network:
  firewall: enforce
  zones:
    lan: {{ subnet: 10.1.1.0/24, kind: clients }}
    srv: {{ subnet: 10.1.2.0/24, kind: servers }}
    vpn: {{ subnet: 10.9.0.0/24, interface: wg0 }}
  flows:
    - {{ from: lan, to: srv, allow: ssh }}
    - {{ from: vpn, to: srv, allow: [ssh, https] }}
    - {{ from: vpn, to: internet }}
    - {{ from: lan, to: vpn, allow: 3389/tcp }}
compute:
  hosts:
    gw: {{ zone: lan, address: [10.1.1.1, 10.1.2.1], os: other }}
    vpnbox: {{ zone: srv, address: 10.1.2.9 }}
    web: {{ zone: srv, address: 10.1.2.5 }}
"#
        ));
        let matrix = Matrix::of(&parsed);
        assert_eq!(hops(&reach(&matrix, "vpn", "web:443")), "another device in vpn > vpnbox! > web!");
        assert_eq!(hops(&reach(&matrix, "vpn", "internet:443")), "another device in vpn > vpnbox! > gw > internet");
        assert_eq!(
            hops(&reach(&matrix, "lan", "vpn:3389")),
            "another device in lan > gw > vpnbox! > another device in vpn"
        );
        let r#box = ruleset(&matrix, "vpnbox").unwrap();
        for element in ["10.9.0.0/24 . 10.1.2.2-10.1.2.255 . 443", "10.1.1.0/24 . 10.9.0.0/24 . 3389", "jump between"] {
            assert!(r#box.contains(element), "{element}\n{}", r#box);
        }
        // What is not the VPN's it does not pass on, and nothing refers to a set that it does not have.
        assert!(!r#box.contains("10.1.1.0/24 . 10.1.2.0/24") && !r#box.contains("moving_through"), "{}", r#box);
        assert!(!ruleset(&matrix, "web").unwrap().contains("jump between"));
        let order = markdown(&work_order(&matrix));
        assert!(order.contains("| 10.9.0.0/24 | 10.1.2.9 | vpnbox |"), "{order}");
        assert!(order.contains("| lan | gw | icmp, 67/udp |") && !order.contains("| vpn | gw | icmp, 67"), "{order}");
    }

    #[test]
    fn what_no_firewall_can_know_is_not_said_to_be_open() {
        let parsed = lab(r#"
edge: { router: gw }
network:
  firewall: enforce
  zones:
    lan: { subnet: 10.1.1.0/24, kind: clients }
    srv: { subnet: 10.1.2.0/24, kind: servers }
    dim: { interface: eth9 }
  flows:
    - { from: lan, to: [gw, srv, box], allow: ssh }
    - { from: [lan, srv], to: internet, allow: https }
    - { from: box, to: web, allow: https }
    - { from: dim, to: web, allow: https }
    - { from: internet, to: web, allow: any }
    - { from: internet, to: srv, allow: 8443/tcp }
    - { from: internet, to: other, allow: 8444/tcp }
compute:
  hosts:
    gw: { zone: lan, address: [10.1.1.1, 10.1.2.1] }
    web: { zone: srv, address: 10.1.2.5 }
    other: { zone: srv, address: 10.1.2.6 }
    box: { zone: lan }
"#);
        let matrix = Matrix::of(&parsed);
        for (from, to, allowed, turn) in [
            ("box", "web:443", false, "give it `address: …`"),
            ("dim", "web:443", false, "give the zone `subnet: …`"),
            ("internet", "web:443", false, "- { from: internet, to: web, allow: 443/tcp }"),
            ("internet", "srv:8443", false, "to: HOST"),
            // In its own zone nobody is in between, and what it sends has the zone's addresses.
            ("lan", "box:22", true, "narrow the flow"),
            ("box", "internet:443", true, "narrow the flow"),
            ("internet", "other:8444", true, "narrow the flow"),
        ] {
            let answer = reach(&matrix, from, to);
            assert_eq!(answer.allowed, allowed, "{from} to {to}: {answer:#?}");
            assert!(answer.turn.contains(turn), "{from} to {to}: {}", answer.turn);
        }
        let web = exposed(&matrix).remove(0).reaches;
        assert_eq!(web.iter().map(|one| one.to.as_str()).collect::<Vec<_>>(), ["other"]);
        // What has its address by DHCP is let out to the internet all the same.
        assert!(ruleset(&matrix, "box").unwrap().contains("ip daddr != @lab4 tcp dport @out_internet_tcp accept"));
    }

    #[test]
    fn a_container_is_let_to_its_own_host_by_a_flow() {
        let parsed = lab(r#"
network:
  firewall: enforce
  zones: { srv: { subnet: 10.1.2.0/24, kind: servers } }
  flows: [{ from: srv, to: srv, allow: ssh }, { from: prom, to: mon, allow: 9100/tcp }]
compute:
  hosts:
    mon: { zone: srv, address: 10.1.2.7 }
services:
  prom: { on: mon, containers: { prom: { image: "p:1", ports: ["9090:9090"] } } }
"#);
        let matrix = Matrix::of(&parsed);
        assert!(reach(&matrix, "prom", "mon:9100").allowed && reach(&matrix, "prom", "mon:9090").allowed);
        assert!(reach(&matrix, "mon", "mon:22").allowed && !reach(&matrix, "prom", "mon:22").allowed);
        assert!(reach(&matrix, "prom", "mon:22").turn.contains("- { from: mon, to: mon, allow: 22/tcp }"));
        let rules = ruleset(&matrix, "mon").unwrap();
        assert!(
            rules.contains("iifname @containers jump own_services")
                && rules.contains("\ttcp dport { 9090, 9100 } accept"),
            "{rules}"
        );
    }

    #[test]
    fn who_stands_on_the_internet_is_not_behind_the_router() {
        let parsed = lab(r#"
network:
  firewall: enforce
  zones: { lan: { subnet: 10.1.1.0/24, kind: clients } }
  flows: [{ from: internet, to: vps, allow: https }, { from: lan, to: lan, allow: ssh }]
edge: { router: gw }
compute:
  hosts:
    gw: { zone: lan, address: 10.1.1.1 }
    vps: { os: other, address: 198.18.7.7 }
"#);
        let matrix = Matrix::of(&parsed);
        let answer = reach(&matrix, "internet", "vps:443");
        assert_eq!((hops(&answer).as_str(), answer.enforced), ("internet > vps", false));
        assert_eq!(hops(&reach(&matrix, "lan", "vps:443")), "another device in lan > gw! > vps");
    }

    #[test]
    fn a_vpn_that_is_no_zone_is_not_the_internet() {
        let text = format!(
            r#"
edge: {{ router: gw, vpn: {{ wireguard: {{ address: 10.9.0.1, peers: {{ phone: {{ address: 10.9.0.2, public_key: "{KEY}", networks: 10.77.0.0/24 }} }} }} }} }}
network:
  firewall: enforce
  zones: {{ lan: {{ subnet: 10.1.1.0/24, kind: clients }} }}
  flows: [{{ from: internet, to: web, allow: https }}, {{ from: lan, to: internet, allow: ssh }}]
compute:
  hosts:
    gw: {{ zone: lan, address: 10.1.1.1 }}
    web: {{ zone: lan, address: 10.1.1.9 }}
"#
        );
        let parsed = lab(&text);
        let matrix = Matrix::of(&parsed);
        for address in ["10.9.0.2", "10.77.0.9"] {
            let who = somebody(&matrix, address, Sought::AtHome).err();
            assert_eq!(who, Some(Nobody::Zoneless("wg0".to_string())), "{address}");
        }
        assert!(somebody(&matrix, "10.9.0.3", Sought::AtHome).is_ok_and(|all| all[0].party == Party::Internet));
        // No firewall takes it for the internet, either way.
        let router = ruleset(&matrix, "gw").unwrap();
        let lab4 = router.split("set lab4 {").nth(1).unwrap().split("\t}\n").next().unwrap();
        assert!(lab4.contains("10.9.0.1-10.9.0.2") && lab4.contains("10.77.0.0/24"), "{lab4}");
        let all = exposed(&matrix);
        let vpn = all.iter().find(|one| one.kind == "vpn").unwrap();
        assert_eq!((vpn.from.as_str(), vpn.reaches.len()), ("WireGuard `wg0`, which is no zone", 0));
        // With a zone it is somebody.
        let parsed = lab(&text.replace("zones: {", "zones: { away: { subnet: 10.9.0.0/24 },"));
        let matrix = Matrix::of(&parsed);
        assert_eq!(
            matrix.parties.who("10.9.0.2".parse().unwrap()),
            Party::Device(matrix.parties.zone("away").unwrap())
        );
    }

    #[test]
    fn the_end_of_a_vpn_is_known_by_its_address_inside() {
        let text = format!(
            r#"
edge: {{ router: gw, vpn: {{ wireguard: {{ peers: {{ cabin: {{ address: 10.9.0.4, public_key: "{KEY}" }} }} }} }} }}
network:
  firewall: enforce
  zones:
    lan: {{ subnet: 10.1.1.0/24, kind: clients }}
    vpn: {{ subnet: 10.9.0.0/24, interface: wg0 }}
  flows: [{{ from: gw, to: cabin, allow: 9100/tcp }}, {{ from: vpn, to: cabin, allow: https }}]
compute:
  hosts:
    gw: {{ zone: lan, address: 10.1.1.1 }}
    cabin: {{ zone: vpn, address: 10.9.0.4 }}
"#
        );
        let parsed = lab(&text);
        let matrix = Matrix::of(&parsed);
        let gw = matrix.parties.host("gw").unwrap();
        assert_eq!(matrix.parties.who("10.9.0.1".parse().unwrap()), Party::Host(gw));
        // By that address it comes, with its own rights and not with those of the VPN.
        let rules = ruleset(&matrix, "cabin").unwrap();
        assert!(rules.contains("10.9.0.1 . 9100 ") && !rules.contains("10.9.0.1 . 443 "), "{rules}");
        assert!(rules.contains("10.9.0.2-10.9.0.255 . 443 "), "{rules}");
        // Said otherwise it is another one.
        let parsed = lab(&text.replace("wireguard: {", "wireguard: { address: 10.9.0.77,"));
        assert_eq!(Matrix::of(&parsed).parties.who("10.9.0.77".parse().unwrap()), Party::Host(gw));
    }
}
