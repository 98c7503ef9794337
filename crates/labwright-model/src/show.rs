//! The lab with every default filled in, as YAML that says where each value comes from.
//! Writes text only; the values are the model's own.

use std::fmt::Write;

use serde_json::Value;

use crate::Parsed;
use crate::tree::{Kind, Node};

pub(crate) fn show(parsed: &Parsed, root: &Node) -> String {
    let mut out = String::new();
    let lab = serde_json::to_value(&parsed.lab).unwrap_or_default();
    Shower { parsed, out: &mut out }.map(&lab, Some(root), 0, &mut Vec::new());
    out
}

struct Shower<'a> {
    parsed: &'a Parsed,
    out: &'a mut String,
}

impl Shower<'_> {
    fn map(&mut self, value: &Value, node: Option<&Node>, indent: usize, path: &mut Vec<String>) {
        let Value::Object(entries) = value else { return };
        for (key, value) in entries {
            path.push(key.clone());
            let child = node.and_then(|node| node.get(key)).map(|node| node.as_ref());
            let _ = write!(self.out, "{:indent$}{}:", "", scalar_text(key));
            self.value(value, child, node, indent, path);
            path.pop();
        }
    }

    fn value(
        &mut self,
        value: &Value,
        node: Option<&Node>,
        parent: Option<&Node>,
        indent: usize,
        path: &mut Vec<String>,
    ) {
        let origin = self.origin(node, parent, path);
        match value {
            Value::Object(entries) if !entries.is_empty() => {
                let _ = writeln!(self.out, "{origin}");
                // A short form stands for the whole map: its parts have no place of their own.
                let inner = node.filter(|node| matches!(node.kind, Kind::Map(_)));
                self.map(value, inner, indent + 2, path);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                let _ = writeln!(self.out, "{origin}");
                for (i, item) in items.iter().enumerate() {
                    let child = node.and_then(|node| match &node.kind {
                        Kind::List(nodes) => nodes.get(i).map(|node| node.as_ref()),
                        _ => Some(node),
                    });
                    path.push(i.to_string());
                    let _ = writeln!(self.out, "{:indent$}-", "");
                    self.map(item, child, indent + 2, path);
                    path.pop();
                }
            }
            _ => {
                let _ = writeln!(self.out, " {}{origin}", inline(value));
            }
        }
    }

    /// The comment that says where a value comes from; nothing where the file says it right there.
    fn origin(&self, node: Option<&Node>, parent: Option<&Node>, path: &[String]) -> String {
        let at = path.join(".");
        if node.is_some_and(|node| !matches!(node.kind, Kind::Null)) {
            return String::new();
        }
        if let Some(derived) = self.parsed.derived.iter().find(|derived| derived.at == at) {
            return format!("  # {}", derived.because);
        }
        match parent.map(|parent| &parent.kind) {
            Some(Kind::Scalar { .. } | Kind::List(_)) => "  # from the short form".into(),
            _ => "  # default".into(),
        }
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar_text(text),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// A string as YAML: bare where that reads back as the same string, quoted as JSON elsewhere.
fn scalar_text(text: &str) -> String {
    let bare = !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./@+".contains(c))
        && !text.starts_with(['-', '.', '@', '+'])
        && text.parse::<f64>().is_err()
        && !matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "null" | "yes" | "no" | "on" | "off");
    if bare { text.to_string() } else { Value::String(text.to_string()).to_string() }
}
