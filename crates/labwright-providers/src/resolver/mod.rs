//! A resolver that is there already, AdGuard Home or Pi-hole: the lab's names, over its HTTP API.
//! Starts and installs nothing, and leaves every record, list and setting alone that is none of the lab's names.

mod adguard;
mod book;
mod lower;
mod pihole;
mod session;

use labwright_plan::{
    Consequence, Context, Facts, Field, Input, Kind, Lowered, OnChange, Ownership, Provider, ProviderError, Refusal,
    Resource, Session,
};

use crate::api::reached;

/// The provider `resolver`.
pub struct Resolver;

static KINDS: [Kind; 1] = [Kind {
    name: "record",
    doc: "A name of the lab in an AdGuard Home (a DNS rewrite) or a Pi-hole (a local DNS record) that is there already. A new \
          answer is added before an old one goes, so that the name is always answered. A Pi-hole restarts its resolver where an \
          alias (CNAME) comes or goes, which takes it about a second.",
    fields: &[
        Field {
            name: "answers",
            doc: "What it is answered with: addresses, or the name that it is short for.",
            on_change: OnChange::Update,
            consequence: Consequence::Hot,
            content: false,
        },
        reached("software", "Which program it is: `adguard` or `pihole`."),
        reached("address", "Where its API is."),
        reached("user", "The user that its API knows."),
        reached("password", "That user's password."),
    ],
    ownership: Ownership::Thing,
    create: Consequence::None,
    delete: Consequence::Hot,
}];

impl Provider for Resolver {
    fn name(&self) -> &'static str {
        "resolver"
    }

    fn kinds(&self) -> &'static [Kind] {
        &KINDS
    }

    fn lower(&self, input: &Input<'_>, out: &mut Lowered) {
        lower::lower(input, out);
    }

    /// Whoever knows the password may; root is not needed.
    fn refuse(&self, _: &Resource, _: &Facts) -> Option<Refusal> {
        None
    }

    /// Both show their records to nobody without a password.
    fn looks_with_secrets(&self, _: &str) -> bool {
        true
    }

    fn connect(&self, context: &Context) -> Result<Box<dyn Session>, ProviderError> {
        Ok(Box::new(session::Here::new(context)))
    }
}
