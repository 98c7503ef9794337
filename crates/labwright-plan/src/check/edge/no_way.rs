//! LW-EDGE-008: a service with a name, and no way to it.

use std::collections::BTreeSet;

use labwright_model::snapshot::proxy::{Led, claims, declared, lead};
use labwright_model::{Findings, Span, codes};

use crate::check::network::telling::Stake;
use crate::check::{Case, Examples, Rule};

pub struct NoWayIn;

const CODE: &str = "LW-EDGE-008";

impl Rule for NoWayIn {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a name, and no way to its service"
    }

    fn doc(&self) -> &'static str {
        "A service has a name under `url`, the lab has a reverse proxy, and nothing says where the name leads: there is no \
         `port`, or the container does not publish it on its host, or the host has no address. Whoever comes by that name \
         would see a page that says so.\n\n\
         Containers count wherever they are written, in the lab file or in a Compose file beside it. Not told of services \
         with `use`: the catalogue knows their ports. A `port` that is none at all is LW-LAB-004 alone.\n\n\
         A proxy that reaches nobody can only say so (RFC 9110, 15.6.3). Advice; a warning for `tier: production`.\n\n\
         The way out: `port: 8080`; `port: CONTAINER:PORT` with that port under the container's `ports`; or \
         `door: { to: http://HOST:PORT }` for anything else."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform: { dns: a, reverse_proxy: a }\ncompute: { hosts: { a: { address: 10.0.0.1 } } }\nservices:\n  wiki: { run: wiki, on: a, expose: lan, url: wiki }",
            passes: "platform: { dns: a, reverse_proxy: a }\ncompute: { hosts: { a: { address: 10.0.0.1 } } }\nservices:\n  wiki: { run: wiki, on: a, expose: lan, url: wiki, port: 8080 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let Some(host) = declared(parsed).and_then(|proxy| proxy.on.first()) else { return };
        let mut told = BTreeSet::new();
        for claim in claims(parsed) {
            let (service, entry) = (claim.placement.service.as_str(), &claim.placement.entry);
            if entry.catalogue.is_some() || !told.insert(service) {
                continue;
            }
            // What is wrong with the words of a `port` was told when they were read.
            let is_told = entry.port.as_ref().is_some_and(|port| {
                parsed.findings.iter().any(|told| told.code == codes::WRONG_VALUE && told.span == port.span)
            });
            if let Led::Nowhere(why) = lead(parsed, claim.placement, host)
                && !is_told
            {
                let (message, help) = why.words(service);
                let span = match entry.port.as_ref().map_or(Span::NONE, |port| port.span) {
                    none if none.is_none() => claim.url.span,
                    span => span,
                };
                let stake = Stake::of(entry.tier);
                findings.push(stake.finding(CODE, format!("services.{service}.port"), span, message).help(help));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn every_way_that_is_none() {
        says(
            r#"
platform: { dns: a, reverse_proxy: a }
compute: { hosts: { a: { address: 10.0.0.1 }, b: { zone: z } } }
network: { zones: { z: { subnet: 10.0.0.0/24 } } }
services:
  bare: { run: x, on: a, expose: lan, url: bare }
  word: { run: x, on: a, expose: lan, url: word, port: http }
  lost: { run: x, on: a, expose: lan, url: lost, port: "web:80", tier: production, owner: me }
  other: { on: a, expose: lan, url: other, port: "web:80", containers: { app: { image: "a:1" } } }
  inner: { on: a, expose: lan, url: inner, port: "web:80", containers: { web: { image: "a:1", ports: ["8080:81", "53:80/udp"] } } }
  outer: { on: a, expose: lan, url: outer, port: "web:80", containers: { web: { image: "a:1", ports: ["127.0.0.1:8080:80"] } } }
  long: { on: a, expose: lan, url: long, port: "web:80", containers: { web: { image: "a:1", ports: [{ target: 80, published: "8081" }] } } }
  single: { on: a, expose: lan, url: single, containers: { web: { image: "a:1", ports: ["8082:80"] } } }
  named: { use: a, on: a, expose: lan, url: named }
  theirs: { external: x, url: theirs.example }
  through: { external: x, url: through, expose: lan, door: { to: "https://10.0.0.9" } }
  pages: { site: ./pages, url: pages, expose: lan }
"#,
            expect![[r#"
                6:44 advice LW-EDGE-008: nothing says which port the name of `bare` leads to
                    help: add `port: 8080`, or `port: CONTAINER:PORT`, or `door: { to: http://HOST:PORT }`
                7:56 error LW-LAB-004: `http` is no port: a number from 1 to 65535 is
                    help: write `port: 8080`, or `port: CONTAINER:8080`
                9:50 error LW-LAB-004: service `other` has no container `web`
                    help: its containers are `app`
                10:50 advice LW-EDGE-008: container `web` of `inner` does not publish its port 80, so no proxy reaches it
                    help: publish it to its own host, where the proxy is: `ports: ["127.0.0.1:80:80"]`
            "#]],
        );
    }
}
