//! The one loop that knows how every unit is: it hears of ends, looks, requests and changes, and does next what follows.
//! What becomes of a single unit is in `course.rs`.

use std::collections::HashMap;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use labwright_model::snapshot::up::What;
use labwright_model::snapshot::up::control::{Phase, Request, Source, State, Told};
use labwright_model::snapshot::up::engine::Order;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinHandle;

use super::containers::{self, Engine, Orders};
use super::output::{Bus, Log, Tell};
use super::ready::Look;
use super::unit::Unit;
use super::{Beside, Folder, READY, Start, control};
use crate::proxy::Proxy;
use crate::serve::ServeError;

/// How many lines are told that nobody said a number for.
const MOST_LINES: usize = 100_000;

/// How long whoever runs containers may take to take away what is beside them.
const PARTING: Duration = Duration::from_secs(20);

/// How long the last words of a process are waited for.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What the loop is told by what it started itself.
pub enum Event {
    /// A process has ended, and what it said is read.
    Ended(usize, Role, Pid, WaitStatus),
    Looked(usize, u64, Look),
    Opened(usize, u64, Result<Box<Proxy>, String>),
    Closed(usize, u64),
    /// The pause before the next start is over.
    Again(usize, u64),
    /// It was asked to end, and has not in its time.
    Late(usize, u64),
    /// Its files have not changed any more for a moment.
    Settled(usize, u64),
    /// Whoever runs containers had time enough to end.
    Parted,
}

/// What a process is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Main,
    Step,
    Rebuild,
}

pub struct Supervisor {
    pub folder: Folder,
    pub mark: String,
    pub start: Start,
    pub beside: Beside,
    pub units: Vec<Unit>,
    pub bus: Rc<Bus>,
    pub processes: HashMap<Pid, (usize, Role)>,
    /// Who reads what each of them says.
    pub readers: HashMap<Pid, [JoinHandle<()>; 2]>,
    pub events: UnboundedSender<Event>,
    pub changes: UnboundedSender<usize>,
    pub ending: bool,
    settled: bool,
    since: i64,
    digest: String,
    owners: Vec<u64>,
    /// Whoever runs containers, as long as there are some.
    pub orders: Option<Orders>,
    /// Whether that one was told that everything has ended.
    parted: bool,
    waiting_for_end: Vec<Tell>,
}

pub async fn run(folder: Folder, mut start: Start, beside: Beside, engine: Engine<'_>) -> Result<(), ServeError> {
    let failed = |error: std::io::Error| ServeError::new(format!("failed to wait for signals: {error}"), "");
    // Before anything is started: no end of a child is missed.
    let mut child = signal(SignalKind::child()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let (events, mut told) = mpsc::unbounded_channel();
    let (changes, mut changed) = mpsc::unbounded_channel();
    let (asking, mut asked) = mpsc::unbounded_channel();
    let _listening = control::listen(&folder, asking)?;
    let stacks = start.containers.take();
    let mut supervisor = Supervisor::new(folder, start, beside, events, changes);
    let (telling, mut hears) = mpsc::unbounded_channel();
    let unheard = Arc::new(AtomicUsize::new(0));
    if let Some(stacks) = stacks {
        let tell = containers::way(telling.clone(), unheard.clone());
        let orders = engine(stacks, &supervisor.start.secrets, tell);
        supervisor.orders =
            Some(orders.map_err(|why| ServeError::new(format!("failed to run containers: {why}"), ""))?);
    }
    let announced =
        std::io::stdout().write_all(format!("{READY}\n").as_bytes()).and_then(|()| std::io::stdout().flush());
    announced.map_err(|error| ServeError::new(format!("whoever started this is gone: {error}"), ""))?;
    supervisor.advance();
    while !supervisor.has_ended() {
        tokio::select! {
            _ = child.recv() => supervisor.reap(),
            Some(event) = told.recv() => supervisor.hear(event),
            Some(unit) = changed.recv() => supervisor.changed(unit),
            Some(heard) = hears.recv() => {
                unheard.fetch_sub(1, Ordering::AcqRel);
                supervisor.heard(heard);
            }
            Some(event) = asked.recv() => match event {
                control::Event::Ask { connection, request, tell } => supervisor.ask(connection, request, &tell),
                control::Event::Gone(connection) => supervisor.gone(connection),
            },
            _ = terminate.recv() => supervisor.end(),
            _ = interrupt.recv() => supervisor.end(),
        }
        supervisor.advance();
    }
    supervisor.farewell().await;
    Ok(())
}

impl Supervisor {
    fn new(
        folder: Folder,
        mut start: Start,
        beside: Beside,
        events: UnboundedSender<Event>,
        changes: UnboundedSender<usize>,
    ) -> Supervisor {
        let bus = Rc::new(Bus::default());
        let log = |name: &str| Log::new(name, folder.log(name), bus.clone());
        let mut units: Vec<Unit> = start.up.units.iter().map(|spec| Unit::new(spec.clone(), log(&spec.name))).collect();
        let index: HashMap<String, usize> =
            units.iter().enumerate().map(|(number, unit)| (unit.spec.name.clone(), number)).collect();
        for number in 0..units.len() {
            let needs: Vec<usize> =
                units[number].spec.needs.iter().filter_map(|need| index.get(need).copied()).collect();
            needs.iter().for_each(|need| units[*need].dependents.push(number));
            units[number].needs = needs;
        }
        let mark = folder.mark();
        let digest = Start::digest(&start.up);
        start.up.notes.extend(beside.fault.iter().map(|fault| format!("there is no dashboard: {fault}")));
        let mut supervisor = Supervisor {
            folder,
            mark,
            start,
            beside,
            units,
            bus,
            processes: HashMap::new(),
            readers: HashMap::new(),
            events,
            changes,
            ending: false,
            settled: false,
            since: jiff::Timestamp::now().as_second(),
            digest,
            owners: Vec::new(),
            orders: None,
            parted: false,
            waiting_for_end: Vec::new(),
        };
        supervisor.refuse_circles();
        supervisor
    }

    /// What waits for itself would wait for ever.
    fn refuse_circles(&mut self) {
        for number in 0..self.units.len() {
            let mut open: Vec<Vec<usize>> = vec![vec![number]];
            let mut seen = vec![false; self.units.len()];
            while let Some(way) = open.pop() {
                let Some(last) = way.last() else { continue };
                for need in self.units[*last].needs.clone() {
                    if need == number {
                        let names: Vec<String> = way
                            .iter()
                            .chain([&number])
                            .map(|unit| format!("`{}`", self.units[*unit].spec.name))
                            .collect();
                        self.units[number].phase = Phase::Failed;
                        self.units[number].reason = format!("its needs lead round in a circle: {}", names.join(" → "));
                        open.clear();
                        break;
                    }
                    if !std::mem::replace(&mut seen[need], true) {
                        open.push([way.clone(), vec![need]].concat());
                    }
                }
            }
        }
    }

    /// Changes what is known of a unit, and tells it.
    pub fn set(&mut self, unit: usize, phase: Phase, reason: impl Into<String>) {
        let reason = reason.into();
        let one = &mut self.units[unit];
        if one.phase == phase && one.reason == reason {
            return;
        }
        (one.phase, one.reason) = (phase, reason);
        let status = one.status();
        self.bus.tell(&Told::Unit(Box::new(status)));
    }

    /// Takes note of every child that has ended.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            // Others were started by a process of ours, and left.
            let Some((unit, role)) = self.processes.remove(&pid) else { continue };
            let (events, readers) = (self.events.clone(), self.readers.remove(&pid));
            // What it said last says why it ended: that is read first. What it left behind may hold its pipes open.
            tokio::task::spawn_local(async move {
                let read = async {
                    for reader in readers.into_iter().flatten() {
                        let _ = reader.await;
                    }
                };
                let _ = tokio::time::timeout(LAST_WORDS, read).await;
                let _ = events.send(Event::Ended(unit, role, pid, status));
            });
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Ended(unit, Role::Main, pid, status) => self.ended(unit, pid, status),
            Event::Ended(unit, Role::Step, pid, status) => self.step_ended(unit, pid, status),
            Event::Ended(unit, Role::Rebuild, _, status) => self.rebuilt(unit, status),
            Event::Looked(unit, attempt, look) => self.looked(unit, attempt, look),
            Event::Opened(unit, attempt, opened) => self.opened(unit, attempt, opened),
            Event::Closed(unit, attempt) if self.units[unit].attempt == attempt => self.stopped(unit),
            Event::Again(unit, attempt) => {
                let one = &self.units[unit];
                if one.attempt == attempt && one.phase == Phase::Pausing {
                    self.begin(unit);
                }
            }
            Event::Late(unit, attempt) => self.late(unit, attempt),
            Event::Settled(unit, change) if self.units[unit].change == change => self.rebuild(unit),
            Event::Parted => self.orders = None,
            Event::Closed(..) | Event::Settled(..) => {}
        }
    }

    /// Does everything that follows from how things are now.
    fn advance(&mut self) {
        loop {
            let next = if self.ending { self.next_to_stop() } else { self.next_to_rest() };
            match next.or_else(|| self.next_to_start().filter(|_| !self.ending)) {
                Some(unit) if self.ending || self.units[unit].rests => self.stop(unit),
                Some(unit) => self.begin(unit),
                None => break,
            }
        }
        if self.ending && !self.parted && self.all_stopped() {
            self.parted = true;
            self.order(Order::End);
            self.later(PARTING, Event::Parted);
        }
        let settled = !self.ending && self.is_settled();
        if settled && !self.settled {
            self.bus.tell(&Told::Settled);
        }
        self.settled = settled;
    }

    fn next_to_start(&self) -> Option<usize> {
        let well = |unit: &Unit| unit.needs.iter().all(|need| self.units[*need].phase.is_well());
        self.units.iter().position(|unit| unit.phase == Phase::Waiting && !unit.rests && well(unit))
    }

    /// What somebody wants stopped, and nothing stands on any more that is to be stopped as well.
    fn next_to_rest(&self) -> Option<usize> {
        let runs = |unit: &Unit| !matches!(unit.phase, Phase::Stopping | Phase::Stopped);
        let still =
            |unit: &Unit| matches!(unit.phase, Phase::Starting | Phase::Ready | Phase::Unwell | Phase::Stopping);
        let held = |unit: &usize| self.units[*unit].rests && still(&self.units[*unit]);
        let unit = |unit: &usize| self.units[*unit].rests && runs(&self.units[*unit]);
        (0..self.units.len()).filter(unit).find(|unit| !self.standing_on(*unit).iter().any(held))
    }

    /// What nobody stands on any more.
    fn next_to_stop(&self) -> Option<usize> {
        let gone = |unit: &usize| self.units[*unit].phase == Phase::Stopped;
        self.units.iter().position(|unit| {
            !matches!(unit.phase, Phase::Stopping | Phase::Stopped) && unit.dependents.iter().all(gone)
        })
    }

    /// Whether nothing will be well that is not yet, unless something fails less than it did.
    fn is_settled(&self) -> bool {
        let mut stuck: Vec<bool> = self.units.iter().map(Unit::is_hopeless).collect();
        loop {
            let more = self.units.iter().enumerate().position(|(number, unit)| {
                !stuck[number] && unit.phase == Phase::Waiting && unit.needs.iter().any(|need| stuck[*need])
            });
            match more {
                Some(number) => stuck[number] = true,
                None => break,
            }
        }
        self.units.iter().zip(stuck).all(|(unit, stuck)| stuck || unit.phase.is_well() || unit.phase == Phase::Unwell)
    }

    /// Begins the end of everything.
    pub fn end(&mut self) {
        if !self.ending {
            (self.ending, self.settled) = (true, false);
            let state = self.state();
            self.bus.tell(&Told::State(Box::new(state)));
        }
    }

    fn kill(&mut self) {
        self.end();
        for unit in 0..self.units.len() {
            if let Some(pid) = self.units[unit].pid {
                self.set(unit, Phase::Stopping, "");
                super::process::signal(pid, Signal::KILL);
            } else if matches!(self.units[unit].spec.what, What::Containers(_))
                && self.units[unit].began.is_some()
                && self.units[unit].phase != Phase::Stopped
                && self.orders.is_some()
            {
                self.stop_containers(unit, true);
            }
        }
    }

    fn gone(&mut self, connection: u64) {
        self.bus.forget(connection);
        let owned = self.owners.len();
        self.owners.retain(|owner| *owner != connection);
        // Its terminal was closed, or it was killed.
        if self.owners.is_empty() && owned > 0 {
            self.end();
        }
    }

    fn ask(&mut self, connection: u64, request: Request, tell: &Tell) {
        match request {
            Request::State => tell.say(Told::State(Box::new(self.state()))),
            Request::Follow { own, lines } => {
                tell.say(Told::State(Box::new(self.state())));
                // What was said before somebody listened is not lost to who asks for it all.
                if lines {
                    self.tell_lines(&[], MOST_LINES, tell);
                }
                self.bus.follow(connection, tell.clone(), lines.then(Vec::new), true);
                if own {
                    self.owners.push(connection);
                }
            }
            Request::Logs { units, tail, follow } => match self.unknown(&units) {
                Some(refused) => tell.say(refused),
                None => {
                    self.tell_lines(&units, tail, tell);
                    match follow {
                        true => self.bus.follow(connection, tell.clone(), Some(units), false),
                        false => tell.say(Told::Done),
                    }
                }
            },
            Request::Restart { units } => match self.unknown(&units) {
                Some(refused) => tell.say(refused),
                None if self.ending => {
                    tell.say(Told::Refused {
                        reason: "everything is ending".into(),
                        help: "start it anew: `labwright up`".into(),
                    });
                }
                None => {
                    let chosen: Vec<usize> = self.chosen(&units);
                    chosen.into_iter().for_each(|unit| self.restart(unit));
                    tell.say(Told::Done);
                }
            },
            Request::Record { unit, lines } => match self.units.iter().find(|known| known.spec.name == unit) {
                None => tell.say(Told::Refused { reason: format!("there is no `{unit}` here"), help: String::new() }),
                Some(known) => {
                    let lines = lines.iter().map(|text| (Source::Log, super::output::plain(text)));
                    known.log.borrow_mut().add(lines.collect());
                    tell.say(Told::Done);
                }
            },
            Request::Stop { units, .. } | Request::Start { units } if self.ending || units.is_empty() => {
                let (reason, help) = match self.ending {
                    true => ("everything is ending", "start it anew: `labwright up`"),
                    false => ("no unit is named", ""),
                };
                tell.say(Told::Refused { reason: reason.into(), help: help.into() });
            }
            Request::Stop { units, dependents } => match self.unknown(&units) {
                Some(refused) => tell.say(refused),
                None => {
                    let chosen = self.chosen(&units);
                    let (units, notes) = self.rest(chosen, dependents);
                    notes.into_iter().for_each(|text| tell.say(Told::Note { text }));
                    tell.say(Told::Chosen { units });
                    tell.say(Told::Done);
                }
            },
            Request::Start { units } => match self.unknown(&units) {
                Some(refused) => tell.say(refused),
                None => {
                    let chosen = self.chosen(&units);
                    let (units, notes) = self.rouse(chosen);
                    notes.into_iter().for_each(|text| tell.say(Told::Note { text }));
                    tell.say(Told::Chosen { units });
                    tell.say(Told::Done);
                }
            },
            Request::Down => {
                self.waiting_for_end.push(tell.clone());
                self.end();
            }
            Request::Kill => {
                self.waiting_for_end.push(tell.clone());
                self.kill();
            }
        }
    }

    fn chosen(&self, names: &[String]) -> Vec<usize> {
        let wanted = |unit: &Unit| names.is_empty() || names.contains(&unit.spec.name);
        self.units.iter().enumerate().filter(|(_, unit)| wanted(unit)).map(|(number, _)| number).collect()
    }

    fn unknown(&self, names: &[String]) -> Option<Told> {
        let known: Vec<&str> = self.units.iter().map(|unit| unit.spec.name.as_str()).collect();
        let name = names.iter().find(|name| !known.contains(&name.as_str()))?;
        let left_out = self.start.up.left_out.iter().find(|left| left.what == *name);
        let reason = match left_out {
            Some(left) => format!("`{name}` is left out here: {}", left.reason),
            None => format!("there is no `{name}` here"),
        };
        Some(Told::Refused { reason, help: format!("here are `{}`", known.join("`, `")) })
    }

    fn tell_lines(&self, units: &[String], tail: usize, tell: &Tell) {
        let mut lines = Vec::new();
        for unit in self.chosen(units) {
            let log = self.units[unit].log.borrow();
            let last = log.kept().count().saturating_sub(tail);
            lines.extend(log.kept().skip(last).cloned());
        }
        // Those of one unit stay as they were said, however many in one millisecond.
        lines.sort_by_key(|line| line.at);
        lines.into_iter().for_each(|line| tell.say(Told::Line(line)));
    }

    fn state(&self) -> State {
        let authority = self.folder.authority();
        State {
            lab: self.start.up.lab.clone(),
            pid: std::process::id(),
            since: self.since,
            digest: self.digest.clone(),
            units: self.units.iter().map(Unit::status).collect(),
            left_out: self.start.up.left_out.clone(),
            notes: self.start.up.notes.clone(),
            settled: self.settled,
            ending: self.ending,
            authority: authority.is_file().then(|| authority.display().to_string()),
            dashboard: self.beside.dashboard.clone(),
        }
    }

    fn all_stopped(&self) -> bool {
        self.units.iter().all(|unit| unit.phase == Phase::Stopped)
    }

    fn has_ended(&self) -> bool {
        self.ending && self.all_stopped() && self.orders.is_none()
    }

    /// Ends what nobody knows any more, and tells everybody.
    async fn farewell(&self) {
        for _ in 0..200 {
            let left = super::kin::children();
            for pid in &left {
                let _ = rustix::process::kill_process(*pid, Signal::KILL);
            }
            while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
            if left.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.waiting_for_end.iter().for_each(|tell| tell.say(Told::Done));
        self.bus.end();
        // Whoever is told writes in a task of its own.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    /// Something that the supervisor says in a unit's log.
    pub fn note(&self, unit: usize, text: &str) {
        self.units[unit].log.borrow_mut().add(vec![(Source::Note, text.to_string())]);
    }
}
