//! Networks of an engine. A change of what cannot be changed in place makes it anew, and whoever was in it is put back in.
//! Never touches a network that the lab does not name.

use std::collections::BTreeMap;

use bollard::Docker;
use bollard::models::{NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest};
use ipnet::IpNet;
use labwright_plan::{
    Action, Consequence, Field, Kind, Observed, OnChange, Ownership, ProviderError, Resource, ResourceId, Step, Value,
    Wanted,
};
use serde_json::{Value as Json, json as object};

use super::ENGINE;
use super::engine::{found, json, status, told};
use super::options::to_value;
use super::room;
use super::session::{Look, Saying, text};
use super::stack::{Network, Subnet};

/// The field with what a network is to keep away from.
pub const APART: &str = "apart_from";

/// The kind `network`; named as in the engine.
pub const KIND: Kind = Kind {
    name: "network",
    doc: "A network that containers find each other in by name.",
    fields: &[
        field("driver", "What carries it."),
        field("internal", "Whether there is no way out of it."),
        field("ipv6", "Whether it has IPv6 addresses."),
        field("ipv4", "Whether it has IPv4 addresses, where that is said."),
        field("options", "Settings of the driver."),
        field("labels", "Its labels beside the tools'."),
        field("attachable", "Whether containers of other projects may join it."),
        field("ipam_driver", "What gives addresses, where that is not the engine."),
        field("ipam_options", "Settings of that."),
        field("subnets", "Its subnets and their gateways, where they are not the engine's choice."),
        Field {
            name: "stack",
            doc: "The stack it is made for.",
            on_change: OnChange::Ignore,
            consequence: Consequence::None,
            content: false,
        },
        Field {
            name: APART,
            doc: "Subnets of the lab that it stays out of, where its own are chosen.",
            on_change: OnChange::Hint,
            consequence: Consequence::None,
            content: false,
        },
        ENGINE,
    ],
    ownership: Ownership::Thing,
    create: Consequence::None,
    delete: Consequence::Restart,
};

const fn field(name: &'static str, doc: &'static str) -> Field {
    Field { name, doc, on_change: OnChange::Replace, consequence: Consequence::Restart, content: false }
}

/// What is asked of a network. `apart`: subnets of the lab, which it keeps away from where the lab says no subnet of its own.
pub fn lower(mut resource: Resource, network: &Network, apart: &[IpNet]) -> Resource {
    let texts = |map: &BTreeMap<String, String>| {
        Value::Map(map.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect())
    };
    let subnet = |subnet: &Subnet| {
        let mut said = BTreeMap::from([("Subnet".to_string(), Value::from(subnet.subnet.as_str()))]);
        said.extend(subnet.gateway.iter().map(|gateway| ("Gateway".to_string(), gateway.as_str().into())));
        said.extend(subnet.range.iter().map(|range| ("IPRange".to_string(), range.as_str().into())));
        if !subnet.taken.is_empty() {
            said.insert("AuxiliaryAddresses".into(), texts(&subnet.taken));
        }
        Value::Map(said)
    };
    resource = resource
        .with("driver", network.driver.as_deref().unwrap_or("bridge"))
        .with("internal", network.internal)
        .with("ipv6", network.ipv6)
        .with_some("ipv4", network.ipv4)
        .with("options", texts(&network.options))
        .with("labels", texts(&network.labels))
        .with_some("attachable", network.attachable.then_some(true))
        .with_some("ipam_driver", network.ipam_driver.as_deref())
        .with_some("ipam_options", (!network.ipam_options.is_empty()).then(|| texts(&network.ipam_options)));
    match network.subnets.is_empty() {
        true if apart.is_empty() => resource,
        true => resource.with(APART, apart.iter().map(ToString::to_string).collect::<Value>()),
        false => resource.with("subnets", Value::List(network.subnets.iter().map(subnet).collect())),
    }
}

pub async fn look(docker: &Docker, name: &str) -> Look<Json> {
    let network = found("look at network", name, docker.inspect_network(name, None).await)?;
    // The engine also finds networks by the beginning of their ids.
    Ok(network.map(|network| json(&network)).filter(|network| network["Name"] == name))
}

pub async fn observe(docker: &Docker, wanted: &Wanted<'_>) -> Look {
    let Some(network) = look(docker, wanted.id.name()).await? else { return Ok(None) };
    // Of a subnet, only what is asked for is looked at: the engine fills in the rest.
    let asked: Vec<Json> =
        wanted.spec.get("subnets").map(json).and_then(|all| all.as_array().cloned()).unwrap_or_default();
    let found: Vec<Json> = network["IPAM"]["Config"].as_array().cloned().unwrap_or_default();
    let subnets: Json = found
        .into_iter()
        .map(|mut subnet| {
            let asked = asked.iter().find(|asked| asked["Subnet"] == subnet["Subnet"] || asked["Subnet"] == "");
            if let (Some(Json::Object(asked)), Json::Object(found)) = (asked, &mut subnet) {
                found.retain(|field, _| asked.contains_key(field));
                if asked.get("Subnet").is_some_and(|subnet| subnet == "") {
                    found.insert("Subnet".into(), "".into());
                }
            }
            subnet
        })
        .collect();
    let own = |name: &str| !name.starts_with("com.docker.compose.");
    let labels = network["Labels"].as_object().into_iter().flatten().filter(|(name, _)| own(name));
    let labels: serde_json::Map<String, Json> = labels.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut spec = BTreeMap::from([
        ("driver".to_string(), Value::from(network["Driver"].as_str().unwrap_or_default())),
        ("internal".to_string(), Value::Bool(network["Internal"] == true)),
        ("ipv6".to_string(), Value::Bool(network["EnableIPv6"] == true)),
        ("options".to_string(), to_value(network["Options"].as_object().cloned().unwrap_or_default().into())),
    ]);
    spec.insert("labels".into(), to_value(labels.into()));
    for (field, value) in [
        ("subnets", subnets),
        ("ipv4", network["EnableIPv4"].clone()),
        ("attachable", network["Attachable"].clone()),
        ("ipam_driver", network["IPAM"]["Driver"].clone()),
        ("ipam_options", network["IPAM"]["Options"].clone()),
    ] {
        if wanted.spec.contains_key(field) {
            spec.insert(field.into(), to_value(value));
        }
    }
    Ok(Some(Observed { spec, data: None }))
}

pub async fn apply(docker: &Docker, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let name = step.id.name();
    let there = look(docker, name).await?;
    match (step.action, there) {
        (Action::Delete, None) => Ok(()),
        (Action::Delete, Some(_)) => remove(docker, name).await,
        (_, None) => room::create(docker, &step.id, &step.spec, saying).await,
        // Made by a run that was cut off before it could say so.
        (Action::Create, Some(_)) => Ok(()),
        (_, Some(network)) => remake(docker, step, &network, saying).await,
    }
}

pub async fn create(docker: &Docker, id: &ResourceId, spec: &labwright_plan::Spec) -> Result<(), ProviderError> {
    let name = id.name();
    let field = |field: &str| spec.get(field).map(json).unwrap_or_default();
    let mut pools = field("subnets").as_array().cloned().unwrap_or_default();
    for pool in pools.iter_mut().filter_map(Json::as_object_mut) {
        pool.retain(|_, value| *value != "");
    }
    let stack = text(spec, "stack").unwrap_or_default();
    let short = name.strip_prefix(&format!("{stack}_")).unwrap_or(name);
    let mut body = object!({
        "Name": name, "Driver": field("driver"), "Internal": field("internal"), "EnableIPv6": field("ipv6"),
        "Options": field("options"),
        "Labels": field("labels"), "Attachable": spec.get("attachable") == Some(&Value::Bool(true)),
    });
    if body["Labels"].is_null() {
        body["Labels"] = object!({});
    }
    body["Labels"]["com.docker.compose.project"] = object!(stack);
    body["Labels"]["com.docker.compose.network"] = object!(short);
    if let Some(Value::Bool(ipv4)) = spec.get("ipv4") {
        body["EnableIPv4"] = object!(ipv4);
    }
    let (driver, options) = (text(spec, "ipam_driver"), spec.get("ipam_options").map(json));
    if !pools.is_empty() || driver.is_some() || options.is_some() {
        body["IPAM"] = object!({"Driver": driver.unwrap_or("default"), "Config": pools, "Options": options});
    }
    let request: NetworkCreateRequest = serde_json::from_value(body)
        .map_err(|error| ProviderError::bug(format!("cannot spell network `{name}`: {error}")))?;
    docker.create_network(request).await.map_err(|error| told("make network", name, error))?;
    Ok(())
}

async fn remove(docker: &Docker, name: &str) -> Result<(), ProviderError> {
    match docker.remove_network(name).await {
        Err(error) if status(&error) != Some(404) => Err(told("remove network", name, error)
            .help("containers that the lab does not know are in it: `docker network inspect` names them")),
        _ => Ok(()),
    }
}

async fn remake(docker: &Docker, step: &Step, network: &Json, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let name = step.id.name();
    let members: Vec<String> =
        network["Containers"].as_object().into_iter().flatten().map(|(id, _)| id.clone()).collect();
    let mut back = Vec::new();
    for member in members {
        let found = found("look at container", &member, docker.inspect_container(&member, None).await)?;
        let Some(container) = found.map(|container| json(&container)) else { continue };
        let endpoint = &container["NetworkSettings"]["Networks"][name];
        back.push((member, object!({"Aliases": endpoint["Aliases"]})));
    }
    if !back.is_empty() {
        saying.say(&format!("taking {} containers out of `{name}` while it is made anew", back.len()));
    }
    for (member, _) in &back {
        let request = NetworkDisconnectRequest { container: member.clone(), force: Some(true) };
        let left = docker.disconnect_network(name, request).await;
        left.map_err(|error| told("take a container out of network", name, error))?;
    }
    remove(docker, name).await?;
    let made = room::create(docker, &step.id, &step.spec, saying).await;
    if let Err(error) = made {
        return Err(error.help("its containers are without it until this is mended: correct it, and apply again"));
    }
    for (member, endpoint) in back {
        join(docker, name, &member, endpoint).await?;
    }
    Ok(())
}

/// Puts a container into a network.
pub async fn join(docker: &Docker, network: &str, container: &str, endpoint: Json) -> Result<(), ProviderError> {
    let request: NetworkConnectRequest =
        serde_json::from_value(object!({"Container": container, "EndpointConfig": endpoint}))
            .map_err(|error| ProviderError::bug(format!("cannot spell a connection to `{network}`: {error}")))?;
    match docker.connect_network(network, request).await {
        Err(error) if status(&error) == Some(404) => Err(told("join network", network, error)
            .help(format!("an external network must be there first: `docker network create {network}`"))),
        joined => joined.map_err(|error| told("join network", network, error)),
    }
}
