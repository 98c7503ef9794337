//! LW-PLT-023: two programs that would both answer on port 53 of one host.

use labwright_model::compose::service::NetworkMode;
use labwright_model::lab::Os;
use labwright_model::snapshot::dns::declared;
use labwright_model::{Finding, Findings, Parsed, Placement, Span};

use crate::check::containers::{Container, containers};
use crate::check::{Case, Examples, Rule};
use crate::network::allowed::Allowed;
use crate::network::ports;

pub struct SecondResolver;

const CODE: &str = "LW-PLT-023";
/// Applications that answer for names, as `of_image` calls them.
const RESOLVERS: &[&str] = &["adguardhome", "bind9", "blocky", "coredns", "dns", "dnsmasq", "pihole", "unbound"];

impl Rule for SecondResolver {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "two resolvers on one host"
    }

    fn doc(&self) -> &'static str {
        "`platform.dns` puts Labwright's own resolver on its hosts, and a service on one of them publishes port 53, or is a \
         resolver in its host's network (`network_mode: host`). One of the two would find the port taken: the resolver says so \
         and `apply` fails, or the container does not start.\n\n\
         It is an error, unless `platform.dns.listen` leaves the other one an address of its own.\n\n\
         Document 4 has a Pi-hole where its names are answered.\n\n\
         The way out: where the service is the resolver that shall stay, say so with `service: NAME`, and Labwright runs none; \
         otherwise take the service out, since `platform.dns` has lists, groups and records of its own."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform: { dns: { on: a, upstream: 9.9.9.9 } }\ncompute: { hosts: { a: { address: 10.0.0.1 } } }\nservices:\n  pihole: { on: a, containers: { dns: { image: \"pihole/pihole:2025.11\", ports: [\"53:53/udp\", \"53:53/tcp\"] } } }",
            passes: "platform: { dns: { on: a, upstream: 9.9.9.9, service: pihole } }\ncompute: { hosts: { a: { address: 10.0.0.1 } } }\nservices:\n  pihole: { on: a, containers: { dns: { image: \"pihole/pihole:2025.11\", ports: [\"53:53/udp\", \"53:53/tcp\"] } } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let Some(dns) = declared(parsed).filter(|dns| dns.listen.is_empty()) else { return };
        for on in dns.on.iter() {
            // Where Labwright changes nothing, it puts no resolver either.
            if parsed.lab.host(on).is_none_or(|host| matches!(host.os, Os::Nixos | Os::Other)) {
                continue;
            }
            let here = |placement: &&Placement| placement.entry.on.iter().any(|at| at.value == on.value);
            for placement in parsed.placements.iter().filter(here) {
                let Some(what) = answers(parsed, placement) else { continue };
                let service = &placement.service;
                let message = format!("`{service}` {what} on `{}`, where `platform.dns` puts a resolver", on.value);
                let span = parsed.lab.services.get(service).map_or(Span::NONE, |entry| entry.span);
                let finding = Finding::error(CODE, format!("services.{service}"), span, message);
                findings.push(
                    finding
                        .help(format!(
                            "if it is the lab's resolver, say so: `platform: {{ dns: {{ service: {service} }} }}`"
                        ))
                        .related(on.span, "the resolver"),
                );
            }
        }
    }
}

/// How a service is in the way of a resolver, where it is.
fn answers(parsed: &Parsed, placement: &Placement) -> Option<&'static str> {
    let published = ports::of(parsed, placement);
    if published.covers(&Allowed::udp([53])) || published.covers(&Allowed::tcp([53])) {
        return Some("publishes port 53");
    }
    let is_resolver = |container: Container<'_>| {
        matches!(container.network_mode(), Some(NetworkMode::Host)) && RESOLVERS.contains(&container.program())
    };
    containers(parsed, placement).any(is_resolver).then_some("is a resolver in its host's network")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn what_holds_the_port_is_named() {
        says(
            r#"
compute: { hosts: { a: { address: 10.0.20.53 }, b: { address: 10.0.20.54 } } }
platform: { dns: { on: [a, b], upstream: 9.9.9.9 } }
services:
  adguard: { on: b, containers: { main: { image: "adguard/adguardhome:v0.107", network_mode: host } } }
  web: { on: a, containers: { main: { image: nginx, network_mode: host } } }
  inner: { on: a, containers: { main: { image: coredns/coredns, ports: ["127.0.0.1:53:53/udp"] } } }
"#,
            expect![[r#"
                5:3 error LW-PLT-023: `adguard` is a resolver in its host's network on `b`, where `platform.dns` puts a resolver
                    help: if it is the lab's resolver, say so: `platform: { dns: { service: adguard } }`
                    3:28: the resolver
            "#]],
        );
    }

    #[test]
    fn an_address_of_its_own_is_enough() {
        says(
            r#"
compute: { hosts: { a: { address: 10.0.20.53 } } }
platform: { dns: { on: a, upstream: 9.9.9.9, listen: 10.0.20.53 } }
services:
  pihole: { on: a, containers: { main: { image: pihole/pihole, ports: ["10.0.20.99:53:53/udp"] } } }
"#,
            expect![[""]],
        );
    }
}
