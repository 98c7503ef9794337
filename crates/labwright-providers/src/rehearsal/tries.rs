//! What everybody tries, and what the matrix says will come of it. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use labwright_plan::network::nft::forwards;
use labwright_plan::network::ports;
use labwright_plan::network::ranges::{Family, Ranges};
use labwright_plan::network::{Allowed, Grant, Matrix, Party, Try, Why};

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
    /// Whether an answer would go by the router, which saw no question and drops it.
    pub unanswered: bool,
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
                let unanswered = matrix.unanswered(source_party, party).is_some();
                let passed = unguarded(matrix, source_party, party);
                for address in &target.addresses {
                    let family = Family::of(*address);
                    if !source.addresses.iter().any(|own| Family::of(*own) == family) {
                        continue;
                    }
                    let best = best(matrix, source_party, party, *address, &target.addresses);
                    for what in &all {
                        let allowed = open.lets(*what) && !is_dhcp(matrix, source_party, party, *address, *what);
                        let enforced = match &passed {
                            None => matrix.is_enforced(source_party, party),
                            Some(own) => matrix.is_enforced(source_party, party) && !own.lets(*what),
                        };
                        tries.push(Tried {
                            from,
                            to,
                            address: *address,
                            what: *what,
                            allowed,
                            enforced,
                            reliable: best && !unanswered,
                            unanswered,
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
    // Where a VPN ends one is in the networks of its end, too.
    let gate = matrix.parties.gate(from, to);
    let near = |address: &IpAddr| {
        let mut zones = matrix.parties.zones_of(from);
        zones.extend(
            gate.filter(|(_, first)| *first).iter().flat_map(|(gate, _)| matrix.parties.zones_of(Party::Host(*gate))),
        );
        let mut subnets = zones.iter().flat_map(|zone| matrix.parties.zones[*zone].entry.subnet.iter());
        subnets.any(|subnet| subnet.value.0.contains(address))
    };
    let of_family = || all.iter().filter(|other| Family::of(**other) == family);
    if by_internet(matrix, from, to) {
        return false;
    }
    // Into a tailnet from beside its subnet router: the question goes by the router, and the answer past it.
    let beside = |gate: usize, other: Party| {
        !matrix.parties.zones_of(Party::Host(gate)).is_disjoint(&matrix.parties.zones_of(other))
    };
    // An end that has no address of the family outside of the VPN leads nowhere over it.
    let outside = |own: IpAddr| {
        let vpn = matrix.parties.hub.map(|(_, zone)| matrix.parties.zones[zone].entry);
        !vpn.is_some_and(|zone| zone.subnet.iter().any(|subnet| subnet.value.0.contains(&own)))
    };
    if let Some((gate, _)) = gate
        && !matrix.parties.host_addresses(gate, family).any(outside)
    {
        return false;
    }
    let hub = |host: usize| matrix.parties.hub.is_some_and(|(hub, _)| hub == host);
    if let Some((gate, false)) = gate
        && !hub(gate)
        && matrix.parties.guarding_router().is_some()
        && beside(gate, from)
    {
        return false;
    }
    // All of a router's addresses are one machine's, whatever way they are reached by.
    if matches!(to, Party::Host(host) if matrix.parties.router == Some(host)) {
        return true;
    }
    of_family().find(|address| near(address)).or_else(|| of_family().next()) == Some(&address)
}

/// Whether it is what addresses are given out by over IPv4: over IPv6 only a flow of its own opens that port.
fn is_dhcp(matrix: &Matrix<'_>, from: Party, to: Party, address: IpAddr, what: Try) -> bool {
    let asked = address.is_ipv6() && what == Try::Udp(67);
    let lets = |grant: &&Grant| grant.allowed.lets(what);
    asked && matrix.grants_between(from, to).into_iter().filter(lets).all(|grant| grant.why == Why::Addresses)
}

/// What a subnet router may open itself, where a tailnet comes in by it and it has no firewall: whoever is behind it sees
/// its address, and cannot tell the tailnet from it.
fn unguarded(matrix: &Matrix<'_>, from: Party, to: Party) -> Option<Allowed> {
    let parties = &matrix.parties;
    let within = |zone: usize| parties.zones_of(from).into_iter().eq([zone]) && !parties.zones_of(to).contains(&zone);
    let (host, _) = parties.subnet_routers.iter().find(|(_, zone)| within(*zone))?;
    let between = from != Party::Host(*host) && to != Party::Host(*host) && !parties.guards(*host);
    between.then(|| matrix.between(Party::Host(*host), to))
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
                        let to = Party::Host(router);
                        let open = matrix.between(party, to).lets(*what) && has(matrix, router, party, *address);
                        open && !is_dhcp(matrix, party, to, *address, *what)
                    }
                };
                let to = inside
                    .and_then(|one| stage.nodes.iter().position(|node| node.party == Some(Party::Host(one.host))))
                    .unwrap_or(to);
                tries.push(Tried {
                    from,
                    to,
                    address: *address,
                    what: *what,
                    allowed,
                    enforced: true,
                    // Where a VPN ends beside the router, nobody knows that the public address is the router's.
                    reliable: matrix.parties.gate(party, Party::Host(router)).is_none(),
                    unanswered: false,
                });
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
