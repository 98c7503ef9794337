//! LW-SVC-003: a production service that lacks what production needs.

use labwright_model::{Finding, Findings, Parsed, Placement};

use super::state::{State, dumped, state};
use super::told::{all_of, is_production, place};
use crate::check::protection::policies::is_copied;
use crate::check::{Case, Examples, Rule};

pub struct Production;

const CODE: &str = "LW-SVC-003";

impl Rule for Production {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a production service that lacks what production needs"
    }

    fn doc(&self) -> &'static str {
        "`tier: production` says that people rely on a service. Then somebody answers for it (`owner`, or one for the whole \
         lab), a copy of its data exists (`backup`), somebody notices when it fails (`probe`), and it is written down how \
         it comes back (`restore_notes`). Everything that is missing is one finding; notes alone are advice.\n\n\
         An application of the catalogue (`use`) brings its probe and its restore steps along. A service that someone \
         else runs (`external`) is not asked. A backup is asked of what may keep data; where it is plain that data is \
         kept and not copied, LW-SVC-002 says so, and `data: []` says that there is none.\n\n\
         It comes from document 2: what one relies on has become production (level 3b), with responsibility for \
         availability, data protection, recovery and monitoring, and its test asks whether the system could be restored, \
         whether a compromise would be noticed, and whether it could be rebuilt from documentation. Document 0 answers \
         \"easy to deploy but hard to operate\" with ownership and restore notes.\n\n\
         The way out: add what is missing, or write `tier: lab` if nobody relies on it."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nservices:\n  wiki: { compose: wiki/compose.yaml, on: docker-01, tier: production }",
            passes: "owner: operator\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nprotection:\n  repositories: { offsite: { url: \"s3:https://s3.example.net/lab\" } }\n  policies: { nightly: { to: offsite, drill: weekly } }\nservices:\n  wiki:\n    compose: wiki/compose.yaml\n    on: docker-01\n    tier: production\n    backup: nightly\n    probe: /healthz\n    restore_notes: restore the volume, start it, and open the newest page",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let dumped = dumped(parsed);
        // What every environment lacks is one finding.
        let mut told: Vec<(Vec<Part>, Vec<&Placement>)> = Vec::new();
        for placement in parsed.placements.iter().filter(|placement| is_production(placement)) {
            let lacks = lacks(parsed, placement, dumped.contains(placement.service.as_str()));
            if lacks.is_empty() {
                continue;
            }
            match told.last_mut() {
                Some((same, whose)) if *same == lacks && whose[0].service == placement.service => whose.push(placement),
                _ => told.push((lacks, vec![placement])),
            }
        }
        for (lacks, whose) in told {
            findings.push(finding(parsed, &lacks, &whose));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Owner,
    Backup,
    Probe,
    Notes,
}

fn lacks(parsed: &Parsed, placement: &Placement, is_dumped: bool) -> Vec<Part> {
    let service = &placement.entry;
    let is_said = service.compose.is_some()
        || service.run.is_some()
        || service.built_in.is_some()
        || !service.containers.0.is_null();
    if service.external.is_some() || !(is_said || service.catalogue.is_some()) {
        return Vec::new();
    }
    let own = service.catalogue.is_none();
    let blank = |notes: &Option<String>| notes.as_ref().is_none_or(|notes| notes.trim().is_empty());
    [
        (Part::Owner, service.owner.as_ref().is_none_or(|owner| owner.trim().is_empty())),
        (
            Part::Backup,
            own && !is_dumped && !is_copied(parsed, placement) && state(parsed, placement) == State::Unknown,
        ),
        (Part::Probe, own && service.probe.is_none()),
        (Part::Notes, own && blank(&service.restore_notes)),
    ]
    .into_iter()
    .filter_map(|(part, missing)| missing.then_some(part))
    .collect()
}

fn finding(parsed: &Parsed, lacks: &[Part], whose: &[&Placement]) -> Finding {
    let name = whose[0].service.as_str();
    let word = |part: &Part| match part {
        Part::Owner => "no owner",
        Part::Backup => "no backup",
        Part::Probe => "no probe",
        Part::Notes => "no restore notes",
    };
    let policy = parsed.lab.protection.policies.keys().next().map_or("POLICY", String::as_str);
    let line = |part: &Part| match part {
        Part::Owner => "`owner: NAME` (once, at the top of the file, for the whole lab)".to_string(),
        Part::Backup => format!("`backup: {policy}` (or `data: []` if it keeps none)"),
        Part::Probe => "`probe: /PATH` (or `probe: { url: … }`)".to_string(),
        Part::Notes => "`restore_notes: …`".to_string(),
    };
    let words: Vec<String> = lacks.iter().map(|part| word(part).to_string()).collect();
    let lines: Vec<String> = lacks.iter().map(line).collect();
    let placed = parsed.lab.services.get(name).map_or(0, |service| service.environments.len());
    let environments: Vec<String> =
        whose.iter().filter_map(|placement| placement.environment.as_ref()).map(|name| format!("`{name}`")).collect();
    let within = match environments.len() < placed && !environments.is_empty() {
        true => format!("in {}, ", all_of(&environments)),
        false => String::new(),
    };
    let message = format!("{within}production service `{name}` has {}", all_of(&words));
    let help = format!("add {}; write `tier: lab` if nobody relies on it", lines.join(", "));
    let (at, span) = (format!("services.{name}"), place(parsed, name));
    match lacks {
        [Part::Notes] => Finding::advice(CODE, at, span, message).help(help),
        _ => Finding::warning(CODE, at, span, message).help(help),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn everything_that_is_missing_is_one_finding() {
        says(
            r#"
compute: { hosts: { d-01: { address: 10.0.0.1 } } }
services:
  all: { compose: c.yaml, on: d-01, tier: production }
  notes: { compose: c.yaml, on: d-01, tier: production, owner: me, data: [], probe: /, restore_notes: " " }
  catalogue: { use: grafana, on: d-01, tier: production, owner: me }
  nobody: { use: grafana, on: d-01, tier: production }
  stateless: { containers: { a: { image: "a:1@sha256:0" } }, on: d-01, tier: production, owner: me, restore_notes: x }
  saas: { external: x, tier: production }
  lab: { compose: c.yaml, on: d-01 }
  process: { run: x, on: d-01, tier: production, owner: me, probe: /, restore_notes: x }
"#,
            expect![[r#"
                4:3 warning LW-SVC-003: production service `all` has no owner, no backup, no probe and no restore notes
                    help: add `owner: NAME` (once, at the top of the file, for the whole lab), `backup: POLICY` (or `data: []` if it keeps none), `probe: /PATH` (or `probe: { url: … }`), `restore_notes: …`; write `tier: lab` if nobody relies on it
                4:3 advice LW-SVC-006: services `all` and `notes` run versions without a digest, which can be pushed again: `wiki:2`
                    help: add the digest behind the version: `image: "NAME:VERSION@sha256:…"`
                    5:3: and here
                5:3 advice LW-SVC-003: production service `notes` has no restore notes
                    help: add `restore_notes: …`; write `tier: lab` if nobody relies on it
                7:3 warning LW-SVC-003: production service `nobody` has no owner
                    help: add `owner: NAME` (once, at the top of the file, for the whole lab); write `tier: lab` if nobody relies on it
                8:3 warning LW-SVC-003: production service `stateless` has no probe
                    help: add `probe: /PATH` (or `probe: { url: … }`); write `tier: lab` if nobody relies on it
                11:3 warning LW-SVC-003: production service `process` has no backup
                    help: add `backup: POLICY` (or `data: []` if it keeps none); write `tier: lab` if nobody relies on it
            "#]],
        );
    }

    #[test]
    fn an_owner_of_the_lab_and_environments() {
        says(
            r#"
owner: me
environments: [dev, prod, test]
compute: { hosts: { d-01: { address: 10.0.0.1 } } }
services:
  one: { compose: c.yaml, on: d-01, data: [], restore_notes: x, environments: { dev:, prod: { tier: production } } }
  both: { compose: c.yaml, on: d-01, data: [], restore_notes: x, tier: production, environments: [dev, prod] }
  differ: { compose: c.yaml, on: d-01, data: [], tier: production, environments: { dev:, test:, prod: { probe: / } } }
"#,
            expect![[r#"
                6:3 warning LW-SVC-003: in `prod`, production service `one` has no probe
                    help: add `probe: /PATH` (or `probe: { url: … }`); write `tier: lab` if nobody relies on it
                6:3 advice LW-SVC-006: services `one`, `both` and `differ` run versions without a digest, which can be pushed again: `wiki:2`
                    help: add the digest behind the version: `image: "NAME:VERSION@sha256:…"`
                    7:3: and here
                    8:3: and here
                7:3 warning LW-SVC-003: production service `both` has no probe
                    help: add `probe: /PATH` (or `probe: { url: … }`); write `tier: lab` if nobody relies on it
                8:3 warning LW-SVC-003: in `dev` and `test`, production service `differ` has no probe and no restore notes
                    help: add `probe: /PATH` (or `probe: { url: … }`), `restore_notes: …`; write `tier: lab` if nobody relies on it
                8:3 advice LW-SVC-003: in `prod`, production service `differ` has no restore notes
                    help: add `restore_notes: …`; write `tier: lab` if nobody relies on it
            "#]],
        );
    }
}
