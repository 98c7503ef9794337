//! Findings as a person reads them, with the source line, and as JSON.

use std::collections::BTreeMap;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use labwright_model::{Finding, Findings, Parsed, Severity, Span};
use serde_json::json;

/// `3 places`, `1 place`.
pub fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Every finding, one after the other.
pub fn text(findings: &Findings, parsed: &Parsed, color: bool, width: usize) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() }.term_width(width);
    let mut out = String::new();
    let masked = masked(findings, parsed);
    for finding in findings {
        let level = match finding.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Advice => Level::NOTE.with_name("advice"),
        };
        let title = level.primary_title(finding.message.as_str()).id(finding.code);
        let mut groups =
            vec![snippets(finding, parsed, &masked).into_iter().fold(Group::with_title(title), Group::element)];
        if !finding.help.is_empty() {
            let help = Level::HELP.message(finding.help.as_str());
            groups = groups.into_iter().map(|group| group.element(help.clone())).collect();
        }
        out.push_str(&renderer.render(&groups));
        out.push_str("\n\n");
    }
    out
}

/// Findings about a secret that stands in the clear: the line that they show must not show it.
const ABOUT_CLEAR_SECRETS: &[&str] = &["LW-PLT-005", "LW-PLT-008"];

/// The texts of files in which a secret stands in the clear, with what follows the key on each such line made unreadable.
fn masked(findings: &Findings, parsed: &Parsed) -> BTreeMap<u32, String> {
    let mut masked: BTreeMap<u32, String> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| ABOUT_CLEAR_SECRETS.contains(&finding.code)) {
        for span in finding.related.iter().map(|(span, _)| *span).chain([finding.span]) {
            let Some(source) = parsed.sources.get(span.file) else { continue };
            // Where the lab names its store stands a path, and in the store the secrets.
            let in_store = parsed.store.as_ref().is_some_and(|store| store.path == source.name);
            if finding.code == "LW-PLT-008" && !in_store {
                continue;
            }
            let text = masked.entry(span.file).or_insert_with(|| source.text.clone());
            let start = text[..span.start as usize].rfind('\n').map_or(0, |at| at + 1);
            let end = text[span.end as usize..].find('\n').map_or(text.len(), |at| span.end as usize + at);
            let hidden = hide(&text[start..end]);
            text.replace_range(start..end, &hidden);
        }
    }
    masked
}

/// The same lines, as many bytes long, with stars for whatever stands behind the first colon; without one, for all of it.
fn hide(lines: &str) -> String {
    let line = |line: &str| {
        let from = line.find(": ").map_or(0, |at| at + 2);
        let star = |c: char| if c.is_whitespace() || c == '#' { c.to_string() } else { "*".repeat(c.len_utf8()) };
        format!("{}{}", &line[..from], line[from..].chars().map(star).collect::<String>())
    };
    lines.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// How many lines between two places still belong to one excerpt.
const NEAR: usize = 10;

/// A place in a file: its line and its bytes, cut to that line. The finding's own has no label.
struct At<'a> {
    line: usize,
    range: Range<usize>,
    label: Option<&'a str>,
}

/// The finding's own place and the places that take part: a snippet for those of one file that are near each other. The
/// renderer goes through all that it is given, so a snippet holds the lines between its places and no more.
fn snippets<'a>(
    finding: &'a Finding,
    parsed: &'a Parsed,
    masked: &'a BTreeMap<u32, String>,
) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let mut excerpts: Vec<(u32, Vec<At<'a>>)> = Vec::new();
    let own = Some((finding.span, None)).filter(|_| !finding.span.is_none());
    let others = finding.related.iter().map(|(span, label)| (*span, Some(label.as_str())));
    for (span, label) in own.into_iter().chain(others) {
        let at = At { line: parsed.place(span).map_or(1, |place| place.line), range: range(span, parsed), label };
        let near = |(file, places): &&mut (u32, Vec<At>)| {
            *file == span.file && places.iter().any(|place| place.line.abs_diff(at.line) <= NEAR)
        };
        match excerpts.iter_mut().find(near) {
            Some((_, places)) => places.push(at),
            None => excerpts.push((span.file, vec![at])),
        }
    }
    let snippet = |(file, places): (u32, Vec<At<'a>>)| {
        let source = parsed.sources.get(file)?;
        let text = masked.get(&file).map_or(source.text.as_str(), String::as_str);
        let first = places.iter().min_by_key(|place| place.range.start)?;
        let start = text[..first.range.start].rfind('\n').map_or(0, |at| at + 1);
        let end = places.iter().map(|place| place.range.end).max()?;
        let end = text[end..].find('\n').map_or(text.len(), |at| end + at + 1);
        let snippet = Snippet::source(&text[start..end]).line_start(first.line).path(source.name.as_str());
        Some(snippet.annotations(places.into_iter().map(|At { range, label, .. }| {
            let range = range.start - start..range.end - start;
            match label {
                None => AnnotationKind::Primary.span(range),
                Some(label) => AnnotationKind::Context.span(range).label(label),
            }
        })))
    };
    excerpts.into_iter().filter_map(snippet).collect()
}

/// The span cut to its first line: a whole map underlined helps nobody.
fn range(span: Span, parsed: &Parsed) -> Range<usize> {
    let text = parsed.sources.get(span.file).map_or("", |source| source.text.as_str());
    let start = (span.start as usize).min(text.len());
    let end = (span.end as usize).clamp(start, text.len());
    let line = text[start..end].find('\n').map_or(end, |line| start + line);
    start..line.max((start + 1).min(text.len()))
}

/// The documented form: `{ "findings": [ { code, severity, file, line, … } ] }`, behind a version.
pub fn json(findings: &Findings, parsed: &Parsed) -> serde_json::Value {
    let one = |finding: &Finding| {
        let place = parsed.place(finding.span);
        let number = |read: fn(&labwright_model::Place) -> usize| place.as_ref().map(read);
        json!({
            "code": finding.code,
            "severity": finding.severity,
            "at": finding.at,
            "file": place.as_ref().map(|place| place.file.clone()),
            "line": number(|place| place.line),
            "column": number(|place| place.column),
            "end_line": number(|place| place.end_line),
            "end_column": number(|place| place.end_column),
            "message": finding.message,
            "help": finding.help,
        })
    };
    json!({ "findings": findings.iter().map(one).collect::<Vec<_>>() })
}
