//! Asking somebody else whether a request may pass, as Authelia, Authentik and Traefik's ForwardAuth agree on it: the
//! request's head goes there; 2xx lets it pass, and anything else is what the client gets.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response};

use super::body::{Body, RequestBody};
use super::headers::Client;
use super::live::Forward;
use super::pool::{Need, Pool};
use super::upstream::{Failure, Outgoing, send};

const METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
/// Whoever is asked answers at once, or is not well.
const TIME: Duration = Duration::from_secs(10);

/// What came of asking.
pub enum Word {
    /// It may pass, with these headers for the upstream.
    Pass(Vec<(HeaderName, HeaderValue)>),
    /// This is the answer.
    Stop(Box<Response<Body>>),
}

/// Asks. The request's own headers of the names that the answer gives are taken out in any case.
pub async fn ask(
    pool: &Pool,
    forward: &Forward,
    parts: &mut Parts,
    client: &Client,
    host: &str,
    turn: usize,
) -> Result<Word, Failure> {
    for name in &forward.headers {
        parts.headers.remove(name);
    }
    let mut headers = HeaderMap::with_capacity(parts.headers.len() + 6);
    for (name, value) in &parts.headers {
        // The body stays here, and whoever is asked must not wait for it.
        if !matches!(*name, header::CONTENT_LENGTH | header::CONTENT_TYPE | header::TRANSFER_ENCODING | header::EXPECT)
        {
            headers.append(name.clone(), value.clone());
        }
    }
    super::headers::strip(&mut headers);
    super::headers::forward(&mut headers, client, client.address, host);
    let value = |text: &str| HeaderValue::from_str(text).ok();
    let uri = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    for (name, value) in [(METHOD, value(parts.method.as_str())), (URI, value(uri))] {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    let mut asked = Request::new(());
    *asked.method_mut() = Method::GET;
    *asked.uri_mut() = forward.path.parse().unwrap_or_default();
    *asked.headers_mut() = headers;
    let first = forward.group.endpoints.first().map(|endpoint| endpoint.host_header.clone());
    let outgoing = Outgoing {
        parts: asked.into_parts().0,
        host: first.or_else(|| value(host)).unwrap_or_else(|| HeaderValue::from_static("auth")),
        body: RequestBody::Empty,
        fault: Rc::new(Cell::new(None)),
        time: TIME,
        need: Need::Any,
    };
    let answered = send(pool, &forward.group, turn, outgoing).await?;
    if answered.response.status().is_success() {
        let told = |name: &HeaderName| Some((name.clone(), answered.response.headers().get(name)?.clone()));
        return Ok(Word::Pass(forward.headers.iter().filter_map(told).collect()));
    }
    let mut response = answered.into_response();
    super::headers::strip(response.headers_mut());
    Ok(Word::Stop(Box::new(response)))
}
