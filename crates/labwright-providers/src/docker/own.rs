//! The subnets that are the lab's own: a network of containers in one of them would hide it from its host. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use labwright_model::Parsed;

use super::services::Placed;

/// By host, what networks of containers keep away from: zones, addresses and routes of hosts, what is behind the VPN, and the
/// subnets that files of the same host give to networks of theirs.
pub fn subnets(parsed: &Parsed, placed: &[Placed<'_>]) -> BTreeMap<String, Vec<IpNet>> {
    let lab = of_lab(parsed);
    let mut all: BTreeMap<String, BTreeSet<IpNet>> = BTreeMap::new();
    for one in placed {
        let own = all.entry(one.host.to_string()).or_insert_with(|| lab.clone());
        let networks = one.stack().into_iter().flat_map(|stack| stack.networks.values());
        own.extend(networks.flat_map(|network| &network.subnets).filter_map(|said| said.subnet.parse::<IpNet>().ok()));
    }
    all.into_iter().map(|(host, own)| (host, IpNet::aggregate(&own.into_iter().collect()))).collect()
}

fn of_lab(parsed: &Parsed) -> BTreeSet<IpNet> {
    let lab = &parsed.lab;
    let mut all: BTreeSet<IpNet> =
        lab.network.zones.values().flat_map(|zone| zone.subnet.iter()).map(|subnet| subnet.value.0).collect();
    for host in lab.compute.hosts.values() {
        all.extend(host.address.iter().map(|address| IpNet::from(address.value)));
        for interface in host.interfaces.values() {
            all.extend(interface.addresses.iter().map(|address| address.value.0.trunc()));
            all.extend(interface.routes.keys().filter_map(|to| to.parse::<IpNet>().ok()));
        }
    }
    let wireguard = lab.edge.vpn.as_ref().and_then(|vpn| vpn.wireguard.as_ref());
    let peers = wireguard.into_iter().flat_map(|wireguard| wireguard.peers.values());
    all.extend(peers.flat_map(|peer| peer.networks.iter()).map(|network| network.value.0));
    // Somewhere everything is; a way there takes nobody's place.
    all.retain(|net| net.prefix_len() > 0);
    all
}
