//! Where a service answers: the address of its host, and the port that its name leads to.
//! Guesses nothing: what the lab does not say is a reason, in words, with what to write.

use crate::compose::service::NetworkMode;
use crate::compose::{self, Project};
use crate::{Parsed, Placement, reference};

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Led {
    /// `http://host:port`, several if need be.
    To(Vec<String>),
    /// A folder: absolute, or beside the lab file.
    Folder(String),
    /// Nowhere: why.
    Nowhere(NoWay),
}

/// Why a name leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoWay {
    /// Nothing says which port.
    NoPort,
    /// `port` is no port.
    NotAPort(String),
    /// `port` names a container that the service has not.
    NoSuchContainer(String),
    /// The container does not publish that port on its host, which is the proxy's own or another.
    NotPublished { container: String, port: u16, beside: bool },
    /// Nothing says where it runs.
    NoHost,
    /// A host without an address that the proxy could connect to.
    NoAddress(String),
    /// Someone else runs it, and its name is theirs.
    External,
}

impl NoWay {
    /// Why, and what to write, as one sentence each.
    pub fn words(&self, service: &str) -> (String, String) {
        match self {
            NoWay::NoPort => (
                format!("nothing says which port the name of `{service}` leads to"),
                "add `port: 8080`, or `port: CONTAINER:PORT`, or `door: { to: http://HOST:PORT }`".into(),
            ),
            NoWay::NotAPort(text) => (
                format!("`port: {text}` of `{service}` is no port"),
                "write a number from 1 to 65535, or `CONTAINER:PORT`".into(),
            ),
            NoWay::NoSuchContainer(name) => (
                format!("`{service}` has no container `{name}`, which its `port` names"),
                "name one that stands under its `containers`".into(),
            ),
            NoWay::NotPublished { container, port, beside } => (
                format!(
                    "container `{container}` of `{service}` does not publish its port {port}, so no proxy reaches it"
                ),
                match beside {
                    true => format!(
                        "publish it to its own host, where the proxy is: `ports: [\"127.0.0.1:{port}:{port}\"]`"
                    ),
                    false => format!("publish it on its host: `ports: [\"{port}:{port}\"]`"),
                },
            ),
            NoWay::NoHost => {
                (format!("nothing says which host `{service}` runs on"), "add `on: HOST`, or `door: { to: … }`".into())
            }
            NoWay::NoAddress(host) => (
                format!("host `{host}` of `{service}` has no address"),
                format!("give `{host}` an `address` under `compute.hosts`"),
            ),
            NoWay::External => (
                format!("someone else runs `{service}`, and its name is theirs"),
                "to lead its name through the proxy, say where to: `door: { to: https://HOST }`".into(),
            ),
        }
    }
}

/// Where a placed service answers, as the proxy on `from` reaches it.
pub fn lead(parsed: &Parsed, placement: &Placement, from: &str) -> Led {
    let entry = &placement.entry;
    if let Some(site) = &entry.site {
        return Led::Folder(reference::unescape(site));
    }
    if !entry.door.to.is_empty() {
        return Led::To(entry.door.to.iter().map(|url| reference::unescape(url)).collect());
    }
    if entry.external.is_some() {
        return Led::Nowhere(NoWay::External);
    }
    let beside = !entry.on.is_empty() && entry.on.iter().all(|on| on.value == from);
    let port = match port(parsed, placement, beside) {
        Ok(port) => port,
        Err(why) => return Led::Nowhere(why),
    };
    if entry.on.is_empty() {
        return Led::Nowhere(NoWay::NoHost);
    }
    let mut urls = Vec::new();
    for on in entry.on.iter() {
        match address(parsed, on, from, port.bound.as_deref()) {
            Some(address) => urls.push(format!("http://{address}:{}", port.port)),
            None => return Led::Nowhere(NoWay::NoAddress(on.value.clone())),
        }
    }
    Led::To(urls)
}

/// Where a service answers as `host:port`, whether or not it has a name; empty where that is not known.
pub fn endpoints(parsed: &Parsed, service: &str, from: &str) -> Vec<String> {
    let placements = parsed.placements.iter().filter(|placement| placement.service == service);
    let led = placements.map(|placement| lead(parsed, placement, from));
    let urls = led.flat_map(|led| match led {
        Led::To(urls) => urls,
        _ => Vec::new(),
    });
    urls.filter_map(|url| Some(url.split_once("://")?.1.split('/').next()?.to_string())).collect()
}

fn address(parsed: &Parsed, host: &str, from: &str, bound: Option<&str>) -> Option<String> {
    let literal = |address: &str| match address.contains(':') && !address.starts_with('[') {
        true => format!("[{address}]"),
        false => address.to_string(),
    };
    // What listens on one address alone is reached there alone.
    if let Some(bound) = bound.filter(|bound| !matches!(*bound, "0.0.0.0" | "::" | "[::]")) {
        return Some(literal(bound));
    }
    if host == from {
        return Some("127.0.0.1".to_string());
    }
    Some(literal(&parsed.lab.host(host)?.address.first()?.value.to_string()))
}

struct Published {
    port: u16,
    /// The one address of the host that it listens on.
    bound: Option<String>,
}

fn port(parsed: &Parsed, placement: &Placement, beside: bool) -> Result<Published, NoWay> {
    let project = parsed.project(placement);
    let Some(text) = &placement.entry.port else {
        return project.and_then(only_published).ok_or(NoWay::NoPort);
    };
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let Some((container, inner)) = text.rsplit_once(':') else {
        let port = number(text).ok_or_else(|| NoWay::NotAPort(text.value.clone()))?;
        return Ok(Published { port, bound: None });
    };
    let inner = number(inner).ok_or_else(|| NoWay::NotAPort(text.value.clone()))?;
    // A Compose file that could not be read has its finding: what it would publish is taken to be the same port.
    let Some(project) = project else { return Ok(Published { port: inner, bound: None }) };
    let Some((_, body)) = project.enabled().find(|(name, _)| *name == container) else {
        return Err(NoWay::NoSuchContainer(container.to_string()));
    };
    if body.network_mode.as_ref().is_some_and(|mode| mode.value == NetworkMode::Host) {
        return Ok(Published { port: inner, bound: None });
    }
    published(body).find(|(of, _)| *of == inner).map(|(_, published)| published).ok_or_else(|| NoWay::NotPublished {
        container: container.to_string(),
        port: inner,
        beside,
    })
}

/// The port of a service that publishes one alone: nothing else can be meant.
fn only_published(project: &Project) -> Option<Published> {
    let mut all = project.enabled().flat_map(|(_, service)| published(service));
    let (_, only) = all.next()?;
    all.next().is_none().then_some(only)
}

/// TCP ports that a container publishes under one known number, by the port inside.
fn published(service: &compose::Service) -> impl Iterator<Item = (u16, Published)> {
    service.ports.iter().filter(|port| port.protocol == "tcp").filter_map(|port| {
        let (first, last) = port.published_range()?;
        let bound = port.host_ip.as_ref().map(|address| address.value.clone());
        (first == last).then_some((port.target, Published { port: first, bound }))
    })
}
