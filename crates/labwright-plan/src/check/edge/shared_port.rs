//! LW-EDGE-013: several names of a service, and all of them lead to one container.

use std::collections::BTreeSet;

use labwright_model::compose::service::NetworkMode;
use labwright_model::{Finding, Findings, Parsed, Placement, Span, Spanned};

use super::names::full;
use crate::application;
use crate::check::containers::{Container, containers};
use crate::check::network::is_database;
use crate::check::{Case, Examples, Rule};

pub struct SharedPort;

const CODE: &str = "LW-EDGE-013";

impl Rule for SharedPort {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "several names that lead to one container, and another one without a name"
    }

    fn doc(&self) -> &'static str {
        "A service has one `port`, and each of its names (`url`) leads there. Where a service is a stack of several \
         applications, all of their names under one `url` lead to one of them: `radarr` shows Sonarr, `music` shows the \
         photos.\n\n\
         It is told where the file shows it: a name is that of another container of the stack than the one that `port` leads \
         to; or there are several names and a container of another application beside, which keeps something of its own, and which \
         no other container waits for. Names that differ in their domain alone, and `www`, are one name.\n\n\
         That one name leads to one place is the proxy's way (RFC 9110, 7.2). Several applications behind one container's \
         network are usual with VPN gateways: https://github.com/qdm12/gluetun-wiki/blob/main/setup/connect-a-container-to-gluetun.md \
         gives each of them a port of its own.\n\n\
         The way out: a service entry for each name, beside that of the stack: `radarr: { built_in: part of arr, on: docker-01, \
         expose: lan, url: radarr, port: 7878, needs: [arr] }`; and the name out of the stack's own `url`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform: { dns: a, reverse_proxy: a }\ncompute: { hosts: { a: { address: 10.0.0.1 } } }\nservices:\n  arr:\n    on: a\n    expose: lan\n    url: [sonarr, radarr]\n    port: vpn:8989\n    containers:\n      vpn: { image: \"qmcgaw/gluetun:v3.40\", ports: [\"8989:8989\", \"7878:7878\"] }\n      sonarr: { image: \"linuxserver/sonarr:4.0.13\", network_mode: \"service:vpn\" }\n      radarr: { image: \"linuxserver/radarr:5.18.4\", network_mode: \"service:vpn\" }",
            passes: "platform: { dns: a, reverse_proxy: a }\ncompute: { hosts: { a: { address: 10.0.0.1 } } }\nservices:\n  arr:\n    on: a\n    expose: lan\n    url: sonarr\n    port: vpn:8989\n    containers:\n      vpn: { image: \"qmcgaw/gluetun:v3.40\", ports: [\"8989:8989\", \"7878:7878\"] }\n      sonarr: { image: \"linuxserver/sonarr:4.0.13\", network_mode: \"service:vpn\" }\n      radarr: { image: \"linuxserver/radarr:5.18.4\", network_mode: \"service:vpn\" }\n  radarr: { built_in: part of arr, on: a, expose: lan, url: radarr, port: 7878, needs: [arr] }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for placement in parsed.placements.iter().filter(|one| one.entry.url.len() > 1) {
            if told.contains(placement.service.as_str()) || !placement.entry.door.to.is_empty() {
                continue;
            }
            if let Some(finding) = judge(parsed, placement) {
                told.insert(&placement.service);
                findings.push(finding);
            }
        }
    }
}

fn judge(parsed: &Parsed, placement: &Placement) -> Option<Finding> {
    let entry = &placement.entry;
    let labels = labels(parsed, placement);
    let port = entry.port.as_ref()?;
    let all: Vec<Container<'_>> = containers(parsed, placement).collect();
    if labels.len() < 2 || all.len() < 2 {
        return None;
    }
    let inside = port.rsplit(':').next()?.parse::<u16>().ok();
    let target = match port.split_once(':') {
        Some((name, _)) => all.iter().find(|one| one.name == name)?,
        None => all.iter().find(|one| one.says.ports.iter().any(|port| Some(port.target) == inside))?,
    };
    // Whoever has the target's network answers at its address too.
    let is_target = |one: &Container<'_>| one.name == target.name;
    let named = |label: &str| {
        let others = || all.iter().filter(|one| !is_target(one));
        others().find(|one| is_called(one, label)).filter(|_| !is_called(target, label))
    };
    let own = labels.iter().any(|(label, _)| is_called(target, label));
    let mut strays: Vec<(&str, &Spanned<String>, &Container<'_>)> =
        labels.iter().filter_map(|(label, url)| Some((label.as_str(), *url, named(label)?))).collect();
    // A gateway's port is somebody's: the first name's, as far as anybody can tell.
    if !own && strays.len() == labels.len() {
        strays.remove(0);
    }
    let service = &placement.service;
    if let Some((label, url, container)) = strays.first() {
        let message =
            format!("`{label}` of `{service}` leads to `{}`, and not to container `{}`", port.value, container.name);
        let finding = finding(parsed, placement, url.span, message, label, port_of(container, target, inside));
        return Some(strays.iter().skip(1).fold(finding, |finding, (label, url, container)| {
            finding.related(url.span, format!("nor does `{label}` lead to `{}`", container.name))
        }));
    }
    let beside = all.iter().filter(|one| !is_target(one) && is_apart(one, target, &all));
    let [beside] = beside.collect::<Vec<_>>()[..] else { return None };
    let (label, url) = labels.iter().find(|(label, _)| !is_called(target, label)).or(labels.last())?;
    let last =
        labels.last().filter(|(last, _)| !is_called(target, last)).map_or((label, url), |(label, url)| (label, url));
    let names: Vec<String> = labels.iter().map(|(label, _)| label.clone()).collect();
    let message = format!(
        "{} of `{service}` {} to `{}`, and no name leads to its container `{}`",
        crate::check::network::telling::listed(names.iter().map(String::as_str)),
        if names.len() == 2 { "both lead" } else { "all lead" },
        port.value,
        beside.name
    );
    Some(finding(parsed, placement, last.1.span, message, last.0, port_of(beside, target, None)))
}

fn finding(parsed: &Parsed, placement: &Placement, span: Span, message: String, label: &str, port: String) -> Finding {
    let service = &placement.service;
    let on = placement.entry.on.first().map_or("HOST", |on| on.value.as_str());
    let name = match parsed.lab.services.contains_key(label) {
        true => format!("{service}-{label}"),
        false => label.to_string(),
    };
    let help = format!(
        "take `{label}` out of its `url`, and give it an entry of its own: `{name}: {{ built_in: part of {service}, on: {on}, \
         expose: {}, url: {label}, port: {port}, needs: [{service}] }}`",
        placement.entry.expose.word()
    );
    Finding::warning(CODE, format!("services.{service}.url"), span, message).help(help)
}

/// Its names by their first part, each once; `www` says nothing.
fn labels<'a>(parsed: &Parsed, placement: &'a Placement) -> Vec<(String, &'a Spanned<String>)> {
    let mut labels: Vec<(String, &Spanned<String>)> = Vec::new();
    for url in placement.entry.url.iter().filter(|url| !url.contains('$')) {
        let name = full(&parsed.lab, url);
        let label = name.strip_prefix("www.").unwrap_or(&name).split('.').next().unwrap_or_default().to_string();
        if !labels.iter().any(|(known, _)| *known == label) {
            labels.push((label, url));
        }
    }
    labels
}

fn is_called(container: &Container<'_>, label: &str) -> bool {
    let application = application_of(container);
    container.names().any(|name| name.eq_ignore_ascii_case(label)) || application.eq_ignore_ascii_case(label)
}

fn application_of(container: &Container<'_>) -> String {
    container.image().map(|image| application::of_image(image.repository)).unwrap_or_default()
}

/// Whether a container is an application beside the one that the names lead to, and no part of it.
fn is_apart(one: &Container<'_>, target: &Container<'_>, all: &[Container<'_>]) -> bool {
    const HELPERS: &[&str] = &[
        "backup",
        "exporter",
        "cron",
        "worker",
        "proxy",
        "agent",
        "sidecar",
        "tunnel",
        "cloudflared",
        "vpn",
        "watchtower",
    ];
    let (name, of_target) = (application_of(one), application_of(target));
    let stem = |name: &str| name.split(['-', '_']).next().unwrap_or_default().to_string();
    let waited_for = all.iter().any(|other| other.says.depends_on.0.contains_key(one.name));
    let waits = one.says.depends_on.0.contains_key(target.name);
    let helps = HELPERS.iter().any(|word| name.contains(word) || one.name.contains(word)) || is_database(&name);
    !name.is_empty()
        && stem(&name) != stem(&of_target)
        && !waited_for
        && !waits
        && !helps
        && one.writable().next().is_some()
}

/// The port that an application of its own network answers on, as far as the file tells.
fn port_of(container: &Container<'_>, target: &Container<'_>, taken: Option<u16>) -> String {
    let shares = |container: &Container<'_>| match container.network_mode() {
        Some(NetworkMode::Service(of)) => of == target.name,
        _ => false,
    };
    let of = if shares(container) { target } else { container };
    let others: Vec<u16> = of.says.ports.iter().map(|port| port.target).filter(|port| Some(*port) != taken).collect();
    match others[..] {
        [one] => one.to_string(),
        _ => "PORT".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    fn lab(url: &str, port: &str, containers: &str) -> String {
        format!(
            "domain: example.net\nplatform: {{ dns: a, reverse_proxy: {{ on: a, tls: internal }} }}\ncompute: {{ hosts: {{ a: {{ address: 10.0.0.1 }} }} }}\nservices:\n  s:\n    on: a\n    expose: lan\n    url: {url}\n    port: \"{port}\"\n    containers: {{ {containers} }}\n"
        )
    }

    #[test]
    fn a_name_of_another_container() {
        let arr = "vpn: { image: \"gluetun:3\", ports: [\"8989:8989\", \"7878:7878\"] }, sonarr: { image: \"sonarr:4\", network_mode: \"service:vpn\" }, radarr: { image: \"radarr:5\", network_mode: \"service:vpn\" }";
        says(
            &lab("[sonarr, radarr]", "vpn:8989", arr),
            expect![[r#"
            8:19 warning LW-EDGE-013: `radarr` of `s` leads to `vpn:8989`, and not to container `radarr`
                help: take `radarr` out of its `url`, and give it an entry of its own: `radarr: { built_in: part of s, on: a, expose: lan, url: radarr, port: 7878, needs: [s] }`
        "#]],
        );
        says(
            &lab("[tv, radarr]", "vpn:8989", arr),
            expect![[r#"
            8:15 warning LW-EDGE-013: `radarr` of `s` leads to `vpn:8989`, and not to container `radarr`
                help: take `radarr` out of its `url`, and give it an entry of its own: `radarr: { built_in: part of s, on: a, expose: lan, url: radarr, port: 7878, needs: [s] }`
        "#]],
        );
    }

    #[test]
    fn an_application_beside_that_no_name_leads_to() {
        let media = "immich-server: { image: \"ghcr.io/immich-app/immich-server:v2\", ports: [\"2283:2283\"], depends_on: [redis] }, redis: { image: \"valkey:9\", volumes: [\"cache-data:/r\"] }, navidrome: { image: \"deluan/navidrome:0.5\", volumes: [\"music:/data\"] }, immich-machine-learning: { image: \"ghcr.io/immich-app/immich-machine-learning:v2\", volumes: [\"models:/m\"] }, backup: { image: \"offen/docker-volume-backup:v2\", volumes: [\"files:/d\"] }";
        says(
            &lab("[photos, music]", "immich-server:2283", media),
            expect![[r#"
            8:19 warning LW-EDGE-013: `photos` and `music` of `s` both lead to `immich-server:2283`, and no name leads to its container `navidrome`
                help: take `music` out of its `url`, and give it an entry of its own: `music: { built_in: part of s, on: a, expose: lan, url: music, port: PORT, needs: [s] }`
        "#]],
        );
    }

    #[test]
    fn several_names_of_one_application_are_fine() {
        let one = "web: { image: \"nextcloud:31\", ports: [\"8080:80\"], volumes: [\"files:/d\"], depends_on: [db] }, db: { image: \"postgres:17\", volumes: [\"pgdata:/p\"] }, cron: { image: \"nextcloud:31\", volumes: [\"files:/d\"] }, tika: { image: \"apache/tika:3\" }, office: { image: \"collabora/code:24\" }";
        says(&lab("[cloud, files]", "web:80", one), expect![[""]]);
        says(&lab("[cloud.example.net, www.cloud.example.net]", "web:80", one), expect![[""]]);
        says(&lab("[web, nextcloud]", "web:80", one), expect![[""]]);
    }
}
