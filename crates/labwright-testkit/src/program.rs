//! Programs of this workspace that a test of another crate needs: cargo tells their paths only to tests of their own crate.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A binary of this crate, built as the program of the asking test was: `beside` is `env!("CARGO_BIN_EXE_…")` of that.
pub fn program(name: &str, beside: &str) -> Result<PathBuf> {
    let folder = Path::new(beside).parent().context("find the folder of built programs")?;
    let target = folder.parent().context("find the target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", "labwright-testkit", "--bin", name]).arg("--target-dir").arg(target);
    build.arg("--manifest-path").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    if folder.ends_with("release") {
        build.arg("--release");
    }
    let output = build.output().with_context(|| format!("start cargo to build `{name}`"))?;
    ensure!(output.status.success(), "build `{name}`: {}", String::from_utf8_lossy(&output.stderr));
    Ok(folder.join(name))
}
