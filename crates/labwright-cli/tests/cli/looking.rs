//! Looking into what runs on a real Docker engine, on this machine and over SSH: status, logs, exec.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use labwright_testkit::engine::REGISTRY;
use labwright_testkit::{Engine, Host};

use crate::docker::{CHECK, Dock, SERVE};
use crate::json::holds;
use crate::world::{Desk, Ran, World};

/// Says a line with its name and a number, ten times a second.
const TALK: &str = r#"CMD ["/bin/sh","-c","trap exit TERM; n=0; while true; do n=$((n+1)); echo \"$NAME $n\"; echo \"$NAME warns $n\" >&2; sleep 0.1; done"]"#;

/// Engines on hosts that are reached over SSH: the socket is led there by a connection of its own.
struct Fleet {
    world: World,
    /// What leads each engine's socket to its host.
    leads: Vec<Child>,
    hosts: Vec<Host>,
    engines: Vec<Engine>,
}

const SOCKET: &str = "/run/docker.sock";

impl Fleet {
    fn new(names: &[&str]) -> Fleet {
        let mut fleet = Fleet { world: World::new(), leads: Vec::new(), hosts: Vec::new(), engines: Vec::new() };
        for name in names {
            let host = fleet.world.net.light_host(name).unwrap();
            let engine = Engine::start(&fleet.world.desk.path(&format!("engine-{name}"))).unwrap();
            let mut lead = fleet.world.net.command("ssh");
            lead.arg("-F").arg(fleet.world.net.ssh_config()).args(["-N", "-oExitOnForwardFailure=yes"]);
            lead.arg("-R").arg(format!("{SOCKET}:{}", engine.socket().display())).arg(name);
            fleet.leads.push(lead.stdin(Stdio::null()).spawn().unwrap());
            until("the socket is there", || host.ssh_stdout(&format!("test -S {SOCKET} && echo yes")).is_ok());
            fleet.hosts.push(host);
            fleet.engines.push(engine);
        }
        fleet
    }

    fn lab(&self, services: &str) {
        let hosts: String =
            self.hosts.iter().map(|host| format!("    {}: {{ docker_socket: {SOCKET} }}\n", host.name())).collect();
        let services: String = services.lines().map(|line| format!("  {line}\n")).collect();
        let services = services.replace("REG", REGISTRY);
        self.world.lab(&format!("lab: test\ncompute:\n  hosts:\n{hosts}services:\n{services}"));
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for lead in &mut self.leads {
            let _ = lead.kill();
            let _ = lead.wait();
        }
    }
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "wait until {what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

const SHOP: &str = "shop:
  on: here
  containers:
    web: { image: \"REG/app:1\", restart: always, depends_on: { init: { condition: service_completed_successfully } } }
    init: { image: \"REG/app:1\", command: [/bin/true], healthcheck: { disable: true } }
mail: { external: Fastmail }";

fn part<'a>(status: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    let services = status["services"].as_array().unwrap().iter();
    let mut parts = services.flat_map(|service| service["parts"].as_array().unwrap());
    parts.find(|part| part["name"] == name).unwrap_or_else(|| panic!("no `{name}` in {status:#}"))
}

#[test]
fn status_tells_how_everything_fares_and_why() {
    let mut dock = Dock::new();
    let digest = dock.engine.publish("app:1", &[SERVE, CHECK]).unwrap();
    dock.lab(SHOP);
    let status = |dock: &Dock, code| {
        let ran = dock.desk.run(&["status", "--json"]).code(code);
        holds("status", &ran).remove(0)
    };
    let before = status(&dock, 7);
    assert_eq!(part(&before, "shop-web-1")["state"], "missing");
    assert_eq!(before["not_looked_at"][0]["why"], "Fastmail runs it");
    dock.apply().code(0);
    let up = status(&dock, 0);
    let web = part(&up, "shop-web-1");
    assert_eq!((&web["state"], &web["health"]), (&"running".into(), &"healthy".into()));
    assert_eq!((&web["image"]["tag"], &web["image"]["digest"]), (&"1".into(), &digest.clone().into()));
    assert_eq!(web["image"]["name"], format!("{REGISTRY}/app"));
    assert!(web["since"].as_i64().unwrap() > 1_700_000_000 && web["image"]["created"].as_i64().is_some());
    assert_eq!(part(&up, "shop-init-1")["state"], "ran");
    dock.desk
        .run(&["status"])
        .code(0)
        .says("healthy")
        .says(&digest[7..19])
        .says("1 of 1 service well")
        .says("mail: not looked at");
    dock.desk.run(&["status", "shop/web"]).code(0).says_not("init");
    dock.desk.run(&["status", "nothing"]).code(2).says("called `nothing`");

    // One that ends again and again, one that is ill, one that was stopped, one that nobody declared.
    dock.engine.docker(&["exec", "shop-web-1", "touch", "/broken"]).unwrap();
    until("it is ill", || dock.inspect("{{.State.Health.Status}}", "shop-web-1") == "unhealthy");
    let ill = status(&dock, 7);
    assert_eq!(part(&ill, "shop-web-1")["health"], "unhealthy");
    dock.desk.run(&["status"]).code(7).says("checks failed").says("0 of 1 service well, 1 not");
    dock.engine.docker(&["exec", "shop-web-1", "rm", "/broken"]).unwrap();
    dock.engine.docker(&["stop", "-t", "1", "shop-web-1"]).unwrap();
    assert_eq!(part(&status(&dock, 7), "shop-web-1")["state"], "exited");
    dock.engine.docker(&["start", "shop-web-1"]).unwrap();
    let image = format!("{REGISTRY}/app:1");
    let label = ["--label", "com.docker.compose.project=shop", "--label", "com.docker.compose.service=old"];
    let run = ["run", "-d", "--name", "shop-old-1", "--restart", "always", "--no-healthcheck"];
    dock.engine.docker(&[&run[..], &label, &[&image, "/bin/false"]].concat()).unwrap();
    until("it was started again", || dock.inspect("{{.RestartCount}}", "shop-old-1") != "0");
    until("the other is well", || dock.inspect("{{.State.Health.Status}}", "shop-web-1") == "healthy");
    let leftover = status(&dock, 0);
    let old = part(&leftover, "shop-old-1");
    assert_eq!((&old["declared"], &old["part"]), (&false.into(), &"old".into()));
    assert!(old["restarts"].as_i64().unwrap() > 0);

    // An engine that is down is not an empty one.
    dock.engine.stop_dockerd().unwrap();
    let down = status(&dock, 6);
    assert_eq!((&part(&down, "shop-web-1")["state"], &down["services"][0]["well"]), (&"unknown".into(), &().into()));
    dock.engine.start_dockerd().unwrap();
    // A lab in the middle of an edit can be looked at all the same.
    dock.lab(&format!("{SHOP}\nbroken: {{ on: nowhere, kontainers: 1 }}"));
    dock.desk.run(&["check"]).code(3);
    dock.desk.run(&["status", "shop"]).says("the lab contradicts itself").says("shop");
}

#[test]
fn hosts_over_ssh_are_asked_at_once_and_one_that_is_away_is_unknown() {
    let fleet = Fleet::new(&["one", "two"]);
    for engine in &fleet.engines {
        engine.publish("app:1", &[TALK]).unwrap();
    }
    fleet.lab("talk: { on: [one, two], containers: { app: { image: \"REG/app:1\", environment: { NAME: hello } } } }");
    fleet.world.apply().code(0);
    let up = holds("status", &fleet.world.run(&["status", "--json"]).code(0)).remove(0);
    assert_eq!(up["services"].as_array().map(Vec::len), Some(2));
    // Lines of both hosts, in the order of their times.
    let ran = fleet.world.run(&["logs", "talk", "--json", "--tail", "20"]).code(0);
    let lines = holds("logs", &ran);
    assert_eq!(lines[0]["parts"].as_array().map(Vec::len), Some(2));
    let times: Vec<&str> = lines[1..].iter().map(|line| line["at"].as_str().unwrap()).collect();
    assert_eq!(times.len(), 40);
    let parsed = |time: &&str| time.parse::<jiff::Timestamp>().unwrap();
    assert!(times.iter().map(parsed).is_sorted(), "{times:#?}");
    fleet.world.run(&["logs", "talk", "-n", "1"]).code(0).says("one talk/app |").says("two talk/app |");

    // Into one of them: input, output, errors and the code go through.
    fleet.world.run_offline(&["exec", "talk", "--", "/bin/true"]).code(2).says("--on one").says("--on two");

    let config = fleet.world.net.ssh_config().display().to_string();
    let inside =
        ["exec", "talk", "--on", "two", "--ssh-config", &config, "--", "/bin/sh", "-c", "cat; echo bad >&2; exit 42"];
    let mut child = fleet.world.command();
    child.args(inside).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"typed\n").unwrap();
    let ran: Ran = child.wait_with_output().unwrap().into();
    let ran = ran.code(42);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("typed\n", "bad\n"));

    // A host goes away while both are followed: it is told, the other goes on, and Ctrl-C ends it well.
    let mut following = Following::start(&fleet.world, &["logs", "-f", "talk", "-n", "1", "--timestamps"]);
    following.until("one talk/app |");
    following.until("two talk/app |");
    fleet.hosts[1].stop().unwrap();
    following.until_told("`two` is away");
    following.until("one talk/app |");
    assert_eq!(following.interrupt(), 6);
    let ran = fleet.world.run(&["status", "--json"]).code(6);
    let away = holds("status", &ran).remove(0);
    let state = |host: &str| {
        let mut services = away["services"].as_array().unwrap().iter();
        services.find(|service| service["host"] == host).unwrap()["parts"][0]["state"].clone()
    };
    assert_eq!((state("one"), state("two")), ("running".into(), "unknown".into()));
    assert!(away["away"]["two"]["message"].is_string());
    fleet.world.run(&["status"]).code(6).says("`two` could not be looked at");
    fleet.world.run(&["logs", "talk", "-n", "1"]).code(6).says("`two` is away").says("one talk/app |");
}

/// A command that goes on, read as it speaks.
struct Following {
    child: Child,
    out: std::sync::mpsc::Receiver<String>,
    err: std::sync::mpsc::Receiver<String>,
}

impl Following {
    fn start(world: &World, args: &[&str]) -> Following {
        Following::of(world.with_ssh(args))
    }

    fn of(mut command: Command) -> Following {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = |from: Box<dyn Read + Send>| {
            let (send, lines) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                for line in BufReader::new(from).lines().map_while(Result::ok) {
                    if send.send(line).is_err() {
                        return;
                    }
                }
            });
            lines
        };
        let (out, err) = (lines(Box::new(child.stdout.take().unwrap())), lines(Box::new(child.stderr.take().unwrap())));
        Following { child, out, err }
    }

    #[track_caller]
    fn wait(lines: &std::sync::mpsc::Receiver<String>, what: &str) {
        let begun = Instant::now();
        let mut seen = Vec::new();
        while begun.elapsed() < Duration::from_secs(90) {
            match lines.recv_timeout(Duration::from_secs(1)) {
                Ok(line) if line.contains(what) => return,
                Ok(line) => seen.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(_) => break,
            }
        }
        panic!("`{what}` did not come; the last was {:?}", seen.last());
    }

    #[track_caller]
    fn until(&mut self, what: &str) {
        Self::wait(&self.out, what);
    }

    #[track_caller]
    fn until_told(&mut self, what: &str) {
        Self::wait(&self.err, what);
    }

    fn interrupt(&mut self) -> i32 {
        run(Command::new("kill").args(["-INT", &self.child.id().to_string()]));
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "it did not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success());
}

#[test]
fn logs_follow_a_service_over_restarts_and_replacements() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[TALK]).unwrap();
    let lab = |color: &str| {
        dock.lab(&format!(
            "talk: {{ on: here, containers: {{ a: {{ image: \"REG/app:1\", environment: {{ NAME: {color} }} }}, b: {{ image: \"REG/app:1\", environment: {{ NAME: bob }} }} }} }}"
        ));
    };
    lab("ann");
    dock.apply().code(0);
    std::thread::sleep(Duration::from_millis(500));
    let ran = dock
        .desk
        .run(&["logs", "talk", "--timestamps"])
        .code(0)
        .says("talk/a | ann 1")
        .says("talk/b | bob 1")
        .says("ann warns 2");
    let times: Vec<&str> = ran.out.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert!(times.is_sorted() && times.len() > 8, "{times:?}");
    dock.desk.run(&["logs", "talk/b", "-n", "1"]).code(0).says("bob").says_not("ann");
    dock.desk.run(&["logs", "talk", "--since", "1h"]).code(0).says("ann 1");
    let later = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
    assert_eq!(dock.desk.run(&["logs", "talk", "--since", &later]).code(0).out, "");
    dock.desk.run(&["logs", "talk", "--since", "soon"]).code(2).says("10m");
    dock.desk.run(&["logs", "nobody"]).code(2).says("there are talk");
    dock.desk.run(&["logs", "talk/c"]).code(2).says("it has a, b");

    let mut command = dock.desk.command();
    command.args(["logs", "-f", "talk/a"]);
    let mut following = Following::of(command);
    following.until("ann 3");
    dock.engine.docker(&["restart", "-t", "1", "talk-a-1"]).unwrap();
    following.until_told("runs again");
    following.until("ann 2");
    lab("eve");
    dock.apply().code(0);
    following.until_told("another container took the place");
    following.until("eve 2");
    assert_eq!(following.interrupt(), 0);
    // What is gone is said, and the rest is read.
    dock.engine.docker(&["rm", "-f", "talk-a-1"]).unwrap();
    dock.desk.run(&["logs", "talk", "-n", "1"]).code(5).says("no log of `talk-a-1`").says("bob");
}

#[test]
fn commands_run_in_containers_with_input_output_and_their_exit_code() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    dock.lab("pair: { on: here, containers: { a: { image: \"REG/app:1\" }, b: { image: \"REG/app:1\", scale: 2 } } }");
    dock.apply().code(0);
    let exec = |args: &[&str]| dock.desk.run(&[&["exec"], args].concat());
    exec(&["pair", "--", "/bin/true"])
        .code(2)
        .says("is 3 containers; say which")
        .says("labwright exec pair/b-2 --on here");
    let ran = exec(&["pair/a", "--", "/bin/sh", "-c", "echo out; echo err >&2; exit 42"]).code(42);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("out\n", "err\n"));
    exec(&["pair/b-2", "--user", "1234", "--workdir", "/tmp", "--", "/bin/sh", "-c", "id -u; pwd"])
        .code(0)
        .says("1234\n/tmp\n");
    exec(&["pair/a", "--", "/no/such"]).says("no such file");
    // A megabyte in and out again, byte by byte the same, with a slow reader between.
    let sent: Vec<u8> = (0..1_500_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut child = dock.desk.command();
    child
        .args(["exec", "pair/a", "--", "/bin/sh", "-c", "sleep 0.5; cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let written = sent.clone();
    let writing = std::thread::spawn(move || stdin.write_all(&written).unwrap());
    let mut back = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(back == sent, "{} of {} bytes came back", back.len(), sent.len());
    dock.engine.docker(&["stop", "-t", "1", "pair-a-1"]).unwrap();
    exec(&["pair/a", "--", "/bin/true"]).says("`pair-a-1` does not run: it is exited");
}

/// `script` gives a program a terminal of its own.
#[test]
fn a_terminal_is_a_terminal_inside_and_has_its_size() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    dock.lab("one: { on: here, containers: { a: { image: \"REG/app:1\" } } }");
    dock.apply().code(0);
    let command = format!(
        "stty cols 93 rows 41; {} exec one -- /bin/sh -c 'test -t 0 && test -t 1 && echo inside; sleep 0.5; busybox stty size; exit 7'; echo code $?; stty -a | grep -o -- '-\\?icanon'",
        env!("CARGO_BIN_EXE_labwright")
    );
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &command, "/dev/null"]).current_dir(dock.desk.dir.path()).stdin(Stdio::null());
    script.env("LABWRIGHT_STATE_DIR", dock.desk.path("state"));
    let ran: Ran = script.output().unwrap().into();
    ran.says("inside").says("41 93").says("code 7").says("\nicanon");
}

#[test]
fn a_command_does_not_outlive_whoever_began_it() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    dock.lab("one: { on: here, containers: { a: { image: \"REG/app:1\" } } }");
    dock.apply().code(0);
    let lab = dock.desk.path("lab.yaml").display().to_string();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        // Where the engine is, its numbers of processes mean the same to the agent.
        let mut inside = dock.engine.inside().unwrap();
        inside.arg(env!("CARGO_BIN_EXE_labwright")).args(["exec", "one", "--lab", &lab, "--", "/bin/sleep", "1234"]);
        inside.env("LABWRIGHT_STATE_DIR", dock.desk.path("state"));
        let mut child = inside.stdin(Stdio::piped()).spawn().unwrap();
        let runs = || dock.engine.docker(&["exec", "one-a-1", "/bin/busybox", "ps"]).unwrap().contains("sleep 1234");
        until("the command runs", runs);
        signal_inside(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        until("the command is gone", || !runs());
    }
    let runs = |what: &str| dock.engine.docker(&["exec", "one-a-1", "/bin/busybox", "ps"]).unwrap().contains(what);
    let inside = |script: &str| {
        let mut inside = dock.engine.inside().unwrap();
        let script = script.replace("EXEC", &format!("{} exec one --lab {lab}", env!("CARGO_BIN_EXE_labwright")));
        inside.args(["sh", "-c", &script]).env("LABWRIGHT_STATE_DIR", dock.desk.path("state"));
        inside
    };
    // A reader that has enough ends it, whether or not it takes what is typed, which never ends.
    for script in ["EXEC -- /bin/busybox yes abc | head -n 1", "EXEC -- /bin/busybox yes abc < /dev/zero | head -n 1"] {
        let ran: Ran = inside(script).output().unwrap().into();
        assert_eq!(ran.out, "abc\n", "{script}");
        until("it is gone", || !runs("yes abc"));
    }
    // One that takes nothing, one whose reader reads nothing, and one that began others.
    for (script, what) in [
        ("exec EXEC -- /bin/sleep 2345 < /dev/zero", "sleep 2345"),
        ("exec EXEC -- /bin/busybox yes abc", "yes abc"),
        ("exec EXEC -- /bin/sh -c 'sleep 3456 & sleep 3456'", "sleep 3456"),
    ] {
        let mut child = inside(script).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        until("the command runs", || runs(what));
        // Until nothing more fits on the way in either direction.
        std::thread::sleep(Duration::from_secs(2));
        signal_inside(&child, "INT");
        until("the command is gone", || !runs(what));
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(130), "{script}");
    }
}

/// Some engines answer nothing about a container while output of a command in it that has ended is left to take.
#[test]
fn a_reader_that_takes_its_time_holds_up_nobody_else_and_misses_nothing() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    dock.lab("one: { on: here, containers: { a: { image: \"REG/app:1\" } } }");
    dock.apply().code(0);
    let lab = dock.desk.path("lab.yaml").display().to_string();
    let mut inside = dock.engine.inside().unwrap();
    // As much as finds room on the way, and its end while all of that waits.
    let script = "busybox yes abc & sleep 2; kill -9 $!; wait; exit 9";
    inside.arg(env!("CARGO_BIN_EXE_labwright")).args(["exec", "one", "--lab", &lab, "--", "/bin/sh", "-c", script]);
    inside.env("LABWRIGHT_STATE_DIR", dock.desk.path("state"));
    let mut child = inside.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    std::thread::sleep(Duration::from_secs(5));
    let asked = Instant::now();
    let processes = dock.engine.docker(&["exec", "one-a-1", "/bin/busybox", "ps"]).unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5) && !processes.contains("yes abc"), "{processes}");
    assert!(child.try_wait().unwrap().is_none(), "nothing is thrown away");
    let mut said = Vec::new();
    out.read_to_end(&mut said).unwrap();
    let whole = said.iter().zip(b"abc\n".iter().cycle()).all(|(said, meant)| said == meant);
    assert!(whole && said.len() > 200_000, "{} bytes", said.len());
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn a_signal_reaches_the_command_as_what_it_is() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    dock.lab("one: { on: here, containers: { a: { image: \"REG/app:1\" } } }");
    dock.apply().code(0);
    let lab = dock.desk.path("lab.yaml").display().to_string();
    let begin = |script: &str| {
        let mut inside = dock.engine.inside().unwrap();
        inside.arg(env!("CARGO_BIN_EXE_labwright")).args(["exec", "one", "--lab", &lab, "--", "/bin/sh", "-c", script]);
        inside.env("LABWRIGHT_STATE_DIR", dock.desk.path("state"));
        let mut child = inside.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        assert_eq!(first, "ready\n");
        (child, out)
    };
    // What the command makes of it counts: it tidies up, and says with what it ends.
    for (signal, code) in [("INT", 11), ("TERM", 12), ("HUP", 13), ("QUIT", 14)] {
        let script =
            format!("trap 'echo {signal} came; exit {code}' {signal}; echo ready; while true; do sleep 0.1; done");
        let (mut child, mut out) = begin(&script);
        signal_inside(&child, signal);
        let mut said = String::new();
        out.read_to_string(&mut said).unwrap();
        assert_eq!((said.as_str(), child.wait().unwrap().code()), (format!("{signal} came\n").as_str(), Some(code)));
    }
    // One that ends nothing ends nothing.
    let (mut child, mut out) =
        begin("trap 'echo usr1' USR1; trap 'exit 3' TERM; echo ready; while true; do sleep 0.1; done");
    for _ in 0..2 {
        signal_inside(&child, "USR1");
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "usr1\n");
    }
    signal_inside(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(3));
    // A signal that nobody catches ends it as in a shell.
    let (mut child, _out) = begin("echo ready; exec sleep 4567");
    signal_inside(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
    // What it starts to tidy up is not told, and what it left running is hung up with its end.
    let (mut child, mut out) = begin(
        "trap 'sleep 0.4; echo tidied; exit 5' TERM; (trap '' TERM; while true; do sleep 0.37; done) & echo ready; wait; wait",
    );
    signal_inside(&child, "TERM");
    let mut said = String::new();
    out.read_to_string(&mut said).unwrap();
    assert_eq!((said.as_str(), child.wait().unwrap().code()), ("tidied\n", Some(5)));
    until("what it left is gone", || {
        !dock.engine.docker(&["exec", "one-a-1", "/bin/busybox", "ps"]).unwrap().contains("0.37")
    });
    // Whoever does not listen is hung up the second time.
    let runs = |what: &str| dock.engine.docker(&["exec", "one-a-1", "/bin/busybox", "ps"]).unwrap().contains(what);
    let (mut child, _out) = begin("trap '' TERM; echo ready; while true; do sleep 0.31; done");
    signal_inside(&child, "TERM");
    std::thread::sleep(Duration::from_millis(700));
    assert!(runs("0.31") && child.try_wait().unwrap().is_none(), "once is for the command to judge");
    signal_inside(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
    until("it is gone", || !runs("0.31"));
    // One that does not listen to that either runs on, and whoever leaves it has to know.
    let (mut child, _out) = begin("trap '' TERM HUP; echo ready; while true; do sleep 0.43; done");
    signal_inside(&child, "TERM");
    std::thread::sleep(Duration::from_millis(700));
    signal_inside(&child, "TERM");
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("was hung up (SIGHUP), does not listen, and runs on"), "{said}");
    assert_eq!(child.wait().unwrap().code(), Some(6));
    assert!(runs("0.43"));
}

/// Where the engine's numbers of processes mean nothing to the agent, whoever told the command to end has to know.
#[test]
fn a_signal_that_cannot_be_passed_on_is_told() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    dock.lab("one: { on: here, containers: { a: { image: \"REG/app:1\" } } }");
    dock.apply().code(0);
    let mut command = dock.desk.command();
    command.args(["exec", "one", "--", "/bin/sh", "-c", "echo ready; exec sleep 5678"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    run(Command::new("kill").args(["-TERM", &child.id().to_string()]));
    let ran: Ran = child.wait_with_output().unwrap().into();
    ran.says("SIGTERM cannot be passed on to the command, which runs on").says("docker top");
    assert!(dock.engine.docker(&["exec", "one-a-1", "/bin/busybox", "ps"]).unwrap().contains("sleep 5678"));
}

#[test]
fn a_host_that_does_not_answer_is_not_waited_for_by_whoever_is_told_to_end() {
    // Somebody takes the connection, and says nothing: `ssh` waits for its greeting.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let desk = Desk::new(
        "lab: test\ncompute: { docker_hosts: [far], hosts: { far: { address: 127.0.0.1 } } }\nservices:\n  one: { on: far, containers: { a: { image: \"app:1\" } } }\n",
    );
    let port = silent.local_addr().unwrap().port();
    desk.write("ssh", format!("Host far\n  HostName 127.0.0.1\n  Port {port}\n"));
    let mut command = desk.command();
    command.args(["exec", "one", "--ssh-config", "ssh", "--", "/bin/true"]).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let connected = silent.accept().unwrap();
    let told = Instant::now();
    run(Command::new("kill").args(["-TERM", &child.id().to_string()]));
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    drop(connected);
}

/// `nsenter` waits for what it began, and passes no signals on.
fn signal_inside(nsenter: &Child, signal: &str) {
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", nsenter.id())).unwrap();
    run(Command::new("kill").args([&format!("-{signal}"), children.trim()]));
}

#[test]
fn processes_of_systemd_are_looked_into_as_well() {
    let world = World::new();
    world.net.systemd_host("app").unwrap();
    let lab = |command: &str| {
        world.lab(&format!(
            "lab: test\ncompute:\n  hosts:\n    app: {{}}\nservices:\n  book:\n    on: app\n    run: [/bin/sh, -c, \"{command}\"]\n"
        ));
    };
    lab("echo page one; echo page two; exec sleep infinity");
    world.apply().code(0);
    let status = holds("status", &world.run(&["status", "--json"]).code(0)).remove(0);
    let book = part(&status, "lab-book.service");
    assert_eq!((&book["state"], &book["restarts"]), (&"running".into(), &0.into()));
    assert!(book["since"].as_i64().unwrap() > 1_700_000_000, "{book}");
    world.run(&["status"]).code(0).says("lab-book.service").says("1 of 1 service well");
    let ran = world.run(&["logs", "book", "--timestamps"]).code(0).says("page one").says("page two");
    assert!(ran.out.find("page one") < ran.out.find("page two"), "{}", ran.out);
    // What systemd says of it stands among its lines, and is told apart.
    let ran = world.run(&["logs", "book", "-n", "2"]).code(0).says("page two");
    assert_eq!(ran.out.lines().count() + ran.err.lines().count(), 2, "{}{}", ran.out, ran.err);
    let config = world.net.ssh_config().display().to_string();
    world
        .run_offline(&["exec", "book", "--ssh-config", &config, "--", "/bin/true"])
        .code(6)
        .says("is a process of `app`, and in no container")
        .says("ssh app");
    let mut following = Following::start(&world, &["logs", "-f", "book", "-n", "3"]);
    following.until("page two");
    lab("echo page three; exit 3");
    world.run(&["apply", "--yes"]);
    following.until("page three");
    assert_eq!(following.interrupt(), 0);
    let status = holds("status", &world.run(&["status", "--json"]).code(7)).remove(0);
    let book = part(&status, "lab-book.service");
    assert!(matches!(book["state"].as_str(), Some("restarting" | "failed" | "starting")), "{book}");
}
