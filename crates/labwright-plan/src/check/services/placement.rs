//! LW-SVC-001: a service that cannot be where it is put.

use labwright_model::lab::{Os, Service};
use labwright_model::{Finding, Findings, Parsed, Placement, Span};

use crate::check::references::at;
use crate::check::{Examples, Rule};

pub struct PlacementRule;

const CODE: &str = "LW-SVC-001";

impl Rule for PlacementRule {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a service that cannot be where it is put"
    }

    fn doc(&self) -> &'static str {
        "- A service has none of `use`, `compose`, `containers`, `run` and `external`, or more than one: it is not said what runs.\n\
         - A service that the lab runs has no `on`: it is not said where.\n\
         - Containers are put on a host that is not among `compute.docker_hosts`.\n\
         - A process is put on a host whose units Labwright does not write (`os: nixos`, `os: other`).\n\
         - Somebody else runs it (`external`), and it has `on` all the same.\n\nThe way out stands in the finding."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  docker_hosts: [docker-01]\n  hosts:\n    docker-01: { address: 10.0.20.21 }\n    nas-01: { address: 10.0.20.5 }\nservices:\n  wiki: { compose: wiki/compose.yaml, on: nas-01 }",
            passes: "compute:\n  docker_hosts: [docker-01]\n  hosts:\n    docker-01: { address: 10.0.20.21 }\n    nas-01: { address: 10.0.20.5 }\nservices:\n  wiki: { compose: wiki/compose.yaml, on: docker-01 }",
        }
    }

    fn check(&self, parsed: &Parsed, findings: &mut Findings) {
        let mut told: Vec<(Span, String)> = Vec::new();
        for placement in &parsed.placements {
            let span = parsed.lab.services.get(&placement.service).map_or(Span::NONE, |service| service.span);
            for (span, message, help) in faults(parsed, placement, span) {
                // Environments that share what is wrong are one finding.
                if !told.contains(&(span, message.clone())) {
                    told.push((span, message.clone()));
                    findings.push(Finding::error(CODE, at(placement), span, message).help(help));
                }
            }
        }
    }
}

fn forms(service: &Service) -> Vec<&'static str> {
    let forms = [
        ("use", service.catalogue.is_some()),
        ("compose", service.compose.is_some()),
        ("containers", !service.containers.0.is_null()),
        ("run", service.run.is_some()),
        ("external", service.external.is_some()),
    ];
    forms.into_iter().filter(|(_, used)| *used).map(|(form, _)| form).collect()
}

fn faults(parsed: &Parsed, placement: &Placement, span: Span) -> Vec<(Span, String, String)> {
    let (name, service, lab) = (&placement.service, &placement.entry, &parsed.lab);
    let mut faults = Vec::new();
    let forms = forms(service);
    match forms.as_slice() {
        [] => faults.push((
            span,
            format!("it is not said what service `{name}` is"),
            "give it one of `use`, `compose`, `containers`, `run` or `external`".to_string(),
        )),
        [_] => {}
        [first, rest @ ..] => {
            let list = rest.iter().map(|form| format!("`{form}`")).collect::<Vec<_>>().join(" and ");
            faults.push((
                span,
                format!("service `{name}` has `{first}` and {list}"),
                "keep one of them: they are different ways to run it".to_string(),
            ));
        }
    }
    if service.external.is_some() {
        if let Some(on) = service.on.first() {
            faults.push((
                on.span,
                format!("service `{name}` is external, and is put on `{}`", on.value),
                "remove `on`, or `external`".to_string(),
            ));
        }
        return faults;
    }
    if service.on.is_empty() && !forms.is_empty() {
        let hosts = lab.compute.docker_hosts.iter().map(|host| host.value.as_str()).collect::<Vec<_>>().join(", ");
        let help = if hosts.is_empty() {
            "add `on: HOST`".to_string()
        } else {
            format!("add `on:` with one of the container hosts: {hosts}")
        };
        faults.push((span, format!("it is not said where service `{name}` runs"), help));
    }
    let containers = service.catalogue.is_some() || service.compose.is_some() || !service.containers.0.is_null();
    for on in service.on.iter() {
        let Some(host) = lab.host(on) else { continue };
        let hosts = &lab.compute.docker_hosts;
        if containers && !hosts.is_empty() && !hosts.iter().any(|docker| docker.value == on.value) {
            let message = format!("`{}` is no container host, and service `{name}` is made of containers", on.value);
            faults.push((
                on.span,
                message,
                format!("add `{}` to `compute.docker_hosts`, or put it on one that is", on.value),
            ));
        }
        if service.run.is_some() && matches!(host.os, Os::Nixos | Os::Other) {
            let message = format!("`{}` has `os: {}`, and no process is put there", on.value, host.os.word());
            faults.push((on.span, message, "put it on a Debian or Ubuntu host, or correct `os`".to_string()));
        }
    }
    faults
}
