//! From a lab's text to the matrix and the answers; and what proofs change.

use std::time::Duration;

use expect_test::{Expect, expect};
use labwright_model::{Files, Parsed, parse};

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

fn told(assessment: &Assessment) -> String {
    let mut out = String::new();
    for row in &assessment.services {
        let Assessed { service, level, tier, hardware, os, backups, answers } = row;
        out += &format!("{service}: {} {tier}: {hardware} / {os} / {backups}\n", level.word());
        for answer in answers {
            let proven = if answer.proven { ", proven" } else { "" };
            out += &format!("  {} {}{proven}\n", answer.question.word(), answer.verdict.word());
            out += &answer.evidence.iter().map(|point| format!("    + {point}\n")).collect::<String>();
            out += &answer.wanting.iter().map(|point| format!("    - {point}\n")).collect::<String>();
        }
    }
    out
}

#[track_caller]
fn says(text: &str, golden: Expect) {
    golden.assert_eq(&told(&assess(&lab(text), &Evidence::File)));
}

#[test]
fn a_service_that_the_file_says_nothing_about() {
    says(
        "services: { thing: {} }\n",
        expect![[r#"
            thing: 3a lab: nobody / nobody / nobody
              restore no
                - say where its data is (`data:`) and how it is copied: `backup: POLICY`
                - write down the way back: `restore_notes:`
              detect no
                - let something watch: `platform: { monitoring: HOST }`
                - ask whether it works: `probe: /PATH`
                - keep logs off the machine that writes them: `platform: { telemetry: HOST }`
              security no
                + only services that need it reach it
                + no flow leads to it
                + no password or token stands in the file
                - say where it runs: `on: HOST`
              rebuild no
                - say what runs: `use`, `compose`, `containers`, `run` or `built_in`
                - say where it runs: `on: HOST`
                - say what it is for: `description:`
                - write down what is left to do by hand: `restore_notes:`
        "#]],
    );
}

#[test]
fn a_rented_machine_is_level_two() {
    let lab = lab(
        "owner: joe\ncompute: { hosts: { vps: { provider: hetzner }, inner: { vm: { on: vps } }, box: {} } }\nservices:\n  a: { run: a, on: vps, tier: production }\n  b: { run: b, on: inner }\n  c: { run: c, on: [vps, box] }\n  d: { run: d, on: box }\n",
    );
    let rows = assess(&lab, &Evidence::File).services;
    let told: Vec<(&str, &str)> = rows.iter().map(|row| (row.level.word(), row.hardware.as_str())).collect();
    assert_eq!(told, [("2", "hetzner"), ("2", "hetzner"), ("3a", "joe"), ("3a", "joe")]);
}

/// The points of one answer for one service.
#[track_caller]
fn of_first(text: &str, question: Question) -> (Verdict, Vec<String>, Vec<String>) {
    let rows = assess(&lab(text), &Evidence::File).services;
    let answer = rows[0].answer(question).unwrap().clone();
    (answer.verdict, answer.evidence, answer.wanting)
}

#[test]
fn what_keeps_nothing_is_restored_by_starting_it() {
    let of = |more: &str| {
        of_first(&format!("services: {{ a: {{ run: a, restore_notes: start it{more} }} }}\n"), Question::Restore)
    };
    assert_eq!(of(", data: []").0, Verdict::Yes);
    assert_eq!((of("").0, of(", data: [x]").0), (Verdict::No, Verdict::No));
}

#[test]
fn a_host_that_describes_itself_is_a_description() {
    let of = |host: &str, question| {
        let text = format!(
            "platform: {{ monitoring: w, telemetry: w }}\ncompute: {{ hosts: {{ a: {{ {host}, vm: {{ on: p }} }}, p: {{}}, w: {{}} }} }}\nservices: {{ i: {{ built_in: services.i, on: a, description: x, restore_notes: x, probe: / }} }}\n"
        );
        of_first(&text, question)
    };
    assert_eq!(of("os: nixos, flake: .#a", Question::Rebuild).0, Verdict::Yes);
    assert_eq!(of("os: nixos", Question::Rebuild).0, Verdict::Partly);
    let told = |host: &str| format!("{:?}", of(host, Question::Detect));
    assert!(told("os: nixos, flake: .#a").contains("the next build from its flake"));
    assert!(told("os: nixos").contains("say what `a` is built from"));
    assert!(told("os: other").contains("describe `a`"));
    assert!(told("os: debian").contains("`labwright drift` shows"));
}

#[test]
fn alerts_that_are_dropped_reach_nobody() {
    let of = |routes: &str| {
        let text = format!(
            "platform: {{ monitoring: {{ on: w, notify: {{ p: \"ntfy://x\" }}, routes: {routes} }} }}\ncompute: {{ hosts: {{ w: {{}} }} }}\nservices: {{ i: {{ run: i, on: w }} }}\n"
        );
        format!("{:?}", of_first(&text, Question::Detect))
    };
    assert!(of("[{ to: none }, { match: { severity: critical }, to: p }]").contains("critical alerts are dropped"));
    assert!(of("[{ match: { severity: critical }, to: p }, { to: none }]").contains("alerts reach a person"));
}

#[test]
fn a_published_port_is_reached_by_more_than_services() {
    let of = |address: &str, port: &str| {
        let text = format!(
            "compute: {{ hosts: {{ v: {{ address: {address} }} }} }}\nservices: {{ i: {{ containers: {{ a: {{ image: \"i:1\", ports: [\"{port}\"] }} }}, on: v }} }}\n"
        );
        format!("{:?}", of_first(&text, Question::Security))
    };
    assert!(of("85.214.3.7", "9443:9443").contains("take `9443:9443` off the public address of `v`"));
    assert!(of("10.0.0.7", "9443:9443").contains("`9443:9443` is open on its host"));
    assert!(of("85.214.3.7", "127.0.0.1:9443:9443").contains("only services that need it"));
}

/// Everything that the file can say in favour of a service.
const GOOD: &str = r#"
owner: ada
network:
  zones: { servers: { subnet: 10.0.20.0/24 } }
  flows: [{ from: servers, to: wiki, allow: https, because: people read it }]
platform:
  monitoring: { on: mon-01, notify: { phone: "ntfy://x" } }
  telemetry: mon-01
compute:
  docker_hosts: [docker-01]
  hosts:
    docker-01: { zone: servers, vm: { on: pve-01, image: debian-12 } }
    pve-01: { site: home }
    mon-01: { zone: servers }
    far: { site: cabin }
services:
  wiki:
    containers: { app: { image: "wiki:2.1", environment: { DB_PASSWORD: "${secret.wiki}" } } }
    on: docker-01
    tier: production
    expose: lan
    description: what we know
    data: [wiki]
    backup: nightly
    probe: /healthz
    restore_notes: restore, start, read a page
protection:
  repositories: { cabin: { on: far } }
  policies: { nightly: { schedule: "03:15", to: cabin, drill: weekly, proof_within: 14d } }
"#;

#[test]
fn a_service_that_is_well_described() {
    says(
        GOOD,
        expect![[r#"
            wiki: 3b production: ada / ada / ada
              restore yes
                + `nightly` copies it at 03:15 to `cabin`
                + `cabin` fails with none of its machines
                + a restore is rehearsed: weekly
                + the way back is written down: restore, start, read a page
              detect yes
                + `mon-01` watches
                + alerts reach a person
                + a probe asks whether it works
                + logs are kept on another machine
                + `labwright drift` shows what was changed by hand on its hosts
              security yes
                + it is in zone `servers`; the flows are declared, and not enforced by its host
                + people reach it from the lab's own zones
                + every flow that leads to it has its reason (1)
                + its containers keep to themselves
                + no password or token stands in the file
              rebuild yes
                + the file says which containers run
                + its host is in the file
                + its images name their versions; a tag can be pushed again
                + what it is for is written down
                + the last steps are written down
        "#]],
    );
}

#[test]
fn what_is_loose_is_named_with_the_way_out() {
    says(
        r#"
network: { zones: { servers: {} }, flows: [{ from: servers, to: box }] }
platform: { monitoring: box }
compute: { hosts: { box: { zone: servers, vm: { on: big } }, big: { os: other } } }
services:
  loose:
    containers:
      app:
        image: app:latest
        network_mode: host
        privileged: true
        volumes: ["/var/run/docker.sock:/var/run/docker.sock"]
        environment: { API_TOKEN: hunter2, NAME: x }
    on: box
    expose: public
    backup: here
protection: { repositories: { disk: { on: box } }, policies: { here: { to: disk } } }
"#,
        expect![[r#"
            loose: 3a lab: nobody / nobody / nobody
              restore partly
                + `here` copies it at 03:00 to `disk`
                - keep one copy where another machine, hypervisor and site would have to fail: a repository elsewhere
                - rehearse restores: `drill: weekly` in policy `here`
                - write down the way back: `restore_notes:`
              detect partly
                + `box` watches
                + `labwright drift` shows what was changed by hand on its hosts
                - watch it from another machine: whoever takes this one takes the watcher too
                - send alerts somewhere: `notify:` and `routes:` under `platform.monitoring`
                - ask whether it works: `probe: /PATH`
                - keep logs off the machine that writes them: `platform: { telemetry: HOST }`
              security partly
                + it is in zone `servers`; the flows are declared, and not enforced by its host
                + no password or token stands in the file
                - say who on the internet may reach it: an `access` policy under `edge.public.cloudflare` that `covers` it, or `access: everyone`
                - narrow what 1 of the flows that lead to it let through, or say why it is all: `allow:`, `because:`
                - keep its containers to themselves: `app` is on the host's own network, `app` is privileged, `app` may command Docker
              rebuild partly
                + the file says which containers run
                + its host is in the file
                - say which image `box` is made from: `image:`
                - pin the images, or a rebuild gets others: `app:latest`
                - say what it is for: `description:`
                - write down what is left to do by hand: `restore_notes:`
        "#]],
    );
}

#[test]
fn someone_elses_machines_are_their_matter() {
    says(
        "owner: ada\nservices:\n  mail: { external: fastmail }\n  site: { external: { provider: pages, level: 1 }, probe: / }\n  rented: { external: { provider: hoster, level: 2 } }\n",
        expect![[r#"
            mail: 0 lab: fastmail / ada (settings) / fastmail
              restore partly
                + `fastmail` keeps copies
                - take an export of your own now and then, and name the policy that keeps it: `backup: POLICY`
                - write down how to come back from an export: `restore_notes:`
              detect partly
                + `fastmail` watches it
                - ask whether it works: `probe: /PATH`
                - have `fastmail` tell you of logins that are not yours
              security partly
                + `fastmail` answers for it
                - write down what it holds and who may log in: `description:`
              rebuild partly
                + `fastmail` runs it
                - its settings stand nowhere but there: write down which ones matter, or export them
            site: 1 lab: pages / ada (apps) / pages
              restore partly
                + `pages` keeps copies
                - take an export of your own now and then, and name the policy that keeps it: `backup: POLICY`
                - write down how to come back from an export: `restore_notes:`
              detect partly
                + `pages` watches it
                + a probe asks whether it works
                - have `pages` tell you of logins that are not yours
              security partly
                + `pages` answers for it
                - write down what it holds and who may log in: `description:`
              rebuild partly
                + `pages` runs it
                - its settings stand nowhere but there: write down which ones matter, or export them
            rented: 2 lab: hoster / ada / ada
              restore no
                - say where its data is (`data:`) and how it is copied: `backup: POLICY`
                - write down the way back: `restore_notes:`
              detect no
                - let something watch: `platform: { monitoring: HOST }`
                - ask whether it works: `probe: /PATH`
                - keep logs off the machine that writes them: `platform: { telemetry: HOST }`
              security partly
                + only services that need it reach it
                + no flow leads to it
                + no password or token stands in the file
                - describe the rented machine as a host in a zone, so that the flows to it are declared
              rebuild no
                - say what runs: `use`, `compose`, `containers`, `run` or `built_in`
                - say what it is for: `description:`
                - write down what is left to do by hand: `restore_notes:`
        "#]],
    );
}

fn proof(what: Proven, outcome: Outcome, days: u64) -> Proof {
    Proof {
        service: "wiki".into(),
        environment: None,
        what,
        outcome,
        at: "2026-03-01".into(),
        age: Duration::from_secs(days * 86400),
    }
}

fn answer(proofs: Vec<Proof>, question: Question) -> (Verdict, bool, String) {
    let assessment = assess(&lab(GOOD), &Evidence::Tried(proofs));
    let answer = assessment.services[0].answer(question).unwrap();
    (answer.verdict, answer.proven, answer.wanting.join("; "))
}

#[test]
fn what_was_tried_counts_for_more_than_what_is_declared() {
    let passed = || Outcome::Passed;
    let yes = |proven| (Verdict::Yes, proven, String::new());
    assert_eq!(answer(vec![proof(Proven::Drill, passed(), 3)], Question::Restore), yes(true));
    assert_eq!(
        answer(Vec::new(), Question::Restore),
        (Verdict::Partly, false, "rehearse a restore: nothing was tried yet".into())
    );
    assert_eq!(
        answer(vec![proof(Proven::Drill, passed(), 20)], Question::Restore),
        (Verdict::Partly, false, "rehearse a restore: the last, on 2026-03-01, is too old".into())
    );
    let failed = proof(Proven::Drill, Outcome::Failed("the database is empty".into()), 1);
    assert_eq!(
        answer(vec![failed.clone(), proof(Proven::Drill, passed(), 3)], Question::Restore),
        (Verdict::No, false, "mend what failed on 2026-03-01: the database is empty".into())
    );
    // An older failure is mended by a newer success.
    let older = Proof { age: Duration::from_secs(9 * 86400), ..failed };
    assert_eq!(answer(vec![older, proof(Proven::Drill, passed(), 3)], Question::Restore), yes(true));
    assert_eq!(answer(vec![proof(Proven::Probe, passed(), 0)], Question::Detect), yes(true));
    assert_eq!(answer(vec![proof(Proven::Rebuild, passed(), 90)], Question::Rebuild), yes(true));
    assert_eq!(answer(Vec::new(), Question::Security), yes(false));
}

#[test]
fn only_production_is_denied() {
    let denied = |tier: &str| {
        let text = format!("services: {{ thing: {{ run: x, tier: {tier} }} }}\n");
        assess(&lab(&text), &Evidence::File).services[0].is_denied()
    };
    assert!(denied("production") && !denied("lab"));
}

/// An answer that is not yes says what would make it one, and a yes wants nothing.
#[test]
fn every_answer_but_yes_names_the_way_to_it() {
    let whole = include_str!("../../../labwright-model/tests/whole.yaml");
    for text in [GOOD, whole, include_str!("../../../../examples/reference/lab.yaml")] {
        for row in assess(&lab(text), &Evidence::File).services {
            for answer in row.answers {
                assert_eq!(answer.verdict == Verdict::Yes, answer.wanting.is_empty(), "{answer:?}");
            }
        }
    }
}

#[test]
fn a_service_that_probes_others_watches() {
    let lab = "owner: me\ncompute: { hosts: { a: { address: 10.0.0.1 } } }\nservices:\n  wiki: { run: wiki, on: a, probe: / }\n  up: { on: a, containers: { k: { image: \"louislam/uptime-kuma:1\" } } }\n";
    let of = |lab: &str| {
        let assessment = assess(&self::lab(lab), &Evidence::File);
        let answers = assessment.services.iter().filter_map(|service| service.answer(Question::Detect));
        let told = answers.map(|detect| (detect.verdict, detect.evidence.join("\n"), detect.wanting.join("\n")));
        told.collect::<Vec<_>>()
    };
    let all = of(lab);
    let (verdict, evidence, wanting) = &all[0];
    assert_eq!(*verdict, Verdict::Partly);
    assert!(evidence.contains("`up` probes") && wanting.contains("say who is told"), "{evidence}\n{wanting}");
    assert_eq!(all[1].0, Verdict::No, "nobody watches itself");
    let dashboard = lab.replace("louislam/uptime-kuma", "dashboard").replace("up:", "board:");
    assert_eq!(of(&dashboard)[0].0, Verdict::No);
}
