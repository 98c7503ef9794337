//! LW-DAT-007: a passphrase that is inside what it opens.

use std::collections::BTreeSet;

use labwright_model::lab::Repository;
use labwright_model::{Finding, Findings, Placement, reference};

use super::policies::used;
use crate::check::services::told::{at_tier, is_production, place, quoted};
use crate::check::{Case, Examples, Rule};

pub struct LockedPassphrase;

const CODE: &str = "LW-DAT-007";

impl Rule for LockedPassphrase {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a passphrase that is inside what it opens"
    }

    fn doc(&self) -> &'static str {
        "The lab's secrets are in a Vault on one of its own hosts. The passphrase of a repository is such a secret, and what \
         is on that host is backed up to that very repository and to no other that opens without it. While the Vault \
         runs, all is well. On the day it is lost, its backup is needed to get the passphrase, and the passphrase to get \
         the backup: everything in the repository is gone.\n\n\
         With the secrets in a file that is encrypted to age keys (`platform: { secrets: { age: … } }`) the file is in \
         your version control and opens with the recovery key, so nothing is said (LW-PLT-007 asks for that \
         key). A Vault that is not the lab's is not looked at. It is a warning where production is in the repository, \
         and advice otherwise.\n\n\
         It comes from document 4, whose Vault holds every secret of the lab and takes down whatever needs it while it is \
         sealed, and from document 0: keep dependencies on secrets and backup explicit, and test recovery of identity and \
         backup first. `borg init` prints the same advice: write the passphrase down and store it, and the key, in a safe \
         place.\n\n\
         The way out: print the passphrase or put it with a person you trust, and accept the finding with that reason; or \
         send the Vault's own backup to a second repository whose passphrase is kept elsewhere."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "owner: operator\ncompute: { hosts: { vault-01: { address: 10.0.20.15 } } }\nplatform: { secrets: { vault: { on: vault-01 } } }\nprotection:\n  repositories: { offsite: { url: \"s3:https://s3.example.net/lab\", passphrase: \"${secret.offsite}\" } }\n  policies: { nightly: { to: offsite, drill: weekly } }\nservices:\n  vault: { use: vault, on: vault-01, tier: production, backup: nightly }",
            passes: "owner: operator\ncompute: { hosts: { vault-01: { address: 10.0.20.15 }, nas-01: { address: 10.0.20.5 } } }\nplatform: { secrets: { vault: { on: vault-01 } } }\nprotection:\n  repositories:\n    offsite: { url: \"s3:https://s3.example.net/lab\", passphrase: \"${secret.offsite}\" }\n    nas: { on: nas-01, path: /backup }\n  policies: { nightly: { to: [offsite, nas], drill: weekly } }\nservices:\n  vault: { use: vault, on: vault-01, tier: production, backup: nightly }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let Some(secrets) = &parsed.lab.platform.secrets else { return };
        let (None, Some(vault)) = (&secrets.age, secrets.vault.as_ref().and_then(|vault| vault.on.as_ref())) else {
            return;
        };
        // The services on the Vault's host whose copies all need what is in the Vault.
        let mut locked: Vec<&Placement> = Vec::new();
        let mut repositories: BTreeSet<&str> = BTreeSet::new();
        let mut first: Option<&Repository> = None;
        for policy in used(parsed) {
            if !policy.to.iter().all(|(_, repository)| is_secret(repository)) {
                continue;
            }
            let there = |placement: &&Placement| placement.entry.on.iter().any(|on| on.value == vault.value);
            let before = locked.len();
            locked.extend(policy.placements.iter().copied().filter(there));
            if locked.len() > before {
                repositories.extend(policy.to.iter().map(|(name, _)| name.value.as_str()));
                first = first.or(policy.to.first().map(|(_, repository)| *repository));
            }
        }
        // Where one of them is the Vault itself, the others on its host do not matter.
        let is_vault = |placement: &&Placement| {
            let application = placement.entry.catalogue.as_ref().map_or("", |name| name.as_str());
            let names = [application, placement.service.as_str()];
            // Vaultwarden keeps people's passwords, and no secrets of the lab.
            names.iter().any(|name| name.replace("vaultwarden", "").contains("vault") || name.contains("openbao"))
        };
        let on_host = |placement: &&Placement| placement.entry.on.iter().any(|on| on.value == vault.value);
        if parsed.placements.iter().filter(on_host).any(|placement| is_vault(&placement)) {
            locked.retain(is_vault);
        }
        let (Some(whose), Some(passphrase)) = (locked.first(), first.and_then(|first| first.passphrase.as_ref()))
        else {
            return;
        };
        let names: Vec<&str> = repositories.into_iter().collect();
        let message = format!(
            "the passphrase of {} is in the Vault on `{}`, and the backup of service `{}` there opens only with it",
            quoted(&names),
            vault.value,
            whose.service
        );
        let finding = Finding::warning(CODE, "protection.repositories", passphrase.span, message)
            .help(
                "keep a copy of the passphrase outside the lab (on paper, with a person you trust), then accept this: \
                 `# labwright: allow LW-DAT-007 because …`; or back the Vault up to a second repository without it",
            )
            .related(vault.span, "the Vault")
            .related(place(parsed, &whose.service), "backed up to it");
        findings.push(at_tier(locked.iter().any(|placement| is_production(placement)), finding));
    }
}

/// Whether a repository opens only with a secret of the lab.
fn is_secret(repository: &Repository) -> bool {
    repository.passphrase.as_ref().is_some_and(|passphrase| !reference::secrets(passphrase).is_empty())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    const AROUND: &str = r#"
owner: me
compute: { hosts: { v-01: { address: 10.0.0.1 }, d-01: { address: 10.0.0.2 } } }
protection:
  repositories: { a: { url: "b2:a", passphrase: "${secret.pg}" }, b: { url: "b2:b", passphrase: "${secret.app}" }, open: { url: "b2:c" } }
  policies: { both: { to: [a, b], drill: weekly }, open: { to: [a, open], drill: weekly } }
"#;

    #[test]
    fn the_circle_is_told_once() {
        says(
            &format!(
                r#"{AROUND}
platform: {{ secrets: {{ vault: {{ on: v-01 }} }} }}
services:
  vault: {{ use: vault, on: v-01, backup: both }}
  beside: {{ use: x, on: v-01, backup: both, tier: production }}
  else: {{ use: x, on: d-01, backup: open }}
"#
            ),
            expect![[r#"
                5:49 advice LW-DAT-007: the passphrase of `a` and `b` is in the Vault on `v-01`, and the backup of service `vault` there opens only with it
                    help: keep a copy of the passphrase outside the lab (on paper, with a person you trust), then accept this: `# labwright: allow LW-DAT-007 because …`; or back the Vault up to a second repository without it
                    8:37: the Vault
                    10:3: backed up to it
            "#]],
        );
        says(
            &format!(
                r#"{AROUND}
platform: {{ secrets: {{ vault: {{ on: v-01 }} }} }}
services:
  beside: {{ use: x, on: v-01, backup: both, tier: production }}
  else: {{ use: x, on: d-01, backup: open }}
"#
            ),
            expect![[r#"
                5:49 warning LW-DAT-007: the passphrase of `a` and `b` is in the Vault on `v-01`, and the backup of service `beside` there opens only with it
                    help: keep a copy of the passphrase outside the lab (on paper, with a person you trust), then accept this: `# labwright: allow LW-DAT-007 because …`; or back the Vault up to a second repository without it
                    8:37: the Vault
                    10:3: backed up to it
            "#]],
        );
    }

    #[test]
    fn another_way_in_breaks_the_circle() {
        for (secrets, backup) in [
            ("{ vault: { on: v-01 } }", "open"),
            ("{ vault: { url: \"https://v.example.net\" } }", "both"),
            ("{ age: secrets.yaml, recovery: age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq }", "both"),
        ] {
            says(
                &format!(
                    "{AROUND}platform: {{ secrets: {secrets} }}\nservices:\n  vault: {{ use: vault, on: v-01, backup: {backup} }}\n  \
                     far: {{ use: x, on: d-01, backup: both }}\n  near: {{ use: x, on: d-01, backup: open }}\n"
                ),
                expect![[""]],
            );
        }
    }
}
