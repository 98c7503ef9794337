//! Generators, judged by the programs that will read what they make.
//! Needs `ssh-keygen` (Debian: openssh-client), `openssl` (openssl), `wg` (wireguard-tools), `htpasswd` (apache2-utils),
//! `age-keygen` (age).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use expect_test::{Expect, expect};
use jiff::{Timestamp, ToSpan as _};
use labwright_secrets::generate::{self, Alphabet, Generator, Given, Made};
use labwright_secrets::{ErrorKind, SecretError, SecretText};
use proptest::prelude::*;
use rand::SeedableRng as _;

type Specs = BTreeMap<String, Generator>;

/// What is stored, as the caller of the generators keeps it.
#[derive(Default)]
struct Store(BTreeMap<String, Made>);

impl Store {
    fn given<T>(&self, act: impl FnOnce(&mut Given<'_>) -> T) -> T {
        let existing = |name: &str| Ok(self.0.get(name).map(|made| made.private.clone()));
        let publics = |name: &str| Ok(self.0.get(name).map(|made| made.public.clone()).unwrap_or_default());
        let mut prompt = |name: &str, message: &str| Ok(SecretText::new(format!("{name}: {message}")));
        act(&mut Given { existing: &existing, publics: &publics, prompt: &mut prompt })
    }

    fn missing(&self, specs: &Specs) -> Result<BTreeMap<String, Made>, SecretError> {
        self.given(|given| generate::missing(specs, given, &mut rand::rng(), Timestamp::now()))
    }

    fn rotate(&self, specs: &Specs, names: &[&str]) -> Result<Vec<(String, Made)>, SecretError> {
        self.given(|given| generate::rotate(specs, names, given, &mut rand::rng(), Timestamp::now()))
    }

    fn filled(specs: &Specs) -> Store {
        Store(Store::default().missing(specs).expect("everything can be made"))
    }

    fn private(&self, name: &str) -> &str {
        self.0[name].private.expose()
    }

    fn public(&self, name: &str) -> &str {
        &self.0[name].public["public"]
    }
}

fn specs<const N: usize>(all: [(&str, Generator); N]) -> Specs {
    all.into_iter().map(|(name, spec)| (name.to_string(), spec)).collect()
}

fn one(spec: Generator) -> Made {
    Store::filled(&specs([("it", spec)])).0.remove("it").expect("it was made")
}

fn refused(spec: Generator) -> SecretError {
    Store::default().missing(&specs([("it", spec)])).expect_err("it makes no sense")
}

fn check_refusal(spec: Generator, expect: Expect) {
    let error = refused(spec);
    assert_eq!(error.kind, ErrorKind::Invalid);
    expect.assert_eq(&format!("{error}\nhelp: {}\n", error.help.as_deref().expect("it says what to type")));
}

/// Runs a program with this on its standard input; what it printed, or why it failed.
fn tool(package: &str, program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("`{program}` is missing, install the Debian package {package}: {error}"));
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stdout) + &text(&output.stderr)),
    }
}

fn openssl(arguments: &[&str], input: &str) -> Result<String, String> {
    tool("openssl", "openssl", arguments, input)
}

fn file(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("the folder is ours");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("the file is ours");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("plain names")
}

// Text.

#[test]
fn a_password_has_its_length_and_alphabet() {
    let default = one(Generator::default());
    assert_eq!(default.private.expose().len(), 32);
    assert!(default.private.expose().bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert!(default.public.is_empty());
    assert_ne!(default, one(Generator::default()));
    assert!(!format!("{default:?}").contains(default.private.expose()));
}

#[test]
fn passwords_are_uniform() {
    let alphabet = Alphabet::Custom("abcdefghijk".to_string());
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    for _ in 0..250 {
        let made = one(Generator::Password { length: 440, alphabet: alphabet.clone() });
        made.private.expose().chars().for_each(|c| *counts.entry(c).or_default() += 1);
    }
    assert_eq!(counts.len(), 11);
    // 10,000 expected of each, with a standard deviation below 100: six of them are one in a billion.
    for (c, count) in counts {
        assert!((9_400..=10_600).contains(&count), "`{c}` came {count} times, not about 10,000 times");
    }
}

#[test]
fn symbols_never_lead_and_need_no_quotes_in_a_shell() {
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        let made = one(Generator::Password { length: 40, alphabet: Alphabet::Symbols });
        let password = made.private.expose();
        assert!(password.starts_with(|c: char| c.is_ascii_alphanumeric()));
        seen.extend(password.chars().filter(|c| !c.is_ascii_alphanumeric()));
        let printed = tool("dash", "sh", &["-s"], &format!("printf %s x/{password}")).expect("it needs no quotes");
        assert_eq!(printed, format!("x/{password}"));
    }
    assert_eq!(seen.into_iter().collect::<String>(), "+-.=_");
}

proptest! {
    #[test]
    fn every_character_is_of_the_alphabet(characters in "\\PC{2,40}", length in 64usize..200, seed: u64) {
        let distinct: BTreeSet<char> = characters.chars().collect();
        prop_assume!(distinct.len() > 1);
        let all = specs([("it", Generator::Password { length, alphabet: Alphabet::Custom(characters) })]);
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        let made = Store::default().given(|given| generate::missing(&all, given, &mut rng, Timestamp::UNIX_EPOCH));
        let made = made.expect("64 characters out of two are enough");
        let password = made["it"].private.expose();
        prop_assert_eq!(password.chars().count(), length);
        prop_assert!(password.chars().all(|c| distinct.contains(&c)));
    }
}

#[test]
fn what_is_easy_to_guess_is_refused() {
    let password = |length, alphabet| Generator::Password { length, alphabet };
    check_refusal(
        password(10, Alphabet::Alphanumeric),
        expect![[r#"
            make secret `it`: 10 characters out of 62 are 59 bits of entropy, at least 64 are needed
            help: write `length: 11` or more
        "#]],
    );
    check_refusal(
        password(19, Alphabet::Digits),
        expect![[r#"
            make secret `it`: 19 characters out of 10 are 63 bits of entropy, at least 64 are needed
            help: write `length: 20` or more
        "#]],
    );
    check_refusal(
        password(0, Alphabet::Symbols),
        expect![[r#"
            make secret `it`: 0 characters out of 67 are 0 bits of entropy, at least 64 are needed
            help: write `length: 11` or more
        "#]],
    );
    check_refusal(
        password(99, Alphabet::Custom("aaaa".to_string())),
        expect![[r#"
            make secret `it`: alphabet has fewer than two different characters
            help: leave `alphabet` out for letters and digits
        "#]],
    );
    check_refusal(
        password(99, Alphabet::Custom("ab\n".to_string())),
        expect![[r#"
            make secret `it`: alphabet has a control character, U+000A
            help: use characters that can be typed
        "#]],
    );
    check_refusal(
        Generator::Hex { bytes: 7 },
        expect![[r#"
            make secret `it`: 7 bytes are 56 bits of entropy, at least 64 are needed
            help: write `bytes: 8` or more; 32 is usual
        "#]],
    );
    one(password(11, Alphabet::Alphanumeric));
    one(password(64, Alphabet::Custom("ab".to_string())));
    for senseless in [
        password(5000, Alphabet::Digits),
        Generator::Base64 { bytes: 1 << 30, url_safe: true },
        Generator::Bcrypt { of: "it".to_string(), cost: 4 },
        Generator::x509_ca(""),
        Generator::X509Ca { common_name: "home".to_string(), days: 0 },
        Generator::x509("it", Vec::new()),
        Generator::x509("it", vec!["has space".to_string()]),
        Generator::x509("it", vec!["a.*.home".to_string()]),
        Generator::SshKey { comment: "two\nlines".to_string() },
        Generator::Htpasswd { user: "a:b".to_string(), of: "it".to_string() },
    ] {
        let error = senseless.check().expect_err("it makes no sense");
        assert!(error.kind == ErrorKind::Invalid && error.help.is_some(), "{error}");
    }
}

#[test]
fn bytes_come_in_their_encodings() {
    let hex = one(Generator::hex());
    assert_eq!(hex.private.expose().len(), 64);
    assert!(hex.private.expose().bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    let base64 = one(Generator::base64());
    assert_eq!(base64.private.expose().len(), 44);
    assert_eq!(openssl(&["base64", "-d", "-A"], base64.private.expose()).map(|_| ()), Ok(()));
    for _ in 0..50 {
        let url = one(Generator::Base64 { bytes: 32, url_safe: true });
        assert_eq!(url.private.expose().len(), 43);
        assert!(url.private.expose().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    }
    let uuid = one(Generator::Uuid).private;
    let uuid = uuid::Uuid::parse_str(uuid.expose()).expect("it is a UUID");
    assert_eq!((uuid.get_version_num(), uuid.get_variant()), (4, uuid::Variant::RFC4122));
}

#[test]
fn a_person_is_asked_for_what_cannot_be_made() {
    let made = one(Generator::Prompt { message: "token of the registrar".to_string() });
    assert_eq!(made.private.expose(), "it: token of the registrar");
    let mut silent = |_: &str, _: &str| Ok(SecretText::from(""));
    let mut given = Given { existing: &|_| Ok(None), publics: &|_| Ok(BTreeMap::new()), prompt: &mut silent };
    let all = specs([("it", Generator::Prompt { message: String::new() })]);
    let error = generate::missing(&all, &mut given, &mut rand::rng(), Timestamp::now()).expect_err("it is empty");
    assert_eq!(error.message, "make secret `it`: nothing was entered");
}

// Keys.

#[test]
fn ssh_keygen_reads_the_key() {
    let made = one(Generator::SshKey { comment: "backup@nas".to_string() });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = file(folder.path(), "key", made.private.expose());
    let public = tool("openssh-client", "ssh-keygen", &["-y", "-f", text(&key)], "").expect("it is a key");
    assert_eq!(public.trim_end(), made.public["public"]);
    assert!(made.public["public"].starts_with("ssh-ed25519 AAAA") && made.public["public"].ends_with(" backup@nas"));
    let listed = tool("openssh-client", "ssh-keygen", &["-l", "-f", text(&key)], "").expect("it is a key");
    assert!(listed.starts_with("256 SHA256:") && listed.trim_end().ends_with("(ED25519)"), "{listed}");
}

#[test]
fn a_key_that_ssh_keygen_made_gives_its_public_half() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for kind in ["ed25519", "rsa"] {
        let path = folder.path().join(kind);
        let arguments = ["-q", "-t", kind, "-N", "", "-C", "old key", "-f", text(&path)];
        tool("openssh-client", "ssh-keygen", &arguments, "").expect("it makes keys");
        let private = SecretText::new(std::fs::read_to_string(&path).expect("it was written"));
        let store = Store(BTreeMap::from([("it".to_string(), Made { private, public: BTreeMap::new() })]));
        let made = store.missing(&specs([("it", Generator::SshKey { comment: String::new() })])).expect("it is a key");
        let public = std::fs::read_to_string(path.with_extension("pub")).expect("it was written");
        assert_eq!(made["it"].public["public"], public.trim_end());
        assert_eq!(made["it"].private.expose(), store.private("it"));
    }
}

#[test]
fn wg_prints_the_same_public_key() {
    for _ in 0..20 {
        let made = one(Generator::WireGuard);
        let public = tool("wireguard-tools", "wg", &["pubkey"], made.private.expose()).expect("it is a key");
        assert_eq!(public.trim_end(), made.public["public"]);
        let mut bytes = base64::engine::general_purpose::STANDARD.decode(made.private.expose()).expect("it is base64");
        let clamped = bytes.clone();
        (bytes[0], bytes[31]) = (bytes[0] & 0xf8, bytes[31] & 0x7f | 0x40);
        assert_eq!(bytes, clamped);
    }
    let private = tool("wireguard-tools", "wg", &["genkey"], "").expect("it makes keys");
    let kept = Made { private: SecretText::from(private.as_str()), public: BTreeMap::new() };
    let made = Store(BTreeMap::from([("it".to_string(), kept)])).missing(&specs([("it", Generator::WireGuard)]));
    let public = tool("wireguard-tools", "wg", &["pubkey"], &private).expect("it is a key");
    assert_eq!(made.expect("it is a key")["it"].public["public"], public.trim_end());
}

#[test]
fn age_keygen_prints_the_same_recipient() {
    let made = one(Generator::AgeKey);
    let recipient = tool("age", "age-keygen", &["-y"], made.private.expose()).expect("it is an identity");
    assert_eq!(recipient.trim_end(), made.public["public"]);
    let identity = tool("age", "age-keygen", &[], "").expect("it makes identities");
    let kept = Made { private: SecretText::from(identity.as_str()), public: BTreeMap::new() };
    let made = Store(BTreeMap::from([("it".to_string(), kept)])).missing(&specs([("it", Generator::AgeKey)]));
    let recipient = tool("age", "age-keygen", &["-y"], &identity).expect("it is an identity");
    assert_eq!(made.expect("it is an identity")["it"].public["public"], recipient.trim_end());
}

#[test]
fn a_stored_value_of_the_wrong_kind_is_told_not_replaced() {
    let kept = Made { private: SecretText::from("hunter2"), public: BTreeMap::new() };
    let store = Store(BTreeMap::from([("it".to_string(), kept)]));
    let ssh = Generator::SshKey { comment: String::new() };
    for spec in [Generator::WireGuard, Generator::AgeKey, ssh, Generator::x509_ca("home")] {
        let error = store.missing(&specs([("it", spec)])).expect_err("it is no key");
        assert_eq!(error.kind, ErrorKind::Malformed);
        assert!(error.message.starts_with("make secret `it`: ") && !error.message.contains("hunter2"), "{error}");
    }
}

// Hashes.

#[test]
fn htpasswd_accepts_the_password() {
    let of = || "password".to_string();
    let store = Store::filled(&specs([
        ("password", Generator::default()),
        ("line", Generator::Htpasswd { user: "ana".to_string(), of: of() }),
        ("hash", Generator::Bcrypt { of: of(), cost: 10 }),
    ]));
    assert!(store.private("line").starts_with("ana:$2y$12$"));
    assert!(store.private("hash").starts_with("$2b$10$"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lines = format!("{}\nben:{}\n", store.private("line"), store.private("hash"));
    let lines = file(folder.path(), "htpasswd", &lines);
    for user in ["ana", "ben"] {
        let verify = |password| tool("apache2-utils", "htpasswd", &["-vb", text(&lines), user, password], "");
        assert_eq!(verify(store.private("password")).map(|_| ()), Ok(()));
        assert!(verify("wrong").is_err());
    }
}

#[test]
fn bcrypt_does_not_cut_a_long_password() {
    let error = Store::default()
        .missing(&specs([
            ("hash", Generator::Bcrypt { of: "password".to_string(), cost: 10 }),
            ("password", Generator::Password { length: 73, alphabet: Alphabet::Digits }),
        ]))
        .expect_err("it is too long");
    assert_eq!(error.message, "make secret `hash`: value to hash is longer than the 72 bytes that bcrypt can take");
}

// Certificates.

fn web() -> Specs {
    let names = ["nas.home.arpa", "*.nas.home.arpa", "192.168.1.10", "fd00::10"].map(str::to_string).to_vec();
    specs([
        ("ca", Generator::x509_ca("Homelab CA")),
        ("web", Generator::X509 { ca: "ca".to_string(), names, days: 90, client: false }),
        ("agent", Generator::X509 { ca: "ca".to_string(), names: vec!["agent".to_string()], days: 90, client: true }),
    ])
}

fn verify(folder: &Path, store: &Store, name: &str, more: &[&str]) -> Result<String, String> {
    let ca = file(folder, "ca.pem", store.public("ca"));
    let certificate = file(folder, "it.pem", store.public(name));
    openssl(&[&["verify", "-x509_strict", "-CAfile", text(&ca)], more, &[text(&certificate)]].concat(), "")
}

#[test]
fn openssl_verifies_the_certificates_for_their_names_only() {
    let store = Store::filled(&web());
    let folder = tempfile::tempdir().expect("a temporary folder");
    for names in [
        ["-verify_hostname", "nas.home.arpa"],
        ["-verify_hostname", "photos.nas.home.arpa"],
        ["-verify_ip", "192.168.1.10"],
        ["-verify_ip", "fd00::10"],
        ["-purpose", "sslserver"],
    ] {
        assert_eq!(verify(folder.path(), &store, "web", &names).map(|_| ()), Ok(()), "{names:?}");
    }
    for names in [
        ["-verify_hostname", "home.arpa"],
        ["-verify_ip", "192.168.1.11"],
        ["-purpose", "sslclient"],
        // Ninety days from now are over.
        ["-attime", &(Timestamp::now() + (91 * 24).hours()).as_second().to_string()],
    ] {
        assert!(verify(folder.path(), &store, "web", &names).is_err(), "{names:?}");
    }
    assert_eq!(verify(folder.path(), &store, "agent", &["-purpose", "sslclient"]).map(|_| ()), Ok(()));
    let key = openssl(&["pkey", "-pubout"], store.private("web")).expect("it is a key");
    assert_eq!(openssl(&["x509", "-noout", "-pubkey"], store.public("web")), Ok(key));
    let chain = &store.0["web"].public["chain"];
    assert_eq!(*chain, format!("{}{}", store.public("web"), store.public("ca")));
}

#[test]
fn openssl_reads_the_authority_as_one_that_signs_hosts_only() {
    let store = Store::filled(&web());
    let shown = openssl(&["x509", "-noout", "-text"], store.public("ca")).expect("it is a certificate");
    for line in ["CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "Subject: CN = Homelab CA", "prime256v1"] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
    let shown = openssl(&["x509", "-noout", "-text"], store.public("web")).expect("it is a certificate");
    for line in ["CA:FALSE", "Digital Signature", "TLS Web Server Authentication", "X509v3 Authority Key Identifier"] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
    assert!(!shown.contains("Client Authentication"));
    let serial = |name| openssl(&["x509", "-noout", "-serial"], store.public(name)).expect("it has one");
    assert!(serial("web") != serial("agent") && serial("web").trim_end().len() == "serial=".len() + 32);
}

#[test]
fn expiry_is_read_and_never_beyond_the_authority() {
    let all = specs([
        ("ca", Generator::X509Ca { common_name: "short".to_string(), days: 10 }),
        ("web", Generator::x509("ca", vec!["nas".to_string()])),
    ]);
    let now: Timestamp = "2049-12-30T12:00:00Z".parse().expect("a time");
    let store = Store::default();
    let made = store.given(|given| generate::missing(&all, given, &mut rand::rng(), now)).expect("it can be made");
    for name in ["ca", "web"] {
        // Behind 2049 certificates write years with four digits.
        let until = generate::expires(&made[name].public["public"]).expect("it is a certificate");
        assert_eq!(until, now + (10 * 24).hours());
        let shown = openssl(&["x509", "-noout", "-dates"], &made[name].public["public"]).expect("it is one");
        assert_eq!(shown, "notBefore=Dec 30 11:00:00 2049 GMT\nnotAfter=Jan  9 12:00:00 2050 GMT\n");
    }
    let store = Store(made.into_iter().filter(|(name, _)| name == "ca").collect());
    let late = now + (11 * 24).hours();
    let error = store.given(|given| generate::missing(&all, given, &mut rand::rng(), late)).expect_err("it is over");
    assert_eq!(error.message, "make secret `web`: authority `ca` cannot sign: its certificate has expired");
    assert_eq!(generate::expires("x").expect_err("it is none").kind, ErrorKind::Malformed);
}

#[test]
fn a_lost_certificate_is_issued_again_for_its_key() {
    let mut store = Store::filled(&web());
    let old = store.public("web").to_string();
    for name in ["ca", "web"] {
        store.0.get_mut(name).expect("it was made").public.clear();
    }
    let made = store.missing(&web()).expect("the keys are there");
    assert_eq!(made.keys().collect::<Vec<_>>(), ["ca", "web"]);
    assert_eq!(made["web"].private, store.0["web"].private);
    store.0.extend(made);
    let folder = tempfile::tempdir().expect("a temporary folder");
    verify(folder.path(), &store, "web", &["-verify_hostname", "nas.home.arpa"]).expect("they belong together");
    // What was signed before the loss is good under the new certificate of the same authority.
    store.0.get_mut("web").expect("it is there").public.insert("public".to_string(), old);
    verify(folder.path(), &store, "web", &[]).expect("it is the same authority");
}

#[test]
fn an_authority_whose_parts_do_not_belong_together_signs_nothing() {
    let mut store = Store::filled(&web());
    store.0.remove("web");
    let mut renamed = web();
    renamed.insert("ca".to_string(), Generator::x509_ca("Other CA"));
    let error = store.missing(&renamed).expect_err("the names differ");
    expect![[r#"
        make secret `web`: authority `ca` cannot sign: its certificate is for another common name
        help: make it and all that it signed again: `labwright secret rotate ca`
    "#]]
    .assert_eq(&format!("{error}\nhelp: {}\n", error.help.as_deref().expect("it says what to type")));
}

// The graph.

fn check_order(all: Specs, expect: Expect) {
    let told = match generate::order(&all) {
        Ok(names) => names.join(" "),
        Err(errors) => errors.iter().map(SecretError::to_string).collect::<Vec<_>>().join("\n"),
    };
    expect.assert_eq(&told);
}

#[test]
fn sources_come_first_and_every_fault_is_told() {
    let hash = |of: &str| Generator::bcrypt(of);
    check_order(
        specs([("a", hash("z")), ("b", hash("a")), ("m", Generator::Uuid), ("z", Generator::Uuid)]),
        expect!["z a b m"],
    );
    check_order(
        specs([
            ("a", hash("b")),
            ("b", hash("c")),
            ("c", hash("a")),
            ("d", hash("d")),
            ("e", hash("gone")),
            ("f", hash("a")),
            ("g", Generator::x509("e", vec!["nas".to_string()])),
            ("x", hash("y")),
            ("y", hash("x")),
        ]),
        expect![[r"
            secret `e` is made from `gone`, which is not a secret of this lab
            secret `g` is to be signed by `e`, which is not a certificate authority
            secrets are made from each other: `a` from `b` from `c` from `a`
            secret `d` is made from itself
            secrets are made from each other: `x` from `y` from `x`"]],
    );
}

fn household() -> Specs {
    let mut all = web();
    all.extend(specs([
        ("password", Generator::default()),
        ("line", Generator::Htpasswd { user: "ana".to_string(), of: "password".to_string() }),
        ("key", Generator::WireGuard),
    ]));
    all
}

#[test]
fn what_is_in_order_is_left_alone() {
    let mut store = Store::filled(&household());
    assert_eq!(store.missing(&household()), Ok(BTreeMap::new()));
    // A lost public half is filled in, a missing hash is made for the password that is there.
    store.0.get_mut("key").expect("it was made").public.clear();
    let old = store.0.remove("line").expect("it was made");
    let made = store.missing(&household()).expect("it can be made");
    assert_eq!(made.keys().collect::<Vec<_>>(), ["key", "line"]);
    assert_eq!(made["key"].private, store.0["key"].private);
    assert_ne!(made["line"], old);
}

#[test]
fn what_is_derived_from_something_new_is_made_again() {
    let mut store = Store::filled(&household());
    store.0.remove("ca");
    let made = store.missing(&household()).expect("it can be made");
    assert_eq!(made.keys().collect::<Vec<_>>(), ["agent", "ca", "web"]);
    store.0.extend(made);
    let folder = tempfile::tempdir().expect("a temporary folder");
    verify(folder.path(), &store, "web", &[]).expect("the new authority signed it");
}

#[test]
fn rotation_takes_along_what_is_derived() {
    let store = Store::filled(&household());
    let names = |rotated: Vec<(String, Made)>| rotated.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let rotated = store.rotate(&household(), &["password"]).expect("it can be made");
    assert_ne!(rotated[0].1, store.0["password"]);
    assert_eq!(names(rotated), ["password", "line"]);
    assert_eq!(names(store.rotate(&household(), &["line"]).expect("it can be made")), ["line"]);
    assert_eq!(
        names(store.rotate(&household(), &["key", "ca"]).expect("it can be made")),
        ["ca", "agent", "key", "web"]
    );
    assert_eq!(generate::dependents(&household(), &["ca"]), Ok(vec!["ca", "agent", "web"]));
    let error = store.rotate(&household(), &["gone"]).expect_err("it is not there");
    assert_eq!(error.kind, ErrorKind::NoSuchSecret);
    let error = Store::default().rotate(&household(), &["line"]).expect_err("it has no password");
    assert_eq!(error.message, "make secret `line`: `password`, which it is made from, does not exist yet");
}

#[test]
fn a_value_that_cannot_be_read_is_not_one_that_is_not_there() {
    let all = specs([("password", Generator::default()), ("hash", Generator::bcrypt("password"))]);
    let fault = || SecretError::new(ErrorKind::Denied, "read `password`: permission denied");
    let mut nobody = |_: &str, _: &str| Err(fault());
    let unreadable = |name: &str| if name == "password" { Err(fault()) } else { Ok(None) };
    let none = |_: &str| Ok(BTreeMap::new());
    let mut given = Given { existing: &unreadable, publics: &none, prompt: &mut nobody };
    let (mut rng, now) = (rand::rng(), Timestamp::now());
    assert_eq!(generate::missing(&all, &mut given, &mut rng, now).unwrap_err(), fault());
    // What is made from it is not made from another one either.
    assert_eq!(generate::rotate(&all, &["hash"], &mut given, &mut rng, now).unwrap_err(), fault());
    // And a public half that cannot be read is not made anew.
    let there = |_: &str| Ok(Some(SecretText::new("kept".to_string())));
    let unreadable = |_: &str| Err(fault());
    let mut given = Given { existing: &there, publics: &unreadable, prompt: &mut nobody };
    assert_eq!(generate::missing(&all, &mut given, &mut rng, now).unwrap_err(), fault());
}
