//! Services in environments: the same stack placed twice, with what differs in each.

use expect_test::expect;

use crate::support::{check, clean, read, shown};

#[test]
fn what_an_environment_says_replaces_what_the_service_says() {
    let parsed = clean(
        "\
environments: [dev, prod]
services:
  shop:
    containers: { web: { image: \"shop:${env}\" } }
    on: docker-01
    url: \"shop-${env}\"
    environments:
      dev:
      prod: { on: [docker-02], tier: production, url: shop.example.net }
  wiki: { use: wiki, on: docker-01, environments: [dev] }
  chat: { use: chat, on: docker-01 }
",
    );
    let shown: Vec<_> = parsed
        .placements
        .iter()
        .map(|placement| {
            let entry = &placement.entry;
            format!(
                "{} {:?} on {} as {} {} {}",
                placement.service,
                placement.environment,
                entry.on[0].value,
                entry.url.first().map_or("-", |url| url.value.as_str()),
                entry.tier.word(),
                entry.containers.0["web"]["image"],
            )
        })
        .collect();
    expect![[r#"
        [
            "shop Some(\"dev\") on docker-01 as shop-dev lab \"shop:dev\"",
            "shop Some(\"prod\") on docker-02 as shop.example.net production \"shop:prod\"",
            "wiki Some(\"dev\") on docker-01 as - lab null",
            "chat None on docker-01 as - lab null",
        ]
    "#]]
    .assert_debug_eq(&shown);
}

#[test]
fn faults_of_an_environment() {
    check(
        "\
services:
  shop:
    use: shop
    tier: prodd
    environments:
      dev: docker-01
      prod:
        oon: x
        probe: { every: 5 }
        environments: { test: {} }
",
        expect![[r#"
            error LW-LAB-004 at lab.yaml:4:11..4:16 (services.shop.tier)
              `tier` must be one of lab, production, found `prodd`
            error LW-LAB-004 at lab.yaml:6:12..6:21 (services.shop.environments.dev)
              `dev` must be a map of what differs there, found `docker-01`
              help: for example `dev: { on: HOST }`
            error LW-LAB-002 at lab.yaml:8:9..8:12 (services.shop.environments.prod.oon)
              unknown key `oon` in `prod`
              help: did you mean `on`?
            error LW-LAB-004 at lab.yaml:9:25..9:26 (services.shop.environments.prod.probe.every)
              `every` must be a duration with its unit, found `5`
              help: write `5s`, `5h` or `5d`
            error LW-LAB-002 at lab.yaml:10:9..10:21 (services.shop.environments.prod.environments)
              environments hold no environments
              help: list every environment directly under the service's `environments:`
        "#]],
    );
}

#[test]
fn a_service_in_no_environment_has_no_env() {
    check(
        "services: { a: { use: x, url: \"a-${env}\" } }\n",
        expect![[r#"
        error LW-LAB-008 at lab.yaml:1:34..1:40
          `${env}` has no value: this service is in no environment
          help: add `environments: [dev, prod]` to the service, or write the value out
    "#]],
    );
    check(
        "compute: { hosts: { a: { hostname: \"a-${env}\" } } }\n",
        expect![[r#"
        error LW-LAB-008 at lab.yaml:1:39..1:45
          unknown reference `${env}`
          help: `${env}` means something only inside a service
    "#]],
    );
}

#[test]
fn ports_that_lead_nowhere() {
    let parsed = read(
        "environments: [dev, prod]\nservices:\n  a: { run: a, port: eighty }\n  b: { containers: { web: { image: b } }, port: \"wep:80\" }\n  c: { containers: { web: { image: c } }, port: \"web:99999\", environments: [dev, prod] }\n  d: { containers: { web: { image: d } }, port: \"web:80\" }\n  e: { use: e, port: \"app:3000\" }\n  f: { run: f, port: 8080 }\n  g: { containers: { web: { image: g } }, port: 0 }\n",
    );
    expect![[r#"
        error LW-LAB-004 at lab.yaml:3:22..3:28 (services.a.port)
          `eighty` is no port: a number from 1 to 65535 is
          help: write `port: 8080`, or `port: CONTAINER:8080`
        error LW-LAB-004 at lab.yaml:4:49..4:57 (services.b.port)
          service `b` has no container `wep`
          help: did you mean `web:80`?
        error LW-LAB-004 at lab.yaml:5:49..5:60 (services.c.port)
          `web:99999` is no port: a number from 1 to 65535 is
          help: write `port: 8080`, or `port: CONTAINER:8080`
        error LW-LAB-004 at lab.yaml:9:49..9:50 (services.g.port)
          `0` is no port: a number from 1 to 65535 is
          help: write `port: 8080`, or `port: CONTAINER:8080`
    "#]]
    .assert_eq(&shown(&parsed, &parsed.findings));
}
