//! From a lab to what its hosts shall be, as text.
//! No resource is built by hand here.

use std::collections::BTreeMap;
use std::fmt::Write;

use expect_test::{Expect, expect};
use labwright_plan::{Lowered, Value};

use crate::world::{lower, parse};

type Assets = BTreeMap<String, Result<Vec<u8>, String>>;

pub fn check(yaml: &str, expected: Expect) {
    check_with(yaml, &Assets::new(), expected);
}

fn check_with(yaml: &str, assets: &Assets, expected: Expect) {
    expected.assert_eq(&shown(yaml, &lower(yaml, assets)));
}

/// The state of one host named `web`, with its resources.
pub fn check_host(state: &str, expected: Expect) {
    let indented: String = state.lines().map(|line| format!("      {line}\n")).collect();
    check(&format!("compute:\n  hosts:\n    web:\n{indented}"), expected);
}

/// Every resource, then every finding.
fn shown(yaml: &str, lowered: &Lowered) -> String {
    let mut out = String::new();
    for resource in &lowered.resources {
        writeln!(out, "{}{}", resource.id, if resource.adopt { " (adopt)" } else { "" }).unwrap();
        for (field, value) in &resource.spec {
            writeln!(out, "  {field}: {}", field_text(value)).unwrap();
        }
        for after in &resource.after {
            writeln!(out, "  after {after}").unwrap();
        }
    }
    let parsed = parse(yaml);
    for finding in &lowered.findings {
        let place =
            parsed.place(finding.span).map_or(String::new(), |place| format!("{}:{}", place.line, place.column));
        let (severity, code) = (finding.severity.name(), finding.code);
        writeln!(out, "{severity} {code} {place} {}: {}; {}", finding.at, finding.message, finding.help).unwrap();
    }
    out
}

fn field_text(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Map(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key}: {}", field_text(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::List(items) => format!("[{}]", items.iter().map(field_text).collect::<Vec<_>>().join(", ")),
        Value::Digest(digest) => format!("digest of {} bytes", digest.bytes),
        Value::Bytes(bytes) => format!("bytes {bytes:?}"),
        other => other.to_string(),
    }
}

#[test]
fn only_hosts_that_labwright_changes_are_lowered() {
    check(
        "compute:\n  hosts:\n    a: { os: nixos, packages: [nginx] }\n    b: { os: other, packages: [nginx] }\n    c: { os: ubuntu, packages: [nginx] }\n    d: { os: proxmox, packages: [nginx, nginx] }\n    e: {}\n",
        expect![[r#"
            c/host/package/nginx
              installed: true
            d/host/package/nginx
              installed: true
        "#]],
    );
}

#[test]
fn files_follow_their_directories_owners_and_the_packages() {
    check_host(
        "packages: [nginx]
groups: { staff: { gid: 5000 } }
users: { app: { uid: 900, system: true, groups: [staff, docker], shell: /bin/sh } }
directories:
  /srv/: {}
  /srv/app: { owner: app, group: staff, mode: \"2770\" }
files:
  /srv/app/deep/conf: { content: \"$${HOME} ${host.web.name}\\n\", owner: app }
  /etc/motd: { content: hi, adopt: true, after: [/srv/app/deep/conf, app, app.service, nosuch] }
symlinks: { /srv/current: app }
units: { app.service: { enabled: true } }",
        expect![[r#"
            web/host/directory//srv
              mode: "0755"
              type: "directory"
              after web/host/package/*
            web/host/directory//srv/app
              group: "staff"
              mode: "2770"
              owner: "app"
              type: "directory"
              after web/host/directory//srv
              after web/host/group/staff
              after web/host/package/*
              after web/host/user/app
            web/host/file//etc/motd (adopt)
              content: "hi"
              mode: "0644"
              type: "file"
              after web/host/file//srv/app/deep/conf
              after web/host/package/*
              after web/host/unit/app.service
              after web/host/user/app
            web/host/file//srv/app/deep/conf
              content: "${HOME} web\n"
              mode: "0644"
              owner: "app"
              type: "file"
              after web/host/directory//srv/app
              after web/host/package/*
              after web/host/user/app
            web/host/group/staff
              gid: 5000
              after web/host/package/*
            web/host/package/nginx
              installed: true
            web/host/symlink//srv/current
              target: "app"
              type: "symlink"
              after web/host/directory//srv
              after web/host/package/*
            web/host/unit/app.service
              enabled: true
              after web/host/package/*
            web/host/user/app
              create_home: false
              groups: ["docker", "staff"]
              shell: "/bin/sh"
              system: true
              uid: 900
              after web/host/group/staff
              after web/host/package/*
        "#]],
    );
}

#[test]
fn nothing_goes_without_a_name() {
    check_host(
        "packages: [\"\"]\nusers: { \"\": {} }",
        expect![[r#"
            error LW-LAB-004 4:18 compute.hosts.web: an empty name stands for a package of `web`; name it, or take it out
            error LW-LAB-004 5:16 compute.hosts.web: an empty name stands for a user of `web`; name it, or take it out
        "#]],
    );
}

#[test]
fn strings_with_secrets_lower_to_nothing() {
    check_host(
        "files:
  /etc/a: { content: \"${secret.a}\" }
  /etc/b: { content: b, owner: \"${secret.b}\" }
  /etc/c: { content: \"$${secret.c}\" }
units: { a.service: { content: \"Environment=X=${secret.a}\" } }
sysctl: { vm.swappiness: \"${secret.x}\" }
authorized_keys: { root: [\"${secret.key}\"] }",
        expect![[r#"
            web/host/file//etc/a
              content: secret `a`
              kept: "in memory"
              mode: "0400"
              type: "file"
            web/host/file//etc/c
              content: "${secret.c}"
              mode: "0644"
              type: "file"
        "#]],
    );
}

#[test]
fn sources_are_read_from_beside_the_lab_file() {
    let yaml = "compute:\n  hosts:\n    web:\n      files:\n        /etc/a: { source: files/a }\n        /etc/b: { source: b }\n        /etc/c: { source: gone }\n        /etc/d: { source: unread }\n";
    let assets = Assets::from([
        ("files/a".to_string(), Ok(b"text ${secret.stays}\n".to_vec())),
        ("b".to_string(), Ok(vec![0xff])),
        ("gone".to_string(), Err("no such file".to_string())),
    ]);
    check_with(
        yaml,
        &assets,
        expect![[r#"
        web/host/file//etc/a
          content: "text ${secret.stays}\n"
          mode: "0644"
          type: "file"
        web/host/file//etc/b
          content: bytes [255]
          mode: "0644"
          type: "file"
        error LW-CMP-008 7:27 compute.hosts.web.files./etc/c.source: cannot read `gone`, the source of `/etc/c`: no such file; put the file there, or correct the path: it is relative to the file that `source` stands in
        error LW-CMP-008 8:27 compute.hosts.web.files./etc/d.source: cannot read `unread`, the source of `/etc/d`: it was not read; put the file there, or correct the path: it is relative to the file that `source` stands in
    "#]],
    );
    let paths = labwright_providers::assets(&parse(yaml));
    assert_eq!(paths, ["b", "files/a", "gone", "unread"]);
    assert_eq!(
        labwright_providers::assets(&parse(&yaml.replace("web:", "web:\n      os: nixos"))),
        Vec::<String>::new()
    );
}

#[test]
fn what_apt_reads_comes_before_packages() {
    check_host(
        "packages: [docker-ce]
directories: { /etc/apt/keyrings: {} }
files:
  /etc/apt/keyrings/docker.asc: { content: key }
  /etc/apt/sources.list.d/docker.list: { content: deb }
  /etc/docker/daemon.json: { content: \"{}\" }",
        expect![[r#"
            web/host/directory//etc/apt/keyrings
              mode: "0755"
              type: "directory"
            web/host/file//etc/apt/keyrings/docker.asc
              content: "key"
              mode: "0644"
              type: "file"
              after web/host/directory//etc/apt/keyrings
            web/host/file//etc/apt/sources.list.d/docker.list
              content: "deb"
              mode: "0644"
              type: "file"
            web/host/file//etc/docker/daemon.json
              content: "{}"
              mode: "0644"
              type: "file"
              after web/host/package/*
            web/host/package/docker-ce
              installed: true
              after web/host/directory//etc/apt/keyrings
              after web/host/file//etc/apt/keyrings/docker.asc
              after web/host/file//etc/apt/sources.list.d/docker.list
        "#]],
    );
}

#[test]
fn what_stands_in_a_new_home_waits_for_whoever_makes_it() {
    check_host(
        "users: { app: {}, sub: { home: /home/app/sub } }
directories: { /home/app/data: { owner: app }, /home/app/sub: { owner: sub } }
files: { /home/app/.profile: { content: x } }",
        expect![[r#"
            web/host/directory//home/app/data
              mode: "0755"
              owner: "app"
              type: "directory"
              after web/host/user/*
              after web/host/user/app
            web/host/directory//home/app/sub
              mode: "0755"
              owner: "sub"
              type: "directory"
              after web/host/user/app
              after web/host/user/sub
            web/host/file//home/app/.profile
              content: "x"
              mode: "0644"
              type: "file"
              after web/host/user/*
            web/host/user/app
              create_home: true
            web/host/user/sub
              create_home: false
              home: "/home/app/sub"
        "#]],
    );
}

#[test]
fn the_order_of_the_file_changes_nothing() {
    let hosts = [
        "    a: { packages: [nginx, curl], groups: { g1: {}, g2: {} }, users: { u1: { groups: [g2, g1] }, u2: {} } }\n",
        "    b: { files: { /a/b: { content: x }, /a/c: { content: y, after: [/a/b] } }, directories: { /a: {}, /b: {} } }\n",
        "    c: { units: { a.service: { content: \"/etc/x /etc/y\", running: true }, b.timer: { running: true } }, files: { /etc/x: { content: x }, /etc/y: { content: y } } }\n",
    ];
    let lab = |order: [usize; 3]| format!("compute:\n  hosts:\n{}", order.map(|i| hosts[i]).concat());
    let turned = |text: String| {
        text.replace("[nginx, curl]", "[curl, nginx]")
            .replace("g1: {}, g2: {}", "g2: {}, g1: {}")
            .replace("[g2, g1]", "[g1, g2]")
            .replace("/a: {}, /b: {}", "/b: {}, /a: {}")
            .replace("/etc/x: { content: x }, /etc/y: { content: y }", "/etc/y: { content: y }, /etc/x: { content: x }")
    };
    let text = |yaml: &str| shown(yaml, &lower(yaml, &Assets::new()));
    let first = text(&lab([0, 1, 2]));
    assert!(first.lines().count() > 40);
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        assert_eq!(text(&lab(order)), first);
        assert_eq!(text(&turned(lab(order))), first);
    }
}

#[test]
fn whoever_is_beside_the_end_of_a_vpn_is_given_the_way_back() {
    let lab = |nas: &str| {
        format!(
            "edge:\n  router: gw\n  vpn: {{ wireguard: {{ on: box, peers: {{ phone: {{ address: 10.99.0.2 }} }} }} }}\n\
             network:\n  zones:\n    lan: {{ subnet: 10.0.20.0/24 }}\n    vpn: {{ kind: vpn, subnet: 10.99.0.0/24 }}\n\
             compute:\n  hosts:\n    gw: {{ zone: lan, address: 10.0.20.1 }}\n    box: {{ zone: lan, address: 10.0.20.2 }}\n    \
             nas: {{ zone: lan, address: 10.0.20.3, interfaces: {{ eth0: {{ addresses: 10.0.20.3/24, gateway: 10.0.20.1{nas} }} }} }}\n"
        )
    };
    let routes = |nas: &str| {
        let lowered = lower(&lab(nas), &Assets::new());
        let interface = lowered.resources.iter().find(|one| one.id.to_string() == "nas/host/interface/eth0").unwrap();
        field_text(&interface.spec["routes"])
    };
    expect![[r#"{10.99.0.0/24: "10.0.20.2"}"#]].assert_eq(&routes(""));
    // What the lab file says of the same network counts.
    let said = ", routes: { \"10.99.0.0/24\": 10.0.20.9 }";
    expect![[r#"{10.99.0.0/24: "10.0.20.9"}"#]].assert_eq(&routes(said));
}
