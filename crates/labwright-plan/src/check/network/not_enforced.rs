//! LW-NET-013: zones and flows are declared, and nothing enforces them.

use labwright_model::{Finding, Findings};

use crate::check::{Case, Examples, Rule};

pub struct NotEnforced;

const CODE: &str = "LW-NET-013";

impl Rule for NotEnforced {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "zones that nothing enforces"
    }

    fn doc(&self) -> &'static str {
        "The lab declares zones and flows, and no host is asked to deny what no flow allows: what the file says of the network \
         is a wish. With `network: { firewall: enforce }` every Debian, Ubuntu and Proxmox host, and a Linux router, gets a \
         table of nftables of its own (`inet labwright`) that is made from the flows; other tables stay as they are. \
         `firewall` on a host says otherwise for that host.\n\n\
         Nothing is changed on a host before that is asked for. Before it is: `labwright flows` prints the matrix, and \
         `labwright rehearse` builds the network on this machine and lets everybody try everybody.\n\n\
         Document 3 denies by default at the host's firewall, with explicit allows only; document 0 asks for clear trust \
         zones. Advice.\n\n\
         The way out: `firewall: enforce`, or `firewall: off` where something else enforces the zones."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\n    clients: { subnet: 10.0.30.0/24 }\n  flows:\n    - { from: clients, to: servers, allow: https }",
            passes: "network:\n  firewall: enforce\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\n    clients: { subnet: 10.0.30.0/24 }\n  flows:\n    - { from: clients, to: servers, allow: https }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        let said = lab.network.firewall.is_some() || lab.compute.hosts.values().any(|host| host.firewall.is_some());
        if said || lab.network.zones.is_empty() || lab.network.flows.is_empty() {
            return;
        }
        let span = lab.network.flows.first().map_or(labwright_model::Span::NONE, |flow| flow.span);
        let message = "zones and flows are declared, and nothing enforces them";
        findings.push(Finding::advice(CODE, "network.firewall", span, message).help(
            "write `network: { firewall: enforce }`, after `labwright rehearse` has tried it; `firewall: off` keeps it as it is",
        ));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn it_is_said_once_and_any_decision_ends_it() {
        let lab = |more: &str| {
            format!(
                "network:\n  zones: {{ a: {{ subnet: 10.0.1.0/24 }}, b: {{ subnet: 10.0.2.0/24 }} }}\n  flows: [{{ from: a, to: b, allow: ssh }}]\n{more}"
            )
        };
        says(
            &lab(""),
            expect![[r#"
                3:11 advice LW-NET-013: zones and flows are declared, and nothing enforces them
                    help: write `network: { firewall: enforce }`, after `labwright rehearse` has tried it; `firewall: off` keeps it as it is
            "#]],
        );
        says(&lab("  firewall: off\n"), expect![""]);
        says(
            &lab("compute: { hosts: { web: { zone: a, address: 10.0.1.5, firewall: enforce } } }\n"),
            expect![[r#"
            4:66 error LW-NET-016: nobody could log in to `web` any more: its firewall is enforced, and no flow lets port 22/tcp through
                help: add to `network: { flows: … }`, from where you administer the lab: `- { from: ZONE, to: web, allow: ssh }`
        "#]],
        );
    }
}
