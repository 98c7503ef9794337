//! A graph as a picture that any browser shows: groups as bands from top to bottom, boxes in rows, arrows between them.
//! No script, no font of its own, nothing fetched; its colours follow the reader's light or dark theme.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Graph, Relation, Shape, plain};

/// Pixels. The width is bounded; what does not fit goes on in the next row.
const WIDTH: i32 = 1120;
const MARGIN: i32 = 20;
const PADDING: i32 = 16;
const TITLE: i32 = 30;
const BOX: (i32, i32) = (160, 44);
const GAP: (i32, i32) = (16, 30);
const BETWEEN: i32 = 28;
const LEGEND: i32 = 26;
/// Columns of text that a box and a band have room for.
const NAME: usize = 20;
const NOTE: usize = 24;
const HEADING: usize = 120;
const LABEL: usize = 28;

const STYLE: &str = "\
.page{fill:#ffffff}.band{fill:#f4f5f7;stroke:#c9ced6}.heading{font-weight:600}.note{font-size:11px;fill:#555d6b}\
text{font:13px system-ui,sans-serif;fill:#1b1f24}.box{fill:#ffffff;stroke:#5c6675}.role{fill:#e7f0fd;stroke:#3b73c4}\
.zone{fill:#e9f6ec;stroke:#3f8f54}.service{fill:#fff6df;stroke:#a57a14}.repository{fill:#f3eafc;stroke:#8150b3}\
.domain,.internet{fill:#fdeaea;stroke:#b34a4a}.arrow{fill:none;stroke:#6b7585;stroke-width:1.2;opacity:.75}\
.needs{stroke-width:2.4}.backs-up-to{stroke-dasharray:6 4}.routes,.fails-with{stroke-dasharray:2 4}\
.label{font-size:10px;paint-order:stroke;stroke:#ffffff;stroke-width:3px}.head{fill:#6b7585}\
@media(prefers-color-scheme:dark){.page{fill:#14171c}.band{fill:#1c2128;stroke:#3a424e}.note{fill:#a3adbb}text{fill:#e6e9ee}\
.box{fill:#262c35;stroke:#8d98a8}.role{fill:#1d2c44;stroke:#6ea0e8}.zone{fill:#1c3324;stroke:#6cba81}\
.service{fill:#3a3015;stroke:#d4aa46}.repository{fill:#2f2340;stroke:#b58be0}.domain,.internet{fill:#402222;stroke:#e08585}\
.arrow{stroke:#97a2b3}.head{fill:#97a2b3}.label{stroke:#14171c}}";

/// Where a box is: its upper left corner, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub x: i32,
    pub y: i32,
}

/// Where everything of a picture is, in pixels: groups one below another, boxes in rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// By box.
    pub places: Vec<Place>,
    /// By group: its upper edge, and its height.
    pub bands: Vec<(i32, i32)>,
    /// Width and height of the whole.
    pub size: (i32, i32),
    /// Width and height of a box.
    pub of_box: (i32, i32),
}

/// Puts boxes into rows, each as near as can be to what it is joined with above.
pub fn layout(graph: &Graph) -> Layout {
    let mut places: Vec<Place> = graph.boxes.iter().map(|_| Place { x: 0, y: 0 }).collect();
    let mut bands = Vec::new();
    let mut y = MARGIN;
    for number in 0..graph.groups.len() {
        let order = ordered(graph, number, &places);
        let columns = ((WIDTH - 2 * MARGIN - 2 * PADDING + GAP.0) / (BOX.0 + GAP.0)).max(1);
        let rows = (order.len() as i32 + columns - 1) / columns;
        let height = TITLE + rows * BOX.1 + (rows - 1).max(0) * GAP.1 + PADDING;
        for (at, n) in order.iter().enumerate() {
            let (row, column) = (at as i32 / columns, at as i32 % columns);
            let in_row = (order.len() as i32 - row * columns).min(columns);
            let free = WIDTH - 2 * MARGIN - in_row * (BOX.0 + GAP.0) + GAP.0;
            // One box right below another hides the arrows that pass both.
            let aside = if in_row <= 3 { free / 4 * (number as i32 % 3 - 1) } else { 0 };
            let x = MARGIN + free / 2 + aside + column * (BOX.0 + GAP.0);
            places[*n] = Place { x, y: y + TITLE + row * (BOX.1 + GAP.1) };
        }
        bands.push((y, height));
        y += height + BETWEEN;
    }
    Layout { places, bands, size: (WIDTH, y), of_box: BOX }
}

pub fn svg(graph: &Graph, title: &str) -> String {
    let mut bands = String::new();
    let Layout { places, bands: heights, size: (_, y), .. } = layout(graph);
    for (group, (y, height)) in graph.groups.iter().zip(heights) {
        let _ = writeln!(
            bands,
            "<rect class=\"band\" x=\"{MARGIN}\" y=\"{y}\" width=\"{}\" height=\"{height}\" rx=\"8\"/>",
            WIDTH - 2 * MARGIN
        );
        let heading = match group.note.as_str() {
            "" => group.name.clone(),
            note => format!("{} · {note}", group.name),
        };
        let _ = writeln!(
            bands,
            "<text class=\"heading\" x=\"{}\" y=\"{}\">{}</text>",
            MARGIN + PADDING,
            y + 20,
            escaped(&cut(&heading, HEADING))
        );
    }
    let height = y + LEGEND;
    let title = escaped(&plain(title));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" style=\"max-width:100%;height:auto\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n<defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\" markerUnits=\"userSpaceOnUse\"><path class=\"head\" d=\"M0 0 8 4 0 8z\"/></marker></defs>\n<rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\"/>\n{bands}"
    );
    arrows(graph, &places, &mut out);
    boxes(graph, &places, &mut out);
    legend(graph, y, &mut out);
    out.push_str("</svg>\n");
    out
}

/// The boxes of a group, each as near as can be to what it is joined with in the bands above.
fn ordered(graph: &Graph, group: usize, places: &[Place]) -> Vec<usize> {
    let mut own: Vec<(usize, i64)> =
        graph.boxes.iter().enumerate().filter(|(_, node)| node.group == group).map(|(n, _)| (n, 0)).collect();
    let mut sums: Vec<(i64, i64)> = vec![(0, 0); graph.boxes.len()];
    for arrow in &graph.arrows {
        for (one, other) in [(arrow.from, arrow.to), (arrow.to, arrow.from)] {
            if graph.boxes[one].group == group && graph.boxes[other].group < group {
                sums[one].0 += i64::from(places[other].x);
                sums[one].1 += 1;
            }
        }
    }
    for (n, middle) in &mut own {
        let (sum, count) = sums[*n];
        *middle = if count == 0 { i64::MAX } else { sum / count };
    }
    own.sort_by(|(a, middle), (b, other)| (middle, &graph.boxes[*a].shape, a).cmp(&(other, &graph.boxes[*b].shape, b)));
    own.into_iter().map(|(n, _)| n).collect()
}

/// Pixels that a label takes: at most half its width, and its height.
const ROOM: (i32, i32) = (84, 12);

/// The nearest place below one that no label stands in yet. Labels are looked for by rows, so that many cost little.
fn free(taken: &mut BTreeMap<i32, Vec<i32>>, x: i32, y: i32) -> i32 {
    // Further off, nobody would see which arrow it belongs to.
    const STEPS: i32 = 6;
    let is_free = |y: i32| {
        let near = taken.range(y - ROOM.1 + 1..y + ROOM.1);
        near.flat_map(|(_, all)| all).all(|other| (other - x).abs() >= ROOM.0)
    };
    let y = (0..STEPS).map(|step| y + step * ROOM.1).find(|y| is_free(*y)).unwrap_or(y);
    taken.entry(y).or_default().push(x);
    y
}

/// How an arrow runs: its ends, and how far it goes straight on before it bends.
struct Course {
    a: i32,
    b: i32,
    start: i32,
    end: i32,
    bend: i32,
    back: i32,
}

fn course(from: Place, to: Place) -> Course {
    let middle = |place: Place| place.x + BOX.0 / 2;
    let (start, end, bend) = match from.y.cmp(&to.y) {
        std::cmp::Ordering::Less => (from.y + BOX.1, to.y, ((to.y - from.y - BOX.1) / 2).max(12)),
        std::cmp::Ordering::Greater => (from.y, to.y + BOX.1, -((from.y - to.y - BOX.1) / 2).max(12)),
        // Neighbours in a row: out below and back in from below.
        std::cmp::Ordering::Equal => (from.y + BOX.1, to.y + BOX.1, GAP.1),
    };
    let back = if from.y == to.y { end + bend } else { end - bend };
    Course { a: middle(from), b: middle(to), start, end, bend, back }
}

/// The way of an arrow from one box to another, as SVG's `d`.
pub fn path(from: Place, to: Place) -> String {
    let Course { a, b, start, end, bend, back } = course(from, to);
    format!("M{a} {start}C{a} {},{b} {back},{b} {end}", start + bend)
}

fn arrows(graph: &Graph, places: &[Place], out: &mut String) {
    let mut taken: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for arrow in &graph.arrows {
        let (from, to) = (&places[arrow.from], &places[arrow.to]);
        let Course { a, b, start, end, bend, back } = course(*from, *to);
        let class = match arrow.relation {
            Relation::RunsOn | Relation::Flow => "arrow",
            Relation::Needs => "arrow needs",
            Relation::BacksUpTo => "arrow backs-up-to",
            Relation::Routes => "arrow routes",
            Relation::FailsWith => "arrow fails-with",
        };
        let _ = writeln!(out, "<path class=\"{class}\" marker-end=\"url(#head)\" d=\"{}\"/>", path(*from, *to));
        if !arrow.label.is_empty() {
            let x = (a + b) / 2;
            let y = free(&mut taken, x, (start + 3 * (start + bend) + 3 * back + end) / 8);
            let _ = writeln!(
                out,
                "<text class=\"label\" text-anchor=\"middle\" x=\"{x}\" y=\"{y}\">{}<title>{}</title></text>",
                escaped(&cut(&arrow.label, LABEL)),
                escaped(&plain(&arrow.label))
            );
        }
    }
}

fn boxes(graph: &Graph, places: &[Place], out: &mut String) {
    for (node, place) in graph.boxes.iter().zip(places) {
        let shape = match node.shape {
            Shape::Internet => "internet",
            Shape::Role => "role",
            Shape::Zone => "zone",
            Shape::Host => "host",
            Shape::Service => "service",
            Shape::Repository => "repository",
            Shape::Domain => "domain",
        };
        let full = if node.note.is_empty() { node.name.clone() } else { format!("{}: {}", node.name, node.note) };
        let round = if matches!(node.shape, Shape::Role | Shape::Service | Shape::Internet) { 14 } else { 3 };
        let name_y = if node.note.is_empty() { 27 } else { 19 };
        let x = place.x + BOX.0 / 2;
        let _ = write!(
            out,
            "<g><title>{}</title><rect class=\"box {shape}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{round}\"/><text text-anchor=\"middle\" x=\"{x}\" y=\"{}\">{}</text>",
            escaped(&plain(&full)),
            place.x,
            place.y,
            BOX.0,
            BOX.1,
            place.y + name_y,
            escaped(&cut(&node.name, NAME))
        );
        if !node.note.is_empty() {
            let note = escaped(&cut(&node.note, NOTE));
            let _ = write!(
                out,
                "<text class=\"note\" text-anchor=\"middle\" x=\"{x}\" y=\"{}\">{note}</text>",
                place.y + 35
            );
        }
        out.push_str("</g>\n");
    }
}

fn legend(graph: &Graph, y: i32, out: &mut String) {
    let words: &[(Relation, &str)] = &[
        (Relation::RunsOn, "thin: runs on"),
        (Relation::Flow, "with a label: may connect"),
        (Relation::Needs, "thick: needs"),
        (Relation::BacksUpTo, "dashed: is copied to"),
        (Relation::Routes, "dotted: routes"),
        (Relation::FailsWith, "dotted: fails with"),
    ];
    let used = words.iter().filter(|(relation, _)| graph.arrows.iter().any(|arrow| arrow.relation == *relation));
    let text = used.map(|(_, word)| *word).collect::<Vec<_>>().join(" · ");
    let _ = writeln!(out, "<text class=\"note\" x=\"{MARGIN}\" y=\"{y}\">{text}</text>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Text that has room in so many columns. Letters of East Asia and pictures take two.
fn cut(text: &str, columns: usize) -> String {
    let text = plain(text);
    let width = |c: char| if u32::from(c) >= 0x1100 { 2 } else { 1 };
    if text.chars().map(width).sum::<usize>() <= columns {
        return text;
    }
    let mut used = 1;
    let kept = text.chars().take_while(|c| {
        used += width(*c);
        used <= columns
    });
    kept.chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_apart() {
        let mut taken = BTreeMap::new();
        assert_eq!(free(&mut taken, 100, 50), 50);
        assert_eq!((free(&mut taken, 110, 50), free(&mut taken, 100, 55)), (62, 79));
        assert_eq!((free(&mut taken, 300, 50), free(&mut taken, 100, 10)), (50, 10));
    }
}
