//! HTTP/1.1 with and without TLS, as much of it as clients of Vault use.
//! One thread for a connection; no chunked bodies, no compression, no HTTP/2.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::reply::Reply;

/// Vault's own limit.
const LARGEST_BODY: usize = 32 << 20;
/// The first byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 22;

#[derive(Debug)]
pub(crate) struct Request {
    pub method: String,
    /// As it was sent, with the query.
    pub target: String,
    /// Decoded, without the leading slash.
    pub path: String,
    pub query: BTreeMap<String, String>,
    /// Names in lowercase.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

pub(crate) type Respond = dyn Fn(&Request) -> Reply + Send + Sync;

pub(crate) struct Server {
    pub address: SocketAddr,
    listener: TcpListener,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(address: SocketAddr, tls: Option<(&str, &str)>, respond: Arc<Respond>) -> Result<Server> {
        let listener = TcpListener::bind(address).with_context(|| format!("listen at {address}"))?;
        let address = listener.local_addr()?;
        let tls = tls.map(|(certificate, key)| tls_config(certificate, key)).transpose()?;
        let closing = Arc::new(AtomicBool::new(false));
        let (accepting, closed) = (listener.try_clone()?, Arc::clone(&closing));
        let accept = move || {
            while !closed.load(Ordering::Acquire) {
                let Ok((stream, _)) = accepting.accept() else {
                    thread::sleep(Duration::from_millis(10));
                    continue;
                };
                let (tls, respond, closed) = (tls.clone(), Arc::clone(&respond), Arc::clone(&closed));
                // A client that goes away is its own affair.
                thread::spawn(move || serve(stream, tls, &*respond, &closed).ok());
            }
        };
        Ok(Server { address, listener, closing, thread: Some(thread::spawn(accept)) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        // On Linux this wakes the thread that waits in accept; closing the file descriptor would not.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn tls_config(certificate: &str, key: &str) -> Result<Arc<ServerConfig>> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_no_client_auth().with_single_cert(chain, key)?))
}

fn serve(stream: TcpStream, tls: Option<Arc<ServerConfig>>, respond: &Respond, closed: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    stream.set_nodelay(true)?;
    // Whoever mixes up HTTP and HTTPS gets an answer that the other side can tell from silence.
    let mut first = [0];
    stream.peek(&mut first)?;
    match tls {
        None if first[0] == TLS_HANDSHAKE => write!(&stream, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
        None => talk(stream, respond, closed),
        Some(config) => {
            if first[0].is_ascii_uppercase() {
                let text = "Client sent an HTTP request to an HTTPS server.\n";
                let length = text.len();
                return write!(&stream, "HTTP/1.0 400 Bad Request\r\nContent-Length: {length}\r\n\r\n{text}");
            }
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            talk(StreamOwned::new(connection, stream), respond, closed)
        }
    }
}

fn talk<S: Read + Write>(stream: S, respond: &Respond, closed: &AtomicBool) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream)? {
        if closed.load(Ordering::Acquire) {
            return Ok(());
        }
        let (reply, stay) = match request {
            Ok(request) => {
                let stay = request.headers.get("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
                (respond(&request), stay)
            }
            Err(status) => (super::reply::Fault { status, errors: Vec::new() }.reply(), false),
        };
        write(stream.get_mut(), &reply, stay)?;
        if !stay {
            return Ok(());
        }
    }
    Ok(())
}

fn write(stream: &mut impl Write, reply: &Reply, stay: bool) -> io::Result<()> {
    let body = reply.body.as_ref().map(|body| format!("{body}\n")).unwrap_or_default();
    let mut text = format!("HTTP/1.1 {} Status\r\nCache-Control: no-store\r\n", reply.status);
    if reply.status != 204 {
        text += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    if let Some(location) = &reply.location {
        text += &format!("Location: {location}\r\n");
    }
    if !stay {
        text += "Connection: close\r\n";
    }
    text += "\r\n";
    stream.write_all((text + &body).as_bytes())?;
    stream.flush()
}

/// The next request; none at the end; a status if it is not one that this server can read.
fn read(stream: &mut impl BufRead) -> io::Result<Option<Result<Request, u16>>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default().to_string(), words.next().unwrap_or_default().to_string());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_string()),
            None => break,
        };
    }
    if headers.contains_key("transfer-encoding") {
        return Ok(Some(Err(411)));
    }
    let length = headers.get("content-length").map_or(Ok(0), |length| length.parse::<usize>());
    let mut body = match length {
        Ok(length) if length <= LARGEST_BODY => vec![0; length],
        Ok(_) => return Ok(Some(Err(413))),
        Err(_) => return Ok(Some(Err(400))),
    };
    stream.read_exact(&mut body)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (Some(path), Some(query)) = (path.strip_prefix('/').and_then(decoded), pairs(query)) else {
        return Ok(Some(Err(400)));
    };
    Ok(Some(Ok(Request { method, target, path, query, headers, body })))
}

fn pairs(query: &str) -> Option<BTreeMap<String, String>> {
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        Some((decoded(&name.replace('+', " "))?, decoded(&value.replace('+', " "))?))
    };
    query.split('&').filter(|text| !text.is_empty()).map(pair).collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(if byte == b'%' { digit(rest.next())? * 16 + digit(rest.next())? } else { byte });
    }
    String::from_utf8(bytes).ok()
}
