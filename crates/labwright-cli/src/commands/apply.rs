//! `labwright apply`: plans, asks, applies; or applies a saved plan exactly.

use std::collections::BTreeSet;
use std::io::{self, BufRead, IsTerminal, Write};
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::Arc;

use labwright_engine::protocol::{Event, Outcome, Run};
use labwright_engine::{Fleet, Letters, Outcomes, Sink, Stop, Terms, history};
use labwright_plan::{Consequence, Options, Plan, Resource, ResourceId, Step};
use labwright_providers::docker;

use super::plan as plan_command;
use super::planning::{self, PlanArgs};
use crate::error::{CliError, Exit};
use crate::lab::{self, LabArg, Ready};
use crate::render::findings::count;
use crate::render::plan::{self, Style};
use crate::render::progress::{self, Telling};
use crate::terminal::Terminal;

/// Makes the lab as declared: plans, asks, applies, and looks again.
///
/// Exits with 5 when a part could not be done, with 6 when a host did not answer.
#[derive(clap::Args)]
pub struct Apply {
    #[command(flatten)]
    lab: LabArg,
    #[command(flatten)]
    args: PlanArgs,
    /// Apply this saved plan, exactly; refused when the lab's files or a host changed since.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["only", "exclude", "tag", "prune", "delete_data", "adopt", "release_brake"])]
    plan: Option<PathBuf>,
    #[command(flatten)]
    approval: ApprovalArgs,
    /// Print events and the result as JSON, one object a line.
    #[arg(long)]
    json: bool,
    /// Fold and cut nothing in the plan.
    #[arg(long)]
    full: bool,
}

#[derive(clap::Args, Clone, Debug)]
pub struct ApprovalArgs {
    /// Ask nothing, and approve everything that costs no more than a restart.
    #[arg(long)]
    pub yes: bool,
    /// Also approve steps that cost this: reboot, downtime, cuts-management, destroys-data.
    #[arg(long, value_delimiter = ',', value_name = "COST", value_parser = parse_cost)]
    pub approve: Vec<Consequence>,
}

fn parse_cost(text: &str) -> Result<Consequence, String> {
    let known = Consequence::ALL.into_iter().find(|cost| cost.word() == text);
    known.ok_or_else(|| format!("one of {}", Consequence::ALL.map(Consequence::word).join(", ")))
}

impl Apply {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        // What a large lab comes down to is not taken apart piece by piece at the end: it goes with the process.
        let ready = ManuallyDrop::new(lab::ready(&self.lab, terminal)?);
        lab::tell_overdue(&ready.findings, terminal);
        let options = self.args.options(&ready)?;
        let saved = self.plan.as_ref().map(plan_command::load).transpose()?;
        if let Some(saved) = &saved {
            fits(saved, &ready)?;
        }
        let steps = saved.iter().flat_map(|saved| &saved.steps);
        let also: BTreeSet<String> = steps.map(|step| step.id.host().to_string()).collect();
        let mut world = planning::look(&ready, &ready.desired, &options, &self.args.ssh, &also, terminal)?;
        world.settle(&ready, terminal)?;
        let plan = ManuallyDrop::new(match saved {
            Some(saved) => saved,
            None => planning::make(&ready, &world.desired, &world.observed, &options),
        });
        let task = Task {
            ready: &ready,
            desired: &world.desired,
            letters: &world.letters,
            options: &options,
            approval: &self.approval,
            verb: Verb::Apply,
            json: self.json,
            full: self.full,
        };
        let exit = task.carry_out(&plan, &mut world.fleet, terminal);
        drop(world);
        exit
    }
}

/// Whether a saved plan was made from the lab as it is now.
fn fits(saved: &Plan, ready: &Ready) -> Result<(), CliError> {
    if saved.lab != ready.name() {
        return Err(CliError::usage(format!("the plan is for lab `{}`, and this is `{}`", saved.lab, ready.name())));
    }
    if saved.lab_hash != ready.hash {
        let error = CliError::usage(format!("the lab's files changed since plan {} was made", saved.id));
        return Err(error.hint("look at what would change now: `labwright plan`"));
    }
    Ok(())
}

/// What was asked for, as it is told.
#[derive(Clone, Copy, PartialEq)]
pub enum Verb {
    Apply,
    Destroy,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Verb::Apply => "apply",
            Verb::Destroy => "destroy",
        }
    }

    fn kept(self) -> &'static str {
        match self {
            Verb::Apply => plan::KEPT,
            Verb::Destroy => "asked to go, and kept",
        }
    }
}

/// One plan on its way.
pub struct Task<'a> {
    pub ready: &'a Ready,
    pub desired: &'a [Resource],
    pub letters: &'a Letters,
    pub options: &'a Options,
    pub approval: &'a ApprovalArgs,
    pub verb: Verb,
    pub json: bool,
    pub full: bool,
}

struct Both<'a>(&'a history::Writer, Telling<'a>);

impl Sink for Both<'_> {
    fn event(&self, event: &Event) {
        self.0.event(event);
        self.1.event(event);
    }
}

impl Task<'_> {
    pub fn carry_out(&self, plan: &Plan, fleet: &mut Fleet, terminal: &Terminal) -> Result<Exit, CliError> {
        if self.json {
            let begin = serde_json::json!({ "verb": self.verb.word(), "lab": plan.lab });
            terminal.json_begin(&serde_json::json!({ "begin": begin }));
            terminal.json_line(&serde_json::json!({ "plan": plan.clone().without_private_content() }));
        } else {
            let (color, width) = (terminal.out_color, terminal.width);
            terminal.data(&plan::text(plan, &Style { color, full: self.full, width, kept: self.verb.kept() }));
        }
        if plan.is_empty() {
            return Ok(planning::exit(plan, Exit::Partly));
        }
        let approved = self.ask(plan, terminal)?;
        terminal.run_begins();
        let run = Run { id: labwright_engine::run_id(), by: by(), plan: plan.id.clone() };
        let writer = history::Writer::begin(&run, plan).map_err(|error| {
            CliError::usage(format!("cannot write the history of this run: {error}"))
                .hint("make the folder writable, or set LABWRIGHT_STATE_DIR to one that is; nothing was changed")
        })?;
        let stop = Arc::new(Stop::default());
        listen_for_interrupts(stop.clone())?;
        let refused = |step: &Step| {
            (!approved.contains(&step.consequence))
                .then(|| format!("costs {}, which was not approved", step.consequence))
        };
        let sink = Both(&writer, Telling::new(plan, terminal, self.json));
        let within = |host: &str| self.ready.confirm_within(host);
        let terms = Terms { letters: self.letters, within: &within, refused: &refused };
        let outcomes = labwright_engine::apply(fleet, plan, &run, &terms, &stop, &sink);
        drop(sink);
        // The hosts have journals of their own; a history that cannot be closed says "cut off" and hides nothing.
        if let Err(error) = writer.end() {
            terminal.warn(&format!("cannot close the history of this run: {error}"));
        }
        self.tell(plan, &run, &outcomes, terminal)?;
        let settled = self.settled(fleet, &outcomes, terminal);
        if self.verb == Verb::Apply {
            self.hold(&outcomes, terminal);
        }
        Ok(match outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Done) {
            _ if !settled => Exit::Partly,
            true if plan.is_partial() => Exit::Unreachable,
            true if plan.report.blocked.is_empty() => Exit::Done,
            _ => Exit::Partly,
        })
    }

    fn tell(&self, plan: &Plan, run: &Run, outcomes: &Outcomes, terminal: &Terminal) -> Result<(), CliError> {
        if self.json {
            let outcomes: Vec<_> =
                outcomes.iter().map(|(id, outcome)| serde_json::json!({ "id": id, "outcome": outcome })).collect();
            terminal.json_line(&serde_json::json!({ "result": { "run": run, "outcomes": outcomes } }));
            return Ok(());
        }
        terminal.data(&format!("\n{}", progress::result(outcomes, terminal.out_color)));
        let done = outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Done).count();
        terminal.data(&format!("run {}: {done} of {} done\n", run.id, count(plan.steps.len(), "step")));
        Ok(())
    }

    /// Holds tags to the digests that were applied. What was not applied, and what failed, is not held to.
    fn hold(&self, outcomes: &Outcomes, terminal: &Terminal) {
        let Some(path) = docker::assets(&self.ready.parsed).pop() else { return };
        let mut failed: BTreeSet<&ResourceId> =
            outcomes.iter().filter(|(_, outcome)| *outcome != Outcome::Done).map(|(id, _)| id).collect();
        // Neither is what this run was told to leave alone.
        failed.extend(self.desired.iter().map(|resource| &resource.id).filter(|id| !self.options.selection.wants(id)));
        let before = match std::fs::read(&path) {
            Ok(before) => Some(before),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                // To write it anew would let go of what it holds and this run did not touch.
                terminal
                    .warn(&format!("cannot read `{path}`: {error}; it stays as it is, without what was applied now"));
                return;
            }
        };
        let Some(content) = docker::lock::after(before.as_deref(), self.desired, &failed) else { return };
        let new = format!("{path}.new");
        let written = std::fs::write(&new, content).and_then(|()| std::fs::rename(&new, &path));
        if let Err(error) = written {
            terminal.warn(&format!("cannot write `{path}`: {error}; the next plan asks the registries again"));
        }
    }

    /// Plans again: nothing that was done may still differ.
    fn settled(&self, fleet: &mut Fleet, outcomes: &Outcomes, terminal: &Terminal) -> bool {
        let done: BTreeSet<&ResourceId> =
            outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Done).map(|(id, _)| id).collect();
        if done.is_empty() {
            return true;
        }
        let observed = fleet.observe_again(self.ready.name(), self.desired, lab::PROVIDERS);
        let again = planning::make(self.ready, self.desired, &observed, self.options);
        let differs = again.steps.iter().map(|step| (&step.id, step.because.as_str()));
        let blocked = again.report.blocked.iter().map(|blocked| (&blocked.id, blocked.reason.as_str()));
        let unsettled: Vec<(&ResourceId, &str)> = differs.chain(blocked).filter(|(id, _)| done.contains(id)).collect();
        for away in &again.report.away {
            terminal.warn(&format!("`{}` could not be looked at again: {}", away.host, away.reason));
        }
        if unsettled.is_empty() {
            return again.report.away.is_empty();
        }
        terminal.warn(&format!("{} did not stay as it was made", count(unsettled.len(), "resource")));
        for (id, why) in unsettled.iter().take(20) {
            terminal.say(&format!("  {id}: {why}"));
        }
        terminal.hint("something on the host changes it back, or this is a fault of labwright's own; `labwright plan` shows how it differs");
        false
    }

    /// What may be spent.
    fn ask(&self, plan: &Plan, terminal: &Terminal) -> Result<BTreeSet<Consequence>, CliError> {
        let mut approved: BTreeSet<Consequence> = self.approval.approve.iter().copied().collect();
        let cheap = Consequence::ALL.into_iter().filter(|cost| !cost.needs_own_approval());
        if self.approval.yes {
            approved.extend(cheap);
            return Ok(approved);
        }
        if !io::stdin().is_terminal() {
            let error = CliError::usage("nobody is there to approve this, so nothing was changed");
            return Err(error.hint("approve it with `--yes`, and what costs more than a restart with `--approve COST`"));
        }
        let costly: BTreeSet<Consequence> =
            plan.steps.iter().map(|step| step.consequence).filter(|cost| cost.needs_own_approval()).collect();
        let plain = plan.steps.iter().filter(|step| !step.consequence.needs_own_approval()).count();
        if plain > 0 {
            let said = answer(terminal, &format!("apply {}? [y/N] ", count(plain, "step")))?.to_lowercase();
            if !matches!(said.as_str(), "y" | "yes") {
                return Err(CliError::new(Exit::Usage, "not approved, so nothing was changed"));
            }
            approved.extend(cheap);
        }
        for cost in costly.difference(&approved.clone()) {
            let n = plan.steps.iter().filter(|step| step.consequence == *cost).count();
            if answer(
                terminal,
                &format!("{} {cost}; type `{cost}` to approve that, anything else to leave it out: ", count(n, "step")),
            )? == cost.word()
            {
                approved.insert(*cost);
            }
        }
        Ok(approved)
    }
}

fn answer(terminal: &Terminal, question: &str) -> Result<String, CliError> {
    let mut err = io::stderr().lock();
    drop(err.write_all(question.as_bytes()).and_then(|()| err.flush()));
    drop(err);
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(CliError::bug)?;
    if line.is_empty() {
        terminal.say("");
    }
    Ok(line.trim().to_string())
}

/// `user@machine` of whoever runs this.
pub fn by() -> String {
    let user = std::env::var("SUDO_USER").unwrap_or_else(|_| labwright_engine::agent::user_name());
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{user}@{}", machine.trim())
}

/// The first interrupt lets what was begun end; the second ends the program.
fn listen_for_interrupts(stop: Arc<Stop>) -> Result<(), CliError> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map_err(CliError::bug)?;
    std::thread::spawn(move || {
        for (n, _) in signals.forever().enumerate() {
            if n > 0 {
                std::process::exit(Exit::Partly as i32);
            }
            let mut err = io::stderr().lock();
            drop(err.write_all(b"\nstopping: what was begun ends, nothing more begins; once more to leave at once\n"));
            stop.ask();
        }
    });
    Ok(())
}
