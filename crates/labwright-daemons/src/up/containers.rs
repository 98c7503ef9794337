//! Units that are made of containers, as the supervisor sees them: what it asks of whoever runs containers, and what follows
//! from what it is told. It knows no engine; that one is handed in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use labwright_model::snapshot::up::control::{Phase, Told};
use labwright_model::snapshot::up::engine::{Command, Heard, Order, Then};
use labwright_model::snapshot::up::{Ready, What};

use super::seeds::Step;
use super::supervisor::{Event, Supervisor};

/// Tells the supervisor something, from any thread.
pub type Tell = Arc<dyn Fn(Heard) + Send + Sync>;

/// Takes orders.
pub type Orders = Box<dyn Fn(Order)>;

/// Begins to run containers, in a thread of its own: what they are made from, as it was handed in with what is to run, and the
/// values of secrets. Returns how it is asked.
pub type Engine<'a> = &'a dyn Fn(serde_json::Value, &BTreeMap<String, String>, Tell) -> Result<Orders, String>;

/// So much may be told and not be heard yet; whoever tells more waits a moment.
const UNHEARD: usize = 512;

/// A way to the supervisor that holds up whoever tells faster than it hears.
pub fn way(send: tokio::sync::mpsc::UnboundedSender<Heard>, unheard: Arc<AtomicUsize>) -> Tell {
    Arc::new(move |heard| {
        while matches!(heard, Heard::Said { .. }) && unheard.load(Ordering::Acquire) > UNHEARD && !send.is_closed() {
            std::thread::sleep(Duration::from_millis(1));
        }
        unheard.fetch_add(1, Ordering::AcqRel);
        let _ = send.send(heard);
    })
}

/// How long an engine may take beyond what a container may, until nobody waits for it any more.
const DEAF: Duration = Duration::from_secs(30);

impl Supervisor {
    pub fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            orders(order);
        }
    }

    fn unit_of(&self, name: &str) -> Option<usize> {
        self.units.iter().position(|unit| unit.spec.name == name)
    }

    /// Whether what is told is of the present start of a unit that is made of containers.
    fn current(&self, name: &str, attempt: u64) -> Option<usize> {
        self.unit_of(name).filter(|unit| self.units[*unit].attempt == attempt)
    }

    pub fn start_containers(&mut self, unit: usize) {
        let (name, attempt) = (self.units[unit].spec.name.clone(), self.units[unit].attempt);
        self.set(unit, Phase::Starting, "");
        self.order(Order::Start { unit: name, attempt });
    }

    pub fn stop_containers(&mut self, unit: usize, now: bool) {
        let (name, attempt) = (self.units[unit].spec.name.clone(), self.units[unit].attempt);
        let within = match &self.units[unit].spec.what {
            What::Containers(containers) => Duration::from_millis(containers.stop_within),
            _ => Duration::ZERO,
        };
        self.set(unit, Phase::Stopping, "");
        self.order(Order::Stop { unit: name, attempt, now });
        self.later(within + DEAF, Event::Late(unit, attempt));
    }

    /// Takes in what is told of containers.
    pub fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Are { unit, containers } => {
                let Some(unit) = self.unit_of(&unit) else { return };
                if self.units[unit].containers != containers {
                    self.units[unit].containers = containers;
                    let status = self.units[unit].status();
                    self.bus.tell(&Told::Unit(Box::new(status)));
                }
            }
            Heard::Copy { unit, copy } => {
                if let Some(unit) = self.unit_of(&unit) {
                    self.units[unit].copy = Some(copy);
                }
            }
            Heard::Said { unit, lines } => {
                if let Some(unit) = self.unit_of(&unit) {
                    let lines = lines.into_iter().map(|(source, text)| (source, super::output::plain(&text)));
                    self.units[unit].log.borrow_mut().add(lines.collect());
                }
            }
            Heard::Waits { unit, attempt, reason } => {
                let unit = self.current(&unit, attempt).filter(|unit| self.units[*unit].phase == Phase::Starting);
                unit.into_iter().for_each(|unit| self.set(unit, Phase::Starting, reason.clone()));
            }
            Heard::Well { unit, attempt } => {
                if let Some(unit) = self.current(&unit, attempt) {
                    self.containers_are_up(unit);
                }
            }
            Heard::Unwell { unit, attempt, reason } => {
                let Some(unit) = self.current(&unit, attempt) else { return };
                match self.units[unit].phase {
                    Phase::Ready | Phase::Unwell | Phase::Done => self.set(unit, Phase::Unwell, reason),
                    Phase::Starting => self.set(unit, Phase::Starting, reason),
                    _ => {}
                }
            }
            Heard::Failed { unit, attempt, reason, then } => {
                let Some(unit) = self.current(&unit, attempt) else { return };
                let phase = self.units[unit].phase;
                // What was given up may be worth another attempt: its engine is back.
                let anew = then == Then::Again && matches!(phase, Phase::Done | Phase::Failed);
                if anew || matches!(phase, Phase::Starting | Phase::Ready | Phase::Unwell) {
                    self.units[unit].look_away();
                    self.failed_containers(unit, &reason, then);
                }
            }
            Heard::Done { unit, attempt } => {
                let Some(unit) = self.current(&unit, attempt) else { return };
                let one = &mut self.units[unit];
                one.look_away();
                one.took = one.took.or(one.began.map(|began| began.elapsed().as_millis() as u64));
                one.fails = 0;
                self.set(unit, Phase::Done, "");
            }
            Heard::Stopped { unit, attempt } => {
                let unit = self.current(&unit, attempt).filter(|unit| self.units[*unit].phase == Phase::Stopping);
                unit.into_iter().for_each(|unit| self.stopped(unit));
            }
            Heard::Ran { unit, attempt, ended } => {
                if let Some(unit) = self.current(&unit, attempt) {
                    self.step_ran(unit, ended);
                }
            }
            Heard::Note { text } => self.bus.tell(&Told::Note { text }),
            Heard::Ended => self.orders = None,
        }
    }

    /// Its containers are up by what they tell themselves; what its port answers may be asked for beyond that.
    fn containers_are_up(&mut self, unit: usize) {
        let one = &self.units[unit];
        match (&one.spec.ready, one.phase) {
            (Ready::Ended, _) => self.set(unit, Phase::Starting, "it has not ended yet"),
            (Ready::Probe(_), Phase::Starting) if one.spec.port.is_some() => self.look(unit),
            // Whether it answers is being asked all the time.
            (Ready::Probe(_), Phase::Unwell) if one.look.is_some() => {}
            (_, Phase::Starting | Phase::Unwell) => self.well(unit),
            _ => {}
        }
    }

    fn failed_containers(&mut self, unit: usize, reason: &str, then: Then) {
        if then == Then::Again {
            return self.fail(unit, reason);
        }
        self.note(unit, reason);
        self.units[unit].failed();
        self.set(unit, Phase::Failed, reason);
    }

    /// Loads a file into a database that is in a container.
    pub fn step_inside(&mut self, unit: usize, step: &Step, of: &str, key: &str) {
        let (name, attempt) = (self.units[unit].spec.name.clone(), self.units[unit].attempt);
        self.note(unit, &format!("loading `{}`", step.file.display()));
        self.set(unit, Phase::Starting, format!("loading `{}`", step.file.display()));
        self.order(Order::Run(Box::new(Command {
            unit: name,
            attempt,
            of: of.to_string(),
            key: key.to_string(),
            command: step.command.clone(),
            stdin: step.stdin.as_ref().map(|path| path.display().to_string()),
        })));
    }

    fn step_ran(&mut self, unit: usize, ended: Result<i64, String>) {
        if self.units[unit].phase != Phase::Starting {
            return;
        }
        match ended {
            Ok(0) => self.step_done(unit, None),
            Ok(code) => self.step_done(unit, Some(format!("it ended with exit code {code}"))),
            Err(why) => self.step_done(unit, Some(why)),
        }
    }
}
