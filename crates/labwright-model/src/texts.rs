//! Every text of a lab with its path and its place, for rules that look at texts whatever they are for.
//! Judges nothing, and knows no key.

use std::collections::HashSet;
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

/// A value that is no map, list or nothing.
pub struct Text<'a, 'p> {
    pub path: &'p [Step<'a>],
    /// With the references put in that the file answers.
    pub text: &'a str,
    pub span: Span,
    /// Where the key stands that it is the value of, or among the values of.
    pub key: Span,
}

impl Parsed {
    /// Visits every text, those of Compose files and of their files of variables too. What an alias repeats is visited at
    /// each of its paths.
    pub fn texts<'a>(&'a self, visit: &mut dyn FnMut(Text<'a, '_>)) {
        walk(&self.root, self.root.span, &mut Vec::new(), visit);
        let mut seen: HashSet<(&str, Span)> = HashSet::new();
        for (key, project) in &self.projects {
            let service = key.split('@').next().unwrap_or(key);
            let path = [Step::Key("services"), Step::Key(service), Step::Key("compose")];
            // What two environments share is visited once.
            if let Some(tree) = project.tree.as_ref().filter(|tree| seen.insert(("", tree.span))) {
                walk(tree, tree.span, &mut path.to_vec(), visit);
            }
            for (name, value) in &project.variables {
                if seen.insert((name, value.span)) {
                    let path = [&path[..], &[Step::Key(name)]].concat();
                    visit(Text { path: &path, text: &value.value, span: value.span, key: value.span });
                }
            }
        }
    }
}

fn walk<'a>(node: &'a Node, key: Span, path: &mut Vec<Step<'a>>, visit: &mut dyn FnMut(Text<'a, '_>)) {
    match &node.kind {
        Kind::Null => {}
        Kind::Scalar { text, .. } => visit(Text { path, text, span: node.span, key }),
        Kind::List(items) => {
            for (number, item) in items.iter().enumerate() {
                path.push(Step::Item(number));
                walk(item, key, path, visit);
                path.pop();
            }
        }
        Kind::Map(entries) => {
            for (name, node) in entries {
                path.push(Step::Key(&name.text));
                walk(node, name.span, path, visit);
                path.pop();
            }
        }
    }
}
