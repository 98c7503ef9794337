//! What containers stand on: the networks and volumes of a service, who meets whom in them, folders and files of this machine, images.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::rc::Rc;

use labwright_plan::{Action, Consequence, Expect, Fingerprint, ProviderError, ResourceId, Spec, Step, Value};
use serde_json::{Value as Json, json};

use super::super::image::{Images, digest_of};
use super::super::reference::parse;
use super::super::{NAME, image, network, volume};
use super::attend::Hub;
use super::room::{self, Way};
use super::{COPY, LABEL, Made, Stack, fixed, relay, unit};

fn step(kind: &str, name: &str, spec: Spec) -> Step {
    Step {
        id: ResourceId::new("here", NAME, kind, name),
        action: Action::Create,
        consequence: Consequence::None,
        because: String::new(),
        expect: Expect::Fingerprint(Fingerprint::of(&spec)),
        spec,
        changes: Vec::new(),
        needs: Default::default(),
        after: Default::default(),
    }
}

/// Makes a network that is not there yet. Returns where this machine is in it; `None`: nowhere, or the engine does not say.
pub async fn one_network(hub: &Rc<Hub>, name: &str, spec: &Spec) -> Result<Option<Way>, ProviderError> {
    let cell = unit::fresh(hub.networks.borrow_mut().entry(name.to_string()).or_default());
    let made = cell.get_or_init(async || {
        match network::look(&hub.docker, name).await? {
            None => room::create(hub, &ResourceId::new("here", NAME, "network", name), spec).await?,
            Some(found) => is_ours(hub, "network", name, &found["Labels"])?,
        }
        let found = network::look(&hub.docker, name).await?.unwrap_or_default();
        Ok(room::way(&found))
    });
    made.await.clone()
}

/// The address of this machine to a container; `None` where it has no way there.
pub fn gateway(hub: &Hub, made: &Made) -> Option<IpAddr> {
    let networks = hub.networks.borrow();
    let way = networks.get(made.way.as_ref()?)?.get()?.as_ref().ok()?.as_ref();
    way.map(|way| way.address)
}

/// Whether a network is made.
fn is_there(hub: &Hub, name: &str) -> bool {
    hub.networks.borrow().get(name).is_some_and(|cell| matches!(cell.get(), Some(Ok(_))))
}

/// Puts those into a service's networks that it needs, as far as they are made already.
pub async fn meet(hub: &Rc<Hub>, stack: &Stack) -> Result<(), ProviderError> {
    for name in stack.networks.keys() {
        let needed = hub.stacks.services.iter().filter_map(|other| Some((other, other.met.get(name)?)));
        for (other, members) in needed {
            for (container, names) in members {
                let id = hub.units.borrow().get(&other.unit).and_then(|state| state.containers.get(container)?.id());
                if let Some(id) = id {
                    join(hub, name, container, &id, names).await?;
                }
            }
        }
    }
    Ok(())
}

/// Puts a container that was just made into the networks of those who need it, as far as those are there.
pub async fn be_met(hub: &Rc<Hub>, stack: &Stack, container: &str, id: &str) -> Result<(), ProviderError> {
    for (name, members) in stack.met.iter().filter(|(name, _)| is_there(hub, name)) {
        if let Some(names) = members.get(container) {
            join(hub, name, container, id, names).await?;
        }
    }
    Ok(())
}

async fn join(
    hub: &Rc<Hub>,
    network: &str,
    container: &str,
    id: &str,
    names: &BTreeSet<String>,
) -> Result<(), ProviderError> {
    let key = (id.to_string(), network.to_string());
    let cell = unit::fresh(hub.joined.borrow_mut().entry(key).or_default());
    let joined = cell.get_or_init(async || {
        let mut endpoint = json!({ "Aliases": names });
        if let Some((address, hardware)) = fixed::address(hub, network, container) {
            endpoint["IPAMConfig"] = json!({ "IPv4Address": address.to_string() });
            endpoint["MacAddress"] = json!(hardware);
        }
        match network::join(&hub.docker, network, id, endpoint).await {
            // It was removed meanwhile; the one in its place comes by itself.
            Err(_) if super::super::container::inspect(&hub.docker, id).await?.is_none() => Ok(()),
            joined => joined,
        }
    });
    joined.await.clone()
}

/// What has our name and not our label is somebody else's.
pub fn is_ours(hub: &Hub, kind: &str, name: &str, labels: &Json) -> Result<(), ProviderError> {
    match labels[LABEL] == hub.stacks.mark.as_str() {
        true => Ok(()),
        false => Err(ProviderError::rejected(format!(
            "there is a {kind} `{name}` already, which no `labwright up` made; rename or remove it: `docker {kind} rm {name}`"
        ))),
    }
}

/// All that a service's containers stand on beside images.
pub async fn lay(hub: &Rc<Hub>, stack: &Stack) -> Result<(), ProviderError> {
    let networks = stack.networks.iter().map(|(name, spec)| async move {
        let way = one_network(hub, name, spec).await?;
        if stack.containers.iter().any(|made| made.way.as_ref() == Some(name)) {
            relay::listen(hub, name, way, stack);
        }
        Ok::<(), ProviderError>(())
    });
    futures_util::future::try_join_all(networks).await?;
    meet(hub, stack).await?;
    for (name, spec) in &stack.volumes {
        one_volume(hub, name, spec).await?;
    }
    for folder in &stack.folders {
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    }
    for (path, content, mode) in &stack.files {
        let written = std::fs::create_dir_all(path.parent().unwrap_or(path)).and_then(|()| {
            drop(std::fs::remove_file(path));
            std::fs::write(path, content)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode))
        });
        written.map_err(|error| failed(path, &error))?;
    }
    Ok(())
}

fn failed(path: &Path, error: &std::io::Error) -> ProviderError {
    ProviderError::rejected(format!("`{}` cannot be made: {error}", path.display()))
}

/// Makes a volume, with a word that no other copy of it has. One that is there stays as it is.
pub async fn one_volume(hub: &Hub, name: &str, spec: &Spec) -> Result<(), ProviderError> {
    if let Some(found) = volume::look(&hub.docker, name).await? {
        return is_ours(hub, "volume", name, &found["Labels"]);
    }
    let mut spec = spec.clone();
    let labels = spec.entry("labels".into()).or_insert_with(|| Value::Map(BTreeMap::new()));
    if let Value::Map(labels) = labels {
        labels.insert(LABEL.into(), hub.stacks.mark.as_str().into());
        labels.insert(COPY.into(), jiff::Timestamp::now().as_nanosecond().to_string().into());
    }
    volume::apply(&hub.docker, &step("volume", name, spec)).await
}

/// Which copy of its data a container has: another one for each volume or folder that was made anew, and for each container
/// that keeps it in itself.
///
/// # Errors
/// The engine or the disk does not say: that is not another copy.
pub async fn copy(hub: &Hub, inspect: &Json) -> Result<String, ProviderError> {
    let mut all = Vec::new();
    for mount in inspect["Mounts"].as_array().into_iter().flatten().filter(|mount| mount["RW"] == true) {
        match mount["Name"].as_str() {
            Some(name) => {
                let volume = volume::look(&hub.docker, name).await?.unwrap_or_default();
                all.push(format!("{name}@{}", volume["Labels"][COPY].as_str().unwrap_or_default()));
            }
            None => {
                let source = mount["Source"].as_str().unwrap_or_default();
                let found = match std::fs::metadata(source) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    found => found
                        .map_err(|error| ProviderError::rejected(format!("`{source}` cannot be looked at: {error}")))?,
                };
                let made = found.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
                all.push(format!("{source}@{}.{}", found.ino(), made.unwrap_or_default().as_nanos()));
            }
        }
    }
    all.sort();
    Ok(if all.is_empty() { inspect["Id"].as_str().unwrap_or_default().to_string() } else { all.join(" ") })
}

/// Sees to it that an image is here: what is here counts, and what is not is fetched. Returns what the engine says of it, and
/// its name with its digest.
pub async fn image(hub: &Hub, made: &Made, tell: &dyn Fn(&str)) -> Result<(Json, String), ProviderError> {
    let asked = made.spec.get("image").and_then(Value::text).unwrap_or(&made.image);
    let lock = hub.images.borrow_mut().entry(asked.to_string()).or_default().clone();
    let _turn = lock.lock().await;
    let reference = parse(asked);
    let find = async || {
        let images = Images::new(&hub.docker);
        match reference.digest {
            Some(digest) => images.by_digest(reference.repository, digest).await,
            None => images.here(asked).await,
        }
    };
    if let Some(found) = find().await? {
        let digest = reference.digest.map_or_else(|| digest_of(&found, reference.repository), str::to_string);
        let name = format!("{}@{digest}", asked.split('@').next().unwrap_or(asked));
        return Ok((found, name));
    }
    tell(&format!("fetching `{asked}`"));
    let images = Images::new(&hub.docker);
    let digest = images.resolve(asked).await?;
    let mut spec = Spec::from([("digest".to_string(), Value::from(digest.as_str()))]);
    if let Some(Value::Map(options)) = made.spec.get("options")
        && let Some(platform) = options.get("platform")
    {
        spec.insert("platform".into(), platform.clone());
    }
    let id = ResourceId::new("here", NAME, "image", &made.image);
    let saying = hub.saying(&id);
    image::apply(&hub.docker, &step("image", &made.image, spec), &saying).await?;
    let images = Images::new(&hub.docker);
    let found = images
        .by_digest(reference.repository, &digest)
        .await?
        .ok_or_else(|| ProviderError::rejected(format!("`{asked}` was fetched, and the engine does not have it")))?;
    Ok((found, format!("{}@{digest}", asked.split('@').next().unwrap_or(asked))))
}
