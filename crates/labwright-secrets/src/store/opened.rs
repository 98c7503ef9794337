//! A store that was opened: its values can be read and changed.
//! Writes nothing itself: `to_text` gives the new file.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use crate::identity::same_key;
use crate::recipient;
use crate::{ErrorKind, SecretError, SecretText};

use super::cipher::DataKey;
use super::document::{self, Document, no_random};
use super::edit::{self, New, Splice};
use super::leaf::{self, Found, Leaf, Parent, aad};
use super::meta::{self, AgeEntry};
use super::syntax::{Format, Kind, Node};
use super::value::{self, Place, Type, Value};

/// An opened store.
pub struct Opened {
    pub(super) document: Document,
    pub(super) key: DataKey,
    original: String,
}

/// What `rekey` does with the key that all values are encrypted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rekey {
    /// Keep it, unless a recipient goes: who could open the store once must not open what comes later.
    WhenNeeded,
    /// Make a new one and encrypt every value again.
    Fresh,
}

impl Opened {
    pub(super) fn new(document: Document, key: DataKey) -> Opened {
        let original = document.text.clone();
        Opened { document, key, original }
    }

    /// The store without its content: names, recipients.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Whether anything was changed since it was opened.
    pub fn changed(&self) -> bool {
        self.document.text != self.original
    }

    /// One value as text, whatever its type.
    pub fn get(&self, path: &str) -> Result<SecretText, SecretError> {
        let store = &self.document.name;
        let (_, leaf) = self.leaf(path)?;
        match self.document.clear(&self.key, &leaf)? {
            Some(value) => Ok(SecretText::from(value.shown().as_str())),
            None => Err(SecretError::new(ErrorKind::NoSuchSecret, format!("read `{path}`: it is empty in `{store}`"))
                .help(format!("give it a value: `labwright secret set {path}`"))),
        }
    }

    /// All values as texts by their names; those that are null are left out.
    pub fn all(&self) -> Result<BTreeMap<String, SecretText>, SecretError> {
        let mut out = BTreeMap::new();
        for leaf in self.document.leaves() {
            if let Some(value) = self.document.clear(&self.key, &leaf)? {
                out.insert(leaf.name, SecretText::from(value.shown().as_str()));
            }
        }
        Ok(out)
    }

    /// Sets a secret, making the maps on the way. A number stays a number if the new text is one.
    pub fn set(&mut self, path: &str, text: &SecretText) -> Result<(), SecretError> {
        self.put(path, text.expose(), Kept::Encrypted)
    }

    /// Sets a value that everybody may read: the file's rules must leave its name unencrypted.
    pub fn set_plain(&mut self, path: &str, text: &str) -> Result<(), SecretError> {
        self.put(path, text, Kept::Plain)
    }

    fn put(&mut self, path: &str, text: &str, kept: Kept) -> Result<(), SecretError> {
        let invalid =
            |why: String, help: &str| SecretError::new(ErrorKind::Invalid, format!("set `{path}`: {why}")).help(help);
        let document = &self.document;
        let parts: Vec<&str> = path.split('.').collect();
        if path.is_empty() || parts.iter().any(|part| part.is_empty()) {
            return Err(invalid("it is no name".to_string(), "write parts with dots between them: `db.password`"));
        }
        if parts.first() == Some(&meta::KEY) {
            return Err(invalid("`sops` is where the store keeps its own keys".to_string(), "choose another name"));
        }
        if text.contains('\0') {
            return Err(invalid("the text has a NUL byte".to_string(), "encode it first: `base64`"));
        }
        let found = self.find(path)?;
        let keys: Vec<&str> = match &found {
            Some(found) => found.keys.clone(),
            None => {
                let (found, rest) = leaf::deepest(&document.tree.root, path);
                let list = matches!(found.node.kind, Kind::List { .. });
                found.keys.iter().copied().chain(rest.split('.').filter(|_| !list)).collect()
            }
        };
        let (setting, pattern) = document.meta.selection.setting();
        match (kept, document.meta.selection.encrypts(&keys)) {
            (Kept::Plain, true) => {
                let why = format!("the store's rule (`{setting}: {pattern}`) encrypts this name");
                return Err(invalid(why, "end the name in `_unencrypted`, or keep the value as a secret"));
            }
            (Kept::Encrypted, false) => {
                let why = format!("the store's rule (`{setting}: {pattern}`) leaves this name readable for everybody");
                return Err(invalid(why, "choose another name, or set it as a plain value"));
            }
            _ => {}
        }
        let aad = aad(&keys);
        let splice = match &found {
            Some(Found { node: Node { kind: Kind::Scalar(_), .. }, .. }) => {
                let (_, leaf) = self.leaf(path)?;
                let old = document.clear(&self.key, &leaf)?;
                let value = typed(old.as_ref(), text);
                if old.as_ref() == Some(&value) {
                    return Ok(());
                }
                let new = self.written(&value, &aad, kept, leaf.place, Some(&document.text[leaf.span.clone()]))?;
                Some(edit::replace(&document.text, &leaf, &new))
            }
            Some(found) if !found.node.is_empty() => {
                let inside = if matches!(found.node.kind, Kind::List { .. }) { "list" } else { "map" };
                let help = format!("set one of the values in it: `{path}.…`");
                return Err(invalid(format!("it is a {inside}, not a value"), &help));
            }
            Some(found) => {
                let new = self.written(&document::text_value(text), &aad, kept, Place::Flow, None)?;
                Some(Splice::new(found.node.span.clone(), new))
            }
            None => {
                let (into, rest) = leaf::deepest(&document.tree.root, path);
                if let Kind::Scalar(scalar) = &into.node.kind
                    && !scalar.is_null()
                {
                    let outer = path.strip_suffix(rest).unwrap_or(path).trim_end_matches('.');
                    return Err(invalid(
                        format!("`{outer}` is a value, and nothing can be below it"),
                        "choose another name, or remove that value first",
                    ));
                }
                let rest: Vec<&str> = rest.split('.').collect();
                let list = match &into.node.kind {
                    Kind::List { items, .. } => Some(items.len()),
                    _ => None,
                };
                if list.is_some_and(|length| rest != [length.to_string()]) {
                    let next = list.unwrap_or_default();
                    return Err(invalid(
                        "it is in a list that has no such place".to_string(),
                        &format!("the next free place is `{next}`"),
                    ));
                }
                let value = document::text_value(text);
                let flow = self.written(&value, &aad, kept, Place::Flow, None)?;
                // In a block the same ciphertext stands without quotes.
                let block = match (document.format, kept) {
                    (Format::Yaml, Kept::Encrypted) if flow.starts_with("\"ENC") => flow.trim_matches('"').to_string(),
                    _ => flow.clone(),
                };
                let keys = if list.is_some() { &[][..] } else { &rest[..] };
                let new = New { keys, block: &block, flow: &flow };
                edit::insert(document.format, &document.text, &document.tree.root, into.node, into.parent, &new)
            }
        };
        let added = if found.is_none() { Some(path) } else { None };
        self.change("set", path, splice, Expected { added, removed: None })
    }

    /// Removes a value, or a whole map or list.
    pub fn remove(&mut self, path: &str) -> Result<(), SecretError> {
        let document = &self.document;
        let found = self.find(path)?.ok_or_else(|| self.no_such("remove", path))?;
        let Some((within, at)) = found.within else { return Err(self.no_such("remove", path)) };
        let splice = match found.parent {
            Parent::List { .. } => edit::remove_item(&document.text, within, at),
            _ => edit::remove_entry(&document.text, &document.tree.root, within, at),
        };
        self.change("remove", path, splice, Expected { added: None, removed: Some(path) })
    }

    /// Encrypts for exactly these recipients. Whoever is taken out cannot read what comes after; what was in the
    /// file before, they may have kept.
    pub fn rekey(&mut self, recipients: &[String], rekey: Rekey) -> Result<(), SecretError> {
        let store = self.document.name.clone();
        if !self.document.meta.others.is_empty() {
            let kinds = self.document.meta.others.join(" and ");
            let message = format!("rekey `{store}`: it has {kinds} keys too, which cannot be made here");
            let help = "rekey it with `sops`, where those keys are at hand, or take them out there: `sops rotate -i --rm-pgp …`";
            return Err(SecretError::new(ErrorKind::Invalid, message).help(help));
        }
        let wanted = recipients.iter().map(|recipient| recipient::normal(recipient)).collect::<Result<Vec<_>, _>>()?;
        let old = self.document.meta.age.clone();
        let goes = old.iter().any(|entry| !wanted.iter().any(|wanted| same_key(wanted, &entry.recipient)));
        let (key, age) = if goes || rekey == Rekey::Fresh {
            let key = DataKey::fresh().ok_or_else(no_random)?;
            let age = document::wrap(&key, &wanted)?;
            (key, age)
        } else {
            let kept = |entry: AgeEntry| {
                old.iter().find(|old| same_key(&old.recipient, &entry.recipient)).cloned().unwrap_or(entry)
            };
            let age = document::wrap(&self.key, &wanted)?.into_iter().map(kept).collect();
            (self.key.clone(), age)
        };
        let mut splices = if key.bytes() == self.key.bytes() { Vec::new() } else { self.encrypted_again(&key)? };
        let document = &self.document;
        let list = meta::recipients(document.format, &document.text, &document.tree.root, &age);
        splices.push(list.map_err(|fault| {
            SecretError::new(ErrorKind::Malformed, format!("rekey `{store}`: {}", fault.message)).help(fault.help)
        })?);
        let text = edit::apply(&document.text, splices);
        let changed = Document::parse(&store, text.as_bytes())?;
        let opened = Opened::new(changed, key);
        if opened.all()? != self.all()? || opened.document.recipients().len() != age.len() {
            return Err(self.unusual("rekey", &store));
        }
        (self.document, self.key) = (opened.document, opened.key);
        Ok(())
    }

    /// Every encrypted value and comment under another key.
    fn encrypted_again(&self, key: &DataKey) -> Result<Vec<Splice>, SecretError> {
        let document = &self.document;
        let mut splices = Vec::new();
        for leaf in document.leaves() {
            let encrypted = document.meta.selection.encrypts(&leaf.keys) && !leaf.scalar.text.is_empty();
            if let Some(value) = document.clear(&self.key, &leaf)?.filter(|_| encrypted) {
                let sealed = key.encrypt(&value, &aad(&leaf.keys)).ok_or_else(no_random)?;
                let new = in_place(document.format, leaf.place, Some(&document.text[leaf.span.clone()]), &sealed);
                splices.push(edit::replace(&document.text, &leaf, &new));
            }
        }
        for comment in self.comments() {
            if let Some(clear) = comment.clear {
                let sealed = key.encrypt(&clear, &comment.aad).ok_or_else(no_random)?;
                splices.push(Splice::new(comment.span, format!("#{sealed}")));
            }
        }
        Ok(splices)
    }

    /// The file's new text, sealed: `now` becomes its time, to the second.
    pub fn to_text(&self, now: Timestamp) -> Result<String, SecretError> {
        let document = &self.document;
        let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let digest = document.digest(&self.key)?;
        let mac = self.key.encrypt(&document::text_value(&digest), &time).ok_or_else(no_random)?;
        Ok(edit::apply(&document.text, meta::seal(document.format, &document.tree.root, &time, &mac)))
    }

    /// What a path leads to, if that is one thing.
    fn find(&self, path: &str) -> Result<Option<Found<'_>>, SecretError> {
        let mut found = leaf::find(&self.document.tree.root, path);
        if found.len() > 1 {
            let message = format!("tell which `{path}` is meant: `{}` has several", self.document.name);
            return Err(
                SecretError::new(ErrorKind::Invalid, message).help("rename one: a dot in a name looks like a map")
            );
        }
        Ok(found.pop().filter(|found| found.within.is_some()))
    }

    fn leaf(&self, path: &str) -> Result<(Found<'_>, Leaf<'_>), SecretError> {
        let found = self.find(path)?.ok_or_else(|| self.no_such("read", path))?;
        let span = found.node.span.clone();
        let leaf = self.document.leaves().into_iter().find(|leaf| leaf.name == path && leaf.span == span);
        match leaf {
            Some(leaf) => Ok((found, leaf)),
            None => {
                let message = format!("read `{path}`: it is not one value in `{}`", self.document.name);
                Err(SecretError::new(ErrorKind::Invalid, message)
                    .help(format!("name one of the values in it: `{path}.…`")))
            }
        }
    }

    fn no_such(&self, verb: &str, path: &str) -> SecretError {
        let message = format!("{verb} `{path}`: it is not in `{}`", self.document.name);
        let names: Vec<String> = self.document.leaves().into_iter().map(|leaf| leaf.name).collect();
        let last = |name: &str| name.rsplit('.').next().map(str::to_ascii_lowercase);
        let near = names.iter().find(|name| last(name) == last(path) || name.eq_ignore_ascii_case(path));
        let help = match near {
            Some(near) => format!("there is `{near}`"),
            None => format!("set it first: `labwright secret set {path}`"),
        };
        SecretError::new(ErrorKind::NoSuchSecret, message).help(help)
    }

    fn unusual(&self, verb: &str, path: &str) -> SecretError {
        let message = format!(
            "{verb} `{path}`: the layout of `{}` around it is unusual, so nothing was changed",
            self.document.name
        );
        SecretError::new(ErrorKind::Invalid, message).help("change it by hand: `labwright secret edit`")
    }

    /// A value as it stands in the file at a place.
    fn written(
        &self,
        value: &Value,
        aad: &str,
        kept: Kept,
        place: Place,
        old: Option<&str>,
    ) -> Result<String, SecretError> {
        if kept == Kept::Plain {
            return Ok(value::write(self.document.format, place, value).to_string());
        }
        let sealed = self.key.encrypt(value, aad).ok_or_else(no_random)?;
        Ok(in_place(self.document.format, place, old, &sealed))
    }

    /// Makes a change and looks at the result: every other value must be as it was.
    fn change(
        &mut self,
        verb: &str,
        path: &str,
        splice: Option<Splice>,
        expected: Expected<'_>,
    ) -> Result<(), SecretError> {
        let Some(splice) = splice else { return Err(self.unusual(verb, path)) };
        let text = edit::apply(&self.document.text, vec![splice]);
        let Ok(changed) = Document::parse(&self.document.name, text.as_bytes()) else {
            return Err(self.unusual(verb, path));
        };
        let kept = |document: &Document, gone: Option<&str>| -> Vec<(String, String)> {
            let leaves = document.leaves().into_iter();
            // Taking an item out of a list renames those behind it; an empty map may be left as nothing.
            let others = leaves.filter(|leaf| !leaf.scalar.is_null());
            let inside = |name: &str, path: &str| {
                name == path || name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
            };
            others
                .filter(|leaf| !gone.is_some_and(|path| inside(&leaf.name, path)))
                .map(|leaf| (leaf.keys.join("."), leaf.scalar.text.to_string()))
                .collect()
        };
        let target = expected.removed.is_none().then_some(path);
        let before = kept(&self.document, Some(path));
        let after = kept(&changed, target);
        let there = leaf::find(&changed.tree.root, path).len();
        if before != after || (expected.added.is_some() && there != 1) {
            return Err(self.unusual(verb, path));
        }
        self.document = changed;
        Ok(())
    }
}

/// Whether a value is stored encrypted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Encrypted,
    Plain,
}

/// What a change does to the names.
struct Expected<'a> {
    added: Option<&'a str>,
    removed: Option<&'a str>,
}

/// A new text with the type of the old value, if it can have it.
fn typed(old: Option<&Value>, text: &str) -> Value {
    let same = old.filter(|old| matches!(old.ty, Type::Int | Type::Float | Type::Bool)).and_then(|old| {
        let value = Value::decrypted(old.ty, zeroize::Zeroizing::new(text.to_string()))?;
        (*value.shown() == text).then_some(value)
    });
    same.unwrap_or_else(|| document::text_value(text))
}

/// An encrypted value as it stands in the file: in the quotes of the old one, and in quotes wherever it needs them.
pub(super) fn in_place(format: Format, place: Place, old: Option<&str>, sealed: &str) -> String {
    let quoted = format == Format::Json || matches!(place, Place::Flow) || sealed.is_empty();
    match old.and_then(|old| old.chars().next()) {
        Some('\'') if format == Format::Yaml => format!("'{sealed}'"),
        Some('"') => format!("\"{sealed}\""),
        _ if quoted => format!("\"{sealed}\""),
        _ => sealed.to_string(),
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("document", &self.document).finish_non_exhaustive()
    }
}
