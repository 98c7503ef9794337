//! Room for networks that `labwright up` makes: each has a small one from the start. Where it is free says `docker/room.rs`.

use std::net::IpAddr;
use std::rc::Rc;

use ipnet::IpNet;
use labwright_plan::{ProviderError, ResourceId, Spec, Value};
use serde_json::Value as Json;

use super::super::network;
use super::super::room::{ATTEMPTS, apart, free, is_taken, may_choose, nothing_left, subnets, taken};
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

/// Makes a network, where the engine has room for it.
pub async fn create(hub: &Rc<Hub>, id: &ResourceId, spec: &Spec) -> Result<(), ProviderError> {
    if !may_choose(spec) {
        return network::create(&hub.docker, id, spec).await;
    }
    for attempt in 1.. {
        let room = take(hub, spec).await?;
        let mut spec = spec.clone();
        spec.insert("subnets".into(), subnets(&[room]));
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

async fn take(hub: &Hub, spec: &Spec) -> Result<IpNet, ProviderError> {
    let mut known = hub.taken.lock().await;
    let all = match &mut *known {
        Some(all) => all,
        None => known.insert(taken(&hub.docker).await?),
    };
    let room = free(&[all.clone(), apart(spec)?].concat()).ok_or_else(nothing_left)?;
    all.push(room);
    Ok(room)
}
