//! A container's fields in their one spelling: from what a stack says, to what the engine is sent, and from what it shows.
//! Both ways stand here side by side, so that equal things compare equal; nothing here talks to the engine.

use std::collections::BTreeMap;

use labwright_plan::{ChangeKey, Sealed, Spec, Value};
use serde_json::{Map, Value as Json, json};

use super::options::{self, to_value};
use super::project::{MUST_EXIST, SUBPATH};
use super::stack::{Healthcheck, Mount, Port};

/// The label that says which secrets a container was made with, as hashes by the host's key.
pub const SECRETS_LABEL: &str = "dev.labwright.secrets";
/// The label that names the variables with secrets in them.
const SECRET_NAMES_LABEL: &str = "dev.labwright.secret-environment";
/// The label that says whom secrets belong to where that is said, by their path.
pub const OWNERS_LABEL: &str = "dev.labwright.secret-owners";
/// The label that says which files of the host, with which content, a container was made to read.
pub const FILES_LABEL: &str = "dev.labwright.files";
/// The label that says what the containers were that this one lives in the network of.
pub const BESIDE_LABEL: &str = "dev.labwright.beside";
/// The label that says what a container was made from, with the digest.
pub const IMAGE_LABEL: &str = "dev.labwright.image";
/// Labels that are not the user's.
const OWN_LABELS: [&str; 2] = ["com.docker.compose.", "dev.labwright."];
const TMPFS: &str = "(tmpfs)";

/// `127.0.0.1:8080:80/tcp`
pub fn port(port: &Port, address: &str) -> String {
    let address = if address.contains(':') { format!("[{address}]") } else { address.to_string() };
    let published = port.published.as_deref().unwrap_or_default();
    let protocol = if port.protocol.is_empty() { "tcp" } else { &port.protocol };
    format!("{address}:{published}:{}/{protocol}", port.target)
}

/// `/srv:/data:ro,rslave`, `volume:/data`, `:/data`, `(tmpfs):/run:size=1m`
pub fn mount(mount: &Mount, volume: impl Fn(&str) -> String) -> String {
    let ending = |read_only: bool, options: &[String]| {
        let mut all: Vec<&str> = options.iter().map(String::as_str).collect();
        all.sort_unstable();
        let all: Vec<&str> = read_only.then_some("ro").into_iter().chain(all).collect();
        if all.is_empty() { String::new() } else { format!(":{}", all.join(",")) }
    };
    match mount {
        Mount::Bind { source, target, read_only, options } => {
            format!("{source}:{target}{}", ending(*read_only, options))
        }
        Mount::Volume { source, target, read_only, options } => {
            let source = source.as_deref().map(volume).unwrap_or_default();
            format!("{source}:{target}{}", ending(*read_only, options))
        }
        Mount::Tmpfs { target, options } if options.is_empty() => format!("{TMPFS}:{target}"),
        Mount::Tmpfs { target, options } => format!("{TMPFS}:{target}:{options}"),
    }
}

/// A health check with its own fields only.
pub fn healthcheck(check: &Healthcheck) -> Value {
    let all = json!({
        "Test": check.test, "Interval": check.interval, "Timeout": check.timeout, "StartPeriod": check.start_period,
        "StartInterval": check.start_interval, "Retries": check.retries,
    });
    solid(&all)
}

/// The body of a create. `carried`: volumes without a name that the container before had, by where they stand.
/// `secrets`: where on the host each file with a secret in it is, by its path inside. `environment`: `NAME=value`, each.
pub fn body(
    spec: &Spec,
    name: &str,
    image: &str,
    carried: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, String>,
    environment: &[String],
) -> Json {
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
    mounts_into(spec, carried, secrets, &mut body);
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

/// What the engine keeps below `IPAMConfig`.
const ADDRESSES: [&str; 3] = ["IPv4Address", "IPv6Address", "LinkLocalIPs"];

/// How a container joins a network, in the engine's form.
pub fn endpoint(value: &Value) -> Json {
    let value = super::engine::json(value);
    let mut endpoint = json!({"Aliases": value.get("aliases")});
    for (name, said) in entries(&value).filter(|(name, _)| *name != "aliases") {
        match ADDRESSES.contains(&name) {
            true => endpoint["IPAMConfig"][name] = said.clone(),
            false => endpoint[name] = said.clone(),
        }
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
        ("com.docker.compose.container-number".into(), json!(number(spec))),
        ("com.docker.compose.oneoff".into(), json!("False")),
        ("com.docker.compose.config-hash".into(), json!(hash)),
        ("com.docker.compose.version".into(), json!("2.0.0")),
        ("com.docker.compose.project.config_files".into(), json!("lab.yaml")),
        ("com.docker.compose.project.working_dir".into(), json!(text("folder"))),
        ("dev.labwright.resource".into(), json!(name)),
        (IMAGE_LABEL.into(), json!(text("image"))),
    ];
    if let Some(Value::Map(all)) = spec.get("environment") {
        let names: Vec<&String> =
            all.iter().filter(|(_, value)| matches!(value, Value::Secret(_))).map(|(name, _)| name).collect();
        if !names.is_empty() {
            labels.push((SECRET_NAMES_LABEL.into(), json!(super::engine::json(&names).to_string())));
        }
    }
    if let Some(hashes) = hashes(spec) {
        labels.push((SECRETS_LABEL.into(), json!(super::engine::json(&hashes).to_string())));
    }
    for (field, label) in TOLD {
        if let Some(Value::Map(said)) = spec.get(field)
            && !said.is_empty()
        {
            labels.push((label.into(), json!(super::engine::json(said).to_string())));
        }
    }
    labels
}

/// Fields that only a label can keep.
const TOLD: [(&str, &str); 3] = [("owners", OWNERS_LABEL), ("files", FILES_LABEL), ("beside", BESIDE_LABEL)];

/// The hashes of the files with secrets in them, by their paths; `None` without any.
pub fn hashes(spec: &Spec) -> Option<BTreeMap<&str, &str>> {
    let Some(Value::Map(secrets)) = spec.get("secrets") else { return None };
    let hashes: BTreeMap<&str, &str> = secrets
        .iter()
        .filter_map(|(path, sealed)| match sealed {
            Value::Secret(sealed) => Some((path.as_str(), sealed.hash.as_deref()?)),
            _ => None,
        })
        .collect();
    (!hashes.is_empty()).then_some(hashes)
}

/// Which of several containers of one service it is, from 1.
pub fn number(spec: &Spec) -> String {
    spec.get("number").and_then(Value::int).unwrap_or(1).to_string()
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

fn mounts_into(spec: &Spec, carried: &BTreeMap<String, String>, secrets: &BTreeMap<String, String>, body: &mut Json) {
    let (mut binds, mut memory, mut nameless) = (Vec::new(), Map::new(), Map::new());
    let mut exact: Vec<Json> = Vec::new();
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
                let options: Vec<&str> = rest.into_iter().flat_map(|rest| rest.split(',')).collect();
                if options.contains(&MUST_EXIST) {
                    let propagation =
                        options.iter().find(|option| PROPAGATIONS.contains(option)).unwrap_or(&"rprivate");
                    exact.push(json!({
                        "Type": "bind", "Source": source, "Target": target, "ReadOnly": options.contains(&"ro"),
                        "BindOptions": {"Propagation": propagation},
                    }));
                    continue;
                }
                if let Some(folder) = options.iter().find_map(|option| option.strip_prefix(SUBPATH)) {
                    exact.push(json!({
                        "Type": "volume", "Source": source, "Target": target, "ReadOnly": options.contains(&"ro"),
                        "VolumeOptions": {"Subpath": folder, "NoCopy": options.contains(&"nocopy")},
                    }));
                    continue;
                }
                binds.push(format!("{source}:{target}:{}", rest.unwrap_or("rw")));
            }
        }
    }
    binds.extend(carried.iter().map(|(target, volume)| format!("{volume}:{target}:rw")));
    binds.extend(secrets.iter().map(|(target, place)| format!("{place}:{target}:ro")));
    if !exact.is_empty() {
        body["HostConfig"]["Mounts"] = json!(exact);
    }
    body["Volumes"] = Json::Object(nameless);
    body["HostConfig"]["Binds"] = json!(binds);
    body["HostConfig"]["Tmpfs"] = Json::Object(memory);
}

/// What a mount of the host's sees of mounts below it.
const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

fn restart_parts(restart: &str) -> (&str, i64) {
    match restart.split_once(':') {
        Some((policy, retries)) => (policy, retries.parse().unwrap_or_default()),
        None => (restart, 0),
    }
}

/// The fields of a container as it is, spelled as `lower` spells them. `image`: what it was made from.
/// `key`: what secret content is recognised by.
pub fn seen(inspect: &Json, image: &Json, wanted: &Spec, key: &ChangeKey) -> Spec {
    let mut spec = Spec::new();
    let mut set = |field: &str, value: Value| drop(spec.insert(field.to_string(), value));
    set("command", to_value(own(&inspect["Config"]["Cmd"], &image["Config"]["Cmd"], wanted.get("command"))));
    set(
        "entrypoint",
        to_value(own(&inspect["Config"]["Entrypoint"], &image["Config"]["Entrypoint"], wanted.get("entrypoint"))),
    );
    set("environment", environment(inspect, image, wanted.get("environment"), key));
    set("ports", ports(inspect));
    set("mounts", mounts(inspect, image, wanted.get("mounts")));
    set("networks", networks(inspect, wanted.get("networks")));
    set("healthcheck", health(inspect, image, wanted.get("healthcheck")));
    set("restart", restart(&inspect["HostConfig"]["RestartPolicy"]));
    set("labels", labels(inspect, image, wanted.get("labels")));
    set("secrets", secrets(inspect));
    for (field, label) in TOLD {
        set(field, told(inspect, label, wanted.get(field)));
    }
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

fn environment(inspect: &Json, image: &Json, wanted: Option<&Value>, key: &ChangeKey) -> Value {
    // What is asked for as a secret, or was made as one, leaves the host as its hash alone.
    let made_secret = label(inspect, SECRET_NAMES_LABEL);
    let is_secret = |name: &str| {
        matches!(wanted, Some(Value::Map(wanted)) if matches!(wanted.get(name), Some(Value::Secret(_))))
            || made_secret.as_array().into_iter().flatten().any(|known| known == name)
    };
    let said = |name: &str, value: &str| match is_secret(name) {
        true => Value::Secret(Sealed::found(&mut value.as_bytes(), key).unwrap_or_default()),
        false => Value::from(value),
    };
    let of_image: Vec<&str> = texts(&image["Config"]["Env"]).collect();
    let asked = |name: &str| matches!(wanted, Some(Value::Map(wanted)) if wanted.contains_key(name));
    let own = texts(&inspect["Config"]["Env"]).filter_map(|line| {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        (asked(name) || !of_image.contains(&line)).then(|| (name.to_string(), said(name, value)))
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
    let given = label(inspect, SECRETS_LABEL);
    let mut mounts = Vec::new();
    for mount in inspect["Mounts"].as_array().into_iter().flatten() {
        let text = |field: &str| mount[field].as_str().unwrap_or_default();
        let target = text("Destination");
        // The file of a secret is the secret's, not a mount of the user's.
        if !given[target].is_null() {
            continue;
        }
        let exact = inspect["HostConfig"]["Mounts"].as_array().into_iter().flatten();
        let exact = exact.into_iter().find(|exact| exact["Target"] == target).unwrap_or(&Json::Null);
        let asked_so = asked.iter().find(|asked| asked.split(':').nth(1) == Some(target));
        let ending = ending(mount, exact, asked_so, &inspect["HostConfig"]["Binds"]);
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

/// The options of a mount, as `mount` spells them. `asked`: how this one is asked for; `binds`: what the container was made with.
fn ending(mount: &Json, made: &Json, asked: Option<&&str>, binds: &Json) -> String {
    let mode = mount["Mode"].as_str().unwrap_or_default().split(',');
    let bind = texts(binds).find(|bind| bind.split(':').nth(1) == mount["Destination"].as_str()).unwrap_or_default();
    let said = |word: &str| {
        bind.split(':').nth(2).is_some_and(|options| options.split(',').any(|option| option == word))
            || made["BindOptions"]["Propagation"] == word
    };
    // Of a folder that its own data lies below, such as `/`, the engine makes it `rslave` by itself; moby, `validateBindDaemonRoot`.
    let own = |given: &str| given == "rslave" && !said(given);
    let propagation = mount["Propagation"].as_str().filter(|given| !matches!(*given, "" | "rprivate") && !own(given));
    // Whether the engine would have made the path leaves no trace.
    let exact = asked.and_then(|asked| asked.splitn(3, ':').nth(2)?.split(',').find(|option| *option == MUST_EXIST));
    // The engine says `z` of every volume that was given without a word, and it changes nothing there.
    let kept: &[&str] = if mount["Type"] == "volume" { &["nocopy"] } else { &["z", "Z", "nocopy"] };
    let mut options: Vec<&str> = mode.filter(|option| kept.contains(option)).collect();
    options.extend(propagation.into_iter().chain(exact));
    let folder = made["VolumeOptions"]["Subpath"].as_str().map(|folder| format!("{SUBPATH}{folder}"));
    options.extend(folder.as_deref());
    options.sort_unstable();
    let all: Vec<&str> = (mount["RW"] == false).then_some("ro").into_iter().chain(options).collect();
    if all.is_empty() { String::new() } else { format!(":{}", all.join(",")) }
}

/// The containers that one was made to live in the network of, by their keys.
pub fn beside(inspect: &Json) -> Json {
    label(inspect, BESIDE_LABEL)
}

fn label(inspect: &Json, label: &str) -> Json {
    let text = inspect["Config"]["Labels"][label].as_str().unwrap_or("{}");
    serde_json::from_str(text).unwrap_or_default()
}

/// What a label keeps. A container that somebody else made has none, and is taken at the lab's word.
fn told(inspect: &Json, name: &str, wanted: Option<&Value>) -> Value {
    match inspect["Config"]["Labels"][IMAGE_LABEL].is_null() {
        true => wanted.cloned().unwrap_or_else(|| Value::Map(BTreeMap::new())),
        false => to_value(label(inspect, name)),
    }
}

fn networks(inspect: &Json, wanted: Option<&Value>) -> Value {
    // The engine's own network has two names.
    let mode = match inspect["HostConfig"]["NetworkMode"].as_str().unwrap_or_default() {
        "default" => "bridge",
        mode => mode,
    };
    if matches!(mode, "host" | "none") || matches!(wanted, Some(Value::Text(wanted)) if wanted == mode) {
        return mode.into();
    }
    if mode.starts_with("container:") {
        return mode.into();
    }
    let id = inspect["Id"].as_str().unwrap_or_default();
    let name = inspect["Name"].as_str().unwrap_or_default().trim_start_matches('/');
    let asked = wanted.map(super::engine::json).unwrap_or_default();
    let networks = entries(&inspect["NetworkSettings"]["Networks"]).map(|(network, endpoint)| {
        // The engine adds the beginning of the id and the host name by itself.
        let own = |alias: &str| id.starts_with(alias) || alias == name || inspect["Config"]["Hostname"] == alias;
        let said = |alias: &str| texts(&asked[network]["aliases"]).any(|said| said == alias);
        let mut aliases: Vec<&str> = texts(&endpoint["Aliases"]).filter(|alias| !own(alias) || said(alias)).collect();
        // Whoever asks for a container by its own name finds it without an alias.
        if network != "bridge" && said(name) {
            aliases.push(name);
        }
        aliases.sort_unstable();
        aliases.dedup();
        let mut found = BTreeMap::from([("aliases".to_string(), aliases.into_iter().collect::<Value>())]);
        let mut note = |name: &str, value: &Json| {
            let says =
                !value.is_null() && value.as_str() != Some("") && value.as_array().is_none_or(|all| !all.is_empty());
            if says {
                found.insert(name.into(), to_value(value.clone()));
            }
        };
        ADDRESSES.iter().for_each(|address| note(address, &endpoint["IPAMConfig"][address]));
        // The rest the engine fills in by itself, where nobody asks.
        for (field, _) in
            entries(&asked[network]).filter(|(field, _)| *field != "aliases" && !ADDRESSES.contains(field))
        {
            note(field, &endpoint[field]);
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
    let hashes: BTreeMap<String, String> = serde_json::from_value(label(inspect, SECRETS_LABEL)).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_makes_of_a_mount_by_itself_is_nobodys_wish() {
        let seen = |bind: &str| {
            let inspect = json!({
                "Mounts": [{"Type": "bind", "Source": "/", "Destination": "/host", "RW": false, "Propagation": "rslave", "Mode": "ro"}],
                "HostConfig": {"Binds": [bind]},
            });
            super::super::engine::json(&mounts(&inspect, &Json::Null, None))
        };
        assert_eq!(seen("/:/host:ro"), json!(["/:/host:ro"]));
        assert_eq!(seen("/:/host:ro,rslave"), json!(["/:/host:ro,rslave"]));
    }
}
