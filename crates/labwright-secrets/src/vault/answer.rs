//! What a server's refusal means, and how to read fields of what it granted.
//! Whatever of a request comes back in an error's text is taken out of it.

use serde_json::Value;

use super::transport::{Call, Raw};
use crate::{ErrorKind, SecretError};

/// A key/value engine says this for a moment after it was mounted.
const UPGRADING: &str = "Upgrading from non-versioned to versioned data";
const UPGRADES: &str = "is not ready yet: its engine was mounted only now";

/// What is said of a token that is asked about and is nobody's.
pub(super) const BAD_TOKEN: &str = "knows no such token";

/// Whether the same request may be granted in a moment.
pub(super) fn passing(error: &SecretError) -> bool {
    error.message.ends_with(UPGRADES)
}

/// Turns a refusal into an error; `place` is host and path. Statuses below 400 pass.
pub(super) fn granted(raw: Raw, call: &Call<'_>, place: &str, token: Option<&str>) -> Result<Value, SecretError> {
    if raw.status < 400 {
        return Ok(raw.body);
    }
    let told = told(&raw.body, call.body, token);
    let error = |kind, what: String| SecretError::new(kind, format!("`{place}` {what}"));
    let says = |what: &str| if told.is_empty() { what.to_string() } else { format!("{what}: {told}") };
    Err(match raw.status {
        403 if told.split("; ").any(|said| said == "bad token") => error(ErrorKind::Denied, BAD_TOKEN.to_string()),
        403 => {
            let path = call.path.split('?').next().unwrap_or(call.path);
            let need = capability(call);
            error(ErrorKind::Denied, "denies access".to_string()).help(format!(
                "the token has expired, or lacks a policy with `path \"{path}\" {{ capabilities = [\"{need}\"] }}`"
            ))
        }
        404 if told.contains("no handler for route") => {
            let mount = call.path.split('/').next().unwrap_or_default();
            error(ErrorKind::NoSuchSecret, "is below no mount".to_string())
                .help(format!("look at the mount's spelling, or enable it: `vault secrets enable -path={mount} kv-v2`"))
        }
        404 => error(ErrorKind::NoSuchSecret, says("does not exist")),
        405 => error(ErrorKind::Invalid, "does not take this request".to_string())
            .help("the mount is of another kind, or of version 1: `vault secrets list -detailed` shows it"),
        400 if told.contains(UPGRADING) => {
            error(ErrorKind::Unreachable, UPGRADES.to_string()).help("try again in a moment")
        }
        400 if told.contains("check-and-set parameter did not match") => {
            error(ErrorKind::Denied, "was changed by somebody else since it was read".to_string())
                .help("read it again, and decide anew")
        }
        400 if told.contains("check-and-set parameter required") => {
            error(ErrorKind::Invalid, "is only written with the version that it replaces".to_string())
        }
        400 if told.contains("invalid role or secret ID") || told.contains("invalid role ID") => {
            error(ErrorKind::Denied, "knows no such role id with that secret id".to_string())
                .help("secret ids run out: make a new one with `vault write -f auth/approle/role/NAME/secret-id`")
        }
        503 | 501 if told.contains("not initialized") || raw.status == 501 => {
            error(ErrorKind::Unreachable, "is not initialised".to_string()).help("initialise it: `vault operator init`")
        }
        503 => error(ErrorKind::Unreachable, says("is sealed or not ready"))
            .help("unseal it: `vault operator unseal`, once for each key share that it asks for"),
        429 => error(ErrorKind::Unreachable, "is a standby, or is asked too often".to_string()),
        status @ 500.. => error(ErrorKind::Unreachable, says(&format!("answered {status}"))),
        status => error(ErrorKind::Invalid, says(&format!("refuses the request with {status}"))),
    })
}

/// What a policy would have to grant.
fn capability(call: &Call<'_>) -> &'static str {
    match call.method.as_str() {
        "GET" if call.path.contains("list=true") => "list",
        "GET" => "read",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "create\", \"update",
    }
}

/// The server's own words in one line, without anything that the request held.
fn told(answer: &Value, sent: Option<&Value>, token: Option<&str>) -> String {
    let errors = answer["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = errors.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ");
    let mut secrets: Vec<&str> = token.into_iter().collect();
    sent.into_iter().for_each(|sent| leaves(sent, &mut secrets));
    // The longest first: what is part of another must not break it up.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets.into_iter().filter(|secret| secret.len() > 3) {
        text = text.replace(secret, "…");
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(300).collect()
}

fn leaves<'a>(value: &'a Value, all: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => all.push(text),
        Value::Array(list) => list.iter().for_each(|value| leaves(value, all)),
        Value::Object(map) => map.values().for_each(|value| leaves(value, all)),
        _ => {}
    }
}

pub(super) fn text(value: &Value, name: &str) -> Result<String, SecretError> {
    value[name].as_str().map(str::to_string).ok_or_else(|| lacks(name))
}

pub(super) fn number(value: &Value, name: &str) -> Result<u64, SecretError> {
    value[name].as_u64().ok_or_else(|| lacks(name))
}

pub(super) fn flag(value: &Value, name: &str) -> Result<bool, SecretError> {
    value[name].as_bool().ok_or_else(|| lacks(name))
}

pub(super) fn texts(value: &Value, name: &str) -> Vec<String> {
    let list = value[name].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|value| value.as_str().map(str::to_string)).collect()
}

pub(super) fn lacks(name: &str) -> SecretError {
    SecretError::new(ErrorKind::Malformed, format!("answer of the Vault server has no `{name}`"))
        .help("something else than Vault or OpenBao answers there, or a version that is not known yet")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use ureq::http::Method;

    use super::*;

    #[test]
    fn nothing_that_was_sent_comes_back_in_an_error() {
        let body = json!({ "data": { "password": "canary one", "list": ["canary one and two"] }, "n": 1 });
        let call = Call { method: Method::POST, path: "secret/data/x", body: Some(&body) };
        let text = "token hvs.canary:\n\tcannot store canary one and two, nor canary one";
        for status in [400, 404, 409, 500, 503] {
            let raw = Raw { status, body: json!({ "errors": [text] }) };
            let error = granted(raw, &call, "host/v1/secret/data/x", Some("hvs.canary")).expect_err("it is refused");
            assert!(error.message.ends_with("token …: cannot store …, nor …"), "{error}");
        }
        let raw = Raw { status: 204, body: Value::Null };
        assert_eq!(granted(raw, &call, "host", None), Ok(Value::Null));
    }
}
