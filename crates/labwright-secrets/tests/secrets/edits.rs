//! What a change leaves as it was.

use expect_test::{Expect, expect};
use labwright_secrets::SecretText;

use crate::support::{Key, now, open, sealed};

/// Seals a document, changes it, and shows it in clear.
fn check(plain: &str, change: impl Fn(&mut labwright_secrets::store::Opened), expected: Expect) {
    let key = Key::new();
    let text = sealed(&key, "s.yaml", plain);
    let mut store = open(&key, "s.yaml", &text).unwrap();
    change(&mut store);
    let text = store.to_text(now()).unwrap();
    expected.assert_eq(open(&key, "s.yaml", &text).unwrap().plain_text().unwrap().expose());
}

fn secret(text: &str) -> SecretText {
    SecretText::from(text)
}

#[test]
fn new_names_go_behind_their_neighbours() {
    check(
        "# top\na:\n  b: 1 # one\n\n  # above c\n  c: x\n\nd: y # last\n",
        |store| {
            store.set("a.e", &secret("new")).unwrap();
            store.set("f.g.h", &secret("line\nline\n")).unwrap();
            store.set("top level", &secret("yes")).unwrap();
        },
        expect![[r##"
            # top
            a:
              b: 1 # one

              # above c
              c: x
              e: new

            d: "y" # last
            f:
                g:
                    h: |
                      line
                      line
            top level: "yes"
        "##]],
    );
}

#[test]
fn empty_places_are_filled() {
    check(
        "a: {}\nb:\nc: []\nd:\n  e: # nothing yet\nlist:\n- x\n- y: 1\n  z: 2\n",
        |store| {
            store.set("a.x", &secret("1")).unwrap();
            store.set("b.x", &secret("2")).unwrap();
            store.set("c.0", &secret("3")).unwrap();
            store.set("d.e", &secret("4")).unwrap();
            store.set("list.2", &secret("5")).unwrap();
            store.set("list.1.w", &secret("6")).unwrap();
        },
        expect![[r#"
            a:
                x: "1"
            b:
                x: "2"
            c: ["3"]
            d:
              e: "4" # nothing yet
            list:
            - x
            - y: 1
              z: 2
              w: "6"
            - "5"
        "#]],
    );
}

#[test]
fn brackets_stay_brackets() {
    check(
        "a: {b: x, c: [1, two]}\n",
        |store| {
            store.set("a.d", &secret("y, z")).unwrap();
            store.set("a.c.2", &secret("]")).unwrap();
            store.remove("a.b").unwrap();
            store.set("a.c.0", &secret("one")).unwrap();
        },
        expect![[r#"
            a: {c: [one, two, "]"], "d": "y, z"}
        "#]],
    );
}

#[test]
fn removing_takes_the_lines_and_nothing_else() {
    check(
        "# top\na:\n  b: 1 # one\n  # above c\n  c:\n    d: x\n    e: |\n      two\n      lines\n\n  f: y\nlist:\n  - x\n  - y: 1\n    z: 2\n  - last\ngone: {}\n",
        |store| {
            store.remove("a.c.e").unwrap();
            store.remove("a.b").unwrap();
            store.remove("list.0").unwrap();
            store.remove("list.0.y").unwrap();
            store.remove("gone").unwrap();
        },
        expect![[r##"
            # top
            a:
              # above c
              c:
                d: x

              f: "y"
            list:
              - z: 2
              - last
        "##]],
    );
}

#[test]
fn the_last_one_can_be_removed() {
    check(
        "a:\n  b: 1\nc: 2\n",
        |store| {
            store.remove("a.b").unwrap();
            store.remove("c").unwrap();
            store.remove("a").unwrap();
        },
        expect![[r#""#]],
    );
}

#[test]
fn a_name_with_dots_is_found() {
    check(
        "smtp.example.org:\n  user.name: x\n",
        |store| {
            assert_eq!(store.get("smtp.example.org.user.name").unwrap().expose(), "x");
            store.set("smtp.example.org.user.name", &secret("y")).unwrap();
            store.set("smtp.example.org.port", &secret("z")).unwrap();
        },
        expect![[r#"
            smtp.example.org:
              user.name: "y"
              port: z
        "#]],
    );
}

#[test]
fn one_value_changes_one_line() {
    let key = Key::new();
    let plain = "# c\na: '1'\n\nb: \"two\"   # tail\nc:\n    - three\n    -   four\n";
    let text = sealed(&key, "s.yaml", plain);
    let mut store = open(&key, "s.yaml", &text).unwrap();
    store.set("c.1", &secret("five")).unwrap();
    let changed = store.to_text(now()).unwrap();
    let differ: Vec<&str> =
        text.lines().zip(changed.lines()).filter(|(old, new)| old != new).map(|(_, new)| &new[..12]).collect();
    assert_eq!(differ, ["    -   ENC[", "    mac: ENC"], "{changed}");
}

#[test]
fn an_edit_keeps_the_ciphertext_of_what_did_not_change() {
    let key = Key::new();
    let text = sealed(&key, "s.yaml", "# head\na: 1\nlist:\n  - x\n  - y\n  - z\nb: same\n");
    let mut store = open(&key, "s.yaml", &text).unwrap();
    store.replace_plain(&secret("# head\na: 2\nlist:\n  - y\n  - z\n  - new # why\nc: added\nb: same\n")).unwrap();
    let changed = store.to_text(now()).unwrap();
    let kept = |text: &str, line: usize| text.lines().nth(line).unwrap().to_string();
    assert_eq!(kept(&text, 0), kept(&changed, 0), "the comment");
    assert_eq!(kept(&text, 4), kept(&changed, 3), "an item that moved up");
    assert_eq!(kept(&text, 6), kept(&changed, 7), "what stands below");
    assert_ne!(kept(&text, 1), kept(&changed, 1));
    assert!(!changed.contains("why") && !changed.contains("added\n"));
    let store = open(&key, "s.yaml", &changed).unwrap();
    expect![[r##"
        # head
        a: 2
        list:
          - "y"
          - z
          - new # why
        c: added
        b: same
    "##]]
    .assert_eq(store.plain_text().unwrap().expose());
}

#[test]
fn texts_of_every_shape_survive_the_editor() {
    let key = Key::new();
    let mut store = open(&key, "s.yaml", &sealed(&key, "s.yaml", "")).unwrap();
    let shapes = [
        "plain",
        "two words",
        " leading",
        "trailing ",
        "yes",
        "null",
        "~",
        "0x1f",
        "1e3",
        "2024-01-01",
        "12:30:45",
        "- dash",
        "#hash",
        "a: b",
        "quote\"s",
        "apos'trophe",
        "back\\slash",
        "tab\there",
        "line\nline",
        "line\nline\n",
        "\nleading line",
        "end\n\n",
        "  indented\nblock",
        "a\n  b\n\nc",
        "cr\r\nlf",
        "é😀",
        "\u{2028}sep",
        "\u{85}next",
        "{brace",
        "[bracket",
        "*star",
        "&amp",
        "!bang",
        "%percent",
        "@at",
        "`tick",
        "trailing \nspace",
        "ENC[AES256_GCM,data:",
        "=",
        "<<",
        "a\tb\nc",
        "---\nx\n",
        "...",
        "\u{feff}bom",
    ];
    for (at, shape) in shapes.iter().enumerate() {
        store.set(&format!("block.v{at}"), &secret(shape)).unwrap();
    }
    let text = store.to_text(now()).unwrap();
    let mut store = open(&key, "s.yaml", &text).unwrap();
    let plain = store.plain_text().unwrap();
    store.replace_plain(&plain).unwrap_or_else(|error| panic!("{error}\n{}", plain.expose()));
    assert!(!store.changed());
    for (at, shape) in shapes.iter().enumerate() {
        assert_eq!(store.get(&format!("block.v{at}")).unwrap().expose(), *shape);
    }
}
