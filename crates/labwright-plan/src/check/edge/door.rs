//! LW-EDGE-009: a door that cannot be as it is said.

use labwright_model::lab::ReverseProxy;
use labwright_model::snapshot::proxy::routed;
use labwright_model::{Finding, Findings, Parsed, Placement, Span, finding, reference};

use crate::check::{Case, Examples, Rule};

pub struct Door;

const CODE: &str = "LW-EDGE-009";
/// The providers of DNS-01 that the proxy speaks with.
const PROVIDERS: &[&str] = &["cloudflare", "desec", "rfc2136", "acme-dns"];

impl Rule for Door {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a door that cannot be as it is said"
    }

    fn doc(&self) -> &'static str {
        "What the lab file says of a service's way through the reverse proxy contradicts itself:\n\n\
         - `auth: forward`, and the proxy has no `forward_auth`: nobody could be asked;\n\
         - `passthrough`, and something that takes a look inside: users, a limit, a folder of pages. What is handed through \
         is not read;\n\
         - a port under `tcp` that is no port, or that two services want, or that the proxy itself listens on;\n\
         - an address under `to` that is none;\n\
         - a proxy on a host that Labwright does not change (`os: nixos`, `os: other`): nobody would put it there;\n\
         - `proxy_protocol` where nobody would say it or nobody would hear it;\n\
         - ZeroSSL, or another authority's account, without what binds ours to it (RFC 8555, 7.3.4);\n\
         - `geo: { refresh: … }`: nothing here fetches a database, MaxMind's own program does;\n\
         - `dns01` with a provider that is not known here, or without what that one needs under `proof`: \
         whoever proves a name by a record has to write it (RFC 8555, 8.4).\n\n\
         The way out stands with each finding."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform: { dns: a, reverse_proxy: a }\ncompute: { hosts: { a: { address: 10.0.0.1 } } }\nservices:\n  wiki: { use: wiki, on: a, expose: lan, url: wiki, door: { auth: forward } }",
            passes: "platform: { dns: a, reverse_proxy: { on: a, forward_auth: login } }\ncompute: { hosts: { a: { address: 10.0.0.1 } } }\nservices:\n  wiki: { use: wiki, on: a, expose: lan, url: wiki, door: { auth: forward } }\n  login: { use: authelia, on: a, expose: lan, url: login, port: 9091 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let Some(proxy) = routed(parsed) else { return };
        of_proxy(parsed, proxy, findings);
        let mut ports: Vec<(u16, &str)> = vec![(proxy.http, "the proxy itself"), (proxy.https, "the proxy itself")];
        let mut told = std::collections::BTreeSet::new();
        for placement in &parsed.placements {
            if told.insert(placement.service.as_str()) {
                of_service(parsed, proxy, placement, &mut ports, findings);
            }
        }
    }
}

fn of_proxy(parsed: &Parsed, proxy: &ReverseProxy, findings: &mut Findings) {
    let at = "platform.reverse_proxy";
    for on in proxy.on.iter() {
        use labwright_model::lab::Os;
        if let Some(host) = parsed.lab.host(on).filter(|host| matches!(host.os, Os::Nixos | Os::Other)) {
            let message = format!(
                "the proxy is to run on `{}`, and hosts with `os: {}` are not changed",
                on.value,
                host.os.word()
            );
            let finding = Finding::warning(CODE, format!("{at}.on"), on.span, message);
            findings.push(finding.help("name another host, or the service that is the proxy there: `service: NAME`"));
        }
    }
    let mut say = |key: &str, span: Span, message: String, help: &str| {
        findings.push(Finding::warning(CODE, format!("{at}.{key}"), span, message).help(help));
    };
    let of = |key: &str| parsed.span_of(&["platform", "reverse_proxy", key]);
    if proxy.proxy_protocol && proxy.trusted.is_empty() {
        let message = "the PROXY protocol is believed of those that are `trusted`, and nobody is".to_string();
        say(
            "proxy_protocol",
            of("proxy_protocol"),
            message,
            "name the load balancer's address: `trusted: 10.0.0.9/32`",
        );
    }
    if let Some(refresh) = proxy.geo.as_ref().and_then(|geo| geo.refresh.as_ref()) {
        let message = "nothing fetches a new edition of the geo database".to_string();
        let help = "let MaxMind's `geoipupdate` fetch it on that host: a new file is taken into use by itself. Take `refresh` and `licence` out";
        say("geo.refresh", refresh.span, message, help);
    }
    match (&proxy.tls.acme, &proxy.tls.account) {
        (Some(acme), None) if acme.value == "zerossl" => {
            let message = "ZeroSSL gives certificates to accounts of its own only".to_string();
            let help = "make \"EAB credentials\" on its page, and say them: `tls: { acme: zerossl, account: { id: …, key: \"${secret.NAME}\" } }`";
            say("tls.acme", acme.span, message, help);
        }
        (None, Some(account)) => {
            let message = "an account at an authority is named, and no authority is asked".to_string();
            say("tls.account", account.id.span, message, "name it: `tls: { acme: zerossl, account: … }`");
        }
        _ => {}
    }
    if let Some(account) = proxy.tls.account.as_ref().filter(|account| reference::secrets(&account.key).is_empty()) {
        let message = "the key of the ACME account stands here in the clear".to_string();
        say("tls.account.key", account.key.span, message, "keep it as a secret, and write `${secret.NAME}`");
    }
    let Some(provider) = &proxy.tls.dns01 else { return };
    if !PROVIDERS.contains(&provider.value.as_str()) {
        let message = format!("nothing here knows how to prove names at `{}`", provider.value);
        let near = finding::nearest(provider, PROVIDERS.iter().copied());
        let help = near.map_or_else(
            || format!("known are `{}`; `acme-dns` works beside any provider", PROVIDERS.join("`, `")),
            |near| format!("did you mean `{near}`?"),
        );
        findings.push(Finding::error(CODE, format!("{at}.tls.dns01"), provider.span, message).help(help));
        return;
    }
    let proof = &proxy.tls.proof;
    let cloudflare = parsed.lab.edge.public.as_ref().and_then(|public| public.cloudflare.as_ref());
    let from_edge = provider.value == "cloudflare" && cloudflare.is_some_and(|cloudflare| cloudflare.token.is_some());
    let needs = match provider.value.as_str() {
        "rfc2136" => {
            vec![("server", proof.server.is_some()), ("key", proof.key.is_some()), ("token", proof.token.is_some())]
        }
        "acme-dns" => vec![
            ("server", proof.server.is_some()),
            ("account", proof.account.is_some()),
            ("subdomain", proof.subdomain.is_some()),
            ("token", proof.token.is_some()),
        ],
        _ => vec![("token", proof.token.is_some() || from_edge)],
    };
    let missing: Vec<String> = needs.iter().filter(|(_, there)| !there).map(|(need, _)| format!("`{need}`")).collect();
    if !missing.is_empty() {
        let message = format!("proofs at `{}` need {}", provider.value, missing.join(", "));
        let finding = Finding::warning(CODE, format!("{at}.tls.proof"), provider.span, message);
        findings.push(finding.help("say it beside: `tls: { dns01: …, proof: { token: \"${secret.NAME}\" } }`"));
    }
}

fn of_service<'a>(
    parsed: &Parsed,
    proxy: &ReverseProxy,
    placement: &'a Placement,
    ports: &mut Vec<(u16, &'a str)>,
    findings: &mut Findings,
) {
    let (service, door) = (placement.service.as_str(), &placement.entry.door);
    let span = |key: &str| match parsed.span_of(&["services", service, "door", key]) {
        span if span.is_none() => parsed.lab.services.get(service).map_or(Span::NONE, |service| service.span),
        span => span,
    };
    let mut wrong = |key: &str, message: String, help: String| {
        findings.push(Finding::error(CODE, format!("services.{service}.door.{key}"), span(key), message).help(help));
    };
    if door.auth.forward && proxy.forward_auth.is_none() {
        let message = format!("requests to `{service}` are to be asked about, and nobody is there to ask");
        wrong(
            "auth",
            message,
            "name the service that knows: `platform: { reverse_proxy: { forward_auth: SERVICE } }`".into(),
        );
    }
    if door.proxy_protocol && !door.passthrough && door.tcp.is_empty() {
        let message = format!("`{service}` is to hear the PROXY protocol, and nothing of it is handed through");
        let help = "take `proxy_protocol` out: over HTTP it learns who asks from `X-Forwarded-For`".to_string();
        wrong("proxy_protocol", message, help);
    }
    let looks = [
        ("auth", door.auth.forward || !door.auth.basic.is_empty()),
        ("limits", door.limits != Default::default()),
        ("site", placement.entry.site.is_some()),
        ("routes", !placement.entry.routes.is_empty()),
    ];
    if let Some((what, _)) = looks.iter().find(|(_, is)| door.passthrough && *is) {
        let message = format!("TLS of `{service}` is handed through, and `{what}` would have to look inside");
        wrong("passthrough", message, format!("take `{what}` out, or `passthrough`"));
    }
    for text in door.tcp.iter() {
        let (outer, inner) = text.split_once(':').unwrap_or((text, text));
        let (Ok(port @ 1..), Ok(1..)) = (outer.parse::<u16>(), inner.parse::<u16>()) else {
            let help = "write `5432`, or `15432:5432` where the proxy's port is another".to_string();
            wrong("tcp", format!("`{}` is no port", text.value), help);
            continue;
        };
        match ports.iter().find(|(taken, _)| *taken == port) {
            Some((_, other)) => {
                let message =
                    format!("port {port} of the proxy is to lead to `{service}`, and {} has it", named(other));
                wrong(
                    "tcp",
                    message,
                    format!("choose another port of the proxy: `{}:{inner}`", port.saturating_add(10_000)),
                );
            }
            None => ports.push((port, service)),
        }
    }
    for to in door.to.iter().filter(|to| !is_upstream(to)) {
        let help =
            "write `http://HOST:PORT`, `https://HOST:PORT`, or `h2c://HOST:PORT` for HTTP/2 in clear text".to_string();
        wrong("to", format!("`{}` is no address of an upstream", to.value), help);
    }
}

fn named(other: &str) -> String {
    if other.contains(' ') { other.to_string() } else { format!("`{other}`") }
}

fn is_upstream(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    matches!(scheme, "http" | "https" | "h2c") && !rest.is_empty() && !rest.contains(['/', '?', '@', ' '])
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn each_contradiction_once() {
        says(
            r#"
platform:
  dns: a
  reverse_proxy: { on: a, tls: { acme: letsencrypt, dns01: cloudflair } }
compute: { hosts: { a: { address: 10.0.0.1, os: nixos } } }
services:
  asked: { use: a, on: a, expose: lan, url: asked.example.net, door: { auth: forward } }
  blind: { use: a, on: a, expose: lan, url: blind.example.net, door: { passthrough: true, limits: { body: 1MiB } } }
  db: { use: a, on: a, expose: lan, door: { tcp: [5432, none, 443] } }
  other: { use: a, on: a, expose: lan, door: { tcp: "5432:5433" } }
  away: { use: a, on: a, expose: lan, url: away.example.net, door: { to: ["10.0.0.9:80", "http://10.0.0.9/path", "h2c://10.0.0.9:50051"] } }
"#,
            expect![[r#"
                4:24 warning LW-EDGE-009: the proxy is to run on `a`, and hosts with `os: nixos` are not changed
                    help: name another host, or the service that is the proxy there: `service: NAME`
                4:60 error LW-EDGE-009: nothing here knows how to prove names at `cloudflair`
                    help: did you mean `cloudflare`?
                7:78 error LW-EDGE-009: requests to `asked` are to be asked about, and nobody is there to ask
                    help: name the service that knows: `platform: { reverse_proxy: { forward_auth: SERVICE } }`
                8:85 error LW-EDGE-009: TLS of `blind` is handed through, and `limits` would have to look inside
                    help: take `limits` out, or `passthrough`
                9:50 error LW-EDGE-009: `none` is no port
                    help: write `5432`, or `15432:5432` where the proxy's port is another
                9:50 error LW-EDGE-009: port 443 of the proxy is to lead to `db`, and the proxy itself has it
                    help: choose another port of the proxy: `10443:443`
                10:53 error LW-EDGE-009: port 5432 of the proxy is to lead to `other`, and `db` has it
                    help: choose another port of the proxy: `15432:5433`
                11:74 error LW-EDGE-009: `10.0.0.9:80` is no address of an upstream
                    help: write `http://HOST:PORT`, `https://HOST:PORT`, or `h2c://HOST:PORT` for HTTP/2 in clear text
                11:74 error LW-EDGE-009: `http://10.0.0.9/path` is no address of an upstream
                    help: write `http://HOST:PORT`, `https://HOST:PORT`, or `h2c://HOST:PORT` for HTTP/2 in clear text
            "#]],
        );
        says(
            r#"
platform: { dns: a, reverse_proxy: { on: a, proxy_protocol: true, geo: { database: /g.mmdb, refresh: weekly }, tls: { acme: zerossl } } }
compute: { hosts: { a: { address: 10.0.0.1 } } }
services: { wiki: { use: a, on: a, expose: lan, url: wiki.example.net, door: { proxy_protocol: true } } }
"#,
            expect![[r#"
                2:61 warning LW-EDGE-009: the PROXY protocol is believed of those that are `trusted`, and nobody is
                    help: name the load balancer's address: `trusted: 10.0.0.9/32`
                2:102 warning LW-EDGE-009: nothing fetches a new edition of the geo database
                    help: let MaxMind's `geoipupdate` fetch it on that host: a new file is taken into use by itself. Take `refresh` and `licence` out
                2:125 warning LW-EDGE-009: ZeroSSL gives certificates to accounts of its own only
                    help: make "EAB credentials" on its page, and say them: `tls: { acme: zerossl, account: { id: …, key: "${secret.NAME}" } }`
                4:54 advice LW-EDGE-005: no proof for `wiki.example.net`: it is not reached from the internet, and there is no `dns01`
                    help: name the domain's provider: `tls: { acme: letsencrypt, dns01: cloudflare, proof: { token: "${secret.dns_token}" } }`, after `labwright secret set dns_token`; or write `tls: internal`
                4:96 error LW-EDGE-009: `wiki` is to hear the PROXY protocol, and nothing of it is handed through
                    help: take `proxy_protocol` out: over HTTP it learns who asks from `X-Forwarded-For`
            "#]],
        );
        says(
            r#"
platform: { dns: a, reverse_proxy: { on: a, tls: { account: { id: kid, key: open } } } }
compute: { hosts: { a: { address: 10.0.0.1 } } }
"#,
            expect![[r#"
                2:67 warning LW-EDGE-009: an account at an authority is named, and no authority is asked
                    help: name it: `tls: { acme: zerossl, account: … }`
                2:77 warning LW-EDGE-009: the key of the ACME account stands here in the clear
                    help: keep it as a secret, and write `${secret.NAME}`
            "#]],
        );
        says(
            r#"
platform: { dns: a, reverse_proxy: { on: a, tls: { acme: letsencrypt, dns01: acme-dns, proof: { server: "https://acme.example" } } } }
compute: { hosts: { a: { address: 10.0.0.1 } } }
"#,
            expect![[r#"
                2:78 warning LW-EDGE-009: proofs at `acme-dns` need `account`, `subdomain`, `token`
                    help: say it beside: `tls: { dns01: …, proof: { token: "${secret.NAME}" } }`
            "#]],
        );
    }
}
