//! The part of LW-PLT-001 that knows services by their images: a service plays a role of the lab, and `platform` does not
//! name it. Says nothing of second proxies, second monitors and upstreams of resolvers, which labs have on purpose.

use std::collections::BTreeSet;

use labwright_model::compose::service::NetworkMode;
use labwright_model::lab::{Lab, Tier};
use labwright_model::{Finding, Parsed, Placement, Severity, Span};

use crate::application;
use crate::check::containers::{Container, containers};

/// What a product's image says of its service.
struct Product {
    role: Role,
    /// Repositories of images, without a registry.
    images: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Dns,
    ReverseProxy,
    Identity,
    Monitoring,
}

const PRODUCTS: &[Product] = &[
    Product {
        role: Role::Dns,
        images: &["pihole/pihole", "adguard/adguardhome", "technitium/dns-server", "spx01/blocky", "0xerr0r/blocky"],
    },
    Product {
        role: Role::ReverseProxy,
        images: &[
            "traefik",
            "caddy",
            "jc21/nginx-proxy-manager",
            "linuxserver/swag",
            "lucaslorentz/caddy-docker-proxy",
        ],
    },
    Product {
        role: Role::Identity,
        images: &[
            "authelia/authelia",
            "goauthentik/server",
            "keycloak/keycloak",
            "kanidm/server",
            "pocket-id/pocket-id",
            "zitadel/zitadel",
        ],
    },
    // What probes by itself (Uptime Kuma, Gatus) is seen by the rules as it is.
    Product {
        role: Role::Monitoring,
        images: &["prom/prometheus", "victoriametrics/victoria-metrics", "checkmk/check-mk-raw"],
    },
];

/// Unbound answers a house, or only the resolver beside it: where another product is, it is that one's upstream.
const UNBOUND: &[&str] = &["mvance/unbound", "klutchell/unbound"];

impl Role {
    fn key(self) -> &'static str {
        match self {
            Role::Dns => "dns",
            Role::ReverseProxy => "reverse_proxy",
            Role::Identity => "identity",
            Role::Monitoring => "monitoring",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Role::Dns => "a resolver",
            Role::ReverseProxy => "a reverse proxy",
            Role::Identity => "what people log in with",
            Role::Monitoring => "what watches",
        }
    }
}

/// A service that plays a role.
struct Plays<'a> {
    role: Role,
    placement: &'a Placement,
    image: &'a str,
}

/// The roles that services play and `platform` does not name, in one finding.
pub(super) fn unnamed(parsed: &Parsed) -> Option<(Finding, BTreeSet<Role>)> {
    let lab = &parsed.lab;
    let mut found: Vec<Plays<'_>> = Vec::new();
    let mut unbound: Vec<Plays<'_>> = Vec::new();
    for placement in parsed.placements.iter().filter(|placement| !placement.entry.on.is_empty()) {
        for container in containers(parsed, placement) {
            let Some(image) = container.image() else { continue };
            let path = application::path(image.repository);
            let plays = |role| Plays { role, placement, image: image.repository };
            if UNBOUND.iter().any(|known| is_of(path, known)) {
                unbound.extend(answers(&container, &[53], false).then(|| plays(Role::Dns)));
                continue;
            }
            let product = PRODUCTS.iter().find(|product| product.images.iter().any(|known| is_of(path, known)));
            let Some(product) = product.filter(|product| is_for_all(parsed, product.role, path, &container)) else {
                continue;
            };
            let known = |one: &Plays<'_>| one.role == product.role && one.placement.service == placement.service;
            if !found.iter().any(known) {
                found.push(plays(product.role));
            }
        }
    }
    if !found.iter().any(|one| one.role == Role::Dns) {
        found.extend(unbound);
    }
    found.retain(|one| !is_named(lab, one));
    found.sort_by_key(|one| (one.role, span(parsed, one.placement)));
    let roles: BTreeSet<Role> = found.iter().map(|one| one.role).collect();
    let firsts: Vec<&Plays<'_>> = roles.iter().filter_map(|role| found.iter().find(|one| one.role == *role)).collect();
    let first = firsts.first()?;
    let services: BTreeSet<&str> = firsts.iter().map(|one| one.placement.service.as_str()).collect();
    let parts: Vec<String> = firsts
        .iter()
        .enumerate()
        .map(|(n, one)| {
            let service = &one.placement.service;
            let by = if services.len() == 1 && n > 0 { String::new() } else { format!("service `{service}` is ") };
            format!("{by}{} (`{}`)", one.role.word(), one.image)
        })
        .collect();
    let (pronoun, that) = if firsts.len() == 1 { ("it", "that role") } else { ("them", "these roles") };
    let message = match played_by(lab, first.role).filter(|_| firsts.len() == 1) {
        Some(others) => {
            format!("{}, and `platform.{}` names only {others}", parts.join(", "), first.role.key())
        }
        None => {
            format!("{}, and `platform` does not name {pronoun}: rules about {that} cannot see {pronoun}", all(&parts))
        }
    };
    let lines: Vec<String> = firsts.iter().map(|one| line(lab, one)).collect();
    let help = match firsts.iter().any(|one| played_by(lab, one.role).is_some()) {
        true => format!("say so under `platform`: `{}`", lines.join("`, `")),
        false => format!("say so: `platform: {{ {} }}`", lines.join(", ")),
    };
    let at = format!("platform.{}", first.role.key());
    let mut finding =
        Finding::advice(super::undecided_role::CODE, at, span(parsed, first.placement), message).help(help);
    let mut told = vec![span(parsed, first.placement)];
    for one in &found {
        let place = span(parsed, one.placement);
        if !told.contains(&place) && told.len() < 6 {
            told.push(place);
            finding = finding.related(place, format!("{} too", one.role.word()));
        }
    }
    Some((finding, roles))
}

/// Whether a resolver is there that `platform.dns` does not name.
pub(super) fn leaves_out_a_resolver(parsed: &Parsed) -> bool {
    unnamed(parsed).is_some_and(|(_, roles)| roles.contains(&Role::Dns))
}

/// Whether a placed service watches others, by its image.
pub(super) fn watches(parsed: &Parsed, placement: &Placement) -> bool {
    let watchers = || PRODUCTS.iter().filter(|product| product.role == Role::Monitoring);
    let is_one = |path: &str| watchers().flat_map(|product| product.images).any(|image| is_of(path, image));
    let images = containers(parsed, placement).filter_map(|container| container.image());
    images.into_iter().any(|image| is_one(application::path(image.repository)))
}

/// Names that lean on a resolver which is there, and is not said to be: what is missing is a line, not a machine.
pub(super) fn leant_on(finding: Finding) -> Finding {
    Finding { severity: Severity::Warning, ..finding }
}

fn all(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [some @ .., last] => format!("{} and {last}", some.join(", ")),
    }
}

fn span(parsed: &Parsed, placement: &Placement) -> Span {
    parsed.lab.services.get(&placement.service).map_or(Span::NONE, |service| service.span)
}

/// A mirror keeps the owner's name before the image's; an image of one word stands alone.
fn is_of(path: &str, image: &str) -> bool {
    let path = path.strip_prefix("library/").unwrap_or(path);
    path == image || (image.contains('/') && path.strip_suffix(image).is_some_and(|rest| rest.ends_with('/')))
}

/// Whether a container is there for others than its own stack, as far as its ports tell.
fn is_for_all(parsed: &Parsed, role: Role, path: &str, container: &Container<'_>) -> bool {
    match role {
        // In a network of its own on the wire (macvlan) it publishes nothing.
        Role::Dns => answers(container, &[53], true),
        // Caddy is the web server of one application as often.
        Role::ReverseProxy => {
            let alone = || containers(parsed, container.placement).count() == 1;
            answers(container, &[80, 443], false) && (path != "caddy" || alone())
        }
        // Identity of one application's own users is that application's: it stands with it, or is needed by it alone.
        Role::Identity => {
            let by = parsed
                .placements
                .iter()
                .filter(|other| other.entry.needs.iter().any(|need| need.value == container.placement.service));
            let by: BTreeSet<&str> = by.map(|other| other.service.as_str()).collect();
            // Two of them are as often a part of what somebody develops: people come to the lab's by a name.
            let named = !container.placement.entry.url.is_empty();
            by.len() != 1 && (named || !matches!(path, "keycloak/keycloak" | "zitadel/zitadel"))
        }
        // Who has nothing that people rely on may look at what they like.
        Role::Monitoring => parsed.placements.iter().any(|placement| placement.entry.tier == Tier::Production),
    }
}

/// Whether others reach a container at one of these ports.
fn answers(container: &Container<'_>, ports: &[u16], unpublished: bool) -> bool {
    let published = &container.says.value.ports;
    if matches!(container.network_mode(), Some(NetworkMode::Host)) || (unpublished && published.is_empty()) {
        return true;
    }
    let own = |address: &str| address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let outside = |port: &&labwright_model::Spanned<labwright_model::compose::ports::Port>| {
        !port.host_ip.as_ref().is_some_and(|address| own(&address.value))
    };
    published.iter().filter(outside).any(|port| ports.contains(&port.target))
}

/// Whether `platform` knows of a service that plays a role.
fn is_named(lab: &Lab, one: &Plays<'_>) -> bool {
    let platform = &lab.platform;
    let service = one.placement.service.as_str();
    let on = |hosts: &[labwright_model::Spanned<String>]| {
        hosts.iter().any(|host| one.placement.entry.on.iter().any(|on| on.value == host.value))
    };
    match one.role {
        Role::Dns => platform.dns.as_ref().is_some_and(|dns| {
            let is_it = dns.service.as_ref().is_some_and(|named| named.value == service);
            let addresses =
                one.placement.entry.on.iter().filter_map(|on| lab.host(on)).flat_map(|host| host.address.iter());
            let mut addresses = addresses.map(|address| address.value.to_string());
            // Who is asked further up is known as that.
            let asked =
                addresses.any(|address| dns.upstream.iter().any(|upstream| upstream.to_string().contains(&address)));
            let needed = lab.services.values().any(|other| other.needs.iter().any(|need| need.value == service));
            is_it || on(&dns.on) || asked || needed
        }),
        // A second door is a decision; so is a second watcher.
        Role::ReverseProxy => platform.reverse_proxy.is_some(),
        Role::Monitoring => platform.monitoring.is_some(),
        Role::Identity => platform.identity.as_ref().is_some_and(|role| role.service.is_some() || on(&role.on)),
    }
}

/// The hosts that `platform` names for a role, as they are told.
fn played_by(lab: &Lab, role: Role) -> Option<String> {
    let hosts: Vec<&str> = hosts(lab, role);
    (!hosts.is_empty()).then(|| {
        let quoted: Vec<String> = hosts.iter().map(|host| format!("`{host}`")).collect();
        all(&quoted)
    })
}

fn hosts(lab: &Lab, role: Role) -> Vec<&str> {
    let platform = &lab.platform;
    let on = match role {
        Role::Dns => platform.dns.as_ref().map(|role| &role.on),
        Role::ReverseProxy => platform.reverse_proxy.as_ref().map(|role| &role.on),
        Role::Identity => platform.identity.as_ref().map(|role| &role.on),
        Role::Monitoring => platform.monitoring.as_ref().map(|role| &role.on),
    };
    on.into_iter().flat_map(|on| on.iter().map(|host| host.value.as_str())).collect()
}

/// What is to be typed under `platform`.
fn line(lab: &Lab, one: &Plays<'_>) -> String {
    let own: Vec<&str> = one.placement.entry.on.iter().map(|on| on.value.as_str()).collect();
    let mut on = hosts(lab, one.role);
    // Whoever is named and plays it no longer is the owner's to take out.
    on.extend(own.iter().copied().filter(|host| !on.contains(host)).collect::<Vec<_>>());
    let on = match on.as_slice() {
        [one] => one.to_string(),
        all => format!("[{}]", all.join(", ")),
    };
    let service = &one.placement.service;
    match one.role {
        // Another one that is named already keeps its own service.
        Role::Dns if lab.platform.dns.is_some() => format!("dns: {{ on: {on}, … }}"),
        Role::Dns => format!("dns: {{ on: {on}, service: {service} }}"),
        Role::ReverseProxy => format!("reverse_proxy: {{ on: {on}, service: {service} }}"),
        Role::Identity => format!("identity: {{ service: {service} }}"),
        Role::Monitoring => format!("monitoring: {{ on: {on}, notify: {{ phone: \"ntfy://ntfy.sh/TOPIC\" }} }}"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    const HOSTS: &str = "owner: me\ncompute: { hosts: { a: { address: 10.0.0.1 }, b: { address: 10.0.0.2 }, c: { address: 10.0.0.3 } } }\n";

    #[test]
    fn roles_are_known_by_images() {
        says(
            &format!(
                r#"{HOSTS}
services:
  pihole: {{ on: a, containers: {{ p: {{ image: "docker.io/pihole/pihole:2025.08", ports: ["53:53/udp"] }} }} }}
  door: {{ on: b, containers: {{ t: {{ image: "traefik:v3", ports: ["443:443"] }} }} }}
  login: {{ on: b, containers: {{ a: {{ image: "authelia/authelia:4" }} }} }}
  metrics: {{ on: [a, b], containers: {{ p: {{ image: "prom/prometheus:v3" }} }} }}
  wiki: {{ run: wiki, on: c, tier: production }}
"#
            ),
            expect![[r#"
                5:3 advice LW-PLT-001: service `pihole` is a resolver (`docker.io/pihole/pihole`), service `door` is a reverse proxy (`traefik`), service `login` is what people log in with (`authelia/authelia`) and service `metrics` is what watches (`prom/prometheus`), and `platform` does not name them: rules about these roles cannot see them
                    help: say so: `platform: { dns: { on: a, service: pihole }, reverse_proxy: { on: b, service: door }, identity: { service: login }, monitoring: { on: [a, b], notify: { phone: "ntfy://ntfy.sh/TOPIC" } } }`
                    6:3: a reverse proxy too
                    7:3: what people log in with too
                    8:3: what watches too
            "#]],
        );
    }

    #[test]
    fn names_that_lean_on_a_resolver_which_is_there() {
        says(
            &format!(
                "{HOSTS}services:\n  guard: {{ on: a, containers: {{ p: {{ image: \"adguard/adguardhome:v0\", network_mode: host }} }} }}\n  wiki: {{ run: wiki, on: c, url: wiki, expose: lan }}\n"
            ),
            expect![[r#"
                4:3 warning LW-PLT-001: service `guard` is a resolver (`adguard/adguardhome`), and `platform` does not name it: rules about that role cannot see it
                    help: say so: `platform: { dns: { on: a, service: guard } }`
            "#]],
        );
    }

    #[test]
    fn a_second_resolver_that_the_role_leaves_out() {
        let lab = |dns: &str| {
            format!(
                "{HOSTS}platform: {{ dns: {dns} }}\nservices:\n  one: {{ on: a, containers: {{ p: {{ image: \"pihole/pihole:2025.08\", ports: [\"53:53/udp\"] }} }} }}\n  two: {{ on: b, containers: {{ p: {{ image: \"pihole/pihole:2025.08\", ports: [\"53:53/udp\"] }} }} }}\n"
            )
        };
        says(
            &lab("{ on: a, service: one }"),
            expect![[r#"
            6:3 advice LW-PLT-001: service `two` is a resolver (`pihole/pihole`), and `platform.dns` names only `a`
                help: say so under `platform`: `dns: { on: [a, b], … }`
        "#]],
        );
        says(&lab("{ on: [a, b], service: one }"), expect![[""]]);
    }

    #[test]
    fn what_is_no_role_of_the_lab() {
        says(
            &format!(
                r#"{HOSTS}
platform: {{ dns: {{ on: c, upstream: 10.0.0.1 }} }}
services:
  upstream: {{ on: a, containers: {{ u: {{ image: "mvance/unbound:1" , ports: ["53:53/udp"] }} }} }}
  pages: {{ on: b, containers: {{ web: {{ image: "caddy:2", ports: ["80:80"] }}, app: {{ image: "app:1" }} }} }}
  inner: {{ on: b, containers: {{ t: {{ image: "traefik:v3", ports: ["127.0.0.1:443:443"] }} }} }}
  shop: {{ run: shop, on: b, needs: [keycloak] }}
  keycloak: {{ on: b, containers: {{ k: {{ image: "quay.io/keycloak/keycloak:26" }} }} }}
  metrics: {{ on: a, containers: {{ p: {{ image: "prom/prometheus:v3" }} }} }}
"#
            ),
            expect![[""]],
        );
    }

    #[test]
    fn what_is_typed_takes_the_finding_away() {
        says(
            &format!(
                r#"{HOSTS}
platform: {{ dns: {{ on: a, service: pihole }}, reverse_proxy: {{ on: b, service: door }}, identity: {{ service: login }} }}
services:
  pihole: {{ on: a, containers: {{ p: {{ image: "pihole/pihole:2025.08", ports: ["53:53/udp"] }} }} }}
  door: {{ on: b, containers: {{ t: {{ image: "traefik:v3", ports: ["443:443"] }} }} }}
  login: {{ on: b, containers: {{ a: {{ image: "authelia/authelia:4" }} }} }}
"#
            ),
            expect![[""]],
        );
    }
}
