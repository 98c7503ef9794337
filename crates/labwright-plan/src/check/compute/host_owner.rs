//! LW-CMP-016: hosts that nobody answers for.

use labwright_model::Findings;
use labwright_model::lab::Tier;

use super::carried::{by_tier, list, told};
use crate::check::{Case, Examples, Rule};

pub struct HostOwner;

const CODE: &str = "LW-CMP-016";

impl Rule for HostOwner {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a host that nobody answers for"
    }

    fn doc(&self) -> &'static str {
        "A host has no owner, and neither has the lab. Document 2 draws its line there: who is responsible when it breaks, and \
         who when it is compromised? From level 3b on (`tier: production`: people rely on it) the answer must be a name. \
         Document 0 asks for ownership in the inventory, against services that are easy to deploy and hard to operate.\n\n\
         It is a warning for hosts of `tier: production`. For other hosts it is advice, and only in a lab that says of some \
         host whose it is: the others look forgotten. A lab without owners and without production hears nothing.\n\n\
         The way out: `owner: NAME` at the top of the lab file, for all that names no owner of its own, or at the host."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    nas-01: { address: 10.0.20.5, tier: production }",
            passes: "owner: mia\ncompute:\n  hosts:\n    nas-01: { address: 10.0.20.5, tier: production }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        if parsed.lab.owner.is_some() {
            return;
        }
        // What only a role names has no entry that an owner could stand in.
        let hosts = parsed.lab.compute.hosts.iter().filter(|(name, _)| !parsed.implied.contains(name));
        let (owned, bare): (Vec<_>, Vec<_>) = hosts.partition(|(_, host)| host.owner.is_some());
        let production = bare.iter().any(|(_, host)| host.tier == Tier::Production);
        let mut told_of = bare;
        if owned.is_empty() {
            told_of.retain(|(_, host)| host.tier == Tier::Production);
        }
        let Some((first, host)) = told_of.first() else { return };
        let message = format!("nobody answers for {}", list(told_of.iter().map(|(name, _)| name.as_str())));
        let help = format!("write `owner: NAME` once at the top of the file, or for `{first}` alone");
        let at = format!("compute.hosts.{first}.owner");
        let mut finding = told(CODE, by_tier(production), at, host.span, message, help);
        for (name, host) in told_of.iter().skip(1).take(5) {
            finding = finding.related(host.span, format!("nor for `{name}`"));
        }
        findings.push(finding);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn production_and_forgotten_ones() {
        says(
            r#"
compute:
  hosts:
    nas-01: { address: 10.0.20.5, tier: production }
    toy: { address: 10.0.20.6 }
    pve-01: { address: 10.0.20.7, tier: production }
"#,
            expect![[r#"
                4:5 warning LW-CMP-016: nobody answers for `nas-01` and `pve-01`
                    help: write `owner: NAME` once at the top of the file, or for `nas-01` alone
                    6:5: nor for `pve-01`
            "#]],
        );
        says(
            r#"
platform: { monitoring: mon-01 }
compute:
  hosts:
    nas-01: { address: 10.0.20.5, tier: production, owner: mia }
    toy: { address: 10.0.20.6 }
"#,
            expect![[r#"
                2:25 advice LW-CMP-003: host `mon-01` is only named by its role
                    help: describe it: `compute: { hosts: { mon-01: { address: … } } }`
                6:5 advice LW-CMP-016: nobody answers for `toy`
                    help: write `owner: NAME` once at the top of the file, or for `toy` alone
            "#]],
        );
    }

    #[test]
    fn a_lab_with_an_owner_and_one_without_any() {
        says("owner: mia\ncompute: { hosts: { a: { address: 10.0.0.1, tier: production } } }\n", expect![[""]]);
        says("compute: { hosts: { a: { address: 10.0.0.1 }, b: { address: 10.0.0.2 } } }\n", expect![[""]]);
    }
}
