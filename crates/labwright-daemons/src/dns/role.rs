//! The resolver among the roles of `labwright serve`: sockets of the process, snapshots that are looked at before anything
//! changes, a successor that answers as well as its predecessor did.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use labwright_model::snapshot::dns::told::{Ask, Statistics, Told};
use labwright_model::snapshot::dns::{DnsSnapshot, ListSource, folder};
use prometheus_client::registry::Registry;

use super::listen::explain;
use super::{Server, Settings, metrics};
use crate::serve::{Pairs, Sockets};
use crate::{Applied, Daemon};

/// How long a successor waits for its lists, while its predecessor goes on answering: what is blocked stays so.
const LISTS: Duration = Duration::from_secs(8);

/// What the role is started with.
pub struct Setting {
    /// Where fetched lists and the query log are kept.
    pub state: PathBuf,
    pub sockets: Sockets,
    /// Pairs of sockets for each address, with a thread each for datagrams.
    pub threads: usize,
    /// Whether another process answers until this one is told to be ready.
    pub succeeds: bool,
}

/// The role.
pub struct Resolver {
    setting: Setting,
    server: Option<Arc<Server>>,
    /// The same for metrics, which are read at any time.
    seen: Arc<Mutex<Option<Arc<Server>>>>,
}

/// A snapshot that can be served, with the sockets for it. Nothing is answered from it before `serve`.
pub struct Prepared {
    generation: u64,
    /// The server to be, where there is none yet.
    first: Option<Server>,
    snapshot: Option<DnsSnapshot>,
    fresh: Vec<(SocketAddr, Pairs)>,
    wanted: Vec<SocketAddr>,
}

impl Resolver {
    pub fn new(setting: Setting) -> Resolver {
        Resolver { setting, server: None, seen: Arc::default() }
    }

    pub fn metrics(&self, registry: &mut Registry) {
        let seen = self.seen.clone();
        metrics::register(registry, move || {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.as_ref().map(|server| server.core.clone())
        });
    }

    /// Looks whether a snapshot can be served, and takes the sockets that it needs; `None`: this host resolves no more.
    ///
    /// # Errors
    /// Why not, in words. Nothing has changed then.
    pub fn prepare(&self, generation: u64, snapshot: Option<DnsSnapshot>, lab: &str) -> Result<Prepared, String> {
        let Some(snapshot) = snapshot.map(|snapshot| on_this_host(snapshot, lab)) else {
            return Ok(Prepared { generation, first: None, snapshot: None, fresh: Vec::new(), wanted: Vec::new() });
        };
        let wanted = addresses(&snapshot);
        let mut prepared = Prepared { generation, first: None, snapshot: None, fresh: Vec::new(), wanted };
        match self.make_ready(&mut prepared, &snapshot) {
            Ok(()) => Ok(Prepared { snapshot: Some(snapshot), ..prepared }),
            Err(reason) => {
                self.forgo(prepared);
                Err(reason)
            }
        }
    }

    fn make_ready(&self, prepared: &mut Prepared, snapshot: &DnsSnapshot) -> Result<(), String> {
        let listening = self.server.as_ref().map(|server| server.listening()).unwrap_or_default();
        for address in prepared.wanted.iter().filter(|address| !listening.contains(address)) {
            let pairs = self.setting.sockets.pairs(*address, self.setting.threads);
            prepared.fresh.push((*address, pairs.map_err(|error| explain(*address, error).to_string())?));
        }
        match &self.server {
            Some(server) => server.check(prepared.generation, snapshot)?,
            None => {
                let settings =
                    Settings { lists: self.setting.state.join("lists"), ..Settings::below(&self.setting.state) };
                let server = Server::start_with(Vec::new(), snapshot.clone(), prepared.generation, &settings);
                prepared.first = Some(server.map_err(|error| error.to_string())?);
            }
        }
        Ok(())
    }

    /// Lets go of what was prepared: another role refused.
    pub fn forgo(&self, prepared: Prepared) {
        prepared.fresh.iter().for_each(|(address, _)| self.setting.sockets.close(*address));
    }

    /// Serves what was prepared.
    ///
    /// # Errors
    /// The system gave no thread for a socket, in words.
    pub async fn serve(&mut self, prepared: Prepared) -> Result<(), String> {
        let Prepared { generation, first, snapshot, fresh, wanted } = prepared;
        let Some(snapshot) = snapshot else {
            self.end(Duration::from_secs(2)).await;
            return Ok(());
        };
        let server = match (self.server.clone(), first) {
            (Some(server), _) => {
                match server.apply(generation, snapshot).await {
                    Applied::Now | Applied::AlreadyAt => {}
                    // It was looked at before: only what is newer is in the way.
                    Applied::Stale { have } => return Err(format!("generation {have} is served, which is newer")),
                    Applied::Refused(reason) => return Err(reason),
                }
                server
            }
            (None, Some(server)) => {
                let server = Arc::new(server);
                if self.setting.succeeds {
                    ready(&server).await;
                }
                *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(server.clone());
                self.server = Some(server.clone());
                server
            }
            (None, None) => return Err("a resolver was neither there nor made".into()),
        };
        for (address, pairs) in fresh {
            for (udp, tcp) in pairs {
                // The originals stay with whoever hands sockets over.
                let own = udp.try_clone().and_then(|udp| Ok((udp, tcp.try_clone()?)));
                let own = own.map_err(|error| explain(address, error).to_string())?;
                server.listen(own, 1).map_err(|error| error.to_string())?;
            }
        }
        let gone: Vec<SocketAddr> = server.listening().into_iter().filter(|at| !wanted.contains(at)).collect();
        for address in gone {
            let closing = server.clone();
            // Its threads are waited for.
            let _ = tokio::task::spawn_blocking(move || closing.close(address)).await;
            self.setting.sockets.close(address);
        }
        Ok(())
    }

    /// How it is; `None` where this host resolves nothing.
    pub fn status(&self) -> Option<Statistics> {
        self.server.as_ref().map(|server| server.statistics(0))
    }

    /// Answers what only it knows. May read files.
    pub async fn ask(&self, ask: Ask) -> Told {
        let Some(server) = self.server.clone() else {
            return Told::Refused("this host resolves nothing".into());
        };
        let asked = tokio::task::spawn_blocking(move || answer(&server, ask)).await;
        asked.unwrap_or_else(|_| Told::Refused("the resolver could not say".into()))
    }

    /// Answers no more; what is under way has so long.
    pub async fn end(&mut self, grace: Duration) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let Some(server) = self.server.take() else { return };
        let sockets = self.setting.sockets.clone();
        let ended = tokio::task::spawn_blocking(move || {
            let listening = server.listening();
            // Whoever reads statistics just now lets go of it in a moment.
            let mut server = server;
            let owned = loop {
                match Arc::try_unwrap(server) {
                    Ok(owned) => break owned,
                    Err(shared) => server = shared,
                }
                std::thread::sleep(Duration::from_millis(5));
            };
            owned.stop(grace);
            listening.into_iter().for_each(|address| sockets.close(address));
        });
        let _ = ended.await;
    }
}

fn answer(server: &Server, ask: Ask) -> Told {
    match ask {
        Ask::Statistics { tops } => Told::Statistics(Box::new(server.statistics(tops))),
        Ask::Queries(ask) => server.queries(&ask).map_or_else(Told::Refused, Told::Queries),
        Ask::Pause { group, seconds } => {
            match server.pause(group.as_deref(), Duration::from_secs(u64::from(seconds))) {
                true => Told::Done,
                false => Told::Refused(format!(
                    "there is no group `{}`, only `{}`",
                    group.unwrap_or_default(),
                    server.groups().join("`, `")
                )),
            }
        }
        Ask::Refresh => {
            server.refresh_lists();
            Told::Done
        }
    }
}

/// Waits until lists have been read, and not for ever.
async fn ready(server: &Server) {
    let until = Instant::now() + LISTS;
    while !server.lists_are_ready() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Lists that came with the lab are files of this host.
fn on_this_host(mut snapshot: DnsSnapshot, lab: &str) -> DnsSnapshot {
    let folder = folder(lab);
    for list in &mut snapshot.filter.lists {
        if let ListSource::Shipped(name) = &list.source {
            list.source = ListSource::File(Path::new(&folder).join(name).to_string_lossy().into_owned());
        }
    }
    snapshot
}

/// Every address that a snapshot listens on.
fn addresses(snapshot: &DnsSnapshot) -> Vec<SocketAddr> {
    let mut all = snapshot.listen.addresses.clone();
    if all.is_empty() {
        all.push(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        // A kernel without IPv6 has only the other.
        if Path::new("/proc/net/if_inet6").exists() {
            all.push(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        }
    }
    all.sort();
    all.dedup();
    all.into_iter().map(|address| SocketAddr::new(address, snapshot.listen.port)).collect()
}
