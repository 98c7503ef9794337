//! Who sends all traffic through a host goes dark with it.

use super::*;

const EDGE: &str = r#"
edge:
  router: home-gw
  vpn:
    wireguard:
      on: vps
      peers:
        seedbox: { on: seedbox, full_tunnel: true }
        apps: { on: apps }
        phone: { full_tunnel: true }
network: { zones: { home: { subnet: 192.168.1.0/24, kind: clients }, wg: { interface: wg0, subnet: 10.9.0.0/24 } } }
compute:
  hosts:
    home-gw: { zone: home, address: 192.168.1.1, site: home }
    vps: { address: 203.0.113.20, provider: hoster, site: far }
    apps: { zone: home, address: 192.168.1.10, site: home }
    seedbox: { zone: home, address: 192.168.1.11, site: home }
services:
  index: { run: index, on: apps }
  torrents: { run: torrents, on: seedbox, needs: [index] }
  gate: { run: gate, on: vps }
  feed: { run: feed, on: seedbox, needs: [gate] }
  mailer: { run: mailer, on: seedbox, needs: [mail] }
  films: { run: films, on: seedbox, expose: lan, backup: n, data: [/films] }
  share: { run: share, on: seedbox, expose: public, access: everyone, url: share.example.net }
  wiki: { run: wiki, on: apps, expose: lan, backup: n, data: [/wiki] }
  mail: { external: mail.example }
protection: { repositories: { s3: { url: "s3:https://s3.example.net/x" } }, policies: { n: { to: s3 } } }
"#;

#[test]
fn with_the_endpoint_goes_who_sends_everything_through_it() {
    takes(
        EDGE,
        "vps",
        expect![[r#"
        host vps: VPN, 1 service
        dark role VPN [no way in for administration from outside; `phone`: no internet until the VPN is switched off there] runs on `vps`
        dark service feed sends all traffic through the VPN, which runs on `vps`
        dark service gate runs on `vps`
        dark service mailer sends all traffic through the VPN, which runs on `vps`
        dark service share sends all traffic through the VPN, which runs on `vps`
        degraded host seedbox [no way to the internet or to another network] sends all traffic through the VPN, which runs on `vps`
        degraded service films [no way to the internet] sends all traffic through the VPN, which runs on `vps`
        degraded service torrents [no way to the internet] sends all traffic through the VPN, which runs on `vps`
        unprotected service films [no copy is within reach] is backed up to `s3`, found through the VPN, which runs on `vps`
    "#]],
    );
}

#[test]
fn without_it_only_the_vpn_is_lost() {
    takes(
        &EDGE.replace(", full_tunnel: true", "").replace("full_tunnel: true", ""),
        "vps",
        expect![[r#"
        host vps: VPN, 1 service
        dark role VPN [no way in for administration from outside] runs on `vps`
        dark service feed needs `gate`, which runs on `vps`
        dark service gate runs on `vps`
    "#]],
    );
}

#[test]
fn an_endpoint_on_this_side_of_a_lost_uplink_is_still_there() {
    takes(
        &EDGE.replace("on: vps\n      peers", "on: home-gw\n      peers"),
        "internet",
        expect![[r#"
        internet internet: the uplink
        dark role VPN [no way in for administration from outside; `phone`: no internet until the VPN is switched off there] needs the uplink
        dark service feed needs `gate` at the other end of the uplink
        dark service mail is on the internet, at somebody else's
        dark service mailer needs `mail`, which is on the internet, at somebody else's
        dark service share [from outside] is reached over the uplink
        unprotected service films [no copy is within reach] is backed up to `s3`, at the other end of the uplink
        unprotected service wiki [no copy is within reach] is backed up to `s3`, at the other end of the uplink
        held host vps [cannot be changed or looked at from here] is at the other end of the uplink
    "#]],
    );
}
