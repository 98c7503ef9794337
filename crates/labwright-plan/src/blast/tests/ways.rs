//! Routers, uplinks and VPNs: what is there and cannot be reached.

use super::*;

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
