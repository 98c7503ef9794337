//! The zones by what they are for, and what people rely on in each, as rules ask it. What a zone is for is the model's to say
//! (`network.zones.NAME.kind`, or its guess); a zone without a kind is one of which no rule says anything.

use std::collections::{HashMap, HashSet};

use labwright_model::Parsed;
pub use labwright_model::lab::ZoneKind;
use labwright_model::lab::{Tier, Zone};
pub use labwright_model::router;
use labwright_model::{carrier, hypervisors};

use super::reach::Reach;
use super::telling::Stake;

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
        let zones = lab.network.zones.iter();
        let kinds = zones.filter_map(|(name, zone)| Some((name.as_str(), zone.kind.as_ref()?.value)));
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

/// Whether a zone is a VPN.
pub fn is_vpn(zone: &Zone) -> bool {
    zone.kind.as_ref().is_some_and(|kind| kind.value == ZoneKind::Vpn)
}

/// Whether something that serves others stands in zones of this kind.
pub fn serves(kind: ZoneKind) -> bool {
    matches!(kind, ZoneKind::Servers | ZoneKind::Dmz | ZoneKind::Lab)
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
