//! Streams (RFC 7766): several queries on one connection, answered as they are ready; idle ones are closed, and no client
//! holds more than its share.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::answer::{Core, Done, Source};
use super::udp::millis;
use super::wire::{HEADER, Query};

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// How long one may be silent once no more are taken in.
const LAST_IDLE: Duration = Duration::from_millis(500);
/// Connections at one time, of all clients and of one.
const ALL: usize = 1024;
const OF_ONE: usize = 64;
/// Queries of one connection that may wait for others at one time.
const WAITING: usize = 64;

/// How many connections each client has.
#[derive(Default)]
pub struct Connections(Mutex<HashMap<IpAddr, usize>>);

struct Held {
    connections: Arc<Connections>,
    client: IpAddr,
}

impl Connections {
    /// Whether any client has one.
    pub fn are_open(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn take(self: &Arc<Self>, client: IpAddr) -> Option<Held> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = all.values().sum();
        let of_one = all.entry(client).or_default();
        if total >= ALL || *of_one >= OF_ONE {
            return None;
        }
        *of_one += 1;
        Some(Held { connections: self.clone(), client })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut all = self.connections.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.client);
            }
        }
    }
}

/// Accepts connections until its task is ended; those that are open end when they are idle, and soon once `stop` is true.
pub async fn serve(core: Arc<Core>, listener: TcpListener, connections: Arc<Connections>, stop: watch::Receiver<bool>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let client = peer.ip().to_canonical();
                // Who has too many is closed without a word.
                let Some(held) = connections.take(client) else { continue };
                tokio::spawn(connection(core.clone(), stream, peer, held, stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                // Without file descriptors the next try would fail the same way, at once.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(
    core: Arc<Core>,
    stream: TcpStream,
    peer: SocketAddr,
    _held: Held,
    mut stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = stream.into_split();
    let (replies, mut ready) = mpsc::channel::<Vec<u8>>(WAITING);
    let write = tokio::spawn(async move {
        while let Some(reply) = ready.recv().await {
            let mut framed = u16::try_from(reply.len()).unwrap_or(0).to_be_bytes().to_vec();
            framed.extend_from_slice(&reply);
            match tokio::time::timeout(IDLE, writer.write_all(&framed)).await {
                Ok(Ok(())) => {}
                _ => return,
            }
        }
    });
    let mut seat = core.seat_of_stream();
    let mut query = Box::new(Query::default());
    let mut out = Vec::new();
    let mut idle = if *stop.borrow_and_update() { LAST_IDLE } else { IDLE };
    loop {
        let mut read = async || {
            let length = usize::from(reader.read_u16().await?);
            let mut bytes = vec![0; length];
            reader.read_exact(&mut bytes).await?;
            std::io::Result::Ok(bytes)
        };
        let mut read = std::pin::pin!(read());
        // A query that comes in while the end is told is read on: what began to arrive is answered.
        let read = tokio::select! {
            read = tokio::time::timeout(idle, read.as_mut()) => read,
            Ok(()) = stop.changed() => {
                idle = LAST_IDLE;
                tokio::time::timeout(idle, read).await
            }
        };
        let datagram = match read {
            Ok(Ok(bytes)) if bytes.len() >= HEADER => bytes,
            _ => break,
        };
        let source = Source { client: peer.ip().to_canonical(), stream: true, began: Instant::now(), at: millis() };
        match core.answer(&mut seat, &mut query, &datagram, source, &mut out) {
            Done::Reply => {
                if replies.send(out.clone()).await.is_err() {
                    break;
                }
            }
            Done::Silence => {}
            Done::Later => {
                let (core, replies) = (core.clone(), replies.clone());
                let (view, tally) = (seat.view(), seat.tally.clone());
                // A place among those who wait is taken before the question is asked: who does not read waits.
                let Ok(permit) = replies.reserve_owned().await else { break };
                tokio::spawn(async move {
                    let reply = core.later(view, datagram, source, tally).await;
                    if !reply.is_empty() {
                        permit.send(reply);
                    }
                });
            }
        }
    }
    drop(replies);
    let _ = write.await;
}
