//! The agent: the end of a link that stands next to what it changes, on a host or in this process.
//! Does what it is told, step by step, and writes it down first; it never plans.

mod facts;
pub mod guard;
mod guarded;
pub mod lease;
pub mod ledger;
pub mod running;
mod schedule;
pub mod secrets;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use labwright_plan::sealed::sealed;
use labwright_plan::{
    Action, ChangeKey, Context, ErrorKind, Expect, Facts, Fingerprint, Hidden, HostSeen, Kind, Mark, Observed,
    Progress, Provider, ProviderError, ResourceId, Secrets, Seen, Session, Spec, Step, Value, Via, Wanted, kind_of,
};

pub use facts::{state_dir, user_name};

use crate::frame;
use crate::protocol::{Event, GREETING, HostKey, Outcome, Reply, Request, Verdict, Want, Work};
use ledger::{Journal, Ledger};
use schedule::{Board, Crew};
use secrets::Keys;

/// How often a busy agent says that it lives.
const ALIVE_EVERY: Duration = Duration::from_secs(60);

/// How long a run may take to end once its change was taken back.
const LET_GO_LIMIT: Duration = Duration::from_secs(20);

type Providers = &'static [&'static dyn Provider];
type Sessions = BTreeMap<&'static str, Box<dyn Session>>;

/// Where nothing holds a secret, nothing is hashed.
const NO_KEY: ChangeKey = [0; 32];

/// What an agent hears: from the other end of its link, or from its own work.
pub enum Heard {
    Request(Request),
    /// The other end is gone.
    Gone,
    Garbled(io::Error),
    WorkOver,
}

/// How an agent answers. Nobody listening is not its concern: what it began goes on to its end.
type Tell = Box<dyn Fn(Reply) + Send + Sync>;

/// Serves a link of two streams until its other end is gone. Returns after everything that was begun has ended.
/// `via`: the connection as SSH tells it, `CLIENT PORT SERVER PORT`; empty where SSH did not say.
pub fn serve(
    mut reader: impl Read + Send + 'static,
    mut writer: impl Write + Send + 'static,
    providers: Providers,
    via: &str,
) -> io::Result<()> {
    // What is made here, by packages too, must not depend on the login shell that happened to start us.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    writeln!(writer, "{GREETING}")?;
    writer.flush()?;
    let (hear, heard) = mpsc::channel();
    let listener = hear.clone();
    std::thread::spawn(move || {
        loop {
            let (next, last) = match frame::read::<Request>(&mut reader) {
                Ok(Some(request)) => (Heard::Request(request), false),
                Ok(None) => (Heard::Gone, true),
                Err(error) => (Heard::Garbled(error), true),
            };
            if listener.send(next).is_err() || last {
                return;
            }
        }
    });
    let out = Mutex::new(writer);
    let tell = move |reply: Reply| {
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        // A reply that cannot be sent has nobody to read it.
        drop(frame::write(&mut *out, &reply));
    };
    attend(hear, &heard, Box::new(tell), providers, Some(via))
}

/// The agent itself: hears requests, does them, tells. The same for a host and for this process, which comes via nothing.
pub fn attend(
    hear: mpsc::Sender<Heard>,
    heard: &mpsc::Receiver<Heard>,
    tell: Tell,
    providers: Providers,
    via: Option<&str>,
) -> io::Result<()> {
    let (facts, state) = (facts::gather(), state_dir());
    let keys = Keys::new(&state, &facts);
    let agent = Agent { tell, providers, facts, state, keys, via: via.map(str::to_string), waits: Mutex::default() };
    loop {
        match heard.recv() {
            Ok(Heard::Request(Request::Observe { lab, host, was, want, letter })) => {
                let seen = agent.observe((&lab, &host, &was), &want, letter.as_deref());
                agent.send(seen.map_or_else(Reply::Failed, |(seen, key)| Reply::Observed {
                    seen: Box::new(seen),
                    key: key.map(Box::new),
                }));
            }
            Ok(Heard::Request(Request::Apply(mut work))) => {
                // They become parts of file names, and must not lead anywhere else.
                work.was.retain(|name| !name.contains('/'));
                let reply = agent.apply(&work, &hear, heard);
                agent.send(reply);
            }
            Ok(Heard::Request(Request::Running { parts })) => {
                agent.send(Reply::Running { running: agent.running(&parts), clock: agent.facts.clock });
            }
            Ok(Heard::Request(Request::Found { ask })) => {
                agent.send(agent.found(&ask).map_or_else(Reply::Failed, Reply::Found));
            }
            Ok(Heard::Request(Request::Ask { part, ask })) => {
                agent.send(agent.ask(&part, &ask).map_or_else(Reply::Failed, Reply::Answered));
            }
            Ok(Heard::Request(Request::Logs { parts, ask })) => {
                let reply = agent.logs(&parts, &ask, &hear, heard);
                agent.send(reply);
            }
            Ok(Heard::Request(Request::Exec { part, ask })) => {
                let reply = agent.exec(&part, &ask, &hear, heard);
                agent.send(reply);
            }
            Ok(Heard::Request(Request::Lease { lab })) => {
                let look = |dir: &Path| lease::holder(dir).map(|lease| Reply::Lease { lease });
                agent.send(agent.lease(&lab, look));
            }
            Ok(Heard::Request(Request::Break { lab })) => {
                let end = |dir: &Path| lease::break_lease(dir).map(|broken| Reply::Broken(Box::new(broken)));
                agent.send(agent.lease(&lab, end));
            }
            Ok(Heard::Request(Request::Confirm { ticket })) => {
                let confirmed = guard::confirm(&agent.state, &ticket);
                agent.send(match confirmed {
                    Ok(Ok(verdict)) => Reply::Verdict(verdict),
                    Ok(Err(why)) => Reply::Failed(ProviderError::rejected(why)),
                    Err(error) => Reply::Failed(state_error(&agent.state, &error)),
                });
            }
            Ok(Heard::Request(Request::Verdict { ticket })) => {
                agent.send(Reply::Verdict(guard::verdict(&agent.state, &ticket)));
            }
            Ok(Heard::Request(Request::Settle)) => {
                let settled = guard::settle(&agent.state);
                agent.let_go(settled.iter().flatten().map(|(pending, _)| pending.ticket.as_str()));
                agent.send(settled.map_or_else(
                    |error| Reply::Failed(state_error(&agent.state, &error)),
                    |settled| Reply::Settled { settled },
                ));
            }
            // These speak of work that is over.
            Ok(
                Heard::Request(Request::Elsewhere { .. } | Request::Typed(_) | Request::Stop | Request::Revert { .. })
                | Heard::WorkOver,
            ) => {}
            Ok(Heard::Garbled(error)) => return Err(error),
            Ok(Heard::Gone) | Err(mpsc::RecvError) => return Ok(()),
        }
    }
}

/// Puts back what a reboot took, for every lab of this host. Returns how many things.
pub fn unseal(providers: Providers) -> Result<usize, ProviderError> {
    let (facts, state) = (facts::gather(), state_dir());
    let keys = Keys::new(&state, &facts);
    let agent = Agent { tell: Box::new(|_| ()), providers, facts, state, keys, via: None, waits: Mutex::default() };
    let labs = match std::fs::read_dir(agent.state.join("labs")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        labs => labs.map_err(|error| state_error(&agent.state, &error))?,
    };
    let mut restored = 0;
    for lab in labs.flatten() {
        let Ok(lab) = lab.file_name().into_string() else { continue };
        let ledger = agent.ledger(&lab)?;
        // Secrets are sealed for a host by name; a machine that had two names has two letters.
        let hosts: BTreeSet<&str> = ledger.marks.keys().map(ResourceId::host).collect();
        for host in hosts {
            let dir = agent.lab_dir(&lab)?;
            let secrets = agent.keys.kept(&dir, &lab, host)?;
            if secrets.is_empty() {
                continue;
            }
            let (before, change_key) = (agent.keys.kept_before(&dir, &lab, host)?, agent.keys.change_key()?);
            // A run that was cut off may have brought other secrets than those that its things are made of yet.
            let older = |mark: &Mark| {
                !before.is_empty()
                    && !secrets::fits(&mark.applied, &secrets, &change_key)
                    && secrets::fits(&mark.applied, &before, &change_key)
            };
            for (is_older, secrets) in [(false, &secrets), (true, &before)] {
                let mut part = ledger.of(host);
                part.marks.retain(|_, mark| older(mark) == is_older);
                for session in agent.sessions(&lab, &part, change_key, secrets.clone())?.values() {
                    restored += session.restore()?;
                }
            }
        }
    }
    Ok(restored)
}

struct Agent {
    tell: Tell,
    providers: Providers,
    facts: Facts,
    state: PathBuf,
    keys: Keys,
    /// The connection it was reached by; `None` in the process of whoever asks.
    via: Option<String>,
    /// The change that waits for its confirmation, until nobody is left to confirm it.
    waits: Mutex<Option<Arc<guard::Armed>>>,
}

impl Agent {
    fn send(&self, reply: Reply) {
        (self.tell)(reply);
    }

    /// The port of the SSH server that this connection came in by.
    fn port(&self) -> Option<u16> {
        Via::parse(self.via.as_deref()?).port
    }

    /// Waits for what becomes of a change. Once the run's connection is gone it is seen that nobody else waits.
    fn wait(&self, armed: guard::Armed) -> Verdict {
        let armed = Arc::new(armed);
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = Some(armed.clone());
        let verdict = armed.wait(&self.state);
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = None;
        verdict
    }

    /// Waits until the runs whose changes were taken back have seen it and let go of their leases.
    fn let_go<'a>(&self, tickets: impl Iterator<Item = &'a str>) {
        let labs = std::fs::read_dir(self.state.join("labs")).into_iter().flatten().flatten();
        let labs: Vec<PathBuf> = labs.map(|lab| lab.path()).collect();
        let since = Instant::now();
        for ticket in tickets {
            // A ticket is named after its run.
            let holds = |lab: &PathBuf| {
                lease::holder(lab).ok().flatten().is_some_and(|lease| ticket.starts_with(lease.run.id.as_str()))
            };
            while since.elapsed() < LET_GO_LIMIT && labs.iter().any(holds) {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// The other end of the link is gone: what waits for a confirmation may be taken back by whoever comes next.
    fn orphan(&self) {
        if let Some(armed) = &*self.waits.lock().unwrap_or_else(PoisonError::into_inner) {
            armed.orphan();
        }
    }

    /// The lab's own folder. Its name comes over the wire, and must not lead anywhere else.
    fn lab_dir(&self, lab: &str) -> Result<PathBuf, ProviderError> {
        let plain = lab.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !lab.is_empty();
        match plain {
            true => Ok(self.state.join("labs").join(lab)),
            false => Err(ProviderError::rejected(format!("`{lab}` cannot be the name of a lab"))
                .help("letters, digits and hyphens")),
        }
    }

    fn lease(&self, lab: &str, ask: impl FnOnce(&Path) -> io::Result<Reply>) -> Reply {
        let asked = self.lab_dir(lab).and_then(|dir| ask(&dir).map_err(|error| state_error(&self.state, &error)));
        asked.unwrap_or_else(Reply::Failed)
    }

    fn ledger(&self, lab: &str) -> Result<Ledger, ProviderError> {
        let dir = self.lab_dir(lab)?;
        let mut ledger = ledger::load(&dir).map_err(|error| state_error(&self.state, &error))?;
        // A run that is going on has not been cut off.
        if ledger.interrupted.is_some() && lease::holder(&dir).is_ok_and(|holder| holder.is_some()) {
            ledger.interrupted = None;
        }
        Ok(ledger)
    }

    fn sessions(
        &self,
        lab: &str,
        ledger: &Ledger,
        change_key: ChangeKey,
        secrets: Secrets,
    ) -> Result<Sessions, ProviderError> {
        let applied: BTreeMap<_, _> =
            ledger.marks.iter().map(|(id, mark)| (id.clone(), mark.applied.clone())).collect();
        let context = Context {
            facts: self.facts.clone(),
            state_dir: self.state.clone(),
            applied: Arc::new(applied),
            secrets_dir: secrets::folder(&self.facts).join("secrets").join(lab),
            change_key: Hidden(change_key),
            secrets,
            via: self.via.as_deref().map(Via::parse).unwrap_or_default(),
        };
        self.providers.iter().map(|provider| Ok((provider.name(), provider.connect(&context)?))).collect()
    }

    fn observe(
        &self,
        (lab, host, was): (&str, &str, &[String]),
        want: &[Want],
        letter: Option<&str>,
    ) -> Result<(HostSeen, Option<HostKey>), ProviderError> {
        let ledger = self.ledger(lab)?.renamed(host, was);
        let holds = |spec: &Spec| !sealed(spec).is_empty();
        let any = want.iter().any(|want| holds(&want.spec)) || ledger.marks.values().any(|mark| holds(&mark.applied));
        let key = any.then(|| self.keys.tell()).transpose()?;
        let change_key = key.as_ref().map_or(NO_KEY, |key| key.change_key);
        let secrets = match letter {
            Some(letter) => self.keys.open((lab, host), &unpacked(letter)?)?,
            None => Secrets::default(),
        };
        let sessions = self.sessions(lab, &ledger, change_key, secrets)?;
        let mut wanted: BTreeMap<&ResourceId, &Spec> =
            ledger.marks.iter().map(|(id, mark)| (id, &mark.applied)).collect();
        wanted.extend(want.iter().map(|want| (&want.id, &want.spec)));
        let mut seen = BTreeMap::new();
        for (provider, session) in &sessions {
            let part: Vec<Wanted<'_>> = wanted
                .iter()
                .filter(|(id, _)| id.provider() == *provider)
                .map(|(id, spec)| Wanted { id, spec })
                .collect();
            if !part.is_empty() {
                seen.extend(session.observe(&part));
            }
        }
        for (id, seen) in &mut seen {
            if let (Seen::Present(observed), Some(kind), Some(spec)) =
                (seen, kind_of(self.providers, id), wanted.get(id))
            {
                leave_equal_content(kind, spec, observed);
            }
        }
        let pending = guard::pending(&self.state).map_err(|error| state_error(&self.state, &error))?;
        let Ledger { marks, renamed, interrupted, .. } = ledger;
        let seen = HostSeen { facts: self.facts.clone(), marks, seen, renamed, interrupted, pending };
        Ok((seen, key))
    }

    /// The secrets that came with a run, and the key that recognises them.
    fn secrets(
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

    fn apply(&self, work: &Work, hear: &mpsc::Sender<Heard>, heard: &mpsc::Receiver<Heard>) -> Reply {
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
            let (change_key, secrets) = self.secrets(&dir, work, &ledger, &mut steps)?;
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
        let forgotten = self.ledger(&work.lab).and_then(|ledger| {
            self.keys.forget(&dir, (&work.lab, &work.host), &ledger.of(&work.host).marks, self.providers)?;
            self.keys.forget_names(&dir, &work.was, &ledger.marks)
        });
        drop(held);
        match (persisted, ended) {
            (Err(error), _) => Reply::Failed(error),
            (_, Err(error)) => failed(error),
            _ => forgotten.map_or_else(Reply::Failed, |()| Reply::Finished),
        }
    }
}

/// What makes the steps of one run true.
struct Hands<'a> {
    agent: &'a Agent,
    work: &'a Work,
    sessions: BTreeMap<&'static str, Box<dyn Session>>,
    journal: Mutex<Journal>,
    /// Steps behind packages whose things had changed before any package was touched.
    stale: BTreeSet<ResourceId>,
    /// What came with the run: no word of it is told.
    secrets: Secrets,
    /// Held by the step that waits for its confirmation.
    window: Mutex<()>,
}

impl Hands<'_> {
    fn hide(&self, error: ProviderError) -> ProviderError {
        ProviderError { message: self.secrets.hide(&error.message), help: self.secrets.hide(&error.help), ..error }
    }

    fn journal(&self, write: impl FnOnce(&mut Journal) -> io::Result<()>) -> Result<(), ProviderError> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut journal).map_err(|error| state_error(&self.agent.state, &error))
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

/// Content that is as wanted need not travel.
fn leave_equal_content(kind: &Kind, wanted: &Spec, observed: &mut Observed) {
    for field in kind.fields.iter().filter(|field| field.content) {
        if let (Some(wanted), Some(seen)) = (wanted.get(field.name), observed.spec.get_mut(field.name))
            && wanted.same(seen)
        {
            *seen = Value::Same;
        }
    }
}

fn unpacked(letter: &str) -> Result<Vec<u8>, ProviderError> {
    BASE64.decode(letter).map_err(|_| ProviderError::bug("the sealed secrets came garbled"))
}

fn state_error(state: &Path, error: &io::Error) -> ProviderError {
    let message = format!("cannot use `{}`, where labwright keeps its own records: {error}", state.display());
    let help = match error.kind() {
        io::ErrorKind::StorageFull => "make room there; nothing is changed without a record of it",
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only: look at `dmesg` for disk errors",
        io::ErrorKind::PermissionDenied => "run as root, or set LABWRIGHT_STATE_DIR to a folder that you may write to",
        io::ErrorKind::InvalidData => "move that file away to start over; what it marked then has to be adopted again",
        _ => "nothing is changed without a record of it",
    };
    ProviderError::rejected(message).help(help)
}
