//! LW-DAT-010: an offline copy that should have been renewed.

use std::time::Duration;

use labwright_model::{Finding, Findings};

use crate::check::{Case, Examples, Rule};

pub struct OverdueCopy;

pub const CODE: &str = "LW-DAT-010";

impl Rule for OverdueCopy {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "an offline copy that is overdue"
    }

    fn doc(&self) -> &'static str {
        "An offline copy says how often it is renewed (`every`) and when it last was (`last`), and more time than that has \
         passed. What was made since then is on no disk that an intruder or a fault in the house cannot reach. A `last` in \
         the future is told as well: it would be silent for as long as it is wrong.\n\n\
         The file has the dates, and only you know which day it is: `labwright check --as-of 2026-11-01` judges that day, and \
         `labwright plan`, `apply` and `assess` judge today. Without a day nothing is overdue, so the same file always has \
         the same findings.\n\n\
         It is advice up to twice the time, and a warning from then on.\n\n\
         It comes from document 1, whose owner copies everything that matters to a USB disk a couple of times a year, by hand \
         and from memory.\n\n\
         The way out: plug the disk in, renew the copy, and write the day: `last: 2026-11-01`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "protection: { offline: { usb: { label: lab-vault, every: 6 months, last: 2026-01-15 } } }",
            passes: "protection: { offline: { usb: { label: lab-vault, every: 6 months, last: 2026-10-15 } } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let Some(as_of) = parsed.as_of else { return };
        for (name, copy) in parsed.lab.protection.offline.iter() {
            let (Some(last), Some(every)) = (&copy.last, &copy.every) else { continue };
            let at = format!("protection.offline.{name}.last");
            let Ok(age) = Duration::try_from(as_of.0.duration_since(last.value.0)) else {
                let message =
                    format!("offline copy `{name}` was last renewed on {}, which is after {as_of}", last.value);
                let help = "write the day on which it was renewed, or judge a later one";
                findings.push(Finding::warning(CODE, at, last.span, message).help(help));
                continue;
            };
            if age <= every.value.0 {
                continue;
            }
            let message = format!(
                "offline copy `{name}` was last renewed on {}, {} before {as_of}, and that was to be done every {}",
                last.value,
                days(age),
                days(every.value.0)
            );
            let make = if age > every.value.0 * 2 { Finding::warning } else { Finding::advice };
            let disk =
                copy.label.as_ref().map_or("the disk".to_string(), |label| format!("the disk `{}`", label.value));
            let kept = copy.location.as_ref().map(|place| format!(" ({})", place.value)).unwrap_or_default();
            let help = format!("plug {disk}{kept} in, renew the copy, and write the day: `last: {as_of}`");
            findings.push(make(CODE, at, last.span, message).help(help));
        }
    }
}

/// Whole days, because a day is all that is known of the last time.
fn days(time: Duration) -> String {
    match time.as_secs() / 86_400 {
        1 => "day".to_string(),
        n => format!("{n} days"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::check;
    use crate::check::tests::{found, says};

    const LAB: &str = "protection:\n  offline:\n    new: { label: a, every: 30d, last: 2026-10-02 }\n    late: { label: b, every: 30d, last: 2026-10-01, location: the safe }\n    forgotten: { every: 30d, last: 2026-09-01 }\n    ahead: { label: d, every: 30d, last: 2027-01-01 }\n    undated: { label: e, every: 30d }\n    unbound: { label: f, last: 2020-01-01 }\n";

    #[test]
    fn late_is_told_to_the_day_and_long_late_is_a_warning() {
        says(
            LAB,
            expect![[r#"
            4:41 advice LW-DAT-010: offline copy `late` was last renewed on 2026-10-01, 31 days before 2026-11-01, and that was to be done every 30 days
                help: plug the disk `b` (the safe) in, renew the copy, and write the day: `last: 2026-11-01`
            5:5 advice LW-DAT-008: offline copies `forgotten` and `unbound` have no `label` and no `every`: nobody is reminded to renew it
                help: write `forgotten: { label: LABEL, every: 6 months }`
                8:5: and this
            5:36 warning LW-DAT-010: offline copy `forgotten` was last renewed on 2026-09-01, 61 days before 2026-11-01, and that was to be done every 30 days
                help: plug the disk in, renew the copy, and write the day: `last: 2026-11-01`
            6:42 warning LW-DAT-010: offline copy `ahead` was last renewed on 2027-01-01, which is after 2026-11-01
                help: write the day on which it was renewed, or judge a later one
        "#]],
        );
    }

    #[test]
    fn without_a_day_nothing_is_overdue_and_no_acceptance_of_it_stale() {
        let accepted = LAB.replace(
            "last: 2026-10-01, location: the safe }",
            "last: 2026-10-01 } # labwright: allow LW-DAT-010 because the safe is rented from next month on",
        );
        let (mut parsed, dated) = found(&accepted);
        assert!(!dated.iter().any(|finding| finding.message.contains("`late`")), "{dated:?}");
        parsed.as_of = None;
        let findings = check(&parsed);
        assert!(findings.iter().all(|finding| finding.code == "LW-DAT-008"), "{findings:?}");
    }
}
