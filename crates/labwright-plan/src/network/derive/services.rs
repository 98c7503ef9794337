//! What follows from services: from where they can be reached, what they need, and where their copies go.

use std::collections::BTreeMap;

use labwright_model::lab::{Expose, Repository};
use labwright_model::{Placement, Span};

use super::{listed, way};
use crate::check::network::reach::Placed;
use crate::check::network::zone_kind::ZoneKind;
use crate::network::allowed::Allowed;
use crate::network::matrix::{Matrix, Why};
use crate::network::parties::{End, Party};
use crate::network::ports;

/// From the zones that a service is exposed to, to it, or to the proxy or tunnel in front of it, and from there to it.
pub fn exposed(matrix: &mut Matrix<'_>) {
    let lab = matrix.parties.lab();
    let parsed = matrix.parties.parsed;
    let proxies = matrix.hosts_named(lab.platform.reverse_proxy.iter().flat_map(|proxy| proxy.on.iter()));
    let cloudflare = lab.edge.public.as_ref().and_then(|public| public.cloudflare.as_ref());
    let tunnel = cloudflare.and_then(|cloudflare| cloudflare.tunnel.as_ref()?.on.as_ref());
    let tunnel_host = tunnel.and_then(|on| matrix.parties.host(on));
    let mut doors: BTreeMap<Expose, (Vec<&str>, Span)> = BTreeMap::new();
    for placement in &parsed.placements {
        let (name, service) = (placement.service.as_str(), &placement.entry);
        if service.expose == Expose::Nowhere || service.external.is_some() {
            continue;
        }
        let span = parsed.span_of(&["services", name, "expose"]);
        let homes = matrix.hosts_named(service.on.iter());
        let proxied = !service.url.is_empty() && !proxies.is_empty();
        let allowed = ports::web(parsed, placement);
        if allowed.is_empty() && !homes.is_empty() {
            // On one machine nothing is in between, and where a flow lets something through the port is somebody's decision.
            let decided = |home: &usize| {
                let open = |proxy: &usize| {
                    proxy == home
                        || !matrix
                            .between(Party::Host(*proxy), Party::Host(*home))
                            .minus(&Allowed::tcp([22]))
                            .is_empty()
                };
                proxied && proxies.iter().any(open)
            };
            if !homes.iter().all(decided) {
                let what = if proxied { "the reverse proxy leads to it" } else { "it is exposed" };
                matrix.portless.push((name.to_string(), span, what.to_string()));
            }
        }
        if proxied {
            let door = doors.entry(service.expose).or_insert_with(|| (Vec::new(), span));
            if !door.0.contains(&name) {
                door.0.push(name);
            }
        }
        for home in &homes {
            if proxied {
                for proxy in &proxies {
                    let reason = format!("the reverse proxy leads to `{name}`");
                    matrix.derive(way(
                        End::Host(*proxy),
                        End::Host(*home),
                        allowed.clone(),
                        Why::Upstream,
                        reason,
                        span,
                    ));
                }
            }
            if let Some(tunnel) = tunnel_host.filter(|_| service.expose == Expose::Public && !proxied) {
                let reason = format!("the tunnel leads to `{name}`");
                matrix.derive(way(End::Host(tunnel), End::Host(*home), allowed.clone(), Why::Tunnel, reason, span));
            }
        }
        if !proxied {
            for from in open_to(matrix, service.expose, tunnel_host.is_some()) {
                for home in &homes {
                    let reason = format!("`{name}` is exposed to {}", scope(service.expose));
                    matrix.derive(way(from, End::Host(*home), allowed.clone(), Why::Exposed, reason, span));
                }
            }
        }
    }
    for (expose, (names, span)) in doors {
        for proxy in &proxies {
            for from in open_to(matrix, expose, tunnel_host.is_some()) {
                let be = if names.len() == 1 { "is" } else { "are" };
                let reason = format!("{} {be} exposed to {}, behind the reverse proxy", listed(&names), scope(expose));
                matrix.derive(way(from, End::Host(*proxy), Allowed::tcp([80, 443]), Why::Exposed, reason, span));
            }
            if let Some(tunnel) = tunnel_host.filter(|_| expose == Expose::Public) {
                let reason = "the tunnel hands requests to the reverse proxy";
                matrix.derive(way(
                    End::Host(tunnel),
                    End::Host(*proxy),
                    Allowed::tcp([80, 443]),
                    Why::Tunnel,
                    reason,
                    span,
                ));
            }
        }
    }
    if let (Some(host), Some(on)) = (tunnel_host, tunnel) {
        let mut allowed = Allowed::both(7844);
        allowed.extend(&Allowed::tcp([443]));
        let reason = "the tunnel goes out to Cloudflare; nothing comes in";
        matrix.derive(way(End::Host(host), End::Internet, allowed, Why::Tunnel, reason, on.span));
    }
    edge_ports(matrix, tunnel_host);
}

/// What is no web page: the edge hands it to the tunnel's host, which hands it on.
fn edge_ports(matrix: &mut Matrix<'_>, tunnel: Option<usize>) {
    let cloudflare = matrix.parties.lab().edge.public.as_ref().and_then(|public| public.cloudflare.as_ref());
    let Some((cloudflare, tunnel)) = cloudflare.zip(tunnel) else { return };
    for port in cloudflare.ports.values() {
        let mut allowed = Allowed::default();
        allowed.add(&port.port.value);
        for home in matrix.homes(&port.to) {
            let reason = format!("the edge hands `{}` on to `{}`", port.port.value, port.to.value);
            matrix.derive(way(End::Host(tunnel), home, allowed.clone(), Why::Tunnel, reason, port.port.span));
        }
    }
}

fn open_to(matrix: &Matrix<'_>, expose: Expose, tunnel: bool) -> Vec<End> {
    match expose {
        Expose::Nowhere => Vec::new(),
        Expose::Lan => matrix.user_zones().into_iter().map(End::Zone).collect(),
        Expose::Vpn => matrix.zones_of_kind(ZoneKind::Vpn).into_iter().map(End::Zone).collect(),
        Expose::Public if tunnel => Vec::new(),
        Expose::Public => vec![End::Internet],
    }
}

fn scope(expose: Expose) -> &'static str {
    match expose {
        Expose::Nowhere => "nobody",
        Expose::Lan => "the zones that people are in",
        Expose::Vpn => "the VPN",
        Expose::Public => "the internet",
    }
}

/// What a service needs on another host, or the service that its traffic leaves through.
pub fn needs(matrix: &mut Matrix<'_>) {
    let parsed = matrix.parties.parsed;
    let placed = Placed::of(&parsed.placements);
    let proxies = matrix.hosts_named(parsed.lab.platform.reverse_proxy.iter().flat_map(|proxy| proxy.on.iter()));
    for Placement { service: name, entry, environment } in &parsed.placements {
        let homes = matrix.hosts_named(entry.on.iter());
        for need in entry.needs.iter().chain(&entry.egress) {
            for there in placed.seen_from(environment.as_deref(), need) {
                let targets = matrix.hosts_named(there.entry.on.iter());
                let far: Vec<(usize, usize)> = homes
                    .iter()
                    .flat_map(|from| targets.iter().map(move |to| (*from, *to)))
                    .filter(|(from, to)| from != to)
                    .collect();
                let allowed = ports::of(parsed, there);
                let by_name = allowed.is_empty() && !there.entry.url.is_empty() && !proxies.is_empty();
                let reason = format!("`{name}` needs `{}`", need.value);
                if by_name {
                    for (from, proxy) in homes.iter().flat_map(|from| proxies.iter().map(move |proxy| (*from, *proxy)))
                    {
                        let reason = format!("{reason}, by its name at the reverse proxy");
                        let https = Allowed::tcp([443]);
                        matrix.derive(way(End::Host(from), End::Host(proxy), https, Why::Needs, reason, need.span));
                    }
                } else if allowed.is_empty() && !far.is_empty() {
                    matrix.portless.push((there.service.clone(), need.span, format!("`{name}` needs it")));
                }
                for (from, to) in far {
                    let allowed = allowed.clone();
                    matrix.derive(way(End::Host(from), End::Host(to), allowed, Why::Needs, reason.clone(), need.span));
                }
            }
        }
    }
}

/// From every host whose data is copied to where the copies are kept.
pub fn backups(matrix: &mut Matrix<'_>) {
    let parsed = matrix.parties.parsed;
    let protection = &parsed.lab.protection;
    let of_services = parsed.placements.iter().filter_map(|placement| {
        let policy = placement.entry.backup.as_ref()?.policy.as_ref()?;
        Some((placement.service.as_str(), matrix.hosts_named(placement.entry.on.iter()), policy))
    });
    let of_hosts = (0..matrix.parties.hosts.len()).filter_map(|host| {
        let party = &matrix.parties.hosts[host];
        Some((party.name, vec![host], party.entry.backup.as_ref()?))
    });
    let mut all: BTreeMap<(usize, &str), (Vec<&str>, Span)> = BTreeMap::new();
    for (name, homes, policy) in of_services.chain(of_hosts) {
        let Some(policy_entry) = protection.policies.get(&policy.value) else { continue };
        for to in policy_entry.to.iter() {
            for home in &homes {
                let (names, _) = all.entry((*home, to.value.as_str())).or_insert_with(|| (Vec::new(), policy.span));
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
    }
    for ((home, repository), (names, span)) in all {
        let Some(entry) = protection.repositories.get(repository) else { continue };
        let Some((to, allowed)) = kept_at(matrix, &entry.value) else { continue };
        let reason = format!("copies of {} go to repository `{repository}`", listed(&names));
        matrix.derive(way(End::Host(home), to, allowed, Why::Backup, reason, span));
    }
}

/// Where a repository is, and what it is spoken to over.
fn kept_at(matrix: &Matrix<'_>, repository: &Repository) -> Option<(End, Allowed)> {
    if let Some(on) = &repository.on {
        let host = matrix.parties.host(on)?;
        return Some((End::Host(host), Allowed::tcp([matrix.parties.hosts[host].ssh_port])));
    }
    let url = repository.url.as_ref()?.value.as_str();
    let url = ["s3:", "rest:", "swift:", "b2:", "azure:", "gs:"]
        .iter()
        .find_map(|kind| url.strip_prefix(kind))
        .unwrap_or(url);
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let authority = rest.split('/').next().unwrap_or(rest).rsplit('@').next().unwrap_or(rest);
    let (host, port) = authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, port.parse().ok()));
    let port = port.unwrap_or(match scheme {
        "http" => 80,
        "sftp" | "ssh" => 22,
        _ => 443,
    });
    Some((matrix.known(host).unwrap_or(End::Internet), Allowed::tcp([port])))
}
