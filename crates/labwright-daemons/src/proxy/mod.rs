//! The reverse proxy: threads that answer, each with its own listeners and its own connections to upstreams, and one thread
//! that keeps certificates and health. A snapshot becomes one immutable `Live`, which all of them get at once.

mod access_log;
mod auth;
mod body;
pub mod cert;
mod client;
mod cors;
mod endpoint;
pub mod export;
mod files;
mod forward;
mod geo;
mod headers;
mod health;
mod io;
mod live;
mod metrics;
mod page;
mod pool;
mod rate;
mod request;
mod stream;
mod upstream;
mod worker;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use labwright_model::snapshot::control;
use labwright_model::snapshot::proxy::ProxySnapshot;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex as AsyncMutex;

use crate::serve::Sockets;
use crate::{Applied, Daemon};

use cert::Keeper;
use endpoint::Endpoint;
use live::Live;
use metrics::Metrics;
use rate::Rates;
pub use worker::Closing;
use worker::{Accepts, Worker};

/// What a proxy is started with.
pub struct Setting {
    /// Where certificates, keys and accounts are kept.
    pub state: PathBuf,
    /// Where credentials are, a file each.
    pub credentials: Option<PathBuf>,
    /// Threads that answer.
    pub workers: usize,
    pub sockets: Sockets,
}

impl Setting {
    /// A credential by its name.
    pub(crate) fn credential(&self, name: &str) -> Result<zeroize::Zeroizing<String>, String> {
        let Some(folder) = &self.credentials else {
            return Err(format!(
                "there is no folder of credentials, and `{name}` is needed; it is named with `--credentials`"
            ));
        };
        std::fs::read_to_string(folder.join(name))
            .map(|text| zeroize::Zeroizing::new(text.trim_end().to_string()))
            .map_err(|error| format!("the credential `{name}` cannot be read: {error}"))
    }
}

/// What all threads share, over all snapshots.
pub struct Shared {
    pub certs: Arc<cert::Store>,
    pub metrics: Metrics,
    pub log: access_log::Writer,
    endpoints: Mutex<HashMap<String, Arc<Endpoint>>>,
    rates: Mutex<HashMap<String, Arc<Rates>>>,
}

impl Shared {
    /// The endpoint of an address: the same one as before, with what is known of its health.
    pub(crate) fn endpoint(&self, url: &str, verify: &str) -> Result<Arc<Endpoint>, String> {
        let mut all = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{verify} {url}");
        if let Some(there) = all.get(&key) {
            return Ok(there.clone());
        }
        let new = Arc::new(Endpoint::parse(url, verify)?);
        all.insert(key, new.clone());
        Ok(new)
    }

    pub(crate) fn rates(&self, service: &str) -> Arc<Rates> {
        let mut all = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(service.to_string()).or_default().clone()
    }

    /// Lets go of endpoints that no snapshot has any more.
    fn forget(&self) {
        self.endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, endpoint| Arc::strong_count(endpoint) > 1);
    }
}

/// The role.
pub struct Proxy {
    setting: Arc<Setting>,
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    keeper: Keeper,
    now: AsyncMutex<Now>,
    live: Mutex<Arc<Live>>,
}

#[derive(Default)]
struct Now {
    generation: Option<u64>,
    snapshot: Option<ProxySnapshot>,
    listening: BTreeMap<SocketAddr, Accepts>,
}

impl Proxy {
    /// Starts the threads; nothing is listened on before a snapshot comes.
    pub fn start(setting: Setting) -> Proxy {
        let setting = Arc::new(setting);
        let shared = Arc::new(Shared {
            certs: Arc::new(cert::Store::default()),
            metrics: Metrics::default(),
            log: access_log::Writer::start(),
            endpoints: Mutex::default(),
            rates: Mutex::default(),
        });
        let empty = Arc::new(Live::empty());
        let workers = (0..setting.workers.max(1)).map(|number| Worker::start(number, &shared, &empty)).collect();
        let keeper = Keeper::start(setting.clone(), shared.clone());
        Proxy { setting, shared, workers, keeper, now: AsyncMutex::default(), live: Mutex::new(empty) }
    }

    pub fn metrics(&self, registry: &mut Registry) {
        self.shared.metrics.register(registry);
    }

    /// What is wrong now, in words.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.keeper.faults();
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner).clone();
        faults.extend(live.geo.as_ref().and_then(|geo| geo.fault()));
        faults
    }

    pub fn certificates(&self) -> Vec<control::Certificate> {
        self.keeper.certificates()
    }

    /// The lab's own authority as PEM, where it has signed anything.
    pub fn authority(&self) -> Option<String> {
        self.keeper.authority_pem()
    }

    /// Upstreams by service, and what was last seen of each.
    pub fn upstreams(&self) -> BTreeMap<String, Vec<control::Upstream>> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner).clone();
        live.groups()
            .map(|group| (group.service.clone(), group.endpoints.iter().map(|one| one.status()).collect()))
            .collect()
    }

    /// Takes no more, ends what is idle, and waits for the rest.
    pub async fn drain(&self, longest: Duration, closing: Closing) {
        let drained = self.workers.iter().map(|worker| worker.drain(longest, closing));
        for drained in drained.collect::<Vec<_>>() {
            let _ = tokio::time::timeout(longest + Duration::from_secs(1), drained).await;
        }
        self.shared.log.flush();
    }

    /// Every address that a snapshot listens on.
    fn wanted(snapshot: &ProxySnapshot) -> BTreeMap<SocketAddr, Accepts> {
        // `[::]` takes IPv4 as well; a kernel without IPv6 has only the other.
        let all = match std::path::Path::new("/proc/net/if_inet6").exists() {
            true => [IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
            false => [IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        };
        let addresses = if snapshot.listen.addresses.is_empty() { &all[..] } else { &snapshot.listen.addresses };
        let mut wanted = BTreeMap::new();
        for address in addresses {
            let mut add = |port: u16, what: Accepts| {
                wanted.insert(SocketAddr::new(*address, port), what);
            };
            if snapshot.listen.http > 0 {
                add(snapshot.listen.http, Accepts::Http);
            }
            if let Some(port) = snapshot.listen.https {
                add(port, Accepts::Https);
            }
            for port in &snapshot.ports {
                add(port.port, Accepts::Port(port.port));
            }
        }
        wanted
    }

    async fn serve(&self, now: &mut Now, snapshot: &ProxySnapshot) -> Result<(), String> {
        let live = Arc::new(Live::compile(snapshot, &self.setting, &self.shared)?);
        let wanted = Self::wanted(snapshot);
        let mut fresh = Vec::new();
        for (address, what) in &wanted {
            if now.listening.contains_key(address) {
                continue;
            }
            match self.setting.sockets.listen(*address, self.workers.len()) {
                Ok(listeners) => fresh.push((*address, *what, listeners)),
                Err(error) => {
                    fresh.iter().for_each(|(address, ..)| self.setting.sockets.close(*address));
                    return Err(format!("cannot listen on `{address}`: {}", taken(&error, address.port())));
                }
            }
        }
        // Names have a certificate before anybody is let in to ask for them.
        if let Err(reason) = self.keeper.configure(snapshot, wanted.values().any(|what| *what == Accepts::Https)) {
            fresh.iter().for_each(|(address, ..)| self.setting.sockets.close(*address));
            return Err(reason);
        }
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = live.clone();
        let served: Vec<_> = self.workers.iter().map(|worker| worker.serve(live.clone())).collect();
        for served in served {
            let _ = served.await;
        }
        let gone: Vec<SocketAddr> =
            now.listening.keys().filter(|address| !wanted.contains_key(address)).copied().collect();
        for address in gone {
            self.workers.iter().for_each(|worker| worker.close(address));
            self.setting.sockets.close(address);
        }
        // An address that stays may take something else in.
        for (address, what) in &wanted {
            self.workers.iter().for_each(|worker| worker.change(*address, *what));
        }
        for (address, what, listeners) in fresh {
            for (number, listener) in listeners.into_iter().enumerate() {
                let worker = &self.workers[number % self.workers.len()];
                worker.listen(address, what, listener);
            }
        }
        now.listening = wanted;
        self.keeper.watch(live);
        self.shared.forget();
        Ok(())
    }
}

/// Why an address cannot be listened on, and who may have it.
fn taken(error: &std::io::Error, port: u16) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "another program has port {port}; `ss -ltnp 'sport = :{port}'` on the host says which. If it is a proxy that shall \
             stay, name it: `platform.reverse_proxy.service`"
        ),
        std::io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 take the capability CAP_NET_BIND_SERVICE, which the unit gives; port {port}")
        }
        std::io::ErrorKind::AddrNotAvailable => {
            "this host has no such address; `platform.reverse_proxy.listen` names it".to_string()
        }
        _ => error.to_string(),
    }
}

impl Daemon for Proxy {
    type Snapshot = ProxySnapshot;

    async fn apply(&self, generation: u64, snapshot: ProxySnapshot) -> Applied {
        let mut now = self.now.lock().await;
        match now.generation {
            Some(have) if have > generation => return Applied::Stale { have },
            Some(have) if have == generation => return Applied::AlreadyAt,
            _ => {}
        }
        // The same again is newer and no work: certificates and connections stay as they are.
        if now.snapshot.as_ref() != Some(&snapshot) {
            if let Err(reason) = self.serve(&mut now, &snapshot).await {
                return Applied::Refused(reason);
            }
            now.snapshot = Some(snapshot);
        }
        now.generation = Some(generation);
        Applied::Now
    }
}
