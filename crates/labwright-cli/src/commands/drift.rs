//! `labwright drift`: reality against the last apply, told apart from edits that are not applied yet.

use std::collections::BTreeSet;
use std::fmt::Write;

use labwright_plan::{Drift, Drifted, Options, Selection, Sight, What};

use super::planning;
use crate::error::{CliError, Exit};
use crate::lab::{self, LabArg, PROVIDERS, SshArgs};
use crate::render::diff;
use crate::render::findings::count;
use crate::terminal::{Ink, Terminal, ink};

/// Shows what has changed since the last apply, by hand or by itself. Changes nothing.
///
/// Edits of the lab file that are not applied yet are no drift; they are counted, and `labwright plan` shows them.
/// Exits with 4 when there is drift.
#[derive(clap::Args)]
pub struct DriftCommand {
    #[command(flatten)]
    lab: LabArg,
    #[command(flatten)]
    ssh: SshArgs,
    /// Only these hosts or ids.
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Only what is placed in this environment.
    #[arg(long, value_name = "ENVIRONMENT", conflicts_with = "only")]
    environment: Option<String>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

impl DriftCommand {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let ready = lab::ready(&self.lab, terminal)?;
        let only = match &self.environment {
            Some(environment) => planning::of_environment(&ready, environment)?,
            None => self.only.clone(),
        };
        let selection = Selection { only, ..Selection::default() };
        let options = Options { selection, ..Options::default() };
        let mut world = planning::look(&ready, &ready.desired, &options, &self.ssh, &BTreeSet::new(), terminal)?;
        let plan = planning::make(&ready, &world.desired, &world.observed, &options);
        // Only what was asked about is looked at for drift, and so only that is counted as steady.
        for sight in world.observed.hosts.values_mut() {
            if let Sight::Reached(host) = sight {
                host.marks.retain(|id, _| options.selection.wants(id));
            }
        }
        let drift = labwright_plan::drift(&world.observed, &world.desired, PROVIDERS);
        let by_hand: BTreeSet<_> = drift.drifted.iter().map(|drifted| &drifted.id).collect();
        let is_edit = |id| options.selection.wants(id) && !by_hand.contains(id);
        let edits = plan.steps.iter().filter(|step| is_edit(&step.id)).count();
        if self.json {
            terminal.document(&serde_json::json!({ "drift": drift, "edits_not_applied": edits }))?;
        } else {
            terminal.data(&text(&drift, edits, terminal.out_color));
        }
        Ok(match () {
            () if !drift.drifted.is_empty() => Exit::Changes,
            () if plan.is_partial() || !drift.unknown.is_empty() => Exit::Unreachable,
            () => Exit::Done,
        })
    }
}

fn text(drift: &Drift, edits: usize, color: bool) -> String {
    let mut out = String::new();
    for Drifted { id, what, changes, declared } in &drift.drifted {
        let word = match what {
            What::Changed => "changed since the last apply",
            What::Removed => "gone since the last apply",
            What::Unfinished => "left unfinished: its step failed, or its run was cut off",
        };
        let aside = if *declared { "" } else { " (no longer declared)" };
        let _ = writeln!(out, "{} {word}{aside}", ink(color, Ink::Yellow, id.as_str()));
        for change in changes {
            for line in diff::lines(change, false) {
                let _ = writeln!(
                    out,
                    "    {}",
                    line.replace("+++ planned", "+++ now").replace("--- now", "--- as applied")
                );
            }
        }
    }
    for (id, why) in &drift.unknown {
        let _ = writeln!(out, "{id}: unknown: {why}");
    }
    for (host, why) in &drift.away {
        let _ = writeln!(out, "{host}: not reached: {why}");
    }
    let edits = match edits {
        0 => String::new(),
        n => format!("; {} of the lab file not applied yet (`labwright plan`)", count(n, "edit")),
    };
    let _ = writeln!(out, "{} drifted, {} as applied{edits}", drift.drifted.len(), drift.steady);
    out
}
