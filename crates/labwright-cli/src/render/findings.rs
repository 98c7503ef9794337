//! Findings as a person reads them, with the source line, and as JSON.

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
    for finding in findings {
        let level = match finding.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Advice => Level::NOTE.with_name("advice"),
        };
        let title = level.primary_title(finding.message.as_str()).id(finding.code);
        let mut groups = vec![snippets(finding, parsed).into_iter().fold(Group::with_title(title), Group::element)];
        if !finding.help.is_empty() {
            let help = Level::HELP.message(finding.help.as_str());
            groups = groups.into_iter().map(|group| group.element(help.clone())).collect();
        }
        out.push_str(&renderer.render(&groups));
        out.push_str("\n\n");
    }
    out
}

/// The finding's own place and the places that take part, one snippet a file.
fn snippets<'a>(finding: &'a Finding, parsed: &'a Parsed) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let mut by_file: Vec<(u32, Vec<annotate_snippets::Annotation<'a>>)> = Vec::new();
    let mut add = |span: Span, annotation| match by_file.iter_mut().find(|(file, _)| *file == span.file) {
        Some((_, annotations)) => annotations.push(annotation),
        None => by_file.push((span.file, vec![annotation])),
    };
    if !finding.span.is_none() {
        add(finding.span, AnnotationKind::Primary.span(range(finding.span, parsed)));
    }
    for (span, label) in &finding.related {
        add(*span, AnnotationKind::Context.span(range(*span, parsed)).label(label.as_str()));
    }
    let snippet = |(file, annotations): (u32, Vec<_>)| {
        let source = parsed.sources.get(file)?;
        Some(Snippet::source(source.text.as_str()).path(source.name.as_str()).annotations(annotations))
    };
    by_file.into_iter().filter_map(snippet).collect()
}

/// The span cut to its first line: a whole map underlined helps nobody.
fn range(span: Span, parsed: &Parsed) -> std::ops::Range<usize> {
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
