//! The first page: what is broken and why, and then everything.

use labwright_model::snapshot::up::control::Phase;
use labwright_model::snapshot::up::control::Status;
use maud::{Markup, html};

use super::{Page, Region, badge, buttons, link, links, page, region, why};
use crate::app::App;
use crate::facts;
use crate::hub::Snapshot;
use crate::logs::plain;

pub fn render(app: &App) -> Markup {
    let now = app.now.borrow();
    let body = html! {
        (region(summary(app, &now)))
        (region(broken(app, &now)))
        table.units {
            thead { tr {
                th { "State" } th { "Name" } th { "Why" } th { "Port" } th { "PID" } th { "Restarts" } th { "Open" } th { "" }
            } }
            tbody {
                @for (number, unit) in app.up.units.iter().enumerate() {
                    tr id={ "row-" (number) } data-live { (row(app, &now, number, &unit.name)) }
                }
            }
        }
        (left_out(app))
        (region(foot(&now)))
    };
    page(app, Page { title: "Overview", menu: "/", events: "/events?page=overview".into(), body })
}

pub fn regions(app: &App, now: &Snapshot) -> Vec<Region> {
    let mut all = vec![summary(app, now), broken(app, now), foot(now)];
    let rows = app.up.units.iter().enumerate();
    all.extend(rows.map(|(number, unit)| (format!("row-{number}"), row(app, now, number, &unit.name))));
    all
}

fn count(now: &Snapshot, of: impl Fn(&Status) -> bool) -> usize {
    now.state.units.iter().filter(|unit| of(unit)).count()
}

fn summary(app: &App, now: &Snapshot) -> Region {
    let (all, well) = (app.up.units.len(), count(now, |unit| unit.phase.is_well()));
    let bad = count(now, facts::is_broken);
    let of = |phases: &[Phase]| count(now, |unit| phases.contains(&unit.phase) && !facts::is_broken(unit));
    let (starting, waiting, stopped) =
        (of(&[Phase::Starting]), of(&[Phase::Waiting]), of(&[Phase::Stopped, Phase::Stopping]));
    let title = match bad {
        0 if well == all => format!("✓ {well} well"),
        0 => format!("{well}/{all}"),
        _ => format!("✗ {bad} broken"),
    };
    let content = html! {
        section.summary data-title=(title) {
            h1 {
                @if !now.heard { "The supervisor does not answer" }
                @else if now.state.ending { "Everything is being stopped" }
                @else if well == all { "All " (all) " are well" }
                @else { (well) " of " (all) " are well" }
            }
            ul.counts {
                @for (number, tone, word) in
                    [(bad, "bad", "broken"), (starting, "busy", "starting"), (waiting, "idle", "waiting"), (stopped, "idle", "stopped")]
                {
                    @if number > 0 { li class=(tone) { strong { (number) } " " (word) } }
                }
                @if let Some(settled) = now.settled.filter(|_| well == all) {
                    li.quiet { "up in " (facts::duration(settled)) }
                }
            }
            progress max=(all.max(1)) value=(well) aria-label="how many are well" {}
            @for note in &now.notes { p.note { (plain(note)) } }
        }
    };
    ("summary".into(), content)
}

/// What somebody has to look at: why it is so, what it said last, and who waits for it.
fn broken(app: &App, now: &Snapshot) -> Region {
    let content = html! {
        @for (number, unit) in now.state.units.iter().enumerate().filter(|(_, unit)| facts::is_broken(unit)) {
            section class={ "broken " (super::tone(unit.phase)) } {
                header {
                    h2 { (link(&unit.name)) }
                    (badge(unit.phase))
                    @if unit.restarts > 0 { span.quiet { "started " (unit.restarts + 1) " times" } }
                    (buttons(app, &unit.name, unit.phase, &format!("broken-{number}")))
                }
                p.why { @if unit.reason.is_empty() { "no reason is known" } @else { (plain(&unit.reason)) } }
                @let held = facts::held_up(&app.up, now, &unit.name);
                @if !held.is_empty() {
                    p.held { "Waiting for it: " (links(held)) }
                }
                @if unit.last.is_empty() {
                    p.quiet { a href={ "/unit/" (unit.name) } { "what it says" } }
                } @else {
                    pre.last tabindex="0" { @for line in &unit.last { (plain(line)) "\n" } }
                }
            }
        }
    };
    ("broken".into(), content)
}

fn row(app: &App, now: &Snapshot, number: usize, name: &str) -> Markup {
    let (Some(unit), kind) = (facts::status(now, name), facts::spec(&app.up, name).map_or("", |spec| spec.what.word()))
    else {
        return html! { td.state { span.quiet { "unknown" } } td.name { (link(name)) } };
    };
    html! {
        td.state { (badge(unit.phase)) }
        td.name { (link(name)) " " span.kind { (kind) } }
        td.why { (why(app, now, name)) }
        td.port data-label="port" { @if let Some(port) = unit.port { (port) } }
        td.pid data-label="pid" { @if let Some(pid) = unit.pid { (pid) } }
        td.restarts data-label="restarts" { @if unit.restarts > 0 { (unit.restarts) } }
        td.open { (addresses(unit.links.iter().find(|link| link.contains("localhost")).or(unit.links.first()))) }
        td.act { (buttons(app, name, unit.phase, &format!("row-{number}"))) }
    }
}

/// The addresses of a unit, each by its name.
pub fn addresses<'a>(all: impl IntoIterator<Item = &'a String>) -> Markup {
    // Names below `localhost` are this machine to every browser; the lab's own need its resolver, and stand second.
    let mut all: Vec<&String> = all.into_iter().collect();
    all.sort_by_key(|link| !link.contains("localhost"));
    html! {
        @for link in all {
            @let name = link.split("://").nth(1).unwrap_or(link).trim_end_matches('/');
            a.out href=(link) rel="noreferrer noopener" target="_blank" { (name) }
        }
    }
}

/// What of the lab is not here.
fn left_out(app: &App) -> Markup {
    let (faults, rest): (Vec<_>, Vec<_>) = app.up.left_out.iter().partition(|left| left.fault);
    html! {
        @if !faults.is_empty() {
            section.out {
                h2 { "Left out" }
                ul { @for left in faults {
                    li { strong { (left.what) } ": " (left.reason) @if !left.help.is_empty() { br; span.quiet { (left.help) } } }
                } }
            }
        }
        @if !rest.is_empty() || !app.up.notes.is_empty() {
            details {
                summary { "What is other here than in the lab" }
                ul {
                    @for left in rest { li { "not here: " strong { (left.what) } " (" (left.reason) ")" } }
                    @for note in &app.up.notes { li { (note) } }
                }
            }
        }
    }
}

fn foot(now: &Snapshot) -> Region {
    let since = jiff::Timestamp::from_second(now.state.since).unwrap_or_default();
    let content = html! {
        @if now.state.pid > 0 {
            p.quiet {
                "supervised by process " (now.state.pid) " since " (since.strftime("%Y-%m-%d %H:%M:%S")) " UTC"
                @if let Some(authority) = &now.state.authority {
                    " · certificates are of the lab's own authority: " code { (authority) }
                }
            }
        }
    };
    ("foot".into(), content)
}
