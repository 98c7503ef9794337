//! From an entry path to one tree: reads files through the caller, follows `include`, merges.
//! Touches no disk itself: `Files` is the only door, and the caller holds it.

use std::rc::Rc;

use crate::codes;
use crate::finding::{Finding, Findings};
use crate::span::{Sources, Span};
use crate::tree::{self, Allow, Key, Kind, MAX_FILE_BYTES, Node};

/// How the caller lets the model read. Paths are as the user writes them, relative ones from where the user stands.
pub trait Files {
    /// The bytes of a file; the error is a fragment that fits after "cannot read `x`: ".
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;
    /// The lab files of a folder in lexical order; `None` where the path is not a folder.
    fn list(&self, path: &str) -> Option<Vec<String>>;
}

pub(crate) struct Loaded {
    pub root: Rc<Node>,
    pub sources: Sources,
    pub allows: Vec<Allow>,
    /// Whether the entry itself could not be read: nothing below it means anything.
    pub unreadable: bool,
}

struct Loader<'a> {
    files: &'a dyn Files,
    findings: &'a mut Findings,
    sources: Sources,
    allows: Vec<Allow>,
    /// Files being read, outermost first: an include cycle runs into one of them.
    open: Vec<String>,
    /// Files already merged: a file named twice counts once.
    done: Vec<String>,
}

pub(crate) fn load(entry: &str, files: &dyn Files, findings: &mut Findings) -> Loaded {
    let mut loader =
        Loader { files, findings, sources: Sources::default(), allows: Vec::new(), open: Vec::new(), done: Vec::new() };
    let root = loader.path(entry, Span::NONE);
    let unreadable = loader.sources.iter().next().is_none();
    let root = root.unwrap_or_else(|| Rc::new(Node { kind: Kind::Map(Vec::new()), span: Span::NONE }));
    Loaded { root, sources: loader.sources, allows: loader.allows, unreadable }
}

impl Loader<'_> {
    fn fault(&mut self, span: Span, message: String, help: &str) {
        self.findings.push(Finding::error(codes::INCLUDE, "include", span, message).help(help));
    }

    /// A file, or every lab file of a folder.
    fn path(&mut self, path: &str, from: Span) -> Option<Rc<Node>> {
        let Some(list) = self.files.list(path) else { return self.file(path, from) };
        if list.is_empty() {
            self.fault(
                from,
                format!("the folder `{path}` holds no lab file"),
                "put a `lab.yaml` there, or name the file",
            );
            return None;
        }
        let mut root = None;
        for file in list {
            let more = self.file(&file, from);
            root = self.merged(root, more);
        }
        root
    }

    fn file(&mut self, path: &str, from: Span) -> Option<Rc<Node>> {
        if self.open.iter().any(|open| open == path) {
            let chain = self.open.iter().map(String::as_str).chain([path]).collect::<Vec<_>>().join("` → `");
            self.fault(from, format!("include goes round in a circle: `{chain}`"), "remove one of these includes");
            return None;
        }
        if self.done.iter().any(|done| done == path) {
            return None;
        }
        self.done.push(path.to_string());
        let text = match self.files.read(path) {
            Ok(bytes) if bytes.len() > MAX_FILE_BYTES => {
                let message =
                    format!("`{path}` has {} bytes; a lab file may have {} MiB", bytes.len(), MAX_FILE_BYTES >> 20);
                self.findings.push(
                    Finding::error(codes::TOO_LARGE, "", from, message).help("split it, and `include` the parts"),
                );
                return None;
            }
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => {
                    let offset = error.utf8_error().valid_up_to();
                    let line = error.as_bytes()[..offset].iter().filter(|b| **b == b'\n').count() + 1;
                    let message =
                        format!("`{path}` is not UTF-8: the first bad byte is at offset {offset}, line {line}");
                    self.findings.push(Finding::error(codes::SYNTAX, "", from, message).help("save the file as UTF-8"));
                    return None;
                }
            },
            Err(error) => {
                self.fault(
                    from,
                    format!("cannot read `{path}`: {error}"),
                    "check the path; it is relative to the file that names it",
                );
                return None;
            }
        };
        let text = text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_string);
        let file = self.sources.add(path.to_string(), text);
        let text = self.sources.get(file).map(|source| source.text.clone()).unwrap_or_default();
        let node = tree::read(file, &text, self.findings, &mut self.allows)?;
        self.open.push(path.to_string());
        let mut root = Some(node.clone());
        for include in includes(&node) {
            let (Some(relative), span) = (include.text(), include.span) else { continue };
            let more = self.path(&beside(path, relative), span);
            root = self.merged(root, more);
        }
        self.open.pop();
        root
    }

    fn merged(&mut self, first: Option<Rc<Node>>, second: Option<Rc<Node>>) -> Option<Rc<Node>> {
        match (first, second) {
            (Some(first), Some(second)) => Some(self.merge(&first, &second, &mut Vec::new())),
            (first, second) => first.or(second),
        }
    }

    /// Maps unite, lists follow one another, and a value that two files give differently is a finding.
    fn merge(&mut self, first: &Rc<Node>, second: &Rc<Node>, path: &mut Vec<String>) -> Rc<Node> {
        match (&first.kind, &second.kind) {
            (_, Kind::Null) => first.clone(),
            (Kind::Null, _) => second.clone(),
            (Kind::List(a), Kind::List(b)) => {
                let items = a.iter().chain(b).cloned().collect();
                Rc::new(Node { kind: Kind::List(items), span: first.span })
            }
            // Only the sections and their tables unite; one host or service is described in one place.
            (Kind::Map(a), Kind::Map(b)) if path.len() < 3 => {
                let mut entries: Vec<(Key, Rc<Node>)> = a.clone();
                for (key, node) in b {
                    match entries.iter().position(|(k, _)| k.text == key.text) {
                        None => entries.push((key.clone(), node.clone())),
                        Some(_) if path.is_empty() && key.text == "include" => {}
                        Some(i) => {
                            path.push(key.text.clone());
                            entries[i].1 = if self.is_entry(path) {
                                self.twice(path, entries[i].0.span, key.span);
                                entries[i].1.clone()
                            } else {
                                self.merge(&entries[i].1.clone(), node, path)
                            };
                            path.pop();
                        }
                    }
                }
                Rc::new(Node { kind: Kind::Map(entries), span: first.span })
            }
            (Kind::Scalar { text: a, .. }, Kind::Scalar { text: b, .. }) if a == b => first.clone(),
            _ => {
                self.twice(path, first.span, second.span);
                first.clone()
            }
        }
    }

    /// Whether the path is that of one named thing, such as `services.wiki` or `compute.hosts.docker-01`.
    fn is_entry(&self, path: &[String]) -> bool {
        match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["services", _] => true,
            ["compute", "hosts", _] | ["network", "zones", _] => true,
            ["protection", _, _] => true,
            _ => false,
        }
    }

    fn twice(&mut self, path: &[String], first: Span, second: Span) {
        let name = path.last().cloned().unwrap_or_default();
        let finding =
            Finding::error(codes::DUPLICATE_KEY, path.join("."), second, format!("`{name}` is given in two files"))
                .help("keep one of the two; the first one counts until then")
                .related(first, "first given here");
        self.findings.push(finding);
    }
}

fn includes(root: &Node) -> Vec<Rc<Node>> {
    match root.get("include") {
        None => Vec::new(),
        Some(node) => match &node.kind {
            Kind::List(items) => items.clone(),
            _ => vec![node.clone()],
        },
    }
}

/// A path that stands in a file, seen from where the user stands.
pub fn beside(file: &str, relative: &str) -> String {
    match file.rfind('/') {
        Some(slash) if !relative.starts_with('/') => format!("{}/{relative}", &file[..slash]),
        _ => relative.to_string(),
    }
}
