//! What a container says, line by line with its times, from its beginning or as it comes.
//! Follows a service over restarts and replacements; keeps no more than one unfinished line of each stream.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use futures_util::{Stream, StreamExt};
use labwright_plan::{Line, LineSource, LogsAsk, Part, ProviderError};
use serde_json::Value as Json;

use super::container;
use super::engine::told;

/// How soon it is noticed that nobody wants more.
const ATTENTION: Duration = Duration::from_millis(200);
/// How often a container that ended is looked for again.
const AGAIN: Duration = Duration::from_secs(1);
/// A line that does not end is told in pieces of this size.
const LONGEST_LINE: usize = 64 << 10;

/// Tells the log of a part's container.
pub async fn tell(
    docker: &Docker,
    part: &Part,
    ask: &LogsAsk,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(Line),
) -> Result<(), ProviderError> {
    let name = part.id.name();
    let look = async || container::look(docker, name, &part.place).await;
    let Some(mut there) = look().await? else {
        return Err(ProviderError::rejected(format!("there is no container `{name}`"))
            .help("`labwright status` tells what is there, `labwright apply` makes it"));
    };
    let mut ask = ask.clone();
    // The engine's own clock counts whole seconds; what was told already is left out here.
    let mut told_until = ask.since.unwrap_or(i64::MIN);
    loop {
        let id = there["Id"].as_str().unwrap_or_default().to_string();
        let stream = stream(docker, &id, &ask);
        read(stream, name, stop, told_until, &mut |line| {
            told_until = told_until.max(line.at + 1);
            tell(line);
        })
        .await?;
        if !ask.follow || stop.load(Ordering::Acquire) {
            return Ok(());
        }
        there = match next(docker, part, &there, stop, told_until, tell).await? {
            Some(next) => next,
            None => return Ok(()),
        };
        ask = LogsAsk { since: Some(told_until.max(0)), tail: None, ..ask };
    }
}

pub fn stream(
    docker: &Docker,
    id: &str,
    ask: &LogsAsk,
) -> impl Stream<Item = Result<LogOutput, bollard::errors::Error>> + use<> {
    let since = ask.since.map_or(0, |since| i32::try_from(since / 1_000_000_000).unwrap_or(i32::MAX));
    let options = LogsOptions {
        follow: ask.follow,
        stdout: true,
        stderr: true,
        timestamps: true,
        since,
        tail: ask.tail.map_or_else(|| "all".to_string(), |lines| lines.to_string()),
        ..Default::default()
    };
    docker.logs(id, Some(options))
}

/// Waits until a container that ended runs again, or another one is there in its place.
async fn next(
    docker: &Docker,
    part: &Part,
    before: &Json,
    stop: &AtomicBool,
    now: i64,
    tell: &mut dyn FnMut(Line),
) -> Result<Option<Json>, ProviderError> {
    let name = part.id.name();
    let mut said = false;
    while !stop.load(Ordering::Acquire) {
        let there = container::look(docker, name, &part.place).await?;
        let note = |text: String| Line { at: now.max(0), source: LineSource::Note, text };
        match &there {
            Some(found) if found["State"]["Running"] == true => {
                if found["Id"] != before["Id"] {
                    tell(note(format!("another container took the place of `{name}`")));
                } else if said || found["State"]["StartedAt"] != before["State"]["StartedAt"] {
                    tell(note(format!("`{name}` runs again")));
                }
                return Ok(there);
            }
            _ if said => {}
            Some(found) => {
                said = true;
                let code = found["State"]["ExitCode"].as_i64().unwrap_or_default();
                tell(note(format!("`{name}` ended with {code}; waiting for it to run again")));
            }
            None => {
                said = true;
                tell(note(format!("`{name}` was removed; waiting for it to come back")));
            }
        }
        let mut waited = Duration::ZERO;
        while waited < AGAIN && !stop.load(Ordering::Acquire) {
            tokio::time::sleep(ATTENTION).await;
            waited += ATTENTION;
        }
    }
    Ok(None)
}

async fn read(
    stream: impl Stream<Item = Result<LogOutput, bollard::errors::Error>>,
    name: &str,
    stop: &AtomicBool,
    from: i64,
    tell: &mut dyn FnMut(Line),
) -> Result<(), ProviderError> {
    let mut stream = std::pin::pin!(stream);
    let (mut out, mut err) = (Pending::default(), Pending::default());
    while !stop.load(Ordering::Acquire) {
        let Ok(next) = tokio::time::timeout(ATTENTION, stream.next()).await else { continue };
        let Some(next) = next else { break };
        let part = next.map_err(|error| told("read the log of", name, error))?;
        let (source, pending) = match &part {
            LogOutput::StdErr { .. } => (LineSource::Stderr, &mut err),
            _ => (LineSource::Stdout, &mut out),
        };
        if let Some((at, text)) = pending.add(&part.into_bytes())
            && at >= from
        {
            tell(Line { at, source, text });
        }
    }
    for (source, pending) in [(LineSource::Stdout, out), (LineSource::Stderr, err)] {
        if !pending.bytes.is_empty() && pending.at >= from {
            tell(Line { at: pending.at, source, text: text(&pending.bytes) });
        }
    }
    Ok(())
}

/// A line whose end has not come yet.
#[derive(Default)]
pub struct Pending {
    at: i64,
    bytes: Vec<u8>,
}

impl Pending {
    /// Adds what the engine gave with one time. It splits long lines, and gives each piece a time of its own.
    pub fn add(&mut self, piece: &[u8]) -> Option<(i64, String)> {
        let (time, rest) = split_time(piece);
        if self.bytes.is_empty() {
            self.at = time.unwrap_or(self.at);
        }
        self.bytes.extend_from_slice(rest);
        if !self.bytes.ends_with(b"\n") && self.bytes.len() < LONGEST_LINE {
            return None;
        }
        let line = (self.at, text(&self.bytes));
        self.bytes.clear();
        Some(line)
    }
}

impl Pending {
    /// What has come without an end.
    pub fn rest(self) -> Option<(i64, String)> {
        (!self.bytes.is_empty()).then(|| (self.at, text(&self.bytes)))
    }
}

/// `2026-11-20T12:00:00.123456789Z text`
fn split_time(piece: &[u8]) -> (Option<i64>, &[u8]) {
    let Some(space) = piece.iter().take(40).position(|byte| *byte == b' ') else { return (None, piece) };
    let time = std::str::from_utf8(&piece[..space]).ok().and_then(|time| time.parse::<jiff::Timestamp>().ok());
    match time {
        Some(time) => (i64::try_from(time.as_nanosecond()).ok(), &piece[space + 1..]),
        None => (None, piece),
    }
}

fn text(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    String::from_utf8_lossy(bytes.strip_suffix(b"\r").unwrap_or(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines_with_the_time_of_their_beginning() {
        let mut pending = Pending::default();
        assert_eq!(pending.add(b"1970-01-01T00:00:01.000000002Z first half, "), None);
        let line = pending.add(b"1970-01-01T00:00:02Z second half\r\n");
        assert_eq!(line, Some((1_000_000_002, "first half, second half".into())));
        assert_eq!(pending.add(b"1970-01-01T00:00:03Z \n"), Some((3_000_000_000, String::new())));
        let long = [b"1970-01-01T00:00:04Z ".to_vec(), vec![b'x'; LONGEST_LINE]].concat();
        assert_eq!(pending.add(&long).map(|(_, text)| text.len()), Some(LONGEST_LINE));
        assert!(pending.bytes.is_empty());
    }
}
