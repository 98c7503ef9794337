//! The key/value engine, version 2: versions, check-and-set, metadata, soft deletion.
//! Version 1 is not there, nor are `delete_version_after` and the detailed listings.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::core::{Call, Core, Op};
use super::reply::{Answer, Fault, Reply};
use super::state::{Kv, Version};

const KEPT_VERSIONS: u64 = 10;

/// Whether what a write would change is there already; none where writing is updating anyway.
pub(crate) fn exists(core: &Core, mount: &str, rest: &str) -> Option<bool> {
    let (_, name) = rest.split_once('/').filter(|(kind, _)| matches!(*kind, "data" | "metadata"))?;
    Some(core.state.kv.get(mount).is_some_and(|kv| kv.secrets.contains_key(name)))
}

pub(crate) fn answer(core: &mut Core, call: &Call<'_>, mount: &str, rest: &str) -> Answer {
    let now = core.stamp();
    let kv = core.state.kv.entry(mount.to_string()).or_default();
    let (kind, name) = rest.split_once('/').unwrap_or((rest, ""));
    match (kind, call.op) {
        ("config", Op::Read) => Ok(Reply::data(json!({
            "cas_required": kv.cas_required, "delete_version_after": "0s", "max_versions": kv.max_versions,
        }))),
        ("config", Op::Write) => {
            kv.max_versions = call.fields.number("max_versions")?.unwrap_or(kv.max_versions);
            kv.cas_required = call.fields.flag("cas_required")?.unwrap_or(kv.cas_required);
            no_expiry(call)?;
            Ok(Reply::none())
        }
        ("metadata", Op::List) => list(kv, name),
        ("data" | "metadata" | "delete" | "undelete" | "destroy" | "subkeys", _) if name.is_empty() => {
            Err(Fault::bad("missing path"))
        }
        ("data", Op::Read) => read(kv, name, call.query_number("version")?),
        ("data", Op::Write) => write(kv, name, call, &now),
        ("data", Op::Patch) => patch(kv, name, call, &now),
        ("data", Op::Delete) => {
            let current = kv.secrets.get(name).map(|secret| secret.current);
            each(kv, name, &current.map_or(Vec::new(), |current| vec![current]), |version| delete(version, &now))
        }
        ("delete", Op::Write) => each(kv, name, &versions(call)?, |version| delete(version, &now)),
        ("undelete", Op::Write) => each(kv, name, &versions(call)?, |version| version.deleted.clear()),
        ("destroy", Op::Write) => each(kv, name, &versions(call)?, |version| {
            version.destroyed = true;
            version.data.clear();
        }),
        ("metadata", Op::Read) => metadata(kv, name),
        ("metadata", Op::Write) => set_metadata(kv, name, call, &now),
        ("metadata", Op::Delete) => {
            kv.secrets.remove(name);
            Ok(Reply::none())
        }
        ("config" | "data" | "metadata" | "delete" | "undelete" | "destroy", _) => Err(Fault::unsupported_operation()),
        _ => Err(Fault::unsupported_path()),
    }
}

fn versions(call: &Call<'_>) -> Result<Vec<u64>, Fault> {
    match call.fields.numbers("versions")? {
        versions if versions.is_empty() => Err(Fault::bad("No version number provided")),
        versions => Ok(versions),
    }
}

fn no_expiry(call: &Call<'_>) -> Result<(), Fault> {
    match call.fields.seconds("delete_version_after")? {
        None | Some(0) => Ok(()),
        Some(_) => Err(Fault::bad("versions do not expire here")),
    }
}

fn delete(version: &mut Version, now: &str) {
    if version.deleted.is_empty() && !version.destroyed {
        version.deleted = now.to_string();
    }
}

fn each(kv: &mut Kv, name: &str, versions: &[u64], mut change: impl FnMut(&mut Version)) -> Answer {
    if let Some(secret) = kv.secrets.get_mut(name) {
        versions.iter().for_each(|version| {
            if let Some(version) = secret.versions.get_mut(version) {
                change(version);
            }
        });
    }
    Ok(Reply::none())
}

fn list(kv: &Kv, folder: &str) -> Answer {
    let folder = folder.trim_end_matches('/');
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let below = kv.secrets.keys().filter_map(|name| name.strip_prefix(&prefix));
    let names: BTreeSet<String> = below
        .map(|rest| rest.split_once('/').map_or_else(|| rest.to_string(), |(first, _)| format!("{first}/")))
        .collect();
    Reply::keys(names.into_iter().collect())
}

fn about(number: u64, version: &Version, custom: &BTreeMap<String, String>) -> Value {
    json!({
        "created_time": version.created, "deletion_time": version.deleted, "destroyed": version.destroyed,
        "version": number, "custom_metadata": custom_json(custom),
    })
}

fn custom_json(custom: &BTreeMap<String, String>) -> Value {
    if custom.is_empty() { Value::Null } else { json!(custom) }
}

fn read(kv: &Kv, name: &str, number: Option<u64>) -> Answer {
    let secret = kv.secrets.get(name).ok_or_else(Fault::not_found)?;
    let number = number.filter(|number| *number > 0).unwrap_or(secret.current);
    let version = secret.versions.get(&number).ok_or_else(Fault::not_found)?;
    let metadata = about(number, version, &secret.custom);
    if version.destroyed || !version.deleted.is_empty() {
        return Ok(Reply::gone(json!({ "data": null, "metadata": metadata })));
    }
    Ok(Reply::data(json!({ "data": version.data, "metadata": metadata })))
}

fn check_cas(kv: &Kv, name: &str, call: &Call<'_>) -> Result<(), Fault> {
    let options = call.fields.map("options")?.unwrap_or_default();
    if let Some(unknown) = options.keys().find(|key| *key != "cas") {
        return Err(Fault::bad(format!("option `{unknown}` is none that a write has")));
    }
    let secret = kv.secrets.get(name);
    let number = |cas: &Value| cas.as_u64().or_else(|| cas.as_str().and_then(|text| text.parse().ok()));
    match options.get("cas") {
        Some(cas) => match number(cas) {
            None => Err(Fault::bad("error parsing check-and-set parameter")),
            Some(cas) if cas == secret.map_or(0, |secret| secret.current) => Ok(()),
            Some(_) => Err(Fault::bad("check-and-set parameter did not match the current version")),
        },
        None if kv.cas_required || secret.is_some_and(|secret| secret.cas_required) => {
            Err(Fault::bad("check-and-set parameter required for this call"))
        }
        None => Ok(()),
    }
}

fn write(kv: &mut Kv, name: &str, call: &Call<'_>, now: &str) -> Answer {
    call.fields.ignore(&["version"]);
    let data = call.fields.map("data")?.ok_or_else(|| Fault::bad("no data provided"))?;
    check_cas(kv, name, call)?;
    Ok(add(kv, name, data, now))
}

fn patch(kv: &mut Kv, name: &str, call: &Call<'_>, now: &str) -> Answer {
    if call.content_type != "application/merge-patch+json" {
        return Err(Fault::new(415, "PATCH requires Content-Type of application/merge-patch+json"));
    }
    let changes = call.fields.map("data")?.ok_or_else(|| Fault::bad("no data provided"))?;
    let secret = kv.secrets.get(name).ok_or_else(Fault::not_found)?;
    let version = secret.versions.get(&secret.current).ok_or_else(Fault::not_found)?;
    if version.destroyed || !version.deleted.is_empty() {
        return Ok(Reply::gone(json!({ "data": null, "metadata": about(secret.current, version, &secret.custom) })));
    }
    let mut data = Value::Object(version.data.clone());
    check_cas(kv, name, call)?;
    merge(&mut data, &Value::Object(changes));
    match data {
        Value::Object(data) => Ok(add(kv, name, data, now)),
        _ => Err(Fault::bad("no data provided")),
    }
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    if let Value::Object(target) = target {
        for (key, change) in changes {
            match change {
                Value::Null => drop(target.remove(key)),
                change => merge(target.entry(key).or_insert(Value::Null), change),
            }
        }
    }
}

fn add(kv: &mut Kv, name: &str, data: Map<String, Value>, now: &str) -> Reply {
    let engine = kv.max_versions;
    let secret = kv.secrets.entry(name.to_string()).or_default();
    if secret.created.is_empty() {
        secret.created = now.to_string();
    }
    secret.updated = now.to_string();
    secret.current += 1;
    let version = Version { data, created: now.to_string(), deleted: String::new(), destroyed: false };
    let reply = Reply::data(about(secret.current, &version, &secret.custom));
    secret.versions.insert(secret.current, version);
    let kept = [secret.max_versions, engine].into_iter().find(|max| *max > 0).unwrap_or(KEPT_VERSIONS);
    while secret.versions.len() as u64 > kept {
        secret.versions.pop_first();
        secret.oldest = secret.versions.first_key_value().map_or(0, |(number, _)| *number);
    }
    reply
}

fn metadata(kv: &Kv, name: &str) -> Answer {
    let secret = kv.secrets.get(name).ok_or_else(Fault::not_found)?;
    let versions: Map<String, Value> = secret
        .versions
        .iter()
        .map(|(number, version)| {
            let about = json!({
                "created_time": version.created, "deletion_time": version.deleted, "destroyed": version.destroyed,
            });
            (number.to_string(), about)
        })
        .collect();
    Ok(Reply::data(json!({
        "versions": versions, "current_version": secret.current, "oldest_version": secret.oldest,
        "created_time": secret.created, "updated_time": secret.updated, "max_versions": secret.max_versions,
        "cas_required": secret.cas_required, "delete_version_after": "0s", "custom_metadata": custom_json(&secret.custom),
    })))
}

fn set_metadata(kv: &mut Kv, name: &str, call: &Call<'_>, now: &str) -> Answer {
    let fields = call.fields;
    let (max, cas, custom) =
        (fields.number("max_versions")?, fields.flag("cas_required")?, fields.text_map("custom_metadata")?);
    no_expiry(call)?;
    if let Some(custom) = &custom {
        let odd = |(key, value): (&String, &String)| {
            key.is_empty() || key.len() > 128 || value.is_empty() || value.len() > 512
        };
        if custom.len() > 64 || custom.iter().any(odd) {
            return Err(Fault::bad(
                "custom_metadata validation failed: too many keys, or a length that is not allowed",
            ));
        }
    }
    let secret = kv.secrets.entry(name.to_string()).or_default();
    if secret.created.is_empty() {
        secret.created = now.to_string();
    }
    secret.updated = now.to_string();
    secret.max_versions = max.unwrap_or(secret.max_versions);
    secret.cas_required = cas.unwrap_or(secret.cas_required);
    secret.custom = custom.unwrap_or_else(|| secret.custom.clone());
    Ok(Reply::none())
}
