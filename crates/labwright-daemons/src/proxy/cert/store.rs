//! The certificates in use, by name, and proofs of control for ACME. Read by every handshake, changed by the keeper.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::trust;

/// What a client offers that wants a proof and no page; RFC 8737.
const ACME: &[u8] = b"acme-tls/1";

#[derive(Debug, Default)]
struct Shelf {
    /// By name; the first label may be `*`.
    names: HashMap<String, Arc<CertifiedKey>>,
    /// For clients that name nobody.
    default: Option<Arc<CertifiedKey>>,
    tls_proofs: HashMap<String, Arc<CertifiedKey>>,
    http_proofs: HashMap<String, String>,
}

#[derive(Debug, Default)]
struct Resolver(RwLock<Shelf>);

/// The certificates in use.
pub struct Store {
    resolver: Arc<Resolver>,
    server: Option<Arc<ServerConfig>>,
}

impl Default for Store {
    fn default() -> Self {
        let resolver = Arc::new(Resolver::default());
        let server = server(resolver.clone()).map_err(|error| tracing::error!(%error, "no TLS can be had")).ok();
        Store { resolver, server: server.map(Arc::new) }
    }
}

fn server(resolver: Arc<Resolver>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(trust::provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), ACME.to_vec()];
    // Clients hold their own sessions: whichever thread they come to can go on with one.
    config.ticketer = Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(config)
}

impl Store {
    pub fn server(&self) -> Option<Arc<ServerConfig>> {
        self.server.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Shelf)) {
        change(&mut self.resolver.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn put(&self, names: &[String], certified: &Arc<CertifiedKey>) {
        self.change(|shelf| {
            for name in names {
                shelf.names.insert(name.clone(), certified.clone());
            }
        });
    }

    pub fn put_default(&self, certified: Arc<CertifiedKey>) {
        self.change(|shelf| shelf.default = Some(certified));
    }

    /// Forgets all names but these.
    pub fn keep(&self, names: &[String]) {
        self.change(|shelf| shelf.names.retain(|name, _| names.contains(name)));
    }

    pub fn put_http_proof(&self, token: String, proof: String) {
        self.change(|shelf| drop(shelf.http_proofs.insert(token, proof)));
    }

    pub fn put_tls_proof(&self, name: String, certified: Arc<CertifiedKey>) {
        self.change(|shelf| drop(shelf.tls_proofs.insert(name, certified)));
    }

    pub fn take_proofs(&self, tokens: &[String], names: &[String]) {
        self.change(|shelf| {
            shelf.http_proofs.retain(|token, _| !tokens.contains(token));
            shelf.tls_proofs.retain(|name, _| !names.contains(name));
        });
    }

    pub fn http_proof(&self, token: &str) -> Option<String> {
        self.resolver.0.read().unwrap_or_else(PoisonError::into_inner).http_proofs.get(token).cloned()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shelf = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(name) = hello.server_name() else { return shelf.default.clone() };
        let name = name.to_ascii_lowercase();
        if hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == ACME)) {
            return shelf.tls_proofs.get(&name).cloned();
        }
        let wild = || shelf.names.get(&format!("*.{}", name.split_once('.')?.1));
        shelf.names.get(&name).or_else(wild).cloned()
    }
}
