//! Tokens: made for others, looked at and renewed for oneself.
//! Revokes only what is named.

use serde_json::{Value, json};

use super::answer::{BAD_TOKEN, flag, number, text, texts};
use super::client::Client;
use crate::{ErrorKind, SecretError, SecretText};

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
    /// The token itself, where it is not left to the server; whoever makes it needs `sudo`.
    pub id: Option<SecretText>,
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
        let TokenSpec { policies, orphan, period, ttl, renewable, no_default_policy, display_name, id } = spec;
        let mut body = json!({
            "policies": policies, "no_parent": orphan, "renewable": renewable,
            "no_default_policy": no_default_policy, "display_name": display_name,
        });
        for (name, seconds) in [("period", period), ("ttl", ttl)] {
            if *seconds > 0 {
                body[name] = json!(format!("{seconds}s"));
            }
        }
        if let Some(id) = id {
            body["id"] = json!(id.expose());
        }
        token(&self.client.post("auth/token/create", &body)?)
    }

    /// Somebody else's token; none if it is nobody's, or has run out.
    ///
    /// # Errors
    /// `Denied` if this client may not look at tokens; `Unreachable`.
    pub fn lookup(&self, token: &SecretText) -> Result<Option<TokenInfo>, SecretError> {
        let asked = self.client.post("auth/token/lookup", &json!({ "token": token.expose() }));
        match asked {
            Ok(answer) => info(&answer["data"]).map(Some),
            // The same status stands for a token that is not there and for a client that may not ask.
            Err(error) if error.kind == ErrorKind::Denied && error.message.ends_with(BAD_TOKEN) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends a token, with everything that was made by it.
    ///
    /// # Errors
    /// `Denied`; `Unreachable`.
    pub fn revoke(&self, token: &SecretText) -> Result<(), SecretError> {
        self.client.post("auth/token/revoke", &json!({ "token": token.expose() })).map(drop)
    }

    /// The client's own token.
    ///
    /// # Errors
    /// `Denied` if it is not good any more, or may not look at itself; `Unreachable`.
    pub fn lookup_self(&self) -> Result<TokenInfo, SecretError> {
        let answer = self.client.get("auth/token/lookup-self")?;
        info(&answer["data"])
    }

    /// Renews the client's own token.
    ///
    /// # Errors
    /// `Invalid` if it cannot be renewed; `Denied`; `Unreachable`.
    pub fn renew_self(&self) -> Result<Token, SecretError> {
        token(&self.client.post("auth/token/renew-self", &json!({}))?)
    }
}

fn info(data: &Value) -> Result<TokenInfo, SecretError> {
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
