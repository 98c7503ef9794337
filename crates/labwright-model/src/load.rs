//! From an entry path to one tree: reads files through the caller, follows `include`, merges.
//! Touches no disk itself: `Files` is the only door, and the caller holds it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::allow::Allow;
use crate::codes;
use crate::finding::{Finding, Findings};
use crate::span::{Sources, Span};
use crate::store::Store;
use crate::threads::side_by_side;
use crate::tree::{self, Key, Kind, MAX_FILE_BYTES, Node, Tree};

/// How the caller lets the model read. Paths are as the user writes them, relative ones from where the user stands.
pub trait Files {
    /// The bytes of a file; the error is a fragment that fits after "cannot read `x`: ". Of a file that is not there it is
    /// `no such file`.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;
    /// The lab files of a folder in lexical order; `None` where the path is not a folder.
    fn list(&self, path: &str) -> Option<Vec<String>>;
}

/// Includes deeper than this are refused: a link to a folder above itself would never end.
const MAX_INCLUDES: usize = 32;

pub(crate) struct Loaded {
    pub root: Arc<Node>,
    /// The store of secrets that the lab names, where it names one.
    pub store: Option<Store>,
    pub sources: Sources,
    pub allows: Vec<Allow>,
    /// Whether no file could be read at all.
    pub unreadable: bool,
    /// Whether anything that belongs to the lab could not be read.
    pub incomplete: bool,
}

struct Loader<'a> {
    files: &'a dyn Files,
    findings: &'a mut Findings,
    sources: Sources,
    allows: Vec<Allow>,
    /// How many files were read, whatever stood in them.
    texts: usize,
    incomplete: bool,
    /// Files being read, outermost first: an include cycle runs into one of them.
    open: Vec<String>,
    /// Files already merged: a file named twice counts once.
    done: HashSet<String>,
    /// Files whose turn has not come, by how they are known again.
    ahead: HashMap<String, Ahead>,
}

/// A file that was looked into before its turn.
enum Ahead {
    Bytes(Result<Vec<u8>, String>),
    Tree(Apart),
}

/// What one file's text gave, told to nobody yet.
type Apart = (Tree, Findings, Vec<Allow>);

/// From how much text on several files are read side by side: less of it is read before a thread has begun.
const SIDE_BY_SIDE: usize = 64 << 10;

pub(crate) fn load(entry: &str, files: &dyn Files, findings: &mut Findings) -> Loaded {
    let mut loader = Loader {
        files,
        findings,
        sources: Sources::default(),
        allows: Vec::new(),
        texts: 0,
        incomplete: false,
        open: Vec::new(),
        done: HashSet::new(),
        ahead: HashMap::new(),
    };
    let root = loader.path(entry, Span::NONE);
    let root = root.unwrap_or_else(|| Arc::new(Node { kind: Kind::Map(Vec::new()), span: Span::NONE }));
    let (unreadable, incomplete) = (loader.texts == 0, loader.incomplete);
    let store = loader.store(&root);
    Loaded { root, store, sources: loader.sources, allows: loader.allows, unreadable, incomplete }
}

impl Loader<'_> {
    /// Reports something of the lab that cannot be read.
    fn missing<T>(&mut self, code: &'static str, at: Span, message: String, help: &str) -> Option<T> {
        self.findings.push(Finding::error(code, "", at, message).help(help));
        self.incomplete = true;
        None
    }

    /// A file, or every lab file of a folder.
    fn path(&mut self, path: &str, from: Span) -> Option<Arc<Node>> {
        let Some(list) = self.files.list(path) else { return self.file(path, from) };
        if list.is_empty() {
            let message = format!("the folder `{path}` holds no lab file");
            return self.missing(codes::INCLUDE, from, message, "put a `lab.yaml` there, or name another folder");
        }
        // A folder with a `lab.yaml` is that lab and what it includes, seen from outside as from within: what else lies
        // there (a Compose file, notes) is none of it.
        let is_lab = |file: &&String| file.rsplit('/').next() == Some("lab.yaml");
        if let (true, Some(lab)) = (from.is_none(), list.iter().find(is_lab)) {
            return self.file(lab, from);
        }
        let mut root = None;
        let list = self.read_ahead(list);
        for file in list {
            let more = self.file(&file, from);
            root = self.merged(root, more);
        }
        root
    }

    fn file(&mut self, path: &str, from: Span) -> Option<Arc<Node>> {
        let identity = collapsed(path);
        if self.open.contains(&identity) {
            let chain = self.open.iter().chain([&identity]).map(String::as_str).collect::<Vec<_>>().join("` → `");
            let message = format!("include goes round in a circle: `{chain}`");
            self.findings.push(
                Finding::error(codes::INCLUDE, "include", from, message)
                    .help("remove one of these includes; each file is read once anyway"),
            );
            return None;
        }
        if self.done.contains(&identity) {
            return None;
        }
        if self.open.len() >= MAX_INCLUDES {
            let message = format!("includes are nested deeper than {MAX_INCLUDES} files");
            let help = "list the files under one `include:` instead of including them from one another";
            return self.missing(codes::INCLUDE, from, message, help);
        }
        self.done.insert(identity.clone());
        let (tree, findings, allows) = match self.ahead.remove(&identity) {
            Some(Ahead::Tree(apart)) => apart,
            ahead => {
                let bytes = match ahead {
                    Some(Ahead::Bytes(bytes)) => bytes,
                    _ => self.files.read(path),
                };
                let file = self.text(path, bytes, from)?;
                apart(file, &self.sources.get(file)?.text)
            }
        };
        self.findings.extend(findings);
        self.allows.extend(allows);
        self.texts += 1;
        self.incomplete |= !tree.whole;
        let root = tree.root?;
        self.open.push(identity);
        let mut merged = Some(root.clone());
        let includes = includes(&root);
        if includes.len() > 1 {
            let paths = includes.iter().filter_map(|include| include.text()).map(|relative| beside(path, relative));
            let files = paths.filter(|path| self.files.list(path).is_none()).collect();
            self.read_ahead(files);
        }
        for include in includes {
            let (Some(relative), span) = (include.text(), include.span) else { continue };
            let more = self.path(&beside(path, relative), span);
            merged = self.merged(merged, more);
        }
        self.open.pop();
        merged
    }

    /// Looks into the files of a list before their turn: all are read, and where that is much text, what stands in them is
    /// read side by side. Returns the list without stores of secrets, which lie beside the lab files and are none.
    fn read_ahead(&mut self, mut list: Vec<String>) -> Vec<String> {
        let mut texts = Vec::new();
        list.retain(|path| {
            let identity = collapsed(path);
            if self.done.contains(&identity) || self.ahead.contains_key(&identity) {
                return true;
            }
            let text = match self.files.read(path).map(String::from_utf8) {
                Ok(Ok(text)) => text,
                Ok(Err(garbled)) => {
                    self.ahead.insert(identity, Ahead::Bytes(Ok(garbled.into_bytes())));
                    return true;
                }
                Err(why) => {
                    self.ahead.insert(identity, Ahead::Bytes(Err(why)));
                    return true;
                }
            };
            let is_store = Store::is_one(&text);
            if !is_store {
                texts.push((identity, path.clone(), text));
            }
            !is_store
        });
        let much: usize = texts.iter().map(|(_, _, text)| text.len()).sum();
        let fits = texts.iter().all(|(_, _, text)| text.len() <= MAX_FILE_BYTES);
        if texts.len() < 2 || much < SIDE_BY_SIDE || !fits {
            let bytes = texts.into_iter().map(|(identity, _, text)| (identity, Ahead::Bytes(Ok(text.into_bytes()))));
            self.ahead.extend(bytes);
            return list;
        }
        let add = |(identity, path, text): (String, String, String)| (identity, self.sources.add(path, unmarked(text)));
        let added: Vec<(String, u32)> = texts.into_iter().map(add).collect();
        let sources = &self.sources;
        let trees = side_by_side(&added, |(_, file)| sources.get(*file).map(|source| apart(*file, &source.text)));
        let trees = added.into_iter().zip(trees);
        self.ahead.extend(trees.filter_map(|((identity, _), tree)| Some((identity, Ahead::Tree(tree?)))));
        list
    }

    /// The store of secrets: not a part of the lab's own text, but what it names can be checked against it.
    fn store(&mut self, root: &Node) -> Option<Store> {
        let secrets = root.get("platform")?.get("secrets")?;
        let named = if secrets.text().is_some() { secrets } else { secrets.get("age")? };
        let path = beside(&self.sources.get(named.span.file)?.name, named.text()?);
        let bytes = match self.files.read(&path) {
            Ok(bytes) if bytes.len() > MAX_FILE_BYTES => {
                return Some(Store::absent(path, format!("it has {} bytes, and 4 MiB are the most", bytes.len())));
            }
            Ok(bytes) => bytes,
            Err(why) => return Some(Store::absent(path, why)),
        };
        let Ok(text) = String::from_utf8(bytes) else {
            return Some(Store::absent(path, "it is not UTF-8".into()));
        };
        let text = unmarked(text);
        let file = self.sources.add(path.clone(), text.clone());
        Some(Store::read(path, file, &text, self.findings))
    }

    /// A file's text among the sources; the number is its place there.
    fn text(&mut self, path: &str, bytes: Result<Vec<u8>, String>, from: Span) -> Option<u32> {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                let help = if from.is_none() {
                    "name the lab's file, or the folder that holds it"
                } else {
                    "check the path; it is relative to the file that names it"
                };
                return self.missing(codes::INCLUDE, from, format!("cannot read `{path}`: {error}"), help);
            }
        };
        if bytes.len() > MAX_FILE_BYTES {
            let at = if from.is_none() { self.start_of(path, String::new()) } else { from };
            let message =
                format!("`{path}` has {} bytes; a lab file may have {} MiB", bytes.len(), MAX_FILE_BYTES >> 20);
            return self.missing(codes::TOO_LARGE, at, message, "split it, and `include` the parts");
        }
        match String::from_utf8(bytes) {
            Ok(text) => Some(self.sources.add(path.to_string(), unmarked(text))),
            Err(error) => {
                let offset = error.utf8_error().valid_up_to();
                let byte = error.as_bytes().get(offset).copied().unwrap_or_default();
                let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let at = self.start_of(path, shown);
                let end = offset + char::REPLACEMENT_CHARACTER.len_utf8();
                let at = Span { start: offset as u32, end: end as u32, ..at };
                let message = format!("`{path}` is not UTF-8: the byte 0x{byte:02x} stands here");
                self.missing(codes::SYNTAX, at, message, "save the file as UTF-8")
            }
        }
    }

    /// The first place of a file that is shown and not read.
    fn start_of(&mut self, path: &str, text: String) -> Span {
        Span { file: self.sources.add(path.to_string(), text), start: 0, end: 0 }
    }

    fn merged(&mut self, first: Option<Arc<Node>>, second: Option<Arc<Node>>) -> Option<Arc<Node>> {
        match (first, second) {
            (Some(first), Some(second)) => Some(self.merge(&first, &second, &mut Vec::new())),
            (first, second) => first.or(second),
        }
    }

    /// Maps unite, lists follow one another, and a value that two files give differently is a finding.
    fn merge(&mut self, first: &Arc<Node>, second: &Arc<Node>, path: &mut Vec<String>) -> Arc<Node> {
        match (&first.kind, &second.kind) {
            (_, Kind::Null) => first.clone(),
            (Kind::Null, _) => second.clone(),
            (Kind::List(a), Kind::List(b)) => {
                let items = a.iter().chain(b).cloned().collect();
                Arc::new(Node { kind: Kind::List(items), span: first.span })
            }
            // Only the sections and their tables unite; one host or service is described in one place.
            (Kind::Map(a), Kind::Map(b)) if path.len() < 3 => {
                let mut entries: Vec<(Key, Arc<Node>)> = a.clone();
                let known: HashMap<&str, usize> =
                    a.iter().enumerate().map(|(i, (key, _))| (key.text.as_str(), i)).collect();
                for (key, node) in b {
                    match known.get(key.text.as_str()) {
                        None => entries.push((key.clone(), node.clone())),
                        Some(_) if path.is_empty() && key.text == "include" => {}
                        Some(&i) => {
                            path.push(key.text.clone());
                            if is_entry(path) {
                                self.twice(path, entries[i].0.span, key.span);
                            } else {
                                entries[i].1 = self.merge(&a[i].1, node, path);
                            }
                            path.pop();
                        }
                    }
                }
                Arc::new(Node { kind: Kind::Map(entries), span: first.span })
            }
            (Kind::Scalar { text: a, .. }, Kind::Scalar { text: b, .. }) if a == b => first.clone(),
            _ => {
                self.twice(path, first.span, second.span);
                first.clone()
            }
        }
    }

    fn twice(&mut self, path: &[String], first: Span, second: Span) {
        let name = path.last().map_or("the lab", String::as_str);
        let finding =
            Finding::error(codes::DUPLICATE_KEY, path.join("."), second, format!("`{name}` is given in two files"))
                .help("keep one of the two; the first one counts until then")
                .related(first, "first given here");
        self.findings.push(finding);
    }
}

fn apart(file: u32, text: &str) -> Apart {
    let (mut findings, mut allows) = (Findings::new(), Vec::new());
    let tree = tree::read(file, text, &mut findings, &mut allows);
    (tree, findings, allows)
}

/// A text without the byte order mark that some editors begin it with.
fn unmarked(text: String) -> String {
    text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text)
}

/// Whether the path is that of one named thing, such as `services.wiki` or `compute.hosts.docker-01`.
fn is_entry(path: &[String]) -> bool {
    matches!(
        path.iter().map(String::as_str).collect::<Vec<_>>()[..],
        ["services", _] | ["compute", "hosts", _] | ["network", "zones", _] | ["protection", _, _]
    )
}

fn includes(root: &Node) -> Vec<Arc<Node>> {
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
    let relative = relative.strip_prefix("./").unwrap_or(relative);
    match file.rfind('/') {
        Some(slash) if !relative.starts_with('/') => format!("{}/{relative}", &file[..slash]),
        _ => relative.to_string(),
    }
}

/// A path by which a file is known again, however it was spelled. The file itself is opened as it was spelled, because
/// `..` behind a symbolic link leads elsewhere.
fn collapsed(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}
