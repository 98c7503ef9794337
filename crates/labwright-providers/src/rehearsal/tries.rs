//! What everybody tries, and what the matrix says will come of it. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use labwright_plan::network::nft::forwards;
use labwright_plan::network::ports;
use labwright_plan::network::ranges::{Family, Ranges};
use labwright_plan::network::{Allowed, Matrix, Party, Try};

use super::stage::{Stage, edges};

/// One connection that one machine tries to open to an address of another.
pub struct Tried {
    /// Numbers of `Stage::nodes`.
    pub from: usize,
    pub to: usize,
    pub address: IpAddr,
    pub what: Try,
    pub allowed: bool,
    /// Whether anything on the way would deny it.
    pub enforced: bool,
    /// Whether routes there and back are the same, so that it works where it is allowed.
    pub reliable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Through,
    Blocked,
}

pub struct Expected {
    pub tries: Vec<Tried>,
    pub pairs: usize,
    /// Ports that everybody listens on.
    pub tcp: Vec<u16>,
    pub udp: Vec<u16>,
}

impl Expected {
    pub fn of(matrix: &Matrix<'_>, stage: &Stage) -> Expected {
        let (tcp, udp) = spoken_of(matrix);
        let mut all: Vec<Try> = tcp.iter().map(|port| Try::Tcp(*port)).collect();
        all.extend(udp.iter().map(|port| Try::Udp(*port)));
        all.push(Try::Ping);
        let (mut tries, mut pairs) = (Vec::new(), 0);
        for (from, source) in stage.nodes.iter().enumerate() {
            for (to, target) in stage.nodes.iter().enumerate().filter(|(to, _)| *to != from) {
                let (Some(source_party), Some(party)) = (source.party, target.party) else { continue };
                pairs += 1;
                let mut open = matrix.between(source_party, party);
                if by_internet(matrix, source_party, party) {
                    open.extend(&matrix.between(Party::Internet, party));
                }
                let enforced = matrix.is_enforced(source_party, party);
                for address in &target.addresses {
                    let family = Family::of(*address);
                    if !source.addresses.iter().any(|own| Family::of(*own) == family) {
                        continue;
                    }
                    let best = best(matrix, source_party, party, *address, &target.addresses);
                    for what in &all {
                        let allowed = open.lets(*what);
                        tries.push(Tried {
                            from,
                            to,
                            address: *address,
                            what: *what,
                            allowed,
                            enforced,
                            reliable: best,
                        });
                    }
                }
            }
        }
        public(matrix, stage, &all, &mut tries);
        Expected { tries, pairs, tcp, udp }
    }
}

/// Whether an address is the one that a machine would be reached at from there: of a zone that both are in, or its first.
fn best(matrix: &Matrix<'_>, from: Party, to: Party, address: IpAddr, all: &[IpAddr]) -> bool {
    let family = Family::of(address);
    let near = |address: &IpAddr| {
        let zones = matrix.parties.zones_of(from);
        let subnets = zones.iter().flat_map(|zone| matrix.parties.zones[*zone].entry.subnet.iter());
        subnets.into_iter().any(|subnet| subnet.value.0.contains(address))
    };
    let of_family = || all.iter().filter(|other| Family::of(**other) == family);
    if by_internet(matrix, from, to) {
        return false;
    }
    // From where a VPN ends one is there at once; the answer goes by the router, which saw no question.
    let beside = |gate: usize, other: Party| {
        !matrix.parties.zones_of(Party::Host(gate)).is_disjoint(&matrix.parties.zones_of(other))
    };
    if let Some((gate, first)) = matrix.parties.gate(from, to)
        && matrix.parties.guarding_router().is_some()
        && beside(gate, if first { to } else { from })
    {
        return false;
    }
    // All of a router's addresses are one machine's, whatever way they are reached by.
    if matches!(to, Party::Host(host) if matrix.parties.router == Some(host)) {
        return true;
    }
    of_family().find(|address| near(address)).or_else(|| of_family().next()) == Some(&address)
}

/// Whether one stands on the internet and the other in a zone: there it is known by the address that the router gives it,
/// and by none of its own.
fn by_internet(matrix: &Matrix<'_>, from: Party, to: Party) -> bool {
    let outside = |party: Party| matches!(party, Party::Host(_)) && matrix.parties.zones_of(party).is_empty();
    outside(to) && !outside(from) && from != Party::Internet
}

/// The router's public address: from the internet, and from inside by way of it.
fn public(matrix: &Matrix<'_>, stage: &Stage, all: &[Try], tries: &mut Vec<Tried>) {
    let Some(router) = matrix.parties.guarding_router() else { return };
    let Some(to) = stage.nodes.iter().position(|node| node.party == Some(Party::Host(router))) else { return };
    let (forwarded, _) = forwards(matrix);
    for (from, node) in stage.nodes.iter().enumerate() {
        let Some(party) = node.party.filter(|party| *party != Party::Host(router)) else { continue };
        // What a host may open to the internet is another question; a device shows what the router does.
        if matches!(party, Party::Host(_)) {
            continue;
        }
        for address in
            stage.public.iter().filter(|address| node.addresses.iter().any(|own| own.is_ipv4() == address.is_ipv4()))
        {
            for what in all {
                let inside = forwarded.iter().find(|one| one.allowed.lets(*what) && address.is_ipv4());
                let allowed = match inside {
                    Some(one) => matrix.between(party, Party::Host(one.host)).lets(*what),
                    None => {
                        matrix.between(party, Party::Host(router)).lets(*what) && has(matrix, router, party, *address)
                    }
                };
                let to = inside
                    .and_then(|one| stage.nodes.iter().position(|node| node.party == Some(Party::Host(one.host))))
                    .unwrap_or(to);
                tries.push(Tried { from, to, address: *address, what: *what, allowed, enforced: true, reliable: true });
            }
        }
    }
}

/// Over a family that the router has no address of, the internet reaches nothing of it.
fn has(matrix: &Matrix<'_>, router: usize, from: Party, address: IpAddr) -> bool {
    from != Party::Internet || matrix.parties.host_addresses(router, Family::of(address)).next().is_some()
}

/// Every port that a grant or a service names, with those beside a range; and one that nobody names.
fn spoken_of(matrix: &Matrix<'_>) -> (Vec<u16>, Vec<u16>) {
    let mut named = Allowed::default();
    let (mut tcp, mut udp): (BTreeSet<u16>, BTreeSet<u16>) = Default::default();
    let services = matrix.parties.parsed.placements.iter().map(|placement| ports::of(matrix.parties.parsed, placement));
    let grants = matrix.grants.iter().map(|grant| grant.allowed.clone());
    for allowed in services.chain(grants) {
        tcp.extend(edges(&allowed.tcp));
        udp.extend(edges(&allowed.udp));
        named.extend(&allowed);
    }
    tcp.insert(22);
    udp.insert(53);
    for (ports, ranges) in [(&mut tcp, &named.tcp), (&mut udp, &named.udp)] {
        ports.extend(unnamed(ranges));
    }
    (tcp.into_iter().collect(), udp.into_iter().collect())
}

fn unnamed(ranges: &Ranges) -> Option<u16> {
    (20000..30000u16).find(|port| !ranges.contains((*port).into()))
}
