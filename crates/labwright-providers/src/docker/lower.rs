//! From a stack to resources: its networks and volumes, its images, its containers in the order they need each other.
//! Pure; the stack has no more questions to answer, whatever file it came from.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use labwright_model::Span;
use labwright_plan::{Digest, Resource, ResourceId, Sealed, Value};

use super::options::to_value;
use super::project::container_name;
use super::reference::parse;
use super::stack::{Attachment, Carried, Condition, Container, Given, Mount, Network, Stack};
use super::{NAME, form, network, options, volume};

/// Where configs stand in a stack's folder.
const CONFIGS: &str = ".configs";

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
    /// What networks stay out of whose subnets are chosen on the host.
    pub apart: &'a [IpNet],
    pub span: Span,
}

impl Ground<'_> {
    pub fn id(&self, kind: &str, name: &str) -> ResourceId {
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

/// The network that two stacks meet in.
pub fn link(needed: &str, needer: &str) -> String {
    format!("{needer}_to_{needed}")
}

/// The containers of a service of a stack, as resources.
pub fn containers(ground: &Ground<'_>, stack: &str, key: &str, container: &Container) -> Vec<ResourceId> {
    let name = |number| container_name(stack, key, container.container_name.as_deref(), number);
    (1..=container.replicas).map(|number| ground.id("container", &name(number))).collect()
}

/// Every resource of a stack on one host. `joins`: networks beyond the stack's own, with what each container is called
/// there; `after`: what all of it comes after.
pub fn lower_stack(
    stack: &Stack,
    ground: &Ground<'_>,
    joins: &BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    after: &BTreeSet<ResourceId>,
) -> Vec<Resource> {
    let mut resources: BTreeMap<ResourceId, Resource> = BTreeMap::new();
    let mut add = |resource: Resource| drop(resources.insert(resource.id.clone(), resource));
    for (key, wanted) in stack.networks.iter().filter(|(_, network)| !network.external) {
        add(network::lower(ground.resource("network", &network_name(stack, key)), wanted, ground.apart)
            .with("stack", stack.name.as_str()));
    }
    for (key, wanted) in stack.volumes.iter().filter(|(_, volume)| !volume.external) {
        add(volume::lower(ground.resource("volume", &volume_name(stack, key)), wanted)
            .with("stack", stack.name.as_str()));
    }
    for join in joins.keys() {
        let link = Network { internal: true, ..Network::default() };
        add(network::lower(ground.resource("network", join), &link, ground.apart));
    }
    let carried = carried(stack, ground);
    for resource in carried {
        add(resource);
    }
    for (key, container) in &stack.containers {
        add(image(container, ground));
        let files = files(stack, key, container, ground);
        let mut after = after.clone();
        after.insert(ground.id("image", &container.image));
        after.extend(files.iter().map(|file| file.id.clone()));
        after.extend(read(stack, container).map(|(path, carried)| {
            let kind = if matches!(carried, Carried::Folder) { "directory" } else { "file" };
            ResourceId::new(ground.host, "host", kind, path)
        }));
        files.into_iter().for_each(&mut add);
        for other in container.depends_on.keys().chain(&container.beside) {
            if let Some(needed) = stack.containers.get(other) {
                after.extend(containers(ground, &stack.name, other, needed));
            }
        }
        let mut moved_by: BTreeSet<ResourceId> = BTreeSet::new();
        for other in &container.beside {
            let sibling = stack.containers.get(other);
            moved_by.extend(sibling.into_iter().flat_map(|sibling| containers(ground, &stack.name, other, sibling)));
        }
        let lives_in = container.network_mode.as_deref().and_then(|mode| mode.strip_prefix("container:"));
        moved_by.extend(lives_in.map(|name| ground.id("container", name)));
        after.extend(lives_in.map(|name| ground.id("container", name)));
        for mount in &container.mounts {
            if let Mount::Volume { source: Some(source), .. } = mount {
                after.insert(ground.id("volume", &volume_name(stack, source)));
            }
        }
        for number in 1..=container.replicas {
            let mut resource = one(stack, (key, container), number, ground, joins);
            if let Some(Value::Map(attached)) = resource.spec.get("networks") {
                after.extend(attached.keys().map(|name| ground.id("network", name)));
            }
            resource.after = after.clone();
            resource.moved_by = moved_by.clone();
            add(resource);
        }
    }
    resources.into_values().collect()
}

fn name_of(stack: &Stack, key: &str, external: bool, own: Option<&String>) -> String {
    own.cloned().unwrap_or_else(|| if external { key.to_string() } else { format!("{}_{key}", stack.name) })
}

fn network_name(stack: &Stack, key: &str) -> String {
    let network = stack.networks.get(key);
    name_of(stack, key, network.is_some_and(|n| n.external), network.and_then(|n| n.name.as_ref()))
}

/// Whether containers of both stacks are in one network already.
pub fn meet(one: &Stack, other: &Stack) -> bool {
    let networks = |stack: &Stack| -> BTreeSet<String> {
        let keys = stack.containers.values().flat_map(|container| container.networks.keys());
        keys.map(|key| network_name(stack, key)).collect()
    };
    !networks(one).is_disjoint(&networks(other))
}

fn volume_name(stack: &Stack, key: &str) -> String {
    let volume = stack.volumes.get(key);
    name_of(stack, key, volume.is_some_and(|v| v.external), volume.and_then(|v| v.name.as_ref()))
}

fn digest<'a>(container: &'a Container, ground: &'a Ground<'_>) -> Option<&'a str> {
    parse(&container.image).digest.or_else(|| ground.pinned.get(&container.image).map(String::as_str))
}

fn image(container: &Container, ground: &Ground<'_>) -> Resource {
    let platform = container.settings.get("platform").and_then(|platform| platform.as_str());
    ground
        .resource("image", &container.image)
        .with_some("digest", digest(container, ground))
        .with_some("platform", platform)
}

/// One container of a service.
fn one(
    stack: &Stack,
    (key, container): (&str, &Container),
    number: u32,
    ground: &Ground<'_>,
    joins: &BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
) -> Resource {
    let once = |other: &Container| other.depends_on.get(key) == Some(&Condition::Completed);
    let image = match digest(container, ground) {
        Some(digest) => format!("{}@{digest}", container.image.split('@').next().unwrap_or(&container.image)),
        None => container.image.clone(),
    };
    let words = |words: &Option<Vec<String>>| words.iter().flatten().map(String::as_str).collect::<Value>();
    let port = |port| form::port(port, port.address.as_deref().unwrap_or(ground.address));
    let mounts = container.mounts.iter().map(|mount| form::mount(mount, |key| volume_name(stack, key)));
    let open = container.ports.iter().filter(|port| port.address.is_none());
    let chosen = sorted(open.map(port));
    let configs = container.configs.keys().map(|path| format!("{}:{path}:ro", place(stack, key, path)));
    let secret = |(path, given): (&String, &Given)| (path.clone(), Value::Secret(Sealed::template(&given.content)));
    let beside = container.beside.iter().map(|other| (other.clone(), Value::Null)).collect();
    ground
        .resource("container", &container_name(&stack.name, key, container.container_name.as_deref(), number))
        .with("image", image)
        .with("command", words(&container.command))
        .with("entrypoint", words(&container.entrypoint))
        .with("environment", environment(container))
        .with("ports", sorted(container.ports.iter().map(port)))
        .with_some("chosen", chosen.list().is_some_and(|all| !all.is_empty()).then_some(chosen.clone()))
        .with("mounts", sorted(mounts.chain(configs)))
        .with("networks", attached(stack, key, container, joins))
        .with("healthcheck", container.healthcheck.as_ref().map_or(Value::Map(BTreeMap::new()), form::healthcheck))
        .with("restart", container.restart.as_deref().unwrap_or("no"))
        .with("labels", texts(&container.labels))
        .with("secrets", Value::Map(container.secrets.iter().map(secret).collect()))
        .with("owners", owners(container))
        .with("files", digests(stack, container))
        .with("beside", Value::Map(beside))
        .with("options", options::wanted(&container.settings))
        .with("state", if stack.containers.values().any(once) { "ran" } else { "running" })
        .with("stack", stack.name.as_str())
        .with("service", key)
        .with("folder", stack.folder.as_str())
        .with("number", number)
        .with_some("probe", container.probe.as_deref())
}

fn environment(container: &Container) -> Value {
    let plain = container.environment.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
    let secret = |(name, text): (&String, &String)| (name.clone(), Value::Secret(Sealed::template(text)));
    Value::Map(plain.chain(container.secret_environment.iter().map(secret)).collect())
}

fn texts(map: &BTreeMap<String, String>) -> Value {
    Value::Map(map.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect())
}

fn sorted(texts: impl Iterator<Item = String>) -> Value {
    texts.collect::<BTreeSet<String>>().into_iter().collect()
}

fn attached(
    stack: &Stack,
    key: &str,
    container: &Container,
    joins: &BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
) -> Value {
    if let Some(mode) = &container.network_mode {
        return mode.as_str().into();
    }
    let endpoint = |mut aliases: BTreeSet<String>, attachment: &Attachment| {
        aliases.extend(attachment.aliases.iter().cloned());
        let mut endpoint = BTreeMap::from([("aliases".to_string(), aliases.into_iter().collect::<Value>())]);
        endpoint.extend(attachment.settings.iter().map(|(name, value)| (name.clone(), to_value(value.clone()))));
        Value::Map(endpoint)
    };
    let mut networks = BTreeMap::new();
    for (network, attachment) in &container.networks {
        networks.insert(network_name(stack, network), endpoint(BTreeSet::from([key.to_string()]), attachment));
    }
    for (network, members) in joins {
        if let Some(aliases) = members.get(key) {
            networks.insert(network.clone(), endpoint(aliases.clone(), &Attachment::default()));
        }
    }
    Value::Map(networks)
}

/// Whom files with secrets belong to, where that is said: `UID:GID`, each of which may be empty.
fn owners(container: &Container) -> Value {
    let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
    let said = container.secrets.iter().filter(|(_, given)| given.uid.or(given.gid).is_some());
    let owner = |(path, given): (&String, &Given)| {
        (path.clone(), format!("{}:{}", number(given.uid), number(given.gid)).into())
    };
    Value::Map(said.map(owner).collect())
}

/// What a container reads of what goes along with its stack.
fn read<'a>(stack: &'a Stack, container: &'a Container) -> impl Iterator<Item = (&'a str, &'a Carried)> {
    let sources: Vec<&str> = container
        .mounts
        .iter()
        .filter_map(|mount| match mount {
            Mount::Bind { source, .. } => Some(source.as_str()),
            _ => None,
        })
        .collect();
    stack.carried.iter().map(|(path, carried)| (path.as_str(), carried)).filter(move |(path, _)| {
        let below =
            |source: &&str| path.strip_prefix(*source).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        sources.iter().any(below)
    })
}

/// Which content those files have, so that another one starts the container anew.
fn digests(stack: &Stack, container: &Container) -> Value {
    let content = read(stack, container).filter_map(|(path, carried)| match carried {
        Carried::File { content, .. } => Some((path.to_string(), short(content))),
        Carried::Folder => None,
    });
    let configs = container.configs.iter().map(|(path, given)| (path.clone(), short(given.content.as_bytes())));
    Value::Map(content.chain(configs).collect())
}

/// What content is recognised by.
pub fn short(content: &[u8]) -> Value {
    Digest::of(content).blake3[..16].into()
}

/// Whether a mount is of a config that Labwright puts on the host.
pub fn is_config(mount: &str) -> bool {
    mount.split(':').next().is_some_and(|source| source.contains(&format!("/{CONFIGS}/")))
}

/// Where a file that a container is given stands on the host.
fn place(stack: &Stack, key: &str, path: &str) -> String {
    format!("{}/{CONFIGS}/{key}{}", stack.folder, path.replace('/', "_"))
}

fn folder(ground: &Ground<'_>, path: &str) -> Resource {
    ground.of_host("directory", path).with("type", "directory")
}

/// The folders above a path, from the first that is Labwright's own to make.
fn above(ground: &Ground<'_>, path: &str) -> Vec<Resource> {
    let mut folders: Vec<Resource> = Vec::new();
    for (at, _) in path.match_indices('/').skip(2) {
        let mut folder = folder(ground, &path[..at]);
        folder.after.extend(folders.last().map(|above| above.id.clone()));
        folders.push(folder);
    }
    folders
}

/// What stands beside the Compose file, on the host.
fn carried(stack: &Stack, ground: &Ground<'_>) -> Vec<Resource> {
    let mut resources = Vec::new();
    for (path, carried) in &stack.carried {
        let folders = above(ground, path);
        let parent = folders.last().map(|folder| folder.id.clone());
        resources.extend(folders);
        let mut resource = match carried {
            Carried::Folder => folder(ground, path),
            Carried::File { content, shared } => {
                let is_program = content.starts_with(b"#!") || content.starts_with(b"\x7fELF");
                let content = match std::str::from_utf8(content) {
                    Ok(text) => Value::Text(text.to_string()),
                    Err(_) => Value::Bytes(content.clone()),
                };
                let mode = if is_program { "0755" } else { "0644" };
                // Whoever may write to a file may say who else may.
                let mode = (is_program || !shared).then_some(mode);
                let file = ground.of_host("file", path).with("type", "file").with("content", content);
                file.with_some("mode", mode).with_some("shared", shared.then_some(true))
            }
        };
        resource.after.extend(parent);
        resources.push(resource);
    }
    resources
}

/// The files on the host that a container is given for its configs.
fn files(stack: &Stack, key: &str, container: &Container, ground: &Ground<'_>) -> Vec<Resource> {
    let mut files = Vec::new();
    for (path, given) in &container.configs {
        let place = place(stack, key, path);
        let folders = above(ground, &place);
        let owner = |number: Option<u32>| number.map(|number| number.to_string());
        let mut file = ground
            .of_host("file", &place)
            .with("type", "file")
            .with("content", given.content.as_str())
            .with("mode", format!("{:04o}", given.mode.unwrap_or(0o644)))
            .with_some("owner", owner(given.uid))
            .with_some("group", owner(given.gid));
        file.after.extend(folders.last().map(|folder| folder.id.clone()));
        files.extend(folders);
        files.push(file);
    }
    files
}
