//! Whose certificates are believed when this proxy is the client.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Where distributions keep what they trust.
const SYSTEM: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A client that trusts what `verify` says: `system`, `none`, or a PEM file.
pub fn client(verify: &str) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    if verify == "none" {
        let nobody = Arc::new(Anybody(provider().signature_verification_algorithms));
        return Ok(builder.dangerous().with_custom_certificate_verifier(nobody).with_no_client_auth());
    }
    let file = match verify {
        "" | "system" => SYSTEM.iter().map(Path::new).find(|path| path.exists()).ok_or_else(|| {
            "this host has no list of certificate authorities; install `ca-certificates`, or name a PEM file"
                .to_string()
        })?,
        file => Path::new(file),
    };
    let failed =
        |error: rustls::pki_types::pem::Error| format!("cannot read authorities in `{}`: {error}", file.display());
    let mut roots = RootCertStore::empty();
    let mut count = 0;
    for certificate in CertificateDer::pem_file_iter(file).map_err(failed)? {
        // Lists of distributions hold some that nobody can use any more.
        count += usize::from(roots.add(certificate.map_err(failed)?).is_ok());
    }
    match count {
        0 => Err(format!("`{}` holds no certificate of an authority", file.display())),
        _ => Ok(builder.with_root_certificates(roots).with_no_client_auth()),
    }
}

/// Believes any certificate, because the lab file says so: `verify: none`. The signature of the handshake still counts.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
