//! One server opens another.

use std::time::Duration;

use expect_test::expect;
use labwright_secrets::vault::seal::{TlsSkip, stanza};
use labwright_secrets::vault::{Cas, Login, TokenSpec, policy};
use labwright_secrets::{ErrorKind, SecretText};
use labwright_testkit::fake_vault::{FakeVault, VaultOptions};

use super::{all_known, client, fields, root, token};

/// A server with a transit key, and a token that may use it for as long as it is renewed.
fn opener(rights: &str) -> (FakeVault, String) {
    let vault = FakeVault::start().expect("it starts");
    let admin = root(&vault);
    admin.sys().enable_transit("transit").expect("it can be enabled");
    admin.transit("transit").create_key("autounseal").expect("it is new");
    admin.sys().write_policy("unseal", rights).expect("it is a policy");
    let spec = TokenSpec {
        policies: vec!["unseal".to_string()],
        orphan: true,
        period: 86_400,
        renewable: true,
        no_default_policy: true,
        ..TokenSpec::default()
    };
    let token = admin.tokens().create(&spec).expect("root may").token;
    (vault, token.expose().to_string())
}

fn opened_by(opener: &FakeVault, token: &str) -> FakeVault {
    let seal = stanza(&opener.address(), "autounseal", "transit", None, TlsSkip::No);
    assert!(!seal.contains(token));
    let options = VaultOptions { seal: Some(seal), seal_token: Some(token.to_string()), ..VaultOptions::default() };
    FakeVault::with(options).expect("it starts")
}

#[test]
fn one_server_opens_another_after_a_restart() {
    let rights = policy::unseal("transit", "autounseal").expect("it is a plain name");
    expect![[r#"
        path "transit/encrypt/autounseal" {
          capabilities = ["update"]
        }

        path "transit/decrypt/autounseal" {
          capabilities = ["update"]
        }

        path "auth/token/renew-self" {
          capabilities = ["update"]
        }
    "#]]
    .assert_eq(&rights);
    let (first, token) = opener(&rights);
    let second = opened_by(&first, &token);
    assert!(!second.sealed(), "{:?}", second.log());
    assert_eq!(root(&second).sys().seal_status().map(|status| status.kind), Ok("transit".to_string()));
    root(&second).sys().enable_kv("secret").expect("it is open");
    root(&second).kv("secret").write("x", &fields([("k", "v")]), Cas::New).expect("it is new");
    for _ in 0..40 {
        // Twenty hours later, again and again: what is renewed at each start does not run out.
        first.advance(Duration::from_secs(20 * 3600));
        second.restart();
        assert!(!second.sealed(), "{:?}", second.log());
    }
    assert!(root(&second).kv("secret").read("x").is_ok());
    // The right is narrow: nothing else opens with that token.
    let thief = client(&first, Login::Token(SecretText::from(token.as_str())));
    assert_eq!(thief.transit("transit").key("autounseal").expect_err("not granted").kind, ErrorKind::Denied);
    assert_eq!(thief.sys().mounts().expect_err("not granted").kind, ErrorKind::Denied);
    all_known(&first);
}

#[test]
fn a_server_stays_sealed_when_the_other_does_not_help() {
    let rights = policy::unseal("transit", "autounseal").expect("it is a plain name");
    let told = |vault: &FakeVault| vault.log().pop().unwrap_or_default();

    // The first one is sealed.
    let (first, token) = opener(&rights);
    let second = opened_by(&first, &token);
    first.restart();
    second.restart();
    assert!(second.sealed() && told(&second).contains("code 503"), "{}", told(&second));
    // Key shares do not open what another server has to open.
    let nobody = client(&first, Login::Nobody);
    for share in &first.shares()[..2] {
        nobody.sys().unseal(&SecretText::from(share.as_str())).expect("they are its shares");
    }
    second.restart();
    assert!(!second.sealed(), "{}", told(&second));

    // The token ran out.
    first.advance(Duration::from_secs(90_000));
    second.restart();
    assert!(second.sealed() && told(&second).contains("code 403"), "{}", told(&second));

    // The policy is for another key.
    let (first, token) = opener(&rights);
    let second = opened_by(&first, &token);
    let other = policy::unseal("transit", "other").expect("it is a plain name");
    root(&first).sys().write_policy("unseal", &other).expect("it is a policy");
    second.restart();
    assert!(second.sealed() && told(&second).contains("code 403"), "{}", told(&second));

    // Nobody is there.
    drop(first);
    second.restart();
    assert!(second.sealed() && told(&second).contains("fetching stored unseal keys failed"), "{}", told(&second));
}

#[test]
fn a_token_that_cannot_renew_itself_leaves_the_server_sealed_one_day() {
    let rights = policy::unseal("transit", "autounseal").expect("it is a plain name");
    let rights = rights.replace("auth/token/renew-self", "auth/token/nothing");
    let (first, token) = opener(&rights);
    let second = opened_by(&first, &token);
    assert!(second.log().iter().any(|line| line.starts_with("unable to renew token, disabling renewal")));
    for _ in 0..2 {
        first.advance(Duration::from_secs(20 * 3600));
        second.restart();
    }
    assert!(second.sealed());
}

#[test]
fn the_stanza_quotes_what_it_is_given() {
    expect![[r#"
        seal "transit" {
          address         = "https://vault.home.arpa:8200"
          key_name        = "auto\"unseal"
          mount_path      = "transit/"
          tls_skip_verify = true
        }
    "#]]
    .assert_eq(&stanza("https://vault.home.arpa:8200", "auto\"unseal", "/transit/", None, TlsSkip::Yes));
}

#[test]
fn what_is_stored_outlives_the_server() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = VaultOptions { storage: Some(folder.path().to_path_buf()), ..VaultOptions::default() };
    let first = FakeVault::with(options.clone()).expect("it starts");
    let root_token = first.root_token().to_string();
    root(&first).sys().enable_kv("secret").expect("it is new");
    root(&first).kv("secret").write("x", &fields([("k", "v")]), Cas::New).expect("it is new");
    drop(first);
    let second = FakeVault::with(options).expect("it starts");
    let admin = client(&second, token(&root_token));
    assert_eq!(admin.kv("secret").read("x").map(|version| version.fields), Ok(fields([("k", "v")])));
}
