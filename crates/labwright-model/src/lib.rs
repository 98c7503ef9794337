//! What a lab is: text in, a typed lab and findings out.
//!
//! Nothing here reads a file, a clock, the environment or the network. Parsing never fails: it reports, and goes on
//! with what can be read.

pub mod codes;
mod decode;
pub mod finding;
pub mod lab;
mod load;
pub mod reference;
mod resolve;
mod schema;
mod show;
pub mod span;
mod tree;
pub mod units;

use std::rc::Rc;

pub use decode::{Foreign, Many, Table};
pub use finding::{Finding, Findings, Severity};
pub use lab::Lab;
pub use load::{Files, beside};
pub use resolve::{Derived, Placement};
pub use schema::schema;
pub use span::{Place, Source, Sources, Span, Spanned};
pub use tree::{Allow, MAX_FILE_BYTES};

use decode::{Decoder, FromNode};
use tree::{Kind, Node};

/// A lab as far as it could be read, and everything that is known about the reading.
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
    /// The entry could not be read at all.
    pub unreadable: bool,
    root: Rc<Node>,
}

/// Reads the lab at `entry`, a file or a folder.
pub fn parse(entry: &str, files: &dyn Files) -> Parsed {
    let mut findings = Findings::new();
    let loaded = load::load(entry, files, &mut findings);
    let root = loaded.root;
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
    let interpolated = interpolate(&root, &mut findings);
    let mut decoder = Decoder::new(&mut findings);
    let mut lab = Lab::from_node(&interpolated, &mut decoder).unwrap_or_default();
    let placements = resolve::placements(&interpolated, &lab, &mut findings);
    let (derived, implied) = resolve::resolve(&mut lab);
    finding::sort(&mut findings);
    Parsed {
        lab,
        placements,
        findings,
        sources: loaded.sources,
        allows: loaded.allows,
        derived,
        implied,
        unreadable: loaded.unreadable,
        root: interpolated,
    }
}

/// Services have references of their own (`${port}`, `${env}`), so they are read in their own scope.
fn interpolate(root: &Rc<Node>, findings: &mut Findings) -> Rc<Node> {
    let Kind::Map(entries) = &root.kind else { return root.clone() };
    let part = |(key, node): &(tree::Key, Rc<Node>)| {
        let scope = reference::Scope { root, environment: None, in_service: key.text == "services" };
        (key.clone(), reference::interpolate(node, &scope, findings))
    };
    let entries = entries.iter().map(part).collect();
    Rc::new(Node { kind: Kind::Map(entries), span: root.span })
}

impl Parsed {
    /// The lab with every default filled in, as YAML with a comment on each value that no file says.
    pub fn show(&self) -> String {
        show::show(self, &self.root)
    }

    /// The line (from 1) of a span's start, and its file.
    pub fn place(&self, span: Span) -> Option<Place> {
        self.sources.place(span)
    }
}
