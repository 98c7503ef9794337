//! Who stands on what: which machine, hypervisor and site each thing is on, what needs what, and what fails together.
//! Answers questions of rules, `assess`, `blast` and the documentation; judges nothing.

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::lab::{Host, Service};
use labwright_model::{Parsed, Placement, role_hosts};

/// Something that can fail as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain<'a> {
    /// A machine, virtual or not.
    Host(&'a str),
    /// A disk or a pool of a hypervisor.
    Storage(&'a str, &'a str),
    /// What the lab file calls a failure domain: a power strip, a disk shelf.
    Shared(&'a str),
    /// A building, a provider.
    Site(&'a str),
}

/// The lab as things that stand on each other.
pub struct Topology<'a> {
    pub parsed: &'a Parsed,
    placements: BTreeMap<&'a str, Vec<&'a Placement>>,
    roles: BTreeMap<&'a str, BTreeSet<&'static str>>,
    /// Guests by the host they run on.
    guests: BTreeMap<&'a str, Vec<&'a str>>,
    dependents: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Topology<'a> {
    pub fn of(parsed: &'a Parsed) -> Topology<'a> {
        let lab = &parsed.lab;
        let mut topology = Topology {
            parsed,
            placements: BTreeMap::new(),
            roles: BTreeMap::new(),
            guests: BTreeMap::new(),
            dependents: BTreeMap::new(),
        };
        for placement in &parsed.placements {
            topology.placements.entry(placement.service.as_str()).or_default().push(placement);
            for need in placement.entry.needs.iter().chain(&placement.entry.egress) {
                topology.dependents.entry(need.value.as_str()).or_default().insert(&placement.service);
            }
        }
        for (host, _, role) in role_hosts(lab) {
            if let Some((name, _)) = lab.compute.hosts.get_key_value(&host) {
                topology.roles.entry(name.as_str()).or_default().insert(role);
            }
        }
        for (name, host) in lab.compute.hosts.iter() {
            if let Some(on) = runs_on(host) {
                topology.guests.entry(on).or_default().push(name);
            }
        }
        topology
    }

    pub fn host(&self, name: &str) -> Option<&'a Host> {
        self.parsed.lab.host(name)
    }

    /// Whether a host denies what no flow allows: where nobody asked for that, its flows are only declared.
    pub fn is_enforced(&self, name: &str) -> bool {
        let lab = &self.parsed.lab;
        self.host(name).is_some_and(|host| crate::network::parties::guard(lab, host) == crate::network::Guard::Enforced)
    }

    pub fn service(&self, name: &str) -> Option<&'a Service> {
        self.parsed.lab.services.get(name).map(|service| &service.value)
    }

    /// A service as it is placed: once, or once in each environment.
    pub fn placements(&self, service: &str) -> &[&'a Placement] {
        self.placements.get(service).map_or(&[], Vec::as_slice)
    }

    /// The hosts that a service runs on, in whatever environment.
    pub fn hosts_of(&self, service: &str) -> BTreeSet<&'a str> {
        self.placements(service)
            .iter()
            .flat_map(|placement| placement.entry.on.iter())
            .map(|on| on.value.as_str())
            .collect()
    }

    /// The services that run on a host.
    pub fn services_on(&self, host: &str) -> BTreeSet<&'a str> {
        let there = |placement: &&&Placement| placement.entry.on.iter().any(|on| on.value == host);
        let all = self.placements.iter();
        all.filter(|(_, placements)| placements.iter().any(|placement| there(&placement)))
            .map(|(name, _)| *name)
            .collect()
    }

    /// The roles that a host plays, as the lab file spells them: `platform.dns`.
    pub fn roles_of(&self, host: &str) -> impl Iterator<Item = &'static str> + '_ {
        self.roles.get(host).into_iter().flatten().copied()
    }

    /// The hosts that play a role.
    pub fn hosts_with(&self, role: &str) -> BTreeSet<&'a str> {
        self.roles.iter().filter(|(_, roles)| roles.contains(role)).map(|(host, _)| *host).collect()
    }

    /// The virtual machines and containers that run on a host itself.
    pub fn guests_of(&self, host: &str) -> &[&'a str] {
        self.guests.get(host).map_or(&[], Vec::as_slice)
    }

    /// The machines under a host, the nearest first: its hypervisor, and whatever that runs on. Ends at a circle.
    pub fn under(&self, host: &str) -> Vec<&'a str> {
        let mut under: Vec<&str> = Vec::new();
        let mut next = self.host(host).and_then(runs_on);
        while let Some(name) = next.filter(|name| *name != host && !under.contains(name)) {
            under.push(name);
            next = self.host(name).and_then(runs_on);
        }
        under
    }

    /// Everything that takes a host with it when it fails, the host itself first.
    pub fn domains(&self, host: &str) -> Vec<Domain<'a>> {
        let Some((name, entry)) = self.parsed.lab.compute.hosts.get_key_value(host) else { return Vec::new() };
        let mut domains = vec![Domain::Host(name)];
        for machine in self.under(host) {
            domains.push(Domain::Host(machine));
        }
        if let Some(guest) = entry.vm.iter().chain(&entry.lxc).next()
            && let (Some(on), Some(storage)) = (&guest.on, &guest.storage)
        {
            domains.push(Domain::Storage(on, storage));
        }
        let machines: Vec<&str> = std::iter::once(name.as_str()).chain(self.under(host)).collect();
        for machine in machines.iter().filter_map(|machine| self.host(machine)) {
            domains.extend(machine.failure_domain.iter().map(|domain| Domain::Shared(domain)));
        }
        domains.extend(self.site(host).map(Domain::Site));
        domains
    }

    /// Where a host stands: as it says, or as the machine under it does.
    pub fn site(&self, host: &str) -> Option<&'a str> {
        let machines = std::iter::once(host).chain(self.under(host));
        machines.filter_map(|machine| self.host(machine)?.site.as_ref()).map(|site| site.value.as_str()).next()
    }

    /// Whether something on `other` is left when any of these hosts is lost, with its hypervisor or its site. A host whose
    /// site is not said may stand anywhere, beside them too.
    pub fn stands_apart<'h>(&self, other: &str, hosts: impl IntoIterator<Item = &'h str>) -> bool {
        let theirs = self.domains(other);
        let there = self.site(other);
        let shares = |host: &str| {
            let beside = there.is_none() || self.site(host) == there;
            let own = self.domains(host);
            beside || own.iter().any(|domain| !matches!(domain, Domain::Site(_)) && theirs.contains(domain))
        };
        !theirs.is_empty() && !hosts.into_iter().any(shares)
    }

    /// The services that need this one directly.
    pub fn dependents(&self, service: &str) -> BTreeSet<&'a str> {
        self.dependents.get(service).cloned().unwrap_or_default()
    }

    /// The services that this one needs directly, in whatever environment.
    pub fn needs(&self, service: &str) -> BTreeSet<&'a str> {
        let placements = self.placements(service).iter();
        placements
            .flat_map(|placement| placement.entry.needs.iter().chain(&placement.entry.egress))
            .map(|need| need.value.as_str())
            .collect()
    }
}

/// The hypervisor that a host is a guest of.
fn runs_on(host: &Host) -> Option<&str> {
    host.vm.iter().chain(&host.lxc).find_map(|guest| guest.on.as_ref()).map(|on| on.value.as_str())
}

#[cfg(test)]
mod tests {
    use labwright_model::{Files, parse};

    use super::*;

    struct One(&'static str);

    impl Files for One {
        fn read(&self, _: &str) -> Result<Vec<u8>, String> {
            Ok(self.0.as_bytes().to_vec())
        }
        fn list(&self, _: &str) -> Option<Vec<String>> {
            None
        }
    }

    #[test]
    fn things_stand_on_each_other() {
        let parsed = parse(
            "lab.yaml",
            &One(r#"
platform: { dns: dns-01 }
compute:
  hosts:
    pve-01: { site: home, failure_domain: ups }
    dns-01: { vm: { on: pve-01, storage: fast } }
    inner: { lxc: { on: dns-01 } }
services:
  wiki: { external: x, on: dns-01, needs: [db] }
  db: { external: x, on: inner }
"#),
        );
        let topology = Topology::of(&parsed);
        assert_eq!(topology.under("inner"), ["dns-01", "pve-01"]);
        assert_eq!(topology.guests_of("pve-01"), ["dns-01"]);
        assert_eq!(topology.site("inner"), Some("home"));
        assert_eq!(topology.hosts_with("platform.dns").into_iter().collect::<Vec<_>>(), ["dns-01"]);
        assert_eq!(topology.dependents("db").into_iter().collect::<Vec<_>>(), ["wiki"]);
        assert_eq!(topology.services_on("inner").into_iter().collect::<Vec<_>>(), ["db"]);
        let domains = topology.domains("dns-01");
        assert!(domains.contains(&Domain::Storage("pve-01", "fast")) && domains.contains(&Domain::Shared("ups")));
        assert!(domains.contains(&Domain::Site("home")) && !domains.contains(&Domain::Host("inner")));
    }
}
