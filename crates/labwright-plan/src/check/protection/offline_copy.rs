//! LW-DAT-008: an offline copy that nobody is reminded of.

use labwright_model::lab::Offline;
use labwright_model::{Finding, Findings, Span};

use crate::check::services::told::{all_of, fold, quoted};
use crate::check::{Case, Examples, Rule};

pub struct OfflineCopy;

const CODE: &str = "LW-DAT-008";

impl Rule for OfflineCopy {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "an offline copy that nobody is reminded of"
    }

    fn doc(&self) -> &'static str {
        "A disk in a drawer is the one copy that no intruder reaches, and the one that is forgotten. `every` says how often \
         it is renewed: without it nothing is ever overdue. `label` is the file system's label by which the disk is known \
         when it is plugged in: without it nobody can tell that it was.\n\n\
         Whether a copy is overdue is LW-DAT-010, for which `last` says when it was renewed.\n\n\
         It comes from document 1, whose owner copies everything that matters to a USB disk a couple of times a year, by \
         hand and from memory.\n\n\
         The way out: `usb: { label: lab-vault, every: 6 months }`; `e2label` and `lsblk -o NAME,LABEL` set and show a label."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "protection: { offline: { usb: { label: lab-vault } } }",
            passes: "protection: { offline: { usb: { label: lab-vault, every: 6 months } } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let offline = &parsed.lab.protection.offline;
        let lacking = offline.iter().filter(|(_, copy)| copy.label.is_none() || copy.every.is_none());
        let lacking: Vec<(&str, Span)> = lacking.map(|(name, copy)| (name.as_str(), copy.span)).collect();
        findings.extend(fold(parsed, CODE, &lacking, "and this", |names, span| {
            let any =
                |lacks: fn(&Offline) -> bool| names.iter().any(|name| offline.get(*name).is_some_and(|o| lacks(o)));
            let (label, every) = (any(|copy| copy.label.is_none()), any(|copy| copy.every.is_none()));
            let parts = [("no `label`", label), ("no `every`", every)];
            let parts: Vec<String> =
                parts.iter().filter(|(_, lacks)| *lacks).map(|(part, _)| part.to_string()).collect();
            let (noun, verb) = if names.len() == 1 { ("copy", "has") } else { ("copies", "have") };
            let why = match every {
                true => "nobody is reminded to renew it",
                false => "it is not known when it is plugged in",
            };
            let message = format!("offline {noun} {} {verb} {}: {why}", quoted(names), all_of(&parts));
            let first = names[0];
            let help = format!("write `{first}: {{ label: LABEL, every: 6 months }}`");
            Finding::advice(CODE, format!("protection.offline.{first}"), span, message).help(help)
        }));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn what_is_missing_is_told_once() {
        says(
            "protection: { offline: { a: , b: { every: 1 year }, c: { label: x, every: 30d } } }\n",
            expect![[r#"
            1:26 advice LW-DAT-008: offline copies `a` and `b` have no `label` and no `every`: nobody is reminded to renew it
                help: write `a: { label: LABEL, every: 6 months }`
                1:31: and this
        "#]],
        );
        says(
            "protection: { offline: { b: { every: 1 year } } }\n",
            expect![[r#"
            1:26 advice LW-DAT-008: offline copy `b` has no `label`: it is not known when it is plugged in
                help: write `b: { label: LABEL, every: 6 months }`
        "#]],
        );
    }
}
