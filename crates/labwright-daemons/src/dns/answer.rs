//! The way of a query, in the order of what is cheapest and surest: what is no query, who may ask, the lab's own names,
//! lists, what is remembered, and only then others.
//!
//! Everything but the last is done where the query came in, without waiting and without allocating.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use labwright_model::snapshot::dns::Blocked;
use tokio::runtime::Handle;

use super::cache::{About, Cache, Entry, Key};
use super::clock::Clock;
use super::limit::Limiter;
use super::lists::table::Verdict;
use super::resolve::{Asked, Bounds, Resolver};
use super::stats::{NO_LIST, Note, Outcome, Tallies, Tally};
use super::view::View;
use super::wire::{self, Code, Fault, Query, Reply, Why};
use super::zone::Local;

/// How long a client waits for a fresh answer while there is an old one (RFC 8767, 5: the client response timer).
const STALE_AFTER: Duration = Duration::from_millis(1800);
/// Seconds before upstreams are tried again for a name whose old answer stands in (the same, the failure recheck timer).
const RECHECK: u32 = 30;
/// Seconds that a client may remember that a name is blocked: not long, so that a pause is felt.
const BLOCKED_TTL: u8 = 10;
/// Asked for by Firefox before it goes past the resolver of the network, and by Apple's devices before they use a relay.
const CANARIES: &[&[u8]] =
    &[b"\x13use-application-dns\x03net\x00", b"\x04mask\x06icloud\x03com\x00", b"\x07mask-h2\x06icloud\x03com\x00"];
/// "No": what `ANY` is answered with (RFC 8482, 4.2), as a HINFO record.
const ANY_ANSWER: &[u8] = b"\xc0\x0c\x00\x0d\x00\x01\x00\x00\x0e\x10\x00\x09\x07RFC8482\x00";
/// Types that are no records: transfers (AXFR, IXFR) and mail of old.
const TRANSFERS: std::ops::RangeInclusive<u16> = 251..=254;

/// What all threads share.
pub struct Core {
    view: Mutex<Arc<View>>,
    /// Goes up with each view, so that a thread sees that its own is old without a lock.
    epoch: AtomicU64,
    pub cache: Arc<Cache>,
    pub resolver: Arc<Resolver>,
    pub limiter: Limiter,
    pub tallies: Tallies,
    streams: Arc<Tally>,
    pub clock: Clock,
    pub runtime: Handle,
}

/// Where a query came from.
#[derive(Clone, Copy)]
pub struct Source {
    pub client: IpAddr,
    /// Octets of the longest reply; over UDP the client says.
    pub stream: bool,
    pub began: Instant,
    /// Milliseconds since 1970.
    pub at: u64,
}

/// What became of a query at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// The reply is written.
    Reply,
    /// Nothing is said.
    Silence,
    /// Others have to be asked: `Core::later`.
    Later,
}

/// One thread's way to the view.
pub struct Seat {
    view: Arc<View>,
    epoch: u64,
    pub tally: Arc<Tally>,
}

impl Core {
    pub fn new(view: View, runtime: Handle) -> Core {
        let tallies = Tallies::default();
        let (cache, clock) = (Arc::new(Cache::new(view.snapshot.cache.bytes)), Clock::start());
        Core {
            streams: tallies.join(),
            tallies,
            resolver: Arc::new(Resolver::new(runtime.clone(), cache.clone(), clock)),
            cache,
            view: Mutex::new(Arc::new(view)),
            epoch: AtomicU64::new(1),
            limiter: Limiter::default(),
            clock,
            runtime,
        }
    }

    pub fn view(&self) -> Arc<View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Exchanges the view for what `make` makes of the one that is in use.
    ///
    /// # Errors
    /// What `make` says; the view stays.
    pub fn exchange<E>(&self, make: impl FnOnce(&View) -> Result<Option<View>, E>) -> Result<bool, E> {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(new) = make(&view)? else { return Ok(false) };
        *view = Arc::new(new);
        self.epoch.fetch_add(1, Ordering::Release);
        Ok(true)
    }

    pub fn seat(&self) -> Seat {
        let epoch = self.epoch.load(Ordering::Acquire);
        Seat { view: self.view(), epoch, tally: self.tallies.join() }
    }

    /// A seat for a connection: all connections count in one tally, since they come and go.
    pub fn seat_of_stream(&self) -> Seat {
        let epoch = self.epoch.load(Ordering::Acquire);
        Seat { view: self.view(), epoch, tally: self.streams.clone() }
    }

    /// Answers a query, or says that it has to wait.
    pub fn answer(&self, seat: &mut Seat, query: &mut Query, datagram: &[u8], from: Source, out: &mut Vec<u8>) -> Done {
        let epoch = self.epoch.load(Ordering::Acquire);
        if epoch != seat.epoch {
            (seat.view, seat.epoch) = (self.view(), epoch);
        }
        let (view, tally) = (&*seat.view, &*seat.tally);
        if let Err(fault) = query.read(datagram) {
            tally.count(Outcome::Malformed);
            return match fault {
                Fault::Silence => Done::Silence,
                Fault::Answer(code) => {
                    wire::write(query, &Reply { code: code as u8, ..Reply::default() }, wire::MAX_UDP, out);
                    Done::Reply
                }
            };
        }
        if let Some(done) = self.refuse(view, query, from, tally, out) {
            return done;
        }
        let now = self.clock.now();
        let limit = limit(query, from);
        let domain = match view.zones.answer(query) {
            Local::Answer(reply) => {
                wire::write(query, &reply, limit, out);
                note(tally, Outcome::Local, query, from, reply.code, NO_LIST);
                return Done::Reply;
            }
            Local::Alias { .. } => return self.unless_declined(query, from, tally, out),
            Local::Elsewhere(domain) => domain,
        };
        if view.snapshot.filter.canary && CANARIES.contains(&query.name()) {
            let reply = Reply { code: Code::NxDomain as u8, ..Reply::default() };
            wire::write(query, &reply, limit, out);
            note(tally, Outcome::Special, query, from, reply.code, NO_LIST);
            return Done::Reply;
        }
        let lists = view.filter.lists_for(from.client, now);
        if let Verdict::Blocked { list, .. } = view.filter.compiled.table.verdict(query, lists) {
            block(view, query, limit, out);
            note(tally, Outcome::Blocked, query, from, out[3] & 15, list);
            return Done::Reply;
        }
        let Some(entry) = self.cache.get(query) else { return self.unless_declined(query, from, tally, out) };
        if !entry.is_fresh(now) {
            if !(entry.may_stand_in(now, view.snapshot.cache.stale) && entry.is_waiting(now)) {
                return self.unless_declined(query, from, tally, out);
            }
            self.give(view, query, &entry, Outcome::Stale, domain, from, tally, out);
            return Done::Reply;
        }
        self.give(view, query, &entry, Outcome::Cached, domain, from, tally, out);
        if view.snapshot.cache.prefetch && entry.is_to_refresh(now) {
            let asker = view.forwarder.asker(domain);
            let bounds = bounds(view);
            self.resolver.ask(asker, Asked::of(query), Key::of(query), bounds);
        }
        Done::Reply
    }

    /// Whoever does not want others to be asked is told what is known here, which is nothing.
    fn unless_declined(&self, query: &Query, from: Source, tally: &Tally, out: &mut Vec<u8>) -> Done {
        if query.wants_recursion() {
            return Done::Later;
        }
        let reply = Reply { code: Code::Refused as u8, ..Reply::default() };
        wire::write(query, &reply, limit(query, from), out);
        note(tally, Outcome::Refused, query, from, reply.code, NO_LIST);
        Done::Reply
    }

    /// What is answered without a look at the name.
    fn refuse(&self, view: &View, query: &Query, from: Source, tally: &Tally, out: &mut Vec<u8>) -> Option<Done> {
        let mut say = |outcome: Outcome, reply: Reply<'_>, limit: usize| {
            wire::write(query, &reply, limit, out);
            note(tally, outcome, query, from, reply.code, NO_LIST);
            Some(Done::Reply)
        };
        let code = |code: Code, why: Option<Why>| Reply { code: code as u8, why, ..Reply::default() };
        if !view.admits(from.client) {
            return say(Outcome::Refused, code(Code::Refused, Some(Why::Prohibited)), wire::MAX_UDP);
        }
        let rate = view.snapshot.access.rate_limit;
        if !self.limiter.allows(from.client, rate, self.clock.micros()) {
            // Half of them are told to come by TCP, which nobody can do under another's address; the rest hear nothing.
            return match query.id.is_multiple_of(2) && !from.stream {
                true => say(Outcome::Limited, Reply::default(), 0),
                false => {
                    tally.count(Outcome::Limited);
                    Some(Done::Silence)
                }
            };
        }
        if query.edns.is_some_and(|edns| edns.version > 0) {
            return say(Outcome::Special, Reply::default(), wire::MAX_UDP);
        }
        if !query.is_internet() || TRANSFERS.contains(&query.kind) {
            return say(Outcome::Refused, code(Code::Refused, Some(Why::NotSupported)), wire::MAX_UDP);
        }
        if query.kind == wire::OPT || query.kind == 0 {
            return say(Outcome::Malformed, code(Code::FormErr, None), wire::MAX_UDP);
        }
        if query.kind == wire::ANY {
            let reply = Reply { answers: 1, records: ANY_ANSWER, ..Reply::default() };
            return say(Outcome::Special, reply, limit(query, from));
        }
        None
    }

    /// Gives what is kept, unless it leads inside or to a name that is blocked.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a fact of this one query; a struct of them would be built once and taken apart here"
    )]
    fn give(
        &self,
        view: &View,
        query: &Query,
        entry: &Entry,
        outcome: Outcome,
        domain: Option<u32>,
        from: Source,
        tally: &Tally,
        out: &mut Vec<u8>,
    ) {
        let limit = limit(query, from);
        if entry.leads_inside && domain.is_none() && !view.may_lead_inside(query.name()) {
            let reply = Reply { why: Some(Why::Filtered), ..Reply::default() };
            wire::write(query, &reply, limit, out);
            return note(tally, Outcome::Special, query, from, reply.code, NO_LIST);
        }
        if !entry.aliases.is_empty() {
            let table = &view.filter.compiled.table;
            let lists = view.filter.lists_for(from.client, self.clock.now());
            // A name that was let through by name is let through whatever it is an alias of.
            let allowed = table.verdict(query, lists) == Verdict::Allowed;
            let listed = entry.aliases.iter().find_map(|alias| match table.verdict_of_name(alias, lists) {
                Verdict::Blocked { list, .. } => Some(list),
                _ => None,
            });
            if let (Some(list), false) = (listed, allowed) {
                block(view, query, limit, out);
                return note(tally, Outcome::Blocked, query, from, out[3] & 15, list);
            }
        }
        entry.write(query, self.clock.now(), limit, out);
        let outcome = if entry.failed { Outcome::Failed } else { outcome };
        note(tally, outcome, query, from, entry.code(), NO_LIST);
    }

    /// Asks others and writes the reply. Nothing comes back where nothing is to be said.
    pub async fn later(
        self: Arc<Self>,
        view: Arc<View>,
        datagram: Vec<u8>,
        from: Source,
        tally: Arc<Tally>,
    ) -> Vec<u8> {
        let mut query = Box::new(Query::default());
        let mut out = Vec::with_capacity(512);
        if query.read(&datagram).is_err() {
            return out;
        }
        let (domain, alias) = match view.zones.answer(&query) {
            Local::Elsewhere(domain) => (domain, None),
            Local::Alias { records, answers, target } => (None, Some((records, answers, target))),
            Local::Answer(reply) => {
                wire::write(&query, &reply, limit(&query, from), &mut out);
                note(&tally, Outcome::Local, &query, from, reply.code, NO_LIST);
                return out;
            }
        };
        if let Some((records, answers, target)) = alias {
            let beyond = self.beyond(&view, &query, target).await;
            match beyond.and_then(|beyond| join(&query, records, answers, beyond.as_deref(), self.clock.now())) {
                Some(entry) => self.give(&view, &query, &entry, Outcome::Forwarded, Some(0), from, &tally, &mut out),
                None => fail(&query, from, &tally, &mut out),
            }
            return out;
        }
        let old = self.cache.get(&query).filter(|old| old.may_stand_in(self.clock.now(), view.snapshot.cache.stale));
        let asker = view.forwarder.asker(domain);
        let (asked, key) = (Asked::of(&query), Key::of(&query));
        let wait = self.resolver.ask(asker, asked, key, bounds(&view));
        let entry = match (wait, &old) {
            (None, _) => None,
            (Some(wait), None) => wait.await,
            (Some(wait), Some(_)) => tokio::time::timeout(STALE_AFTER, wait).await.ok().flatten(),
        };
        match (entry, old) {
            (Some(entry), old) if !entry.failed || old.is_none() => {
                self.give(&view, &query, &entry, Outcome::Forwarded, domain, from, &tally, &mut out);
            }
            (_, Some(old)) => {
                old.retry_after(self.clock.now() + RECHECK);
                self.give(&view, &query, &old, Outcome::Stale, domain, from, &tally, &mut out);
            }
            (_, None) => fail(&query, from, &tally, &mut out),
        }
        out
    }

    /// What an alias of the lab leads to outside.
    async fn beyond(&self, view: &View, query: &Query, target: &[u8]) -> Option<Option<Arc<Entry>>> {
        let mut asked = Asked::of(query);
        asked.name = target.into();
        let mut named = Query::default();
        // The cache finds by a query, so the alias's target is made one.
        let mut datagram = vec![0; wire::HEADER];
        datagram[5] = 1;
        datagram.extend_from_slice(target);
        datagram.extend_from_slice(&query.kind.to_be_bytes());
        datagram.extend_from_slice(&[0, 1]);
        named.read(&datagram).ok()?;
        let now = self.clock.now();
        if let Some(entry) = self.cache.get(&named).filter(|entry| entry.is_fresh(now)) {
            return Some(Some(entry));
        }
        let asker = view.forwarder.asker(match view.zones.answer(&named) {
            Local::Elsewhere(domain) => domain,
            _ => None,
        });
        let wait = self.resolver.ask(asker, asked, Key::of(&named), bounds(view))?;
        Some(wait.await)
    }

    /// The addresses of a name, by the lab's own zones or by upstreams; lists have no say. For the resolver's own needs.
    ///
    /// # Errors
    /// Why there are none, in words.
    pub async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let view = self.view();
        let own = view.snapshot.records.iter().filter(|record| record.name.eq_ignore_ascii_case(name));
        let own: Vec<IpAddr> = own
            .filter_map(|record| match record.data {
                labwright_model::snapshot::dns::Data::Address(address) => Some(address),
                _ => None,
            })
            .collect();
        match own.is_empty() {
            false => Ok(own),
            true => view.forwarder.everything.addresses(name).await,
        }
    }
}

impl Seat {
    pub fn view(&self) -> Arc<View> {
        self.view.clone()
    }
}

fn bounds(view: &View) -> Bounds {
    let cache = &view.snapshot.cache;
    Bounds { at_least: cache.at_least, at_most: cache.at_most }
}

fn limit(query: &Query, from: Source) -> usize {
    if from.stream { usize::from(u16::MAX) } else { query.udp_limit() }
}

fn note(tally: &Tally, outcome: Outcome, query: &Query, from: Source, code: u8, list: u8) {
    let micros = u32::try_from(from.began.elapsed().as_micros()).unwrap_or(u32::MAX);
    let note = Note { at: from.at, client: from.client, list, code, kind: query.kind, micros, name: query.name() };
    tally.note(outcome, &note);
}

fn fail(query: &Query, from: Source, tally: &Tally, out: &mut Vec<u8>) {
    let reply = Reply { code: Code::ServFail as u8, why: Some(Why::NoReachableAuthority), ..Reply::default() };
    wire::write(query, &reply, limit(query, from), out);
    note(tally, Outcome::Failed, query, from, reply.code, NO_LIST);
}

/// Writes what a blocked name is answered with.
fn block(view: &View, query: &Query, limit: usize, out: &mut Vec<u8>) {
    const FOUR: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, BLOCKED_TTL, 0, 4, 0, 0, 0, 0];
    const SIX: [u8; 28] =
        [0xc0, 12, 0, 28, 0, 1, 0, 0, 0, BLOCKED_TTL, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let why = Some(Why::Blocked);
    let reply = match (view.blocked(), query.kind) {
        (Blocked::Nxdomain, _) => Reply { code: Code::NxDomain as u8, why, ..Reply::default() },
        (Blocked::Refused, _) => Reply { code: Code::Refused as u8, why, ..Reply::default() },
        (Blocked::Zero, wire::A) => Reply { answers: 1, records: &FOUR, why, ..Reply::default() },
        (Blocked::Zero, wire::AAAA) => Reply { answers: 1, records: &SIX, why, ..Reply::default() },
        (Blocked::Zero, _) => Reply { why, ..Reply::default() },
    };
    wire::write(query, &reply, limit, out);
}

/// The lab's alias, and behind it what the world says of its target.
fn join(query: &Query, records: &[u8], answers: u16, beyond: Option<&Entry>, now: u32) -> Option<Entry> {
    let mut bytes = vec![0; wire::HEADER];
    bytes[2] = 0x80;
    bytes[5] = 1;
    bytes[6..8].copy_from_slice(&answers.to_be_bytes());
    bytes.extend_from_slice(query.name());
    bytes.extend_from_slice(&query.kind.to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    bytes.extend_from_slice(records);
    let mut message = Message::from_vec(&bytes).ok()?;
    let beyond = beyond?;
    let mut whole = Vec::new();
    beyond.message(now, &mut whole);
    let other = Message::from_vec(&whole).ok()?;
    message.metadata.response_code = other.metadata.response_code;
    message.answers.extend(other.answers);
    message.authorities.extend(other.authorities);
    let about = About { ttl: 1, failed: beyond.failed, ..About::default() };
    Entry::new(message.to_vec().ok()?, now, about)
}
