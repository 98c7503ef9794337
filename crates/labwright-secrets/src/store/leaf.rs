//! The values of a store one by one, with their names, and the comments with the map that they belong to.
//! Finds and names; reads no values.

use std::ops::Range;

use super::meta;
use super::syntax::{Entry, Format, Kind, Node, Scalar, Tree, column, line_end};
use super::value::Place;

/// One value: `name` is its dotted path with list indices; `keys` are the map keys alone, which SOPS signs with it.
pub(super) struct Leaf<'a> {
    pub name: String,
    pub keys: Vec<&'a str>,
    pub scalar: &'a Scalar,
    pub span: Range<usize>,
    pub place: Place,
}

/// What a node stands in.
#[derive(Clone, Copy)]
pub(super) enum Parent {
    Root,
    /// Where the key starts.
    Map {
        key: usize,
        flow: bool,
    },
    List {
        flow: bool,
    },
}

/// What SOPS signs with a value: the map keys, each with a colon.
pub(super) fn aad<S: AsRef<str>>(keys: &[S]) -> String {
    let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
    keys.join(":") + ":"
}

/// All values in the order of the file, without the `sops` block.
pub(super) fn leaves<'a>(format: Format, text: &str, root: &'a Node) -> Vec<Leaf<'a>> {
    let mut out = Vec::new();
    walk(root, &mut Vec::new(), &mut Vec::new(), Parent::Root, &mut |node, names, keys, parent| {
        let Kind::Scalar(scalar) = &node.kind else { return };
        let place = match parent {
            _ if format == Format::Json => Place::Flow,
            Parent::Map { flow: false, .. } | Parent::List { flow: false } if !ends_line(text, node.span.end) => {
                Place::Line
            }
            Parent::Map { key, flow: false } => Place::Block { indent: column(text, key) + 2 },
            Parent::List { flow: false } => Place::Block { indent: column(text, node.span.start) },
            _ => Place::Flow,
        };
        out.push(Leaf { name: names.join("."), keys: keys.to_vec(), scalar, span: node.span.clone(), place });
    });
    out
}

fn ends_line(text: &str, at: usize) -> bool {
    text[at..line_end(text, at)].trim().is_empty()
}

type Visit<'v, 'a> = &'v mut dyn FnMut(&'a Node, &[String], &[&'a str], Parent);

fn walk<'a>(node: &'a Node, names: &mut Vec<String>, keys: &mut Vec<&'a str>, parent: Parent, visit: Visit<'_, 'a>) {
    visit(node, names, keys, parent);
    match &node.kind {
        Kind::Scalar(_) => {}
        Kind::List { items, flow } => {
            for (at, item) in items.iter().enumerate() {
                names.push(at.to_string());
                walk(item, names, keys, Parent::List { flow: *flow }, visit);
                names.pop();
            }
        }
        Kind::Map { entries, flow } => {
            for entry in entries {
                if keys.is_empty() && matches!(parent, Parent::Root) && entry.key == meta::KEY {
                    continue;
                }
                names.push(entry.key.clone());
                keys.push(&entry.key);
                walk(&entry.value, names, keys, Parent::Map { key: entry.key_span.start, flow: *flow }, visit);
                keys.pop();
                names.pop();
            }
        }
    }
}

/// A node that a path leads to, with the collection it stands in.
pub(super) struct Found<'a> {
    pub node: &'a Node,
    pub parent: Parent,
    /// The collection around it and its place in there.
    pub within: Option<(&'a Node, usize)>,
    pub keys: Vec<&'a str>,
}

/// Everything that a dotted path can mean: a key may have dots itself.
pub(super) fn find<'a>(root: &'a Node, path: &str) -> Vec<Found<'a>> {
    let mut out = Vec::new();
    follow(Found { node: root, parent: Parent::Root, within: None, keys: Vec::new() }, path, &mut |found, rest| {
        if rest.is_empty() {
            out.push(found);
        }
    });
    out
}

/// The deepest node on the way to a path that is not there, and what is left of the path.
pub(super) fn deepest<'a, 'p>(root: &'a Node, path: &'p str) -> (Found<'a>, &'p str) {
    let mut best: Option<(Found<'a>, &'p str)> = None;
    follow(Found { node: root, parent: Parent::Root, within: None, keys: Vec::new() }, path, &mut |found, rest| {
        if best.as_ref().is_none_or(|(_, left)| rest.len() < left.len()) {
            best = Some((found, rest));
        }
    });
    best.unwrap_or((Found { node: root, parent: Parent::Root, within: None, keys: Vec::new() }, path))
}

fn follow<'a, 'p>(here: Found<'a>, path: &'p str, visit: &mut dyn FnMut(Found<'a>, &'p str)) {
    let node = here.node;
    let keys = here.keys.clone();
    let is_root = here.within.is_none();
    visit(here, path);
    if path.is_empty() {
        return;
    }
    let after = |key: &str| {
        let rest = path.strip_prefix(key)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.').filter(|rest| !rest.is_empty()) }
    };
    match &node.kind {
        Kind::Scalar(_) => {}
        Kind::List { items, flow } => {
            for (at, item) in items.iter().enumerate() {
                if let Some(rest) = after(&at.to_string()) {
                    let parent = Parent::List { flow: *flow };
                    follow(Found { node: item, parent, within: Some((node, at)), keys: keys.clone() }, rest, visit);
                }
            }
        }
        Kind::Map { entries, flow } => {
            for (at, entry) in entries.iter().enumerate() {
                if is_root && entry.key == meta::KEY {
                    continue;
                }
                if let Some(rest) = after(&entry.key) {
                    let keys = keys.iter().copied().chain([entry.key.as_str()]).collect();
                    let parent = Parent::Map { key: entry.key_span.start, flow: *flow };
                    follow(Found { node: &entry.value, parent, within: Some((node, at)), keys }, rest, visit);
                }
            }
        }
    }
}

/// Where an entry or item starts, and the keys of the map or list it stands in.
pub(super) struct Start<'a> {
    at: usize,
    column: usize,
    keys: Vec<&'a str>,
}

/// Every entry and item of a file, in its order.
pub(super) fn starts<'a>(text: &str, tree: &'a Tree) -> Vec<Start<'a>> {
    let mut out = Vec::new();
    node_starts(text, &tree.root, &mut Vec::new(), &mut out);
    out
}

/// The keys that a comment can be signed with, the likeliest first: its map's, then those around it.
pub(super) fn comment_keys<'a>(text: &str, starts: &[Start<'a>], at: usize) -> Vec<Vec<&'a str>> {
    let behind = starts.partition_point(|start| start.at < at);
    let (before, after) = (behind.checked_sub(1).and_then(|last| starts.get(last)), starts.get(behind));
    let own_column = column(text, at);
    let inline = !text[at - own_column..at].trim().is_empty();
    let same = |start: &&Start<'_>| start.column == own_column;
    let likely = match before {
        Some(before) if inline && line_end(text, before.at) >= at => Some(before),
        before => after.filter(same).or_else(|| starts[..behind].iter().rev().find(same)).or(after).or(before),
    };
    let mut out: Vec<Vec<&str>> = Vec::new();
    for start in [likely, after, before].into_iter().flatten() {
        for depth in (0..=start.keys.len()).rev() {
            let keys = start.keys[..depth].to_vec();
            if !out.contains(&keys) {
                out.push(keys);
            }
        }
    }
    if out.is_empty() {
        out.push(Vec::new());
    }
    out
}

fn node_starts<'a>(text: &str, node: &'a Node, keys: &mut Vec<&'a str>, out: &mut Vec<Start<'a>>) {
    match &node.kind {
        Kind::Scalar(_) => {}
        Kind::List { items, .. } => {
            for item in items {
                let lead = text[..item.span.start].trim_end();
                let at = if lead.ends_with('-') { lead.len() - 1 } else { item.span.start };
                out.push(Start { at, column: column(text, at), keys: keys.clone() });
                node_starts(text, item, keys, out);
            }
        }
        Kind::Map { entries, .. } => {
            for Entry { key, key_span, value } in entries {
                out.push(Start { at: key_span.start, column: column(text, key_span.start), keys: keys.clone() });
                keys.push(key);
                node_starts(text, value, keys, out);
                keys.pop();
            }
        }
    }
}
