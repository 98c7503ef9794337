//! LW-EDGE-011: what the lab says of its doors, and a Caddy that is there already is not told.

use std::collections::BTreeSet;

use labwright_model::lab::{ProxySoftware, ReverseProxy};
use labwright_model::snapshot::proxy::routed;
use labwright_model::{Finding, Findings, Parsed, Placement, Span};

use crate::check::containers::containers;
use crate::check::{Case, Examples, Rule};

pub struct ToldProxy;

const CODE: &str = "LW-EDGE-011";
const AT: &str = "platform.reverse_proxy";

impl Rule for ToldProxy {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "what an existing Caddy is not told"
    }

    fn doc(&self) -> &'static str {
        "With `software: caddy` the lab's names become routes of a Caddy that is there already, over its admin API \
         (https://caddyserver.com/docs/api). A route says which names lead where, from which networks (`expose`), what \
         `forward_auth` is asked, which headers lead elsewhere, how large a body may be and how long browsers stay with HTTPS. \
         Certificates come from Caddy's own authority (`tls: internal`) or from an ACME directory.\n\n\
         The rest is not told. It is an error where a door would be more open than the lab says, and such a service gets no \
         route: passwords (`auth: { basic: … }`), TLS or ports that are handed through, networks behind a proxy in front of it \
         (`trusted`), a Caddy in a container whose own network has other addresses. It is a warning otherwise.\n\n\
         The way out: take out what is not told, say it in the Caddyfile, or let Labwright's own proxy be the door \
         (`software: labwright`)."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform: { dns: a, reverse_proxy: { on: a, software: caddy, geo: /srv/geo.mmdb } }\ncompute: { hosts: { a: { address: 10.0.0.1 } } }",
            passes: "platform: { dns: a, reverse_proxy: { on: a, software: caddy } }\ncompute: { hosts: { a: { address: 10.0.0.1 } } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let Some(proxy) = routed(parsed) else { return };
        if proxy.software == ProxySoftware::Labwright {
            if proxy.admin != ReverseProxy::default().admin {
                let message = "`admin` says where a Caddy is told, and the proxy is Labwright's own";
                let finding = Finding::warning(CODE, format!("{AT}.admin"), proxy.admin.span, message);
                findings.push(finding.help("say `software: caddy` beside it, or take `admin` out"));
            }
            return;
        }
        of_proxy(parsed, proxy, findings);
        let mut told = BTreeSet::new();
        for placement in parsed.placements.iter().filter(|placement| !placement.entry.url.is_empty()) {
            if told.insert(placement.service.as_str()) {
                of_service(parsed, placement, findings);
            }
        }
    }
}

fn of_proxy(parsed: &Parsed, proxy: &ReverseProxy, findings: &mut Findings) {
    let span = |key: &str| match parsed.span_of(&["platform", "reverse_proxy", key]) {
        span if span.is_none() => parsed.span_of(&["platform", "reverse_proxy"]),
        span => span,
    };
    if !proxy.admin.starts_with("http://") && !proxy.admin.starts_with("https://") {
        let message = format!("`{}` is no address of an admin API", proxy.admin.value);
        let finding = Finding::error(CODE, format!("{AT}.admin"), proxy.admin.span, message);
        findings.push(finding.help("write `http://127.0.0.1:2019`; a socket of its own file is not spoken to"));
    }
    if !proxy.trusted.is_empty() && parsed.placements.iter().any(|placement| !placement.entry.url.is_empty()) {
        let message =
            "who is behind a proxy in front of Caddy is not told, so `expose` would hold for that proxy alone";
        let finding = Finding::error(CODE, format!("{AT}.trusted"), span("trusted"), message);
        findings
            .push(finding.help("only public services get a route then: take `trusted` out, or `software: labwright`"));
    }
    if let Some(service) = &proxy.service {
        let of_proxy = parsed.placements.iter().filter(|placement| placement.service == service.value);
        if of_proxy.flat_map(|placement| containers(parsed, placement)).any(|container| container.has_own_network()) {
            let message =
                format!("`{}` is a container in a network of its own: `127.0.0.1` is another there", service.value);
            let finding = Finding::error(CODE, format!("{AT}.service"), service.span, message);
            findings.push(finding.help(format!(
                "let it have its host's network: `network_mode: host` for the container of `{}`",
                service.value
            )));
        }
    }
    let limits = &proxy.limits;
    let unsaid = [
        ("geo", proxy.geo.is_some()),
        ("access_log", proxy.access_log),
        ("proxy_protocol", proxy.proxy_protocol),
        ("limits", beyond_body(limits)),
    ];
    for (key, _) in unsaid.iter().filter(|(_, is)| *is) {
        let message = format!("`{key}` is not told to Caddy");
        let finding = Finding::warning(CODE, format!("{AT}.{key}"), span(key), message);
        findings.push(finding.help(format!("say it in the Caddyfile, and take `{key}` out here")));
    }
    if let Some(provider) = &proxy.tls.dns01 {
        let message = format!(
            "proofs at `{}` need a module that Caddy does not come with: it is told nothing of certificates",
            provider.value
        );
        let finding = Finding::warning(CODE, format!("{AT}.tls.dns01"), provider.span, message);
        findings.push(
            finding.help(
                "say in the Caddyfile where certificates come from, or take `dns01` out for proofs by HTTP and TLS",
            ),
        );
    } else if let Some(account) = &proxy.tls.account {
        let message = "the account's key is a secret, and Caddy's configuration shows what it is told";
        let finding = Finding::warning(CODE, format!("{AT}.tls.account"), account.id.span, message);
        findings.push(finding.help("say it in the Caddyfile (`acme_eab`), and take `account` out here"));
    } else if let Some(key) = &proxy.tls.key {
        let message = "Caddy's own authority has a key of its own, and this one is not given to it";
        let finding = Finding::warning(CODE, format!("{AT}.tls.key"), key.span, message);
        findings.push(finding.help("take `key` out: `caddy trust` on the host shows the authority that it made"));
    }
}

fn beyond_body(limits: &labwright_model::lab::DoorLimits) -> bool {
    *limits != labwright_model::lab::DoorLimits { body: limits.body, ..Default::default() }
}

fn of_service(parsed: &Parsed, placement: &Placement, findings: &mut Findings) {
    let (service, entry) = (placement.service.as_str(), &placement.entry);
    let door = &entry.door;
    let span = |key: &str| match parsed.span_of(&["services", service, "door", key]) {
        span if span.is_none() => parsed.lab.services.get(service).map_or(Span::NONE, |service| service.span),
        span => span,
    };
    let schemes: BTreeSet<&str> =
        door.to.iter().filter_map(|to| to.split_once("://")).map(|(scheme, _)| scheme).collect();
    let closed = [
        ("auth", !door.auth.basic.is_empty(), "passwords are not given to Caddy: everybody would get in"),
        ("passthrough", door.passthrough, "Caddy does not hand TLS through as it is"),
        ("tcp", !door.tcp.is_empty(), "Caddy does not hand ports through"),
        ("to", schemes.len() > 1, "Caddy speaks to all places of a service in one way"),
    ];
    for (key, _, why) in closed.iter().filter(|(_, is, _)| *is) {
        let message = format!("`{service}` gets no route: {why}");
        let finding = Finding::error(CODE, format!("services.{service}.door.{key}"), span(key), message);
        findings.push(finding.help(format!("take `{key}` out, use `auth: forward`, or `software: labwright`")));
    }
    let unsaid = [("geo", door.geo), ("clear_text", door.clear_text), ("limits", beyond_body(&door.limits))];
    for (key, _) in unsaid.iter().filter(|(_, is)| *is) {
        let message = format!("`{key}` of `{service}` is not told to Caddy");
        let finding = Finding::warning(CODE, format!("services.{service}.door.{key}"), span(key), message);
        findings.push(finding.help(format!("take `{key}` out, or `software: labwright`")));
    }
    if let Some(first) = entry.cors.first() {
        let message = format!("`cors` of `{service}` is not told to Caddy");
        let finding = Finding::warning(CODE, format!("services.{service}.cors"), first.span, message);
        findings.push(finding.help("let the service answer that itself, or `software: labwright`"));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn what_would_open_a_door_is_an_error_and_the_rest_a_warning() {
        says(
            r#"
platform:
  dns: a
  reverse_proxy: { on: a, software: caddy, service: front, trusted: 10.0.0.9/32, access_log: true, limits: { rate: 5 } }
compute: { hosts: { a: { address: 10.0.0.1 } } }
services:
  front: { on: a, expose: lan, containers: { caddy: { image: "caddy:2.8", ports: ["443:443"] } } }
  wiki: { use: wiki, on: a, expose: lan, url: wiki, port: 80, door: { auth: { basic: { me: "${secret.app}" } } } }
  map: { use: map, on: a, expose: lan, url: map, port: 81, door: { geo: true }, cors: "https://x.example" }
  db: { use: db, on: a, expose: lan, url: db, port: 82, door: { tcp: 5432 } }
"#,
            expect![[r#"
                4:53 error LW-EDGE-011: `front` is a container in a network of its own: `127.0.0.1` is another there
                    help: let it have its host's network: `network_mode: host` for the container of `front`
                4:69 error LW-EDGE-011: who is behind a proxy in front of Caddy is not told, so `expose` would hold for that proxy alone
                    help: only public services get a route then: take `trusted` out, or `software: labwright`
                4:94 warning LW-EDGE-011: `access_log` is not told to Caddy
                    help: say it in the Caddyfile, and take `access_log` out here
                4:108 warning LW-EDGE-011: `limits` is not told to Caddy
                    help: say it in the Caddyfile, and take `limits` out here
                8:77 error LW-EDGE-011: `wiki` gets no route: passwords are not given to Caddy: everybody would get in
                    help: take `auth` out, use `auth: forward`, or `software: labwright`
                9:73 warning LW-EDGE-011: `geo` of `map` is not told to Caddy
                    help: take `geo` out, or `software: labwright`
                9:87 warning LW-EDGE-011: `cors` of `map` is not told to Caddy
                    help: let the service answer that itself, or `software: labwright`
                10:70 error LW-EDGE-011: `db` gets no route: Caddy does not hand ports through
                    help: take `tcp` out, use `auth: forward`, or `software: labwright`
            "#]],
        );
        says(
            r#"
platform: { dns: a, reverse_proxy: { on: a, software: caddy, admin: "unix//run/caddy.sock", tls: { acme: letsencrypt, dns01: cloudflare, proof: { token: "${secret.app}" } } } }
compute: { hosts: { a: { address: 10.0.0.1 } } }
"#,
            expect![[r#"
                2:69 error LW-EDGE-011: `unix//run/caddy.sock` is no address of an admin API
                    help: write `http://127.0.0.1:2019`; a socket of its own file is not spoken to
                2:126 warning LW-EDGE-011: proofs at `cloudflare` need a module that Caddy does not come with: it is told nothing of certificates
                    help: say in the Caddyfile where certificates come from, or take `dns01` out for proofs by HTTP and TLS
            "#]],
        );
        says(
            r#"
platform: { dns: a, reverse_proxy: { on: a, admin: "http://127.0.0.1:2020" } }
compute: { hosts: { a: { address: 10.0.0.1 } } }
"#,
            expect![[r#"
                2:52 warning LW-EDGE-011: `admin` says where a Caddy is told, and the proxy is Labwright's own
                    help: say `software: caddy` beside it, or take `admin` out
            "#]],
        );
    }
}
