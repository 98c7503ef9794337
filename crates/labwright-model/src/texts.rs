//! Every text of a lab with its path and its place, for rules that look at texts whatever they are for.
//! Judges nothing, and knows no key.

use std::fmt;

use crate::Parsed;
use crate::span::Span;
use crate::tree::{Kind, Node};

/// One step of a path through the lab file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Key(key) => f.write_str(key),
            Step::Item(number) => write!(f, "{number}"),
        }
    }
}

impl Parsed {
    /// Visits every value that is no map, list or nothing: its path, its text with the references put in that the file
    /// answers, and its place. What an alias repeats is visited at each of its paths.
    pub fn texts<'a>(&'a self, visit: &mut dyn FnMut(&[Step<'a>], &'a str, Span)) {
        walk(&self.root, &mut Vec::new(), visit);
    }
}

fn walk<'a>(node: &'a Node, path: &mut Vec<Step<'a>>, visit: &mut dyn FnMut(&[Step<'a>], &'a str, Span)) {
    match &node.kind {
        Kind::Null => {}
        Kind::Scalar { text, .. } => visit(path, text, node.span),
        Kind::List(items) => {
            for (number, item) in items.iter().enumerate() {
                path.push(Step::Item(number));
                walk(item, path, visit);
                path.pop();
            }
        }
        Kind::Map(entries) => {
            for (key, node) in entries {
                path.push(Step::Key(&key.text));
                walk(node, path, visit);
                path.pop();
            }
        }
    }
}
