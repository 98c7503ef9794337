//! LW-SVC-005: several of the lab's roles in one stack.

use labwright_model::{Finding, Findings, Parsed, Placement};

use super::state::is_people_s;
use super::told::{all_of, at_tier, is_production, place, quoted};
use crate::application;
use crate::check::containers::containers;
use crate::check::{Case, Examples, Rule};

pub struct MixedStack;

const CODE: &str = "LW-SVC-005";

impl Rule for MixedStack {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "several of the lab's roles in one stack"
    }

    fn doc(&self) -> &'static str {
        "One service has containers that play two or more roles that the whole lab leans on: DNS, the reverse proxy, \
         identity, secrets, the registry. They are then started, updated, moved, backed up and restored as one, and \
         `needs` can name them only together: an update of the proxy takes the names away with it, and a circle (the \
         one needs the other to start) stays out of sight.\n\n\
         Several applications that each keep what people put into them (Nextcloud, Immich, Paperless) in one stack are \
         advice for the same reason: the restore of one is a restore of all.\n\n\
         Roles and applications are known by their images; an exporter for one of them is none. An application beside the database that \
         is its own is how a stack is meant to be, and is not spoken of. In the lab tier this is advice.\n\n\
         It comes from document 0: small, replaceable building blocks instead of all-in-one stacks, critical \
         dependencies not hidden inside one large Compose file, and recovery tested for DNS, identity and backup first, \
         which asks for each by itself. Document 4 gives each such role a host with one job.\n\n\
         The way out: a service for each role, and `needs` between them."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nservices:\n  infra:\n    containers: { names: { image: \"pihole/pihole:2025.08\" }, login: { image: \"quay.io/keycloak/keycloak:26.3\" } }\n    on: docker-01",
            passes: "compute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nservices:\n  names: { containers: { app: { image: \"pihole/pihole:2025.08\" } }, on: docker-01 }\n  login: { containers: { app: { image: \"quay.io/keycloak/keycloak:26.3\" } }, on: docker-01, needs: [names] }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let mut last: Option<&str> = None;
        for placement in &parsed.placements {
            let roles = roles(parsed, placement);
            let name = placement.service.as_str();
            if last == Some(name) {
                continue;
            }
            if roles.len() < 2 {
                if let Some(finding) = applications(parsed, placement) {
                    last = Some(name);
                    findings.push(finding);
                }
                continue;
            }
            last = Some(name);
            let parts: Vec<String> = roles.iter().map(|(role, container)| format!("{role} (`{container}`)")).collect();
            let message = format!("service `{name}` is several roles of the lab at once: {}", all_of(&parts));
            let help = "make each a service of its own, with `needs` where one starts after the other";
            let at = format!("services.{name}.containers");
            let finding = Finding::warning(CODE, at, place(parsed, name), message).help(help);
            findings.push(at_tier(is_production(placement), finding));
        }
    }
}

/// Several applications that each keep what people put into them, in one stack.
fn applications(parsed: &Parsed, placement: &Placement) -> Option<Finding> {
    let mut found: Vec<String> = Vec::new();
    for image in containers(parsed, placement).filter_map(|container| container.image()) {
        let application = application::of_image(image.repository);
        if is_people_s(&application) && !found.contains(&application) {
            found.push(application);
        }
    }
    if found.len() < 2 {
        return None;
    }
    let names: Vec<&str> = found.iter().map(String::as_str).collect();
    let name = &placement.service;
    let message = format!("service `{name}` is several applications with data at once: {}", quoted(&names));
    let help = "make each a service of its own: what is one stack is updated, moved and restored as one";
    Some(Finding::advice(CODE, format!("services.{name}.containers"), place(parsed, name), message).help(help))
}

/// Words of an image's name, and the role that it plays.
const ROLES: &[(&str, &str)] = &[
    ("pihole", "DNS"),
    ("adguardhome", "DNS"),
    ("dns-server", "DNS"),
    ("coredns", "DNS"),
    ("blocky", "DNS"),
    ("traefik", "the reverse proxy"),
    ("nginx-proxy-manager", "the reverse proxy"),
    ("keycloak", "identity"),
    ("goauthentik", "identity"),
    ("authentik", "identity"),
    ("authelia", "identity"),
    ("zitadel", "identity"),
    ("kanidm", "identity"),
    ("lldap", "identity"),
    ("vault", "secrets"),
    ("openbao", "secrets"),
    ("registry", "the registry"),
    ("harbor-core", "the registry"),
];

/// Each role once, with the first container that plays it.
fn roles<'a>(parsed: &'a Parsed, placement: &'a Placement) -> Vec<(&'static str, &'a str)> {
    let mut roles: Vec<(&str, &str)> = Vec::new();
    for container in containers(parsed, placement) {
        let Some(image) = container.image() else { continue };
        // A registry's own name and port come before the path, and `registry.example.net` is no registry here.
        let path = match image.repository.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) => rest,
            _ => image.repository,
        };
        let role = ROLES.iter().find(|(word, _)| path.split('/').any(|part| part == *word));
        if let Some((_, role)) = role.filter(|(_, role)| !roles.iter().any(|(known, _)| known == role)) {
            roles.push((role, container.name));
        }
    }
    roles
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn roles_are_told_by_their_images() {
        says(
            r#"
owner: me
environments: [dev, prod]
compute: { hosts: { d-01: { address: 10.0.0.1 } } }
services:
  all: { containers: { p: { image: "traefik:3.1" }, l: { image: "ghcr.io/goauthentik/server:2025.8" }, w: { image: "ghcr.io/goauthentik/server:2025.8" }, v: { image: "hashicorp/vault:1.20" } }, on: d-01, environments: [dev, prod] }
  relied: { containers: { p: { image: "traefik:3.1@sha256:0" }, n: { image: "docker.io/pihole/pihole:1@sha256:0" } }, on: d-01, tier: production, probe: /, restore_notes: x }
  stack: { containers: { app: { image: "registry.example.net/app:1" }, db: { image: "postgres:16.4" }, cache: { image: "redis:7.4" }, login: { image: "quay.io/keycloak/keycloak:26.3" } }, on: d-01 }
  everything: { containers: { n: { image: "nextcloud:31" }, i: { image: "ghcr.io/immich-app/immich-server:v2" }, j: { image: "jellyfin/jellyfin:10" }, db: { image: "postgres:16" } }, on: d-01 }
  one: { containers: { n: { image: "nextcloud:31" }, cron: { image: "nextcloud:31" }, db: { image: "mariadb:11" } }, on: d-01 }
  exporter: { containers: { p: { image: "traefik:3.1" }, e: { image: "ekofr/pihole-exporter:1" } }, on: d-01 }
  login: { containers: { a: { image: "authelia/authelia:4.39" }, l: { image: "lldap/lldap:0.6" } }, on: d-01 }
"#,
            expect![[r#"
                6:3 advice LW-SVC-005: service `all` is several roles of the lab at once: the reverse proxy (`p`), identity (`l`) and secrets (`v`)
                    help: make each a service of its own, with `needs` where one starts after the other
                7:3 warning LW-SVC-005: service `relied` is several roles of the lab at once: the reverse proxy (`p`) and DNS (`n`)
                    help: make each a service of its own, with `needs` where one starts after the other
                9:3 advice LW-SVC-005: service `everything` is several applications with data at once: `nextcloud` and `immich`
                    help: make each a service of its own: what is one stack is updated, moved and restored as one
            "#]],
        );
    }
}
