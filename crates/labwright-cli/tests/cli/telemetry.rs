//! Traces that processes send, by OpenTelemetry's own exporter, and what becomes of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::up::{Here, until};

const EXPORTER: &str = "opentelemetry-exporter-otlp-proto-http==1.45.2";
const SDK: &str = "opentelemetry-sdk==1.45.2";

/// Two spans, one in the other, of a service that is told nothing but what its environment says.
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
print("sent", flush=True)
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
        (&["-H", json, "-d", "{}"], "/v1/metrics", "404"),
    ] {
        assert_eq!(post(path, arguments), status, "{arguments:?}");
    }
    let large = here.desk.path("large");
    std::fs::write(&large, vec![b' '; 5 << 20]).unwrap();
    assert_eq!(post("/v1/traces", &["-H", json, "--data-binary", &format!("@{}", large.display())]), "413");
    let state: Value = here.state();
    assert_eq!(state["units"][0]["phase"], "ready");
    here.down().code(0);
}
