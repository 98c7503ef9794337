//! What OpenTelemetry says of things, as pages show it: bounded, without secrets, and nothing that turns a line around.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::logs::plain;
use crate::masks::is_hinted;

/// Attributes of one thing, letters of one text: what is more is cut.
pub const ATTRIBUTES: usize = 40;
const LETTERS: usize = 400;

/// The service that something is of; `unknown` where nobody says.
/// <https://opentelemetry.io/docs/specs/semconv/resource/#service>
pub fn service(resource: Option<&Resource>) -> String {
    let own = resource.map(|resource| resource.attributes.as_slice()).unwrap_or_default();
    let name = own.iter().find(|pair| pair.key == "service.name").map(|pair| text(pair.value.as_ref()));
    name.unwrap_or_else(|| "unknown".into())
}

/// What is said of something, as it is shown: nothing of it is a secret.
pub fn pairs(all: &[KeyValue]) -> Vec<(String, String)> {
    let shown = |pair: &KeyValue| {
        let value = text(pair.value.as_ref());
        let value = if is_hinted(&pair.key, &value) { "••••••".to_string() } else { value };
        (cut(&pair.key), value)
    };
    all.iter().take(ATTRIBUTES).map(shown).collect()
}

/// One value in words.
pub fn text(value: Option<&AnyValue>) -> String {
    let text = match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => return cut(text),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        Some(Value::BytesValue(bytes)) => format!("{} bytes", bytes.len()),
        Some(Value::ArrayValue(list)) => {
            // Lists may hold lists, as deep as somebody likes: the first level is shown.
            let inner = |value: &AnyValue| match &value.value {
                Some(Value::ArrayValue(_) | Value::KvlistValue(_)) => "…".to_string(),
                _ => text(Some(value)),
            };
            list.values.iter().take(ATTRIBUTES).map(inner).collect::<Vec<_>>().join(", ")
        }
        Some(Value::KvlistValue(list)) => format!("{} values", list.values.len()),
        _ => String::new(),
    };
    cut(&text)
}

/// A text as it is kept.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(LETTERS) {
        Some((end, _)) => plain(&text[..end]) + "…",
        None => plain(text.trim_end()),
    }
}
