//! LW-LAB-103: a name that cannot be a name in DNS, or that means something else.

use labwright_model::{Finding, Findings, Parsed, Span};

use crate::check::{Examples, Rule};

pub struct NameForm;

const CODE: &str = "LW-LAB-103";
const RESERVED: &[&str] = &["internet", "any", "none"];

impl Rule for NameForm {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a name that cannot be one"
    }

    fn doc(&self) -> &'static str {
        "Every host and service gets a name in the lab's DNS zone, so its name must be a DNS label: letters, digits and \
         hyphens, no hyphen first or last, 63 characters at most. Underscores are refused by browsers and certificate \
         authorities. `internet`, `any` and `none` mean something else in flows and routes.\n\n\
         The way out: rename it; hyphens do where underscores stood."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    docker_01: { local: true }",
            passes: "compute:\n  hosts:\n    docker-01: { local: true }",
        }
    }

    fn check(&self, parsed: &Parsed, findings: &mut Findings) {
        let lab = &parsed.lab;
        let mut judge = |name: &str, span: Span, section: &str, kind: &str| {
            let message = if RESERVED.contains(&name) {
                format!("a {kind} cannot be named `{name}`: the word means something else")
            } else if !is_label(name) {
                format!("`{name}` cannot be the name of a {kind}: it is no DNS label")
            } else {
                return;
            };
            let label: String =
                name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
            let label = label.trim_matches('-');
            let help = match RESERVED.contains(&name) || label.is_empty() {
                true => "choose another name".to_string(),
                false => format!("use letters, digits and hyphens: `{label}`"),
            };
            findings.push(Finding::error(CODE, format!("{section}.{name}"), span, message).help(help));
        };
        for (name, host) in lab.compute.hosts.iter() {
            judge(name, host.span, "compute.hosts", "host");
        }
        for (name, service) in lab.services.iter() {
            judge(name, service.span, "services", "service");
        }
        for (name, zone) in lab.network.zones.iter() {
            judge(name, zone.span, "network.zones", "zone");
        }
    }
}

fn is_label(name: &str) -> bool {
    let inner = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    inner && !name.is_empty() && name.len() <= 63 && !name.starts_with('-') && !name.ends_with('-')
}
