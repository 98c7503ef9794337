//! Every way in which the store of secrets can be closed, and what is said of each.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use expect_test::{Expect, expect};

use crate::secrets::{ADA, BOB, Book, DRAWER, said, two_admins};
use crate::world::Ran;

/// A store of two values, and a lab that uses both.
fn filled() -> Book {
    let book = Book::new(&format!(
        "{}compute: {{ hosts: {{ here: {{ local: true, files: {{ /tmp/lw-never: {{ content: \"${{secret.a}}${{secret.b}}\" }} }} }} }} }}\n",
        two_admins()
    ));
    book.run(&["secret", "init"]).code(0);
    book.set("a", "first value").code(0);
    book.set("b", "second value").code(0);
    book
}

#[test]
fn without_a_key_it_says_where_it_looked() {
    let book = filled();
    fs::remove_dir_all(book.desk.path("home")).unwrap();
    said(
        &book,
        book.run(&["secret", "get", "a"]),
        expect![[r#"
        error: failed to open `secrets.yaml`: no key at hand opens it
        hint: it is encrypted for `age19q9yftncyce7xg76w2xy950zx79nmepx75vzmjxfhtde20y5uq7q03f2u5`, `age140sjdqldtwpk6dtjp0tznp2klek4gcfe4t8y8yn2t0q2uv0yk58qw9ww2j`; keys were looked for in `SOPS_AGE_KEY` (not set), `SOPS_AGE_KEY_FILE` (not set), `…/home/.config/sops/age/keys.txt` (not there), `…/home/.ssh/id_ed25519` (not there), `…/home/.ssh/id_rsa` (not there). Name the key's file in `SOPS_AGE_KEY_FILE`, or let somebody who has a key add yours
        exit 2
    "#]],
    );
    book.run(&["secret", "doctor"]).code(2).says("no key at hand opens it");
    book.set("a", "x").code(2).says("no key at hand opens it");
    // What needs no key works without one.
    book.run(&["secret", "list"]).code(0).says("kept");
    book.run(&["check"]).code(0);

    book.key(&DRAWER);
    book.run(&["secret", "get", "a"]).code(2).says("no key at hand opens it").says(ADA.public).says("keys.txt");
    // A key by any of the ways that SOPS has, and by name.
    book.desk.write("bob.txt", BOB.private);
    let opened = |command: &mut Command| Ran::from(command.output().unwrap()).code(0).out;
    assert_eq!(opened(&mut book.command(&["secret", "get", "a", "--identity", "bob.txt"])), "first value\n");
    assert_eq!(opened(book.command(&["secret", "get", "a"]).env("SOPS_AGE_KEY", ADA.private)), "first value\n");
    assert_eq!(opened(book.command(&["secret", "get", "a"]).env("SOPS_AGE_KEY_FILE", "bob.txt")), "first value\n");
    book.run(&["secret", "get", "a", "--identity", "nobody.txt"]).code(2).says("nobody.txt");
    book.desk.write("bob.txt", "AGE-SECRET-KEY-15PYPSS2AQ8SZ46H4SG02DYHXFMC823M2SD7708J3G8NT00R83F3SX77DYX");
    let broken = book.run(&["secret", "get", "a", "--identity", "bob.txt"]).code(2).says("bob.txt");
    broken.says_not("15PYPSS2AQ8SZ46H4SG02DYHXFMC823M2SD7708J3G8NT00R83F3SX77DYX");
}

#[test]
fn a_store_that_was_tampered_with_is_not_opened() {
    let book = filled();
    let whole = book.store();
    let line = |name: &str| whole.lines().find(|line| line.trim_start().starts_with(name)).unwrap().to_string();
    let top = |name: &str| whole.lines().find(|line| line.starts_with(name)).unwrap().to_string();
    let (a, b) = (top("a: "), top("b: "));
    let data = |line: &str| line.split("data:").nth(1).unwrap().split(',').next().unwrap().to_string();
    let turned = |text: &str| {
        let first = if text.starts_with('A') { "B" } else { "A" };
        format!("{first}{}", &text[1..])
    };
    let refused = |store: String, expected: Expect| {
        assert_ne!(store, whole, "nothing was tampered with");
        book.desk.write("secrets.yaml", &store);
        let ran = said(&book, book.run(&["secret", "get", "a"]), expected);
        assert!(!format!("{}{}", ran.out, ran.err).contains("first value"));
        assert_eq!(book.set("c", "x").code, 2, "it can be changed");
        assert_eq!(book.store(), store, "it was written to");
        book.desk.write("secrets.yaml", &whole);
        assert_eq!(book.get("a"), "first value");
    };
    refused(
        whole.replace(&data(&a), &turned(&data(&a))),
        expect![[r#"
        error: failed to open `secrets.yaml`: `a` on line 1 was changed without the store's key
        hint: take back the last good version: `git log -- secrets.yaml`, then `git checkout COMMIT -- secrets.yaml`
        exit 2
    "#]],
    );
    let swap = |line: &str| match line {
        line if line == a => b.replacen("b: ", "a: ", 1) + "\n",
        line if line == b => a.replacen("a: ", "b: ", 1) + "\n",
        line => format!("{line}\n"),
    };
    refused(
        whole.lines().map(swap).collect(),
        expect![[r#"
        error: failed to open `secrets.yaml`: `a` on line 1 was moved or copied here from `b`
        hint: values are bound to their names: set it anew under this one
        exit 2
    "#]],
    );
    let mac = line("mac: ");
    refused(
        whole.replace(&data(&mac), &turned(&data(&mac))),
        expect![[r#"
        error: failed to open `secrets.yaml`: its seal (`mac` or `lastmodified`) was changed without the store's key
        hint: take back the last good version: `git log -- secrets.yaml`, then `git checkout COMMIT -- secrets.yaml`
        exit 2
    "#]],
    );
    refused(
        whole.replace(&format!("{b}\n"), ""),
        expect![[r#"
        error: failed to open `secrets.yaml`: its values are not those that it was sealed with
        hint: a value was taken out, put back or edited without the store's key; take back the last good version: `git log -- secrets.yaml`, then `git checkout COMMIT -- secrets.yaml`
        exit 2
    "#]],
    );
    let date = line("lastmodified: ");
    refused(
        whole.replace(&date, "    lastmodified: \"2020-01-01T00:00:00Z\""),
        expect![[r#"
        error: failed to open `secrets.yaml`: its seal (`mac` or `lastmodified`) was changed without the store's key
        hint: take back the last good version: `git log -- secrets.yaml`, then `git checkout COMMIT -- secrets.yaml`
        exit 2
    "#]],
    );
    refused(
        whole.replace(&a, "a: in the clear"),
        expect![[r#"
        error: failed to open `secrets.yaml`: `a` on line 1 is not encrypted
        hint: it was written into the file by hand: take it out and set it with `labwright secret set a`; if it was ever committed, make a new one
        exit 2
    "#]],
    );
}

#[test]
fn a_merge_conflict_in_the_store_is_told_with_its_line_and_loses_nothing() {
    let book = filled();
    assert_eq!(book.git(&["init"]).code, 0);
    book.git(&["add", "lab.yaml", "secrets.yaml"]).code(0);
    book.git(&["commit", "-m", "base"]).code(0);
    book.git(&["checkout", "-q", "-b", "bobs"]).code(0);
    book.set("b", "by bob").code(0);
    book.git(&["commit", "-am", "bob"]).code(0);
    book.git(&["checkout", "-q", "main"]).code(0);
    book.set("b", "by ada").code(0);
    book.git(&["commit", "-am", "ada"]).code(0);
    assert_ne!(book.git(&["merge", "bobs"]).code, 0, "this is to conflict");
    let conflicted = book.store();
    assert!(conflicted.contains("<<<<<<<"), "{conflicted}");
    let ran = book.run(&["check"]).code(3);
    let first = conflicted.lines().position(|line| line.starts_with("<<<<<<<")).unwrap() + 1;
    ran.says(&format!("line {first}")).says("git checkout --ours").says("secret set");
    for args in [
        &["secret", "get", "a"][..],
        &["secret", "rekey"],
        &["secret", "edit"],
        &["secret", "generate"],
        &["secret", "doctor"],
    ] {
        let ran = book.run(args);
        assert_ne!(ran.code, 0, "{args:?}\n{}", ran.out);
        assert_eq!(book.store(), conflicted, "{args:?} changed it");
    }
    book.set("a", "x").code(2);
    assert_eq!(book.store(), conflicted);
    // What it says to do works.
    book.git(&["checkout", "--ours", "secrets.yaml"]).code(0);
    assert_eq!((book.get("a"), book.get("b")), ("first value".into(), "by ada".into()));
    book.set("b", "by bob").code(0);
    book.run(&["check"]).code(0);
}

#[test]
fn a_store_that_is_not_there_is_told_and_how_to_begin_one() {
    let book = Book::new("");
    said(
        &book,
        book.run(&["secret", "get", "a"]),
        expect![[r#"
        error: failed to read `secrets.yaml`: No such file or directory (os error 2)
        hint: name the store's file, or begin a store with `labwright secret init`
        exit 2
    "#]],
    );
    book.set("a", "x").code(2).says("secret init");
    book.run(&["secret", "list"]).code(3).says("secret init");
    book.run(&["secret", "rekey"]).code(2);
    assert!(!book.desk.path("secrets.yaml").exists());
    book.desk.lab("lab: home\n");
    said(
        &book,
        book.run(&["secret", "get", "a"]),
        expect![[r#"
        error: the lab names no store of secrets
        hint: add `platform: { secrets: { age: secrets.yaml } }` to the lab file
        exit 2
    "#]],
    );
    let used =
        "compute: { hosts: { here: { local: true, files: { /tmp/lw-never: { content: \"${secret.a}\" } } } } }\n";
    book.lab(used);
    book.run(&["check"])
        .code(3)
        .says("cannot read the store `secrets.yaml`: no such file")
        .says("labwright secret init");
}

#[test]
fn a_plan_without_a_key_says_what_waits_and_hinders_nothing_else() {
    let book = filled();
    let things = book.desk.path("things").display().to_string();
    book.lab(&format!(
        "{}compute:\n  hosts:\n    here:\n      local: true\n      directories: {{ {things}: {{}} }}\n      files:\n        {things}/plain: {{ content: \"for everybody\\n\" }}\n        {things}/hidden: {{ content: \"${{secret.a}}\" }}\n",
        two_admins()
    ));
    fs::remove_dir_all(book.desk.path("home")).unwrap();
    said(
        &book,
        book.run(&["plan"]),
        expect![[r#"
        here
          + directory …/things  not there
              mode: 0755
          + file …/things/plain  not there
              content: for everybody
              mode: 0644

        blocked
          here/host/file/…/things/hidden: it holds secret `a`, which cannot be read
            hint: `labwright secret doctor` says why

        plan ID: 2 to create, 1 blocked
        warning: failed to open `secrets.yaml`: no key at hand opens it
        hint: it is encrypted for `age19q9yftncyce7xg76w2xy950zx79nmepx75vzmjxfhtde20y5uq7q03f2u5`, `age140sjdqldtwpk6dtjp0tznp2klek4gcfe4t8y8yn2t0q2uv0yk58qw9ww2j`; keys were looked for in `SOPS_AGE_KEY` (not set), `SOPS_AGE_KEY_FILE` (not set), `…/home/.config/sops/age/keys.txt` (not there), `…/home/.ssh/id_ed25519` (not there), `…/home/.ssh/id_rsa` (not there). Name the key's file in `SOPS_AGE_KEY_FILE`, or let somebody who has a key add yours
        exit 0
    "#]],
    );
    book.run(&["plan", "--exit-code"]).code(4);
    let plan: serde_json::Value = serde_json::from_str(&book.run(&["plan", "--json"]).out).unwrap();
    assert_eq!(plan["report"]["blocked"][0]["why"], "unknown", "{plan:#}");
    book.run(&["apply", "--yes"]).code(5).says("2 of 2 steps done");
    assert_eq!(fs::read_to_string(format!("{things}/plain")).unwrap(), "for everybody\n");
    assert!(!Path::new(&format!("{things}/hidden")).exists());
    book.run(&["plan", "--exit-code"]).code(4).says("nothing to do, 2 unchanged, 1 blocked");
    book.run(&["drift"]).code(0);
}

#[test]
fn the_admins_key_is_not_in_the_environment_of_ssh() {
    let book = Book::new(&format!(
        "{}compute: {{ hosts: {{ far: {{ address: 127.0.0.1, files: {{ /etc/lw-never: {{ content: \"${{secret.a}}\" }} }} }} }} }}\n",
        two_admins()
    ));
    book.run(&["secret", "init"]).code(0);
    book.set("a", "first value").code(0);
    book.desk.write("bin/ssh", format!("#!/bin/sh\nenv >{}\nexit 255\n", book.desk.path("witness").display()));
    fs::set_permissions(book.desk.path("bin/ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut plan = book.command(&["plan"]);
    plan.env("SOPS_AGE_KEY", ADA.private).env("OTHER", "seen");
    plan.env("PATH", format!("{}:/usr/bin:/bin", book.desk.path("bin").display()));
    Ran::from(plan.output().unwrap()).code(6);
    let environment = fs::read_to_string(book.desk.path("witness")).unwrap();
    assert!(environment.contains("OTHER=seen"), "this is not what ssh was given:\n{environment}");
    assert!(!environment.contains("AGE"), "{environment}");
}
