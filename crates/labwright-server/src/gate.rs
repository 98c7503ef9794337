//! Who may come in. A page of somebody else, open in the same browser, shall neither read this one nor press its buttons:
//! by its own name that leads here (DNS rebinding), by a form (CSRF), or by a frame.
//!
//! <https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html>

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use rand::RngCore;

use crate::app::App;
use crate::pages;

/// No script, style, picture or connection but this server's own; nobody shows it in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub struct Gate {
    /// What a browser may call this server, in small letters: `localhost:8600`. Whatever it likes where a token is asked for: a
    /// name that somebody else made lead here has no cookie of ours.
    hosts: Option<Vec<String>>,
    /// What everybody is asked for who is not on this machine.
    token: Option<String>,
    cookie: String,
    /// Stands in every form of ours, and in none of anybody else's.
    pub form: String,
}

/// Why somebody is not let in.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    Host,
    Origin,
    Token,
}

pub fn random() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes as long for what is nearly right as for what is not.
fn same(one: &str, other: &str) -> bool {
    // Hashes of blake3 are compared in constant time.
    blake3::hash(one.as_bytes()) == blake3::hash(other.as_bytes())
}

impl Gate {
    /// A gate for a server that listens there. Beyond loopback it makes a token, and puts it into a file for its owner alone.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(local: SocketAddr, file: &Path) -> Result<Gate, String> {
        let port = local.port();
        let cookie = format!("labwright-{port}");
        // A token of an earlier run opens nothing.
        let _ = std::fs::remove_file(file);
        if local.ip().is_loopback() {
            let names = ["localhost", "127.0.0.1", "[::1]", "labwright.localhost"];
            let mut hosts: Vec<String> = names.iter().map(|name| format!("{name}:{port}")).collect();
            hosts.push(local.to_string());
            return Ok(Gate { hosts: Some(hosts), token: None, cookie, form: random() });
        }
        let token = random();
        let open = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(file);
        open.and_then(|mut open| open.write_all(format!("{token}\n").as_bytes()))
            .map_err(|error| format!("its token cannot be kept in `{}`: {error}", file.display()))?;
        Ok(Gate { hosts: None, token: Some(token), cookie, form: random() })
    }

    /// # Errors
    /// Why the one who asks is not let in.
    pub fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refused> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).unwrap_or_default().to_ascii_lowercase();
        if self.hosts.as_ref().is_some_and(|hosts| !hosts.contains(&host)) {
            return Err(Refused::Host);
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let same_site = match (text(header::ORIGIN), text(HeaderName::from_static("sec-fetch-site"))) {
                // A page without an origin of its own says `null`, and is none of ours.
                (Some(origin), site) => {
                    origin.to_ascii_lowercase().strip_prefix("http://") == Some(host.as_str())
                        && site.is_none_or(|site| site == "same-origin")
                }
                (None, Some(site)) => site == "same-origin",
                // No browser at all: the token of the form is what it needs.
                (None, None) => true,
            };
            if !same_site {
                return Err(Refused::Origin);
            }
        }
        match &self.token {
            Some(token) if !self.cookie(headers).is_some_and(|cookie| same(cookie, token)) => Err(Refused::Token),
            _ => Ok(()),
        }
    }

    pub fn is_own_form(&self, token: &str) -> bool {
        same(token, &self.form)
    }

    fn cookie<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = all.flat_map(|all| all.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.cookie).map(|(_, value)| value)
    }

    /// Somebody brings the token in the address, once: it becomes a cookie, and goes out of the address.
    fn enter(&self, uri: &Uri) -> Option<Response> {
        let token = self.token.as_ref()?;
        let said = uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))?;
        if !same(said, token) {
            return None;
        }
        // No script reads it, and no other site's request carries it.
        let cookie = format!("{}={token}; Path=/; HttpOnly; SameSite=Strict", self.cookie);
        Some(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response())
    }
}

/// Asks everybody, and sends everything with what browsers are told about it.
pub async fn gate(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let admitted = app.gate.admit(request.method(), request.headers());
    let mut response = match admitted {
        Ok(()) => next.run(request).await,
        Err(Refused::Token) => app
            .gate
            .enter(request.uri())
            .unwrap_or_else(|| (StatusCode::UNAUTHORIZED, pages::refused::token(&app.up.lab)).into_response()),
        Err(Refused::Host) => (StatusCode::MISDIRECTED_REQUEST, pages::refused::host()).into_response(),
        Err(Refused::Origin) => (StatusCode::FORBIDDEN, pages::refused::origin()).into_response(),
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let cache = response.headers_mut().entry(header::CACHE_CONTROL);
    cache.or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn only_its_own_names_and_pages_come_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let gate = Gate::new("127.0.0.1:8600".parse().unwrap(), &file).unwrap();
        assert!(!file.exists());
        let get = |host: &str| gate.admit(&Method::GET, &headers(&[("host", host)]));
        for host in ["localhost:8600", "LOCALHOST:8600", "127.0.0.1:8600", "[::1]:8600"] {
            assert_eq!(get(host), Ok(()), "{host}");
        }
        for host in ["evil.example:8600", "localhost", "localhost:8601", "", "localhost.evil.example:8600"] {
            assert_eq!(get(host), Err(Refused::Host), "{host}");
        }
        assert_eq!(gate.admit(&Method::GET, &HeaderMap::new()), Err(Refused::Host));
        let post = |pairs: &[(&'static str, &str)]| {
            gate.admit(&Method::POST, &headers(&[&[("host", "localhost:8600")], pairs].concat()))
        };
        assert_eq!(post(&[]), Ok(()));
        assert_eq!(post(&[("origin", "http://localhost:8600")]), Ok(()));
        assert_eq!(post(&[("sec-fetch-site", "same-origin")]), Ok(()));
        for pairs in [
            &[("origin", "http://evil.example")][..],
            &[("origin", "null")],
            &[("origin", "http://localhost:3000")],
            &[("origin", "https://localhost:8600")],
            &[("origin", "http://localhost:8600"), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
        ] {
            assert_eq!(post(pairs), Err(Refused::Origin), "{pairs:?}");
        }
        assert!(gate.is_own_form(&gate.form) && !gate.is_own_form("") && !gate.is_own_form(&random()));
    }

    #[test]
    fn beyond_this_machine_a_token_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let gate = Gate::new("0.0.0.0:8600".parse().unwrap(), &file).unwrap();
        let token = crate::token(&file).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions()) & 0o777, 0o600);
        let get = |cookie: &str| gate.admit(&Method::GET, &headers(&[("host", "10.0.0.7:8600"), ("cookie", cookie)]));
        assert_eq!(get("a=b"), Err(Refused::Token));
        assert_eq!(get(&format!("labwright-8600={}", random())), Err(Refused::Token));
        assert_eq!(get(&format!("a=b; labwright-8600={token}")), Ok(()));
        let enter = |query: &str| gate.enter(&format!("/?{query}").parse().unwrap());
        assert!(enter("token=").is_none() && enter("x=1").is_none());
        let entered = enter(&format!("token={token}")).unwrap();
        assert_eq!(
            (entered.status(), &entered.headers()[header::LOCATION]),
            (StatusCode::SEE_OTHER, &"/".parse().unwrap())
        );
        let cookie = entered.headers()[header::SET_COOKIE].to_str().unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    }
}
