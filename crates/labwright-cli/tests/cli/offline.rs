//! What needs no host: check, explain, show, inventory, schema, and words.

use crate::world::Desk;

#[test]
fn a_lab_without_faults_is_told_in_one_line() {
    let desk = Desk::new("lab: home\ncompute:\n  hosts:\n    here: { local: true }\n");
    let ran = desk.run(&["check"]).code(0).says("lab `home` with 1 host and 0 services: nothing to say");
    assert_eq!(ran.out, "");
}

#[test]
fn a_fault_is_shown_with_its_line_and_the_way_out() {
    let desk = Desk::new("lab: home\ncompute:\n  hosts:\n    here: { local: true, pakages: [htop] }\n");
    let ran = desk.run(&["check"]).code(3).says("LW-LAB-002").says("did you mean `packages`?");
    assert!(ran.out.contains("lab.yaml:4"), "{}", ran.out);
    assert!(ran.out.contains("here: { local: true, pakages: [htop] }"), "{}", ran.out);
}

#[test]
fn json_findings_have_the_documented_shape() {
    let desk = Desk::new("lab: home\nnonsense: 1\n");
    let ran = desk.run(&["check", "--json"]).code(3);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let finding = &json["findings"][0];
    assert_eq!((finding["code"].as_str(), finding["severity"].as_str()), (Some("LW-LAB-002"), Some("error")));
    assert_eq!(
        (finding["line"].as_u64(), finding["column"].as_u64(), finding["end_column"].as_u64()),
        (Some(2), Some(1), Some(9))
    );
    for key in ["file", "end_line", "message", "help"] {
        assert!(!finding[key].is_null(), "{key}");
    }
}

#[test]
fn a_lab_is_found_above_and_its_absence_is_told() {
    let desk = Desk::new("lab: home\ncompute: { hosts: { here: { local: true } } }\n");
    std::fs::create_dir_all(desk.path("deep/er")).unwrap();
    let mut command = desk.command();
    command.current_dir(desk.path("deep/er")).arg("check");
    assert!(command.status().unwrap().success());
    let empty = tempfile::tempdir().unwrap();
    let output = desk.command().current_dir(empty.path()).arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no `lab.yaml` here or in a folder above"));
}

#[test]
fn an_unreadable_lab_is_a_usage_error() {
    let desk = Desk::new("lab: home\n");
    desk.run(&["check", "nowhere.yaml"]).code(2).says("there is no `nowhere.yaml`");
    std::fs::create_dir(desk.path("empty")).unwrap();
    desk.run(&["check", "empty"]).code(2).says("holds no lab file");
    desk.write("latin.yaml", b"lab: caf\xe9\n");
    desk.run(&["check", "latin.yaml"]).code(2).says("not UTF-8");
}

#[test]
fn the_threshold_of_deny_decides_the_exit_code() {
    // A stale acceptance is a warning.
    let desk = Desk::new(
        "lab: home # labwright: allow LW-LAB-002 because of a test\ncompute: { hosts: { here: { local: true } } }\n",
    );
    desk.run(&["check"]).code(0).says("LW-LAB-010");
    desk.run(&["check", "--deny", "warning"]).code(3);
}

#[test]
fn an_acceptance_takes_a_finding_out() {
    let desk = Desk::new(
        "lab: home\nnonsense: 1 # labwright: allow LW-LAB-002 because of a test\ncompute: { hosts: { here: { local: true } } }\n",
    );
    desk.run(&["check", "--deny", "advice"]).code(0).says_not("LW-LAB");
}

#[test]
fn every_code_has_its_page() {
    let desk = Desk::new("lab: home\n");
    let list = desk.run(&["explain"]).code(0);
    let codes: Vec<&str> = list.out.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert!(codes.len() > 10);
    for code in codes {
        desk.run(&["explain", code]).code(0).says(code);
    }
    desk.run(&["explain", "LW-LAB-0O1"]).code(2).says("did you mean");
}

#[test]
fn the_model_is_shown_with_its_defaults() {
    let desk = Desk::new("lab: home\nowner: ada\ncompute:\n  hosts:\n    here: { local: true }\n");
    desk.run(&["show", "model"]).code(0).says("timezone: UTC  # default").says("lab: home\n");
}

#[test]
fn the_inventory_speaks_three_formats() {
    let desk = Desk::new(
        "lab: home\nedge: { router: gw }\ncompute:\n  docker_hosts: [box]\n  hosts:\n    gw: { address: 10.0.0.1 }\n    box: { address: 10.0.0.2, site: attic }\n",
    );
    desk.run(&["inventory"]).code(0).says("docker_hosts").says("attic");
    desk.run(&["inventory", "--format", "markdown"]).code(0).says("| gw | - | 10.0.0.1 |");
    let json: serde_json::Value = serde_json::from_str(&desk.run(&["inventory", "--json"]).code(0).out).unwrap();
    assert_eq!(json["hosts"][1]["site"], "attic");
}

#[test]
fn schema_and_completions_are_printed() {
    let desk = Desk::new("lab: home\n");
    let schema: serde_json::Value = serde_json::from_str(&desk.run(&["schema"]).code(0).out).unwrap();
    assert!(schema["properties"]["compute"].is_object());
    desk.run(&["completions", "bash"]).code(0).says("labwright");
}

#[test]
fn a_lab_with_errors_is_never_planned() {
    let desk = Desk::new("lab: home\nnonsense: 1\ncompute: { hosts: { here: { local: true } } }\n");
    for verb in ["plan", "apply", "drift", "destroy"] {
        desk.run(&[verb]).code(3).says("LW-LAB-002").says("nothing was looked at or changed");
    }
}

#[test]
fn a_missing_source_can_be_accepted_and_check_does_not_call_that_stale() {
    let lab = |comment: &str| {
        format!(
            "lab: home\ncompute:\n  hosts:\n    here:\n      local: true\n      files:\n        /nowhere/a:\n          \
             source: gone.txt{comment}\n"
        )
    };
    Desk::new(&lab("")).run(&["plan"]).code(3).says("LW-CMP-008");
    let desk = Desk::new(&lab("  # labwright: allow LW-CMP-008 because it comes with the next delivery"));
    desk.run(&["check", "--deny", "warning"]).code(0);
    desk.run(&["plan"]).code(0);
}

#[test]
fn a_secret_in_the_clear_is_found_and_not_shown() {
    let desk = Desk::new(
        "lab: home\nplatform: { secrets: { age: secrets.yaml } }\nservices:\n  wiki:\n    external: x\n    \
         containers: { web: { image: a, environment: { DB_PASSWORD: canary-7f3a, pakage: 1 } } }\n",
    );
    desk.write("secrets.yaml", b"token: canary-9c1d\nsops: { age: [{ recipient: age1x, enc: x }] }\n");
    let ran = desk.run(&["check"]).code(3).says("LW-PLT-005").says("LW-PLT-008").says("DB_PASSWORD");
    assert!(!format!("{}{}", ran.out, ran.err).contains("canary"), "{}{}", ran.out, ran.err);
    let json = desk.run(&["check", "--json"]).code(3);
    assert!(!json.out.contains("canary"), "{}", json.out);
}

#[test]
fn dates_are_judged_on_the_day_that_is_named_and_today_by_whoever_acts() {
    let desk = Desk::new(
        "lab: home\ncompute: { hosts: { here: { local: true } } }\nprotection:\n  offline:\n    usb: { label: vault, every: 6 months, last: 2020-05-01 }\n",
    );
    desk.run(&["check"]).code(0).says("nothing to say");
    desk.run(&["check", "--as-of", "2020-10-30"]).code(0).says("nothing to say");
    desk.run(&["check", "--as-of", "2020-12-01"]).code(0).says("LW-DAT-010").says("214 days before 2020-12-01");
    desk.run(&["check", "--as-of", "2021-12-01", "--deny", "warning"]).code(3).says("579 days");
    desk.run(&["check", "--as-of", "2020-04-30"]).code(0).says("which is after 2020-04-30");
    for wrong in ["2020-13-01", "20201201", "yesterday", "2020-12-01T10:00"] {
        desk.run(&["check", "--as-of", wrong]).code(2).says("is no day").says("2026-05-01");
    }
    for verb in [&["plan"][..], &["apply", "--yes"], &["assess"]] {
        desk.run(verb).code(0).says("LW-DAT-010").says("last renewed on 2020-05-01");
    }
    desk.run(&["docs"]).says_not("LW-DAT-010");
}

#[test]
fn a_file_of_the_lab_that_leads_nowhere_is_told_and_not_left_out() {
    let desk = Desk::new("");
    desk.write("lab/base.yaml", "lab: home\n");
    desk.run(&["check", "lab"]).code(0);
    std::os::unix::fs::symlink("gone.yaml", desk.path("lab/hosts.yaml")).unwrap();
    desk.run(&["check", "lab"]).says("hosts.yaml").code(3);
}
