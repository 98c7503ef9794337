//! Connections to upstreams, kept open between requests: a pool for each thread, so that nothing is locked.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::body::RequestBody;
use super::endpoint::{Endpoint, Way};
use super::io::Local;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// Servers close idle connections after 5 s (Node.js) to 75 s (nginx); the pool sees that, and keeps none longer.
const IDLE: Duration = Duration::from_secs(60);
/// A request that must not be sent twice goes over a connection that was in use just now, or over a new one: an old one
/// may be closed by the other side at the same moment.
const FRESH: Duration = Duration::from_secs(2);
const MOST_IDLE: usize = 512;

pub type One = http1::SendRequest<RequestBody>;
pub type Two = http2::SendRequest<RequestBody>;

/// A connection that is ready for one request.
pub enum Ready {
    One(One),
    Two(Two),
}

/// Whether a request may be sent again when nobody knows whether it arrived; RFC 9110, 9.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    May,
    MustNot,
}

/// What a request needs of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Any,
    /// It becomes something else, which HTTP/1.1 alone can.
    Upgrade,
}

#[derive(Default)]
struct Kept {
    one: Vec<(One, Instant)>,
    two: Option<Two>,
}

/// The pool of one thread.
#[derive(Clone, Default)]
pub struct Pool(Rc<RefCell<HashMap<u64, Kept>>>);

/// An HTTP/1.1 connection that goes back to its pool.
pub struct Lent {
    connection: Option<One>,
    pool: Weak<RefCell<HashMap<u64, Kept>>>,
    endpoint: u64,
}

impl Lent {
    /// One that has no place to go back to, such as a stream of HTTP/2.
    pub fn none() -> Lent {
        Lent { connection: None, pool: Weak::new(), endpoint: 0 }
    }

    /// Goes back, for the next request.
    pub fn back(self) {
        let (Some(connection), Some(pool)) = (self.connection, self.pool.upgrade()) else { return };
        if connection.is_closed() {
            return;
        }
        let mut pool = pool.borrow_mut();
        let kept = pool.entry(self.endpoint).or_default();
        if kept.one.len() < MOST_IDLE {
            kept.one.push((connection, Instant::now()));
        }
    }
}

impl Pool {
    pub fn lend(&self, connection: One, endpoint: &Endpoint) -> Lent {
        Lent { connection: Some(connection), pool: Rc::downgrade(&self.0), endpoint: endpoint.id }
    }

    /// A connection that is open already.
    pub fn take(&self, endpoint: &Endpoint, again: Again, need: Need) -> Option<Ready> {
        if need == Need::Upgrade {
            return None;
        }
        let mut all = self.0.borrow_mut();
        let kept = all.get_mut(&endpoint.id)?;
        if let Some(two) = &kept.two {
            if two.is_ready() {
                return Some(Ready::Two(two.clone()));
            }
            kept.two = None;
        }
        // The last one in is the first one out: it is the least likely to be closed, and the others may grow old.
        let mut number = kept.one.len();
        while number > 0 {
            number -= 1;
            let (connection, since) = &kept.one[number];
            if connection.is_closed() {
                kept.one.swap_remove(number);
                continue;
            }
            if again == Again::MustNot && since.elapsed() > FRESH {
                return None;
            }
            if connection.is_ready() {
                return Some(Ready::One(kept.one.swap_remove(number).0));
            }
        }
        None
    }

    /// A new connection.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub async fn connect(&self, endpoint: &Arc<Endpoint>, need: Need) -> Result<Ready, String> {
        let connected = timeout(CONNECT, self.open(endpoint, need)).await;
        connected.unwrap_or_else(|_| Err(format!("no connection within {} s", CONNECT.as_secs())))
    }

    async fn open(&self, endpoint: &Arc<Endpoint>, need: Need) -> Result<Ready, String> {
        let tcp = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(|error| words(&error))?;
        let _ = tcp.set_nodelay(true);
        match &endpoint.way {
            Way::Http | Way::Tcp => first(TokioIo::new(tcp)).await.map(Ready::One),
            Way::H2c => second(TokioIo::new(tcp)).await.map(|two| self.share(endpoint, two)),
            Way::Https(tls) => {
                let config = if need == Need::Upgrade { &tls.one } else { &tls.both };
                let stream = TlsConnector::from(config.clone())
                    .connect(tls.name.clone(), tcp)
                    .await
                    .map_err(|error| format!("no TLS with it: {error}"))?;
                match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => second(TokioIo::new(stream)).await.map(|two| self.share(endpoint, two)),
                    _ => first(TokioIo::new(stream)).await.map(Ready::One),
                }
            }
        }
    }

    fn share(&self, endpoint: &Endpoint, two: Two) -> Ready {
        self.0.borrow_mut().entry(endpoint.id).or_default().two = Some(two.clone());
        Ready::Two(two)
    }

    /// Lets go of what has been idle for long, or is closed.
    pub fn sweep(&self) {
        self.0.borrow_mut().retain(|_, kept| {
            kept.one.retain(|(connection, since)| !connection.is_closed() && since.elapsed() < IDLE);
            kept.two.take_if(|two| two.is_closed());
            !kept.one.is_empty() || kept.two.is_some()
        });
    }
}

/// An error of the network, as somebody says it who looks for the reason.
pub fn words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "it refuses connections: nothing listens there".to_string(),
        std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable => {
            format!("there is no way to it: {error}")
        }
        _ => error.to_string(),
    }
}

async fn first<S>(stream: TokioIo<S>) -> Result<One, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (send, connection) =
        http1::Builder::new().handshake(stream).await.map_err(|error| format!("it speaks no HTTP: {error}"))?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to an upstream ended");
        }
    });
    Ok(send)
}

async fn second<S>(stream: TokioIo<S>) -> Result<Two, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let (send, connection) = http2::Builder::new(Local)
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_header_list_size(256 << 10)
        .handshake(stream)
        .await
        .map_err(|error| format!("it speaks no HTTP/2: {error}"))?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an upstream ended");
        }
    });
    Ok(send)
}
