//! Who answers for what, and the four questions, as a table and point by point.

use labwright_plan::assess::{Answer, Assessed, Assessment, Question, Verdict};

use super::lines::wrapped;
use super::table;
use crate::terminal::{Ink, ink};

/// Who answers for what.
fn owners(assessed: &Assessed) -> Vec<String> {
    let level = assessed.level;
    let own = [assessed.service.as_str(), level.word(), level.environment()];
    let who = [assessed.hardware.as_str(), assessed.os.as_str(), assessed.backups.as_str()];
    own.into_iter().chain(who).map(str::to_string).collect()
}

fn verdicts(assessed: &Assessed) -> impl Iterator<Item = String> + '_ {
    Question::ALL.iter().map(|question| match assessed.answer(*question) {
        Some(answer) if answer.proven => format!("{}, proven", answer.verdict.word()),
        Some(answer) => answer.verdict.word().to_string(),
        None => "-".to_string(),
    })
}

/// The matrix, and the answers beside each other.
pub fn matrix(assessment: &Assessment) -> String {
    let rows: Vec<Vec<String>> = assessment.services.iter().map(owners).collect();
    let first = table::text(&["SERVICE", "LEVEL", "ENVIRONMENT", "HARDWARE", "OS", "BACKUPS"], &rows);
    let row = |assessed: &Assessed| std::iter::once(assessed.service.clone()).chain(verdicts(assessed)).collect();
    let rows: Vec<Vec<String>> = assessment.services.iter().map(row).collect();
    format!("{first}\n{}", table::text(&["SERVICE", "RESTORE", "DETECT", "SECURITY", "REBUILD"], &rows))
}

/// Each service, each question: what speaks for it, and what would make it a yes.
pub fn points(assessment: &Assessment, color: bool, width: usize) -> String {
    let mut out = String::new();
    for assessed in &assessment.services {
        out += &format!("\n{} ({}, {})\n", assessed.service, assessed.level.word(), assessed.level.environment());
        for answer in &assessed.answers {
            out += &format!("  {} {}\n", answer.question.text(), verdict(answer, color));
            for point in &answer.evidence {
                out += &wrapped("    + ", point, width);
            }
            for point in &answer.wanting {
                out += &wrapped("    - ", point, width);
            }
        }
    }
    out
}

fn verdict(answer: &Answer, color: bool) -> String {
    let paint = match answer.verdict {
        Verdict::No => Ink::Red,
        Verdict::Partly => Ink::Yellow,
        Verdict::Yes => Ink::Green,
    };
    let proven = if answer.proven { ", proven" } else { "" };
    format!("{}{proven}", ink(color, paint, answer.verdict.word()))
}

pub fn markdown(assessment: &Assessment) -> String {
    let heading = [
        "service",
        "level",
        "environment",
        "hardware",
        "system and software",
        "backups",
        "restore",
        "detect",
        "security",
        "rebuild",
    ];
    let row = |assessed: &Assessed| owners(assessed).into_iter().chain(verdicts(assessed)).collect();
    let rows: Vec<Vec<String>> = assessment.services.iter().map(row).collect();
    let mut out = format!("## Responsibility\n\n{}", table::markdown(&heading, &rows));
    for assessed in &assessment.services {
        out += &format!("\n### {}\n\n", assessed.service);
        for answer in &assessed.answers {
            out += &format!("- {} **{}**", answer.question.text(), answer.verdict.word());
            if !answer.evidence.is_empty() {
                out += &format!(": {}", answer.evidence.join("; "));
            }
            out.push('\n');
            out += &answer.wanting.iter().map(|point| format!("  - {point}\n")).collect::<String>();
        }
    }
    out
}
