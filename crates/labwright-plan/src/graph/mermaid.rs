//! A graph as a Mermaid flowchart, as code forges and wikis draw it.

use std::fmt::Write;

use super::{Graph, Relation, Shape, plain};

pub fn mermaid(graph: &Graph) -> String {
    let mut out = "flowchart TD\n".to_string();
    for (number, group) in graph.groups.iter().enumerate() {
        let title = match group.note.as_str() {
            "" => label(&group.name),
            note => format!("{} · {}", label(&group.name), label(note)),
        };
        let _ = writeln!(out, "  subgraph g{number}[\"{title}\"]");
        for (n, node) in graph.boxes.iter().enumerate().filter(|(_, node)| node.group == number) {
            let text = match node.note.as_str() {
                "" => label(&node.name),
                note => format!("{}<br/>{}", label(&node.name), label(note)),
            };
            let (open, close) = match node.shape {
                Shape::Internet => ("((", "))"),
                Shape::Role => ("([", "])"),
                Shape::Zone | Shape::Domain => ("{{", "}}"),
                Shape::Host => ("[", "]"),
                Shape::Service => ("(", ")"),
                Shape::Repository => ("[(", ")]"),
            };
            let _ = writeln!(out, "    n{n}{open}\"{text}\"{close}");
        }
        out.push_str("  end\n");
    }
    for arrow in &graph.arrows {
        let line = match arrow.relation {
            Relation::RunsOn => "-->",
            Relation::Needs => "==>",
            Relation::Flow => "-->",
            Relation::BacksUpTo | Relation::Routes | Relation::FailsWith => "-.->",
        };
        let text = match arrow.label.as_str() {
            "" => String::new(),
            text => format!("|\"{}\"|", label(text)),
        };
        let _ = writeln!(out, "  n{} {line}{text} n{}", arrow.from, arrow.to);
    }
    out
}

/// Text between double quotes. Mermaid has its own escapes, with `#` for `&`; anything that it or HTML could read as more
/// than text is written so.
fn label(text: &str) -> String {
    let mut out = String::new();
    for c in plain(text).chars() {
        match c {
            c if c.is_alphanumeric() || " -_.,:/()·…@+".contains(c) => out.push(c),
            c => {
                let _ = write!(out, "#{};", u32::from(c));
            }
        }
    }
    out
}
