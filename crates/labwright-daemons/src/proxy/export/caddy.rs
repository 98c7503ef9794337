//! As a Caddyfile (Caddy 2.6 and later; 2.7 where proxies in front of it are trusted): caddyserver.com/docs/caddyfile.

use std::fmt::Write;

use labwright_model::snapshot::proxy::{Answer, ProxySnapshot, Site, Upstreams};

/// The Caddyfile that does what the snapshot does, as far as Caddy can; what it cannot stands in comments.
pub fn caddy(snapshot: &ProxySnapshot) -> String {
    let mut out = String::from("# Written by labwright. Users' password hashes are not in here.\n{\n");
    if snapshot.listen.http != 80 {
        let _ = writeln!(out, "\thttp_port {}", snapshot.listen.http);
    }
    match snapshot.listen.https {
        Some(443) => {}
        Some(port) => out.push_str(&format!("\thttps_port {port}\n")),
        None => out.push_str("\tauto_https off\n"),
    }
    if !snapshot.listen.addresses.is_empty() {
        let addresses: Vec<String> = snapshot.listen.addresses.iter().map(ToString::to_string).collect();
        let _ = writeln!(out, "\tdefault_bind {}", addresses.join(" "));
    }
    if !snapshot.trusted.is_empty() {
        let nets: Vec<String> = snapshot.trusted.iter().map(ToString::to_string).collect();
        let _ = writeln!(out, "\tservers {{\n\t\ttrusted_proxies static {}\n\t}}", nets.join(" "));
    }
    if let Some(acme) = &snapshot.certificates.acme {
        let _ = writeln!(out, "\tacme_ca {}", acme.directory);
        if let Some(email) = &acme.email {
            let _ = writeln!(out, "\temail {email}");
        }
    }
    out.push_str("}\n");
    for site in &snapshot.sites {
        one(snapshot, site, &mut out);
    }
    for port in &snapshot.ports {
        let _ = writeln!(
            out,
            "\n# Port {} of `{}` is plain TCP: Caddy needs the plugin layer4 for it.",
            port.port, port.service
        );
    }
    out
}

fn one(snapshot: &ProxySnapshot, site: &Site, out: &mut String) {
    if site.passthrough {
        let _ = writeln!(out, "\n# TLS of `{}` is handed through: Caddy needs the plugin layer4 for it.", site.service);
        return;
    }
    let scheme = if snapshot.listen.https.is_none() { "http://" } else { "" };
    let names: Vec<String> = site.names.iter().map(|name| format!("{scheme}{name}")).collect();
    let _ = writeln!(out, "\n# {}\n{} {{", site.service, names.join(", "));
    if snapshot.listen.https.is_some() && snapshot.certificates.acme.is_none() {
        out.push_str("\ttls internal\n");
    }
    if let Some(from) = &site.from {
        // Whoever is behind a trusted proxy is known to Caddy from version 2.7 on.
        let of = if snapshot.trusted.is_empty() { "remote_ip" } else { "client_ip" };
        let nets: Vec<String> = from.iter().map(ToString::to_string).collect();
        let _ = writeln!(out, "\t@outside not {of} {}\n\trespond @outside 403", nets.join(" "));
    }
    if let Some(seconds) = site.hsts {
        let _ = writeln!(out, "\theader Strict-Transport-Security \"max-age={seconds}\"");
    }
    if let Some(body) = site.limits.body {
        let _ = writeln!(out, "\trequest_body {{\n\t\tmax_size {body}\n\t}}");
    }
    if site.limits.rate.is_some() {
        out.push_str("\t# A rate for each client needs the plugin rate_limit.\n");
    }
    for user in site.auth.basic.keys() {
        let _ = writeln!(out, "\t# basic_auth {{ {user} HASH }}");
    }
    if let Some(forward) = snapshot.forward.as_ref().filter(|_| site.auth.forward) {
        let to = forward.to.urls.join(" ");
        let _ = writeln!(
            out,
            "\tforward_auth {to} {{\n\t\turi {}\n\t\tcopy_headers {}\n\t}}",
            forward.path,
            forward.headers.join(" ")
        );
    }
    for (number, route) in site.routes.iter().enumerate() {
        let _ = writeln!(out, "\t@route{number} {{");
        for (name, value) in &route.headers {
            let _ = writeln!(out, "\t\theader {name} \"{value}\"");
        }
        let _ = writeln!(out, "\t}}\n\thandle @route{number} {{");
        answer(&route.answer, "\t\t", out);
        out.push_str("\t}\n");
    }
    out.push_str("\thandle {\n");
    answer(&site.answer, "\t\t", out);
    out.push_str("\t}\n}\n");
}

fn answer(answer: &Answer, indent: &str, out: &mut String) {
    match answer {
        Answer::Folder(folder) => out.push_str(&format!("{indent}root * {folder}\n{indent}file_server\n")),
        Answer::Nothing(why) => out.push_str(&format!("{indent}# {why}\n{indent}respond 503\n")),
        Answer::Upstreams(upstreams) => upstreams_of(upstreams, indent, out),
    }
}

fn upstreams_of(upstreams: &Upstreams, indent: &str, out: &mut String) {
    let _ = writeln!(out, "{indent}reverse_proxy {} {{", upstreams.urls.join(" "));
    if let Some(health) = &upstreams.health {
        let _ = writeln!(out, "{indent}\thealth_uri {health}");
    }
    if upstreams.urls.iter().any(|url| url.starts_with("https://")) {
        match upstreams.verify.as_str() {
            "system" | "" => {}
            "none" => out.push_str(&transport(indent, "tls_insecure_skip_verify")),
            file => out.push_str(&transport(indent, &format!("tls_trusted_ca_certs {file}"))),
        }
    }
    let _ = writeln!(out, "{indent}}}");
}

fn transport(indent: &str, line: &str) -> String {
    format!("{indent}\ttransport http {{\n{indent}\t\t{line}\n{indent}\t}}\n")
}
