//! The one value type between providers: typed at both ends, generic in the middle.
//! Never holds a secret's content, only which secret it is.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
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
    /// Of `bytes` bytes of content that was hashed elsewhere.
    pub fn new(hash: &blake3::Hash, bytes: u64) -> Digest {
        Digest { blake3: const_hex::encode(hash.as_bytes()), bytes }
    }

    pub fn of(content: &[u8]) -> Digest {
        Digest::new(&blake3::hash(content), content.len() as u64)
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

    /// Writes the value down to be hashed, so that equal values, and content and its digest, hash alike.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.push(b'n'),
            Value::Same => out.push(b'='),
            Value::Bool(bool) => out.push(if *bool { b't' } else { b'f' }),
            Value::Int(number) => {
                out.push(b'i');
                out.extend(number.to_le_bytes());
            }
            Value::Secret(sealed) => sealed.encode(out),
            Value::Digest(digest) => {
                out.push(b'c');
                out.extend(digest.blake3.as_bytes());
            }
            Value::Text(text) => encode_content(text.as_bytes(), out),
            Value::Bytes(bytes) => encode_content(bytes, out),
            Value::List(items) => {
                out.push(b'l');
                out.extend((items.len() as u64).to_le_bytes());
                items.iter().for_each(|item| item.encode(out));
            }
            Value::Map(fields) => encode_spec(fields, out),
        }
    }
}

/// As the digest of the content would be written.
fn encode_content(content: &[u8], out: &mut Vec<u8>) {
    out.push(b'c');
    out.extend(const_hex::Buffer::<32>::new().format(blake3::hash(content).as_bytes()).as_bytes());
}

pub(crate) fn encode_spec(spec: &Spec, out: &mut Vec<u8>) {
    out.push(b'm');
    out.extend((spec.len() as u64).to_le_bytes());
    for (key, value) in spec {
        out.extend((key.len() as u64).to_le_bytes());
        out.extend(key.as_bytes());
        value.encode(out);
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
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field of a resource")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, bool: bool) -> Result<Value, E> {
        Ok(Value::Bool(bool))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number).map(Value::Int).map_err(|_| E::custom(format!("{number} is too large")))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Err(E::custom(format!("{number} is not a whole number")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_string()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Spec::new();
        while let Some(key) = entries.next_key::<String>()? {
            // These stand alone: beside others, and with another value, they are fields like any.
            let tagged = match key.as_str() {
                BYTES | SECRET | DIGEST | SAME if fields.is_empty() => Some(entries.next_value()?),
                _ => None,
            };
            let Some(tagged) = tagged else {
                fields.insert(key, entries.next_value()?);
                continue;
            };
            let mut rest = Vec::new();
            while let Some(entry) = entries.next_entry::<String, Value>()? {
                rest.push(entry);
            }
            if rest.is_empty() {
                return untagged(&key, tagged).map_err(A::Error::custom);
            }
            fields.insert(key, from_json(tagged).map_err(A::Error::custom)?);
            fields.extend(rest);
        }
        Ok(Value::Map(fields))
    }
}

/// What a map of this one entry stands for.
fn untagged(key: &str, value: serde_json::Value) -> Result<Value, String> {
    use serde_json::Value as Json;
    match (key, value) {
        (BYTES, Json::String(text)) => BASE64.decode(text).map(Value::Bytes).map_err(|error| error.to_string()),
        (SECRET, sealed) => serde_json::from_value(sealed).map(Value::Secret).map_err(|error| error.to_string()),
        (DIGEST, digest) => serde_json::from_value(digest).map(Value::Digest).map_err(|error| error.to_string()),
        (SAME, Json::Bool(true)) => Ok(Value::Same),
        (key, value) => Ok(Value::Map(Spec::from([(key.to_string(), from_json(value)?)]))),
    }
}

fn from_json(json: serde_json::Value) -> Result<Value, String> {
    serde_json::from_value(json).map_err(|error| error.to_string())
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
    fn a_tag_beside_other_fields_is_a_field_like_any() {
        let read = |json: &str| serde_json::from_str::<Value>(json);
        let fields = Spec::from([("$same".to_string(), Value::Bool(true)), ("x".to_string(), Value::Int(1))]);
        assert_eq!(read(r#"{"$same": true, "x": 1}"#).unwrap(), Value::Map(fields.clone()));
        assert_eq!(read(r#"{"x": 1, "$same": true}"#).unwrap(), Value::Map(fields));
        assert_eq!(read(r#"{"$same": true}"#).unwrap(), Value::Same);
        assert_eq!(read(r#"{"$same": 3}"#).unwrap(), Value::Map(Spec::from([("$same".to_string(), Value::Int(3))])));
        let digest = Value::Digest(Digest::of(b"x"));
        assert_eq!(read(&serde_json::to_string(&digest).unwrap()).unwrap(), digest);
        assert!(read(r#"{"$digest": 3}"#).is_err() && read("1.5").is_err() && read("9223372036854775808").is_err());
    }

    #[test]
    fn a_digest_is_lower_case_hex() {
        assert_eq!(Digest::of(b"x").blake3, blake3::hash(b"x").to_hex().as_str());
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
