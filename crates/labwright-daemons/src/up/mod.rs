//! `labwright up`: the whole lab on this machine, run by one supervisor. It is fed a plain value (`model/snapshot/up`), starts
//! each thing the moment that what it needs is well, and tells everybody who follows its control socket of each change.
//!
//! It reads no lab file and prints nothing. `docs/decisions/0015-up.md` says why it is as it is.

mod beside;
mod by_hand;
mod containers;
mod control;
mod course;
mod doors;
mod folder;
mod guard;
mod kin;
mod output;
pub mod ports;
mod probe;
mod process;
mod ready;
mod seeds;
mod supervisor;
mod unit;
mod watch;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;

use labwright_model::snapshot::up::Up;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::serve::ServeError;

pub use beside::Beside;
pub use containers::{Engine, Orders, Tell};
pub use control::reach;
pub use folder::Folder;
pub use guard::guard;
pub use kin::sweep;

/// What a supervisor is told to run; on its standard input, since secrets are in it.
#[derive(Serialize, Deserialize)]
pub struct Start {
    pub up: Up,
    /// The values of the secrets that variables refer to.
    pub secrets: BTreeMap<String, String>,
    /// Where its dashboard is to be; nowhere when absent.
    #[serde(default)]
    pub dashboard: Option<Listen>,
    /// What its containers are made from, for whoever runs them; nothing where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<serde_json::Value>,
}

impl Start {
    /// BLAKE3 of what is run, in hex; secrets are not in it.
    pub fn digest(up: &Up) -> String {
        let text = serde_json::to_vec(up).unwrap_or_default();
        blake3::hash(&text).to_hex()[..32].to_string()
    }
}

/// Where a dashboard listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    pub address: SocketAddr,
    /// Whether another port will do where this one is taken.
    pub gives_way: bool,
}

/// The line that a supervisor writes to its standard output once its control socket answers.
pub const READY: &str = "ready";

/// Supervises until it is told to end. Reads what to run from standard input; `beside` says what there is in this process
/// beside the supervisor, before anything is started; `engine` runs containers, where there are some.
///
/// # Errors
/// The folder cannot be used, another supervisor has it, or what came over standard input is not understood.
pub fn supervise(folder: &Folder, beside: impl FnOnce(&Start) -> Beside, engine: Engine<'_>) -> Result<(), ServeError> {
    // Whoever started it sees to the rest when it goes; without that one it ends everything in order.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    // A disk that is full costs what is said there, and not the one who says it.
    let format = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).log_internal_errors(false);
    let _ = format.with_max_level(tracing::Level::INFO).try_init();
    let mut text = Zeroizing::new(Vec::new());
    let failed = |error: String| ServeError::new(format!("failed to take over what is to run: {error}"), "");
    std::io::stdin().read_to_end(&mut text).map_err(|error| failed(error.to_string()))?;
    let start: Start = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
    drop(text);
    let _lock = folder.lock("supervisor.lock")?;
    let beside = beside(&start);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ServeError::new(format!("failed to start: {error}"), ""))?;
    tokio::task::LocalSet::new().block_on(&runtime, supervisor::run(folder.clone(), start, beside, engine))
}
