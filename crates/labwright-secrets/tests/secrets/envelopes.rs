//! What travels to hosts.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use expect_test::expect;
use labwright_secrets::envelope::{HostIdentity, open, seal};
use labwright_secrets::{ErrorKind, SecretText};

use crate::support::{folder, run, shown, ssh_key};

fn values() -> BTreeMap<String, SecretText> {
    [("db.password", "canary \"quoted\"\n\u{1}é"), ("empty", "")]
        .map(|(name, text)| (name.to_string(), text.into()))
        .into()
}

#[test]
fn a_host_opens_what_is_for_it() {
    let home = folder();
    let (path, public) = ssh_key(home.path(), "ssh_host_ed25519_key", &["-t", "ed25519"], "");
    let ssh = HostIdentity::ssh_host_key(&path).unwrap();
    assert!(public.starts_with(&ssh.recipient()));
    let age = HostIdentity::create_age_file(&home.path().join("host.key")).unwrap();
    for (recipient, key) in [(public.as_str(), &ssh), (&ssh.recipient(), &ssh), (&age.recipient(), &age)] {
        let sealed = seal(recipient, "home", "nas", &values()).unwrap();
        assert_eq!(open(&sealed, key, "home", "nas").unwrap(), values());
        assert!(!String::from_utf8_lossy(&sealed).contains("canary"));
    }
    assert!(
        open(&seal(&ssh.recipient(), "home", "nas", &BTreeMap::new()).unwrap(), &ssh, "home", "nas")
            .unwrap()
            .is_empty()
    );
}

#[test]
fn age_itself_opens_an_envelope() {
    let home = folder();
    let (path, public) = ssh_key(home.path(), "ssh_host_ed25519_key", &["-t", "ed25519"], "");
    let age_path = home.path().join("host.key");
    let age = HostIdentity::create_age_file(&age_path).unwrap();
    let file = home.path().join("envelope");
    for (recipient, key) in [(public, path), (age.recipient(), age_path)] {
        fs::write(&file, seal(&recipient, "home", "nas", &values()).unwrap()).unwrap();
        let clear = run(Command::new("age").arg("--decrypt").arg("-i").arg(key).arg(&file));
        let clear: serde_json::Value = serde_json::from_slice(&clear).unwrap();
        assert_eq!(clear["host"], "nas");
        assert_eq!(clear["values"]["db.password"], "canary \"quoted\"\n\u{1}é");
    }
}

#[test]
fn what_is_not_for_this_host_stays_shut() {
    let home = folder();
    let (path, public) = ssh_key(home.path(), "nas", &["-t", "ed25519"], "");
    let (other, _) = ssh_key(home.path(), "other", &["-t", "ed25519"], "");
    let nas = HostIdentity::ssh_host_key(&path).unwrap();
    let other = HostIdentity::ssh_host_key(&other).unwrap();
    let age = HostIdentity::create_age_file(&home.path().join("host.key")).unwrap();
    let sealed = seal(&public, "home", "nas", &values()).unwrap();
    for stranger in [&other, &age] {
        assert_eq!(open(&sealed, stranger, "home", "nas").unwrap_err().kind, ErrorKind::NoKey);
    }
    let mut out = shown(&open(&sealed, &other, "home", "nas").unwrap_err()).replace(&other.recipient(), "OTHER");
    out += &shown(&open(&sealed, &nas, "work", "nas").unwrap_err());
    out += &shown(&open(&sealed, &nas, "home", "web").unwrap_err());
    out += &shown(&open(b"nothing", &nas, "home", "nas").unwrap_err());
    let foreign =
        age::encrypt(&age.recipient().parse::<age::x25519::Recipient>().unwrap(), b"{\"canary\": 1}").unwrap();
    out += &shown(&open(&foreign, &age, "home", "nas").unwrap_err());
    let newer = b"{\"version\": 9, \"lab\": \"home\", \"host\": \"nas\", \"values\": {}}";
    let newer = age::encrypt(&age.recipient().parse::<age::x25519::Recipient>().unwrap(), newer).unwrap();
    out += &shown(&open(&newer, &age, "home", "nas").unwrap_err());
    let mut changed = sealed.clone();
    *changed.last_mut().unwrap() ^= 1;
    out += &shown(&open(&changed, &nas, "home", "nas").unwrap_err());
    expect![[r#"
        NoKey: failed to open the secrets for `nas`: they are not for this host's key `OTHER`
        hint: the host's key has changed since they were sealed: plan and apply again
        Tampered: failed to open the secrets for `nas`: they are for host `nas` of lab `home`
        hint: an envelope works only where it was sealed for; look who carried it here
        Tampered: failed to open the secrets for `web`: they are for host `nas` of lab `home`
        hint: an envelope works only where it was sealed for; look who carried it here
        Malformed: failed to open the secrets for `nas`: this is not an envelope, or a part of one
        hint: plan and apply again
        Malformed: failed to open the secrets for `nas`: their content is not known
        hint: use the same version of `labwright` on both sides
        Malformed: failed to open the secrets for `nas`: their version 9 is not known
        hint: use the same version of `labwright` on both sides
        Tampered: failed to open the secrets for `nas`: they were changed on the way
        hint: plan and apply again
    "#]]
    .assert_eq(&out);
    for cut in 0..sealed.len() {
        assert!(open(&sealed[..cut], &nas, "home", "nas").is_err(), "cut at {cut}");
    }
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(open(&changed, &nas, "home", "nas").is_err(), "changed at {at}");
    }
}

#[test]
fn host_keys_of_other_kinds_are_refused() {
    let home = folder();
    let (rsa, _) = ssh_key(home.path(), "rsa", &["-t", "rsa"], "");
    let (locked, _) = ssh_key(home.path(), "locked", &["-t", "ed25519"], "canary");
    let (ecdsa, _) = ssh_key(home.path(), "ecdsa", &["-t", "ecdsa"], "");
    let mut out = String::new();
    for path in [rsa, locked, ecdsa, home.path().join("missing"), home.path().join("locked.pub")] {
        out += &shown(&HostIdentity::ssh_host_key(&path).unwrap_err());
    }
    out += &shown(&HostIdentity::age_file(&home.path().join("locked")).unwrap_err());
    expect![[r#"
        Invalid: failed to use the host key `HOME/rsa`: it is not an ed25519 key
        hint: name the ed25519 host key: `/etc/ssh/ssh_host_ed25519_key`
        Invalid: failed to use the host key `HOME/locked`: it has a passphrase
        hint: name the ed25519 host key: `/etc/ssh/ssh_host_ed25519_key`
        Invalid: failed to use the host key `HOME/ecdsa`: it is not an ed25519 key
        hint: name the ed25519 host key: `/etc/ssh/ssh_host_ed25519_key`
        Io: failed to read the key `HOME/missing`: No such file or directory (os error 2)
        hint: name another key file, or make it readable for this user
        Invalid: failed to use the host key `HOME/locked.pub`: it is not an OpenSSH private key
        hint: name the ed25519 host key: `/etc/ssh/ssh_host_ed25519_key`
        Invalid: failed to use the host key `HOME/locked`: it has no age key
        hint: make one with `age-keygen`
    "#]]
    .assert_eq(&out.replace(&home.path().display().to_string(), "HOME"));
}

#[test]
fn a_host_key_is_made_once() {
    let home = folder();
    let path = home.path().join("host.key");
    let key = HostIdentity::create_age_file(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
    let again = HostIdentity::create_age_file(&path).unwrap_err();
    expect![[r#"
        Io: failed to write the host key `HOME/host.key`: File exists (os error 17)
        hint: a key that is there is kept; look at it before you remove it
    "#]]
    .assert_eq(&shown(&again).replace(&home.path().display().to_string(), "HOME"));
    assert_eq!(HostIdentity::age_file(&path).unwrap().recipient(), key.recipient());
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing else is left behind");
}
