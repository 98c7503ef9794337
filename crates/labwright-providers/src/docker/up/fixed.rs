//! Names on Podman. Its resolver answers for one network at a time, and a container that is in several asks the first one
//! alone (<https://github.com/containers/aardvark-dns/issues/403>). So there each container has a fixed address in each network, and
//! those whom it meets stand in its `/etc/hosts`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bollard::Docker;
use ipnet::IpNet;
use labwright_plan::{ProviderError, Spec, Value};

use super::super::engine::{json, told};
use super::attend::Hub;

/// Whether an engine is Podman: what separates its networks is another option.
pub async fn is_podman(docker: &Docker) -> Result<bool, ProviderError> {
    let version = docker.version().await.map_err(|error| told("ask for the version of", "the engine", error))?;
    let version = json(&version);
    let mut parts = version["Components"].as_array().into_iter().flatten();
    Ok(parts.any(|part| part["Name"].as_str().is_some_and(|name| name.contains("Podman"))))
}

/// Who is in a network, by name, with what it is called there.
fn members(hub: &Hub, network: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for stack in &hub.stacks.services {
        for made in &stack.containers {
            let Some(Value::Map(networks)) = made.spec.get("networks") else { continue };
            let Some(Value::Map(endpoint)) = networks.get(network) else { continue };
            let names = endpoint.get("aliases").and_then(Value::list).unwrap_or_default();
            all.entry(made.name.clone()).or_default().extend(names.iter().filter_map(Value::text).map(str::to_string));
        }
        for (container, names) in stack.met.get(network).into_iter().flatten() {
            all.entry(container.clone()).or_default().extend(names.iter().cloned());
        }
    }
    all
}

/// Addresses from the end: those that the engine gives away by itself begin at the other one.
fn nth(subnet: IpNet, number: usize) -> Option<IpAddr> {
    let IpNet::V4(subnet) = subnet else { return None };
    let last = u32::from(subnet.broadcast()).checked_sub(1 + u32::try_from(number).ok()?)?;
    let address = std::net::Ipv4Addr::from(last);
    (subnet.contains(&address) && address > subnet.network()).then_some(IpAddr::V4(address))
}

fn addresses(hub: &Hub, network: &str) -> BTreeMap<String, (IpAddr, BTreeSet<String>)> {
    let subnet = hub.networks.borrow().get(network).and_then(|cell| cell.get()?.as_ref().ok()?.map(|way| way.subnet));
    let Some(subnet) = subnet else { return BTreeMap::new() };
    let all = members(hub, network).into_iter().enumerate();
    all.filter_map(|(number, (container, names))| Some((container, (nth(subnet, number)?, names)))).collect()
}

/// The address of a container in a network, and its hardware address; `None` where the engine chooses.
pub fn address(hub: &Hub, network: &str, container: &str) -> Option<(IpAddr, String)> {
    if !hub.podman {
        return None;
    }
    let (address, _) = addresses(hub, network).remove(container)?;
    Some((address, hardware(address)))
}

/// Made from its address, as Docker does it: with another one each time, nobody would find a container that is made anew until
/// what is remembered of the old one is forgotten.
fn hardware(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else { return String::new() };
    let [a, b, c, d] = address.octets();
    format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Gives a container its addresses, and the names of those whom it meets.
pub fn name(hub: &Hub, container: &str, spec: &mut Spec) {
    let Some(Value::Map(networks)) = spec.get_mut("networks").filter(|_| hub.podman) else { return };
    let mut hosts: BTreeMap<String, IpAddr> = BTreeMap::new();
    for (network, endpoint) in networks.iter_mut() {
        let Value::Map(endpoint) = endpoint else { continue };
        for (member, (address, names)) in addresses(hub, network) {
            if member == container {
                if !endpoint.contains_key("IPv4Address") {
                    endpoint.insert("IPv4Address".into(), address.to_string().into());
                    endpoint.entry("MacAddress".into()).or_insert_with(|| hardware(address).into());
                }
            } else {
                for name in names {
                    hosts.entry(name).or_insert(address);
                }
            }
        }
    }
    let Some(Value::Map(options)) = spec.get_mut("options") else { return };
    let said = options.entry("extra_hosts".into()).or_insert_with(|| Value::List(Vec::new()));
    let Value::List(said) = said else { return };
    for (name, address) in hosts {
        let has = |line: &Value| line.text().is_some_and(|line| line.split(':').next() == Some(name.as_str()));
        if !said.iter().any(has) {
            said.push(format!("{name}:{address}").into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_given_from_the_end() {
        let subnet: IpNet = "172.30.0.64/26".parse().unwrap();
        let text = |number| nth(subnet, number).map(|address| address.to_string());
        assert_eq!(text(0).as_deref(), Some("172.30.0.126"));
        assert_eq!(text(1).as_deref(), Some("172.30.0.125"));
        assert_eq!(text(61).as_deref(), Some("172.30.0.65"));
        assert_eq!((text(62), text(5_000_000_000)), (None, None));
        assert_eq!(hardware(nth(subnet, 0).unwrap()), "02:42:ac:1e:00:7e");
    }
}
