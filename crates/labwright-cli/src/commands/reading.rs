//! What the verbs that only answer share: the lab as far as it can be read, and a word about what is wrong with it.

use labwright_model::{Parsed, Severity};

use crate::error::CliError;
use crate::lab::{LabArg, Read, read, read_as_of, tell_overdue, today};
use crate::render::findings::count;
use crate::terminal::Terminal;

/// How an answer is printed.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub enum Format {
    Table,
    Markdown,
    Json,
}

/// The lab. An answer about one that contradicts itself is better than none, and says so.
pub fn lab(arg: &LabArg, terminal: &Terminal) -> Result<Parsed, CliError> {
    judged(read(arg)?, terminal)
}

/// The same, judged today: what is overdue is said.
pub fn lab_today(arg: &LabArg, terminal: &Terminal) -> Result<Parsed, CliError> {
    let lab = read_as_of(arg, Some(today()))?;
    tell_overdue(&lab.findings, terminal);
    judged(lab, terminal)
}

fn judged(lab: Read, terminal: &Terminal) -> Result<Parsed, CliError> {
    let errors = lab.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    if errors > 0 {
        terminal.warn(&format!(
            "the lab contradicts itself in {}, so the answer may be wrong there: `labwright check` names them",
            count(errors, "place")
        ));
    }
    Ok(lab.parsed)
}
