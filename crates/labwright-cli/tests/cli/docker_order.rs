//! Who starts when: after what it needs is healthy, whatever host that is on; at once where nothing is needed; and back in
//! the other order.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use labwright_testkit::engine::REGISTRY;
use labwright_testkit::{Engine, Host};

use crate::docker::{Dock, SERVE};
use crate::world::World;

/// Where the hosts' agents find their engines.
pub const SOCKET: &str = "/run/docker.sock";

/// Lets a host reach an engine that runs beside it, at the usual kind of place.
pub fn at(host: &Host, engine: &Engine) {
    let place = host.root_path().unwrap().join(SOCKET.trim_start_matches('/'));
    let listener = UnixListener::bind(place).unwrap();
    let engine = engine.socket();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let engine = engine.clone();
            std::thread::spawn(move || drop(relay(client, &engine)));
        }
    });
}

fn relay(client: UnixStream, engine: &Path) -> io::Result<()> {
    let engine = UnixStream::connect(engine)?;
    let (mut to, mut from) = (engine.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        io::copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Write).ok();
    });
    io::copy(&mut &engine, &mut &client)?;
    client.shutdown(Shutdown::Both)
}

/// A host with an engine, and the same images on each.
fn host(world: &World, name: &str) -> (Host, Engine) {
    let host = world.net.light_host(name).unwrap();
    let engine = Engine::start(&world.desk.path(&format!("engine-{name}"))).unwrap();
    at(&host, &engine);
    // Healthy two seconds after it started, and its check is due once an hour: nobody can wait for the engine to ask.
    let slow = r#"CMD ["/bin/sh","-c","trap exit TERM; sleep 2; touch /tmp/ready; while true; do sleep 0.1; done"]"#;
    let check = r#"HEALTHCHECK --interval=1h --timeout=2s CMD ["/bin/sh","-c","test -e /tmp/ready"]"#;
    // Two registries of one name: what they have must not be called the same.
    engine.publish(&format!("slow-{name}:1"), &[slow, check]).unwrap();
    engine.publish(&format!("app-{name}:1"), &[SERVE]).unwrap();
    (host, engine)
}

fn lab(world: &World, services: &str) {
    let services: String = services.lines().map(|line| format!("  {line}\n")).collect();
    world.lab(&format!(
        "lab: test\ncompute:\n  docker_hosts: [a, b]\n  hosts:\n    a: {{ docker_socket: {SOCKET} }}\n    b: {{ docker_socket: {SOCKET} }}\nservices:\n{}",
        services.replace("REG", REGISTRY)
    ));
}

/// When a container of an engine ended, in nanoseconds since 1970. The engine keeps its last 256 events.
fn ended(engine: &Engine, container: &str) -> u128 {
    let until = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 1;
    let (until, container) = (until.to_string(), format!("container={container}"));
    let filters = ["--filter", "event=die", "--filter", &container, "--format", "{{.TimeNano}}"];
    let printed = engine.docker(&[&["events", "--since", "0", "--until", &until], &filters[..]].concat()).unwrap();
    printed.lines().last().unwrap_or_else(|| panic!("no end of {container}")).parse().unwrap()
}

/// When a container that runs was started, as `ended`.
fn started(engine: &Engine, container: &str) -> u128 {
    let at = engine.docker(&["inspect", "-f", "{{.State.StartedAt}}", container]).unwrap();
    let output = std::process::Command::new("date").args(["-u", "-d", &at, "+%s%N"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

const SECOND: u128 = 1_000_000_000;

#[test]
fn needs_are_healthy_first_across_hosts_and_go_last() {
    let world = World::new();
    let (_a, on_a) = host(&world, "a");
    let (_b, on_b) = host(&world, "b");
    let services = "db: { on: a, containers: { pg: { image: \"REG/slow-a:1\" } } }
queue: { on: b, containers: { mq: { image: \"REG/slow-b:1\" } } }
web: { on: b, needs: [db, queue], containers: { app: { image: \"REG/slow-b:1\" } } }
mail: { on: a, needs: [web], containers: { app: { image: \"REG/app-a:1\" } } }
apart: { on: b, containers: { app: { image: \"REG/app-b:1\" } } }";
    lab(&world, services);
    let ran = world.apply().code(0).says("waiting until `db-pg-1` is healthy, up to ");
    ran.says("waiting until `web-app-1` is healthy");
    let [db, queue, apart] = [started(&on_a, "db-pg-1"), started(&on_b, "queue-mq-1"), started(&on_b, "apart-app-1")];
    let [web, mail] = [started(&on_b, "web-app-1"), started(&on_a, "mail-app-1")];
    // Each two seconds after the last of what it needs, and not for long after: nobody waited for the hourly check.
    for (needer, needs) in [(web, db.max(queue)), (mail, web)] {
        let after = needer.checked_sub(needs).expect("what needs came before what is needed");
        assert!((2 * SECOND..30 * SECOND).contains(&after), "{after} ns");
    }
    // What needs nothing waited for nobody.
    assert!(apart < web, "{apart} {web}");
    world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");

    // What is needed by others goes after them.
    lab(&world, "apart: { on: b, containers: { app: { image: \"REG/app-b:1\" } } }");
    world.run(&["apply", "--yes", "--prune", "--approve", "downtime"]).code(0);
    let [mail, web, db, queue] =
        [ended(&on_a, "mail-app-1"), ended(&on_b, "web-app-1"), ended(&on_a, "db-pg-1"), ended(&on_b, "queue-mq-1")];
    assert!(mail < web && web < db && web < queue, "{mail} {web} {db} {queue}");
    assert_eq!(on_b.docker(&["ps", "--format", "{{.Names}}"]).unwrap(), "apart-app-1");
}

#[test]
fn one_that_does_not_come_up_in_time_is_given_up_and_so_is_what_needs_it_elsewhere() {
    let world = World::new();
    let (_a, _on_a) = host(&world, "a");
    let (_b, on_b) = host(&world, "b");
    // It never has an answer: the deadline is that of its own check.
    let stuck =
        "healthcheck: { test: [CMD, /bin/sleep, \"60\"], interval: 1s, timeout: 1s, retries: 1, start_period: 1s }";
    lab(
        &world,
        &format!(
            "db: {{ on: a, containers: {{ pg: {{ image: \"REG/app-a:1\", {stuck} }} }} }}
web: {{ on: b, needs: [db], containers: {{ app: {{ image: \"REG/app-b:1\" }} }} }}"
        ),
    );
    world.apply().code(5).says("waiting until `db-pg-1` is healthy").says("`db-pg-1` is unhealthy").says("skipped");
    assert_eq!(on_b.docker(&["ps", "-aq"]).unwrap(), "");
}

#[test]
fn thirty_containers_that_wait_do_not_wait_for_each_other() {
    let world = World::new();
    let (_a, on_a) = host(&world, "a");
    let containers: String = (0..30).map(|n| format!("    c{n:02}: {{ image: \"REG/slow-a:1\" }}\n")).collect();
    lab(&world, &format!("many:\n  on: a\n  containers:\n{containers}"));
    // Each is up after two seconds: four at a time would take sixteen, whatever the machine.
    world.apply().code(0);
    let started: Vec<u128> = (0..30).map(|n| started(&on_a, &format!("many-c{n:02}-1"))).collect();
    let healthy = started.iter().min().unwrap() + 2 * SECOND;
    let early = started.iter().filter(|start| **start < healthy).count();
    assert!(early > 4, "only {early} of 30 were started before the first was up");
}

#[test]
fn a_network_that_nobody_needs_any_more_goes_once_its_members_are_out_of_it() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    let lab = |needs: &str| {
        let app = |name: &str| format!("{name}: {{ image: \"REG/app:1\", stop_grace_period: 1s }}");
        let (pg, web) = (app("pg"), app("app"));
        dock.lab(&format!(
            "db: {{ on: here, containers: {{ {pg} }} }}\nweb: {{ on: here, {needs} containers: {{ {web} }} }}"
        ));
    };
    let networks = || {
        let what = ["network", "ls", "--filter", "type=custom", "--format", "{{.Name}}"];
        let printed = dock.engine.docker(&what).unwrap();
        let mut all: Vec<String> = printed.lines().map(str::to_string).collect();
        all.sort();
        all
    };
    lab("needs: [db],");
    dock.apply().code(0);
    assert_eq!(networks(), ["db_default", "web_default", "web_to_db"]);
    lab("");
    let ran = dock.desk.run(&["apply", "--yes", "--prune", "--approve", "downtime"]).code(0);
    ran.says("web_to_db");
    assert_eq!(networks(), ["db_default", "web_default"]);
    dock.settled();
}
