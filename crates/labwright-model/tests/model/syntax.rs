//! Texts that are not YAML, or more of it than a lab may be: one clear finding at its place, and never a panic.

use std::collections::BTreeMap;

use expect_test::expect;
use labwright_model::{MAX_FILE_BYTES, parse};

use crate::support::{InMemory, check, read, shown};

#[test]
fn an_alias_bomb_stops_at_once() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_string();
    for (this, last) in ('b'..='h').zip('a'..) {
        let list = vec![format!("*{last}"); 10].join(", ");
        bomb.push_str(&format!("{this}: &{this} [{list}]\n"));
    }
    check(
        &bomb,
        expect![[r#"
        error LW-LAB-005 at lab.yaml:5:36..5:38
          aliases expand to more than 100000 values
          help: write the repeated part out, or split it with `include`
    "#]],
    );
}

#[test]
fn an_alias_inside_its_own_anchor() {
    check(
        "a: &a [*a]\n",
        expect![[r#"
        error LW-LAB-002 at lab.yaml:1:1..1:2 (a)
          unknown key `a` at the top of a lab file
          help: known keys here: lab, domain, owner, timezone, environments, include, edge, network, compute, platform, services, protection
        error LW-LAB-001 at lab.yaml:1:8..1:10
          `*a` stands inside what it stands for
          help: write the value out here
    "#]],
    );
}

#[test]
fn an_alias_of_nothing() {
    check(
        "platform: { dns: { on: x, records: { a: *.apps } } }\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:41..1:47
          `*.apps` refers to an anchor that is not in this file
          help: a text that starts with `*` is quoted: `"*.apps"`; an anchor is set with `&.apps` before its first use
    "#]],
    );
}

#[test]
fn a_file_of_five_mebibytes() {
    let text = "# filler\n".repeat(5 * 1024 * 1024 / 9);
    check(
        &text,
        expect![[r#"
        error LW-LAB-005 at lab.yaml:1:1..1:1
          `lab.yaml` has 5242878 bytes; a lab file may have 4 MiB
          help: split it, and `include` the parts
    "#]],
    );
    assert!(text.len() > MAX_FILE_BYTES);
}

#[test]
fn a_file_just_below_the_limit_is_read() {
    let mut text = "compute:\n  hosts:\n".to_string();
    for number in 0.. {
        let line = format!("    host-{number}: {{ site: home }}\n");
        if text.len() + line.len() > MAX_FILE_BYTES / 8 {
            break;
        }
        text.push_str(&line);
    }
    assert_eq!(read(&text).findings, []);
}

#[test]
fn nesting_of_65() {
    let text = format!("lab: {}{}\n", "[".repeat(64), "]".repeat(64));
    check(
        &text,
        expect![[r#"
        error LW-LAB-005 at lab.yaml:1:69..1:70
          nested deeper than 64 levels
          help: no key of a lab file needs this depth; a bracket may be missing
    "#]],
    );
    check(
        &"[".repeat(300),
        expect![[r#"
        error LW-LAB-005 at lab.yaml:1:256..1:256
          nested deeper than 64 levels
          help: no key of a lab file needs this depth; a bracket may be missing
    "#]],
    );
    let mut blocks = String::new();
    for depth in 0..70 {
        blocks.push_str(&format!("{}k:\n", " ".repeat(depth)));
    }
    check(
        &blocks,
        expect![[r#"
        error LW-LAB-005 at lab.yaml:65:65..65:65
          nested deeper than 64 levels
          help: no key of a lab file needs this depth; a bracket may be missing
    "#]],
    );
    let text = format!("services: {{ a: {{ networks: {}{} }} }}\n", "[".repeat(61), "]".repeat(61));
    check(&text, expect![[""]]);
}

#[test]
fn nesting_through_aliases() {
    let mut text = "x0: &x0 [a]\n".to_string();
    for depth in 1..70 {
        text.push_str(&format!("x{depth}: &x{depth} [*x{}]\n", depth - 1));
    }
    check(
        &text,
        expect![[r#"
        error LW-LAB-005 at lab.yaml:64:12..64:16
          nested deeper than 64 levels
          help: no key of a lab file needs this depth; a bracket may be missing
    "#]],
    );
}

#[test]
fn not_utf_8() {
    let mut text = "lab: home\nowner: J".to_string().into_bytes();
    text.extend([0xf6, b'r', b'g', b'\n']);
    let files = InMemory(BTreeMap::from([("lab.yaml".to_string(), text)]));
    let parsed = parse("lab.yaml", &files);
    expect![[r#"
        error LW-LAB-001 at lab.yaml:2:9..2:10
          `lab.yaml` is not UTF-8: the byte 0xf6 stands here
          help: save the file as UTF-8
    "#]]
    .assert_eq(&shown(&parsed, &parsed.findings));
    assert!(parsed.unreadable && parsed.incomplete);
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_text() {
    check(
        "\u{feff}lab: home\nx: 1\n",
        expect![[r#"
        error LW-LAB-002 at lab.yaml:2:1..2:2 (x)
          unknown key `x` at the top of a lab file
          help: known keys here: lab, domain, owner, timezone, environments, include, edge, network, compute, platform, services, protection
    "#]],
    );
}

#[test]
fn nothing_in_the_file() {
    check(
        "",
        expect![[r#"
        error LW-LAB-011 at lab.yaml:1:1..1:1
          `lab.yaml` is empty: there is no lab in it
          help: start with `lab: home`, then add `compute:` with your hosts
    "#]],
    );
    check(
        "\n\n",
        expect![[r#"
        error LW-LAB-011 at lab.yaml:1:1..1:1
          `lab.yaml` is empty: there is no lab in it
          help: start with `lab: home`, then add `compute:` with your hosts
    "#]],
    );
    check(
        "# lab: home\n# compute:\n",
        expect![[r#"
        error LW-LAB-011 at lab.yaml:1:1..1:1
          `lab.yaml` is empty: there is no lab in it
          help: start with `lab: home`, then add `compute:` with your hosts
    "#]],
    );
    check(
        "---\n",
        expect![[r#"
        error LW-LAB-011 at lab.yaml:1:1..1:1
          `lab.yaml` is empty: there is no lab in it
          help: start with `lab: home`, then add `compute:` with your hosts
    "#]],
    );
    check(
        "{}\n",
        expect![[r#"
        error LW-LAB-011 at lab.yaml:1:1..1:1
          `lab.yaml` is empty: there is no lab in it
          help: start with `lab: home`, then add `compute:` with your hosts
    "#]],
    );
    check("lab:\n", expect![[""]]);
}

#[test]
fn a_second_document() {
    check(
        "lab: home\n---\nlab: cabin\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:2:1..2:4
          a lab file holds one YAML document, and a second one starts here
          help: remove the `---`, or put the second document in a file of its own and `include` it
    "#]],
    );
}

#[test]
fn tabs() {
    check(
        "compute:\n\thosts: {}\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:2:1..2:2
          a tab stands in the indentation
          help: YAML is indented with spaces: replace the tab, and let the editor insert spaces in `.yaml` files
    "#]],
    );
    check(
        "compute:\n  hosts:\n\ta: {}\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:3:1..3:2
          a tab stands in the indentation
          help: YAML is indented with spaces: replace the tab, and let the editor insert spaces in `.yaml` files
    "#]],
    );
    check(
        "compute:\n  proxmox: [a,\n\tb]\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:3:1..3:2
          a tab stands in the indentation
          help: YAML is indented with spaces: replace the tab, and let the editor insert spaces in `.yaml` files
    "#]],
    );
    check("lab:\thome\n", expect![[""]]);
}

#[test]
fn text_that_is_not_yaml() {
    check(
        "lab: \"home\ncompute: {}\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:6..1:11
          the quote that opens on line 1 is not closed
          help: close it with `"` at the end of the value
    "#]],
    );
    check(
        "lab: 'home\n  at the sea\n\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:6..1:11
          the quote that opens on line 1 is not closed
          help: close it with `'` at the end of the value
    "#]],
    );
    check(
        "lab: home\n  owner: stian\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:2:8..2:15
          a `:` stands where no key can be
          help: quote a value that contains `: `, or align this line with the keys above it
    "#]],
    );
    check(
        "compute:\n  hosts:\n    a: {}\n   b: {}\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:4:4..4:9
          the indentation of this line fits none of the lines above
          help: keys of one map start in the same column, and so do the `-` of one list
    "#]],
    );
    check(
        "compute: { hosts: { a: {} }\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:10..1:28
          a bracket, or a comma between two entries, is missing
          help: close every `{` with `}` and every `[` with `]`; quote a text that contains them
    "#]],
    );
    check(
        "compute:\n  hosts\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:2:3..2:8 (compute)
          `compute` must be a map, found `hosts`
          help: write `hosts: …`, with a space after the colon
    "#]],
    );
    check(
        "owner: @stian\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:8..1:14
          a value cannot start with this character
          help: quote the value: `"…"`
    "#]],
    );
    check(
        "lab: home: two\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:10..1:15
          a `:` stands where no key can be
          help: quote a value that contains `: `, or align this line with the keys above it
    "#]],
    );
    check(
        "lab: \"a\\q\"\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:6..1:11
          a `\` in double quotes starts an escape, and this one is unknown
          help: write `\\` for a backslash, or put the value in single quotes
    "#]],
    );
    check(
        "lab: \"a\" b\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:10..1:11
          text follows a closed quote
          help: put the whole value in one pair of quotes
    "#]],
    );
    check(
        "lab: *\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:6..1:7
          a `*` or `&` stands alone
          help: quote a text that starts with `*` or `&`: `"*.apps"`
    "#]],
    );
    check(
        "lab: {{ name }}\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:7..1:15
          a key must be a string, found a map
          help: quote it; a value that starts with `{` or `[` and is text is quoted too: `"{{ x }}"`
    "#]],
    );
    check(
        "lab: !secret name\ninclude: !include other.yaml\nowner: !!str 5\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:1:6..1:13
          the tag `!secret` means nothing in a lab file
          help: write `${secret.NAME}`
        error LW-LAB-004 at lab.yaml:2:10..2:18
          the tag `!include` means nothing in a lab file
          help: list further lab files under `include:` at the top of the file
        error LW-LAB-006 at lab.yaml:2:19..2:29
          cannot read `other.yaml`: no such file
          help: check the path; it is relative to the file that names it
    "#]],
    );
    check(
        "lab: home\n: x\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:2:1..2:1
          a key must be a string, found nothing
          help: write the key before the `:`
    "#]],
    );
    check(
        "<<: 5\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:5..1:6
          `<<` merges maps, found a number
          help: give it an alias of a map: `<<: *defaults`
    "#]],
    );
}

#[test]
fn comments_that_accept() {
    check(
        "# labwright: allow everything\nlab: home\n",
        expect![[r#"
        error LW-LAB-009 at lab.yaml:1:1..1:30
          cannot read the comment `# labwright: allow everything`
          help: write `# labwright: allow LW-NET-003 because REASON`, at the end of the line or alone above it
    "#]],
    );
    check(
        "lab: home # labwright: allow LW-NET-001\n",
        expect![[r#"
        error LW-LAB-009 at lab.yaml:1:11..1:40
          cannot read the comment `# labwright: allow LW-NET-001`
          help: write `# labwright: allow LW-NET-003 because REASON`, at the end of the line or alone above it
    "#]],
    );
    let parsed = read(
        "lab: home # labwright: allow LW-NET-001 because it is so\n# labwright: allow LW-NET-002  because reasons \n# more\n\nowner: x\n",
    );
    let allows: Vec<_> = parsed.allows.iter().map(|a| (a.code.as_str(), a.reason.as_str(), a.line)).collect();
    assert_eq!(allows, [("LW-NET-001", "it is so", 1), ("LW-NET-002", "reasons", 5)]);
}
