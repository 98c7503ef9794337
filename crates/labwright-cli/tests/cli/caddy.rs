//! A real Caddy that is there already gets the lab's routes, and keeps its own.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use labwright_testkit::Host;
use serde_json::{Value as Json, json};

use crate::reverts::inside;
use crate::world::World;

/// A program on a host, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What was there before the lab: a site of somebody's own, on a port that the lab's names come to as well.
const CADDYFILE: &str = "{\n\tskip_install_trust\n}\nold.lab.test {\n\ttls internal\n\trespond \"from the old site\"\n}\n\
                         :443 {\n\ttls internal\n\trespond \"from nobody\"\n}\n";

fn wait(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(Instant::now() < until, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn api(host: &Host, arguments: &str) -> String {
    inside(host, &format!("curl -sS -m 20 {arguments} 2>&1"))
}

fn caddy(host: &Host, caddyfile: Option<&str>) -> Running {
    assert!(std::path::Path::new("/usr/bin/caddy").exists(), "missing: `caddy` (package caddy); run scripts/test-deps");
    let mut command = host.inside("caddy").unwrap();
    command.env("HOME", "/root").env("PATH", "/usr/bin:/bin").arg("run").stdin(Stdio::null());
    if let Some(text) = caddyfile {
        host.write("/root/Caddyfile", text).unwrap();
        command.args(["--config", "/root/Caddyfile", "--adapter", "caddyfile"]);
    }
    let log = std::fs::File::create(host.root_path().unwrap().join("root/caddy.log")).unwrap();
    let running = Running(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    wait("Caddy's admin API", || api(host, "-o /dev/null -w '%{http_code}' http://127.0.0.1:2019/config/") == "200");
    running
}

/// Two services on the host, which say who they are.
fn services(host: &Host) -> Vec<Running> {
    let serve = "import sys; from http.server import *\n\
                 class H(BaseHTTPRequestHandler):\n \
                 def do_GET(self):\n  \
                 body = (sys.argv[2] + ' ' + self.headers['Host'] + self.path).encode(); self.send_response(200)\n  \
                 self.send_header('Content-Length', str(len(body))); self.end_headers(); self.wfile.write(body)\n \
                 def log_message(self, *a): pass\n\
                 HTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()";
    let start = |port: &str, name: &str| {
        let mut command = host.inside("python3").unwrap();
        Running(command.args(["-c", serve, port, name]).stdin(Stdio::null()).spawn().unwrap())
    };
    vec![start("8001", "wiki"), start("8002", "map")]
}

fn lab(world: &World, proxy: &str, services: &str) {
    world.lab(&format!(
        "lab: test\ndomain: lab.test\nnetwork: {{ zones: {{ lan: {{ subnet: 10.99.0.0/24 }} }} }}\n\
         platform:\n  dns: {{ on: gate, service: names }}\n  reverse_proxy: {{ on: gate, software: caddy{proxy} }}\n\
         compute: {{ hosts: {{ gate: {{ zone: lan, address: 10.99.0.11 }} }} }}\nservices:\n  \
         names: {{ external: {{ provider: gate, level: 3 }} }}\n{services}"
    ));
}

const WIKI: &str = "  wiki: { url: [wiki, \"*.wiki.lab.test\"], expose: lan, external: { provider: x, level: 3 }, \
                    door: { to: \"http://127.0.0.1:8001\" } }\n";
const MAP: &str = "  map: { url: map, expose: lan, external: { provider: x, level: 3 }, \
                   door: { to: \"http://127.0.0.1:8002\" } }\n";

fn get(host: &Host, name: &str) -> String {
    api(host, &format!("-k --resolve {name}:443:127.0.0.1 https://{name}/x"))
}

fn config(host: &Host) -> Json {
    // Each change makes Caddy open this API anew, and whoever asks at that moment is cut off.
    serde_json::from_str(&api(host, "--retry 5 --retry-all-errors http://127.0.0.1:2019/config/")).unwrap()
}

/// Every route that is not the lab's, and whatever else is said of servers and certificates.
fn foreign(mut config: Json) -> Json {
    let ours = |value: &Json| value["@id"].as_str().is_some_and(|id| id.starts_with("labwright-"));
    let servers = config.pointer_mut("/apps/http/servers").and_then(Json::as_object_mut);
    for server in servers.into_iter().flat_map(|servers| servers.values_mut()) {
        server["routes"].as_array_mut().unwrap().retain(|route| !ours(route));
    }
    if let Some(policies) = config.pointer_mut("/apps/tls/automation/policies").and_then(Json::as_array_mut) {
        policies.retain(|policy| !ours(policy));
    }
    config
}

#[test]
fn a_caddy_that_is_there_gets_the_labs_routes_and_keeps_its_own() {
    let world = World::new();
    let host = world.net.light_host("gate").unwrap();
    let _services = services(&host);
    let _caddy = caddy(&host, Some(CADDYFILE));
    wait("the old site", || get(&host, "old.lab.test") == "from the old site");
    let before = config(&host);
    lab(&world, "", &format!("{WIKI}{MAP}"));
    world.run(&["plan"]).code(0).says("route wiki").says("route map").says("policy names");
    world.apply().code(0).says("forgets this when it restarts");
    wait("certificates", || get(&host, "map.lab.test") == "map map.lab.test/x");
    wait("certificates", || get(&host, "wiki.lab.test") == "wiki wiki.lab.test/x");
    wait("certificates", || get(&host, "a.wiki.lab.test") == "wiki a.wiki.lab.test/x");
    wait("the old site", || get(&host, "old.lab.test") == "from the old site");
    assert_eq!(foreign(config(&host)), before, "something that is not the lab's was changed");
    world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    // Who may not come in is told so.
    let outside = world
        .net
        .command("curl")
        .args(["-sSk", "-m", "20", "--resolve", "map.lab.test:443:10.99.0.11"])
        .args(["-o", "/dev/null", "-w", "%{http_code}", "https://map.lab.test/"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&outside.stdout), "200");

    // Changed by hand: shown as a difference, and set right. Others' changes stay.
    let upstream = r#"'[{"dial":"127.0.0.1:9"}]'"#;
    let routes = config(&host)["apps"]["http"]["servers"]["srv0"]["routes"].clone();
    let at = routes.as_array().unwrap().iter().position(|route| route["@id"] == "labwright-test-map").unwrap();
    let inner = routes[at]["handle"][0]["routes"].as_array().unwrap().len() - 1;
    let path = format!("/id/labwright-test-map/handle/0/routes/{inner}/handle/0/upstreams");
    assert_eq!(
        api(&host, &format!("-X PATCH -H 'Content-Type: application/json' -d {upstream} http://127.0.0.1:2019{path}")),
        ""
    );
    let own = r#"'{"@id":"mine","match":[{"host":["mine.lab.test"]}],"handle":[{"handler":"static_response","body":"mine"}],"terminal":true}'"#;
    assert_eq!(
        api(
            &host,
            &format!(
                "-X PUT -H 'Content-Type: application/json' -d {own} http://127.0.0.1:2019/config/apps/http/servers/srv0/routes/0"
            )
        ),
        ""
    );
    let changed = foreign(config(&host));
    world.run(&["drift"]).says("gate/caddy/route/map changed since the last apply").says("127.0.0.1:9");
    world.apply().code(0);
    wait("the route", || get(&host, "map.lab.test") == "map map.lab.test/x");
    assert_eq!(foreign(config(&host)), changed);

    // A name that somebody's own route answers to is not taken away from it.
    lab(&world, "", &format!("{WIKI}{MAP}{}", MAP.replace("map", "old")));
    world
        .run(&["plan"])
        .says("Caddy answers for `old.lab.test` already")
        .says("take `old.lab.test` out of the Caddyfile");
    wait("the old site", || get(&host, "old.lab.test") == "from the old site");

    // What Caddy refuses is told in its words, and it goes on as before.
    let refused = MAP.replace("\"http://127.0.0.1:8002\"", "\"https://127.0.0.1:8002\", verify: /no/such.pem");
    lab(&world, "", &format!("{WIKI}{refused}"));
    let now = config(&host);
    world
        .apply()
        .code(5)
        .says("admin API at `http://localhost:2019` answers")
        .says("/no/such.pem")
        .says("goes on with the configuration that it had");
    assert_eq!(config(&host), now);
    wait("the route", || get(&host, "map.lab.test") == "map map.lab.test/x");

    lab(&world, "", &format!("{WIKI}{MAP}"));
    world.apply().code(0);
    // Taken out of the lab: kept until pruned; the rest goes with `destroy`, and what was there before is there still.
    lab(&world, "", WIKI);
    world.apply().code(0);
    wait("the route", || get(&host, "map.lab.test") == "map map.lab.test/x");
    world.run(&["apply", "--yes", "--prune"]).code(0);
    assert!(!get(&host, "map.lab.test").starts_with("map "), "{}", get(&host, "map.lab.test"));
    wait("the other route", || get(&host, "wiki.lab.test") == "wiki wiki.lab.test/x");
    world.run(&["destroy", "--yes"]).code(0);
    assert_eq!(config(&host), changed);
}

#[test]
fn a_caddy_without_any_configuration_gets_a_server_of_the_labs_own() {
    let world = World::new();
    let host = world.net.light_host("gate").unwrap();
    let _services = services(&host);
    lab(&world, ", tls: none, http: 8080", &format!("{WIKI}{MAP}"));
    world.run(&["plan"]).says("refuses connections").says("systemctl start caddy");
    let _caddy = caddy(&host, None);
    assert_eq!(config(&host), Json::Null);
    world.apply().code(0);
    let get = |name: &str| api(&host, &format!("-H 'Host: {name}' http://127.0.0.1:8080/x"));
    wait("the first route", || get("map.lab.test") == "map map.lab.test/x");
    wait("the second route", || get("wiki.lab.test") == "wiki wiki.lab.test/x");
    world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    // The lab's door moves to another port.
    lab(&world, ", tls: none, http: 8081", &format!("{WIKI}{MAP}"));
    world.run(&["apply", "--yes", "--allow", "all"]);
    world.run(&["apply", "--yes"]);
    wait("the other port", || api(&host, "-H 'Host: map.lab.test' http://127.0.0.1:8081/x") == "map map.lab.test/x");
    world.run(&["destroy", "--yes"]).code(0);
    assert_eq!(config(&host)["apps"]["http"]["servers"], json!({}));
}

#[test]
fn others_who_change_caddy_at_the_same_time_lose_nothing() {
    let world = World::new();
    let host = world.net.light_host("gate").unwrap();
    let _services = services(&host);
    let _caddy = caddy(&host, Some(CADDYFILE));
    // Somebody adds a route of their own, all the time, and looks at nobody else's work.
    let busy = "import json, urllib.request as u, time\n\
                path, sure, n, end = 'http://127.0.0.1:2019/config/apps/http/servers/srv0/routes', 0, 0, time.time() + 10\n\
                while time.time() < end:\n \
                body = json.dumps({'@id': f'busy-{n}', 'match': [{'host': [f'busy-{n}.test']}], 'terminal': True}).encode()\n \
                n += 1\n \
                try:\n  \
                u.urlopen(u.Request(path, body, {'Content-Type': 'application/json'})); sure += 1\n \
                except OSError as error:\n  \
                assert not hasattr(error, 'code'), error\n \
                time.sleep(0.1)\n\
                print(sure, n)";
    let mut command = host.inside("python3").unwrap();
    let child = command.args(["-c", busy]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    lab(&world, "", &format!("{WIKI}{MAP}"));
    let applied = world.apply();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (sure, most) = said.trim().split_once(' ').unwrap();
    let (sure, most): (usize, usize) = (sure.parse().unwrap(), most.parse().unwrap());
    // Whoever met others too often says so, and nothing of theirs is lost.
    assert!(
        applied.code == 0
            || applied.err.contains("somebody else changes Caddy")
            || applied.out.contains("somebody else changes Caddy"),
        "{} {}",
        applied.out,
        applied.err
    );
    world.apply().code(0);
    let ids = config(&host)["apps"]["http"]["servers"]["srv0"]["routes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|route| route["@id"].as_str().is_some_and(|id| id.starts_with("busy-")))
        .count();
    // Whoever was cut off while Caddy opened its API anew cannot tell whether it was heard.
    assert!((sure..=most).contains(&ids), "{ids} of {sure} to {most}");
    assert!(sure > 3, "nobody was busy");
    wait("certificates", || get(&host, "map.lab.test") == "map map.lab.test/x");
}
