//! Compose files on a real Docker engine: what runs, and that the engine is told what `docker compose` tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use expect_test::expect;
use labwright_testkit::engine::REGISTRY;
use serde_json::Value;

use crate::docker::{CHECK, SERVE};
use crate::stacks::Safe;

const WIKI: &str = "
x-common: &common
  restart: unless-stopped
  environment: { TZ: Europe/Oslo, MODE: '${MODE:-plain}' }
services:
  web:
    <<: *common
    image: REG/app:1
    env_file: web.env
    depends_on: { db: { condition: service_healthy }, init: { condition: service_completed_successfully } }
    ports: [\"8080:80\", \"127.0.0.1:9000-9001:9000-9001/udp\"]
    volumes:
      - ./site:/site:ro
      - ./settings.ini:/etc/settings.ini
      - ./cache:/cache
      - data:/data
      - { type: tmpfs, target: /scratch, tmpfs: { size: 1m, mode: 0o1777 } }
    configs: [{ source: motd, target: /etc/motd, mode: 0o444 }]
    secrets: [key]
    networks: { front: { aliases: [wiki] }, back: }
    deploy: { resources: { limits: { cpus: '0.5', memory: 64M, pids: 50 } } }
    labels: { team: ops }
    cap_drop: [ALL]
    extra_hosts: ['nas:10.0.0.9']
    ulimits: { nofile: { soft: 1024, hard: 2048 } }
    sysctls: { net.core.somaxconn: 512 }
    stop_grace_period: 3s
    init: true
    expose: ['9999']
    logging: { driver: json-file, options: { max-size: 1m } }
    group_add: ['44']
    tmpfs: ['/tmp2:size=1m']
    dns: [9.9.9.9]
    hostname: wikibox
    working_dir: /tmp
    user: '0:0'
    read_only: true
    security_opt: ['no-new-privileges:true']
  db:
    <<: *common
    image: REG/app:1
    networks: [back]
    healthcheck: { test: [CMD, /bin/true], interval: 300ms, timeout: 2s, retries: 3, start_period: 1s }
    volumes: ['dbdata:/var/lib/db']
    shm_size: 32m
  init: { image: 'REG/app:1', command: [/bin/true], network_mode: none }
  tool: { image: 'REG/app:1', profiles: [tools] }
  side: { image: 'REG/app:1', network_mode: 'service:web' }
networks:
  front: { driver_opts: { com.docker.network.bridge.name: lwfront } }
  back: { internal: true, ipam: { config: [{ subnet: 172.30.9.0/24, gateway: 172.30.9.1 }] }, labels: { of: wiki } }
volumes: { data: { labels: { kind: data } }, dbdata: {} }
configs: { motd: { content: \"welcome\\n\" } }
secrets: { key: { file: ./key.txt } }
";

fn wiki(safe: &Safe) {
    let desk = &safe.dock.desk;
    desk.write("wiki/compose.yaml", WIKI.replace("REG", REGISTRY));
    desk.write("wiki/.env", "MODE=fancy\n");
    desk.write("wiki/web.env", "NAME=\"a wiki\"\nTZ=UTC\n");
    desk.write("wiki/key.txt", "canary-in-a-file");
    desk.write("wiki/site/index.html", "hello\n");
    desk.write("wiki/site/js/app.js", "one()\n");
    desk.write("wiki/settings.ini", "[a]\n");
    safe.lab("{}", "wiki: { on: here, compose: wiki/compose.yaml, folder: FOLDER }");
}

#[test]
fn a_compose_file_runs_with_all_that_lies_beside_it() {
    let safe = Safe::new();
    safe.dock.engine.publish("app:1", &[SERVE]).unwrap();
    wiki(&safe);
    safe.run(&["secret", "init"]).code(0);
    safe.apply().code(0).says_not("canary");
    safe.settled();
    let web = "wiki-web-1";
    assert_eq!(
        safe.exec(web, &["/bin/cat", "/site/index.html", "/site/js/app.js", "/etc/motd", "/run/secrets/key"]),
        "hello\none()\nwelcome\ncanary-in-a-file"
    );
    let env = safe.exec(web, &["/bin/env"]);
    for line in ["MODE=fancy", "NAME=a wiki", "TZ=Europe/Oslo"] {
        assert!(env.contains(line), "{env}");
    }
    let up = safe.dock.engine.docker(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]).unwrap();
    let mut up: Vec<&str> = up.lines().collect();
    up.sort_unstable();
    assert_eq!(up, ["wiki-db-1 running", "wiki-init-1 exited", "wiki-side-1 running", "wiki-web-1 running"]);
    let id = |name: &str| safe.dock.inspect("{{.Id}}", name);

    // What the container writes to its own file is its own; a folder that is only read is the lab's.
    let (web_id, side_id, db_id) = (id(web), id("wiki-side-1"), id("wiki-db-1"));
    safe.exec(web, &["/bin/sh", "-c", "echo '[b]' >> /etc/settings.ini; echo kept > /cache/x; echo kept > /data/x"]);
    safe.settled();
    safe.dock.desk.write("wiki/site/js/app.js", "two()\n");
    safe.run(&["plan"]).code(0).says("2 to replace").says("files");
    safe.apply().code(0);
    safe.settled();
    assert_eq!(safe.exec(web, &["/bin/cat", "/site/js/app.js", "/cache/x", "/data/x"]), "two()\nkept\nkept");
    assert!(id(web) != web_id && id("wiki-side-1") != side_id, "who lives in its network is made anew with it");
    assert_eq!(id("wiki-db-1"), db_id);
    // Both wrote to it: nobody but a person can tell.
    safe.dock.desk.write("wiki/settings.ini", "[c]\n");
    safe.run(&["plan"]).says("was written to on the host, and has new content in the lab as well");
    fs::remove_file(safe.dock.desk.path("stack/settings.ini")).unwrap();
    safe.apply().code(0);
    safe.settled();
    assert_eq!(safe.exec(web, &["/bin/cat", "/etc/settings.ini"]), "[c]");
}

/// What differs from one run to the next, or is the engine's own.
const PASSING: &[&str] = &[
    ".Id",
    ".Created",
    ".State.",
    ".ResolvConfPath",
    ".HostnamePath",
    ".HostsPath",
    ".LogPath",
    ".GraphDriver.",
    ".Image",
    ".NetworkSettings.Sandbox",
    ".NetworkSettings.EndpointID",
    ".NetworkSettings.IPAddress",
    ".RestartCount",
    ".ExecIDs",
    ".NetworkSettings.Gateway",
    ".NetworkSettings.MacAddress",
    ".Name",
];

/// Every value of an inspect by its path.
fn leaves(path: String, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| leaves(format!("{path}.{name}"), value, into));
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            // A list of mounts has no order that means anything.
            let mut items: Vec<&Value> = items.iter().collect();
            items.sort_by_key(|item| item["Destination"].to_string());
            items.iter().enumerate().for_each(|(n, item)| leaves(format!("{path}[{n}]"), item, into));
        }
        Value::Array(items) => {
            let mut items: Vec<String> = items.iter().map(Value::to_string).collect();
            items.sort();
            into.insert(path, format!("[{}]", items.join(", ")));
        }
        other => drop(into.insert(path, other.to_string())),
    }
}

/// What an engine shows of a container, without what passes.
fn shown(safe: &Safe, name: &str) -> BTreeMap<String, String> {
    let text = safe.dock.inspect("{{json .}}", name);
    let id = safe.dock.inspect("{{.Id}}", name);
    let text = text.replace(&id, "ID").replace(&id[..12], "ID");
    let text = text.replace(safe.dock.desk.dir.path().to_str().unwrap(), "DESK");
    let mut all = BTreeMap::new();
    leaves(String::new(), &serde_json::from_str(&text).unwrap(), &mut all);
    let passes = |path: &str| {
        let of_network = ["EndpointID", "NetworkID", "IPAddress", "MacAddress", "Gateway", "DNSNames", "IPPrefixLen"];
        PASSING.iter().any(|front| path.starts_with(front))
            || (path.starts_with(".NetworkSettings.Networks.") && of_network.iter().any(|end| path.ends_with(end)))
    };
    all.retain(|path, value| !passes(path) && !matches!(value.as_str(), "null" | "[]" | "{}" | "\"\"" | "false" | "0"));
    all
}

/// Digests and ids are other ones each time.
fn masked(text: &str) -> String {
    let mut out = String::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
        let hex = part.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
        match hex.len() >= 16 {
            true => out += &format!("HASH{}", &part[hex.len()..]),
            false => out += part,
        }
    }
    out
}

/// A file that Compose of old and the engine of this machine can do all of.
const PEER: &str = "
version: '2.4'
services:
  web:
    image: REG/app:1
    env_file: web.env
    environment: { MODE: fancy }
    depends_on: { db: { condition: service_healthy } }
    ports: ['127.0.0.1:8080:80', '127.0.0.1:9000-9001:9000-9001/udp']
    volumes: ['./site:/site:ro', './cache:/cache', 'data:/data', '/srv/lw-peer:/srv:ro']
    networks: { front: { aliases: [wiki] }, back: { ipv4_address: 172.30.9.9 } }
    labels: { team: ops }
    cap_drop: [ALL]
    cap_add: [NET_BIND_SERVICE]
    extra_hosts: ['nas:10.0.0.9']
    ulimits: { nofile: { soft: 1024, hard: 2048 }, nproc: 65535 }
    sysctls: { net.core.somaxconn: 512 }
    stop_grace_period: 3s
    stop_signal: SIGINT
    init: true
    expose: ['9999']
    logging: { driver: json-file, options: { max-size: 1m } }
    group_add: ['44']
    tmpfs: ['/tmp2:size=1m']
    dns: [9.9.9.9]
    dns_search: [lab.home.arpa]
    hostname: wikibox
    domainname: lab.home.arpa
    working_dir: /tmp
    user: '0:0'
    read_only: true
    security_opt: ['no-new-privileges:true']
    mem_limit: 64m
    mem_reservation: 32m
    cpus: 0.5
    cpu_shares: 512
    pids_limit: 50
    oom_score_adj: 100
    shm_size: 32m
    restart: on-failure:3
    tty: true
    stdin_open: true
    ipc: private
    entrypoint: [/bin/sh, -c]
    command: ['trap exit TERM; while true; do sleep 0.1; done']
    devices: ['/dev/null:/dev/lw-null:r']
    device_cgroup_rules: ['c 1:3 rm']
  db:
    image: REG/app:1
    networks: [back]
    healthcheck: { test: [CMD, /bin/true], interval: 300ms, timeout: 2s, retries: 3, start_period: 1s }
    volumes: ['dbdata:/var/lib/db']
  side: { image: 'REG/app:1', network_mode: 'service:web', pid: host }
networks:
  front: { driver_opts: { com.docker.network.bridge.name: lwfront } }
  back: { internal: true, ipam: { config: [{ subnet: 172.30.9.0/24, gateway: 172.30.9.1 }] } }
volumes: { data: {}, dbdata: {} }
";

#[test]
fn the_engine_is_told_what_docker_compose_tells_it() {
    let safe = Safe::new();
    safe.dock.engine.publish("app:1", &["ENV FROM=image", SERVE, CHECK]).unwrap();
    let desk = &safe.dock.desk;
    // One folder for both: what is beside the file is the same file.
    desk.write("stack/docker-compose.yml", PEER.replace("REG", REGISTRY));
    desk.write("stack/web.env", "NAME=a wiki\n");
    desk.write("stack/site/index.html", "hello\n");
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let compose_5 = labwright_testkit::engine::compose_5(folder).unwrap();
    let services = ["web", "db", "side"];
    let made_by = |program: &std::path::Path, joint: &str| -> Vec<BTreeMap<String, String>> {
        let run = |args: &[&str]| {
            let mut command = Command::new(program);
            command.current_dir(desk.path("stack")).args(["-p", "peer"]).args(args);
            command.env("DOCKER_HOST", format!("unix://{}", safe.dock.engine.socket().display()));
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        run(&["up", "-d"]);
        let made = services.iter().map(|service| shown(&safe, &format!("peer{joint}{service}{joint}1"))).collect();
        run(&["down", "-v"]);
        made
    };
    let of_old = made_by("docker-compose".as_ref(), "_");
    let of_5 = made_by(&compose_5, "-");
    let lab =
        format!("peer: {{ on: here, compose: stack/docker-compose.yml, folder: {} }}", desk.path("stack").display());
    safe.dock.lab(&lab);
    safe.apply().code(0);
    safe.settled();
    let mut differences = String::new();
    for (service, (of_old, of_5)) in services.iter().zip(of_old.iter().zip(&of_5)) {
        let ours = shown(&safe, &format!("peer-{service}-1"));
        let paths: BTreeSet<&String> = of_old.keys().chain(of_5.keys()).chain(ours.keys()).collect();
        for path in paths {
            let (old, new, ours) = (of_old.get(path), of_5.get(path), ours.get(path));
            // One of them says the same.
            if ours != old && ours != new {
                let say = |value: Option<&String>| value.map_or("-".to_string(), |value| masked(value));
                differences +=
                    &format!("{service}{path}\n  1.29 {}\n  5.6  {}\n  ours {}\n", say(old), say(new), say(ours));
            }
        }
    }
    expect![[r#"
        web.Config.Image
          1.29 "127.0.0.1:5000/app:1"
          5.6  "127.0.0.1:5000/app:1"
          ours "127.0.0.1:5000/app@sha256:HASH"
        web.Config.Labels.com.docker.compose.config-hash
          1.29 "HASH"
          5.6  "HASH"
          ours "HASH"
        web.Config.Labels.com.docker.compose.project.config_files
          1.29 "docker-compose.yml"
          5.6  "DESK/stack/docker-compose.yml"
          ours "lab.yaml"
        web.Config.Labels.com.docker.compose.version
          1.29 "1.29.2"
          5.6  "5.6.1"
          ours "2.0.0"
        web.Config.Labels.dev.labwright.image
          1.29 -
          5.6  -
          ours "127.0.0.1:5000/app:1@sha256:HASH"
        web.Config.Labels.dev.labwright.resource
          1.29 -
          5.6  -
          ours "peer-web-1"
        db.Config.Image
          1.29 "127.0.0.1:5000/app:1"
          5.6  "127.0.0.1:5000/app:1"
          ours "127.0.0.1:5000/app@sha256:HASH"
        db.Config.Labels.com.docker.compose.config-hash
          1.29 "HASH"
          5.6  "HASH"
          ours "HASH"
        db.Config.Labels.com.docker.compose.project.config_files
          1.29 "docker-compose.yml"
          5.6  "DESK/stack/docker-compose.yml"
          ours "lab.yaml"
        db.Config.Labels.com.docker.compose.version
          1.29 "1.29.2"
          5.6  "5.6.1"
          ours "2.0.0"
        db.Config.Labels.dev.labwright.image
          1.29 -
          5.6  -
          ours "127.0.0.1:5000/app:1@sha256:HASH"
        db.Config.Labels.dev.labwright.resource
          1.29 -
          5.6  -
          ours "peer-db-1"
        db.HostConfig.RestartPolicy.Name
          1.29 -
          5.6  -
          ours "no"
        side.Config.Image
          1.29 "127.0.0.1:5000/app:1"
          5.6  "127.0.0.1:5000/app:1"
          ours "127.0.0.1:5000/app@sha256:HASH"
        side.Config.Labels.com.docker.compose.config-hash
          1.29 "HASH"
          5.6  "HASH"
          ours "HASH"
        side.Config.Labels.com.docker.compose.project.config_files
          1.29 "docker-compose.yml"
          5.6  "DESK/stack/docker-compose.yml"
          ours "lab.yaml"
        side.Config.Labels.com.docker.compose.version
          1.29 "1.29.2"
          5.6  "5.6.1"
          ours "2.0.0"
        side.Config.Labels.dev.labwright.beside
          1.29 -
          5.6  -
          ours "{\"web\":\"HASH\"}"
        side.Config.Labels.dev.labwright.image
          1.29 -
          5.6  -
          ours "127.0.0.1:5000/app:1@sha256:HASH"
        side.Config.Labels.dev.labwright.resource
          1.29 -
          5.6  -
          ours "peer-side-1"
        side.HostConfig.NetworkMode
          1.29 "container:HASH"
          5.6  "container:HASH"
          ours "container:HASH"
        side.HostConfig.RestartPolicy.Name
          1.29 -
          5.6  -
          ours "no"
    "#]]
    .assert_eq(&differences);
}
