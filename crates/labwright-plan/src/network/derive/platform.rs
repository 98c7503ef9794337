//! What follows from the platform: who watches whom, what is mounted from where, and which Vault opens which.

use std::collections::BTreeMap;

use labwright_model::lab::Os;

use super::way;
use crate::mounted::{Protocol, bare, over_network, shares};
use crate::network::allowed::Allowed;
use crate::network::matrix::{Matrix, Why};
use crate::network::parties::End;

/// Prometheus' node exporter.
const NODE_EXPORTER: u16 = 9100;

/// From whoever watches to what is watched, and to whoever is told.
pub fn watching(matrix: &mut Matrix<'_>) {
    let lab = matrix.parties.lab();
    let Some(monitoring) = &lab.platform.monitoring else { return };
    let watchers: Vec<(usize, &labwright_model::Spanned<String>)> =
        monitoring.on.iter().filter_map(|on| Some((matrix.parties.host(on)?, on))).collect();
    for (watcher, on) in watchers {
        let from = End::Host(watcher);
        for host in 0..matrix.parties.hosts.len() {
            let entry = matrix.parties.hosts[host].entry;
            // What comes and goes, and what the lab runs nothing on, is not watched from inside.
            if entry.intermittent || entry.local || entry.os == Os::Other {
                continue;
            }
            let reason = format!("`{}` watches `{}`", on.value, matrix.parties.hosts[host].name);
            let allowed = Allowed::tcp([NODE_EXPORTER]);
            matrix.derive(way(from, End::Host(host), allowed, Why::Watching, reason, on.span));
        }
        for (scrape, entry) in monitoring.scrape.iter() {
            let mut by_host: BTreeMap<End, (Allowed, labwright_model::Span)> = BTreeMap::new();
            for target in entry.targets.iter() {
                let Some((host, port)) = target.rsplit_once(':') else { continue };
                let Ok(port) = port.parse::<u16>() else { continue };
                let to = matrix.known(host.trim_matches(['[', ']'])).unwrap_or(End::Internet);
                let known = by_host.entry(to).or_insert_with(|| (Allowed::default(), target.span));
                known.0.extend(&Allowed::tcp([port]));
            }
            for (to, (allowed, span)) in by_host {
                let reason = format!("`{}` scrapes `{scrape}`", on.value);
                matrix.derive(way(from, to, allowed, Why::Watching, reason, span));
            }
        }
        if !monitoring.notify.is_empty() {
            let span = monitoring.notify.values().next().map_or(on.span, |receiver| receiver.span);
            let reason = "alerts leave the lab";
            matrix.derive(way(from, End::Internet, Allowed::tcp([443]), Why::Watching, reason, span));
        }
        probes(matrix, watcher, on);
    }
}

/// Probes take the way that people take: by name at the proxy, or to the address that they say.
fn probes(matrix: &mut Matrix<'_>, watcher: usize, on: &labwright_model::Spanned<String>) {
    let parsed = matrix.parties.parsed;
    let proxies = matrix.hosts_named(parsed.lab.platform.reverse_proxy.iter().flat_map(|proxy| proxy.on.iter()));
    for placement in &parsed.placements {
        let service = &placement.entry;
        let Some(probe) = &service.probe else { continue };
        let reason = format!("`{}` asks `{}` whether it is well", on.value, placement.service);
        let span = probe.url.as_ref().or(probe.path.as_ref()).map_or(on.span, |probe| probe.span);
        if let Some((to, port)) = probe.url.as_ref().and_then(|url| asked(matrix, url)) {
            matrix.derive(way(End::Host(watcher), to, Allowed::tcp([port]), Why::Watching, reason, span));
        } else if !service.url.is_empty() && probe.url.is_none() {
            for proxy in &proxies {
                let allowed = Allowed::tcp([443]);
                matrix.derive(way(End::Host(watcher), End::Host(*proxy), allowed, Why::Watching, reason.clone(), span));
            }
        }
    }
}

/// The host of the lab and the port that a probe connects to.
fn asked(matrix: &Matrix<'_>, url: &str) -> Option<(End, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None if scheme == "https" => (authority, 443),
        None if scheme == "http" => (authority, 80),
        None => return None,
    };
    Some((matrix.known(host.trim_matches(['[', ']']))?, port))
}

/// File systems that come over the network.
pub fn mounts(matrix: &mut Matrix<'_>) {
    for host in matrix.ours() {
        let (entry, name) = (matrix.parties.hosts[host].entry, matrix.parties.hosts[host].name);
        for share in over_network(entry) {
            let Some(allowed) = allowed(share.protocol) else { continue };
            let to = matrix.known(bare(share.server)).unwrap_or(End::Internet);
            let reason = format!("`{name}` mounts `{}` from there", share.path);
            matrix.derive(way(End::Host(host), to, allowed, Why::Mount, reason, share.span));
        }
    }
    let parsed = matrix.parties.parsed;
    for placement in &parsed.placements {
        for share in shares(parsed, placement) {
            let Some(allowed) = allowed(share.protocol) else { continue };
            let to = matrix.known(bare(share.server)).unwrap_or(End::Internet);
            for on in placement.entry.on.iter() {
                let Some(host) = matrix.parties.host(on).filter(|host| End::Host(*host) != to) else { continue };
                let (volume, service) = (share.path, &placement.service);
                let reason = format!("`{}` mounts volume `{volume}` of `{service}` from there", on.value);
                matrix.derive(way(End::Host(host), to, allowed.clone(), Why::Mount, reason, share.span));
            }
        }
    }
}

/// What a mount has to get through. NFS is let through over UDP too, which its version 3 may use.
fn allowed(protocol: Protocol) -> Option<Allowed> {
    match protocol {
        Protocol::Nfs => Some(Allowed::both(2049)),
        other => other.port().map(|port| Allowed::tcp([port])),
    }
}

/// The Vault, and the one that unseals it.
pub fn vault(matrix: &mut Matrix<'_>) {
    let Some(vault) = matrix.parties.lab().platform.secrets.as_ref().and_then(|secrets| secrets.vault.as_ref()) else {
        return;
    };
    let Some((on, with)) = vault.on.as_ref().zip(vault.with.as_ref()) else { return };
    let Some((on_host, with_host)) = matrix.parties.host(on).zip(matrix.parties.host(with)) else { return };
    let reason = format!("the Vault on `{}` unseals the one on `{}`", with.value, on.value);
    matrix.derive(way(End::Host(on_host), End::Host(with_host), Allowed::tcp([8200]), Why::Needs, reason, with.span));
}
