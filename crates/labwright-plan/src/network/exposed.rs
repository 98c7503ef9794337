//! `exposed`: everything that can be reached from the internet, from the VPN, and by guests and devices; and why.

use std::collections::BTreeSet;

use labwright_model::lab::Expose;
use serde::Serialize;

use super::allowed::Allowed;
use super::answer::Told;
use super::matrix::{Matrix, Why};
use super::parties::Party;
use crate::check::network::reach::wireguard_zone;
use crate::check::network::zone_kind::ZoneKind;

/// What one kind of stranger can reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exposed {
    /// `internet`, or the zone's name.
    pub from: String,
    /// `internet`, `vpn`, `guest`, `iot`.
    pub kind: &'static str,
    pub reaches: Vec<Reached>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reached {
    pub to: String,
    pub allows: Allowed,
    pub because: Vec<Told>,
    /// Services that are led to from there by name.
    pub services: Vec<String>,
    /// Whether anything on the way denies the rest.
    pub enforced: bool,
}

/// Everybody from outside the lab's own trust, the farthest first.
pub fn exposed(matrix: &Matrix<'_>) -> Vec<Exposed> {
    let parties = &matrix.parties;
    let mut sources = vec![(Party::Internet, "internet", "internet".to_string(), Expose::Public)];
    for (kind, word, scope) in [
        (ZoneKind::Vpn, "vpn", Expose::Vpn),
        (ZoneKind::Guest, "guest", Expose::Public),
        (ZoneKind::Iot, "iot", Expose::Public),
    ] {
        for (number, zone) in parties.zones.iter().enumerate().filter(|(_, zone)| zone.kind == Some(kind)) {
            sources.push((Party::Device(number), word, zone.name.to_string(), scope));
        }
    }
    let of = |(from, kind, name, scope): (Party, &'static str, String, Expose)| {
        let mut reaches: Vec<Reached> = Vec::new();
        for to in matrix.everybody().into_iter().filter(|to| *to != Party::Internet) {
            let allows = matrix.open(from, to);
            if !allows.is_empty() {
                let because = matrix.working(from, to).into_iter().map(|grant| matrix.told(grant)).collect();
                let services = led_to(matrix, to, &allows, scope);
                let enforced = matrix.is_enforced(from, to);
                reaches.push(Reached { to: parties.party_name(to), allows, because, services, enforced });
            }
        }
        if from == Party::Internet {
            reaches.extend(tunnelled(matrix));
        }
        Exposed { from: name, kind, reaches }
    };
    let mut all: Vec<Exposed> = sources.into_iter().map(of).collect();
    // A VPN that is no zone stands in no flow, so no firewall lets it anywhere; that it is there is told all the same.
    let lab = parties.lab();
    if let Some(wireguard) = lab.edge.vpn.as_ref().and_then(|vpn| vpn.wireguard.as_ref())
        && wireguard_zone(lab).is_none()
    {
        let from = format!("WireGuard `{}`, which is no zone", wireguard.interface.value);
        all.insert(1, Exposed { from, kind: "vpn", reaches: Vec::new() });
    }
    all
}

/// Services whose names lead to the proxy on this host, where its ports are open.
fn led_to(matrix: &Matrix<'_>, to: Party, allows: &Allowed, scope: Expose) -> Vec<String> {
    let Party::Host(host) = to else { return Vec::new() };
    let lab = matrix.parties.lab();
    let name = matrix.parties.hosts[host].name;
    let web = allows.any || allows.tcp.contains(443) || allows.tcp.contains(80);
    let proxy = lab.platform.reverse_proxy.iter().flat_map(|proxy| proxy.on.iter()).any(|on| on.value == name);
    if !(web && proxy) {
        return Vec::new();
    }
    let placements = matrix.parties.parsed.placements.iter();
    let named = placements.filter(|one| one.entry.expose == scope && !one.entry.url.is_empty());
    let names: BTreeSet<&str> = named.map(|one| one.service.as_str()).collect();
    names.into_iter().map(str::to_string).collect()
}

/// What the internet reaches although nothing of the lab listens to it: through the tunnel, which goes out.
fn tunnelled(matrix: &Matrix<'_>) -> Vec<Reached> {
    let lab = matrix.parties.lab();
    let cloudflare = lab.edge.public.as_ref().and_then(|public| public.cloudflare.as_ref());
    let Some((cloudflare, on)) = cloudflare.and_then(|one| Some((one, one.tunnel.as_ref()?.on.as_ref()?))) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    let placements = matrix.parties.parsed.placements.iter();
    for placement in placements.filter(|one| one.entry.expose == Expose::Public && one.entry.external.is_none()) {
        let name = placement.service.as_str();
        let span = matrix.parties.parsed.span_of(&["services", name, "expose"]);
        let told = Told {
            from: "internet".to_string(),
            to: on.value.clone(),
            allows: Allowed::tcp([443]),
            why: Why::Tunnel,
            because: format!("`{name}` is exposed to the internet, through the tunnel on `{}`", on.value),
            place: matrix.place(span),
        };
        all.push(Reached {
            to: format!("{name}, through the tunnel"),
            allows: Allowed::tcp([443]),
            because: vec![told],
            services: vec![name.to_string()],
            enforced: true,
        });
    }
    for (name, port) in cloudflare.ports.iter() {
        let mut allows = Allowed::default();
        allows.add(&port.port.value);
        let told = Told {
            from: "internet".to_string(),
            to: port.to.value.clone(),
            allows: allows.clone(),
            why: Why::Tunnel,
            because: format!("`{name}`: the edge hands it on to `{}`", port.to.value),
            place: matrix.place(port.port.span),
        };
        all.push(Reached {
            to: format!("{}, through the edge", port.to.value),
            allows,
            because: vec![told],
            services: vec![port.to.value.clone()],
            enforced: true,
        });
    }
    all
}
