//! What somebody sees who is not let in, and what to do about it.

use maud::{Markup, html};

use super::document;

/// Without style and script: whoever is not let in gets nothing else from here.
fn plain(title: &str, body: Markup) -> Markup {
    document(title, &html! {}, &html! { body { h1 { (title) } (body) } })
}

pub fn host() -> Markup {
    plain(
        "Not by this name",
        html! {
            p { "This is the dashboard of a lab, and it answers by the names of its own machine alone. `labwright open` prints its address." }
        },
    )
}

pub fn origin() -> Markup {
    plain(
        "Not from there",
        html! {
            p { "Another page has sent this, and nothing was done. To do it yourself, open the dashboard: `labwright open`." }
        },
    )
}

pub fn form() -> Markup {
    plain(
        "This page is of an earlier run",
        html! {
            p { "The lab was started anew since the page was loaded, and nothing was done. " a href="/" { "Load it again" } ", then press the button once more." }
        },
    )
}

pub fn token(lab: &str) -> Markup {
    plain(
        &format!("Lab {lab}"),
        html! {
            p { "The dashboard of this lab asks who reaches it from elsewhere for its token. On the machine that it runs on, "
                "`labwright open --print` prints an address with it." }
            form method="get" action="/" {
                label { "Token " input type="password" name="token" autocomplete="off" required; }
                " " button { "Open" }
            }
        },
    )
}

pub fn fault(why: &str, back: &str) -> Markup {
    plain("That was not done", html! { p { (why) } p { a href=(back) { "Back" } } })
}

pub fn nothing() -> Markup {
    plain("There is no such page", html! { p { a href="/" { "To the overview" } } })
}
