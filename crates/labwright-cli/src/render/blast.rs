//! What a failure takes with it, as a person reads it and as Markdown.
//! Things that fail alike, for the same reason, are said together.

use std::collections::HashMap;
use std::fmt::Write;

use labwright_plan::blast::{Affected, Blast, Kind, Point, Urgency};

use super::findings::count;
use super::lines::wrapped;
use super::table;
use crate::terminal::{Ink, ink};

/// What the four kinds of harm are called, and what that means.
fn heading(urgency: Urgency) -> (&'static str, &'static str) {
    match urgency {
        Urgency::Dark => ("Dark", "does not work, or cannot be reached; fast burn"),
        Urgency::Degraded => ("Degraded", "works with less, and has no spare; fast burn"),
        Urgency::Unprotected => ("Backup lost", "copies are gone, or out of reach; slow burn"),
        Urgency::Held => ("Held up", "runs on, and cannot be deployed, changed or watched; slow burn"),
    }
}

/// Things that fail alike.
struct Alike<'a> {
    first: &'a Affected,
    names: Vec<&'a str>,
}

fn alike(blast: &Blast, urgency: Urgency) -> Vec<Alike<'_>> {
    let mut groups: Vec<Alike> = Vec::new();
    let mut known = HashMap::new();
    for affected in blast.of(urgency) {
        let because: Vec<&str> = affected.because.iter().map(|link| link.one.as_str()).collect();
        let alike = (affected.thing.kind, affected.production, &affected.what, because, &affected.then);
        match known.get(&alike) {
            Some(at) => {
                let group: &mut Alike = &mut groups[*at];
                group.names.push(&affected.thing.name);
            }
            None => {
                known.insert(alike, groups.len());
                groups.push(Alike { first: affected, names: vec![&affected.thing.name] });
            }
        }
    }
    groups
}

impl Alike<'_> {
    /// `services git, photos (production)`.
    fn subject(&self) -> String {
        let kind = match (self.first.thing.kind, self.names.len()) {
            (Kind::Role, _) => String::new(),
            (kind, 1) => format!("{} ", kind.word()),
            (kind, _) => format!("{}s ", kind.word()),
        };
        let production = if self.first.production { " (production)" } else { "" };
        format!("{kind}{}{production}", self.names.join(", "))
    }

    fn because(&self) -> String {
        let links = self.first.because.iter().enumerate();
        let text = |(n, link): (usize, &labwright_plan::blast::Link)| match (n, self.names.len()) {
            (0, 2..) => link.many.clone(),
            _ => link.one.clone(),
        };
        links.map(text).collect::<Vec<_>>().join(", which ")
    }
}

/// "If host `pve-01` fails".
fn case(blast: &Blast) -> String {
    match blast.fails.kind {
        Kind::Internet => "If the uplink to the internet is lost".to_string(),
        kind => format!("If {} `{}` fails", kind.word(), blast.fails.name),
    }
}

pub fn text(blast: &Blast, color: bool, width: usize) -> String {
    let mut out = String::new();
    let about = if blast.about.is_empty() { String::new() } else { format!(" ({})", blast.about) };
    let title = match blast.fails.kind {
        Kind::Internet => format!("{}:", case(blast)),
        _ => format!("If {} `{}`{about} fails:", blast.fails.kind.word(), blast.fails.name),
    };
    out += &wrapped("", &title, width);
    if let Some(then) = &blast.then {
        out += &wrapped("    → ", then, width);
    }
    for urgency in Urgency::ALL {
        let groups = alike(blast, urgency);
        if groups.is_empty() {
            continue;
        }
        let (name, meaning) = heading(urgency);
        let paint = if urgency.is_fast() { Ink::Red } else { Ink::Yellow };
        let _ = writeln!(out, "\n{}: {meaning}", ink(color, paint, name));
        for group in groups {
            out += &wrapped("  ", &group.subject(), width);
            let what = &group.first.what;
            if !what.is_empty() {
                out += &wrapped("      ", what, width);
            }
            if !group.first.because.is_empty() {
                let they = if group.names.len() > 1 { "they" } else { "it" };
                out += &wrapped("      ", &format!("because {they} {}", group.because()), width);
            }
            if let Some(then) = &group.first.then {
                out += &wrapped("      → ", then, width);
            }
        }
    }
    if !blast.recovery.is_empty() {
        out += "\n";
        out += &wrapped("", &format!("Bring back in this order: {}", in_order(blast)), width);
    }
    out
}

/// "host pve-01, service login": the order of recovery.
fn in_order(blast: &Blast) -> String {
    let named = |thing: &labwright_plan::blast::Thing| format!("{} `{}`", thing.kind.word(), thing.name);
    blast.recovery.iter().map(named).collect::<Vec<_>>().join(", ")
}

/// One line for the end: how much of the lab it is.
pub fn summary(blast: &Blast) -> String {
    let of = |urgency, kind| blast.of(urgency).filter(|affected| affected.thing.kind == kind).count();
    if blast.affected.is_empty() {
        return "nothing else goes with it".to_string();
    }
    let dark = of(Urgency::Dark, Kind::Service);
    let relied = blast.of(Urgency::Dark).filter(|affected| affected.production).count();
    let relied = if relied > 0 { format!(" ({relied} in production)") } else { String::new() };
    let mut parts = vec![format!("{}{relied} dark", count(dark, "service"))];
    for (urgency, word) in
        [(Urgency::Degraded, "degraded"), (Urgency::Unprotected, "losing copies"), (Urgency::Held, "held up")]
    {
        let n = blast.of(urgency).count();
        if n > 0 {
            parts.push(format!("{n} {word}"));
        }
    }
    parts.join(", ")
}

pub fn markdown(blast: &Blast) -> String {
    let mut out = format!("## {}\n\n{}\n", case(blast), summary(blast));
    if let Some(then) = &blast.then {
        let _ = writeln!(out, "\nTo bring it back: {then}");
    }
    for urgency in Urgency::ALL {
        let groups = alike(blast, urgency);
        if groups.is_empty() {
            continue;
        }
        let (name, meaning) = heading(urgency);
        let row = |group: Alike| {
            let then = group.first.then.clone().unwrap_or_default();
            vec![group.subject(), group.first.what.clone(), group.because(), then]
        };
        let rows: Vec<Vec<String>> = groups.into_iter().map(row).collect();
        let _ = write!(
            out,
            "\n### {name}\n\n{meaning}\n\n{}",
            table::markdown(&["what", "means", "because", "then"], &rows)
        );
    }
    if !blast.recovery.is_empty() {
        let _ = writeln!(out, "\nBring back in this order: {}", in_order(blast));
    }
    out
}

const POINTS: [&str; 6] = ["IF THIS FAILS", "DARK", "ROLES", "COPIES", "HELD", "BECAUSE IT IS"];

fn rows(points: &[Point]) -> Vec<Vec<String>> {
    let number = |n: usize| if n == 0 { "-".to_string() } else { n.to_string() };
    let dark = |point: &Point| match point.production {
        0 => number(point.dark),
        production => format!("{} ({production})", point.dark),
    };
    let row = |point: &Point| {
        vec![
            format!("{}/{}", point.thing.kind.word(), point.thing.name),
            dark(point),
            number(point.roles),
            number(point.unprotected),
            number(point.held),
            point.about.clone(),
        ]
    };
    points.iter().map(row).collect()
}

/// Single points of failure, the worst first.
pub fn points(points: &[Point], width: usize) -> String {
    let mut rows = rows(points);
    let short: Vec<Vec<String>> = rows.iter().map(|row| row[..5].to_vec()).collect();
    let used = table::text(&POINTS[..5], &short).lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let left = width.saturating_sub(used + 2).max(12);
    for row in &mut rows {
        if row[5].chars().count() > left {
            row[5] = row[5].chars().take(left - 1).chain(['…']).collect();
        }
    }
    table::text(&POINTS, &rows)
}

pub fn points_markdown(points: &[Point]) -> String {
    let heading =
        ["if this fails", "dark (production)", "roles and zones", "losing copies", "held up", "because it is"];
    format!("## Single points of failure\n\n{}", table::markdown(&heading, &rows(points)))
}
