//! Every rule at once: its page, its examples, its code. And rules against labs, from text to text.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use labwright_model::{Files, parse};

use super::*;

/// A store of secrets as the rules see it: names, recipients, and values that say nothing.
const STORE: &str = "\
pg: ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]
app: ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]
other: ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]
sops:
  age:
    - recipient: age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq
      enc: x
";

struct One<'a> {
    lab: &'a str,
    store: &'a str,
}

impl Files for One<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match path {
            "lab.yaml" => Ok(self.lab.as_bytes().to_vec()),
            "secrets.yaml" => Ok(self.store.as_bytes().to_vec()),
            "folder/compose.yaml" => {
                Ok(b"services: { web: { image: \"nextcloud:${TAG:-31}\", volumes: [./data:/var/www/html] } }".to_vec())
            }
            "wiki/compose.yaml" | "c.yaml" | "y.yaml" => {
                Ok(b"services: { web: { image: \"wiki:2\", healthcheck: { test: x } } }".to_vec())
            }
            _ => Err("no such file".to_string()),
        }
    }
    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

pub(super) fn found(text: &str) -> (Parsed, Findings) {
    found_of(text, STORE)
}

fn found_of(lab: &str, store: &str) -> (Parsed, Findings) {
    let mut parsed = parse("lab.yaml", &One { lab, store });
    parsed.as_of = Some("2026-11-01".parse().unwrap());
    let findings = check(&parsed);
    (parsed, findings)
}

/// What a lab is told, from text to text. What its store is told is left out: it is the same one for all of them.
#[track_caller]
pub(super) fn says(text: &str, golden: Expect) {
    let (parsed, mut findings) = found(text);
    findings.retain(|finding| parsed.place(finding.span).is_none_or(|place| place.file == "lab.yaml"));
    told(&parsed, &findings, &golden);
}

/// As `says`, of one rule alone.
#[track_caller]
pub(super) fn says_only(code: &str, text: &str, golden: Expect) {
    let (parsed, mut findings) = found(text);
    findings.retain(|finding| finding.code == code);
    told(&parsed, &findings, &golden);
}

/// What a lab and its store of secrets are told.
#[track_caller]
pub(super) fn says_of(lab: &str, store: &str, golden: Expect) {
    let (parsed, findings) = found_of(lab, store);
    told(&parsed, &findings, &golden);
}

/// The layer whose tests ask: a rule's goldens must not change with the rules of other rooms. Tests of no room hear all.
#[track_caller]
fn room() -> &'static str {
    let rooms = [
        ("lab", "LW-LAB"),
        ("edge", "LW-EDGE"),
        ("network", "LW-NET"),
        ("compute", "LW-CMP"),
        ("platform", "LW-PLT"),
        ("services", "LW-SVC"),
        ("protection", "LW-DAT"),
    ];
    let file = std::panic::Location::caller().file();
    rooms.iter().find(|(room, _)| file.contains(&format!("/check/{room}/"))).map_or("LW-", |(_, codes)| codes)
}

#[track_caller]
fn told(parsed: &Parsed, findings: &Findings, golden: &Expect) {
    let room = room();
    let asked = |finding: &&Finding| finding.code.starts_with(room) || finding.code.starts_with("LW-LAB-0");
    let place = |span| match parsed.place(span) {
        Some(place) if place.file == "lab.yaml" => format!("{}:{}", place.line, place.column),
        Some(place) => format!("{}:{}:{}", place.file, place.line, place.column),
        None => "-".to_string(),
    };
    let line = |finding: &Finding| {
        let related: String =
            finding.related.iter().map(|(span, label)| format!("    {}: {label}\n", place(*span))).collect();
        format!(
            "{} {} {}: {}\n    help: {}\n{related}",
            place(finding.span),
            finding.severity.name(),
            finding.code,
            finding.message,
            finding.help
        )
    };
    golden.assert_eq(&findings.iter().filter(asked).map(line).collect::<String>());
}

#[test]
fn every_rule_keeps_what_its_page_says() {
    let mut codes = BTreeSet::new();
    for rule in RULES {
        let code = rule.code();
        assert!(codes.insert(code), "{code} twice");
        let form: Vec<&str> = code.split('-').collect();
        assert!(
            matches!(form[..], ["LW", "LAB" | "EDGE" | "NET" | "CMP" | "PLT" | "SVC" | "DAT", n] if n.len() == 3),
            "{code}"
        );
        assert!(rule.doc().len() > 100 && rule.doc().contains("way out"), "{code} has no page");
        assert!(sources::has_source(rule.doc()), "{code} does not say where it comes from");
        let Examples { fails, passes } = rule.examples();
        let (_, bad) = found(fails);
        assert!(bad.iter().any(|finding| finding.code == code), "{code}: the failing example passes");
        for finding in &bad {
            assert!(!finding.help.is_empty(), "{code}: no help in {finding:?}");
            assert!(
                finding.code == code || finding.severity != Severity::Error,
                "{code}: the failing example also breaks {finding:?}"
            );
        }
        let (_, good) = found(passes);
        assert!(
            good.iter().all(|finding| finding.code != code && finding.severity != Severity::Error),
            "{code}: {good:?}"
        );
        assert!(explain(code).is_some_and(|page| page.contains(rule.title())));
    }
    for code in all_codes() {
        assert!(explain(code).is_some(), "{code}");
    }
}

#[test]
fn a_page_says_which_document_it_speaks_of() {
    assert!(!sources::has_source("It comes from experience (issue #12), and/or from https."));
    assert!(sources::has_source("as in getsops/sops#571 (how)") && sources::has_source("see (RFC 1123, section 2.1)"));
    let page = explain("LW-CMP-001").unwrap();
    assert!(page.contains("\nDocument 0 is \"Homelab Architecture\"") && page.contains("\nDocument 3 is "), "{page}");
    assert!(!page.contains("Document 1 is"), "{page}");
}

#[test]
fn names_of_another_kind_and_near_names_are_told() {
    says(
        "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\n  flows:\n    - { from: server, to: internet }\ncompute:\n  hosts:\n    docker-01: { zone: docker-01, address: 10.0.20.21 }\nplatform:\n  dns: docker-02\n  monitoring: doker-01\n",
        expect![[r#"
            5:7 advice LW-NET-013: zones and flows are declared, and nothing enforces them
                help: write `network: { firewall: enforce }`, after `labwright rehearse` has tried it; `firewall: off` keeps it as it is
            5:15 error LW-LAB-101: there is no zone, host or service named `server`
                help: did you mean `servers`?
            8:24 error LW-LAB-101: `docker-01` is a host, and a zone belongs here
                help: declared are servers
            10:8 advice LW-CMP-003: host `docker-02` is only named by its role
                help: describe it: `compute: { hosts: { docker-02: { address: … } } }`
            11:15 error LW-LAB-101: there is no host named `doker-01`
                help: did you mean `docker-01`?
        "#]],
    );
}

#[test]
fn a_cycle_is_shown_whole() {
    says(
        "services:\n  a: { external: x, needs: [b] }\n  b: { external: y, needs: [c] }\n  c: { external: z, needs: [a] }\n",
        expect![[r#"
            2:29 error LW-LAB-104: services need each other in a circle: `a` → `b` → `c` → `a`
                help: take one `needs` or `egress` out: one of them must start without the other
                3:29: the way on from `b`
                4:29: the way on from `c`
        "#]],
    );
}

#[test]
fn overlaps_are_found_in_both_families_and_neighbours_are_not() {
    says(
        "network:\n  zones:\n    a: { subnet: [10.0.0.0/16, \"fd00:1::/64\"] }\n    b: { subnet: [10.0.3.0/24, \"fd00:1::/56\"] }\n    c: { subnet: 10.1.0.0/16 }\n    vpn: { subnet: 100.64.0.0/10 }\n    cgnat: { subnet: 100.90.0.0/24 }\n",
        expect![[r#"
            4:19 error LW-NET-003: `10.0.3.0/24` of zone `b` overlaps `10.0.0.0/16` of zone `a`
                help: make one of the two smaller, or move it
                3:19: overlaps this
            4:32 error LW-NET-003: `fd00:1::/56` of zone `b` overlaps `fd00:1::/64` of zone `a`
                help: make one of the two smaller, or move it
                3:32: overlaps this
            7:22 error LW-NET-003: `100.90.0.0/24` of zone `cgnat` overlaps `100.64.0.0/10` of zone `vpn`
                help: make one of the two smaller, or move it
                6:20: overlaps this
        "#]],
    );
}

#[test]
fn an_acceptance_counts_for_its_line_and_its_code_alone() {
    let lab = "compute:\n  hosts:\n    a: { address: 10.0.0.5 }\n    # labwright: allow LW-NET-001 because the address moves with keepalived\n    b: { address: 10.0.0.5 }\n    c: { address: 10.0.0.5 }\n";
    says(
        lab,
        expect![[r#"
            6:19 error LW-NET-001: `c` has the address `10.0.0.5` of `a`
                help: give `c` an address of its own
                3:19: first given here
        "#]],
    );
    says(
        "compute:\n  hosts:\n    a: { address: 10.0.0.5 } # labwright: allow LW-NET-001 because it was so once\n    b: { local: true } # labwright: allow LW-NET-01 because of a typing error\n",
        expect![[r#"
        3:30 warning LW-LAB-010: nothing to accept here: `LW-NET-001` is not found on line 3
            help: the fault is gone or stands on another line: remove the comment, or move it to the line of the fault
        4:24 error LW-LAB-010: nothing to accept here: `LW-NET-01` is not found on line 4
            help: there is no `LW-NET-01`; did you mean `LW-NET-001`?
    "#]],
    );
}

/// A fault that two rules could see is told by one of them.
#[test]
fn one_mistake_is_one_finding() {
    let codes = |text: &str| -> Vec<&'static str> {
        let (_, findings) = found(text);
        let of_copies = findings.iter().map(|finding| finding.code);
        of_copies.filter(|code| ["LW-PLT-012", "LW-DAT-001", "LW-DAT-007"].contains(code)).collect()
    };
    let mounted = "owner: joe\ncompute: { hosts: { nas: { address: 192.168.1.5 }, docker: { address: 192.168.1.12, mounts: { /mnt/backup: { nfs: \"nas:/tank/backup\" } } } } }\nprotection:\n  repositories: { local: { on: docker, path: /mnt/backup/restic } }\n  policies: { n: { to: local } }\nservices:\n  photos: { run: x, on: nas, data: [/tank/photos], backup: n }\n";
    assert_eq!(codes(mounted), ["LW-DAT-001"]);
    let locked = "owner: joe\ncompute: { hosts: { sec: { address: 192.168.1.12 } } }\nplatform: { secrets: { vault: { on: sec } } }\nprotection: { repositories: { b2: { url: \"b2:x:y\", passphrase: \"${secret.restic}\" } }, policies: { n: { to: b2 } } }\nservices:\n  openbao: { run: bao, on: sec, backup: n, data: [bao] }\n";
    assert_eq!(codes(locked), ["LW-DAT-007"]);
}

#[test]
fn rules_that_are_shared_out_find_what_they_find_in_turn() {
    let mut text = "lab: large\ncompute:\n  hosts:\n".to_string();
    text.extend((0..60).map(|host| format!("    h{host}: {{ tier: production }}\n")));
    text += "services:\n";
    text.extend((0..700).map(|service| {
        let (on, need) = (service % 60, service + 1);
        format!(
            "  s{service}: {{ on: h{on}, containers: {{ app: {{ image: \"app{service}:latest\" }} }}, needs: [s{need}], data: [d], port: 3000 }}\n"
        )
    }));
    assert!(text.len() > super::SHARED_OUT, "{}", text.len());
    let (parsed, at_once) = found(&text);
    let in_turn = super::judge_watched(&super::Case::of(&parsed), Findings::new(), &mut |_, judge| judge());
    let codes: std::collections::BTreeSet<&str> = at_once.iter().map(|finding| finding.code).collect();
    assert!(codes.len() >= 5 && at_once.len() > 60, "{codes:?}: {}", at_once.len());
    assert_eq!(at_once, in_turn);
}
