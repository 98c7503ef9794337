//! Whether a secret was ever committed in the clear: every revision that git knows, searched for values that are secret now.
//! Gives git no value: they are looked for in what it prints.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use labwright_secrets::SecretText;

/// Shorter values are found everywhere by chance.
const MIN_BYTES: usize = 8;

/// A secret in the clear in some revision.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leak {
    pub name: String,
    pub commit: String,
    pub file: String,
}

/// Searches all revisions of the repository that a folder is in. `Ok(None)`: it is in none.
///
/// # Errors
/// A fragment that fits after "cannot search earlier revisions: ".
pub fn leaks(folder: &Path, values: &BTreeMap<String, SecretText>) -> Result<Option<Vec<Leak>>, String> {
    let inside = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["rev-parse", "--is-inside-work-tree"])
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("git cannot be started: {error}"))?;
    if !inside.status.success() {
        return Ok(None);
    }
    // Of a value of several lines its longest line is looked for.
    let needle = |value: &'_ SecretText| {
        let line = value.expose().lines().map(str::trim).max_by_key(|line| line.len()).unwrap_or_default().to_string();
        (line.len() >= MIN_BYTES).then_some(zeroize::Zeroizing::new(line))
    };
    let needles: Vec<(&str, zeroize::Zeroizing<String>)> =
        values.iter().filter_map(|(name, value)| Some((name.as_str(), needle(value)?))).collect();
    let mut git = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["log", "--all", "--patch", "--no-color", "--no-textconv", "--no-ext-diff", "--full-history", "-m"])
        .args(["--format=commit %H"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("git cannot be started: {error}"))?;
    let Some(out) = git.stdout.take() else { return Err("git prints nothing".into()) };
    let (mut commit, mut file, mut found) = (String::new(), String::new(), Vec::new());
    let mut reader = BufReader::new(out);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Err(format!("git stopped: {error}")),
        }
        let text = String::from_utf8_lossy(&line);
        if let Some(hash) = text.strip_prefix("commit ") {
            commit = hash.trim().chars().take(12).collect();
        } else if let Some(path) = text.strip_prefix("+++ b/") {
            file = path.trim().to_string();
        } else if text.starts_with('+') {
            for (name, needle) in needles.iter().filter(|(_, needle)| text.contains(needle.as_str())) {
                found.push(Leak { name: name.to_string(), commit: commit.clone(), file: file.clone() });
                let _ = needle;
            }
        }
    }
    let status = git.wait().map_err(|error| format!("git did not end: {error}"))?;
    if !status.success() && commit.is_empty() && !found.is_empty() {
        return Err(format!("git ended with {status}"));
    }
    found.sort();
    found.dedup();
    Ok(Some(found))
}
