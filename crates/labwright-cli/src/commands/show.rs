//! `labwright show`: any of the values between file and world.

use std::collections::BTreeSet;

use labwright_plan::{Observation, Resource, Seen, Sight, hide_private};

use super::planning::{self, PlanArgs};
use crate::error::{CliError, Exit};
use crate::lab::{self, LabArg};
use crate::terminal::Terminal;

/// Prints the model with every default, the desired resources, what is observed, or the plan.
#[derive(clap::Args)]
pub struct Show {
    /// What to print.
    #[arg(value_enum)]
    what: Which,
    #[command(flatten)]
    lab: LabArg,
    #[command(flatten)]
    args: PlanArgs,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Which {
    /// The lab with every default filled in, and where each value comes from.
    Model,
    /// The resources that the lab asks for.
    Desired,
    /// What is there now, on every host.
    Observed,
    /// What would change, as JSON.
    Plan,
}

impl Show {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        if let Which::Model = self.what {
            let lab = lab::read(&self.lab)?;
            match self.json {
                true => terminal.document(&serde_json::json!({ "model": lab.parsed.lab }))?,
                false => terminal.data(&lab.parsed.show()),
            }
            return Ok(Exit::Done);
        }
        let ready = lab::ready(&self.lab, terminal)?;
        let options = self.args.options(&ready)?;
        if let Which::Desired = self.what {
            let wanted = ready.desired.iter().filter(|resource| options.selection.wants(&resource.id)).cloned();
            let chosen: Vec<Resource> = wanted.map(without_private_content).collect();
            match self.json {
                true => terminal.document(&serde_json::json!({ "resources": chosen }))?,
                false => chosen.iter().for_each(|resource| terminal.data(&resource_text(resource))),
            }
            return Ok(Exit::Done);
        }
        let world = planning::look(&ready, &ready.desired, &options, &self.args.ssh, &BTreeSet::new(), terminal)?;
        let observed: &Observation = &world.observed;
        let plan = planning::make(&ready, &world.desired, observed, &options);
        match self.what {
            Which::Observed => terminal.document(&hidden(observed.clone()))?,
            _ => terminal.json(&plan.clone().without_private_content())?,
        }
        Ok(if plan.is_partial() { Exit::Unreachable } else { Exit::Done })
    }
}

/// Content that only its owner may read is nobody else's to see.
fn without_private_content(mut resource: Resource) -> Resource {
    hide_private(&mut resource.spec);
    resource
}

fn hidden(mut observed: Observation) -> Observation {
    for sight in observed.hosts.values_mut() {
        let Sight::Reached(host) = sight else { continue };
        for seen in host.seen.values_mut() {
            if let Seen::Present(observed) = seen {
                hide_private(&mut observed.spec);
            }
        }
    }
    observed
}

fn resource_text(resource: &Resource) -> String {
    let fields = resource.spec.iter().map(|(name, value)| format!("  {name}: {value}\n"));
    let after = resource.after.iter().map(|id| format!("  after {id}\n"));
    std::iter::once(format!("{}\n", resource.id)).chain(fields).chain(after).collect()
}
