//! Who did what, when, with which result: one journal a run, on the machine that ran it.
//! Serves reading only; no decision needs it.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use labwright_plan::{Action, Consequence, Plan, ResourceId};
use serde::{Deserialize, Serialize};

use crate::agent;
use crate::apply::Sink;
use crate::clock;
use crate::protocol::{Event, Outcome, Run};

/// The file that lists hosts, beside the journals.
const HOSTS: &str = "hosts";

/// One run, as its journal tells it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    #[serde(flatten)]
    pub run: Run,
    pub lab: String,
    /// RFC 3339.
    pub started: String,
    pub ended: Option<String>,
    pub steps: Vec<EntryStep>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntryStep {
    pub id: ResourceId,
    pub action: Action,
    pub consequence: Consequence,
    pub because: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Begin { run: Run, lab: String, at: String, steps: Vec<EntryStep> },
    Ended { id: ResourceId, outcome: Outcome },
    End { at: String },
}

fn dir(lab: &str) -> PathBuf {
    agent::state_dir().join("labs").join(lab).join("history")
}

/// The journal of a run that is going on; hears events and writes down how each step ended.
pub struct Writer {
    file: Mutex<File>,
}

impl Writer {
    /// Opens the journal. Nothing was changed if this fails.
    pub fn begin(run: &Run, plan: &Plan) -> io::Result<Writer> {
        let dir = dir(&plan.lab);
        fs::create_dir_all(&dir)?;
        let file = OpenOptions::new().create(true).append(true).open(dir.join(format!("{}.jsonl", run.id)))?;
        let steps = plan.steps.iter().map(|step| EntryStep {
            id: step.id.clone(),
            action: step.action,
            consequence: step.consequence,
            because: step.because.clone(),
            outcome: None,
        });
        let hosts: BTreeSet<String> =
            plan.steps.iter().map(|step| step.id.host().to_string()).chain(hosts(&plan.lab)?).collect();
        let new = dir.join(format!("{HOSTS}.{}.new", run.id));
        fs::write(&new, hosts.into_iter().map(|host| host + "\n").collect::<String>())?;
        fs::rename(&new, dir.join(HOSTS))?;
        let line = Line::Begin {
            run: run.clone(),
            lab: plan.lab.clone(),
            at: clock::now().to_string(),
            steps: steps.collect(),
        };
        let writer = Writer { file: Mutex::new(file) };
        writer.line(&line)?;
        Ok(writer)
    }

    fn line(&self, line: &Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line).map_err(io::Error::other)?;
        bytes.push(b'\n');
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes)
    }

    pub fn end(&self) -> io::Result<()> {
        self.line(&Line::End { at: clock::now().to_string() })
    }
}

impl Sink for Writer {
    fn event(&self, event: &Event) {
        if let Event::Ended { id, outcome } = event {
            // A history that cannot be written must not stop the run: the hosts' own journals have it.
            drop(self.line(&Line::Ended { id: id.clone(), outcome: outcome.clone() }));
        }
    }
}

/// Hosts where this machine ever applied something of the lab: they are looked at even when nothing is declared there.
/// Only a hint of where to look; what is there is told by the hosts themselves.
///
/// # Errors
/// The disk's own, with the file: what cannot be read is not that there are none.
pub fn hosts(lab: &str) -> io::Result<BTreeSet<String>> {
    let path = dir(lab).join(HOSTS);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))),
        Ok(text) => Ok(text.lines().map(str::to_string).collect()),
    }
}

/// What is known of the runs of a lab from this machine, oldest first.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Runs {
    pub runs: Vec<Entry>,
    pub unreadable: Vec<Unreadable>,
}

/// A run whose journal, or a part of it, cannot be read.
#[derive(Debug, PartialEq, Serialize)]
pub struct Unreadable {
    pub run: String,
    pub path: PathBuf,
    pub why: String,
}

/// Every run of a lab from this machine. One that cannot be read hides no other, and is told.
///
/// # Errors
/// The folder cannot be listed.
pub fn read(lab: &str) -> io::Result<Runs> {
    runs(&dir(lab))
}

fn runs(dir: &Path) -> io::Result<Runs> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Runs::default()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    let mut all = Runs::default();
    for path in paths {
        let (entry, why) = entry(&path);
        all.runs.extend(entry);
        if let Some(why) = why {
            let run = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            all.unreadable.push(Unreadable { run, path, why });
        }
    }
    Ok(all)
}

/// A run as far as its journal can be read, and why the rest cannot. A torn last line is a line that was never written, and a
/// journal without any is of a run that began nothing.
fn entry(path: &Path) -> (Option<Entry>, Option<String>) {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return (None, Some(error.to_string())),
    };
    let text = String::from_utf8_lossy(&bytes);
    let (mut lines, mut why) = (Vec::new(), None);
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        match serde_json::from_str::<Line>(line) {
            Ok(line) => lines.push(line),
            Err(error) if line.ends_with('\n') && why.is_none() => why = Some(format!("line {number}: {error}")),
            Err(_) => {}
        }
    }
    let mut lines = lines.into_iter();
    let (run, lab, at, steps) = match lines.next() {
        Some(Line::Begin { run, lab, at, steps }) => (run, lab, at, steps),
        Some(_) => return (None, why.or_else(|| Some("its beginning is not there".into()))),
        None => return (None, why),
    };
    let mut entry = Entry { run, lab, started: at, ended: None, steps };
    let places: HashMap<ResourceId, usize> =
        entry.steps.iter().enumerate().map(|(i, step)| (step.id.clone(), i)).collect();
    for line in lines {
        match line {
            Line::Ended { id, outcome } => {
                if let Some(i) = places.get(&id) {
                    entry.steps[*i].outcome = Some(outcome);
                }
            }
            Line::End { at } => entry.ended = Some(at),
            Line::Begin { .. } => {}
        }
    }
    (Some(entry), why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = r#"{"begin":{"run":{"id":"r1","by":"ola@desk","plan":"p"},"lab":"home","at":"2026-11-21T10:00:00Z","steps":[]}}"#;
    const END: &str = r#"{"end":{"at":"2026-11-21T10:01:00Z"}}"#;

    #[test]
    fn a_run_that_cannot_be_read_is_told_and_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(runs(&dir.path().join("absent")).unwrap(), Runs::default());
        write("r1.jsonl", &format!("{BEGIN}\n{END}\n"));
        write("r2.jsonl", &format!("{BEGIN}\n{}", &END[..9]));
        write("r3.jsonl", "");
        write("r4.jsonl", &format!("\0\0\n{END}\n"));
        write("r5.jsonl", &format!("{BEGIN}\n\0\0\n{END}\n"));
        fs::create_dir(dir.path().join("r6.jsonl")).unwrap();
        let all = runs(dir.path()).unwrap();
        // Whole, cut off, and with a part that cannot be read.
        let ended: Vec<bool> = all.runs.iter().map(|run| run.ended.is_some()).collect();
        assert_eq!(ended, [true, false, true]);
        let told: Vec<(&str, bool)> =
            all.unreadable.iter().map(|one| (one.run.as_str(), one.why.starts_with("line "))).collect();
        assert_eq!(told, [("r4", true), ("r5", true), ("r6", false)]);
    }
}
