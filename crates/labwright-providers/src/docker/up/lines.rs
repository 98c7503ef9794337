//! What the containers of a unit say, as it comes, until they end.

use std::rc::Rc;

use bollard::container::LogOutput;
use futures_util::StreamExt;
use labwright_model::snapshot::up::control::Source;
use labwright_model::snapshot::up::engine::Heard;
use labwright_plan::LogsAsk;

use super::super::logs::{Pending, stream};
use super::attend::Hub;

/// Tells what a container says from now on, or, where it just began, from its beginning. What it said before it was started
/// again is not told twice: `told` is the time, in nanoseconds since 1970, of the last line.
pub async fn follow(hub: Rc<Hub>, unit: String, prefix: Option<String>, id: String, told: Rc<std::cell::Cell<i64>>) {
    let since = (told.get() > 0).then_some(told.get());
    let ask = LogsAsk { follow: true, since, tail: None };
    let mut stream = std::pin::pin!(stream(&hub.docker, &id, &ask).ready_chunks(64));
    let (mut out, mut err) = (Pending::default(), Pending::default());
    let text = |line: String| match &prefix {
        Some(key) => format!("{key}: {line}"),
        None => line,
    };
    let before = told.get();
    while let Some(pieces) = stream.next().await {
        let mut lines = Vec::new();
        for piece in pieces {
            // An engine that goes is told of by its events.
            let Ok(piece) = piece else { continue };
            let (source, pending) = match &piece {
                LogOutput::StdErr { .. } => (Source::Err, &mut err),
                _ => (Source::Out, &mut out),
            };
            if let Some((at, line)) = pending.add(&piece.into_bytes())
                && at > before
            {
                told.set(told.get().max(at));
                lines.push((source, text(line)));
            }
        }
        if !lines.is_empty() {
            hub.tell(Heard::Said { unit: unit.clone(), lines });
        }
        tokio::task::yield_now().await;
    }
    let rest = [(Source::Out, out), (Source::Err, err)];
    let rest = rest.into_iter().filter_map(|(source, pending)| Some((source, pending.rest()?)));
    let lines: Vec<(Source, String)> =
        rest.filter(|(_, (at, _))| *at > before).map(|(s, (_, line))| (s, text(line))).collect();
    if !lines.is_empty() {
        hub.tell(Heard::Said { unit, lines });
    }
}
