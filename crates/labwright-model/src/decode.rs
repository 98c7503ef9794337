//! From nodes to typed values, reporting every fault and going on.
//! Knows no key of the lab file: the `section!` and `choice!` declarations do.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::codes;
use crate::finding::{Finding, Findings, nearest};
use crate::span::{Span, Spanned};
use crate::tree::{Key, Kind, Node};

/// Where we are and what was found so far.
pub struct Decoder<'a> {
    pub findings: &'a mut Findings,
    path: Vec<String>,
}

/// A type of the lab file. `None` means that a finding was reported and the default stands in.
pub trait FromNode: Sized {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self>;
}

impl<'a> Decoder<'a> {
    pub fn new(findings: &'a mut Findings) -> Self {
        Decoder { findings, path: Vec::new() }
    }

    /// The path of the value being read: `compute.hosts.docker-01.zone`.
    pub fn at(&self) -> String {
        self.path.join(".")
    }

    pub fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key.to_string());
        let value = read(self);
        self.path.pop();
        value
    }

    /// Reports a value of the wrong type or form.
    pub fn wrong<T>(&mut self, node: &Node, wanted: &str) -> Option<T> {
        let found = match &node.kind {
            Kind::Scalar { text, .. } if text.chars().count() <= 40 => format!("`{text}`"),
            _ => node.kind_name().to_string(),
        };
        let what = self.path.last().cloned().unwrap_or_else(|| "the lab file".into());
        let finding = Finding::error(
            codes::WRONG_VALUE,
            self.at(),
            node.span,
            format!("`{what}` must be {wanted}, found {found}"),
        );
        self.findings.push(finding);
        None
    }

    /// As `wrong`, with the fix.
    pub fn wrong_help<T>(&mut self, node: &Node, wanted: &str, help: impl Into<String>) -> Option<T> {
        let none = self.wrong(node, wanted);
        if let Some(last) = self.findings.last_mut() {
            last.help = help.into();
        }
        none
    }

    /// The entries of a map whose keys are all among `known`; others are reported with the nearest known one.
    pub fn known_keys(&mut self, entries: &[(Key, Rc<Node>)], known: &[&str]) {
        for (key, _) in entries {
            if known.contains(&key.text.as_str()) {
                continue;
            }
            let place = match self.path.last() {
                Some(place) => format!("in `{place}`"),
                None => "at the top of a lab file".to_string(),
            };
            let at = self.within(&key.text, |d| d.at());
            let finding =
                Finding::error(codes::UNKNOWN_KEY, at, key.span, format!("unknown key `{}` {place}", key.text));
            let help = match nearest(&key.text, known.iter().copied()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("known keys here: {}", known.join(", ")),
            };
            self.findings.push(finding.help(help));
        }
    }

    pub fn field<T: FromNode>(&mut self, node: Option<&Rc<Node>>, key: &str) -> Option<T> {
        let node = node?;
        if matches!(node.kind, Kind::Null) {
            return None;
        }
        self.within(key, |d| T::from_node(node, d))
    }

    pub fn missing(&mut self, node: &Node, key: &str) {
        let what = self.path.last().cloned().unwrap_or_else(|| "the lab".into());
        let start_only = Span { end: node.span.end.min(node.span.start + 1), ..node.span };
        let finding = Finding::error(codes::MISSING_KEY, self.at(), start_only, format!("`{what}` needs `{key}`"));
        self.findings.push(finding.help(format!("add `{key}: …` here")));
    }
}

/// Declares one map of the lab file: the struct, its defaults, how it is read, and its JSON Schema.
///
/// `key: Type` is optional and starts as the type's default; `key: Type = value` has that default;
/// `key("name")` is spelled `name` in the file. `short` reads what stands there when it is not a map;
/// `schema` names a function that adds the short form to the schema; `required` lists keys that must be there.
macro_rules! section {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* $field:ident $(($spelled:literal))? : $type:ty $(= $default:expr)? ),* $(,)?
        }
        $(required [$($required:literal),*])?
        $(short ($node:ident, $decoder:ident) $short:block schema $schema:path)?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, schemars::JsonSchema)]
        #[serde(default)]
        #[schemars(deny_unknown_fields)]
        $(#[schemars(transform = $schema)])?
        pub struct $name {
            $( $(#[$field_meta])* $(#[serde(rename = $spelled)])? pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $( $field: $crate::decode::section!(@default $($default)?), )* }
            }
        }

        impl $crate::decode::FromNode for $name {
            fn from_node(node: &$crate::tree::Node, decoder: &mut $crate::decode::Decoder<'_>) -> Option<Self> {
                let entries = match &node.kind {
                    $crate::tree::Kind::Map(entries) => entries.as_slice(),
                    $crate::tree::Kind::Null => &[],
                    _ => $crate::decode::section!(@short node decoder $($node $decoder $short)?),
                };
                decoder.known_keys(entries, &[$( $crate::decode::section!(@key $field $($spelled)?) ),*]);
                $($( if node.get($required).is_none() { decoder.missing(node, $required); } )*)?
                Some($name {
                    $( $field: {
                        let key = $crate::decode::section!(@key $field $($spelled)?);
                        decoder.field(node.get(key), key)
                            .unwrap_or_else(|| $crate::decode::section!(@default $($default)?))
                    }, )*
                })
            }
        }
    };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $spelled:literal) => { $spelled };
    (@short $node:ident $decoder:ident) => { return $decoder.wrong($node, "a map") };
    (@short $node:ident $decoder:ident $as_node:ident $as_decoder:ident $short:block) => {{
        let ($as_node, $as_decoder) = ($node, $decoder);
        return $short;
    }};
}
pub(crate) use section;

/// Declares a closed set of words.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $word:literal ),* $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, schemars::JsonSchema)]
        pub enum $name { $( $(#[$variant_meta])* #[serde(rename = $word)] $variant ),* }

        impl $name {
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            pub fn word(self) -> &'static str {
                match self { $( $name::$variant => $word ),* }
            }
        }

        impl $crate::decode::FromNode for $name {
            fn from_node(node: &$crate::tree::Node, decoder: &mut $crate::decode::Decoder<'_>) -> Option<Self> {
                match node.text() {
                    $( Some($word) => Some($name::$variant), )*
                    other => {
                        let wanted = format!("one of {}", Self::WORDS.join(", "));
                        match other.and_then(|typed| $crate::finding::nearest(typed, Self::WORDS.iter().copied())) {
                            Some(word) => decoder.wrong_help(node, &wanted, format!("did you mean `{word}`?")),
                            None => decoder.wrong(node, &wanted),
                        }
                    }
                }
            }
        }
    };
}
pub(crate) use choice;

impl<T: FromNode> FromNode for Option<T> {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        T::from_node(node, decoder).map(Some)
    }
}

impl<T: FromNode> FromNode for Box<T> {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        T::from_node(node, decoder).map(Box::new)
    }
}

impl<T: FromNode> FromNode for Spanned<T> {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        T::from_node(node, decoder).map(|value| Spanned::new(value, node.span))
    }
}

impl FromNode for String {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Scalar { text, .. } => Some(text.clone()),
            _ => decoder.wrong(node, "a string"),
        }
    }
}

impl FromNode for bool {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Scalar { text, plain: true } if text == "true" => Some(true),
            Kind::Scalar { text, plain: true } if text == "false" => Some(false),
            Kind::Scalar { text, plain: true } if matches!(text.as_str(), "yes" | "on") => {
                decoder.wrong_help(node, "true or false", "YAML 1.2 writes `true`")
            }
            Kind::Scalar { text, plain: true } if matches!(text.as_str(), "no" | "off") => {
                decoder.wrong_help(node, "true or false", "YAML 1.2 writes `false`")
            }
            _ => decoder.wrong(node, "true or false"),
        }
    }
}

macro_rules! parsed_scalar {
    ($($type:ty => $wanted:literal),* $(,)?) => { $(
        impl FromNode for $type {
            fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
                match node.text().and_then(|text| text.parse().ok()) {
                    Some(value) => Some(value),
                    None => decoder.wrong(node, $wanted),
                }
            }
        }
    )* };
}
parsed_scalar! {
    u8 => "a number from 0 to 255",
    u16 => "a number from 0 to 65535",
    u32 => "a whole number",
    u64 => "a whole number",
    IpAddr => "an IP address such as 10.0.20.21",
}

/// A list of anything; one value alone is a list of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Many<T>(pub Vec<T>);

impl<T> Default for Many<T> {
    fn default() -> Self {
        Many(Vec::new())
    }
}

impl<T> std::ops::Deref for Many<T> {
    type Target = Vec<T>;
    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T: FromNode> FromNode for Many<T> {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match &node.kind {
            Kind::List(items) => Some(Many(items.iter().filter_map(|item| T::from_node(item, decoder)).collect())),
            Kind::Null => Some(Many(Vec::new())),
            _ => T::from_node(node, decoder).map(|value| Many(vec![value])),
        }
    }
}

impl<T: JsonSchema> JsonSchema for Many<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Many_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [item.clone(), { "type": "array", "items": item }] })
    }
}

/// Named entries in the order of the file; each value's span is the place of its name.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Table<T>(pub IndexMap<String, Spanned<T>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table(IndexMap::new())
    }
}

impl<T> std::ops::Deref for Table<T> {
    type Target = IndexMap<String, Spanned<T>>;
    fn deref(&self) -> &IndexMap<String, Spanned<T>> {
        &self.0
    }
}

impl<T: FromNode + Default> FromNode for Table<T> {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else { return decoder.wrong(node, "a map of names") };
        let mut table = IndexMap::with_capacity(entries.len());
        for (key, node) in entries {
            let value = match node.kind {
                Kind::Null => T::default(),
                // A name whose entry cannot be read still exists: references to it are not faults of their own.
                _ => decoder.within(&key.text, |d| T::from_node(node, d)).unwrap_or_default(),
            };
            table.insert(key.text.clone(), Spanned::new(value, key.span));
        }
        Some(Table(table))
    }
}

impl<T: JsonSchema> JsonSchema for Table<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Table_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<T>();
        json_schema!({ "type": "object", "additionalProperties": { "anyOf": [item, { "type": "null" }] } })
    }
}

/// Data in a foreign format (Compose's, for one), kept as it stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Foreign(pub serde_json::Value);

impl FromNode for Foreign {
    fn from_node(node: &Node, _: &mut Decoder<'_>) -> Option<Self> {
        Some(Foreign(json(node)))
    }
}

impl JsonSchema for Foreign {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Foreign".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}

/// A node as JSON, with YAML 1.2's core types for plain scalars.
pub fn json(node: &Node) -> serde_json::Value {
    use serde_json::Value;
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Scalar { text, plain: true } => match text.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) if text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') => {
                    number.into()
                }
                _ => Value::String(text.clone()),
            },
        },
        Kind::Scalar { text, .. } => Value::String(text.clone()),
        Kind::List(items) => items.iter().map(|item| json(item)).collect(),
        Kind::Map(entries) => entries.iter().map(|(key, node)| (key.text.clone(), json(node))).collect(),
    }
}

impl FromNode for BTreeMap<String, String> {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else { return decoder.wrong(node, "a map of strings") };
        let read = |(key, node): &(Key, Rc<Node>)| {
            Some((key.text.clone(), decoder.within(&key.text, |d| String::from_node(node, d))?))
        };
        Some(entries.iter().filter_map(read).collect())
    }
}

/// Adds the short form "a string" to a section's schema.
pub fn or_string(schema: &mut Schema) {
    or(schema, serde_json::json!({ "type": "string" }));
}

/// Adds the short forms "a string, or a list of strings" to a section's schema.
pub fn or_strings(schema: &mut Schema) {
    or(schema, serde_json::json!({ "type": ["string", "array"], "items": { "type": "string" } }));
}

/// Adds the short form "true or false" to a section's schema.
pub fn or_bool(schema: &mut Schema) {
    or(schema, serde_json::json!({ "type": "boolean" }));
}

fn or(schema: &mut Schema, short: serde_json::Value) {
    let long = std::mem::take(schema.ensure_object());
    let description = long.get("description").cloned();
    let object = schema.ensure_object();
    if let Some(description) = description {
        object.insert("description".into(), description);
    }
    object.insert("anyOf".into(), serde_json::json!([short, long]));
}
