//! Tokens: made for others, looked at and renewed for oneself.
//! Revokes nothing.

use serde_json::{Value, json};

use super::answer::{flag, number, text, texts};
use super::client::Client;
use crate::{SecretError, SecretText};

/// What a token is to be. Times in seconds; 0 leaves it to the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSpec {
    pub policies: Vec<String>,
    /// Outlives the token that makes it; that one needs `sudo`.
    pub orphan: bool,
    /// Can be renewed for ever, for so long each time; whoever makes it needs `sudo`.
    pub period: u64,
    pub ttl: u64,
    pub renewable: bool,
    /// Without the policy `default`: such a token cannot renew itself unless another policy lets it.
    pub no_default_policy: bool,
    pub display_name: String,
}

/// A token that was made or renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub token: SecretText,
    /// Names it without giving it away.
    pub accessor: String,
    pub policies: Vec<String>,
    /// In seconds; 0 is for ever.
    pub ttl: u64,
    pub renewable: bool,
}

/// A token as it looks from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    pub accessor: String,
    pub policies: Vec<String>,
    /// What is left, in seconds; 0 is for ever.
    pub ttl: u64,
    pub period: u64,
    pub orphan: bool,
    pub renewable: bool,
    pub display_name: String,
}

#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    pub(super) client: &'a Client,
}

impl Tokens<'_> {
    /// # Errors
    /// `Denied`; `Invalid` with the server's words if this client may not give away so much; `Unreachable`.
    pub fn create(&self, spec: &TokenSpec) -> Result<Token, SecretError> {
        let TokenSpec { policies, orphan, period, ttl, renewable, no_default_policy, display_name } = spec;
        let mut body = json!({
            "policies": policies, "no_parent": orphan, "renewable": renewable,
            "no_default_policy": no_default_policy, "display_name": display_name,
        });
        for (name, seconds) in [("period", period), ("ttl", ttl)] {
            if *seconds > 0 {
                body[name] = json!(format!("{seconds}s"));
            }
        }
        token(&self.client.post("auth/token/create", &body)?)
    }

    /// The client's own token.
    ///
    /// # Errors
    /// `Denied` if it is not good any more, or may not look at itself; `Unreachable`.
    pub fn lookup_self(&self) -> Result<TokenInfo, SecretError> {
        let answer = self.client.get("auth/token/lookup-self")?;
        let data = &answer["data"];
        Ok(TokenInfo {
            accessor: text(data, "accessor")?,
            policies: texts(data, "policies"),
            ttl: number(data, "ttl")?,
            period: data["period"].as_u64().unwrap_or(0),
            orphan: flag(data, "orphan")?,
            renewable: data["renewable"].as_bool().unwrap_or(false),
            display_name: text(data, "display_name")?,
        })
    }

    /// Renews the client's own token.
    ///
    /// # Errors
    /// `Invalid` if it cannot be renewed; `Denied`; `Unreachable`.
    pub fn renew_self(&self) -> Result<Token, SecretError> {
        token(&self.client.post("auth/token/renew-self", &json!({}))?)
    }
}

fn token(answer: &Value) -> Result<Token, SecretError> {
    let auth = &answer["auth"];
    Ok(Token {
        token: SecretText::new(text(auth, "client_token")?),
        accessor: text(auth, "accessor")?,
        policies: texts(auth, "policies"),
        ttl: number(auth, "lease_duration")?,
        renewable: flag(auth, "renewable")?,
    })
}
