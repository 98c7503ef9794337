//! A project as `docker compose config --format json` shows it: the form in which two projects can be compared.
//! Leaves out what that leaves out: empty values, profiles that are off, and what no service uses.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Project;
use super::mounts::MountType;
use super::service::Service;

/// Maps whose keys are the user's: none of their entries is left out.
const NAMED: &[&str] = &[
    "additional_contexts",
    "annotations",
    "args",
    "aux_addresses",
    "depends_on",
    "driver_opts",
    "environment",
    "labels",
    "networks",
    "options",
    "storage_opt",
    "sysctls",
    "ulimits",
];
/// Named maps in which "nothing" is a value of its own.
const WITH_NOTHING: &[&str] = &["environment", "networks"];
/// Values that say something even when they are false or 0.
const TELLING: &[&str] = &[
    "attach",
    "enable_ipv4",
    "enable_ipv6",
    "init",
    "max_attempts",
    "parallelism",
    "replicas",
    "required",
    "retries",
    "scale",
];

fn pruned(value: Value, key: &str) -> Value {
    match value {
        Value::Object(entries) if NAMED.contains(&key) => {
            let kept = entries.into_iter().map(|(name, value)| match value {
                Value::Null if !WITH_NOTHING.contains(&key) => (name, json!("")),
                value => (name, pruned(value, "")),
            });
            Value::Object(kept.collect())
        }
        Value::Object(entries) => {
            let kept = entries.into_iter().map(|(key, value)| {
                let value = pruned(value, &key);
                (key, value)
            });
            Value::Object(kept.filter(|(key, value)| says_something(key, value)).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|item| pruned(item, "")).collect()),
        value => value,
    }
}

fn says_something(key: &str, value: &Value) -> bool {
    match value {
        Value::Null => false,
        // The one switch that is on by default.
        Value::Bool(on) if key == "create_host_path" => !on,
        Value::Bool(on) => *on || TELLING.contains(&key),
        Value::Number(number) => number.as_f64() != Some(0.0) || TELLING.contains(&key),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty() || matches!(key, "command" | "entrypoint"),
        Value::Object(entries) => !entries.is_empty() || !NAMED.contains(&key),
    }
}

fn service(service: &Service) -> Value {
    let mut value = pruned(serde_json::to_value(service).unwrap_or_default(), "");
    let Some(entries) = value.as_object_mut() else { return value };
    // Its variables are in the environment already.
    entries.remove("env_file");
    // These are always shown, because nothing and an empty list differ.
    for key in ["command", "entrypoint"] {
        entries.entry(key).or_insert(Value::Null);
    }
    if let Some(Value::Array(watched)) = entries.get_mut("develop").and_then(|develop| develop.get_mut("watch")) {
        for exec in watched.iter_mut().filter_map(|watch| watch.get_mut("exec")?.as_object_mut()) {
            exec.entry("command").or_insert(Value::Null);
        }
    }
    if service.extra_hosts.0.is_empty() {
        entries.remove("extra_hosts");
    }
    value
}

/// The entries of a table that are used.
fn used<T: serde::Serialize>(table: &crate::Table<T>, names: &BTreeSet<String>) -> Map<String, Value> {
    let entries = table.iter().filter(|(name, _)| names.contains(*name));
    entries.map(|(name, value)| (name.clone(), pruned(serde_json::to_value(value).unwrap_or_default(), ""))).collect()
}

impl Project {
    /// The project in the form of `docker compose config --format json`.
    pub fn to_canonical_json(&self) -> Value {
        let (mut networks, mut volumes) = (BTreeSet::new(), BTreeSet::new());
        let (mut configs, mut secrets) = (BTreeSet::new(), BTreeSet::new());
        let mut services = Map::new();
        for (name, entry) in self.enabled() {
            services.insert(name.clone(), service(entry));
            networks.extend(entry.networks.0.keys().cloned());
            let named = entry.volumes.iter().filter(|mount| mount.kind == MountType::Volume);
            volumes.extend(named.filter_map(|mount| Some(mount.source.as_ref()?.value.clone())));
            configs.extend(entry.configs.iter().map(|config| config.source.value.clone()));
            secrets.extend(entry.secrets.iter().map(|secret| secret.source.value.clone()));
            let build = entry.build.iter().flat_map(|build| build.secrets.iter());
            secrets.extend(build.map(|secret| secret.source.value.clone()));
        }
        let mut configs = used(&self.configs, &configs);
        for config in configs.values_mut().filter_map(Value::as_object_mut) {
            // What a variable holds may be meant for few eyes.
            if config.contains_key("environment") {
                config.remove("content");
            }
        }
        let mut project = Map::new();
        project.insert("name".into(), json!(self.name));
        project.insert("services".into(), Value::Object(services));
        for (key, entries) in [
            ("networks", used(&self.networks, &networks)),
            ("volumes", used(&self.volumes, &volumes)),
            ("configs", configs),
            ("secrets", used(&self.secrets, &secrets)),
        ] {
            if !entries.is_empty() {
                project.insert(key.into(), Value::Object(entries));
            }
        }
        Value::Object(project)
    }
}
