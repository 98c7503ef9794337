//! Whether a service keeps data that would be missed, as far as the lab file tells.

use std::collections::BTreeSet;

use labwright_model::{Parsed, Placement};

use super::told::place_in;
use crate::application;
use crate::check::containers::{Container, Mounted, containers};

#[derive(Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// `data` names what it keeps.
    Declared(Vec<&'a str>),
    /// A container writes to a volume with a name.
    Volume(&'a str),
    /// A container of an application that is known for what people put into it writes to a path of the host.
    Folder(&'a str),
    /// The application is known for what people put into it.
    Application(&'a str),
    /// The catalogue knows, and the lab file does not say.
    Catalogue,
    /// `data: []` says so, or nothing that it writes outlives it.
    Nothing,
    /// A process, a path of the host, a Compose file that keeps nothing by name: it may or may not.
    Unknown,
}

/// Applications whose content is made by people, or is what others lean on. Those that can be filled again from
/// elsewhere (a dashboard, a media player, a cache) are left out.
const STATEFUL: &[&str] = &[
    "actual",
    "authentik",
    "bitwarden",
    "bookstack",
    "couchdb",
    "firefly-iii",
    "forgejo",
    "freshrss",
    "gitea",
    "gitlab",
    "gogs",
    "hedgedoc",
    "home-assistant",
    "homeassistant",
    "immich",
    "joplin",
    "keycloak",
    "kanidm",
    "linkding",
    "lldap",
    "mailcow",
    "mariadb",
    "matrix",
    "mealie",
    "minio",
    "mongo",
    "mongodb",
    "mysql",
    "nextcloud",
    "openbao",
    "outline",
    "owncloud",
    "paperless",
    "paperless-ngx",
    "photoprism",
    "postgres",
    "postgresql",
    "radicale",
    "seafile",
    "syncthing",
    "synapse",
    "trilium",
    "vault",
    "vaultwarden",
    "vikunja",
    "wallabag",
    "wiki-js",
    "wikijs",
    "zitadel",
];

/// Of these, what is a part of other applications, or a platform of the lab.
const PARTS: &[&str] = &[
    "authentik",
    "couchdb",
    "kanidm",
    "keycloak",
    "lldap",
    "mariadb",
    "minio",
    "mongo",
    "mongodb",
    "mysql",
    "openbao",
    "postgres",
    "postgresql",
    "vault",
    "zitadel",
];

/// Whether an application is one that people put things into, and no part of another one.
pub fn is_people_s(application: &str) -> bool {
    is_stateful(application) && !PARTS.contains(&application)
}

pub fn state<'a>(parsed: &'a Parsed, placement: &'a Placement) -> State<'a> {
    let service = &placement.entry;
    let data: Vec<&str> = service.data.iter().map(|data| data.value.as_str()).collect();
    if !data.is_empty() {
        return State::Declared(data);
    }
    match of_kind(parsed, placement) {
        // An empty list is a word on it: there is nothing to keep.
        State::Volume(_) | State::Folder(_) | State::Application(_) | State::Unknown
            if says_none(parsed, placement) =>
        {
            State::Nothing
        }
        state => state,
    }
}

fn of_kind<'a>(parsed: &'a Parsed, placement: &'a Placement) -> State<'a> {
    let service = &placement.entry;
    if let Some(application) = &service.catalogue {
        return match is_stateful(application) {
            true => State::Application(application),
            false => State::Catalogue,
        };
    }
    let mut unknown = service.compose.is_some() || service.run.is_some() || service.built_in.is_some();
    let mut folder = None;
    for container in containers(parsed, placement) {
        for mounted in container.writable() {
            match mounted {
                Mounted::Volume(name) => return State::Volume(name),
                Mounted::Path(source, target) => {
                    unknown = true;
                    if folder.is_none() && is_content(source, target) && is_known(&container) {
                        folder = Some(source);
                    }
                }
            }
        }
    }
    match folder {
        Some(folder) => State::Folder(folder),
        None if unknown => State::Unknown,
        None => State::Nothing,
    }
}

fn is_stateful(application: &str) -> bool {
    STATEFUL.contains(&application.to_lowercase().as_str())
}

/// Whether a container's image is an application that is known to keep what people put into it.
fn is_known(container: &Container<'_>) -> bool {
    container.image().is_some_and(|image| is_stateful(&application::of_image(image.repository)))
}

/// Whether a mounted path can be what people put in: a folder, and no place for settings, scripts or keys.
fn is_content(source: &str, target: &str) -> bool {
    // `config` is none of these: Home Assistant keeps all that it knows there.
    const SETTINGS: &[&str] = &["certs", "ssl", "logs", "log", "scripts", "init", "docker-entrypoint-initdb.d"];
    const FILES: &[&str] =
        &["yml", "yaml", "json", "toml", "ini", "conf", "cnf", "cfg", "env", "sql", "sh", "crt", "pem", "key", "xml"];
    let last = |path: &str| path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_lowercase();
    let is_file = |name: &str| name.rsplit_once('.').is_some_and(|(_, ending)| FILES.contains(&ending));
    let (source, name) = (last(source), last(target));
    !target.starts_with("/etc/") && ![source, name].iter().any(|one| is_file(one) || SETTINGS.contains(&one.as_str()))
}

fn says_none(parsed: &Parsed, placement: &Placement) -> bool {
    place_in(parsed, placement, &["data"]) != parsed.span_of(&["services", &placement.service])
}

/// Databases that the backup of another service dumps.
pub fn dumped(parsed: &Parsed) -> BTreeSet<&str> {
    let backups = parsed.placements.iter().filter_map(|placement| placement.entry.backup.as_ref());
    let running = backups.filter(|backup| backup.policy.is_some());
    running
        .flat_map(|backup| backup.dump.values())
        .filter_map(|dump| dump.value.service.as_ref())
        .map(|service| service.value.as_str())
        .collect()
}
