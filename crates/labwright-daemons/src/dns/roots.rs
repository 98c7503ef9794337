//! The authorities that this machine trusts, for upstreams over TLS and for lists.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Where distributions keep what they trust.
const SYSTEM: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Reads a bundle: the given one, or the machine's own. Empty where there is none; every certificate is then refused,
/// which is the safe side.
pub fn read(given: Option<&Path>) -> Vec<CertificateDer<'static>> {
    let of_system = || SYSTEM.iter().map(PathBuf::from).find(|path| path.exists());
    let Some(path) = given.map(Path::to_path_buf).or_else(of_system) else {
        tracing::warn!(
            "no bundle of trusted authorities: upstreams and lists over TLS will be refused; install `ca-certificates`"
        );
        return Vec::new();
    };
    match CertificateDer::pem_file_iter(&path) {
        Ok(certificates) => certificates.filter_map(Result::ok).collect(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the bundle of trusted authorities cannot be read");
            Vec::new()
        }
    }
}
