//! The lab with every default filled in: what is shown, and that it reads back as the same lab.

use expect_test::expect;
use labwright_model::lab::Lab;
use labwright_model::{Parsed, parse};

use crate::support::{InMemory, SHOWN, SPLIT, clean, read, shown};

/// Reads what is shown, and shows that.
pub fn reads_back(parsed: &Parsed) {
    let text = parsed.show();
    let again = read(&text);
    assert_eq!(shown(&again, &again.findings), "", "what is shown is no lab:\n{text}");
    assert_eq!(again.lab, parsed.lab, "what is shown is another lab:\n{text}");
}

#[test]
fn every_default_is_marked() {
    let parsed = clean(
        "\
lab: home
owner: stian
edge: { router: gateway-01 }
network:
  zones: { servers: { vlan: 20, subnet: 10.0.20.0/24 } }
  flows: [{ from: servers, to: internet }]
compute:
  hosts:
    docker-01: { zone: servers }
platform: { dns: [docker-01], monitoring: { on: docker-01, routes: [{ to: none, repeat: 3h }] } }
services:
  wiki: { use: wiki, on: docker-01, backup: nightly }
",
    );
    expect![[r#"
        lab: home
        domain: lab.home.arpa  # default
        owner: stian
        timezone: UTC  # default
        environments: []  # default
        include: []  # default
        edge:
          router:
            on: gateway-01  # from the short form
            kind: linux  # default
          vpn: null  # default
          public: null  # default
        network:
          zones:
            servers:
              vlan: 20
              subnet: [10.0.20.0/24]
              interface: null  # default
              kind: servers  # guessed from its name
              description: null  # default
          flows:
          - from: [servers]
            to: [internet]
            allow: []  # default
            because: null  # default
          firewall: null  # default
        compute:
          proxmox: []  # default
          docker_hosts: []  # default
          hosts:
            docker-01:
              zone: servers
              renamed_from: []  # default
              address: []  # default
              site: null  # default
              failure_domain: []  # default
              owner: stian  # the lab's owner
              provider: null  # default
              tier: lab  # default
              description: null  # default
              tags: []  # default
              os: debian  # default
              cores: null  # default
              memory: null  # default
              disk: null  # default
              flake: null  # default
              intermittent: false  # default
              local: false  # default
              routes: []  # default
              firewall: null  # default
              backup: null  # default
              restore_notes: null  # default
              vm: null  # default
              lxc: null  # default
              ssh:  # default
                user: null  # default
                port: null  # default
                jump: []  # default
                identity: null  # default
                confirm_within: null  # default
                host_key: []  # default
              hostname: null  # default
              packages: []  # default
              groups: {}  # default
              users: {}  # default
              authorized_keys: {}  # default
              directories: {}  # default
              files: {}  # default
              symlinks: {}  # default
              units: {}  # default
              mounts: {}  # default
              interfaces: {}  # default
              sysctl: {}  # default
              docker_socket: null  # default
              sshd: null  # default
            gateway-01:  # named by edge.router
              zone: null  # default
              renamed_from: []  # default
              address: []  # default
              site: null  # default
              failure_domain: []  # default
              owner: stian  # the lab's owner
              provider: null  # default
              tier: lab  # default
              description: null  # default
              tags: []  # default
              os: debian  # default
              cores: null  # default
              memory: null  # default
              disk: null  # default
              flake: null  # default
              intermittent: false  # default
              local: false  # default
              routes: []  # default
              firewall: null  # default
              backup: null  # default
              restore_notes: null  # default
              vm: null  # default
              lxc: null  # default
              ssh:  # default
                user: null  # default
                port: null  # default
                jump: []  # default
                identity: null  # default
                confirm_within: null  # default
                host_key: []  # default
              hostname: null  # default
              packages: []  # default
              groups: {}  # default
              users: {}  # default
              authorized_keys: {}  # default
              directories: {}  # default
              files: {}  # default
              symlinks: {}  # default
              units: {}  # default
              mounts: {}  # default
              interfaces: {}  # default
              sysctl: {}  # default
              docker_socket: null  # default
              sshd: null  # default
          updates: {}  # default
          confirm_within: "1m 30s"  # default
        platform:
          dns:
            on: [docker-01]  # from the short form
            service: null  # default
            software: labwright  # default
            api:  # default
              url: null  # default
              user: null  # default
              password: null  # default
            listen: []  # default
            upstream: []  # default
            order: fastest  # default
            bootstrap: []  # default
            forward: {}  # default
            dnssec: false  # default
            block: []  # default
            allow: []  # default
            rules: []  # default
            groups: {}  # default
            blocked: zero  # default
            refresh: 1day  # default
            private_answers: []  # default
            canary: true  # default
            rate_limit: 1000  # default
            cache:  # default
              size: 16MiB  # default
              stale: 1day  # default
              prefetch: true  # default
              at_least: 0s  # default
              at_most: 1day  # default
            log:  # default
              keep: 7days  # default
              clients: true  # default
            ttl: 1m  # default
            records: {}  # default
          reverse_proxy: null  # default
          identity: null  # default
          secrets: null  # default
          monitoring:
            on: [docker-01]
            notify: {}  # default
            heartbeat: null  # default
            routes:
            - match: {}  # default
              to: [none]
              repeat: 3h
            alerts: {}  # default
            messages:  # default
              group_by: [alertname, instance]  # default
              wait: 30s  # default
              interval: 5m  # default
              resolved: true  # default
              title: null  # default
              body: null  # default
            scrape: {}  # default
            dashboards: {}  # default
          registry: null  # default
          runners: null  # default
          telemetry: null  # default
          backup: null  # default
        services:
          wiki:
            use: wiki
            compose: null  # default
            containers: null  # default
            networks: null  # default
            volumes: null  # default
            project: null  # default
            folder: null  # default
            run: null  # default
            built_in: null  # default
            external: null  # default
            on: [docker-01]
            tier: lab  # default
            owner: stian  # the lab's owner
            description: null  # default
            tags: []  # default
            expose: nowhere  # default
            access: policy  # default
            url: []  # default
            port: null  # default
            site: null  # default
            door:  # default
              to: []  # default
              verify: system  # default
              health: null  # default
              auth:  # default
                forward: false  # default
                basic: {}  # default
                open: []  # default
              limits:  # default
                body: null  # default
                header: null  # default
                header_time: null  # default
                idle: null  # default
                time: null  # default
                rate: null  # default
              hsts: null  # default
              passthrough: false  # default
              tcp: []  # default
              proxy_protocol: false  # default
              geo: false  # default
              clear_text: false  # default
            routes: []  # default
            cors: []  # default
            needs: []  # default
            data: []  # default
            backup:
              policy: nightly  # from the short form
              dump: {}  # default
              hooks:  # default
                before: []  # default
                success: []  # default
                after: []  # default
              exclude: []  # default
            probe: null  # default
            egress: null  # default
            environments: {}  # default
            seed: []  # default
            up: null  # default
            restore_notes: null  # default
        protection:  # default
          repositories: {}  # default
          policies: {}  # default
          snapshots: {}  # default
          offline: {}  # default
          recovery: []  # default
    "#]]
    .assert_eq(&parsed.show());
    reads_back(&parsed);
}

#[test]
fn what_is_shown_reads_back_as_the_same_lab() {
    SHOWN.iter().for_each(|lab| reads_back(&clean(lab)));
    for files in SPLIT {
        let parsed = parse(files[0].0, &InMemory::of(files));
        assert_eq!(shown(&parsed, &parsed.findings), "", "in\n{}", files[0].1);
        // What the other files say stands in what is shown, so nothing is included any more.
        let whole = parsed.show();
        assert!(whole.contains("include: []  # merged: "), "{whole}");
        let mut files = InMemory::of(files);
        files.0.insert("shown.yaml".into(), whole.clone().into_bytes());
        let again = parse("shown.yaml", &files);
        assert_eq!(shown(&again, &again.findings), "", "what is shown does not load by itself:\n{whole}");
        assert_eq!(Lab { include: parsed.lab.include.clone(), ..again.lab }, parsed.lab);
    }
    reads_back(&clean(
        "edge: { router: gw, vpn: tailscale }\nplatform: { reverse_proxy: { on: p, tls: letsencrypt } }\n",
    ));
    reads_back(&clean(
        "environments: [a]\nservices: { s: { use: x, environments: { a: { on: h, networks: [1, [2], { b: [] }] } } } }\n",
    ));
}

#[test]
fn files_beside_an_included_file_are_found_from_the_first_one() {
    let files = [
        ("home/lab.yaml", "include: [web/web.yaml, common]\nplatform: { secrets: { age: secrets.yaml } }\n"),
        (
            "home/web/web.yaml",
            "compute: { hosts: { a: { local: true, files: { /m: { source: motd }, /n: { source: /etc/n } } } } }\nservices: { s: { compose: ./s/compose.yaml, on: a } }\n",
        ),
        ("home/common/b.yaml", "services: { t: { compose: t.yaml, on: a } }\n"),
        ("home/secrets.yaml", "a: ENC[x]\nsops: { age: [] }\n"),
    ];
    let text = parse("home/lab.yaml", &InMemory::of(&files)).show();
    for line in ["source: web/motd", "source: /etc/n", "compose: web/s/compose.yaml", "age: secrets.yaml"] {
        assert!(text.contains(line), "`{line}` is not in\n{text}");
    }
    assert!(text.contains("compose: common/t.yaml"), "{text}");
}

#[test]
fn zones_show_what_is_guessed_of_them_and_why() {
    let text = clean(
        "edge: { router: gw }\nnetwork:\n  zones:\n    guest-wifi: { subnet: 10.0.1.0/24 }\n    tail: { interface: tailscale0, subnet: 100.64.0.0/10 }\n    vpn: { interface: eth5, subnet: 10.0.2.0/24 }\n    blue: { subnet: 10.0.3.0/24 }\n    red: { subnet: 10.0.4.0/24 }\n    said: { subnet: 10.0.5.0/24, kind: iot }\n    dmz-1: { subnet: 10.0.6.0/24 }\ncompute:\n  hosts:\n    gw: { zone: blue, address: 10.0.3.1 }\n    pve: { address: 10.0.3.2, os: proxmox }\n    app: { address: 10.0.4.2 }\nservices: { wiki: { run: wiki, on: app } }\n",
    )
    .show();
    let kinds: Vec<&str> = text.lines().filter(|line| line.starts_with("      kind: ")).map(str::trim).collect();
    assert_eq!(
        kinds,
        [
            "kind: guest  # guessed from its name",
            "kind: vpn  # guessed from its interface",
            "kind: null  # default",
            "kind: management  # guessed from its hosts",
            "kind: servers  # guessed from its hosts",
            "kind: iot",
            "kind: dmz  # guessed from its name",
        ],
        "{text}"
    );
}

#[test]
fn awkward_texts_read_back() {
    for text in [
        "true",
        "no",
        "~",
        "null",
        "5",
        "1e3",
        ".5",
        "-",
        "- a",
        "a: b",
        "a #b",
        "#a",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`a",
        "'",
        "\"",
        "\\",
        "a\nb",
        "a\n\nb\n",
        "\ta",
        " a ",
        "",
        "{a}",
        "[a]",
        "|",
        ">",
        "<<",
        "=",
        "..",
        "...",
        "---",
        "$${x}",
        "${secret.x}",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "\u{feff}x",
        "é",
        "\u{1f600}",
        "0x1f",
        "0o17",
        "1_000",
        "infinity",
        "NaN",
        "2026-01-01",
        "\r\n",
        "\u{0}",
        "\u{1b}[0m",
        "Null",
        "TRUE",
        "a,b",
        "?",
        "? a",
        ":",
        ":a",
        "a:",
        "10:30",
    ] {
        let mut parsed =
            clean("compute: { hosts: { a: { files: { /x: { content: y } } } } }\nservices: { a: { networks: {} } }\n");
        let file = &mut parsed.lab.compute.hosts.0["a"].value.files.0["/x"].value;
        file.content = Some(text.to_string().into());
        let foreign = serde_json::json!({ "text": text, "list": [text, [text]], "maps": [{ "text": text }] });
        parsed.lab.services.0["a"].value.networks.0 = foreign;
        reads_back(&parsed);
    }
}

#[test]
fn sizes_and_periods_read_back() {
    for (size, wanted) in
        [("10GB", "10GB"), ("8GiB", "8GiB"), ("1.5GiB", "1536MiB"), ("1234567B", "1234567B"), ("0B", "0B")]
    {
        let parsed = clean(&format!("platform: {{ registry: {{ on: r, watch_disk: {size} }} }}\n"));
        assert_eq!(parsed.lab.platform.registry.as_ref().and_then(|r| r.watch_disk).unwrap().to_string(), wanted);
        reads_back(&parsed);
    }
    for every in ["6 months", "90s", "14d", "1h 30m", "500ms"] {
        reads_back(&clean(&format!("protection: {{ offline: {{ usb: {{ every: {every} }} }} }}\n")));
    }
}
