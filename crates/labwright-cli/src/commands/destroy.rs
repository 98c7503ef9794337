//! `labwright destroy`: removes what the lab owns; data only when named.

use std::collections::BTreeSet;

use super::apply::{ApprovalArgs, Task};
use super::planning::{self, PlanArgs};
use crate::error::{CliError, Exit};
use crate::lab::{self, LabArg};
use crate::terminal::Terminal;

/// Removes everything that the lab made. What was there before stays, and so does data that is not named.
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
        let plan = planning::make(&ready, &[], &world.observed, &options);
        let task = Task {
            ready: &ready,
            desired: &[],
            options: &options,
            approval: &self.approval,
            json: self.json,
            full: false,
        };
        let exit = task.carry_out(&plan, &mut world.fleet, terminal);
        drop(world);
        lab::sweep();
        exit
    }
}
