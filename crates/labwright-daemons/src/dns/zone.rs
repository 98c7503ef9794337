//! The lab's own names, answered with authority: every answer is written once, when a snapshot comes, and copied after
//! that. Wildcards as RFC 4592 has them; names that must never leave the lab as RFC 6303, 6761 and 8375 have them.
//!
//! Knows nothing of caches, lists and upstreams.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
use labwright_model::snapshot::dns::{Data, DnsSnapshot, Record};

use super::wire::{self, Code, Query, hash};

/// How many CNAMEs are followed inside the lab.
const MAX_CHAIN: usize = 8;
/// Seconds that a secondary or a reader of the zone file goes by; nobody transfers this zone.
const REFRESH: [i32; 3] = [3600, 600, 604_800];

/// Names whose hash is the key already.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

type ByHash = HashMap<u64, u32, BuildHasherDefault<Same>>;

/// One set of records of one name, ready to be copied behind the question.
#[derive(Clone, Default)]
struct Set {
    kind: u16,
    count: u16,
    records: Vec<u8>,
    /// Where the name goes on outside of the lab: the last CNAME of the chain.
    beyond: Option<Vec<u8>>,
}

#[derive(Default)]
struct Node {
    name: Vec<u8>,
    sets: Vec<Set>,
    /// What any type is answered with that has no set: the name is an alias.
    alias: Option<Set>,
    /// The node of the wildcard right below.
    wildcard: Option<u32>,
    /// The zone that the name is in.
    zone: Option<u32>,
    /// Where the name and all below it are asked.
    forward: Option<u32>,
    /// The name is there, with records, or above one that has some.
    exists: bool,
    declared: bool,
}

/// All zones of a snapshot.
pub struct Zones {
    by_hash: ByHash,
    nodes: Vec<Node>,
    /// The SOA record of each zone, with its owner.
    negative: Vec<Vec<u8>>,
    /// The SOA record for names that the lab answers in place of the world: each is its own owner.
    here: Vec<u8>,
}

/// What the lab's own zones say to a question.
pub enum Local<'a> {
    Answer(wire::Reply<'a>),
    /// The name is another one's alias, and that one is not the lab's.
    Alias {
        records: &'a [u8],
        answers: u16,
        target: &'a [u8],
    },
    /// Not the lab's; a domain with upstreams of its own has its number here.
    Elsewhere(Option<u32>),
}

/// What a zone or name cannot be, in words.
type Fault = String;

impl Zones {
    /// Writes all answers.
    ///
    /// # Errors
    /// The first name or record that cannot be served, in words.
    pub fn new(snapshot: &DnsSnapshot, serial: u64) -> Result<Zones, Fault> {
        let mut zones = Zones { by_hash: ByHash::default(), nodes: Vec::new(), negative: Vec::new(), here: Vec::new() };
        let soa = soa(snapshot, serial)?;
        zones.here = record(None, snapshot.negative_ttl, &soa)?;
        for zone in &snapshot.zones {
            zones.zone(zone, snapshot, &soa)?;
        }
        for domain in NEVER_ASKED.iter().map(|domain| domain.to_string()).chain(private_reverse()) {
            let taken = |name: &String| *name == domain;
            let forwarded = snapshot.forward.domains.iter().any(|forward| forward.domain == domain);
            if !snapshot.zones.iter().any(taken) && !forwarded {
                zones.zone(&domain, snapshot, &soa)?;
            }
        }
        for (number, forward) in snapshot.forward.domains.iter().enumerate() {
            let node = zones.node(&name(&forward.domain)?);
            zones.nodes[node].forward = Some(place(number)?);
        }
        let fixed = fixed();
        let mut groups: Vec<(&str, Vec<&Record>)> = Vec::new();
        for record in snapshot.records.iter().chain(&fixed) {
            match groups.last_mut() {
                Some((name, group)) if *name == record.name => group.push(record),
                _ => groups.push((&record.name, vec![record])),
            }
        }
        for (name, records) in groups {
            zones.declare(name, &records)?;
        }
        zones.settle();
        zones.chains()?;
        Ok(zones)
    }

    /// How many names have records.
    pub fn len(&self) -> usize {
        self.nodes.iter().filter(|node| node.declared).count()
    }

    /// The names that have records, in wire form.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.nodes.iter().filter(|node| node.declared).map(|node| &node.name[..])
    }

    fn find(&self, name: &[u8], hash: u64) -> Option<&Node> {
        let node = self.nodes.get(*self.by_hash.get(&hash)? as usize)?;
        (node.name == name).then_some(node)
    }

    /// What the lab itself says to a question.
    pub fn answer(&self, query: &Query) -> Local<'_> {
        for skipped in 0..=query.labels() {
            let (name, hash) = query.from_label(skipped);
            let Some(node) = self.find(name, hash) else { continue };
            if let Some(forward) = node.forward {
                return Local::Elsewhere(Some(forward));
            }
            if skipped == 0 && node.exists && (node.declared || node.zone.is_some()) {
                return self.of(node, node, query.kind);
            }
            if skipped > 0
                && let Some(wildcard) = node.wildcard
            {
                return self.of(&self.nodes[wildcard as usize], node, query.kind);
            }
            if node.zone.is_some() && skipped > 0 {
                return Local::Answer(self.negative(node, Code::NxDomain));
            }
        }
        Local::Elsewhere(None)
    }

    fn negative(&self, node: &Node, code: Code) -> wire::Reply<'_> {
        let records = match node.zone.and_then(|zone| self.negative.get(zone as usize)) {
            Some(soa) => soa,
            None => &self.here,
        };
        wire::Reply { code: code as u8, authoritative: true, authorities: 1, records, ..wire::Reply::default() }
    }

    fn of<'a>(&'a self, node: &'a Node, zone: &Node, kind: u16) -> Local<'a> {
        let set = node.sets.iter().find(|set| set.kind == kind).or(node.alias.as_ref());
        match set {
            None => Local::Answer(self.negative(zone, Code::NoError)),
            Some(set) => match &set.beyond {
                Some(target) => Local::Alias { records: &set.records, answers: set.count, target },
                None => Local::Answer(wire::Reply {
                    authoritative: true,
                    answers: set.count,
                    records: &set.records,
                    ..wire::Reply::default()
                }),
            },
        }
    }

    /// The node of a name, made where there is none.
    fn node(&mut self, name: &[u8]) -> usize {
        let hash = hash(name);
        if let Some(at) = self.by_hash.get(&hash) {
            return *at as usize;
        }
        let at = self.nodes.len();
        self.by_hash.insert(hash, at as u32);
        self.nodes.push(Node { name: name.to_vec(), ..Node::default() });
        at
    }

    fn zone(&mut self, domain: &str, snapshot: &DnsSnapshot, soa: &RData) -> Result<(), Fault> {
        let owner = name(domain)?;
        let at = self.node(&owner);
        let number = place(self.negative.len())?;
        self.negative.push(record(Some(&owner), snapshot.negative_ttl, soa)?);
        let mut servers = Set { kind: wire::NS, ..Set::default() };
        for server in &snapshot.servers {
            servers.records.extend(record(None, 3600, &RData::NS(NS(hickory(server)?)))?);
            servers.count += 1;
        }
        let start = Set { kind: wire::SOA, count: 1, records: record(None, 3600, soa)?, beyond: None };
        let node = &mut self.nodes[at];
        node.zone = Some(number);
        node.exists = true;
        node.sets.push(start);
        if servers.count > 0 {
            node.sets.push(servers);
        }
        Ok(())
    }

    fn declare(&mut self, name_: &str, records: &[&Record]) -> Result<(), Fault> {
        let (owner, wild) = match name_.strip_prefix("*.") {
            Some(below) => (below, true),
            None => (name_, false),
        };
        let base = name(owner)?;
        let at = match wild {
            false => self.node(&base),
            true => {
                let starred = name(name_)?;
                let (parent, star) = (self.node(&base), self.node(&starred));
                self.nodes[parent].wildcard = Some(place(star)?);
                star
            }
        };
        let mut sets: Vec<Set> = Vec::new();
        for entry in records {
            let data = rdata(&entry.data)?;
            let kind = u16::from(data.record_type());
            let bytes = record(None, entry.ttl, &data)?;
            match sets.iter_mut().find(|set| set.kind == kind) {
                Some(set) if kind == wire::CNAME => {
                    return Err(format!("`{name_}` is an alias of two names ({} records)", set.count + 1));
                }
                Some(set) => {
                    set.count += 1;
                    set.records.extend(bytes);
                }
                None => sets.push(Set { kind, count: 1, records: bytes, beyond: None }),
            }
        }
        if sets.len() > 1 && sets.iter().any(|set| set.kind == wire::CNAME) {
            return Err(format!("`{name_}` is an alias (CNAME) and has other records, which no name can"));
        }
        let node = &mut self.nodes[at];
        node.sets.extend(sets);
        node.exists = true;
        node.declared = true;
        Ok(())
    }

    /// Names above those with records exist as well, without any (empty non-terminals); each name learns its zone.
    fn settle(&mut self) {
        let declared: Vec<Vec<u8>> =
            self.nodes.iter().filter(|node| node.exists).map(|node| node.name.clone()).collect();
        for whole in declared {
            let mut rest = &whole[..];
            let mut above = Vec::new();
            let mut zone = None;
            while let Some((size, after)) = rest.split_first().filter(|(size, _)| **size > 0) {
                if let Some(found) = self.find(rest, hash(rest)).and_then(|node| node.zone) {
                    zone = Some(found);
                    break;
                }
                above.push(rest.to_vec());
                rest = &after[usize::from(*size)..];
            }
            for name in above {
                // Outside of the lab's zones only the name itself is the lab's.
                if zone.is_some() {
                    let at = self.node(&name);
                    self.nodes[at].zone = zone;
                    self.nodes[at].exists = true;
                }
            }
        }
    }

    /// Puts behind each alias what it leads to in the lab, so that one answer is enough.
    fn chains(&mut self) -> Result<(), Fault> {
        let aliases: Vec<usize> =
            (0..self.nodes.len()).filter(|at| self.nodes[*at].sets.iter().any(|set| set.kind == wire::CNAME)).collect();
        let mut written = Vec::new();
        for at in aliases {
            let Some(first) = self.nodes[at].sets.iter().find(|set| set.kind == wire::CNAME) else { continue };
            let (mut chain, mut count) = (first.records.clone(), first.count);
            let mut target = target(&first.records).ok_or("an alias without a name")?;
            let mut seen = vec![self.nodes[at].name.clone()];
            let end = loop {
                if seen.contains(&target) || seen.len() > MAX_CHAIN {
                    return Err(format!(
                        "`{}` is an alias that leads back to itself",
                        wire::shown(&self.nodes[at].name)
                    ));
                }
                seen.push(target.clone());
                let Some(node) = self.resolve(&target) else { break None };
                let Some(next) = node.sets.iter().find(|set| set.kind == wire::CNAME) else { break Some(node) };
                chain.extend(with_owner(&target, next));
                count += next.count;
                target = self::target(&next.records).ok_or("an alias without a name")?;
            };
            let alone = Set { kind: 0, count, records: chain.clone(), beyond: None };
            let sets = match end {
                // What is in a zone of the lab and is not there leads nowhere; what is not the lab's is asked elsewhere.
                None if self.is_own(&target) => (alone, Vec::new()),
                None => (Set { beyond: Some(target.clone()), ..alone }, Vec::new()),
                Some(node) => {
                    let behind = node.sets.iter().map(|set| {
                        let mut records = chain.clone();
                        records.extend(with_owner(&target, set));
                        Set { kind: set.kind, count: count + set.count, records, beyond: None }
                    });
                    (alone, behind.collect())
                }
            };
            written.push((at, sets));
        }
        for (at, (alone, behind)) in written {
            let node = &mut self.nodes[at];
            node.sets.extend(behind);
            node.alias = Some(alone);
        }
        Ok(())
    }

    /// The node that answers for a name: its own, or a wildcard above.
    fn resolve(&self, name: &[u8]) -> Option<&Node> {
        let mut rest = name;
        let mut first = true;
        while let Some((size, after)) = rest.split_first().filter(|(size, _)| **size > 0) {
            if let Some(node) = self.find(rest, hash(rest)) {
                match (first, node.wildcard) {
                    (true, _) if node.declared => return Some(node),
                    (false, Some(wildcard)) => return self.nodes.get(wildcard as usize),
                    _ if node.zone.is_some() || node.forward.is_some() => return None,
                    _ => {}
                }
            }
            first = false;
            rest = &after[usize::from(*size)..];
        }
        None
    }

    fn is_own(&self, name: &[u8]) -> bool {
        let mut rest = name;
        while let Some((size, after)) = rest.split_first().filter(|(size, _)| **size > 0) {
            if let Some(node) = self.find(rest, hash(rest))
                && (node.zone.is_some() || node.forward.is_some())
            {
                return node.forward.is_none();
            }
            rest = &after[usize::from(*size)..];
        }
        false
    }
}

/// Names that mean nothing outside of one machine or one lab: asking the world for them would only tell it about the lab.
const NEVER_ASKED: &[&str] = &["localhost", "invalid", "onion", "local", "home.arpa", "test", "internal"];

/// The reverse zones of private, loopback and link-local addresses (RFC 6303, RFC 7793).
fn private_reverse() -> impl Iterator<Item = String> {
    let numbered =
        |from: u8, to: u8, below: &'static str| (from..=to).map(move |n| format!("{n}.{below}.in-addr.arpa"));
    let plain = ["0", "10", "127", "254.169", "168.192", "255.255.255.255"].map(|zone| format!("{zone}.in-addr.arpa"));
    let six = ["d.f", "8.e.f", "9.e.f", "a.e.f", "b.e.f"].map(|zone| format!("{zone}.ip6.arpa"));
    plain.into_iter().chain(six).chain(numbered(16, 31, "172")).chain(numbered(64, 127, "100"))
}

/// What every resolver answers for the machine itself.
fn fixed() -> Vec<Record> {
    let record = |name: &str, data: Data| Record { name: name.to_string(), ttl: 3600, data };
    let (four, six) = ([127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into());
    ["localhost", "*.localhost"]
        .into_iter()
        .flat_map(|name| [record(name, Data::Address(four)), record(name, Data::Address(six))])
        .chain([record("1.0.0.127.in-addr.arpa", Data::Ptr("localhost".into()))])
        .collect()
}

fn place(number: usize) -> Result<u32, Fault> {
    u32::try_from(number).map_err(|_| "there are too many names".to_string())
}

fn name(text: &str) -> Result<Vec<u8>, Fault> {
    wire::wire(text).ok_or_else(|| format!("`{text}` is no name: labels have 1 to 63 characters, a name 253"))
}

fn hickory(text: &str) -> Result<Name, Fault> {
    let labels = text.trim_end_matches('.').split('.').filter(|label| !label.is_empty()).map(str::as_bytes);
    Name::from_labels(labels).map_err(|error| format!("`{text}` is no name: {error}"))
}

fn soa(snapshot: &DnsSnapshot, serial: u64) -> Result<RData, Fault> {
    let server = snapshot.servers.first().map_or("resolver.invalid", String::as_str);
    let contact = format!("hostmaster.{}", snapshot.zones.first().map_or("resolver.invalid", String::as_str));
    let [refresh, retry, expire] = REFRESH;
    // Serials count on a circle (RFC 1982), so the low half of a generation is one.
    let serial = (serial & u64::from(u32::MAX)) as u32;
    let ttl = snapshot.negative_ttl;
    Ok(RData::SOA(SOA::new(hickory(server)?, hickory(&contact)?, serial, refresh, retry, expire, ttl)))
}

/// A record's data as hickory has it.
///
/// # Errors
/// The name in it that is none.
pub(super) fn rdata(data: &Data) -> Result<RData, Fault> {
    Ok(match data {
        Data::Address(std::net::IpAddr::V4(address)) => RData::A(A(*address)),
        Data::Address(std::net::IpAddr::V6(address)) => RData::AAAA(AAAA(*address)),
        Data::Cname(name) => RData::CNAME(CNAME(hickory(name)?)),
        Data::Ptr(name) => RData::PTR(PTR(hickory(name)?)),
        // One string holds 255 octets; longer texts are several, which readers put together (RFC 7208, 3.3).
        Data::Txt(text) => RData::TXT(TXT::from_bytes(match text.is_empty() {
            true => vec![&[]],
            false => text.as_bytes().chunks(255).collect(),
        })),
        Data::Mx { preference, exchange } => RData::MX(MX::new(*preference, hickory(exchange)?)),
        Data::Srv { priority, weight, port, target } => {
            RData::SRV(SRV::new(*priority, *weight, *port, hickory(target)?))
        }
    })
}

/// One record in wire form; without an owner it points to the question's name.
fn record(owner: Option<&[u8]>, ttl: u32, data: &RData) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).map_err(|error| format!("a record that cannot be written: {error}"))?;
    let length = u16::try_from(bytes.len()).map_err(|_| "a record of more than 65,535 octets".to_string())?;
    let mut record = owner.unwrap_or(&[0xc0, 12]).to_vec();
    record.extend(u16::from(data.record_type()).to_be_bytes());
    record.extend([0, 1]);
    record.extend(ttl.to_be_bytes());
    record.extend(length.to_be_bytes());
    record.extend(bytes);
    Ok(record)
}

/// The records of a set with their owner written out.
fn with_owner(owner: &[u8], set: &Set) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = &set.records[..];
    while rest.len() >= 12 {
        let length = 12 + usize::from(u16::from_be_bytes([rest[10], rest[11]]));
        out.extend(owner);
        out.extend(&rest[2..length.min(rest.len())]);
        rest = &rest[length.min(rest.len())..];
    }
    out
}

/// The name that a CNAME record leads to.
fn target(record: &[u8]) -> Option<Vec<u8>> {
    record.get(12..).map(|name| name.to_ascii_lowercase())
}

#[cfg(test)]
#[path = "zone_tests.rs"]
mod tests;
