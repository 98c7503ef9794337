//! LW-SVC-001: a service that cannot be where it is put.

use labwright_model::lab::{Lab, Os, Service};
use labwright_model::{Finding, Findings, Parsed, Placement, Severity, Span, Spanned};

use crate::check::references::at;
use crate::check::{Case, Examples, Rule};

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
        "- A service has none of `use`, `compose`, `containers`, `run`, `built_in` and `external`, or more than one: it is not said what runs.\n\
         - A service that the lab runs has no `on`: it is not said where.\n\
         - Containers are put on a host that is not among `compute.docker_hosts`.\n\
         - A process is put on a host whose units Labwright does not write (`os: nixos`, `os: other`).\n\
         - Anything is put on a hypervisor: a warning. What breaks there takes every machine on it along.\n\
         - Somebody else runs it (`external`), and it has `on` all the same.\n\n\
         It comes from document 0, which has dedicated hosts for containers beside Proxmox for virtual machines. \
         Document 4 does run containers on its hypervisor, which is why that is a warning and no error.\n\n\
         The way out stands in the finding."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  docker_hosts: [docker-01]\n  hosts:\n    docker-01: { address: 10.0.20.21 }\n    nas-01: { address: 10.0.20.5 }\nservices:\n  wiki: { compose: wiki/compose.yaml, on: nas-01 }",
            passes: "compute:\n  docker_hosts: [docker-01]\n  hosts:\n    docker-01: { address: 10.0.20.21 }\n    nas-01: { address: 10.0.20.5 }\nservices:\n  wiki: { compose: wiki/compose.yaml, on: docker-01 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        // Environments that share what is wrong are one finding.
        let mut told: Vec<(&Placement, Fault, usize)> = Vec::new();
        for placement in &parsed.placements {
            let span = parsed.lab.services.get(&placement.service).map_or(Span::NONE, |service| service.span);
            for fault in faults(parsed, placement, span) {
                match told.iter_mut().find(|(_, first, _)| (first.span, &first.message) == (fault.span, &fault.message))
                {
                    Some((.., times)) => *times += 1,
                    None => told.push((placement, fault, 1)),
                }
            }
        }
        for (placement, fault, times) in told {
            let placed = parsed.placements.iter().filter(|other| other.service == placement.service).count();
            let message = match &placement.environment {
                Some(environment) if times < placed => format!("in `{environment}`, {}", fault.message),
                _ => fault.message,
            };
            let finding = Finding::error(CODE, at(placement), fault.span, message).help(fault.help);
            findings.push(Finding { severity: fault.severity, ..finding });
        }
    }
}

/// The forms that the lab file gives a service. What a Compose file says is under `containers` of its placement as well.
fn forms(parsed: &Parsed, placement: &Placement) -> Vec<&'static str> {
    let (service, name) = (&placement.entry, placement.service.as_str());
    let own = placement.environment.as_deref();
    let written = parsed.is_said(&["services", name, "containers"])
        || own.is_some_and(|own| parsed.is_said(&["services", name, "environments", own, "containers"]));
    let forms = [
        ("use", service.catalogue.is_some()),
        ("compose", service.compose.is_some()),
        ("containers", written && !service.containers.0.is_null()),
        ("run", service.run.is_some()),
        ("built_in", service.built_in.is_some()),
        ("external", service.external.is_some()),
        ("site", service.site.is_some()),
    ];
    forms.into_iter().filter(|(_, used)| *used).map(|(form, _)| form).collect()
}

struct Fault {
    severity: Severity,
    span: Span,
    message: String,
    help: String,
}

fn error(span: Span, message: String, help: impl Into<String>) -> Fault {
    Fault { severity: Severity::Error, span, message, help: help.into() }
}

fn faults(parsed: &Parsed, placement: &Placement, span: Span) -> Vec<Fault> {
    let (name, service, lab) = (&placement.service, &placement.entry, &parsed.lab);
    let mut faults = Vec::new();
    let forms = forms(parsed, placement);
    match forms.as_slice() {
        [] => faults.push(error(
            span,
            format!("it is not said what service `{name}` is"),
            "give it one of `use`, `compose`, `containers`, `run`, `built_in`, `external` or `site`",
        )),
        [_] => {}
        [first, rest @ ..] => {
            let list = rest.iter().map(|form| format!("`{form}`")).collect::<Vec<_>>().join(" and ");
            faults.push(error(
                span,
                format!("service `{name}` has `{first}` and {list}"),
                "keep one of them: they are different ways to run it",
            ));
        }
    }
    if service.external.is_some() {
        if let Some(on) = service.on.first() {
            let message = format!("service `{name}` is external, and is put on `{}`", on.value);
            faults.push(error(on.span, message, "remove `on`, or `external`"));
        }
        return faults;
    }
    if service.site.is_some() {
        // The proxy shows it, wherever that is.
        if lab.platform.reverse_proxy.is_none() {
            let message = format!("service `{name}` is a folder of pages, and there is no reverse proxy to show it");
            faults.push(error(span, message, "name the host that shall: `platform: { reverse_proxy: HOST }`"));
        }
        return faults;
    }
    if service.on.is_empty() && !forms.is_empty() {
        let hosts = lab.compute.docker_hosts.iter().map(|host| host.value.as_str()).collect::<Vec<_>>().join(", ");
        let help = if hosts.is_empty() || service.run.is_some() {
            "add `on: HOST`".to_string()
        } else {
            format!("add `on:` with one of the container hosts: {hosts}")
        };
        faults.push(error(span, format!("it is not said where service `{name}` runs"), help));
    }
    faults.extend(service.on.iter().filter_map(|on| of_host(lab, name, service, on)));
    faults
}

/// What is wrong with one host for a service. The first fault hides the others: it has to be mended anyway.
fn of_host(lab: &Lab, name: &str, service: &Service, on: &Spanned<String>) -> Option<Fault> {
    let host = lab.host(on)?;
    let lists = |hosts: &[Spanned<String>]| hosts.iter().any(|listed| listed.value == on.value);
    let containers = service.catalogue.is_some() || service.compose.is_some() || !service.containers.0.is_null();
    let hypervisor = lists(&lab.compute.proxmox) || host.os == Os::Proxmox;
    if containers && !lab.compute.docker_hosts.is_empty() && !lists(&lab.compute.docker_hosts) {
        let message = format!("`{}` is no container host, and service `{name}` is made of containers", on.value);
        let help = match hypervisor {
            true => "put it on one of `compute.docker_hosts`: a hypervisor runs machines, not services".to_string(),
            false => format!("add `{}` to `compute.docker_hosts`, or put it on one that is", on.value),
        };
        return Some(error(on.span, message, help));
    }
    if service.run.is_some() && matches!(host.os, Os::Nixos | Os::Other) {
        let message = format!("`{}` has `os: {}`, and no process is put there", on.value, host.os.word());
        return Some(error(on.span, message, "put it on a Debian or Ubuntu host, or correct `os`"));
    }
    // Its own web interface is a part of it, and may have a name.
    let own =
        service.built_in.is_some() && service.port.as_ref().is_some_and(|port| port.rsplit(':').next() == Some("8006"));
    if hypervisor && !own {
        let message =
            format!("service `{name}` runs on hypervisor `{}`, beside the machines that it carries", on.value);
        let help = "put it on a virtual machine of its own, or on a container host";
        return Some(Fault { severity: Severity::Warning, ..error(on.span, message, help) });
    }
    None
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn what_runs_and_where() {
        says(
            r#"
compute:
  docker_hosts: [docker-01]
  proxmox: [pve-01]
  hosts:
    docker-01: { address: 10.0.0.1 }
    nas-01: { address: 10.0.0.2, os: other }
    nix-01: { address: 10.0.0.3, os: nixos }
    pve-01: { address: 10.0.0.4 }
    pve-02: { address: 10.0.0.5, os: proxmox }
services:
  nothing: { on: docker-01 }
  both: { use: x, compose: y.yaml, run: z, on: docker-01 }
  nowhere: { use: x }
  nowhere-process: { run: x }
  far: { external: x, on: docker-01 }
  wrong: { containers: { a: { image: x } }, on: [docker-01, nas-01, pve-01] }
  process: { run: x, on: [docker-01, nas-01, nix-01, pve-02] }
  page: { built_in: pveproxy, on: pve-02, port: 8006 }
  unknown: { external: x, use: y }
"#,
            expect![[r#"
                12:3 error LW-SVC-001: it is not said what service `nothing` is
                    help: give it one of `use`, `compose`, `containers`, `run`, `built_in`, `external` or `site`
                13:3 error LW-SVC-001: service `both` has `use` and `compose` and `run`
                    help: keep one of them: they are different ways to run it
                14:3 error LW-SVC-001: it is not said where service `nowhere` runs
                    help: add `on:` with one of the container hosts: docker-01
                15:3 error LW-SVC-001: it is not said where service `nowhere-process` runs
                    help: add `on: HOST`
                16:27 error LW-SVC-001: service `far` is external, and is put on `docker-01`
                    help: remove `on`, or `external`
                17:3 advice LW-SVC-006: service `wrong` runs `x`, which changes by itself
                    help: write the version that runs now: `image: "NAME:VERSION"`
                17:61 error LW-SVC-001: `nas-01` is no container host, and service `wrong` is made of containers
                    help: add `nas-01` to `compute.docker_hosts`, or put it on one that is
                17:69 error LW-SVC-001: `pve-01` is no container host, and service `wrong` is made of containers
                    help: put it on one of `compute.docker_hosts`: a hypervisor runs machines, not services
                18:38 error LW-SVC-001: `nas-01` has `os: other`, and no process is put there
                    help: put it on a Debian or Ubuntu host, or correct `os`
                18:46 error LW-SVC-001: `nix-01` has `os: nixos`, and no process is put there
                    help: put it on a Debian or Ubuntu host, or correct `os`
                18:54 warning LW-SVC-001: service `process` runs on hypervisor `pve-02`, beside the machines that it carries
                    help: put it on a virtual machine of its own, or on a container host
                20:3 error LW-SVC-001: service `unknown` has `use` and `external`
                    help: keep one of them: they are different ways to run it
            "#]],
        );
    }

    #[test]
    fn environments_that_share_a_fault_share_the_finding() {
        says(
            r#"
environments: [dev, prod]
compute: { docker_hosts: [d-01], hosts: { d-01: { address: 10.0.0.1 }, d-02: { address: 10.0.0.2 } } }
services:
  a: { use: x, on: d-02, environments: [dev, prod] }
  b: { use: x, environments: { dev: { on: d-01 }, prod: } }
  c: { use: x, on: d-01, environments: { dev: , prod: { on: d-02 } } }
"#,
            expect![[r#"
                5:20 error LW-SVC-001: `d-02` is no container host, and service `a` is made of containers
                    help: add `d-02` to `compute.docker_hosts`, or put it on one that is
                6:3 error LW-SVC-001: in `prod`, it is not said where service `b` runs
                    help: add `on:` with one of the container hosts: d-01
                7:61 error LW-SVC-001: in `prod`, `d-02` is no container host, and service `c` is made of containers
                    help: add `d-02` to `compute.docker_hosts`, or put it on one that is
            "#]],
        );
    }

    #[test]
    fn without_a_list_of_container_hosts_any_host_will_do() {
        says(
            r#"
compute: { hosts: { d-01: { address: 10.0.0.1 } } }
services:
  a: { use: x, on: d-01 }
"#,
            expect![[""]],
        );
    }
}
