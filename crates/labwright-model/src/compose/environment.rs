//! Variables: those handed in, and those of `.env` and `env_file` texts.
//! Reads no process environment and no file; texts are handed in.

use std::collections::BTreeMap;

use super::interpolate::{self, Fault};

/// The variables that `${…}` in a Compose file can name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(pub BTreeMap<String, String>);

/// More text than this is not expanded: each line of a file may double the one before it.
const MAX_EXPANDED: usize = 4 << 20;

impl Environment {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// These variables, and those of `more` that they do not have.
    #[must_use]
    pub fn or(mut self, more: impl IntoIterator<Item = (String, String)>) -> Self {
        for (name, value) in more {
            self.0.entry(name).or_insert(value);
        }
        self
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(pairs: T) -> Self {
        Environment(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// The value of one variable of a file in the syntax of `.env`.
pub fn variable(text: &str, name: &str) -> Option<String> {
    let mut all = BTreeMap::new();
    read(text, &|_| None, &mut all).ok()?;
    all.remove(name)
}

/// What is wrong with a file of variables: the byte where, what, and the way out.
#[derive(Debug, PartialEq, Eq)]
pub struct EnvFault {
    pub at: usize,
    pub message: String,
    pub help: String,
}

fn fault(at: usize, message: impl Into<String>, help: &str) -> EnvFault {
    EnvFault { at, message: message.into(), help: help.into() }
}

/// A space that does not end the line.
fn is_blank(c: char) -> bool {
    c.is_whitespace() && c != '\n'
}

/// Adds the variables of a file in the syntax of `.env` to `into`. Values in double quotes and without quotes may name
/// variables: first `known` is asked, then what `into` holds already. Returns the names that had no value.
pub fn read(
    text: &str,
    known: &dyn Fn(&str) -> Option<String>,
    into: &mut BTreeMap<String, String>,
) -> Result<Vec<String>, EnvFault> {
    let mut unset = Vec::new();
    let mut expanded = 0;
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(comment) = rest.strip_prefix('#') {
            rest = comment.find('\n').map_or("", |end| &comment[end..]);
            continue;
        }
        if rest.is_empty() {
            return Ok(unset);
        }
        if let Some(after) = rest.strip_prefix("export").filter(|after| after.starts_with(is_blank)) {
            rest = after.trim_start_matches(is_blank);
        }
        let start = text.len() - rest.len();
        let end = rest.find(['=', ':', '\n']).unwrap_or(rest.len());
        let name = rest[..end].trim_end();
        let allowed = |c: char| c.is_alphanumeric() || "_.-[]".contains(c);
        if name.is_empty() || !name.chars().all(allowed) {
            // What stands here may be the rest of a secret, so it is not repeated.
            return Err(fault(start, "this line is no variable", "write `NAME=value`, one on each line"));
        }
        let separator = rest[end..].chars().next();
        rest = rest.get(end + 1..).unwrap_or_default();
        if !matches!(separator, Some('=' | ':')) {
            // A name alone takes its value from outside.
            if let Some(value) = known(name) {
                into.insert(name.to_string(), value);
            }
            continue;
        }
        rest = rest.trim_start_matches(is_blank);
        let value;
        (value, rest) = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let Some((value, after)) = quoted(&rest[1..], quote) else {
                    return Err(fault(start, format!("the quote of `{name}` is not closed"), "close it"));
                };
                (if quote == '"' { (escapes(&value), true) } else { (value, false) }, after)
            }
            _ => {
                let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
                let line = line.split_once(" #").map_or(line, |(line, _)| line);
                ((line.trim_end().to_string(), true), after)
            }
        };
        let (value, expand) = value;
        let value = if expand {
            let lookup = |variable: &str| known(variable).or_else(|| into.get(variable).cloned());
            let result = interpolate::substitute(&value, &lookup, &mut unset);
            result.map_err(|Fault { message, help, .. }| EnvFault { at: start, message, help })?
        } else {
            value
        };
        expanded += value.len();
        if expanded > MAX_EXPANDED {
            return Err(fault(start, "the values expand to more than 4 MiB", "write the values out"));
        }
        // A name that starts with a digit can be no variable, and is dropped.
        if !name.starts_with(|c: char| c.is_ascii_digit()) {
            into.insert(name.to_string(), value);
        }
    }
}

/// As `read`, for `format: raw`: everything behind the first `=` is the value.
pub fn read_raw(text: &str, known: &dyn Fn(&str) -> Option<String>, into: &mut BTreeMap<String, String>) {
    for line in text.lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            Some((name, value)) => drop(into.insert(name.trim().to_string(), value.to_string())),
            None => {
                if let Some(value) = known(line.trim()) {
                    into.insert(line.trim().to_string(), value);
                }
            }
        }
    }
}

/// The text up to the closing quote, and what follows it. A backslash keeps a quote from closing.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if c == quote && !escaped => return Some((value, &text[at + 1..])),
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            _ if escaped && c != quote => value.push('\\'),
            _ => {}
        }
        escaped = false;
        value.push(c);
    }
    None
}

/// The escapes that a value in double quotes may hold; `\$` becomes `$$`, which then stands for `$`.
fn escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('a') => out.push('\u{7}'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('v') => out.push('\u{b}'),
            Some('\\') => out.push('\\'),
            Some('"') => out.push('"'),
            Some('$') => out.push_str("$$"),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<(String, String)>, EnvFault> {
        let mut into = BTreeMap::new();
        read(text, &|name| (name == "HOST").then(|| "nas".to_string()), &mut into)?;
        Ok(into.into_iter().collect())
    }

    #[test]
    fn every_form_of_a_line() {
        let text = "# comment\nA=1\nexport B = two words # not this\nC: yaml\nD='single $A'\nE=\"x\\ny $A\"\nF=${A}${HOST}\n\
                    G=\nHOST\nNOTHING\nH=\"a\nb\"\nI=\"\\$A\"\nJ=a#b\n1K=x\n";
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "yaml"),
            ("D", "single $A"),
            ("E", "x\ny 1"),
            ("F", "1nas"),
            ("G", ""),
            ("H", "a\nb"),
            ("HOST", "nas"),
            ("I", "$A"),
            ("J", "a#b"),
        ];
        assert_eq!(of(text).unwrap(), expected.map(|(name, value)| (name.to_string(), value.to_string())));
    }

    #[test]
    fn faults_have_a_place() {
        assert_eq!(of("A=1\n%=2").unwrap_err().at, 4);
        assert_eq!(of("A='x").unwrap_err().at, 0);
        let doubling: String = (1..64).map(|line| format!("V{line}=${{V{}}}${{V{}}}\n", line - 1, line - 1)).collect();
        assert!(of(&format!("V0=xxxxxxxx\n{doubling}")).unwrap_err().message.contains("4 MiB"));
    }
}
