//! LW-CMP-003: hosts that are only named by their roles.

use labwright_model::{Finding, Findings, role_hosts};

use crate::check::lab::misspelt_hosts;
use crate::check::{Case, Examples, Rule};

pub struct OnlyARole;

const CODE: &str = "LW-CMP-003";

impl Rule for OnlyARole {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "hosts that only a role names"
    }

    fn doc(&self) -> &'static str {
        "A role names hosts that have no entry under `compute.hosts`. That is a valid inventory: which machine does what. But \
         without a zone, an address and an owner Labwright can do no more with them than list them.\n\n\
         It comes from document 0: its example of an inventory names hosts by their roles alone, and its practices \
         ask for more, an inventory with hostnames, roles and backup coverage.\n\n\
         The way out: add an entry for each, as soon as you want more than a list."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform:\n  dns: [dns-01]",
            passes: "platform:\n  dns: [dns-01]\ncompute:\n  hosts:\n    dns-01: { address: 10.0.20.53 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let misspelt = misspelt_hosts(parsed);
        let mut names: Vec<String> = Vec::new();
        let mut place = None;
        for (name, span, _) in role_hosts(&parsed.lab) {
            // A misspelt name is LW-LAB-101, and describing it would be the wrong way out.
            let misspelt = misspelt.iter().any(|((other, ..), _)| *other == name);
            if parsed.implied.contains(&name) && !names.contains(&name) && !misspelt {
                place.get_or_insert(span);
                names.push(name);
            }
        }
        let (Some(place), Some(first)) = (place, names.first()) else { return };
        let shown = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
        let message = match shown.as_slice() {
            [one] => format!("host {one} is only named by its role"),
            some if some.len() <= 6 => format!("hosts {} are only named by their roles", some.join(", ")),
            some => format!("{} hosts are only named by their roles, {} among them", some.len(), some[..3].join(", ")),
        };
        let help = match names.len() {
            1 => format!("describe it: `compute: {{ hosts: {{ {first}: {{ address: … }} }} }}`"),
            _ => format!("describe them under `compute: {{ hosts: … }}`, as `{first}: {{ address: … }}`"),
        };
        findings.push(Finding::advice(CODE, "compute.hosts", place, message).help(help));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn one_some_and_many() {
        says(
            r#"
platform: { dns: dns-01 }
"#,
            expect![[r#"
                2:18 advice LW-CMP-003: host `dns-01` is only named by its role
                    help: describe it: `compute: { hosts: { dns-01: { address: … } } }`
            "#]],
        );
        says(
            r#"
edge: { router: gw }
platform: { dns: [dns-01, dns-02] }
"#,
            expect![[r#"
                2:17 advice LW-CMP-003: hosts `gw`, `dns-01`, `dns-02` are only named by their roles
                    help: describe them under `compute: { hosts: … }`, as `gw: { address: … }`
            "#]],
        );
        says(
            r#"
compute: { proxmox: [pve-01, pve-02, pve-03], docker_hosts: [d-01, d-02, d-03, d-04] }
platform: { monitoring: pve-01 }
"#,
            expect![[r#"
                2:22 advice LW-CMP-003: 7 hosts are only named by their roles, `pve-01`, `pve-02`, `pve-03` among them
                    help: describe them under `compute: { hosts: … }`, as `pve-01: { address: … }`
            "#]],
        );
    }
}
