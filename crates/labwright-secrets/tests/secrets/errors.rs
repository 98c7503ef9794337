//! Every way in which a store cannot be read, and what is said then.

use expect_test::{Expect, expect};
use labwright_secrets::SecretText;
use labwright_secrets::identity::{Identities, Sources};
use labwright_secrets::store::{Document, Rekey};

use crate::support::{Key, now, open, sealed, shown};

const PLAIN: &str = "db:\n  user: canary-user\n  password: canary-password\nother: canary-other\n";

/// A sealed store after a change by something without the key: the error, with the key and times taken out.
fn broken(change: impl Fn(String) -> String, expected: Expect) {
    let key = Key::new();
    let text = change(sealed(&key, "s.yaml", PLAIN));
    let error = open(&key, "s.yaml", &text).unwrap_err();
    expected.assert_eq(&shown(&error).replace(&key.recipient, "age1ann"));
}

fn unreadable(name: &str, bytes: &[u8], expected: Expect) {
    expected.assert_eq(&shown(&Document::parse(name, bytes).unwrap_err()));
}

fn line<'a>(text: &'a str, start: &str) -> &'a str {
    text.lines().find(|line| line.trim_start().starts_with(start)).unwrap()
}

#[test]
fn not_a_store() {
    unreadable(
        "s.yaml",
        b"a: 1\n",
        expect![[r#"
        Malformed: failed to read `s.yaml`: it is not a SOPS file
        hint: a store has a `sops:` block at its end; encrypt this file with `sops encrypt -i`, or begin a new store
    "#]],
    );
    unreadable(
        "s.yaml",
        b"",
        expect![[r#"
        Malformed: failed to read `s.yaml`: it is not a SOPS file
        hint: a store has a `sops:` block at its end; encrypt this file with `sops encrypt -i`, or begin a new store
    "#]],
    );
    unreadable(
        "s.json",
        b"{}",
        expect![[r#"
        Malformed: failed to read `s.json`: it is not a SOPS file
        hint: a store has a `sops:` block at its end; encrypt this file with `sops encrypt -i`, or begin a new store
    "#]],
    );
    unreadable(
        "s.env",
        b"A=1",
        expect![[r#"
        Invalid: failed to read `s.env`: a store is a `.yaml` or `.json` file
        hint: rename it, or put its values into a `.yaml` store
    "#]],
    );
    unreadable(
        "s.yaml",
        b"- a\n- b\n",
        expect![[r#"
        Malformed: failed to read `s.yaml`: line 1: the file is not a map of names
        hint: write `name: value` lines
    "#]],
    );
}

#[test]
fn merge_conflict() {
    broken(
        |text| text.replacen("  password", "<<<<<<< HEAD\n  password", 1).replacen("other:", "=======\nother:", 1),
        expect![[r#"
            Malformed: failed to read `s.yaml`: line 3: a merge left its conflict markers in the file
            hint: take one side with `git checkout --ours s.yaml` or `git checkout --theirs s.yaml` and set the other side's secrets again; nothing is lost, both sides are in the history: `git log -p --all -- s.yaml`
        "#]],
    );
    unreadable(
        "s.json",
        b"{\n<<<<<<< ours\n\"a\": 1\n=======\n\"a\": 2\n>>>>>>> theirs\n}",
        expect![[r#"
            Malformed: failed to read `s.json`: line 2: a merge left its conflict markers in the file
            hint: take one side with `git checkout --ours s.json` or `git checkout --theirs s.json` and set the other side's secrets again; nothing is lost, both sides are in the history: `git log -p --all -- s.json`
        "#]],
    );
}

#[test]
fn cut_off() {
    broken(
        |text| text[..text.find("sops:").unwrap()].to_string(),
        expect![[r#"
        Malformed: failed to read `s.yaml`: it has encrypted values but no `sops:` block: the file is cut off
        hint: take back the last whole version: `git log -- s.yaml`, then `git checkout COMMIT -- s.yaml`
    "#]],
    );
    broken(
        |text| text[..text.find("-----END").unwrap()].to_string(),
        expect![[r#"
        Malformed: failed to read `s.yaml`: the key for `age1ann` is cut off
        hint: take back the last whole version: `git log -- s.yaml`, then `git checkout COMMIT -- s.yaml`
    "#]],
    );
    broken(
        |text| text[..text.find("    mac:").unwrap()].to_string(),
        expect![[r#"
        Malformed: failed to read `s.yaml`: its `sops:` block has no `mac`: the file is cut off
        hint: take back the last whole version: `git log -- s.yaml`, then `git checkout COMMIT -- s.yaml`
    "#]],
    );
    broken(
        |text| text.replacen(",iv:", ",", 1),
        expect![[r#"
        Malformed: failed to open `s.yaml`: `db.user` on line 2 is cut off or misspelt
        hint: take back the last good version: `git log -- s.yaml`, then `git checkout COMMIT -- s.yaml`
    "#]],
    );
}

#[test]
fn every_cut_is_noticed() {
    let key = Key::new();
    for (name, plain) in [("s.yaml", PLAIN), ("s.json", "{\"a\": \"x\", \"b\": [\"y\"]}")] {
        let text = sealed(&key, name, plain);
        let whole = text.rfind("version").unwrap();
        for cut in 0..whole {
            let opened = open(&key, name, &text[..cut]);
            // Behind the seal only settings with a default follow.
            let harmless = text[..cut].contains("mac: ENC") && text[cut..].len() < 80 && name == "s.yaml";
            assert!(opened.is_err() || harmless, "{name} cut at {cut} was opened");
        }
    }
}

#[test]
fn tampered() {
    let flip = |line: &str| {
        let at = line.find("data:").unwrap() + 5;
        let other = if &line[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &line[..at], &line[at + 1..])
    };
    broken(
        |text| text.replace(line(&text, "password:"), &flip(line(&text, "password:"))),
        expect![[r#"
        Tampered: failed to open `s.yaml`: `db.password` on line 3 was changed without the store's key
        hint: take back the last good version: `git log -- s.yaml`, then `git checkout COMMIT -- s.yaml`
    "#]],
    );
    broken(
        |text| text.replace(line(&text, "mac:"), &flip(line(&text, "mac:"))),
        expect![[r#"
        Tampered: failed to open `s.yaml`: its seal (`mac` or `lastmodified`) was changed without the store's key
        hint: take back the last good version: `git log -- s.yaml`, then `git checkout COMMIT -- s.yaml`
    "#]],
    );
    broken(
        |text| text.replace("2026-03-01T12:00:00Z", "2026-03-01T12:00:01Z"),
        expect![[r#"
        Tampered: failed to open `s.yaml`: its seal (`mac` or `lastmodified`) was changed without the store's key
        hint: take back the last good version: `git log -- s.yaml`, then `git checkout COMMIT -- s.yaml`
    "#]],
    );
    // Taken out whole: every value that is left is genuine.
    broken(
        |text| text.replace(&format!("{}\n", line(&text, "password:")), ""),
        expect![[r#"
        Tampered: failed to open `s.yaml`: its values are not those that it was sealed with
        hint: a value was taken out, put back or edited without the store's key; take back the last good version: `git log -- s.yaml`, then `git checkout COMMIT -- s.yaml`
    "#]],
    );
    // Two values in each other's place.
    broken(
        |text| {
            let (user, password) = (line(&text, "user:").to_string(), line(&text, "password:").to_string());
            let swapped = user.replace("user:", "password:");
            text.replace(&password, &swapped)
        },
        expect![[r#"
            Tampered: failed to open `s.yaml`: `db.password` on line 3 was moved or copied here from `db.user`
            hint: values are bound to their names: set it anew under this one
        "#]],
    );
    broken(
        |text| text.replace(line(&text, "other:"), "other: canary-by-hand"),
        expect![[r#"
        Malformed: failed to open `s.yaml`: `other` on line 4 is not encrypted
        hint: it was written into the file by hand: take it out and set it with `labwright secret set other`; if it was ever committed, make a new one
    "#]],
    );
    broken(
        |text| text.replacen("ENC[AES256_GCM,", "ENC[CHACHA,", 1),
        expect![[r#"
        Malformed: failed to open `s.yaml`: `db.user` on line 2 is encrypted with a cipher that is not known here
        hint: look whether a newer `labwright` knows it; SOPS writes `AES256_GCM`
    "#]],
    );
}

#[test]
fn an_old_seal_does_not_fit_new_values() {
    let key = Key::new();
    let old = sealed(&key, "s.yaml", PLAIN);
    let mut store = open(&key, "s.yaml", &old).unwrap();
    store.set("other", &SecretText::from("newer")).unwrap();
    let new = store.to_text(now()).unwrap();
    // One value rolled back to what it was: genuine, of the same key and name, and still refused.
    let mixed = new.replace(line(&new, "other:"), line(&old, "other:"));
    expect![[r#"
        Tampered: failed to open `s.yaml`: its values are not those that it was sealed with
        hint: a value was taken out, put back or edited without the store's key; take back the last good version: `git log -- s.yaml`, then `git checkout COMMIT -- s.yaml`
    "#]].assert_eq(&shown(&open(&key, "s.yaml", &mixed).unwrap_err()));
}

#[test]
fn not_yaml() {
    unreadable(
        "s.yaml",
        b"a: 1\na: 2\n",
        expect![[r#"
        Malformed: failed to read `s.yaml`: line 2: the key `a` is given twice
        hint: keep one of the two
    "#]],
    );
    unreadable(
        "s.yaml",
        b"a:\n\tb: canary\n",
        expect![[r#"
        Malformed: failed to read `s.yaml`: line 2: a tab stands in the indentation
        hint: YAML is indented with spaces: replace the tab
    "#]],
    );
    unreadable(
        "s.yaml",
        b"a: \"canary\n",
        expect![[r#"
            Malformed: failed to read `s.yaml`: line 1: the quote that opens here is not closed
            hint: close it at the end of the value
        "#]],
    );
    unreadable(
        "s.yaml",
        b"a: canary: canary\n",
        expect![[r#"
        Malformed: failed to read `s.yaml`: line 1: a `:` stands where no key can be
        hint: quote a value that contains `: `, or align the line with its neighbours
    "#]],
    );
    unreadable(
        "s.yaml",
        b"a: 1\n---\nb: 2\n",
        expect![[r#"
        Malformed: failed to read `s.yaml`: line 2: a second YAML document starts here, and a store has one
        hint: put it in a file of its own
    "#]],
    );
    unreadable(
        "s.yaml",
        b"a: &x [canary]\nb: [*x, *x]\n",
        expect![[r#"
        Malformed: failed to read `s.yaml`: line 1: a `&` anchor stands here, and a store has none
        hint: write the value out where it is used; a text that starts with `&` is quoted
    "#]],
    );
    unreadable(
        "s.yaml",
        b"a: *canary\n",
        expect![[r#"
        Malformed: failed to read `s.yaml`: line 1: a `*` alias stands here, and a store has none
        hint: write the value out; a text that starts with `*` is quoted: `"*.apps"`
    "#]],
    );
    unreadable(
        "s.yaml",
        b"a: 1\nb: \xff\xfe\n",
        expect![[r#"
        Malformed: failed to read `s.yaml`: line 2 is not UTF-8 text
        hint: save the file as UTF-8
    "#]],
    );
    unreadable(
        "s.yaml",
        &vec![b'#'; (4 << 20) + 1],
        expect![[r#"
        Malformed: failed to read `s.yaml`: it is larger than 4 MiB
        hint: a store is for secrets; keep large files elsewhere, encrypted with `age`
    "#]],
    );
    unreadable(
        "s.yaml",
        format!("a: {}", "[".repeat(100)).as_bytes(),
        expect![[r#"
        Malformed: failed to read `s.yaml`: line 1: this is not YAML
        hint: often a missing quote, a wrong indentation or a missing `:` here or on the line above
    "#]],
    );
    unreadable(
        "s.json",
        b"{\"a\": 1,}",
        expect![[r#"
        Malformed: failed to read `s.json`: line 1: a name in double quotes is missing
        hint: JSON needs double quotes, commas between entries and none after the last
    "#]],
    );
    unreadable(
        "s.json",
        b"{\"a\": 1, \"a\": 2}",
        expect![[r#"
        Malformed: failed to read `s.json`: line 1: the key `a` is given twice
        hint: keep one of the two
    "#]],
    );
    unreadable(
        "s.json",
        "[".repeat(100_000).as_bytes(),
        expect![[r#"
        Malformed: failed to read `s.json`: line 1: nested deeper than 64 levels
        hint: no store needs this depth
    "#]],
    );
    unreadable(
        "s.json",
        b"{\"a\": \"\\canary\"}",
        expect![[r#"
        Malformed: failed to read `s.json`: line 1: an escape in this text is unknown
        hint: JSON needs double quotes, commas between entries and none after the last
    "#]],
    );
}

#[test]
fn other_kinds_of_keys() {
    let block = |keys: &str| {
        format!(
            "a: ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]\nsops:\n{keys}    lastmodified: \"x\"\n    mac: x\n"
        )
    };
    let pgp = "    pgp:\n        - fp: ABCD\n          enc: x\n";
    unreadable(
        "s.yaml",
        block(&format!("    kms: []\n    age: []\n{pgp}")).as_bytes(),
        expect![[r#"
        NoKey: failed to read `s.yaml`: it can only be opened with PGP; there is no age recipient in it
        hint: add an age key with `sops`, where the other key is at hand: `sops rotate -i --add-age age1… FILE`
    "#]],
    );
    unreadable(
        "s.yaml",
        block("    key_groups:\n        - age: []\n        - age: []\n    shamir_threshold: 2\n").as_bytes(),
        expect![[r#"
        Malformed: failed to read `s.yaml`: its key is split over several key groups (Shamir), which is not known here
        hint: put all keys into one group: `sops` with one `key_groups` entry in `.sops.yaml`, then `sops updatekeys`
    "#]],
    );
    unreadable(
        "s.yaml",
        block("    age: []\n").as_bytes(),
        expect![[r#"
        Malformed: failed to read `s.yaml`: its `sops:` block names no recipient
        hint: take back the last whole version: `git log -- s.yaml`, then `git checkout COMMIT -- s.yaml`
    "#]],
    );

    let key = Key::new();
    let text = sealed(&key, "s.yaml", PLAIN).replace("    lastmodified:", &format!("{pgp}    lastmodified:"));
    let mut store = open(&key, "s.yaml", &text).unwrap();
    assert_eq!(store.document().other_keys(), ["PGP"]);
    store.set("other", &SecretText::from("x")).unwrap();
    assert!(store.to_text(now()).unwrap().contains(pgp), "the other key stays as it is");
    let error = store.rekey(std::slice::from_ref(&key.recipient), Rekey::WhenNeeded).unwrap_err();
    expect![[r#"
        Invalid: failed to rekey `s.yaml`: it has PGP keys too, which cannot be made here
        hint: rekey it with `sops`, where those keys are at hand, or take them out there: `sops rotate -i --rm-pgp …`
    "#]]
    .assert_eq(&shown(&error));
}

#[test]
fn two_rules_or_rules_by_comment() {
    broken(
        |text| text.replace("    version:", "    encrypted_suffix: x\n    version:"),
        expect![[r#"
        Malformed: failed to read `s.yaml`: its `sops:` block cannot be followed: it has two settings that choose what is encrypted
        hint: keep one of the suffixes and regular expressions
    "#]],
    );
    broken(
        |text| text.replace("unencrypted_suffix: _unencrypted", "encrypted_comment_regex: x"),
        expect![[r#"
        Malformed: failed to read `s.yaml`: its `sops:` block cannot be followed: its `encrypted_comment_regex` chooses values by comments, which is not known here
        hint: choose by the keys: `encrypted_regex` or a suffix
    "#]],
    );
    broken(
        |text| text.replace("unencrypted_suffix: _unencrypted", "encrypted_regex: \"(\""),
        expect![[r#"
        Malformed: failed to read `s.yaml`: its `sops:` block cannot be followed: its `encrypted_regex` is no regular expression
        hint: mend the expression
    "#]],
    );
}

#[test]
fn no_key() {
    let key = Key::new();
    let text = sealed(&key, "s.yaml", PLAIN);
    let document = || Document::parse("s.yaml", text.as_bytes()).unwrap();
    let shown = |error| shown(&error).replace(&key.recipient, "age1ann");
    expect![[r#"
        NoKey: failed to open `s.yaml`: no key at hand opens it
        hint: it is encrypted for `age1ann`; keys were not looked for. Name the key's file in `SOPS_AGE_KEY_FILE`, or let somebody who has a key add yours
    "#]].assert_eq(&shown(document().open(&Identities::default()).unwrap_err()));
    // A home of its own: nothing of whoever runs this is used.
    let home = "/nonexistent";
    let sources = Sources {
        config_dir: Some(format!("{home}/.config").into()),
        ssh_keys: vec![format!("{home}/.ssh/id_ed25519").into()],
        ..Sources::default()
    };
    expect![[r#"
        NoKey: failed to open `s.yaml`: no key at hand opens it
        hint: it is encrypted for `age1ann`; keys were looked for in `SOPS_AGE_KEY` (not set), `SOPS_AGE_KEY_FILE` (not set), `/nonexistent/.config/sops/age/keys.txt` (not there), `/nonexistent/.ssh/id_ed25519` (not there). Name the key's file in `SOPS_AGE_KEY_FILE`, or let somebody who has a key add yours
    "#]].assert_eq(&shown(document().open(&Identities::load(&sources).unwrap()).unwrap_err()));
    let stranger = Key::new().identities();
    expect![[r#"
        NoKey: failed to open `s.yaml`: no key at hand opens it
        hint: it is encrypted for `age1ann`; keys were looked for in a key given as text. Name the key's file in `SOPS_AGE_KEY_FILE`, or let somebody who has a key add yours
    "#]].assert_eq(&shown(document().open(&stranger).unwrap_err()));
}

#[test]
fn a_key_that_should_fit_and_does_not() {
    let (key, other) = (Key::new(), Key::new());
    let text = sealed(&key, "s.yaml", PLAIN).replace(&key.recipient, &other.recipient);
    let error = open(&other, "s.yaml", &text).unwrap_err();
    expect![[r#"
        NoKey: failed to open `s.yaml`: the key of `age1bob` is at hand and does not fit its entry
        hint: the entry was damaged, or made for another key; take back the last good version: `git log -- s.yaml`, then `git checkout COMMIT -- s.yaml`
    "#]].assert_eq(&shown(&error).replace(&other.recipient, "age1bob"));
}

#[test]
fn an_edit_that_cannot_be_read_loses_nothing() {
    let key = Key::new();
    let text = sealed(&key, "s.yaml", PLAIN);
    let mut store = open(&key, "s.yaml", &text).unwrap();
    let mut out = String::new();
    for edited in
        ["a: 1\n  canary: 2\n", "sops: canary\n", "{a: canary}\n", "- canary\n", "a: 1\na: canary\n", "a: &x canary\n"]
    {
        out += &shown(&store.replace_plain(&SecretText::from(edited)).unwrap_err());
    }
    assert!(!store.changed());
    assert_eq!(store.plain_text().unwrap().expose(), PLAIN);
    expect![[r#"
        Malformed: failed to take over the edited `s.yaml`: line 2: a `:` stands where no key can be
        hint: quote a value that contains `: `, or align the line with its neighbours
        Malformed: failed to take over the edited `s.yaml`: line 1: `sops` is where the store keeps its own keys
        hint: choose another name for this entry
        Malformed: failed to take over the edited `s.yaml`: its layout is unusual
        hint: begin every name at the start of its line, without braces around the whole
        Malformed: failed to take over the edited `s.yaml`: line 1: the file is not a map of names
        hint: write `name: value` lines
        Malformed: failed to take over the edited `s.yaml`: line 2: the key `a` is given twice
        hint: keep one of the two
        Malformed: failed to take over the edited `s.yaml`: line 1: a `&` anchor stands here, and a store has none
        hint: write the value out where it is used; a text that starts with `&` is quoted
    "#]]
    .assert_eq(&out);
}
