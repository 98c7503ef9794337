//! The writing half: a run's journal, line by line, and the marks at its end.
//! Reads nothing but which journals there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use labwright_plan::{Action, Mark, Origin, ResourceId, Spec, Step, Value};

use super::{CLOSED, Ledger, Line, journals, put_back, unstart};
use crate::protocol::{Outcome, Run};

/// Journals of runs that ended are kept for reading; older ones go.
const JOURNALS_KEPT: usize = 20;

/// The journal of the run that is going on.
pub struct Journal {
    dir: PathBuf,
    path: PathBuf,
    file: File,
    /// How many bytes of it are whole lines.
    whole: u64,
    marks: BTreeMap<ResourceId, Mark>,
    /// Steps that are only prepared yet, with the mark that each had before.
    prepared: BTreeMap<ResourceId, Option<Mark>>,
}

impl Journal {
    /// Settles what earlier runs left, then opens the journal of this one. Nothing was changed if this fails.
    pub fn begin(dir: &Path, ledger: Ledger, run: &Run, steps: &[Step]) -> io::Result<Journal> {
        fs::create_dir_all(dir.join("journal"))?;
        if !ledger.unended.is_empty() || !ledger.renamed.is_empty() {
            write_marks(dir, &ledger.marks)?;
            for path in &ledger.unended {
                // The torn line, if any, is closed by a line break so that the end stands alone.
                let mut file = OpenOptions::new().append(true).open(path)?;
                file.write_all(CLOSED.as_bytes())?;
            }
        }
        let path = dir.join("journal").join(format!("{}.jsonl", run.id));
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let (dir, whole) = (dir.to_path_buf(), file.metadata()?.len());
        let mut journal = Journal { dir, path, file, whole, marks: ledger.marks, prepared: BTreeMap::new() };
        journal.line(&Line::Begin { run: run.clone(), steps: steps.iter().map(|step| step.id.clone()).collect() })?;
        Ok(journal)
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line).map_err(io::Error::other)?;
        bytes.push(b'\n');
        let written = self.file.write_all(&bytes);
        match written {
            Ok(()) => self.whole += bytes.len() as u64,
            // A part of a line would take the next line with it; where even this fails, whoever reads it is told the line.
            Err(_) => self.file.set_len(self.whole).unwrap_or_default(),
        }
        written
    }

    /// To be called before anything is prepared of a step: `withdraw` makes it as if it had never been begun.
    pub fn prepare(&mut self, step: &Step) -> io::Result<()> {
        let before = self.marks.get(&step.id).cloned();
        self.start(step)?;
        self.prepared.insert(step.id.clone(), before);
        Ok(())
    }

    /// Whether a step is prepared, and nothing more than that.
    pub fn is_prepared(&self, id: &ResourceId) -> bool {
        self.prepared.contains_key(id)
    }

    /// To be called when nothing is left of what was prepared of a step.
    pub fn withdraw(&mut self, id: &ResourceId) -> io::Result<()> {
        let Some(before) = self.prepared.remove(id) else { return Ok(()) };
        put_back(&mut self.marks, id, before);
        let because = "what was prepared of it was taken away".into();
        self.line(&Line::Ended { id: id.clone(), outcome: Outcome::Skipped { because } })
    }

    /// To be called before a step touches anything.
    pub fn start(&mut self, step: &Step) -> io::Result<()> {
        let origin = self.origin(step);
        self.line(&Line::Start { id: step.id.clone(), origin })?;
        self.prepared.remove(&step.id);
        if let Some(mark) = self.marks.get_mut(&step.id) {
            mark.in_flight = true;
        } else {
            let mark = Mark { origin, applied: Spec::new(), after: BTreeSet::new(), in_flight: true };
            self.marks.insert(step.id.clone(), mark);
        }
        Ok(())
    }

    /// What was there before the lab stays when the lab lets go of it.
    fn origin(&self, step: &Step) -> Origin {
        match (self.marks.get(&step.id), step.action) {
            (Some(mark), _) => mark.origin,
            (None, Action::Create) => Origin::Created,
            (None, _) => Origin::Adopted,
        }
    }

    pub fn done(&mut self, step: &Step) -> io::Result<()> {
        let mark = match step.action {
            Action::Delete | Action::Release => None,
            _ => Some(Mark {
                origin: self.origin(step),
                applied: digests(&step.spec),
                after: step.after.clone(),
                in_flight: false,
            }),
        };
        match &mark {
            Some(mark) => self.marks.insert(step.id.clone(), mark.clone()),
            None => self.marks.remove(&step.id),
        };
        self.line(&Line::Done { id: step.id.clone(), mark })
    }

    pub fn ended(&mut self, id: &ResourceId, outcome: &Outcome) -> io::Result<()> {
        if matches!(outcome, Outcome::Reverted(_)) {
            unstart(&mut self.marks, id);
        }
        self.line(&Line::Ended { id: id.clone(), outcome: outcome.clone() })
    }

    /// Writes the marks, then says that nothing is left to fold.
    pub fn end(mut self) -> io::Result<()> {
        write_marks(&self.dir, &self.marks)?;
        self.line(&Line::End)?;
        self.file.sync_data()?;
        let mut old = journals(&self.dir)?;
        old.retain(|path| *path != self.path);
        let surplus = old.len().saturating_sub(JOURNALS_KEPT);
        for path in &old[..surplus] {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn write_marks(dir: &Path, marks: &BTreeMap<ResourceId, Mark>) -> io::Result<()> {
    let new = dir.join("marks.json.new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(marks).map_err(io::Error::other)?)?;
    file.sync_data()?;
    fs::rename(&new, dir.join("marks.json"))
}

/// A spec with content, and any other long text, replaced by its digest: marks need to recognise it, not to hold it.
pub fn digests(spec: &Spec) -> Spec {
    let light = |name: &str, value: &Value| match value {
        Value::Text(text) if name != "content" && text.len() <= 128 => value.clone(),
        Value::Text(_) | Value::Bytes(_) => value.digest().map_or_else(|| value.clone(), Value::Digest),
        other => other.clone(),
    };
    spec.iter().map(|(name, value)| (name.clone(), light(name, value))).collect()
}
