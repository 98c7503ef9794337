//! What people wrote about their labs, and rules name by number: five documents, told by their titles.
//! Threads, standards and manuals are named where they are cited.

use std::fmt::Write;

/// The documents, by number.
const DOCUMENTS: &[&str] = &[
    "\"Homelab Architecture\", a reference architecture: layers, zones, an inventory model, practices",
    "\"Homelab State of the Union 2026\", a lab of NixOS machines on Proxmox, and what its owner still misses",
    "\"Homelabs, self-hosting, and doing whatever the fsck you want\", on who is responsible: levels, lab and production",
    "\"The patterns we use. Not the specifics\", a hosted lab: no open port, isolated containers, default deny",
    "\"Homelab Infrastructure\", a case study: seven hosts with one job each, and what was learnt from them",
];

/// Which documents a page names, as the lines that close it; nothing where it names none.
pub(super) fn named(page: &str) -> String {
    let page = page.to_lowercase();
    let mut out = String::new();
    for (number, title) in DOCUMENTS.iter().enumerate() {
        if page.contains(&format!("document {number}")) {
            let _ = write!(out, "\nDocument {number} is {title}.\n");
        }
    }
    out
}

/// Whether a page says where it comes from: a document, a thread, a standard or a manual.
#[cfg(test)]
pub(super) fn has_source(page: &str) -> bool {
    // An address in backticks is an example and no source.
    let words =
        || page.split(|c: char| c.is_whitespace() || "(),;".contains(c)).map(|word| word.trim_end_matches([':', '.']));
    let thread = |word: &str| {
        word.split_once('#').is_some_and(|(repository, number)| {
            repository.split('/').filter(|part| !part.is_empty()).count() == 2 && number.parse::<u32>().is_ok()
        })
    };
    !named(page).is_empty()
        || page.contains("RFC ")
        || page.contains("IEEE ")
        || words().any(|word| thread(word) || word.starts_with("https://"))
}
