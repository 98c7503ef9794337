//! Stores and keys for tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::Timestamp;
use labwright_secrets::identity::{Identities, Identity};
use labwright_secrets::rules::Rule;
use labwright_secrets::store::{Document, Opened};
use labwright_secrets::{SecretError, SecretText};

/// The time of every store that a test writes.
pub fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub struct Key {
    pub text: SecretText,
    pub recipient: String,
}

impl Key {
    pub fn new() -> Key {
        let (text, recipient) = Identity::generate();
        Key { text, recipient }
    }

    pub fn identities(&self) -> Identities {
        Identities::from_text(&self.text).unwrap()
    }
}

/// A store of one recipient with the given plain content.
pub fn sealed(key: &Key, name: &str, plain: &str) -> String {
    sealed_by(key, name, plain, &Rule::default())
}

pub fn sealed_by(key: &Key, name: &str, plain: &str, rule: &Rule) -> String {
    let mut store = Document::create(name, std::slice::from_ref(&key.recipient), rule).unwrap();
    store.replace_plain(&SecretText::from(plain)).unwrap();
    store.to_text(now()).unwrap()
}

pub fn open(key: &Key, name: &str, text: &str) -> Result<Opened, SecretError> {
    Document::parse(name, text.as_bytes())?.open(&key.identities())
}

pub fn text_of(store: &Opened, path: &str) -> String {
    store.get(path).unwrap().expose().to_string()
}

/// An error as a user sees it.
pub fn shown(error: &SecretError) -> String {
    let help = error.help.as_deref().unwrap_or("NO HELP");
    format!("{:?}: failed to {error}\nhint: {help}\n", error.kind)
}

/// A folder that goes with the test.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// An SSH key of `ssh-keygen`: the private half's path, and the public half's line.
pub fn ssh_key(folder: &Path, name: &str, options: &[&str], passphrase: &str) -> (PathBuf, String) {
    let path = folder.join(name);
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-N", passphrase, "-C", "test@lab"]).args(options).arg("-f").arg(&path);
    run(command.stdin(Stdio::null()));
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    (path, public.trim().to_string())
}

/// Runs a tool that a test needs; what is missing is named, not skipped.
pub fn run(command: &mut Command) -> Vec<u8> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} does not start ({error}): run `scripts/test-deps`"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The folder of a dependency's source, as cargo knows it.
pub fn crate_folder(name: &str) -> PathBuf {
    let version = String::from_utf8(run(Command::new("rustc").arg("-vV"))).unwrap();
    // Without it cargo wants the sources for every platform.
    let platform = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata = run(Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", platform])
        .current_dir(env!("CARGO_MANIFEST_DIR")));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == name).unwrap();
    Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_path_buf()
}

/// Whether this is the child of `again`.
pub fn is_child() -> bool {
    std::env::var_os("LABWRIGHT_TEST_CHILD").is_some()
}

/// This test once more, in a process of its own: what it does depends on its environment.
pub fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env("LABWRIGHT_TEST_CHILD", "1");
    command
}
