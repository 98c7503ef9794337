//! The agent's part of looking into what runs: how it fares, what it says, a command beside it.
//! Takes no lease and writes nothing down: none of it is a change of what the lab declares.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use labwright_plan::{
    ExecAsk, Found, FoundAsk, Line, LogsAsk, Part, ProviderError, Running, Runtime, State, Told, Typed,
};

use super::{ALIVE_EVERY, Agent, Heard};
use crate::merge::Merge;
use crate::protocol::{Keys, Reply, Request};

/// How long one part may hold up the lines of the others: while all are read from their beginning, and while they come.
pub const PATIENCE: Duration = Duration::from_secs(10);
pub const PATIENCE_FOLLOWING: Duration = Duration::from_millis(200);
/// How many lines go into one frame.
pub const LINES_A_FRAME: usize = 256;

impl Agent {
    fn runtime(&self, part: &Part) -> Result<Box<dyn Runtime>, ProviderError> {
        let provider = self.providers.iter().find(|provider| provider.name() == part.id.provider());
        provider
            .and_then(|provider| provider.runtime())
            .ok_or_else(|| ProviderError::bug(format!("nothing that this agent knows runs `{}`", part.id)))
    }

    /// How everything fares.
    pub(super) fn running(&self, parts: &[Part]) -> Vec<Running> {
        let providers: BTreeSet<&str> = parts.iter().map(|part| part.id.provider()).collect();
        let of = |provider: &str| {
            let own: Vec<Part> = parts.iter().filter(|part| part.id.provider() == provider).cloned().collect();
            let runtime = own.first().map(|part| self.runtime(part))?;
            Some(match runtime {
                Ok(runtime) => runtime.running(&own),
                Err(error) => own
                    .iter()
                    .map(|part| Running { says: Some(error.message.clone()), ..Running::of(part, State::Unknown) })
                    .collect(),
            })
        };
        providers.into_iter().filter_map(of).flatten().collect()
    }

    /// What runs here beside what the lab has.
    pub(super) fn found(&self, ask: &FoundAsk) -> Result<Vec<Found>, ProviderError> {
        let mut all = Vec::new();
        for runtime in self.providers.iter().filter_map(|provider| provider.runtime()) {
            all.extend(runtime.found(ask)?);
        }
        Ok(all)
    }

    /// What only a part's product knows.
    pub(super) fn ask(&self, part: &Part, ask: &serde_json::Value) -> Result<serde_json::Value, ProviderError> {
        self.runtime(part)?.ask(part, ask)
    }

    /// Tells logs until they end, or until nobody wants more.
    pub(super) fn logs(
        &self,
        parts: &[Part],
        ask: &LogsAsk,
        hear: &mpsc::Sender<Heard>,
        heard: &mpsc::Receiver<Heard>,
    ) -> Reply {
        let stop = AtomicBool::new(false);
        let merge: Merge<(usize, Line)> =
            Merge::new(parts.len(), if ask.follow { PATIENCE_FOLLOWING } else { PATIENCE });
        let faults: Mutex<BTreeMap<usize, ProviderError>> = Mutex::default();
        let mut gone = false;
        std::thread::scope(|scope| {
            for (number, part) in parts.iter().enumerate() {
                let (merge, stop, faults) = (&merge, &stop, &faults);
                scope.spawn(move || {
                    let mut tell = |line: Line| {
                        if !merge.push(number, line.at, (number, line)) {
                            stop.store(true, Ordering::Release);
                        }
                    };
                    let told = self.runtime(part).and_then(|runtime| runtime.logs(part, ask, stop, &mut tell));
                    if let Err(error) = told {
                        faults.lock().unwrap_or_else(PoisonError::into_inner).insert(number, error);
                    }
                    merge.end(number);
                });
            }
            scope.spawn(|| {
                let mut told = BTreeSet::new();
                let mut tell_faults = || {
                    for (part, error) in faults.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                        if told.insert(*part) {
                            self.send(Reply::NoLog { part: *part, error: error.clone() });
                        }
                    }
                };
                loop {
                    let lines = merge.next(LINES_A_FRAME);
                    tell_faults();
                    if lines.is_empty() {
                        break;
                    }
                    self.send(Reply::Lines(lines));
                }
                drop(hear.send(Heard::WorkOver));
            });
            loop {
                match heard.recv_timeout(ALIVE_EVERY) {
                    Err(mpsc::RecvTimeoutError::Timeout) => self.send(Reply::Alive),
                    Ok(Heard::WorkOver) => break,
                    Ok(Heard::Request(Request::Stop)) => {
                        stop.store(true, Ordering::Release);
                        merge.close();
                    }
                    Ok(Heard::Request(_)) => {}
                    Ok(Heard::Gone | Heard::Garbled(_)) | Err(_) => {
                        gone = true;
                        stop.store(true, Ordering::Release);
                        merge.close();
                        break;
                    }
                }
            }
        });
        if gone {
            drop(hear.send(Heard::Gone));
        }
        Reply::Finished
    }

    /// Runs a command, and passes on what is typed and told.
    pub(super) fn exec(
        &self,
        part: &Part,
        ask: &ExecAsk,
        hear: &mpsc::Sender<Heard>,
        heard: &mpsc::Receiver<Heard>,
    ) -> Reply {
        let (type_in, typed) = mpsc::channel();
        let mut type_in = Some(type_in);
        let mut gone = false;
        // While somebody is slow to read, what waits for them is sign of life enough; more of it would only wait as well, and
        // the word that ends the command behind it.
        let telling = AtomicBool::new(false);
        let ended = std::thread::scope(|scope| {
            let working = scope.spawn(|| {
                let mut tell = |told: Told<'_>| {
                    telling.store(true, Ordering::Release);
                    self.send(printed(&told));
                    telling.store(false, Ordering::Release);
                };
                let ended = self.runtime(part).and_then(|runtime| runtime.exec(part, ask, typed, &mut tell));
                drop(hear.send(Heard::WorkOver));
                ended
            });
            loop {
                match heard.recv_timeout(ALIVE_EVERY) {
                    Err(mpsc::RecvTimeoutError::Timeout) if telling.load(Ordering::Acquire) => {}
                    Err(mpsc::RecvTimeoutError::Timeout) => self.send(Reply::Alive),
                    Ok(Heard::WorkOver) => break,
                    Ok(Heard::Request(Request::Typed(keys))) => {
                        // Nobody reads any more when it has just ended.
                        drop(type_in.as_ref().map(|type_in| type_in.send(keys.typed())));
                    }
                    Ok(Heard::Request(Request::Stop)) => type_in = None,
                    Ok(Heard::Request(_)) => {}
                    Ok(Heard::Gone | Heard::Garbled(_)) | Err(_) => {
                        gone = true;
                        type_in = None;
                    }
                }
            }
            working.join()
        });
        if gone {
            drop(hear.send(Heard::Gone));
        }
        match ended {
            Ok(Ok(code)) => Reply::Exited { code },
            Ok(Err(error)) => Reply::Failed(error),
            Err(_) => Reply::Failed(ProviderError::bug("the agent panicked over a command")),
        }
    }
}

fn printed(told: &Told<'_>) -> Reply {
    match told {
        Told::Stdout(bytes) => Reply::Printed { err: false, bytes: BASE64.encode(bytes) },
        Told::Stderr(bytes) => Reply::Printed { err: true, bytes: BASE64.encode(bytes) },
        Told::Taken(bytes) => Reply::Taken { bytes: *bytes },
    }
}

impl Keys {
    fn typed(self) -> Typed {
        match self {
            // What is garbled was not typed.
            Keys::Bytes(bytes) => Typed::Bytes(BASE64.decode(bytes).unwrap_or_default()),
            Keys::End => Typed::End,
            Keys::Resized(size) => Typed::Resized(size),
            Keys::Signal(number) => Typed::Signal(number),
        }
    }
}
