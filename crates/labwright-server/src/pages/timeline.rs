//! How the start went: how long each unit waited, started, and from when it was well.

use maud::{Markup, html};

use super::{Page, Region, link, page, region};
use crate::app::App;
use crate::facts;
use crate::hub::{First, Snapshot};

/// Units of length of the whole axis.
const AXIS: u64 = 1000;

pub fn render(app: &App) -> Markup {
    let body = html! { h1 { "How the start went" } (region(chart(app, &app.now.borrow()))) };
    page(app, Page { title: "Timeline", menu: "/timeline", events: "/events?page=timeline".into(), body })
}

pub fn regions(app: &App, now: &Snapshot) -> Vec<Region> {
    vec![chart(app, now)]
}

/// The end of the axis: a round number of milliseconds, none of the chart beyond it.
fn axis(now: &Snapshot, elapsed: u64) -> u64 {
    let last = now.first.values().filter_map(|first| first.well).max().unwrap_or(0);
    let ends = now.settled.unwrap_or(elapsed).max(last).max(1);
    let digits = 10_u64.pow(ends.ilog10());
    [1, 2, 4, 5, 8, 10].iter().map(|step| step * digits).find(|round| *round >= ends).unwrap_or(ends)
}

fn chart(app: &App, now: &Snapshot) -> Region {
    let elapsed = app.elapsed();
    let end = axis(now, elapsed);
    let at = |millis: u64| (millis.min(end) * AXIS / end).min(AXIS);
    let critical = facts::critical_path(&app.up, now);
    let mut units: Vec<(&str, Option<&First>)> =
        app.up.units.iter().map(|unit| (unit.name.as_str(), now.first.get(&unit.name))).collect();
    units.sort_by_key(|(_, first)| {
        first.map_or((u64::MAX, u64::MAX), |first| (first.began, first.well.unwrap_or(u64::MAX)))
    });
    let until = now.settled.unwrap_or(elapsed).min(end);
    let content = html! {
        p {
            @match now.settled {
                Some(settled) => { "Everything was as well as it would be after " strong { (facts::duration(settled)) } "." }
                None => "It is still starting.",
            }
            @if critical.len() > 1 { " Critical path: " strong { (critical.join(" → ")) } "." }
        }
        ul.legend {
            li.waited { "waited" } li.starting { "starting" } li.well { "well" } li.failed { "not well" } li.critical { "on the critical path" }
        }
        div.timeline {
            div.axis aria-hidden="true" { span {} @for part in 0..5 { span { (facts::duration(end * part / 4)) } } }
            @for (name, first) in units {
                div class=(if critical.len() > 1 && critical.iter().any(|one| one == name) { "line critical" } else { "line" }) {
                    span.name { (link(name)) }
                    span.took { (said(first)) }
                    svg viewBox={ "0 0 " (AXIS) " 20" } preserveAspectRatio="none" role="img" aria-label=(said(first)) {
                        @let began = first.map_or(until, |first| first.began.min(until));
                        rect.waited x="0" y="8" width=(at(began)) height="4" {}
                        @if let Some(first) = first {
                            @let well = first.well.unwrap_or(until).max(began);
                            // What was too short to be seen is seen as well.
                            rect class=(if first.well.is_none() && now.settled.is_some() { "failed" } else { "starting" })
                                x=(at(began)) y="2" width=((at(well) - at(began)).max(3)) height="16" {}
                            @if first.well.is_some() {
                                rect.well x=(at(well)) y="6" width=(AXIS - at(well)) height="8" {}
                            }
                        }
                    }
                }
            }
        }
    };
    ("chart".into(), content)
}

fn said(first: Option<&First>) -> String {
    match first {
        None => "never started".into(),
        Some(First { began, well: Some(well) }) => {
            format!("waited {}, took {}", facts::duration(*began), facts::duration(well.saturating_sub(*began)))
        }
        Some(First { began, well: None }) => format!("waited {}, was not well", facts::duration(*began)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_at_a_round_number_after_everything() {
        let mut now = Snapshot { settled: Some(1310), ..Snapshot::default() };
        assert_eq!(axis(&now, 90_000), 2000);
        now.first.insert("slow".into(), First { began: 3, well: Some(4_001) });
        assert_eq!(axis(&now, 90_000), 5000);
        assert_eq!(axis(&Snapshot::default(), 0), 1);
    }
}
