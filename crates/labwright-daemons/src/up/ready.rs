//! When a process is well: its port takes connections, its answer fits, or it says so itself.
//!
//! No event tells that a foreign port is open, so it is tried: the pause before the next attempt is a small part of the time
//! that has gone by. What comes up after a second is seen within thirty milliseconds, what takes a minute costs no more
//! attempts than that needs.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use labwright_model::snapshot::up::Probe;
use tokio::net::TcpStream;

use super::probe::{self, Answer};

const SHORTEST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(500);
/// The pause is this part of the time since the start.
const PART: u32 = 40;
/// How long a connection on this machine may take.
const CONNECT: Duration = Duration::from_secs(2);
/// More of an answer is not looked at.
const BODY: usize = 256 << 10;
/// One bad answer is none: two in a row are.
const STRIKES: u32 = 2;

/// What is told of a process while it is looked at.
pub enum Look {
    Well,
    /// Not yet, or not any more, and why.
    Not(String),
}

/// Looks until it is well, tells so, and where it is asked for its answer goes on looking.
pub async fn watch(port: u16, probe: Option<Probe>, tell: impl Fn(Look)) {
    let began = Instant::now();
    let mut told = String::new();
    loop {
        match once(port, probe.as_ref()).await {
            Ok(()) => break,
            Err(why) if why != told => {
                tell(Look::Not(why.clone()));
                told = why;
            }
            Err(_) => {}
        }
        tokio::time::sleep((began.elapsed() / PART).clamp(SHORTEST, LONGEST)).await;
    }
    tell(Look::Well);
    let Some(probe) = probe else { return };
    let (every, mut strikes) = (Duration::from_millis(probe.every.max(100)), 0);
    loop {
        tokio::time::sleep(if strikes == 0 { every } else { every.min(Duration::from_secs(1)) }).await;
        match once(port, Some(&probe)).await {
            Ok(()) if strikes >= STRIKES => {
                strikes = 0;
                tell(Look::Well);
            }
            Ok(()) => strikes = 0,
            Err(why) => {
                strikes += 1;
                if strikes == STRIKES {
                    tell(Look::Not(why));
                }
            }
        }
    }
}

async fn connect(port: u16) -> std::io::Result<TcpStream> {
    let to = |address: SocketAddr| async move {
        tokio::time::timeout(CONNECT, TcpStream::connect(address)).await.map_err(|_| std::io::ErrorKind::TimedOut)?
    };
    match to((Ipv4Addr::LOCALHOST, port).into()).await {
        Ok(stream) => Ok(stream),
        // Some listen where `localhost` is an IPv6 address alone.
        Err(error) => to((Ipv6Addr::LOCALHOST, port).into()).await.map_err(|_: std::io::Error| error),
    }
}

/// Looks once.
async fn once(port: u16, probe: Option<&Probe>) -> Result<(), String> {
    let stream = connect(port).await.map_err(|_| format!("nothing takes connections on port {port}"))?;
    let Some(probe) = probe else { return Ok(()) };
    let limit = Duration::from_millis(probe.timeout.max(1));
    let asked = tokio::time::timeout(limit, ask(stream, port, &probe.path)).await;
    let answer = match asked {
        Err(_) => {
            let limit = jiff::SignedDuration::try_from(limit).unwrap_or_default();
            return Err(format!("`GET {}` on port {port} is not answered within {limit:#}", probe.path));
        }
        Ok(Err(why)) => return Err(format!("`GET {}` on port {port}: {why}", probe.path)),
        Ok(Ok(answer)) => answer,
    };
    match probe.expect.iter().find_map(|condition| probe::judge(condition, &answer).err()) {
        None => Ok(()),
        Some(why) => Err(format!("`GET {}` on port {port}: {why}", probe.path)),
    }
}

async fn ask(stream: TcpStream, port: u16, path: &str) -> Result<Answer, String> {
    let began = Instant::now();
    let text = |error: hyper::Error| match error.is_incomplete_message() || error.is_parse() {
        true => "the answer is no HTTP".to_string(),
        false => error.to_string(),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let connection = tokio::task::spawn_local(connection);
    let request = http::Request::get(path)
        .header(http::header::HOST, format!("localhost:{port}"))
        .header(http::header::USER_AGENT, "labwright-up")
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(text)?;
    let status = response.status().as_u16();
    // A longer body is judged by its beginning alone: what does not fit is left out.
    let body = Limited::new(response.into_body(), BODY).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    connection.abort();
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned(), took: began.elapsed() })
}
