//! A container's fields in their one spelling: from what a stack says, to what the engine is sent, and from what it shows.
//! Both ways stand here side by side, so that equal things compare equal; nothing here talks to the engine.

use std::collections::BTreeMap;

use labwright_plan::{Sealed, Spec, Value};
use serde_json::{Map, Value as Json, json};

use super::options::{self, to_value};
use super::stack::{Healthcheck, Mount, Port};

/// The label that says which secrets a container was made with, as hashes by the host's key.
pub const SECRETS_LABEL: &str = "dev.labwright.secrets";
/// The label that says what a container was made from, with the digest.
pub const IMAGE_LABEL: &str = "dev.labwright.image";
/// Labels that are not the user's.
const OWN_LABELS: [&str; 2] = ["com.docker.compose.", "dev.labwright."];
const TMPFS: &str = "(tmpfs)";

/// `127.0.0.1:8080:80/tcp`
pub fn port(port: &Port, address: &str) -> String {
    let address = if address.contains(':') { format!("[{address}]") } else { address.to_string() };
    let published = port.published.map(|port| port.to_string()).unwrap_or_default();
    let protocol = if port.protocol.is_empty() { "tcp" } else { &port.protocol };
    format!("{address}:{published}:{}/{protocol}", port.target)
}

/// `/srv:/data:ro`, `volume:/data`, `:/data`, `(tmpfs):/run:size=1m`
pub fn mount(mount: &Mount, volume: impl Fn(&str) -> String) -> String {
    let ending = |read_only: bool| if read_only { ":ro" } else { "" };
    match mount {
        Mount::Bind { source, target, read_only } => format!("{source}:{target}{}", ending(*read_only)),
        Mount::Volume { source, target, read_only } => {
            let source = source.as_deref().map(volume).unwrap_or_default();
            format!("{source}:{target}{}", ending(*read_only))
        }
        Mount::Tmpfs { target, options } if options.is_empty() => format!("{TMPFS}:{target}"),
        Mount::Tmpfs { target, options } => format!("{TMPFS}:{target}:{options}"),
    }
}

/// A health check with its own fields only.
pub fn healthcheck(check: &Healthcheck) -> Value {
    let all = json!({
        "Test": check.test, "Interval": check.interval, "Timeout": check.timeout, "StartPeriod": check.start_period,
        "Retries": check.retries,
    });
    solid(&all)
}

/// The body of a create. `carried`: volumes without a name that the container before had, by where they stand.
pub fn body(spec: &Spec, name: &str, image: &str, carried: &BTreeMap<String, String>) -> Json {
    let field = |name: &str| spec.get(name).map(super::engine::json).unwrap_or_default();
    let list = |name: &str| match field(name) {
        Json::Array(items) if items.is_empty() => Json::Null,
        other => other,
    };
    let mut labels = match field("labels") {
        Json::Object(labels) => labels,
        _ => Map::new(),
    };
    labels.extend(own_labels(spec, name));
    let environment: Vec<String> = match field("environment") {
        Json::Object(all) => {
            all.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect()
        }
        _ => Vec::new(),
    };
    let mut body = json!({
        "Image": image, "Cmd": list("command"), "Entrypoint": list("entrypoint"), "Env": environment,
        "Labels": labels, "HostConfig": {},
    });
    if let Json::Object(check) = field("healthcheck")
        && !check.is_empty()
    {
        body["Healthcheck"] = Json::Object(check);
    }
    ports_into(spec, &mut body);
    mounts_into(spec, carried, &mut body);
    let (policy, retries) = restart_parts(spec.get("restart").and_then(Value::text).unwrap_or("no"));
    body["HostConfig"]["RestartPolicy"] = json!({"Name": policy, "MaximumRetryCount": retries});
    match spec.get("networks") {
        Some(Value::Text(mode)) => body["HostConfig"]["NetworkMode"] = json!(mode),
        Some(Value::Map(networks)) => {
            if let Some((first, endpoint)) = networks.iter().next() {
                body["HostConfig"]["NetworkMode"] = json!(first);
                body["NetworkingConfig"] = json!({"EndpointsConfig": {first.as_str(): self::endpoint(endpoint)}});
            }
        }
        _ => {}
    }
    if let Some(options) = spec.get("options") {
        options::put(options, &mut body);
    }
    body
}

/// How a container joins a network, in the engine's form.
pub fn endpoint(value: &Value) -> Json {
    let value = super::engine::json(value);
    let mut endpoint = json!({"Aliases": value.get("aliases")});
    let mut addresses = Map::new();
    for (ours, theirs) in [("ipv4_address", "IPv4Address"), ("ipv6_address", "IPv6Address")] {
        if let Some(address) = value.get(ours) {
            addresses.insert(theirs.into(), address.clone());
        }
    }
    if !addresses.is_empty() {
        endpoint["IPAMConfig"] = Json::Object(addresses);
    }
    endpoint
}

/// Compose's labels, so that its tools see the stack, and Labwright's own.
fn own_labels(spec: &Spec, name: &str) -> Vec<(String, Json)> {
    let text = |field: &str| spec.get(field).and_then(Value::text).unwrap_or_default().to_string();
    let hash = labwright_plan::Fingerprint::of(spec).as_str().to_string();
    let mut labels = vec![
        ("com.docker.compose.project".into(), json!(text("stack"))),
        ("com.docker.compose.service".into(), json!(text("service"))),
        ("com.docker.compose.container-number".into(), json!("1")),
        ("com.docker.compose.oneoff".into(), json!("False")),
        ("com.docker.compose.config-hash".into(), json!(hash)),
        ("com.docker.compose.version".into(), json!("2.0.0")),
        ("com.docker.compose.project.config_files".into(), json!("lab.yaml")),
        ("dev.labwright.resource".into(), json!(name)),
        (IMAGE_LABEL.into(), json!(text("image"))),
    ];
    if let Some(Value::Map(secrets)) = spec.get("secrets")
        && !secrets.is_empty()
    {
        let hashes: BTreeMap<&str, &str> = secrets
            .iter()
            .filter_map(|(path, sealed)| match sealed {
                Value::Secret(sealed) => Some((path.as_str(), sealed.hash.as_deref()?)),
                _ => None,
            })
            .collect();
        labels.push((SECRETS_LABEL.into(), json!(super::engine::json(&hashes).to_string())));
    }
    labels
}

fn ports_into(spec: &Spec, body: &mut Json) {
    let (mut exposed, mut bindings) = (Map::new(), Map::new());
    for port in spec.get("ports").and_then(Value::list).unwrap_or_default().iter().filter_map(Value::text) {
        let mut parts = port.rsplitn(3, ':');
        let (Some(target), Some(published), Some(address)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        exposed.insert(target.into(), json!({}));
        let binding = json!({"HostIp": address.trim_matches(['[', ']']), "HostPort": published});
        match bindings.entry(target).or_insert_with(|| json!([])) {
            Json::Array(all) => all.push(binding),
            _ => continue,
        }
    }
    body["ExposedPorts"] = Json::Object(exposed);
    body["HostConfig"]["PortBindings"] = Json::Object(bindings);
}

fn mounts_into(spec: &Spec, carried: &BTreeMap<String, String>, body: &mut Json) {
    let (mut binds, mut memory, mut nameless) = (Vec::new(), Map::new(), Map::new());
    let mut carried = carried.clone();
    for mount in spec.get("mounts").and_then(Value::list).unwrap_or_default().iter().filter_map(Value::text) {
        let mut parts = mount.splitn(3, ':');
        let (source, target, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
        match source {
            TMPFS => drop(memory.insert(target.into(), json!(rest.unwrap_or_default()))),
            "" if carried.contains_key(target) => {}
            "" => drop(nameless.insert(target.into(), json!({}))),
            _ => {
                // What is declared there now is meant to be there.
                carried.remove(target);
                binds.push(format!("{source}:{target}:{}", rest.unwrap_or("rw")));
            }
        }
    }
    binds.extend(carried.iter().map(|(target, volume)| format!("{volume}:{target}:rw")));
    body["Volumes"] = Json::Object(nameless);
    body["HostConfig"]["Binds"] = json!(binds);
    body["HostConfig"]["Tmpfs"] = Json::Object(memory);
}

fn restart_parts(restart: &str) -> (&str, i64) {
    match restart.split_once(':') {
        Some((policy, retries)) => (policy, retries.parse().unwrap_or_default()),
        None => (restart, 0),
    }
}

/// The fields of a container as it is, spelled as `lower` spells them. `image`: what it was made from.
pub fn seen(inspect: &Json, image: &Json, wanted: &Spec) -> Spec {
    let mut spec = Spec::new();
    let mut set = |field: &str, value: Value| drop(spec.insert(field.to_string(), value));
    set("command", to_value(own(&inspect["Config"]["Cmd"], &image["Config"]["Cmd"], wanted.get("command"))));
    set(
        "entrypoint",
        to_value(own(&inspect["Config"]["Entrypoint"], &image["Config"]["Entrypoint"], wanted.get("entrypoint"))),
    );
    set("environment", environment(inspect, image, wanted.get("environment")));
    set("ports", ports(inspect));
    set("mounts", mounts(inspect, image, wanted.get("mounts")));
    set("networks", networks(inspect, wanted.get("networks")));
    set("healthcheck", health(inspect, image, wanted.get("healthcheck")));
    set("restart", restart(&inspect["HostConfig"]["RestartPolicy"]));
    set("labels", labels(inspect, image, wanted.get("labels")));
    set("secrets", secrets(inspect));
    set("options", options::seen(inspect, image, wanted.get("options")));
    set("state", state(inspect).into());
    spec
}

/// Whether it runs, in a word. One that is still starting is not judged.
pub fn state(inspect: &Json) -> String {
    let state = &inspect["State"];
    let code = state["ExitCode"].as_i64().unwrap_or_default();
    match state["Status"].as_str().unwrap_or_default() {
        "running" if state["Health"]["Status"] == "unhealthy" => "unhealthy".into(),
        "exited" if code == 0 => "ran".into(),
        "exited" | "dead" => format!("exited with {code}"),
        other => other.into(),
    }
}

/// A list that is the container's own, not its image's.
fn own(found: &Json, of_image: &Json, wanted: Option<&Value>) -> Json {
    let asked = wanted.and_then(Value::list).is_some_and(|list| !list.is_empty());
    match found {
        Json::Null => json!([]),
        found if !asked && found == of_image => json!([]),
        found => found.clone(),
    }
}

fn environment(inspect: &Json, image: &Json, wanted: Option<&Value>) -> Value {
    let of_image: Vec<&str> = texts(&image["Config"]["Env"]).collect();
    let asked = |name: &str| matches!(wanted, Some(Value::Map(wanted)) if wanted.contains_key(name));
    let own = texts(&inspect["Config"]["Env"]).filter_map(|line| {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        (asked(name) || !of_image.contains(&line)).then(|| (name.to_string(), Value::from(value)))
    });
    Value::Map(own.collect())
}

fn ports(inspect: &Json) -> Value {
    let mut ports = Vec::new();
    for (target, bindings) in entries(&inspect["HostConfig"]["PortBindings"]) {
        for binding in bindings.as_array().into_iter().flatten() {
            let address = match binding["HostIp"].as_str().unwrap_or_default() {
                "" => "0.0.0.0".to_string(),
                address if address.contains(':') => format!("[{address}]"),
                address => address.to_string(),
            };
            ports.push(format!("{address}:{}:{target}", binding["HostPort"].as_str().unwrap_or_default()));
        }
    }
    ports.sort();
    ports.into_iter().collect()
}

/// Whether the engine made the name up.
fn is_nameless(volume: &str) -> bool {
    volume.len() == 64 && volume.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The volumes without a name of a container, by where they stand: its data, which goes on to its successor.
pub fn nameless(inspect: &Json) -> BTreeMap<String, String> {
    let mounts = inspect["Mounts"].as_array().into_iter().flatten();
    let volumes = mounts.filter(|mount| mount["Type"] == "volume");
    volumes
        .filter_map(|mount| Some((mount["Destination"].as_str()?.to_string(), mount["Name"].as_str()?.to_string())))
        .filter(|(_, name)| is_nameless(name))
        .collect()
}

fn mounts(inspect: &Json, image: &Json, wanted: Option<&Value>) -> Value {
    let asked: Vec<&str> = wanted.and_then(Value::list).unwrap_or_default().iter().filter_map(Value::text).collect();
    let mut mounts = Vec::new();
    for mount in inspect["Mounts"].as_array().into_iter().flatten() {
        let text = |field: &str| mount[field].as_str().unwrap_or_default();
        let target = text("Destination");
        let ending = if mount["RW"] == false { ":ro" } else { "" };
        let found = match text("Type") {
            "volume" if is_nameless(text("Name")) => {
                let found = format!(":{target}{ending}");
                if !asked.contains(&found.as_str()) && image["Config"]["Volumes"].get(target).is_some() {
                    continue;
                }
                found
            }
            "volume" => format!("{}:{target}{ending}", text("Name")),
            "tmpfs" => format!("{TMPFS}:{target}"),
            _ => format!("{}:{target}{ending}", text("Source")),
        };
        mounts.push(found);
    }
    for (target, options) in entries(&inspect["HostConfig"]["Tmpfs"]) {
        mounts.push(match options.as_str().unwrap_or_default() {
            "" => format!("{TMPFS}:{target}"),
            options => format!("{TMPFS}:{target}:{options}"),
        });
    }
    mounts.sort();
    mounts.into_iter().collect()
}

fn networks(inspect: &Json, wanted: Option<&Value>) -> Value {
    let mode = inspect["HostConfig"]["NetworkMode"].as_str().unwrap_or_default();
    if matches!(mode, "host" | "none") {
        return mode.into();
    }
    if mode.starts_with("container:") {
        // The engine keeps the id of the other container, and the lab its name.
        return match wanted {
            Some(Value::Text(wanted)) if wanted.starts_with("container:") => Value::Text(wanted.clone()),
            _ => mode.into(),
        };
    }
    let id = inspect["Id"].as_str().unwrap_or_default();
    let name = inspect["Name"].as_str().unwrap_or_default().trim_start_matches('/');
    let networks = entries(&inspect["NetworkSettings"]["Networks"]).map(|(network, endpoint)| {
        let mut aliases: Vec<&str> =
            texts(&endpoint["Aliases"]).filter(|alias| !id.starts_with(alias) && *alias != name).collect();
        aliases.sort_unstable();
        aliases.dedup();
        let mut found = BTreeMap::from([("aliases".to_string(), aliases.into_iter().collect::<Value>())]);
        for (theirs, ours) in [("IPv4Address", "ipv4_address"), ("IPv6Address", "ipv6_address")] {
            if let Some(address) = endpoint["IPAMConfig"][theirs].as_str().filter(|address| !address.is_empty()) {
                found.insert(ours.into(), address.into());
            }
        }
        (network.to_string(), Value::Map(found))
    });
    Value::Map(networks.collect())
}

fn health(inspect: &Json, image: &Json, wanted: Option<&Value>) -> Value {
    let (found, of_image) = (&inspect["Config"]["Healthcheck"], &image["Config"]["Healthcheck"]);
    let asked = matches!(wanted, Some(Value::Map(wanted)) if !wanted.is_empty());
    match found {
        found if found.is_null() || (!asked && found == of_image) => Value::Map(BTreeMap::new()),
        found => {
            let mut found = found.clone();
            // The engine fills in from the image what was left out.
            if let (Json::Object(fields), Some(Value::Map(wanted))) = (&mut found, wanted) {
                fields.retain(|name, value| wanted.contains_key(name) || *value != of_image[name.as_str()]);
            }
            solid(&found)
        }
    }
}

fn restart(policy: &Json) -> Value {
    match (policy["Name"].as_str().unwrap_or_default(), policy["MaximumRetryCount"].as_i64().unwrap_or_default()) {
        ("", _) => "no".into(),
        ("on-failure", retries) if retries > 0 => format!("on-failure:{retries}").into(),
        (name, _) => name.into(),
    }
}

fn labels(inspect: &Json, image: &Json, wanted: Option<&Value>) -> Value {
    let of_image = &image["Config"]["Labels"];
    let asked = |name: &str| matches!(wanted, Some(Value::Map(wanted)) if wanted.contains_key(name));
    let own = entries(&inspect["Config"]["Labels"]).filter(|(name, value)| {
        asked(name)
            || (!OWN_LABELS.iter().any(|prefix| name.starts_with(prefix)) && of_image.get(*name) != Some(*value))
    });
    Value::Map(own.map(|(name, value)| (name.to_string(), value.as_str().unwrap_or_default().into())).collect())
}

fn secrets(inspect: &Json) -> Value {
    let label = inspect["Config"]["Labels"][SECRETS_LABEL].as_str().unwrap_or("{}");
    let hashes: BTreeMap<String, String> = serde_json::from_str(label).unwrap_or_default();
    let sealed = |hash| Value::Secret(Sealed { pieces: Vec::new(), hash: Some(hash) });
    Value::Map(hashes.into_iter().map(|(path, hash)| (path, sealed(hash))).collect())
}

/// Fields that say something.
fn solid(fields: &Json) -> Value {
    let kept = entries(fields).filter(|(_, value)| {
        !value.is_null() && value.as_i64() != Some(0) && value.as_array().is_none_or(|items| !items.is_empty())
    });
    to_value(Json::Object(kept.map(|(name, value)| (name.to_string(), value.clone())).collect()))
}

fn entries(value: &Json) -> impl Iterator<Item = (&str, &Json)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn texts(value: &Json) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Json::as_str)
}
