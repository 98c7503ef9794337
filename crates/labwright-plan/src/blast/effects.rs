//! What follows from what is down, for people: what they cannot reach, what has no spare, what is no longer copied, and
//! what can wait. Works in numbers; the words come after.

use labwright_model::lab::Expose;

use super::Urgency;
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
                if let Some(jump) = world.jumps[n].iter().find(|jump| down.hosts[**jump].is_some()) {
                    add(Urgency::Held, Node::Host(n), Why::Jump(*jump));
                }
            }
        }
    }
    let gate = Gate::of(world, down);
    for n in 0..world.placed.len() {
        of_placed(world, down, &gate, n, &mut add);
    }
    out
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
    /// The zone of every proxy is closed: the zone, and its router.
    proxy_closed: Option<(usize, usize)>,
}

impl Gate {
    fn is_open(&self) -> bool {
        [self.dns, self.proxy, self.vpn, self.tunnel].iter().all(Option::is_none) && self.proxy_closed.is_none()
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
        None => {
            if let Some((from, _)) = placed.beside.iter().find(|(from, _)| down.hosts[*from].is_some()) {
                add(Urgency::Degraded, node, Why::DataOn(*from));
            }
            let egress = placed.egress.as_ref().filter(|egress| !egress.is_empty());
            let cut = egress.filter(|egress| egress.iter().all(|other| down.placed[*other].is_some()));
            if let Some(through) = cut.and_then(|egress| egress.first()) {
                add(Urgency::Degraded, node, Why::Egress(*through));
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

/// Why people cannot reach a service that runs.
fn unreachable(world: &World, down: &Down, gate: &Gate, n: usize) -> Option<Why> {
    let placed = &world.placed[n];
    if !placed.is_reached() {
        return None;
    }
    let expose = placed.placement.entry.expose;
    // Whoever sits in the same zone needs no router.
    let at_home = |closed: &(usize, usize)| expose == Expose::Lan && world.people[closed.0];
    if let Some((zone, router)) = down.all_closed(world, &placed.hosts).or(gate.proxy_closed).filter(|it| !at_home(it))
    {
        return Some(Why::Closed(zone, router));
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
    names.or(door).or(way_in).map(Why::Through)
}

/// Why a placement's copies in one repository are out of reach.
fn copies_lost(world: &World, down: &Down, n: usize, repository: usize) -> Option<Why> {
    let from = &world.placed[n].hosts;
    match world.repositories[repository].host {
        Some(host) if down.hosts[host].is_some() => Some(Why::Copies(repository, host)),
        Some(host) => {
            let (_, router) = from.first().and_then(|from| down.apart(world, *from, host))?;
            Some(Why::CopiesBehind(repository, router))
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
