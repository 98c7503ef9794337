//! `sys/`: state of the seal, policies, what is mounted where.
//! Of the many endpoints there only those that a homelab's configuration needs.

use serde_json::{Map, Value, json};

use super::core::{Call, Core, Op, mount};
use super::fields::Fields;
use super::http::Request;
use super::random;
use super::reply::{Answer, Fault, Reply};
use super::state::Mount;
use super::{acl, token};

const VERSION: &str = "2.5.0";

/// What is answered to everybody, sealed or not.
pub(crate) fn open(core: &mut Core, request: &Request, path: &str) -> Option<Answer> {
    let no_method = || Err(Fault { status: 405, errors: Vec::new() });
    let answer = match (path, request.method.as_str()) {
        ("sys/health", "GET" | "HEAD") => Ok(health(core)),
        ("sys/seal-status", "GET") => Ok(Reply::raw(200, status(core))),
        ("sys/init", "GET") => Ok(Reply::raw(200, json!({ "initialized": core.state.initialized }))),
        ("sys/init", "PUT" | "POST") => init(core, &request.body),
        ("sys/unseal", "PUT" | "POST") => unseal(core, &request.body),
        ("sys/leader", "GET") => Ok(Reply::raw(
            200,
            json!({
                "ha_enabled": false, "is_self": false, "leader_address": "", "leader_cluster_address": "",
            }),
        )),
        ("sys/health" | "sys/seal-status" | "sys/init" | "sys/unseal" | "sys/leader", _) => no_method(),
        _ => return None,
    };
    Some(answer)
}

fn health(core: &Core) -> Reply {
    let status = match (core.state.initialized, core.sealed) {
        (false, _) => 501,
        (true, true) => 503,
        (true, false) => 200,
    };
    let mut body = json!({
        "initialized": core.state.initialized, "sealed": core.sealed, "standby": false,
        "replication_performance_mode": "disabled", "replication_dr_mode": "disabled",
        "server_time_utc": core.now(), "version": VERSION,
    });
    if !core.sealed {
        body["cluster_name"] = json!("fake");
        body["cluster_id"] = json!(core.state.cluster);
    }
    Reply::raw(status, body)
}

fn status(core: &Core) -> Value {
    let kind = if core.seal.is_some() { "transit" } else { "shamir" };
    let mut body = json!({
        "type": kind, "initialized": core.state.initialized, "sealed": core.sealed, "t": core.state.threshold,
        "n": core.state.shares.len(), "progress": core.progress.len(), "nonce": "", "version": VERSION,
        "build_date": "", "migration": false, "recovery_seal": core.seal.is_some(), "storage_type": "file",
    });
    if !core.sealed {
        body["cluster_name"] = json!("fake");
        body["cluster_id"] = json!(core.state.cluster);
    }
    body
}

fn init(core: &mut Core, body: &[u8]) -> Answer {
    let fields = Fields::read(body)?;
    let (shares, threshold, other) = match core.seal {
        None => ("secret_shares", "secret_threshold", ["recovery_shares", "recovery_threshold"]),
        Some(_) => ("recovery_shares", "recovery_threshold", ["secret_shares", "secret_threshold"]),
    };
    let kind = if core.seal.is_some() { "transit" } else { "shamir" };
    for name in other {
        if fields.number(name)?.is_some_and(|number| number > 0) {
            return Err(Fault::bad(format!("parameters {name} not applicable to seal type {kind}")));
        }
    }
    let (n, t) = (fields.number(shares)?.unwrap_or(0), fields.number(threshold)?.unwrap_or(0));
    if n == 0 || t == 0 || t > n || n > 255 || (n > 1 && t == 1) {
        return Err(Fault::bad(format!("invalid seal configuration: {threshold} {t} does not go with {shares} {n}")));
    }
    let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let (keys, root) = core.initialize(number(n), number(t))?;
    let base64: Vec<String> = keys.iter().map(|key| base64_of_hex(key)).collect();
    Ok(Reply::raw(
        200,
        match core.seal {
            None => json!({ "keys": keys, "keys_base64": base64, "root_token": root }),
            Some(_) => json!({
                "keys": [], "keys_base64": [], "recovery_keys": keys, "recovery_keys_base64": base64, "root_token": root,
            }),
        },
    ))
}

fn base64_of_hex(text: &str) -> String {
    use base64::Engine as _;
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap_or_default();
    let bytes: Vec<u8> = (0..text.len()).step_by(2).map(digit).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn unseal(core: &mut Core, body: &[u8]) -> Answer {
    let fields = Fields::read(body)?;
    if fields.flag("reset")?.unwrap_or(false) {
        if !core.sealed {
            return Err(Fault::bad("vault is unsealed"));
        }
        core.progress.clear();
        return Ok(Reply::raw(200, status(core)));
    }
    let key = fields.text("key")?.filter(|key| !key.is_empty());
    let key =
        key.ok_or_else(|| Fault::bad("'key' must be specified in request body as JSON, or 'reset' set to true"))?;
    if !core.state.initialized {
        return Err(Fault::bad("Vault is not initialized"));
    }
    if !core.sealed {
        return Ok(Reply::raw(200, status(core)));
    }
    let shares = &core.state.shares;
    // In hexadecimal or in base64; one that is neither, or is none of ours, is found out only with the last one.
    let known = shares.iter().find(|share| **share == key || base64_of_hex(share) == key).cloned();
    let hexadecimal = key.len().is_multiple_of(2) && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    if known.is_none() && !hexadecimal && !looks_like_base64(&key) {
        return Err(Fault::bad("'key' must be a valid hex or base64 string"));
    }
    let share = known.unwrap_or(key);
    if !core.progress.contains(&share) {
        core.progress.push(share);
    }
    if core.progress.len() < core.state.threshold {
        return Ok(Reply::raw(200, status(core)));
    }
    let genuine = core.progress.iter().all(|share| core.state.shares.contains(share));
    core.progress.clear();
    if !genuine || core.seal.is_some() {
        return Err(Fault::bad("failed to decrypt encrypted stored keys: cipher: message authentication failed"));
    }
    core.sealed = false;
    Ok(Reply::raw(200, status(core)))
}

fn looks_like_base64(text: &str) -> bool {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

/// What wants a token.
pub(crate) fn answer(core: &mut Core, call: &Call<'_>, rest: &str) -> Answer {
    let path = rest.trim_end_matches('/');
    match path.split_once('/') {
        None => match (path, call.op) {
            ("policy", Op::Read | Op::List) => {
                let names: Vec<_> = names(core);
                Ok(Reply::raw(200, merged(json!({ "keys": names, "policies": names }))))
            }
            ("mounts", Op::Read) => Ok(Reply::raw(200, merged(all(&core.state.mounts)))),
            ("auth", Op::Read) => Ok(Reply::raw(200, merged(all(&core.state.auths)))),
            ("seal", Op::Write) => {
                core.sealed = true;
                core.progress.clear();
                Ok(Reply::none())
            }
            ("capabilities-self", Op::Write) => capabilities(core, call),
            ("policy" | "mounts" | "auth" | "seal" | "capabilities-self", _) => Err(Fault::unsupported_operation()),
            _ => Err(Fault::unsupported_path()),
        },
        Some(("policies", "acl")) if call.op == Op::List => Reply::keys(names(core)),
        Some(("policies", "acl")) => Err(Fault::unsupported_operation()),
        Some(("policies", rest)) => match rest.strip_prefix("acl/") {
            Some(name) => policy(core, call, name, "policy"),
            None => Err(Fault::unsupported_path()),
        },
        Some(("policy", name)) => policy(core, call, name, "rules"),
        Some(("mounts", path)) => mounted(core, call, path, false),
        Some(("auth", path)) => mounted(core, call, path, true),
        Some(_) => Err(Fault::unsupported_path()),
    }
}

/// Old endpoints say everything twice: at the top, and below `data`.
fn merged(data: Value) -> Value {
    let mut body = Reply::data(data.clone()).body.unwrap_or_default();
    if let (Value::Object(body), Value::Object(data)) = (&mut body, data) {
        body.extend(data);
    }
    body
}

fn names(core: &Core) -> Vec<String> {
    core.state.policies.keys().cloned().chain(["root".to_string()]).collect()
}

fn policy(core: &mut Core, call: &Call<'_>, name: &str, text_field: &str) -> Answer {
    let name = name.to_lowercase();
    match call.op {
        Op::Read => match (name.as_str(), core.state.policies.get(&name)) {
            ("root", _) => Ok(Reply::raw(200, merged(json!({ "name": "root", text_field: "" })))),
            (_, Some(text)) => Ok(Reply::raw(200, merged(json!({ "name": name, text_field: text })))),
            (_, None) => Err(Fault::not_found()),
        },
        Op::Write if name == "root" => Err(Fault::bad("cannot update \"root\" policy")),
        Op::Write => {
            let text = call.fields.text("policy")?.filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| Fault::bad("'policy' parameter not supplied or empty"))?;
            acl::parse(&text).map_err(|error| Fault::bad(format!("failed to parse policy: {error}")))?;
            core.state.policies.insert(name, text);
            Ok(Reply::none())
        }
        Op::Delete if matches!(name.as_str(), "root" | "default") => {
            Err(Fault::bad(format!("cannot delete \"{name}\" policy")))
        }
        Op::Delete => {
            core.state.policies.remove(&name);
            Ok(Reply::none())
        }
        Op::List | Op::Patch => Err(Fault::unsupported_operation()),
    }
}

fn about(mount: &Mount) -> Value {
    json!({
        "type": mount.kind, "description": mount.description, "accessor": mount.accessor, "uuid": mount.uuid,
        "options": if mount.options.is_empty() { Value::Null } else { json!(mount.options) }, "local": false,
        "seal_wrap": false, "external_entropy_access": false, "plugin_version": "", "running_plugin_version": VERSION,
        "config": { "default_lease_ttl": 0, "max_lease_ttl": 0, "force_no_cache": false },
    })
}

fn all(mounts: &std::collections::BTreeMap<String, Mount>) -> Value {
    Value::Object(mounts.iter().map(|(path, mount)| (path.clone(), about(mount))).collect::<Map<_, _>>())
}

fn mounted(core: &mut Core, call: &Call<'_>, path: &str, auth: bool) -> Answer {
    let (path, tune) = match path.strip_suffix("/tune") {
        Some(path) => (path, true),
        None => (path, false),
    };
    let path = format!("{}/", path.trim_matches('/'));
    let list = if auth { &mut core.state.auths } else { &mut core.state.mounts };
    match (call.op, tune) {
        (Op::Read, _) => match list.get(&path) {
            Some(found) if tune => Ok(Reply::raw(
                200,
                merged(json!({
                    "default_lease_ttl": token::DEFAULT_TTL, "max_lease_ttl": token::DEFAULT_TTL, "force_no_cache": false,
                    "description": found.description, "options": found.options,
                })),
            )),
            Some(found) => Ok(Reply::raw(200, merged(about(found)))),
            None => Err(Fault::bad(format!("No {} engine at {path}", if auth { "auth" } else { "secret" }))),
        },
        (Op::Write, false) => {
            if list.keys().any(|taken| taken.starts_with(&path) || path.starts_with(taken.as_str())) {
                return Err(Fault::bad(format!("path is already in use at {path}")));
            }
            let made = new_mount(call.fields, auth)?;
            list.insert(path, made);
            Ok(Reply::none())
        }
        (Op::Delete, false) if matches!(path.as_str(), "sys/" | "cubbyhole/" | "identity/" | "token/") => {
            Err(Fault::bad(format!("cannot unmount \"{path}\"")))
        }
        (Op::Delete, false) => {
            list.remove(&path);
            if auth {
                core.state.roles.remove(&path);
            } else {
                core.state.kv.remove(&path);
                core.state.transit.remove(&path);
            }
            Ok(Reply::none())
        }
        _ => Err(Fault::unsupported_operation()),
    }
}

fn new_mount(fields: &Fields, auth: bool) -> Result<Mount, Fault> {
    let kind = fields.text("type")?.unwrap_or_default();
    let description = fields.text("description")?.unwrap_or_default();
    let options = fields.text_map("options")?.unwrap_or_default();
    fields.ignore(&["config", "local", "seal_wrap", "plugin_name", "plugin_version", "external_entropy_access"]);
    let mut made = match (kind.as_str(), auth) {
        ("", _) => return Err(Fault::bad("backend type must be specified as a string")),
        ("approle", true) | ("transit", false) => mount(&kind, &description),
        ("kv" | "kv-v2", false) => mount("kv", &description),
        (other, _) => return Err(Fault::bad(format!("plugin not found in the catalog: {other}"))),
    };
    made.options = options;
    if kind == "kv-v2" {
        made.options.insert("version".to_string(), "2".to_string());
    }
    if made.kind == "kv" && made.options.get("version").map(String::as_str) != Some("2") {
        return Err(Fault::bad("only version 2 of the key/value engine is here: options.version is not \"2\""));
    }
    made.uuid = random::uuid();
    Ok(made)
}

fn capabilities(core: &Core, call: &Call<'_>) -> Answer {
    let paths = call.fields.texts("paths")?.or(call.fields.texts("path")?).unwrap_or_default();
    if paths.is_empty() {
        return Err(Fault::bad("paths must be supplied"));
    }
    let mut data = Map::new();
    for path in &paths {
        let granted = core.capabilities(call.token, path, false);
        data.insert(path.clone(), if granted.is_empty() { json!(["deny"]) } else { json!(granted) });
    }
    if let [only] = paths.as_slice() {
        data.insert("capabilities".to_string(), data[only].clone());
    }
    Ok(Reply::raw(200, merged(Value::Object(data))))
}
