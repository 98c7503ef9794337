//! This machine, without root's things: files, directories and links through the agent in process.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::world::Desk;

pub fn desk() -> Desk {
    let desk = Desk::new("");
    let root = desk.path("things").display().to_string();
    desk.lab(&format!(
        "lab: home\ncompute:\n  hosts:\n    here:\n      local: true\n      directories:\n        {root}: {{ mode: \"0750\" }}\n      files:\n        {root}/motd: {{ content: \"hello\\n\", mode: \"0640\" }}\n        {root}/copy: {{ source: beside.txt }}\n      symlinks:\n        {root}/link: motd\n"
    ));
    desk.write("beside.txt", "from beside\n");
    desk
}

#[test]
fn the_first_apply_makes_it_and_the_second_has_nothing_to_do() {
    let desk = desk();
    desk.run(&["plan", "--exit-code"]).code(4).says("4 to create");
    assert!(!desk.path("things").exists() && !desk.path("state").exists(), "a plan writes nothing");
    desk.run(&["apply", "--yes"]).code(0).says("4 of 4 steps done");
    assert_eq!(fs::read_to_string(desk.path("things/motd")).unwrap(), "hello\n");
    assert_eq!(fs::read_to_string(desk.path("things/link")).unwrap(), "hello\n");
    assert_eq!(fs::read_to_string(desk.path("things/copy")).unwrap(), "from beside\n");
    assert_eq!(fs::metadata(desk.path("things/motd")).unwrap().permissions().mode() & 0o7777, 0o640);
    desk.run(&["plan", "--exit-code"]).code(0).says("nothing to do, 4 unchanged");
    desk.run(&["apply", "--yes"]).code(0).says("nothing to do, 4 unchanged");
    desk.run(&["drift"]).code(0).says("0 drifted, 4 as applied");
}

#[test]
fn the_lab_of_one_machine_does_what_it_says() {
    let desk = Desk::new("");
    let lab = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/one-machine/lab.yaml");
    let root = desk.path("made").display().to_string();
    desk.lab(&fs::read_to_string(lab).unwrap().replace("/tmp/labwright-one-machine", &root));
    desk.run(&["apply", "--yes"]).code(0).says("5 of 5 steps done");
    assert_eq!(
        fs::read_to_string(desk.path("made/latest.txt")).unwrap(),
        "This is workbench, in the lab one-machine.\n"
    );
    desk.run(&["apply", "--yes"]).code(0).says("nothing to do, 5 unchanged");
    fs::write(desk.path("made/welcome.txt"), "edited\n").unwrap();
    desk.run(&["drift"]).code(4).says("+edited");
}

#[test]
fn an_edit_by_hand_is_drift_and_an_edit_of_the_file_is_not() {
    let desk = desk();
    desk.run(&["apply", "--yes"]).code(0);
    desk.write("beside.txt", "edited beside\n");
    desk.run(&["drift"]).code(0).says("1 edit of the lab file not applied yet");
    fs::write(desk.path("things/motd"), "by hand\n").unwrap();
    desk.run(&["drift"]).code(4).says("changed since the last apply").says("+by hand").says("-hello");
    desk.run(&["plan"]).code(0).says("content changed since the last apply");
    desk.run(&["apply", "--yes"]).code(0);
    assert_eq!(fs::read_to_string(desk.path("things/motd")).unwrap(), "hello\n");
    let kept: Vec<_> = fs::read_dir(desk.path("state/replaced"))
        .unwrap()
        .map(|e| fs::read_to_string(e.unwrap().path()).unwrap())
        .collect();
    assert_eq!(kept, ["by hand\n"], "what was written by hand is not lost");
}

#[test]
fn what_is_there_already_is_taken_over_only_by_word() {
    let desk = desk();
    fs::create_dir(desk.path("things")).unwrap();
    fs::set_permissions(desk.path("things"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::write(desk.path("things/motd"), "mine\n").unwrap();
    let id = format!("here/host/file/{}", desk.path("things/motd").display());
    desk.run(&["apply", "--yes"]).code(5).says("is not the lab's").says(&format!("--adopt {id}"));
    assert_eq!(fs::read_to_string(desk.path("things/motd")).unwrap(), "mine\n");
    assert!(desk.path("things/copy").exists(), "what does not depend on it goes on");
    desk.run(&["apply", "--yes", "--adopt", &id]).code(0);
    assert_eq!(fs::read_to_string(desk.path("things/motd")).unwrap(), "hello\n");
}

#[test]
fn nothing_of_value_goes_with_a_stanza() {
    let desk = desk();
    desk.run(&["apply", "--yes"]).code(0);
    fs::write(desk.path("things/precious"), "data").unwrap();
    fs::write(desk.path("things/copy"), "edited by hand\n").unwrap();
    desk.lab("lab: home\ncompute: { hosts: { here: { local: true } } }\n");
    desk.run(&["apply", "--yes"]).code(0).says("no longer declared; `--prune` removes it");
    assert!(desk.path("things/motd").exists());
    desk.run(&["apply", "--yes", "--prune"]).code(0).says("it holds data").says("changed since the last apply");
    assert!(!desk.path("things/motd").exists() && !desk.path("things/link").exists());
    assert!(desk.path("things/precious").exists() && desk.path("things/copy").exists());
    desk.run(&["plan", "--prune", "--exit-code"]).code(0);
}

#[test]
fn destroy_removes_what_the_lab_made_and_nothing_else() {
    let desk = desk();
    fs::create_dir(desk.path("things")).unwrap();
    fs::set_permissions(desk.path("things"), fs::Permissions::from_mode(0o750)).unwrap();
    desk.run(&["apply", "--yes"]).code(0).says("it becomes the lab's");
    desk.run(&["destroy", "--yes"]).code(0);
    assert!(!desk.path("things/motd").exists());
    assert!(desk.path("things").exists(), "it was there before the lab");
    desk.run(&["destroy", "--yes"]).code(0).says("nothing to do");
}

#[test]
fn destroy_says_that_it_was_asked_what_stays_why_and_what_to_type() {
    let desk = desk();
    desk.run(&["apply", "--yes"]).code(0);
    desk.write("things/precious", "data\n");
    fs::write(desk.path("things/copy"), "edited by hand\n").unwrap();
    let things = format!("here/host/directory/{}", desk.path("things").display());
    let copy = format!("here/host/file/{}", desk.path("things/copy").display());
    let ran = desk.run(&["destroy", "--yes"]).code(5).says_not("no longer declared");
    let ran =
        ran.says("`destroy` was asked").says("asked to go, and kept").says("2 things were asked to go and stayed");
    let ran = ran
        .says(&format!("it holds data: 1 entry; `labwright destroy --delete-data {things} --approve destroys-data`"));
    ran.says(&format!("its content changed since the last apply; `labwright destroy --delete-data {copy}`"));
    assert!(desk.path("things/precious").exists() && desk.path("things/copy").exists());
    assert!(!desk.path("things/motd").exists());
    desk.run(&["destroy", "--yes", "--only", &copy]).code(5).says("1 thing was asked to go and stayed");
    desk.run(&["destroy", "--yes", "--delete-data", &copy]).code(5);
    assert!(!desk.path("things/copy").exists());
    let all = ["destroy", "--yes", "--delete-data", &things, "--approve", "destroys-data"];
    desk.run(&all).code(0).says("it is named by `--delete-data`");
    assert!(!desk.path("things").exists());
    desk.run(&["destroy", "--yes"]).code(0).says("nothing to do");
}

#[test]
fn drift_counts_only_what_it_was_asked_about() {
    let desk = desk();
    desk.run(&["apply", "--yes"]).code(0);
    desk.run(&["drift"]).code(0).says("0 drifted, 4 as applied");
    desk.run(&["drift", "--only", "here/host/file"]).code(0).says("0 drifted, 2 as applied");
    fs::write(desk.path("things/motd"), "by hand\n").unwrap();
    desk.run(&["drift", "--only", "here/host/file"]).code(4).says("1 drifted, 1 as applied");
    desk.run(&["drift", "--only", "*link"]).code(0).says("0 drifted, 1 as applied").says_not("not applied yet");
}

#[test]
fn a_saved_plan_is_applied_exactly_or_refused() {
    let desk = desk();
    desk.run(&["plan", "--out", "plan.json"]).code(0);
    desk.write("beside.txt", "changed\n");
    desk.run(&["apply", "--yes", "--plan", "plan.json"]).code(2).says("the lab's files changed since plan");
    desk.write("beside.txt", "from beside\n");
    desk.run(&["apply", "--yes", "--plan", "plan.json"]).code(0);
    fs::write(desk.path("things/motd"), "one\n").unwrap();
    desk.run(&["plan", "--out", "plan.json"]).code(0);
    fs::write(desk.path("things/motd"), "two\n").unwrap();
    desk.run(&["apply", "--yes", "--plan", "plan.json"]).code(5).says("changed since the plan was made");
    assert_eq!(fs::read_to_string(desk.path("things/motd")).unwrap(), "two\n");
    desk.run(&["plan", "--out", "plan.json"]).code(0);
    let saved = fs::read_to_string(desk.path("plan.json")).unwrap();
    assert_eq!(fs::metadata(desk.path("plan.json")).unwrap().permissions().mode() & 0o7777, 0o600);
    desk.write("edited.json", saved.replace("hello", "hallo"));
    desk.run(&["apply", "--yes", "--plan", "edited.json"]).code(2).says("is not as it was saved");
    desk.write("broken.json", "{");
    desk.run(&["apply", "--plan", "broken.json"]).code(2).says("is not a saved plan");
}

#[test]
fn nobody_to_ask_means_nothing_is_changed() {
    let desk = desk();
    desk.run(&["apply"]).code(2).says("nobody is there to approve this").says("--yes");
    assert!(!desk.path("things").exists());
}

#[test]
fn history_tells_who_what_and_with_which_result() {
    let desk = desk();
    desk.run(&["history"]).code(0).says("nothing was applied");
    desk.run(&["apply", "--yes"]).code(0);
    desk.run(&["history"]).code(0).says("4 done");
    desk.run(&["history", "--run", "last"]).code(0).says("create").says("/things/motd");
    let json: serde_json::Value = serde_json::from_str(&desk.run(&["history", "--json"]).code(0).out).unwrap();
    assert_eq!(json["runs"][0]["steps"].as_array().unwrap().len(), 4);
}

#[test]
fn a_selection_leaves_the_rest_alone() {
    let desk = desk();
    let only = format!("here/host/file/{}", desk.path("things/motd").display());
    desk.run(&["apply", "--yes", "--only", &only]).code(0).says("2 left out");
    assert!(desk.path("things/motd").exists() && !desk.path("things/copy").exists());
    desk.run(&["plan", "--exclude", "here"]).code(0).says("nothing to do");
    desk.run(&["plan", "--tag", "none-such"]).code(2).says("no host has the tag");
}

#[test]
fn a_private_file_is_never_shown() {
    let desk = Desk::new("");
    let path = desk.path("key").display().to_string();
    let lab = |content: &str| {
        format!(
            "lab: home\ncompute:\n  hosts:\n    here:\n      local: true\n      files:\n        {path}: {{ content: \"{content}\\n\", mode: \"0600\" }}\n"
        )
    };
    desk.lab(&lab("canary-declared-1"));
    desk.run(&["apply", "--yes"]).code(0).says_not("canary");
    fs::write(desk.path("key"), "canary-by-hand\n").unwrap();
    desk.lab(&lab("canary-declared-2"));
    let verbs = [
        &["plan"][..],
        &["drift"],
        &["drift", "--json"],
        &["plan", "--format", "markdown"],
        &["plan", "--json"],
        &["show", "desired"],
        &["show", "observed"],
        &["show", "plan"],
    ];
    for verb in verbs {
        desk.run(verb).says_not("canary");
    }
    desk.run(&["apply", "--yes", "--json"]).code(0).says_not("canary");
    desk.run(&["history", "--run", "last", "--json"]).code(0).says_not("canary");
    for entry in walk(&desk.path("state")) {
        let inside = fs::read(&entry).unwrap();
        let private = entry.starts_with(desk.path("state/replaced"));
        assert!(private || !String::from_utf8_lossy(&inside).contains("canary"), "{}", entry.display());
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_pattern_that_fits_nothing_is_a_typing_error() {
    let desk = desk();
    for args in [&["--only", "hree"][..], &["--exclude", "heer"], &["--adopt", "here/host/file//no/such"]] {
        let all: Vec<&str> = ["apply", "--yes"].iter().chain(args).copied().collect();
        desk.run(&all).code(2).says("fits nothing in this lab");
    }
    desk.run(&["plan", "--only", "*motd"]).code(0).says("2 to create");
    assert!(!desk.path("things").exists());
}

#[test]
fn a_host_that_left_the_lab_is_not_forgotten() {
    let desk = desk();
    desk.run(&["apply", "--yes"]).code(0);
    desk.lab("lab: home\ncompute: { hosts: { other: { address: 10.0.0.1 } } }\n");
    desk.run(&["plan"]).says("`here` is no longer in the lab").says("stays as it is");
    assert!(desk.path("things/motd").exists());
}

#[test]
fn a_host_with_a_new_name_keeps_what_the_old_one_made() {
    let desk = desk();
    desk.run(&["apply", "--yes"]).code(0);
    let lab = fs::read_to_string(desk.path("lab.yaml")).unwrap().replace("    here:", "    renamed:");
    desk.lab(&lab);
    desk.run(&["apply", "--yes", "--prune"]).code(0).says("it was made for `here`");
    assert!(desk.path("things/motd").exists());
    desk.run(&["plan", "--prune", "--exit-code"]).code(0).says("4 unchanged");
}

#[test]
fn a_host_that_says_what_it_was_called_keeps_what_is_its_own() {
    use std::os::unix::fs::MetadataExt;
    let desk = desk();
    desk.run(&["apply", "--yes"]).code(0);
    let inode = |name: &str| {
        let found = fs::metadata(desk.path(name)).unwrap();
        (found.ino(), found.ctime(), found.ctime_nsec())
    };
    let before = ["things", "things/motd", "things/copy"].map(inode);
    let marks = || fs::read_to_string(desk.path("state/labs/home/marks.json")).unwrap();
    let old = marks();
    let lab = fs::read_to_string(desk.path("lab.yaml")).unwrap();
    let lab = lab.replace("    here:\n", "    there:\n      renamed_from: here\n");
    desk.lab(&lab);
    desk.run(&["plan"]).code(0).says("4 to adopt").says("under the name `here`").says_not("no longer in the lab");
    assert_eq!(marks(), old, "a plan writes nothing");
    desk.run(&["apply", "--yes"]).code(0).says("4 of 4 steps done");
    assert_eq!(["things", "things/motd", "things/copy"].map(inode), before, "nothing was touched");
    // What it made stays what it made: under its new name it may be removed, which an adopted thing may not.
    assert_eq!(marks(), old.replace("here/", "there/"));
    desk.run(&["plan", "--prune", "--exit-code"]).code(0).says("nothing to do, 4 unchanged");
    desk.lab(&lab.replace("      renamed_from: here\n", ""));
    desk.run(&["apply", "--yes"]).code(0).says("nothing to do, 4 unchanged");
    desk.run(&["drift"]).code(0).says("0 drifted, 4 as applied");
    desk.run(&["destroy", "--yes"]).code(0);
    assert!(!desk.path("things").exists());
}

#[test]
fn a_new_name_and_a_change_come_in_one_apply_and_a_thing_that_left_stays_known() {
    let desk = desk();
    desk.run(&["apply", "--yes"]).code(0);
    let lab = fs::read_to_string(desk.path("lab.yaml")).unwrap();
    let link = lab.find("      symlinks:").unwrap();
    let lab = lab[..link].replace("    here:\n", "    there:\n      renamed_from: [older, here]\n");
    desk.lab(&lab.replace("hello", "changed"));
    desk.run(&["apply", "--yes"]).code(0).says("3 of 3 steps done");
    assert_eq!(fs::read_to_string(desk.path("things/motd")).unwrap(), "changed\n");
    // The link is the lab's own still, under the new name: it goes when it is asked to.
    assert!(desk.path("things/link").exists());
    desk.run(&["apply", "--yes", "--prune"]).code(0).says("1 of 1 step");
    assert!(!desk.path("things/link").exists());
}

#[test]
fn a_lab_cannot_be_named_after_a_way_out_of_its_folder() {
    let desk = desk();
    let lab = fs::read_to_string(desk.path("lab.yaml")).unwrap();
    for name in ["../escape", "/etc", "\"..\"", "a/b"] {
        desk.lab(&lab.replace("lab: home", &format!("lab: {name}")));
        desk.run(&["apply", "--yes"]).code(3).says("LW-LAB-103");
    }
    assert!(!desk.path("state").exists() && !desk.path("things").exists());
}

#[test]
fn a_reader_that_goes_away_does_not_stop_a_run() {
    let desk = desk();
    let mut child =
        desk.command().args(["apply", "--yes", "--json"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let code = child.wait().unwrap().code();
    // Before anything began it may end quietly; once it began, everything is done.
    let all = desk.path("things/link").exists();
    assert!(all || !desk.path("things").exists(), "stopped in the middle, exit {code:?}");
}
