//! What the engine tells of a lab's containers while they run: that one ended, fell ill or is well again. Nothing is looked at
//! meanwhile. An engine that goes away is waited for.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bollard::query_parameters::EventsOptions;
use futures_util::StreamExt;
use labwright_model::snapshot::up::engine::{Heard, Then};
use serde_json::Value as Json;

use super::super::container::inspect;
use super::super::engine::json;
use super::attend::Hub;
use super::one::{ended, is_once};
use super::unit::{change, finish};
use super::{LABEL, Made};

/// What ended so shortly before the engine went away was ended by it: it stops what it runs when it is stopped itself.
const TOGETHER: Duration = Duration::from_secs(15);
/// How often an engine that went away is looked for.
const AGAIN: Duration = Duration::from_millis(500);

pub async fn listen(hub: Rc<Hub>) {
    loop {
        let filters = HashMap::from([
            ("type".to_string(), vec!["container".to_string()]),
            ("label".to_string(), vec![format!("{LABEL}={}", hub.stacks.mark)]),
            ("event".to_string(), vec!["die".to_string(), "health_status".to_string()]),
        ]);
        let mut events =
            std::pin::pin!(hub.docker.events(Some(EventsOptions { filters: Some(filters), ..Default::default() })));
        while let Some(Ok(event)) = events.next().await {
            heard(&hub, &json(&event)).await;
        }
        let reason = "the Docker engine does not answer".to_string();
        let lost = lost(&hub);
        let units: BTreeMap<String, u64> = lost.iter().map(|(unit, attempt, _)| (unit.clone(), *attempt)).collect();
        for (unit, attempt) in units.into_iter().chain(started(&hub)) {
            hub.tell(Heard::Unwell { unit, attempt, reason: reason.clone() });
        }
        loop {
            tokio::time::sleep(AGAIN).await;
            if hub.docker.ping().await.is_ok() {
                break;
            }
        }
        for (unit, attempt, made) in lost {
            let code = hub.units.borrow().get(&unit).and_then(|state| state.containers[&made.name].code);
            change(&hub, &unit, &made.name, |one| one.up = true);
            died(&hub, &unit, attempt, &made, code.unwrap_or(-1), Some(AWAY)).await;
        }
        look_again(&hub).await;
    }
}

const AWAY: &str = "the Docker engine went away";

/// What the engine ended when it went.
fn lost(hub: &Hub) -> Vec<(String, u64, Made)> {
    let units = hub.units.borrow();
    let mut all = Vec::new();
    for (unit, state) in units.iter().filter(|(_, state)| !state.stopping) {
        let Some(stack) = hub.stack(unit).filter(|stack| !stack.once) else { continue };
        let gone = stack.containers.iter().filter(|made| !is_once(made));
        let gone = gone.filter(|made| state.containers[&made.name].died.is_some_and(|at| at.elapsed() < TOGETHER));
        all.extend(gone.map(|made| (unit.clone(), state.attempt, made.clone())));
    }
    all
}

fn started(hub: &Hub) -> Vec<(String, u64)> {
    let units = hub.units.borrow();
    let runs = units.iter().filter(|(_, state)| !state.stopping && state.containers.values().any(|one| one.up));
    runs.map(|(unit, state)| (unit.clone(), state.attempt)).collect()
}

/// The container of a number, with its unit, and which start of that this is.
fn find(hub: &Hub, id: &str) -> Option<(String, u64, Made)> {
    let units = hub.units.borrow();
    units.iter().filter(|(_, state)| !state.stopping).find_map(|(unit, state)| {
        let (name, _) = state.containers.iter().find(|(_, one)| one.id().as_deref() == Some(id))?;
        let made = hub.stack(unit)?.containers.iter().find(|made| made.name == *name)?;
        Some((unit.clone(), state.attempt, made.clone()))
    })
}

async fn heard(hub: &Rc<Hub>, event: &Json) {
    let id = event["Actor"]["ID"].as_str().unwrap_or_default();
    let action = event["Action"].as_str().unwrap_or_default();
    let Some((unit, attempt, made)) = find(hub, id) else { return };
    if action == "die" {
        let code = event["Actor"]["Attributes"]["exitCode"].as_str().and_then(|code| code.parse().ok()).unwrap_or(-1);
        return died(hub, &unit, attempt, &made, code, None).await;
    }
    let Some(health) = action.strip_prefix("health_status").map(|health| health.trim_start_matches([':', ' '])) else {
        return;
    };
    let up = hub.units.borrow().get(&unit).is_some_and(|state| state.containers[&made.name].up);
    if !up {
        return;
    }
    match health {
        "healthy" => {
            change(hub, &unit, &made.name, |one| one.word = "healthy");
            let all = hub
                .units
                .borrow()
                .get(&unit)
                .is_some_and(|state| state.containers.values().all(|one| one.up && one.word != "unhealthy"));
            if all {
                hub.tell(Heard::Well { unit, attempt });
            }
        }
        "unhealthy" => {
            change(hub, &unit, &made.name, |one| one.word = "unhealthy");
            let said = inspect(&hub.docker, id).await.ok().flatten().unwrap_or_default();
            let last =
                said["State"]["Health"]["Log"].as_array().and_then(|log| log.last()).cloned().unwrap_or_default();
            let output = last["Output"].as_str().unwrap_or_default().trim().to_string();
            let reason = match output.is_empty() {
                true => format!("`{}` is unhealthy", made.key),
                false => format!("`{}` is unhealthy; its health check said: {output}", made.key),
            };
            hub.tell(Heard::Unwell { unit, attempt, reason });
        }
        _ => {}
    }
}

/// One has ended. `because`: what else is known of why.
async fn died(hub: &Rc<Hub>, unit: &str, attempt: u64, made: &Made, code: i64, because: Option<&str>) {
    let waits = hub.units.borrow().get(unit).is_some_and(|state| {
        let one = &state.containers[&made.name];
        one.waiting || !one.up
    });
    change(hub, unit, &made.name, |one| {
        (one.word, one.code) = ("ended", Some(code));
        one.died = because.is_none().then(Instant::now);
    });
    // Whoever waits for it to come up tells of it.
    if waits {
        return;
    }
    let once = hub.stack(unit).is_some_and(|stack| stack.once) || is_once(made);
    let may = code == 0 && (once || made.restart == "no" || made.restart.starts_with("on-failure"));
    if may && because.is_none() {
        return finish(hub, unit);
    }
    let id = hub.units.borrow().get(unit).and_then(|state| state.containers[&made.name].id());
    let state = match id {
        Some(id) => inspect(&hub.docker, &id).await.ok().flatten().unwrap_or_default(),
        None => Json::Null,
    };
    change(hub, unit, &made.name, |one| one.up = false);
    let then = if made.restart == "no" && because.is_none() { Then::Nothing } else { Then::Again };
    let reason = match because {
        Some(because) => format!("{because}; {}", ended(&made.key, code, &state["State"])),
        None => ended(&made.key, code, &state["State"]),
    };
    hub.tell(Heard::Failed { unit: unit.to_string(), attempt, reason, then });
}

/// After the engine was away: what still runs is well, what does not has ended.
async fn look_again(hub: &Rc<Hub>) {
    for (unit, attempt) in started(hub) {
        let mut runs = true;
        let all: Vec<(Made, Option<String>)> = {
            let units = hub.units.borrow();
            let stack = hub.stack(&unit).into_iter().flat_map(|stack| &stack.containers);
            let Some(state) = units.get(&unit) else { continue };
            stack
                .filter_map(|made| Some((made, state.containers.get(&made.name)?)))
                .filter(|(_, one)| one.up && one.word != "ended")
                .map(|(made, one)| (made.clone(), one.id()))
                .collect()
        };
        for (made, id) in all {
            let Some(id) = id else { continue };
            let found = match inspect(&hub.docker, &id).await {
                Ok(found) => found.unwrap_or_default(),
                // Nobody can say whether it runs. An engine that is gone again is looked for again, and this with it.
                Err(error) => {
                    runs = false;
                    let reason = format!("whether `{}` runs cannot be told: {}", made.key, error.message);
                    hub.tell(Heard::Unwell { unit: unit.clone(), attempt, reason });
                    continue;
                }
            };
            if found["State"]["Running"] != true {
                runs = false;
                let code = found["State"]["ExitCode"].as_i64().unwrap_or(-1);
                died(hub, &unit, attempt, &made, code, Some(AWAY)).await;
            }
        }
        if runs {
            hub.tell(Heard::Well { unit, attempt });
        }
    }
}
