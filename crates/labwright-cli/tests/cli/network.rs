//! The network as its user asks about it: flows, reach, exposed, rulesets, and the rehearsal in which everybody really
//! tries everybody.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use expect_test::expect;
use serde_json::Value;

use crate::json::holds;
use crate::world::Desk;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/reference");

/// A small lab with everything that a ruleset can hold: both families, containers, a public port, a host with two zones.
const SMALL: &str = r#"lab: small
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
  hosts:
    gw: { zone: servers, address: [10.1.1.1, "fd00:1:1::1", 10.1.2.1] }
    web: { zone: servers, address: [10.1.1.5, "fd00:1:1::5", 100.64.0.5] }
    db: { zone: servers, address: 10.1.1.6, os: other }
services:
  wiki: { on: web, containers: { app: { image: "x:1", ports: ["8080:80"] } }, port: "app:80", needs: store }
  store: { on: db, run: store, port: 5432 }
"#;

#[test]
fn flows_tell_what_is_open_and_why() {
    let desk = Desk::new(SMALL);
    let ran = desk.run(&["flows", "--from", "web"]).code(0).says("what is not listed is denied");
    expect![[r#"
        servers → internet
          servers → internet: 123/udp, 443/tcp
              servers to internet (lab.yaml:13)
          web → internet: 53
              `web` asks for other names on the internet (lab.yaml:15)
          web → internet: 80/tcp
              packages and images of `web` come from there

        servers, inside
          servers → gw: icmp, 67/udp
              the router gives out addresses, and answers whether it is there (lab.yaml:2)
          servers → web: 53
              `web` answers for names (lab.yaml:15)
          web → db: 5432/tcp
              `wiki` needs `store` (lab.yaml:22)

        vpn → servers
          vpn → servers: icmp, 22/tcp
              vpn to servers (lab.yaml:10)
          vpn → web: 53
              `web` answers for names (lab.yaml:15)
    "#]]
    .assert_eq(ran.out.split("\nNot ").next().unwrap());
    desk.run(&["flows", "--to", "wbe"]).code(2).says("did you mean `web`?");
    desk.run(&["flows", "--format", "markdown"]).code(0).says("## clients to servers");
    desk.run(&["flows", "--ruleset", "nobody"]).code(2).says("there is no host `nobody`");
}

#[test]
fn reach_tells_the_way_and_what_would_turn_it() {
    let desk = Desk::new(SMALL);
    let ran = desk.run(&["reach", "clients", "web:443"]).code(0);
    expect![[r#"
        allowed: another device in clients to web on 443/tcp
          by clients → web, 443/tcp, 8000-8010/tcp: what "people" use (lab.yaml:11)
          way: another device in clients opens → gw forwards (enforced) → web takes (enforced)
          to deny it: take out or narrow the flow at lab.yaml:11
    "#]]
    .assert_eq(&ran.out);
    let ran = desk.run(&["reach", "vpn", "db:postgresql"]).code(3);
    expect![[r#"
        denied: another device in vpn to db on 5432/tcp
          open between them: icmp, 22/tcp
          way: another device in vpn opens → gw forwards (enforced) → db takes
          to allow it: add to `network: { flows: … }`: `- { from: vpn, to: db, allow: 5432/tcp }`
    "#]]
    .assert_eq(&ran.out);
    desk.run(&["reach", "wiki", "store"]).code(0).says("`wiki` needs `store`");
    desk.run(&["reach", "internet", "web:8443"]).code(0);
    desk.run(&["reach", "203.0.113.7", "[fd00:1:1::5]:8443"]).code(0);
    desk.run(&["reach", "10.1.2.77", "10.1.1.6:22"]).code(0);
    desk.run(&["reach", "web", "web:1"]).code(0).says("a host is never denied to itself");
    desk.run(&["reach", "clients", "web:htps"]).code(2).says("did you mean `https`?");
    desk.run(&["reach", "clints", "web"]).code(2).says("did you mean `clients`?");
}

#[test]
fn exposed_tells_what_strangers_reach() {
    let desk = Desk::new(SMALL);
    let ran = desk.run(&["exposed"]).code(0);
    expect![[r#"
        From internet
          web: 8443/tcp
              internet to web (lab.yaml:12)

        From vpn
          another device in servers, db, gw: icmp, 22/tcp
              vpn to servers (lab.yaml:10)
          web: icmp, 22/tcp, 53
              vpn to servers (lab.yaml:10)
              `web` answers for names (lab.yaml:15)
    "#]]
    .assert_eq(&ran.out);
}

#[test]
fn a_foreign_router_gets_its_work_order() {
    let desk = Desk::new(&SMALL.replace("router: gw", "router: { on: gw, kind: opnsense }"));
    let ran = desk.run(&["flows", "--export", "markdown"]).code(0);
    assert!(ran.out.starts_with("# Firewall of `gw`, lab `small`\n"), "{}", ran.out);
    for line in [
        "| clients | web | 443/tcp, 8000-8010/tcp | what \"people\" use (lab.yaml:11) |",
        "| any | any | deny, and log |",
    ] {
        assert!(ran.out.contains(line), "{line}\n{}", ran.out);
    }
    desk.run(&["check"]).says("LW-NET-015");
    desk.run(&["flows"]).code(0).says("is its work order").says("Not enforced");
}

/// Everybody against everybody, in both examples that enforce.
#[test]
fn the_reference_is_rehearsed_within_half_a_minute() {
    let desk = Desk::new(SMALL);
    let begun = Instant::now();
    let ran = desk.run(&["rehearse", REFERENCE, "--json"]).code(0);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let report = holds("rehearsal", &ran).remove(0);
    assert!(report["tries"].as_u64() > Some(5000) && report["pairs"].as_u64() > Some(300), "{report:#}");
    let ran = desk.run(&["rehearse", "--json"]).code(0);
    let report = holds("rehearsal", &ran).remove(0);
    assert_eq!((report["leaks"].as_array().map(Vec::len), report["rulesets"].as_u64()), (Some(0), Some(2)));
}

#[test]
fn a_fault_shows_who_loses_what() {
    let desk = Desk::new(SMALL);
    let ran = desk.run(&["rehearse", "--fault", "gw"]).code(0).says("without `gw`");
    assert!(ran.out.contains("another device in clients → web (10.1.1.5)"), "{}", ran.out);
    assert!(!ran.out.contains("web → db"), "{}", ran.out);
    desk.run(&["rehearse", "--fault", "wbe"]).code(2).says("did you mean `web`?");
    desk.lab("lab: home\n");
    desk.run(&["rehearse"]).says("there is nothing to rehearse");
}

/// The program and a lab where anybody may read them: it is not root who runs them.
fn for_anybody() -> Desk {
    let desk = Desk::new(SMALL);
    fs::copy(env!("CARGO_BIN_EXE_labwright"), desk.path("labwright")).unwrap();
    for (name, mode) in [(".", 0o755), ("labwright", 0o755), ("lab.yaml", 0o644)] {
        fs::set_permissions(desk.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    desk
}

#[test]
fn who_is_not_root_rehearses_in_user_namespaces_or_is_told_why_not() {
    let desk = for_anybody();
    let nobody = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).args(args);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/nonexistent");
        command.current_dir(desk.dir.path()).stdin(Stdio::null()).output().unwrap()
    };
    let allowed = nobody(&["unshare", "--user", "--map-root-user", "--net", "--mount", "true"]).status.success();
    let ran: crate::world::Ran = nobody(&["./labwright", "rehearse", "--json"]).into();
    if !allowed {
        ran.code(6).says("this machine does not let the rehearsal make namespaces").says("user.max_user_namespaces");
        return;
    }
    let report = holds("rehearsal", &ran.code(0)).remove(0);
    assert_eq!(
        (report["leaks"].as_array().map(Vec::len), report["rulesets"].as_u64()),
        (Some(0), Some(2)),
        "{report:#}"
    );
    assert!(report["tries"].as_u64() > Some(300), "{report:#}");
}

#[test]
fn where_the_kernel_gives_no_user_namespaces_the_way_out_is_told() {
    let desk = for_anybody();
    // A namespace in which no further one may be made stands for a kernel that allows none; who is in it is not root there.
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec ./labwright rehearse";
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--keep-caps", "sh", "-c", script])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let ran: crate::world::Ran = command.current_dir(desk.dir.path()).stdin(Stdio::null()).output().unwrap().into();
    ran.code(6)
        .says("this machine does not let the rehearsal make namespaces: unshare")
        .says("run it as root (`sudo labwright rehearse`)")
        .says("user.max_user_namespaces");
}

/// However it ends: no process, no namespace, no interface stays.
#[test]
fn a_killed_rehearsal_leaves_nothing() {
    let desk = Desk::new(SMALL);
    let netns = || Command::new("ip").args(["netns", "list"]).output().unwrap().stdout;
    let links = || {
        let out = Command::new("ip").args(["-o", "link"]).output().unwrap().stdout;
        String::from_utf8_lossy(&out).lines().filter(|line| line.contains("br0") || line.contains("p0-")).count()
    };
    let (before, links_before) = (netns(), links());
    let mut child =
        desk.command().args(["rehearse", REFERENCE]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let inner = descendants(child.id());
    assert!(!inner.is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let alive = |pids: &[u32]| {
        pids.iter()
            .any(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("labwright")))
    };
    while alive(&inner) {
        assert!(Instant::now() < deadline, "processes of a killed rehearsal are still there");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!((netns(), links()), (before, links_before));
}

fn descendants(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<u32> = list.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    children.iter().copied().chain(children.iter().flat_map(|child| descendants(*child))).collect()
}

/// A generator of labs that is the same everywhere; nobody tunes a rule for what it makes.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // Knuth's multiplier for 64-bit congruential generators (The Art of Computer Programming 2, 3.3.4).
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % sides as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.roll(all.len())]
    }

    fn likely(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }
}

fn random_lab(seed: u64) -> String {
    let dice = &mut Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let names = ["management", "servers", "clients", "iot", "guest", "lab", "media"];
    let first = dice.roll(3);
    let zones: Vec<&str> = names[first..first + 2 + dice.roll(3)].to_vec();
    let v6 = dice.likely(60);
    let mut lab = "lab: random\nnetwork:\n  firewall: enforce\n  zones:\n".to_string();
    let subnet = |zone: usize| format!("10.77.{zone}");
    for (n, zone) in zones.iter().enumerate() {
        let six = if v6 { format!(", \"fd00:77:{n}::/64\"") } else { String::new() };
        lab += &format!("    {zone}: {{ subnet: [{}.0/24{six}] }}\n", subnet(n));
    }
    let (mut hosts, mut lines) = (vec!["gw".to_string()], String::new());
    let addresses: Vec<String> = (0..zones.len()).map(|n| format!("{}.1", subnet(n))).collect();
    let six = if v6 { ", \"fd00:77:0::1\"" } else { "" };
    lines += &format!("    gw: {{ zone: {}, address: [{}{six}] }}\n", zones[0], addresses.join(", "));
    for (n, zone) in zones.iter().enumerate() {
        for m in 0..1 + dice.roll(2) {
            let name = format!("h{n}{m}");
            let mut own = vec![format!("{}.{}", subnet(n), 10 + m)];
            if v6 && dice.likely(70) {
                own.push(format!("\"fd00:77:{n}::{}\"", 10 + m));
            }
            // A host in two zones has the rights of both.
            if dice.likely(15) {
                own.push(format!("{}.{}", subnet((n + 1) % zones.len()), 40 + 10 * n + m));
            }
            let os = if dice.likely(20) { ", os: other" } else { "" };
            lines += &format!("    {name}: {{ zone: {zone}, address: [{}]{os} }}\n", own.join(", "));
            hosts.push(name);
        }
    }
    let mut ends: Vec<String> = zones.iter().map(|zone| zone.to_string()).chain(hosts.clone()).collect();
    ends.extend(["internet".to_string(), "app".to_string()]);
    lab += "  flows:\n";
    for _ in 0..3 + dice.roll(6) {
        let (from, to) = (dice.of(&ends).clone(), dice.of(&ends).clone());
        let allow = *dice.of(&["any", "icmp", "https", "dns", "8000-8010/tcp", "51820/udp", "[ssh, ntp, 5000-5005]"]);
        lab += &format!("    - {{ from: {from}, to: {to}, allow: {allow} }}\n");
    }
    let expose = *dice.of(&["nowhere", "lan", "public"]);
    let (on, port) = (dice.of(&hosts).clone(), 3000 + dice.roll(5000));
    lab += &format!("edge: {{ router: gw }}\nplatform: {{ dns: {} }}\ncompute:\n  hosts:\n{lines}", dice.of(&hosts));
    lab + &format!("services:\n  app: {{ run: app, on: {on}, port: {port}, expose: {expose} }}\n")
}

#[test]
fn random_labs_leak_nothing_and_block_nothing() {
    for seed in 1..=6 {
        let lab = random_lab(seed);
        let desk = Desk::new(&lab);
        let ran = desk.run(&["rehearse", "--json"]);
        assert!(ran.code == 0, "seed {seed}\n{lab}\n{}{}", ran.out, ran.err);
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        assert!(report["tries"].as_u64() > Some(300), "seed {seed}: {report:#}");
    }
}
