//! All the settings of a service that the engine takes as they are, in its own form.
//! Names are those of `options`; what stands elsewhere in a container is taken apart elsewhere.

use std::collections::BTreeSet;

use labwright_model::Spanned;
use labwright_model::compose::Service;
use labwright_model::compose::deploy::{Deploy, DeviceRequest, Limits, Reservations, Resources, Ulimit};
use labwright_model::compose::values::{Pairs, Texts};
use serde_json::{Map, Value as Json, json};

use super::{Making, container_name};

/// Names with their values, each as JSON: more of them than one JSON macro takes.
macro_rules! said {
    ($($name:ident: $value:expr),* $(,)?) => { [$((stringify!($name), json!($value))),*] };
}

/// The settings; what the service shares with others of its project goes into `beside`.
pub fn of(
    making: &mut Making<'_>,
    key: &str,
    service: &Spanned<Service>,
    beside: &mut BTreeSet<String>,
) -> Map<String, Json> {
    let span = service.span;
    let Service {
        annotations,
        cap_add,
        cap_drop,
        cgroup,
        cgroup_parent,
        cpu_period,
        cpu_quota,
        cpu_rt_period,
        cpu_rt_runtime,
        cpu_shares,
        cpus,
        cpuset,
        deploy,
        device_cgroup_rules,
        devices,
        dns,
        dns_opt,
        dns_search,
        domainname,
        expose,
        extra_hosts,
        gpus,
        group_add,
        hostname,
        init,
        ipc,
        logging,
        mem_limit,
        mem_reservation,
        mem_swappiness,
        memswap_limit,
        oom_kill_disable,
        oom_score_adj,
        pid,
        pids_limit,
        platform,
        privileged,
        read_only,
        runtime,
        security_opt,
        shm_size,
        stdin_open,
        stop_grace_period,
        stop_signal,
        storage_opt,
        sysctls,
        tty,
        ulimits,
        user,
        userns_mode,
        uts,
        working_dir,
        // Taken apart where the container's main parts are.
        command: _,
        configs: _,
        container_name: _,
        depends_on: _,
        entrypoint: _,
        environment: _,
        external_links: _,
        healthcheck: _,
        image: _,
        labels: _,
        links: _,
        mac_address: _,
        network_mode: _,
        networks: _,
        ports: _,
        pull_policy: _,
        restart: _,
        scale: _,
        secrets: _,
        tmpfs: _,
        volumes: _,
        // Put into the environment and the labels when they were read.
        env_file: _,
        label_file: _,
        // Said to those who run or build it by hand: a running container has nothing of it.
        attach: _,
        build: _,
        develop: _,
        profiles: _,
    } = &service.value;
    let (limits, reservations) = deploy.as_ref().map(|deploy| resources(making, key, deploy)).unwrap_or_default();
    let requests = gpus.0.iter().chain(reservations.iter().flat_map(|reservations| reservations.devices.iter()));
    let mut namespace = |making: &mut Making<'_>, said: &Option<Spanned<String>>| {
        said.as_ref().map(|said| match said.value.strip_prefix("service:") {
            Some(other) => {
                beside.insert(other.to_string());
                let own = making.project.services.get(other).and_then(|other| other.container_name.clone());
                format!(
                    "container:{}",
                    container_name(&making.project.name, other, own.as_ref().map(|own| own.value.as_str()), 1)
                )
            }
            None => said.value.clone(),
        })
    };
    let (ipc, pid, uts) = (namespace(making, ipc), namespace(making, pid), namespace(making, uts));
    let nano = |cpus: f64| (cpus * 1e9).round() as i64;
    let all = said! {
        annotations: pairs(annotations), cap_add: texts(cap_add), cap_drop: texts(cap_drop), cgroup: cgroup,
        cgroup_parent: cgroup_parent, cpu_period: cpu_period.map(|n| n.0), cpu_quota: cpu_quota.map(|n| n.0),
        cpu_rt_period: cpu_rt_period.map(|n| n.0), cpu_rt_runtime: cpu_rt_runtime.map(|n| n.0),
        cpu_shares: cpu_shares.map(|n| n.0),
        cpus: cpus.as_ref().or(limits.as_ref().and_then(|limits| limits.cpus.as_ref())).map(|cpus| nano(cpus.value.0)),
        cpuset: cpuset, device_cgroup_rules: texts(device_cgroup_rules),
        devices: devices.iter().map(|device| json!({
            "PathOnHost": device.source.value,
            "PathInContainer": device.target.as_ref().unwrap_or(&device.source).value,
            "CgroupPermissions": device.permissions.as_deref().unwrap_or("rwm"),
        })).collect::<Vec<_>>(),
        device_requests: requests.map(request).collect::<Vec<_>>(),
        dns: texts(dns), dns_opt: texts(dns_opt), dns_search: texts(dns_search), domainname: domainname,
        expose: expose.iter().flat_map(|port| exposed(&port.value)).collect::<Vec<_>>(),
        extra_hosts: extra_hosts.0.iter().flat_map(|(name, addresses)| {
            addresses.iter().map(move |address| format!("{name}:{}", address.value))
        }).collect::<Vec<_>>(),
        group_add: texts(group_add), hostname: hostname.as_ref().map(|name| &name.value), init: init.map(|flag| flag.0),
        ipc: ipc,
        logging: logging.as_ref().map(|logging| json!({
            "Type": logging.driver.as_deref().unwrap_or("json-file"), "Config": pairs(&logging.options),
        })),
        mem_limit: mem_limit.as_ref().or(limits.as_ref().and_then(|limits| limits.memory.as_ref())).map(|size| size.value.0),
        mem_reservation: mem_reservation.as_ref()
            .or(reservations.as_ref().and_then(|kept| kept.memory.as_ref())).map(|size| size.value.0),
        mem_swappiness: mem_swappiness.map(|n| n.0), memswap_limit: memswap_limit.as_ref().map(|size| size.value.0),
        oom_kill_disable: oom_kill_disable.0, oom_score_adj: oom_score_adj.map(|n| n.0), pid: pid,
        pids_limit: pids_limit.as_ref().or(limits.as_ref().and_then(|limits| limits.pids.as_ref())).map(|n| n.value.0),
        platform: platform, privileged: privileged.0, read_only: read_only.0, runtime: runtime,
        security_opt: texts(security_opt), shm_size: shm_size.map(|size| size.0), stdin_open: stdin_open.0,
        // The engine counts whole seconds; less than one is one, since none at all would be none to stop by itself.
        stop_grace_period: stop_grace_period.map(|time| time.0.as_secs().max(u64::from(!time.0.is_zero()))),
        stop_signal: stop_signal, storage_opt: pairs(storage_opt), sysctls: pairs(sysctls), tty: tty.0,
        ulimits: ulimits.0.iter().map(|(name, limit)| {
            let (soft, hard) = match limit {
                Ulimit::Both(both) => (both, both),
                Ulimit::Each { soft, hard } => (soft, hard),
            };
            json!({"Name": name, "Soft": soft, "Hard": hard})
        }).collect::<Vec<_>>(),
        user: user, userns_mode: userns_mode, uts: uts, working_dir: working_dir,
    };
    for option in security_opt.iter() {
        let profile = option.value.strip_prefix("seccomp").and_then(|rest| rest.strip_prefix([':', '=']));
        if profile.is_some_and(|profile| !matches!(profile, "unconfined" | "builtin") && !profile.starts_with('{')) {
            let help = "write the profile's JSON itself behind `seccomp=`, or leave the engine's own profile in place";
            making.unsupported(
                &format!("{key}.security_opt"),
                option.span,
                "a seccomp profile in a file is not supported",
                help,
            );
        }
    }
    all.into_iter()
        .map(|(name, value)| (name.to_string(), making.texts(&format!("{key}.{name}"), span, value)))
        .collect()
}

/// What `deploy` limits and keeps; the rest of it is a swarm's.
fn resources(making: &mut Making<'_>, key: &str, deploy: &Deploy) -> (Option<Limits>, Option<Reservations>) {
    let Deploy { mode: _, replicas: _, labels: _, update_config, resources, restart_policy: _, placement } = deploy;
    let Resources { limits, reservations } = resources;
    if update_config.is_some() {
        making.swarm(&[key, "deploy", "update_config"], "deploy.update_config");
    }
    if !placement.constraints.is_empty()
        || !placement.preferences.is_empty()
        || placement.max_replicas_per_node.is_some()
    {
        making.swarm(&[key, "deploy", "placement"], "deploy.placement");
    }
    if reservations.as_ref().is_some_and(|kept| kept.cpus.is_some()) {
        let path = [key, "deploy", "resources", "reservations", "cpus"];
        making.swarm(&path, &path[1..].join("."));
    }
    (limits.clone(), reservations.clone())
}

fn request(request: &DeviceRequest) -> Json {
    let capabilities: Vec<&str> = request.capabilities.iter().map(|word| word.value.as_str()).collect();
    // Somebody asked for a graphics card, or named what the devices must be able to do.
    let capabilities = if capabilities.is_empty() { vec!["gpu"] } else { capabilities };
    json!({
        "Driver": request.driver.as_deref().unwrap_or_default(), "Count": request.count.map_or(0, |count| count.0),
        "DeviceIDs": texts(&request.device_ids), "Capabilities": [capabilities], "Options": pairs(&request.options),
    })
}

fn texts(texts: &Texts) -> Vec<&str> {
    texts.iter().map(|text| text.value.as_str()).collect()
}

fn pairs(pairs: &Pairs) -> Map<String, Json> {
    pairs.iter().map(|(name, value)| (name.clone(), json!(value.value.as_deref().unwrap_or_default()))).collect()
}

/// `80`, `80/udp`, `3000-3002`: as the engine spells each.
fn exposed(text: &str) -> Vec<String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) => (first..=last).map(|port| format!("{port}/{protocol}")).collect(),
        _ => Vec::new(),
    }
}
