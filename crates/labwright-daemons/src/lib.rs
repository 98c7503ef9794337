//! What runs for ever on a host: names and doors, fed by snapshots.
//! Reads no lab file: what it does is in its snapshot, and what it needs beside that is a file or a credential by name.

pub mod proxy;
pub mod serve;

use std::future::Future;

/// What a daemon says to a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is served from now on.
    Now,
    /// It was served already.
    AlreadyAt,
    /// A newer one is served.
    Stale { have: u64 },
    /// It cannot be served; the old one goes on. Why, in words.
    Refused(String),
}

/// Runs for ever, fed by snapshots; goes only forward.
pub trait Daemon {
    type Snapshot;
    fn apply(&self, generation: u64, snapshot: Self::Snapshot) -> impl Future<Output = Applied> + Send;
}
