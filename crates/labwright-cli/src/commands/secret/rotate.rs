//! `labwright secret rotate`: a new value, everything that reads it taken along in order, and the old one back if
//! something does not come up with the new.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use labwright_plan::sealed::sealed;
use labwright_plan::{Options, Resource, Selection};
use labwright_secrets::generate::{self, Generator, Given, Made};
use labwright_secrets::store;

use super::super::apply::{ApprovalArgs, Task, Verb};
use super::super::planning;
use super::{Common, ask_value, generators, publics, shown};
use crate::error::{CliError, Exit};
use crate::lab::{self, SshArgs};
use crate::secrets;
use crate::terminal::Terminal;

/// Gives secrets new values and applies them: what reads them restarts in order, each waited for.
///
/// If any of it does not come back, the old values are put back, in the store and on every host, and that is told.
#[derive(clap::Args)]
pub struct Rotate {
    /// The secrets; what is generated from them is made anew as well.
    #[arg(required_unless_present_any = ["undo", "finish"], value_name = "NAME")]
    names: Vec<String>,
    /// The lab: a file, or a folder of files.
    #[arg(long, value_name = "LAB")]
    lab: Option<PathBuf>,
    /// A file with the key that opens the store; may be given more than once.
    #[arg(long, short, value_name = "FILE")]
    identity: Vec<PathBuf>,
    #[command(flatten)]
    ssh: SshArgs,
    #[command(flatten)]
    approval: ApprovalArgs,
    /// Take back a rotation that was cut off: the old values, everywhere.
    #[arg(long, conflicts_with_all = ["names", "finish"])]
    undo: bool,
    /// Finish a rotation that was cut off: the new values, everywhere.
    #[arg(long, conflicts_with = "names")]
    finish: bool,
}

/// The old store beside the new one, for as long as a rotation is under way. It is encrypted like the store.
fn before(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{name}.before-rotation"))
}

/// The old store of a rotation that did not come to its end.
pub fn interrupted(path: &Path) -> Option<PathBuf> {
    let before = before(path);
    before.exists().then_some(before)
}

impl Rotate {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let common = Common { lab: lab::LabArg { lab: self.lab.clone() }, identity: self.identity.clone() };
        if self.undo || self.finish {
            return self.resume(&common, terminal);
        }
        let parsed = common.parsed()?;
        let mut kept = common.hold(&parsed, terminal)?;
        let made = self.made(&generators(&parsed), &kept)?;
        let names: BTreeSet<String> = made.iter().map(|(name, _)| name.clone()).collect();
        let old = store::file::load(&kept.path).map_err(secrets::error)?;
        for (name, made) in &made {
            kept.put(name, made)?;
        }
        store::file::replace(&before(&kept.path), &old).map_err(secrets::error)?;
        kept.save()?;
        let told = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        terminal.say(&format!("new values for {told}"));
        match self.apply(&common, &names, terminal) {
            Ok(Exit::Done) => {
                remove(&before(&kept.path))?;
                terminal.say(&format!("{told}: rotated"));
                Ok(Exit::Done)
            }
            // Approved by nobody, or nothing could be planned: no host has seen a new value.
            Err(error) => {
                put_back(&kept.path, &old)?;
                terminal.say("the old values are back in the store");
                Err(error)
            }
            Ok(exit) => {
                terminal.warn("not everything came back with the new values; putting the old ones back");
                put_back_file(&kept.path, &old)?;
                let again = Rotate { approval: approved(&self.approval), ..self };
                match again.apply(&common, &names, terminal) {
                    Ok(Exit::Done) => {
                        remove(&before(&kept.path))?;
                        terminal.say("the old values are back, in the store and on every host that read them");
                        Ok(exit)
                    }
                    result => {
                        terminal.warn("the old values are back in the store, and not on every host");
                        terminal.hint("look at what `labwright plan` says, then: `labwright secret rotate --undo`");
                        result.map(|_| Exit::Partly)
                    }
                }
            }
        }
    }

    /// The new values: generated ones made, others asked for.
    fn made(
        &self,
        specs: &std::collections::BTreeMap<String, Generator>,
        kept: &super::Kept,
    ) -> Result<Vec<(String, Made)>, CliError> {
        let mut specs = specs.clone();
        for name in &self.names {
            kept.opened.get(name).map_err(secrets::error)?;
            // What nothing generates comes from somebody.
            specs
                .entry(name.clone())
                .or_insert_with(|| Generator::Prompt { message: format!("new value of `{name}`") });
        }
        let existing = |name: &str| kept.opened.get(name).ok();
        let publics = |name: &str| publics(&kept.opened, name);
        let mut prompt = |name: &str, message: &str| ask_value(name, message);
        let mut given = Given { existing: &existing, publics: &publics, prompt: &mut prompt };
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        generate::rotate(&specs, &names, &mut given, &mut rand::rng(), labwright_engine::now()).map_err(secrets::error)
    }

    /// Applies what reads these secrets, and nothing else.
    fn apply(&self, common: &Common, names: &BTreeSet<String>, terminal: &Terminal) -> Result<Exit, CliError> {
        let ready = lab::ready(&common.lab, terminal)?;
        let reads = |resource: &&Resource| {
            sealed(&resource.spec).into_iter().any(|content| content.names().any(|name| names.contains(name)))
        };
        let only: Vec<String> = ready.desired.iter().filter(reads).map(|resource| resource.id.to_string()).collect();
        if only.is_empty() {
            terminal.say("no host reads them; nothing to apply");
            return Ok(Exit::Done);
        }
        let options = Options { selection: Selection { only, ..Selection::default() }, ..Options::default() };
        let mut world = planning::look(&ready, &ready.desired, &options, &self.ssh, &BTreeSet::new(), terminal)?;
        let plan = planning::make(&ready, &world.desired, &world.observed, &options);
        if let Some(away) = plan.report.away.first() {
            return Err(CliError::new(Exit::Unreachable, format!("`{}` is away: {}", away.host, away.reason))
                .hint("rotate when every host that reads the secret is there"));
        }
        let task = Task {
            ready: &ready,
            desired: &world.desired,
            letters: &world.letters,
            options: &options,
            approval: &self.approval,
            verb: Verb::Apply,
            json: false,
            full: false,
        };
        let exit = task.carry_out(&plan, &mut world.fleet, terminal);
        drop(world);
        lab::sweep();
        exit
    }

    fn resume(self, common: &Common, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = common.parsed()?;
        let path = secrets::path(&parsed)?;
        let _lock = store::file::lock(&path).map_err(secrets::error)?;
        let Some(old) = interrupted(&path) else {
            return Err(CliError::usage("no rotation was cut off").hint("`labwright plan` shows what hosts still lack"));
        };
        if self.undo {
            put_back_file(&path, &store::file::load(&old).map_err(secrets::error)?)?;
        }
        let ready = lab::ready(&common.lab, terminal)?;
        let names = ready.desired.iter().flat_map(|resource| sealed(&resource.spec));
        let names = names.flat_map(|content| content.names().map(str::to_string).collect::<Vec<_>>()).collect();
        let exit = self.apply(common, &names, terminal)?;
        if exit == Exit::Done {
            remove(&old)?;
            terminal.say(&format!("{} and the hosts agree again", shown(&path)));
        }
        Ok(exit)
    }
}

/// Putting back what was there is not asked about again.
fn approved(given: &ApprovalArgs) -> ApprovalArgs {
    ApprovalArgs { yes: true, ..given.clone() }
}

fn put_back_file(path: &Path, old: &[u8]) -> Result<(), CliError> {
    store::file::replace(path, old).map_err(secrets::error)
}

fn put_back(path: &Path, old: &[u8]) -> Result<(), CliError> {
    put_back_file(path, old)?;
    remove(&before(path))
}

fn remove(path: &Path) -> Result<(), CliError> {
    fs::remove_file(path).map_err(|error| CliError::usage(format!("cannot remove {}: {error}", shown(path))))
}
