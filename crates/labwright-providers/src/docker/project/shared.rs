//! What the services of a project share: its networks and volumes.
//! Those that somebody else makes are only named.

use labwright_model::compose::resources::{External, Ipam, IpamPool};
use labwright_model::compose::values::Pairs;
use labwright_model::compose::{Network, Volume};

use super::super::stack::{self, Stack, Subnet};
use super::Making;
use std::collections::BTreeMap;

/// Puts them into the stack; a volume or network that no running service uses is none of its business.
pub fn into(making: &mut Making<'_>, stack: &mut Stack) {
    let project = making.project;
    let used_network = |key: &str| project.enabled().any(|(_, service)| service.networks.0.contains_key(key));
    for (key, network) in project.networks.iter().filter(|(key, _)| used_network(key)) {
        stack.networks.insert(key.clone(), of_network(network));
    }
    let used_volume = |key: &str| {
        let uses = |source: &Option<labwright_model::Spanned<String>>| source.as_ref().is_some_and(|s| s.value == key);
        project.enabled().any(|(_, service)| service.volumes.iter().any(|mount| uses(&mount.source)))
    };
    for (key, volume) in project.volumes.iter().filter(|(key, _)| used_volume(key)) {
        stack.volumes.insert(key.clone(), of_volume(volume));
    }
}

fn of_network(network: &Network) -> stack::Network {
    let Network { name, driver, driver_opts, ipam, external, internal, attachable, labels, enable_ipv4, enable_ipv6 } =
        network;
    let Ipam { driver: ipam_driver, config, options } = ipam;
    let External { external, named: _ } = external;
    let subnet = |pool: &IpamPool| Subnet {
        subnet: pool.subnet.as_ref().map(|subnet| subnet.value.clone()).unwrap_or_default(),
        gateway: pool.gateway.clone(),
        range: pool.ip_range.clone(),
        taken: pairs(&pool.aux_addresses),
    };
    stack::Network {
        name: name.as_ref().map(|name| name.value.clone()),
        external: *external,
        driver: driver.as_ref().map(|driver| driver.value.clone()),
        options: pairs(driver_opts),
        internal: internal.0,
        attachable: attachable.0,
        ipv6: enable_ipv6.is_some_and(|flag| flag.0),
        ipv4: enable_ipv4.map(|flag| flag.0),
        ipam_driver: ipam_driver.clone().filter(|driver| driver != "default"),
        ipam_options: pairs(options),
        subnets: config.iter().map(subnet).collect(),
        labels: pairs(labels),
    }
}

fn of_volume(volume: &Volume) -> stack::Volume {
    let Volume { name, driver, driver_opts, external, labels } = volume;
    stack::Volume {
        name: name.as_ref().map(|name| name.value.clone()),
        external: external.external,
        driver: driver.as_ref().map(|driver| driver.value.clone()),
        options: pairs(driver_opts),
        labels: pairs(labels),
    }
}

fn pairs(pairs: &Pairs) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.clone(), value.value.clone().unwrap_or_default())).collect()
}
