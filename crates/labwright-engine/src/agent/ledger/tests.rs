//! Marks and journals on a disk: cut anywhere, garbled, prepared and taken back, renamed.

use std::collections::BTreeSet;
use std::fs;

use labwright_plan::{Action, Consequence, Expect, Fingerprint, Mark, Origin, ResourceId, Spec, Step, Value};

use super::*;

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
