//! Datagrams: one thread for each socket takes what has come, answers it and sends it, many at one call.
//!
//! There is no runtime here: a query that is answered at once is a copy between two system calls. What has to wait goes to
//! the runtime, which sends by itself.

use std::io::IoSliceMut;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::answer::{Core, Done, Source};
use super::wire::Query;

/// Octets for each datagram: what the kernel may put together of one sender's (GRO) is taken apart again here.
const ROOM: usize = 64 << 10;
/// How long a thread sleeps at most before it looks whether it should end.
const NAP: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// A socket with what was found out about it.
pub struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    /// It takes queries for any address of the machine: replies have to leave from the one that was asked.
    any: bool,
}

impl Socket {
    /// Readies a bound socket.
    ///
    /// # Errors
    /// What the system says of its options.
    pub fn new(io: UdpSocket) -> std::io::Result<Socket> {
        let state = UdpSocketState::new((&io).into())?;
        let any = io.local_addr()?.ip().is_unspecified();
        Ok(Socket { io, state, any })
    }

    fn send(&self, meta: &RecvMeta, contents: &[u8]) {
        let src_ip = if self.any { meta.dst_ip } else { None };
        let transmit = Transmit { destination: meta.addr, ecn: None, contents, segment_size: None, src_ip };
        // A client that has gone, or a full buffer: it asks again.
        if let Err(error) = self.state.try_send((&self.io).into(), &transmit) {
            tracing::debug!(client = %meta.addr, %error, "a reply was not sent");
        }
    }
}

pub fn millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// What is still answered after being told to stop, so that no flood holds an end up; the rest is in the socket, and that
/// may be a successor's as well.
const LAST: usize = 64;

/// Answers until told to stop. What has come by then is still answered.
pub fn serve(core: &Arc<Core>, socket: &Arc<Socket>, stop: &AtomicBool) {
    let mut room = vec![0; ROOM * BATCH_SIZE];
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    let mut query = Query::default();
    let mut out = Vec::with_capacity(ROOM);
    let mut seat = core.seat();
    let mut last = 0;
    loop {
        if stop.load(Ordering::Relaxed) {
            last += 1;
            if last > LAST {
                return;
            }
        }
        let mut slices: Vec<IoSliceMut<'_>> = room.chunks_exact_mut(ROOM).map(IoSliceMut::new).collect();
        let received = match socket.state.recv((&socket.io).into(), &mut slices, &mut metas) {
            Ok(received) => received,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let _ = poll(&mut [PollFd::new(&socket.io, PollFlags::IN)], Some(&NAP));
                continue;
            }
            // An unreachable client comes back as an error of the socket: nothing that a server should end for.
            Err(error) if error.kind() != std::io::ErrorKind::InvalidInput => {
                tracing::debug!(%error, "receive");
                continue;
            }
            Err(error) => {
                tracing::error!(%error, "the socket cannot be read any more");
                return;
            }
        };
        drop(slices);
        let (began, at) = (Instant::now(), millis());
        for (number, meta) in metas.iter().take(received).enumerate() {
            let bytes = &room[number * ROOM..number * ROOM + meta.len.min(ROOM)];
            for datagram in bytes.chunks(meta.stride.max(1)) {
                let source = Source { client: meta.addr.ip().to_canonical(), stream: false, began, at };
                match core.answer(&mut seat, &mut query, datagram, source, &mut out) {
                    Done::Reply => socket.send(meta, &out),
                    Done::Silence => {}
                    Done::Later => {
                        let (core, socket, meta) = (core.clone(), socket.clone(), *meta);
                        let (view, tally, datagram) = (seat.view(), seat.tally.clone(), datagram.to_vec());
                        core.runtime.clone().spawn(async move {
                            let reply = core.later(view, datagram, source, tally).await;
                            if !reply.is_empty() {
                                socket.send(&meta, &reply);
                            }
                        });
                    }
                }
            }
        }
    }
}
