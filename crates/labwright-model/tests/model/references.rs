//! `${…}`: what stands for what, and what stands for nothing.

use expect_test::{Expect, expect};

use crate::support::{check, clean, read};

const AROUND: &str = "\
lab: home
domain: lab.home.arpa
owner: stian
network: { zones: { servers: { vlan: 20, subnet: 10.0.20.0/24 } } }
compute: { hosts: { docker-01: { zone: servers, address: [10.0.20.21, fd00::21] }, bare: } }
services:
  wiki: { use: wiki, on: docker-01, url: [wiki, \"w.${domain}\"] }
  far: { external: x, url: https://far.example.net }
";

fn value(reference: &str) -> String {
    let text = format!("{AROUND}  it: {{ use: x, on: docker-01, description: '{reference}' }}\n");
    clean(&text).lab.services["it"].description.clone().unwrap_or_default()
}

#[test]
fn references_stand_for_what_the_file_says() {
    for (reference, wanted) in [
        ("${host.docker-01.address}", "10.0.20.21"),
        ("${host.docker-01.fqdn}", "docker-01.lab.home.arpa"),
        ("${host.docker-01.owner}", "stian"),
        ("${host.docker-01.zone}", "servers"),
        ("${service.wiki.url}", "http://wiki.lab.home.arpa"),
        ("${service.wiki.host}", "docker-01"),
        ("${service.far.url}", "https://far.example.net"),
        ("${zone.servers.subnet} ${zone.servers.vlan}", "10.0.20.0/24 20"),
        ("${lab}.${domain}", "home.lab.home.arpa"),
        ("a $${HOME} $ {x} }", "a $${HOME} $ {x} }"),
        ("x ${secret.a.b}", "x ${secret.a.b}"),
    ] {
        assert_eq!(value(reference), wanted, "{reference}");
    }
}

#[test]
fn a_value_that_refers_to_another_is_followed() {
    let text = "\
services:
  a: { use: x, url: \"${service.b.name}.example.net\" }
  b: { use: x, description: \"${service.a.url}\" }
";
    assert_eq!(clean(text).lab.services["b"].description.as_deref(), Some("http://b.example.net"));
}

fn fault(reference: &str, expected: Expect) {
    let text = format!("{AROUND}  it: {{ use: x, on: docker-01, description: '{reference}' }}\n");
    let parsed = read(&text);
    let faults: Vec<_> = parsed
        .findings
        .iter()
        .map(|finding| {
            let place = parsed.place(finding.span).unwrap();
            format!("{}:{} {}; {}\n", place.line, place.column, finding.message, finding.help)
        })
        .collect();
    expected.assert_eq(&faults.concat());
}

#[test]
fn unknown_references_of_every_kind() {
    fault(
        "${host.dokcer-01.address}",
        expect![[r#"
        9:46 unknown reference `${host.dokcer-01.address}`; did you mean `${host.docker-01.address}`?
    "#]],
    );
    fault(
        "${host.docker-01.adress}",
        expect![[r#"
        9:46 unknown reference `${host.docker-01.adress}`; did you mean `${host.docker-01.address}`?
    "#]],
    );
    fault(
        "${host.docker-01.colour}",
        expect![[r#"
        9:46 unknown reference `${host.docker-01.colour}`; a host has address, name, fqdn, zone, site, owner
    "#]],
    );
    fault(
        "${host.docker-01}",
        expect![[r#"
        9:46 unknown reference `${host.docker-01}`; write `${host.docker-01.address}`
    "#]],
    );
    fault(
        "${host.}",
        expect![[r#"
        9:46 unknown reference `${host.}`; write `${host.NAME.address}`
    "#]],
    );
    fault(
        "${host.bare.address}",
        expect![[r#"
        9:46 `${host.bare.address}` has no value: host `bare` has no `address`; add `address: …` to host `bare`
    "#]],
    );
    fault(
        "${host.nothing-like-it.address}",
        expect![[r#"
        9:46 unknown reference `${host.nothing-like-it.address}`; there is no host `nothing-like-it` under `compute.hosts`: add it there
    "#]],
    );
    fault(
        "${service.wikki.url}",
        expect![[r#"
        9:46 unknown reference `${service.wikki.url}`; did you mean `${service.wiki.url}`?
    "#]],
    );
    fault(
        "${service.far.host}",
        expect![[r#"
        9:46 `${service.far.host}` has no value: service `far` has no `on`; add `on: …` to service `far`
    "#]],
    );
    fault(
        "${zone.server.subnet}",
        expect![[r#"
        9:46 unknown reference `${zone.server.subnet}`; did you mean `${zone.servers.subnet}`?
    "#]],
    );
    fault(
        "${zone.servers.interface}",
        expect![[r#"
        9:46 `${zone.servers.interface}` has no value: zone `servers` has no `interface`; add `interface: …` to zone `servers`
    "#]],
    );
    fault(
        "${secret.}",
        expect![[r#"
        9:46 unknown reference `${secret.}`; name the secret: `${secret.NAME}`
    "#]],
    );
    fault(
        "${secrets.pg}",
        expect![[r#"
        9:46 unknown reference `${secrets.pg}`; did you mean `${secret.…}`?
    "#]],
    );
    fault(
        "${prot}",
        expect![[r#"
        9:46 unknown reference `${prot}`; did you mean `${port}`?
    "#]],
    );
    fault(
        "${HOME}",
        expect![[r#"
            9:46 unknown reference `${HOME}`; write `$${` for a literal `${`; references are `${host.NAME.address}`, `${service.NAME.url}`, `${zone.NAME.subnet}`, `${secret.NAME}`, `${public.NAME}`, `${env}`, `${port}`, `${lab}` and `${domain}`
        "#]],
    );
    fault(
        "${}",
        expect![[r#"
            9:46 unknown reference `${}`; write `$${` for a literal `${`; references are `${host.NAME.address}`, `${service.NAME.url}`, `${zone.NAME.subnet}`, `${secret.NAME}`, `${public.NAME}`, `${env}`, `${port}`, `${lab}` and `${domain}`
        "#]],
    );
    fault(
        "${env.x}",
        expect![[r#"
            9:46 unknown reference `${env.x}`; write `$${` for a literal `${`; references are `${host.NAME.address}`, `${service.NAME.url}`, `${zone.NAME.subnet}`, `${secret.NAME}`, `${public.NAME}`, `${env}`, `${port}`, `${lab}` and `${domain}`
        "#]],
    );
    fault(
        "and ${open",
        expect![[r#"
        9:50 `${` has no closing `}`; close it, or write `$${` for a literal `${`
    "#]],
    );
    fault(
        "${a ${port}",
        expect![[r#"
            9:46 `${` has no closing `}`; close it, or write `$${` for a literal `${`
            9:50 `${port}` has no value: this service has no `port`; add `port: 8080` to the service
        "#]],
    );
}

#[test]
fn a_circle_of_references() {
    check(
        "services:\n  a: { use: x, url: \"${service.b.url}\" }\n  b: { use: x, url: \"${service.a.url}\" }\n",
        expect![[r#"
            error LW-LAB-008 at lab.yaml:2:22..2:38
              `${service.b.url}` leads round in a circle
              help: write one of the values out
            error LW-LAB-008 at lab.yaml:3:22..3:38
              `${service.a.url}` leads round in a circle
              help: write one of the values out
        "#]],
    );
}

#[test]
fn a_script_is_one_finding_at_its_first_line() {
    check(
        "\
compute:
  hosts:
    a:
      files:
        /usr/local/bin/x:
          content: |
            #!/bin/sh
            echo $HOME ${HOME}
            for x in \"${@}\"; do echo \"${x:-none}\"; done
            echo ${host.a.name} ${host.a.zone}
",
        expect![[r#"
            error LW-LAB-008 at lab.yaml:8:24..8:31
              unknown reference `${HOME}`
              help: write `$${` for a literal `${`; references are `${host.NAME.address}`, `${service.NAME.url}`, `${zone.NAME.subnet}`, `${secret.NAME}`, `${public.NAME}`, `${env}`, `${port}`, `${lab}` and `${domain}`
              lab.yaml:9:23..9:27: unknown reference `${@}`
              lab.yaml:9:39..9:49: unknown reference `${x:-none}`
            error LW-LAB-008 at lab.yaml:10:33..10:47
              `${host.a.zone}` has no value: host `a` has no `zone`
              help: add `zone: …` to host `a`
        "#]],
    );
}

#[test]
fn ports_mean_something_only_in_a_service() {
    check(
        "compute: { hosts: { a: { hostname: \"${port}\" } } }\n",
        expect![[r#"
        error LW-LAB-008 at lab.yaml:1:37..1:44
          unknown reference `${port}`
          help: `${port}` means something only inside a service
    "#]],
    );
}

#[test]
fn containers_keep_references_of_their_own_when_escaped() {
    let parsed = clean("services: { a: { containers: { db: { image: x, command: \"echo $${HOSTNAME}\" } } } }\n");
    assert_eq!(parsed.lab.services["a"].containers.0["db"]["command"], "echo $${HOSTNAME}");
}
