//! A lab on this machine with containers in it: a real engine, real processes beside it, whatever happens to either.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use labwright_testkit::Engine;
use serde_json::Value;

use crate::world::{Desk, Ran};

pub const PAGES: &str = r#"CMD ["/bin/httpd","-f","-p","80","-h","/etc"]"#;
pub const QUIET: &str = r#"CMD ["/bin/sh","-c","trap 'exit 0' TERM; while true; do sleep 0.1; done"]"#;
const CHECK: &str =
    r#"HEALTHCHECK --interval=300ms --timeout=2s --retries=2 CMD ["/bin/sh","-c","echo looked; test -e /well"]"#;

/// A lab and an engine, both ended whatever becomes of the test. Everything runs where the engine does.
pub struct Dock {
    pub desk: Desk,
    pub engine: Engine,
    /// Whether it is used by somebody who is not root.
    plain: bool,
}

impl Drop for Dock {
    fn drop(&mut self) {
        drop(self.command(&["down", "--kill"]).output());
    }
}

impl Dock {
    pub fn new(services: &str) -> Dock {
        let desk = Desk::new("");
        let engine = Engine::start(&desk.path("engine")).unwrap();
        let dock = Dock { desk, engine, plain: false };
        dock.services(services);
        dock
    }

    pub fn services(&self, services: &str) {
        let lab = format!("lab: test\ncompute: {{ hosts: {{ box: {{ address: 10.9.9.9 }} }} }}\nservices:\n{services}");
        self.desk.lab(&lab.replace("REG", labwright_testkit::engine::REGISTRY));
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.engine.inside().unwrap();
        if self.plain {
            command.args(["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]);
        }
        // Its mounts are other ones, and so is the folder that it begins in.
        command.args(["env", "-C"]).arg(self.desk.dir.path());
        command.arg(env!("CARGO_BIN_EXE_labwright")).args(args).env_clear();
        if self.plain {
            command.env("XDG_RUNTIME_DIR", self.desk.path("run"));
        }
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", self.desk.path("home")).env("COLUMNS", "160");
        command.env("DOCKER_HOST", format!("unix://{}", self.engine.socket().display()));
        command.env("LABWRIGHT_STATE_DIR", self.desk.path("state"));
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    pub fn up(&self, args: &[&str]) -> Ran {
        self.run(&[&["up", "--wait"], args].concat())
    }

    pub fn foreground(&self) -> Child {
        let file = |name: &str| fs::File::create(self.desk.path(name)).unwrap();
        self.command(&["up"]).stdout(file("out")).stderr(file("err")).spawn().unwrap()
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.desk.path(name)).unwrap_or_default()
    }

    pub fn state(&self) -> Value {
        serde_json::from_str(&self.run(&["ps", "--json"]).out).unwrap_or(Value::Null)
    }

    pub fn unit(&self, name: &str) -> Value {
        let units = self.state()["units"].as_array().cloned().unwrap_or_default();
        units.into_iter().find(|unit| unit["name"] == name).unwrap_or(Value::Null)
    }

    /// The name of the only container of a service, or of the one of a key.
    pub fn container(&self, unit: &str, key: &str) -> String {
        let unit = self.unit(unit);
        let all = unit["containers"].as_array().cloned().unwrap_or_default();
        let one = all.iter().find(|one| one["key"] == key);
        one.unwrap_or_else(|| panic!("no `{key}`: {unit}"))["name"].as_str().unwrap().to_string()
    }

    pub fn docker(&self, args: &[&str]) -> String {
        self.engine.docker(args).unwrap()
    }

    /// Everything of the lab in the engine: containers, and networks beside the engine's own.
    pub fn left(&self) -> (String, String) {
        let containers = self.docker(&["ps", "-a", "--format", "{{.Names}}"]);
        (containers, self.docker(&["network", "ls", "--filter", "type=custom", "--format", "{{.Name}}"]))
    }

    /// A signal to a process, by the number that it has where the engine runs.
    pub fn signal(&self, signal: &str, pid: u64) {
        self.engine.within(&["kill", &format!("-{signal}"), &pid.to_string()]).unwrap();
    }
}

#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn containers_and_processes_run_beside_each_other() {
    let dock = Dock::new("");
    dock.engine.publish("pages:1", &[PAGES]).unwrap();
    dock.engine.publish("quiet:1", &[QUIET]).unwrap();
    dock.engine.docker(&["pull", "-q", "127.0.0.1:5000/quiet:1"]).unwrap();
    // What `apply` made, or anybody, is called as the lab calls it, and stays as it is.
    dock.docker(&["volume", "create", "db_data"]);
    let real = dock.docker(&["run", "-d", "--name", "db-app-1", "-v", "db_data:/data", "127.0.0.1:5000/quiet:1"]);
    fs::create_dir(dock.desk.path("site")).unwrap();
    dock.desk.write("site/index.html", "from a process\n");
    dock.services(
        "  db: { on: box, containers: { app: { image: REG/pages:1, volumes: [\"data:/data\", \"/srv/precious:/precious\"], container_name: the-db } }, port: app:80, url: db }\n\
         \x20 api: { on: box, needs: [db], run: { command: [/bin/sh, -c, 'echo the db is $DB; cd site; exec python3 -m http.server --bind 127.0.0.1 ${port}'], environment: { DB: \"${service.db.url}\" } }, up: { directory: . } }\n\
         \x20 web: { on: box, needs: [api, db], containers: { app: { image: REG/quiet:1, environment: { API: \"${service.api.url}\", DB: \"${service.db.url}\" }, ports: [\"7070:7070\"] }, side: { image: REG/quiet:1, command: [/bin/sh, -c, \"echo I stand beside; exec sleep 1000\"], depends_on: [app] } } }\n",
    );
    dock.up(&[])
        .code(0)
        .says("3 of 3 are well")
        .says("`db` has a folder of its own here in the place of `/srv/precious`");
    let (db, web) = (dock.container("db", "app"), dock.container("web", "app"));
    assert_ne!(db, "db-app-1");
    // A process reaches a container by the port that it has here, on loopback alone.
    let port = dock.unit("db")["port"].as_u64().unwrap();
    dock.run(&["logs", "--here", "api"]).code(0).says(&format!("the db is http://localhost:{port}"));
    let page = dock.engine.within(&["curl", "-fsS", &format!("http://127.0.0.1:{port}/passwd")]).unwrap();
    assert!(page.contains("root:x:0:0"), "{page}");
    let bound = "{{range $inside, $all := .HostConfig.PortBindings}}{{range $all}}{{.HostIp}} {{end}}{{end}}";
    for name in [&db, &web] {
        assert_eq!(dock.docker(&["inspect", "-f", bound, name]).trim(), "127.0.0.1");
    }
    // A container reaches a process by its name, and another container by that one's.
    let environment = dock.docker(&["exec", &web, "env"]);
    assert!(environment.contains("DB=http://db:80"), "{environment}");
    let api = environment.lines().find_map(|line| line.strip_prefix("API=http://api:")).unwrap().to_string();
    let hosts = dock.docker(&["exec", &web, "cat", "/etc/hosts"]);
    let gateway = hosts.lines().find(|line| line.ends_with("\tapi")).unwrap().split('\t').next().unwrap().to_string();
    let got = dock.docker(&["exec", &web, "wget", "-q", "-O-", &format!("http://{gateway}:{api}/index.html")]);
    assert_eq!(got, "from a process");
    dock.docker(&["exec", &web, "nslookup", "db"]);
    // Shown as the service with its containers, its lines with the container in front where there are several.
    crate::json::holds("ps", &dock.run(&["ps", "--json"]));
    dock.run(&["ps"]).code(0).says(&format!("container {db}")).says("2 of 2 containers");
    until("what it says", || dock.run(&["logs", "--here", "web"]).out.contains("side: I stand beside"));
    dock.run(&["restart", "db"]).code(0);
    until("it is well again", || dock.unit("db")["phase"] == "ready" && dock.unit("db")["restarts"] == 1);
    dock.up(&[]).code(0);
    dock.run(&["down"]).code(0).says("so do the volumes of its containers");
    let (containers, networks) = dock.left();
    assert_eq!((containers.as_str(), networks.as_str()), ("db-app-1", ""));
    assert_eq!(dock.docker(&["inspect", "-f", "{{.Id}} {{.State.Running}}", "db-app-1"]), format!("{real} true"));
    let volumes = dock.docker(&["volume", "ls", "-q"]);
    assert_eq!(volumes.lines().count(), 2, "{volumes}");
}

#[test]
fn what_does_not_come_up_is_told_with_its_reason_and_the_rest_runs() {
    let dock = Dock::new("");
    dock.engine.publish("quiet:1", &[QUIET]).unwrap();
    dock.engine.publish("ends:1", &[r#"CMD ["/bin/sh","-c","echo the disk is on fire >&2; exit 3"]"#]).unwrap();
    dock.engine.publish("ill:1", &[QUIET, CHECK]).unwrap();
    dock.services(
        "  nowhere: { on: box, containers: { app: { image: REG/nobody-has-it:1 } } }\n\
         \x20 ends: { on: box, containers: { app: { image: REG/ends:1 } } }\n\
         \x20 always: { on: box, containers: { app: { image: REG/ends:1, restart: always } } }\n\
         \x20 ill: { on: box, containers: { app: { image: REG/ill:1 } } }\n\
         \x20 after: { on: box, run: [/bin/sleep, infinity], needs: [ill] }\n\
         \x20 fine: { on: box, containers: { app: { image: REG/quiet:1 } } }\n",
    );
    dock.up(&[])
        .code(7)
        .says("nowhere is failed")
        .says("no image of that name is here")
        .says("ends is failed: `app` ended with exit code 3")
        .says("    the disk is on fire")
        .says("always is restarting: `app` ended with exit code 3; started again after")
        .says("ill is failed")
        .says("is unhealthy; its health check said: looked")
        .says("after is waiting")
        .says("1 of 6 are well");
    assert_eq!(dock.unit("fine")["containers"][0]["state"], "running");
    // A name that somebody else has is left to them.
    let name = dock.container("fine", "app");
    dock.run(&["down"]).code(0);
    dock.docker(&["run", "-d", "--name", &name, "127.0.0.1:5000/quiet:1"]);
    dock.up(&["fine"]).code(7).says(&format!("there is a container `{name}` already, which no `labwright up` made"));
    dock.run(&["down"]).code(0);
    assert_eq!(dock.docker(&["inspect", "-f", "{{.State.Running}}", &name]), "true");
    dock.docker(&["rm", "-f", &name]);
    // What falls ill later is told as well, and what is well again.
    dock.services("  ill: { on: box, containers: { app: { image: REG/ill:1, command: [/bin/sh, -c, 'touch /well; exec sleep 1000'] } } }\n");
    dock.up(&[]).code(0);
    let name = dock.container("ill", "app");
    dock.docker(&["exec", &name, "rm", "/well"]);
    until("it is ill", || dock.unit("ill")["phase"] == "unwell");
    assert!(dock.unit("ill")["reason"].as_str().unwrap().contains("its health check said: looked"));
    dock.docker(&["exec", &name, "touch", "/well"]);
    until("it is well", || dock.unit("ill")["phase"] == "ready");
    dock.run(&["down"]).code(0);
    assert_eq!(dock.left(), (String::new(), String::new()));
}

#[test]
fn containers_start_in_the_order_of_their_needs_and_stop_in_reverse() {
    let dock = Dock::new("");
    let noting = |name: &str| {
        format!(
            "CMD [\"/bin/sh\",\"-c\",\"echo start {name} >> /log/log; trap 'echo stop {name} >> /log/log; exit 0' TERM; sleep 0.3; touch /well; while true; do sleep 0.05; done\"]"
        )
    };
    for name in ["first", "second", "third"] {
        dock.engine.publish(&format!("{name}:1"), &[&noting(name), CHECK]).unwrap();
    }
    fs::create_dir(dock.desk.path("log")).unwrap();
    dock.services(
        "  third: { on: box, needs: [second], containers: { app: { image: REG/third:1, volumes: [\"./log:/log\"] } } }\n\
         \x20 second: { on: box, needs: [first], containers: { app: { image: REG/second:1, volumes: [\"./log:/log\"] } } }\n\
         \x20 first: { on: box, containers: { app: { image: REG/first:1, volumes: [\"./log:/log\"], restart: unless-stopped } } }\n",
    );
    let up = dock.foreground();
    until("all are well", || dock.read("err").contains("3 of 3 are well"));
    assert_eq!(dock.read("log/log"), "start first\nstart second\nstart third\n");
    // A container that is killed is started again by the lab, and counted.
    dock.docker(&["kill", &dock.container("first", "app")]);
    until("it is well again", || dock.unit("first")["restarts"] == 1 && dock.unit("first")["phase"] == "ready");
    fs::write(dock.desk.path("log/log"), "").unwrap();
    // Ctrl-C, to the process that shows it.
    let shows = dock.engine.within(&["pgrep", "-x", "labwright", "-f", "labwright up$"]).unwrap_or_default();
    let shows = shows.lines().next().map(str::to_string).unwrap_or_else(|| {
        dock.engine.within(&["pgrep", "-f", "labwright up"]).unwrap().lines().next().unwrap().to_string()
    });
    dock.signal("INT", shows.parse().unwrap());
    let output = { up }.wait().unwrap();
    assert_eq!(output.code(), Some(0), "{}", dock.read("err"));
    assert_eq!(dock.read("log/log"), "stop third\nstop second\nstop first\n");
    assert_eq!(dock.left(), (String::new(), String::new()));
}

#[test]
fn a_run_that_is_killed_leaves_no_container() {
    let dock = Dock::new("");
    dock.engine.publish("quiet:1", &[QUIET]).unwrap();
    dock.services("  one: { on: box, containers: { app: { image: REG/quiet:1, volumes: [\"data:/data\"] } } }\n  two: { on: box, needs: [one], containers: { app: { image: REG/quiet:1 } } }\n");
    dock.up(&[]).code(0);
    dock.docker(&["exec", &dock.container("one", "app"), "touch", "/data/precious"]);
    // The supervisor alone: its guard takes them away.
    dock.signal("KILL", dock.state()["pid"].as_u64().unwrap());
    until("they are gone", || dock.left() == (String::new(), String::new()));
    // Both at once: the next one does.
    dock.up(&[]).code(0);
    let pid = dock.state()["pid"].as_u64().unwrap();
    let stat = dock.engine.within(&["cat", &format!("/proc/{pid}/stat")]).unwrap();
    let guard: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
    dock.engine.within(&["kill", "-KILL", &guard.to_string(), &pid.to_string()]).unwrap();
    until("both are gone", || dock.run(&["ps"]).code == 7);
    assert_eq!(dock.left().0.lines().count(), 2, "nobody is left who takes them away");
    dock.up(&[]).code(0).says("removed the containers that it had left").says("2 of 2 are well");
    dock.docker(&["exec", &dock.container("one", "app"), "test", "-e", "/data/precious"]);
    dock.run(&["down"]).code(0);
    assert_eq!(dock.left(), (String::new(), String::new()));
}

#[test]
fn an_engine_that_goes_away_is_told_and_what_it_had_starts_again() {
    let mut dock = Dock::new("");
    dock.engine.publish("quiet:1", &[QUIET]).unwrap();
    dock.services("  one: { on: box, containers: { app: { image: REG/quiet:1 } } }\n  own: { on: box, run: [/bin/sleep, infinity] }\n");
    dock.up(&[]).code(0);
    dock.engine.stop_dockerd().unwrap();
    until("it is told", || {
        let one = dock.unit("one");
        one["phase"] != "ready" && !one["reason"].as_str().unwrap_or_default().is_empty()
    });
    assert_eq!(dock.unit("own")["phase"], "ready");
    dock.engine.start_dockerd().unwrap();
    until("it runs again", || dock.unit("one")["phase"] == "ready");
    dock.run(&["down"]).code(0);
    assert_eq!(dock.left(), (String::new(), String::new()));
}

#[test]
fn another_image_stands_in_and_seeds_are_loaded_once_for_each_volume() {
    let dock = Dock::new("");
    dock.engine.publish("pages:1", &[PAGES]).unwrap();
    dock.services(
        "  db: { on: box, containers: { app: { image: REG/nobody-has-it:1 } }, port: app:80, seed: [seeds/first.sh], up: { image: REG/pages:1, environment: { COLOR: blue } } }\n\
         \x20 kept: { on: box, containers: { store: { image: REG/pages:1, volumes: [\"data:/data\"] } }, port: 80, seed: [seeds/first.sh, seeds/broken.sh] }\n\
         \x20 after: { on: box, needs: [kept], run: [/bin/sleep, infinity] }\n",
    );
    dock.desk.write("seeds/first.sh", "echo loaded $COLOR >> /data 2>/dev/null || echo loaded >> /data/log\n");
    dock.desk.write("seeds/broken.sh", "echo the table is upside down >&2; exit 4\n");
    dock.up(&[])
        .code(7)
        .says("kept-seeds")
        .says("broken.sh` was not loaded: it ended with exit code 4")
        .says("    the table is upside down")
        .says("after is waiting");
    dock.run(&["down"]).code(0);
    dock.desk.write("seeds/broken.sh", "echo mended >> /data/log\n");
    dock.up(&[]).code(0);
    let log = |dock: &Dock| dock.docker(&["exec", &dock.container("kept", "store"), "cat", "/data/log"]);
    assert_eq!(log(&dock), "loaded\nmended");
    assert_eq!(dock.docker(&["exec", &dock.container("db", "app"), "cat", "/data"]), "loaded blue");
    dock.run(&["down"]).code(0);
    dock.up(&[]).code(0);
    assert_eq!(log(&dock), "loaded\nmended", "once for each content and volume");
    dock.run(&["down"]).code(0);
    let volumes = dock.docker(&["volume", "ls", "-q", "--filter", "label=dev.labwright.up"]);
    dock.docker(&[&["volume", "rm"], volumes.lines().collect::<Vec<_>>().as_slice()].concat());
    dock.up(&[]).code(0);
    assert_eq!(log(&dock), "loaded\nmended", "a fresh copy is loaded anew");
}

#[test]
fn a_published_port_that_is_taken_is_told_with_who_has_it() {
    let dock = Dock::new("");
    dock.engine.publish("pages:1", &[PAGES]).unwrap();
    dock.services("  web: { on: box, containers: { app: { image: REG/pages:1, ports: [\"7070:7070\", \"5353:53/udp\"] } }, port: app:80 }\n");
    let listen = |port: u64, kind: &str| {
        let script = format!(
            "import os, socket, time\ns = socket.socket(socket.AF_INET, socket.{kind})\ns.bind(('127.0.0.1', {port}))\n\
             {}\nprint(os.getpid(), flush=True)\ntime.sleep(1000)",
            if kind == "SOCK_STREAM" { "s.listen()" } else { "" }
        );
        let mut command = dock.engine.inside().unwrap();
        let mut child = command.args(["python3", "-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        (child, line.trim().to_string())
    };
    // What is taken before `up` gives way, and that is told.
    let (mut first, taker) = listen(7070, "SOCK_STREAM");
    let moved = format!("`web` has port 7071 here instead of 7070: `python3` (process {taker}) has that");
    dock.up(&[]).code(0).says(&moved);
    dock.run(&["ps", "--json"]).code(0).says("127.0.0.1:7071:7070/tcp");
    // What is taken while it is stopped is told with who has it, and starts once that one has gone.
    dock.run(&["stop", "web"]).code(0);
    let port = dock.unit("web")["port"].as_u64().unwrap();
    let (mut second, pid) = listen(port, "SOCK_STREAM");
    let told = |port: u64, protocol: &str, pid: &str| {
        dock.run(&["start", "web"])
            .code(7)
            .says("does not become well: `web`")
            .says(&format!("`python3` (process {pid}) has port {port}"))
            .says(&format!("`python3` (process {pid}) has port {port}/{protocol}: stop it"));
    };
    told(port, "tcp", &pid);
    dock.signal("KILL", pid.parse().unwrap());
    second.wait().unwrap();
    let (mut third, pid) = listen(5353, "SOCK_DGRAM");
    told(5353, "udp", &pid);
    dock.signal("KILL", pid.parse().unwrap());
    third.wait().unwrap();
    dock.run(&["start", "web"]).code(0).says("web: ready");
    dock.signal("KILL", taker.parse().unwrap());
    first.wait().unwrap();
    // Another container that has it is named as such.
    dock.run(&["stop", "web"]).code(0);
    dock.docker(&["run", "-d", "--name", "taker", "-p", &format!("127.0.0.1:{port}:1"), "127.0.0.1:5000/pages:1"]);
    dock.run(&["start", "web"]).code(7).says(&format!("container `taker` has port {port}"));
}

#[test]
fn a_lock_that_cannot_be_read_is_not_an_empty_one() {
    let dock = Dock::new("  app: { on: box, containers: { web: { image: \"REG/quiet:1\" } } }\n");
    dock.engine.publish("quiet:1", &[QUIET]).unwrap();
    dock.desk.write("lab.lock", "<<<<<<< HEAD\n");
    dock.up(&[]).code(2).says("cannot read").says("lab.lock").says("take it from your version control");
    assert_eq!(dock.engine.docker(&["ps", "-aq"]).unwrap(), "");
}

#[test]
fn without_an_engine_those_services_alone_are_left_out() {
    let desk = Desk::new(
        "lab: test\ncompute: { hosts: { box: { address: 10.9.9.9 } } }\nservices:\n\
         \x20 db: { on: box, containers: { app: { image: \"postgres:17\" } } }\n\
         \x20 api: { on: box, run: [/bin/sleep, infinity], needs: [db] }\n\
         \x20 own: { on: box, run: [/bin/sleep, infinity] }\n",
    );
    let run = |host: &str, args: &[&str]| -> Ran {
        let mut command = desk.command();
        command.args(args).env("DOCKER_HOST", host).output().unwrap().into()
    };
    let none = format!("unix://{}", desk.path("none.sock").display());
    run(&none, &["up", "--wait"])
        .code(5)
        .says("`db` is left out: it runs in containers, and no Docker engine and no Podman is here: nobody listens at")
        .says("`api` is left out: it needs `db`, which is left out")
        .says("1 of 1 are well");
    run(&none, &["down"]).code(0);
    let listener = std::os::unix::net::UnixListener::bind(desk.path("deaf.sock")).unwrap();
    let deaf = format!("unix://{}", desk.path("deaf.sock").display());
    run(&deaf, &["up", "--wait"]).code(5).says("does not answer within 5 s").says("1 of 1 are well");
    drop(listener);
    run(&deaf, &["down"]).code(0);
    run("tcp://192.0.2.1:2375", &["up", "--wait"]).code(5).says("DOCKER_HOST is `tcp://192.0.2.1:2375`");
    run(&none, &["down", "--kill"]).code(0);
}

const SECRET_LAB: &str = "lab: test\nplatform: { secrets: { age: secrets.yaml } }\ncompute: { hosts: { box: { address: 10.9.9.9 } } }\nservices:\n\
    \x20 one: { on: box, containers: { app: { image: REG/quiet:1, environment: { PW_FILE: \"${secret.pw}\" } } } }\n\
    \x20 two: { on: box, containers: { app: { image: REG/other:1, environment: { PW_FILE: \"${secret.pw}\" } } } }\n";

/// The lab with a secret is up; `code` is how that ended.
fn secrets(dock: &Dock, code: i32) -> Ran {
    dock.engine.publish("quiet:1", &[QUIET]).unwrap();
    dock.engine.publish("other:1", &[QUIET, "USER app"]).unwrap();
    dock.desk.lab(&SECRET_LAB.replace("REG", labwright_testkit::engine::REGISTRY));
    dock.run(&["secret", "init"]).code(0);
    crate::secrets::feed(dock.command(&["secret", "set", "pw"]), "canary-in-a-mine").code(0);
    let ran = dock.up(&[]).code(code).says_not("canary-in-a-mine");
    dock.run(&["ps", "--json"]).code(code).says_not("canary-in-a-mine");
    let found = Command::new("grep").args(["-rl", "canary-in-a-mine"]).arg(dock.desk.path("state")).output().unwrap();
    assert!(found.stdout.is_empty(), "{found:?}");
    ran
}

/// What the container of a service has of its secret, as it sees it itself.
fn secret_inside(dock: &Dock, unit: &str) -> String {
    let name = dock.container(unit, "app");
    assert!(!dock.docker(&["inspect", &name]).contains("canary-in-a-mine"));
    dock.docker(&["exec", &name, "/bin/sh", "-c", "cat $PW_FILE; stat -c ' %a' $PW_FILE"])
}

#[test]
fn a_secret_reaches_its_container_as_a_file_in_memory() {
    let dock = Dock::new("");
    secrets(&dock, 0);
    assert_eq!(secret_inside(&dock, "one"), "canary-in-a-mine 400");
    assert_eq!(secret_inside(&dock, "two"), "canary-in-a-mine 400");
    let label = "{{index .Config.Labels \"dev.labwright.up\"}}";
    let mark = dock.docker(&["inspect", "-f", label, &dock.container("one", "app")]);
    let folder = format!("/run/labwright/up/{mark}");
    dock.engine.within(&["test", "-d", &folder]).unwrap();
    dock.run(&["down"]).code(0);
    assert!(dock.engine.within(&["test", "-e", &folder]).is_err(), "they go with the lab");
}

#[test]
fn somebody_without_root_who_may_use_the_engine_needs_no_more() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let mut dock = Dock::new("");
    dock.plain = true;
    for folder in ["state", "home", "run"] {
        fs::create_dir_all(dock.desk.path(folder)).unwrap();
        chown(dock.desk.path(folder), Some(12345), Some(12345)).unwrap();
    }
    chown(dock.desk.dir.path(), Some(12345), Some(12345)).unwrap();
    fs::set_permissions(dock.engine.socket(), fs::Permissions::from_mode(0o600)).unwrap();
    dock.services("  one: { on: box, containers: { app: { image: REG/quiet:1 } } }\n");
    dock.up(&[]).code(5).says("is not open to you: be in its group (`sudo usermod -aG docker $USER`");
    fs::set_permissions(dock.engine.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    secrets(&dock, 7)
        .says("it runs as user 70, and only root can give that user a secret that nobody else reads")
        .says("`sudo labwright up`");
    assert_eq!(secret_inside(&dock, "one"), "canary-in-a-mine 400");
    let folder = fs::read_dir(dock.desk.path("run/labwright/up")).unwrap().next().unwrap().unwrap().path();
    let one = fs::read_dir(&folder).unwrap().next().unwrap().unwrap();
    assert_eq!(one.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    dock.run(&["down"]).code(0);
    assert!(!folder.exists());
    assert_eq!(dock.left(), (String::new(), String::new()));
}

#[test]
fn a_compose_file_runs_as_it_is() {
    let dock = Dock::new("");
    for (name, lines) in [("pages:1", vec![PAGES]), ("quiet:1", vec![QUIET]), ("ill:1", vec![QUIET, CHECK])] {
        dock.engine.publish(name, &lines).unwrap();
    }
    let file = "services:\n\
        \x20 web:\n    image: REG/pages:1\n    ports: [\"8088:80\", \"9099:81\"]\n    volumes: [\"./conf:/conf:ro\"]\n    networks: [front]\n\
        \x20   configs: [{ source: hello, target: /hello.txt }]\n    depends_on: { db: { condition: service_healthy }, once: { condition: service_completed_successfully } }\n\
        \x20 db:\n    image: REG/ill:1\n    command: [/bin/sh, -c, \"sleep 0.3; touch /well; exec sleep 1000\"]\n    networks: [front, back]\n\
        \x20 once:\n    image: REG/quiet:1\n    command: [/bin/sh, -c, \"echo did it\"]\n    networks: [back]\n\
        networks: { front: {}, back: { internal: true } }\nconfigs: { hello: { file: ./hello.txt } }\n";
    dock.desk.write("stack/compose.yaml", file.replace("REG", labwright_testkit::engine::REGISTRY));
    dock.desk.write("stack/conf/a", "from beside the file\n");
    dock.desk.write("stack/hello.txt", "hello\n");
    dock.services("  app: { on: box, compose: stack/compose.yaml, port: \"web:80\" }\n");
    dock.up(&[]).code(0).says("1 of 1 are well");
    let web = dock.container("app", "web");
    assert_eq!(dock.docker(&["exec", &web, "cat", "/conf/a", "/hello.txt"]), "from beside the file\nhello");
    let port = dock.unit("app")["port"].to_string();
    let page = dock.engine.within(&["curl", "-fsS", &format!("http://127.0.0.1:{port}/passwd")]).unwrap();
    assert!(page.contains("root:x:0:0"), "{page}");
    dock.run(&["ps"]).code(0).says("2 of 3 containers");
    let containers = dock.unit("app")["containers"].clone();
    let once = containers.as_array().unwrap().iter().find(|one| one["key"] == "once").unwrap();
    assert_eq!((once["state"].as_str(), once["code"].as_i64()), (Some("ended"), Some(0)));
    let web = containers.as_array().unwrap().iter().find(|one| one["key"] == "web").unwrap();
    assert_eq!(web["ports"], serde_json::json!([format!("127.0.0.1:{port}:80/tcp"), "127.0.0.1:9099:81/tcp"]));
    dock.run(&["logs", "--here", "app"]).code(0).says("once: did it");
    let networks = "{{range $name, $all := .NetworkSettings.Networks}}{{$name}} {{end}}";
    let once = dock.docker(&["inspect", "-f", networks, once["name"].as_str().unwrap()]);
    assert!(once.ends_with("_back") && !once.contains(' '), "no way out: {once}");
    dock.run(&["down"]).code(0);
    assert_eq!(dock.left(), (String::new(), String::new()));
}
