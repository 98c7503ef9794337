//! Lists, tables of named entries, and data in a foreign format.
//! Reads whatever is inside through its own `FromNode`; knows no key.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::{Decoder, FromNode};
use crate::span::Spanned;
use crate::tree::{Key, Kind, Node};

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
            Kind::List(items) => {
                let entry = |(number, item): (usize, &Arc<Node>)| decoder.entry(number, |d| T::from_node(item, d));
                Some(Many(items.iter().enumerate().filter_map(entry).collect()))
            }
            Kind::Null => Some(Many(Vec::new())),
            _ => {
                let value = T::from_node(node, decoder).map(|value| Many(vec![value]));
                if let (None, Kind::Map(_), Some(last)) = (&value, &node.kind, decoder.findings.last_mut())
                    && last.span == node.span
                    && last.help.is_empty()
                {
                    last.help = "write one value, or a list of them: `[a, b]`".into();
                }
                value
            }
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
pub struct Table<T>(pub IndexMap<String, Spanned<T>, RandomState>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table(IndexMap::default())
    }
}

impl<T> std::ops::Deref for Table<T> {
    type Target = IndexMap<String, Spanned<T>, RandomState>;
    fn deref(&self) -> &IndexMap<String, Spanned<T>, RandomState> {
        &self.0
    }
}

impl<T: FromNode + Default> FromNode for Table<T> {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            return decoder.wrong_help(
                node,
                "a map of names",
                "write each name as a key: `NAME: { … }`, or `NAME:` alone",
            );
        };
        let mut table = IndexMap::with_capacity_and_hasher(entries.len(), RandomState::default());
        for (key, node) in entries {
            // A name whose entry cannot be read still exists: references to it are not faults of their own.
            let value = decoder.within(&key.text, |d| T::from_node(node, d)).unwrap_or_default();
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
        let Kind::Map(entries) = &node.kind else {
            return decoder.wrong_help(node, "a map of strings", "write `NAME: value`, one on each line");
        };
        let read = |(key, node): &(Key, Arc<Node>)| {
            Some((key.text.clone(), decoder.within(&key.text, |d| String::from_node(node, d))?))
        };
        Some(entries.iter().filter_map(read).collect())
    }
}
