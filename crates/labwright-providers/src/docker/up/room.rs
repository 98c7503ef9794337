//! Room for networks: an engine has about thirty by itself, each far larger than a service needs. So each has a small one
//! here, where nobody on this machine is yet.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use bollard::query_parameters::ListNetworksOptions;
use ipnet::{IpNet, Ipv4Net};
use labwright_plan::{ProviderError, ResourceId, Spec, Value};
use serde_json::Value as Json;

use super::super::engine::{json, told};
use super::super::network;
use super::attend::Hub;

/// Where this machine is in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub address: IpAddr,
    pub subnet: IpNet,
}

/// Where this machine is in a network, as the engine tells it.
pub fn way(network: &Json) -> Option<Way> {
    let pools = network["IPAM"]["Config"].as_array()?;
    pools.iter().find_map(|pool| {
        let subnet: IpNet = pool["Subnet"].as_str()?.parse().ok()?;
        // Some engines do not repeat what they chose themselves: the first address.
        let said = pool["Gateway"].as_str().and_then(|address| address.split('/').next()?.parse().ok());
        Some(Way { address: said.or_else(|| subnet.hosts().next())?, subnet })
    })
}

/// Bits of a network's prefix: sixty-one containers and this machine.
const PREFIX: u8 = 26;
/// Somebody else may have taken the same room in the same moment.
const ATTEMPTS: usize = 5;

/// Blocks that are tried: those of 172.16.0.0/12 that an engine takes last by itself, then some that few have.
fn blocks() -> impl Iterator<Item = Ipv4Net> {
    let first = (16..=30).rev().map(|second| (172, second));
    let then = (250..=254).rev().map(|second| (10, second));
    first.chain(then).filter_map(|(first, second)| Ipv4Net::new(Ipv4Addr::new(first, second, 0, 0), 16).ok())
}

/// The first room that nothing of what is taken reaches into.
fn free(taken: &[IpNet]) -> Option<IpNet> {
    let overlaps = |room: &IpNet, other: &IpNet| room.contains(other) || other.contains(room);
    let rooms = blocks().flat_map(|block| block.subnets(PREFIX).into_iter().flatten()).map(IpNet::V4);
    rooms.into_iter().find(|room| !taken.iter().any(|other| overlaps(room, other)))
}

/// Makes a network, where the engine has room for it.
pub async fn create(hub: &Rc<Hub>, id: &ResourceId, spec: &Spec) -> Result<(), ProviderError> {
    let chosen = spec.contains_key("subnets") || spec.contains_key("ipam_driver");
    if chosen || spec.get("driver").and_then(Value::text) != Some("bridge") {
        return network::create(&hub.docker, id, spec).await;
    }
    for attempt in 1.. {
        let room = take(hub).await?;
        let subnet = Value::Map([("Subnet".to_string(), Value::from(room.to_string()))].into());
        let mut spec = spec.clone();
        spec.insert("subnets".into(), Value::List(vec![subnet]));
        // Podman's networks reach each other unless each says that it does not want that; podman-network-create(1).
        if let Some(Value::Map(options)) = spec.get_mut("options").filter(|_| hub.podman) {
            options.entry("isolate".into()).or_insert_with(|| "true".into());
        }
        match network::create(&hub.docker, id, &spec).await {
            Err(error) if attempt < ATTEMPTS && is_taken(&error) => *hub.taken.lock().await = None,
            made => return made,
        }
    }
    Ok(())
}

/// As engines say it: Docker's "Pool overlaps with other one on this address space", Podman's "is already used on the host".
fn is_taken(error: &ProviderError) -> bool {
    ["overlap", "already used"].iter().any(|words| error.message.contains(words))
}

async fn take(hub: &Hub) -> Result<IpNet, ProviderError> {
    let mut known = hub.taken.lock().await;
    let taken = match &mut *known {
        Some(taken) => taken,
        None => known.insert(all(hub).await?),
    };
    let room = free(taken).ok_or_else(|| {
        ProviderError::rejected("no addresses are left for a network of containers on this machine")
            .help("`docker network prune` removes networks that nothing is in")
    })?;
    taken.push(room);
    Ok(room)
}

/// Where the engine has networks, and where this machine's routes lead beside the default.
async fn all(hub: &Hub) -> Result<Vec<IpNet>, ProviderError> {
    let networks = hub.docker.list_networks(None::<ListNetworksOptions>).await;
    let networks = json(&networks.map_err(|error| told("list networks of", "the engine", error))?);
    let pools = networks.as_array().into_iter().flatten().flat_map(|network| network["IPAM"]["Config"].as_array());
    let mut taken: Vec<IpNet> = pools.flatten().filter_map(|pool| pool["Subnet"].as_str()?.parse().ok()).collect();
    taken.extend(routes(&std::fs::read_to_string("/proc/net/route").unwrap_or_default()));
    Ok(taken)
}

/// The networks that routes lead to: destination and mask in hexadecimal, in the machine's own order of bytes; proc(5).
fn routes(text: &str) -> Vec<IpNet> {
    let address = |hex: &str| u32::from_str_radix(hex, 16).ok().map(|bits| Ipv4Addr::from(bits.to_ne_bytes()));
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (to, mask) = (address(fields.get(1)?)?, address(fields.get(7)?)?);
        Ipv4Net::with_netmask(to, mask).ok().filter(|net| net.prefix_len() > 0).map(IpNet::V4)
    };
    text.lines().skip(1).filter_map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_where_nobody_is() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        assert_eq!(free(&[]), Some(net("172.30.0.0/26")));
        assert_eq!(free(&[net("172.30.0.0/26"), net("172.30.0.64/28")]), Some(net("172.30.0.128/26")));
        assert_eq!(free(&[net("172.30.0.0/16"), net("172.28.0.0/15")]), Some(net("172.27.0.0/26")));
        assert_eq!(free(&[net("172.16.0.0/12")]), Some(net("10.254.0.0/26")));
        assert_eq!(free(&[net("172.16.0.0/12"), net("10.0.0.0/8")]), None);
    }

    #[test]
    fn routes_are_read_as_the_kernel_writes_them() {
        if cfg!(target_endian = "big") {
            return;
        }
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    eth0\t00001EAC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(routes(text), ["172.30.0.0/16".parse::<IpNet>().unwrap()]);
    }
}
