//! Containers as a lab would say them, from what the engine shows: everything that is not their image's or the engine's own.
//! It starts from the very fields that are compared later, so that nothing of a container goes by unsaid.

use std::collections::BTreeMap;

use labwright_plan::{ChangeKey, Found, FoundAsk, Spec, Value, check};
use serde_json::{Map, Value as Json, json};

use super::super::engine::json as plain;
use super::super::{form, project::MUST_EXIST};
use super::entry::service_name;
use super::here::field;

/// What the engine gives every container that says nothing.
const SHM_SIZE: i64 = 64 << 20;
/// Nothing is asked for here as a secret, so nothing is hashed.
const NO_KEY: ChangeKey = [0; 32];

/// What several containers of one entry share.
#[derive(Default)]
struct Shared {
    networks: Map<String, Json>,
    volumes: Map<String, Json>,
    notes: Vec<String>,
}

/// A container that somebody started by itself.
pub fn lone((inspect, image): &(Json, Json), ask: &FoundAsk) -> Found {
    let own = inspect["Name"].as_str().unwrap_or_default().trim_start_matches('/').to_string();
    let name = service_name(&own);
    let mut shared = Shared::default();
    let mut container = container(&name, &name, (inspect, image), &mut shared);
    container.insert("container_name".into(), json!(own));
    finish(
        name.clone(),
        None,
        Map::from_iter([(name, Json::Object(container))]),
        shared,
        format!("container {own}"),
        ask,
    )
}

/// A project whose files are not to be had.
pub fn project(project: &str, containers: &[(Json, Json)], ask: &FoundAsk) -> Found {
    let mut shared = Shared::default();
    let mut all: BTreeMap<String, Map<String, Json>> = BTreeMap::new();
    for one in containers {
        let label =
            |name: &str| one.0["Config"]["Labels"][format!("com.docker.compose.{name}")].as_str().unwrap_or_default();
        let key = label("service").to_string();
        if let Some(known) = all.get_mut(&key) {
            let scale = known.get("scale").and_then(Json::as_i64).unwrap_or(1);
            known.insert("scale".into(), json!(scale + 1));
            continue;
        }
        let mut fields = container(project, &key, (&one.0, &one.1), &mut shared);
        let own = one.0["Name"].as_str().unwrap_or_default().trim_start_matches('/');
        let number = label("container-number");
        if own != format!("{project}-{key}-{number}") && own != format!("{project}_{key}_{number}") {
            fields.insert("container_name".into(), json!(own));
        }
        all.insert(key, fields);
    }
    let name = service_name(project);
    let called = (name != project).then_some(project);
    let all = all.into_iter().map(|(key, fields)| (key, Json::Object(fields))).collect();
    finish(name, called, all, shared, String::new(), ask)
}

fn finish(
    name: String,
    called: Option<&str>,
    containers: Map<String, Json>,
    shared: Shared,
    from: String,
    ask: &FoundAsk,
) -> Found {
    let mut entry = Map::new();
    if let Some(called) = called {
        entry.insert("project".into(), json!(called));
    }
    entry.insert("on".into(), json!(ask.host));
    entry.insert("containers".into(), Json::Object(containers));
    for (key, all) in [("networks", shared.networks), ("volumes", shared.volumes)] {
        if !all.is_empty() {
            entry.insert(key.into(), Json::Object(all));
        }
    }
    Found { name, from, entry, files: Vec::new(), notes: shared.notes }
}

/// One container, in Compose's syntax.
fn container(project: &str, key: &str, (inspect, image): (&Json, &Json), shared: &mut Shared) -> Map<String, Json> {
    let spec = form::seen(inspect, image, &Spec::new(), &NO_KEY);
    let mut out = Map::new();
    out.insert("image".into(), json!(image_name(inspect, image, key, shared)));
    let owner = (project, key);
    for field in ["entrypoint", "command"] {
        let words: Vec<String> = texts(&plain(&spec[field]));
        if !words.is_empty() {
            out.insert(field.into(), json!(hidden(owner, &words, shared)));
        }
    }
    environment(project, key, &spec, &mut out, shared);
    some(&mut out, "ports", plain(&spec["ports"]));
    mounts(project, &spec, &mut out, shared);
    networks(project, key, &spec, &mut out, shared);
    if let Json::Object(check) = plain(&spec["healthcheck"]) {
        some(&mut out, "healthcheck", health(owner, &check, shared));
    }
    if field(&spec, "restart") != "no" {
        out.insert("restart".into(), json!(field(&spec, "restart")));
    }
    let labels = plain(&spec["labels"]);
    let label = |(name, value): (&String, &Json)| {
        let value = hidden(owner, &[name.clone(), value.as_str().unwrap_or_default().to_string()], shared).pop();
        (name.clone(), json!(value.unwrap_or_default()))
    };
    some(&mut out, "labels", labels.as_object().into_iter().flatten().map(label).collect::<Map<_, _>>().into());
    if let Json::Object(options) = plain(&spec["options"]) {
        for (name, value) in &options {
            match option(name, value) {
                Some(value) => drop(out.insert(name.clone(), value)),
                None => shared
                    .notes
                    .push(format!("`{name}` of `{key}` is left out: say it yourself, or it is made anew without")),
            }
        }
    }
    unasked(inspect, &mut out);
    out
}

fn some(out: &mut Map<String, Json>, key: &str, value: Json) {
    let empty = match &value {
        Json::Array(items) => items.is_empty(),
        Json::Object(fields) => fields.is_empty(),
        Json::Null => true,
        _ => false,
    };
    if !empty {
        out.insert(key.into(), value);
    }
}

/// In the lab file `${` begins a reference; `$${` is the text.
fn escaped(value: &Json) -> Json {
    match value {
        Json::String(text) => json!(text.replace("${", "$${")),
        Json::Array(items) => items.iter().map(escaped).collect(),
        Json::Object(fields) => {
            Json::Object(fields.iter().map(|(name, value)| (name.clone(), escaped(value))).collect())
        }
        other => other.clone(),
    }
}

fn image_name(inspect: &Json, image: &Json, key: &str, shared: &mut Shared) -> String {
    let named = inspect["Config"]["Image"].as_str().unwrap_or_default();
    if !named.starts_with("sha256:") {
        return named.to_string();
    }
    let first = |field: &str| image[field].as_array().and_then(|all| all.first()?.as_str().map(str::to_string));
    let known = first("RepoTags").or_else(|| first("RepoDigests"));
    known.unwrap_or_else(|| {
        shared
            .notes
            .push(format!("the image of `{key}` has no name any more: give it one (`docker tag`), and say it here"));
        named.to_string()
    })
}

fn environment(project: &str, key: &str, spec: &Spec, out: &mut Map<String, Json>, shared: &mut Shared) {
    let Json::Object(all) = plain(&spec["environment"]) else { return };
    let mut environment = Map::new();
    for (name, value) in all {
        let value = value.as_str().unwrap_or_default();
        // Where a secret lies is none itself, and a reference there would make a file of it.
        let secret = check::secret_in_the_clear(&name, value).filter(|_| !name.ends_with("_FILE"));
        match secret {
            Some(short) => {
                let secret = secret_name(project, &short);
                shared.notes.push(format!(
                    "`{name}` of `{key}` is a secret in its environment: keep its value with `labwright secret set {secret}`, \
                     and it is taken over as it runs"
                ));
                environment.insert(name, json!(format!("${{secret.{secret}}}")));
            }
            None => drop(environment.insert(name, json!(value.replace("${", "$${")))),
        }
    }
    some(out, "environment", Json::Object(environment));
}

/// Volumes that the stack did not make itself are somebody else's by their own names.
fn mounts(project: &str, spec: &Spec, out: &mut Map<String, Json>, shared: &mut Shared) {
    let (mut volumes, mut memory) = (Vec::new(), Vec::new());
    for mount in spec["mounts"].list().unwrap_or_default().iter().filter_map(Value::text) {
        let mut parts = mount.splitn(3, ':');
        let (source, target, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
        let options: Vec<&str> =
            rest.into_iter().flat_map(|rest| rest.split(',')).filter(|o| *o != MUST_EXIST).collect();
        let ending = if options.is_empty() { String::new() } else { format!(":{}", options.join(",")) };
        match source {
            "(tmpfs)" => {
                memory.push(json!(format!("{target}{}", rest.map(|rest| format!(":{rest}")).unwrap_or_default())))
            }
            "" => volumes.push(json!(target)),
            path if path.starts_with('/') => volumes.push(json!(format!("{path}:{target}{ending}"))),
            volume => {
                let key = volume.strip_prefix(&format!("{project}_"));
                if key.is_none() {
                    shared.volumes.insert(volume.to_string(), json!({ "external": true }));
                }
                volumes.push(json!(format!("{}:{target}{ending}", key.unwrap_or(volume))));
            }
        }
    }
    some(out, "volumes", Json::Array(volumes));
    some(out, "tmpfs", Json::Array(memory));
}

fn networks(project: &str, key: &str, spec: &Spec, out: &mut Map<String, Json>, shared: &mut Shared) {
    let all = match plain(&spec["networks"]) {
        Json::String(mode) => {
            if mode.starts_with("container:") {
                shared.notes.push(format!(
                    "`{key}` lives in the network of another container: say of which (`network_mode: service:NAME`)"
                ));
            }
            out.insert("network_mode".into(), json!(mode));
            return;
        }
        Json::Object(all) => all,
        _ => return,
    };
    let own_network = format!("{project}_default");
    let mut networks = Map::new();
    let mut only_own = true;
    for (name, endpoint) in &all {
        if name == "bridge" && all.len() == 1 {
            out.insert("network_mode".into(), json!("bridge"));
            return;
        }
        let own = name.strip_prefix(&format!("{project}_"));
        if own.is_none() {
            shared.networks.insert(name.clone(), json!({ "external": true }));
        }
        let aliases: Vec<&Json> =
            endpoint["aliases"].as_array().into_iter().flatten().filter(|alias| *alias != key).collect();
        let mut fields = Map::new();
        some(&mut fields, "aliases", json!(aliases));
        for (field, address) in [("ipv4_address", "IPv4Address"), ("ipv6_address", "IPv6Address")] {
            some(&mut fields, field, endpoint[address].clone());
        }
        only_own &= *name == own_network && fields.is_empty();
        networks
            .insert(own.unwrap_or(name).to_string(), if fields.is_empty() { Json::Null } else { Json::Object(fields) });
    }
    if !only_own {
        some(out, "networks", Json::Object(networks));
    }
}

/// Nanoseconds as Compose writes them.
fn time(nanoseconds: &Json) -> Json {
    let n = nanoseconds.as_i64().unwrap_or_default();
    json!(match () {
        () if n % 1_000_000_000 == 0 => format!("{}s", n / 1_000_000_000),
        () if n % 1_000_000 == 0 => format!("{}ms", n / 1_000_000),
        () => format!("{}us", n / 1000),
    })
}

fn texts(words: &Json) -> Vec<String> {
    words.as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_string).collect()
}

/// Words without the secrets in them: `--password=x`, and `x` behind `--password`.
fn hidden((project, key): (&str, &str), words: &[String], shared: &mut Shared) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for (number, word) in words.iter().enumerate() {
        let before = number.checked_sub(1).map(|n| words[n].trim_start_matches('-')).unwrap_or_default();
        let (flag, value) = word.split_once('=').unwrap_or(("", word));
        let inside = check::secret_in_the_clear(flag.trim_start_matches('-'), value);
        let whole = || check::secret_in_the_clear(before, word);
        let short = inside.clone().or_else(whole);
        out.push(match short {
            None => word.replace("${", "$${"),
            Some(short) => {
                let secret = secret_name(project, &short);
                shared.notes.push(format!(
                    "a word of `{key}` (its command, a label or a check) holds a secret, which stands here as `{secret}`: \
                     who may see processes or ask the engine reads it"
                ));
                let front = if inside.is_some() && !flag.is_empty() { format!("{flag}=") } else { String::new() };
                format!("{front}${{secret.{secret}}}")
            }
        });
    }
    out
}

fn secret_name(project: &str, short: &str) -> String {
    let short: String = short.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("{}_{}", service_name(project).replace('-', "_"), short.trim_matches('_'))
}

fn health(owner: (&str, &str), check: &Map<String, Json>, shared: &mut Shared) -> Json {
    let mut out = Map::new();
    for (field, value) in check {
        match field.as_str() {
            "Test" => drop(out.insert("test".into(), json!(hidden(owner, &texts(value), shared)))),
            "Interval" => drop(out.insert("interval".into(), time(value))),
            "Timeout" => drop(out.insert("timeout".into(), time(value))),
            "StartPeriod" => drop(out.insert("start_period".into(), time(value))),
            "StartInterval" => drop(out.insert("start_interval".into(), time(value))),
            "Retries" => drop(out.insert("retries".into(), value.clone())),
            _ => {}
        }
    }
    Json::Object(out)
}

/// A setting as Compose spells it; `None` where it has no word for it.
fn option(name: &str, value: &Json) -> Option<Json> {
    Some(match name {
        "devices" => value
            .as_array()?
            .iter()
            .map(|device| {
                let text = |field: &str| device[field].as_str().unwrap_or_default();
                format!("{}:{}:{}", text("PathOnHost"), text("PathInContainer"), text("CgroupPermissions"))
            })
            .collect(),
        "ulimits" => {
            let one = |limit: &Json| {
                Some((limit["Name"].as_str()?.to_string(), json!({ "soft": limit["Soft"], "hard": limit["Hard"] })))
            };
            Json::Object(value.as_array()?.iter().filter_map(one).collect())
        }
        "cpus" => json!(value.as_i64()? as f64 / 1e9),
        "stop_grace_period" => json!(format!("{}s", value.as_i64()?)),
        "device_requests" | "cgroup" => return None,
        _ => escaped(value),
    })
}

/// What is never compared where nobody asks for it, and still is somebody's wish.
fn unasked(inspect: &Json, out: &mut Map<String, Json>) {
    let id = inspect["Id"].as_str().unwrap_or_default();
    let host = inspect["Config"]["Hostname"].as_str().unwrap_or_default();
    // In the host's network it has the host's name.
    if !host.is_empty() && !id.starts_with(host) && out.get("network_mode").is_none_or(|mode| mode == "bridge") {
        out.insert("hostname".into(), json!(host));
    }
    let shm = inspect["HostConfig"]["ShmSize"].as_i64().unwrap_or(SHM_SIZE);
    if shm != SHM_SIZE && shm != 0 {
        out.insert("shm_size".into(), json!(shm));
    }
    let log = &inspect["HostConfig"]["LogConfig"];
    if log["Config"].as_object().is_some_and(|options| !options.is_empty()) {
        out.insert("logging".into(), json!({ "driver": log["Type"], "options": log["Config"] }));
    }
}
