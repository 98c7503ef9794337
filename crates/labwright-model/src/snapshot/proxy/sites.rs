//! Names and what each leads to. Each name is one service's; the first that says it has it.

use std::collections::BTreeSet;

use super::access::from;
use super::door::{Led, endpoints, lead};
use super::{Answer, Auth, Forward, Limits, Need, Port, Route, Site, Upstreams, basic_credential, routed};
use crate::lab::{Lab, ReverseProxy};
use crate::{Parsed, Placement, Spanned, reference};

/// A placed service that says a name.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    pub placement: &'a Placement,
    pub url: &'a Spanned<String>,
    /// The name in full, in lower case.
    pub name: String,
}

/// `https://Wiki.example.net:8443/path` as `wiki.example.net`, `wiki` as the name in the lab's domain.
pub fn full_name(lab: &Lab, url: &str) -> String {
    let name = url.split_once("://").map_or(url, |(_, rest)| rest);
    let name = name.split(['/', ':']).next().unwrap_or_default();
    lab.fqdn(name.trim_end_matches('.')).to_lowercase()
}

/// Every name that a service says, in the order of the file. What someone else runs without a door has its name elsewhere.
pub fn claims(parsed: &Parsed) -> Vec<Claim<'_>> {
    let ours = |placement: &&Placement| placement.entry.external.is_none() || !placement.entry.door.to.is_empty();
    let of = |placement| {
        let placement: &Placement = placement;
        let urls = placement.entry.url.iter().filter(|url| !url.is_empty() && !url.contains('$'));
        urls.map(move |url| Claim { placement, url, name: full_name(&parsed.lab, url) })
    };
    parsed.placements.iter().filter(ours).flat_map(of).collect()
}

/// All sites, by service; in an order that does not hang on the order of the file but where two say the same name.
pub fn sites(parsed: &Parsed, proxy: &ReverseProxy, host: &str) -> Vec<Site> {
    let mut taken = BTreeSet::new();
    let mut sites: Vec<Site> = Vec::new();
    let mut last: Option<*const Placement> = None;
    for claim in claims(parsed) {
        if !taken.insert(claim.name.clone()) {
            continue;
        }
        match sites.last_mut().filter(|_| last.is_some_and(|last| std::ptr::eq(last, claim.placement))) {
            Some(site) => site.names.push(claim.name),
            None => sites.push(site(parsed, proxy, host, &claim)),
        }
        last = Some(claim.placement);
    }
    sites.iter_mut().for_each(|site| site.names.sort());
    sites.sort_by(|a, b| (&a.service, &a.names).cmp(&(&b.service, &b.names)));
    sites
}

fn site(parsed: &Parsed, proxy: &ReverseProxy, host: &str, claim: &Claim<'_>) -> Site {
    let (placement, entry) = (claim.placement, &claim.placement.entry);
    let basic = entry.door.auth.basic.keys();
    let auth = Auth {
        forward: entry.door.auth.forward,
        basic: basic.map(|user| (user.clone(), basic_credential(&placement.service, user))).collect(),
        open: entry.door.auth.open.iter().map(|path| path.value.clone()).collect(),
    };
    let route = |route: &crate::lab::ServiceRoute| Route {
        headers: route.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect(),
        answer: by_name(parsed, &route.to, placement.environment.as_deref(), host),
    };
    Site {
        service: placement.service.clone(),
        names: vec![claim.name.clone()],
        answer: answer(parsed, placement, host),
        from: from(parsed, placement),
        expose: entry.expose.word().to_string(),
        auth,
        routes: entry.routes.iter().map(route).collect(),
        limits: Limits::of(&[&entry.door.limits, &proxy.limits]),
        hsts: entry.door.hsts.or(proxy.hsts).map(|period| period.0.as_secs()),
        geo: entry.door.geo && proxy.geo.is_some(),
        clear_text: entry.door.clear_text || proxy.tls.off,
        passthrough: entry.door.passthrough,
        proxy_protocol: entry.door.proxy_protocol,
        cors: entry.cors.iter().map(|origin| origin.value.clone()).collect(),
    }
}

/// The answer of a service by its name: in the same environment where it is placed there, else as it is placed first.
fn by_name(parsed: &Parsed, service: &str, environment: Option<&str>, host: &str) -> Answer {
    let of = |placement: &&Placement| placement.service == service;
    let same = parsed.placements.iter().filter(of).find(|placement| placement.environment.as_deref() == environment);
    match same.or_else(|| parsed.placements.iter().find(of)) {
        Some(placement) => answer(parsed, placement, host),
        None => Answer::Nothing(format!("there is no service `{service}`")),
    }
}

fn answer(parsed: &Parsed, placement: &Placement, host: &str) -> Answer {
    match lead(parsed, placement, host) {
        Led::To(urls) => Answer::Upstreams(upstreams(parsed, placement, host, urls)),
        Led::Folder(folder) => Answer::Folder(folder_on_host(parsed, &placement.service, &folder)),
        Led::Nowhere(why) => {
            let (why, help) = why.words(&placement.service);
            Answer::Nothing(format!("{why}; {help}"))
        }
    }
}

/// Where copies of folders beside the lab file stand on a proxy's host.
pub const SITES: &str = "/var/lib/labwright-sites";

/// The folder of a site on the proxy's host: its own where it is absolute, a copy otherwise.
pub fn folder_on_host(parsed: &Parsed, service: &str, folder: &str) -> String {
    match folder.starts_with('/') {
        true => folder.to_string(),
        false => format!("{SITES}/{}/{service}", parsed.lab.lab.value),
    }
}

fn upstreams(parsed: &Parsed, placement: &Placement, host: &str, urls: Vec<String>) -> Upstreams {
    let entry = &placement.entry;
    let probed = entry.probe.as_ref().and_then(|probe| probe.path.as_ref());
    let need = |need: &Spanned<String>| Need { service: need.value.clone(), at: endpoints(parsed, &need.value, host) };
    Upstreams {
        service: placement.service.clone(),
        urls,
        verify: reference::unescape(&entry.door.verify),
        health: entry.door.health.as_ref().or(probed).map(|path| path.value.clone()),
        needs: entry.needs.iter().map(need).collect(),
    }
}

pub fn forward(parsed: &Parsed, proxy: &ReverseProxy, host: &str) -> Option<Forward> {
    let forward = proxy.forward_auth.as_ref()?;
    let to = match (&forward.url, &forward.service) {
        (Some(url), _) => {
            Upstreams { service: "forward_auth".into(), urls: vec![url.value.clone()], ..Upstreams::default() }
        }
        (None, Some(service)) => match by_name(parsed, service, None, host) {
            Answer::Upstreams(upstreams) => upstreams,
            _ => Upstreams { service: service.value.clone(), ..Upstreams::default() },
        },
        (None, None) => return None,
    };
    let texts = |texts: &[Spanned<String>]| texts.iter().map(|text| text.value.clone()).collect();
    Some(Forward { to, path: forward.path.value.clone(), pass: texts(&forward.pass), headers: texts(&forward.headers) })
}

/// The ports that are handed through.
pub fn ports(parsed: &Parsed, host: &str) -> Vec<Port> {
    let Some(_) = routed(parsed) else { return Vec::new() };
    let mut taken = BTreeSet::new();
    let mut all = Vec::new();
    for placement in &parsed.placements {
        for text in placement.entry.door.tcp.iter() {
            let (outer, inner) = text.split_once(':').unwrap_or((text, text));
            let (Ok(port), Ok(inner)) = (outer.parse::<u16>(), inner.parse::<u16>()) else { continue };
            let hosts = placement.entry.on.iter().filter_map(|on| match on.value == host {
                true => Some(format!("127.0.0.1:{inner}")),
                false => {
                    let address = parsed.lab.host(on)?.address.first()?.value;
                    Some(std::net::SocketAddr::new(address, inner).to_string())
                }
            });
            if taken.insert(port) {
                let service = placement.service.clone();
                let proxy_protocol = placement.entry.door.proxy_protocol;
                all.push(Port { service, port, to: hosts.collect(), from: from(parsed, placement), proxy_protocol });
            }
        }
    }
    all.sort_by_key(|port| port.port);
    all
}
