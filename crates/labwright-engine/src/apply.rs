//! Carries out a plan: every host at once, every step after what it needs, wherever that is.
//! Decides nothing about what to do; the plan leaves no choice. Accounts for every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use labwright_plan::{ErrorKind, Plan, ProviderError, ResourceId, Step};
use rustix::process::{Signal, kill_process};

use crate::confirm::{self, Ticket};
use crate::fleet::{Fleet, Letters, Way};
use crate::link::{Address, open_ssh};
use crate::protocol::{Event, Outcome, Reply, Request, Run, Verdict, Work};

/// Hears what happens, as it happens.
pub trait Sink: Sync {
    fn event(&self, event: &Event);
}

/// Ends a run early: what was begun ends, nothing more begins.
#[derive(Default)]
pub struct Stop(Mutex<Asked>);

#[derive(Default)]
struct Asked {
    already: bool,
    running: Option<mpsc::Sender<Heard>>,
}

impl Stop {
    pub fn ask(&self) {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.already = true;
        if let Some(running) = &asked.running {
            // A run that has ended already does not listen, and need not.
            drop(running.send(Heard::Stop));
        }
    }
}

enum Heard {
    Reply(String, Result<Reply, ProviderError>),
    /// How a fresh connection to a host went that has to confirm a change.
    Tried(ResourceId, Result<Verdict, ProviderError>),
    /// What became of a change whose run lost its connection, and why it was lost.
    Told(String, ResourceId, Verdict, String),
    Stop,
}

/// How each step ended, in the order of the plan.
pub type Outcomes = Vec<(ResourceId, Outcome)>;

struct Accounts<'a> {
    plan: &'a Plan,
    outcomes: BTreeMap<ResourceId, Outcome>,
    started: BTreeSet<ResourceId>,
    /// Changes that wait for a confirmation, and what the last try to give it met with.
    open: BTreeMap<ResourceId, (Ticket, Option<ProviderError>)>,
    sink: &'a dyn Sink,
}

impl Accounts<'_> {
    fn end(&mut self, id: &ResourceId, outcome: Outcome) {
        if self.outcomes.contains_key(id) {
            return;
        }
        self.sink.event(&Event::Ended { id: id.clone(), outcome: outcome.clone() });
        self.outcomes.insert(id.clone(), outcome);
    }

    /// The outcome with what is known on this side: why nobody came in.
    fn explained(&mut self, id: &ResourceId, outcome: Outcome) -> Outcome {
        let open = self.open.remove(id);
        if let Some((ticket, _)) = &open {
            ticket.over.store(true, Ordering::Relaxed);
        }
        let met = open.and_then(|(_, met)| met);
        match (outcome, met) {
            (Outcome::Reverted(error), Some(met)) if !error.message.contains(&met.message) => {
                Outcome::Reverted(ProviderError {
                    message: format!("{}; a new connection met with: {}", error.message, met.message),
                    ..error
                })
            }
            (outcome, _) => outcome,
        }
    }

    /// Every step that a host goes on with after its connection went with a change: how they end is for the next look.
    fn left_to(&mut self, host: &str, place: &str) -> Vec<ResourceId> {
        let open = self.plan.steps.iter().map(|step| &step.id);
        let open: Vec<ResourceId> =
            open.filter(|id| id.host() == host && !self.outcomes.contains_key(*id)).cloned().collect();
        for id in &open {
            let because = format!("`{host}` moved to {place} before it was told of this one; plan again to see");
            self.end(id, Outcome::Unknown { because });
        }
        open
    }

    /// Every step of a host that has no outcome yet.
    fn close(&mut self, host: &str, because: &str) -> Vec<ResourceId> {
        let open = self
            .plan
            .steps
            .iter()
            .map(|step| &step.id)
            .filter(|id| id.host() == host && !self.outcomes.contains_key(*id));
        let open: Vec<ResourceId> = open.cloned().collect();
        for id in &open {
            let because = because.to_string();
            let outcome = match self.started.contains(id) {
                true => Outcome::Unknown { because },
                false => Outcome::NotStarted { because },
            };
            self.end(id, outcome);
        }
        open
    }
}

/// On what terms a plan is carried out.
pub struct Terms<'a> {
    /// Each host's sealed secrets.
    pub letters: &'a Letters,
    /// How long a change that may cut the way to a host waits for its confirmation.
    pub within: &'a dyn Fn(&str) -> Duration,
    /// Why a step was not approved, if it was not.
    pub refused: &'a dyn Fn(&Step) -> Option<String>,
}

/// Applies the plan over the open links.
pub fn apply(fleet: &mut Fleet, plan: &Plan, run: &Run, terms: &Terms<'_>, stop: &Stop, sink: &dyn Sink) -> Outcomes {
    let mut accounts =
        Accounts { plan, outcomes: BTreeMap::new(), started: BTreeSet::new(), open: BTreeMap::new(), sink };
    for step in &plan.steps {
        // Steps are in order, so whatever a step needs has its outcome by now if it will not run.
        let missing = step.needs.iter().find(|need| accounts.outcomes.contains_key(*need));
        if let Some(because) = (terms.refused)(step) {
            accounts.end(&step.id, Outcome::Skipped { because });
        } else if let Some(need) = missing {
            let because = format!("it comes after `{need}`, which does not happen");
            accounts.end(&step.id, Outcome::Skipped { because });
        } else if !fleet.links.contains_key(step.id.host()) {
            let because = format!("`{}` is not connected", step.id.host());
            accounts.end(&step.id, Outcome::NotStarted { because });
        }
    }
    let mut work: BTreeMap<&str, Work> = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| !accounts.outcomes.contains_key(&step.id)) {
        let host = step.id.host();
        let part = work.entry(host).or_insert_with(|| Work {
            run: run.clone(),
            lab: plan.lab.clone(),
            host: host.to_string(),
            was: fleet.was.get(host).cloned().unwrap_or_default(),
            steps: Vec::new(),
            elsewhere: BTreeSet::new(),
            letter: terms.letters.get(host).cloned(),
            confirm_within: (terms.within)(host).as_secs(),
        });
        part.elsewhere.extend(step.needs.iter().filter(|need| need.host() != host).cloned());
        part.steps.push(step.clone());
    }
    let (send, heard) = mpsc::channel();
    {
        let mut asked = stop.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.already {
            drop(send.send(Heard::Stop));
        }
        asked.running = Some(send.clone());
    }
    let elsewhere: BTreeMap<String, BTreeSet<ResourceId>> =
        work.iter().map(|(host, work)| (host.to_string(), work.elsewhere.clone())).collect();
    let ways = &fleet.ways;
    // Hosts that are elsewhere now, and where.
    let mut moved: BTreeMap<String, Address> = BTreeMap::new();
    std::thread::scope(|scope| {
        let (mut speakers, mut cutters) = (BTreeMap::new(), BTreeMap::new());
        for (host, link) in &mut fleet.links {
            let Some(work) = work.remove(host.as_str()) else { continue };
            cutters.insert(host.clone(), link.cutter());
            let (speaker, listener) = link.split();
            // A link that is lost here is heard of by its listener.
            drop(speaker.send(Request::Apply(Box::new(work))));
            speakers.insert(host.clone(), speaker);
            let send = send.clone();
            scope.spawn(move || {
                loop {
                    let reply = listener.receive();
                    let last = !matches!(reply, Ok(Reply::Event(_) | Reply::Confirm { .. }));
                    if send.send(Heard::Reply(host.clone(), reply)).is_err() || last {
                        return;
                    }
                }
            });
        }
        let tell = |speakers: &mut BTreeMap<String, &mut crate::link::Speaker>, id: &ResourceId, done: bool| {
            for (host, speaker) in speakers.iter_mut() {
                if elsewhere.get(host).is_some_and(|needs| needs.contains(id)) {
                    drop(speaker.send(Request::Elsewhere { id: id.clone(), done }));
                }
            }
        };
        // Needs that were settled before anything began.
        for id in accounts.outcomes.keys() {
            tell(&mut speakers, id, false);
        }
        while !speakers.is_empty() {
            let (host, reply) = match heard.recv() {
                Err(mpsc::RecvError) => break,
                Ok(Heard::Stop) => {
                    speakers.values_mut().for_each(|speaker| drop(speaker.send(Request::Stop)));
                    continue;
                }
                Ok(Heard::Tried(id, tried)) => {
                    let Some((ticket, met)) = accounts.open.get_mut(&id) else { continue };
                    let error = match tried {
                        Err(error) => error,
                        Ok(Verdict::Confirmed | Verdict::Superseded) if ticket.ahead => {
                            // The run's own connection went with the change; what confirmed it is the way from now on.
                            let (host, address) = (id.host().to_string(), ticket.address.clone());
                            let outcome = accounts.explained(&id, Outcome::Done);
                            accounts.end(&id, outcome);
                            tell(&mut speakers, &id, true);
                            for id in accounts.left_to(&host, &confirm::shown(&address)) {
                                tell(&mut speakers, &id, false);
                            }
                            speakers.remove(&host);
                            if let Some(pid) = cutters.get(&host).copied().flatten() {
                                // It may have ended by itself.
                                kill_process(pid, Signal::TERM).unwrap_or_default();
                            }
                            moved.insert(host, address);
                            continue;
                        }
                        Ok(_) => continue,
                    };
                    // A window that closed is the host's own to end; what is known now need not wait for that.
                    if error.kind != ErrorKind::Timeout
                        && let Some(speaker) = speakers.get_mut(id.host())
                    {
                        let because = error.message.clone();
                        drop(speaker.send(Request::Revert { ticket: ticket.name.clone(), because }));
                    }
                    *met = Some(error);
                    continue;
                }
                Ok(Heard::Told(host, id, verdict, lost)) => {
                    let outcome = match verdict {
                        Verdict::Confirmed | Verdict::Superseded => Outcome::Done,
                        Verdict::Reverted { because } => Outcome::Reverted(ProviderError::reverted(format!(
                            "{because}; what was there before is back"
                        ))),
                        Verdict::Stuck { because } => Outcome::Failed(ProviderError::rejected(because)),
                        Verdict::Pending | Verdict::Unknown => Outcome::Unknown { because: lost.clone() },
                    };
                    let outcome = accounts.explained(&id, outcome);
                    accounts.end(&id, outcome);
                    for id in accounts.close(&host, &lost) {
                        tell(&mut speakers, &id, false);
                    }
                    speakers.remove(&host);
                    continue;
                }
                Ok(Heard::Reply(host, reply)) => (host, reply),
            };
            let because = match reply {
                Ok(Reply::Confirm { id, ticket, doors, ahead, through, within }) => {
                    let Some(Way::Ssh(address)) = ways.get(&host) else { continue };
                    let address = confirm::predicted(address, &doors, through);
                    let made = if ahead { "this takes the connection with it" } else { "made" };
                    let text = format!(
                        "{made}; a new connection to {} has {within} s to confirm it",
                        confirm::shown(&address)
                    );
                    sink.event(&Event::Progress { id: id.clone(), text });
                    let within = Duration::from_secs(within);
                    let over = Arc::default();
                    let ticket = Ticket { name: ticket, address, within, since: Instant::now(), ahead, over };
                    accounts.open.insert(id.clone(), (ticket.clone(), None));
                    let send = send.clone();
                    // Nobody who has ended already waits for it.
                    scope.spawn(move || drop(send.send(Heard::Tried(id, confirm::confirm(&ticket)))));
                    continue;
                }
                Ok(Reply::Event(event)) => {
                    match &event {
                        Event::Started { id } => drop(accounts.started.insert(id.clone())),
                        Event::Progress { .. } => {}
                        // It was told by another way already.
                        Event::Ended { id, .. } if accounts.outcomes.contains_key(id) => continue,
                        Event::Ended { id, outcome } => {
                            let outcome = accounts.explained(id, outcome.clone());
                            accounts.end(id, outcome.clone());
                            tell(&mut speakers, id, outcome == Outcome::Done);
                            continue;
                        }
                    }
                    sink.event(&event);
                    continue;
                }
                Ok(Reply::Finished) => "the agent did not say how it ended".to_string(),
                Ok(Reply::Held(lease)) => format!(
                    "`{host}` is held by {} for {} s (run {}); `labwright locks` shows it, `labwright locks --break {host}` ends it",
                    lease.run.by, lease.age, lease.run.id
                ),
                Ok(Reply::Failed(error)) | Err(error) => error.message,
                Ok(_) => "the agent answered something that was not asked".to_string(),
            };
            // The connection went with the change: what became of it can still be asked.
            let open = accounts.open.iter().find(|(id, _)| id.host() == host);
            if let (Some((id, (ticket, _))), Some(Way::Ssh(before))) = (open, ways.get(&host)) {
                let (id, ticket, before, send) = (id.clone(), ticket.clone(), before.clone(), send.clone());
                let told = move || {
                    let verdict = confirm::verdict(&ticket, &before);
                    drop(send.send(Heard::Told(host, id, verdict, because)));
                };
                scope.spawn(told);
                continue;
            }
            for id in accounts.close(&host, &because) {
                tell(&mut speakers, &id, false);
            }
            speakers.remove(&host);
        }
    });
    stop.0.lock().unwrap_or_else(PoisonError::into_inner).running = None;
    for (host, address) in moved {
        // Where it does not work the old link stays: it is dead, and whoever looks hears that the host does not answer.
        if let Ok(link) = open_ssh(&address) {
            fleet.links.insert(host.clone(), link);
            fleet.ways.insert(host, Way::Ssh(Box::new(address)));
        }
    }
    let outcome = |step: &Step| {
        let unknown = || Outcome::Unknown { because: "nobody said how it ended".into() };
        (step.id.clone(), accounts.outcomes.get(&step.id).cloned().unwrap_or_else(unknown))
    };
    plan.steps.iter().map(outcome).collect()
}
