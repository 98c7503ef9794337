//! What goes on during an apply: bars where somebody watches, lines elsewhere, JSON where asked; and the table at the end.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use labwright_engine::protocol::{Event, Outcome};
use labwright_engine::{Outcomes, Sink};
use labwright_plan::{Plan, ResourceId};

use super::table;
use crate::terminal::{Ink, Terminal, ink};

/// How events are told.
pub enum Telling<'a> {
    Bars(Bars),
    Lines(&'a Terminal),
    Json(&'a Terminal),
    Silent,
}

impl<'a> Telling<'a> {
    pub fn new(plan: &Plan, terminal: &'a Terminal, json: bool) -> Self {
        match (json, terminal.watched) {
            (true, _) => Telling::Json(terminal),
            (false, true) => Telling::Bars(Bars::new(plan)),
            // A line for each of thousands of steps would bury what matters.
            (false, false) if plan.steps.len() > 400 => Telling::Silent,
            (false, false) => Telling::Lines(terminal),
        }
    }
}

impl Sink for Telling<'_> {
    fn event(&self, event: &Event) {
        match self {
            Telling::Bars(bars) => bars.event(event),
            Telling::Json(terminal) => terminal.json_line(&serde_json::json!({ "event": event })),
            Telling::Silent => {}
            Telling::Lines(terminal) => match event {
                Event::Started { .. } => {}
                Event::Progress { id, text } => {
                    terminal.say(&format!("{}: {} {}: {text}", id.host(), id.kind(), id.name()))
                }
                Event::Ended { id, outcome } => {
                    terminal.say(&format!(
                        "{}: {} {} {}{}",
                        id.host(),
                        outcome.word(),
                        id.kind(),
                        id.name(),
                        reason(outcome)
                    ));
                }
            },
        }
    }
}

/// One bar for each host.
pub struct Bars {
    all: MultiProgress,
    hosts: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Bars {
    fn new(plan: &Plan) -> Self {
        let all = MultiProgress::new();
        let style = ProgressStyle::with_template("{prefix:20} {bar:24} {pos}/{len} {wide_msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for step in &plan.steps {
            *counts.entry(step.id.host().to_string()).or_default() += 1;
        }
        let bar = |(host, count): (String, u64)| {
            let bar = all.add(ProgressBar::new(count).with_style(style.clone()).with_prefix(host.clone()));
            (host, bar)
        };
        let hosts = counts.into_iter().map(bar).collect();
        Bars { all, hosts: Mutex::new(hosts) }
    }

    fn event(&self, event: &Event) {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = |id: &ResourceId| hosts.get(id.host());
        match event {
            Event::Started { id } => drop(bar(id).map(|bar| bar.set_message(format!("{} {}", id.kind(), id.name())))),
            Event::Progress { id, text } => drop(bar(id).map(|bar| bar.set_message(format!("{}: {text}", id.name())))),
            Event::Ended { id, outcome } => {
                if *outcome != Outcome::Done {
                    let line =
                        format!("{}: {} {} {}{}", id.host(), outcome.word(), id.kind(), id.name(), reason(outcome));
                    // The bars go on whether or not this line could be shown.
                    drop(self.all.println(line));
                }
                if let Some(bar) = bar(id) {
                    bar.inc(1);
                    if bar.length() == Some(bar.position()) {
                        bar.finish_with_message("");
                    }
                }
            }
        }
    }
}

fn reason(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done => String::new(),
        Outcome::Failed(error) | Outcome::Reverted(error) => format!(": {}", error.message),
        Outcome::Skipped { because } | Outcome::NotStarted { because } | Outcome::Unknown { because } => {
            format!(": {because}")
        }
    }
}

/// Counts by host and outcome, then every step that is not done, with its reason and the way on.
pub fn result(outcomes: &Outcomes, color: bool) -> String {
    let mut hosts: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for (id, outcome) in outcomes {
        *hosts.entry(id.host()).or_default().entry(outcome.word()).or_default() += 1;
    }
    let heading: Vec<&str> = std::iter::once("host").chain(Outcome::WORDS).collect();
    let row = |(host, counts): (&&str, &BTreeMap<&str, usize>)| {
        let cells =
            Outcome::WORDS.iter().map(|word| counts.get(word).map_or_else(|| "-".to_string(), usize::to_string));
        std::iter::once(host.to_string()).chain(cells).collect::<Vec<String>>()
    };
    let mut out = table::text(&heading, &hosts.iter().map(row).collect::<Vec<_>>());
    let open: Vec<&(ResourceId, Outcome)> = outcomes.iter().filter(|(_, outcome)| *outcome != Outcome::Done).collect();
    for (id, outcome) in open.iter().take(50) {
        let _ = writeln!(out, "{} {id}{}", ink(color, Ink::Red, outcome.word()), reason(outcome));
        if let Outcome::Failed(error) | Outcome::Reverted(error) = outcome
            && !error.help.is_empty()
        {
            let _ = writeln!(out, "  {} {}", ink(color, Ink::Cyan, "hint:"), error.help);
        }
    }
    if open.len() > 50 {
        let _ = writeln!(out, "… and {} more; `labwright history` lists them", open.len() - 50);
    }
    out
}
