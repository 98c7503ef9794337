//! As a file for Traefik's file provider (version 3), in JSON, which is YAML as well: doc.traefik.io.

use labwright_model::snapshot::proxy::{Answer, ProxySnapshot, Site, Upstreams};
use serde_json::{Map, Value, json};

/// The dynamic configuration that does what the snapshot does, as far as Traefik can; what it cannot stands under
/// `x-labwright`, which Traefik does not read.
pub fn traefik(snapshot: &ProxySnapshot) -> String {
    let mut file = File::default();
    for site in &snapshot.sites {
        file.site(snapshot, site);
    }
    for port in &snapshot.ports {
        let servers: Vec<Value> = port.to.iter().map(|to| json!({ "address": to })).collect();
        let name = format!("{}-{}", port.service, port.port);
        let router = json!({ "entryPoints": [format!("tcp-{}", port.port)], "rule": "HostSNI(`*`)", "service": name });
        file.tcp_routers.insert(name.clone(), router);
        file.tcp_services.insert(name, json!({ "loadBalancer": { "servers": servers } }));
    }
    if let Some(forward) = &snapshot.forward
        && let Some(url) = forward.to.urls.first()
    {
        let auth = json!({ "address": format!("{url}{}", forward.path), "authResponseHeaders": forward.headers });
        file.middlewares.insert("labwright-forward".into(), json!({ "forwardAuth": auth }));
    }
    let mut root = Map::new();
    let mut part = |name: &str, parts: Vec<(&str, Map<String, Value>)>| {
        let filled: Map<String, Value> =
            parts.into_iter().filter(|(_, map)| !map.is_empty()).map(|(key, map)| (key.into(), map.into())).collect();
        if !filled.is_empty() {
            root.insert(name.into(), filled.into());
        }
    };
    part(
        "http",
        vec![
            ("routers", file.routers),
            ("services", file.services),
            ("middlewares", file.middlewares),
            ("serversTransports", file.transports),
        ],
    );
    part("tcp", vec![("routers", file.tcp_routers), ("services", file.tcp_services)]);
    if !file.left_out.is_empty() {
        root.insert("x-labwright".into(), json!({ "left out": file.left_out }));
    }
    serde_json::to_string_pretty(&root).unwrap_or_default() + "\n"
}

#[derive(Default)]
struct File {
    routers: Map<String, Value>,
    services: Map<String, Value>,
    middlewares: Map<String, Value>,
    transports: Map<String, Value>,
    tcp_routers: Map<String, Value>,
    tcp_services: Map<String, Value>,
    left_out: Vec<String>,
}

impl File {
    fn site(&mut self, snapshot: &ProxySnapshot, site: &Site) {
        let name = site.names.first().map_or_else(|| site.service.clone(), |first| first.replace(['*', '.'], "-"));
        if site.passthrough {
            let rule = site.names.iter().map(|name| format!("HostSNI(`{name}`)")).collect::<Vec<_>>().join(" || ");
            let Answer::Upstreams(upstreams) = &site.answer else { return };
            let servers = upstreams.urls.iter().filter_map(|url| Some(json!({ "address": url.split_once("://")?.1 })));
            let servers: Vec<Value> = servers.collect();
            self.tcp_routers
                .insert(name.clone(), json!({ "rule": rule, "service": name, "tls": { "passthrough": true } }));
            self.tcp_services.insert(name, json!({ "loadBalancer": { "servers": servers } }));
            return;
        }
        let rules = site.names.iter().map(|name| match name.strip_prefix("*.") {
            Some(below) => format!("HostRegexp(`^[^.]+\\.{}$`)", below.replace('.', "\\.")),
            None => format!("Host(`{name}`)"),
        });
        let rule = rules.collect::<Vec<_>>().join(" || ");
        let middlewares = self.middlewares_of(site, &name);
        for (number, route) in site.routes.iter().enumerate() {
            let headers = route.headers.iter().map(|(name, value)| format!(" && Header(`{name}`, `{value}`)"));
            let rule = format!("({rule}){}", headers.collect::<String>());
            self.router(snapshot, &format!("{name}-{number}"), &rule, &route.answer, &middlewares, &site.service);
        }
        self.router(snapshot, &name, &rule, &site.answer, &middlewares, &site.service);
    }

    fn middlewares_of(&mut self, site: &Site, name: &str) -> Vec<String> {
        let mut all = Vec::new();
        let mut add = |suffix: &str, value: Value| {
            let key = format!("{name}-{suffix}");
            self.middlewares.insert(key.clone(), value);
            all.push(key);
        };
        if let Some(from) = &site.from {
            let nets: Vec<String> = from.iter().map(ToString::to_string).collect();
            add("from", json!({ "ipAllowList": { "sourceRange": nets } }));
        }
        if let Some(rate) = site.limits.rate {
            add("rate", json!({ "rateLimit": { "average": rate, "burst": rate * 10 } }));
        }
        if let Some(body) = site.limits.body {
            add("body", json!({ "buffering": { "maxRequestBodyBytes": body } }));
        }
        if let Some(seconds) = site.hsts {
            add("hsts", json!({ "headers": { "stsSeconds": seconds } }));
        }
        if site.auth.forward {
            all.push("labwright-forward".into());
        }
        if !site.auth.basic.is_empty() {
            self.left_out.push(format!("users of `{}`: their passwords' hashes are secrets", site.service));
        }
        all
    }

    fn router(
        &mut self,
        snapshot: &ProxySnapshot,
        name: &str,
        rule: &str,
        answer: &Answer,
        middlewares: &[String],
        service: &str,
    ) {
        let upstreams = match answer {
            Answer::Upstreams(upstreams) => upstreams,
            Answer::Folder(folder) => {
                return self.left_out.push(format!("`{service}` is a folder, `{folder}`, and Traefik serves no files"));
            }
            Answer::Nothing(why) => return self.left_out.push(format!("`{service}`: {why}")),
        };
        let mut router = json!({ "rule": rule, "service": name });
        if !middlewares.is_empty() {
            router["middlewares"] = json!(middlewares);
        }
        if snapshot.listen.https.is_some() {
            router["tls"] = match snapshot.certificates.acme {
                Some(_) => json!({ "certResolver": "labwright" }),
                None => json!({}),
            };
        }
        self.routers.insert(name.into(), router);
        let balancer = self.balancer(name, upstreams);
        self.services.insert(name.into(), json!({ "loadBalancer": balancer }));
    }

    fn balancer(&mut self, name: &str, upstreams: &Upstreams) -> Value {
        let servers: Vec<Value> = upstreams.urls.iter().map(|url| json!({ "url": url })).collect();
        let mut balancer = json!({ "servers": servers });
        if let Some(health) = &upstreams.health {
            balancer["healthCheck"] = json!({ "path": health });
        }
        let transport = match upstreams.verify.as_str() {
            "system" | "" => return balancer,
            "none" => json!({ "insecureSkipVerify": true }),
            file => json!({ "rootCAs": [file] }),
        };
        if upstreams.urls.iter().any(|url| url.starts_with("https://")) {
            self.transports.insert(name.into(), transport);
            balancer["serversTransport"] = json!(name);
        }
        balancer
    }
}
