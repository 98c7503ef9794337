//! LW-DAT-002: a snapshot counted as a backup.

use labwright_model::lab::Repository;
use labwright_model::{Finding, Findings, Span};
use serde_json::Value;

use super::policies::used;
use crate::check::services::told::{at_tier, services};
use crate::check::{Case, Examples, Rule};

pub struct SnapshotAsBackup;

const CODE: &str = "LW-DAT-002";

impl Rule for SnapshotAsBackup {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a snapshot counted as a backup"
    }

    fn doc(&self) -> &'static str {
        "A repository is a place of snapshots: its path lies in `.zfs/snapshot`, `.snapshots` or `.snapshot`, it is a name \
         such as `tank/data@daily`, its address begins with `zfs:`, `btrfs:` or `lvm:`, or its settings name snapshots as \
         the method. A snapshot is quick and worth having before an update. It shares every block with what it was made \
         of: it goes with the disk, the pool, the hypervisor, and with whoever may delete the one. A hook that makes a \
         snapshot before a backup is no repository, and fine.\n\n\
         A warning where production is copied there, an error where it is copied nowhere else, and advice otherwise.\n\n\
         It comes from document 0, which asks for a clear distinction between snapshots and real backups. The manual of \
         OpenZFS says the same in its way (`zfsconcepts(7)`): a snapshot has no store of its own, and takes its space from \
         the pool of what it was made of.\n\n\
         The way out: a repository in files, on another machine; keep the snapshots beside it, outside `protection`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute: { hosts: { nas-01: { address: 10.0.20.5 } } }\nprotection:\n  repositories: { daily: { on: nas-01, path: /tank/photos/.zfs/snapshot } }\n  policies: { nightly: { to: daily } }",
            passes: "compute: { hosts: { nas-01: { address: 10.0.20.5 } } }\nprotection:\n  repositories: { daily: { on: nas-01, path: /backup/photos } }\n  policies: { nightly: { to: daily } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let repositories = &parsed.lab.protection.repositories;
        if !repositories.values().any(|repository| is_snapshot(repository)) {
            return;
        }
        let used = used(parsed);
        for (name, repository) in repositories.iter() {
            let Some((what, span)) = says(repository) else { continue };
            let policies = || used.iter().filter(|policy| policy.to.iter().any(|(to, _)| to.value == **name));
            let production = policies().any(|policy| policy.is_production());
            let alone: Vec<&str> =
                policies().filter(|policy| policy.is_snapshots()).flat_map(|policy| policy.services()).collect();
            let nothing_else = policies().any(|policy| policy.is_production() && policy.is_snapshots());
            let at = format!("protection.repositories.{name}");
            let no_other = match alone.is_empty() {
                true => String::new(),
                false => format!(", and {} no other copy", has(&alone)),
            };
            let message =
                format!("repository `{name}` is snapshots ({what}): they go with the disk that they are on{no_other}");
            let span = if span.is_none() { repository.span } else { span };
            let finding = match nothing_else {
                true => Finding::error(CODE, at, span, message),
                false => Finding::warning(CODE, at, span, message),
            };
            let finding = finding.help(
                "write backups to a path on another machine, or to a `url`; snapshots may stay, but not as a repository",
            );
            findings.push(at_tier(production, finding));
        }
    }
}

/// "service `a` has", "services `a` and `b` have".
fn has(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "has" } else { "have" };
    format!("{} {verb}", services(names))
}

pub fn is_snapshot(repository: &Repository) -> bool {
    says(repository).is_some()
}

/// What says that a repository is snapshots, and where.
fn says(repository: &Repository) -> Option<(String, Span)> {
    if let Some(path) = &repository.path {
        let folder = path.split('/').any(|part| matches!(part, ".zfs" | ".snapshots" | ".snapshot"));
        let dataset = !path.starts_with('/') && path.contains('/') && path.contains('@');
        if folder || dataset {
            return Some((format!("`{}`", path.value), path.span));
        }
    }
    if let Some(url) = &repository.url
        && ["zfs:", "btrfs:", "lvm:"].iter().any(|scheme| url.starts_with(scheme))
    {
        return Some((format!("`{}`", url.value), url.span));
    }
    let settings = repository.settings.0.as_object()?;
    let method = |key: &str| matches!(key, "type" | "kind" | "method" | "mode" | "backend" | "driver" | "engine");
    let snapshot = |value: &Value| value.as_str().is_some_and(|text| text.to_lowercase().contains("snapshot"));
    let (key, value) = settings.iter().find(|(key, value)| method(key) && snapshot(value))?;
    Some((format!("`{key}: {}`", value.as_str().unwrap_or_default()), Span::NONE))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn snapshots_are_known_by_their_paths() {
        says(
            r#"
owner: me
compute: { hosts: { nas: { address: 10.0.0.1 }, d-01: { address: 10.0.0.2 } } }
protection:
  repositories:
    zfs: { on: nas, path: /tank/x/.zfs/snapshot/daily }
    name: { on: nas, path: "tank/x@daily" }
    url: { url: "lvm:vg/root" }
    method: { on: nas, path: /x, settings: { method: btrfs-snapshot } }
    plain: { on: nas, path: /srv/snapshots-of-lab, settings: { snapshot: true } }
    login: { url: "u@example.org:/x" }
  policies:
    one: { to: [zfs, plain, login], drill: weekly }
    rest: { to: [name, url, method], drill: weekly }
services:
  a: { use: immich, on: d-01, backup: one, tier: production }
"#,
            expect![[r#"
                6:27 warning LW-DAT-002: repository `zfs` is snapshots (`/tank/x/.zfs/snapshot/daily`): they go with the disk that they are on
                    help: write backups to a path on another machine, or to a `url`; snapshots may stay, but not as a repository
                7:28 advice LW-DAT-002: repository `name` is snapshots (`tank/x@daily`): they go with the disk that they are on
                    help: write backups to a path on another machine, or to a `url`; snapshots may stay, but not as a repository
                8:17 advice LW-DAT-002: repository `url` is snapshots (`lvm:vg/root`): they go with the disk that they are on
                    help: write backups to a path on another machine, or to a `url`; snapshots may stay, but not as a repository
                9:5 advice LW-DAT-002: repository `method` is snapshots (`method: btrfs-snapshot`): they go with the disk that they are on
                    help: write backups to a path on another machine, or to a `url`; snapshots may stay, but not as a repository
                14:5 advice LW-DAT-009: no service and no host names backup policy `rest`
                    help: add `backup: rest` to the services that it is meant for, or take it out
            "#]],
        );
    }
}
