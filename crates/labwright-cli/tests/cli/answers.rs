//! Answers about a lab that ask no host: assess, blast, graph, docs. Pictures are read by the programs that draw them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use expect_test::expect;

use crate::world::Desk;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/reference");
const WHOLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../labwright-model/tests/whole.yaml");
const MERMAID: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/mermaid");

/// A lab whose names and notes are made to end what they stand in.
const NASTY: &str = r#"
lab: home
network:
  zones: { "a\"]; end": { description: "x" }, end: {}, subgraph: {} }
  flows: [{ from: 'a"]; end', to: end, because: "| `code` <b>" }]
compute:
  hosts:
    'h"\': { zone: end, site: "<site> & more", failure_domain: "-->|x|" }
    class: { zone: subgraph, description: "| a | b\n# c" }
services:
  style: { run: x, on: class, needs: ["click #quot; n0"], restore_notes: "``` end" }
  "click #quot; n0": { run: x, on: 'h"\', url: "[x](y)" }
"#;

#[test]
fn a_lost_router_is_told_in_order_of_urgency_within_eighty_columns() {
    let desk = Desk::new("lab: home\n");
    let mut command = desk.command();
    let ran = command.env("COLUMNS", "80").args(["blast", "gateway-01", REFERENCE]).output().unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    expect![[r#"
        If host `gateway-01` (router) fails:

        Dark: does not work, or cannot be reached; fast burn
          router
              nothing crosses between zones or to the internet
              because it runs on `gateway-01`
          zones management, clients, iot, guest
              cut off: nothing gets in or out
              because they are routed by `gateway-01`
          zone servers
              cut off: nothing gets in or out, and so nobody elsewhere reaches
              `git-database`
              because it is routed by `gateway-01`
          services auth, git, photos (production)
              because they are in `servers`, which `gateway-01` routes
          services dashboard, home-assistant, media
              because they are in `servers`, which `gateway-01` routes

        Degraded: works with less, and has no spare; fast burn
          DNS
              answers for `lab.home.arpa` alone: no other name is found
              because it reaches the internet through `gateway-01`

        Backup lost: copies are gone, or out of reach; slow burn
          services auth, git, git-database, photos (production)
              only `local` keeps copies now
              because they are backed up to `offsite`, across `gateway-01`
          service home-assistant
              only `local` keeps copies now
              because it is backed up to `offsite`, across `gateway-01`

        Held up: runs on, and cannot be deployed, changed or watched; slow burn
          monitoring
              half blind: it sees its own zone alone, and no alert leaves it
              because it is in `servers`, which `gateway-01` routes
    "#]]
    .assert_eq(&text);
}

#[test]
fn single_points_of_failure_are_listed_worst_first() {
    let desk = Desk::new("lab: home\n");
    let ran = desk.run(&["blast", "--all", REFERENCE]).code(0).says("16 single points of failure");
    assert!(ran.out.lines().nth(1).unwrap().starts_with("site/house"), "{}", ran.out);
    assert!(ran.out.lines().nth(2).unwrap().starts_with("host/pve-01"), "{}", ran.out);
    desk.run(&["blast", "--all", REFERENCE, "--format", "markdown"]).code(0).says("| host/gateway-01 |");
    desk.run(&["blast", "--all"]).code(0).says("nothing takes anything else with it");
}

#[test]
fn what_fails_must_be_one_thing() {
    let desk = Desk::new(
        "lab: home\nnetwork: { zones: { media: {} } }\ncompute: { hosts: { media: { local: true, zone: media } } }\n",
    );
    desk.run(&["blast", "media"]).code(2).says("write `host/media` or `zone/media`");
    desk.run(&["blast", "zone/media"]).code(0).says("host media");
    desk.run(&["blast", "medai"]).code(2).says("did you mean `media`?");
    desk.run(&["blast"]).code(2).says("<NAME>");
    desk.run(&["blast", "host/media", "--format", "markdown"]).code(0).says("## If host `media` fails");
}

#[test]
fn deny_fails_for_production_alone() {
    let lab = |tier: &str| format!("lab: home\nservices: {{ wiki: {{ run: x, tier: {tier} }} }}\n");
    let desk = Desk::new(&lab("lab"));
    desk.run(&["assess", "--deny"]).code(0).says("3a").says_not("production service with a no");
    desk.lab(&lab("production"));
    desk.run(&["assess"]).code(0).says("1 production service with a no: wiki");
    desk.run(&["assess", "--deny"]).code(3).says("- say where its data is");
}

#[test]
fn the_matrix_and_the_questions_are_told() {
    let desk = Desk::new("lab: home\n");
    let mut command = desk.command();
    let ran = command.env("COLUMNS", "80").args(["assess", REFERENCE, "--only", "dashboard"]).output().unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    expect![[r#"
        SERVICE    LEVEL  ENVIRONMENT      HARDWARE  OS        BACKUPS
        dashboard  3a     full stack, lab  operator  operator  operator

        SERVICE    RESTORE  DETECT  SECURITY  REBUILD
        dashboard  no       partly  partly    yes

        dashboard (3a, full stack, lab)
          if it failed tomorrow, could I restore it? no
            + the catalogue entry `grafana` knows the way back
            - say where its data is (`data:`) and how it is copied: `backup: POLICY`
          if it were compromised, would I detect it? partly
            + `mon-01` watches
            + alerts reach a person
            + the catalogue entry `grafana` brings a probe
            + `labwright drift` shows what was changed by hand on its hosts
            - watch it from another machine: whoever takes this one takes the watcher
              too
            - keep logs off the machine that writes them:
              `platform: { telemetry: HOST }`
          do I understand its security model? partly
            + it is in zone `servers`; what no flow allows is denied
            + people reach it from the lab's own zones
            + no password or token stands in the file
            - give the flows that lead to it a reason: `because:`
          can I rebuild it from documentation? yes
            + the catalogue entry `grafana` says what runs
            + its host is in the file
            + what it is for is written down
            + the last steps are written down
    "#]]
    .assert_eq(&text);
    desk.run(&["assess", REFERENCE, "--format", "markdown"]).code(0).says("| git | 3b | full stack, production |");
    desk.run(&["assess", REFERENCE, "--only", "dashbord"]).code(2).says("did you mean `dashboard`?");
    desk.run(&["assess"]).code(0).says("no services");
}

/// Feeds a program; what it says when it refuses.
fn fed(mut command: Command, input: &str) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{input}", String::from_utf8_lossy(&output.stderr));
    // Graphviz warns of what it mends by itself.
    assert!(!String::from_utf8_lossy(&output.stderr).contains("syntax"), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn graphviz_reads_every_graph() {
    let desk = Desk::new(NASTY);
    for lab in [REFERENCE, WHOLE, "lab.yaml"] {
        for by in ["layer", "zone", "domain"] {
            let mut command = Command::new("dot");
            command.arg("-Tsvg");
            fed(command, &desk.run(&["graph", lab, "--by", by, "--format", "dot"]).code(0).out);
        }
    }
}

#[test]
fn mermaid_reads_every_graph_and_every_map() {
    assert!(Path::new(MERMAID).join("node_modules").exists(), "missing: `mermaid`; run scripts/test-deps");
    let desk = Desk::new(NASTY);
    let mut charts = Vec::new();
    for lab in [REFERENCE, WHOLE, "lab.yaml"] {
        for by in ["layer", "zone", "domain"] {
            charts.push(desk.run(&["graph", lab, "--by", by]).code(0).out);
        }
        for page in [["--page", "map", "--json"].as_slice(), &["--public", "--page", "README", "--json"]] {
            let ran = desk.run(&[&["docs", lab], page].concat()).code(0);
            let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
            let text = json["pages"][0]["text"].as_str().unwrap().to_string();
            let found = text.split("```mermaid\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_string());
            charts.extend(found);
        }
    }
    assert_eq!(charts.len(), 3 * (3 + 3 + 1));
    let mut command = Command::new("node");
    command.arg("parse.mjs").current_dir(MERMAID);
    fed(command, &serde_json::to_string(&charts).unwrap());
}

#[test]
fn pictures_are_printed() {
    let desk = Desk::new("lab: home\n");
    desk.run(&["graph", REFERENCE, "--format", "svg"])
        .code(0)
        .says("<title>Lab reference: what stands on what</title>");
}

/// Every file below a folder, with its text.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            } else {
                found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn pages_are_written_once_and_only_their_own_are_removed() {
    let desk = Desk::new("lab: home\nservices: { wiki: { external: x }, mail: { external: y } }\n");
    desk.run(&["docs", "--out", "pages"]).code(0).says("wrote   services/wiki.md").says("9 pages written");
    let before = files(&desk.path("pages"));
    desk.run(&["docs", "--out", "pages"]).code(0).says("0 pages written, 9 pages as they were, 0 removed");
    assert_eq!(files(&desk.path("pages")), before);

    // What a person wrote stays, however it is named and wherever it stands; so does what a link leads to.
    desk.write("pages/notes.md", "mine\n");
    desk.write("pages/services/old.md", "mine too\n");
    desk.write("pages/deep/er.md", before[0].1.as_bytes());
    desk.write("elsewhere.md", before[0].1.as_bytes());
    symlink(desk.path("elsewhere.md"), desk.path("pages/link.md")).unwrap();
    desk.lab("lab: home\nservices: { wiki: { external: x } }\n");
    desk.run(&["docs", "--out", "pages"]).code(0).says("removed services/mail.md").says("1 removed");
    for kept in ["pages/notes.md", "pages/services/old.md", "pages/deep/er.md", "pages/link.md", "elsewhere.md"] {
        assert!(desk.path(kept).exists(), "{kept}");
    }
    assert!(!desk.path("pages/services/mail.md").exists());
}

#[test]
fn what_somebody_else_wrote_is_never_replaced() {
    let desk = Desk::new("lab: home\nservices: { wiki: { external: x } }\n");
    desk.write("pages/map.md", "mine\n");
    desk.run(&["docs", "--out", "pages"])
        .code(2)
        .says("`pages/map.md` was not written by this command")
        .says("nothing was written");
    assert_eq!(files(&desk.path("pages")).len(), 1);
    fs::remove_file(desk.path("pages/map.md")).unwrap();
    desk.run(&["docs", "--out", "pages"]).code(0);
    // The other edition is somebody else's too.
    desk.run(&["docs", "--public", "--out", "pages"]).code(2).says("`pages/README.md` was not written");
    desk.run(&["docs", "--public", "--out", "public"]).code(0).says("wrote   protection.md");
}

#[test]
fn pages_are_listed_and_printed() {
    let desk = Desk::new("lab: home\nservices: { wiki: { external: x } }\n");
    desk.run(&["docs"]).code(0).says("services/wiki.md   wiki");
    desk.run(&["docs", "--page", "services/wiki"]).code(0).says("# wiki");
    desk.run(&["docs", "--page", "services/wki.md"]).code(2).says("did you mean `services/wiki.md`?");
    desk.run(&["docs", "--public", "--page", "protection"]).code(0).says("# Data protection").says_not("wiki");
}

#[test]
fn a_lab_with_faults_is_answered_with_a_warning() {
    let desk = Desk::new("lab: home\nnonsense: 1\nservices: { wiki: { external: x } }\n");
    for args in [["blast", "wiki"].as_slice(), &["assess"], &["graph"], &["docs"]] {
        desk.run(args).code(0).says("the lab contradicts itself in 1 place");
    }
}
