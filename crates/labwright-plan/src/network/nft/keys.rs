//! Ends of grants as what packets have: addresses, and intervals of them that do not overlap.
//! Sets of nftables take no two elements that overlap, so what an interval already lets through is left out below it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::sets::{Direction, Open};
use crate::network::allowed::Allowed;
use crate::network::matrix::{Grant, Matrix};
use crate::network::parties::{End, Parties};
use crate::network::ranges::{Family, number};

/// One end as it is seen on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Whatever is outside of the lab.
    Internet,
    /// The addresses of a zone.
    Zone(usize),
    Address(IpAddr),
}

/// What is open, and the grants that say so.
#[derive(Clone, Default)]
pub struct Way<'m> {
    pub allowed: Allowed,
    pub grants: Vec<&'m Grant>,
}

impl<'m> Way<'m> {
    fn add(&mut self, allowed: &Allowed, grants: &[&'m Grant]) {
        self.allowed.extend(allowed);
        self.grants.extend(grants);
    }
}

/// The cells of a matrix, by both of their ends.
pub struct Cells<'m> {
    cells: Vec<(End, End, &'m Allowed, Vec<&'m Grant>)>,
    by_from: HashMap<End, Vec<usize>>,
    by_to: HashMap<End, Vec<usize>>,
    /// Addresses of hosts that a zone's flows mean and its subnets do not have.
    strays: HashMap<usize, Vec<IpAddr>>,
    /// The zone whose subnets have the address of a host.
    covering: HashMap<IpAddr, usize>,
}

impl<'m> Cells<'m> {
    pub fn of(matrix: &'m Matrix<'_>) -> Cells<'m> {
        let mut cells: Vec<_> =
            matrix.cells().map(|(from, to, allowed, grants)| (from, to, allowed, grants.collect::<Vec<_>>())).collect();
        cells.sort_by_key(|(from, to, ..)| (*from, *to));
        let (mut by_from, mut by_to): (HashMap<End, Vec<usize>>, HashMap<End, Vec<usize>>) = Default::default();
        for (number, (from, to, ..)) in cells.iter().enumerate() {
            by_from.entry(*from).or_default().push(number);
            by_to.entry(*to).or_default().push(number);
        }
        let mut strays: HashMap<usize, Vec<IpAddr>> = HashMap::new();
        for (_, address, zone) in matrix.parties.strays() {
            strays.entry(zone).or_default().push(address);
        }
        let mut covering = HashMap::new();
        for address in matrix.parties.hosts.iter().flat_map(|host| &host.addresses) {
            let family = Family::of(*address);
            let zones = 0..matrix.parties.zones.len();
            let zone = zones.into_iter().find(|zone| matrix.parties.ranges(*zone, family).contains(number(*address)));
            covering.extend(zone.map(|zone| (*address, zone)));
        }
        Cells { cells, by_from, by_to, strays, covering }
    }

    /// What a packet may have at this end, of whatever family.
    fn keys(&self, parties: &Parties<'_>, end: End) -> Vec<Key> {
        match end {
            End::Internet => vec![Key::Internet],
            End::Zone(zone) => {
                let strays = self.strays.get(&zone).into_iter().flatten().map(|address| Key::Address(*address));
                std::iter::once(Key::Zone(zone)).chain(strays).collect()
            }
            End::Host(host) => parties.hosts[host].addresses.iter().map(|address| Key::Address(*address)).collect(),
        }
    }

    /// Everything that one host may take, or open.
    pub fn of_host(&self, matrix: &'m Matrix<'_>, host: usize, direction: Direction) -> Open<'m> {
        let parties = &matrix.parties;
        let index = if direction == Direction::In { &self.by_to } else { &self.by_from };
        let own: Vec<IpAddr> = parties.hosts[host].addresses.clone();
        let mut ways: BTreeMap<Key, Way<'m>> = BTreeMap::new();
        for end in parties.ends(crate::network::parties::Party::Host(host)) {
            for number in index.get(&end).into_iter().flatten() {
                let (from, to, allowed, grants) = &self.cells[*number];
                let other = if direction == Direction::In { *from } else { *to };
                for key in self.keys(parties, other) {
                    // To itself a host speaks over loopback.
                    if !matches!(key, Key::Address(address) if own.contains(&address)) {
                        ways.entry(key).or_default().add(allowed, grants);
                    }
                }
            }
        }
        let lines = self.lines(matrix, ways.iter().map(|(key, way)| (*key, way)), &|zone| ways.get(&Key::Zone(zone)));
        let internet = ways.remove(&Key::Internet).unwrap_or_default();
        Open::new(matrix, direction, lines, internet)
    }

    /// Every pair of keys that something is open between; with zones to be about, those that have one at an end.
    pub fn pairs(&self, matrix: &'m Matrix<'_>, about: &[usize]) -> BTreeMap<(Key, Key), Way<'m>> {
        let mut pairs: BTreeMap<(Key, Key), Way<'m>> = BTreeMap::new();
        // What a host may open to itself, its containers may, and nobody else is in between.
        let between =
            |(from, to, ..): &&(End, End, &'m Allowed, Vec<&'m Grant>)| from != to || matches!(from, End::Zone(_));
        for (from, to, allowed, grants) in self.cells.iter().filter(between) {
            let targets = self.keys(&matrix.parties, *to);
            for source in self.keys(&matrix.parties, *from) {
                for target in targets.iter().filter(|target| **target != source || matches!(target, Key::Zone(_))) {
                    if !about.is_empty() && !self.is_about(source, about) && !self.is_about(*target, about) {
                        continue;
                    }
                    pairs.entry((source, *target)).or_default().add(allowed, grants);
                }
            }
        }
        pairs
    }

    fn is_about(&self, key: Key, zones: &[usize]) -> bool {
        match key {
            Key::Internet => false,
            Key::Zone(zone) => zones.contains(&zone),
            Key::Address(address) => self.covering(address).is_some_and(|zone| zones.contains(&zone)),
        }
    }

    /// The intervals of each key, with what is open at them; what the zone around an address has open is left out.
    pub fn lines<'k>(
        &self,
        matrix: &Matrix<'_>,
        ways: impl Iterator<Item = (Key, &'k Way<'m>)>,
        of_zone: &dyn Fn(usize) -> Option<&'k Way<'m>>,
    ) -> Vec<Line<'m>>
    where
        'm: 'k,
    {
        let mut lines = Vec::new();
        for (key, way) in ways {
            match key {
                Key::Internet => {}
                Key::Zone(zone) => {
                    for family in Family::ALL {
                        for (first, last) in matrix.parties.ranges(zone, family).iter() {
                            let allowed = way.allowed.clone();
                            lines.push(Line { family, first, last, allowed, grants: way.grants.clone() });
                        }
                    }
                }
                Key::Address(address) => {
                    let around = self.covering.get(&address).and_then(|zone| of_zone(*zone));
                    let allowed = match around {
                        Some(around) => way.allowed.minus(&around.allowed),
                        None => way.allowed.clone(),
                    };
                    if !allowed.is_empty() {
                        let (family, number) = (Family::of(address), number(address));
                        lines.push(Line { family, first: number, last: number, allowed, grants: way.grants.clone() });
                    }
                }
            }
        }
        lines.sort_by_key(|line| (line.family, line.first));
        lines
    }

    pub fn covering(&self, address: IpAddr) -> Option<usize> {
        self.covering.get(&address).copied()
    }
}

/// An interval of addresses, and what is open at it.
pub struct Line<'m> {
    pub family: Family,
    pub first: u128,
    pub last: u128,
    pub allowed: Allowed,
    pub grants: Vec<&'m Grant>,
}
