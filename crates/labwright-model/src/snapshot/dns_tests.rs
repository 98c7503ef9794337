//! What a resolver is given, from labs as people write them.

use expect_test::{Expect, expect};

use super::*;
use crate::{Files, parse};

struct One<'a>(&'a str);

impl Files for One<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        if path == "lab.yaml" { Ok(self.0.as_bytes().to_vec()) } else { Err("no such file".into()) }
    }
    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

fn of(lab: &str) -> (DnsSnapshot, Parsed) {
    let parsed = parse("lab.yaml", &One(lab));
    assert!(parsed.findings.is_empty(), "{:?}", parsed.findings);
    (dns(&parsed, "d").unwrap(), parsed)
}

fn names(lab: &str, golden: Expect) {
    let (snapshot, _) = of(lab);
    let record = |record: &Record| format!("{} {} {:?}\n", record.name, record.ttl, record.data);
    let records: String = snapshot.records.iter().map(record).collect();
    golden.assert_eq(&format!("zones {:?}\n{records}", snapshot.zones));
}

#[test]
fn hosts_services_records_and_the_way_back() {
    names(
        r#"
domain: home.example
environments: [dev, prod]
network:
  zones:
    servers: { subnet: [10.0.20.0/24, "fd00:20::/64"] }
    wide: { subnet: 10.8.0.0/22 }
    small: { subnet: 192.168.1.128/26 }
compute:
  hosts:
    d: { zone: servers, address: 10.0.20.53 }
    Nas: { zone: servers, address: [10.0.20.5, "fd00:20::5"] }
    p: { zone: servers, address: 10.0.20.80 }
    away: {}
platform:
  dns: { on: d, ttl: 2m, records: { files: nas, wild: { cname: www.example.org }, "*.apps": p, "@": p, nothere: elsewhere } }
  reverse_proxy: p
services:
  wiki: { run: x, on: d, expose: lan, url: [wiki, "https://Wiki.example.net:8443/x"] }
  inner: { run: x, on: d }
  nas: { run: x, on: d, expose: lan }
  shop: { run: x, on: d, expose: public, environments: [dev, prod] }
  mail: { external: fastmail, url: mail.example.net }
"#,
        expect![[r#"
            zones ["home.example", "0.0.0.0.0.0.0.0.0.2.0.0.0.0.d.f.ip6.arpa", "0.8.10.in-addr.arpa", "1.168.192.in-addr.arpa", "1.8.10.in-addr.arpa", "2.8.10.in-addr.arpa", "20.0.10.in-addr.arpa", "3.8.10.in-addr.arpa"]
            *.apps.home.example 120 Address(10.0.20.80)
            5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.0.0.0.0.d.f.ip6.arpa 120 Ptr("nas.home.example")
            5.20.0.10.in-addr.arpa 120 Ptr("nas.home.example")
            53.20.0.10.in-addr.arpa 120 Ptr("d.home.example")
            80.20.0.10.in-addr.arpa 120 Ptr("p.home.example")
            d.home.example 120 Address(10.0.20.53)
            files.home.example 120 Address(10.0.20.80)
            home.example 120 Address(10.0.20.80)
            inner.home.example 120 Address(10.0.20.53)
            nas.home.example 120 Address(10.0.20.5)
            nas.home.example 120 Address(fd00:20::5)
            nothere.home.example 120 Cname("elsewhere.home.example")
            p.home.example 120 Address(10.0.20.80)
            shop-dev.home.example 120 Address(10.0.20.80)
            shop-prod.home.example 120 Address(10.0.20.80)
            wiki.example.net 120 Address(10.0.20.80)
            wiki.home.example 120 Address(10.0.20.80)
            wild.home.example 120 Cname("www.example.org")
        "#]],
    );
}

#[test]
fn lists_groups_and_upstreams() {
    let (snapshot, parsed) = of(r#"
network: { zones: { kids: { subnet: 10.0.30.0/24 } } }
compute: { hosts: { d: { address: 10.0.20.53 }, tv: { address: 10.0.40.7 } } }
platform:
  dns:
    on: [e, d]
    upstream: ["tls://9.9.9.9#dns.quad9.net", https://dns.example/q, "[fd00::1]:5353", 10.0.0.1]
    order: given
    bootstrap: 9.9.9.9
    forward: { "*.Corp.example": 10.9.0.1 }
    dnssec: true
    block: [./lists/ads.txt, https://example.org/hosts, /etc/block]
    allow: good.example
    rules: bad.example
    groups:
      kids: { clients: kids, block: [/etc/block, more.txt], rules: games.example }
      screens: [tv, 10.0.50.0/24]
      office: { clients: 10.0.60.1, unfiltered: true }
    blocked: nxdomain
    refresh: 12h
    rate_limit: 50
    cache: { size: 8MiB, stale: 0s }
    log: { keep: 36h, clients: false }
"#);
    assert_eq!(snapshot.servers, ["d.lab.home.arpa", "e.lab.home.arpa"]);
    let shown: Vec<String> = snapshot.forward.upstreams.iter().map(Upstream::shown).collect();
    assert_eq!(shown, ["tls://9.9.9.9#dns.quad9.net", "https://dns.example/q", "[fd00::1]:5353", "10.0.0.1"]);
    assert_eq!(snapshot.forward.domains[0].domain, "corp.example");
    assert_eq!((snapshot.log.keep_days, snapshot.log.clients, snapshot.cache.stale), (2, false, 0));
    let lists: Vec<String> =
        snapshot.filter.lists.iter().map(|list| format!("{} {:?} {}", list.name, list.source, list.allow)).collect();
    expect![[r#"
        allow Rules(["good.example"]) true
        rules Rules(["bad.example"]) false
        rules of kids Rules(["games.example"]) false
        ./lists/ads.txt Shipped("lists_ads.txt") false
        https://example.org/hosts Url("https://example.org/hosts") false
        /etc/block File("/etc/block") false
        more.txt Shipped("more.txt") false
    "#]]
    .assert_eq(&(lists.join("\n") + "\n"));
    let groups: Vec<String> = snapshot
        .filter
        .groups
        .iter()
        .map(|group| {
            let nets: Vec<String> = group.clients.iter().map(|net| format!("{}/{}", net.address, net.bits)).collect();
            format!("{} [{}] {:?}", group.name, nets.join(" "), group.lists)
        })
        .collect();
    expect![[r#"
        kids [10.0.30.0/24] [0, 1, 2, 5, 6]
        screens [10.0.40.7/32 10.0.50.0/24] [0, 1, 3, 4, 5]
        office [10.0.60.1/32] []
        everyone [] [0, 1, 3, 4, 5]
    "#]]
    .assert_eq(&(groups.join("\n") + "\n"));
    assert_eq!(
        shipped(&parsed).into_iter().map(|(list, name)| (list.value.as_str(), name)).collect::<Vec<_>>(),
        [("./lists/ads.txt", "lists_ads.txt".to_string()), ("more.txt", "more.txt".into())]
    );
    let text = serde_json::to_string(&snapshot).unwrap();
    assert_eq!(serde_json::from_str::<DnsSnapshot>(&text).unwrap(), snapshot);
}

#[test]
fn a_subnet_contains_what_begins_like_it() {
    let net = |text: &str| net_of(text.parse().unwrap());
    for (subnet, address, inside) in [
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("0.0.0.0/0", "8.8.8.8", true),
        ("10.0.20.5/32", "10.0.20.5", true),
        ("10.0.20.4/31", "10.0.20.6", false),
        ("fd00:20::/64", "fd00:20::1", true),
        ("fd00:20::/64", "fd00:21::1", false),
        ("::/0", "2001:db8::1", true),
        ("10.0.0.0/8", "::ffff:10.0.0.1", false),
    ] {
        assert_eq!(net(subnet).contains(address.parse().unwrap()), inside, "{subnet} {address}");
    }
}
