//! Lists from the web, kept on disk. What is kept is whole or not there: it is written beside its place and renamed.
//!
//! A list that is gone, that is a web page, or that holds no name is refused, and the one that is kept goes on holding.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use xxhash_rust::xxh3::Xxh3;

use super::parse;

/// Octets of the largest list that is kept: five million hosts lines are about half of it.
const MAX_BYTES: u64 = 256 << 20;
/// How long one list may take.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Octets that are looked at to tell a list from a web page.
const HEAD: usize = 4096;

/// How names of list servers become addresses: by the resolver's own upstreams, since this machine may well have itself as
/// its resolver.
pub type Lookup = Arc<dyn Fn(&str) -> Result<Vec<IpAddr>, String> + Send + Sync>;

struct OwnResolver(Lookup);

impl std::fmt::Debug for OwnResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnResolver")
    }
}

impl Resolver for OwnResolver {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
        let port = uri.port_u16().unwrap_or(default);
        let bare = host.trim_matches(['[', ']']);
        let addresses = match bare.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => (self.0)(bare).map_err(|error| io::Error::other(format!("{bare}: {error}")))?,
        };
        let mut all = self.empty();
        for address in addresses.into_iter().take(16) {
            all.push(SocketAddr::new(address, port));
        }
        if all.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(all) }
    }
}

/// What is known of a list that is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub url: String,
    etag: Option<String>,
    modified: Option<String>,
    /// Seconds since 1970 of the last time that the server said that this is the list.
    pub checked: u64,
    bytes: u64,
    hash: u64,
}

/// What a fetch found.
#[derive(Debug, PartialEq)]
pub enum Fetched {
    New,
    Same,
}

/// Where a list is kept.
pub fn path(folder: &Path, url: &str) -> PathBuf {
    folder.join(format!("{:016x}.list", xxhash_rust::xxh3::xxh3_64(url.as_bytes())))
}

fn about(path: &Path) -> PathBuf {
    path.with_extension("json")
}

/// What is known of the list that is kept for a URL; `None` where there is none.
pub fn kept(folder: &Path, url: &str) -> Option<Kept> {
    let path = path(folder, url);
    let kept: Kept = serde_json::from_slice(&fs::read(about(&path)).ok()?).ok()?;
    let length = fs::metadata(&path).ok()?.len();
    // Both are written one after the other: after a power cut in between, the server is asked anew.
    (kept.url == url && kept.bytes == length).then_some(kept)
}

/// Removes what a run that was killed left half-written.
pub fn tidy(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(HALF) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// What half-written files are called.
const HALF: &str = ".half-";

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Fetches lists.
pub struct Fetcher {
    agent: ureq::Agent,
    folder: PathBuf,
}

impl Fetcher {
    pub fn new(folder: &Path, roots: &[CertificateDer<'static>], lookup: Lookup) -> Fetcher {
        let roots: Vec<Certificate<'static>> =
            roots.iter().map(|root| Certificate::from_der(root.as_ref()).to_owned()).collect();
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::new_with_certs(&roots))
            .build();
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(5)
            .max_idle_connections(0)
            .user_agent(concat!("labwright/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            // A proxy from the environment would be asked for by a name that nobody may know yet.
            .proxy(None)
            .build();
        let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), OwnResolver(lookup));
        Fetcher { agent, folder: folder.to_path_buf() }
    }

    /// Fetches a list if its server has another one than is kept.
    ///
    /// # Errors
    /// Why nothing came, in words; what is kept is untouched.
    pub fn fetch(&self, url: &str) -> Result<Fetched, String> {
        let kept = kept(&self.folder, url);
        let mut request = self.agent.get(url);
        if let Some(kept) = &kept {
            if let Some(etag) = &kept.etag {
                request = request.header("If-None-Match", etag);
            }
            if let Some(modified) = &kept.modified {
                request = request.header("If-Modified-Since", modified);
            }
        }
        let response = request.call().map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        if let (304, Some(kept)) = (status, &kept) {
            self.note(&Kept { checked: now(), ..kept.clone() })?;
            return Ok(Fetched::Same);
        }
        if status != 200 {
            return Err(format!("the server answered {status}"));
        }
        let header =
            |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok().map(str::to_string));
        if header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
            return Err("it is a web page (text/html), not a list".into());
        }
        let (etag, modified) = (header("etag"), header("last-modified"));
        let mut body = response.into_body().into_with_config().limit(MAX_BYTES + 1).reader();
        let mut file = tempfile::Builder::new()
            .prefix(HALF)
            .tempfile_in(&self.folder)
            .map_err(|error| format!("{}: {error}", self.folder.display()))?;
        let (bytes, hash) = copy(&mut body, file.as_file_mut())?;
        file.as_file().sync_all().map_err(|error| format!("write it: {error}"))?;
        let path = path(&self.folder, url);
        let new = Kept { url: url.to_string(), etag, modified, checked: now(), bytes, hash };
        if kept.is_some_and(|kept| kept.hash == hash && kept.bytes == bytes) {
            self.note(&new)?;
            return Ok(Fetched::Same);
        }
        file.persist(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        self.note(&new)?;
        Ok(Fetched::New)
    }

    /// Writes down what is known of a list.
    fn note(&self, kept: &Kept) -> Result<(), String> {
        let path = about(&path(&self.folder, &kept.url));
        let write = || -> io::Result<()> {
            let mut file = tempfile::Builder::new().prefix(HALF).tempfile_in(&self.folder)?;
            file.write_all(&serde_json::to_vec(kept)?)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// Copies a body into a file, and looks whether it is a list.
fn copy(body: &mut dyn Read, file: &mut fs::File) -> Result<(u64, u64), String> {
    let (mut hash, mut total) = (Xxh3::new(), 0_u64);
    let mut head = Vec::with_capacity(HEAD);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => return Err(format!("it broke off after {total} octets: {error}")),
        };
        total += read as u64;
        if total > MAX_BYTES {
            return Err(format!("it is larger than {} MiB", MAX_BYTES >> 20));
        }
        let part = &buffer[..read];
        if head.len() < HEAD {
            head.extend(&part[..read.min(HEAD - head.len())]);
        }
        hash.update(part);
        file.write_all(part).map_err(|error| format!("write it: {error}"))?;
    }
    is_list(&head)?;
    Ok((total, hash.digest()))
}

/// Whether the beginning of a text is that of a list.
///
/// # Errors
/// What it is instead.
fn is_list(head: &[u8]) -> Result<(), String> {
    let start = head.trim_ascii_start().get(..64).unwrap_or(head.trim_ascii_start()).to_ascii_lowercase();
    if start.starts_with(b"<") || start.starts_with(b"\xef\xbb\xbf<") {
        return Err("it is a web page, not a list".into());
    }
    if head.is_empty() {
        return Err("it is empty".into());
    }
    if head.contains(&0) {
        return Err("it is no text; a packed list has to be unpacked by its server".into());
    }
    let mut rules = 0;
    let (mut lines, mut empty) = (0, 0);
    for line in head.split(|byte| *byte == b'\n') {
        lines += 1;
        match parse::line(line, &mut |_| rules += 1) {
            parse::Line::Empty => empty += 1,
            parse::Line::Rules | parse::Line::NotForNames | parse::Line::Malformed => {}
        }
    }
    // A long preamble is all comment; a text that has lines and none of a list is none.
    if rules == 0 && empty < lines - 1 {
        return Err("nothing in it looks like a name or a rule".into());
    }
    Ok(())
}
