//! LW-DAT-003: too few copies, or none in another place.

use labwright_model::{Finding, Findings, Parsed};

use super::places::{Place, Places};
use super::policies::{Used, used};
use super::shared_fate::fates;
use super::snapshot_as_backup::is_snapshot;
use crate::check::services::told::{at_tier, is_production};
use crate::check::{Case, Examples, Rule};

pub struct TooFewCopies;

const CODE: &str = "LW-DAT-003";

impl Rule for TooFewCopies {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "too few copies, or none in another place"
    }

    fn doc(&self) -> &'static str {
        "The rule of thumb is 3-2-1: three copies of what matters (the data itself and two more), on two media, one \
         of them in another place. Counted are the repositories that a policy writes to and the offline copies of the \
         lab; snapshots do not count. What is missing is one finding for each policy that a service uses.\n\n\
         \"None off-site\" is said only where the file shows it: every copy has the same `site` as the data, or all of the \
         machines without one are in VLANs of the lab, which end where the house ends. An offline copy may lie anywhere, \
         so with one of those nothing is said of places. Two media are two machines here; where there is only one of \
         them, LW-DAT-001 says so, and this rule waits for that.\n\n\
         For production a policy with no copy in another place is a warning; a single copy that is elsewhere is advice, \
         and so is everything in the lab tier, where one copy elsewhere is enough.\n\n\
         It comes from \"Data Backup Options\" (P. Ruggiero, M. Heckathorn, US-CERT 2012), which takes 3-2-1 from P. Krogh, \
         \"The DAM Book\"; from document 0, whose last layer has an off-site copy beside backups and snapshots; and from \
         document 1, which sends copies to another house and carries one on a USB disk.\n\n\
         The way out: a second repository in `to`, with somebody else (`url`) or at a host of another `site`; or \
         `protection: { offline: … }` for a disk in another place."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "owner: operator\ncompute:\n  hosts:\n    docker-01: { address: 10.0.20.21, site: home }\n    nas-01: { address: 10.0.20.5, site: home }\nprotection:\n  repositories: { nas: { on: nas-01, path: /backup } }\n  policies: { nightly: { to: nas, drill: weekly } }\nservices:\n  photos: { use: immich, on: docker-01, tier: production, backup: nightly }",
            passes: "owner: operator\ncompute:\n  hosts:\n    docker-01: { address: 10.0.20.21, site: home }\n    nas-01: { address: 10.0.20.5, site: home }\n    offsite-01: { address: 100.90.1.2, site: cabin }\nprotection:\n  repositories: { nas: { on: nas-01, path: /backup }, offsite: { on: offsite-01, path: /backup } }\n  policies: { nightly: { to: [nas, offsite], drill: weekly } }\nservices:\n  photos: { use: immich, on: docker-01, tier: production, backup: nightly }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let used = used(parsed);
        if used.is_empty() {
            return;
        }
        let places = case.places();
        // Copies that fail with the data are the nearer fault, and mending it changes the count, unless a production service
        // has nothing to do with that.
        let nearer = |policy: &&Used<'_>| {
            let fates = fates(places, policy);
            let told = |service: &str| fates.values().any(|fate| fate.is_of(service));
            let mut relied_on = policy.placements.iter().filter(|placement| is_production(placement));
            !fates.is_empty() && relied_on.all(|placement| told(&placement.service))
        };
        for policy in used.iter().filter(|policy| !nearer(policy)) {
            findings.extend(judge(parsed, places, policy));
        }
    }
}

fn judge(parsed: &Parsed, places: &Places<'_>, policy: &Used<'_>) -> Option<Finding> {
    let offline = !parsed.lab.protection.offline.is_empty();
    let copies: Vec<Place<'_>> = policy
        .to
        .iter()
        .filter(|(_, repository)| !is_snapshot(repository))
        .map(|(_, repository)| places.repository(repository))
        .collect();
    // Where nothing but snapshots is, that is the fault.
    if copies.is_empty() {
        return None;
    }
    let near = if offline { None } else { one_site(places, policy, &copies) };
    let single = copies.len() == 1 && !offline;
    let production = policy.is_production();
    let where_ = near.map(|site| match site {
        Some(site) => format!("at `{site}`, where the data is"),
        None => "in the same place as the data".to_string(),
    });
    let missing = match where_ {
        Some(place) if copies.len() == 1 => format!("the only one is {place}"),
        Some(place) => format!("all of them are {place}"),
        None if single && production => "there is only one beside the data".to_string(),
        None => return None,
    };
    let message = format!("copies by policy `{}` fall short of 3-2-1: {missing}", policy.name);
    let help = match near {
        Some(_) => {
            "add a repository in another place to `to`: `offsite: { url: \"s3:https://…\" }`, or `on:` a host whose \
             `site` is another; if one of them is elsewhere, say so with its host's `site`"
        }
        None => {
            "add a second repository to `to`, or an offline copy: `protection: { offline: { usb: { label: …, every: 6 months } } }`"
        }
    };
    let at = format!("protection.policies.{}.to", policy.name);
    let finding = match near {
        Some(_) => Finding::warning(CODE, at, policy.to[0].0.span, message),
        None => Finding::advice(CODE, at, policy.to[0].0.span, message),
    };
    Some(at_tier(production, finding.help(help)))
}

/// The place that the data of some service shares with all of its copies, by its name if it has one; `None` if a copy is
/// elsewhere, or if it cannot be told.
fn one_site<'a>(places: &Places<'a>, policy: &Used<'a>, copies: &[Place<'a>]) -> Option<Option<&'a str>> {
    let mut hosts: Vec<&str> = Vec::new();
    for placement in &policy.placements {
        hosts.extend(placement.entry.on.iter().map(|on| on.value.as_str()));
    }
    hosts.sort_unstable();
    hosts.dedup();
    let together = |host: &&'a str| {
        copies.iter().all(|copy| match copy {
            Place::Host(copy) => places.one_site(host, copy) == Some(true),
            Place::Away | Place::Unknown => false,
        })
    };
    hosts.into_iter().find(together).map(|host| places.site(host))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    const AROUND: &str = r#"
owner: me
network: { zones: { servers: { vlan: 20 }, vpn: { interface: wg0 } } }
compute:
  hosts:
    d-01: { address: 10.0.0.1, zone: servers, site: home }
    nas: { address: 10.0.0.2, zone: servers, site: home }
    nas-2: { address: 10.0.0.3, zone: servers, site: home }
    cabin: { address: 10.9.0.1, zone: servers, site: cabin }
    here: { address: 10.0.20.1, zone: servers }
    there: { address: 10.0.20.2, zone: servers }
    somewhere: { address: 100.64.0.1, zone: vpn }
"#;
    const REPOSITORIES: &str = r#"
  repositories:
    nas: { on: nas, path: /b }
    nas-2: { on: nas-2, path: /b }
    cabin: { on: cabin, path: /b }
    there: { on: there, path: /b }
    somewhere: { on: somewhere, path: /b }
    url: { url: "s3:https://s3.example.net/x" }
    snapshots: { on: nas, path: /b/.zfs/snapshot }
"#;

    #[test]
    fn one_finding_for_each_policy() {
        says(
            &format!(
                r#"{AROUND}
protection:{REPOSITORIES}
  policies:
    single: {{ to: nas, drill: weekly }}
    two: {{ to: [nas, nas-2], drill: weekly }}
    wired: {{ to: there, drill: weekly }}
    far: {{ to: url, drill: weekly }}
    counted: {{ to: [nas, snapshots], drill: weekly }}
    good: {{ to: [nas, cabin], drill: weekly }}
    doubtful: {{ to: [there, somewhere], drill: weekly }}
    unused: {{ to: nas-2, drill: weekly }}
services:
  a: {{ use: immich, on: d-01, backup: single, tier: production }}
  b: {{ use: immich, on: d-01, backup: two }}
  c: {{ use: immich, on: here, backup: wired }}
  d: {{ use: immich, on: d-01, backup: far, tier: production }}
  e: {{ use: immich, on: d-01, backup: far }}
  f: {{ use: immich, on: d-01, backup: counted }}
  g: {{ use: immich, on: d-01, backup: good, tier: production }}
  h: {{ use: immich, on: here, backup: doubtful, tier: production }}
"#
            ),
            expect![[r#"
                22:33 advice LW-DAT-002: repository `snapshots` is snapshots (`/b/.zfs/snapshot`): they go with the disk that they are on
                    help: write backups to a path on another machine, or to a `url`; snapshots may stay, but not as a repository
                25:19 warning LW-DAT-003: copies by policy `single` fall short of 3-2-1: the only one is at `home`, where the data is
                    help: add a repository in another place to `to`: `offsite: { url: "s3:https://…" }`, or `on:` a host whose `site` is another; if one of them is elsewhere, say so with its host's `site`
                26:17 advice LW-DAT-003: copies by policy `two` fall short of 3-2-1: all of them are at `home`, where the data is
                    help: add a repository in another place to `to`: `offsite: { url: "s3:https://…" }`, or `on:` a host whose `site` is another; if one of them is elsewhere, say so with its host's `site`
                27:18 advice LW-DAT-003: copies by policy `wired` fall short of 3-2-1: the only one is in the same place as the data
                    help: add a repository in another place to `to`: `offsite: { url: "s3:https://…" }`, or `on:` a host whose `site` is another; if one of them is elsewhere, say so with its host's `site`
                28:16 advice LW-DAT-003: copies by policy `far` fall short of 3-2-1: there is only one beside the data
                    help: add a second repository to `to`, or an offline copy: `protection: { offline: { usb: { label: …, every: 6 months } } }`
                29:21 advice LW-DAT-003: copies by policy `counted` fall short of 3-2-1: the only one is at `home`, where the data is
                    help: add a repository in another place to `to`: `offsite: { url: "s3:https://…" }`, or `on:` a host whose `site` is another; if one of them is elsewhere, say so with its host's `site`
                32:5 advice LW-DAT-009: no service and no host names backup policy `unused`
                    help: add `backup: unused` to the services that it is meant for, or take it out
            "#]],
        );
    }

    #[test]
    fn an_offline_copy_counts_and_one_far_copy_is_enough_for_a_lab() {
        says(
            &format!(
                r#"{AROUND}
protection:{REPOSITORIES}
  policies: {{ single: {{ to: [nas, nas-2], drill: weekly }}, rest: {{ to: [there, url, somewhere, cabin, snapshots], drill: weekly }} }}
  offline: {{ usb: {{ label: x, every: 6 months }} }}
services:
  a: {{ use: immich, on: d-01, backup: single, tier: production }}
  b: {{ use: immich, on: d-01, backup: rest }}
"#
            ),
            expect![[r#"
                22:33 advice LW-DAT-002: repository `snapshots` is snapshots (`/b/.zfs/snapshot`): they go with the disk that they are on
                    help: write backups to a path on another machine, or to a `url`; snapshots may stay, but not as a repository
            "#]],
        );
        says(
            &format!(
                r#"{AROUND}
protection:
  repositories: {{ url: {{ url: "s3:https://s3.example.net/x" }} }}
  policies: {{ far: {{ to: url, drill: weekly }} }}
services:
  a: {{ use: immich, on: d-01, backup: far }}
"#
            ),
            expect![""],
        );
    }

    #[test]
    fn one_service_whose_data_is_with_its_copies_hides_no_other() {
        let services = |tier: &str| {
            format!(
                "{AROUND}protection:{REPOSITORIES}  policies: {{ n: {{ to: nas, drill: weekly }} }}\nservices:\n  photos: {{ run: photos, on: nas, data: [/photos], backup: n }}\n  login: {{ run: login, on: d-01, data: [/srv], backup: n, tier: {tier} }}\n"
            )
        };
        let codes = |tier: &str| -> Vec<&'static str> {
            let (_, findings) = crate::check::tests::found(&services(tier));
            let all = findings.into_iter().map(|finding| finding.code);
            all.filter(|code| ["LW-DAT-001", "LW-DAT-003"].contains(code)).collect()
        };
        assert_eq!(codes("lab"), ["LW-DAT-001"]);
        assert_eq!(codes("production"), ["LW-DAT-001", "LW-DAT-003"]);
    }

    #[test]
    fn one_home_network_is_one_place() {
        let lab = |other: &str| {
            format!(
                "owner: me\ncompute: {{ hosts: {{ a: {{ address: 192.168.1.5 }}, b: {{ address: {other} }} }} }}\nprotection: {{ repositories: {{ r: {{ on: b, path: /b }} }}, policies: {{ n: {{ to: r, drill: weekly }} }} }}\nservices: {{ x: {{ run: x, on: a, backup: n, tier: production }} }}\n"
            )
        };
        let places = |other: &str| -> Vec<bool> {
            let (_, findings) = crate::check::tests::found(&lab(other));
            let all = findings.into_iter().filter(|finding| finding.code == super::CODE);
            all.map(|finding| finding.message.contains("in the same place")).collect()
        };
        assert_eq!(places("192.168.1.6"), [true]);
        for other in ["192.168.2.6", "10.8.0.6", "100.64.0.6"] {
            assert_eq!(places(other), [false], "{other}");
        }
    }
}
