//! A part of a text of the lab file: where it stands, and which comment accepts it. For rules that look into texts whatever
//! they are for; judges nothing.

use std::ops::Range;

use labwright_model::{Allow, Parsed, Span, Step, Text};

/// Keys whose values are read by people: what they speak of is not done.
pub const PROSE: &[&str] = &["description", "because", "comment", "summary", "restore_notes", "expr"];

/// The key that a text is the value of, or among the values of.
pub fn key<'a>(path: &[Step<'a>]) -> Option<&'a str> {
    path.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(*key),
        Step::Item(_) => None,
    })
}

/// A path as it is told: `services.wiki.run.command.0`.
pub fn joined(path: &[Step<'_>]) -> String {
    path.iter().map(Step::to_string).collect::<Vec<_>>().join(".")
}

/// What is written at a place.
pub fn source(parsed: &Parsed, span: Span) -> &str {
    let source = parsed.sources.get(span.file);
    source.and_then(|source| source.text.get(span.start as usize..span.end as usize)).unwrap_or_default()
}

/// Where a part of a text is told. No comment can stand inside a text of several lines, so one at its key counts.
pub fn told_at(parsed: &Parsed, code: &str, text: &Text<'_, '_>, range: &Range<usize>) -> Span {
    let line = parsed.place(text.key).map(|place| place.line);
    let at_key = |allow: &Allow| allow.code == code && allow.span.file == text.key.file && Some(allow.line) == line;
    match text.text.contains('\n') && parsed.allows.iter().any(at_key) {
        true => text.key,
        false => place(parsed, text, range),
    }
}

/// Where a part of a text stands in the file; the whole text where it is written in another way there.
pub fn place(parsed: &Parsed, Text { text, span, .. }: &Text<'_, '_>, range: &Range<usize>) -> Span {
    let part = &text[range.clone()];
    let earlier = text[..range.start].matches(part).count();
    match source(parsed, *span).match_indices(part).nth(earlier) {
        Some((at, _)) if *range != (0..text.len()) => {
            let start = span.start + at as u32;
            Span { start, end: start + part.len() as u32, ..*span }
        }
        _ => *span,
    }
}
