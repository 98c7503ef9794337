//! Upstreams as people write them: `9.9.9.9`, `tls://dns.quad9.net`, `https://dns.example/dns-query`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One resolver that others' names are asked of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    pub transport: Transport,
    /// An address, or a name that bootstrap resolvers know. Behind `#` in the file stands the name that the certificate
    /// must have: `tls://9.9.9.9#dns.quad9.net`.
    pub host: String,
    pub port: u16,
    /// What the certificate must be for; the host itself when it is not said.
    pub tls_name: String,
    /// The path of DNS over HTTPS.
    pub path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// UDP, and TCP for what is too long.
    Udp,
    Tcp,
    Tls,
    Https,
}

impl Upstream {
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// As it would be written in the file.
    pub fn shown(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let (scheme, default) = match self.transport {
            Transport::Udp => ("", 53),
            Transport::Tcp => ("tcp://", 53),
            Transport::Tls => ("tls://", 853),
            Transport::Https => ("https://", 443),
        };
        let port = if self.port == default { String::new() } else { format!(":{}", self.port) };
        let name = if self.tls_name == self.host { String::new() } else { format!("#{}", self.tls_name) };
        let host = if port.is_empty() && scheme.is_empty() { self.host.clone() } else { host };
        format!("{scheme}{host}{port}{}{name}", self.path)
    }
}

/// Reads an upstream.
///
/// # Errors
/// What is wrong with it, as words that fit after "`…` is no upstream: ".
pub fn upstream(text: &str) -> Result<Upstream, String> {
    let (text, name) = match text.trim().split_once('#') {
        Some((text, name)) => (text, Some(name)),
        None => (text.trim(), None),
    };
    let (scheme, rest) = text.split_once("://").unwrap_or(("udp", text));
    let (transport, default) = match scheme {
        "udp" | "dns" => (Transport::Udp, 53),
        "tcp" => (Transport::Tcp, 53),
        "tls" => (Transport::Tls, 853),
        "https" => (Transport::Https, 443),
        "h3" | "quic" | "sdns" => return Err(format!("`{scheme}` is not spoken here: write `tls://` or `https://`")),
        _ => return Err(format!("`{scheme}` is none of udp, tcp, tls, https")),
    };
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) => (authority, format!("/{path}")),
        None => (rest, String::new()),
    };
    let (host, port) = match (authority.parse::<IpAddr>(), authority.strip_prefix('[')) {
        (Ok(_), _) => (authority, None),
        (_, Some(inner)) => match inner.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.trim_start_matches(':'))),
            None => return Err("a `]` is missing".into()),
        },
        _ => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        None => default,
        Some(port) => port.parse().map_err(|_| format!("`{port}` is no port"))?,
    };
    if host.is_empty() {
        return Err("it names no host".into());
    }
    let host = host.trim_end_matches('.').to_lowercase();
    let is_name = host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    if host.parse::<IpAddr>().is_err() && !is_name {
        return Err(format!("`{host}` is neither an address nor a name"));
    }
    let path = match transport {
        Transport::Https if path.is_empty() || path == "/" => "/dns-query".to_string(),
        Transport::Https => path,
        _ if path.is_empty() || path == "/" => String::new(),
        _ => return Err(format!("`{path}` is a path, which only `https://` has")),
    };
    let tls_name = name.map_or_else(|| host.clone(), str::to_lowercase);
    Ok(Upstream { transport, host, port, tls_name, path })
}
