//! Caddy's admin API: its configuration as one JSON document, read with a sign of its state (`ETag`), and changed only where it
//! still is in that state (`If-Match`). https://caddyserver.com/docs/api

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, ETAG, HOST, IF_MATCH};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use labwright_plan::{ErrorKind, ProviderError};
use serde_json::Value as Json;
use tokio::net::TcpStream;

/// How long one request may take: Caddy answers once a change is in use.
const LIMIT: Duration = Duration::from_secs(30);

/// How often, and after how long, it is asked again.
const REOPENS: usize = 4;
const REOPENING: Duration = Duration::from_millis(250);

/// The way to one Caddy.
pub struct Admin {
    base: String,
    /// `host:port`.
    authority: String,
}

/// What it said.
struct Answer {
    status: u16,
    /// `Null` where there was no JSON.
    body: Json,
    text: String,
    /// Caddy knows it only once it has said all: it is a trailer, which few clients hand on.
    etag: Option<String>,
}

/// Its configuration, and the sign of its state.
pub struct Config {
    pub json: Json,
    etag: String,
}

/// One change of a configuration.
#[derive(Debug, PartialEq)]
pub struct Edit {
    pub method: Method,
    /// Below `/`, as the API spells it.
    pub path: String,
    pub body: Option<Json>,
}

/// What became of an edit.
#[derive(Debug, PartialEq)]
pub enum Wrote {
    Done,
    /// Somebody else changed the configuration since it was read; nothing was written.
    Moved,
    /// The connection ended before an answer: another change opened the API anew.
    Unclear,
}

impl Admin {
    /// # Errors
    /// The address is none of HTTP in clear text, which is what an admin API speaks to its own host.
    pub fn at(address: &str) -> Result<Admin, ProviderError> {
        let base = address.trim_end_matches('/').to_string();
        let uri: Option<Uri> = base.parse().ok();
        let uri = uri.filter(|uri| uri.scheme_str() == Some("http") && uri.path() == "/");
        let Some(authority) = uri.as_ref().and_then(Uri::authority) else {
            let message = format!("`{address}` is no address of a Caddy's admin API");
            return Err(ProviderError::rejected(message).help("write it as `http://127.0.0.1:2019`"));
        };
        let authority = match authority.port_u16() {
            Some(_) => authority.to_string(),
            None => format!("{authority}:80"),
        };
        Ok(Admin { base, authority })
    }

    /// The whole configuration as it is now; `Null` where Caddy has none.
    pub fn config(&self) -> Result<Config, ProviderError> {
        let mut asked = self.send(Method::GET, "/config/", None, None);
        // Each change makes Caddy open this API anew, and whoever asks at that moment is cut off.
        for _ in 0..REOPENS {
            if !asked.as_ref().is_err_and(|error| error.kind == ErrorKind::Unreachable) {
                break;
            }
            std::thread::sleep(REOPENING);
            asked = self.send(Method::GET, "/config/", None, None);
        }
        let answer = asked.map_err(|error| match error.kind {
            ErrorKind::Unreachable => error.help(
                "start Caddy (`systemctl start caddy`), and look whether its Caddyfile says `admin off` or another address: \
                 `platform: { reverse_proxy: { admin: http://… } }` says which",
            ),
            _ => error,
        })?;
        if answer.status != 200 {
            return Err(self.refused(&answer));
        }
        let Some(etag) = answer.etag else {
            let message = format!("{} does not say which state its configuration is in (no `ETag`)", self.place());
            return Err(ProviderError::rejected(message).help(
                "Caddy does since version 2.6; without, two who change it at once would undo each other's work",
            ));
        };
        // Caddy without a configuration says `null`; what is no JSON at all is no configuration that could be added to.
        let json = serde_json::from_str(&answer.text).map_err(|error| {
            ProviderError::rejected(format!("what {} tells as its configuration is no JSON: {error}", self.place()))
                .help("something else answers there: look at `platform: { reverse_proxy: { admin: http://… } }`")
        })?;
        Ok(Config { json, etag })
    }

    /// Writes one change, if the configuration still is as it was read.
    pub fn write(&self, read: &Config, edit: &Edit) -> Result<Wrote, ProviderError> {
        let answer = match self.send(edit.method.clone(), &edit.path, Some(&read.etag), edit.body.as_ref()) {
            Err(error) if error.kind == ErrorKind::Unreachable => return Ok(Wrote::Unclear),
            answer => answer?,
        };
        match answer.status {
            200 => Ok(Wrote::Done),
            412 => Ok(Wrote::Moved),
            _ => Err(self.refused(&answer)),
        }
    }

    fn place(&self) -> String {
        format!("Caddy's admin API at `{}`", self.base)
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        etag: Option<&str>,
        body: Option<&Json>,
    ) -> Result<Answer, ProviderError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| ProviderError::bug(format!("no way to wait for Caddy: {error}")))?;
        let asked = async { tokio::time::timeout(LIMIT, self.ask(method, path, etag, body)).await };
        match runtime.block_on(asked) {
            Ok(answer) => {
                answer.map_err(|why| ProviderError::new(ErrorKind::Unreachable, format!("{} {why}", self.place())))
            }
            Err(_) => {
                let message = format!("{} did not answer within {} s", self.place(), LIMIT.as_secs());
                Err(ProviderError::new(ErrorKind::Timeout, message))
            }
        }
    }

    /// The error is what it does, in words.
    async fn ask(&self, method: Method, path: &str, etag: Option<&str>, body: Option<&Json>) -> Result<Answer, String> {
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "refuses connections".to_string(),
            _ => format!("cannot be reached: {error}"),
        })?;
        let no_http = |error: hyper::Error| format!("does not talk HTTP as expected: {error}");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(no_http)?;
        let talking = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.authority);
        if let Some(etag) = etag {
            request = request.header(IF_MATCH, etag);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(Full::new(bytes)).map_err(|error| format!("cannot be asked so: {error}"))?;
        let answer = sender.send_request(request).await.map_err(no_http)?;
        let status = answer.status().as_u16();
        let in_head = answer.headers().get(ETAG).cloned();
        let whole = answer.into_body().collect().await.map_err(no_http)?;
        let etag = whole.trailers().and_then(|trailers| trailers.get(ETAG)).cloned().or(in_head);
        let text = String::from_utf8_lossy(&whole.to_bytes()).into_owned();
        drop(sender);
        talking.abort();
        Ok(Answer {
            status,
            body: serde_json::from_str(&text).unwrap_or_default(),
            text,
            etag: etag.and_then(|etag| etag.to_str().ok().map(str::to_string)),
        })
    }

    fn refused(&self, answer: &Answer) -> ProviderError {
        let said = answer.body.get("error").and_then(Json::as_str).unwrap_or(answer.text.trim());
        let said = if said.is_empty() { "nothing" } else { said };
        let message = format!("{} answers {}: {said}", self.place(), answer.status);
        match answer.status {
            401 | 403 => ProviderError::new(ErrorKind::Auth, message).help(
                "its settings `admin.origins` and `enforce_origin` say who may ask; write `admin` as one of those",
            ),
            400 | 500 => ProviderError::rejected(message).help(
                "Caddy goes on with the configuration that it had; `journalctl -u caddy -n 50` on the host says more",
            ),
            _ => ProviderError::rejected(message)
                .help("something else than Caddy's admin API listens there: look at `admin`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something that is not Caddy, has an `ETag` as Caddy does, and answers with a page.
    #[test]
    fn a_page_is_no_empty_configuration() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let read = stream.read(&mut [0; 4096]).unwrap();
            assert!(read > 0);
            let page = b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 6\r\n\r\n<html>";
            stream.write_all(page).unwrap();
        });
        let error = Admin::at(&address).unwrap().config().err().unwrap();
        served.join().unwrap();
        assert!(error.message.contains("is no JSON") && error.help.contains("something else"), "{error}");
    }
}
