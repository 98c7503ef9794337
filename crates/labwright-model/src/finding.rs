//! What is wrong with the user's file: collected, never thrown.
//! Does no printing; the command line draws the source line.

use serde::Serialize;

use crate::span::Span;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Advice,
    /// Will hurt one day.
    Warning,
    /// The lab contradicts itself; nothing is planned.
    Error,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Advice => "advice",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// One fault, at one place, with the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable: `LW-NET-003`.
    pub code: &'static str,
    pub severity: Severity,
    /// Path in the model: `compute.hosts.docker-01.zone`.
    pub at: String,
    pub span: Span,
    /// One sentence, lowercase, no full stop; names what the user wrote in backticks.
    pub message: String,
    /// What to type; empty where the message already says it.
    pub help: String,
    /// Other places that take part: "first used here".
    pub related: Vec<(Span, String)>,
}

impl Finding {
    pub fn error(code: &'static str, at: impl Into<String>, span: Span, message: impl Into<String>) -> Self {
        Finding {
            code,
            severity: Severity::Error,
            at: on_one_line(at.into()),
            span,
            message: on_one_line(message.into()),
            help: String::new(),
            related: Vec::new(),
        }
    }

    pub fn warning(code: &'static str, at: impl Into<String>, span: Span, message: impl Into<String>) -> Self {
        Finding { severity: Severity::Warning, ..Finding::error(code, at, span, message) }
    }

    pub fn advice(code: &'static str, at: impl Into<String>, span: Span, message: impl Into<String>) -> Self {
        Finding { severity: Severity::Advice, ..Finding::error(code, at, span, message) }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = on_one_line(help.into());
        self
    }

    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        if !span.is_none() {
            self.related.push((span, on_one_line(label.into())));
        }
        self
    }
}

/// Texts of findings quote the user's own: neither a line break nor a control character of it may reach a terminal.
fn on_one_line(text: String) -> String {
    const LONGEST: usize = 1000;
    if text.len() <= LONGEST && !text.contains(char::is_control) {
        return text;
    }
    let mut line = String::new();
    for c in text.chars() {
        if line.len() > LONGEST {
            line.push('…');
            break;
        }
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line
}

/// Every finding of one run, in the order of the files once sorted.
pub type Findings = Vec<Finding>;

/// Files in order, places in order, then codes: the order in which findings are shown. The same fault at the same place
/// is said once, though an alias may have led there by several ways.
pub fn sort(findings: &mut Findings) {
    findings.sort_by(|a, b| {
        (a.span.is_none(), a.span, a.code, &a.message, &a.at).cmp(&(
            b.span.is_none(),
            b.span,
            b.code,
            &b.message,
            &b.at,
        ))
    });
    findings.dedup_by(|later, first| {
        (later.code, later.span, &later.message) == (first.code, first.span, &first.message)
            && (!first.span.is_none() || later.at == first.at)
    });
}

/// The nearest of `names` to what was typed, if it is near enough to be meant.
pub fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing is the dear part, and no person has so many names of nearly one length.
    const MOST: usize = 5000;
    let typed = typed.to_lowercase();
    let length = typed.chars().count();
    let limit = (length / 3).max(1);
    names
        .into_iter()
        .filter(|name| name.chars().count().abs_diff(length) <= limit)
        .take(MOST)
        .map(|name| (strsim::damerau_levenshtein(&typed, &name.to_lowercase()), name))
        // A name of one letter is near to every other one.
        .filter(|(distance, _)| *distance <= limit && *distance < length)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// What people write for a word of ours, where that is one of these.
pub fn meant<'a>(typed: &str, words: &[&'a str]) -> Option<&'a str> {
    const SAME: &[(&str, &str)] = &[
        ("internet", "public"),
        ("web", "public"),
        ("world", "public"),
        ("external", "public"),
        ("local", "lan"),
        ("home", "lan"),
        ("internal", "lan"),
        ("none", "nowhere"),
        ("private", "nowhere"),
        ("tailscale", "vpn"),
        ("wireguard", "vpn"),
        ("pve", "proxmox"),
        ("synology", "other"),
        ("truenas", "other"),
        ("windows", "other"),
    ];
    let typed = typed.to_lowercase();
    let (_, ours) = SAME.iter().find(|(theirs, _)| *theirs == typed)?;
    words.iter().copied().find(|word| word == ours)
}

/// The only word that begins with what was typed: `prod` for `production`.
pub fn beginning<'a>(typed: &str, words: &[&'a str]) -> Option<&'a str> {
    let mut found = words.iter().filter(|word| typed.len() >= 2 && word.starts_with(typed));
    found.next().copied().filter(|_| found.next().is_none())
}
