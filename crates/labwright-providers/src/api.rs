//! One request to the HTTP API of a program on this host, and what can go wrong before that program says anything.
//! Knows no endpoints. What is sent and what a header holds is never part of an error.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use labwright_plan::{Consequence, ErrorKind, Field, OnChange, ProviderError, ResourceId, Seen, Spec, Wanted};
use serde_json::Value as Json;
use ureq::http::{Method, Request};

/// A field that says how a thing is reached. It is not the thing itself, so it is not compared.
pub const fn reached(name: &'static str, doc: &'static str) -> Field {
    Field { name, doc, on_change: OnChange::Ignore, consequence: Consequence::None, content: false }
}

/// Looks at things that one program keeps many of: each place is read once, and each thing sought in what was read there.
pub fn observe<'a, P: Ord, R>(
    wanted: &[Wanted<'a>],
    place: impl Fn(&'a Spec) -> P,
    read: impl Fn(&'a Spec) -> Result<R, ProviderError>,
    seen: impl Fn(&Wanted<'a>, Result<&R, &ProviderError>) -> Seen,
) -> BTreeMap<ResourceId, Seen> {
    let mut there: BTreeMap<P, Result<R, ProviderError>> = BTreeMap::new();
    let one = |wanted: &Wanted<'a>| {
        let there = there.entry(place(wanted.spec)).or_insert_with(|| read(wanted.spec));
        (wanted.id.clone(), seen(wanted, there.as_ref()))
    };
    wanted.iter().map(one).collect()
}

/// How long one request may take. A server that reloads answers late.
const LIMIT: Duration = Duration::from_secs(30);
const LARGEST_ANSWER: u64 = 32 << 20;

/// The way to one API.
pub struct Api {
    /// What people call the program.
    product: &'static str,
    /// Without a slash at its end.
    base: String,
    agent: ureq::Agent,
}

/// What it said.
pub struct Answer {
    pub status: u16,
    /// `Null` where there was no JSON.
    pub body: Json,
    pub text: String,
}

/// One header of a request.
pub type Header<'a> = (&'static str, &'a str);

impl Api {
    /// `base`: `http://host:port` or `https://host:port`, perhaps with a path.
    pub fn new(product: &'static str, base: &str) -> Result<Api, ProviderError> {
        let base = base.trim_end_matches('/').to_string();
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(LIMIT))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A proxy out of the environment would see what is said.
            .proxy(None)
            .user_agent("labwright");
        if base.starts_with("https://") {
            let tls = labwright_secrets::vault::tls_config(None, None).map_err(crate::vault::told)?;
            config = config.tls_config(tls);
        }
        Ok(Api { product, base, agent: config.build().new_agent() })
    }

    /// Where it is, for errors.
    pub fn place(&self) -> String {
        format!("{} at `{}`", self.product, self.base)
    }

    /// Whether nobody but this host hears what is said to it: over TLS, or to an address of its own.
    pub fn is_private(&self) -> bool {
        if self.base.starts_with("https://") {
            return true;
        }
        let authority = self.base.split_once("://").map_or("", |(_, rest)| rest).split('/').next().unwrap_or_default();
        let with_port = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            authority.to_string()
        } else {
            format!("{authority}:80")
        };
        // Only an address of this host can be bound.
        let own = |address: IpAddr| address.is_loopback() || UdpSocket::bind((address, 0)).is_ok();
        with_port.to_socket_addrs().is_ok_and(|mut all| all.all(|address| own(address.ip())))
    }

    /// Sends one request; `path` begins with a slash and is escaped. A refusal is an answer, not an error.
    pub fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[Header<'_>],
        body: Option<&Json>,
    ) -> Result<Answer, ProviderError> {
        self.try_send(method, path, headers, body).map_err(ProviderError::from)
    }

    /// As `send`; the error says as well whether the connection was cut off, which whoever restarts does to others.
    pub fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[Header<'_>],
        body: Option<&Json>,
    ) -> Result<Answer, Fault> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // The text of this error could hold a header, and so a password.
        let unfit = |_| {
            let message = format!("{} cannot be asked so: characters that HTTP cannot carry", self.place());
            Fault { error: ProviderError::rejected(message), cut: false }
        };
        let answer = match body {
            Some(body) => {
                let request = request.header("Content-Type", "application/json");
                self.agent.run(request.body(body.to_string()).map_err(unfit)?)
            }
            None => self.agent.run(request.body(()).map_err(unfit)?),
        };
        let mut answer = answer.map_err(|error| self.fault(&error))?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(LARGEST_ANSWER).read_to_string();
        let text = text.map_err(|error| self.fault(&error))?;
        let body = match serde_json::from_str(&text) {
            Ok(body) => body,
            // An answer without a length is over when the connection is: it may have been cut in the middle.
            Err(error) if error.is_eof() && !text.trim().is_empty() => {
                let message = format!("{} {CUT}", self.place());
                return Err(Fault { error: ProviderError::new(ErrorKind::Unreachable, message), cut: true });
            }
            // What is no JSON is for whoever knows what should have come: its text is there.
            Err(_) => Json::Null,
        };
        Ok(Answer { status, body, text })
    }

    fn fault(&self, error: &ureq::Error) -> Fault {
        use std::io::ErrorKind as Io;
        let of = |kind: ErrorKind, what: String| ProviderError::new(kind, format!("{} {what}", self.place()));
        let cut = match error {
            ureq::Error::Io(error) => {
                matches!(error.kind(), Io::UnexpectedEof | Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe)
            }
            // The connection ended before all of the body was there.
            ureq::Error::BodyStalled => true,
            _ => false,
        };
        let error = match error {
            ureq::Error::Timeout(_) => of(ErrorKind::Timeout, format!("did not answer within {} s", LIMIT.as_secs())),
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                of(ErrorKind::Unreachable, "refuses connections".into())
            }
            ureq::Error::BodyStalled => of(ErrorKind::Unreachable, CUT.into()),
            ureq::Error::Io(error) if error.kind() == Io::UnexpectedEof => of(ErrorKind::Unreachable, CUT.into()),
            ureq::Error::HostNotFound => {
                of(ErrorKind::Unreachable, "cannot be found: its name does not resolve".into())
            }
            ureq::Error::Io(error) => of(ErrorKind::Unreachable, format!("cannot be reached: {}", error.kind())),
            ureq::Error::Rustls(error) => of(ErrorKind::Unreachable, format!("cannot agree on TLS: {error}")),
            _ => of(ErrorKind::Unreachable, "does not talk HTTP as expected".into()),
        };
        Fault { error, cut }
    }
}

const CUT: &str = "was cut off before its answer was whole";

/// Why there is no answer.
#[derive(Debug)]
pub struct Fault {
    pub error: ProviderError,
    /// Somebody was there, and the connection ended before the answer did.
    pub cut: bool,
}

impl From<Fault> for ProviderError {
    fn from(fault: Fault) -> ProviderError {
        fault.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_and_tls_are_private() {
        for (base, private) in [
            ("http://127.0.0.1:3000", true),
            ("http://localhost", true),
            ("http://[::1]:80/", true),
            ("http://192.0.2.1:3000", false),
            ("http://no-such-name.invalid", false),
        ] {
            assert_eq!(Api::new("It", base).unwrap().is_private(), private, "{base}");
        }
    }

    #[test]
    fn nobody_there_is_told_with_the_address() {
        let error = Api::new("It", "http://127.0.0.1:9").unwrap().send(Method::GET, "/", &[], None).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Unreachable);
        assert_eq!(error.message, "It at `http://127.0.0.1:9` refuses connections");
    }
}
