//! LW-LAB-104: things that wait for each other.

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::{Finding, Findings, Parsed, Span};

use crate::check::{Examples, Rule};
use crate::order::topological;

pub struct Cycle;

const CODE: &str = "LW-LAB-104";

/// A kind of dependency: who needs whom, and where that is said.
#[derive(Default)]
struct Needs {
    edges: BTreeMap<String, BTreeSet<String>>,
    places: BTreeMap<String, Span>,
}

impl Needs {
    fn add(&mut self, from: &str, to: &str, span: Span) {
        self.edges.entry(to.to_string()).or_default();
        self.edges.entry(from.to_string()).or_default().insert(to.to_string());
        self.places.entry(from.to_string()).or_insert(span);
    }

    fn judge(&self, what: &str, help: &str, findings: &mut Findings) {
        if let Err(circle) = topological(&self.edges) {
            let first = circle.first().cloned().unwrap_or_default();
            let way = circle.iter().chain([&first]).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" → ");
            let span = self.places.get(&first).copied().unwrap_or(Span::NONE);
            let mut finding =
                Finding::error(CODE, first.clone(), span, format!("{what} in a circle: {way}")).help(help);
            for name in circle.iter().skip(1) {
                finding = finding.related(self.places.get(name).copied().unwrap_or(Span::NONE), "and here");
            }
            findings.push(finding);
        }
    }
}

impl Rule for Cycle {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "things that wait for each other"
    }

    fn doc(&self) -> &'static str {
        "Services need each other in a circle, virtual machines run on each other, SSH goes through hosts that are reached \
         through each other, or files come after each other. Nothing could ever be first.\n\n\
         The way out: take one of the arrows out. Where two services really use each other, one of them usually starts \
         without the other and only works better with it: that is no need."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "services:\n  a: { external: x.example, needs: [b] }\n  b: { external: y.example, needs: [a] }",
            passes: "services:\n  a: { external: x.example, needs: [b] }\n  b: { external: y.example }",
        }
    }

    fn check(&self, parsed: &Parsed, findings: &mut Findings) {
        let lab = &parsed.lab;
        let (mut services, mut machines, mut jumps) = (Needs::default(), Needs::default(), Needs::default());
        for placement in &parsed.placements {
            for need in placement.entry.needs.iter().chain(&placement.entry.egress) {
                services.add(&placement.service, need, need.span);
            }
        }
        for (name, host) in lab.compute.hosts.iter() {
            for on in host.vm.iter().chain(&host.lxc).flat_map(|guest| guest.on.iter()) {
                machines.add(name, on, on.span);
            }
            for jump in host.ssh.jump.iter().filter(|jump| lab.compute.hosts.contains_key(&jump.value)) {
                jumps.add(name, jump, jump.span);
            }
            let mut files = Needs::default();
            for (path, file) in host.files.iter() {
                file.after.iter().for_each(|after| files.add(path, after, after.span));
            }
            files.judge("files come after each other", "take one `after` out", findings);
        }
        services.judge(
            "services need each other",
            "take one of these needs out: one of the two must start without the other",
            findings,
        );
        machines.judge("machines run on each other", "a hypervisor is not its own guest: correct one `on`", findings);
        jumps.judge("hosts are reached through each other", "take one `jump` out", findings);
    }
}
