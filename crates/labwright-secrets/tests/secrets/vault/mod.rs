//! The Vault client against a strict fake, and the fake against the official client for Python.
//! Needs `openssl` (Debian: openssl) and `python3` with `venv` and PyPI (python3-venv), for `hvac`.

mod faults;
mod peer;
mod rights;
mod seal;
mod server;
mod values;

use expect_test::Expect;
use labwright_secrets::vault::{Client, Enabled, Fields, Login, Options};
use labwright_secrets::{SecretError, SecretText};
use labwright_testkit::fake_vault::FakeVault;

pub fn client(vault: &FakeVault, login: Login) -> Client {
    Client::new(&Options::new(vault.address()), login).expect("the address is good")
}

pub fn token(text: &str) -> Login {
    Login::Token(SecretText::from(text))
}

pub fn root(vault: &FakeVault) -> Client {
    client(vault, token(vault.root_token()))
}

/// A server with a key/value engine and its administrator.
pub fn with_kv() -> (FakeVault, Client) {
    let vault = FakeVault::start().expect("it starts");
    let admin = root(&vault);
    assert_eq!(admin.sys().enable_kv("secret"), Ok(Enabled::Now));
    (vault, admin)
}

pub fn fields<const N: usize>(all: [(&str, &str); N]) -> Fields {
    all.into_iter().map(|(name, text)| (name.to_string(), SecretText::from(text))).collect()
}

/// An error as a person reads it; the port is another one each time.
pub fn check(error: &SecretError, vault: &FakeVault, expect: Expect) {
    let authority = vault.address();
    let authority = authority.split_once("://").expect("it has a scheme").1;
    let help = error.help.as_deref().unwrap_or("-");
    let text = format!("{:?}: {error}\nhelp: {help}\n", error.kind).replace(authority, "HOST");
    assert!(!text.contains(vault.root_token()) || vault.root_token().is_empty(), "{text}");
    expect.assert_eq(&text);
}

/// Nothing that this client sends is unknown to the server.
pub fn all_known(vault: &FakeVault) {
    assert_eq!(vault.ignored_fields(), Vec::<String>::new());
}
