//! LW-PLT-015: a registry that fills its disk.

use labwright_model::lab::Tier;
use labwright_model::{Finding, Findings, Parsed, Placement, Severity};

use crate::application;
use crate::check::compute::carried::{by_tier, told};
use crate::check::containers::containers;
use crate::check::{Case, Examples, Rule};

pub struct RegistryUpkeep;

const CODE: &str = "LW-PLT-015";

impl Rule for RegistryUpkeep {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a registry that fills its disk"
    }

    fn doc(&self) -> &'static str {
        "The registry has no `garbage_collect`, or no `watch_disk`. A registry keeps every layer that was ever pushed; \
         deleting a tag frees nothing until garbage is collected. When its disk is full, pushes fail in the middle, with a \
         message that does not say why.\n\n\
         Document 4 tells both: builds leak storage for ever without the weekly collection, and the disk filled silently \
         until uploads answered with error 500; looking at that disk is now the first thing done there. The documentation \
         of the CNCF's Distribution (garbage collection) says that nothing is removed by itself.\n\n\
         It is a warning without `garbage_collect` where the lab has runners, which push with every build, or where the \
         registry's host is in production; advice otherwise. `watch_disk` is asked for where there is monitoring to raise \
         the alert. A registry that only caches others (`cache`, and no runners) drops what is old by itself and hears nothing.\n\n\
         A service with the image of a registry, in a lab that names none under `platform`, is told as advice: nothing says \
         who cleans it.\n\n\
         The way out: `registry: { on: HOST, garbage_collect: weekly, watch_disk: 50GiB }`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    build-01: { address: 10.0.20.30 }\nplatform:\n  runners: build-01\n  registry: build-01",
            passes: "compute:\n  hosts:\n    build-01: { address: 10.0.20.30 }\nplatform:\n  runners: build-01\n  registry: { on: build-01, garbage_collect: weekly, watch_disk: 50GiB }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let platform = &parsed.lab.platform;
        let Some(registry) = &platform.registry else {
            findings.extend(undeclared(parsed));
            return;
        };
        let Some(first) = registry.on.first() else { return };
        let pushed = platform.runners.is_some() || registry.cache.is_empty();
        let collect = registry.garbage_collect.is_none() && pushed;
        let watch = registry.watch_disk.is_none() && pushed && platform.monitoring.is_some();
        let (what, missing) = match (collect, watch) {
            (true, true) => (
                "nothing that was pushed is ever removed, and nobody is told when its disk is full",
                "garbage_collect: weekly, watch_disk: 50GiB",
            ),
            (true, false) => ("nothing that was pushed is ever removed", "garbage_collect: weekly"),
            (false, true) => ("nobody is told when its disk is full", "watch_disk: 50GiB"),
            (false, false) => return,
        };
        let relied_on = registry.on.iter().filter_map(|host| parsed.lab.host(&host.value));
        let production = relied_on.into_iter().any(|host| host.tier == Tier::Production);
        let severity = by_tier(collect && (platform.runners.is_some() || production));
        let message = format!("the registry on `{}` may fill its disk: {what}", first.value);
        let help = format!("add to it: `registry: {{ on: {}, {missing} }}`", first.value);
        findings.push(told(CODE, severity, "platform.registry".to_string(), first.span, message, help));
    }
}

/// A registry that is a service like others: nothing says who cleans it.
fn undeclared(parsed: &Parsed) -> Option<Finding> {
    let is_registry = |placement: &&Placement| {
        containers(parsed, placement).any(|container| {
            let image = container.image().is_some_and(|image| application::is_registry(image.repository));
            // One that caches another drops what is old by itself.
            image && !container.environment().any(|(name, _)| name.starts_with("REGISTRY_PROXY"))
        })
    };
    let placement = parsed.placements.iter().find(is_registry)?;
    let name = &placement.service;
    let on = placement.entry.on.first().map_or("HOST", |on| on.value.as_str());
    let message = format!("the registry `{name}` may fill its disk: nothing that was pushed is ever removed");
    let help = format!(
        "say that it is the lab's, and when it is cleaned: `platform: {{ registry: {{ on: {on}, garbage_collect: weekly }} }}`"
    );
    let span = parsed.lab.services.get(name)?.span;
    Some(told(CODE, Severity::Advice, format!("services.{name}"), span, message, help))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    fn lab(platform: &str, golden: expect_test::Expect) {
        says(&format!("compute: {{ hosts: {{ b: {{ address: 10.0.0.1 }} }} }}\nplatform: {{ {platform} }}\n"), golden);
    }

    #[test]
    fn what_is_missing_and_how_much_it_matters() {
        lab(
            "registry: b",
            expect![[r#"
                2:23 advice LW-PLT-015: the registry on `b` may fill its disk: nothing that was pushed is ever removed
                    help: add to it: `registry: { on: b, garbage_collect: weekly }`
            "#]],
        );
        lab(
            "registry: b, runners: b",
            expect![[r#"
                2:23 warning LW-PLT-015: the registry on `b` may fill its disk: nothing that was pushed is ever removed
                    help: add to it: `registry: { on: b, garbage_collect: weekly }`
            "#]],
        );
        lab(
            "registry: b, monitoring: b",
            expect![[r#"
                2:23 advice LW-PLT-015: the registry on `b` may fill its disk: nothing that was pushed is ever removed, and nobody is told when its disk is full
                    help: add to it: `registry: { on: b, garbage_collect: weekly, watch_disk: 50GiB }`
            "#]],
        );
        lab(
            "registry: { on: b, garbage_collect: weekly }, monitoring: b, runners: b",
            expect![[r#"
                2:29 advice LW-PLT-015: the registry on `b` may fill its disk: nobody is told when its disk is full
                    help: add to it: `registry: { on: b, watch_disk: 50GiB }`
            "#]],
        );
    }

    #[test]
    fn a_registry_that_is_a_service_like_others() {
        let service = |platform: &str, container: &str, golden: expect_test::Expect| {
            says(
                &format!(
                    "compute: {{ hosts: {{ b: {{ address: 10.0.0.1 }} }} }}\nplatform: {{ {platform} }}\nservices:\n  images: {{ containers: {{ app: {{ {container} }} }}, on: b }}\n"
                ),
                golden,
            );
        };
        service(
            "runners: b",
            "image: \"registry:2.8\"",
            expect![[r#"
            4:3 advice LW-PLT-015: the registry `images` may fill its disk: nothing that was pushed is ever removed
                help: say that it is the lab's, and when it is cleaned: `platform: { registry: { on: b, garbage_collect: weekly } }`
        "#]],
        );
        service("runners: b", "image: \"registry:2.8\", environment: { REGISTRY_PROXY_REMOTEURL: x }", expect![[""]]);
        service("runners: b", "image: \"joxit/docker-registry-ui:2\"", expect![[""]]);
        service("registry: { on: b, garbage_collect: weekly }", "image: \"registry:2.8\"", expect![[""]]);
    }

    #[test]
    fn what_is_kept_up_and_what_only_caches_hear_nothing() {
        lab("registry: { on: b, garbage_collect: weekly }, runners: b", expect![[""]]);
        lab("registry: { on: b, garbage_collect: weekly, watch_disk: 5GiB }, monitoring: b", expect![[""]]);
        lab("registry: { on: b, cache: docker.io }, monitoring: b", expect![[""]]);
        lab(
            "registry: []",
            expect![[r#"
            2:23 error LW-PLT-001: `platform.registry` is declared, and no host plays it
                help: give it `on: HOST`, or remove it
        "#]],
        );
    }
}
