//! What runs for ever on a host: names and doors, fed by snapshots.
//! Reads no lab file: what it does is in its snapshot, and what it needs beside that is a file or a credential by name. A
//! daemon refuses a snapshot that it cannot serve and goes on with what it has; it asks nobody for anything at start.

pub mod dns;
pub mod proxy;
pub mod serve;
pub mod up;

use std::future::Future;

/// What a daemon says to a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is what is served from now on.
    Now,
    /// The same generation is served already.
    AlreadyAt,
    /// A later generation is served: daemons go only forward.
    Stale {
        /// The generation that is served.
        have: u64,
    },
    /// It cannot be served, and why; what was served before still is.
    Refused(String),
}

/// Runs for ever, fed by snapshots; goes only forward.
pub trait Daemon {
    /// What it serves, as plain data.
    type Snapshot;
    /// Serves another snapshot from now on, without a query or connection lost.
    fn apply(&self, generation: u64, snapshot: Self::Snapshot) -> impl Future<Output = Applied> + Send;
}
