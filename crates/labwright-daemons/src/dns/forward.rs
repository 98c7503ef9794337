//! Upstreams: over UDP, TCP, TLS and HTTPS by hickory, each with connections of its own; and who of them is asked.
//!
//! The next upstream is asked as soon as one fails or is late, and the first answer counts: one that is dead or slow costs a
//! fraction of a second, once. hickory checks what comes back: the port and the number of a question are random, and an
//! answer from elsewhere, with another number or for another question is passed over.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, Stream, StreamExt, once};
use hickory_net::dnssec::DnssecDnsHandle;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::xfer::DnsHandle;
use hickory_net::{DnsError, NetError};
use hickory_proto::dnssec::TrustAnchors;
use hickory_proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ProtocolConfig, ResolverOpts};
use hickory_resolver::{ConnectionProvider, NameServerPool, PoolContext, TlsConfig};
use labwright_model::snapshot::dns::{Forward, Order, Transport, Upstream};
use rustls::pki_types::CertificateDer;

/// How long one upstream has.
const ONE: Duration = Duration::from_secs(3);
/// How long all of them have together: stub resolvers ask again after five seconds.
const ALL: Duration = Duration::from_millis(4500);
/// How long the first of `order: given` may take before the second is asked as well.
const PATIENCE: Duration = Duration::from_millis(500);
/// Bounds of the same for `order: fastest`, which goes by what the upstream took of late.
const LATE: (Duration, Duration) = (Duration::from_millis(40), Duration::from_millis(400));
/// How long the address of an upstream that has a name is used.
const ADDRESS_HOLDS: Duration = Duration::from_secs(3600);
/// Octets of the largest datagram that is asked for (RFC 9715).
const EDNS: u16 = 1232;
/// Questions at once on one connection.
const AT_ONCE: usize = 1024;

type Pool = NameServerPool<TokioRuntimeProvider>;

/// One upstream and how it did of late.
pub struct Member {
    spec: Upstream,
    pools: Mutex<Option<(Instant, Pool)>>,
    /// Microseconds, smoothed; failures weigh as a second.
    rtt: AtomicU32,
    pub asked: AtomicU64,
    pub failed: AtomicU64,
}

impl Member {
    pub fn shown(&self) -> String {
        self.spec.shown()
    }

    pub fn rtt_micros(&self) -> u32 {
        self.rtt.load(Ordering::Relaxed)
    }

    fn note(&self, micros: u32) {
        let before = self.rtt.load(Ordering::Relaxed);
        let after = if before == 0 { micros } else { before - before / 4 + micros / 4 };
        self.rtt.store(after.max(1), Ordering::Relaxed);
    }
}

/// A set of upstreams that are asked for the same names.
pub struct Upstreams {
    pub members: Vec<Member>,
    order: Order,
    bootstrap: Vec<IpAddr>,
    context: Arc<PoolContext>,
    /// Which one is tried although it did badly: it may have recovered.
    turn: AtomicU32,
}

/// What is needed to make connections, beside what the snapshot says.
#[derive(Clone, Default)]
pub struct Trust {
    pub roots: Vec<CertificateDer<'static>>,
    /// Keys that signatures are checked by, in place of the root zone's.
    pub anchors: Option<Arc<TrustAnchors>>,
}

/// All sets of upstreams of a snapshot.
pub struct Forwarder {
    pub everything: Asker,
    pub domains: Vec<Asker>,
}

/// One set, and the same with signatures checked.
#[derive(Clone)]
pub struct Asker {
    pub upstreams: Handle,
    checked: Option<DnssecDnsHandle<Handle>>,
}

/// A set as hickory wants it.
#[derive(Clone)]
pub struct Handle(pub Arc<Upstreams>);

impl Forwarder {
    /// Makes the sets; nothing is connected yet.
    ///
    /// # Errors
    /// Why TLS cannot be set up.
    pub fn new(forward: &Forward, trust: &Trust) -> Result<Forwarder, String> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(trust.roots.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut options = ResolverOpts::default();
        options.timeout = ONE;
        options.edns_payload_len = EDNS;
        options.num_concurrent_reqs = 1;
        options.max_active_requests = AT_ONCE;
        let context = Arc::new(PoolContext::new(options, TlsConfig { config: tls }));
        let set = |upstreams: &[Upstream], order: Order, dnssec: bool| {
            let member = |spec: &Upstream| Member {
                spec: spec.clone(),
                pools: Mutex::default(),
                rtt: AtomicU32::new(0),
                asked: AtomicU64::new(0),
                failed: AtomicU64::new(0),
            };
            let upstreams = Handle(Arc::new(Upstreams {
                members: upstreams.iter().map(member).collect(),
                order,
                bootstrap: forward.bootstrap.clone(),
                context: context.clone(),
                turn: AtomicU32::new(0),
            }));
            let checked = dnssec.then(|| match &trust.anchors {
                Some(anchors) => DnssecDnsHandle::with_trust_anchor(upstreams.clone(), anchors.clone()),
                None => DnssecDnsHandle::new(upstreams.clone()),
            });
            Asker { upstreams, checked }
        };
        Ok(Forwarder {
            everything: set(&forward.upstreams, forward.order, forward.dnssec),
            // Domains inside are asked in the order of the file, and are seldom signed.
            domains: forward.domains.iter().map(|domain| set(&domain.upstreams, Order::Given, false)).collect(),
        })
    }

    /// Every upstream of every set.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.everything).chain(&self.domains).flat_map(|asker| &asker.upstreams.0.members)
    }

    /// The set for a domain by its number, or for everything else.
    pub fn asker(&self, domain: Option<u32>) -> &Asker {
        domain.and_then(|domain| self.domains.get(domain as usize)).unwrap_or(&self.everything)
    }
}

impl Asker {
    pub fn checks(&self) -> bool {
        self.checked.is_some()
    }

    /// Asks one question.
    ///
    /// # Errors
    /// Why there is no answer, as hickory has it; "no such name" and "no such record" are among them.
    pub async fn ask(&self, query: Query, signatures: bool, unchecked: bool) -> Result<DnsResponse, NetError> {
        let mut options = DnsRequestOptions::default();
        options.edns_payload_len = EDNS;
        options.edns_set_dnssec_ok = signatures;
        let mut request = DnsRequest::from_query(query, options);
        request.metadata.checking_disabled = unchecked;
        let answer = match &self.checked {
            Some(checked) if !unchecked => checked.send(request).next().await,
            _ => self.upstreams.send(request).next().await,
        };
        answer.unwrap_or(Err(NetError::NoConnections))
    }

    /// The addresses of a name.
    ///
    /// # Errors
    /// Why there are none, in words.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        addresses(name, |query| self.ask(query, false, true)).await
    }
}

async fn addresses<F>(name: &str, ask: impl Fn(Query) -> F) -> Result<Vec<IpAddr>, String>
where
    F: Future<Output = Result<DnsResponse, NetError>>,
{
    let name = Name::from_ascii(format!("{}.", name.trim_end_matches('.'))).map_err(|error| error.to_string())?;
    let (four, six) =
        tokio::join!(ask(Query::query(name.clone(), RecordType::A)), ask(Query::query(name.clone(), RecordType::AAAA)));
    let found = |response: &DnsResponse| {
        let address = |record: &hickory_proto::rr::Record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        };
        response.answers.iter().filter_map(address).collect::<Vec<_>>()
    };
    let mut all: Vec<IpAddr> = four.iter().flat_map(found).collect();
    all.extend(six.iter().flat_map(found));
    match (all.is_empty(), four) {
        (false, _) => Ok(all),
        (true, Err(error)) => Err(error.to_string()),
        (true, Ok(_)) => Err("it has no address".into()),
    }
}

/// Whether an upstream did answer: "there is none" is an answer.
fn is_answer(result: &Result<DnsResponse, NetError>) -> bool {
    match result {
        Ok(_) => true,
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
        }
        Err(_) => false,
    }
}

impl Upstreams {
    /// In which order members are asked now.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.members.len()).collect();
        if self.order == Order::Fastest {
            order.sort_by_key(|at| self.members[*at].rtt_micros());
            // One question in thirty-two goes to another one first, so that who was slow once is not so for ever.
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            if turn % 32 == 31 && order.len() > 1 {
                let other = 1 + (turn as usize / 32) % (order.len() - 1);
                order.swap(0, other);
            }
        }
        order
    }

    fn patience(&self, member: usize) -> Duration {
        match self.order {
            Order::Race => Duration::ZERO,
            Order::Given => PATIENCE,
            Order::Fastest => {
                Duration::from_micros(u64::from(self.members[member].rtt_micros()) * 3).clamp(LATE.0, LATE.1)
            }
        }
    }

    async fn ask(self: Arc<Self>, request: DnsRequest) -> Result<DnsResponse, NetError> {
        let mut waiting = self.order().into_iter();
        let mut running = FuturesUnordered::new();
        let mut last = Err(NetError::NoConnections);
        let deadline = tokio::time::Instant::now() + ALL;
        let mut patience = Duration::ZERO;
        loop {
            if running.is_empty() || patience.is_zero() {
                match waiting.next() {
                    Some(member) => {
                        patience = self.patience(member);
                        running.push(self.of(member, request.clone()));
                        continue;
                    }
                    None if running.is_empty() => return last,
                    None => patience = ALL,
                }
            }
            tokio::select! {
                Some(result) = running.next() => {
                    if is_answer(&result) {
                        return result;
                    }
                    last = result;
                    patience = Duration::ZERO;
                }
                () = tokio::time::sleep(patience) => patience = Duration::ZERO,
                () = tokio::time::sleep_until(deadline) => return Err(NetError::Timeout),
            }
        }
    }

    async fn of(&self, member: usize, request: DnsRequest) -> Result<DnsResponse, NetError> {
        let member = &self.members[member];
        let begun = Instant::now();
        member.asked.fetch_add(1, Ordering::Relaxed);
        let result = match tokio::time::timeout(ONE, self.through(member, request)).await {
            Ok(result) => result,
            Err(_) => Err(NetError::Timeout),
        };
        let micros = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        if is_answer(&result) {
            member.note(micros);
        } else {
            member.failed.fetch_add(1, Ordering::Relaxed);
            member.note(1_000_000);
            if let Err(error) = &result {
                tracing::debug!(upstream = %member.shown(), %error, "no answer");
            }
        }
        result
    }

    async fn through(&self, member: &Member, request: DnsRequest) -> Result<DnsResponse, NetError> {
        let known = lock(&member.pools).as_ref().filter(|(made, _)| made.elapsed() < ADDRESS_HOLDS).cloned();
        let pool = match known {
            Some((_, pool)) => pool,
            None => {
                let pool = self.connect(&member.spec).await?;
                *lock(&member.pools) = Some((Instant::now(), pool.clone()));
                pool
            }
        };
        let result = pool.send(request).next().await.unwrap_or(Err(NetError::NoConnections));
        if !is_answer(&result) && member.spec.address().is_none() {
            // It may have moved: its name is asked for again.
            *lock(&member.pools) = None;
        }
        result
    }

    /// The addresses of an upstream, and how it is spoken to there.
    async fn connect(&self, spec: &Upstream) -> Result<Pool, NetError> {
        let addresses = match spec.address() {
            Some(address) => vec![address],
            None => self.bootstrap(&spec.host).await.map_err(|error| {
                NetError::from(format!("the name of upstream {} leads nowhere: {error}", spec.host))
            })?,
        };
        let servers = addresses.into_iter().map(|address| server(address, spec));
        Ok(NameServerPool::from_config(servers, self.context.clone(), TokioRuntimeProvider::default()))
    }

    /// Asks for an upstream's own name: those who are named for it, or the upstreams that have an address.
    async fn bootstrap(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let plain = |address: &IpAddr| {
            let spec = Upstream {
                transport: Transport::Udp,
                host: String::new(),
                port: 53,
                tls_name: String::new(),
                path: String::new(),
            };
            server(*address, &spec)
        };
        let mut servers: Vec<NameServerConfig> = self.bootstrap.iter().map(plain).collect();
        if servers.is_empty() {
            let known = |member: &Member| Some(server(member.spec.address()?, &member.spec));
            servers.extend(self.members.iter().filter_map(known));
        }
        if servers.is_empty() {
            return Err("nobody is named to ask for it: add `bootstrap: 9.9.9.9` to `platform.dns`".into());
        }
        let pool = Pool::from_config(servers, self.context.clone(), TokioRuntimeProvider::default());
        addresses(host, |query| {
            let mut stream = pool.lookup(query, DnsRequestOptions::default());
            async move { stream.next().await.unwrap_or(Err(NetError::NoConnections)) }
        })
        .await
    }
}

fn server(address: IpAddr, spec: &Upstream) -> NameServerConfig {
    let tls_name: Arc<str> = spec.tls_name.as_str().into();
    let protocols = match spec.transport {
        Transport::Udp => vec![ProtocolConfig::Udp, ProtocolConfig::Tcp],
        Transport::Tcp => vec![ProtocolConfig::Tcp],
        Transport::Tls => vec![ProtocolConfig::Tls { server_name: tls_name }],
        Transport::Https => {
            vec![ProtocolConfig::Https { server_name: tls_name, path: spec.path.as_str().into() }]
        }
    };
    let connection = |protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = spec.port;
        connection
    };
    NameServerConfig::new(address, true, protocols.into_iter().map(connection).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl DnsHandle for Handle {
    type Response = Pin<Box<dyn Stream<Item = Result<DnsResponse, NetError>> + Send>>;
    type Runtime = <TokioRuntimeProvider as ConnectionProvider>::RuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        Box::pin(once(self.0.clone().ask(request)))
    }
}
