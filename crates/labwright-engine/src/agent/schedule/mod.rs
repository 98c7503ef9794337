//! Steps in dependency order, independent ones at the same time.
//! Knows nothing of what a step does: it is handed over with those that go with it.

mod turns;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use labwright_plan::{ResourceId, Step};

use crate::protocol::Outcome;
use turns::{State, Turn, WAITERS, WORKERS};

/// What the steps are made true with.
pub trait Crew: Sync {
    /// Steps with equal keys that are ready at the same time go together; `None`: alone.
    fn batch(&self, step: &Step) -> Option<String>;
    /// Whether a step mostly waits for something: it is no work.
    fn waits(&self, _step: &Step) -> bool {
        false
    }
    /// Whether a step that waits may be prepared while `need` has not come about yet.
    fn prepares_before(&self, _step: &Step, _need: &ResourceId) -> bool {
        false
    }
    /// Gets ready what can be of a step before its turn. Whatever is in the way is for `make` to meet.
    fn prepare(&self, _step: &Step) {}
    /// Takes away what was prepared of a step that is not made. Returns how the step ends.
    fn discard(&self, _step: &Step, outcome: Outcome) -> Outcome {
        outcome
    }
    /// Makes steps true: one outcome for each, in order.
    fn make(&self, steps: &[&Step]) -> Vec<Outcome>;
    /// Called once for each step, in the order in which they end.
    fn ended(&self, step: &Step, outcome: &Outcome);
}

pub struct Board<'a> {
    steps: &'a [Step],
    /// Steps that wait for an id, wherever that is done.
    dependents: BTreeMap<&'a ResourceId, Vec<usize>>,
    state: Mutex<State<'a>>,
    changed: Condvar,
}

impl<'a> Board<'a> {
    /// `elsewhere`: needs that other hosts see to. Any other need that is not among the steps counts as met.
    pub fn new(steps: &'a [Step], elsewhere: &BTreeSet<ResourceId>) -> Self {
        let here: BTreeSet<&ResourceId> = steps.iter().map(|step| &step.id).collect();
        let mut dependents: BTreeMap<&ResourceId, Vec<usize>> = BTreeMap::new();
        let mut waiting = vec![0; steps.len()];
        for (i, step) in steps.iter().enumerate() {
            for need in step.needs.iter().filter(|need| here.contains(need) || elsewhere.contains(*need)) {
                dependents.entry(need).or_default().push(i);
                waiting[i] += 1;
            }
        }
        Board { steps, dependents, state: Mutex::new(State::new(waiting)), changed: Condvar::new() }
    }

    /// How many steps follow one another behind each. Steps come in the order of their needs; one that does not is only begun
    /// later than it could be.
    fn chains(&self) -> Vec<usize> {
        let mut chains = vec![0; self.steps.len()];
        for (i, step) in self.steps.iter().enumerate().rev() {
            let behind = self.dependents.get(&step.id).into_iter().flatten();
            chains[i] = behind.map(|next| chains[*next] + 1).max().unwrap_or_default();
        }
        chains
    }

    /// Which needs hold up preparing a step; `None` where none of them lets it be prepared before.
    fn unprepared(&self, crew: &dyn Crew, step: &'a Step) -> Option<Vec<&'a ResourceId>> {
        let needs = step.needs.iter().filter(|need| self.dependents.contains_key(need));
        let (before, after): (Vec<_>, Vec<_>) = needs.partition(|need| crew.prepares_before(step, need));
        (!before.is_empty()).then_some(after)
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more is begun.
    pub fn stop(&self, because: &str) {
        self.lock().stopped.get_or_insert_with(|| because.to_string());
        self.changed.notify_all();
    }

    /// A step on another host has ended.
    pub fn elsewhere(&self, id: &ResourceId, done: bool) {
        let mut state = self.lock();
        self.release(&mut state, id, (!done).then(|| format!("`{id}` did not come about")));
        self.changed.notify_all();
    }

    fn release(&self, state: &mut State<'a>, id: &ResourceId, doom: Option<String>) {
        for &i in self.dependents.get(id).into_iter().flatten() {
            if let Some(doom) = &doom {
                state.doomed.entry(i).or_insert_with(|| doom.clone());
                state.unprepare(i);
            }
            state.waiting[i] -= 1;
            if state.waiting[i] == 0 {
                state.make_ready(i);
            } else {
                state.nearer(i, id);
            }
        }
    }

    /// Runs until every step has an outcome.
    pub fn run(&self, crew: &dyn Crew) {
        let mut state = self.lock();
        state.waits = self.steps.iter().map(|step| crew.waits(step)).collect();
        if state.waits.contains(&true) {
            state.chains = self.chains();
            let unprepared = |(i, step)| if state.waits[i] { self.unprepared(crew, step) } else { None };
            state.unprepared = self.steps.iter().enumerate().map(unprepared).collect();
            let at_once = |i: &usize| state.unprepared[*i].as_ref().is_some_and(Vec::is_empty);
            for i in (0..self.steps.len()).filter(at_once).collect::<Vec<_>>() {
                state.unprepared[i] = None;
                if state.waiting[i] > 0 && !state.doomed.contains_key(&i) {
                    let turn = (Reverse(state.chains[i]), i);
                    state.ready_to_prepare.insert(turn);
                }
            }
        }
        std::mem::take(&mut state.ready).into_iter().for_each(|i| state.make_ready(i));
        let waiting = state.waits.iter().filter(|waits| **waits).count();
        let workers = WORKERS.min(self.steps.len() - waiting) + WAITERS.min(waiting);
        drop(state);
        std::thread::scope(|scope| {
            for _ in 1..workers {
                scope.spawn(|| self.work(crew));
            }
            self.work(crew);
        });
    }

    fn work(&self, crew: &dyn Crew) {
        let mut state = self.lock();
        loop {
            if state.left == 0 {
                self.changed.notify_all();
                return;
            }
            if let Some(because) = state.stopped.clone() {
                if state.running > 0 {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                // Only what was never begun is left: say so, once each.
                let rest: Vec<usize> = state
                    .ready
                    .iter()
                    .copied()
                    .chain(state.ready_to_wait.iter().map(|(_, step)| *step))
                    .chain((0..self.steps.len()).filter(|i| state.waiting[*i] > 0))
                    .collect();
                state.left = 0;
                state.ready.clear();
                state.ready_to_wait.clear();
                let prepared = std::mem::take(&mut state.prepared);
                drop(state);
                for i in rest {
                    let (step, outcome) = (&self.steps[i], Outcome::NotStarted { because: because.clone() });
                    let outcome = if prepared.contains(&i) { crew.discard(step, outcome) } else { outcome };
                    crew.ended(step, &outcome);
                }
                self.changed.notify_all();
                return;
            }
            let first = match state.next() {
                None => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                Some(Turn::Prepare(step)) => {
                    state.running += 1;
                    drop(state);
                    crew.prepare(&self.steps[step]);
                    state = self.lock();
                    state.running -= 1;
                    state.preparing.remove(&step);
                    state.prepared.insert(step);
                    if state.waiting[step] == 0 {
                        state.make_ready(step);
                    }
                    self.wake(&state);
                    continue;
                }
                Some(Turn::Make(step)) => step,
            };
            let prepared = state.prepared.remove(&first);
            if let Some(because) = state.doomed.remove(&first) {
                let mut outcome = Outcome::Skipped { because };
                if prepared {
                    state.running += 1;
                    drop(state);
                    outcome = crew.discard(&self.steps[first], outcome);
                    state = self.lock();
                    state.running -= 1;
                }
                state = self.end(state, crew, &[(first, outcome)]);
                continue;
            }
            let mut batch = vec![first];
            if let Some(key) = crew.batch(&self.steps[first]) {
                let same = |i: &usize| crew.batch(&self.steps[*i]).as_ref() == Some(&key);
                let more: Vec<usize> =
                    state.ready.iter().copied().filter(same).filter(|i| !state.doomed.contains_key(i)).collect();
                state.ready.retain(|i| !more.contains(i));
                batch.extend(more);
            }
            let waits = state.waits[first];
            state.running += batch.len();
            *(if waits { &mut state.idle } else { &mut state.busy }) += 1;
            drop(state);
            let steps: Vec<&Step> = batch.iter().map(|i| &self.steps[*i]).collect();
            let outcomes = crew.make(&steps);
            let ended: Vec<(usize, Outcome)> = batch.into_iter().zip(outcomes).collect();
            state = self.lock();
            state.running -= ended.len();
            *(if waits { &mut state.idle } else { &mut state.busy }) -= 1;
            state = self.end(state, crew, &ended);
        }
    }

    fn end<'b>(
        &'b self,
        mut state: MutexGuard<'b, State<'a>>,
        crew: &dyn Crew,
        ended: &[(usize, Outcome)],
    ) -> MutexGuard<'b, State<'a>> {
        for (i, outcome) in ended {
            let step = &self.steps[*i];
            crew.ended(step, outcome);
            let doom = match outcome {
                Outcome::Done => None,
                Outcome::Skipped { because } => Some(because.clone()),
                other => Some(format!("`{}` {}", step.id, other.word())),
            };
            self.release(&mut state, &step.id, doom);
            state.left -= 1;
        }
        self.wake(&state);
        state
    }

    /// The worker that calls it takes one of what is ready itself; each of the others is worth waking only if something is
    /// left.
    fn wake(&self, state: &State<'_>) {
        if state.left == 0 || state.stopped.is_some() {
            self.changed.notify_all();
        } else {
            (1..state.room()).for_each(|_| self.changed.notify_one());
        }
    }
}

#[cfg(test)]
mod tests;
