//! From a lab's text to pages; and that the public edition tells nothing that is only the lab's own.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use labwright_model::{Files, Parsed, parse};
use proptest::prelude::*;

use super::*;

const WHOLE: &str = include_str!("../../../labwright-model/tests/whole.yaml");
const REFERENCE: &str = include_str!("../../../../examples/reference/lab.yaml");
const ONE_MACHINE: &str = include_str!("../../../../examples/one-machine/lab.yaml");

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

#[track_caller]
fn reads(text: &str, path: &str, golden: Expect) {
    let pages = docs(&lab(text), Edition::Internal);
    golden.assert_eq(&pages.iter().find(|page| page.path == path).unwrap().text);
}

const SMALL: &str = r#"
lab: attic
owner: ada
edge: { router: gw }
network:
  zones: { servers: { vlan: 20, subnet: 10.0.20.0/24, description: what serves }, guest: { vlan: 9, subnet: 10.0.9.0/24 } }
  flows:
    - { from: guest, to: internet, because: guests browse }
    - { from: guest, to: servers, allow: [https, dns] }
compute:
  hosts:
    gw: { address: [10.0.20.1, 10.0.9.1], routes: [servers, guest] }
    box: { zone: servers, address: 10.0.20.5, vm: { on: big }, description: carries all }
    big: { site: attic, failure_domain: ups, address: 192.168.1.7 }
platform: { dns: box, secrets: { age: secrets.yaml } }
services:
  wiki:
    run: wiki
    on: box
    tier: production
    description: "what we *know* | <b>all</b> of it"
    url: wiki
    needs: [db]
    data: [/srv/wiki]
    backup: { policy: nightly, dump: { pg: { service: db, database: wiki } } }
    restore_notes: load the dump, start, read a page
  db: { run: [db, "${secret.db}"], on: box, data: [/srv/db] }
  mail: { external: elsewhere }
protection:
  repositories: { nas: { on: big, path: /backup } }
  policies: { nightly: { schedule: "03:15", to: nas, keep: { daily: 7 } } }
"#;

#[test]
fn the_index() {
    reads(
        SMALL,
        "README.md",
        expect![[r#"
        <!-- Written by `labwright docs` from the lab file; edits here are lost. -->

        # Lab attic

        3 hosts and 3 services in `lab.home.arpa`. Whatever names nobody else is ada's. Everything here follows from the lab file: change that, not these pages.

        Something is down? Begin with the [recovery order](recovery.md).

        - [Inventory](inventory.md)
        - [Address plan](addresses.md)
        - [Network](network.md)
        - [Map](map.md)
        - [Recovery order](recovery.md)
        - [Responsibility](responsibility.md)

        ## Services

        - [db](services/db.md)
        - [mail](services/mail.md)
        - [wiki](services/wiki.md): what we \*know\* \| \<b\>all\</b\> of it
    "#]],
    );
}

#[test]
fn the_inventory() {
    reads(
        SMALL,
        "inventory.md",
        expect![[r#"
        <!-- Written by `labwright docs` from the lab file; edits here are lost. -->

        # Inventory

        ## Hosts

        | host | zone | address | system | on | site | fails with | owner | roles |
        |---|---|---|---|---|---|---|---|---|
        | big | - | 192.168.1.7 | debian | - | attic | ups | ada | - |
        | box | servers | 10.0.20.5 | debian | big | attic | - | ada | dns |
        | gw | - | 10.0.20.1, 10.0.9.1 | debian | - | - | - | ada | router |

        ## Services

        | service | on | tier | reached from | owner | backup |
        |---|---|---|---|---|---|
        | [db](services/db.md) | box | lab | nowhere | ada | - |
        | [mail](services/mail.md) | at elsewhere | lab | nowhere | ada | - |
        | [wiki](services/wiki.md) | box | production | nowhere | ada | nightly |

        ## Where backups are kept

        | repository | place | engine |
        |---|---|---|
        | nas | big, `/backup` | embedded |

        ## Backup policies

        | policy | when | to | keeps | restore rehearsed |
        |---|---|---|---|---|
        | nightly | 03:15 | nas | 7 daily | - |
    "#]],
    );
}

#[test]
fn the_address_plan() {
    reads(
        SMALL,
        "addresses.md",
        expect![[r#"
        <!-- Written by `labwright docs` from the lab file; edits here are lost. -->

        # Address plan

        | zone | carried by | subnet | for |
        |---|---|---|---|
        | guest | VLAN 9 | 10.0.9.0/24 | - |
        | servers | VLAN 20 | 10.0.20.0/24 | what serves |

        ## In no zone

        | address | host | for |
        |---|---|---|
        | 192.168.1.7 | big | - |

        ## guest

        | address | host | for |
        |---|---|---|
        | 10.0.9.1 | gw | - |

        ## servers

        | address | host | for |
        |---|---|---|
        | 10.0.20.1 | gw | - |
        | 10.0.20.5 | box | carries all |
    "#]],
    );
}

#[test]
fn the_network() {
    reads(
        SMALL,
        "network.md",
        expect![[r#"
            <!-- Written by `labwright docs` from the lab file; edits here are lost. -->

            # Network

            The flows are declared, and no host is asked to enforce them.

            ## Between zones

            Of whole zones; single hosts and services stand below.

            | from, to | guest | servers | internet |
            |---|---|---|---|
            | **guest** | - | https, dns | any |
            | **servers** | - | - | - |
            | **internet** | - | - | - |

            ## Flows

            | from | to | allows | because |
            |---|---|---|---|
            | guest | internet | any | guests browse |
            | guest | servers | https, dns | - |
        "#]],
    );
}

#[test]
fn a_service() {
    reads(
        SMALL,
        "services/wiki.md",
        expect![[r#"
            <!-- Written by `labwright docs` from the lab file; edits here are lost. -->

            # wiki

            what we \*know\* \| \<b\>all\</b\> of it

            |  |  |
            |---|---|
            | owner | ada |
            | tier | production |
            | what runs | process `wiki` |
            | reached from | nowhere |
            | names | `wiki.lab.home.arpa` |
            | data | `/srv/wiki` |

            ## To restore it

            1. Bring back what it needs first: db.
            2. Take the newest copy from nas on big.
            3. Load the dump `pg` into database `wiki` of db.
            4. load the dump, start, read a page

            Policy nightly copies it at 03:15, and keeps 7 daily. Nobody rehearses a restore.

            ## What it stands on

            - host box, on big, at attic
            - services [db](db.md)
            - no service needs it

            ## If it fails

            Nothing else goes with it.

            ## Four questions

            - If it failed tomorrow, could I restore it? **partly**: `nightly` copies it at 03:15 to `nas`; the way back is written down: load the dump, start, read a page
              - keep one copy where another machine, hypervisor and site would have to fail: a repository elsewhere
              - rehearse restores: `drill: weekly` in policy `nightly`
            - If it were compromised, would I detect it? **no**: `labwright drift` shows what was changed by hand on its hosts
              - let something watch: `platform: { monitoring: HOST }`
              - ask whether it works: `probe: /PATH`
              - keep logs off the machine that writes them: `platform: { telemetry: HOST }`
            - Do I understand its security model? **partly**: it is in zone `servers`; the flows are declared, and not enforced by its host; only services that need it reach it; no password or token stands in the file
              - give the flows that lead to it a reason: `because:`
            - Can I rebuild it from documentation? **partly**: the file says which process runs; its host is in the file; what it is for is written down; the last steps are written down
              - say which image `box` is made from: `image:`
        "#]],
    );
}

#[test]
fn a_service_that_is_needed() {
    reads(
        SMALL,
        "services/db.md",
        expect![[r#"
            <!-- Written by `labwright docs` from the lab file; edits here are lost. -->

            # db

            |  |  |
            |---|---|
            | owner | ada |
            | tier | lab |
            | what runs | process `db` |
            | reached from | nowhere |
            | data | `/srv/db` |
            | secrets, by name | `db` |

            ## To restore it

            1. There is no backup: what its host held is gone with it.

            ## What it stands on

            - host box, on big, at attic
            - needed by [wiki](wiki.md)

            ## If it fails

            - wiki goes dark; it needs `db`
            - wiki is no longer copied: its database cannot be dumped; it has its database in `db`

            ## Four questions

            - If it failed tomorrow, could I restore it? **no**
              - copy its data: `backup: POLICY`
              - write down the way back: `restore_notes:`
            - If it were compromised, would I detect it? **no**: `labwright drift` shows what was changed by hand on its hosts
              - let something watch: `platform: { monitoring: HOST }`
              - ask whether it works: `probe: /PATH`
              - keep logs off the machine that writes them: `platform: { telemetry: HOST }`
            - Do I understand its security model? **partly**: it is in zone `servers`; the flows are declared, and not enforced by its host; only services that need it reach it; no password or token stands in the file
              - give the flows that lead to it a reason: `because:`
            - Can I rebuild it from documentation? **partly**: the file says which process runs; its host is in the file
              - say which image `box` is made from: `image:`
              - say what it is for: `description:`
              - write down what is left to do by hand: `restore_notes:`
        "#]],
    );
}

#[test]
fn the_recovery_order_of_the_file_comes_first() {
    let lab = SMALL.replacen("\nprotection:\n", "\nprotection:\n  recovery: [mail, wiki, big]\n", 1);
    assert!(lab.contains("recovery: ["), "{lab}");
    reads(
        &lab,
        "recovery.md",
        expect![[r#"
        <!-- Written by `labwright docs` from the lab file; edits here are lost. -->

        # Recovery order

        What stands below comes back after what stands above it. The first ones are in the order that the lab file gives (`protection.recovery`), each behind what it stands on and needs; then the roles, and the rest.

        1. service [mail](services/mail.md): run by elsewhere
        2. host big, at attic
        3. host box, a guest of big, at attic
        4. service [db](services/db.md), which wiki needs: start it
        5. service [wiki](services/wiki.md) (production): restore its data, then start it
        6. host gw
        7. **router** on gw: without it nothing reaches another zone
        8. **DNS** on box: every other way begins with a name
        9. **secrets**: the file `secrets.yaml` and a key that opens it
        10. repository nas on big

        When all of it is back: `labwright drift` and `labwright plan` should have nothing to say.
    "#]],
    );
}

#[test]
fn the_recovery_order() {
    reads(
        SMALL,
        "recovery.md",
        expect![[r#"
        <!-- Written by `labwright docs` from the lab file; edits here are lost. -->

        # Recovery order

        What stands below comes back after what stands above it. DNS, identity, secrets and backup come first, each behind the machines that it stands on; then services that people rely on, each behind what it needs.

        1. host gw
        2. **router** on gw: without it nothing reaches another zone
        3. host big, at attic
        4. host box, a guest of big, at attic
        5. **DNS** on box: every other way begins with a name
        6. **secrets**: the file `secrets.yaml` and a key that opens it
        7. repository nas on big
        8. service [db](services/db.md), which wiki needs: start it
        9. service [wiki](services/wiki.md) (production): restore its data, then start it
        10. service [mail](services/mail.md): run by elsewhere

        When all of it is back: `labwright drift` and `labwright plan` should have nothing to say.
    "#]],
    );
}

#[test]
fn responsibility() {
    reads(
        SMALL,
        "responsibility.md",
        expect![[r#"
        <!-- Written by `labwright docs` from the lab file; edits here are lost. -->

        # Responsibility

        Level 0 is someone else's service, 1 a hosted platform, 2 a rented machine, 3a one's own to learn on, 3b one's own that people rely on. The answers rest on what the lab file says; nothing was tried.

        | service | level | hardware | system and software | backups | restore | detect | security | rebuild |
        |---|---|---|---|---|---|---|---|---|
        | [db](services/db.md) | 3a | ada | ada | ada | no | no | partly | partly |
        | [mail](services/mail.md) | 0 | elsewhere | ada (settings) | elsewhere | partly | partly | partly | partly |
        | [wiki](services/wiki.md) | 3b | ada | ada | ada | partly | no | partly | partly |

        1 service that people rely on is answered with no.
    "#]],
    );
}

/// The order of the file is a matter of taste; pages do not follow it.
#[test]
fn pages_do_not_depend_on_the_order_of_the_file() {
    let forth = "compute: { hosts: { a: { site: x }, b: {} } }\nservices: { p: { run: p, on: a, needs: [q] }, q: { run: q, on: b } }\n";
    let back = "compute: { hosts: { b: {}, a: { site: x } } }\nservices: { q: { run: q, on: b }, p: { run: p, on: a, needs: [q] } }\n";
    let pages =
        |text| docs(&lab(text), Edition::Internal).into_iter().filter(|page| page.path != "map.md").collect::<Vec<_>>();
    assert_eq!(pages(forth), pages(back));
}

#[test]
fn every_page_carries_its_editions_marker_and_every_link_leads_to_a_page() {
    for text in [SMALL, WHOLE, REFERENCE, ONE_MACHINE] {
        for edition in [Edition::Internal, Edition::Public] {
            let pages = docs(&lab(text), edition);
            let paths: BTreeSet<&str> = pages.iter().map(|page| page.path.as_str()).collect();
            assert_eq!(paths.len(), pages.len());
            for page in &pages {
                assert_eq!(page.text.lines().next(), Some(edition.marker()));
                let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                for link in page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                    let path = if folder.is_empty() { link.to_string() } else { format!("{folder}/{link}") };
                    assert!(paths.contains(path.as_str()), "{} leads to `{link}`", page.path);
                }
            }
        }
    }
    assert_ne!(Edition::Internal.marker(), Edition::Public.marker());
}

#[test]
fn file_names_are_tame_and_told_apart() {
    let names = ["../../etc/passwd", "Wiki", "wiki", "", "a b", "a/b"];
    let files: Vec<(&str, String)> = file_names(names.into_iter());
    let told: Vec<String> = files.iter().map(|(name, file)| format!("{name}={file}")).collect();
    expect!["=-.md ../../etc/passwd=------etc-passwd.md Wiki=Wiki.md a b=a-b.md a/b=a-b-2.md wiki=wiki-2.md"]
        .assert_eq(&told.join(" "));
}

/// Everything in a lab that is only its own: names, addresses, domains, versions, owners, paths, secrets.
fn own(text: &str) -> BTreeSet<String> {
    let parsed = lab(text);
    let mut found: BTreeSet<String> = parsed.secrets.iter().map(|secret| secret.value.clone()).collect();
    let mut open = vec![serde_json::to_value(&parsed.lab).unwrap()];
    while let Some(value) = open.pop() {
        match value {
            serde_json::Value::String(text) => {
                found.extend(text.split(['/', ' ', '\n', '@', '"', '\'']).map(str::to_string));
                found.insert(text);
            }
            serde_json::Value::Array(items) => open.extend(items),
            serde_json::Value::Object(fields) => open.extend(fields.into_iter().map(|(_, value)| value)),
            _ => {}
        }
    }
    let lab = &parsed.lab;
    found.extend(lab.compute.hosts.keys().chain(lab.services.keys()).chain(lab.network.zones.keys()).cloned());
    found.extend(lab.protection.repositories.keys().chain(lab.protection.policies.keys()).cloned());
    found.retain(|text| text.chars().any(char::is_alphanumeric));
    found
}

fn words(text: &str) -> BTreeSet<String> {
    let inside = |c: char| c.is_alphanumeric() || c == '-' || c == '_' || c == '.';
    text.split(|c: char| !inside(c)).map(|word| word.trim_matches(['.', '-', '_']).to_lowercase()).collect()
}

fn public(text: &str) -> String {
    docs(&lab(text), Edition::Public).into_iter().map(|page| page.text).collect()
}

#[test]
fn the_public_edition_praises_nothing_that_a_rule_finds() {
    let lab = |from: &str, far: &str, data: &str| {
        format!(
            "owner: mia\nedge: {{ vpn: wireguard, router: gw }}\nnetwork: {{ zones: {{ mgmt: {{ subnet: 10.0.1.0/24 }}, clients: {{ subnet: 10.0.2.0/24 }}, vpn: {{ interface: wg0, subnet: 10.9.0.0/24 }} }}, flows: [{{ from: {from}, to: mgmt, allow: ssh }}] }}\ncompute: {{ hosts: {{ gw: {{ address: 10.0.1.1 }}, nas: {{ zone: mgmt, address: 10.0.1.2 }}, box: {{ zone: mgmt, address: 10.0.1.3 }} }} }}\nservices: {{ wiki: {{ run: wiki, on: {data}, data: [/srv], backup: n }} }}\nprotection: {{ repositories: {{ a: {{ on: nas, path: /a }}, b: {{ on: {far}, path: /b }} }}, policies: {{ n: {{ to: [a, b] }} }} }}\n"
        )
    };
    let praised =
        ["**One way in.**", "Copies go to more than one place.", "**Data leaves the machine that it is made on.**"];
    let says = |text: &str| praised.map(|praise| public(text).contains(praise));
    assert_eq!(says(&lab("vpn", "gw", "box")), [true, true, true]);
    assert_eq!(says(&lab("clients", "nas", "nas")), [false, false, false]);
}

/// The words that the public edition has for any lab: all of its sentences, from labs that have no words of their own.
fn vocabulary() -> BTreeSet<String> {
    let all = |n: usize| Patterns {
        hosts: n,
        guests: true,
        hypervisors: n,
        container_hosts: n,
        apart: n.is_multiple_of(2),
        containers_alone: n.is_multiple_of(2),
        published_outside: !n.is_multiple_of(2),
        sites: n,
        zones: n,
        flows_have_reasons: true,
        wide_flows: false,
        router: true,
        vpn: true,
        vpn_alone: n.is_multiple_of(2),
        tunnel: true,
        standby: true,
        keys_only: true,
        resolvers: n,
        blocklists: true,
        proxies: n,
        own_certificates: true,
        identity: true,
        secrets_file: true,
        secrets_server: true,
        monitoring: true,
        alerts: true,
        registry: true,
        runners: true,
        telemetry: true,
        services: n,
        production: n / 2,
        external: n / 4,
        public: n % 3,
        over_vpn: n,
        environments: true,
        containers: true,
        processes: true,
        egress: true,
        needs: true,
        backed_up: n / 2,
        copies_apart: n.is_multiple_of(2),
        repositories: n,
        repositories_elsewhere: true,
        encrypted: n.is_multiple_of(2),
        enforced: n.is_multiple_of(3),
        drills: n.is_multiple_of(2),
        proof: true,
        offline: true,
    };
    let pages = (0..20).flat_map(|n| public::pages(&all(n))).chain(public::pages(&Patterns::default()));
    let marker = Edition::Public.marker().to_string();
    pages.map(|page| page.text).chain([marker]).flat_map(|text| words(&text)).collect()
}

#[test]
fn the_public_edition_has_no_word_but_its_own_and_no_digit() {
    let vocabulary = vocabulary();
    for text in [SMALL, WHOLE, REFERENCE, ONE_MACHINE] {
        let told = public(text);
        assert!(!told.contains(|c: char| c.is_ascii_digit()), "{told}");
        let strange: Vec<String> = words(&told).difference(&vocabulary).cloned().collect();
        assert_eq!(strange, Vec::<String>::new());
        // And searched for one by one: what is found is an ordinary word of the edition's own.
        let own = own(text);
        assert!(text == ONE_MACHINE || own.len() > 40, "{own:?}");
        let found: Vec<&String> = own
            .iter()
            .filter(|own| words(&told).contains(&own.to_lowercase()))
            .filter(|own| !vocabulary.contains(&own.to_lowercase()))
            .collect();
        assert_eq!(found, Vec::<&String>::new());
        for name in lab(text).lab.compute.hosts.keys() {
            assert!(!told.contains(name.as_str()), "{name}");
        }
    }
}

/// A lab whose every name, address, path and version is given.
fn named(names: &[String], net: u8) -> String {
    let n = |at: usize| names[at].as_str();
    format!(
        "lab: {}\ndomain: {}.example\nowner: {}\nedge: {{ router: {h}, vpn: {{ wireguard: {{ on: {h} }} }} }}\n\
         network: {{ zones: {{ {z}: {{ subnet: 10.{net}.0.0/24 }} }}, flows: [{{ from: {z}, to: {h}, because: {} }}] }}\n\
         compute: {{ docker_hosts: [{h}], hosts: {{ {h}: {{ zone: {z}, address: 10.{net}.0.5, site: {}, failure_domain: {}, tags: [{}] }} }} }}\n\
         services: {{ {s}: {{ containers: {{ {}: {{ image: \"{}:1.{net}\", environment: {{ X: \"${{secret.{}}}\" }} }} }}, on: {h}, data: [/srv/{}], url: {}, backup: {p}, restore_notes: {} }} }}\n\
         protection: {{ repositories: {{ {r}: {{ on: {h}, path: /{} }} }}, policies: {{ {p}: {{ schedule: \"03:15\", to: {r}, drill: weekly }} }} }}\n",
        n(0),
        n(1),
        n(2),
        n(3),
        n(4),
        n(5),
        n(6),
        n(7),
        n(8),
        n(9),
        n(10),
        n(11),
        n(12),
        n(13),
        h = n(14),
        z = n(15),
        s = n(16),
        p = n(17),
        r = n(18),
    )
}

proptest! {
    /// Two labs of one shape have one public edition, whatever they call their things.
    /// No name holds a word that says what a zone is for: `dmz883` does, and then the two are of different shapes.
    #[test]
    fn the_public_edition_does_not_depend_on_any_name(
        one in prop::collection::hash_set("q[a-z]{7,11}", 19),
        other in prop::collection::hash_set("q[a-z]{7,11}", 19),
        net in 1..250u8,
    ) {
        let one: Vec<String> = one.into_iter().collect();
        let other: Vec<String> = other.into_iter().collect();
        let (first, second) = (named(&one, net), named(&other, 251));
        // Both are labs, and not only faults.
        prop_assert_eq!(lab(&first).lab.services.len(), 1);
        let told = public(&first);
        prop_assert_eq!(&told, &public(&second));
        for name in &one {
            prop_assert!(!told.contains(name.as_str()), "{}", name);
        }
    }
}
