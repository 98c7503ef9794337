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
/// As many are prepared at the same time: what can be begun must not wait for them.
const PREPARERS: usize = 2;

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

/// What a worker does next.
enum Turn {
    Make(usize),
    Prepare(usize),
}

struct State<'a> {
    /// For each step, how many of its needs have not ended; needs elsewhere count.
    waiting: Vec<usize>,
    ready: BTreeSet<usize>,
    /// As `ready`: those that only wait for something, with how long the chain of steps behind each is. The longest is begun
    /// first: the last of all cannot come before it.
    ready_to_wait: BTreeSet<(Reverse<usize>, usize)>,
    chains: Vec<usize>,
    /// Which steps only wait, once somebody works on the board.
    waits: Vec<bool>,
    /// For each step that may be prepared: those of its needs that even that waits for. `None`: it may not, or its turn for it
    /// has come.
    unprepared: Vec<Option<Vec<&'a ResourceId>>>,
    ready_to_prepare: BTreeSet<(Reverse<usize>, usize)>,
    preparing: BTreeSet<usize>,
    prepared: BTreeSet<usize>,
    running: usize,
    /// How many workers are at something that is work, and how many wait.
    busy: usize,
    idle: usize,
    /// Why a step will not run, once that is known.
    doomed: HashMap<usize, String>,
    left: usize,
    stopped: Option<String>,
}

impl State<'_> {
    fn make_ready(&mut self, step: usize) {
        self.unprepare(step);
        // It is ready once that has ended.
        if self.preparing.contains(&step) {
            return;
        }
        match self.waits.get(step) {
            Some(true) => self.ready_to_wait.insert((Reverse(self.chains[step]), step)),
            _ => self.ready.insert(step),
        };
    }

    /// It will not be prepared any more.
    fn unprepare(&mut self, step: usize) {
        if let Some(unprepared) = self.unprepared.get_mut(step) {
            *unprepared = None;
            self.ready_to_prepare.remove(&(Reverse(self.chains[step]), step));
        }
    }

    /// One of the needs of a step that may be prepared has ended.
    fn nearer(&mut self, step: usize, need: &ResourceId) {
        let Some(Some(left)) = self.unprepared.get_mut(step) else { return };
        left.retain(|other| *other != need);
        if left.is_empty() {
            self.unprepared[step] = None;
            self.ready_to_prepare.insert((Reverse(self.chains[step]), step));
        }
    }

    /// The next step that there is room for: what takes long by itself is begun first, and what can be begun comes before
    /// what can be prepared.
    fn next(&mut self) -> Option<Turn> {
        let wait = if self.idle < WAITERS { self.ready_to_wait.pop_first() } else { None };
        let make = wait.map(|(_, step)| step);
        let make = make.or_else(|| if self.busy < WORKERS { self.ready.pop_first() } else { None });
        make.map(Turn::Make).or_else(|| {
            let room = self.preparing.len() < PREPARERS;
            let (_, step) = room.then(|| self.ready_to_prepare.pop_first()).flatten()?;
            self.preparing.insert(step);
            Some(Turn::Prepare(step))
        })
    }

    /// How many steps could be begun now.
    fn room(&self) -> usize {
        let waits = self.ready_to_wait.len().min(WAITERS.saturating_sub(self.idle));
        let works = self.ready.len().min(WORKERS.saturating_sub(self.busy));
        waits + works + self.ready_to_prepare.len().min(PREPARERS.saturating_sub(self.preparing.len()))
    }
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
        let ready = (0..steps.len()).filter(|i| waiting[*i] == 0).collect();
        let left = steps.len();
        let state = State {
            waiting,
            ready,
            ready_to_wait: BTreeSet::new(),
            chains: vec![0; steps.len()],
            waits: Vec::new(),
            unprepared: Vec::new(),
            ready_to_prepare: BTreeSet::new(),
            preparing: BTreeSet::new(),
            prepared: BTreeSet::new(),
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
        /// Steps whose names start with this only wait, and may be prepared before others of them.
        waiting: &'static str,
        /// Taking away what was prepared of these goes wrong.
        sticks: &'static str,
        slow: bool,
    }

    impl Crew for Log {
        fn batch(&self, step: &Step) -> Option<String> {
            (!self.together.is_empty() && step.id.name().starts_with(self.together)).then(|| self.together.to_string())
        }

        fn waits(&self, step: &Step) -> bool {
            !self.waiting.is_empty() && step.id.name().starts_with(self.waiting)
        }

        fn prepares_before(&self, step: &Step, need: &ResourceId) -> bool {
            self.waits(step) && need.name().starts_with(self.waiting)
        }

        fn prepare(&self, step: &Step) {
            self.lines.lock().unwrap().push(format!("{} prepared", step.id.name()));
        }

        fn discard(&self, step: &Step, outcome: Outcome) -> Outcome {
            self.lines.lock().unwrap().push(format!("{} discarded", step.id.name()));
            match !self.sticks.is_empty() && step.id.name().starts_with(self.sticks) {
                true => Outcome::Failed(ProviderError::new(ErrorKind::Rejected, "it stays")),
                false => outcome,
            }
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
            let one = |step: &&Step| match step.id.name().contains("bad") {
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
        let lines = log.lines.into_inner().unwrap();
        assert_eq!(lines.iter().filter(|line| line.ends_with("done")).count(), 5, "{lines:?}");
        let mut state = board.lock();
        [0, 1, 4].into_iter().for_each(|step| state.make_ready(step));
        let mut next = || match state.next() {
            Some(Turn::Make(step)) => Some(step),
            Some(Turn::Prepare(_)) | None => None,
        };
        assert_eq!([next(), next(), next(), next()], [Some(1), Some(0), Some(4), None]);
    }

    /// The place of a line among those that were written.
    fn at(lines: &[String], line: &str) -> usize {
        lines.iter().position(|known| known == line).unwrap_or_else(|| panic!("no `{line}` in {lines:?}"))
    }

    #[test]
    fn what_waits_is_prepared_once_all_is_there_but_what_it_waits_for() {
        let waits = || Log { waiting: "w", slow: true, ..Log::default() };
        let lines = run("net w1>net w2>w1,net w4>w2 w3>w4,file file>w1", waits());
        assert!(at(&lines, "net done") < at(&lines, "w2 prepared"), "{lines:?}");
        assert!(at(&lines, "w2 prepared") < at(&lines, "w1 done"), "{lines:?}");
        assert!(at(&lines, "file done") < at(&lines, "w3 prepared"), "{lines:?}");
        assert!(at(&lines, "w3 prepared") < at(&lines, "w4 done"), "{lines:?}");
        // What has nothing to wait for is made at once, and nothing that was made is taken away.
        assert!(!lines.iter().any(|line| line == "w1 prepared" || line.ends_with("discarded")), "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.ends_with("done")).count(), 6, "{lines:?}");
    }

    #[test]
    fn what_was_prepared_for_nothing_is_taken_away() {
        let bad = |sticks| run("wbad w1>wbad w2>w1 w3", Log { waiting: "w", sticks, slow: true, ..Log::default() });
        let lines = bad("");
        assert!(at(&lines, "w2 prepared") < at(&lines, "wbad failed"), "{lines:?}");
        for (one, other) in [("w1 discarded", "w1 skipped"), ("w2 discarded", "w2 skipped")] {
            assert!(at(&lines, one) < at(&lines, other), "{lines:?}");
        }
        // What cannot be taken away is no skipped step: something of it is there.
        let lines = bad("w1");
        assert!(at(&lines, "w1 discarded") < at(&lines, "w1 failed"), "{lines:?}");
        assert!(at(&lines, "w2 discarded") < at(&lines, "w2 skipped"), "{lines:?}");
    }

    #[test]
    fn a_run_that_is_stopped_takes_away_what_it_prepared() {
        let (steps, log) = (steps("far1>far w1>wfar"), Log { waiting: "w", ..Log::default() });
        let steps: Vec<Step> = steps
            .into_iter()
            .map(|mut step| {
                step.needs = step.needs.iter().map(|need| need.on("far")).collect();
                step
            })
            .collect();
        let elsewhere = steps.iter().flat_map(|step| step.needs.clone()).collect();
        let board = Board::new(&steps, &elsewhere);
        std::thread::scope(|scope| {
            scope.spawn(|| board.run(&log));
            while !log.lines.lock().unwrap().iter().any(|line| line == "w1 prepared") {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            board.stop("interrupted");
        });
        let lines = log.lines.into_inner().unwrap();
        assert!(at(&lines, "w1 discarded") < at(&lines, "w1 not started"), "{lines:?}");
        assert!(!lines.iter().any(|line| line == "far1 discarded"), "{lines:?}");
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
