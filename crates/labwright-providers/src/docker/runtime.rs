//! How the containers of an engine fare, what they say, and commands beside them.
//! Changes no container; what is asked for is found as `container` finds it.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use bollard::Docker;
use bollard::query_parameters::ListContainersOptions;
use labwright_plan::{
    ExecAsk, Found, FoundAsk, Health, ImageSeen, Line, LogsAsk, Part, ProviderError, Running, Runtime, State, Told,
    Typed,
};
use serde_json::Value as Json;

use super::engine::{self, told};
use super::image::{Images, digest_of};
use super::reference::parse;
use super::session::text;
use super::{adopt, container, exec, form, logs, replace};

/// The engines of one host.
pub struct Engines;

/// Where the engine of a part listens.
fn socket(part: &Part) -> &str {
    text(&part.place, "engine").unwrap_or(engine::SOCKET)
}

impl Runtime for Engines {
    fn found(&self, ask: &FoundAsk) -> Result<Vec<Found>, ProviderError> {
        let socket = ask.engine.as_deref().unwrap_or(engine::SOCKET);
        engine::with(socket, async |docker| adopt::here(docker, ask).await)
    }

    fn running(&self, parts: &[Part]) -> Vec<Running> {
        let mut all = Vec::new();
        let sockets: BTreeSet<&str> = parts.iter().map(socket).collect();
        for at in sockets {
            let here: Vec<&Part> = parts.iter().filter(|part| socket(part) == at).collect();
            let seen = engine::with(at, async |docker| running(docker, &here).await);
            all.extend(seen.unwrap_or_else(|error| here.iter().map(|part| unknown(part, &error)).collect()));
        }
        all
    }

    fn logs(
        &self,
        part: &Part,
        ask: &LogsAsk,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Line),
    ) -> Result<(), ProviderError> {
        engine::with(socket(part), async |docker| logs::tell(docker, part, ask, stop, tell).await)
    }

    fn exec(
        &self,
        part: &Part,
        ask: &ExecAsk,
        typed: mpsc::Receiver<Typed>,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<i64, ProviderError> {
        exec::run(socket(part), part, ask, typed, tell)
    }
}

fn unknown(part: &Part, error: &ProviderError) -> Running {
    Running { says: Some(error.message.clone()), ..Running::of(part, State::Unknown) }
}

async fn running(docker: &Docker, parts: &[&Part]) -> Result<Vec<Running>, ProviderError> {
    let images = Images::new(docker);
    let mut all = Vec::new();
    let mut known = BTreeSet::new();
    for part in parts {
        let one = match container::look(docker, part.id.name(), &part.place).await {
            Ok(None) => Running::of(part, State::Missing),
            Err(error) => unknown(part, &error),
            Ok(Some(inspect)) => {
                known.extend(inspect["Id"].as_str().map(str::to_string));
                fares(&inspect, &images, Running::of(part, State::Unknown)).await
            }
        };
        all.push(one);
    }
    for inspect in others(docker, parts, &known).await? {
        let label = |label: &str| &inspect["Config"]["Labels"][format!("com.docker.compose.{label}")];
        let stack = label("project").as_str();
        let Some(part) = parts.iter().find(|part| text(&part.place, "stack") == stack) else { continue };
        let key = label("service").as_str().unwrap_or_default().to_string();
        let leftover = Running { part: key, declared: false, ..Running::of(part, State::Unknown) };
        all.push(fares(&inspect, &images, leftover).await);
    }
    Ok(all)
}

/// Containers that Compose's labels count to one of these stacks, and that the lab does not declare.
async fn others(docker: &Docker, parts: &[&Part], known: &BTreeSet<String>) -> Result<Vec<Json>, ProviderError> {
    let stacks: BTreeSet<&str> = parts.iter().filter_map(|part| text(&part.place, "stack")).collect();
    let options = ListContainersOptions { all: true, ..Default::default() };
    let listed =
        docker.list_containers(Some(options)).await.map_err(|error| told("list containers of", "the engine", error))?;
    let mut others = Vec::new();
    for listed in listed {
        let Some(id) = listed.id.filter(|id| !known.contains(id)) else { continue };
        let stack = listed.labels.and_then(|labels| labels.get("com.docker.compose.project").cloned());
        if stack.is_some_and(|stack| stacks.contains(stack.as_str())) {
            // It may have gone in this very moment.
            others.extend(container::inspect(docker, &id).await?);
        }
    }
    Ok(others)
}

/// What the engine says of a container, as far as it concerns how it fares.
async fn fares(inspect: &Json, images: &Images<'_>, of: Running) -> Running {
    let state = &inspect["State"];
    let policy = inspect["HostConfig"]["RestartPolicy"]["Name"].as_str().unwrap_or_default();
    let code = state["ExitCode"].as_i64().unwrap_or_default();
    let word = match state["Status"].as_str().unwrap_or_default() {
        "running" => State::Running,
        "restarting" => State::Restarting,
        "paused" => State::Paused,
        "created" => State::Created,
        "exited" if code == 0 && !matches!(policy, "always" | "unless-stopped") => State::Ran,
        "exited" => State::Exited,
        "dead" | "removing" => State::Dead,
        _ => State::Unknown,
    };
    let health = match state["Health"]["Status"].as_str() {
        Some("healthy") => Some(Health::Healthy),
        Some("starting") => Some(Health::Starting),
        Some("unhealthy") => Some(Health::Unhealthy),
        _ => None,
    };
    let ended = matches!(word, State::Exited | State::Ran | State::Restarting | State::Dead);
    let since = match word {
        State::Created => &inspect["Created"],
        _ if ended => &state["FinishedAt"],
        _ => &state["StartedAt"],
    };
    let name = inspect["Name"].as_str().unwrap_or_default().trim_start_matches('/');
    Running {
        name: name.to_string(),
        state: word,
        health: health.filter(|_| word == State::Running),
        exit_code: ended.then_some(code),
        since: since.as_str().and_then(seconds),
        restarts: inspect["RestartCount"].as_i64(),
        image: image(inspect, images).await,
        says: says(state, health, ended, replace::is_interim(name)),
        ..of
    }
}

fn says(state: &Json, health: Option<Health>, ended: bool, interim: bool) -> Option<String> {
    let streak = state["Health"]["FailingStreak"].as_i64().unwrap_or_default();
    let error = state["Error"].as_str().unwrap_or_default();
    match () {
        () if interim => Some("left by a replacement that was cut off; the next apply removes it".into()),
        () if ended && state["OOMKilled"] == true => Some("killed for want of memory".into()),
        () if ended && !error.is_empty() => Some(error.to_string()),
        () if health == Some(Health::Unhealthy) => Some(format!("its last {streak} checks failed")),
        () => None,
    }
}

/// The engine's times have nanoseconds and, where nothing has happened yet, the year 1.
fn seconds(time: &str) -> Option<i64> {
    let at: jiff::Timestamp = time.parse().ok()?;
    (at.as_second() > 0).then(|| at.as_second())
}

async fn image(inspect: &Json, images: &Images<'_>) -> Option<ImageSeen> {
    let label = inspect["Config"]["Labels"][form::IMAGE_LABEL].as_str().filter(|name| !name.is_empty());
    let named = label.or(inspect["Config"]["Image"].as_str())?;
    let id = inspect["Image"].as_str().unwrap_or_default();
    let reference = parse(named);
    let tagged = named.split('@').next().is_some_and(|name| name.rsplit('/').next().is_some_and(|n| n.contains(':')));
    // Somebody may have removed it under the running container, or the engine may not answer: its id is known all the same.
    let here = images.here(id).await.ok().flatten().unwrap_or_default();
    let by_id = named.starts_with("sha256:");
    Some(ImageSeen {
        name: if by_id { String::new() } else { reference.repository.to_string() },
        tag: (!by_id && (tagged || reference.digest.is_none())).then(|| reference.tag.to_string()),
        digest: if here.is_null() { id.to_string() } else { digest_of(&here, reference.repository) },
        created: here["Created"].as_str().and_then(seconds),
    })
}
