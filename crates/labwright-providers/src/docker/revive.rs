//! The way back of a container that lived in the network of another, or among its processes, in whose place a new one was put.
//! What it lived in is gone for good and the engine cannot start it again, so it is made again as it was, with the new one.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptions, ListContainersOptions};
use labwright_plan::{ProviderError, Spec, Step, Value};
use serde_json::{Value as Json, json};

use super::container::{inspect, remove, start};
use super::engine::told;
use super::form;
use super::gate::{self, Goal};
use super::network::join;
use super::replace::{new, stop, take_over};
use super::session::{Saying, text};

/// The front of "what that container has".
const OF: &str = "container:";

/// What a container may have of another's: the engine keeps it as `container:ID`.
const SHARED: [&str; 3] = [NETWORK, PROCESSES, MEMORY];
const NETWORK: &str = "NetworkMode";
const PROCESSES: &str = "PidMode";
const MEMORY: &str = "IpcMode";

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
    for (field, gone) in lives_with(old) {
        if inspect(docker, gone).await?.is_some() {
            continue;
        }
        let replaced = saying.replaced.lock().unwrap_or_else(PoisonError::into_inner).get(gone).cloned();
        // One that was gone before this run leaves no trace but what it was called when this one was made.
        let same = || match (form::beside(old), step.spec.get("beside")) {
            (Json::Object(was), Some(Value::Map(now))) => !was.is_empty() && was.keys().eq(now.keys()),
            _ => false,
        };
        let asked = || asked(&step.spec, field).filter(|_| same())?.strip_prefix(OF);
        let Some(name) = replaced.as_deref().or_else(asked) else { return Ok(None) };
        if inspect(docker, name).await?.is_none() {
            return Ok(None);
        }
        moved.insert(gone.to_string(), name.to_string());
    }
    Ok(Some(moved).filter(|moved| !moved.is_empty()))
}

/// What a container is asked to have of another's.
fn asked<'a>(spec: &'a Spec, field: &str) -> Option<&'a str> {
    let option = |name: &str| match spec.get("options") {
        Some(Value::Map(options)) => options.get(name).and_then(Value::text),
        _ => None,
    };
    match field {
        NETWORK => text(spec, "networks"),
        PROCESSES => option("pid"),
        _ => option("ipc"),
    }
}

/// When the first of those was made that have the places of others: whatever ended with these ended after that. RFC 3339 in
/// UTC, as the engine says it.
async fn since(docker: &Docker, moved: &Moved) -> Result<Option<String>, ProviderError> {
    let mut since: Option<String> = None;
    for name in moved.values() {
        let heir = inspect(docker, name).await?;
        let made = heir.and_then(|heir| heir["Created"].as_str().map(str::to_string));
        since = since.into_iter().chain(made).min_by(|one, other| in_order(one, other));
    }
    Ok(since)
}

/// The engine tells times with as many digits as are needed: without the `Z` texts are in the order of time.
fn in_order(one: &str, other: &str) -> std::cmp::Ordering {
    one.trim_end_matches('Z').cmp(other.trim_end_matches('Z'))
}

/// Whether a container ended because it lived among the processes of another, whose first one takes all of them with it.
fn ended_with(container: &Json, since: Option<&str>) -> bool {
    let finished = container["State"]["FinishedAt"].as_str().unwrap_or_default();
    lives_with(container).any(|(field, _)| field == PROCESSES)
        && since.is_some_and(|since| in_order(finished, since).is_gt())
}

/// Whether a container ran until others took the places of those that it lived with.
pub async fn ran(docker: &Docker, old: &Json, moved: Option<&Moved>) -> Result<bool, ProviderError> {
    let runs = old["State"]["Running"] == true;
    Ok(runs || matches!(moved, Some(moved) if ended_with(old, since(docker, moved).await?.as_deref())))
}

fn lives_with(container: &Json) -> impl Iterator<Item = (&'static str, &str)> {
    SHARED.iter().filter_map(|field| Some((*field, container["HostConfig"][*field].as_str()?.strip_prefix(OF)?)))
}

/// Makes a container again as it was, with those that have the places of the ones it lived with, and likewise what comes
/// after it in its stack and lived there too: their own steps do not come about when its does not.
pub async fn all(docker: &Docker, old: &Json, mut moved: Moved, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let since = since(docker, &moved).await?;
    let mut left = vec![old.clone()];
    while let Some(old) = left.pop() {
        let id = old["Id"].as_str().unwrap_or_default();
        // One that comes after two of them was found twice.
        if inspect(docker, id).await?.is_none() {
            continue;
        }
        let after = after(docker, &old, &moved, since.as_deref()).await?;
        let new = again(docker, &old, &moved, saying).await?;
        moved.insert(id.to_string(), new);
        left.extend(after);
    }
    Ok(())
}

/// The containers that come after one and lost what they lived in with it: those that live in its own, and those of its stack
/// that were made beside it. One that somebody stopped stays so.
async fn after(docker: &Docker, old: &Json, moved: &Moved, since: Option<&str>) -> Result<Vec<Json>, ProviderError> {
    let label = |container: &Json, name: &str| container["Config"]["Labels"][name].as_str().map(str::to_string);
    let of_stack = |container: &Json| label(container, "com.docker.compose.project");
    let id = old["Id"].as_str().unwrap_or_default();
    let key = label(old, "com.docker.compose.service").unwrap_or_default();
    let all = ListContainersOptions { all: true, ..Default::default() };
    let listed = docker.list_containers(Some(all)).await;
    let listed = listed.map_err(|error| told("list containers beside", name_of(old), error))?;
    let mut after = Vec::new();
    for other in listed.into_iter().filter_map(|listed| listed.id) {
        let Some(other) = inspect(docker, &other).await? else { continue };
        let beside = of_stack(&other) == of_stack(old) && form::beside(&other).get(&key).is_some();
        let lost = lives_with(&other).any(|(_, gone)| gone == id || (beside && moved.contains_key(gone)));
        if lost && (other["State"]["Running"] == true || ended_with(&other, since)) {
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
    saying.say(&format!("making `{name}` again as it was: what it lived in was made anew"));
    let body: ContainerCreateBody = serde_json::from_value(body(old, moved))
        .map_err(|error| ProviderError::bug(format!("cannot spell container `{name}` as it was: {error}")))?;
    let options = CreateContainerOptions { name: Some(new(name)), ..Default::default() };
    let made = docker.create_container(Some(options), body).await;
    let made = made.map_err(|error| told("make container", name, error))?.id;
    for (network, endpoint) in endpoints(old).into_iter().skip(1) {
        if let Err(error) = join(docker, &network, &made, endpoint).await {
            remove(docker, &made).await?;
            return Err(error);
        }
    }
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

/// How a container is in the networks that are its own, in the engine's form.
fn endpoints(old: &Json) -> BTreeMap<String, Json> {
    if lives_with(old).any(|(field, _)| field == NETWORK) {
        return BTreeMap::new();
    }
    let id = old["Id"].as_str().unwrap_or_default();
    let networks = old["NetworkSettings"]["Networks"].as_object().into_iter().flatten();
    let endpoint = |found: &Json| {
        let kept = ["IPAMConfig", "Links", "DriverOpts", "GwPriority"].iter();
        let mut endpoint: Json = kept.map(|field| (field.to_string(), found[*field].clone())).collect();
        // The engine calls it by the beginning of its id, which it has no more.
        let names = found["Aliases"].as_array().into_iter().flatten().filter_map(Json::as_str);
        endpoint["Aliases"] = names.filter(|name| !id.starts_with(*name)).collect();
        if let Json::Object(fields) = &mut endpoint {
            fields.retain(|_, value| !value.is_null());
        }
        endpoint
    };
    networks.map(|(name, found)| (name.clone(), endpoint(found))).collect()
}

/// What the engine says of a container, as what it is asked for to make it again.
fn body(old: &Json, moved: &Moved) -> Json {
    let mut body = old["Config"].clone();
    let id = old["Id"].as_str().unwrap_or_default();
    let shares_network = lives_with(old).any(|(field, _)| field == NETWORK);
    if let Json::Object(fields) = &mut body {
        fields.retain(|name, value| match shares_network {
            true => !OF_A_NETWORK.contains(&name.as_str()),
            // The engine's own name for it is the beginning of its id.
            false => name != "Hostname" || !value.as_str().is_some_and(|name| id.starts_with(name)),
        });
    }
    if let Some((first, endpoint)) = endpoints(old).into_iter().next() {
        body["NetworkingConfig"] = json!({"EndpointsConfig": {first: endpoint}});
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

    #[test]
    fn one_with_networks_of_its_own_keeps_how_it_is_in_them() {
        let old = json!({
            "Id": "0123456789abcdef", "Image": "sha256:1", "Config": {"Hostname": "0123456789ab", "Image": "app:1"},
            "HostConfig": {"NetworkMode": "back", "PidMode": "container:gone"},
            "NetworkSettings": {"Networks": {
                "back": {"Aliases": ["0123456789ab", "app"], "IPAMConfig": {"IPv4Address": "10.0.0.9"}, "IPAddress": "10.0.0.9"},
                "front": {"Aliases": ["web"], "IPAMConfig": null, "Gateway": "10.0.1.1"},
            }},
        });
        let moved = Moved::from([("gone".to_string(), "app-1".to_string())]);
        let asked = body(&old, &moved);
        let back = json!({"Aliases": ["app"], "IPAMConfig": {"IPv4Address": "10.0.0.9"}});
        assert_eq!(asked["NetworkingConfig"], json!({"EndpointsConfig": {"back": back}}));
        assert_eq!(asked["HostConfig"]["PidMode"], "container:app-1");
        assert!(asked.get("Hostname").is_none(), "{asked}");
        assert_eq!(endpoints(&old)["front"], json!({"Aliases": ["web"]}));
        let mut named = old.clone();
        named["Config"]["Hostname"] = json!("db");
        assert_eq!(body(&named, &moved)["Hostname"], "db");
    }

    #[test]
    fn what_ended_with_the_processes_that_it_lived_among_ran_until_then() {
        let container = |mode: &str, finished: &str| json!({"HostConfig": {mode: "container:gone"}, "State": {"Running": false, "FinishedAt": finished}});
        let since = Some("2026-01-02T03:04:05.5Z");
        for (mode, finished, ended) in [
            ("PidMode", "2026-01-02T03:04:05.51Z", true),
            ("PidMode", "2026-01-02T03:04:05Z", false),
            ("PidMode", "0001-01-01T00:00:00Z", false),
            ("IpcMode", "2026-01-02T03:04:06Z", false),
        ] {
            assert_eq!(ended_with(&container(mode, finished), since), ended, "{mode} {finished}");
        }
        assert!(!ended_with(&container("PidMode", "2026-01-02T03:04:06Z"), None));
    }
}
