//! The lab as numbers: hosts, placements, roles and repositories with what each stands on, so that a thousand failures
//! can be tried in the time that one person reads a line.

use std::collections::{BTreeSet, HashMap};

use labwright_model::lab::{Access, Expose, Lab, Tier, Zone, ZoneKind};
use labwright_model::{Parsed, Placement, Spanned};

use super::outside::{Receiver, authority, beyond, fetches, folders, is_application, own_router, receivers};
use crate::application;
use crate::check::{policy_of, repository_hosts};
use crate::mounted::{Servers, server, shares};

/// What keeps the lab going, in the order in which its loss is felt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleKind {
    Router,
    Dns,
    ReverseProxy,
    Identity,
    Vpn,
    Tunnel,
    Backup,
    Monitoring,
    /// What the members of a mesh VPN find one another by: headscale.
    Coordination,
    Vault,
    Unseal,
    Registry,
    Runners,
    Telemetry,
}

impl RoleKind {
    pub fn word(self) -> &'static str {
        match self {
            RoleKind::Router => "router",
            RoleKind::Dns => "DNS",
            RoleKind::ReverseProxy => "reverse proxy",
            RoleKind::Identity => "identity",
            RoleKind::Vpn => "VPN",
            RoleKind::Tunnel => "tunnel",
            RoleKind::Backup => "backup target",
            RoleKind::Monitoring => "monitoring",
            RoleKind::Coordination => "VPN coordination",
            RoleKind::Vault => "secrets store",
            RoleKind::Unseal => "unsealing of the secrets store",
            RoleKind::Registry => "registry",
            RoleKind::Runners => "runners",
            RoleKind::Telemetry => "telemetry",
        }
    }
}

/// A role, and what plays it: one of its hosts is enough.
pub struct Role<'a> {
    pub kind: RoleKind,
    pub hosts: Vec<usize>,
    /// The service that is it; it is gone when that is dark.
    pub service: Option<&'a str>,
}

pub struct Repository<'a> {
    pub name: &'a str,
    /// `None`: not on a host of the lab.
    pub host: Option<usize>,
}

/// One service in one environment.
pub struct Placed<'a> {
    pub placement: &'a Placement,
    pub hosts: Vec<usize>,
    /// For each service that it needs: the placements that can be meant, one of which is enough.
    pub needs: Vec<Vec<usize>>,
    pub egress: Option<Vec<usize>>,
    /// Whether some of its data is on the disks of its own hosts.
    pub own_data: bool,
    /// Hosts that its data comes from over the network, with the path or the volume.
    pub data_on: Vec<(usize, &'a str)>,
    /// Hosts that a folder comes from over the network which its containers see, with the path or the volume.
    pub sees_from: Vec<(usize, &'a str)>,
    /// Hosts that its own host mounts from, with the path, where it may use that: its containers see the folder around it,
    /// or nothing else is on the host and the file does not say what it sees (a media server of the host's own
    /// configuration).
    pub beside: Vec<(usize, &'a str)>,
    /// Whether nobody finds it without the lab's resolver: all its names are the lab's own, or of its records.
    pub named_here: bool,
    pub repositories: Vec<usize>,
    /// The placements that the proxy asks whether a request may pass, one of which is enough; and whether some of its paths
    /// are open to everybody.
    pub door: Option<(Vec<usize>, bool)>,
    /// Whether people log in with the lab's identity: it is public, and no policy of the edge says for whom.
    pub by_identity: bool,
    /// Databases that its backup dumps: one of the placements is enough.
    pub dumps: Vec<Vec<usize>>,
    /// Whether it is nothing that people open, and only runs the jobs of a forge.
    pub is_runner: bool,
}

impl Placed<'_> {
    pub fn name(&self) -> String {
        match &self.placement.environment {
            Some(environment) => format!("{} ({environment})", self.placement.service),
            None => self.placement.service.clone(),
        }
    }

    pub fn production(&self) -> bool {
        self.placement.entry.tier == Tier::Production
    }

    /// Whether people come to it from outside.
    pub fn is_from_outside(&self) -> bool {
        matches!(self.placement.entry.expose, Expose::Public | Expose::Vpn)
    }

    /// Whether people reach it by its name.
    pub fn is_reached(&self) -> bool {
        self.placement.entry.expose != Expose::Nowhere && self.placement.entry.external.is_none()
    }
}

pub struct World<'a> {
    pub parsed: &'a Parsed,
    pub hosts: Vec<&'a str>,
    pub guests: Vec<Vec<usize>>,
    /// Each host's zone.
    pub zone: Vec<Option<usize>>,
    pub zones: Vec<&'a str>,
    /// The hosts that route each zone; none: nobody says.
    pub routers: Vec<Vec<usize>>,
    pub placed: Vec<Placed<'a>>,
    /// The placements on each host.
    pub on: Vec<Vec<usize>>,
    /// The placements that need each placement.
    pub dependents: Vec<Vec<usize>>,
    pub roles: Vec<Role<'a>>,
    pub repositories: Vec<Repository<'a>>,
    /// What each host mounts over the network from another: path, and that host.
    pub mounts: Vec<Vec<(&'a str, usize)>>,
    /// Hosts that each host is reached through.
    pub jumps: Vec<Vec<usize>>,
    /// Whether people sit in each zone: what is in it they reach without a router.
    pub people: Vec<bool>,
    /// Whether each host is itself a member of a mesh VPN.
    pub meshed: Vec<bool>,
    /// Whether each host sends all of its traffic through the WireGuard endpoint.
    pub tunnelled: Vec<bool>,
    /// Devices that do so and are no hosts of the lab: telephones.
    pub tunnelled_devices: Vec<&'a str>,
    /// The host that the public tunnel ends on.
    pub tunnel: Option<usize>,
    /// Whether each host is at the other end of the lab's uplink.
    pub beyond: Vec<bool>,
    /// Whether each zone is one that only a VPN leads into.
    pub private: Vec<bool>,
    /// The zones that each host has a foot in.
    pub feet: Vec<Vec<usize>>,
    /// Who is told of alerts.
    pub receivers: Vec<Receiver<'a>>,
    /// The authority outside that certificates come from.
    pub authority: Option<&'a str>,
    /// Whether images come from outside.
    pub fetches: bool,
    host_numbers: HashMap<&'a str, usize>,
    services: HashMap<&'a str, Vec<usize>>,
}

impl<'a> World<'a> {
    pub fn of(parsed: &'a Parsed) -> World<'a> {
        let lab = &parsed.lab;
        let hosts: Vec<&str> = lab.compute.hosts.keys().map(String::as_str).collect();
        let host_numbers: HashMap<&str, usize> = hosts.iter().enumerate().map(|(n, name)| (*name, n)).collect();
        let zones: Vec<&str> = lab.network.zones.keys().map(String::as_str).collect();
        let zone_numbers: HashMap<&str, usize> = zones.iter().enumerate().map(|(n, name)| (*name, n)).collect();
        let number = |name: &Spanned<String>| host_numbers.get(name.value.as_str()).copied();
        let mut world = World {
            parsed,
            guests: vec![Vec::new(); hosts.len()],
            zone: Vec::new(),
            routers: vec![Vec::new(); zones.len()],
            zones,
            placed: Vec::new(),
            on: vec![Vec::new(); hosts.len()],
            dependents: vec![Vec::new(); parsed.placements.len()],
            roles: Vec::new(),
            repositories: Vec::new(),
            mounts: Vec::new(),
            jumps: Vec::new(),
            people: Vec::new(),
            meshed: vec![false; hosts.len()],
            tunnelled: vec![false; hosts.len()],
            tunnelled_devices: Vec::new(),
            tunnel: None,
            beyond: Vec::new(),
            private: Vec::new(),
            feet: Vec::new(),
            receivers: Vec::new(),
            authority: authority(lab),
            fetches: fetches(parsed),
            services: HashMap::new(),
            hosts,
            host_numbers: HashMap::new(),
        };
        let router = lab.edge.router.as_ref().and_then(|router| number(router.on.as_ref()?));
        let servers = Servers::of(lab);
        for (n, host) in lab.compute.hosts.values().enumerate() {
            if let Some(on) = host.vm.iter().chain(&host.lxc).find_map(|guest| number(guest.on.as_ref()?)) {
                world.guests[on].push(n);
            }
            world.zone.push(host.zone.as_ref().and_then(|zone| zone_numbers.get(zone.value.as_str()).copied()));
            for zone in host.routes.iter().filter_map(|zone| zone_numbers.get(zone.value.as_str())) {
                world.routers[*zone].push(n);
            }
            // A router that names no zones routes all of them; those with an interface of their own are VPNs.
            if host.routes.is_empty() && router == Some(n) {
                for (zone, entry) in lab.network.zones.values().enumerate() {
                    if entry.interface.is_none() {
                        let own = own_router(lab, world.zones[zone], n).unwrap_or(n);
                        if !world.routers[zone].contains(&own) {
                            world.routers[zone].push(own);
                        }
                    }
                }
            }
            let mounts = host.mounts.iter().filter_map(|(path, mount)| {
                let from = servers.host(server(mount)?)?;
                Some((path.as_str(), *host_numbers.get(from)?))
            });
            world.mounts.push(mounts.filter(|(_, from)| *from != n).collect());
            let jumps = host.ssh.jump.iter();
            world.jumps.push(jumps.filter_map(|jump| host_numbers.get(host_part(jump)).copied()).collect());
        }
        for (n, host) in lab.compute.hosts.values().enumerate() {
            let within = |zone: &Zone| {
                host.address
                    .iter()
                    .any(|address| zone.subnet.iter().any(|subnet| subnet.value.0.contains(&address.value)))
            };
            let zones = lab.network.zones.values().enumerate();
            let foot = |zone: usize, entry: &Zone| {
                world.zone[n] == Some(zone) || world.routers[zone].contains(&n) || within(entry)
            };
            world.feet.push(zones.filter(|(zone, entry)| foot(*zone, entry)).map(|(zone, _)| zone).collect());
        }
        world.private = lab.network.zones.values().map(|zone| zone.interface.is_some()).collect();
        world.beyond = beyond(parsed, router, &world.guests);
        let inner = |zone: &&Spanned<Zone>| zone.interface.is_none();
        let one_zone = lab.network.zones.values().filter(inner).count() == 1;
        for zone in lab.network.zones.values() {
            let clients = zone.kind.as_ref().is_some_and(|kind| kind.value == ZoneKind::Clients);
            world.people.push(clients || (one_zone && zone.interface.is_none()));
        }
        for on in lab.edge.vpn.iter().filter_map(|vpn| vpn.tailscale.as_ref()).flat_map(|mesh| mesh.on.iter()) {
            if let Some(host) = number(on) {
                world.meshed[host] = true;
            }
        }
        let wireguard = lab.edge.vpn.iter().filter_map(|vpn| vpn.wireguard.as_ref());
        for (name, peer) in wireguard.flat_map(|wireguard| wireguard.peers.iter()).filter(|(_, peer)| peer.full_tunnel)
        {
            match &peer.on {
                None => world.tunnelled_devices.push(name),
                Some(on) => {
                    if let Some(host) = number(on) {
                        world.tunnelled[host] = true;
                    }
                }
            }
        }
        for (name, host) in lab.protection.repositories.keys().zip(repository_hosts(parsed)) {
            world.repositories.push(Repository { name, host: host.and_then(|host| host_numbers.get(host).copied()) });
        }
        world.host_numbers = host_numbers;
        world.place(&servers);
        world.play(router);
        world.receivers = receivers(lab, &world.host_numbers, &world.services, &servers);
        world
    }

    /// Whether two hosts reach each other without leaving their network, which a tunnel for all traffic leaves alone.
    pub fn is_beside(&self, a: usize, b: usize) -> bool {
        match (self.zone[a], self.zone[b]) {
            _ if a == b => true,
            (Some(from), Some(to)) => from == to && !self.private[from],
            _ => self.beyond[a] == self.beyond[b],
        }
    }

    /// The role whose loss cuts off who sends all traffic through it.
    pub fn vpn(&self) -> Option<usize> {
        self.roles.iter().position(|role| role.kind == RoleKind::Vpn)
    }

    pub fn host(&self, name: &str) -> Option<usize> {
        self.host_numbers.get(name).copied()
    }

    /// The placements of a service, or the one of `NAME (ENVIRONMENT)`.
    pub fn service(&self, name: &str) -> &[usize] {
        if let Some(all) = self.services.get(name) {
            return all;
        }
        let Some((service, environment)) = split(name) else { return &[] };
        let all = self.services.get(service).map_or(&[][..], Vec::as_slice);
        let own = |n: &usize| self.parsed.placements[*n].environment.as_deref() == Some(environment);
        all.iter().position(own).map_or(&[], |at| &all[at..=at])
    }

    fn place(&mut self, servers: &Servers<'a>) {
        for (n, placement) in self.parsed.placements.iter().enumerate() {
            self.services.entry(&placement.service).or_default().push(n);
        }
        let policies = &self.parsed.lab.protection.policies;
        let mut crowd = vec![0_usize; self.hosts.len()];
        for on in self.parsed.placements.iter().flat_map(|placement| placement.entry.on.iter()) {
            if let Some(host) = self.host(on) {
                crowd[host] += 1;
            }
        }
        let runners = self.parsed.lab.platform.runners.as_ref().and_then(|runners| runners.service.as_ref());
        let repositories: HashMap<&str, usize> =
            self.repositories.iter().enumerate().map(|(n, repository)| (repository.name, n)).collect();
        let parsed = self.parsed;
        let proxy = parsed.lab.platform.reverse_proxy.as_ref();
        let asked = proxy.and_then(|proxy| proxy.forward_auth.as_ref()?.service.as_ref());
        let policies_outside = parsed.lab.edge.public.iter().flat_map(|public| &public.cloudflare);
        let no_policies = policies_outside.into_iter().all(|cloudflare| cloudflare.access.is_empty());
        for (n, placement) in parsed.placements.iter().enumerate() {
            let entry = &placement.entry;
            let hosts: BTreeSet<usize> = entry.on.iter().filter_map(|on| self.host(on)).collect();
            let meant = |name: &Spanned<String>| self.meant(name, placement);
            let backup = entry.backup.as_ref();
            let policy = policy_of(self.parsed, placement).and_then(|policy| policies.get(policy.value.as_str()));
            let to = policy.iter().flat_map(|policy| policy.to.iter());
            let mounts = || hosts.iter().flat_map(|host| &self.mounts[*host]);
            let seen = if mounts().next().is_some() { folders(self.parsed, placement) } else { Vec::new() };
            let sees = |path: &str| seen.iter().any(|folder| below(folder, path));
            let around = |path: &str| !sees(path) && seen.iter().any(|folder| below(path, folder));
            // What a container sees is said; what else a host runs may see all that is mounted there.
            let silent = entry.data.is_empty() && entry.containers.0.is_null() && entry.external.is_none();
            let alone = |host: &&usize| silent && crowd[**host] == 1;
            let under = |path: &str| entry.data.iter().any(|data| below(data, path));
            // Volumes that are mounted from elsewhere, by their names.
            let shares: Vec<(usize, &str)> = shares(parsed, placement)
                .filter_map(|share| Some((self.host(servers.host(share.server)?)?, share.path)))
                .filter(|(from, _)| !hosts.contains(from))
                .collect();
            let named = |name: &str| entry.data.iter().any(|data| data.value == name);
            let far = |data: &Spanned<String>| {
                hosts.iter().flat_map(|host| &self.mounts[*host]).any(|(path, _)| below(data, path))
                    || shares.iter().any(|(_, name)| *name == data.value)
            };
            let placed = Placed {
                placement,
                own_data: entry.data.iter().any(|data| !far(data)),
                needs: entry.needs.iter().map(meant).collect(),
                egress: entry.egress.as_ref().map(meant),
                door: asked
                    .filter(|asked| entry.door.auth.forward && asked.value != placement.service)
                    .map(|asked| (meant(asked), !entry.door.auth.open.is_empty())),
                by_identity: no_policies && entry.expose == Expose::Public && entry.access == Access::Policy,
                data_on: mounts()
                    .filter(|(path, _)| under(path))
                    .map(|(path, from)| (*from, *path))
                    .chain(shares.iter().copied().filter(|(_, name)| named(name)))
                    .collect(),
                sees_from: mounts()
                    .filter(|(path, _)| sees(path))
                    .map(|(path, from)| (*from, *path))
                    .chain(shares.iter().copied())
                    .collect(),
                beside: hosts
                    .iter()
                    .flat_map(|host| self.mounts[*host].iter().map(move |mount| (host, mount)))
                    .filter(|(host, (path, _))| alone(host) || around(path))
                    .map(|(_, (path, from))| (*from, *path))
                    .collect(),
                named_here: entry.url.iter().all(|url| is_named_here(&self.parsed.lab, url)),
                is_runner: runners.is_some_and(|service| service.value == placement.service)
                    || runs_jobs(self.parsed, placement),
                repositories: to.filter_map(|name| repositories.get(name.value.as_str()).copied()).collect(),
                dumps: backup
                    .iter()
                    .flat_map(|backup| backup.dump.values())
                    .filter_map(|dump| Some(meant(dump.service.as_ref()?)))
                    .collect(),
                hosts: hosts.into_iter().collect(),
            };
            for host in &placed.hosts {
                self.on[*host].push(n);
            }
            for need in placed.needs.iter().flatten() {
                self.dependents[*need].push(n);
            }
            self.placed.push(placed);
        }
    }

    /// The placements that a name stands for, seen from one environment: its own where there is one.
    fn meant(&self, name: &Spanned<String>, from: &Placement) -> Vec<usize> {
        let all = self.service(name);
        let same = |n: &&usize| self.parsed.placements[**n].environment == from.environment;
        match all.iter().find(same) {
            Some(own) => vec![*own],
            None => all.to_vec(),
        }
    }

    fn play(&mut self, router: Option<usize>) {
        let lab = &self.parsed.lab;
        let platform = &lab.platform;
        let numbers = |names: &[Spanned<String>]| -> Vec<usize> {
            let found: BTreeSet<usize> = names.iter().filter_map(|name| self.host(name)).collect();
            found.into_iter().collect()
        };
        let one = |name: &Option<Spanned<String>>| numbers(name.as_slice());
        let mut roles: Vec<Role> = Vec::new();
        let mut role = |kind, hosts, service: Option<&'a str>| roles.push(Role { kind, hosts, service });
        role(RoleKind::Router, router.into_iter().collect(), None);
        let named = |service: Option<&'a Spanned<String>>| service.map(|service| service.value.as_str());
        let answers = named(platform.dns.as_ref().and_then(|dns| dns.service.as_ref()));
        role(RoleKind::Dns, platform.dns.iter().flat_map(|dns| numbers(&dns.on)).collect(), answers);
        let proxies = platform.reverse_proxy.iter().flat_map(|proxy| numbers(&proxy.on));
        let leads = named(platform.reverse_proxy.as_ref().and_then(|proxy| proxy.service.as_ref()));
        role(RoleKind::ReverseProxy, proxies.collect(), leads);
        if let Some(vpn) = &lab.edge.vpn {
            let wireguard = vpn.wireguard.as_ref().map(|wireguard| match &wireguard.on {
                Some(on) => numbers(std::slice::from_ref(on)),
                None => router.into_iter().collect(),
            });
            // Each member of a mesh is reached by itself: only one that leads others into a zone is a way in.
            let leads =
                |host: &usize| self.routers.iter().any(|routers| routers.contains(host)) && router != Some(*host);
            let mesh = vpn.tailscale.iter().flat_map(|tailscale| numbers(&tailscale.on)).filter(leads);
            let hosts: Vec<usize> = wireguard.into_iter().flatten().chain(mesh).collect();
            let service = |known: &[&str], on: &[usize]| {
                let is = |placed: &&Placed<'a>| is_application(self.parsed, placed.placement, known);
                let there = |placed: &&Placed<'a>| on.is_empty() || placed.hosts.iter().any(|host| on.contains(host));
                self.placed.iter().filter(there).find(is).map(|placed| placed.placement.service.as_str())
            };
            let own = vpn.wireguard.as_ref().filter(|wireguard| wireguard.key.is_none());
            let endpoint = own.and_then(|_| service(&["wireguard", "wg-easy"], &hosts));
            role(RoleKind::Vpn, hosts, endpoint);
            if let Some(coordinates) = vpn.tailscale.as_ref().and_then(|_| service(&["headscale"], &[])) {
                let on: BTreeSet<usize> =
                    self.service(coordinates).iter().flat_map(|n| self.placed[*n].hosts.iter().copied()).collect();
                role(RoleKind::Coordination, on.into_iter().collect(), Some(coordinates));
            }
        }
        let cloudflare = lab.edge.public.iter().flat_map(|public| &public.cloudflare);
        let tunnel = cloudflare.flat_map(|cloudflare| &cloudflare.tunnel);
        let tunnel: Vec<usize> = tunnel.flat_map(|tunnel| one(&tunnel.on)).collect();
        let tunnel_on = tunnel.first().copied();
        role(RoleKind::Tunnel, tunnel, None);
        for (kind, entry) in [
            (RoleKind::Identity, &platform.identity),
            (RoleKind::Runners, &platform.runners),
            (RoleKind::Telemetry, &platform.telemetry),
            (RoleKind::Backup, &platform.backup),
        ] {
            if let Some(entry) = entry {
                role(kind, numbers(&entry.on), named(entry.service.as_ref()));
            }
        }
        let monitoring = platform.monitoring.iter().flat_map(|monitoring| numbers(&monitoring.on));
        role(RoleKind::Monitoring, monitoring.collect(), None);
        if let Some(vault) = platform.secrets.as_ref().and_then(|secrets| secrets.vault.as_ref()) {
            role(RoleKind::Vault, one(&vault.on), None);
            role(RoleKind::Unseal, one(&vault.with), None);
        }
        let registry = platform.registry.iter().flat_map(|registry| numbers(&registry.on));
        role(RoleKind::Registry, registry.collect(), None);
        roles.retain(|role| !role.hosts.is_empty() || role.service.is_some());
        roles.sort_by_key(|role| role.kind);
        self.roles = roles;
        self.tunnel = tunnel_on;
    }
}

/// The host of `user@host:port`.
fn host_part(jump: &str) -> &str {
    let host = jump.rsplit_once('@').map_or(jump, |(_, host)| host);
    host.split_once(':').map_or(host, |(host, _)| host)
}

/// Whether a path is a folder or below it.
fn below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `wiki (dev)` as the service and its environment.
pub(super) fn split(name: &str) -> Option<(&str, &str)> {
    name.strip_suffix(')')?.split_once(" (")
}

fn runs_jobs(parsed: &Parsed, placement: &Placement) -> bool {
    let Some(project) = parsed.project(placement) else { return false };
    let mut images = project.enabled().filter_map(|(_, service)| service.image.as_ref()).peekable();
    let repository = |image: &str| {
        let name = image.split('@').next().unwrap_or(image);
        let last = name.rfind('/').map_or(0, |at| at + 1);
        name[last..].find(':').map_or(name, |colon| &name[..last + colon]).to_string()
    };
    images.peek().is_some() && images.all(|image| application::is_runner(&repository(image)))
}

/// Whether a name is answered by the lab's own resolver alone: it is in the lab's domain, or in one of its records.
fn is_named_here(lab: &Lab, url: &str) -> bool {
    let name = url.split_once("://").map_or(url, |(_, rest)| rest);
    let name = lab.fqdn(name.split(['/', ':']).next().unwrap_or_default()).to_lowercase();
    let within = |domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let records = lab.platform.dns.iter().flat_map(|dns| dns.records.keys());
    within(&lab.domain.to_lowercase())
        || records.into_iter().any(|record| match record.strip_prefix("*.") {
            Some(domain) => within(&domain.to_lowercase()),
            None => lab.fqdn(record).to_lowercase() == name,
        })
}
