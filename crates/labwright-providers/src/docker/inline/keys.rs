//! One arm for each key that is understood; what is left over is a finding that names it.
//! Secrets go into files: what stands in an environment is for everybody to read.

use std::collections::BTreeMap;

use labwright_model::{Finding, Findings, Span, codes, reference};
use serde_json::{Map, Value as Json};

use super::super::stack::{Attachment, Condition, Container, Device, Healthcheck, Logging, Mount, Port, Stack};
use super::is_secret;
use super::words::{command, duration, list, scalar, size};

/// Where in the model and in the file, for findings.
type At<'a> = (&'a str, Span);

/// The containers of a service. `None` where they are not even a table.
pub fn stack(name: &str, containers: &Json, at: At<'_>, findings: &mut Findings) -> Option<Stack> {
    let Json::Object(entries) = containers else {
        findings.push(wrong(at.0, at.1, "`containers` is a table: a name for each container, and what it is".into()));
        return None;
    };
    let mut stack = Stack { name: name.to_string(), ..Stack::default() };
    for (key, entry) in entries {
        let place = format!("{}.{key}", at.0);
        let Json::Object(fields) = entry else {
            findings.push(wrong(&place, at.1, format!("`{key}` is not a table; it needs at least `image`")));
            continue;
        };
        let mut reader = Reader { at: place, span: at.1, findings: &mut *findings, key };
        let container = container(fields, &mut reader);
        if container.image.is_empty() && !fields.contains_key("build") {
            reader.fault("image", "a container needs `image`".into());
        }
        stack.containers.insert(key.clone(), container);
    }
    let known: Vec<String> = stack.containers.keys().cloned().collect();
    for (key, container) in &stack.containers {
        for other in container.depends_on.keys().filter(|other| !known.contains(other)) {
            let message = format!("`{key}` depends on `{other}`, and there is no such container");
            findings.push(wrong(&format!("{}.{key}.depends_on", at.0), at.1, message));
        }
        for mount in &container.mounts {
            if let Mount::Volume { source: Some(source), .. } = mount {
                stack.volumes.entry(source.clone()).or_default();
            }
        }
    }
    Some(stack)
}

fn wrong(at: &str, span: Span, message: String) -> Finding {
    Finding::error(codes::WRONG_VALUE, at, span, message)
}

struct Reader<'a> {
    at: String,
    span: Span,
    findings: &'a mut Findings,
    /// The container's.
    key: &'a str,
}

impl Reader<'_> {
    fn fault(&mut self, key: &str, message: String) {
        self.findings.push(wrong(&format!("{}.{key}", self.at), self.span, message));
    }

    fn helped(&mut self, key: &str, message: String, help: String) {
        self.findings.push(wrong(&format!("{}.{key}", self.at), self.span, message).help(help));
    }

    fn of<T>(&mut self, key: &str, what: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.fault(key, format!("`{key}` of `{}` is not {what}", self.key));
        }
        value
    }

    /// A text without secrets, as it is meant.
    fn text(&mut self, key: &str, value: &Json) -> Option<String> {
        let text = self.of(key, "a text", scalar(value))?;
        if is_secret(&text) {
            self.helped(
                key,
                format!("a secret in `{key}` of `{}` could be read by everybody who may ask the engine", self.key),
                "give it as a file: a variable whose name ends in `_FILE`, where the image knows one".into(),
            );
            return None;
        }
        Some(reference::unescape(&text))
    }

    fn texts(&mut self, key: &str, value: &Json) -> Vec<String> {
        let items = self.of(key, "a list of texts", list(value)).unwrap_or_default();
        items.into_iter().filter_map(|item| self.text(key, &Json::String(item))).collect()
    }

    fn words(&mut self, key: &str, value: &Json) -> Option<Vec<String>> {
        let words = self.of(key, "a command", command(value))?;
        words.into_iter().map(|word| self.text(key, &Json::String(word))).collect()
    }

    fn bool(&mut self, key: &str, value: &Json) -> Option<bool> {
        self.of(key, "`true` or `false`", value.as_bool())
    }

    fn number(&mut self, key: &str, value: &Json) -> Option<i64> {
        let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
        self.of(key, "a whole number", number)
    }

    fn size(&mut self, key: &str, value: &Json) -> Option<i64> {
        self.of(key, "a size, such as `512m`", size(value))
    }

    fn duration(&mut self, key: &str, value: &Json) -> Option<i64> {
        self.of(key, "a time, such as `30s`", duration(value))
    }

    /// A table, or a list of `name=value`. `between`: what stands between them in a list.
    fn pairs(&mut self, key: &str, value: &Json) -> BTreeMap<String, String> {
        let pair = |text: String| match text.split_once('=') {
            Some((name, value)) => (name.to_string(), value.to_string()),
            None => (text, String::new()),
        };
        match value {
            Json::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), scalar(value).unwrap_or_default())).collect()
            }
            other => self.of(key, "a table", list(other)).unwrap_or_default().into_iter().map(pair).collect(),
        }
    }

    fn plain_pairs(&mut self, key: &str, value: &Json) -> BTreeMap<String, String> {
        let pairs = self.pairs(key, value);
        pairs.into_iter().filter_map(|(name, value)| Some((name, self.text(key, &Json::String(value))?))).collect()
    }

    fn unknown(&mut self, key: &str, of: &str) {
        let of = if of.is_empty() { self.key.to_string() } else { format!("{}.{of}", self.key) };
        let message =
            format!("`{key}` of container `{of}` is not supported yet, and leaving it out would run something else");
        self.helped(key, message, "take it out, or run this service from outside the lab file for now".into());
    }
}

fn container(fields: &Map<String, Json>, r: &mut Reader<'_>) -> Container {
    let mut c = Container::default();
    for (key, value) in fields {
        let key = key.as_str();
        match key {
            "image" => c.image = r.text(key, value).unwrap_or_default(),
            "container_name" => c.container_name = r.text(key, value),
            "command" => c.command = r.words(key, value),
            "entrypoint" => c.entrypoint = r.words(key, value),
            "environment" => environment(value, r, &mut c),
            "ports" => ports(value, r, &mut c),
            "volumes" => volumes(value, r, &mut c),
            "tmpfs" => c.mounts.extend(r.texts(key, value).into_iter().map(|text| tmpfs(&text))),
            "networks" => networks(value, r, &mut c),
            "network_mode" => c.network_mode = r.text(key, value),
            "healthcheck" => c.healthcheck = healthcheck(value, r),
            "restart" => c.restart = r.text(key, value),
            "labels" => c.labels = r.plain_pairs(key, value),
            "depends_on" => depends_on(value, r, &mut c),
            "user" => c.user = r.text(key, value),
            "working_dir" => c.working_dir = r.text(key, value),
            "hostname" => c.hostname = r.text(key, value),
            "domainname" => c.domainname = r.text(key, value),
            "group_add" => c.group_add = r.texts(key, value),
            "cap_add" => c.cap_add = r.texts(key, value),
            "cap_drop" => c.cap_drop = r.texts(key, value),
            "security_opt" => c.security_opt = r.texts(key, value),
            "devices" => c.devices = r.texts(key, value).iter().map(|text| device(text)).collect(),
            "extra_hosts" => c.extra_hosts = extra_hosts(value, r),
            "dns" => c.dns = r.texts(key, value),
            "dns_search" => c.dns_search = r.texts(key, value),
            "dns_opt" => c.dns_opt = r.texts(key, value),
            "sysctls" => c.sysctls = r.plain_pairs(key, value),
            "ulimits" => ulimits(value, r, &mut c),
            "stop_signal" => c.stop_signal = r.text(key, value),
            "stop_grace_period" => c.stop_grace = r.duration(key, value).map(|nanos| nanos / 1_000_000_000),
            "init" => c.init = r.bool(key, value),
            "read_only" => c.read_only = r.bool(key, value).unwrap_or_default(),
            "privileged" => c.privileged = r.bool(key, value).unwrap_or_default(),
            "tty" => c.tty = r.bool(key, value).unwrap_or_default(),
            "stdin_open" => c.stdin_open = r.bool(key, value).unwrap_or_default(),
            "shm_size" => c.shm_size = r.size(key, value),
            "pid" => c.pid = r.text(key, value),
            "ipc" => c.ipc = r.text(key, value),
            "uts" => c.uts = r.text(key, value),
            "userns_mode" => c.userns = r.text(key, value),
            "cgroup_parent" => c.cgroup_parent = r.text(key, value),
            "runtime" => c.runtime = r.text(key, value),
            "logging" => c.logging = logging(value, r),
            "mem_limit" => c.memory = r.size(key, value),
            "mem_reservation" => c.memory_reservation = r.size(key, value),
            "memswap_limit" => c.memory_swap = r.size(key, value),
            "cpus" => c.nano_cpus = nano_cpus(key, value, r),
            "cpu_shares" => c.cpu_shares = r.number(key, value),
            "cpuset" => c.cpuset = r.text(key, value),
            "pids_limit" => c.pids_limit = r.number(key, value),
            "oom_score_adj" => c.oom_score_adj = r.number(key, value),
            "build" => r.helped(
                key,
                format!("`{}` is to be built, and labwright builds no images", r.key),
                "build and push it: `docker build -t REGISTRY/NAME:TAG . && docker push REGISTRY/NAME:TAG`; then say \
                 `image: REGISTRY/NAME:TAG`"
                    .into(),
            ),
            extension if extension.starts_with("x-") => {}
            other => r.unknown(other, ""),
        }
    }
    c
}

fn environment(value: &Json, r: &mut Reader<'_>, c: &mut Container) {
    for (name, value) in r.pairs("environment", value) {
        if !is_secret(&value) {
            c.environment.insert(name, reference::unescape(&value));
        } else if let Some(short) = name.strip_suffix("_FILE") {
            let path = format!("/run/secrets/{}", short.to_ascii_lowercase());
            c.secrets.insert(path.clone(), value);
            c.environment.insert(name, path);
        } else {
            let message = format!(
                "`{name}` of `{}` is a secret in an environment: `docker inspect` shows it to whoever may ask",
                r.key
            );
            let help = format!(
                "where the image knows `{name}_FILE`, say `{name}_FILE: \"{value}\"`: it becomes a file in memory"
            );
            r.helped("environment", message, help);
        }
    }
}

fn ports(value: &Json, r: &mut Reader<'_>, c: &mut Container) {
    for entry in value.as_array().into_iter().flatten() {
        let ports = match entry {
            Json::Object(long) => long_port(long, r).map(|port| vec![port]),
            short => scalar(short).and_then(|text| short_ports(&text)),
        };
        match ports {
            Some(ports) => c.ports.extend(ports),
            None => r.fault("ports", format!("`{entry}` is no port: `8080:80`, `127.0.0.1:8080:80/tcp`")),
        }
    }
    if !value.is_array() {
        r.fault("ports", "`ports` is a list".into());
    }
}

fn long_port(long: &Map<String, Json>, r: &mut Reader<'_>) -> Option<Port> {
    for key in long
        .keys()
        .filter(|key| !["target", "published", "host_ip", "protocol", "mode", "name"].contains(&key.as_str()))
    {
        r.unknown(key, "ports");
    }
    let number = |key: &str| long.get(key).and_then(scalar).and_then(|text| text.parse::<u16>().ok());
    Some(Port {
        address: long.get("host_ip").and_then(scalar),
        published: number("published"),
        target: number("target")?,
        protocol: long.get("protocol").and_then(scalar).unwrap_or_default(),
    })
}

/// `80`, `8080:80`, `127.0.0.1:8080:80/udp`, `3000-3002:3000-3002`
fn short_ports(text: &str) -> Option<Vec<Port>> {
    let (text, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let mut parts = text.rsplitn(3, ':');
    let target = range(parts.next()?)?;
    let published = match parts.next() {
        Some("") | None => None,
        Some(published) => Some(range(published)?),
    };
    let address = parts.next().map(|address| address.trim_matches(['[', ']']).to_string()).filter(|a| !a.is_empty());
    if published.as_ref().is_some_and(|published| published.len() != target.len()) {
        return None;
    }
    let port = |(i, target): (usize, u16)| Port {
        address: address.clone(),
        published: published.as_ref().map(|published| published[i]),
        target,
        protocol: protocol.to_string(),
    };
    Some(target.into_iter().enumerate().map(port).collect())
}

fn range(text: &str) -> Option<Vec<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then(|| (first..=last).collect())
}

fn volumes(value: &Json, r: &mut Reader<'_>, c: &mut Container) {
    for entry in value.as_array().into_iter().flatten() {
        let mount = match entry {
            Json::Object(long) => long_mount(long, r),
            short => scalar(short).and_then(|text| short_mount(&text)),
        };
        match mount {
            Some(mount) => c.mounts.push(mount),
            None => r.helped(
                "volumes",
                format!("`{entry}` is no volume"),
                "`NAME:/path`, `/path/on/host:/path:ro`; a path on the host is absolute".into(),
            ),
        }
    }
    if !value.is_array() {
        r.fault("volumes", "`volumes` is a list".into());
    }
}

fn short_mount(text: &str) -> Option<Mount> {
    let parts: Vec<&str> = text.split(':').collect();
    let read_only = parts.get(2).is_some_and(|options| options.split(',').any(|option| option == "ro"));
    let known = |options: &str| options.split(',').all(|option| matches!(option, "ro" | "rw"));
    if parts.len() > 3 || parts.get(2).is_some_and(|options| !known(options)) {
        return None;
    }
    Some(match parts[..] {
        [target] if target.starts_with('/') => Mount::Volume { source: None, target: target.into(), read_only: false },
        [source, target, ..] if source.starts_with('/') && target.starts_with('/') => {
            Mount::Bind { source: source.into(), target: target.into(), read_only }
        }
        [source, target, ..] if !source.starts_with(['.', '~']) && !source.is_empty() && target.starts_with('/') => {
            Mount::Volume { source: Some(source.into()), target: target.into(), read_only }
        }
        _ => return None,
    })
}

fn long_mount(long: &Map<String, Json>, r: &mut Reader<'_>) -> Option<Mount> {
    for key in long.keys().filter(|key| !["type", "source", "target", "read_only"].contains(&key.as_str())) {
        r.unknown(key, "volumes");
    }
    let text = |key: &str| long.get(key).and_then(scalar);
    let (target, read_only) = (text("target")?, long.get("read_only") == Some(&Json::Bool(true)));
    match text("type")?.as_str() {
        "bind" => Some(Mount::Bind { source: text("source").filter(|path| path.starts_with('/'))?, target, read_only }),
        "volume" => Some(Mount::Volume { source: text("source"), target, read_only }),
        "tmpfs" => Some(Mount::Tmpfs { target, options: String::new() }),
        _ => None,
    }
}

fn tmpfs(text: &str) -> Mount {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    Mount::Tmpfs { target: target.into(), options: options.into() }
}

fn networks(value: &Json, r: &mut Reader<'_>, c: &mut Container) {
    // One network for each service; what a service calls its others is only known to a Compose file.
    let names: Vec<String> = match value {
        Json::Object(fields) => fields.keys().cloned().collect(),
        other => r.texts("networks", other),
    };
    for name in names.iter().filter(|name| *name != super::super::lower::DEFAULT_NETWORK) {
        r.helped(
            "networks",
            format!("`{name}` is no network of this service: its containers share one of their own"),
            "to reach another service, name it in `needs`".into(),
        );
    }
    let aliases = value[super::super::lower::DEFAULT_NETWORK]["aliases"].as_array();
    let aliases = aliases.into_iter().flatten().filter_map(scalar).collect();
    c.networks.insert(super::super::lower::DEFAULT_NETWORK.into(), Attachment { aliases, ..Attachment::default() });
}

fn healthcheck(value: &Json, r: &mut Reader<'_>) -> Option<Healthcheck> {
    let Json::Object(fields) = value else {
        r.fault("healthcheck", "`healthcheck` is a table".into());
        return None;
    };
    let mut check = Healthcheck::default();
    for (key, value) in fields {
        match key.as_str() {
            "test" => {
                check.test = match value {
                    Json::String(line) => vec!["CMD-SHELL".into(), reference::unescape(line)],
                    other => r.texts("healthcheck.test", other),
                }
            }
            "interval" => check.interval = r.duration("healthcheck.interval", value),
            "timeout" => check.timeout = r.duration("healthcheck.timeout", value),
            "start_period" => check.start_period = r.duration("healthcheck.start_period", value),
            "retries" => check.retries = r.number("healthcheck.retries", value),
            "disable" if value == &Json::Bool(true) => check.test = vec!["NONE".into()],
            "disable" => {}
            other => r.unknown(other, "healthcheck"),
        }
    }
    Some(check)
}

fn depends_on(value: &Json, r: &mut Reader<'_>, c: &mut Container) {
    let Json::Object(fields) = value else {
        let names = r.texts("depends_on", value);
        c.depends_on.extend(names.into_iter().map(|name| (name, Condition::ServiceStarted)));
        return;
    };
    for (name, entry) in fields {
        let condition = match entry["condition"].as_str() {
            None | Some("service_started") => Condition::ServiceStarted,
            Some("service_healthy") => Condition::ServiceHealthy,
            Some("service_completed_successfully") => Condition::ServiceCompletedSuccessfully,
            Some(other) => {
                r.fault("depends_on", format!("`{other}` is no condition that a container can be waited for with"));
                continue;
            }
        };
        c.depends_on.insert(name.clone(), condition);
    }
}

fn device(text: &str) -> Device {
    let mut parts = text.splitn(3, ':');
    let source = parts.next().unwrap_or_default().to_string();
    let target = parts.next().unwrap_or(&source).to_string();
    Device { target, permissions: parts.next().unwrap_or("rwm").to_string(), source }
}

fn extra_hosts(value: &Json, r: &mut Reader<'_>) -> Vec<String> {
    match value {
        Json::Object(fields) => {
            fields.iter().map(|(name, address)| format!("{name}:{}", scalar(address).unwrap_or_default())).collect()
        }
        other => r.texts("extra_hosts", other).into_iter().map(|text| text.replacen('=', ":", 1)).collect(),
    }
}

fn ulimits(value: &Json, r: &mut Reader<'_>, c: &mut Container) {
    for (name, limit) in value.as_object().into_iter().flatten() {
        let both = match limit {
            Json::Object(limit) => {
                limit.get("soft").and_then(Json::as_i64).zip(limit.get("hard").and_then(Json::as_i64))
            }
            one => one.as_i64().map(|limit| (limit, limit)),
        };
        if let Some(both) = r.of("ulimits", "a number, or `soft` and `hard`", both) {
            c.ulimits.insert(name.clone(), both);
        }
    }
}

fn logging(value: &Json, r: &mut Reader<'_>) -> Option<Logging> {
    for key in value.as_object()?.keys().filter(|key| !["driver", "options"].contains(&key.as_str())) {
        r.unknown(key, "logging");
    }
    let driver = scalar(&value["driver"]).unwrap_or_else(|| "json-file".into());
    let options =
        if value["options"].is_null() { BTreeMap::new() } else { r.plain_pairs("logging", &value["options"]) };
    Some(Logging { driver, options })
}

fn nano_cpus(key: &str, value: &Json, r: &mut Reader<'_>) -> Option<i64> {
    let cpus = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    r.of(key, "a number of processors", cpus).map(|cpus| (cpus * 1e9).round() as i64)
}
