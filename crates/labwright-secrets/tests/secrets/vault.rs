//! The Vault client against a strict fake, and the fake against the official client for Python.
//! Needs `openssl` (Debian: openssl) and `python3` with `venv` and PyPI (python3-venv), for `hvac`.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use labwright_secrets::generate::{self, Generator, Given};
use labwright_secrets::vault::seal::{TlsSkip, stanza};
use labwright_secrets::vault::{
    Cas, Client, Enabled, Fields, Login, Options, PlainHttp, Role, SealStatus, TokenSpec, policy,
};
use labwright_secrets::{ErrorKind, SecretError, SecretText};
use labwright_testkit::fake_vault::{FakeVault, Prepared, VaultOptions};

fn client(vault: &FakeVault, login: Login) -> Client {
    Client::new(&Options::new(vault.address()), login).expect("the address is good")
}

fn token(text: &str) -> Login {
    Login::Token(SecretText::from(text))
}

fn root(vault: &FakeVault) -> Client {
    client(vault, token(vault.root_token()))
}

/// A server with a key/value engine and its administrator.
fn with_kv() -> (FakeVault, Client) {
    let vault = FakeVault::start().expect("it starts");
    let admin = root(&vault);
    assert_eq!(admin.sys().enable_kv("secret"), Ok(Enabled::Now));
    (vault, admin)
}

fn fields<const N: usize>(all: [(&str, &str); N]) -> Fields {
    all.into_iter().map(|(name, text)| (name.to_string(), SecretText::from(text))).collect()
}

/// An error as a person reads it; the port is another one each time.
fn check(error: &SecretError, vault: &FakeVault, expect: Expect) {
    let authority = vault.address();
    let authority = authority.split_once("://").expect("it has a scheme").1;
    let help = error.help.as_deref().unwrap_or("-");
    let text = format!("{:?}: {error}\nhelp: {help}\n", error.kind).replace(authority, "HOST");
    assert!(!text.contains(vault.root_token()) || vault.root_token().is_empty(), "{text}");
    expect.assert_eq(&text);
}

/// Nothing that this client sends is unknown to the server.
fn all_known(vault: &FakeVault) {
    assert_eq!(vault.ignored_fields(), Vec::<String>::new());
}

// Secrets.

#[test]
fn secrets_have_versions() {
    let (vault, admin) = with_kv();
    let kv = admin.kv("secret");
    assert_eq!(kv.write("nas/admin", &fields([("password", "one")]), Cas::New), Ok(1));
    assert_eq!(kv.write("nas/admin", &fields([("password", "two"), ("user", "ana")]), Cas::At(1)), Ok(2));
    let newest = kv.read("nas/admin").expect("it is there");
    assert_eq!((newest.version, newest.fields), (2, fields([("password", "two"), ("user", "ana")])));
    assert_eq!(kv.read_version("nas/admin", 1).map(|version| version.fields), Ok(fields([("password", "one")])));
    assert_eq!(kv.patch("nas/admin", &fields([("password", "three")]), Cas::Any), Ok(3));
    assert_eq!(kv.read("nas/admin").map(|v| v.fields), Ok(fields([("password", "three"), ("user", "ana")])));
    let owner = BTreeMap::from([("owner".to_string(), "labwright".to_string())]);
    kv.set_custom("nas/admin", &owner).expect("it is there");
    kv.delete_versions("nas/admin", &[1, 3]).expect("they are there");
    let metadata = kv.metadata("nas/admin").expect("it is there").expect("it is there");
    assert_eq!((metadata.current, metadata.custom), (3, owner));
    let deleted = |version| metadata.versions[&version].deleted.is_some();
    assert_eq!([1, 2, 3].map(deleted), [true, false, true]);
    assert_eq!(kv.metadata("nas/gone"), Ok(None));
    let error = kv.read("nas/admin").expect_err("its newest version is deleted");
    assert_eq!(error.kind, ErrorKind::NoSuchSecret);
    // Names are data, not addresses.
    assert_eq!(kv.write("a b/ü?x=1#&%2e", &fields([("k", "v")]), Cas::New), Ok(1));
    assert_eq!(kv.list_all(""), Ok(vec!["a b/ü?x=1#&%2e".to_string(), "nas/admin".to_string()]));
    assert_eq!(kv.list("nas"), Ok(vec!["admin".to_string()]));
    assert_eq!(kv.list("nowhere"), Ok(Vec::new()));
    for name in ["", "/x", "x/", "a//b", "a/../b", "a\nb"] {
        assert_eq!(kv.read(name).expect_err("it is no name").kind, ErrorKind::Invalid, "{name:?}");
    }
    all_known(&vault);
}

#[test]
fn a_write_does_not_run_over_another() {
    let (vault, admin) = with_kv();
    let kv = admin.kv("secret");
    let canary = fields([("password", "canary-in-the-coal-mine")]);
    kv.write("x", &canary, Cas::New).expect("it is new");
    for cas in [Cas::New, Cas::At(7)] {
        let error = kv.write("x", &canary, cas).expect_err("it is not new");
        check(
            &error,
            &vault,
            expect![[r"
            Denied: `HOST/v1/secret/data/x` was changed by somebody else since it was read
            help: read it again, and decide anew
        "]],
        );
    }
    assert_eq!(kv.read("x").map(|version| version.version), Ok(1));
}

#[test]
fn an_engine_that_was_just_mounted_is_waited_for() {
    let (vault, admin) = with_kv();
    vault.upgrade(Duration::from_millis(400));
    admin.kv("secret").write("x", &fields([("k", "v")]), Cas::New).expect("it is ready soon");
    vault.upgrade(Duration::from_secs(60));
    let hasty = Options { timeout: Duration::from_millis(300), ..Options::new(vault.address()) };
    let hasty = Client::new(&hasty, token(vault.root_token())).expect("the address is good");
    let error = hasty.kv("secret").read("x").expect_err("it is not ready");
    check(
        &error,
        &vault,
        expect![[r"
            Unreachable: `HOST/v1/secret/data/x` is not ready yet: its engine was mounted only now
            help: try again in a moment
        "]],
    );
}

// The server.

#[test]
fn shares_open_a_sealed_server() {
    let options = VaultOptions { prepared: Prepared::Sealed, ..VaultOptions::default() };
    let vault = FakeVault::with(options).expect("it starts");
    let nobody = client(&vault, Login::Nobody);
    let health = nobody.sys().health().expect("it is an answer");
    assert_eq!((health.initialized, health.sealed), (true, true));
    let status = |progress, sealed| SealStatus {
        kind: "shamir".to_string(),
        initialized: true,
        sealed,
        threshold: 2,
        shares: 3,
        progress,
        migration: false,
    };
    assert_eq!(nobody.sys().seal_status(), Ok(status(0, true)));
    let error = root(&vault).kv("secret").read("x").expect_err("it is sealed");
    check(
        &error,
        &vault,
        expect![[r"
        Unreachable: `HOST/v1/secret/data/x` is sealed or not ready: Vault is sealed
        help: unseal it: `vault operator unseal`, once for each key share that it asks for
    "]],
    );
    let share = |at: usize| SecretText::from(vault.shares()[at].as_str());
    assert_eq!(nobody.sys().unseal(&share(0)), Ok(status(1, true)));
    // The same one again is no progress, and one wrong share spoils the attempt.
    assert_eq!(nobody.sys().unseal(&share(0)), Ok(status(1, true)));
    let wrong = SecretText::from("00".repeat(33));
    let error = nobody.sys().unseal(&wrong).expect_err("it is no share");
    assert!(error.kind == ErrorKind::Invalid && !error.message.contains(wrong.expose()), "{error}");
    assert_eq!(nobody.sys().unseal(&share(2)), Ok(status(1, true)));
    assert_eq!(nobody.sys().unseal(&share(1)), Ok(status(0, false)));
    assert!(!vault.sealed());
    all_known(&vault);
}

#[test]
fn an_empty_server_is_not_initialised() {
    let options = VaultOptions { prepared: Prepared::Empty, ..VaultOptions::default() };
    let vault = FakeVault::with(options).expect("it starts");
    let nobody = client(&vault, Login::Nobody);
    assert_eq!(nobody.sys().initialized(), Ok(false));
    assert_eq!(nobody.sys().health().map(|health| health.initialized), Ok(false));
}

#[test]
fn enabling_twice_changes_nothing() {
    let (vault, admin) = with_kv();
    let sys = admin.sys();
    assert_eq!(sys.enable_kv("secret"), Ok(Enabled::Already));
    assert_eq!(sys.enable_transit("transit"), Ok(Enabled::Now));
    assert_eq!(sys.enable_transit("transit/"), Ok(Enabled::Already));
    assert_eq!(sys.enable_approle("approle"), Ok(Enabled::Now));
    assert_eq!(sys.enable_approle("approle"), Ok(Enabled::Already));
    let error = sys.enable_transit("secret").expect_err("it is taken");
    assert_eq!(error.message, "`secret` is taken: `kv` version 2 is mounted there");
    assert_eq!(sys.mounts().expect("they are listed")["secret"].version, Some(2));
    assert_eq!(admin.transit("transit").key("unseal"), Ok(None));
    admin.transit("transit").create_key("unseal").expect("it is new");
    admin.transit("transit").create_key("unseal").expect("it stays");
    let key = admin.transit("transit").key("unseal").expect("it is there").expect("it is there");
    assert_eq!(
        (key.kind.as_str(), key.latest, key.exportable, key.deletion_allowed),
        ("aes256-gcm96", 1, false, false)
    );
    all_known(&vault);
}

// Who may do what.

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

// What can go wrong on the way.

#[test]
fn faults_say_where_and_what_to_type() {
    let (vault, admin) = with_kv();
    let error = admin.kv("kv").read("x").expect_err("nothing is mounted");
    check(
        &error,
        &vault,
        expect![[r"
        NoSuchSecret: `HOST/v1/kv/data/x` is below no mount
        help: look at the mount's spelling, or enable it: `vault secrets enable -path=kv kv-v2`
    "]],
    );
    assert_eq!(admin.kv("kv").list("").expect_err("nothing is mounted").kind, ErrorKind::NoSuchSecret);
    let error = admin.kv("secret").read("x").expect_err("it is not there");
    check(
        &error,
        &vault,
        expect![[r"
        NoSuchSecret: `HOST/v1/secret/data/x` does not exist
        help: -
    "]],
    );
    let error = client(&vault, token("hvs.wrong-canary")).sys().mounts().expect_err("nobody has it");
    assert!(error.kind == ErrorKind::Denied && !format!("{error:?}").contains("canary"), "{error}");
    let error = client(&vault, token("two\nlines-canary")).sys().mounts().expect_err("it is none");
    assert!(error.kind == ErrorKind::Invalid && !format!("{error:?}").contains("canary"), "{error}");
    assert!(!format!("{:?}", client(&vault, token("canary"))).contains("canary"));

    vault.delay(Duration::from_millis(900));
    let hasty = Options { timeout: Duration::from_millis(300), ..Options::new(vault.address()) };
    let started = Instant::now();
    let error = Client::new(&hasty, Login::Nobody).and_then(|client| client.sys().health()).expect_err("it is slow");
    assert!(started.elapsed() < Duration::from_millis(800));
    check(
        &error,
        &vault,
        expect![[r"
        Unreachable: `HOST/v1/sys/health` did not answer within 300 ms
        help: look whether the server runs and whether a firewall is in between
    "]],
    );
}

#[test]
fn a_wrong_address_is_told() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let health = |address: &str| {
        let options = Options { timeout: Duration::from_secs(3), ..Options::new(address) };
        Client::new(&options, Login::Nobody).and_then(|client| client.sys().health()).expect_err("it is wrong")
    };
    let error = health(&format!("http://{free}"));
    assert_eq!(error.message, format!("`{free}/v1/sys/health` refuses connections"));
    assert_eq!(health("http://nas.invalid.localhost.invalid:8200").kind, ErrorKind::Invalid);
    let error = health("https://nas.invalid:8200");
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    for address in ["nas:8200", "ftp://nas", "https://", "https://user:pass@nas", "https://nas/v1/", "https://na s"] {
        let error = health(address);
        assert!(error.kind == ErrorKind::Invalid && !error.message.contains("pass@"), "{address}: {error}");
    }
    let error = health("http://192.168.1.10:8200");
    assert_eq!(error.message, "`http://192.168.1.10:8200` would send tokens and secrets readable over the network");
    for loopback in ["http://localhost:1", "http://127.1.2.3:1", "http://[::1]:1"] {
        assert!(Client::new(&Options::new(loopback), Login::Nobody).is_ok(), "{loopback}");
    }
    let anywhere = Options { plain_http: PlainHttp::Anywhere, ..Options::new("http://192.168.1.10:8200") };
    assert!(Client::new(&anywhere, Login::Nobody).is_ok());
}

#[test]
fn a_token_is_not_carried_to_another_host() {
    let (vault, admin) = with_kv();
    let elsewhere = FakeVault::start().expect("it starts");
    vault.redirect(Some(&elsewhere.address()));
    let error = admin.sys().mounts().expect_err("it is another host");
    assert!(error.kind == ErrorKind::Unreachable && error.message.contains("sends on to another host"), "{error}");
    assert_eq!(elsewhere.requests(), Vec::<String>::new());
    vault.redirect(Some(&vault.address()));
    let error = admin.sys().mounts().expect_err("it goes in a circle");
    assert!(error.message.ends_with("sends on in a circle"), "{error}");
    vault.redirect(None);
    assert!(admin.sys().mounts().is_ok());
}

/// A certificate for 127.0.0.1 with its key, and the authority, as our own generators make them.
fn certificates() -> (String, String, String) {
    let specs = BTreeMap::from([
        ("ca".to_string(), Generator::x509_ca("test CA")),
        ("web".to_string(), Generator::x509("ca", vec!["127.0.0.1".to_string()])),
    ]);
    let mut nobody = |_: &str, _: &str| Ok(SecretText::from(""));
    let mut given = Given { existing: &|_| None, publics: &|_| BTreeMap::new(), prompt: &mut nobody };
    let made = generate::missing(&specs, &mut given, &mut rand::rng(), jiff::Timestamp::now()).expect("it can be made");
    let (web, ca) = (&made["web"], &made["ca"]);
    (web.public["chain"].clone(), web.private.expose().to_string(), ca.public["public"].clone())
}

#[test]
fn tls_is_checked_against_the_given_authority() {
    let (chain, key, ca) = certificates();
    let options = VaultOptions { tls: Some((chain, key)), ..VaultOptions::default() };
    let vault = FakeVault::with(options).expect("it starts");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ca_file = folder.path().join("ca.pem");
    fs::write(&ca_file, ca).expect("the folder is ours");
    let health = |options: &Options| Client::new(options, Login::Nobody).and_then(|client| client.sys().health());
    let trusting = Options { ca_file: Some(ca_file.clone()), ..Options::new(vault.address()) };
    assert_eq!(health(&trusting).map(|health| health.sealed), Ok(false));
    let trust = "help: name the file with its certificate authority, or correct the host in the address";
    let error = health(&Options::new(vault.address())).expect_err("nobody signed it");
    assert_eq!(error.help.as_deref().map(|help| format!("help: {help}")).as_deref(), Some(trust));
    check(
        &error,
        &vault,
        expect![[r"
        Unreachable: `HOST/v1/sys/health` has a certificate that is not trusted: nobody known signed it
        help: name the file with its certificate authority, or correct the host in the address
    "]],
    );
    let address = vault.address().replace("127.0.0.1", "localhost");
    let error = health(&Options { address, ..trusting.clone() }).expect_err("it is for an address");
    assert!(error.message.ends_with("has a certificate that is not trusted: it is for another name"), "{error}");
    let plain = vault.address().replace("https", "http");
    let error = health(&Options::new(plain)).expect_err("it speaks HTTPS");
    assert!(error.message.ends_with("speaks HTTPS only"), "{error}");
    let open = FakeVault::start().expect("it starts");
    let error =
        health(&Options { address: open.address().replace("http", "https"), ..trusting }).expect_err("it is plain");
    assert!(error.message.ends_with("does not speak TLS"), "{error}");
    for (content, kind) in [(None, ErrorKind::Io), (Some("nothing"), ErrorKind::Malformed)] {
        fs::remove_file(&ca_file).expect("it is there");
        if let Some(content) = content {
            fs::write(&ca_file, content).expect("the folder is ours");
        }
        let options = Options { ca_file: Some(ca_file.clone()), ..Options::new(vault.address()) };
        assert_eq!(health(&options).expect_err("it holds no certificate").kind, kind);
        fs::write(&ca_file, "").expect("the folder is ours");
    }
}

// One server opens another.

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

// The fake, judged by the official client.

fn run(command: &mut Command, what: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{what}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{what}:\n{}{}", text(&output.stdout), text(&output.stderr));
}

/// A Python with `hvac`, below the folder for what is built.
fn python_with_hvac() -> PathBuf {
    let build = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = build.join("hvac");
    let python = folder.join("bin/python");
    if !folder.join("ready").exists() {
        let what = "`python3 -m venv`: install the Debian package python3-venv";
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder), what);
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "hvac==2.4.0"];
        run(Command::new(&python).args(pip), "`pip install hvac==2.4.0` from PyPI");
        fs::write(folder.join("ready"), "").expect("the folder is ours");
    }
    python
}

#[test]
fn the_official_client_for_python_works_with_the_fake() {
    let python = python_with_hvac();
    let options = VaultOptions { prepared: Prepared::Empty, ..VaultOptions::default() };
    let vault = FakeVault::with(options).expect("it starts");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/secrets/vault_hvac.py");
    let mut command = Command::new(python);
    command.arg(script).arg(vault.address()).env_remove("VAULT_TOKEN").env_remove("VAULT_ADDR");
    run(&mut command, "hvac against the fake");
    // What hvac sends beyond what the server knows is its own affair, but it is not much.
    assert!(vault.ignored_fields().len() < 10, "{:?}", vault.ignored_fields());
}
