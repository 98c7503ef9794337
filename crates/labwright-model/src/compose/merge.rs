//! How one description of a service goes over another: several files, `extends`, `include`.
//! Reads nothing; both sides are trees in whatever form the user wrote them.

use std::sync::Arc;

use crate::codes;
use crate::finding::{Finding, Findings};
use crate::tree::{Key, Kind, Mark, Marks, Node};

/// So many values may be merged for one project; somebody who extends a long list a thousand times passes it.
const MAX_MERGED: usize = 500_000;

/// What is merged with, and what was merged so far.
pub struct Merging<'a> {
    pub marks: &'a Marks,
    pub merged: &'a mut usize,
    pub at: &'a str,
    pub findings: &'a mut Findings,
}

/// How two values of one key become one.
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    /// Maps unite, lists follow one another, other values replace.
    Plain,
    /// The later one replaces the earlier one.
    Replace,
    /// A list or a map of `NAME=value`.
    Pairs,
    /// A text or a list of texts.
    Texts,
    /// A list of names, or a map of them.
    Names,
    /// A list or a map of hosts.
    Hosts,
    /// Settings count only for their own driver.
    Logging,
    /// A text is the context.
    Build,
    /// Subnets are told apart by themselves.
    Subnets,
}

fn rule(path: &[&str]) -> Rule {
    match path {
        ["networks" | "volumes", _, "labels"]
        | ["services", _, "annotations" | "environment" | "labels" | "sysctls"]
        | ["services", _, "deploy", "labels"]
        | ["services", _, "build", "args" | "labels" | "additional_contexts"] => Rule::Pairs,
        ["services", _, "command" | "entrypoint"]
        | ["services", _, "healthcheck", "test"]
        | ["services", _, "ulimits", _] => Rule::Replace,
        ["services", _, "dns" | "dns_opt" | "dns_search" | "env_file" | "label_file" | "tmpfs"] => Rule::Texts,
        ["services", _, "depends_on" | "networks"] => Rule::Names,
        ["services", _, "extra_hosts"] | ["services", _, "build", "extra_hosts"] => Rule::Hosts,
        ["services", _, "logging"] => Rule::Logging,
        ["services", _, "build"] => Rule::Build,
        ["networks", _, "ipam", "config"] => Rule::Subnets,
        _ => Rule::Plain,
    }
}

fn scalar(text: String, like: &Node) -> Arc<Node> {
    Arc::new(Node { kind: Kind::Scalar { text, plain: false }, span: like.span })
}

fn null(like: &Node) -> Arc<Node> {
    Arc::new(Node { kind: Kind::Null, span: like.span })
}

fn with(kind: Kind, like: &Node) -> Arc<Node> {
    Arc::new(Node { kind, span: like.span })
}

/// A list of `NAME=value` as a map; a later one replaces an earlier one.
fn pairs(node: &Arc<Node>) -> Arc<Node> {
    let Kind::List(items) = &node.kind else { return node.clone() };
    let pair = |item: &Arc<Node>| {
        let (name, value) = match item.text()?.split_once('=') {
            Some((name, value)) => (name, scalar(value.to_string(), item)),
            None => (item.text()?, null(item)),
        };
        Some((Key { text: name.to_string(), span: item.span }, value))
    };
    // Anything else in the list is reported when it is read, so such a list stays one.
    match items.iter().map(pair).collect() {
        Some(entries) => with(Kind::Map(entries), node),
        None => node.clone(),
    }
}

fn names(node: &Arc<Node>) -> Arc<Node> {
    let Kind::List(items) = &node.kind else { return node.clone() };
    let name = |item: &Arc<Node>| Some((Key { text: item.text()?.to_string(), span: item.span }, null(item)));
    items.iter().map(name).collect::<Option<_>>().map_or(node.clone(), |entries| with(Kind::Map(entries), node))
}

fn texts(node: &Arc<Node>) -> Arc<Node> {
    match &node.kind {
        Kind::Scalar { .. } => with(Kind::List(vec![node.clone()]), node),
        _ => node.clone(),
    }
}

fn hosts(node: &Arc<Node>) -> Arc<Node> {
    let Kind::Map(entries) = &node.kind else { return node.clone() };
    let line = |(key, node): &(Key, Arc<Node>)| match &node.kind {
        Kind::List(items) => {
            items.iter().map(|item| scalar(format!("{}={}", key.text, item.text().unwrap_or_default()), item)).collect()
        }
        _ => vec![scalar(format!("{}={}", key.text, node.text().unwrap_or_default()), node)],
    };
    with(Kind::List(entries.iter().flat_map(line).collect()), node)
}

fn build(node: &Arc<Node>) -> Arc<Node> {
    match &node.kind {
        Kind::Scalar { .. } => {
            with(Kind::Map(vec![(Key { text: "context".into(), span: node.span }, node.clone())]), node)
        }
        _ => node.clone(),
    }
}

/// Both in the form in which they can be merged.
fn alike(rule: Rule, node: &Arc<Node>) -> Arc<Node> {
    match rule {
        Rule::Pairs => pairs(node),
        Rule::Names => names(node),
        Rule::Texts => texts(node),
        Rule::Hosts => hosts(node),
        Rule::Build => build(node),
        Rule::Plain | Rule::Replace | Rule::Logging | Rule::Subnets => node.clone(),
    }
}

impl Merging<'_> {
    fn mark(&self, node: &Node) -> Option<Mark> {
        self.marks.get(&(node.span.file, node.span.start)).copied()
    }

    /// `over` on top of `base`. The path is that of both: `["services", "web"]`.
    pub fn merge(&mut self, base: &Arc<Node>, over: &Arc<Node>, path: &[&str]) -> Arc<Node> {
        let rule = rule(path);
        if rule == Rule::Replace {
            return over.clone();
        }
        if over.is_null() {
            return base.clone();
        }
        if base.is_null() {
            return over.clone();
        }
        let (a, b) = (alike(rule, base), alike(rule, over));
        match (&a.kind, &b.kind) {
            (Kind::Map(first), Kind::Map(second)) => {
                if rule == Rule::Logging && other_driver(&a, &b) {
                    return over.clone();
                }
                self.maps(first, second, &b, path)
            }
            (Kind::List(first), Kind::List(second)) => {
                if rule == Rule::Subnets {
                    return self.subnets(first, second, &b, path);
                }
                if !self.count(first.len() + second.len(), over) {
                    return over.clone();
                }
                with(Kind::List(first.iter().chain(second).cloned().collect()), over)
            }
            (Kind::Map(_) | Kind::List(_), _) | (_, Kind::Map(_) | Kind::List(_)) => {
                let name = path.last().copied().unwrap_or("the file");
                let message = format!("`{name}` is {} here, and {} where it comes from", b.kind_name(), a.kind_name());
                let finding =
                    Finding::error(codes::WRONG_VALUE, format!("{}.{}", self.at, path.join(".")), over.span, message)
                        .help("give both the same form, or replace the other one with `!override`")
                        .related(base.span, "merged with this");
                self.findings.push(finding);
                over.clone()
            }
            _ => over.clone(),
        }
    }

    fn maps(
        &mut self,
        first: &[(Key, Arc<Node>)],
        second: &[(Key, Arc<Node>)],
        like: &Node,
        path: &[&str],
    ) -> Arc<Node> {
        if !self.count(first.len() + second.len(), like) {
            return with(Kind::Map(second.to_vec()), like);
        }
        let kept = first.iter().filter(|(_, node)| self.mark(node) != Some(Mark::Reset));
        let mut entries: indexmap::IndexMap<&str, (Key, Arc<Node>)> =
            kept.map(|(key, node)| (key.text.as_str(), (key.clone(), node.clone()))).collect();
        for (key, node) in second {
            let name = key.text.as_str();
            match (self.mark(node), entries.get(name)) {
                (Some(Mark::Reset), _) => drop(entries.shift_remove(name)),
                (None, Some((_, base))) => {
                    let base = base.clone();
                    let path: Vec<&str> = path.iter().copied().chain([name]).collect();
                    let merged = self.merge(&base, node, &path);
                    entries.insert(name, (key.clone(), merged));
                }
                _ => drop(entries.insert(name, (key.clone(), node.clone()))),
            }
        }
        with(Kind::Map(entries.into_values().collect()), like)
    }

    /// Of the earlier subnets only those stay that the later ones give too.
    fn subnets(&mut self, first: &[Arc<Node>], second: &[Arc<Node>], like: &Node, path: &[&str]) -> Arc<Node> {
        let subnet = |node: &Node| node.get("subnet").and_then(|subnet| subnet.text().map(str::to_string));
        let merged = second.iter().map(|over| {
            let same = first.iter().find(|base| subnet(base) == subnet(over));
            match (same.map(|base| &base.kind), &over.kind) {
                (Some(Kind::Map(base)), Kind::Map(more)) => self.maps(base, more, over, path),
                _ => over.clone(),
            }
        });
        with(Kind::List(merged.collect()), like)
    }

    /// Whether so many more values may be merged; it is reported once that they may not.
    fn count(&mut self, more: usize, like: &Node) -> bool {
        let before = *self.merged;
        *self.merged = before.saturating_add(more);
        if before <= MAX_MERGED && *self.merged > MAX_MERGED {
            let message = format!("`extends` and `include` merge more than {MAX_MERGED} values");
            let finding = Finding::error(codes::TOO_LARGE, self.at, like.span, message);
            self.findings.push(finding.help("extend a smaller service, or write the repeated part once"));
        }
        *self.merged <= MAX_MERGED
    }
}

/// Whether both name a driver, and not the same one.
fn other_driver(base: &Node, over: &Node) -> bool {
    let driver = |node: &Node| node.get("driver").and_then(|driver| driver.text().map(str::to_string));
    matches!((driver(base), driver(over)), (Some(base), Some(over)) if base != over)
}

/// A tree without what `!reset` takes away.
pub fn without_resets(node: &Arc<Node>, marks: &Marks) -> Arc<Node> {
    if marks.is_empty() {
        return node.clone();
    }
    let reset = |node: &Node| marks.get(&(node.span.file, node.span.start)) == Some(&Mark::Reset);
    match &node.kind {
        Kind::Map(entries) => {
            let kept = entries.iter().filter(|(_, node)| !reset(node));
            with(Kind::Map(kept.map(|(key, node)| (key.clone(), without_resets(node, marks))).collect()), node)
        }
        Kind::List(items) => {
            let kept = items.iter().filter(|node| !reset(node));
            with(Kind::List(kept.map(|node| without_resets(node, marks)).collect()), node)
        }
        _ => node.clone(),
    }
}
