//! Places where services answer: their addresses, how they are spoken to, and what is known of their health.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;
use http::uri::{Authority, Scheme, Uri};
use labwright_model::snapshot::control;
use labwright_model::snapshot::proxy::Need;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::cert::trust;

/// Equal places of one service.
pub struct Group {
    pub service: String,
    pub endpoints: Vec<Arc<Endpoint>>,
    pub health: Option<String>,
    pub needs: Vec<Need>,
}

/// How a place is spoken to.
pub enum Way {
    Http,
    /// HTTP/2 without TLS, as gRPC has it.
    H2c,
    Https(Box<Tls>),
    /// No HTTP at all.
    Tcp,
}

pub struct Tls {
    /// Offers HTTP/2 and HTTP/1.1.
    pub both: Arc<ClientConfig>,
    /// Offers HTTP/1.1 alone, which upgrades need.
    pub one: Arc<ClientConfig>,
    pub name: ServerName<'static>,
}

pub struct Endpoint {
    /// What it was named as.
    pub url: String,
    /// Different for each endpoint of this process.
    pub id: u64,
    pub way: Way,
    pub host: String,
    pub port: u16,
    pub authority: Authority,
    pub scheme: Scheme,
    /// What a `Host` header to it says where the client said none.
    pub host_header: HeaderValue,
    up: AtomicBool,
    fault: Mutex<Option<String>>,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

impl Endpoint {
    /// `http://host:port`, `https://host:port`, `h2c://host:port`, `tcp://host:port`.
    pub fn parse(url: &str, verify: &str) -> Result<Endpoint, String> {
        let wrong = |why: &str| format!("`{url}` is no address of an upstream: {why}; write `http://HOST:PORT`");
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
        let host = uri.host().ok_or_else(|| wrong("it names no host"))?.to_string();
        if uri.path() != "/" && !uri.path().is_empty() {
            return Err(wrong("it has a path, and requests keep their own"));
        }
        let bare = host.trim_matches(['[', ']']).to_string();
        let (way, port, scheme) = match uri.scheme_str() {
            Some("http") => (Way::Http, 80, Scheme::HTTP),
            Some("h2c") => (Way::H2c, 80, Scheme::HTTP),
            Some("tcp") => (Way::Tcp, 0, Scheme::HTTP),
            Some("https") => {
                let name = ServerName::try_from(bare.clone()).map_err(|error| wrong(&error.to_string()))?;
                let config = |protocols: &[&[u8]]| {
                    let mut config = trust::client(verify)?;
                    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
                    Ok::<_, String>(Arc::new(config))
                };
                let tls = Tls { both: config(&[b"h2", b"http/1.1"])?, one: config(&[b"http/1.1"])?, name };
                (Way::Https(Box::new(tls)), 443, Scheme::HTTPS)
            }
            _ => return Err(wrong("it does not begin with `http://`, `https://` or `h2c://`")),
        };
        let port = uri.port_u16().unwrap_or(port);
        if port == 0 {
            return Err(wrong("it names no port"));
        }
        let authority: Authority = format!("{host}:{port}").parse().map_err(|_| wrong("it names no host"))?;
        let host_header = HeaderValue::from_str(authority.as_str()).map_err(|_| wrong("it names no host"))?;
        Ok(Endpoint {
            url: url.to_string(),
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            way,
            host: bare,
            port,
            authority,
            scheme,
            host_header,
            up: AtomicBool::new(true),
            fault: Mutex::new(None),
        })
    }

    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Notes that it answered.
    pub fn well(&self) {
        if !self.up.swap(true, Ordering::Relaxed) {
            tracing::info!(upstream = self.url, "an upstream is back");
        }
    }

    /// Notes that it did not, and why.
    pub fn ill(&self, reason: &str) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_string());
        if self.up.swap(false, Ordering::Relaxed) {
            tracing::warn!(upstream = self.url, reason, "an upstream is down");
        }
    }

    /// Why it is taken for down, where it is.
    pub fn fault(&self) -> Option<String> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.clone().filter(|_| !self.is_up())
    }

    pub fn status(&self) -> control::Upstream {
        control::Upstream { url: self.url.clone(), up: self.is_up(), reason: self.fault() }
    }
}

impl Group {
    /// The endpoints in the order in which they are to be tried: those that are well in turn, then those that are not, for
    /// what is taken for down may be back. More than eight are tried by nobody.
    pub fn order(&self, turn: usize) -> impl Iterator<Item = &Arc<Endpoint>> {
        let count = self.endpoints.len();
        let at = move |number: usize| &self.endpoints[(turn + number) % count];
        let up = (0..count).map(at).filter(|one| one.is_up());
        up.chain((0..count).map(at).filter(|one| !one.is_up())).take(8)
    }
}
