//! The lab's resolver: authoritative for the lab's own zones, forwarding for the rest, with lists of names that are not
//! answered.
//!
//! It is fed with snapshots and with sockets that somebody else has bound; it reads no configuration and needs no rights.
//! `answer.rs` is the way of a query; `view.rs` is what is served at one moment; `resolve.rs` asks others; `role.rs` is its
//! place among the roles of `labwright serve`.

mod answer;
mod cache;
mod clock;
mod forward;
mod journal;
mod keeper;
mod limit;
mod listen;
pub mod lists;
mod metrics;
mod queries;
mod resolve;
mod role;
mod roots;
mod stats;
mod tcp;
mod udp;
mod view;
pub mod wire;
mod zone;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_proto::dnssec::TrustAnchors;
use labwright_model::snapshot::dns::DnsSnapshot;
use labwright_model::snapshot::dns::told::{Paused, QueriesAsk, UpstreamStatus};
use prometheus_client::registry::Registry;
use tokio::runtime::Runtime;
use tokio::sync::watch;

pub use labwright_model::snapshot::dns::told::{Line, ListStatus, Statistics, Top};
pub use listen::{ListenError, listen};
pub use role::{Resolver, Setting};
pub use stats::{OUTCOMES, Outcome};

use answer::Core;
use forward::Trust;
use journal::Journal;
use keeper::Told;
use lists::fetch::Fetcher;
use view::View;

use crate::{Applied, Daemon};

/// How often what threads have noted is read.
const READING: Duration = Duration::from_millis(250);

/// Where a resolver keeps things and whom it trusts.
#[derive(Clone, Default)]
pub struct Settings {
    /// Lists that were fetched, and those that were shipped with the lab.
    pub lists: PathBuf,
    /// The query log.
    pub log: PathBuf,
    /// The bundle of authorities for upstreams and lists over TLS; the machine's own when absent.
    pub roots: Option<PathBuf>,
    /// Keys that signatures are checked by; those of the root zone when absent.
    pub anchors: Option<Arc<TrustAnchors>>,
}

impl Settings {
    /// Everything below one folder.
    pub fn below(folder: &Path) -> Settings {
        Settings { lists: folder.to_path_buf(), log: folder.join("queries"), ..Settings::default() }
    }
}

/// Why a resolver could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the snapshot cannot be served: {0}")]
    Snapshot(String),
    #[error("{what}: {error}")]
    System { what: &'static str, error: std::io::Error },
}

/// A resolver that runs until it is stopped or dropped.
pub struct Server {
    core: Arc<Core>,
    trust: Trust,
    stop: Arc<AtomicBool>,
    stop_streams: watch::Sender<bool>,
    connections: Arc<tcp::Connections>,
    doors: Mutex<HashMap<SocketAddr, Vec<Door>>>,
    keeper: Sender<Told>,
    journal: Arc<Mutex<Journal>>,
    log: PathBuf,
    threads: Mutex<Vec<JoinHandle<()>>>,
    runtime: Option<Runtime>,
}

/// A pair of sockets, as long as it is answered on.
struct Door {
    stop: Arc<AtomicBool>,
    accepting: tokio::task::AbortHandle,
    readers: Vec<JoinHandle<()>>,
}

impl Door {
    /// What has come over UDP is answered; connections that are open stay.
    fn close(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.accepting.abort();
        for reader in self.readers {
            let _ = reader.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn system(what: &'static str) -> impl Fn(std::io::Error) -> StartError {
    move |error| StartError::System { what, error }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    let thread = std::thread::Builder::new().name(name.to_string()).spawn(work);
    thread.map_err(system("a thread cannot be started"))
}

impl Server {
    /// Serves a snapshot on sockets that are bound. Local names are answered at once, names of others as well; lists hold
    /// as soon as they have been read from `folder`.
    ///
    /// # Errors
    /// What is wrong with the snapshot, or what the system refuses.
    pub fn start(
        sockets: Vec<(UdpSocket, TcpListener)>,
        snapshot: DnsSnapshot,
        folder: &Path,
    ) -> Result<Server, StartError> {
        Server::start_with(sockets, snapshot, 0, &Settings::below(folder))
    }

    /// The same with everything said. Without sockets it gets ready, and answers from `listen` on.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_with(
        sockets: Vec<(UdpSocket, TcpListener)>,
        snapshot: DnsSnapshot,
        generation: u64,
        settings: &Settings,
    ) -> Result<Server, StartError> {
        let trust = Trust { roots: roots::read(settings.roots.as_deref()), anchors: settings.anchors.clone() };
        let view = View::new(generation, snapshot, &trust, None).map_err(StartError::Snapshot)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("dns-upstream")
            .enable_all()
            .build()
            .map_err(system("threads for upstreams cannot be started"))?;
        let core = Arc::new(Core::new(view, runtime.handle().clone()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let (keeper, told) = channel();
        let fetcher = Fetcher::new(&settings.lists, &trust.roots, lookup(&core));
        let (of_keeper, lists) = (Arc::downgrade(&core), settings.lists.clone());
        threads.push(thread("dns-lists", move || keeper::keep(&of_keeper, lists, fetcher, &told))?);
        let journal = Arc::new(Mutex::new(Journal::new(&settings.log)));
        let (of_journal, book, stop_journal) = (core.clone(), journal.clone(), stop.clone());
        threads.push(thread("dns-log", move || write(&of_journal, &book, &stop_journal))?);
        let server = Server {
            core,
            trust,
            stop,
            stop_streams: watch::channel(false).0,
            connections: Arc::default(),
            doors: Mutex::default(),
            keeper,
            journal,
            log: settings.log.clone(),
            threads: Mutex::new(threads),
            runtime: Some(runtime),
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // Sockets that share a port share the load; one alone is read by as many threads as there are cores.
        let readers = cores.div_ceil(sockets.len().max(1));
        for pair in sockets {
            server.listen(pair, readers)?;
        }
        Ok(server)
    }

    /// Answers on a pair of sockets as well, with so many threads for datagrams.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn listen(&self, (udp, tcp): (UdpSocket, TcpListener), readers: usize) -> Result<(), StartError> {
        let address = udp.local_addr().map_err(system("a UDP socket cannot be used"))?;
        tcp.set_nonblocking(true).map_err(system("a TCP socket cannot be used"))?;
        let socket = Arc::new(udp::Socket::new(udp).map_err(system("a UDP socket cannot be used"))?);
        let listener = {
            let _inside = self.core.runtime.enter();
            tokio::net::TcpListener::from_std(tcp).map_err(system("a TCP socket cannot be used"))?
        };
        let (core, connections) = (self.core.clone(), self.connections.clone());
        let accepting = self.core.runtime.spawn(tcp::serve(core, listener, connections, self.stop_streams.subscribe()));
        let mut door =
            Door { stop: Arc::default(), accepting: accepting.abort_handle(), readers: Vec::with_capacity(readers) };
        for _ in 0..readers.max(1) {
            let (core, socket, stop) = (self.core.clone(), socket.clone(), door.stop.clone());
            door.readers.push(thread("dns-udp", move || udp::serve(&core, &socket, &stop))?);
        }
        lock(&self.doors).entry(address).or_default().push(door);
        Ok(())
    }

    /// Answers no more on an address.
    pub fn close(&self, address: SocketAddr) {
        let doors = lock(&self.doors).remove(&address);
        doors.into_iter().flatten().for_each(Door::close);
    }

    /// Where it answers.
    pub fn listening(&self) -> Vec<SocketAddr> {
        let mut all: Vec<SocketAddr> = lock(&self.doors).keys().copied().collect();
        all.sort();
        all
    }

    /// Whether a snapshot could be served. Changes nothing.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn check(&self, generation: u64, snapshot: &DnsSnapshot) -> Result<(), String> {
        View::new(generation, snapshot.clone(), &self.trust, Some(&self.core.view())).map(drop)
    }

    /// Adds the resolver's metrics to those of the process.
    pub fn metrics(&self, registry: &mut Registry) {
        let core = Arc::downgrade(&self.core);
        metrics::register(registry, move || core.upgrade());
    }

    /// The generation that is served.
    pub fn generation(&self) -> u64 {
        self.core.view().generation
    }

    /// Whether lists have been read since the start: until then nothing is blocked.
    pub fn lists_are_ready(&self) -> bool {
        let view = self.core.view();
        view.filter.filter == view.snapshot.filter
    }

    pub fn lists(&self) -> Vec<ListStatus> {
        self.core.view().filter.compiled.status.clone()
    }

    /// Fetches lists from their servers now.
    pub fn refresh_lists(&self) {
        let _ = self.keeper.send(Told::Fetch);
    }

    /// Blocks nothing for a while: for one group of clients, or for everybody. Whether there is such a group. A length of
    /// zero ends a pause.
    pub fn pause(&self, group: Option<&str>, length: Duration) -> bool {
        let seconds = u32::try_from(length.as_secs()).unwrap_or(u32::MAX);
        let until = if seconds == 0 { 0 } else { self.core.clock.now().saturating_add(seconds) };
        self.core.view().filter.pause(group, until)
    }

    /// The groups of clients, by name.
    pub fn groups(&self) -> Vec<String> {
        self.core.view().filter.filter.groups.iter().map(|group| group.name.clone()).collect()
    }

    /// The last queries, the newest first; at most a thousand.
    pub fn recent(&self, count: usize) -> Vec<Line> {
        self.read();
        lock(&self.journal).recent(count)
    }

    /// Queries that fit, the newest first: of those in memory, or of the log's files where it is asked how far back.
    ///
    /// # Errors
    /// The time cannot be read, or a file cannot.
    pub fn queries(&self, ask: &QueriesAsk) -> Result<Vec<Line>, String> {
        self.read();
        lock(&self.journal).flush();
        match (&ask.since, self.core.view().keeping.days) {
            (Some(since), 1..) => queries::of_files(&self.log, since, ask),
            _ => queries::of_lines(self.recent(usize::MAX), ask),
        }
    }

    pub fn statistics(&self, tops: usize) -> Statistics {
        self.read();
        let view = self.core.view();
        let outcomes = OUTCOMES.iter().map(|(outcome, word)| (word.to_string(), self.core.tallies.total(*outcome)));
        let outcomes: std::collections::BTreeMap<String, u64> = outcomes.collect();
        let paused = view.filter.pauses(self.core.clock.now());
        let upstreams = view.forwarder.members().map(|member| UpstreamStatus {
            upstream: member.shown(),
            asked: member.asked.load(Ordering::Relaxed),
            failed: member.failed.load(Ordering::Relaxed),
            micros: member.rtt_micros(),
        });
        Statistics {
            generation: view.generation,
            listening: self.listening().iter().map(SocketAddr::to_string).collect(),
            up: u64::from(self.core.clock.now() - 1),
            queries: outcomes.values().sum(),
            blocked: self.core.tallies.total(Outcome::Blocked),
            outcomes,
            top: lock(&self.journal).top(tops),
            lists: view.filter.compiled.status.clone(),
            lists_ready: view.filter.filter == view.snapshot.filter,
            listed: view.filter.compiled.table.names(),
            local_names: view.zones.len(),
            paused: paused.into_iter().map(|(group, left)| Paused { group, left }).collect(),
            upstreams: upstreams.collect(),
        }
    }

    /// Reads what was noted since the last time, so that what is shown is of now.
    fn read(&self) {
        read(&self.core, &self.journal);
    }

    /// Stops taking queries. What has come is answered; what waits for upstreams, and connections that are open, have
    /// `grace`.
    pub fn stop(mut self, grace: Duration) {
        self.end();
        if let Some(runtime) = self.runtime.take() {
            let deadline = std::time::Instant::now() + grace;
            while (self.core.resolver.waiting() > 0 || self.connections.are_open())
                && std::time::Instant::now() < deadline
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            runtime.shutdown_timeout(Duration::from_millis(200));
        }
    }

    fn end(&self) {
        let doors: Vec<Door> = lock(&self.doors).drain().flat_map(|(_, doors)| doors).collect();
        doors.iter().for_each(|door| door.stop.store(true, Ordering::Relaxed));
        doors.into_iter().for_each(Door::close);
        let _ = self.stop_streams.send(true);
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.keeper.send(Told::End);
        for thread in lock(&self.threads).drain(..) {
            // The thread of lists may be in the middle of a fetch: it ends by itself, and holds nothing that matters.
            if thread.thread().name() != Some("dns-lists") {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Daemon for Server {
    type Snapshot = DnsSnapshot;

    async fn apply(&self, generation: u64, snapshot: DnsSnapshot) -> Applied {
        let mut applied = Applied::Now;
        let result = self.core.exchange(|view| {
            if generation < view.generation {
                applied = Applied::Stale { have: view.generation };
                return Ok(None);
            }
            if generation == view.generation && *view.snapshot == snapshot {
                applied = Applied::AlreadyAt;
                return Ok(None);
            }
            if generation == view.generation && generation != 0 {
                return Err(format!("generation {generation} is served already, and says something else"));
            }
            let new = View::new(generation, snapshot, &self.trust, Some(view))?;
            if !Arc::ptr_eq(&new.forwarder, &view.forwarder) {
                // What other upstreams said is no answer of these.
                self.core.cache.clear();
            }
            if new.snapshot.cache.bytes != view.snapshot.cache.bytes {
                self.core.cache.resize(new.snapshot.cache.bytes);
            }
            Ok(Some(new))
        });
        match result {
            Err(why) => Applied::Refused(why),
            Ok(_) => {
                let _ = self.keeper.send(Told::Look);
                applied
            }
        }
    }
}

/// How the thread of lists finds the addresses of their servers.
fn lookup(core: &Arc<Core>) -> lists::fetch::Lookup {
    let core = Arc::downgrade(core);
    Arc::new(move |name| {
        let core = core.upgrade().ok_or("the resolver is ending")?;
        let name = name.to_string();
        let (send, answer) = channel();
        let asking = core.clone();
        core.runtime.spawn(async move {
            let _ = send.send(asking.lookup(&name).await);
        });
        answer.recv_timeout(Duration::from_secs(10)).map_err(|_| "no upstream answered".to_string())?
    })
}

fn read(core: &Core, journal: &Mutex<Journal>) {
    let keeping = core.view().keeping.clone();
    let mut journal = lock(journal);
    let mut queries = Vec::new();
    core.tallies.drain(|query| queries.push(query));
    // Each thread has noted in order; the day is told in one.
    queries.sort_by_key(|query| query.at);
    for query in &queries {
        journal.add(query, &keeping);
    }
}

/// Writes the query log until told to stop.
fn write(core: &Core, journal: &Mutex<Journal>, stop: &AtomicBool) {
    loop {
        let ending = stop.load(Ordering::Relaxed);
        read(core, journal);
        let days = core.view().keeping.days;
        let today = jiff::Timestamp::now().to_string();
        lock(journal).settle(days, today.get(..10).unwrap_or_default());
        if ending {
            return;
        }
        std::thread::sleep(READING);
    }
}

#[cfg(test)]
mod tests;
