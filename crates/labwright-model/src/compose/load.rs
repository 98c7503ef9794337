//! From the paths of Compose files to one tree: several files, `include`, `extends`, variables.
//! Types nothing; every value keeps the place in the file that it came from.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::environment::{self, Environment};
use super::interpolate::{self, Values};
use super::merge::{Merging, without_resets};
use super::mounts::clean;
use crate::allow::{Allow, Comments};
use crate::codes;
use crate::finding::{Finding, Findings, nearest};
use crate::load::Files;
use crate::span::{Sources, Span, Spanned};
use crate::tree::{self, Key, Kind, MAX_FILE_BYTES, Marks, Node};

/// Files that include or extend one another deeper than this are refused.
const MAX_NESTING: usize = 32;
/// A project of more files than this is refused: each may include the next one twice.
const MAX_FILES: usize = 200;
/// So many values a project may have: a thousand services may extend one that has a thousand variables.
const MAX_VALUES: usize = 300_000;
/// The sections that an included file brings along.
const SECTIONS: &[&str] = &["services", "networks", "volumes", "configs", "secrets"];

/// What paths and variables of a file are relative to.
#[derive(Debug, Default)]
pub struct Origin {
    pub folder: String,
    pub environment: Arc<Environment>,
}

pub struct Loader<'a> {
    pub files: &'a dyn Files,
    pub sources: &'a mut Sources,
    pub findings: &'a mut Findings,
    pub allows: &'a mut Vec<Allow>,
    /// Where the project stands in the lab: `services.wiki.compose`.
    pub at: String,
    pub marks: Marks,
    /// By the number of the file among the sources.
    pub origins: HashMap<u32, Arc<Origin>>,
    /// Trees that services were extended from, by path and environment.
    bases: HashMap<(String, *const Environment), Option<Arc<Node>>>,
    /// Services whose `extends` was followed, by the place of their name.
    extended: HashMap<Span, Arc<Node>>,
    /// What files of variables set, with the line of each.
    pub set: Vec<(String, Spanned<String>)>,
    /// Paths that were written relative to a file.
    pub relative: BTreeSet<String>,
    read: usize,
    expanded: usize,
    merged: usize,
}

/// A path that stands in a file, seen from where the user stands.
pub fn joined(folder: &str, path: &str) -> String {
    match path.starts_with('/') || folder.is_empty() {
        true => clean(path),
        false => clean(&format!("{folder}/{path}")),
    }
}

/// The folder that a file is in; empty for the one where the user stands.
pub fn folder_of(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) => "/",
        Some(slash) => &path[..slash],
        None => "",
    }
}

/// Whether a tree has no more values than are left. What is shared counts each time it is used.
fn counted(node: &Node, left: &mut usize) -> bool {
    if *left == 0 {
        return false;
    }
    *left -= 1;
    match &node.kind {
        Kind::Null | Kind::Scalar { .. } => true,
        Kind::List(items) => items.iter().all(|item| counted(item, left)),
        Kind::Map(entries) => entries.iter().all(|(_, node)| counted(node, left)),
    }
}

impl<'a> Loader<'a> {
    pub fn new(
        files: &'a dyn Files,
        sources: &'a mut Sources,
        allows: &'a mut Vec<Allow>,
        findings: &'a mut Findings,
        at: String,
    ) -> Self {
        Loader {
            files,
            sources,
            findings,
            allows,
            at,
            marks: Marks::default(),
            origins: HashMap::new(),
            bases: HashMap::new(),
            extended: HashMap::new(),
            set: Vec::new(),
            relative: BTreeSet::new(),
            read: 0,
            expanded: 0,
            merged: 0,
        }
    }

    fn error(&mut self, code: &'static str, span: Span, message: String, help: impl Into<String>) {
        self.findings.push(Finding::error(code, self.at.as_str(), span, message).help(help));
    }

    /// A file's text, and its number among the sources.
    pub fn text(&mut self, path: &str, from: Span) -> Option<(u32, String)> {
        self.read += 1;
        if self.read > MAX_FILES {
            if self.read == MAX_FILES + 1 {
                let message = format!("this project is read from more than {MAX_FILES} files");
                self.error(codes::TOO_LARGE, from, message, "include each file once");
            }
            return None;
        }
        let text = match self.files.read(path) {
            Err(why) => Err(format!("cannot read `{path}`: {why}")),
            Ok(bytes) if bytes.len() > MAX_FILE_BYTES => {
                Err(format!("`{path}` has {} bytes; such a file may have {} MiB", bytes.len(), MAX_FILE_BYTES >> 20))
            }
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| format!("`{path}` is not UTF-8")),
        };
        match text {
            Ok(text) => {
                let text = text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text);
                Some((self.sources.add(path.to_string(), text.clone()), text))
            }
            Err(message) => {
                let help = "check the path; it is relative to the folder of the file that names it";
                self.error(codes::COMPOSE_FILE, from, message, help);
                None
            }
        }
    }

    /// The variables of a file, below those that `known` has. A file that need not be there is left out silently.
    pub fn variables(&mut self, path: &str, from: Span, required: bool, known: &Environment) -> Environment {
        // The reader of files says this, and nothing else, of a file that is not there.
        if !required && self.files.read(path).is_err_and(|why| why == "no such file") {
            return Environment::default();
        }
        let Some((file, text)) = self.text(path, from) else { return Environment::default() };
        let mut variables = Environment::default();
        let lookup = |name: &str| known.get(name).map(str::to_string);
        let result = environment::read(&text, &lookup, &mut variables.0);
        self.variables_read(file, result);
        for (name, value) in &variables.0 {
            if let Some(line) = self.line_of(file, name) {
                self.set.push((name.clone(), Spanned::new(value.clone(), line)));
            }
        }
        variables
    }

    /// Where a file of variables sets one: its value, on the last line that does.
    pub fn line_of(&self, file: u32, name: &str) -> Option<Span> {
        let text = &self.sources.get(file)?.text;
        let mut found = None;
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let set = line.trim_start().trim_start_matches("export ").trim_start();
            if let Some(value) = set.strip_prefix(name).and_then(|rest| rest.trim_start().strip_prefix('=')) {
                let end = start + line.trim_end().len();
                found = Some(Span { file, start: (end - value.trim_end().len().min(end)) as u32, end: end as u32 });
            }
            start += line.len();
        }
        found
    }

    /// What the comments of a file of variables accept, as in every other file. A `#` within a value is part of it.
    fn accepted_in(&mut self, file: u32) {
        let Some(text) = self.sources.get(file).map(|source| source.text.clone()) else { return };
        let mut comments = Comments::new(&text);
        let mut accepted = Vec::new();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let comment = match line.trim_start().starts_with('#') {
                true => line.find('#'),
                false => line.find(" # labwright:").map(|at| at + 1),
            };
            if let Some(at) = comment {
                let words = line[at..].trim_end();
                let span = Span { file, start: (start + at) as u32, end: (start + at + words.len()) as u32 };
                comments.comment(words.trim_start_matches('#'), span, self.findings, &mut accepted);
            }
            start += line.len();
        }
        // Several containers may read one file.
        accepted.retain(|new| !self.allows.contains(new));
        self.allows.append(&mut accepted);
    }

    /// Reports what is wrong with a file of variables.
    pub fn variables_read(&mut self, file: u32, result: Result<Vec<String>, environment::EnvFault>) {
        self.accepted_in(file);
        match result {
            Ok(unset) => {
                for name in unset {
                    let text = self.sources.get(file).map_or("", |source| source.text.as_str());
                    let found = text.find(&format!("${{{name}")).or_else(|| text.find(&format!("${name}")));
                    let at = found.unwrap_or_default() as u32;
                    let span = Span { file, start: at, end: at + name.len() as u32 + 1 };
                    let message = format!("the variable `{name}` is not set: an empty text stands here");
                    let help =
                        format!("set `{name}` further up, or put the value in single quotes if the `$` is meant");
                    let finding = Finding::warning(codes::COMPOSE_VARIABLE, self.at.as_str(), span, message);
                    self.findings.push(finding.help(help));
                }
            }
            Err(fault) => {
                let span = Span { file, start: fault.at as u32, end: fault.at as u32 };
                self.error(codes::COMPOSE_VARIABLE, span, fault.message, fault.help);
            }
        }
    }

    /// The tree of one file, with its variables put in.
    fn tree(&mut self, path: &str, from: Span, origin: &Arc<Origin>) -> Option<Arc<Node>> {
        let (file, text) = self.text(path, from)?;
        self.origins.insert(file, origin.clone());
        let tree = tree::read_compose(file, &text, self.findings, self.allows, &mut self.marks);
        let root = match tree.root {
            Some(root) if matches!(root.kind, Kind::Map(_)) => root,
            root if tree.whole => {
                let found = root.map_or("nothing", |root| root.kind_name());
                let span = Span { file, start: 0, end: 0 };
                let message = format!("`{path}` must be a map with `services:`, found {found}");
                self.error(codes::WRONG_VALUE, span, message, "start with `services:`");
                return None;
            }
            _ => return None,
        };
        let mut values = Values {
            environment: &origin.environment,
            sources: self.sources,
            at: &self.at,
            expanded: &mut self.expanded,
            unset: Vec::new(),
        };
        let tree = interpolate::interpolate(&root, &mut values, self.findings);
        let unset = std::mem::take(&mut values.unset);
        let is_accepted = |span: Span| {
            let code = |allow: &&Allow| allow.code == codes::COMPOSE_VARIABLE && allow.span.file == span.file;
            let mut accepted = self.allows.iter().filter(code).peekable();
            accepted.peek().is_some()
                && text.get(..span.start as usize).is_some_and(|before| {
                    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
                    accepted.any(|allow| allow.line == line)
                })
        };
        self.findings.extend(interpolate::told_unset(&unset, &self.at, &is_accepted));
        Some(tree)
    }

    fn merge(&mut self, base: &Arc<Node>, over: &Arc<Node>, path: &[&str]) -> Arc<Node> {
        let (marks, merged) = (&self.marks, &mut self.merged);
        Merging { marks, merged, at: &self.at, findings: self.findings }.merge(base, over, path)
    }

    /// Several files, the later ones over the earlier ones, with all that they include and extend.
    pub fn files(&mut self, paths: &[(String, Span)], origin: &Arc<Origin>) -> Option<Arc<Node>> {
        let merged = self.merged_files(paths, origin, &mut Vec::new())?;
        if !counted(&merged, &mut { MAX_VALUES }) {
            let from = paths.first().map_or(merged.span, |(_, from)| *from);
            let message = format!("this project has more than {MAX_VALUES} values once everything is extended");
            self.error(codes::TOO_LARGE, from, message, "extend smaller services, or split the project");
            return None;
        }
        Some(without_resets(&merged, &self.marks))
    }

    fn merged_files(
        &mut self,
        paths: &[(String, Span)],
        origin: &Arc<Origin>,
        open: &mut Vec<String>,
    ) -> Option<Arc<Node>> {
        let mut merged: Option<Arc<Node>> = None;
        for (path, from) in paths {
            let identity = clean(path);
            if open.contains(&identity) || open.len() >= MAX_NESTING {
                let chain = open.iter().chain([&identity]).map(String::as_str).collect::<Vec<_>>().join("` → `");
                let message = match open.contains(&identity) {
                    true => format!("include goes round in a circle: `{chain}`"),
                    false => format!("includes are nested deeper than {MAX_NESTING} files"),
                };
                self.error(codes::COMPOSE_EXTENDS, *from, message, "remove one of these includes");
                continue;
            }
            let Some(tree) = self.tree(path, *from, origin) else { continue };
            open.push(identity);
            let tree = self.with_includes(tree, origin, open);
            open.pop();
            let tree = self.with_extends(&tree, path);
            merged = Some(match merged {
                Some(base) => self.merge(&base, &tree, &[]),
                None => tree,
            });
        }
        merged
    }

    /// A tree with what it includes; what it says itself goes over that.
    fn with_includes(&mut self, tree: Arc<Node>, origin: &Arc<Origin>, open: &mut Vec<String>) -> Arc<Node> {
        let (Kind::Map(entries), Some(include)) = (&tree.kind, tree.get("include")) else { return tree };
        let Kind::List(list) = &include.kind else {
            if !include.is_null() {
                let message = format!("`include` must be a list, found {}", include.kind_name());
                self.error(
                    codes::WRONG_VALUE,
                    include.span,
                    message,
                    "write each file on a line of its own: `- other.yaml`",
                );
            }
            return tree;
        };
        let own = entries.iter().filter(|(key, _)| key.text != "include").cloned().collect();
        let mut result = Arc::new(Node { kind: Kind::Map(own), span: tree.span });
        for entry in list {
            let Some(included) = self.include(entry, origin, open) else { continue };
            let Kind::Map(parts) = &included.kind else { continue };
            let parts = parts.iter().filter(|(key, _)| SECTIONS.contains(&key.text.as_str())).cloned().collect();
            let included = Arc::new(Node { kind: Kind::Map(parts), span: included.span });
            result = self.merge(&included, &result, &[]);
        }
        result
    }

    fn include(&mut self, entry: &Arc<Node>, origin: &Arc<Origin>, open: &mut Vec<String>) -> Option<Arc<Node>> {
        let texts = |node: &Arc<Node>| -> Vec<(String, Span)> {
            let items = match &node.kind {
                Kind::List(items) => items.as_slice(),
                _ => std::slice::from_ref(node),
            };
            items.iter().filter_map(|item| Some((item.text()?.to_string(), item.span))).collect()
        };
        if let Kind::Map(entries) = &entry.kind {
            const KEYS: &[&str] = &["path", "project_directory", "env_file"];
            for (key, _) in entries.iter().filter(|(key, _)| !KEYS.contains(&key.text.as_str())) {
                let help = match nearest(&key.text, KEYS.iter().copied()) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("known keys here: {}", KEYS.join(", ")),
                };
                let message = format!("unknown key `{}` in `include`", key.text);
                self.error(codes::UNKNOWN_KEY, key.span, message, help);
            }
        }
        let paths = texts(entry.get("path").unwrap_or(entry));
        let paths: Vec<(String, Span)> =
            paths.into_iter().map(|(path, span)| (joined(&origin.folder, &path), span)).collect();
        let Some((first, _)) = paths.first() else {
            self.error(
                codes::WRONG_VALUE,
                entry.span,
                "an include names no file".into(),
                "write `- other.yaml`, or `- path: other.yaml`",
            );
            return None;
        };
        let folder = match entry.get("project_directory").and_then(|folder| folder.text()) {
            Some(folder) => joined(&origin.folder, folder),
            None => folder_of(first).to_string(),
        };
        let mut environment = (*origin.environment).clone();
        let named = entry.get("env_file").map(texts).unwrap_or_default();
        if named.is_empty() {
            let more = self.variables(&joined(&folder, ".env"), entry.span, false, &environment);
            environment = environment.or(more.0);
        }
        // A later file goes over an earlier one, and what was known before goes over all of them.
        for (path, span) in named.iter().rev().filter(|(path, _)| path != "/dev/null") {
            let more = self.variables(&joined(&origin.folder, path), *span, true, &environment);
            environment = environment.or(more.0);
        }
        let origin = Arc::new(Origin { folder, environment: Arc::new(environment) });
        self.merged_files(&paths, &origin, open)
    }

    /// A tree whose services have what they extend.
    fn with_extends(&mut self, tree: &Arc<Node>, path: &str) -> Arc<Node> {
        let (Kind::Map(sections), Some(services)) = (&tree.kind, tree.get("services")) else { return tree.clone() };
        let Kind::Map(entries) = &services.kind else { return tree.clone() };
        if !entries.iter().any(|(_, service)| service.get("extends").is_some()) {
            return tree.clone();
        }
        let new = entries.iter().map(|(key, _)| (key.clone(), self.extended(key, services, path, &mut Vec::new())));
        let new = Arc::new(Node { kind: Kind::Map(new.collect()), span: services.span });
        let section = |(key, node): &(Key, Arc<Node>)| {
            (key.clone(), if key.text == "services" { new.clone() } else { node.clone() })
        };
        Arc::new(Node { kind: Kind::Map(sections.iter().map(section).collect()), span: tree.span })
    }

    /// A service with what it extends, which stands among `services` of the file at `path`.
    fn extended(&mut self, key: &Key, services: &Arc<Node>, path: &str, chain: &mut Vec<String>) -> Arc<Node> {
        if let Some(done) = self.extended.get(&key.span) {
            return done.clone();
        }
        let name = key.text.as_str();
        let Some(service) = services.get(name).cloned() else {
            return Arc::new(Node { kind: Kind::Null, span: services.span });
        };
        let (Kind::Map(entries), Some(extends)) = (&service.kind, service.get("extends")) else { return service };
        let own = entries.iter().filter(|(key, _)| key.text != "extends").cloned().collect();
        let own = Arc::new(Node { kind: Kind::Map(own), span: service.span });
        let identity = format!("{path}: {name}");
        if chain.contains(&identity) || chain.len() >= MAX_NESTING {
            let circle = chain.iter().chain([&identity]).map(String::as_str).collect::<Vec<_>>().join("` → `");
            let message = match chain.contains(&identity) {
                true => format!("`extends` goes round in a circle: `{circle}`"),
                false => format!("`extends` is nested deeper than {MAX_NESTING} services"),
            };
            self.error(codes::COMPOSE_EXTENDS, extends.span, message, "remove one of these `extends`");
            return own;
        }
        chain.push(identity);
        let result = match self.base(extends, services, path, chain) {
            Some(base) => self.merge(&base, &own, &["services", name]),
            None => own,
        };
        chain.pop();
        self.extended.insert(key.span, result.clone());
        result
    }

    /// What a service extends.
    fn base(
        &mut self,
        extends: &Arc<Node>,
        services: &Arc<Node>,
        path: &str,
        chain: &mut Vec<String>,
    ) -> Option<Arc<Node>> {
        let named = if extends.text().is_some() { Some(extends) } else { extends.get("service") };
        let Some((name, span)) = named.and_then(|named| Some((named.text()?, named.span))) else {
            let help = "write `extends: { service: NAME }`, with `file:` where it is in another one";
            self.error(codes::WRONG_VALUE, extends.span, "`extends` names no service".into(), help);
            return None;
        };
        let other = extends.get("file").and_then(|file| Some((file.text()?.to_string(), file.span)));
        let (services, path) = match other {
            None => (services.clone(), path.to_string()),
            Some((file, span)) => {
                let origin = self.origins.get(&span.file)?.clone();
                let path = joined(&origin.folder, &file);
                let tree = self.base_tree(&path, span, &origin)?;
                let Some(services) = tree.get("services").cloned() else {
                    let message = format!("`{path}` has no services to extend");
                    self.error(codes::COMPOSE_EXTENDS, span, message, "name the file that has the service");
                    return None;
                };
                (services, path)
            }
        };
        let Kind::Map(entries) = &services.kind else { return None };
        match entries.iter().find(|(key, _)| key.text == name) {
            Some((key, _)) => Some(self.extended(key, &services, &path, chain)),
            None => {
                let near = nearest(name, entries.iter().map(|(key, _)| key.text.as_str()));
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "name a service of that file".to_string(),
                };
                self.error(codes::COMPOSE_EXTENDS, span, format!("there is no service `{name}` in `{path}`"), help);
                None
            }
        }
    }

    /// The tree of a file that is extended from; read once, however many extend from it.
    fn base_tree(&mut self, path: &str, from: Span, origin: &Arc<Origin>) -> Option<Arc<Node>> {
        let key = (path.to_string(), Arc::as_ptr(&origin.environment));
        if let Some(tree) = self.bases.get(&key) {
            return tree.clone();
        }
        let folder = folder_of(path).to_string();
        let origin = Arc::new(Origin { folder, environment: origin.environment.clone() });
        let tree = self.tree(path, from, &origin);
        self.bases.insert(key, tree.clone());
        tree
    }
}
