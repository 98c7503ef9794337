//! What holds for any document.

use labwright_secrets::SecretText;
use proptest::prelude::*;

use crate::support::{Key, now, open, sealed};

#[derive(Clone, Debug)]
enum Tree {
    Text(String),
    Int(i64),
    Bool(bool),
    Null,
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        4 => any::<String>().prop_map(|text| Tree::Text(text.replace('\0', ""))),
        3 => "[ -~\n]{0,40}".prop_map(Tree::Text),
        1 => any::<i64>().prop_map(Tree::Int),
        1 => any::<bool>().prop_map(Tree::Bool),
        1 => Just(Tree::Null),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![proptest::collection::vec(inner.clone(), 0..6).prop_map(Tree::List), map(inner)]
    })
}

fn map(inner: impl Strategy<Value = Tree> + Clone) -> impl Strategy<Value = Tree> {
    proptest::collection::btree_map("[a-z][a-z0-9 _:#-]{0,8}[a-z]", inner, 0..6)
        .prop_map(|entries| Tree::Map(entries.into_iter().filter(|(key, _)| key != "sops").collect()))
}

fn document() -> impl Strategy<Value = Tree> {
    map(tree().boxed())
}

fn json(tree: &Tree) -> String {
    match tree {
        Tree::Text(text) => serde_json::to_string(text).unwrap(),
        Tree::Int(number) => number.to_string(),
        Tree::Bool(truth) => truth.to_string(),
        Tree::Null => "null".to_string(),
        Tree::List(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(", ")),
        Tree::Map(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", serde_json::to_string(key).unwrap(), json(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// The tree as block YAML, with a comment here and there.
fn yaml(tree: &Tree, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match tree {
        Tree::Map(entries) if !entries.is_empty() => {
            for (at, (key, value)) in entries.iter().enumerate() {
                if at % 3 == 1 {
                    *out += &format!("{pad}# remark {at}\n");
                }
                *out += &format!("{pad}{}:", serde_json::to_string(key).unwrap());
                inside(value, indent + 2, out);
            }
        }
        Tree::List(items) if !items.is_empty() => {
            for item in items {
                *out += &format!("{pad}-");
                inside(item, indent + 2, out);
            }
        }
        _ => unreachable!("only what has lines of its own comes here"),
    }
}

fn inside(tree: &Tree, indent: usize, out: &mut String) {
    match tree {
        Tree::Map(entries) if !entries.is_empty() => {
            *out += "\n";
            yaml(tree, indent, out);
        }
        Tree::List(items) if !items.is_empty() => {
            *out += "\n";
            yaml(tree, indent, out);
        }
        // JSON's escapes are YAML's, but for pairs of surrogates, which it does not write.
        other => *out += &format!(" {} # tail\n", json(other).replace('\u{7f}', "\\u007f")),
    }
}

fn leaves(tree: &Tree, path: &str, out: &mut Vec<(String, String)>) {
    let join = |part: &str| if path.is_empty() { part.to_string() } else { format!("{path}.{part}") };
    match tree {
        Tree::Text(text) => out.push((path.to_string(), text.clone())),
        Tree::Int(number) => out.push((path.to_string(), number.to_string())),
        Tree::Bool(truth) => out.push((path.to_string(), truth.to_string())),
        Tree::Null => {}
        Tree::List(items) => items.iter().enumerate().for_each(|(at, item)| leaves(item, &join(&at.to_string()), out)),
        Tree::Map(entries) => entries.iter().for_each(|(key, value)| leaves(value, &join(key), out)),
    }
}

fn block(tree: &Tree) -> String {
    let mut out = String::new();
    if matches!(tree, Tree::Map(entries) if !entries.is_empty()) {
        yaml(tree, 0, &mut out);
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_document_goes_round(tree in document()) {
        let key = Key::new();
        let mut expected = Vec::new();
        leaves(&tree, "", &mut expected);
        expected.sort();
        for (name, plain) in [("s.json", json(&tree)), ("s.yaml", block(&tree))] {
            let text = sealed(&key, name, &plain);
            let mut store = open(&key, name, &text).unwrap();
            let mut got: Vec<(String, String)> =
                store.all().unwrap().into_iter().map(|(name, text)| (name, text.expose().to_string())).collect();
            got.sort();
            prop_assert_eq!(&got, &expected);
            let clear = store.plain_text().unwrap();
            store.replace_plain(&clear).unwrap();
            prop_assert!(!store.changed(), "{}", clear.expose());
        }
    }

    #[test]
    fn one_set_changes_one_value(tree in document(), pick in any::<prop::sample::Index>(), value in "[ -~\n]{1,30}") {
        let key = Key::new();
        let mut paths = Vec::new();
        leaves(&tree, "", &mut paths);
        prop_assume!(!paths.is_empty());
        let (path, old) = &paths[pick.index(paths.len())];
        prop_assume!(*old != value && !old.is_empty());
        for (name, plain) in [("s.json", json(&tree)), ("s.yaml", block(&tree))] {
            let text = sealed(&key, name, &plain);
            let mut store = open(&key, name, &text).unwrap();
            let before: Vec<_> = store.all().unwrap().into_iter().collect();
            store.set(path, &SecretText::from(value.as_str())).unwrap();
            let changed = store.to_text(now()).unwrap();
            // Not the bare word: base64 may spell it.
            let metadata = if name.ends_with("json") { "\"sops\"" } else { "\nsops:" };
            let body = |text: &str| text.rsplit_once(metadata).unwrap().0.to_string();
            let (old_body, new_body) = (body(&text), body(&changed));
            // Everything before and behind one stretch of the file is as it was, and that stretch is one ciphertext.
            let same = old_body.bytes().zip(new_body.bytes()).take_while(|(old, new)| old == new).count();
            let same_end = old_body.bytes().rev().zip(new_body.bytes().rev()).take_while(|(old, new)| old == new).count();
            let middle = &new_body[same..new_body.len() - same_end.min(new_body.len() - same)];
            prop_assert!(!middle.contains(['\n', ' ', '#']), "{middle:?}");
            let store = open(&key, name, &changed).unwrap();
            for ((path_before, before), (path_after, after)) in before.iter().zip(&store.all().unwrap()) {
                prop_assert_eq!(path_before, path_after);
                let expected = if path_before == path { value.as_str() } else { before.expose() };
                prop_assert_eq!(after.expose(), expected);
            }
        }
    }

    #[test]
    fn names_come_and_go(tree in document(), value in "[ -~]{1,20}") {
        let key = Key::new();
        for (name, plain) in [("s.json", json(&tree)), ("s.yaml", block(&tree))] {
            let text = sealed(&key, name, &plain);
            let mut store = open(&key, name, &text).unwrap();
            let before = store.all().unwrap();
            store.set("Zz.new.one", &SecretText::from(value.as_str())).unwrap();
            let got = store.get("Zz.new.one").unwrap();
            prop_assert_eq!(got.expose(), value.as_str());
            store.remove("Zz").unwrap();
            let changed = store.to_text(now()).unwrap();
            prop_assert_eq!(open(&key, name, &changed).unwrap().all().unwrap(), before);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[a-c:{}\\[\\],\"'#&*|> \n\t-]{0,60}") {
        for name in ["s.yaml", "s.json"] {
            let _ = labwright_secrets::store::Document::parse(name, &bytes);
            let _ = labwright_secrets::store::Document::parse(name, text.as_bytes());
        }
        let key = Key::new();
        for name in ["s.yaml", "s.json"] {
            let mut store = open(&key, name, &sealed(&key, name, "")).unwrap();
            if store.replace_plain(&SecretText::from(text.as_str())).is_ok() {
                let again = store.plain_text().unwrap();
                store.replace_plain(&again).unwrap();
                let _ = store.set("a.b", &SecretText::from("x"));
                let _ = store.remove("b");
                open(&key, name, &store.to_text(now()).unwrap()).unwrap();
            }
        }
    }
}
