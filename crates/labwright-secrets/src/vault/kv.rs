//! Secrets in the key/value engine, version 2.
//! Deletes versions only, and only those that are named; destroys nothing for good.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use ureq::http::Method;

use super::address::escaped;
use super::answer::{flag, lacks, number, text, texts};
use super::client::{Client, absent};
use super::transport::Call;
use crate::{ErrorKind, SecretError, SecretText};

/// The fields of one secret. What is no string on the server is handed over as its JSON text.
pub type Fields = BTreeMap<String, SecretText>;

/// Folders below folders are walked no deeper.
const DEEPEST: usize = 32;

/// What has to be true for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cas {
    /// Nothing: whatever is there is replaced.
    Any,
    /// There is no such secret yet.
    New,
    /// This is the newest version.
    At(u64),
}

/// One version of a secret with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub fields: Fields,
    pub version: u64,
    /// RFC 3339.
    pub created: String,
    pub custom: BTreeMap<String, String>,
}

/// A secret without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub current: u64,
    pub oldest: u64,
    pub versions: BTreeMap<u64, VersionInfo>,
    pub custom: BTreeMap<String, String>,
    pub max_versions: u64,
    pub cas_required: bool,
}

/// Times in RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    pub created: String,
    pub deleted: Option<String>,
    pub destroyed: bool,
}

/// The engine at one mount. Names are like `nas/admin`.
#[derive(Clone, Copy, Debug)]
pub struct Kv<'a> {
    pub(super) client: &'a Client,
    pub(super) mount: &'a str,
}

impl Kv<'_> {
    /// The newest version.
    ///
    /// # Errors
    /// `NoSuchSecret` if there is none or it is deleted; `Denied`; `Unreachable`.
    pub fn read(&self, name: &str) -> Result<Version, SecretError> {
        self.read_at(&self.path("data", name)?)
    }

    /// As [`Kv::read`], of one version.
    ///
    /// # Errors
    /// As [`Kv::read`].
    pub fn read_version(&self, name: &str, version: u64) -> Result<Version, SecretError> {
        self.read_at(&format!("{}?version={version}", self.path("data", name)?))
    }

    fn read_at(&self, path: &str) -> Result<Version, SecretError> {
        let answer = self.client.get(path)?;
        let (data, metadata) = (&answer["data"]["data"], &answer["data"]["metadata"]);
        let fields = data.as_object().ok_or_else(|| lacks("data"))?.iter().map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
            (name.clone(), SecretText::new(text))
        });
        Ok(Version {
            fields: fields.collect(),
            version: number(metadata, "version")?,
            created: text(metadata, "created_time")?,
            custom: strings(&metadata["custom_metadata"]),
        })
    }

    /// Writes a new version and gives its number.
    ///
    /// # Errors
    /// `Denied` if `cas` does not hold; otherwise as [`Kv::read`].
    pub fn write(&self, name: &str, fields: &Fields, cas: Cas) -> Result<u64, SecretError> {
        let answer = self.client.post(&self.path("data", name)?, &body(fields, cas))?;
        number(&answer["data"], "version")
    }

    /// Writes a new version in which only these fields differ, and gives its number.
    ///
    /// # Errors
    /// As [`Kv::write`]; the policy has to grant `patch`.
    pub fn patch(&self, name: &str, fields: &Fields, cas: Cas) -> Result<u64, SecretError> {
        let path = self.path("data", name)?;
        let answer = self.client.call(&Call { method: Method::PATCH, path: &path, body: Some(&body(fields, cas)) })?;
        number(&answer["data"], "version")
    }

    /// Names in a folder, `""` for the topmost; names of folders end in `/`. None: empty.
    ///
    /// # Errors
    /// `Denied`; `Unreachable`.
    pub fn list(&self, folder: &str) -> Result<Vec<String>, SecretError> {
        let folder = folder.trim_end_matches('/');
        let path = match folder {
            "" => format!("{}/metadata", escaped(self.mount)?),
            _ => self.path("metadata", folder)?,
        };
        let answer = self.client.find(&format!("{path}?list=true"))?;
        Ok(answer.map(|answer| texts(&answer["data"], "keys")).unwrap_or_default())
    }

    /// Full names of all secrets below a folder, sorted.
    ///
    /// # Errors
    /// As [`Kv::list`].
    pub fn list_all(&self, folder: &str) -> Result<Vec<String>, SecretError> {
        let top = folder.trim_end_matches('/');
        let top = if top.is_empty() { String::new() } else { format!("{top}/") };
        let (mut folders, mut names) = (vec![top], Vec::new());
        while let Some(folder) = folders.pop() {
            for name in self.list(&folder)? {
                let full = format!("{folder}{name}");
                match name.ends_with('/') {
                    true if full.matches('/').count() > DEEPEST => {
                        let message = format!("folders below `{}` are nested too deep", self.mount);
                        return Err(SecretError::new(ErrorKind::Invalid, message));
                    }
                    true => folders.push(full),
                    false => names.push(full),
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// What is known of a secret beside its content; none if there is no such secret.
    ///
    /// # Errors
    /// `Denied`; `Unreachable`.
    pub fn metadata(&self, name: &str) -> Result<Option<Metadata>, SecretError> {
        let Some(answer) = self.client.find(&self.path("metadata", name)?)? else { return Ok(None) };
        let data = &answer["data"];
        let mut versions = BTreeMap::new();
        for (version, about) in data["versions"].as_object().ok_or_else(|| lacks("versions"))? {
            let info = VersionInfo {
                created: text(about, "created_time")?,
                deleted: Some(text(about, "deletion_time")?).filter(|time| !time.is_empty()),
                destroyed: flag(about, "destroyed")?,
            };
            versions.insert(version.parse().map_err(|_| lacks("versions"))?, info);
        }
        Ok(Some(Metadata {
            current: number(data, "current_version")?,
            oldest: number(data, "oldest_version")?,
            versions,
            custom: strings(&data["custom_metadata"]),
            max_versions: number(data, "max_versions")?,
            cas_required: flag(data, "cas_required")?,
        }))
    }

    /// Replaces the custom metadata of a secret, whether it exists yet or not.
    ///
    /// # Errors
    /// `Denied`; `Unreachable`; `Invalid` for texts that are too long.
    pub fn set_custom(&self, name: &str, custom: &BTreeMap<String, String>) -> Result<(), SecretError> {
        self.client.post(&self.path("metadata", name)?, &json!({ "custom_metadata": custom })).map(drop)
    }

    /// Deletes these versions, so that they can still be undeleted.
    ///
    /// # Errors
    /// `Denied`; `Unreachable`.
    pub fn delete_versions(&self, name: &str, versions: &[u64]) -> Result<(), SecretError> {
        let path = self.path("delete", name)?;
        absent(self.client.post(&path, &json!({ "versions": versions }))).map(drop)
    }

    fn path(&self, kind: &str, name: &str) -> Result<String, SecretError> {
        Ok(format!("{}/{kind}/{}", escaped(self.mount)?, escaped(name)?))
    }
}

fn body(fields: &Fields, cas: Cas) -> Value {
    let data: Map<String, Value> = fields.iter().map(|(name, text)| (name.clone(), json!(text.expose()))).collect();
    match cas {
        Cas::Any => json!({ "data": data }),
        Cas::New => json!({ "data": data, "options": { "cas": 0 } }),
        Cas::At(version) => json!({ "data": data, "options": { "cas": version } }),
    }
}

fn strings(value: &Value) -> BTreeMap<String, String> {
    let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_string()));
    value.as_object().into_iter().flatten().filter_map(text).collect()
}
