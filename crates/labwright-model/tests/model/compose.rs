//! What is said of Compose files: every finding with its place, and texts that nobody would write.

use expect_test::expect;
use labwright_model::compose::{Environment, Project, Reading};
use labwright_model::{Sources, Span, parse};
use proptest::prelude::*;

use crate::support::{InMemory, check, check_files, clean};

const LAB: &str = "services: { wiki: { compose: wiki/compose.yaml } }\n";

/// A lab whose one service is the Compose file.
fn check_compose(text: &str, expected: expect_test::Expect) {
    check_files(&[("lab.yaml", LAB), ("wiki/compose.yaml", text)], expected);
}

#[test]
fn a_missing_file_is_found_where_the_lab_names_it() {
    check_files(
        &[("lab.yaml", LAB)],
        expect![[r#"
        error LW-SVC-101 at lab.yaml:1:30..1:47 (services.wiki.compose)
          cannot read `wiki/compose.yaml`: no such file
          help: check the path; it is relative to the folder of the file that names it
    "#]],
    );
    check_files(
        &[
            ("lab.yaml", LAB),
            ("wiki/compose.yaml", "services: { a: { image: x, env_file: no.env, label_file: no } }\n"),
        ],
        expect![[r#"
            error LW-SVC-101 at wiki/compose.yaml:1:38..1:44 (services.wiki.compose)
              cannot read `wiki/no.env`: no such file
              help: check the path; it is relative to the folder of the file that names it
            error LW-SVC-101 at wiki/compose.yaml:1:58..1:60 (services.wiki.compose)
              cannot read `wiki/no`: no such file
              help: check the path; it is relative to the folder of the file that names it
        "#]],
    );
}

#[test]
fn unknown_and_unsupported_keys() {
    check_compose(
        "\
x-mine: { anything: goes }
version: '3'
servces: {}
models: { llm: { model: ai/x } }
services:
  a:
    image: x
    x-mine: 1
    prots: ['80:80']
    volumes_from: [b]
    blkio_config: { weight: 5 }
    healthcheck: { intervall: 5s }
    deploy: { endpoint_mode: dnsrr, mode: global, replica: 2 }
    build: { context: ., sbom: true }
  b: { build: . }
secrets: { s: { driver: x, file: y } }
",
        expect![[r#"
            advice LW-SVC-107 at wiki/compose.yaml:2:10..2:13 (services.wiki.compose.version)
              `version` has no effect any more
              help: remove the line
            error LW-LAB-002 at wiki/compose.yaml:3:1..3:8 (services.wiki.compose.servces)
              unknown key `servces` in `compose`
              help: did you mean `services`?
            error LW-SVC-102 at wiki/compose.yaml:4:1..4:7 (services.wiki.compose.models)
              `models` is not supported
              help: run the model as a service of its own
            error LW-LAB-002 at wiki/compose.yaml:9:5..9:10 (services.wiki.compose.services.a.prots)
              unknown key `prots` in `a`
              help: did you mean `ports`?
            error LW-SVC-102 at wiki/compose.yaml:10:5..10:17 (services.wiki.compose.services.a.volumes_from)
              `volumes_from` is not supported
              help: list the volumes in both services
            error LW-SVC-102 at wiki/compose.yaml:11:5..11:17 (services.wiki.compose.services.a.blkio_config)
              `blkio_config` is not supported
              help: limit input and output on the host
            error LW-LAB-002 at wiki/compose.yaml:12:20..12:29 (services.wiki.compose.services.a.healthcheck.intervall)
              unknown key `intervall` in `healthcheck`
              help: did you mean `interval`?
            warning LW-SVC-108 at wiki/compose.yaml:13:30..13:35 (services.wiki.compose.services.a.deploy.endpoint_mode)
              only a swarm heeds `deploy.endpoint_mode`; it is left out
              help: remove it
            warning LW-SVC-108 at wiki/compose.yaml:13:43..13:49 (services.wiki.compose.services.a.deploy.mode)
              only a swarm heeds `deploy.mode`; it is left out
              help: remove it
            error LW-LAB-002 at wiki/compose.yaml:13:51..13:58 (services.wiki.compose.services.a.deploy.replica)
              unknown key `replica` in `deploy`
              help: did you mean `replicas`?
            advice LW-SVC-106 at wiki/compose.yaml:14:12..14:38 (services.wiki.compose.services.a.build)
              `build` is left out: `x` must be in a registry already
              help: images are built elsewhere; the rest of the service is as it says
            error LW-SVC-102 at wiki/compose.yaml:14:26..14:30 (services.wiki.compose.services.a.build.sbom)
              `sbom` is not supported
              help: build the image elsewhere
            error LW-SVC-106 at wiki/compose.yaml:15:15..15:16 (services.wiki.compose.services.b.build)
              the image of `b` would have to be built, and images are built elsewhere
              help: build and push it where your other images are built, and name it: `image: REGISTRY/NAME:TAG`
            error LW-SVC-102 at wiki/compose.yaml:16:17..16:23 (services.wiki.compose.secrets.s.driver)
              `driver` is not supported
              help: use `file` or `environment`
        "#]],
    );
}

#[test]
fn values_of_the_wrong_kind() {
    check_compose(
        "\
services:
  a:
    image: x
    ports: ['80:http', '1-3:1-2', '1.2.3:80:80', { target: 80, published: x }]
    volumes: ['a:b:c:d', 'n:/x', '/x:/y:rx']
    restart: on_failure
    mem_limit: 5 apples
    stop_grace_period: 10
    cap_add: NET_ADMIN
    environment: [A: 1]
    healthcheck: { test: [curl, x] }
    command: 'a && b'
    entrypoint: \"echo 'x\"
    privileged: maybe
    depends_on: { b: { condition: service_started_up } }
    devices: ['a:b:c:d']
    labels: { version: 1.10, mode: 002 }
  b/c: { image: x }
",
        expect![[r#"
            error LW-LAB-004 at wiki/compose.yaml:4:13..4:22 (services.wiki.compose.services.a.ports)
              `ports` must be a port, found `80:http`
              help: write `8080:80`, `127.0.0.1:8080:80`, `53:53/udp` or `9000-9010:9000-9010`
            error LW-LAB-004 at wiki/compose.yaml:4:24..4:33 (services.wiki.compose.services.a.ports)
              `ports` must be a port, found `1-3:1-2`
              help: both ranges must have the same length
            error LW-LAB-004 at wiki/compose.yaml:4:35..4:48 (services.wiki.compose.services.a.ports)
              `ports` must be a port, found `1.2.3:80:80`
              help: `1.2.3` is no IP address; write `8080:80`, `127.0.0.1:8080:80`, `53:53/udp` or `9000-9010:9000-9010`
            error LW-LAB-004 at wiki/compose.yaml:4:75..4:76 (services.wiki.compose.services.a.ports.3.published)
              `published` must be a port of the host, or a range of ports, found `x`
            error LW-LAB-004 at wiki/compose.yaml:5:15..5:24 (services.wiki.compose.services.a.volumes)
              `volumes` must be in the short or the long form, found `a:b:c:d`
              help: write `volume:/path`, `./folder:/path:ro` or `/path`
            error LW-LAB-004 at wiki/compose.yaml:5:26..5:32 (services.wiki.compose.services.a.volumes)
              `volumes` must be in the short or the long form, found `n:/x`
              help: Compose takes one letter for a drive of Windows: give the volume a longer name
            error LW-LAB-004 at wiki/compose.yaml:5:34..5:44 (services.wiki.compose.services.a.volumes)
              `volumes` must be in the short or the long form, found `/x:/y:rx`
              help: `rx` is no option of a volume: `ro`, `rw`, `z`, `Z`, `nocopy`, `rslave`
            error LW-LAB-004 at wiki/compose.yaml:6:14..6:24 (services.wiki.compose.services.a.restart)
              `restart` must be `no`, `always`, `unless-stopped` or `on-failure`, found `on_failure`
              help: write `on-failure`
            error LW-LAB-004 at wiki/compose.yaml:7:16..7:24 (services.wiki.compose.services.a.mem_limit)
              `mem_limit` must be a size, found `5 apples`
              help: for example `512m`, `2g` or a number of bytes
            error LW-LAB-004 at wiki/compose.yaml:8:24..8:26 (services.wiki.compose.services.a.stop_grace_period)
              `stop_grace_period` must be a duration with its unit, found `10`
              help: write `10s`
            error LW-LAB-004 at wiki/compose.yaml:9:14..9:23 (services.wiki.compose.services.a.cap_add)
              `cap_add` must be a list, found `NET_ADMIN`
              help: write `[NET_ADMIN]`
            error LW-LAB-004 at wiki/compose.yaml:10:19..10:23 (services.wiki.compose.services.a.environment)
              `environment` must be a list of `NAME=value`, found a map
              help: write `NAME=value` in a list, or leave out the dashes
            error LW-LAB-004 at wiki/compose.yaml:11:26..11:35 (services.wiki.compose.services.a.healthcheck.test)
              `test` must be a list that starts with CMD, CMD-SHELL or NONE, found a list
              help: write `[CMD, program, argument]`, or one line of text for a shell
            error LW-SVC-110 at wiki/compose.yaml:12:14..12:22 (services.wiki.compose.services.a.command)
              no shell reads this command: Compose leaves out everything from `&` on
              help: write `[sh, -c, "…"]`, or quote the character
            error LW-LAB-004 at wiki/compose.yaml:13:17..13:26 (services.wiki.compose.services.a.entrypoint)
              `entrypoint` must be a command, found `echo 'x`
              help: close every quote, and quote parentheses; or write a list: `[program, argument]`
            error LW-LAB-004 at wiki/compose.yaml:14:17..14:22 (services.wiki.compose.services.a.privileged)
              `privileged` must be true or false, found `maybe`
            error LW-SVC-105 at wiki/compose.yaml:15:19..15:20 (services.wiki.compose.services.a.depends_on)
              there is no service `b` in this project
              help: name a service of this project
            error LW-LAB-004 at wiki/compose.yaml:15:35..15:53 (services.wiki.compose.services.a.depends_on.b.condition)
              `condition` must be one of service_started, service_healthy, service_completed_successfully, found `service_started_up`
              help: did you mean `service_started`?
            error LW-LAB-004 at wiki/compose.yaml:16:15..16:24 (services.wiki.compose.services.a.devices)
              `devices` must be in the short or the long form, found `a:b:c:d`
              help: write `/dev/ttyUSB0:/dev/ttyUSB0`, or `source:` and `target:` where a path has a colon
            warning LW-SVC-110 at wiki/compose.yaml:17:24..17:28 (services.wiki.compose.services.a.labels.version)
              `1.10` is no text to Compose, which makes `1.1` of it
              help: quote it if you mean the text: `"1.10"`
            warning LW-SVC-110 at wiki/compose.yaml:17:36..17:39 (services.wiki.compose.services.a.labels.mode)
              `002` is no text to Compose, which makes `2` of it
              help: quote it if you mean the text: `"002"`
            error LW-LAB-004 at wiki/compose.yaml:18:3..18:6 (services.wiki.compose.services.b/c)
              `b/c` cannot be the name of a service
              help: use letters, digits, `.`, `_` and `-`
        "#]],
    );
}

#[test]
fn names_and_contradictions() {
    check_compose(
        "\
services:
  a:
    image: x
    networks: [fornt]
    volumes: ['dta:/x', './y:/y']
    secrets: [s]
    configs: [c]
    depends_on: [b, d]
    container_name: one
    scale: 2
    ports: ['80:80']
    mem_limit: 1g
    deploy: { resources: { limits: { memory: 2g } } }
  b: { image: x, depends_on: [c], network_mode: host, networks: [front], ports: ['127.0.0.1:80:81'] }
  c: { image: x, network_mode: 'service:a', ports: ['81:81'], links: [a], container_name: one }
networks: { front: , out: { external: true, driver: bridge } }
volumes: { data: }
secrets: { t: {}, u: { file: a, environment: b } }
",
        expect![[r#"
            error LW-SVC-105 at wiki/compose.yaml:4:16..4:21 (services.wiki.compose.services.a.networks)
              there is no network `fornt` in this project
              help: did you mean `front`?
            error LW-SVC-105 at wiki/compose.yaml:5:15..5:23 (services.wiki.compose.services.a.volumes)
              there is no volume `dta` in this project
              help: did you mean `data`?
            error LW-SVC-105 at wiki/compose.yaml:6:15..6:16 (services.wiki.compose.services.a.secrets)
              there is no secret `s` in this project
              help: declare it at the top level: `secrets: { s: {} }`
            error LW-SVC-105 at wiki/compose.yaml:7:15..7:16 (services.wiki.compose.services.a.configs)
              there is no config `c` in this project
              help: declare it at the top level: `configs: { c: {} }`
            error LW-SVC-105 at wiki/compose.yaml:8:21..8:22 (services.wiki.compose.services.a.depends_on)
              there is no service `d` in this project
              help: name a service of this project
            error LW-SVC-109 at wiki/compose.yaml:9:21..9:24 (services.wiki.compose.services.a.container_name)
              2 containers cannot all be named `one`
              help: remove `container_name`
            error LW-SVC-109 at wiki/compose.yaml:12:16..12:18 (services.wiki.compose.services.a.mem_limit)
              `mem_limit` and `deploy.resources.limits.memory` say different things
              help: keep one of the two
            error LW-SVC-109 at wiki/compose.yaml:14:66..14:71 (services.wiki.compose.services.b.networks)
              `b` has `network_mode: host` and `networks`
              help: keep one of the two
            error LW-SVC-109 at wiki/compose.yaml:14:82..14:99 (services.wiki.compose.services.b.ports)
              `b` and `a` both publish port 80/tcp
              help: give one of them another port of the host
              wiki/compose.yaml:11:13..11:20: first published here
            error LW-SVC-109 at wiki/compose.yaml:15:53..15:60 (services.wiki.compose.services.c.ports)
              `c` has the network of the service `a`, so it cannot publish ports itself
              help: move the port to the service `a`
            advice LW-SVC-107 at wiki/compose.yaml:15:71..15:72 (services.wiki.compose.services.c.links)
              `links` is a form of old: containers of one network find one another by name
              help: remove it, and put both into one network; further names are `aliases` there
            error LW-SVC-109 at wiki/compose.yaml:15:71..15:72 (services.wiki.compose.services.c.depends_on)
              services wait for one another in a circle: `a` → `b` → `c` → `a`
              help: remove one of these dependencies
            error LW-SVC-109 at wiki/compose.yaml:15:91..15:94 (services.wiki.compose.services.c.container_name)
              two containers cannot both be named `one`
              help: rename one of them, or remove both names
              wiki/compose.yaml:9:21..9:24: first used here
            error LW-SVC-109 at wiki/compose.yaml:16:22..16:25 (services.wiki.compose.networks.out)
              the network `out` is made by somebody else, so it cannot be described here
              help: keep `external` and `name` alone
            error LW-LAB-007 at wiki/compose.yaml:18:12..18:13 (services.wiki.compose.secrets.t)
              `t` has no content
              help: write `file: PATH`, `environment: NAME` or `external: true`
            error LW-SVC-109 at wiki/compose.yaml:18:19..18:20 (services.wiki.compose.secrets.u)
              `u` has its content from several places
              help: keep one of them
        "#]],
    );
}

#[test]
fn variables() {
    let text = "\
services:
  a:
    image: x:${TAG}
    hostname: ${HOST:?say which}
    command: echo $$HOME ${
    user: ${WHO:-$NOBODY}
";
    let files = [("lab.yaml", LAB), ("wiki/compose.yaml", text), ("wiki/.env", "A=1\nB=${C}\n=x\n")];
    check_files(
        &files,
        expect![[r#"
            error LW-SVC-103 at wiki/.env:3:1..3:1 (services.wiki.compose)
              this line is no variable
              help: write `NAME=value`, one on each line
            warning LW-SVC-103 at wiki/compose.yaml:3:14..3:19 (services.wiki.compose)
              the variables `TAG` and `NOBODY` are not set: an empty text stands where each is used
              help: write `NAME=…` for each into the `.env` beside the Compose file, or `${TAG:-default}`; a literal `$` is `$$`
              wiki/compose.yaml:6:18..6:25: `NOBODY` is used here
            error LW-SVC-103 at wiki/compose.yaml:4:15..4:21 (services.wiki.compose)
              the variable `HOST` has no value: say which
              help: write `HOST=…` into the `.env` beside the Compose file
            error LW-SVC-103 at wiki/compose.yaml:5:26..5:28 (services.wiki.compose)
              `${` is no reference to a variable
              help: write `${NAME}` or `${NAME:-default}`, and `$$` for a literal `$`
        "#]],
    );
}

#[test]
fn variables_without_a_value_are_told_once_for_a_file() {
    let text = "\
services:
  a:
    image: x:${TAG}
    hostname: ${HOST}
    # labwright: allow LW-SVC-103 because it may be empty
    user: ${WHO}
    environment: { A: \"${TAG}\", B: \"${secret.pg}\" }
";
    let parsed = parse("lab.yaml", &InMemory::of(&[("lab.yaml", LAB), ("wiki/compose.yaml", text)]));
    let told: Vec<_> = parsed.findings.iter().filter(|finding| finding.code == "LW-SVC-103").collect();
    let folded: Vec<_> = told.iter().filter(|finding| finding.message.starts_with("the variables")).collect();
    assert_eq!(folded.len(), 1, "{told:?}");
    assert!(folded[0].message.contains("`TAG` and `HOST`") && !folded[0].message.contains("WHO"), "{folded:?}");
    assert_eq!(folded[0].related.len(), 2);
    // What a comment accepts is told at its own line, and a reference to a secret says the way of a Compose file.
    assert!(told.iter().any(|finding| finding.message.contains("`WHO`") && finding.related.is_empty()), "{told:?}");
    assert!(told.iter().any(|finding| finding.help.contains("`secrets: { pg: { external: true } }`")), "{told:?}");
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn circles_and_dead_ends() {
    let text = "\
include: [other.yaml, { pth: x }, gone.yaml]
services:
  a: { extends: b, image: x }
  b: { extends: { service: a } }
  c: { extends: d, image: x }
  e: { extends: { file: base.yaml, service: wbe }, image: x }
  f: { image: x, ports: { a: b } }
";
    let files = [
        ("lab.yaml", LAB),
        ("wiki/compose.yaml", text),
        ("wiki/other.yaml", "include: [compose.yaml]\nservices: { f: { ports: ['1:1'] } }\n"),
        ("wiki/base.yaml", "services: { web: { image: x } }\n"),
    ];
    check_files(
        &files,
        expect![[r#"
        error LW-LAB-004 at wiki/compose.yaml:1:23..1:33 (services.wiki.compose)
          an include names no file
          help: write `- other.yaml`, or `- path: other.yaml`
        error LW-LAB-002 at wiki/compose.yaml:1:25..1:28 (services.wiki.compose)
          unknown key `pth` in `include`
          help: did you mean `path`?
        error LW-SVC-101 at wiki/compose.yaml:1:35..1:44 (services.wiki.compose)
          cannot read `wiki/gone.yaml`: no such file
          help: check the path; it is relative to the folder of the file that names it
        error LW-SVC-104 at wiki/compose.yaml:3:17..3:18 (services.wiki.compose)
          `extends` goes round in a circle: `wiki/compose.yaml: a` → `wiki/compose.yaml: b` → `wiki/compose.yaml: a`
          help: remove one of these `extends`
        error LW-SVC-104 at wiki/compose.yaml:5:17..5:18 (services.wiki.compose)
          there is no service `d` in `wiki/compose.yaml`
          help: name a service of that file
        error LW-SVC-104 at wiki/compose.yaml:6:45..6:48 (services.wiki.compose)
          there is no service `wbe` in `wiki/base.yaml`
          help: did you mean `web`?
        error LW-LAB-004 at wiki/compose.yaml:7:25..7:33 (services.wiki.compose.services.f.ports)
          `ports` is a map here, and a list where it comes from
          help: give both the same form, or replace the other one with `!override`
          wiki/other.yaml:2:25..2:32: merged with this
        error LW-LAB-004 at wiki/compose.yaml:7:25..7:33 (services.wiki.compose.services.f.ports)
          `ports` must be a list of ports, found a map
          help: write each port on a line of its own: `- "8080:80"`
        error LW-SVC-104 at wiki/other.yaml:1:11..1:23 (services.wiki.compose)
          include goes round in a circle: `wiki/compose.yaml` → `wiki/other.yaml` → `wiki/compose.yaml`
          help: remove one of these includes
    "#]],
    );
}

#[test]
fn services_in_the_lab_file() {
    check(
        "services: { a: { containers: { db: { imge: x, volumes: ['data:/x'], networks: [n], depends_on: [w] } } } }\n",
        expect![[r#"
            error LW-LAB-007 at lab.yaml:1:32..1:34 (services.a.containers.db)
              the service `db` has no image
              help: add `image: NAME:TAG`
            error LW-LAB-002 at lab.yaml:1:38..1:42 (services.a.containers.db.imge)
              unknown key `imge` in `db`
              help: did you mean `image`?
            error LW-SVC-105 at lab.yaml:1:97..1:98 (services.a.containers.db.depends_on)
              there is no service `w` in this project
              help: name a service of this project
        "#]],
    );
    let parsed = clean(
        "services:\n  a:\n    containers:\n      db: { image: x, environment: { P: '${secret.pg}' }, volumes: ['data:/x', './y:/y'] }\n",
    );
    let project = &parsed.projects["a"];
    assert!(project.inline && project.volumes.contains_key("data"));
    let db = &project.services["db"];
    assert_eq!(db.environment["P"].value.as_deref(), Some("${secret.pg}"));
    assert_eq!(parsed.place(db.image.as_ref().unwrap().span).map(|place| (place.line, place.column)), Some((4, 20)));
}

#[test]
fn acceptances_count_in_compose_files() {
    let text = "services:\n  a:\n    # labwright: allow LW-SVC-103 because it may be empty\n    image: x${TAG}\n";
    let parsed = parse("lab.yaml", &InMemory::of(&[("lab.yaml", LAB), ("wiki/compose.yaml", text)]));
    assert_eq!((parsed.findings.len(), parsed.allows.len()), (1, 1));
    assert_eq!(parsed.findings[0].at, "services.wiki.compose");
}

/// Reads a text as a Compose file that can include and extend itself.
fn survives(text: &str) {
    let files = InMemory::of(&[("c/compose.yaml", text), ("c/other.yaml", text), ("c/.env", text)]);
    let environment: Environment = [("A", "${A}"), ("B", "")].into_iter().collect();
    let (mut sources, mut allows, mut findings) = (Sources::default(), Vec::new(), Vec::new());
    let mut reading = Reading {
        files: &files,
        environment: &environment,
        sources: &mut sources,
        allows: &mut allows,
        findings: &mut findings,
        at: &["services", "x", "compose"],
        placed: None,
    };
    let project = Project::read("x", &["c/compose.yaml"], Span::NONE, &mut reading);
    let _ = project.map(|project| project.to_canonical_json());
    for finding in &findings {
        let text = sources.get(finding.span.file).map(|source| source.text.as_str());
        let inside =
            text.is_some_and(|text| text.get(finding.span.start as usize..finding.span.end as usize).is_some());
        assert!(inside || finding.span.is_none(), "{finding:?}");
    }
}

#[test]
fn bombs_are_refused() {
    let mut aliases = String::from("x0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let before = format!("*a{}", level - 1);
        aliases += &format!("x{level}: &a{level} [{}]\n", [before.as_str(); 9].join(", "));
    }
    survives(&aliases);
    let many: String = (0..3000).map(|n| format!("  s{n}: {{ extends: base }}\n")).collect();
    let environment: String = (0..3000).map(|n| format!("      V{n}: x\n")).collect();
    survives(&format!("services:\n  base:\n    image: x\n    environment:\n{environment}{many}"));
    survives("include: [other.yaml, other.yaml]\nservices: { a: { extends: { file: other.yaml, service: a } } }\n");
    survives(&format!("services: {{ a: {{ image: \"{}\" }} }}", "${A:-".repeat(100_000)));
    let chain: String = (0..3000).map(|n| format!("  s{n}: {{ image: x, depends_on: [s{}] }}\n", n + 1)).collect();
    survives(&format!("services:\n{chain}"));
    let chain: String = (0..3000).map(|n| format!("  s{n}: {{ extends: s{} }}\n", n + 1)).collect();
    survives(&format!("services:\n{chain}"));
}

/// Pieces that files are made of.
fn piece() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "services:",
        "a:",
        "\n  ",
        "\n    ",
        "\n      ",
        "- ",
        "image: x",
        "ports:",
        "\"80:80\"",
        "8000-8100:1-2",
        "[::1]:1:1/udp",
        "volumes:",
        "./a:/b:ro",
        "environment:",
        "${A:-",
        "}",
        "${",
        "$$",
        "$A",
        "&x",
        "*x",
        "<<: *x",
        "!reset",
        "!override",
        "extends: a",
        "extends: { file: other.yaml, service: a }",
        "include: [other.yaml]",
        "depends_on: [a, b]",
        "command:",
        "'",
        "\"",
        "\\",
        "&& |",
        "mem_limit: 9999999999999999999p",
        "cpus: 1e999",
        "stop_grace_period: 99999999999999w",
        "healthcheck: { test: x }",
        "{",
        "}",
        "[",
        "]",
        ",",
        ": ",
        "null",
        "~",
        "0x",
        "-0",
        "é",
        "\u{feff}",
        "A=1",
        "secrets:",
        "ulimits: { a: { soft: 1 } }",
        "deploy: { replicas: -1 }",
        "networks: { default: }",
        "build: .",
        "env_file: .env",
    ]);
    prop_oneof![4 => words.prop_map(str::to_string), 1 => ".{0,12}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_ends_without_a_panic(pieces in prop::collection::vec(piece(), 0..60)) {
        survives(&pieces.concat());
        survives(&format!("services:\n  a:\n    {}", pieces.join(" ")));
        survives(&format!("services:\n  a:\n    image: x\n    {}", pieces.join("\n    ")));
    }
}
