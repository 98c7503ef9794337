//! LW-NET-014: a way that the lab needs, and that only a flow of its own would open.

use std::collections::BTreeMap;

use labwright_model::{Finding, Findings, Parsed};

use super::telling::{listed, typed};
use crate::check::{Case, Examples, Rule};
use crate::network::flows::add;
use crate::network::matrix::party;
use crate::network::{Allowed, End, Matrix, Why, Withheld};

pub struct NotOpened;

const CODE: &str = "LW-NET-014";

impl Rule for NotOpened {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a way that only a flow of its own opens"
    }

    fn doc(&self) -> &'static str {
        "Where the firewall is enforced, most of what the lab needs is opened without a flow: names and the time for \
         everybody, a service for those that `needs` it and for the zones it is exposed to, the proxy to what is behind it, \
         monitoring, backups, SSH from where administration is. Two things are not opened unasked: a way into a management \
         zone, and a way out of a zone for guests or devices. Those are the walls of the house, and a hole in them is \
         somebody's decision. That holds for SSH from the machine that Labwright runs on as well (`local: true`): where it \
         would be cut off from a management zone, that is said.\n\n\
         The same is said where nothing tells the port of a service that something has to reach: what is not known is not \
         opened.\n\n\
         Only labs that enforce are judged (`network: { firewall: enforce }`). Document 0 keeps management interfaces off \
         user-facing networks and isolates monitoring and backup from guest and IoT traffic. A warning.\n\n\
         The way out: add the flow that the finding names, with the reason under `because`; or take out the need; or say the \
         service's `port`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "network:\n  firewall: enforce\n  zones:\n    management: { subnet: 10.0.10.0/24 }\n    servers: { subnet: 10.0.20.0/24 }\n  flows:\n    - { from: servers, to: [management, servers], allow: ssh }\nplatform: { monitoring: mon-01 }\ncompute:\n  hosts:\n    pve-01: { zone: management, address: 10.0.10.11, os: proxmox }\n    mon-01: { zone: servers, address: 10.0.20.90 }",
            passes: "network:\n  firewall: enforce\n  zones:\n    management: { subnet: 10.0.10.0/24 }\n    servers: { subnet: 10.0.20.0/24 }\n  flows:\n    - { from: servers, to: [management, servers], allow: ssh }\n    - { from: mon-01, to: management, allow: node-exporter, because: hypervisors are watched as well }\nplatform: { monitoring: mon-01 }\ncompute:\n  hosts:\n    pve-01: { zone: management, address: 10.0.10.11, os: proxmox }\n    mon-01: { zone: servers, address: 10.0.20.90 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        if !super::firewall_is_asked_for(parsed) {
            return;
        }
        let matrix = case.matrix();
        if !matrix.parties.enforces() {
            return;
        }
        for one in &matrix.withheld {
            // The VPN is a way in for administration, and not the only one: LW-NET-016 tells where there is none at all.
            // A machine that administration comes from is told below, once for all that it would lose.
            if one.why == Why::Administration {
                continue;
            }
            let (from, to) = (matrix.parties.name(one.from), matrix.parties.name(one.to));
            let message = format!("`{from}` may not open {} to `{to}`, {}: {}", one.allowed, one.crosses, one.reason);
            let flow = add(matrix, one.from, one.to, &one.allowed);
            let span = if one.span.is_none() { firewall(parsed) } else { one.span };
            findings.push(
                Finding::warning(CODE, "network.flows", span, message)
                    .help(format!("if it shall, add to `network: {{ flows: … }}`: `{flow}`")),
            );
        }
        administration(parsed, matrix, findings);
        for (service, span, because) in &matrix.portless {
            let message =
                format!("{because}, and nothing says on which port `{service}` listens: nothing is opened for it");
            findings.push(
                Finding::warning(CODE, format!("services.{service}.port"), *span, message)
                    .help("say it: `port: NUMBER`, or `port: CONTAINER:NUMBER`; or add a flow that lets it through"),
            );
        }
    }
}

/// The machine that Labwright runs on, or that it goes through: with the firewall it would cut itself off.
fn administration(parsed: &Parsed, matrix: &Matrix<'_>, findings: &mut Findings) {
    let mut all: BTreeMap<(End, &Allowed, &str), Vec<&Withheld>> = BTreeMap::new();
    for one in matrix.withheld.iter().filter(|one| one.why == Why::Administration) {
        let enforced = matrix.is_enforced(party(one.from), party(one.to));
        if matches!(one.from, End::Host(_)) && enforced {
            all.entry((one.from, &one.allowed, &one.crosses)).or_default().push(one);
        }
    }
    for ((from, allowed, crosses), withheld) in all {
        let span = withheld.iter().map(|one| one.span).find(|span| !span.is_none()).unwrap_or(firewall(parsed));
        let from_name = matrix.parties.name(from);
        let names = withheld.iter().map(|one| matrix.parties.name(one.to));
        let (reason, names) = (&withheld[0].reason, listed(names));
        let message = format!(
            "`{from_name}` may not open {allowed} to {names}, {crosses}: {reason}, so an apply would cut itself off there, \
             and be undone"
        );
        let to: Vec<String> = withheld.iter().map(|one| matrix.parties.spelled(one.to)).collect();
        let (from, to) = (matrix.parties.spelled(from), typed(&to));
        findings.push(Finding::warning(CODE, "network.flows", span, message).help(format!(
            "add to `network: {{ flows: … }}`: `- {{ from: {from}, to: {to}, allow: {allowed} }}`; or run labwright from \
             where a flow leads there"
        )));
    }
}

fn firewall(parsed: &Parsed) -> labwright_model::Span {
    parsed.span_of(&["network", "firewall"])
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn walls_are_not_opened_unasked_and_unknown_ports_not_at_all() {
        says(
            r#"
network:
  firewall: enforce
  zones: { mgmt: { subnet: 10.0.1.0/24 }, apps: { subnet: 10.0.2.0/24 }, iot: { subnet: 10.0.3.0/24 } }
  flows: [{ from: apps, to: [mgmt, apps, iot], allow: ssh }, { from: mgmt, to: apps, allow: ssh }]
platform: { dns: dns-01 }
compute:
  hosts:
    dns-01: { zone: apps, address: 10.0.2.53 }
    app-01: { zone: apps, address: 10.0.2.21 }
    pve-01: { zone: mgmt, address: 10.0.1.11 }
    cam-01: { zone: iot, address: 10.0.3.7 }
services:
  wiki: { run: wiki, on: app-01, needs: [pages, store] }
  pages: { run: pages, on: pve-01, port: 8090 }
  store: { run: store, on: dns-01 }
"#,
            expect![[r#"
                3:13 warning LW-NET-014: `iot` may not open 123/udp to `internet`, out of zone `iot`: every clock is set from the internet
                    help: if it shall, add to `network: { flows: … }`: `- { from: iot, to: internet, allow: 123/udp }`
                6:18 warning LW-NET-014: `iot` may not open 53 to `dns-01`, out of zone `iot`: `dns-01` answers for names
                    help: if it shall, add to `network: { flows: … }`: `- { from: iot, to: dns-01, allow: 53 }`
                14:42 warning LW-NET-014: `app-01` may not open 8090/tcp to `pve-01`, into management zone `mgmt`: `wiki` needs `pages`
                    help: if it shall, add to `network: { flows: … }`: `- { from: app-01, to: pve-01, allow: 8090/tcp }`
                14:49 warning LW-NET-014: `wiki` needs it, and nothing says on which port `store` listens: nothing is opened for it
                    help: say it: `port: NUMBER`, or `port: CONTAINER:NUMBER`; or add a flow that lets it through
            "#]],
        );
    }

    #[test]
    fn the_machine_that_administers_is_told_before_it_is_cut_off() {
        let lab = |flows: &str| {
            format!(
                r#"
edge: {{ router: gw, vpn: tailscale }}
network:
  firewall: enforce
  zones:
    mgmt: {{ subnet: 10.1.1.0/24, kind: management }}
    lan: {{ subnet: 10.1.5.0/24, kind: clients }}
    vpn: {{ subnet: 100.64.0.0/10, interface: tailscale0 }}
  flows: [{{ from: vpn, to: mgmt, allow: ssh }}{flows}]
compute:
  hosts:
    gw: {{ zone: mgmt, address: [10.1.1.1, 10.1.5.1] }}
    pve: {{ zone: mgmt, address: 10.1.1.5 }}
    desk: {{ zone: lan, address: 10.1.5.9, local: true }}
"#
            )
        };
        says(
            &lab(""),
            expect![[r#"
            14:50 warning LW-NET-014: `desk` may not open 22/tcp to `gw` and `pve`, into management zone `mgmt`: labwright runs on `desk`, so an apply would cut itself off there, and be undone
                help: add to `network: { flows: … }`: `- { from: desk, to: [gw, pve], allow: 22/tcp }`; or run labwright from where a flow leads there
        "#]],
        );
        says(&lab(", { from: desk, to: [gw, pve], allow: 22/tcp }"), expect![""]);
    }
}
