//! `auth/token`: making, looking up, renewing and revoking tokens.
//! Service tokens only; no roles, no batch tokens, no response wrapping.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::core::{Call, Core, Op};
use super::random;
use super::reply::{Answer, Fault, Reply};
use super::state::Token;

/// 32 days: what a token lives if nothing else is said, and at most.
pub(crate) const DEFAULT_TTL: u64 = 2_764_800;

/// What a token is to be.
pub(crate) struct Draft {
    pub policies: Vec<String>,
    pub parent: Option<String>,
    pub path: String,
    pub display_name: String,
    pub meta: BTreeMap<String, String>,
    pub ttl: Option<u64>,
    pub period: u64,
    pub max_ttl: u64,
    pub renewable: bool,
    pub num_uses: u64,
}

pub(crate) fn answer(core: &mut Core, call: &Call<'_>, rest: &str) -> Answer {
    match (rest, call.op) {
        ("create" | "create-orphan", Op::Write) => create(core, call, rest == "create-orphan"),
        ("lookup-self", Op::Read | Op::Write) => lookup(core, call.token),
        ("lookup", Op::Write) => lookup(core, &call.fields.need("token")?),
        ("renew-self", Op::Write) => renew(core, call, call.token),
        ("renew", Op::Write) => renew(core, call, &call.fields.need("token")?),
        ("revoke-self", Op::Write) => revoke(core, call.token),
        ("revoke", Op::Write) => revoke(core, &call.fields.need("token")?),
        ("revoke-accessor" | "lookup-accessor", Op::Write) => {
            let accessor = call.fields.need("accessor")?;
            let found = core.state.tokens.iter().find(|(_, token)| token.accessor == accessor);
            let id = found.map(|(id, _)| id.clone()).ok_or_else(|| Fault::new(403, "invalid accessor"))?;
            if rest == "revoke-accessor" {
                return revoke(core, &id);
            }
            let mut found = lookup(core, &id)?;
            if let Some(id) = found.body.as_mut().and_then(|body| body.pointer_mut("/data/id")) {
                *id = json!("");
            }
            Ok(found)
        }
        (
            "create" | "create-orphan" | "lookup" | "lookup-self" | "renew" | "renew-self" | "revoke" | "revoke-self"
            | "revoke-accessor" | "lookup-accessor",
            _,
        ) => Err(Fault::unsupported_operation()),
        _ => Err(Fault::unsupported_path()),
    }
}

fn create(core: &mut Core, call: &Call<'_>, orphan: bool) -> Answer {
    let fields = call.fields;
    let sudo = core.may(call.token, call.path, "sudo");
    let orphan = orphan || fields.flag("no_parent")?.unwrap_or(false);
    if fields.flag("no_parent")?.unwrap_or(false) && !sudo {
        return Err(Fault::bad("root or sudo privileges required to create orphan token"));
    }
    let period = fields.seconds("period")?.unwrap_or(0);
    if period > 0 && !sudo {
        return Err(Fault::bad("root or sudo privileges required to create periodic token"));
    }
    let chosen = fields.text("id")?.filter(|id| !id.is_empty());
    if let Some(id) = &chosen {
        if !sudo {
            return Err(Fault::bad("root or sudo privileges required to specify token id"));
        }
        for prefix in ["s.", "hvs."] {
            if id.starts_with(prefix) {
                return Err(Fault::bad(format!("custom token ID cannot have the '{prefix}' prefix")));
            }
        }
        if core.state.tokens.contains_key(id) {
            return Err(Fault::bad("cannot create a token with a duplicate ID"));
        }
    }
    if fields.text("type")?.is_some_and(|kind| !kind.is_empty() && kind != "service") {
        return Err(Fault::bad("only tokens of type service are made here"));
    }
    fields.ignore(&["entity_alias", "lease"]);
    let parent = core.state.tokens.get(call.token).cloned().ok_or_else(Fault::denied)?;
    let asked = fields.texts("policies")?.unwrap_or_default();
    let mut policies = if asked.is_empty() { parent.policies.clone() } else { asked };
    if !sudo && policies.iter().any(|policy| policy != "default" && !parent.policies.contains(policy)) {
        return Err(Fault::bad("child policies must be subset of parent"));
    }
    if fields.flag("no_default_policy")?.unwrap_or(false) {
        policies.retain(|policy| policy != "default");
    } else if !policies.iter().any(|policy| policy == "root") {
        policies.push("default".to_string());
    }
    let draft = Draft {
        policies,
        parent: (!orphan).then(|| call.token.to_string()),
        path: call.path.to_string(),
        display_name: match fields.text("display_name")? {
            Some(name) if !name.is_empty() => format!("token-{name}"),
            _ => "token".to_string(),
        },
        meta: fields.text_map("meta")?.unwrap_or_default(),
        ttl: fields.seconds("ttl")?.filter(|ttl| *ttl > 0),
        period,
        max_ttl: fields.seconds("explicit_max_ttl")?.unwrap_or(0),
        renewable: fields.flag("renewable")?.unwrap_or(true),
        num_uses: fields.number("num_uses")?.unwrap_or(0),
    };
    if draft.policies.is_empty() {
        return Err(Fault::bad("token must have at least one policy"));
    }
    let id = make_named(core, draft, chosen);
    Ok(Reply::auth(auth(core, &id)))
}

/// Puts a token down and gives its name.
pub(crate) fn make(core: &mut Core, draft: Draft) -> String {
    make_named(core, draft, None)
}

fn make_named(core: &mut Core, draft: Draft, chosen: Option<String>) -> String {
    let id = chosen.unwrap_or_else(|| format!("hvs.{}", random::name()));
    let mut policies = draft.policies;
    policies.sort();
    policies.dedup();
    let root = policies.iter().any(|policy| policy == "root");
    let mut ttl = match (draft.period, draft.ttl) {
        (0, Some(ttl)) => Some(ttl.min(DEFAULT_TTL)),
        (0, None) if root => None,
        (0, None) => Some(DEFAULT_TTL),
        (period, _) => Some(period),
    };
    if draft.max_ttl > 0 {
        ttl = Some(ttl.unwrap_or(draft.max_ttl).min(draft.max_ttl));
    }
    let created = core.now();
    let token = Token {
        accessor: random::name(),
        policies,
        parent: draft.parent,
        path: draft.path,
        display_name: draft.display_name,
        meta: draft.meta,
        created,
        ttl,
        period: draft.period,
        max_ttl: draft.max_ttl,
        expires: ttl.map(|ttl| created + ttl),
        renewable: draft.renewable && ttl.is_some(),
        uses_left: (draft.num_uses > 0).then_some(draft.num_uses),
    };
    core.state.tokens.insert(id.clone(), token);
    id
}

/// The `auth` part of an answer that hands out or renews a token.
pub(crate) fn auth(core: &Core, id: &str) -> Value {
    let Some(token) = core.state.tokens.get(id) else { return Value::Null };
    json!({
        "client_token": id, "accessor": token.accessor, "policies": token.policies, "token_policies": token.policies,
        "metadata": token.meta, "lease_duration": left(core, token), "renewable": token.renewable, "entity_id": "",
        "token_type": "service", "orphan": token.parent.is_none(), "mfa_requirement": null,
        "num_uses": token.uses_left.unwrap_or(0),
    })
}

fn left(core: &Core, token: &Token) -> u64 {
    token.expires.map_or(0, |expires| expires.saturating_sub(core.now()))
}

fn lookup(core: &Core, id: &str) -> Answer {
    let token = core.state.tokens.get(id).ok_or_else(|| Fault::new(403, "bad token"))?;
    let time = |seconds: u64| i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    let mut data = json!({
        "id": id, "accessor": token.accessor, "policies": token.policies, "path": token.path, "meta": token.meta,
        "display_name": token.display_name, "num_uses": token.uses_left.unwrap_or(0), "orphan": token.parent.is_none(),
        "creation_time": token.created, "creation_ttl": token.ttl.unwrap_or(0), "ttl": left(core, token),
        "expire_time": token.expires.and_then(time).map(|time| time.to_string()), "renewable": token.renewable,
        "explicit_max_ttl": token.max_ttl, "entity_id": "", "type": "service",
    });
    if token.period > 0 {
        data["period"] = json!(token.period);
    }
    Ok(Reply::data(data))
}

fn renew(core: &mut Core, call: &Call<'_>, id: &str) -> Answer {
    let increment = call.fields.seconds("increment")?.filter(|seconds| *seconds > 0);
    let now = core.now();
    let token = core.state.tokens.get_mut(id).ok_or_else(|| Fault::new(403, "token not found"))?;
    if !token.renewable {
        return Err(Fault::bad("lease is not renewable"));
    }
    let wanted = match token.period {
        0 => increment.or(token.ttl).unwrap_or(DEFAULT_TTL).min(DEFAULT_TTL),
        period => period,
    };
    let latest = match token.max_ttl {
        0 if token.period > 0 => u64::MAX,
        0 => token.created + DEFAULT_TTL,
        max => token.created + max,
    };
    token.expires = Some((now + wanted).min(latest));
    Ok(Reply::auth(auth(core, id)))
}

/// A token takes its children with it.
fn revoke(core: &mut Core, id: &str) -> Answer {
    if core.state.tokens.remove(id).is_none() {
        return Err(Fault::bad("token to revoke was not found"));
    }
    let children: Vec<String> = core
        .state
        .tokens
        .iter()
        .filter(|(_, token)| token.parent.as_deref() == Some(id))
        .map(|(id, _)| id.clone())
        .collect();
    for child in children {
        revoke(core, &child)?;
    }
    Ok(Reply::none())
}
