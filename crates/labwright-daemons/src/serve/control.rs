//! The control socket: a JSON document a line, an answer for each. Root and the daemon's own user may speak.

use std::path::Path;

use labwright_model::snapshot::control::{Reply, Request};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::ServeError;

/// No snapshot of a homelab is larger.
const MOST_BYTES: u64 = 64 << 20;

/// What comes in.
pub enum Event {
    Ask(Box<Request>, oneshot::Sender<Reply>),
    HandOver(UnixStream),
    /// The process of this id serves from now on.
    Leave(u32),
}

/// Ends listening when it goes.
pub struct Control(tokio::task::JoinHandle<()>);

impl Drop for Control {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens at `path`, in place of whoever did before.
pub fn listen(path: &Path, events: mpsc::UnboundedSender<Event>) -> Result<Control, ServeError> {
    let listener = bind(path).map_err(|error| {
        let message = format!("failed to listen on the control socket `{}`: {error}", path.display());
        ServeError::new(message, "its folder must be writable; another one is named with `--runtime`")
    })?;
    Ok(Control(tokio::task::spawn_local(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::task::spawn_local(speak(stream, events.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "the control socket does not accept");
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
            }
        }
    })))
}

/// A socket takes the place of the old one in one step, so that there is always one.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    let new = path.with_extension("new");
    drop(std::fs::remove_file(&new));
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

async fn speak(stream: UnixStream, events: mpsc::UnboundedSender<Event>) {
    let Ok(peer) = stream.peer_cred() else { return };
    if peer.uid() != 0 && peer.uid() != rustix::process::getuid().as_raw() {
        tracing::warn!(uid = peer.uid(), "somebody else spoke to the control socket, and was not heard");
        return;
    }
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        match (&mut stream).take(MOST_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let reply = match serde_json::from_slice::<Request>(&line) {
            Ok(Request::HandOver) => {
                let _ = events.send(Event::HandOver(stream.into_inner()));
                return;
            }
            Ok(Request::Leave) => {
                let _ = events.send(Event::Leave(peer.pid().unwrap_or_default() as u32));
                Reply::Done
            }
            Ok(request) => {
                let (send, reply) = oneshot::channel();
                let _ = events.send(Event::Ask(Box::new(request), send));
                reply.await.unwrap_or(Reply::Refused { reason: "the daemon is ending".into() })
            }
            Err(error) => Reply::Refused { reason: format!("not understood: {error}") },
        };
        let Ok(mut text) = serde_json::to_vec(&reply) else { return };
        text.push(b'\n');
        if stream.get_mut().write_all(&text).await.is_err() {
            return;
        }
    }
}
