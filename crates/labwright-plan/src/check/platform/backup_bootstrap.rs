//! LW-PLT-012: backups that cannot be opened without what they restore.

use std::collections::BTreeMap;

use labwright_model::lab::{Repository, Tier};
use labwright_model::{Findings, Parsed, Placement, Span, reference, router};

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
         Or the copies are at another site, and the way to them leads through the machine that is to be restored from them: the one that is jumped over \
         to the repository's host (`ssh: { jump: … }`), or the WireGuard endpoint behind which that host is. What is gone then \
         takes the way along, and the copies are in reach of nobody in the house.\n\n\
         Document 0: keep the dependencies of secrets and backup explicit, test recovery paths for backup infrastructure \
         first, and give the backup target other failure characteristics. restic's manual: without the password nothing in \
         a repository can be read.\n\n\
         It is a warning if a production service or host is concerned, and advice otherwise.\n\n\
         The way out: keep the passphrase in `secrets: { age: secrets.yaml }` with a recovery key that lies offline, or \
         back up to a second repository that stands elsewhere; for a machine that is the way, one on this side of it."
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
        ways(case, &kept, findings);
    }
}

type Kept<'a> = BTreeMap<&'a str, Vec<&'a Placement>>;

/// The repositories of a policy, as far as they are declared.
fn repositories<'a>(parsed: &'a Parsed, policy: &str) -> Vec<(&'a str, &'a Repository)> {
    let protection = &parsed.lab.protection;
    let to = protection.policies.get(policy).into_iter().flat_map(|policy| policy.to.iter());
    to.filter_map(|to| protection.repositories.get(&to.value).map(|it| (to.value.as_str(), &it.value))).collect()
}

/// Machines whose every copy is behind themselves.
fn ways(case: &Case<'_>, kept: &Kept<'_>, findings: &mut Findings) {
    let parsed = case.parsed;
    // What is copied of each machine, the policy, and whether people rely on it.
    let mut copied: BTreeMap<&str, (&str, Span, bool)> = BTreeMap::new();
    for (name, host) in parsed.lab.compute.hosts.iter() {
        if let Some(policy) = &host.backup {
            copied.insert(name, (&policy.value, policy.span, host.tier == Tier::Production));
        }
    }
    for (policy, placements) in kept {
        for placement in placements {
            let span = placement.entry.backup.as_ref().and_then(|backup| backup.policy.as_ref()).map(|it| it.span);
            for on in placement.entry.on.iter() {
                let known = copied.entry(&on.value).or_insert((policy, span.unwrap_or(Span::NONE), false));
                known.2 |= is_production(placement);
            }
        }
    }
    for (name, (policy, span, production)) in copied {
        let Some(all) = parsed.lab.protection.policies.get(policy) else { continue };
        let to = repositories(parsed, policy);
        let behind = to.iter().map(|(_, repository)| {
            let keeper = repository.on.as_ref()?;
            is_behind(case, &keeper.value, name).map(|how| (keeper.value.as_str(), how))
        });
        let ways: Vec<_> = behind.collect();
        let Some(Some((keeper, how))) = ways.first() else { continue };
        if to.len() != all.to.len() || !ways.iter().all(Option::is_some) {
            continue;
        }
        let message = format!(
            "what is on `{name}` is copied to `{keeper}`, and the way there leads through `{name}` ({how}): it cannot be \
             restored over what it is"
        );
        let help = format!(
            "add a repository on this side of it to `{policy}`, `near: {{ on: HOST, path: /backup }}`, or try once how the \
             copies come home without `{name}`, and accept this: `# labwright: allow LW-PLT-012 because …`"
        );
        let at = format!("protection.policies.{policy}.to");
        findings.push(told(CODE, by_tier(production), at, span, message, help));
    }
}

/// How a host is reached through another one only, if it is.
fn is_behind(case: &Case<'_>, host: &str, through: &str) -> Option<&'static str> {
    let lab = &case.parsed.lab;
    // In one place there are other ways: a bastion that administration goes over is in nobody's way at home.
    let sites = [case.topology().site(host), case.topology().site(through)];
    if !matches!(sites, [Some(there), Some(here)] if there != here) {
        return None;
    }
    let mut next = lab.host(host)?;
    // A chain of jumps that goes round is another fault.
    for _ in 0..lab.compute.hosts.len() {
        let Some(jump) = next.ssh.jump.first() else { break };
        // `user@host:port`, as OpenSSH writes it.
        let over = jump.value.rsplit('@').next().and_then(|rest| rest.split(':').next()).unwrap_or_default();
        if over == through {
            return Some("SSH jumps over it");
        }
        let Some(further) = lab.host(over) else { break };
        next = further;
    }
    let wireguard = lab.edge.vpn.as_ref()?.wireguard.as_ref()?;
    let end = wireguard.on.as_ref().map(|on| on.value.as_str()).or_else(|| router(lab))?;
    let is_peer = wireguard.peers.values().any(|peer| peer.on.as_ref().is_some_and(|on| on.value == host));
    (end == through && is_peer).then_some("it is the WireGuard endpoint")
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
    fn copies_behind_what_they_restore() {
        let lab = |edge: &str, far: &str, to: &str| {
            format!(
                "owner: mia\n{edge}compute:\n  hosts:\n    gw: {{ address: 10.0.0.1, site: home, tier: production, backup: n }}\n    app: {{ address: 10.0.0.2, site: home }}\n    near: {{ address: 10.0.0.4, site: home }}\n    far: {{ address: 10.9.0.3, site: cabin{far} }}\nservices: {{ wiki: {{ run: wiki, on: app, backup: n }} }}\nprotection: {{ repositories: {{ far: {{ on: far, path: /b }}, near: {{ on: near, path: /b }}, s3: {{ url: \"s3:x\" }} }}, policies: {{ n: {{ to: [{to}] }} }} }}\n"
            )
        };
        let wireguard = "edge: { vpn: { wireguard: { on: gw, peers: { far: { on: far, address: 10.9.0.3 } } } } }\n";
        says(
            &lab(wireguard, "", "far"),
            expect![[r#"
            5:68 warning LW-PLT-012: what is on `gw` is copied to `far`, and the way there leads through `gw` (it is the WireGuard endpoint): it cannot be restored over what it is
                help: add a repository on this side of it to `n`, `near: { on: HOST, path: /backup }`, or try once how the copies come home without `gw`, and accept this: `# labwright: allow LW-PLT-012 because …`
        "#]],
        );
        says(
            &lab("", ", ssh: { jump: gw }", "far"),
            expect![[r#"
            4:68 warning LW-PLT-012: what is on `gw` is copied to `far`, and the way there leads through `gw` (SSH jumps over it): it cannot be restored over what it is
                help: add a repository on this side of it to `n`, `near: { on: HOST, path: /backup }`, or try once how the copies come home without `gw`, and accept this: `# labwright: allow LW-PLT-012 because …`
        "#]],
        );
        let bastion = lab("", ", ssh: { jump: gw }", "far").replace("site: cabin", "site: home");
        says(&bastion, expect![[""]]);
        for (edge, far, to) in [(wireguard, "", "far, near"), (wireguard, "", "s3"), ("", "", "far")] {
            says(&lab(edge, far, to), expect![[""]]);
        }
    }

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
