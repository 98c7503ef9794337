//! LW-PLT-014: only one resolver.

use labwright_model::Findings;

use super::unnamed_role;
use crate::check::compute::carried::{by_tier, told};
use crate::check::{Case, Examples, Rule};

pub struct OneResolver;

const CODE: &str = "LW-PLT-014";

impl Rule for OneResolver {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "only one resolver"
    }

    fn doc(&self) -> &'static str {
        "`platform.dns` has one host, and services are reached by names. While it restarts, nothing in the lab is found, and \
         usually nothing on the internet either: whoever blocks trackers with it has pointed the whole household there.\n\n\
         Document 0 makes DNS the primary naming system and puts testing its recovery first; document 1 lets the router \
         hand out one virtual machine as the resolver for everybody. RFC 1034 (section 4.1) and RFC 2182 want two \
         servers at least for every zone. Both resolvers come from one lab file, so the second costs no second edit.\n\n\
         It is a warning in a lab that has something in production, and advice otherwise. Not told: a lab without services, \
         one whose resolver is its router (without it there is nothing to ask for), one that has no second machine.\n\n\
         The way out: `dns: [dns-01, dns-02]`, the second on another machine."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    dns-01: { address: 10.0.20.53 }\n    apps-01: { address: 10.0.20.21 }\nplatform: { dns: dns-01 }\nservices:\n  wiki: { run: wiki, on: apps-01, url: wiki, port: \"3000\", expose: lan }",
            passes: "compute:\n  hosts:\n    dns-01: { address: 10.0.20.53 }\n    apps-01: { address: 10.0.20.21 }\nplatform: { dns: [dns-01, apps-01] }\nservices:\n  wiki: { run: wiki, on: apps-01, url: wiki, port: \"3000\", expose: lan }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        let [only] = lab.platform.dns.as_ref().map_or(&[][..], |dns| &dns.on[..]) else { return };
        let router = lab.edge.router.as_ref().and_then(|router| router.on.as_ref());
        let named = parsed.placements.iter().any(|placement| !placement.entry.url.is_empty());
        if !named || router.is_some_and(|router| router.value == only.value) {
            return;
        }
        // There is a second one, and `platform.dns` leaves it out: LW-PLT-001 says so.
        if unnamed_role::leaves_out_a_resolver(parsed) {
            return;
        }
        let carried = case.carried();
        let Some(other) = carried.elsewhere(carried.machine(&only.value)) else { return };
        let message = format!("`{}` is the only resolver: while it is away, no name is found", only.value);
        // Across sites names would wait for the line between them.
        let site = carried.topology.site(&only.value);
        let beside = |name: &str| carried.topology.site(name) == site;
        let machine = carried.machine(&only.value);
        let machines = lab.compute.hosts.keys().map(|name| carried.machine(name));
        let near = || machines.into_iter().find(|name| *name != machine && beside(name));
        let (names, with) = match Some(other).filter(|other| beside(other)).or_else(near) {
            Some(other) if carried.topology.guests_of(other).is_empty() => {
                (format!("[{}, {other}]", only.value), String::new())
            }
            Some(other) => {
                (format!("[{}, dns-02]", only.value), format!(", with `dns-02: {{ vm: {{ on: {other} }} }}`"))
            }
            None => (format!("[{}, dns-02]", only.value), ", with `dns-02` at the same site".to_string()),
        };
        let service = lab.platform.dns.as_ref().and_then(|dns| dns.service.as_ref());
        let help = match service {
            Some(service) => format!(
                "let `{service}` answer on another machine too, `dns: {{ on: {names}, service: {service} }}`{with}",
                service = service.value
            ),
            None => format!("add a second one on another machine: `dns: {names}`{with}"),
        };
        let severity = by_tier(carried.production);
        findings.push(told(CODE, severity, "platform.dns.on".to_string(), only.span, message, help));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn a_warning_with_production() {
        says(
            r#"
owner: mia
compute:
  hosts:
    pve-01: { address: 10.0.10.11 }
    pve-02: { address: 10.0.10.12 }
    dns-01: { address: 10.0.20.53, vm: { on: pve-01 } }
    app: { address: 10.0.20.54, vm: { on: pve-02 } }
platform: { dns: dns-01 }
services: { wiki: { run: wiki, on: app, url: wiki, expose: lan, port: "80", tier: production } }
"#,
            expect![[r#"
                9:18 warning LW-PLT-014: `dns-01` is the only resolver: while it is away, no name is found
                    help: add a second one on another machine: `dns: [dns-01, dns-02]`, with `dns-02: { vm: { on: pve-02 } }`
            "#]],
        );
    }

    #[test]
    fn one_machine_the_router_and_a_plain_inventory_hear_nothing() {
        says(
            r#"
compute: { hosts: { pve: { address: 10.0.10.11 }, dns: { address: 10.0.20.53, vm: { on: pve } }, app: { address: 10.0.20.54, vm: { on: pve } } } }
platform: { dns: dns }
services: { wiki: { run: wiki, on: app, url: wiki, expose: lan, port: "80" } }
"#,
            expect![[""]],
        );
        says(
            r#"
edge: { router: gw }
compute: { hosts: { gw: { address: 10.0.10.1 }, app: { address: 10.0.20.54 } } }
platform: { dns: gw }
services: { wiki: { run: wiki, on: app, url: wiki, expose: lan, port: "80" } }
"#,
            expect![[""]],
        );
        says(
            r#"
compute: { proxmox: [pve], hosts: { pve: { address: 10.0.10.1 }, dns: { address: 10.0.20.54 } } }
platform: { dns: dns }
"#,
            expect![[""]],
        );
    }
}
