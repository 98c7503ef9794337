//! How long the network of a large lab takes: the matrix, the rulesets of all its hosts, the answer for every ordered pair.
//!
//!     cargo run --release -p labwright-plan --example network -- [HOSTS] [SERVICES] [RUNS]
//!
//! The lab is made here, the same each time; half of the services need another one. Each of the three is measured by a clock
//! around it, in milliseconds: median, smallest and largest.

#![allow(clippy::print_stdout, clippy::print_stderr)]
#![allow(
    clippy::disallowed_methods,
    reason = "a bench looks at the clock and at its arguments, which the crate must not"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use labwright_model::{Files, parse};
use labwright_plan::network::Matrix;
use labwright_plan::network::nft::Compiler;

struct One(String);

impl Files for One {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.as_bytes().to_vec())
    }
    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

fn lab(hosts: usize, services: usize) -> String {
    let zones = ["management", "servers", "apps", "clients", "iot"];
    let mut text = "lab: large\nedge: { router: h0 }\nnetwork:\n  firewall: enforce\n  zones:\n".to_string();
    for (number, zone) in zones.iter().enumerate() {
        let _ = writeln!(text, "    {zone}: {{ subnet: 10.{number}.0.0/16 }}");
    }
    text += "  flows:\n    - { from: [clients, management], to: [servers, apps], allow: [ssh, https] }\n";
    text += "    - { from: [servers, apps, clients], to: internet }\n";
    text += "platform: { dns: [h1, h2], reverse_proxy: h3, monitoring: h4 }\ncompute:\n  hosts:\n";
    for host in 0..hosts {
        let (zone, high, low) = (host % 3, host / 200, host % 200 + 1);
        let _ = writeln!(text, "    h{host}: {{ zone: {}, address: 10.{zone}.{high}.{low} }}", zones[zone]);
    }
    text += "services:\n";
    for service in 0..services {
        let (host, port) = (service % hosts, 3000 + service % 60_000);
        let expose = ["nowhere", "lan", "vpn"][service % 3];
        let needs = if service % 2 == 1 { (service * 7 + 3) % services } else { service };
        let needs = if needs == service { String::new() } else { format!(", needs: [s{needs}]") };
        let _ = writeln!(
            text,
            "  s{service}: {{ run: x, on: h{host}, port: {port}, url: s{service}, expose: {expose}{needs} }}"
        );
    }
    text
}

fn main() {
    let mut given = std::env::args().skip(1).map(|word| word.parse::<usize>());
    let mut number = |otherwise: usize| match given.next() {
        Some(Ok(number)) if number > 0 => number,
        None => otherwise,
        Some(_) => {
            eprintln!("usage: network [HOSTS] [SERVICES] [RUNS], each a number above 0");
            std::process::exit(2)
        }
    };
    let (hosts, services, runs) = (number(200), number(4000), number(21));
    let parsed = parse("lab.yaml", &One(lab(hosts, services)));
    let errors: Vec<_> = parsed.findings.iter().map(|finding| finding.message.as_str()).collect();
    assert!(errors.is_empty(), "the lab cannot be read: {errors:?}");
    let mut took: [Vec<f64>; 3] = Default::default();
    let (mut bytes, mut pairs, mut open) = (0, 0, 0);
    for _ in 0..runs {
        let start = Instant::now();
        let matrix = black_box(Matrix::of(&parsed));
        took[0].push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        let compiler = Compiler::new(&matrix);
        bytes = (0..matrix.parties.hosts.len()).map(|host| black_box(compiler.ruleset(host)).len()).sum();
        took[1].push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        let everybody = matrix.everybody();
        let answers = everybody.iter().flat_map(|from| everybody.iter().map(|to| matrix.between(*from, *to)));
        (pairs, open) = answers.fold((0, 0), |(all, open), one| (all + 1, open + usize::from(!one.is_empty())));
        took[2].push(start.elapsed().as_secs_f64() * 1e3);
    }
    let whole: Vec<f64> = took[0].iter().zip(&took[1]).map(|(matrix, rules)| matrix + rules).collect();
    println!(
        "{hosts} hosts, {services} services, {runs} runs: {bytes} bytes of rulesets, {open} of {pairs} pairs open"
    );
    let [matrix, rulesets, answers] = took;
    let named = [("matrix", matrix), ("all rulesets", rulesets), ("both", whole), ("all pairs", answers)];
    for (name, mut times) in named {
        times.sort_by(f64::total_cmp);
        println!("{name}\t{:.1} ms ({:.1} to {:.1})", times[times.len() / 2], times[0], times[times.len() - 1]);
    }
}
