//! LW-DAT-004: a backup that nobody ever restores.

use labwright_model::{Finding, Findings};

use super::policies::used;
use crate::check::services::told::{at_tier, services};
use crate::check::{Case, Examples, Rule};

pub struct NoDrill;

const CODE: &str = "LW-DAT-004";

impl Rule for NoDrill {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a backup that nobody ever restores"
    }

    fn doc(&self) -> &'static str {
        "Services are copied by a policy that has no `drill`: no copy is ever taken back and tried. That a backup ran says \
         that something was written. A dump of a database that is empty, a passphrase that nobody has, a volume that was \
         left out: all of that is found at the first restore, and this should not be the one that counts. A `proof_within` \
         without a `drill` is never kept.\n\n\
         It is a warning where production relies on the policy, and advice otherwise.\n\n\
         It comes from document 0 (restore validation beside backup jobs; test the ways back first) and document 2, whose \
         first question is whether one could restore the system if it failed tomorrow.\n\n\
         The way out: `drill: weekly`, or `drill: monthly` for large data."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "owner: operator\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nprotection:\n  repositories: { offsite: { url: \"s3:https://s3.example.net/lab\" } }\n  policies: { nightly: { to: offsite } }\nservices:\n  photos: { use: immich, on: docker-01, tier: production, backup: nightly }",
            passes: "owner: operator\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nprotection:\n  repositories: { offsite: { url: \"s3:https://s3.example.net/lab\" } }\n  policies: { nightly: { to: offsite, drill: weekly, proof_within: 14d } }\nservices:\n  photos: { use: immich, on: docker-01, tier: production, backup: nightly }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        for policy in used(parsed).iter().filter(|policy| policy.policy.drill.is_none()) {
            let name = policy.name;
            let asked = match &policy.policy.proof_within {
                Some(_) => ", and its `proof_within` asks for a proof that nothing makes",
                None => "",
            };
            let whose = services(&policy.services());
            let message = format!("no restore of {whose} is ever rehearsed: policy `{name}` has no `drill`{asked}");
            let finding = Finding::warning(CODE, format!("protection.policies.{name}.drill"), policy.span, message)
                .help("add `drill: weekly`, or `drill: monthly` where there is much to restore");
            findings.push(at_tier(policy.is_production(), finding));
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn policies_in_use_are_rehearsed() {
        says(
            r#"
owner: me
compute: { hosts: { d-01: { address: 10.0.0.1 } } }
protection:
  repositories: { r: { url: "s3:https://s3.example.net/x" }, s: { url: "b2:x" } }
  policies:
    none: { to: [r, s] }
    proof: { to: [r, s], proof_within: 14d }
    drilled: { to: [r, s], drill: weekly }
    unused: { to: [r, s] }
    broken: { to: [missing] }
services:
  a: { use: x, on: d-01, backup: none, tier: production }
  b: { use: x, on: d-01, backup: none }
  c: { use: x, on: d-01, backup: proof }
  d: { use: x, on: d-01, backup: drilled }
  e: { use: x, on: d-01, backup: broken }
"#,
            expect![[r#"
                7:5 warning LW-DAT-004: no restore of services `a` and `b` is ever rehearsed: policy `none` has no `drill`
                    help: add `drill: weekly`, or `drill: monthly` where there is much to restore
                8:5 advice LW-DAT-004: no restore of service `c` is ever rehearsed: policy `proof` has no `drill`, and its `proof_within` asks for a proof that nothing makes
                    help: add `drill: weekly`, or `drill: monthly` where there is much to restore
                10:5 advice LW-DAT-009: no service and no host names backup policy `unused`
                    help: add `backup: unused` to the services that it is meant for, or take it out
            "#]],
        );
    }
}
