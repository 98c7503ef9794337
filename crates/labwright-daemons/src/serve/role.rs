//! The roles of a host, as its snapshot names them: which there are, and what becomes of all of them together.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use labwright_model::snapshot::control::{Reply, Request, Status};
use labwright_model::snapshot::proxy::ProxySnapshot;
use labwright_model::snapshot::{PROXY, Snapshot};
use prometheus_client::registry::Registry;

use super::listeners::Sockets;
use super::{Options, disk, fits};
use crate::proxy::Proxy;
use crate::{Applied, Daemon};

/// What a host can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Proxy,
}

impl Role {
    pub const ALL: &[Role] = &[Role::Proxy];

    pub fn word(self) -> &'static str {
        match self {
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
    proxy: Proxy,
    served: Option<Snapshot>,
    refused: Option<String>,
    faults: Vec<String>,
    program: String,
    well: Rc<RefCell<Result<String, String>>>,
}

impl Roles {
    pub fn new(options: &Options, sockets: Sockets, program: String) -> Roles {
        let proxy = Proxy::start(crate::proxy::Setting {
            state: options.state.join("proxy"),
            credentials: options.credentials.clone(),
            workers: options.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
            sockets: sockets.clone(),
        });
        Roles {
            state: options.state.clone(),
            sockets,
            proxy,
            served: None,
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

    /// Serves the last good snapshot, with nobody there to tell.
    pub async fn boot(&mut self, snapshot: &Snapshot) {
        let generation = snapshot.generation;
        match self.serve(snapshot.clone()).await {
            Ok(()) => tracing::info!(generation, "serving the last good snapshot"),
            Err(reason) => {
                let fault = format!("the last good snapshot cannot be served: {reason}");
                if !self.faults.contains(&fault) {
                    tracing::error!(generation, reason, "the last good snapshot cannot be served; it is tried again");
                    self.fault(fault);
                }
            }
        }
    }

    /// Whether nothing is served.
    pub fn is_idle(&self) -> bool {
        self.served.is_none()
    }

    async fn serve(&mut self, snapshot: Snapshot) -> Result<(), String> {
        fits(&snapshot)?;
        let mut proxy = ProxySnapshot::default();
        for (word, value) in &snapshot.roles {
            match Role::parse(word)? {
                Role::Proxy => {
                    proxy = serde_json::from_value(value.clone()).map_err(|error| {
                        format!("what the snapshot says of the role `{word}` is not understood: {error}")
                    })?;
                }
            }
        }
        match self.proxy.apply(snapshot.generation, proxy).await {
            Applied::Refused(reason) => return Err(reason),
            Applied::Now | Applied::AlreadyAt | Applied::Stale { .. } => {}
        }
        *self.well.borrow_mut() = Ok(format!("serving generation {}\n", snapshot.generation));
        self.faults.clear();
        self.served = Some(snapshot);
        self.tell_manager();
        Ok(())
    }

    async fn apply(&mut self, snapshot: Snapshot) -> Reply {
        let generation = snapshot.generation;
        if let Some(served) = &self.served {
            if served.generation > generation {
                return Reply::Stale { have: served.generation };
            }
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
            refused: self.refused.clone(),
            faults,
            certificates: self.proxy.certificates(),
            authority: self.proxy.authority(),
            upstreams: self.proxy.upstreams(),
        }
    }

    /// Takes no more, and waits for what is under way.
    pub async fn drain(&mut self, longest: Duration) {
        self.proxy.drain(longest).await;
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
