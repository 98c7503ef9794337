//! Headers that end at a proxy, and those that it owes: RFC 9110, 7.6; RFC 9113, 8.2.2; `X-Forwarded-*` as upstreams expect
//! them. What a client says of itself is believed only from a trusted proxy.

use std::fmt::Write;
use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

pub const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REAL: HeaderName = HeaderName::from_static("x-real-ip");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Takes out what is meant for the next hop alone. What a `Connection` header names goes too, but for what upstreams rely
/// on: a client must not be able to take out what this proxy puts in.
pub fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    // `TE: trailers` is the one value that lives on: gRPC asks for it.
    if headers.contains_key(header::TE) {
        let trailers = headers.get_all(header::TE).iter().any(|value| {
            value.to_str().is_ok_and(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case("trailers")))
        });
        headers.remove(header::TE);
        if trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::PROXY_AUTHENTICATE] {
        headers.remove(name);
    }
}

/// Where a client is, and how it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's own address, as far as it can be known.
    pub address: IpAddr,
    /// Whether it came by HTTPS to the first proxy.
    pub https: bool,
    /// What stands in `X-Forwarded-For` from trusted proxies.
    pub before: Option<String>,
}

/// Who a request is from. Of a trusted proxy's `X-Forwarded-For` the last address counts that is not itself a trusted one.
pub fn client(peer: IpAddr, tls: bool, trusted: &[IpNet], headers: &HeaderMap) -> Client {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if trusted.is_empty() || !is_trusted(&peer) {
        return Client { address: peer, https: tls, before: None };
    }
    let said: Vec<&str> = headers.get_all(&FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    let mut chain: Vec<IpAddr> = Vec::new();
    // From the near end; what is no address, and all that is beyond it, was said by nobody who is trusted.
    for part in said.iter().rev().flat_map(|value| value.rsplit(',')) {
        match part.trim().trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => chain.push(address.to_canonical()),
            Err(_) => break,
        }
        if chain.last().is_some_and(|address| !is_trusted(address)) {
            break;
        }
    }
    let address = chain.last().copied().unwrap_or(peer);
    let https = match headers.get(&PROTO).and_then(|value| value.to_str().ok()) {
        Some(proto) => proto.split(',').next_back().unwrap_or_default().trim().eq_ignore_ascii_case("https"),
        None => tls,
    };
    let before: Vec<String> = chain.iter().rev().map(IpAddr::to_string).collect();
    Client { address, https, before: (!before.is_empty()).then(|| before.join(", ")) }
}

/// Tells an upstream who asks, in place of whatever the client said.
pub fn forward(headers: &mut HeaderMap, client: &Client, peer: IpAddr, host: &str) {
    let value = |text: &str| HeaderValue::from_str(text).ok();
    let mut text = String::with_capacity(48);
    if let Some(before) = &client.before {
        text.push_str(before);
        text.push_str(", ");
    }
    let _ = write!(text, "{peer}");
    let mut put = |name: HeaderName, value: Option<HeaderValue>| match value {
        Some(value) => drop(headers.insert(name, value)),
        None => drop(headers.remove(name)),
    };
    put(FOR, value(&text));
    text.clear();
    let _ = write!(text, "{}", client.address);
    put(REAL, value(&text));
    put(PROTO, Some(HeaderValue::from_static(if client.https { "https" } else { "http" })));
    put(HOST, value(host));
    put(PORT, None);
    put(header::FORWARDED, None);
}

/// The crumbs that HTTP/2 splits a cookie into, as one header again; RFC 9113, 8.2.3.
pub fn join_cookies(headers: &mut HeaderMap) {
    let crumbs = headers.get_all(header::COOKIE);
    if crumbs.iter().nth(1).is_none() {
        return;
    }
    let joined = crumbs.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, value);
    }
}

/// Whether a request asks to become something else, such as a WebSocket.
pub fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
        && headers.get_all(header::CONNECTION).iter().any(|value| {
            value.to_str().is_ok_and(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case("upgrade")))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let entry = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        lines.iter().map(entry).fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
    }

    fn seen(peer: &str, trusted: &[&str], lines: &[(&'static str, &str)]) -> String {
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let client = client(peer.parse().unwrap(), false, &trusted, &headers(lines));
        format!("{} {} {}", client.address, client.https, client.before.unwrap_or_default())
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let lines = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https")];
        assert_eq!(seen("10.0.0.9", &[], &lines), "10.0.0.9 false ");
        assert_eq!(seen("10.0.0.9", &["10.0.0.8/32"], &lines), "10.0.0.9 false ");
        assert_eq!(seen("10.0.0.9", &["10.0.0.9/32"], &lines), "1.2.3.4 true 1.2.3.4");
    }

    #[test]
    fn a_client_cannot_put_itself_in_front_of_the_chain() {
        let lines = [("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.8")];
        assert_eq!(seen("10.0.0.9", &["10.0.0.0/24"], &lines), "1.2.3.4 false 1.2.3.4, 10.0.0.8");
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "junk, 10.0.0.8")];
        assert_eq!(seen("10.0.0.9", &["10.0.0.0/24"], &lines), "10.0.0.8 false 10.0.0.8");
    }

    #[test]
    fn what_is_for_one_hop_ends_here() {
        let mut map = headers(&[
            ("connection", "close, X-Secret"),
            ("x-secret", "1"),
            ("keep-alive", "5"),
            ("te", "gzip, trailers"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        strip(&mut map);
        let mut left: Vec<_> = map.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        left.sort();
        assert_eq!(left, ["accept: */*", "te: trailers"]);
    }

    #[test]
    fn what_a_client_says_of_itself_is_replaced() {
        let mut map = headers(&[
            ("x-forwarded-for", "6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
            ("x-forwarded-host", "evil"),
        ]);
        let client = Client { address: "1.2.3.4".parse().unwrap(), https: true, before: None };
        forward(&mut map, &client, client.address, "wiki.example.net");
        let text = format!("{map:?}");
        assert!(!text.contains("6.6.6.6") && !text.contains("evil"), "{text}");
        assert_eq!(map[FOR], "1.2.3.4");
        assert_eq!(map[PROTO], "https");
    }

    #[test]
    fn cookies_become_one_header() {
        let mut map = headers(&[("cookie", "a=1"), ("cookie", "b=2")]);
        join_cookies(&mut map);
        assert_eq!(map.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }
}
