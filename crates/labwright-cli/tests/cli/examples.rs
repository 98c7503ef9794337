//! The labs under `examples/`, as their readers meet them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::world::Desk;

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut found: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    assert!(found.len() >= 5, "{found:?}");
    found
}

/// Every file of an example, in its folders too.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn each_checks_without_a_finding_by_folder_and_by_file() {
    let desk = Desk::new("lab: home\n");
    for example in examples() {
        let (folder, file) = (example.display().to_string(), example.join("lab.yaml").display().to_string());
        desk.run(&["check", "--deny", "advice", &folder]).code(0).says("nothing to say");
        desk.run(&["check", "--deny", "advice", &file]).code(0).says("nothing to say");
    }
}

#[test]
fn each_is_shown_and_listed() {
    let desk = Desk::new("lab: home\n");
    for example in examples() {
        let folder = example.display().to_string();
        let model = desk.run(&["show", "model", &folder]).code(0);
        let name = example.file_name().unwrap().to_string_lossy().into_owned();
        assert!(model.out.contains(&format!("lab: {name}\n")), "{}", model.out);
        let inventory = desk.run(&["inventory", &folder]).code(0);
        assert!(inventory.out.lines().count() > 1, "{}", inventory.out);
        let desired = desk.run(&["show", "desired", "--json", &folder]).code(0);
        assert!(serde_json::from_str::<serde_json::Value>(&desired.out).is_ok(), "{}", desired.out);
    }
}

#[test]
fn what_a_store_is_asked_for_is_in_it_and_no_private_key_lies_about() {
    let mut asked = 0;
    for example in examples() {
        let store = fs::read_to_string(example.join("secrets.yaml")).ok();
        for file in files(&example) {
            let text = fs::read_to_string(&file).unwrap();
            for private in ["AGE-SECRET-KEY-", "PRIVATE KEY-----"] {
                assert!(!text.contains(private), "{private} in {}", file.display());
            }
            let Some(store) = &store else { continue };
            for reference in text.split("${secret.").skip(1) {
                let name = reference.split('}').next().unwrap();
                assert!(
                    store.lines().any(|line| line.starts_with(&format!("{name}: ENC["))),
                    "`{name}` is not in the store"
                );
                asked += 1;
            }
        }
    }
    assert!(asked > 10, "{asked}");
}

#[test]
fn files_that_the_labs_name_are_there() {
    for example in examples() {
        for file in files(&example).iter().filter(|file| file.extension().is_some_and(|extension| extension == "yaml"))
        {
            let text = fs::read_to_string(file).unwrap();
            for word in text.split_whitespace() {
                let word = word.trim_end_matches(',');
                if ["seeds/", "dashboards/"].iter().any(|folder| word.starts_with(folder) && word.contains('.')) {
                    assert!(example.join(word).is_file(), "`{word}` in {}", file.display());
                }
            }
        }
    }
}
