//! Texts that are YAML and no lab: each fault is one clear finding at its place, and all of them come at once.

use expect_test::expect;
use labwright_model::parse;

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
              help: known keys here: zone, renamed_from, address, site, failure_domain, owner, provider, tier, description, tags, os, cores, memory, disk, flake, intermittent, local, routes, firewall, backup, restore_notes, vm, lxc, ssh, hostname, packages, groups, users, authorized_keys, directories, files, symlinks, units, mounts, interfaces, sysctl, docker_socket, sshd
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
        "compute: { hosts: { a: { address: 10.0.0.300 } } }\n",
        expect![[r#"
        error LW-LAB-004 at lab.yaml:1:35..1:45 (compute.hosts.a.address)
          `address` must be an IP address such as 10.0.20.21, found `10.0.0.300`
          help: an IPv4 address has four numbers, each from 0 to 255, without leading zeros
    "#]],
    );
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
              help: did you mean `production`?
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
              help: there is no host `b` under `compute.hosts`: add it there
            error LW-LAB-003 at lab.yaml:12:5..12:6 (compute.hosts.a)
              `a` is given twice in one map
              help: keep one of the two; the first one counts until then
              lab.yaml:11:5..11:6: first given here
            error LW-LAB-004 at lab.yaml:14:17..14:21 (services.wiki.tier)
              `tier` must be one of lab, production, found `prod`
              help: did you mean `production`?
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

#[test]
fn words_that_people_use_for_ours() {
    let help = |text: &str| read(text).findings.iter().map(|finding| finding.help.to_string()).collect::<String>();
    assert_eq!(help("services: { a: { run: a, expose: internet } }\n"), "did you mean `public`?");
    assert_eq!(help("services: { a: { run: a, expose: Private } }\n"), "did you mean `nowhere`?");
    assert_eq!(help("services: { a: { run: a, expose: lam } }\n"), "did you mean `lan`?");
}
