//! Changes of a store's text that leave every other byte as it is: replace, insert, remove.
//! Knows the layout only; what is written where is decided by the caller.

use std::ops::Range;

use super::leaf::{Leaf, Parent};
use super::meta;
use super::syntax::{Entry, Format, Kind, Node, column, line_end};
use super::value;

/// New text in the place of old text.
pub(super) struct Splice {
    pub span: Range<usize>,
    pub text: String,
}

impl Splice {
    pub fn new(span: Range<usize>, text: impl Into<String>) -> Splice {
        Splice { span, text: text.into() }
    }
}

/// Makes all changes at once; they must not overlap.
pub(super) fn apply(text: &str, mut splices: Vec<Splice>) -> String {
    splices.sort_by_key(|splice| splice.span.start);
    let grown: usize = splices.iter().map(|splice| splice.text.len()).sum();
    let mut out = String::with_capacity(text.len() + grown);
    let mut at = 0;
    for Splice { span, text: new } in &splices {
        out.push_str(text.get(at..span.start).unwrap_or_default());
        out.push_str(new);
        at = at.max(span.end);
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// Puts new text in the place of a value.
pub(super) fn replace(text: &str, leaf: &Leaf<'_>, new: &str) -> Splice {
    let before = text[..leaf.span.start].chars().next_back();
    // Behind `name:` a value that was not there needs its space.
    let space = leaf.span.is_empty() && !before.is_none_or(|c| c.is_whitespace() || "[{,".contains(c));
    Splice::new(leaf.span.clone(), if space { format!(" {new}") } else { new.to_string() })
}

/// What is put into a map or behind a list.
pub(super) struct New<'a> {
    /// The keys still to be made, outermost first; empty for an item of a list.
    pub keys: &'a [&'a str],
    /// The value as it stands in a block, and as it stands in brackets.
    pub block: &'a str,
    pub flow: &'a str,
}

impl New<'_> {
    fn in_flow(&self) -> String {
        let mut out = String::new();
        for (depth, key) in self.keys.iter().enumerate() {
            out += &format!("{}{}: ", if depth == 0 { "" } else { "{" }, value::write_key(Format::Json, key));
        }
        out + self.flow + &"}".repeat(self.keys.len().saturating_sub(1))
    }

    fn in_block(&self, indent: usize, step: usize) -> String {
        let mut out = String::new();
        for (depth, key) in self.keys.iter().enumerate() {
            let pad = " ".repeat(indent + depth * step);
            let key = value::write_key(Format::Yaml, key);
            out += &if depth == 0 { format!("{pad}{key}:") } else { format!("\n{pad}{key}:") };
        }
        out + " " + self.block
    }
}

/// By how much the file indents: as its `sops:` block does.
fn step(text: &str, root: &Node) -> usize {
    let first = match root.get(meta::KEY).map(|block| &block.kind) {
        Some(Kind::Map { entries, flow: false }) => entries.first(),
        _ => None,
    };
    first.map(|entry| column(text, entry.key_span.start)).filter(|step| (1..=8).contains(step)).unwrap_or(4)
}

/// Inserts into a map or list; `parent` is the place of the map itself. `None` where the layout gives no place.
pub(super) fn insert(
    format: Format,
    text: &str,
    root: &Node,
    into: &Node,
    parent: Parent,
    new: &New<'_>,
) -> Option<Splice> {
    let step = step(text, root);
    match &into.kind {
        Kind::Map { entries, flow } => {
            let own: Vec<&Entry> = entries.iter().filter(|entry| !is_block(root, entry)).collect();
            match (own.last(), entries.first()) {
                (Some(last), _) if *flow => {
                    let gap = gap_before(text, last.key_span.start);
                    Some(Splice::new(last.value.span.end..last.value.span.end, format!(",{gap}{}", new.in_flow())))
                }
                (Some(last), _) => {
                    let at = line_end(text, end_of(last));
                    let indent = column(text, last.key_span.start);
                    Some(Splice::new(at..at, format!("\n{}", new.in_block(indent, step))))
                }
                // Only the `sops` block is there: before it.
                (None, Some(block)) if *flow => {
                    let gap = gap_before(text, block.key_span.start);
                    let at = block.key_span.start;
                    Some(Splice::new(at..at, format!("{},{gap}", new.in_flow())))
                }
                (None, Some(block)) => {
                    let at = block.key_span.start;
                    Some(Splice::new(at..at, format!("{}\n", new.in_block(0, step))))
                }
                (None, None) => into_empty(format, text, into, parent, new, step),
            }
        }
        Kind::List { items, flow } => {
            let last = items.last();
            match last {
                Some(last) if *flow => {
                    let gap = gap_before(text, last.span.start);
                    Some(Splice::new(last.span.end..last.span.end, format!(",{gap}{}", new.in_flow())))
                }
                Some(last) => {
                    let dash = dash(text, last)?;
                    let at = line_end(text, last.span.end);
                    let pad = " ".repeat(column(text, dash));
                    Some(Splice::new(at..at, format!("\n{pad}- {}", new.block)))
                }
                None if *flow => Some(Splice::new(into.span.start + 1..into.span.start + 1, new.in_flow())),
                None => None,
            }
        }
        Kind::Scalar(scalar) if scalar.is_null() => into_empty(format, text, into, parent, new, step),
        Kind::Scalar(_) => None,
    }
}

/// The first entry of a map that is `{}` or nothing.
fn into_empty(format: Format, text: &str, into: &Node, parent: Parent, new: &New<'_>, step: usize) -> Option<Splice> {
    match parent {
        Parent::Map { key, flow: false } if format == Format::Yaml => {
            let indent = column(text, key) + step;
            let blank = text[..into.span.start].len() - text[..into.span.start].trim_end_matches(' ').len();
            Some(Splice::new(into.span.start - blank..into.span.end, format!("\n{}", new.in_block(indent, step))))
        }
        _ => Some(Splice::new(into.span.clone(), format!("{{{}}}", new.in_flow()))),
    }
}

/// Takes an entry out of a map.
pub(super) fn remove_entry(text: &str, root: &Node, map: &Node, at: usize) -> Option<Splice> {
    let Kind::Map { entries, flow } = &map.kind else { return None };
    let entry = entries.get(at).filter(|entry| !is_block(root, entry))?;
    let spans = |entry: &Entry| entry.key_span.start..end_of(entry);
    let next = entries.get(at + 1).map(|next| next.key_span.start);
    let before = at.checked_sub(1).and_then(|before| entries.get(before)).map(end_of);
    Some(remove(text, spans(entry), before, next, *flow, "{}"))
}

/// Takes an item out of a list.
pub(super) fn remove_item(text: &str, list: &Node, at: usize) -> Option<Splice> {
    let Kind::List { items, flow } = &list.kind else { return None };
    let item = items.get(at)?;
    let start = |item: &Node| if *flow { Some(item.span.start) } else { dash(text, item) };
    let next = items.get(at + 1).and_then(start);
    let before = at.checked_sub(1).and_then(|before| items.get(before)).map(|before| before.span.end);
    Some(remove(text, start(item)?..item.span.end, before, next, *flow, "[]"))
}

fn remove(
    text: &str,
    part: Range<usize>,
    before: Option<usize>,
    next: Option<usize>,
    flow: bool,
    empty: &str,
) -> Splice {
    let line = part.start - column(text, part.start);
    match (next, before) {
        (Some(next), _) if flow => Splice::new(part.start..next, ""),
        (None, Some(before)) if flow => Splice::new(before..part.end, ""),
        (None, None) if flow => Splice::new(part, ""),
        // Alone on its lines: the lines go.
        _ if text[line..part.start].trim().is_empty() => {
            let end = line_end(text, part.end);
            Splice::new(line..(end + 1).min(text.len()), "")
        }
        // Behind a dash: the next one takes its place.
        (Some(next), _) => Splice::new(part.start..next, ""),
        _ => Splice::new(part, empty),
    }
}

/// The lines, or the member, of the `sops` block: without it the text is the plain document.
pub(super) fn without_block(text: &str, root: &Node) -> Option<Splice> {
    let Kind::Map { entries, flow } = &root.kind else { return None };
    let at = entries.iter().position(|entry| entry.key == meta::KEY)?;
    let part = entries[at].key_span.start..end_of(&entries[at]);
    let next = entries.get(at + 1).map(|next| next.key_span.start);
    let before = at.checked_sub(1).and_then(|before| entries.get(before)).map(end_of);
    Some(remove(text, part, before, next, *flow, ""))
}

/// Puts the `sops` block of `old` behind the entries of a text that has none.
pub(super) fn with_block(format: Format, text: &str, root: &Node, old: &str, old_root: &Node) -> Option<Splice> {
    let entry = old_root.entry(meta::KEY)?;
    let block = &old[entry.key_span.start..end_of(entry)];
    let Kind::Map { entries, flow } = &root.kind else { return None };
    match (format, entries.last()) {
        (Format::Yaml, last) => {
            let flow_root = last.is_none() && *flow;
            if *flow && !flow_root {
                return None;
            }
            let lines = format!("{block}\n");
            if flow_root {
                return Some(Splice::new(root.span.clone(), lines));
            }
            let broken = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            Some(Splice::new(text.len()..text.len(), format!("{broken}{lines}")))
        }
        (Format::Json, Some(last)) => {
            let gap = gap_before(text, last.key_span.start);
            Some(Splice::new(last.value.span.end..last.value.span.end, format!(",{gap}{block}")))
        }
        (Format::Json, None) => Some(Splice::new(root.span.clone(), format!("{{\n\t{block}\n}}"))),
    }
}

/// Where an entry ends; one without a value ends behind its colon.
fn end_of(entry: &Entry) -> usize {
    entry.value.span.end.max(entry.key_span.end)
}

fn is_block(root: &Node, entry: &Entry) -> bool {
    entry.key == meta::KEY && root.entry(meta::KEY).is_some_and(|block| block.key_span == entry.key_span)
}

/// The blanks before a place, which the next entry repeats.
fn gap_before(text: &str, at: usize) -> &str {
    &text[text[..at].trim_end().len()..at]
}

/// Where the dash of an item stands.
fn dash(text: &str, item: &Node) -> Option<usize> {
    let lead = text[..item.span.start].trim_end();
    lead.ends_with('-').then(|| lead.len() - 1)
}
