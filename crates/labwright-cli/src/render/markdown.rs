//! A plan as Markdown, for a pull request.

use std::fmt::Write;

use labwright_plan::{Consequence, Plan};

use super::{diff, plan as words};

pub fn text(plan: &Plan) -> String {
    let mut out = format!("### Plan for lab `{}`\n\n{}\n", plan.lab, words::summary(plan));
    for host in words::hosts(plan) {
        let _ = writeln!(out, "\n#### {host}\n\n| | resource | why | costs |\n|---|---|---|---|");
        let steps = || plan.steps.iter().filter(|step| step.id.host() == host);
        for step in steps() {
            let price = if step.consequence == Consequence::None { "" } else { step.consequence.word() };
            let _ = writeln!(
                out,
                "| {} | {} `{}` | {} | {price} |",
                step.action.word(),
                step.id.kind(),
                step.id.name(),
                step.because
            );
        }
        for step in steps() {
            let lines: Vec<String> = step.changes.iter().flat_map(|change| diff::lines(change, false)).collect();
            if step.changes.is_empty() || step.action == labwright_plan::Action::Create {
                continue;
            }
            let _ = writeln!(
                out,
                "\n<details><summary>{} <code>{}</code></summary>\n\n```diff\n{}\n```\n\n</details>",
                step.id.kind(),
                step.id.name(),
                lines.join("\n")
            );
        }
    }
    let report = &plan.report;
    let mut list = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            let _ = writeln!(
                out,
                "\n**{title}**\n\n{}",
                lines.iter().map(|line| format!("- {line}\n")).collect::<String>()
            );
        }
    };
    list("Not reached", report.away.iter().map(|away| format!("`{}`: {}", away.host, away.reason)).collect());
    list("Blocked", report.blocked.iter().map(|blocked| format!("`{}`: {}", blocked.id, blocked.reason)).collect());
    list(
        "No longer declared, and kept",
        report.kept.iter().map(|kept| format!("`{}`: {}", kept.id, kept.reason)).collect(),
    );
    out
}
