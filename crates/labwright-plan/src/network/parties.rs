//! Who takes part: zones, hosts with their addresses, the internet, and who of them denies anything at all.
//! Judges nothing. Everything is sorted by name, so that the order of the lab file changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use labwright_model::Parsed;
use labwright_model::lab::{Firewall, Host, Lab, Os, RouterKind, Zone};
use labwright_model::units::Subnet;

use super::ranges::{Family, Ranges, number};
use crate::check::network::reach::{End as Named, Reach, ends, sites, wireguard_zone};
use crate::check::network::zone_kind::{Kinds, ZoneKind};

/// One end of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    Internet,
    /// Every address of the zone, and every host in it. The number of `Parties::zones`.
    Zone(usize),
    /// The number of `Parties::hosts`.
    Host(usize),
}

/// Somebody who opens or takes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    Internet,
    /// A device of the zone that the lab file does not name.
    Device(usize),
    Host(usize),
}

pub struct ZoneParty<'a> {
    pub name: &'a str,
    pub entry: &'a Zone,
    pub kind: Option<ZoneKind>,
    /// Networks behind peers of the VPN that it is.
    pub sites: Vec<Subnet>,
    /// The addresses of each family that are the zone's, without those of hosts that only pass through.
    ranges: [Ranges; 2],
}

impl ZoneParty<'_> {
    /// Its own subnets, and those behind peers of the VPN that it is.
    pub fn subnets(&self) -> impl Iterator<Item = Subnet> + '_ {
        self.entry.subnet.iter().map(|subnet| subnet.value).chain(self.sites.iter().copied())
    }
}

pub struct HostParty<'a> {
    pub name: &'a str,
    pub entry: &'a Host,
    /// Those of the lab file; behind them that of the VPN which ends at the host.
    pub addresses: Vec<IpAddr>,
    /// The zones whose flows are its flows.
    pub zones: BTreeSet<usize>,
    pub guard: Guard,
    pub ssh_port: u16,
    /// Whether containers run on it, as far as the lab says.
    pub containers: bool,
    /// Whether it carries virtual machines on bridges of its own.
    pub carries: bool,
}

/// The port of a host's own SSH server: as the lab sets it, else as it is reached.
fn ssh_port(entry: &Host) -> u16 {
    let moves = entry.sshd.as_ref().and_then(|sshd| sshd.value.port());
    moves.or(entry.ssh.port.as_ref().map(|port| port.value)).unwrap_or(22)
}

/// Whether a host denies what no flow allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// By a table of ours.
    Enforced,
    /// It could, and the lab does not ask for it.
    Off,
    /// Labwright changes nothing on it.
    Foreign,
}

/// A host other than the router that a VPN comes in by, and that passes on what the VPN opens, and what is opened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    pub host: usize,
    pub zone: usize,
    /// Whether devices of the VPN speak with each other by it too: WireGuard's endpoint, and not a tailnet.
    pub hub: bool,
}

pub struct Parties<'a> {
    pub parsed: &'a Parsed,
    pub zones: Vec<ZoneParty<'a>>,
    pub hosts: Vec<HostParty<'a>>,
    /// The host that routes between zones.
    pub router: Option<usize>,
    /// Whether the router is a Linux host under our SSH.
    pub router_is_ours: bool,
    pub gates: Vec<Gate>,
    /// Where WireGuard ends and its peers meet: the host, the router as well, and the zone that the VPN is.
    pub hub: Option<(usize, usize)>,
    /// Hosts that a tailnet comes in by, the router as well, with the zone that the tailnet is. What they pass on has their
    /// own address.
    pub subnet_routers: Vec<(usize, usize)>,
    zone_numbers: HashMap<&'a str, usize>,
    host_numbers: HashMap<&'a str, usize>,
    by_address: HashMap<IpAddr, usize>,
    lab: [Ranges; 2],
    inside: [Ranges; 2],
    /// Addresses of a VPN that is no zone, and of networks behind its peers.
    zoneless: [Ranges; 2],
}

impl<'a> Parties<'a> {
    pub fn of(parsed: &'a Parsed, reach: &Reach<'a>, kinds: &Kinds<'a>) -> Parties<'a> {
        let lab = &parsed.lab;
        let sorted: BTreeMap<&str, &Zone> =
            lab.network.zones.iter().map(|(name, zone)| (name.as_str(), &zone.value)).collect();
        let zone_numbers: HashMap<&str, usize> =
            sorted.keys().enumerate().map(|(number, name)| (*name, number)).collect();
        let router_name = lab.edge.router.as_ref().and_then(|router| router.on.as_ref()).map(|on| on.value.as_str());
        let linux = lab.edge.router.as_ref().is_some_and(|router| router.kind == RouterKind::Linux);
        let with_containers: BTreeSet<&str> = with_containers(parsed);
        let carriers: BTreeSet<&str> = carriers(lab);
        let names: BTreeMap<&str, &Host> =
            lab.compute.hosts.iter().map(|(name, host)| (name.as_str(), &host.value)).collect();
        let end = end(lab, router_name);
        let hosts: Vec<HostParty<'_>> = names
            .into_iter()
            .map(|(name, entry)| {
                // A router has an address in every zone that it routes; it is at home in one of them alone.
                let passes = router_name == Some(name) || !entry.routes.is_empty();
                let zones = match passes {
                    true => reach.zone(name).into_iter().collect(),
                    false => reach.zones(name).cloned().unwrap_or_default(),
                };
                let mut addresses: Vec<IpAddr> = Vec::new();
                for address in entry.address.iter() {
                    if !addresses.contains(&address.value) {
                        addresses.push(address.value);
                    }
                }
                // Where WireGuard ends, the host speaks into the VPN by an address there, wherever else it is at home.
                let end = end.filter(|(on, own)| *on == name && !addresses.is_empty() && !addresses.contains(own));
                addresses.extend(end.map(|(_, own)| own));
                let foreign = router_name == Some(name) && !linux;
                HostParty {
                    name,
                    entry,
                    addresses,
                    zones: zones.iter().filter_map(|zone| zone_numbers.get(zone)).copied().collect(),
                    guard: if foreign { Guard::Foreign } else { guard(lab, entry) },
                    ssh_port: ssh_port(entry),
                    containers: with_containers.contains(name),
                    carries: carriers.contains(name),
                }
            })
            .collect();
        let host_numbers: HashMap<&str, usize> =
            hosts.iter().enumerate().map(|(number, host)| (host.name, number)).collect();
        let mut by_address = HashMap::new();
        for (number, host) in hosts.iter().enumerate() {
            host.addresses.iter().for_each(|address| {
                by_address.entry(*address).or_insert(number);
            });
        }
        let router = router_name.and_then(|name| host_numbers.get(name)).copied();
        let hub = hub(lab, &zone_numbers, &host_numbers, router);
        let subnet_routers = subnet_routers(lab, &zone_numbers, &host_numbers, router);
        let gates = gates(hub, &subnet_routers, router);
        let router_is_ours = linux && router.is_some_and(|router| hosts[router].guard != Guard::Foreign);
        let mut all = [Ranges::default(), Ranges::default()];
        let mut taken = all.clone();
        // What a peer of the VPN has behind it is the lab's as well: no zone's own subnet, and not the internet.
        let mut declared = all.clone();
        for subnet in sorted.values().flat_map(|zone| zone.subnet.iter()).map(|subnet| subnet.value) {
            add(&mut declared, subnet);
        }
        let mut far = [Ranges::default(), Ranges::default()];
        let behind: Vec<Subnet> = sites(lab).collect();
        behind.iter().for_each(|site| add(&mut far, *site));
        let far = [far[0].minus(&declared[0]), far[1].minus(&declared[1])];
        let carrier = wireguard_zone(lab);
        (0..2).for_each(|slot| all[slot].extend(&far[slot]));
        // A VPN that is no zone is nobody whom a flow could mean, and the internet all the same not.
        let mut zoneless = [Ranges::default(), Ranges::default()];
        if carrier.is_none() {
            zoneless = far.clone();
            for address in vpn_addresses(lab).filter(|address| {
                let at = number(*address);
                !declared[slot(Family::of(*address))].contains(at)
            }) {
                zoneless[slot(Family::of(address))].add(number(address), number(address));
            }
            (0..2).for_each(|slot| all[slot].extend(&zoneless[slot]));
        }
        let zones = sorted
            .into_iter()
            .enumerate()
            .map(|(number_of_zone, (name, entry))| {
                let mut ranges = [Ranges::default(), Ranges::default()];
                entry.subnet.iter().for_each(|subnet| add(&mut ranges, subnet.value));
                let carries = carrier == Some(name);
                if carries {
                    (0..2).for_each(|slot| ranges[slot].extend(&far[slot]));
                }
                for slot in 0..2 {
                    all[slot].extend(&ranges[slot]);
                    // Of two zones that claim an address, which is a finding, the first has it.
                    ranges[slot] = ranges[slot].minus(&taken[slot]);
                    taken[slot].extend(&ranges[slot]);
                }
                let before = ranges.clone();
                for host in hosts.iter().filter(|host| !host.zones.contains(&number_of_zone)) {
                    for address in &host.addresses {
                        let at = &mut ranges[slot(Family::of(*address))];
                        let number = number(*address);
                        if at.contains(number) {
                            *at = at.minus(&Ranges::of(number, number));
                        }
                    }
                }
                // Beside a gateway at the first address, the network's own address would be an interval of its own.
                for subnet in entry.subnet.iter().map(|subnet| subnet.value.0) {
                    let (slot, first) = (slot(Family::of(subnet.network())), number(subnet.network()));
                    if ranges[slot] != before[slot] && subnet.prefix_len() < subnet.max_prefix_len() - 1 {
                        ranges[slot] = ranges[slot].minus(&Ranges::of(first, first));
                    }
                }
                let sites = if carries { behind.clone() } else { Vec::new() };
                ZoneParty { name, entry, kind: kinds.zone(name), sites, ranges }
            })
            .collect();
        let inside = all.clone();
        for address in hosts.iter().flat_map(|host| &host.addresses) {
            all[slot(Family::of(*address))].add(number(*address), number(*address));
        }
        Parties {
            parsed,
            zones,
            hosts,
            router,
            router_is_ours,
            gates,
            hub,
            subnet_routers,
            zone_numbers,
            host_numbers,
            by_address,
            lab: all,
            inside,
            zoneless,
        }
    }

    pub fn lab(&self) -> &'a Lab {
        &self.parsed.lab
    }

    pub fn zone(&self, name: &str) -> Option<usize> {
        self.zone_numbers.get(name).copied()
    }

    pub fn host(&self, name: &str) -> Option<usize> {
        self.host_numbers.get(name).copied()
    }

    /// The addresses of a zone: its subnets, without those of hosts that are at home elsewhere.
    pub fn ranges(&self, zone: usize, family: Family) -> &Ranges {
        &self.zones[zone].ranges[slot(family)]
    }

    /// Every address of the lab; whatever is outside of it is the internet.
    pub fn lab_ranges(&self, family: Family) -> &Ranges {
        &self.lab[slot(family)]
    }

    /// The addresses of zones alone: what is reached without the internet in between.
    pub fn zone_ranges(&self, family: Family) -> &Ranges {
        &self.inside[slot(family)]
    }

    pub fn host_addresses(&self, host: usize, family: Family) -> impl Iterator<Item = IpAddr> + '_ {
        self.hosts[host].addresses.iter().copied().filter(move |address| Family::of(*address) == family)
    }

    /// Whose address this is.
    pub fn who(&self, address: IpAddr) -> Party {
        if let Some(host) = self.by_address.get(&address) {
            return Party::Host(*host);
        }
        let (slot, number) = (slot(Family::of(address)), number(address));
        let zone = self.zones.iter().position(|zone| zone.ranges[slot].contains(number));
        zone.map_or(Party::Internet, Party::Device)
    }

    /// Whether an address is one of a VPN that no zone of the lab is.
    pub fn is_zoneless(&self, address: IpAddr) -> bool {
        self.zoneless[slot(Family::of(address))].contains(number(address)) && !self.by_address.contains_key(&address)
    }

    /// Everything that a grant may call this party.
    pub fn ends(&self, party: Party) -> Vec<End> {
        match party {
            Party::Internet => vec![End::Internet],
            Party::Device(zone) => vec![End::Zone(zone)],
            Party::Host(host) => {
                let zones = self.hosts[host].zones.iter().map(|zone| End::Zone(*zone));
                std::iter::once(End::Host(host)).chain(zones).collect()
            }
        }
    }

    /// The zones that a party is in.
    pub fn zones_of(&self, party: Party) -> BTreeSet<usize> {
        match party {
            Party::Internet => BTreeSet::new(),
            Party::Device(zone) => BTreeSet::from([zone]),
            Party::Host(host) => self.hosts[host].zones.clone(),
        }
    }

    /// What a name in a flow stands for; a service stands for the hosts that it runs on.
    pub fn named(&self, name: &'a labwright_model::Spanned<String>) -> Vec<Named<'a>> {
        ends(self.lab(), name)
    }

    pub fn name(&self, end: End) -> &'a str {
        match end {
            End::Internet => "internet",
            End::Zone(zone) => self.zones[zone].name,
            End::Host(host) => self.hosts[host].name,
        }
    }

    pub fn party_name(&self, party: Party) -> String {
        match party {
            Party::Internet => "internet".to_string(),
            Party::Device(zone) => format!("another device in {}", self.zones[zone].name),
            Party::Host(host) => self.hosts[host].name.to_string(),
        }
    }

    /// The host that passes on what one party opens to another because a VPN ends there, and whether that is where it comes
    /// from: then it is the first on the way.
    pub fn gate(&self, from: Party, to: Party) -> Option<(usize, bool)> {
        let in_vpn = |party: Party, zone: usize| match party {
            Party::Internet => false,
            Party::Device(other) => other == zone,
            Party::Host(host) => self.hosts[host].zones.iter().eq([&zone]),
        };
        self.gates.iter().find_map(|gate| {
            let (here, there) = (in_vpn(from, gate.zone), in_vpn(to, gate.zone));
            let own = from == Party::Host(gate.host) || to == Party::Host(gate.host);
            let passes = here != there || here && gate.hub && from != to;
            (passes && !own).then_some((gate.host, here))
        })
    }

    /// The host that peers of WireGuard meet at, where two parties have the VPN in common and nothing else: no peer speaks
    /// with another past it.
    pub fn meets_at(&self, from: Party, to: Party) -> Option<usize> {
        let (host, zone) = self.hub?;
        let itself = from == to && matches!(from, Party::Host(_));
        let ends = itself || from == Party::Host(host) || to == Party::Host(host);
        let both = || self.zones_of(from).intersection(&self.zones_of(to)).copied().eq([zone]);
        (!ends && both()).then_some(host)
    }

    /// Whether a host stands on the internet itself: in no zone, and by public addresses alone.
    pub fn is_outside(&self, host: usize) -> bool {
        let host = &self.hosts[host];
        host.zones.is_empty() && !host.addresses.is_empty() && host.addresses.iter().all(|address| is_public(*address))
    }

    /// Whether a host enforces.
    pub fn guards(&self, host: usize) -> bool {
        self.hosts[host].guard == Guard::Enforced
    }

    /// Whether anything of the lab enforces.
    pub fn enforces(&self) -> bool {
        (0..self.hosts.len()).any(|host| self.guards(host))
    }

    /// The router, where it enforces.
    pub fn guarding_router(&self) -> Option<usize> {
        self.router.filter(|router| self.router_is_ours && self.guards(*router))
    }

    /// Hosts whose address lies outside the ranges of a zone that they are in, with that zone.
    pub fn strays(&self) -> Vec<(usize, IpAddr, usize)> {
        let mut all = Vec::new();
        for (host_number, host) in self.hosts.iter().enumerate() {
            for (zone, address) in host.zones.iter().flat_map(|zone| host.addresses.iter().map(move |a| (*zone, *a))) {
                if !self.ranges(zone, Family::of(address)).contains(number(address)) {
                    all.push((host_number, address, zone));
                }
            }
        }
        all
    }
}

/// Where WireGuard ends, and the zone that it is.
fn hub(
    lab: &Lab,
    zones: &HashMap<&str, usize>,
    hosts: &HashMap<&str, usize>,
    router: Option<usize>,
) -> Option<(usize, usize)> {
    let wireguard = lab.edge.vpn.as_ref()?.wireguard.as_ref()?;
    let host = match &wireguard.on {
        Some(on) => hosts.get(on.value.as_str()).copied(),
        None => router,
    };
    host.zip(wireguard_zone(lab).and_then(|zone| zones.get(zone)).copied())
}

/// Hosts of a tailnet that route for others: the router, where it joins; else the first that says what it `routes`.
fn subnet_routers(
    lab: &Lab,
    zones: &HashMap<&str, usize>,
    hosts: &HashMap<&str, usize>,
    router: Option<usize>,
) -> Vec<(usize, usize)> {
    let Some(tailscale) = lab.edge.vpn.as_ref().and_then(|vpn| vpn.tailscale.as_ref()) else { return Vec::new() };
    let joined: Vec<(&str, usize)> = tailscale
        .on
        .iter()
        .filter_map(|on| hosts.get(on.value.as_str()).map(|host| (on.value.as_str(), *host)))
        .collect();
    let routes = |name: &str| lab.host(name).is_some_and(|entry| !entry.routes.is_empty());
    let own = joined.iter().map(|(_, host)| *host).find(|host| Some(*host) == router);
    let other = || joined.iter().find(|(name, _)| routes(name)).map(|(_, host)| *host);
    let Some(host) = own.or_else(other) else { return Vec::new() };
    let is_tailnet = |zone: &Zone| zone.interface.as_ref().is_some_and(|name| name.starts_with("tailscale"));
    let tailnets = lab.network.zones.iter().filter(|(_, zone)| is_tailnet(&zone.value));
    tailnets.filter_map(|(name, _)| zones.get(name.as_str())).map(|zone| (host, *zone)).collect()
}

/// Where VPNs end that do not end at the router.
fn gates(hub: Option<(usize, usize)>, subnet_routers: &[(usize, usize)], router: Option<usize>) -> Vec<Gate> {
    let gate = |hub: bool| move |(host, zone): (usize, usize)| Gate { host, zone, hub };
    let all = hub.map(gate(true)).into_iter().chain(subnet_routers.iter().copied().map(gate(false)));
    all.filter(|gate| Some(gate.host) != router).collect()
}

/// The host that WireGuard ends at, with its address inside: the one that is said, else the first of the VPN's subnet,
/// where nobody has that.
fn end<'l>(lab: &'l Lab, router: Option<&'l str>) -> Option<(&'l str, IpAddr)> {
    let wireguard = lab.edge.vpn.as_ref()?.wireguard.as_ref()?;
    let on = wireguard.on.as_ref().map(|on| on.value.as_str()).or(router)?;
    if let Some(address) = &wireguard.address {
        return Some((on, address.value));
    }
    let subnet = lab.network.zones.get(wireguard_zone(lab)?)?.subnet.first()?.value.0;
    let first = Family::of(subnet.network()).address(number(subnet.network()) + 1);
    let hosts = lab.compute.hosts.values().flat_map(|host| host.address.iter());
    let peers = wireguard.peers.values().filter_map(|peer| peer.address.as_ref());
    let free = subnet.contains(&first) && hosts.chain(peers).all(|taken| taken.value != first);
    free.then_some((on, first))
}

/// The addresses that the lab file gives to the ends of WireGuard.
fn vpn_addresses(lab: &Lab) -> impl Iterator<Item = IpAddr> + '_ {
    let wireguard = lab.edge.vpn.as_ref().and_then(|vpn| vpn.wireguard.as_ref());
    let peers = || wireguard.into_iter().flat_map(|one| one.peers.values().filter_map(|peer| peer.address.as_ref()));
    wireguard.into_iter().filter_map(|one| one.address.as_ref()).chain(peers()).map(|address| address.value)
}

fn add(ranges: &mut [Ranges; 2], subnet: Subnet) {
    let (first, last) = (subnet.0.network(), subnet.0.broadcast());
    ranges[slot(Family::of(first))].add(number(first), number(last));
}

fn slot(family: Family) -> usize {
    usize::from(family == Family::V6)
}

/// Whether an address can be one on the internet: none that RFC 1918, 4193, 6598 or 3927 keep for networks of one's own.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
            !(address.is_private() || address.is_link_local() || address.is_loopback() || shared)
        }
        IpAddr::V6(address) => address.segments()[0] & 0xe000 == 0x2000,
    }
}

/// Who denies what no flow allows on a host.
pub fn guard(lab: &Lab, host: &Host) -> Guard {
    if !matches!(host.os, Os::Debian | Os::Ubuntu | Os::Proxmox) {
        return Guard::Foreign;
    }
    let said = host.firewall.as_ref().or(lab.network.firewall.as_ref()).map(|firewall| firewall.value);
    if said == Some(Firewall::Enforce) { Guard::Enforced } else { Guard::Off }
}

fn with_containers(parsed: &Parsed) -> BTreeSet<&str> {
    let listed = parsed.lab.compute.docker_hosts.iter().map(|host| host.value.as_str());
    let contained = parsed.placements.iter().filter(|placement| {
        let entry = &placement.entry;
        entry.compose.is_some() || entry.catalogue.is_some() || !entry.containers.0.is_null()
    });
    listed.chain(contained.flat_map(|placement| placement.entry.on.iter().map(|on| on.value.as_str()))).collect()
}

fn carriers(lab: &Lab) -> BTreeSet<&str> {
    let listed = lab.compute.proxmox.iter().map(|host| host.value.as_str());
    let by_os = lab.compute.hosts.iter().filter(|(_, host)| host.os == Os::Proxmox).map(|(name, _)| name.as_str());
    let under = lab
        .compute
        .hosts
        .values()
        .flat_map(|host| host.vm.iter().chain(&host.lxc).filter_map(|guest| guest.on.as_ref()))
        .map(|on| on.value.as_str());
    listed.chain(by_os).chain(under).collect()
}
