//! Networks of an engine. A change of what cannot be changed in place makes it anew, and whoever was in it is put back in.
//! Never touches a network that the lab does not name.

use std::collections::BTreeMap;

use bollard::Docker;
use bollard::models::{NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest};
use labwright_plan::{
    Action, Consequence, Field, Kind, Observed, OnChange, Ownership, ProviderError, Resource, ResourceId, Step, Value,
    Wanted,
};
use serde_json::{Value as Json, json as object};

use super::ENGINE;
use super::engine::{found, json, status, told};
use super::options::to_value;
use super::session::{Look, Saying, text};
use super::stack::Network;

/// The kind `network`; named as in the engine.
pub const KIND: Kind = Kind {
    name: "network",
    doc: "A network that containers find each other in by name.",
    fields: &[
        field("driver", "What carries it."),
        field("internal", "Whether there is no way out of it."),
        field("ipv6", "Whether it has IPv6 addresses."),
        field("options", "Settings of the driver."),
        field("subnets", "Its subnets and their gateways, where they are not the engine's choice."),
        Field {
            name: "stack",
            doc: "The stack it is made for.",
            on_change: OnChange::Ignore,
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

/// What is asked of a network.
pub fn lower(mut resource: Resource, network: &Network) -> Resource {
    let subnet = |(subnet, gateway): &(String, Option<String>)| match gateway {
        Some(gateway) => format!("{subnet} by {gateway}"),
        None => subnet.clone(),
    };
    let options = network.options.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
    resource = resource
        .with("driver", network.driver.as_deref().unwrap_or("bridge"))
        .with("internal", network.internal)
        .with("ipv6", network.ipv6)
        .with("options", Value::Map(options.collect()));
    match network.subnets.is_empty() {
        true => resource,
        false => resource.with("subnets", network.subnets.iter().map(subnet).collect::<Value>()),
    }
}

async fn look(docker: &Docker, name: &str) -> Look<Json> {
    let network = found("look at network", name, docker.inspect_network(name, None).await)?;
    // The engine also finds networks by the beginning of their ids.
    Ok(network.map(|network| json(&network)).filter(|network| network["Name"] == name))
}

pub async fn observe(docker: &Docker, wanted: &Wanted<'_>) -> Look {
    let Some(network) = look(docker, wanted.id.name()).await? else { return Ok(None) };
    let subnets = network["IPAM"]["Config"].as_array().into_iter().flatten();
    let asked: Vec<&str> =
        wanted.spec.get("subnets").and_then(Value::list).unwrap_or_default().iter().filter_map(Value::text).collect();
    let subnets: Value = subnets
        .filter_map(|subnet| {
            let net = subnet["Subnet"].as_str()?;
            let whole = format!("{net} by {}", subnet["Gateway"].as_str().unwrap_or_default());
            Some(if asked.contains(&net) { net.to_string() } else { whole })
        })
        .collect();
    let mut spec = BTreeMap::from([
        ("driver".to_string(), Value::from(network["Driver"].as_str().unwrap_or_default())),
        ("internal".to_string(), Value::Bool(network["Internal"] == true)),
        ("ipv6".to_string(), Value::Bool(network["EnableIPv6"] == true)),
        ("options".to_string(), to_value(network["Options"].as_object().cloned().unwrap_or_default().into())),
    ]);
    if wanted.spec.contains_key("subnets") {
        spec.insert("subnets".into(), subnets);
    }
    Ok(Some(Observed { spec, data: None }))
}

pub async fn apply(docker: &Docker, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let name = step.id.name();
    let there = look(docker, name).await?;
    match (step.action, there) {
        (Action::Delete, None) => Ok(()),
        (Action::Delete, Some(_)) => remove(docker, name).await,
        (_, None) => create(docker, &step.id, &step.spec).await,
        // Made by a run that was cut off before it could say so.
        (Action::Create, Some(_)) => Ok(()),
        (_, Some(network)) => remake(docker, step, &network, saying).await,
    }
}

async fn create(docker: &Docker, id: &ResourceId, spec: &labwright_plan::Spec) -> Result<(), ProviderError> {
    let name = id.name();
    let field = |field: &str| spec.get(field).map(json).unwrap_or_default();
    let subnets = spec.get("subnets").and_then(Value::list).unwrap_or_default().iter().filter_map(Value::text);
    let pools: Vec<Json> = subnets
        .map(|subnet| match subnet.split_once(" by ") {
            Some((subnet, gateway)) => object!({"Subnet": subnet, "Gateway": gateway}),
            None => object!({"Subnet": subnet}),
        })
        .collect();
    let stack = text(spec, "stack").unwrap_or_default();
    let short = name.strip_prefix(&format!("{stack}_")).unwrap_or(name);
    let mut body = object!({
        "Name": name, "Driver": field("driver"), "Internal": field("internal"), "EnableIPv6": field("ipv6"),
        "Options": field("options"),
        "Labels": {"com.docker.compose.project": stack, "com.docker.compose.network": short},
    });
    if !pools.is_empty() {
        body["IPAM"] = object!({"Config": pools});
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
    let made = create(docker, &step.id, &step.spec).await;
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
