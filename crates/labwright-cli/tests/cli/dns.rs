//! The lab's names in other programs' formats, read by those programs.

use std::process::{Command, Stdio};

use crate::world::Desk;

const LAB: &str = r#"
network: { zones: { servers: { subnet: 10.0.20.0/24 } } }
compute:
  hosts:
    dns-01: { zone: servers, address: 10.0.20.53 }
    nas: { zone: servers, address: 10.0.20.5 }
platform:
  dns:
    on: dns-01
    upstream: 9.9.9.9
    records:
      files: { cname: nas }
      "*.apps": nas
      "@": { txt: 'say "hello"', mx: 10 mail.example.org }
      _sip._tcp: { srv: 0 5 5060 nas }
"#;

/// What a program says of a file; it must be content with it.
fn judged(desk: &Desk, program: &str, package: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(desk.dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|_| panic!("missing: `{program}` (package {package}); run scripts/test-deps"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program}: {said}");
    said
}

#[test]
fn binds_own_checker_reads_each_zone() {
    let desk = Desk::new(LAB);
    for zone in ["lab.home.arpa", "20.0.10.in-addr.arpa"] {
        let ran = desk.run(&["dns", "export", "zone", "--zone", zone, "--serial", "2026112101"]).code(0);
        desk.write("zone.txt", &ran.out);
        let said = judged(&desk, "named-checkzone", "bind9-utils", &["-i", "local", zone, "zone.txt"]);
        assert!(said.contains("loaded serial 2026112101") && said.trim_end().ends_with("OK"), "{said}");
    }
    desk.run(&["dns", "export", "zone", "--zone", "nope"])
        .code(2)
        .says("no zone `nope`; the zones are `lab.home.arpa`");
    desk.run(&["dns", "export", "zone", "--host", "nas"]).code(2).says("they are: dns-01");
}

#[test]
fn pi_holes_lines_for_dnsmasq_are_dnsmasqs() {
    let desk = Desk::new(LAB);
    let ran = desk.run(&["dns", "export", "pihole"]).code(0);
    let lines = ran.out.split_once("dnsmasq_lines = [").unwrap().1.split_once(']').unwrap().0;
    let lines: Vec<String> =
        lines.lines().filter_map(|line| serde_json::from_str(line.trim().trim_end_matches(',')).ok()).collect();
    assert!(lines.len() >= 6, "{lines:?}");
    desk.write("dnsmasq.conf", lines.join("\n") + "\n");
    judged(&desk, "dnsmasq", "dnsmasq-base", &["--test", "--conf-file=dnsmasq.conf"]);
}

#[test]
fn a_lab_without_a_resolver_is_told_how_to_get_one() {
    let desk = Desk::new("lab: home\n");
    desk.run(&["dns", "export", "adguard"]).code(3).says("the lab has none").says("platform: { dns: HOST }");
}
