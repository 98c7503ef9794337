//! Published ports: `8080:80`, `127.0.0.1:9000-9001:9000-9001/udp`, `[::1]:53:53`, and the long form.
//! Looks at no other service; whether two want one port is checked elsewhere.

use std::net::IpAddr;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;

use crate::decode::{Decoder, FromNode, section};
use crate::span::Spanned;
use crate::tree::{Kind, Node};

/// Docker starts a process for each published port; more than this of one service is a mistake.
const MAX_PORTS: usize = 10_000;

section! {
    /// A port of a container, and where it is published.
    pub struct Port {
        /// A name for people.
        name: Option<String>,
        /// `ingress` or `host`; only a swarm tells them apart.
        mode: Option<String> = Some("ingress".to_string()),
        /// The address of the host that it is bound to; all of them when absent.
        host_ip: Option<Spanned<String>>,
        /// The port in the container.
        target: u16,
        /// The port of the host, or a range of which one is chosen; any free one when absent.
        published: Option<Spanned<String>>,
        /// `tcp` or `udp`.
        protocol: String = "tcp".to_string(),
        /// What is spoken, for people and proxies.
        app_protocol: Option<String>,
    }
    required ["target"]
}

impl Port {
    /// First and last port of the host, where it is published on one that is known.
    pub fn published_range(&self) -> Option<(u16, u16)> {
        range(&self.published.as_ref()?.value)
    }
}

/// Every port of a service once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Ports(pub Vec<Spanned<Port>>);

impl std::ops::Deref for Ports {
    type Target = Vec<Spanned<Port>>;
    fn deref(&self) -> &Vec<Spanned<Port>> {
        &self.0
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| text.parse::<u16>().ok();
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    (first <= last).then_some((first, last))
}

/// The ports of the short form; the error is the way out.
pub fn short(text: &str, node: &Node) -> Result<Vec<Port>, String> {
    let forms = "write `8080:80`, `127.0.0.1:8080:80`, `53:53/udp` or `9000-9010:9000-9010`";
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err("the protocol is `tcp`, `udp` or `sctp`".into());
    }
    let (host, target) = ports.rsplit_once(':').map_or((None, ports), |(host, target)| (Some(host), target));
    let (address, published) = match host {
        None => (None, None),
        Some(host) => match host.rsplit_once(':') {
            Some((address, published)) => (Some(address), Some(published)),
            None if host.contains('.') => (Some(host), None),
            None => (None, Some(host)),
        },
    };
    let address = address.map(|address| address.trim_start_matches('[').trim_end_matches(']'));
    let address = address.filter(|address| !address.is_empty());
    if let Some(address) = address.filter(|address| address.parse::<IpAddr>().is_err()) {
        return Err(format!("`{address}` is no IP address; {forms}"));
    }
    let published = published.filter(|published| !published.is_empty());
    let (first, last) = range(target).filter(|(first, _)| *first > 0).ok_or(forms)?;
    let host = published.map(|published| range(published).ok_or(forms)).transpose()?;
    let count = last - first;
    let spread = host.filter(|(start, end)| end - start == count);
    if host.is_some() && spread.is_none() && count > 0 {
        return Err("both ranges must have the same length".into());
    }
    let port = |offset: u16| Port {
        host_ip: address.map(|address| Spanned::new(address.to_string(), node.span)),
        target: first + offset,
        published: host.map(|(start, end)| {
            let text = match spread {
                Some(_) => (start + offset).to_string(),
                None => format!("{start}-{end}"),
            };
            Spanned::new(text, node.span)
        }),
        protocol: protocol.clone(),
        ..Port::default()
    };
    Ok((0..=count).map(port).collect())
}

impl FromNode for Ports {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let Kind::List(items) = &node.kind else {
            return decoder.wrong_help(
                node,
                "a list of ports",
                "write each port on a line of its own: `- \"8080:80\"`",
            );
        };
        let mut ports = IndexMap::new();
        for (number, item) in items.iter().enumerate() {
            let read = match item.text() {
                Some(text) => match short(text, item) {
                    Ok(ports) => ports,
                    Err(help) => {
                        decoder.wrong_help::<()>(item, "a port", help);
                        continue;
                    }
                },
                None => decoder.within(&number.to_string(), |d| long(item, d)).into_iter().collect(),
            };
            if ports.len() + read.len() > MAX_PORTS {
                let help = format!("publish at most {MAX_PORTS} ports, or use `network_mode: host`");
                return decoder.wrong_help(item, "one of fewer ports", help);
            }
            for port in read {
                let text = |text: &Option<Spanned<String>>| text.as_ref().map(|text| text.value.clone());
                let key = (text(&port.host_ip), text(&port.published), port.target, port.protocol.clone());
                ports.insert(key, Spanned::new(port, item.span));
            }
        }
        Some(Ports(ports.into_values().collect()))
    }
}

fn long(node: &Node, decoder: &mut Decoder<'_>) -> Option<Port> {
    let port = Port::from_node(node, decoder)?;
    if let Some(address) = port.host_ip.as_ref().filter(|address| address.parse::<IpAddr>().is_err()) {
        let node = Node { kind: Kind::Scalar { text: address.value.clone(), plain: false }, span: address.span };
        return decoder.within("host_ip", |d| d.wrong(&node, "an IP address"));
    }
    if let Some(published) = port.published.as_ref().filter(|published| range(published).is_none()) {
        let node = Node { kind: Kind::Scalar { text: published.value.clone(), plain: false }, span: published.span };
        return decoder.within("published", |d| d.wrong(&node, "a port of the host, or a range of ports"));
    }
    (port.target > 0).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Span;

    fn of(text: &str) -> Option<Vec<String>> {
        let node = Node { kind: Kind::Null, span: Span::NONE };
        let shown = |port: &Port| {
            let text = |text: &Option<Spanned<String>>| text.as_ref().map_or("*".into(), |text| text.value.clone());
            format!("{} {} {}/{}", text(&port.host_ip), text(&port.published), port.target, port.protocol)
        };
        Some(short(text, &node).ok()?.iter().map(shown).collect())
    }

    #[test]
    fn short_forms() {
        for (text, expected) in [
            ("80", vec!["* * 80/tcp"]),
            ("8080:80", vec!["* 8080 80/tcp"]),
            ("53:53/UDP", vec!["* 53 53/udp"]),
            ("127.0.0.1:8080:80", vec!["127.0.0.1 8080 80/tcp"]),
            ("127.0.0.1::80", vec!["127.0.0.1 * 80/tcp"]),
            ("[::1]:1:2", vec!["::1 1 2/tcp"]),
            ("9000-9001:9010-9011", vec!["* 9000 9010/tcp", "* 9001 9011/tcp"]),
            ("9000-9001:80", vec!["* 9000-9001 80/tcp"]),
            ("7-8", vec!["* * 7/tcp", "* * 8/tcp"]),
        ] {
            assert_eq!(of(text).unwrap_or_default(), expected, "{text}");
        }
        for text in ["", "x", "0", "80:x", "99999", "1.2.3:80:80", "80/http", "1-3:1-2", "2-1", "a:b:c:d"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
