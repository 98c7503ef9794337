//! LW-LAB-102: a name that could be two things.

use std::collections::BTreeMap;

use labwright_model::{Finding, Findings};

use crate::check::references::{Wanted, endpoint};
use crate::check::{Case, Examples, Rule};

pub struct AmbiguousName;

const CODE: &str = "LW-LAB-102";

impl Rule for AmbiguousName {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a name that could be two things"
    }

    fn doc(&self) -> &'static str {
        "A flow ends at a zone, a host or a service, and this name is more than one of them. A service often has the name of \
         the machine that runs it; which of the two may be reached makes a difference: all ports of the machine, or the \
         service alone.\n\n\
         It comes from ansible/ansible#6545: a group and a host had the same name, one was silently taken for the \
         other, and since then Ansible warns.\n\n\
         The way out: say which, `host/immich` or `service/immich`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\n  flows:\n    - { from: servers, to: immich, allow: https }\ncompute:\n  hosts:\n    immich: { zone: servers, address: 10.0.20.5 }\nservices:\n  immich: { run: immich, on: immich }",
            passes: "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\n  flows:\n    - { from: servers, to: service/immich, allow: https }\ncompute:\n  hosts:\n    immich: { zone: servers, address: 10.0.20.5 }\nservices:\n  immich: { run: immich, on: immich }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        // Told once for each name, with all its places.
        let mut told: BTreeMap<&str, Finding> = BTreeMap::new();
        for reference in case.references().iter().filter(|reference| reference.wants == Wanted::Endpoint) {
            let (Wanted::Endpoint, name) = endpoint(reference.name) else { continue };
            let kinds =
                [Wanted::Zone, Wanted::Host, Wanted::Service].into_iter().filter(|kind| kind.has(&parsed.lab, name));
            let words: Vec<&str> = kinds.map(Wanted::word).collect();
            if words.len() > 1 {
                let message = format!("`{name}` could be the {}", words.join(" or the "));
                let ways: Vec<String> = words.iter().map(|word| format!("`{word}/{name}`")).collect();
                let finding = match told.remove(name) {
                    Some(first) => first.related(reference.span, "and here"),
                    None => Finding::error(CODE, reference.at.clone(), reference.span, message)
                        .help(format!("write {}", ways.join(" or "))),
                };
                told.insert(name, finding);
            }
        }
        findings.extend(told.into_values());
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn a_name_is_told_once_and_a_kind_decides() {
        says(
            r#"
network:
  zones: { iot: { subnet: 10.0.40.0/24 }, immich: { subnet: 10.0.41.0/24 } }
  flows:
    - { from: iot, to: immich }
    - { from: immich, to: iot }
    - { from: host/immich, to: service/immich }
compute:
  hosts: { immich: { zone: iot, address: 10.0.40.5 } }
services:
  immich: { run: immich, on: immich }
"#,
            expect![[r#"
                5:24 error LW-LAB-102: `immich` could be the zone or the host or the service
                    help: write `zone/immich` or `host/immich` or `service/immich`
                    6:15: and here
            "#]],
        );
    }
}
