//! `labwright plan`: what would change and what it costs. Writes nothing anywhere but the file it is told to.

use std::collections::BTreeSet;
use std::mem::ManuallyDrop;
use std::path::PathBuf;

use labwright_plan::Plan;

use super::planning::{self, PlanArgs, World};
use crate::error::{CliError, Exit};
use crate::lab::{self, LabArg};
use crate::render::{markdown, plan};
use crate::terminal::Terminal;

/// Shows what would change, and what that costs. Changes nothing.
///
/// Exits with 6 when a host that should be there did not answer.
#[derive(clap::Args)]
pub struct PlanCommand {
    #[command(flatten)]
    lab: LabArg,
    #[command(flatten)]
    args: PlanArgs,
    /// Save the plan, for `labwright apply --plan FILE`. It holds file contents: keep it as private as those.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Exit with 4 when there is anything to change.
    #[arg(long)]
    exit_code: bool,
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    format: Format,
    /// The same as `--format json`.
    #[arg(long)]
    json: bool,
    /// Fold and cut nothing.
    #[arg(long)]
    full: bool,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    Text,
    Markdown,
    Json,
}

impl PlanCommand {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        // What a large lab comes down to is not taken apart piece by piece at the end: it goes with the process.
        let ready = ManuallyDrop::new(lab::ready(&self.lab, terminal)?);
        lab::tell_overdue(&ready.findings, terminal);
        let options = self.args.options(&ready)?;
        let World { fleet, observed, desired, .. } =
            planning::look(&ready, &ready.desired, &options, &self.args.ssh, &BTreeSet::new(), terminal)?;
        let observed = ManuallyDrop::new(observed);
        let plan = planning::make(&ready, &desired, &observed, &options);
        drop(fleet);
        if let Some(path) = &self.out {
            save(&plan, path)?;
        }
        let exit = planning::exit(&plan, if self.exit_code { Exit::Changes } else { Exit::Done });
        match self.format {
            _ if self.json => terminal.json(&plan.without_private_content())?,
            Format::Json => terminal.json(&plan.without_private_content())?,
            Format::Markdown => terminal.data(&markdown::text(&plan)),
            Format::Text => {
                let (color, width) = (terminal.out_color, terminal.width);
                let plan = ManuallyDrop::new(plan);
                terminal.data(&plan::text(&plan, &plan::Style { color, full: self.full, width, kept: plan::KEPT }));
            }
        }
        if let Some(path) = &self.out {
            terminal.hint(&format!("to apply exactly this: `labwright apply --plan {}`", path.display()));
        }
        Ok(exit)
    }
}

fn save(plan: &Plan, path: &PathBuf) -> Result<(), CliError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let text = serde_json::to_vec(plan).map_err(CliError::bug)?;
    // A file of its own first: one that is there already may be open to others, and half a plan is none.
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let write = || {
        let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
        file.write_all(&text)?;
        std::fs::rename(&new, path)
    };
    write().map_err(|error: std::io::Error| {
        CliError::usage(format!("cannot save the plan to `{}`: {error}", path.display()))
    })
}

/// Reads a saved plan back, and refuses one that another version wrote.
pub fn load(path: &PathBuf) -> Result<Plan, CliError> {
    let bytes = std::fs::read(path)
        .map_err(|error| CliError::usage(format!("cannot read the plan `{}`: {error}", path.display())))?;
    let damaged = |error: serde_json::Error| {
        CliError::usage(format!("`{}` is not a saved plan: {error}", path.display()))
            .hint("save one with `labwright plan --out FILE`")
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
    if value["version"] != labwright_plan::PLAN_VERSION {
        let error = CliError::usage(format!(
            "`{}` has plan version {}, and this labwright reads {}",
            path.display(),
            value["version"],
            labwright_plan::PLAN_VERSION
        ));
        return Err(error.hint("plan again with this version"));
    }
    let plan: Plan = serde_json::from_value(value).map_err(damaged)?;
    match plan.is_intact() {
        true => Ok(plan),
        false => {
            let error = CliError::usage(format!(
                "`{}` is not as it was saved: it does not fit its id {}",
                path.display(),
                plan.id
            ));
            Err(error.hint("what was reviewed is what is applied: plan again instead of editing a plan"))
        }
    }
}
