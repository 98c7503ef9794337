//! What a site of the lab is in Caddy's JSON. Pure. https://caddyserver.com/docs/json
//! Says nothing of what Caddy has no words for: a rule finds that (LW-EDGE-011).

use labwright_model::snapshot::proxy::{Acme, Answer, Forward, ProxySnapshot, Site, Upstreams};
use serde_json::{Value as Json, json};

/// The route of a site, as it stands among the routes of a server.
pub fn route(id: &str, snapshot: &ProxySnapshot, site: &Site) -> Json {
    let mut routes = Vec::new();
    if let Some(from) = &site.from {
        let ranges: Vec<String> = from.iter().map(ToString::to_string).collect();
        routes.push(json!({
            "match": [{ "not": [{ "remote_ip": { "ranges": ranges } }] }],
            "handle": [{ "handler": "static_response", "status_code": 403 }],
            "terminal": true,
        }));
    }
    if let Some(seconds) = site.hsts.filter(|_| snapshot.listen.https.is_some()) {
        let header = format!("max-age={seconds}");
        routes.push(json!({ "handle": [{
            "handler": "headers",
            "response": { "deferred": true, "set": { "Strict-Transport-Security": [header] } },
        }] }));
    }
    if let Some(bytes) = site.limits.body {
        routes.push(json!({ "handle": [{ "handler": "request_body", "max_size": bytes }] }));
    }
    if let Some(forward) = snapshot.forward.as_ref().filter(|_| site.auth.forward) {
        let mut asked = json!({ "handle": [asked(forward)] });
        if !site.auth.open.is_empty() {
            let paths: Vec<String> = site.auth.open.iter().flat_map(|path| open(path)).collect();
            asked["match"] = json!([{ "not": [{ "path": paths }] }]);
        }
        routes.push(asked);
    }
    for route in &site.routes {
        let headers: serde_json::Map<String, Json> =
            route.headers.iter().map(|(name, value)| (name.clone(), json!([value]))).collect();
        routes.push(json!({ "match": [{ "header": headers }], "handle": answer(&route.answer), "terminal": true }));
    }
    routes.push(json!({ "handle": answer(&site.answer) }));
    canonical(json!({
        "@id": id,
        "match": [{ "host": site.names }],
        "handle": [{ "handler": "subroute", "routes": routes }],
        "terminal": true,
    }))
}

/// A path that everybody may see, and all below it.
fn open(path: &str) -> Vec<String> {
    let path = path.trim_end_matches('*').trim_end_matches('/');
    vec![if path.is_empty() { "/".to_string() } else { path.to_string() }, format!("{path}/*")]
}

/// Where certificates of these names come from; `None`: whatever Caddy does by itself.
pub fn policy(id: &str, names: &[String], acme: Option<&Acme>) -> Json {
    let issuer = match acme {
        None => json!({ "module": "internal" }),
        Some(acme) => {
            let mut issuer = json!({ "module": "acme", "ca": acme.directory });
            if let Some(email) = &acme.email {
                issuer["email"] = json!(email);
            }
            if let Some(file) = &acme.directory_ca {
                issuer["trusted_roots_pem_files"] = json!([file]);
            }
            issuer
        }
    };
    canonical(json!({ "@id": id, "subjects": names, "issuers": [issuer] }))
}

fn answer(answer: &Answer) -> Json {
    match answer {
        Answer::Folder(folder) => json!([{ "handler": "file_server", "root": folder }]),
        Answer::Nothing(why) => json!([{ "handler": "static_response", "status_code": 503, "body": why }]),
        Answer::Upstreams(upstreams) => {
            let mut handler = to(upstreams);
            if let Some(uri) = &upstreams.health {
                handler["health_checks"] = json!({ "active": { "uri": uri } });
            }
            json!([handler])
        }
    }
}

/// The handler that leads to a service.
fn to(upstreams: &Upstreams) -> Json {
    let mut handler = json!({ "handler": "reverse_proxy" });
    let dials: Vec<Json> = upstreams.urls.iter().map(|url| json!({ "dial": dial(url) })).collect();
    handler["upstreams"] = Json::Array(dials);
    match upstreams.urls.first().and_then(|url| url.split_once("://")) {
        Some(("h2c", _)) => handler["transport"] = json!({ "protocol": "http", "versions": ["h2c", "2"] }),
        Some(("https", _)) => {
            let tls = match upstreams.verify.as_str() {
                "system" | "" => json!({}),
                "none" => json!({ "insecure_skip_verify": true }),
                file => json!({ "root_ca_pem_files": [file] }),
            };
            handler["transport"] = json!({ "protocol": "http", "tls": tls });
        }
        _ => {}
    }
    handler
}

/// `http://host:port/` as Caddy dials it: `host:port`.
fn dial(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let authority = rest.split('/').next().unwrap_or_default();
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match (has_port, scheme) {
        (true, _) => authority.to_string(),
        (false, "https") => format!("{authority}:443"),
        (false, _) => format!("{authority}:80"),
    }
}

/// The handler that asks somebody whether a request may pass, as the directive `forward_auth` is expanded:
/// https://caddyserver.com/docs/caddyfile/directives/forward_auth
fn asked(forward: &Forward) -> Json {
    let mut handler = to(&forward.to);
    handler["rewrite"] = json!({ "method": "GET", "uri": forward.path });
    handler["headers"] = json!({ "request": { "set": {
        "X-Forwarded-Method": ["{http.request.method}"],
        "X-Forwarded-Uri": ["{http.request.uri}"],
    } } });
    let copied: serde_json::Map<String, Json> = forward
        .headers
        .iter()
        .map(|name| (name.clone(), json!([format!("{{http.reverse_proxy.header.{name}}}")])))
        .collect();
    let mut passed = json!({ "match": { "status_code": [2] } });
    passed["routes"] = match copied.is_empty() {
        true => json!([{ "handle": [{ "handler": "vars" }] }]),
        false => json!([{ "handle": [{ "handler": "headers", "request": { "set": copied } }] }]),
    };
    handler["handle_response"] = json!([passed]);
    handler
}

/// The same with all keys in order: Caddy gives them back so.
pub fn canonical(json: Json) -> Json {
    match json {
        Json::Object(fields) => {
            let mut fields: Vec<(String, Json)> = fields.into_iter().collect();
            fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            Json::Object(fields.into_iter().map(|(key, value)| (key, canonical(value))).collect())
        }
        Json::Array(items) => Json::Array(items.into_iter().map(canonical).collect()),
        other => other,
    }
}

/// As a field holds it.
pub fn text(json: &Json) -> String {
    serde_json::to_string_pretty(json).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_dialled_with_a_port() {
        for (url, dialled) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[fd00::1]:8080/", "[fd00::1]:8080"),
            ("https://nas.lan", "nas.lan:443"),
            ("http://nas.lan", "nas.lan:80"),
        ] {
            assert_eq!(dial(url), dialled);
        }
    }

    #[test]
    fn what_everybody_may_see_is_a_path_and_all_below_it() {
        assert_eq!(open("/api/"), ["/api", "/api/*"]);
        assert_eq!(open("/public/*"), ["/public", "/public/*"]);
        assert_eq!(open("/"), ["/", "/*"]);
    }
}
