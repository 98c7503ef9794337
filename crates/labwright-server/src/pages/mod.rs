//! Pages: what stands on each, and which parts of it are sent again when they change. A part is a region with an id; the page
//! holds it as the server made it, so that it reads the same without a script.

pub mod graph;
pub mod overview;
pub mod refused;
pub mod timeline;
pub mod traces;
pub mod unit;

use labwright_model::snapshot::up::control::Phase;
use maud::{DOCTYPE, Markup, html};

use crate::app::App;
use crate::facts;
use crate::hub::Snapshot;

/// A part of a page that changes: its id, and what is in it.
pub type Region = (String, Markup);

/// What one page is.
pub struct Page<'a> {
    pub title: &'a str,
    /// The entry of the menu that it belongs to.
    pub menu: &'a str,
    /// Where its changes come from, if it has any.
    pub events: String,
    pub body: Markup,
}

const MENU: &[(&str, &str)] =
    &[("/", "Overview"), ("/graph", "Graph"), ("/timeline", "Timeline"), ("/traces", "Traces")];

/// What every document begins with, whoever sees it; `head` and `body` are what it has of its own.
fn document(title: &str, head: &Markup, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                (head)
            }
            (body)
        }
    }
}

pub fn page(app: &App, page: Page<'_>) -> Markup {
    let head = html! {
        link rel="icon" href="/icon.svg" type="image/svg+xml";
        link rel="stylesheet" href="/style.css";
        @if !page.events.is_empty() {
            // Where somebody types, nothing is loaded anew under their hands.
            @if !page.menu.is_empty() { noscript { meta http-equiv="refresh" content="5"; } }
            script src="/live.js" defer {}
        }
    };
    let body = html! {
        body data-events=(page.events) {
            header {
                a.brand href="/" { "labwright" span { (app.up.lab) } }
                nav {
                    @for (href, name) in MENU {
                        a href=(href) aria-current=[(page.menu == *href).then_some("page")] { (name) }
                    }
                }
                span #live hidden role="status" {}
            }
            p #trouble hidden role="alert" {}
            main { (page.body) }
        }
    };
    document(&format!("{} · {}", page.title, app.up.lab), &head, &body)
}

/// A region where it stands in its page.
pub fn region((id, content): Region) -> Markup {
    html! { div id=(id) data-live { (content) } }
}

/// How a phase is shown, which is also a class of style.
pub fn tone(phase: Phase) -> &'static str {
    match phase {
        Phase::Ready => "good",
        Phase::Done => "done",
        Phase::Starting | Phase::Stopping => "busy",
        Phase::Unwell | Phase::Pausing => "warn",
        Phase::Failed => "bad",
        Phase::Waiting | Phase::Stopped => "idle",
    }
}

/// A sign besides the colour: not everybody tells colours apart.
fn sign(phase: Phase) -> &'static str {
    match phase {
        Phase::Ready | Phase::Done => "✓",
        Phase::Failed => "✗",
        Phase::Unwell | Phase::Pausing => "!",
        Phase::Starting | Phase::Stopping => "…",
        Phase::Waiting | Phase::Stopped => "·",
    }
}

pub fn badge(phase: Phase) -> Markup {
    html! { span class={ "badge " (tone(phase)) } { span aria-hidden="true" { (sign(phase)) } " " (phase.word()) } }
}

/// Where a unit has its page.
pub fn link(name: &str) -> Markup {
    html! { a href={ "/unit/" (name) } { (name) } }
}

pub fn links<'a>(names: impl IntoIterator<Item = &'a str>) -> Markup {
    html! { @for (number, name) in names.into_iter().enumerate() { @if number > 0 { ", " } (link(name)) } }
}

/// The buttons of a unit.
pub fn buttons(app: &App, name: &str, phase: Phase, place: &str) -> Markup {
    let runs = !matches!(phase, Phase::Stopped | Phase::Stopping | Phase::Failed | Phase::Done);
    let button = |what: &str, text: &str| {
        html! { button name="what" value=(what) id={ (place) "-" (what) } aria-label={ (text) " " (name) } { (text) } }
    };
    html! {
        form.buttons method="post" action="/act" {
            input type="hidden" name="token" value=(app.gate.form);
            input type="hidden" name="unit" value=(name);
            @if runs {
                (button("restart", "Restart"))
                (button("stop", "Stop"))
            } @else {
                (button("start", "Start"))
            }
        }
    }
}

/// Why a unit is as it is.
pub fn why(app: &App, now: &Snapshot, name: &str) -> Markup {
    let Some(unit) = facts::status(now, name) else { return html! {} };
    html! {
        @match unit.phase {
            Phase::Waiting => { "waits for " (links(facts::waits_for(&app.up, now, name))) }
            _ if !unit.reason.is_empty() => { (crate::logs::plain(&unit.reason)) }
            Phase::Ready | Phase::Done => {
                @if let Some(took) = unit.took { span.quiet { (unit.phase.word()) " after " (facts::duration(took)) } }
            }
            _ => {}
        }
    }
}
