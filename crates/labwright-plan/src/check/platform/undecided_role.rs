//! LW-PLT-001: something needs a role that nobody plays.

use std::collections::BTreeSet;

use labwright_model::lab::{Expose, Host, Lab, Role};
use labwright_model::units::Protocol;
use labwright_model::{Finding, Findings, Parsed, Placement, Severity, Span, Spanned};

use super::unnamed_role::{self, Role as Known};
use crate::check::network::is_public;
use crate::check::network::reach::{End, lets};
use crate::check::{Case, Examples, Rule};

pub struct UndecidedRole;

pub(super) const CODE: &str = "LW-PLT-001";

impl Rule for UndecidedRole {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a role that nobody plays"
    }

    fn doc(&self) -> &'static str {
        "Something leans on a role that the lab does not fill:\n\n\
         - a service for the internet where nothing leads in: no `edge.public`, no flow `from: internet` to its door or its host, \
         no address on the internet on either; one for the VPN without `edge.vpn`;\n\
         - WireGuard without a host, and no router to take it;\n\
         - a certificate by DNS-01 at Cloudflare without an account or a token;\n\
         - secrets without a place to keep them, a Vault that is nowhere;\n\
         - backup policies without any repository, alerts routed without any receiver;\n\
         - a role with settings and no hosts.\n\n\
         Two lesser faults are warnings: services with names of the lab's own and no `platform.dns` to answer them (names \
         that the internet opens are answered there), and a \
         host that one role lists twice, which usually comes from two files that say the same.\n\n\
         Or somebody plays the role, and `platform` does not name them. Known by their images are resolvers (Pi-hole, AdGuard \
         Home, Technitium, Blocky, and Unbound where it is the only one), reverse proxies (Traefik, Nginx Proxy Manager, \
         SWAG, and Caddy where it is not part of an application), identity (Authelia, Authentik, Keycloak, Kanidm, Pocket ID, \
         Zitadel), and, where there is something in production, what watches (Prometheus, VictoriaMetrics, Checkmk). Everything that other rules say of the role, the only resolver, a recovery order, a watcher in the domain \
         that it watches, they then cannot say, nor `blast`. That is advice, and a warning where names lean on such a \
         resolver. Keycloak and Zitadel \
         count where they have a name (`url`). Uptime Kuma and Gatus are seen as they are (LW-PLT-013).\n\n\
         What is missing is told once, with everything that leans on it.\n\n\
         It comes from document 0, which names the host of each platform role in its inventory and asks to keep \
         dependencies on DNS, secrets and backup explicit.\n\n\
         The way out: fill the role, or take out what leans on it."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "services:\n  wiki: { external: wiki.example, expose: public }",
            passes: "edge:\n  public: { cloudflare: { account: 0a1b, zones: [example.net], tunnel: desk } }\ncompute:\n  hosts:\n    desk: { local: true }\nservices:\n  wiki: { external: wiki.example, expose: public }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        exposure(case, findings);
        edge(parsed, findings);
        let named = unnamed_role::unnamed(parsed);
        let resolver = named.as_ref().is_some_and(|(_, roles)| roles.contains(&Known::Dns));
        let leaning = names(parsed);
        match named {
            Some((finding, _)) if resolver && leaning.is_some() => findings.push(unnamed_role::leant_on(finding)),
            Some((finding, _)) => findings.extend([finding].into_iter().chain(leaning)),
            None => findings.extend(leaning),
        }
        secrets(parsed, findings);
        protection(parsed, findings);
        alerts(parsed, findings);
        roles(parsed, findings);
    }
}

fn error(at: &str, span: Span, message: impl Into<String>, help: &str) -> Finding {
    Finding::error(CODE, at, span, message).help(help)
}

/// "service `a`", "services `a` and `b`", "services `a`, `b`, `c` and 3 more".
fn named(services: &[&str]) -> String {
    let quoted: Vec<String> = services.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [one] => format!("service {one}"),
        [some @ .., last] if some.len() <= 3 => format!("services {} and {last}", some.join(", ")),
        all => format!("services {} and {} more", all[..3].join(", "), all.len() - 3),
    }
}

/// Services that a test holds for, with their places.
fn services(parsed: &Parsed, holds: impl Fn(&Placement) -> bool) -> Vec<(&str, Span)> {
    let mut found: Vec<(&str, Span)> = Vec::new();
    for placement in parsed.placements.iter().filter(|placement| holds(placement)) {
        let name = placement.service.as_str();
        if !found.iter().any(|(other, _)| *other == name) {
            found.push((name, parsed.lab.services.get(name).map_or(Span::NONE, |service| service.span)));
        }
    }
    found
}

/// One finding for all services that lean on the same thing, at the first of them.
fn leaning(found: &[(&str, Span)], severity: Severity, at: &str, what: &str, help: &str) -> Option<Finding> {
    let (_, span) = *found.first()?;
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    let verb = if found.len() == 1 { "is" } else { "are" };
    let message = what.replace("{services}", &named(&names)).replace("{is}", verb);
    let mut finding = Finding { severity, ..error(at, span, message, help) };
    for (_, span) in found.iter().skip(1).take(5) {
        finding = finding.related(*span, "and here");
    }
    Some(finding)
}

/// The hosts that somebody on the internet gets to, one after the other: those that have an address there or are let in for
/// web pages, and those that they pass such a request on to.
fn passed_on(case: &Case<'_>) -> BTreeSet<String> {
    let (hosts, reach) = (&case.parsed.lab.compute.hosts, case.reach());
    let pages = reach.flows_for(|traffic| lets(traffic, 443, Protocol::Tcp) || lets(traffic, 80, Protocol::Tcp));
    let from_there = |(name, host): &(&String, &Spanned<Host>)| {
        host.address.iter().any(|address| is_public(&address.value))
            || reach.allows(&[End::Internet], reach.host(name), &pages)
    };
    let mut open: Vec<&String> = hosts.iter().filter(from_there).map(|(name, _)| name).collect();
    let mut found: BTreeSet<String> = open.iter().map(|name| name.to_string()).collect();
    while let Some(from) = open.pop() {
        for name in hosts.keys().filter(|name| reach.allows(reach.host(from), reach.host(name), &pages)) {
            if found.insert(name.clone()) {
                open.push(name);
            }
        }
    }
    found
}

/// Whether the internet comes to a public service by itself: the host of the door before it, or its own, has an address
/// there, or a flow lets the internet in to one of them, which is what a router forwards.
fn is_reached(case: &Case<'_>, placement: &Placement) -> bool {
    let (lab, reach) = (&case.parsed.lab, case.reach());
    let proxies = lab.platform.reverse_proxy.iter().flat_map(|proxy| proxy.on.iter());
    let doors = proxies.filter(|_| !placement.entry.url.is_empty());
    let any = reach.flows_for(|_| true);
    let service = placement.service.as_str();
    doors.chain(placement.entry.on.iter()).any(|host| {
        let addresses = lab.host(host).into_iter().flat_map(|host| host.address.iter());
        let has_address = addresses.into_iter().any(|address| is_public(&address.value));
        has_address
            || [reach.host(host), &[End::Service(service)]].iter().any(|to| reach.allows(&[End::Internet], to, &any))
    })
}

fn exposure(case: &Case<'_>, findings: &mut Findings) {
    let parsed = case.parsed;
    let edge = &parsed.lab.edge;
    if edge.public.as_ref().is_none_or(|public| public.cloudflare.is_none()) {
        let left = |placement: &Placement| placement.entry.expose == Expose::Public && !is_reached(case, placement);
        let mut public = services(parsed, left);
        if !public.is_empty() {
            let passed = passed_on(case);
            let through = |placement: &Placement| {
                let proxies = parsed.lab.platform.reverse_proxy.iter().flat_map(|proxy| proxy.on.iter());
                let doors = proxies.filter(|_| !placement.entry.url.is_empty());
                doors.chain(placement.entry.on.iter()).any(|host| passed.contains(&host.value))
            };
            public = services(parsed, |placement| left(placement) && !through(placement));
        }
        findings.extend(leaning(
            &public,
            Severity::Error,
            "edge.public",
            "{services} {is} public, and nothing carries public traffic",
            "declare a tunnel, `edge: { public: { cloudflare: { zones: …, tunnel: HOST } } }`; or say what the router \
             forwards, `- { from: internet, to: HOST, allow: https }`; or expose it to `vpn` or `lan`",
        ));
    }
    if edge.vpn.as_ref().is_none_or(|vpn| vpn.wireguard.is_none() && vpn.tailscale.is_none()) {
        let private = services(parsed, |placement| placement.entry.expose == Expose::Vpn);
        findings.extend(leaning(
            &private,
            Severity::Error,
            "edge.vpn",
            "{services} {is} for the VPN, and there is none",
            "declare `edge: { vpn: tailscale }` or `edge: { vpn: { wireguard: { on: HOST } } }`",
        ));
    }
}

fn edge(parsed: &Parsed, findings: &mut Findings) {
    let lab = &parsed.lab;
    let wireguard = lab.edge.vpn.as_ref().and_then(|vpn| vpn.wireguard.as_ref());
    if wireguard.is_some_and(|wireguard| wireguard.on.is_none()) && lab.edge.router.is_none() {
        findings.push(error(
            "edge.vpn.wireguard",
            parsed.span_of(&["edge", "vpn"]),
            "WireGuard has no host to run on",
            "give it `on: HOST`, or declare `edge: { router: HOST }`",
        ));
    }
    let proxy = lab.platform.reverse_proxy.as_ref();
    // Somebody's own proxy has its token from somebody.
    if let Some(dns01) = proxy.filter(|proxy| proxy.service.is_none()).and_then(|proxy| proxy.tls.dns01.as_ref())
        && dns01.value == "cloudflare"
        && lab.edge.public.as_ref().is_none_or(|public| public.cloudflare.is_none())
        && proxy.is_none_or(|proxy| proxy.tls.proof.token.is_none())
    {
        findings.push(error(
            "platform.reverse_proxy.tls.dns01",
            dns01.span,
            "certificates are proven at Cloudflare, and nothing says with which token",
            "give it one, `tls: { …, proof: { token: \"${secret.NAME}\" } }`, or declare `edge: { public: { cloudflare: … } }`; \
             or use `tls: internal`",
        ));
    }
}

fn names(parsed: &Parsed) -> Option<Finding> {
    let lab = &parsed.lab;
    if lab.platform.dns.is_some() {
        return None;
    }
    let domain = format!(".{}", lab.domain.value);
    let own = |url: &Spanned<String>| !url.contains('.') || url.ends_with(&domain);
    // What the internet opens it finds by names that others answer.
    let named = services(parsed, |placement| {
        let inside = placement.entry.external.is_none() && placement.entry.expose != Expose::Public;
        inside && placement.entry.url.iter().any(|url| !url.is_empty() && own(url))
    });
    leaning(
        &named,
        Severity::Warning,
        "platform.dns",
        "{services} {is} reached by a name of the lab's own, and nothing answers for it",
        "name the hosts that answer: `platform: { dns: HOST }`",
    )
}

fn secrets(parsed: &Parsed, findings: &mut Findings) {
    let lab = &parsed.lab;
    if let Some(vault) = lab.platform.secrets.as_ref().and_then(|secrets| secrets.vault.as_ref())
        && vault.on.is_none()
        && vault.url.is_none()
    {
        let span = parsed.span_of(&["platform", "secrets", "vault"]);
        let help = "give it `on: HOST`, or the `url` of one that is not the lab's";
        findings.push(error("platform.secrets.vault", span, "the Vault is on no host and has no address", help));
    }
    let declared = lab.platform.secrets.as_ref().is_some_and(|kept| kept.age.is_some() || kept.vault.is_some());
    if declared {
        return;
    }
    let mut used = parsed.secrets.iter();
    let Some(first) = used.next() else { return };
    let message = format!("secret `{}` is used, and the lab keeps no secrets", first.value);
    let help = "declare where they are: `platform: { secrets: { age: secrets.yaml } }`";
    let mut finding = error("platform.secrets", first.span, message, help);
    for other in used.take(5) {
        finding = finding.related(other.span, format!("so is `{}`", other.value));
    }
    findings.push(finding);
}

fn protection(parsed: &Parsed, findings: &mut Findings) {
    let protection = &parsed.lab.protection;
    if !protection.repositories.is_empty() {
        return;
    }
    let mut to = protection.policies.iter().flat_map(|(name, policy)| policy.to.first().map(|to| (name, to.span)));
    let Some((policy, span)) = to.next() else { return };
    let message = format!("backups by policy `{policy}` have no repository to go to");
    let help = "declare one: `protection: { repositories: { nas: { on: HOST, path: /backup } } }`";
    let mut finding = error("protection.repositories", span, message, help);
    for (policy, span) in to {
        finding = finding.related(span, format!("nor have those by `{policy}`"));
    }
    findings.push(finding);
}

fn alerts(parsed: &Parsed, findings: &mut Findings) {
    let Some(monitoring) = &parsed.lab.platform.monitoring else { return };
    let mut to = monitoring.routes.iter().flat_map(|route| route.to.iter()).filter(|to| to.value != "none");
    if let (Some(first), true) = (to.next(), monitoring.notify.is_empty()) {
        let message = format!("alerts are routed to `{}`, and there is no receiver", first.value);
        let help = format!("declare receivers: `notify: {{ {}: \"ntfy://ntfy.sh/TOPIC\" }}`", first.value);
        findings.push(error("platform.monitoring.notify", first.span, message, &help));
    }
}

/// A role that hosts play.
struct Played<'a> {
    path: [&'static str; 2],
    on: &'a [Spanned<String>],
    /// Whether an empty list says something: there are none, or a service plays it.
    may_be_empty: bool,
}

fn played(lab: &Lab) -> Vec<Played<'_>> {
    let mut all = vec![
        Played { path: ["compute", "proxmox"], on: &lab.compute.proxmox, may_be_empty: true },
        Played { path: ["compute", "docker_hosts"], on: &lab.compute.docker_hosts, may_be_empty: true },
    ];
    let platform = &lab.platform;
    let with_settings = [
        ("dns", platform.dns.as_ref().map(|role| &role.on)),
        ("reverse_proxy", platform.reverse_proxy.as_ref().map(|role| &role.on)),
        ("monitoring", platform.monitoring.as_ref().map(|role| &role.on)),
        ("registry", platform.registry.as_ref().map(|role| &role.on)),
    ];
    for (key, on) in with_settings {
        all.extend(on.map(|on| Played { path: ["platform", key], on, may_be_empty: false }));
    }
    let plain = [
        ("identity", &platform.identity),
        ("runners", &platform.runners),
        ("telemetry", &platform.telemetry),
        ("backup", &platform.backup),
    ];
    for (key, role) in plain {
        if let Some(Role { on, service }) = role {
            all.push(Played { path: ["platform", key], on, may_be_empty: service.is_some() });
        }
    }
    all
}

fn roles(parsed: &Parsed, findings: &mut Findings) {
    for Played { path, on, may_be_empty } in played(&parsed.lab) {
        let role = path.join(".");
        if on.is_empty() && !may_be_empty {
            let message = format!("`{role}` is declared, and no host plays it");
            findings.push(error(&role, parsed.span_of(&path), message, "give it `on: HOST`, or remove it"));
        }
        for (i, host) in on.iter().enumerate() {
            if let Some(first) = on[..i].iter().find(|first| first.value == host.value) {
                let message = format!("`{}` is listed twice in `{role}`", host.value);
                let finding = Finding::warning(CODE, role.clone(), host.span, message);
                findings.push(finding.help("remove one of the two").related(first.span, "first listed here"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn pages_that_are_passed_on() {
        let lab = |first: &str, second: &str| {
            format!(
                "edge: {{ vpn: tailscale }}\nnetwork:\n  zones: {{ link: {{ subnet: 10.2.0.0/30 }}, dmz: {{ subnet: 10.1.0.0/24 }} }}\n  flows: [{first}, {second}]\nplatform: {{ dns: rp, reverse_proxy: {{ on: rp, service: caddy, tls: {{ acme: letsencrypt, dns01: cloudflare }} }} }}\ncompute:\n  hosts:\n    bastion: {{ zone: link, address: 10.2.0.2 }}\n    rp: {{ zone: dmz, address: 10.1.0.1 }}\nservices:\n  caddy: {{ external: x }}\n  films: {{ external: y, expose: public, url: films.example.net }}\n"
            )
        };
        let told = |first: &str, second: &str| -> Vec<String> {
            let (_, findings) = crate::check::tests::found(&lab(first, second));
            findings
                .iter()
                .filter(|finding| finding.code == super::CODE)
                .map(|finding| finding.message.clone())
                .collect()
        };
        let none: Vec<String> = Vec::new();
        let on = "{ from: bastion, to: rp, allow: https }";
        assert_eq!(told("{ from: internet, to: bastion, allow: https }", on), none);
        // What comes in for something else is passed on to nobody.
        let told = told("{ from: internet, to: bastion, allow: 51820/udp }", on);
        assert_eq!(told, ["service `films` is public, and nothing carries public traffic"]);
    }

    #[test]
    fn what_leans_on_nothing() {
        says(
            r#"
edge: { vpn: wireguard }
platform:
  reverse_proxy: { on: proxy-01, tls: { acme: letsencrypt, dns01: cloudflare } }
  monitoring: { on: mon-01, routes: [{ to: none }, { to: phone }] }
services:
  a: { external: x, expose: public }
  b: { external: x, expose: public }
  c: { external: x, expose: public }
  d: { external: x, expose: vpn }
  e: { use: e, on: docker-01, url: e }
  f: { use: f, on: docker-01, url: [f.example.net, f.lab.home.arpa] }
  g: { use: g, on: docker-01, url: g.example.net }
  h: { external: x, url: h }
  i: { containers: { db: { image: x, environment: { A: "${secret.pg}" } } }, on: docker-01, description: "${secret.other}" }
compute:
  docker_hosts: [docker-01]
  hosts:
    desk: { local: true, files: { /a: { content: "${secret.in-a-file}" } } }
protection:
  policies: { nightly: { to: nas }, weekly: { to: nas } }
"#,
            expect![[r#"
                2:14 error LW-PLT-001: WireGuard has no host to run on
                    help: give it `on: HOST`, or declare `edge: { router: HOST }`
                4:67 error LW-PLT-001: certificates are proven at Cloudflare, and nothing says with which token
                    help: give it one, `tls: { …, proof: { token: "${secret.NAME}" } }`, or declare `edge: { public: { cloudflare: … } }`; or use `tls: internal`
                5:58 error LW-PLT-001: alerts are routed to `phone`, and there is no receiver
                    help: declare receivers: `notify: { phone: "ntfy://ntfy.sh/TOPIC" }`
                7:3 error LW-PLT-001: services `a`, `b` and `c` are public, and nothing carries public traffic
                    help: declare a tunnel, `edge: { public: { cloudflare: { zones: …, tunnel: HOST } } }`; or say what the router forwards, `- { from: internet, to: HOST, allow: https }`; or expose it to `vpn` or `lan`
                    8:3: and here
                    9:3: and here
                11:3 warning LW-PLT-001: services `e` and `f` are reached by a name of the lab's own, and nothing answers for it
                    help: name the hosts that answer: `platform: { dns: HOST }`
                    12:3: and here
                15:57 error LW-PLT-001: secret `pg` is used, and the lab keeps no secrets
                    help: declare where they are: `platform: { secrets: { age: secrets.yaml } }`
                    15:107: so is `other`
                    19:51: so is `in-a-file`
                21:30 error LW-PLT-001: backups by policy `nightly` have no repository to go to
                    help: declare one: `protection: { repositories: { nas: { on: HOST, path: /backup } } }`
                    21:51: nor have those by `weekly`
            "#]],
        );
    }

    #[test]
    fn the_internet_comes_by_a_tunnel_a_forwarded_port_or_an_address_of_its_own() {
        let lab = |flow: &str, address: &str| {
            format!(
                "network: {{ zones: {{ lan: {{ subnet: 10.0.0.0/24 }} }}{flow} }}\nplatform: {{ dns: a, reverse_proxy: door }}\ncompute: {{ hosts: {{ a: {{ zone: lan, address: 10.0.0.5 }}, door: {{ address: {address} }} }} }}\nservices: {{ wiki: {{ run: x, on: a, port: 80, url: wiki, expose: public, access: everyone }} }}\n"
            )
        };
        let count = |flow: &str, address: &str| {
            let (_, findings) = crate::check::tests::found(&lab(flow, address));
            findings.iter().filter(|finding| finding.code == super::CODE).count()
        };
        assert_eq!((count("", "10.0.0.6"), count("", "203.0.113.9")), (1, 0));
        assert_eq!(count(", flows: [{ from: internet, to: door, allow: https }]", "10.0.0.6"), 0);
        assert_eq!(count(", flows: [{ from: internet, to: lan, allow: https }]", "10.0.0.6"), 0);
    }

    #[test]
    fn the_vpn() {
        says(
            r#"
services:
  d: { external: x, expose: vpn }
"#,
            expect![[r#"
                3:3 error LW-PLT-001: service `d` is for the VPN, and there is none
                    help: declare `edge: { vpn: tailscale }` or `edge: { vpn: { wireguard: { on: HOST } } }`
            "#]],
        );
    }

    #[test]
    fn roles_without_hosts_and_hosts_listed_twice() {
        says(
            r#"
compute: { proxmox: [], docker_hosts: [d-01, d-01], hosts: { d-01: { address: 10.0.0.1 } } }
platform:
  dns: { upstream: [9.9.9.9] }
  monitoring: []
  identity: { service: authentik }
  runners: {}
  reverse_proxy: { on: [d-01, d-01] }
  secrets: { vault: { unseal: transit } }
services:
  authentik: { use: authentik, on: d-01 }
"#,
            expect![[r#"
                2:46 warning LW-PLT-001: `d-01` is listed twice in `compute.docker_hosts`
                    help: remove one of the two
                    2:40: first listed here
                4:8 error LW-PLT-001: `platform.dns` is declared, and no host plays it
                    help: give it `on: HOST`, or remove it
                5:15 error LW-PLT-001: `platform.monitoring` is declared, and no host plays it
                    help: give it `on: HOST`, or remove it
                7:12 error LW-PLT-001: `platform.runners` is declared, and no host plays it
                    help: give it `on: HOST`, or remove it
                8:31 warning LW-PLT-001: `d-01` is listed twice in `platform.reverse_proxy`
                    help: remove one of the two
                    8:25: first listed here
                9:21 error LW-PLT-001: the Vault is on no host and has no address
                    help: give it `on: HOST`, or the `url` of one that is not the lab's
            "#]],
        );
    }

    #[test]
    fn nothing_is_asked_of_a_plain_lab() {
        says(
            r#"
compute: { hosts: { d-01: { address: 10.0.0.1 } } }
edge: { router: d-01, vpn: wireguard, public: { cloudflare: { zones: a.net, tunnel: d-01, token: "${secret.app}" } } }
platform: { dns: d-01, secrets: { age: secrets.yaml, recovery: age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq }, reverse_proxy: { on: d-01, tls: { dns01: cloudflare } } }
services:
  a: { use: a, on: d-01, expose: public, url: a.a.net }
  b: { use: b, on: d-01, expose: vpn, url: b }
"#,
            expect![[""]],
        );
    }
}
