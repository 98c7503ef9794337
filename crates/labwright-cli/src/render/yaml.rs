//! Values as the YAML of a lab file: one line for what is short, a block for what is not.
//! Texts that could be read as something else stand in double quotes, which YAML shares with JSON.

use serde_json::{Map, Value};

/// A line is broken where it would be longer.
const WIDTH: usize = 100;

/// A map as a block, each line behind `indent` spaces.
pub fn block(map: &Map<String, Value>, indent: usize) -> String {
    let mut out = String::new();
    for (key, value) in map {
        let front = format!("{}{}:", " ".repeat(indent), scalar(key));
        let line = flow(value);
        if front.len() + 1 + line.len() <= WIDTH && !is_deep(value) {
            out.push_str(&format!("{front} {line}\n"));
            continue;
        }
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push_str(&format!("{front}\n{}", block(inner, indent + 2)))
            }
            Value::Array(items) if !items.is_empty() => {
                out.push_str(&format!("{front}\n"));
                items.iter().for_each(|item| out.push_str(&format!("{}- {}\n", " ".repeat(indent + 2), flow(item))));
            }
            _ => out.push_str(&format!("{front} {line}\n")),
        }
    }
    out
}

/// Whether it is easier to read over several lines.
fn is_deep(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.len() > 2 || fields.values().any(|field| matches!(field, Value::Object(_))),
        _ => false,
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) if fields.is_empty() => "{}".into(),
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| format!("{}: {}", scalar(key), flow(value));
            format!("{{ {} }}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        Value::Null => "{}".into(),
        other => other.to_string(),
    }
}

/// A text as it stands, if nobody can take it for anything else.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./@".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_word = words.contains(&text.to_ascii_lowercase().as_str());
    match begins && !is_word && text.chars().all(plain) {
        true => text.to_string(),
        false => Value::String(text.to_string()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_could_mean_something_else_is_quoted() {
        let Value::Object(map) = json!({
            "image": "127.0.0.1:5000/app:1", "on": "docker-01", "restart": "no", "user": "0", "scale": 2,
            "ports": ["8080:80"], "environment": { "A": "b: c", "B": "two\nlines", "C": "" }, "front": null,
        }) else {
            unreachable!()
        };
        expect![[r#"
            image: "127.0.0.1:5000/app:1"
            "on": docker-01
            restart: "no"
            user: "0"
            scale: 2
            ports: ["8080:80"]
            environment:
              A: "b: c"
              B: "two\nlines"
              C: ""
            front: {}
        "#]]
        .assert_eq(&block(&map, 0));
    }
}
