//! A Vault as the store of a lab's secrets, and a pair of them set up by an apply, one unsealed by the other.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use labwright_secrets::vault::{Cas, Client, Fields, Login, Options};
use labwright_secrets::{SecretError, SecretText};
use labwright_testkit::fake_vault::{FakeVault, Prepared, VaultOptions};

use crate::secrets::feed;
use crate::world::{Desk, Ran};

/// A lab on this machine, and a Vault that it keeps its secrets in.
struct Shelf {
    desk: Desk,
    memory: tempfile::TempDir,
    vault: FakeVault,
}

impl Shelf {
    /// `rest` stands below `platform.secrets`, and what follows it at the top of the lab file.
    fn new(rest: &str) -> Shelf {
        let vault = FakeVault::start().unwrap();
        root(&vault).sys().enable_kv("secret").unwrap();
        let shelf = Shelf { desk: Desk::new(""), memory: tempfile::tempdir_in("/dev/shm").unwrap(), vault };
        shelf.lab(rest);
        shelf
    }

    fn lab(&self, rest: &str) {
        let address = self.vault.address();
        self.desk.lab(&format!("lab: home\nplatform:\n  secrets:\n    vault: {{ url: \"{address}\" }}\n{rest}"));
    }

    /// A host that is this machine, with one file of this content.
    fn host(&self, generate: &str, content: &str) -> std::path::PathBuf {
        let path = self.desk.path("here/app.env");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let at = path.display();
        self.lab(&format!("{generate}compute:\n  hosts:\n    here:\n      local: true\n      files:\n        {at}: {{ content: \"{content}\" }}\n"));
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.desk.command();
        command.env("XDG_RUNTIME_DIR", self.memory.path()).env("LABWRIGHT_RUN_DIR", self.memory.path().join("run"));
        command.env("VAULT_TOKEN", self.vault.root_token()).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    fn set(&self, name: &str, value: &str) -> Ran {
        feed(self.command(&["secret", "set", name]), value)
    }

    fn get(&self, name: &str) -> String {
        self.run(&["secret", "get", "-n", name]).code(0).out
    }

    fn fields(&self, path: &str) -> Result<Fields, SecretError> {
        root(&self.vault).kv("secret").read(path).map(|version| version.fields)
    }
}

fn root(vault: &FakeVault) -> Client {
    client(&vault.address(), vault.root_token())
}

fn client(address: &str, token: &str) -> Client {
    Client::new(&Options::new(address), Login::Token(SecretText::from(token))).unwrap()
}

fn fields(all: &[(&str, &str)]) -> Fields {
    all.iter().map(|(name, value)| (name.to_string(), SecretText::from(*value))).collect()
}

#[test]
fn values_go_into_their_fields_and_come_out_again() {
    let shelf = Shelf::new("");
    let at = shelf.vault.address();
    shelf.set("db", "first").code(0).says(&format!("`db` is set in the Vault at `{at}`"));
    shelf.set("cloud.token", "a \"b\" 'c'").code(0);
    shelf.set("cloud.user", "ada").code(0);
    assert_eq!(shelf.fields("home/db").unwrap(), fields(&[("value", "first")]));
    assert_eq!(shelf.fields("home/cloud").unwrap(), fields(&[("token", "a \"b\" 'c'"), ("user", "ada")]));
    assert_eq!((shelf.get("db").as_str(), shelf.get("cloud.user").as_str()), ("first", "ada"));
    let told =
        shelf.run(&["secret", "get", "dbx"]).code(2).says("has no `home/dbx`, which is the place of secret `dbx`");
    told.says("`labwright secret set dbx`");
    shelf.run(&["secret", "get", "db.user"]).code(2).says("has no field `user` in `home/db`");

    shelf.lab(
        "compute: { hosts: { here: { local: true, files: { /tmp/lw-never: { content: \"${secret.db}\" } } } } }\n",
    );
    let listed = shelf.run(&["secret", "list"]).code(0).out;
    let rows: Vec<Vec<&str>> = listed.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert!(rows[2].starts_with(&["db", "in", "Vault"]) && rows[2].ends_with(&["here"]), "{listed}");
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), ["cloud.token", "cloud.user", "db"]);

    shelf.run(&["secret", "remove", "db"]).code(2).says("`db` is used");
    shelf.run(&["secret", "remove", "cloud.token"]).code(0).says("earlier versions there still hold it");
    assert_eq!(shelf.fields("home/cloud").unwrap(), fields(&[("user", "ada")]));
    shelf.run(&["secret", "remove", "cloud.user"]).code(0);
    shelf.fields("home/cloud").unwrap_err();
    shelf.set("cloud.user", "again").code(0);
    shelf.run(&["secret", "edit"]).code(2).says("keeps its secrets in a Vault, and no file");
    assert_eq!(shelf.vault.ignored_fields(), Vec::<String>::new());
}

#[test]
fn generated_ones_keep_their_public_halves_beside_them_and_the_doctor_knows_what_lacks() {
    let generate = "    rotate_after: 90d\n    generate: { wg: wireguard, db: password, box.key: ssh-key }\n";
    let shelf = Shelf::new(generate);
    shelf.run(&["secret", "doctor"]).code(3).says("db: declared, and not made yet").says("root token");
    shelf.run(&["secret", "generate"]).code(0).says("made `box.key`, `db`, `wg` in the Vault");
    shelf.run(&["secret", "generate"]).code(0).says("nothing is missing");
    assert_eq!(shelf.fields("home/wg").unwrap().keys().collect::<Vec<_>>(), ["public", "value"]);
    assert_eq!(shelf.fields("home/box").unwrap().keys().collect::<Vec<_>>(), ["key", "key_public"]);
    let names = shelf.run(&["secret", "list"]).code(0).out;
    assert!(!names.contains("public"), "{names}");
    let said = shelf.run(&["secret", "doctor"]).code(3);
    assert!(!said.out.contains("not made yet") && said.out.contains("3 secrets, 1 thing to do"), "{}", said.out);
    shelf.lab(&format!(
        "{generate}compute: {{ hosts: {{ here: {{ local: true, files: {{ /tmp/lw-never: {{ content: \"${{public.wg}}\" }} }} }} }} }}\n"
    ));
    shelf.run(&["check"]).code(3).says("`${public.wg}`").says("SOPS file");
}

#[test]
fn what_a_host_needs_is_delivered_and_a_server_that_is_away_blocks_only_that() {
    let shelf = Shelf::new("");
    shelf.set("db", "canary-value-one").code(0);
    let path = shelf.host("", "KEY=${secret.db}\\n");
    shelf.run(&["plan"]).code(0).says("app.env").says_not("canary");
    shelf.run(&["apply", "--yes"]).code(0).says("1 of 1 step done").says_not("canary");
    assert_eq!(fs::read_to_string(&path).unwrap(), "KEY=canary-value-one\n");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o400);
    shelf.run(&["plan"]).code(0).says("nothing to do");
    shelf.set("db", "canary-value-two").code(0);
    shelf.run(&["plan"]).code(0).says("secret `db`").says_not("canary");
    shelf.run(&["apply", "--yes"]).code(0);
    assert_eq!(fs::read_to_string(&path).unwrap(), "KEY=canary-value-two\n");

    // Nobody there: what needs a secret waits, the rest goes on, and nothing is taken away.
    let other = shelf.desk.path("here/plain");
    let lab = fs::read_to_string(shelf.desk.path("lab.yaml")).unwrap();
    let at = shelf.vault.address();
    let lab = format!("{lab}        {}: {{ content: plain }}\n", other.display());
    shelf.desk.lab(&lab.replace(&at, "http://127.0.0.1:9"));
    let away = shelf.run(&["apply", "--yes"]);
    assert!(away.err.contains("warning: secret `db` cannot be read"), "{}", away.err);
    assert!(format!("{}{}", away.out, away.err).contains("it holds secret `db`, which cannot be read"), "{}", away.out);
    assert_eq!(fs::read_to_string(&other).unwrap(), "plain");
    assert_eq!(fs::read_to_string(&path).unwrap(), "KEY=canary-value-two\n");
    // Somebody who may not read it.
    shelf.desk.lab(&lab);
    let mut denied = shelf.command(&["plan"]);
    let denied: Ran = denied.env("VAULT_TOKEN", "hvs.nobody").output().unwrap().into();
    assert!(denied.err.contains("denies access") && !denied.err.contains("hvs.nobody"), "{}", denied.err);
    let mut nobody = shelf.command(&["plan"]);
    let nobody: Ran = nobody.env_remove("VAULT_TOKEN").output().unwrap().into();
    assert!(nobody.err.contains("nothing at hand logs in"), "{}", nobody.err);
}

#[test]
fn a_login_is_found_where_the_other_tools_leave_it() {
    let shelf = Shelf::new("");
    shelf.set("db", "value").code(0);
    let admin = root(&shelf.vault);
    admin.sys().enable_approle("approle").unwrap();
    let policy = labwright_secrets::vault::policy::scoped("secret", &["home/db"]).unwrap();
    admin.sys().write_policy("reader", &policy).unwrap();
    let role = labwright_secrets::vault::Role { policies: vec!["reader".into()], ..Default::default() };
    admin.approle("approle").write_role("desk", &role).unwrap();
    let (id, secret) =
        (admin.approle("approle").role_id("desk").unwrap(), admin.approle("approle").new_secret_id("desk").unwrap());
    let read = |set: &dyn Fn(&mut Command)| {
        let mut command = shelf.command(&["secret", "get", "-n", "db"]);
        set(command.env_remove("VAULT_TOKEN"));
        Ran::from(command.output().unwrap())
    };
    let role = |command: &mut Command| {
        command.env("VAULT_ROLE_ID", &id).env("VAULT_SECRET_ID", secret.secret.expose());
    };
    assert_eq!(read(&role).code(0).out, "value");
    assert_eq!(read(&|command| _ = command.env("BAO_TOKEN", shelf.vault.root_token())).code(0).out, "value");
    shelf.desk.write("home/.vault-token", format!("{}\n", shelf.vault.root_token()));
    assert_eq!(read(&|_| ()).code(0).out, "value");
    // The address of the environment is for labs that name none.
    shelf.desk.lab(
        "lab: home\nplatform: { secrets: { vault: { on: here } } }\ncompute: { hosts: { here: { local: true } } }\n",
    );
    assert_eq!(read(&|command| _ = command.env("VAULT_ADDR", shelf.vault.address())).code(0).out, "value");
    read(&|_| ()).code(2).says("nothing says where the lab's Vault is");
}

#[test]
fn a_rotation_comes_back_with_the_old_values_when_a_host_does_not_take_the_new() {
    let shelf = Shelf::new("");
    let generate = "    generate: { db: password }\n";
    let path = shelf.host(generate, "KEY=${secret.db}\\n");
    shelf.run(&["secret", "generate"]).code(0);
    root(&shelf.vault).kv("secret").patch("home/db", &fields(&[("note", "of somebody else")]), Cas::Any).unwrap();
    shelf.run(&["apply", "--yes"]).code(0);
    let first = shelf.get("db");
    shelf.run(&["secret", "rotate", "db", "--yes"]).code(0).says("`db`: rotated");
    let second = shelf.get("db");
    assert!(first != second && fs::read_to_string(&path).unwrap() == format!("KEY={second}\n"));
    assert_eq!(shelf.get("db.note"), "of somebody else");

    // Refused by nobody at the terminal: the old value is there, and nothing is left behind.
    let refused = shelf.run(&["secret", "rotate", "db"]);
    assert_ne!(refused.code, 0);
    assert_eq!(shelf.get("db"), second);
    shelf.run(&["secret", "rotate", "--undo"]).code(2).says("no rotation was cut off");

    // Cut off in between: others keep away from it until that is settled.
    let metadata = root(&shelf.vault).kv("secret").metadata("home/db").unwrap().unwrap();
    let kv = root(&shelf.vault);
    let mark = [("labwright_rotated_from".to_string(), metadata.current.to_string())].into();
    kv.kv("secret").set_custom("home/db", &mark).unwrap();
    kv.kv("secret").patch("home/db", &fields(&[("value", "half-way")]), Cas::Any).unwrap();
    shelf.set("db", "x").code(2).says("did not come to its end").says("--undo");
    shelf.run(&["secret", "doctor"]).code(3).says("a rotation was cut off");
    shelf.run(&["secret", "rotate", "--undo", "--yes"]).code(0).says("agree again");
    assert_eq!(shelf.get("db"), second);
    shelf.set("db", "third").code(0);
}

#[test]
fn a_sealed_server_and_one_that_would_be_spoken_to_in_the_clear_say_what_to_do() {
    let vault = FakeVault::with(VaultOptions { prepared: Prepared::Sealed, ..VaultOptions::default() }).unwrap();
    let shelf = Shelf::new("");
    let lab = fs::read_to_string(shelf.desk.path("lab.yaml")).unwrap();
    shelf.desk.lab(&lab.replace(&shelf.vault.address(), &vault.address()));
    shelf.run(&["secret", "get", "db"]).code(6).says("sealed").says("vault operator unseal");
    shelf.desk.lab(&lab.replace(&shelf.vault.address(), "http://192.0.2.1:8200"));
    shelf.run(&["secret", "get", "db"]).code(2).says("readable over the network");
}
