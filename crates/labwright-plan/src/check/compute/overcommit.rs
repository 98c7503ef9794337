//! LW-CMP-014: a hypervisor that has promised more than it has.

use labwright_model::lab::{Guest, Host, Tier};
use labwright_model::units::Size;
use labwright_model::{Finding, Findings, Spanned};

use super::carried::{Carried, by_tier, is_production, told};
use crate::check::{Case, Examples, Rule};

pub struct Overcommit;

const CODE: &str = "LW-CMP-014";

impl Rule for Overcommit {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a hypervisor that has promised more than it has"
    }

    fn doc(&self) -> &'static str {
        "A host says how much `memory`, `disk` and how many `cores` it has, and its guests ask for more:\n\n\
         - **memory**: all guests that start with it, together. When they use what they were given, the kernel ends one of \
         them as a last resort (Proxmox' administration guide, on memory). A warning if any \
         of them is in production, advice otherwise.\n\
         - **disk**: all guests together. Thin storage allows that and stops every guest on it when it is full (lvmthin(7)); \
         so it is told like memory. Counted are guests without `storage` and those on storage of the machine itself (`local…`): \
         what is on a NAS is not on this disk.\n\
         - **cores**: one virtual machine with more cores than there are. Proxmox refuses to start it. More cores in sum than \
         there are is usual and no fault.\n\n\
         A host that does not say what it has is not judged, and a guest that does not say what it asks for is not counted. Document 1 describes such machines: 32 and 64 GB of memory, \
         2 TB of disk, and a new virtual machine whenever one is wanted.\n\n\
         The way out: give a guest less, move one to another hypervisor, or correct what the host says it has."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    pve-01: { address: 10.0.10.11, memory: 16GiB }\n    docker-01: { address: 10.0.20.21, vm: { on: pve-01, memory: 12GiB } }\n    db-01: { address: 10.0.20.22, vm: { on: pve-01, memory: 8GiB } }",
            passes: "compute:\n  hosts:\n    pve-01: { address: 10.0.10.11, memory: 32GiB }\n    docker-01: { address: 10.0.20.21, vm: { on: pve-01, memory: 12GiB } }\n    db-01: { address: 10.0.20.22, vm: { on: pve-01, memory: 8GiB } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let hosts = &parsed.lab.compute.hosts;
        if hosts.values().all(|host| host.memory.is_none() && host.disk.is_none() && host.cores.is_none()) {
            return;
        }
        let carried = case.carried();
        for (name, host) in hosts.iter() {
            let guests: Vec<(&str, &Host, &Guest)> = carried
                .topology
                .guests_of(name)
                .iter()
                .filter_map(|guest| {
                    let entry = carried.topology.host(guest)?;
                    Some((*guest, entry, entry.vm.iter().chain(&entry.lxc).next()?))
                })
                .collect();
            // What a guest does not say, it does not ask for.
            let says = |guest: &str, entry: &Host, key: &str| {
                let kind = if entry.vm.is_some() { "vm" } else { "lxc" };
                let guest = ["compute", "hosts", guest, kind];
                parsed.span_of(&[&guest[..], &[key]].concat()) != parsed.span_of(&guest)
            };
            if let Some(memory) = &host.memory {
                let asked = guests.iter().filter(|(name, entry, guest)| guest.autostart && says(name, entry, "memory"));
                let asked = asked.map(|(name, _, g)| (*name, g.memory));
                findings.extend(too_much(carried, (name, "memory", memory), asked.collect()));
            }
            if let Some(disk) = &host.disk {
                let own = |guest: &Guest| guest.storage.as_ref().is_none_or(|storage| storage.starts_with("local"));
                let asked = guests.iter().filter(|(name, entry, guest)| own(guest) && says(name, entry, "disk"));
                let asked = asked.map(|(name, _, g)| (*name, g.disk));
                findings.extend(too_much(carried, (name, "disk", disk), asked.collect()));
            }
            let machines = guests.iter().filter(|(_, entry, _)| entry.vm.is_some());
            for (guest, _, asked) in machines {
                if let Some(cores) = host.cores.as_ref().filter(|cores| asked.cores > cores.value) {
                    let message = format!("`{guest}` asks for {} cores, and `{name}` has {}", asked.cores, cores.value);
                    let help = format!("write `cores: {}` or less for `{guest}`", cores.value);
                    let span = parsed.span_of(&["compute", "hosts", guest, "vm", "cores"]);
                    let at = format!("compute.hosts.{guest}.vm.cores");
                    findings
                        .push(Finding::warning(CODE, at, span, message).help(help).related(cores.span, "what it has"));
                }
            }
        }
    }
}

/// A host, what it has, and how much of it.
type Has<'a> = (&'a str, &'static str, &'a Spanned<Size>);

fn too_much(carried: &Carried<'_>, (name, what, has): Has<'_>, mut asked: Vec<(&str, Size)>) -> Option<Finding> {
    let sum = asked.iter().fold(0_u64, |sum, (_, size)| sum.saturating_add(size.0));
    if sum <= has.value.0 {
        return None;
    }
    let relied_on = |guest: &str| {
        carried.topology.host(guest).is_some_and(|host| host.tier == Tier::Production)
            || carried.on(guest).iter().any(|placement| is_production(placement))
    };
    let production = asked.iter().any(|(guest, _)| relied_on(guest));
    asked.sort_by_key(|(guest, size)| (std::cmp::Reverse(*size), *guest));
    let (largest, _) = asked.first()?;
    let guests = match asked.len() {
        1 => format!("the guest of `{name}` asks"),
        several => format!("the {several} guests of `{name}` ask"),
    };
    let message = format!("{guests} for {} of {what}, and it has {}", rounded(sum, has.value), has.value);
    let to = match carried.elsewhere(name).filter(|to| !carried.topology.guests_of(to).is_empty()) {
        Some(to) => format!(", or move one: `{largest}: {{ vm: {{ on: {to} }} }}`"),
        None => ", or move one to another hypervisor".to_string(),
    };
    let help = format!("give `{largest}` less {what}{to}");
    let at = format!("compute.hosts.{name}.{what}");
    let mut finding = told(CODE, by_tier(production), at, has.span, message, help);
    for (guest, size) in asked.iter().take(5) {
        finding = finding.related(carried.place(guest), format!("`{guest}` asks for {}", rounded(size.0, has.value)));
    }
    Some(finding)
}

/// To one decimal, in the units that the host itself is measured in: two kinds of gigabyte are hard to compare.
fn rounded(bytes: u64, beside: Size) -> String {
    let binary = beside.to_string().ends_with("iB");
    let units = match binary {
        true => [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB")],
        false => [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB")],
    };
    let (unit, name) = units.into_iter().find(|(unit, _)| bytes >= *unit).unwrap_or(units[2]);
    let tenths = u128::from(bytes) * 10 / u128::from(unit);
    match tenths % 10 {
        0 => format!("{}{name}", tenths / 10),
        tenth => format!("{}.{tenth}{name}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn memory_disk_and_cores() {
        says(
            r#"
owner: mia
compute:
  hosts:
    pve-01: { address: 10.0.10.11, memory: 16GiB, disk: 1TB, cores: 8 }
    pve-02: { address: 10.0.10.12, memory: 8GiB, cores: 4, disk: 100GB }
    a: { address: 10.0.20.21, tier: production, vm: { on: pve-01, memory: 12GiB, cores: 16, disk: 900GB } }
    b: { address: 10.0.20.22, vm: { on: pve-01, memory: 4608MiB, disk: 500GB, storage: local-zfs } }
    c: { address: 10.0.20.23, lxc: { on: pve-02, memory: 9GiB, cores: 16, disk: 1TB, storage: nas } }
"#,
            expect![[r#"
                5:44 warning LW-CMP-014: the 2 guests of `pve-01` ask for 16.5GiB of memory, and it has 16GiB
                    help: give `a` less memory, or move one: `a: { vm: { on: pve-02 } }`
                    7:5: `a` asks for 12GiB
                    8:5: `b` asks for 4.5GiB
                5:57 warning LW-CMP-014: the 2 guests of `pve-01` ask for 1.4TB of disk, and it has 1TB
                    help: give `a` less disk, or move one: `a: { vm: { on: pve-02 } }`
                    7:5: `a` asks for 900GB
                    8:5: `b` asks for 500GB
                6:44 advice LW-CMP-014: the guest of `pve-02` asks for 9GiB of memory, and it has 8GiB
                    help: give `c` less memory, or move one: `c: { vm: { on: pve-01 } }`
                    9:5: `c` asks for 9GiB
                7:89 warning LW-CMP-014: `a` asks for 16 cores, and `pve-01` has 8
                    help: write `cores: 8` or less for `a`
                    5:69: what it has
            "#]],
        );
    }

    #[test]
    fn exactly_full_not_started_and_unknown_are_no_fault() {
        says(
            r#"
compute:
  hosts:
    pve-01: { address: 10.0.10.11, memory: 16GiB, cores: 8 }
    pve-02: { address: 10.0.10.12 }
    a: { address: 10.0.20.21, vm: { on: pve-01, memory: 12GiB, cores: 8 } }
    b: { address: 10.0.20.22, vm: { on: pve-01, memory: 4GiB, cores: 8 } }
    c: { address: 10.0.20.23, vm: { on: pve-01, memory: 8GiB, autostart: false } }
    d: { address: 10.0.20.24, vm: { on: pve-02, memory: 900GiB, cores: 99 } }
    pve-03: { address: 10.0.10.13, memory: 1GiB, disk: 10GiB }
    e: { address: 10.0.20.25, vm: { on: pve-03, disk: 10GiB } }
    f: { address: 10.0.20.26, vm: { on: pve-03, memory: 1GiB } }
    g: { address: 10.0.20.27, lxc: { on: pve-03 } }
"#,
            expect![[""]],
        );
    }
}
