//! What follows from the state: who waits for whom, what is broken, and which chain of starts decided how long it all took.

use std::collections::BTreeSet;

use labwright_model::snapshot::up::control::{Phase, Status};
use labwright_model::snapshot::up::{Ready, Unit, Up};

use crate::hub::Snapshot;

/// The unit as it was placed.
pub fn spec<'a>(up: &'a Up, name: &str) -> Option<&'a Unit> {
    up.units.iter().find(|unit| unit.name == name)
}

pub fn status<'a>(now: &'a Snapshot, name: &str) -> Option<&'a Status> {
    now.state.units.iter().find(|unit| unit.name == name)
}

/// Whoever says why it is not well yet, and has for so many seconds, is looked at.
const SLOW: i64 = 5;

/// What somebody should look at: it failed, or was well and is not, or is tried again, or does not become well.
pub fn is_broken(unit: &Status) -> bool {
    let slow = || unit.started.is_some_and(|started| jiff::Timestamp::now().as_second() - started >= SLOW);
    match unit.phase {
        Phase::Failed | Phase::Unwell | Phase::Pausing => true,
        Phase::Starting => unit.restarts > 0 && !unit.last.is_empty() || !unit.reason.is_empty() && slow(),
        _ => false,
    }
}

/// What a unit needs that is not well.
pub fn waits_for<'a>(up: &'a Up, now: &Snapshot, name: &str) -> Vec<&'a str> {
    let needs = spec(up, name).map(|unit| unit.needs.as_slice()).unwrap_or_default();
    let well = |need: &&String| status(now, need).is_some_and(|status| status.phase.is_well());
    needs.iter().filter(|need| !well(need)).map(String::as_str).collect()
}

/// Everything that waits for a unit, directly or through others, in the order of the file.
pub fn held_up<'a>(up: &'a Up, now: &Snapshot, name: &str) -> Vec<&'a str> {
    if status(now, name).is_some_and(|status| status.phase.is_well()) {
        return Vec::new();
    }
    let mut held: BTreeSet<&str> = BTreeSet::from([name]);
    loop {
        let more = up.units.iter().find(|unit| {
            !held.contains(unit.name.as_str())
                && status(now, &unit.name).is_some_and(|status| status.phase == Phase::Waiting)
                && unit.needs.iter().any(|need| held.contains(need.as_str()))
        });
        match more {
            Some(unit) => drop(held.insert(&unit.name)),
            None => break,
        }
    }
    up.units.iter().map(|unit| unit.name.as_str()).filter(|unit| *unit != name && held.contains(unit)).collect()
}

/// Which units need this one themselves.
pub fn needed_by<'a>(up: &'a Up, name: &str) -> Vec<&'a str> {
    let needs = |unit: &&Unit| unit.needs.iter().any(|need| need == name);
    up.units.iter().filter(needs).map(|unit| unit.name.as_str()).collect()
}

/// When a unit counts as well, in words.
pub fn condition(ready: &Ready, port: Option<u16>) -> String {
    let at = port.map_or_else(String::new, |port| format!(" on port {port}"));
    match ready {
        Ready::Started => "as soon as it runs".into(),
        Ready::Ended => "when it has done its work and ended".into(),
        Ready::Port => format!("when it takes connections{at}"),
        Ready::Notify => "when it says so (READY=1)".into(),
        Ready::Probe(probe) if probe.expect.is_empty() => format!("when `GET {}`{at} is answered", probe.path),
        Ready::Probe(probe) => format!("when `GET {}`{at} is answered with {}", probe.path, probe.expect.join(", ")),
    }
}

/// The chain of starts that decided when the last unit was well: each began when the one before was well. From the first to
/// the last; empty while nothing is well.
pub fn critical_path(up: &Up, now: &Snapshot) -> Vec<String> {
    let well = |name: &str| now.first.get(name).and_then(|first| first.well);
    let last = up.units.iter().filter_map(|unit| Some((well(&unit.name)?, unit))).max_by_key(|(well, _)| *well);
    let mut path: Vec<String> = Vec::new();
    let mut next = last.map(|(_, unit)| unit);
    while let Some(unit) = next.filter(|unit| !path.contains(&unit.name)) {
        path.push(unit.name.clone());
        let needs = unit.needs.iter().filter_map(|need| Some((well(need)?, need)));
        next = needs.max_by_key(|(well, _)| *well).and_then(|(_, need)| spec(up, need));
    }
    path.reverse();
    path
}

/// How deep a unit stands: 0 needs nobody, 1 needs those, and so on. A circle has an end somewhere.
pub fn depth(up: &Up, name: &str) -> usize {
    fn of(up: &Up, name: &str, seen: &mut Vec<String>) -> usize {
        if seen.iter().any(|one| one == name) {
            return 0;
        }
        seen.push(name.to_string());
        let needs = spec(up, name).map(|unit| unit.needs.as_slice()).unwrap_or_default();
        let deepest = needs.iter().filter(|need| spec(up, need).is_some()).map(|need| of(up, need, seen) + 1).max();
        seen.pop();
        deepest.unwrap_or(0)
    }
    of(up, name, &mut Vec::new())
}

/// Milliseconds as a person reads them.
pub fn duration(millis: u64) -> String {
    match millis {
        0..1000 => format!("{millis} ms"),
        1000..60_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        60_000..3_600_000 => format!("{} min {} s", millis / 60_000, millis / 1000 % 60),
        3_600_000..86_400_000 => format!("{} h {} min", millis / 3_600_000, millis / 60_000 % 60),
        _ => format!("{} d {} h", millis / 86_400_000, millis / 3_600_000 % 24),
    }
}

#[cfg(test)]
pub mod tests {
    use labwright_model::snapshot::up::What;

    use super::*;
    use crate::hub::First;

    /// A lab of processes: its name, what it needs, how it is, when it began and was well.
    pub type Row<'a> = (&'a str, &'a [&'a str], Phase, Option<(u64, Option<u64>)>);

    pub fn lab(rows: &[Row<'_>]) -> (Up, Snapshot) {
        let (mut up, mut now) = (Up { lab: "test".into(), ..Up::default() }, Snapshot::default());
        for (name, needs, phase, first) in rows {
            up.units.push(Unit {
                name: name.to_string(),
                what: What::Process(Box::default()),
                needs: needs.iter().map(ToString::to_string).collect(),
                ready: Ready::Started,
                port: None,
                links: Vec::new(),
            });
            now.state.units.push(Status {
                name: name.to_string(),
                kind: "process".into(),
                phase: *phase,
                pid: None,
                port: None,
                links: Vec::new(),
                reason: String::new(),
                last: Vec::new(),
                restarts: 0,
                took: None,
                started: None,
                began: None,
                containers: Vec::new(),
            });
            if let Some((began, well)) = first {
                now.first.insert(name.to_string(), First { began: *began, well: *well });
            }
        }
        now.heard = true;
        (up, now)
    }

    #[test]
    fn the_critical_path_leads_to_what_was_well_last() {
        let (up, now) = lab(&[
            ("db", &[], Phase::Ready, Some((0, Some(800)))),
            ("cache", &[], Phase::Ready, Some((0, Some(100)))),
            ("api", &["cache", "db"], Phase::Ready, Some((801, Some(1000)))),
            ("web", &["api"], Phase::Ready, Some((1001, Some(1400)))),
            ("mail", &["cache"], Phase::Ready, Some((101, Some(300)))),
        ]);
        assert_eq!(critical_path(&up, &now), ["db", "api", "web"]);
        assert_eq!((depth(&up, "db"), depth(&up, "web")), (0, 2));
    }

    #[test]
    fn whoever_waits_behind_a_broken_unit_is_named_through_all() {
        let (up, now) = lab(&[
            ("db", &[], Phase::Failed, Some((0, None))),
            ("api", &["db"], Phase::Waiting, None),
            ("web", &["api"], Phase::Waiting, None),
            ("free", &[], Phase::Ready, Some((0, Some(3)))),
        ]);
        assert_eq!(held_up(&up, &now, "db"), ["api", "web"]);
        assert_eq!(held_up(&up, &now, "free"), Vec::<&str>::new());
        assert_eq!(waits_for(&up, &now, "web"), ["api"]);
        assert!(is_broken(&now.state.units[0]) && !is_broken(&now.state.units[1]));
    }

    #[test]
    fn a_circle_has_an_end() {
        let (up, now) =
            lab(&[("a", &["b"], Phase::Failed, Some((0, Some(1)))), ("b", &["a"], Phase::Failed, Some((0, Some(2))))]);
        assert!(depth(&up, "a") < 3);
        assert_eq!(critical_path(&up, &now).len(), 2);
    }
}
