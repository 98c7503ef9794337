//! The store of secrets by hand: begun, filled, read.

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
    pub fn edit(&self, script: &str) -> Ran {
        let editor = self.editor(script);
        self.command(&["secret", "edit"]).env("EDITOR", editor).output().unwrap().into()
    }

    /// Runs git here, with an identity and nobody's configuration.
    pub fn git(&self, args: &[&str]) -> Ran {
        let who = ["-c", "user.name=ada", "-c", "user.email=ada@example.com", "-c", "init.defaultBranch=main"];
        let mut git = Command::new("git");
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        let ran: Ran = git.args(who).args(args).current_dir(self.desk.dir.path()).output().unwrap().into();
        ran
    }
}

/// Everything that was said, with what differs from run to run put aside.
#[track_caller]
pub fn said(book: &Book, ran: Ran, expected: Expect) -> Ran {
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

pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

pub fn inside(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < deadline, "{what}: still not");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn two_admins() -> String {
    format!("    admins: {{ ada: {}, bob: {} }}\n", ADA.public, BOB.public)
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
fn what_stands_in_the_place_of_a_declared_secret_is_told_and_not_replaced() {
    let book = Book::new("    generate: { db: password }\n");
    book.run(&["secret", "init"]).code(0);
    book.set("db.user", "ada").code(0);
    let before = fs::read(book.desk.path("secrets.yaml")).unwrap();
    book.run(&["secret", "generate"]).code(2).says("`db`").says("it is not one value").says("name one of the values");
    assert_eq!(fs::read(book.desk.path("secrets.yaml")).unwrap(), before);
    // One that has to be typed is not asked for as if it were missing.
    book.lab("    generate: { db: ask }\n");
    book.run(&["secret", "generate"]).says("it is not one value").says_not("nobody is there to type");
    assert_eq!(fs::read(book.desk.path("secrets.yaml")).unwrap(), before);
}
