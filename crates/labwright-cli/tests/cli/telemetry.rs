//! Traces, metrics and log records that processes send, by OpenTelemetry's own exporter, and what becomes of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::up::{Here, until};

const EXPORTER: &str = "opentelemetry-exporter-otlp-proto-http==1.45.2";
const SDK: &str = "opentelemetry-sdk==1.45.2";

/// Two spans, one in the other, three metrics and three log records, of a service that is told nothing but what its environment says.
const PROGRAM: &str = r#"
import time
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("test")
with tracer.start_as_current_span("GET /orders", kind=trace.SpanKind.SERVER) as outer:
    outer.set_attribute("http.request.header.authorization", "canary-bearer")
    with tracer.start_as_current_span("select <orders>") as inner:
        inner.set_attribute("db.rows", 3)
        inner.set_status(trace.Status(trace.StatusCode.ERROR, "no table of that name"))
        time.sleep(0.02)
provider.shutdown()

import logging
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
records = LoggerProvider()
records.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
log = logging.getLogger("orders")
log.addHandler(LoggingHandler(logger_provider=records))
log.setLevel(logging.INFO)
log.info("an order <of %d>", 3)
log.warning("the stock is low", extra={"item": "lamp", "api_token": "canary-token"})
try:
    {}["lamp"]
except KeyError:
    log.exception("it broke")
records.shutdown()

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
meters = MeterProvider(metric_readers=[PeriodicExportingMetricReader(OTLPMetricExporter())])
meter = meters.get_meter("test")
orders = meter.create_counter("orders.placed", unit="{order}")
orders.add(3, {"shop": "<north>"})
meter.create_histogram("order.duration", unit="s").record(0.25)
meter.create_up_down_counter("stock.size", unit="By").add(5 << 20)
meters.force_flush()
print("sent", flush=True)
time.sleep(1)
orders.add(4, {"shop": "<north>"})
time.sleep(1000000)
"#;

/// OpenTelemetry for Python, installed once into the folder of the build.
fn opentelemetry() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(EXPORTER.replace("==", "-"));
    if !folder.exists() {
        let fresh = folder.with_extension(std::process::id().to_string());
        let pip = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
            .arg(&fresh)
            .args([EXPORTER, SDK])
            .output();
        match pip {
            Ok(done) if done.status.success() => {}
            Ok(done) => panic!("cannot install {EXPORTER}: {}", String::from_utf8_lossy(&done.stderr)),
            Err(error) => panic!("missing: `python3` with pip (packages python3 and python3-pip): {error}"),
        }
        // Another test may have been faster.
        let _ = std::fs::rename(&fresh, &folder);
        let _ = std::fs::remove_dir_all(&fresh);
    }
    folder
}

#[test]
fn an_instrumented_process_needs_nothing_more_than_its_environment() {
    let here = Here::new("");
    here.desk.write("app.py", PROGRAM);
    here.desk.lab(&format!(
        "lab: test\ncompute: {{ hosts: {{ box: {{ address: 10.9.9.9 }} }} }}\nservices:\n\
         \x20 shop: {{ on: box, run: {{ command: [python3, app.py], environment: {{ PYTHONPATH: \"{}\" }} }}, up: {{ directory: . }} }}\n\
         \x20 tells: {{ on: box, run: {{ command: [/bin/sh, -c, 'echo to $OTEL_EXPORTER_OTLP_ENDPOINT; exec sleep infinity'] }} }}\n",
        opentelemetry().display()
    ));
    here.up(&[]).code(0);
    until("it has sent", || here.desk.run(&["logs", "--here", "shop"]).out.contains("sent"));
    let list = here.curl("/traces", &[]);
    assert!(list.contains("GET /orders") && list.contains("shop") && list.contains("1 failed"), "{list}");
    let (_, rest) = list.split_once("href=\"/traces/").unwrap();
    let trace = here.curl(&format!("/traces/{}", rest.split('"').next().unwrap()), &[]);
    for said in ["select &lt;orders&gt;", "no table of that name", "db.rows", "depth-1", "server"] {
        assert!(trace.contains(said), "{said}: {trace}");
    }
    assert!(!trace.contains("canary") && !list.contains("canary"));
    assert!(here.curl("/unit/shop", &[]).contains("/traces?service=shop"));

    // Log records stand among what it prints, with their severity, and metrics on its page: the latest of each.
    let said = here.desk.run(&["logs", "--here", "shop"]).out;
    for line in ["INFO an order <of 3>", "WARN the stock is low", "item=lamp", "ERROR it broke", "    KeyError: 'lamp'"]
    {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains("canary-token"), "{said}");
    let records = here.desk.run(&["logs", "--here", "shop", "--json"]);
    crate::json::holds("logs", &records);
    assert!(
        records.out.contains("\"source\":\"log\"") && records.out.contains("\"source\":\"stdout\""),
        "{}",
        records.out
    );
    let page = here.curl("/unit/shop?stream=log", &[]);
    assert!(page.contains("an order &lt;of 3&gt;") && !page.contains(">sent<"), "{page}");
    for shown in ["Metrics", "orders.placed", "shop=&lt;north&gt;", "3 order", "1 times, 250 ms each", "5 MiB"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    until("the next value is told", || here.curl("/unit/shop", &[]).contains("7 order"));
    assert!(!here.curl("/unit/tells", &[]).contains("Metrics"));

    // As anybody else may try.
    let told = here.desk.run(&["logs", "--here", "tells"]).out;
    let endpoint = told.split(" to ").nth(1).unwrap_or_else(|| panic!("{told}")).trim().to_string();
    let post = |path: &str, arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "20"]);
        let output = command.args(arguments).arg(format!("{endpoint}{path}")).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let json = "Content-Type: application/json";
    let span = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"by-hand"}}]},"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"by hand","kind":1,"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000"}]}]}]}"#;
    assert_eq!(post("/v1/traces", &["-H", json, "-d", span]), "200");
    assert!(here.curl("/traces?service=by-hand", &[]).contains("/traces/5b8efff798038103d269b633813fc60c"));
    for (arguments, path, status) in [
        (&["-H", json, "-d", "{"][..], "/v1/traces", "400"),
        (&["-H", "Content-Type: application/x-protobuf", "-d", "rubbish"], "/v1/traces", "400"),
        // What a form of a page could send.
        (&["-H", "Content-Type: text/plain", "-d", span], "/v1/traces", "415"),
        (&["-H", json, "-H", "Origin: http://evil.example", "-d", span], "/v1/traces", "403"),
        (&["-H", json, "-H", "Host: evil.example:4318", "-d", span], "/v1/traces", "403"),
        (&["-H", json, "-d", "{}"], "/v1/profiles", "404"),
        (&["-H", json, "-d", "{"], "/v1/metrics", "400"),
        (&["-H", json, "-d", "{}"], "/v1/metrics", "200"),
        (&["-H", json, "-H", "Origin: http://evil.example", "-d", "{}"], "/v1/logs", "403"),
        (&["-H", "Content-Type: text/plain", "-d", "{}"], "/v1/logs", "415"),
    ] {
        assert_eq!(post(path, arguments), status, "{arguments:?}");
    }
    // Who is no service of the lab is told what to do about it, in the words of its own exporter.
    let of_nobody = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"nobody"}}]},"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}"#;
    let answer = Command::new("curl")
        .args(["-s", "-H", json, "-d", of_nobody, &format!("{endpoint}/v1/logs")])
        .output()
        .unwrap();
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(answer.contains("the lab has no service `nobody` here: leave OTEL_SERVICE_NAME as it is set"), "{answer}");
    let large = here.desk.path("large");
    std::fs::write(&large, vec![b' '; 5 << 20]).unwrap();
    for path in ["/v1/traces", "/v1/metrics", "/v1/logs"] {
        assert_eq!(post(path, &["-H", json, "--data-binary", &format!("@{}", large.display())]), "413");
    }
    // A flood of records holds nobody up, and the log stays within its bounds.
    let record = r#"{"body":{"stringValue":"LONG"}}"#.replace("LONG", &"x".repeat(1500));
    let flood = of_nobody
        .replace("nobody", "shop")
        .replace(r#"{"body":{"stringValue":"hello"}}"#, &vec![record; 2500].join(","));
    std::fs::write(&large, flood).unwrap();
    for _ in 0..8 {
        assert_eq!(post("/v1/logs", &["-H", json, "--data-binary", &format!("@{}", large.display())]), "200");
    }
    let files = std::fs::read_dir(here.folder().join("logs")).unwrap().flatten();
    let bytes: u64 = files
        .filter(|file| file.file_name().to_string_lossy().starts_with("shop"))
        .map(|file| file.metadata().unwrap().len())
        .sum();
    assert!(bytes > 8 << 20 && bytes < 20 << 20, "{bytes}");
    let state: Value = here.state();
    assert_eq!(state["units"][0]["phase"], "ready");
    here.down().code(0);
}
