//! YAML text as a tree of nodes that know their place.
//! Knows nothing of labs: keys are text, values are scalars, lists and maps.

use std::borrow::Cow;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt, HashSet};
use granit_parser::{Event, Parser, ScalarStyle, StructureStyle, Tag};

use crate::allow::{Allow, Comments};
use crate::codes;
use crate::finding::{Finding, Findings};
use crate::span::Span;
use crate::syntax;

/// Larger files are refused: no lab that a person wrote comes near it.
pub const MAX_FILE_BYTES: usize = 4 << 20;
/// Deeper nesting is refused before it can exhaust the stack.
pub const MAX_DEPTH: usize = 64;
/// How many nodes all aliases together may stand for; an alias bomb passes it at once.
pub const MAX_ALIAS_NODES: usize = 100_000;

#[derive(Clone, Debug)]
pub struct Node {
    pub kind: Kind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Null,
    /// `plain` tells `8080` from `"8080"`.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Arc<Node>>),
    Map(Vec<(Key, Arc<Node>)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub text: String,
    pub span: Span,
}

impl Node {
    pub fn get(&self, key: &str) -> Option<&Arc<Node>> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// What a person would call this kind of value.
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Scalar { plain: true, text } if text.parse::<f64>().is_ok() => "a number",
            Kind::Scalar { plain: true, text } if text == "true" || text == "false" => "a boolean",
            Kind::Scalar { .. } => "a string",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }
}

/// What reading one file gave.
pub struct Tree {
    /// `None` for a file without a document, and for one that could not be read.
    pub root: Option<Arc<Node>>,
    /// Whether all of the file was read. The findings say why not.
    pub whole: bool,
}

/// What a tag of a Compose file says about the value that an earlier file gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// `!reset`: it is taken away, and this one counts for nothing.
    Reset,
    /// `!override`: it is replaced by this one, and nothing is merged.
    Override,
}

/// The marked values by the file and the place that they start at.
pub type Marks = HashMap<(u32, u32), Mark>;

/// A collection that is still being read.
struct Open {
    contents: Contents,
    start: Span,
    /// Where the last thing inside ends: the end event of a block collection stands on whatever follows it.
    end: u32,
    flow: bool,
    anchor: usize,
}

enum Contents {
    List(Vec<Arc<Node>>),
    Map {
        entries: Vec<(Key, Arc<Node>)>,
        /// The keys so far of a map that is not short, so that one of ten thousand entries is not searched for each.
        seen: HashMap<String, Span>,
        key: Slot,
        merges: Vec<Arc<Node>>,
        /// How many entries have a key that is no text.
        dropped: usize,
    },
}

/// What the next value of a map is for.
enum Slot {
    /// It is a key itself.
    None,
    Key(Key),
    /// `<<`
    Merge,
    /// Its key could not be read, so the value is dropped with it.
    Dropped,
}

/// How much an anchored node stands for, so that an alias can be weighed before it is followed.
#[derive(Clone, Copy)]
struct Weight {
    nodes: usize,
    depth: usize,
}

struct Builder<'a> {
    file: u32,
    text: &'a str,
    findings: &'a mut Findings,
    open: Vec<Open>,
    anchors: HashMap<usize, (Arc<Node>, Weight)>,
    alias_nodes: usize,
    /// Up to where indentation was looked at for tabs, which the parser lets pass inside brackets.
    indented: usize,
    root: Option<Arc<Node>>,
    /// Where tags of Compose are noted; in a lab file they mean nothing.
    marks: Option<&'a mut Marks>,
}

/// Reads one lab file's text.
pub fn read(file: u32, text: &str, findings: &mut Findings, allows: &mut Vec<Allow>) -> Tree {
    read_as(file, text, findings, allows, None)
}

/// Reads one Compose file's text, in which the tags `!reset` and `!override` have a meaning.
pub fn read_compose(
    file: u32,
    text: &str,
    findings: &mut Findings,
    allows: &mut Vec<Allow>,
    marks: &mut Marks,
) -> Tree {
    read_as(file, text, findings, allows, Some(marks))
}

fn read_as(file: u32, text: &str, findings: &mut Findings, allows: &mut Vec<Allow>, marks: Option<&mut Marks>) -> Tree {
    let mut builder = Builder {
        file,
        text,
        findings,
        open: Vec::new(),
        anchors: HashMap::new(),
        alias_nodes: 0,
        indented: 0,
        root: None,
        marks,
    };
    let mut comments = Comments::new(text);
    let mut documents = 0;
    let mut read_to = 0;
    let options = granit_parser::options! {
        emit_unresolved_aliases: true,
        max_buffered_comment_events: usize::MAX,
    };
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = match next {
            Ok(next) => next,
            Err(error) => {
                let finding = syntax::finding(file, text, read_to, &error);
                builder.findings.push(finding);
                return Tree { root: None, whole: false };
            }
        };
        let span = builder.span(span);
        if let Event::DocumentStart(..) = event {
            documents += 1;
            if documents > 1 {
                let message = "a lab file holds one YAML document, and a second one starts here";
                builder.findings.push(
                    Finding::error(codes::SYNTAX, "", span, message)
                        .help("remove the `---`, or put the second document in a file of its own and `include` it"),
                );
                return Tree { root: builder.root, whole: false };
            }
        }
        if let Event::Comment(comment, _) = &event {
            comments.comment(comment, span, builder.findings, allows);
            continue;
        }
        read_to = read_to.max(span.end as usize);
        if builder.event(event, span).is_none() {
            return Tree { root: None, whole: false };
        }
    }
    Tree { root: builder.root, whole: true }
}

impl Builder<'_> {
    fn span(&self, span: granit_parser::Span) -> Span {
        let range = span.byte_range().unwrap_or(0..0);
        Span { file: self.file, start: range.start as u32, end: range.end as u32 }
    }

    fn error(&mut self, code: &'static str, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.findings.push(Finding::error(code, "", span, message).help(help));
    }

    /// `None` stops reading: the file asks for more than a lab may.
    fn event(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        self.indentation(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let text_tag = self.tag(tag, span);
                let plain = style == ScalarStyle::Plain && !text_tag;
                // The parser hands over `~` for a value that is not there.
                let text = if span.start == span.end && text == "~" { Cow::Borrowed("") } else { text };
                let kind = if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Kind::Null
                } else {
                    Kind::Scalar { text: text.into_owned(), plain }
                };
                let span = match style {
                    ScalarStyle::Literal | ScalarStyle::Folded => self.trimmed(span),
                    _ => span,
                };
                self.put(Node { kind, span }, span, anchor)
            }
            Event::Alias(id) => {
                let Some((node, weight)) = self.anchors.get(&id).cloned() else {
                    let message = format!("`{}` stands inside what it stands for", self.source(span));
                    self.error(codes::SYNTAX, span, message, "write the value out here");
                    return self.put_text(span);
                };
                self.alias_nodes = self.alias_nodes.saturating_add(weight.nodes);
                if self.alias_nodes > MAX_ALIAS_NODES {
                    let message = format!("aliases expand to more than {MAX_ALIAS_NODES} values");
                    self.error(
                        codes::TOO_LARGE,
                        span,
                        message,
                        "write the repeated part out, or split it with `include`",
                    );
                    return None;
                }
                if self.open.len() + weight.depth > MAX_DEPTH {
                    return self.too_deep(span);
                }
                self.put_shared(node, span, 0, weight)
            }
            Event::UnresolvedAlias(name) => {
                let message = format!("`*{name}` refers to an anchor that is not in this file");
                let help = format!(
                    "a text that starts with `*` is quoted: `\"*{name}\"`; an anchor is set with `&{name}` before its first use"
                );
                self.error(codes::SYNTAX, span, message, help);
                self.put_text(span)
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.tag(tag, span);
                self.push(Contents::List(Vec::new()), style, anchor, span)
            }
            Event::MappingStart(style, anchor, tag) => {
                self.tag(tag, span);
                let (entries, seen, merges) = (Vec::new(), HashMap::new(), Vec::new());
                let contents = Contents::Map { entries, seen, key: Slot::None, merges, dropped: 0 };
                self.push(contents, style, anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Open { contents, start, end, flow, anchor } = self.open.pop()?;
                let end = if flow { span.end } else { end };
                let span = Span { end: end.max(start.end), ..start };
                let kind = match contents {
                    Contents::List(items) => Kind::List(items),
                    // `{{ x }}` was meant as a text, and that was reported.
                    Contents::Map { entries, dropped: 1.., .. } if flow && entries.is_empty() => {
                        return self.put_text(span);
                    }
                    Contents::Map { mut entries, merges, .. } => {
                        self.merge_all(&mut entries, &merges);
                        Kind::Map(entries)
                    }
                };
                self.put(Node { kind, span }, span, anchor)
            }
            _ => Some(()),
        }
    }

    /// The user's own text at a place.
    fn source(&self, span: Span) -> &str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// A block scalar without the blank lines that follow it.
    fn trimmed(&self, span: Span) -> Span {
        let kept = self.source(span).trim_end().len() as u32;
        Span { end: span.start + kept, ..span }
    }

    /// Reports a tab in the indentation of a line on which something starts.
    fn indentation(&mut self, span: Span) {
        let start = span.start as usize;
        let Some(passed) = self.text.get(self.indented..start) else { return };
        self.indented = start;
        let Some(newline) = passed.rfind('\n') else { return };
        let line = &passed[newline + 1..];
        let blank = &line[..line.len() - line.trim_start().len()];
        if let Some(tab) = blank.find('\t') {
            let tab = (start - line.len() + tab) as u32;
            let place = Span { file: self.file, start: tab, end: tab + 1 };
            let finding = syntax::tab(place);
            self.findings.push(finding);
        }
    }

    /// Whether a tag says "this is text". Tags of the user's own mean nothing in a lab file.
    fn tag(&mut self, tag: Option<Cow<'_, Tag>>, span: Span) -> bool {
        let Some(tag) = tag else { return false };
        match tag.core_suffix() {
            Some(core) => core == "str",
            None => {
                let word = format!("{}{}", tag.original_handle(), tag.suffix());
                let mark = match word.as_str() {
                    "!reset" => Some(Mark::Reset),
                    "!override" => Some(Mark::Override),
                    _ => None,
                };
                if let (Some(marks), Some(mark)) = (self.marks.as_mut(), mark) {
                    marks.insert((span.file, span.start), mark);
                    return false;
                }
                let before = self.text.get(..span.start as usize).unwrap_or_default();
                let place = before.rfind(&word).map_or(span, |at| {
                    let (start, end) = (at as u32, (at + word.len()) as u32);
                    Span { file: self.file, start, end }
                });
                let help = match tag.suffix() {
                    "include" => "list further lab files under `include:` at the top of the file",
                    "secret" | "vault" => "write `${secret.NAME}`",
                    _ => "remove the tag, or quote the value if it starts with `!`",
                };
                self.error(codes::WRONG_VALUE, place, format!("the tag `{word}` means nothing in a lab file"), help);
                false
            }
        }
    }

    fn too_deep(&mut self, span: Span) -> Option<()> {
        self.findings.push(syntax::too_deep(span));
        None
    }

    fn push(&mut self, contents: Contents, style: StructureStyle, anchor: usize, span: Span) -> Option<()> {
        if self.open.len() >= MAX_DEPTH {
            return self.too_deep(span);
        }
        let flow = style == StructureStyle::Flow;
        self.open.push(Open { contents, start: span, end: span.end, flow, anchor });
        Some(())
    }

    fn put(&mut self, node: Node, at: Span, anchor: usize) -> Option<()> {
        // A key is nothing but its text, unless an anchor makes more of it.
        if let (0, Kind::Scalar { text, plain }) = (anchor, &node.kind)
            && !(*plain && text == "<<")
            && let Some(open) = self.open.last_mut()
            && let Contents::Map { key: key @ Slot::None, .. } = &mut open.contents
            && let Kind::Scalar { text, .. } = node.kind
        {
            open.end = open.end.max(at.end);
            *key = Slot::Key(Key { text, span: at });
            return Some(());
        }
        let weight = if anchor == 0 { Weight { nodes: 0, depth: 0 } } else { weigh(&node) };
        self.put_shared(Arc::new(node), at, anchor, weight)
    }

    /// Puts what stands in the file as a text, so that one fault does not look like two.
    fn put_text(&mut self, span: Span) -> Option<()> {
        let text = self.source(span).to_string();
        self.put(Node { kind: Kind::Scalar { text, plain: false }, span }, span, 0)
    }

    /// Puts a node where the file has it or an alias of it: `at` is that place.
    fn put_shared(&mut self, node: Arc<Node>, at: Span, anchor: usize, weight: Weight) -> Option<()> {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Some(());
        };
        open.end = open.end.max(at.end);
        match &mut open.contents {
            Contents::List(items) => items.push(node),
            Contents::Map { entries, seen, key, merges, dropped } => match std::mem::replace(key, Slot::None) {
                Slot::None => match &node.kind {
                    Kind::Scalar { text, plain: true } if text == "<<" => *key = Slot::Merge,
                    Kind::Scalar { text, .. } => *key = Slot::Key(Key { text: text.clone(), span: at }),
                    _ => {
                        *key = Slot::Dropped;
                        *dropped += 1;
                        let message = format!("a key must be a string, found {}", node.kind_name());
                        let help = match node.kind {
                            Kind::Null => "write the key before the `:`",
                            _ => {
                                "quote it; a value that starts with `{` or `[` and is text is quoted too: `\"{{ x }}\"`"
                            }
                        };
                        self.error(codes::SYNTAX, at, message, help);
                    }
                },
                Slot::Merge => merges.push(node),
                Slot::Dropped => {}
                Slot::Key(name) => match first(entries, seen, &name) {
                    Some(first) => self.twice(&name, first),
                    None => entries.push((name, node)),
                },
            },
        }
        Some(())
    }

    fn twice(&mut self, name: &Key, first: Span) {
        let outer = self.open.iter().filter_map(|open| match &open.contents {
            Contents::Map { key: Slot::Key(key), .. } => Some(key.text.as_str()),
            _ => None,
        });
        let at = outer.chain([name.text.as_str()]).collect::<Vec<_>>().join(".");
        let message = format!("`{}` is given twice in one map", name.text);
        let finding = Finding::error(codes::DUPLICATE_KEY, at, name.span, message)
            .help("keep one of the two; the first one counts until then")
            .related(first, "first given here");
        self.findings.push(finding);
    }

    /// Merge keys: what the map says itself wins over what it merges in, and an earlier merge over a later one.
    fn merge_all(&mut self, entries: &mut Vec<(Key, Arc<Node>)>, merges: &[Arc<Node>]) {
        if merges.is_empty() {
            return;
        }
        let mut known: HashSet<String> = entries.iter().map(|(key, _)| key.text.clone()).collect();
        let mut flat: Vec<&Arc<Node>> = Vec::new();
        for merge in merges {
            match &merge.kind {
                Kind::List(maps) => flat.extend(maps),
                _ => flat.push(merge),
            }
        }
        for merge in flat {
            if let Kind::Map(more) = &merge.kind {
                let new = more.iter().filter(|(key, _)| known.insert(key.text.clone()));
                entries.extend(new.cloned());
            } else if !merge.is_null() {
                let message = format!("`<<` merges maps, found {}", merge.kind_name());
                self.error(codes::SYNTAX, merge.span, message, "give it an alias of a map: `<<: *defaults`");
            }
        }
    }
}

/// A map of fewer entries is searched from its front: a table of them costs more than it saves.
const SHORT_MAP: usize = 16;

/// Where a key stands first in a map; where it does not stand there yet, it is noted among those seen.
fn first(entries: &[(Key, Arc<Node>)], seen: &mut HashMap<String, Span>, name: &Key) -> Option<Span> {
    if entries.len() < SHORT_MAP {
        return entries.iter().find(|(key, _)| key.text == name.text).map(|(key, _)| key.span);
    }
    if seen.is_empty() {
        seen.extend(entries.iter().map(|(key, _)| (key.text.clone(), key.span)));
    }
    let first = seen.get(&name.text).copied();
    if first.is_none() {
        seen.insert(name.text.clone(), name.span);
    }
    first
}

fn weigh(node: &Node) -> Weight {
    let around = |parts: &mut dyn Iterator<Item = &Arc<Node>>| {
        parts.map(|part| weigh(part)).fold(Weight { nodes: 1, depth: 1 }, |sum, part| Weight {
            nodes: sum.nodes.saturating_add(part.nodes),
            depth: sum.depth.max(part.depth + 1),
        })
    };
    match &node.kind {
        Kind::Null | Kind::Scalar { .. } => Weight { nodes: 1, depth: 0 },
        Kind::List(items) => around(&mut items.iter()),
        Kind::Map(entries) => around(&mut entries.iter().map(|(_, part)| part)),
    }
}
