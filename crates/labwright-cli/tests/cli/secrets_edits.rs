//! The store of secrets in an editor: what the editor sees, and that nothing of it is left, whatever ends it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use expect_test::expect;

use crate::secrets::{Book, inside, mode, said, until};
use crate::world::Ran;

#[test]
fn an_editor_sees_everything_in_memory_and_leaves_nothing_there() {
    let book = Book::new("");
    book.run(&["secret", "init"]).code(0);
    book.set("a", "first").code(0);
    fs::set_permissions(book.desk.path("secrets.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    let witness = book.desk.path("witness");
    let precious = book.desk.path("precious");
    fs::write(&precious, "not ours to wipe").unwrap();
    // What editors do: a copy beside it, a swap file, a link; and here, a look at where all this is.
    let script = format!(
        "stat -f -c %T \"$1\" >{w}\nstat -c '%a' \"$1\" \"$(dirname \"$1\")\" >>{w}\ndirname \"$1\" >>{w}\ncat \"$1\" >>{w}\n\
         cp \"$1\" \"$1~\"\ncp \"$1\" \"$(dirname \"$1\")/.swap\"\nln -s {p} \"$(dirname \"$1\")/link\"\n\
         echo 'b: \"added #1\"' >>\"$1\"",
        w = witness.display(),
        p = precious.display(),
    );
    said(
        &book,
        book.edit(&script),
        expect![[r#"
        `secrets.yaml` is saved
        exit 0
    "#]],
    );
    let seen = fs::read_to_string(&witness).unwrap();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(&lines[..3], ["tmpfs", "600", "700"]);
    assert!(seen.contains("a: first") && !seen.contains("sops:"), "{seen}");
    assert!(lines[3].starts_with(&book.memory.path().display().to_string()), "{}", lines[3]);
    assert_eq!(inside(book.memory.path()), Vec::<PathBuf>::new(), "something is left in memory");
    assert_eq!(fs::read_to_string(&precious).unwrap(), "not ours to wipe");
    assert_eq!((book.get("a"), book.get("b")), ("first".into(), "added #1".into()));
    assert_eq!(mode(&book.desk.path("secrets.yaml")), 0o640, "the store's own mode stays");
    let made = |name: &str| {
        let json: serde_json::Value =
            serde_json::from_str(&book.run(&["secret", "list", "--json"]).code(0).out).unwrap();
        json["secrets"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()["made"].clone()
    };
    assert!(made("b").is_string(), "what was added is dated");

    // Where a login has no folder of its own, the machine's is used and left as it was.
    let editor = book.editor(&format!("dirname \"$1\" >{}", witness.display()));
    let mut command = book.command(&["secret", "edit"]);
    let ran: Ran = command.env_remove("XDG_RUNTIME_DIR").env("EDITOR", editor).output().unwrap().into();
    said(
        &book,
        ran.code(0),
        expect![[r#"
        nothing changed in `secrets.yaml`
        exit 0
    "#]],
    );
    let desk = fs::read_to_string(&witness).unwrap();
    assert!(desk.starts_with("/dev/shm/labwright-edit-"), "{desk}");
    assert!(!Path::new(desk.trim()).exists(), "`{desk}` is still there");
}

#[test]
fn an_edit_that_is_no_store_any_more_changes_nothing() {
    let book = Book::new("");
    book.run(&["secret", "init"]).code(0);
    book.set("a", "first").code(0);
    let before = book.store();
    let gave_up = |script: &str| {
        let ran = book.edit(script).code(2);
        assert_eq!(book.store(), before, "{script}");
        assert_eq!(inside(book.memory.path()), Vec::<PathBuf>::new(), "{script}");
        ran
    };
    said(
        &book,
        gave_up("echo '  b: [unclosed canary-value' >>\"$1\""),
        expect![[r#"
        error: failed to take over the edited `secrets.yaml`: line 4: this is not YAML
        hint: often a missing quote, a wrong indentation or a missing `:` here or on the line above
        error: `secrets.yaml` is as it was
        exit 2
    "#]],
    )
    .says_not("canary-value");
    gave_up("printf 'a: second\\na: third\\n' >\"$1\"");
    gave_up("printf 'a: \\377\\n' >\"$1\"");
    gave_up("rm \"$1\"").says("nothing was changed");
    said(
        &book,
        gave_up("echo 'a: second' >\"$1\"; exit 3"),
        expect![[r#"
        error: `…/editor` ended with exit status: 3; nothing was changed
        exit 2
    "#]],
    );
    gave_up("echo 'a: second' >\"$1\"; kill -TERM $$").says("nothing was changed");
    let mut command = book.command(&["secret", "edit"]);
    let ran: Ran = command.env("EDITOR", "/no/such/editor").output().unwrap().into();
    ran.code(2).says("/no/such/editor");
    assert_eq!(book.store(), before);
}

/// Begins an edit whose editor waits, and returns once it does.
fn waiting_edit(book: &Book) -> (std::process::Child, PathBuf) {
    let (there, go) = (book.desk.path("there"), book.desk.path("go"));
    for old in [&there, &go] {
        drop(fs::remove_file(old));
    }
    let script = format!(
        "dirname \"$1\" >{t}.new\nmv {t}.new {t}\ntrap '' INT\nwhile [ ! -e {g} ] && [ -e \"$1\" ]; do sleep 0.02; done\n[ ! -e \"$1\" ] || echo 'a: second' >\"$1\"",
        t = there.display(),
        g = go.display(),
    );
    let editor = book.editor(&script);
    let mut command = book.command(&["secret", "edit"]);
    let child = command.env("EDITOR", editor).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the editor runs", || there.exists());
    let desk = PathBuf::from(fs::read_to_string(&there).unwrap().trim());
    assert!(fs::read_to_string(desk.join("secrets.yaml")).unwrap().contains("a: first"), "the clear text is there now");
    (child, desk)
}

#[test]
fn whatever_ends_an_edit_no_clear_text_is_left() {
    let book = Book::new("");
    book.run(&["secret", "init"]).code(0);
    book.set("a", "first").code(0);
    let before = book.store();
    let signal = |child: &std::process::Child, name: &str| {
        assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
    };
    for ended_by in ["-TERM", "-HUP"] {
        let (mut child, desk) = waiting_edit(&book);
        book.run(&["secret", "set", "b"]).code(2).says("is changing it");
        signal(&child, ended_by);
        assert!(!child.wait().unwrap().success());
        assert!(!desk.exists(), "{ended_by} left the clear text");
        assert_eq!(book.store(), before);
    }
    // Nothing can be done at a kill; the next edit does it.
    let (mut child, desk) = waiting_edit(&book);
    signal(&child, "-KILL");
    child.wait().unwrap();
    assert!(desk.exists(), "this is what the next edit has to find");
    let foreign = book.memory.path().join("labwright-edit-note");
    fs::create_dir(&foreign).unwrap();
    book.edit("true").code(0);
    assert!(!desk.exists() && foreign.exists());
    assert_eq!(book.store(), before);
    // An interrupt is the editor's.
    let (mut child, desk) = waiting_edit(&book);
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(50));
    assert!(desk.exists());
    book.desk.write("go", "");
    assert!(child.wait().unwrap().success());
    assert!(!desk.exists());
    assert_eq!(book.get("a"), "second");
}
