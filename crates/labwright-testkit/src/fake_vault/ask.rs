//! One request to a server, from wherever the process runs: tests that have no way into a network of their own ask so.
//! No retries, no redirections.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::crypto::ring;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// What is asked: `url` is whole, `ca` is a file in PEM.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub method: &'a str,
    pub url: &'a str,
    pub ca: Option<&'a Path>,
    pub token: Option<&'a str>,
    pub body: &'a str,
}

/// The status and the text of the answer.
pub fn ask(question: &Question<'_>) -> Result<(u16, String)> {
    let pem = question.ca.map(std::fs::read).transpose().context("read the certificate authority")?.unwrap_or_default();
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&certificates.collect::<Vec<_>>()))
        .build();
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .http_status_as_error(false)
        .proxy(None)
        .tls_config(tls)
        .build()
        .new_agent();
    let mut request = ureq::http::Request::builder().method(question.method).uri(question.url);
    if let Some(token) = question.token {
        request = request.header("X-Vault-Token", token);
    }
    let request = request.body(question.body.to_string()).context("make the request")?;
    let mut response = agent.run(request).with_context(|| format!("ask {}", question.url))?;
    let text = response.body_mut().read_to_string().with_context(|| format!("ask {}", question.url))?;
    Ok((response.status().as_u16(), text))
}
