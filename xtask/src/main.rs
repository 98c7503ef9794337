//! Chores that need the workspace's own types: `tidy` checks what the compiler cannot see, `generate` writes reference pages.
//! Changes no code.

mod generate;
mod tidy;

use std::path::PathBuf;

fn main() -> anyhow::Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => tidy::tidy(&root),
        Some("generate") => generate::write(&root),
        _ => anyhow::bail!("say `cargo run -p xtask -- tidy` or `… -- generate`"),
    }
}
