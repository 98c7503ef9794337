//! The control socket of a running lab: requests in, answers and events out, a JSON document a line.

use std::cell::Cell;
use std::os::unix::net::UnixStream as BlockingStream;
use std::rc::Rc;

use labwright_model::snapshot::up::control::{Request, SOCKET, Told};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{self, UnboundedSender};

use super::Folder;
use super::output::Tell;
use crate::serve::ServeError;

/// No request is longer.
const MOST_BYTES: u64 = 1 << 20;

/// What comes in.
pub enum Event {
    Ask {
        connection: u64,
        request: Request,
        tell: Tell,
    },
    /// Whoever spoke has gone.
    Gone(u64),
}

/// A path to the socket that is short enough, however deep its folder is: sun_path holds 108 bytes (unix(7)).
fn through(folder: &Folder) -> std::io::Result<(std::fs::File, std::path::PathBuf)> {
    let open = std::fs::File::open(folder.path())?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", std::os::fd::AsRawFd::as_raw_fd(&open));
    Ok((open, path.into()))
}

/// A connection to whoever supervises a lab; `None` where nobody does.
pub fn reach(folder: &Folder) -> Option<BlockingStream> {
    let (_open, path) = through(folder).ok()?;
    BlockingStream::connect(path).ok()
}

/// Listens, in place of one that was killed.
pub fn listen(folder: &Folder, events: UnboundedSender<Event>) -> Result<tokio::task::JoinHandle<()>, ServeError> {
    let bound = through(folder).and_then(|(open, path)| {
        drop(std::fs::remove_file(&path));
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        drop(open);
        Ok(listener)
    });
    let listener = bound.map_err(|error| {
        ServeError::new(format!("failed to listen on `{}`: {error}", folder.path().join(SOCKET).display()), "")
    })?;
    Ok(tokio::task::spawn_local(async move {
        let mut connection = 0;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    connection += 1;
                    drop(tokio::task::spawn_local(speak(stream, connection, events.clone())));
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket does not accept");
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
            }
        }
    }))
}

async fn speak(stream: UnixStream, connection: u64, events: UnboundedSender<Event>) {
    let Ok(peer) = stream.peer_cred() else { return };
    if peer.uid() != 0 && peer.uid() != rustix::process::getuid().as_raw() {
        return;
    }
    let (read, mut write) = stream.into_split();
    let (send, mut queue) = mpsc::unbounded_channel::<Told>();
    let waiting = Rc::new(Cell::new(0));
    let tell = Tell::new(send, waiting.clone());
    tokio::task::spawn_local(async move {
        while let Some(told) = queue.recv().await {
            waiting.set(waiting.get().saturating_sub(1));
            let Ok(mut text) = serde_json::to_vec(&told) else { return };
            text.push(b'\n');
            if write.write_all(&text).await.is_err() {
                return;
            }
        }
    });
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        match (&mut read).take(MOST_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        match serde_json::from_slice(&line) {
            Ok(request) => drop(events.send(Event::Ask { connection, request, tell: tell.clone() })),
            Err(error) => tell.say(Told::Refused { reason: format!("not understood: {error}"), help: String::new() }),
        }
    }
    let _ = events.send(Event::Gone(connection));
}
