//! A folder that stands for a host, and runs of a lab against it: plan, apply, plan again.
//! Decides nothing: the planner is the real one, and marks are kept as the engine keeps them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use labwright_model::{Files, Parsed};
use labwright_plan::{
    Action, Adopt, Context, Facts, Hidden, HostSeen, Input, Lowered, Mark, Observation, Options, Origin, Plan,
    PlanInput, Progress, Provider, ResourceId, Secrets, Session, Sight, Spec, Step, Value, Wanted, plan,
};
use labwright_providers::host::Host;

/// The one provider that these tests are about.
const PROVIDERS: &[&'static dyn Provider] = &[&Host];

/// One lab file, and nothing else to read.
pub struct One<'a>(pub &'a str);

impl Files for One<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        if path == "lab.yaml" { Ok(self.0.as_bytes().to_vec()) } else { Err("not there".into()) }
    }

    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

pub fn parse(yaml: &str) -> Parsed {
    labwright_model::parse("lab.yaml", &One(yaml))
}

pub fn lower(yaml: &str, assets: &BTreeMap<String, Result<Vec<u8>, String>>) -> Lowered {
    let (parsed, mut lowered) = (parse(yaml), Lowered::default());
    lowered.findings.extend(parsed.findings.clone());
    Host.lower(&Input::of(&parsed, assets), &mut lowered);
    lowered
}

pub struct World {
    folder: tempfile::TempDir,
    pub marks: BTreeMap<ResourceId, Mark>,
    pub options: Options,
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn say(&self, id: &ResourceId, what: &str) {
        self.0.lock().unwrap().push(format!("  {}: {what}\n", id.name()));
    }
}

impl World {
    pub fn new() -> Self {
        let world = World { folder: tempfile::tempdir().unwrap(), marks: BTreeMap::new(), options: Options::default() };
        std::fs::create_dir(world.root()).unwrap();
        std::fs::create_dir(world.state()).unwrap();
        world
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// A path on the host.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn session(&self) -> Box<dyn Session> {
        let applied = self.marks.iter().map(|(id, mark)| (id.clone(), mark.applied.clone())).collect();
        let facts = Facts { root: rustix::process::geteuid().is_root(), user: "tester".into(), ..Facts::default() };
        let context = Context {
            facts,
            state_dir: self.state(),
            applied: std::sync::Arc::new(applied),
            secrets_dir: self.state().join("secrets"),
            change_key: Hidden([0; 32]),
            secrets: Secrets::default(),
            via: labwright_plan::Via::default(),
        };
        Host.connect(&context).unwrap()
    }

    /// The plan for the state of one host, given as `box` would be; `$ROOT` is the folder.
    pub fn plan(&self, state: &str) -> Plan {
        let indented: String = state.lines().map(|line| format!("      {line}\n")).collect();
        let yaml = format!("compute:\n  hosts:\n    box:\n      local: true\n{indented}");
        let lowered = lower(&yaml.replace("$ROOT", &self.root().display().to_string()), &BTreeMap::new());
        assert!(lowered.findings.is_empty(), "{:?}", lowered.findings);
        let mut wanted: BTreeMap<&ResourceId, &Spec> =
            self.marks.iter().map(|(id, mark)| (id, &mark.applied)).collect();
        wanted.extend(lowered.resources.iter().map(|resource| (&resource.id, &resource.spec)));
        let wanted: Vec<Wanted<'_>> = wanted.into_iter().map(|(id, spec)| Wanted { id, spec }).collect();
        let seen = HostSeen { seen: self.session().observe(&wanted), marks: self.marks.clone(), ..HostSeen::default() };
        let hosts = BTreeMap::from([("box".to_string(), Sight::Reached(Box::new(seen)))]);
        plan(&PlanInput {
            lab: "home",
            lab_hash: "",
            desired: &lowered.resources,
            observed: &Observation { hosts },
            providers: PROVIDERS,
            options: &self.options,
            intermittent: &BTreeSet::new(),
            clock: None,
        })
    }

    /// Plans and applies; returns what was done and said, step by step, with `$ROOT` for the folder.
    pub fn apply(&mut self, state: &str) -> String {
        let plan = self.plan(state);
        let (session, told) = (self.session(), Told::default());
        let mut out = String::new();
        for step in &plan.steps {
            let result = session.apply(step, &told);
            out += &format!("{} {} {}: {}\n", step.action.word(), step.id.kind(), step.id.name(), step.because);
            told.0.lock().unwrap().drain(..).for_each(|line| out += &line);
            match result {
                Ok(()) => self.mark(step),
                Err(error) => out += &format!("  failed: {}; {}\n", error.message, error.help),
            }
        }
        for blocked in &plan.report.blocked {
            out += &format!("blocked {}: {}; {}\n", blocked.id, blocked.reason, blocked.help);
        }
        for kept in &plan.report.kept {
            out += &format!("kept {}: {}\n", kept.id, kept.reason);
        }
        session.persist().unwrap();
        self.shown(&out)
    }

    fn mark(&mut self, step: &Step) {
        let origin = match (self.marks.get(&step.id), step.action) {
            (Some(mark), _) => mark.origin,
            (None, Action::Create) => Origin::Created,
            (None, _) => Origin::Adopted,
        };
        if matches!(step.action, Action::Delete | Action::Release) {
            self.marks.remove(&step.id);
            return;
        }
        // As the engine's marks: content as digests.
        let applied = |value: &Value| value.digest().filter(|_| value.content().is_some_and(|c| c.len() > 20));
        let applied = step
            .spec
            .iter()
            .map(|(name, value)| (name.clone(), applied(value).map_or_else(|| value.clone(), Value::Digest)));
        let mark = Mark { origin, applied: applied.collect(), after: step.after.clone(), in_flight: false };
        self.marks.insert(step.id.clone(), mark);
    }

    fn shown(&self, text: &str) -> String {
        let text = text.replace(&self.root().display().to_string(), "$ROOT");
        text.replace(&self.state().display().to_string(), "$STATE")
    }

    /// Everything below the folder: type, mode, path, and what is in it.
    pub fn tree(&self) -> String {
        let mut lines = Vec::new();
        walk(&self.root(), &mut lines);
        lines.sort();
        self.shown(&lines.concat())
    }

    pub fn adopt_all(mut self) -> Self {
        self.options.adopt = Adopt::All;
        self
    }
}

fn walk(folder: &Path, lines: &mut Vec<String>) {
    use std::os::unix::fs::MetadataExt;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        let mode = metadata.mode() & 0o7777;
        let shown = path.display();
        if metadata.is_symlink() {
            lines.push(format!("{shown} -> {}\n", std::fs::read_link(&path).unwrap().display()));
        } else if metadata.is_dir() {
            lines.push(format!("{shown}/ {mode:04o}\n"));
            walk(&path, lines);
        } else {
            lines.push(format!("{shown} {mode:04o} {:?}\n", String::from_utf8_lossy(&std::fs::read(&path).unwrap())));
        }
    }
}
