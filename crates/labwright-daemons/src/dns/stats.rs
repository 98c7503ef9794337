//! What became of queries: totals that are exact, and a record of each for the log, the recent ones and the top lists.
//!
//! Threads that answer write records as octets into a buffer of their own; one thread reads those a few times a second. A
//! flood fills the buffer, and what no longer fits is counted as not recorded: the log must never slow an answer down.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What became of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    Local = 0,
    Blocked = 1,
    Cached = 2,
    Stale = 3,
    Forwarded = 4,
    Failed = 5,
    Refused = 6,
    Limited = 7,
    Malformed = 8,
    /// A special answer: `ANY`, a canary, a private address that was kept back.
    Special = 9,
}

/// All outcomes, in the order of their numbers, with the words of log and metrics.
pub const OUTCOMES: [(Outcome, &str); 10] = [
    (Outcome::Local, "local"),
    (Outcome::Blocked, "blocked"),
    (Outcome::Cached, "cached"),
    (Outcome::Stale, "stale"),
    (Outcome::Forwarded, "forwarded"),
    (Outcome::Failed, "failed"),
    (Outcome::Refused, "refused"),
    (Outcome::Limited, "limited"),
    (Outcome::Malformed, "malformed"),
    (Outcome::Special, "special"),
];

impl Outcome {
    pub fn word(self) -> &'static str {
        OUTCOMES[self as usize].1
    }
}

/// Octets that records may take between two readings, for each thread: a few thousand queries.
const BUFFER: usize = 256 << 10;
/// No list.
pub const NO_LIST: u8 = u8::MAX;

/// What one thread counts. Only it writes, so nothing is fought over.
#[derive(Default)]
pub struct Tally {
    outcomes: [AtomicU64; OUTCOMES.len()],
    unrecorded: AtomicU64,
    records: Mutex<Vec<u8>>,
}

/// One query, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Milliseconds since 1970.
    pub at: u64,
    pub client: IpAddr,
    pub outcome: Outcome,
    /// The number of the list that blocked it.
    pub list: u8,
    pub code: u8,
    pub kind: u16,
    pub micros: u32,
    /// In wire form and lower case.
    pub name: Vec<u8>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is noted of one query, beside its outcome.
pub struct Note<'a> {
    pub at: u64,
    pub client: IpAddr,
    pub list: u8,
    pub code: u8,
    pub kind: u16,
    pub micros: u32,
    pub name: &'a [u8],
}

/// Octets of a record without its name.
const FIXED: usize = 8 + 16 + 1 + 1 + 1 + 2 + 4 + 1;

impl Tally {
    /// Counts a query without keeping it.
    pub fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a query and keeps it for the log.
    pub fn note(&self, outcome: Outcome, note: &Note<'_>) {
        self.count(outcome);
        let mut records = lock(&self.records);
        if records.len() + FIXED + note.name.len() > BUFFER {
            self.unrecorded.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let client = match note.client {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        records.extend_from_slice(&note.at.to_le_bytes());
        records.extend_from_slice(&client);
        records.extend_from_slice(&[outcome as u8, note.list, note.code]);
        records.extend_from_slice(&note.kind.to_le_bytes());
        records.extend_from_slice(&note.micros.to_le_bytes());
        records.push(note.name.len() as u8);
        records.extend_from_slice(note.name);
    }
}

/// Takes one record off the front; `None` at the end.
fn take(bytes: &mut &[u8]) -> Option<Query> {
    let fixed: &[u8; FIXED] = bytes.first_chunk()?;
    let client = Ipv6Addr::from(<[u8; 16]>::try_from(&fixed[8..24]).ok()?).to_canonical();
    let end = FIXED + usize::from(fixed[FIXED - 1]);
    let query = Query {
        at: u64::from_le_bytes(fixed[..8].try_into().ok()?),
        client,
        outcome: OUTCOMES.get(usize::from(fixed[24]))?.0,
        list: fixed[25],
        code: fixed[26],
        kind: u16::from_le_bytes([fixed[27], fixed[28]]),
        micros: u32::from_le_bytes(fixed[29..33].try_into().ok()?),
        name: bytes.get(FIXED..end)?.to_vec(),
    };
    *bytes = bytes.get(end..)?;
    Some(query)
}

/// The tallies of all threads.
#[derive(Default)]
pub struct Tallies(Mutex<Vec<Arc<Tally>>>);

impl Tallies {
    /// A tally for one more thread.
    pub fn join(&self) -> Arc<Tally> {
        let tally = Arc::new(Tally::default());
        lock(&self.0).push(tally.clone());
        tally
    }

    pub fn total(&self, outcome: Outcome) -> u64 {
        lock(&self.0).iter().map(|tally| tally.outcomes[outcome as usize].load(Ordering::Relaxed)).sum()
    }

    /// Queries that were counted and not kept.
    pub fn unrecorded(&self) -> u64 {
        lock(&self.0).iter().map(|tally| tally.unrecorded.load(Ordering::Relaxed)).sum()
    }

    /// Takes all records, in the order of each thread.
    pub fn drain(&self, mut each: impl FnMut(Query)) {
        let tallies = lock(&self.0).clone();
        for tally in tallies {
            // The buffer is exchanged, not read, under the lock.
            let bytes = {
                let mut records = lock(&tally.records);
                let empty = Vec::with_capacity(records.capacity().min(BUFFER));
                std::mem::replace(&mut *records, empty)
            };
            let mut rest = &bytes[..];
            while let Some(query) = take(&mut rest) {
                each(query);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(name: &[u8]) -> Note<'_> {
        Note { at: 1_700_000_000_123, client: [10, 0, 30, 7].into(), list: 3, code: 3, kind: 28, micros: 70_000, name }
    }

    #[test]
    fn what_is_noted_is_read_back() {
        let tallies = Tallies::default();
        let tally = tallies.join();
        tally.note(Outcome::Blocked, &note(b"\x03ads\x07example\x00"));
        tally.note(Outcome::Local, &note(b"\x00"));
        let mut all = Vec::new();
        tallies.drain(|query| all.push(query));
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].outcome, all[0].client), (Outcome::Blocked, IpAddr::from([10, 0, 30, 7])));
        assert_eq!((all[0].at, all[0].kind, all[0].micros), (1_700_000_000_123, 28, 70_000));
        assert_eq!((all[0].list, all[0].code, &all[0].name[..]), (3, 3, &b"\x03ads\x07example\x00"[..]));
        assert_eq!(tallies.total(Outcome::Blocked), 1);
        tallies.drain(|_| panic!("each record is read once"));
    }

    #[test]
    fn a_flood_is_counted_and_bounded() {
        let tallies = Tallies::default();
        let tally = tallies.join();
        for _ in 0..100_000 {
            tally.note(Outcome::Cached, &note(b"\x03www\x07example\x00"));
        }
        let mut kept = 0;
        tallies.drain(|_| kept += 1);
        assert_eq!(tallies.total(Outcome::Cached), 100_000);
        assert_eq!(kept + tallies.unrecorded(), 100_000);
        assert!((4000..8000).contains(&kept), "{kept}");
    }

    #[test]
    fn every_outcome_has_its_place() {
        for (at, (outcome, word)) in OUTCOMES.iter().enumerate() {
            assert_eq!(*outcome as usize, at);
            assert_eq!(*word, labwright_model::snapshot::dns::told::OUTCOMES[at]);
        }
    }
}
