//! What processes did for whom, as they told it themselves: a list, and each trace as a waterfall.

use maud::{Markup, html};

use super::{Page, Region, page, region};
use crate::app::App;
use crate::traces::{Span, Trace};

/// Traces in the list.
const SHOWN: usize = 100;
/// Units of length of the whole axis.
const AXIS: u64 = 1000;

pub fn render(app: &App, service: &str) -> Markup {
    let body = html! {
        h1 { "Traces" @if !service.is_empty() { " of " (service) } }
        @if !service.is_empty() { p { a href="/traces" { "all traces" } } }
        (region(list(app, service)))
    };
    let coded: String = service.bytes().map(|byte| format!("%{byte:02x}")).collect();
    page(app, Page { title: "Traces", menu: "/traces", events: format!("/events?page=traces&unit={coded}"), body })
}

pub fn regions(app: &App, service: &str) -> Vec<Region> {
    vec![list(app, service)]
}

fn list(app: &App, service: &str) -> Region {
    let store = app.traces();
    let of = |trace: &&Trace| service.is_empty() || trace.services().contains(&service);
    let traces: Vec<&Trace> = store.newest().filter(of).take(SHOWN).collect();
    let content = html! {
        @if traces.is_empty() {
            p { "No process has sent a trace yet. Each that is instrumented with OpenTelemetry finds where to in "
                code { "OTEL_EXPORTER_OTLP_ENDPOINT" } ", which its environment holds"
                @if let Some(endpoint) = &app.telemetry { ": " code { (endpoint) } } "." }
        } @else {
            table.traces {
                thead { tr { th { "Began (UTC)" } th { "What" } th { "Services" } th.number { "Spans" } th.number { "Took" } } }
                tbody { @for trace in &traces { tr {
                    td { (time(trace.start())) }
                    td { a href={ "/traces/" (trace.id) } {
                        (trace.root().map_or("(its beginning has not come)", |root| root.name.as_str()))
                    } @if trace.errors() > 0 { " " span.badge.bad { (trace.errors()) " failed" } } }
                    td { (trace.services().join(", ")) }
                    td.number { (trace.spans.len() + trace.dropped) }
                    td.number { (duration(trace.length())) }
                } } }
            }
            @if store.gone > 0 { p.quiet { "the " (store.gone) " that came first are not kept any more" } }
        }
    };
    ("traces".into(), content)
}

/// The page of one trace; `None` where it is not known, or not any more.
pub fn one(app: &App, id: &str) -> Option<Markup> {
    let trace = app.traces().get(id)?.clone();
    let (start, length) = (trace.start(), trace.length().max(1));
    let name = trace.root().map_or("Trace", |root| root.name.as_str()).to_string();
    let at = |nanos: u64| (u128::from(nanos.saturating_sub(start)) * u128::from(AXIS) / u128::from(length)) as u64;
    let body = html! {
        p { a href="/traces" { "Traces" } }
        h1 { (name) }
        p.quiet { (time(start)) " UTC · " (duration(trace.length())) " · " (trace.spans.len()) " spans · " code { (trace.id) } }
        @if trace.dropped > 0 { p.note { (trace.dropped) " more spans came than are kept" } }
        div.waterfall {
            @for (depth, span) in trace.waterfall() {
                details class={ "span depth-" (depth.min(8)) @if span.error.is_some() { " failed" } } {
                    summary {
                        span.name { span.service { (span.service) } " " (span.name) }
                        span.took { (duration(span.end - span.start)) }
                        svg viewBox={ "0 0 " (AXIS) " 20" } preserveAspectRatio="none" aria-hidden="true" {
                            rect class=(format!("bar hue-{}", hue(&span.service))) x=(at(span.start)) y="3"
                                width=((at(span.end) - at(span.start)).max(3)) height="14" {}
                        }
                    }
                    (inside(span, start))
                }
            }
        }
    };
    Some(page(app, Page { title: &name, menu: "/traces", events: String::new(), body }))
}

fn inside(span: &Span, start: u64) -> Markup {
    html! {
        dl {
            dt { "service" } dd { (span.service) }
            dt { "kind" } dd { (span.kind) }
            dt { "began after" } dd { (duration(span.start.saturating_sub(start))) }
            @if let Some(error) = &span.error {
                dt { "failed" } dd.why { @if error.is_empty() { "it does not say why" } @else { (error) } }
            }
            @for (name, value) in &span.attributes { dt { (name) } dd { (value) } }
            @for (at, text) in &span.events { dt { "after " (duration(at.saturating_sub(start))) } dd { (text) } }
        }
    }
}

/// The same colour for the same service, whatever else is in the trace.
fn hue(service: &str) -> u8 {
    blake3::hash(service.as_bytes()).as_bytes()[0] % 6
}

fn time(nanos: u64) -> String {
    let at = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default();
    at.strftime("%H:%M:%S%.3f").to_string()
}

fn duration(nanos: u64) -> String {
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{} µs", nanos / 1_000),
        1_000_000..1_000_000_000 => format!("{}.{} ms", nanos / 1_000_000, nanos / 100_000 % 10),
        _ => format!("{}.{:02} s", nanos / 1_000_000_000, nanos / 10_000_000 % 100),
    }
}
