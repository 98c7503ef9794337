//! The lab as a picture: boxes in groups, and arrows between them. By layer, by zone, or by what fails together.
//! Says what is drawn; `mermaid`, `dot` and `svg` say how.

mod build;
mod dot;
mod mermaid;
mod svg;

use serde::Serialize;

pub use build::graph;
pub use dot::dot;
pub use mermaid::mermaid;
pub use svg::{Layout, Place, layout, path, svg};

/// What boxes are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The six layers of the lab file.
    Layer,
    /// The network's zones, with the flows between them.
    Zone,
    /// Sites, and what fails together in each.
    Domain,
}

/// What a box stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    Internet,
    Role,
    Zone,
    Host,
    Service,
    Repository,
    /// What the file calls a failure domain.
    Domain,
}

/// What an arrow says, from its tail to its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// Runs on, or is played by.
    RunsOn,
    Needs,
    BacksUpTo,
    /// A flow lets traffic through.
    Flow,
    /// The router routes a zone.
    Routes,
    /// Fails together with.
    FailsWith,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Graph {
    pub by: By,
    pub groups: Vec<Group>,
    pub boxes: Vec<Node>,
    pub arrows: Vec<Arrow>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    pub name: String,
    /// What the group says of itself: a zone's VLAN and subnet.
    pub note: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// `host/docker-01`: unique in the graph.
    pub id: String,
    pub name: String,
    pub note: String,
    pub shape: Shape,
    /// The number of its group, from 0.
    pub group: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Arrow {
    /// The numbers of its boxes, from 0.
    pub from: usize,
    pub to: usize,
    pub relation: Relation,
    /// What a flow lets through; else empty.
    pub label: String,
}

/// Text on one line, without what no format takes: control characters, and marks that turn the direction of reading.
fn plain(text: &str) -> String {
    let shown = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
    };
    text.chars().map(|c| if shown(c) { c } else { ' ' }).collect()
}

#[cfg(test)]
mod tests;
