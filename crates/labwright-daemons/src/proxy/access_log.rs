//! One line of JSON for each request, written by a thread of its own: a slow disk slows no answer down.

use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Lines that may wait; more are dropped, and their number is told.
const WAITING: usize = 8192;

/// A line that is written when the body that it belongs to goes.
pub struct Line {
    pub entry: Option<Box<Entry>>,
    pub bytes: u64,
    pub begun: Instant,
    writer: SyncSender<Message>,
}

#[derive(Debug, Serialize)]
pub struct Entry {
    pub time: String,
    pub client: String,
    pub service: String,
    pub host: String,
    pub method: String,
    pub path: String,
    pub version: String,
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    pub bytes: u64,
    pub seconds: f64,
}

enum Message {
    Entry(Box<Entry>),
    Flush(SyncSender<()>),
}

/// The way to the thread that writes.
#[derive(Clone)]
pub struct Writer(SyncSender<Message>);

impl Writer {
    pub fn start() -> Writer {
        let (send, queue) = sync_channel(WAITING);
        std::thread::spawn(move || {
            let mut out = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout());
            loop {
                match queue.recv_timeout(Duration::from_secs(1)) {
                    Ok(Message::Entry(entry)) => {
                        if serde_json::to_writer(&mut out, &entry).is_ok() {
                            let _ = out.write_all(b"\n");
                        }
                    }
                    Ok(Message::Flush(done)) => {
                        let _ = out.flush();
                        let _ = done.send(());
                    }
                    Err(RecvTimeoutError::Timeout) => drop(out.flush()),
                    Err(RecvTimeoutError::Disconnected) => return drop(out.flush()),
                }
            }
        });
        Writer(send)
    }

    pub fn line(&self, entry: Entry, begun: Instant) -> Line {
        Line { entry: Some(Box::new(entry)), bytes: 0, begun, writer: self.0.clone() }
    }

    /// Waits until everything is written.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.0.send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(Duration::from_secs(2));
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Some(mut entry) = self.entry.take() else { return };
        entry.bytes = self.bytes;
        entry.seconds = self.begun.elapsed().as_secs_f64();
        if let Err(TrySendError::Full(_)) = self.writer.try_send(Message::Entry(entry)) {
            tracing::debug!("a line of the access log was dropped: its writer is behind");
        }
    }
}
