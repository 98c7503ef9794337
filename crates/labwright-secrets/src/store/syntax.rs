//! A store's text as a tree of nodes that know their place: YAML by events, JSON by hand.
//! Knows nothing of encryption; repairs nothing, and never shows what a value says.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, StructureStyle};
use zeroize::Zeroizing;

use super::json;

/// Larger files are refused: no store that a person keeps comes near it.
pub const MAX_FILE_BYTES: usize = 4 << 20;
/// Deeper nesting is refused before it can exhaust the stack.
pub const MAX_DEPTH: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Yaml,
    Json,
}

impl Format {
    pub fn of(name: &str) -> Option<Format> {
        let ends = |ending: &str| name.to_ascii_lowercase().ends_with(ending);
        match () {
            () if ends(".yaml") || ends(".yml") => Some(Format::Yaml),
            () if ends(".json") => Some(Format::Json),
            () => None,
        }
    }
}

#[derive(Clone)]
pub(crate) struct Node {
    pub span: Range<usize>,
    pub kind: Kind,
}

impl Node {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Map { entries, .. } => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// A scalar's text.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// Whether nothing is in it: null, an empty text, list or map.
    pub fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Scalar(scalar) => scalar.text.is_empty() || scalar.is_null(),
            Kind::List { items, .. } => items.is_empty(),
            Kind::Map { entries, .. } => entries.is_empty(),
        }
    }

    fn weight(&self) -> usize {
        match &self.kind {
            Kind::Scalar(_) => 1,
            Kind::List { items, .. } => items.iter().map(Node::weight).sum::<usize>() + 1,
            Kind::Map { entries, .. } => entries.iter().map(|entry| entry.value.weight()).sum::<usize>() + 1,
        }
    }
}

#[derive(Clone)]
pub(crate) enum Kind {
    Scalar(Scalar),
    List { items: Vec<Node>, flow: bool },
    Map { entries: Vec<Entry>, flow: bool },
}

#[derive(Clone)]
pub(crate) struct Scalar {
    pub text: Zeroizing<String>,
    pub style: Style,
}

impl Scalar {
    pub fn is_null(&self) -> bool {
        self.style == Style::Plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

/// How a scalar is written, as far as it decides what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// No quotes: `8080` is a number.
    Plain,
    /// Quotes, a block, or a tag that says "text".
    Text,
    /// `|` or `>`.
    Block,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub key: String,
    pub key_span: Range<usize>,
    pub value: Node,
}

/// A comment: `span` has the `#`, `text` is what follows it.
pub(crate) struct Comment {
    pub span: Range<usize>,
    pub text: Zeroizing<String>,
}

pub(crate) struct Tree {
    pub root: Node,
    pub comments: Vec<Comment>,
}

/// Why a text cannot be read, and where.
pub(crate) struct Fault {
    pub at: usize,
    pub message: String,
    pub help: String,
}

impl Fault {
    pub fn new(at: usize, message: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault { at, message: message.into(), help: help.into() }
    }

    pub fn twice(at: usize, key: &str) -> Fault {
        Fault::new(at, format!("the key `{key}` is given twice"), "keep one of the two")
    }

    pub fn too_deep(at: usize) -> Fault {
        Fault::new(at, format!("nested deeper than {MAX_DEPTH} levels"), "no store needs this depth")
    }
}

/// Where the lines of a text start.
pub(crate) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl Lines<'_> {
    pub fn new(text: &str) -> Lines<'_> {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Lines { text, starts: std::iter::once(0).chain(newlines).collect() }
    }

    /// The line and column of a place, both from 1; columns count characters.
    pub fn place(&self, at: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= at);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        (line, self.text.get(start..at).map_or(0, |before| before.chars().count()) + 1)
    }
}

/// The line of a place, from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// How many bytes stand on the line before a place.
pub(super) fn column(text: &str, at: usize) -> usize {
    at - text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Where the line of a place ends, before its line break.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |newline| at + newline)
}

pub(crate) fn read(format: Format, text: &str) -> Result<Tree, Fault> {
    if let Some(at) = conflict_marker(text) {
        return Err(Fault::new(
            at,
            "a merge left its conflict markers in the file",
            "take one side with `git checkout --ours FILE` or `git checkout --theirs FILE` and set the other side's \
             secrets again; nothing is lost, both sides are in the history: `git log -p --all -- FILE`",
        ));
    }
    match format {
        Format::Yaml => read_yaml(text, Aliases::Refuse),
        Format::Json => Ok(Tree { root: json::read(text)?, comments: Vec::new() }),
    }
}

/// Reads YAML of which nothing will be rewritten, so that aliases may stand in it.
pub(crate) fn read_with_aliases(text: &str) -> Result<Tree, Fault> {
    read_yaml(text, Aliases::Follow)
}

/// What an alias does. A store has none, because SOPS writes out what they stand for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aliases {
    Refuse,
    Follow,
}

/// How many nodes all aliases together may stand for; an alias bomb passes it at once.
const MAX_ALIAS_NODES: usize = 10_000;

/// The first line that `git` writes where it could not merge.
fn conflict_marker(text: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let marks = |mark: &str| line.strip_prefix(mark).is_some_and(|rest| rest.starts_with([' ', '\r', '\n']));
        if marks("<<<<<<<") || marks(">>>>>>>") || marks("|||||||") || line.trim_end() == "=======" {
            return Some(at);
        }
        at += line.len();
    }
    None
}

/// A collection that is still being read.
struct Open {
    start: usize,
    /// Where the last thing inside ends: the end event of a block collection stands on whatever follows it.
    end: usize,
    flow: bool,
    anchor: usize,
    contents: Contents,
}

enum Contents {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, seen: HashSet<String>, key: Option<(String, Range<usize>)> },
}

fn read_yaml(text: &str, aliases: Aliases) -> Result<Tree, Fault> {
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, Node> = HashMap::new();
    let mut alias_nodes = 0;
    let mut root = None;
    let mut comments = Vec::new();
    let mut documents = 0;
    let mut indented = 0;
    let mut read_to = 0;
    let options = granit_parser::options! {
        emit_unresolved_aliases: true,
        max_buffered_comment_events: usize::MAX,
    };
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| parser_fault(text, read_to, &error))?;
        let span = span.byte_range().unwrap_or(0..0);
        if let Some(at) = tab_before(text, &mut indented, span.start) {
            return Err(tab(at));
        }
        let anchor = match event {
            Event::Scalar(_, _, anchor, _) | Event::SequenceStart(_, anchor, _) | Event::MappingStart(_, anchor, _) => {
                anchor
            }
            _ => 0,
        };
        if anchor != 0 && aliases == Aliases::Refuse {
            let message = "a `&` anchor stands here, and a store has none";
            let help = "write the value out where it is used; a text that starts with `&` is quoted";
            return Err(Fault::new(span.start, message, help));
        }
        let last = read_to;
        read_to = read_to.max(span.end);
        let (node, anchor) = match event {
            Event::DocumentStart(..) => {
                documents += 1;
                if documents > 1 {
                    let message = "a second YAML document starts here, and a store has one";
                    return Err(Fault::new(span.start, message, "put it in a file of its own"));
                }
                continue;
            }
            Event::Comment(comment, _) => {
                let comment = comment.trim_end_matches('\r');
                let span = span.start..span.start + 1 + comment.len();
                comments.push(Comment { span, text: Zeroizing::new(comment.to_string()) });
                continue;
            }
            Event::Alias(id) if aliases == Aliases::Follow => {
                let Some(node) = anchors.get(&id).cloned() else {
                    return Err(Fault::new(
                        span.start,
                        "this alias stands inside what it stands for",
                        "write the value out",
                    ));
                };
                alias_nodes += node.weight();
                if alias_nodes > MAX_ALIAS_NODES {
                    let message = format!("aliases expand to more than {MAX_ALIAS_NODES} values");
                    return Err(Fault::new(span.start, message, "write the repeated part out"));
                }
                (node, 0)
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let message = "a `*` alias stands here, and a store has none";
                let help = "write the value out; a text that starts with `*` is quoted: `\"*.apps\"`";
                return Err(Fault::new(span.start, message, help));
            }
            Event::Scalar(value, style, _, tag) => {
                // Nothing at all is `~` to the parser.
                let missing = span.is_empty() && value == "~";
                let value = if missing { String::new() } else { value.into_owned() };
                let text_tag = tag.is_some_and(|tag| tag.core_suffix() == Some("str"));
                let (style, span) = match style {
                    ScalarStyle::Plain if !text_tag => (Style::Plain, span),
                    ScalarStyle::Literal | ScalarStyle::Folded => (Style::Block, with_header(text, last, span)),
                    _ => (Style::Text, span),
                };
                let span = if missing { absent(text, open.last(), span.start) } else { span };
                (Node { span, kind: Kind::Scalar(Scalar { text: Zeroizing::new(value), style }) }, anchor)
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= MAX_DEPTH => {
                return Err(Fault::too_deep(span.start));
            }
            Event::SequenceStart(style, ..) => {
                let contents = Contents::List(Vec::new());
                open.push(Open {
                    start: span.start,
                    end: span.end,
                    flow: style == StructureStyle::Flow,
                    anchor,
                    contents,
                });
                continue;
            }
            Event::MappingStart(style, ..) => {
                let contents = Contents::Map { entries: Vec::new(), seen: HashSet::new(), key: None };
                open.push(Open {
                    start: span.start,
                    end: span.end,
                    flow: style == StructureStyle::Flow,
                    anchor,
                    contents,
                });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { start, end, flow, anchor, contents }) = open.pop() else { continue };
                let end = if flow { span.end } else { end };
                let kind = match contents {
                    Contents::List(items) => Kind::List { items, flow },
                    Contents::Map { entries, .. } => Kind::Map { entries, flow },
                };
                (Node { span: start..end.max(start), kind }, anchor)
            }
            _ => continue,
        };
        if anchor != 0 {
            anchors.insert(anchor, node.clone());
        }
        match open.last_mut() {
            None => root = Some(node),
            Some(into) => put(into, node)?,
        }
    }
    let empty = || Node { span: text.len()..text.len(), kind: Kind::Map { entries: Vec::new(), flow: false } };
    let root = match root {
        Some(Node { kind: Kind::Scalar(Scalar { text: value, style: Style::Plain }), .. }) if value.is_empty() => {
            empty()
        }
        Some(root) => root,
        None => empty(),
    };
    match root.kind {
        Kind::Map { .. } => Ok(Tree { root, comments }),
        _ => Err(Fault::new(root.span.start, "the file is not a map of names", "write `name: value` lines")),
    }
}

fn put(into: &mut Open, node: Node) -> Result<(), Fault> {
    into.end = into.end.max(node.span.end);
    match &mut into.contents {
        Contents::List(items) => items.push(node),
        Contents::Map { entries, seen, key } => match key.take() {
            Some((name, key_span)) => {
                if !seen.insert(name.clone()) {
                    return Err(Fault::twice(key_span.start, &name));
                }
                entries.push(Entry { key: name, key_span, value: node });
            }
            None => match node.kind {
                Kind::Scalar(scalar) if scalar.style == Style::Plain && *scalar.text == "<<" => {
                    let message = "a `<<` merge stands here, and a store has none";
                    return Err(Fault::new(node.span.start, message, "write the values out"));
                }
                Kind::Scalar(scalar) => *key = Some((scalar.text.to_string(), node.span)),
                _ => return Err(Fault::new(node.span.start, "a key must be text", "write `name: value`")),
            },
        },
    }
    Ok(())
}

/// Where a value would stand that is not there: behind its `:` or `-`, not where the parser noticed.
fn absent(text: &str, open: Option<&Open>, at: usize) -> Range<usize> {
    let after_key = match open.map(|open| &open.contents) {
        Some(Contents::Map { key: Some((_, key)), .. }) => {
            text[key.end..line_end(text, key.end)].find(':').map(|colon| key.end + colon + 1)
        }
        Some(Contents::List(_)) => text[..at].rfind('-').map(|dash| dash + 1),
        _ => None,
    };
    let at = after_key.unwrap_or(at);
    at..at
}

/// A block scalar from its `|` or `>`, without the line breaks that follow it. `from` is where the last thing ended.
fn with_header(text: &str, from: usize, span: Range<usize>) -> Range<usize> {
    let header = text.get(from..span.start).and_then(|between| between.find(['|', '>']));
    let start = header.map_or(span.start, |header| from + header);
    let kept = text.get(start..span.end).map_or(0, |block| block.trim_end().len());
    start..start + kept
}

/// The first tab in the indentation of a line on which something starts.
fn tab_before(text: &str, indented: &mut usize, start: usize) -> Option<usize> {
    let passed = text.get(*indented..start)?;
    *indented = start;
    let line = passed.rfind('\n')? + 1;
    let line = &passed[line..];
    let blank = &line[..line.len() - line.trim_start().len()];
    Some(start - line.len() + blank.find('\t')?)
}

fn tab(at: usize) -> Fault {
    Fault::new(at, "a tab stands in the indentation", "YAML is indented with spaces: replace the tab")
}

fn parser_fault(text: &str, read_to: usize, error: &granit_parser::ScanError) -> Fault {
    use granit_parser::ErrorKind::*;
    let mut at = error.marker().byte_offset().unwrap_or(0).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let blank = text[line..].len() - text[line..].trim_start_matches([' ', '\t']).len();
    match error.kind() {
        TabNotAllowed | TabInBlockIndentation | TabInIndentation | TabAtBlockScalarStart | TabInPlainScalar => {
            return tab(text[line..line + blank].find('\t').map_or(at, |tab| line + tab));
        }
        RecursionLimitExceeded => return Fault::too_deep(at),
        // The parser stands where the file ends; the user has to look where the quote opens.
        UnclosedQuotedScalar | InvalidQuotedScalarIndent | DocumentIndicatorInQuotedScalar => {
            let quote = text.get(read_to..at).and_then(|passed| passed.find(['"', '\'']));
            let at = quote.map_or(at, |quote| read_to + quote);
            return Fault::new(at, "the quote that opens here is not closed", "close it at the end of the value");
        }
        _ => {}
    }
    // The parser's words may hold the text that it stumbled over, and that may be a secret.
    let (message, help) = match error.kind() {
        MappingValueNotAllowed | InvalidColonPlacement => (
            "a `:` stands where no key can be",
            "quote a value that contains `: `, or align the line with its neighbours",
        ),
        UnexpectedEofFlowSequence | UnexpectedEofFlowMapping | UnexpectedEofImplicitFlowMapping => {
            ("a bracket is not closed", "close every `{` with `}` and every `[` with `]`")
        }
        _ => (
            "this is not YAML",
            "often a missing quote, a wrong indentation or a missing `:` here or on the line above",
        ),
    };
    Fault::new(at, message, help)
}
