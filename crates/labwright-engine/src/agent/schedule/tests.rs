//! Orders of steps: what comes first, what goes together, and what a stop leaves.
use std::sync::atomic::{AtomicUsize, Ordering};

use labwright_plan::{Action, Consequence, ErrorKind, Expect, Fingerprint, ProviderError, Spec};

use super::*;

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
