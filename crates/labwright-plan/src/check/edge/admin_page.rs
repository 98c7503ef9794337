//! LW-EDGE-012: the page that a program is administered by, within reach of those who only use it.

use std::collections::BTreeMap;

use labwright_model::lab::{Access, Expose};
use labwright_model::{Finding, Findings, Severity, Span};

use crate::application;
use crate::check::containers::{self, Container};
use crate::check::network::telling::{Stake, listed};
use crate::check::network::zone_kind::ZoneKind;
use crate::check::network::{Port, is_public, published};
use crate::check::{Case, Examples, Rule};
use crate::network::{Party, Try};

pub struct AdminPage;

const CODE: &str = "LW-EDGE-012";

/// A page or an interface by which a program is administered, known by its image and the port inside the container.
pub struct Page {
    /// The product, and what of it.
    pub name: &'static str,
    /// Repositories of images, without a registry.
    images: &'static [&'static str],
    pub ports: &'static [u16],
    asks: Asks,
    /// Where the vendor says so.
    pub source: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// Whoever reaches it commands it.
    Nobody,
    /// The same, where its command or its environment says so.
    NobodyIf(&'static str),
    /// A name and a password, at least.
    Password,
}

/// The pages that are known. Ports are those of the image as it comes.
pub const PAGES: &[Page] = &[
    Page {
        name: "the API and dashboard of Traefik",
        images: &["traefik"],
        ports: &[8080],
        asks: Asks::NobodyIf("api.insecure"),
        source: "https://doc.traefik.io/traefik/operations/api/",
    },
    Page {
        name: "Portainer",
        images: &["portainer/portainer-ce", "portainer/portainer-ee", "portainer/portainer"],
        ports: &[9000, 9443],
        asks: Asks::Password,
        source: "https://docs.portainer.io/start/install-ce/server/docker/linux",
    },
    Page {
        name: "the console of MinIO",
        images: &["minio/minio"],
        ports: &[9001],
        asks: Asks::Password,
        source: "https://github.com/minio/minio/blob/master/docs/docker/README.md",
    },
    Page {
        name: "the UniFi Network application",
        images: &["linuxserver/unifi-network-application", "linuxserver/unifi-controller", "jacobalberty/unifi"],
        ports: &[8443],
        asks: Asks::Password,
        source: "https://help.ui.com/hc/en-us/articles/218506997",
    },
    Page {
        name: "Nginx Proxy Manager",
        images: &["jc21/nginx-proxy-manager"],
        ports: &[81],
        asks: Asks::Password,
        source: "https://nginxproxymanager.com/setup/",
    },
    Page {
        name: "Adminer",
        images: &["adminer"],
        ports: &[8080],
        asks: Asks::Password,
        source: "https://hub.docker.com/_/adminer",
    },
    Page {
        name: "phpMyAdmin",
        images: &["phpmyadmin", "phpmyadmin/phpmyadmin"],
        ports: &[80],
        asks: Asks::Password,
        source: "https://hub.docker.com/_/phpmyadmin",
    },
    Page {
        name: "pgAdmin",
        images: &["dpage/pgadmin4"],
        ports: &[80, 443],
        asks: Asks::Password,
        source: "https://www.pgadmin.org/docs/pgadmin4/latest/container_deployment.html",
    },
    Page {
        name: "mongo-express",
        images: &["mongo-express"],
        ports: &[8081],
        asks: Asks::Password,
        source: "https://hub.docker.com/_/mongo-express",
    },
    Page {
        name: "Redis Commander",
        images: &["rediscommander/redis-commander"],
        ports: &[8081],
        asks: Asks::Nobody,
        source: "https://github.com/joeferner/redis-commander",
    },
    Page {
        name: "the management of RabbitMQ",
        images: &["rabbitmq"],
        ports: &[15672],
        asks: Asks::Password,
        source: "https://www.rabbitmq.com/docs/management",
    },
    Page {
        name: "Docker's own API",
        images: &["tecnativa/docker-socket-proxy", "linuxserver/socket-proxy", "wollomatic/socket-proxy", "docker"],
        ports: &[2375],
        asks: Asks::Nobody,
        source: "https://docs.docker.com/engine/security/protect-access/",
    },
    Page {
        name: "Guacamole",
        images: &["guacamole/guacamole", "flcontainers/guacamole"],
        ports: &[8080],
        asks: Asks::Password,
        source: "https://guacamole.apache.org/doc/gug/guacamole-docker.html",
    },
    Page {
        name: "the shell of ttyd",
        images: &["tsl0922/ttyd"],
        ports: &[7681],
        asks: Asks::Password,
        source: "https://github.com/tsl0922/ttyd",
    },
    Page {
        name: "the shell of WeTTY",
        images: &["wettyoss/wetty"],
        ports: &[3000],
        asks: Asks::Password,
        source: "https://github.com/butlerx/wetty",
    },
    Page {
        name: "the editor and the shell of code-server",
        images: &["linuxserver/code-server", "codercom/code-server"],
        ports: &[8443, 8080],
        asks: Asks::Password,
        source: "https://docs.linuxserver.io/images/docker-code-server/",
    },
    Page {
        name: "Dockge",
        images: &["louislam/dockge"],
        ports: &[5001],
        asks: Asks::Password,
        source: "https://github.com/louislam/dockge",
    },
    Page {
        name: "Dozzle, with the logs of all containers",
        images: &["amir20/dozzle"],
        ports: &[8080],
        asks: Asks::NobodyIf(""),
        source: "https://dozzle.dev/guide/authentication",
    },
    Page {
        name: "Elasticsearch",
        images: &["elasticsearch", "elasticsearch/elasticsearch"],
        ports: &[9200],
        asks: Asks::Password,
        source: "https://www.elastic.co/guide/en/elasticsearch/reference/current/docker.html",
    },
    Page {
        name: "Redis",
        images: &["redis", "valkey", "valkey/valkey", "redis/redis-stack-server"],
        ports: &[6379],
        asks: Asks::Password,
        source: "https://redis.io/docs/latest/operate/oss_and_stack/management/security/",
    },
    Page {
        name: "MongoDB",
        images: &["mongo"],
        ports: &[27017],
        asks: Asks::Password,
        source: "https://www.mongodb.com/docs/manual/administration/security-checklist/",
    },
    Page {
        name: "PostgreSQL",
        images: &["postgres", "postgis/postgis", "pgvector/pgvector", "timescale/timescaledb"],
        ports: &[5432],
        asks: Asks::Password,
        source: "https://www.postgresql.org/docs/current/auth-pg-hba-conf.html",
    },
];

impl Rule for AdminPage {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "an administration page within reach"
    }

    fn doc(&self) -> &'static str {
        "A container publishes the port by which its program is administered: who reaches it and gets in has the program, and \
         with Portainer, Traefik or Docker's API all the others too. Both the image and the port inside the container must \
         be known ones, so that something else on port 8080 is not meant:\n\n\
         - asking nobody who they are: Traefik's API with `--api.insecure` 8080, Redis Commander 8081, a proxy of Docker's \
         socket 2375, Dozzle 8080 without its `DOZZLE_AUTH_PROVIDER`;\n\
         - behind a password: Portainer 9000 and 9443, the console of MinIO 9001, UniFi 8443, Nginx Proxy Manager 81, Adminer \
         8080, phpMyAdmin 80, pgAdmin 80 and 443, mongo-express 8081, RabbitMQ's management 15672, Dockge 5001, Guacamole 8080, ttyd 7681, WeTTY 3000, code-server 8443 and 8080;\n\
         - databases: Elasticsearch 9200, Redis 6379, MongoDB 27017, PostgreSQL 5432.\n\n\
         What asks nobody is told wherever it is published on more than the host itself. The others are told where the internet \
         reaches them (an address of the host, a flow, or a name that is `access: everyone`), or guests, devices and users who are let through with \
         everything or stand beside them in a lab that has a zone for management or a VPN to come from instead. In one flat zone nothing is said of them.\n\n\
         A name that leads to a machine's own page (`door: { to: \"https://pve:8006\" }`) is one as well: that of a hypervisor, of \
         the router, of what stands in a management zone, and Cockpit or Webmin as `built_in`. It is told where everybody on the internet may come by it, and \
         with `expose: lan` where there are several zones, and a VPN or one for management to come from.\n\n\
         An open port on the internet is a warning, and an error in production where nobody is asked who they are; the rest is advice, \
         and a warning in production. A flow that leads to the web interface of Proxmox is LW-EDGE-003's, and a database that nobody elsewhere needs \
         LW-NET-009's.\n\n\
         Document 0: keep management interfaces off user-facing networks. Each vendor's own page, among them \
         https://doc.traefik.io/traefik/operations/api/ (the insecure mode is not for production) and \
         https://docs.docker.com/engine/security/protect-access/ (whoever reaches the API is root on the host).\n\n\
         The way out: publish to the host alone, `127.0.0.1:9443:9443`, and come through SSH, `ssh -L 9443:127.0.0.1:9443 HOST`; \
         or leave `ports` out and give it a name with `expose: vpn`. For Traefik, take `--api.insecure` out."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nservices:\n  traefik:\n    on: docker-01\n    containers:\n      traefik: { image: \"traefik:v3.1.4\", command: [\"--api.insecure=true\"], ports: [\"443:443\", \"8080:8080\"] }",
            passes: "compute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nservices:\n  traefik:\n    on: docker-01\n    containers:\n      traefik: { image: \"traefik:v3.1.4\", command: [\"--api.insecure=true\"], ports: [\"443:443\", \"127.0.0.1:8080:8080\"] }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        findings.extend(super::admin_door::told(case, CODE));
        let mut by_service: BTreeMap<&str, Vec<Told>> = BTreeMap::new();
        for container in containers::all(case.parsed) {
            // Most images are none of these; who reaches what is only asked for those that are.
            let Some(image) = container.image() else { continue };
            let path = application::path(image.repository);
            for page in PAGES.iter().filter(|page| page.is_of(path)) {
                by_service.entry(&container.placement.service).or_default().extend(told(case, &container, page));
            }
        }
        for (_, mut all) in by_service {
            all.sort_by_key(|told| (std::cmp::Reverse(told.severity), told.span));
            let mut all = all.into_iter();
            let Some(first) = all.next() else { continue };
            let finding =
                Finding { severity: first.severity, ..Finding::warning(CODE, first.at, first.span, first.says) };
            findings.push(all.take(5).fold(finding.help(first.help), |finding, other| {
                finding.related(other.span, format!("so is {}", other.what))
            }));
        }
    }
}

struct Told {
    severity: Severity,
    at: String,
    span: Span,
    says: String,
    what: String,
    help: String,
}

impl Page {
    /// Whether a container is this program, with its page there.
    pub fn is_of_container(&self, container: &Container<'_>) -> bool {
        let is_it = |image: crate::check::image::Image<'_>| self.is_of(application::path(image.repository));
        container.image().is_some_and(is_it) && self.is_open(container).is_some()
    }

    fn is_of(&self, path: &str) -> bool {
        let path = path.strip_prefix("library/").unwrap_or(path);
        // A mirror keeps the owner's name before the image's; an image of one word stands alone.
        let mirrored =
            |image: &&str| image.contains('/') && path.strip_suffix(*image).is_some_and(|rest| rest.ends_with('/'));
        self.images.iter().any(|image| path == *image || mirrored(image))
    }

    /// Whether whoever reaches the page of this container commands it; `None` where the page is not even there.
    fn is_open(&self, container: &Container<'_>) -> Option<bool> {
        let says = &container.says.value;
        match self.asks {
            Asks::Nobody => Some(true),
            Asks::Password => Some(false),
            Asks::NobodyIf("") => {
                let asked =
                    container.environment().any(|(name, value)| name == "DOZZLE_AUTH_PROVIDER" && value != "none");
                let in_words = says.command.iter().flat_map(|command| &command.0);
                Some(!asked && !in_words.into_iter().any(|word| word.starts_with("--auth-provider")))
            }
            Asks::NobodyIf(setting) => {
                let words = says.command.iter().chain(&says.entrypoint).flat_map(|command| &command.0);
                let on = |value: &str| !value.eq_ignore_ascii_case("false");
                let mut said = words.into_iter().filter_map(|word| {
                    word.trim_start_matches('-').split_once('=').or(Some((word.trim_start_matches('-'), "true")))
                });
                let variable = format!("TRAEFIK_{}", setting.replace('.', "_").to_uppercase());
                let open = said.any(|(key, value)| key.eq_ignore_ascii_case(setting) && on(value))
                    || container.environment().any(|(name, value)| name == variable && on(value));
                open.then_some(true)
            }
        }
    }
}

fn told(case: &Case<'_>, container: &Container<'_>, page: &Page) -> Option<Told> {
    let open = page.is_open(container)?;
    let entry = &container.placement.entry;
    let stake = Stake::of(entry.tier);
    let published = published(container).into_iter().find(|port| !port.udp && page.ports.contains(&port.inside));
    let who = published.as_ref().and_then(|port| reached_by(case, container, port, open));
    let (span, who, port, named) = match (who, published) {
        (Some(who), Some(port)) => (port.span, who, port.text, false),
        _ => {
            let span = by_name(case, container, page)?;
            (span, Who::Internet("by its name".to_string()), String::new(), true)
        }
    };
    let far = matches!(who, Who::Internet(_));
    let severity = match (far, open, stake) {
        (true, true, Stake::Production) => Severity::Error,
        (true, ..) | (false, _, Stake::Production) => Severity::Warning,
        (false, _, Stake::Lab) => Severity::Advice,
    };
    let service = &container.placement.service;
    let asks = if open { ", which asks nobody who they are," } else { "" };
    let reach = match &who {
        Who::Internet(how) => format!("is on the internet, {how}"),
        Who::Zones(zones) => format!("is within reach of {}", listed(zones.iter().map(String::as_str))),
        Who::Anybody => "is open to whoever is on the network".to_string(),
    };
    let what = format!("{} (`{}`)", page.name, container.name);
    let says = match named {
        true => format!("`{service}`: {}{asks} {reach}", page.name),
        false => format!("`{service}` publishes `{port}`: {}{asks} {reach}", page.name),
    };
    let on = entry.on.first().map_or("HOST", |on| on.value.as_str());
    let help = if named {
        "write `expose: vpn`, or ask at its door: `door: { auth: forward }`".to_string()
    } else if matches!(page.asks, Asks::NobodyIf("api.insecure")) {
        format!(
            "take `--api.insecure` out of its command, and `{port}` out of its ports; or write `127.0.0.1:{port}`, and come through `ssh -L 8080:127.0.0.1:{} {on}`",
            outside(&port)
        )
    } else {
        let outside = outside(&port);
        format!(
            "write `127.0.0.1:{port}`, and come through `ssh -L {outside}:127.0.0.1:{outside} {on}`; or leave the port out and give it a name with `expose: vpn`"
        )
    };
    let help = format!("{help}; see {}", page.source);
    Some(Told { severity, at: format!("{}.ports", container.at(case.parsed)), span, says, what, help })
}

fn outside(port: &str) -> &str {
    port.split(':').next().unwrap_or(port)
}

enum Who {
    Internet(String),
    Zones(Vec<String>),
    Anybody,
}

/// Who reaches a published port and should not.
fn reached_by(case: &Case<'_>, container: &Container<'_>, port: &Port, open: bool) -> Option<Who> {
    let lab = &case.parsed.lab;
    let on = container.placement.entry.on.iter().filter_map(|on| Some((on.value.as_str(), lab.host(on)?)));
    let on: Vec<_> = on.collect();
    let meant = |address: &std::net::IpAddr| port.address.as_ref().is_none_or(|one| *one == address.to_string());
    if let Some((host, address)) = on.iter().find_map(|(name, host)| {
        Some((name, host.address.iter().find(|address| is_public(&address.value) && meant(&address.value))?))
    }) {
        return Some(Who::Internet(format!("at `{}` of `{host}`", address.value)));
    }
    if lab.network.zones.is_empty() {
        return open.then_some(Who::Anybody);
    }
    let matrix = case.matrix();
    let hosts: Vec<usize> = on.iter().filter_map(|(name, _)| matrix.parties.host(name)).collect();
    let what = Try::Tcp(port.outside);
    if hosts.iter().any(|host| matrix.decide(Party::Internet, Party::Host(*host), what).is_some()) {
        return Some(Who::Internet("by a flow".to_string()));
    }
    let zones = matrix.parties.zones.iter().enumerate();
    let from: Vec<String> = zones
        .filter(|(number, zone)| {
            let users = matches!(zone.kind, Some(ZoneKind::Clients | ZoneKind::Iot | ZoneKind::Guest | ZoneKind::Dmz));
            users
                && hosts.iter().any(|host| {
                    let own = case.reach().zone(matrix.parties.hosts[*host].name) == Some(zone.name);
                    // A flow that names the port is a decision; one that lets everything through never thought of it.
                    let through = matrix.decide(Party::Device(*number), Party::Host(*host), what);
                    (own && !matrix.parties.guards(*host)) || through.is_some_and(|grant| open || grant.allowed.any)
                })
        })
        .map(|(_, zone)| zone.name.to_string())
        .collect();
    let elsewhere =
        matrix.parties.zones.iter().any(|zone| matches!(zone.kind, Some(ZoneKind::Management | ZoneKind::Vpn)))
            || lab.edge.vpn.is_some();
    match from.is_empty() {
        true => (open && !hosts.iter().all(|host| matrix.parties.guards(*host))).then_some(Who::Anybody),
        // In one flat zone there is nowhere else to come from.
        false if open || (elsewhere && matrix.parties.zones.len() > 1) => Some(Who::Zones(from)),
        false => None,
    }
}

/// Where a service says that everybody on the internet may open the page by its name.
fn by_name(case: &Case<'_>, container: &Container<'_>, page: &Page) -> Option<Span> {
    let entry = &container.placement.entry;
    let port = entry.port.as_ref()?;
    let (of, number) = port.split_once(':').map_or((None, port.as_str()), |(of, number)| (Some(of), number));
    let led = of.is_none_or(|of| of == container.name) && page.ports.contains(&number.parse().ok()?);
    let asked = entry.door.auth.forward || !entry.door.auth.basic.is_empty();
    let open =
        led && entry.expose == Expose::Public && entry.access == Access::Everyone && !asked && !entry.url.is_empty();
    open.then(|| case.parsed.span_of(&["services", &container.placement.service, "access"]))
}

/// Whether a published port is one of those that this rule tells of: then no other rule has to.
pub fn is_known(container: &Container<'_>, port: &Port) -> bool {
    let Some(image) = container.image() else { return false };
    let path = application::path(image.repository);
    let known =
        |page: &&Page| page.ports.contains(&port.inside) && page.is_of(path) && page.is_open(container).is_some();
    !port.udp && PAGES.iter().any(|page| known(&page))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::check::tests::says;

    #[test]
    fn each_page_has_its_source() {
        for page in PAGES {
            assert!(
                page.source.starts_with("https://") && !page.images.is_empty() && !page.ports.is_empty(),
                "{}",
                page.name
            );
        }
    }

    #[test]
    fn image_and_port_must_both_be_known() {
        says(
            r#"
compute: { hosts: { d: { address: 10.0.0.1 } } }
services:
  insecure: { on: d, containers: { t: { image: "traefik:v3.1", command: ["--api.insecure=true"], ports: ["8080:8080", "443:443"] } } }
  by-variable: { on: d, containers: { t: { image: "docker.io/library/traefik:v3.1", environment: { TRAEFIK_API_INSECURE: "true" }, ports: ["9090:8080"] } } }
  one-address: { on: d, containers: { t: { image: "traefik:v3.1", command: ["--api.insecure=true"], ports: ["10.0.0.1:8081:8080"] } } }
  off: { on: d, containers: { t: { image: "traefik:v3.1", command: ["--api.insecure=false", "--api=true"], ports: ["8080:8080"] } } }
  alone: { on: d, containers: { t: { image: "traefik:v3.1", command: ["--api.insecure"], ports: ["127.0.0.1:8080:8080"] } } }
  other: { on: d, containers: { t: { image: "nginx:1.27", ports: ["8080:8080"] } } }
  cli: { on: d, containers: { t: { image: "ghcr.io/x/docker:1", ports: ["2375:2375"] } } }
  socket: { on: d, tier: production, containers: { t: { image: "ghcr.io/tecnativa/docker-socket-proxy:0.3", ports: ["2375:2375"] } } }
  logs: { on: d, containers: { t: { image: "amir20/dozzle:v8", ports: ["8888:8080"] } } }
  logs-asked: { on: d, containers: { t: { image: "amir20/dozzle:v8", ports: ["8889:8080"], environment: { DOZZLE_AUTH_PROVIDER: simple } } } }
  portainer: { on: d, containers: { t: { image: "portainer/portainer-ce:2.21", ports: ["9443:9443"] } } }
"#,
            expect![[r#"
                4:106 advice LW-EDGE-012: `insecure` publishes `8080:8080`: the API and dashboard of Traefik, which asks nobody who they are, is open to whoever is on the network
                    help: take `--api.insecure` out of its command, and `8080:8080` out of its ports; or write `127.0.0.1:8080:8080`, and come through `ssh -L 8080:127.0.0.1:8080 d`; see https://doc.traefik.io/traefik/operations/api/
                5:140 advice LW-EDGE-012: `by-variable` publishes `9090:8080`: the API and dashboard of Traefik, which asks nobody who they are, is open to whoever is on the network
                    help: take `--api.insecure` out of its command, and `9090:8080` out of its ports; or write `127.0.0.1:9090:8080`, and come through `ssh -L 8080:127.0.0.1:9090 d`; see https://doc.traefik.io/traefik/operations/api/
                6:109 advice LW-EDGE-012: `one-address` publishes `8081:8080`: the API and dashboard of Traefik, which asks nobody who they are, is open to whoever is on the network
                    help: take `--api.insecure` out of its command, and `8081:8080` out of its ports; or write `127.0.0.1:8081:8080`, and come through `ssh -L 8080:127.0.0.1:8081 d`; see https://doc.traefik.io/traefik/operations/api/
                11:117 warning LW-EDGE-012: `socket` publishes `2375:2375`: Docker's own API, which asks nobody who they are, is open to whoever is on the network
                    help: write `127.0.0.1:2375:2375`, and come through `ssh -L 2375:127.0.0.1:2375 d`; or leave the port out and give it a name with `expose: vpn`; see https://docs.docker.com/engine/security/protect-access/
                12:72 advice LW-EDGE-012: `logs` publishes `8888:8080`: Dozzle, with the logs of all containers, which asks nobody who they are, is open to whoever is on the network
                    help: write `127.0.0.1:8888:8080`, and come through `ssh -L 8888:127.0.0.1:8888 d`; or leave the port out and give it a name with `expose: vpn`; see https://dozzle.dev/guide/authentication
            "#]],
        );
    }

    #[test]
    fn who_reaches_it_decides() {
        let lab = |zones: &str, flows: &str| {
            format!(
                "edge: {{ vpn: tailscale }}\nnetwork: {{ zones: {{ servers: {{ subnet: 10.0.0.0/24, kind: servers }}, {zones} }}, flows: [{flows}] }}\ncompute: {{ hosts: {{ d: {{ zone: servers, address: 10.0.0.1 }} }} }}\nservices:\n  p: {{ on: d, containers: {{ t: {{ image: \"portainer/portainer-ce:2.21\", ports: [\"9443:9443\"] }} }} }}\n  q: {{ on: d, containers: {{ t: {{ image: \"rabbitmq:4-management\", ports: [\"15672:15672\"] }} }} }}\n"
            )
        };
        let zones = "lan: { subnet: 10.0.1.0/24, kind: clients }, guests: { subnet: 10.0.2.0/24, kind: guest }";
        says(&lab(zones, "{ from: lan, to: d, allow: 9443/tcp }"), expect![[""]]);
        says(
            &lab(zones, "{ from: internet, to: d, allow: 9443/tcp }"),
            expect![[r#"
            5:80 warning LW-EDGE-012: `p` publishes `9443:9443`: Portainer is on the internet, by a flow
                help: write `127.0.0.1:9443:9443`, and come through `ssh -L 9443:127.0.0.1:9443 d`; or leave the port out and give it a name with `expose: vpn`; see https://docs.portainer.io/start/install-ce/server/docker/linux
        "#]],
        );
        says(&lab(zones, "{ from: lan, to: d, allow: https }"), expect![[""]]);
    }

    #[test]
    fn an_address_or_a_name_on_the_internet() {
        says(
            r#"
edge: { public: { cloudflare: { zones: [example.net], tunnel: vps } } }
compute: { hosts: { vps: { address: 203.0.113.9 } } }
services:
  p: { on: vps, containers: { t: { image: "portainer/portainer-ce:2.21", ports: ["9443:9443"] } } }
  adminer: { on: vps, tier: production, owner: me, expose: public, access: everyone, url: db.example.net, port: "t:8080", containers: { t: { image: "adminer:4.8" } } }
  asked: { on: vps, expose: public, access: everyone, url: db2.example.net, port: "t:8080", door: { auth: { basic: { me: x } } }, containers: { t: { image: "adminer:4.8" } } }
"#,
            expect![[r#"
                5:82 warning LW-EDGE-012: `p` publishes `9443:9443`: Portainer is on the internet, at `203.0.113.9` of `vps`
                    help: write `127.0.0.1:9443:9443`, and come through `ssh -L 9443:127.0.0.1:9443 vps`; or leave the port out and give it a name with `expose: vpn`; see https://docs.portainer.io/start/install-ce/server/docker/linux
                6:76 warning LW-EDGE-012: `adminer`: Adminer is on the internet, by its name
                    help: write `expose: vpn`, or ask at its door: `door: { auth: forward }`; see https://hub.docker.com/_/adminer
            "#]],
        );
    }
    #[test]
    fn a_hosts_own_page_for_everybody_at_home() {
        let lab = |expose: &str| {
            format!(
                "edge: {{ vpn: {{ wireguard: {{ peers: {{ phone: {{ address: 10.99.0.2 }} }} }} }} }}\n\
                 network: {{ zones: {{ lan: {{ kind: clients, subnet: 10.0.1.0/24 }}, servers: {{ subnet: 10.0.2.0/24 }}, vpn: {{ kind: vpn, subnet: 10.99.0.0/24, interface: wg0 }} }} }}\n\
                 compute: {{ hosts: {{ nas: {{ zone: servers, address: 10.0.2.3 }} }} }}\n\
                 platform: {{ reverse_proxy: nas }}\n\
                 services:\n  cockpit: {{ built_in: cockpit, on: nas, port: 9090, expose: {expose}, url: nas.lab.home.arpa }}\n"
            )
        };
        says(
            &lab("lan"),
            expect![[r#"
            6:24 advice LW-EDGE-012: `cockpit` leads to the page that `nas` is administered by (cockpit), which is open to whoever is on the network by that name
                help: write `expose: vpn`
        "#]],
        );
        says(&lab("vpn"), expect![[r#""#]]);
    }
}
