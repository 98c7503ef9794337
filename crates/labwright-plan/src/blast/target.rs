//! From what was typed to what fails: `pve-01`, `host/pve-01`, `zone/servers`, `site/garage`, `domain/ups`, `internet`.

use std::collections::BTreeSet;

use labwright_model::Parsed;
use labwright_model::finding::nearest;
use serde::Serialize;

use super::world::split;
use super::{Kind, Thing};

/// Why a name is nothing that can fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum NoTarget {
    /// Nothing has the name; the nearest one that something has.
    Unknown { near: Option<String> },
    /// Several things have it: what to type for each.
    Ambiguous(Vec<String>),
}

/// What can fail as a whole, by kind: hosts, services, zones, sites, and what the file calls failure domains.
pub fn things(parsed: &Parsed, kind: Kind) -> BTreeSet<&str> {
    let lab = &parsed.lab;
    let hosts = lab.compute.hosts.values();
    match kind {
        Kind::Host => lab.compute.hosts.keys().map(String::as_str).collect(),
        Kind::Service => lab.services.keys().map(String::as_str).collect(),
        Kind::Zone => lab.network.zones.keys().map(String::as_str).collect(),
        Kind::Site => hosts.filter_map(|host| host.site.as_ref()).map(|site| site.value.as_str()).collect(),
        Kind::Domain => hosts.flat_map(|host| host.failure_domain.iter()).map(|name| name.value.as_str()).collect(),
        Kind::Role => BTreeSet::new(),
        Kind::Internet => BTreeSet::from([INTERNET]),
    }
}

/// The uplink has one name, which no zone can have.
pub const INTERNET: &str = "internet";

const KINDS: [Kind; 6] = [Kind::Host, Kind::Service, Kind::Zone, Kind::Site, Kind::Domain, Kind::Internet];

/// The thing that a name stands for.
pub fn target(parsed: &Parsed, typed: &str) -> Result<Thing, NoTarget> {
    let near = |kinds: &[Kind], name: &str| {
        let names: Vec<&str> = kinds.iter().flat_map(|kind| things(parsed, *kind)).collect();
        // `pve` for `pve-01`: too short to be near, and meant all the same.
        let within = || names.iter().copied().find(|known| name.len() > 1 && known.contains(name));
        NoTarget::Unknown { near: nearest(name, names.iter().copied()).or_else(within).map(str::to_string) }
    };
    // As it is printed: a service in one of its environments.
    let bare = typed.strip_prefix("service/").unwrap_or(typed);
    if let Some((service, environment)) = split(bare)
        && parsed
            .placements
            .iter()
            .any(|placement| placement.service == service && placement.environment.as_deref() == Some(environment))
    {
        return Ok(Thing { kind: Kind::Service, name: bare.to_string() });
    }
    if let Some((prefix, name)) = typed.split_once('/')
        && let Some(kind) = KINDS.into_iter().find(|kind| kind.word() == prefix)
    {
        return match things(parsed, kind).contains(name) {
            true => Ok(Thing { kind, name: name.to_string() }),
            false => Err(match near(&[kind], name) {
                NoTarget::Unknown { near } => NoTarget::Unknown { near: near.map(|near| format!("{prefix}/{near}")) },
                other => other,
            }),
        };
    }
    let found: Vec<Kind> = KINDS.into_iter().filter(|kind| things(parsed, *kind).contains(typed)).collect();
    match found[..] {
        [] => Err(near(&KINDS, typed)),
        [kind] => Ok(Thing { kind, name: typed.to_string() }),
        _ => Err(NoTarget::Ambiguous(found.iter().map(|kind| format!("{}/{typed}", kind.word())).collect())),
    }
}
