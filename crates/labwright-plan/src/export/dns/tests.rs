//! One lab, in each format; and the programs that read them say whether they do.

use expect_test::expect;
use labwright_model::snapshot::dns;
use labwright_model::{Files, parse};

use super::*;

const LAB: &str = r#"
network: { zones: { servers: { subnet: 10.0.20.0/24 } } }
compute:
  hosts:
    dns-01: { zone: servers, address: 10.0.20.53 }
    nas: { zone: servers, address: [10.0.20.5, "fd00::5"] }
    proxy: { zone: servers, address: 10.0.20.80 }
platform:
  dns:
    on: dns-01
    upstream: [9.9.9.9, "tls://9.9.9.9#dns.quad9.net"]
    forward: { corp.example: "10.9.0.1:5353" }
    block: [lists/ads.txt, https://example.org/hosts]
    allow: good.example
    rules: [bad.example, "/^ads[0-9]+\\./"]
    records:
      files: nas
      alias: { cname: www.example.org }
      "*.apps": proxy
      "@": { txt: 'v=spf1 "all"', mx: 10 mail.example.org }
      _sip._tcp: { srv: 0 5 5060 nas }
      wiki.example.net: proxy
  reverse_proxy: proxy
services:
  photos: { run: x, on: nas, expose: lan }
"#;

struct One;

impl Files for One {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        if path == "lab.yaml" { Ok(LAB.as_bytes().to_vec()) } else { Err("no such file".into()) }
    }
    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

fn snapshot() -> DnsSnapshot {
    let parsed = parse("lab.yaml", &One);
    assert!(parsed.findings.is_empty(), "{:?}", parsed.findings);
    dns::dns(&parsed, "dns-01").unwrap()
}

#[test]
fn a_zone_file() {
    expect![[r#"
        $ORIGIN lab.home.arpa.
        $TTL 60
        @ 3600 IN SOA dns-01.lab.home.arpa. hostmaster.lab.home.arpa. 7 3600 600 604800 60
        @ 3600 IN NS dns-01.lab.home.arpa.
        *.apps 60 IN A 10.0.20.80
        _sip._tcp 60 IN SRV 0 5 5060 nas.lab.home.arpa.
        alias 60 IN CNAME www.example.org.
        dns-01 60 IN A 10.0.20.53
        files 60 IN A 10.0.20.5
        files 60 IN AAAA fd00::5
        @ 60 IN TXT "v=spf1 \"all\""
        @ 60 IN MX 10 mail.example.org.
        nas 60 IN A 10.0.20.5
        nas 60 IN AAAA fd00::5
        photos 60 IN A 10.0.20.80
        proxy 60 IN A 10.0.20.80

        $ORIGIN 20.0.10.in-addr.arpa.
        $TTL 60
        @ 3600 IN SOA dns-01.lab.home.arpa. hostmaster.lab.home.arpa. 7 3600 600 604800 60
        @ 3600 IN NS dns-01.lab.home.arpa.
        5 60 IN PTR nas.lab.home.arpa.
        53 60 IN PTR dns-01.lab.home.arpa.
        80 60 IN PTR proxy.lab.home.arpa.

        ; Names that are answered in place of the world. They are in no zone of the lab; a server of zones needs one
        ; for each, a resolver an override.
        ;5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. 60 IN PTR nas.lab.home.arpa.
        ;wiki.example.net. 60 IN A 10.0.20.80
    "#]]
    .assert_eq(&zone(&snapshot(), None, 7).unwrap());
    assert_eq!(
        zone(&snapshot(), Some("nope"), 7).unwrap_err(),
        "no zone `nope`; the zones are `lab.home.arpa`, `20.0.10.in-addr.arpa`"
    );
}

#[test]
fn adguard_home() {
    expect![[r#"
        dns:
          bind_hosts:
            - 0.0.0.0
            - "::"
          port: 53
          upstream_dns:
            - "[/corp.example/]10.9.0.1:5353"
            - "9.9.9.9"
            - "tls://9.9.9.9"
          bootstrap_dns: []
          upstream_mode: load_balance
          enable_dnssec: false
          refuse_any: true
          ratelimit: 1000
          cache_size: 16777216
          cache_ttl_min: 0
          cache_ttl_max: 86400
          cache_optimistic: true
        filtering:
          protection_enabled: true
          filtering_enabled: true
          blocking_mode: null_ip
          blocked_response_ttl: 10
          filters_update_interval: 24
          rewrites:
            - domain: "*.apps.lab.home.arpa"
              answer: "10.0.20.80"
            - domain: "alias.lab.home.arpa"
              answer: "www.example.org"
            - domain: "dns-01.lab.home.arpa"
              answer: "10.0.20.53"
            - domain: "files.lab.home.arpa"
              answer: "10.0.20.5"
            - domain: "files.lab.home.arpa"
              answer: "fd00::5"
            - domain: "nas.lab.home.arpa"
              answer: "10.0.20.5"
            - domain: "nas.lab.home.arpa"
              answer: "fd00::5"
            - domain: "photos.lab.home.arpa"
              answer: "10.0.20.80"
            - domain: "proxy.lab.home.arpa"
              answer: "10.0.20.80"
            - domain: "wiki.example.net"
              answer: "10.0.20.80"
        filters:
          - enabled: true
            url: "/opt/AdGuardHome/lists/lists_ads.txt"
            name: "lists/ads.txt"
            id: 1
          - enabled: true
            url: "https://example.org/hosts"
            name: "https://example.org/hosts"
            id: 2
        whitelist_filters:
        user_rules:
          - "|5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa^$dnsrewrite=NOERROR;PTR;nas.lab.home.arpa."
          - "|5.20.0.10.in-addr.arpa^$dnsrewrite=NOERROR;PTR;nas.lab.home.arpa."
          - "|53.20.0.10.in-addr.arpa^$dnsrewrite=NOERROR;PTR;dns-01.lab.home.arpa."
          - "|80.20.0.10.in-addr.arpa^$dnsrewrite=NOERROR;PTR;proxy.lab.home.arpa."
          - "|_sip._tcp.lab.home.arpa^$dnsrewrite=NOERROR;SRV;0 5 5060 nas.lab.home.arpa"
          - "|lab.home.arpa^$dnsrewrite=NOERROR;TXT;v=spf1 \"all\""
          - "|lab.home.arpa^$dnsrewrite=NOERROR;MX;10 mail.example.org"
          - "@@||good.example^"
          - "||bad.example^"
          - "/^ads[0-9]+\\./"
        clients:
          persistent:
            - name: "dns-01"
              ids:
                - "10.0.20.53"
              use_global_settings: true
              use_global_blocked_services: true
            - name: "nas"
              ids:
                - "10.0.20.5"
                - "fd00::5"
              use_global_settings: true
              use_global_blocked_services: true
            - name: "proxy"
              ids:
                - "10.0.20.80"
              use_global_settings: true
              use_global_blocked_services: true
        querylog:
          enabled: true
          file_enabled: true
          interval: 168h
        statistics:
          enabled: true
          interval: 24h
        schema_version: 29
    "#]].assert_eq(&adguard(&snapshot()));
}

#[test]
fn pi_hole() {
    expect![[r#"
        [dns]
          # Pi-hole speaks plain DNS only: "tls://9.9.9.9#dns.quad9.net" needs a forwarder of its own beside it.
          upstreams = [
            "9.9.9.9",
          ]
          hosts = [
            "10.0.20.53 dns-01.lab.home.arpa",
            "10.0.20.5 files.lab.home.arpa",
            "fd00::5 files.lab.home.arpa",
            "10.0.20.5 nas.lab.home.arpa",
            "fd00::5 nas.lab.home.arpa",
            "10.0.20.80 photos.lab.home.arpa",
            "10.0.20.80 proxy.lab.home.arpa",
            "10.0.20.80 wiki.example.net",
          ]
          cnameRecords = [
            "alias.lab.home.arpa,www.example.org,60",
          ]
          dnssec = false
          queryLogging = true

          [dns.cache]
            size = 10000
            optimizer = 86400

          [dns.blocking]
            active = true
            mode = "NULL"

          [dns.specialDomains]
            mozillaCanary = true
            iCloudPrivateRelay = true

          [dns.rateLimit]
            count = 60000
            interval = 60

        [database]
          maxDBdays = 7

        [misc]
          privacylevel = 0
          dnsmasq_lines = [
            "address=/apps.lab.home.arpa/10.0.20.80",
            "ptr-record=5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa,nas.lab.home.arpa",
            "ptr-record=5.20.0.10.in-addr.arpa,nas.lab.home.arpa",
            "ptr-record=53.20.0.10.in-addr.arpa,dns-01.lab.home.arpa",
            "ptr-record=80.20.0.10.in-addr.arpa,proxy.lab.home.arpa",
            "srv-host=_sip._tcp.lab.home.arpa,nas.lab.home.arpa,5060,0,5",
            "txt-record=lab.home.arpa,\"v=spf1 'all'\"",
            "mx-host=lab.home.arpa,mail.example.org,10",
            "local=/lab.home.arpa/",
            "local=/20.0.10.in-addr.arpa/",
            "server=/corp.example/10.9.0.1#5353",
          ]

        # Lists and rules are in gravity.db. Run these on the Pi-hole, then `pihole -g`:
        # pihole --allow-wild good.example
        # pihole --wild bad.example
        # pihole --regex '^ads[0-9]+\.'
        # pihole-FTL sqlite3 /etc/pihole/gravity.db "INSERT OR IGNORE INTO adlist (address, type, comment) VALUES ('file:///etc/pihole/lists/lists_ads.txt', 0, 'lists/ads.txt')"
        # pihole-FTL sqlite3 /etc/pihole/gravity.db "INSERT OR IGNORE INTO adlist (address, type, comment) VALUES ('https://example.org/hosts', 0, 'https://example.org/hosts')"
    "#]].assert_eq(&pihole(&snapshot()));
}
