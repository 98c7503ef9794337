//! `auth/approle`: roles, their names for machines, the secrets that go with them, and logging in.
//! No restriction to networks, no local secret ids, no custom ones.

use std::collections::BTreeMap;

use serde_json::json;

use super::core::{Call, Core, Op};
use super::fields::Fields;
use super::random;
use super::reply::{Answer, Fault, Reply};
use super::state::{Role, SecretId};
use super::token::{self, Draft};

/// As for [`super::kv::exists`].
pub(crate) fn exists(core: &Core, mount: &str, rest: &str) -> Option<bool> {
    let name = rest.strip_prefix("role/").filter(|name| !name.contains('/'))?;
    Some(core.state.roles.get(mount).is_some_and(|roles| roles.contains_key(name)))
}

pub(crate) fn answer(core: &mut Core, call: &Call<'_>, mount: &str, rest: &str) -> Answer {
    let now = core.now();
    let roles = core.state.roles.entry(mount.to_string()).or_default();
    let fields = call.fields;
    let parts: Vec<&str> = rest.trim_end_matches('/').split('/').collect();
    let missing = |name: &str| Fault::bad(format!("role \"{name}\" does not exist"));
    match (parts.as_slice(), call.op) {
        (["role"], Op::List) => Reply::keys(roles.keys().cloned().collect()),
        (["role", name], Op::Write) => {
            let role = roles.get(*name).cloned().unwrap_or_else(new_role);
            roles.insert((*name).to_string(), changed(role, fields)?);
            Ok(Reply::none())
        }
        (["role", name], Op::Read) => match roles.get(*name) {
            Some(role) => Ok(Reply::data(shown(role))),
            None => Err(Fault::not_found()),
        },
        (["role", name], Op::Delete) => {
            roles.remove(*name);
            Ok(Reply::none())
        }
        (["role", name, "role-id"], Op::Read) => match roles.get(*name) {
            Some(role) => Ok(Reply::data(json!({ "role_id": role.role_id }))),
            None => Err(Fault::not_found()),
        },
        (["role", name, "role-id"], Op::Write) => {
            let id = fields.need("role_id")?;
            roles.get_mut(*name).ok_or_else(|| missing(name))?.role_id = id;
            Ok(Reply::none())
        }
        (["role", name, "secret-id"], Op::List) => {
            let role = roles.get(*name).ok_or_else(|| missing(name))?;
            Reply::keys(role.secret_ids.values().map(|id| id.accessor.clone()).collect())
        }
        (["role", name, "secret-id"], Op::Write) => {
            new_secret_id(roles.get_mut(*name).ok_or_else(|| missing(name))?, fields, now)
        }
        (["role", name, "secret-id", "destroy"], Op::Write | Op::Delete) => {
            let id = fields.need("secret_id")?;
            roles.get_mut(*name).ok_or_else(|| missing(name))?.secret_ids.remove(&id);
            Ok(Reply::none())
        }
        (["role", name, "secret-id-accessor", "destroy"], Op::Write | Op::Delete) => {
            let accessor = fields.need("secret_id_accessor")?;
            roles.get_mut(*name).ok_or_else(|| missing(name))?.secret_ids.retain(|_, id| id.accessor != accessor);
            Ok(Reply::none())
        }
        (["login"] | ["role"] | ["role", _] | ["role", _, "role-id" | "secret-id"], _) => {
            Err(Fault::unsupported_operation())
        }
        _ => Err(Fault::unsupported_path()),
    }
}

fn new_role() -> Role {
    Role {
        role_id: random::uuid(),
        bind_secret_id: true,
        secret_id_ttl: 0,
        secret_id_uses: 0,
        policies: Vec::new(),
        no_default_policy: false,
        ttl: 0,
        max_ttl: 0,
        period: 0,
        num_uses: 0,
        secret_ids: BTreeMap::new(),
    }
}

fn changed(role: Role, fields: &Fields) -> Result<Role, Fault> {
    if fields.text("token_type")?.is_some_and(|kind| !matches!(kind.as_str(), "" | "default" | "service")) {
        return Err(Fault::bad("only service tokens are made here"));
    }
    fields.ignore(&["local_secret_ids", "role_name"]);
    for name in ["secret_id_bound_cidrs", "token_bound_cidrs"] {
        if fields.texts(name)?.is_some_and(|cidrs| !cidrs.is_empty()) {
            return Err(Fault::bad(format!("{name} is not kept here")));
        }
    }
    let role = Role {
        bind_secret_id: fields.flag("bind_secret_id")?.unwrap_or(role.bind_secret_id),
        secret_id_ttl: fields.seconds("secret_id_ttl")?.unwrap_or(role.secret_id_ttl),
        secret_id_uses: fields.number("secret_id_num_uses")?.unwrap_or(role.secret_id_uses),
        policies: fields.texts("token_policies")?.or(fields.texts("policies")?).unwrap_or(role.policies),
        no_default_policy: fields.flag("token_no_default_policy")?.unwrap_or(role.no_default_policy),
        ttl: fields.seconds("token_ttl")?.unwrap_or(role.ttl),
        max_ttl: fields.seconds("token_max_ttl")?.or(fields.seconds("token_explicit_max_ttl")?).unwrap_or(role.max_ttl),
        period: fields.seconds("token_period")?.unwrap_or(role.period),
        num_uses: fields.number("token_num_uses")?.unwrap_or(role.num_uses),
        role_id: role.role_id,
        secret_ids: role.secret_ids,
    };
    if !role.bind_secret_id {
        return Err(Fault::bad("at least one constraint should be enabled on the role"));
    }
    if role.max_ttl > 0 && role.ttl > role.max_ttl {
        return Err(Fault::bad("'token_ttl' cannot be greater than 'token_max_ttl'"));
    }
    Ok(role)
}

fn shown(role: &Role) -> serde_json::Value {
    json!({
        "bind_secret_id": role.bind_secret_id, "secret_id_ttl": role.secret_id_ttl,
        "secret_id_num_uses": role.secret_id_uses, "secret_id_bound_cidrs": null, "local_secret_ids": false,
        "token_policies": role.policies, "token_ttl": role.ttl, "token_max_ttl": role.max_ttl,
        "token_period": role.period, "token_num_uses": role.num_uses, "token_type": "default",
        "token_no_default_policy": role.no_default_policy, "token_bound_cidrs": [], "token_explicit_max_ttl": 0,
    })
}

fn new_secret_id(role: &mut Role, fields: &Fields, now: u64) -> Answer {
    let metadata = match fields.text("metadata")?.filter(|text| !text.is_empty()) {
        Some(text) => {
            serde_json::from_str(&text).map_err(|_| Fault::bad("metadata is not a JSON object of strings"))?
        }
        None => BTreeMap::new(),
    };
    if fields.texts("cidr_list")?.is_some_and(|all| !all.is_empty())
        || fields.texts("token_bound_cidrs")?.is_some_and(|all| !all.is_empty())
    {
        return Err(Fault::bad("secret ids are not bound to networks here"));
    }
    let ttl = fields.seconds("ttl")?.unwrap_or(role.secret_id_ttl);
    let uses = fields.number("num_uses")?.unwrap_or(role.secret_id_uses);
    let (id, accessor) = (random::uuid(), random::uuid());
    let reply = json!({
        "secret_id": id, "secret_id_accessor": accessor, "secret_id_num_uses": uses, "secret_id_ttl": ttl,
    });
    let expires = (ttl > 0).then(|| now + ttl);
    role.secret_ids.insert(id, SecretId { accessor, expires, uses_left: (uses > 0).then_some(uses), metadata });
    Ok(Reply::data(reply))
}

/// The one call that needs no token.
pub(crate) fn login(core: &mut Core, fields: &Fields, mount: &str) -> Answer {
    let (role_id, secret_id) = (fields.need("role_id")?, fields.text("secret_id")?.unwrap_or_default());
    let now = core.now();
    let wrong = || Fault::bad("invalid role or secret ID");
    let roles = core.state.roles.entry(mount.to_string()).or_default();
    let (name, role) = roles.iter_mut().find(|(_, role)| role.role_id == role_id).ok_or_else(wrong)?;
    if secret_id.is_empty() {
        return Err(Fault::bad("missing secret_id"));
    }
    let id = role.secret_ids.get_mut(&secret_id).ok_or_else(wrong)?;
    let expired = id.expires.is_some_and(|expires| expires <= now);
    let used_up = id.uses_left.as_mut().is_some_and(|left| {
        *left -= 1;
        *left == 0
    });
    let mut meta = id.metadata.clone();
    if expired || used_up {
        role.secret_ids.remove(&secret_id);
    }
    if expired {
        return Err(wrong());
    }
    meta.insert("role_name".to_string(), name.clone());
    let mut policies = role.policies.clone();
    if !role.no_default_policy {
        policies.push("default".to_string());
    }
    let draft = Draft {
        policies,
        parent: None,
        path: format!("auth/{mount}login"),
        display_name: "approle".to_string(),
        meta,
        ttl: (role.ttl > 0).then_some(role.ttl),
        period: role.period,
        max_ttl: role.max_ttl,
        renewable: true,
        num_uses: role.num_uses,
    };
    let id = token::make(core, draft);
    Ok(Reply::auth(token::auth(core, &id)))
}
