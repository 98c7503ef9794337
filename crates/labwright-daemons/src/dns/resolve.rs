//! Names of others: asked once for everybody who wants them at the same moment, turned into what is kept and given.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use hickory_net::{DnsError, NetError};
use hickory_proto::dnssec::DnssecSummary;
use hickory_proto::op::{DnsResponse, Message, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::runtime::Handle;

use super::cache::{About, Cache, Entry, Key};
use super::clock::Clock;
use super::forward::Asker;
use super::wire::{Query, Why, wire};

/// Questions that may wait for upstreams at one time; more than that is an attack, or everything is down.
const AT_ONCE: usize = 4096;
/// Seconds that a failure is remembered, so that a busy client does not ask dead upstreams for each query (RFC 2308, 7).
const FAILURE_TTL: u32 = 5;
/// Seconds that "no such name" is remembered when nobody says how long.
const BARE_NEGATIVE_TTL: u32 = 5;

/// A question in a form that lives on while it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    pub name: Box<[u8]>,
    pub kind: u16,
    pub signatures: bool,
    pub unchecked: bool,
}

impl Asked {
    pub fn of(query: &Query) -> Asked {
        Asked {
            name: query.name().into(),
            kind: query.kind,
            signatures: query.wants_signatures(),
            unchecked: query.checking_disabled(),
        }
    }

    fn question(&self) -> Option<Question> {
        let mut labels = Vec::new();
        let mut rest = &self.name[..];
        while let Some((size, after)) = rest.split_first().filter(|(size, _)| **size > 0) {
            labels.push(after.get(..usize::from(*size))?);
            rest = after.get(usize::from(*size)..)?;
        }
        let mut name = Name::from_labels(labels).ok()?;
        name.set_fqdn(true);
        Some(Question::query(name, RecordType::from(self.kind)))
    }
}

/// How long answers may be kept. Seconds.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub at_least: u32,
    pub at_most: u32,
}

type Wait = Shared<BoxFuture<'static, Option<Arc<Entry>>>>;

/// Questions that are being asked.
pub struct Resolver {
    running: Mutex<HashMap<Asked, Wait>>,
    runtime: Handle,
    cache: Arc<Cache>,
    clock: Clock,
}

impl Resolver {
    pub fn new(runtime: Handle, cache: Arc<Cache>, clock: Clock) -> Resolver {
        Resolver { running: Mutex::default(), runtime, cache, clock }
    }

    /// Asks, or joins those who wait for the same; `None` when too many wait already. The answer is in the cache by then.
    /// Goes on when whoever asked has gone.
    pub fn ask(self: &Arc<Self>, asker: &Asker, asked: Asked, key: Key, bounds: Bounds) -> Option<Wait> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = running.get(&asked) {
            return Some(wait.clone());
        }
        if running.len() >= AT_ONCE {
            return None;
        }
        let (asker, resolver) = (asker.clone(), self.clone());
        let task = {
            let asked = asked.clone();
            self.runtime.spawn(async move {
                let entry = ask(&asker, &asked, bounds, resolver.clock).await.map(Arc::new);
                if let Some(entry) = &entry {
                    keep(&resolver.cache, key, entry);
                }
                resolver.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&asked);
                entry
            })
        };
        let wait = task.map(|done| done.ok().flatten()).boxed().shared();
        running.insert(asked, wait.clone());
        Some(wait)
    }

    pub fn waiting(&self) -> usize {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A failure never takes the place of an answer, even of one that is out of date.
fn keep(cache: &Cache, key: Key, entry: &Arc<Entry>) {
    if entry.failed && cache.has_answer(key) {
        return;
    }
    cache.put(key, entry.clone());
}

async fn ask(asker: &Asker, asked: &Asked, bounds: Bounds, clock: Clock) -> Option<Entry> {
    let question = asked.question()?;
    let result = asker.ask(question.clone(), asked.signatures, asked.unchecked).await;
    let checked = asker.checks() && !asked.unchecked;
    entry(question, result, asked.signatures, checked, bounds, clock.now())
}

/// Records of an answer, and what is known of them.
struct Found {
    code: ResponseCode,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    why: Option<Why>,
    failed: bool,
    authenticated: bool,
}

impl Found {
    fn failure(why: Why) -> Found {
        Found {
            code: ResponseCode::ServFail,
            answers: Vec::new(),
            authorities: Vec::new(),
            why: Some(why),
            failed: true,
            authenticated: false,
        }
    }

    fn of(response: DnsResponse, summary: DnssecSummary) -> Found {
        let message = response.into_message();
        Found {
            code: message.metadata.response_code,
            answers: message.answers,
            authorities: message.authorities,
            why: None,
            failed: false,
            authenticated: matches!(summary, DnssecSummary::Secure),
        }
    }
}

fn found(result: Result<DnsResponse, NetError>, checked: bool) -> Found {
    let unchecked = DnssecSummary::Insecure;
    match result {
        Ok(response) => {
            let summary = match checked {
                // That something is not there is signed in the other section.
                true if response.answers.is_empty() => DnssecSummary::from_records(response.authorities.iter()),
                true => DnssecSummary::from_records(response.answers.iter()),
                false => unchecked,
            };
            match summary {
                DnssecSummary::Bogus => Found::failure(Why::DnssecBogus),
                summary => Found::of(response, summary),
            }
        }
        Err(NetError::Dns(DnsError::Nsec { response, proof, .. })) => {
            let summary = DnssecSummary::from_records(response.authorities.iter());
            match (proof.is_bogus(), summary) {
                (true, _) | (_, DnssecSummary::Bogus) => Found::failure(Why::DnssecBogus),
                (false, summary) => Found::of(*response, summary),
            }
        }
        Err(NetError::Dns(DnsError::DnssecBogus)) => Found::failure(Why::DnssecBogus),
        Err(NetError::Dns(DnsError::NoRecordsFound(none)))
            if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
        {
            let mut authorities: Vec<Record> = none.authorities.map(|all| all.to_vec()).unwrap_or_default();
            if let Some(soa) = none.soa.map(|soa| soa.into_record_of_rdata())
                && !authorities.contains(&soa)
            {
                authorities.push(soa);
            }
            Found {
                code: none.response_code,
                answers: Vec::new(),
                authorities,
                why: None,
                failed: false,
                authenticated: false,
            }
        }
        Err(_) => Found::failure(Why::NoReachableAuthority),
    }
}

/// What is kept of what came back.
fn entry(
    question: Question,
    result: Result<DnsResponse, NetError>,
    signatures: bool,
    checked: bool,
    bounds: Bounds,
    now: u32,
) -> Option<Entry> {
    let mut found = found(result, checked);
    let wanted = question.query_type();
    let is_plain = |record: &Record| signatures || record.record_type() == wanted || !record.record_type().is_dnssec();
    found.answers.retain(is_plain);
    // Who serves a zone is of no use to a client; that a name is not there is told by the zone's SOA.
    let negative = found.answers.is_empty() || found.code == ResponseCode::NXDomain;
    found.authorities.retain(|record| is_plain(record) && record.record_type() != RecordType::NS);
    if !negative && !signatures {
        found.authorities.clear();
    }
    let ttl = match (found.failed, found.answers.iter().map(|record| record.ttl).min()) {
        (true, _) => FAILURE_TTL,
        (_, Some(ttl)) if !negative => ttl.clamp(bounds.at_least, bounds.at_most.max(bounds.at_least)),
        _ => negative_ttl(&found.authorities).min(bounds.at_most),
    };
    for record in found.answers.iter_mut().chain(&mut found.authorities) {
        let most = if negative { ttl } else { bounds.at_most.max(bounds.at_least) };
        record.ttl = record.ttl.clamp(bounds.at_least.min(ttl), most);
        if record.name == question.name {
            record.name = question.name.clone();
        }
    }
    let aliases = found.answers.iter().filter_map(|record| match &record.data {
        RData::CNAME(name) => wire(&name.0.to_ascii()).map(Vec::into_boxed_slice),
        _ => None,
    });
    let about = About {
        ttl,
        aliases: aliases.collect(),
        leads_inside: found.answers.iter().filter_map(address).any(is_inside),
        authenticated: found.authenticated,
        why: found.why,
        failed: found.failed,
    };
    let mut message = Message::response(0, OpCode::Query);
    message.metadata.response_code = found.code;
    message.queries.push(question);
    message.answers = found.answers;
    message.authorities = found.authorities;
    Entry::new(message.to_vec().ok()?, now, about)
}

/// RFC 2308, 5: the lesser of the SOA's own time and its minimum.
fn negative_ttl(authorities: &[Record]) -> u32 {
    let soa = authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    });
    soa.unwrap_or(BARE_NEGATIVE_TTL)
}

fn address(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    }
}

/// Whether an address is of a private network, of the link, or of the machine itself: what no name of others should lead to
/// (RFC 1918, 3927, 4193, 4291, 6598).
pub fn is_inside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || a == 0
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}
