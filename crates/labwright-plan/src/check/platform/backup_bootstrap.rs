//! LW-PLT-012: backups that cannot be opened without what they restore.

use std::collections::BTreeMap;

use labwright_model::lab::Repository;
use labwright_model::{Findings, Parsed, Placement, Span, reference};

use crate::check::compute::carried::{Carried, by_tier, is_production, told};
use crate::check::{Case, Examples, Rule};

pub struct BackupBootstrap;

const CODE: &str = "LW-PLT-012";

impl Rule for BackupBootstrap {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a backup that needs what it restores"
    }

    fn doc(&self) -> &'static str {
        "On the day a backup is needed, something is gone. The backup must not need just that: the passphrase of a \
         repository is a secret, the only place that keeps secrets is a Vault in the lab, and services are backed up to no repository that opens without it. When the Vault's machine is lost, the copies are \
         there and closed. Where what is on the Vault's own host is among them, it is LW-DAT-007.\n\n\
         Document 0: keep the dependencies of secrets and backup explicit, test recovery paths for backup infrastructure \
         first, and give the backup target other failure characteristics. restic's manual: without the password nothing in \
         a repository can be read.\n\n\
         It is a warning if a production service is concerned, and advice otherwise.\n\n\
         The way out: keep the passphrase in `secrets: { age: secrets.yaml }` with a recovery key that lies offline, or \
         back up to a second repository that stands elsewhere."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "owner: mia\ncompute:\n  hosts:\n    vault-01: { address: 10.0.20.60 }\n    docker-01: { address: 10.0.20.21 }\nplatform:\n  secrets: { vault: { on: vault-01 } }\nservices:\n  wiki: { run: wiki, on: docker-01, backup: nightly }\nprotection:\n  repositories: { far: { url: \"s3:https://s3.example.net/x\", passphrase: \"${secret.restic}\" } }\n  policies: { nightly: { to: far } }",
            passes: "owner: mia\ncompute:\n  hosts:\n    vault-01: { address: 10.0.20.60 }\n    docker-01: { address: 10.0.20.21 }\nplatform:\n  secrets: { age: secrets.yaml, generate: { app: password }, vault: { on: vault-01 } }\nservices:\n  wiki: { run: wiki, on: docker-01, backup: nightly }\nprotection:\n  repositories: { far: { url: \"s3:https://s3.example.net/x\", passphrase: \"${secret.app}\" } }\n  policies: { nightly: { to: far } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let protection = &parsed.lab.protection;
        if protection.repositories.is_empty() {
            return;
        }
        let carried = case.carried();
        let mut kept: BTreeMap<&str, Vec<&Placement>> = BTreeMap::new();
        for placement in &parsed.placements {
            if let Some(policy) = placement.entry.backup.as_ref().and_then(|backup| backup.policy.as_ref()) {
                kept.entry(policy.value.as_str()).or_default().push(placement);
            }
        }
        passphrases(carried, &kept, findings);
    }
}

type Kept<'a> = BTreeMap<&'a str, Vec<&'a Placement>>;

/// The repositories of a policy, as far as they are declared.
fn repositories<'a>(parsed: &'a Parsed, policy: &str) -> Vec<(&'a str, &'a Repository)> {
    let protection = &parsed.lab.protection;
    let to = protection.policies.get(policy).into_iter().flat_map(|policy| policy.to.iter());
    to.filter_map(|to| protection.repositories.get(&to.value).map(|it| (to.value.as_str(), &it.value))).collect()
}

fn passphrases(carried: &Carried<'_>, kept: &Kept<'_>, findings: &mut Findings) {
    let parsed = carried.topology.parsed;
    let Some(secrets) = parsed.lab.platform.secrets.as_ref().filter(|secrets| secrets.age.is_none()) else { return };
    let Some(vault) = secrets.vault.as_ref().and_then(|vault| vault.on.as_ref()) else { return };
    let closed = |repository: &Repository| {
        repository.passphrase.as_ref().filter(|passphrase| !reference::secrets(passphrase).is_empty()).map(|it| it.span)
    };
    // By repository: the passphrase and what can only be restored with it.
    let mut told_of: BTreeMap<&str, (Span, Vec<&Placement>)> = BTreeMap::new();
    for (policy, placements) in kept {
        let to = repositories(parsed, policy);
        let spans: Vec<_> = to.iter().map(|(name, repository)| (*name, closed(repository))).collect();
        if let Some((name, Some(span))) = spans.first().copied()
            && spans.iter().all(|(_, span)| span.is_some())
        {
            told_of.entry(name).or_insert((span, Vec::new())).1.extend(placements);
        }
    }
    for (name, (span, placements)) in told_of {
        let (message, help) = (
            format!(
                "the passphrase of repository `{name}` is kept in the Vault on `{}` alone: without that, no copy opens",
                vault.value
            ),
            "keep it in `secrets: { age: secrets.yaml, vault: … }`, with a recovery key that lies offline".to_string(),
        );
        // That the Vault itself is locked up so is told by LW-DAT-007.
        if placements.iter().any(|placement| placement.entry.on.iter().any(|on| on.value == vault.value)) {
            continue;
        }
        let production = placements.iter().any(|placement| is_production(placement));
        let at = format!("protection.repositories.{name}.passphrase");
        findings
            .push(told(CODE, by_tier(production), at, span, message, help).related(vault.span, "where the Vault is"));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn passphrases_in_the_vault_alone() {
        let lab = r#"
owner: mia
compute: { hosts: { vault-01: { address: 10.0.0.1 }, app: { address: 10.0.0.2 }, nas: { address: 10.0.0.3 } } }
services:
  bao: { run: bao, on: vault-01 }
  wiki: { run: wiki, on: app, backup: nightly, tier: production }
  game: { run: game, on: app, backup: both }
protection:
  repositories: { far: { url: "s3:x", passphrase: "${secret.app}" }, near: { on: nas, path: /b } }
  policies: { nightly: { to: far }, both: { to: [far, near] } }
"#;
        says(
            &format!("{lab}platform: {{ secrets: {{ vault: {{ on: vault-01 }} }} }}\n"),
            expect![[r#"
                9:51 warning LW-PLT-012: the passphrase of repository `far` is kept in the Vault on `vault-01` alone: without that, no copy opens
                    help: keep it in `secrets: { age: secrets.yaml, vault: … }`, with a recovery key that lies offline
                    11:37: where the Vault is
            "#]],
        );
        let file =
            "platform: { secrets: { age: secrets.yaml, generate: { app: password }, vault: { on: vault-01 } } }\n";
        says(
            &format!("{lab}{file}"),
            expect![[r#"
                11:29 warning LW-PLT-007: `secrets.yaml` has no recovery key: with the last admin's key, every secret is lost
                    help: `age-keygen -o recovery.txt`, keep that file offline, put the public half it prints under `platform: { secrets: { recovery: age1… } }`, then `labwright secret rekey`
            "#]],
        );
        let told_elsewhere = lab.replace("on: vault-01 }", "on: vault-01, backup: nightly }");
        says(&format!("{told_elsewhere}platform: {{ secrets: {{ vault: {{ on: vault-01 }} }} }}\n"), expect![[""]]);
        let outside = "platform: { secrets: { vault: { url: \"https://vault.example\" } } }\n";
        says(&format!("{lab}{outside}"), expect![[""]]);
    }
}
