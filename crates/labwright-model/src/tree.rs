//! YAML text as a tree of nodes that know their place.
//! Knows nothing of labs: keys are text, values are scalars, lists and maps.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle};

use crate::codes;
use crate::finding::{Finding, Findings};
use crate::span::Span;

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
    List(Vec<Rc<Node>>),
    Map(Vec<(Key, Rc<Node>)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub text: String,
    pub span: Span,
}

/// `# labwright: allow CODE because REASON`, standing at the end of a line or alone above one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    pub code: String,
    pub reason: String,
    pub span: Span,
    /// The line (from 1) whose finding it accepts.
    pub line: usize,
}

impl Node {
    pub fn get(&self, key: &str) -> Option<&Rc<Node>> {
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

enum Frame {
    List {
        items: Vec<Rc<Node>>,
        start: Span,
        anchor: usize,
    },
    Map {
        entries: Vec<(Key, Rc<Node>)>,
        /// Hashes of the keys so far, so that a map of ten thousand entries is not searched for each.
        seen: HashSet<u64>,
        key: Option<Key>,
        merges: Vec<Rc<Node>>,
        start: Span,
        anchor: usize,
    },
}

struct Builder<'a> {
    file: u32,
    text: &'a str,
    findings: &'a mut Findings,
    frames: Vec<Frame>,
    /// Anchored nodes, with the number of nodes each stands for.
    anchors: HashMap<usize, (Rc<Node>, usize)>,
    alias_nodes: usize,
    root: Option<Rc<Node>>,
}

/// Reads one file's text. `None` where there is nothing to go on with; the findings say why.
pub fn read(file: u32, text: &str, findings: &mut Findings, allows: &mut Vec<Allow>) -> Option<Rc<Node>> {
    let mut builder =
        Builder { file, text, findings, frames: Vec::new(), anchors: HashMap::new(), alias_nodes: 0, root: None };
    let mut documents = 0;
    for next in Parser::new_from_str(text) {
        let (event, span) = match next {
            Ok(next) => next,
            Err(error) => {
                builder.syntax_error(&error);
                return None;
            }
        };
        let span = builder.span(span);
        if let Event::DocumentStart(..) = event {
            documents += 1;
            if documents > 1 {
                let finding = Finding::error(
                    codes::SYNTAX,
                    "",
                    span,
                    "a lab file holds one YAML document, and a second one starts here",
                );
                builder.findings.push(
                    finding.help("remove the `---`, or put the second document in a file of its own and `include` it"),
                );
                return builder.root;
            }
        }
        if let Event::Comment(comment, _) = &event {
            allow(comment, span, text, builder.findings, allows);
            continue;
        }
        builder.event(event, span)?;
    }
    builder.root
}

impl Builder<'_> {
    fn span(&self, span: granit_parser::Span) -> Span {
        let range = span.byte_range().unwrap_or(0..0);
        Span { file: self.file, start: range.start as u32, end: range.end as u32 }
    }

    fn syntax_error(&mut self, error: &granit_parser::ScanError) {
        let offset = error.marker().byte_offset().unwrap_or(0).min(self.text.len()) as u32;
        let line_end = self.text[offset as usize..].find('\n').map_or(self.text.len(), |i| offset as usize + i) as u32;
        let span = Span { file: self.file, start: offset, end: line_end.max(offset) };
        let line_start = self.text[..offset as usize].rfind('\n').map_or(0, |i| i + 1);
        let line = &self.text[line_start..line_end as usize];
        let finding = Finding::error(codes::SYNTAX, "", span, format!("not valid YAML: {}", error.info()));
        let help = if line.trim_start_matches(' ').starts_with('\t') || line.contains('\t') {
            "YAML is indented with spaces; a tab stands here"
        } else {
            "often a missing quote, a wrong indentation or a missing `:` on this line or the one above"
        };
        self.findings.push(finding.help(help));
    }

    /// `None` stops reading: the file asks for more than a lab may.
    fn event(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let kind = if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Kind::Null
                } else {
                    Kind::Scalar { text: text.into_owned(), plain }
                };
                self.put(Node { kind, span }, anchor)
            }
            Event::Alias(id) => {
                let (node, size) = self.anchors.get(&id).cloned()?;
                self.alias_nodes = self.alias_nodes.saturating_add(size);
                if self.alias_nodes > MAX_ALIAS_NODES {
                    let finding = Finding::error(
                        codes::TOO_LARGE,
                        "",
                        span,
                        format!("aliases expand to more than {MAX_ALIAS_NODES} values"),
                    );
                    self.findings.push(finding.help("write the repeated part out, or split it with `include`"));
                    return None;
                }
                self.put_shared(node, 0, size)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.push(Frame::List { items: Vec::new(), start: span, anchor }, span)
            }
            Event::MappingStart(_, anchor, _) => {
                let (entries, seen, merges) = (Vec::new(), HashSet::new(), Vec::new());
                self.push(Frame::Map { entries, seen, key: None, merges, start: span, anchor }, span)
            }
            Event::SequenceEnd => {
                let Some(Frame::List { items, start, anchor }) = self.frames.pop() else { return None };
                self.put(Node { kind: Kind::List(items), span: close(start, span) }, anchor)
            }
            Event::MappingEnd => {
                let Some(Frame::Map { mut entries, merges, start, anchor, .. }) = self.frames.pop() else {
                    return None;
                };
                for merge in merges {
                    self.merge(&mut entries, &merge);
                }
                self.put(Node { kind: Kind::Map(entries), span: close(start, span) }, anchor)
            }
            _ => Some(()),
        }
    }

    fn push(&mut self, frame: Frame, span: Span) -> Option<()> {
        if self.frames.len() >= MAX_DEPTH {
            let finding = Finding::error(codes::TOO_LARGE, "", span, format!("nested deeper than {MAX_DEPTH} levels"));
            self.findings.push(finding.help("no key of a lab file needs this depth; a bracket may be missing"));
            return None;
        }
        self.frames.push(frame);
        Some(())
    }

    fn put(&mut self, node: Node, anchor: usize) -> Option<()> {
        let size = if anchor == 0 { 0 } else { size(&node) };
        self.put_shared(Rc::new(node), anchor, size)
    }

    fn put_shared(&mut self, node: Rc<Node>, anchor: usize, size: usize) -> Option<()> {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.frames.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map { entries, seen, key, merges, .. }) => match key.take() {
                None => {
                    let Kind::Scalar { text, .. } = &node.kind else {
                        let finding = Finding::error(
                            codes::SYNTAX,
                            "",
                            node.span,
                            format!("a key must be a string, found {}", node.kind_name()),
                        );
                        self.findings.push(finding.help("quote it, or check for a `{` that should be a `\"${`"));
                        *key = Some(Key { text: String::new(), span: node.span });
                        return Some(());
                    };
                    *key = Some(Key { text: text.clone(), span: node.span });
                }
                Some(name) if name.text == "<<" => merges.push(node),
                Some(name) => match repeated(seen, entries, &name.text) {
                    Some(first) => {
                        let message = format!("`{}` is given twice in one map", name.text);
                        let finding = Finding::error(codes::DUPLICATE_KEY, name.text.clone(), name.span, message)
                            .help("keep one of the two; the first one counts until then")
                            .related(first, "first given here");
                        self.findings.push(finding);
                    }
                    None => entries.push((name, node)),
                },
            },
        }
        Some(())
    }

    /// Merge keys: what the map says itself wins over what it merges in.
    fn merge(&mut self, entries: &mut Vec<(Key, Rc<Node>)>, merge: &Rc<Node>) {
        match &merge.kind {
            Kind::Map(more) => {
                for (key, node) in more {
                    if !entries.iter().any(|(k, _)| k.text == key.text) {
                        entries.push((key.clone(), node.clone()));
                    }
                }
            }
            Kind::List(maps) => maps.iter().for_each(|map| self.merge(entries, map)),
            _ => {
                let finding = Finding::error(
                    codes::SYNTAX,
                    "",
                    merge.span,
                    format!("`<<` merges maps, found {}", merge.kind_name()),
                );
                self.findings.push(finding.help("give it an alias of a map: `<<: *defaults`"));
            }
        }
    }
}

/// The place of an earlier key of the same name.
fn repeated(seen: &mut HashSet<u64>, entries: &[(Key, Rc<Node>)], name: &str) -> Option<Span> {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    if seen.insert(hasher.finish()) {
        return None;
    }
    entries.iter().find(|(key, _)| key.text == name).map(|(key, _)| key.span)
}

/// A block collection's end event stands on the next token; the span ends with its start line's own text instead when empty.
fn close(start: Span, end: Span) -> Span {
    Span { end: end.end.max(start.end), ..start }
}

fn size(node: &Node) -> usize {
    match &node.kind {
        Kind::Null | Kind::Scalar { .. } => 1,
        Kind::List(items) => items.iter().fold(1, |n, item| n.saturating_add(size(item))),
        Kind::Map(entries) => entries.iter().fold(1, |n, (_, node)| n.saturating_add(size(node))),
    }
}

fn allow(comment: &str, span: Span, text: &str, findings: &mut Findings, allows: &mut Vec<Allow>) {
    let Some(rest) = comment.trim().strip_prefix("labwright:") else { return };
    let rest = rest.trim();
    let parsed = rest.strip_prefix("allow ").and_then(|rest| {
        let (code, reason) = rest.trim().split_once(char::is_whitespace)?;
        let reason = reason.trim().strip_prefix("because")?.trim();
        (!reason.is_empty()).then_some((code, reason))
    });
    let Some((code, reason)) = parsed else {
        let finding =
            Finding::error(codes::BAD_ALLOW, "", span, format!("cannot read the comment `# labwright: {rest}`"));
        findings
            .push(finding.help(
                "write `# labwright: allow LW-NET-003 because REASON`, at the end of the line or alone above it",
            ));
        return;
    };
    let start = span.start as usize;
    let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
    let own_line = text[..start].bytes().filter(|b| *b == b'\n').count() + 1;
    let alone = text[line_start..start].trim().is_empty();
    // A comment alone on its line speaks of the next line that is neither blank nor a comment.
    let line = if alone {
        let after = text
            .lines()
            .enumerate()
            .skip(own_line)
            .find(|(_, l)| !l.trim().is_empty() && !l.trim_start().starts_with('#'));
        after.map_or(own_line, |(i, _)| i + 1)
    } else {
        own_line
    };
    allows.push(Allow { code: code.to_string(), reason: reason.to_string(), span, line });
}
