//! What can go wrong on the way, and what is said of it.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use expect_test::expect;
use labwright_secrets::generate::{self, Generator, Given};
use labwright_secrets::vault::{Client, Login, Options, PlainHttp};
use labwright_secrets::{ErrorKind, SecretText};
use labwright_testkit::fake_vault::{FakeVault, VaultOptions};

use super::{check, client, token, with_kv};

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
    let mut given = Given { existing: &|_| Ok(None), publics: &|_| Ok(BTreeMap::new()), prompt: &mut nobody };
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
