//! `labwright blast`: what a failure takes with it, and which failures take the most.

use labwright_plan::blast::{NoTarget, blast, single_points, target};
use serde_json::json;

use super::reading::{self, Format};
use crate::error::{CliError, Exit};
use crate::lab::LabArg;
use crate::render::{blast as words, findings::count};
use crate::terminal::Terminal;

/// Tells what goes dark, degrades, loses its backup or is held up when a host, service, zone or site fails or the uplink
/// is lost, and why.
///
/// The most urgent comes first: what people notice at once (fast burn), then what the next change or the next failure will
/// show (slow burn). Judged from the lab file; no host is asked, and whether a spare really takes over is not known.
#[derive(clap::Args)]
pub struct BlastCommand {
    /// What fails: a name, or `host/NAME`, `service/NAME`, `zone/NAME`, `site/NAME`, `domain/NAME` (a failure domain);
    /// or `internet`: the uplink is lost.
    #[arg(value_name = "NAME", required_unless_present = "all")]
    name: Option<String>,
    #[command(flatten)]
    lab: LabArg,
    /// Everything that takes something else with it when it fails, the worst first.
    #[arg(long)]
    all: bool,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
    /// The same as `--format json`.
    #[arg(long)]
    json: bool,
}

impl BlastCommand {
    pub fn run(mut self, terminal: &Terminal) -> Result<Exit, CliError> {
        let format = if self.json { Format::Json } else { self.format };
        if self.all {
            // With `--all` nothing is named, so the only word is the lab.
            if let (Some(word), None) = (self.name.take(), &self.lab.lab) {
                self.lab.lab = Some(word.into());
            }
            let parsed = reading::lab(&self.lab, terminal)?;
            let points = single_points(&parsed);
            match format {
                Format::Json => terminal.document(&json!({ "points": points }))?,
                Format::Markdown => terminal.data(&words::points_markdown(&points)),
                Format::Table if points.is_empty() => terminal.say("nothing takes anything else with it"),
                Format::Table => {
                    terminal.data(&words::points(&points, terminal.width));
                    terminal.say(&format!(
                        "{}: services that go dark (in production), roles and zones with them, what loses copies, what is held up",
                        count(points.len(), "single point") + " of failure"
                    ));
                    terminal.hint("`labwright blast NAME` tells why");
                }
            }
            return Ok(Exit::Done);
        }
        let parsed = reading::lab(&self.lab, terminal)?;
        let name = self.name.unwrap_or_default();
        let thing = target(&parsed, &name).map_err(|why| refused(&name, why))?;
        let blast = blast(&parsed, &thing);
        match format {
            Format::Json => terminal.document(&blast)?,
            Format::Markdown => terminal.data(&words::markdown(&blast)),
            Format::Table => {
                terminal.data(&words::text(&blast, terminal.out_color, terminal.width));
                terminal.say(&words::summary(&blast));
            }
        }
        Ok(Exit::Done)
    }
}

fn refused(name: &str, why: NoTarget) -> CliError {
    match why {
        NoTarget::Unknown { near } => {
            let error = CliError::usage(format!("nothing in the lab is named `{name}`"));
            match near {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => {
                    error.hint("name a host, service, zone, site or failure domain, or `internet`; `labwright inventory` lists them")
                }
            }
        }
        NoTarget::Ambiguous(ways) => {
            let ways: Vec<String> = ways.iter().map(|way| format!("`{way}`")).collect();
            CliError::usage(format!("`{name}` is the name of several things"))
                .hint(format!("write {}", ways.join(" or ")))
        }
    }
}
