//! Labs in which the way between two machines is not by the router alone: a VPN that ends beside it, and hosts that stand on
//! the internet. What is said of the way has to be what packets find.

use labwright_plan::network::Matrix;
use labwright_plan::network::nft::Compiler;
use labwright_providers::rehearsal::{Report, run_with};

use super::{inside, lab};

fn rehearse(text: &str, fault: Option<&str>, change: impl Fn(&str, String) -> String) -> Report {
    let parsed = lab(text);
    let matrix = Matrix::of(&parsed);
    let compiler = Compiler::new(&matrix);
    let ruleset = |host: usize| change(matrix.parties.hosts[host].name, compiler.ruleset(host));
    run_with(&matrix, fault, &|_| {}, &ruleset).unwrap()
}

fn through(report: &Report, from: &str, to: &str, what: &str) -> bool {
    let asked = |one: &&labwright_providers::rehearsal::Socket| {
        (one.from.as_str(), one.to.as_str(), one.what.as_str()) == (from, to, what)
    };
    report.sockets.iter().find(asked).unwrap_or_else(|| panic!("{from} to {to}, {what}: not tried")).through
}

const BOX: &str = r#"
lab: box
edge: { router: { on: gw, kind: unifi }, vpn: { wireguard: { on: vpnbox, peers: { phone: { address: 10.9.0.2, public_key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=" } } } } }
network:
  firewall: enforce
  zones:
    lan: { subnet: 10.1.1.0/24, kind: clients }
    srv: { subnet: 10.1.2.0/24, kind: servers }
    vpn: { subnet: 10.9.0.0/24, interface: wg0 }
  flows:
    - { from: lan, to: srv, allow: ssh }
    - { from: vpn, to: srv, allow: [ssh, https] }
    - { from: vpn, to: internet, allow: https }
compute:
  hosts:
    gw: { zone: lan, address: [10.1.1.1, 10.1.2.1], os: other }
    vpnbox: { zone: srv, address: 10.1.2.9 }
    web: { zone: srv, address: 10.1.2.5 }
"#;

#[test]
fn a_vpn_beside_the_router_is_let_through_by_its_own_end() {
    inside("ways::a_vpn_beside_the_router_is_let_through_by_its_own_end", || {
        let report = rehearse(BOX, None, |_, ruleset| ruleset);
        assert_eq!((&report.leaks, &report.false_blocks), (&vec![], &vec![]));
        let phone = "another device in vpn";
        assert!(through(&report, phone, "web", "443/tcp") && through(&report, phone, "internet", "443/tcp"));
        assert!(!through(&report, phone, "another device in lan", "443/tcp"));
        // Without what it passes on, nothing of the VPN works; with too much, it is a leak.
        let shut = |name: &str, ruleset: String| match name {
            "vpnbox" => ruleset.replace("jump between", "goto denied"),
            _ => ruleset,
        };
        let report = rehearse(BOX, None, shut);
        assert!(report.false_blocks.iter().any(|one| one.from == phone && one.to == "web"), "{report:#?}");
        let open = |name: &str, ruleset: String| match name {
            "vpnbox" => ruleset.replace("jump between", "accept"),
            _ => ruleset,
        };
        let report = rehearse(BOX, None, open);
        assert!(report.leaks.iter().any(|one| one.to == "another device in lan"), "{report:#?}");
    });
}

const OUTSIDE: &str = r#"
lab: outside
network:
  firewall: enforce
  zones: { lan: { subnet: 10.1.1.0/24, kind: clients } }
  flows:
    - { from: internet, to: vps, allow: [https, icmp] }
    - { from: lan, to: lan, allow: ssh }
edge: { router: gw }
compute:
  hosts:
    gw: { zone: lan, address: 10.1.1.1 }
    vps: { os: other, address: 198.18.7.7 }
"#;

#[test]
fn hosts_on_the_internet_are_not_behind_the_router() {
    inside("ways::hosts_on_the_internet_are_not_behind_the_router", || {
        let report = rehearse(OUTSIDE, None, |_, ruleset| ruleset);
        assert_eq!((&report.leaks, &report.false_blocks), (&vec![], &vec![]));
        assert!(report.unenforced.iter().any(|one| one.from == "internet" && one.to == "vps"), "{report:#?}");
        assert!(!through(&report, "vps", "another device in lan", "22/tcp"));
    });
}

#[test]
fn each_port_that_is_lost_has_a_reason_of_its_own() {
    inside("ways::each_port_that_is_lost_has_a_reason_of_its_own", || {
        let text = BOX.replace("{ from: vpn, to: srv, allow: [ssh, https] }", "{ from: vpn, to: srv, allow: ssh, because: one }\n    - { from: vpn, to: srv, allow: https, because: two }");
        let report = rehearse(&text, Some("vpnbox"), |_, ruleset| ruleset);
        let lost = report.lost.iter().filter(|one| one.from == "another device in vpn" && one.to == "web");
        let told: Vec<(String, String)> = lost
            .map(|one| (one.ports.join(" "), one.because.split(' ').next().unwrap_or_default().to_string()))
            .collect();
        assert!(
            told.contains(&("22/tcp".into(), "one".into())) && told.contains(&("443/tcp".into(), "two".into())),
            "{told:?}"
        );
    });
}
