//! The store of secrets by hand: begun, filled, read, edited, rekeyed, looked over, and every way that it can be closed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use expect_test::{Expect, expect};

use crate::world::{Desk, Ran};

/// An age key: its public half and its private half.
pub struct Key {
    pub public: &'static str,
    pub private: &'static str,
}

pub const ADA: Key = Key {
    public: "age19q9yftncyce7xg76w2xy950zx79nmepx75vzmjxfhtde20y5uq7q03f2u5",
    private: "AGE-SECRET-KEY-16MWAQASALFP4UDKFYGR3KAZ9URRVWXJRHLVYQL7DAL3KS5ZEDDGSF8AC42",
};
pub const BOB: Key = Key {
    public: "age140sjdqldtwpk6dtjp0tznp2klek4gcfe4t8y8yn2t0q2uv0yk58qw9ww2j",
    private: "AGE-SECRET-KEY-15PYPSS2AQ8SZ46H4SG02DYHXFMC823M2SD7708J3G8NT00R83F3SX77DYC",
};
pub const DRAWER: Key = Key {
    public: "age1458vy9yws8x4203gdc9qnrsv52h9ndksa4zh2g0vpxypfky2x56sly7a4z",
    private: "AGE-SECRET-KEY-15P8CYRSK9CX49DESN0Q7UV6R9FRD09VXKC9JUVN867MZW7Q4X6DQ5GQGDN",
};

/// Gives a command its standard input, and waits.
pub fn feed(mut command: Command, input: impl AsRef<[u8]>) -> Ran {
    use std::io::Write;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that refuses early reads nothing.
    drop(child.stdin.take().unwrap().write_all(input.as_ref()));
    child.wait_with_output().unwrap().into()
}

/// A lab with a store, Ada's key at hand, and a folder in memory of its own.
pub struct Book {
    pub desk: Desk,
    pub memory: tempfile::TempDir,
}

impl Book {
    /// `rest` stands below `platform.secrets`, and what follows it at the top of the lab file.
    pub fn new(rest: &str) -> Book {
        let book = Book { desk: Desk::new(""), memory: tempfile::tempdir_in("/dev/shm").unwrap() };
        book.lab(rest);
        book.key(&ADA);
        book
    }

    pub fn lab(&self, rest: &str) {
        self.desk.lab(&format!("lab: home\nplatform:\n  secrets:\n    age: secrets.yaml\n{rest}"));
    }

    /// Puts a key, and no other, where SOPS looks for it.
    pub fn key(&self, key: &Key) {
        let path = "home/.config/sops/age/keys.txt";
        self.desk.write(path, format!("{}\n", key.private));
        fs::set_permissions(self.desk.path(path), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.desk.command();
        command.env("XDG_RUNTIME_DIR", self.memory.path()).args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    pub fn set(&self, name: &str, value: &str) -> Ran {
        feed(self.command(&["secret", "set", name]), value)
    }

    pub fn get(&self, name: &str) -> String {
        self.run(&["secret", "get", "-n", name]).code(0).out
    }

    pub fn store(&self) -> String {
        fs::read_to_string(self.desk.path("secrets.yaml")).unwrap()
    }

    /// What stands beside the store and is of the store's making: locks, and new content that was never put in place.
    pub fn beside(&self) -> Vec<String> {
        let names = fs::read_dir(self.desk.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with(".secrets.yaml")).collect()
    }

    /// An editor that runs these lines of shell; `$1` is the file.
    pub fn editor(&self, script: &str) -> String {
        self.desk.write("editor", format!("#!/bin/sh\nset -e\n{script}\n"));
        let path = self.desk.path("editor");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    /// Runs `secret edit` with such an editor.
    fn edit(&self, script: &str) -> Ran {
        let editor = self.editor(script);
        self.command(&["secret", "edit"]).env("EDITOR", editor).output().unwrap().into()
    }

    /// Runs git here, with an identity and nobody's configuration.
    fn git(&self, args: &[&str]) -> Ran {
        let who = ["-c", "user.name=ada", "-c", "user.email=ada@example.com", "-c", "init.defaultBranch=main"];
        let mut git = Command::new("git");
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        let ran: Ran = git.args(who).args(args).current_dir(self.desk.dir.path()).output().unwrap().into();
        ran
    }
}

/// Everything that was said, with what differs from run to run put aside.
#[track_caller]
fn said(book: &Book, ran: Ran, expected: Expect) -> Ran {
    let root = book.desk.dir.path().display().to_string();
    let steady = |line: &str| match (line.split_once("of commit "), line.split_once(" days old"), line.split_once(": "))
    {
        (Some((before, _)), ..) => format!("{before}of commit HASH"),
        (_, Some((before, after)), _) => {
            format!("{}N days old{after}", before.trim_end_matches(|c: char| c.is_ascii_digit()))
        }
        (.., Some((before, after))) if before.starts_with("plan ") => format!("plan ID: {after}"),
        _ => line.to_string(),
    };
    let text = format!("{}{}exit {}\n", ran.out, ran.err, ran.code).replace(&root, "…");
    let text: String = text.lines().map(|line| steady(line) + "\n").collect();
    expected.assert_eq(&text);
    ran
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn inside(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < deadline, "{what}: still not");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_store_begins_with_a_key_of_ones_own_and_never_twice() {
    let book = Book::new("");
    fs::remove_file(book.desk.path("home/.config/sops/age/keys.txt")).unwrap();
    fs::remove_dir_all(book.desk.path("home")).unwrap();
    let began = book.run(&["secret", "init"]).code(0).says("made a key for you").says("copy it to a safe place now");
    let key = book.desk.path("home/.config/sops/age/keys.txt");
    assert_eq!((mode(&key), mode(key.parent().unwrap())), (0o600, 0o700));
    let text = fs::read_to_string(&key).unwrap();
    let public = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    assert!(began.err.contains(&format!("admins: {{ me: {public} }}")), "{}", began.err);
    assert!(book.store().contains(&format!("recipient: {public}")), "{}", book.store());
    let before = book.store();
    said(
        &book,
        book.run(&["secret", "init"]),
        expect![[r#"
            error: `secrets.yaml` is there already, and stays as it is
            hint: `labwright secret list` shows what is in it
            exit 2
        "#]],
    );
    assert_eq!(book.store(), before);
    book.set("a", "value").code(0);
    assert_eq!(book.get("a"), "value", "the key that was made opens the store");
}

#[test]
fn a_store_is_for_whom_the_lab_names_and_needs_no_key_to_begin() {
    let book = Book::new(&format!(
        "    admins: {{ ada: {}, bob: {} }}\n    recovery: {}\n",
        ADA.public, BOB.public, DRAWER.public
    ));
    fs::remove_dir_all(book.desk.path("home")).unwrap();
    said(
        &book,
        book.run(&["secret", "init"]),
        expect![[r#"
            `secrets.yaml` is there, empty, and can be opened by:
              age19q9yftncyce7xg76w2xy950zx79nmepx75vzmjxfhtde20y5uq7q03f2u5
              age140sjdqldtwpk6dtjp0tznp2klek4gcfe4t8y8yn2t0q2uv0yk58qw9ww2j
              age1458vy9yws8x4203gdc9qnrsv52h9ndksa4zh2g0vpxypfky2x56sly7a4z
            exit 0
        "#]],
    );
    assert!(!book.desk.path("home").exists(), "nobody needed a key");
    for key in [&ADA, &BOB, &DRAWER] {
        book.key(key);
        book.run(&["secret", "doctor"]).code(0);
    }
}

#[test]
fn a_value_goes_in_by_standard_input_and_comes_out_as_it_was() {
    let book = Book::new("compute: { hosts: { web: { files: { /etc/app: { content: \"${secret.used}\" } } } } }\n");
    book.run(&["secret", "init"]).code(0);
    let odd = "a\"b\\c$d`e#f 'g': h\n  second\tline\u{7f} \u{1F600} – ß\n\nend \\n";
    for (name, value) in
        [("used", "plain"), ("odd", odd), ("cloud.token", "  spaces  "), ("number", "0042"), ("yes", "yes")]
    {
        let told = book.set(name, value).code(0);
        assert_eq!(book.get(name), value, "{name}");
        // Short words stand elsewhere for other reasons.
        if value.len() > 4 {
            told.says_not(value);
            assert!(!book.store().contains(value), "{name} is in the clear");
        }
    }
    // One line break at the end is the pipe's, unless somebody says otherwise.
    book.set("used", "line\n").code(0);
    assert_eq!(book.get("used"), "line");
    assert_eq!(book.run(&["secret", "get", "used"]).code(0).out, "line\n");
    feed(book.command(&["secret", "set", "used", "--keep-newline"]), "line\n").code(0);
    assert_eq!(book.get("used"), "line\n");

    let before = book.store();
    book.set("used", "").code(2).says("the value is empty").says("secret remove");
    book.set("used", "\n").code(2);
    book.set("used", &"x".repeat((1 << 20) + 1)).code(2).says("larger than 1 MiB");
    feed(book.command(&["secret", "set", "used"]), b"\xff\xfe").code(2).says("UTF-8");
    book.set("sops", "x").code(2);
    book.set("used.below", "x").code(2).says("`used` is a value");
    book.run(&["secret", "get", "usde"]).code(2).says("usde");
    assert_eq!(book.store(), before, "a refusal changes nothing");

    said(
        &book,
        book.set("fresh", "value"),
        expect![[r#"
        `fresh` is set in `secrets.yaml`
        hint: nothing in the lab refers to it yet: `${secret.fresh}`
        exit 0
    "#]],
    );
    let today = book.run(&["secret", "list"]).code(0).out;
    let date =
        today.lines().find(|line| line.starts_with("used ")).unwrap().split_whitespace().nth(2).unwrap().to_string();
    assert!(date.len() == 10 && date.starts_with("20"), "{date}");
    expect![[r#"
        SECRET       STATE  MADE        READ BY
        cloud.token  kept   YYYY-MM-DD  -
        fresh        kept   YYYY-MM-DD  -
        number       kept   YYYY-MM-DD  -
        odd          kept   YYYY-MM-DD  -
        used         kept   YYYY-MM-DD  web
        yes          kept   YYYY-MM-DD  -
    "#]]
    .assert_eq(&today.replace(&date, "YYYY-MM-DD"));
    let json: serde_json::Value = serde_json::from_str(&book.run(&["secret", "list", "--json"]).code(0).out).unwrap();
    let used = json["secrets"].as_array().unwrap().iter().find(|row| row["name"] == "used").unwrap();
    assert_eq!((&used["state"], &used["hosts"][0]), (&"kept".into(), &"web".into()));
    let of_web = book.run(&["secret", "list", "--host", "web", "--json"]).code(0).out;
    let of_web: serde_json::Value = serde_json::from_str(&of_web).unwrap();
    assert_eq!(of_web["secrets"].as_array().unwrap().len(), 1, "{of_web:#}");
    book.run(&["secret", "list", "--host", "wbe"]).code(2).says("there is no host `wbe`");
}

#[test]
fn what_is_used_stays_and_what_is_not_goes_with_its_date() {
    let book = Book::new("compute: { hosts: { web: { files: { /etc/app: { content: \"${secret.used}\" } } } } }\n");
    book.run(&["secret", "init"]).code(0);
    book.set("used", "value").code(0);
    book.set("other", "value").code(0);
    let before = book.store();
    said(
        &book,
        book.run(&["secret", "remove", "used"]),
        expect![[r#"
        error: `used` is used: lab.yaml:5
        hint: take the reference out first; nothing was changed
        exit 2
    "#]],
    );
    assert_eq!(book.store(), before);
    said(
        &book,
        book.run(&["secret", "remove", "other"]),
        expect![[r#"
        `other` is out of `secrets.yaml`; earlier revisions of the file still hold it
        exit 0
    "#]],
    );
    assert!(!book.store().contains("other"), "{}", book.store());
    book.run(&["secret", "remove", "other"]).code(2).says("other");
    assert_eq!(book.get("used"), "value");
}

#[test]
fn what_is_declared_is_made_once_and_kept() {
    let kinds = "    generate:\n      db: password\n      chosen: { kind: password, length: 24, alphabet: digits }\n      key: { kind: hex, bytes: 8 }\n      vpn: wireguard\n      ssh: { kind: ssh-key, comment: ada@desk }\n";
    let book = Book::new(kinds);
    book.run(&["secret", "init"]).code(0);
    book.set("db", "chosen by hand").code(0);
    said(
        &book,
        book.run(&["secret", "generate"]),
        expect![[r#"
        made `chosen`, `key`, `ssh`, `vpn` in `secrets.yaml`
        exit 0
    "#]],
    );
    assert_eq!(book.get("db"), "chosen by hand");
    let chosen = book.get("chosen");
    assert!(chosen.len() == 24 && chosen.bytes().all(|b| b.is_ascii_digit()), "a password of other characters");
    assert_eq!(book.get("key").len(), 16);
    let public = book.run(&["secret", "get", "-n", "public_unencrypted.vpn"]).code(0).out;
    assert!(public.len() == 44 && book.store().contains(&public), "the public half is there for everybody");
    assert!(book.get("ssh").contains("BEGIN OPENSSH PRIVATE KEY"));
    let before = book.store();
    said(
        &book,
        book.run(&["secret", "generate"]),
        expect![[r#"
        nothing to make: 5 secrets declared, and nothing is missing
        exit 0
    "#]],
    );
    assert_eq!(book.store(), before);
    book.lab(&format!("{kinds}      more: uuid\n"));
    book.run(&["secret", "generate"]).code(0).says("made `more`").says_not("`db`");
    assert_eq!((book.get("chosen"), book.get("db")), (chosen, "chosen by hand".into()));
    book.lab("");
    book.run(&["secret", "generate"]).code(2).says("declares nothing to generate");
    // What a faulty declaration meant is nobody's guess.
    book.lab(
        "    admins: { ada: ADA }\n    generate: { oops: { password: { length: 40 } } }\n"
            .replace("ADA", ADA.public)
            .as_str(),
    );
    let refused = book.run(&["secret", "generate"]).code(3).says("nothing was made");
    refused.says("add `kind: password` here, or another of").says_not("made `oops`");
}

#[test]
fn what_nobody_is_there_to_type_holds_up_nothing_else() {
    let kinds = "    generate:\n      db: password\n      api: ask\n      line: { kind: htpasswd, user: joe, of: api }\n      web: { kind: htpasswd, user: joe, of: db }\n      key: uuid\n";
    let book = Book::new(kinds);
    book.run(&["secret", "init"]).code(0);
    book.run(&["secret", "generate", "web"]).code(0).says("made `db`, `web`");
    book.run(&["secret", "generate", "wbe"]).code(2).says("did you mean `web`?");
    book.run(&["secret", "generate"]).code(2).says("made `key`").says("nobody is there to type `api`");
    book.run(&["secret", "generate"]).code(2).says_not("made").says("labwright secret set api < FILE");
    book.set("api", "typed elsewhere").code(0);
    book.run(&["secret", "generate"]).code(0).says("made `line`");
}

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

pub fn two_admins() -> String {
    format!("    admins: {{ ada: {}, bob: {} }}\n", ADA.public, BOB.public)
}

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
