//! LW-DAT-009: a backup policy or a repository that nothing uses.

use std::collections::HashSet;

use labwright_model::{Finding, Findings, Span};

use crate::check::services::told::{fold, quoted};
use crate::check::{Case, Examples, Rule};

pub struct UnusedProtection;

const CODE: &str = "LW-DAT-009";

impl Rule for UnusedProtection {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a backup policy or a repository that nothing uses"
    }

    fn doc(&self) -> &'static str {
        "A policy is there and no service and no host names it under `backup`, so it copies nothing; or a repository is there and no \
         policy writes to it. Either may be meant for later. Often enough it is the line that somebody forgot to add: the \
         backup is believed to run.\n\n\
         It is advice, one for policies and one for repositories. A repository of a policy that nothing uses is not told \
         a second time.\n\n\
         It comes from document 0, which asks for an inventory that tells what backups cover.\n\n\
         The way out: `backup: POLICY` in the services that it is meant for, the repository in a policy's `to`, or take \
         it out."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nprotection:\n  repositories: { offsite: { url: \"s3:https://s3.example.net/lab\" } }\n  policies: { nightly: { to: offsite, drill: weekly } }\nservices:\n  photos: { use: immich, on: docker-01 }",
            passes: "compute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nprotection:\n  repositories: { offsite: { url: \"s3:https://s3.example.net/lab\" } }\n  policies: { nightly: { to: offsite, drill: weekly } }\nservices:\n  photos: { use: immich, on: docker-01, backup: nightly }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let protection = &parsed.lab.protection;
        let of_services = parsed.lab.services.values().map(|service| &service.value.backup);
        let of_placements = parsed.placements.iter().map(|placement| &placement.entry.backup);
        let backups = of_services.chain(of_placements).flatten();
        let machines = parsed.lab.compute.hosts.values().filter_map(|host| host.value.backup.as_ref());
        let named: HashSet<&str> =
            backups.filter_map(|backup| backup.policy.as_ref()).chain(machines).map(|name| name.as_str()).collect();
        // A policy that leads nowhere is told as that.
        let leads = |to: &[labwright_model::Spanned<String>]| {
            !to.is_empty() && to.iter().all(|to| protection.repositories.contains_key(&to.value))
        };
        let policies: Vec<(&str, Span)> = protection
            .policies
            .iter()
            .filter(|(name, policy)| !named.contains(name.as_str()) && leads(&policy.to))
            .map(|(name, policy)| (name.as_str(), policy.span))
            .collect();
        let written: HashSet<&str> = protection
            .policies
            .values()
            .flat_map(|policy| policy.value.to.iter())
            .map(|to| to.value.as_str())
            .collect();
        let repositories: Vec<(&str, Span)> = protection
            .repositories
            .iter()
            .filter(|(name, _)| !written.contains(name.as_str()))
            .map(|(name, repository)| (name.as_str(), repository.span))
            .collect();
        findings.extend(fold(parsed, CODE, &policies, "nor this", |names, span| {
            let (noun, first) = (if names.len() == 1 { "policy" } else { "policies" }, names[0]);
            let message = format!("no service and no host names backup {noun} {}", quoted(names));
            let help = format!("add `backup: {first}` to the services that it is meant for, or take it out");
            Finding::advice(CODE, format!("protection.policies.{first}"), span, message).help(help)
        }));
        findings.extend(fold(parsed, CODE, &repositories, "nor this", |names, span| {
            let (noun, first) = (if names.len() == 1 { "repository" } else { "repositories" }, names[0]);
            let message = format!("no policy writes to {noun} {}", quoted(names));
            let help = match protection.policies.keys().next() {
                Some(policy) => format!("add `{first}` to the `to` of a policy such as `{policy}`, or take it out"),
                None => format!(
                    "add a policy that writes to it, `policies: {{ nightly: {{ schedule: \"03:15\", to: {first} }} }}`, \
                     or take it out"
                ),
            };
            Finding::advice(CODE, format!("protection.repositories.{first}"), span, message).help(help)
        }));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn what_nothing_uses_is_told_once() {
        says(
            r#"
environments: [dev, prod]
compute: { hosts: { d-01: { address: 10.0.0.1 } } }
protection:
  repositories: { r: { url: "b2:a" }, s: { url: "b2:b" }, t: { url: "b2:c" }, u: { url: "b2:d" }, v: { url: "b2:e" } }
  policies:
    used: { to: [r, s], drill: weekly }
    of-prod: { to: [r, s], drill: weekly }
    unused: { to: t, drill: weekly }
    unused-too: { to: [t], drill: weekly }
services:
  a: { use: x, on: d-01, backup: used, environments: { dev:, prod: { backup: of-prod } } }
"#,
            expect![[r#"
                5:79 advice LW-DAT-009: no policy writes to repositories `u` and `v`
                    help: add `u` to the `to` of a policy such as `used`, or take it out
                    5:99: nor this
                9:5 advice LW-DAT-009: no service and no host names backup policies `unused` and `unused-too`
                    help: add `backup: unused` to the services that it is meant for, or take it out
                    10:5: nor this
            "#]],
        );
    }

    #[test]
    fn a_repository_alone() {
        says(
            "protection: { repositories: { r: { url: \"b2:a\" } } }\n",
            expect![[r#"
            1:31 advice LW-DAT-009: no policy writes to repository `r`
                help: add a policy that writes to it, `policies: { nightly: { schedule: "03:15", to: r } }`, or take it out
        "#]],
        );
    }
}
