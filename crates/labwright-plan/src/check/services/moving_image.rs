//! LW-SVC-006: an image that changes by itself.

use std::collections::{HashMap, HashSet};

use labwright_model::{Finding, Findings, Parsed, Placement};

use super::shared_tag::is_shared;
use super::told::{distinct, fold, is_production, place_in, places, quoted, services};
use crate::check::containers::containers;
use crate::check::image::Image;
use crate::check::{Case, Examples, Rule};

pub struct MovingImage;

const CODE: &str = "LW-SVC-006";

impl Rule for MovingImage {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "an image that changes by itself"
    }

    fn doc(&self) -> &'static str {
        "An image without a tag is `latest`, and `latest`, `stable`, `main` or `release` is whatever was pushed last. What \
         runs then depends on the day it was pulled: a second machine, a restore or a way back after a failed update gets \
         something else. A version is clear to a reader; a digest (`postgres:16.4@sha256:…`) is one image for ever, even \
         if the tag is pushed again.\n\n\
         - Production: a tag that moves is a warning for each service. Versions without a digest are one piece of \
         advice for all services.\n\
         - Lab: tags that move are one piece of advice for all services, and versions are fine.\n\
         - A tag that is named after an environment of the lab is moved on purpose, and is not spoken of where \
         it is used. A tag that two environments share is LW-SVC-007.\n\n\
         Looked at are the containers in the lab file and those in Compose files beside it.\n\n\
         It comes from document 4, where one damaged `latest` took two environments down, and from document 0, which asks \
         for a controlled way to update containers. That tags can be moved and digests cannot is in Docker's \
         documentation on building (\"Building best practices\", pin base image versions).\n\n\
         The way out: write the version that runs now, with its digest: `docker image inspect --format \
         '{{index .RepoDigests 0}}' IMAGE` prints it."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nservices:\n  wiki: { containers: { app: { image: \"requarks/wiki:latest\" } }, on: docker-01 }",
            passes: "compute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nservices:\n  wiki: { containers: { app: { image: \"requarks/wiki:2.5.308\" } }, on: docker-01 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let environments: HashSet<&str> = parsed.lab.environments.iter().map(|name| name.value.as_str()).collect();
        let mut told: HashSet<&str> = HashSet::new();
        let mut lab: Vec<(&Placement, &str)> = Vec::new();
        let mut without_digest: Vec<(&Placement, &str)> = Vec::new();
        for placement in &parsed.placements {
            let all = images(parsed, placement);
            // A tag of an environment is moved on purpose.
            let own = |image: &Image<'_>| image.tag.is_some_and(|tag| environments.contains(tag));
            let moving: Vec<(&str, Image<'_>)> = all
                .iter()
                .filter(|(container, image)| {
                    image.is_moving() && !own(image) && !is_shared(parsed, placement, container, image)
                })
                .copied()
                .collect();
            let loose = all.iter().find(|(_, image)| !image.has_digest && !image.is_moving() && !own(image));
            match (moving.first(), loose) {
                (Some(_), _) if is_production(placement) && told.insert(&placement.service) => {
                    findings.push(moves(parsed, placement, &moving));
                }
                (Some((_, image)), _) => lab.push((placement, image.text)),
                (None, Some((_, image))) if is_production(placement) => without_digest.push((placement, image.text)),
                _ => {}
            }
        }
        lab.retain(|(placement, _)| !told.contains(placement.service.as_str()));
        without_digest.retain(|(placement, _)| !told.contains(placement.service.as_str()));
        let version = "write the version that runs now: `image: \"NAME:VERSION\"`";
        findings.extend(folded(parsed, &lab, ("changes by itself", "images that change by themselves"), version));
        let digest = "add the digest behind the version: `image: \"NAME:VERSION@sha256:…\"`";
        let what =
            ("has no digest: its tag can be pushed again", "versions without a digest, which can be pushed again");
        findings.extend(folded(parsed, &without_digest, what, digest));
    }
}

fn images<'a>(parsed: &'a Parsed, placement: &'a Placement) -> Vec<(&'a str, Image<'a>)> {
    containers(parsed, placement).filter_map(|container| Some((container.name, container.image()?))).collect()
}

fn moves(parsed: &Parsed, placement: &Placement, moving: &[(&str, Image<'_>)]) -> Finding {
    let name = &placement.service;
    let names: Vec<&str> = moving.iter().map(|(_, image)| image.text).collect();
    let changes = if names.len() == 1 { "changes by itself" } else { "change by themselves" };
    let message = format!("production service `{name}` runs {}, which {changes}", quoted(&names));
    let first = moving.first().map_or("", |(container, _)| *container);
    let repository = moving.first().map_or("", |(_, image)| image.repository);
    let span = place_in(parsed, placement, &["containers", first, "image"]);
    Finding::warning(CODE, format!("services.{name}.containers"), span, message)
        .help(format!("write the version that runs now, with its digest: `{repository}:VERSION@sha256:…`"))
}

/// One piece of advice for all services with such an image; what is said of one, and what of several.
fn folded(parsed: &Parsed, all: &[(&Placement, &str)], what: (&str, &str), help: &str) -> Vec<Finding> {
    let images: HashMap<&str, &str> =
        all.iter().rev().map(|(placement, image)| (&*placement.service, *image)).collect();
    let whose = places(parsed, &distinct(all.iter().map(|(placement, _)| *placement)));
    fold(parsed, CODE, &whose, "and here", |names, span| {
        let mut of_names: Vec<&str> = Vec::new();
        for image in names.iter().filter_map(|name| images.get(name)) {
            // No more than a sentence holds are looked through.
            if of_names.len() > 3 || !of_names.contains(image) {
                of_names.push(image);
            }
        }
        let message = match names {
            [one] => format!("service `{one}` runs {}, which {}", quoted(&of_names), what.0),
            _ => format!("{} run {}: {}", services(names), what.1, quoted(&of_names)),
        };
        Finding::advice(CODE, format!("services.{}.containers", names[0]), span, message).help(help)
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn tags_that_move_and_versions() {
        says(
            r#"
owner: me
environments: [dev, prod]
compute: { hosts: { d-01: { address: 10.0.0.1 } } }
services:
  untagged: { containers: { a: { image: nginx }, b: { image: "redis:7.4" } }, on: d-01 }
  latest: { containers: { a: { image: "host:5000/x:latest" } }, on: d-01 }
  version: { containers: { a: { image: "host:5000/x:2" }}, on: d-01 }
  theirs: { containers: { a: { image: "x:${env}" } }, on: d-01, environments: [dev, prod] }
  foreign: { containers: { a: { image: "x:$${TAG}" } }, on: d-01 }
  one: { containers: { a: { image: "x:stable-alpine" } }, on: d-01, tier: production, probe: /, restore_notes: x }
  two: { containers: { a: { image: x }, b: { image: "y:main" }, c: { image: "z:1" } }, on: d-01, tier: production, probe: /, restore_notes: x }
  tagged: { containers: { a: { image: "x:1" } }, on: d-01, tier: production, probe: /, restore_notes: x }
  tagged-too: { containers: { a: { image: "x:1" } }, on: d-01, tier: production, probe: /, restore_notes: x }
  pinned: { containers: { a: { image: "x:latest@sha256:0" } }, on: d-01, tier: production, probe: /, restore_notes: x }
"#,
            expect![[r#"
                6:3 advice LW-SVC-006: services `untagged` and `latest` run images that change by themselves: `nginx` and `host:5000/x:latest`
                    help: write the version that runs now: `image: "NAME:VERSION"`
                    7:3: and here
                11:36 warning LW-SVC-006: production service `one` runs `x:stable-alpine`, which changes by itself
                    help: write the version that runs now, with its digest: `x:VERSION@sha256:…`
                12:36 warning LW-SVC-006: production service `two` runs `x` and `y:main`, which change by themselves
                    help: write the version that runs now, with its digest: `x:VERSION@sha256:…`
                13:3 advice LW-SVC-006: services `tagged` and `tagged-too` run versions without a digest, which can be pushed again: `x:1`
                    help: add the digest behind the version: `image: "NAME:VERSION@sha256:…"`
                    14:3: and here
            "#]],
        );
    }
}
