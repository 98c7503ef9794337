//! What a zone is for, as its name and its hosts tell. A zone that tells nothing has no kind, and nothing is said of it.

use std::collections::{HashMap, HashSet};

use labwright_model::lab::{Host, Lab, Os, Tier, Zone};
use labwright_model::{Parsed, role_hosts};

use super::reach::Reach;
use super::telling::Stake;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneKind {
    /// What the lab itself is run from: hypervisors, switches.
    Management,
    Servers,
    /// What people sit at.
    Clients,
    /// Devices that nobody logs in to.
    Iot,
    /// The internet and nothing else.
    Guest,
    Vpn,
}

const WORDS: &[(ZoneKind, &[&str])] = &[
    (ZoneKind::Vpn, &["vpn", "wireguard", "wg", "tailscale", "tailnet", "headscale", "zerotier"]),
    (ZoneKind::Management, &["management", "mgmt", "mgt", "admin", "ipmi", "bmc", "oob", "hypervisors", "proxmox"]),
    (ZoneKind::Guest, &["guest", "guests", "visitor", "visitors"]),
    (ZoneKind::Iot, &["iot", "things", "camera", "cameras", "cctv", "cams", "smarthome", "smart"]),
    (
        ZoneKind::Clients,
        &[
            "client",
            "clients",
            "user",
            "users",
            "desktop",
            "desktops",
            "workstations",
            "laptops",
            "trusted",
            "lan",
            "wlan",
            "wifi",
            "family",
            "kids",
            "office",
        ],
    ),
    (ZoneKind::Servers, &["server", "servers", "services", "apps", "dmz", "docker", "containers", "data", "databases"]),
];

/// The kinds of all zones, and what hosts are besides.
pub struct Kinds<'a> {
    kinds: HashMap<&'a str, ZoneKind>,
    hypervisors: HashSet<&'a str>,
    /// Hosts by the zone that they name.
    hosts: HashMap<&'a str, Vec<&'a str>>,
    production: HashSet<&'a str>,
    /// Zones with something in them that people rely on.
    relied_on: HashSet<&'a str>,
    /// A hypervisor of each zone that has one.
    carried: HashMap<&'a str, &'a str>,
}

impl<'a> Kinds<'a> {
    pub fn of(parsed: &'a Parsed, reach: &Reach<'a>) -> Kinds<'a> {
        let lab = &parsed.lab;
        let mut hosts: HashMap<&str, Vec<&str>> = HashMap::new();
        for (name, _) in lab.compute.hosts.iter() {
            if let Some(zone) = reach.zone(name) {
                hosts.entry(zone).or_default().push(name);
            }
        }
        let hypervisors = hypervisors(lab);
        let serving: HashSet<String> = role_hosts(lab)
            .into_iter()
            .filter(|(_, _, role)| role.starts_with("platform.") || *role == "compute.docker_hosts")
            .map(|(host, _, _)| host)
            .chain(parsed.placements.iter().flat_map(|placement| placement.entry.on.iter().map(|on| on.value.clone())))
            .collect();
        let by_hosts = |zone: &str| {
            let hosts = hosts.get(zone)?;
            let managing = |host: &&str| hypervisors.contains(host) || router(lab) == Some(host);
            if hosts.iter().all(managing) {
                return Some(ZoneKind::Management);
            }
            hosts.iter().any(|host| serving.contains(*host)).then_some(ZoneKind::Servers)
        };
        let kinds = lab.network.zones.iter().filter_map(|(name, zone)| {
            let kind = by_name(name, zone).or_else(|| by_hosts(name))?;
            Some((name.as_str(), kind))
        });
        let production = production(parsed);
        let kinds = kinds.collect();
        let (mut relied_on, mut carried) = (HashSet::new(), HashMap::new());
        for (zone, hosts) in &hosts {
            relied_on.extend(hosts.iter().any(|host| production.contains(host)).then_some(*zone));
            carried.extend(hosts.iter().find(|host| hypervisors.contains(*host)).map(|host| (*zone, *host)));
        }
        Kinds { kinds, hypervisors, production, hosts, relied_on, carried }
    }

    pub fn zone(&self, zone: &str) -> Option<ZoneKind> {
        self.kinds.get(zone).copied()
    }

    pub fn is_hypervisor(&self, host: &str) -> bool {
        self.hypervisors.contains(host)
    }

    /// The first hypervisor in a zone.
    pub fn hypervisor_in(&self, zone: &str) -> Option<&'a str> {
        self.carried.get(zone).copied()
    }

    pub fn hosts_in(&self, zone: &str) -> &[&'a str] {
        self.hosts.get(zone).map_or(&[], Vec::as_slice)
    }

    /// What people rely on of a host: itself, the services on it, the guests that it carries.
    pub fn stake(&self, host: &str) -> Stake {
        if self.production.contains(host) { Stake::Production } else { Stake::Lab }
    }

    pub fn stake_in(&self, zone: &str) -> Stake {
        if self.relied_on.contains(zone) { Stake::Production } else { Stake::Lab }
    }
}

pub fn router(lab: &Lab) -> Option<&str> {
    lab.edge.router.as_ref()?.on.as_ref().map(|on| on.value.as_str())
}

/// Whether a zone is a VPN: as its interface says, or as its name does.
pub fn is_vpn(name: &str, zone: &Zone) -> bool {
    let carried = |interface: &str| ["tailscale", "wg", "zt", "tun"].iter().any(|vpn| interface.starts_with(vpn));
    match &zone.interface {
        Some(interface) => carried(interface),
        None => by_word(name) == Some(ZoneKind::Vpn),
    }
}

fn by_name(name: &str, zone: &Zone) -> Option<ZoneKind> {
    if is_vpn(name, zone) {
        return Some(ZoneKind::Vpn);
    }
    by_word(name).filter(|kind| *kind != ZoneKind::Vpn)
}

fn by_word(name: &str) -> Option<ZoneKind> {
    let name = name.to_lowercase();
    // The order of the kinds decides: `guest-wifi` is for guests.
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty()).collect();
    WORDS.iter().find(|(_, known)| words.iter().any(|word| known.contains(word))).map(|(kind, _)| *kind)
}

fn hypervisors(lab: &Lab) -> HashSet<&str> {
    let hosts = lab.compute.hosts.iter();
    let listed = lab.compute.proxmox.iter().map(|host| host.value.as_str());
    let by_os = hosts.clone().filter(|(_, host)| host.os == Os::Proxmox).map(|(name, _)| name.as_str());
    listed.chain(by_os).chain(hosts.filter_map(|(_, host)| carrier(host))).collect()
}

/// The hypervisor that a host is a guest of.
fn carrier(host: &Host) -> Option<&str> {
    host.vm.iter().chain(&host.lxc).find_map(|guest| guest.on.as_ref()).map(|on| on.value.as_str())
}

fn production(parsed: &Parsed) -> HashSet<&str> {
    let lab = &parsed.lab;
    let said =
        lab.compute.hosts.iter().filter(|(_, host)| host.tier == Tier::Production).map(|(name, _)| name.as_str());
    let served = parsed.placements.iter().filter(|placement| placement.entry.tier == Tier::Production);
    let mut all: HashSet<&str> =
        said.chain(served.flat_map(|placement| placement.entry.on.iter().map(|on| on.value.as_str()))).collect();
    // A guest within a guest is rare, and one step takes in its hypervisor.
    for (name, host) in lab.compute.hosts.iter() {
        if let Some(on) = carrier(host).filter(|_| all.contains(name.as_str())) {
            all.insert(on);
        }
    }
    all
}
