//! How a failure spreads: from hosts to guests, from hosts to services, from services to those that need them.
//! Works in numbers; the words come after.

use super::world::{RoleKind, World};
use super::{Kind, Thing};

/// Why something is down, or is not what it was. The numbers are those of `World`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It is what fails.
    Itself,
    Guest(usize),
    InZone,
    AtSite,
    InDomain,
    /// Every host that it is on is down; the first of them.
    On(usize),
    /// It needs this placement, and whatever else could stand in for it is down too.
    Needs(usize),
    /// It needs this placement, and nothing routes between their zones any more; the zone, and its router.
    Apart(usize, usize, usize),
    /// Its data comes from this host.
    DataOn(usize),
    /// Its traffic to the internet goes through this placement.
    Egress(usize),
    /// People reach it through this role.
    Through(usize),
    /// Nothing routes its zone any more; the zone, and its router.
    Closed(usize, usize),
    /// It is this role's service that is down.
    Service(usize),
    /// It mounts file systems from this host.
    Mounts(usize),
    /// It is reached over SSH through this host.
    Jump(usize),
    /// The proxy is in a zone that nothing routes any more; the zone, and its router.
    ProxyClosed(usize, usize),
    /// Its copies are in this repository, whose host is down.
    Copies(usize, usize),
    /// Its copies are in this repository, which is behind this router.
    CopiesBehind(usize, usize),
    /// Its data is on this host, and nothing keeps a copy.
    NoCopy(usize),
    /// Its backup dumps a database of this placement.
    Dumps(usize),
    /// The proxy asks this placement whether a request may pass.
    Door(usize),
    /// It is on the other side of the uplink, which is lost; the router, where that is why.
    Uplink(Option<usize>),
    /// It needs this placement, on the other side of the uplink.
    Across(usize),
    /// Its copies are in this repository, on the other side of the uplink.
    CopiesBeyond(usize),
    /// Its copies are in this repository, which only this role, a VPN, leads to.
    CopiesOver(usize, usize),
    /// It mounts from this host, which only this role, a VPN, leads to.
    MountsOver(usize, usize),
    /// All of its traffic goes through this role, a VPN.
    Tunnel(usize),
    /// It is told through this placement.
    Told(usize),
    /// It is told on this host.
    ToldOn(usize),
}

/// What is down, with the reason.
pub struct Down {
    /// Whether any host is down; if none is, few things have to be looked at.
    pub any_host: bool,
    pub hosts: Vec<Option<Why>>,
    pub placed: Vec<Option<Why>>,
    /// The router that each closed zone misses.
    pub zones: Vec<Option<usize>>,
    pub roles: Vec<Option<Why>>,
    /// Whether the uplink is lost, and with which router.
    pub uplink: Option<Option<usize>>,
}

impl Down {
    /// The hosts of a thing that are left, unless all or none of them are down.
    pub fn left(&self, hosts: &[usize]) -> Option<Vec<usize>> {
        let left: Vec<usize> = hosts.iter().copied().filter(|host| self.hosts[*host].is_none()).collect();
        (!left.is_empty() && left.len() < hosts.len()).then_some(left)
    }

    /// Whether some hosts of a thing are down, and not all.
    pub fn is_thinned(&self, hosts: &[usize]) -> bool {
        let lost = |host: &usize| self.hosts[*host].is_some();
        hosts.iter().any(lost) && !hosts.iter().all(lost)
    }

    /// The zone that all of these hosts cannot leave, the first one's, with the router that is missing.
    pub fn all_closed(&self, world: &World, hosts: &[usize]) -> Option<(usize, usize)> {
        let first = self.closed(world, *hosts.first()?)?;
        hosts.iter().all(|host| self.closed(world, *host).is_some()).then_some(first)
    }

    /// The zone that keeps two hosts apart, with the router that is missing.
    pub fn apart(&self, world: &World, a: usize, b: usize) -> Option<(usize, usize)> {
        let (Some(from), Some(to)) = (world.zone[a], world.zone[b]) else { return None };
        if from == to {
            return None;
        }
        // Another router that stands in both leads from one to the other all the same.
        let leads = |host: usize| {
            let feet = &world.feet[host];
            let routes = world.routers[to].contains(&host) || world.routers[from].contains(&host);
            routes && self.hosts[host].is_none() && feet.contains(&from) && feet.contains(&to)
        };
        if [to, from].iter().flat_map(|zone| &world.routers[*zone]).any(|host| leads(*host)) {
            return None;
        }
        let closed = |zone: usize| self.zones[zone].map(|router| (zone, router));
        closed(to).or_else(|| closed(from))
    }

    /// The VPN that all of a host's traffic goes through, while that is lost.
    pub fn tunnel(&self, world: &World, host: usize) -> Option<usize> {
        let role = world.vpn().filter(|_| world.tunnelled[host] && self.hosts[host].is_none())?;
        let lost = match self.roles[role]? {
            // Who is on the endpoint's side of the uplink still gets to it.
            Why::Uplink(_) => world.roles[role].hosts.iter().all(|end| world.beyond[*end] != world.beyond[host]),
            _ => true,
        };
        lost.then_some(role)
    }

    /// The same for something that is on several hosts: none of them is left.
    pub fn all_tunnelled(&self, world: &World, hosts: &[usize]) -> Option<usize> {
        let first = self.tunnel(world, *hosts.first()?)?;
        hosts.iter().all(|host| self.tunnel(world, *host).is_some()).then_some(first)
    }

    /// The zone that a host cannot leave, with the router that is missing.
    pub fn closed(&self, world: &World, host: usize) -> Option<(usize, usize)> {
        world.zone[host].and_then(|zone| self.zones[zone].map(|router| (zone, router)))
    }
}

/// Everything that is down when a thing fails.
pub fn spread(world: &World, failed: &Thing) -> Down {
    let mut down = Down {
        any_host: false,
        hosts: vec![None; world.hosts.len()],
        placed: vec![None; world.placed.len()],
        zones: vec![None; world.zones.len()],
        roles: vec![None; world.roles.len()],
        uplink: None,
    };
    let mut open: Vec<usize> = Vec::new();
    hosts(world, failed, &mut down);
    zones(world, &mut down);
    let router = world.roles.iter().find(|role| role.kind == RoleKind::Router).map(|role| &role.hosts);
    down.uplink = match (failed.kind, router) {
        (Kind::Internet, _) => Some(None),
        (_, Some(hosts)) if hosts.iter().all(|host| down.hosts[*host].is_some()) => {
            hosts.first().map(|host| Some(*host))
        }
        _ => None,
    };
    if failed.kind == Kind::Service {
        for placed in world.service(&failed.name) {
            down.placed[*placed] = Some(Why::Itself);
            open.push(*placed);
        }
    }
    down.any_host = down.hosts.iter().any(Option::is_some);
    if down.any_host {
        let lost = |n: &usize| down.hosts[*n].is_some();
        for (n, placed) in world.placed.iter().enumerate() {
            let why = match placed.hosts.first() {
                Some(first) if placed.hosts.iter().all(lost) => Why::On(*first),
                _ => match placed.data_on.iter().chain(&placed.sees_from).find(|(host, _)| lost(host)) {
                    Some((host, _)) => Why::DataOn(*host),
                    None => continue,
                },
            };
            down.placed[n] = Some(why);
            open.push(n);
        }
    }
    if down.zones.iter().any(Option::is_some) {
        for n in 0..world.placed.len() {
            if down.placed[n].is_none()
                && let Some(why) = kept_apart(world, &down, n)
            {
                down.placed[n] = Some(why);
                open.push(n);
            }
        }
    }
    let endpoint = world.vpn().filter(|role| {
        let hosts = &world.roles[*role].hosts;
        !hosts.is_empty() && hosts.iter().all(|host| down.hosts[*host].is_some())
    });
    if let Some(role) = endpoint {
        for n in 0..world.placed.len() {
            if down.placed[n].is_none() && needs_the_tunnel(world, n) {
                down.placed[n] = Some(Why::Tunnel(role));
                open.push(n);
            }
        }
    }
    if let Some(router) = down.uplink {
        for n in 0..world.placed.len() {
            if down.placed[n].is_none()
                && let Some(why) = across(world, n, router)
            {
                down.placed[n] = Some(why);
                open.push(n);
            }
        }
    }
    while let Some(gone) = open.pop() {
        for dependent in &world.dependents[gone] {
            let needs = &world.placed[*dependent].needs;
            let lost = |need: &&Vec<usize>| need.contains(&gone) && need.iter().all(|n| down.placed[*n].is_some());
            if down.placed[*dependent].is_none() && needs.iter().any(|need| lost(&need)) {
                down.placed[*dependent] = Some(Why::Needs(gone));
                open.push(*dependent);
            }
        }
    }
    roles(world, &mut down);
    down
}

fn hosts(world: &World, failed: &Thing, down: &mut Down) {
    let entries = world.parsed.lab.compute.hosts.values();
    let named = failed.name.as_str();
    for (n, host) in entries.enumerate() {
        let why = match failed.kind {
            Kind::Host => (world.hosts[n] == named).then_some(Why::Itself),
            // A router has a foot in other zones too, and goes on routing them.
            Kind::Zone => {
                let in_it = host.zone.as_ref().is_some_and(|zone| zone.value == named);
                let routes = world.routers.iter().any(|routers| routers.contains(&n));
                (in_it && !routes).then_some(Why::InZone)
            }
            Kind::Site => host.site.as_ref().is_some_and(|site| site.value == named).then_some(Why::AtSite),
            Kind::Domain => host.failure_domain.iter().any(|name| name.value == named).then_some(Why::InDomain),
            Kind::Service | Kind::Role | Kind::Internet => None,
        };
        down.hosts[n] = why;
    }
    let mut open: Vec<usize> = (0..world.hosts.len()).filter(|n| down.hosts[*n].is_some()).collect();
    while let Some(host) = open.pop() {
        for guest in &world.guests[host] {
            // A guest that says it stands elsewhere than its hypervisor is the file's mistake, and falls all the same.
            if down.hosts[*guest].is_none() {
                down.hosts[*guest] = Some(Why::Guest(host));
                open.push(*guest);
            }
        }
    }
}

fn zones(world: &World, down: &mut Down) {
    for (zone, routers) in world.routers.iter().enumerate() {
        if let Some(first) = routers.first()
            && routers.iter().all(|router| down.hosts[*router].is_some())
        {
            down.zones[zone] = Some(*first);
        }
    }
}

/// A placement whose need runs, in a zone that it can no longer reach.
fn kept_apart(world: &World, down: &Down, n: usize) -> Option<Why> {
    let placed = &world.placed[n];
    let way = |other: usize| {
        let to = &world.placed[other].hosts;
        let mut first = None;
        for (a, b) in placed.hosts.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))) {
            match down.apart(world, a, b) {
                None => return None,
                Some(apart) => first = first.or(Some(apart)),
            }
        }
        first
    };
    placed.needs.iter().find_map(|need| {
        let apart: Vec<_> = need.iter().map(|other| way(*other).map(|(zone, router)| (*other, zone, router))).collect();
        let (other, zone, router) = *apart.iter().flatten().next()?;
        apart.iter().all(Option::is_some).then_some(Why::Apart(other, zone, router))
    })
}

/// Whether a placement reaches something that it needs only through the VPN that all of its traffic goes through.
fn needs_the_tunnel(world: &World, n: usize) -> bool {
    let placed = &world.placed[n];
    let own = &placed.hosts;
    if own.is_empty() || !own.iter().all(|host| world.tunnelled[*host]) {
        return false;
    }
    let beside = |other: &usize| {
        let to = &world.placed[*other].hosts;
        to.iter().any(|to| own.iter().any(|from| world.is_beside(*from, *to)))
    };
    placed.needs.iter().any(|need| !need.is_empty() && !need.iter().any(beside))
}

/// What somebody else runs is out of reach; so is what a placement needs on the other side of the uplink.
fn across(world: &World, n: usize, router: Option<usize>) -> Option<Why> {
    let placed = &world.placed[n];
    if placed.placement.entry.external.is_some() {
        return Some(Why::Uplink(router));
    }
    let side = |n: usize| {
        let hosts = &world.placed[n].hosts;
        let first = world.beyond[*hosts.first()?];
        hosts.iter().all(|host| world.beyond[*host] == first).then_some(first)
    };
    let own = side(n)?;
    let other = |other: &usize| side(*other).is_some_and(|side| side != own);
    placed.needs.iter().find(|need| !need.is_empty() && need.iter().all(other)).map(|need| Why::Across(need[0]))
}

fn roles(world: &World, down: &mut Down) {
    for (n, role) in world.roles.iter().enumerate() {
        let lost = |host: &usize| down.hosts[*host].is_some();
        let service = role.service.and_then(|name| {
            let placed = world.service(name);
            let first = placed.iter().find(|placed| down.placed[**placed].is_some())?;
            placed.iter().all(|placed| down.placed[*placed].is_some()).then_some(*first)
        });
        let hosts = role.hosts.first().filter(|_| role.hosts.iter().all(lost));
        // What lets people in from outside, or calls them, has to reach the outside itself.
        let outside =
            matches!(role.kind, RoleKind::Vpn | RoleKind::Tunnel | RoleKind::Monitoring | RoleKind::Coordination);
        down.roles[n] = match (hosts, service) {
            (Some(first), _) => Some(Why::On(*first)),
            (None, Some(placed)) => Some(Why::Service(placed)),
            (None, None) if outside => {
                let closed = down.all_closed(world, &role.hosts).map(|(zone, router)| Why::Closed(zone, router));
                let beyond = role.hosts.iter().all(|host| world.beyond[*host]);
                // Who watches from outside sees nothing of the inside any more; who watches from inside sees it still.
                let cut = beyond == (role.kind == RoleKind::Monitoring) || role.kind == RoleKind::Coordination;
                closed.or(down.uplink.filter(|_| cut && !role.hosts.is_empty()).map(Why::Uplink))
            }
            (None, None) => None,
        };
    }
}
