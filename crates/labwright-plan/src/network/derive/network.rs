//! What every machine asks for: names, the time, an address; and the ways of whoever administers it.

use labwright_model::Span;
use labwright_model::lab::Firewall;

use super::{listed, way};
use crate::check::network::zone_kind::ZoneKind;
use crate::network::allowed::Allowed;
use crate::network::matrix::{Matrix, Why};
use crate::network::parties::{End, Party};

/// Resolvers for everybody, and what those ask themselves. Without any, the router and the internet.
pub fn names(matrix: &mut Matrix<'_>) {
    let lab = matrix.parties.lab();
    let everywhere = matrix.everywhere();
    let Some(dns) = lab.platform.dns.as_ref().filter(|dns| !dns.on.is_empty()) else {
        let router = matrix.parties.router;
        for from in everywhere {
            let span = Span::NONE;
            if let Some(router) = router {
                let reason = "no resolver is declared, and routers answer for names";
                matrix.derive(way(from, End::Host(router), Allowed::both(53), Why::Names, reason, span));
            }
            let reason = "no resolver is declared, so names are asked for on the internet";
            matrix.derive(way(from, End::Internet, Allowed::both(53), Why::Names, reason, span));
        }
        return;
    };
    for on in dns.on.iter() {
        let Some(resolver) = matrix.parties.host(on) else { continue };
        for from in &everywhere {
            let reason = format!("`{}` answers for names", on.value);
            matrix.derive(way(*from, End::Host(resolver), Allowed::both(53), Why::Names, reason, on.span));
        }
        for upstream in dns.upstream.iter() {
            let (allowed, host) = asked(upstream);
            let to = matrix.known(host).unwrap_or(End::Internet);
            let reason = format!("`{}` asks `{}` for other names", on.value, upstream.value);
            matrix.derive(way(End::Host(resolver), to, allowed, Why::Names, reason, upstream.span));
        }
        if dns.upstream.is_empty() {
            let reason = format!("`{}` asks for other names on the internet", on.value);
            matrix.derive(way(End::Host(resolver), End::Internet, Allowed::both(53), Why::Names, reason, on.span));
        }
        if dns.block.iter().any(|list| list.starts_with("http")) {
            let reason = format!("`{}` fetches its blocklists", on.value);
            let allowed = Allowed::tcp([80, 443]);
            matrix.derive(way(End::Host(resolver), End::Internet, allowed, Why::Names, reason, on.span));
        }
    }
}

/// What an upstream is asked over, and the host in it: `tls://9.9.9.9`, `https://…/dns-query`, or an address.
fn asked(upstream: &str) -> (Allowed, &str) {
    let (scheme, rest) = upstream.split_once("://").unwrap_or(("", upstream));
    let authority = rest.split(['/', '#', '?']).next().unwrap_or(rest);
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, after)) => (host, after.strip_prefix(':')),
        None if authority.matches(':').count() > 1 => (authority, None),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = port.and_then(|port| port.parse::<u16>().ok());
    let allowed = match scheme {
        "tls" => Allowed::tcp([port.unwrap_or(853)]),
        "quic" => Allowed::udp([port.unwrap_or(853)]),
        "https" | "h3" => {
            let mut allowed = Allowed::tcp([port.unwrap_or(443)]);
            allowed.extend(&Allowed::udp(std::iter::once(443).filter(|_| scheme == "h3")));
            allowed
        }
        "tcp" => Allowed::tcp([port.unwrap_or(53)]),
        _ => Allowed::both(port.unwrap_or(53)),
    };
    (allowed, host)
}

impl Matrix<'_> {
    /// The host that a name or an address is, if it is the lab's.
    pub(super) fn known(&self, name: &str) -> Option<End> {
        if let Ok(address) = name.parse() {
            return match self.parties.who(address) {
                Party::Internet => None,
                Party::Device(zone) => Some(End::Zone(zone)),
                Party::Host(host) => Some(End::Host(host)),
            };
        }
        let domain = format!(".{}", self.parties.lab().domain.value);
        self.parties.host(name.strip_suffix(domain.as_str()).unwrap_or(name)).map(End::Host)
    }
}

pub fn time(matrix: &mut Matrix<'_>) {
    // A device on the VPN has an internet of its own; a host of the lab that is nowhere else asks through it.
    let vpn = matrix.zones_of_kind(ZoneKind::Vpn);
    let far = (0..matrix.parties.hosts.len())
        .filter(|host| {
            let zones = &matrix.parties.hosts[*host].zones;
            !zones.is_empty() && zones.iter().all(|zone| vpn.contains(zone))
        })
        .map(End::Host);
    let at_home = matrix.everywhere().into_iter().filter(|end| !matches!(end, End::Zone(zone) if vpn.contains(zone)));
    for from in at_home.chain(far).collect::<Vec<_>>() {
        let reason = "every clock is set from the internet";
        matrix.derive(way(from, End::Internet, Allowed::udp([123]), Why::Time, reason, Span::NONE));
    }
}

/// The router gives out addresses, and tells who may not pass that it may not.
pub fn addresses(matrix: &mut Matrix<'_>) {
    let Some(router) = matrix.parties.router else { return };
    let span = matrix.parties.lab().edge.router.as_ref().and_then(|on| on.on.as_ref()).map_or(Span::NONE, |on| on.span);
    for zone in 0..matrix.parties.zones.len() {
        // A VPN gives its addresses out by itself.
        let vpn = matrix.parties.zones[zone].kind == Some(ZoneKind::Vpn);
        let mut allowed = if vpn { Allowed::default() } else { Allowed::udp([67]) };
        allowed.ping = true;
        let reason = match vpn {
            true => "the router answers whether it is there",
            false => "the router gives out addresses, and answers whether it is there",
        };
        matrix.derive(way(End::Zone(zone), End::Host(router), allowed, Why::Addresses, reason, span));
    }
}

pub fn vpn(matrix: &mut Matrix<'_>) {
    let lab = matrix.parties.lab();
    let Some(vpn) = &lab.edge.vpn else { return };
    if let Some(wireguard) = &vpn.wireguard {
        let span = matrix.parties.parsed.span_of(&["edge", "vpn"]);
        let on = wireguard.on.as_ref().and_then(|on| matrix.parties.host(on)).or(matrix.parties.router);
        if let Some(on) = on {
            let allowed = Allowed::udp([wireguard.port]);
            let reason = "WireGuard listens there";
            matrix.derive(way(End::Internet, End::Host(on), allowed.clone(), Why::Vpn, reason, span));
            for zone in matrix.user_zones() {
                matrix.derive(way(End::Zone(zone), End::Host(on), allowed.clone(), Why::Vpn, reason, span));
            }
        }
    }
    if let Some(tailscale) = &vpn.tailscale {
        let span = matrix.parties.parsed.span_of(&["edge", "vpn"]);
        let named = matrix.hosts_named(tailscale.on.iter());
        let carried = |host: &usize| {
            let mut zones = matrix.parties.hosts[*host].zones.iter().map(|zone| matrix.parties.zones[*zone].entry);
            zones.any(|zone| zone.interface.as_ref().is_some_and(|interface| interface.starts_with("tailscale")))
        };
        let hosts = match named.is_empty() {
            true => (0..matrix.parties.hosts.len()).filter(carried).collect(),
            false => named,
        };
        for host in hosts {
            // Control and relays over HTTPS, their search for a direct way, and peers on Tailscale's own port.
            let mut allowed = Allowed::tcp([443]);
            allowed.extend(&Allowed::udp([3478, 41641]));
            let reason = "Tailscale's control server, relays and peers";
            matrix.derive(way(End::Host(host), End::Internet, allowed, Why::Vpn, reason, span));
        }
    }
}

/// What the tailnet opens behind a subnet router comes from the subnet router's own address, unless it was told otherwise
/// (`--snat-subnet-routes`): https://tailscale.com/kb/1019/subnets.
pub fn behind_tailnet(matrix: &mut Matrix<'_>) {
    let span = matrix.parties.parsed.span_of(&["edge", "vpn"]);
    for (host, zone) in matrix.parties.subnet_routers.clone() {
        let own = [End::Internet, End::Host(host), End::Zone(zone)];
        let asked = |why: Why| !matches!(why, Why::Names | Why::Time | Why::Addresses | Why::Hairpin);
        let ways = matrix.grants.iter().filter(|one| one.from == End::Zone(zone) && asked(one.why));
        let ways: Vec<(End, Allowed)> =
            ways.filter(|one| !own.contains(&one.to)).map(|one| (one.to, one.allowed.clone())).collect();
        for (to, allowed) in ways {
            let name = matrix.parties.zones[zone].name;
            let reason = format!("what `{name}` opens there comes from its subnet router's own address");
            matrix.derive(way(End::Host(host), to, allowed, Why::Vpn, reason, span));
        }
    }
}

/// SSH: from the machine that Labwright runs on, from the hosts that are jumped over, and from the VPN, which is the way in
/// for administration where there is one.
pub fn administration(matrix: &mut Matrix<'_>) {
    let lab = matrix.parties.lab();
    let vpn = lab.edge.vpn.as_ref().map(|_| matrix.zones_of_kind(ZoneKind::Vpn)).unwrap_or_default();
    let vpn_span = matrix.parties.parsed.span_of(&["edge", "vpn"]);
    let local: Vec<usize> =
        (0..matrix.parties.hosts.len()).filter(|host| matrix.parties.hosts[*host].entry.local).collect();
    for host in matrix.ours() {
        let entry = matrix.parties.hosts[host].entry;
        let allowed = Allowed::tcp([matrix.parties.hosts[host].ssh_port]);
        let name = matrix.parties.hosts[host].name;
        for jump in entry.ssh.jump.iter() {
            let Some(from) = matrix.parties.host(jump) else { continue };
            let reason = format!("`{name}` is administered through `{}`", jump.value);
            matrix.derive(way(
                End::Host(from),
                End::Host(host),
                allowed.clone(),
                Why::Administration,
                reason,
                jump.span,
            ));
        }
        // Whoever is jumped over is where the others come from.
        if let Some(first) = entry.ssh.jump.first() {
            let Some(first) = matrix.parties.host(first) else { continue };
            for local in &local {
                let port = Allowed::tcp([matrix.parties.hosts[first].ssh_port]);
                let reason = "labwright goes through it";
                let span = entry.ssh.jump.first().map_or(Span::NONE, |jump| jump.span);
                matrix.derive(way(End::Host(*local), End::Host(first), port, Why::Administration, reason, span));
            }
            continue;
        }
        for local in &local {
            let span = matrix.parties.parsed.span_of(&["compute", "hosts", matrix.parties.hosts[*local].name, "local"]);
            let reason = format!("labwright runs on `{}`", matrix.parties.hosts[*local].name);
            matrix.derive(way(End::Host(*local), End::Host(host), allowed.clone(), Why::Administration, reason, span));
        }
        for zone in &vpn {
            let reason = "the VPN is the way in for administration";
            matrix.derive(way(
                End::Zone(*zone),
                End::Host(host),
                allowed.clone(),
                Why::Administration,
                reason,
                vpn_span,
            ));
        }
    }
}

/// Hosts whose packages the lab declares or updates have to fetch them.
pub fn updates(matrix: &mut Matrix<'_>) {
    let lab = matrix.parties.lab();
    let ringed: Vec<(usize, Span)> = lab
        .compute
        .updates
        .values()
        .flat_map(|ring| ring.hosts.iter())
        .filter_map(|host| Some((matrix.parties.host(host)?, host.span)))
        .collect();
    for host in matrix.ours() {
        let (entry, name) = (matrix.parties.hosts[host].entry, matrix.parties.hosts[host].name);
        let ring = ringed.iter().find(|(ringed, _)| *ringed == host).map(|(_, span)| *span);
        let span = entry.packages.first().map(|package| package.span).or(ring);
        let fetches = span.or_else(|| {
            let firewall = entry.firewall.as_ref().or(lab.network.firewall.as_ref())?;
            (firewall.value == Firewall::Enforce && matrix.parties.hosts[host].containers).then_some(Span::NONE)
        });
        let Some(span) = fetches else { continue };
        let reason = format!("packages and images of `{name}` come from there");
        matrix.derive(way(End::Host(host), End::Internet, Allowed::tcp([80, 443]), Why::Updates, reason, span));
    }
}

/// A device that asks for the lab's public address comes back from the router: by the router's address, so that the answer
/// goes the same way.
pub fn hairpin(matrix: &mut Matrix<'_>) {
    let Some(router) = matrix.parties.guarding_router() else { return };
    for forwarded in crate::network::nft::forwards(matrix).0 {
        let reason = format!(
            "{} is reached at the lab's public address from inside, too",
            listed(&[matrix.parties.name(End::Host(forwarded.host))])
        );
        let allowed = forwarded.allowed.clone();
        matrix.derive(way(End::Host(router), End::Host(forwarded.host), allowed, Why::Hairpin, reason, forwarded.span));
    }
}
