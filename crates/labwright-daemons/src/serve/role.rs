//! The roles of a host, as its snapshot names them: which there are, and what becomes of all of them together.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use labwright_model::snapshot::control::{Reply, Request, Status};
use labwright_model::snapshot::dns::DnsSnapshot;
use labwright_model::snapshot::dns::told::Told;
use labwright_model::snapshot::proxy::ProxySnapshot;
use labwright_model::snapshot::{DNS, PROXY, Snapshot};
use prometheus_client::registry::Registry;

use super::listeners::Sockets;
use super::{Options, disk, fits};
use crate::dns::Resolver;
use crate::proxy::{Closing, Proxy};
use crate::{Applied, Daemon};

/// How long queries that wait for upstreams have at the end, and connections of clients.
const LAST_QUERIES: Duration = Duration::from_secs(2);
/// The same where a successor answers meanwhile: connections in use may go on until their clients pause.
const LAST_STREAMS: Duration = Duration::from_secs(30);

/// What a host can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Dns,
    Proxy,
}

impl Role {
    pub const ALL: &[Role] = &[Role::Dns, Role::Proxy];

    pub fn word(self) -> &'static str {
        match self {
            Role::Dns => DNS,
            Role::Proxy => PROXY,
        }
    }

    fn parse(word: &str) -> Result<Role, String> {
        Role::ALL.iter().copied().find(|role| role.word() == word).ok_or_else(|| {
            let known: Vec<&str> = Role::ALL.iter().map(|role| role.word()).collect();
            format!(
                "this labwright knows no role `{word}`, only `{}`; a newer one may: `labwright apply` from there brings it",
                known.join("`, `")
            )
        })
    }
}

/// All roles of this process.
pub struct Roles {
    state: PathBuf,
    sockets: Sockets,
    resolver: Resolver,
    proxy: Proxy,
    served: Option<Snapshot>,
    /// The highest generation that any role serves, although another may not.
    highest: u64,
    refused: Option<String>,
    faults: Vec<String>,
    program: String,
    well: Rc<RefCell<Result<String, String>>>,
}

/// What a snapshot says of each role.
#[derive(Default)]
struct Parts {
    dns: Option<DnsSnapshot>,
    proxy: ProxySnapshot,
}

impl Parts {
    fn of(snapshot: &Snapshot) -> Result<Parts, String> {
        fits(snapshot)?;
        let mut parts = Parts::default();
        for (word, value) in &snapshot.roles {
            let unclear = |error: serde_json::Error| {
                format!("what the snapshot says of the role `{word}` is not understood: {error}")
            };
            match Role::parse(word)? {
                Role::Dns => parts.dns = Some(serde_json::from_value(value.clone()).map_err(unclear)?),
                Role::Proxy => parts.proxy = serde_json::from_value(value.clone()).map_err(unclear)?,
            }
        }
        Ok(parts)
    }
}

/// Why a process ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ending {
    /// Another one has everything, and answers.
    Replaced,
    /// It was told to.
    Told,
}

impl Roles {
    /// `succeeds`: whether another process serves until this one is ready.
    pub fn new(options: &Options, sockets: Sockets, program: String, succeeds: bool) -> Roles {
        let threads = options.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let proxy = Proxy::start(crate::proxy::Setting {
            state: options.state.join("proxy"),
            credentials: options.credentials.clone(),
            workers: threads,
            sockets: sockets.clone(),
        });
        let resolver = Resolver::new(crate::dns::Setting {
            state: options.state.join("dns"),
            sockets: sockets.clone(),
            threads,
            succeeds,
        });
        Roles {
            state: options.state.clone(),
            sockets,
            resolver,
            proxy,
            served: None,
            highest: 0,
            refused: None,
            faults: Vec::new(),
            program,
            well: Rc::new(RefCell::new(Ok("nothing to serve yet\n".to_string()))),
        }
    }

    pub fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    pub fn registry(&mut self) -> Registry {
        let mut registry = Registry::with_prefix("labwright");
        self.proxy.metrics(&mut registry);
        self.resolver.metrics(&mut registry);
        registry
    }

    /// What `/healthz` says: well, or why not.
    pub fn health(&self) -> Rc<dyn Fn() -> Result<String, String>> {
        let well = self.well.clone();
        Rc::new(move || well.borrow().clone())
    }

    /// Something that is wrong until a snapshot is served.
    pub fn fault(&mut self, fault: String) {
        *self.well.borrow_mut() = Err(format!("{fault}\n"));
        self.faults.push(fault);
    }

    /// Leaves the listeners with the service manager.
    pub fn tell_manager(&self) {
        self.sockets.forget();
        self.sockets.store();
    }

    /// Serves the last good snapshot, with nobody there to tell. A role that cannot be served keeps no other from it.
    pub async fn boot(&mut self, snapshot: &Snapshot) {
        let generation = snapshot.generation;
        self.highest = generation;
        let reason = match Parts::of(snapshot) {
            Ok(parts) => self.boot_each(generation, parts, &snapshot.lab).await,
            Err(reason) => Some(reason),
        };
        let Some(reason) = reason else {
            tracing::info!(generation, "serving the last good snapshot");
            return self.is_served(snapshot.clone());
        };
        let fault = format!("the last good snapshot cannot be served: {reason}");
        if !self.faults.contains(&fault) {
            tracing::error!(generation, reason, "the last good snapshot cannot be served; it is tried again");
            self.fault(fault);
            self.tell_manager();
        }
    }

    /// Serves each role by itself; what is wrong with any, in words.
    async fn boot_each(&mut self, generation: u64, parts: Parts, lab: &str) -> Option<String> {
        let dns = match self.resolver.prepare(generation, parts.dns, lab) {
            Ok(prepared) => self.resolver.serve(prepared).await.err(),
            Err(reason) => Some(reason),
        };
        let proxy = match self.proxy.apply(generation, parts.proxy).await {
            Applied::Refused(reason) => Some(reason),
            Applied::Now | Applied::AlreadyAt | Applied::Stale { .. } => None,
        };
        let reasons: Vec<String> = dns.into_iter().chain(proxy).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Whether nothing is served.
    pub fn is_idle(&self) -> bool {
        self.served.is_none()
    }

    /// Every role looks before the first one changes: the resolver is prepared, the proxy changes whole or not at all, and
    /// then the resolver serves what was found good.
    async fn serve(&mut self, snapshot: Snapshot) -> Result<(), String> {
        let parts = Parts::of(&snapshot)?;
        let prepared = self.resolver.prepare(snapshot.generation, parts.dns, &snapshot.lab)?;
        let refused = match self.proxy.apply(snapshot.generation, parts.proxy).await {
            Applied::Now | Applied::AlreadyAt => None,
            Applied::Stale { have } => Some(format!("generation {have} is served, which is newer")),
            Applied::Refused(reason) => Some(reason),
        };
        if let Some(reason) = refused {
            self.resolver.forgo(prepared);
            return Err(reason);
        }
        self.resolver.serve(prepared).await?;
        self.is_served(snapshot);
        Ok(())
    }

    fn is_served(&mut self, snapshot: Snapshot) {
        let roles: Vec<&str> = snapshot.roles.keys().map(String::as_str).collect();
        *self.well.borrow_mut() = Ok(format!("serving generation {}: {}\n", snapshot.generation, roles.join(", ")));
        self.faults.clear();
        self.highest = snapshot.generation;
        self.served = Some(snapshot);
        self.tell_manager();
    }

    async fn apply(&mut self, snapshot: Snapshot) -> Reply {
        let generation = snapshot.generation;
        if self.highest > generation {
            return Reply::Stale { have: self.highest };
        }
        if let Some(served) = &self.served {
            if *served == snapshot {
                return Reply::AlreadyAt { generation };
            }
            if served.generation == generation {
                let reason = format!("generation {generation} is served already, and says something else");
                return Reply::Refused { reason };
            }
        }
        match self.serve(snapshot.clone()).await {
            Ok(()) => {
                self.refused = None;
                if let Err(error) = disk::keep(&self.state, &snapshot) {
                    // It is served; what a reboot would bring back is the one before.
                    tracing::error!(%error, generation, "the snapshot could not be kept on the disk");
                    self.faults.push(format!(
                        "generation {generation} is served, and could not be kept in `{}`: {error}; a restart would bring back \
                         the one before",
                        self.state.display()
                    ));
                }
                tracing::info!(generation, "serving a new snapshot");
                Reply::Applied { generation }
            }
            Err(reason) => {
                tracing::error!(generation, reason, "a snapshot was refused; the old one goes on");
                self.refused = Some(reason.clone());
                Reply::Refused { reason }
            }
        }
    }

    pub async fn answer(&mut self, request: Request, options: &Options) -> Reply {
        match request {
            Request::Apply { snapshot } => self.apply(*snapshot).await,
            Request::Status => Reply::Status(Box::new(self.status())),
            Request::Dns { dns } => match self.resolver.ask(dns).await {
                Told::Refused(reason) => Reply::Refused { reason },
                dns => Reply::Dns { dns },
            },
            Request::Upgrade => match upgrade(options) {
                Ok(pid) => {
                    tracing::info!(pid, "started a successor");
                    Reply::Done
                }
                Err(reason) => Reply::Refused { reason },
            },
            Request::HandOver | Request::Leave => Reply::Done,
        }
    }

    fn status(&self) -> Status {
        let mut faults = self.faults.clone();
        faults.extend(self.proxy.faults());
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            program: self.program.clone(),
            snapshot: self.served.clone(),
            generation: self.highest,
            refused: self.refused.clone(),
            faults,
            certificates: self.proxy.certificates(),
            authority: self.proxy.authority(),
            upstreams: self.proxy.upstreams(),
            resolver: self.resolver.status().map(Box::new),
        }
    }

    /// Takes no more, and waits for what is under way.
    pub async fn drain(&mut self, longest: Duration, ending: Ending) {
        match ending {
            // Queries are the successor's from now on; long downloads stay here.
            Ending::Replaced => {
                self.sockets.clear();
                tokio::join!(self.resolver.end(LAST_STREAMS), self.proxy.drain(longest, Closing::WhenQuiet));
            }
            // Nobody else answers: names are answered to the end.
            Ending::Told => {
                self.proxy.drain(longest, Closing::Now).await;
                self.resolver.end(LAST_QUERIES).await;
            }
        }
    }
}

/// Starts the program anew from where it stands; the new process takes everything over by itself.
fn upgrade(options: &Options) -> Result<u32, String> {
    // The path it was started by, not the file: that one may be gone already.
    let program = std::env::args_os().next().unwrap_or_default();
    let mut command = std::process::Command::new(&program);
    command.args(std::env::args_os().skip(1)).stdin(Stdio::null());
    // What the manager gave was given to this process.
    command.env_remove("LISTEN_FDS").env_remove("LISTEN_PID").env_remove("LISTEN_FDNAMES").env_remove("WATCHDOG_PID");
    let child = command.spawn().map_err(|error| format!("failed to start `{}`: {error}", program.to_string_lossy()))?;
    let pid = child.id();
    // Whoever leaves children behind unwaited keeps their names in the table of processes.
    std::thread::spawn(move || {
        let mut child = child;
        child.wait()
    });
    tracing::debug!(state = %options.state.display(), "successor has the same state folder");
    Ok(pid)
}
