//! What this lab owns on this host, and what was done to it: marks, and a write-ahead journal for each run.
//! Decides nothing: after a kill, the next plan looks at reality first.
//!
//! `marks.json` is the sum of all runs that ended. A run writes `journal/RUN.jsonl`: a line before each step and one
//! after it. Reading folds the journals of runs that never ended over the marks, so a kill at any point loses nothing.

mod journal;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use labwright_plan::{Interrupted, Mark, Origin, ResourceId, Spec};
use serde::{Deserialize, Serialize};

use crate::protocol::{Outcome, Run};

pub use journal::{Journal, digests};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    pub marks: BTreeMap<ResourceId, Mark>,
    pub interrupted: Option<Interrupted>,
    /// Marks that have another host's name on disk, by the name that they have here.
    pub renamed: BTreeMap<ResourceId, ResourceId>,
    /// Journals of runs that never ended, folded into `marks` here but not yet on disk.
    unended: Vec<PathBuf>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Begin {
        run: Run,
        steps: Vec<ResourceId>,
    },
    /// About to be done; `origin` is what its mark will say.
    Start {
        id: ResourceId,
        origin: Origin,
    },
    Done {
        id: ResourceId,
        mark: Option<Mark>,
    },
    /// It ended without being done.
    Ended {
        id: ResourceId,
        outcome: Outcome,
    },
    End,
}

/// Reads marks and unended journals. A lab that was never applied here has none.
pub fn load(dir: &Path) -> io::Result<Ledger> {
    let marks = match fs::read(dir.join("marks.json")) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("`{}`: {error}", dir.join("marks.json").display()))
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error),
    };
    let mut ledger = Ledger { marks, ..Ledger::default() };
    for path in journals(dir)? {
        if has_ended(&path)? {
            continue;
        }
        // A torn line may end inside a character.
        let bytes = fs::read(&path)?;
        let text = String::from_utf8_lossy(&bytes);
        ledger.fold(lines(&text, &path)?.into_iter());
        ledger.unended.push(path);
    }
    Ok(ledger)
}

/// The last line of a journal whose run ended; the others of the last runs are read no further.
const ENDED: &[u8] = b"\"end\"\n";

fn has_ended(journal: &Path) -> io::Result<bool> {
    let mut file = File::open(journal)?;
    let Some(before) = file.metadata()?.len().checked_sub(ENDED.len() as u64) else { return Ok(false) };
    file.seek(SeekFrom::Start(before))?;
    let mut last = Vec::with_capacity(ENDED.len());
    file.read_to_end(&mut last)?;
    Ok(last == ENDED)
}

/// How a journal of a run that never ended is closed.
const CLOSED: &str = "\n\"end\"\n";

/// The lines of a journal. A torn last line is a line that was never written; one in the middle may have said that something
/// was begun, so nothing that comes after it can be told.
fn lines(text: &str, path: &Path) -> io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut from = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        from += line.len();
        match serde_json::from_str::<Line>(line) {
            Ok(line) => lines.push(line),
            Err(_) if line.trim().is_empty() => {}
            // Torn; or torn, and cut off once more while it was closed.
            Err(_) if !line.ends_with('\n') || CLOSED[1..].starts_with(&text[from..]) => {}
            Err(error) => {
                let shown = path.display();
                return Err(io::Error::other(format!(
                    "line {number} of the journal `{shown}` cannot be read ({error}), so what was begun there is not known; \
                         `sed -n {number}p {shown}` shows it, and `sed -i {number}d {shown}` takes it out: what it was about is \
                         looked at by the next plan, and may have to be adopted"
                )));
            }
        }
    }
    Ok(lines)
}

fn journals(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir.join("journal")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    Ok(paths)
}

impl Ledger {
    /// The part of it that is one host's, by the name the host had.
    pub fn of(&self, host: &str) -> Ledger {
        let own = self.marks.iter().filter(|(id, _)| id.host() == host);
        Ledger { marks: own.map(|(id, mark)| (id.clone(), mark.clone())).collect(), ..Ledger::default() }
    }

    /// The same, as of a host that had other names before: what they marked is its own. What is marked under both names is
    /// what the new name says of it. Nothing is written here; the next run does that before its first step.
    pub fn renamed(mut self, host: &str, was: &[String]) -> Ledger {
        let is_old = |id: &ResourceId| id.host() != host && was.iter().any(|old| old == id.host());
        let old: Vec<ResourceId> = self.marks.keys().filter(|id| is_old(id)).cloned().collect();
        for id in old {
            let Some(mut mark) = self.marks.remove(&id) else { continue };
            mark.after =
                mark.after.iter().map(|need| if is_old(need) { need.on(host) } else { need.clone() }).collect();
            self.marks.entry(id.on(host)).or_insert(mark);
            self.renamed.insert(id.on(host), id);
        }
        self
    }

    fn fold(&mut self, lines: impl Iterator<Item = Line>) {
        let mut begun: Option<(Run, Vec<ResourceId>)> = None;
        // What was begun, with the mark that it had before.
        let mut open: BTreeMap<ResourceId, Option<Mark>> = BTreeMap::new();
        let mut ended: BTreeSet<ResourceId> = BTreeSet::new();
        for line in lines {
            match line {
                Line::Begin { run, steps } => begun = Some((run, steps)),
                Line::Start { id, origin } => {
                    open.entry(id.clone()).or_insert_with(|| self.marks.get(&id).cloned());
                    let mark = self.marks.entry(id.clone()).or_insert_with(|| Mark {
                        origin,
                        applied: Spec::new(),
                        after: BTreeSet::new(),
                        in_flight: true,
                    });
                    mark.in_flight = true;
                }
                Line::Done { id, mark } => {
                    open.remove(&id);
                    ended.insert(id.clone());
                    match mark {
                        Some(mark) => self.marks.insert(id, mark),
                        None => self.marks.remove(&id),
                    };
                }
                Line::Ended { id, outcome } => {
                    // A failed step may have done a part: its mark stays in flight, and the next plan looks.
                    let before = open.remove(&id);
                    match (outcome, before) {
                        (Outcome::Reverted(_), _) => unstart(&mut self.marks, &id),
                        // It was only prepared, and that was taken away again.
                        (Outcome::Skipped { .. }, Some(before)) => put_back(&mut self.marks, &id, before),
                        _ => {}
                    }
                    ended.insert(id);
                }
                Line::End => {}
            }
        }
        if let Some((run, steps)) = begun {
            let not_started = steps.len().saturating_sub(ended.len() + open.len());
            self.interrupted = Some(Interrupted {
                run: run.id,
                by: run.by,
                done: ended.len(),
                unknown: open.into_keys().collect(),
                not_started,
            });
        }
    }
}

/// What was there before a step is back, and that was verified: nothing is unclear, and what was nobody's is again.
fn unstart(marks: &mut BTreeMap<ResourceId, Mark>, id: &ResourceId) {
    match marks.get_mut(id) {
        Some(mark) if mark.applied.is_empty() => drop(marks.remove(id)),
        Some(mark) => mark.in_flight = false,
        None => {}
    }
}

/// It is as it was before it was begun.
fn put_back(marks: &mut BTreeMap<ResourceId, Mark>, id: &ResourceId, before: Option<Mark>) {
    match before {
        Some(mark) => drop(marks.insert(id.clone(), mark)),
        None => drop(marks.remove(id)),
    }
}

#[cfg(test)]
mod tests;
