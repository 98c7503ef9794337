//! A container takes another's place: made beside it, started as late as possible after the old one stops, and judged.
//! The old one is removed only when the new one is up; otherwise it comes back as it was, with its old image.

use std::sync::PoisonError;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{ListContainersOptions, RenameContainerOptions, StopContainerOptions};
use labwright_plan::{ErrorKind, ProviderError, Spec, Step, Value};
use serde_json::Value as Json;

use super::container::{inspect, make, remove, remove_unused, restart, start};
use super::culprit;
use super::engine::{status, told};
use super::form;
use super::gate::{self, Goal};
use super::prepare::never_started;
use super::revive;
use super::session::{Saying, text};

/// What a container is called until it has the name that it is for, and once it has lost it.
const NEW: &str = ".labwright-new";
const OLD: &str = ".labwright-old";

/// Whether a name is one that a replacement gives and takes away again.
pub fn is_interim(name: &str) -> bool {
    name.ends_with(NEW) || name.ends_with(OLD)
}

/// What the one that is to have a name is called until then.
pub fn new(name: &str) -> String {
    format!("{name}{NEW}")
}

/// What the one that had a name is called until it goes.
pub fn old(name: &str) -> String {
    format!("{name}{OLD}")
}

/// Clears away what a run that was cut off left. One that had handed over its name, and whose heir never got it, gets
/// it back.
pub async fn clear(docker: &Docker, name: &str) -> Result<(), ProviderError> {
    let (new, old) = (new(name), old(name));
    match inspect(docker, &new).await? {
        Some(unused) if never_started(&unused) => remove_unused(docker, &new).await?,
        Some(_) => remove(docker, &new).await?,
        None => {}
    }
    if inspect(docker, &old).await?.is_some() {
        match inspect(docker, name).await? {
            Some(_) => remove(docker, &old).await?,
            None => rename(docker, &old, name).await?,
        }
    }
    Ok(())
}

/// Makes the new container, unless it was made already, and puts it in the old one's place if it comes up.
pub async fn replace(
    docker: &Docker,
    step: &Step,
    old: &Json,
    made: Option<String>,
    saying: &Saying<'_>,
) -> Result<(), ProviderError> {
    let name = step.id.name();
    let old_id = old["Id"].as_str().unwrap_or_default();
    let made = match made {
        Some(made) => Ok(made),
        None => make(docker, name, &new(name), &step.spec, &form::nameless(old), saying).await,
    };
    let new_id = match made {
        Ok(new_id) => new_id,
        // What was not touched yet needs no way back, unless it is cut off already.
        Err(error) => {
            return Err(match revive::heirs(docker, step, old, saying).await {
                Ok(Some(_)) => come_back(docker, step, (old, None), error, saying).await,
                Ok(None) => error,
                Err(unseen) => {
                    let message = format!(
                        "{}; whether `{name}` still has what it lives in cannot be told: {}",
                        error.message, unseen.message
                    );
                    ProviderError { message, ..error }
                        .help(format!("on the host: `docker ps` and `docker restart {name}`"))
                }
            });
        }
    };
    // One that runs once, and one that shares what only one may have, starts when the old one has stopped.
    let overlap = !shares(&step.spec) && Goal::of(&step.spec) != Goal::Ran;
    let swapped = swap(docker, (old_id, &new_id), step, overlap, saying).await;
    if let Err(error) = swapped {
        return Err(come_back(docker, step, (old, Some(&new_id)), error, saying).await);
    }
    if overlap {
        stop(docker, old_id, saying).await?;
    }
    take_over(docker, (old_id, &new_id), name).await?;
    saying.replaced.lock().unwrap_or_else(PoisonError::into_inner).insert(old_id.to_string(), name.to_string());
    Ok(())
}

/// Gives the new container the name, and removes the old one.
pub async fn take_over(docker: &Docker, (old_id, new_id): (&str, &str), name: &str) -> Result<(), ProviderError> {
    rename(docker, old_id, &old(name)).await?;
    rename(docker, new_id, name).await?;
    remove(docker, old_id).await
}

async fn swap(
    docker: &Docker,
    (old, new): (&str, &str),
    step: &Step,
    overlap: bool,
    saying: &Saying<'_>,
) -> Result<(), ProviderError> {
    if !overlap {
        saying.say("down from here: the old container stops, since both cannot have its ports, volumes or addresses");
        stop(docker, old, saying).await?;
    }
    if let Err(error) = start(docker, new, step.id.name()).await {
        return Err(culprit::of_port(docker, &step.spec, error).await);
    }
    gate::wait(docker, new, Goal::of(&step.spec), saying).await
}

/// How long nobody has what a container does while another takes its place, in words. `None`: nobody has it now either.
pub fn foretold(wanted: &Spec, observed: &Spec) -> Option<String> {
    if text(observed, "state") != Some("running") || Goal::of(wanted) == Goal::Ran {
        return None;
    }
    if !shares(wanted) {
        return Some("no downtime: the old one stops when the new one is up".into());
    }
    let down = "down from when the old one stops until the new one is up";
    Some(match gate::most(wanted) {
        Some(most) => format!("{down}: {} s at most", (grace(wanted) + most).as_secs()),
        None => down.into(),
    })
}

/// What the engine gives a container to end by itself where nothing else is said.
const GRACE: Duration = Duration::from_secs(10);

fn grace(spec: &Spec) -> Duration {
    let said = match spec.get("options") {
        Some(Value::Map(options)) => options.get("stop_grace_period").and_then(Value::int),
        _ => None,
    };
    said.and_then(|seconds| u64::try_from(seconds).ok()).map_or(GRACE, Duration::from_secs)
}

/// Whether two of its kind cannot run at once: they would share a port, a network, an address or what they write.
fn shares(spec: &Spec) -> bool {
    let texts = |field: &str| spec.get(field).and_then(Value::list).unwrap_or_default().iter().filter_map(Value::text);
    let writes = |mount: &str| !mount.starts_with('(') && !mount.ends_with(":ro");
    let fixed = match spec.get("networks") {
        Some(Value::Map(networks)) => networks.values().any(|endpoint| match endpoint {
            Value::Map(endpoint) => {
                endpoint.keys().any(|key| !matches!(key.as_str(), "aliases" | "DriverOpts" | "GwPriority" | "Links"))
            }
            _ => false,
        }),
        _ => true,
    };
    texts("ports").next().is_some() || texts("mounts").any(writes) || fixed
}

/// Takes the new container away and sees to it that the old one runs again, if it ran.
async fn come_back(
    docker: &Docker,
    step: &Step,
    (old, new): (&Json, Option<&str>),
    why: ProviderError,
    saying: &Saying<'_>,
) -> ProviderError {
    saying.say("it did not come up: the old container comes back");
    let id = old["Id"].as_str().unwrap_or_default();
    let back = async {
        if let Some(new) = new {
            remove(docker, new).await?;
        }
        let moved = revive::heirs(docker, step, old, saying).await?;
        if !revive::ran(docker, old, moved.as_ref()).await? {
            return Ok("is there as it was");
        }
        if let Some(moved) = moved {
            revive::all(docker, old, moved, saying).await?;
            return Ok("runs again: it was made as it was, with the new one of what it lives with");
        }
        if !inspect(docker, id).await?.is_some_and(|container| container["State"]["Running"] == true) {
            start(docker, id, saying.id.name()).await?;
            gate::wait(docker, id, Goal::Up, saying).await?;
            reattach(docker, id, saying).await?;
        }
        Ok::<&str, ProviderError>("runs again")
    };
    match back.await {
        Ok(state) => ProviderError::reverted(format!("{}; the container before it {state}", why.message))
            .help("correct what it was changed to, and apply again"),
        Err(error) => ProviderError::new(
            ErrorKind::Rejected,
            format!("{}; and the container before it did not come back: {}", why.message, error.message),
        )
        .help(format!("on the host: `docker start {}`", saying.id.name())),
    }
}

/// Starts those again that live in the network of a container: it has a new one since it was started again.
async fn reattach(docker: &Docker, id: &str, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let mode = format!("container:{id}");
    let running = docker.list_containers(None::<ListContainersOptions>).await;
    for container in running.map_err(|error| told("list containers beside", saying.id.name(), error))? {
        let lives_there = container.host_config.and_then(|config| config.network_mode) == Some(mode.clone());
        if let (Some(other), true) = (container.id, lives_there) {
            let names = container.names.unwrap_or_default();
            let name = names.first().map_or(other.as_str(), |name| name.trim_start_matches('/'));
            saying.say(&format!("starting `{name}` again, which lives in its network"));
            restart(docker, &other, name).await?;
        }
    }
    Ok(())
}

/// Stops a container within its own grace period; one that is stopped already is fine.
pub async fn stop(docker: &Docker, id: &str, saying: &Saying<'_>) -> Result<(), ProviderError> {
    match docker.stop_container(id, None::<StopContainerOptions>).await {
        Err(error) if !matches!(status(&error), Some(304 | 404)) => {
            Err(told("stop container", saying.id.name(), error))
        }
        _ => Ok(()),
    }
}

pub async fn rename(docker: &Docker, from: &str, to: &str) -> Result<(), ProviderError> {
    let options = RenameContainerOptions { name: to.into() };
    docker.rename_container(from, options).await.map_err(|error| told("rename a container to", to, error))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_is_foretold_how_long_nobody_has_it() {
        let spec = |fields: &[(&str, Value)]| -> Spec {
            fields.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
        };
        let map = |fields: &[(&str, Value)]| Value::Map(spec(fields));
        let running = spec(&[("state", "running".into())]);
        let alone = ("networks", Value::Map(BTreeMap::new()));
        let ports = ("ports", ["127.0.0.1:80:80/tcp"].into_iter().collect::<Value>());
        let second = 1_000_000_000_i64;
        let check = (
            "healthcheck",
            map(&[("Interval", Value::Int(2 * second)), ("Timeout", Value::Int(second)), ("Retries", Value::Int(3))]),
        );
        let options = ("options", map(&[("stop_grace_period", Value::Int(3))]));
        let told = |wanted: &[(&str, Value)]| foretold(&spec(wanted), &running).unwrap_or_default();
        assert!(told(std::slice::from_ref(&alone)).starts_with("no downtime"));
        assert!(told(&[alone.clone(), ports.clone()]).ends_with("until the new one is up"));
        // Three seconds to stop, four rounds of three, and what is added to any wait.
        assert!(told(&[alone.clone(), ports.clone(), check.clone(), options]).ends_with(": 20 s at most"));
        assert!(told(&[alone.clone(), ports.clone(), check]).ends_with(": 27 s at most"));
        assert!(told(&[("networks", "container:gateway".into())]).starts_with("down"));
        assert_eq!(foretold(&spec(&[alone, ports]), &spec(&[("state", "exited with 1".into())])), None);
    }
}
