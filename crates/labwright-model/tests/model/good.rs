//! Texts that are a lab: what the values come out as, whatever form they were written in.

use std::net::IpAddr;

use labwright_model::Lab;
use labwright_model::lab::{Os, Tier};

use crate::support::{WHOLE, clean, read, shown};

#[test]
fn the_annotated_example_of_the_design_is_a_lab() {
    let parsed = clean(WHOLE);
    let lab = &parsed.lab;
    assert_eq!(lab.lab.value, "home");
    assert_eq!(lab.compute.hosts.len(), 6 + 7, "six hosts, and seven that only a role names: {:?}", parsed.implied);
    assert_eq!(lab.compute.hosts["laptop"].os, Os::Nixos);
    assert_eq!(lab.services["immich"].tier, Tier::Production);
    assert_eq!(lab.compute.hosts["docker-01"].vm.as_ref().map(|vm| vm.memory.0), Some(8 << 30));
    let secrets: Vec<_> = parsed.secrets.iter().map(|secret| secret.value.as_str()).collect();
    assert_eq!(secrets, ["cloudflare_token", "pg", "borg"]);
}

/// The inventory model of the reference architecture, as it stands there.
const INVENTORY: &str = "\
edge:
  router: gateway-01
  vpn: tailscale

compute:
  proxmox:
    - pve-01
    - pve-02
    - pve-03
  docker_hosts:
    - docker-01

platform:
  dns:
    - dns-01
  reverse_proxy:
    - proxy-01
  monitoring:
    - mon-01
  backup:
    - backup-01
";

#[test]
fn a_plain_inventory_is_a_lab() {
    let parsed = clean(INVENTORY);
    let hosts: Vec<_> = parsed.lab.compute.hosts.keys().map(String::as_str).collect();
    let named = ["gateway-01", "pve-01", "pve-02", "pve-03", "docker-01", "dns-01", "proxy-01", "mon-01", "backup-01"];
    assert_eq!(hosts, named);
    assert_eq!(parsed.implied, named);
    assert!(parsed.lab.edge.vpn.is_some_and(|vpn| vpn.tailscale.is_some()));
}

fn lab(text: &str) -> Lab {
    clean(text).lab
}

#[test]
fn short_forms_are_long_forms() {
    for (short, long) in [
        ("edge: { router: gw }", "edge: { router: { on: gw, kind: linux } }"),
        ("edge: { vpn: tailscale }", "edge: { vpn: { tailscale: {} } }"),
        ("edge: { vpn: wireguard }", "edge: { vpn: { wireguard: { port: 51820 } } }"),
        (
            "edge: { public: { cloudflare: { zones: a.net, tunnel: d } } }",
            "edge: { public: { cloudflare: { zones: [a.net], tunnel: { on: d } } } }",
        ),
        ("compute: { proxmox: pve }", "compute: { proxmox: [pve] }"),
        (
            "compute: { hosts: { a: { mounts: { /m: nas:/x }, symlinks: { /l: /t }, sysctl: { vm.swappiness: 10 } } } }",
            "compute: { hosts: { a: { mounts: { /m: { nfs: nas:/x } }, symlinks: { /l: { target: /t } }, sysctl: { vm.swappiness: { value: '10' } } } } }",
        ),
        (
            "compute: { hosts: { a: { users: { u: [ssh-ed25519 A] }, authorized_keys: { root: ssh-ed25519 B }, sshd: true } } }",
            "compute: { hosts: { a: { users: { u: { keys: [ssh-ed25519 A] } }, authorized_keys: { root: { keys: [ssh-ed25519 B] } }, sshd: { keys_only: true } } } }",
        ),
        (
            "compute: { hosts: { a: { address: 10.0.0.1, zone: z } } }\nnetwork: { zones: { z: { subnet: 10.0.0.0/24 } } }",
            "compute: { hosts: { a: { address: [10.0.0.1], zone: z } } }\nnetwork: { zones: { z: { subnet: [10.0.0.0/24] } } }",
        ),
        (
            "platform: { dns: [a, b], reverse_proxy: p, monitoring: m, registry: r, backup: [x], identity: i }",
            "platform: { dns: { on: [a, b] }, reverse_proxy: { on: p }, monitoring: { on: m }, registry: { on: r }, backup: { on: x }, identity: { on: i } }",
        ),
        (
            "platform: { reverse_proxy: { on: p, tls: letsencrypt } }",
            "platform: { reverse_proxy: { on: p, tls: { acme: letsencrypt } } }",
        ),
        (
            "platform: { reverse_proxy: { on: p, tls: internal } }",
            "platform: { reverse_proxy: { on: p, tls: { internal: true } } }",
        ),
        ("platform: { secrets: secrets.yaml }", "platform: { secrets: { age: secrets.yaml } }"),
        (
            "services: { a: { run: guestbook, on: h, backup: nightly, probe: /healthz } }",
            "services: { a: { run: { command: [guestbook] }, on: [h], backup: { policy: nightly }, probe: { path: /healthz } } }",
        ),
        ("services: { a: { external: fastmail } }", "services: { a: { external: { provider: fastmail, level: 0 } } }"),
        (
            "services: { a: { use: x, environments: [dev, prod] } }",
            "services: { a: { use: x, environments: { dev: , prod: } } }",
        ),
    ] {
        assert_eq!(lab(short), lab(long), "{short}");
    }
}

#[test]
fn anchors_aliases_and_merge_keys() {
    let parsed = read(
        "\
compute:
  hosts:
    base: &base { zone: servers, tags: &tags [debian], ssh: { user: root } }
    a: { <<: *base, address: 10.0.20.1 }
    b: { <<: [{ zone: clients }, *base], tags: *tags }
    c:
      <<: *base
      zone: iot
",
    );
    assert_eq!(shown(&parsed, &parsed.findings), "");
    let hosts = &parsed.lab.compute.hosts;
    let zone = |name: &str| hosts[name].zone.as_ref().map(|zone| zone.value.clone());
    assert_eq!(zone("a").as_deref(), Some("servers"));
    assert_eq!(zone("b").as_deref(), Some("clients"), "an earlier map wins over a later one");
    assert_eq!(zone("c").as_deref(), Some("iot"), "what the map says itself wins");
    assert_eq!(hosts["a"].ssh.user, hosts["b"].ssh.user);
    assert_eq!(hosts["b"].tags[0].value, "debian");
    assert_eq!(hosts["a"].address[0].value, IpAddr::from([10, 0, 20, 1]));
}

#[test]
fn a_quoted_merge_key_is_a_key() {
    let parsed = clean("services: { a: { networks: { \"<<\": 5 } } }\n");
    assert_eq!(parsed.lab.services["a"].networks.0, serde_json::json!({ "<<": 5 }));
}

#[test]
fn an_owner_is_inherited_wherever_none_is_named() {
    let parsed = clean(
        "owner: stian\nenvironments: [dev]\ncompute: { hosts: { a: , b: { owner: mia } } }\nservices: { w: { use: x, on: a, environments: [dev] } }\n",
    );
    let owner = |name: &str| parsed.lab.compute.hosts[name].owner.as_ref().map(|owner| owner.value.clone());
    assert_eq!(owner("a").as_deref(), Some("stian"));
    assert_eq!(owner("b").as_deref(), Some("mia"));
    assert_eq!(parsed.placements[0].entry.owner.as_ref().map(|owner| owner.value.as_str()), Some("stian"));
    let at: Vec<_> = parsed.derived.iter().map(|derived| derived.at.as_str()).collect();
    assert_eq!(at, ["compute.hosts.a.owner", "services.w.owner"]);
}

#[test]
fn a_block_ends_where_its_last_line_ends() {
    let parsed = read("network:\n  flows:\n    - from: a\n      to: b\n\n# about compute\ncompute: {}\n");
    let place = parsed.place(parsed.lab.network.flows[0].span).unwrap();
    assert_eq!((place.line, place.column, place.end_line, place.end_column), (3, 7, 4, 12));
    let parsed = read(
        "compute:\n  hosts:\n    a:\n      files:\n        /x:\n          content: |\n            one\n            two\n\n\nlab: home\n",
    );
    let content = parsed.lab.compute.hosts["a"].files["/x"].content.clone().unwrap();
    let place = parsed.place(content.span).unwrap();
    assert_eq!((place.line, place.end_line), (7, 8));
}

#[test]
fn columns_count_characters() {
    let parsed = read("lab: \"Blåbærskogen\" # x\nowner: [\"Åse\"]\n");
    let place = parsed.place(parsed.findings[0].span).unwrap();
    assert_eq!((place.line, place.column, place.end_column), (2, 8, 15));
}

#[test]
fn places_of_values_by_their_path() {
    let parsed = read(
        "edge:\n  router: gw\nplatform:\n  dns: { records: { nas: 10.0.0.5 } }\nnetwork: { flows: [{ from: a, to: b }] }\n",
    );
    let place = |path: &[&str]| parsed.place(parsed.span_of(path)).map(|place| (place.line, place.column));
    assert_eq!(place(&["edge", "router"]), Some((2, 11)));
    assert_eq!(place(&["edge", "router", "on"]), Some((2, 11)), "a short form stands for the whole");
    assert_eq!(place(&["platform", "dns", "records", "nas"]), Some((4, 26)));
    assert_eq!(place(&["network", "flows", "0", "to"]), Some((5, 35)));
    assert_eq!(place(&["protection"]), None);
}
