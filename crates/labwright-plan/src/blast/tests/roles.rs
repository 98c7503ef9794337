//! What plays a role takes along what the role serves.

use super::*;

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
