//! LW-CMP-013: builds beside what serves people.

use std::collections::BTreeSet;

use labwright_model::{Findings, Parsed, Placement, Severity, Span};

use super::carried::{by_tier, is_production, list, players, told};
use crate::application;
use crate::check::containers::containers;
use crate::check::{Case, Examples, Rule};

pub struct RunnerHost;

const CODE: &str = "LW-CMP-013";

impl Rule for RunnerHost {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "builds beside what serves people"
    }

    fn doc(&self) -> &'static str {
        "A host that runs continuous integration jobs (`platform.runners`, or a service with the image of a known runner: \
         those of GitHub, GitLab, Forgejo, Gitea, Woodpecker and Drone) also runs services, or plays a role that the lab leans on. Every build \
         competes with them for processor, memory and disk, and what a job runs is code that was just pushed, beside their \
         data.\n\n\
         Document 4 had its runners on the application hosts first: requests became slow during every deployment. It moved \
         them to one machine of their own, together with the registry, so that builds never compete with what runs. A \
         registry and its cache therefore are no fault beside a runner. The advice of GitHub and GitLab on self-hosted \
         runners is the same, for the second reason.\n\n\
         It is a warning beside production services and core roles of a lab that has something in production, and advice \
         otherwise. A lab that has one machine and no hypervisor is not told to buy one.\n\n\
         The way out: give the runner a machine of its own: `runners: build-01`, with \
         `build-01: { vm: { on: HYPERVISOR, cores: 4, memory: 8GiB } }`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "owner: mia\ncompute:\n  hosts:\n    docker-01: { address: 10.0.20.21 }\nplatform: { runners: docker-01 }\nservices:\n  photos: { run: photos, on: docker-01, tier: production }",
            passes: "owner: mia\ncompute:\n  hosts:\n    docker-01: { address: 10.0.20.21 }\n    build-01: { address: 10.0.20.30 }\nplatform: { runners: build-01 }\nservices:\n  photos: { run: photos, on: docker-01, tier: production }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let runners = parsed.lab.platform.runners.as_ref();
        let by_image: Vec<&Placement> =
            parsed.placements.iter().filter(|placement| runs_jobs(parsed, placement)).collect();
        if runners.is_none() && by_image.is_empty() {
            return;
        }
        let carried = case.carried();
        let named = runners.and_then(|runners| runners.service.as_ref()).map(|service| service.value.as_str());
        let own = carried.with_needs(named.into_iter().chain(by_image.iter().map(|one| one.service.as_str())));
        let mut hosts = runners.map_or(Vec::new(), |runners| players(runners, &carried.topology));
        hosts.extend(by_image.iter().flat_map(|one| one.entry.on.iter()).map(|on| (on.value.as_str(), on.span)));
        let mut crowded: Vec<(&str, Span, Vec<&str>, Severity)> = Vec::new();
        for (name, span) in hosts {
            if crowded.iter().any(|(other, ..)| *other == name) {
                continue;
            }
            let beside = |production: bool| -> BTreeSet<&str> {
                let others = carried.on(name).iter().filter(|placement| !own.contains(placement.service.as_str()));
                let others = others.filter(|placement| is_production(placement) == production);
                others.map(|placement| placement.service.as_str()).filter(|service| !is_build(service)).collect()
            };
            let (production, experiments, roles) = (beside(true), beside(false), carried.core_on(name));
            let all: Vec<&str> = production.iter().chain(&roles).chain(&experiments).copied().collect();
            let alone = carried.machine(name) == name && carried.elsewhere(name).is_none();
            if !all.is_empty() && (!alone || !production.is_empty()) {
                let severity = by_tier(!production.is_empty() || (carried.production && !roles.is_empty()));
                crowded.push((name, span, all, severity));
            }
        }
        let Some((name, span, all, _)) = crowded.first() else { return };
        let severity = crowded.iter().map(|(.., severity)| *severity).max().unwrap_or(Severity::Advice);
        let message = format!("builds on `{name}` compete with {}", list(all.iter().copied()));
        let to = match carried.machine(name) {
            machine if machine != *name => format!(", with `build-01: {{ vm: {{ on: {machine} }} }}`"),
            _ => String::new(),
        };
        let (at, key) = match (runners, by_image.first()) {
            (None, Some(placement)) => (format!("services.{}.on", placement.service), "on"),
            _ => ("platform.runners".to_string(), "runners"),
        };
        let help = format!("give the runner a machine of its own: `{key}: build-01`{to}");
        let mut finding = told(CODE, severity, at, *span, message, help);
        for (name, span, all, _) in crowded.iter().skip(1).take(5) {
            finding = finding.related(*span, format!("and on `{name}` with {}", list(all.iter().copied())));
        }
        findings.push(finding);
    }
}

/// Whether a service is a runner, by its images or its catalogue entry.
fn runs_jobs(parsed: &Parsed, placement: &Placement) -> bool {
    let entry = &placement.entry;
    let known = entry.catalogue.as_ref().is_some_and(|name| application::is_runner(name));
    known
        || containers(parsed, placement)
            .any(|one| one.image().is_some_and(|image| application::is_runner(image.repository)))
}

/// What belongs to building, and is well placed beside it.
fn is_build(service: &str) -> bool {
    ["registry", "cache", "mirror", "runner"].iter().any(|word| service.contains(word))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn beside_services_and_roles() {
        says(
            r#"
owner: mia
compute:
  hosts:
    pve-01: { address: 10.0.10.11 }
    docker-01: { address: 10.0.20.21, vm: { on: pve-01 } }
    infra-01: { address: 10.0.20.22, vm: { on: pve-01 } }
    build-01: { address: 10.0.20.23, vm: { on: pve-01 } }
    toys-01: { address: 10.0.20.24, vm: { on: pve-01 } }
platform: { runners: { on: [docker-01, infra-01, build-01], service: runner }, identity: infra-01 }
services:
  photos: { run: photos, on: docker-01, tier: production }
  wiki: { run: wiki, on: docker-01 }
  registry: { run: registry, on: build-01 }
  runner: { run: runner, on: [build-01, toys-01] }
  game: { run: game, on: toys-01 }
"#,
            expect![[r#"
                10:29 warning LW-CMP-013: builds on `docker-01` compete with `photos` and `wiki`
                    help: give the runner a machine of its own: `runners: build-01`, with `build-01: { vm: { on: pve-01 } }`
                    10:40: and on `infra-01` with `platform.identity`
                    15:41: and on `toys-01` with `game`
            "#]],
        );
    }

    #[test]
    fn a_runner_that_is_a_service_like_others() {
        let lab = |runner: &str| {
            format!(
                "owner: mia\ncompute: {{ hosts: {{ app: {{ address: 10.0.0.1 }}, spare: {{ address: 10.0.0.2 }} }} }}\nservices:\n  blog: {{ run: blog, on: app }}\n  shop: {{ run: shop, on: spare }}\n  ci: {runner}\n"
            )
        };
        says(
            &lab("{ containers: { r: { image: \"code.forgejo.org/forgejo/runner:9\" } }, on: app }"),
            expect![[r#"
            6:80 advice LW-CMP-013: builds on `app` compete with `blog`
                help: give the runner a machine of its own: `on: build-01`
        "#]],
        );
        says(&lab("{ containers: { r: { image: \"example/test-runner:9\" } }, on: app }"), expect![[""]]);
        says(&lab("{ containers: { r: { image: \"gitlab/gitlab-runner:v17\" } }, on: build }"), expect![[""]]);
    }

    #[test]
    fn one_small_machine_is_not_told_to_become_two() {
        says(
            r#"
compute: { hosts: { a: { address: 10.0.0.1 } } }
platform: { runners: a }
services: { wiki: { run: wiki, on: a } }
"#,
            expect![[""]],
        );
    }
}
