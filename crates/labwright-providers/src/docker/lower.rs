//! From a stack to resources: its networks and volumes, its images, its containers in the order they need each other.
//! Pure; the stack has no more questions to answer, whatever file it came from.

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::Span;
use labwright_plan::{Resource, ResourceId, Sealed, Value};

use super::reference::parse;
use super::stack::{Condition, Container, Mount, Network, Stack};
use super::{NAME, form, network, options, volume};

/// The network that containers without any are in.
pub const DEFAULT_NETWORK: &str = "default";
/// Where files that containers are given stand on the host.
const FILES: &str = "/etc/labwright/stacks";

/// Where a stack goes.
pub struct Ground<'a> {
    pub host: &'a str,
    /// What published ports are bound to where they do not say.
    pub address: &'a str,
    /// Where the engine listens, where that is not the usual place.
    pub socket: Option<&'a str>,
    /// Digests that tags are held to.
    pub pinned: &'a BTreeMap<String, String>,
    /// Take over what is there.
    pub adopt: bool,
    pub span: Span,
}

impl Ground<'_> {
    fn id(&self, kind: &str, name: &str) -> ResourceId {
        ResourceId::new(self.host, NAME, kind, name)
    }

    fn resource(&self, kind: &str, name: &str) -> Resource {
        let mut resource = Resource::new(self.id(kind, name), self.span).with_some("engine", self.socket);
        resource.adopt = self.adopt;
        resource
    }

    /// A resource of the host itself.
    fn of_host(&self, kind: &str, path: &str) -> Resource {
        Resource::new(ResourceId::new(self.host, "host", kind, path), self.span)
    }
}

/// The name of a container in the engine.
pub fn container_name(stack: &str, key: &str, container: &Container) -> String {
    container.container_name.clone().unwrap_or_else(|| format!("{stack}-{key}-1"))
}

/// The network that two stacks meet in.
pub fn link(needed: &str, needer: &str) -> String {
    format!("{needer}_to_{needed}")
}

/// Every resource of a stack on one host. `joins`: networks beyond the stack's own, with what each container is called
/// there; `after`: what all of it comes after.
pub fn lower_stack(
    stack: &Stack,
    ground: &Ground<'_>,
    joins: &BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    after: &BTreeSet<ResourceId>,
) -> Vec<Resource> {
    let name_of = |key: &str, own: Option<&String>| own.cloned().unwrap_or_else(|| format!("{}_{key}", stack.name));
    let mut resources: BTreeMap<ResourceId, Resource> = BTreeMap::new();
    let mut add = |resource: Resource| drop(resources.insert(resource.id.clone(), resource));
    let default = Network::default();
    let uses_default = stack.containers.values().any(|c| c.network_mode.is_none() && c.networks.is_empty());
    let mut networks: BTreeMap<&str, &Network> = stack.networks.iter().map(|(key, n)| (key.as_str(), n)).collect();
    if uses_default {
        networks.entry(DEFAULT_NETWORK).or_insert(&default);
    }
    let network_name = |key: &str| match networks.get(key) {
        Some(network) if network.external => network.name.clone().unwrap_or_else(|| key.to_string()),
        network => name_of(key, network.and_then(|network| network.name.as_ref())),
    };
    let volume_name = |key: &str| match stack.volumes.get(key) {
        Some(volume) if volume.external => volume.name.clone().unwrap_or_else(|| key.to_string()),
        volume => name_of(key, volume.and_then(|volume| volume.name.as_ref())),
    };
    for (key, wanted) in networks.iter().filter(|(_, network)| !network.external) {
        add(network::lower(ground.resource("network", &network_name(key)), wanted).with("stack", stack.name.as_str()));
    }
    for (key, wanted) in stack.volumes.iter().filter(|(_, volume)| !volume.external) {
        add(volume::lower(ground.resource("volume", &volume_name(key)), wanted).with("stack", stack.name.as_str()));
    }
    for join in joins.keys() {
        add(network::lower(ground.resource("network", join), &Network { internal: true, ..Network::default() }));
    }
    for (key, container) in &stack.containers {
        let digest = parse(&container.image).digest.or_else(|| ground.pinned.get(&container.image).map(String::as_str));
        add(ground.resource("image", &container.image).with_some("digest", digest));
        let mut after = after.clone();
        after.insert(ground.id("image", &container.image));
        let files = files(stack, key, container, ground);
        after.extend(files.iter().map(|file| file.id.clone()));
        files.into_iter().for_each(&mut add);
        let attached = attached(key, container, joins, network_name);
        if let Value::Map(attached) = &attached {
            after.extend(attached.keys().map(|name| ground.id("network", name)));
        }
        for mount in &container.mounts {
            if let Mount::Volume { source: Some(source), .. } = mount {
                after.insert(ground.id("volume", &volume_name(source)));
            }
        }
        for other in container.depends_on.keys() {
            if let Some(needed) = stack.containers.get(other) {
                after.insert(ground.id("container", &container_name(&stack.name, other, needed)));
            }
        }
        let once = stack
            .containers
            .values()
            .any(|other| other.depends_on.get(key) == Some(&Condition::ServiceCompletedSuccessfully));
        let image = match digest {
            Some(digest) => format!("{}@{digest}", container.image.split('@').next().unwrap_or(&container.image)),
            None => container.image.clone(),
        };
        let mut resource = ground
            .resource("container", &container_name(&stack.name, key, container))
            .with("image", image)
            .with("command", container.command.iter().flatten().map(String::as_str).collect::<Value>())
            .with("entrypoint", container.entrypoint.iter().flatten().map(String::as_str).collect::<Value>())
            .with("environment", texts(&container.environment))
            .with(
                "ports",
                sorted(
                    container
                        .ports
                        .iter()
                        .map(|port| form::port(port, port.address.as_deref().unwrap_or(ground.address))),
                ),
            )
            .with("mounts", sorted(mounts(stack, key, container, &volume_name)))
            .with("networks", attached)
            .with("healthcheck", container.healthcheck.as_ref().map_or(Value::Map(BTreeMap::new()), form::healthcheck))
            .with("restart", container.restart.as_deref().unwrap_or("no"))
            .with("labels", texts(&container.labels))
            .with(
                "secrets",
                Value::Map(
                    container
                        .secrets
                        .iter()
                        .map(|(path, text)| (path.clone(), Value::Secret(Sealed::template(text))))
                        .collect(),
                ),
            )
            .with("options", options::wanted(container))
            .with("state", if once { "ran" } else { "running" })
            .with("stack", stack.name.as_str())
            .with("service", key.as_str());
        resource.after = after;
        add(resource);
    }
    resources.into_values().collect()
}

fn texts(map: &BTreeMap<String, String>) -> Value {
    Value::Map(map.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect())
}

fn sorted(texts: impl Iterator<Item = String>) -> Value {
    texts.collect::<BTreeSet<String>>().into_iter().collect()
}

fn attached(
    key: &str,
    container: &Container,
    joins: &BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    network_name: impl Fn(&str) -> String,
) -> Value {
    if let Some(mode) = &container.network_mode {
        return mode.as_str().into();
    }
    let endpoint = |aliases: BTreeSet<String>, addresses: [(&str, &Option<String>); 2]| {
        let mut endpoint = BTreeMap::from([("aliases".to_string(), aliases.into_iter().collect::<Value>())]);
        for (field, address) in addresses {
            if let Some(address) = address {
                endpoint.insert(field.to_string(), address.as_str().into());
            }
        }
        Value::Map(endpoint)
    };
    let none = [("", &None), ("", &None)];
    let mut networks = BTreeMap::new();
    if container.networks.is_empty() {
        networks.insert(network_name(DEFAULT_NETWORK), endpoint(BTreeSet::from([key.to_string()]), none));
    }
    for (network, attachment) in &container.networks {
        let mut aliases = attachment.aliases.clone();
        aliases.insert(key.to_string());
        let addresses = [("ipv4_address", &attachment.ipv4_address), ("ipv6_address", &attachment.ipv6_address)];
        networks.insert(network_name(network), endpoint(aliases, addresses));
    }
    for (network, members) in joins {
        if let Some(aliases) = members.get(key) {
            networks.insert(network.clone(), endpoint(aliases.clone(), none));
        }
    }
    Value::Map(networks)
}

/// Where a file that a container is given stands on the host.
fn place(stack: &Stack, key: &str, path: &str) -> String {
    format!("{FILES}/{}/{key}{}", stack.name, path.replace('/', "_"))
}

fn mounts<'a>(
    stack: &'a Stack,
    key: &'a str,
    container: &'a Container,
    volume_name: impl Fn(&str) -> String + 'a,
) -> impl Iterator<Item = String> + 'a {
    let declared = container.mounts.iter().map(move |mount| form::mount(mount, &volume_name));
    let files = container.secrets.keys().chain(container.configs.keys());
    declared.chain(files.map(move |path| format!("{}:{path}:ro", place(stack, key, path))))
}

/// The files on the host that a container is given: with secrets, in memory alone.
fn files(stack: &Stack, key: &str, container: &Container, ground: &Ground<'_>) -> Vec<Resource> {
    let mut files = Vec::new();
    if container.secrets.is_empty() && container.configs.is_empty() {
        return files;
    }
    let mut above: Option<ResourceId> = None;
    for folder in ["/etc/labwright".to_string(), FILES.to_string(), format!("{FILES}/{}", stack.name)] {
        let mut resource = ground.of_host("directory", &folder).with("type", "directory").with("mode", "0755");
        resource.after.extend(above.replace(resource.id.clone()));
        files.push(resource);
    }
    // Only its owner may read a secret: inside, that is whoever the container runs as, where that is a number.
    let owner = container.user.as_deref().map(|user| user.split(':').next().unwrap_or(user));
    let owner = owner.filter(|owner| owner.parse::<u32>().is_ok());
    let mut file = |path: &str, mode: &str, content: Value| {
        let kept = matches!(content, Value::Secret(_)).then_some("in memory");
        let mut resource = ground
            .of_host("file", &place(stack, key, path))
            .with_some("kept", kept)
            .with("content", content)
            .with("type", "file")
            .with("mode", mode)
            .with_some("owner", owner.filter(|_| kept.is_some()));
        resource.after.extend(above.clone());
        files.push(resource);
    };
    for (path, text) in &container.secrets {
        file(path, "0400", Value::Secret(Sealed::template(text)));
    }
    for (path, text) in &container.configs {
        file(path, "0644", text.as_str().into());
    }
    files
}
