//! A Caddy that is there already: the lab's routes and the certificates of their names, over its admin API.
//! Starts and installs nothing, and leaves every route, server and setting alone that is not marked as the lab's.

mod admin;
mod lower;
mod route;
mod session;

use std::sync::Mutex;

use labwright_plan::{
    Consequence, Context, Facts, Field, Input, Kind, Lowered, OnChange, Ownership, Provider, ProviderError, Refusal,
    Resource, Session,
};

use crate::api::reached;

/// The provider `caddy`.
pub struct Caddy;

static KINDS: [Kind; 2] = [
    Kind {
        name: "policy",
        doc: "Where a Caddy that is there already gets the certificates of the lab's names from: a policy of its automation, \
              before all others.",
        fields: &[ID, CONFIG, ADMIN],
        ownership: Ownership::Thing,
        create: Consequence::Hot,
        delete: Consequence::Hot,
    },
    Kind {
        name: "route",
        doc: "A route of a Caddy that is there already: what the names of one service lead to. It stands before routes that are \
              not the lab's, in the server that listens on its port; where there is none, a server `labwright` is made, and \
              removed with its last route. Connections are not cut, and Caddy goes on as before where it refuses a change.",
        fields: &[
            ID,
            CONFIG,
            Field {
                name: "port",
                doc: "The port of the server that it stands in.",
                on_change: OnChange::Replace,
                consequence: Consequence::Hot,
                content: false,
            },
            reached("names", "The names that it answers to."),
            reached("listen", "Where a server of its own would listen."),
            reached("tls", "Whether a server of its own would speak TLS."),
            ADMIN,
        ],
        ownership: Ownership::Thing,
        create: Consequence::Hot,
        delete: Consequence::Hot,
    },
];

const ID: Field = Field {
    name: "id",
    doc: "What it is called in Caddy's configuration (`@id`).",
    on_change: OnChange::Replace,
    consequence: Consequence::Hot,
    content: false,
};
const CONFIG: Field = Field {
    name: "config",
    doc: "What it says, in Caddy's own JSON.",
    on_change: OnChange::Update,
    consequence: Consequence::Hot,
    content: true,
};
const ADMIN: Field = reached("admin", "Where Caddy's admin API answers.");

impl Provider for Caddy {
    fn name(&self) -> &'static str {
        "caddy"
    }

    fn kinds(&self) -> &'static [Kind] {
        &KINDS
    }

    fn lower(&self, input: &Input<'_>, out: &mut Lowered) {
        lower::lower(input, out);
    }

    /// Whoever reaches the admin API may use it; root is not needed.
    fn refuse(&self, _: &Resource, _: &Facts) -> Option<Refusal> {
        None
    }

    fn connect(&self, context: &Context) -> Result<Box<dyn Session>, ProviderError> {
        Ok(Box::new(session::Here { context: context.clone(), writing: Mutex::default() }))
    }
}
