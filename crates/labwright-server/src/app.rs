//! What every request may look at.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use labwright_model::snapshot::up::Up;
use tokio::sync::{Semaphore, watch};

use crate::Connect;
use crate::gate::{self, Gate};
use crate::hub::Snapshot;
use crate::metrics;
use crate::traces::Store;

/// So many tabs are told of changes at once; one more is told to come later.
const STREAMS: usize = 64;

pub struct App {
    pub up: Up,
    pub logs: PathBuf,
    pub gate: Gate,
    pub connect: Connect,
    pub now: watch::Sender<Snapshot>,
    pub streams: Arc<Semaphore>,
    pub began: Instant,
    /// What tells this run from the next one.
    pub run: String,
    /// Where telemetry is taken.
    pub telemetry: Option<String>,
    traces: Mutex<Store>,
    metrics: Mutex<metrics::Store>,
    /// Rises when a trace comes in.
    pub traced: watch::Sender<u64>,
    /// Rises when metrics come in.
    pub measured: watch::Sender<u64>,
}

impl App {
    pub fn new(up: Up, logs: PathBuf, gate: Gate, telemetry: Option<String>, connect: Connect) -> Arc<App> {
        Arc::new(App {
            up,
            logs,
            gate,
            connect,
            now: watch::Sender::new(Snapshot::default()),
            streams: Arc::new(Semaphore::new(STREAMS)),
            began: Instant::now(),
            run: gate::random(),
            telemetry,
            traces: Mutex::new(Store::default()),
            metrics: Mutex::default(),
            traced: watch::Sender::new(0),
            measured: watch::Sender::new(0),
        })
    }

    pub fn traces(&self) -> MutexGuard<'_, Store> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn metrics(&self) -> MutexGuard<'_, metrics::Store> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the supervisor began, as nearly as this thread knows.
    pub fn elapsed(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}
