//! The lab as documentation: Markdown that can be kept beside the lab file, read without it, and compared by version
//! control. The same lab gives the same pages: no date, no hash, nothing but what the file says and what follows from it.

mod inventory;
mod network;
mod patterns;
mod public;
mod recovery;
mod service;
mod text;

use std::collections::{BTreeSet, HashMap};

use labwright_model::Parsed;
use serde::Serialize;

use crate::assess::{Assessed, Evidence, assess};
use crate::blast::World;
use crate::graph::{By, graph, mermaid};
use crate::topology::Topology;
pub use patterns::Patterns;

/// One page, by its path below the folder of the documentation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Page {
    pub path: String,
    pub title: String,
    /// Markdown; its first line is the marker.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Edition {
    /// For whoever runs the lab: everything that the file says, secrets only by name.
    Internal,
    /// For everybody: the patterns, and no name, address or version.
    Public,
}

impl Edition {
    /// The first line of every page. What does not begin with it was written by a person.
    pub fn marker(self) -> &'static str {
        match self {
            Edition::Internal => "<!-- Written by `labwright docs` from the lab file; edits here are lost. -->",
            Edition::Public => "<!-- Written by `labwright docs --public` from the lab file; edits here are lost. -->",
        }
    }
}

/// Every page of an edition, the index first.
pub fn docs(parsed: &Parsed, edition: Edition) -> Vec<Page> {
    let pages = match edition {
        Edition::Internal => internal(parsed),
        Edition::Public => public::pages(&Patterns::of(parsed)),
    };
    let marked = |page: Page| Page { text: format!("{}\n\n{}", edition.marker(), page.text), ..page };
    pages.into_iter().map(marked).collect()
}

fn page(path: &str, title: &str, body: String) -> Page {
    let text = format!("# {}\n\n{}\n", text::escaped(title), body.trim());
    Page { path: path.to_string(), title: title.to_string(), text }
}

fn internal(parsed: &Parsed) -> Vec<Page> {
    let topology = Topology::of(parsed);
    let world = World::of(parsed);
    let assessment = assess(parsed, &Evidence::File);
    let files = file_names(parsed.lab.services.keys().map(String::as_str));
    let mut pages = vec![
        page("inventory.md", "Inventory", inventory::inventory(&topology, &files)),
        page("addresses.md", "Address plan", network::addresses(parsed)),
        page("network.md", "Network", network::network(parsed)),
        page("map.md", "Map", map(parsed)),
        page("recovery.md", "Recovery order", recovery::recovery(&topology, &files)),
        page("responsibility.md", "Responsibility", service::responsibility(&assessment, &files)),
    ];
    // A row for each placement, in their order.
    let mut rows: HashMap<&str, Vec<&Assessed>> = HashMap::new();
    for (placement, row) in parsed.placements.iter().zip(&assessment.services) {
        rows.entry(&placement.service).or_default().push(row);
    }
    for (name, file) in &files {
        let own = rows.get(name).map_or(&[][..], Vec::as_slice);
        let body = service::service(&topology, &world, own, name, &files);
        pages.push(page(&format!("services/{file}"), name, body));
    }
    pages.insert(0, page("README.md", &format!("Lab {}", parsed.lab.lab.value), index(parsed, &pages)));
    pages
}

fn index(parsed: &Parsed, pages: &[Page]) -> String {
    let lab = &parsed.lab;
    let mut out = format!(
        "{} and {} in `{}`.",
        text::count(lab.compute.hosts.len(), "host"),
        text::count(lab.services.len(), "service"),
        text::escaped(&lab.domain)
    );
    if let Some(owner) = &lab.owner {
        out.push_str(&format!(" Whatever names nobody else is {}'s.", text::escaped(owner)));
    }
    out.push_str(" Everything here follows from the lab file: change that, not these pages.\n\n");
    out.push_str("Something is down? Begin with the [recovery order](recovery.md).\n\n");
    let is_service = |page: &&Page| page.path.starts_with("services/");
    for page in pages.iter().filter(|page| !is_service(page)) {
        out.push_str(&format!("- [{}]({})\n", text::escaped(&page.title), page.path));
    }
    let services: Vec<&Page> = pages.iter().filter(is_service).collect();
    if !services.is_empty() {
        out.push_str("\n## Services\n\n");
        for page in services {
            out.push_str(&format!("- [{}]({})", text::escaped(&page.title), page.path));
            let description = lab.services.get(&page.title).and_then(|service| service.description.as_ref());
            if let Some(description) = description {
                out.push_str(&format!(": {}", text::escaped(description)));
            }
            out.push('\n');
        }
    }
    out
}

fn map(parsed: &Parsed) -> String {
    let layers = mermaid(&graph(parsed, By::Layer));
    let zones = mermaid(&graph(parsed, By::Zone));
    let domains = mermaid(&graph(parsed, By::Domain));
    format!(
        "`labwright graph --format svg` draws the same as a picture.\n\n## What stands on what\n\n```mermaid\n{layers}```\n\n## What may connect to what\n\n```mermaid\n{zones}```\n\n## What fails together\n\n```mermaid\n{domains}```\n"
    )
}

/// A file for each service, in the order of their names. Names that no file can have are bent until one can, and two that
/// come out the same, or differ in case alone, are told apart by a number.
fn file_names<'a>(services: impl Iterator<Item = &'a str>) -> Vec<(&'a str, String)> {
    let names: BTreeSet<&str> = services.collect();
    let mut taken = BTreeSet::new();
    let mut file = |name: &str| {
        let kept = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let bent: String = name.chars().map(|c| if kept(c) { c } else { '-' }).take(100).collect();
        let bent = if bent.is_empty() { "-".to_string() } else { bent };
        let numbered = |n: usize| if n == 1 { bent.clone() } else { format!("{bent}-{n}") };
        let free = (1..).map(numbered).find(|file| !taken.contains(&file.to_lowercase())).unwrap_or_default();
        taken.insert(free.to_lowercase());
        format!("{free}.md")
    };
    names.into_iter().map(|name| (name, file(name))).collect()
}

#[cfg(test)]
mod tests;
