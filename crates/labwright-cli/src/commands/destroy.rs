//! `labwright destroy`: removes what the lab owns; data only when named.

use std::collections::BTreeSet;

use labwright_plan::{Action, Consequence, Expect, Fingerprint, Plan, Selection, Step};

use super::apply::{ApprovalArgs, Task, Verb};
use super::planning::{self, PlanArgs};
use crate::error::{CliError, Exit};
use crate::lab::{self, LabArg};
use crate::render::findings::count;
use crate::terminal::Terminal;

/// Removes everything that the lab made. What was there before stays, and so does data that is not named.
///
/// Exits with 5 when something was asked to go and stayed.
#[derive(clap::Args)]
pub struct Destroy {
    #[command(flatten)]
    lab: LabArg,
    #[command(flatten)]
    args: PlanArgs,
    #[command(flatten)]
    approval: ApprovalArgs,
    /// Print events and the result as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

impl Destroy {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let ready = lab::ready(&self.lab, terminal)?;
        let mut options = self.args.options(&ready)?;
        // Destroying is removing all that is declared: the brake is for accidents, and this is none.
        options.prune = true;
        options.release_brake = true;
        let mut world = planning::look(&ready, &[], &options, &self.args.ssh, &BTreeSet::new(), terminal)?;
        world.settle(&ready, terminal)?;
        let plan = reworded(planning::make(&ready, &[], &world.observed, &options), &options.selection);
        let task = Task {
            ready: &ready,
            desired: &[],
            letters: &world.letters,
            options: &options,
            approval: &self.approval,
            verb: Verb::Destroy,
            json: self.json,
            full: false,
        };
        let exit = task.carry_out(&plan, &mut world.fleet, terminal);
        drop(world);
        let stayed = plan.report.kept.len();
        if stayed > 0 {
            let were = if stayed == 1 { "was" } else { "were" };
            terminal
                .warn(&format!("{} {were} asked to go and stayed; why stands with the plan", count(stayed, "thing")));
        }
        match exit? {
            Exit::Done if stayed > 0 => Ok(Exit::Partly),
            exit => Ok(exit),
        }
    }
}

/// A plan that prunes says that things are no longer declared. Here they may well be: it was `destroy` that asked.
fn reworded(mut plan: Plan, selection: &Selection) -> Plan {
    for step in &mut plan.steps {
        step.because = because(step).into();
    }
    plan.report.kept.retain(|kept| selection.wants(&kept.id));
    for kept in &mut plan.report.kept {
        let why = kept.reason.trim_start_matches("no longer declared").trim_start_matches([',', ';', ' ']);
        let why = why.trim_start_matches("and ");
        // The cost of what holds data has to be approved by name as well.
        let approve = if why.starts_with("it holds data") { " --approve destroys-data" } else { "" };
        let name = format!("`--delete-data {}`", kept.id);
        let command = format!("`labwright destroy --delete-data {}{approve}`", kept.id);
        kept.reason = why.replace(&name, &command);
    }
    plan
}

fn because(step: &Step) -> &'static str {
    let gone = step.expect == Expect::Fingerprint(Fingerprint::absent());
    match step.action {
        Action::Delete if step.consequence == Consequence::DestroysData => {
            "`destroy` was asked, and it is named by `--delete-data`"
        }
        Action::Release if gone => "`destroy` was asked; it is gone already",
        Action::Release => "`destroy` was asked; it was there before the lab and stays",
        _ => "`destroy` was asked",
    }
}
