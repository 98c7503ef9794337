//! LW-CMP-002: a host without an address that something needs.

use std::collections::BTreeMap;

use labwright_model::{Finding, Findings, Severity, Span, role_hosts};

use crate::check::references::{Wanted, endpoint, jump_host};
use crate::check::{Case, Examples, Rule};
use crate::mounted::over_network;

pub struct HostAddress;

const CODE: &str = "LW-CMP-002";

impl Rule for HostAddress {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a host without an address"
    }

    fn doc(&self) -> &'static str {
        "Something in the lab leads to a host by its address, and the host has none: a service runs there, it plays a role \
         (DNS, the reverse proxy, the router, a hypervisor), a flow names it, a repository or an NFS export is on it, or SSH \
         goes through it. Names, firewall rules, probes and routes are made from addresses; without one the host is reached \
         only if SSH can resolve its name by itself.\n\n\
         A host that nothing leads to may do without (a desktop with a lease). For a host that comes and goes \
         (`intermittent: true`) this is advice only. The machine that Labwright runs on (`local: true`) needs none to be \
         changed, and hosts that only a role names are not told twice (LW-CMP-003).\n\n\
         It comes from document 4, each of whose hosts has a fixed address and one job, and from document 0, whose \
         inventory is to hold hostnames and roles.\n\n\
         The way out: give it an `address`, and the same one in the DHCP server or on the host."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    docker-01: { site: home }\nservices:\n  wiki: { use: wiki, on: docker-01 }",
            passes: "compute:\n  hosts:\n    docker-01: { site: home, address: 10.0.20.21 }\nservices:\n  wiki: { use: wiki, on: docker-01 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        let mut reasons: BTreeMap<&str, (String, Span)> = BTreeMap::new();
        let mut because = |host: &str, reason: &dyn Fn() -> String, span: Span| {
            if let Some((name, entry)) = lab.compute.hosts.get_key_value(host)
                && entry.address.is_empty()
                && !entry.local
            {
                reasons.entry(name.as_str()).or_insert_with(|| (reason(), span));
            }
        };
        for placement in parsed.placements.iter().filter(|placement| placement.entry.external.is_none()) {
            for on in placement.entry.on.iter() {
                because(on, &|| format!("service `{}` runs there", placement.service), on.span);
            }
        }
        for (host, span, role) in role_hosts(lab) {
            because(&host, &|| format!("it is named by `{role}`"), span);
        }
        let is_only_a_host = |name: &str| !Wanted::Zone.has(lab, name) && !Wanted::Service.has(lab, name);
        for reference in case.references() {
            let (wants, name) = endpoint(reference.name);
            match reference.wants {
                // A zone or a service of the same name may be what the flow means.
                Wanted::Endpoint if wants == Wanted::Host || (wants == Wanted::Endpoint && is_only_a_host(name)) => {
                    because(name, &|| "a flow names it".into(), reference.span);
                }
                Wanted::Target => because(name, &|| format!("`{}` leads to it", reference.at), reference.span),
                _ => {}
            }
        }
        for (name, repository) in lab.protection.repositories.iter() {
            if let Some(on) = &repository.on {
                because(on, &|| format!("repository `{name}` is on it"), on.span);
            }
        }
        for (name, host) in lab.compute.hosts.iter() {
            for jump in host.ssh.jump.iter() {
                because(jump_host(jump).unwrap_or_default(), &|| format!("`{name}` is reached through it"), jump.span);
            }
            for share in over_network(host) {
                because(share.server, &|| format!("`{name}` mounts from it"), share.span);
            }
        }
        for (name, (reason, place)) in reasons {
            if parsed.implied.iter().any(|implied| implied == name) {
                continue;
            }
            let host = &lab.compute.hosts[name];
            let message = format!("host `{name}` has no address, and {reason}");
            let help = match host.zone.as_ref().and_then(|zone| lab.network.zones.get(&zone.value)?.subnet.first()) {
                Some(subnet) => format!("add `address: …` to `{name}`, one of `{}`", subnet.value),
                None => format!("add `address: …` to `{name}`"),
            };
            let mut finding = Finding::warning(CODE, format!("compute.hosts.{name}"), host.span, message);
            if host.intermittent {
                finding.severity = Severity::Advice;
            }
            findings.push(finding.help(help).related(place, "needed here"));
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn whom_something_leads_to() {
        says(
            r#"
edge: { router: gw }
network:
  zones: { servers: { subnet: 10.0.20.0/24 } }
  flows: [{ from: servers, to: [printer, wiki] }, { from: host/wiki, to: servers }]
compute:
  proxmox: [pve]
  hosts:
    gw: { zone: servers }
    pve: { zone: servers, address: 10.0.20.2 }
    printer: { zone: servers, os: other }
    wiki: { zone: servers, address: 10.0.20.3, ssh: { jump: [jump] }, mounts: { /m: "nas:/x" } }
    jump: { zone: servers }
    nas: { zone: servers, intermittent: true }
    backup: { zone: servers }
    laptop: { zone: servers }
    desk: { local: true, zone: servers }
    implied-not: { zone: servers, address: 10.0.20.4 }
platform: { dns: { on: pve, records: { tv: screen } }, monitoring: mon }
services:
  wiki: { use: wiki, on: wiki }
  local: { run: x, on: desk }
  far: { external: x }
protection: { repositories: { r: { on: backup, path: /b } }, policies: { p: { to: r } } }
"#,
            expect![[r#"
                9:5 warning LW-CMP-002: host `gw` has no address, and it is named by `edge.router`
                    help: add `address: …` to `gw`, one of `10.0.20.0/24`
                    2:17: needed here
                11:5 warning LW-CMP-002: host `printer` has no address, and a flow names it
                    help: add `address: …` to `printer`, one of `10.0.20.0/24`
                    5:33: needed here
                13:5 warning LW-CMP-002: host `jump` has no address, and `wiki` is reached through it
                    help: add `address: …` to `jump`, one of `10.0.20.0/24`
                    12:62: needed here
                14:5 advice LW-CMP-002: host `nas` has no address, and `wiki` mounts from it
                    help: add `address: …` to `nas`, one of `10.0.20.0/24`
                    12:85: needed here
                15:5 warning LW-CMP-002: host `backup` has no address, and repository `r` is on it
                    help: add `address: …` to `backup`, one of `10.0.20.0/24`
                    24:40: needed here
                19:68 advice LW-CMP-003: host `mon` is only named by its role
                    help: describe it: `compute: { hosts: { mon: { address: … } } }`
            "#]],
        );
    }
}
