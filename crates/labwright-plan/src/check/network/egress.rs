//! LW-NET-012: traffic that shall leave through a VPN, and does not.

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::compose::service::NetworkMode;
use labwright_model::{Findings, Parsed, Placement, Span};

use super::reach::{Placed, hosts};
use super::telling::{Stake, and_here, listed};
use crate::check::containers::{self, Container};
use crate::check::references::at;
use crate::check::{Case, Examples, Rule};

pub struct Egress;

const CODE: &str = "LW-NET-012";

impl Rule for Egress {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "egress that does not go through its gateway"
    }

    fn doc(&self) -> &'static str {
        "`egress: gluetun` says that a service reaches the internet through that gateway or not at all. Document 3 sends its \
         media-automation stack out through Gluetun and an external VPN, in a network namespace of the VPN's. That cannot \
         be, or is not so, where\n\n\
         - the gateway runs on another host: a network namespace does not reach across machines (an error for \
         `tier: production`, a warning for an experiment);\n\
         - a container of the service sets a `network_mode` of its own that leads past the gateway (the same);\n\
         - the gateway is, as far as its name, its image and its rights tell, no VPN or proxy (advice);\n\
         - a download client (qBittorrent, Transmission and the like) has no egress, and there is a gateway on its host that \
         others go through (advice).\n\n\
         A `network_mode: \"service:gluetun\"` for a gateway that is no container of the same service is LW-SVC-105: Compose \
         looks no further.\n\n\
         The way out: put both on one host, name the gateway with `egress:`, and leave `network_mode` to Labwright."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    docker-01: { address: 10.0.20.21 }\n    docker-02: { address: 10.0.20.22 }\nservices:\n  gluetun: { use: gluetun, on: docker-01 }\n  qbittorrent: { use: qbittorrent, on: docker-02, egress: gluetun }",
            passes: "compute:\n  hosts:\n    docker-01: { address: 10.0.20.21 }\nservices:\n  gluetun: { use: gluetun, on: docker-01 }\n  qbittorrent: { use: qbittorrent, on: docker-01, egress: gluetun }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let containers = containers::all(parsed);
        let placed = case.placed();
        let mut gateways: BTreeSet<&str> = BTreeSet::new();
        for placement in &parsed.placements {
            let Some(egress) = &placement.entry.egress else { continue };
            let Some((gateway, _)) = parsed.lab.services.get_key_value(&egress.value) else { continue };
            gateways.insert(gateway);
            across_hosts(placed, placement, gateway, egress.span, findings);
        }
        no_gateways(parsed, &containers, &gateways, findings);
        modes(parsed, &containers, findings);
        download_clients(parsed, &containers, &gateways, findings);
    }
}

fn across_hosts(placed: &Placed<'_>, placement: &Placement, gateway: &str, span: Span, findings: &mut Findings) {
    let there = placed.seen_from(placement.environment.as_deref(), gateway);
    // What somebody else runs is nowhere in the lab.
    if there.iter().any(|gateway| gateway.entry.external.is_some()) {
        return;
    }
    let carried: BTreeSet<&str> = there.iter().flat_map(|gateway| hosts(&gateway.entry)).collect();
    let apart = hosts(&placement.entry).find(|host| !carried.contains(host));
    let (Some(host), false) = (apart, carried.is_empty()) else { return };
    let name = &placement.service;
    let on = listed(carried.iter().copied());
    let message = format!("`{name}` on `{host}` shall leave through `{gateway}`, which runs on {on}");
    let help = format!("put both on one host: `{name}: {{ on: {} }}`", carried.first().unwrap_or(&"HOST"));
    let finding =
        Stake::of(placement.entry.tier).contradiction(CODE, format!("{}.egress", at(placement)), span, message);
    findings.push(finding.help(help));
}

/// Gateways that do not look like one.
fn no_gateways(parsed: &Parsed, containers: &[Container<'_>], gateways: &BTreeSet<&str>, findings: &mut Findings) {
    if gateways.is_empty() {
        return;
    }
    let mut by_service: BTreeMap<&str, Vec<&Container<'_>>> = BTreeMap::new();
    for container in containers {
        by_service.entry(&container.placement.service).or_default().push(container);
    }
    for placement in &parsed.placements {
        let Some(egress) = placement.entry.egress.as_ref().filter(|egress| gateways.contains(egress.value.as_str()))
        else {
            continue;
        };
        let Some(gateway) = parsed.lab.services.get(&egress.value) else { continue };
        let inline = by_service.get(egress.value.as_str()).map_or(&[][..], Vec::as_slice);
        // What could not be read may be one, and what has an egress itself is one in a chain.
        let unread = gateway.compose.is_some() && inline.is_empty();
        let unknown = gateway.external.is_some() || unread || gateway.egress.is_some();
        let run = gateway.run.iter().flat_map(|run| run.command.iter()).map(|word| word.value.as_str());
        let names = [egress.value.as_str(), gateway.catalogue.as_ref().map_or("", |catalogue| &catalogue.value)];
        let told = names.into_iter().chain(run).chain(inline.iter().map(|one| one.program())).any(is_gateway);
        if unknown || told || inline.iter().any(|one| may_route(one)) {
            continue;
        }
        let message =
            format!("`{}` is to be the gateway of `{}`, and nothing of it says VPN", egress.value, placement.service);
        let help = "name the service that holds the VPN, such as `use: gluetun`";
        findings.push(Stake::Lab.finding(CODE, format!("{}.egress", at(placement)), egress.span, message).help(help));
    }
}

fn is_gateway(name: &str) -> bool {
    const WORDS: &[&str] = &[
        "gluetun",
        "vpn",
        "wireguard",
        "wg",
        "tailscale",
        "tor",
        "mullvad",
        "proton",
        "squid",
        "socks",
        "proxy",
        "privoxy",
        "dante",
        "warp",
        "gateway",
        "egress",
        "tunnel",
        "shadowsocks",
        "xray",
        "v2ray",
        "sing-box",
        "tinyproxy",
    ];
    let name = name.to_lowercase();
    WORDS.iter().any(|word| match word.len() {
        // A short word has to stand by itself.
        0..4 => name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|part| part.trim_end_matches(char::is_numeric) == *word),
        _ => name.contains(word),
    })
}

/// Whether a container has the rights that a VPN needs.
fn may_route(container: &Container<'_>) -> bool {
    container.says.cap_add.iter().any(|right| right.contains("NET_ADMIN"))
        || container.says.devices.iter().any(|device| device.value.source.value == "/dev/net/tun")
}

/// What containers say of their network.
fn modes(parsed: &Parsed, containers: &[Container<'_>], findings: &mut Findings) {
    let mut told: BTreeMap<(&str, String), Vec<&Container<'_>>> = BTreeMap::new();
    for container in containers {
        let (service, Some(mode)) = (container.placement.service.as_str(), container.network_mode()) else { continue };
        let past = match mode {
            // The network of its own stack leaves as that container does, and one that is not there is LW-SVC-105.
            NetworkMode::Service(_) | NetworkMode::None | NetworkMode::Container(_) => false,
            NetworkMode::Host | NetworkMode::Bridge | NetworkMode::Named(_) => true,
        };
        if past && container.placement.entry.egress.is_some() {
            told.entry((service, mode.to_string())).or_default().push(container);
        }
    }
    for ((service, mode), all) in told {
        let Some(first) = all.first() else { continue };
        let Some(egress) = &first.placement.entry.egress else { continue };
        let place = |one: &Container<'_>| one.span(parsed, &["network_mode"]);
        let message = format!(
            "container `{}` of `{service}` has `network_mode: {mode}`, which leads past its gateway `{}`",
            first.name, egress.value
        );
        let (stake, at) = (Stake::of(first.placement.entry.tier), format!("{}.network_mode", first.at(parsed)));
        let finding = stake.contradiction(CODE, at, place(first), message);
        findings.push(and_here(
            finding.help("take `network_mode` out: `egress` says where it leaves"),
            all.iter().skip(1).map(|one| (place(one), one.name)),
            "{} has it too",
        ));
    }
}

/// Download clients that go out beside a gateway on their host that others take.
fn download_clients(parsed: &Parsed, containers: &[Container<'_>], gateways: &BTreeSet<&str>, findings: &mut Findings) {
    const CLIENTS: &[&str] = &["qbittorrent", "qbittorrent-nox", "transmission", "deluge", "rtorrent", "rutorrent"];
    if gateways.is_empty() {
        return;
    }
    let services = &parsed.lab.services;
    // A container that shares another one's network goes out with that.
    let by_image: BTreeSet<&str> = containers
        .iter()
        .filter(|one| CLIENTS.contains(&one.program()) && one.has_own_network())
        .map(|one| one.placement.service.as_str())
        .collect();
    let mut bare: BTreeMap<&str, Vec<(Span, &str)>> = BTreeMap::new();
    for (name, service) in services.iter() {
        let called = service.catalogue.as_ref().map_or(name.as_str(), |catalogue| &catalogue.value);
        let unread = service.compose.is_some() || service.external.is_some() || !service.containers.0.is_null();
        let is_client = by_image.contains(name.as_str()) || (CLIENTS.contains(&called) && !unread);
        if !is_client || service.egress.is_some() || !service.environments.is_empty() {
            continue;
        }
        let beside = |gateway: &&&str| {
            services
                .get(**gateway)
                .is_some_and(|gateway| hosts(gateway).any(|host| hosts(service).any(|on| on == host)))
        };
        if let Some(gateway) = gateways.iter().find(beside) {
            bare.entry(gateway).or_default().push((service.span, name));
        }
    }
    for (gateway, bare) in bare {
        let Some((span, first)) = bare.first().copied() else { continue };
        let names = listed(bare.iter().map(|(_, name)| *name));
        let message = format!("{names} would leave beside the gateway `{gateway}` that other services take");
        let finding = Stake::Lab.finding(CODE, format!("services.{first}"), span, message);
        findings.push(and_here(
            finding.help(format!("add `egress: {gateway}`")),
            bare.into_iter().skip(1),
            "so would {}",
        ));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn gateways_and_those_who_go_through_them() {
        says(
            r#"
environments: [dev, prod]
compute: { hosts: { a: { address: 10.0.0.1 }, b: { address: 10.0.0.2 } } }
services:
  gluetun: { use: gluetun, on: a }
  away: { external: mullvad }
  plain: { containers: { app: { image: nginx } }, on: a }
  tun: { containers: { app: { image: custom, cap_add: [NET_ADMIN] } }, on: a }
  placed-vpn: { run: wireproxy, environments: { dev: { on: a }, prod: { on: b } } }
  near: { use: sonarr, on: a, egress: gluetun }
  far: { use: radarr, on: b, egress: gluetun, tier: production }
  both: { use: prowlarr, on: [a, b], egress: gluetun }
  outside: { use: sonarr, on: b, egress: away }
  odd: { use: sonarr, on: a, egress: plain }
  routed: { use: sonarr, on: a, egress: tun }
  stack: { use: sonarr, environments: { dev: { on: a }, prod: { on: b } }, egress: placed-vpn }
  qbittorrent: { use: qbittorrent, on: a }
  seeds: { use: transmission, on: a }
  elsewhere: { use: deluge, on: b }
  qbit: { containers: { app: { image: "lscr.io/linuxserver/qbittorrent:5.1.2" } }, on: a }
  inside: { containers: { vpn: { image: qmcgaw/gluetun }, app: { image: "linuxserver/qbittorrent", network_mode: "service:vpn" } }, on: a }
  with-vpn: { containers: { app: { image: "binhex/arch-qbittorrentvpn" } }, on: a }
  through: { containers: { app: { image: "linuxserver/transmission" } }, on: a, egress: gluetun }
"#,
            expect![[r#"
                11:38 error LW-NET-012: `far` on `b` shall leave through `gluetun`, which runs on `a`
                    help: put both on one host: `far: { on: a }`
                12:46 warning LW-NET-012: `both` on `b` shall leave through `gluetun`, which runs on `a`
                    help: put both on one host: `both: { on: a }`
                14:38 advice LW-NET-012: `plain` is to be the gateway of `odd`, and nothing of it says VPN
                    help: name the service that holds the VPN, such as `use: gluetun`
                17:3 advice LW-NET-012: `qbittorrent`, `seeds` and `qbit` would leave beside the gateway `gluetun` that other services take
                    help: add `egress: gluetun`
                    18:3: so would `seeds`
                    20:3: so would `qbit`
            "#]],
        );
    }

    #[test]
    fn network_modes() {
        says(
            r#"
compute: { hosts: { a: { address: 10.0.0.1 } } }
services:
  gluetun: { use: gluetun, on: a }
  stack:
    on: a
    containers:
      vpn: { image: qmcgaw/gluetun }
      sonarr: { image: sonarr, network_mode: "service:vpn" }
      radarr: { image: radarr, network_mode: "service:gluetun" }
      prowlarr: { image: prowlarr, network_mode: "service:gluetun" }
      other: { image: other, network_mode: "service:nothing" }
  past:
    on: a
    egress: gluetun
    tier: production
    containers:
      one: { image: one, network_mode: bridge }
      two: { image: two, network_mode: bridge }
      three: { image: three, network_mode: "container:gluetun" }
      four: { image: four }
      five: { image: five, network_mode: "service:four" }
"#,
            expect![[r#"
                18:40 error LW-NET-012: container `one` of `past` has `network_mode: bridge`, which leads past its gateway `gluetun`
                    help: take `network_mode` out: `egress` says where it leaves
                    19:40: `two` has it too
            "#]],
        );
    }
}
