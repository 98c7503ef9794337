//! `${VARIABLE}` in the values of a Compose file, by Compose's own rules.
//! Knows no key: every value is treated alike, keys are left alone.

use std::sync::Arc;

use super::environment::Environment;
use crate::codes;
use crate::finding::{Finding, Findings};
use crate::span::{Sources, Span};
use crate::tree::{Kind, Node};

/// A reference that gives no value, and the way out.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    pub message: String,
    pub help: String,
    /// What the finding should point at: `${NAME`.
    pub needle: String,
}

/// Defaults within defaults are followed this far.
const MAX_NESTING: usize = 32;
/// More than this all values together may not become: a long variable can be named in each of them.
const MAX_EXPANDED: usize = 16 << 20;

/// The text with its variables put in. Names without a value and without a default go to `unset` and count as empty.
pub fn substitute(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut Vec<String>,
) -> Result<String, Fault> {
    nested(text, lookup, unset, 0)
}

fn name_length(text: &str) -> usize {
    match text.bytes().next() {
        Some(first) if first == b'_' || first.is_ascii_alphabetic() => {
            text.bytes().take_while(|byte| *byte == b'_' || byte.is_ascii_alphanumeric()).count()
        }
        _ => 0,
    }
}

fn nested(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut Vec<String>,
    depth: usize,
) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let invalid = || Fault {
                message: format!("`${{{}` is no reference to a variable", first_words(after)),
                help: match after.split_once('}').and_then(|(name, _)| name.strip_prefix("secret.")) {
                    Some(secret) => format!(
                        "a Compose file and its `.env` do not know the lab's secrets: write `secrets: {{ {secret}: {{ external: \
                         true }} }}`, and at the container `secrets: [{secret}]` and, where the image knows it, \
                         `NAME_FILE: /run/secrets/{secret}`; or describe the service under `containers:` in the lab file"
                    ),
                    None => "write `${NAME}` or `${NAME:-default}`, and `$$` for a literal `$`".into(),
                },
                needle: "${".into(),
            };
            let end = closing(after).ok_or_else(invalid)?;
            if depth >= MAX_NESTING {
                let message = format!("defaults are nested deeper than {MAX_NESTING} levels");
                return Err(Fault { message, help: "write the default out".into(), needle: "${".into() });
            }
            let (inside, length) = (&after[..end], name_length(after));
            if length == 0 || length > end {
                return Err(invalid());
            }
            out.push_str(&braced(&inside[..length], &inside[length..], lookup, unset, depth).ok_or_else(invalid)??);
            rest = &after[end + 1..];
        } else {
            let length = name_length(rest);
            match length {
                // A `$` that starts no name is a `$`.
                0 => out.push('$'),
                _ => out.push_str(&value_or_blank(&rest[..length], lookup, unset)),
            }
            rest = &rest[length..];
        }
        // Doubling references would fill the memory long before somebody counts.
        if out.len() > MAX_EXPANDED {
            let message = "the values expand to more than 16 MiB".to_string();
            return Err(Fault {
                message,
                help: "write the value out, or keep it in a file".into(),
                needle: "$".into(),
            });
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// What `${NAME…}` stands for; `None` where what follows the name is no operator.
fn braced(
    name: &str,
    operator: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut Vec<String>,
    depth: usize,
) -> Option<Result<String, Fault>> {
    if operator.is_empty() {
        return Some(Ok(value_or_blank(name, lookup, unset)));
    }
    let (blank_counts, operator) = match operator.strip_prefix(':') {
        Some(operator) => (false, operator),
        None => (true, operator),
    };
    let value = lookup(name).filter(|value| blank_counts || !value.is_empty());
    let mut inner = |text: &str| nested(text, lookup, unset, depth + 1);
    let word = operator.get(1..).unwrap_or_default();
    Some(match (operator.chars().next()?, value) {
        ('-', Some(value)) | ('?', Some(value)) => Ok(value),
        ('-', None) => inner(word),
        ('+', Some(_)) => inner(word),
        // Compose gives the value itself, which is empty or not there.
        ('+', None) => Ok(String::new()),
        ('?', None) => inner(word).and_then(|why| {
            let message = match why.is_empty() {
                true => format!("the variable `{name}` has no value, and must have one"),
                false => format!("the variable `{name}` has no value: {why}"),
            };
            let help = format!("write `{name}=…` into the `.env` beside the Compose file");
            Err(Fault { message, help, needle: format!("${{{name}") })
        }),
        _ => return None,
    })
}

fn value_or_blank(name: &str, lookup: &dyn Fn(&str) -> Option<String>, unset: &mut Vec<String>) -> String {
    lookup(name).unwrap_or_else(|| {
        unset.push(name.to_string());
        String::new()
    })
}

/// Where the brace closes that was opened just before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

fn first_words(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    line.char_indices().nth(40).map_or(line, |(end, _)| &line[..end])
}

/// What one file's values are read with.
pub struct Values<'a> {
    pub environment: &'a Environment,
    pub sources: &'a Sources,
    pub at: &'a str,
    /// How much all values became so far.
    pub expanded: &'a mut usize,
    /// Names without a value, each with every place that uses it.
    pub unset: Vec<(String, Span)>,
}

/// A tree with the variables of all its values put in.
pub fn interpolate(node: &Arc<Node>, values: &mut Values<'_>, findings: &mut Findings) -> Arc<Node> {
    match &node.kind {
        Kind::Scalar { text, .. } if text.contains('$') => {
            let mut unset = Vec::new();
            let lookup = |name: &str| values.environment.get(name).map(str::to_string);
            let result = substitute(text, &lookup, &mut unset);
            unset.sort_unstable();
            unset.dedup();
            for name in unset {
                let braced = format!("${{{name}");
                let span = narrowed(values.sources, node.span, &braced)
                    .or_else(|| narrowed(values.sources, node.span, &format!("${name}")))
                    .unwrap_or(node.span);
                values.unset.push((name, span));
            }
            let text = match result {
                Ok(text) => text,
                Err(fault) => {
                    let span = narrowed(values.sources, node.span, &fault.needle).unwrap_or(node.span);
                    findings
                        .push(Finding::error(codes::COMPOSE_VARIABLE, values.at, span, fault.message).help(fault.help));
                    String::new()
                }
            };
            let before = *values.expanded;
            *values.expanded += text.len();
            if *values.expanded > MAX_EXPANDED {
                if before <= MAX_EXPANDED {
                    let message = "the values of this project expand to more than 16 MiB";
                    let finding = Finding::error(codes::TOO_LARGE, values.at, node.span, message);
                    findings.push(finding.help("keep long texts in files"));
                }
                return Arc::new(Node { kind: Kind::Scalar { text: String::new(), plain: false }, span: node.span });
            }
            // What came from a variable is a text, whatever it looks like.
            Arc::new(Node { kind: Kind::Scalar { text, plain: false }, span: node.span })
        }
        Kind::List(items) if items.iter().any(|item| has_variables(item)) => {
            let items = items.iter().map(|item| interpolate(item, values, findings)).collect();
            Arc::new(Node { kind: Kind::List(items), span: node.span })
        }
        Kind::Map(entries) if entries.iter().any(|(_, node)| has_variables(node)) => {
            let entries =
                entries.iter().map(|(key, node)| (key.clone(), interpolate(node, values, findings))).collect();
            Arc::new(Node { kind: Kind::Map(entries), span: node.span })
        }
        _ => node.clone(),
    }
}

/// What is said of names without a value: once for a file, and once more for each place that a comment accepts by itself.
pub fn told_unset(unset: &[(String, Span)], at: &str, is_accepted: &dyn Fn(Span) -> bool) -> Vec<Finding> {
    let (accepted, open): (Vec<_>, Vec<_>) = unset.iter().partition(|(_, span)| is_accepted(*span));
    let said = |uses: &[&(String, Span)]| -> Option<Finding> {
        let (first, others) = uses.split_first()?;
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in uses {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let name = &first.0;
        let (message, help) = match quoted.split_last() {
            Some((last, some)) if !some.is_empty() => (
                format!(
                    "the variables {} and {last} are not set: an empty text stands where each is used",
                    some.join(", ")
                ),
                format!(
                    "write `NAME=…` for each into the `.env` beside the Compose file, or `${{{name}:-default}}`; a literal `$` is `$$`"
                ),
            ),
            _ => (
                format!("the variable `{name}` is not set: an empty text stands here"),
                format!(
                    "write `{name}=…` into the `.env` beside the Compose file, or `${{{name}:-default}}`; a literal `$` is `$$`"
                ),
            ),
        };
        let finding = Finding::warning(codes::COMPOSE_VARIABLE, at, first.1, message).help(help);
        Some(others.iter().take(5).fold(finding, |finding, (name, span)| {
            let also = if names.len() > 1 { format!("`{name}` is used here") } else { "and here".to_string() };
            finding.related(*span, also)
        }))
    };
    accepted.iter().filter_map(|one| said(&[*one])).chain(said(&open)).collect()
}

/// Whether a value needs a look: collections always do, so that this asks each scalar once.
fn has_variables(node: &Node) -> bool {
    match &node.kind {
        Kind::Scalar { text, .. } => text.contains('$'),
        Kind::List(items) => !items.is_empty(),
        Kind::Map(entries) => !entries.is_empty(),
        Kind::Null => false,
    }
}

/// The place of a word within a value's own text.
fn narrowed(sources: &Sources, span: Span, needle: &str) -> Option<Span> {
    let text = sources.get(span.file)?.text.get(span.start as usize..span.end as usize)?;
    let at = span.start + text.find(needle)? as u32;
    Some(Span { start: at, end: at + needle.len() as u32, ..span })
}

/// Turns `$$` into `$` in services that stand in the lab file, as a Compose file has it: what is pasted means the same.
/// `$${` stays: it is the lab file's own way to write `${`, and is read later.
pub fn dollars(node: &Arc<Node>) -> Arc<Node> {
    fn any(node: &Node) -> bool {
        match &node.kind {
            Kind::Null => false,
            Kind::Scalar { text, .. } => text.contains("$$"),
            Kind::List(items) => items.iter().any(|item| any(item)),
            Kind::Map(entries) => entries.iter().any(|(_, node)| any(node)),
        }
    }
    if !any(node) {
        return node.clone();
    }
    let kind = match &node.kind {
        Kind::Null => Kind::Null,
        Kind::Scalar { text, plain } => Kind::Scalar { text: single(text), plain: *plain },
        Kind::List(items) => Kind::List(items.iter().map(dollars).collect()),
        Kind::Map(entries) => Kind::Map(entries.iter().map(|(key, node)| (key.clone(), dollars(node))).collect()),
    };
    Arc::new(Node { kind, span: node.span })
}

fn single(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("$$") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        out.push_str(before);
        out.push_str(if after.starts_with('{') { "$$" } else { "$" });
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, String> {
        let lookup = |name: &str| match name {
            "SET" => Some("x".to_string()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        substitute(text, &lookup, &mut Vec::new()).map_err(|fault| fault.message)
    }

    #[test]
    fn every_form_of_a_reference() {
        for (text, expected) in [
            ("$SET-${SET}", "x-x"),
            ("$$SET $${SET} $5 $", "$SET ${SET} $5 $"),
            ("${NO:-d}${EMPTY:-d}${SET:-d}", "ddx"),
            ("${NO-d}${EMPTY-d}${SET-d}", "dx"),
            ("${NO:+a}${EMPTY:+a}${SET:+a}", "a"),
            ("${NO+a}${EMPTY+a}${SET+a}", "aa"),
            ("${SET:?why}${EMPTY?why}", "x"),
            ("${NO:-${ALSO:-${SET}}}", "x"),
            ("${NO:-http://h:80/{id}}", "http://h:80/{id}"),
            ("${NO}", ""),
        ] {
            assert_eq!(of(text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(of("${NO:?say $SET}").unwrap_err(), "the variable `NO` has no value: say x");
        assert_eq!(of("${EMPTY:?}").unwrap_err(), "the variable `EMPTY` has no value, and must have one");
        for text in ["${", "${}", "${1}", "${SET", "${SET!x}", "${SET:}"] {
            assert!(of(text).is_err(), "{text}");
        }
        let deep = format!("{}{}", "${A:-".repeat(100_000), "}".repeat(100_000));
        assert!(of(&deep).is_err());
    }

    #[test]
    fn two_dollars_are_one_and_the_lab_files_own_escape_stays() {
        for (written, read) in
            [("a $$HOME", "a $HOME"), ("$$$$", "$$"), ("$${host.x}", "$${host.x}"), ("$HOME", "$HOME")]
        {
            let scalar = Node { kind: Kind::Scalar { text: written.into(), plain: true }, span: Span::NONE };
            assert_eq!(dollars(&Arc::new(scalar)).text(), Some(read));
        }
    }
}
