//! The rehearsal as a safety net: holes are made in rulesets, and it has to find each. And rulesets beside Docker's rules,
//! made by hand as Docker makes them, tried with plain sockets.

mod bridges;
mod docker;
mod oracle;
mod ways;

use std::process::Command;

use labwright_model::{Files, Parsed, parse};
use labwright_plan::network::Matrix;
use labwright_plan::network::nft::Compiler;
use labwright_providers::rehearsal::{Report, run_with};

pub struct One<'a>(pub &'a str);

impl Files for One<'_> {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.as_bytes().to_vec())
    }
    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

pub fn lab(text: &str) -> Parsed {
    parse("lab.yaml", &One(text))
}

const LAB: &str = r#"
edge: { router: gw }
network:
  firewall: enforce
  zones: { a: { subnet: [10.5.1.0/24, "fd00:5:1::/64"] }, b: { subnet: [10.5.2.0/24, "fd00:5:2::/64"] } }
  flows: [{ from: a, to: [a, gw], allow: ssh }, { from: b, to: web, allow: [https, 51820/udp, icmp] }]
compute:
  hosts:
    gw: { zone: a, address: [10.5.1.1, "fd00:5:1::1", 10.5.2.1, "fd00:5:2::1"] }
    web: { zone: a, address: [10.5.1.5, "fd00:5:1::5"] }
"#;

const INSIDE: &str = "LABWRIGHT_TEST_INSIDE";

/// Runs this very test again in namespaces of its own, unless it is there already.
pub fn inside(name: &str, work: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return work();
    }
    let own = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--"])
        .arg(own)
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn with(change: impl Fn(&str, String) -> String) -> Report {
    let parsed = lab(LAB);
    let matrix = Matrix::of(&parsed);
    let compiler = Compiler::new(&matrix);
    let ruleset = |host: usize| change(matrix.parties.hosts[host].name, compiler.ruleset(host));
    run_with(&matrix, None, &|_| {}, &ruleset).unwrap()
}

#[test]
fn what_is_as_it_should_be_is_found_so() {
    inside("what_is_as_it_should_be_is_found_so", || {
        let report = with(|_, ruleset| ruleset);
        assert_eq!((report.leaks, report.false_blocks), (vec![], vec![]));
        assert!(report.tries > 100 && report.rulesets == 2);
    });
}

#[test]
fn a_hole_is_a_leak() {
    inside("a_hole_is_a_leak", || {
        let hole =
            |_: &str, ruleset: String| ruleset.replace("goto denied", "accept").replace("jump between", "accept");
        let report = with(hole);
        let leaks: Vec<&str> = report.leaks.iter().map(|leak| leak.to.as_str()).collect();
        assert!(leaks.contains(&"web") && leaks.contains(&"gw"), "{:#?}", report.leaks);
        assert_eq!(report.false_blocks, vec![]);
    });
}

#[test]
fn a_hole_in_ipv6_alone_is_a_leak() {
    inside("a_hole_in_ipv6_alone_is_a_leak", || {
        let hole =
            |_: &str, ruleset: String| ruleset.replace("goto denied", "meta nfproto ipv6 accept\n\t\tgoto denied");
        let report = with(hole);
        assert!(!report.leaks.is_empty() && report.leaks.iter().all(|leak| leak.address.contains(':')), "{report:#?}");
    });
}

#[test]
fn a_missing_element_is_a_false_block() {
    inside("a_missing_element_is_a_false_block", || {
        let shut = |host: &str, ruleset: String| match host {
            "web" => {
                ruleset.lines().filter(|line| !line.contains(". 443 comment")).map(|line| format!("{line}\n")).collect()
            }
            _ => ruleset,
        };
        let report = with(shut);
        assert_eq!(report.leaks, vec![]);
        assert!(
            report.false_blocks.iter().any(|one| one.to == "web" && one.ports.contains(&"443/tcp".to_string())),
            "{report:#?}"
        );
    });
}
