//! To an upstream and back: which one, over which connection, and when another is tried.
//! A request is sent twice only where nothing was sent, or where sending it twice is the same as once (RFC 9110, 9.2.2).

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, Response, Version, request};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::body::{Body, Fault, RequestBody};
use super::endpoint::{Endpoint, Group};
use super::headers;
use super::pool::{Again, Lent, Need, Pool, Ready};

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// No upstream can be reached: where, and why.
    Down { url: String, reason: String },
    /// One took the request and did not answer it properly.
    Broken { url: String, reason: String },
    /// None answered in time.
    Slow { url: String, after: Duration },
    /// The client's own body ended early.
    Client(Fault),
}

/// What a request to an upstream looks like, as far as it is the same for all of its upstreams.
pub struct Outgoing {
    pub parts: request::Parts,
    pub host: HeaderValue,
    pub body: RequestBody,
    pub fault: Rc<Cell<Option<Fault>>>,
    pub time: Duration,
    pub need: Need,
}

/// An answer, and who gave it.
pub struct Answered {
    pub response: Response<Incoming>,
    pub lent: Lent,
    pub endpoint: Arc<Endpoint>,
}

impl Answered {
    /// The answer with its body on the way; the connection goes back when it has ended.
    pub fn into_response(self) -> Response<Body> {
        let (parts, incoming) = self.response.into_parts();
        Response::from_parts(parts, Body::upstream(incoming, self.lent))
    }
}

fn repeatable(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE)
}

/// What is left of a request that was not answered.
enum Left {
    /// It was not sent: all of it is here.
    Whole(RequestBody, String),
    /// Nobody knows how much of it arrived.
    Unknown(String),
    /// It was sent, and no answer came in time.
    Late,
}

/// Sends a request to one of a group.
pub async fn send(pool: &Pool, group: &Group, turn: usize, outgoing: Outgoing) -> Result<Answered, Failure> {
    let Outgoing { parts, host, mut body, fault, time, need } = outgoing;
    let until = Instant::now() + time;
    let again =
        if repeatable(&parts.method) && body.is_empty() && need == Need::Any { Again::May } else { Again::MustNot };
    let mut last = None;
    // How often one that was sent, perhaps, is sent again.
    let mut repeats = 2;
    for endpoint in group.order(turn) {
        loop {
            let taken = pool.take(endpoint, again, need);
            let reused = taken.is_some();
            let ready = match taken {
                Some(ready) => ready,
                None => match timeout_at(until, pool.connect(endpoint, need)).await {
                    Ok(Ok(ready)) => ready,
                    Ok(Err(reason)) => {
                        endpoint.ill(&reason);
                        last = Some(Failure::Down { url: endpoint.url.clone(), reason });
                        break;
                    }
                    Err(_) => return Err(Failure::Slow { url: endpoint.url.clone(), after: time }),
                },
            };
            let request = request(&parts, &host, endpoint, &ready, body, need);
            let left = match timeout_at(until, ask(pool, endpoint, ready, request)).await {
                Ok(Ok(answered)) => {
                    endpoint.well();
                    return Ok(answered);
                }
                Ok(Err(left)) => left,
                Err(_) => Left::Late,
            };
            if let Some(fault) = fault.get() {
                return Err(Failure::Client(fault));
            }
            let url = endpoint.url.clone();
            match left {
                Left::Late => return Err(Failure::Slow { url, after: time }),
                Left::Whole(rest, reason) => {
                    body = rest;
                    last = Some(Failure::Broken { url, reason });
                }
                Left::Unknown(reason) if again == Again::May && repeats > 0 => {
                    body = RequestBody::Empty;
                    repeats -= 1;
                    last = Some(Failure::Broken { url, reason });
                }
                Left::Unknown(reason) => return Err(Failure::Broken { url, reason }),
            }
            // A connection that was open may have been closed by the other side just then: another one to the same
            // upstream comes first. One that was new tells that this upstream is not well.
            if !reused {
                break;
            }
        }
    }
    Err(last.unwrap_or(Failure::Down { url: group.service.clone(), reason: "nothing says where it answers".into() }))
}

async fn ask(
    pool: &Pool,
    endpoint: &Arc<Endpoint>,
    ready: Ready,
    request: Request<RequestBody>,
) -> Result<Answered, Left> {
    let unsent = |error: hyper::client::conn::TrySendError<Request<RequestBody>>| {
        let mut error = error;
        match error.take_message() {
            Some(request) => Left::Whole(request.into_body(), words(error.error())),
            None => Left::Unknown(words(error.error())),
        }
    };
    match ready {
        Ready::One(mut connection) => {
            let response = connection.try_send_request(request).await.map_err(unsent)?;
            let lent = pool.lend(connection, endpoint);
            Ok(Answered { response, lent, endpoint: endpoint.clone() })
        }
        Ready::Two(mut connection) => {
            let response = connection.try_send_request(request).await.map_err(unsent)?;
            Ok(Answered { response, lent: Lent::none(), endpoint: endpoint.clone() })
        }
    }
}

fn words(error: &hyper::Error) -> String {
    let source = std::error::Error::source(error).map_or(String::new(), |source| format!(": {source}"));
    match error {
        error if error.is_incomplete_message() => "it closed the connection without an answer".to_string(),
        error if error.is_parse() => format!("its answer is no HTTP: {error}{source}"),
        error => format!("{error}{source}"),
    }
}

/// The request as this upstream and this connection want it.
fn request(
    parts: &request::Parts,
    host: &HeaderValue,
    endpoint: &Endpoint,
    ready: &Ready,
    body: RequestBody,
    need: Need,
) -> Request<RequestBody> {
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.headers_mut() = parts.headers.clone();
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    match ready {
        Ready::One(_) => {
            *request.version_mut() = Version::HTTP_11;
            let mut uri = http::uri::Parts::default();
            uri.path_and_query = Some(path);
            *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
            headers::join_cookies(request.headers_mut());
            request.headers_mut().insert(header::HOST, host.clone());
            if need == Need::Upgrade {
                request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                if let Some(upgrade) = parts.extensions.get::<Upgrade>() {
                    request.headers_mut().insert(header::UPGRADE, upgrade.0.clone());
                }
            }
        }
        Ready::Two(_) => {
            *request.version_mut() = Version::HTTP_2;
            let mut uri = http::uri::Parts::default();
            uri.path_and_query = Some(path);
            uri.scheme = Some(endpoint.scheme.clone());
            let said = host.to_str().ok().and_then(|host| host.parse().ok());
            uri.authority = Some(said.unwrap_or_else(|| endpoint.authority.clone()));
            *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
            request.headers_mut().remove(header::HOST);
        }
    }
    request
}

/// What a connection is to become.
#[derive(Clone)]
pub struct Upgrade(pub HeaderValue);
