//! LW-NET-009: a port that is published on every interface, and needed on none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use labwright_model::compose::ports;
use labwright_model::lab::{Expose, Service};
use labwright_model::units::Traffic;
use labwright_model::{Finding, Findings, Parsed, Placement, Severity, Span, Spanned};

use super::reach::{End, Reach, ends, hosts};
use super::telling::Stake;
use crate::check::containers::{self, Container};
use crate::check::edge::admin_page;
use crate::check::{Case, Examples, Rule};

pub struct PublishedEverywhere;

const CODE: &str = "LW-NET-009";

impl Rule for PublishedEverywhere {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a port published on every interface"
    }

    fn doc(&self) -> &'static str {
        "`ports: [\"5432:5432\"]` publishes a container's port on its host's own address in its zone (Docker itself would take \
         every interface), and with 0.0.0.0 it is every interface. Docker's own documentation says what few expect: such \
         ports go past the rules of `ufw` and the like, because Docker's come first. Document 3 binds nothing to a routable interface and denies all inbound traffic by default.\n\n\
         A published port is how a proxy on another host gets to a container, so it is only told where the lab shows that \
         nobody needs it:\n\n\
         - the host has an address on the internet, and the service is not `expose: public` (a warning);\n\
         - it is a database, exposed nowhere or beside the container that the service's name leads to, and nothing on \
         another host needs it;\n\
         - the only way to it is a reverse proxy on the same host; one that is a container with a network of its own reaches \
         it by that port, unless it names the service under `needs`.\n\n\
         The last two are advice, and warnings for `tier: production`. A flow that names the service or lets its port \
         through to the host is a reason, as is a need from another host.\n\n\
         The way out: leave `ports` out, containers reach each other by name; or publish to this host alone, \
         `127.0.0.1:5432:5432`; or to the one address that should answer."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    docker-01: { address: 10.0.20.21 }\nservices:\n  postgres:\n    on: docker-01\n    containers: { db: { image: \"postgres:16\", ports: [\"5432:5432\"] } }",
            passes: "compute:\n  hosts:\n    docker-01: { address: 10.0.20.21 }\nservices:\n  postgres:\n    on: docker-01\n    containers: { db: { image: \"postgres:16\", ports: [\"127.0.0.1:5432:5432\"] } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let published: Vec<_> = containers::all(parsed)
            .into_iter()
            .map(|one| (open_ports(&one), one))
            .filter(|(open, _)| !open.is_empty())
            .collect();
        if published.is_empty() {
            return;
        }
        let reasons = reasons(case);
        let mut by_service: BTreeMap<&str, Vec<(Port, Container<'_>, Fault)>> = BTreeMap::new();
        for (open, container) in published {
            let Some(ports) = fault(parsed, &reasons, &container, open) else { continue };
            let (port, fault) = ports;
            by_service.entry(&container.placement.service).or_default().push((port, container, fault));
        }
        for (service, mut all) in by_service {
            all.sort_by_key(|(_, _, fault)| std::cmp::Reverse(fault.severity));
            let Some((port, container, fault)) = all.first() else { continue };
            let place_of = if port.everywhere { "every interface" } else { "its host's address" };
            let message = format!("`{service}` publishes `{}` on {place_of}{}", port.text, fault.says);
            let at = format!("{}.ports", container.at(parsed));
            let mut finding = Finding { severity: fault.severity, ..Finding::warning(CODE, at, port.span, message) }
                .help(format!("write `127.0.0.1:{}`, or leave it out: {}", port.text, fault.instead));
            for (port, container, _) in all.iter().skip(1).take(5) {
                finding = finding.related(port.span, format!("so does `{}`", container.name));
            }
            findings.push(finding);
        }
    }
}

/// A published port: where it stands, its short form, the port outside and the one inside.
pub struct Port {
    pub span: Span,
    pub text: String,
    pub outside: u16,
    pub inside: u16,
    pub udp: bool,
    /// The one address that it is published on, where that is not every one.
    pub address: Option<String>,
    /// In so many words; otherwise on the host's own address.
    everywhere: bool,
}

struct Fault {
    severity: Severity,
    says: String,
    instead: &'static str,
}

/// The ports that a container publishes on every address, or without saying on which.
fn open_ports(container: &Container<'_>) -> Vec<Port> {
    published(container).into_iter().filter(|port| port.address.is_none()).collect()
}

/// The ports that a container publishes to others than its own host. One that changes with each start is none: nobody counts
/// on it.
pub fn published(container: &Container<'_>) -> Vec<Port> {
    if !container.has_own_network() {
        return Vec::new();
    }
    let open = |port: &Spanned<ports::Port>| {
        let (outside, last) = port.published_range()?;
        let said = port.host_ip.as_ref().map(|address| address.value.as_str());
        let protocol = if port.protocol == "tcp" { String::new() } else { format!("/{}", port.protocol) };
        let (inside, udp, everywhere) = (port.target, port.protocol == "udp", said.is_some());
        let text = format!("{outside}:{inside}{protocol}");
        let own = |address: &str| address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let address = said.filter(|said| !is_everywhere(said)).map(str::to_string);
        (outside == last && !said.is_some_and(own)).then_some(Port {
            span: port.span,
            text,
            outside,
            inside,
            udp,
            address,
            everywhere,
        })
    };
    container.says.ports.iter().filter_map(open).collect()
}

fn is_everywhere(address: &str) -> bool {
    address.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

/// What speaks for a published port.
struct Reasons<'r, 'a> {
    /// The hosts of those that need a service, by the service's name.
    needed: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// Ports, first and last, that flows let through to an end by number; all of them to a service.
    let_in: BTreeMap<End<'a>, BTreeSet<(u16, u16)>>,
    reach: &'r Reach<'a>,
}

fn reasons<'r, 'a>(case: &'r Case<'a>) -> Reasons<'r, 'a> {
    let (parsed, placed) = (case.parsed, case.placed());
    let mut needed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for placement in &parsed.placements {
        for need in placement.entry.needs.iter() {
            for there in placed.seen_from(placement.environment.as_deref(), need) {
                needed.entry(&there.service).or_default().extend(hosts(&placement.entry));
            }
        }
    }
    let mut let_in: BTreeMap<End<'_>, BTreeSet<(u16, u16)>> = BTreeMap::new();
    for flow in parsed.lab.network.flows.iter() {
        for end in flow.to.iter().flat_map(|to| ends(&parsed.lab, to)) {
            let ports = flow.allow.iter().filter_map(|traffic| match (&traffic.value, end) {
                (_, End::Service(_)) => Some((0, u16::MAX)),
                (Traffic::Ports { first, last, .. }, _) => Some((*first, *last)),
                _ => None,
            });
            let_in.entry(end).or_default().extend(ports);
        }
    }
    Reasons { needed, let_in, reach: case.reach() }
}

impl Reasons<'_, '_> {
    /// Whether a flow lets this port through to a service on this host.
    fn is_let_in(&self, service: &str, host: &str, port: &Port) -> bool {
        let through = |end: &End<'_>| {
            let ranges = self.let_in.get(end).into_iter().flatten();
            ranges.into_iter().any(|(first, last)| (*first..=*last).contains(&port.outside))
        };
        self.let_in.contains_key(&End::Service(service)) || self.reach.host(host).iter().any(through)
    }
}

/// The first of these ports that need not be published so, and why; `None` where there may be a reason for all.
fn fault(
    parsed: &Parsed,
    reasons: &Reasons<'_, '_>,
    container: &Container<'_>,
    open: Vec<Port>,
) -> Option<(Port, Fault)> {
    let lab = &parsed.lab;
    let (name, service) = (container.placement.service.as_str(), &container.placement.entry);
    let on: BTreeSet<&str> = hosts(service).collect();
    let outside = on.iter().find_map(|host| {
        let address = lab.host(host)?.address.iter().find(|address| is_public(&address.value))?;
        Some((*host, address.value))
    });
    let needed = reasons.needed.get(name);
    let elsewhere = needed.is_some_and(|needed| needed.iter().any(|host| !on.contains(host)));
    let proxies: BTreeSet<&str> =
        lab.platform.reverse_proxy.iter().flat_map(|proxy| proxy.on.iter()).map(|on| on.value.as_str()).collect();
    let led_to = service.port.as_ref().and_then(|port| port.rsplit(':').next()?.parse::<u16>().ok());
    let severity = Stake::of(service.tier).finding(CODE, "", Span::NONE, "").severity;
    let instead = "containers reach each other by name";
    let judge = |port: &Port| {
        if let Some((host, address)) = outside
            && service.expose != Expose::Public
            && !is_for_all(parsed, host, port)
            // Told with what it is.
            && !admin_page::is_known(container, port)
        {
            let of = if port.everywhere { format!(" of `{host}`") } else { String::new() };
            let says = format!("{of}, which is `{address}` on the internet; it is exposed {}", exposed(service));
            let instead = "Docker publishes past the host's firewall";
            return Some(Fault { severity: Severity::Warning, says, instead });
        }
        let [host] = on.iter().copied().collect::<Vec<_>>()[..] else { return None };
        if elsewhere || reasons.is_let_in(name, host, port) {
            return None;
        }
        let by_proxy = !service.url.is_empty() && !proxies.is_empty() && proxies == on && !is_apart(parsed, name);
        let says = if is_database(container.program()) && (service.expose == Expose::Nowhere || is_aside(container)) {
            match (needed.is_some(), service.expose) {
                (true, _) => ", and all that needs it is on the same host",
                (false, Expose::Nowhere) => ", and is exposed nowhere",
                (false, _) => ", and only its own stack needs that database",
            }
        } else if service.expose != Expose::Nowhere && by_proxy && Some(port.inside) == led_to {
            ", and the proxy that leads to it is on the same host"
        } else {
            return None;
        };
        Some(Fault { severity, says: says.to_string(), instead })
    };
    open.into_iter().find_map(|port| judge(&port).map(|fault| (port, fault)))
}

/// Whether the proxy is a service in containers that shares no network with this one: what is published is its way in.
fn is_apart(parsed: &Parsed, service: &str) -> bool {
    let proxy = parsed.lab.platform.reverse_proxy.as_ref().and_then(|proxy| proxy.service.as_ref());
    let of_proxy = |placement: &&Placement| proxy.is_some_and(|proxy| placement.service == proxy.value);
    let mut placed = parsed.placements.iter().filter(of_proxy);
    placed.any(|proxy| {
        let contained = containers::containers(parsed, proxy).any(|one| one.has_own_network());
        contained && !proxy.entry.needs.iter().any(|need| need.value == service)
    })
}

/// Whether the service's name leads to another of its containers.
fn is_aside(container: &Container<'_>) -> bool {
    let service = &container.placement.entry;
    let led_to = service.port.as_ref().and_then(|port| port.split_once(':')).map(|(container, _)| container);
    led_to.is_some_and(|led_to| led_to != container.name)
}

fn exposed(service: &Service) -> &'static str {
    match service.expose {
        Expose::Nowhere => "nowhere",
        Expose::Lan => "to the LAN",
        Expose::Vpn => "to the VPN",
        Expose::Public => "to the internet",
    }
}

/// What has to be open on the internet, whatever the lab says of names: mail, a VPN or a game over UDP, and the web ports
/// of the host that is the lab's door.
fn is_for_all(parsed: &Parsed, host: &str, port: &Port) -> bool {
    const MAIL: &[u16] = &[25, 143, 465, 587, 993, 995, 4190];
    let mut proxy = parsed.lab.platform.reverse_proxy.iter().flat_map(|proxy| proxy.on.iter());
    port.udp || MAIL.contains(&port.inside) || (matches!(port.inside, 80 | 443) && proxy.any(|on| on.value == host))
}

pub fn is_database(image: &str) -> bool {
    const KNOWN: &[&str] = &[
        "postgres",
        "postgis",
        "mariadb",
        "mysql",
        "redis",
        "valkey",
        "mongo",
        "memcached",
        "elasticsearch",
        "opensearch",
        "rabbitmq",
        "clickhouse",
        "couchdb",
        "cassandra",
        "mssql",
        "etcd",
    ];
    KNOWN.iter().any(|known| image.contains(known))
        // Tools that only work with a database have its name too.
        && !["admin", "exporter", "backup", "insight", "express"].iter().any(|tool| image.contains(tool))
}

/// Whether the internet leads to an address.
pub fn is_public(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let inner = v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared;
            !(inner || v4.is_multicast() || v4.is_unspecified())
        }
        IpAddr::V6(v6) => (0x2000..0x4000).contains(&v6.segments()[0]),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn only_what_nobody_needs() {
        says(
            r#"
network: { zones: { servers: { subnet: 10.0.20.0/24 } }, flows: [{ from: servers, to: service/let-in, allow: 5432/tcp }, { from: servers, to: docker-01, allow: 7000-7010/tcp }] }
platform: { reverse_proxy: docker-02 }
compute:
  hosts:
    docker-01: { zone: servers, address: 10.0.20.21 }
    docker-02: { zone: servers, address: 10.0.20.22 }
services:
  near: { on: docker-01, tier: production, containers: { db: { image: "postgres:16", ports: ["5432:5432"] }, web: { image: pgadmin, ports: [{ target: 80, published: 8080 }] } } }
  app: { on: docker-01, needs: [near, tool], containers: { app: { image: app, ports: ["8080:80"] } } }
  tool: { on: docker-01, containers: { app: { image: tool, ports: ["127.0.0.1:1:1", "0.0.0.0:9000:9000/tcp"] } } }
  far: { on: docker-01, containers: { db: { image: "redis:7", ports: ["[::]:6379:6379"] } } }
  of-far: { on: docker-02, needs: far, containers: { app: { image: app } } }
  let-in: { on: docker-01, containers: { db: { image: "postgres:16", ports: ["5433:5432"] } } }
  behind: { on: docker-02, url: behind, expose: lan, port: 8080, containers: { app: { image: app, ports: ["9090:8080"] } } }
  other: { on: docker-02, url: other, expose: lan, port: 8080, containers: { app: { image: app, ports: ["53:53/udp"] } } }
  beside: { on: docker-01, url: beside, expose: lan, port: 8080, containers: { app: { image: app, ports: ["9091:8080"] } } }
  quiet: { on: docker-01, containers: { db: { image: "postgres:16", ports: [5432, "10.0.20.21:5434:5432"] } } }
  tools: { on: docker-01, containers: { db: { image: "postgres:16", ports: ["7001:5432", "5436:5432"] } } }
  stack: { on: docker-01, expose: lan, port: "web:8000", containers: { web: { image: app, ports: ["8000:8000"] }, broker: { image: "redis:8", ports: ["6380:6379"] } } }
  meant: { on: docker-01, expose: lan, port: "db:5432", containers: { db: { image: "postgres:16", ports: ["5437:5432"] } } }
  hosted: { on: docker-01, containers: { db: { image: "postgres:16", network_mode: none, ports: ["5435:5432"] } } }
"#,
            expect![[r#"
                2:66 advice LW-NET-013: zones and flows are declared, and nothing enforces them
                    help: write `network: { firewall: enforce }`, after `labwright rehearse` has tried it; `firewall: off` keeps it as it is
                9:94 warning LW-NET-009: `near` publishes `5432:5432` on its host's address, and all that needs it is on the same host
                    help: write `127.0.0.1:5432:5432`, or leave it out: containers reach each other by name
                15:107 advice LW-NET-009: `behind` publishes `9090:8080` on its host's address, and the proxy that leads to it is on the same host
                    help: write `127.0.0.1:9090:8080`, or leave it out: containers reach each other by name
                19:90 advice LW-NET-009: `tools` publishes `5436:5432` on its host's address, and is exposed nowhere
                    help: write `127.0.0.1:5436:5432`, or leave it out: containers reach each other by name
                20:151 advice LW-NET-009: `stack` publishes `6380:6379` on its host's address, and only its own stack needs that database
                    help: write `127.0.0.1:6380:6379`, or leave it out: containers reach each other by name
            "#]],
        );
    }

    #[test]
    fn a_rented_machine() {
        says(
            r#"
platform: { reverse_proxy: vps-01 }
compute: { hosts: { vps-01: { address: [203.0.113.7, 100.90.1.2] } } }
services:
  chat: { on: vps-01, expose: vpn, containers: { app: { image: chat, ports: ["8065:8065"] } } }
  game: { on: vps-01, expose: public, containers: { app: { image: game, ports: ["25565:25565"] } } }
  proxy: { on: vps-01, containers: { app: { image: caddy, ports: ["443:443"] } } }
  mail: { on: vps-01, containers: { app: { image: mailserver, ports: ["25:25", "993:993", "51820:51820/udp"] } } }
  admin: { on: vps-01, containers: { app: { image: adminer, ports: ["25:25", "8081:8080"] } } }
"#,
            expect![[r#"
                5:78 warning LW-NET-009: `chat` publishes `8065:8065` on its host's address, which is `203.0.113.7` on the internet; it is exposed to the VPN
                    help: write `127.0.0.1:8065:8065`, or leave it out: Docker publishes past the host's firewall
            "#]],
        );
    }
}
