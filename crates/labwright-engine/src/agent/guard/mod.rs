//! The guard over changes that may cut the way in: they go back by themselves unless a fresh connection confirms them.
//! The way back is on the host's disk, and a timer of the host's runs, before anything is touched; so it survives the end
//! of the connection, of the agent and of the controller, and a reboot. Knows no provider: the way back is plain data.

mod back;
mod fresh;
mod record;
mod timer;

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use labwright_plan::{Facts, Pending, ResourceId, WayBack};
use rustix::fs::FlockOperation;

use crate::clock;
use crate::protocol::{Run, Verdict};
use record::Record;

/// How often somebody who waits looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long after its time a timer may fire before whoever waits goes back by itself.
const GRACE: Duration = Duration::from_secs(45);
/// A way back that fails is tried again: what it needs may be busy.
const TRIES: u32 = 5;
const TRY_EVERY: Duration = Duration::from_secs(3);

/// What is armed: whose change, and how it is undone.
pub struct Change<'a> {
    pub lab: &'a str,
    pub run: &'a Run,
    pub id: &'a ResourceId,
    /// How long the confirmation may take, from the arming on.
    pub within: Duration,
    pub way_back: WayBack,
}

/// An armed change. Letting go of it disarms nothing.
pub struct Armed {
    pub ticket: String,
    since: Instant,
    within: Duration,
    /// Locked for as long as the run that made the change waits.
    awaited: File,
}

/// Writes the way back down and starts the timer. Nothing was touched if this fails, and nothing is left of it.
pub fn arm(state: &Path, facts: &Facts, memory: &Path, change: Change<'_>) -> io::Result<Armed> {
    let record = Record {
        ticket: record::ticket(state, change.run)?,
        lab: change.lab.to_string(),
        run: change.run.clone(),
        id: change.id.clone(),
        armed: clock::now().as_second(),
        within: change.within.as_secs(),
        way_back: change.way_back,
    };
    let armed = record::write(state, memory, &record).and_then(|awaited| {
        timer::arm(state, facts, &record)?;
        Ok(Armed { ticket: record.ticket.clone(), since: Instant::now(), within: change.within, awaited })
    });
    if armed.is_err() {
        let _held = record::lock(state)?;
        timer::disarm(facts.systemd, &record.ticket);
        record::remove(state, &record.ticket);
    }
    armed
}

impl Armed {
    /// Says that the change is made: only connections that are younger than this moment confirm it.
    pub fn made(&self, state: &Path) -> io::Result<()> {
        record::write_made(state, &self.ticket, fresh::now())
    }

    /// Says that whoever could confirm it here is gone.
    pub fn orphan(&self) {
        // A lock that cannot be let go goes with this process.
        rustix::fs::flock(&self.awaited, FlockOperation::Unlock).unwrap_or_default();
    }

    /// Waits until it is confirmed or gone back. Goes back by itself where the timer did not.
    pub fn wait(&self, state: &Path) -> Verdict {
        loop {
            match verdict(state, &self.ticket) {
                Verdict::Pending if self.since.elapsed() > self.within + GRACE => {
                    return revert(state, &self.ticket, "nobody confirmed it, and the host's own timer did not fire");
                }
                Verdict::Pending => std::thread::sleep(LOOK_EVERY),
                verdict => return verdict,
            }
        }
    }
}

/// What became of an armed change.
pub fn verdict(state: &Path, ticket: &str) -> Verdict {
    record::verdict(state, ticket)
}

/// Confirms a change, from a connection that is younger than it. The error says why it does not count.
pub fn confirm(state: &Path, ticket: &str) -> io::Result<Result<Verdict, String>> {
    let _held = record::lock(state)?;
    let Some(record) = record::read(state, ticket)? else { return Ok(Ok(verdict(state, ticket))) };
    // It is still being changed: whoever asks may ask again.
    let Some(made) = record::made(state, ticket) else { return Ok(Ok(Verdict::Pending)) };
    if fresh::connection_began().is_some_and(|began| began < made) {
        return Ok(Err(format!(
            "this connection is older than the change of `{}`, so it proves nothing about new ones",
            record.id
        )));
    }
    end(state, ticket, &Verdict::Confirmed)?;
    // What stands now is proven to let people in: an older change that is still pending must not take it away.
    for older in record::readable(state)?.0.into_iter().filter(|older| older.ticket.as_str() < ticket) {
        supersede(state, older, &record)?;
    }
    Ok(Ok(Verdict::Confirmed))
}

fn supersede(state: &Path, mut older: Record, newer: &Record) -> io::Result<()> {
    let shared = older.shares(newer);
    if !shared {
        return Ok(());
    }
    older.way_back.files.retain(|before| newer.way_back.files.iter().all(|newer| newer.path != before.path));
    if older.id == newer.id || older.way_back.files.is_empty() {
        return end(state, &older.ticket, &Verdict::Superseded);
    }
    record::rewrite(state, &older)
}

/// Goes back now. Changes that were armed later over the same things go back first.
pub fn revert(state: &Path, ticket: &str, because: &str) -> Verdict {
    go_back(state, ticket, because, back::When::Running)
        .unwrap_or_else(|error| Verdict::Stuck { because: format!("the way back cannot be gone: {error}") })
}

fn go_back(state: &Path, ticket: &str, because: &str, when: back::When) -> io::Result<Verdict> {
    let _held = record::lock(state)?;
    let Some(record) = record::read(state, ticket)? else { return Ok(verdict(state, ticket)) };
    // To go back matters more than one beside it that cannot be read.
    let (mut newer, _) = record::readable(state)?;
    newer.retain(|newer| newer.ticket.as_str() > ticket && newer.shares(&record));
    newer.reverse();
    for newer in newer {
        let because = format!("an older change, `{}`, went back and took it along", record.id);
        one_back(state, &newer, &because, when)?;
    }
    one_back(state, &record, because, when)
}

fn one_back(state: &Path, record: &Record, because: &str, when: back::When) -> io::Result<Verdict> {
    let faults = back::go(&record.way_back, when);
    if !faults.is_empty() {
        return Ok(Verdict::Stuck { because: format!("{because}; and on the way back: {}", faults.join("; ")) });
    }
    let verdict = Verdict::Reverted { because: because.to_string() };
    end(state, &record.ticket, &verdict)?;
    Ok(verdict)
}

/// Forgets a change that came to nothing: what was there before is there still.
pub fn forget(state: &Path, ticket: &str) -> io::Result<()> {
    let _held = record::lock(state)?;
    end(state, ticket, &Verdict::Reverted { because: "nothing was changed".into() })
}

/// Whether anything of a way back differs from what stands there now.
pub fn differs(way_back: &WayBack) -> bool {
    back::differs(way_back)
}

/// Goes the way back without a record of it, where the way in cannot be cut. The faults are in words.
pub fn undo(way_back: &WayBack) -> Vec<String> {
    back::go(way_back, back::When::Running)
}

fn end(state: &Path, ticket: &str, verdict: &Verdict) -> io::Result<()> {
    // First the verdict: with it, whoever comes in between has nothing more to do.
    record::write_verdict(state, ticket, verdict)?;
    timer::disarm(Path::new("/run/systemd/system").is_dir(), ticket);
    record::remove(state, ticket);
    Ok(())
}

/// Every change that is neither confirmed nor gone back. Reads only.
pub fn pending(state: &Path) -> io::Result<Vec<Pending>> {
    let now = clock::now().as_second();
    let tell = |record: Record| Pending {
        left: record.armed + record.within as i64 - now,
        awaited: record::is_awaited(state, &record.ticket),
        by: record.run.by,
        id: record.id,
        ticket: record.ticket,
    };
    Ok(record::pending(state)?.into_iter().map(tell).collect())
}

/// Takes back every change that nobody waits for any more, the newest first. Returns which, and how it went.
pub fn settle(state: &Path) -> io::Result<Vec<(Pending, Verdict)>> {
    let left: Vec<Pending> = pending(state)?.into_iter().filter(|pending| !pending.awaited).collect();
    let settle = |pending: Pending| {
        let verdict = revert(state, &pending.ticket, "the run that made it is gone");
        (pending, verdict)
    };
    Ok(left.into_iter().rev().map(settle).collect())
}

/// What the host's timer, its boot unit and its watcher run.
pub fn fire(state: &Path, ticket: &str, fired: Fired) -> Verdict {
    if let Fired::Watcher = fired
        && let Some(verdict) = watch(state, ticket)
    {
        return verdict;
    }
    let record = record::read(state, ticket).ok().flatten();
    // A way back that held a secret was in memory, and went with what it was about: that is made from what was applied before.
    if fired == Fired::Boot
        && record.is_none()
        && verdict(state, ticket) == Verdict::Pending
        && record::was_in_memory(state, ticket)
    {
        let because = "the host started again before anybody confirmed it".to_string();
        let verdict = match record::outlives(state, ticket) {
            false => Verdict::Reverted { because },
            true => Verdict::Stuck {
                because: format!("{because}, and its way back was a secret in memory alone: it stays as it was made"),
            },
        };
        let ended = record::lock(state).and_then(|_held| end(state, ticket, &verdict));
        return ended.map_or_else(|error| Verdict::Stuck { because: error.to_string() }, |()| verdict);
    }
    let within = record.map_or(0, |record| record.within);
    let (because, when) = match fired {
        Fired::Boot => ("the host started again before anybody confirmed it".to_string(), back::When::Booting),
        Fired::Timer | Fired::Watcher => {
            (format!("no new connection confirmed it within {within} s"), back::When::Running)
        }
    };
    let mut last = Verdict::Pending;
    for _ in 0..TRIES {
        last = go_back(state, ticket, &because, when)
            .unwrap_or_else(|error| Verdict::Stuck { because: error.to_string() });
        if !matches!(last, Verdict::Stuck { .. }) {
            return last;
        }
        std::thread::sleep(TRY_EVERY);
    }
    last
}

/// What set a way back off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    Timer,
    Boot,
    /// A process of ours, where no init system has timers: it waits first.
    Watcher,
}

/// Waits out the window; the verdict, where somebody else came to one.
fn watch(state: &Path, ticket: &str) -> Option<Verdict> {
    let since = Instant::now();
    let within = Duration::from_secs(record::read(state, ticket).ok().flatten()?.within);
    timer::say_watching(state, ticket);
    while since.elapsed() < within {
        match verdict(state, ticket) {
            Verdict::Pending => std::thread::sleep(LOOK_EVERY.min(within)),
            verdict => return Some(verdict),
        }
    }
    None
}

#[cfg(test)]
mod tests;
