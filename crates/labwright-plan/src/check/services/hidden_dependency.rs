//! LW-SVC-004: a database that is needed and not said to be.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use labwright_model::{Finding, Findings, Parsed, Placement, Span};

use super::backing;
use super::told::{all_of, at_tier, is_production, place, place_in, quoted};
use crate::check::containers::containers;
use crate::check::{Case, Examples, Rule};

pub struct HiddenDependency;

const CODE: &str = "LW-SVC-004";

impl Rule for HiddenDependency {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a dependency that is hidden"
    }

    fn doc(&self) -> &'static str {
        "`needs` is what the order of starting, the question what goes dark if something fails, and the rules of the \
         firewall follow from. What a service uses and does not name there is missing in all three.\n\n\
         - The environment of a service points to a database, a queue or a directory (`DATABASE_URL`, `REDIS_HOST`, \
         `postgres://…`) that is another service, or a container of one on the same host, and it has no `needs` for it.\n\
         - Its `backup: { dump: … }` names a service as its database, and it has no `needs` for that.\n\
         - The database is a container inside another application's stack: it is told although `needs` is there. \
         Whoever updates, moves or removes that application does so to everybody's database.\n\n\
         Only addresses of databases, queues and directories are looked at: links between services are no \
         dependencies. A container that more than one service could mean is left alone. In the lab tier this is advice.\n\n\
         It comes from document 0, which warns of critical dependencies that hide inside one large Compose file and asks \
         to keep those on DNS, secrets and backup explicit; and from document 4, whose services wait for \
         the databases that they are said to need, because they raced them at a cold start before.\n\n\
         The way out: `needs: [SERVICE]`; and a database that several services use is a service of its own."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nservices:\n  postgres: { containers: { db: { image: \"postgres:16.4\" } }, on: docker-01 }\n  wiki: { containers: { app: { image: \"wiki:3.1\", environment: { DATABASE_URL: \"postgres://wiki@postgres/wiki\" } } }, on: docker-01 }",
            passes: "compute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nservices:\n  postgres: { containers: { db: { image: \"postgres:16.4\" } }, on: docker-01 }\n  wiki: { containers: { app: { image: \"wiki:3.1\", environment: { DATABASE_URL: \"postgres://wiki@postgres/wiki\" } } }, on: docker-01, needs: [postgres] }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let names = Names::of(parsed);
        // Environments that lack the same are one finding, and so is all that one service lacks.
        let mut told: HashSet<&str> = HashSet::new();
        let mut inside: BTreeMap<(&str, &str), Vec<User<'_>>> = BTreeMap::new();
        for placement in &parsed.placements {
            let entry = &placement.entry;
            let is_said =
                |use_: &Use<'_>| entry.needs.iter().chain(&entry.egress).any(|need| need.value == use_.service);
            let (said, mut hidden): (Vec<_>, Vec<_>) = uses(parsed, placement, &names).into_iter().partition(is_said);
            for use_ in said {
                if let Some(container) = use_.container.filter(|_| names.stacks.contains(use_.service)) {
                    inside.entry((use_.service, container)).or_default().push((placement, use_.path));
                }
            }
            let mut services: HashSet<&str> = HashSet::new();
            hidden.retain(|use_| services.insert(use_.service));
            if !hidden.is_empty() && told.insert(&placement.service) {
                findings.push(unsaid(parsed, placement, &hidden));
            }
        }
        findings.extend(inside.iter().map(|((service, container), by)| shared_inside(parsed, service, container, by)));
    }
}

/// A placed service, and where below it is said what it uses.
type User<'a> = (&'a Placement, Vec<&'a str>);

/// A service that another one uses.
struct Use<'a> {
    service: &'a str,
    /// The container that it is known by, where that is not the service's own name.
    container: Option<&'a str>,
    /// The variable or the dump that says so.
    says: &'a str,
    /// Where that is below the service.
    path: Vec<&'a str>,
}

/// What a host's name stands for inside the lab.
struct Names<'a> {
    /// Services by their names and addresses; `None` where several have one.
    services: HashMap<String, Option<&'a str>>,
    containers: HashMap<&'a str, BTreeSet<&'a str>>,
    /// Services of more than one container.
    stacks: HashSet<&'a str>,
    hosts: HashMap<&'a str, HashSet<&'a str>>,
}

impl<'a> Names<'a> {
    fn of(parsed: &'a Parsed) -> Names<'a> {
        let lab = &parsed.lab;
        let mut names = Names {
            services: HashMap::new(),
            containers: HashMap::new(),
            stacks: HashSet::new(),
            hosts: HashMap::new(),
        };
        for (name, service) in lab.services.iter() {
            let urls = service.url.iter().map(|url| lab.fqdn(url));
            for known in [name.clone(), lab.fqdn(name)].into_iter().chain(urls) {
                let slot = names.services.entry(known.to_lowercase()).or_insert(Some(name));
                if *slot != Some(name) {
                    *slot = None;
                }
            }
        }
        for placement in &parsed.placements {
            let mut count = 0;
            for container in containers(parsed, placement) {
                count += 1;
                for known in container.names() {
                    names.containers.entry(known).or_default().insert(&placement.service);
                }
            }
            if count > 1 {
                names.stacks.insert(&placement.service);
            }
            let on = placement.entry.on.iter().map(|on| on.value.as_str());
            names.hosts.entry(&placement.service).or_default().extend(on);
        }
        names
    }

    /// The service that a host's name stands for, and the container if it is known by that.
    fn find(&self, parsed: &Parsed, placement: &Placement, host: &str) -> Option<(&'a str, Option<&'a str>)> {
        let own = placement.service.as_str();
        if containers(parsed, placement).any(|container| container.names().any(|name| name == host)) {
            return None;
        }
        if let Some(found) = self.services.get(host) {
            return found.filter(|service| *service != own).map(|service| (service, None));
        }
        if parsed.lab.compute.hosts.contains_key(host) {
            return None;
        }
        let (container, services) = self.containers.get_key_value(host)?;
        let service = services.first().filter(|service| services.len() == 1 && **service != own)?;
        // Docker's names hold on one machine.
        let together = !self.hosts.get(own)?.is_disjoint(self.hosts.get(service)?);
        together.then_some((*service, Some(*container)))
    }
}

fn uses<'a>(parsed: &'a Parsed, placement: &'a Placement, names: &Names<'a>) -> Vec<Use<'a>> {
    let entry = &placement.entry;
    let mut uses = Vec::new();
    let mut look = |path: &[&'a str], key: &'a str, value: &str| {
        for host in backing::hosts(key, value) {
            if let Some((service, container)) = names.find(parsed, placement, &host) {
                uses.push(Use { service, container, says: key, path: path.to_vec() });
            }
        }
    };
    for container in containers(parsed, placement) {
        for (key, value) in container.environment() {
            look(&["containers", container.name, "environment", key], key, value);
        }
    }
    for (key, value) in entry.run.iter().flat_map(|run| &run.environment) {
        look(&["run", "environment", key], key, value);
    }
    for (dump, entry) in entry.backup.iter().flat_map(|backup| backup.dump.iter()) {
        let Some(service) = &entry.service else { continue };
        let known = parsed.lab.services.get_key_value(&service.value);
        if let Some((name, _)) = known.filter(|(name, _)| **name != placement.service) {
            let path = vec!["backup", "dump", dump, "service"];
            uses.push(Use { service: name, container: None, says: "backup.dump", path });
        }
    }
    uses
}

fn unsaid(parsed: &Parsed, placement: &Placement, hidden: &[Use<'_>]) -> Finding {
    let name = &placement.service;
    let what = |use_: &Use<'_>| match use_.container {
        Some(container) => format!("`{container}` of service `{}` (`{}`)", use_.service, use_.says),
        None => format!("service `{}` (`{}`)", use_.service, use_.says),
    };
    let them = if hidden.len() == 1 { "it" } else { "them" };
    let uses = all_of(&hidden.iter().map(what).collect::<Vec<_>>());
    let message = format!("service `{name}` uses {uses}, and does not say that it needs {them}");
    let said = placement.entry.needs.iter().map(|need| need.value.as_str());
    let all: Vec<&str> = said.chain(hidden.iter().map(|use_| use_.service)).collect();
    let help = format!("write `needs: [{}]` in `{name}`", all.join(", "));
    let span = hidden.first().map_or(Span::NONE, |use_| place_in(parsed, placement, &use_.path));
    let mut finding = Finding::warning(CODE, format!("services.{name}.needs"), span, message).help(help);
    for use_ in hidden {
        finding = finding.related(place(parsed, use_.service), "a service that it uses");
    }
    at_tier(is_production(placement), finding)
}

/// A container of one application that others use.
fn shared_inside(parsed: &Parsed, service: &str, container: &str, by: &[User<'_>]) -> Finding {
    let mut users: Vec<&str> = by.iter().map(|(placement, _)| placement.service.as_str()).collect();
    users.dedup();
    let verb = if users.len() == 1 { "uses" } else { "use" };
    let message = format!("{} {verb} `{container}`, which is inside the stack of `{service}`", quoted(&users));
    let help = format!(
        "make `{container}` a service of its own that {} need: then an update of the one does not stop the others",
        quoted(&[&[service][..], &users].concat())
    );
    let span = by.first().map_or(Span::NONE, |(placement, path)| place_in(parsed, placement, path));
    let finding =
        Finding::warning(CODE, format!("services.{service}.containers.{container}"), span, message).help(help);
    let finding = finding.related(place(parsed, service), "the stack that it is in");
    at_tier(by.iter().any(|(placement, _)| is_production(placement)), finding)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn by_name_by_address_by_container_and_by_dump() {
        says(
            r#"
owner: me
compute: { hosts: { d-01: { address: 10.0.0.1 }, d-02: { address: 10.0.0.2 } } }
protection:
  repositories: { r: { url: "s3:https://s3.example.net/x" } }
  policies: { nightly: { to: r, drill: weekly } }
services:
  pg: { containers: { server: { image: "postgres:16" } }, on: d-01, url: sql.example.net }
  forum: { containers: { web: { image: "f:1" }, store: { image: "redis:7" } }, on: d-01 }
  by-name: { containers: { a: { image: "a:1", environment: { DB_HOST: pg, DB_NAME: forum } } }, on: d-02 }
  by-address: { run: { command: x, environment: { DATABASE_URL: "postgres://u@sql.example.net:5432/x" } }, on: d-02 }
  by-fqdn: { containers: { a: { image: "a:1", environment: ["DB_HOST=pg.lab.home.arpa"] } }, on: d-02, tier: production, probe: /, restore_notes: x }
  by-container: { containers: { a: { image: "a:1", environment: { REDIS_URL: "redis://store:6379", LDAP_HOST: login } } }, on: d-01, needs: [pg] }
  login: { containers: { l: { image: "lldap/lldap:0.6" } }, on: d-01 }
  inside: { containers: { a: { image: "a:1", environment: { REDIS_URL: "redis://store" } } }, on: d-01, needs: [forum] }
  inside-too: { containers: { a: { image: "a:1", environment: { REDIS_HOST: store } } }, on: d-01, needs: [forum] }
  by-dump: { use: x, on: d-01, backup: { policy: nightly, dump: { d: { service: pg } } } }
  said: { containers: { a: { image: "a:1", environment: { DB_HOST: pg } } }, on: d-01, needs: [pg] }
"#,
            expect![[r#"
                8:3 advice LW-SVC-008: services `pg` and `forum` are needed by others, and nobody probes them
                    help: add `probe: /PATH`, or for what speaks no HTTP `probe: { url: "tcp://HOST:PORT", expect: ["[CONNECTED] == true"] }`
                    9:3: nor this
                10:71 advice LW-SVC-004: service `by-name` uses service `pg` (`DB_HOST`), and does not say that it needs it
                    help: write `needs: [pg]` in `by-name`
                    8:3: a service that it uses
                11:65 advice LW-SVC-004: service `by-address` uses service `pg` (`DATABASE_URL`), and does not say that it needs it
                    help: write `needs: [pg]` in `by-address`
                    8:3: a service that it uses
                12:3 advice LW-SVC-006: service `by-fqdn` runs `a:1`, which has no digest: its tag can be pushed again
                    help: add the digest behind the version: `image: "NAME:VERSION@sha256:…"`
                12:60 warning LW-SVC-004: service `by-fqdn` uses service `pg` (`DB_HOST`), and does not say that it needs it
                    help: write `needs: [pg]` in `by-fqdn`
                    8:3: a service that it uses
                13:78 advice LW-SVC-004: service `by-container` uses `store` of service `forum` (`REDIS_URL`) and service `login` (`LDAP_HOST`), and does not say that it needs them
                    help: write `needs: [pg, forum, login]` in `by-container`
                    9:3: a service that it uses
                    14:3: a service that it uses
                15:72 advice LW-SVC-004: `inside` and `inside-too` use `store`, which is inside the stack of `forum`
                    help: make `store` a service of its own that `forum`, `inside` and `inside-too` need: then an update of the one does not stop the others
                    9:3: the stack that it is in
                17:81 advice LW-SVC-004: service `by-dump` uses service `pg` (`backup.dump`), and does not say that it needs it
                    help: write `needs: [pg]` in `by-dump`
                    8:3: a service that it uses
            "#]],
        );
    }

    #[test]
    fn own_containers_links_and_doubtful_names_are_left_alone() {
        says(
            r#"
compute: { hosts: { d-01: { address: 10.0.0.1 }, d-02: { address: 10.0.0.2 }, sql-01: { address: 10.0.0.3 } } }
services:
  one: { containers: { web: { image: "a:1", environment: { DB_HOST: db } }, db: { image: "postgres:16" } }, on: d-01 }
  two: { containers: { web: { image: "a:1", environment: { DB_HOST: db } }, db: { image: "postgres:16" } }, on: d-01 }
  doubtful: { containers: { a: { image: "a:1", environment: { DB_HOST: db } } }, on: d-01 }
  elsewhere: { containers: { a: { image: "a:1", environment: { DB_HOST: web } } }, on: d-02 }
  alias: { containers: { a: { image: "a:1", environment: { DB_HOST: sole } }, b: { image: "b:1", networks: { n: { aliases: [sole] } } } }, on: d-01 }
  sole: { containers: { c: { image: "c:1" } }, on: d-01, url: sole }
  link: { containers: { a: { image: "a:1", environment: { HOME_URL: "https://sole.lab.home.arpa", TITLE: sole } } }, on: d-01 }
  machine: { containers: { a: { image: "a:1", environment: { DB_HOST: sql-01 } } }, on: d-01 }
  outside: { containers: { a: { image: "a:1", environment: { DB_HOST: db.example.net } } }, on: d-01 }
"#,
            expect![""],
        );
    }
}
