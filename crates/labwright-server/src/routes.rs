//! Addresses, and what answers them.

use std::net::TcpListener;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use labwright_model::snapshot::up::control::Request;
use serde::Deserialize;

use crate::app::App;
use crate::logs::{self, Filter};
use crate::pages::{graph, overview, refused, timeline, traces, unit};
use crate::{events, facts, gate, hub};

const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/live.js");
const ICON: &str = include_str!("assets/icon.svg");

pub fn router(app: Arc<App>) -> Router {
    let text =
        |kind: &'static str, text: &'static str| get(move || async move { ([(header::CONTENT_TYPE, kind)], text) });
    Router::new()
        .route("/", get(async |State(app): State<Arc<App>>| overview::render(&app)))
        .route("/graph", get(async |State(app): State<Arc<App>>| graph::render(&app)))
        .route("/timeline", get(async |State(app): State<Arc<App>>| timeline::render(&app)))
        .route("/unit/{name}", get(one))
        .route("/traces", get(all_traces))
        .route("/traces/{id}", get(one_trace))
        .route("/events", get(events::events))
        .route("/act", post(act))
        .route("/style.css", text("text/css; charset=utf-8", STYLE))
        .route("/live.js", text("text/javascript; charset=utf-8", SCRIPT))
        .route("/icon.svg", text("image/svg+xml", ICON))
        .fallback(async || (StatusCode::NOT_FOUND, refused::nothing()))
        .layer(middleware::from_fn_with_state(app.clone(), gate::gate))
        .with_state(app)
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, router: Router) {
    let served = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => axum::serve(crate::connections::Bounded::new(listener), router).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::warn!(%error, "the dashboard is not served any more");
    }
}

async fn one(State(app): State<Arc<App>>, Path(name): Path<String>, Query(filter): Query<Filter>) -> Response {
    let Some(spec) = facts::spec(&app.up, &name) else {
        return (StatusCode::NOT_FOUND, refused::nothing()).into_response();
    };
    let lines = if filter.is_empty() {
        unit::Lines { lines: hub::lines(&app, &name, logs::SHOWN).await, found: None }
    } else {
        let (folder, name, wanted) = (app.logs.clone(), name.clone(), filter.clone());
        let searched = tokio::task::spawn_blocking(move || logs::search(&folder, &name, &wanted));
        let (lines, found) = searched.await.unwrap_or_default();
        unit::Lines { lines, found: Some(found) }
    };
    unit::render(&app, spec, &filter, &lines).into_response()
}

#[derive(Deserialize)]
struct OfService {
    #[serde(default)]
    service: String,
}

async fn all_traces(State(app): State<Arc<App>>, Query(of): Query<OfService>) -> impl IntoResponse {
    traces::render(&app, &of.service)
}

async fn one_trace(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    match traces::one(&app, &id) {
        Some(page) => page.into_response(),
        None => (StatusCode::NOT_FOUND, refused::nothing()).into_response(),
    }
}

/// What a button sends.
#[derive(Deserialize)]
struct Act {
    token: String,
    unit: String,
    what: String,
}

/// The one address that changes anything.
async fn act(State(app): State<Arc<App>>, headers: HeaderMap, Form(act): Form<Act>) -> Response {
    // Back to where the button was, which is a page of this server or it is not followed.
    let back = headers
        .get(header::REFERER)
        .and_then(|value| value.to_str().ok()?.parse::<axum::http::Uri>().ok())
        .map_or_else(|| format!("/unit/{}", act.unit), |uri| uri.path().to_string());
    let back = if back.starts_with('/') && !back.starts_with("//") { back } else { "/".into() };
    if !app.gate.is_own_form(&act.token) {
        return (StatusCode::FORBIDDEN, refused::form()).into_response();
    }
    let units = vec![act.unit];
    let request = match act.what.as_str() {
        "restart" => Request::Restart { units },
        "stop" => Request::Stop { units, dependents: false },
        "start" => Request::Start { units },
        _ => return (StatusCode::BAD_REQUEST, refused::fault("there is no such button", &back)).into_response(),
    };
    match hub::act(&app, request).await {
        Ok(()) => Redirect::to(&back).into_response(),
        Err(why) => (StatusCode::CONFLICT, refused::fault(&why, &back)).into_response(),
    }
}
