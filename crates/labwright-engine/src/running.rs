//! Looking into what runs, from the controller's side: every host at once, each over its one connection.
//! A host that does not answer, or goes away, is told of; the others go on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use labwright_plan::{
    ErrorKind, ExecAsk, Found, FoundAsk, Line, LogsAsk, Part, Provider, ProviderError, Running, Told, Typed,
};

use crate::agent::running::{LINES_A_FRAME, PATIENCE, PATIENCE_FOLLOWING};
use crate::fleet::{Answers, Target, everywhere, open};
use crate::link::Link;
use crate::merge::Merge;
use crate::protocol::{Keys, Reply, Request};

type Providers = &'static [&'static dyn Provider];

/// How often a host that went away while its logs were followed is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// How much may be on its way to a command that has not taken it yet, in bytes.
const WINDOW: usize = 256 << 10;

/// How the parts of one host fare.
#[derive(Debug)]
pub struct Fared {
    pub running: Vec<Running>,
    /// The host's clock, in seconds since 1970.
    pub clock: i64,
}

/// By host.
fn by_host(parts: &[Part]) -> BTreeMap<&str, Vec<Part>> {
    let mut by_host: BTreeMap<&str, Vec<Part>> = BTreeMap::new();
    for part in parts {
        by_host.entry(part.id.host()).or_default().push(part.clone());
    }
    by_host
}

/// Asks every target how its parts fare.
pub fn running(targets: &[Target], parts: &[Part], providers: Providers) -> Answers<Fared> {
    let by_host = by_host(parts);
    let answers = everywhere(targets, |target| {
        let mut link = open(target, providers)?;
        link.send(Request::Running { parts: by_host.get(target.host.as_str()).cloned().unwrap_or_default() })?;
        match link.receive()? {
            Reply::Running { running, clock } => Ok(Fared { running, clock }),
            Reply::Failed(error) => Err(error),
            _ => Err(unasked()),
        }
    });
    targets.iter().map(|target| target.host.clone()).zip(answers).collect()
}

/// Asks the part on every target the same, what only its product knows, all at once.
pub fn ask(
    targets: &[Target],
    parts: &[Part],
    ask: &serde_json::Value,
    providers: Providers,
) -> Answers<serde_json::Value> {
    let answers = everywhere(targets, |target| {
        let part = parts.iter().find(|part| part.id.host() == target.host).ok_or_else(unasked)?;
        let mut link = open(target, providers)?;
        link.send(Request::Ask { part: Box::new(part.clone()), ask: ask.clone() })?;
        match link.receive()? {
            Reply::Answered(answer) => Ok(answer),
            Reply::Failed(error) => Err(error),
            _ => Err(unasked()),
        }
    });
    targets.iter().map(|target| target.host.clone()).zip(answers).collect()
}

/// Asks a host what runs there beside what the lab has.
pub fn found(target: &Target, ask: &FoundAsk, providers: Providers) -> Result<Vec<Found>, ProviderError> {
    let mut link = open(target, providers)?;
    link.send(Request::Found { ask: ask.clone() })?;
    match link.receive()? {
        Reply::Found(found) => Ok(found),
        Reply::Failed(error) => Err(error),
        _ => Err(unasked()),
    }
}

fn unasked() -> ProviderError {
    ProviderError::bug("the agent answered something that was not asked")
}

/// What is heard while logs are read.
#[derive(Debug)]
pub enum Said {
    Line(Part, Line),
    /// This part has no log, or no more.
    NoLog(Part, ProviderError),
    /// A host did not answer, or went away.
    Away(String, ProviderError),
    /// A host that went away answers again.
    Back(String),
}

/// Ends the reading of logs.
#[derive(Clone, Default)]
pub struct StopLogs(Arc<Mutex<Option<Arc<Merge<Said>>>>>, Arc<AtomicBool>);

impl StopLogs {
    pub fn ask(&self) {
        self.1.store(true, Ordering::Release);
        if let Some(merge) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            merge.close();
        }
    }

    /// Whether anybody asked.
    pub fn is_asked(&self) -> bool {
        self.1.load(Ordering::Acquire)
    }
}

/// Reads the logs of all parts, and tells their lines in the order of their times. Returns when all have ended, which
/// those that are followed never do, or soon after `stop` was asked.
pub fn logs(
    targets: &[Target],
    parts: &[Part],
    ask: &LogsAsk,
    providers: Providers,
    stop: &StopLogs,
    tell: &mut dyn FnMut(Said),
) {
    let by_host = by_host(parts);
    // All are connected before the first line is told, so that a slow one does not come behind all others.
    let links = everywhere(targets, |target| open(target, providers));
    let patience = if ask.follow { PATIENCE_FOLLOWING } else { PATIENCE };
    let merge = Arc::new(Merge::new(targets.len(), patience));
    *stop.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(merge.clone());
    if stop.is_asked() {
        merge.close();
    }
    for (number, (target, link)) in targets.iter().zip(links).enumerate() {
        let source = Host {
            number,
            target: target.clone(),
            parts: by_host.get(target.host.as_str()).cloned().unwrap_or_default(),
            ask: ask.clone(),
            merge: merge.clone(),
            stop: stop.clone(),
        };
        // Not waited for: a host that hangs must not hold up the end.
        std::thread::spawn(move || source.read(link, providers));
    }
    loop {
        let next = merge.next(LINES_A_FRAME);
        if next.is_empty() {
            return;
        }
        next.into_iter().for_each(&mut *tell);
    }
}

/// One host whose logs are read.
struct Host {
    number: usize,
    target: Target,
    parts: Vec<Part>,
    ask: LogsAsk,
    merge: Arc<Merge<Said>>,
    stop: StopLogs,
}

impl Host {
    fn read(mut self, first: Result<Link, ProviderError>, providers: Providers) {
        let mut until = self.ask.since.unwrap_or_default();
        let mut link = match first {
            Ok(link) => link,
            Err(error) => {
                self.merge.push(self.number, until, Said::Away(self.target.host.clone(), error));
                return self.merge.end(self.number);
            }
        };
        while let Err(error) = self.stream(&mut link, &mut until) {
            drop(link);
            if self.stop.is_asked() || !self.merge.push(self.number, until, Said::Away(self.target.host.clone(), error))
            {
                break;
            }
            if !self.ask.follow {
                break;
            }
            let again = loop {
                std::thread::sleep(AGAIN);
                if self.stop.is_asked() {
                    break None;
                }
                if let Ok(link) = open(&self.target, providers) {
                    break Some(link);
                }
            };
            let Some(again) = again else { break };
            link = again;
            self.ask.since = Some(until);
            self.ask.tail = None;
            self.merge.push(self.number, until, Said::Back(self.target.host.clone()));
        }
        self.merge.end(self.number);
    }

    /// Passes lines on until there are no more; the error says why there are none.
    fn stream(&self, link: &mut Link, until: &mut i64) -> Result<(), ProviderError> {
        link.send(Request::Logs { parts: self.parts.clone(), ask: self.ask.clone() })?;
        loop {
            match link.receive()? {
                Reply::Lines(lines) => {
                    for (part, line) in lines {
                        let Some(part) = self.parts.get(part) else { return Err(unasked()) };
                        *until = (*until).max(line.at + 1);
                        if !self.merge.push(self.number, line.at, Said::Line(part.clone(), line)) {
                            return Ok(());
                        }
                    }
                }
                Reply::NoLog { part, error } => {
                    let Some(part) = self.parts.get(part) else { return Err(unasked()) };
                    self.merge.push(self.number, *until, Said::NoLog(part.clone(), error));
                }
                Reply::Finished => return Ok(()),
                Reply::Failed(error) => return Err(error),
                _ => return Err(unasked()),
            }
        }
    }
}

/// What is said to a command beside what is typed, however much of that it has not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A signal, by its number.
    Signal(i32),
    /// It ends: nobody is left who began it.
    HangUp,
}

/// Runs a command beside a part, and answers its exit code. `typed` may come from a thread that waits for ever. `begun` is set
/// before anything can run: until then whoever is told to end leaves nothing behind.
pub fn exec(
    target: &Target,
    part: &Part,
    ask: &ExecAsk,
    providers: Providers,
    (typed, words, begun): (mpsc::Receiver<Typed>, mpsc::Receiver<Word>, &AtomicBool),
    tell: &mut dyn FnMut(Told<'_>),
) -> Result<i64, ProviderError> {
    let mut link = open(target, providers)?;
    begun.store(true, Ordering::Release);
    link.send(Request::Exec { part: Box::new(part.clone()), ask: ask.clone() })?;
    let (speaker, mut listener) = link.into_halves();
    // Held to the end: what runs is heard although nothing more can be typed.
    let speaker = Arc::new(Mutex::new(speaker));
    let send = {
        let speaker = speaker.clone();
        move |request| speaker.lock().unwrap_or_else(PoisonError::into_inner).send(request)
    };
    let stop = send.clone();
    std::thread::spawn(move || {
        while let Ok(word) = words.recv() {
            // A link that is lost ends the command as well.
            drop(match word {
                Word::Signal(number) => stop(Request::Typed(Keys::Signal(number))),
                Word::HangUp => stop(Request::Stop),
            });
        }
    });
    let window = Arc::new((Mutex::new(0_usize), Condvar::new()));
    let taken = window.clone();
    // Not waited for: the command may end while somebody thinks about what to type.
    std::thread::spawn(move || {
        while let Ok(next) = typed.recv() {
            let keys = match next {
                Typed::End => Keys::End,
                Typed::Resized(size) => Keys::Resized(size),
                Typed::Signal(number) => Keys::Signal(number),
                Typed::Bytes(bytes) => {
                    let mut on_way = window.0.lock().unwrap_or_else(PoisonError::into_inner);
                    while *on_way >= WINDOW {
                        on_way = window.1.wait(on_way).unwrap_or_else(PoisonError::into_inner);
                    }
                    *on_way += bytes.len();
                    Keys::Bytes(BASE64.encode(bytes))
                }
            };
            if send(Request::Typed(keys)).is_err() {
                return;
            }
        }
    });
    loop {
        match listener.receive()? {
            Reply::Printed { err, bytes } => {
                let bytes = BASE64.decode(bytes).map_err(|_| unasked())?;
                tell(if err { Told::Stderr(&bytes) } else { Told::Stdout(&bytes) });
            }
            Reply::Taken { bytes } => {
                let mut on_way = taken.0.lock().unwrap_or_else(PoisonError::into_inner);
                *on_way = on_way.saturating_sub(bytes);
                taken.1.notify_all();
            }
            Reply::Exited { code } => return Ok(code),
            Reply::Failed(error) => return Err(error),
            _ => return Err(ProviderError::new(ErrorKind::Bug, unasked().message)),
        }
    }
}
