//! What containers stand on: the lab's network, the networks and volumes of a service, folders and files of this machine, images.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::rc::Rc;

use labwright_plan::{Action, Consequence, Expect, Fingerprint, ProviderError, ResourceId, Spec, Step, Value};
use serde_json::Value as Json;

use super::super::image::{Images, digest_of};
use super::super::reference::parse;
use super::super::{NAME, image, network, volume};
use super::attend::Hub;
use super::{COPY, LABEL, Made, Stack, relay, unit};

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

/// The network that all containers of the lab meet in; made when the first one needs it. Returns this machine's address there.
pub async fn meeting(hub: &Rc<Hub>) -> Result<IpAddr, ProviderError> {
    let name = &hub.stacks.network;
    let cell = unit::fresh(&mut hub.network.borrow_mut());
    let made = cell.get_or_init(async || {
        let labels = BTreeMap::from([(LABEL.to_string(), Value::from(hub.stacks.mark.as_str()))]);
        let spec = Spec::from([
            ("driver".to_string(), Value::from("bridge")),
            ("internal".to_string(), false.into()),
            ("ipv6".to_string(), false.into()),
            ("options".to_string(), Value::Map(BTreeMap::new())),
            ("labels".to_string(), Value::Map(labels)),
        ]);
        one_network(hub, name, &spec).await?;
        let found = network::look(&hub.docker, name).await?.unwrap_or_default();
        let gateway =
            found["IPAM"]["Config"].as_array().into_iter().flatten().find_map(|pool| pool["Gateway"].as_str());
        let gateway = gateway.and_then(|text| text.split('/').next()?.parse::<IpAddr>().ok()).ok_or_else(|| {
            ProviderError::rejected(format!(
                "the engine does not say which address this machine has in the network `{name}`"
            ))
        })?;
        tokio::task::spawn_local(relay::listen(hub.clone(), gateway));
        Ok(gateway)
    });
    made.await.clone()
}

async fn one_network(hub: &Hub, name: &str, spec: &Spec) -> Result<(), ProviderError> {
    match network::look(&hub.docker, name).await? {
        None => network::create(&hub.docker, &ResourceId::new("here", NAME, "network", name), spec).await,
        Some(found) => is_ours(hub, "network", name, &found["Labels"]),
    }
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
    meeting(hub).await?;
    for (name, spec) in &stack.networks {
        one_network(hub, name, spec).await?;
    }
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
pub async fn copy(hub: &Hub, inspect: &Json) -> String {
    let mut all = Vec::new();
    for mount in inspect["Mounts"].as_array().into_iter().flatten().filter(|mount| mount["RW"] == true) {
        match mount["Name"].as_str() {
            Some(name) => {
                let volume = volume::look(&hub.docker, name).await.ok().flatten().unwrap_or_default();
                all.push(format!("{name}@{}", volume["Labels"][COPY].as_str().unwrap_or_default()));
            }
            None => {
                let source = mount["Source"].as_str().unwrap_or_default();
                let Ok(found) = std::fs::metadata(source) else { continue };
                let made = found.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
                all.push(format!("{source}@{}.{}", found.ino(), made.unwrap_or_default().as_nanos()));
            }
        }
    }
    all.sort();
    if all.is_empty() { inspect["Id"].as_str().unwrap_or_default().to_string() } else { all.join(" ") }
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
