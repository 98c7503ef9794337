//! What this lab owns on this host, and what was done to it: marks, and a write-ahead journal for each run.
//! Decides nothing: after a kill, the next plan looks at reality first.
//!
//! `marks.json` is the sum of all runs that ended. A run writes `journal/RUN.jsonl`: a line before each step and one
//! after it. Reading folds the journals of runs that never ended over the marks, so a kill at any point loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use labwright_plan::{Action, Interrupted, Mark, Origin, ResourceId, Spec, Step, Value};
use serde::{Deserialize, Serialize};

use crate::protocol::{Outcome, Run};

/// Journals of runs that ended are kept for reading; older ones go.
const JOURNALS_KEPT: usize = 20;

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

#[cfg(test)]
mod tests {
    use super::*;
    use labwright_plan::{Consequence, Expect, Fingerprint};

    fn step(name: &str, action: Action) -> Step {
        Step {
            id: ResourceId::new("h", "host", "file", name),
            action,
            consequence: Consequence::None,
            because: String::new(),
            spec: Spec::from([("content".to_string(), Value::from("x\n"))]),
            changes: Vec::new(),
            needs: BTreeSet::new(),
            after: BTreeSet::new(),
            expect: Expect::Fingerprint(Fingerprint::absent()),
        }
    }

    fn run(id: &str) -> Run {
        Run { id: id.into(), by: "ola@desk".into(), plan: "p".into() }
    }

    #[test]
    fn marks_survive_a_kill_at_every_line() {
        let whole = tempfile::tempdir().unwrap();
        let steps = [step("/a", Action::Create), step("/b", Action::Create), step("/c", Action::Create)];
        let mut journal = Journal::begin(whole.path(), Ledger::default(), &run("r1"), &steps).unwrap();
        for step in &steps {
            journal.start(step).unwrap();
            journal.done(step).unwrap();
        }
        let text = fs::read(whole.path().join("journal/r1.jsonl")).unwrap();
        drop(journal);
        for cut in 0..=text.len() {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("journal")).unwrap();
            fs::write(dir.path().join("journal/r1.jsonl"), &text[..cut]).unwrap();
            let ledger = load(dir.path()).unwrap();
            let whole_lines = text[..cut].iter().filter(|b| **b == b'\n').count();
            // A last line without its line break may be whole; what it says has happened either way.
            let started = ledger.marks.len();
            assert!(started == whole_lines / 2 || started == whole_lines.div_ceil(2), "cut {cut}");
            let done = ledger.marks.values().filter(|mark| !mark.in_flight).count();
            assert!(done <= started && done + 1 >= started, "cut {cut}");
            // The next run settles it, and a third reading agrees.
            let again = Journal::begin(dir.path(), ledger.clone(), &run("r2"), &[]).unwrap();
            again.end().unwrap();
            let settled = load(dir.path()).unwrap();
            assert_eq!(settled.marks, ledger.marks, "cut {cut}");
            assert_eq!(settled.interrupted, None);
            // Cut off while it was being closed, it can be read as well.
            let closed = fs::read(dir.path().join("journal/r1.jsonl")).unwrap();
            for less in 1..=CLOSED.len() {
                fs::write(dir.path().join("journal/r1.jsonl"), &closed[..closed.len() - less]).unwrap();
                assert_eq!(load(dir.path()).unwrap().marks, ledger.marks, "cut {cut}, and {less} from its end");
            }
        }
    }

    #[test]
    fn a_garbled_line_in_the_middle_is_told_and_nothing_is_read_past_it() {
        let dir = tempfile::tempdir().unwrap();
        let steps = [step("/a", Action::Create), step("/b", Action::Create)];
        let mut journal = Journal::begin(dir.path(), Ledger::default(), &run("r1"), &steps).unwrap();
        for step in &steps {
            journal.start(step).unwrap();
            journal.done(step).unwrap();
        }
        drop(journal);
        let path = dir.path().join("journal/r1.jsonl");
        let whole = fs::read_to_string(&path).unwrap();
        let garbled: String = whole
            .lines()
            .enumerate()
            .map(|(n, line)| if n == 2 { "{\"done\":\0\n".into() } else { format!("{line}\n") })
            .collect();
        fs::write(&path, &garbled).unwrap();
        let told = load(dir.path()).unwrap_err().to_string();
        for part in ["line 3 of the journal", &format!("sed -i 3d {}", path.display())] {
            assert!(told.contains(part), "{told}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), garbled, "nothing was written");
        // As it is told: without the line, what it was about is unclear and is looked at.
        assert!(std::process::Command::new("sed").args(["-i", "3d"]).arg(&path).status().unwrap().success());
        let ledger = load(dir.path()).unwrap();
        assert_eq!(ledger.interrupted.unwrap().unknown, std::slice::from_ref(&steps[0].id));
        assert!(ledger.marks[&steps[0].id].in_flight && !ledger.marks[&steps[1].id].in_flight);
    }

    #[test]
    fn what_was_only_prepared_and_taken_away_was_never_begun() {
        let dir = tempfile::tempdir().unwrap();
        let steps = ["/new", "/known", "/kept"].map(|name| step(name, Action::Create));
        let [new, known, kept] = &steps;
        let mut journal = Journal::begin(dir.path(), Ledger::default(), &run("r1"), &[]).unwrap();
        journal.start(known).unwrap();
        journal.done(known).unwrap();
        journal.end().unwrap();
        let before = load(dir.path()).unwrap();

        let mut journal = Journal::begin(dir.path(), before.clone(), &run("r2"), &steps).unwrap();
        steps.iter().for_each(|step| journal.prepare(step).unwrap());
        // Cut off here, all of them are looked at.
        let cut_off = load(dir.path()).unwrap();
        assert_eq!(cut_off.interrupted.unwrap().unknown.len(), 3);
        assert!(cut_off.marks.values().all(|mark| mark.in_flight), "{:?}", cut_off.marks);
        assert_eq!(cut_off.marks[&known.id].applied, before.marks[&known.id].applied);

        for step in [new, known] {
            assert!(journal.is_prepared(&step.id));
            journal.withdraw(&step.id).unwrap();
            journal.ended(&step.id, &Outcome::NotStarted { because: "stopped".into() }).unwrap();
        }
        journal.start(kept).unwrap();
        assert!(steps.iter().all(|step| !journal.is_prepared(&step.id)));
        let marks = |ledger: &Ledger| (ledger.marks.get(&new.id).cloned(), ledger.marks.get(&known.id).cloned());
        let read = load(dir.path()).unwrap();
        assert_eq!(marks(&read), marks(&before));
        let interrupted = read.interrupted.unwrap();
        assert_eq!((interrupted.done, interrupted.not_started), (2, 0));
        assert_eq!(interrupted.unknown, std::slice::from_ref(&kept.id));
        journal.done(kept).unwrap();
        journal.end().unwrap();
        let after = load(dir.path()).unwrap();
        assert_eq!(marks(&after), marks(&before));
        assert!(after.marks.contains_key(&kept.id) && after.interrupted.is_none());
    }

    #[test]
    fn marks_of_an_old_name_are_written_down_anew_before_the_first_step() {
        let dir = tempfile::tempdir().unwrap();
        let made = step("/a", Action::Create);
        let mut second = step("/b", Action::Create);
        second.after.insert(made.id.clone());
        let mut journal = Journal::begin(dir.path(), Ledger::default(), &run("r1"), &[]).unwrap();
        for step in [&made, &second] {
            journal.start(step).unwrap();
            journal.done(step).unwrap();
        }
        journal.end().unwrap();
        let old = load(dir.path()).unwrap();
        let was = ["older".to_string(), "h".to_string()];
        let new = old.clone().renamed("new", &was);
        assert_eq!(load(dir.path()).unwrap(), old, "to look writes nothing");
        assert_eq!(new.renamed[&made.id.on("new")], made.id);
        // Cut off right after its beginning, the run has the names already, and nothing is renamed twice.
        drop(Journal::begin(dir.path(), new, &run("r2"), &[]).unwrap());
        let cut_off = load(dir.path()).unwrap().renamed("new", &was);
        assert!(cut_off.renamed.is_empty() && cut_off.marks.keys().all(|id| id.host() == "new"), "{cut_off:?}");
        let mark = &cut_off.marks[&second.id.on("new")];
        assert_eq!((mark.origin, mark.applied.clone()), (Origin::Created, old.marks[&second.id].applied.clone()));
        assert_eq!(mark.after, BTreeSet::from([made.id.on("new")]));
        // What both names marked is what the new one says.
        let mut both = old.clone();
        let newer = Mark { origin: Origin::Adopted, ..old.marks[&made.id].clone() };
        both.marks.insert(made.id.on("new"), newer.clone());
        assert_eq!(both.renamed("new", &was).marks[&made.id.on("new")], newer);
    }

    #[test]
    fn what_was_there_before_is_adopted_and_what_is_made_is_created() {
        let dir = tempfile::tempdir().unwrap();
        let (made, taken, gone) =
            (step("/made", Action::Create), step("/taken", Action::Update), step("/gone", Action::Delete));
        let mut journal = Journal::begin(dir.path(), Ledger::default(), &run("r1"), &[]).unwrap();
        for step in [&made, &taken, &gone] {
            journal.start(step).unwrap();
            journal.done(step).unwrap();
        }
        journal.end().unwrap();
        let marks = load(dir.path()).unwrap().marks;
        assert_eq!(marks[&made.id].origin, Origin::Created);
        assert_eq!(marks[&taken.id].origin, Origin::Adopted);
        assert!(!marks.contains_key(&gone.id));
    }
}
