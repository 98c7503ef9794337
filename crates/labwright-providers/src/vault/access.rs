//! The way into a server from where it runs: its address, who signed its certificate, and a token out of the letter.
//! No token is ever part of an error.

use std::net::{IpAddr, UdpSocket};

use labwright_plan::{Context, ErrorKind, ProviderError, Spec, Value};
use labwright_secrets::vault::{Client, Login, Options, PlainHttp};
use labwright_secrets::{SecretError, SecretText};

use crate::host::session::text;

/// A client that has no token: enough for the state of a server.
pub fn nobody(spec: &Spec) -> Result<Client, ProviderError> {
    client(spec, Login::Nobody)
}

/// A client with the token of whoever administers the server.
pub fn admin(context: &Context, spec: &Spec) -> Result<Client, ProviderError> {
    client(spec, Login::Token(secret(context, spec, "admin")?))
}

/// The secret that a field is made of.
pub fn secret(context: &Context, spec: &Spec, field: &str) -> Result<SecretText, ProviderError> {
    let Some(Value::Secret(sealed)) = spec.get(field) else {
        return Err(ProviderError::bug(format!("nothing says which secret the field `{field}` is")));
    };
    match sealed.reveal(&context.secrets) {
        Ok(value) if !value.trim().is_empty() => Ok(SecretText::from(value.trim())),
        Ok(_) => Err(ProviderError::rejected(format!("{sealed} is empty")).help("`labwright secret set NAME`")),
        Err(name) => Err(ProviderError::new(
            ErrorKind::Auth,
            format!("secret `{name}` is not at hand, and nobody answers without"),
        )
        .help("`labwright secret doctor` says why")),
    }
}

fn client(spec: &Spec, login: Login) -> Result<Client, ProviderError> {
    let address = text(spec, "address").unwrap_or_default();
    let mut options = Options::new(address);
    options.ca_pem = text(spec, "ca").map(str::to_string);
    options.namespace = text(spec, "namespace").map(str::to_string);
    // What is said to an address of this host itself never leaves it.
    if is_own(address) || matches!(login, Login::Nobody) {
        options.plain_http = PlainHttp::Anywhere;
    }
    Client::new(&options, login).map_err(error)
}

/// Whether an address is one of this host's: only those can be bound.
fn is_own(address: &str) -> bool {
    let authority = address.split_once("://").map_or(address, |(_, rest)| rest).trim_end_matches('/');
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.parse::<IpAddr>().is_ok_and(|ip| UdpSocket::bind((ip, 0)).is_ok())
}

/// The same fault, in the words of a run.
pub fn error(error: SecretError) -> ProviderError {
    let kind = match error.kind {
        labwright_secrets::ErrorKind::Unreachable => ErrorKind::Unreachable,
        labwright_secrets::ErrorKind::Denied => ErrorKind::Auth,
        _ => ErrorKind::Rejected,
    };
    ProviderError::new(kind, error.message).help(error.help.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_host_are_its_own() {
        for (address, own) in [
            ("http://127.0.0.1:8200", true),
            ("http://[::1]:8200/", true),
            ("http://192.0.2.1:8200", false),
            ("http://vault.home.arpa:8200", false),
        ] {
            assert_eq!(is_own(address), own, "{address}");
        }
    }
}
