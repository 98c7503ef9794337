//! Whether a service keeps data that would be missed, as far as the lab file tells.

use std::collections::BTreeSet;

use labwright_model::lab::Service;
use labwright_model::{Parsed, Placement};

use super::stack::{Mounted, containers};
use super::told::place_in;

#[derive(Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// `data` names what it keeps.
    Declared(Vec<&'a str>),
    /// A container writes to a volume with a name.
    Volume(&'a str),
    /// The application is known for what people put into it.
    Application(&'a str),
    /// The catalogue knows, and the lab file does not say.
    Catalogue,
    /// `data: []` says so, or nothing that it writes outlives it.
    Nothing,
    /// A Compose file, a process, a path of the host: it may or may not.
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

pub fn state<'a>(parsed: &Parsed, placement: &'a Placement) -> State<'a> {
    let service = &placement.entry;
    let data: Vec<&str> = service.data.iter().map(|data| data.value.as_str()).collect();
    if !data.is_empty() {
        return State::Declared(data);
    }
    match of_kind(service) {
        // An empty list is a word on it: there is nothing to keep.
        State::Volume(_) | State::Application(_) | State::Unknown if says_none(parsed, placement) => State::Nothing,
        state => state,
    }
}

fn of_kind(service: &Service) -> State<'_> {
    if let Some(application) = &service.catalogue {
        return match STATEFUL.contains(&application.to_lowercase().as_str()) {
            true => State::Application(application),
            false => State::Catalogue,
        };
    }
    if service.compose.is_some() || service.run.is_some() {
        return State::Unknown;
    }
    let mut paths = false;
    for container in containers(service) {
        for mounted in container.writable() {
            match mounted {
                Mounted::Volume(name) => return State::Volume(name),
                Mounted::Path => paths = true,
            }
        }
    }
    if paths { State::Unknown } else { State::Nothing }
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
