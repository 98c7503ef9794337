//! What follows from what is down, for people: what they cannot reach, what has no spare, what is no longer copied, and
//! what can wait. Works in numbers; the words come after.

use labwright_model::lab::Expose;

use super::Urgency;
use super::outside::Way;
use super::spread::{Down, Why};
use super::world::{RoleKind, World};

/// What an effect is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    Role(usize),
    Zone(usize),
    Host(usize),
    Placed(usize),
    /// The machine that Labwright runs on.
    Controller(usize),
    /// Somebody who is told of alerts.
    Receiver(usize),
    /// The sign of life that monitoring sends to somebody outside.
    Heartbeat,
    /// Certificates of an authority outside.
    Certificates,
    /// Images and packages that come from outside.
    Updates,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    pub urgency: Urgency,
    pub node: Node,
    pub why: Why,
}

/// Every effect, unsorted. A placement is dark, or degraded, or neither; beside that it may have lost its backup.
pub fn effects(world: &World, down: &Down) -> Vec<Hit> {
    let mut out = Vec::new();
    let mut add = |urgency, node, why| out.push(Hit { urgency, node, why });
    for (n, role) in world.roles.iter().enumerate() {
        // Whose copies are lost with a repository is told service by service.
        let told = |host: &usize| world.repositories.iter().any(|repository| repository.host == Some(*host));
        if role.kind == RoleKind::Backup && role.hosts.iter().any(told) {
            continue;
        }
        match down.roles[n] {
            Some(why) => add(urgency(role.kind), Node::Role(n), why),
            None if down.is_thinned(&role.hosts) => {
                let lost = role.hosts.iter().find(|host| down.hosts[**host].is_some());
                let urgency = urgency(role.kind).max(Urgency::Degraded);
                if let Some(lost) = lost {
                    add(urgency, Node::Role(n), Why::On(*lost));
                }
            }
            None => {}
        }
    }
    // A registry with a name of the lab's own is found by nobody without the resolver.
    let numbered = || world.roles.iter().enumerate();
    let dns = numbered().find(|(n, role)| role.kind == RoleKind::Dns && down.roles[*n].is_some());
    let registry = numbered().find(|(n, role)| role.kind == RoleKind::Registry && down.roles[*n].is_none());
    let named = world.parsed.lab.platform.registry.as_ref().is_some_and(|registry| !registry.url.is_empty());
    if let (Some((dns, _)), Some((registry, _)), true) = (dns, registry, named) {
        add(Urgency::Held, Node::Role(registry), Why::Through(dns));
    }
    for (zone, router) in down.zones.iter().enumerate() {
        if let Some(router) = router {
            add(Urgency::Dark, Node::Zone(zone), Why::Closed(zone, *router));
        } else if down.is_thinned(&world.routers[zone])
            && let Some(lost) = world.routers[zone].iter().find(|host| down.hosts[**host].is_some())
        {
            add(Urgency::Degraded, Node::Zone(zone), Why::Closed(zone, *lost));
        }
    }
    for (n, why) in down.hosts.iter().enumerate() {
        let entry = world.parsed.lab.host(world.hosts[n]);
        match why {
            Some(why) => {
                add(Urgency::Dark, Node::Host(n), *why);
                if entry.is_some_and(|host| host.local) {
                    add(Urgency::Held, Node::Controller(n), *why);
                }
            }
            None => {
                if let Some((_, from)) = world.mounts[n].iter().find(|(_, from)| down.hosts[*from].is_some()) {
                    add(Urgency::Degraded, Node::Host(n), Why::Mounts(*from));
                }
                if let Some(role) = down.tunnel(world, n) {
                    add(Urgency::Degraded, Node::Host(n), Why::Tunnel(role));
                }
                if let Some(jump) = world.jumps[n].iter().find(|jump| down.hosts[**jump].is_some()) {
                    add(Urgency::Held, Node::Host(n), Why::Jump(*jump));
                }
            }
        }
    }
    if let Some(router) = down.uplink {
        beyond_the_uplink(world, down, router, &mut add);
    }
    let gate = Gate::of(world, down);
    over_the_vpn(world, down, &gate, &mut add);
    receivers(world, down, &gate, &mut add);
    for n in 0..world.placed.len() {
        of_placed(world, down, &gate, n, &mut add);
    }
    out
}

/// What the lab has from the other side of its uplink, and is still there without.
fn beyond_the_uplink(world: &World, down: &Down, router: Option<usize>, add: &mut impl FnMut(Urgency, Node, Why)) {
    let why = Why::Uplink(router);
    for (n, role) in world.roles.iter().enumerate() {
        let inside = role.hosts.iter().any(|host| !world.beyond[*host]);
        if role.kind == RoleKind::Dns && inside && down.roles[n].is_none() {
            add(Urgency::Degraded, Node::Role(n), why);
        }
    }
    // With the router all of this is gone as well, and the router comes first.
    if router.is_some() {
        return;
    }
    let any_inside = world.beyond.iter().any(|beyond| !beyond);
    for (n, _) in world.beyond.iter().enumerate().filter(|(_, beyond)| **beyond && any_inside) {
        add(Urgency::Held, Node::Host(n), why);
    }
    let watches = world
        .roles
        .iter()
        .any(|role| role.kind == RoleKind::Monitoring && role.hosts.iter().any(|host| !world.beyond[*host]));
    let monitoring = world.parsed.lab.platform.monitoring.as_ref();
    if watches && monitoring.is_some_and(|monitoring| monitoring.heartbeat.is_some()) {
        add(Urgency::Held, Node::Heartbeat, why);
    }
    if world.authority.is_some() {
        add(Urgency::Held, Node::Certificates, why);
    }
    if world.fetches {
        add(Urgency::Held, Node::Updates, why);
    }
}

/// What is mounted over a VPN that nobody finds the way through any more.
fn over_the_vpn(world: &World, down: &Down, gate: &Gate, add: &mut impl FnMut(Urgency, Node, Why)) {
    let Some(role) = gate.coordination else { return };
    for (n, mounts) in world.mounts.iter().enumerate().filter(|(n, _)| down.hosts[*n].is_none()) {
        let over = mounts.iter().find(|(_, from)| down.hosts[*from].is_none() && is_private(world, *from));
        if let Some((_, from)) = over {
            add(Urgency::Held, Node::Host(n), Why::MountsOver(*from, role));
        }
    }
}

/// Whether only a VPN leads to a host.
fn is_private(world: &World, host: usize) -> bool {
    world.zone[host].is_some_and(|zone| world.private[zone])
}

/// Who is no longer told of anything, while monitoring goes on.
fn receivers(world: &World, down: &Down, gate: &Gate, add: &mut impl FnMut(Urgency, Node, Why)) {
    let watching = world.roles.iter().position(|role| role.kind == RoleKind::Monitoring);
    let Some(watching) = watching.filter(|n| down.roles[*n].is_none()) else { return };
    let beyond = world.roles[watching].hosts.iter().all(|host| world.beyond[*host]);
    for (n, receiver) in world.receivers.iter().enumerate() {
        if let Some(why) = untold(world, down, gate, &receiver.way, beyond) {
            add(Urgency::Held, Node::Receiver(n), why);
        }
    }
}

/// Why an alert does not get to a receiver any more.
pub fn untold_receivers(world: &World, down: &Down) -> Vec<usize> {
    let gate = Gate::of(world, down);
    let numbered = world.receivers.iter().enumerate();
    numbered.filter(|(_, one)| untold(world, down, &gate, &one.way, false).is_some()).map(|(n, _)| n).collect()
}

fn untold(world: &World, down: &Down, gate: &Gate, way: &Way, beyond: bool) -> Option<Why> {
    match way {
        Way::Outside => down.uplink.filter(|_| !beyond).map(Why::Uplink),
        Way::Host(host) => down.hosts[*host].map(|_| Why::ToldOn(*host)),
        Way::Placed(placed) => {
            let gone = |n: &usize| down.placed[*n].or_else(|| unreachable(world, down, gate, *n)).is_some();
            let first = placed.first().filter(|_| placed.iter().all(gone))?;
            Some(Why::Told(*first))
        }
        Way::Unknown => None,
    }
}

/// How much it hurts that a role is gone.
fn urgency(kind: RoleKind) -> Urgency {
    match kind {
        RoleKind::Router
        | RoleKind::Dns
        | RoleKind::ReverseProxy
        | RoleKind::Identity
        | RoleKind::Vpn
        | RoleKind::Tunnel => Urgency::Dark,
        RoleKind::Backup => Urgency::Unprotected,
        RoleKind::Monitoring
        | RoleKind::Coordination
        | RoleKind::Vault
        | RoleKind::Unseal
        | RoleKind::Registry
        | RoleKind::Runners
        | RoleKind::Telemetry => Urgency::Held,
    }
}

/// The roles between people and services that are gone.
struct Gate {
    dns: Option<usize>,
    proxy: Option<usize>,
    vpn: Option<usize>,
    tunnel: Option<usize>,
    coordination: Option<usize>,
    identity: Option<usize>,
    uplink: bool,
    /// The zone of every proxy is closed: the zone, and its router.
    proxy_closed: Option<(usize, usize)>,
}

impl Gate {
    fn is_open(&self) -> bool {
        let roles = [self.dns, self.proxy, self.vpn, self.tunnel, self.coordination, self.identity];
        roles.iter().all(Option::is_none) && self.proxy_closed.is_none() && !self.uplink
    }

    fn of(world: &World, down: &Down) -> Gate {
        let role = |kind| world.roles.iter().position(|role| role.kind == kind);
        let gone = |kind| role(kind).filter(|n| down.roles[*n].is_some());
        let proxies = role(RoleKind::ReverseProxy).map_or(&[][..], |n| &world.roles[n].hosts);
        Gate {
            dns: gone(RoleKind::Dns),
            proxy: gone(RoleKind::ReverseProxy),
            vpn: gone(RoleKind::Vpn),
            tunnel: gone(RoleKind::Tunnel),
            coordination: gone(RoleKind::Coordination),
            identity: gone(RoleKind::Identity),
            uplink: down.uplink.is_some(),
            proxy_closed: down.all_closed(world, proxies),
        }
    }
}

fn of_placed(world: &World, down: &Down, gate: &Gate, n: usize, add: &mut impl FnMut(Urgency, Node, Why)) {
    let placed = &world.placed[n];
    let node = Node::Placed(n);
    // Most services, when only another one is gone.
    if !down.any_host
        && gate.is_open()
        && down.placed[n].is_none()
        && placed.egress.is_none()
        && placed.dumps.is_empty()
    {
        return;
    }
    match down.placed[n].or_else(|| unreachable(world, down, gate, n)) {
        // Nobody opens a runner: what is missing is the next build.
        Some(why) if placed.is_runner && why != Why::Itself => add(Urgency::Held, node, why),
        Some(why) => add(Urgency::Dark, node, why),
        None if let Some((asked, open)) = door(down, placed) => {
            add(if open { Urgency::Degraded } else { Urgency::Dark }, node, Why::Door(asked));
        }
        None => {
            // Whoever is logged in stays so.
            if let Some(identity) = gate.identity.filter(|_| placed.by_identity) {
                add(Urgency::Degraded, node, Why::Through(identity));
            }
            if let Some((from, _)) = placed.beside.iter().find(|(from, _)| down.hosts[*from].is_some()) {
                add(Urgency::Degraded, node, Why::DataOn(*from));
            }
            let egress = placed.egress.as_ref().filter(|egress| !egress.is_empty());
            let cut = egress.filter(|egress| egress.iter().all(|other| down.placed[*other].is_some()));
            if let Some(through) = cut.and_then(|egress| egress.first()) {
                add(Urgency::Degraded, node, Why::Egress(*through));
            } else if let Some(role) = down.all_tunnelled(world, &placed.hosts) {
                add(Urgency::Degraded, node, Why::Tunnel(role));
            } else if let Some(router) = down.uplink.filter(|_| egress.is_some()) {
                add(Urgency::Degraded, node, Why::Uplink(router));
            }
            if down.is_thinned(&placed.hosts)
                && let Some(lost) = placed.hosts.iter().find(|host| down.hosts[**host].is_some())
            {
                add(Urgency::Degraded, node, Why::On(*lost));
            }
        }
    }
    if let Some(lost) = placed.repositories.iter().find_map(|repository| copies_lost(world, down, n, *repository)) {
        add(Urgency::Unprotected, node, lost);
        return;
    }
    if let Some(dump) =
        placed.dumps.iter().find(|dump| !dump.is_empty() && dump.iter().all(|n| down.placed[*n].is_some()))
        && !matches!(down.placed[n], Some(Why::Itself | Why::On(_)))
    {
        add(Urgency::Unprotected, node, Why::Dumps(dump[0]));
        return;
    }
    // A machine that is only cut off still has the data.
    let keeper = match down.placed[n] {
        Some(Why::On(host)) if placed.own_data => host,
        Some(Why::DataOn(host)) if placed.data_on.iter().any(|(from, _)| *from == host) => host,
        _ => return,
    };
    if down.hosts[keeper] != Some(Why::InZone) && placed.repositories.is_empty() {
        add(Urgency::Unprotected, node, Why::NoCopy(keeper));
    }
}

/// The placement that the proxy asks in vain whether a request may pass, and whether some paths are open to everybody.
fn door(down: &Down, placed: &super::world::Placed<'_>) -> Option<(usize, bool)> {
    let (asked, open) = placed.door.as_ref()?;
    let first = asked.first().filter(|_| asked.iter().all(|n| down.placed[*n].is_some()))?;
    Some((*first, *open))
}

/// Why people cannot reach a service that runs.
fn unreachable(world: &World, down: &Down, gate: &Gate, n: usize) -> Option<Why> {
    let placed = &world.placed[n];
    if !placed.is_reached() {
        return None;
    }
    let expose = placed.placement.entry.expose;
    // Whoever sits in the same zone needs no router.
    let at_home = |closed: &(usize, usize)| expose == Expose::Lan && world.people[closed.0];
    if let Some((zone, router)) = down.all_closed(world, &placed.hosts).filter(|it| !at_home(it)) {
        return Some(Why::Closed(zone, router));
    }
    if let Some((zone, router)) = gate.proxy_closed.filter(|it| !at_home(it)) {
        return Some(Why::ProxyClosed(zone, router));
    }
    // What the internet opens is found through names that others answer; what is beside the tunnel's end needs no door.
    let beside = world.tunnel.is_some_and(|tunnel| placed.hosts.contains(&tunnel));
    let meshed = placed.hosts.iter().any(|host| world.meshed[*host]);
    let way_in = match expose {
        Expose::Vpn => gate.vpn.filter(|_| !meshed),
        Expose::Public => gate.proxy.filter(|_| !beside).or(gate.tunnel),
        Expose::Lan | Expose::Nowhere => None,
    };
    let names = gate.dns.filter(|_| expose != Expose::Public && placed.named_here);
    let door = gate.proxy.filter(|_| expose != Expose::Public);
    let through = names.or(door).or(way_in).map(Why::Through);
    // Who comes from outside comes over the uplink; so does the answer to who has a name that others serve.
    let inside = placed.hosts.iter().any(|host| !world.beyond[*host]);
    let others_name = world.roles.iter().any(|role| role.kind == RoleKind::Dns) && !placed.named_here;
    let outside = matches!(expose, Expose::Public | Expose::Vpn) || others_name;
    let uplink = || down.uplink.filter(|_| inside && outside).map(Why::Uplink);
    through.or_else(|| answers_nobody(world, down, n)).or_else(uplink)
}

/// Why a service answers none of those who come to it: what it says goes out through a VPN that is lost.
fn answers_nobody(world: &World, down: &Down, n: usize) -> Option<Why> {
    let placed = &world.placed[n];
    let role = down.all_tunnelled(world, &placed.hosts)?;
    let beside = |host: &usize| placed.hosts.iter().any(|own| world.is_beside(*own, *host));
    let proxy = world.roles.iter().find(|role| role.kind == RoleKind::ReverseProxy);
    let by_door = proxy.is_some_and(|proxy| proxy.hosts.iter().any(beside));
    let by_itself = placed.placement.entry.expose == Expose::Lan
        && placed.hosts.iter().any(|host| world.zone[*host].is_none_or(|zone| world.people[zone]));
    (!by_door && !by_itself).then_some(Why::Tunnel(role))
}

/// Why a placement's copies in one repository are out of reach.
fn copies_lost(world: &World, down: &Down, n: usize, repository: usize) -> Option<Why> {
    let from = &world.placed[n].hosts;
    match world.repositories[repository].host {
        Some(host) if down.hosts[host].is_some() => Some(Why::Copies(repository, host)),
        Some(host)
            if let Some(role) = down.all_tunnelled(world, from)
                && !from.iter().any(|from| world.is_beside(*from, host)) =>
        {
            Some(Why::CopiesOver(repository, role))
        }
        None if let Some(role) = down.all_tunnelled(world, from) => Some(Why::CopiesOver(repository, role)),
        Some(host) if down.uplink.is_some() && from.iter().all(|from| world.beyond[*from] != world.beyond[host]) => {
            down.uplink.filter(Option::is_none).map(|_| Why::CopiesBeyond(repository)).or_else(|| {
                let (_, router) = from.first().and_then(|from| down.apart(world, *from, host))?;
                Some(Why::CopiesBehind(repository, router))
            })
        }
        Some(host) if is_private(world, host) && !from.contains(&host) => {
            let gone = |role: &super::world::Role| matches!(role.kind, RoleKind::Coordination | RoleKind::Vpn);
            let lost = (0..world.roles.len()).find(|n| gone(&world.roles[*n]) && down.roles[*n].is_some());
            lost.map(|role| Why::CopiesOver(repository, role))
        }
        Some(host) => {
            let (_, router) = from.first().and_then(|from| down.apart(world, *from, host))?;
            Some(Why::CopiesBehind(repository, router))
        }
        None if down.uplink == Some(None) && from.iter().any(|from| !world.beyond[*from]) => {
            Some(Why::CopiesBeyond(repository))
        }
        None => {
            let (_, router) = from.first().and_then(|from| down.closed(world, *from))?;
            Some(Why::CopiesBehind(repository, router))
        }
    }
}

/// The repositories of a placement that are still there.
pub fn copies_left(world: &World, down: &Down, n: usize) -> Vec<usize> {
    let all = world.placed[n].repositories.iter().copied();
    all.filter(|repository| copies_lost(world, down, n, *repository).is_none()).collect()
}

/// Why a placement is not there for whoever comes by its name.
pub fn why_dark(world: &World, down: &Down, n: usize) -> Option<Why> {
    down.placed[n].or_else(|| unreachable(world, down, &Gate::of(world, down), n))
}
