//! LW-EDGE-014: a mesh VPN whose members find one another by a server that stands behind that mesh.

use labwright_model::lab::{Expose, Lab};
use labwright_model::{Findings, Placement};

use super::names::{full, names};
use crate::blast::is_application;
use crate::check::compute::carried::{by_tier, told};
use crate::check::network::zone_kind::is_vpn;
use crate::check::{Case, Examples, Rule};

pub struct MeshCoordination;

const CODE: &str = "LW-EDGE-014";

impl Rule for MeshCoordination {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a VPN whose coordination is behind it"
    }

    fn doc(&self) -> &'static str {
        "The members of a Tailscale network find one another by a coordination server. Where that is a Headscale of the lab's \
         own, and it is only reachable over that very VPN (`expose: vpn`, or on a host that is in no other zone), a device that \
         was restarted, moved or logged out cannot ask it how to get in. All is well until the first of them has to, and on the \
         day of a power cut that is all of them.\n\n\
         Document 0 keeps the way in for administration apart from what it administers, and wants paths of recovery tried; \
         Headscale's documentation (https://headscale.net/stable/setup/requirements/) asks for a server with a public address \
         and HTTPS on port 443.\n\n\
         It is a warning in a lab that has something in production, and advice otherwise.\n\n\
         The way out: `expose: public` for the coordination server alone, or put it on a rented machine; a second way in \
         (WireGuard on the router) helps on the day."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "edge: { vpn: { tailscale: { login_server: \"https://headscale.home.example.net\" } } }\ncompute: { hosts: { box: { address: 10.0.0.2 } } }\nplatform: { dns: box, reverse_proxy: box }\nservices:\n  headscale: { use: headscale, on: box, expose: vpn, url: headscale.home.example.net }",
            passes: "edge:\n  vpn: { tailscale: { login_server: \"https://headscale.example.net\" } }\n  public: { cloudflare: { zones: [example.net], tunnel: box } }\ncompute: { hosts: { box: { address: 10.0.0.2 } } }\nplatform: { dns: box, reverse_proxy: box }\nservices:\n  headscale: { use: headscale, on: box, expose: public, access: everyone, url: headscale.example.net }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        let Some(tailnet) = lab.edge.vpn.as_ref().and_then(|vpn| vpn.tailscale.as_ref()) else { return };
        let server = tailnet.login_server.as_ref().map(|server| full(lab, server));
        let coordinates = |placement: &&Placement| match &server {
            Some(server) => names(lab, placement).iter().any(|name| name.full == *server),
            None => is_application(parsed, placement, &["headscale"]),
        };
        for placement in parsed.placements.iter().filter(coordinates) {
            let service = &placement.service;
            let (key, why) = match placement.entry.expose {
                Expose::Public => continue,
                Expose::Vpn => ("expose", "is exposed to that VPN alone"),
                Expose::Nowhere | Expose::Lan if is_inside(lab, placement) => ("on", "stands in that VPN alone"),
                Expose::Nowhere | Expose::Lan => continue,
            };
            let message = format!(
                "the members of the VPN find one another by `{service}`, which {why}: whoever is out cannot come in again"
            );
            let help =
                "write `expose: public` for it, with a name and a way in from the internet, or put it on a rented \
                        machine: `on: HOST`"
                    .to_string();
            let span = parsed.span_of(&["services", service, key]);
            let severity = by_tier(case.carried().production);
            findings.push(told(CODE, severity, format!("services.{service}.{key}"), span, message, help));
        }
    }
}

/// Whether all hosts of a service are in zones of a VPN alone, by what is said of them.
fn is_inside(lab: &Lab, placement: &Placement) -> bool {
    let inside = |host: &str| {
        let Some(host) = lab.host(host) else { return false };
        let zone = host.zone.as_ref().and_then(|zone| lab.network.zones.get(&zone.value)).filter(|zone| is_vpn(zone));
        zone.is_some_and(|zone| {
            let own = |address: &std::net::IpAddr| zone.subnet.iter().any(|subnet| subnet.value.0.contains(address));
            !host.address.is_empty() && host.address.iter().all(|address| own(&address.value))
        })
    };
    !placement.entry.on.is_empty() && placement.entry.on.iter().all(|on| inside(on))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn a_headscale_behind_its_own_mesh() {
        let lab = |vpn: &str, host: &str, service: &str| {
            format!(
                "domain: home.example.net\nedge: {{ vpn: {{ tailscale: {vpn} }} }}\nnetwork: {{ zones: {{ lan: {{ subnet: 10.0.0.0/24 }}, tailnet: {{ interface: tailscale0, subnet: 100.64.0.0/10 }} }} }}\ncompute: {{ hosts: {{ box: {{ {host} }} }} }}\nplatform: {{ dns: box, reverse_proxy: box }}\nservices:\n  hs: {{ on: box, use: headscale, {service} }}\n"
            )
        };
        let (at_home, away) = ("zone: lan, address: 10.0.0.2", "zone: tailnet, address: 100.64.0.2");
        let named = "expose: vpn, url: hs";
        says(
            &lab("{ login_server: \"https://hs.home.example.net\" }", at_home, named),
            expect![[r#"
            7:42 advice LW-EDGE-014: the members of the VPN find one another by `hs`, which is exposed to that VPN alone: whoever is out cannot come in again
                help: write `expose: public` for it, with a name and a way in from the internet, or put it on a rented machine: `on: HOST`
        "#]],
        );
        says(
            &lab("{}", at_home, named),
            expect![[r#"
            7:42 advice LW-EDGE-014: the members of the VPN find one another by `hs`, which is exposed to that VPN alone: whoever is out cannot come in again
                help: write `expose: public` for it, with a name and a way in from the internet, or put it on a rented machine: `on: HOST`
        "#]],
        );
        says(
            &lab("{}", away, "expose: nowhere"),
            expect![[r#"
            7:13 advice LW-EDGE-014: the members of the VPN find one another by `hs`, which stands in that VPN alone: whoever is out cannot come in again
                help: write `expose: public` for it, with a name and a way in from the internet, or put it on a rented machine: `on: HOST`
        "#]],
        );
        for (vpn, host, service) in [
            ("{ login_server: \"https://other.example.net\" }", at_home, named),
            ("{}", at_home, "expose: lan, url: hs"),
            ("{}", at_home, "expose: nowhere"),
        ] {
            says(&lab(vpn, host, service), expect![[""]]);
        }
    }
}
