//! Everything that survives a restart, as one JSON document.
//! Nothing is encrypted: being sealed is a matter of saying no.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub initialized: bool,
    /// Key shares in hexadecimal; with a seal elsewhere they are recovery keys and unseal nothing.
    pub shares: Vec<String>,
    pub threshold: usize,
    /// The root key as the other server encrypted it, and what it has to be once decrypted.
    pub stored_key: Option<StoredKey>,
    pub cluster: String,
    pub policies: BTreeMap<String, String>,
    pub tokens: BTreeMap<String, Token>,
    pub mounts: BTreeMap<String, Mount>,
    pub auths: BTreeMap<String, Mount>,
    pub kv: BTreeMap<String, Kv>,
    pub transit: BTreeMap<String, BTreeMap<String, TransitKey>>,
    pub roles: BTreeMap<String, BTreeMap<String, Role>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredKey {
    pub ciphertext: String,
    pub digest: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Token {
    pub accessor: String,
    pub policies: Vec<String>,
    pub parent: Option<String>,
    pub path: String,
    pub display_name: String,
    pub meta: BTreeMap<String, String>,
    pub created: u64,
    /// Seconds it was given; none for ever.
    pub ttl: Option<u64>,
    pub period: u64,
    pub max_ttl: u64,
    pub expires: Option<u64>,
    pub renewable: bool,
    pub uses_left: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mount {
    pub kind: String,
    pub description: String,
    pub options: BTreeMap<String, String>,
    pub accessor: String,
    pub uuid: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kv {
    pub max_versions: u64,
    pub cas_required: bool,
    pub secrets: BTreeMap<String, Secret>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Secret {
    pub versions: BTreeMap<u64, Version>,
    pub current: u64,
    pub oldest: u64,
    pub created: String,
    pub updated: String,
    pub max_versions: u64,
    pub cas_required: bool,
    pub custom: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Version {
    pub data: Map<String, Value>,
    pub created: String,
    pub deleted: String,
    pub destroyed: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TransitKey {
    /// Version to key in hexadecimal and time of making.
    pub keys: BTreeMap<u64, (String, u64)>,
    pub deletable: bool,
    pub exportable: bool,
    pub derived: bool,
    pub min_decryption: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Role {
    pub role_id: String,
    pub bind_secret_id: bool,
    pub secret_id_ttl: u64,
    pub secret_id_uses: u64,
    pub policies: Vec<String>,
    pub no_default_policy: bool,
    pub ttl: u64,
    pub max_ttl: u64,
    pub period: u64,
    pub num_uses: u64,
    pub secret_ids: BTreeMap<String, SecretId>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SecretId {
    pub accessor: String,
    pub expires: Option<u64>,
    pub uses_left: Option<u64>,
    pub metadata: BTreeMap<String, String>,
}

impl State {
    pub(crate) fn read(folder: &Path) -> Result<State> {
        let path = folder.join("state.json");
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| format!("read {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Written beside and moved over: a kill leaves the old or the new state.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let beside = folder.join("state.json.new");
        fs::write(&beside, serde_json::to_vec(self)?).with_context(|| format!("write {}", beside.display()))?;
        fs::rename(&beside, folder.join("state.json")).context("move the state into place")
    }
}
