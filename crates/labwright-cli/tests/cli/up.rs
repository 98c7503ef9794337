//! A lab on this machine: real processes, in order, whatever they do, and none left over.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::{Desk, Ran};

/// A lab that is ended whatever becomes of the test.
pub struct Here {
    pub desk: Desk,
}

impl Drop for Here {
    fn drop(&mut self) {
        drop(self.desk.command().args(["down", "--kill"]).output());
    }
}

impl Here {
    pub fn new(services: &str) -> Here {
        Here::of(&format!("lab: test\ncompute: {{ hosts: {{ box: {{ address: 10.9.9.9 }} }} }}\nservices:\n{services}"))
    }

    pub fn of(lab: &str) -> Here {
        Here { desk: Desk::new(lab) }
    }

    pub fn up(&self, args: &[&str]) -> Ran {
        self.desk.run(&[&["up", "--wait"], args].concat())
    }

    pub fn down(&self) -> Ran {
        self.desk.run(&["down"])
    }

    /// In the foreground, with what it says in files.
    pub fn foreground(&self, args: &[&str]) -> Child {
        let file = |name: &str| fs::File::create(self.desk.path(name)).unwrap();
        let mut command = self.desk.command();
        command.arg("up").args(args).stdout(file("out")).stderr(file("err")).stdin(Stdio::null());
        command.spawn().unwrap()
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.desk.path(name)).unwrap_or_default()
    }

    pub fn state(&self) -> Value {
        serde_json::from_str(&self.desk.run(&["ps", "--json"]).out).unwrap_or(Value::Null)
    }

    pub fn unit(&self, name: &str) -> Value {
        let state = self.state();
        let units = state["units"].as_array().cloned().unwrap_or_default();
        units.into_iter().find(|unit| unit["name"] == name).unwrap_or(Value::Null)
    }

    pub fn pid(&self, name: &str) -> i64 {
        self.unit(name)["pid"].as_i64().unwrap_or_else(|| panic!("`{name}` has no process: {}", self.state()))
    }

    /// The folder that the lab has on this machine.
    pub fn folder(&self) -> std::path::PathBuf {
        fs::read_dir(self.desk.path("state/up")).unwrap().next().unwrap().unwrap().path()
    }
}

#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn is_alive(pid: i64) -> bool {
    // What has ended and is not asked after yet does not run.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

pub fn signal(pid: i64, signal: &str) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap().success());
}

/// A process that notes its start and its end.
pub fn noting(here: &str, name: &str, more: &str) -> String {
    format!(
        "  {name}: {{ on: box, run: {{ command: [/bin/sh, -c, \"echo start {name} >> {here}/log; echo hello from {name}; trap \
         'echo stop {name} >> {here}/log; exit 0' TERM; while :; do sleep 0.05; done\"] }}{more} }}\n"
    )
}

/// A server of pages at its `${port}`.
pub fn server(name: &str, more: &str) -> String {
    format!(
        "  {name}: {{ on: box, run: {{ command: [python3, -m, http.server, --bind, 127.0.0.1, \"${{port}}\"] }}{more} }}\n"
    )
}

pub fn in_order(more: &str) -> Here {
    let here = Here::new("");
    let folder = here.desk.dir.path().display().to_string();
    let services: String = [("third", ", needs: [second]"), ("first", ""), ("second", ", needs: [first]")]
        .iter()
        .map(|(name, needs)| noting(&folder, name, needs))
        .collect();
    here.desk.lab(&format!(
        "lab: test\ncompute: {{ hosts: {{ box: {{ address: 10.9.9.9 }} }} }}\nservices:\n{services}{more}"
    ));
    here
}

#[test]
fn services_start_in_the_order_of_their_needs_and_stop_in_reverse() {
    let here = in_order("");
    here.up(&[]).code(0).says("3 of 3 are well");
    assert_eq!(here.read("log"), "start first\nstart second\nstart third\n");
    here.desk.run(&["ps"]).code(0).says("first").says("ready").says(&format!("pid {}", here.pid("first")));
    here.desk.run(&["ps", "lab.yaml"]).code(0).says("first");
    here.desk.run(&["ps", "--lab", "lab.yaml"]).code(0).says("first");
    here.desk.run(&["logs", "--here", "second"]).code(0).says("hello from second").says_not("first");
    let pids: Vec<i64> = ["first", "second", "third"].iter().map(|name| here.pid(name)).collect();
    // Whatever has become of its file meanwhile.
    let lab = here.read("lab.yaml");
    here.desk.lab("lab: [renamed\n");
    here.down().code(0).says("lab `test` is down; its data stands in");
    here.desk.lab(&lab);
    assert_eq!(here.read("log"), "start first\nstart second\nstart third\nstop third\nstop second\nstop first\n");
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    here.desk.run(&["ps"]).code(7).says("is not up");
    here.desk.run(&["logs", "--here", "second"]).code(0).says("hello from second");
    here.down().code(0).says("is not up");
}

#[test]
fn by_hand_they_stop_in_reverse_and_start_with_what_they_need() {
    let here = in_order(
        "  broken: { on: box, run: { command: [/bin/sh, -c, \"echo it is broken; exit 3\"], restart: no } }\n",
    );
    here.up(&[]).code(7);
    let run = |args: &[&str]| here.desk.run(args);
    fs::write(here.desk.path("log"), "").unwrap();
    // Whoever needs what is stopped goes on, and is told.
    run(&["stop", "first"])
        .code(0)
        .says("`second` needs `first`, and goes on without")
        .says("first: stopped")
        .says_not("third");
    assert_eq!(here.read("log"), "stop first\n");
    run(&["ps"]).code(7).says("first   stopped");
    run(&["logs", "--here", "second"]).code(0).says("`first`, which it needs, is stopped by hand; it goes on without");
    run(&["stop", "first"]).code(0).says("first was stopped already");
    run(&["start", "first"]).code(0).says("first: ready after");
    run(&["start", "first"]).code(0).says_not("started as well");
    fs::write(here.desk.path("log"), "").unwrap();
    // In reverse, however they are named, and over what stands between them.
    run(&["stop", "first", "third"]).code(0).says("`second` needs `first`");
    assert_eq!(here.read("log"), "stop third\nstop first\n");
    run(&["stop", "first", "--dependents"]).code(0).says("second: stopped");
    run(&["start", "third"]).code(0).says("`first` is started as well: it is needed").says("third: ready");
    assert_eq!(here.read("log"), "stop third\nstop first\nstop second\nstart first\nstart second\nstart third\n");
    fs::write(here.desk.path("log"), "").unwrap();
    run(&["stop", "first", "--dependents"])
        .code(0)
        .says("third: stopped")
        .says("second: stopped")
        .says("first: stopped");
    assert_eq!(here.read("log"), "stop third\nstop second\nstop first\n");
    // For scripts: what is not there, and what does not become well.
    run(&["stop", "fourth"]).code(2).says("there is no `fourth` here").says("here are `third`, `first`, `second`");
    run(&["start", "broken"])
        .code(7)
        .says("does not become well: `broken`")
        .says("it ended with exit code 3")
        .says("    it is broken");
    run(&["start", "first", "--no-wait"]).code(0).says_not("ready");
    here.down().code(0);
    run(&["stop", "first"]).code(7).says("lab `test` is not up on this machine").says("`labwright up`");
    run(&["start", "first"]).code(7).says("is not up");
}

#[test]
fn who_does_not_stop_in_time_is_told_and_what_is_held_up_starts_again() {
    let here = Here::new(
        "  stubborn: { on: box, run: { command: [/bin/sh, -c, \"trap '' TERM; while :; do sleep 0.1; done\"] }, up: { stop_within: 3s } }\n\
         \x20 below: { on: box, needs: [stubborn], run: [/bin/sleep, infinity] }\n",
    );
    here.up(&[]).code(0);
    let pid = here.pid("stubborn");
    here.desk.run(&["stop", "stubborn", "--timeout", "1"]).code(7).says("not ended within 1 s: `stubborn`");
    // It is killed in its own time all the same, and is started when that is over.
    here.desk.run(&["start", "stubborn"]).code(0).says("stubborn: ready");
    assert!(!is_alive(pid) && here.pid("stubborn") != pid);
    assert_eq!(here.unit("below")["phase"], "ready");
}

#[test]
fn a_service_is_well_when_its_probe_is_and_its_port_is_its_own() {
    let probe = ", probe: { path: /, expect: [\"[STATUS] == 200\", \"[CERTIFICATE_EXPIRATION] > 48h\"] }";
    let here = Here::new(&(server("pages-one", probe) + &server("pages-two", ", probe: /, needs: [pages-one]")));
    let aside = "`[CERTIFICATE_EXPIRATION] > 48h` of `pages-one` is not asked here";
    here.up(&[]).code(0).says("2 of 2 are well").says(aside);
    let ports: Vec<i64> =
        ["pages-one", "pages-two"].iter().map(|name| here.unit(name)["port"].as_i64().unwrap()).collect();
    assert_ne!(ports[0], ports[1]);
    for port in &ports {
        let got = Command::new("curl").args(["-fsS", &format!("http://127.0.0.1:{port}/")]).output().unwrap();
        assert!(got.status.success(), "{got:?}");
    }
    here.desk.run(&["restart", "pages-one"]).code(0);
    until("it is well again", || here.unit("pages-one")["phase"] == "ready" && here.unit("pages-one")["restarts"] == 1);
    here.desk.run(&["restart", "pages-three"]).code(2).says("there is no `pages-three` here");
    here.up(&[]).code(0).says("2 of 2 are well");
    here.desk.run(&["up"]).code(0).says("is up already");
}

#[test]
fn a_part_runs_with_what_it_needs() {
    let here = in_order("  apart: { on: box, run: { command: [/bin/sleep, infinity] } }\n");
    here.up(&["second"]).code(0).says("2 of 2 are well");
    assert_eq!(here.read("log"), "start first\nstart second\n");
    here.down().code(0);
    here.up(&["secund"]).code(2).says("did you mean `second`?");
}

#[test]
fn what_never_becomes_well_is_told_with_its_reason_and_the_rest_runs() {
    let services = "  nowhere: { on: box, run: { command: [no-such-program] } }\n\
        \x20 ends: { on: box, run: { command: [/bin/sh, -c, 'echo the disk is on fire >&2; exit 3'] } }\n\
        \x20 after: { on: box, run: { command: [/bin/sleep, infinity] }, needs: [ends] }\n\
        \x20 away: { on: box, run: { command: [/bin/sh, -c, 'sleep 77 & exit 0'] } }\n\
        \x20 fine: { on: box, run: { command: [/bin/sleep, infinity] } }\n";
    let here = Here::new(services);
    here.up(&[])
        .code(7)
        .says("there is no program `no-such-program` in any folder of PATH")
        .says("it ended with exit code 3 before it was well")
        .says("    the disk is on fire")
        .says("after is waiting")
        .says("it went into the background")
        .says("1 of 5 are well");
    assert_eq!(here.unit("fine")["phase"], "ready");
    let left = Command::new("pgrep").args(["-f", "^sleep 77$"]).output().unwrap();
    assert!(left.stdout.is_empty(), "what went away is ended");
}

#[test]
fn what_hangs_is_told_when_time_is_up() {
    let hangs = "import socket,sys,time\ns=socket.create_server(('127.0.0.1',int(sys.argv[1])))\nk=[]\nwhile 1: k.append(s.accept())\n";
    let here = Here::new(
        "  hangs: { on: box, run: { command: [python3, hangs.py, \"${port}\"] }, probe: { path: /health, timeout: 300ms }, up: { directory: . } }\n\
         \x20 silent: { on: box, run: { command: [/bin/sleep, infinity] }, port: 27654 }\n",
    );
    here.desk.write("hangs.py", hangs);
    here.up(&["--timeout", "4"])
        .code(7)
        .says("not everything was well within 4 s")
        .says("`GET /health` on port")
        .says("is not answered within 300ms")
        .says("nothing takes connections on port 27654");
    here.down().code(0);
}

#[test]
fn a_port_that_is_taken_is_told_with_who_has_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let own = std::process::id();
    let here = Here::new(&format!(
        "  fixed: {{ on: box, run: {{ command: [/bin/sleep, infinity] }}, port: {port} }}\n\
         \x20 moves: {{ on: box, run: {{ command: [python3, -m, http.server, --bind, 127.0.0.1, \"${{port}}\"] }}, port: {port} }}\n"
    ));
    here.up(&[])
        .code(5)
        .says(&format!("`fixed` is left out: it has port {port}, which is taken here by"))
        .says(&format!("process {own}"))
        .says("`moves` has port")
        .says(&format!("here instead of {port}"));
    assert_ne!(here.unit("moves")["port"].as_u64(), Some(u64::from(port)));
}

#[test]
fn a_circle_is_a_finding_and_nothing_starts() {
    let here = in_order("");
    let lab = here.read("lab.yaml").replace("first: { on: box,", "first: { on: box, needs: [third],");
    here.desk.lab(&lab);
    here.up(&[]).code(3).says("nothing was started");
    assert_eq!(here.read("log"), "");
}

#[test]
fn what_is_told_as_json_is_as_its_schemas_say() {
    let here = in_order("  ends: { on: box, run: { command: [/bin/sh, -c, 'echo no; exit 1'] } }\n");
    let up = here.up(&["--json"]).code(7);
    let told = crate::json::holds("up", &up);
    assert!(told.iter().any(|event| event["tell"] == "settled"));
    let ps = crate::json::holds("ps", &here.desk.run(&["ps", "--json"]).code(7));
    assert_eq!(ps[0]["units"].as_array().map(Vec::len), Some(4));
    let logs = crate::json::holds("logs", &here.desk.run(&["logs", "--here", "--json", "first"]).code(0));
    assert!(logs.iter().any(|line| line["text"] == "hello from first"));
    here.down().code(0);
    // Whoever is down has nothing to be asked.
    here.desk.run(&["restart", "first"]).code(7).says("hint: start it: `labwright up`");
}
