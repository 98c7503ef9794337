//! What is kept of armed changes: a folder for each below `reverts/`, and what became of those that are over.
//! Decides nothing. Whoever changes anything here holds the lock.
//!
//! `reverts/TICKET/record.json` is the way back, `labwright` the very program that wrote it, `made` when the change was
//! made, `awaited` is locked by the agent that waits, `outlives` says that a reboot leaves what was changed; `reverts/ended/TICKET.json` is the verdict.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use labwright_plan::{ResourceId, WayBack};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::protocol::{Run, Verdict};

/// Verdicts are kept for whoever asks late; older ones go.
const VERDICTS_KEPT: usize = 50;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub ticket: String,
    pub lab: String,
    pub run: Run,
    pub id: ResourceId,
    /// Seconds since 1970.
    pub armed: i64,
    /// Seconds from then on.
    pub within: u64,
    pub way_back: WayBack,
}

impl Record {
    /// Whether going back on one touches what the other is about.
    pub fn shares(&self, other: &Record) -> bool {
        let paths =
            |record: &Record| record.way_back.files.iter().map(|before| before.path.clone()).collect::<Vec<_>>();
        self.id == other.id || paths(self).iter().any(|path| paths(other).contains(path))
    }
}

fn root(state: &Path) -> PathBuf {
    state.join("reverts")
}

/// The folder of one armed change.
pub fn folder(state: &Path, ticket: &str) -> PathBuf {
    root(state).join(ticket)
}

/// Tickets come over the wire, and must not lead anywhere else.
fn is_ticket(ticket: &str) -> bool {
    ticket.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        && ticket.starts_with(|c: char| c.is_ascii_digit())
}

/// A name for a new one. They sort by age; a run may arm several.
pub fn ticket(state: &Path, run: &Run) -> io::Result<String> {
    let plain: String = run.id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
    let taken = |ticket: &String| {
        folder(state, ticket).exists() || root(state).join("ended").join(format!("{ticket}.json")).exists()
    };
    let ticket = (1..1000).map(|n| format!("{plain}-{n:03}")).find(|ticket| !taken(ticket));
    ticket
        .filter(|ticket| is_ticket(ticket))
        .ok_or_else(|| io::Error::other(format!("no name is left for a revert of run {plain}")))
}

/// Only one at a time confirms or goes back.
pub fn lock(state: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(root(state))?;
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(root(state).join("lock"))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    Ok(lock)
}

/// Writes it down for good. What is secret stays in memory: the folder then holds a link to it.
pub fn write(state: &Path, memory: &Path, record: &Record) -> io::Result<File> {
    let folder = folder(state, &record.ticket);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    program(&folder)?;
    let bytes = serde_json::to_vec(record).map_err(io::Error::other)?;
    let place = folder.join("record.json");
    if record.way_back.secret {
        let kept = memory.join("reverts");
        DirBuilder::new().recursive(true).mode(0o700).create(&kept)?;
        let kept = kept.join(format!("{}.json", record.ticket));
        durable(&kept, &bytes)?;
        std::os::unix::fs::symlink(&kept, &place)?;
        if record.way_back.outlives {
            durable(&folder.join("outlives"), b"")?;
        }
    } else {
        durable(&place, &bytes)?;
    }
    let awaited =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.join("awaited"))?;
    rustix::fs::flock(&awaited, FlockOperation::NonBlockingLockExclusive)?;
    // Its name is on the disk only once the folders above it are.
    for folder in [&folder, &root(state), state] {
        File::open(folder)?.sync_all()?;
    }
    Ok(awaited)
}

/// Replaces what is written, whole.
pub fn rewrite(state: &Path, record: &Record) -> io::Result<()> {
    let place = fs::canonicalize(folder(state, &record.ticket).join("record.json"))?;
    durable(&place, &serde_json::to_vec(record).map_err(io::Error::other)?)
}

/// The running program, by a name that neither an upgrade nor a clearing of old ones takes away.
fn program(folder: &Path) -> io::Result<()> {
    let (here, there) = (std::env::current_exe()?, folder.join("labwright"));
    if fs::hard_link(&here, &there).is_ok() {
        return Ok(());
    }
    // Another file system, or a program that was replaced while it runs.
    fs::copy("/proc/self/exe", &there)?;
    File::open(&there)?.sync_all()
}

fn durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// The record of a pending change; `None` where there is none any more.
pub fn read(state: &Path, ticket: &str) -> io::Result<Option<Record>> {
    if !is_ticket(ticket) {
        return Ok(None);
    }
    match fs::read(folder(state, ticket).join("record.json")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        bytes => serde_json::from_slice(&bytes?).map(Some).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("the record of revert {ticket}: {error}"))
        }),
    }
}

/// Whether the record of a change was in memory alone, and is there no more.
pub fn was_in_memory(state: &Path, ticket: &str) -> bool {
    let place = folder(state, ticket).join("record.json");
    is_ticket(ticket) && fs::read_link(&place).is_ok_and(|kept| !kept.exists())
}

/// Whether what a change whose record is gone made is there still.
pub fn outlives(state: &Path, ticket: &str) -> bool {
    folder(state, ticket).join("outlives").exists()
}

/// All that are pending, the oldest first.
///
/// # Errors
/// One of them cannot be read: what it would take back, and when, is not known.
pub fn pending(state: &Path) -> io::Result<Vec<Record>> {
    let (records, unreadable) = readable(state)?;
    match unreadable.into_iter().next() {
        None => Ok(records),
        Some((ticket, error)) => {
            let folder = folder(state, &ticket);
            let folder = folder.display();
            Err(io::Error::other(format!(
                "a change that waits for its confirmation cannot be read: {error}; `cat {folder}/record.json` shows what \
                     is left of the way back, and `rm -r {folder}` gives it up: what was changed then stays as it is"
            )))
        }
    }
}

/// A ticket whose record cannot be read, and why.
pub type Unreadable = (String, io::Error);

/// As `pending`, with those that cannot be read, by ticket: one that cannot hides no other from whoever goes back or confirms.
pub fn readable(state: &Path) -> io::Result<(Vec<Record>, Vec<Unreadable>)> {
    let entries = match fs::read_dir(root(state)) {
        // Whoever may not look there may arm nothing there either, and takes nothing back.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            return Ok(Default::default());
        }
        entries => entries?,
    };
    let (mut records, mut unreadable) = (Vec::new(), Vec::new());
    for entry in entries {
        let Ok(ticket) = entry?.file_name().into_string() else { continue };
        match read(state, &ticket) {
            Ok(record) => records.extend(record),
            // Of one that is over, only what could not be removed is left.
            Err(error) if verdict(state, &ticket) == Verdict::Pending => unreadable.push((ticket, error)),
            Err(_) => {}
        }
    }
    records.retain(|record| verdict(state, &record.ticket) == Verdict::Pending);
    records.sort_by(|a, b| a.ticket.cmp(&b.ticket));
    Ok((records, unreadable))
}

/// Whether the agent that made the change is there and waits. Where that cannot be told, it may: the host's own timer takes the
/// change back if not.
pub fn is_awaited(state: &Path, ticket: &str) -> bool {
    let awaited = match File::open(folder(state, ticket).join("awaited")) {
        Err(error) => return error.kind() != io::ErrorKind::NotFound,
        Ok(awaited) => awaited,
    };
    rustix::fs::flock(&awaited, FlockOperation::NonBlockingLockShared).is_err()
}

pub fn write_made(state: &Path, ticket: &str, ticks: u64) -> io::Result<()> {
    durable(&folder(state, ticket).join("made"), ticks.to_string().as_bytes())
}

/// When the change was made, in the kernel's ticks since it started.
pub fn made(state: &Path, ticket: &str) -> Option<u64> {
    fs::read_to_string(folder(state, ticket).join("made")).ok()?.trim().parse().ok()
}

pub fn write_verdict(state: &Path, ticket: &str, verdict: &Verdict) -> io::Result<()> {
    let ended = root(state).join("ended");
    DirBuilder::new().recursive(true).mode(0o700).create(&ended)?;
    durable(&ended.join(format!("{ticket}.json")), &serde_json::to_vec(verdict).map_err(io::Error::other)?)?;
    let mut old: Vec<PathBuf> = fs::read_dir(&ended)?.flatten().map(|entry| entry.path()).collect();
    old.sort();
    for path in &old[..old.len().saturating_sub(VERDICTS_KEPT)] {
        fs::remove_file(path)?;
    }
    Ok(())
}

pub fn verdict(state: &Path, ticket: &str) -> Verdict {
    if !is_ticket(ticket) {
        return Verdict::Unknown;
    }
    let path = root(state).join("ended").join(format!("{ticket}.json"));
    let unreadable = |why: String| Verdict::Stuck {
        because: format!("what became of it is written in `{}`, which cannot be read: {why}", path.display()),
    };
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| unreadable(error.to_string())),
        Err(error) if error.kind() != io::ErrorKind::NotFound => unreadable(error.to_string()),
        Err(_) if folder(state, ticket).is_dir() => Verdict::Pending,
        Err(_) => Verdict::Unknown,
    }
}

/// Removes all of it. What cannot be removed is an ended change all the same: its verdict is written.
pub fn remove(state: &Path, ticket: &str) {
    let folder = folder(state, ticket);
    if let Ok(kept) = fs::read_link(folder.join("record.json")) {
        drop(fs::remove_file(kept));
    }
    drop(fs::remove_dir_all(folder));
}
