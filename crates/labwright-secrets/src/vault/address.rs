//! Where a server is, and the paths below it.
//! Refuses to send a token unencrypted over a network, unless told to.

use std::net::IpAddr;

use super::client::PlainHttp;
use crate::{ErrorKind, SecretError};

/// `https://host:port`, without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub secure: bool,
    /// Name or address, with the port if one was written.
    pub authority: String,
}

impl Address {
    pub(super) fn parse(text: &str, plain: PlainHttp) -> Result<Address, SecretError> {
        let invalid = |why: &str| {
            SecretError::new(ErrorKind::Invalid, format!("address of the Vault server {why}"))
                .help("write it like `https://vault.home.arpa:8200`")
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| invalid("has no `https://`"))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let secure = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(invalid("begins neither with `https://` nor with `http://`")),
        };
        if authority.contains('@') {
            return Err(invalid("holds a user name or password"));
        }
        let host = host(authority);
        let odd = |c: char| !(c.is_ascii_alphanumeric() || "-._:[]".contains(c));
        if host.is_empty() || authority.contains(odd) {
            return Err(invalid("is not a name or address with a port"));
        }
        let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if !secure && !loopback && plain == PlainHttp::LoopbackOnly {
            let message = format!("`http://{authority}` would send tokens and secrets readable over the network");
            return Err(SecretError::new(ErrorKind::Invalid, message).help(
                "give the server a certificate and write `https://`, or allow plain HTTP for it in so many words",
            ));
        }
        Ok(Address { secure, authority: authority.to_string() })
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://{}/v1/{path}", if self.secure { "https" } else { "http" }, self.authority)
    }

    /// The path of a redirection that stays on this host and does not lose encryption.
    pub(super) fn follow(&self, location: &str) -> Option<String> {
        let path = match location.split_once("://") {
            None => location,
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                if authority != self.authority || (self.secure && scheme != "https") {
                    return None;
                }
                path
            }
        };
        path.trim_start_matches('/').strip_prefix("v1/").map(str::to_string)
    }
}

/// The name or address without brackets and port.
fn host(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// A name below a mount, each segment escaped; folders and names are told apart by `/`.
pub(super) fn escaped(name: &str) -> Result<String, SecretError> {
    let bad = name.is_empty()
        || name.chars().any(char::is_control)
        || name.split('/').any(|part| matches!(part, "" | "." | ".."));
    if bad {
        return Err(SecretError::new(ErrorKind::Invalid, format!("{name:?} cannot be a name in Vault"))
            .help("write names like `nas/admin`, without empty parts and `..`"));
    }
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => text.push(char::from(byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    Ok(text)
}
