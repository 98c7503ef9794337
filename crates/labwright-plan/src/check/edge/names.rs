//! The names of services: in which DNS zone they are, and who could give a certificate for them.

use labwright_model::lab::{Cloudflare, Expose, Lab, Tls};
use labwright_model::{Placement, Spanned};

/// A name that a service is reached by, in full.
#[derive(Clone, Debug)]
pub struct Name<'a> {
    pub url: &'a Spanned<String>,
    pub full: String,
}

pub fn cloudflare(lab: &Lab) -> Option<&Cloudflare> {
    lab.edge.public.as_ref()?.cloudflare.as_ref()
}

/// The names of a service, those that another service runs on the outside aside.
pub fn names<'a>(lab: &Lab, placement: &'a Placement) -> Vec<Name<'a>> {
    if placement.entry.external.is_some() {
        return Vec::new();
    }
    let urls = placement.entry.url.iter().filter(|url| !url.is_empty() && !url.contains('$'));
    urls.map(|url| Name { url, full: full(lab, url) }).collect()
}

/// `https://Wiki.example.net:8443/path` as `wiki.example.net`, `wiki` as the name in the lab's domain.
pub fn full(lab: &Lab, url: &str) -> String {
    let name = url.split_once("://").map_or(url, |(_, rest)| rest);
    let name = name.split(['/', ':']).next().unwrap_or_default();
    lab.fqdn(name.trim_end_matches('.')).to_lowercase()
}

/// The DNS zone at Cloudflare that a name is in, the longest that fits.
pub fn zone_of<'a>(cloudflare: &'a Cloudflare, name: &str) -> Option<&'a str> {
    let zones = cloudflare.zones.iter().map(|zone| zone.value.as_str());
    zones.filter(|zone| is_in(name, zone)).max_by_key(|zone| zone.len())
}

/// Whether a name is a domain, or one within it.
pub fn is_in(name: &str, domain: &str) -> bool {
    let domain = domain.trim_end_matches('.').to_lowercase();
    name == domain || name.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'))
}

/// Whether a name is in a domain that the world does not have: no public authority signs it.
pub fn is_private(name: &str) -> bool {
    const DOMAINS: &[&str] = &[
        "home.arpa",
        "internal",
        "local",
        "lan",
        "home",
        "corp",
        "mail",
        "localdomain",
        "localhost",
        "intranet",
        "private",
        "test",
        "invalid",
        "intra",
    ];
    !name.contains('.') || DOMAINS.iter().any(|domain| is_in(name, domain))
}

/// Whether certificates come from an authority that everybody trusts. Another ACME directory may be the lab's own.
pub fn is_public_acme(tls: &Tls) -> bool {
    const KNOWN: &[&str] = &["letsencrypt", "zerossl", "pki.goog", "buypass", "ssl.com"];
    tls.acme.as_ref().is_some_and(|acme| KNOWN.iter().any(|known| acme.contains(known)))
}

pub fn is_at_cloudflare(tls: &Tls) -> bool {
    tls.dns01.as_ref().is_some_and(|dns01| dns01.value == "cloudflare")
}

/// Whether people come to a service by a name at all.
pub fn is_exposed(placement: &Placement) -> bool {
    placement.entry.expose != Expose::Nowhere && placement.entry.external.is_none()
}
