//! What the daemon of one host is told: plain data, derived from the lab alone, with a number that only grows.
//! Holds no secret: where one is needed it holds the name of a credential, which systemd hands to the daemon.

pub mod control;
pub mod dns;
pub mod proxy;
pub mod up;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Parsed;

/// The version of this format. A daemon refuses one that it does not know.
pub const VERSION: u32 = 1;

/// The role of the reverse proxy, as `Snapshot::roles` spells it.
pub const PROXY: &str = "proxy";
/// The role of the resolver.
pub const DNS: &str = "dns";

/// What the daemon of one host is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    pub version: u32,
    /// Which of two is newer. A daemon goes only forward.
    pub generation: u64,
    pub lab: String,
    pub host: String,
    /// What the host does, by role; each in the form of its own module.
    pub roles: BTreeMap<String, serde_json::Value>,
}

/// What a host's daemon does, without the number that says how new it is. Deterministic: equal labs give equal text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    pub lab: String,
    pub host: String,
    pub roles: BTreeMap<String, serde_json::Value>,
}

/// What the daemon of a host shall do; `None` where it has no role and needs none.
pub fn wanted(parsed: &Parsed, host: &str) -> Option<Wanted> {
    let mut roles = BTreeMap::new();
    if proxy::is_proxy(parsed, host) {
        // Plain data with text keys always becomes JSON.
        roles.insert(PROXY.to_string(), serde_json::to_value(proxy::proxy(parsed, host)).unwrap_or_default());
    }
    if dns::is_resolver(parsed, host) {
        roles.insert(DNS.to_string(), serde_json::to_value(dns::dns(parsed, host)).unwrap_or_default());
    }
    let name = parsed.lab.lab.value.clone();
    (!roles.is_empty()).then(|| Wanted { lab: name, host: host.to_string(), roles })
}

/// The credentials that a host's daemon needs: by name, the text of the lab file that refers to a secret.
pub fn credentials(parsed: &Parsed, host: &str) -> BTreeMap<String, String> {
    match proxy::is_proxy(parsed, host) {
        true => proxy::credentials(parsed),
        false => BTreeMap::new(),
    }
}
