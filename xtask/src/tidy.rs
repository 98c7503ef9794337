//! Invariants that the compiler cannot see. Each is a sentence of ARCHITECTURE.md.
//! Finds everything before it fails.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The dependency arrows, exactly as ARCHITECTURE.md draws them; test-only ones aside.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("plan", &["model"]),
    ("providers", &["model", "plan", "secrets"]),
    ("engine", &["model", "plan", "secrets"]),
    ("daemons", &["model"]),
    ("cli", &["daemons", "engine", "model", "plan", "providers", "secrets", "server"]),
    ("server", &["model", "plan"]),
    ("secrets", &[]),
    ("testkit", &[]),
];
/// Crates that must be able to build without anything that could do I/O.
const PURE: &[(&str, &[&str])] = &[
    (
        "model",
        &[
            "bytesize",
            "foldhash",
            "granit-parser",
            "humantime",
            "indexmap",
            "ipnet",
            "jiff",
            "memchr",
            "schemars",
            "serde",
            "serde_json",
            "strsim",
        ],
    ),
    (
        "plan",
        &["aho-corasick", "base64", "blake3", "const-hex", "foldhash", "serde", "serde_json", "thiserror", "zeroize"],
    ),
];
const LINES_WARN: usize = 600;
const LINES_FAIL: usize = 900;

pub fn tidy(root: &Path) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    arrows(root, &mut faults)?;
    sources(root, &mut faults)?;
    rules(root, &mut faults)?;
    fresh(root, &mut faults)?;
    decisions(root, &mut faults)?;
    let mut err = std::io::stderr().lock();
    for fault in &faults {
        use std::io::Write;
        writeln!(err, "tidy: {fault}")?;
    }
    anyhow::ensure!(faults.is_empty(), "{} faults", faults.len());
    Ok(())
}

/// The names under `[dependencies]` of a manifest.
fn dependencies(manifest: &str) -> Vec<String> {
    let lines =
        manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1).take_while(|line| !line.starts_with('['));
    lines
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_string)
        .collect()
}

fn arrows(root: &Path, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for entry in fs::read_dir(root.join("crates"))? {
        let folder = entry?.path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().replace("labwright-", "");
        let manifest =
            fs::read_to_string(folder.join("Cargo.toml")).with_context(|| format!("{}", folder.display()))?;
        let all = dependencies(&manifest);
        let mut own: Vec<&str> = all.iter().filter_map(|name| name.strip_prefix("labwright-")).collect();
        own.sort_unstable();
        match arrows.get(name.as_str()) {
            Some(allowed) if own == *allowed => {}
            Some(allowed) => {
                faults.push(format!("labwright-{name} depends on {own:?}; ARCHITECTURE.md draws {allowed:?}"))
            }
            None => faults
                .push(format!("labwright-{name} is in no arrow: add it to ARCHITECTURE.md and to xtask/src/tidy.rs")),
        }
        if let Some((_, allowed)) = PURE.iter().find(|(pure, _)| *pure == name) {
            for dependency in all.iter().filter(|d| !d.starts_with("labwright-") && !allowed.contains(&d.as_str())) {
                faults.push(format!("labwright-{name} is pure; `{dependency}` is not on the list of what it may use"));
            }
        }
    }
    Ok(())
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn sources(root: &Path, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for folder in ["crates", "xtask"] {
        rust_files(&root.join(folder), &mut files)?;
    }
    for path in files {
        let text = fs::read_to_string(&path)?;
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let code = text.split("#[cfg(test)]").next().unwrap_or(&text);
        let is_test = shown.contains("/tests/");
        let lines = code.lines().count();
        if lines > LINES_FAIL && !is_test {
            faults.push(format!("{shown} has {lines} lines; is there a room missing?"));
        } else if lines > LINES_WARN && !is_test {
            let mut err = std::io::stderr().lock();
            std::io::Write::write_all(&mut err, format!("tidy: warning: {shown} has {lines} lines\n").as_bytes())?;
        }
        if !text.starts_with("//!") && !shown.contains("/tests/") {
            faults.push(format!("{shown} does not say what it is for in its first line"));
        }
        let here = shown.as_str();
        let mut never = |needle: &str, unless: bool, why: &str| {
            if !unless && code.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(needle)) {
                faults.push(format!("{here}: `{needle}`: {why}"));
            }
        };
        let in_xtask = here.starts_with("xtask/");
        let in_cli = here.starts_with("crates/labwright-cli/");
        never("labwright_providers::ALL", in_cli || in_xtask, "only the command line sees every provider");
        never(concat!("#[", "allow("), here.ends_with("decode.rs"), "say `#[expect(…, reason)]`");
        never(concat!("to", "do!("), false, "nothing is left for later in a path that users reach");
        never(concat!("unimpl", "emented!("), false, "nothing is left for later in a path that users reach");
        let pure = here.starts_with("crates/labwright-plan/") || here.starts_with("crates/labwright-engine/src/apply");
        never("systemctl", !pure, "only a provider names an outside product");
        never("apt-get", !pure, "only a provider names an outside product");
    }
    Ok(())
}

/// Every rule file is in the list: one that is not would be documentation without a check.
fn rules(root: &Path, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let folder = root.join("crates/labwright-plan/src/check");
    let mut files = Vec::new();
    rust_files(&folder, &mut files)?;
    let with_rule =
        files.iter().filter(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("impl Rule for")));
    let count = with_rule.count();
    let listed = labwright_plan::check::RULES.len();
    if count > listed {
        faults.push(format!("{count} files below check/ hold a rule, and RULES lists {listed}"));
    }
    Ok(())
}

fn fresh(root: &Path, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let pages = crate::generate::pages()?;
    for (path, text) in &pages {
        if fs::read_to_string(root.join(path)).unwrap_or_default() != *text {
            faults.push(format!("{path} is stale: `cargo run -p xtask -- generate`"));
        }
    }
    for entry in fs::read_dir(root.join(crate::generate::DOCUMENTS)).into_iter().flatten() {
        let path = format!("{}/{}", crate::generate::DOCUMENTS, entry?.file_name().to_string_lossy());
        if !pages.iter().any(|(page, _)| *page == path) {
            faults.push(format!("{path} is generated by nothing: remove it"));
        }
    }
    Ok(())
}

/// Decisions are numbered without a gap.
fn decisions(root: &Path, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(root.join("docs/decisions"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for (i, name) in names.iter().enumerate() {
        if !name.starts_with(&format!("{:04}-", i + 1)) {
            faults.push(format!("docs/decisions/{name} should be number {:04}", i + 1));
        }
    }
    Ok(())
}
