//! The agent on a host dies while it changes containers: what it was at is gone on with by the next one, and nothing of it is
//! left over.

use std::process::Stdio;
use std::time::Duration;

use labwright_testkit::Engine;
use labwright_testkit::engine::REGISTRY;

use crate::docker::{CHECK, SERVE};
use crate::docker_order::{SOCKET, at};
use crate::kills::Dice;
use crate::world::{Ran, World};

/// Two stacks, one of which needs the other: one that can only be changed with the old one down, one that needs no such
/// thing, one that lives in the network of another, one that has run once.
fn lab(world: &World, colour: &str) {
    let services = format!(
        "db: {{ on: a, containers: {{ pg: {{ image: \"REG/app:1\", environment: {{ COLOUR: {colour} }}, volumes: [\"data:/data\"], stop_grace_period: 1s }} }} }}
web:
  on: a
  needs: [db]
  containers:
    init: {{ image: \"REG/app:1\", command: [/bin/true], environment: {{ COLOUR: {colour} }}, healthcheck: {{ disable: true }} }}
    app: {{ image: \"REG/app:1\", environment: {{ COLOUR: {colour} }}, stop_grace_period: 1s, depends_on: {{ init: {{ condition: service_completed_successfully }} }} }}
    side: {{ image: \"REG/app:1\", environment: {{ COLOUR: {colour} }}, stop_grace_period: 1s, network_mode: \"service:app\" }}"
    );
    let services: String = services.lines().map(|line| format!("  {line}\n")).collect();
    world.lab(&format!(
        "lab: test\ncompute:\n  docker_hosts: [a]\n  hosts:\n    a: {{ docker_socket: {SOCKET} }}\nservices:\n{}",
        services.replace("REG", REGISTRY)
    ));
}

#[test]
fn an_agent_that_dies_over_containers_leaves_none_twice_and_none_half() {
    let world = World::new();
    let host = world.net.light_host("a").unwrap();
    let engine = Engine::start(&world.desk.path("engine-a")).unwrap();
    at(&host, &engine);
    engine.publish("app:1", &[SERVE, CHECK]).unwrap();
    // Puts the program on the host, so that kills hit the work and not the upload.
    lab(&world, "c0");
    world.run(&["plan"]).code(0);
    let sorted = |what: &[&str]| {
        let printed = engine.docker(what).unwrap();
        let mut all: Vec<String> = printed.lines().map(str::to_string).collect();
        all.sort();
        all
    };
    let containers = || sorted(&["ps", "-a", "--format", "{{.Names}}"]);
    let mut dice = Dice(0xd0c7);
    let mut cut_off = 0;
    const ROUNDS: usize = 12;
    for round in 0..ROUNDS {
        // The first rounds cut off what makes everything, the others what changes it.
        let colour = format!("c{round}");
        lab(&world, &colour);
        let child = world.with_ssh(&["apply", "--yes"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(400 + dice.roll(3500)));
        host.inside("pkill").unwrap().args(["-KILL", "-f", "labwright-[0-9a-f]* agent"]).status().unwrap();
        let ran: Ran = child.wait_with_output().unwrap().into();
        cut_off += usize::from(ran.code != 0);
        // The engine may still be at what it was last told, while the plan is made: then the plan is refused, not guessed.
        let mut last = world.apply();
        for _ in 0..3 {
            if last.code != 5 {
                break;
            }
            last = world.apply();
        }
        last.code(0);
        world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
        assert_eq!(containers(), ["db-pg-1", "web-app-1", "web-init-1", "web-side-1"], "round {round}");
        for container in containers() {
            let state = engine.docker(&["inspect", "-f", "{{.Config.Env}} {{.State.Status}}", &container]).unwrap();
            assert!(state.contains(&format!("COLOUR={colour}")), "round {round}: {container}: {state}");
            assert_eq!(state.ends_with("running"), container != "web-init-1", "round {round}: {container}: {state}");
        }
        assert_eq!(sorted(&["volume", "ls", "-q"]), ["db_data"], "round {round}");
        let networks = sorted(&["network", "ls", "--filter", "type=custom", "--format", "{{.Name}}"]);
        assert_eq!(networks, ["db_default", "web_default", "web_to_db"], "round {round}");
        match round {
            0 => drop(engine.docker(&["exec", "db-pg-1", "touch", "/data/precious"]).unwrap()),
            _ => drop(engine.docker(&["exec", "db-pg-1", "ls", "/data/precious"]).unwrap()),
        }
    }
    assert!(cut_off * 2 > ROUNDS, "only {cut_off} of {ROUNDS} runs were cut off: the kills come too late");
}
