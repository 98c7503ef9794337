//! The outline of a store of secrets: what can be told of it without any key.

use std::fmt::Write;

use expect_test::{Expect, expect};
use labwright_model::{Parsed, parse};

use crate::support::{InMemory, shown};

const LAB: &str = "lab: home\nplatform: { secrets: secrets.yaml }\n";
const SOPS: &str = "sops:\n  age:\n    - recipient: age1first\n      enc: |\n        -----BEGIN AGE ENCRYPTED FILE-----\n        x\n        -----END AGE ENCRYPTED FILE-----\n  mac: ENC[AES256_GCM,data:x]\n";
const SEALED: &str = "ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]";

fn with(store: &str) -> Parsed {
    parse("lab.yaml", &InMemory::of(&[("lab.yaml", LAB), ("secrets.yaml", store)]))
}

/// The findings of a text as a store, and what is known of it.
fn outline(store: &str, golden: Expect) {
    told(&with(store), golden);
}

fn told(parsed: &Parsed, golden: Expect) {
    let store = parsed.store.as_ref().unwrap();
    let mut out = shown(parsed, &parsed.findings);
    let place = |span| parsed.place(span).map_or("-".to_string(), |place| format!("{}:{}", place.line, place.column));
    if let Some(missing) = &store.missing {
        let _ = writeln!(out, "missing: {missing}");
    }
    for (name, entry) in &store.names {
        let _ = writeln!(out, "{} {name}{}", place(entry.span), if entry.encrypted { "" } else { " IN THE CLEAR" });
    }
    for (title, texts) in [("public", &store.public), ("made", &store.made)] {
        for (name, text) in texts {
            let _ = writeln!(out, "{} {title} {name} = {}", place(text.span), text.value);
        }
    }
    for recipient in &store.recipients {
        let _ = writeln!(out, "{} for {}", place(recipient.span), recipient.value);
    }
    let _ = writeln!(out, "{}", store.sops.map_or("no sops".to_string(), |span| format!("{} sops", place(span))));
    golden.assert_eq(&out);
}

#[test]
fn names_public_halves_and_recipients() {
    outline(
        &format!(
            "pg: {SEALED}\ndb:\n  user: {SEALED}\n  replicas:\n    - {SEALED}\n    - host: {SEALED}\nnone:\nempty: \"\"\nlist: []\nport: 8080\npublic_unencrypted:\n  wg: AAAA\n  tls: {{ public: PEM, chain: PEM2 }}\n  hidden: {SEALED}\nmade_unencrypted:\n  pg: 2026-01-02\n{SOPS}"
        ),
        expect![[r#"
            5:7 db.replicas.0
            6:7 db.replicas.1.host
            3:3 db.user
            8:1 empty
            7:1 none
            1:1 pg
            10:1 port IN THE CLEAR
            13:30 public tls.chain = PEM2
            13:18 public tls.public = PEM
            12:7 public wg = AAAA
            16:7 made pg = 2026-01-02
            19:18 for age1first
            17:1 sops
        "#]],
    );
}

#[test]
fn what_the_sops_block_leaves_in_the_clear() {
    let body =
        "a_unencrypted: x\nb: { c_unencrypted: [x, { d: x }] }\ne_plain: x\nf_secret: { g: x }\nh.i_unencrypted.j: x\n";
    for (setting, golden) in [
        (
            "",
            expect![[r#"
            e_plain
            f_secret.g
            h.i_unencrypted.j
        "#]],
        ),
        (
            "  unencrypted_suffix: _plain\n",
            expect![[r#"
            a_unencrypted
            b.c_unencrypted.0
            b.c_unencrypted.1.d
            f_secret.g
            h.i_unencrypted.j
        "#]],
        ),
        (
            "  encrypted_suffix: _secret\n",
            expect![[r#"
            f_secret.g
        "#]],
        ),
        ("  encrypted_regex: ^f\n", expect![""]),
        ("  unencrypted_regex: ^a\n  unencrypted_suffix: \"\"\n", expect![[""]]),
    ] {
        let parsed = with(&format!("{body}{SOPS}{setting}"));
        let store = parsed.store.as_ref().unwrap();
        let clear = store.names.iter().filter(|(_, entry)| !entry.encrypted).map(|(name, _)| format!("{name}\n"));
        golden.assert_eq(&clear.collect::<String>());
    }
}

#[test]
fn recipients_of_key_groups_and_of_ssh_keys() {
    outline(
        "sops:\n  age: []\n  pgp: [{ fp: x }]\n  key_groups:\n    - age:\n        - recipient: age1first\n    - pgp: []\n    - age:\n        - recipient: ssh-ed25519 AAAA\n        - enc: x\n",
        expect![[r#"
            6:22 for age1first
            9:22 for ssh-ed25519 AAAA
            1:1 sops
        "#]],
    );
}

#[test]
fn json_as_sops_indents_it() {
    let lab = "platform: { secrets: { age: secrets.json } }\n";
    let store = format!(
        "{{\n\t\"pg\": \"{SEALED}\",\n\t\"plain\": \"x\",\n\t\"sops\": {{\n\t\t\"age\": [\n\t\t\t{{ \"recipient\": \"age1first\", \"enc\": \"x\\ny\" }}\n\t\t]\n\t}}\n}}\n"
    );
    told(
        &parse("lab.yaml", &InMemory::of(&[("lab.yaml", lab), ("secrets.json", &store)])),
        expect![[r#"
        2:2 pg
        3:2 plain IN THE CLEAR
        6:19 for age1first
        4:2 sops
    "#]],
    );
}

#[test]
fn places_behind_a_byte_order_mark() {
    outline(
        &format!("\u{feff}pg: {SEALED}\n{SOPS}"),
        expect![[r#"
        1:1 pg
        4:18 for age1first
        2:1 sops
    "#]],
    );
}

#[test]
fn files_that_are_no_store() {
    for (text, golden) in [
        (
            "",
            expect![[r#"
            missing: it is empty
            no sops
        "#]],
        ),
        (
            "# nothing\n",
            expect![[r#"
            missing: it is empty
            no sops
        "#]],
        ),
        (
            "just words\n",
            expect![[r#"
            missing: it is no map of names and values
            no sops
        "#]],
        ),
        (
            "pg: x\n",
            expect![[r#"
            1:1 pg IN THE CLEAR
            no sops
        "#]],
        ),
        (
            "sops:\n",
            expect![[r#"
            1:1 sops
        "#]],
        ),
        (
            "sops: cut off\n",
            expect![[r#"
            1:1 sops
        "#]],
        ),
        (
            "sops: { age: age1first }\n",
            expect![[r#"
            1:1 sops
        "#]],
        ),
        (
            "a: [\n",
            expect![[r#"
            error LW-LAB-001 at secrets.yaml:1:4..1:5
              a bracket, or a comma between two entries, is missing
              help: close every `{` with `}` and every `[` with `]`; quote a text that contains them
            missing: it is not one YAML document
            no sops
        "#]],
        ),
        (
            "a: x\n---\nb: x\n",
            expect![[r#"
            error LW-LAB-001 at secrets.yaml:2:1..2:4
              a lab file holds one YAML document, and a second one starts here
              help: remove the `---`, or put the second document in a file of its own and `include` it
            missing: it is not one YAML document
            no sops
        "#]],
        ),
        (
            "a: x\n<<<<<<< HEAD\nb: x\n=======\nb: y\n>>>>>>> other\n",
            expect![[r#"
            error LW-LAB-001 at secrets.yaml:2:1..2:8 (platform.secrets.age)
              `secrets.yaml` holds an unsolved merge conflict on line 2
              help: take one side whole (`git checkout --ours secrets.yaml`), then set again what the other side had changed: `labwright secret set NAME`
            missing: a merge conflict stands in it
            no sops
        "#]],
        ),
        (
            "a: x\n=======\nb: y\n",
            expect![[r#"
            error LW-LAB-001 at secrets.yaml:2:1..2:8 (platform.secrets.age)
              `secrets.yaml` holds an unsolved merge conflict on line 2
              help: take one side whole (`git checkout --ours secrets.yaml`), then set again what the other side had changed: `labwright secret set NAME`
            missing: a merge conflict stands in it
            no sops
        "#]],
        ),
    ] {
        outline(text, golden);
    }
}

#[test]
fn a_file_that_is_not_there() {
    let parsed = parse("lab.yaml", &InMemory::of(&[("lab.yaml", LAB)]));
    let store = parsed.store.unwrap();
    assert_eq!((store.path.as_str(), store.missing.as_deref()), ("secrets.yaml", Some("no such file")));
    assert!(parsed.findings.is_empty() && !parsed.incomplete, "the lab itself is whole");
}

#[test]
fn bytes_that_are_no_text() {
    let mut files = InMemory::of(&[("lab.yaml", LAB)]);
    files.0.insert("secrets.yaml".into(), vec![0xff, 0xfe]);
    let store = parse("lab.yaml", &files).store.unwrap();
    assert_eq!(store.missing.as_deref(), Some("it is not UTF-8"));
}

#[test]
fn it_is_beside_the_file_that_names_it() {
    let files = [
        ("labs/lab.yaml", "include: more/platform.yaml\n"),
        ("labs/more/platform.yaml", "platform: { secrets: { age: s.yaml } }\n"),
        ("labs/more/s.yaml", SOPS),
    ];
    let parsed = parse("labs/lab.yaml", &InMemory::of(&files));
    assert_eq!(parsed.store.map(|store| (store.path, store.missing)), Some(("labs/more/s.yaml".into(), None)));
}

#[test]
fn in_a_folder_it_is_no_lab_file() {
    let store = format!("pg: {SEALED}\n{SOPS}");
    let files = [("labs/lab.yaml", LAB), ("labs/a.yaml", "owner: x\n"), ("labs/secrets.yaml", store.as_str())];
    let parsed = parse("labs", &InMemory::of(&files));
    assert_eq!(shown(&parsed, &parsed.findings), "");
    assert_eq!(parsed.store.map(|store| store.names.len()), Some(1));
    assert_eq!(parsed.sources.iter().filter(|source| source.name == "labs/secrets.yaml").count(), 1);
}

#[test]
fn public_halves_are_put_in() {
    let lab = "platform: { secrets: secrets.yaml }\nservices: { a: { use: x, description: \"${public.wg} ${public.tls.chain} ${public.wgg} ${public.none}\" } }\n";
    let store = format!("wg: {SEALED}\npublic_unencrypted: {{ wg: AAAA, tls: {{ chain: PEM }} }}\n{SOPS}");
    let parsed = parse("lab.yaml", &InMemory::of(&[("lab.yaml", lab), ("secrets.yaml", &store)]));
    assert_eq!(parsed.lab.services["a"].description.as_deref(), Some("AAAA PEM public.wgg public.none"));
    let golden = expect![[r#"
        error LW-LAB-008 at lab.yaml:2:73..2:86
          `${public.wgg}` has no value: `secrets.yaml` holds no public half of `wgg`
          help: did you mean `${public.wg}`?
        error LW-LAB-008 at lab.yaml:2:87..2:101
          `${public.none}` has no value: `secrets.yaml` holds no public half of `none`
          help: declare it under `platform.secrets.generate`, and run `labwright secret generate`
    "#]];
    golden.assert_eq(&shown(&parsed, &parsed.findings));
}

/// What is cut off, doubled or out of place is told and never stumbled over, and no secret is in what is kept.
#[test]
fn damaged_stores() {
    let whole = format!("pg: hunter2\ndb: {{ user: [{SEALED}] }}\npublic_unencrypted: {{ wg: AAAA }}\n{SOPS}");
    for cut in (0..whole.len()).filter(|at| whole.is_char_boundary(*at)) {
        for text in [whole[..cut].to_string(), format!("{}{}", &whole[..cut], &whole[..]), whole[cut..].to_string()] {
            let parsed = with(&text);
            let store = parsed.store.as_ref().unwrap();
            for entry in store.names.values() {
                assert!(parsed.place(entry.span).is_some(), "{text}");
            }
            assert!(!format!("{:?}", store.names).contains("hunter2"), "{text}");
        }
    }
}
