//! What to say when a file is not YAML: the parser's error as a place, a sentence and the way out.
//! Repairs nothing: reading stops at the first such error.

use granit_parser::{ErrorKind, ScanError};

use crate::codes;
use crate::finding::Finding;
use crate::span::Span;
use crate::tree::MAX_DEPTH;

/// The finding for a tab where spaces belong.
pub fn tab(span: Span) -> Finding {
    Finding::error(codes::SYNTAX, "", span, "a tab stands in the indentation")
        .help("YAML is indented with spaces: replace the tab, and let the editor insert spaces in `.yaml` files")
}

/// The finding for nesting that no lab needs.
pub fn too_deep(span: Span) -> Finding {
    Finding::error(codes::TOO_LARGE, "", span, format!("nested deeper than {MAX_DEPTH} levels"))
        .help("no key of a lab file needs this depth; a bracket may be missing")
}

/// The finding for an error of the parser; `read_to` is where the last thing ended that could be read.
pub fn finding(file: u32, text: &str, read_to: usize, error: &ScanError) -> Finding {
    use ErrorKind::*;
    let mut offset = error.marker().byte_offset().unwrap_or(0).min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let place = |start: usize, end: usize| Span { file, start: start as u32, end: end as u32 };
    let line_end = |from: usize| text[from..].find('\n').map_or(text.len(), |newline| from + newline);
    let line_start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let kind = error.kind();
    if matches!(
        kind,
        TabNotAllowed | TabInBlockIndentation | TabInIndentation | TabAtBlockScalarStart | TabInPlainScalar
    ) {
        // The parser stands beside the tab: somewhere before it, or just behind it.
        let indentation = text[line_start..line_end(line_start)].trim_start().as_ptr().addr();
        let indented_to = indentation - text.as_ptr().addr();
        let found = text[line_start..indented_to].find('\t').map(|tab| line_start + tab);
        let found = found.or_else(|| text[offset..].find('\t').map(|tab| offset + tab)).unwrap_or(offset);
        return tab(place(found, (found + 1).min(text.len())));
    }
    if matches!(kind, UnclosedQuotedScalar | InvalidQuotedScalarIndent | DocumentIndicatorInQuotedScalar) {
        let passed = text.get(read_to..offset).unwrap_or_default();
        let here = text[offset..].starts_with(['"', '\'']).then_some(offset);
        if let Some(quote) = passed.find(['"', '\'']).map(|quote| read_to + quote).or(here) {
            let line = text[..quote].matches('\n').count() + 1;
            let message = format!("the quote that opens on line {line} is not closed");
            let help = format!("close it with `{}` at the end of the value", &text[quote..=quote]);
            return Finding::error(codes::SYNTAX, "", place(quote, line_end(quote)), message).help(help);
        }
    }
    if matches!(kind, RecursionLimitExceeded) {
        return too_deep(place(offset, offset));
    }
    let (message, help) = words(kind);
    let message = match message {
        "" => format!("not valid YAML: {}", error.info()),
        message => message.to_string(),
    };
    let span = match kind {
        // A marker on the line break says nothing: the line itself is what the user has to look at.
        _ if offset == text.len() || text[offset..].starts_with('\n') => {
            let line = text[..offset].trim_end();
            let start = line.rfind('\n').map_or(0, |newline| newline + 1);
            let start = start + (line.len() - start - line[start..].trim_start().len());
            place(start, line.len().max(start))
        }
        _ => place(offset, line_end(offset)),
    };
    Finding::error(codes::SYNTAX, "", span, message).help(help)
}

/// A sentence and the way out for the errors that people make; an empty sentence for the others.
fn words(kind: &ErrorKind) -> (&'static str, &'static str) {
    use ErrorKind::*;
    match kind {
        MappingValueNotAllowed | InvalidColonPlacement => (
            "a `:` stands where no key can be",
            "quote a value that contains `: `, or align this line with the keys above it",
        ),
        ExpectedBlockMappingKey
        | InvalidIndentation
        | ExpectedBlockSequenceEntry
        | MappingKeyNotAllowed
        | BlockSequenceEntryNotAllowed
        | InvalidFlowScalarIndent => (
            "the indentation of this line fits none of the lines above",
            "keys of one map start in the same column, and so do the `-` of one list",
        ),
        SimpleKeyExpected | InvalidSimpleKey => (
            "this line is neither a `key: value` nor an entry of a list",
            "add the missing `:`, or `- ` in front, or quote a text that goes over several lines",
        ),
        UnexpectedEofFlowSequence
        | UnexpectedEofFlowMapping
        | UnexpectedEofImplicitFlowMapping
        | UnclosedFlowCollection { .. }
        | MismatchedFlowCollectionEnd { .. }
        | MisplacedFlowCollectionEnd
        | ExpectedFlowMappingSeparator
        | ExpectedFlowSequenceSeparator => (
            "a bracket, or a comma between two entries, is missing",
            "close every `{` with `}` and every `[` with `]`; quote a text that contains them",
        ),
        UnexpectedCharacter { .. } | PlainScalarStartsWithDashFlowIndicator | ExpectedNodeContent => {
            ("a value cannot start with this character", "quote the value: `\"…\"`")
        }
        MissingAnchorOrAliasName => {
            ("a `*` or `&` stands alone", "quote a text that starts with `*` or `&`: `\"*.apps\"`")
        }
        InvalidTrailingSingleQuotedScalar | InvalidTrailingDoubleQuotedScalar => {
            ("text follows a closed quote", "put the whole value in one pair of quotes")
        }
        UnknownQuotedScalarEscape
        | InvalidQuotedScalarHexEscape
        | InvalidLowSurrogateHexEscape
        | InvalidLowSurrogate
        | MissingLowSurrogate
        | UnpairedLowSurrogate
        | InvalidUnicodeEscape => (
            "a `\\` in double quotes starts an escape, and this one is unknown",
            "write `\\\\` for a backslash, or put the value in single quotes",
        ),
        UndeclaredTagHandle | InvalidTagTerminator | MissingTagUri | InvalidTagEscape | ExpectedTagBang => {
            ("a `!` at the start of a value is a YAML tag, and this one is unknown", "quote the value: `\"!…\"`")
        }
        CommentNotSeparated => ("a `#` starts a comment only after a space", "put a space before the `#`"),
        ZeroBlockScalarIndent | InvalidBlockScalarHeader | InvalidBlockScalarIndent => (
            "the text below `|` or `>` is not indented as it must be",
            "write `|` alone on its line and indent every line of the text by the same number of spaces",
        ),
        _ => ("", "often a missing quote, a wrong indentation or a missing `:` on this line or the one above"),
    }
}
