//! Sets of a table: who, or who and which port, one element a line with the flow that it comes from.

use std::fmt::Write;

use super::keys::{Line, Way};
use crate::network::allowed::{Allowed, Try};
use crate::network::matrix::{Grant, Matrix, Why};
use crate::network::ranges::{Family, Ranges, number};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    #[default]
    In,
    Out,
}

impl Direction {
    /// The other end, as nftables calls it.
    fn field(self) -> &'static str {
        match self {
            Direction::In => "saddr",
            Direction::Out => "daddr",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }
}

/// The addresses of a family, as a type.
pub fn address(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    }
}

/// What a set is a part of: who alone, for everything or for ping; or who and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Any,
    Ping,
    Tcp,
    Udp,
}

impl Part {
    pub const ALL: [Part; 4] = [Part::Any, Part::Ping, Part::Tcp, Part::Udp];

    pub fn word(self) -> &'static str {
        match self {
            Part::Any => "any",
            Part::Ping => "ping",
            Part::Tcp => "tcp",
            Part::Udp => "udp",
        }
    }

    pub fn has_ports(self) -> bool {
        matches!(self, Part::Tcp | Part::Udp)
    }

    /// Whether this part of what is allowed is there at all, and its ports.
    pub fn of(self, allowed: &Allowed) -> Option<Ranges> {
        let there = |yes: bool| yes.then(Ranges::default);
        match self {
            Part::Any => there(allowed.any),
            _ if allowed.any => None,
            Part::Ping => there(allowed.ping),
            Part::Tcp => Some(allowed.tcp.clone()).filter(|ports| !ports.is_empty()),
            Part::Udp => Some(allowed.udp.clone()).filter(|ports| !ports.is_empty()),
        }
    }

    fn tried(self, port: u128) -> Try {
        match self {
            Part::Tcp => Try::Tcp(port as u16),
            Part::Udp => Try::Udp(port as u16),
            Part::Any | Part::Ping => Try::Ping,
        }
    }

    /// What a packet must be to be looked up: `icmp type echo-request`, or nothing more than its ports.
    pub fn guard(self, family: Family) -> &'static str {
        match (self, family) {
            (Part::Ping, Family::V4) => "icmp type echo-request ",
            (Part::Ping, Family::V6) => "icmpv6 type echo-request ",
            _ => "",
        }
    }
}

pub fn port(first: u128, last: u128) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// One set with its elements, if it has any.
pub fn set(out: &mut String, name: &str, kind: &str, interval: bool, elements: &[String]) {
    let _ = write!(out, "\tset {name} {{\n\t\ttype {kind}\n");
    if interval {
        out.push_str("\t\tflags interval\n");
    }
    if !elements.is_empty() {
        out.push_str("\t\telements = {\n");
        for element in elements {
            out.push_str("\t\t\t");
            out.push_str(element);
            out.push_str(",\n");
        }
        out.push_str("\t\t}\n");
    }
    out.push_str("\t}\n");
}

/// Addresses as a reader looks for them: each zone's subnets by themselves, then what is beside them.
pub fn by_zone(matrix: &Matrix<'_>, family: Family, addresses: &Ranges) -> Vec<String> {
    let zones = || matrix.parties.zones.iter();
    let own = zones().flat_map(|zone| zone.entry.subnet.iter().map(|subnet| (zone.name, subnet.value)));
    let far = zones().flat_map(|zone| zone.sites.iter().map(|site| (zone.name, *site)));
    let (mut elements, mut rest) = (Vec::new(), addresses.clone());
    for (name, subnet) in own.chain(far).filter(|(_, subnet)| Family::of(subnet.0.network()) == family) {
        let whole = Ranges::of(number(subnet.0.network()), number(subnet.0.broadcast()));
        for (first, last) in whole.and(&rest).iter() {
            elements.push((first, format!("{} comment \"{}\"", family.interval(first, last), plain(name))));
        }
        rest = rest.minus(&whole);
    }
    elements.extend(rest.iter().map(|(first, last)| (first, family.interval(first, last))));
    elements.sort();
    elements.into_iter().map(|(_, text)| text).collect()
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '"' | '\\' | '`') && !c.is_control()).take(120).collect()
}

/// DHCP is asked for over IPv4 alone; over IPv6 there is another protocol for it, from addresses of the link.
fn is_dhcp(grants: &[&Grant], family: Family, part: Part, port: u128) -> bool {
    let lets = |grant: &&&Grant| grant.allowed.lets(Try::Udp(port as u16));
    (family, part, port) == (Family::V6, Part::Udp, 67)
        && grants.iter().filter(lets).all(|grant| grant.why == Why::Addresses)
}

/// The comment of an element: between whom, why, and where that is written. The kernel keeps 128 bytes of it.
pub fn comment(matrix: &Matrix<'_>, grants: &[&Grant], what: Try) -> String {
    const LONGEST: usize = 120;
    let Some(grant) = grants.iter().find(|grant| grant.allowed.lets(what)).or(grants.first()) else {
        return String::new();
    };
    // The file's own name alone: how the lab was called on the command line is no part of what a host loads.
    let place = matrix.place(grant.span);
    let place = place.rsplit('/').next().unwrap_or_default();
    let parties = &matrix.parties;
    let tail = if place.is_empty() { String::new() } else { format!(", {place}") };
    let (from, to) = (parties.name(grant.from), parties.name(grant.to));
    let ends = format!("{from} to {to}");
    let mut text = if grant.reason == ends { ends } else { format!("{ends}: {}", grant.reason) };
    text.retain(|c| !matches!(c, '"' | '\\' | '`') && !c.is_control());
    let tail: String = tail.chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_control()).collect();
    while text.len() + tail.len() > LONGEST && text.pop().is_some() {}
    if tail.len() > LONGEST {
        return format!(" comment \"{}\"", text.trim_end());
    }
    format!(" comment \"{}{tail}\"", text.trim_end())
}

/// What is open towards a host, or from it.
#[derive(Default)]
pub struct Open<'m> {
    pub direction: Direction,
    /// By part and family: the elements, and whether any is more than one address and one port.
    sets: Vec<(Part, Family, Vec<String>, bool)>,
    pub internet: Way<'m>,
    internet_sets: Vec<(Part, Vec<String>)>,
}

impl<'m> Open<'m> {
    pub fn new(matrix: &Matrix<'_>, direction: Direction, lines: Vec<Line<'m>>, internet: Way<'m>) -> Open<'m> {
        let mut sets = Vec::new();
        for family in Family::ALL {
            for part in Part::ALL {
                let (mut elements, mut interval) = (Vec::new(), false);
                for line in lines.iter().filter(|line| line.family == family) {
                    let Some(ports) = part.of(&line.allowed) else { continue };
                    interval |= line.first != line.last;
                    let who = family.interval(line.first, line.last);
                    if !part.has_ports() {
                        elements.push(format!("{who}{}", comment(matrix, &line.grants, part.tried(0))));
                    }
                    for (first, last) in ports.iter() {
                        if first == last && is_dhcp(&line.grants, family, part, first) {
                            continue;
                        }
                        interval |= first != last;
                        let why = comment(matrix, &line.grants, part.tried(first));
                        elements.push(format!("{who} . {}{why}", port(first, last)));
                    }
                }
                if !elements.is_empty() {
                    sets.push((part, family, elements, interval));
                }
            }
        }
        let mut internet_sets = Vec::new();
        for part in [Part::Tcp, Part::Udp] {
            let Some(ports) = part.of(&internet.allowed) else { continue };
            let element = |(first, last)| {
                format!("{}{}", port(first, last), comment(matrix, &internet.grants, part.tried(first)))
            };
            internet_sets.push((part, ports.iter().map(element).collect()));
        }
        Open { direction, sets, internet, internet_sets }
    }

    fn name(&self, part: Part, family: Family) -> String {
        format!("{}_{}{}", self.direction.word(), part.word(), family.digit())
    }

    fn internet_name(&self, part: Part) -> String {
        format!("{}_internet_{}", self.direction.word(), part.word())
    }

    pub fn sets(&self, out: &mut String, about: &str) {
        if !self.sets.is_empty() || !self.internet_sets.is_empty() {
            let _ = writeln!(out, "\n\t# {about}");
        }
        for (part, family, elements, interval) in &self.sets {
            let kind = match part.has_ports() {
                true => format!("{} . inet_service", address(*family)),
                false => address(*family).to_string(),
            };
            set(out, &self.name(*part, *family), &kind, *interval, elements);
        }
        for (part, elements) in &self.internet_sets {
            set(out, &self.internet_name(*part), "inet_service", true, elements);
        }
    }

    /// The rules that look a new connection up; `ports` says where a packet has the port that counts.
    pub fn rules(&self, ports: Ports, addressed: [bool; 2]) -> Vec<String> {
        let field = self.direction.field();
        let mut rules = Vec::new();
        for (part, family, ..) in &self.sets {
            let (ip, name) = (family.word(), self.name(*part, *family));
            rules.push(match part {
                Part::Any => format!("{ip} {field} @{name} accept"),
                Part::Ping if ports == Ports::Original => continue,
                Part::Ping => format!("{}{ip} {field} @{name} accept", part.guard(*family)),
                Part::Tcp | Part::Udp => {
                    let (guard, port) = ports.of(*part);
                    format!("{guard}{ip} {field} . {port} @{name} accept")
                }
            });
        }
        for (family, addressed) in Family::ALL.into_iter().zip(addressed) {
            // What has no address of a family has nothing to do with the internet over it.
            if !addressed || self.internet.allowed.is_empty() {
                continue;
            }
            let outside = outside(family, field);
            let allowed = &self.internet.allowed;
            if allowed.any {
                rules.push(format!("{outside} accept comment \"{}\"", self.internet_word()));
                continue;
            }
            if allowed.ping && ports == Ports::Own {
                rules.push(format!("{}{outside} accept", Part::Ping.guard(family)));
            }
            for (part, _) in &self.internet_sets {
                let (guard, port) = ports.of(*part);
                rules.push(format!("{outside} {guard}{port} @{} accept", self.internet_name(*part)));
            }
        }
        rules
    }

    fn internet_word(&self) -> &'static str {
        match self.direction {
            Direction::In => "from the internet",
            Direction::Out => "to the internet",
        }
    }
}

/// What is outside of the lab: over IPv6 only what is routed on the internet, so that no address of a kind of its own is
/// taken for it.
pub fn outside(family: Family, field: &str) -> String {
    match family {
        Family::V4 => format!("ip {field} != @lab4"),
        Family::V6 => format!("ip6 {field} 2000::/3 ip6 {field} != @lab6"),
    }
}

/// Where a packet has the port that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// In its own header.
    Own,
    /// In what it was before its destination was translated.
    Original,
}

impl Ports {
    fn of(self, part: Part) -> (String, String) {
        let word = part.word();
        match self {
            Ports::Own => (String::new(), format!("{word} dport")),
            Ports::Original => (format!("meta l4proto {word} "), "ct original proto-dst".to_string()),
        }
    }
}
