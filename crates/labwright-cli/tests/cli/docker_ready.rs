//! Containers are made while they wait for what they need, so that starting them is all that is left; and nothing is left of
//! them where their turn never comes.

use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::docker::{CHECK, Dock, SERVE};
use crate::docker_faults::until;
use crate::world::Ran;

/// Healthy when somebody says so: `docker exec NAME touch /well`.
const WAITS: &str = r#"HEALTHCHECK --interval=300ms --timeout=2s --retries=200 CMD ["/bin/sh","-c","test -e /well"]"#;

fn dock() -> Dock {
    let dock = Dock::new();
    dock.engine.publish("app:1", &["VOLUME /unnamed", SERVE, CHECK]).unwrap();
    dock.engine.publish("slow:1", &[SERVE, WAITS]).unwrap();
    dock.engine
        .publish("sick:1", &[SERVE, r#"HEALTHCHECK --interval=1s --timeout=1s --retries=3 CMD ["/bin/false"]"#])
        .unwrap();
    dock
}

/// One that others need, one that only needs it, one that needs that, one with a volume that is empty, one that lives in the
/// network of the first, one with a secret in a file.
fn lab(dock: &Dock, db: &str, colour: &str) {
    dock.lab(&format!(
        "db: {{ on: here, containers: {{ pg: {{ image: \"REG/{db}\", environment: {{ COLOUR: {colour} }}, stop_grace_period: 1s }} }} }}
web:
  on: here
  needs: [db]
  containers:
    app: {{ image: \"REG/app:1\", ports: [\"8080:80\"], environment: {{ COLOUR: {colour} }}, stop_grace_period: 1s }}
    last: {{ image: \"REG/app:1\", stop_grace_period: 1s, depends_on: {{ app: {{ condition: service_healthy }} }} }}
    keeps: {{ image: \"REG/app:1\", stop_grace_period: 1s, volumes: [\"data:/data\"] }}
    side: {{ image: \"REG/app:1\", stop_grace_period: 1s, network_mode: \"service:app\" }}"
    ));
}

const ALL: [&str; 5] = ["db-pg-1", "web-app-1", "web-keeps-1", "web-last-1", "web-side-1"];

fn containers(dock: &Dock) -> Vec<String> {
    let printed = dock.engine.docker(&["ps", "-a", "--format", "{{.Names}}"]).unwrap();
    let mut names: Vec<String> = printed.lines().map(str::to_string).collect();
    names.sort();
    names
}

fn volumes(dock: &Dock) -> usize {
    dock.engine.docker(&["volume", "ls", "-q"]).unwrap().lines().count()
}

fn apply_in_background(dock: &Dock) -> std::process::Child {
    let mut command = dock.desk.command();
    command.args(["apply", "--yes", "--approve", "downtime"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn is_there(dock: &Dock, name: &str) -> bool {
    containers(dock).iter().any(|known| known == name)
}

#[test]
fn what_waits_is_made_meanwhile_and_started_when_its_turn_comes() {
    let dock = dock();
    lab(&dock, "slow:1", "red");
    let running = apply_in_background(&dock);
    until("one that waits is made", || is_there(&dock, "web-app-1.labwright-new"));
    until("the one behind it as well", || is_there(&dock, "web-last-1.labwright-new"));
    let first = dock.inspect("{{.Id}} {{.State.Status}}", "web-app-1.labwright-new");
    assert!(first.ends_with(" created"), "{first}");
    // Not what needs that container itself, nor what an image would be copied into a volume for.
    sleep(Duration::from_millis(500));
    assert_eq!(containers(&dock), ["db-pg-1", "web-app-1.labwright-new", "web-last-1.labwright-new"]);
    // To look at it meanwhile shows what it is, and takes nothing away.
    dock.desk.run(&["status"]).says("web-app-1");
    dock.engine.docker(&["exec", "db-pg-1", "touch", "/well"]).unwrap();
    let ran: Ran = running.wait_with_output().unwrap().into();
    ran.code(0);
    dock.settled();
    assert_eq!(containers(&dock), ALL);
    assert_eq!(dock.inspect("{{.Id}} {{.State.Status}}", "web-app-1"), first.replace("created", "running"));

    // In the place of one that runs, the new one is made meanwhile too, and the old one runs until its turn.
    dock.engine.docker(&["exec", "web-app-1", "touch", "/unnamed/precious"]).unwrap();
    lab(&dock, "slow:1", "blue");
    let before = dock.inspect("{{.Id}}", "web-app-1");
    let running = apply_in_background(&dock);
    until("the new one is made", || is_there(&dock, "web-app-1.labwright-new"));
    assert_eq!(dock.inspect("{{.Id}} {{.State.Status}}", "web-app-1"), format!("{before} running"));
    until("the one that is needed is there anew", || {
        dock.engine.docker(&["exec", "db-pg-1.labwright-new", "touch", "/well"]).is_ok()
    });
    let ran: Ran = running.wait_with_output().unwrap().into();
    ran.code(0);
    dock.settled();
    assert_eq!(containers(&dock), ALL);
    let env = dock.engine.docker(&["exec", "web-app-1", "env"]).unwrap();
    assert!(env.contains("COLOUR=blue"), "{env}");
    dock.engine.docker(&["exec", "web-app-1", "ls", "/unnamed/precious"]).unwrap();
}

#[test]
fn nothing_is_left_of_what_was_made_for_a_turn_that_never_came() {
    let dock = dock();
    lab(&dock, "sick:1", "red");
    let running = apply_in_background(&dock);
    until("one that waits is made", || is_there(&dock, "web-last-1.labwright-new"));
    let ran: Ran = running.wait_with_output().unwrap().into();
    ran.code(5).says("container `db-pg-1` is unhealthy").says("skipped here/docker/container/web-app-1");
    assert_eq!(containers(&dock), ["db-pg-1"]);
    assert_eq!(volumes(&dock), 1, "only the declared one: those without a name went with the containers");
    // Nothing of it is the lab's: somebody else's container of the name is a conflict as ever.
    dock.engine
        .docker(&["run", "-d", "--name", "web-app-1", &format!("{}/app:1", labwright_testkit::engine::REGISTRY)])
        .unwrap();
    dock.desk.run(&["plan"]).says("here/docker/container/web-app-1: it is there, is not the lab's");
    dock.engine.docker(&["rm", "-fv", "web-app-1"]).unwrap();

    // A run that is stopped takes along what it made; what ran goes on.
    lab(&dock, "slow:1", "red");
    dock.desk.run(&["update"]);
    let running = apply_in_background(&dock);
    until("one that waits is made", || is_there(&dock, "web-last-1.labwright-new"));
    let begun = Instant::now();
    rustix::process::kill_process(rustix::process::Pid::from_child(&running), rustix::process::Signal::INT).unwrap();
    sleep(Duration::from_millis(300));
    dock.engine.docker(&["exec", "db-pg-1", "touch", "/well"]).ok();
    dock.engine.docker(&["exec", "db-pg-1.labwright-new", "touch", "/well"]).ok();
    let ran: Ran = running.wait_with_output().unwrap().into();
    ran.says("not started here/docker/container/web-app-1");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(!containers(&dock).iter().any(|name| name.ends_with(".labwright-new")), "{:?}", containers(&dock));
}

#[test]
fn a_run_that_dies_while_it_waits_leaves_what_the_next_one_clears_away() {
    let dock = dock();
    lab(&dock, "slow:1", "red");
    let mut left = String::new();
    for wait in [0, 40, 150, 400] {
        let mut running = apply_in_background(&dock);
        // Each run takes away what the one before it left, and makes it anew.
        let made = || dock.engine.docker(&["inspect", "-f", "{{.Id}}", "web-app-1.labwright-new"]);
        until("one that waits is made", || made().is_ok_and(|id| id != left));
        left = made().unwrap();
        sleep(Duration::from_millis(wait));
        running.kill().unwrap();
        running.wait().unwrap();
        dock.desk.run(&["plan"]).code(0).says("container web-app-1");
        dock.engine.docker(&["rm", "-f", "db-pg-1"]).unwrap();
    }
    // Taken out of the lab, it is told that nothing is there any more.
    dock.lab("db: { on: here, containers: { pg: { image: \"REG/app:1\" } } }");
    dock.desk.run(&["plan"]).code(0).says("container web-app-1  no longer declared, and already gone");
    // Declared again, the next run begins anew.
    lab(&dock, "app:1", "red");
    dock.desk.run(&["update"]);
    dock.apply().code(0);
    dock.settled();
    assert_eq!(containers(&dock), ALL);
    assert_ne!(dock.inspect("{{.Id}}", "web-app-1"), left);

    // The same, and this time nobody wants it any more.
    lab(&dock, "slow:1", "blue");
    dock.desk.run(&["update"]);
    dock.engine.docker(&["rm", "-fv", "web-app-1", "web-keeps-1", "web-last-1", "web-side-1"]).unwrap();
    let mut running = apply_in_background(&dock);
    until("one that waits is made", || is_there(&dock, "web-last-1.labwright-new"));
    running.kill().unwrap();
    running.wait().unwrap();
    dock.lab("db: { on: here, containers: { pg: { image: \"REG/app:1\" } } }");
    dock.apply().code(0);
    assert_eq!(containers(&dock), ["db-pg-1"]);
}

#[test]
fn one_that_a_killed_run_started_is_waited_for_by_the_next_one() {
    let dock = dock();
    lab(&dock, "slow:1", "red");
    let mut running = apply_in_background(&dock);
    until("it runs", || dock.engine.docker(&["exec", "db-pg-1", "true"]).is_ok());
    running.kill().unwrap();
    running.wait().unwrap();
    let started = dock.inspect("{{.Id}} {{.State.StartedAt}}", "db-pg-1");
    // It runs as it is declared, so it is taken as it is; whoever needs it still waits until it is well.
    let plan = dock.desk.run(&["plan"]).code(0);
    plan.says("= container db-pg-1");
    let running = apply_in_background(&dock);
    until("one that waits is made", || is_there(&dock, "web-last-1.labwright-new"));
    sleep(Duration::from_secs(3));
    assert!(!is_there(&dock, "web-app-1"), "{:?}", containers(&dock));
    dock.engine.docker(&["exec", "db-pg-1", "touch", "/well"]).unwrap();
    let ran: Ran = running.wait_with_output().unwrap().into();
    ran.code(0).says("waiting until `db-pg-1` is healthy");
    dock.settled();
    assert_eq!(containers(&dock), ALL);
    assert_eq!(dock.inspect("{{.Id}} {{.State.StartedAt}}", "db-pg-1"), started);

    // One that falls ill while it is waited for holds back whoever needs it.
    lab(&dock, "sick:1", "red");
    dock.engine.docker(&["rm", "-fv", "web-app-1", "web-keeps-1", "web-last-1", "web-side-1", "db-pg-1"]).unwrap();
    let mut running = apply_in_background(&dock);
    until("it runs", || dock.engine.docker(&["exec", "db-pg-1", "true"]).is_ok());
    running.kill().unwrap();
    running.wait().unwrap();
    let ran = dock.apply().code(5);
    ran.says("container `db-pg-1` is unhealthy").says("skipped here/docker/container/web-app-1");
}
