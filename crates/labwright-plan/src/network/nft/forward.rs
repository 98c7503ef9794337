//! What a router adds: who may pass to whom, what the internet may reach behind it, and translation to the internet.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use labwright_model::Span;

use super::keys::{Cells, Key, Way};
use super::sets::{Part, address, comment, outside, port, set};
use crate::network::allowed::{Allowed, Try};
use crate::network::matrix::Matrix;
use crate::network::parties::{End, Party};
use crate::network::ranges::{Family, number};

/// Who a set of pairs is about: whole zones, or single hosts. Two sets, because elements of one must not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Zones,
    Hosts,
}

impl Source {
    fn word(self) -> &'static str {
        match self {
            Source::Zones => "zones",
            Source::Hosts => "hosts",
        }
    }
}

struct Pairs {
    source: Source,
    part: Part,
    family: Family,
    elements: Vec<String>,
}

/// Between the internet and the lab, one way.
struct Outer {
    inward: bool,
    part: Part,
    family: Family,
    elements: Vec<String>,
}

/// Everything that may pass through the router.
pub struct Ways {
    pairs: Vec<Pairs>,
    outer: Vec<Outer>,
}

impl Ways {
    /// What may pass through a host; through one that a VPN ends at, what its zones open and what is opened to them.
    pub fn of<'m>(matrix: &'m Matrix<'_>, cells: &Cells<'m>, through: usize, about: &[usize]) -> Ways {
        let all = cells.pairs(matrix, about);
        // What zones have open between them, an address in them need not have by itself.
        let around = |key: Key| match key {
            Key::Address(address) => cells.covering(address).map(Key::Zone),
            _ => None,
        };
        let mut ways = Ways { pairs: Vec::new(), outer: Vec::new() };
        let mut pairs: BTreeMap<(u8, Family, u8), Vec<String>> = BTreeMap::new();
        let mut outer: BTreeMap<(bool, Family, u8), Vec<String>> = BTreeMap::new();
        // What the host opens or takes itself does not pass through it.
        let own: &[IpAddr] = &matrix.parties.hosts[through].addresses;
        let is_own = |key: &Key| matches!(key, Key::Address(address) if own.contains(address));
        for ((from, to), way) in all.iter().filter(|((from, to), _)| !is_own(from) && !is_own(to)) {
            match (from, to) {
                (Key::Internet, Key::Internet) => {}
                (Key::Internet, inside) | (inside, Key::Internet) => {
                    let inward = *from == Key::Internet;
                    let zone = around(*inside).and_then(|zone| match inward {
                        true => all.get(&(Key::Internet, zone)),
                        false => all.get(&(zone, Key::Internet)),
                    });
                    let allowed = without(&way.allowed, zone.map(|zone| &zone.allowed));
                    for (family, who) in texts(matrix, *inside) {
                        elements(matrix, &who, &allowed, way, |part, element| {
                            outer.entry((inward, family, part as u8)).or_default().push(element);
                        });
                    }
                }
                (from, to) => {
                    let mut allowed = way.allowed.clone();
                    if let Some(zone) = around(*to) {
                        allowed = without(&allowed, all.get(&(*from, zone)).map(|way| &way.allowed));
                    }
                    let source = if matches!(from, Key::Zone(_)) { Source::Zones } else { Source::Hosts };
                    if let (Source::Hosts, Some(zone)) = (source, around(*from)) {
                        // Shorter, and the same: the other set has it.
                        allowed = without(&allowed, all.get(&(zone, *to)).map(|way| &way.allowed));
                    }
                    for (family, who) in texts(matrix, *from) {
                        for (_, whom) in texts(matrix, *to).into_iter().filter(|(other, _)| *other == family) {
                            elements(matrix, &format!("{who} . {whom}"), &allowed, way, |part, element| {
                                pairs.entry((source as u8, family, part as u8)).or_default().push(element);
                            });
                        }
                    }
                }
            }
        }
        let part = |number: u8| Part::ALL[usize::from(number)];
        for ((source, family, number), elements) in pairs {
            let source = if source == Source::Zones as u8 { Source::Zones } else { Source::Hosts };
            ways.pairs.push(Pairs { source, part: part(number), family, elements });
        }
        for ((inward, family, number), elements) in outer {
            ways.outer.push(Outer { inward, part: part(number), family, elements });
        }
        ways
    }

    pub fn sets(&self, out: &mut String) {
        out.push_str("\n\t# Who may open connections to whom through this router.\n");
        for pairs in &self.pairs {
            let name = address(pairs.family);
            let ports = if pairs.part.has_ports() { " . inet_service" } else { "" };
            set(out, &pairs.name(), &format!("{name} . {name}{ports}"), true, &pairs.elements);
        }
        for outer in &self.outer {
            let ports = if outer.part.has_ports() { " . inet_service" } else { "" };
            set(out, &outer.name(), &format!("{}{ports}", address(outer.family)), true, &outer.elements);
        }
    }

    pub fn rules(&self) -> Vec<String> {
        let mut rules = Vec::new();
        for pairs in &self.pairs {
            let (ip, guard) = (pairs.family.word(), pairs.part.guard(pairs.family));
            let ports = if pairs.part.has_ports() { format!(" . {} dport", pairs.part.word()) } else { String::new() };
            rules.push(format!("{guard}{ip} saddr . {ip} daddr{ports} @{} accept", pairs.name()));
        }
        for outer in &self.outer {
            let (here, there) = if outer.inward { ("daddr", "saddr") } else { ("saddr", "daddr") };
            let (ip, guard) = (outer.family.word(), outer.part.guard(outer.family));
            let ports = if outer.part.has_ports() { format!(" . {} dport", outer.part.word()) } else { String::new() };
            let outside = outside(outer.family, there);
            rules.push(format!("{guard}{outside} {ip} {here}{ports} @{} accept", outer.name()));
        }
        rules
    }
}

impl Pairs {
    fn name(&self) -> String {
        format!("from_{}_{}{}", self.source.word(), self.part.word(), self.family.digit())
    }
}

impl Outer {
    fn name(&self) -> String {
        let way = if self.inward { "from" } else { "to" };
        format!("{way}_internet_{}{}", self.part.word(), self.family.digit())
    }
}

fn without(allowed: &Allowed, known: Option<&Allowed>) -> Allowed {
    known.map_or_else(|| allowed.clone(), |known| allowed.minus(known))
}

/// The intervals of a key, as they are written.
fn texts(matrix: &Matrix<'_>, key: Key) -> Vec<(Family, String)> {
    match key {
        Key::Internet => Vec::new(),
        Key::Address(address) => {
            let (family, number) = (Family::of(address), number(address));
            vec![(family, family.interval(number, number))]
        }
        Key::Zone(zone) => {
            let of_family = |family: Family| {
                let ranges = matrix.parties.ranges(zone, family).iter();
                ranges.map(move |(first, last)| (family, family.interval(first, last))).collect::<Vec<_>>()
            };
            Family::ALL.into_iter().flat_map(of_family).collect()
        }
    }
}

fn elements(matrix: &Matrix<'_>, who: &str, allowed: &Allowed, way: &Way<'_>, mut add: impl FnMut(Part, String)) {
    for part in Part::ALL {
        let Some(ports) = part.of(allowed) else { continue };
        if !part.has_ports() {
            add(part, format!("{who}{}", comment(matrix, &way.grants, Try::Ping)));
        }
        for (first, last) in ports.iter() {
            let tried = if part == Part::Tcp { Try::Tcp(first as u16) } else { Try::Udp(first as u16) };
            add(part, format!("{who} . {}{}", port(first, last), comment(matrix, &way.grants, tried)));
        }
    }
}

/// Ports at the router's public address that lead to a host behind it.
#[derive(Clone, Debug)]
pub struct Forwarded {
    pub host: usize,
    pub address: Ipv4Addr,
    pub allowed: Allowed,
    pub span: Span,
}

/// A port that two hosts want of the one public address: the second does not get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub first: usize,
    pub second: usize,
    pub ports: String,
    pub span: Span,
}

/// What the internet may reach at hosts behind the router, and what cannot be had twice.
pub fn forwards(matrix: &Matrix<'_>) -> (Vec<Forwarded>, Vec<Conflict>) {
    let parties = &matrix.parties;
    let (mut all, mut conflicts): (Vec<Forwarded>, Vec<Conflict>) = (Vec::new(), Vec::new());
    let Some(router) = parties.router else { return (all, conflicts) };
    let mut taken: Vec<(usize, Allowed)> = vec![(router, matrix.between(Party::Internet, Party::Host(router)))];
    for host in (0..parties.hosts.len()).filter(|host| *host != router) {
        let grants = matrix.grants.iter().filter(|grant| (grant.from, grant.to) == (End::Internet, End::Host(host)));
        let mut wanted = Allowed::default();
        let mut span = Span::NONE;
        for grant in grants {
            // "Any" can be let through; to whom a port of the one address leads it does not say.
            if !grant.allowed.any {
                wanted.extend(&grant.allowed);
                span = grant.span;
            }
        }
        wanted.ping = false;
        // Its address in a VPN is no way to it from outside.
        let address = parties.hosts[host].entry.address.iter().find_map(|address| match address.value {
            IpAddr::V4(address) if address.is_private() => Some(address),
            _ => None,
        });
        let (Some(address), false) = (address, wanted.is_empty()) else { continue };
        for (first, known) in &taken {
            let mut both = wanted.clone();
            both.tcp = both.tcp.and(&known.tcp);
            both.udp = both.udp.and(&known.udp);
            if !both.is_empty() {
                conflicts.push(Conflict { first: *first, second: host, ports: both.to_string(), span });
                wanted = wanted.minus(&both);
            }
        }
        if !wanted.is_empty() {
            taken.push((host, wanted.clone()));
            all.push(Forwarded { host, address, allowed: wanted, span });
        }
    }
    (all, conflicts)
}

/// Maps from a public port to who answers behind it.
pub fn maps(out: &mut String, forwarded: &[Forwarded]) {
    for (word, ports) in protocols(forwarded) {
        let _ = write!(
            out,
            "\n\t# Ports of the public address that lead inside.\n\tmap public_{word} {{\n\t\ttype inet_service : ipv4_addr\n\
             \t\tflags interval\n\t\telements = {{\n"
        );
        for (ports, address) in ports {
            let _ = writeln!(out, "\t\t\t{ports} : {address},");
        }
        out.push_str("\t\t}\n\t}\n");
    }
}

/// The ports of each protocol, where there are any, with the address that they lead to.
fn protocols(forwarded: &[Forwarded]) -> Vec<(&'static str, Vec<(String, Ipv4Addr)>)> {
    let of = |word: &'static str| {
        let ports = forwarded.iter().flat_map(|one| {
            let ranges = if word == "tcp" { &one.allowed.tcp } else { &one.allowed.udp };
            ranges.iter().map(|(first, last)| (port(first, last), one.address)).collect::<Vec<_>>()
        });
        (word, ports.collect::<Vec<_>>())
    };
    [of("tcp"), of("udp")].into_iter().filter(|(_, ports)| !ports.is_empty()).collect()
}

/// To the internet by the router's own address; and in at its public ports, from outside and from inside.
pub fn translation(out: &mut String, matrix: &Matrix<'_>, forwarded: &[Forwarded]) {
    // A host of the lab that stands on the internet is reached over it.
    let zones = matrix.parties.zone_ranges(Family::V4);
    let inside = if zones == matrix.parties.lab_ranges(Family::V4) { "lab4" } else { "zones4" };
    if inside == "zones4" {
        let parts = super::sets::by_zone(matrix, Family::V4, zones);
        out.push_str("\n\t# What is reached without the internet in between.\n");
        set(out, inside, address(Family::V4), true, &parts);
    }
    if !forwarded.is_empty() {
        out.push_str(
            "\n\t# The public address is one of this router's that is in no zone, so the lab finds it from inside too.\n\
             \tchain public {\n\t\ttype nat hook prerouting priority dstnat; policy accept;\n\n",
        );
        for (word, _) in protocols(forwarded) {
            let _ = writeln!(
                out,
                "\t\tip daddr != @{inside} fib daddr type local dnat ip to {word} dport map @public_{word}"
            );
        }
        out.push_str("\t}\n");
    }
    out.push_str(
        "\n\t# IPv4 leaves by this router's own address; IPv6 has addresses enough, and is let through as it is.\n\
         \tchain leaving {\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n\n",
    );
    if !forwarded.is_empty() {
        out.push_str("\t\tip saddr @lab4 ip daddr @lab4 ct status dnat masquerade comment \"back the same way\"\n");
    }
    let _ = write!(out, "\t\tip saddr @{inside} ip daddr != @{inside} fib daddr type unicast masquerade\n\t}}\n");
}
