//! Steps in dependency order, independent ones at the same time.
//! Knows nothing of what a step does: it is handed over with those that go with it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use labwright_plan::{ResourceId, Step};

use crate::protocol::Outcome;

/// More workers would only wait for the same disk, dpkg or systemd.
const WORKERS: usize = 4;
/// Steps that only wait for something cost a thread each.
const WAITERS: usize = 64;

/// What the steps are made true with.
pub trait Crew: Sync {
    /// Steps with equal keys that are ready at the same time go together; `None`: alone.
    fn batch(&self, step: &Step) -> Option<String>;
    /// Whether a step mostly waits for something: it is no work.
    fn waits(&self, _step: &Step) -> bool {
        false
    }
    /// Makes steps true: one outcome for each, in order.
    fn make(&self, steps: &[&Step]) -> Vec<Outcome>;
    /// Called once for each step, in the order in which they end.
    fn ended(&self, step: &Step, outcome: &Outcome);
}

struct State {
    /// For each step, how many of its needs have not ended; needs elsewhere count.
    waiting: Vec<usize>,
    ready: BTreeSet<usize>,
    /// As `ready`: those that only wait for something, with how long the chain of steps behind each is. The longest is begun
    /// first: the last of all cannot come before it.
    ready_to_wait: BTreeSet<(Reverse<usize>, usize)>,
    chains: Vec<usize>,
    /// Which steps only wait, once somebody works on the board.
    waits: Vec<bool>,
    running: usize,
    /// How many workers are at something that is work, and how many wait.
    busy: usize,
    idle: usize,
    /// Why a step will not run, once that is known.
    doomed: HashMap<usize, String>,
    left: usize,
    stopped: Option<String>,
}

impl State {
    fn make_ready(&mut self, step: usize) {
        match self.waits.get(step) {
            Some(true) => self.ready_to_wait.insert((Reverse(self.chains[step]), step)),
            _ => self.ready.insert(step),
        };
    }

    /// The next step that there is room for: what takes long by itself is begun first.
    fn next(&mut self) -> Option<usize> {
        let wait = if self.idle < WAITERS { self.ready_to_wait.pop_first() } else { None };
        wait.map(|(_, step)| step).or_else(|| if self.busy < WORKERS { self.ready.pop_first() } else { None })
    }

    /// How many steps could be begun now.
    fn room(&self) -> usize {
        let waits = self.ready_to_wait.len().min(WAITERS.saturating_sub(self.idle));
        waits + self.ready.len().min(WORKERS.saturating_sub(self.busy))
    }
}

pub struct Board<'a> {
    steps: &'a [Step],
    /// Steps that wait for an id, wherever that is done.
    dependents: BTreeMap<&'a ResourceId, Vec<usize>>,
    state: Mutex<State>,
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
        let ready = (0..steps.len()).filter(|i| waiting[*i] == 0).collect();
        let left = steps.len();
        let state = State {
            waiting,
            ready,
            ready_to_wait: BTreeSet::new(),
            chains: vec![0; steps.len()],
            waits: Vec::new(),
            running: 0,
            busy: 0,
            idle: 0,
            doomed: HashMap::new(),
            left,
            stopped: None,
        };
        Board { steps, dependents, state: Mutex::new(state), changed: Condvar::new() }
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

    fn lock(&self) -> MutexGuard<'_, State> {
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

    fn release(&self, state: &mut State, id: &ResourceId, doom: Option<String>) {
        for &i in self.dependents.get(id).into_iter().flatten() {
            if let Some(doom) = &doom {
                state.doomed.entry(i).or_insert_with(|| doom.clone());
            }
            state.waiting[i] -= 1;
            if state.waiting[i] == 0 {
                state.make_ready(i);
            }
        }
    }

    /// Runs until every step has an outcome.
    pub fn run(&self, crew: &dyn Crew) {
        let mut state = self.lock();
        state.waits = self.steps.iter().map(|step| crew.waits(step)).collect();
        if state.waits.contains(&true) {
            state.chains = self.chains();
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
                drop(state);
                for i in rest {
                    crew.ended(&self.steps[i], &Outcome::NotStarted { because: because.clone() });
                }
                self.changed.notify_all();
                return;
            }
            let Some(first) = state.next() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if let Some(because) = state.doomed.remove(&first) {
                state = self.end(state, crew, &[(first, Outcome::Skipped { because })]);
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
        mut state: MutexGuard<'b, State>,
        crew: &dyn Crew,
        ended: &[(usize, Outcome)],
    ) -> MutexGuard<'b, State> {
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
        // This worker takes one of what is ready itself; each of the others is worth waking only if something is left.
        if state.left == 0 || state.stopped.is_some() {
            self.changed.notify_all();
        } else {
            (1..state.room()).for_each(|_| self.changed.notify_one());
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use labwright_plan::{Action, Consequence, ErrorKind, Expect, Fingerprint, ProviderError, Spec};
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn id(name: &str) -> ResourceId {
        let host = if name.starts_with("far") { "far" } else { "h" };
        ResourceId::new(host, "host", "file", name)
    }

    /// `a b>a c>a,b`
    fn steps(text: &str) -> Vec<Step> {
        let step = |word: &str| {
            let (name, needs) = word.split_once('>').unwrap_or((word, ""));
            Step {
                id: id(name),
                action: Action::Create,
                consequence: Consequence::None,
                because: String::new(),
                spec: Spec::new(),
                changes: Vec::new(),
                needs: needs.split(',').filter(|need| !need.is_empty()).map(id).collect(),
                after: BTreeSet::new(),
                expect: Expect::Fingerprint(Fingerprint::absent()),
            }
        };
        text.split_whitespace().map(step).collect()
    }

    #[derive(Default)]
    struct Log {
        lines: Mutex<Vec<String>>,
        at_once: AtomicUsize,
        most: AtomicUsize,
        /// Steps whose names start with this go together.
        together: &'static str,
        /// Steps whose names start with this only wait.
        waiting: &'static str,
        slow: bool,
    }

    impl Crew for Log {
        fn batch(&self, step: &Step) -> Option<String> {
            (!self.together.is_empty() && step.id.name().starts_with(self.together)).then(|| self.together.to_string())
        }

        fn waits(&self, step: &Step) -> bool {
            !self.waiting.is_empty() && step.id.name().starts_with(self.waiting)
        }

        fn make(&self, steps: &[&Step]) -> Vec<Outcome> {
            self.most.fetch_max(self.at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            if self.slow {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            if steps.len() > 1 {
                self.lines.lock().unwrap().push(format!("batch of {}", steps.len()));
            }
            let one = |step: &&Step| match step.id.name().starts_with("bad") {
                true => Outcome::Failed(ProviderError::new(ErrorKind::Rejected, "no")),
                false => Outcome::Done,
            };
            steps.iter().map(one).collect()
        }

        fn ended(&self, step: &Step, outcome: &Outcome) {
            self.lines.lock().unwrap().push(format!("{} {}", step.id.name(), outcome.word()));
        }
    }

    fn run(text: &str, log: Log) -> Vec<String> {
        Board::new(&steps(text), &BTreeSet::new()).run(&log);
        log.lines.into_inner().unwrap()
    }

    #[test]
    fn needs_come_first_and_failure_spares_what_does_not_depend_on_it() {
        assert_eq!(run("c>b b>a a", Log::default()), ["a done", "b done", "c done"]);
        let mut lines = run("bad below>bad deeper>below other", Log::default());
        lines.sort();
        assert_eq!(lines, ["bad failed", "below skipped", "deeper skipped", "other done"]);
    }

    #[test]
    fn independent_steps_run_at_the_same_time() {
        let log = Log { slow: true, ..Log::default() };
        let steps = steps("a b c d");
        Board::new(&steps, &BTreeSet::new()).run(&log);
        assert!(log.most.load(Ordering::SeqCst) > 1);
    }

    #[test]
    fn steps_that_wait_leave_room_for_those_that_work() {
        let most = |text: &str| {
            let (steps, log) = (steps(text), Log { slow: true, waiting: "w", ..Log::default() });
            Board::new(&steps, &BTreeSet::new()).run(&log);
            assert_eq!(log.lines.into_inner().unwrap().len(), steps.len(), "{text}");
            log.most.load(Ordering::SeqCst)
        };
        let named = |letter: &str, count| (0..count).map(|i| format!("{letter}{i:02} ")).collect::<String>();
        assert_eq!(most(&named("a", 20)), WORKERS);
        assert!(most(&named("w", 20)) > 10);
        assert!(most(&(named("w", 10) + &named("x", 10))) > WORKERS);
        // What waits does not keep what works from being begun, whatever comes first.
        assert!(most(&(named("w", 70) + "x>w00 y>x w99>y")) > WORKERS);
    }

    #[test]
    fn the_longest_chain_is_begun_first() {
        let steps = steps("w1 w2 w3>w2 w4>w3 w5");
        let board = Board::new(&steps, &BTreeSet::new());
        assert_eq!(board.chains(), [0, 2, 1, 0, 0]);
        let log = Log { waiting: "w", ..Log::default() };
        board.run(&log);
        assert_eq!(log.lines.into_inner().unwrap().len(), 5);
        let mut state = board.lock();
        [0, 1, 4].into_iter().for_each(|step| state.make_ready(step));
        assert_eq!([state.next(), state.next(), state.next()], [Some(1), Some(0), Some(4)]);
    }

    #[test]
    fn steps_that_batch_go_together() {
        let lines = run("p1 p2 p3 after>p1,p2,p3", Log { together: "p", ..Log::default() });
        assert_eq!(lines[0], "batch of 3");
        assert_eq!(lines[4], "after done");
    }

    #[test]
    fn what_waits_for_another_host_goes_on_when_that_is_done_or_not() {
        for (done, word) in [(true, "a done"), (false, "a skipped")] {
            let (steps, log) = (steps("a>far"), Log::default());
            let board = Board::new(&steps, &BTreeSet::from([id("far")]));
            std::thread::scope(|scope| {
                scope.spawn(|| board.run(&log));
                board.elsewhere(&id("far"), done);
            });
            assert_eq!(*log.lines.lock().unwrap(), [word]);
        }
    }

    #[test]
    fn stopping_begins_nothing_more_and_accounts_for_everything() {
        let (steps, log) = (steps("a b>a c>far"), Log::default());
        let board = Board::new(&steps, &BTreeSet::from([id("far")]));
        board.stop("interrupted");
        board.run(&log);
        let mut lines = log.lines.into_inner().unwrap();
        lines.sort();
        assert_eq!(lines, ["a not started", "b not started", "c not started"]);
    }
}
