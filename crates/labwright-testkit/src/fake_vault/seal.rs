//! `seal "transit"`: the key that opens this server is encrypted by another one, which is asked at every start.
//! Asks over the network like the real server, with nothing but the token it was given.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring;
use serde_json::{Value, json};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::hcl::{Item, Term};

#[derive(Clone, Debug)]
pub(crate) struct Seal {
    pub address: String,
    pub key_name: String,
    pub mount_path: String,
    pub token: Option<String>,
    pub namespace: Option<String>,
    pub tls_skip_verify: bool,
    pub tls_ca_cert: Option<String>,
    pub disable_renewal: bool,
}

impl Seal {
    pub(crate) fn read(items: &[Item]) -> Result<Seal> {
        let mut seal = Seal {
            address: String::new(),
            key_name: String::new(),
            mount_path: String::new(),
            token: None,
            namespace: None,
            tls_skip_verify: false,
            tls_ca_cert: None,
            disable_renewal: false,
        };
        for item in items {
            let Item::Attribute(name, term) = item else { bail!("unexpected block in `seal`") };
            let text = || term.text().map(str::to_string).with_context(|| format!("`{name}` is not a string"));
            match (name.as_str(), term) {
                ("address", _) => seal.address = text()?,
                ("key_name", _) => seal.key_name = text()?,
                ("mount_path", _) => seal.mount_path = text()?,
                ("token", _) => seal.token = Some(text()?),
                ("namespace", _) => seal.namespace = Some(text()?),
                ("tls_ca_cert", _) => seal.tls_ca_cert = Some(text()?),
                ("tls_skip_verify", Term::Flag(_) | Term::Text(_)) => {
                    seal.tls_skip_verify = term.flag().context("`tls_skip_verify` is neither true nor false")?;
                }
                ("disable_renewal", Term::Flag(_) | Term::Text(_)) => {
                    seal.disable_renewal = term.flag().context("`disable_renewal` is neither true nor false")?;
                }
                (other, _) => bail!("unknown setting `{other}` of `seal \"transit\"`"),
            }
        }
        for (name, value) in
            [("address", &seal.address), ("key_name", &seal.key_name), ("mount_path", &seal.mount_path)]
        {
            if value.is_empty() {
                bail!("`{name}` is missing from `seal \"transit\"`");
            }
        }
        Ok(seal)
    }

    /// Renews the token; what to say if that does not work, which is no reason to stay sealed.
    pub(crate) fn renew(&self) -> Option<String> {
        if self.disable_renewal {
            return None;
        }
        let renewed = self.post("auth/token/renew-self", &json!({}));
        renewed.err().map(|error| format!("unable to renew token, disabling renewal: {error:#}"))
    }

    pub(crate) fn encrypt(&self, key: &[u8]) -> Result<String> {
        let path = format!("{}/encrypt/{}", self.mount_path.trim_matches('/'), self.key_name);
        let reply = self.post(&path, &json!({ "plaintext": STANDARD.encode(key) }))?;
        reply["data"]["ciphertext"].as_str().map(str::to_string).context("no ciphertext in the answer")
    }

    pub(crate) fn decrypt(&self, ciphertext: &str) -> Result<Vec<u8>> {
        let path = format!("{}/decrypt/{}", self.mount_path.trim_matches('/'), self.key_name);
        let reply = self.post(&path, &json!({ "ciphertext": ciphertext }))?;
        let text = reply["data"]["plaintext"].as_str().context("no plaintext in the answer")?;
        STANDARD.decode(text).context("plaintext is not base64")
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}/v1/{path}", self.address.trim_end_matches('/'));
        let mut tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .disable_verification(self.tls_skip_verify);
        if let Some(file) = &self.tls_ca_cert {
            let pem = std::fs::read(file).with_context(|| format!("read {file}"))?;
            let certificates = parse_pem(&pem).filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            tls = tls.root_certs(RootCerts::new_with_certs(&certificates.collect::<Vec<_>>()));
        } else {
            // Without a root a certificate is trusted by nobody, which is what an unknown one deserves.
            tls = tls.root_certs(RootCerts::new_with_certs(&[]));
        }
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(10)))
            .http_status_as_error(false)
            .proxy(None)
            .tls_config(tls.build())
            .build()
            .new_agent();
        let mut request = agent.post(&url).header("X-Vault-Request", "true").header("Content-Type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("X-Vault-Token", token);
        }
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        let mut response = request.send(body.to_string()).with_context(|| format!("PUT {url}"))?;
        let text = response.body_mut().read_to_string().with_context(|| format!("PUT {url}"))?;
        let status = response.status().as_u16();
        let reply: Value = serde_json::from_str(&text).unwrap_or_default();
        match status {
            200 => Ok(reply),
            _ => bail!("PUT {url}: code {status}, errors: {}", reply["errors"]),
        }
    }
}
