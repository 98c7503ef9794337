//! What a help says is done to the example that fails, and then the finding is gone and nothing worse is there: for the rules
//! of the edge and of the network.

use super::tests::found;
use super::*;

/// A rule, what its help says, and what that is in the example: text that is replaced, by what.
type Way = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const WAYS: &[Way] = &[
    (
        "LW-EDGE-001",
        "add `access: { POLICY: { covers: photos, emails: … } }` under `edge.public.cloudflare`",
        &[("tunnel: docker-01", "tunnel: docker-01, access: { family: { covers: photos, emails: me@example.net } }")],
    ),
    ("LW-EDGE-001", "or `expose: vpn`", &[("expose: public", "expose: vpn"), ("edge: {", "edge: { vpn: tailscale,")]),
    ("LW-EDGE-001", "`access: everyone`", &[("expose: public", "expose: public, access: everyone")]),
    ("LW-EDGE-002", "`url: wiki.example.net`", &[("url: wiki", "url: wiki.example.net")]),
    ("LW-EDGE-002", "expose it to `lan`", &[("expose: public", "expose: lan")]),
    ("LW-EDGE-003", "`from: vpn`", &[("from: clients", "from: vpn")]),
    ("LW-EDGE-004", "`from: vpn` alone", &[("from: [clients, vpn]", "from: vpn")]),
    (
        "LW-EDGE-005",
        "`tls: { acme: letsencrypt, dns01: cloudflare, proof: { token: \"${secret.dns_token}\" } }`",
        &[
            ("acme: letsencrypt", "acme: letsencrypt, dns01: cloudflare, proof: { token: \"${secret.app}\" }"),
            ("platform:\n", "platform:\n  secrets: { age: secrets.yaml }\n"),
        ],
    ),
    ("LW-EDGE-005", "`tls: internal`", &[("tls: { acme: letsencrypt }", "tls: internal")]),
    (
        "LW-EDGE-006",
        "add `example.tech` to `edge.public.cloudflare.zones`",
        &[("zones: [example.net]", "zones: [example.net, example.tech]")],
    ),
    ("LW-EDGE-006", "take the name out", &[("url: [jobs.example.net, jobs.example.tech]", "url: jobs.example.net")]),
    ("LW-EDGE-007", "another name for one of them", &[("url: wiki.lab.home.arpa", "url: notes")]),
    ("LW-EDGE-008", "`port: 8080`", &[("url: wiki", "url: wiki, port: 8080")]),
    ("LW-EDGE-008", "`door: { to: http://HOST:PORT }`", &[("url: wiki", "url: wiki, door: { to: \"http://a:8080\" }")]),
    (
        "LW-EDGE-009",
        "`platform: { reverse_proxy: { forward_auth: SERVICE } }`",
        &[
            ("reverse_proxy: a", "reverse_proxy: { on: a, forward_auth: login }"),
            ("services:\n", "services:\n  login: { run: authelia, on: a, expose: lan, url: login, port: 9091 }\n"),
        ],
    ),
    (
        "LW-EDGE-010",
        "`url: wiki`",
        &[("compute:", "services: { w: { use: wiki, on: proxy-01, expose: lan, url: wiki, port: 80 } }\ncompute:")],
    ),
    ("LW-EDGE-011", "take `geo` out here", &[(", geo: /srv/geo.mmdb", "")]),
    ("LW-EDGE-012", "`127.0.0.1:8080:8080`", &[("\"8080:8080\"", "\"127.0.0.1:8080:8080\"")]),
    (
        "LW-EDGE-012",
        "take `--api.insecure` out",
        &[("command: [\"--api.insecure=true\"], ", ""), (", \"8080:8080\"", "")],
    ),
    (
        "LW-EDGE-013",
        "take `radarr` out of its `url`, and give it an entry of its own: `radarr: { built_in: part of arr, on: a, expose: lan, url: radarr, port: 7878, needs: [arr] }`",
        &[
            ("url: [sonarr, radarr]", "url: sonarr"),
            (
                "services:\n",
                "services:\n  radarr: { built_in: part of arr, on: a, expose: lan, url: radarr, port: 7878, needs: [arr] }\n",
            ),
        ],
    ),
    (
        "LW-EDGE-014",
        "write `expose: public`",
        &[
            ("expose: vpn", "expose: public, access: everyone"),
            ("edge: {", "edge: { public: { cloudflare: { zones: [example.net], tunnel: box } },"),
        ],
    ),
    (
        "LW-NET-001",
        "an address of its own",
        &[("docker-01: { address: 10.0.20.5 }", "docker-01: { address: 10.0.20.6 }")],
    ),
    ("LW-NET-002", "an id of its own", &[("iot: { vlan: 20", "iot: { vlan: 40")]),
    ("LW-NET-003", "or move it", &[("10.0.0.0/16", "10.1.0.0/16")]),
    ("LW-NET-004", "an address of `10.0.20.0/24`", &[("10.0.30.21", "10.0.20.21")]),
    (
        "LW-NET-005",
        "`- { from: wiki, to: postgres, allow: postgresql }`",
        &[("to: internet }", "to: internet }\n    - { from: wiki, to: postgres, allow: postgresql }")],
    ),
    ("LW-NET-006", "take the flow out", &[("  flows:\n    - { from: iot, to: servers }", "")]),
    (
        "LW-NET-006",
        "`- { from: iot, to: broker, allow: mqtt }`",
        &[
            ("{ from: iot, to: servers }", "{ from: iot, to: broker, allow: mqtt }"),
            ("network:\n", "compute: { hosts: { broker: { zone: servers, address: 10.0.20.9 } } }\nnetwork:\n"),
        ],
    ),
    (
        "LW-NET-007",
        "`management: { vlan: 10, subnet: … }` and `servers: { vlan: 20, subnet: … }`, and a `zone` for each host",
        &[
            (
                "zones:\n",
                "zones:\n    management: { vlan: 10, subnet: 10.0.10.0/24 }\n    servers: { vlan: 20, subnet: 10.0.20.0/24 }\n",
            ),
            ("pve-01: { zone: home, address: 192.168.68.2", "pve-01: { zone: management, address: 10.0.10.2"),
            ("zone: home, address: 192.168.68.1", "zone: servers, address: 10.0.20.1"),
        ],
    ),
    (
        "LW-NET-008",
        "take `network_mode` out, and publish the port it needs: `ports: [\"PORT:PORT\"]`",
        &[("network_mode: host", "ports: [\"8096:8096\"]")],
    ),
    ("LW-NET-009", "`127.0.0.1:5432:5432`", &[("\"5432:5432\"", "\"127.0.0.1:5432:5432\"")]),
    ("LW-NET-009", "leave it out", &[(", ports: [\"5432:5432\"]", "")]),
    ("LW-NET-010", "the name of the container or service", &[("http://10.0.20.21:9696", "http://prowlarr:9696")]),
    (
        "LW-NET-011",
        "`- { from: SERVICE, to: SERVICE, allow: PORT/tcp }`",
        &[("{ from: servers, to: servers }", "{ from: films, to: books, allow: 13378/tcp }")],
    ),
    ("LW-NET-011", "say why under `because`", &[("to: servers }", "to: servers, because: a test bench }")]),
    ("LW-NET-012", "`qbittorrent: { on: docker-01 }`", &[("on: docker-02, egress", "on: docker-01, egress")]),
    ("LW-NET-013", "`network: { firewall: enforce }`", &[("network:\n", "network:\n  firewall: enforce\n")]),
    ("LW-NET-013", "`firewall: off`", &[("network:\n", "network:\n  firewall: off\n")]),
    (
        "LW-NET-014",
        "`- { from: mon-01, to: pve-01, allow: 9100/tcp }`",
        &[("allow: ssh }", "allow: ssh }\n    - { from: mon-01, to: pve-01, allow: 9100/tcp }")],
    ),
    (
        "LW-NET-016",
        "`- { from: ZONE, to: web, allow: ssh }`",
        &[("allow: https }", "allow: https }\n    - { from: clients, to: web, allow: ssh }")],
    ),
    ("LW-NET-017", "write a router in one of them", &[("gateway: 10.0.30.1", "gateway: 10.0.20.1")]),
    ("LW-NET-018", "`subnet: 10.0.50.0/24`", &[("interface: eth9", "interface: eth9, subnet: 10.0.50.0/24")]),
    (
        "LW-NET-019",
        "`vpn: { subnet: 10.8.0.0/24, interface: wg0 }`",
        &[("  zones:\n", "  zones:\n    vpn: { subnet: 10.8.0.0/24, interface: wg0 }\n")],
    ),
    (
        "LW-NET-020",
        "`interfaces: { NAME: { addresses: …, routes: { \"10.8.0.0/24\": \"10.0.30.9\" } } }`",
        &[(
            "10.0.30.5 }",
            "10.0.30.5, interfaces: { eth0: { addresses: 10.0.30.5/24, routes: { \"10.8.0.0/24\": \"10.0.30.9\" } } } }",
        )],
    ),
];

/// Rules whose help names a work order for somebody else's device, and nothing that is typed into the lab file.
const NOT_TYPED: &[&str] = &["LW-NET-015"];

#[test]
fn what_the_help_says_is_a_way_out() {
    for (code, says, edits) in WAYS {
        let rule = RULES.iter().find(|rule| rule.code() == *code).unwrap();
        let fails = rule.examples().fails;
        let (_, before) = found(fails);
        let told = before.iter().find(|finding| finding.code == *code).unwrap();
        assert!(told.help.contains(says), "{code}: the help is `{}`, without `{says}`", told.help);
        let mended = edits.iter().fold(fails.to_string(), |text, (from, to)| {
            assert!(text.contains(from), "{code}: no `{from}` in\n{text}");
            text.replace(from, to)
        });
        let (_, after) = found(&mended);
        // A rule may have something else to say then: a tunnel that nothing public is left for.
        let again = after.iter().find(|finding| finding.code == *code && finding.message == told.message);
        assert!(again.is_none(), "{code} is still there in\n{mended}\n{again:#?}");
        let errors: Vec<_> = after.iter().filter(|finding| finding.severity == Severity::Error).collect();
        let new = errors.iter().filter(|error| !before.iter().any(|old| old.code == error.code));
        assert_eq!(new.count(), 0, "{code}: {says} leads to an error in\n{mended}\n{errors:#?}");
    }
}

#[test]
fn each_rule_of_the_edge_and_of_the_network_has_a_way_out_that_was_tried() {
    for rule in RULES {
        let code = rule.code();
        if code.starts_with("LW-EDGE") || code.starts_with("LW-NET") {
            let tried = WAYS.iter().any(|(known, ..)| *known == code);
            assert!(tried != NOT_TYPED.contains(&code), "{code}");
        }
    }
}
