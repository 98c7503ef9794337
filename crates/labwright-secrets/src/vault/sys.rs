//! The server itself: its seal, its policies, what is mounted.
//! Does not initialise, seal or unmount: what cannot be taken back is done by hand.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use ureq::http::Method;

use super::address::escaped;
use super::answer::{flag, lacks, number, text};
use super::client::Client;
use super::transport::Call;
use crate::{ErrorKind, SecretError, SecretText};

/// How a server is, as far as it tells everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub initialized: bool,
    pub sealed: bool,
    pub standby: bool,
    pub version: String,
}

/// How far it is from being open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealStatus {
    /// `shamir`, or what opens it by itself: `transit`, …
    pub kind: String,
    pub initialized: bool,
    pub sealed: bool,
    /// How many key shares open it, of how many.
    pub threshold: u64,
    pub shares: u64,
    /// How many of them were given.
    pub progress: u64,
    /// Whether it waits to be moved from one kind of seal to another, by hand.
    pub migration: bool,
}

/// Something mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// `kv`, `transit`, `approle`, …
    pub kind: String,
    /// For `kv`: 1 or 2.
    pub version: Option<u64>,
    pub description: String,
}

/// Whether enabling something changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enabled {
    Now,
    Already,
}

#[derive(Clone, Copy, Debug)]
pub struct Sys<'a> {
    pub(super) client: &'a Client,
}

impl Sys<'_> {
    /// Never an error because it is sealed: that is an answer.
    ///
    /// # Errors
    /// `Unreachable`; `Malformed` if something else answers.
    pub fn health(&self) -> Result<Health, SecretError> {
        let (status, body) = self.client.raw("sys/health")?;
        // 429, 472, 473, 501 and 503 are states of a server, each with a body.
        if !matches!(status, 200 | 429 | 472 | 473 | 501 | 503) || !body.is_object() {
            return Err(SecretError::new(
                ErrorKind::Unreachable,
                format!("`{}` answered {status}, which is no state of a Vault server", self.client.place("sys/health")),
            )
            .help("look at the address and the port"));
        }
        Ok(Health {
            initialized: flag(&body, "initialized")?,
            sealed: flag(&body, "sealed")?,
            standby: flag(&body, "standby")?,
            version: text(&body, "version")?,
        })
    }

    /// # Errors
    /// `Unreachable`.
    pub fn seal_status(&self) -> Result<SealStatus, SecretError> {
        status(&self.client.open(&Call { method: Method::GET, path: "sys/seal-status", body: None })?)
    }

    /// # Errors
    /// `Unreachable`.
    pub fn initialized(&self) -> Result<bool, SecretError> {
        flag(&self.client.open(&Call { method: Method::GET, path: "sys/init", body: None })?, "initialized")
    }

    /// Gives one key share, in hexadecimal or base64; the last one that is needed opens the server.
    ///
    /// # Errors
    /// `Invalid` if the share, or with the last one any of them, is wrong; `Unreachable`.
    pub fn unseal(&self, share: &SecretText) -> Result<SealStatus, SecretError> {
        let body = json!({ "key": share.expose() });
        status(&self.client.open(&Call { method: Method::POST, path: "sys/unseal", body: Some(&body) })?)
    }

    /// A policy's text; none if there is no such policy.
    ///
    /// # Errors
    /// `Denied`; `Unreachable`.
    pub fn policy(&self, name: &str) -> Result<Option<String>, SecretError> {
        let answer = self.client.find(&format!("sys/policies/acl/{}", escaped(name)?))?;
        answer.map(|answer| text(&answer["data"], "policy")).transpose()
    }

    /// Writes a policy, whether it exists or not.
    ///
    /// # Errors
    /// `Invalid` with the server's words if it makes no sense; `Denied`; `Unreachable`.
    pub fn write_policy(&self, name: &str, policy: &str) -> Result<(), SecretError> {
        self.client.post(&format!("sys/policies/acl/{}", escaped(name)?), &json!({ "policy": policy })).map(drop)
    }

    /// Removes a policy; one that is not there is gone.
    ///
    /// # Errors
    /// `Denied`; `Unreachable`.
    pub fn delete_policy(&self, name: &str) -> Result<(), SecretError> {
        let path = format!("sys/policies/acl/{}", escaped(name)?);
        self.client.call(&Call { method: Method::DELETE, path: &path, body: None }).map(drop)
    }

    /// Engines by their path, without the last `/`.
    ///
    /// # Errors
    /// `Denied`; `Unreachable`.
    pub fn mounts(&self) -> Result<BTreeMap<String, Mount>, SecretError> {
        mounts(&self.client.get("sys/mounts")?)
    }

    /// Ways to log in by their path, without the last `/`.
    ///
    /// # Errors
    /// `Denied`; `Unreachable`.
    pub fn auths(&self) -> Result<BTreeMap<String, Mount>, SecretError> {
        mounts(&self.client.get("sys/auth")?)
    }

    /// Mounts the key/value engine, version 2.
    ///
    /// # Errors
    /// `Invalid` if something else is mounted there; `Denied`; `Unreachable`.
    pub fn enable_kv(&self, path: &str) -> Result<Enabled, SecretError> {
        let wanted = Mount { kind: "kv".to_string(), version: Some(2), description: String::new() };
        let body = json!({ "type": "kv", "options": { "version": "2" } });
        self.enable("sys/mounts", path, &self.mounts()?, &wanted, &body)
    }

    /// Mounts the transit engine.
    ///
    /// # Errors
    /// As [`Sys::enable_kv`].
    pub fn enable_transit(&self, path: &str) -> Result<Enabled, SecretError> {
        let wanted = Mount { kind: "transit".to_string(), version: None, description: String::new() };
        self.enable("sys/mounts", path, &self.mounts()?, &wanted, &json!({ "type": "transit" }))
    }

    /// Lets machines log in with roles.
    ///
    /// # Errors
    /// As [`Sys::enable_kv`].
    pub fn enable_approle(&self, path: &str) -> Result<Enabled, SecretError> {
        let wanted = Mount { kind: "approle".to_string(), version: None, description: String::new() };
        self.enable("sys/auth", path, &self.auths()?, &wanted, &json!({ "type": "approle" }))
    }

    fn enable(
        &self,
        list: &str,
        path: &str,
        mounts: &BTreeMap<String, Mount>,
        wanted: &Mount,
        body: &Value,
    ) -> Result<Enabled, SecretError> {
        match mounts.get(path.trim_matches('/')) {
            Some(found) if found.kind == wanted.kind && found.version == wanted.version => Ok(Enabled::Already),
            Some(found) => {
                let version = found.version.map(|version| format!(" version {version}")).unwrap_or_default();
                let message = format!("`{path}` is taken: `{}`{version} is mounted there", found.kind);
                Err(SecretError::new(ErrorKind::Invalid, message).help("choose another path"))
            }
            None => {
                let path = format!("{list}/{}", escaped(path.trim_matches('/'))?);
                self.client.post(&path, body).map(|_| Enabled::Now)
            }
        }
    }
}

fn status(body: &Value) -> Result<SealStatus, SecretError> {
    Ok(SealStatus {
        kind: text(body, "type")?,
        initialized: flag(body, "initialized")?,
        sealed: flag(body, "sealed")?,
        threshold: number(body, "t")?,
        shares: number(body, "n")?,
        progress: number(body, "progress")?,
        migration: body["migration"].as_bool().unwrap_or(false),
    })
}

fn mounts(answer: &Value) -> Result<BTreeMap<String, Mount>, SecretError> {
    let all = answer["data"].as_object().ok_or_else(|| lacks("data"))?;
    let mount = |(path, about): (&String, &Value)| {
        let kind = text(about, "type")?;
        let version = about["options"]["version"].as_str().and_then(|version| version.parse().ok());
        // Servers leave the version out where it is 1.
        let version = if kind == "kv" { version.or(Some(1)) } else { None };
        let description = about["description"].as_str().unwrap_or_default().to_string();
        Ok((path.trim_end_matches('/').to_string(), Mount { kind, version, description }))
    };
    all.iter().map(mount).collect()
}
