//! The network in words: flows, answers about one pair, and what strangers reach.

use std::collections::BTreeMap;
use std::fmt::Write;

use labwright_plan::network::answer::{Answer, Told};
use labwright_plan::network::exposed::{Exposed, Reached};
use labwright_plan::network::flows::Flows;

use super::findings::count;
use super::lines::wrapped;
use super::table;
use crate::terminal::{Ink, ink};

/// `because (lab.yaml:29)`.
fn reason(told: &Told) -> String {
    match told.place.is_empty() {
        true => told.because.clone(),
        false => format!("{} ({})", told.because, told.place),
    }
}

pub fn flows(flows: &Flows, color: bool, width: usize) -> String {
    let mut out = String::new();
    for pair in &flows.pairs {
        let title = match pair.from == pair.to {
            true => format!("{}, inside", pair.from),
            false => format!("{} → {}", pair.from, pair.to),
        };
        let _ = writeln!(out, "{}", ink(color, Ink::Bold, &title));
        for told in &pair.flows {
            out += &wrapped("  ", &format!("{} → {}: {}", told.from, told.to, told.allows), width);
            out += &wrapped("      ", &reason(told), width);
        }
        out.push('\n');
    }
    if !flows.withheld.is_empty() {
        let _ = writeln!(
            out,
            "{}: something needs it, and only a flow of its own opens it",
            ink(color, Ink::Yellow, "Not opened")
        );
        for needed in &flows.withheld {
            let told = &needed.told;
            out += &wrapped("  ", &format!("{} → {}: {}, {}", told.from, told.to, told.allows, needed.crosses), width);
            out += &wrapped("      ", &reason(told), width);
            out += &wrapped("      → ", &format!("`{}`", needed.add), width);
        }
        out.push('\n');
    }
    if !flows.portless.is_empty() {
        let _ = writeln!(out, "{}: nothing says their port (`port: NUMBER`)", ink(color, Ink::Yellow, "Not opened"));
        let mut services: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for one in &flows.portless {
            let place = if one.place.is_empty() { String::new() } else { format!(" ({})", one.place) };
            services.entry(&one.service).or_default().push(format!("{}{place}", one.because));
        }
        for (service, because) in services {
            out += &wrapped("  ", &format!("{service}: {}", because.join("; ")), width);
        }
        out.push('\n');
    }
    // Where nothing enforces anything, one line at the end says so.
    if !flows.unenforced.is_empty() && flows.guards.iter().any(|guard| guard.firewall == "enforced") {
        let _ = writeln!(out, "{}: denied by the matrix, and by nothing else", ink(color, Ink::Red, "Not enforced"));
        for one in &flows.unenforced {
            let such: Vec<String> = one.such_as.iter().map(|(from, to)| format!("{from} to {to}")).collect();
            let more = if one.pairs > such.len() { ", …" } else { "" };
            let title = if one.from == one.to {
                format!("{}, inside", one.from)
            } else {
                format!("{} → {}", one.from, one.to)
            };
            let line = format!("{title}: {}: {}{more}", count(one.pairs, "pair"), such.join(", "));
            out += &wrapped("  ", &line, width);
        }
        out.push('\n');
    }
    if out.ends_with("\n\n") {
        out.pop();
    }
    out
}

pub fn flows_summary(flows: &Flows) -> String {
    let ways: usize = flows.pairs.iter().map(|pair| pair.flows.len()).sum();
    let guards = flows.guards.iter().filter(|guard| guard.firewall == "enforced").count();
    let denied: usize = flows.unenforced.iter().map(|one| one.pairs).sum();
    let enforced = match (guards, denied) {
        (0, _) => "nothing enforces it".to_string(),
        (guards, 0) => format!("{} and every pair enforced", count(guards, "firewall")),
        (guards, denied) => format!("{}, {} denied and not enforced", count(guards, "firewall"), count(denied, "pair")),
    };
    format!("{} open; what is not listed is denied; {enforced}", count(ways, "way"))
}

pub fn flows_hints(flows: &Flows) -> Vec<String> {
    let mut hints = Vec::new();
    let enforced = flows.guards.iter().any(|guard| guard.firewall == "enforced");
    if !enforced && !flows.guards.is_empty() {
        hints.push("`network: { firewall: enforce }` makes hosts and router deny the rest; `labwright rehearse` tries it first".to_string());
    }
    if flows.guards.iter().any(|guard| guard.router && guard.firewall == "foreign") {
        hints.push(
            "the router is not set by labwright: `labwright flows --export markdown` is its work order".to_string(),
        );
    }
    hints
}

const FLOWS: [&str; 5] = ["from", "to", "allows", "because", "where"];

fn row(told: &Told) -> Vec<String> {
    vec![told.from.clone(), told.to.clone(), told.allows.to_string(), told.because.clone(), told.place.clone()]
}

pub fn flows_markdown(flows: &Flows) -> String {
    let mut out = String::from("# Flows\n\nWhat is not listed is denied, inside a zone too.\n");
    for pair in &flows.pairs {
        let rows: Vec<Vec<String>> = pair.flows.iter().map(row).collect();
        let _ = write!(out, "\n## {} to {}\n\n{}", pair.from, pair.to, table::markdown(&FLOWS, &rows));
    }
    if !flows.withheld.is_empty() {
        let rows = flows.withheld.iter().map(|one| {
            let mut row = row(&one.told);
            row.push(format!("`{}`", one.add));
            row
        });
        let rows: Vec<Vec<String>> = rows.collect();
        let heading = [&FLOWS[..], &["to open it"]].concat();
        let _ = write!(out, "\n## Not opened without a flow of its own\n\n{}", table::markdown(&heading, &rows));
    }
    if !flows.unenforced.is_empty() {
        let such = |such: &[(String, String)]| {
            such.iter().map(|(from, to)| format!("{from} to {to}")).collect::<Vec<_>>().join(", ")
        };
        let rows: Vec<Vec<String>> = flows
            .unenforced
            .iter()
            .map(|one| vec![one.from.clone(), one.to.clone(), one.pairs.to_string(), such(&one.such_as)])
            .collect();
        let heading = ["from", "to", "pairs", "such as"];
        let _ = write!(out, "\n## Denied and not enforced\n\n{}", table::markdown(&heading, &rows));
    }
    out
}

/// `clients → gateway-01 → proxy-01`, with who of them denies.
fn hops(answer: &Answer) -> String {
    let one = |hop: &labwright_plan::network::answer::Hop| match hop.enforces {
        true => format!("{} {} (enforced)", hop.name, hop.does),
        false => format!("{} {}", hop.name, hop.does),
    };
    answer.hops.iter().map(one).collect::<Vec<_>>().join(" → ")
}

pub fn answers(answers: &[Answer], color: bool, width: usize) -> String {
    let mut out = String::new();
    for answer in answers {
        let port = answer.port.as_ref().map(|port| format!(" on {port}")).unwrap_or_default();
        let verdict = match answer.allowed {
            true => ink(color, Ink::Green, "allowed"),
            false => ink(color, Ink::Red, "denied"),
        };
        let _ = writeln!(out, "{verdict}: {} to {}{port}", answer.from, answer.to);
        for told in &answer.because {
            let line = format!("by {} → {}, {}: {}", told.from, told.to, told.allows, reason(told));
            out += &wrapped("  ", &line, width);
        }
        if !answer.allowed && !answer.open.is_empty() {
            out += &wrapped("  ", &format!("open between them: {}", answer.open), width);
        }
        out += &wrapped("  way: ", &hops(answer), width);
        if !answer.enforced {
            out += &wrapped("  ", "nothing on the way enforces it: whoever tries gets through", width);
        }
        let turn = if answer.allowed { "to deny it: " } else { "to allow it: " };
        out += &wrapped("  ", &format!("{turn}{}", answer.turn), width);
    }
    out
}

pub fn answers_markdown(answers: &[Answer]) -> String {
    let row = |answer: &Answer| {
        let because: Vec<String> = answer.because.iter().map(reason).collect();
        vec![
            answer.from.clone(),
            answer.to.clone(),
            answer.port.clone().unwrap_or_else(|| "any port".to_string()),
            if answer.allowed { "allowed" } else { "denied" }.to_string(),
            because.join("; "),
            hops(answer),
            answer.turn.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = answers.iter().map(row).collect();
    table::markdown(&["from", "to", "port", "answer", "because", "way", "to turn it"], &rows)
}

/// Targets that the very same grants open are told together.
fn alike(reaches: &[Reached]) -> Vec<(Vec<&str>, &Reached)> {
    let mut groups: Vec<(Vec<&str>, &Reached)> = Vec::new();
    for reached in reaches {
        let same = |other: &&mut (Vec<&str>, &Reached)| {
            other.1.because == reached.because
                && other.1.services == reached.services
                && other.1.enforced == reached.enforced
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.0.push(&reached.to),
            None => groups.push((vec![&reached.to], reached)),
        }
    }
    groups
}

pub fn exposed(all: &[Exposed], color: bool, width: usize) -> String {
    let mut out = String::new();
    for from in all {
        let kind = if from.kind == from.from { String::new() } else { format!(" ({})", from.kind) };
        let _ = writeln!(out, "From {}{kind}", ink(color, Ink::Bold, &from.from));
        if from.reaches.is_empty() {
            out.push_str("  nothing\n");
        }
        for (names, reached) in alike(&from.reaches) {
            out += &wrapped("  ", &format!("{}: {}", names.join(", "), reached.allows), width);
            for told in &reached.because {
                out += &wrapped("      ", &reason(told), width);
            }
            if !reached.services.is_empty() && !reached.to.contains("through the") {
                out += &wrapped("      ", &format!("leads to {}", reached.services.join(", ")), width);
            }
            if !reached.enforced {
                out += &wrapped("      ", "and to everything else there: nothing on the way enforces it", width);
            }
        }
        out.push('\n');
    }
    out.pop();
    out
}

pub fn exposed_markdown(all: &[Exposed]) -> String {
    let mut out = String::from("# Exposed\n");
    for from in all {
        let rows: Vec<Vec<String>> = alike(&from.reaches)
            .into_iter()
            .map(|(names, reached)| {
                let because: Vec<String> = reached.because.iter().map(reason).collect();
                vec![names.join(", "), reached.allows.to_string(), because.join("; "), reached.services.join(", ")]
            })
            .collect();
        let _ = write!(out, "\n## From {}\n\n", from.from);
        match rows.is_empty() {
            true => out.push_str("Nothing.\n"),
            false => out += &table::markdown(&["reaches", "allows", "because", "leads to"], &rows),
        }
    }
    out
}
