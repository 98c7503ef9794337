//! One run on one host: every step looked at again, written down, made true, and written down once more.
//! What order steps go in is the board's; what a step is, its provider's.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError, mpsc};

use labwright_plan::sealed::sealed;
use labwright_plan::{
    Action, ChangeKey, ErrorKind, Expect, Fingerprint, Mark, Progress, ProviderError, ResourceId, Secrets, Seen,
    Session, Spec, Step, Wanted,
};

use super::ledger::{Journal, Ledger};
use super::schedule::{Board, Crew};
use super::{ALIVE_EVERY, Agent, Heard, NO_KEY, guard, lease, secrets, state_error, unpacked};
use crate::protocol::{Event, Outcome, Reply, Request, Work};

impl Agent {
    /// The secrets that came with a run, and the key that recognises them.
    fn secrets_of(
        &self,
        dir: &Path,
        work: &Work,
        ledger: &Ledger,
        steps: &mut Cow<'_, [Step]>,
    ) -> Result<(ChangeKey, Secrets), ProviderError> {
        let holds = |spec: &Spec| !sealed(spec).is_empty();
        let Some(letter) = &work.letter else {
            let any =
                steps.iter().any(|step| holds(&step.spec)) || ledger.marks.values().any(|mark| holds(&mark.applied));
            let change_key = if any { self.keys.change_key()? } else { NO_KEY };
            return Ok((change_key, Secrets::default()));
        };
        let letter = unpacked(letter)?;
        let secrets =
            self.keys.receive(dir, (&work.lab, &work.host), &letter, &ledger.marks, steps.to_mut(), self.providers)?;
        Ok((self.keys.change_key()?, secrets))
    }

    pub fn apply(&self, work: &Work, hear: &mpsc::Sender<Heard>, heard: &mpsc::Receiver<Heard>) -> Reply {
        let dir = match self.lab_dir(&work.lab) {
            Ok(dir) => dir,
            Err(error) => return Reply::Failed(error),
        };
        let failed = |error: io::Error| Reply::Failed(state_error(&self.state, &error));
        let held = match lease::take(&dir, &work.run) {
            Ok(Ok(held)) => held,
            Ok(Err(lease)) => return Reply::Held(lease),
            Err(error) => return failed(error),
        };
        // Steps that hold no secret are the very ones that came.
        let mut steps = Cow::Borrowed(&*work.steps);
        let ready = self.ledger(&work.lab).and_then(|ledger| {
            let ledger = ledger.renamed(&work.host, &work.was);
            if !ledger.renamed.is_empty() {
                self.keys.take_over(&dir, (&work.lab, &work.host), &work.was)?;
            }
            let (change_key, secrets) = self.secrets_of(&dir, work, &ledger, &mut steps)?;
            as_made(&mut steps, &ledger.marks);
            let sessions = self.sessions(&work.lab, &ledger, change_key, secrets.clone())?;
            let journal =
                Journal::begin(&dir, ledger, &work.run, &steps).map_err(|error| state_error(&self.state, &error))?;
            let journal = Mutex::new(journal);
            let stale = BTreeSet::new();
            let mut hands = Hands { agent: self, work, sessions, journal, stale, secrets, window: Mutex::default() };
            hands.stale = hands.changed_before(&steps);
            Ok(hands)
        });
        let hands = match ready {
            Ok(hands) => hands,
            Err(error) => return Reply::Failed(error),
        };
        let board = Board::new(&steps, &work.elsewhere);
        let mut gone = false;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                board.run(&hands);
                drop(hear.send(Heard::WorkOver));
            });
            loop {
                // Long steps say nothing for a while: the other end is told that this one lives.
                let next = match heard.recv_timeout(ALIVE_EVERY) {
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        self.send(Reply::Alive);
                        continue;
                    }
                    next => next,
                };
                match next {
                    Ok(Heard::WorkOver) => break,
                    Ok(Heard::Request(Request::Elsewhere { id, done })) => board.elsewhere(&id, done),
                    Ok(Heard::Request(Request::Stop)) => board.stop("the run was stopped"),
                    Ok(Heard::Request(Request::Revert { ticket, because })) => {
                        // Whoever waits for the change sees what came of it.
                        guard::revert(&self.state, &ticket, &because);
                    }
                    Ok(Heard::Request(_)) => {}
                    Ok(Heard::Gone | Heard::Garbled(_)) | Err(_) => {
                        gone = true;
                        self.orphan();
                        board.stop("the connection to the run was lost");
                    }
                }
            }
        });
        if gone {
            drop(hear.send(Heard::Gone));
        }
        let Hands { sessions, journal, .. } = hands;
        let persisted = sessions.values().try_for_each(|session| session.persist());
        let ended = journal.into_inner().unwrap_or_else(PoisonError::into_inner).end();
        // What no step left in use goes, from what is kept for the next boot too.
        let forget = || {
            let ledger = self.ledger(&work.lab)?;
            self.keys.forget(&dir, (&work.lab, &work.host), &ledger.of(&work.host).marks, self.providers)?;
            self.keys.forget_names(&dir, &work.was, &ledger.marks)
        };
        let keeps = secrets::keeps(&dir, &work.host) || !work.was.is_empty();
        let forgotten = if keeps { forget() } else { Ok(()) };
        drop(held);
        match (persisted, ended) {
            (Err(error), _) => Reply::Failed(error),
            (_, Err(error)) => failed(error),
            _ => forgotten.map_or_else(Reply::Failed, |()| Reply::Finished),
        }
    }
}

/// A step that takes a thing away, or lets go of it, declares nothing. It goes on with what the thing was last made to be: so it was
/// looked at for the plan, and so it is found again, such as at the address of the server that has it.
fn as_made(steps: &mut Cow<'_, [Step]>, marks: &BTreeMap<ResourceId, Mark>) {
    let goes = |step: &Step| matches!(step.action, Action::Delete | Action::Release) && step.spec.is_empty();
    if !steps.iter().any(goes) {
        return;
    }
    for step in steps.to_mut().iter_mut().filter(|step| goes(step)) {
        if let Some(mark) = marks.get(&step.id) {
            step.spec.clone_from(&mark.applied);
        }
    }
}

/// What makes the steps of one run true.
pub struct Hands<'a> {
    pub agent: &'a Agent,
    pub work: &'a Work,
    sessions: BTreeMap<&'static str, Box<dyn Session>>,
    journal: Mutex<Journal>,
    /// Steps behind packages whose things had changed before any package was touched.
    stale: BTreeSet<ResourceId>,
    /// What came with the run: no word of it is told.
    secrets: Secrets,
    /// Held by the step that waits for its confirmation.
    pub window: Mutex<()>,
}

impl Hands<'_> {
    fn hide(&self, error: ProviderError) -> ProviderError {
        ProviderError { message: self.secrets.hide(&error.message), help: self.secrets.hide(&error.help), ..error }
    }

    fn journal(&self, write: impl FnOnce(&mut Journal) -> io::Result<()>) -> Result<(), ProviderError> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut journal).map_err(|error| state_error(&self.agent.state, &error))
    }

    /// Takes away what was prepared of a step, if anything was.
    fn withdraw(&self, session: &dyn Session, step: &Step) -> Result<(), ProviderError> {
        if !self.journal.lock().unwrap_or_else(PoisonError::into_inner).is_prepared(&step.id) {
            return Ok(());
        }
        session.discard(step)?;
        self.journal(|journal| journal.withdraw(&step.id))
    }

    /// Things behind packages are looked at before the first step: only this run's packages may change them after that.
    fn changed_before(&self, steps: &[Step]) -> BTreeSet<ResourceId> {
        let behind = |step: &&Step| matches!(step.expect, Expect::AfterStep { .. });
        let mut stale = BTreeSet::new();
        for (provider, session) in &self.sessions {
            let part: Vec<&Step> = steps.iter().filter(behind).filter(|step| step.id.provider() == *provider).collect();
            if part.is_empty() {
                continue;
            }
            let wanted: Vec<Wanted<'_>> = part.iter().map(|step| Wanted { id: &step.id, spec: &step.spec }).collect();
            let now = session.observe(&wanted);
            for step in part {
                let Expect::AfterStep { seen, .. } = &step.expect else { continue };
                let same = match now.get(&step.id) {
                    Some(Seen::Present(observed)) => Fingerprint::of(&observed.spec) == *seen,
                    Some(Seen::Absent) => Fingerprint::absent() == *seen,
                    Some(Seen::Unknown(_)) | None => false,
                };
                if !same {
                    stale.insert(step.id.clone());
                }
            }
        }
        stale
    }

    /// Looks again before anything is touched: what was reviewed is what is applied.
    fn still_as_planned(&self, session: &dyn Session, steps: &[&Step]) -> Vec<Result<(), ProviderError>> {
        let exact = |step: &&&Step| matches!(step.expect, Expect::Fingerprint(_));
        let wanted: Vec<Wanted<'_>> =
            steps.iter().filter(exact).map(|step| Wanted { id: &step.id, spec: &step.spec }).collect();
        let seen = if wanted.is_empty() { BTreeMap::new() } else { session.observe(&wanted) };
        let judge = |step: &&Step| {
            let changed = || {
                let message = format!("`{}` changed since the plan was made", step.id);
                Err(ProviderError::new(ErrorKind::Conflict, message).help("plan again, and look at what changed"))
            };
            let Expect::Fingerprint(expected) = &step.expect else {
                return if self.stale.contains(&step.id) { changed() } else { Ok(()) };
            };
            let now = match seen.get(&step.id) {
                Some(Seen::Present(observed)) => Fingerprint::of(&observed.spec),
                Some(Seen::Absent) => Fingerprint::absent(),
                Some(Seen::Unknown(error)) => return Err(error.clone()),
                None => return Err(ProviderError::bug(format!("`{}` was not looked at", step.id))),
            };
            if now == *expected {
                return Ok(());
            }
            changed()
        };
        steps.iter().map(judge).collect()
    }
}

impl Crew for Hands<'_> {
    fn batch(&self, step: &Step) -> Option<String> {
        let (provider, kind) = (step.id.provider(), step.id.kind());
        let changes = !matches!(step.action, Action::Adopt | Action::Release);
        let batches = changes && self.sessions.get(provider).is_some_and(|session| session.batches(kind));
        batches.then(|| format!("{provider}/{kind}/{}", step.action == Action::Delete))
    }

    fn waits(&self, step: &Step) -> bool {
        self.sessions.get(step.id.provider()).is_some_and(|session| session.waits(step.id.kind()))
    }

    fn prepares_before(&self, step: &Step, need: &ResourceId) -> bool {
        self.sessions.get(step.id.provider()).is_some_and(|session| session.prepares_before(step, need))
    }

    fn prepare(&self, step: &Step) {
        let Some(session) = self.sessions.get(step.id.provider()) else { return };
        let as_planned = self.still_as_planned(session.as_ref(), &[step]).iter().all(Result::is_ok);
        if as_planned && self.journal(|journal| journal.prepare(step)).is_ok() {
            // Its turn comes, and what is in the way is met and told then.
            session.prepare(step).unwrap_or_default();
        }
    }

    fn discard(&self, step: &Step, outcome: Outcome) -> Outcome {
        let Some(session) = self.sessions.get(step.id.provider()) else { return outcome };
        match self.withdraw(session.as_ref(), step) {
            Ok(()) => outcome,
            Err(error) => Outcome::Failed(self.hide(ProviderError {
                message: format!("it was prepared, is not made, and could not be taken away again: {}", error.message),
                ..error
            })),
        }
    }

    fn make(&self, steps: &[&Step]) -> Vec<Outcome> {
        for step in steps {
            self.agent.send(Reply::Event(Event::Started { id: step.id.clone() }));
        }
        let Some(session) = steps.first().and_then(|step| self.sessions.get(step.id.provider())) else {
            let error = ProviderError::bug("a step for a provider that this agent does not have");
            return steps.iter().map(|_| Outcome::Failed(error.clone())).collect();
        };
        let mut results = self.still_as_planned(session.as_ref(), steps);
        for (step, result) in steps.iter().zip(&mut results) {
            if result.is_ok() && !matches!(step.action, Action::Adopt | Action::Release) {
                *result = self.journal(|journal| journal.start(step));
            }
        }
        // What a run that was cut off prepared of it is the lab's, and would be nobody's.
        for (step, result) in steps.iter().zip(&mut results).filter(|(step, _)| step.action == Action::Release) {
            if result.is_ok() {
                *result = session.discard(step);
            }
        }
        // What is taken as it is may have been started by a run that was cut off, and not be up yet.
        for (step, result) in steps.iter().zip(&mut results).filter(|(step, _)| step.action == Action::Adopt) {
            if result.is_ok() {
                *result = session.settle(step, self);
            }
        }
        // What is not as it was planned is left alone, and what was prepared for it goes.
        for (step, result) in steps.iter().zip(&mut results) {
            if let Err(error) = result
                && let Err(other) = self.withdraw(session.as_ref(), step)
            {
                error.message += &format!("; and what was prepared could not be taken away: {}", other.message);
            }
        }
        let to_do: Vec<(usize, &Step)> = steps
            .iter()
            .enumerate()
            .filter(|(i, step)| results[*i].is_ok() && !matches!(step.action, Action::Adopt | Action::Release))
            .map(|(i, step)| (i, *step))
            .collect();
        if to_do.len() > 1 {
            let batch: Vec<&Step> = to_do.iter().map(|(_, step)| *step).collect();
            let mut made = session.apply_batch(&batch, self).into_iter();
            for (i, step) in &to_do {
                let missing = || Err(ProviderError::bug(format!("nobody said how `{}` ended", step.id)));
                results[*i] = made.next().unwrap_or_else(missing);
            }
        } else {
            for (i, step) in to_do {
                results[i] = self.make_one(session.as_ref(), step);
            }
        }
        let outcome = |(step, result): (&&Step, Result<(), ProviderError>)| match result
            .and_then(|()| self.journal(|journal| journal.done(step)))
        {
            Ok(()) => Outcome::Done,
            Err(error) if error.kind == ErrorKind::Reverted => Outcome::Reverted(self.hide(error)),
            Err(error) => Outcome::Failed(self.hide(error)),
        };
        steps.iter().zip(results).map(outcome).collect()
    }

    fn ended(&self, step: &Step, outcome: &Outcome) {
        if *outcome != Outcome::Done {
            // The journal is for reading only here: a disk too full for this line has failed the step already.
            drop(self.journal(|journal| journal.ended(&step.id, outcome)));
        }
        self.agent.send(Reply::Event(Event::Ended { id: step.id.clone(), outcome: outcome.clone() }));
    }
}

impl Progress for Hands<'_> {
    fn say(&self, id: &ResourceId, what: &str) {
        self.agent.send(Reply::Event(Event::Progress { id: id.clone(), text: self.secrets.hide(what) }));
    }
}

#[cfg(test)]
mod tests {
    use labwright_plan::{Consequence, Origin, Value};

    use super::*;

    #[test]
    fn what_goes_is_found_as_it_was_made() {
        let at = |port: i64| Spec::from([("port".to_string(), Value::Int(port))]);
        let id = |name: &str| ResourceId::new("h", "caddy", "route", name);
        let step = |name: &str, action: Action, spec: Spec| Step {
            id: id(name),
            action,
            consequence: Consequence::None,
            because: String::new(),
            spec,
            changes: Vec::new(),
            needs: BTreeSet::new(),
            after: BTreeSet::new(),
            expect: Expect::Fingerprint(Fingerprint::absent()),
        };
        let mark = |applied: Spec| Mark { origin: Origin::Created, applied, after: BTreeSet::new(), in_flight: false };
        let marks = ["gone", "left", "new"].map(|name| (id(name), mark(at(80)))).into();
        let steps = [
            step("gone", Action::Delete, Spec::new()),
            step("left", Action::Release, Spec::new()),
            step("new", Action::Update, at(443)),
            step("never", Action::Delete, Spec::new()),
        ];
        let mut made = Cow::Borrowed(&steps[..]);
        as_made(&mut made, &marks);
        let specs: Vec<&Spec> = made.iter().map(|step| &step.spec).collect();
        assert_eq!(specs, [&at(80), &at(80), &at(443), &Spec::new()]);
        // Nothing is copied for a run that takes nothing away.
        let mut made = Cow::Borrowed(&steps[2..3]);
        as_made(&mut made, &marks);
        assert!(matches!(made, Cow::Borrowed(_)));
    }
}
