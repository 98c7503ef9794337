//! One request to somebody else's HTTPS server, for certificates and for the providers of DNS: no pool, no redirects.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const TIME: Duration = Duration::from_secs(30);
/// No answer of an authority or a provider is longer.
const MOST_BYTES: usize = 4 << 20;

/// Whom it trusts.
#[derive(Clone)]
pub struct Client(Arc<ClientConfig>);

impl Client {
    /// Trusts what the system trusts, or the authority in a PEM file.
    pub fn trusting(verify: &str) -> Result<Client, String> {
        Ok(Client(Arc::new(super::cert::trust::client(verify)?)))
    }

    /// Sends a request and reads its answer.
    pub async fn send<B>(&self, request: Request<B>) -> Result<Response<Bytes>, String>
    where
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let host = request.uri().host().unwrap_or_default().to_string();
        let sent = tokio::time::timeout(TIME, self.exchange(request)).await;
        let sent = sent.unwrap_or_else(|_| Err(format!("no answer within {} s", TIME.as_secs())));
        sent.map_err(|why| format!("`{host}`: {why}"))
    }

    async fn exchange<B>(&self, mut request: Request<B>) -> Result<Response<Bytes>, String>
    where
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let uri = request.uri().clone();
        let host = uri.host().ok_or("the address names no host")?.trim_matches(['[', ']']).to_string();
        let tls = uri.scheme_str() != Some("http");
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        if let Some(authority) = uri.authority()
            && let Ok(value) = HeaderValue::from_str(authority.as_str())
        {
            request.headers_mut().insert(header::HOST, value);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse().map_err(|_| "the address has no path")?;
        let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(|error| super::pool::words(&error))?;
        type Stream = Pin<Box<dyn ReadWrite>>;
        let stream: Stream = match tls {
            false => Box::pin(tcp),
            true => {
                let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
                let connected = TlsConnector::from(self.0.clone()).connect(name, tcp).await;
                Box::pin(connected.map_err(|error| format!("no TLS with it: {error}"))?)
            }
        };
        let (mut send, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let driven = tokio::spawn(connection);
        let response = send.send_request(request).await.map_err(|error| error.to_string())?;
        let (parts, body) = response.into_parts();
        let bytes = Limited::new(body, MOST_BYTES).collect().await.map_err(|error| error.to_string())?.to_bytes();
        driven.abort();
        Ok(Response::from_parts(parts, bytes))
    }

    /// A call of a JSON API. The error is the provider's own text.
    pub async fn json(
        &self,
        method: http::Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&serde_json::Value>,
    ) -> Result<serde_json::Value, String> {
        let mut request = Request::builder().method(method).uri(url).header(header::ACCEPT, "application/json");
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value).map_err(|_| format!("`{name}` cannot be a header"))?;
            value.set_sensitive(true);
            request = request.header(*name, value);
        }
        let bytes = body.map(|body| body.to_string()).unwrap_or_default();
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::<Bytes>::from(bytes)).map_err(|error| error.to_string())?;
        let response = self.send(request).await?;
        let (status, text) = (response.status(), String::from_utf8_lossy(response.body()).into_owned());
        if !status.is_success() {
            let text: String = text.chars().take(500).collect();
            return Err(format!("it answered {status}: {}", text.trim()));
        }
        Ok(serde_json::from_str(&text).unwrap_or(serde_json::Value::Null))
    }
}

trait ReadWrite: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send {}
impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send> ReadWrite for S {}
