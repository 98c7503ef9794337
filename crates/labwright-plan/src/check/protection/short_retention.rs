//! LW-DAT-006: backups that are gone before the damage is noticed.

use std::time::Duration;

use labwright_model::lab::Engine;
use labwright_model::{Finding, Findings, Placement};

use super::interval::{DAY, longest_gap, reach, spoken};
use super::policies::used;
use crate::check::services::told::{distinct, is_production, services};
use crate::check::{Case, Examples, Rule};

pub struct ShortRetention;

const CODE: &str = "LW-DAT-006";
/// The days that copies of production should reach back at least.
const ENOUGH: u64 = 30;

impl Rule for ShortRetention {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "backups that are gone before the damage is noticed"
    }

    fn doc(&self) -> &'static str {
        "Whoever breaks in, or whatever damages data bit by bit, is copied along until somebody notices. If the oldest \
         backup is younger than that, there is no good one left. For production services at least 30 days are expected; \
         nothing is asked in the lab tier, nor of a policy without `keep`, which removes nothing.\n\n\
         How far back `keep` reaches is counted as restic and borg count: so many days, weeks or months in which there is \
         a backup. Seven daily backups of a weekly schedule reach back seven weeks; borg adds its rules up, restic's \
         overlap. Where the schedule's interval cannot be told, nothing is said.\n\n\
         It comes from document 2, whose test asks: \"if it were compromised, would I detect it?\" The figure follows \
         Mandiant's report M-Trends 2025: intrusions were noticed after 11 days in the median, so half of them took longer, \
         and those were companies that watch.\n\n\
         The way out: a few weekly or monthly ones cost little, for they share most of their blocks: \
         `keep: { daily: 7, weekly: 4, monthly: 6 }`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "owner: operator\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nprotection:\n  repositories: { offsite: { url: \"s3:https://s3.example.net/lab\" } }\n  policies: { nightly: { schedule: \"03:15\", to: offsite, keep: { daily: 7 }, drill: weekly } }\nservices:\n  photos: { use: immich, on: docker-01, tier: production, backup: nightly }",
            passes: "owner: operator\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nprotection:\n  repositories: { offsite: { url: \"s3:https://s3.example.net/lab\" } }\n  policies: { nightly: { schedule: \"03:15\", to: offsite, keep: { daily: 7, monthly: 6 }, drill: weekly } }\nservices:\n  photos: { use: immich, on: docker-01, tier: production, backup: nightly }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        for policy in used(parsed) {
            let relying: Vec<&Placement> =
                policy.placements.iter().copied().filter(|placement| is_production(placement)).collect();
            if relying.is_empty() {
                continue;
            }
            let borg = policy.to.iter().all(|(_, repository)| repository.engine == Engine::Borg);
            let Some(reach) = reach(&policy.policy.keep, longest_gap(&policy.policy.schedule), borg) else { continue };
            if reach >= Duration::from_secs(ENOUGH * DAY) {
                continue;
            }
            let name = policy.name;
            let whose = services(&distinct(relying));
            let message = match reach.is_zero() {
                true => format!("policy `{name}` keeps no backup of production {whose}"),
                false => {
                    format!("policy `{name}` keeps nothing of production {whose} that is older than {}", spoken(reach))
                }
            };
            let help = match policy.policy.keep.monthly {
                None => "add `monthly: 6` to its `keep`, or `within: 30d`",
                Some(_) => "raise `monthly` in its `keep`, or add `within: 30d`",
            };
            let span = parsed.span_of(&["protection", "policies", name, "keep"]);
            findings.push(Finding::warning(CODE, format!("protection.policies.{name}.keep"), span, message).help(help));
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn how_far_back_it_reaches() {
        says(
            r#"
owner: me
compute: { hosts: { d-01: { address: 10.0.0.1 } } }
protection:
  repositories: { r: { url: "s3:https://s3.example.net/x" }, s: { url: "b2:x" }, b: { url: "u@example.org:x", engine: borg }, c: { url: "u@example.net:x", engine: borg } }
  policies:
    short: { schedule: "03:15", to: [r, s], keep: { daily: 14, weekly: 3 }, drill: weekly }
    adds-up: { schedule: "03:15", to: [b, c], keep: { daily: 14, weekly: 3 }, drill: weekly }
    sparse: { schedule: weekly, to: [r, s], keep: { daily: 7 }, drill: weekly }
    all: { schedule: "03:15", to: [r, s], drill: weekly }
    untold: { schedule: "0 3 1,15 * *", to: [r, s], keep: { last: 1 }, drill: weekly }
    within: { schedule: "03:15", to: [r, s], keep: { within: 12h }, drill: weekly }
    month: { schedule: "03:15", to: [r, s], keep: { daily: 30 }, drill: weekly }
    lab: { schedule: "03:15", to: [r, s], keep: { last: 1 }, drill: weekly }
    zero: { schedule: "03:15", to: [r, s], keep: { monthly: 0 }, drill: weekly }
services:
  a: { use: x, on: d-01, backup: short, tier: production }
  a2: { use: x, on: d-01, backup: short, tier: production }
  a3: { use: x, on: d-01, backup: short }
  b: { use: x, on: d-01, backup: adds-up, tier: production }
  c: { use: x, on: d-01, backup: sparse, tier: production }
  d: { use: x, on: d-01, backup: all, tier: production }
  e: { use: x, on: d-01, backup: untold, tier: production }
  f: { use: x, on: d-01, backup: within, tier: production }
  g: { use: x, on: d-01, backup: month, tier: production }
  h: { use: x, on: d-01, backup: lab }
  i: { use: x, on: d-01, backup: zero, tier: production }
"#,
            expect![[r#"
                7:51 warning LW-DAT-006: policy `short` keeps nothing of production services `a` and `a2` that is older than 21 days
                    help: add `monthly: 6` to its `keep`, or `within: 30d`
                12:52 warning LW-DAT-006: policy `within` keeps nothing of production service `f` that is older than 12 hours
                    help: add `monthly: 6` to its `keep`, or `within: 30d`
                15:50 warning LW-DAT-006: policy `zero` keeps no backup of production service `i`
                    help: raise `monthly` in its `keep`, or add `within: 30d`
            "#]],
        );
    }
}
