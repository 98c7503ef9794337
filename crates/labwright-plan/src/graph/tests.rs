//! From a lab's text to pictures. Whether Graphviz and Mermaid themselves read them is tested with the program.

use expect_test::{Expect, expect};
use labwright_model::{Files, Parsed, parse};
use proptest::prelude::*;

use super::*;

struct One<'a>(&'a str);

impl Files for One<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        if path == "lab.yaml" { Ok(self.0.as_bytes().to_vec()) } else { Err("no such file".to_string()) }
    }
    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

fn lab(text: &str) -> Parsed {
    parse("lab.yaml", &One(text))
}

const SMALL: &str = r#"
edge: { router: gw }
network:
  zones: { servers: { vlan: 20, subnet: 10.0.20.0/24 }, guest: {} }
  flows:
    - { from: guest, to: internet }
    - { from: guest, to: wiki, allow: https }
    - { from: guest, to: service/wiki, allow: dns }
compute:
  hosts:
    gw: { routes: [servers, guest], site: home }
    box: { zone: servers, address: 10.0.20.5, vm: { on: big } }
    big: { failure_domain: ups, site: home }
services:
  wiki: { run: wiki, on: box, needs: [db], backup: nightly }
  db: { external: elsewhere }
protection: { repositories: { nas: { on: big } }, policies: { nightly: { to: nas } } }
"#;

#[track_caller]
fn drawn(by: By, golden: Expect) {
    golden.assert_eq(&mermaid(&graph(&lab(SMALL), by)));
}

#[test]
fn layers() {
    drawn(
        By::Layer,
        expect![[r#"
        flowchart TD
          subgraph g0["Edge and access"]
            n0(["router"])
          end
          subgraph g1["Network segmentation"]
            n1{{"servers<br/>VLAN 20, 10.0.20.0/24"}}
            n2{{"guest"}}
          end
          subgraph g2["Application services"]
            n3("wiki<br/>lab")
            n4("db<br/>at elsewhere")
          end
          subgraph g3["Compute"]
            n5["gw"]
            n6["box<br/>10.0.20.5, servers"]
            n7["big"]
          end
          subgraph g4["Data protection"]
            n8[("nas")]
          end
          n0 -.-> n1
          n0 -.-> n2
          n0 --> n5
          n3 ==> n4
          n3 --> n6
          n3 -.-> n8
          n6 --> n7
          n8 --> n7
    "#]],
    );
}

#[test]
fn zones() {
    drawn(
        By::Zone,
        expect![[r#"
        flowchart TD
          subgraph g0["internet"]
            n0(("internet"))
          end
          subgraph g1["servers · VLAN 20, 10.0.20.0/24"]
            n1{{"servers<br/>the whole zone"}}
            n4["box<br/>10.0.20.5"]
            n6("wiki<br/>lab")
          end
          subgraph g2["guest"]
            n2{{"guest<br/>the whole zone"}}
          end
          subgraph g3["in no zone"]
            n3["gw"]
            n5["big"]
          end
          n2 -->|"any"| n0
          n2 -->|"https, dns"| n6
          n6 --> n4
    "#]],
    );
}

#[test]
fn domains() {
    drawn(
        By::Domain,
        expect![[r#"
        flowchart TD
          subgraph g0["home · site"]
            n0["gw"]
            n1["box<br/>10.0.20.5"]
            n2["big"]
            n3{{"ups<br/>fails together"}}
            n4("wiki<br/>lab")
            n6[("nas<br/>repository")]
          end
          subgraph g1["elsewhere · run by others"]
            n5("db<br/>at elsewhere")
          end
          n1 --> n2
          n2 -.-> n3
          n4 --> n1
          n4 ==> n5
          n4 -.-> n6
          n6 --> n2
    "#]],
    );
}

#[test]
fn dot_of_domains() {
    expect![[r#"
        digraph lab {
          rankdir=TB
          bgcolor="transparent"
          node [shape=box, style=rounded, fontname="sans-serif"]
          edge [fontname="sans-serif", fontsize=10]
          subgraph cluster_0 {
            label="home\nsite"
            n0 [label="gw", shape=box3d]
            n1 [label="box\n10.0.20.5", shape=box3d]
            n2 [label="big", shape=box3d]
            n3 [label="ups\nfails together", shape=hexagon]
            n4 [label="wiki\nlab", shape=box]
            n6 [label="nas\nrepository", shape=cylinder]
          }
          subgraph cluster_1 {
            label="elsewhere\nrun by others"
            n5 [label="db\nat elsewhere", shape=box]
          }
          n1 -> n2 [style=solid]
          n2 -> n3 [style=dotted]
          n4 -> n1 [style=solid]
          n4 -> n5 [style=bold]
          n4 -> n6 [style=dashed]
          n6 -> n2 [style=solid]
        }
    "#]]
    .assert_eq(&dot(&graph(&lab(SMALL), By::Domain)));
}

/// Text that every format has an escape for, and some that none takes.
const NASTY: &str = "a\"b\\c<d>&e'f`g;h#i|j{k}[l]\n\u{1b}\u{202e}end";

fn nasty(name: &str) -> Graph {
    let node = |n: usize, group| Node {
        id: n.to_string(),
        name: name.into(),
        note: name.into(),
        shape: Shape::Service,
        group,
    };
    Graph {
        by: By::Layer,
        groups: vec![Group { name: name.into(), note: name.into() }, Group { name: name.into(), note: String::new() }],
        boxes: vec![node(0, 0), node(1, 1), node(2, 1)],
        arrows: vec![
            Arrow { from: 0, to: 1, relation: Relation::Flow, label: name.into() },
            Arrow { from: 1, to: 2, relation: Relation::Needs, label: String::new() },
            Arrow { from: 2, to: 0, relation: Relation::BacksUpTo, label: String::new() },
        ],
    }
}

#[test]
fn no_text_ends_what_it_stands_in() {
    expect![[r#"
        flowchart TD
          subgraph g0["a#34;b#92;c#60;d#62;#38;e#39;f#96;g#59;h#35;i#124;j#123;k#125;#91;l#93;   end · a#34;b#92;c#60;d#62;#38;e#39;f#96;g#59;h#35;i#124;j#123;k#125;#91;l#93;   end"]
            n0("a#34;b#92;c#60;d#62;#38;e#39;f#96;g#59;h#35;i#124;j#123;k#125;#91;l#93;   end<br/>a#34;b#92;c#60;d#62;#38;e#39;f#96;g#59;h#35;i#124;j#123;k#125;#91;l#93;   end")
          end
          subgraph g1["a#34;b#92;c#60;d#62;#38;e#39;f#96;g#59;h#35;i#124;j#123;k#125;#91;l#93;   end"]
            n1("a#34;b#92;c#60;d#62;#38;e#39;f#96;g#59;h#35;i#124;j#123;k#125;#91;l#93;   end<br/>a#34;b#92;c#60;d#62;#38;e#39;f#96;g#59;h#35;i#124;j#123;k#125;#91;l#93;   end")
            n2("a#34;b#92;c#60;d#62;#38;e#39;f#96;g#59;h#35;i#124;j#123;k#125;#91;l#93;   end<br/>a#34;b#92;c#60;d#62;#38;e#39;f#96;g#59;h#35;i#124;j#123;k#125;#91;l#93;   end")
          end
          n0 -->|"a#34;b#92;c#60;d#62;#38;e#39;f#96;g#59;h#35;i#124;j#123;k#125;#91;l#93;   end"| n1
          n1 ==> n2
          n2 -.-> n0
    "#]].assert_eq(&mermaid(&nasty(NASTY)));
    expect![[r#"
        digraph lab {
          rankdir=TB
          bgcolor="transparent"
          node [shape=box, style=rounded, fontname="sans-serif"]
          edge [fontname="sans-serif", fontsize=10]
          subgraph cluster_0 {
            label="a\"b\\c<d>&amp;e'f`g;h#i|j{k}[l]   end\na\"b\\c<d>&amp;e'f`g;h#i|j{k}[l]   end"
            n0 [label="a\"b\\c<d>&amp;e'f`g;h#i|j{k}[l]   end\na\"b\\c<d>&amp;e'f`g;h#i|j{k}[l]   end", shape=box]
          }
          subgraph cluster_1 {
            label="a\"b\\c<d>&amp;e'f`g;h#i|j{k}[l]   end"
            n1 [label="a\"b\\c<d>&amp;e'f`g;h#i|j{k}[l]   end\na\"b\\c<d>&amp;e'f`g;h#i|j{k}[l]   end", shape=box]
            n2 [label="a\"b\\c<d>&amp;e'f`g;h#i|j{k}[l]   end\na\"b\\c<d>&amp;e'f`g;h#i|j{k}[l]   end", shape=box]
          }
          n0 -> n1 [style=solid, label="a\"b\\c<d>&amp;e'f`g;h#i|j{k}[l]   end"]
          n1 -> n2 [style=bold]
          n2 -> n0 [style=dashed]
        }
    "#]]
    .assert_eq(&dot(&nasty(NASTY)));
}

/// The picture is XML without a script, and boxes stay inside it and off each other.
fn well_drawn(text: &str, boxes: usize) {
    let document = roxmltree::Document::parse(text).unwrap();
    let root = document.root_element();
    let number = |node: &roxmltree::Node, name: &str| node.attribute(name).unwrap().parse::<i32>().unwrap();
    let (width, height) = (number(&root, "width"), number(&root, "height"));
    assert!(width <= 1120);
    let is_box = |node: &roxmltree::Node| node.attribute("class").is_some_and(|class| class.starts_with("box "));
    let found = document.descendants().filter(is_box);
    let rects: Vec<[i32; 4]> =
        found.map(|node| ["x", "y", "width", "height"].map(|name| number(&node, name))).collect();
    assert_eq!(rects.len(), boxes);
    for (n, [x, y, w, h]) in rects.iter().enumerate() {
        assert!(*x >= 0 && *y >= 0 && x + w <= width && y + h <= height, "box {n} is outside");
        for [ox, oy, ow, oh] in &rects[..n] {
            assert!(*x >= ox + ow || *ox >= x + w || *y >= oy + oh || *oy >= y + h, "box {n} covers another");
        }
    }
    assert!(document.descendants().all(|node| node.tag_name().name() != "script"));
    assert!(text.contains("prefers-color-scheme:dark"));
}

#[test]
fn the_picture_is_xml_with_every_box_in_it() {
    let whole = include_str!("../../../labwright-model/tests/whole.yaml");
    for text in [SMALL, whole, include_str!("../../../../examples/reference/lab.yaml")] {
        for by in [By::Layer, By::Zone, By::Domain] {
            let graph = graph(&lab(text), by);
            well_drawn(&svg(&graph, "a <lab> & \"more\""), graph.boxes.len());
        }
    }
    well_drawn(&svg(&nasty(NASTY), NASTY), 3);
    well_drawn(&svg(&graph(&lab("lab: home\n"), By::Layer), "nothing"), 0);
}

proptest! {
    #[test]
    fn any_text_is_drawn(name in any::<String>()) {
        let name = format!("x{name}");
        well_drawn(&svg(&nasty(&name), &name), 3);
        let text = mermaid(&nasty(&name));
        prop_assert_eq!(text.lines().count(), 11, "{}", text);
        prop_assert_eq!(text.matches('"').count(), 12);
    }
}
