//! OTLP over HTTP: the traces, metrics and log records that processes of the lab send, in protobuf or JSON.
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>
//!
//! Listens on loopback alone. A page in a browser cannot send here: its content type is none that a page may use without
//! asking first, and nobody answers that question.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use labwright_model::snapshot::up::control::Request;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::{facts, hub, records};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
/// No request is larger; exporters send batches of 512 spans.
const MOST_BYTES: usize = 4 << 20;
/// Lines that the supervisor is told at once; a request to it has no more than a mebibyte.
const LINES: usize = 60;

pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/traces", post(traces))
        .route("/v1/metrics", post(metrics))
        .route("/v1/logs", post(logs))
        .fallback(async || (StatusCode::NOT_FOUND, "here are /v1/traces, /v1/metrics and /v1/logs, and nothing else"))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .with_state(app)
}

/// How a request was written, and its answer is.
#[derive(Clone, Copy)]
enum Way {
    Protobuf,
    Json,
}

impl Way {
    fn answer(self, answer: &(impl Message + Serialize)) -> Response {
        match self {
            Way::Json => {
                ([(header::CONTENT_TYPE, JSON)], serde_json::to_vec(answer).unwrap_or_default()).into_response()
            }
            Way::Protobuf => ([(header::CONTENT_TYPE, PROTOBUF)], answer.encode_to_vec()).into_response(),
        }
    }
}

/// What was sent; else the answer that says why it is not taken.
fn read<T: Message + Default + DeserializeOwned>(headers: &HeaderMap, body: Bytes) -> Result<(Way, T), Box<Response>> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refuse = |status: StatusCode, why: String| Err(Box::new((status, why).into_response()));
    // No exporter is a page, and none comes by a name that somebody made lead here.
    let host = text(header::HOST).rsplit_once(':').map_or(text(header::HOST), |(host, _)| host);
    if headers.contains_key(header::ORIGIN) || !["127.0.0.1", "localhost", "[::1]"].contains(&host) {
        return refuse(
            StatusCode::FORBIDDEN,
            "telemetry is taken from processes of this machine, not from pages".into(),
        );
    }
    if !matches!(text(header::CONTENT_ENCODING), "" | "identity") {
        let help = "compressed requests are not taken; set OTEL_EXPORTER_OTLP_COMPRESSION=none";
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, help.into());
    }
    let (way, request) = match text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim() {
        PROTOBUF => (Way::Protobuf, T::decode(body).map_err(|error| error.to_string())),
        JSON => (Way::Json, serde_json::from_slice(&body).map_err(|error| error.to_string())),
        _ => {
            return refuse(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "write OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf".into(),
            );
        }
    };
    match request {
        Ok(request) => Ok((way, request)),
        Err(why) => refuse(StatusCode::BAD_REQUEST, format!("not understood: {why}")),
    }
}

async fn traces(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let (way, request) = match read::<ExportTraceServiceRequest>(&headers, body) {
        Ok(read) => read,
        Err(refused) => return *refused,
    };
    let rejected = app.traces().add(request);
    app.traced.send_modify(|count| *count += 1);
    let partial_success = (rejected > 0).then(|| ExportTracePartialSuccess {
        rejected_spans: rejected as i64,
        error_message: "a span has a trace id of 16 bytes and an id of 8".into(),
    });
    way.answer(&ExportTraceServiceResponse { partial_success })
}

/// What is said of what belongs to nobody here.
fn strange(service: &str) -> String {
    format!("the lab has no service `{service}` here: leave OTEL_SERVICE_NAME as it is set")
}

async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let (way, request) = match read::<ExportMetricsServiceRequest>(&headers, body) {
        Ok(read) => read,
        Err(refused) => return *refused,
    };
    let at = jiff::Timestamp::now().as_millisecond();
    let (rejected, stranger) = app.metrics().add(request, at, |name| facts::spec(&app.up, name).is_some());
    app.measured.send_modify(|count| *count += 1);
    let partial_success = stranger.map(|name| ExportMetricsPartialSuccess {
        rejected_data_points: rejected as i64,
        error_message: strange(&name),
    });
    way.answer(&ExportMetricsServiceResponse { partial_success })
}

async fn logs(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let (way, request) = match read::<ExportLogsServiceRequest>(&headers, body) {
        Ok(read) => read,
        Err(refused) => return *refused,
    };
    let (lines, more) = records::lines(request);
    let (mut rejected, mut error_message) = (more, String::new());
    if more > 0 {
        error_message = "too many records at once: set OTEL_BLRP_MAX_EXPORT_BATCH_SIZE=512".into();
    }
    for (service, lines) in lines {
        if facts::spec(&app.up, &service).is_none() {
            rejected += lines.len();
            error_message = strange(&service);
            continue;
        }
        // They stand among what it prints, in its file too: the supervisor writes them there.
        for some in lines.chunks(LINES) {
            let request = Request::Record { unit: service.clone(), lines: some.to_vec() };
            if let Err(why) = hub::act(&app, request).await {
                return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
            }
        }
    }
    let partial_success =
        (rejected > 0).then_some(ExportLogsPartialSuccess { rejected_log_records: rejected as i64, error_message });
    way.answer(&ExportLogsServiceResponse { partial_success })
}
