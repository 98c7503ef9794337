//! From a lab's text to what a failure takes with it, in words.

use expect_test::{Expect, expect};
use labwright_model::{Files, Parsed, parse};

use super::*;

struct One<'a>(&'a str);

impl Files for One<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        if path == "lab.yaml" { Ok(self.0.as_bytes().to_vec()) } else { Err("no such file".to_string()) }
    }
    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

fn lab(text: &str) -> Parsed {
    parse("lab.yaml", &One(text))
}

/// What a failure takes with it, from text to text.
#[track_caller]
fn takes(text: &str, name: &str, golden: Expect) {
    let parsed = lab(text);
    let found = blast(&parsed, &target(&parsed, name).unwrap());
    let mut out = format!("{} {}: {}\n", found.fails.kind.word(), found.fails.name, found.about);
    out += &found.then.iter().map(|then| format!("  then: {then}\n")).collect::<String>();
    for affected in &found.affected {
        let because: Vec<&str> = affected.because.iter().map(|link| link.one.as_str()).collect();
        let what = if affected.what.is_empty() { String::new() } else { format!(" [{}]", affected.what) };
        let Thing { kind, name } = &affected.thing;
        out += &format!("{} {} {name}{what} {}\n", affected.urgency.word(), kind.word(), because.join(", which "));
        out += &affected.then.iter().map(|then| format!("  then: {then}\n")).collect::<String>();
    }
    golden.assert_eq(&out);
}

const STACK: &str = r#"
network:
  zones:
    servers: { subnet: 10.0.20.0/24 }
    data: { subnet: 10.0.30.0/24 }
    vpn: { interface: wg0, subnet: 10.9.0.0/24 }
edge: { router: gw, vpn: { wireguard: {} } }
compute:
  hosts:
    gw: { address: 10.0.20.1, routes: [servers, data] }
    pve-01: { zone: servers, site: home, failure_domain: ups }
    docker-01: { zone: servers, vm: { on: pve-01 }, mounts: { /mnt/media: "nas-01:/media" }, ssh: { jump: bastion } }
    docker-02: { zone: servers }
    db-01: { zone: data, failure_domain: ups }
    nas-01: { zone: servers, site: home }
    bastion: { zone: servers }
    desk: { local: true }
platform:
  dns: [pve-01, nas-01]
  reverse_proxy: docker-01
  identity: { service: login }
  monitoring: docker-02
  registry: docker-02
  runners: docker-02
  secrets: { vault: { on: db-01, with: bastion } }
services:
  postgres: { run: x, on: db-01, data: [pgdata] }
  wiki: { run: wiki, on: docker-01, tier: production, expose: lan, needs: [postgres], data: [wiki], backup: nightly }
  notes: { run: notes, on: docker-01, needs: [wiki], expose: vpn }
  films: { run: films, on: docker-01, data: [/mnt/media/films] }
  front: { run: front, on: [docker-01, docker-02] }
  login: { run: login, on: docker-02 }
  tunnelled: { run: t, on: docker-02, egress: way-out, backup: { policy: far, dump: { d: { service: postgres } } } }
  way-out: { run: w, on: docker-01 }
protection:
  repositories:
    nas: { on: nas-01, path: /backup }
    away: { url: "s3:x" }
  policies:
    nightly: { to: [nas, away] }
    far: { to: away }
"#;

#[test]
fn a_hypervisor_takes_its_guests_and_what_stands_on_them() {
    takes(
        STACK,
        "pve-01",
        expect![[r#"
            host pve-01: 1 guest, DNS
            dark role reverse proxy [no name leads to its service] runs on `docker-01`, which is a guest of `pve-01`
            dark host docker-01 is a guest of `pve-01`
            dark service wiki runs on `docker-01`, which is a guest of `pve-01`
              then: if its data is lost, restore from `nas` or `away`
            dark service films runs on `docker-01`, which is a guest of `pve-01`
            dark service notes runs on `docker-01`, which is a guest of `pve-01`
            dark service way-out runs on `docker-01`, which is a guest of `pve-01`
            degraded role DNS [left to `nas-01` alone] runs on `pve-01`
            degraded service front [runs on `docker-02` alone] runs on `docker-01`, which is a guest of `pve-01`
            degraded service tunnelled [no way to the internet] reaches the internet through `way-out` alone, which runs on `docker-01`, which is a guest of `pve-01`
        "#]],
    );
}

#[test]
fn a_host_with_a_database_takes_what_needs_it() {
    takes(
        STACK,
        "db-01",
        expect![[r#"
        host db-01: secrets store, 1 service
        dark service wiki needs `postgres`, which runs on `db-01`
        dark service notes needs `wiki`, which needs `postgres`, which runs on `db-01`
        dark service postgres runs on `db-01`
        unprotected service postgres [if the disk is gone, so is its data] keeps its data, without a backup, on `db-01`
        unprotected service tunnelled [its database cannot be dumped] has its database in `postgres`, which runs on `db-01`
        held role secrets store [no secret is handed out: what needs one cannot be deployed or started anew] runs on `db-01`
    "#]],
    );
}

#[test]
fn a_router_closes_zones_and_keeps_what_is_in_them_apart() {
    takes(
        STACK,
        "gw",
        expect![[r#"
            host gw: router, VPN
            dark role router [nothing crosses between zones or to the internet] runs on `gw`
            dark role VPN [no way in for administration from outside] runs on `gw`
            dark zone servers [cut off: nothing gets in or out, and so nobody elsewhere reaches 6 services there] is routed by `gw`
            dark zone data [cut off: nothing gets in or out, and so nobody elsewhere reaches `postgres`] is routed by `gw`
            dark service wiki needs `postgres` across zones, and only `gw` routes `data`
            dark service notes needs `wiki`, which needs `postgres` across zones, and only `gw` routes `data`
            degraded role DNS [answers for `lab.home.arpa` alone: no other name is found] reaches the internet through `gw`
            degraded service tunnelled [no way to the internet] reaches the internet through `gw`
            unprotected service wiki [only `nas` keeps copies now] is backed up to `away`, across `gw`
            unprotected service tunnelled [no copy is within reach] is backed up to `away`, across `gw`
            held role monitoring [half blind: it sees its own zone alone, and no alert leaves it] is in `servers`, which `gw` routes
        "#]],
    );
}

#[test]
fn storage_takes_data_mounts_and_copies() {
    takes(
        STACK,
        "nas-01",
        expect![[r#"
            host nas-01: DNS, repository `nas`
            dark service films has data on `nas-01`
            degraded role DNS [left to `pve-01` alone] runs on `nas-01`
            degraded host docker-01 [loses `/mnt/media`] mounts from `nas-01`
            unprotected service wiki [only `away` keeps copies now] is backed up to `nas` on `nas-01`
            unprotected service films [if the disk is gone, so is its data] keeps its data, without a backup, on `nas-01`
        "#]],
    );
}

#[test]
fn what_can_wait_is_told_last() {
    takes(
        STACK,
        "docker-02",
        expect![[r#"
        host docker-02: monitoring, registry, runners, 3 services
        dark role identity [nobody new can log in where it is asked] is the service `login`, which runs on `docker-02`
        dark service login runs on `docker-02`
        dark service tunnelled runs on `docker-02`
          then: if its data is lost, restore from `away`
        degraded service front [runs on `docker-01` alone] runs on `docker-02`
        held role monitoring [blind: nothing is probed and no alert is sent] runs on `docker-02`
        held role registry [no image is pushed or pulled: what runs goes on, nothing new is deployed] runs on `docker-02`
        held role runners [nothing is built or deployed by itself] runs on `docker-02`
    "#]],
    );
}

#[test]
fn ways_to_a_host_and_the_machine_that_all_is_run_from() {
    takes(
        STACK,
        "bastion",
        expect![[r#"
        host bastion: unsealing of the secrets store
        held role unsealing of the secrets store [the secrets store stays sealed after its next start] runs on `bastion`
        held host docker-01 [cannot be changed or looked at] is reached through `bastion`
    "#]],
    );
    takes(
        STACK,
        "desk",
        expect![[r#"
        host desk: 
        held host desk [Labwright runs there: nothing is planned or applied from it] 
    "#]],
    );
}

#[test]
fn a_service_a_zone_a_site_and_a_failure_domain() {
    takes(
        STACK,
        "postgres",
        expect![[r#"
        service postgres: lab
        dark service wiki needs `postgres`
        dark service notes needs `wiki`, which needs `postgres`
        unprotected service tunnelled [its database cannot be dumped] has its database in `postgres`
    "#]],
    );
    takes(
        STACK,
        "data",
        expect![[r#"
        zone data: 1 host
        dark host db-01 is in that zone
        dark service wiki needs `postgres`, which runs on `db-01`, which is in that zone
        dark service notes needs `wiki`, which needs `postgres`, which runs on `db-01`, which is in that zone
        dark service postgres runs on `db-01`, which is in that zone
        unprotected service tunnelled [its database cannot be dumped] has its database in `postgres`, which runs on `db-01`, which is in that zone
        held role secrets store [no secret is handed out: what needs one cannot be deployed or started anew] runs on `db-01`, which is in that zone
    "#]],
    );
    takes(
        STACK,
        "site/home",
        expect![[r#"
            site home: 2 hosts
            dark role DNS [no name of `lab.home.arpa` resolves] runs on `pve-01` and `nas-01`, which stand at that site
            dark role reverse proxy [no name leads to its service] runs on `docker-01`, which is a guest of `pve-01`, which stands at that site
            dark host docker-01 is a guest of `pve-01`, which stands at that site
            dark host nas-01 stands at that site
            dark host pve-01 stands at that site
            dark service wiki runs on `docker-01`, which is a guest of `pve-01`, which stands at that site
              then: if its data is lost, restore from `away`
            dark service films runs on `docker-01`, which is a guest of `pve-01`, which stands at that site
            dark service notes runs on `docker-01`, which is a guest of `pve-01`, which stands at that site
            dark service way-out runs on `docker-01`, which is a guest of `pve-01`, which stands at that site
            degraded service front [runs on `docker-02` alone] runs on `docker-01`, which is a guest of `pve-01`, which stands at that site
            degraded service tunnelled [no way to the internet] reaches the internet through `way-out` alone, which runs on `docker-01`, which is a guest of `pve-01`, which stands at that site
            unprotected service wiki [only `away` keeps copies now] is backed up to `nas` on `nas-01`, which stands at that site
        "#]],
    );
    takes(
        STACK,
        "domain/ups",
        expect![[r#"
            domain ups: 2 hosts
            dark role reverse proxy [no name leads to its service] runs on `docker-01`, which is a guest of `pve-01`, which is in that failure domain
            dark host db-01 is in that failure domain
            dark host docker-01 is a guest of `pve-01`, which is in that failure domain
            dark host pve-01 is in that failure domain
            dark service wiki runs on `docker-01`, which is a guest of `pve-01`, which is in that failure domain
              then: if its data is lost, restore from `nas` or `away`
            dark service films runs on `docker-01`, which is a guest of `pve-01`, which is in that failure domain
            dark service notes runs on `docker-01`, which is a guest of `pve-01`, which is in that failure domain
            dark service postgres runs on `db-01`, which is in that failure domain
            dark service way-out runs on `docker-01`, which is a guest of `pve-01`, which is in that failure domain
            degraded role DNS [left to `nas-01` alone] runs on `pve-01`, which is in that failure domain
            degraded service front [runs on `docker-02` alone] runs on `docker-01`, which is a guest of `pve-01`, which is in that failure domain
            degraded service tunnelled [no way to the internet] reaches the internet through `way-out` alone, which runs on `docker-01`, which is a guest of `pve-01`, which is in that failure domain
            unprotected service postgres [if the disk is gone, so is its data] keeps its data, without a backup, on `db-01`, which is in that failure domain
            unprotected service tunnelled [its database cannot be dumped] has its database in `postgres`, which runs on `db-01`, which is in that failure domain
            held role secrets store [no secret is handed out: what needs one cannot be deployed or started anew] runs on `db-01`, which is in that failure domain
        "#]],
    );
}

#[test]
fn an_environment_stands_on_its_own_copy() {
    takes(
        "environments: [dev, prod]\ncompute: { hosts: { a: {}, b: {} } }\nservices:\n  app: { run: x, needs: [db], environments: { dev: { on: a }, prod: { on: b } } }\n  db: { run: y, environments: { dev: { on: a }, prod: { on: b } } }\n",
        "a",
        expect![[r#"
            host a: 2 services
            dark service app (dev) runs on `a`
            dark service db (dev) runs on `a`
        "#]],
    );
}

#[test]
fn what_goes_round_in_a_circle_is_told_once() {
    takes(
        "compute: { hosts: { a: {}, b: {} } }\nservices:\n  x: { run: x, on: a, needs: [y] }\n  y: { run: y, on: b, needs: [x] }\n",
        "a",
        expect![[r#"
            host a: 1 service
            dark service x runs on `a`
            dark service y needs `x`, which runs on `a`
        "#]],
    );
    takes(
        "compute: { hosts: { a: { vm: { on: b } }, b: { vm: { on: a } } } }\n",
        "a",
        expect![[r#"
        host a: guest of `b`, 1 guest
        dark host b is a guest of `a`
    "#]],
    );
}

#[test]
fn a_tunnel_names_its_standby() {
    takes(
        "edge: { public: { cloudflare: { tunnel: box, standby: { pages: spare.pages.dev } } } }\nservices: { shop: { run: shop, on: other, expose: public } }\ncompute: { hosts: { box: {}, other: {} } }\n",
        "box",
        expect![[r#"
            host box: tunnel
            dark role tunnel [the internet reaches nothing here] runs on `box`
              then: point `apex` and `www` at the standby `spare.pages.dev`
            dark service shop is reached through the tunnel, which runs on `box`
        "#]],
    );
}

#[test]
fn names_are_found_by_kind_and_near() {
    let parsed = lab(
        "network: { zones: { media: {} } }\ncompute: { hosts: { media: { site: attic } } }\nservices: { wiki: { external: x } }\n",
    );
    let told = |name| target(&parsed, name);
    assert_eq!(told("media"), Err(NoTarget::Ambiguous(vec!["host/media".into(), "zone/media".into()])));
    assert_eq!(told("zone/media"), Ok(Thing { kind: Kind::Zone, name: "media".into() }));
    assert_eq!(told("attic"), Ok(Thing { kind: Kind::Site, name: "attic".into() }));
    assert_eq!(told("wki"), Err(NoTarget::Unknown { near: Some("wiki".into()) }));
    assert_eq!(told("host/medai"), Err(NoTarget::Unknown { near: Some("host/media".into()) }));
    assert_eq!(told("nowhere/x"), Err(NoTarget::Unknown { near: None }));
}

#[test]
fn one_environment_fails_alone_and_short_names_are_understood() {
    let text = "environments: [dev, prod]\ncompute: { hosts: { host-01: {} } }\nservices:\n  db: { run: x, on: host-01, environments: [dev, prod] }\n  app: { run: y, on: host-01, needs: db, environments: [dev, prod] }\n";
    takes(
        text,
        "db (prod)",
        expect![[r#"
            service db (prod): lab
            dark service app (prod) needs `db (prod)`
        "#]],
    );
    let parsed = lab(text);
    assert_eq!(target(&parsed, "service/db (dev)").map(|thing| thing.name), Ok("db (dev)".into()));
    assert_eq!(target(&parsed, "db (test)"), Err(NoTarget::Unknown { near: None }));
    assert_eq!(target(&parsed, "host"), Err(NoTarget::Unknown { near: Some("host-01".into()) }));
}

const HOME: &str = r#"
domain: home.arpa
network: { zones: { lan: { subnet: 192.168.1.0/24 }, vpn: { interface: tailscale0, subnet: 100.64.0.0/10 } } }
edge:
  router: box
  vpn: { tailscale: { on: [nuc, pi, nas] } }
  public: { cloudflare: { zones: [smith.dev], tunnel: nuc } }
compute:
  hosts:
    box: { zone: lan, routes: lan }
    pi: { zone: lan }
    nuc: { zone: lan, mounts: { /mnt/media: { nfs: "nas:/tank/media" } } }
    films: { zone: lan, mounts: { /srv/films: { nfs: "nas:/tank/films" } } }
    nas: { zone: lan }
    build: { zone: lan }
platform: { dns: { on: pi, records: { split.smith.dev: nuc } }, reverse_proxy: films, runners: { on: build, service: ci } }
services:
  blog: { run: blog, on: nuc, expose: public, url: blog.smith.dev }
  shop: { run: shop, on: build, expose: public, url: shop.smith.dev }
  split: { run: split, on: nuc, expose: lan, url: split.smith.dev }
  outside: { run: out, on: nuc, expose: lan, url: out.smith.dev }
  home: { run: home, on: nuc, expose: lan, url: home }
  jelly: { containers: { j: { image: jelly, volumes: ["/mnt/media/films:/media:ro", "cfg:/config"] } }, on: nuc, data: [cfg] }
  all: { containers: { j: { image: files, volumes: ["/mnt:/mnt"] } }, on: nuc }
  root: { containers: { j: { image: exporter, volumes: ["/:/root:ro", "/mnt/medias:/m"] } }, on: nuc }
  flicks: { built_in: services.jellyfin, on: films }
  admin: { run: admin, on: nuc, expose: vpn, url: admin }
  ci: { run: ci, on: build }
  act: { containers: { r: { image: "gitlab/gitlab-runner:v17" } }, on: build }
"#;

#[test]
fn the_resolver_is_asked_for_the_labs_own_names_only() {
    takes(
        HOME,
        "pi",
        expect![[r#"
        host pi: DNS
        dark role DNS [no name of `home.arpa` resolves] runs on `pi`
        dark service admin is found by name through DNS, which runs on `pi`
        dark service home is found by name through DNS, which runs on `pi`
        dark service split is found by name through DNS, which runs on `pi`
    "#]],
    );
}

#[test]
fn what_containers_see_of_the_storage_goes_with_it() {
    takes(
        HOME,
        "nas",
        expect![[r#"
            host nas: 
            dark service jelly has data on `nas`
            degraded host films [loses `/srv/films`] mounts from `nas`
            degraded host nuc [loses `/mnt/media`] mounts from `nas`
            degraded service all [loses `/mnt/media`] has data on `nas`
            degraded service flicks [loses `/srv/films`] has data on `nas`
        "#]],
    );
}

#[test]
fn whoever_sits_in_the_same_zone_needs_no_router() {
    takes(
        HOME,
        "box",
        expect![[r#"
            host box: router
            dark role router [nothing crosses between zones or to the internet] runs on `box`
            dark role tunnel [the internet reaches nothing here] is in `lan`, which `box` routes
            dark zone lan [cut off: nothing gets in or out] is routed by `box`
            dark service admin is in `lan`, which `box` routes
            dark service blog is in `lan`, which `box` routes
            dark service outside reaches the internet through `box`
            dark service shop is in `lan`, which `box` routes
            degraded role DNS [answers for `home.arpa` alone: no other name is found] reaches the internet through `box`
        "#]],
    );
}

#[test]
fn the_door_is_in_the_way_of_what_is_behind_it_and_runners_can_wait() {
    takes(
        HOME,
        "films",
        expect![[r#"
        host films: reverse proxy, 1 service
        dark role reverse proxy [no name leads to its service] runs on `films`
        dark service admin is reached through the reverse proxy, which runs on `films`
        dark service flicks runs on `films`
        dark service home is reached through the reverse proxy, which runs on `films`
        dark service outside is reached through the reverse proxy, which runs on `films`
        dark service shop is reached through the reverse proxy, which runs on `films`
        dark service split is reached through the reverse proxy, which runs on `films`
    "#]],
    );
    takes(
        HOME,
        "build",
        expect![[r#"
        host build: runners, 3 services
        dark service shop runs on `build`
        held role runners [nothing is built or deployed by itself] runs on `build`
        held service act runs on `build`
        held service ci runs on `build`
    "#]],
    );
}

#[test]
fn single_points_of_failure_are_ranked() {
    let parsed = lab(STACK);
    let mut out = String::new();
    for point in single_points(&parsed) {
        let Point { thing, about, dark, production, roles, degraded, unprotected, held } = point;
        let harm = format!(
            "dark {dark} ({production}), roles {roles}, degraded {degraded}, copies {unprotected}, held {held}"
        );
        out += &format!("{}/{}: {harm}: {about}\n", thing.kind.word(), thing.name);
    }
    expect![[r#"
        domain/ups: dark 5 (1), roles 1, degraded 3, copies 2, held 1: 2 hosts
        host/gw: dark 2 (1), roles 4, degraded 2, copies 2, held 1: router, VPN
        site/home: dark 4 (1), roles 2, degraded 2, copies 1, held 0: 2 hosts
        host/pve-01: dark 4 (1), roles 1, degraded 3, copies 0, held 0: 1 guest, DNS
        host/docker-01: dark 4 (1), roles 1, degraded 2, copies 0, held 0: guest of `pve-01`, reverse proxy, 5 services
        host/db-01: dark 3 (1), roles 0, degraded 0, copies 2, held 1: secrets store, 1 service
        service/postgres: dark 2 (1), roles 0, degraded 0, copies 1, held 0: lab
        host/docker-02: dark 2 (0), roles 1, degraded 1, copies 0, held 3: monitoring, registry, runners, 3 services
        host/nas-01: dark 1 (0), roles 0, degraded 2, copies 2, held 0: DNS, repository `nas`
        service/login: dark 0 (0), roles 1, degraded 0, copies 0, held 0: lab
        service/wiki: dark 1 (0), roles 0, degraded 0, copies 0, held 0: production
        host/bastion: dark 0 (0), roles 0, degraded 0, copies 0, held 2: unsealing of the secrets store
        host/desk: dark 0 (0), roles 0, degraded 0, copies 0, held 1: 
    "#]]
    .assert_eq(&out);
}

/// Nothing is told without a reason, every chain ends at what fails, and the most urgent comes first.
#[test]
fn everything_affected_has_a_reason() {
    let parsed = lab(STACK);
    for kind in [Kind::Host, Kind::Service, Kind::Zone, Kind::Site, Kind::Domain] {
        for name in things(&parsed, kind) {
            let found = blast(&parsed, &Thing { kind, name: name.to_string() });
            for affected in &found.affected {
                let last = affected.because.last().map(|link| link.one.clone()).unwrap_or_default();
                let own = affected.urgency == Urgency::Held && affected.thing.name == name;
                let here = ["that zone", "that site", "that failure domain"].iter().any(|end| last.ends_with(end));
                assert!(here || own || last.contains(&format!("`{name}`")), "{name}: {affected:?}");
            }
            let order: Vec<Urgency> = found.affected.iter().map(|affected| affected.urgency).collect();
            assert!(order.is_sorted());
        }
    }
}

#[test]
fn what_is_down_comes_back_in_the_order_of_the_file() {
    let text = "environments: [dev, prod]\ncompute:\n  hosts:\n    pve: { address: 10.0.0.1 }\n    app: { address: 10.0.0.2, vm: { on: pve } }\n    far: { address: 10.0.0.3 }\nservices:\n  db: { run: db, on: app }\n  wiki: { run: wiki, needs: [db], environments: { dev: { on: app }, prod: { on: app } } }\n  app: { run: app, on: far }\nprotection: { recovery: [far, pve, app, db, wiki] }\n";
    let order = |text: &str, name: &str| -> Vec<String> {
        let parsed = lab(text);
        let found = blast(&parsed, &target(&parsed, name).unwrap());
        found.recovery.iter().map(|thing| format!("{}/{}", thing.kind.word(), thing.name)).collect()
    };
    let all = ["host/pve", "host/app", "service/db", "service/wiki (dev)", "service/wiki (prod)"];
    assert_eq!(order(text, "host/pve"), all);
    assert_eq!(order(text, "service/db"), ["service/db", "service/wiki (dev)", "service/wiki (prod)"]);
    assert_eq!(order(text, "host/far"), ["host/far", "service/app"]);
    assert!(order(&text.replace("[far, pve, app, db, wiki]", "[]"), "host/pve").is_empty());
    assert!(order(text, "service/app").is_empty(), "one thing has no order");
}

/// The service that is the resolver or the proxy takes along what either serves.
#[test]
fn a_service_that_plays_a_role_takes_along_what_the_role_serves() {
    let text = r#"
domain: lan.example.net
compute: { hosts: { a: { address: 10.0.0.1 }, b: { address: 10.0.0.2 } } }
platform: { dns: { on: a, service: pihole }, reverse_proxy: { on: a, service: caddy } }
services:
  pihole: { run: p, on: a }
  caddy: { run: c, on: a }
  other: { run: o, on: a }
  wiki: { run: wiki, on: b, expose: lan, url: wiki }
"#;
    takes(
        text,
        "pihole",
        expect![[r#"
        service pihole: lab
        dark role DNS [no name of `lan.example.net` resolves] is the service `pihole`
        dark service wiki is found by name through DNS, which is the service `pihole`
    "#]],
    );
    takes(
        text,
        "caddy",
        expect![[r#"
        service caddy: lab
        dark role reverse proxy [no name leads to its service] is the service `caddy`
        dark service wiki is reached through the reverse proxy, which is the service `caddy`
    "#]],
    );
    takes(
        text,
        "other",
        expect![[r#"
        service other: lab
    "#]],
    );
    let points = single_points(&lab(text));
    let names: Vec<&str> = points.iter().map(|point| point.thing.name.as_str()).collect();
    assert!(names.contains(&"pihole") && names.contains(&"caddy") && !names.contains(&"other"), "{names:?}");
}

/// Whatever way the machine behind a mount is written in, it is that machine; what is somebody else's is none.
#[test]
fn data_on_a_nas_by_name_address_and_volume() {
    let parsed = lab(r#"
domain: lan.example.net
compute:
  hosts:
    nas: { address: 10.0.0.5 }
    d:
      address: 10.0.0.2
      mounts:
        /mnt/a: "nas:/a"
        /mnt/b: "10.0.0.5:/b"
        /mnt/c: "nas.lan.example.net:/c"
        /mnt/d: { device: "//nas/d", fstype: cifs }
        /mnt/e: { device: "//10.0.0.5/e", fstype: cifs }
        /mnt/f: "far.example:/f"
services:
  a: { run: x, on: d, data: [/mnt/a] }
  b: { run: x, on: d, data: [/mnt/b] }
  c: { run: x, on: d, data: [/mnt/c] }
  d-smb: { run: x, on: d, data: [/mnt/d/sub] }
  e: { run: x, on: d, data: [/mnt/e] }
  far: { run: x, on: d, data: [/mnt/f] }
  nfs: { containers: { x: { image: "a:1", volumes: ["vol:/x"] } }, volumes: { vol: { driver_opts: { type: nfs, o: "addr=10.0.0.5,nfsvers=4", device: ":/f" } } }, on: d, data: [vol] }
  smb: { containers: { x: { image: "a:1", volumes: ["vol:/x"] } }, volumes: { vol: { driver_opts: { type: cifs, o: "username=u", device: "//nas/g" } } }, on: d, data: [vol] }
  own: { containers: { x: { image: "a:1", volumes: ["vol:/x"] } }, on: d, data: [vol] }
"#);
    let found = blast(&parsed, &target(&parsed, "nas").unwrap());
    let mut dark: Vec<&str> = found
        .of(Urgency::Dark)
        .filter(|affected| affected.thing.kind == Kind::Service)
        .map(|affected| affected.thing.name.as_str())
        .collect();
    dark.sort_unstable();
    assert_eq!(dark, ["a", "b", "c", "d-smb", "e", "nfs", "smb"]);
}

/// Somebody's lab with all that can be on the other side of an uplink.
const UPLINK: &str = r#"
domain: lan.example.net
edge:
  router: gw
  vpn: { wireguard: { on: gw } }
  public: { cloudflare: { zones: [example.net], tunnel: web, standby: { pages: spare.pages.dev } } }
network: { zones: { home: { subnet: 10.0.0.0/24 }, wg: { interface: wg0, subnet: 10.9.0.0/24 } } }
compute:
  hosts:
    gw: { zone: home, address: 10.0.0.1, site: home }
    web: { zone: home, address: 10.0.0.2, site: home }
    nas: { zone: home, address: 10.0.0.5, site: home }
    vps: { address: 203.0.113.9, provider: Hetzner }
platform:
  dns: web
  reverse_proxy: { on: web, tls: { acme: letsencrypt }, forward_auth: login }
  identity: { on: web, service: login }
  monitoring: { on: web, notify: { phone: "ntfy://ntfy.sh/x", chat: "json://chat.lan.example.net/alert", box: "syslog://10.0.0.5" }, heartbeat: "https://hc-ping.com/x" }
services:
  login: { run: authelia, on: web, expose: lan, url: login, port: 9091 }
  chat: { run: chat, on: nas, expose: lan, url: chat, port: 80 }
  blog: { containers: { b: { image: "nginx:1.27" } }, on: web, expose: public, url: blog.example.net, access: everyone }
  wiki: { run: wiki, on: web, expose: lan, url: wiki, port: 80, door: { auth: forward }, backup: nightly, data: [/srv/wiki] }
  feed: { run: feed, on: web, expose: lan, url: feed, port: 81, door: { auth: { forward: true, open: [/rss] } } }
  notes: { run: notes, on: web, expose: vpn, url: notes, port: 82 }
  far: { run: far, on: vps, needs: [wiki] }
  mail: { external: fastmail }
  letters: { run: letters, on: web, needs: [mail], expose: lan, url: letters }
protection:
  repositories: { near: { on: nas, path: /b }, away: { url: "s3:https://s3.example.com/x" } }
  policies: { nightly: { to: [near, away] } }
"#;

#[test]
fn a_lost_uplink() {
    takes(
        UPLINK,
        "internet",
        expect![[r#"
            internet internet: the uplink
            dark role VPN [no way in for administration from outside] needs the uplink
            dark role tunnel [the internet reaches nothing here] needs the uplink
              then: point `apex` and `www` at the standby `spare.pages.dev`
            dark service blog is reached through the tunnel, which needs the uplink
            dark service far needs `wiki` at the other end of the uplink
            dark service letters needs `mail`, which is on the internet, at somebody else's
            dark service mail is on the internet, at somebody else's
            dark service notes is reached through the VPN, which needs the uplink
            degraded role DNS [answers for `lan.example.net` alone: no other name is found] needs the uplink
            unprotected service wiki [only `near` keeps copies now] is backed up to `away`, at the other end of the uplink
            held role alerts to phone [no alert gets there; still told: `chat` and `box`] needs the uplink
            held role heartbeat [it stops, and whoever waits for it calls] needs the uplink
            held role certificates [none is renewed by `letsencrypt`: names go dark one by one when theirs run out] needs the uplink
            held role updates [no image and no package is fetched: what runs goes on, nothing new is deployed] needs the uplink
            held host vps [cannot be changed or looked at from here] is at the other end of the uplink
        "#]],
    );
}

#[test]
fn whoever_is_asked_at_the_door_and_whoever_is_told() {
    takes(
        UPLINK,
        "login",
        expect![[r#"
        service login: lab
        dark role identity [nobody new can log in where it is asked] is the service `login`
        dark service wiki asks `login` at the door
        degraded service feed [nobody gets in but to `/rss`] asks `login` at the door
    "#]],
    );
    takes(
        UPLINK,
        "chat",
        expect![[r#"
            service chat: lab
            held role alerts to chat [no alert gets there; still told: `phone` and `box`] goes through `chat`
        "#]],
    );
    takes(
        UPLINK,
        "nas",
        expect![[r#"
            host nas: repository `near`, 1 service
            dark service chat runs on `nas`
            unprotected service wiki [only `away` keeps copies now] is backed up to `near` on `nas`
            held role alerts to box [no alert gets there; still told: `phone`] goes to `nas`
            held role alerts to chat [no alert gets there; still told: `phone`] goes through `chat`, which runs on `nas`
        "#]],
    );
}

#[test]
fn a_zone_that_the_lab_s_router_has_no_address_in_has_a_router_of_its_own() {
    let lab = "edge: { router: gw }\nnetwork: { zones: { home: { subnet: 10.0.0.0/24 }, dmz: { subnet: 10.1.0.0/24 } } }\ncompute:\n  hosts:\n    gw: { zone: home, address: 10.0.0.1 }\n    inner: { zone: home, address: [10.0.0.2, 10.1.0.1] }\n    app: { zone: dmz, address: 10.1.0.20 }\n    pc: { zone: home, address: 10.0.0.9 }\nservices:\n  wiki: { run: wiki, on: app }\n  reader: { run: reader, on: pc, needs: [wiki] }\n";
    takes(
        lab,
        "inner",
        expect![[r#"
        host inner: 
        dark zone dmz [cut off: nothing gets in or out, and so nobody elsewhere reaches `wiki`] is routed by `inner`
        dark service reader needs `wiki` across zones, and only `inner` routes `dmz`
    "#]],
    );
    takes(
        lab,
        "gw",
        expect![[r#"
        host gw: router
        dark role router [nothing gets to the internet; between zones `inner` still routes its own] runs on `gw`
        dark zone home [cut off from the rest; `inner` still leads to `dmz`] is routed by `gw`
    "#]],
    );
}

#[test]
fn a_mesh_that_is_coordinated_by_what_it_protects() {
    let lab = "edge: { vpn: { tailscale: { on: [pve, nas] } } }\nnetwork: { zones: { dc: { subnet: 203.0.113.0/28 }, tailnet: { interface: tailscale0, subnet: 100.64.0.0/10 } } }\ncompute:\n  hosts:\n    pve: { zone: tailnet, address: 100.64.0.5, mounts: { /mnt/backup: \"100.64.0.4:/b\" } }\n    hs: { zone: dc, address: 203.0.113.3, vm: { on: pve } }\n    nas: { zone: tailnet, address: 100.64.0.4 }\nservices:\n  headscale: { run: headscale serve, on: hs, data: [/var/lib/headscale], backup: n }\n  shop: { run: shop, on: pve, data: [/srv], backup: n }\nprotection: { repositories: { r: { on: nas, path: /b } }, policies: { n: { to: r } } }\n";
    takes(
        lab,
        "headscale",
        expect![[r#"
        service headscale: lab
        unprotected service headscale [no copy is within reach] is backed up to `r`, found through the VPN coordination, which is the service `headscale`
        unprotected service shop [no copy is within reach] is backed up to `r`, found through the VPN coordination, which is the service `headscale`
        held role VPN coordination [who is connected stays so for a while; after a restart nobody finds the others] is the service `headscale`
        held host pve [loses `/mnt/backup` when the VPN has to be found anew] mounts from `nas`, found through the VPN coordination, which is the service `headscale`
    "#]],
    );
}
