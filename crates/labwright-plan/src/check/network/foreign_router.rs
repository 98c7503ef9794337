//! LW-NET-015: a router that Labwright does not set, in a lab that enforces.

use labwright_model::{Finding, Findings};

use crate::check::{Case, Examples, Rule};
use crate::network::Guard;
use crate::network::flows::unenforced;

pub struct ForeignRouter;

const CODE: &str = "LW-NET-015";

impl Rule for ForeignRouter {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a router that the matrix does not reach"
    }

    fn doc(&self) -> &'static str {
        "The lab enforces its flows, and the router between its zones is none that Labwright sets: UniFi, OPNsense, MikroTik, \
         or a Linux host whose own firewall is off. Hosts still deny what comes to them. What nobody denies is traffic \
         between zones to whatever has no firewall of ours: devices, appliances, machines that the lab file does not name.\n\n\
         `labwright flows --export markdown` (or `json`) is the work order for that router: zones, aliases, rules in their \
         order, port forwards. `labwright flows` lists the pairs that are denied and not enforced, and `labwright rehearse` \
         shows them being open.\n\n\
         Document 0 puts zones between devices that can have no firewall of their own: cameras, guests, televisions. \
         A warning. The way out: set the router by the work order and accept the finding with the date at which that was \
         done, or route with a Linux host: `edge: { router: { on: HOST, kind: linux } }`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "edge: { router: { on: gateway, kind: unifi } }\nnetwork:\n  firewall: enforce\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\n    clients: { subnet: 10.0.30.0/24 }\n  flows:\n    - { from: clients, to: servers, allow: [ssh, https] }\ncompute:\n  hosts:\n    gateway: { zone: servers, address: [10.0.20.1, 10.0.30.1], os: other }\n    web: { zone: servers, address: 10.0.20.5 }",
            passes: "edge: { router: gateway }\nnetwork:\n  firewall: enforce\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\n    clients: { subnet: 10.0.30.0/24 }\n  flows:\n    - { from: clients, to: servers, allow: [ssh, https] }\ncompute:\n  hosts:\n    gateway: { zone: servers, address: [10.0.20.1, 10.0.30.1] }\n    web: { zone: servers, address: 10.0.20.5 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        if !super::firewall_is_asked_for(parsed) || parsed.lab.network.zones.len() < 2 {
            return;
        }
        let matrix = case.matrix();
        let parties = &matrix.parties;
        let Some(router) = parties.router.filter(|_| parties.enforces() && parties.guarding_router().is_none()) else {
            return;
        };
        let across: usize = unenforced(matrix).iter().filter(|one| one.from != one.to).map(|one| one.pairs).sum();
        if across == 0 {
            return;
        }
        let name = parties.hosts[router].name;
        let why = match parties.hosts[router].guard {
            Guard::Foreign => "is not set by labwright",
            _ => "has its firewall off",
        };
        let span = parsed.lab.edge.router.as_ref().and_then(|router| router.on.as_ref()).map(|on| on.span);
        let message = format!(
            "the router `{name}` {why}: between zones, {across} ordered pairs are denied by the matrix and by nothing else"
        );
        findings.push(
            Finding::warning(CODE, "edge.router", span.unwrap_or(labwright_model::Span::NONE), message)
                .help("`labwright flows --export markdown` is its work order; `labwright flows` lists the pairs"),
        );
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn one_zone_needs_no_router_and_a_router_with_its_firewall_off_is_told() {
        let lab = |zones: &str, router: &str| {
            format!(
                "edge: {{ router: gw }}\nnetwork:\n  firewall: enforce\n  zones: {{ a: {{ subnet: 10.0.1.0/24 }}{zones} }}\n  flows: [{{ from: a, to: a, allow: ssh }}]\ncompute: {{ hosts: {{ gw: {{ zone: a, address: 10.0.1.1{router} }}, web: {{ zone: a, address: 10.0.1.5 }} }} }}\n"
            )
        };
        says(&lab("", ", os: other"), expect![""]);
        says(
            &lab(", b: { subnet: 10.0.2.0/24 }", ", firewall: off"),
            expect![[r#"
                1:17 warning LW-NET-015: the router `gw` has its firewall off: between zones, 10 ordered pairs are denied by the matrix and by nothing else
                    help: `labwright flows --export markdown` is its work order; `labwright flows` lists the pairs
            "#]],
        );
    }
}
