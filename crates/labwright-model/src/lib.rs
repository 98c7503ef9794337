//! What a lab is: text in, a typed lab and findings out.
//!
//! Nothing here reads a file, a clock, the environment or the network. Parsing never fails: it reports, and goes on
//! with what can be read.

mod allow;
pub mod codes;
pub mod compose;
mod decode;
pub mod finding;
pub mod here;
pub mod lab;
mod load;
pub mod reference;
mod resolve;
mod schema;
mod show;
pub mod snapshot;
pub mod span;
pub mod store;
mod syntax;
mod texts;
mod threads;
mod tree;
pub mod units;
mod zone_kind;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

pub use allow::Allow;
pub use decode::{Foreign, Many, Section, Table};
pub use finding::{Finding, Findings, Severity};
pub use lab::Lab;
pub use load::{Files, beside};
pub use resolve::{Derived, Placement, role_hosts};
pub use schema::schema;
pub use span::{Place, Source, Sources, Span, Spanned};
pub use store::Store;
pub use texts::{Step, Text};
pub use threads::side_by_side;
pub use tree::MAX_FILE_BYTES;
pub use zone_kind::{carrier, hypervisors, router};

use foldhash::HashMap;

use decode::{Decoder, FromNode};
use reference::{Found, Known, Scope, Within};
use tree::{Kind, Node};

/// Maps with more entries than this are indexed when a place in them is asked for.
const LONG_MAP: usize = 32;

/// A lab as far as it could be read, and everything that is known about the reading.
#[derive(Clone)]
pub struct Parsed {
    pub lab: Lab,
    /// The services as they are placed: once, or once in each of their environments.
    pub placements: Vec<Placement>,
    /// Faults of the text itself; the rules in `labwright-plan` add theirs.
    pub findings: Findings,
    pub sources: Sources,
    /// Findings that the user accepted in a comment.
    pub allows: Vec<Allow>,
    /// Values that no file says and that are not plain defaults, with where they come from.
    pub derived: Vec<Derived>,
    /// Hosts that exist only because a role names them.
    pub implied: Vec<String>,
    /// The secrets that the lab refers to, each time it does, with the place.
    pub secrets: Vec<Spanned<String>>,
    /// The store of secrets, where the lab names one.
    pub store: Option<Store>,
    /// The Compose projects of its services as they are placed, by `compose::key`: those of `compose` and of `containers`.
    pub projects: BTreeMap<String, compose::Project>,
    /// No file of the lab could be read at all.
    pub unreadable: bool,
    /// Something that belongs to the lab could not be read: a file is missing or is not YAML. What the rest says can be
    /// shown, but not judged.
    pub incomplete: bool,
    /// The day that the lab is judged on. `None` until somebody says it: nothing here reads a clock, and without a day no
    /// rule says that anything is overdue.
    pub as_of: Option<units::Date>,
    root: Arc<Node>,
    /// Where each key of a long map stands in it, by the map's own place in memory; the tree never changes.
    indexes: Arc<RwLock<HashMap<usize, HashMap<String, usize>>>>,
    /// Paths of values that a short form gives.
    short: std::collections::HashSet<String>,
}

/// Reads the lab at `entry`, a file or a folder.
pub fn parse(entry: &str, files: &dyn Files) -> Parsed {
    read(entry, files, None).0
}

/// Reads the same lab with every host placed on one machine: addresses, ports and what stands in for services are those
/// that hold there, before anything refers to them.
pub fn parse_here(entry: &str, files: &dyn Files, ask: &here::Ask) -> (Parsed, here::Ports) {
    read(entry, files, Some(ask))
}

fn read(entry: &str, files: &dyn Files, ask: Option<&here::Ask>) -> (Parsed, here::Ports) {
    let mut findings = Findings::new();
    let mut loaded = load::load(entry, files, &mut findings);
    let (root, ports) = match ask {
        Some(ask) => here::place(&loaded.root, ask),
        None => (loaded.root, here::Ports::default()),
    };
    let here = ask.map(|_| &ports);
    let empty = match &root.kind {
        Kind::Map(entries) => entries.is_empty(),
        Kind::Null => true,
        _ => false,
    };
    if empty && findings.is_empty() {
        let span = loaded.sources.iter().next().map_or(Span::NONE, |_| Span { file: 0, start: 0, end: 0 });
        let finding = Finding::error(codes::EMPTY, "", span, format!("`{entry}` is empty: there is no lab in it"));
        findings.push(finding.help("start with `lab: home`, then add `compute:` with your hosts"));
    }
    let mut found = Found::default();
    let chosen = resolve::chosen_ports(&root);
    let root = interpolate(&root, &loaded.sources, loaded.store.as_ref(), here, &mut found);
    findings.append(&mut found.findings);
    let mut decoder = Decoder::new(&mut findings);
    let mut lab = Lab::from_node(&root, &mut decoder).unwrap_or_default();
    let short = decoder.short();
    let (mut derived, implied) = resolve::resolve(&mut lab, &chosen);
    if here.is_some() {
        here::settle(&mut lab);
    }
    let (mut placements, nodes) =
        resolve::placements(&root, &lab, &loaded.sources, loaded.store.as_ref(), here, &mut findings);
    zone_kind::guess(&mut lab, &placements, &mut derived);
    let (sources, allows) = (&mut loaded.sources, &mut loaded.allows);
    let projects = compose::of_lab(&mut placements, &nodes, files, sources, allows, &mut findings);
    resolve::ports(&placements, &projects, &mut findings);
    for mounted in projects.values().flat_map(compose::Project::lab_secrets) {
        if !found.secrets.iter().any(|known| *known == mounted && known.span == mounted.span) {
            found.secrets.push(mounted);
        }
    }
    finding::sort(&mut findings);
    let parsed = Parsed {
        lab,
        placements,
        findings,
        sources: loaded.sources,
        allows: loaded.allows,
        derived,
        implied,
        secrets: found.secrets,
        store: loaded.store,
        projects,
        unreadable: loaded.unreadable,
        incomplete: loaded.incomplete,
        as_of: None,
        root,
        indexes: Arc::default(),
        short,
    };
    (parsed, ports)
}

/// Services have references of their own (`${port}`, `${env}`), so each is read in its own scope.
fn interpolate(
    root: &Arc<Node>,
    sources: &Sources,
    store: Option<&Store>,
    here: Option<&here::Ports>,
    found: &mut Found,
) -> Arc<Node> {
    let Kind::Map(sections) = &root.kind else { return root.clone() };
    let known = Known::new(root, sources, store).placed(here);
    let section = |(key, node): &(tree::Key, Arc<Node>)| {
        let new = match &node.kind {
            Kind::Map(services) if key.text == "services" => {
                let service = |(name, service): &(tree::Key, Arc<Node>)| {
                    let placed = service.get("environments").is_some_and(|environments| !environments.is_null());
                    let within = if placed { Within::Environments } else { Within::Service };
                    let port = resolve::port(&name.text, service);
                    (name.clone(), reference::interpolate(service, &Scope { known: &known, within, port }, found))
                };
                Arc::new(Node { kind: Kind::Map(services.iter().map(service).collect()), span: node.span })
            }
            _ => reference::interpolate(node, &Scope { known: &known, within: Within::Lab, port: None }, found),
        };
        (key.clone(), new)
    };
    Arc::new(Node { kind: Kind::Map(sections.iter().map(section).collect()), span: root.span })
}

impl Parsed {
    /// The lab with every default filled in, as YAML with a comment on each value that no file says.
    pub fn show(&self) -> String {
        show::show(self, &self.root)
    }

    /// Where a value stands in the user's files, by its path: `["edge", "vpn", "wireguard"]`. Where the file does not go
    /// that deep (a short form, a default), the place of what it does say; `Span::NONE` where it says nothing of it.
    pub fn span_of(&self, path: &[&str]) -> Span {
        if let Some(span) = self.in_compose_file(path) {
            return span;
        }
        let mut node = &self.root;
        for (depth, part) in path.iter().enumerate() {
            let inner = match &node.kind {
                Kind::List(items) => part.parse::<usize>().ok().and_then(|number| items.get(number)),
                Kind::Map(entries) if entries.len() > LONG_MAP => self.entry(entries, part),
                _ => node.get(part),
            };
            match inner {
                Some(inner) => node = inner,
                None if depth == 0 => return Span::NONE,
                None => return node.span,
            }
        }
        node.span
    }

    /// The project of a placed service, where it is one of containers.
    pub fn project(&self, placement: &Placement) -> Option<&compose::Project> {
        match &placement.environment {
            None => self.projects.get(&placement.service),
            environment => self.projects.get(&compose::key(&placement.service, environment.as_deref())),
        }
    }

    /// Where something of a placed service's containers stands in its Compose file: `["web", "image"]`. `None` where its
    /// containers stand in the lab file.
    pub fn in_project(&self, placement: &Placement, path: &[&str]) -> Option<Span> {
        self.project(placement).filter(|project| !project.inline)?.span_of(path)
    }

    /// As `span_of`, for containers that stand in a Compose file: its own file and line.
    fn in_compose_file(&self, path: &[&str]) -> Option<Span> {
        let (service, environment, rest) = match path {
            ["services", service, "containers", rest @ ..] => (service, None, rest),
            ["services", service, "environments", environment, "containers", rest @ ..] => {
                (service, Some(*environment), rest)
            }
            _ => return None,
        };
        let of_service = |(key, project): &(&String, &compose::Project)| {
            !project.inline
                && match environment {
                    Some(environment) => **key == compose::key(service, Some(environment)),
                    None => key.split('@').next() == Some(service),
                }
        };
        let (_, project) = self
            .projects
            .range(service.to_string()..)
            .take_while(|(key, _)| key.starts_with(*service))
            .find(of_service)?;
        if environment.is_some() && !self.is_said(&["services", service, "environments", path[3], "compose"]) {
            return None;
        }
        project.span_of(rest)
    }

    /// Whether the lab file has a value at a path.
    pub fn is_said(&self, path: &[&str]) -> bool {
        let mut node = &self.root;
        path.iter().all(|part| {
            let inner = match &node.kind {
                Kind::Map(entries) if entries.len() > LONG_MAP => self.entry(entries, part),
                _ => node.get(part),
            };
            inner.map(|inner| node = inner).is_some()
        })
    }

    /// An entry of a long map, by an index that is made when the map is first asked: rules ask for each of a thousand
    /// services, and a search from the front for each would grow with their square.
    fn entry<'a>(&self, entries: &'a [(tree::Key, Arc<Node>)], key: &str) -> Option<&'a Arc<Node>> {
        let map = entries.as_ptr() as usize;
        let known = self.indexes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = known.get(&map) {
            return index.get(key).map(|at| &entries[*at].1);
        }
        drop(known);
        let index = || entries.iter().enumerate().rev().map(|(at, (key, _))| (key.text.clone(), at)).collect();
        let mut indexes = self.indexes.write().unwrap_or_else(PoisonError::into_inner);
        indexes.entry(map).or_insert_with(index).get(key).map(|at| &entries[*at].1)
    }

    /// The line (from 1) of a span's start, and its file.
    pub fn place(&self, span: Span) -> Option<Place> {
        self.sources.place(span)
    }
}
