//! The way back of a container whose network is gone for good: it lived in that of another, in whose place a new one was put.
//! The engine cannot start it again, so it is made again as it was, in the new network.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptions, ListContainersOptions};
use labwright_plan::{ProviderError, Step, Value};
use serde_json::{Value as Json, json};

use super::container::{inspect, remove, start};
use super::engine::told;
use super::form;
use super::gate::{self, Goal};
use super::replace::{NEW, stop, take_over};
use super::session::{Saying, text};

/// The front of "what that container has".
const OF: &str = "container:";

/// What a container may have of another's: the engine keeps it as `container:ID`.
const SHARED: [&str; 3] = [NETWORK, "PidMode", "IpcMode"];
const NETWORK: &str = "NetworkMode";

/// Who has the place of each container that is gone, by its id.
pub type Moved = BTreeMap<String, String>;

/// Who has the place of those that a container lived with. `None` where all of them are there and it can come back as it is,
/// or where nobody knows of another.
pub async fn heirs(
    docker: &Docker,
    step: &Step,
    old: &Json,
    saying: &Saying<'_>,
) -> Result<Option<Moved>, ProviderError> {
    let mut moved = Moved::new();
    // One with a network of its own is not made again: its names and addresses there are still its own.
    let shares_network = lives_with(old).any(|(field, _)| field == NETWORK);
    for (field, gone) in lives_with(old).filter(|_| shares_network) {
        if inspect(docker, gone).await?.is_some() {
            continue;
        }
        let replaced = saying.replaced.lock().unwrap_or_else(PoisonError::into_inner).get(gone).cloned();
        // One that was gone before this run leaves no trace but what it was called when this one was made.
        let same = || match (form::beside(old), step.spec.get("beside")) {
            (Json::Object(was), Some(Value::Map(now))) => !was.is_empty() && was.keys().eq(now.keys()),
            _ => false,
        };
        let network = || text(&step.spec, "networks").filter(|_| field == NETWORK && same())?.strip_prefix(OF);
        let Some(name) = replaced.as_deref().or_else(network) else { return Ok(None) };
        if inspect(docker, name).await?.is_none() {
            return Ok(None);
        }
        moved.insert(gone.to_string(), name.to_string());
    }
    Ok(Some(moved).filter(|moved| !moved.is_empty()))
}

fn lives_with(container: &Json) -> impl Iterator<Item = (&'static str, &str)> {
    SHARED.iter().filter_map(|field| Some((*field, container["HostConfig"][*field].as_str()?.strip_prefix(OF)?)))
}

/// Makes a container again as it was, with those that have the places of the ones it lived with, and likewise what comes
/// after it in its stack and lived there too: their own steps do not come about when its does not.
pub async fn all(docker: &Docker, old: &Json, mut moved: Moved, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let mut left = vec![old.clone()];
    while let Some(old) = left.pop() {
        let id = old["Id"].as_str().unwrap_or_default();
        // One that comes after two of them was found twice.
        if inspect(docker, id).await?.is_none() {
            continue;
        }
        let after = after(docker, &old, &moved).await?;
        let new = again(docker, &old, &moved, saying).await?;
        moved.insert(id.to_string(), new);
        left.extend(after);
    }
    Ok(())
}

/// The containers that come after one and lost their network with it: those that live in its own, and those of its stack
/// that were made beside it.
async fn after(docker: &Docker, old: &Json, moved: &Moved) -> Result<Vec<Json>, ProviderError> {
    let label = |container: &Json, name: &str| container["Config"]["Labels"][name].as_str().map(str::to_string);
    let of_stack = |container: &Json| label(container, "com.docker.compose.project");
    let id = old["Id"].as_str().unwrap_or_default();
    let key = label(old, "com.docker.compose.service").unwrap_or_default();
    let listed = docker.list_containers(None::<ListContainersOptions>).await;
    let listed = listed.map_err(|error| told("list containers beside", name_of(old), error))?;
    let mut after = Vec::new();
    for other in listed.into_iter().filter_map(|listed| listed.id) {
        let Some(other) = inspect(docker, &other).await? else { continue };
        let beside = of_stack(&other) == of_stack(old) && form::beside(&other).get(&key).is_some();
        let lost = lives_with(&other).any(|(_, gone)| gone == id || (beside && moved.contains_key(gone)));
        if lost {
            after.push(other);
        }
    }
    Ok(after)
}

fn name_of(container: &Json) -> &str {
    container["Name"].as_str().unwrap_or_default().trim_start_matches('/')
}

/// Makes it again, waits until it is up, and gives it the name. Returns its id.
async fn again(docker: &Docker, old: &Json, moved: &Moved, saying: &Saying<'_>) -> Result<String, ProviderError> {
    let (name, id) = (name_of(old), old["Id"].as_str().unwrap_or_default());
    saying.say(&format!("making `{name}` again as it was: the network that it lived in was made anew"));
    let body: ContainerCreateBody = serde_json::from_value(body(old, moved))
        .map_err(|error| ProviderError::bug(format!("cannot spell container `{name}` as it was: {error}")))?;
    let options = CreateContainerOptions { name: Some(format!("{name}{NEW}")), ..Default::default() };
    let made = docker.create_container(Some(options), body).await;
    let made = made.map_err(|error| told("make container", name, error))?.id;
    // Both would have its ports and what it writes to.
    stop(docker, id, saying).await?;
    let up = async {
        start(docker, &made, name).await?;
        gate::wait(docker, &made, Goal::Up, saying).await
    };
    if let Err(error) = up.await {
        remove(docker, &made).await?;
        return Err(error);
    }
    take_over(docker, (id, &made), name).await?;
    saying.replaced.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_string(), name.to_string());
    Ok(made)
}

/// What belongs to a network of one's own: the engine shows that of the one that a container lived with, and takes none.
const OF_A_NETWORK: [&str; 4] = ["Hostname", "Domainname", "ExposedPorts", "MacAddress"];

/// What the engine says of a container, as what it is asked for to make it again.
fn body(old: &Json, moved: &Moved) -> Json {
    let mut body = old["Config"].clone();
    if let Json::Object(fields) = &mut body {
        fields.retain(|name, _| !OF_A_NETWORK.contains(&name.as_str()));
    }
    // A tag may stand for another image by now; a digest does not.
    if !body["Image"].as_str().is_some_and(|image| image.contains('@')) {
        body["Image"] = old["Image"].clone();
    }
    body["HostConfig"] = old["HostConfig"].clone();
    for (field, gone) in lives_with(old) {
        if let Some(other) = moved.get(gone) {
            body["HostConfig"][field] = json!(format!("{OF}{other}"));
        }
    }
    // Its data goes on to it, that in volumes without a name too.
    let nameless = form::nameless(old);
    if let Json::Object(volumes) = &mut body["Volumes"] {
        volumes.retain(|target, _| !nameless.contains_key(target));
    }
    let mut binds = body["HostConfig"]["Binds"].as_array().cloned().unwrap_or_default();
    let said = |target: &str| binds.iter().filter_map(Json::as_str).any(|bind| bind.split(':').nth(1) == Some(target));
    let carried: Vec<Json> = nameless
        .iter()
        .filter(|(target, _)| !said(target))
        .map(|(target, volume)| json!(format!("{volume}:{target}:rw")))
        .collect();
    binds.extend(carried);
    body["HostConfig"]["Binds"] = json!(binds);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_asked_for_as_it_was_without_what_was_its_networks() {
        let volume = "a".repeat(64);
        let old = json!({
            "Id": "old", "Image": "sha256:1", "Config": {
                "Hostname": "gateway", "ExposedPorts": {"80/tcp": {}}, "Image": "app:1", "Env": ["A=b"],
                "Volumes": {"/data": {}, "/other": {}}, "Labels": {"team": "ops"},
            },
            "HostConfig": {"NetworkMode": "container:gone", "PidMode": "container:there", "Binds": ["media:/media:ro"], "Memory": 64},
            "Mounts": [{"Type": "volume", "Name": volume, "Destination": "/data"}],
        });
        let moved = Moved::from([("gone".to_string(), "gateway-1".to_string())]);
        let asked = body(&old, &moved);
        assert_eq!(
            asked,
            json!({
                "Image": "sha256:1", "Env": ["A=b"], "Volumes": {"/other": {}}, "Labels": {"team": "ops"},
                "HostConfig": {
                    "NetworkMode": "container:gateway-1", "PidMode": "container:there", "Memory": 64,
                    "Binds": ["media:/media:ro", format!("{volume}:/data:rw")],
                },
            })
        );
        let digest = json!({"Config": {"Image": "app@sha256:2"}, "Image": "sha256:1", "HostConfig": {}});
        assert_eq!(body(&digest, &moved)["Image"], "app@sha256:2");
    }
}
