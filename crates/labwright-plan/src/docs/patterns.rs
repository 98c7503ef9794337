//! What a lab's shape is, without anything that is only its own. There is no text in here: what has no place for a name
//! cannot tell one.

use labwright_model::Parsed;
use labwright_model::lab::{Expose, Lab, Os, Policy, Repository, Tier};

use crate::check;
use crate::topology::Topology;

/// Counts are spoken, and stop at a dozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    pub hosts: usize,
    /// There are guests, and each is made from an image.
    pub guests: bool,
    pub hypervisors: usize,
    pub container_hosts: usize,
    pub sites: usize,
    pub zones: usize,
    /// Whether every host denies what no flow allows.
    pub enforced: bool,
    pub flows_have_reasons: bool,
    /// Whether something lets a whole zone reach anything.
    pub wide_flows: bool,
    pub router: bool,
    pub vpn: bool,
    /// No flow and no name leads to administration beside the VPN.
    pub vpn_alone: bool,
    pub tunnel: bool,
    pub standby: bool,
    pub keys_only: bool,
    pub resolvers: usize,
    pub blocklists: bool,
    pub proxies: usize,
    /// Certificates of an authority of the lab's own.
    pub own_certificates: bool,
    pub identity: bool,
    pub secrets_file: bool,
    pub secrets_server: bool,
    pub monitoring: bool,
    pub alerts: bool,
    pub registry: bool,
    pub runners: bool,
    pub telemetry: bool,
    pub services: usize,
    pub production: usize,
    pub external: usize,
    pub public: usize,
    pub over_vpn: usize,
    pub environments: bool,
    pub containers: bool,
    /// Containers are on no host's network, and talk to no address where there is a name.
    pub apart: bool,
    /// No container host is a hypervisor, the router or a platform of something else.
    pub containers_alone: bool,
    /// A container publishes a port on an address of the internet, or a flow lets the internet in.
    pub published_outside: bool,
    pub processes: bool,
    pub egress: bool,
    pub needs: bool,
    pub backed_up: usize,
    /// No service has its only copy with its data.
    pub copies_apart: bool,
    /// The most places that one policy copies to.
    pub repositories: usize,
    pub repositories_elsewhere: bool,
    pub encrypted: bool,
    pub drills: bool,
    pub proof: bool,
    pub offline: bool,
}

impl Patterns {
    pub fn of(parsed: &Parsed) -> Patterns {
        let lab = &parsed.lab;
        let topology = Topology::of(parsed);
        let (hosts, services) = (&lab.compute.hosts, &lab.services);
        let flows = &lab.network.flows;
        let platform = &lab.platform;
        let cloudflare = lab.edge.public.as_ref().and_then(|public| public.cloudflare.as_ref());
        let sites: std::collections::BTreeSet<&str> = hosts.keys().filter_map(|host| topology.site(host)).collect();
        let unnamed = hosts.keys().any(|host| topology.site(host).is_none());
        let exposed = |expose: Expose| services.values().filter(|service| service.expose == expose).count();
        let repositories = &lab.protection.repositories;
        let policies = &lab.protection.policies;
        Patterns {
            hosts: hosts.len(),
            guests: {
                let guests: Vec<_> = hosts.values().flat_map(|host| host.vm.iter().chain(&host.lxc)).collect();
                !guests.is_empty() && guests.iter().all(|guest| guest.image.is_some())
            },
            hypervisors: lab.compute.proxmox.len(),
            container_hosts: lab.compute.docker_hosts.len(),
            sites: sites.len() + usize::from(unnamed && !sites.is_empty()),
            zones: lab.network.zones.len(),
            enforced: !hosts.is_empty() && hosts.keys().all(|host| topology.is_enforced(host)),
            flows_have_reasons: !flows.is_empty() && flows.iter().all(|flow| flow.because.is_some()),
            wide_flows: flows
                .iter()
                .any(|flow| flow.allow.is_empty() && !flow.to.iter().all(|to| to.value == "internet")),
            router: lab.edge.router.is_some(),
            vpn: lab.edge.vpn.is_some(),
            vpn_alone: ["LW-EDGE-003", "LW-EDGE-004", "LW-EDGE-012"]
                .iter()
                .all(|code| check::says(parsed, code).is_none()),
            tunnel: cloudflare.is_some_and(|cloudflare| cloudflare.tunnel.is_some()),
            standby: cloudflare.is_some_and(|cloudflare| cloudflare.standby.is_some()),
            keys_only: {
                let mut managed = hosts.values().filter(|host| host.os != Os::Other && !host.local).peekable();
                managed.peek().is_some() && managed.all(|host| host.sshd.as_ref().is_some_and(|sshd| sshd.keys_only))
            },
            resolvers: platform.dns.as_ref().map_or(0, |dns| dns.on.len()),
            blocklists: platform.dns.as_ref().is_some_and(|dns| !dns.block.is_empty()),
            proxies: platform.reverse_proxy.as_ref().map_or(0, |proxy| proxy.on.len()),
            own_certificates: platform.reverse_proxy.as_ref().is_some_and(|proxy| proxy.tls.internal),
            identity: platform.identity.is_some(),
            secrets_file: platform.secrets.as_ref().is_some_and(|secrets| secrets.age.is_some()),
            secrets_server: platform.secrets.as_ref().is_some_and(|secrets| secrets.vault.is_some()),
            monitoring: platform.monitoring.is_some(),
            alerts: platform.monitoring.as_ref().is_some_and(|monitoring| !monitoring.notify.is_empty()),
            registry: platform.registry.is_some(),
            runners: platform.runners.is_some(),
            telemetry: platform.telemetry.is_some(),
            services: services.len(),
            production: services.values().filter(|service| service.tier == Tier::Production).count(),
            external: services.values().filter(|service| service.external.is_some()).count(),
            public: exposed(Expose::Public),
            over_vpn: exposed(Expose::Vpn),
            environments: services.values().any(|service| service.environments.len() > 1),
            containers: services.values().any(|service| {
                service.catalogue.is_some() || service.compose.is_some() || !service.containers.0.is_null()
            }),
            apart: check::says(parsed, "LW-NET-008").is_none() && check::says(parsed, "LW-NET-010").is_none(),
            containers_alone: {
                let hypervisors = labwright_model::hypervisors(lab);
                let router = labwright_model::router(lab);
                let alone = |name: &str| {
                    let only = topology.roles_of(name).all(|role| role == "compute.docker_hosts");
                    only && !hypervisors.contains(name) && router != Some(name)
                };
                lab.compute.docker_hosts.iter().all(|host| alone(host))
            },
            published_outside: published_outside(parsed),
            processes: services.values().any(|service| service.run.is_some()),
            egress: services.values().any(|service| service.egress.is_some()),
            needs: services.values().any(|service| !service.needs.is_empty()),
            backed_up: services
                .values()
                .filter(|service| service.backup.as_ref().is_some_and(|backup| backup.policy.is_some()))
                .count(),
            copies_apart: ["LW-DAT-001", "LW-DAT-002"].iter().all(|code| check::says(parsed, code).is_none()),
            repositories: used(parsed)
                .filter_map(|policy| policies.get(policy))
                .map(|policy| places(lab, policy))
                .max()
                .unwrap_or(0),
            repositories_elsewhere: repositories.values().any(|repository| match &repository.on {
                Some(on) => services.keys().any(|service| {
                    let hosts = topology.hosts_of(service);
                    !hosts.is_empty() && topology.stands_apart(on, hosts)
                }),
                None => repository.url.is_some(),
            }),
            // What restic writes has no other form; borg may be told to encrypt nothing, and is asked for a passphrase.
            encrypted: repositories
                .values()
                .all(|repository| repository.passphrase.is_some() && check::says_no_encryption(repository).is_none()),
            drills: used(parsed).any(|policy| policies.get(policy).is_some_and(|policy| policy.drill.is_some())),
            proof: used(parsed).any(|policy| policies.get(policy).is_some_and(|policy| policy.proof_within.is_some())),
            offline: !lab.protection.offline.is_empty(),
        }
    }
}

/// To how many places a policy copies: two folders of one machine are one.
fn places(lab: &Lab, policy: &Policy) -> usize {
    let to = policy.to.iter().filter_map(|to| lab.protection.repositories.get(&to.value));
    let place =
        |repository: &Repository| repository.on.as_ref().or(repository.url.as_ref()).map(|one| one.value.clone());
    to.filter_map(|repository| place(repository)).collect::<std::collections::BTreeSet<_>>().len()
}

/// The policies that services name.
fn used(parsed: &Parsed) -> impl Iterator<Item = &str> {
    let backups = parsed.placements.iter().filter_map(|placement| placement.entry.backup.as_ref());
    backups.filter_map(|backup| Some(backup.policy.as_ref()?.value.as_str()))
}

fn published_outside(parsed: &Parsed) -> bool {
    if parsed.lab.network.flows.iter().any(|flow| flow.from.iter().any(|from| from.value == "internet")) {
        return true;
    }
    let inner = |address: &str| address.parse::<std::net::IpAddr>().is_ok_and(|address| !check::is_public(&address));
    parsed.placements.iter().any(|placement| {
        let hosts = placement.entry.on.iter().filter_map(|on| parsed.lab.host(on));
        let outside = hosts.into_iter().any(|host| host.address.iter().any(|address| check::is_public(&address.value)));
        let project = parsed.project(placement).filter(|_| outside);
        project.is_some_and(|project| {
            project.enabled().flat_map(|(_, service)| service.ports.iter()).any(|port| {
                // No address, or 0.0.0.0, is all of them.
                let bound =
                    port.host_ip.as_ref().filter(|address| !["0.0.0.0", "::"].contains(&address.value.as_str()));
                !bound.is_some_and(|address| inner(&address.value))
            })
        })
    })
}
