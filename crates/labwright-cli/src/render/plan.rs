//! A plan as a person reads it: by host, in the order of the steps, with its price and its reasons.
//! Fits 80 columns, needs no colour, and stays short with a thousand steps.

use std::fmt::Write;

use labwright_plan::{Action, Consequence, Plan, Report, Step, Value, Why};

use super::diff;
use super::findings::count;
use crate::terminal::{Ink, ink};

/// With more steps than this, long runs of like steps are folded.
const FOLD_FROM: usize = 40;
/// Of a folded run, this many are named.
const NAMED: usize = 3;

pub struct Style {
    pub color: bool,
    /// Fold nothing, cut nothing.
    pub full: bool,
    /// Columns that a line should fit in.
    pub width: usize,
    /// What stands above the things that stay although the lab file does not ask for them.
    pub kept: &'static str,
}

/// That heading, where things stay because nobody asked for them to go, or because they hold data.
pub const KEPT: &str = "no longer declared, and kept";

pub fn text(plan: &Plan, style: &Style) -> String {
    let mut out = String::new();
    let hosts = hosts(plan);
    for host in &hosts {
        let _ = writeln!(out, "{}", ink(style.color, Ink::Bold, host));
        let steps: Vec<&Step> = plan.steps.iter().filter(|step| step.id.host() == *host).collect();
        let fold = !style.full && plan.steps.len() > FOLD_FROM;
        let mut rest = &steps[..];
        while let Some(first) = rest.first() {
            let like = |step: &&&Step| {
                step.action == first.action
                    && step.id.kind() == first.id.kind()
                    && step.consequence == first.consequence
            };
            let run = rest.iter().take_while(like).count();
            let shown = if fold && run > NAMED + 1 { NAMED } else { run };
            rest[..shown].iter().for_each(|step| step_text(&mut out, step, style, fold));
            if shown < run {
                let _ = writeln!(
                    out,
                    "  {} … and {} more of kind {} to {}; --full names them",
                    sign(first.action),
                    run - shown,
                    first.id.kind(),
                    first.action.word()
                );
            }
            rest = &rest[run..];
        }
        out.push('\n');
    }
    out.push_str(&report(&plan.report, style));
    let _ = writeln!(out, "{}", ink(style.color, Ink::Bold, &summary(plan)));
    out
}

pub fn hosts(plan: &Plan) -> Vec<&str> {
    let mut hosts: Vec<&str> = plan.steps.iter().map(|step| step.id.host()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

pub fn sign(action: Action) -> &'static str {
    match action {
        Action::Create => "+",
        Action::Update => "~",
        Action::Replace => "±",
        Action::Delete => "-",
        Action::Adopt => "=",
        Action::Release => "o",
    }
}

fn step_text(out: &mut String, step: &Step, style: &Style, brief: bool) {
    let tint = match step.action {
        Action::Create => Ink::Green,
        Action::Delete | Action::Replace => Ink::Red,
        Action::Update => Ink::Yellow,
        Action::Adopt | Action::Release => Ink::Dim,
    };
    let price = match step.consequence {
        Consequence::None => String::new(),
        other => format!(" [{other}]"),
    };
    let head = format!("{} {} {}", sign(step.action), step.id.kind(), step.id.name());
    // A reason that does not fit beside its step stands below it.
    let fits = 4 + head.chars().count() + price.len() + step.because.chars().count() <= style.width;
    let gap = if fits { "  " } else { "\n      " };
    let (head, because) = (ink(style.color, tint, &head), ink(style.color, Ink::Dim, &step.because));
    let _ = writeln!(out, "  {head}{price}{gap}{because}");
    if step.action == Action::Create && brief {
        return;
    }
    for change in &step.changes {
        if step.action == Action::Create && !worth_showing(change) {
            continue;
        }
        for line in diff::lines(change, style.full) {
            let tint = match line.as_bytes().first() {
                Some(b'+') => Ink::Green,
                Some(b'-') => Ink::Red,
                _ => Ink::Dim,
            };
            let _ = writeln!(out, "      {}", ink(style.color, tint, &line));
        }
    }
}

/// A new thing's fields are told where they say more than that it is there.
fn worth_showing(change: &labwright_plan::Change) -> bool {
    let empty = match &change.after {
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        _ => false,
    };
    !empty && !matches!(change.field.as_str(), "type" | "installed" | "inputs")
}

/// Why the rest has no step.
fn report(report: &Report, style: &Style) -> String {
    let mut out = String::new();
    let mut section = |title: String, tint: Ink, lines: Vec<(String, String)>| {
        if lines.is_empty() {
            return;
        }
        let _ = writeln!(out, "{}", ink(style.color, tint, &title));
        for (line, help) in lines {
            let _ = writeln!(out, "  {line}");
            if !help.is_empty() {
                let _ = writeln!(out, "    {} {help}", ink(style.color, Ink::Cyan, "hint:"));
            }
        }
        let _ = writeln!(out);
    };
    let interrupted = report.interrupted.iter().map(|(host, run)| {
        let unknown = run.unknown.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
        let begun = if unknown.is_empty() { String::new() } else { format!(", begun with unknown outcome: {unknown}") };
        (
            format!(
                "{host}: run {} by {} was cut off: {} done, {} not started{begun}",
                run.run, run.by, run.done, run.not_started
            ),
            String::new(),
        )
    });
    section(
        "an earlier run never ended; this plan goes on from what is there".into(),
        Ink::Yellow,
        interrupted.collect(),
    );
    let skew = report.clock_skew.iter().map(|(host, seconds)| {
        (format!("{host}: {} s {}", seconds.abs(), if *seconds > 0 { "ahead" } else { "behind" }), String::new())
    });
    section("clocks differ from this machine's".into(), Ink::Yellow, skew.collect());
    let resources = |away: &labwright_plan::Away| {
        format!("{}: {} ({} declared there)", away.host, away.reason, count(away.resources, "resource"))
    };
    let away = report.away.iter().filter(|away| !away.intermittent).map(|away| (resources(away), away.help.clone()));
    section("not reached; what is there is unknown, and nothing is planned for it".into(), Ink::Red, away.collect());
    let debt = report.away.iter().filter(|away| away.intermittent).map(|away| (resources(away), String::new()));
    section("away, as they may be; left for the next time".into(), Ink::Yellow, debt.collect());
    let direct = report.blocked.iter().filter(|blocked| blocked.why != Why::Dependency);
    section(
        "blocked".into(),
        Ink::Red,
        direct.map(|blocked| (format!("{}: {}", blocked.id, blocked.reason), blocked.help.clone())).collect(),
    );
    let behind = report.blocked.iter().filter(|blocked| blocked.why == Why::Dependency);
    section(
        "blocked with them".into(),
        Ink::Red,
        behind.map(|blocked| (format!("{}: {}", blocked.id, blocked.reason), String::new())).collect(),
    );
    let kept = report.kept.iter().map(|kept| (format!("{}: {}", kept.id, kept.reason), String::new()));
    section(style.kept.into(), Ink::Yellow, kept.collect());
    out
}

/// The one line that is read even when nothing else is.
pub fn summary(plan: &Plan) -> String {
    let mut parts: Vec<String> =
        [Action::Create, Action::Update, Action::Replace, Action::Delete, Action::Adopt, Action::Release]
            .into_iter()
            .map(|action| (plan.count(action), action.word()))
            .filter(|(n, _)| *n > 0)
            .map(|(n, word)| format!("{n} to {word}"))
            .collect();
    if parts.is_empty() {
        parts.push("nothing to do".into());
    }
    for (n, what) in [
        (plan.report.unchanged, "unchanged"),
        (plan.report.blocked.len(), "blocked"),
        (plan.report.left_out, "left out"),
    ] {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    }
    let price = match plan.worst() {
        Consequence::None => String::new(),
        worst => format!("; costs at worst: {worst}"),
    };
    format!("plan {}: {}{price}", plan.id, parts.join(", "))
}
