//! Certificates on the disk: one file for each, with key and chain together, so that they are never of two generations.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::trust;
use crate::serve::write_whole;

/// A key, its certificate and the chain above it, as PEM.
pub struct Pair {
    pub key: Zeroizing<String>,
    pub chain: String,
}

/// From when to when a certificate holds, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    pub from: i64,
    pub to: i64,
}

impl Life {
    /// When two thirds of it are over.
    pub fn renew(self) -> i64 {
        self.from + (self.to - self.from) / 3 * 2
    }
}

impl Pair {
    /// As TLS wants it.
    ///
    /// # Errors
    /// In words: it is no PEM, or the key is not the certificate's.
    pub fn certified(&self) -> Result<(Arc<CertifiedKey>, Life), String> {
        let (certified, life) = self.proof()?;
        certified.keys_match().map_err(|error| format!("the key is not the certificate's: {error}"))?;
        Ok((certified, life))
    }

    /// As `certified`, for a certificate that is a proof: what makes it one is an extension that nobody else understands.
    pub fn proof(&self) -> Result<(Arc<CertifiedKey>, Life), String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect();
        let chain = chain.map_err(|error| format!("the chain is no PEM: {error}"))?;
        let leaf = chain.first().ok_or("there is no certificate in it")?;
        let life = life(leaf)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|error| format!("the key is no PEM: {error}"))?;
        let key = trust::provider().key_provider.load_private_key(key).map_err(|error| error.to_string())?;
        let certified = CertifiedKey::new(chain, key);
        Ok((Arc::new(certified), life))
    }
}

/// From when to when a certificate says it holds.
pub fn life(certificate: &CertificateDer<'_>) -> Result<Life, String> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(certificate).map_err(|error| format!("it is none: {error}"))?;
    let validity = parsed.validity();
    Ok(Life { from: validity.not_before.timestamp(), to: validity.not_after.timestamp() })
}

/// Where the certificate for some names of one issuer is kept.
pub fn path(folder: &Path, issuer: &str, names: &[String]) -> PathBuf {
    let mut hasher = Sha256::new();
    hasher.update(issuer);
    names.iter().for_each(|name| hasher.update(format!("\n{name}")));
    let hash: String = hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let first = names.first().map_or("none", String::as_str).replace('*', "_");
    folder.join(format!("{first}-{hash}.pem"))
}

/// # Errors
/// The disk's own. What was there before is there still.
pub fn put(path: &Path, pair: &Pair) -> std::io::Result<()> {
    let mut text = Zeroizing::new(String::with_capacity(pair.key.len() + pair.chain.len() + 1));
    text.push_str(pair.key.trim_end());
    text.push('\n');
    text.push_str(&pair.chain);
    write_whole(path, text.as_bytes(), 0o600)
}

/// What is kept, if it is whole.
pub fn get(path: &Path) -> Option<Pair> {
    let text = Zeroizing::new(std::fs::read_to_string(path).ok()?);
    let at = text.find("-----BEGIN CERTIFICATE-----")?;
    Some(Pair { key: Zeroizing::new(text[..at].to_string()), chain: text[at..].to_string() })
}
