//! Where keys come from.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use expect_test::expect;
use labwright_secrets::identity::{Identities, Sources};
use labwright_secrets::rules::Rule;
use labwright_secrets::store::Document;
use labwright_secrets::{ErrorKind, SecretText, recipient};

use crate::support::{Key, folder, now, shown, ssh_key};

/// A store for some recipients, in which `a` is `x`.
fn store(recipients: &[&str]) -> Document {
    let recipients: Vec<String> = recipients.iter().map(ToString::to_string).collect();
    let mut store = Document::create("s.yaml", &recipients, &Rule::default()).unwrap();
    store.set("a", &SecretText::from("x")).unwrap();
    Document::parse("s.yaml", store.to_text(now()).unwrap().as_bytes()).unwrap()
}

#[test]
fn keys_come_from_every_place() {
    let home = folder();
    let key = Key::new();
    let file = home.path().join("keys.txt");
    fs::write(&file, key.text.expose()).unwrap();
    let config = home.path().join("config");
    fs::create_dir_all(config.join("sops/age")).unwrap();
    fs::write(config.join("sops/age/keys.txt"), format!("# two\n{}\n{}", Key::new().text.expose(), key.text.expose()))
        .unwrap();
    let line = key.text.expose().lines().last().unwrap();
    for sources in [
        Sources { files: vec![file.clone()], ..Sources::default() },
        Sources { env_key_file: Some(file.clone()), ..Sources::default() },
        Sources { env_key: Some(SecretText::from(line)), ..Sources::default() },
        Sources {
            env_key: Some(SecretText::from(
                format!("{} {line}", Key::new().text.expose().lines().last().unwrap()).as_str(),
            )),
            ..Sources::default()
        },
        Sources { config_dir: Some(config), ..Sources::default() },
    ] {
        let opened = store(&[&key.recipient]).open(&Identities::load(&sources).unwrap()).unwrap();
        assert_eq!(opened.get("a").unwrap().expose(), "x");
    }
}

#[test]
fn ssh_keys_open_a_store() {
    let home = folder();
    for (name, options) in [("id_ed25519", &["-t", "ed25519"][..]), ("id_rsa", &["-t", "rsa", "-b", "2048"])] {
        let (path, public) = ssh_key(home.path(), name, options, "");
        let sources = Sources { ssh_keys: vec![path], ..Sources::default() };
        let keys = Identities::load(&sources).unwrap();
        assert_eq!(keys.recipients(), [recipient::normal(&public).unwrap()]);
        let document = store(&[&public]);
        assert!(!document.recipients()[0].contains("test@lab"));
        assert_eq!(document.open(&keys).unwrap().get("a").unwrap().expose(), "x");
    }
}

#[test]
fn a_passphrase_is_asked_for_once_and_only_if_needed() {
    let home = folder();
    let (path, public) = ssh_key(home.path(), "id_ed25519", &["-t", "ed25519"], "open sesame");
    let (other, _) = ssh_key(home.path(), "id_other", &["-t", "ed25519"], "never asked");
    let key = Key::new();
    let file = home.path().join("keys.txt");
    fs::write(&file, key.text.expose()).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let keys = |files: Vec<_>, answer: Option<&'static str>| {
        let asked = asked.clone();
        Identities::load(&Sources { files, ssh_keys: vec![other.clone(), path.clone()], ..Sources::default() })
            .unwrap()
            .with_passphrase(move |_| {
                asked.fetch_add(1, Ordering::SeqCst);
                answer.map(SecretText::from)
            })
    };
    let both = || store(&[&public, &key.recipient]);
    both().open(&keys(vec![file], Some("wrong"))).unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 0, "another key opens the store");

    let locked = keys(Vec::new(), Some("open sesame"));
    both().open(&locked).unwrap();
    both().open(&locked.clone()).unwrap();
    assert_eq!(
        asked.load(Ordering::SeqCst),
        1,
        "the answer is kept, and the key that is no recipient is not asked for"
    );

    let mut out = String::new();
    for answer in [Some("wrong"), None] {
        let error = both().open(&keys(Vec::new(), answer)).unwrap_err();
        out += &shown(&error).replace(&path.display().to_string(), "KEY");
    }
    expect![[r#"
        NoKey: failed to open `s.yaml`: no passphrase, or a wrong one, for `KEY`
        hint: try again, or give a key without a passphrase in `SOPS_AGE_KEY_FILE`
        NoKey: failed to open `s.yaml`: no passphrase, or a wrong one, for `KEY`
        hint: try again, or give a key without a passphrase in `SOPS_AGE_KEY_FILE`
    "#]]
    .assert_eq(&out);
}

/// What `age -p` makes of a key file.
fn locked(text: &str, passphrase: &str) -> Vec<u8> {
    let mut recipient = age::scrypt::Recipient::new(age::secrecy::SecretString::from(passphrase));
    recipient.set_work_factor(8);
    age::encrypt_and_armor(&recipient, text.as_bytes()).unwrap().into_bytes()
}

#[test]
fn a_key_file_under_a_passphrase_opens_a_store() {
    let home = folder();
    let key = Key::new();
    let file = home.path().join("keys.age");
    fs::write(&file, locked(key.text.expose(), "open sesame")).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let keys =
        Identities::load(&Sources { files: vec![file], ..Sources::default() }).unwrap().with_passphrase(move |path| {
            assert!(path.ends_with("keys.age"));
            // The first answer is wrong.
            let answer = if count.fetch_add(1, Ordering::SeqCst) == 0 { "wrong" } else { "open sesame" };
            Some(SecretText::from(answer))
        });
    assert_eq!(store(&[&key.recipient]).open(&keys).unwrap_err().kind, ErrorKind::NoKey);
    store(&[&key.recipient]).open(&keys).unwrap();
    store(&[&key.recipient]).open(&keys).unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[test]
fn keys_that_others_can_read_are_warned_about() {
    let home = folder();
    let file = home.path().join("keys.txt");
    fs::write(&file, Key::new().text.expose()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let sources = Sources { files: vec![file.clone()], ..Sources::default() };
    let warnings =
        Identities::load(&sources).unwrap().warnings().join("\n").replace(&file.display().to_string(), "FILE");
    expect!["`FILE` can be read by others (mode 0644): `chmod 600 FILE`"].assert_eq(&warnings);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(Identities::load(&sources).unwrap().warnings().is_empty());
}

#[test]
fn unusable_keys_say_why() {
    let home = folder();
    let (ecdsa, _) = ssh_key(home.path(), "id_ecdsa", &["-t", "ecdsa"], "");
    let (_, public) = ssh_key(home.path(), "id_ed25519", &["-t", "ed25519"], "");
    let key = Key::new();
    let secret = key.text.expose().lines().last().unwrap();
    let mut out = String::new();
    let cases: [(&str, &[u8]); 8] = [
        ("missing", b""),
        ("short", &secret.as_bytes()[..50]),
        ("plugin", b"AGE-PLUGIN-YUBIKEY-1CANARY\n"),
        ("pq", b"AGE-SECRET-KEY-PQ-1CANARY\n"),
        ("public", public.as_bytes()),
        ("binary", b"\xff\xfe"),
        ("pem", b"-----BEGIN OPENSSH PRIVATE KEY-----\ncanary\n-----END OPENSSH PRIVATE KEY-----\n"),
        (
            "sealed",
            &age::encrypt_and_armor(&key.recipient.parse::<age::x25519::Recipient>().unwrap(), b"canary")
                .unwrap()
                .into_bytes(),
        ),
    ];
    let mut files: Vec<_> = Vec::new();
    for (name, content) in cases {
        let path = home.path().join(name);
        if name != "missing" {
            fs::File::create(&path).unwrap().write_all(content).unwrap();
        }
        files.push(path);
    }
    files.push(ecdsa);
    for file in files {
        let error = Identities::load(&Sources { files: vec![file.clone()], ..Sources::default() }).unwrap_err();
        out += &shown(&error).replace(&home.path().display().to_string(), "HOME");
        // The same file at a default place is passed over.
        if file.exists() {
            let keys = Identities::load(&Sources { ssh_keys: vec![file], ..Sources::default() }).unwrap();
            assert!(!keys.warnings().is_empty());
        }
    }
    assert!(!out.contains(&secret[..50]) && !out.to_lowercase().contains("canary"));
    expect![[r#"
        Io: failed to read the key `HOME/missing`: No such file or directory (os error 2)
        hint: name another key file, or make it readable for this user
        Invalid: failed to read the key `HOME/short`: line 1 is not an age key
        hint: a key starts with `AGE-SECRET-KEY-1`; make one with `age-keygen`
        Invalid: failed to read the key `HOME/plugin`: line 1 is a key of an age plugin
        hint: plugins are not run here; use a plain age key or an SSH key
        Invalid: failed to read the key `HOME/pq`: line 1 is a post-quantum key
        hint: this kind is not known here yet; make a plain one: `age-keygen`
        Invalid: failed to read the key `HOME/public`: line 1 is a public key
        hint: name the private key's file
        Invalid: failed to read the key `HOME/binary`: it is not text
        hint: name the private key's file
        Invalid: failed to read the key `HOME/pem`: it is not an OpenSSH private key
        hint: name a key that `ssh-keygen -t ed25519` made
        Invalid: failed to read the key `HOME/sealed`: it is encrypted, and not with a passphrase
        hint: decrypt it to a file with `age -d -i KEY FILE`, or protect it with `age -p`
        Invalid: failed to read the key `HOME/id_ecdsa`: age cannot use this kind of SSH key
        hint: use an ed25519 or RSA key (`ssh-keygen -t ed25519`), not one on a token and none of the old PEM kind
    "#]]
    .assert_eq(&out);
}

#[test]
fn recipients_that_make_no_sense_say_why() {
    let home = folder();
    let (_, ecdsa) = ssh_key(home.path(), "id_ecdsa", &["-t", "ecdsa"], "");
    let key = Key::new();
    let private = key.text.expose().lines().last().unwrap();
    let good = "age1se5ghfycr4n8kcwc3qwf234ymvmr2lex2a99wh8gpfx97glwt9hqch4569";
    let mut out = String::new();
    for text in [
        "",
        "bob",
        &good[..20],
        private,
        "ssh-ed25519 AAAA",
        &ecdsa,
        "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
    ] {
        out += &shown(&recipient::normal(text).unwrap_err()).replace(ecdsa.split(' ').nth(1).unwrap(), "ECDSA");
    }
    assert!(!out.contains(private));
    assert_eq!(recipient::normal(good).unwrap(), good);
    expect![[r#"
        Invalid: failed to encrypt for ``: it is neither an age key nor an SSH key
        hint: give `age1…` or `ssh-ed25519 …`
        Invalid: failed to encrypt for `bob`: it is neither an age key nor an SSH key
        hint: give `age1…` or `ssh-ed25519 …`
        Invalid: failed to encrypt for `age1se5ghfycr4n8kcwc`: the age key is cut off or misspelt
        hint: copy the whole key; `age-keygen -y FILE` shows it
        Invalid: failed to encrypt for `…`: it is a private key
        hint: give the public one: `age-keygen -y FILE`, or the `.pub` file of an SSH key
        Invalid: failed to encrypt for `ssh-ed25519 AAAA`: the SSH key is cut off or misspelt
        hint: copy the `.pub` file's whole line
        Invalid: failed to encrypt for `ecdsa-sha2-nistp256 ECDSA`: age cannot use this kind of SSH key
        hint: use an ed25519 key: `ssh-keygen -t ed25519`
        Invalid: failed to encrypt for `age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t`: the key is cut off, misspelt, or one of an age plugin
        hint: copy the whole key; plugins are not run here
    "#]].assert_eq(&out);
    let error = Document::create("s.yaml", &[], &Rule::default()).unwrap_err();
    expect![[r#"
        Invalid: failed to encrypt for nobody: no recipient is given
        hint: give at least one `age1…` or `ssh-ed25519 …` key
    "#]]
    .assert_eq(&shown(&error));
}
