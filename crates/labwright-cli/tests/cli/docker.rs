//! Stacks on a real Docker engine, with a real registry behind it.

use labwright_testkit::Engine;
use labwright_testkit::engine::REGISTRY;

use crate::world::{Desk, Ran};

/// A folder with a lab file, and an engine.
pub struct Dock {
    pub desk: Desk,
    pub engine: Engine,
}

pub const SERVE: &str = r#"CMD ["/bin/sh","-c","trap exit TERM; while true; do sleep 0.1; done"]"#;
pub const CHECK: &str =
    r#"HEALTHCHECK --interval=200ms --timeout=2s --retries=2 CMD ["/bin/sh","-c","echo looked; test ! -e /broken"]"#;

impl Dock {
    pub fn new() -> Dock {
        let desk = Desk::new("");
        let engine = Engine::start(&desk.path("engine")).unwrap();
        Dock { desk, engine }
    }

    /// Services of one host, as YAML; `REG` is the registry.
    pub fn lab(&self, services: &str) {
        self.lab_with("", services);
    }

    /// As `lab`, with further parts of the file.
    pub fn lab_with(&self, more: &str, services: &str) {
        let socket = self.engine.socket().display().to_string();
        let services: String = services.lines().map(|line| format!("  {line}\n")).collect();
        self.desk.lab(&format!(
            "lab: home\ncompute:\n  docker_hosts: [here]\n  hosts:\n    here: {{ local: true, docker_socket: {socket} }}\n{more}services:\n{}",
            services.replace("REG", REGISTRY)
        ));
    }

    pub fn apply(&self) -> Ran {
        self.desk.run(&["apply", "--yes"])
    }

    pub fn settled(&self) {
        self.desk.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    }

    pub fn inspect(&self, format: &str, name: &str) -> String {
        self.engine.docker(&["inspect", "-f", format, name]).unwrap()
    }
}

const WIKI: &str = "wiki:
  on: here
  containers:
    app:
      image: REG/app:1
      environment: { COLOR: blue, EMPTY: \"\" }
      ports: [\"8080:80\"]
      volumes: [\"data:/data\", \"/srv/lw-test:/srv:ro\"]
      restart: unless-stopped
      cap_drop: [ALL]
      labels: { team: ops }
      mem_limit: 64m";

#[test]
fn a_stack_comes_about_stays_and_is_mended() {
    let dock = Dock::new();
    let digest = dock.engine.publish("app:1", &[SERVE]).unwrap();
    dock.lab(WIKI);
    dock.desk.run(&["plan"]).code(0).says("3 to create, 1 to update").says(&digest[..19]);
    assert_eq!(dock.engine.docker(&["ps", "-aq"]).unwrap(), "", "a plan changes nothing");
    dock.apply().code(0);
    dock.settled();
    assert_eq!(dock.inspect("{{.State.Status}}", "wiki-app-1"), "running");
    assert_eq!(
        dock.inspect("{{(index (index .HostConfig.PortBindings \"80/tcp\") 0).HostIp}}", "wiki-app-1"),
        "127.0.0.1"
    );
    let started = dock.inspect("{{.State.StartedAt}}", "wiki-app-1");
    dock.apply().code(0).says("nothing to do");
    assert_eq!(dock.inspect("{{.State.StartedAt}}", "wiki-app-1"), started);

    dock.engine.docker(&["stop", "-t", "1", "wiki-app-1"]).unwrap();
    dock.desk.run(&["drift"]).code(4).says("state");
    dock.apply().code(0);
    dock.settled();
    dock.engine.docker(&["rm", "-f", "wiki-app-1"]).unwrap();
    dock.desk.run(&["drift"]).code(4);
    dock.apply().code(0).says("it is gone since the last apply");
    dock.settled();
    dock.engine.docker(&["exec", "wiki-app-1", "touch", "/data/precious"]).unwrap();

    // Another setting makes it anew; its data stays.
    dock.lab(&WIKI.replace("blue", "green"));
    dock.desk.run(&["plan"]).says("replace").says("[restart]").says("environment");
    dock.apply().code(0);
    dock.settled();
    assert!(dock.engine.docker(&["exec", "wiki-app-1", "env"]).unwrap().contains("COLOR=green"));
    dock.engine.docker(&["exec", "wiki-app-1", "test", "-e", "/data/precious"]).unwrap();
    assert_eq!(dock.engine.docker(&["ps", "-a", "--format", "{{.Names}}"]).unwrap(), "wiki-app-1");

    // A volume with data in it goes only by its name.
    dock.lab("other: { external: someone }");
    dock.desk.run(&["apply", "--yes", "--prune", "--approve", "downtime"]).says("1 entry");
    assert!(dock.engine.docker(&["volume", "ls", "-q"]).unwrap().contains("wiki_data"));
    assert_eq!(dock.engine.docker(&["ps", "-aq"]).unwrap(), "");
    let volume = "here/docker/volume/wiki_data";
    dock.desk.run(&["apply", "--yes", "--prune", "--delete-data", volume, "--approve", "destroys-data"]).code(0);
    assert_eq!(dock.engine.docker(&["volume", "ls", "-q"]).unwrap(), "");
}

#[test]
fn an_update_that_falls_ill_comes_back_by_itself() {
    let dock = Dock::new();
    let good = dock.engine.publish("app:1", &[SERVE, CHECK]).unwrap();
    dock.lab("web: { on: here, containers: { app: { image: \"REG/app:1\", volumes: [\"data:/data\"] } } }");
    dock.apply().code(0);
    dock.settled();
    assert_eq!(dock.inspect("{{.State.Health.Status}}", "web-app-1"), "healthy");
    let id = dock.inspect("{{.Id}}", "web-app-1");

    let ill = r#"CMD ["/bin/sh","-c","echo cannot open the database; touch /broken; exec sleep 1000"]"#;
    dock.engine.publish("app:2", &[ill, CHECK]).unwrap();
    dock.lab("web: { on: here, containers: { app: { image: \"REG/app:2\", volumes: [\"data:/data\"] } } }");
    dock.apply()
        .code(5)
        .says("image differs")
        .says("reverted")
        .says("is unhealthy")
        .says("its health check said: looked")
        .says("cannot open the database")
        .says("runs again");
    assert_eq!(dock.inspect("{{.Id}}", "web-app-1"), id, "the very container that was there");
    assert_eq!(dock.inspect("{{.State.Health.Status}}", "web-app-1"), "healthy");
    assert!(
        dock.engine
            .docker(&["image", "inspect", "-f", "{{.RepoDigests}}", &dock.inspect("{{.Image}}", "web-app-1")])
            .unwrap()
            .contains(&good)
    );
    assert_eq!(dock.engine.docker(&["ps", "-a", "--format", "{{.Names}}"]).unwrap(), "web-app-1");

    // Back to what is there: nothing restarts.
    dock.lab("web: { on: here, containers: { app: { image: \"REG/app:1\", volumes: [\"data:/data\"] } } }");
    dock.apply().code(0);
    assert_eq!(dock.inspect("{{.Id}}", "web-app-1"), id);
    dock.settled();

    // One that works takes its place.
    let better = dock.engine.publish("app:3", &["ENV V=3", SERVE, CHECK]).unwrap();
    dock.lab("web: { on: here, containers: { app: { image: \"REG/app:3\", volumes: [\"data:/data\"] } } }");
    dock.apply().code(0);
    dock.settled();
    assert!(dock.inspect("{{.Config.Image}}", "web-app-1").ends_with(&better));
    // Healthy, and then not.
    dock.engine.docker(&["exec", "web-app-1", "touch", "/broken"]).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    dock.desk.run(&["drift"]).code(4).says("unhealthy");
}

#[test]
fn a_tag_stays_what_it_was_until_somebody_means_otherwise() {
    let dock = Dock::new();
    let first = dock.engine.publish("app:1", &["ENV V=1", SERVE]).unwrap();
    dock.lab("web: { on: here, containers: { app: { image: \"REG/app:1\" } } }");
    dock.desk.run(&["plan", "--out", "plan.json"]).code(0);
    // Moved between plan and apply: what was reviewed is what is fetched.
    let second = dock.engine.publish("app:1", &["ENV V=2", SERVE]).unwrap();
    assert_ne!(first, second);
    dock.desk.run(&["apply", "--yes", "--plan", "plan.json"]);
    assert!(dock.inspect("{{.Config.Image}}", "web-app-1").ends_with(&first));
    std::fs::remove_file(dock.desk.path("lab.lock")).ok();
    dock.desk.run(&["plan"]).code(0).says("replace").says(&second[7..19]);
    dock.apply().code(0);
    let lock = std::fs::read_to_string(dock.desk.path("lab.lock")).unwrap();
    assert!(lock.contains(&second), "{lock}");
    dock.settled();
    // Held: it moves on, and nothing happens until it is let go.
    let third = dock.engine.publish("app:1", &["ENV V=3", SERVE]).unwrap();
    dock.settled();
    dock.desk.run(&["update", "no-such"]).code(2).says("is not held");
    dock.desk.run(&["update"]).code(0).says("app:1");
    dock.desk.run(&["plan"]).code(0).says(&third[7..19]);
    dock.apply().code(0);
    assert!(dock.inspect("{{.Config.Image}}", "web-app-1").ends_with(&third));
    dock.settled();
}

#[test]
fn a_registry_that_is_down_hinders_only_what_needs_it() {
    let mut dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    dock.lab("web: { on: here, containers: { app: { image: \"REG/app:1\" } } }");
    dock.apply().code(0);
    dock.engine.stop_registry().unwrap();
    let both = "web: { on: here, containers: { app: { image: \"REG/app:1\", environment: { A: b } } } }\nnew: { on: here, containers: { app: { image: \"REG/new:1\" } } }";
    dock.lab(both);
    dock.apply().code(5).says("cannot ask the registry for `127.0.0.1:5000/new:1`").says("docker pull");
    assert!(dock.engine.docker(&["exec", "web-app-1", "env"]).unwrap().contains("A=b"));
    dock.engine.start_registry().unwrap();
    dock.engine.publish("new:1", &[SERVE]).unwrap();
    dock.apply().code(0);
    dock.settled();
}

#[test]
fn what_somebody_else_made_is_a_conflict_and_is_taken_over_without_a_restart() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    let image = format!("{REGISTRY}/app:1");
    dock.engine.docker(&["run", "-d", "--name", "web-app-1", "-e", "A=theirs", &image]).unwrap();
    dock.lab("web: { on: here, containers: { app: { image: \"REG/app:1\", environment: { A: ours } } } }");
    dock.apply().code(5).says("is not the lab's").says("--adopt here/docker/container/web-app-1");
    assert!(dock.engine.docker(&["exec", "web-app-1", "env"]).unwrap().contains("A=theirs"));
    dock.engine.docker(&["rm", "-f", "web-app-1"]).unwrap();
    dock.engine.docker(&["network", "rm", "web_default"]).unwrap();
    // What Compose made and fits becomes the lab's as it runs.
    let file = format!(
        "version: '2.4'\nservices:\n  app:\n    image: {image}\n    environment: {{ A: ours }}\n    volumes: ['data:/data', '/srv/lw-test:/srv:ro']\n    ports: ['127.0.0.1:8081:80']\n    restart: unless-stopped\n    mem_limit: 64m\n    cap_drop: [ALL]\n    extra_hosts: ['db:10.0.0.9']\n    stop_grace_period: 3s\n    ulimits: {{ nofile: {{ soft: 1024, hard: 2048 }} }}\n    tmpfs: ['/scratch:size=1m']\n    command: ['/bin/sh', '-c', 'exec sleep 1000']\nvolumes: {{ data: {{}} }}\n"
    );
    dock.desk.write("web/docker-compose.yml", file);
    let mut compose = std::process::Command::new("docker-compose");
    compose.current_dir(dock.desk.path("web")).args(["-p", "web", "up", "-d"]);
    compose.env("DOCKER_HOST", format!("unix://{}", dock.engine.socket().display()));
    let output = compose.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let name = dock.engine.docker(&["ps", "--format", "{{.Names}}"]).unwrap();
    let started = dock.inspect("{{.Id}} {{.State.StartedAt}}", &name);
    dock.lab(
        "web:
  on: here
  containers:
    app:
      image: REG/app:1
      environment: { A: ours }
      volumes: [\"data:/data\", \"/srv/lw-test:/srv:ro\"]
      ports: [\"127.0.0.1:8081:80\"]
      restart: unless-stopped
      mem_limit: 64m
      cap_drop: [ALL]
      extra_hosts: [\"db:10.0.0.9\"]
      stop_grace_period: 3s
      ulimits: { nofile: { soft: 1024, hard: 2048 } }
      tmpfs: [\"/scratch:size=1m\"]
      command: [\"/bin/sh\", \"-c\", \"exec sleep 1000\"]",
    );
    dock.desk.run(&["plan"]).code(0).says("2 to adopt, 2 unchanged");
    dock.apply().code(0);
    assert_eq!(dock.inspect("{{.Id}} {{.State.StartedAt}}", &name), started);
    dock.settled();
}

#[test]
fn ports_that_are_taken_and_engines_that_are_gone_are_said() {
    let mut dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    dock.engine
        .docker(&["run", "-d", "--name", "taker", "-p", "127.0.0.1:8080:80", &format!("{REGISTRY}/app:1")])
        .unwrap();
    dock.lab("web: { on: here, containers: { app: { image: \"REG/app:1\", ports: [\"8080:80\"] } } }");
    dock.apply().code(5).says("port is already allocated").says("container `taker` has port 8080");
    assert_eq!(dock.engine.docker(&["ps", "-a", "--format", "{{.Names}}"]).unwrap(), "taker");
    dock.engine.docker(&["rm", "-f", "taker"]).unwrap();
    dock.apply().code(0);
    // The old one comes back when its successor cannot have what it wants.
    dock.engine
        .docker(&["run", "-d", "--name", "taker", "-p", "127.0.0.1:9090:80", &format!("{REGISTRY}/app:1")])
        .unwrap();
    dock.lab("web: { on: here, containers: { app: { image: \"REG/app:1\", ports: [\"9090:80\"] } } }");
    dock.apply().code(5).says("port is already allocated").says("runs again");
    assert_eq!(
        dock.inspect("{{.State.Status}} {{.HostConfig.PortBindings}}", "web-app-1"),
        "running map[80/tcp:[{127.0.0.1 8080}]]"
    );
    dock.engine.docker(&["rm", "-f", "taker"]).unwrap();
    dock.apply().code(0);
    dock.settled();
    dock.engine.stop_dockerd().unwrap();
    dock.desk.run(&["plan", "--exit-code"]).says("could not be looked at").says("systemctl");
    dock.engine.start_dockerd().unwrap();
    dock.apply();
    dock.settled();
}

#[test]
fn needs_are_met_in_order_and_secrets_are_files() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE, CHECK]).unwrap();
    dock.lab(
        "db: { on: here, containers: { pg: { image: \"REG/app:1\" } } }
web:
  on: here
  needs: [db]
  containers:
    init: { image: \"REG/app:1\", command: [\"/bin/true\"], healthcheck: { disable: true } }
    app: { image: \"REG/app:1\", depends_on: { init: { condition: service_completed_successfully } } }",
    );
    let ran = dock.apply().code(0);
    let at = |what: &str| ran.out.rfind(what).or_else(|| ran.err.rfind(what)).unwrap_or_default();
    assert!(at("container/web-app-1") >= at("container/db-pg-1"), "{}{}", ran.out, ran.err);
    dock.settled();
    let networks = dock.inspect("{{range $n, $e := .NetworkSettings.Networks}}{{$n}} {{end}}", "db-pg-1");
    assert_eq!(networks, "db_default web_to_db");
    assert!(dock.engine.docker(&["exec", "web-app-1", "/bin/busybox", "nslookup", "db"]).unwrap().contains("db"));
    for (bad, says) in [
        ("{ image: x, blkio_config: { weight: 5 } }", "`blkio_config` is not supported"),
        ("{ build: . }", "images are built elsewhere"),
        ("{ image: x, ports: [\"http\"] }", "must be a port"),
        ("{ command: x }", "has no image"),
    ] {
        dock.lab(&format!("web: {{ on: here, containers: {{ app: {bad} }} }}"));
        dock.desk.run(&["plan"]).code(3).says(says);
    }
}

/// How `apply` is cut off in the middle of a replacement, and what is left of it.
#[test]
fn a_run_that_is_killed_in_the_middle_is_gone_on_with() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE, CHECK]).unwrap();
    let lab = |color: &str| {
        dock.lab(&format!(
            "web: {{ on: here, containers: {{ app: {{ image: \"REG/app:1\", environment: {{ COLOR: {color} }}, ports: [\"8080:80\"] }} }} }}"
        ));
    };
    lab("c0");
    dock.apply().code(0);
    for (round, wait) in [20, 60, 120, 200, 300, 450, 600, 900, 1200, 1600].into_iter().enumerate() {
        let color = format!("c{}", round + 1);
        lab(&color);
        let mut child = dock.desk.command().args(["apply", "--yes"]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
        // The engine may still be at what it was last told, while the plan is made: then the plan is refused, not guessed.
        let ran = dock.apply();
        match ran.code {
            5 => dock.apply(),
            _ => ran,
        }
        .code(0);
        dock.settled();
        assert!(dock.engine.docker(&["exec", "web-app-1", "env"]).unwrap().contains(&format!("COLOR={color}")));
        assert_eq!(
            dock.engine.docker(&["ps", "-a", "--format", "{{.Names}}"]).unwrap(),
            "web-app-1",
            "after {wait} ms"
        );
    }
}

#[test]
fn an_engine_that_is_restarted_in_the_middle_is_said_and_gone_on_with() {
    let mut dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE, CHECK]).unwrap();
    dock.lab("web: { on: here, containers: { app: { image: \"REG/app:1\", ports: [\"8080:80\"], restart: always } } }");
    dock.apply().code(0);
    dock.lab("web: { on: here, containers: { app: { image: \"REG/app:1\", ports: [\"8081:80\"], restart: always } } }");
    let child = dock.desk.command().args(["apply", "--yes"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    dock.engine.stop_dockerd().unwrap();
    dock.engine.start_dockerd().unwrap();
    child.wait_with_output().unwrap();
    dock.apply();
    dock.settled();
    assert_eq!(dock.engine.docker(&["ps", "-a", "--format", "{{.Names}}"]).unwrap(), "web-app-1");
}

#[test]
fn composes_own_tools_see_what_the_lab_made() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE, CHECK]).unwrap();
    dock.lab(
        "web: { on: here, containers: { app: { image: \"REG/app:1\", scale: 2 }, db: { image: \"REG/app:1\" } } }",
    );
    dock.apply().code(0);
    let program = labwright_testkit::engine::compose_5(std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let told = |args: &[&str]| -> String {
        let mut compose = std::process::Command::new(&program);
        compose.env("DOCKER_HOST", format!("unix://{}", dock.engine.socket().display()));
        let ran: Ran = compose.current_dir(dock.desk.dir.path()).args(args).output().unwrap().into();
        ran.code(0).out
    };
    let stacks: serde_json::Value = serde_json::from_str(&told(&["ls", "--format", "json"])).unwrap();
    assert_eq!((&stacks[0]["Name"], &stacks[0]["Status"]), (&"web".into(), &"running(3)".into()), "{stacks}");
    let parts = told(&["-p", "web", "ps", "--format", "{{.Name}} {{.Service}} {{.State}} {{.Health}}"]);
    let mut parts: Vec<&str> = parts.lines().collect();
    parts.sort_unstable();
    assert_eq!(
        parts,
        ["web-app-1 app running healthy", "web-app-2 app running healthy", "web-db-1 db running healthy"]
    );
}
