//! Policies: who may do what, written by name and text.

use labwright_plan::{
    Action, Consequence, Field, Kind, Observed, OnChange, Ownership, ProviderError, Spec, Step, Value, Wanted,
};

use super::access::{admin, error};
use super::session::{Here, Look};
use super::{ADDRESS, ADMIN, CA, NAMESPACE};
use crate::host::session::text;

/// The kind `policy`.
pub const KIND: Kind = Kind {
    name: "policy",
    doc: "A policy of a Vault: what tokens that carry its name may do.",
    fields: &[
        Field {
            name: "text",
            doc: "What it grants, in the server's language.",
            on_change: OnChange::Update,
            consequence: Consequence::Hot,
            content: true,
        },
        ADDRESS,
        CA,
        NAMESPACE,
        ADMIN,
    ],
    ownership: Ownership::Thing,
    create: Consequence::None,
    delete: Consequence::Hot,
};

pub fn observe(here: &Here, wanted: &Wanted<'_>) -> Look {
    let found = admin(&here.context, wanted.spec)?.sys().policy(wanted.id.name()).map_err(error)?;
    let observed = |text: String| Observed { spec: Spec::from([("text".into(), Value::Text(text))]), data: None };
    Ok(found.map(observed))
}

pub fn apply(here: &Here, step: &Step) -> Result<(), ProviderError> {
    let client = admin(&here.context, &step.spec)?;
    match step.action {
        Action::Delete => client.sys().delete_policy(step.id.name()),
        _ => client.sys().write_policy(step.id.name(), text(&step.spec, "text").unwrap_or_default()),
    }
    .map_err(error)
}
