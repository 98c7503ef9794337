//! LW-PLT-012: backups that cannot be opened without what they restore.

use std::collections::BTreeMap;
use std::net::IpAddr;

use labwright_model::lab::{Host, Repository};
use labwright_model::{Findings, Parsed, Placement, Span, Spanned, reference};

use crate::check::compute::carried::{Carried, by_tier, is_production, list, told};
use crate::check::{Examples, Rule};

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
        "On the day a backup is needed, something is gone. The backup must not need just that:\n\n\
         - the passphrase of a repository is a secret, the only place that keeps secrets is a Vault in the lab, and \
         services are backed up to no repository that opens without it. When the Vault's machine is lost, the copies are \
         there and closed, the Vault's own among them;\n\
         - the path of a repository lies on a mount from the host whose services are backed up to it, and to nowhere else: \
         the copy is where the original was.\n\n\
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

    fn check(&self, parsed: &Parsed, findings: &mut Findings) {
        let protection = &parsed.lab.protection;
        if protection.repositories.is_empty() {
            return;
        }
        let carried = Carried::of(parsed);
        let mut kept: BTreeMap<&str, Vec<&Placement>> = BTreeMap::new();
        for placement in &parsed.placements {
            if let Some(policy) = placement.entry.backup.as_ref().and_then(|backup| backup.policy.as_ref()) {
                kept.entry(policy.value.as_str()).or_default().push(placement);
            }
        }
        passphrases(&carried, &kept, findings);
        mounts(&carried, &kept, findings);
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
        let production = placements.iter().any(|placement| is_production(placement));
        let at = format!("protection.repositories.{name}.passphrase");
        let mut finding =
            told(CODE, by_tier(production), at, span, message, help).related(vault.span, "where the Vault is");
        let there = placements.iter().find(|placement| placement.entry.on.iter().any(|on| on.value == vault.value));
        if let Some(placement) = there {
            let place = parsed.lab.services.get(&placement.service).map_or(Span::NONE, |service| service.span);
            finding = finding.related(place, format!("`{}` of that host is backed up there", placement.service));
        }
        findings.push(finding);
    }
}

fn mounts(carried: &Carried<'_>, kept: &Kept<'_>, findings: &mut Findings) {
    let parsed = carried.topology.parsed;
    let hosts = parsed.lab.compute.hosts.iter();
    let addresses: Addresses<'_> =
        hosts.flat_map(|(name, host)| host.address.iter().map(|own| (own.value, name.as_str()))).collect();
    // By repository and server: where it is said, and the services that would be lost with their copies.
    let mut told_of: BTreeMap<(&str, &str), (Span, Vec<&Placement>)> = BTreeMap::new();
    for (policy, placements) in kept {
        let to = repositories(parsed, policy);
        let servers: Vec<_> =
            to.iter().map(|(name, repository)| Some((*name, server_of(parsed, &addresses, repository)?))).collect();
        let Some(Some((name, (server, mount)))) = servers.first() else { continue };
        if servers.iter().any(|other| other.as_ref().is_none_or(|(_, (other, _))| other != server)) {
            continue;
        }
        let lost = placements.iter().filter(|placement| {
            let on = &placement.entry.on;
            !on.is_empty()
                && on
                    .iter()
                    .all(|host| host.value == *server || holds_data(parsed, &addresses, &host.value, placement, server))
        });
        told_of.entry((name, server)).or_insert((mount.span, Vec::new())).1.extend(lost);
    }
    for ((name, server), (span, placements)) in
        told_of.into_iter().filter(|(_, (_, placements))| !placements.is_empty())
    {
        let services = list(placements.iter().map(|placement| placement.service.as_str()));
        let verb = if placements.len() == 1 { "is" } else { "are" };
        let message = format!(
            "repository `{name}` is on a mount from `{server}`, where the data of {services} {verb}: they are lost together"
        );
        let help = format!("add a repository that stands elsewhere to the policy: `to: [{name}, OFFSITE]`");
        let production = placements.iter().any(|placement| is_production(placement));
        let mut finding =
            told(CODE, by_tier(production), format!("protection.repositories.{name}"), span, message, help);
        if let Some(repository) = parsed.lab.protection.repositories.get(name) {
            finding = finding.related(repository.span, "the repository");
        }
        findings.push(finding);
    }
}

/// The hosts of the lab, by their addresses.
type Addresses<'a> = BTreeMap<IpAddr, &'a str>;

/// The host that a repository's path is mounted from, and the mount.
fn server_of<'a>(
    parsed: &'a Parsed,
    addresses: &Addresses<'a>,
    repository: &'a Repository,
) -> Option<(&'a str, &'a Spanned<String>)> {
    let host = parsed.lab.host(repository.on.as_ref()?)?;
    mounted_from(parsed, addresses, host, repository.path.as_ref()?)
}

/// The host of the lab whose export a path lies on, and where that is said.
fn mounted_from<'a>(
    parsed: &'a Parsed,
    addresses: &Addresses<'a>,
    host: &'a Host,
    path: &str,
) -> Option<(&'a str, &'a Spanned<String>)> {
    let above = |mount: &str| {
        let rest = path.strip_prefix(mount.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mounts = host.mounts.iter().filter(|(mount, _)| above(mount));
    let (_, mount) = mounts.max_by_key(|(mount, _)| mount.len())?;
    let nfs = mount.nfs.as_ref()?;
    let (server, _) = nfs.split_once(":/")?;
    let named = parsed.lab.compute.hosts.get_key_value(server).map(|(name, _)| name.as_str());
    let by_address = || addresses.get(&server.trim_matches(['[', ']']).parse().ok()?).copied();
    Some((named.or_else(by_address)?, nfs))
}

/// Whether all that a service keeps by path lies on exports of one host.
fn holds_data(parsed: &Parsed, addresses: &Addresses<'_>, host: &str, placement: &Placement, server: &str) -> bool {
    let data = &placement.entry.data;
    let Some(host) = parsed.lab.host(host) else { return false };
    let there =
        |path: &Spanned<String>| mounted_from(parsed, addresses, host, path).is_some_and(|(from, _)| from == server);
    !data.is_empty() && data.iter().all(there)
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
  bao: { run: bao, on: vault-01, backup: nightly }
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
                    5:3: `bao` of that host is backed up there
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
        let outside = "platform: { secrets: { vault: { url: \"https://vault.example\" } } }\n";
        says(&format!("{lab}{outside}"), expect![[""]]);
    }

    #[test]
    fn a_copy_on_the_nas_that_it_protects() {
        says(
            r#"
compute:
  hosts:
    nas: { address: 10.0.0.3 }
    backup: { address: 10.0.0.4, mounts: { /srv: "10.0.0.3:/volume1/backup", /srv/usb: { device: LABEL=usb, fstype: ext4 } } }
    app: { address: 10.0.0.5, mounts: { /mnt/media: "nas:/volume1/media" } }
services:
  files: { run: files, on: nas, backup: nightly }
  media: { run: media, on: app, data: [/mnt/media/films], backup: nightly }
  wiki: { run: wiki, on: app, data: [/var/lib/wiki], backup: nightly }
  safe: { run: safe, on: nas, backup: both }
  usb: { run: usb, on: nas, backup: usb }
protection:
  repositories: { near: { on: backup, path: /srv/lab }, far: { url: "s3:x" }, stick: { on: backup, path: /srv/usb/lab } }
  policies: { nightly: { to: near }, both: { to: [near, far] }, usb: { to: stick } }
"#,
            expect![[r#"
                5:50 advice LW-PLT-012: repository `near` is on a mount from `nas`, where the data of `files` and `media` are: they are lost together
                    help: add a repository that stands elsewhere to the policy: `to: [near, OFFSITE]`
                    14:19: the repository
            "#]],
        );
    }
}
