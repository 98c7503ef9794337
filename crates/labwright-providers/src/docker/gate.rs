//! When a container is up: healthy where it has a health check, else running for a while without falling over.
//! Every wait says what it waits for and has an end; a failure tells what the container itself said last.

use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::query_parameters::{EventsOptions, LogsOptions};
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use labwright_plan::{ErrorKind, ProviderError, Spec};
use serde_json::Value as Json;

use super::container::inspect;
use super::probe::{Asking, Probe, glance};
use super::session::{Saying, text};

/// A program that reads its configuration and gives up is gone within this.
const DOUBT: Duration = Duration::from_secs(2);
/// One that runs once may take this long.
const ONCE: Duration = Duration::from_secs(600);
/// How long no event of the engine is waited for before the container is looked at again.
const PAUSE: Duration = Duration::from_secs(1);
/// Who waits longer is told what for.
const PATIENCE: Duration = Duration::from_secs(1);
/// What the engine takes where a health check does not say; moby/container/health.go.
pub const INTERVAL: Duration = Duration::from_secs(30);
const RETRIES: i64 = 3;
const LINES: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal<'a> {
    Up,
    /// It answers its service's probe: `8080/healthz`, or a port alone that takes connections. What the container itself
    /// knows of its health goes before that.
    Answers(&'a str),
    /// It runs once, to its end.
    Ran,
}

impl Goal<'_> {
    pub fn of(spec: &Spec) -> Goal<'_> {
        match text(spec, "probe") {
            _ if text(spec, "state") == Some("ran") => Goal::Ran,
            Some(probe) => Goal::Answers(probe),
            None => Goal::Up,
        }
    }
}

/// What is asked may take this long to answer, and this long to be up at all.
const ANSWER: Duration = Duration::from_secs(2);
const PROBED: Duration = Duration::from_secs(120);

/// Asks a container what its service's probe asks; the error says what came instead.
fn ask(container: &Json, probe: &str) -> Result<(), String> {
    let networks = container["NetworkSettings"]["Networks"].as_object().into_iter().flat_map(|all| all.values());
    let addresses = networks.filter_map(|network| network["IPAddress"].as_str()).filter(|address| !address.is_empty());
    let on_host = container["HostConfig"]["NetworkMode"] == "host";
    let address = addresses.into_iter().next().or(on_host.then_some("127.0.0.1"));
    let Some(address) = address else { return Err("has no address that could be asked".into()) };
    let (port, path) = probe.split_once('/').map_or((probe, None), |(port, path)| (port, Some(path)));
    let Some(path) = path else {
        let socket = format!("{address}:{port}").parse().map_err(|_| format!("`{port}` is no port"))?;
        let connected = std::net::TcpStream::connect_timeout(&socket, ANSWER);
        return connected.map(drop).map_err(|error| format!("port {port}: {error}"));
    };
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER))
        .http_status_as_error(false)
        .max_redirects(0)
        .build()
        .into();
    match agent.get(format!("http://{address}:{port}/{path}")).call() {
        // What leads on to HTTPS, or wants to be spoken to in it, is up as well.
        Ok(answer) if matches!(answer.status().as_u16(), 200..=400) => Ok(()),
        Ok(answer) => Err(format!("port {port} answers `GET /{path}` with {}", answer.status().as_u16())),
        Err(error) => Err(format!("port {port} does not answer `GET /{path}`: {error}")),
    }
}

/// Waits until a container that was started is up. The engine's events say when to look again; while it starts, its health
/// check is asked from here too, since the engine asks only once an interval.
pub async fn wait(docker: &Docker, id: &str, goal: Goal<'_>, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let (begun, mut told) = (Instant::now(), false);
    let mut events = std::pin::pin!(docker.events(Some(events_of(id))));
    let mut listening = true;
    let mut restarts = None;
    let mut probe: Option<Probe> = None;
    let mut asking: Option<Asking> = None;
    loop {
        let Some(container) = inspect(docker, id).await? else {
            let message = format!("container `{}` was removed while it was starting", saying.id.name());
            return Err(ProviderError::new(ErrorKind::Conflict, message).help("plan again"));
        };
        let limit = limit(&container, goal);
        let before = *restarts.get_or_insert(restart_count(&container));
        let mut judged = judge(&container, goal, before, begun.elapsed());
        let mut silent = None;
        if let (Goal::Answers(probe), Some(Ok(())), true) = (goal, &judged, container["State"]["Health"].is_null()) {
            let mode = container["HostConfig"]["NetworkMode"].as_str().unwrap_or_default();
            // What lives in the network of another is found at that one's address.
            silent = match mode.strip_prefix("container:") {
                Some(other) => ask(&inspect(docker, other).await?.unwrap_or_default(), probe).err(),
                None => ask(&container, probe).err(),
            };
            judged = judged.filter(|_| silent.is_none());
        }
        match judged {
            Some(Ok(())) => return Ok(()),
            Some(Err(why)) => return Err(fallen(docker, id, &container, &why, saying).await),
            None if begun.elapsed() > limit => {
                let why = match silent {
                    Some(silent) => format!("is not up after {} s: {silent}", limit.as_secs()),
                    None => format!("is {} after {} s", standing(&container), limit.as_secs()),
                };
                let error = fallen(docker, id, &container, &why, saying).await;
                return Err(ProviderError { kind: ErrorKind::Timeout, retry: false, ..error });
            }
            None => {}
        }
        if probe.is_none() && goal != Goal::Ran && container["State"]["Health"]["Status"] == "starting" {
            probe = Probe::of(&container);
        }
        let next = begun.elapsed() + until(&container, goal, begun.elapsed());
        while begun.elapsed() < next {
            if !told && begun.elapsed() > PATIENCE {
                told = true;
                saying.say(&waits_for(&container, goal, limit, saying));
            }
            if let Some(probe) = &mut probe
                && asking.is_none()
                && probe.is_due(begun.elapsed())
            {
                asking = Some(probe.ask(docker));
            }
            let left = next.saturating_sub(begun.elapsed());
            let pause = if probe.is_some() { glance(begun.elapsed()) } else { left };
            let hears = listening;
            let event = async {
                match hears {
                    true => tokio::time::timeout(pause, events.next()).await.ok(),
                    false => {
                        tokio::time::sleep(pause).await;
                        None
                    }
                }
            };
            let event = std::pin::pin!(event);
            let asked = asking.is_some();
            let answer: Asking = asking.take().unwrap_or_else(|| Box::pin(std::future::pending()));
            match select(answer, event).await {
                Either::Left((answer, _)) if answer.is_well => return Ok(()),
                Either::Left((answer, _)) => probe.iter_mut().for_each(|probe| probe.heed(&answer)),
                Either::Right((event, answer)) => {
                    // Whatever was asked goes on being asked.
                    asking = asked.then_some(answer);
                    match event {
                        None => {}
                        Some(Some(Ok(_))) => break,
                        // An engine that tells nothing is looked at.
                        Some(Some(Err(_)) | None) => listening = false,
                    }
                }
            }
        }
    }
}

/// Whether a container that nothing but its running can be judged by has run for long enough.
pub fn has_lasted(container: &Json, goal: Goal<'_>) -> bool {
    let started = container["State"]["StartedAt"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let lasted = started.and_then(|at| Duration::try_from(jiff::Timestamp::now().duration_since(at)).ok());
    goal == Goal::Up && container["State"]["Health"].is_null() && lasted.is_some_and(|lasted| lasted >= DOUBT)
}

/// What changes how a container stands. What happened just before is told too: nothing falls between starting and listening.
fn events_of(id: &str) -> EventsOptions {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let only = |name: &str, all: &[&str]| (name.to_string(), all.iter().map(|one| one.to_string()).collect());
    let what = ["die", "oom", "restart", "stop", "pause", "destroy", "health_status"];
    let filters = [only("type", &["container"]), only("container", &[id]), only("event", &what)];
    EventsOptions {
        since: Some(since.as_secs().to_string()),
        until: None,
        filters: Some(filters.into_iter().collect()),
    }
}

/// How long until it is worth another look where nothing happens.
fn until(container: &Json, goal: Goal<'_>, waited: Duration) -> Duration {
    let soon = Duration::from_millis(50);
    match goal {
        Goal::Up if !container["State"]["Health"].is_object() => DOUBT.saturating_sub(waited).clamp(soon / 5, PAUSE),
        Goal::Answers(_) if !container["State"]["Health"].is_object() => (waited / 4).clamp(soon, PAUSE),
        _ => PAUSE,
    }
}

fn waits_for(container: &Json, goal: Goal<'_>, limit: Duration, saying: &Saying<'_>) -> String {
    let what = match goal {
        Goal::Ran => "has ended",
        _ if container["State"]["Health"].is_object() => "is healthy",
        Goal::Answers(_) => "answers its service's probe",
        Goal::Up => "has run for a moment without falling over",
    };
    format!("waiting until `{}` {what}, up to {} s", saying.id.name(), limit.as_secs())
}

fn restart_count(container: &Json) -> i64 {
    container["RestartCount"].as_i64().unwrap_or_default()
}

/// `None`: nobody can say yet.
fn judge(container: &Json, goal: Goal<'_>, restarts: i64, waited: Duration) -> Option<Result<(), String>> {
    let state = &container["State"];
    let code = state["ExitCode"].as_i64().unwrap_or_default();
    let over = matches!(state["Status"].as_str(), Some("exited" | "dead"));
    if restart_count(container) > restarts || state["Restarting"] == true {
        return Some(Err(format!("fell over with {code} and was started again")));
    }
    match goal {
        Goal::Ran if over && code == 0 => return Some(Ok(())),
        _ if over => return Some(Err(format!("ended with {code}"))),
        Goal::Ran => return None,
        Goal::Up | Goal::Answers(_) => {}
    }
    match state["Health"]["Status"].as_str() {
        Some("healthy") => Some(Ok(())),
        Some("unhealthy") => Some(Err("is unhealthy".into())),
        Some("starting") => None,
        // One that answers has made up its mind.
        _ => (state["Running"] == true && (waited >= DOUBT || goal != Goal::Up)).then_some(Ok(())),
    }
}

fn standing(container: &Json) -> &str {
    container["State"]["Health"]["Status"]
        .as_str()
        .or_else(|| container["State"]["Status"].as_str())
        .unwrap_or("unclear")
}

/// The most that is waited for a container of these fields; `None` where only its image says how its health is told.
pub fn most(spec: &Spec) -> Option<Duration> {
    let check = spec.get("healthcheck").map(super::engine::json).unwrap_or_default();
    let has_check = check.as_object().is_some_and(|fields| !fields.is_empty());
    let goal = Goal::of(spec);
    (has_check || goal != Goal::Up).then(|| {
        let check = if has_check { check } else { Json::Null };
        limit(&serde_json::json!({"Config": {"Healthcheck": check}}), goal)
    })
}

/// As long as its health check can take to make up its mind.
fn limit(container: &Json, goal: Goal<'_>) -> Duration {
    if goal == Goal::Ran {
        return ONCE;
    }
    let check = &container["Config"]["Healthcheck"];
    let time = |field: &str, default: Duration| match check[field].as_u64() {
        None | Some(0) => default,
        Some(nanos) => Duration::from_nanos(nanos),
    };
    if check.is_null() && matches!(goal, Goal::Answers(_)) {
        return PROBED;
    }
    if check.is_null() {
        return DOUBT + Duration::from_secs(10);
    }
    let retries = check["Retries"].as_i64().filter(|retries| *retries > 0).unwrap_or(RETRIES) as u32;
    let round = time("Interval", INTERVAL) + time("Timeout", INTERVAL);
    time("StartPeriod", Duration::ZERO) + round * (retries + 1) + Duration::from_secs(5)
}

async fn fallen(docker: &Docker, id: &str, container: &Json, why: &str, saying: &Saying<'_>) -> ProviderError {
    let name = saying.id.name();
    let checks = container["State"]["Health"]["Log"].as_array().and_then(|log| log.last());
    let check = checks.and_then(|check| check["Output"].as_str()).map(str::trim).filter(|output| !output.is_empty());
    let mut message = format!("container `{name}` {why}");
    if let Some(check) = check {
        message += &format!("; its health check said: {}", last(check));
    }
    let log = log(docker, id).await;
    if !log.trim().is_empty() {
        message += &format!("; its log ends: {}", last(&log));
    }
    ProviderError::rejected(message).help(format!("`docker logs {name}` on the host says more"))
}

async fn log(docker: &Docker, id: &str) -> String {
    let options = LogsOptions { stdout: true, stderr: true, tail: LINES.to_string(), ..Default::default() };
    let mut lines = docker.logs(id, Some(options));
    let mut text = String::new();
    // What cannot be read is not what went wrong.
    while let Some(Ok(line)) = lines.next().await {
        text += &String::from_utf8_lossy(&line.into_bytes());
    }
    text
}

/// The last lines, on one.
fn last(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join(" | ")
}
