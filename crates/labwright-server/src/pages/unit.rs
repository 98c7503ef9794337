//! The page of one unit: how it is, what it needs, its variables, what it says.

use labwright_model::snapshot::up::control::Line;
use labwright_model::snapshot::up::{Unit, What};
use maud::{Markup, html};

use super::{Page, Region, badge, buttons, links, page, region, why};
use crate::app::App;
use crate::hub::Snapshot;
use crate::logs::{Filter, plain, word};
use crate::masks::{Shown, shown};
use crate::{facts, logs, metrics};

/// Lines as they are shown, and what is said of them.
pub struct Lines {
    pub lines: Vec<Line>,
    /// How many the filter took in the whole file; `None` without a filter.
    pub found: Option<usize>,
}

pub fn render(app: &App, unit: &Unit, filter: &Filter, lines: &Lines) -> Markup {
    let now = app.now.borrow();
    let name = &unit.name;
    let traces = app.traces().of_service(name);
    let body = html! {
        (region(head(app, &now, unit)))
        section.log {
            form.filter method="get" action={ "/unit/" (name) } {
                h2 { "Log" }
                input type="search" name="q" value=(filter.q) placeholder="search the whole log" aria-label="search the whole log";
                select name="stream" aria-label="stream" {
                    @for (value, text) in [("", "all"), ("out", "stdout"), ("err", "stderr"), ("log", "log records"), ("note", "supervisor")] {
                        option value=(value) selected[filter.stream == value] { (text) }
                    }
                }
                button { "Filter" }
                @if !filter.is_empty() { a href={ "/unit/" (name) } { "all lines" } }
                label.follow hidden { input #follow type="checkbox" checked; " follow" }
            }
            @if let Some(found) = lines.found {
                p.quiet {
                    (found) " lines" @if found > lines.lines.len() { ", the last " (lines.lines.len()) " of them" }
                }
            }
            div #log tabindex="0" role="log" aria-label={ "what " (name) " says" } { (these(&lines.lines)) }
        }
        (region(figures(app, unit)))
        section.facts {
            h2 { "Environment" }
            (environment(app, unit))
        }
        @if traces > 0 { p { a href={ "/traces?service=" (name) } { (traces) " traces" } } }
    };
    let mut query = format!("/events?page=unit&unit={name}");
    for (key, value) in [("q", &filter.q), ("stream", &filter.stream)] {
        let coded: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
        query.push_str(&format!("&{key}={coded}"));
    }
    page(app, Page { title: name, menu: "", events: query, body })
}

pub fn regions(app: &App, now: &Snapshot, unit: &Unit) -> Vec<Region> {
    vec![head(app, now, unit), figures(app, unit)]
}

fn head(app: &App, now: &Snapshot, unit: &Unit) -> Region {
    let name = &unit.name;
    let content = match facts::status(now, name) {
        None => html! { h1 { (name) } p.quiet { "nothing is known of it: the supervisor does not answer" } },
        Some(status) => html! {
            section.unit data-title={ (status.phase.word()) " " (name) } {
                h1 { (name) " " (badge(status.phase)) }
                (buttons(app, name, status.phase, "unit"))
                @let why = why(app, now, name);
                @if !why.0.is_empty() { p.why { (why) } }
                @let held = facts::held_up(&app.up, now, name);
                @if !held.is_empty() { p.held { "Waiting for it: " (links(held)) } }
                dl {
                    dt { "kind" } dd { (unit.what.word()) }
                    dt { "well" } dd { (facts::condition(&unit.ready, unit.port)) }
                    @if let Some(port) = status.port { dt { "port" } dd { (port) } }
                    @if let Some(pid) = status.pid { dt { "process" } dd { (pid) } }
                    dt { "restarts" } dd { (status.restarts) }
                    @if let Some(took) = status.took { dt { "start took" } dd { (facts::duration(took)) } }
                    @if !unit.needs.is_empty() { dt { "needs" } dd { (links(unit.needs.iter().map(String::as_str))) } }
                    @let by = facts::needed_by(&app.up, name);
                    @if !by.is_empty() { dt { "needed by" } dd { (links(by)) } }
                    @if !status.links.is_empty() { dt { "open" } dd { (super::overview::addresses(&status.links)) } }
                    @for container in &status.containers {
                        dt { "container " (container.key) }
                        dd {
                            (plain(&container.state)) @if let Some(code) = container.code { ", exit code " (code) }
                            " · " code { (plain(&container.image)) }
                            @if !container.ports.is_empty() { " · " (container.ports.join(", ")) }
                        }
                    }
                    @if let What::Process(process) = &unit.what {
                        @if let Some(program) = process.command.first() { dt { "program" } dd { code { (program) } } }
                        @if let Some(directory) = &process.directory { dt { "folder" } dd { code { (directory.path) } } }
                    }
                }
            }
        },
    };
    ("head".into(), content)
}

/// The latest of what it measures itself.
fn figures(app: &App, unit: &Unit) -> Region {
    let store = app.metrics();
    let mut all = store.of_service(&unit.name).peekable();
    let content = html! {
        @if all.peek().is_some() {
            section.facts {
                h2 { "Metrics" }
                table.environment {
                    @for (name, attributes, series) in all {
                        @let at = jiff::Timestamp::from_millisecond(series.at).unwrap_or_default();
                        tr {
                            th scope="row" { (name) @if !attributes.is_empty() { br; small.quiet { (attributes) } } }
                            td { (metrics::words(series)) " " time.quiet datetime=(at) { (at.strftime("%H:%M:%S")) } }
                        }
                    }
                }
            }
        }
    };
    ("metrics".into(), content)
}

fn environment(app: &App, unit: &Unit) -> Markup {
    let variables = match &unit.what {
        What::Process(process) => &process.environment,
        What::Seeds(seeds) => &seeds.environment,
        _ => return html! { p.quiet { "the lab gives it no variable of its own" } },
    };
    html! {
        @if variables.is_empty() {
            p.quiet { "the lab gives it no variable of its own" }
        } @else {
            table.environment {
                @for (name, value) in variables {
                    tr { th scope="row" { (name) } td { @match shown(name, value) {
                        Shown::Value(value) => code { (plain(&value)) },
                        Shown::Masked => span.quiet { "•••••• (not shown)" },
                        Shown::Secrets(names) => span.quiet { "•••••• (from the secret " (names.join(", ")) ")" },
                    } } }
                }
            }
        }
        @if let (Some(endpoint), What::Process(_)) = (&app.telemetry, &unit.what) {
            p.quiet { "with " code { "OTEL_EXPORTER_OTLP_ENDPOINT=" (endpoint) } ", where its traces, metrics and log records go unless it says otherwise" }
        }
        p.quiet { "and what whoever started " code { "labwright up" } " had, of lab " (app.up.lab) }
    }
}

/// Lines as they stand in a log.
pub fn these(lines: &[Line]) -> Markup {
    html! {
        @for line in lines {
            @let at = jiff::Timestamp::from_millisecond(line.at).unwrap_or_default();
            p class=(word(line.source)) {
                time datetime=(at) { (at.strftime("%H:%M:%S%.3f")) }
                span { (logs::plain(&line.text)) }
            }
        }
    }
}
