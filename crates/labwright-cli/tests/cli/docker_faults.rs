//! What goes wrong with containers, one thing at a time: what is said then, and that the next apply is whole again.

use std::process::Stdio;
use std::time::{Duration, Instant};

use labwright_testkit::Engine;
use labwright_testkit::engine::REGISTRY;

use crate::docker::{CHECK, Dock, SERVE};
use crate::world::{Desk, Ran};

/// One service of one container, whose other keys are these.
fn web(dock: &Dock, keys: &str) {
    dock.lab(&format!("web: {{ on: here, containers: {{ app: {{ {keys} }} }} }}"));
}

/// Waits until something is so; a test that waits in vain fails with what it waited for.
#[track_caller]
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_image_that_no_registry_has_is_said_before_anything_is_touched() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    dock.lab(
        "web: { on: here, containers: { app: { image: \"REG/app:9\" } } }\nother: { on: here, containers: { app: { image: \"REG/app:1\" } } }",
    );
    let said = "cannot ask the registry for `127.0.0.1:5000/app:9`";
    dock.desk.run(&["plan"]).says(said).says("is the name right");
    dock.apply().code(5).says(said).says("docker pull");
    assert_eq!(dock.engine.docker(&["ps", "--format", "{{.Names}}"]).unwrap(), "other-app-1");
    // A digest that nobody has is not asked for when the plan is made: it is fetched.
    let digest = format!("sha256:{}", "0".repeat(64));
    dock.lab(&format!("web: {{ on: here, containers: {{ app: {{ image: \"REG/app@{digest}\" }} }} }}"));
    dock.apply().code(5).says("cannot fetch image").says("manifest unknown");
}

/// The largest file below a folder.
fn largest(folder: &std::path::Path) -> Option<(u64, std::path::PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sized = |path: std::path::PathBuf| match path.is_dir() {
        true => largest(&path),
        false => Some((path.metadata().ok()?.len(), path)),
    };
    entries.filter_map(|entry| sized(entry.path())).max()
}

#[test]
fn a_pull_that_breaks_off_leaves_what_ran() {
    let mut dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    web(&dock, "image: \"REG/app:1\"");
    dock.apply().code(0);
    let id = dock.inspect("{{.Id}}", "web-app-1");
    let still_there = |dock: &Dock| {
        assert_eq!(dock.inspect("{{.Id}} {{.State.Status}}", "web-app-1"), format!("{id} running"));
    };
    dock.engine.publish_with("app:2", &[SERVE], 4 << 20).unwrap();
    web(&dock, "image: \"REG/app:2\"");
    dock.desk.run(&["plan", "--out", "plan.json"]).code(0);
    // The registry has half of the layer only: what arrives is not what the digest says.
    let (size, layer) = largest(&dock.desk.path("engine/registry")).unwrap();
    let whole = std::fs::read(&layer).unwrap();
    std::fs::OpenOptions::new().write(true).open(&layer).unwrap().set_len(size / 2).unwrap();
    dock.desk.run(&["apply", "--yes", "--plan", "plan.json"]).code(5).says("cannot fetch image").says("skipped");
    still_there(&dock);
    std::fs::write(&layer, whole).unwrap();
    dock.desk.run(&["plan", "--out", "plan.json"]).code(0);
    // It is down between the plan and its apply.
    dock.engine.stop_registry().unwrap();
    dock.desk.run(&["apply", "--yes", "--plan", "plan.json"]).code(5).says("cannot fetch image").says("docker pull");
    still_there(&dock);
    dock.engine.start_registry().unwrap();
    dock.apply().code(0);
    dock.settled();
    assert_ne!(dock.inspect("{{.Id}}", "web-app-1"), id);
}

/// Its bytes are flowing, and then nothing comes any more and nobody answers: the engine tries again, and gives up.
#[test]
fn a_registry_that_goes_away_while_the_bytes_flow_leaves_what_ran() {
    const WEIGHT: usize = 4 << 20;
    const WAY: &str = "127.0.0.2:5000";
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    dock.engine.publish_with("app:2", &[SERVE], WEIGHT).unwrap();
    let relay = dock.engine.relay(WAY).unwrap();
    web(&dock, "image: \"REG/app:1\"");
    dock.apply().code(0);
    let id = dock.inspect("{{.Id}}", "web-app-1");
    web(&dock, &format!("image: \"{WAY}/app:2\""));
    dock.desk.run(&["plan", "--out", "plan.json"]).code(0).says("to replace");
    let before = relay.passed();
    relay.cut_after(1 << 20);
    let ran = dock.desk.run(&["apply", "--yes", "--plan", "plan.json"]).code(5);
    let ran = ran.says(&format!("cannot fetch image `{WAY}/app@sha256:")).says("docker pull").says("skipped");
    let came = relay.passed() - before;
    assert!(relay.is_cut() && came > 0 && came < WEIGHT as u64, "{came} bytes came\n{}{}", ran.out, ran.err);
    assert_eq!(dock.inspect("{{.Id}} {{.State.Status}}", "web-app-1"), format!("{id} running"));
    // It is back: the next apply goes on from there.
    relay.mend();
    dock.apply().code(0);
    dock.settled();
    assert_ne!(dock.inspect("{{.Id}}", "web-app-1"), id);
}

#[test]
fn what_never_turns_healthy_is_said_with_what_it_says_itself_and_holds_back_who_needs_it() {
    let dock = Dock::new();
    let check =
        r#"HEALTHCHECK --interval=300ms --timeout=1s --retries=3 CMD ["/bin/sh","-c","echo no such table; exit 1"]"#;
    dock.engine.publish("sick:1", &[r#"CMD ["/bin/sh","-c","echo migrating; exec sleep 1000"]"#, check]).unwrap();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    dock.lab(
        "db: { on: here, containers: { pg: { image: \"REG/sick:1\" } } }
web: { on: here, needs: [db], containers: { app: { image: \"REG/app:1\" } } }
other: { on: here, containers: { app: { image: \"REG/app:1\" } } }",
    );
    let ran = dock.apply().code(5);
    let ran = ran.says("waiting until `db-pg-1` is healthy, up to ").says("container `db-pg-1` is unhealthy");
    ran.says("its health check said: no such table").says("its log ends: migrating").says("skipped");
    let names = dock.engine.docker(&["ps", "-a", "--format", "{{.Names}}"]).unwrap();
    assert!(names.contains("other-app-1") && !names.contains("web-app-1"), "{names}");
    // Made well: what waited for it comes too.
    dock.engine.publish("sick:1", &[SERVE, CHECK]).unwrap();
    dock.desk.run(&["update"]);
    dock.apply().code(0);
    dock.settled();
}

#[test]
fn what_is_healthy_and_then_dies_is_drift_and_is_started_again() {
    let dock = Dock::new();
    let dies = r#"CMD ["/bin/sh","-c","for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do test -e /tmp/die && exit 7; sleep 0.5; done; exit 7"]"#;
    dock.engine.publish("app:1", &[dies, CHECK]).unwrap();
    web(&dock, "image: \"REG/app:1\"");
    dock.apply().code(0);
    dock.engine.docker(&["exec", "web-app-1", "touch", "/tmp/die"]).unwrap();
    until("it has died", || dock.inspect("{{.State.Status}}", "web-app-1") == "exited");
    dock.desk.run(&["drift"]).code(4).says("exited with 7");
    // It dies at once again: the gate notices, and says with what.
    dock.apply().code(5).says("ended with 7");
    let better = "CMD [\"/bin/sh\",\"-c\",\"exec sleep 1000\"]";
    dock.engine.publish("app:2", &[better, CHECK]).unwrap();
    web(&dock, "image: \"REG/app:2\"");
    dock.apply().code(0);
    dock.settled();
}

#[test]
fn whoever_has_the_port_is_named() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    let image = format!("{REGISTRY}/app:1");
    dock.engine.docker(&["run", "-d", "--name", "taker", "-p", "127.0.0.1:8080:80", &image]).unwrap();
    web(&dock, "image: \"REG/app:1\", ports: [\"9090:90\", \"8080:80\"]");
    dock.apply().code(5).says("container `taker` has port 8080").says("stop it, or choose another port");
    dock.engine.docker(&["rm", "-f", "taker"]).unwrap();
    dock.apply().code(0);
    dock.settled();
}

#[test]
fn a_volume_that_a_stranger_uses_stays_and_the_stranger_is_named() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    web(&dock, "image: \"REG/app:1\", volumes: [\"data:/data\"]");
    dock.apply().code(0);
    dock.engine.docker(&["exec", "web-app-1", "touch", "/data/precious"]).unwrap();
    let image = format!("{REGISTRY}/app:1");
    dock.engine.docker(&["run", "-d", "--name", "stranger", "-v", "web_data:/x", &image]).unwrap();
    dock.lab("other: { external: someone }");
    let volume = "here/docker/volume/web_data";
    let gone =
        ["apply", "--yes", "--prune", "--delete-data", volume, "--approve", "destroys-data", "--approve", "downtime"];
    dock.desk.run(&gone).code(5).says("`stranger` still has it").says("its data is as it was");
    dock.engine.docker(&["exec", "stranger", "test", "-e", "/x/precious"]).unwrap();
    dock.engine.docker(&["rm", "-f", "stranger"]).unwrap();
    dock.desk.run(&gone).code(0);
    assert_eq!(dock.engine.docker(&["volume", "ls", "-q"]).unwrap(), "");
}

#[test]
fn a_foreign_container_of_the_name_is_refused_and_taken_over_by_word() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    let image = format!("{REGISTRY}/app:1");
    dock.engine.docker(&["run", "-d", "--name", "web-app-1", "-e", "A=theirs", &image]).unwrap();
    let theirs = dock.inspect("{{.Id}}", "web-app-1");
    web(&dock, "image: \"REG/app:1\", environment: { A: ours }");
    dock.apply().code(5).says("is not the lab's");
    assert_eq!(dock.inspect("{{.Id}}", "web-app-1"), theirs);
    dock.desk.run(&["apply", "--yes", "--adopt", "here/docker/container/web-app-1"]).code(0);
    assert!(dock.engine.docker(&["exec", "web-app-1", "env"]).unwrap().contains("A=ours"));
    dock.settled();
}

#[test]
fn a_container_changed_by_hand_is_drift_whatever_was_changed() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    web(&dock, "image: \"REG/app:1\", mem_limit: 64m, restart: unless-stopped");
    dock.apply().code(0);
    let by_hand: [(&[&str], &str); 4] = [
        (&["update", "--restart", "no", "web-app-1"], "restart"),
        (&["update", "--memory", "32m", "--memory-swap", "32m", "web-app-1"], "options"),
        (&["network", "disconnect", "web_default", "web-app-1"], "networks"),
        (&["pause", "web-app-1"], "paused"),
    ];
    for (by_hand, says) in by_hand {
        dock.engine.docker(by_hand).unwrap();
        dock.desk.run(&["drift"]).code(4).says("web-app-1").says(says);
        dock.apply().code(0);
        dock.settled();
    }
    // Under another name it is still the stack's.
    let id = dock.inspect("{{.Id}}", "web-app-1");
    dock.engine.docker(&["rename", "web-app-1", "mine"]).unwrap();
    dock.apply().code(0);
    assert_eq!(dock.engine.docker(&["ps", "-a", "--no-trunc", "--format", "{{.ID}}"]).unwrap(), id);
}

#[test]
fn a_full_disk_is_said_with_what_makes_room_and_what_ran_goes_on() {
    let desk = Desk::new("");
    let engine = Engine::start_with(&desk.path("engine"), Some(48)).unwrap();
    let dock = Dock { desk, engine };
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    web(&dock, "image: \"REG/app:1\"");
    dock.apply().code(0);
    let id = dock.inspect("{{.Id}}", "web-app-1");
    let data = dock.desk.path("engine/data").display().to_string();
    dock.engine.publish_with("app:2", &[SERVE], 6 << 20).unwrap();
    let filler = format!("{data}/filler");
    // Until there is no more: that it stops is the point.
    dock.engine.within(&["sh", "-c", &format!("dd if=/dev/zero of={filler} bs=64k 2>/dev/null; true")]).unwrap();
    web(&dock, "image: \"REG/app:2\"");
    dock.apply().code(5).says("no space left on device").says("docker system df");
    assert_eq!(dock.inspect("{{.Id}} {{.State.Status}}", "web-app-1"), format!("{id} running"));
    dock.engine.within(&["rm", &filler]).unwrap();
    dock.apply().code(0);
    dock.settled();
}

#[test]
fn an_engine_that_stops_in_the_middle_is_said_and_gone_on_with_when_it_is_back() {
    let mut dock = Dock::new();
    let slow = r#"HEALTHCHECK --interval=1s --timeout=2s --retries=30 CMD ["/bin/sh","-c","test -e /tmp/ready"]"#;
    let ready = r#"CMD ["/bin/sh","-c","sleep 4; touch /tmp/ready; exec sleep 1000"]"#;
    dock.engine.publish("app:1", &[ready, slow]).unwrap();
    web(&dock, "image: \"REG/app:1\"");
    let child =
        dock.desk.command().args(["apply", "--yes"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until("it starts", || dock.engine.docker(&["ps", "-q"]).is_ok_and(|ids| !ids.is_empty()));
    dock.engine.stop_dockerd().unwrap();
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_ne!(ran.code, 0, "{}{}", ran.out, ran.err);
    dock.desk.run(&["plan"]).says("could not be looked at").says("systemctl");
    dock.engine.start_dockerd().unwrap();
    // What was made before the journal could say so is the lab's all the same.
    let ran = dock.apply();
    assert!(ran.code == 0 || ran.err.contains("--adopt") || ran.out.contains("--adopt"), "{}{}", ran.out, ran.err);
    dock.apply().code(0);
    dock.settled();
}

#[test]
fn what_a_compose_file_says_that_cannot_be_is_found_with_its_file_and_line() {
    let desk = Desk::new(
        "lab: home\ncompute: { hosts: { here: { local: true } } }\nservices:\n  web: { on: here, compose: web/compose.yaml }\n",
    );
    let file = |keys: &str| format!("services:\n  app:\n    image: \"x:1\"\n    {keys}\n");
    // All of the specification that is not done, and a key that nobody knows.
    for key in [
        "blkio_config",
        "cpu_count",
        "cpu_percent",
        "credential_spec",
        "isolation",
        "models",
        "post_start",
        "pre_start",
        "pre_stop",
        "provider",
        "pull_refresh_after",
        "use_api_socket",
        "volume_driver",
        "volumes_from",
        "imgae",
    ] {
        desk.write("web/compose.yaml", file(&format!("{key}: x")));
        let ran = desk.run(&["check"]).says(&format!("`{key}`")).says("web/compose.yaml:4");
        assert_ne!(ran.code, 0, "{key}\n{}{}", ran.out, ran.err);
    }
    // A variable without a value is said, and an error where the file demands it.
    desk.write("web/compose.yaml", file("command: \"run ${TOKEN}\""));
    desk.run(&["check"]).says("TOKEN").says("web/compose.yaml:4");
    desk.write("web/compose.yaml", file("command: \"run ${TOKEN:?say which}\""));
    let ran = desk.run(&["check"]).says("say which").says("web/compose.yaml:4");
    assert_ne!(ran.code, 0);
    desk.write("web/compose.yaml", file("command: \"run ${TOKEN:-none}\""));
    desk.run(&["check"]).says_not("TOKEN");
}

/// The line that is meant ends with `# here`.
const HERE: &str = " # here";

#[test]
fn whatever_of_a_compose_file_is_not_done_is_found_with_its_file_and_line() {
    let desk = Desk::new(
        "lab: home\ncompute: { hosts: { here: { local: true } } }\nservices:\n  web: { on: here, compose: web/compose.yaml }\n",
    );
    let service = |keys: &str| format!("services:\n  app:\n    image: \"x:1\"\n{keys}\n");
    let mount = |keys: &str| service(&format!("    volumes:\n      - {keys}{HERE}")) + "volumes: { data: {} }\n";
    let deploy = |keys: &str| service(&format!("    deploy:\n{keys}"));
    let at_top = |text: &str| format!("{text}\n{}", service(""));
    let cases = [
        // What would run as something else is an error …
        (at_top("models: { m: { model: x } } # here"), "`models`", 3),
        (at_top("secrets: { s: { driver: x } } # here"), "`driver`", 3),
        (at_top("configs: { c: { driver_opts: { a: b } } } # here"), "`driver_opts`", 3),
        ("services:\n  app:\n    build: . # here\n".to_string(), "images are built elsewhere", 3),
        (service("    build:\n      context: .\n      sbom: true # here"), "`sbom`", 3),
        (mount("{ type: volume, source: data, target: /d, volume: { labels: { a: b } } }"), "labels of a volume", 3),
        (mount("{ type: bind, source: /d, target: /d, bind: { recursive: disabled } }"), "`bind.recursive`", 3),
        (mount("{ type: image, source: x, target: /d }"), "mounting an image", 3),
        (mount("{ type: npipe, source: x, target: /d }"), "named pipe", 3),
        (mount("{ type: cluster, source: x, target: /d }"), "cluster's volume", 3),
        (
            service("    secrets:\n      - { source: s, uid: app } # here") + "secrets: { s: { file: ./s } }\n",
            "`app` is no number",
            3,
        ),
        (
            service("    configs:\n      - c") + "configs:\n  c: { external: true } # here\n",
            "would have to come from a swarm",
            3,
        ),
        (
            service("    configs:\n      - c") + "configs:\n  c:\n    file: /etc/motd # here\n",
            "is a file of the host",
            3,
        ),
        (service("    security_opt:\n      - seccomp=./p.json # here"), "seccomp profile in a file", 3),
        (service("    links:\n      - other # here"), "`other`", 3),
        // … and what Compose itself leaves out is a warning.
        (deploy("      endpoint_mode: vip # here"), "only a swarm heeds `deploy.endpoint_mode`", 0),
        (deploy("      rollback_config: { parallelism: 1 } # here"), "only a swarm heeds `deploy.rollback_config`", 0),
        (deploy("      mode: global # here"), "only a swarm heeds `deploy.mode`", 0),
        (deploy("      update_config: { parallelism: 1 } # here"), "only a swarm heeds `deploy.update_config`", 0),
        (
            deploy("      placement:\n        preferences: [{ spread: node.labels.zone }] # here"),
            "`deploy.placement`",
            0,
        ),
        (
            deploy("      restart_policy:\n        condition: any\n        window: 5s # here"),
            "`deploy.restart_policy.window`",
            0,
        ),
        (
            deploy("      resources:\n        reservations:\n          cpus: '1' # here"),
            "`deploy.resources.reservations.cpus`",
            0,
        ),
        (
            deploy("      resources:\n        reservations:\n          generic_resources: [] # here"),
            "`deploy.generic_resources`",
            0,
        ),
        (
            service("    networks:\n      back:\n        priority: 5 # here") + "networks: { back: {} }\n",
            "`priority`",
            0,
        ),
    ];
    for (text, says, code) in cases {
        desk.write("web/compose.yaml", &text);
        let line = text.lines().position(|line| line.ends_with(HERE)).unwrap() + 1;
        let ran = desk.run(&["check"]).says(says).says(&format!("web/compose.yaml:{line}"));
        assert_eq!(ran.code, code, "{text}\n{}{}", ran.out, ran.err);
    }
}
