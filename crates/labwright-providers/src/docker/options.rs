//! The settings of a container beyond the main ones, one line each: where the engine keeps it, and when it says nothing.
//! Every line serves three ways: what is asked for, what is sent to the engine, what is found there.

use labwright_plan::Value;
use serde_json::{Map, Value as Json};

/// How two spellings of a setting are told to be the same.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Plain,
    /// The order says nothing.
    Set,
    /// As a set, with and without the prefix `CAP_`.
    Capabilities,
    /// Devices asked for by what they can do: what is empty says nothing.
    Requests,
    /// Ports that are only told of; the engine keeps them with all others.
    Exposed,
}

/// When a value that nobody asked for is nobody's business.
#[derive(Clone, Copy, PartialEq)]
enum Default {
    /// Empty, zero, false, null.
    Nothing,
    /// As `Nothing`, or what the image says at the same place.
    Image,
    /// One of these.
    Either(&'static [&'static str]),
    /// Whatever it is: the engine fills it in from its own settings.
    Engine,
}

struct Setting {
    name: &'static str,
    /// A JSON pointer into the body of a create; what starts with `/HostConfig` stands there in an inspect too, and the
    /// rest below `/Config`.
    at: &'static str,
    form: Form,
    default: Default,
}

const fn setting(name: &'static str, at: &'static str, form: Form, default: Default) -> Setting {
    Setting { name, at, form, default }
}

static SETTINGS: &[Setting] = &[
    setting("user", "/User", Form::Plain, Default::Image),
    setting("working_dir", "/WorkingDir", Form::Plain, Default::Image),
    setting("hostname", "/Hostname", Form::Plain, Default::Engine),
    setting("domainname", "/Domainname", Form::Plain, Default::Engine),
    setting("stop_signal", "/StopSignal", Form::Plain, Default::Either(&["SIGTERM"])),
    setting("stop_grace_period", "/StopTimeout", Form::Plain, Default::Nothing),
    setting("tty", "/Tty", Form::Plain, Default::Nothing),
    setting("stdin_open", "/OpenStdin", Form::Plain, Default::Nothing),
    setting("group_add", "/HostConfig/GroupAdd", Form::Set, Default::Nothing),
    setting("cap_add", "/HostConfig/CapAdd", Form::Capabilities, Default::Nothing),
    setting("cap_drop", "/HostConfig/CapDrop", Form::Capabilities, Default::Nothing),
    // A privileged container is given `label=disable` by the engine.
    setting("security_opt", "/HostConfig/SecurityOpt", Form::Set, Default::Either(&["[\"label=disable\"]"])),
    setting("devices", "/HostConfig/Devices", Form::Set, Default::Nothing),
    setting("extra_hosts", "/HostConfig/ExtraHosts", Form::Set, Default::Nothing),
    setting("dns", "/HostConfig/Dns", Form::Plain, Default::Nothing),
    setting("dns_search", "/HostConfig/DnsSearch", Form::Plain, Default::Nothing),
    setting("dns_opt", "/HostConfig/DnsOptions", Form::Set, Default::Nothing),
    setting("sysctls", "/HostConfig/Sysctls", Form::Plain, Default::Nothing),
    setting("ulimits", "/HostConfig/Ulimits", Form::Set, Default::Nothing),
    setting("init", "/HostConfig/Init", Form::Plain, Default::Nothing),
    setting("read_only", "/HostConfig/ReadonlyRootfs", Form::Plain, Default::Nothing),
    setting("privileged", "/HostConfig/Privileged", Form::Plain, Default::Nothing),
    setting("shm_size", "/HostConfig/ShmSize", Form::Plain, Default::Engine),
    setting("pid", "/HostConfig/PidMode", Form::Plain, Default::Nothing),
    setting("ipc", "/HostConfig/IpcMode", Form::Plain, Default::Either(&["private", "shareable"])),
    setting("uts", "/HostConfig/UTSMode", Form::Plain, Default::Nothing),
    setting("userns_mode", "/HostConfig/UsernsMode", Form::Plain, Default::Nothing),
    setting("cgroup_parent", "/HostConfig/CgroupParent", Form::Plain, Default::Nothing),
    setting("runtime", "/HostConfig/Runtime", Form::Plain, Default::Engine),
    setting("logging", "/HostConfig/LogConfig", Form::Plain, Default::Engine),
    setting("mem_limit", "/HostConfig/Memory", Form::Plain, Default::Nothing),
    setting("mem_reservation", "/HostConfig/MemoryReservation", Form::Plain, Default::Nothing),
    setting("memswap_limit", "/HostConfig/MemorySwap", Form::Plain, Default::Engine),
    setting("cpus", "/HostConfig/NanoCpus", Form::Plain, Default::Nothing),
    setting("cpu_shares", "/HostConfig/CpuShares", Form::Plain, Default::Nothing),
    setting("cpuset", "/HostConfig/CpusetCpus", Form::Plain, Default::Nothing),
    setting("pids_limit", "/HostConfig/PidsLimit", Form::Plain, Default::Nothing),
    setting("oom_score_adj", "/HostConfig/OomScoreAdj", Form::Plain, Default::Nothing),
    setting("oom_kill_disable", "/HostConfig/OomKillDisable", Form::Plain, Default::Nothing),
    setting("mem_swappiness", "/HostConfig/MemorySwappiness", Form::Plain, Default::Engine),
    setting("annotations", "/HostConfig/Annotations", Form::Plain, Default::Nothing),
    setting("cgroup", "/HostConfig/CgroupnsMode", Form::Plain, Default::Engine),
    setting("cpu_period", "/HostConfig/CpuPeriod", Form::Plain, Default::Nothing),
    setting("cpu_quota", "/HostConfig/CpuQuota", Form::Plain, Default::Nothing),
    setting("cpu_rt_period", "/HostConfig/CpuRealtimePeriod", Form::Plain, Default::Nothing),
    setting("cpu_rt_runtime", "/HostConfig/CpuRealtimeRuntime", Form::Plain, Default::Nothing),
    setting("device_cgroup_rules", "/HostConfig/DeviceCgroupRules", Form::Set, Default::Nothing),
    setting("device_requests", "/HostConfig/DeviceRequests", Form::Requests, Default::Nothing),
    setting("storage_opt", "/HostConfig/StorageOpt", Form::Plain, Default::Nothing),
    // Said of the image; the engine keeps it nowhere.
    setting("platform", "/Platform", Form::Plain, Default::Engine),
    setting("expose", "/ExposedPorts", Form::Exposed, Default::Engine),
];

/// What a container asks for, in the engine's own form.
pub fn wanted(all: &Map<String, Json>) -> Value {
    let asked = SETTINGS.iter().filter_map(|setting| {
        let value = normal(all.get(setting.name)?, setting.form);
        (!is_nothing(&value)).then(|| (setting.name.to_string(), value))
    });
    to_value(Json::Object(asked.collect()))
}

/// Puts what is asked for into the body of a create.
pub fn put(options: &Value, body: &mut Json) {
    let options = super::engine::json(options);
    for setting in SETTINGS {
        let Some(value) = options.get(setting.name).filter(|_| setting.name != "platform") else { continue };
        if setting.form == Form::Exposed {
            let ports = value.as_array().into_iter().flatten().filter_map(Json::as_str);
            ports.for_each(|port| body["ExposedPorts"][port] = Json::Object(Map::new()));
            continue;
        }
        let (parent, key) = setting.at.rsplit_once('/').unwrap_or(("", setting.at));
        if let Some(Json::Object(parent)) = body.pointer_mut(parent) {
            parent.insert(key.to_string(), value.clone());
        }
    }
}

/// What a container has, of which somebody asked for a part: what is as the engine or the image make it is left out.
pub fn seen(inspect: &Json, image: &Json, wanted: Option<&Value>) -> Value {
    let asked = wanted.map(super::engine::json).unwrap_or_default();
    let found = SETTINGS.iter().filter_map(|setting| {
        if setting.name == "platform" {
            return Some((setting.name.to_string(), asked.get("platform")?.clone()));
        }
        if setting.form == Form::Exposed {
            let there =
                |port: &&Json| port.as_str().is_some_and(|port| !inspect["Config"]["ExposedPorts"][port].is_null());
            let kept: Json = asked.get("expose")?.as_array()?.iter().filter(there).cloned().collect();
            return (!is_nothing(&kept)).then(|| (setting.name.to_string(), kept));
        }
        let place =
            if setting.at.starts_with("/HostConfig") { setting.at.into() } else { format!("/Config{}", setting.at) };
        let value = normal(inspect.pointer(&place).unwrap_or(&Json::Null), setting.form);
        let is_default = match setting.default {
            _ if is_nothing(&value) => true,
            _ if asked.get(setting.name).is_some() => false,
            Default::Nothing => false,
            Default::Engine => true,
            Default::Image => image.pointer(&place) == Some(&value),
            Default::Either(values) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
                values.contains(&text.as_str()) || image.pointer(&place) == Some(&value)
            }
        };
        (!is_default).then(|| (setting.name.to_string(), value))
    });
    to_value(Json::Object(found.collect()))
}

fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => true,
        Json::Number(number) => number.as_i64() == Some(0),
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(fields) => fields.is_empty(),
        Json::Bool(true) => false,
    }
}

fn normal(value: &Json, form: Form) -> Json {
    let Json::Array(items) = value else { return value.clone() };
    let mut items = items.clone();
    if form == Form::Requests {
        for item in &mut items {
            if let Json::Object(fields) = item {
                fields.retain(|_, value| !is_nothing(value));
            }
        }
    }
    if form == Form::Capabilities {
        for item in &mut items {
            if let Json::String(name) = item {
                let upper = name.to_ascii_uppercase();
                *name = upper.strip_prefix("CAP_").unwrap_or(&upper).to_string();
            }
        }
    }
    if form != Form::Plain {
        items.sort_by_key(ToString::to_string);
    }
    Json::Array(items)
}

/// The engine's JSON as a value; it has no fractions where Labwright looks.
pub fn to_value(json: Json) -> Value {
    serde_json::from_value(json).unwrap_or_default()
}
