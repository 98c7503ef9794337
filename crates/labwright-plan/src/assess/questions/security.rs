//! Do I understand its security model?

use std::collections::BTreeSet;
use std::net::IpAddr;

use labwright_model::compose::service::NetworkMode;
use labwright_model::lab::{Access, Expose};

use super::{Asked, Points, either};
use crate::check::containers::containers;
use crate::check::is_public;

pub fn points(asked: &Asked) -> Points {
    let mut points = Points::default();
    let entry = asked.entry();
    if let Some(vendor) = asked.vendor() {
        points.must(Ok(format!("{vendor} answers for it")));
        points.should(either(
            entry.description.is_some(),
            "what it is for is written down",
            "write down what it holds and who may log in: `description:`",
        ));
        return points;
    }
    let hosts = asked.hosts();
    let zones: BTreeSet<&str> = hosts
        .iter()
        .filter_map(|host| asked.topology.host(host)?.zone.as_ref())
        .map(|zone| zone.value.as_str())
        .collect();
    let outside: Vec<&str> =
        hosts.iter().copied().filter(|host| asked.topology.host(host).is_none_or(|host| host.zone.is_none())).collect();
    if entry.external.is_none() {
        points.must(either(
            !hosts.is_empty() && outside.is_empty(),
            match hosts.iter().all(|host| asked.topology.is_enforced(host)) {
                true => format!("it is in {}; what no flow allows is denied", zone_words(&zones)),
                false => {
                    format!("it is in {}; the flows are declared, and not enforced by its host", zone_words(&zones))
                }
            },
            match outside.is_empty() {
                true => "say where it runs: `on: HOST`".to_string(),
                false => format!("put {} in a zone: `zone: NAME`", crate::blast::listed(&outside)),
            },
        ));
    }
    if entry.external.is_some() && hosts.is_empty() {
        points.should(Err(
            "describe the rented machine as a host in a zone, so that the flows to it are declared".to_string()
        ));
    }
    points.should(exposure(asked));
    let ends = hosts.iter().copied().chain(zones.iter().copied()).chain([asked.placement.service.as_str()]);
    let led = asked.flows.to(ends.collect::<BTreeSet<_>>());
    points.should(match (led.wide_open, led.without_reason, led.all) {
        (_, _, 0) => Ok("no flow leads to it".to_string()),
        (0, 0, all) => Ok(format!("every flow that leads to it has its reason ({all})")),
        (0, n, all) if n == all => Err("give the flows that lead to it a reason: `because:`".to_string()),
        (0, n, all) => Err(format!("give a reason to {n} of the {all} flows that lead to it: `because:`")),
        (n, _, _) => Err(format!(
            "narrow what {n} of the flows that lead to it let through, or say why it is all: `allow:`, `because:`"
        )),
    });
    if entry.compose.is_some() && asked.topology.parsed.project(asked.placement).is_none() {
        points.should(Err(
            "look into its Compose file: it could not be read, and may open ports or the host of its own accord"
                .to_string(),
        ));
    }
    let loose = loose(asked);
    if !entry.containers.0.is_null() {
        points.should(either(
            loose.is_empty(),
            "its containers keep to themselves",
            format!("keep its containers to themselves: {}", loose.join(", ")),
        ));
    }
    let clear = clear_secrets(asked);
    points.should(either(
        clear.is_empty(),
        "no password or token stands in the file",
        format!(
            "keep {} in the secrets store: `${{secret.NAME}}`",
            crate::blast::listed(&clear.iter().copied().collect::<Vec<_>>())
        ),
    ));
    points
}

fn zone_words(zones: &BTreeSet<&str>) -> String {
    let names: Vec<&str> = zones.iter().copied().collect();
    format!("{} {}", if names.len() == 1 { "zone" } else { "zones" }, crate::blast::listed(&names))
}

fn exposure(asked: &Asked) -> Result<String, String> {
    match asked.entry().expose {
        Expose::Nowhere => match (published(asked), outside(asked)) {
            (Some(port), Some(host)) => Err(format!(
                "take `{port}` off the public address of `{host}`: publish it on `127.0.0.1`, or leave it out"
            )),
            (Some(port), None) => Ok(format!("`{port}` is open on its host, for whom the flows let in")),
            (None, _) => Ok("only services that need it reach it".to_string()),
        },
        Expose::Lan => Ok("people reach it from the lab's own zones".to_string()),
        Expose::Vpn => Ok("people reach it over the VPN".to_string()),
        Expose::Public => {
            let public = asked.topology.parsed.lab.edge.public.as_ref();
            let cloudflare = public.and_then(|public| public.cloudflare.as_ref());
            let names =
                || asked.entry().url.iter().map(|url| url.value.as_str()).chain([asked.placement.service.as_str()]);
            let covered = cloudflare.is_some_and(|cloudflare| {
                let covers = cloudflare.access.values().flat_map(|policy| policy.covers.iter());
                covers.into_iter().any(|covered| names().any(|name| name == covered.value))
            });
            if asked.entry().access == Access::Everyone && !covered {
                return Ok("the internet reaches it, and it is meant for everyone".to_string());
            }
            either(
                covered,
                "the internet reaches it, and an access policy says who",
                "say who on the internet may reach it: an `access` policy under `edge.public.cloudflare` that `covers` it, or `access: everyone`",
            )
        }
    }
}

/// The first port that its containers publish for more than their own host.
fn published(asked: &Asked) -> Option<String> {
    let project = asked.topology.parsed.project(asked.placement)?;
    let mut ports = project.enabled().flat_map(|(_, service)| service.ports.iter());
    let inner = |address: &str| address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let open = ports
        .find(|port| port.published.is_some() && !port.host_ip.as_ref().is_some_and(|address| inner(&address.value)))?;
    open.published.as_ref().map(|outside| format!("{}:{}", outside.value, open.target))
}

/// The first of its hosts that has an address on the internet.
fn outside<'a>(asked: &Asked<'a>) -> Option<&'a str> {
    let public = |name: &&str| {
        let host = asked.topology.host(name);
        host.is_some_and(|host| host.address.iter().any(|address| is_public(&address.value)))
    };
    asked.hosts().into_iter().find(public)
}

/// What lets a container out of its own room.
fn loose(asked: &Asked) -> Vec<String> {
    let mut out = Vec::new();
    for container in containers(asked.topology.parsed, asked.placement) {
        let name = container.name;
        if container.network_mode() == Some(&NetworkMode::Host) {
            out.push(format!("`{name}` is on the host's own network"));
        }
        if container.says.value.privileged.0 {
            out.push(format!("`{name}` is privileged"));
        }
        if container.mounts_docker() {
            out.push(format!("`{name}` may command Docker"));
        }
    }
    out
}

/// Variables that hold a secret, as `check` tells it (LW-PLT-005), whose value stands in the file.
fn clear_secrets<'a>(asked: &Asked<'a>) -> BTreeSet<&'a str> {
    let run = asked.entry().run.iter().flat_map(|run| &run.environment);
    let own = run.map(|(name, value)| (name.as_str(), value.as_str()));
    let all = containers(asked.topology.parsed, asked.placement);
    let contained = all.collect::<Vec<_>>().into_iter().flat_map(|container| container.environment());
    own.chain(contained)
        .filter(|(name, value)| crate::check::secret_in_the_clear(name, value).is_some())
        .map(|(name, _)| name)
        .collect()
}
