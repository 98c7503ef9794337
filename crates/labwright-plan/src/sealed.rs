//! Content with secrets in it: which secrets stand where, and a keyed hash of the whole. Never what they are.
//! Whoever writes the content has it from `Secrets`, which exists on the host that uses it and nowhere else.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use labwright_model::reference::{self, Part};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::observation::Observation;
use crate::provider::{Provider, looks_with_secrets};
use crate::resource::{Resource, ResourceId};
use crate::value::{Spec, Value};

/// Content with secrets in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// What it is made of. Empty where only what it hashes to is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pieces: Vec<Piece>,
    /// BLAKE3 of the whole content in hex, by a key that only the host has. `None`: not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// A piece of such content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Piece {
    Text(String),
    /// A secret, by name.
    Secret(String),
    /// A secret as it stands between the double quotes of an `EnvironmentFile`.
    Quoted(String),
}

/// Escapes what means something between double quotes in an `EnvironmentFile`; systemd.exec(5).
pub fn quoted(text: &str) -> Cow<'_, str> {
    if !text.contains(['"', '\\', '`', '$']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(2 * text.len());
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '`' | '$') {
            out.push('\\');
        }
        out.push(c);
    }
    Cow::Owned(out)
}

impl Piece {
    fn value<'a>(&'a self, secrets: &'a Secrets) -> Result<Cow<'a, str>, String> {
        let secret = |name: &String| secrets.get(name).ok_or_else(|| name.clone());
        Ok(match self {
            Piece::Text(text) => Cow::Borrowed(text.as_str()),
            Piece::Secret(name) => Cow::Borrowed(secret(name)?),
            Piece::Quoted(name) => quoted(secret(name)?),
        })
    }
}

/// The key that a host hashes secret content with. Without it a hash cannot be tried against guesses.
pub type ChangeKey = [u8; 32];

impl Sealed {
    /// A text of the lab file, with its references to secrets.
    pub fn template(text: &str) -> Sealed {
        let mut pieces: Vec<Piece> = Vec::new();
        let literal = |text: &str, pieces: &mut Vec<Piece>| match pieces.last_mut() {
            Some(Piece::Text(before)) => before.push_str(text),
            _ => pieces.push(Piece::Text(text.to_string())),
        };
        for part in reference::parts(text) {
            match part {
                Part::Literal(text) => literal(text, &mut pieces),
                Part::Escape | Part::Unclosed => literal("${", &mut pieces),
                Part::Reference(inner) => match inner.strip_prefix("secret.") {
                    Some(name) => pieces.push(Piece::Secret(name.to_string())),
                    None => literal(&format!("${{{inner}}}"), &mut pieces),
                },
            }
        }
        Sealed { pieces, hash: None }
    }

    /// What is known of content that was found: its hash.
    pub fn found(content: &mut dyn Read, key: &ChangeKey) -> io::Result<Sealed> {
        let mut hasher = blake3::Hasher::new_keyed(key);
        io::copy(content, &mut hasher)?;
        Ok(Sealed { pieces: Vec::new(), hash: Some(hasher.finalize().to_hex().to_string()) })
    }

    /// The names of its secrets, in order, each as often as it stands there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Secret(name) | Piece::Quoted(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The content as the lab file has it: secrets by name.
    pub fn as_template(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Secret(name) | Piece::Quoted(name) => format!("${{secret.{name}}}"),
        };
        self.pieces.iter().map(piece).collect()
    }

    /// The content itself. The error is the name of a secret that is not at hand.
    pub fn reveal(&self, secrets: &Secrets) -> Result<Zeroizing<String>, String> {
        let values = self.pieces.iter().map(|piece| piece.value(secrets)).collect::<Result<Vec<_>, _>>()?;
        // One allocation: what a growing string leaves behind is not wiped.
        let mut content = Zeroizing::new(String::with_capacity(values.iter().map(|value| value.len()).sum()));
        values.iter().for_each(|value| content.push_str(value));
        Ok(content)
    }

    /// The keyed hash of the content. The error is the name of a secret that is not at hand.
    pub fn hashed(&self, secrets: &Secrets, key: &ChangeKey) -> Result<String, String> {
        let mut hasher = blake3::Hasher::new_keyed(key);
        for piece in &self.pieces {
            hasher.update(piece.value(secrets)?.as_bytes());
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Whether two say the same: by hash where both have one.
    pub fn same(&self, other: &Sealed) -> bool {
        match (&self.hash, &other.hash) {
            (Some(a), Some(b)) => a == b,
            _ => self.pieces == other.pieces,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match &self.hash {
            Some(hash) => {
                out.push(b'k');
                out.extend(hash.as_bytes());
            }
            None => {
                let template = self.as_template();
                out.push(b's');
                out.extend((template.len() as u64).to_le_bytes());
                out.extend(template.as_bytes());
            }
        }
    }
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<&str> = self.names().collect();
        names.dedup();
        match names.as_slice() {
            [] => f.write_str("something else"),
            [one] => write!(f, "secret `{one}`"),
            [some @ .., last] => write!(f, "secrets `{}` and `{last}`", some.join("`, `")),
        }
    }
}

/// The contents of secrets, by name. Shows nothing, and is wiped when it goes.
#[derive(Clone, Default)]
pub struct Secrets(Arc<BTreeMap<String, Zeroizing<String>>>);

impl Secrets {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A text that somebody else wrote, without the secrets that it repeats: a service may say what it was given.
    /// Of a secret of several lines each line is one; what is as short as a word is left alone.
    pub fn hide(&self, text: &str) -> String {
        let mut hidden = text.to_string();
        for (name, value) in self.0.iter() {
            for line in std::iter::once(value.as_str()).chain(value.lines()).map(str::trim) {
                if line.len() >= MIN_HIDDEN && hidden.contains(line) {
                    hidden = hidden.replace(line, &format!("(secret `{name}`)"));
                }
            }
        }
        hidden
    }
}

/// Shorter values stand in texts by chance.
const MIN_HIDDEN: usize = 6;

impl FromIterator<(String, Zeroizing<String>)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (String, Zeroizing<String>)>>(values: I) -> Self {
        Secrets(Arc::new(values.into_iter().collect()))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} names)", self.0.len())
    }
}

/// Every piece of secret content of a resource, wherever it stands in its fields.
pub fn sealed(spec: &Spec) -> Vec<&Sealed> {
    fn of<'a>(value: &'a Value, out: &mut Vec<&'a Sealed>) {
        match value {
            Value::Secret(sealed) => out.push(sealed),
            Value::List(items) => items.iter().for_each(|item| of(item, out)),
            Value::Map(fields) => fields.values().for_each(|value| of(value, out)),
            _ => {}
        }
    }
    let mut out = Vec::new();
    spec.values().for_each(|value| of(value, &mut out));
    out
}

/// Gives every piece of secret content its hash by a host's key. What needs a secret that is not at hand stays without.
pub fn seal(spec: &mut Spec, secrets: &Secrets, key: &ChangeKey) {
    fn of(value: &mut Value, secrets: &Secrets, key: &ChangeKey) {
        match value {
            Value::Secret(sealed) => sealed.hash = sealed.hashed(secrets, key).ok(),
            Value::List(items) => items.iter_mut().for_each(|item| of(item, secrets, key)),
            Value::Map(fields) => fields.values_mut().for_each(|value| of(value, secrets, key)),
            _ => {}
        }
    }
    spec.values_mut().for_each(|value| of(value, secrets, key));
}

/// The secrets that each host reads: what travels to it, and nothing else does.
pub fn readers(resources: &[Resource]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut readers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for resource in resources {
        let all = sealed(&resource.spec);
        if !all.is_empty() {
            readers.entry(resource.id.host()).or_default().extend(all.into_iter().flat_map(Sealed::names));
        }
    }
    readers
}

/// As `readers`, with what is needed to look at things that are owned and no longer desired.
pub fn needed(
    resources: &[Resource],
    observed: &Observation,
    providers: &[&'static dyn Provider],
) -> BTreeMap<String, BTreeSet<String>> {
    let owned = |names: BTreeSet<&str>| names.into_iter().map(str::to_string).collect();
    let mut needed: BTreeMap<String, BTreeSet<String>> =
        readers(resources).into_iter().map(|(host, names)| (host.to_string(), owned(names))).collect();
    let desired: BTreeSet<&ResourceId> = resources.iter().map(|resource| &resource.id).collect();
    for host in observed.hosts.keys() {
        let marks = observed.reached(host).map(|seen| &seen.marks);
        for (id, mark) in marks.into_iter().flatten() {
            if looks_with_secrets(providers, id) && !desired.contains(id) {
                let names = sealed(&mark.applied).into_iter().flat_map(Sealed::names);
                needed.entry(host.clone()).or_default().extend(names.map(str::to_string));
            }
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[(&str, &str)]) -> Secrets {
        values.iter().map(|(name, value)| (name.to_string(), Zeroizing::new(value.to_string()))).collect()
    }

    #[test]
    fn a_template_says_which_and_where() {
        let sealed = Sealed::template("A=${secret.a}\nB=$${x} ${port}${secret.b.c}");
        assert_eq!(sealed.names().collect::<Vec<_>>(), ["a", "b.c"]);
        let content = sealed.reveal(&secrets(&[("a", "1"), ("b.c", "2")])).unwrap();
        assert_eq!(*content, "A=1\nB=${x} ${port}2");
        assert_eq!(sealed.reveal(&secrets(&[("a", "1")])).unwrap_err(), "b.c");
        assert_eq!(sealed.to_string(), "secrets `a` and `b.c`");
    }

    #[test]
    fn what_is_found_is_compared_by_hash() {
        let (key, other) = ([7; 32], [8; 32]);
        let mut wanted = Sealed::template("x ${secret.a}");
        wanted.hash = wanted.hashed(&secrets(&[("a", "1")]), &key).ok();
        assert!(wanted.same(&Sealed::found(&mut &b"x 1"[..], &key).unwrap()));
        assert!(!wanted.same(&Sealed::found(&mut &b"x 2"[..], &key).unwrap()));
        assert!(!wanted.same(&Sealed::found(&mut &b"x 1"[..], &other).unwrap()));
    }

    #[test]
    fn what_others_say_is_told_without_secrets() {
        let secrets = secrets(&[("a", "hunter2-and-more"), ("b", "first line\nsecond line\n"), ("c", "on")]);
        assert_eq!(secrets.hide("on: no `hunter2-and-more`!"), "on: no `(secret `a`)`!");
        assert_eq!(secrets.hide("first line\nsecond line\nthird"), "(secret `b`)\nthird");
        assert_eq!(secrets.hide("second line"), "(secret `b`)");
        assert_eq!(Secrets::default().hide("hunter2-and-more"), "hunter2-and-more");
    }

    #[test]
    fn nothing_shows_a_secret() {
        let secrets = secrets(&[("a", "canary-value")]);
        let sealed = Sealed::template("${secret.a}");
        let hash = sealed.hashed(&secrets, &[0; 32]).unwrap();
        let all = format!("{secrets:?} {sealed:?} {sealed} {hash} {}", serde_json::to_string(&sealed).unwrap());
        assert!(!all.contains("canary-value"), "{all}");
    }
}
