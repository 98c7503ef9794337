//! How services fare, as a table.

use std::collections::BTreeMap;

use labwright_plan::{Health, ImageSeen, Running, State, called};

use super::findings::count;
use super::table;
use crate::commands::{Beyond, Row};
use crate::terminal::{Ink, ink};

const HEADING: [&str; 9] = ["SERVICE", "PART", "ON", "STATE", "SINCE", "RESTARTS", "IMAGE", "AGE", "NOTE"];

/// The table. `clocks`: what time it is on each host, in seconds since 1970.
pub fn text(rows: &[Row], beyond: &[Beyond], clocks: &BTreeMap<String, i64>, color: bool) -> String {
    let mut cells = Vec::new();
    let mut inks = Vec::new();
    for row in rows {
        let now = clocks.get(&row.host).copied();
        for part in &row.parts {
            cells.push(line(row, part, now));
            inks.push(match part.is_well() {
                _ if !part.declared => Ink::Dim,
                Some(true) => Ink::Green,
                Some(false) => Ink::Red,
                None => Ink::Yellow,
            });
        }
    }
    let mut out = String::new();
    if !cells.is_empty() {
        let plain = table::text(&HEADING, &cells);
        for (number, line) in plain.lines().enumerate() {
            // Colour goes in last: it has no width.
            let state = number.checked_sub(1).and_then(|n| Some((cells[n][3].as_str(), *inks.get(n)?)));
            let line = match state {
                Some((state, inked)) => line.replacen(state, &ink(color, inked, state), 1),
                None => line.to_string(),
            };
            out.push_str(&line);
            out.push('\n');
        }
    }
    for Beyond { service, environment, why } in beyond {
        out.push_str(&format!("{}: not looked at: {why}\n", called(service, environment.as_deref())));
    }
    out
}

fn line(row: &Row, part: &Running, now: Option<i64>) -> Vec<String> {
    let ago = |at: Option<i64>| at.zip(now).map_or("-".to_string(), |(at, now)| span((now - at).max(0)));
    let name = if part.declared { part.part.clone() } else { part.name.clone() };
    let note = match (&part.says, part.declared) {
        (says, false) => {
            [Some("not in the lab".to_string()), says.clone()].into_iter().flatten().collect::<Vec<_>>().join(": ")
        }
        (says, true) => says.clone().unwrap_or_default(),
    };
    vec![
        called(&row.service, row.environment.as_deref()),
        name,
        row.host.clone(),
        state(part),
        ago(part.since),
        part.restarts.map_or("-".to_string(), |restarts| restarts.to_string()),
        part.image.as_ref().map_or("-".to_string(), image),
        ago(part.image.as_ref().and_then(|image| image.created)),
        note,
    ]
}

/// `healthy`, `running`, `exited 137`
fn state(part: &Running) -> String {
    match (part.state, part.health, part.exit_code) {
        (State::Running, Some(Health::Starting), _) => "health starting".into(),
        (State::Running, Some(health), _) => health.word().into(),
        (state, _, Some(code)) if state != State::Ran => format!("{} {code}", state.word()),
        (state, ..) => state.word().into(),
    }
}

/// `ghcr.io/team/app:1.2 4f2a9c0d1e2f`
fn image(image: &ImageSeen) -> String {
    let tag = image.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = image.digest.rsplit(':').next().unwrap_or_default();
    format!("{}{tag} {}", image.name, digest.get(..12).unwrap_or(digest)).trim().to_string()
}

/// Seconds as people say them: one unit.
pub fn span(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// One line over all of it.
pub fn summary(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "nothing in this lab runs on a host of it".into();
    }
    let number = |well: Option<bool>| rows.iter().filter(|row| row.well == well).count();
    let mut words = format!("{} of {} well", number(Some(true)), count(rows.len(), "service"));
    for (number, word) in [(number(Some(false)), "not"), (number(None), "unknown")] {
        if number > 0 {
            words.push_str(&format!(", {number} {word}"));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_unit() {
        let spans = [0, 119, 120, 7199, 7200, 172_799, 172_800, 864_000].map(span);
        assert_eq!(spans, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d", "10 d"]);
    }
}
