//! What a rehearsal found, in words.

use std::fmt::Write;

use labwright_providers::rehearsal::{Mismatch, Report};

use super::findings::count;
use super::lines::wrapped;
use super::table;
use crate::terminal::{Ink, ink};

/// Ports, the first few of them.
fn ports(ports: &[String]) -> String {
    const SHOWN: usize = 8;
    let more = if ports.len() > SHOWN { format!(" and {} more", ports.len() - SHOWN) } else { String::new() };
    format!("{}{more}", ports[..ports.len().min(SHOWN)].join(", "))
}

fn lines(out: &mut String, all: &[Mismatch], width: usize) {
    for one in all {
        *out += &wrapped("  ", &format!("{} → {} ({}): {}", one.from, one.to, one.address, ports(&one.ports)), width);
        if !one.because.is_empty() {
            *out += &wrapped("      ", &one.because, width);
        }
    }
}

pub fn text(report: &Report, color: bool, width: usize) -> String {
    let mut out = String::new();
    for (all, name, paint, meaning) in [
        (&report.leaks, "Leaks", Ink::Red, "denied, and through all the same"),
        (&report.false_blocks, "False blocks", Ink::Red, "allowed, and not through"),
        (&report.lost, "Lost", Ink::Yellow, "open, and not working while it is stopped"),
        (
            &report.unanswered,
            "Not answered",
            Ink::Yellow,
            "allowed, and the answer takes another way (`labwright explain LW-NET-020`)",
        ),
    ] {
        if !all.is_empty() {
            let _ = writeln!(out, "{}: {meaning}", ink(color, paint, name));
            lines(&mut out, all, width);
            out.push('\n');
        }
    }
    if !report.unenforced.is_empty() {
        let title = ink(color, Ink::Yellow, "Not enforced");
        let _ = writeln!(out, "{title}: denied by the matrix, and nothing on the way denies it");
        let mut by_target: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
        for one in &report.unenforced {
            by_target.entry(&one.to).or_default().push(&one.from);
        }
        for (to, from) in by_target {
            out += &wrapped("  ", &format!("to {to} from {}", from.join(", ")), width);
        }
        out.push('\n');
    }
    out
}

pub fn summary(report: &Report) -> String {
    let tried = format!(
        "{} between {} of {}, {} loaded, {:.1} s",
        count(report.tries, "try").replace("trys", "tries"),
        count(report.pairs, "pair"),
        count(report.hosts, "host"),
        count(report.rulesets, "firewall"),
        report.seconds
    );
    let unenforced = match report.unenforced.len() {
        0 => String::new(),
        pairs => format!(", {} not enforced", count(pairs, "pair")),
    };
    let unanswered = match report.unanswered.len() {
        0 => String::new(),
        ways => format!(", {} not answered", count(ways, "open way")),
    };
    let fault = report.fault.as_ref().map(|host| format!(" without `{host}`")).unwrap_or_default();
    let lost = match (&report.fault, report.lost.len()) {
        (None, _) => String::new(),
        (Some(_), lost) => format!(", {} lost", count(lost, "open way")),
    };
    format!(
        "{}, {}{lost}{unanswered}{unenforced}{fault}: {tried}",
        count(report.leaks.len(), "leak"),
        count(report.false_blocks.len(), "false block")
    )
}

pub fn markdown(report: &Report) -> String {
    let mut out = format!("# Rehearsal\n\n{}\n", summary(report));
    for (all, name) in [
        (&report.leaks, "Leaks"),
        (&report.false_blocks, "False blocks"),
        (&report.lost, "Lost"),
        (&report.unanswered, "Not answered"),
    ] {
        let row = |one: &Mismatch| {
            vec![one.from.clone(), one.to.clone(), one.address.clone(), ports(&one.ports), one.because.clone()]
        };
        let rows: Vec<Vec<String>> = all.iter().map(row).collect();
        if !rows.is_empty() {
            let heading = ["from", "to", "address", "ports", "because"];
            let _ = write!(out, "\n## {name}\n\n{}", table::markdown(&heading, &rows));
        }
    }
    let rows: Vec<Vec<String>> =
        report.unenforced.iter().map(|one| vec![one.from.clone(), one.to.clone(), one.ports.to_string()]).collect();
    if !rows.is_empty() {
        let _ = write!(out, "\n## Not enforced\n\n{}", table::markdown(&["from", "to", "ports open"], &rows));
    }
    out
}
