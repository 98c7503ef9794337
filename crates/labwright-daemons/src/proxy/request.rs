//! One request, from its head to its answer: whose name, from where, by whom, and then where it leads.

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;

use super::access_log::Entry;
use super::body::{Body, Fault, RequestBody};
use super::endpoint::Group;
use super::headers::{self, Client};
use super::live::{Live, Site, Target, lets_in};
use super::page::{bare, page};
use super::pool::{Need, Pool};
use super::upstream::{Answered, Failure, Outgoing, Upgrade, send};
use super::{Shared, cors, files, forward, health};

/// What one thread answers from.
pub struct Desk {
    pub shared: Arc<Shared>,
    pub live: RefCell<Arc<Live>>,
    pub pool: Pool,
    /// Grows by one with each request: whose turn it is among equal upstreams.
    pub turn: Cell<usize>,
    pub guests: Guests,
}

/// Connections of clients that are open on one thread, whatever they have become.
#[derive(Clone, Default)]
pub struct Guests(Rc<(Cell<usize>, Notify)>);

/// Is counted as long as it is there.
pub struct Guest(Guests, Gauge);

impl Guests {
    /// Waits until none is left.
    pub async fn gone(&self) {
        while self.0.0.get() > 0 {
            // Looked at again in any case: the last may have gone between the two lines.
            let _ = tokio::time::timeout(Duration::from_millis(100), self.0.1.notified()).await;
        }
    }
}

impl Desk {
    pub fn guest(&self) -> Guest {
        let count = &self.guests.0.0;
        count.set(count.get() + 1);
        let gauge = self.shared.metrics.connections.clone();
        gauge.inc();
        Guest(self.guests.clone(), gauge)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let (count, left) = &*self.0.0;
        count.set(count.get() - 1);
        self.1.dec();
        left.notify_waiters();
    }
}

/// The connection that a request came over.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: IpAddr,
    pub tls: bool,
}

/// Where a request stands while it is answered, for the log and the counters.
struct Ask<'a> {
    desk: &'a Desk,
    live: &'a Live,
    peer: Peer,
    parts: Parts,
    host: String,
    client: Client,
    upstream: Option<String>,
}

/// Answers one request.
pub async fn answer(desk: Rc<Desk>, peer: Peer, request: Request<Incoming>) -> Response<Body> {
    let begun = Instant::now();
    let live = desk.live.borrow().clone();
    let (parts, incoming) = request.into_parts();
    let Some(host) = host_of(&parts) else {
        let lines = ["A request names the host that it is for, once, in its `Host` header.".to_string()];
        let mut response = page(StatusCode::BAD_REQUEST, &parts.headers, "This request names no host", &lines);
        // Whoever speaks like that may mean something else by what follows, too.
        if parts.version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        return response;
    };
    let client = headers::client(peer.address, peer.tls, &live.trusted, &parts.headers);
    let mut ask = Ask { desk: &desk, live: &live, peer, parts, host, client, upstream: None };
    if !peer.tls
        && let Some(token) = ask.parts.uri.path().strip_prefix("/.well-known/acme-challenge/")
        && let Some(proof) = desk.shared.certs.http_proof(token)
    {
        return Response::new(Body::text(proof));
    }
    let Some(site) = live.site(&ask.host) else {
        let heading = format!("Nothing here is called {}", ask.host);
        let lines = ["No service of this lab has this name.".to_string()];
        return page(StatusCode::NOT_FOUND, &ask.parts.headers, &heading, &lines);
    };
    let logged = live.access_log.then(|| {
        let user_agent = ask.parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Entry {
            time: jiff::Timestamp::now().to_string(),
            client: ask.client.address.to_string(),
            service: site.service.clone(),
            host: ask.host.clone(),
            method: ask.parts.method.to_string(),
            // What follows the path may hold tokens.
            path: ask.parts.uri.path().to_string(),
            version: format!("{:?}", ask.parts.version),
            status: 0,
            user_agent: user_agent.map(str::to_string),
            upstream: None,
            bytes: 0,
            seconds: 0.0,
        }
    });
    let mut response = ask.site(site, incoming).await;
    if let Some(hsts) = &site.hsts
        && ask.client.https
    {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    site.counted.answered(response.status(), begun.elapsed().as_secs_f64());
    let Some(mut entry) = logged else { return response };
    entry.status = response.status().as_u16();
    entry.upstream = ask.upstream.take();
    let line = desk.shared.log.line(entry, begun);
    response.map(|body| Body::Logged(Box::new((body, line))))
}

/// The host that a request is for, in lower case and without its port. `None`: none, or more than one.
fn host_of(parts: &Parts) -> Option<String> {
    let mut said = parts.headers.get_all(header::HOST).iter();
    let header = said.next();
    if said.next().is_some() {
        return None;
    }
    let authority = match (parts.uri.authority(), header) {
        // RFC 9112, 3.2.2: the target counts; RFC 9113, 8.3.1: they must not differ.
        (Some(target), Some(header))
            if parts.version == Version::HTTP_2 && header.as_bytes() != target.as_str().as_bytes() =>
        {
            return None;
        }
        (Some(target), _) => target.as_str(),
        (None, header) => header?.to_str().ok()?,
    };
    let authority: http::uri::Authority = authority.parse().ok()?;
    if authority.as_str().contains('@') {
        return None;
    }
    let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
    (!host.is_empty()).then_some(host)
}

/// The bytes of a head, as they are counted: names, values, and four for each line.
fn head_size(parts: &Parts) -> usize {
    let lines = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    parts.uri.path_and_query().map_or(0, |path| path.as_str().len()) + lines.sum::<usize>()
}

impl Ask<'_> {
    fn page(&self, status: StatusCode, heading: &str, lines: &[String]) -> Response<Body> {
        page(status, &self.parts.headers, heading, lines)
    }

    async fn site(&mut self, site: &Site, incoming: Incoming) -> Response<Body> {
        if !lets_in(&site.from, self.client.address) {
            site.counted.refused.inc();
            return self.outside(site);
        }
        if head_size(&self.parts) > site.header {
            let lines = [format!("The head of a request may have {} bytes here.", site.header)];
            return self.page(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "This request says too much", &lines);
        }
        if let Some(port) = self.live.https
            && !self.client.https
            && !site.clear_text
        {
            return self.to_https(port);
        }
        if let Some((rate, rates)) = &site.rate
            && let Err(wait) = rates.ask(self.client.address, *rate)
        {
            site.counted.refused.inc();
            let seconds = wait.as_secs() + 1;
            let lines = [format!("Ask again in {seconds} s.")];
            let mut response = self.page(StatusCode::TOO_MANY_REQUESTS, "Too many requests", &lines);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            return response;
        }
        let origin = cors::origin(&site.cors, &self.parts.headers);
        if let Some(origin) = &origin
            && let Some(response) = cors::preflight(&self.parts.method, origin, &self.parts.headers)
        {
            return response;
        }
        let mut response = self.let_in(site, incoming).await;
        if let Some(origin) = &origin {
            cors::mark(response.headers_mut(), origin);
        }
        response
    }

    fn outside(&self, site: &Site) -> Response<Body> {
        let from = match site.expose.as_str() {
            "lan" => "from the lab's own networks",
            "vpn" => "over the VPN",
            _ => "by the services that need it",
        };
        let lines = [
            format!("{} is reached {from}, and {} is not among those.", site.service, self.client.address),
            "Whoever keeps the lab decides that with `expose` in the lab file.".to_string(),
        ];
        self.page(StatusCode::FORBIDDEN, "Not from here", &lines)
    }

    fn to_https(&self, port: u16) -> Response<Body> {
        let path = self.parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut to = format!("https://{}", self.host);
        if port != 443 {
            let _ = write!(to, ":{port}");
        }
        to.push_str(path);
        match HeaderValue::from_str(&to) {
            Ok(to) => bare(StatusCode::PERMANENT_REDIRECT, header::LOCATION, to),
            Err(_) => self.page(StatusCode::BAD_REQUEST, "This request cannot be sent to HTTPS", &[]),
        }
    }

    fn turn(&self) -> usize {
        let turn = self.desk.turn.get();
        self.desk.turn.set(turn.wrapping_add(1));
        turn
    }

    async fn let_in(&mut self, site: &Site, incoming: Incoming) -> Response<Body> {
        let path = self.parts.uri.path();
        let is_open = site.open.iter().any(|open| below(path, open));
        if let Some(basic) = site.basic.as_ref().filter(|_| !is_open) {
            if basic.user(&self.parts.headers).await.is_none() {
                site.counted.refused.inc();
                let mut response = self.page(StatusCode::UNAUTHORIZED, "Who are you?", &[]);
                response.headers_mut().insert(header::WWW_AUTHENTICATE, basic.challenge.clone());
                return response;
            }
            // It was for this door, and what is behind it need not know the password.
            self.parts.headers.remove(header::AUTHORIZATION);
        }
        if let Some(forward) = self.live.forward.as_ref().filter(|_| site.forward_auth) {
            if forward.pass.iter().any(|pass| below(path, pass)) {
                return self.through(site, &forward.group, incoming).await;
            }
            if is_open {
                forward.headers.iter().for_each(|name| drop(self.parts.headers.remove(name)));
            } else {
                let turn = self.turn();
                let asked =
                    forward::ask(&self.desk.pool, forward, &mut self.parts, &self.client, &self.host, turn).await;
                match asked {
                    Ok(forward::Word::Pass(told)) => {
                        self.parts.headers.extend(told.into_iter().map(|(n, v)| (Some(n), v)))
                    }
                    Ok(forward::Word::Stop(response)) => {
                        site.counted.refused.inc();
                        return *response;
                    }
                    // Nobody is let in because nobody could be asked.
                    Err(failure) => return self.failed(site, &forward.group, &failure).await,
                }
            }
        }
        let fits = |wanted: &[(header::HeaderName, HeaderValue)]| {
            wanted.iter().all(|(name, value)| self.parts.headers.get_all(name).iter().any(|said| said == value))
        };
        let target = site.routes.iter().find(|(wanted, _)| fits(wanted)).map_or(&site.target, |(_, target)| target);
        match target {
            Target::Group(group) => self.through(site, group, incoming).await,
            Target::Folder(folder) => {
                files::serve(folder, &self.parts.method, &self.parts.uri, &self.parts.headers).await
            }
            Target::Nothing(why) => {
                let lines = [format!("{why}.")];
                self.page(StatusCode::SERVICE_UNAVAILABLE, &format!("{} has no door yet", site.service), &lines)
            }
        }
    }

    /// Through to an upstream, and back.
    async fn through(&mut self, site: &Site, group: &Group, incoming: Incoming) -> Response<Body> {
        if self.parts.method == Method::CONNECT {
            return self.page(StatusCode::METHOD_NOT_ALLOWED, "This is no forward proxy", &[]);
        }
        let length: Option<u64> =
            self.parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if let (Some(limit), Some(length)) = (site.body, length)
            && length > limit
        {
            // A client that is still sending would not see the answer: some of it is taken and thrown away.
            tokio::task::spawn_local(discard(incoming));
            return self.too_large(limit);
        }
        if let Some(geo) = self.live.geo.as_ref().filter(|_| site.geo) {
            geo.tell(&mut self.parts.headers, self.client.address);
        }
        let upgrade = match self.parts.version {
            Version::HTTP_11 if headers::wants_upgrade(&self.parts.headers) => {
                let to = self.parts.headers.get(header::UPGRADE).cloned();
                to.zip(self.parts.extensions.remove::<hyper::upgrade::OnUpgrade>())
            }
            _ => None,
        };
        let fault = Rc::new(Cell::new(None));
        let mut outgoing = Request::new(());
        *outgoing.method_mut() = self.parts.method.clone();
        *outgoing.uri_mut() = self.parts.uri.clone();
        *outgoing.headers_mut() = std::mem::take(&mut self.parts.headers);
        let said = outgoing.headers_mut().remove(header::HOST);
        let accept = outgoing.headers().get(header::ACCEPT).cloned();
        headers::strip(outgoing.headers_mut());
        // What the client was told to wait for, this proxy has said already.
        outgoing.headers_mut().remove(header::EXPECT);
        headers::forward(outgoing.headers_mut(), &self.client, self.peer.address, &self.host);
        if let Some((to, _)) = &upgrade {
            outgoing.extensions_mut().insert(Upgrade(to.clone()));
        }
        if let Some(accept) = accept {
            // For a page about a failure; all else of the head goes on.
            self.parts.headers.insert(header::ACCEPT, accept);
        }
        let host = match self.parts.uri.authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => said,
        };
        let outgoing = Outgoing {
            parts: outgoing.into_parts().0,
            host: host.unwrap_or_else(|| HeaderValue::from_static("")),
            body: RequestBody::of(incoming, site.body, site.idle, fault.clone()),
            fault,
            time: site.time,
            need: if upgrade.is_some() { Need::Upgrade } else { Need::Any },
        };
        let turn = self.turn();
        match send(&self.desk.pool, group, turn, outgoing).await {
            Ok(answered) => {
                if self.live.access_log {
                    self.upstream = Some(answered.endpoint.url.clone());
                }
                self.back(answered, upgrade)
            }
            Err(failure) => {
                site.counted.failed.inc();
                self.failed(site, group, &failure).await
            }
        }
    }

    /// The answer of an upstream as the client gets it.
    fn back(
        &self,
        mut answered: Answered,
        upgrade: Option<(HeaderValue, hyper::upgrade::OnUpgrade)>,
    ) -> Response<Body> {
        if answered.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let Some((to, client)) = upgrade else {
                let lines = ["It changed the protocol, and nobody had asked it to.".to_string()];
                return self.page(StatusCode::BAD_GATEWAY, "The service answered something else", &lines);
            };
            let upstream = hyper::upgrade::on(&mut answered.response);
            let here = self.desk.guest();
            tokio::task::spawn_local(async move {
                let _here = here;
                let (Ok(client), Ok(upstream)) = tokio::join!(client, upstream) else { return };
                let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
                // Either side ends it, whenever it likes.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
            });
            let mut response = answered.response.map(|_| Body::Empty);
            let said = response.headers().get(header::UPGRADE).cloned().unwrap_or(to);
            headers::strip(response.headers_mut());
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            response.headers_mut().insert(header::UPGRADE, said);
            return response;
        }
        let mut response = answered.into_response();
        headers::strip(response.headers_mut());
        *response.version_mut() = Version::HTTP_11;
        response
    }

    fn too_large(&self, limit: u64) -> Response<Body> {
        let lines = [format!("The body of a request may have {limit} bytes here.")];
        let mut response = self.page(StatusCode::PAYLOAD_TOO_LARGE, "This is too large", &lines);
        // The rest of the body is not read.
        if self.parts.version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn failed(&self, site: &Site, group: &Group, failure: &Failure) -> Response<Body> {
        let service = &group.service;
        match failure {
            Failure::Client(Fault::TooLarge) => self.too_large(site.body.unwrap_or_default()),
            Failure::Client(Fault::Silent) => {
                let lines = ["Nothing more of its body came.".to_string()];
                self.page(StatusCode::REQUEST_TIMEOUT, "This request took too long", &lines)
            }
            Failure::Client(Fault::Broken) => {
                let lines = ["Its body broke off, or is not of the form that its head says.".to_string()];
                self.page(StatusCode::BAD_REQUEST, "This request is broken", &lines)
            }
            Failure::Slow { url, after } => {
                tracing::warn!(
                    service,
                    upstream = url,
                    seconds = after.as_secs(),
                    "an upstream did not answer in time"
                );
                let lines = [format!("It took the request, and began no answer within {} s.", after.as_secs())];
                self.page(StatusCode::GATEWAY_TIMEOUT, &format!("{service} is too slow"), &lines)
            }
            Failure::Broken { url, reason } => {
                tracing::warn!(service, upstream = url, reason, "an upstream broke off");
                let lines = [format!("Asked at {url}, {reason}.")];
                self.page(StatusCode::BAD_GATEWAY, &format!("{service} did not answer properly"), &lines)
            }
            Failure::Down { url, reason } => {
                let mut lines = vec![format!("Asked at {url}: {reason}.")];
                lines.extend(health::reasons(group).await);
                lines.push("It may still be starting; this page asks again by itself.".to_string());
                self.page(StatusCode::BAD_GATEWAY, &format!("{service} does not answer"), &lines)
            }
        }
    }
}

/// Takes what comes, for a moment.
async fn discard(mut incoming: Incoming) {
    let all = async {
        let mut left = 1_u64 << 20;
        while let Some(Ok(frame)) = incoming.frame().await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, |data| data.len() as u64)) else { return };
            left = rest;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), all).await;
}

/// Whether a path is another, or is below it.
fn below(path: &str, base: &str) -> bool {
    let base = base.trim_end_matches('/');
    // `/api/../admin` is not below `/api` for whoever resolves it.
    if path.contains("/../")
        || path.ends_with("/..")
        || path.contains("%2e")
        || path.contains("%2E")
        || path.contains("//")
    {
        return false;
    }
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn host(version: Version, uri: &str, headers: &[&str]) -> Option<String> {
        let mut request = Request::new(());
        *request.version_mut() = version;
        *request.uri_mut() = uri.parse().unwrap();
        for value in headers {
            request.headers_mut().append(header::HOST, value.parse().unwrap());
        }
        host_of(&request.into_parts().0)
    }

    #[test]
    fn a_request_is_for_one_host() {
        let one = Version::HTTP_11;
        assert_eq!(host(one, "/", &["Wiki.Example.net:8443"]).as_deref(), Some("wiki.example.net"));
        assert_eq!(host(one, "/", &["wiki.example.net."]).as_deref(), Some("wiki.example.net"));
        assert_eq!(host(one, "http://a.example/x", &["b.example"]).as_deref(), Some("a.example"));
        assert_eq!(host(Version::HTTP_2, "https://a.example/x", &["b.example"]), None);
        assert_eq!(host(Version::HTTP_2, "https://a.example/x", &[]).as_deref(), Some("a.example"));
        assert_eq!(host(one, "/", &[]), None);
        assert_eq!(host(one, "/", &["a", "a"]), None);
        assert_eq!(host(one, "/", &["user@a"]), None);
        assert_eq!(host(one, "/", &[""]), None);
    }

    #[test]
    fn open_paths_are_no_way_around() {
        assert!(below("/api", "/api/") && below("/api/x", "/api"));
        for path in ["/apix", "/api/../admin", "/api/%2e%2e/admin", "/api//admin", "/api/.."] {
            assert!(!below(path, "/api"), "{path}");
        }
        assert!(below("/x", "/"));
    }

    #[test]
    fn heads_are_measured() {
        let mut map = HeaderMap::new();
        map.insert("a", "bc".parse().unwrap());
        let mut request = Request::new(());
        *request.uri_mut() = "/xyz".parse().unwrap();
        *request.headers_mut() = map;
        assert_eq!(head_size(&request.into_parts().0), 4 + 7);
    }
}
