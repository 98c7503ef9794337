//! Texts that are not a lab: each gives one clear finding at its place, and never a panic.

use std::collections::BTreeMap;

use expect_test::expect;
use labwright_model::{MAX_FILE_BYTES, parse};

use crate::support::{InMemory, check, read, shown};

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    check(
        "lab: home\nserivces: {}\n",
        expect![[r#"
        error LW-LAB-002 at lab.yaml:2:1..2:9 (serivces)
          unknown key `serivces` at the top of a lab file
          help: did you mean `services`?
    "#]],
    );
    check(
        "compute:\n  hosts:\n    a:\n      adress: 10.0.0.1\n      colour: red\n",
        expect![[r#"
        error LW-LAB-002 at lab.yaml:4:7..4:13 (compute.hosts.a.adress)
          unknown key `adress` in `a`
          help: did you mean `address`?
        error LW-LAB-002 at lab.yaml:5:7..5:13 (compute.hosts.a.colour)
          unknown key `colour` in `a`
          help: known keys here: zone, address, site, failure_domain, owner, tier, description, tags, os, flake, intermittent, local, routes, vm, lxc, ssh, hostname, packages, groups, users, authorized_keys, directories, files, symlinks, units, mounts, sysctl, sshd
    "#]],
    );
    check(
        "edge: { router: { host: gw } }\n",
        expect![[r#"
        error LW-LAB-007 at lab.yaml:1:17..1:18 (edge.router)
          `router` needs `on`
          help: add `on: …` here
        error LW-LAB-002 at lab.yaml:1:19..1:23 (edge.router.host)
          unknown key `host` in `router`
          help: known keys here: on, kind
    "#]],
    );
}

#[test]
fn values_of_the_wrong_type() {
    check(
        "lab: [home]\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:1:6..1:12 (lab)
          `lab` must be a string, found a list
          help: write the value without the brackets
    "#]],
    );
    check(
        "compute:\n  hosts: [a, b]\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:2:10..2:16 (compute.hosts)
          `hosts` must be a map of names, found a list
          help: write each name as a key: `NAME: { … }`, or `NAME:` alone
    "#]],
    );
    check(
        "compute: { hosts: { a: { address: 10.0.20.21/24 } } }\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:1:35..1:48 (compute.hosts.a.address)
          `address` must be an IP address such as 10.0.20.21, found `10.0.20.21/24`
          help: write `10.0.20.21`; how large the network is stands in the zone's `subnet`
    "#]],
    );
    check(
        "compute: { hosts: { a: { address: docker-01.lan } } }\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:1:35..1:48 (compute.hosts.a.address)
          `address` must be an IP address such as 10.0.20.21, found `docker-01.lan`
          help: write the IPv4 or IPv6 address; a name is not looked up
    "#]],
    );
    check(
        "compute: { hosts: { a: { local: yes } } }\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:1:33..1:36 (compute.hosts.a.local)
          `local` must be true or false, found `yes`
          help: YAML 1.2 writes `true`
    "#]],
    );
    check(
        "compute: { hosts: { a: { vm: { on: b, memory: 8 } } } }\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:1:47..1:48 (compute.hosts.a.vm.memory)
          `memory` must be a size with its unit, found `8`
          help: write `8GiB` or `8MiB`
    "#]],
    );
    check(
        "compute: { hosts: { a: { files: { /x: { content: y, mode: 420 } } } } }\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:1:59..1:62 (compute.hosts.a.files./x.mode)
          `mode` must be permission bits such as "0644", found `420`
          help: 420 is "0644" in decimal: write that
    "#]],
    );
    check(
        "network: { zones: { a: { vlan: ten } } }\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:1:32..1:35 (network.zones.a.vlan)
          `vlan` must be a number from 0 to 65535, found `ten`
    "#]],
    );
    check(
        "network: { zones: { a: { subnet: 10.0.20.7/24 } } }\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:1:34..1:46 (network.zones.a.subnet)
          `subnet` must be the address of a network, found `10.0.20.7/24`
          help: host bits are set: the subnet is `10.0.20.0/24`
    "#]],
    );
    check(
        "network: { flows: [{ from: a, to: b, allow: htps }] }\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:1:45..1:49 (network.flows.0.allow)
          `allow` must be a port with its protocol, a service name, `icmp` or `any`, found `htps`
          help: did you mean `https`?
    "#]],
    );
    check(
        "services: { a: { tier: prod, expose: interner } }\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:1:24..1:28 (services.a.tier)
          `tier` must be one of lab, production, found `prod`
        error LW-LAB-004 at lab.yaml:1:38..1:46 (services.a.expose)
          `expose` must be one of nowhere, lan, vpn, public, found `interner`
    "#]],
    );
    check(
        "protection: { policies: { n: { to: nas, schedule: every day, proof_within: 14 } } }\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:1:51..1:60 (protection.policies.n.schedule)
          `schedule` must be a time, a cron line or a systemd calendar expression, found `every day`
          help: for example "03:15", "15 3 * * 0" or "Sun *-*-* 03:15"
        error LW-LAB-004 at lab.yaml:1:76..1:78 (protection.policies.n.proof_within)
          `proof_within` must be a duration with its unit, found `14`
          help: write `14s`, `14h` or `14d`
    "#]],
    );
    check(
        "- lab: home\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:1:1..1:12
          the lab file must be a map, found a list
          help: known keys here: lab, domain, owner, timezone, environments, include, edge, network, compute, platform, services, protection
    "#]],
    );
    check(
        "just words\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:1:1..1:11
          the lab file must be a map, found `just words`
          help: known keys here: lab, domain, owner, timezone, environments, include, edge, network, compute, platform, services, protection
    "#]],
    );
}

#[test]
fn a_key_twice_shows_the_first() {
    check(
        "lab: home\ncompute:\n  hosts:\n    a: { zone: x }\n    b: {}\n    a: { zone: y }\n",
        expect![[r#"
        error LW-LAB-003 at lab.yaml:6:5..6:6 (compute.hosts.a)
          `a` is given twice in one map
          help: keep one of the two; the first one counts until then
          lab.yaml:4:5..4:6: first given here
    "#]],
    );
    check(
        "lab: home\nlab: home\nlab: home\n",
        expect![[r#"
        error LW-LAB-003 at lab.yaml:2:1..2:4 (lab)
          `lab` is given twice in one map
          help: keep one of the two; the first one counts until then
          lab.yaml:1:1..1:4: first given here
        error LW-LAB-003 at lab.yaml:3:1..3:4 (lab)
          `lab` is given twice in one map
          help: keep one of the two; the first one counts until then
          lab.yaml:1:1..1:4: first given here
    "#]],
    );
}

#[test]
fn required_keys() {
    check(
        "network:\n  flows:\n    - { from: a }\n    - to: b\n",
        expect![[r#"
        error LW-LAB-007 at lab.yaml:3:7..3:8 (network.flows.0)
          entry 1 of `flows` needs `to`
          help: add `to: …` here
        error LW-LAB-007 at lab.yaml:4:7..4:8 (network.flows.1)
          entry 2 of `flows` needs `from`
          help: add `from: …` here
    "#]],
    );
    check(
        "protection:\n  policies:\n    nightly:\n      schedule: '03:15'\n",
        expect![[r#"
        error LW-LAB-007 at lab.yaml:4:7..4:8 (protection.policies.nightly)
          `nightly` needs `to`
          help: add `to: …` here
    "#]],
    );
    check(
        "protection:\n  policies:\n    nightly:\n",
        expect![[r#"
        error LW-LAB-007 at lab.yaml:3:12..3:12 (protection.policies.nightly)
          `nightly` needs `to`
          help: add `to: …` here
    "#]],
    );
    check(
        "compute: { hosts: { a: { vm: { cores: 4 }, symlinks: { /a: {} } } } }\n",
        expect![[r#"
        error LW-LAB-007 at lab.yaml:1:30..1:31 (compute.hosts.a.vm)
          `vm` needs `on`
          help: add `on: …` here
        error LW-LAB-007 at lab.yaml:1:60..1:61 (compute.hosts.a.symlinks./a)
          `/a` needs `target`
          help: add `target: …` here
    "#]],
    );
    check(
        "edge: { router: { on: null } }\n",
        expect![[r#"
        error LW-LAB-007 at lab.yaml:1:17..1:18 (edge.router)
          `router` needs `on`
          help: add `on: …` here
    "#]],
    );
}

#[test]
fn an_alias_bomb_stops_at_once() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_string();
    for (this, last) in ('b'..='h').zip('a'..) {
        let list = vec![format!("*{last}"); 10].join(", ");
        bomb.push_str(&format!("{this}: &{this} [{list}]\n"));
    }
    check(
        &bomb,
        expect![[r#"
        error LW-LAB-005 at lab.yaml:5:36..5:38
          aliases expand to more than 100000 values
          help: write the repeated part out, or split it with `include`
    "#]],
    );
}

#[test]
fn an_alias_inside_its_own_anchor() {
    check(
        "a: &a [*a]\n",
        expect![[r#"
        error LW-LAB-002 at lab.yaml:1:1..1:2 (a)
          unknown key `a` at the top of a lab file
          help: known keys here: lab, domain, owner, timezone, environments, include, edge, network, compute, platform, services, protection
        error LW-LAB-001 at lab.yaml:1:8..1:10
          `*a` stands inside what it stands for
          help: write the value out here
    "#]],
    );
}

#[test]
fn an_alias_of_nothing() {
    check(
        "platform: { dns: { on: x, records: { a: *.apps } } }\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:41..1:47
          `*.apps` refers to an anchor that is not in this file
          help: a text that starts with `*` is quoted: `"*.apps"`; an anchor is set with `&.apps` before its first use
    "#]],
    );
}

#[test]
fn a_file_of_five_mebibytes() {
    let text = "# filler\n".repeat(5 * 1024 * 1024 / 9);
    check(
        &text,
        expect![[r#"
        error LW-LAB-005 at lab.yaml:1:1..1:1
          `lab.yaml` has 5242878 bytes; a lab file may have 4 MiB
          help: split it, and `include` the parts
    "#]],
    );
    assert!(text.len() > MAX_FILE_BYTES);
}

#[test]
fn a_file_just_below_the_limit_is_read() {
    let mut text = "compute:\n  hosts:\n".to_string();
    for number in 0.. {
        let line = format!("    host-{number}: {{ site: home }}\n");
        if text.len() + line.len() > MAX_FILE_BYTES / 8 {
            break;
        }
        text.push_str(&line);
    }
    assert_eq!(read(&text).findings, []);
}

#[test]
fn nesting_of_65() {
    let text = format!("lab: {}{}\n", "[".repeat(64), "]".repeat(64));
    check(
        &text,
        expect![[r#"
        error LW-LAB-005 at lab.yaml:1:69..1:70
          nested deeper than 64 levels
          help: no key of a lab file needs this depth; a bracket may be missing
    "#]],
    );
    check(
        &"[".repeat(300),
        expect![[r#"
        error LW-LAB-005 at lab.yaml:1:256..1:256
          nested deeper than 64 levels
          help: no key of a lab file needs this depth; a bracket may be missing
    "#]],
    );
    let mut blocks = String::new();
    for depth in 0..70 {
        blocks.push_str(&format!("{}k:\n", " ".repeat(depth)));
    }
    check(
        &blocks,
        expect![[r#"
        error LW-LAB-005 at lab.yaml:65:65..65:65
          nested deeper than 64 levels
          help: no key of a lab file needs this depth; a bracket may be missing
    "#]],
    );
    let text = format!("services: {{ a: {{ up: {}{} }} }}\n", "[".repeat(61), "]".repeat(61));
    check(&text, expect![[""]]);
}

#[test]
fn nesting_through_aliases() {
    let mut text = "x0: &x0 [a]\n".to_string();
    for depth in 1..70 {
        text.push_str(&format!("x{depth}: &x{depth} [*x{}]\n", depth - 1));
    }
    check(
        &text,
        expect![[r#"
        error LW-LAB-005 at lab.yaml:64:12..64:16
          nested deeper than 64 levels
          help: no key of a lab file needs this depth; a bracket may be missing
    "#]],
    );
}

#[test]
fn not_utf_8() {
    let mut text = "lab: home\nowner: J".to_string().into_bytes();
    text.extend([0xf6, b'r', b'g', b'\n']);
    let files = InMemory(BTreeMap::from([("lab.yaml".to_string(), text)]));
    let parsed = parse("lab.yaml", &files);
    expect![[r#"
        error LW-LAB-001 at lab.yaml:2:9..2:10
          `lab.yaml` is not UTF-8: the byte 0xf6 stands here
          help: save the file as UTF-8
    "#]]
    .assert_eq(&shown(&parsed, &parsed.findings));
    assert!(parsed.unreadable);
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_text() {
    check(
        "\u{feff}lab: home\nx: 1\n",
        expect![[r#"
        error LW-LAB-002 at lab.yaml:2:1..2:2 (x)
          unknown key `x` at the top of a lab file
          help: known keys here: lab, domain, owner, timezone, environments, include, edge, network, compute, platform, services, protection
    "#]],
    );
}

#[test]
fn nothing_in_the_file() {
    check(
        "",
        expect![[r#"
        error LW-LAB-011 at lab.yaml:1:1..1:1
          `lab.yaml` is empty: there is no lab in it
          help: start with `lab: home`, then add `compute:` with your hosts
    "#]],
    );
    check(
        "\n\n",
        expect![[r#"
        error LW-LAB-011 at lab.yaml:1:1..1:1
          `lab.yaml` is empty: there is no lab in it
          help: start with `lab: home`, then add `compute:` with your hosts
    "#]],
    );
    check(
        "# lab: home\n# compute:\n",
        expect![[r#"
        error LW-LAB-011 at lab.yaml:1:1..1:1
          `lab.yaml` is empty: there is no lab in it
          help: start with `lab: home`, then add `compute:` with your hosts
    "#]],
    );
    check(
        "---\n",
        expect![[r#"
        error LW-LAB-011 at lab.yaml:1:1..1:1
          `lab.yaml` is empty: there is no lab in it
          help: start with `lab: home`, then add `compute:` with your hosts
    "#]],
    );
    check(
        "{}\n",
        expect![[r#"
        error LW-LAB-011 at lab.yaml:1:1..1:1
          `lab.yaml` is empty: there is no lab in it
          help: start with `lab: home`, then add `compute:` with your hosts
    "#]],
    );
    check("lab:\n", expect![[""]]);
}

#[test]
fn a_second_document() {
    check(
        "lab: home\n---\nlab: cabin\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:2:1..2:4
          a lab file holds one YAML document, and a second one starts here
          help: remove the `---`, or put the second document in a file of its own and `include` it
    "#]],
    );
}

#[test]
fn tabs() {
    check(
        "compute:\n\thosts: {}\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:2:1..2:2
          a tab stands in the indentation
          help: YAML is indented with spaces: replace the tab, and let the editor insert spaces in `.yaml` files
    "#]],
    );
    check(
        "compute:\n  hosts:\n\ta: {}\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:3:1..3:2
          a tab stands in the indentation
          help: YAML is indented with spaces: replace the tab, and let the editor insert spaces in `.yaml` files
    "#]],
    );
    check(
        "compute:\n  proxmox: [a,\n\tb]\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:3:1..3:2
          a tab stands in the indentation
          help: YAML is indented with spaces: replace the tab, and let the editor insert spaces in `.yaml` files
    "#]],
    );
    check("lab:\thome\n", expect![[""]]);
}

#[test]
fn text_that_is_not_yaml() {
    check(
        "lab: \"home\ncompute: {}\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:6..1:11
          the quote that opens on line 1 is not closed
          help: close it with `"` at the end of the value
    "#]],
    );
    check(
        "lab: 'home\n  at the sea\n\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:6..1:11
          the quote that opens on line 1 is not closed
          help: close it with `'` at the end of the value
    "#]],
    );
    check(
        "lab: home\n  owner: stian\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:2:8..2:15
          a `:` stands where no key can be
          help: quote a value that contains `: `, or align this line with the keys above it
    "#]],
    );
    check(
        "compute:\n  hosts:\n    a: {}\n   b: {}\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:4:4..4:9
          the indentation of this line fits none of the lines above
          help: keys of one map start in the same column, and so do the `-` of one list
    "#]],
    );
    check(
        "compute: { hosts: { a: {} }\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:10..1:28
          a bracket, or a comma between two entries, is missing
          help: close every `{` with `}` and every `[` with `]`; quote a text that contains them
    "#]],
    );
    check(
        "compute:\n  hosts\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:2:3..2:8 (compute)
          `compute` must be a map, found `hosts`
          help: write `hosts: …`, with a space after the colon
    "#]],
    );
    check(
        "owner: @stian\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:8..1:14
          a value cannot start with this character
          help: quote the value: `"…"`
    "#]],
    );
    check(
        "lab: home: two\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:10..1:15
          a `:` stands where no key can be
          help: quote a value that contains `: `, or align this line with the keys above it
    "#]],
    );
    check(
        "lab: \"a\\q\"\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:6..1:11
          a `\` in double quotes starts an escape, and this one is unknown
          help: write `\\` for a backslash, or put the value in single quotes
    "#]],
    );
    check(
        "lab: \"a\" b\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:10..1:11
          text follows a closed quote
          help: put the whole value in one pair of quotes
    "#]],
    );
    check(
        "lab: *\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:6..1:7
          a `*` or `&` stands alone
          help: quote a text that starts with `*` or `&`: `"*.apps"`
    "#]],
    );
    check(
        "lab: {{ name }}\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:7..1:15
          a key must be a string, found a map
          help: quote it; a value that starts with `{` or `[` and is text is quoted too: `"{{ x }}"`
    "#]],
    );
    check(
        "lab: !secret name\ninclude: !include other.yaml\nowner: !!str 5\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:1:6..1:13
          the tag `!secret` means nothing in a lab file
          help: write `${secret.NAME}`
        error LW-LAB-004 at lab.yaml:2:10..2:18
          the tag `!include` means nothing in a lab file
          help: list further lab files under `include:` at the top of the file
        error LW-LAB-006 at lab.yaml:2:19..2:29
          cannot read `other.yaml`: no such file
          help: check the path; it is relative to the file that names it
    "#]],
    );
    check(
        "lab: home\n: x\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:2:1..2:1
          a key must be a string, found nothing
          help: write the key before the `:`
    "#]],
    );
    check(
        "<<: 5\n",
        expect![[r#"
        error LW-LAB-001 at lab.yaml:1:5..1:6
          `<<` merges maps, found a number
          help: give it an alias of a map: `<<: *defaults`
    "#]],
    );
}

#[test]
fn comments_that_accept() {
    check(
        "# labwright: allow everything\nlab: home\n",
        expect![[r#"
        error LW-LAB-009 at lab.yaml:1:1..1:30
          cannot read the comment `# labwright: allow everything`
          help: write `# labwright: allow LW-NET-003 because REASON`, at the end of the line or alone above it
    "#]],
    );
    check(
        "lab: home # labwright: allow LW-NET-001\n",
        expect![[r#"
        error LW-LAB-009 at lab.yaml:1:11..1:40
          cannot read the comment `# labwright: allow LW-NET-001`
          help: write `# labwright: allow LW-NET-003 because REASON`, at the end of the line or alone above it
    "#]],
    );
    let parsed = read(
        "lab: home # labwright: allow LW-NET-001 because it is so\n# labwright: allow LW-NET-002  because reasons \n# more\n\nowner: x\n",
    );
    let allows: Vec<_> = parsed.allows.iter().map(|a| (a.code.as_str(), a.reason.as_str(), a.line)).collect();
    assert_eq!(allows, [("LW-NET-001", "it is so", 1), ("LW-NET-002", "reasons", 5)]);
}

#[test]
fn all_findings_of_a_file_come_at_once() {
    check(
        "\
lab: home
labb: x
environments: { dev: 1 }
network:
  zones:
    servers: { vlan: 70000, subnet: 10.0.20.1/24 }
  flows:
    - { from: servers, alow: [https] }
compute:
  hosts:
    a: { local: yes, files: { /etc/motd: { content: \"${host.b.address}\" } } }
    a: {}
services:
  wiki: { tier: prod, probe: { every: 30 } }
",
        expect![[r#"
            error LW-LAB-002 at lab.yaml:2:1..2:5 (labb)
              unknown key `labb` at the top of a lab file
              help: did you mean `lab`?
            error LW-LAB-004 at lab.yaml:3:15..3:25 (environments)
              `environments` must be a string, found a map
              help: write one value, or a list of them: `[a, b]`
            error LW-LAB-004 at lab.yaml:6:22..6:27 (network.zones.servers.vlan)
              `vlan` must be a number from 0 to 65535, found `70000`
            error LW-LAB-004 at lab.yaml:6:37..6:49 (network.zones.servers.subnet)
              `subnet` must be the address of a network, found `10.0.20.1/24`
              help: host bits are set: the subnet is `10.0.20.0/24`
            error LW-LAB-007 at lab.yaml:8:7..8:8 (network.flows.0)
              entry 1 of `flows` needs `to`
              help: add `to: …` here
            error LW-LAB-002 at lab.yaml:8:24..8:28 (network.flows.0.alow)
              unknown key `alow` in entry 1 of `flows`
              help: did you mean `allow`?
            error LW-LAB-004 at lab.yaml:11:17..11:20 (compute.hosts.a.local)
              `local` must be true or false, found `yes`
              help: YAML 1.2 writes `true`
            error LW-LAB-008 at lab.yaml:11:54..11:71
              unknown reference `${host.b.address}`
              help: did you mean `${host.a.address}`?
            error LW-LAB-003 at lab.yaml:12:5..12:6 (compute.hosts.a)
              `a` is given twice in one map
              help: keep one of the two; the first one counts until then
              lab.yaml:11:5..11:6: first given here
            error LW-LAB-004 at lab.yaml:14:17..14:21 (services.wiki.tier)
              `tier` must be one of lab, production, found `prod`
            error LW-LAB-004 at lab.yaml:14:39..14:41 (services.wiki.probe.every)
              `every` must be a duration with its unit, found `30`
              help: write `30s`, `30h` or `30d`
        "#]],
    );
}

#[test]
fn a_lab_that_is_not_there() {
    let parsed = parse("lab.yaml", &InMemory::default());
    expect![[r#"
        error LW-LAB-006 at nowhere
          cannot read `lab.yaml`: no such file
          help: name the lab's file, or the folder that holds it
    "#]]
    .assert_eq(&shown(&parsed, &parsed.findings));
    assert!(parsed.unreadable);
}
