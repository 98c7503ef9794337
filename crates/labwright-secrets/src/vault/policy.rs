//! Texts of policies that grant exactly what one purpose needs.
//! Writes them, does not send them.

use std::collections::BTreeSet;

use crate::{ErrorKind, SecretError};

/// Reading these secrets of a key/value engine, version 2, and what is known of them; nothing else, and no listing.
///
/// # Errors
/// `Invalid` for a name that would mean more than itself in a policy.
pub fn scoped(mount: &str, secrets: &[&str]) -> Result<String, SecretError> {
    let mount = plain(mount)?;
    let names: BTreeSet<&str> = secrets.iter().map(|name| plain(name)).collect::<Result<_, _>>()?;
    let paths = names.iter().flat_map(|name| ["data", "metadata"].map(|kind| format!("{mount}/{kind}/{name}")));
    Ok(blocks(paths, "read"))
}

/// Encrypting and decrypting with one key of a transit engine, for the server whose seal it is. It may also renew its own
/// token, because one that runs out leaves that server sealed at its next start.
///
/// # Errors
/// As [`scoped`].
pub fn unseal(mount: &str, key: &str) -> Result<String, SecretError> {
    let (mount, key) = (plain(mount)?, plain(key)?);
    let paths =
        [format!("{mount}/encrypt/{key}"), format!("{mount}/decrypt/{key}"), "auth/token/renew-self".to_string()];
    Ok(blocks(paths.into_iter(), "update"))
}

/// A wildcard, a quote or an escape would grant something else than is written.
fn plain(name: &str) -> Result<&str, SecretError> {
    let trimmed = name.trim_matches('/');
    let odd = |c: char| c.is_control() || matches!(c, '*' | '"' | '\\' | '$' | '{' | '}');
    let segment = |part: &str| !matches!(part, "" | "+" | "." | "..");
    if !trimmed.is_empty() && !trimmed.contains(odd) && trimmed.split('/').all(segment) {
        return Ok(trimmed);
    }
    Err(SecretError::new(ErrorKind::Invalid, format!("{name:?} does not stand for itself alone in a policy"))
        .help("use names without `*`, `+`, quotes and empty parts"))
}

fn blocks(paths: impl Iterator<Item = String>, capability: &str) -> String {
    let block = |path: String| format!("path \"{path}\" {{\n  capabilities = [\"{capability}\"]\n}}\n");
    paths.map(block).collect::<Vec<_>>().join("\n")
}
