//! Other programs read what the crate writes, and the crate reads what they write.

use labwright_secrets::identity::Identities;
use labwright_secrets::rules::Rule;
use labwright_secrets::store::Document;
use labwright_secrets::{ErrorKind, SecretText};
use rops::cryptography::cipher::AES256GCM;
use rops::cryptography::hasher::SHA512;
use rops::file::RopsFile;
use rops::file::builder::RopsFileBuilder;
use rops::file::format::{FileFormat, JsonFileFormat, YamlFileFormat};
use rops::file::state::EncryptedFile;
use rops::integration::{AgeIntegration, Integration};

use crate::support::{Key, again, crate_folder, is_child, now, open, run, sealed, sealed_by, text_of};

// Without an empty text: SOPS leaves it as it is, and `rops` does not read that.
const YAML: &str = "text: hello\nnumber: 42\nnegative: -7\nfloat: 1.5\nyes: true\nno: false\nnothing: null\nnested:\n  list:\n  - one\n  - two: deep\n    three: 3\n  lines: |\n    first\n    second\n  odd: 'a: b # \"c\"'\n";

/// What a store says, as plain YAML or JSON turned into one form.
fn plain<F: FileFormat>(text: &str) -> serde_json::Value {
    let file: RopsFile<EncryptedFile<AES256GCM, SHA512>, F> = text.parse().unwrap();
    let clear = file.decrypt::<JsonFileFormat>().unwrap();
    serde_json::from_str(&clear.map().to_string()).unwrap()
}

/// `rops` takes its keys from the environment, so it works in a child that has them.
fn with_rops_key(test: &str, work: impl Fn(&Key)) {
    if !is_child() {
        let key = Key::new();
        let text = key.text.expose().lines().last().unwrap().to_string();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), key.text.expose()).unwrap();
        run(again(test).env("ROPS_AGE", text).env("TEST_KEY_FILE", file.path()));
        return;
    }
    let text = SecretText::new(std::fs::read_to_string(std::env::var("TEST_KEY_FILE").unwrap()).unwrap());
    let recipient = Identities::from_text(&text).unwrap().recipients().swap_remove(0);
    work(&Key { text, recipient });
}

#[test]
fn rops_reads_our_yaml() {
    with_rops_key("interop::rops_reads_our_yaml", |key| {
        let text = sealed(key, "s.yaml", YAML);
        let read = plain::<YamlFileFormat>(&text);
        assert_eq!(read["number"], 42);
        assert_eq!(read["negative"], -7);
        assert_eq!(read["float"], 1.5);
        assert_eq!(read["yes"], true);
        assert_eq!(read["nothing"], serde_json::Value::Null);
        assert_eq!(read["nested"]["list"][1]["two"], "deep");
        assert_eq!(read["nested"]["lines"], "first\nsecond\n");
        assert_eq!(read["nested"]["odd"], "a: b # \"c\"");
        let mut store = open(key, "s.yaml", &text).unwrap();
        store.set("nested.list.0", &SecretText::from("changed")).unwrap();
        store.set("new.one", &SecretText::from("here")).unwrap();
        store.remove("text").unwrap();
        let read = plain::<YamlFileFormat>(&store.to_text(now()).unwrap());
        assert_eq!(read["nested"]["list"][0], "changed");
        assert_eq!(read["new"]["one"], "here");
        assert!(read.get("text").is_none());
    });
}

#[test]
fn rops_reads_our_json() {
    with_rops_key("interop::rops_reads_our_json", |key| {
        let json = "{\"a\": \"x\", \"n\": 1, \"f\": 1.25, \"t\": true, \"z\": null, \"l\": [1, \"two\", {\"d\": \"e\"}], \"open_unencrypted\": \"o\"}";
        let text = sealed(key, "s.json", json);
        assert!(text.contains("\"open_unencrypted\": \"o\""));
        let read = plain::<JsonFileFormat>(&text);
        assert_eq!(read, serde_json::from_str::<serde_json::Value>(json).unwrap());
    });
}

#[test]
fn we_read_what_rops_writes() {
    with_rops_key("interop::we_read_what_rops_writes", |key| {
        let recipient = || AgeIntegration::parse_key_id(&key.recipient).unwrap();
        let yaml = RopsFileBuilder::<YamlFileFormat>::new(YAML)
            .unwrap()
            .add_integration_key::<AgeIntegration>(recipient())
            .encrypt::<AES256GCM, SHA512>()
            .unwrap()
            .to_string();
        let store = open(key, "s.yaml", &yaml).unwrap();
        assert_eq!(text_of(&store, "number"), "42");
        assert_eq!(text_of(&store, "float"), "1.5");
        assert_eq!(text_of(&store, "yes"), "true");
        assert_eq!(text_of(&store, "nested.list.1.three"), "3");
        assert_eq!(text_of(&store, "nested.lines"), "first\nsecond\n");
        let json = RopsFileBuilder::<JsonFileFormat>::new("{\"a\": {\"b\": [\"c\", 2]}}")
            .unwrap()
            .add_integration_key::<AgeIntegration>(recipient())
            .mac_only_encrypted()
            .encrypt::<AES256GCM, SHA512>()
            .unwrap()
            .to_string();
        let mut store = open(key, "s.json", &json).unwrap();
        assert_eq!(text_of(&store, "a.b.1"), "2");
        store.set("a.b.0", &SecretText::from("new")).unwrap();
        assert_eq!(plain::<JsonFileFormat>(&store.to_text(now()).unwrap())["a"]["b"][0], "new");
    });
}

#[test]
fn every_file_of_sops_itself_is_read_and_changed() {
    // Written by SOPS 3.8; they travel with the `rops` crate, and the key stands in its source.
    let folder = crate_folder("rops");
    let source = std::fs::read_to_string(folder.join("src/integration/age.rs")).unwrap();
    let at = source.find("AGE-SECRET-KEY-1").unwrap();
    let secret = source[at..].split('"').next().unwrap();
    let key = Identities::from_text(&SecretText::from(secret)).unwrap();
    let mut read = 0;
    for entry in std::fs::read_dir(folder.join("tests/sops_references")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".yaml") || name.ends_with("_plaintext.yaml") || name == "cache.yaml" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        if name.starts_with("aws_kms") {
            assert_eq!(Document::parse(&name, text.as_bytes()).unwrap_err().kind, ErrorKind::NoKey);
            continue;
        }
        let mut store = Document::parse(&name, text.as_bytes()).unwrap().open(&key).unwrap();
        let plain = std::fs::read_to_string(path.with_file_name(name.replace(".yaml", "_plaintext.yaml"))).unwrap();
        let (ours, rule) = (Key::new(), Rule::default());
        let expected = open(&ours, "s.yaml", &sealed_by(&ours, "s.yaml", &plain, &rule)).unwrap();
        assert_eq!(store.all().unwrap(), expected.all().unwrap(), "{name}");
        let first = store.document().names().into_iter().find(|name| name.encrypted).unwrap().path;
        store.set(&first, &SecretText::from("changed")).unwrap();
        let changed = store.to_text(now()).unwrap();
        let store = Document::parse(&name, changed.as_bytes()).unwrap().open(&key).unwrap();
        assert_eq!(text_of(&store, &first), "changed");
        read += 1;
    }
    assert!(read >= 6, "only {read} files were found");
}

#[test]
fn our_new_stores_follow_the_layout_of_sops() {
    let key = Key::new();
    let store = Document::create("s.yaml", std::slice::from_ref(&key.recipient), &Rule::default()).unwrap();
    let text = store.to_text(now()).unwrap();
    let shape: Vec<&str> = text
        .lines()
        .map(|line| line.split(':').next().unwrap())
        .filter(|line| !line.contains("      ") || line.contains("rec"))
        .collect();
    assert_eq!(
        shape,
        [
            "sops",
            "    age",
            "        - recipient",
            "    lastmodified",
            "    mac",
            "    unencrypted_suffix",
            "    version"
        ]
    );
}
