//! Whole labs against all rules: the examples, the plain inventory, the annotated example, and damaged copies of them.
//! What one rule says of one lab is tested beside the rule.

use std::collections::BTreeSet;
use std::fmt::Write;

use expect_test::expect;
use labwright_model::{Files, Findings, Parsed, Severity, parse};
use labwright_plan::check::{RULES, all_codes, check, explain, titles};

const ONE_MACHINE: &str = include_str!("../../../../examples/one-machine/lab.yaml");
const REFERENCE: &str = include_str!("../../../../examples/reference/lab.yaml");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
/// The store of the reference, which every lab here finds beside it.
const STORE: &str = include_str!("../../../../examples/reference/secrets.yaml");
const INVENTORY: &str = include_str!("../inventory.yaml");
const WHOLE: &str = include_str!("../../../labwright-model/tests/whole.yaml");

struct One<'a>(&'a str);

impl Files for One<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match path.rsplit('/').next() {
            Some("lab.yaml") => Ok(self.0.as_bytes().to_vec()),
            Some("secrets.yaml") => Ok(STORE.as_bytes().to_vec()),
            Some("compose.yaml") => Ok(b"services: { web: { image: \"wiki:2\" } }".to_vec()),
            _ => Err("no such file".to_string()),
        }
    }

    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

/// The examples as they lie there, with what they include and their stores.
struct Disk;

#[expect(clippy::disallowed_methods, reason = "the crate reads no file, but its tests have to see the examples")]
impl Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(path).map_err(|error| error.to_string())
    }

    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

#[expect(clippy::disallowed_methods, reason = "the crate reads no file, but its tests have to see the examples")]
fn examples() -> BTreeSet<String> {
    let entries = std::fs::read_dir(EXAMPLES).unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn found(text: &str) -> (Parsed, Findings) {
    let parsed = parse("lab.yaml", &One(text));
    let findings = check(&parsed);
    (parsed, findings)
}

fn shown(text: &str) -> String {
    let (parsed, findings) = found(text);
    told(&parsed, findings)
}

fn told(parsed: &Parsed, findings: Findings) -> String {
    let mut out = String::new();
    for finding in findings {
        let line = parsed.place(finding.span).map_or(0, |place| place.line);
        let _ = writeln!(out, "{line} {} {}: {}", finding.severity.name(), finding.code, finding.message);
    }
    out
}

/// Neither is an acceptance stale that one of them holds: that would be a warning.
#[test]
fn examples_have_no_finding() {
    let names = examples();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let parsed = parse(&format!("{EXAMPLES}/{name}/lab.yaml"), &Disk);
        let findings = check(&parsed);
        assert_eq!(told(&parsed, findings), "", "in examples/{name}");
    }
}

#[test]
fn what_examples_accept_is_what_their_readme_says() {
    let accepted = |name: &str| -> BTreeSet<String> {
        let parsed = parse(&format!("{EXAMPLES}/{name}/lab.yaml"), &Disk);
        parsed.allows.into_iter().map(|allow| allow.code).collect()
    };
    let readme = Disk.read(&format!("{EXAMPLES}/README.md")).unwrap();
    let readme = String::from_utf8(readme).unwrap();
    for name in examples() {
        let link = format!("[`{name}`]({name}/lab.yaml)");
        let row = readme.lines().find(|line| line.contains(&link)).unwrap_or_else(|| panic!("no row for {name}"));
        let said: BTreeSet<String> =
            all_codes().into_iter().filter(|code| row.contains(code)).map(String::from).collect();
        assert_eq!(said, accepted(&name), "in the row of {name}");
    }
}

#[test]
fn the_smallest_example_is_small_and_says_how_to_edit_it() {
    let lines = ONE_MACHINE.lines().count();
    assert!((20..=40).contains(&lines), "{lines} lines");
    assert!(ONE_MACHINE.starts_with("# yaml-language-server: $schema="));
    let (parsed, _) = found(ONE_MACHINE);
    let hosts = &parsed.lab.compute.hosts;
    assert!(hosts.len() == 1 && hosts["workbench"].local);
    let paths = hosts["workbench"].files.keys().chain(hosts["workbench"].directories.keys());
    let outside: Vec<_> = paths.filter(|path| !path.starts_with("/tmp/labwright-one-machine")).collect();
    assert_eq!(outside, Vec::<&String>::new());
}

#[test]
fn the_reference_has_the_hosts_and_roles_of_the_plain_inventory() {
    let (reference, _) = found(REFERENCE);
    let (inventory, _) = found(INVENTORY);
    assert_eq!(reference.implied, Vec::<String>::new(), "every host is described");
    let roles = |parsed: &Parsed| {
        let roles = labwright_model::role_hosts(&parsed.lab);
        roles.into_iter().map(|(host, _, role)| (host, role)).collect::<BTreeSet<(String, &str)>>()
    };
    let missing: Vec<_> = roles(&inventory).difference(&roles(&reference)).cloned().collect();
    assert_eq!(missing, [], "roles of the inventory that the reference does not have");
    assert_eq!(reference.lab.edge.vpn, inventory.lab.edge.vpn);
}

#[test]
fn the_plain_inventory_has_no_error() {
    assert!(found(INVENTORY).1.iter().all(|finding| finding.severity == Severity::Advice));
    expect![[r#"
        2 advice LW-CMP-003: 9 hosts are only named by their roles, `gateway-01`, `pve-01`, `pve-02` among them
    "#]]
    .assert_eq(&shown(INVENTORY));
}

#[test]
fn the_annotated_example_names_things_that_it_does_not_declare() {
    expect![[r#"
        15 advice LW-EDGE-002: there is a tunnel and a standby, and no service is public
        16 error LW-PLT-002: there is no secret `cloudflare_token` in `secrets.yaml`
        29 advice LW-NET-013: zones and flows are declared, and nothing enforces them
        32 error LW-LAB-101: there is no zone, host or service named `home-assistant`
        35 advice LW-CMP-003: 7 hosts are only named by their roles, `pve-02`, `pve-03`, `dns-01` among them
        60 advice LW-PLT-013: `mon-01` watches `immich` and `wiki`, and nobody watches `mon-01`
        63 warning LW-PLT-007: `secrets.yaml` has no recovery key: with the last admin's key, every secret is lost
        77 advice LW-EDGE-008: container `web` of `wiki` does not publish its port 3000, so no proxy reaches it
        82 advice LW-SVC-008: `wiki` needs service `postgres`, and nobody probes it
        83 error LW-PLT-002: there is no secret `pg` in `secrets.yaml`
        93 error LW-LAB-101: there is no host named `nas-01`
        94 error LW-PLT-002: there is no secret `borg` in `secrets.yaml`
        1 advice LW-PLT-003: nothing refers to secret `offsite_key_id`
        11 advice LW-PLT-003: nothing refers to secret `offsite_key`
        12 advice LW-PLT-003: nothing refers to secret `auth_session`
        13 advice LW-PLT-003: nothing refers to secret `auth_storage`
        14 advice LW-PLT-003: nothing refers to secret `backup_local`
        15 advice LW-PLT-003: nothing refers to secret `backup_offsite`
        16 advice LW-PLT-003: nothing refers to secret `git_database`
        17 advice LW-PLT-003: nothing refers to secret `ntfy_topic`
        20 warning LW-PLT-006: the lab file does not say who may read `secrets.yaml`: whose keys open it
    "#]]
    .assert_eq(&shown(WHOLE));
}

#[test]
fn what_cannot_be_read_is_not_judged() {
    let text = "platform: { dns: dns-01 } # labwright: allow LW-CMP-003 because it is a list\ncompute: {\n";
    expect![[r#"
        2 error LW-LAB-001: a bracket, or a comma between two entries, is missing
    "#]]
    .assert_eq(&shown(text));
}

#[test]
fn every_code_has_a_page_and_a_title() {
    let codes = all_codes();
    assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len(), "a code twice");
    assert!(codes.len() > RULES.len());
    for (code, title) in titles() {
        let page = explain(&code.to_lowercase()).unwrap_or_default();
        assert!(page.starts_with(&format!("# {code}: {title}\n")) && page.len() > 150, "{code}:\n{page}");
    }
    assert_eq!(explain("LW-NET-999"), None);
}

/// Marsaglia's xorshift: the same cases everywhere, every time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

#[test]
fn no_rule_stumbles_over_a_damaged_lab() {
    let mut random = Random(0x7275_6c65_7321_0001);
    let rules = RULES.iter().flat_map(|rule| [rule.examples().fails, rule.examples().passes]);
    let corpus: Vec<&str> = [ONE_MACHINE, REFERENCE, INVENTORY, WHOLE].into_iter().chain(rules).collect();
    let words: Vec<&str> = corpus.iter().flat_map(|text| text.split([' ', ',', '{', '}', '[', ']', '\n'])).collect();
    for _ in 0..1500 {
        let mut text = corpus[random.below(corpus.len())].to_string();
        for _ in 0..=random.below(5) {
            // A word of one lab stands where another stood: well-formed, and about the wrong thing.
            let places: Vec<usize> = text.match_indices([' ', ',', '\n']).map(|(at, _)| at + 1).collect();
            let start = places[random.below(places.len())];
            let end = text[start..].find([' ', ',', '\n', '}', ']']).map_or(text.len(), |length| start + length);
            text.replace_range(start..end, words[random.below(words.len())]);
        }
        let (parsed, findings) = found(&text);
        for finding in findings {
            assert!(!finding.message.is_empty(), "{finding:?}");
            let known = finding.span.is_none() || parsed.sources.get(finding.span.file).is_some();
            assert!(known && all_codes().contains(&finding.code), "{finding:?}\n{text}");
            let judged = RULES.iter().any(|rule| rule.code() == finding.code);
            assert!(!judged || (!finding.help.is_empty() && !finding.span.is_none()), "{finding:?}\n{text}");
        }
    }
}

/// A lab with a Compose file and its files of variables beside it.
struct Beside(&'static [(&'static str, &'static str)]);

impl Files for Beside {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let found = self.0.iter().find(|(name, _)| *name == path);
        found.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| "no such file".to_string())
    }

    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

/// What labs of others brought up: each was a false alarm or was missed.
#[test]
fn what_other_labs_taught() {
    let codes = |text: &str| -> Vec<&'static str> { found(text).1.iter().map(|finding| finding.code).collect() };
    let hosts = "owner: me\ncompute: { hosts: { a: { address: 10.0.0.5 }, b: { address: 10.0.0.6 } } }\n";
    // A proxy in a container has no other way to another stack than what that publishes.
    let behind = |needs: &str| {
        format!(
            "{hosts}platform: {{ dns: b, reverse_proxy: {{ on: a, service: npm }} }}\nservices:\n  npm: {{ on: a, {needs} containers: {{ npm: {{ image: \"npm:1\", ports: [\"443:443\"] }} }} }}\n  wiki: {{ on: a, url: wiki, expose: lan, port: \"app:80\", containers: {{ app: {{ image: \"wiki:1\", ports: [\"8080:80\"] }} }} }}\n"
        )
    };
    assert!(!codes(&behind("")).contains(&"LW-NET-009"));
    assert!(codes(&behind("needs: wiki,")).contains(&"LW-NET-009"));
    // A machine that is copied whole protects what runs on it, on the machine that it is copied to.
    let copied = |backup: &str| {
        format!(
            "owner: me\ncompute: {{ hosts: {{ a: {{ address: 10.0.0.5{backup} }}, b: {{ address: 10.0.0.6 }} }} }}\nprotection:\n  repositories: {{ r: {{ on: a, path: /copies }} }}\n  policies: {{ nightly: {{ to: r, drill: weekly }} }}\nservices:\n  wiki: {{ on: a, tier: production, probe: /, restore_notes: x, data: [/w], run: wiki, port: 80 }}\n"
        )
    };
    let (bare, whole) = (codes(&copied("")), codes(&copied(", backup: nightly")));
    assert!(bare.contains(&"LW-SVC-002") && bare.contains(&"LW-DAT-009"), "{bare:?}");
    assert!(!whole.contains(&"LW-SVC-002") && !whole.contains(&"LW-DAT-009"), "{whole:?}");
    assert!(whole.contains(&"LW-DAT-001"), "{whole:?}");
    // What a host's own configuration runs is relied on like anything else.
    let built_in = format!("{hosts}services: {{ ha: {{ built_in: HAOS, on: a, tier: production }} }}\n");
    assert!(codes(&built_in).contains(&"LW-SVC-003"));
    // `DB_HOSTNAME` is whom it talks to, be it on the resolver.
    let talks = format!(
        "{hosts}platform: {{ dns: a }}\nservices: {{ photos: {{ on: a, containers: {{ app: {{ image: \"x:1\", environment: {{ DB_HOSTNAME: 10.0.0.5, DNS: 10.0.0.5 }} }} }} }} }}\n"
    );
    assert_eq!(codes(&talks).iter().filter(|code| **code == "LW-NET-010").count(), 1);
}

/// A variable may say nothing by its own name.
#[test]
fn a_secret_is_told_where_its_variable_is_set() {
    let files = Beside(&[
        (
            "lab.yaml",
            "compute: { hosts: { a: { address: 10.0.0.5 } } }\nservices: { vpn: { compose: vpn/compose.yaml, on: a } }\n",
        ),
        (
            "vpn/compose.yaml",
            "services: { vpn: { image: \"vpn:1\", environment: [\"WIREGUARD_PRIVATE_KEY=${WG}\"] } }\n",
        ),
        ("vpn/.env", "WG=yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n"),
    ]);
    let parsed = parse("lab.yaml", &files);
    let told: Vec<String> = check(&parsed)
        .iter()
        .filter(|finding| finding.code == "LW-PLT-005")
        .filter_map(|finding| parsed.place(finding.span).map(|place| format!("{}:{}", place.file, place.line)))
        .collect();
    assert_eq!(told, ["vpn/.env:1"]);
}

/// What is accepted beside a variable, in its own file, is accepted; the rest says the way that works there.
#[test]
fn secrets_of_a_compose_project_have_a_way_out_and_can_be_accepted() {
    let files = Beside(&[
        (
            "lab.yaml",
            "compute: { hosts: { a: { address: 10.0.0.5 } } }\nservices:\n  db: { compose: db/compose.yaml, on: a, data: [] }\n  own: { containers: { c: { image: \"x:1\", environment: { DB_PASSWORD: hunter2 } } }, on: a, data: [] }\n",
        ),
        (
            "db/compose.yaml",
            "services:\n  db:\n    image: \"postgres:16.4\"\n    env_file: db.env\n    environment:\n      POSTGRES_PASSWORD: ${PG_PASSWORD}\n      # labwright: allow LW-PLT-005 because it is a test\n      OTHER_PASSWORD: hunter2\n      THIRD_PASSWORD: hunter2\n",
        ),
        ("db/.env", "# labwright: allow LW-PLT-005 because nobody else reaches it\nPG_PASSWORD=hunter2\n"),
        ("db/db.env", "A_PASSWORD=hunter2\nB_PASSWORD=hunter2 # labwright: allow LW-PLT-005 because it is a test\n"),
    ]);
    let parsed = parse("lab.yaml", &files);
    let mut out = String::new();
    for finding in check(&parsed) {
        let place = parsed.place(finding.span).map_or("-".into(), |place| format!("{}:{}", place.file, place.line));
        let _ = writeln!(out, "{place} {}: {}\n  {}", finding.code, finding.message, finding.help);
    }
    expect![[r#"
        lab.yaml:4 LW-PLT-005: the value of `DB_PASSWORD` stands here in the clear
          put it into the store: `labwright secret set db_password`, write `DB_PASSWORD_FILE: "${secret.db_password}"` instead where the image knows it, and replace it where it came from if this file was ever shared
        db/compose.yaml:9 LW-PLT-005: the value of `THIRD_PASSWORD` stands here in the clear
          put it into the store: `labwright secret set third_password`; in the Compose file write `secrets: { third_password: { external: true } }`, and at the container `secrets: [third_password]` and, where the image knows it, `THIRD_PASSWORD_FILE: /run/secrets/third_password` instead of `THIRD_PASSWORD`; or describe `db` under `containers:` in the lab file, where `${secret.third_password}` is known; and replace it where it came from if this file was ever shared
        db/db.env:1 LW-PLT-005: the value of `A_PASSWORD` stands here in the clear
          put it into the store: `labwright secret set a_password`; in the Compose file write `secrets: { a_password: { external: true } }`, and at the container `secrets: [a_password]` and, where the image knows it, `A_PASSWORD_FILE: /run/secrets/a_password` instead of `A_PASSWORD`; or describe `db` under `containers:` in the lab file, where `${secret.a_password}` is known; and replace it where it came from if this file was ever shared
    "#]].assert_eq(&out);
}

/// Whatever stands in a Compose file, or in a file of variables, is told at its own line.
#[test]
fn rules_look_into_compose_files() {
    let files = Beside(&[
        (
            "lab.yaml",
            "owner: me\nenvironments: [dev, prod]\ncompute: { docker_hosts: [d], hosts: { d: { address: 203.0.113.7 } } }\nservices:\n  wiki: { compose: wiki/compose.yaml, on: d, tier: production, probe: /, restore_notes: x }\n  db: { containers: { pg: { image: \"postgres:16.4@sha256:0\" } }, on: d, port: 5432, probe: /, restore_notes: x }\n  two: { compose: \"two/${env}.yaml\", on: d, environments: [dev, prod] }\n",
        ),
        (
            "wiki/compose.yaml",
            "services:\n  web:\n    image: wiki:latest\n    privileged: true\n    network_mode: host\n    env_file: web.env\n    environment:\n      DB_HOST: db\n      TOKEN: ${TOKEN}\n  door:\n    image: door:1\n    ports: [\"0.0.0.0:8080:80\"]\n    volumes: [/var/run/docker.sock:/s]\n  off: { image: \"off:latest\", profiles: [off] }\nsecrets: { key: { file: key.txt } }\n",
        ),
        ("wiki/.env", "# ours\nTOKEN=ghp_0123456789abcdefghijklmnopqrstuvwxyzAB\n"),
        ("wiki/web.env", "NAME=x\nADMIN_PASSWORD=hunter2-and-more\n"),
        ("two/dev.yaml", "services: { a: { image: \"x:latest\" } }\n"),
        ("two/prod.yaml", "services:\n  a: { image: \"x:1\", privileged: true }\n"),
    ]);
    let parsed = parse("lab.yaml", &files);
    let mut out = String::new();
    for finding in check(&parsed) {
        let place = parsed.place(finding.span).map_or("-".into(), |place| format!("{}:{}", place.file, place.line));
        let _ = writeln!(out, "{place} {} {}: {}", finding.severity.name(), finding.code, finding.message);
    }
    expect![[r#"
        lab.yaml:5 warning LW-SVC-003: production service `wiki` has no backup
        lab.yaml:5 advice LW-PLT-016: production service `wiki` has a probe, and no host of the lab watches: nobody hears when it fails
        lab.yaml:7 advice LW-SVC-006: service `two` runs `x:latest`, which changes by itself
        wiki/.env:2 error LW-PLT-005: a GitHub token stands here in the clear
        wiki/compose.yaml:3 warning LW-SVC-006: production service `wiki` runs `wiki:latest`, which changes by itself
        wiki/compose.yaml:4 warning LW-SVC-009: container `web` of `wiki` is privileged: it can do all that root on the host can
        wiki/compose.yaml:5 warning LW-NET-008: container `web` of `wiki` is on its host's network
        wiki/compose.yaml:8 warning LW-SVC-004: service `wiki` uses service `db` (`DB_HOST`), and does not say that it needs it
        wiki/compose.yaml:12 warning LW-NET-009: `wiki` publishes `8080:80` on every interface of `d`, which is `203.0.113.7` on the internet; it is exposed nowhere
        wiki/compose.yaml:15 warning LW-PLT-005: the secret `key` lies in the clear in `wiki/key.txt`
        wiki/web.env:2 warning LW-PLT-005: the value of `ADMIN_PASSWORD` stands here in the clear
        two/prod.yaml:2 advice LW-SVC-009: container `a` of `two` is privileged: it can do all that root on the host can
    "#]].assert_eq(&out);
}
