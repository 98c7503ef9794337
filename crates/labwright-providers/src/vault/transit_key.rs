//! Keys of the transit engine that never leave the server. Made and looked at; never rotated, and removed by nobody.

use labwright_plan::{
    Action, Consequence, Field, Kind, Observed, OnChange, Ownership, ProviderError, Spec, Step, Value, Wanted,
};

use super::access::{admin, error};
use super::session::{Here, Look};
use super::{ADDRESS, ADMIN, CA, NAMESPACE};

/// The only type that is made.
pub const TYPE: &str = "aes256-gcm96";

/// The kind `transit_key`.
pub const KIND: Kind = Kind {
    name: "transit_key",
    doc: "A key of a Vault's transit engine, named by mount and key. The engine is mounted with the first one.",
    fields: &[
        Field {
            name: "type",
            doc: "What it encrypts with.",
            on_change: OnChange::Replace,
            consequence: Consequence::DestroysData,
            content: false,
        },
        ADDRESS,
        CA,
        NAMESPACE,
        ADMIN,
    ],
    ownership: Ownership::Thing,
    create: Consequence::None,
    delete: Consequence::DestroysData,
};

/// Mount and key.
fn parts(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("transit", name))
}

pub fn observe(here: &Here, wanted: &Wanted<'_>) -> Look {
    let client = admin(&here.context, wanted.spec)?;
    let (mount, key) = parts(wanted.id.name());
    if !client.sys().mounts().map_err(error)?.contains_key(mount) {
        return Ok(None);
    }
    let found = client.transit(mount).key(key).map_err(error)?;
    let observed = |kind: String| Observed {
        spec: Spec::from([("type".into(), Value::Text(kind))]),
        data: Some("whatever is encrypted with it, such as the seal of another server, never opens again".into()),
    };
    Ok(found.map(|key| observed(key.kind)))
}

pub fn apply(here: &Here, step: &Step) -> Result<(), ProviderError> {
    let (mount, key) = parts(step.id.name());
    if matches!(step.action, Action::Delete | Action::Replace) {
        let message = format!("`{key}` of `{mount}` is not deleted: what it encrypted would never open again");
        return Err(ProviderError::rejected(message).help(format!(
            "if you mean it: `vault write {mount}/keys/{key}/config deletion_allowed=true`, then `vault delete {mount}/keys/{key}`"
        )));
    }
    let client = admin(&here.context, &step.spec)?;
    client.sys().enable_transit(mount).map_err(error)?;
    client.transit(mount).create_key(key).map_err(error)
}
