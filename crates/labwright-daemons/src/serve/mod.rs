//! `labwright serve`: one process for all roles of a host. Takes snapshots over a control socket, keeps the last good one,
//! and hands its sockets to its successor. Knows no role's business.

mod control;
mod disk;
mod handover;
mod listeners;
mod observe;
mod role;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use labwright_model::snapshot::Snapshot;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

pub use disk::write_whole;
pub use listeners::{Pairs, Sockets};
pub use role::Role;

use control::Event;
use role::{Ending, Roles};

/// How long requests that are being answered may take after a signal to end.
const GRACE: Duration = Duration::from_secs(20);
/// How long a process that handed everything over stays for what it has: long downloads, WebSockets.
const AFTERLIFE: Duration = Duration::from_secs(6 * 3600);

/// How soon the last good snapshot is tried again that could not be served at boot.
const AGAIN: Duration = Duration::from_secs(3);

/// What `labwright serve` is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the last good snapshot and the roles' own state are kept.
    pub state: PathBuf,
    /// Where the control socket stands.
    pub runtime: PathBuf,
    /// Where credentials are, a file each.
    pub credentials: Option<PathBuf>,
    /// Where `/healthz` and `/metrics` answer, beside a socket in `runtime`; a loopback address.
    pub observe: Option<SocketAddr>,
    /// Threads that answer; one for each core when absent.
    pub workers: Option<usize>,
}

/// Why it cannot serve at all.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ServeError {
    pub message: String,
    pub help: String,
}

impl ServeError {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> ServeError {
        ServeError { message: message.into(), help: help.into() }
    }
}

/// Serves until it is told to end. Logs to standard output, a JSON document a line.
///
/// # Errors
/// State folder or control socket cannot be used, or no thread can be had. A snapshot that cannot be served is no error:
/// it is told by `status`.
pub fn run(options: &Options) -> Result<(), ServeError> {
    let format = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false).with_span_list(false);
    // Within one process the second start of a log is no fault: tests do it.
    let _ = format.with_max_level(tracing::Level::INFO).try_init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ServeError::new(format!("failed to start: {error}"), ""))?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(options))
}

async fn serve(options: &Options) -> Result<(), ServeError> {
    disk::prepare(&options.state)?;
    disk::prepare(&options.runtime)?;
    let socket = options.runtime.join(labwright_model::snapshot::control::SOCKET);
    // Whoever serves now has the listeners; without it the service manager may have kept them.
    let (sockets, before) = match handover::take(&socket).await {
        Some((sockets, before)) => (sockets, Some(before)),
        None => (Sockets::from_manager(), None),
    };
    let program = digest(Path::new("/proc/self/exe"));
    let mut roles = Roles::new(options, sockets, program, before.is_some());
    match disk::load(&options.state) {
        Ok(Some(snapshot)) => roles.boot(&snapshot).await,
        Ok(None) => tracing::info!("nothing to serve yet: no snapshot was ever pushed"),
        Err(reason) => {
            tracing::error!(reason, "the last good snapshot cannot be read");
            roles.fault(reason);
        }
    }
    let (events, mut queue) = mpsc::unbounded_channel();
    let _control = control::listen(&socket, events.clone())?;
    let _observe = observe::listen(options, &mut roles)?;
    roles.sockets().sweep();
    roles.tell_manager();
    if let Some(before) = before {
        handover::dismiss(before).await;
    } else {
        notify(&[NotifyState::Ready]);
    }
    tracing::info!(pid = std::process::id(), "serving");
    let failed = |error: std::io::Error| ServeError::new(format!("failed to wait for signals: {error}"), "");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let roles = Rc::new(tokio::sync::Mutex::new(roles));
    let mut again = tokio::time::interval(AGAIN);
    loop {
        tokio::select! {
            // At boot an address may come late, or another program may go.
            _ = again.tick() => {
                let mut roles = roles.lock().await;
                if roles.is_idle() && let Ok(Some(snapshot)) = disk::load(&options.state) {
                    roles.boot(&snapshot).await;
                }
            }
            event = queue.recv() => match event {
                Some(Event::Ask(request, reply)) => {
                    // One after the other: a snapshot is whole before the next is looked at.
                    let answer = roles.lock().await.answer(*request, options).await;
                    let _ = reply.send(answer);
                }
                Some(Event::HandOver(stream)) => {
                    let roles = roles.lock().await;
                    match handover::give(stream, roles.sockets()).await {
                        Ok(count) => tracing::info!(sockets = count, "sockets handed over"),
                        Err(error) => tracing::warn!(%error, "a successor did not take the sockets"),
                    }
                }
                Some(Event::Leave(successor)) => {
                    tracing::info!(successor, "replaced; ending what is under way");
                    notify(&[NotifyState::MainPid(successor), NotifyState::Ready]);
                    roles.lock().await.drain(AFTERLIFE, Ending::Replaced).await;
                    return Ok(());
                }
                None => return Ok(()),
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("told to end");
    notify(&[NotifyState::Stopping]);
    roles.lock().await.drain(GRACE, Ending::Told).await;
    Ok(())
}

/// Tells the service manager. Without one there is nobody to tell.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

/// BLAKE3 of a file in hex; empty where it cannot be read.
fn digest(path: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    let read = std::fs::File::open(path).and_then(|file| hasher.update_reader(file).map(|_| ()));
    read.map(|()| hasher.finalize().to_hex().to_string()).unwrap_or_default()
}

/// Whether a snapshot is of a form that this program knows.
fn fits(snapshot: &Snapshot) -> Result<(), String> {
    let version = labwright_model::snapshot::VERSION;
    match snapshot.version {
        known if known == version => Ok(()),
        other => Err(format!(
            "the snapshot is in version {other} of its format, and this labwright knows {version}; apply again with the \
             labwright that this host runs, or let `labwright apply` bring it the new one"
        )),
    }
}
