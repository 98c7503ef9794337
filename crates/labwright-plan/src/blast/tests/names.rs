//! What may fail, by what name it is meant, and one environment of several.

use super::*;

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
