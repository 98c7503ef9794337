//! Roles with which machines log in.
//! Does not bind them to networks, and makes no custom secret ids.

use serde_json::{Value, json};

use super::address::escaped;
use super::answer::{flag, number, text, texts};
use super::client::Client;
use crate::{SecretError, SecretText};

/// What a machine gets that logs in. Times in seconds; 0 leaves it to the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    pub policies: Vec<String>,
    pub token_ttl: u64,
    pub token_max_ttl: u64,
    /// Tokens that can be renewed for ever, for so long each time.
    pub token_period: u64,
    pub secret_id_ttl: u64,
    /// How often a secret id can be used.
    pub secret_id_uses: u64,
    /// Without the policy `default`: such a token cannot even renew itself.
    pub no_default_policy: bool,
}

/// The secret half of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretId {
    pub secret: SecretText,
    /// Names it without giving it away.
    pub accessor: String,
    /// In seconds; 0 is for ever.
    pub ttl: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct AppRole<'a> {
    pub(super) client: &'a Client,
    pub(super) mount: &'a str,
}

impl AppRole<'_> {
    /// None if there is no such role.
    ///
    /// # Errors
    /// `Denied`; `Unreachable`.
    pub fn role(&self, name: &str) -> Result<Option<Role>, SecretError> {
        let Some(answer) = self.client.find(&self.path(name, "")?)? else { return Ok(None) };
        let data = &answer["data"];
        Ok(Some(Role {
            policies: texts(data, "token_policies"),
            token_ttl: number(data, "token_ttl")?,
            token_max_ttl: number(data, "token_max_ttl")?,
            token_period: number(data, "token_period")?,
            secret_id_ttl: number(data, "secret_id_ttl")?,
            secret_id_uses: number(data, "secret_id_num_uses")?,
            no_default_policy: flag(data, "token_no_default_policy").unwrap_or(false),
        }))
    }

    /// Writes all fields of a role, whether it exists or not; its ids stay.
    ///
    /// # Errors
    /// `Invalid` with the server's words; `Denied`; `Unreachable`.
    pub fn write_role(&self, name: &str, role: &Role) -> Result<(), SecretError> {
        let Role { policies, token_ttl, token_max_ttl, token_period, secret_id_ttl, secret_id_uses, no_default_policy } =
            role;
        let body = json!({
            "token_policies": policies, "token_ttl": token_ttl, "token_max_ttl": token_max_ttl,
            "token_period": token_period, "secret_id_ttl": secret_id_ttl, "secret_id_num_uses": secret_id_uses,
            "token_no_default_policy": no_default_policy, "bind_secret_id": true,
        });
        self.client.post(&self.path(name, "")?, &body).map(drop)
    }

    /// The half of a role that is no secret.
    ///
    /// # Errors
    /// `NoSuchSecret` without such a role; `Denied`; `Unreachable`.
    pub fn role_id(&self, name: &str) -> Result<String, SecretError> {
        text(&self.client.get(&self.path(name, "/role-id")?)?["data"], "role_id")
    }

    /// Makes a new secret half. Older ones stay good.
    ///
    /// # Errors
    /// As [`AppRole::role_id`].
    pub fn new_secret_id(&self, name: &str) -> Result<SecretId, SecretError> {
        let answer: Value = self.client.post(&self.path(name, "/secret-id")?, &json!({}))?;
        let data = &answer["data"];
        Ok(SecretId {
            secret: SecretText::new(text(data, "secret_id")?),
            accessor: text(data, "secret_id_accessor")?,
            ttl: number(data, "secret_id_ttl")?,
        })
    }

    fn path(&self, name: &str, rest: &str) -> Result<String, SecretError> {
        Ok(format!("auth/{}/role/{}{rest}", escaped(self.mount)?, escaped(name)?))
    }
}
