//! `.sops.yaml`: for whom a new store is encrypted, and which of its values stay readable.
//! Knows age only; a rule that asks for anything else is refused, not half followed.

use std::io;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::recipient;
use crate::store::syntax::{self, Kind, Node};
use crate::{ErrorKind, SecretError};

/// The name of the file.
pub const FILE_NAME: &str = ".sops.yaml";

/// Which keys of a store have encrypted values.
#[derive(Clone, Debug)]
pub enum Selection {
    /// All but what is below a key that ends so.
    UnencryptedSuffix(String),
    /// Only what is below a key that ends so.
    EncryptedSuffix(String),
    /// All but what is below a key that matches.
    UnencryptedRegex(Regex),
    /// Only what is below a key that matches.
    EncryptedRegex(Regex),
}

impl Default for Selection {
    fn default() -> Selection {
        Selection::UnencryptedSuffix("_unencrypted".to_string())
    }
}

impl Selection {
    /// Whether a value is encrypted; `keys` are the map keys on the way to it.
    pub fn encrypts<S: AsRef<str>>(&self, keys: &[S]) -> bool {
        let any = |test: &dyn Fn(&str) -> bool| keys.iter().any(|key| test(key.as_ref()));
        match self {
            Selection::UnencryptedSuffix(suffix) => !any(&|key| key.ends_with(suffix)),
            Selection::EncryptedSuffix(suffix) => any(&|key| key.ends_with(suffix)),
            Selection::UnencryptedRegex(regex) => !any(&|key| regex.is_match(key)),
            Selection::EncryptedRegex(regex) => any(&|key| regex.is_match(key)),
        }
    }

    /// The name and the text with which a store or a rule says so.
    pub fn setting(&self) -> (&'static str, &str) {
        match self {
            Selection::UnencryptedSuffix(suffix) => ("unencrypted_suffix", suffix),
            Selection::EncryptedSuffix(suffix) => ("encrypted_suffix", suffix),
            Selection::UnencryptedRegex(regex) => ("unencrypted_regex", regex.as_str()),
            Selection::EncryptedRegex(regex) => ("encrypted_regex", regex.as_str()),
        }
    }

    /// What a map's settings say; `Ok(None)` if nothing. Errors say what is wrong, without a place.
    pub(crate) fn parse(map: &Node) -> Result<Option<Selection>, (String, &'static str)> {
        let regex = |text: &str, name| {
            Regex::new(text).map_err(|_| (format!("its `{name}` is no regular expression"), "mend the expression"))
        };
        let mut found = None;
        for (name, text) in settings(map) {
            if text.is_empty() {
                continue;
            }
            let selection = match name {
                "unencrypted_suffix" => Selection::UnencryptedSuffix(text.to_string()),
                "encrypted_suffix" => Selection::EncryptedSuffix(text.to_string()),
                "unencrypted_regex" => Selection::UnencryptedRegex(regex(text, name)?),
                "encrypted_regex" => Selection::EncryptedRegex(regex(text, name)?),
                "unencrypted_comment_regex" | "encrypted_comment_regex" => {
                    return Err((
                        format!("its `{name}` chooses values by comments, which is not known here"),
                        "choose by the keys: `encrypted_regex` or a suffix",
                    ));
                }
                _ => continue,
            };
            if found.replace(selection).is_some() {
                return Err((
                    "it has two settings that choose what is encrypted".to_string(),
                    "keep one of the suffixes and regular expressions",
                ));
            }
        }
        Ok(found)
    }
}

/// The scalar settings of a map.
fn settings(map: &Node) -> impl Iterator<Item = (&str, &str)> {
    let entries: &[_] = match &map.kind {
        Kind::Map { entries, .. } => entries,
        _ => &[],
    };
    entries.iter().filter_map(|entry| Some((entry.key.as_str(), entry.value.text()?)))
}

/// What one rule says about a new store.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    pub recipients: Vec<String>,
    pub selection: Selection,
    pub mac_only_encrypted: bool,
}

/// The rules of one file, in order.
#[derive(Clone, Debug)]
pub struct Rules {
    rules: Vec<(Option<Regex>, Result<Rule, SecretError>)>,
}

impl Rules {
    pub fn parse(text: &str) -> Result<Rules, SecretError> {
        let fault = |at: usize, why: &str, help: &str| {
            let line = syntax::line_of(text, at);
            SecretError::new(ErrorKind::Invalid, format!("read `{FILE_NAME}`: line {line}: {why}")).help(help)
        };
        let tree = syntax::read_with_aliases(text).map_err(|at| fault(at.at, &at.message, &at.help))?;
        let Some(list) = tree.root.get("creation_rules") else { return Ok(Rules { rules: Vec::new() }) };
        let Kind::List { items, .. } = &list.kind else {
            return Err(fault(
                list.span.start,
                "`creation_rules` is not a list",
                "write each rule as `- path_regex: …`",
            ));
        };
        let mut rules = Vec::new();
        for item in items {
            let path = match item.get("path_regex").and_then(Node::text).filter(|text| !text.is_empty()) {
                Some(path) => Some(Regex::new(path).map_err(|_| {
                    fault(item.span.start, "its `path_regex` is no regular expression", "mend the expression")
                })?),
                None => None,
            };
            // A rule for other files may ask for what is not known here.
            let rule = rule(item)
                .map_err(|(why, help)| fault(item.span.start, &format!("the rule cannot be followed: {why}"), help));
            rules.push((path, rule));
        }
        Ok(Rules { rules })
    }

    /// The first rule for a file; its path is relative to the folder of `.sops.yaml`, with `/`.
    pub fn for_path(&self, relative: &str) -> Result<Option<Rule>, SecretError> {
        let mut rules = self.rules.iter();
        match rules.find(|(path, _)| path.as_ref().is_none_or(|path| path.is_match(relative))) {
            Some((_, rule)) => rule.clone().map(Some),
            None => Ok(None),
        }
    }
}

fn rule(item: &Node) -> Result<Rule, (String, &'static str)> {
    let Kind::Map { entries, .. } = &item.kind else {
        return Err(("it is not a map".to_string(), "write `- path_regex: …` and `age: …` below it"));
    };
    let age_only = "only age keys are known here: keep to `age:`, or make the store with `sops`";
    let mut rule = Rule { selection: Selection::parse(item)?.unwrap_or_default(), ..Rule::default() };
    for entry in entries {
        let empty = entry.value.is_empty();
        match entry.key.as_str() {
            "age" => keys(&entry.value, &mut rule.recipients)?,
            "key_groups" => {
                let Kind::List { items, .. } = &entry.value.kind else { continue };
                if items.len() > 1 {
                    return Err((
                        "it has several key groups".to_string(),
                        "a store here has one group: list all keys under `age:`",
                    ));
                }
                for group in items {
                    let Kind::Map { entries, .. } = &group.kind else { continue };
                    for entry in entries {
                        match entry.key.as_str() {
                            "age" => keys(&entry.value, &mut rule.recipients)?,
                            _ if entry.value.is_empty() => {}
                            other => return Err((format!("its key group asks for `{other}`"), age_only)),
                        }
                    }
                }
            }
            "mac_only_encrypted" => rule.mac_only_encrypted = entry.value.text() == Some("true"),
            "shamir_threshold" if empty || matches!(entry.value.text(), Some("0" | "1")) => {}
            "shamir_threshold" => {
                return Err((
                    "it splits the key (`shamir_threshold`)".to_string(),
                    "a store here has one group of keys: take the line out",
                ));
            }
            "path_regex" | "unencrypted_suffix" | "encrypted_suffix" | "unencrypted_regex" | "encrypted_regex"
            | "aws_profile" => {}
            _ if empty => {}
            other => return Err((format!("it asks for `{other}`"), age_only)),
        }
    }
    if rule.recipients.is_empty() {
        return Err(("it names no age key".to_string(), "add `age: age1…`"));
    }
    Ok(rule)
}

/// Recipients in a list, or in one text with commas.
fn keys(node: &Node, into: &mut Vec<String>) -> Result<(), (String, &'static str)> {
    let texts: Vec<&str> = match &node.kind {
        Kind::List { items, .. } => items.iter().filter_map(Node::text).collect(),
        _ => node.text().into_iter().collect(),
    };
    for text in texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty()) {
        let key = recipient::normal(text)
            .map_err(|error| (format!("failed to {}", error.message), "give `age1…` or `ssh-ed25519 …`"))?;
        if !into.contains(&key) {
            into.push(key);
        }
    }
    Ok(())
}

/// The nearest `.sops.yaml`, walking up from a folder. `read` gives a file's text, or `None` if it is not there.
pub fn find(
    folder: &Path,
    read: impl Fn(&Path) -> io::Result<Option<String>>,
) -> Result<Option<(PathBuf, Rules)>, SecretError> {
    for folder in folder.ancestors() {
        let path = folder.join(FILE_NAME);
        let text = read(&path).map_err(|error| {
            SecretError::new(ErrorKind::Io, format!("read `{}`: {error}", path.display()))
                .help("make it readable for this user")
        })?;
        if let Some(text) = text {
            return Ok(Some((path, Rules::parse(&text)?)));
        }
    }
    Ok(None)
}
