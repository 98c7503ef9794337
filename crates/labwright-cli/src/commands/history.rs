//! `labwright history`: who, what, when, with which result.

use std::fmt::Write;

use labwright_engine::history::{self, Entry, Runs, Unreadable};
use labwright_engine::protocol::Outcome;

use crate::error::{CliError, Exit};
use crate::lab::{LabArg, read};
use crate::render::table;
use crate::terminal::Terminal;

/// Lists the runs of the lab from this machine, or one run step by step.
#[derive(clap::Args)]
pub struct History {
    #[command(flatten)]
    lab: LabArg,
    /// Show this run; the front of its id is enough, and `last` is the newest.
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

impl History {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let lab = read(&self.lab)?;
        let name = &lab.parsed.lab.lab.value;
        let Runs { runs: entries, unreadable } = history::read(name)
            .map_err(|error| CliError::usage(format!("cannot read the history of `{name}`: {error}")))?;
        for Unreadable { run, path, why } in &unreadable {
            let shown = path.display();
            terminal
                .warn(&format!("what is written of run `{run}` cannot be read, or not all of it: `{shown}`: {why}"));
        }
        if !unreadable.is_empty() {
            terminal.hint("the hosts' own journals say what was done: /var/lib/labwright/labs/LAB/journal/RUN.jsonl");
        }
        if let Some(run) = &self.run {
            let found = match run.as_str() {
                "last" => entries.last(),
                run => entries.iter().find(|entry| entry.run.id.starts_with(run)),
            };
            let Some(entry) = found else {
                return Err(
                    CliError::usage(format!("there is no run `{run}`")).hint("`labwright history` lists all runs")
                );
            };
            match self.json {
                true => terminal.document(entry)?,
                false => terminal.data(&steps(entry)),
            }
            return Ok(Exit::Done);
        }
        if self.json {
            terminal.document(&Runs { runs: entries, unreadable })?;
            return Ok(Exit::Done);
        }
        if entries.is_empty() && unreadable.is_empty() {
            terminal.say(&format!("nothing was applied to lab `{name}` from this machine yet"));
            return Ok(Exit::Done);
        }
        let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
        terminal.data(&table::text(&["RUN", "WHEN", "WHO", "STEPS", "RESULT"], &rows));
        Ok(Exit::Done)
    }
}

fn row(entry: &Entry) -> Vec<String> {
    let when = entry.started.get(..19).unwrap_or(&entry.started).replace('T', " ");
    vec![entry.run.id.clone(), when, entry.run.by.clone(), entry.steps.len().to_string(), result(entry)]
}

fn result(entry: &Entry) -> String {
    let count = |word: &str| {
        entry.steps.iter().filter(|step| step.outcome.as_ref().map_or("unknown", Outcome::word) == word).count()
    };
    let parts: Vec<String> = Outcome::WORDS
        .iter()
        .map(|word| (count(word), word))
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{n} {word}"))
        .collect();
    let cut = if entry.ended.is_some() { "" } else { " (cut off)" };
    format!("{}{cut}", parts.join(", "))
}

fn steps(entry: &Entry) -> String {
    let mut out = format!("run {} by {}, plan {}: {}\n", entry.run.id, entry.run.by, entry.run.plan, result(entry));
    let _ = writeln!(out, "started {}, ended {}\n", entry.started, entry.ended.as_deref().unwrap_or("never"));
    let rows: Vec<Vec<String>> = entry
        .steps
        .iter()
        .map(|step| {
            let outcome = step.outcome.as_ref().map_or("unknown".to_string(), |outcome| match outcome {
                Outcome::Failed(error) | Outcome::Reverted(error) => format!("{}: {}", outcome.word(), error.message),
                Outcome::Skipped { because } | Outcome::NotStarted { because } | Outcome::Unknown { because } => {
                    format!("{}: {because}", outcome.word())
                }
                Outcome::Done => "done".into(),
            });
            vec![step.action.word().to_string(), step.id.to_string(), step.because.clone(), outcome]
        })
        .collect();
    out.push_str(&table::text(&["ACTION", "RESOURCE", "WHY", "RESULT"], &rows));
    out
}
