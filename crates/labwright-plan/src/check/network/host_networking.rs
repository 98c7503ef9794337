//! LW-NET-008: a container on its host's network.

use std::collections::BTreeMap;

use labwright_model::compose::service::NetworkMode;
use labwright_model::{Findings, Parsed};

use super::telling::Stake;
use crate::check::containers::{self, Container};
use crate::check::{Case, Examples, Rule};

pub struct HostNetworking;

const CODE: &str = "LW-NET-008";

impl Rule for HostNetworking {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a container on its host's network"
    }

    fn doc(&self) -> &'static str {
        "`network_mode: host` takes away the container's own network: every port it opens is open on the host, it reaches \
         whatever listens on the host's `localhost`, other containers cannot reach it by name, and two of them can want the \
         same port. Document 3 makes it one of its three rules: a network for each service, containers talk by name, never \
         over the host's network.\n\n\
         Programs that have to see the host's network are left alone: those that find devices by broadcast, that are a VPN \
         or a firewall, or that measure the host (Home Assistant, Matter and mDNS, Pi-hole, node exporter, Tailscale, keepalived and \
         the like, known by the name of their image). Advice; a warning for `tier: production`.\n\n\
         The way out: take `network_mode` out, publish the port that is needed under `ports`, and talk to other containers \
         by their names. If the program needs it, say so: `# labwright: allow LW-NET-008 because …`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    docker-01: { address: 10.0.20.21 }\nservices:\n  films:\n    on: docker-01\n    containers: { app: { image: \"jellyfin/jellyfin:10.10\", network_mode: host } }",
            passes: "compute:\n  hosts:\n    docker-01: { address: 10.0.20.21 }\nservices:\n  films:\n    on: docker-01\n    port: app:8096\n    containers: { app: { image: \"jellyfin/jellyfin:10.10\" } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let mut by_service: BTreeMap<&str, Vec<Container<'_>>> = BTreeMap::new();
        for container in containers::all(parsed) {
            if container.network_mode() == Some(&NetworkMode::Host) && !needs_it(container.program()) {
                by_service.entry(&container.placement.service).or_default().push(container);
            }
        }
        for (service, on_host) in by_service {
            let Some(first) = on_host.first() else { continue };
            let stake = on_host.iter().map(|one| Stake::of(one.placement.entry.tier)).max().unwrap_or(Stake::Lab);
            let message = format!("container `{}` of `{service}` is on its host's network", first.name);
            let span = first.span(parsed, &["network_mode"]);
            let mut finding = stake
                .finding(CODE, format!("{}.network_mode", first.at(parsed)), span, message)
                .help(help(parsed, first));
            for other in on_host.iter().skip(1).take(5) {
                finding = finding.related(other.span(parsed, &["network_mode"]), format!("so is `{}`", other.name));
            }
            findings.push(finding);
        }
    }
}

/// Behind a proxy on its own host a port is for that host alone; anything else is opened by others on the network.
fn help(parsed: &Parsed, container: &Container<'_>) -> String {
    let entry = &container.placement.entry;
    let proxies = parsed.lab.platform.reverse_proxy.iter().flat_map(|proxy| proxy.on.iter());
    let beside = proxies.into_iter().any(|proxy| entry.on.iter().any(|on| on.value == proxy.value));
    let port = entry.port.as_ref().and_then(|port| port.rsplit(':').next()?.parse::<u16>().ok());
    let port = port.map_or("PORT".to_string(), |port| port.to_string());
    let ports = match beside && !entry.url.is_empty() {
        true => format!("127.0.0.1:{port}:{port}"),
        false => format!("{port}:{port}"),
    };
    format!("take `network_mode` out, and publish the port it needs: `ports: [\"{ports}\"]`")
}

/// Whether a program has to see the host's network: its makers tell people to run it so.
fn needs_it(image: &str) -> bool {
    const KNOWN: &[&str] = &[
        "home-assistant",
        "homeassistant",
        "matter",
        "homebridge",
        "hass",
        "scrypted",
        "mdns",
        "avahi",
        "airconnect",
        "roon",
        "ssdp",
        "node-exporter",
        "node_exporter",
        "netdata",
        "beszel",
        "tailscale",
        "zerotier",
        "netbird",
        "wireguard",
        "wg-easy",
        "gluetun",
        "keepalived",
        "kube-vip",
        "crowdsec",
        "fail2ban",
        "suricata",
        "ntopng",
        "dhcp",
        "adguardhome",
        "pihole",
        "unbound",
        "omada",
        "unifi",
        "otbr",
        "iperf",
    ];
    KNOWN.iter().any(|known| image.contains(known))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn told_once_for_each_service() {
        says(
            r#"
environments: [dev, prod]
platform: { reverse_proxy: docker-01 }
compute: { hosts: { docker-01: { address: 10.0.20.21 } } }
services:
  wiki: { on: docker-01, url: wiki, expose: lan, port: "app:3000", containers: { app: { image: wiki, network_mode: host } } }
  plex: { on: docker-01, expose: lan, port: "app:32400", containers: { app: { image: plexinc/pms-docker, network_mode: host } } }
  films:
    on: docker-01
    tier: production
    containers:
      app: { image: jellyfin/jellyfin, network_mode: host }
      db: { image: "postgres:16", network_mode: host }
      side: { image: "redis:7", network_mode: bridge }
  home: { on: docker-01, containers: { app: { image: "ghcr.io/home-assistant/home-assistant:2026.3", network_mode: host } } }
  meter: { on: docker-01, containers: { app: { image: "prom/node-exporter@sha256:0", network_mode: host } } }
  shop:
    on: docker-01
    containers: { app: { image: shop, network_mode: host } }
    environments: { dev: {}, prod: { containers: { app: { image: shop, network_mode: host } } } }
"#,
            expect![[r#"
                6:116 advice LW-NET-008: container `app` of `wiki` is on its host's network
                    help: take `network_mode` out, and publish the port it needs: `ports: ["127.0.0.1:3000:3000"]`
                7:120 advice LW-NET-008: container `app` of `plex` is on its host's network
                    help: take `network_mode` out, and publish the port it needs: `ports: ["32400:32400"]`
                12:54 warning LW-NET-008: container `app` of `films` is on its host's network
                    help: take `network_mode` out, and publish the port it needs: `ports: ["PORT:PORT"]`
                    13:49: so is `db`
                19:53 advice LW-NET-008: container `app` of `shop` is on its host's network
                    help: take `network_mode` out, and publish the port it needs: `ports: ["PORT:PORT"]`
                    20:86: so is `app`
            "#]],
        );
    }
}
