//! The declarations that every map and every closed set of words of the lab file is made with.
//! One declaration gives the type, its defaults, how it is read and its JSON Schema; nothing here knows a key.

use schemars::Schema;

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

        impl $crate::decode::Section for $name {
            fn beyond_defaults(&self) -> Vec<&'static str> {
                let default = Self::default();
                let mut keys = Vec::new();
                $( if self.$field != default.$field { keys.push($crate::decode::section!(@key $field $($spelled)?)); } )*
                keys
            }
        }

        impl $crate::decode::FromNode for $name {
            fn from_node(node: &$crate::tree::Node, decoder: &mut $crate::decode::Decoder<'_>) -> Option<Self> {
                const KEYS: &[&str] = &[$( $crate::decode::section!(@key $field $($spelled)?) ),*];
                let entries = match &node.kind {
                    $crate::tree::Kind::Map(entries) => entries.as_slice(),
                    $crate::tree::Kind::Null => &[],
                    _ => $crate::decode::section!(@short node decoder KEYS $($node $decoder $short)?),
                };
                decoder.known_keys(entries, KEYS);
                decoder.needs(node, &[$($($required),*)?], |key| match key {
                    $( $crate::decode::section!(@key $field $($spelled)?) => <$type as $crate::decode::FromNode>::words(), )*
                    _ => &[],
                });
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
    (@short $node:ident $decoder:ident $keys:ident) => { return $decoder.not_a_map($node, $keys) };
    (@short $node:ident $decoder:ident $keys:ident $as_node:ident $as_decoder:ident $short:block) => {{
        let ($as_node, $as_decoder) = ($node, &mut *$decoder);
        let read: Option<Self> = $short;
        if let Some(read) = &read {
            $decoder.note_short_form(read);
        }
        return read;
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
            fn words() -> &'static [&'static str] {
                Self::WORDS
            }

            fn from_node(node: &$crate::tree::Node, decoder: &mut $crate::decode::Decoder<'_>) -> Option<Self> {
                match node.text() {
                    $( Some($word) => Some($name::$variant), )*
                    other => {
                        let wanted = format!("one of {}", Self::WORDS.join(", "));
                        match other.and_then(|typed| $crate::finding::meant(typed, Self::WORDS).or_else(|| $crate::finding::nearest(typed, Self::WORDS.iter().copied())).or_else(|| $crate::finding::beginning(typed, Self::WORDS))) {
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
