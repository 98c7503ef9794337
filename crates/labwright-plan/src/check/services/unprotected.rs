//! LW-SVC-002: data that nothing backs up.

use std::collections::BTreeSet;

use labwright_model::{Finding, Findings, Parsed, Placement};

use super::state::{State, dumped, state};
use super::told::{at_tier, distinct, fold, is_production, place, place_in, places, quoted, services};
use crate::check::protection::into_itself::keeps_any as keeps_copies;
use crate::check::protection::policies::is_copied;
use crate::check::{Case, Examples, Rule};

pub struct Unprotected;

const CODE: &str = "LW-SVC-002";

impl Rule for Unprotected {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "data that nothing backs up"
    }

    fn doc(&self) -> &'static str {
        "A service keeps data and no policy copies it away. Its data is known from `data`, from a volume with a name that \
         one of its containers writes to, or because the application is known for what people put into it: \
         `use: immich`, or a container of such an image that writes to a folder of its host. A volume that is only read, \
         and one that is called a cache, is not meant. A database that \
         another service's `backup: { dump: … }` covers is protected, and so is what runs on machines that are copied whole \
         (`backup` of a host). A `backup` that names no policy never runs, and is told as well.\n\n\
         In production this is a warning for each service. In the lab tier all of them are one piece of advice, and \
         only where the lab makes backups at all or says `data`; what a `seed` fills again may be lost there.\n\n\
         It comes from document 2: who runs a machine answers for backup and recovery from level 2 on, and its first \
         question is whether the system could be restored if it failed tomorrow; it names \"it is not production\" as the \
         usual reason for backups that are missing. Document 0 asks for an inventory with backup coverage.\n\n\
         The way out: `backup: POLICY`. What may be lost says so: `data: []` where there is none, or an acceptance with \
         its reason."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute: { hosts: { docker-01: { address: 10.0.20.21 }, nas-01: { address: 10.0.20.5 } } }\nprotection:\n  repositories: { nas: { on: nas-01, path: /backup } }\n  policies: { nightly: { to: nas } }\nservices:\n  postgres: { containers: { db: { image: \"postgres:16.4\", volumes: [\"pgdata:/var/lib/postgresql/data\"] } }, on: docker-01 }",
            passes: "compute: { hosts: { docker-01: { address: 10.0.20.21 }, nas-01: { address: 10.0.20.5 } } }\nprotection:\n  repositories: { nas: { on: nas-01, path: /backup } }\n  policies: { nightly: { to: nas } }\nservices:\n  postgres: { containers: { db: { image: \"postgres:16.4\", volumes: [\"pgdata:/var/lib/postgresql/data\"] } }, on: docker-01, backup: nightly }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let policies = &parsed.lab.protection.policies;
        let dumped = dumped(parsed);
        let mut told: BTreeSet<&str> = BTreeSet::new();
        let mut lab: Vec<&Placement> = Vec::new();
        for placement in &parsed.placements {
            let (name, entry) = (placement.service.as_str(), &placement.entry);
            if entry.external.is_some() {
                continue;
            }
            let production = is_production(placement);
            match &entry.backup {
                Some(backup) if backup.policy.is_some() => continue,
                Some(_) if told.insert(name) => findings.push(at_tier(production, never_runs(parsed, placement))),
                Some(_) => {}
                // What keeps a repository has nothing but copies.
                None if keeps_copies(parsed, placement) => {}
                None if dumped.contains(name) || told.contains(name) || is_copied(parsed, placement) => {}
                None => match state(parsed, placement) {
                    State::Catalogue | State::Nothing | State::Unknown => {}
                    state if production => {
                        told.insert(name);
                        findings.push(unprotected(parsed, name, &state));
                    }
                    _ if !entry.seed.is_empty() => {}
                    State::Declared(_) => lab.push(placement),
                    State::Volume(_) | State::Folder(_) | State::Application(_) if !policies.is_empty() => {
                        lab.push(placement)
                    }
                    State::Volume(_) | State::Folder(_) | State::Application(_) => {}
                },
            }
        }
        lab.retain(|placement| !told.contains(placement.service.as_str()));
        let lab = places(parsed, &distinct(lab));
        findings.extend(fold(parsed, CODE, &lab, "and here", |names, span| {
            let verb = if names.len() == 1 { "keeps" } else { "keep" };
            let message = format!("{} {verb} data that nothing backs up", services(names));
            Finding::advice(CODE, format!("services.{}", names[0]), span, message).help(help(parsed))
        }));
    }
}

fn unprotected(parsed: &Parsed, name: &str, state: &State<'_>) -> Finding {
    let what = match state {
        State::Declared(data) => format!("keeps data ({})", quoted(data)),
        State::Volume(volume) => format!("keeps data in volume `{volume}`"),
        State::Folder(folder) if folder.starts_with('/') => format!("keeps data in `{folder}`"),
        State::Folder(folder) => format!("keeps data in `./{folder}`"),
        State::Application(application) => format!("keeps the data of `{application}`"),
        State::Catalogue | State::Nothing | State::Unknown => "keeps data".to_string(),
    };
    let message = format!("production service `{name}` {what}, and nothing backs it up");
    Finding::warning(CODE, format!("services.{name}.backup"), place(parsed, name), message).help(help(parsed))
}

fn never_runs(parsed: &Parsed, placement: &Placement) -> Finding {
    let name = &placement.service;
    let span = place_in(parsed, placement, &["backup"]);
    let message = format!("the backup of service `{name}` names no policy, so it never runs");
    let help = format!("add `policy: {}` to it", policy(parsed));
    Finding::warning(CODE, format!("services.{name}.backup"), span, message).help(help)
}

fn policy(parsed: &Parsed) -> &str {
    parsed.lab.protection.policies.keys().next().map_or("POLICY", String::as_str)
}

fn help(parsed: &Parsed) -> String {
    let may_be_lost = format!("what may be lost says so: `# labwright: allow {CODE} because …`");
    match parsed.lab.protection.policies.is_empty() {
        false => format!("add `backup: {}`; {may_be_lost}", policy(parsed)),
        true => format!(
            "declare a policy, `protection: {{ policies: {{ nightly: {{ schedule: \"03:15\", to: … }} }} }}`, and add \
             `backup: nightly`; {may_be_lost}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn what_is_known_to_keep_data_and_what_is_not() {
        says(
            r#"
owner: me
compute: { hosts: { d-01: { address: 10.0.0.1 }, nas: { address: 10.9.0.1, site: away }, b: { address: 10.9.0.2, site: else } } }
protection:
  repositories: { r: { on: nas, path: /r }, s: { url: "s3:https://s3.example.net/x" } }
  policies: { nightly: { to: [r, s], drill: weekly } }
services:
  declared: { compose: c.yaml, on: d-01, data: [files] }
  volume: { containers: { a: { image: "a:1", volumes: ["vv:/v"] } }, on: d-01 }
  long: { containers: { a: { image: "a:1", volumes: [{ type: volume, source: vv, target: /v }] } }, on: d-01 }
  known: { use: immich, on: d-01 }
  aside: { use: immich, on: d-01 } # labwright: allow LW-SVC-002 because it is a trial
  nothing: { use: immich, on: d-01, data: [] }
  unknown: { use: something, on: d-01 }
  bind: { containers: { a: { image: "a:1", volumes: ["/srv/a:/a"] } }, on: d-01 }
  folder: { containers: { a: { image: "ghcr.io/paperless-ngx/paperless-ngx:2.18", volumes: ["/opt/p/media:/m"] } }, on: d-01 }
  read: { containers: { a: { image: "ghcr.io/paperless-ngx/paperless-ngx:2.18", volumes: ["/opt/p/media:/m:ro"] } }, on: d-01 }
  settings: { containers: { a: { image: "postgres:16", volumes: ["./init.sql:/docker-entrypoint-initdb.d/init.sql", "./certs:/certs"] } }, on: d-01 }
  emptied: { containers: { a: { image: "vaultwarden/server:1", volumes: ["./vw:/data"] } }, on: d-01, data: [] }
  file: { compose: folder/compose.yaml, on: d-01 }
  cache: { containers: { a: { image: "a:1", volumes: ["build-cache:/c", "lists:/l:ro", "/anonymous"] } }, on: d-01 }
  seeded: { compose: c.yaml, on: d-01, data: [files], seed: [dump.sql] }
  saas: { external: x, data: [files] }
  covered: { compose: c.yaml, on: d-01, data: [files], backup: nightly }
  db: { use: postgres, on: d-01 }
  app: { use: x, on: d-01, needs: [db], backup: { policy: nightly, dump: { db: { service: db } } } }
  never: { compose: c.yaml, on: d-01, backup: { dump: { db: { service: db } } }, needs: [db] }
  accepted: { use: forgejo, on: d-01, tier: production, restore_notes: none } # labwright: allow LW-SVC-002 because it is a mirror
"#,
            expect![[r#"
                8:3 advice LW-SVC-002: services `declared`, `volume`, `long` and 3 more keep data that nothing backs up
                    help: add `backup: nightly`; what may be lost says so: `# labwright: allow LW-SVC-002 because …`
                    9:3: and here
                    10:3: and here
                    11:3: and here
                    16:3: and here
                    20:3: and here
                27:47 advice LW-SVC-002: the backup of service `never` names no policy, so it never runs
                    help: add `policy: nightly` to it
            "#]],
        );
    }

    #[test]
    fn production_is_told_service_by_service() {
        says(
            r#"
owner: me
compute: { hosts: { d-01: { address: 10.0.0.1 } } }
environments: [dev, prod]
services:
  a: { use: immich, on: d-01, tier: production }
  b: { containers: { db: { image: "x:1@sha256:0", volumes: ["pg:/p"] } }, on: d-01, tier: production, probe: /, restore_notes: x }
  c: { use: y, on: d-01, data: [one, two, three, four], environments: { dev:, prod: { tier: production } } }
  d: { use: z, on: d-01, tier: production, backup: { exclude: [x] } }
  e: { containers: { vw: { image: "vaultwarden/server:1@sha256:0", volumes: ["./vw:/data"] } }, on: d-01, tier: production, probe: /, restore_notes: x }
"#,
            expect![[r#"
                6:3 warning LW-SVC-002: production service `a` keeps the data of `immich`, and nothing backs it up
                    help: declare a policy, `protection: { policies: { nightly: { schedule: "03:15", to: … } } }`, and add `backup: nightly`; what may be lost says so: `# labwright: allow LW-SVC-002 because …`
                7:3 warning LW-SVC-002: production service `b` keeps data in volume `pg`, and nothing backs it up
                    help: declare a policy, `protection: { policies: { nightly: { schedule: "03:15", to: … } } }`, and add `backup: nightly`; what may be lost says so: `# labwright: allow LW-SVC-002 because …`
                8:3 warning LW-SVC-002: production service `c` keeps data (`one`, `two`, `three` and 1 more), and nothing backs it up
                    help: declare a policy, `protection: { policies: { nightly: { schedule: "03:15", to: … } } }`, and add `backup: nightly`; what may be lost says so: `# labwright: allow LW-SVC-002 because …`
                9:52 warning LW-SVC-002: the backup of service `d` names no policy, so it never runs
                    help: add `policy: POLICY` to it
                10:3 warning LW-SVC-002: production service `e` keeps data in `./vw`, and nothing backs it up
                    help: declare a policy, `protection: { policies: { nightly: { schedule: "03:15", to: … } } }`, and add `backup: nightly`; what may be lost says so: `# labwright: allow LW-SVC-002 because …`
            "#]],
        );
    }

    #[test]
    fn a_lab_without_backups_hears_only_of_what_it_calls_data() {
        says(
            r#"
compute: { hosts: { d-01: { address: 10.0.0.1 } } }
services:
  known: { use: immich, on: d-01 }
  volume: { containers: { a: { image: "a:1", volumes: ["vv:/v"] } }, on: d-01 }
  declared: { compose: c.yaml, on: d-01, data: [files] }
"#,
            expect![[r#"
                6:3 advice LW-SVC-002: service `declared` keeps data that nothing backs up
                    help: declare a policy, `protection: { policies: { nightly: { schedule: "03:15", to: … } } }`, and add `backup: nightly`; what may be lost says so: `# labwright: allow LW-SVC-002 because …`
            "#]],
        );
    }
}
