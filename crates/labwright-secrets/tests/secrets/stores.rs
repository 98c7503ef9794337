//! Reading and writing a store by the crate alone.

use expect_test::expect;
use labwright_secrets::rules::{Rule, Selection};
use labwright_secrets::store::{Document, Rekey};
use labwright_secrets::{ErrorKind, SecretText};

use crate::support::{Key, now, open, sealed, sealed_by, shown, text_of};

const PLAIN: &str = r#"# The lab's passwords.
db:
  password: hunter2
  port: 5432
  ratio: 0.5
  whole: 3.0
  tls: true
  none: null
  empty: ""
  users: # who may log in
    - alice
    - "007"
  key: |
    -----BEGIN KEY-----
    AAAA
    -----END KEY-----
  host_unencrypted: db-01
  count_unencrypted: 0x10
"#;

#[test]
fn values_keep_their_types_and_texts() {
    let key = Key::new();
    let text = sealed(&key, "s.yaml", PLAIN);
    let store = open(&key, "s.yaml", &text).unwrap();
    let all: Vec<String> =
        store.all().unwrap().iter().map(|(name, text)| format!("{name} = {:?}\n", text.expose())).collect();
    expect![[r#"
        db.count_unencrypted = "16"
        db.empty = ""
        db.host_unencrypted = "db-01"
        db.key = "-----BEGIN KEY-----\nAAAA\n-----END KEY-----\n"
        db.password = "hunter2"
        db.port = "5432"
        db.ratio = "0.5"
        db.tls = "true"
        db.users.0 = "alice"
        db.users.1 = "007"
        db.whole = "3.0"
    "#]]
    .assert_eq(&all.concat());
    let types: Vec<&str> = text.lines().filter_map(|line| Some(line.rsplit_once("type:")?.1)).collect();
    assert_eq!(
        types,
        ["comment]", "str]", "int]", "float]", "float]", "bool]", "comment]", "str]", "str]", "str]", "str]"]
    );
    for word in ["hunter2", "5432", "alice", "BEGIN KEY", "who may"] {
        assert!(!text.contains(word), "{word} stands in the file");
    }
    assert!(text.contains("host_unencrypted: db-01") && text.contains("count_unencrypted: 0x10"));
}

#[test]
fn an_editor_sees_the_document_and_gives_it_back() {
    let key = Key::new();
    let text = sealed(&key, "s.yaml", PLAIN);
    let mut store = open(&key, "s.yaml", &text).unwrap();
    assert_eq!(store.plain_text().unwrap().expose(), PLAIN);
    store.replace_plain(&SecretText::from(PLAIN)).unwrap();
    assert!(!store.changed(), "giving back the same text changed the file");
}

#[test]
fn names_and_recipients_are_known_without_a_key() {
    let key = Key::new();
    let text = sealed(&key, "s.yaml", PLAIN);
    let document = Document::parse("s.yaml", text.as_bytes()).unwrap();
    assert_eq!(document.recipients(), std::slice::from_ref(&key.recipient));
    let names: Vec<String> = document
        .names()
        .iter()
        .map(|name| {
            format!("{}:{} {}{}\n", name.line, name.column, name.path, if name.encrypted { "" } else { " (readable)" })
        })
        .collect();
    expect![[r#"
        3:13 db.password
        4:9 db.port
        5:10 db.ratio
        6:10 db.whole
        7:8 db.tls
        8:9 db.none
        9:10 db.empty
        11:7 db.users.0
        12:7 db.users.1
        13:8 db.key
        14:21 db.host_unencrypted (readable)
        15:22 db.count_unencrypted (readable)
    "#]]
    .assert_eq(&names.concat());
}

#[test]
fn json_is_read_and_written_too() {
    let key = Key::new();
    let plain = "{\n  \"a\": \"x\",\n  \"n\": 1,\n  \"f\": 1.5,\n  \"t\": true,\n  \"nothing\": null,\n  \"list\": [\"y\", {\"z\": \"\\u00e9\\ud83d\\ude00\"}],\n  \"b_unencrypted\": \"open\"\n}\n";
    let text = sealed(&key, "s.json", plain);
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    let mut store = open(&key, "s.json", &text).unwrap();
    assert_eq!(text_of(&store, "list.1.z"), "é😀");
    assert_eq!(text_of(&store, "n"), "1");
    store.set("deep.er.still", &SecretText::from("new")).unwrap();
    store.set("list.2", &SecretText::from("third")).unwrap();
    store.remove("a").unwrap();
    let text = store.to_text(now()).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    let store = open(&key, "s.json", &text).unwrap();
    expect![[r#"
        {
          "n": 1,
          "f": 1.5,
          "t": true,
          "nothing": null,
          "list": ["y", {"z": "é😀"}, "third"],
          "b_unencrypted": "open",
          "deep": {"er": {"still": "new"}}
        }
    "#]]
    .assert_eq(store.plain_text().unwrap().expose());
}

#[test]
fn a_new_store_is_empty_and_can_be_filled() {
    let key = Key::new();
    for name in ["s.yaml", "s.json"] {
        let mut store = Document::create(name, std::slice::from_ref(&key.recipient), &Rule::default()).unwrap();
        assert!(open(&key, name, &store.to_text(now()).unwrap()).unwrap().all().unwrap().is_empty());
        store.set("first", &SecretText::from("1")).unwrap();
        store.set("a.b.c", &SecretText::from("two\nlines")).unwrap();
        store.set("a.b.d", &SecretText::from("")).unwrap();
        store.set_plain("a.note_unencrypted", "for all: to read").unwrap();
        let store = open(&key, name, &store.to_text(now()).unwrap()).unwrap();
        assert_eq!(text_of(&store, "first"), "1");
        assert_eq!(text_of(&store, "a.b.c"), "two\nlines");
        assert_eq!(text_of(&store, "a.b.d"), "");
        assert_eq!(text_of(&store, "a.note_unencrypted"), "for all: to read");
    }
}

#[test]
fn a_recipient_who_goes_takes_the_data_key_along() {
    let (ann, bob) = (Key::new(), Key::new());
    let text = sealed(&ann, "s.yaml", PLAIN);
    let mut store = open(&ann, "s.yaml", &text).unwrap();
    let value = |text: &str| text.lines().find(|line| line.contains("password:")).unwrap().to_string();

    store.rekey(&[ann.recipient.clone(), bob.recipient.clone()], Rekey::WhenNeeded).unwrap();
    let both = store.to_text(now()).unwrap();
    assert_eq!(value(&both), value(&text), "adding a recipient needs no new data key");
    assert_eq!(text_of(&open(&bob, "s.yaml", &both).unwrap(), "db.password"), "hunter2");

    let mut store = open(&bob, "s.yaml", &both).unwrap();
    store.rekey(std::slice::from_ref(&bob.recipient), Rekey::WhenNeeded).unwrap();
    let bobs = store.to_text(now()).unwrap();
    assert_ne!(value(&bobs), value(&both));
    assert_eq!(open(&ann, "s.yaml", &bobs).unwrap_err().kind, ErrorKind::NoKey);
    let store = open(&bob, "s.yaml", &bobs).unwrap();
    assert_eq!(store.plain_text().unwrap().expose(), PLAIN, "comments and types survive a new data key");
    assert_eq!(store.document().recipients(), std::slice::from_ref(&bob.recipient));

    let mut store = open(&bob, "s.yaml", &bobs).unwrap();
    store.rekey(std::slice::from_ref(&bob.recipient), Rekey::Fresh).unwrap();
    let fresh = store.to_text(now()).unwrap();
    assert_ne!(value(&fresh), value(&bobs));
    assert_eq!(open(&bob, "s.yaml", &fresh).unwrap().plain_text().unwrap().expose(), PLAIN);
}

#[test]
fn rekey_works_in_json() {
    let (ann, bob) = (Key::new(), Key::new());
    let text = sealed(&ann, "s.json", "{\"a\": \"x\"}");
    let mut store = open(&ann, "s.json", &text).unwrap();
    store.rekey(&[bob.recipient.clone(), ann.recipient.clone()], Rekey::WhenNeeded).unwrap();
    let text = store.to_text(now()).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    assert_eq!(text_of(&open(&bob, "s.json", &text).unwrap(), "a"), "x");
}

#[test]
fn the_rule_says_what_stays_readable() {
    let key = Key::new();
    let plain = "user: root\npassword: canary\nnested:\n  secret_a:\n    b: canary\n";
    for (setting, selection) in [
        (
            "encrypted_regex: ^(password|secret_.*)$",
            Selection::EncryptedRegex(regex::Regex::new("^(password|secret_.*)$").unwrap()),
        ),
        ("unencrypted_regex: ^user$", Selection::UnencryptedRegex(regex::Regex::new("^user$").unwrap())),
        ("unencrypted_suffix: ser", Selection::UnencryptedSuffix("ser".to_string())),
    ] {
        for mac_only_encrypted in [false, true] {
            let rule = Rule { selection: selection.clone(), mac_only_encrypted, ..Rule::default() };
            let text = sealed_by(&key, "s.yaml", plain, &rule);
            assert!(text.contains("user: root\n") && !text.contains("canary"), "{text}");
            assert_eq!(text.contains("mac_only_encrypted: true"), mac_only_encrypted);
            assert!(text.replace(['"', '\''], "").contains(setting), "{text}");
            assert_eq!(open(&key, "s.yaml", &text).unwrap().plain_text().unwrap().expose(), plain);
            // What stays readable may be edited by hand if the seal is only over the rest.
            let edited = text.replace("user: root\n", "user: admin\n");
            assert_eq!(open(&key, "s.yaml", &edited).is_ok(), mac_only_encrypted);
        }
    }
}

#[test]
fn numbers_stay_numbers() {
    let key = Key::new();
    let text = sealed(&key, "s.yaml", PLAIN);
    let mut store = open(&key, "s.yaml", &text).unwrap();
    store.set("db.port", &SecretText::from("5433")).unwrap();
    store.set("db.tls", &SecretText::from("maybe")).unwrap();
    store.set("db.none", &SecretText::from("something")).unwrap();
    let plain = store.plain_text().unwrap();
    assert!(plain.expose().contains("port: 5433\n"), "{}", plain.expose());
    assert!(plain.expose().contains("tls: maybe\n") && plain.expose().contains("none: something\n"));
    store.set("db.port", &SecretText::from("5433 or so")).unwrap();
    assert_eq!(text_of(&open(&key, "s.yaml", &store.to_text(now()).unwrap()).unwrap(), "db.port"), "5433 or so");
}

#[test]
fn what_cannot_be_set_says_why() {
    let key = Key::new();
    let text = sealed(&key, "s.yaml", "a:\n  b: x\n  list: [y]\nopen_unencrypted: z\n");
    let mut store = open(&key, "s.yaml", &text).unwrap();
    let mut out = String::new();
    for path in ["", "a..b", "sops.age", "a", "a.b.c", "a.list.5", "open_unencrypted"] {
        out += &shown(&store.set(path, &SecretText::from("v")).unwrap_err());
    }
    out += &shown(&store.set("a.b", &SecretText::from("nul\0")).unwrap_err());
    out += &shown(&store.set_plain("a.b", "v").unwrap_err());
    out += &shown(&store.remove("a.c").unwrap_err());
    out += &shown(&store.get("B").unwrap_err());
    out += &shown(&store.get("a").unwrap_err());
    assert!(!store.changed());
    expect![[r#"
        Invalid: failed to set ``: it is no name
        hint: write parts with dots between them: `db.password`
        Invalid: failed to set `a..b`: it is no name
        hint: write parts with dots between them: `db.password`
        Invalid: failed to set `sops.age`: `sops` is where the store keeps its own keys
        hint: choose another name
        Invalid: failed to set `a`: it is a map, not a value
        hint: set one of the values in it: `a.…`
        Invalid: failed to set `a.b.c`: `a.b` is a value, and nothing can be below it
        hint: choose another name, or remove that value first
        Invalid: failed to set `a.list.5`: it is in a list that has no such place
        hint: the next free place is `1`
        Invalid: failed to set `open_unencrypted`: the store's rule (`unencrypted_suffix: _unencrypted`) leaves this name readable for everybody
        hint: choose another name, or set it as a plain value
        Invalid: failed to set `a.b`: the text has a NUL byte
        hint: encode it first: `base64`
        Invalid: failed to set `a.b`: the store's rule (`unencrypted_suffix: _unencrypted`) encrypts this name
        hint: end the name in `_unencrypted`, or keep the value as a secret
        NoSuchSecret: failed to remove `a.c`: it is not in `s.yaml`
        hint: set it first: `labwright secret set a.c`
        NoSuchSecret: failed to read `B`: it is not in `s.yaml`
        hint: there is `a.b`
        Invalid: failed to read `a`: it is not one value in `s.yaml`
        hint: name one of the values in it: `a.…`
    "#]].assert_eq(&out);
}

#[test]
fn a_large_store_is_quick() {
    let key = Key::new();
    let entries: Vec<String> = (0..11_000).map(|at| format!("# remark {at}\nname{at}: value {at}\n")).collect();
    let start = std::time::Instant::now();
    let text = sealed(&key, "s.yaml", &entries.concat());
    let store = open(&key, "s.yaml", &text).unwrap();
    assert_eq!(store.document().names().len(), 11_000);
    store.plain_text().unwrap();
    // A debug build; what this guards against is work that grows with the square of the size.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
