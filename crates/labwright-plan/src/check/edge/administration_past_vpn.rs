//! LW-EDGE-004: administration that does not come over the VPN.

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::lab::{Lab, Os};
use labwright_model::units::Traffic;
use labwright_model::{Finding, Findings};

use super::administration_in_browser;
use crate::check::network::management::{administers, opened};
use crate::check::network::reach::{End, Reach, sole, traffic};
use crate::check::network::telling::{Stake, listed};
use crate::check::network::zone_kind::{Kinds, ZoneKind, is_vpn, serves};
use crate::check::{Case, Examples, Rule};

pub struct AdministrationPastVpn;

const CODE: &str = "LW-EDGE-004";

impl Rule for AdministrationPastVpn {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "administration past the VPN"
    }

    fn doc(&self) -> &'static str {
        "`edge.vpn` is the only way in for administration, and a flow lets another zone in by SSH or to the web interface of \
         Proxmox: clients to servers, or servers to the management zone. The way past the VPN is the one that is used, and \
         the one that nobody watches.\n\n\
         Or there is no VPN at all, and hosts at another site, in no zone that they share with the others, are administered \
         over SSH without going through another host: then their SSH is open to the way between, which as a rule is the \
         internet.\n\n\
         Or the way past it is a page: a service that is `expose: public` with a name gives a shell, a desktop or the command of \
         other programs to whoever gets in. Known by their images are Guacamole, WeTTY, ttyd, Sshwifty, Nexterm, code-server, \
         Webtop, Portainer, Dockge and Nginx Proxy Manager (where the name leads to its own container), and Cockpit, Webmin and \
         Proxmox as `built_in`. An access policy, a login or a password before it is one lock before everything, and the \
         VPN a second; who means just that, accepts it. What asks nobody is LW-EDGE-012, and with `expose: vpn` or `lan` nothing is said.\n\n\
         Document 0: a VPN for administrative entry, SSH with keys only, prefer VPN-only ways. Document 1 puts every machine, \
         the one at the other house among them, on Tailscale. Document 3 leaves no management surface open.\n\n\
         Advice; a warning where it leads to something with `tier: production`. A flow from one host or service is a machine \
         at work (a backup, a deployment), one to the host of a repository carries copies, and one to a service is its own \
         business (a git forge over SSH); the management zone may administer. From users to management it is LW-EDGE-003.\n\n\
         The way out: `{ from: vpn, to: servers, allow: ssh }` in place of the flow; `edge: { vpn: tailscale }`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "edge: { vpn: tailscale }\nnetwork:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\n    clients: { subnet: 10.0.30.0/24 }\n    vpn: { interface: tailscale0, subnet: 100.64.0.0/10 }\n  flows:\n    - { from: [clients, vpn], to: servers, allow: [https, ssh] }",
            passes: "edge: { vpn: tailscale }\nnetwork:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\n    clients: { subnet: 10.0.30.0/24 }\n    vpn: { interface: tailscale0, subnet: 100.64.0.0/10 }\n  flows:\n    - { from: [clients, vpn], to: servers, allow: https }\n    - { from: vpn, to: servers, allow: ssh }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        findings.extend(administration_in_browser::told(case, CODE));
        let parsed = case.parsed;
        let lab = &parsed.lab;
        if lab.edge.vpn.as_ref().is_some_and(|vpn| vpn.wireguard.is_some() || vpn.tailscale.is_some()) {
            past(case, findings);
        } else {
            findings.extend(without(case));
        }
    }
}

/// The zone of the VPN that the lab declares, as it is typed.
pub fn zone_to_add(lab: &Lab) -> &'static str {
    match lab.edge.vpn.as_ref().is_some_and(|vpn| vpn.wireguard.is_some()) {
        true => "vpn: { interface: wg0, subnet: 10.8.0.0/24 }",
        false => "vpn: { interface: tailscale0, subnet: 100.64.0.0/10 }",
    }
}

fn past(case: &Case<'_>, findings: &mut Findings) {
    let lab = &case.parsed.lab;
    if lab.network.flows.is_empty() {
        return;
    }
    let (reach, kinds) = (case.reach(), case.kinds());
    for flow in lab.network.flows.iter() {
        let allow = traffic(flow);
        let explicit = allow.iter().any(|one| *one != Traffic::Any && administers(one));
        if !explicit && !allow.contains(&Traffic::Any) {
            continue;
        }
        let (mut from, mut to, mut stake) = (BTreeSet::new(), BTreeSet::new(), Stake::Lab);
        let mut span = None;
        for name in flow.from.iter() {
            let Some(End::Zone(zone)) = sole(lab, name) else { continue };
            for end in flow.to.iter().filter_map(|name| sole(lab, name)) {
                let Some(one) = judged(lab, reach, kinds, zone, end, explicit, &allow) else { continue };
                span = span.or(Some(name.span));
                stake = stake.max(one);
                from.insert(zone);
                to.insert(reach.spelled(end));
            }
        }
        let Some(span) = span else { continue };
        let with = if explicit { "administer" } else { "reach everything of" };
        let message =
            format!("zone {} may {with} {} past the VPN", listed(from), listed(to.iter().map(String::as_str)));
        let vpn = lab.network.zones.iter().find(|(_, zone)| is_vpn(zone)).map(|(name, _)| name.as_str());
        let help = match (vpn, explicit) {
            (Some(vpn), true) => format!("let it come `from: {vpn}` alone"),
            (Some(vpn), false) => format!("name the ports that are meant, as `allow: https`, and leave SSH to `{vpn}`"),
            (None, _) => format!("give the VPN a zone, `{}`, and let it come from there", zone_to_add(lab)),
        };
        findings.push(stake.finding(CODE, "network.flows", span, message).help(help));
    }
}

/// Whether a zone may administer what it should not, and what hangs on that.
fn judged(
    lab: &Lab,
    reach: &Reach<'_>,
    kinds: &Kinds<'_>,
    from: &str,
    to: End<'_>,
    explicit: bool,
    allow: &[Traffic],
) -> Option<Stake> {
    let kind = kinds.zone(from)?;
    let managed = opened(lab, kinds, reach, to, allow).filter(|_| allow.iter().any(administers));
    match kind {
        // Clients to management is LW-EDGE-003, and guests, devices and a DMZ are judged there and in LW-NET-006.
        ZoneKind::Vpn | ZoneKind::Management | ZoneKind::Guest | ZoneKind::Iot | ZoneKind::Dmz => None,
        // Servers reach each other by SSH for backups and deployments; management is another thing.
        ZoneKind::Servers | ZoneKind::Lab => {
            let apart = match to {
                End::Zone(zone) => zone != from,
                // Copies are sent there, as a rule over SSH.
                End::Host(host) if keeps_copies(lab, host) => false,
                End::Host(host) => reach.zone(host) != Some(from),
                End::Service(_) | End::Internet => false,
            };
            managed.filter(|_| apart).map(|(_, stake)| stake)
        }
        ZoneKind::Clients => match to {
            _ if managed.is_some() => None,
            End::Zone(zone) if zone != from && kinds.zone(zone).is_some_and(serves) => Some(kinds.stake_in(zone)),
            // A host with everything open is a thing that clients use, more often than one that they administer.
            End::Host(host) if explicit && reach.zone(host) != Some(from) => {
                (lab.host(host)?.os != Os::Other).then(|| kinds.stake(host))
            }
            _ => None,
        },
    }
}

/// Whether backups are sent to a host.
fn keeps_copies(lab: &Lab, host: &str) -> bool {
    let mut repositories = lab.protection.repositories.values().filter_map(|repository| repository.on.as_ref());
    let mut role = lab.platform.backup.iter().flat_map(|role| role.on.iter());
    repositories.any(|on| on.value == host) || role.any(|on| on.value == host)
}

/// Hosts elsewhere that are administered over SSH, and no VPN.
fn without(case: &Case<'_>) -> Option<Finding> {
    let lab = &case.parsed.lab;
    let topology = case.topology();
    let mut sites: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, host) in lab.compute.hosts.iter().filter(|(_, host)| !host.local && host.os != Os::Other) {
        if let Some(site) = topology.site(name).filter(|_| host.ssh.jump.is_empty()) {
            sites.entry(site).or_default().push(name);
        }
    }
    let (home, at_home) = sites.iter().max_by_key(|(site, hosts)| (hosts.len(), std::cmp::Reverse(**site)))?;
    let reach = case.reach();
    let here: BTreeSet<&str> = at_home.iter().filter_map(|host| reach.zones(host)).flatten().copied().collect();
    let away = sites.iter().filter(|(site, _)| site != &home).flat_map(|(_, hosts)| hosts.iter().copied());
    let away: Vec<&str> = away
        .filter(|host| reach.zones(host).is_none_or(|zones| zones.iter().all(|zone| !here.contains(zone))))
        .collect();
    let (name, host) = lab.compute.hosts.get_key_value(*away.first()?)?;
    let message = format!(
        "{} and the hosts at `{home}` stand at different sites and are administered over SSH, and there is no VPN",
        listed(away.iter().copied())
    );
    let finding = Finding::advice(CODE, format!("compute.hosts.{name}"), host.span, message);
    Some(finding.help("declare one: `edge: { vpn: tailscale }`, or go through a host there: `ssh: { jump: HOST }`"))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn zones_that_administer() {
        says(
            r#"
edge: { vpn: wireguard, router: gateway }
network:
  zones:
    management: { subnet: 10.0.10.0/24 }
    servers: { subnet: 10.0.20.0/24 }
    more-servers: { subnet: 10.0.21.0/24 }
    clients: { subnet: 10.0.30.0/24 }
    lounge: { subnet: 10.0.31.0/24 }
    vpn: { interface: wg0, subnet: 10.9.0.0/24 }
  flows:
    - { from: [clients, vpn], to: [servers, internet], allow: [ssh, https] }
    - { from: clients, to: more-servers }
    - { from: clients, to: [docker-01, forge], allow: 22/tcp }
    - { from: servers, to: [management, more-servers], allow: ssh }
    - { from: [vpn, management], to: servers, allow: ssh }
    - { from: [clients, servers], to: servers, allow: https }
    - { from: docker-01, to: management, allow: ssh }
    - { from: lounge, to: servers, allow: ssh }
    - { from: clients, to: forge, allow: ssh }
    - { from: clients, to: docker-01 }
    - { from: clients, to: nas-01, allow: ssh }
    - { from: servers, to: [pbs-01, pbs-02], allow: [ssh, 8007/tcp] }
protection: { repositories: { pbs: { on: pbs-01, path: /b } } }
compute:
  hosts:
    gateway: { zone: management, address: [10.0.10.1, 10.9.0.1] }
    docker-01: { zone: servers, address: 10.0.20.21, tier: production }
    nas-01: { zone: servers, address: 10.0.20.22, os: other }
    pbs-01: { zone: management, address: 10.0.10.5 }
    pbs-02: { zone: management, address: 10.0.10.6 }
services:
  forge: { use: forgejo, on: docker-01 }
"#,
            expect![[r#"
                12:16 warning LW-EDGE-004: zone `clients` may administer `servers` past the VPN
                    help: let it come `from: vpn` alone
                13:15 advice LW-EDGE-004: zone `clients` may reach everything of `more-servers` past the VPN
                    help: name the ports that are meant, as `allow: https`, and leave SSH to `vpn`
                14:15 warning LW-EDGE-004: zone `clients` may administer `docker-01` past the VPN
                    help: let it come `from: vpn` alone
                15:15 advice LW-EDGE-004: zone `servers` may administer `management` past the VPN
                    help: let it come `from: vpn` alone
                23:15 advice LW-EDGE-004: zone `servers` may administer `pbs-02` past the VPN
                    help: let it come `from: vpn` alone
            "#]],
        );
    }

    #[test]
    fn hosts_elsewhere_and_no_vpn() {
        let lab = |away: &str| {
            format!(
                "network: {{ zones: {{ lan: {{ subnet: 10.0.0.0/24 }}, cabin: {{ subnet: 10.1.0.0/24 }} }} }}\ncompute:\n  hosts:\n    a: {{ zone: lan, address: 10.0.0.1, site: house }}\n    b: {{ zone: lan, address: 10.0.0.2, site: house }}\n    c: {away}\n"
            )
        };
        says(
            &lab("{ zone: cabin, address: 10.1.0.1, site: cabin }"),
            expect![[r#"
                6:5 advice LW-EDGE-004: `c` and the hosts at `house` stand at different sites and are administered over SSH, and there is no VPN
                    help: declare one: `edge: { vpn: tailscale }`, or go through a host there: `ssh: { jump: HOST }`
            "#]],
        );
        says(&lab("{ zone: lan, address: 10.0.0.3, site: garage }"), expect![[""]]);
        says(&lab("{ zone: cabin, address: 10.1.0.1, site: cabin, ssh: { jump: a } }"), expect![[""]]);
        says(&lab("{ zone: cabin, address: 10.1.0.1 }"), expect![[""]]);
        says(
            &format!("edge: {{ vpn: tailscale }}\n{}", lab("{ zone: cabin, address: 10.1.0.1, site: cabin }")),
            expect![[""]],
        );
    }
}
