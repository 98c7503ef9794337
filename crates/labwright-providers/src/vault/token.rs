//! Tokens whose text is chosen: a secret of the lab's store. The server that uses one and the server that knows it can be
//! set up in one run, and nothing has to be carried from one to the other.

use labwright_plan::{
    Action, Consequence, Field, Kind, Observed, OnChange, Ownership, ProviderError, Spec, Step, Value, Wanted,
};
use labwright_secrets::vault::TokenSpec;

use super::access::{admin, error, secret};
use super::session::{Here, Look};
use super::{ADDRESS, ADMIN, CA, NAMESPACE};
use crate::host::session::text;

/// The kind `token`.
pub const KIND: Kind = Kind {
    name: "token",
    doc: "A token of a Vault with one policy, of no parent, that renews itself. Its text is a secret of the lab.",
    fields: &[
        Field { on_change: OnChange::Ignore, ..field("id", "The token itself.") },
        field("policy", "The only policy that it has."),
        field("period", "For how many seconds it is good each time it renews itself."),
        ADDRESS,
        CA,
        NAMESPACE,
        ADMIN,
    ],
    ownership: Ownership::Thing,
    create: Consequence::None,
    delete: Consequence::Downtime,
};

const fn field(name: &'static str, doc: &'static str) -> Field {
    Field { name, doc, on_change: OnChange::Replace, consequence: Consequence::Hot, content: false }
}

pub fn observe(here: &Here, wanted: &Wanted<'_>) -> Look {
    let client = admin(&here.context, wanted.spec)?;
    let id = secret(&here.context, wanted.spec, "id")?;
    let Some(found) = client.tokens().lookup(&id).map_err(error)? else { return Ok(None) };
    // A token that dies with its parent, or is more than it should be, is told by its policies.
    let mut policies = found.policies.join(" and ");
    if !found.orphan {
        policies.push_str(", until its parent ends");
    }
    let period = i64::try_from(found.period).unwrap_or(i64::MAX);
    let spec = Spec::from([("policy".into(), Value::Text(policies)), ("period".into(), Value::Int(period))]);
    Ok(Some(Observed { spec, data: None }))
}

pub fn apply(here: &Here, step: &Step) -> Result<(), ProviderError> {
    let spec = &step.spec;
    let client = admin(&here.context, spec)?;
    let id = secret(&here.context, spec, "id")?;
    let there = client.tokens().lookup(&id).map_err(error)?.is_some();
    if there && matches!(step.action, Action::Delete | Action::Replace | Action::Update) {
        client.tokens().revoke(&id).map_err(error)?;
    }
    if step.action == Action::Delete || (there && step.action == Action::Create) {
        return Ok(());
    }
    let period = spec.get("period").and_then(Value::int).and_then(|period| u64::try_from(period).ok());
    let token = TokenSpec {
        policies: text(spec, "policy").map(str::to_string).into_iter().collect(),
        orphan: true,
        period: period.unwrap_or_default(),
        renewable: true,
        no_default_policy: true,
        display_name: step.id.name().to_string(),
        id: Some(id),
        ..TokenSpec::default()
    };
    client.tokens().create(&token).map(drop).map_err(error)
}
