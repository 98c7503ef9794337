//! What becomes of one unit: it is started, is well or not, ends, is started again, and is stopped.

use std::time::{Duration, Instant};

use labwright_model::snapshot::up::control::{Phase, Source, Told};
use labwright_model::snapshot::up::{Process, Ready, Restart, What};
use rustix::process::{Pid, Signal, WaitStatus};

use super::process::{self, Asked, Started, ending};
use super::ready::Look;
use super::supervisor::{Event, Role, Supervisor};
use super::unit::Held;
use super::{doors, output, ports, ready, seeds, watch};
use crate::proxy::Proxy;

/// What is well as soon as it runs has to run for so long: what cannot run at all ends sooner.
const RUNS: Duration = Duration::from_millis(40);
/// Who leaves the foreground does so at its start; what others leave behind later is only slow to end.
const YOUNG: Duration = Duration::from_secs(10);
/// Editors write a file in several steps, and save several files.
const QUIET: Duration = Duration::from_millis(120);
/// The variable that tells a process where its own folder is.
const DATA: &str = "LABWRIGHT_DATA";
/// How long anything but a process may take to end.
const STOP: u64 = 5_000;

impl Supervisor {
    /// Tells the loop something after a while.
    pub fn later(&self, after: Duration, event: Event) {
        let events = self.events.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(after).await;
            let _ = events.send(event);
        });
    }

    /// Starts a unit whose needs are well.
    pub fn begin(&mut self, unit: usize) {
        let one = &mut self.units[unit];
        one.attempt += 1;
        one.restarts += u32::from(one.started.is_some());
        (one.began, one.started, one.took) = (Some(Instant::now()), Some(jiff::Timestamp::now().as_second()), None);
        let attempt = one.attempt;
        match one.spec.what.clone() {
            What::Process(process) => self.start_process(unit, &process),
            What::Containers(_) => self.start_containers(unit),
            What::Seeds(wanted) => {
                self.set(unit, Phase::Starting, "");
                let copy =
                    self.units.iter().find(|unit| unit.spec.name == wanted.into).and_then(|unit| unit.copy.clone());
                let own = self.folder.data(&wanted.into);
                if let Err(error) = std::fs::create_dir_all(&own) {
                    return self.fail(unit, &format!("its folder `{}` cannot be made: {error}", own.display()));
                }
                match seeds::open(&wanted, &own, copy.as_deref()) {
                    Ok(steps) => {
                        self.units[unit].steps = steps.into();
                        self.next_step(unit);
                    }
                    Err(why) => self.fail(unit, &why),
                }
            }
            What::Doors(snapshot) => {
                self.set(unit, Phase::Starting, "");
                let (events, folder) = (self.events.clone(), self.folder.clone());
                tokio::task::spawn_local(async move {
                    let opened = doors::open(&folder, *snapshot).await.map(Box::new);
                    let _ = events.send(Event::Opened(unit, attempt, opened));
                });
            }
            What::Names { port, snapshot, lists } => match doors::names(&self.folder, port, *snapshot, &lists) {
                Ok(server) => {
                    self.units[unit].held = Held::Names(Box::new(server));
                    self.well(unit);
                }
                Err(why) => self.fail(unit, &why),
            },
            What::Pages { folder } => match std::path::Path::new(&folder).is_dir() {
                true => self.well(unit),
                false => self.fail(unit, &format!("there is no folder `{folder}`")),
            },
        }
    }

    pub fn opened(&mut self, unit: usize, attempt: u64, opened: Result<Box<Proxy>, String>) {
        let one = &mut self.units[unit];
        match opened {
            Ok(proxy) if one.attempt == attempt && one.phase == Phase::Starting => {
                one.held = Held::Doors(proxy);
                self.well(unit);
            }
            // It was stopped meanwhile.
            Ok(proxy) => drop(tokio::task::spawn_local(doors::close(*proxy))),
            Err(why) if one.attempt == attempt => self.fail(unit, &why),
            Err(_) => {}
        }
    }

    fn start_process(&mut self, unit: usize, wanted: &Process) {
        let name = self.units[unit].spec.name.clone();
        if let Some(port) = self.units[unit].spec.port.filter(|port| !ports::is_free(*port)) {
            let who = ports::holder(port).unwrap_or_else(|| "another program".into());
            return self.fail(unit, &format!("port {port} is taken by {who}"));
        }
        let own = self.folder.data(&name);
        if let Err(error) = std::fs::create_dir_all(&own) {
            return self.fail(unit, &format!("its folder `{}` cannot be made: {error}", own.display()));
        }
        let mut environment = wanted.environment.clone();
        environment.insert(DATA.into(), own.display().to_string());
        self.beside.tell(&name, &mut environment);
        let directory = match &wanted.directory {
            Some(said) if said.must || std::path::Path::new(&said.path).is_dir() => said.path.clone().into(),
            Some(said) => {
                self.note(unit, &format!("`{}` is not on this machine: it runs in `{}`", said.path, own.display()));
                own
            }
            None => own,
        };
        if self.units[unit].spec.ready == Ready::Notify {
            match self.listen_for_word(unit) {
                Ok(socket) => drop(environment.insert("NOTIFY_SOCKET".into(), socket)),
                Err(error) => return self.fail(unit, &format!("nobody can listen for its word: {error}")),
            }
        }
        let asked = Asked {
            unit: &name,
            mark: &self.mark,
            command: &wanted.command,
            directory,
            environment: &environment,
            secrets: &self.start.secrets,
            stdin: None,
        };
        match process::start(asked) {
            Ok(started) => {
                self.units[unit].pid = Some(started.pid);
                self.adopt(unit, started, Role::Main);
                // Even where it says nothing else, its number is news.
                self.units[unit].phase = Phase::Waiting;
                self.set(unit, Phase::Starting, "");
                self.look(unit);
                self.watch_files(unit, &wanted.watch);
            }
            Err(why) => {
                self.fail(unit, &why);
                // Trying again helps only where somebody does something about it, and that one says so.
                self.set(unit, Phase::Failed, why);
            }
        }
    }

    /// Reads what a process says and waits for its end.
    fn adopt(&mut self, unit: usize, started: Started, role: Role) {
        self.processes.insert(started.pid, (unit, role));
        let log = &self.units[unit].log;
        let readers = [
            tokio::task::spawn_local(output::read(started.out, Source::Out, log.clone())),
            tokio::task::spawn_local(output::read(started.err, Source::Err, log.clone())),
        ];
        self.readers.insert(started.pid, readers);
    }

    /// Looks for the moment from which it is well.
    pub fn look(&mut self, unit: usize) {
        let (events, attempt) = (self.events.clone(), self.units[unit].attempt);
        let tell = move |look| drop(events.send(Event::Looked(unit, attempt, look)));
        let port = self.units[unit].spec.port;
        let looking = match (self.units[unit].spec.ready.clone(), port) {
            (Ready::Started, _) => {
                self.later(RUNS, Event::Looked(unit, attempt, Look::Well));
                return;
            }
            (Ready::Port, Some(port)) => tokio::task::spawn_local(ready::watch(port, None, tell)),
            (Ready::Probe(probe), Some(port)) => tokio::task::spawn_local(ready::watch(port, Some(probe), tell)),
            (Ready::Ended | Ready::Notify, _) | (_, None) => return,
        };
        self.units[unit].look_away();
        self.units[unit].look = Some(looking);
    }

    /// A socket that a process says `READY=1` to; sd_notify(3).
    fn listen_for_word(&mut self, unit: usize) -> std::io::Result<String> {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixDatagram};
        let attempt = self.units[unit].attempt;
        let name = format!("labwright-up-{}-{unit}-{attempt}", self.mark);
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        socket.set_nonblocking(true)?;
        let socket = tokio::net::UnixDatagram::from_std(socket)?;
        let events = self.events.clone();
        self.units[unit].look_away();
        self.units[unit].look = Some(tokio::task::spawn_local(async move {
            let mut word = [0; 4096];
            while let Ok(count) = socket.recv(&mut word).await {
                if word[..count].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                    let _ = events.send(Event::Looked(unit, attempt, Look::Well));
                }
            }
        }));
        Ok(format!("@{name}"))
    }

    pub fn looked(&mut self, unit: usize, attempt: u64, look: Look) {
        let one = &self.units[unit];
        if one.attempt != attempt || (one.pid.is_none() && one.process().is_some()) {
            return;
        }
        match (look, one.phase) {
            (Look::Well, Phase::Starting | Phase::Unwell) => self.well(unit),
            (Look::Not(why), Phase::Starting) => self.set(unit, Phase::Starting, why),
            (Look::Not(why), Phase::Ready) => self.set(unit, Phase::Unwell, why),
            _ => {}
        }
    }

    pub fn well(&mut self, unit: usize) {
        let one = &mut self.units[unit];
        if one.took.is_none() {
            one.took = one.began.map(|began| began.elapsed().as_millis() as u64);
        }
        self.set(unit, Phase::Ready, "");
    }

    /// It could not be started, or ended as it should not.
    pub fn fail(&mut self, unit: usize, why: &str) {
        let (restart, is_process) = (self.units[unit].restart(), self.units[unit].process().is_some());
        self.note(unit, why);
        let pause = self.units[unit].failed();
        if restart == Restart::No && is_process
            || matches!(self.units[unit].spec.what, What::Seeds(_) | What::Pages { .. })
        {
            return self.set(unit, Phase::Failed, why);
        }
        let attempt = self.units[unit].attempt;
        let shown = jiff::SignedDuration::try_from(pause).unwrap_or_default();
        self.set(unit, Phase::Pausing, format!("{why}; started again after {shown:#}"));
        self.later(pause, Event::Again(unit, attempt));
    }

    /// Its first process has ended.
    pub fn ended(&mut self, unit: usize, pid: Pid, status: WaitStatus) {
        self.units[unit].look_away();
        self.units[unit].pid = None;
        let left = self.left(unit, pid);
        let how = ending(status);
        if self.units[unit].phase == Phase::Stopping {
            if !left.is_empty() {
                self.note(unit, &format!("{} without it, and killed", count(&left)));
                kill(pid, &left);
            }
            return self.stopped(unit);
        }
        let ready = self.units[unit].phase == Phase::Ready || self.units[unit].phase == Phase::Unwell;
        let (well, restart) = (status.exit_status() == Some(0), self.units[unit].restart());
        let does_work = self.units[unit].spec.ready == Ready::Ended;
        let young = self.units[unit].began.is_some_and(|began| began.elapsed() < YOUNG);
        if well && young && !does_work && !left.is_empty() {
            kill(pid, &left);
            let others: Vec<String> = left.iter().map(|pid| pid.as_raw_nonzero().to_string()).collect();
            let why = format!(
                "it went into the background (process {}), where nobody can watch it; tell it to stay in the foreground",
                others.join(", ")
            );
            self.note(unit, &why);
            self.units[unit].failed();
            return self.set(unit, Phase::Failed, why);
        }
        kill(pid, &left);
        self.note(unit, &how);
        if well && (does_work || (restart != Restart::Always && ready)) {
            let one = &mut self.units[unit];
            one.took = one.took.or(one.began.map(|began| began.elapsed().as_millis() as u64));
            one.fails = 0;
            return self.set(unit, Phase::Done, "");
        }
        let why = if ready { how } else { format!("{how} before it was well") };
        self.fail(unit, &why);
    }

    /// What of a unit still runs without its first process.
    fn left(&self, unit: usize, group: Pid) -> Vec<Pid> {
        let known = |pid: Pid| self.processes.contains_key(&pid);
        process::left(&self.units[unit].spec.name, &self.mark, Some(group), known)
    }

    /// Loads the next of its seeds; without one it is done.
    fn next_step(&mut self, unit: usize) {
        let Some(step) = self.units[unit].steps.front().cloned() else {
            let one = &mut self.units[unit];
            one.took = one.began.map(|began| began.elapsed().as_millis() as u64);
            one.fails = 0;
            return self.set(unit, Phase::Done, "");
        };
        let inside = match &self.units[unit].spec.what {
            What::Seeds(seeds) => seeds.container.clone().map(|key| (seeds.into.clone(), key)),
            _ => None,
        };
        if let Some((of, key)) = inside.filter(|_| step.inside) {
            return self.step_inside(unit, &step, &of, &key);
        }
        let name = self.units[unit].spec.name.clone();
        let stdin = match step.stdin.as_ref().map(std::fs::File::open).transpose() {
            Ok(stdin) => stdin,
            Err(error) => return self.fail(unit, &format!("cannot read `{}`: {error}", step.file.display())),
        };
        let asked = Asked {
            unit: &name,
            mark: &self.mark,
            command: &step.command,
            directory: step.file.parent().map(Into::into).unwrap_or_default(),
            environment: &step.environment,
            secrets: &self.start.secrets,
            stdin,
        };
        match process::start(asked) {
            Ok(started) => {
                self.units[unit].pid = Some(started.pid);
                self.note(unit, &format!("loading `{}`", step.file.display()));
                self.adopt(unit, started, Role::Step);
                self.set(unit, Phase::Starting, format!("loading `{}`", step.file.display()));
            }
            Err(why) => self.fail(unit, &why),
        }
    }

    pub fn step_ended(&mut self, unit: usize, pid: Pid, status: WaitStatus) {
        self.units[unit].pid = None;
        kill(pid, &self.left(unit, pid));
        if self.units[unit].phase == Phase::Stopping {
            return self.stopped(unit);
        }
        self.step_done(unit, (status.exit_status() != Some(0)).then(|| ending(status)));
    }

    /// One of its seeds is loaded, or is not, and why.
    pub fn step_done(&mut self, unit: usize, fault: Option<String>) {
        let Some(step) = self.units[unit].steps.pop_front() else { return };
        if let Some(why) = fault {
            return self.fail(unit, &format!("`{}` was not loaded: {why}", step.file.display()));
        }
        match step.note() {
            Ok(()) => self.next_step(unit),
            Err(why) => self.fail(unit, &why),
        }
    }

    /// Asks a unit to end. What is not a process ends at once, or nearly so.
    pub fn stop(&mut self, unit: usize) {
        let one = &mut self.units[unit];
        one.look_away();
        one.watch = None;
        let (attempt, held) = (one.attempt, std::mem::take(&mut one.held));
        let within = one.process().map_or(STOP, |process| process.stop_within);
        if let Some(pid) = one.pid {
            process::signal(pid, Signal::TERM);
            self.set(unit, Phase::Stopping, "");
            return self.later(Duration::from_millis(within), Event::Late(unit, attempt));
        }
        if matches!(one.spec.what, What::Containers(_)) && one.began.is_some() && self.orders.is_some() {
            return self.stop_containers(unit, false);
        }
        self.set(unit, Phase::Stopping, "");
        match held {
            Held::Nothing => self.stopped(unit),
            Held::Doors(proxy) => {
                let events = self.events.clone();
                tokio::task::spawn_local(async move {
                    doors::close(*proxy).await;
                    let _ = events.send(Event::Closed(unit, attempt));
                });
            }
            Held::Names(server) => {
                let events = self.events.clone();
                let ended = tokio::task::spawn_blocking(move || drop(server));
                tokio::task::spawn_local(async move {
                    let _ = ended.await;
                    let _ = events.send(Event::Closed(unit, attempt));
                });
            }
        }
    }

    pub fn late(&mut self, unit: usize, attempt: u64) {
        let one = &self.units[unit];
        if one.attempt != attempt || one.phase != Phase::Stopping {
            return;
        }
        if matches!(one.spec.what, What::Containers(_)) {
            self.note(unit, "nobody says that its containers have ended; the next `up` or `down` looks for them");
            return self.stopped(unit);
        }
        let Some(pid) = one.pid else { return };
        self.note(unit, "it did not end when it was told to (SIGTERM), and is killed");
        process::signal(pid, Signal::KILL);
    }

    pub fn stopped(&mut self, unit: usize) {
        // What is told of it from now on is of the past.
        self.units[unit].attempt += 1;
        self.units[unit].rests = false;
        self.set(unit, Phase::Stopped, "");
        if std::mem::take(&mut self.units[unit].again) && !self.ending {
            self.units[unit].fails = 0;
            self.set(unit, Phase::Waiting, "");
        }
    }

    pub fn restart(&mut self, unit: usize) {
        (self.units[unit].again, self.units[unit].rests) = (true, false);
        if self.units[unit].phase != Phase::Stopping {
            self.stop(unit);
        }
    }

    fn watch_files(&mut self, unit: usize, globs: &[String]) {
        if globs.is_empty() || self.units[unit].watch.is_some() {
            return;
        }
        let changes = self.changes.clone();
        match watch::watch(globs, move |_| {
            let _ = changes.send(unit);
        }) {
            Ok(watch) => self.units[unit].watch = Some(watch),
            Err(why) => {
                self.note(unit, &why);
                self.bus.tell(&Told::Note { text: format!("`{}`: {why}", self.units[unit].spec.name) });
            }
        }
    }

    /// One of its files has changed.
    pub fn changed(&mut self, unit: usize) {
        self.units[unit].change += 1;
        self.later(QUIET, Event::Settled(unit, self.units[unit].change));
    }

    /// Its files have changed: it is built anew where that is asked for, and then started anew.
    pub fn rebuild(&mut self, unit: usize) {
        let Some(wanted) = self.units[unit].process().cloned().filter(|_| !self.ending) else { return };
        if wanted.rebuild.is_empty() {
            self.note(unit, "its files have changed: it is started again");
            return self.restart(unit);
        }
        // Where one is under way, its end is soon enough to begin the next.
        if self.processes.values().any(|process| *process == (unit, Role::Rebuild)) {
            return self.changed(unit);
        }
        let name = self.units[unit].spec.name.clone();
        let directory =
            wanted.directory.as_ref().map_or_else(|| self.folder.data(&name), |said| said.path.clone().into());
        let asked = Asked {
            unit: &name,
            mark: &self.mark,
            command: &wanted.rebuild,
            directory,
            environment: &wanted.environment,
            secrets: &self.start.secrets,
            stdin: None,
        };
        match process::start(asked) {
            Ok(started) => {
                self.note(unit, &format!("its files have changed: `{}`", wanted.rebuild.join(" ")));
                self.adopt(unit, started, Role::Rebuild);
            }
            Err(why) => self.note(unit, &format!("it is not built anew: {why}")),
        }
    }

    pub fn rebuilt(&mut self, unit: usize, status: WaitStatus) {
        if status.exit_status() == Some(0) {
            self.note(unit, "it is built anew, and started again");
            return self.restart(unit);
        }
        let text = format!("it is not built anew ({}); what runs goes on", ending(status));
        self.note(unit, &text);
        self.bus.tell(&Told::Note { text: format!("`{}`: {text}", self.units[unit].spec.name) });
    }
}

fn count(pids: &[Pid]) -> String {
    match pids.len() {
        1 => "a process that it had started was left".to_string(),
        many => format!("{many} processes that it had started were left"),
    }
}

/// Ends a group and what has left it.
fn kill(group: Pid, left: &[Pid]) {
    if left.is_empty() {
        return;
    }
    process::signal(group, Signal::KILL);
    for pid in left {
        let _ = rustix::process::kill_process(*pid, Signal::KILL);
    }
}
