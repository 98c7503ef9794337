//! The traces that processes have sent: the last of them, in a bounded store. A span is kept as it is shown.

use std::collections::{HashMap, VecDeque};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1 as otlp;

use crate::attributes::{ATTRIBUTES, cut, pairs, service};

/// Traces that are kept. The one that came first goes first.
const TRACES: usize = 500;
/// Spans of one trace: what is more is counted.
const SPANS: usize = 2000;
/// All texts of all traces together take no more bytes.
const BYTES: usize = 16 << 20;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    pub id: String,
    /// Empty where it is the first of its trace.
    pub parent: String,
    pub service: String,
    pub name: String,
    pub kind: &'static str,
    /// Nanoseconds since 1970.
    pub start: u64,
    pub end: u64,
    /// What went wrong; `Some` of nothing where that is not said.
    pub error: Option<String>,
    pub attributes: Vec<(String, String)>,
    /// What happened meanwhile: nanoseconds since 1970, and what.
    pub events: Vec<(u64, String)>,
}

impl Span {
    fn bytes(&self) -> usize {
        let attributes = self.attributes.iter().map(|(name, value)| name.len() + value.len() + 48).sum::<usize>();
        let events = self.events.iter().map(|(_, text)| text.len() + 32).sum::<usize>();
        200 + self.service.len() + self.name.len() + attributes + events
    }
}

#[derive(Clone, Debug, Default)]
pub struct Trace {
    pub id: String,
    pub spans: Vec<Span>,
    /// Spans that came and had no room.
    pub dropped: usize,
    bytes: usize,
}

impl Trace {
    pub fn start(&self) -> u64 {
        self.spans.iter().map(|span| span.start).min().unwrap_or(0)
    }

    /// Nanoseconds.
    pub fn length(&self) -> u64 {
        self.spans.iter().map(|span| span.end).max().unwrap_or(0).saturating_sub(self.start())
    }

    /// The span that all began with, as far as it has come.
    pub fn root(&self) -> Option<&Span> {
        let known = |id: &str| self.spans.iter().any(|span| span.id == id);
        let first = self.spans.iter().filter(|span| span.parent.is_empty() || !known(&span.parent));
        first.min_by_key(|span| (!span.parent.is_empty(), span.start))
    }

    pub fn services(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.spans.iter().map(|span| span.service.as_str()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    pub fn errors(&self) -> usize {
        self.spans.iter().filter(|span| span.error.is_some()).count()
    }

    /// The spans as a waterfall: each below the one that it is a part of, with its depth.
    pub fn waterfall(&self) -> Vec<(usize, &Span)> {
        let ids: HashMap<&str, usize> =
            self.spans.iter().enumerate().map(|(number, span)| (span.id.as_str(), number)).collect();
        let mut children: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
        for (number, span) in self.spans.iter().enumerate() {
            let parent = ids.get(span.parent.as_str()).copied().filter(|parent| *parent != number);
            children.entry(parent).or_default().push(number);
        }
        children.values_mut().for_each(|all| all.sort_by_key(|number| std::cmp::Reverse(self.spans[*number].start)));
        let mut seen = vec![false; self.spans.len()];
        let mut open: Vec<(usize, usize)> =
            children.get(&None).into_iter().flatten().map(|number| (0, *number)).collect();
        let mut all = Vec::new();
        while let Some((depth, number)) = open.pop() {
            if std::mem::replace(&mut seen[number], true) {
                continue;
            }
            all.push((depth, &self.spans[number]));
            open.extend(children.get(&Some(number)).into_iter().flatten().map(|child| (depth + 1, *child)));
        }
        // Spans that are parts of each other in a circle belong to nobody, and are shown all the same.
        all.extend(seen.iter().enumerate().filter(|(_, seen)| !**seen).map(|(number, _)| (0, &self.spans[number])));
        all
    }
}

/// The last traces.
#[derive(Default)]
pub struct Store {
    traces: VecDeque<Trace>,
    bytes: usize,
    /// Traces that had to go.
    pub gone: usize,
}

impl Store {
    /// The newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Trace> {
        self.traces.iter().rev()
    }

    pub fn get(&self, id: &str) -> Option<&Trace> {
        self.traces.iter().find(|trace| trace.id == id)
    }

    pub fn of_service(&self, service: &str) -> usize {
        self.traces.iter().filter(|trace| trace.spans.iter().any(|span| span.service == service)).count()
    }

    /// Takes in what was sent; returns how many spans of it are none.
    pub fn add(&mut self, request: ExportTraceServiceRequest) -> usize {
        let mut rejected = 0;
        for resource in request.resource_spans {
            let service = service(resource.resource.as_ref());
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                // https://opentelemetry.io/docs/specs/otel/trace/api/#spancontext
                if span.trace_id.len() != 16 || span.span_id.len() != 8 {
                    rejected += 1;
                    continue;
                }
                let id = hex(&span.trace_id);
                self.put(id, shown(&service, span));
            }
        }
        rejected
    }

    fn put(&mut self, id: String, span: Span) {
        let bytes = span.bytes();
        let at = match self.traces.iter().rposition(|trace| trace.id == id) {
            Some(at) => at,
            None => {
                self.traces.push_back(Trace { id, ..Trace::default() });
                self.traces.len() - 1
            }
        };
        let trace = &mut self.traces[at];
        if trace.spans.len() >= SPANS {
            trace.dropped += 1;
            return;
        }
        // An exporter that had no answer sends it once more.
        if trace.spans.iter().any(|known| known.id == span.id) {
            return;
        }
        trace.spans.push(span);
        trace.bytes += bytes;
        self.bytes += bytes;
        while self.traces.len() > TRACES || (self.bytes > BYTES && self.traces.len() > 1) {
            let Some(first) = self.traces.pop_front() else { break };
            self.bytes -= first.bytes;
            self.gone += 1;
        }
    }
}

fn shown(service: &str, span: otlp::Span) -> Span {
    // https://opentelemetry.io/docs/specs/otel/trace/api/#spankind
    let kind = match span.kind {
        2 => "server",
        3 => "client",
        4 => "producer",
        5 => "consumer",
        _ => "internal",
    };
    let failed = span.status.filter(|status| status.code == otlp::status::StatusCode::Error as i32);
    let events = span.events.iter().take(ATTRIBUTES).map(|event| {
        let said: Vec<String> =
            pairs(&event.attributes).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        (event.time_unix_nano, cut(&format!("{} {}", event.name, said.join(" "))))
    });
    Span {
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        service: cut(service),
        name: cut(&span.name),
        kind,
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano.max(span.start_time_unix_nano),
        error: failed.map(|status| cut(&status.message)),
        attributes: pairs(&span.attributes),
        events: events.collect(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::resource::v1::Resource;

    use super::*;

    fn pair(key: &str, value: &str) -> KeyValue {
        KeyValue {
            key: key.into(),
            value: Some(AnyValue { value: Some(Value::StringValue(value.into())) }),
            ..KeyValue::default()
        }
    }

    fn request(service: &str, spans: Vec<otlp::Span>) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest {
            resource_spans: vec![otlp::ResourceSpans {
                resource: Some(Resource { attributes: vec![pair("service.name", service)], ..Resource::default() }),
                scope_spans: vec![otlp::ScopeSpans { spans, ..otlp::ScopeSpans::default() }],
                ..otlp::ResourceSpans::default()
            }],
        }
    }

    fn span(trace: u16, id: u16, parent: u16, start: u64) -> otlp::Span {
        let long = |number: u16, count: usize| {
            let mut bytes = vec![0; count - 2];
            bytes.extend(number.to_be_bytes());
            bytes
        };
        otlp::Span {
            trace_id: long(trace, 16),
            span_id: long(id, 8),
            parent_span_id: if parent == 0 { Vec::new() } else { long(parent, 8) },
            name: format!("span {id}"),
            start_time_unix_nano: start,
            end_time_unix_nano: start + 10,
            ..otlp::Span::default()
        }
    }

    #[test]
    fn spans_of_two_services_become_one_waterfall_in_whatever_order_they_come() {
        let mut store = Store::default();
        assert_eq!(store.add(request("db", vec![span(1, 3, 2, 120)])), 0);
        store.add(request("web", vec![span(1, 2, 1, 110), span(1, 4, 1, 105), span(1, 1, 0, 100)]));
        // Once more, as an exporter does that had no answer.
        store.add(request("web", vec![span(1, 1, 0, 100)]));
        let trace = store.newest().next().unwrap();
        let rows: Vec<(usize, &str)> =
            trace.waterfall().iter().map(|(depth, span)| (*depth, span.name.as_str())).collect();
        assert_eq!(rows, [(0, "span 1"), (1, "span 4"), (1, "span 2"), (2, "span 3")]);
        assert_eq!((trace.length(), trace.root().unwrap().service.as_str()), (30, "web"));
        assert_eq!(trace.services(), ["db", "web"]);
    }

    #[test]
    fn the_store_is_bounded_and_what_is_no_span_is_counted() {
        let mut store = Store::default();
        for trace in 0..700 {
            store.add(request("web", vec![span(trace, 1, 0, 1)]));
        }
        assert_eq!((store.traces.len(), store.gone), (TRACES, 200));
        store.add(request("web", (1..2500).map(|id| span(9999, id, 0, 1)).collect()));
        let trace = store.newest().next().unwrap();
        assert_eq!((trace.spans.len(), trace.dropped), (SPANS, 499));
        let bad = otlp::Span { trace_id: vec![1], ..span(1, 1, 0, 1) };
        assert_eq!(store.add(request("web", vec![bad])), 1);
        let attributes: Vec<KeyValue> = (0..100).map(|n| pair(&format!("k{n}"), &"x".repeat(1000))).collect();
        let big = |trace: u16, id: u16| otlp::Span { attributes: attributes.clone(), ..span(trace, id, 0, 1) };
        for trace in 0..200 {
            store.add(request("web", (1..10).map(|id| big(trace, id)).collect()));
        }
        assert!(store.bytes <= BYTES && store.traces.len() > 50 && store.traces.len() < 200);
    }

    #[test]
    fn circles_are_shown_and_secrets_are_not() {
        let mut store = Store::default();
        let mut one = span(7, 1, 2, 1);
        one.attributes =
            vec![pair("http.request.header.authorization", "Bearer canary"), pair("http.route", "/\u{202e}x")];
        store.add(request("web", vec![one, span(7, 2, 1, 1)]));
        let trace = store.newest().next().unwrap();
        assert_eq!(trace.waterfall().len(), 2);
        let told = format!("{trace:?}");
        assert!(!told.contains("canary") && told.contains("/\u{fffd}x"), "{told}");
    }
}
