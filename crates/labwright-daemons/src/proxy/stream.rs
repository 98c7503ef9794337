//! Connections that are handed through as they are: ports of plain TCP, and TLS by the name that its greeting says.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proxy_header::{ParseConfig, Protocol, ProxiedAddress, ProxyHeader};
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::endpoint::Group;
use super::live::{Live, Target, lets_in};
use super::pool::words;

const CONNECT: Duration = Duration::from_secs(5);
/// How long a greeting may take to come.
const GREETING: Duration = Duration::from_secs(10);
/// A greeting is not longer; RFC 8446 lets a record have 16 KiB.
const MOST_BYTES: usize = 16 << 10;

/// The most of a header of the PROXY protocol that is waited for: its addresses, and some of what else it may say.
const MOST_HEADER: usize = 2 << 10;

/// Who a connection of somebody trusted is from, as its header of the PROXY protocol says; the header is taken off it.
/// https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
///
/// # Errors
/// In words: there is no such header, which must not be guessed (section 2).
pub async fn announced(client: &mut TcpStream, peer: SocketAddr) -> Result<SocketAddr, String> {
    match timeout(GREETING, header(client)).await {
        Ok(said) => said.map(|from| from.unwrap_or(peer)),
        Err(_) => Err("it said nothing".to_string()),
    }
}

/// `None`: whoever is trusted speaks for itself.
async fn header(client: &mut TcpStream) -> Result<Option<SocketAddr>, String> {
    let mut buffer = vec![0; MOST_HEADER];
    let mut before = 0;
    loop {
        let count = client.peek(&mut buffer).await.map_err(|error| words(&error))?;
        if count == 0 {
            return Err("it ended before it said who it is from".to_string());
        }
        if count == before {
            sleep(Duration::from_millis(5)).await;
            continue;
        }
        before = count;
        match ProxyHeader::parse(&buffer[..count], ParseConfig::default()) {
            Ok((header, length)) => {
                let from =
                    header.proxied_address().filter(|from| from.protocol == Protocol::Stream).map(|from| from.source);
                client.read_exact(&mut vec![0; length]).await.map_err(|error| words(&error))?;
                return Ok(from);
            }
            Err(proxy_header::Error::BufferTooShort) if count < MOST_HEADER => {}
            Err(_) => return Err("it does not begin with a header of the PROXY protocol".to_string()),
        }
    }
}

/// The header that says who a connection is from, where it began and where it arrived.
fn announcement(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let (from, to) = match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (SocketAddr::from((a, from.port())), SocketAddr::from((b, to.port()))),
        // Both have to be of one kind.
        (a, b) => {
            let sixth = |address: IpAddr| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            };
            (SocketAddr::from((sixth(a), from.port())), SocketAddr::from((sixth(b), to.port())))
        }
    };
    let mut header = Vec::new();
    // Only what does not fit into a length of 16 bits is an error, and two addresses do.
    let _ = ProxyHeader::with_address(ProxiedAddress::stream(from, to)).encode_v2(&mut header);
    header
}

/// Hands a connection through to one of a group; `from`: who is announced to it, where it asks for that.
pub async fn through(mut client: TcpStream, group: &Group, turn: usize, from: Option<SocketAddr>) {
    let header = from.and_then(|from| Some(announcement(from, client.local_addr().ok()?)));
    for endpoint in group.order(turn) {
        let connected = timeout(CONNECT, TcpStream::connect((endpoint.host.as_str(), endpoint.port))).await;
        let reason = match connected {
            Ok(Ok(mut upstream)) => {
                endpoint.well();
                let _ = upstream.set_nodelay(true);
                if let Some(header) = &header
                    && upstream.write_all(header).await.is_err()
                {
                    return;
                }
                // Either side ends it, whenever it likes.
                let _ = copy_bidirectional(&mut client, &mut upstream).await;
                return;
            }
            Ok(Err(error)) => words(&error),
            Err(_) => format!("no connection within {} s", CONNECT.as_secs()),
        };
        endpoint.ill(&reason);
    }
}

/// Hands a connection of a port through.
pub async fn port(client: TcpStream, peer: SocketAddr, live: &Live, port: u16, turn: usize) {
    let Some(site) = live.ports.get(&port) else { return };
    let address = peer.ip().to_canonical();
    if !lets_in(&site.from, address) {
        tracing::info!(service = site.service, client = %address, port, "a connection from outside was closed");
        return;
    }
    through(client, &site.group, turn, site.proxy_protocol.then_some(peer)).await;
}

/// Whether a site is told who its connections are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    Yes,
    No,
}

/// What a greeting is for.
pub enum Greeting<'a> {
    /// A site whose TLS is not ended here.
    Through(&'a Group, Announced),
    /// Anything else.
    Ours,
    /// Somebody who may not in, or no greeting at all.
    Nobody,
}

/// Looks at the greeting of a TLS connection without taking it.
pub async fn greeting<'a>(client: &TcpStream, peer: IpAddr, live: &'a Live) -> Greeting<'a> {
    let name = match timeout(GREETING, name(client)).await {
        Ok(Some(name)) => name,
        Ok(None) => return Greeting::Ours,
        Err(_) => return Greeting::Nobody,
    };
    match live.site(&name).filter(|site| site.passthrough) {
        Some(site) if !lets_in(&site.from, peer) => Greeting::Nobody,
        Some(site) => match &site.target {
            Target::Group(group) => {
                Greeting::Through(group, if site.proxy_protocol { Announced::Yes } else { Announced::No })
            }
            _ => Greeting::Nobody,
        },
        None => Greeting::Ours,
    }
}

/// The name that a greeting says; `None`: none, or no greeting that anybody understands.
async fn name(client: &TcpStream) -> Option<String> {
    let mut buffer = vec![0; MOST_BYTES];
    let mut before = 0;
    loop {
        let count = client.peek(&mut buffer).await.ok()?;
        if count == 0 {
            return None;
        }
        if count == before {
            // What is there was looked at; waiting for more is not what a socket with something in it does.
            sleep(Duration::from_millis(5)).await;
            continue;
        }
        before = count;
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut &buffer[..count]).ok()?;
        match acceptor.accept() {
            Ok(Some(accepted)) => return accepted.client_hello().server_name().map(str::to_ascii_lowercase),
            Ok(None) if count < MOST_BYTES => {}
            _ => return None,
        }
    }
}
