//! A thread that answers: its own runtime, listeners and connections to upstreams. Threads share what never changes, and
//! counters.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::Shared;
use super::body::Body;
use super::io::{Guarded, Local};
use super::live::Live;
use super::pool::Pool;
use super::request::{Desk, Guests, Peer, answer};
use super::stream::{self, Announced, Greeting};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take nothing of what it asked for.
const UNREAD: Duration = Duration::from_secs(60);
/// How long an HTTP/2 connection has to be without a new request to be quiet.
const QUIET: Duration = Duration::from_millis(250);
/// How long one that is never quiet stays with a process that was replaced: what it is answered from gets no younger.
const BUSY: Duration = Duration::from_secs(60);
/// How often connections to upstreams are looked through.
const SWEEP: Duration = Duration::from_secs(15);

/// What a listener takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    Http,
    Https,
    /// Whatever it is: it is handed through.
    Port(u16),
}

/// How connections over HTTP/2 are told to go elsewhere (GOAWAY; RFC 9113, 6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// They are not.
    Not,
    /// When they pause: clients fail requests that they were about to send, and another process answers already.
    WhenQuiet,
    /// At once.
    Now,
}

enum Message {
    Serve(Arc<Live>, oneshot::Sender<()>),
    Listen(SocketAddr, Accepts, Arc<TcpListener>),
    Change(SocketAddr, Accepts),
    Close(SocketAddr),
    Drain(Duration, Closing, oneshot::Sender<()>),
}

/// The way to a thread that answers.
pub struct Worker(mpsc::UnboundedSender<Message>);

impl Worker {
    pub fn start(number: usize, shared: &Arc<Shared>, live: &Arc<Live>) -> Worker {
        let (send, queue) = mpsc::unbounded_channel();
        let (shared, live) = (shared.clone(), live.clone());
        let thread = std::thread::Builder::new().name(format!("proxy-{number}"));
        let started = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => tokio::task::LocalSet::new().block_on(&runtime, work(shared, live, queue)),
                Err(error) => tracing::error!(%error, "a thread of the proxy did not start"),
            }
        });
        if let Err(error) = started {
            tracing::error!(%error, "a thread of the proxy did not start");
        }
        Worker(send)
    }

    /// Answers from this from now on.
    pub fn serve(&self, live: Arc<Live>) -> oneshot::Receiver<()> {
        let (done, served) = oneshot::channel();
        let _ = self.0.send(Message::Serve(live, done));
        served
    }

    pub fn listen(&self, address: SocketAddr, what: Accepts, listener: Arc<TcpListener>) {
        let _ = self.0.send(Message::Listen(address, what, listener));
    }

    pub fn change(&self, address: SocketAddr, what: Accepts) {
        let _ = self.0.send(Message::Change(address, what));
    }

    pub fn close(&self, address: SocketAddr) {
        let _ = self.0.send(Message::Close(address));
    }

    pub fn drain(&self, longest: Duration, closing: Closing) -> oneshot::Receiver<()> {
        let (done, drained) = oneshot::channel();
        let _ = self.0.send(Message::Drain(longest, closing, done));
        drained
    }
}

/// What the tasks of one thread have in common.
struct Floor {
    desk: Rc<Desk>,
    /// Changes when no more is taken.
    closing: watch::Sender<Closing>,
}

/// What an address takes in, and the tasks that accept there.
type Listening = (Rc<Cell<Accepts>>, Vec<JoinHandle<()>>);

async fn work(shared: Arc<Shared>, live: Arc<Live>, mut queue: mpsc::UnboundedReceiver<Message>) {
    let desk = Rc::new(Desk {
        shared,
        live: RefCell::new(live),
        pool: Pool::default(),
        turn: Cell::new(0),
        guests: Guests::default(),
    });
    let floor = Rc::new(Floor { desk, closing: watch::Sender::new(Closing::Not) });
    let mut listening: HashMap<SocketAddr, Listening> = HashMap::new();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let message = tokio::select! {
            message = queue.recv() => message,
            _ = sweep.tick() => {
                floor.desk.pool.sweep();
                continue;
            }
        };
        match message {
            Some(Message::Serve(live, done)) => {
                *floor.desk.live.borrow_mut() = live;
                let _ = done.send(());
            }
            Some(Message::Listen(address, what, listener)) => {
                let entry = listening.entry(address).or_insert_with(|| (Rc::new(Cell::new(what)), Vec::new()));
                let task = tokio::task::spawn_local(accept(floor.clone(), entry.0.clone(), listener));
                entry.1.push(task);
            }
            Some(Message::Change(address, what)) => {
                if let Some((accepts, _)) = listening.get(&address) {
                    accepts.set(what);
                }
            }
            Some(Message::Close(address)) => {
                listening.remove(&address).into_iter().flat_map(|(_, tasks)| tasks).for_each(|task| task.abort());
            }
            Some(Message::Drain(longest, closing, done)) => {
                listening.drain().flat_map(|(_, (_, tasks))| tasks).for_each(|task| task.abort());
                floor.closing.send_replace(closing);
                let _ = tokio::time::timeout(longest, floor.desk.guests.gone()).await;
                let _ = done.send(());
                return;
            }
            None => return,
        }
    }
}

async fn accept(floor: Rc<Floor>, accepts: Rc<Cell<Accepts>>, listener: Arc<TcpListener>) {
    // The original stays with whoever hands sockets over.
    let own = listener.try_clone().and_then(|own| {
        own.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(own)
    });
    let listener = match own {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listener cannot be used"),
    };
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => {
                let _ = tcp.set_nodelay(true);
                let (floor, accepts) = (floor.clone(), accepts.get());
                tokio::task::spawn_local(async move {
                    let _here = floor.desk.guest();
                    one(&floor, accepts, tcp, peer).await;
                });
            }
            Err(error) => {
                // No more files, most likely: those that are open end some time.
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn one(floor: &Rc<Floor>, accepts: Accepts, mut tcp: TcpStream, mut peer: SocketAddr) {
    let live = floor.desk.live.borrow().clone();
    let direct = peer.ip().to_canonical();
    if live.proxy_protocol && live.trusted.iter().any(|net| net.contains(&direct)) {
        match Box::pin(stream::announced(&mut tcp, peer)).await {
            Ok(from) => peer = from,
            Err(reason) => {
                return tracing::warn!(reason, client = %direct, "a connection of somebody trusted was closed");
            }
        }
    }
    let address = peer.ip().to_canonical();
    match accepts {
        Accepts::Http => {
            Box::pin(first(floor, &live, Guarded::new(tcp, UNREAD), Peer { address, tls: false })).await;
        }
        Accepts::Port(port) => {
            let turn = floor.desk.turn.get();
            floor.desk.turn.set(turn.wrapping_add(1));
            Box::pin(stream::port(tcp, peer, &live, port, turn)).await;
        }
        Accepts::Https => {
            if live.passthrough {
                match Box::pin(stream::greeting(&tcp, address, &live)).await {
                    Greeting::Through(group, announced) => {
                        let from = (announced == Announced::Yes).then_some(peer);
                        return Box::pin(stream::through(tcp, group, floor.desk.turn.get(), from)).await;
                    }
                    Greeting::Nobody => return,
                    Greeting::Ours => {}
                }
            }
            let Some(config) = floor.desk.shared.certs.server() else { return };
            let handshake = TlsAcceptor::from(config).accept(Guarded::new(tcp, UNREAD));
            let tls = match Box::pin(tokio::time::timeout(HANDSHAKE, handshake)).await {
                Ok(Ok(tls)) => tls,
                Ok(Err(error)) => {
                    floor.desk.shared.metrics.handshakes_failed.inc();
                    return tracing::debug!(%error, client = %address, "no TLS with a client");
                }
                Err(_) => {
                    floor.desk.shared.metrics.handshakes_failed.inc();
                    return;
                }
            };
            let peer = Peer { address, tls: true };
            match tls.get_ref().1.alpn_protocol() {
                Some(b"h2") => Box::pin(second(floor, &live, tls, peer)).await,
                // The handshake itself was the proof; RFC 8737.
                Some(b"acme-tls/1") => {}
                _ => Box::pin(first(floor, &live, tls, peer)).await,
            }
        }
    }
}

/// The service of one connection.
macro_rules! service {
    ($floor:expr, $peer:expr $(, $begun:ident)?) => {{
        let (desk, peer) = ($floor.desk.clone(), $peer);
        $(let $begun = $begun.clone();)?
        service_fn(move |request: Request<Incoming>| {
            let desk = desk.clone();
            $($begun.set(Instant::now());)?
            // On the heap as long as it is answered: a connection that is idle keeps no room for it.
            async move { Ok::<Response<Body>, Infallible>(Box::pin(answer(desk, peer, request)).await) }
        })
    }};
}

/// HTTP/1.1.
async fn first<S>(floor: &Rc<Floor>, live: &Live, stream: S, peer: Peer)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(live.header_time)
        // A head must fit, and bodies are read in parts of this size at most.
        .max_buf_size(live.header.max(8 << 10) + (16 << 10))
        .serve_connection(TokioIo::new(stream), service!(floor, peer))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut closing = floor.closing.subscribe();
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = closing.wait_for(|closing| *closing != Closing::Not) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    told(ended, peer);
}

/// HTTP/2.
async fn second<S>(floor: &Rc<Floor>, live: &Live, stream: S, peer: Peer)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let begun = Rc::new(Cell::new(Instant::now()));
    let connection = http2::Builder::new(Local)
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .max_header_list_size(live.header as u32)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .keep_alive_interval(Duration::from_secs(30))
        .serve_connection(TokioIo::new(stream), service!(floor, peer, begun));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = farewell(floor, &begun) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    told(ended, peer);
}

/// Waits until a connection, whose last request was begun then, is to be told to go elsewhere.
async fn farewell(floor: &Floor, begun: &Cell<Instant>) {
    let mut closing = floor.closing.subscribe();
    let how = closing.wait_for(|closing| *closing != Closing::Not).await.map(|how| *how);
    if !matches!(how, Ok(Closing::WhenQuiet)) {
        return;
    }
    let longest = Instant::now() + BUSY;
    loop {
        let until = longest.min(begun.get() + QUIET);
        if Instant::now() >= until {
            return;
        }
        tokio::time::sleep_until(until.into()).await;
    }
}

fn told(ended: Result<(), hyper::Error>, peer: Peer) {
    if let Err(error) = ended {
        tracing::debug!(%error, client = %peer.address, "a connection of a client ended");
    }
}
