//! OTLP over HTTP, as far as traces go: what the processes of the lab send, in protobuf or JSON.
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
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;

use crate::app::App;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
/// No request is larger; exporters send batches of 512 spans.
const MOST_BYTES: usize = 4 << 20;

pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/traces", post(traces))
        .fallback(async || {
            let help =
                "only traces are taken here (/v1/traces); set OTEL_METRICS_EXPORTER=none and OTEL_LOGS_EXPORTER=none";
            (StatusCode::NOT_FOUND, help)
        })
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .with_state(app)
}

async fn traces(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // No exporter is a page, and none comes by a name that somebody made lead here.
    let host = text(header::HOST).rsplit_once(':').map_or(text(header::HOST), |(host, _)| host);
    if headers.contains_key(header::ORIGIN) || !["127.0.0.1", "localhost", "[::1]"].contains(&host) {
        return (StatusCode::FORBIDDEN, "traces are taken from processes of this machine, not from pages")
            .into_response();
    }
    if !matches!(text(header::CONTENT_ENCODING), "" | "identity") {
        let help = "compressed requests are not taken; set OTEL_EXPORTER_OTLP_COMPRESSION=none";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, help).into_response();
    }
    let kind = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    let request = match kind {
        PROTOBUF => ExportTraceServiceRequest::decode(body).map_err(|error| error.to_string()),
        JSON => serde_json::from_slice(&body).map_err(|error| error.to_string()),
        _ => {
            let help = "write OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf";
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, help).into_response();
        }
    };
    let request: ExportTraceServiceRequest = match request {
        Ok(request) => request,
        Err(why) => return (StatusCode::BAD_REQUEST, format!("not understood: {why}")).into_response(),
    };
    let rejected = app.traces().add(request);
    app.traced.send_modify(|count| *count += 1);
    let partial_success = (rejected > 0).then(|| ExportTracePartialSuccess {
        rejected_spans: rejected as i64,
        error_message: "a span has a trace id of 16 bytes and an id of 8".into(),
    });
    let answer = ExportTraceServiceResponse { partial_success };
    match kind {
        JSON => ([(header::CONTENT_TYPE, JSON)], serde_json::to_vec(&answer).unwrap_or_default()).into_response(),
        _ => ([(header::CONTENT_TYPE, PROTOBUF)], answer.encode_to_vec()).into_response(),
    }
}
