//! A running lab as a terminal shows it: one line a unit that changes in place, or, where nobody watches, a line for each
//! change and each line that is said.

use std::fmt::Write as _;

use labwright_model::snapshot::up::LeftOut;
use labwright_model::snapshot::up::control::{Line, Phase, Source, State, Status};

use crate::terminal::{Ink, Terminal, ink};

const INKS: [Ink; 4] = [Ink::Cyan, Ink::Green, Ink::Yellow, Ink::Bold];

/// What is known of a lab that is followed.
#[derive(Default)]
pub struct View {
    pub state: State,
    /// How many lines were drawn that the next drawing replaces.
    drawn: usize,
}

impl View {
    pub fn of(state: State) -> View {
        View { state, drawn: 0 }
    }

    /// Takes a change in; whether there was one.
    pub fn take(&mut self, status: Status) {
        match self.state.units.iter_mut().find(|unit| unit.name == status.name) {
            Some(unit) => *unit = status,
            None => self.state.units.push(status),
        }
    }

    /// Draws all units in place of what was drawn before.
    pub fn draw(&mut self, terminal: &Terminal) {
        let term = console::Term::stderr();
        let (rows, columns) = term.size();
        let lines = table(&self.state, terminal.err_color, usize::from(columns).max(40));
        let room = usize::from(rows).saturating_sub(2).max(5);
        let mut shown = fitted(&self.state, lines, room);
        // Whoever waits for something that never comes looks there before everything is settled.
        if let Some(link) = self.state.dashboard.as_ref().filter(|_| !self.state.settled && !self.state.ending) {
            shown.push(format!("  dashboard  {}", ink(terminal.err_color, Ink::Cyan, link)));
        }
        let mut text = String::new();
        for line in &shown {
            let _ = writeln!(text, "{line}");
        }
        drop(term.clear_last_lines(self.drawn));
        drop(term.write_str(&text));
        self.drawn = shown.len();
    }

    /// What was drawn stays; what is said next stands below it.
    pub fn leave(&mut self) {
        self.drawn = 0;
    }

    pub fn prefix(&self, line: &Line, color: bool) -> String {
        let width = self.state.units.iter().map(|unit| unit.name.chars().count()).max().unwrap_or(0);
        let number = self.state.units.iter().position(|unit| unit.name == line.unit).unwrap_or(0);
        let name = format!("{:<width$} |", line.unit);
        ink(color, INKS[number % INKS.len()], &name).into_owned()
    }
}

/// Where there is no room for all, those are shown that are not well.
fn fitted(state: &State, lines: Vec<String>, room: usize) -> Vec<String> {
    if lines.len() <= room {
        return lines;
    }
    let mut shown: Vec<String> = lines
        .into_iter()
        .zip(&state.units)
        .filter(|(_, unit)| !unit.phase.is_well())
        .map(|(line, _)| line)
        .take(room.saturating_sub(1))
        .collect();
    let well = state.units.iter().filter(|unit| unit.phase.is_well()).count();
    shown.push(format!("  {well} of {} are well", state.units.len()));
    shown
}

fn sign(phase: Phase) -> (&'static str, Ink) {
    match phase {
        Phase::Ready | Phase::Done => ("✓", Ink::Green),
        Phase::Failed => ("✗", Ink::Red),
        Phase::Unwell | Phase::Pausing => ("!", Ink::Yellow),
        Phase::Starting | Phase::Stopping => ("…", Ink::Cyan),
        Phase::Waiting | Phase::Stopped => ("·", Ink::Dim),
    }
}

/// One line for each unit, no wider than `width`.
pub fn table(state: &State, color: bool, width: usize) -> Vec<String> {
    let names = state.units.iter().map(|unit| unit.name.chars().count()).max().unwrap_or(0);
    let line = |unit: &Status| {
        let (sign, hue) = sign(unit.phase);
        let mut facts: Vec<String> = Vec::new();
        facts.extend(unit.took.filter(|_| unit.phase.is_well()).map(seconds));
        facts.extend(unit.port.map(|port| format!("port {port}")));
        facts.extend(unit.pid.map(|pid| format!("pid {pid}")));
        facts.extend(in_containers(unit));
        if unit.restarts > 0 {
            facts.push(format!("started {} times", unit.restarts + 1));
        }
        match (&unit.reason, unit.links.first()) {
            (reason, _) if !reason.is_empty() => facts.push(reason.clone()),
            (_, Some(link)) if unit.phase.is_well() => facts.push(link.clone()),
            _ => {}
        }
        let text = format!("{:<names$}  {:<10}  {}", unit.name, unit.phase.word(), facts.join("  "));
        let text: String = text.trim_end().chars().take(width.saturating_sub(4)).collect();
        format!("{} {text}", ink(color, hue, sign))
    };
    state.units.iter().map(line).collect()
}

/// The containers that a unit is made of: the name of the one, or how many run.
fn in_containers(unit: &Status) -> Option<String> {
    match unit.containers.as_slice() {
        [] => None,
        [one] => Some(format!("container {}", one.name)),
        many => {
            let up = many.iter().filter(|one| matches!(one.state.as_str(), "running" | "healthy")).count();
            Some(format!("{up} of {} containers", many.len()))
        }
    }
}

fn seconds(millis: u64) -> String {
    match millis {
        0..1000 => format!("{millis} ms"),
        _ => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
    }
}

/// A change of one unit, as a line.
pub fn change(unit: &Status, color: bool) -> String {
    let (_, hue) = sign(unit.phase);
    let mut text = format!("{}: {}", unit.name, ink(color, hue, unit.phase.word()));
    if let Some(took) = unit.took.filter(|_| unit.phase.is_well()) {
        let _ = write!(text, " after {}", seconds(took));
    }
    let facts: Vec<String> = [unit.port.map(|port| format!("port {port}")), unit.pid.map(|pid| format!("pid {pid}"))]
        .into_iter()
        .flatten()
        .collect();
    if unit.phase == Phase::Ready && !facts.is_empty() {
        let _ = write!(text, " ({})", facts.join(", "));
    }
    if !unit.reason.is_empty() {
        let _ = write!(text, ": {}", unit.reason);
    }
    text
}

/// Where a person looks at what runs.
pub fn links(state: &State, color: bool) -> String {
    let units = state.units.iter().filter(|unit| !unit.links.is_empty());
    let mut all: Vec<(&str, String)> = units.map(|unit| (unit.name.as_str(), unit.links.join("  "))).collect();
    all.extend(state.dashboard.iter().map(|link| ("dashboard", link.clone())));
    let width = all.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, links) in all {
        let _ = writeln!(text, "  {name:<width$}  {}", ink(color, Ink::Cyan, &links));
    }
    if let Some(authority) = &state.authority {
        let _ = writeln!(text, "  their certificates are of the lab's own authority: {authority}");
    }
    text
}

/// What is not well, and why: the reason, and the last that it said.
pub fn unwell(state: &State, color: bool) -> String {
    let mut text = String::new();
    for unit in state.units.iter().filter(|unit| !unit.phase.is_well()) {
        let _ = match unit.reason.is_empty() {
            true => writeln!(text, "{} is {}", ink(color, Ink::Red, &unit.name), unit.phase.word()),
            false => writeln!(text, "{} is {}: {}", ink(color, Ink::Red, &unit.name), unit.phase.word(), unit.reason),
        };
        for line in &unit.last {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

/// What is not here, and why.
pub fn left_out(terminal: &Terminal, all: &[LeftOut], notes: &[String]) {
    for left in all.iter().filter(|left| left.fault) {
        terminal.warn(&format!("`{}` is left out: {}", left.what, left.reason));
        if !left.help.is_empty() {
            terminal.hint(&left.help);
        }
    }
    for left in all.iter().filter(|left| !left.fault) {
        terminal.say(&format!("not here: {} ({})", left.what, left.reason));
    }
    notes.iter().for_each(|note| terminal.say(&format!("note: {note}")));
}

/// One line that a unit said, or that is said of it.
pub fn line(view: &View, line: &Line, terminal: &Terminal) {
    let text = format!("{} {}\n", view.prefix(line, terminal.out_color), line.text);
    match line.source {
        Source::Note => terminal.say(&ink(terminal.err_color, Ink::Dim, text.trim_end())),
        Source::Out | Source::Err | Source::Log => terminal.data(&text),
    }
}
