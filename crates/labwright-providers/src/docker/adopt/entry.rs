//! A lab's entry for a Compose project: where it is reached, which port, what data, whom it needs, as far as its files tell.
//! Guesses nothing that it cannot point at; what is left to decide is a note.

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::compose::mounts::MountType;
use labwright_model::compose::{Project, Service};
use labwright_plan::Found;
use serde_json::{Map, Value as Json, json};

/// What is known of a project beside its files.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The host that it runs on.
    pub on: Option<String>,
    /// Its folder there.
    pub folder: Option<String>,
    /// Networks that other projects own, with the projects.
    pub networks: BTreeMap<String, String>,
}

/// The entry of a project.
pub fn of_project(project: &Project, known: &Known) -> Found {
    let mut notes = Vec::new();
    let mut entry = Map::new();
    let name = service_name(&project.name);
    if name != project.name {
        entry.insert("project".into(), json!(project.name));
    }
    match (&known.folder, needs_folder(project)) {
        (Some(folder), _) => drop(entry.insert("folder".into(), json!(folder))),
        (None, true) => notes.push(
            "paths of it are relative to its folder: say where that is on the host (`folder:`), or it is made anew below \
             /srv/labwright"
                .to_string(),
        ),
        (None, false) => {}
    }
    match &known.on {
        Some(on) => drop(entry.insert("on".into(), json!(on))),
        None => notes.push("say where it runs: `on: HOST`".into()),
    }
    let services: Vec<(&String, &Service)> = project.enabled().map(|(key, service)| (key, &service.value)).collect();
    let urls: BTreeSet<String> = services.iter().flat_map(|(_, service)| urls(service)).collect();
    if !urls.is_empty() {
        entry.insert("url".into(), one_or_all(urls.into_iter().collect()));
    }
    match port(&services) {
        Ok(Some(port)) => drop(entry.insert("port".into(), json!(port))),
        Ok(None) => {}
        Err(several) => notes.push(format!(
            "several ports are published ({}): say which one its name leads to, `port: {}`",
            several.join(", "),
            several.first().map(String::as_str).unwrap_or_default()
        )),
    }
    let needs = needs(project, known, &mut notes);
    if !needs.is_empty() {
        entry.insert("needs".into(), json!(needs));
    }
    let data = data(project, &services, known.folder.as_deref());
    if !data.is_empty() {
        entry.insert("data".into(), json!(data));
        notes.push("its data is guessed from what it may write to: take out what may be lost".into());
    }
    for (key, service) in &services {
        if service.build.is_some() && service.image.is_none() {
            notes.push(format!(
                "`{key}` is built on the spot (`build:`): build it elsewhere, push it, and give it an `image:`"
            ));
        }
    }
    Found { name, entry, notes, ..Found::default() }
}

/// A project's name as a service's: a label of DNS.
pub fn service_name(project: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    match project.chars().map(plain).collect::<String>().trim_matches('-') {
        "" => "service".to_string(),
        name => name.to_string(),
    }
}

fn one_or_all(mut all: Vec<String>) -> Json {
    match all.len() {
        1 => json!(all.remove(0)),
        _ => json!(all),
    }
}

fn needs_folder(project: &Project) -> bool {
    let sources =
        project.enabled().flat_map(|(_, service)| service.volumes.iter()).filter_map(|mount| mount.source.as_ref());
    sources.into_iter().any(|source| project.relative.contains(&source.value))
}

/// The names that it tells a proxy: labels of Traefik and Caddy, the variable of nginx-proxy.
fn urls(service: &Service) -> Vec<String> {
    let mut urls = Vec::new();
    let plain = |name: &str| !name.is_empty() && name.contains('.') && !name.contains(['$', '{', '*', '/', ' ', ':']);
    for (label, value) in service.labels.iter() {
        let value = value.value.as_deref().unwrap_or_default();
        if label.starts_with("traefik.") && label.ends_with(".rule") {
            // Host(`wiki.example.org`, `www.example.org`) || Host(…)
            for part in value.split("Host(").skip(1) {
                let inside = part.split(')').next().unwrap_or_default();
                urls.extend(inside.split(',').map(|name| name.trim_matches([' ', '`', '"', '\'']).to_string()));
            }
        } else if label == "caddy" {
            urls.extend(value.split_whitespace().map(|name| name.trim_start_matches("https://").to_string()));
        }
    }
    if let Some(hosts) = service.environment.get("VIRTUAL_HOST").and_then(|value| value.value.as_deref()) {
        urls.extend(hosts.split(',').map(|name| name.trim().to_string()));
    }
    urls.retain(|url| plain(url));
    urls
}

/// The port that its name leads to: what it tells a proxy, or the only one that it publishes.
fn port(services: &[(&String, &Service)]) -> Result<Option<String>, Vec<String>> {
    let called = |key: &str, port: &str| if services.len() == 1 { port.to_string() } else { format!("{key}:{port}") };
    for (key, service) in services {
        let of_traefik = service
            .labels
            .iter()
            .find(|(label, _)| label.starts_with("traefik.") && label.ends_with(".loadbalancer.server.port"));
        let of_traefik = of_traefik.and_then(|(_, value)| value.value.as_deref());
        let of_nginx = service.environment.get("VIRTUAL_PORT").and_then(|value| value.value.as_deref());
        if let Some(port) = of_traefik.or(of_nginx).filter(|port| port.parse::<u16>().is_ok()) {
            return Ok(Some(called(key, port)));
        }
    }
    let mut published = BTreeSet::new();
    for (key, service) in services {
        let tcp = service.ports.iter().filter(|port| matches!(port.protocol.as_str(), "" | "tcp"));
        published.extend(tcp.map(|port| called(key, &port.target.to_string())));
    }
    let all: Vec<String> = published.into_iter().collect();
    match all.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        _ => Err(all),
    }
}

/// The projects whose networks it is in.
fn needs(project: &Project, known: &Known, notes: &mut Vec<String>) -> Vec<String> {
    let mut needs = BTreeSet::new();
    for (key, network) in project.networks.iter().filter(|(_, network)| network.external.external) {
        let name = network.name.as_ref().map_or(key.as_str(), |name| name.value.as_str());
        match known.networks.get(name) {
            Some(owner) if *owner != project.name => drop(needs.insert(service_name(owner))),
            Some(_) => {}
            None => notes.push(format!(
                "network `{name}` is nobody's in the lab: it has to be there (`docker network create {name}`)"
            )),
        }
    }
    if !needs.is_empty() {
        let all: Vec<&str> = needs.iter().map(String::as_str).collect();
        notes.push(format!("it is in a network of {}, so it is taken to need that", all.join(", ")));
    }
    needs.into_iter().collect()
}

/// What others keep there is no data of this service.
const NO_DATA: &[&str] = &["/dev", "/etc", "/proc", "/run", "/sys", "/var/run", "/usr", "/lib", "/tmp"];

fn data(project: &Project, services: &[(&String, &Service)], folder: Option<&str>) -> Vec<String> {
    let mut data = BTreeSet::new();
    for mount in services.iter().flat_map(|(_, service)| service.volumes.iter()).filter(|mount| !mount.read_only.0) {
        let Some(source) = &mount.source else { continue };
        let passing = |name: &str| ["cache", "tmp", "log"].iter().any(|word| name.to_ascii_lowercase().contains(word));
        match mount.kind {
            MountType::Volume if !passing(&source.value) => drop(data.insert(source.value.clone())),
            MountType::Bind if project.relative.contains(&source.value) => {
                let beside =
                    source.value.strip_prefix(&project.folder).unwrap_or(&source.value).trim_start_matches('/');
                if !passing(beside) && !beside.is_empty() {
                    let whole = folder.map(|folder| format!("{}/{beside}", folder.trim_end_matches('/')));
                    data.insert(whole.unwrap_or_else(|| format!("./{beside}")));
                }
            }
            MountType::Bind if source.value.starts_with('/') => {
                let below = |top: &&str| {
                    source.value.strip_prefix(*top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                };
                if !NO_DATA.iter().any(below) && source.value != "/" && !passing(&source.value) {
                    data.insert(source.value.clone());
                }
            }
            _ => {}
        }
    }
    data.into_iter().collect()
}
