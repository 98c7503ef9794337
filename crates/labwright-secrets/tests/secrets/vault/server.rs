//! The server itself: opened, begun, set up.

use expect_test::expect;
use labwright_secrets::vault::{Enabled, Login, SealStatus};
use labwright_secrets::{ErrorKind, SecretText};
use labwright_testkit::fake_vault::{FakeVault, Prepared, VaultOptions};

use super::{all_known, check, client, root, with_kv};

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
