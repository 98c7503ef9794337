//! Who may do what: policies, tokens, logins, namespaces.

use std::time::{Duration, Instant};

use expect_test::expect;
use labwright_secrets::ErrorKind;
use labwright_secrets::vault::{Cas, Client, Login, Options, Role, TokenSpec, policy};
use labwright_testkit::fake_vault::{FakeVault, VaultOptions};

use super::{all_known, check, client, fields, root, token, with_kv};

#[test]
fn a_scoped_policy_grants_these_secrets_and_nothing_else() {
    let (vault, admin) = with_kv();
    for name in ["nas/admin", "nas/admin2", "nas/admin/deeper", "other"] {
        admin.kv("secret").write(name, &fields([("k", "v")]), Cas::New).expect("it is new");
    }
    let text = policy::scoped("secret", &["nas/admin"]).expect("it is a plain name");
    expect![[r#"
        path "secret/data/nas/admin" {
          capabilities = ["read"]
        }

        path "secret/metadata/nas/admin" {
          capabilities = ["read"]
        }
    "#]]
    .assert_eq(&text);
    admin.sys().write_policy("nas", &text).expect("it is a policy");
    assert_eq!(admin.sys().policy("nas"), Ok(Some(text)));
    assert_eq!(admin.sys().policy("gone"), Ok(None));
    let spec = TokenSpec { policies: vec!["nas".to_string()], orphan: true, ..TokenSpec::default() };
    let made = admin.tokens().create(&spec).expect("root may");
    let scoped = client(&vault, token(made.token.expose()));
    let kv = scoped.kv("secret");
    assert!(kv.read("nas/admin").is_ok() && kv.metadata("nas/admin").is_ok());
    for name in ["nas/admin2", "nas/admin/deeper", "other", "gone"] {
        assert_eq!(kv.read(name).expect_err("it is not granted").kind, ErrorKind::Denied, "{name}");
    }
    assert_eq!(kv.list("nas").expect_err("it is not granted").kind, ErrorKind::Denied);
    let error = kv.write("nas/admin", &fields([("k", "w")]), Cas::Any).expect_err("it may only read");
    check(
        &error,
        &vault,
        expect![[r#"
        Denied: `HOST/v1/secret/data/nas/admin` denies access
        help: the token has expired, or lacks a policy with `path "secret/data/nas/admin" { capabilities = ["create", "update"] }`
    "#]],
    );
    let error = scoped.sys().mounts().expect_err("it is not granted");
    check(
        &error,
        &vault,
        expect![[r#"
        Denied: `HOST/v1/sys/mounts` denies access
        help: the token has expired, or lacks a policy with `path "sys/mounts" { capabilities = ["read"] }`
    "#]],
    );
    for name in ["nas/*", "+/x", "a\"b", "", "../x"] {
        assert_eq!(policy::scoped("secret", &[name]).expect_err("it means more").kind, ErrorKind::Invalid, "{name}");
    }
    let error = admin.sys().write_policy("broken", "path \"x\" { capabilities = [\"raed\"] }").expect_err("it is none");
    assert_eq!(error.kind, ErrorKind::Invalid);
    all_known(&vault);
}

#[test]
fn tokens_are_made_looked_at_and_renewed() {
    let (vault, admin) = with_kv();
    let spec = TokenSpec {
        policies: vec!["default".to_string()],
        orphan: true,
        period: 3600,
        renewable: true,
        display_name: "seal".to_string(),
        ..TokenSpec::default()
    };
    let made = admin.tokens().create(&spec).expect("root may");
    assert_eq!((made.ttl, made.renewable), (3600, true));
    let own = client(&vault, token(made.token.expose()));
    let info = own.tokens().lookup_self().expect("default allows it");
    assert_eq!((info.period, info.orphan, info.display_name.as_str()), (3600, true, "token-seal"));
    vault.advance(Duration::from_secs(3000));
    assert!(own.tokens().lookup_self().expect("it is good").ttl <= 600);
    assert_eq!(own.tokens().renew_self().map(|token| token.ttl), Ok(3600));
    vault.advance(Duration::from_secs(3601));
    assert_eq!(own.tokens().lookup_self().expect_err("it is over").kind, ErrorKind::Denied);
    // Without the default policy it can do nothing, not even look at itself.
    let spec = TokenSpec { no_default_policy: true, policies: vec!["nothing".to_string()], ..TokenSpec::default() };
    let bare = admin.tokens().create(&spec).expect("root may");
    assert_eq!(bare.policies, ["nothing"]);
    let own = client(&vault, token(bare.token.expose()));
    assert_eq!(own.tokens().lookup_self().expect_err("nothing allows it").kind, ErrorKind::Denied);
    let root = admin.tokens().lookup_self().expect("root may");
    assert_eq!((root.ttl, root.policies), (0, vec!["root".to_string()]));
    all_known(&vault);
}

/// A role that may read `secret/x`, and how a machine logs in with it.
fn machine(admin: &Client, role: &Role) -> Login {
    admin.kv("secret").write("x", &fields([("k", "v")]), Cas::Any).expect("it can be written");
    let text = policy::scoped("secret", &["x"]).expect("it is a plain name");
    admin.sys().write_policy("x", &text).expect("it is a policy");
    admin.sys().enable_approle("approle").expect("it can be enabled");
    let approle = admin.approle("approle");
    approle.write_role("machine", role).expect("it is a role");
    assert_eq!(approle.role("machine"), Ok(Some(role.clone())));
    assert_eq!(approle.role("gone"), Ok(None));
    let role_id = approle.role_id("machine").expect("it has one");
    let secret_id = approle.new_secret_id("machine").expect("it gets one").secret;
    Login::AppRole { mount: "approle".to_string(), role_id, secret_id }
}

fn logins(vault: &FakeVault) -> usize {
    vault.requests().iter().filter(|request| request.ends_with("auth/approle/login")).count()
}

#[test]
fn a_machine_logs_in_once_and_again_when_its_token_is_gone() {
    let (vault, admin) = with_kv();
    let role = Role { policies: vec!["x".to_string()], token_ttl: 600, token_max_ttl: 3600, ..Role::default() };
    let machine = client(&vault, machine(&admin, &role));
    for _ in 0..3 {
        machine.kv("secret").read("x").expect("its policy grants it");
    }
    assert_eq!(logins(&vault), 1);
    // What it may not, it is denied without a second login.
    assert_eq!(machine.kv("secret").read("y").expect_err("it is not granted").kind, ErrorKind::Denied);
    assert_eq!(logins(&vault), 1);
    vault.advance(Duration::from_secs(601));
    machine.kv("secret").read("x").expect("it logs in anew");
    assert_eq!(logins(&vault), 2);
    all_known(&vault);
}

#[test]
fn a_machine_renews_its_token_before_it_runs_out() {
    let (vault, admin) = with_kv();
    let role = Role { policies: vec!["x".to_string()], token_ttl: 3, token_max_ttl: 3600, ..Role::default() };
    let machine = client(&vault, machine(&admin, &role));
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        machine.kv("secret").read("x").expect("its policy grants it");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(logins(&vault), 1);
    assert!(vault.requests().iter().any(|request| request == "POST v1/auth/token/renew-self"));
}

#[test]
fn a_used_up_secret_id_says_so() {
    let (vault, admin) = with_kv();
    let role = Role { policies: vec!["x".to_string()], secret_id_uses: 1, token_ttl: 60, ..Role::default() };
    let machine = client(&vault, machine(&admin, &role));
    machine.kv("secret").read("x").expect("the first login is good");
    vault.advance(Duration::from_secs(61));
    let error = machine.kv("secret").read("x").expect_err("the second is not");
    check(
        &error,
        &vault,
        expect![[r"
        Denied: `HOST/v1/auth/approle/login` knows no such role id with that secret id
        help: secret ids run out: make a new one with `vault write -f auth/approle/role/NAME/secret-id`
    "]],
    );
}

#[test]
fn a_namespace_goes_with_every_request() {
    let options = VaultOptions { namespace: Some("home".to_string()), ..VaultOptions::default() };
    let vault = FakeVault::with(options).expect("it starts");
    let with = Options { namespace: Some("home".to_string()), ..Options::new(vault.address()) };
    let inside = Client::new(&with, token(vault.root_token())).expect("the address is good");
    inside.sys().enable_kv("secret").expect("it is found");
    assert_eq!(root(&vault).kv("secret").read("x").expect_err("it is elsewhere").kind, ErrorKind::NoSuchSecret);
}
