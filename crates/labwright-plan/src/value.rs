//! The one value type between providers: typed at both ends, generic in the middle.
//! Never holds a secret's content, only which secret it is.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::sealed::Sealed;

/// A field of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    /// Content that is not text.
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
    /// Content with secrets in it, by their names. What they are is nowhere in a plan.
    Secret(Sealed),
    /// Content that was left where it is: only its digest travels.
    Digest(Digest),
    /// In an observation on its way from a host: exactly what was wanted.
    Same,
}

/// BLAKE3 of some content, in hex, and the content's length in bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Digest {
    pub blake3: String,
    pub bytes: u64,
}

impl Digest {
    pub fn of(content: &[u8]) -> Digest {
        Digest { blake3: blake3::hash(content).to_hex().to_string(), bytes: content.len() as u64 }
    }
}

/// The fields of a resource, by name.
pub type Spec = BTreeMap<String, Value>;

impl Value {
    /// The content's bytes, where this is content.
    pub fn content(&self) -> Option<&[u8]> {
        match self {
            Value::Text(text) => Some(text.as_bytes()),
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The digest of content, whether the content is here or not.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Value::Digest(digest) => Some(digest.clone()),
            other => other.content().map(Digest::of),
        }
    }

    /// Whether two values say the same, content compared by digest where one side has only that.
    pub fn same(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Digest(_), _) | (_, Value::Digest(_)) => self.digest().is_some() && self.digest() == other.digest(),
            (Value::Text(_) | Value::Bytes(_), Value::Text(_) | Value::Bytes(_)) => self.content() == other.content(),
            (Value::Secret(a), Value::Secret(b)) => a.same(b),
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| value.same(other)))
            }
            _ => self == other,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    pub fn bool(&self) -> Option<bool> {
        match self {
            Value::Bool(bool) => Some(*bool),
            _ => None,
        }
    }

    pub fn list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// Feeds the value to a hash so that equal values, and content and its digest, hash alike.
    pub fn hash_into(&self, hasher: &mut blake3::Hasher) {
        match self {
            Value::Null => {
                hasher.update(b"n");
            }
            Value::Same => {
                hasher.update(b"=");
            }
            Value::Bool(bool) => {
                hasher.update(if *bool { b"t" } else { b"f" });
            }
            Value::Int(number) => {
                hasher.update(b"i").update(&number.to_le_bytes());
            }
            Value::Secret(sealed) => sealed.hash_into(hasher),
            Value::Digest(digest) => {
                hasher.update(b"c").update(digest.blake3.as_bytes());
            }
            Value::Text(text) => hash_content(text.as_bytes(), hasher),
            Value::Bytes(bytes) => hash_content(bytes, hasher),
            Value::List(items) => {
                hasher.update(b"l").update(&(items.len() as u64).to_le_bytes());
                items.iter().for_each(|item| item.hash_into(hasher));
            }
            Value::Map(fields) => hash_spec(fields, hasher),
        }
    }
}

/// As the digest of the content would be hashed.
fn hash_content(content: &[u8], hasher: &mut blake3::Hasher) {
    hasher.update(b"c").update(blake3::hash(content).to_hex().as_bytes());
}

pub(crate) fn hash_spec(spec: &Spec, hasher: &mut blake3::Hasher) {
    hasher.update(b"m").update(&(spec.len() as u64).to_le_bytes());
    for (key, value) in spec {
        hasher.update(&(key.len() as u64).to_le_bytes()).update(key.as_bytes());
        value.hash_into(hasher);
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_string())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<bool> for Value {
    fn from(bool: bool) -> Self {
        Value::Bool(bool)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Value::Int(number.into())
    }
}

impl<T: Into<Value>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Value::List(items.into_iter().map(Into::into).collect())
    }
}

impl fmt::Display for Value {
    /// As a person would write it on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("nothing"),
            Value::Bool(bool) => write!(f, "{bool}"),
            Value::Int(number) => write!(f, "{number}"),
            Value::Text(text) if text.lines().count() > 1 || text.chars().count() > 60 => match short_digest(text) {
                Some(short) => f.write_str(&short),
                None => write!(f, "{} bytes", text.len()),
            },
            Value::Text(text) => f.write_str(text.trim_end_matches('\n')),
            Value::Bytes(bytes) => write!(f, "{} bytes, not text", bytes.len()),
            Value::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    match item {
                        // Among others even a long one says more than its length.
                        Value::Text(text) if text.lines().count() <= 1 => f.write_str(text)?,
                        item => write!(f, "{item}")?,
                    }
                }
                f.write_str("]")
            }
            Value::Map(fields) => {
                f.write_str("{")?;
                for (i, (key, value)) in fields.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
            Value::Secret(sealed) => sealed.fmt(f),
            Value::Digest(digest) => write!(f, "{} bytes", digest.bytes),
            Value::Same => f.write_str("as wanted"),
        }
    }
}

/// The name of an image with only the beginning of its digest, which is what people compare.
fn short_digest(text: &str) -> Option<String> {
    const SHOWN: usize = 12;
    let (before, digest) = text.split_once("sha256:")?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
    is_digest.then(|| format!("{before}sha256:{}…", &digest[..SHOWN]))
}

/// Keys of the one-entry maps that stand for what JSON has no form for.
const BYTES: &str = "$bytes";
const SECRET: &str = "$secret";
const DIGEST: &str = "$digest";
const SAME: &str = "$same";

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(bool) => serializer.serialize_bool(*bool),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(items) => items.serialize(serializer),
            Value::Map(fields) => fields.serialize(serializer),
            Value::Bytes(bytes) => tagged(serializer, BYTES, &BASE64.encode(bytes)),
            Value::Secret(sealed) => tagged(serializer, SECRET, sealed),
            Value::Digest(digest) => tagged(serializer, DIGEST, digest),
            Value::Same => tagged(serializer, SAME, &true),
        }
    }
}

/// A map of one entry, for what JSON has no form for.
fn tagged<S: Serializer>(serializer: S, tag: &str, value: &impl Serialize) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(tag, value)?;
    map.end()
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_json(serde_json::Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn from_json(json: serde_json::Value) -> Result<Value, String> {
    use serde_json::Value as Json;
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(bool) => Value::Bool(bool),
        Json::Number(number) => Value::Int(number.as_i64().ok_or_else(|| format!("{number} is not a whole number"))?),
        Json::String(text) => Value::Text(text),
        Json::Array(items) => Value::List(items.into_iter().map(from_json).collect::<Result<_, _>>()?),
        Json::Object(fields) => {
            if fields.len() == 1
                && let Some((key, value)) = fields.iter().next()
            {
                match (key.as_str(), value) {
                    (BYTES, Json::String(text)) => {
                        return BASE64.decode(text).map(Value::Bytes).map_err(|e| e.to_string());
                    }
                    (SECRET, sealed) => {
                        return serde_json::from_value(sealed.clone()).map(Value::Secret).map_err(|e| e.to_string());
                    }
                    (DIGEST, digest) => {
                        return serde_json::from_value(digest.clone()).map(Value::Digest).map_err(|e| e.to_string());
                    }
                    (SAME, Json::Bool(true)) => return Ok(Value::Same),
                    _ => {}
                }
            }
            let field = |(key, value)| Ok::<_, String>((key, from_json(value)?));
            Value::Map(fields.into_iter().map(field).collect::<Result<_, _>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            ".{0,12}".prop_map(Value::Text),
            proptest::collection::vec(any::<u8>(), 0..12).prop_map(Value::Bytes),
            "[a-z]{1,8}".prop_map(|name| Value::Secret(Sealed::template(&format!("x${{secret.{name}}}")))),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                proptest::collection::btree_map("[a-z]{1,6}", inner, 0..4).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_round_trip(value in value()) {
            let text = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }

    #[test]
    fn content_and_its_digest_are_the_same() {
        let text = Value::from("hello\n");
        let digest = Value::Digest(Digest::of(b"hello\n"));
        assert!(text.same(&digest) && digest.same(&text));
        assert!(!digest.same(&Value::from("hello")));
        assert!(!digest.same(&Value::Int(3)) && !Value::Null.same(&digest));
    }
}
