//! Who needs whom, drawn: what needs nobody stands above, and the chain that decided how long the start took is marked.

use std::collections::BTreeSet;

use labwright_plan::graph::{Arrow, By, Graph, Group, Layout, Node, Relation, Shape, layout, path};
use maud::{Markup, html};

use super::{Page, Region, page, region, tone};
use crate::app::App;
use crate::facts;
use crate::hub::Snapshot;

/// Letters that a box has room for.
const NAME: usize = 20;

pub fn render(app: &App) -> Markup {
    let body = html! { h1 { "Who needs whom" } (region(picture(app, &app.now.borrow()))) };
    page(app, Page { title: "Graph", menu: "/graph", events: "/events?page=graph".into(), body })
}

pub fn regions(app: &App, now: &Snapshot) -> Vec<Region> {
    vec![picture(app, now)]
}

/// The units as boxes in rows by how deep they stand.
fn graph(app: &App) -> Graph {
    let units = &app.up.units;
    let depths: Vec<usize> = units.iter().map(|unit| facts::depth(&app.up, &unit.name)).collect();
    let deepest = depths.iter().max().map_or(0, |deepest| deepest + 1);
    let node = |(unit, depth): (&labwright_model::snapshot::up::Unit, &usize)| Node {
        id: unit.name.clone(),
        name: unit.name.clone(),
        note: String::new(),
        shape: Shape::Service,
        group: *depth,
    };
    let index = |name: &str| units.iter().position(|unit| unit.name == name);
    let mut arrows = Vec::new();
    for (to, unit) in units.iter().enumerate() {
        for from in unit.needs.iter().filter_map(|need| index(need)) {
            arrows.push(Arrow { from, to, relation: Relation::Needs, label: String::new() });
        }
    }
    let groups = (0..deepest).map(|_| Group { name: String::new(), note: String::new() }).collect();
    Graph { by: By::Layer, groups, boxes: units.iter().zip(&depths).map(node).collect(), arrows }
}

fn picture(app: &App, now: &Snapshot) -> Region {
    let graph = graph(app);
    let Layout { places, size: (width, height), of_box, .. } = layout(&graph);
    let critical = facts::critical_path(&app.up, now);
    let on_it: BTreeSet<(&str, &str)> = critical.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let well = critical.last().and_then(|last| now.first.get(last)?.well);
    let mut arrows: Vec<(bool, String)> = graph
        .arrows
        .iter()
        .map(|arrow| {
            let ends = (graph.boxes[arrow.from].id.as_str(), graph.boxes[arrow.to].id.as_str());
            (on_it.contains(&ends), path(places[arrow.from], places[arrow.to]))
        })
        .collect();
    // What is marked lies above what is not.
    arrows.sort();
    let content = html! {
        @if let Some(well) = well.filter(|_| critical.len() > 1) {
            p { "Critical path: " strong { (critical.join(" → ")) } ", " (facts::duration(well)) " in all" }
        }
        div.wide tabindex="0" {
            svg.graph viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) role="img" aria-label="who needs whom" {
                defs { marker #head viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto" markerUnits="userSpaceOnUse" {
                    path d="M0 0 8 4 0 8z" {}
                } }
                @for (marked, d) in &arrows {
                    path class=(if *marked { "arrow critical" } else { "arrow" }) d=(d) marker-end="url(#head)" {}
                }
                @for (node, place) in graph.boxes.iter().zip(&places) {
                    @let status = facts::status(now, &node.id);
                    @let phase = status.map(|status| status.phase).unwrap_or_default();
                    @let marked = critical.len() > 1 && critical.contains(&node.id);
                    a href={ "/unit/" (node.id) } {
                        title { (node.id) ": " (phase.word()) }
                        rect class={ "box " (tone(phase)) @if marked { " critical" } } x=(place.x) y=(place.y) width=(of_box.0) height=(of_box.1) rx="8" {}
                        text x=(place.x + of_box.0 / 2) y=(place.y + 19) text-anchor="middle" { (cut(&node.name)) }
                        text.note x=(place.x + of_box.0 / 2) y=(place.y + 35) text-anchor="middle" {
                            (phase.word())
                            @if let Some(took) = status.and_then(|status| status.took) { " · " (facts::duration(took)) }
                        }
                    }
                }
            }
        }
        p.quiet { "An arrow leads from what has to be well to what waits for it." }
    };
    ("picture".into(), content)
}

fn cut(name: &str) -> String {
    match name.chars().count() {
        0..=NAME => name.to_string(),
        _ => name.chars().take(NAME - 1).chain(['…']).collect(),
    }
}
