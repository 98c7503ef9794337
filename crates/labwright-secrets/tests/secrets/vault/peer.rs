//! The fake, judged by the official client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use labwright_testkit::fake_vault::{FakeVault, Prepared, VaultOptions};

fn run(command: &mut Command, what: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{what}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{what}:\n{}{}", text(&output.stdout), text(&output.stderr));
}

/// A Python with `hvac`, below the folder for what is built.
fn python_with_hvac() -> PathBuf {
    let build = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = build.join("hvac");
    let python = folder.join("bin/python");
    if !folder.join("ready").exists() {
        let what = "`python3 -m venv`: install the Debian package python3-venv";
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder), what);
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "hvac==2.4.0"];
        run(Command::new(&python).args(pip), "`pip install hvac==2.4.0` from PyPI");
        fs::write(folder.join("ready"), "").expect("the folder is ours");
    }
    python
}

#[test]
fn the_official_client_for_python_works_with_the_fake() {
    let python = python_with_hvac();
    let options = VaultOptions { prepared: Prepared::Empty, ..VaultOptions::default() };
    let vault = FakeVault::with(options).expect("it starts");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/secrets/vault_hvac.py");
    let mut command = Command::new(python);
    command.arg(script).arg(vault.address()).env_remove("VAULT_TOKEN").env_remove("VAULT_ADDR");
    run(&mut command, "hvac against the fake");
    // What hvac sends beyond what the server knows is its own affair, but it is not much.
    assert!(vault.ignored_fields().len() < 10, "{:?}", vault.ignored_fields());
}
