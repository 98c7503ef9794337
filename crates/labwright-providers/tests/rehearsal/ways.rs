//! Labs in which the way between two machines is not by the router alone: a VPN that ends beside it, and hosts that stand on
//! the internet. What is said of the way has to be what packets find.

use labwright_plan::network::Matrix;
use labwright_plan::network::answer::{Sought, somebody, target};
use labwright_plan::network::flows::unenforced;
use labwright_plan::network::nft::Compiler;
use labwright_plan::network::work_order::{markdown, work_order};
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

/// Whether `labwright reach` says that it is allowed, and what it would have one type.
fn reach(text: &str, from: &str, to: &str) -> (bool, bool, String) {
    let parsed = lab(text);
    let matrix = Matrix::of(&parsed);
    let (name, asked) = target(to).unwrap();
    let from = somebody(&matrix, from, Sought::AtHome).unwrap();
    let to = somebody(&matrix, name, Sought::AtHome).unwrap();
    let answer = matrix.answer(&from[0], &to[0], &asked);
    (answer.allowed, answer.enforced, answer.turn)
}

const HUB: &str = r#"
lab: hub
edge: { router: gw, vpn: { wireguard: { peers: { phone: { address: 10.9.0.2, public_key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=" } } } } }
network:
  firewall: enforce
  zones:
    lan: { subnet: [10.1.1.0/24, "fd00:1:1::/64"], kind: clients }
    vpn: { subnet: [10.9.0.0/24, "fd00:9::/64"], interface: wg0 }
  flows:
    - { from: vpn, to: lan, allow: https }
compute:
  hosts:
    gw: { zone: lan, address: [10.1.1.1, "fd00:1:1::1"] }
    web: { zone: lan, address: [10.1.1.5, "fd00:1:1::5"], os: other }
"#;

/// Peers have no way to each other but by the end of the tunnel, which denies what no flow allows.
#[test]
fn peers_of_a_vpn_meet_at_its_end() {
    inside("ways::peers_of_a_vpn_meet_at_its_end", || {
        let (one, other) = ("another device in vpn", "one more device in vpn");
        for text in [HUB, BOX] {
            let report = rehearse(text, None, |_, ruleset| ruleset);
            assert_eq!((&report.leaks, &report.false_blocks), (&vec![], &vec![]));
            assert!(!through(&report, one, other, "443/tcp") && !through(&report, other, one, "icmp"));
            assert!(!report.unenforced.iter().any(|pair| pair.from.ends_with("vpn") && pair.to.ends_with("vpn")));
            let parsed = lab(text);
            let listed = unenforced(&Matrix::of(&parsed));
            assert!(!listed.iter().any(|pair| (&*pair.from, &*pair.to) == ("vpn", "vpn")), "{listed:#?}");
            let (allowed, enforced, _) = reach(text, "vpn", "vpn:443");
            assert!(!allowed && enforced);
            // A hole where the tunnel ends is a hole between peers; a flow opens what it says, both ways.
            let open = |_: &str, ruleset: String| ruleset.replace("jump between", "accept");
            let report = rehearse(text, None, open);
            assert!(report.leaks.iter().any(|leak| (&*leak.from, &*leak.to) == (one, other)), "{report:#?}");
            let text = text.replace("  flows:\n", "  flows:\n    - { from: vpn, to: vpn, allow: 5000/tcp }\n");
            let report = rehearse(&text, None, |_, ruleset| ruleset);
            assert_eq!((&report.leaks, &report.false_blocks), (&vec![], &vec![]));
            assert!(through(&report, one, other, "5000/tcp") && through(&report, other, one, "5000/tcp"));
            assert!(!through(&report, one, other, "443/tcp"));
        }
        // Where the router ends it and has no firewall of ours, nobody denies it, and the work order says what to set.
        let foreign = HUB
            .replace("router: gw,", "router: { on: gw, kind: unifi },")
            .replace("\"fd00:1:1::1\"] }", "\"fd00:1:1::1\"], os: other }");
        let report = rehearse(&foreign, None, |_, ruleset| ruleset);
        assert!(report.unenforced.iter().any(|pair| (&*pair.from, &*pair.to) == (one, other)), "{report:#?}");
        let opened = foreign.replace("  flows:\n", "  flows:\n    - { from: vpn, to: vpn, allow: 5000/tcp }\n");
        let order = markdown(&work_order(&Matrix::of(&lab(&opened))));
        assert!(order.contains("| vpn | vpn | 5000/tcp |"), "{order}");
    });
}

/// What answers by the router does not come back; who has the route does. What is said of it is what sockets find.
#[test]
fn answers_to_a_vpn_beside_the_router_need_a_route() {
    inside("ways::answers_to_a_vpn_beside_the_router_need_a_route", || {
        let text = BOX
            .replace("{ on: gw, kind: unifi }", "gw")
            .replace(", os: other }", " }")
            .replace("    web: {", "    bare: { zone: srv, address: 10.1.2.6 }\n    web: { interfaces: { eth0: { addresses: 10.1.2.5/24, gateway: 10.1.2.1 } },");
        let text = text.replace("  flows:\n", "  flows:\n    - { from: [web, bare], to: vpn, allow: 5900/tcp }\n");
        let report = rehearse(&text, None, |_, ruleset| ruleset);
        assert_eq!((&report.leaks, &report.false_blocks), (&vec![], &vec![]));
        let phone = "another device in vpn";
        // The route follows from its interface being the lab's.
        assert!(through(&report, phone, "web", "443/tcp") && through(&report, "web", phone, "5900/tcp"));
        assert!(!through(&report, phone, "bare", "443/tcp"));
        let told: Vec<(&str, &str)> = report.unanswered.iter().map(|one| (&*one.from, &*one.to)).collect();
        assert!(told.contains(&(phone, "bare")), "{told:?}");
        assert!(!told.iter().any(|(from, to)| *from == "web" || *to == "web"), "{told:?}");
        assert!(reach(&text, "vpn", "web:443").0 && reach(&text, "web", "vpn:5900").0);
        let (allowed, _, turn) = reach(&text, "vpn", "bare:443");
        // The other way a connection begins, and nothing follows: the router sees no answer to it.
        assert!(!reach(&text, "bare", "vpn:5900").0);
        assert!(!allowed && turn.contains("routes: { \"10.9.0.0/24\": \"10.1.2.9\" }"), "{turn}");
        // Typed as it is said, it works.
        let typed =
            "bare: { interfaces: { eth0: { addresses: 10.1.2.6/24, routes: { \"10.9.0.0/24\": \"10.1.2.9\" } } },";
        let text = text.replace("bare: {", typed);
        let report = rehearse(&text, None, |_, ruleset| ruleset);
        assert!(through(&report, phone, "bare", "443/tcp") && through(&report, "bare", phone, "5900/tcp"));
        assert!(reach(&text, "vpn", "bare:443").0);
    });
}

const TAILNET: &str = r#"
lab: tailnet
edge: { router: gw, vpn: { tailscale: { on: gw } } }
network:
  firewall: enforce
  zones:
    lan: { subnet: 10.1.1.0/24, kind: clients }
    srv: { subnet: 10.1.2.0/24, kind: servers }
    ts: { subnet: 100.64.0.0/10, interface: tailscale0 }
  flows:
    - { from: ts, to: srv, allow: https }
    - { from: gw, to: web, allow: 9100/tcp }
    - { from: ts, to: internet, allow: https }
compute:
  hosts:
    gw: { zone: lan, address: [10.1.1.1, 10.1.2.1] }
    web: { zone: srv, address: 10.1.2.5 }
"#;

/// The router is the subnet router: what comes out of the tailnet has the router's address where it arrives, and no more
/// rights for it.
#[test]
fn a_router_that_is_the_subnet_router_passes_on_what_the_tailnet_may() {
    inside("ways::a_router_that_is_the_subnet_router_passes_on_what_the_tailnet_may", || {
        let report = rehearse(TAILNET, None, |_, ruleset| ruleset);
        assert_eq!((&report.leaks, &report.false_blocks), (&vec![], &vec![]));
        let phone = "another device in ts";
        assert!(through(&report, phone, "web", "443/tcp") && through(&report, phone, "internet", "443/tcp"));
        assert!(!through(&report, phone, "web", "9100/tcp") && through(&report, "gw", "web", "9100/tcp"));
        assert!(!through(&report, phone, "another device in lan", "443/tcp"));
        // The host sees the router's address: without an element for that, nothing of the tailnet arrives.
        let shut = |name: &str, ruleset: String| match name {
            "web" => ruleset
                .lines()
                .filter(|line| !line.contains("10.1.2.1 . 443"))
                .map(|line| format!("{line}\n"))
                .collect(),
            _ => ruleset,
        };
        let report = rehearse(TAILNET, None, shut);
        assert!(report.false_blocks.iter().any(|one| (&*one.from, &*one.to) == (phone, "web")), "{report:#?}");
        // Where the router looks at nothing, the host cannot tell the tailnet from the router, and that is told.
        let off = TAILNET.replace("10.1.2.1] }", "10.1.2.1], firewall: off }");
        let report = rehearse(&off, None, |_, ruleset| ruleset);
        assert_eq!((&report.leaks, &report.false_blocks), (&vec![], &vec![]));
        assert!(report.unenforced.iter().any(|one| (&*one.from, &*one.to) == (phone, "web")), "{report:#?}");
    });
}
