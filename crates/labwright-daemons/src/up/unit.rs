//! One unit as it is now. What becomes of it is the supervisor's to say.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use labwright_model::snapshot::up::control::{Container, Phase, Status};
use labwright_model::snapshot::up::{Process, Restart, Unit as Spec, What};
use rustix::process::Pid;
use tokio::task::JoinHandle;

use super::output::Log;
use super::seeds::Step;
use super::watch::Watch;
use crate::dns;
use crate::proxy::Proxy;

/// So often something may fail before nobody waits for it any more. It is tried further.
const HOPELESS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// What ran for so long was well, whatever ended it: it begins again with the first pause.
const LONG: Duration = Duration::from_secs(10);
/// The lines that are shown of what is not well.
const SHOWN: usize = 8;

/// What a unit holds that is no process.
#[derive(Default)]
pub enum Held {
    #[default]
    Nothing,
    Doors(Box<Proxy>),
    Names(Box<dns::Server>),
}

pub struct Unit {
    pub spec: Spec,
    pub needs: Vec<usize>,
    pub dependents: Vec<usize>,
    pub phase: Phase,
    pub reason: String,
    pub pid: Option<Pid>,
    /// Which of its starts this is: what is told of an earlier one does not count.
    pub attempt: u64,
    /// When it was first known of: at the start of the supervisor.
    pub known: Instant,
    pub began: Option<Instant>,
    pub started: Option<i64>,
    pub took: Option<u64>,
    pub restarts: u32,
    /// How often it failed since it was last well.
    pub fails: u32,
    /// Whether it is started again once it has stopped.
    pub again: bool,
    /// Whether somebody wants it stopped, as soon as nothing stands on it that is to be stopped as well.
    pub rests: bool,
    /// What of its seeds is still to be loaded.
    pub steps: VecDeque<Step>,
    /// Which change of its files was the last.
    pub change: u64,
    pub watch: Option<Watch>,
    pub look: Option<JoinHandle<()>>,
    pub held: Held,
    /// Its containers, where it is made of some.
    pub containers: Vec<Container>,
    /// Which copy of its data those have.
    pub copy: Option<String>,
    pub log: Rc<RefCell<Log>>,
}

impl Unit {
    pub fn new(spec: Spec, log: Log) -> Unit {
        Unit {
            spec,
            needs: Vec::new(),
            dependents: Vec::new(),
            phase: Phase::Waiting,
            reason: String::new(),
            pid: None,
            attempt: 0,
            known: Instant::now(),
            began: None,
            started: None,
            took: None,
            restarts: 0,
            fails: 0,
            again: false,
            rests: false,
            steps: VecDeque::new(),
            change: 0,
            watch: None,
            look: None,
            held: Held::Nothing,
            containers: Vec::new(),
            copy: None,
            log: Rc::new(RefCell::new(log)),
        }
    }

    pub fn process(&self) -> Option<&Process> {
        match &self.spec.what {
            What::Process(process) => Some(process),
            _ => None,
        }
    }

    pub fn restart(&self) -> Restart {
        self.process().map_or(Restart::No, |process| process.restart)
    }

    /// Whether nobody shall wait for it any longer.
    pub fn is_hopeless(&self) -> bool {
        // What somebody stopped is not waited for either.
        matches!(self.phase, Phase::Failed | Phase::Stopped) || (!self.phase.is_well() && self.fails >= HOPELESS)
    }

    /// Counts a failure; returns how long to wait before the next start.
    pub fn failed(&mut self) -> Duration {
        if self.phase != Phase::Starting && self.began.is_some_and(|began| began.elapsed() > LONG) {
            self.fails = 0;
        }
        self.fails += 1;
        FIRST_PAUSE * (1 << (self.fails - 1).min(7))
    }

    /// Ends looking at it.
    pub fn look_away(&mut self) {
        if let Some(look) = self.look.take() {
            look.abort();
        }
    }

    pub fn status(&self) -> Status {
        let unwell = matches!(self.phase, Phase::Failed | Phase::Pausing | Phase::Unwell)
            || (self.phase == Phase::Starting && self.fails > 0);
        Status {
            name: self.spec.name.clone(),
            kind: self.spec.what.word().to_string(),
            phase: self.phase,
            pid: self.pid.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok()),
            port: self.spec.port,
            links: self.spec.links.clone(),
            reason: self.reason.clone(),
            last: if unwell { self.log.borrow().last(SHOWN) } else { Vec::new() },
            restarts: self.restarts,
            took: self.took,
            started: self.started,
            began: self.began.map(|began| began.duration_since(self.known).as_millis() as u64),
            containers: self.containers.clone(),
        }
    }
}
