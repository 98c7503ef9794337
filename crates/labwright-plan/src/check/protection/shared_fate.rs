//! LW-DAT-001: a backup that fails together with what it protects.

use std::collections::BTreeMap;

use labwright_model::{Finding, Findings, Parsed, Placement};

use super::into_itself;
use super::places::{Place, Places, Shared};
use super::policies::{Used, used};
use crate::check::services::told::{at_tier, distinct, is_production, place, services};
use crate::check::{Case, Examples, Rule};

pub struct SharedFate;

const CODE: &str = "LW-DAT-001";
const RELATED: usize = 3;

impl Rule for SharedFate {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a backup that fails together with what it protects"
    }

    fn doc(&self) -> &'static str {
        "Every copy that a policy makes of a service's data is on the machine that the data is on, on the same storage of a \
         hypervisor, on the same hypervisor, or in the same failure domain. What takes the one takes the other: then \
         there is no backup on the day on which it is needed. Told is the nearest thing that they have in common, and \
         only if no copy of that policy is elsewhere: a copy close by and one far away is how it should be.\n\n\
         Where data is follows from `data`, and from the host's `mounts`: a path that is mounted from another machine is \
         there. A repository's `url` that leads to a host or a service of the lab counts as being on it. What cannot be \
         told is not judged; a site in common is LW-DAT-003, and snapshots for copies are LW-DAT-002.\n\n\
         A service that keeps a repository (a Proxmox Backup Server, restic's REST server, MinIO: the repository's `url` is its \
         name or a port that it publishes, or its folder is in the service's `data`) and is copied into that repository is told by \
         itself: each copy then holds the copies before it. Data of that kind is copies already, and needs none by LW-SVC-002.\n\n\
         For production a copy on the same machine or storage is an error, and one under the same hypervisor or in the \
         same failure domain a warning; in the lab tier they are a warning and advice.\n\n\
         It comes from document 0: a backup target is apart and has other ways to fail than what it protects, and a \
         design starts from failure domains and not from convenience. Document 1 sends its copies to a machine in another house.\n\n\
         The way out: one more repository in the policy's `to`, on a machine that has nothing in common with the first: \
         other hardware, or somebody else's (`url`)."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "owner: operator\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nprotection:\n  repositories: { local: { on: docker-01, path: /srv/backup } }\n  policies: { nightly: { to: local, drill: weekly } }\nservices:\n  photos: { use: immich, on: docker-01, tier: production, backup: nightly }",
            passes: "owner: operator\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nprotection:\n  repositories:\n    local: { on: docker-01, path: /srv/backup }\n    offsite: { url: \"s3:https://s3.example.net/lab\" }\n  policies: { nightly: { to: [local, offsite], drill: weekly } }\nservices:\n  photos: { use: immich, on: docker-01, tier: production, backup: nightly }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        if parsed.lab.protection.repositories.is_empty() {
            return;
        }
        into_itself::told(parsed, CODE, findings);
        let used = used(parsed);
        if used.is_empty() {
            return;
        }
        let places = case.places();
        // Where all copies are snapshots, LW-DAT-002 tells it.
        for policy in used.iter().filter(|policy| !policy.is_snapshots()) {
            for (shared, fate) in fates(places, policy) {
                findings.push(finding(parsed, places, policy, shared, &fate));
            }
        }
    }
}

/// What fails with its copies.
pub struct Fate<'a> {
    placements: Vec<&'a Placement>,
    /// A path of one of them, where it is that which is there.
    path: Option<&'a str>,
    /// The repository that is furthest away, as its place in the policy's `to`.
    repository: usize,
    /// A machine that the data is on.
    host: &'a str,
}

impl Fate<'_> {
    pub fn is_of(&self, service: &str) -> bool {
        self.placements.iter().any(|placement| placement.service == service)
    }
}

/// What the data of each service has in common with all of its copies.
pub fn fates<'a>(places: &Places<'a>, policy: &Used<'a>) -> BTreeMap<Shared<'a>, Fate<'a>> {
    let mut fates: BTreeMap<Shared<'_>, Fate<'_>> = BTreeMap::new();
    let copies: Vec<Place<'_>> = policy.to.iter().map(|(_, repository)| places.repository(repository)).collect();
    // Services of one host have their data in one place.
    let mut known: BTreeMap<&str, Option<(Shared<'_>, usize)>> = BTreeMap::new();
    let mut judge = |host: &'a str| *known.entry(host).or_insert_with(|| furthest(places, host, &copies));
    for placement in &policy.placements {
        let mut found: Vec<(Shared<'_>, usize, Option<&str>, &str)> = Vec::new();
        let mut all = true;
        for on in placement.entry.on.iter() {
            let data = places.data(placement, on);
            let shared = data.into_iter().filter_map(|(place, path)| match place {
                Place::Host(host) => judge(host).map(|(shared, repository)| (shared, repository, path, host)),
                Place::Away | Place::Unknown => None,
            });
            let before = found.len();
            found.extend(shared);
            all &= found.len() > before;
        }
        // A service on several hosts survives with one of them.
        if !all {
            continue;
        }
        if let Some((shared, repository, path, host)) = found.into_iter().min_by_key(|(shared, ..)| *shared) {
            let path = path.filter(|_| placement.entry.on.iter().all(|on| on.value != host));
            let fate = Fate { placements: Vec::new(), path, repository, host };
            fates.entry(shared).or_insert(fate).placements.push(placement);
        }
    }
    fates
}

/// What the data on a host has in common with the copy that is furthest away, if it has with all of them.
fn furthest<'a>(places: &Places<'a>, host: &'a str, copies: &[Place<'a>]) -> Option<(Shared<'a>, usize)> {
    let mut furthest: Option<(Shared<'_>, usize)> = None;
    for (number, copy) in copies.iter().enumerate() {
        let Place::Host(copy) = copy else { return None };
        let shared = places.shared(host, copy)?;
        if furthest.is_none_or(|(known, _)| known < shared) {
            furthest = Some((shared, number));
        }
    }
    furthest
}

fn finding<'a>(
    parsed: &Parsed,
    places: &Places<'a>,
    policy: &Used<'a>,
    shared: Shared<'a>,
    fate: &Fate<'a>,
) -> Finding {
    let names = distinct(fate.placements.iter().copied());
    let (to, repository) = policy.to[fate.repository];
    let on = match places.repository(repository) {
        Place::Host(host) => host,
        Place::Away | Place::Unknown => "",
    };
    let data = match (fate.path, names.as_slice()) {
        (Some(path), [_]) => format!("data `{path}`"),
        _ => "data".to_string(),
    };
    let what = match shared {
        Shared::Machine(host) => format!("`{host}`, the machine that the {data} is on"),
        Shared::Storage(host, storage) => format!("storage `{storage}` of `{host}`, and so is the {data}"),
        Shared::Hypervisor(host) if host == on => format!("hypervisor `{host}`, which carries the {data} as well"),
        Shared::Hypervisor(host) if host == fate.host => {
            format!("`{on}`, which runs on `{host}`, the machine that the {data} is on")
        }
        Shared::Hypervisor(host) => format!("`{on}`, which runs on hypervisor `{host}` as the {data} does"),
        Shared::Domain(domain) => format!("`{on}`, which fails with `{}`: both are in `{domain}`", fate.host),
    };
    let (noun, verb) = if policy.to.len() == 1 { ("copy", "is") } else { ("copies", "are") };
    let message = format!("the only {noun} of {} by policy `{}` {verb} on {what}", services(&names), policy.name);
    let at = format!("protection.policies.{}.to", policy.name);
    let near = matches!(shared, Shared::Machine(_) | Shared::Storage(..));
    let finding = match near {
        true => Finding::error(CODE, at, to.span, message),
        false => Finding::warning(CODE, at, to.span, message),
    };
    let declared = parsed.lab.protection.repositories.iter().find(|(name, entry)| {
        let apart = match places.repository(entry) {
            Place::Host(host) => places.shared(fate.host, host).is_none(),
            Place::Away => true,
            Place::Unknown => false,
        };
        apart && !policy.to.iter().any(|(to, _)| to.value == **name)
    });
    let help = match declared {
        Some((name, _)) => format!("add `{name}` to its `to`, which is apart from it"),
        None => "declare a repository on other hardware, `offsite: { on: HOST, path: /backup }` or \
                 `offsite: { url: \"s3:https://…\" }`, and add it to `to`"
            .to_string(),
    };
    let mut finding = finding.help(help);
    let production = fate.placements.iter().any(|placement| is_production(placement));
    for name in names.iter().take(RELATED) {
        finding = finding.related(place(parsed, name), "has no other copy");
    }
    at_tier(production, finding)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    const COMPUTE: &str = r#"
owner: me
compute:
  hosts:
    pve: { address: 10.0.0.1, failure_domain: ups }
    d-01: { address: 10.0.0.2, vm: { on: pve, storage: fast }, mounts: { /mnt/media: "nas:/media", /mnt/backup: "nas:/backup" } }
    b-same: { address: 10.0.0.3, vm: { on: pve, storage: fast } }
    b-other: { address: 10.0.0.4, vm: { on: pve, storage: slow } }
    b-ups: { address: 10.0.0.5, failure_domain: ups }
    nas: { address: 10.0.0.6 }
"#;

    #[test]
    fn the_nearest_thing_in_common() {
        says(
            &format!(
                r#"{COMPUTE}
protection:
  repositories:
    own: {{ on: d-01, path: /srv/backup }}
    same: {{ on: b-same, path: /srv }}
    other: {{ on: b-other, path: /srv }}
    carrier: {{ on: pve, path: /srv }}
    ups: {{ on: b-ups, path: /srv }}
  policies:
    own: {{ to: own, drill: weekly }}
    same: {{ to: [own, same], drill: weekly }}
    other: {{ to: other, drill: weekly }}
    carrier: {{ to: carrier, drill: weekly }}
    ups: {{ to: ups, drill: weekly }}
services:
  a: {{ use: immich, on: d-01, backup: own, tier: production }}
  b: {{ use: immich, on: d-01, backup: own }}
  c: {{ use: immich, on: d-01, backup: same }}
  d: {{ use: immich, on: d-01, backup: other, tier: production }}
  e: {{ use: immich, on: d-01, backup: carrier }}
  f: {{ use: immich, on: d-01, backup: ups }}
  g: {{ use: immich, on: pve, backup: other }}
"#
            ),
            expect![[r#"
                20:16 error LW-DAT-001: the only copy of services `a` and `b` by policy `own` is on `d-01`, the machine that the data is on
                    help: declare a repository on other hardware, `offsite: { on: HOST, path: /backup }` or `offsite: { url: "s3:https://…" }`, and add it to `to`
                    26:3: has no other copy
                    27:3: has no other copy
                21:23 warning LW-DAT-001: the only copies of service `c` by policy `same` are on storage `fast` of `pve`, and so is the data
                    help: declare a repository on other hardware, `offsite: { on: HOST, path: /backup }` or `offsite: { url: "s3:https://…" }`, and add it to `to`
                    28:3: has no other copy
                22:18 warning LW-DAT-001: the only copy of services `d` and `g` by policy `other` is on `b-other`, which runs on hypervisor `pve` as the data does
                    help: declare a repository on other hardware, `offsite: { on: HOST, path: /backup }` or `offsite: { url: "s3:https://…" }`, and add it to `to`
                    29:3: has no other copy
                    32:3: has no other copy
                23:20 advice LW-DAT-001: the only copy of service `e` by policy `carrier` is on hypervisor `pve`, which carries the data as well
                    help: declare a repository on other hardware, `offsite: { on: HOST, path: /backup }` or `offsite: { url: "s3:https://…" }`, and add it to `to`
                    30:3: has no other copy
                24:16 advice LW-DAT-001: the only copy of service `f` by policy `ups` is on `b-ups`, which fails with `d-01`: both are in `ups`
                    help: declare a repository on other hardware, `offsite: { on: HOST, path: /backup }` or `offsite: { url: "s3:https://…" }`, and add it to `to`
                    31:3: has no other copy
            "#]],
        );
    }

    #[test]
    fn mounts_lead_to_the_machine_behind_them() {
        says(
            &format!(
                r#"{COMPUTE}
protection:
  repositories:
    nas: {{ on: nas, path: /backup }}
    mounted: {{ on: d-01, path: /mnt/backup/lab }}
    rest: {{ url: "rest:http://nas:8000/" }}
  policies: {{ nightly: {{ to: nas, drill: weekly }}, mounted: {{ to: mounted, drill: weekly }}, rest: {{ to: [rest, mounted], drill: weekly }} }}
services:
  media: {{ compose: c.yaml, on: d-01, data: [/mnt/media/photos, db], backup: nightly }}
  near: {{ compose: c.yaml, on: d-01, data: [/srv/x, db], backup: mounted }}
  rested: {{ compose: c.yaml, on: nas, data: [x], backup: rest }}
"#
            ),
            expect![[r#"
                17:30 warning LW-DAT-001: the only copy of service `media` by policy `nightly` is on `nas`, the machine that the data `/mnt/media/photos` is on
                    help: declare a repository on other hardware, `offsite: { on: HOST, path: /backup }` or `offsite: { url: "s3:https://…" }`, and add it to `to`
                    19:3: has no other copy
                17:106 warning LW-DAT-001: the only copies of service `rested` by policy `rest` are on `nas`, the machine that the data is on
                    help: declare a repository on other hardware, `offsite: { on: HOST, path: /backup }` or `offsite: { url: "s3:https://…" }`, and add it to `to`
                    21:3: has no other copy
            "#]],
        );
    }

    #[test]
    fn a_copy_elsewhere_or_a_place_that_is_not_known_is_enough() {
        says(
            &format!(
                r#"{COMPUTE}
protection:
  repositories:
    own: {{ on: d-01, path: /srv/backup }}
    away: {{ url: "s3:https://s3.example.net/x" }}
    somewhere: {{ url: "rclone:remote:x" }}
    nas: {{ on: nas, path: /backup }}
  policies: {{ a: {{ to: [own, away], drill: weekly }}, b: {{ to: [own, somewhere], drill: weekly }}, c: {{ to: [own, nas], drill: weekly }}, d: {{ to: [nas], drill: weekly }}, e: {{ to: own, drill: weekly }} }}
services:
  a: {{ use: immich, on: d-01, backup: a }}
  b: {{ use: immich, on: d-01, backup: b }}
  c: {{ use: immich, on: d-01, backup: c }}
  two: {{ use: immich, on: [d-01, nas], backup: d }}
  e: {{ use: immich, on: d-01, backup: e }}
"#
            ),
            expect![[r#"
                18:146 advice LW-DAT-003: copies by policy `d` fall short of 3-2-1: the only one is in the same place as the data
                    help: add a repository in another place to `to`: `offsite: { url: "s3:https://…" }`, or `on:` a host whose `site` is another; if one of them is elsewhere, say so with its host's `site`
                18:178 warning LW-DAT-001: the only copy of service `e` by policy `e` is on `d-01`, the machine that the data is on
                    help: add `away` to its `to`, which is apart from it
                    24:3: has no other copy
            "#]],
        );
    }
}
