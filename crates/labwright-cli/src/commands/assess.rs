//! `labwright assess`: who answers for what, and the four questions, for every service.

use labwright_plan::assess::{Evidence, assess};

use super::reading::{self, Format};
use crate::error::{CliError, Exit};
use crate::lab::LabArg;
use crate::render::{assess as words, findings::count};
use crate::terminal::Terminal;

/// Tells for every service who answers for hardware, system and backups, and answers four questions about it.
///
/// Could I restore it? Would I detect a compromise? Do I understand its security model? Can I rebuild it from
/// documentation? Each is answered yes, partly or no, with what the lab file gives for it (+) and what would make it a yes
/// (-). Nothing is tried: a yes is a promise of the file. Levels: 0 SaaS, 1 hosted platform, 2 rented machine, 3a one's own
/// to learn on, 3b one's own that people rely on.
///
/// Exits with 0, or with `--deny` with 3 when a production service has a no.
#[derive(clap::Args)]
pub struct Assess {
    #[command(flatten)]
    lab: LabArg,
    /// Only this service; may be given again.
    #[arg(long, value_name = "SERVICE")]
    only: Vec<String>,
    /// Exit with 3 when a production service has a `no`.
    #[arg(long)]
    deny: bool,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
    /// The same as `--format json`.
    #[arg(long)]
    json: bool,
}

impl Assess {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = reading::lab_today(&self.lab, terminal)?;
        let mut assessment = assess(&parsed, &Evidence::File);
        for only in &self.only {
            if !parsed.lab.services.contains_key(only) {
                let names = parsed.lab.services.keys().map(String::as_str);
                let near = labwright_model::finding::nearest(only, names).map(|near| format!("did you mean `{near}`?"));
                return Err(CliError::usage(format!("there is no service `{only}`")).hint(near.unwrap_or_default()));
            }
        }
        let wanted = |name: &str| {
            let is = |only: &String| {
                name.strip_prefix(only.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(" ("))
            };
            self.only.is_empty() || self.only.iter().any(is)
        };
        assessment.services.retain(|assessed| wanted(&assessed.service));
        let denied: Vec<&str> =
            assessment.services.iter().filter(|row| row.is_denied()).map(|row| row.service.as_str()).collect();
        match self.format {
            Format::Json => terminal.document(&assessment)?,
            _ if self.json => terminal.document(&assessment)?,
            Format::Markdown => terminal.data(&words::markdown(&assessment)),
            Format::Table if assessment.services.is_empty() => {
                terminal.say("the lab has no services: there is nothing to assess")
            }
            Format::Table => {
                terminal.data(&words::matrix(&assessment));
                terminal.data(&words::points(&assessment, terminal.out_color, terminal.width));
            }
        }
        if !denied.is_empty() {
            let services = count(denied.len(), "production service");
            terminal.say(&format!("{services} with a no: {}", denied.join(", ")));
        }
        Ok(if self.deny && !denied.is_empty() { Exit::Findings } else { Exit::Done })
    }
}
