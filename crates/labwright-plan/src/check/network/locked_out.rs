//! LW-NET-016: a host that enforces, and that nobody could log in to any more.

use std::collections::HashMap;

use labwright_model::{Finding, Findings, Span};

use crate::check::{Case, Examples, Rule};
use crate::network::nft::forwards;
use crate::network::{Allowed, End, Guard, Party, Try};

pub struct LockedOut;

const CODE: &str = "LW-NET-016";

impl Rule for LockedOut {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a firewall that would lock its administrator out"
    }

    fn doc(&self) -> &'static str {
        "The host's firewall is enforced, and no flow lets anybody open SSH to it, on the port that the lab file gives for it: \
         the first apply would be the last. Nothing is planned as long as that is so.\n\n\
         SSH is opened by itself from the host that `labwright` runs on (`local: true`), from hosts that are jumped over \
         (`ssh: { jump: … }`), and from the VPN where `edge` declares one, but never into a management zone: there it is a \
         flow of its own.\n\n\
         The same page tells where two hosts want one port of the router's public address: the second would not get it.\n\n\
         Document 0 reaches infrastructure by SSH with keys, over a VPN. The way out: the flow that the finding names, from \
         where you administer the lab; or `firewall: off` on that host."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "network:\n  firewall: enforce\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\n    clients: { subnet: 10.0.30.0/24 }\n  flows:\n    - { from: clients, to: servers, allow: https }\ncompute:\n  hosts:\n    web: { zone: servers, address: 10.0.20.5 }",
            passes: "network:\n  firewall: enforce\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\n    clients: { subnet: 10.0.30.0/24 }\n  flows:\n    - { from: clients, to: servers, allow: [ssh, https] }\ncompute:\n  hosts:\n    web: { zone: servers, address: 10.0.20.5 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        if !super::firewall_is_asked_for(parsed) {
            return;
        }
        let matrix = case.matrix();
        let mut ways: HashMap<End, Vec<(End, &Allowed)>> = HashMap::new();
        for (from, to, allowed, _) in matrix.cells() {
            ways.entry(to).or_default().push((from, allowed));
        }
        let mut locked: Vec<usize> = Vec::new();
        for (number, host) in matrix.parties.hosts.iter().enumerate() {
            if host.guard != Guard::Enforced || host.entry.local {
                continue;
            }
            // A way from a zone is one from its other devices at least; what a host may open to itself lets nobody in.
            let ends = matrix.parties.ends(Party::Host(number));
            let mut into = ends.iter().filter_map(|end| ways.get(end)).flatten();
            if !into.any(|(from, allowed)| *from != End::Host(number) && allowed.lets(Try::Tcp(host.ssh_port))) {
                locked.push(number);
            }
        }
        if let Some(first) = locked.first() {
            let names = locked.iter().map(|number| matrix.parties.hosts[*number].name);
            let host = &matrix.parties.hosts[*first];
            let entry = parsed.lab.compute.hosts.get(host.name).map_or(Span::NONE, |host| host.span);
            let place = host.entry.firewall.as_ref().map_or(entry, |firewall| firewall.span);
            let port = host.ssh_port;
            let message = format!(
                "nobody could log in to {} any more: its firewall is enforced, and no flow lets port {port}/tcp through",
                super::telling::listed(names)
            );
            let mut finding = Finding::error(CODE, format!("compute.hosts.{}", host.name), place, message).help(format!(
                "add to `network: {{ flows: … }}`, from where you administer the lab: `- {{ from: ZONE, to: {}, allow: {} }}`",
                matrix.parties.spelled(End::Host(*first)),
                if port == 22 { "ssh".to_string() } else { format!("{port}/tcp") }
            ));
            for other in locked.iter().skip(1).take(5) {
                let name = matrix.parties.hosts[*other].name;
                let span = parsed.lab.compute.hosts.get(name).map_or(Span::NONE, |host| host.span);
                finding = finding.related(span, format!("nor to `{name}`"));
            }
            findings.push(finding);
        }
        for conflict in forwards(matrix).1.iter().filter(|_| matrix.parties.guarding_router().is_some()) {
            let (first, second) =
                (matrix.parties.hosts[conflict.first].name, matrix.parties.hosts[conflict.second].name);
            let message = format!(
                "`{first}` and `{second}` both want {} of the one public address: `{second}` would not be reached",
                conflict.ports
            );
            findings.push(
                Finding::error(CODE, "network.flows", conflict.span, message)
                    .help("let the internet reach one of them, or another port, or put both behind the reverse proxy"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn every_way_in_counts_and_its_own_port_is_asked_for() {
        says(
            r#"
network:
  firewall: enforce
  zones: { a: { subnet: 10.0.1.0/24 }, mgmt: { subnet: 10.0.9.0/24 } }
  flows: [{ from: a, to: a, allow: ssh }]
compute:
  hosts:
    desk: { zone: a, address: 10.0.1.2, local: true }
    web: { zone: a, address: 10.0.1.5 }
    odd: { zone: a, address: 10.0.1.6, ssh: { port: 2222 } }
    pve: { zone: mgmt, address: 10.0.9.5 }
    switch: { zone: mgmt, address: 10.0.9.6, os: other }
    open: { zone: mgmt, address: 10.0.9.7, firewall: off }
"#,
            expect![[r#"
                8:48 warning LW-NET-014: `desk` may not open 22/tcp to `open` and `pve`, into management zone `mgmt`: labwright runs on `desk`, so an apply would cut itself off there, and be undone
                    help: add to `network: { flows: … }`: `- { from: desk, to: [open, pve], allow: 22/tcp }`; or run labwright from where a flow leads there
                11:5 error LW-NET-016: nobody could log in to `pve` any more: its firewall is enforced, and no flow lets port 22/tcp through
                    help: add to `network: { flows: … }`, from where you administer the lab: `- { from: ZONE, to: pve, allow: ssh }`
            "#]],
        );
    }

    #[test]
    fn one_public_port_leads_to_one_host() {
        says(
            r#"
edge: { router: gw }
network:
  firewall: enforce
  zones: { a: { subnet: 10.0.1.0/24 } }
  flows: [{ from: a, to: a, allow: ssh }, { from: internet, to: [one, two], allow: [https, 8000-8001/tcp] }]
compute:
  hosts:
    gw: { zone: a, address: 10.0.1.1 }
    one: { zone: a, address: 10.0.1.5 }
    two: { zone: a, address: 10.0.1.6 }
"#,
            expect![[r#"
                6:43 error LW-NET-016: `one` and `two` both want 443/tcp, 8000-8001/tcp of the one public address: `two` would not be reached
                    help: let the internet reach one of them, or another port, or put both behind the reverse proxy
            "#]],
        );
    }
}
