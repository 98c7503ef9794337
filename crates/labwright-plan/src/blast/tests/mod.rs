//! From a lab's text to what a failure takes with it, in words.

use expect_test::{Expect, expect};
use labwright_model::{Files, Parsed, parse};

use super::*;

mod names;
mod roles;
mod storage;
mod tunnel;
mod ways;

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
