//! Compose's spellings of times, sizes and lists.
//! Pure; `None` is "that is not one".

use serde_json::Value as Json;

/// `1m30s`, `500ms`, `10`: nanoseconds.
pub fn duration(value: &Json) -> Option<i64> {
    if let Some(seconds) = value.as_f64() {
        return Some((seconds * 1e9) as i64);
    }
    let mut rest = value.as_str()?.trim();
    if let Ok(seconds) = rest.parse::<f64>() {
        return Some((seconds * 1e9) as i64);
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "h" => 3600e9,
            "m" => 60e9,
            "s" => 1e9,
            "ms" => 1e6,
            "us" => 1e3,
            "ns" => 1.0,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[end..];
    }
    Some(total as i64)
}

/// `512m`, `1g`, `1gb`, `64`: bytes.
pub fn size(value: &Json) -> Option<i64> {
    if let Some(bytes) = value.as_i64() {
        return Some(bytes);
    }
    let text = value.as_str()?.trim().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let unit = match text[end..].trim_end_matches('b') {
        "" => 1.0,
        "k" => 1024.0,
        "m" => 1024.0 * 1024.0,
        "g" => 1024.0 * 1024.0 * 1024.0,
        "t" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some((number * unit) as i64)
}

/// A command line as a shell splits it; a list as it is.
pub fn command(value: &Json) -> Option<Vec<String>> {
    match value {
        Json::String(line) => split(line),
        other => list(other),
    }
}

/// One text, or several.
pub fn list(value: &Json) -> Option<Vec<String>> {
    match value {
        Json::Array(items) => items.iter().map(scalar).collect(),
        other => Some(vec![scalar(other)?]),
    }
}

/// A text, however YAML typed it.
pub fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(bool) => Some(bool.to_string()),
        _ => None,
    }
}

fn split(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut begun, mut quote) = (Vec::new(), String::new(), false, None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"'), '\\') | (None, '\\') => {
                begun = true;
                word.push(chars.next()?);
            }
            (Some(_), c) => word.push(c),
            (None, '"' | '\'') => (begun, quote) = (true, Some(c)),
            (None, c) if c.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (None, c) => {
                begun = true;
                word.push(c);
            }
        }
    }
    if begun {
        words.push(word);
    }
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn composes_words_are_read() {
        assert_eq!(duration(&json!("1m30s")), Some(90_000_000_000));
        assert_eq!(duration(&json!("500ms")), Some(500_000_000));
        assert_eq!(duration(&json!("soon")), None);
        assert_eq!(size(&json!("64m")), Some(64 << 20));
        assert_eq!(size(&json!("1GB")), Some(1 << 30));
        assert_eq!(size(&json!("much")), None);
        let words = command(&json!("sh -c 'echo \"a b\"; exit 1' x\\ y")).unwrap();
        assert_eq!(words, ["sh", "-c", "echo \"a b\"; exit 1", "x y"]);
        assert_eq!(command(&json!("open 'quote")), None);
    }
}
