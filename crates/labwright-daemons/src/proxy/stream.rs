//! Connections that are handed through as they are: ports of plain TCP, and TLS by the name that its greeting says.

use std::net::IpAddr;
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::copy_bidirectional;
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

/// Hands a connection through to one of a group.
pub async fn through(mut client: TcpStream, group: &Group, turn: usize) {
    for endpoint in group.order(turn) {
        let connected = timeout(CONNECT, TcpStream::connect((endpoint.host.as_str(), endpoint.port))).await;
        let reason = match connected {
            Ok(Ok(mut upstream)) => {
                endpoint.well();
                let _ = upstream.set_nodelay(true);
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
pub async fn port(client: TcpStream, peer: IpAddr, live: &Live, port: u16, turn: usize) {
    let Some(site) = live.ports.get(&port) else { return };
    if !lets_in(&site.from, peer) {
        tracing::info!(service = site.service, client = %peer, port, "a connection from outside was closed");
        return;
    }
    through(client, &site.group, turn).await;
}

/// What a greeting is for.
pub enum Greeting<'a> {
    /// A site whose TLS is not ended here.
    Through(&'a Group),
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
            Target::Group(group) => Greeting::Through(group),
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
