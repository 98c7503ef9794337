//! LW-LAB-103: a name that cannot be a name in DNS, or that means something else.

use labwright_model::{Finding, Findings, Span};

use crate::check::{Case, Examples, Rule};

pub struct NameForm;

const CODE: &str = "LW-LAB-103";
const RESERVED: &[&str] = &["internet", "any", "none", "local"];

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
         authorities. `internet`, `any` and `none` mean something else in flows and routes, and `local` is the zone that \
         multicast DNS answers and the key of the machine that Labwright runs on.\n\n\
         It comes from RFC 1123 (section 2.1: what a host name is made of), RFC 1035 (section 2.3.4: 63 octets) \
         and RFC 6762 (`local`).\n\n\
         The way out: rename it; hyphens do where underscores stood."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    docker_01: { local: true }",
            passes: "compute:\n  hosts:\n    docker-01: { local: true }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        let mut judge = |name: &str, span: Span, section: &str, kind: &str| {
            let message = if RESERVED.contains(&name) {
                format!("a {kind} cannot be named `{name}`: the word means something else")
            } else if let Some(why) = fault(name) {
                format!("`{name}` cannot be the name of a {kind}: {why}")
            } else {
                return;
            };
            let help = match suggestion(name) {
                Some(label) if !RESERVED.contains(&name) => format!("write `{label}`, here and wherever it is named"),
                _ => "choose another name, of letters, digits and hyphens".to_string(),
            };
            findings.push(Finding::error(CODE, format!("{section}.{name}"), span, message).help(help));
        };
        // Folders and marks on every host are named after the lab. Words that mean something else in flows are no trouble there.
        if !RESERVED.contains(&lab.lab.as_str()) {
            judge(&lab.lab, lab.lab.span, "lab", "lab");
        }
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

/// Why a name is no DNS label.
fn fault(name: &str) -> Option<String> {
    let odd = name.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-');
    match odd {
        _ if name.is_empty() => Some("it is empty".into()),
        Some('_') => Some("a name in DNS has no underscores".into()),
        Some('.') => Some("a dot begins the domain, and the lab's own is added by itself".into()),
        Some(odd) => Some(format!("a name in DNS has no `{odd}`")),
        None if name.len() > 63 => Some(format!("it has {} characters, and DNS takes 63", name.len())),
        None if name.starts_with('-') || name.ends_with('-') => Some("a hyphen stands first or last".into()),
        None => None,
    }
}

/// The nearest label, where nothing but punctuation has to change.
fn suggestion(name: &str) -> Option<String> {
    let label = name.split('.').next()?.replace(['_', ' '], "-");
    let label = label.trim_matches('-');
    fault(label).is_none().then(|| label.to_string())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn labels() {
        says(
            r#"
network: { zones: { guest_wifi: { vlan: 50 }, internet: { vlan: 60 } } }
compute:
  hosts:
    nas.lan: { local: true }
    -x: { intermittent: true, zone: guest_wifi }
    "blå": { zone: guest_wifi }
    "": { zone: guest_wifi }
    a234567890123456789012345678901234567890123456789012345678901234: { zone: guest_wifi }
    123: { zone: guest_wifi }
    Docker-01: { zone: guest_wifi }
services:
  local: { external: x }
  home_assistant: { external: x }
"#,
            expect![[r#"
                2:21 error LW-LAB-103: `guest_wifi` cannot be the name of a zone: a name in DNS has no underscores
                    help: write `guest-wifi`, here and wherever it is named
                2:47 error LW-LAB-103: a zone cannot be named `internet`: the word means something else
                    help: choose another name, of letters, digits and hyphens
                5:5 error LW-LAB-103: `nas.lan` cannot be the name of a host: a dot begins the domain, and the lab's own is added by itself
                    help: write `nas`, here and wherever it is named
                6:5 error LW-LAB-103: `-x` cannot be the name of a host: a hyphen stands first or last
                    help: write `x`, here and wherever it is named
                7:5 error LW-LAB-103: `blå` cannot be the name of a host: a name in DNS has no `å`
                    help: choose another name, of letters, digits and hyphens
                8:5 error LW-LAB-103: `` cannot be the name of a host: it is empty
                    help: choose another name, of letters, digits and hyphens
                9:5 error LW-LAB-103: `a234567890123456789012345678901234567890123456789012345678901234` cannot be the name of a host: it has 64 characters, and DNS takes 63
                    help: choose another name, of letters, digits and hyphens
                13:3 error LW-LAB-103: a service cannot be named `local`: the word means something else
                    help: choose another name, of letters, digits and hyphens
                14:3 error LW-LAB-103: `home_assistant` cannot be the name of a service: a name in DNS has no underscores
                    help: write `home-assistant`, here and wherever it is named
            "#]],
        );
    }
}
