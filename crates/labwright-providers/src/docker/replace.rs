//! A container takes another's place: made beside it, started as late as possible after the old one stops, and judged.
//! The old one is removed only when the new one is up; otherwise it comes back as it was, with its old image.

use bollard::Docker;
use bollard::query_parameters::{RenameContainerOptions, StopContainerOptions};
use labwright_plan::{ErrorKind, ProviderError, Spec, Step, Value};
use serde_json::Value as Json;

use super::container::{inspect, make, remove, start};
use super::engine::{status, told};
use super::form;
use super::gate::{self, Goal};
use super::session::Saying;

/// What a container is called until it has the name that it is for, and once it has lost it.
const NEW: &str = ".labwright-new";
const OLD: &str = ".labwright-old";

/// Whether a name is one that a replacement gives and takes away again.
pub fn is_interim(name: &str) -> bool {
    name.ends_with(NEW) || name.ends_with(OLD)
}

/// Clears away what a run that was cut off left. One that had handed over its name, and whose heir never got it, gets
/// it back.
pub async fn clear(docker: &Docker, name: &str) -> Result<(), ProviderError> {
    let (new, old) = (format!("{name}{NEW}"), format!("{name}{OLD}"));
    if inspect(docker, &new).await?.is_some() {
        remove(docker, &new).await?;
    }
    if inspect(docker, &old).await?.is_some() {
        match inspect(docker, name).await? {
            Some(_) => remove(docker, &old).await?,
            None => rename(docker, &old, name).await?,
        }
    }
    Ok(())
}

/// Makes the new container, and puts it in the old one's place if it comes up.
pub async fn replace(docker: &Docker, step: &Step, old: &Json, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let name = step.id.name();
    let interim = format!("{name}{NEW}");
    let old_id = old["Id"].as_str().unwrap_or_default();
    let new_id = make(docker, name, &interim, &step.spec, &form::nameless(old), saying).await?;
    let ran = old["State"]["Running"] == true;
    // One that runs once, and one that shares what only one may have, starts when the old one has stopped.
    let overlap = !shares(&step.spec) && Goal::of(&step.spec) != Goal::Ran;
    let swapped = swap(docker, (old_id, &new_id), step, overlap, saying).await;
    if let Err(error) = swapped {
        return Err(come_back(docker, (old_id, &new_id), ran, error, saying).await);
    }
    if overlap {
        stop(docker, old_id, saying).await?;
    }
    rename(docker, old_id, &format!("{name}{OLD}")).await?;
    rename(docker, &new_id, name).await?;
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
    start(docker, new, step.id.name()).await?;
    gate::wait(docker, new, Goal::of(&step.spec), saying).await
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
    (old, new): (&str, &str),
    ran: bool,
    why: ProviderError,
    saying: &Saying<'_>,
) -> ProviderError {
    saying.say("it did not come up: the old container comes back");
    let back = async {
        remove(docker, new).await?;
        let running = |container: &Json| container["State"]["Running"] == true;
        if ran && !inspect(docker, old).await?.is_some_and(|container| running(&container)) {
            start(docker, old, saying.id.name()).await?;
            gate::wait(docker, old, Goal::Up, saying).await?;
        }
        Ok::<(), ProviderError>(())
    };
    match back.await {
        Ok(()) => {
            let state = if ran { "runs again" } else { "is there as it was" };
            ProviderError::reverted(format!("{}; the container before it {state}", why.message))
                .help("correct what it was changed to, and apply again")
        }
        Err(error) => ProviderError::new(
            ErrorKind::Rejected,
            format!("{}; and the container before it did not come back: {}", why.message, error.message),
        )
        .help(format!("on the host: `docker start {}`", saying.id.name())),
    }
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

async fn rename(docker: &Docker, from: &str, to: &str) -> Result<(), ProviderError> {
    let options = RenameContainerOptions { name: to.into() };
    docker.rename_container(from, options).await.map_err(|error| told("rename a container to", to, error))
}
