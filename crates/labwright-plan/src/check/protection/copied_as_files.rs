//! LW-DAT-012: a database that is copied as files while it runs.

use std::collections::BTreeMap;

use labwright_model::{Finding, Findings, Placement, Span};

use super::policies::of;
use crate::application;
use crate::check::containers::{Container, Mounted, containers};
use crate::check::services::told::{at_tier, distinct, is_production, services};
use crate::check::{Case, Examples, Rule};

pub struct CopiedAsFiles;

const CODE: &str = "LW-DAT-012";
/// Databases whose files are of use only as they all were at one moment.
const DATABASES: &[&str] = &["postgres", "mariadb", "mysql", "mongo", "mongodb", "mssql"];

impl Rule for CopiedAsFiles {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a database copied as files while it runs"
    }

    fn doc(&self) -> &'static str {
        "A service's own `backup` copies the volume or folder that its database writes to, and nothing says that the database is \
         dumped or stopped first. A backup takes minutes, and the files change under it: what is restored is a mixture of \
         moments that the database may refuse to start from, and nobody notices before that day.\n\n\
         Looked at are containers with the image of PostgreSQL, MariaDB, MySQL, MongoDB or SQL Server whose files are \
         among `data`. A `dump`, this service's or another's that names it, and `hooks` of the backup are an answer. \
         Where the whole machine is copied (`backup` of its host) nothing is said: hypervisors copy a disk as it was at one moment.\n\n\
         It is a warning for production, and advice otherwise; told once for each policy.\n\n\
         PostgreSQL's manual (https://www.postgresql.org/docs/current/backup-file.html): \"the database server must be shut \
         down in order to get a usable backup\". Document 0 asks for restore validation, which is where it would be found.\n\n\
         The way out: `backup: { policy: nightly, dump: { NAME: { service: SERVICE, database: NAME } } }`, or stop it around the \
         copy with `hooks`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute: { hosts: { app: { address: 10.0.0.1 }, nas: { address: 10.0.0.2 } } }\nprotection:\n  repositories: { nas: { on: nas, path: /backup } }\n  policies: { nightly: { to: nas, drill: weekly } }\nservices:\n  wiki-database:\n    on: app\n    containers: { db: { image: \"postgres:17.6\", volumes: [\"pgdata:/var/lib/postgresql/data\"] } }\n    data: [pgdata]\n    backup: nightly",
            passes: "compute: { hosts: { app: { address: 10.0.0.1 }, nas: { address: 10.0.0.2 } } }\nprotection:\n  repositories: { nas: { on: nas, path: /backup } }\n  policies: { nightly: { to: nas, drill: weekly } }\nservices:\n  wiki-database:\n    on: app\n    containers: { db: { image: \"postgres:17.6\", volumes: [\"pgdata:/var/lib/postgresql/data\"] } }\n    data: [pgdata]\n    backup: { policy: nightly, dump: { wiki: { service: wiki-database, database: wiki } } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let dumped = |service: &str| {
            let mut dumps = parsed.placements.iter().flat_map(|placement| {
                placement
                    .entry
                    .backup
                    .iter()
                    .flat_map(move |backup| backup.dump.values().map(move |dump| (placement, dump)))
            });
            dumps.any(|(placement, dump)| match &dump.service {
                Some(of) => of.value == service,
                None => placement.service == service,
            })
        };
        let mut copied: BTreeMap<&str, Vec<(&Placement, &str, Span)>> = BTreeMap::new();
        for placement in &parsed.placements {
            let Some(backup) = &placement.entry.backup else { continue };
            let hooks = &backup.hooks;
            if !hooks.before.is_empty() || !hooks.success.is_empty() || !hooks.after.is_empty() {
                continue;
            }
            let Some(policy) = of(parsed, placement) else { continue };
            let mut databases = containers(parsed, placement).filter(|one| is_copied(placement, one));
            let Some(container) = databases.next().filter(|_| !dumped(&placement.service)) else { continue };
            copied.entry(&policy.value).or_default().push((placement, container.name, policy.span));
        }
        for (policy, found) in copied {
            let names = distinct(found.iter().map(|(placement, ..)| *placement));
            let Some((first, container, span)) = found.first() else { continue };
            let service = &first.service;
            let message = match names.len() {
                1 => format!(
                    "the database of {} (container `{container}`) is copied as files while it runs",
                    services(&names)
                ),
                _ => format!("the databases of {} are copied as files while they run", services(&names)),
            };
            let help = format!(
                "dump it first, in `{service}`: `backup: {{ policy: {policy}, dump: {{ NAME: {{ service: {service}, database: NAME }} }} }}`; \
                 or stop it around the copy: `hooks: {{ before: …, after: … }}`"
            );
            let production = found.iter().any(|(placement, ..)| is_production(placement));
            let at = format!("services.{service}.backup");
            let mut finding = Finding::warning(CODE, at, *span, message).help(help);
            for (_, _, place) in found.iter().skip(1).filter(|(other, ..)| other.service != *service).take(5) {
                finding = finding.related(*place, "so is this one's");
            }
            findings.push(at_tier(production, finding));
        }
    }
}

/// Whether a container is a database whose files are among what its service's backup takes.
fn is_copied(placement: &Placement, container: &Container<'_>) -> bool {
    let Some(image) = container.image() else { return false };
    if !DATABASES.contains(&application::of_image(image.repository).as_str()) {
        return false;
    }
    let data = &placement.entry.data;
    container.writable().any(|mounted| match mounted {
        Mounted::Volume(volume) => data.iter().any(|one| one.value == volume),
        Mounted::Path(path, _) => data.iter().any(|one| {
            let folder = one.value.trim_end_matches('/');
            path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
        }),
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn databases_among_the_data() {
        let lab = |services: &str| {
            format!(
                "owner: me\ncompute: {{ hosts: {{ app: {{ address: 10.0.0.1 }}, nas: {{ address: 10.0.0.2 }} }} }}\nprotection: {{ repositories: {{ nas: {{ on: nas, path: /b }} }}, policies: {{ n: {{ to: nas, drill: weekly }} }}, offline: {{ usb: {{ label: x, every: 6 months, last: 2026-10-01 }} }} }}\nservices:\n{services}"
            )
        };
        let db = "db: { image: \"postgres:17\", volumes: [\"pgdata:/var/lib/postgresql/data\"] }";
        says(
            &lab(&format!(
                "  one: {{ on: app, containers: {{ {db} }}, data: [pgdata], backup: n }}\n  two: {{ on: app, containers: {{ x: {{ image: \"linuxserver/mariadb:11\", volumes: [\"/srv/two/db:/config\"] }} }}, data: [/srv/two], backup: n }}\n"
            )),
            expect![[r#"
                5:135 advice LW-DAT-012: the databases of services `one` and `two` are copied as files while they run
                    help: dump it first, in `one`: `backup: { policy: n, dump: { NAME: { service: one, database: NAME } } }`; or stop it around the copy: `hooks: { before: …, after: … }`
                    6:135: so is this one's
            "#]],
        );
        for (data, backup) in [
            ("data: [files]", "n"),
            ("data: [pgdata]", "{ policy: n, dump: { a: { database: a } } }"),
            ("data: [pgdata]", "{ policy: n, hooks: { before: stop, after: start } }"),
        ] {
            says(
                &lab(&format!("  one: {{ on: app, containers: {{ {db} }}, {data}, backup: {backup} }}\n")),
                expect![[""]],
            );
        }
        let other = format!(
            "  one: {{ on: app, containers: {{ {db} }}, data: [pgdata], backup: n }}\n  wiki: {{ run: wiki, on: app, data: [/srv/wiki], backup: {{ policy: n, dump: {{ a: {{ service: one }} }} }} }}\n"
        );
        says(&lab(&other), expect![[""]]);
    }
}
