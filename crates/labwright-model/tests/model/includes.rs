//! Labs of several files: `include`, folders, and what two files may not both say.

use expect_test::expect;
use labwright_model::{beside, parse};

use crate::support::{InMemory, check_files, shown};

#[test]
fn files_unite_by_section() {
    let files = InMemory::of(&[
        ("home/lab.yaml", "lab: home\ninclude: [hosts.yaml, parts]\ncompute: { proxmox: [pve-01] }\n"),
        ("home/hosts.yaml", "compute: { proxmox: [pve-02], hosts: { a: { zone: servers } } }\n"),
        ("home/parts/10-net.yaml", "network: { zones: { servers: { vlan: 20 } } }\n"),
        ("home/parts/20-more.yaml", "network: { zones: { iot: { vlan: 40 } } }\nlab: home\n"),
    ]);
    let parsed = parse("home/lab.yaml", &files);
    assert_eq!(shown(&parsed, &parsed.findings), "");
    let lab = &parsed.lab;
    assert_eq!(lab.compute.proxmox.iter().map(|name| name.value.as_str()).collect::<Vec<_>>(), ["pve-01", "pve-02"]);
    assert_eq!(lab.network.zones.keys().collect::<Vec<_>>(), ["servers", "iot"]);
    let place = parsed.place(lab.network.zones["iot"].span).unwrap();
    assert_eq!((place.file.as_str(), place.line), ("home/parts/20-more.yaml", 1));
}

#[test]
fn a_folder_is_a_lab() {
    let files = InMemory::of(&[
        ("lab/b.yaml", "compute: { hosts: { b: } }\n"),
        ("lab/a.yaml", "lab: home\ncompute: { hosts: { a: } }\n"),
        ("lab/compose/wiki.yaml", "services: {}\n"),
    ]);
    let parsed = parse("lab", &files);
    assert_eq!(shown(&parsed, &parsed.findings), "");
    assert_eq!(parsed.lab.compute.hosts.keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_folder_with_a_lab_file_is_that_lab() {
    let files = InMemory::of(&[
        ("lab/lab.yaml", "lab: home\ninclude: more.yaml\nservices: { wiki: { compose: compose.yaml, on: a } }\n"),
        ("lab/more.yaml", "compute: { hosts: { a: } }\n"),
        ("lab/compose.yaml", "services: { web: { image: wiki } }\nvolumes: { d: {} }\n"),
    ]);
    for entry in ["lab", "lab/", "lab/lab.yaml"] {
        let parsed = parse(entry, &files);
        assert_eq!(shown(&parsed, &parsed.findings), "", "{entry}");
        assert_eq!(parsed.lab.services.keys().collect::<Vec<_>>(), ["wiki"], "{entry}");
        assert_eq!(parsed.lab.compute.hosts.keys().collect::<Vec<_>>(), ["a"], "{entry}");
    }
    // An included folder is all of its files, whatever they are called.
    let files = InMemory::of(&[
        ("lab.yaml", "include: parts\n"),
        ("parts/lab.yaml", "lab: home\n"),
        ("parts/more.yaml", "compute: { hosts: { a: } }\n"),
    ]);
    let parsed = parse("lab.yaml", &files);
    assert_eq!(parsed.lab.compute.hosts.keys().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_folder_without_lab_files() {
    let parsed = parse("lab", &InMemory::of(&[("lab/readme.txt", "x")]));
    expect![[r#"
        error LW-LAB-006 at nowhere
          the folder `lab` holds no lab file
          help: put a `lab.yaml` there, or name another folder
    "#]]
    .assert_eq(&shown(&parsed, &parsed.findings));
    assert!(parsed.unreadable);
    check_files(
        &[("lab.yaml", "include: parts\n"), ("parts/readme.txt", "x")],
        expect![[r#"
        error LW-LAB-006 at lab.yaml:1:10..1:15
          the folder `parts` holds no lab file
          help: put a `lab.yaml` there, or name another folder
    "#]],
    );
}

#[test]
fn an_include_that_is_not_there() {
    check_files(
        &[("home/lab.yaml", "lab: home\ninclude:\n  - hosts.yaml\n")],
        expect![[r#"
        error LW-LAB-006 at home/lab.yaml:3:5..3:15
          cannot read `home/hosts.yaml`: no such file
          help: check the path; it is relative to the file that names it
    "#]],
    );
}

#[test]
fn an_include_that_is_no_yaml() {
    let files =
        InMemory::of(&[("lab.yaml", "lab: home\ninclude: hosts.yaml\n"), ("hosts.yaml", "compute: {\n  hosts: [\n")]);
    let parsed = parse("lab.yaml", &files);
    expect![[r#"
        error LW-LAB-001 at hosts.yaml:2:10..2:11
          a bracket, or a comma between two entries, is missing
          help: close every `{` with `}` and every `[` with `]`; quote a text that contains them
    "#]]
    .assert_eq(&shown(&parsed, &parsed.findings));
    assert!(parsed.incomplete && !parsed.unreadable, "names of the other file are not known, so nothing is judged");
}

#[test]
fn includes_that_go_round() {
    check_files(
        &[
            ("lab.yaml", "lab: home\ninclude: a.yaml\n"),
            ("a.yaml", "include: ./parts/../b.yaml\n"),
            ("parts/../b.yaml", "include: lab.yaml\n"),
        ],
        expect![[r#"
            error LW-LAB-006 at parts/../b.yaml:1:10..1:18 (include)
              include goes round in a circle: `lab.yaml` → `a.yaml` → `b.yaml` → `lab.yaml`
              help: remove one of these includes; each file is read once anyway
        "#]],
    );
    check_files(
        &[("lab.yaml", "include: ./lab.yaml\n")],
        expect![[r#"
        error LW-LAB-006 at lab.yaml:1:10..1:20 (include)
          include goes round in a circle: `lab.yaml` → `lab.yaml`
          help: remove one of these includes; each file is read once anyway
    "#]],
    );
    check_files(
        &[("a/lab.yaml", "include: ../a/lab.yaml\n"), ("a/../a/lab.yaml", "")],
        expect![[r#"
        error LW-LAB-006 at a/lab.yaml:1:10..1:23 (include)
          include goes round in a circle: `a/lab.yaml` → `a/lab.yaml`
          help: remove one of these includes; each file is read once anyway
    "#]],
    );
}

#[test]
fn includes_without_end() {
    // As with a link to the folder above: every path is new.
    struct Endless;
    impl labwright_model::Files for Endless {
        fn read(&self, _: &str) -> Result<Vec<u8>, String> {
            Ok(b"include: again/lab.yaml\n".to_vec())
        }
        fn list(&self, _: &str) -> Option<Vec<String>> {
            None
        }
    }
    let parsed = parse("lab.yaml", &Endless);
    assert_eq!(parsed.findings.len(), 1);
    expect!["includes are nested deeper than 32 files"].assert_eq(&parsed.findings[0].message);
}

#[test]
fn a_file_that_is_named_twice_counts_once() {
    let files = InMemory::of(&[
        ("lab.yaml", "include: [a.yaml, b.yaml]\n"),
        ("a.yaml", "include: b.yaml\n"),
        ("b.yaml", "compute: { proxmox: [pve-01] }\n"),
    ]);
    let parsed = parse("lab.yaml", &files);
    assert_eq!(shown(&parsed, &parsed.findings), "");
    assert_eq!(parsed.lab.compute.proxmox.len(), 1);
}

#[test]
fn one_host_in_two_files() {
    check_files(
        &[
            (
                "lab.yaml",
                "lab: home\ninclude: more.yaml\ncompute:\n  hosts:\n    a: { zone: x }\nedge: { router: gw }\n",
            ),
            ("more.yaml", "lab: cabin\ncompute:\n  hosts:\n    b: {}\n    a: { zone: x }\nedge: { router: gw }\n"),
        ],
        expect![[r#"
            error LW-LAB-003 at more.yaml:1:6..1:11 (lab)
              `lab` is given in two files
              help: keep one of the two; the first one counts until then
              lab.yaml:1:6..1:10: first given here
            error LW-LAB-003 at more.yaml:5:5..5:6 (compute.hosts.a)
              `a` is given in two files
              help: keep one of the two; the first one counts until then
              lab.yaml:5:5..5:6: first given here
        "#]],
    );
    check_files(
        &[
            (
                "lab.yaml",
                "include: more.yaml\nservices: { w: }\nplatform: { dns: { records: { a: b } }, monitoring: m }\n",
            ),
            ("more.yaml", "services: { w: { use: x } }\nplatform: { dns: { records: { c: d } }, monitoring: [n] }\n"),
        ],
        expect![[r#"
            error LW-LAB-003 at more.yaml:1:13..1:14 (services.w)
              `w` is given in two files
              help: keep one of the two; the first one counts until then
              lab.yaml:2:13..2:14: first given here
            error LW-LAB-003 at more.yaml:2:29..2:37 (platform.dns.records)
              `records` is given in two files
              help: keep one of the two; the first one counts until then
              lab.yaml:3:29..3:37: first given here
            error LW-LAB-003 at more.yaml:2:53..2:56 (platform.monitoring)
              `monitoring` is given in two files
              help: keep one of the two; the first one counts until then
              lab.yaml:3:53..3:54: first given here
        "#]],
    );
}

#[test]
fn a_large_file_that_is_included() {
    let large = "# filler\n".repeat(600_000);
    check_files(
        &[("lab.yaml", "lab: home\ninclude: large.yaml\n"), ("large.yaml", &large)],
        expect![[r#"
        error LW-LAB-005 at lab.yaml:2:10..2:20
          `large.yaml` has 5400000 bytes; a lab file may have 4 MiB
          help: split it, and `include` the parts
    "#]],
    );
}

#[test]
fn paths_are_beside_the_file_that_names_them() {
    assert_eq!(beside("lab.yaml", "a.yaml"), "a.yaml");
    assert_eq!(beside("home/lab.yaml", "./a.yaml"), "home/a.yaml");
    assert_eq!(beside("home/lab.yaml", "/etc/a.yaml"), "/etc/a.yaml");
    assert_eq!(beside("home/lab.yaml", "../a.yaml"), "home/../a.yaml");
}

#[test]
fn much_text_on_several_files_is_the_same_lab() {
    let hosts = |from: usize| {
        let host =
            |number: usize| format!("    h{number}: {{ zone: z, address: 10.0.{}.{} }}\n", number / 200, number % 200);
        (from..from + 2000).map(host).collect::<String>()
    };
    let first = format!(
        "lab: home\nnetwork: {{ zones: {{ z: {{ subnet: 10.0.0.0/16 }} }} }}\ncompute:\n  hosts:\n{}",
        hosts(0)
    );
    // The second names a host of the first again, has a key that nobody knows, and accepts a finding.
    let second = format!(
        "compute:\n  hosts:\n{}    h7: {{ zone: z }}\nservises: {{}}\nowner: me # labwright: allow LW-LAB-101 because it is meant\n",
        hosts(2000)
    );
    let garbled = [b"lab: \xff\n".as_slice(), "# ".repeat(40_000).as_bytes()].concat();
    let parts: [(&str, &[u8]); 4] = [
        ("lab/a.yaml", first.as_bytes()),
        ("lab/b.yaml", second.as_bytes()),
        ("lab/c.yaml", &garbled),
        ("lab/d.sops.yaml", b"sops: { version: 3.9.0, mac: x, age: [{ recipient: age1x, enc: y }] }\n"),
    ];
    let mut files = InMemory::default();
    for (path, bytes) in parts {
        files.0.insert(path.into(), bytes.to_vec());
    }
    // Read side by side from their folder and by one list; one after the other where each includes the next.
    let of_folder = parse("lab", &files);
    files.0.insert("list.yaml".into(), b"include: [lab/a.yaml, lab/b.yaml, lab/c.yaml]\n".to_vec());
    let of_list = parse("list.yaml", &files);
    for (path, next) in [("lab/a.yaml", "b.yaml"), ("lab/b.yaml", "c.yaml")] {
        let more = format!("include: {next}\n");
        files.0.get_mut(path).unwrap().extend_from_slice(more.as_bytes());
    }
    let of_chain = parse("lab/a.yaml", &files);
    let told = shown(&of_chain, &of_chain.findings);
    for expected in ["`h7` is given in two files", "unknown key `servises`", "`lab/c.yaml` is not UTF-8"] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert_eq!(of_chain.lab.compute.hosts.len(), 4000);
    for other in [&of_folder, &of_list] {
        assert_eq!(shown(other, &other.findings), told);
        assert_eq!(other.lab.compute.hosts.len(), 4000);
        let places = |parsed: &labwright_model::Parsed| {
            parsed.allows.iter().map(|allow| (allow.code.clone(), parsed.place(allow.span))).collect::<Vec<_>>()
        };
        assert_eq!(places(other), places(&of_chain));
        assert!(other.incomplete);
    }
}
