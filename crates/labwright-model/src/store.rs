//! What can be told of the store of secrets without any key: its names, its public values, who may read it.
//! A SOPS file encrypts values and leaves names in the clear. Nothing here decrypts, and no value that is secret is kept.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codes;
use crate::finding::{Finding, Findings};
use crate::span::{Span, Spanned};
use crate::tree::{self, Kind, Node};

/// The block that makes a file a SOPS file.
const SOPS: &str = "sops";
/// The maps of the store that are labwright's own: public halves, and when each secret was made.
pub const PUBLIC: &str = "public_unencrypted";
pub const MADE: &str = "made_unencrypted";
/// The suffix of keys that SOPS leaves in the clear unless a file says otherwise.
pub const UNENCRYPTED: &str = "_unencrypted";
const ENCRYPTED: &str = "ENC[";

/// The store, as far as it can be read without a key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Store {
    /// Its path, as the lab file leads to it.
    pub path: String,
    /// Why there is nothing to read.
    pub missing: Option<String>,
    /// Every value that a reference can name, by its dotted name, with its place.
    pub names: BTreeMap<String, Entry>,
    /// Values that are public: halves of generated pairs, certificates.
    pub public: BTreeMap<String, Spanned<String>>,
    /// When each secret was made, as the store says: a date.
    pub made: BTreeMap<String, Spanned<String>>,
    /// The age and SSH public keys that it is encrypted to.
    pub recipients: Vec<Spanned<String>>,
    /// Where its `sops` block stands; `None`: it is not a SOPS file.
    pub sops: Option<Span>,
}

/// One value of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub span: Span,
    /// Whether nothing of it can be read that should not be: it is encrypted, empty, or meant to be in the clear.
    pub encrypted: bool,
}

/// Which values the `sops` block leaves in the clear, by the keys on the way to them.
#[derive(Clone, Debug)]
enum Clear {
    /// Those below a key that ends so.
    Below(String),
    /// All but those below a key that ends so.
    Beside(String),
    /// A regular expression chooses. That is for who opens the store: nothing in it counts as forgotten here.
    Chosen,
}

impl Clear {
    fn of(sops: Option<&Node>) -> Clear {
        let setting = |key: &str| {
            let text = sops?.get(key)?.text()?;
            (!text.is_empty()).then(|| text.to_string())
        };
        if setting("encrypted_regex").or_else(|| setting("unencrypted_regex")).is_some() {
            return Clear::Chosen;
        }
        match setting("encrypted_suffix") {
            Some(suffix) => Clear::Beside(suffix),
            None => Clear::Below(setting("unencrypted_suffix").unwrap_or_else(|| UNENCRYPTED.into())),
        }
    }

    fn allows(&self, keys: &[&str]) -> bool {
        match self {
            Clear::Below(suffix) => keys.iter().any(|key| key.ends_with(suffix.as_str())),
            Clear::Beside(suffix) => !keys.iter().any(|key| key.ends_with(suffix.as_str())),
            Clear::Chosen => true,
        }
    }
}

impl Store {
    /// A store that could not be read.
    pub(crate) fn absent(path: String, why: String) -> Store {
        Store { path, missing: Some(why), ..Store::default() }
    }

    /// Reads the text of a store. Faults of the text are findings like those of any other file.
    pub(crate) fn read(path: String, file: u32, text: &str, findings: &mut Findings) -> Store {
        if let Some((line, at)) = conflict(text) {
            let span = Span { file, start: at as u32, end: (at + 7) as u32 };
            let message = format!("`{path}` holds an unsolved merge conflict on line {line}");
            let help = format!(
                "take one side whole (`git checkout --ours {path}`), then set again what the other side had changed: \
                 `labwright secret set NAME`"
            );
            findings.push(Finding::error(codes::SYNTAX, "platform.secrets.age", span, message).help(help));
            return Store::absent(path, "a merge conflict stands in it".into());
        }
        // SOPS indents JSON with tabs, which YAML forbids; JSON has none inside its strings.
        let text = if path.ends_with(".json") { Cow::Owned(text.replace('\t', " ")) } else { Cow::Borrowed(text) };
        let tree = tree::read(file, &text, findings, &mut Vec::new());
        if !tree.whole {
            return Store::absent(path, "it is not one YAML document".into());
        }
        let Some(root) = tree.root else { return Store::absent(path, "it is empty".into()) };
        let Kind::Map(entries) = &root.kind else {
            return Store::absent(path, "it is no map of names and values".into());
        };
        let clear = Clear::of(root.get(SOPS).map(Arc::as_ref));
        let mut store = Store { path, ..Store::default() };
        for (key, node) in entries {
            match key.text.as_str() {
                SOPS => {
                    store.sops = Some(key.span);
                    store.recipients = recipients(node);
                }
                PUBLIC => texts("", node, &mut store.public),
                MADE => texts("", node, &mut store.made),
                name => store.names(name, &mut vec![name], key.span, node, &clear),
            }
        }
        store
    }

    /// Whether a text is a store: lab files have no `sops` block.
    pub(crate) fn is_one(text: &str) -> bool {
        text.lines().any(|line| line.strip_prefix(SOPS).is_some_and(|rest| rest.starts_with(':')))
    }

    /// List items have a number in their name, and SOPS asks only their keys whether they are encrypted.
    fn names<'a>(&mut self, name: &str, keys: &mut Vec<&'a str>, span: Span, node: &'a Node, clear: &Clear) {
        match &node.kind {
            Kind::Map(entries) => {
                for (key, node) in entries {
                    keys.push(&key.text);
                    self.names(&format!("{name}.{}", key.text), keys, key.span, node, clear);
                    keys.pop();
                }
            }
            Kind::List(items) => {
                for (number, item) in items.iter().enumerate() {
                    self.names(&format!("{name}.{number}"), keys, item.span, item, clear);
                }
            }
            Kind::Scalar { text, .. } => {
                // SOPS leaves an empty text as it is.
                let encrypted = text.is_empty() || clear.allows(keys) || is_encrypted(text);
                self.names.insert(name.into(), Entry { span, encrypted });
            }
            Kind::Null => drop(self.names.insert(name.into(), Entry { span, encrypted: true })),
        }
    }
}

fn is_encrypted(text: &str) -> bool {
    text.starts_with(ENCRYPTED) && text.ends_with(']')
}

/// The line and the place of the first line that `git` writes where it could not merge.
fn conflict(text: &str) -> Option<(usize, usize)> {
    let mut at = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let marks = |mark: &str| line.strip_prefix(mark).is_some_and(|rest| rest.starts_with([' ', '\r', '\n']));
        if marks("<<<<<<<") || marks(">>>>>>>") || marks("|||||||") || line.trim_end() == "=======" {
            return Some((number + 1, at));
        }
        at += line.len();
    }
    None
}

fn recipients(sops: &Node) -> Vec<Spanned<String>> {
    let of = |age: &Node| match &age.kind {
        Kind::List(items) => items
            .iter()
            .filter_map(|item| item.get("recipient"))
            .filter_map(|node| Some(Spanned::new(node.text()?.to_string(), node.span)))
            .collect(),
        _ => Vec::new(),
    };
    let grouped = sops.get("key_groups").map(|groups| match &groups.kind {
        Kind::List(groups) => groups.iter().filter_map(|group| group.get("age")).flat_map(|age| of(age)).collect(),
        _ => Vec::new(),
    });
    let mut all: Vec<Spanned<String>> = sops.get("age").map(|age| of(age)).unwrap_or_default();
    all.extend(grouped.unwrap_or_default());
    all
}

/// The readable texts of a map, by their dotted names.
fn texts(name: &str, node: &Node, into: &mut BTreeMap<String, Spanned<String>>) {
    match &node.kind {
        Kind::Map(entries) => {
            for (key, node) in entries {
                match name {
                    "" => texts(&key.text, node, into),
                    name => texts(&format!("{name}.{}", key.text), node, into),
                }
            }
        }
        // Under rules of its own, a store may have encrypted even these.
        Kind::Scalar { text, .. } if !is_encrypted(text) && !name.is_empty() => {
            into.insert(name.to_string(), Spanned::new(text.clone(), node.span));
        }
        _ => {}
    }
}
