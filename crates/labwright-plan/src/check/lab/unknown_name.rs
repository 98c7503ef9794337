//! LW-LAB-101: a name that nothing in the lab has.

use labwright_model::finding::nearest;
use labwright_model::{Finding, Findings, Parsed, role_hosts};

use crate::check::references::{Wanted, endpoint, references};
use crate::check::{Examples, Rule};

pub struct UnknownName;

const CODE: &str = "LW-LAB-101";

impl Rule for UnknownName {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a name that nothing has"
    }

    fn doc(&self) -> &'static str {
        "Something is referred to by a name that the lab does not declare, or that is the name of another kind of thing. \
         Each kind has names of its own: `docker-01` is a host, `servers` a zone, `immich` a service.\n\n\
         Roles declare the hosts that they name (`platform.dns: dns-01` makes `dns-01` a host), so that a plain inventory \
         needs nothing else. But where `compute.hosts` describes hosts and a role names one that is nearly one of them, \
         it is taken for a typing error.\n\nThe way out: correct the name, or declare it."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    docker-01: { local: true }\nservices:\n  wiki: { external: wiki.example, needs: [postgre] }\n  postgres: { external: db.example }",
            passes: "compute:\n  hosts:\n    docker-01: { local: true }\nservices:\n  wiki: { external: wiki.example, needs: [postgres] }\n  postgres: { external: db.example }",
        }
    }

    fn check(&self, parsed: &Parsed, findings: &mut Findings) {
        let lab = &parsed.lab;
        for reference in references(parsed) {
            let (wants, name) = match reference.wants {
                Wanted::Endpoint => endpoint(reference.name),
                wants => (wants, reference.name.value.as_str()),
            };
            if wants.has(lab, name) {
                continue;
            }
            let others = [Wanted::Host, Wanted::Zone, Wanted::Service, Wanted::Policy, Wanted::Repository];
            let other = others.into_iter().find(|other| *other != wants && other.has(lab, name));
            let message = match other {
                Some(other) => format!("`{name}` is a {}, and a {} belongs here", other.word(), wants.word()),
                None => format!("there is no {} named `{name}`", wants.word()),
            };
            let known = wants.names(lab);
            let help = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => format!("the lab declares no {} at all", wants.word()),
                None if known.len() <= 12 => format!("declared are {}", known.join(", ")),
                None => format!(
                    "declare it, or name one that is declared; `labwright inventory` lists them ({} are)",
                    known.len()
                ),
            };
            findings.push(Finding::error(CODE, reference.at, reference.name.span, message).help(help));
        }
        let known = Wanted::Environment.names(lab);
        for (name, service) in lab.services.iter() {
            for (environment, entry) in service.environments.iter().filter(|(name, _)| !known.contains(&name.as_str()))
            {
                let help = match nearest(environment, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("declare it at the top: `environments: [{environment}]`"),
                };
                let message = format!("there is no environment named `{environment}`");
                findings.push(
                    Finding::error(CODE, format!("services.{name}.environments"), entry.span, message).help(help),
                );
            }
        }
        let described: Vec<&str> = lab
            .compute
            .hosts
            .keys()
            .map(String::as_str)
            .filter(|name| !parsed.implied.iter().any(|implied| implied == name))
            .collect();
        let mut told: Vec<String> = Vec::new();
        for (name, span, role) in role_hosts(lab) {
            let near = nearest(&name, described.iter().copied());
            if let (true, Some(near), false) = (parsed.implied.contains(&name), near, told.contains(&name)) {
                // `dns-01` beside `dns-02` is a second host, not a typing error: only the digits differ.
                if undigited(near) == undigited(&name) {
                    continue;
                }
                let message = format!("there is no host named `{name}`");
                findings.push(Finding::error(CODE, role, span, message).help(format!("did you mean `{near}`?")));
                told.push(name);
            }
        }
    }
}

fn undigited(name: &str) -> String {
    name.chars().filter(|c| !c.is_ascii_digit()).collect()
}
