//! The lab with every default filled in, as YAML that says where each value comes from and reads back as the same lab.
//! Writes text only; the values are the model's own.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::{Map, Value};

use crate::Parsed;
use crate::load::beside;
use crate::tree::{Kind, Node};

pub(crate) fn show(parsed: &Parsed, root: &Node) -> String {
    let lab = serde_json::to_value(&parsed.lab).unwrap_or_default();
    let derived = parsed.derived.iter().map(|derived| (derived.at.as_str(), derived.because.as_str())).collect();
    let mut shower = Shower { parsed, derived, out: String::new(), path: Vec::new() };
    if let Value::Object(entries) = &lab {
        shower.map(entries, Some(root), 0);
    }
    shower.out
}

struct Shower<'a> {
    parsed: &'a Parsed,
    derived: HashMap<&'a str, &'a str>,
    out: String,
    path: Vec<String>,
}

impl Shower<'_> {
    fn map(&mut self, entries: &Map<String, Value>, node: Option<&Node>, outer: usize) {
        let nodes: HashMap<&str, &Node> = match node.map(|node| &node.kind) {
            Some(Kind::Map(nodes)) => nodes.iter().map(|(key, node)| (key.text.as_str(), node.as_ref())).collect(),
            _ => HashMap::new(),
        };
        for (number, (key, value)) in entries.iter().enumerate() {
            let child = nodes.get(key.as_str()).copied();
            if self.path.is_empty() && key == "include" && value.as_array().is_some_and(|files| !files.is_empty()) {
                // What they hold stands below: read again, it would be there twice.
                let _ = writeln!(self.out, "include: []  # merged: {}", inline(value).trim_matches(['[', ']']));
                continue;
            }
            self.path.push(key.clone());
            // The first key of a list's entry stands behind its dash.
            let indent = if number == 0 && self.out.ends_with("- ") { 0 } else { outer };
            let _ = write!(self.out, "{:indent$}{}:", "", plain_or_quoted(key, &["true", "false", "null"]));
            self.value(value, child, outer);
            self.path.pop();
        }
    }

    /// What stands behind a key.
    fn value(&mut self, value: &Value, node: Option<&Node>, indent: usize) {
        let origin = self.origin(value, node);
        match value {
            Value::Object(entries) if !entries.is_empty() => {
                let _ = writeln!(self.out, "{origin}");
                // A short form stands for the whole map: its parts have no place of their own.
                let inner = node.filter(|node| matches!(node.kind, Kind::Map(_)));
                self.map(entries, inner, indent + 2);
            }
            Value::Array(items) if items.iter().any(|item| item.as_object().is_some_and(|map| !map.is_empty())) => {
                let _ = writeln!(self.out, "{origin}");
                for (i, item) in items.iter().enumerate() {
                    match node.map(|node| &node.kind) {
                        Some(Kind::List(nodes)) => {
                            self.path.push(i.to_string());
                            self.item(item, nodes.get(i).map(|node| node.as_ref()), indent);
                            self.path.pop();
                        }
                        // One value alone is a list of one.
                        _ => self.item(item, node, indent),
                    }
                }
            }
            Value::String(text) if self.is_file() => {
                let _ = writeln!(self.out, " {}{origin}", scalar(&self.rebased(text, node)));
            }
            _ => {
                let _ = writeln!(self.out, " {}{origin}", inline(value));
            }
        }
    }

    /// Whether the value is the path of a file beside the one that names it.
    fn is_file(&self) -> bool {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        matches!(
            path[..],
            ["platform", "secrets", "age"]
                | ["platform", "secrets", "vault", "ca"]
                | ["compute", "hosts", _, "files", _, "source"]
                | ["services", _, "compose"]
                | ["services", _, "environments", _, "compose"]
        )
    }

    /// A path that stands in an included file, as it would stand in the lab's first one: what is shown is one file.
    fn rebased(&self, path: &str, node: Option<&Node>) -> String {
        let folder = |file: u32| {
            let name = self.parsed.sources.get(file).map_or("", |source| source.name.as_str());
            name.rsplit_once('/').map_or("", |(folder, _)| folder)
        };
        let Some(named) = node.filter(|node| folder(node.span.file) != folder(0)) else { return path.to_string() };
        let Some(source) = self.parsed.sources.get(named.span.file) else { return path.to_string() };
        let found = beside(&source.name, path);
        match found.strip_prefix(folder(0)).map(|rest| rest.strip_prefix('/')) {
            Some(Some(rest)) if !folder(0).is_empty() => rest.to_string(),
            _ => found,
        }
    }

    fn item(&mut self, item: &Value, node: Option<&Node>, indent: usize) {
        match item {
            Value::Object(entries) if !entries.is_empty() => {
                let _ = write!(self.out, "{:indent$}- ", "");
                // As for a map: the parts of a short form have no place of their own.
                self.map(entries, node.filter(|node| matches!(node.kind, Kind::Map(_))), indent + 2);
            }
            other => {
                let _ = writeln!(self.out, "{:indent$}- {}", "", inline(other));
            }
        }
    }

    /// The comment that says where a value comes from; nothing where the file says it right there.
    fn origin(&self, value: &Value, node: Option<&Node>) -> String {
        // A key with nothing behind it still says that the thing is there: `pve-02:` is a host.
        if node.is_some_and(|node| !node.is_null() || value.is_object()) {
            return String::new();
        }
        let at = self.path.join(".");
        match self.derived.get(at.as_str()) {
            Some(because) => format!("  # {because}"),
            None if self.parsed.short.contains(&at) => "  # from the short form".into(),
            None => "  # default".into(),
        }
    }
}

/// A value on one line. JSON is YAML, so what is nested is written as JSON.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| format!("{}: {}", scalar(key), inline(value));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn scalar(text: &str) -> String {
    // The last four are booleans to readers of YAML 1.1.
    plain_or_quoted(text, &["true", "false", "null", "yes", "no", "on", "off"])
}

/// A string as YAML: bare where that reads back as the same string and is no reserved word, in double quotes elsewhere.
fn plain_or_quoted(text: &str, reserved: &[&str]) -> String {
    let bare = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./@+".contains(c))
        && text.parse::<f64>().is_err()
        && !reserved.contains(&text.to_ascii_lowercase().as_str());
    if bare {
        return text.to_string();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            // Control characters, line ends of other systems and the byte order mark do not survive as themselves.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(quoted, "\\u{:04x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
