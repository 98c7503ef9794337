//! From the lab's names to the routes of a Caddy that is there already, and the policy of their certificates. Pure.

use std::collections::BTreeMap;

use labwright_model::lab::{ProxySoftware, ReverseProxy};
use labwright_model::snapshot::proxy::{self, Answer, ProxySnapshot, Site};
use labwright_model::{Parsed, reference};
use labwright_plan::{Input, Lowered, Resource, ResourceId, Value};

use super::route;
use crate::host::managed;

/// The lab's proxy, where it is a Caddy that is told.
pub fn declared(parsed: &Parsed) -> Option<&ReverseProxy> {
    parsed.lab.platform.reverse_proxy.as_ref().filter(|proxy| proxy.software == ProxySoftware::Caddy)
}

/// The routes and the policy of every host with such a Caddy.
pub fn lower(input: &Input<'_>, out: &mut Lowered) {
    let parsed = input.parsed;
    let Some(declared) = declared(parsed) else { return };
    let on: BTreeMap<&str, _> = declared.on.iter().map(|on| (on.value.as_str(), on.span)).collect();
    for (host, span) in on {
        if !parsed.lab.host(host).is_some_and(managed) {
            continue;
        }
        let snapshot = proxy::proxy(parsed, host);
        let told: Vec<&Site> = snapshot.sites.iter().filter(|site| is_told(&snapshot, site)).collect();
        let pages = crate::serve::pages(input, host, out);
        let resource = |kind: &str, name: &str, id: String, config: serde_json::Value| {
            let mut resource = Resource::new(ResourceId::new(host, "caddy", kind, name), span)
                .with("id", id)
                .with("config", route::text(&config))
                .with("admin", reference::unescape(&declared.admin));
            // It may come with this very run.
            for (provider, kind) in [("host", "package"), ("host", "unit"), ("host", "file"), ("docker", "container")] {
                resource.after.insert(ResourceId::all(host, provider, kind));
            }
            resource
        };
        let names: Vec<String> = told.iter().flat_map(|site| site.names.iter().cloned()).collect();
        let mut before = None;
        if asks_for_certificates(&snapshot) && !names.is_empty() {
            let lab = &parsed.lab.lab.value;
            let id = format!("labwright-{}-names", plain(lab));
            let policy = route::policy(&id, &names, snapshot.certificates.acme.as_ref());
            let policy = resource("policy", "names", id, policy);
            // Caddy would ask the internet's authorities for a name that it learns before it learns whom to ask.
            before = Some(policy.id.clone());
            out.resources.push(policy);
        }
        for site in told {
            let name = name_of(&snapshot, site);
            let id = format!("labwright-{}-{}", plain(&parsed.lab.lab), plain(&name));
            let config = route::route(&id, &snapshot, site);
            let port = snapshot.listen.https.unwrap_or(snapshot.listen.http);
            let listen: Vec<String> = match snapshot.listen.addresses.is_empty() {
                true => vec![format!(":{port}")],
                false => snapshot
                    .listen
                    .addresses
                    .iter()
                    .map(|at| std::net::SocketAddr::new(*at, port).to_string())
                    .collect(),
            };
            let mut resource = resource("route", &name, id, config)
                .with("port", u32::from(port))
                .with("names", site.names.iter().cloned().collect::<Value>())
                .with("listen", listen.into_iter().collect::<Value>())
                .with("tls", snapshot.listen.https.is_some());
            resource.after.extend(before.clone());
            resource.after.extend(pages.iter().map(|page| page.id.clone()));
            out.resources.push(resource);
        }
        out.resources.extend(pages);
    }
}

/// Whether a site can be told to Caddy without opening what the lab keeps closed. What cannot is a finding (LW-EDGE-011).
fn is_told(snapshot: &ProxySnapshot, site: &Site) -> bool {
    let hidden = !snapshot.trusted.is_empty() && site.from.is_some();
    !site.passthrough && site.auth.basic.is_empty() && !hidden && all(site).all(is_alike)
}

/// Everything that a site's names may lead to.
fn all(site: &Site) -> impl Iterator<Item = &Answer> {
    site.routes.iter().map(|route| &route.answer).chain([&site.answer])
}

/// Whether all places of an answer are spoken to in one way, which is all that Caddy has.
fn is_alike(answer: &Answer) -> bool {
    let Answer::Upstreams(upstreams) = answer else { return true };
    let mut schemes = upstreams.urls.iter().map(|url| url.split_once("://").map(|(scheme, _)| scheme));
    let first = schemes.next();
    schemes.all(|scheme| Some(scheme) == first)
}

/// Proofs by DNS need a module that Caddy does not come with, and an account a key that its configuration would show:
/// certificates are then as its own settings say.
fn asks_for_certificates(snapshot: &ProxySnapshot) -> bool {
    snapshot.listen.https.is_some()
        && snapshot.certificates.acme.as_ref().is_none_or(|acme| acme.dns.is_none() && acme.binding.is_none())
}

/// A route's name: its service, with the first of its names where the service has several placements.
fn name_of(snapshot: &ProxySnapshot, site: &Site) -> String {
    let alone = snapshot.sites.iter().filter(|other| other.service == site.service).count() == 1;
    match site.names.first().filter(|_| !alone) {
        Some(name) => format!("{}.{name}", site.service),
        None => site.service.clone(),
    }
}

/// What may stand in an `@id`, and so in a path of the API.
fn plain(text: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') { c } else { '_' };
    text.chars().map(letter).collect()
}
