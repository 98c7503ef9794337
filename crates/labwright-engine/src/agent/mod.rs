//! The agent: the end of a link that stands next to what it changes, on a host or in this process.
//! Does what it is told, step by step, and writes it down first; it never plans.

mod applying;
mod facts;
pub mod guard;
mod guarded;
pub mod lease;
pub mod ledger;
pub mod running;
mod schedule;
pub mod secrets;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use labwright_plan::sealed::sealed;
use labwright_plan::{
    ChangeKey, Context, Facts, Hidden, HostSeen, Kind, Mark, Observed, Provider, ProviderError, ResourceId, Secrets,
    Seen, Session, Spec, Value, Via, Wanted, kind_of,
};

pub use facts::{state_dir, user_name};

use crate::frame;
use crate::protocol::{GREETING, HostKey, Reply, Request, Verdict, Want};
use ledger::Ledger;
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
    for lab in labs {
        let lab = lab.map_err(|error| state_error(&agent.state, &error))?;
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
        let (mut seen, mut as_applied) = (BTreeMap::new(), BTreeMap::new());
        for (provider, session) in &sessions {
            let part: Vec<Wanted<'_>> = wanted
                .iter()
                .filter(|(id, _)| id.provider() == *provider)
                .map(|(id, spec)| Wanted { id, spec })
                .collect();
            if part.is_empty() {
                continue;
            }
            let now = session.observe(&part);
            // What reads otherwise than it was made may do so because it is wanted otherwise now.
            let is_unclear = |wanted: &&Wanted<'_>| {
                let Some(mark) = ledger.marks.get(wanted.id).filter(|mark| !mark.in_flight) else { return false };
                let Some(Seen::Present(observed)) = now.get(wanted.id) else { return false };
                let as_before = wanted.spec.len() == mark.applied.len() && covers(None, wanted.spec, &mark.applied);
                let kind = kind_of(self.providers, wanted.id);
                !as_before && !covers(kind, &observed.spec, &mark.applied)
            };
            let applied = |id: &ResourceId| ledger.marks.get(id).map(|mark| &mark.applied);
            let unclear = part.iter().filter(is_unclear);
            let unclear: Vec<Wanted<'_>> =
                unclear.filter_map(|wanted| Some(Wanted { id: wanted.id, spec: applied(wanted.id)? })).collect();
            if !unclear.is_empty() {
                as_applied.extend(session.observe(&unclear).into_iter().filter_map(|(id, seen)| match seen {
                    Seen::Present(observed) => Some((id, ledger::digests(&observed.spec))),
                    Seen::Absent | Seen::Unknown(_) => None,
                }));
            }
            seen.extend(now);
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
        let seen = HostSeen { facts: self.facts.clone(), marks, seen, as_applied, renamed, interrupted, pending };
        Ok((seen, key))
    }
}

/// Whether every field of what was applied is there, and the same; of a kind, those that are compared.
fn covers(kind: Option<&Kind>, spec: &Spec, applied: &Spec) -> bool {
    let compared = |name: &str| {
        let field = kind.and_then(|kind| kind.field(name));
        field.is_none_or(|field| field.on_change.is_compared())
    };
    let mut fields = applied.iter().filter(|(name, _)| compared(name));
    fields.all(|(name, value)| spec.get(name).is_some_and(|other| value.same(other)))
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
        io::ErrorKind::InvalidData => {
            "nothing is changed while it cannot be read; moved away, it is as if it had never been: what it marked then has to be \
             adopted again"
        }
        _ => "nothing is changed without a record of it",
    };
    ProviderError::rejected(message).help(help)
}
