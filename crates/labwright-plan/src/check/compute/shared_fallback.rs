//! LW-CMP-011: a role and its fallback that fail together.

use std::collections::BTreeMap;

use labwright_model::{Findings, Severity};

use super::carried::{Carried, Core, by_tier, is_production, list, told};
use crate::check::{Case, Examples, Rule};
use crate::topology::Domain;

pub struct SharedFallback;

const CODE: &str = "LW-CMP-011";

impl Rule for SharedFallback {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a fallback that fails with what it stands in for"
    }

    fn doc(&self) -> &'static str {
        "A role (names, the proxy, identity, secrets, monitoring) has several hosts so that one may fail, and all of them \
         stand on one hypervisor, are in one `failure_domain`, or have their disks on one storage of the network (by its name: \
         `nas-nfs`, `iscsi`). The day that takes the first takes the others. Hosts at one \
         site are told only where a production service at another site is left behind: at home, names are needed by the \
         home.\n\n\
         Document 0: design around failure domains, not only convenience. RFC 2182 (section 3.1) says the same of name \
         servers: a second one must not sit behind the same point of failure as the first.\n\n\
         It is a warning where the lab has something in production and another machine to move to, and advice otherwise.\n\n\
         The way out: run one of the hosts on another machine: `vm: { on: OTHER }`. A small single-board computer is enough \
         for names."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  proxmox: [pve-01, pve-02]\n  hosts:\n    pve-01: { address: 10.0.10.11 }\n    pve-02: { address: 10.0.10.12 }\n    dns-01: { address: 10.0.20.53, vm: { on: pve-01 } }\n    dns-02: { address: 10.0.20.54, vm: { on: pve-01 } }\nplatform:\n  dns: [dns-01, dns-02]",
            passes: "compute:\n  proxmox: [pve-01, pve-02]\n  hosts:\n    pve-01: { address: 10.0.10.11 }\n    pve-02: { address: 10.0.10.12 }\n    dns-01: { address: 10.0.20.53, vm: { on: pve-01 } }\n    dns-02: { address: 10.0.20.54, vm: { on: pve-02 } }\nplatform:\n  dns: [dns-01, dns-02]",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let carried = case.carried();
        let mut shared: BTreeMap<Domain<'_>, Vec<&Core<'_>>> = BTreeMap::new();
        for core in carried.core.iter().filter(|core| core.on.len() >= 2) {
            if let Some(domain) = shared_domain(carried, core) {
                shared.entry(domain).or_default().push(core);
            }
        }
        for (domain, cores) in shared {
            let Some((first, others)) = cores.split_first() else { continue };
            let Some((_, span)) = first.on.get(1) else { continue };
            let hosts = list(first.on.iter().map(|(host, _)| *host));
            let (how, help, movable) = told_of(carried, &domain, first);
            let severity = match domain {
                Domain::Site(_) => Severity::Advice,
                _ => by_tier(carried.production && movable),
            };
            let message = format!("{hosts} share `{}` and fail together: {how}", first.role);
            let mut finding = told(CODE, severity, first.role.to_string(), *span, message, help);
            for (host, _) in &first.on {
                let guest = carried.topology.host(host).and_then(|host| host.vm.iter().chain(&host.lxc).next());
                if let (Some(on), Domain::Host(_)) = (guest.and_then(|guest| guest.on.as_ref()), &domain) {
                    finding = finding.related(on.span, format!("where `{host}` runs"));
                }
            }
            for core in others {
                if let Some((_, span)) = core.on.get(1) {
                    finding = finding.related(*span, format!("the same is true of `{}`", core.role));
                }
            }
            findings.push(finding);
        }
    }
}

/// How they fail together, what to type, and whether there is somewhere else to go.
fn told_of(carried: &Carried<'_>, domain: &Domain<'_>, core: &Core<'_>) -> (String, String, bool) {
    let last = core.on.last().map_or("", |(host, _)| *host);
    match domain {
        Domain::Host(machine) => {
            let guest = !carried.topology.under(last).is_empty();
            let elsewhere = carried.elsewhere(machine);
            let help = match elsewhere {
                Some(to) if guest && !carried.topology.guests_of(to).is_empty() => {
                    format!("move one of them: `{last}: {{ vm: {{ on: {to} }} }}`")
                }
                Some(to) => format!("move one of them to another machine, for example `{to}`"),
                None => "put one of them on a machine of its own; a small one is enough".to_string(),
            };
            (format!("all of them stand on `{machine}`"), help, elsewhere.is_some())
        }
        Domain::Storage("", storage) => (
            format!("the disks of all of them are on storage `{storage}`"),
            format!("put the disk of `{last}` on a storage of its hypervisor's own: `storage: local-lvm`"),
            true,
        ),
        Domain::Storage(on, storage) => (
            format!("all of them are on storage `{storage}` of `{on}`"),
            "put one of them on another storage".into(),
            true,
        ),
        Domain::Shared(name) => {
            let help = format!("plug one of them in elsewhere, and take `failure_domain: {name}` off it");
            (format!("all of them are in failure domain `{name}`"), help, true)
        }
        Domain::Site(site) => {
            let help = "give the other site a host of its own for this role, and add it to the list".to_string();
            (format!("all of them are at site `{site}`, and services elsewhere lean on them"), help, true)
        }
    }
}

/// What takes all hosts of a role at once, the nearest first.
fn shared_domain<'a>(carried: &Carried<'a>, core: &Core<'a>) -> Option<Domain<'a>> {
    let (first, others) = core.on.split_first()?;
    let domains: Vec<Vec<Domain<'a>>> = others.iter().map(|(host, _)| carried.topology.domains(host)).collect();
    let everywhere = |domain: &Domain<'a>| domains.iter().all(|other| other.contains(domain));
    let near = |domain: &Domain<'a>| match domain {
        Domain::Site(site) => is_needed_elsewhere(carried, site),
        _ => true,
    };
    let mut shared = carried.topology.domains(first.0).into_iter().filter(everywhere).filter(near);
    let nearest = shared.next();
    match nearest {
        None | Some(Domain::Site(_)) => shared_storage(carried, core).or(nearest),
        nearest => nearest,
    }
}

/// The storage on the network that the disks of all hosts of a role are on, whatever hypervisors run them.
fn shared_storage<'a>(carried: &Carried<'a>, core: &Core<'a>) -> Option<Domain<'a>> {
    let storage = |host: &str| {
        let host = carried.topology.host(host)?;
        host.vm.iter().chain(&host.lxc).next()?.storage.as_ref().map(|storage| storage.value.as_str())
    };
    let first = storage(core.on.first()?.0)?;
    let all = core.on.iter().all(|(host, _)| storage(host) == Some(first));
    (all && is_on_the_network(carried, first)).then_some(Domain::Storage("", first))
}

/// Whether a storage is one for all hypervisors: two of them may each have a `local-zfs` or a `tank` of their own.
fn is_on_the_network(carried: &Carried<'_>, storage: &str) -> bool {
    const WORDS: &[&str] = &["nfs", "nas", "cifs", "smb", "iscsi", "san"];
    let hosts = &carried.topology.parsed.lab.compute.hosts;
    let parts = || storage.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_lowercase);
    hosts.contains_key(storage) || parts().any(|part| WORDS.contains(&part.as_str()) || hosts.contains_key(&part))
}

fn is_needed_elsewhere(carried: &Carried<'_>, site: &str) -> bool {
    let production = carried.topology.parsed.placements.iter().filter(|placement| is_production(placement));
    let mut sites = production.flat_map(|placement| placement.entry.on.iter().map(|on| carried.topology.site(on)));
    sites.any(|other| other.is_some_and(|other| other != site))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn one_hypervisor_for_several_roles_is_one_finding() {
        says(
            r#"
owner: mia
compute:
  proxmox: [pve-01, pve-02]
  hosts:
    pve-01: { address: 10.0.10.11 }
    pve-02: { address: 10.0.10.12 }
    dns-01: { address: 10.0.20.53, tier: production, vm: { on: pve-01 } }
    dns-02: { address: 10.0.20.54, vm: { on: pve-01 } }
    other: { address: 10.0.20.55, vm: { on: pve-02 } }
platform: { dns: [dns-01, dns-02], reverse_proxy: [dns-01, dns-02] }
"#,
            expect![[r#"
                11:27 warning LW-CMP-011: `dns-01` and `dns-02` share `platform.dns` and fail together: all of them stand on `pve-01`
                    help: move one of them: `dns-02: { vm: { on: pve-02 } }`
                    8:64: where `dns-01` runs
                    9:46: where `dns-02` runs
                    11:60: the same is true of `platform.reverse_proxy`
            "#]],
        );
    }

    #[test]
    fn failure_domains_sites_and_a_lonely_machine() {
        says(
            r#"
compute:
  hosts:
    pi-01: { address: 10.0.20.53, failure_domain: strip }
    pi-02: { address: 10.0.20.54, failure_domain: [strip, shelf] }
    pve: { address: 10.0.20.1 }
    proxy-01: { address: 10.0.20.55, vm: { on: pve } }
    proxy-02: { address: 10.0.20.56, lxc: { on: pve } }
platform: { dns: [pi-01, pi-02], reverse_proxy: [proxy-01, proxy-02] }
"#,
            expect![[r#"
                9:26 advice LW-CMP-011: `pi-01` and `pi-02` share `platform.dns` and fail together: all of them are in failure domain `strip`
                    help: plug one of them in elsewhere, and take `failure_domain: strip` off it
                9:60 advice LW-CMP-011: `proxy-01` and `proxy-02` share `platform.reverse_proxy` and fail together: all of them stand on `pve`
                    help: put one of them on a machine of its own; a small one is enough
                    7:48: where `proxy-01` runs
                    8:49: where `proxy-02` runs
            "#]],
        );
        says(
            r#"
owner: mia
compute:
  hosts:
    dns-01: { address: 10.0.20.53, site: home }
    dns-02: { address: 10.0.20.54, site: home }
    box: { address: 10.9.0.5, site: cabin }
platform: { dns: [dns-01, dns-02] }
services:
  heating: { run: heating, on: box, tier: production }
"#,
            expect![[r#"
                8:27 advice LW-CMP-011: `dns-01` and `dns-02` share `platform.dns` and fail together: all of them are at site `home`, and services elsewhere lean on them
                    help: give the other site a host of its own for this role, and add it to the list
            "#]],
        );
    }

    #[test]
    fn one_storage_under_two_hypervisors() {
        let lab = |storage: &str| {
            format!(
                "compute:\n  hosts:\n    tower: {{ address: 10.0.0.5 }}\n    pve-01: {{ address: 10.0.0.1 }}\n    pve-02: {{ address: 10.0.0.2 }}\n    dns-01: {{ address: 10.0.0.53, vm: {{ on: pve-01, storage: {storage} }} }}\n    dns-02: {{ address: 10.0.0.54, vm: {{ on: pve-02, storage: {storage} }} }}\nplatform: {{ dns: [dns-01, dns-02] }}\n"
            )
        };
        says(
            &lab("nas-nfs"),
            expect![[r#"
            8:27 advice LW-CMP-011: `dns-01` and `dns-02` share `platform.dns` and fail together: the disks of all of them are on storage `nas-nfs`
                help: put the disk of `dns-02` on a storage of its hypervisor's own: `storage: local-lvm`
        "#]],
        );
        says(
            &lab("tower"),
            expect![[r#"
            8:27 advice LW-CMP-011: `dns-01` and `dns-02` share `platform.dns` and fail together: the disks of all of them are on storage `tower`
                help: put the disk of `dns-02` on a storage of its hypervisor's own: `storage: local-lvm`
        "#]],
        );
        says(&lab("local-zfs"), expect![[""]]);
        says(&lab("tank"), expect![[""]]);
    }

    #[test]
    fn three_of_which_two_share_and_two_at_home_are_no_fault() {
        says(
            r#"
owner: mia
compute:
  hosts:
    pve: { address: 10.0.20.1, site: home }
    dns-01: { address: 10.0.20.53, vm: { on: pve } }
    dns-02: { address: 10.0.20.54, vm: { on: pve } }
    pi: { address: 10.0.20.55, site: home }
platform: { dns: [dns-01, dns-02, pi] }
services:
  heating: { run: heating, on: pi, tier: production }
"#,
            expect![[""]],
        );
    }
}
