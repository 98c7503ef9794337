//! `labwright secret rotate`: a new value, everything that reads it taken along in order, and the old one back if
//! something does not come up with the new.

use std::collections::BTreeSet;
use std::path::PathBuf;

use labwright_plan::sealed::sealed;
use labwright_plan::{Options, Resource, Selection};
use labwright_secrets::generate::{self, Generator, Given, Made};

use super::super::apply::{ApprovalArgs, Task, Verb};
use super::super::planning;
use super::keeper::Keeper;
use super::{Common, ask_value, generators};
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
    /// The lab's Vault, where it has a SOPS file as well.
    #[arg(long)]
    vault: bool,
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

impl Rotate {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let common =
            Common { lab: lab::LabArg { lab: self.lab.clone() }, identity: self.identity.clone(), vault: self.vault };
        if self.undo || self.finish {
            return self.resume(&common, terminal);
        }
        let parsed = common.parsed()?;
        let mut keeper = common.keeper_of(&parsed, &self.names, terminal)?;
        let made = self.made(&generators(&parsed), keeper.as_ref())?;
        let names: BTreeSet<String> = made.iter().map(|(name, _)| name.clone()).collect();
        for (name, made) in &made {
            keeper.put(name, made)?;
        }
        keeper.rotate()?;
        let told = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        terminal.say(&format!("new values for {told}"));
        match self.apply(&common, &names, terminal) {
            Ok(Exit::Done) => {
                keeper.settle()?;
                terminal.say(&format!("{told}: rotated"));
                Ok(Exit::Done)
            }
            // Approved by nobody, or nothing could be planned: no host has seen a new value.
            Err(error) => {
                keeper.put_back()?;
                keeper.settle()?;
                terminal.say("the old values are back in the store");
                Err(error)
            }
            Ok(exit) => {
                terminal.warn("not everything came back with the new values; putting the old ones back");
                keeper.put_back()?;
                let again = Rotate { approval: approved(&self.approval), ..self };
                match again.apply(&common, &names, terminal) {
                    Ok(Exit::Done) => {
                        keeper.settle()?;
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
        keeper: &dyn Keeper,
    ) -> Result<Vec<(String, Made)>, CliError> {
        let mut specs = specs.clone();
        for name in &self.names {
            keeper.get(name).map_err(secrets::error)?;
            // What nothing generates comes from somebody.
            specs
                .entry(name.clone())
                .or_insert_with(|| Generator::Prompt { message: format!("new value of `{name}`") });
        }
        let existing = |name: &str| keeper.kept(name);
        let publics = |name: &str| keeper.publics(name);
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
        let mut keeper = common.cut_off(&parsed, terminal)?;
        if !keeper.interrupted()? {
            return Err(CliError::usage("no rotation was cut off").hint("`labwright plan` shows what hosts still lack"));
        }
        if self.undo {
            keeper.put_back()?;
        }
        let ready = lab::ready(&common.lab, terminal)?;
        let names = ready.desired.iter().flat_map(|resource| sealed(&resource.spec));
        let names = names.flat_map(|content| content.names().map(str::to_string).collect::<Vec<_>>()).collect();
        let exit = self.apply(common, &names, terminal)?;
        if exit == Exit::Done {
            keeper.settle()?;
            terminal.say(&format!("{} and the hosts agree again", keeper.shown()));
        }
        Ok(exit)
    }
}

/// Putting back what was there is not asked about again.
fn approved(given: &ApprovalArgs) -> ApprovalArgs {
    ApprovalArgs { yes: true, ..given.clone() }
}
