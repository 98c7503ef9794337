//! A graph in Graphviz' language.

use std::fmt::Write;

use super::{Graph, Relation, Shape, plain};

pub fn dot(graph: &Graph) -> String {
    let mut out = String::from(
        "digraph lab {\n  rankdir=TB\n  bgcolor=\"transparent\"\n  node [shape=box, style=rounded, fontname=\"sans-serif\"]\n  edge [fontname=\"sans-serif\", fontsize=10]\n",
    );
    for (number, group) in graph.groups.iter().enumerate() {
        let title = lines(&group.name, &group.note);
        let _ = writeln!(out, "  subgraph cluster_{number} {{\n    label={title}");
        for (n, node) in graph.boxes.iter().enumerate().filter(|(_, node)| node.group == number) {
            let shape = match node.shape {
                Shape::Internet => "ellipse",
                Shape::Role => "component",
                Shape::Zone | Shape::Domain => "hexagon",
                Shape::Host => "box3d",
                Shape::Service => "box",
                Shape::Repository => "cylinder",
            };
            let _ = writeln!(out, "    n{n} [label={}, shape={shape}]", lines(&node.name, &node.note));
        }
        out.push_str("  }\n");
    }
    for arrow in &graph.arrows {
        let style = match arrow.relation {
            Relation::RunsOn => "solid",
            Relation::Needs => "bold",
            Relation::Flow => "solid",
            Relation::BacksUpTo => "dashed",
            Relation::Routes | Relation::FailsWith => "dotted",
        };
        let label = match arrow.label.as_str() {
            "" => String::new(),
            text => format!(", label={}", quoted(text)),
        };
        let _ = writeln!(out, "  n{} -> n{} [style={style}{label}]", arrow.from, arrow.to);
    }
    out.push_str("}\n");
    out
}

fn lines(name: &str, note: &str) -> String {
    match note {
        "" => quoted(name),
        note => format!("\"{}\\n{}\"", escaped(name), escaped(note)),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// A backslash begins an escape, and a label also reads entities as HTML does.
fn escaped(text: &str) -> String {
    plain(text).replace('\\', "\\\\").replace('"', "\\\"").replace('&', "&amp;")
}
