//! Containers made before their turn, while those that they wait for come up: what is left to do then is to start them.
//! Made under the name that a replacement gives, so that nothing takes one for the container itself, and so that whatever a
//! run that was cut off left is cleared away as a replacement's is. What is in the way here is met again, and told, by `apply`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bollard::Docker;
use labwright_plan::{Action, ProviderError, ResourceId, Spec, Step, Value};
use serde_json::Value as Json;

use super::container::{inspect, look, make, remove, remove_unused, tell_of_folders};
use super::replace::{clear, new, old};
use super::session::Saying;
use super::{NAME, container, form, secrets, volume};

/// What this run has ready, by the step that it is for.
pub type Ready = Mutex<BTreeMap<ResourceId, Made>>;

/// A container that is made and was never started.
#[derive(Clone)]
pub struct Made {
    pub id: String,
    /// Whose place it is for; `None`: nobody's.
    pub old: Option<String>,
}

/// Whether a container may be made before another one is up.
pub fn comes_before(step: &Step, need: &ResourceId) -> bool {
    let container = |id: &ResourceId| id.provider() == NAME && id.kind() == container::KIND.name;
    // Secrets in memory are kept for as long as a container has them, and for no moment longer.
    let plain = !lives_with_another(&step.spec) && !secrets::any(&step.spec);
    container(&step.id) && container(need) && matches!(step.action, Action::Create | Action::Replace) && plain
}

/// Whether the engine has to know another container to make it: it keeps the id of the one that is there then.
fn lives_with_another(spec: &Spec) -> bool {
    fn names_one(value: &Value) -> bool {
        match value {
            Value::Text(text) => text.starts_with("container:"),
            Value::Map(fields) => fields.iter().any(|(name, value)| name == "Links" || names_one(value)),
            _ => false,
        }
    }
    ["networks", "options"].iter().filter_map(|field| spec.get(*field)).any(names_one)
}

/// Makes the container of a step beside what is there. One whose turn it is better left to is not made.
pub async fn prepare(docker: &Docker, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let name = step.id.name();
    // A run that was cut off left one that is to have its name back: that shows, so it waits for its turn.
    if inspect(docker, &old(name)).await?.is_some() || fills_a_volume(docker, &step.spec).await? {
        return Ok(());
    }
    let there = look(docker, name, &step.spec).await?;
    clear(docker, name).await?;
    let carried = there.as_ref().map(form::nameless).unwrap_or_default();
    let turn = saying.starting.spare_turn();
    let id = make(docker, name, &new(name), &step.spec, &carried, saying).await?;
    drop(turn);
    let old = there.and_then(|there| there["Id"].as_str().map(str::to_string));
    saying.ready.lock().unwrap_or_else(PoisonError::into_inner).insert(step.id.clone(), Made { id, old });
    Ok(())
}

/// Whether making it would put something into a volume: into an empty one the engine copies what the image has there, and
/// whose copy that is must not depend on who was made first.
async fn fills_a_volume(docker: &Docker, spec: &Spec) -> Result<bool, ProviderError> {
    let mounts = spec.get("mounts").and_then(Value::list).unwrap_or_default();
    let named = |mount: &&str| !mount.starts_with(['/', ':', '(']);
    for mount in mounts.iter().filter_map(Value::text).filter(named) {
        let source = mount.split(':').next().unwrap_or_default();
        // Only what can be seen to have something in it is not filled.
        let place = volume::look(docker, source).await?;
        let place = place.as_ref().and_then(|volume| volume["Mountpoint"].as_str()).unwrap_or_default();
        if !std::fs::read_dir(Path::new(place)).is_ok_and(|mut entries| entries.next().is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What this run made for a step, if that is as it was made.
pub async fn take(docker: &Docker, step: &Step, saying: &Saying<'_>) -> Result<Option<Made>, ProviderError> {
    let made = saying.ready.lock().unwrap_or_else(PoisonError::into_inner).remove(&step.id);
    let Some(made) = made else { return Ok(None) };
    let Some(there) = inspect(docker, &made.id).await? else { return Ok(None) };
    let name = there["Name"].as_str().unwrap_or_default().trim_start_matches('/');
    if name != new(step.id.name()) || !never_started(&there) {
        return Ok(None);
    }
    tell_of_folders(&there, saying);
    Ok(Some(made))
}

/// Whether nothing of what stands in a container, or in volumes of its own, was ever written by it.
pub fn never_started(container: &Json) -> bool {
    container["State"]["Status"] == "created"
}

/// Takes away what was made for a step that is not made, by this run or by one that was cut off.
pub async fn discard(docker: &Docker, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let made = saying.ready.lock().unwrap_or_else(PoisonError::into_inner).remove(&step.id);
    match inspect(docker, &new(step.id.name())).await? {
        Some(left) if never_started(&left) => remove_unused(docker, &new(step.id.name())).await,
        // Somebody started it by hand.
        Some(_) if made.is_some() => remove(docker, &new(step.id.name())).await,
        _ => Ok(()),
    }
}

/// Says nothing: it is said when it is the step's turn.
pub struct Silent;

impl labwright_plan::Progress for Silent {
    fn say(&self, _: &ResourceId, _: &str) {}
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use labwright_plan::{Consequence, Expect, Fingerprint};

    use super::*;

    fn step(action: Action, fields: &[(&str, Value)]) -> Step {
        Step {
            id: ResourceId::new("h", NAME, "container", "app"),
            action,
            consequence: Consequence::None,
            because: String::new(),
            spec: fields.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            changes: Vec::new(),
            needs: BTreeSet::new(),
            after: BTreeSet::new(),
            expect: Expect::Fingerprint(Fingerprint::absent()),
        }
    }

    #[test]
    fn only_other_containers_are_not_waited_for_and_only_by_one_that_stands_alone() {
        let map = |name: &str, value: Value| Value::Map(BTreeMap::from([(name.to_string(), value)]));
        let need = |provider: &str, kind: &str| ResourceId::new("other", provider, kind, "need");
        let alone =
            [("networks", map("net", map("aliases", "db".into()))), ("options", map("init", Value::Bool(true)))];
        for (action, may) in [(Action::Create, true), (Action::Replace, true), (Action::Update, false)] {
            assert_eq!(comes_before(&step(action, &alone), &need(NAME, "container")), may, "{action:?}");
        }
        for (provider, kind) in [(NAME, "network"), (NAME, "volume"), (NAME, "image"), ("host", "file")] {
            assert!(!comes_before(&step(Action::Create, &alone), &need(provider, kind)), "{provider} {kind}");
        }
        for with in [
            ("networks", Value::from("container:gateway")),
            ("options", map("pid", "container:app".into())),
            ("options", map("ipc", "container:app".into())),
            ("networks", map("net", map("Links", ["db:db"].into_iter().collect()))),
        ] {
            assert!(
                !comes_before(&step(Action::Create, std::slice::from_ref(&with)), &need(NAME, "container")),
                "{with:?}"
            );
        }
    }
}
