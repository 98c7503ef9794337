//! From lab to ruleset, golden: what one who knows nftables reads. Each is loaded by the real `nft` in rehearsals.

use expect_test::expect_file;
use labwright_model::{Files, Parsed, parse};

use super::*;
use crate::network::Matrix;

struct One(String);

impl Files for One {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.as_bytes().to_vec())
    }
    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

fn lab(text: &str) -> Parsed {
    parse("some/folder/lab.yaml", &One(text.to_string()))
}

const LAB: &str = r#"lab: golden
edge: { router: gw }
network:
  firewall: enforce
  zones:
    servers: { subnet: [10.1.1.0/24, "fd00:1:1::/64"] }
    clients: { subnet: 10.1.2.0/24 }
    vpn: { interface: tailscale0, subnet: 100.64.0.0/10 }
  flows:
    - { from: [clients, vpn], to: servers, allow: [ssh, icmp] }
    - { from: clients, to: web, allow: [https, 8000-8010/tcp], because: "what \"people\" use" }
    - { from: internet, to: web, allow: 8443/tcp }
    - { from: servers, to: internet, allow: [https, ntp] }
    - { from: clients, to: gw, allow: ssh }
platform: { dns: web }
compute:
  proxmox: pve
  hosts:
    gw: { zone: servers, address: [10.1.1.1, "fd00:1:1::1", 10.1.2.1] }
    web: { zone: servers, address: [10.1.1.5, "fd00:1:1::5", 100.64.0.5] }
    db: { zone: servers, address: 10.1.1.6, os: other }
    pve: { zone: servers, address: 10.1.1.7 }
services:
  wiki: { on: web, containers: { app: { image: "x:1", ports: ["8080:80"] } }, port: "app:80", needs: store }
  store: { on: db, run: store, port: 5432 }
"#;

#[test]
fn rulesets_are_as_they_were() {
    let parsed = lab(LAB);
    let matrix = Matrix::of(&parsed);
    expect_file!["golden/host.nft"].assert_eq(&ruleset(&matrix, "web").unwrap());
    expect_file!["golden/router.nft"].assert_eq(&ruleset(&matrix, "gw").unwrap());
    expect_file!["golden/hypervisor.nft"].assert_eq(&ruleset(&matrix, "pve").unwrap());
    assert_eq!(ruleset(&matrix, "nobody"), None);
}

/// The same whatever the order of the file.
#[test]
fn the_order_of_the_file_changes_no_rule() {
    let hosts = [
        "gw: { zone: servers, address: [10.1.1.1, \"fd00:1:1::1\", 10.1.2.1] }",
        "web: { zone: servers, address: [10.1.1.5, \"fd00:1:1::5\", 100.64.0.5] }",
    ];
    let swapped = LAB.replace(hosts[0], "@@").replace(hosts[1], hosts[0]).replace("@@", hosts[1]);
    assert_ne!(LAB, swapped);
    let text = |lab_file: &str| {
        let parsed = lab(lab_file);
        ["gw", "web", "pve"].map(|host| ruleset(&Matrix::of(&parsed), host).unwrap())
    };
    assert_eq!(text(LAB), text(&swapped));
}

/// 200 hosts with 20 services each, half of which another one needs.
fn large() -> String {
    let mut text = "lab: large\nedge: { router: h000 }\nnetwork:\n  firewall: enforce\n  zones:\n".to_string();
    let zones = ["management", "servers", "apps", "clients", "iot"];
    for (n, zone) in zones.iter().enumerate() {
        text += &format!("    {zone}: {{ subnet: 10.{n}.0.0/16 }}\n");
    }
    text += "  flows:\n    - { from: [clients, management], to: [servers, apps], allow: [ssh, https] }\n    - { from: [servers, apps, clients], to: internet }\n";
    text += "platform: { dns: [h001, h002], reverse_proxy: h003, monitoring: h004 }\ncompute:\n  hosts:\n";
    for host in 0..200 {
        let zone = host % 3;
        text += &format!("    h{host:03}: {{ zone: {}, address: 10.{zone}.0.{} }}\n", zones[zone], host + 1);
    }
    text += "services:\n";
    for service in 0..4000 {
        let needs = if service % 2 == 1 { format!(", needs: [s{}]", (service * 7 + 3) % 4000) } else { String::new() };
        let expose = ["nowhere", "lan", "vpn"][service % 3];
        text += &format!(
            "  s{service}: {{ run: x, on: h{:03}, port: {}, url: s{service}, expose: {expose}{needs} }}\n",
            service % 200,
            3000 + service
        );
    }
    text
}

#[test]
fn a_large_lab_is_compiled_whole() {
    let parsed = lab(&large());
    let matrix = Matrix::of(&parsed);
    let compiler = Compiler::new(&matrix);
    let bytes: usize = (0..matrix.parties.hosts.len()).map(|host| compiler.ruleset(host).len()).sum();
    let everybody = matrix.everybody();
    let pairs = everybody.iter().flat_map(|from| everybody.iter().map(|to| matrix.between(*from, *to)));
    let open = pairs.filter(|one| !one.is_empty()).count();
    assert!(bytes > 1_000_000 && open > 10_000, "{bytes} bytes, {open} open");
}
