//! One service's containers: made ahead, started in the order in which they need each other, stopped in reverse.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters::StopContainerOptions;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use labwright_model::snapshot::up::control::{self, Source};
use labwright_model::snapshot::up::engine::{Command, Heard, Then};
use labwright_plan::{ProviderError, Value};
use tokio::io::AsyncWriteExt;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use super::super::container;
use super::super::engine::{json, status, told};
use super::attend::Hub;
use super::one::{self, Fault};
use super::{Stack, ground, secrets};

/// How long the last words of a container are waited for.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Something that is made once, however many want it; what failed is tried again by the next who starts.
pub type Once<T> = Rc<OnceCell<Result<T, ProviderError>>>;

/// The same, or an empty one where it failed.
pub fn fresh<T>(cell: &mut Once<T>) -> Once<T> {
    if matches!(cell.get(), Some(Err(_))) {
        *cell = Once::default();
    }
    cell.clone()
}

/// How a unit is.
#[derive(Default)]
pub struct State {
    /// Which start of it is the present one; what is told of another does not count.
    pub attempt: u64,
    pub stopping: bool,
    pub ground: Once<()>,
    /// By name.
    pub containers: BTreeMap<String, One>,
}

/// How a container is.
#[derive(Default)]
pub struct One {
    pub word: &'static str,
    pub code: Option<i64>,
    /// The engine's number of it; set once it is made.
    pub made: Once<String>,
    pub up: bool,
    /// Somebody waits until it is up, who hears of its end as well.
    pub waiting: bool,
    /// When it ended.
    pub died: Option<Instant>,
    /// When it said its last line that was told.
    pub told: Rc<Cell<i64>>,
    pub log: Option<JoinHandle<()>>,
}

impl One {
    pub fn id(&self) -> Option<String> {
        self.made.get().and_then(|made| made.as_ref().ok().cloned())
    }
}

impl State {
    pub fn of(stack: &Stack) -> State {
        let one = |name: &String| (name.clone(), One { word: "waiting", ..One::default() });
        State { containers: stack.containers.iter().map(|made| one(&made.name)).collect(), ..State::default() }
    }

    pub fn shown(&self, stack: Option<&Stack>) -> Vec<control::Container> {
        let made = stack.into_iter().flat_map(|stack| &stack.containers);
        made.filter_map(|made| {
            let one = self.containers.get(&made.name)?;
            let ports = made.spec.get("ports").and_then(Value::list).unwrap_or_default();
            Some(control::Container {
                key: made.key.clone(),
                name: made.name.clone(),
                id: one.id().unwrap_or_default(),
                image: made.image.clone(),
                state: one.word.to_string(),
                code: one.code,
                ports: ports.iter().filter_map(Value::text).map(str::to_string).collect(),
            })
        })
        .collect()
    }
}

/// Changes what is known of a container, and tells it.
pub fn change(hub: &Hub, unit: &str, name: &str, change: impl FnOnce(&mut One)) {
    if let Some(one) = hub.units.borrow_mut().get_mut(unit).and_then(|state| state.containers.get_mut(name)) {
        change(one);
    }
    hub.show(unit);
}

/// Whether a start is the present one, and nobody has asked for its end.
pub fn is_current(hub: &Hub, unit: &str, attempt: u64) -> bool {
    let units = hub.units.borrow();
    !hub.ended.get() && units.get(unit).is_some_and(|state| state.attempt == attempt && !state.stopping)
}

/// What a unit stands on, made once.
pub async fn laid(hub: &Rc<Hub>, stack: &Stack) -> Result<(), ProviderError> {
    let cell = hub.units.borrow_mut().get_mut(&stack.unit).map(|state| fresh(&mut state.ground)).unwrap_or_default();
    cell.get_or_init(async || ground::lay(hub, stack).await).await.clone()
}

/// Makes the containers of a unit ahead of its start. What fails is told when it is started.
pub async fn prepare(hub: Rc<Hub>, unit: String) {
    let Some(stack) = hub.stack(&unit).filter(|stack| stack.fault.is_none()) else { return };
    for made in &stack.containers {
        if one::made(&hub, stack, made, &|_: &str| ()).await.is_err() {
            return;
        }
    }
}

/// Starts those of its containers that are not up.
pub async fn start(hub: Rc<Hub>, unit: String, attempt: u64) {
    let Some(stack) = hub.stack(&unit) else { return };
    let mut done: BTreeSet<&str> = BTreeSet::new();
    if let Some(state) = hub.units.borrow_mut().get_mut(&unit) {
        (state.attempt, state.stopping) = (attempt, false);
        done.extend(stack.containers.iter().map(|made| made.name.as_str()).filter(|name| state.containers[*name].up));
    }
    stack.containers.iter().for_each(|made| hub.belongs(&made.name, &unit, attempt));
    let failed = |reason: String, then| hub.tell(Heard::Failed { unit: unit.clone(), attempt, reason, then });
    if let Some(fault) = &stack.fault {
        return failed(fault.clone(), Then::Nothing);
    }
    let mut begun = done.clone();
    let mut running = FuturesUnordered::new();
    loop {
        for made in &stack.containers {
            if !begun.contains(made.name.as_str()) && made.after.iter().all(|name| done.contains(name.as_str())) {
                begun.insert(&made.name);
                let hub = &hub;
                running.push(async move { (made, one::bring(hub, stack, made, attempt).await) });
            }
        }
        match running.next().await {
            None => break,
            Some((made, Ok(()))) => drop(done.insert(&made.name)),
            Some((made, Err(fault))) => {
                if !is_current(&hub, &unit, attempt) {
                    return;
                }
                // What it said last says why.
                let log =
                    hub.units.borrow_mut().get_mut(&unit).and_then(|s| s.containers.get_mut(&made.name)?.log.take());
                if let Some(log) = log {
                    let _ = tokio::time::timeout(LAST_WORDS / 4, log).await;
                }
                change(&hub, &unit, &made.name, |one| (one.word, one.up, one.waiting) = ("failed", false, false));
                // An engine that went away may come back.
                let away = hub.docker.ping().await.is_err();
                let then = match &fault {
                    _ if away => Then::Again,
                    Fault::Made(_) => Then::Nothing,
                    Fault::Ran(..) if made.restart == "no" => Then::Nothing,
                    Fault::Ran(_) => Then::Again,
                };
                return failed(fault.words(&made.name, &made.key), then);
            }
        }
    }
    drop(running);
    if is_current(&hub, &unit, attempt) {
        match copies(&hub, stack).await {
            Ok(copy) => hub.tell(Heard::Copy { unit: unit.clone(), copy }),
            // Taken for a fresh one, data that is there would be loaded with its seeds once more.
            Err(error) => {
                let reason = format!("which copy of its data it has cannot be told: {}", error.message);
                return failed(reason, Then::Again);
            }
        }
        hub.tell(Heard::Well { unit: unit.clone(), attempt });
        finish(&hub, &unit);
    }
}

async fn copies(hub: &Hub, stack: &Stack) -> Result<String, ProviderError> {
    let mut all = Vec::new();
    for made in &stack.containers {
        let id = hub.units.borrow().get(&stack.unit).and_then(|state| state.containers.get(&made.name)?.id());
        let Some(id) = id else { continue };
        // One that is gone again has no data.
        let Some(inspect) = container::inspect(&hub.docker, &id).await? else { continue };
        all.push(ground::copy(hub, &inspect).await?);
    }
    Ok(all.join(" "))
}

/// Where nothing of a unit runs any more, and all of it ended well, it is done.
pub fn finish(hub: &Hub, unit: &str) {
    let units = hub.units.borrow();
    let Some(state) = units.get(unit).filter(|state| !state.stopping) else { return };
    let mut all = state.containers.values();
    if !state.containers.is_empty() && all.all(|one| one.word == "ended" && one.code == Some(0)) {
        hub.tell(Heard::Done { unit: unit.to_string(), attempt: state.attempt });
    }
}

/// Ends the containers of a unit, in reverse order, and removes them. Their volumes stay.
pub async fn stop(hub: Rc<Hub>, unit: String, attempt: u64, now: bool) {
    let Some(stack) = hub.stack(&unit) else { return };
    let mut left: BTreeMap<String, String> = BTreeMap::new();
    if let Some(state) = hub.units.borrow_mut().get_mut(&unit) {
        (state.attempt, state.stopping) = (attempt, true);
        left.extend(state.containers.iter().filter_map(|(name, one)| Some((name.clone(), one.id()?))));
    }
    while !left.is_empty() {
        let stands = |name: &String| {
            let mut others = stack.containers.iter().filter(|made| left.contains_key(&made.name));
            !others.any(|made| made.after.contains(name))
        };
        let mut wave: Vec<String> = left.keys().filter(|name| now || stands(name)).cloned().collect();
        if wave.is_empty() {
            wave = left.keys().cloned().collect();
        }
        let ends = wave.iter().map(|name| end(&hub, stack, name, &left[name], now));
        futures_util::future::join_all(ends).await;
        left.retain(|name, _| !wave.contains(name));
    }
    hub.tell(Heard::Stopped { unit, attempt });
}

async fn end(hub: &Rc<Hub>, stack: &Stack, name: &str, id: &str, now: bool) {
    change(hub, &stack.unit, name, |one| (one.up, one.waiting) = (false, false));
    let said = stack.containers.iter().find(|made| made.name == name).is_some_and(|made| {
        matches!(made.spec.get("options"), Some(Value::Map(options)) if options.contains_key("stop_grace_period"))
    });
    let note = |text: String| {
        hub.tell(Heard::Said { unit: stack.unit.clone(), lines: vec![(Source::Note, text)] });
    };
    if !now {
        let t = (!said).then_some(stack.stop_within);
        match hub.docker.stop_container(id, Some(StopContainerOptions { signal: None, t })).await {
            Err(error) if !matches!(status(&error), Some(304 | 404)) => {
                note(told("stop container", name, error).message);
            }
            _ => {}
        }
        let log = hub.units.borrow_mut().get_mut(&stack.unit).and_then(|s| s.containers.get_mut(name)?.log.take());
        if let Some(log) = log {
            let _ = tokio::time::timeout(LAST_WORDS, log).await;
        }
    }
    if let Err(error) = container::remove(&hub.docker, id).await {
        note(error.message);
    }
    secrets::forget(hub, name);
    change(hub, &stack.unit, name, |one| *one = One { word: "stopped", ..One::default() });
}

/// Runs a command in a container; what it prints is told as the unit's that asked for it.
pub async fn run(hub: Rc<Hub>, command: Command) {
    let (unit, attempt) = (command.unit.clone(), command.attempt);
    let ended = execute(&hub, command).await.map_err(|error| error.message);
    hub.tell(Heard::Ran { unit, attempt, ended });
}

async fn execute(hub: &Hub, command: Command) -> Result<i64, ProviderError> {
    let name = hub.stack(&command.of).and_then(|stack| stack.containers.iter().find(|made| made.key == command.key));
    let name = name.map(|made| made.name.clone()).unwrap_or_default();
    let id = hub.units.borrow().get(&command.of).and_then(|state| state.containers.get(&name)?.id());
    let id = id.ok_or_else(|| ProviderError::rejected(format!("there is no container `{}` here", command.key)))?;
    let failed = |error| told("run a command in", &name, error);
    let options = CreateExecOptions {
        attach_stdin: Some(command.stdin.is_some()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.command.clone()),
        ..Default::default()
    };
    let exec = hub.docker.create_exec(&id, options).await.map_err(failed)?.id;
    let started = hub.docker.start_exec(&exec, None::<StartExecOptions>).await.map_err(failed)?;
    let StartExecResults::Attached { mut output, mut input } = started else {
        return Err(ProviderError::bug("the engine began a command and did not let us hear it"));
    };
    let feed = async {
        if let Some(path) = &command.stdin {
            let mut file = std::fs::File::open(path)?;
            let mut bytes = vec![0; 64 << 10];
            loop {
                let count = std::io::Read::read(&mut file, &mut bytes)?;
                if count == 0 {
                    break;
                }
                // A command that reads no more is no fault: its end is what counts.
                if input.write_all(&bytes[..count]).await.is_err() {
                    break;
                }
            }
            let _ = input.shutdown().await;
        }
        Ok::<(), std::io::Error>(())
    };
    let hear = async {
        let mut rest: [Vec<u8>; 2] = Default::default();
        let lines = |source: Source, bytes: &mut Vec<u8>, end: bool| {
            let stop =
                if end { bytes.len() } else { bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1) };
            let whole: Vec<u8> = bytes.drain(..stop).collect();
            let lines: Vec<(Source, String)> =
                String::from_utf8_lossy(&whole).lines().map(|line| (source, line.to_string())).collect();
            if !lines.is_empty() {
                hub.tell(Heard::Said { unit: command.unit.clone(), lines });
            }
        };
        while let Some(Ok(piece)) = output.next().await {
            let (at, source) =
                if matches!(piece, LogOutput::StdErr { .. }) { (1, Source::Err) } else { (0, Source::Out) };
            rest[at].extend_from_slice(&piece.into_bytes());
            lines(source, &mut rest[at], false);
        }
        lines(Source::Out, &mut rest[0], true);
        lines(Source::Err, &mut rest[1], true);
    };
    let (fed, ()) = tokio::join!(feed, hear);
    fed.map_err(|error| {
        ProviderError::rejected(format!("`{}` cannot be read: {error}", command.stdin.as_deref().unwrap_or_default()))
    })?;
    // Its output ends a moment before the engine knows how it ended.
    for _ in 0..200 {
        let state = json(&hub.docker.inspect_exec(&exec).await.map_err(failed)?);
        if let (Some(false), Some(code)) = (state["Running"].as_bool(), state["ExitCode"].as_i64()) {
            return Ok(code);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(ProviderError::rejected("the engine does not say how the command ended"))
}
