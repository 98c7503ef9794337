//! LW-SVC-007: one tag for two environments.

use labwright_model::{Finding, Findings, Parsed, Placement, Span};

use super::told::{all_of, place_in, quoted};
use crate::check::containers::{Container, containers};
use crate::check::image::Image;
use crate::check::{Case, Examples, Rule};

pub struct SharedTag;

const CODE: &str = "LW-SVC-007";

impl Rule for SharedTag {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "one tag for two environments"
    }

    fn doc(&self) -> &'static str {
        "A service is placed in several environments, and two of them run an image under one tag that is pushed again and \
         again: `latest`, none at all, or the name of one of the environments. Whoever pushes for the one \
         pushes for the other: what breaks in `dev` is in `prod` at its next start, and there is no moment in between at \
         which it could be tried. Environments are apart, or they are none: this is an error.\n\n\
         A version or a digest in both is what is wanted: the one that was tried is the one that runs.\n\n\
         It comes from document 4: both environments overwrote each other's `latest` until one damaged manifest took both \
         down; since then each has a tag of its own, `:dev` and `:prod`.\n\n\
         The way out: `image: \"NAME:${env}\"`, which is the environment's name, or a version."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "environments: [dev, prod]\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nservices:\n  shop: { containers: { web: { image: \"registry.example.net/shop:latest\" } }, on: docker-01, environments: [dev, prod] }",
            passes: "environments: [dev, prod]\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nservices:\n  shop: { containers: { web: { image: \"registry.example.net/shop:${env}\" } }, on: docker-01, environments: [dev, prod] }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        // A service's placements follow one another.
        for placements in parsed.placements.chunk_by(|a, b| a.service == b.service).filter(|all| all.len() > 1) {
            let shared = shared(parsed, placements);
            let Some(first) = shared.first() else { continue };
            let mut images: Vec<&str> = shared.iter().map(|shared| shared.image).collect();
            images.sort_unstable();
            images.dedup();
            let environments: Vec<String> = first.environments.iter().map(|name| format!("`{name}`")).collect();
            let name = &placements[0].service;
            let message = format!("{} of service `{name}` run the same {}", all_of(&environments), quoted(&images));
            let help = format!(
                "give each its own tag: `image: \"{}:${{env}}\"`, or the same version in all of them",
                first.repository
            );
            findings.push(Finding::error(CODE, format!("services.{name}.containers"), first.span, message).help(help));
        }
    }
}

/// An image that several environments of a service run.
struct Shared<'a> {
    image: &'a str,
    repository: &'a str,
    environments: Vec<&'a str>,
    span: Span,
}

fn shared<'a>(parsed: &'a Parsed, placements: &'a [Placement]) -> Vec<Shared<'a>> {
    let mut found: Vec<Shared<'_>> = Vec::new();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for placement in placements {
        for container in containers(parsed, placement) {
            let Some(image) = container.image().filter(|image| is_pushed_again(parsed, image)) else { continue };
            if seen.contains(&(container.name, image.text)) {
                continue;
            }
            seen.push((container.name, image.text));
            let environments = environments_with(parsed, placements, container.name, &image);
            if environments.len() > 1 {
                let span = place_in(parsed, placement, &["containers", container.name, "image"]);
                found.push(Shared { image: image.text, repository: image.repository, environments, span });
            }
        }
    }
    found
}

/// Whether a container's image is one that another environment of its service runs as well, under a tag that moves.
pub fn is_shared(parsed: &Parsed, placement: &Placement, container: &str, image: &Image<'_>) -> bool {
    if placement.environment.is_none() || !is_pushed_again(parsed, image) {
        return false;
    }
    // Placements are in the order of the services.
    let position = |service: &str| parsed.lab.services.get_index_of(service);
    let own = position(&placement.service);
    let start = parsed.placements.partition_point(|other| position(&other.service) < own);
    let end = parsed.placements.partition_point(|other| position(&other.service) <= own);
    environments_with(parsed, &parsed.placements[start..end], container, image).len() > 1
}

fn environments_with<'a>(
    parsed: &Parsed,
    placements: &'a [Placement],
    container: &str,
    image: &Image<'_>,
) -> Vec<&'a str> {
    let runs = |placement: &&Placement| {
        let same = |other: Container<'_>| {
            other.name == container && other.image().is_some_and(|other| other.text == image.text)
        };
        containers(parsed, placement).any(same)
    };
    placements.iter().filter(runs).filter_map(|placement| placement.environment.as_deref()).collect()
}

fn is_pushed_again(parsed: &Parsed, image: &Image<'_>) -> bool {
    let is_environment = |tag: &str| parsed.lab.environments.iter().any(|name| name.value == tag);
    image.is_moving() || (!image.has_digest && image.tag.is_some_and(is_environment))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn one_finding_for_a_service() {
        says(
            r#"
owner: me
environments: [dev, test, prod]
compute: { hosts: { d-01: { address: 10.0.0.1 } } }
services:
  latest: { containers: { a: { image: "x:latest" }, b: { image: y }, c: { image: "z:1.2" } }, on: d-01, environments: [dev, prod] }
  named: { containers: { a: { image: "x:prod" } }, on: d-01, environments: [dev, test, prod] }
  some: { containers: { a: { image: "x:${env}" } }, on: d-01, environments: { dev:, test: { containers: { a: { image: "x:dev" } } }, prod: { tier: production, probe: /, restore_notes: x } } }
  apart: { containers: { a: { image: "x:${env}" } }, on: d-01, environments: [dev, prod] }
  version: { containers: { a: { image: "x:1.2" }, b: { image: "x:latest@sha256:0" } }, on: d-01, environments: [dev, prod] }
  one: { containers: { a: { image: "x:latest" } }, on: d-01, environments: [dev] }
"#,
            expect![[r#"
                6:39 error LW-SVC-007: `dev` and `prod` of service `latest` run the same `x:latest` and `y`
                    help: give each its own tag: `image: "x:${env}"`, or the same version in all of them
                7:38 error LW-SVC-007: `dev`, `test` and `prod` of service `named` run the same `x:prod`
                    help: give each its own tag: `image: "x:${env}"`, or the same version in all of them
                8:37 error LW-SVC-007: `dev` and `test` of service `some` run the same `x:dev`
                    help: give each its own tag: `image: "x:${env}"`, or the same version in all of them
                11:3 advice LW-SVC-006: service `one` runs `x:latest`, which changes by itself
                    help: write the version that runs now: `image: "NAME:VERSION"`
            "#]],
        );
    }
}
