//! LW-PLT-011: a secrets server that cannot be opened without itself.

use std::collections::BTreeSet;

use labwright_model::lab::Vault;
use labwright_model::{Findings, Severity};

use super::dns_bootstrap::is_inside;
use crate::check::compute::carried::{Carried, by_tier, told};
use crate::check::{Case, Examples, Rule};

pub struct SecretsBootstrap;

const CODE: &str = "LW-PLT-011";

impl Rule for SecretsBootstrap {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a secrets server that needs itself"
    }

    fn doc(&self) -> &'static str {
        "A Vault comes up sealed. It is opened by another one (`unseal: transit, with: HOST`), and until then nothing that \
         needs a secret can be built. The rule tells\n\n\
         - a Vault that is unsealed from its own host, or from a guest of it: after a reboot both are sealed and wait. From \
         its own hypervisor is advice: that one starts first, but with its disk the key is lost together with all that it \
         opens, and HashiCorp's page on seals says that nothing brings that back, backups included;\n\
         - a host that the Vault stands on (its own, its hypervisor, the one that unseals it) whose own files or units hold \
         secrets, where the Vault is the only place that keeps secrets: rebuilt from nothing, each waits for the other.\n\n\
         Document 4 runs a second small Vault on another host for this, so that a reboot needs nobody and does not end in \
         a sealed Vault that nothing can read from. Document 0: keep secrets dependencies explicit.\n\n\
         The way out: `with:` another machine; and keep the few secrets of those hosts in a file, \
         `secrets: { age: secrets.yaml }`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    vault-01: { address: 10.0.20.60 }\nplatform:\n  secrets: { vault: { on: vault-01, unseal: transit, with: vault-01 } }",
            passes: "compute:\n  hosts:\n    vault-01: { address: 10.0.20.60 }\n    infra-01: { address: 10.0.20.61 }\nplatform:\n  secrets: { vault: { on: vault-01, unseal: transit, with: infra-01 } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let Some(secrets) = &parsed.lab.platform.secrets else { return };
        let Some(vault) = &secrets.vault else { return };
        let carried = case.carried();
        unseal(carried, vault, findings);
        if secrets.age.is_none() {
            own_secrets(carried, vault, findings);
        }
    }
}

fn unseal(carried: &Carried<'_>, vault: &Vault, findings: &mut Findings) {
    let (Some(on), Some(with)) = (&vault.on, &vault.with) else { return };
    let (severity, what) = if on.value == with.value {
        (Severity::Warning, "which is the host that it runs on: after a reboot both are sealed")
    } else if carried.topology.under(with).contains(&on.value.as_str()) {
        (by_tier(carried.production), "which is a guest of the Vault's own host: after a reboot both are sealed")
    } else if carried.topology.under(on).contains(&with.value.as_str()) {
        (Severity::Advice, "which is the hypervisor under it: one disk holds the key and all that it opens")
    } else {
        return;
    };
    let message = format!("the Vault on `{}` is unsealed with `{}`, {what}", on.value, with.value);
    let help = match carried.elsewhere(carried.machine(on)).filter(|to| *to != with.value) {
        Some(to) => format!("let another machine unseal it, for example `with: {to}`"),
        None => "let another machine unseal it: `with: HOST`".to_string(),
    };
    let at = "platform.secrets.vault.with".to_string();
    findings.push(told(CODE, severity, at, with.span, message, help).related(on.span, "where the Vault runs"));
}

fn own_secrets(carried: &Carried<'_>, vault: &Vault, findings: &mut Findings) {
    let parsed = carried.topology.parsed;
    let mut hosts: Vec<(&str, String)> = Vec::new();
    for (host, what) in [(&vault.on, "runs on it"), (&vault.with, "is unsealed by it")] {
        let Some(host) = host else { continue };
        hosts.push((host.value.as_str(), what.to_string()));
        let under = carried.topology.under(host);
        hosts.extend(under.into_iter().map(|machine| (machine, format!("stands on it, by `{}`", host.value))));
    }
    let mut seen = BTreeSet::new();
    hosts.retain(|(host, _)| seen.insert(*host) && !parsed.implied.iter().any(|implied| implied == host));
    let mut places: Vec<_> = hosts
        .into_iter()
        .map(|(host, what)| (format!("compute.hosts.{host}"), host, what, parsed.span_of(&["compute", "hosts", host])))
        .collect();
    // The server may be described as a service as well.
    for placement in vault.on.iter().flat_map(|on| carried.on(on)) {
        let service = placement.service.as_str();
        let entry = placement.entry.catalogue.as_ref().map_or(service, |entry| entry.value.as_str());
        if matches!(entry, "vault" | "openbao" | "hashicorp-vault") {
            let span = parsed.span_of(&["services", service]);
            places.push((format!("services.{service}"), service, "is that service".to_string(), span));
        }
    }
    let held = places.iter().filter_map(|(at, name, what, whole)| {
        let secret = parsed.secrets.iter().find(|secret| is_inside(secret.span, *whole))?;
        Some((at, *name, what, secret))
    });
    let held: Vec<_> = held.collect();
    let Some((at, name, what, secret)) = held.first() else { return };
    let message = format!(
        "`{name}` needs secret `{}`, and the only place that keeps secrets is the Vault, which {what}",
        secret.value
    );
    let help = "keep it in a file: `secrets: { age: secrets.yaml, vault: … }`".to_string();
    let mut finding = told(CODE, Severity::Warning, at.to_string(), secret.span, message, help);
    for (_, name, what, secret) in held.iter().skip(1).take(5) {
        finding = finding.related(secret.span, format!("so does `{name}`, and the Vault {what}"));
    }
    findings.push(finding);
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn who_unseals_it() {
        for with in ["vault-01", "inner", "pve", "pve-02", "infra"] {
            let lab = format!(
                "compute:\n  hosts:\n    pve: {{ address: 10.0.0.1 }}\n    pve-02: {{ address: 10.0.0.2 }}\n    vault-01: {{ address: 10.0.0.3, vm: {{ on: pve }} }}\n    inner: {{ address: 10.0.0.4, lxc: {{ on: vault-01 }} }}\n    infra: {{ address: 10.0.0.5, vm: {{ on: pve-02 }} }}\nplatform: {{ secrets: {{ vault: {{ on: vault-01, unseal: transit, with: {with} }} }} }}\n"
            );
            let golden = match with {
                "vault-01" => expect![[r#"
                    8:70 warning LW-PLT-011: the Vault on `vault-01` is unsealed with `vault-01`, which is the host that it runs on: after a reboot both are sealed
                        help: let another machine unseal it, for example `with: pve-02`
                        8:37: where the Vault runs
                "#]],
                "inner" => expect![[r#"
                    8:70 advice LW-PLT-011: the Vault on `vault-01` is unsealed with `inner`, which is a guest of the Vault's own host: after a reboot both are sealed
                        help: let another machine unseal it, for example `with: pve-02`
                        8:37: where the Vault runs
                "#]],
                "pve" => expect![[r#"
                    8:70 advice LW-PLT-011: the Vault on `vault-01` is unsealed with `pve`, which is the hypervisor under it: one disk holds the key and all that it opens
                        help: let another machine unseal it, for example `with: pve-02`
                        8:37: where the Vault runs
                "#]],
                _ => expect![[""]],
            };
            says(&lab, golden);
        }
    }

    #[test]
    fn hosts_under_the_vault_that_hold_secrets() {
        let hosts = r#"
owner: mia
compute:
  hosts:
    pve: { address: 10.0.0.1, files: { /etc/a: { content: "${secret.app}" } } }
    vault-01: { address: 10.0.0.3, vm: { on: pve }, files: { /etc/b: { content: "${secret.pg}" } } }
    other: { address: 10.0.0.4, files: { /etc/c: { content: "${secret.other}" } } }
services: { v: { use: vault, on: vault-01, restore_notes: "${secret.other}" } }
"#;
        says(
            &format!("{hosts}platform: {{ secrets: {{ vault: {{ on: vault-01 }} }} }}\n"),
            expect![[r#"
            6:82 warning LW-PLT-011: `vault-01` needs secret `pg`, and the only place that keeps secrets is the Vault, which runs on it
                help: keep it in a file: `secrets: { age: secrets.yaml, vault: … }`
                5:60: so does `pve`, and the Vault stands on it, by `vault-01`
                8:60: so does `v`, and the Vault is that service
        "#]],
        );
        says(
            &format!("{hosts}platform: {{ secrets: {{ age: secrets.yaml, vault: {{ on: vault-01 }} }} }}\n"),
            expect![[r#"
                9:29 warning LW-PLT-007: `secrets.yaml` has no recovery key: with the last admin's key, every secret is lost
                    help: `age-keygen -o recovery.txt`, keep that file offline, put the public half it prints under `platform: { secrets: { recovery: age1… } }`, then `labwright secret rekey`
            "#]],
        );
        says(
            &format!("{hosts}platform: {{ secrets: {{ vault: {{ url: \"https://vault.example\" }} }} }}\n"),
            expect![[""]],
        );
    }
}
