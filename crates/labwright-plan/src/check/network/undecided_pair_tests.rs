//! What the pairs of zones are told: needs without a flow, folded by pair.

use expect_test::expect;

use crate::check::tests::says;

const ZONES: &str = r#"
network:
  zones:
    apps: { subnet: 10.0.20.0/24 }
    data: { subnet: 10.0.60.0/24 }
    far: { subnet: 10.0.70.0/24 }
"#;

#[test]
fn needs_fold_by_the_pair_of_zones() {
    says(
        &format!(
            "{ZONES}{}",
            r#"
  flows:
    - { from: host/wiki, to: far, allow: [ssh, icmp] }
    - { from: apps, to: service/queue, allow: amqp }
compute:
  hosts:
    app-01: { zone: apps, address: 10.0.20.21 }
    wiki: { zone: apps, address: 10.0.20.22 }
    db-01: { zone: data, address: 10.0.60.5 }
    far-01: { zone: far, address: 10.0.70.5 }
    legs: { zone: far, address: [10.0.70.6, 10.0.20.6] }
    nowhere: { address: 192.168.1.5 }
services:
  wiki: { run: wiki, on: wiki, needs: [postgres, cache, queue, near], tier: production }
  shop: { run: shop, on: [app-01, db-01], needs: [postgres, elsewhere, mail, deep] }
  postgres: { use: postgres, on: db-01 }
  cache: { run: cache, on: db-01, port: 7000 }
  queue: { use: rabbitmq, on: db-01 }
  near: { run: near, on: legs }
  deep: { run: deep, on: far-01 }
  elsewhere: { run: elsewhere, on: nowhere }
  mail: { external: fastmail }
"#
        ),
        expect![[r#"
            9:7 advice LW-NET-013: zones and flows are declared, and nothing enforces them
                help: write `network: { firewall: enforce }`, after `labwright rehearse` has tried it; `firewall: off` keeps it as it is
            20:40 warning LW-NET-005: `wiki` in zone `apps` needs `postgres` in zone `data`, and no flow lets it through
                help: add to `network: { flows: … }`: `- { from: [shop, service/wiki], to: [cache, postgres], allow: [7000/tcp, postgresql] }`
                20:50: `wiki` needs `cache`
                21:51: `shop` needs `postgres`
            21:78 advice LW-NET-005: `shop` in zone `apps` needs `deep` in zone `far`, and no flow lets it through
                help: add to `network: { flows: … }`: `- { from: shop, to: deep, allow: PORT/tcp }`
        "#]],
    );
}

#[test]
fn one_environment_needs_nothing_of_another() {
    says(
        &format!(
            "{ZONES}{}",
            r#"
  flows: [{ from: apps, to: internet }]
environments: [dev, prod]
compute:
  hosts:
    app-01: { zone: apps, address: 10.0.20.21 }
    db-01: { zone: data, address: 10.0.60.5 }
services:
  wiki: { run: wiki, environments: { dev: { on: app-01 }, prod: { on: db-01 } }, needs: db }
  db: { run: db, environments: { dev: { on: app-01 }, prod: { on: db-01 } } }
"#
        ),
        expect![[r#"
            8:11 advice LW-NET-013: zones and flows are declared, and nothing enforces them
                help: write `network: { firewall: enforce }`, after `labwright rehearse` has tried it; `firewall: off` keeps it as it is
        "#]],
    );
}

#[test]
fn a_name_at_the_proxy_is_a_way() {
    says(
        &format!(
            "{ZONES}{}",
            r#"
  flows:
    - { from: apps, to: proxy-01, allow: https }
    - { from: proxy-01, to: data, allow: 8000-8999/tcp }
platform: { reverse_proxy: proxy-01, dns: proxy-01 }
compute:
  hosts:
    app-01: { zone: apps, address: 10.0.20.21 }
    db-01: { zone: data, address: 10.0.60.5 }
    proxy-01: { zone: far, address: 10.0.70.80 }
services:
  wiki: { run: wiki, on: app-01, needs: [identity, hidden], url: wiki, expose: lan, port: 8080 }
  identity: { run: identity, on: db-01, url: login, expose: lan }
  hidden: { run: hidden, on: db-01 }
"#
        ),
        expect![[r#"
            4:5 advice LW-NET-005: `app-01` in zone `apps` may ask no resolver: no flow for `dns` leads to `proxy-01`, nor to the internet
                help: add to `network: { flows: … }`: `- { from: [apps, data], to: proxy-01, allow: dns }`
                5:5: nor may hosts in zone `data`
            9:7 advice LW-NET-013: zones and flows are declared, and nothing enforces them
                help: write `network: { firewall: enforce }`, after `labwright rehearse` has tried it; `firewall: off` keeps it as it is
            18:3 advice LW-NET-005: the reverse proxy on `proxy-01` leads to `wiki` on `app-01` in zone `apps`, and no flow lets it through
                help: add to `network: { flows: … }`: `- { from: proxy-01, to: wiki, allow: 8080/tcp }`
            18:52 advice LW-NET-005: `wiki` in zone `apps` needs `hidden` in zone `data`, and no flow lets it through
                help: add to `network: { flows: … }`: `- { from: wiki, to: hidden, allow: PORT/tcp }`
        "#]],
    );
}

#[test]
fn roles_need_ways_too() {
    says(
        r#"
edge: { public: { cloudflare: { zones: [example.net], tunnel: tunnel-01, access: { me: { covers: blog, emails: a@example.net } } } } }
network:
  zones:
    apps: { subnet: 10.0.20.0/24 }
    management: { subnet: 10.0.10.0/24 }
    outside: { subnet: 10.0.70.0/24 }
    store: { subnet: 10.0.80.0/24 }
    vpn: { interface: wg0, subnet: 10.9.0.0/24 }
  flows:
    - { from: apps, to: internet, allow: https }
    - { from: [management, outside], to: internet }
    - { from: mon-01, to: store, allow: 9000-9200/tcp }
    - { from: mon-01, to: management, allow: ssh }
platform: { dns: dns-01, monitoring: { on: mon-01, scrape: { nas: { targets: ["nas-01:9633", "10.0.80.5:9100", "example.org:443"] } } } }
compute:
  hosts:
    mon-01: { zone: apps, address: 10.0.20.90 }
    app-01: { zone: apps, address: 10.0.20.21 }
    dns-01: { zone: management, address: 10.0.10.53 }
    pve-01: { zone: management, address: 10.0.10.11, tier: production }
    tunnel-01: { zone: outside, address: 10.0.70.2 }
    nas-01: { zone: store, address: 10.0.80.5 }
    laptop: { zone: outside, address: 10.0.70.9, intermittent: true }
    printer: { zone: outside, address: 10.0.70.10, os: other }
    away: { zone: vpn, address: 10.9.0.5, os: other }
services:
  blog: { run: blog, on: app-01, expose: public, url: blog.example.net, backup: nightly, port: 8080 }
  shop: { run: shop, on: app-01, backup: nightly }
protection:
  repositories: { nas: { on: nas-01, path: /b }, cloud: { url: "s3:https://example.org/x" } }
  policies: { nightly: { schedule: "03:00", to: [nas, cloud] } }
"#,
        expect![[r#"
            5:5 advice LW-NET-005: `mon-01` in zone `apps` may ask no resolver: no flow for `dns` leads to `dns-01`, nor to the internet
                help: add to `network: { flows: … }`: `- { from: [apps, store], to: dns-01, allow: dns }`
                8:5: nor may hosts in zone `store`
            11:7 advice LW-NET-013: zones and flows are declared, and nothing enforces them
                help: write `network: { firewall: enforce }`, after `labwright rehearse` has tried it; `firewall: off` keeps it as it is
            15:44 warning LW-NET-005: `mon-01` watches `dns-01`, `pve-01` and `tunnel-01`, and no flow lets it through
                help: add to `network: { flows: … }`: `- { from: mon-01, to: [dns-01, pve-01, tunnel-01], allow: node-exporter }`
            15:79 advice LW-NET-005: `mon-01` scrapes `nas-01:9633`, and no flow lets it through
                help: add to `network: { flows: … }`: `- { from: mon-01, to: nas-01, allow: 9633/tcp }`
            28:3 advice LW-NET-005: the tunnel on `tunnel-01` leads to `blog` on `app-01` in zone `apps`, and no flow lets it through
                help: add to `network: { flows: … }`: `- { from: tunnel-01, to: blog, allow: 8080/tcp }`
            28:81 advice LW-NET-005: backups of `blog` go from `app-01` in zone `apps` to `nas-01` in zone `store`, and no flow lets them through
                help: add to `network: { flows: … }`: `- { from: app-01, to: nas-01, allow: ssh }`
                29:42: so do those of `shop`
        "#]],
    );
}

#[test]
fn the_proxy_and_what_is_behind_it() {
    says(
        &format!(
            "{ZONES}{}",
            r#"
  flows: [{ from: far, to: data, allow: icmp }]
platform: { reverse_proxy: proxy-01, dns: proxy-01 }
compute:
  hosts:
    db-01: { zone: data, address: 10.0.60.5 }
    proxy-01: { zone: far, address: 10.0.70.80 }
services:
  a: { run: a, on: db-01, url: a, expose: lan, port: web:3000 }
  b: { run: b, on: db-01, url: b, expose: lan, tier: production, port: 8080 }
  c: { run: c, on: db-01, url: c }
"#
        ),
        expect![[r#"
            5:5 warning LW-NET-005: `db-01` in zone `data` may ask no resolver: no flow for `dns` leads to `proxy-01`, nor to the internet
                help: add to `network: { flows: … }`: `- { from: data, to: proxy-01, allow: dns }`
            8:11 advice LW-NET-013: zones and flows are declared, and nothing enforces them
                help: write `network: { firewall: enforce }`, after `labwright rehearse` has tried it; `firewall: off` keeps it as it is
            15:3 warning LW-NET-005: the reverse proxy on `proxy-01` leads to `a` on `db-01` in zone `data`, and no flow lets it through
                help: add to `network: { flows: … }`: `- { from: proxy-01, to: [a, b], allow: [3000/tcp, 8080/tcp] }`
                16:3: nor to `b`
        "#]],
    );
}

#[test]
fn what_is_mounted_across_zones() {
    says(
        &format!(
            "{ZONES}{}",
            r#"
  flows: [{ from: apps, to: nas-02, allow: nfs }, { from: far, to: data, allow: ssh }]
compute:
  hosts:
    web-01: { zone: apps, address: 10.0.20.21, mounts: { /mnt/a: { nfs: "nas-01:/a" }, /mnt/b: { nfs: "nas-02:/b" } } }
    web-02: { zone: apps, address: 10.0.20.22, mounts: { /mnt/a: { nfs: "10.0.60.5:/a" }, /mnt/c: { nfs: "elsewhere:/c" } } }
    nas-01: { zone: data, address: 10.0.60.5, mounts: { /mnt/b: { nfs: "nas-02:/b" } } }
    nas-02: { zone: data, address: 10.0.60.6 }
"#
        ),
        expect![[r#"
            8:11 advice LW-NET-013: zones and flows are declared, and nothing enforces them
                help: write `network: { firewall: enforce }`, after `labwright rehearse` has tried it; `firewall: off` keeps it as it is
            11:73 advice LW-NET-005: `web-01` in zone `apps` mounts from `nas-01` in zone `data`, and no flow lets it through
                help: add to `network: { flows: … }`: `- { from: [web-01, web-02], to: nas-01, allow: nfs }`
                12:73: so does `web-02`
        "#]],
    );
}

#[test]
fn what_the_tunnel_reaches_by_itself_needs_no_proxy() {
    let lab = |dns: &str, on: &str| {
        format!(
            "{ZONES}{}",
            format_args!(
                r#"
  flows: [{{ from: [apps, data], to: internet }}]
edge: {{ public: {{ cloudflare: {{ zones: [example.net], tunnel: dmz-01 }} }} }}
platform: {{ reverse_proxy: inner{dns} }}
compute:
  hosts:
    dmz-01: {{ zone: apps, address: 10.0.20.21 }}
    inner: {{ zone: data, address: 10.0.60.5 }}
services:
  blog: {{ run: blog, on: {on}, expose: public, url: blog.example.net, access: everyone }}
"#
            )
        )
    };
    says(
        &lab("", "dmz-01"),
        expect![[r#"
        8:11 advice LW-NET-013: zones and flows are declared, and nothing enforces them
            help: write `network: { firewall: enforce }`, after `labwright rehearse` has tried it; `firewall: off` keeps it as it is
    "#]],
    );
    says(
        &lab(", dns: inner", "dmz-01"),
        expect![[r#"
            8:11 advice LW-NET-013: zones and flows are declared, and nothing enforces them
                help: write `network: { firewall: enforce }`, after `labwright rehearse` has tried it; `firewall: off` keeps it as it is
            16:3 advice LW-NET-005: the reverse proxy on `inner` leads to `blog` on `dmz-01` in zone `apps`, and no flow lets it through
                help: add to `network: { flows: … }`: `- { from: inner, to: blog, allow: PORT/tcp }`
        "#]],
    );
}

#[test]
fn a_lab_without_a_single_flow_is_told_once() {
    let lab = |network: &str| {
        format!(
            "{ZONES}{network}{}",
            r#"
platform: { dns: a-01, monitoring: a-01, reverse_proxy: a-01 }
compute:
  hosts:
    a-01: { zone: apps, address: 10.0.20.21 }
    b-01: { zone: data, address: 10.0.60.5 }
services:
  a: { run: a, on: a-01, needs: b, backup: n }
  b: { run: b, on: b-01, url: b, expose: lan }
protection: { repositories: { r: { on: b-01, path: /b } }, policies: { n: { to: r } } }
"#
        )
    };
    says(
        &lab(""),
        expect![[r#"
        14:44 advice LW-NET-005: backups of `a` go from `a-01` in zone `apps` to `b-01` in zone `data`, and no flow lets them through: the lab has zones and not one flow
            help: add to `network: { flows: … }`: `- { from: a-01, to: b-01, allow: ssh }`; or say `network: { firewall: off }` where something else decides what passes between zones
    "#]],
    );
    // Somebody else decides, and the lab says so.
    says(&lab("  firewall: off\n"), expect![[""]]);
    let alone = lab("").replace(", needs: b, backup: n", "");
    says(&alone, expect![[""]]);
}
