//! Which certificates are believed: those of one file, or those of the system.
//! Verification cannot be turned off.

use std::path::Path;
use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::{ErrorKind, SecretError};

/// Where distributions keep what they trust.
const SYSTEM: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What to verify a server's certificate with: the authorities in `ca_pem`, in `ca_file`, or the system's.
pub fn config(ca_pem: Option<&str>, ca_file: Option<&Path>) -> Result<TlsConfig, SecretError> {
    if let Some(pem) = ca_pem {
        return trusting(pem.as_bytes(), "the certificates that were given");
    }
    let file = match ca_file {
        Some(file) => file,
        None => SYSTEM.iter().map(Path::new).find(|file| file.exists()).ok_or_else(|| {
            SecretError::new(ErrorKind::Io, "this system has no list of trusted certificate authorities")
                .help("install `ca-certificates`, or name a file with the authority of the Vault server")
        })?,
    };
    let shown = file.display();
    let pem = std::fs::read(file)
        .map_err(|error| SecretError::new(ErrorKind::Io, format!("read certificates in `{shown}`: {error}")))?;
    trusting(&pem, &format!("`{shown}`"))
}

fn trusting(pem: &[u8], shown: &str) -> Result<TlsConfig, SecretError> {
    let certificates: Vec<Certificate<'static>> = parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(SecretError::new(ErrorKind::Malformed, format!("no certificate in {shown}"))
            .help("the file has to hold `-----BEGIN CERTIFICATE-----`"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::new_with_certs(&certificates))
        .build())
}
