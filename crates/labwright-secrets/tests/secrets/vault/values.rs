//! Values and their versions.

use std::collections::BTreeMap;
use std::time::Duration;

use expect_test::expect;
use labwright_secrets::ErrorKind;
use labwright_secrets::vault::{Cas, Client, Options};

use super::{all_known, check, fields, token, with_kv};

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
