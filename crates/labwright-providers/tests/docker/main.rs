//! What Compose files that people use become: every one of the model's own corpus, as resources of a host.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use labwright_model::{Files, Severity, parse};
use labwright_plan::{Input, Lowered, Provider, Value};
use labwright_providers::{docker::Docker, host::Host};

/// Those that a service becomes resources of.
const PROVIDERS: &[&dyn Provider] = &[&Host, &Docker];

/// A lab file in memory, and the corpus as it lies on the disk.
struct Corpus(String);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../labwright-model/tests/compose")
}

impl Files for Corpus {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match path {
            "lab.yaml" => Ok(self.0.clone().into_bytes()),
            path => std::fs::read(folder().join(path)).map_err(|_| "no such file".to_string()),
        }
    }

    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

/// Every case of the corpus: a file, or a folder's `compose.yaml`.
fn cases() -> Vec<(String, String)> {
    let mut cases: Vec<(String, String)> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            match name.strip_suffix(".yaml") {
                Some(stem) => Some((stem.to_string(), name.clone())),
                None if folder().join(&name).is_dir() => Some((name.clone(), format!("{name}/compose.yaml"))),
                None => None,
            }
        })
        .collect();
    cases.sort();
    cases
}

/// What a Compose file becomes on one host, and all that is said of it.
fn lowered(name: &str, path: &str) -> (Lowered, Vec<String>, bool) {
    let lab = format!(
        "compute: {{ hosts: {{ d: {{ address: 10.0.0.7 }} }} }}\nservices: {{ {name}: {{ on: d, compose: {path} }} }}\n"
    );
    let files = Corpus(lab);
    let parsed = parse("lab.yaml", &files);
    let mut assets: BTreeMap<String, Result<Vec<u8>, String>> = BTreeMap::new();
    for asset in labwright_providers::assets(&parsed) {
        match asset.strip_suffix('/') {
            Some(file) if folder().join(file).is_file() => drop(assets.insert(file.to_string(), files.read(file))),
            _ => drop(assets.insert(asset.clone(), files.read(&asset))),
        }
    }
    let mut lowered = Lowered::default();
    PROVIDERS.iter().for_each(|provider| provider.lower(&Input::of(&parsed, &assets), &mut lowered));
    let all = parsed.findings.iter().chain(&lowered.findings);
    let failed = all.clone().any(|finding| finding.severity == Severity::Error);
    let said = all
        .map(|finding| {
            let place = parsed.place(finding.span).map_or("-".into(), |place| format!("{}:{}", place.file, place.line));
            format!(
                "{} {} {place}: {}",
                format!("{:?}", finding.severity).to_lowercase(),
                finding.code,
                finding.message
            )
        })
        .collect();
    (lowered, said, failed)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Map(fields) if fields.values().any(|value| matches!(value, Value::Map(_))) => {
            let parts: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {}", shown(value))).collect();
            format!("{{{}}}", parts.join(", "))
        }
        other => other.to_string(),
    }
}

#[test]
fn every_file_of_the_corpus_becomes_resources() {
    let mut text = String::new();
    for (name, path) in cases() {
        let (lowered, said, _) = lowered(&name, &path);
        writeln!(text, "== {path}").unwrap();
        said.iter().for_each(|finding| writeln!(text, "! {finding}").unwrap());
        for resource in &lowered.resources {
            writeln!(text, "{}", resource.id).unwrap();
            for (field, value) in &resource.spec {
                let shown = shown(value);
                let empty =
                    matches!(shown.as_str(), "[]" | "{}") || matches!(field.as_str(), "stack" | "service" | "folder");
                let usual = field == "number" && shown == "1";
                if !empty && !usual {
                    writeln!(text, "    {field}: {shown}").unwrap();
                }
            }
        }
    }
    expect_file!["corpus.txt"].assert_eq(&text);
}

/// Only what nobody could carry out stops a file: images that are built, and what a swarm or a store would have to give.
#[test]
fn no_file_of_the_corpus_is_refused_but_for_what_must_be() {
    let failed: Vec<(String, Vec<String>)> = cases()
        .into_iter()
        .filter_map(|(name, path)| {
            let (_, said, failed) = lowered(&name, &path);
            let errors: Vec<String> = said.into_iter().filter(|line| line.starts_with("error")).collect();
            failed.then_some((path, errors))
        })
        .collect();
    expect_test::expect![[r#"
        [
            (
                "build/compose.yaml",
                [
                    "error LW-SVC-106 build/compose.yaml:26: the image of `inline` would have to be built, and images are built elsewhere",
                ],
            ),
            (
                "games.yaml",
                [
                    "error LW-SVC-110 games.yaml:7: `~/backups` is no path that the host could know",
                ],
            ),
            (
                "long/compose.yaml",
                [
                    "error LW-SVC-102 long/compose.yaml:51: labels of a volume are not given where it is mounted",
                    "error LW-SVC-102 long/compose.yaml:52: `bind.recursive` is not supported",
                    "error LW-SVC-102 long/compose.yaml:53: mounting an image is not supported",
                    "error LW-SVC-102 long/compose.yaml:95: the config `k1` would have to come from a swarm",
                    "error LW-SVC-102 long/compose.yaml:96: the config `k2` would have to come from a swarm",
                ],
            ),
            (
                "observer.yaml",
                [
                    "error LW-SVC-101 observer.yaml:47: cannot read `rules.yml`, the content of the config `rules`: no such file",
                ],
            ),
            (
                "override/compose.yaml",
                [
                    "error LW-SVC-101 override/compose.yaml:27: cannot read `override/c.txt`, the content of the config `c`: no such file",
                    "error LW-SVC-101 override/compose.yaml:27: cannot read `override/c.txt`, the content of the config `c`: no such file",
                ],
            ),
            (
                "variables/compose.yaml",
                [
                    "error LW-SVC-109 variables/compose.yaml:25: 2 containers of `web` cannot all have the one port that it publishes",
                ],
            ),
        ]
    "#]].assert_debug_eq(&failed);
}

/// A lab of one host, as all providers lower it.
fn of_lab(services: &str) -> (Lowered, Vec<String>) {
    let lab = format!("compute: {{ hosts: {{ d: {{ address: 10.0.0.7 }} }} }}\nservices:\n{services}");
    let parsed = parse("lab.yaml", &Corpus(lab));
    let (assets, mut lowered) = (BTreeMap::new(), Lowered::default());
    PROVIDERS.iter().for_each(|provider| provider.lower(&Input::of(&parsed, &assets), &mut lowered));
    let said = parsed.findings.iter().chain(&lowered.findings).map(|finding| finding.message.clone()).collect();
    (lowered, said)
}

#[test]
fn a_process_is_a_unit_with_its_user_its_port_and_its_order() {
    let (lowered, said) = of_lab(
        "  book: { run: { command: [guestbook, --port, \"${port}\", \"50% off\"], user: guest, environment: { DB: \"pw=${secret.pg}\" }, restart: on-failure }, on: d, needs: [db] }
  db: { containers: { pg: { image: \"pg:16\" } }, port: 5432, on: d }
  web: { containers: { app: { image: \"web:1\" } }, on: d, needs: [book] }
  alone: { run: /usr/bin/alone, on: d }
",
    );
    assert_eq!(said, Vec::<String>::new());
    let find = |id: &str| {
        lowered.resources.iter().find(|resource| resource.id.as_str() == id).unwrap_or_else(|| panic!("{id}"))
    };
    let unit = find("d/host/unit/lab-book.service");
    expect_test::expect![[r##"
        # Written by labwright.
        [Unit]
        Description=book
        Wants=network-online.target
        After=network-online.target docker.service

        [Service]
        Type=exec
        ExecStart=guestbook --port 27400 "50%% off"
        Restart=on-failure
        RestartSec=2
        NoNewPrivileges=yes
        PrivateTmp=yes
        User=guest

        [Install]
        WantedBy=multi-user.target
    "##]]
    .assert_eq(unit.spec["content"].text().unwrap());
    assert_eq!((&unit.spec["running"], &unit.spec["enabled"]), (&Value::Bool(true), &Value::Bool(true)));
    let after: Vec<&str> = unit.after.iter().map(|id| id.as_str()).collect();
    assert!(after.contains(&"d/docker/container/db-pg-1") && after.contains(&"d/host/user/guest"), "{after:?}");
    assert_eq!(find("d/host/user/guest").spec["system"], Value::Bool(true));
    // A process of the host reaches the container at loopback; a container reaches the process at the host's address.
    assert_eq!(find("d/docker/container/db-pg-1").spec["ports"].to_string(), "[127.0.0.1:5432:5432/tcp]");
    let web = find("d/docker/container/web-app-1");
    assert_eq!(web.spec["options"].to_string(), "{extra_hosts: [book:10.0.0.7]}");
    assert!(web.after.iter().any(|id| id.as_str() == "d/host/unit/lab-book.service"));
    assert!(find("d/host/unit/lab-alone.service").spec["content"].text().unwrap().contains("DynamicUser=yes"));
    // The secret is in a file in memory, and not in the unit.
    let file = find("d/host/file//etc/labwright/lab-book.service.environment");
    assert_eq!(file.spec["content"].to_string(), "secret `pg`");
    let (_, said) = of_lab("  x: { run: [x, \"${secret.pg}\"], on: d }\n");
    assert!(said.iter().any(|said| said.contains("is shown by `ps`")), "{said:?}");
}
