//! LW-PLT-007: a store without a key for the day on which all others are lost.

use labwright_model::{Finding, Findings};

use crate::check::{Case, Examples, Rule};

pub struct NoRecoveryKey;

const CODE: &str = "LW-PLT-007";

impl Rule for NoRecoveryKey {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "no recovery key"
    }

    fn doc(&self) -> &'static str {
        "The store can be opened with the keys of its admins, and those are on the machines that they work at. If these \
         are stolen, burn or are set up anew, every secret of the lab is gone, those of its backups too. A recovery key is \
         used by nobody from day to day: its private half lies offline, on paper or on a stick in a drawer, and the store \
         is always encrypted to its public half as well.\n\n\
         It comes from borgbackup/borg#7959, where somebody set up a machine anew and 3.8 TiB of backups could not \
         be opened again, and from borgbackup/borg#3913: those who lose keys did not read what to keep.\n\n\
         The way out: `age-keygen -o recovery.txt` makes one and prints its public half (`age1…`). Write that under \
         `platform: { secrets: { recovery: … } }`, run `labwright secret rekey`, try once that \
         `labwright secret get NAME --identity recovery.txt` works, and move the file away from every machine."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform: { secrets: { age: secrets.yaml } }",
            passes: "platform:\n  secrets:\n    age: secrets.yaml\n    recovery: age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let (Some(declared), Some(store)) = (&parsed.lab.platform.secrets, &parsed.store) else { return };
        // One that is not there has no keys yet, and that is told already.
        if store.missing.is_some() {
            return;
        }
        if declared.recovery.as_ref().is_some_and(|key| !key.trim().is_empty()) {
            return;
        }
        let span = declared.age.as_ref().map_or_else(|| parsed.span_of(&["platform", "secrets"]), |age| age.span);
        let message = format!("`{}` has no recovery key: with the last admin's key, every secret is lost", store.path);
        let help = "`age-keygen -o recovery.txt`, keep that file offline, put the public half it prints under \
                    `platform: { secrets: { recovery: age1… } }`, then `labwright secret rekey`";
        findings.push(Finding::warning(CODE, "platform.secrets.recovery", span, message).help(help));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn long_and_short_form_and_an_empty_one() {
        says(
            "platform:\n  secrets:\n    age: secrets.yaml # labwright: allow LW-PLT-007 because it is an experiment\n",
            expect![[""]],
        );
        says(
            "platform: { secrets: secrets.yaml }\n",
            expect![[r#"
            1:22 warning LW-PLT-007: `secrets.yaml` has no recovery key: with the last admin's key, every secret is lost
                help: `age-keygen -o recovery.txt`, keep that file offline, put the public half it prints under `platform: { secrets: { recovery: age1… } }`, then `labwright secret rekey`
        "#]],
        );
        says(
            "platform: { secrets: { age: secrets.yaml, recovery: \"\" } }\n",
            expect![[r#"
            1:29 warning LW-PLT-007: `secrets.yaml` has no recovery key: with the last admin's key, every secret is lost
                help: `age-keygen -o recovery.txt`, keep that file offline, put the public half it prints under `platform: { secrets: { recovery: age1… } }`, then `labwright secret rekey`
        "#]],
        );
    }

    #[test]
    fn a_vault_keeps_its_own() {
        says("platform: { secrets: { vault: { url: https://vault.example.net } } }\n", expect![[""]]);
    }
}
