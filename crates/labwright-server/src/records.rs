//! Log records that processes send, as lines among those that they print: severity, what was said, what is said of it.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use crate::attributes::{pairs, service, text};
use crate::logs::plain;

/// Lines of one record, letters of one line, records of one request and service: what is more is cut, or counted as rejected.
const LINES: usize = 60;
const LETTERS: usize = 4000;
const RECORDS: usize = 2000;
/// Where exceptions have theirs. <https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-logs/>
const STACK: &str = "exception.stacktrace";

/// What was sent, as lines by service, and how many records had no room.
pub fn lines(request: ExportLogsServiceRequest) -> (BTreeMap<String, Vec<String>>, usize) {
    let mut all: BTreeMap<String, (usize, Vec<String>)> = BTreeMap::new();
    let mut rejected = 0;
    for resource in request.resource_logs {
        let (count, lines) = all.entry(service(resource.resource.as_ref())).or_default();
        for record in resource.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
            *count += 1;
            match *count <= RECORDS {
                true => lines.extend(shown(&record)),
                false => rejected += 1,
            }
        }
    }
    (all.into_iter().map(|(service, (_, lines))| (service, lines)).collect(), rejected)
}

/// One record: its severity and first line, then, indented, what else there is of it.
fn shown(record: &LogRecord) -> Vec<String> {
    let body = said(record.body.as_ref());
    let mut body = body.lines();
    let stack = record.attributes.iter().find(|pair| pair.key == STACK).map(|pair| said(pair.value.as_ref()));
    let attributes = pairs(&record.attributes);
    let attributes =
        attributes.iter().filter(|(name, _)| name != STACK).map(|(name, value)| format!(" {name}={value}"));
    let first = format!("{} {}{}", severity(record), body.next().unwrap_or_default(), attributes.collect::<String>());
    let more = body.map(str::to_string).chain(stack.iter().flat_map(|stack| stack.lines().map(str::to_string)));
    let more = more.filter(|line| !line.trim().is_empty()).map(|line| format!("    {line}"));
    [first].into_iter().chain(more).take(LINES).map(|line| shortened(&line)).collect()
}

fn said(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::KvlistValue(list)) => {
            let all: Vec<String> =
                pairs(&list.values).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            all.join(" ")
        }
        _ => text(value),
    }
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(LETTERS) {
        Some((end, _)) => plain(&line[..end]) + "…",
        None => plain(line.trim_end()),
    }
}

/// As the sender calls it; else by its number.
/// <https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber>
fn severity(record: &LogRecord) -> String {
    if !record.severity_text.is_empty() {
        return record.severity_text.chars().filter(|c| c.is_ascii_graphic()).take(16).collect();
    }
    let word = match record.severity_number {
        1..=4 => "TRACE",
        5..=8 => "DEBUG",
        9..=12 => "INFO",
        13..=16 => "WARN",
        17..=20 => "ERROR",
        21.. => "FATAL",
        _ => "LOG",
    };
    word.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(records: serde_json::Value) -> ExportLogsServiceRequest {
        serde_json::from_value(serde_json::json!({ "resourceLogs": [{
            "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "shop" } }] },
            "scopeLogs": [{ "logRecords": records }],
        }] }))
        .unwrap()
    }

    #[test]
    fn a_record_is_a_line_with_its_severity_and_without_secrets() {
        let (lines, rejected) = lines(request(serde_json::json!([
            { "severityNumber": 13, "body": { "stringValue": "the stock is low\u{202e}" }, "attributes": [
                { "key": "item", "value": { "stringValue": "lamp" } },
                { "key": "api.token", "value": { "stringValue": "canary" } } ] },
            { "severityNumber": 17, "severityText": "Error", "body": { "stringValue": "it broke\nbadly" }, "attributes": [
                { "key": "exception.stacktrace", "value": { "stringValue": "at a()\n  at b()" } } ] },
            { "body": { "kvlistValue": { "values": [{ "key": "n", "value": { "intValue": "3" } }] } } },
        ])));
        assert_eq!(rejected, 0);
        let wanted = [
            "WARN the stock is low\u{fffd} item=lamp api.token=••••••",
            "Error it broke",
            "    badly",
            "    at a()",
            "      at b()",
            "LOG n=3",
        ];
        assert_eq!(lines["shop"], wanted);
    }

    #[test]
    fn one_request_is_bounded() {
        let records: Vec<_> = (0..RECORDS + 5).map(|_| serde_json::json!({ "body": { "stringValue": "x" } })).collect();
        let (all, rejected) = lines(request(records.into()));
        assert_eq!((all["shop"].len(), rejected), (RECORDS, 5));
        let long = format!("{}\n{}", "y".repeat(9000), "z\n".repeat(500));
        let (all, _) = lines(request(serde_json::json!([{ "body": { "stringValue": long } }])));
        assert_eq!((all["shop"].len(), all["shop"][0].chars().count()), (LINES, LETTERS + 1));
    }
}
