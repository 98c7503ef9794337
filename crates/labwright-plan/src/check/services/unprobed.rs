//! LW-SVC-008: others need a service, and nobody probes it.

use std::collections::HashMap;

use labwright_model::{Finding, Findings, Parsed, Placement};

use super::told::{fold, is_production, places, quoted, services};
use crate::check::containers::containers;
use crate::check::{Case, Examples, Rule};

pub struct Unprobed;

const CODE: &str = "LW-SVC-008";

impl Rule for Unprobed {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a service that others need, and nobody probes"
    }

    fn doc(&self) -> &'static str {
        "Other services name this one under `needs` or `egress`, and nothing asks whether it works. When it fails, \
         what is seen is that they fail: alerts arrive for all of them and none for the cause, and a start in order \
         waits for nothing that it could see.\n\n\
         It is advice, one for all such services, and only in a lab that watches at all (`platform.monitoring`, or a \
         probe anywhere). A Compose `healthcheck` counts, an application of the catalogue (`use`) brings its own probe, \
         and what someone else runs is theirs to watch. Production services without a probe are LW-SVC-003.\n\n\
         It comes from document 4: waiting for a dependency works only if that has an endpoint that tells its health; and \
         from document 1, whose owner is told by alerts when something is down.\n\n\
         The way out: a `probe`. What speaks no HTTP is asked for a connection: \
         `probe: { url: \"tcp://HOST:5432\", expect: [\"[CONNECTED] == true\"] }`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform: { monitoring: { on: mon-01 } }\ncompute: { hosts: { mon-01: { address: 10.0.20.90 }, docker-01: { address: 10.0.20.21 } } }\nservices:\n  postgres: { containers: { db: { image: \"postgres:16.4\" } }, on: docker-01 }\n  wiki: { compose: wiki/compose.yaml, on: docker-01, needs: [postgres] }",
            passes: "platform: { monitoring: { on: mon-01 } }\ncompute: { hosts: { mon-01: { address: 10.0.20.90 }, docker-01: { address: 10.0.20.21 } } }\nservices:\n  postgres:\n    containers: { db: { image: \"postgres:16.4\" } }\n    on: docker-01\n    probe: { url: \"tcp://docker-01:5432\", expect: [\"[CONNECTED] == true\"] }\n  wiki: { compose: wiki/compose.yaml, on: docker-01, needs: [postgres] }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let probed = |placement: &Placement| placement.entry.probe.is_some();
        if parsed.lab.platform.monitoring.is_none() && !parsed.placements.iter().any(probed) {
            return;
        }
        let mut needed_by: HashMap<&str, Vec<&str>> = HashMap::new();
        for placement in &parsed.placements {
            for need in placement.entry.needs.iter().chain(&placement.entry.egress) {
                let by = needed_by.entry(&need.value).or_default();
                if by.last() != Some(&placement.service.as_str()) {
                    by.push(&placement.service);
                }
            }
        }
        let mut unprobed: Vec<&str> = Vec::new();
        for all in parsed.placements.chunk_by(|a, b| a.service == b.service) {
            let name = all[0].service.as_str();
            let watched = |placement: &Placement| is_watched(parsed, placement) || is_production(placement);
            if needed_by.contains_key(name) && !all.iter().any(watched) {
                unprobed.push(name);
            }
        }
        let unprobed = places(parsed, &unprobed);
        findings.extend(fold(parsed, CODE, &unprobed, "nor this", |names, span| {
            let by = needed_by.get(names[0]).map_or(&[][..], Vec::as_slice);
            let message = match names {
                [one] => {
                    let verb = if by.len() == 1 { "needs" } else { "need" };
                    format!("{} {verb} service `{one}`, and nobody probes it", quoted(by))
                }
                _ => format!("{} are needed by others, and nobody probes them", services(names)),
            };
            Finding::advice(CODE, format!("services.{}.probe", names[0]), span, message).help(
                "add `probe: /PATH`, or for what speaks no HTTP \
                 `probe: { url: \"tcp://HOST:PORT\", expect: [\"[CONNECTED] == true\"] }`",
            )
        }));
    }
}

/// Whether anything asks it, or somebody else does.
fn is_watched(parsed: &Parsed, placement: &Placement) -> bool {
    let service = &placement.entry;
    let asked = service.probe.is_some() || service.catalogue.is_some() || service.external.is_some();
    asked || containers(parsed, placement).any(|container| container.has_healthcheck())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    const SERVICES: &str = r#"
compute: { hosts: { d-01: { address: 10.0.0.1 } } }
services:
  db: { containers: { a: { image: "x:1" } }, on: d-01 }
  queue: { run: x, on: d-01 }
  checked: { containers: { a: { image: "x:1", healthcheck: { test: x } } }, on: d-01 }
  unchecked: { containers: { a: { image: "x:1", healthcheck: { disable: true } } }, on: d-01 }
  own: { compose: c.yaml, on: d-01 }
  known: { use: x, on: d-01 }
  saas: { external: x }
  alone: { run: x, on: d-01 }
  app: { use: x, on: d-01, needs: [db, queue, checked, unchecked, own, known, saas] }
"#;

    #[test]
    fn one_piece_of_advice_for_all_and_only_where_something_watches() {
        says(
            &format!("{SERVICES}platform: {{ monitoring: d-02 }}\n"),
            expect![[r#"
                4:3 advice LW-SVC-008: services `db`, `queue` and `unchecked` are needed by others, and nobody probes them
                    help: add `probe: /PATH`, or for what speaks no HTTP `probe: { url: "tcp://HOST:PORT", expect: ["[CONNECTED] == true"] }`
                    5:3: nor this
                    7:3: nor this
            "#]],
        );
        says(SERVICES, expect![[""]]);
    }
}
