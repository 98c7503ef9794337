//! Services that are processes of their own, as systemd and its journal tell of them.
//! Changes no unit.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use labwright_model::{Parsed, Placement};
use labwright_plan::{
    ExecAsk, Line, LineSource, LogsAsk, Part, ProviderError, ResourceId, Running, Runtime, Spec, State, Told, Typed,
};
use serde_json::Value as Json;

use super::systemd;
use crate::process::unit_name;

/// How soon it is noticed that nobody wants more.
const ATTENTION: Duration = Duration::from_millis(200);
/// The journal keeps no longer ones either, unless it was told to.
const LONGEST_LINE: u64 = 1 << 20;

/// The units of this host.
pub struct Units;

/// Every process of every placed service.
pub fn parts(parsed: &Parsed) -> Vec<Part> {
    let runs = parsed.placements.iter().filter(|placement| placement.entry.run.is_some());
    let part = |placement: &Placement, host: &str| {
        let unit = unit_name(placement);
        Part {
            service: placement.service.clone(),
            environment: placement.environment.clone(),
            name: unit.clone(),
            id: ResourceId::new(host, "host", "unit", &unit),
            place: Spec::new(),
        }
    };
    let known = |host: &str| parsed.lab.compute.hosts.get(host).is_some_and(|host| super::managed(host));
    let mut parts = Vec::new();
    for placement in runs {
        parts.extend(placement.entry.on.iter().filter(|on| known(&on.value)).map(|on| part(placement, &on.value)));
    }
    parts
}

impl Runtime for Units {
    fn running(&self, parts: &[Part]) -> Vec<Running> {
        let names: Vec<String> = parts.iter().map(|part| part.id.name().to_string()).collect();
        let unknown = |part: &Part, error: &ProviderError| Running {
            says: Some(error.message.clone()),
            ..Running::of(part, State::Unknown)
        };
        match systemd::show(&names) {
            Err(error) => parts.iter().map(|part| unknown(part, &error)).collect(),
            Ok(states) => {
                let one = |part: &Part| match states.get(part.id.name()) {
                    Ok(state) => fares(part, state),
                    Err(error) => unknown(part, &error),
                };
                parts.iter().map(one).collect()
            }
        }
    }

    fn logs(
        &self,
        part: &Part,
        ask: &LogsAsk,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Line),
    ) -> Result<(), ProviderError> {
        let mut journal = Command::new("journalctl");
        journal.args(["--no-pager", "--quiet", "--output=json", "--all", "--unit", part.id.name()]);
        journal.args(["--lines", &ask.tail.map_or_else(|| "all".to_string(), |lines| lines.to_string())]);
        if ask.follow {
            journal.arg("--follow");
        }
        if let Some(since) = ask.since {
            journal.arg(format!("--since=@{}", since / 1_000_000_000));
        }
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => ProviderError::rejected("`journalctl` is not installed there")
                .help("only hosts with systemd keep a journal"),
            _ => ProviderError::rejected(format!("cannot read the journal: {error}")),
        };
        let mut child =
            journal.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
        let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(ProviderError::bug("journalctl has no pipes"));
        };
        let over = AtomicBool::new(false);
        let status = std::thread::scope(|scope| {
            let watched = &over;
            let watch = scope.spawn(move || {
                // Reading waits for the next line; only the end of the program ends that.
                loop {
                    match child.try_wait() {
                        Ok(None) if stop.load(Ordering::Acquire) || watched.load(Ordering::Acquire) => {
                            drop(child.kill());
                            return child.wait().ok();
                        }
                        Ok(None) => std::thread::sleep(ATTENTION),
                        Ok(Some(status)) => return Some(status),
                        Err(_) => return None,
                    }
                }
            });
            let mut reader = BufReader::new(stdout);
            let mut bytes = Vec::new();
            loop {
                bytes.clear();
                match reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes) {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
                if let Some(line) = serde_json::from_slice(&bytes).ok().and_then(|entry| line(&entry))
                    && ask.since.is_none_or(|since| line.at >= since)
                {
                    tell(line);
                }
            }
            over.store(true, Ordering::Release);
            watch.join().unwrap_or_default()
        });
        if stop.load(Ordering::Acquire) || status.is_some_and(|status| status.success()) {
            return Ok(());
        }
        let mut said = String::new();
        // What it said before it ended is all there is.
        drop(stderr.by_ref().take(4096).read_to_string(&mut said));
        Err(ProviderError::rejected(format!("`journalctl` failed: {}", said.trim())))
    }

    fn exec(
        &self,
        part: &Part,
        _: &ExecAsk,
        _: mpsc::Receiver<Typed>,
        _: &mut dyn FnMut(Told<'_>),
    ) -> Result<i64, ProviderError> {
        let (host, service) = (part.id.host(), &part.service);
        Err(ProviderError::rejected(format!("`{service}` is a process of `{host}`, and in no container"))
            .help(format!("log in: `ssh {host}`")))
    }
}

fn fares(part: &Part, state: &systemd::State) -> Running {
    let word = match state.active.as_str() {
        _ if !state.exists() => State::Missing,
        "active" if state.sub == "exited" => State::Ran,
        "active" | "reloading" | "refreshing" => State::Running,
        "activating" if state.sub == "auto-restart" => State::Restarting,
        "activating" => State::Starting,
        "failed" => State::Failed,
        "inactive" | "deactivating" => State::Stopped,
        _ => State::Unknown,
    };
    let bad = matches!(word, State::Failed | State::Restarting);
    Running {
        since: since(state.changed),
        exit_code: bad.then_some(state.exit_status),
        restarts: state.exists().then(|| i64::from(state.restarts)),
        says: (bad && !matches!(state.result.as_str(), "" | "success")).then(|| state.result.clone()),
        ..Running::of(part, word)
    }
}

/// From microseconds since the boot to seconds since 1970.
fn since(changed: u64) -> Option<i64> {
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let ago = up.tv_sec - i64::try_from(changed / 1_000_000).ok()?;
    (changed > 0).then(|| now.tv_sec - ago)
}

/// A line of the journal's export as JSON; systemd.journal-fields(7).
fn line(entry: &Json) -> Option<Line> {
    let micros: i64 = entry["__REALTIME_TIMESTAMP"].as_str()?.parse().ok()?;
    let text = match &entry["MESSAGE"] {
        Json::String(text) => text.clone(),
        // What is not text comes as numbers.
        Json::Array(bytes) => {
            let bytes: Vec<u8> = bytes.iter().filter_map(|b| u8::try_from(b.as_u64()?).ok()).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => return None,
    };
    // What systemd says about the unit is not the unit's own.
    let source = if entry["_PID"] == "1" { LineSource::Note } else { LineSource::Stdout };
    Some(Line { at: micros.checked_mul(1000)?, source, text })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_of_the_journal_are_read() {
        let entry = json!({"__REALTIME_TIMESTAMP": "1763640000123456", "MESSAGE": "Started app.", "_PID": "1"});
        let note = Line { at: 1_763_640_000_123_456_000, source: LineSource::Note, text: "Started app.".into() };
        assert_eq!(line(&entry), Some(note));
        let entry = json!({"__REALTIME_TIMESTAMP": "1", "MESSAGE": [104, 255, 105], "_PID": "77"});
        assert_eq!(line(&entry), Some(Line { at: 1000, source: LineSource::Stdout, text: "h\u{fffd}i".into() }));
    }
}
