//! A container's own health check, asked by us while it starts: the engine asks only once an interval, half a minute
//! where nobody says, and what waits for the container waits that long. Bounded, and only until it is up.
//! Never says that a container is ill: that is the engine's verdict alone.

use std::collections::BTreeSet;
use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures_util::StreamExt;
use serde_json::Value as Json;

use super::sockets;
use crate::host::errors::has_ended;

/// How often we look whether a container listens on anything new, a few reads of `/proc`: each pause a fortieth of the time gone
/// by, within these.
const GLANCES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(20)];
/// The first question where nothing can be seen of it from outside, and where it can.
const FIRST_BLIND: Duration = Duration::from_millis(200);
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5);
/// Where the engine itself asks as often as this, a second questioner would only take the processor from what starts: one
/// question costs it about as much as half a start.
const OFTEN: Duration = Duration::from_secs(2);
/// A check that hangs is not asked again.
const HUNG: Duration = Duration::from_secs(5);
/// More processes than this are not looked through.
const MANY: usize = 64;

/// How long until the next look at what a container listens on.
pub fn glance(waited: Duration) -> Duration {
    (waited / 40).clamp(GLANCES[0], GLANCES[1])
}

/// When to ask next.
pub struct Probe {
    command: Vec<String>,
    id: String,
    pid: u32,
    listens: Option<BTreeSet<u64>>,
    next: Duration,
    /// The engine asks often enough by itself: only what can be seen is a reason to ask as well.
    seldom: bool,
    hung: bool,
}

impl Probe {
    /// `None`: it has no check that could be asked.
    pub fn of(container: &Json) -> Option<Probe> {
        let words: Vec<&str> =
            container["Config"]["Healthcheck"]["Test"].as_array()?.iter().filter_map(Json::as_str).collect();
        let command: Vec<String> = match words.split_first()? {
            (&"CMD", words) => words.iter().map(|word| word.to_string()).collect(),
            (&"CMD-SHELL", [line, ..]) => {
                let shell: Vec<String> = container["Config"]["Shell"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Json::as_str)
                    .map(str::to_string)
                    .collect();
                let shell = if shell.is_empty() { vec!["/bin/sh".into(), "-c".into()] } else { shell };
                shell.into_iter().chain([line.to_string()]).collect()
            }
            _ => return None,
        };
        let id = container["Id"].as_str()?.to_string();
        let pid = u32::try_from(container["State"]["Pid"].as_u64()?).ok().filter(|pid| *pid > 0)?;
        let listens = listens(&id, pid, &BTreeSet::new());
        let seldom = listens.is_some() && interval(&container["Config"]["Healthcheck"]) <= OFTEN;
        // What listens already has its first question at once.
        let next = match &listens {
            Some(listens) if listens.is_empty() => {
                if seldom {
                    Duration::MAX
                } else {
                    FIRST
                }
            }
            Some(_) => Duration::ZERO,
            None => FIRST_BLIND,
        };
        (!command.is_empty()).then_some(Probe { command, id, pid, listens, next, seldom, hung: false })
    }

    /// Whether it is to be asked now: it listens on something new, or a while has passed that grows with its start.
    pub fn is_due(&mut self, waited: Duration) -> bool {
        if self.hung {
            return false;
        }
        let now = self.listens.as_ref().and_then(|known| listens(&self.id, self.pid, known));
        let new = matches!((&now, &self.listens), (Some(now), Some(before)) if !now.is_subset(before));
        if now.is_some() {
            self.listens = now;
        }
        let due = new || waited >= self.next;
        if due {
            // No more than a third of a start is added by waiting for the next question, and their number stays small.
            let (least, part) = if self.listens.is_some() { (FIRST, waited / 2) } else { (FIRST_BLIND, waited / 3) };
            self.next = if self.seldom { Duration::MAX } else { waited + part.clamp(least, LONGEST) };
        }
        due
    }

    /// Asks its check, to be waited for beside other things.
    pub fn ask(&self, docker: &Docker) -> Asking {
        let (docker, id, command) = (docker.clone(), self.id.clone(), self.command.clone());
        Box::pin(async move {
            let begun = Instant::now();
            let asked = tokio::time::timeout(HUNG, ask(&docker, &id, &command)).await;
            Answer { is_well: asked == Ok(Some(true)), hung: asked.is_err(), took: begun.elapsed() }
        })
    }

    /// A check that takes long is asked seldom, and one that hangs never again.
    pub fn heed(&mut self, answer: &Answer) {
        self.hung = answer.hung;
        self.next = self.next.saturating_add(answer.took * 2);
    }
}

/// A question that is under way.
pub type Asking = Pin<Box<dyn Future<Output = Answer>>>;

/// What came of it.
pub struct Answer {
    pub is_well: bool,
    hung: bool,
    took: Duration,
}

/// `None`: nobody can say.
async fn ask(docker: &Docker, id: &str, command: &[String]) -> Option<bool> {
    let options = CreateExecOptions {
        cmd: Some(command.to_vec()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..Default::default()
    };
    let exec = docker.create_exec(id, options).await.ok()?;
    if let StartExecResults::Attached { mut output, .. } =
        docker.start_exec(&exec.id, None::<StartExecOptions>).await.ok()?
    {
        while output.next().await.is_some() {}
    }
    // Its output ends a moment before the engine knows how it ended.
    for _ in 0..20 {
        let state = docker.inspect_exec(&exec.id).await.ok()?;
        match (state.running, state.exit_code) {
            (Some(false), Some(code)) => return Some(code == 0),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    None
}

/// How often the engine asks, once it does.
fn interval(check: &Json) -> Duration {
    let nanos = |field: &str| check[field].as_u64().filter(|nanos| *nanos > 0).map(Duration::from_nanos);
    nanos("Interval").unwrap_or(super::gate::INTERVAL)
}

/// The sockets that the container's processes listen at, by inode; `known`: those that did before. `None`: they cannot be
/// seen from here, because the number is of another namespace or the kernel does not tell.
fn listens(id: &str, pid: u32, known: &BTreeSet<u64>) -> Option<BTreeSet<u64>> {
    let proc = Path::new("/proc").join(pid.to_string());
    let group = std::fs::read_to_string(proc.join("cgroup")).ok()?;
    // A number may be of somebody else; a container's group has its id in its name, or is its own namespace's root.
    if !group.contains(id) {
        return None;
    }
    let family = family(pid).ok()?;
    let asked: std::io::Result<Vec<BTreeSet<u64>>> =
        family.iter().map(|process| sockets::listened(*process, known)).collect();
    if let Ok(asked) = asked {
        return Some(asked.into_iter().flatten().collect());
    }
    // Where nobody may ask another's sockets, the kernel's table and their numbers tell the same.
    let listening: BTreeSet<u64> =
        sockets::listening(&pid.to_string(), false).ok()?.into_iter().map(|socket| socket.inode).collect();
    let mut own = BTreeSet::new();
    for process in family.into_iter().filter(|_| !listening.is_empty()) {
        own.extend(sockets::open(&process.to_string()).ok()?);
    }
    Some(own.intersection(&listening).copied().collect())
}

/// A process and its children, theirs too; one that ends meanwhile has none.
///
/// # Errors
/// The kernel does not tell: there may be more.
fn family(pid: u32) -> std::io::Result<Vec<u32>> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(pid) = all.get(next).copied().filter(|_| all.len() < MANY) {
        next += 1;
        let tasks = match std::fs::read_dir(format!("/proc/{pid}/task")) {
            Err(error) if has_ended(&error) => continue,
            tasks => tasks?,
        };
        for task in tasks {
            let task = match task {
                Err(error) if has_ended(&error) => break,
                task => task?.path(),
            };
            let children = match std::fs::read_to_string(task.join("children")) {
                // A kernel without `CONFIG_PROC_CHILDREN` has the task, and not the file.
                Err(error) if has_ended(&error) && !task.exists() => continue,
                children => children?,
            };
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    Ok(all)
}
