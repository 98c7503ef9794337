//! What others answered, kept as it goes out: a hit is a copy with the question, the header and the times put in.
//!
//! Negative answers are kept as RFC 2308 has it, answers that are out of date as RFC 8767 has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache as Store;

use super::wire::{self, HEADER, Query, Reply, Why};

/// Seconds that others may remember an answer that is out of date (RFC 8767, 5).
const STALE_TTL: u32 = 30;
/// Octets that an entry takes beside its message.
const OVERHEAD: u64 = 200;

/// What an answer is found by. Two names can have one hash, so an entry compares its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    name: u64,
    kind: u16,
    flags: u8,
}

impl Key {
    pub fn of(query: &Query) -> Key {
        let flags = u8::from(query.wants_signatures()) | u8::from(query.checking_disabled()) << 1;
        Key { name: query.hash(), kind: query.kind, flags }
    }
}

/// One answer.
#[derive(Debug)]
pub struct Entry {
    /// The whole message, without EDNS, with the question in lower case.
    message: Box<[u8]>,
    /// Where times stand in it.
    ttls: Box<[u16]>,
    /// The length of the name in the question.
    name: usize,
    /// Seconds of the resolver's clock.
    stored: u32,
    ttl: u32,
    /// The names that the answer leads on to: lists may have one of them.
    pub aliases: Box<[Box<[u8]>]>,
    /// An address in it is private: it may be an attack on what is inside (rebinding).
    pub leads_inside: bool,
    pub authenticated: bool,
    pub why: Option<Why>,
    /// It says that no upstream could answer.
    pub failed: bool,
    refreshing: AtomicBool,
    /// While no upstream answers, it is not asked again before this.
    retry: AtomicU32,
}

/// What an entry is made from, beside its message.
#[derive(Debug, Default)]
pub struct About {
    pub ttl: u32,
    pub aliases: Vec<Box<[u8]>>,
    pub leads_inside: bool,
    pub authenticated: bool,
    pub why: Option<Why>,
    pub failed: bool,
}

impl Entry {
    /// Keeps a message; `None` if it is not whole.
    pub fn new(message: Vec<u8>, now: u32, about: About) -> Option<Entry> {
        let ttls = wire::ttls(&message)?.into_boxed_slice();
        let end = wire::skip_name(&message, HEADER)?;
        Some(Entry {
            name: end - HEADER,
            message: message.into_boxed_slice(),
            ttls,
            stored: now,
            ttl: about.ttl,
            aliases: about.aliases.into_boxed_slice(),
            leads_inside: about.leads_inside,
            authenticated: about.authenticated,
            why: about.why,
            failed: about.failed,
            refreshing: AtomicBool::new(false),
            retry: AtomicU32::new(0),
        })
    }

    fn is_for(&self, query: &Query) -> bool {
        self.message.get(HEADER..HEADER + self.name).is_some_and(|name| name.eq_ignore_ascii_case(query.name()))
    }

    pub fn is_fresh(&self, now: u32) -> bool {
        now.saturating_sub(self.stored) < self.ttl
    }

    /// Whether it may stand in, `stale` seconds after it was out of date.
    pub fn may_stand_in(&self, now: u32, stale: u32) -> bool {
        !self.failed && now.saturating_sub(self.stored) < self.ttl.saturating_add(stale)
    }

    /// Whether it is time to ask again, and nobody does yet: the last tenth of its time has begun.
    pub fn is_to_refresh(&self, now: u32) -> bool {
        let left = self.ttl.saturating_sub(now.saturating_sub(self.stored));
        self.ttl >= 10 && left * 10 <= self.ttl && !self.failed && !self.refreshing.swap(true, Ordering::Relaxed)
    }

    /// No upstream answered: until then the old answer is given without asking.
    pub fn retry_after(&self, seconds: u32) {
        self.retry.store(seconds, Ordering::Relaxed);
    }

    pub fn is_waiting(&self, now: u32) -> bool {
        now < self.retry.load(Ordering::Relaxed)
    }

    /// The code of the reply.
    pub fn code(&self) -> u8 {
        self.message.get(3).map_or(0, |byte| byte & 15)
    }

    fn count(&self, at: usize) -> u16 {
        self.message.get(at..at + 2).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    /// The octets of its records.
    pub fn records(&self) -> &[u8] {
        self.message.get(HEADER + self.name + 4..).unwrap_or_default()
    }

    /// The message as it is now, with the times that are left.
    pub fn message(&self, now: u32, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.message);
        self.write_times(now, out);
    }

    /// Writes the reply to a query.
    pub fn write(&self, query: &Query, now: u32, limit: usize, out: &mut Vec<u8>) {
        let fresh = self.is_fresh(now);
        let reply = Reply {
            code: self.code(),
            authoritative: false,
            authenticated: self.authenticated && query.wants_authenticated(),
            answers: self.count(6),
            authorities: self.count(8),
            records: self.records(),
            why: if fresh || self.failed { self.why } else { Some(Why::StaleAnswer) },
        };
        wire::write(query, &reply, limit, out);
        if out.get(2).is_some_and(|flags| flags & 2 != 0) {
            return;
        }
        self.write_times(now, out);
    }

    /// Puts in the times that are left.
    fn write_times(&self, now: u32, out: &mut [u8]) {
        let fresh = self.is_fresh(now);
        let passed = now.saturating_sub(self.stored);
        for place in &self.ttls {
            let at = usize::from(*place);
            if let (Some(place), Some(ttl)) = (out.get_mut(at..at + 4), self.message.get(at..at + 4)) {
                let ttl = u32::from_be_bytes([ttl[0], ttl[1], ttl[2], ttl[3]]);
                let left = if fresh { ttl.saturating_sub(passed).max(1) } else { STALE_TTL };
                place.copy_from_slice(&left.to_be_bytes());
            }
        }
    }
}

#[derive(Clone)]
struct ByOctets;

impl Weighter<Key, Arc<Entry>> for ByOctets {
    fn weight(&self, _: &Key, entry: &Arc<Entry>) -> u64 {
        let aliases: usize = entry.aliases.iter().map(|alias| alias.len() + 16).sum();
        OVERHEAD + (entry.message.len() + entry.ttls.len() * 2 + aliases) as u64
    }
}

/// All answers, bounded by the memory they take; what is used least goes first.
pub struct Cache {
    store: Store<Key, Arc<Entry>, ByOctets>,
}

impl Cache {
    pub fn new(bytes: u64) -> Cache {
        let items = usize::try_from(bytes / 400).unwrap_or(usize::MAX).max(64);
        Cache { store: Store::with_weighter(items, bytes.max(64 << 10), ByOctets) }
    }

    pub fn get(&self, query: &Query) -> Option<Arc<Entry>> {
        self.store.get(&Key::of(query)).filter(|entry| entry.is_for(query))
    }

    pub fn put(&self, key: Key, entry: Arc<Entry>) {
        self.store.insert(key, entry);
    }

    /// Whether there is an answer for a key that is no failure.
    pub fn has_answer(&self, key: Key) -> bool {
        self.store.peek(&key).is_some_and(|entry| !entry.failed)
    }

    pub fn clear(&self) {
        self.store.clear();
    }

    pub fn resize(&self, bytes: u64) {
        self.store.set_capacity(bytes.max(64 << 10));
    }

    pub fn len(&self) -> usize {
        self.store.len()
    }

    pub fn bytes(&self) -> u64 {
        self.store.weight()
    }
}
