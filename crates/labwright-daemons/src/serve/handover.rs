//! From one process to the next: the sockets themselves travel, so no connection is ever refused between them, and no
//! datagram gets lost. What waits in a socket's queue is the successor's as well.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::Path;
use std::time::Duration;

use labwright_model::snapshot::control::Request;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use tokio::net::UnixStream;

use super::listeners::Sockets;

/// As many as one message may carry; SCM_MAX_FD of linux/net/scm.h.
const MOST_AT_ONCE: usize = 253;
const PATIENCE: Duration = Duration::from_secs(10);

/// The process that served before.
pub struct Before(BlockingStream);

/// Asks whoever serves now for its sockets. `None`: nobody does.
pub async fn take(socket: &Path) -> Option<(Sockets, Before)> {
    let ask = |request: &Request| -> io::Result<BlockingStream> {
        let mut stream = BlockingStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        say(&mut stream, request)?;
        Ok(stream)
    };
    let stream = ask(&Request::HandOver).ok()?;
    let received = tokio::task::spawn_blocking(move || receive(&stream)).await.ok()?;
    match received {
        Ok(fds) => {
            let again = BlockingStream::connect(socket).ok()?;
            tracing::info!("taking over from the process that serves");
            Some((Sockets::of(fds), Before(again)))
        }
        Err(error) => {
            tracing::warn!(%error, "the process that serves gave no sockets");
            None
        }
    }
}

/// Tells the process that served before that it is replaced.
pub async fn dismiss(before: Before) {
    let mut stream = before.0;
    let told = tokio::task::spawn_blocking(move || say(&mut stream, &Request::Leave)).await;
    if !matches!(told, Ok(Ok(()))) {
        tracing::warn!("the process that served before could not be told to go");
    }
}

fn say(stream: &mut BlockingStream, request: &Request) -> io::Result<()> {
    let mut text = serde_json::to_vec(request).map_err(io::Error::other)?;
    text.push(b'\n');
    io::Write::write_all(stream, &text)
}

/// Messages of sockets: the first byte of each says whether more follow.
fn receive(stream: &BlockingStream) -> io::Result<Vec<OwnedFd>> {
    let mut fds = Vec::new();
    loop {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_AT_ONCE))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let message =
            rustix::net::recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        if message.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                fds.extend(some);
            }
        }
        if byte == [b'.'] {
            return Ok(fds);
        }
    }
}

/// Gives the sockets to a successor. Returns how many.
pub async fn give(stream: UnixStream, sockets: &Sockets) -> io::Result<usize> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let all = sockets.all();
    let mut chunks = all.chunks(MOST_AT_ONCE).peekable();
    loop {
        let chunk = chunks.next().unwrap_or_default();
        let last = chunks.peek().is_none();
        let fds: Vec<_> = chunk.iter().map(|listener| listener.as_fd()).collect();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_AT_ONCE))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::Error::other("too many sockets for one message"));
        }
        let byte = [if last { b'.' } else { b'+' }];
        rustix::net::sendmsg(&stream, &[IoSlice::new(&byte)], &mut ancillary, SendFlags::NOSIGNAL)?;
        if last {
            return Ok(all.len());
        }
    }
}
