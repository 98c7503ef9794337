//! LW-DAT-005: a proof that is too old before the next one is made.

use labwright_model::{Finding, Findings};

use super::interval::{longest_gap, spoken};
use super::policies::used;
use crate::check::services::told::at_tier;
use crate::check::{Case, Examples, Rule};

pub struct ProofExpires;

const CODE: &str = "LW-DAT-005";

impl Rule for ProofExpires {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a proof that is too old before the next one is made"
    }

    fn doc(&self) -> &'static str {
        "A policy says how old the last proven restore may be (`proof_within`), and its drills are further apart than \
         that. The proof is then out of date for some time before every drill, and an alarm that comes by the calendar is \
         one that nobody looks at.\n\n\
         Looked at is the longest time between two drills: one at 03:15 on every weekday leaves three days over a weekend. \
         A schedule whose times cannot be told by themselves (the last day of a month, the first Sunday) is not \
         judged. It is a warning where production relies on the policy, and advice otherwise.\n\n\
         It comes from document 0, which asks for backups whose restore is validated as part of running the lab, and \
         follows from the two values alone: the one cannot be kept with the other.\n\n\
         The way out: a `proof_within` of twice the time between two drills, so that one of them may fail; or more drills."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "owner: operator\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nprotection:\n  repositories: { offsite: { url: \"s3:https://s3.example.net/lab\" } }\n  policies: { nightly: { to: offsite, drill: monthly, proof_within: 14d } }\nservices:\n  photos: { use: immich, on: docker-01, tier: production, backup: nightly }",
            passes: "owner: operator\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nprotection:\n  repositories: { offsite: { url: \"s3:https://s3.example.net/lab\" } }\n  policies: { nightly: { to: offsite, drill: monthly, proof_within: 62d } }\nservices:\n  photos: { use: immich, on: docker-01, tier: production, backup: nightly }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        for policy in used(parsed) {
            let (Some(drill), Some(within)) = (&policy.policy.drill, &policy.policy.proof_within) else { continue };
            let Some(gap) = longest_gap(drill).filter(|gap| within.0 < *gap) else { continue };
            let name = policy.name;
            let message = format!(
                "drills of policy `{name}` are up to {} apart, and their proof is too old after {}",
                spoken(gap),
                spoken(within.0)
            );
            let help = format!("write `proof_within: {}d`, so that one drill may fail, or drill more often", {
                2 * gap.as_secs().div_ceil(super::interval::DAY)
            });
            let at = format!("protection.policies.{name}.proof_within");
            let finding = Finding::warning(CODE, at, within.span, message).help(help).related(drill.span, "the drills");
            findings.push(at_tier(policy.is_production(), finding));
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn the_longest_gap_counts() {
        says(
            r#"
owner: me
compute: { hosts: { d-01: { address: 10.0.0.1 } } }
protection:
  repositories: { r: { url: "s3:https://s3.example.net/x" }, s: { url: "b2:x" } }
  policies:
    weekly: { to: [r, s], drill: "Sun *-*-* 03:15", proof_within: 6d }
    weekend: { to: [r, s], drill: "0 3 * * 1-5", proof_within: 2d }
    exact: { to: [r, s], drill: weekly, proof_within: 7d }
    untold: { to: [r, s], drill: "Sun *-*-1..7 03:00", proof_within: 1d }
    no-proof: { to: [r, s], drill: yearly }
services:
  a: { use: x, on: d-01, backup: weekly, tier: production }
  b: { use: x, on: d-01, backup: weekend }
  c: { use: x, on: d-01, backup: exact }
  d: { use: x, on: d-01, backup: untold }
  e: { use: x, on: d-01, backup: no-proof }
"#,
            expect![[r#"
                7:67 warning LW-DAT-005: drills of policy `weekly` are up to 7 days apart, and their proof is too old after 6 days
                    help: write `proof_within: 14d`, so that one drill may fail, or drill more often
                    7:34: the drills
                8:64 advice LW-DAT-005: drills of policy `weekend` are up to 3 days apart, and their proof is too old after 2 days
                    help: write `proof_within: 6d`, so that one drill may fail, or drill more often
                    8:35: the drills
            "#]],
        );
    }
}
