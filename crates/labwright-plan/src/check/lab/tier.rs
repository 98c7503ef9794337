//! LW-LAB-106: nothing is in production, so the rules about what people rely on are mild.

use std::collections::BTreeSet;

use labwright_model::lab::{Expose, Tier};
use labwright_model::{Finding, Findings, Parsed, Placement, Severity, Span};

use crate::check::services::told::{all_of, distinct, place, quoted};
use crate::check::services::{State, state};
use crate::check::{Case, Examples, RULES, Rule};

pub struct EverythingIsLab;

const CODE: &str = "LW-LAB-106";

/// A lab of more services than this is not judged a second time: that would take as long as all other rules together.
const MANY: usize = 150;

impl Rule for EverythingIsLab {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "nothing is in production, so the rules are mild"
    }

    fn doc(&self) -> &'static str {
        "A service is `tier: lab` unless the file says `tier: production`, and what is wrong with an experiment is told as \
         advice, or not at all: it may break. Where services are public or keep data, and no service and no host is in \
         production, that is more often a line that nobody wrote than a decision. So it is told once for the whole lab, with \
         the rules that would say more if those services were in production; a lab of up to 150 services is judged a second time to know them. \
         Where nothing would change, nothing is said.\n\n\
         A tier that is written down is a decision: a service with `tier: lab` in so many words is not counted.\n\n\
         It comes from document 2, whose levels 3a (an experiment that may break) and 3b (others rely on it) ask for \
         different care, and which names \"it is not production\" as the usual reason for backups that are missing.\n\n\
         The way out: `tier: production` in the services and hosts that others rely on, `tier: lab` where nobody does."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "owner: operator\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nprotection:\n  repositories: { offsite: { url: \"s3:https://s3.example.net/lab\" } }\n  policies: { nightly: { to: offsite } }\nservices:\n  photos: { use: immich, on: docker-01, backup: nightly }",
            passes: "owner: operator\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nprotection:\n  repositories: { offsite: { url: \"s3:https://s3.example.net/lab\" } }\n  policies: { nightly: { to: offsite } }\nservices:\n  photos: { use: immich, on: docker-01, backup: nightly, tier: production }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        let relied_on = parsed.placements.iter().any(|one| one.entry.tier == Tier::Production)
            || lab.compute.hosts.values().any(|host| host.tier == Tier::Production);
        if relied_on {
            return;
        }
        let meant = distinct(parsed.placements.iter().filter(|one| matters(parsed, one) && !is_said(parsed, one)));
        let Some(first) = meant.first() else { return };
        let at = parsed.span_of(&["services"]);
        let span = if at.is_none() { place(parsed, first) } else { at };
        let help = format!(
            "put `tier: production` on what others rely on, perhaps {}; `tier: lab` on a service says that nobody does",
            quoted(&meant)
        );
        if parsed.placements.len() > MANY {
            let message = "nothing here is `tier: production`, so what is wrong is told mildly, or not at all";
            findings.push(Finding::advice(CODE, "services", span, message).help(help));
            return;
        }
        let (louder, new) = milder(parsed, &meant, findings);
        if louder.is_empty() && new.is_empty() {
            return;
        }
        let count = louder.union(&new).count();
        let (rules, judge) = if count == 1 { ("1 rule", "judges") } else { (&*format!("{count} rules"), "judge") };
        let codes = |codes: &BTreeSet<&str>| all_of(&codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>());
        let mut more = Vec::new();
        if !louder.is_empty() {
            more.push(format!("{} would warn", codes(&louder)));
        }
        let silent: BTreeSet<&str> = new.difference(&louder).copied().collect();
        if !silent.is_empty() {
            more.push(format!("{} would say more", codes(&silent)));
        }
        let message = format!("nothing here is `tier: production`, so {rules} {judge} it mildly: {}", more.join(", "));
        findings.push(Finding::advice(CODE, "services", span, message).help(help));
    }
}

/// Whether somebody may miss a service: the internet reaches it, or it keeps something.
fn matters(parsed: &Parsed, placement: &Placement) -> bool {
    let entry = &placement.entry;
    let keeps = || match state(parsed, placement) {
        State::Declared(_) | State::Volume(_) | State::Folder(_) | State::Application(_) => true,
        State::Catalogue | State::Nothing | State::Unknown => entry.backup.is_some(),
    };
    entry.external.is_none() && (entry.expose == Expose::Public || keeps())
}

/// Whether somebody wrote down how much it matters.
fn is_said(parsed: &Parsed, placement: &Placement) -> bool {
    let service = ["services", placement.service.as_str()];
    parsed.span_of(&[&service[..], &["tier"]].concat()) != parsed.span_of(&service)
}

/// The rules that would say the same more urgently if these services were in production, and those that would say something
/// of a place of which they say nothing now.
fn milder(parsed: &Parsed, services: &[&str], now: &Findings) -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
    let mut raised = parsed.clone();
    for placement in raised.placements.iter_mut().filter(|one| services.contains(&one.service.as_str())) {
        placement.entry.tier = Tier::Production;
    }
    let case = Case::of(&raised);
    let mut then = Findings::new();
    for rule in RULES.iter().filter(|rule| rule.code() != CODE) {
        rule.check(&case, &mut then);
    }
    let place = |span: Span| parsed.place(span).map(|place| (span.file, place.line));
    let said: std::collections::HashMap<_, Severity> =
        now.iter().map(|finding| ((finding.code, place(finding.span)), finding.severity)).collect();
    let accepted = |finding: &Finding| {
        parsed
            .allows
            .iter()
            .any(|allow| allow.code == finding.code && place(finding.span) == Some((allow.span.file, allow.line)))
    };
    let (mut louder, mut new) = (BTreeSet::new(), BTreeSet::new());
    for finding in then.iter().filter(|finding| !accepted(finding)) {
        match said.get(&(finding.code, place(finding.span))) {
            Some(severity) if *severity >= finding.severity => {}
            Some(_) => {
                louder.insert(finding.code);
            }
            None => {
                new.insert(finding.code);
            }
        }
    }
    (louder, new)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::found;

    fn told(lab: &str) -> String {
        let (parsed, findings) = found(lab);
        let own = findings.iter().filter(|finding| finding.code == super::CODE);
        let line = |span| parsed.place(span).map_or(0, |place| place.line);
        own.map(|one| format!("{}: {}\n   {}\n", line(one.span), one.message, one.help)).collect()
    }

    const LAB: &str = r#"
owner: me
compute: { hosts: { d: { address: 10.0.0.1 } } }
protection:
  repositories: { r: { url: "s3:https://s3.example.net/x" } }
  policies: { n: { to: r, keep: { daily: 7 } } }
services:
  vault: { use: vaultwarden, on: d, backup: n }
  photos: { use: immich, on: d }
"#;

    #[test]
    fn what_would_be_told_of_production() {
        expect![[r#"
            8: nothing here is `tier: production`, so 4 rules judge it mildly: `LW-DAT-004` and `LW-SVC-002` would warn, `LW-DAT-003` and `LW-DAT-006` would say more
               put `tier: production` on what others rely on, perhaps `vault` and `photos`; `tier: lab` on a service says that nobody does
        "#]].assert_eq(&told(LAB));
    }

    #[test]
    fn a_large_lab_is_not_judged_twice() {
        let services: String =
            (0..=super::MANY).map(|n| format!("  s{n}: {{ run: x, on: d, data: [/d{n}] }}\n")).collect();
        let large = format!("compute: {{ hosts: {{ d: {{ address: 10.0.0.1 }} }} }}\nservices:\n{services}");
        let told = told(&large);
        assert!(told.contains("told mildly, or not at all") && told.contains("perhaps `s0`, `s1`"), "{told}");
    }

    #[test]
    fn a_decision_or_nothing_to_say_is_quiet() {
        let decided = LAB.replace("on: d", "on: d, tier: lab");
        assert_eq!(told(&decided), "");
        let one = LAB.replace("use: immich, on: d", "use: immich, on: d, tier: production");
        assert_eq!(told(&one), "");
        let host = LAB.replace("10.0.0.1", "10.0.0.1, tier: production");
        assert_eq!(told(&host), "");
        assert_eq!(told("services: { s: { run: x, on: a } }\ncompute: { hosts: { a: { address: 10.0.0.1 } } }\n"), "");
        let ready = "owner: me\ncompute: { hosts: { d: { address: 10.0.0.1, owner: me } } }\nservices: { blog: { run: x, on: d, data: [], probe: \"http://d/\", restore_notes: none } }\n";
        assert_eq!(told(ready), "");
    }
}
