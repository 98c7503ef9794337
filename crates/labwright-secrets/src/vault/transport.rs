//! One request and its answer: deadline, redirections, and what can go wrong before a server says anything.
//! Knows no endpoints, holds no token, and sends nothing to another host than the one it was made for.

use std::error::Error as _;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Method, Request};

use super::address::Address;
use super::client::Options;
use super::tls;
use crate::{ErrorKind, SecretError};

const MOST_REDIRECTS: u32 = 3;
/// Twice what a server accepts as a request.
const LARGEST_ANSWER: u64 = 64 << 20;

pub(super) struct Transport {
    pub address: Address,
    namespace: Option<String>,
    timeout: Duration,
    agent: ureq::Agent,
}

/// One request; `path` is what follows `/v1/`, escaped.
pub(super) struct Call<'a> {
    pub method: Method,
    pub path: &'a str,
    pub body: Option<&'a Value>,
}

/// A status, and a body that is `Null` if there was none.
pub(super) struct Raw {
    pub status: u16,
    pub body: Value,
}

impl Transport {
    pub(super) fn new(options: &Options) -> Result<Transport, SecretError> {
        let address = Address::parse(&options.address, options.plain_http)?;
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(options.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A proxy out of the environment would see what is said.
            .proxy(None)
            .user_agent("labwright");
        if address.secure {
            config = config.tls_config(tls::config(options.ca_pem.as_deref(), options.ca_file.as_deref())?);
        }
        let agent = config.build().new_agent();
        Ok(Transport { address, namespace: options.namespace.clone(), timeout: options.timeout, agent })
    }

    /// `host:port/v1/path`, for errors.
    pub(super) fn place(&self, path: &str) -> String {
        let path = path.split('?').next().unwrap_or(path);
        format!("{}/v1/{path}", self.address.authority)
    }

    pub(super) fn send(&self, call: &Call<'_>, token: Option<&str>) -> Result<Raw, SecretError> {
        let mut path = call.path.to_string();
        for _ in 0..=MOST_REDIRECTS {
            let response = self.once(call, &path, token)?;
            let status = response.status().as_u16();
            if !matches!(status, 301 | 302 | 307 | 308) {
                return self.read(response, &path);
            }
            let location = response.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
            let Some(next) = self.address.follow(location) else {
                let to = location.split_once("://").map_or(location, |(_, rest)| rest);
                let to = to.split('/').next().unwrap_or_default();
                let message = format!("`{}` sends on to another host, `{to}`", self.place(&path));
                return Err(SecretError::new(ErrorKind::Unreachable, message)
                    .help("tokens are not sent there by themselves: if that server is yours, write its address"));
            };
            path = next;
        }
        Err(SecretError::new(ErrorKind::Unreachable, format!("`{}` sends on in a circle", self.place(call.path))))
    }

    fn once(
        &self,
        call: &Call<'_>,
        path: &str,
        token: Option<&str>,
    ) -> Result<ureq::http::Response<ureq::Body>, SecretError> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(self.address.url(path))
            .header("X-Vault-Request", "true")
            .header("Accept", "application/json");
        if let Some(token) = token {
            request = request.header("X-Vault-Token", token);
        }
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        let kind = if call.method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        // The texts of these errors could hold the header, and so the token.
        let unfit =
            |_| SecretError::new(ErrorKind::Invalid, "token or namespace has characters that HTTP cannot carry");
        let answer = match call.body {
            Some(body) => self.agent.run(request.header("Content-Type", kind).body(body.to_string()).map_err(unfit)?),
            None => self.agent.run(request.body(()).map_err(unfit)?),
        };
        answer.map_err(|error| self.fault(path, &error))
    }

    fn read(&self, mut response: ureq::http::Response<ureq::Body>, path: &str) -> Result<Raw, SecretError> {
        let status = response.status().as_u16();
        let text = response
            .body_mut()
            .with_config()
            .limit(LARGEST_ANSWER)
            .read_to_string()
            .map_err(|error| self.fault(path, &error))?;
        if !self.address.secure && text.starts_with("Client sent an HTTP request to an HTTPS server") {
            return Err(self.unreachable(path, "speaks HTTPS only").help("write the address with `https://`"));
        }
        if text.trim().is_empty() {
            return Ok(Raw { status, body: Value::Null });
        }
        match serde_json::from_str(&text) {
            Ok(body) => Ok(Raw { status, body }),
            Err(_) => Err(self
                .unreachable(path, &format!("answered {status} with something else than JSON"))
                .help("something else than Vault or OpenBao listens there: look at the address and the port")),
        }
    }

    fn unreachable(&self, path: &str, what: &str) -> SecretError {
        SecretError::new(ErrorKind::Unreachable, format!("`{}` {what}", self.place(path)))
    }

    fn fault(&self, path: &str, error: &ureq::Error) -> SecretError {
        if let Some(tls) = rustls_error(error) {
            return self.tls_fault(path, tls);
        }
        match error {
            ureq::Error::Timeout(_) => self
                .unreachable(path, &format!("did not answer within {}", seconds(self.timeout)))
                .help("look whether the server runs and whether a firewall is in between"),
            ureq::Error::HostNotFound => self
                .unreachable(path, "cannot be found: its name does not resolve")
                .help("look at the address's spelling"),
            ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => self
                .unreachable(path, "refuses connections")
                .help("start the server, or correct the port of its address"),
            ureq::Error::BodyExceedsLimit(_) => self.unreachable(path, "answers without end"),
            ureq::Error::Io(io) => self.unreachable(path, &format!("cannot be reached: {}", io.kind())),
            _ => self.unreachable(path, "does not talk HTTP as expected").help("look at the address and the port"),
        }
    }

    fn tls_fault(&self, path: &str, error: &rustls::Error) -> SecretError {
        let trust = "name the file with its certificate authority, or correct the host in the address";
        match error {
            rustls::Error::InvalidCertificate(why) => {
                self.unreachable(path, &format!("has a certificate that is not trusted: {}", reason(why))).help(trust)
            }
            rustls::Error::InvalidMessage(_) => {
                self.unreachable(path, "does not speak TLS").help("write `http://` if that server has no certificate")
            }
            other => self.unreachable(path, &format!("cannot agree on TLS: {other}")).help(trust),
        }
    }
}

fn seconds(timeout: Duration) -> String {
    if timeout.subsec_nanos() == 0 { format!("{} s", timeout.as_secs()) } else { format!("{} ms", timeout.as_millis()) }
}

fn reason(error: &rustls::CertificateError) -> &'static str {
    use rustls::CertificateError as Why;
    match error {
        Why::UnknownIssuer => "nobody known signed it",
        Why::Expired | Why::ExpiredContext { .. } => "it has expired",
        Why::NotValidYet | Why::NotValidYetContext { .. } => "it is not good yet; compare the clocks",
        Why::NotValidForName | Why::NotValidForNameContext { .. } => "it is for another name",
        Why::BadSignature => "its signature is wrong",
        _ => "it is not fit for a server",
    }
}

/// The TLS fault in an error, however deep it was wrapped.
fn rustls_error(error: &ureq::Error) -> Option<&rustls::Error> {
    if let ureq::Error::Rustls(error) = error {
        return Some(error);
    }
    let mut next: Option<&(dyn std::error::Error + 'static)> = match error {
        ureq::Error::Io(io) => io.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static)),
        other => other.source(),
    };
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        next = match error.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static)),
            None => error.source(),
        };
    }
    None
}
