//! LW-NET-010: an address where a name would do.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use labwright_model::{Findings, Parsed, Placement, Span};

use super::telling::Stake;
use crate::check::containers;
use crate::check::services::backing;
use crate::check::{Case, Examples, Rule};

pub struct AddressForName;

const CODE: &str = "LW-NET-010";

impl Rule for AddressForName {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "an address where a name would do"
    }

    fn doc(&self) -> &'static str {
        "A service is told, in its environment or on its command line, to talk to an address that is a host's or a \
         container's of this lab. Document 3 calls it the most common way in which its media stack fails: it breaks when \
         containers start in another order, when the address changes, when a VPN gateway comes in between. The change to \
         names takes ten seconds, and the whole class of failures is gone. Document 1 has the same in its own lab, a mount \
         from the address of the NAS.\n\n\
         Looked at are `environment` (files of variables too), `command` and `entrypoint` of containers, in the lab file and \
         in Compose files, and `environment` and `command` under `run`. What is an address by nature is left alone: networks (`10.0.0.0/8`), resolvers, and \
         settings about listening, binding, trusting and announcing, or about what a program calls itself (`BASE_URL`). So is `${host.nas-01.address}`, which follows when the \
         address changes. Advice; a warning for `tier: production`.\n\n\
         The way out: the container's name for a container of the same service, the name in the lab's domain for anything \
         else, or `${host.NAME.address}` where it must be an address."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    docker-01: { address: 10.0.20.21 }\nservices:\n  series:\n    on: docker-01\n    containers:\n      sonarr: { image: linuxserver/sonarr, environment: { PROWLARR_URL: \"http://10.0.20.21:9696\" } }",
            passes: "compute:\n  hosts:\n    docker-01: { address: 10.0.20.21 }\nservices:\n  series:\n    on: docker-01\n    containers:\n      sonarr: { image: linuxserver/sonarr, environment: { PROWLARR_URL: \"http://prowlarr:9696\" } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let known = Known::of(parsed);
        if known.names.is_empty() {
            return;
        }
        let mut told: BTreeMap<&str, Vec<Hit<'_>>> = BTreeMap::new();
        for container in containers::all(parsed) {
            let (placement, says) = (container.placement, &container.says.value);
            let mut look = |key: &str, item: String, name: &str, value: &str, span: Span| {
                let place = || if span.is_none() { container.span(parsed, &[key, &item]) } else { span };
                let Some((address, span)) = known.literal(parsed, name, value, place) else { return };
                let at = format!("{}.{key}.{item}", container.at(parsed));
                told.entry(&placement.service).or_default().push(Hit { placement, address, span, at });
            };
            for (name, value) in says.environment.iter() {
                look("environment", name.clone(), name, value.value.as_deref().unwrap_or_default(), value.span);
            }
            for (key, words) in [("command", &says.command), ("entrypoint", &says.entrypoint)] {
                for (number, word) in words.iter().flat_map(|words| words.0.iter()).enumerate() {
                    let (name, value) = word.split_once('=').unwrap_or(("", word));
                    look(key, number.to_string(), name, value, Span::NONE);
                }
            }
        }
        for placement in &parsed.placements {
            let Some(run) = &placement.entry.run else { continue };
            let service = placement.service.as_str();
            let command = run.command.iter().map(|word| ("command", "", word.value.as_str(), word.span));
            let environment =
                run.environment.iter().map(|(key, value)| ("environment", key.as_str(), value.as_str(), Span::NONE));
            for (key, name, value, span) in command.chain(environment) {
                let place = || match span.is_none() {
                    true => parsed.span_of(&["services", service, "run", key, name]),
                    false => span,
                };
                let Some((address, span)) = known.literal(parsed, name, value, place) else { continue };
                let at = format!("services.{service}.run.{key}");
                told.entry(service).or_default().push(Hit { placement, address, span, at });
            }
        }
        for (service, hits) in told {
            tell(parsed, &known, service, &hits, findings);
        }
    }
}

struct Hit<'a> {
    placement: &'a Placement,
    address: IpAddr,
    span: Span,
    at: String,
}

enum Owner<'a> {
    Host(&'a str),
    /// A container with an address of its own, and its service.
    Container(&'a str, &'a str),
}

/// The addresses of the lab, by what has them.
struct Known<'a> {
    names: HashMap<IpAddr, Owner<'a>>,
    /// Those that everybody asks for names, by address.
    resolvers: HashSet<IpAddr>,
}

impl<'a> Known<'a> {
    fn of(parsed: &'a Parsed) -> Known<'a> {
        let lab = &parsed.lab;
        // Resolvers are asked by address everywhere: whoever could look their names up would not need them.
        let resolvers: HashSet<&str> =
            lab.platform.dns.iter().flat_map(|dns| dns.on.iter()).map(|on| on.value.as_str()).collect();
        let mut names = HashMap::new();
        let mut asked = HashSet::new();
        for (name, host) in lab.compute.hosts.iter() {
            let addresses = host.address.iter().map(|address| address.value).filter(|address| !address.is_loopback());
            asked.extend(addresses.clone().filter(|_| resolvers.contains(name.as_str())));
            names.extend(addresses.map(|address| (address, Owner::Host(name))));
        }
        for container in containers::all(parsed) {
            let networks = container.says.value.networks.0.values().filter_map(|network| network.value.as_ref());
            let given = networks.flat_map(|network| [&network.ipv4_address, &network.ipv6_address]).flatten();
            let addresses = given.filter_map(|address| address.value.parse().ok());
            names.extend(
                addresses.map(|address| (address, Owner::Container(container.name, &container.placement.service))),
            );
        }
        Known { names, resolvers: asked }
    }

    /// An address of the lab in a value, if it was typed there and stands for what is talked to.
    fn literal(
        &self,
        parsed: &Parsed,
        name: &str,
        value: &str,
        place: impl FnOnce() -> Span,
    ) -> Option<(IpAddr, Span)> {
        let upper = name.to_ascii_uppercase();
        let address = addresses(value).into_iter().find(|address| self.names.contains_key(address))?;
        // `DB_HOSTNAME` is no name of its own, and a database is no resolver.
        let talked_to = !backing::hosts(name, value).is_empty();
        if !talked_to && (self.resolvers.contains(&address) || is_aside(&upper, value)) {
            return None;
        }
        let span = place();
        let text = parsed.sources.get(span.file)?.text.get(span.start as usize..span.end as usize)?;
        // What a reference gave is not in the text.
        text.contains(&address.to_string()).then_some((address, span))
    }
}
/// Whether a variable or an option says where something listens, whom it trusts, or what it calls itself.
fn is_aside(upper: &str, value: &str) -> bool {
    const ASIDE: &[&str] = &[
        "LISTEN",
        "BIND",
        "ADVERTISE",
        "ANNOUNCE",
        "ALLOW",
        "TRUST",
        "WHITELIST",
        "DNS",
        "RESOLVER",
        "SUBNET",
        "CIDR",
        "NETWORK",
        "NODE_IP",
        "HOST_IP",
        "SERVERIP",
        "LOCAL_IP",
        "EXTERNAL_IP",
        "PUBLIC_IP",
        "NAMESERVER",
        "INTERFACE",
        "FTLCONF",
        // What a program calls itself.
        "APP_URL",
        "BASE_URL",
        "ROOT_URL",
        "SITE_URL",
        "PUBLIC",
        "EXTERNAL",
        "ORIGIN",
        "DOMAIN",
        "HOSTNAME",
        "CORS",
    ];
    let flag = value.trim_start_matches('-').to_ascii_uppercase();
    ASIDE.iter().any(|aside| upper.contains(aside) || (value.starts_with('-') && flag.starts_with(aside)))
}

/// The addresses in a text, those of networks aside.
fn addresses(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let end = rest[start..].find(|c: char| !c.is_ascii_digit() && c != '.').map_or(rest.len(), |end| start + end);
        let network =
            rest[end..].strip_prefix('/').is_some_and(|after| after.starts_with(|c: char| c.is_ascii_digit()));
        if let (Ok(address), false) = (rest[start..end].trim_end_matches('.').parse::<Ipv4Addr>(), network) {
            found.push(IpAddr::V4(address));
        }
        rest = &rest[end..];
    }
    let bracketed = text.split('[').skip(1).filter_map(|part| part.split_once(']')?.0.parse::<IpAddr>().ok());
    found.extend(bracketed);
    found
}

fn tell(parsed: &Parsed, known: &Known<'_>, service: &str, hits: &[Hit<'_>], findings: &mut Findings) {
    let Some(first) = hits.first() else { return };
    let stake = hits.iter().map(|hit| Stake::of(hit.placement.entry.tier)).max().unwrap_or(Stake::Lab);
    let named = |address: &IpAddr| match known.names.get(address) {
        Some(Owner::Host(host)) => format!("host `{host}`"),
        Some(Owner::Container(container, of)) => format!("container `{container}` of `{of}`"),
        None => String::new(),
    };
    let own = |host: &str| first.placement.entry.on.iter().any(|on| on.value == host);
    let help = match known.names.get(&first.address) {
        Some(Owner::Container(container, of)) if *of == service => {
            format!("write `{container}`: containers of one service know each other by name")
        }
        Some(Owner::Host(host)) if own(host) => {
            "write the name of the container or service: on one host they know each other by name".to_string()
        }
        Some(Owner::Host(host)) if parsed.lab.platform.dns.is_some() => {
            format!("write `{}`, or `${{host.{host}.address}}` where it must be an address", parsed.lab.fqdn(host))
        }
        Some(Owner::Host(host)) => format!("write `${{host.{host}.address}}`: it follows when the address changes"),
        Some(Owner::Container(_, of)) => format!("write the name of `{of}` in the lab's domain"),
        None => String::new(),
    };
    let message = format!("`{service}` talks to `{}`, which is {}", first.address, named(&first.address));
    let mut finding = stake.finding(CODE, first.at.clone(), first.span, message).help(help);
    for hit in hits.iter().skip(1).take(5) {
        finding = finding.related(hit.span, format!("here to `{}`, {}", hit.address, named(&hit.address)));
    }
    findings.push(finding);
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::check::tests::says;

    #[test]
    fn addresses_in_texts() {
        let found = |text: &str| addresses(text).iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(found("postgres://u:p@10.0.0.5:5432/x,[fd00::5]:80"), "10.0.0.5 fd00::5");
        assert_eq!(found("10.0.0.0/8 1.2.3 v1.2.3.4.5 ends 10.0.0.7. [x]"), "10.0.0.7");
    }

    #[test]
    fn what_is_talked_to_and_what_is_not() {
        says(
            r#"
platform: { dns: dns-01 }
compute:
  hosts:
    docker-01: { address: [10.0.20.21, "fd00::21"] }
    nas-01: { address: 10.0.20.5 }
    dns-01: { address: 10.0.20.53 }
services:
  series:
    on: docker-01
    tier: production
    containers:
      sonarr:
        image: sonarr
        environment:
          - PROWLARR=http://10.0.20.21:9696
          - NAS=//10.0.20.5/media
          - RESOLVE=10.0.20.53
          - TRUSTED_PROXIES=10.0.20.21
          - NET=10.0.20.5/32
          - OTHER=10.0.99.1
          - BASE_URL=http://10.0.20.21:8989
        command: [--indexer, "http://172.30.0.9:9696", "--listen=10.0.20.21:80"]
      prowlarr: { image: prowlarr, networks: { inner: { ipv4_address: 172.30.0.9 } } }
  follows:
    on: docker-01
    containers: { app: { image: app, environment: { NAS: "${host.nas-01.address}", SIX: "http://[fd00::21]:80" } } }
  native: { run: { command: [app, --nas, 10.0.20.5], environment: { NAS: 10.0.20.5, BIND: 10.0.20.21 } }, on: docker-01 }
  indexed: { on: docker-01, containers: { app: { image: app, environment: { A: "http://172.30.0.9" } } } }
"#,
            expect![[r#"
                16:13 warning LW-NET-010: `series` talks to `10.0.20.21`, which is host `docker-01`
                    help: write the name of the container or service: on one host they know each other by name
                    17:13: here to `10.0.20.5`, host `nas-01`
                    23:30: here to `172.30.0.9`, container `prowlarr` of `series`
                27:89 advice LW-NET-010: `follows` talks to `fd00::21`, which is host `docker-01`
                    help: write the name of the container or service: on one host they know each other by name
                28:42 advice LW-NET-010: `native` talks to `10.0.20.5`, which is host `nas-01`
                    help: write `nas-01.lab.home.arpa`, or `${host.nas-01.address}` where it must be an address
                    28:74: here to `10.0.20.5`, host `nas-01`
                29:80 advice LW-NET-010: `indexed` talks to `172.30.0.9`, which is container `prowlarr` of `series`
                    help: write the name of `series` in the lab's domain
            "#]],
        );
    }
}
