//! Keys that never leave the server.
//! Makes and shows them; encrypting with them is done by the server whose seal they are.

use serde_json::json;

use super::address::escaped;
use super::answer::{flag, number, text};
use super::client::Client;
use crate::SecretError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitKey {
    /// `aes256-gcm96`, …
    pub kind: String,
    pub latest: u64,
    pub exportable: bool,
    pub deletion_allowed: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Transit<'a> {
    pub(super) client: &'a Client,
    pub(super) mount: &'a str,
}

impl Transit<'_> {
    /// Makes a key that can be neither read nor deleted. One that exists stays as it is.
    ///
    /// # Errors
    /// `Denied`; `NoSuchSecret` if nothing is mounted there; `Unreachable`.
    pub fn create_key(&self, name: &str) -> Result<(), SecretError> {
        self.client.post(&self.path(name)?, &json!({ "type": "aes256-gcm96", "exportable": false })).map(drop)
    }

    /// None if there is no such key.
    ///
    /// # Errors
    /// `Denied`; `Unreachable`.
    pub fn key(&self, name: &str) -> Result<Option<TransitKey>, SecretError> {
        let Some(answer) = self.client.find(&self.path(name)?)? else { return Ok(None) };
        let data = &answer["data"];
        Ok(Some(TransitKey {
            kind: text(data, "type")?,
            latest: number(data, "latest_version")?,
            exportable: flag(data, "exportable")?,
            deletion_allowed: flag(data, "deletion_allowed")?,
        }))
    }

    fn path(&self, name: &str) -> Result<String, SecretError> {
        Ok(format!("{}/keys/{}", escaped(self.mount)?, escaped(name)?))
    }
}
