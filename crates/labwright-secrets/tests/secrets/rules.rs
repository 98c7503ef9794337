//! `.sops.yaml`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use expect_test::expect;
use labwright_secrets::rules::{Rules, Selection, find};

use crate::support::shown;

const ANN: &str = "age1se5ghfycr4n8kcwc3qwf234ymvmr2lex2a99wh8gpfx97glwt9hqch4569";
const BOB: &str = "age1qazf43xll4ramx3wcn7h2yl9scycxdhrwge8862vv6zj97pafdvq0d5mn6";

#[test]
fn the_first_rule_that_matches_counts() {
    let text = format!(
        "keys:\n  - &ann {ANN}\n  - &bob {BOB}\ncreation_rules:\n  - path_regex: (?i)^hosts/.*\\.yaml$\n    key_groups:\n      - age:\n          - *ann\n          - *bob\n    encrypted_regex: ^secret\n  - path_regex: old\n    kms: arn:aws\n  - path_regex: two\\.yaml$\n    age: {ANN},\n      {BOB}\n    mac_only_encrypted: true\n    shamir_threshold: 1\n  - age: [{BOB}]\n    unencrypted_suffix: _open\n"
    );
    let rules = Rules::parse(&text).unwrap();
    let rule = |path: &str| rules.for_path(path).unwrap().unwrap();
    assert_eq!(rule("Hosts/a.yaml").recipients, [ANN, BOB]);
    assert_eq!(rule("Hosts/a.yaml").selection.setting(), ("encrypted_regex", "^secret"));
    assert_eq!(rule("two.yaml").recipients, [ANN, BOB]);
    assert!(rule("two.yaml").mac_only_encrypted);
    assert!(matches!(rule("else.yaml").selection, Selection::UnencryptedSuffix(suffix) if suffix == "_open"));
    assert_eq!(rule("else.yaml").recipients, [BOB]);
    expect![[r#"
        Invalid: failed to read `.sops.yaml`: line 11: the rule cannot be followed: it asks for `kms`
        hint: only age keys are known here: keep to `age:`, or make the store with `sops`
    "#]]
    .assert_eq(&shown(&rules.for_path("old.yaml").unwrap_err()));
    assert!(Rules::parse("stores: {}\n").unwrap().for_path("a").unwrap().is_none());
}

#[test]
fn rules_that_cannot_be_followed_say_why() {
    let mut out = String::new();
    for rule in [
        "pgp: ABCD".to_string(),
        format!("age: {ANN}\n    hc_vault_transit_uri: http://x"),
        format!("age: {ANN}\n    shamir_threshold: 2"),
        format!("key_groups: [{{age: [{ANN}]}}, {{age: [{BOB}]}}]"),
        format!("key_groups: [{{age: [{ANN}], pgp: [X]}}]"),
        format!("age: {ANN}\n    encrypted_regex: x\n    unencrypted_suffix: y"),
        format!("age: {ANN}\n    encrypted_regex: '('"),
        format!("age: {ANN}\n    encrypted_comment_regex: x"),
        "age: bob".to_string(),
        "path_regex: x".to_string(),
        "path_regex: '('".to_string(),
    ] {
        let rules = Rules::parse(&format!("creation_rules:\n  - {rule}\n"));
        let error = rules.and_then(|rules| rules.for_path("x")).unwrap_err();
        out += &shown(&error);
    }
    for text in [
        "creation_rules: 1\n",
        "creation_rules: [",
        "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: [*d, *d]\n",
    ] {
        out += &shown(&Rules::parse(text).unwrap_err());
    }
    expect![[r#"
        Invalid: failed to read `.sops.yaml`: line 2: the rule cannot be followed: it asks for `pgp`
        hint: only age keys are known here: keep to `age:`, or make the store with `sops`
        Invalid: failed to read `.sops.yaml`: line 2: the rule cannot be followed: it asks for `hc_vault_transit_uri`
        hint: only age keys are known here: keep to `age:`, or make the store with `sops`
        Invalid: failed to read `.sops.yaml`: line 2: the rule cannot be followed: it splits the key (`shamir_threshold`)
        hint: a store here has one group of keys: take the line out
        Invalid: failed to read `.sops.yaml`: line 2: the rule cannot be followed: it has several key groups
        hint: a store here has one group: list all keys under `age:`
        Invalid: failed to read `.sops.yaml`: line 2: the rule cannot be followed: its key group asks for `pgp`
        hint: only age keys are known here: keep to `age:`, or make the store with `sops`
        Invalid: failed to read `.sops.yaml`: line 2: the rule cannot be followed: it has two settings that choose what is encrypted
        hint: keep one of the suffixes and regular expressions
        Invalid: failed to read `.sops.yaml`: line 2: the rule cannot be followed: its `encrypted_regex` is no regular expression
        hint: mend the expression
        Invalid: failed to read `.sops.yaml`: line 2: the rule cannot be followed: its `encrypted_comment_regex` chooses values by comments, which is not known here
        hint: choose by the keys: `encrypted_regex` or a suffix
        Invalid: failed to read `.sops.yaml`: line 2: the rule cannot be followed: failed to encrypt for `bob`: it is neither an age key nor an SSH key
        hint: give `age1…` or `ssh-ed25519 …`
        Invalid: failed to read `.sops.yaml`: line 2: the rule cannot be followed: it names no age key
        hint: add `age: age1…`
        Invalid: failed to read `.sops.yaml`: line 2: its `path_regex` is no regular expression
        hint: mend the expression
        Invalid: failed to read `.sops.yaml`: line 1: `creation_rules` is not a list
        hint: write each rule as `- path_regex: …`
        Invalid: failed to read `.sops.yaml`: line 1: this is not YAML
        hint: often a missing quote, a wrong indentation or a missing `:` here or on the line above
        Invalid: failed to read `.sops.yaml`: line 4: aliases expand to more than 10000 values
        hint: write the repeated part out
    "#]].assert_eq(&out);
}

#[test]
fn the_nearest_file_counts() {
    let files: HashMap<PathBuf, String> = [("/lab/.sops.yaml", ANN), ("/.sops.yaml", BOB)]
        .map(|(path, key)| (path.into(), format!("creation_rules:\n  - age: {key}\n")))
        .into();
    let read = |path: &Path| Ok(files.get(path).cloned());
    let near = |folder: &str| {
        let (path, rules) = find(Path::new(folder), read).unwrap().unwrap();
        (path, rules.for_path("x").unwrap().unwrap().recipients)
    };
    assert_eq!(near("/lab/hosts"), ("/lab/.sops.yaml".into(), vec![ANN.to_string()]));
    assert_eq!(near("/etc"), ("/.sops.yaml".into(), vec![BOB.to_string()]));
    assert!(find(Path::new("/lab"), |_| Ok(None)).unwrap().is_none());
    let error = find(Path::new("/lab"), |_| Err(std::io::ErrorKind::PermissionDenied.into())).unwrap_err();
    expect![[r#"
        Io: failed to read `/lab/.sops.yaml`: permission denied
        hint: make it readable for this user
    "#]]
    .assert_eq(&shown(&error));
}
