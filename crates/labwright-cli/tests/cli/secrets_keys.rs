//! Whom the store of secrets is for, and what its doctor finds.

use std::fs;

use expect_test::expect;

use crate::secrets::{ADA, BOB, Book, DRAWER, Key, said, two_admins};

#[test]
fn rekeying_lets_in_exactly_whom_the_lab_names() {
    let ada_alone = format!("    admins: {{ ada: {} }}\n", ADA.public);
    let book = Book::new(&ada_alone);
    book.run(&["secret", "init"]).code(0);
    book.set("a", "first").code(0);
    let opens = |key: &Key| {
        book.key(key);
        let ran = book.run(&["secret", "get", "-n", "a"]);
        book.key(&ADA);
        (ran.code == 0).then_some(ran.out)
    };
    assert_eq!((opens(&ADA).as_deref(), opens(&BOB)), (Some("first"), None));

    book.lab(&two_admins());
    let value = |store: &str| store.lines().find(|line| line.starts_with("a: ")).unwrap().to_string();
    let before = book.store();
    said(
        &book,
        book.run(&["secret", "rekey"]),
        expect![[r#"
        `secrets.yaml` can be opened by:
          age19q9yftncyce7xg76w2xy950zx79nmepx75vzmjxfhtde20y5uq7q03f2u5
          age140sjdqldtwpk6dtjp0tznp2klek4gcfe4t8y8yn2t0q2uv0yk58qw9ww2j
        exit 0
    "#]],
    );
    assert_eq!((opens(&ADA).as_deref(), opens(&BOB).as_deref()), (Some("first"), Some("first")));
    assert_eq!(value(&book.store()), value(&before), "one more reader needs no value encrypted again");
    let old = book.store();

    book.lab(&ada_alone);
    said(
        &book,
        book.run(&["secret", "rekey"]),
        expect![[r#"
        `secrets.yaml` can be opened by:
          age19q9yftncyce7xg76w2xy950zx79nmepx75vzmjxfhtde20y5uq7q03f2u5
        hint: what the others could read they may have kept: `labwright secret rotate NAME…`
        exit 0
    "#]],
    );
    assert_eq!((opens(&ADA).as_deref(), opens(&BOB)), (Some("first"), None));
    assert_ne!(value(&book.store()), value(&old), "whoever went knew the old key");
    book.key(&BOB);
    book.run(&["secret", "rekey"]).code(2).says("no key at hand opens it");
    book.key(&ADA);

    let before = book.store();
    book.run(&["secret", "rekey", "--fresh"]).code(0);
    assert_ne!(value(&book.store()), value(&before));
    assert_eq!(opens(&ADA).as_deref(), Some("first"));
    book.lab("");
    let before = book.store();
    book.run(&["secret", "rekey"]).code(2).says("names nobody who may open the store");
    book.lab(&format!("    admins: {{ bob: {} }}\n", BOB.public));
    assert_eq!(book.store(), before);
    book.run(&["secret", "rekey"]).code(0).says("none of the keys at hand will open the store after this");
    assert_eq!((opens(&ADA), opens(&BOB).as_deref()), (None, Some("first")));
}

#[test]
fn the_rules_of_sops_count_too() {
    let book = Book::new(&format!("    admins: {{ ada: {} }}\n", ADA.public));
    book.run(&["secret", "init"]).code(0);
    book.set("a", "first").code(0);
    book.desk.write(
        ".sops.yaml",
        format!(
            "creation_rules:\n  - path_regex: other\\.yaml$\n    age: {}\n  - path_regex: secrets\\.yaml$\n    age: {}\n",
            DRAWER.public, BOB.public
        ),
    );
    book.run(&["secret", "rekey"]).code(0).says(ADA.public).says(BOB.public).says_not(DRAWER.public);
    book.key(&BOB);
    assert_eq!(book.get("a"), "first");
    book.key(&DRAWER);
    book.run(&["secret", "get", "a"]).code(2);
    // A new store begins by the same rules.
    fs::remove_file(book.desk.path("secrets.yaml")).unwrap();
    book.run(&["secret", "init"]).code(0).says(ADA.public).says(BOB.public).says_not(DRAWER.public);
}

#[test]
fn the_doctor_finds_what_is_missing_old_leaked_or_cut_off() {
    let rest = |more: &str| {
        format!(
            "{}    rotate_after: 90d\n    generate:\n      db: password\n      slow: {{ kind: hex, rotate_after: 3650d }}\n{more}",
            two_admins()
        )
    };
    let book = Book::new(&rest(""));
    book.run(&["secret", "init"]).code(0);
    book.run(&["secret", "generate"]).code(0);
    said(
        &book,
        book.run(&["secret", "doctor"]),
        expect![[r#"
        `secrets.yaml`: 2 secrets, sealed by 2 keys, nothing to do
        not a git repository: earlier revisions were not searched
        exit 0
    "#]],
    );

    // Old: the date is anybody's to write, and what the doctor reads.
    book.edit("sed -i 's/^    db: .*/    db: \"2020-01-01\"/; s/^    slow: .*/    slow: \"2020-01-01\"/' \"$1\"")
        .code(0);
    let ran = book.run(&["secret", "doctor"]).code(3);
    assert!(ran.out.contains("days old, and the limit is 90 days") && !ran.out.contains("slow:"), "{}", ran.out);

    // Committed in the clear, in a revision that nobody looks at any more.
    let value = book.get("db");
    assert_eq!(book.git(&["init"]).code, 0);
    book.desk.write("notes.txt", format!("remember: {value}\n"));
    book.git(&["add", "notes.txt", "lab.yaml", "secrets.yaml"]).code(0);
    book.git(&["commit", "-m", "first"]).code(0);
    book.desk.write("notes.txt", "remember nothing\n");
    book.git(&["commit", "-am", "second"]).code(0);
    assert!(!fs::read_to_string(book.desk.path("notes.txt")).unwrap().contains(&value));

    book.lab(&rest("      later: uuid\n"));
    book.desk.write("secrets.yaml.before-rotation", book.store());
    let found = said(
        &book,
        book.run(&["secret", "doctor"]),
        expect![[r#"
        store: a rotation was cut off: `secrets.yaml.before-rotation` is there
            `labwright secret rotate --undo` or `--finish`
        later: declared, and not made yet
            `labwright secret generate`
        db: N days old, and the limit is 90 days
            `labwright secret rotate db`
        db: stands in the clear in `notes.txt` of commit HASH
            it is no secret any more: `labwright secret rotate db`
        `secrets.yaml`: 2 secrets, sealed by 2 keys, 4 things to do
        exit 3
    "#]],
    );
    assert!(!format!("{}{}", found.out, found.err).contains(&value), "it shows what it found");
    book.set("db", "x").code(2).says("a rotation did not come to its end").says("--undo").says("--finish");
    fs::remove_file(book.desk.path("secrets.yaml.before-rotation")).unwrap();

    book.run(&["secret", "generate"]).code(0);
    book.set("db", "a new value of db").code(0);
    book.run(&["secret", "doctor"]).code(0).says("nothing to do");

    let one = Book::new("");
    one.run(&["secret", "init"]).code(0);
    said(
        &one,
        one.run(&["secret", "doctor"]),
        expect![[r#"
        store: one key opens it: if that is lost, so is every secret
            make a key for a drawer, name it under `recovery`, `labwright secret rekey`
        `secrets.yaml`: 0 secrets, sealed by 1 key, 1 thing to do
        not a git repository: earlier revisions were not searched
        exit 3
    "#]],
    );
}
