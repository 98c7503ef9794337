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

fn is_alive(pid: i64) -> bool {
    // What has ended and is not asked after yet does not run.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

fn signal(pid: i64, signal: &str) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap().success());
}

/// A process that notes its start and its end.
fn noting(here: &str, name: &str, more: &str) -> String {
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

fn in_order(more: &str) -> Here {
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
fn in_the_foreground_it_follows_and_ends_with_ctrl_c() {
    let here = in_order("");
    let mut up = here.foreground(&[]);
    until("all are well", || here.read("err").contains("3 of 3 are well"));
    until("what they say", || here.read("out").contains("second | hello from second"));
    let pids: Vec<i64> = ["first", "second", "third"].iter().map(|name| here.pid(name)).collect();
    signal(i64::from(up.id()), "INT");
    assert_eq!(up.wait().unwrap().code(), Some(0), "{}", here.read("err"));
    assert!(here.read("err").contains("stopping everything in order"), "{}", here.read("err"));
    assert!(here.read("log").ends_with("stop third\nstop second\nstop first\n"));
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
}

#[test]
fn a_closed_terminal_ends_everything_and_a_second_signal_kills() {
    let here = in_order(
        "  stubborn: { on: box, run: { command: [/bin/sh, -c, \"trap '' TERM; while :; do sleep 0.1; done\"] } }\n",
    );
    let mut up = here.foreground(&[]);
    until("all are well", || here.read("err").contains("4 of 4 are well"));
    let pid = here.pid("stubborn");
    signal(i64::from(up.id()), "INT");
    until("it says so", || here.read("err").contains("stopping everything"));
    signal(i64::from(up.id()), "INT");
    let began = Instant::now();
    assert_eq!(up.wait().unwrap().code(), Some(0), "{}", here.read("err"));
    assert!(began.elapsed() < Duration::from_secs(8) && !is_alive(pid));

    let mut up = here.foreground(&[]);
    until("all are well again", || here.read("err").contains("4 of 4 are well"));
    let pids: Vec<i64> = ["first", "third"].iter().map(|name| here.pid(name)).collect();
    signal(i64::from(up.id()), "HUP");
    up.wait().unwrap();
    until("all are gone", || pids.iter().all(|pid| !is_alive(*pid)));
    until("it is down", || here.desk.run(&["ps"]).code == 7);
    assert!(here.read("log").ends_with("stop third\nstop second\nstop first\n"), "{}", here.read("log"));
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
fn who_does_not_end_is_killed() {
    let here = Here::new(
        "  deaf: { on: box, up: { stop_within: 300ms }, run: { command: [/bin/sh, -c, \"trap '' TERM; while :; do sleep 0.1; done\"] } }\n",
    );
    here.up(&[]).code(0);
    let pid = here.pid("deaf");
    let began = Instant::now();
    here.down().code(0);
    assert!(!is_alive(pid) && began.elapsed() < Duration::from_secs(5));
    here.desk.run(&["logs", "--here", "deaf"]).says("it did not end when it was told to (SIGTERM), and is killed");
}

#[test]
fn a_flood_and_a_binary_log_hold_nobody_up() {
    let here = Here::new(
        "  flood: { on: box, run: { command: [/bin/sh, -c, 'exec yes a line that says nothing at all, over and over again'] } }\n\
         \x20 binary: { on: box, run: { command: [/bin/sh, -c, 'head -c 300000 /dev/urandom; exec sleep infinity'] } }\n\
         \x20 calm: { on: box, run: { command: [/bin/sh, -c, 'while :; do echo calm; sleep 0.05; done'] } }\n",
    );
    here.up(&[]).code(0);
    std::thread::sleep(Duration::from_secs(3));
    here.desk.run(&["logs", "--here", "calm", "-n", "3"]).code(0).says("calm | calm");
    let binary = here.desk.run(&["logs", "--here", "binary"]).code(0);
    assert!(!binary.out.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')), "nothing that a terminal obeys");
    let pid = here.state()["pid"].as_i64().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident: u64 =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok()).unwrap();
    assert!(resident < 120_000, "{resident} kB");
    let sizes: Vec<u64> = fs::read_dir(here.folder().join("logs"))
        .unwrap()
        .map(|file| file.unwrap())
        .filter(|file| file.file_name().to_string_lossy().starts_with("flood"))
        .map(|file| file.metadata().unwrap().len())
        .collect();
    assert!(sizes.iter().sum::<u64>() < 20 << 20, "{sizes:?}");
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
fn a_supervisor_that_is_killed_leaves_nothing_behind() {
    let more = "  deep: { on: box, run: { command: [/bin/sh, -c, 'setsid sleep 8191 & sleep 8192 & while :; do sleep 0.1; done'] } }\n";
    let here = in_order(more);
    let deep = || {
        let found = Command::new("pgrep").args(["-f", "^sleep 819[12]$"]).output().unwrap();
        String::from_utf8_lossy(&found.stdout).lines().count()
    };
    let mut up = here.foreground(&[]);
    until("all are well", || here.read("err").contains("4 of 4 are well"));
    until("they are there", || deep() == 2);
    let pids: Vec<i64> = ["first", "second", "third", "deep"].iter().map(|name| here.pid(name)).collect();
    signal(here.state()["pid"].as_i64().unwrap(), "KILL");
    assert_eq!(up.wait().unwrap().code(), Some(1));
    assert!(here.read("err").contains("the supervisor was killed"), "{}", here.read("err"));
    until("all are gone", || pids.iter().all(|pid| !is_alive(*pid)) && deep() == 0);

    // Together with the process that sees to that: the next one does.
    here.up(&[]).code(0).says("4 of 4 are well");
    until("they are there", || deep() == 2);
    let pids: Vec<i64> = ["first", "second", "third", "deep"].iter().map(|name| here.pid(name)).collect();
    let supervisor = here.state()["pid"].as_i64().unwrap();
    let stat = fs::read_to_string(format!("/proc/{supervisor}/stat")).unwrap();
    let guard: i64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(
        Command::new("kill").args(["-KILL", &guard.to_string(), &supervisor.to_string()]).status().unwrap().success()
    );
    until("it is gone", || !is_alive(supervisor) && !is_alive(guard));
    assert!(pids.iter().any(|pid| is_alive(*pid)), "nobody was there to end them");
    here.up(&[]).code(0).says("the last run was killed; ended what it had left").says("`deep`").says("4 of 4 are well");
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    assert_eq!(deep(), 2, "those of the new run alone");
    here.down().code(0);
    until("all are gone", || deep() == 0);
}

#[test]
fn seeds_are_loaded_once_for_each_copy_of_the_data_and_dependents_wait() {
    let here = Here::new("");
    let folder = here.desk.dir.path().display().to_string();
    here.desk.write("seed.sh", format!("sleep 0.3; echo seeded $LABWRIGHT_PORT >> {folder}/log\n"));
    here.desk.lab(&format!(
        "lab: test\ncompute: {{ hosts: {{ box: {{ address: 10.9.9.9 }} }} }}\nservices:\n{}{}",
        server("seeded-db", ", seed: seed.sh"),
        noting(&folder, "reader", ", needs: [seeded-db]")
    ));
    here.up(&[]).code(0).says("3 of 3 are well");
    let port = here.unit("seeded-db")["port"].as_i64().unwrap();
    assert_eq!(here.read("log"), format!("seeded {port}\nstart reader\n"));
    here.down().code(0);
    fs::remove_file(here.desk.path("log")).unwrap();
    here.up(&[]).code(0);
    assert_eq!(here.read("log"), "start reader\n", "the same content is loaded once");
    here.down().code(0);
    fs::remove_dir_all(here.folder().join("data/seeded-db")).unwrap();
    fs::remove_file(here.desk.path("log")).unwrap();
    here.up(&[]).code(0);
    assert!(here.read("log").starts_with("seeded"), "a fresh copy is loaded");
    here.down().code(0);
    here.desk.write("seed.sh", "echo no table of that name >&2; exit 4\n");
    here.up(&[])
        .code(7)
        .says("was not loaded: it ended with exit code 4")
        .says("no table of that name")
        .says("reader is waiting");
}

#[test]
fn a_change_of_a_file_restarts_and_a_rebuild_that_fails_does_not() {
    let here = Here::new(
        "  app: { on: box, run: { command: [/bin/sleep, infinity] }, up: { directory: ., watch: [\"src/**/*.txt\"], rebuild: [/bin/sh, build.sh] } }\n\
         \x20 plain: { on: box, run: { command: [/bin/sleep, infinity] }, up: { watch: plain.conf } }\n",
    );
    here.desk.write("src/deep/a.txt", "1");
    here.desk.write("plain.conf", "1");
    here.desk.write("build.sh", "echo building; exit 0\n");
    here.up(&[]).code(0);
    here.desk.write("src/deep/b.md", "no");
    here.desk.write("src/deep/a.txt", "2");
    until("it is built and started again", || {
        here.unit("app")["restarts"] == 1 && here.unit("app")["phase"] == "ready"
    });
    assert_eq!(here.unit("plain")["restarts"], 0);
    let pid = here.pid("app");
    here.desk.write("build.sh", "echo syntax error >&2; exit 1\n");
    here.desk.write("src/deep/a.txt", "3");
    until("it is told", || here.desk.run(&["logs", "--here", "app"]).err.contains("what runs goes on"));
    assert_eq!(here.pid("app"), pid);
    here.desk.write("plain.conf", "2");
    until("it is started again", || here.unit("plain")["restarts"] == 1);
}

#[test]
fn names_and_doors_are_served_as_in_the_real_lab() {
    let here = Here::of(&format!(
        "lab: test\nplatform:\n  dns: {{ on: box, block: [blocked.txt], upstream: [192.0.2.1] }}\n  reverse_proxy: {{ on: box, http: 28480, https: 28443 }}\n\
         compute: {{ hosts: {{ box: {{ address: 10.9.9.9 }} }} }}\nservices:\n{}\
         \x20 pages: {{ site: ./pages, url: pages, expose: lan }}\n",
        server("answering", ", url: app, expose: lan, needs: [pages]")
    ));
    here.desk.write("pages/index.html", "pages from here\n");
    here.desk.write("blocked.txt", "ads.example.com\n");
    here.up(&[])
        .code(0)
        .says("https://pages.lab.home.arpa:28443/")
        .says("https://pages.localhost:28443/")
        .says("4 of 4 are well");
    let ca = here.folder().join("ca.pem").display().to_string();
    let curl = |url: &str, arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20", "--cacert", &ca]).args(arguments).arg(url);
        let output = command.output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let to = "pages.lab.home.arpa:28443:127.0.0.1";
    assert_eq!(curl("https://pages.lab.home.arpa:28443/", &["--resolve", to]), "pages from here\n");
    assert_eq!(
        curl("https://pages.localhost:28443/", &["--resolve", "pages.localhost:28443:127.0.0.1"]),
        "pages from here\n"
    );
    let listing = curl("https://app.lab.home.arpa:28443/", &["--resolve", "app.lab.home.arpa:28443:127.0.0.1"]);
    assert!(listing.contains("Directory listing"), "{listing}");
    let moved = curl("http://app.lab.home.arpa:28480/x", &["-i", "--resolve", "app.lab.home.arpa:28480:127.0.0.1"]);
    assert!(moved.contains("https://app.lab.home.arpa:28443/x"), "{moved}");
    let port = here.unit("dns")["port"].to_string();
    let dig = |name: &str| {
        let output =
            Command::new("dig").args(["@127.0.0.1", "-p", &port, "+short", "+tries=1", name]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    };
    assert_eq!(dig("app.lab.home.arpa"), "127.0.0.1");
    until("the list holds", || dig("ads.example.com") == "0.0.0.0");
    here.desk.run(&["open", "--print", "pages"]).code(0).says("https://pages.localhost:28443/");
    here.down().code(0);
}

#[test]
fn what_cannot_be_here_is_left_out_with_the_reason() {
    let here = Here::of(
        "lab: test\nedge: { vpn: tailscale }\ncompute: { proxmox: [pve], docker_hosts: [box], hosts: { box: { address: 10.9.9.9 } } }\nservices:\n\
         \x20 db: { on: box, containers: { db: { image: postgres:16 } } }\n\
         \x20 wiki: { on: box, run: { command: [/bin/sleep, infinity] }, needs: [db] }\n\
         \x20 seeds: { on: box, containers: { app: { image: seeds:1 } }, egress: db }\n\
         \x20 mail: { external: fastmail }\n\
         \x20 skipped: { on: box, containers: { app: { image: heavy:1 } }, up: { skip: true } }\n\
         \x20 instead: { on: box, containers: { app: { image: app:1 } }, port: \"app:80\", needs: [mail, skipped], up: { run: [/bin/sleep, infinity] } }\n",
    );
    here.up(&[])
        .code(5)
        .says("`db` is left out: it runs in containers")
        .says("hint: say what stands in for it: `up: { run: [PROGRAM, …] }`")
        .says("`wiki` is left out: it needs `db`, which is left out")
        .says("`seeds` is left out: its traffic may leave through `db` or not at all, and nothing sees to that here")
        .says("not here: mail (fastmail runs it, not the lab)")
        .says("not here: VPN")
        .says("not here: virtual machines")
        .says("1 of 1 are well");
    here.desk.run(&["restart", "db"]).code(2).says("`db` is left out here");
}

#[test]
fn references_stand_for_what_is_here() {
    let here = Here::of(
        "lab: test\nenvironments: [dev, prod]\ncompute: { hosts: { one: { address: 10.9.9.1 }, two: { address: 10.9.9.2 } } }\nservices:\n\
         \x20 api-of-two: { on: two, run: { command: [python3, -m, http.server, --bind, 127.0.0.1, \"${port}\"] }, url: api }\n\
         \x20 shows: { on: one, environments: { dev: {}, prod: {} }, run: { command: [/bin/sh, -c, 'echo $A $B $C; exec sleep infinity'], environment: { A: \"${service.api-of-two.url}\", B: \"${host.two.address}\", C: \"${env}\" } } }\n\
         \x20 live: { on: two, environments: { prod: {} }, run: { command: [/bin/sleep, infinity] } }\n",
    );
    here.up(&[]).code(0).says("not here: `live` (not in the environment `dev`)");
    let port = here.unit("api-of-two")["port"].as_i64().unwrap();
    here.desk.run(&["logs", "--here", "shows"]).code(0).says(&format!("http://localhost:{port} 127.0.0.1 dev"));
    here.down().code(0);
    here.up(&["--env", "prod", "shows"]).code(0);
    until("it says so", || here.desk.run(&["logs", "--here", "shows"]).out.contains("127.0.0.1 prod"));
    here.down().code(0);
    here.up(&["--env", "test"]).code(2).says("has no environment `test`").says("`dev`, `prod`");
}

#[test]
fn a_full_disk_costs_the_log_and_nothing_else() {
    let here = Here::new(
        "  loud: { on: box, run: { command: [/bin/sh, -c, 'while :; do head -c 20000 /dev/zero | tr \"\\\\0\" x; echo; sleep 0.02; done'] } }\n",
    );
    let state = here.desk.path("state");
    fs::create_dir_all(&state).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=400k", "none"]).arg(&state).status().unwrap();
    assert!(mounted.success(), "needs root");
    let up = here.up(&[]);
    let end = Instant::now() + Duration::from_secs(30);
    let mut files = 0;
    let mut full = || {
        files += 1;
        fs::write(state.join(format!("more-{files}")), vec![0; 8 << 10]).is_err()
    };
    while !full() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(500));
    let is_full = full();
    let (phase, log) = (here.unit("loud")["phase"].clone(), here.desk.run(&["logs", "--here", "loud", "-n", "2"]));
    let down = here.down();
    assert!(Command::new("umount").arg("-l").arg(&state).status().unwrap().success());
    up.code(0);
    assert!(is_full);
    assert_eq!(phase, "ready");
    log.code(0).says("xxxx");
    down.code(0);
}

#[test]
fn a_secret_reaches_its_process_and_nobody_else() {
    let here = Here::of(
        "lab: test\nplatform: { secrets: { age: secrets.yaml } }\ncompute: { hosts: { box: { address: 10.9.9.9 } } }\nservices:\n\
         \x20 app: { on: box, run: { command: [/bin/sh, -c, 'test \"$PASSWORD\" = canary-in-a-mine && echo it is the one; exec sleep infinity'], environment: { PASSWORD: \"${secret.pw}\" } } }\n",
    );
    here.desk.run(&["secret", "init"]).code(0);
    let mut set = here.desk.command();
    set.args(["secret", "set", "pw"]);
    crate::secrets::feed(set, "canary-in-a-mine").code(0);
    let up = here.up(&[]).code(0).says_not("canary-in-a-mine");
    drop(up);
    here.desk.run(&["logs", "--here", "app"]).code(0).says("it is the one");
    here.desk.run(&["ps", "--json"]).code(0).says_not("canary-in-a-mine");
    let supervisor = here.state()["pid"].to_string();
    for file in ["cmdline", "environ"] {
        let bytes = fs::read(format!("/proc/{supervisor}/{file}")).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("canary-in-a-mine"), "{file}");
    }
    let found = Command::new("grep").args(["-rl", "canary-in-a-mine"]).arg(here.desk.path("state")).output().unwrap();
    assert!(found.stdout.is_empty(), "{found:?}");
    here.down().code(0);
    // Without a key there is no value, and the process says what it waits for.
    fs::remove_dir_all(here.desk.path("home")).unwrap();
    here.up(&[]).code(7).says("it needs the secret `pw`, which could not be read");
}

/// The example as its readers meet it: our own small application, pages, names, doors.
#[test]
fn the_starter_runs_on_a_bare_machine() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/starter");
    let here = Here::of("lab: empty\n");
    let copy = Command::new("cp").arg("-r").arg(folder.join(".")).arg(here.desk.dir.path()).status().unwrap();
    assert!(copy.success());
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_labwright")).parent().unwrap().join("examples/guestbook");
    assert!(program.is_file(), "cargo builds examples together with tests: {}", program.display());
    let lab = here.read("lab.yaml").replace("../../target/debug/examples/guestbook", &program.display().to_string());
    here.desk.lab(&lab.replace("tls: internal }", "tls: internal, http: 28580, https: 28543 }"));
    here.up(&[]).code(0).says("https://guestbook.localhost:28543/").says("5 of 5 are well");
    let ca = here.folder().join("ca.pem").display().to_string();
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20", "--cacert", &ca]);
        command.args(["--resolve", "guestbook.localhost:28543:127.0.0.1"]).args(arguments);
        let output = command.arg("https://guestbook.localhost:28543/").output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let page = curl(&[]);
    assert!(page.contains("be the first to write <b>the lab</b>"), "{page}");
    curl(&["--data-urlencode", "name=<me>", "--data-urlencode", "text=I was here & left"]);
    let page = curl(&[]);
    assert!(page.contains("I was here &amp; left <b>&lt;me&gt;</b>"), "{page}");
    here.down().code(0);
    here.up(&[]).code(0);
    assert_eq!(curl(&[]).matches("<li>").count(), 2, "the data stays, and the first entry is not made twice");
    here.down().code(0);
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
