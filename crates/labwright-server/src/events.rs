//! What an open page is told (Server-Sent Events): those of its regions that have changed, and the lines of its log. However
//! fast things change and however slowly a browser reads, no more waits for it than the last state and one batch of lines.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use labwright_model::snapshot::up::control::{Line, Phase, Request, Told};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::app::App;
use crate::facts;
use crate::hub::Link;
use crate::logs::{self, Filter};
use crate::pages::{Region, graph, overview, timeline, traces, unit};

/// Regions are sent at most so often.
const FRAME: Duration = Duration::from_millis(100);
/// Lines wait so long for more of them, so that a flood is a few large events.
const BATCH: Duration = Duration::from_millis(50);
/// Lines in one event.
const LINES: usize = 200;
/// Without news, so often a sign of life: whoever has gone is noticed by it.
const ALIVE: Duration = Duration::from_secs(10);
/// What the supervisor keeps of a log in memory is less.
const TAIL: usize = 400;

#[derive(Deserialize)]
pub struct Ask {
    page: String,
    #[serde(default)]
    unit: String,
    #[serde(flatten)]
    filter: Filter,
}

pub async fn events(State(app): State<Arc<App>>, Query(ask): Query<Ask>) -> Response {
    let Ok(permit) = app.streams.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many tabs are open; close some").into_response();
    };
    let permit = Arc::new(permit);
    let (send, receive) = mpsc::channel(2);
    if ask.page == "unit" && facts::spec(&app.up, &ask.unit).is_some() {
        tokio::spawn(lines(app.clone(), ask.unit.clone(), ask.filter.clone(), send.clone(), permit.clone()));
    }
    tokio::spawn(regions(app, ask, send, permit));
    let stream = futures_util::stream::unfold(receive, |mut receive| async {
        receive.recv().await.map(|event: Event| (Ok::<_, Infallible>(event), receive))
    });
    let mut response = Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE)).into_response();
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    response
}

fn of_page(app: &App, ask: &Ask) -> Vec<Region> {
    let now = app.now.borrow();
    match ask.page.as_str() {
        "overview" => overview::regions(app, &now),
        "graph" => graph::regions(app, &now),
        "timeline" => timeline::regions(app, &now),
        "traces" => traces::regions(app, &ask.unit),
        "unit" => facts::spec(&app.up, &ask.unit).map(|unit| unit::regions(app, &now, unit)).unwrap_or_default(),
        _ => Vec::new(),
    }
}

async fn regions(app: Arc<App>, ask: Ask, send: mpsc::Sender<Event>, _permit: Arc<OwnedSemaphorePermit>) {
    let (mut changed, mut traced, mut measured) =
        (app.now.subscribe(), app.traced.subscribe(), app.measured.subscribe());
    let mut told: HashMap<String, blake3::Hash> = HashMap::new();
    // A page of an earlier run is loaded anew: what it shows may not be there any more.
    let run = Event::default().event("run").data(&app.run);
    if send.send(run).await.is_err() {
        return;
    }
    loop {
        changed.mark_unchanged();
        traced.mark_unchanged();
        measured.mark_unchanged();
        let mut news = serde_json::Map::new();
        for (id, content) in of_page(&app, &ask) {
            let hash = blake3::hash(content.0.as_bytes());
            if told.insert(id.clone(), hash) != Some(hash) {
                news.insert(id, content.into_string().into());
            }
        }
        if !news.is_empty() {
            let event = Event::default().event("regions").data(serde_json::Value::from(news).to_string());
            if send.send(event).await.is_err() {
                return;
            }
        }
        // While something starts, the chart of it grows by itself, and what is slow becomes worth a look.
        let starts = app.now.borrow().state.units.iter().any(|unit| unit.phase == Phase::Starting);
        let more = if starts { Duration::from_millis(500) } else { Duration::from_secs(3600) };
        tokio::select! {
            () = send.closed() => return,
            changed = changed.changed() => if changed.is_err() { return },
            traced = traced.changed(), if ask.page == "traces" => if traced.is_err() { return },
            measured = measured.changed(), if ask.page == "unit" => if measured.is_err() { return },
            () = tokio::time::sleep(more) => {}
        }
        tokio::time::sleep(FRAME).await;
    }
}

async fn lines(
    app: Arc<App>,
    unit: String,
    filter: Filter,
    send: mpsc::Sender<Event>,
    _permit: Arc<OwnedSemaphorePermit>,
) {
    let Some(mut link) = Link::open(&app) else { return };
    // Without a filter, the supervisor tells the last lines and all that come, with no gap between them. With one, those of the
    // file come first: it is read once all that is in it will not be told any more.
    let tail = if filter.is_empty() { TAIL } else { 0 };
    let request = Request::Logs { units: vec![unit.clone()], tail, follow: true };
    if !link.ask(&request).await || !link.ask(&Request::State).await {
        return;
    }
    let mut batch: Vec<Line> = Vec::new();
    loop {
        match link.hear().await {
            Some(Told::Line(line)) => batch.push(line),
            Some(Told::State(_)) => break,
            Some(_) => {}
            None => return,
        }
    }
    let mut twice: Vec<Line> = Vec::new();
    if !filter.is_empty() {
        batch.retain(|line| filter.takes(line));
        let (folder, name, wanted) = (app.logs.clone(), unit.clone(), filter.clone());
        let searched = tokio::task::spawn_blocking(move || logs::search(&folder, &name, &wanted));
        let (found, _) = searched.await.unwrap_or_default();
        // What was written while the file was read may come once more.
        batch.retain(|line| !found.contains(line));
        twice = found.iter().rev().take(LINES).cloned().collect();
        drop(batch.splice(0..0, found));
    }
    if send.send(event(&batch, 0, true)).await.is_err() {
        return;
    }
    loop {
        batch.clear();
        let mut missed = 0;
        let first = tokio::select! {
            () = send.closed() => return,
            told = link.hear() => told,
        };
        let Some(mut told) = first else { return };
        let until = tokio::time::Instant::now() + BATCH;
        loop {
            match told {
                Told::Line(line) if filter.takes(&line) && !twice.contains(&line) => batch.push(line),
                Told::Missed { lines } => missed += lines,
                _ => {}
            }
            if batch.len() >= LINES {
                break;
            }
            match tokio::time::timeout_at(until, link.hear()).await {
                Ok(Some(next)) => told = next,
                Ok(None) | Err(_) => break,
            }
        }
        if (!batch.is_empty() || missed > 0) && send.send(event(&batch, missed, false)).await.is_err() {
            return;
        }
    }
}

fn event(lines: &[Line], missed: u64, anew: bool) -> Event {
    let html = unit::these(lines).into_string();
    Event::default().event("lines").data(json!({ "html": html, "missed": missed, "anew": anew }).to_string())
}
