//! LW-LAB-105: a former name that cannot be one.

use std::collections::BTreeMap;

use labwright_model::{Finding, Findings, Span};

use crate::check::{Case, Examples, Rule};

pub struct RenamedFrom;

const CODE: &str = "LW-LAB-105";

impl Rule for RenamedFrom {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a former name that cannot be one"
    }

    fn doc(&self) -> &'static str {
        "`renamed_from` says which name a host had before, so that what the lab made there under that name stays the lab's and \
         is not touched: the next apply writes the marks down under the new name. It cannot be so if\n\n\
         - the name is still a host of the lab: one of the two would lose what is its own;\n\
         - two hosts say that they had it;\n\
         - it is the host's own name, or none that a host can have.\n\n\
         The machine must be the same one. A new machine in the place of an old one is not renamed: it starts with nothing, and \
         the old one keeps what it has.\n\n\
         It comes from hashicorp/terraform#33540, where a change of a name alone has everything destroyed and made anew.\n\n\
         The way out: rename the entry of the old name, and say `renamed_from: OLD` in it alone."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    docker-01: { address: 10.0.20.21 }\n    apps-01: { address: 10.0.20.22, renamed_from: docker-01 }",
            passes: "compute:\n  hosts:\n    apps-01: { address: 10.0.20.21, renamed_from: docker-01 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let hosts = &parsed.lab.compute.hosts;
        let mut had: BTreeMap<&str, (&str, Span)> = BTreeMap::new();
        for (name, host) in hosts.iter() {
            for old in host.renamed_from.iter() {
                let mut fault = |message: String, help: String| {
                    let at = format!("compute.hosts.{name}.renamed_from");
                    findings.push(Finding::error(CODE, at, old.span, message).help(help));
                };
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
                if old.value == *name {
                    fault(format!("`{name}` says that it was renamed from its own name"), "take it out".into());
                } else if old.is_empty() || !old.chars().all(plain) {
                    let message = format!("`{}` is no name that a host can have had", old.value);
                    fault(message, "write the name as it stood under `compute: { hosts: … }`".into());
                } else if hosts.contains_key(&old.value) {
                    let message =
                        format!("`{name}` cannot have been `{0}`: `{0}` is still a host of this lab", old.value);
                    fault(message, format!("take the entry of `{}` out, or `renamed_from` here", old.value));
                } else if let Some((other, place)) = had.get(old.value.as_str()) {
                    let message = format!("`{name}` cannot have been `{}`: `{other}` was", old.value);
                    let at = format!("compute.hosts.{name}.renamed_from");
                    let help = "keep it on the machine that had the name";
                    findings.push(
                        Finding::error(CODE, at, old.span, message).help(help).related(*place, "said here first"),
                    );
                } else {
                    had.insert(&old.value, (name, old.span));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn names_that_cannot_have_been_had() {
        says(
            "compute:\n  hosts:\n    a: { address: 10.0.0.1, renamed_from: [b, a, old, older] }\n    b: { address: 10.0.0.2, renamed_from: old }\n    c: { address: 10.0.0.3, renamed_from: [\"../x\", fine] }\n",
            expect![[r#"
                3:44 error LW-LAB-105: `a` cannot have been `b`: `b` is still a host of this lab
                    help: take the entry of `b` out, or `renamed_from` here
                3:47 error LW-LAB-105: `a` says that it was renamed from its own name
                    help: take it out
                4:43 error LW-LAB-105: `b` cannot have been `old`: `a` was
                    help: keep it on the machine that had the name
                    3:50: said here first
                5:44 error LW-LAB-105: `../x` is no name that a host can have had
                    help: write the name as it stood under `compute: { hosts: … }`
            "#]],
        );
    }
}
