//! LW-DAT-011: backups that whoever has the disk can read.

use labwright_model::lab::{Engine, Repository, ZoneKind};
use labwright_model::{Finding, Findings};

use super::places::Place;
use super::policies::used;
use crate::check::services::told::{at_tier, services};
use crate::check::{Case, Examples, Rule};

pub struct Unencrypted;

const CODE: &str = "LW-DAT-011";

impl Rule for Unencrypted {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a backup that is not encrypted"
    }

    fn doc(&self) -> &'static str {
        "A repository is made so that its content is not encrypted: borg's `encryption: none`, or `authenticated`, which signs \
         and hides nothing. A backup holds all that the services hold, passwords and keys among it. Whoever runs the machine \
         that it is on, breaks into it, or gets the disk when it is sent in for repair, reads it all without touching the \
         lab.\n\n\
         It is a warning where the repository is with somebody else, at another site than what it copies, or in a zone of \
         guests, devices or of what the internet reaches. On a machine of the same place it is advice: there it is as safe as \
         the disk. Only what the file says is judged: restic and Labwright's own engine encrypt always, and a borg \
         repository whose `settings` do not say `encryption` is not known. A repository that nothing is copied to is not \
         judged either.\n\n\
         It comes from borg's own manual (https://borgbackup.readthedocs.io/en/1.1.16/usage/init.html): \"it is not \
         recommended to work without encryption\", which protects against an attacker who has access to the repository; and from document 3, which keeps nothing of its data \
         where others could read it.\n\n\
         The way out: borg cannot encrypt what is there already. Make a new repository, `borg init --encryption \
         repokey-blake2`, write `encryption: repokey-blake2` and a `passphrase` that is a secret, and remove the old one when \
         the new one is proven."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "owner: operator\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nprotection:\n  repositories: { offsite: { url: \"ssh://u1@u1.example.net:23/./lab\", engine: borg, settings: { encryption: none } } }\n  policies: { nightly: { to: offsite, drill: weekly } }\nservices:\n  photos: { use: immich, on: docker-01, tier: production, backup: nightly }",
            passes: "owner: operator\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nprotection:\n  repositories: { offsite: { url: \"ssh://u1@u1.example.net:23/./lab\", engine: borg, settings: { encryption: repokey-blake2 } } }\n  policies: { nightly: { to: offsite, drill: weekly } }\nservices:\n  photos: { use: immich, on: docker-01, tier: production, backup: nightly }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let repositories = &parsed.lab.protection.repositories;
        if !repositories.values().any(|repository| says_no_encryption(repository).is_some()) {
            return;
        }
        let used = used(parsed);
        for (name, repository) in repositories.iter() {
            let Some(set) = says_no_encryption(repository) else { continue };
            let policies = used.iter().filter(|policy| policy.to.iter().any(|(to, _)| to.value == *name));
            let placements: Vec<_> = policies.flat_map(|policy| policy.placements.iter().copied()).collect();
            if placements.is_empty() {
                continue;
            }
            let production = placements.iter().any(|one| crate::check::services::told::is_production(one));
            let data = placements.iter().flat_map(|one| one.entry.on.iter()).map(|on| on.value.as_str());
            let where_it_is = foreign(case, repository, data);
            let whose = services(&crate::check::services::told::distinct(placements.iter().copied()));
            let message = match &where_it_is {
                Some(place) => format!(
                    "repository `{name}` is {place}, not encrypted (`encryption: {set}`): whoever gets at it reads \
                     {whose}"
                ),
                None => format!(
                    "repository `{name}` is not encrypted (`encryption: {set}`): whoever gets its disk reads {whose}"
                ),
            };
            let help = format!(
                "make a new one with `borg init --encryption repokey-blake2`, and write here `passphrase: \
                 \"${{secret.{}}}\", settings: {{ encryption: repokey-blake2 }}`; borg cannot encrypt the old one",
                name.replace('-', "_")
            );
            let span = parsed.span_of(&["protection", "repositories", name, "settings", "encryption"]);
            let finding =
                Finding::warning(CODE, format!("protection.repositories.{name}.settings"), span, message).help(help);
            // With somebody else an experiment's passwords are as readable as any.
            findings.push(at_tier(production && where_it_is.is_some() || is_away(case, repository), finding));
        }
    }
}

/// The setting by which a repository is not encrypted. Restic has none.
pub fn says_no_encryption(repository: &Repository) -> Option<&str> {
    let set = repository.settings.0.get("encryption")?.as_str()?;
    Some(set).filter(|set| {
        repository.engine == Engine::Borg && ["none", "authenticated", "authenticated-blake2"].contains(set)
    })
}

fn is_away(case: &Case<'_>, repository: &Repository) -> bool {
    match case.places().repository(repository) {
        Place::Away => true,
        Place::Host(host) => case.parsed.lab.host(host).is_some_and(|host| host.provider.is_some()),
        Place::Unknown => false,
    }
}

/// Where a repository is, in words, if others than the lab's own people may get at it.
fn foreign<'n>(case: &Case<'_>, repository: &Repository, mut data: impl Iterator<Item = &'n str>) -> Option<String> {
    let places = case.places();
    match places.repository(repository) {
        Place::Away => Some("with somebody else".to_string()),
        Place::Unknown => None,
        Place::Host(host) => {
            let entry = case.parsed.lab.host(host);
            if let Some(provider) = entry.and_then(|entry| entry.provider.as_ref()) {
                return Some(format!("on a machine of {}", provider.value));
            }
            if let Some(site) = places.site(host).filter(|_| data.any(|on| places.one_site(host, on) == Some(false))) {
                return Some(format!("at `{site}`, another site"));
            }
            let zone = entry.and_then(|entry| entry.zone.as_ref())?;
            let kind = case.kinds().zone(&zone.value)?;
            let untrusted = matches!(kind, ZoneKind::Iot | ZoneKind::Guest | ZoneKind::Dmz);
            untrusted.then(|| format!("in zone `{}`", zone.value))
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::found;

    #[test]
    fn where_it_is_and_what_it_says_decide() {
        let (parsed, findings) = found(
            r#"
owner: me
network: { zones: { home: { subnet: 10.0.0.0/24 }, guests: { subnet: 10.0.9.0/24, kind: guest } } }
compute:
  hosts:
    d: { zone: home, address: 10.0.0.1, site: home }
    nas: { zone: home, address: 10.0.0.2, site: home }
    pi: { address: 100.90.0.7, site: cabin }
    vps: { address: 203.0.113.9, provider: Hetzner }
    box: { zone: guests, address: 10.0.9.2, site: home }
protection:
  repositories:
    near: { on: nas, path: /b, engine: borg, settings: { encryption: none } }
    far: { on: pi, path: /b, engine: borg, settings: { encryption: authenticated } }
    rented: { on: vps, path: /b, engine: borg, settings: { encryption: none } }
    among: { on: box, path: /b, engine: borg, settings: { encryption: none } }
    good: { on: vps, path: /c, engine: borg, settings: { encryption: repokey } }
    silent: { on: vps, path: /d, engine: borg }
    other: { on: vps, path: /e, settings: { encryption: none } }
    unused: { on: vps, path: /f, engine: borg, settings: { encryption: none } }
  policies: { n: { to: [near, far, rented, among, good, silent, other], drill: weekly } }
services:
  a: { run: x, on: d, data: [/srv/a], backup: n }
  b: { run: x, on: d, data: [/srv/b], backup: n, tier: production, probe: /, restore_notes: x }
"#,
        );
        let own = findings.iter().filter(|finding| finding.code == super::CODE);
        let line = |span| parsed.place(span).map_or(0, |place| place.line);
        let told: String =
            own.map(|one| format!("{} {}: {}\n", line(one.span), one.severity.name(), one.message)).collect();
        expect![[r#"
            13 advice: repository `near` is not encrypted (`encryption: none`): whoever gets its disk reads services `a` and `b`
            14 warning: repository `far` is at `cabin`, another site, not encrypted (`encryption: authenticated`): whoever gets at it reads services `a` and `b`
            15 warning: repository `rented` is on a machine of Hetzner, not encrypted (`encryption: none`): whoever gets at it reads services `a` and `b`
            16 warning: repository `among` is in zone `guests`, not encrypted (`encryption: none`): whoever gets at it reads services `a` and `b`
        "#]].assert_eq(&told);
    }
}
