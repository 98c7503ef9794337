//! The lab's names in an AdGuard Home and in a Pi-hole that are there already: strict stand-ins for both APIs, on real hosts.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use labwright_testkit::Host;
use serde_json::{Value as Json, json};

use crate::reverts::inside;
use crate::secrets_hosts::Safe;

const ADGUARD: &str = include_str!("fake_adguard.py");
const PIHOLE: &str = include_str!("fake_pihole.py");
const PASSWORD: &str = "canary-resolver-password";

/// A stand-in on a host, ended with the test.
struct Fake {
    process: Child,
    state: &'static str,
    host: Host,
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Fake {
    fn start(host: &Host, program: &str, state: &'static str, arguments: &[&str]) -> Fake {
        host.write("/root/fake.py", program).unwrap();
        let mut command = host.inside("python3").unwrap();
        command.arg("/root/fake.py").args(arguments).stdin(Stdio::null());
        let fake = Fake { process: command.spawn().unwrap(), state, host: host.clone() };
        let port = arguments[0];
        let up = format!("import socket; socket.create_connection(('127.0.0.1', {port}), 1)");
        let until = Instant::now() + Duration::from_secs(30);
        while !host.inside("python3").unwrap().args(["-c", &up]).stderr(Stdio::null()).status().unwrap().success() {
            assert!(Instant::now() < until, "the stand-in does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        fake
    }

    fn state(&self) -> Json {
        serde_json::from_str(&self.host.read(self.state).unwrap()).unwrap()
    }

    /// Changes what it keeps, as somebody at its page would.
    fn change(&self, change: impl FnOnce(&mut Json)) {
        let mut state = self.state();
        change(&mut state);
        self.host.write(self.state, state.to_string()).unwrap();
    }
}

fn lab(safe: &Safe, dns: &str, records: &str) {
    safe.lab(
        "",
        &format!(
            "  dns: {{ on: gate, {dns}, records: {{ {records} }} }}\n\
             domain: lab.test\nnetwork: {{ zones: {{ lan: {{ subnet: 10.99.0.0/24 }} }} }}\n\
             compute: {{ hosts: {{ gate: {{ zone: lan, address: 10.99.0.11 }} }} }}\n"
        ),
    );
}

const AT_ADGUARD: &str =
    "software: adguard, api: { url: \"http://127.0.0.1:3000\", user: admin, password: \"${secret.resolver}\" }";

#[test]
fn an_adguard_home_keeps_the_labs_names_beside_its_own() {
    let safe = Safe::new();
    let host = safe.world.net.light_host("gate").unwrap();
    let fake = Fake::start(&host, ADGUARD, "/run/fake-adguard.json", &["3000", "admin", PASSWORD]);
    let foreign = json!({ "domain": "tv.lab.test", "answer": "10.99.0.99", "enabled": true });
    fake.change(|state| state["rewrites"] = json!([foreign]));
    safe.set("resolver", PASSWORD);
    lab(&safe, AT_ADGUARD, "nas: 10.99.0.50, \"*.apps\": 10.99.0.51, files: { cname: nas }");
    let pairs = || -> Vec<String> {
        let state = fake.state();
        let all = state["rewrites"].as_array().unwrap();
        let mut pairs: Vec<String> = all
            .iter()
            .map(|one| format!("{} {}", one["domain"].as_str().unwrap(), one["answer"].as_str().unwrap()))
            .collect();
        pairs.sort();
        pairs
    };
    safe.world.run(&["plan"]).code(0).says("record nas.lab.test").says("10.99.0.50").says_not(PASSWORD);
    safe.world.run(&["apply", "--yes"]).code(0).says_not(PASSWORD);
    let all = [
        "*.apps.lab.test 10.99.0.51",
        "files.lab.test nas.lab.test",
        "gate.lab.test 10.99.0.11",
        "nas.lab.test 10.99.0.50",
        "tv.lab.test 10.99.0.99",
    ];
    assert_eq!(pairs(), all);
    safe.world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    // Changed by hand: seen as drift, and set right; the new answer is there before the old one goes.
    fake.change(|state| {
        for one in state["rewrites"].as_array_mut().unwrap() {
            if one["domain"] == "nas.lab.test" {
                one["answer"] = json!("10.99.0.66");
            }
        }
        state["log"] = json!([]);
    });
    safe.world.run(&["drift"]).says("nas.lab.test").says("10.99.0.66");
    safe.world.run(&["apply", "--yes"]).code(0);
    assert_eq!(pairs(), all);
    let log = fake.state()["log"].to_string();
    assert!(log.find("rewrite/add").unwrap() < log.find("rewrite/delete").unwrap(), "{log}");
    // Taken out of the lab: kept until pruned. What was never the lab's stays either way.
    lab(&safe, AT_ADGUARD, "nas: 10.99.0.50, files: { cname: nas }");
    safe.world.run(&["apply", "--yes"]).code(0);
    assert!(pairs().contains(&all[0].to_string()));
    safe.world.run(&["apply", "--yes", "--prune"]).code(0);
    assert_eq!(pairs(), all[1..]);
    // A name that somebody else answered first is a conflict.
    lab(&safe, AT_ADGUARD, "nas: 10.99.0.50, files: { cname: nas }, tv: 10.99.0.77");
    safe.world.run(&["plan"]).says("tv.lab.test: it is there, is not the lab's").says("adopt");
    assert_eq!(pairs(), all[1..]);
    // A wrong password: told without it, and nothing is taken for absent.
    lab(&safe, AT_ADGUARD, "nas: 10.99.0.50, files: { cname: nas }");
    safe.set("resolver", "canary-other");
    safe.world.run(&["plan"]).says("answers 401").says("platform.dns.api").says_not("canary");
    assert_eq!(pairs(), all[1..]);
    assert_eq!(
        inside(&host, "grep -rlFe canary-resolver -e canary-other /etc /run /tmp /var/lib/labwright/labs 2>/dev/null"),
        ""
    );
}

const AT_PIHOLE: &str = "software: pihole, api: { url: \"http://127.0.0.1:8053\", password: \"${secret.resolver}\" }";

#[test]
fn a_pihole_keeps_the_labs_names_beside_its_own() {
    let safe = Safe::new();
    let host = safe.world.net.light_host("gate").unwrap();
    let fake = Fake::start(&host, PIHOLE, "/run/fake-pihole.json", &["8053"]);
    fake.change(|state| {
        state["password"] = json!(PASSWORD);
        state["hosts"] = json!(["10.99.0.99 tv.lab.test tv # upstairs"]);
    });
    safe.set("resolver", PASSWORD);
    lab(&safe, AT_PIHOLE, "nas: 10.99.0.50, files: { cname: nas }");
    safe.world.run(&["apply", "--yes"]).code(0).says_not(PASSWORD);
    let lists = || {
        let state = fake.state();
        let list = |name: &str| -> Vec<String> {
            let all = state[name].as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_string());
            let mut all: Vec<String> = all.collect();
            all.sort();
            all
        };
        (list("hosts"), list("cnameRecords"))
    };
    let hosts = ["10.99.0.11 gate.lab.test", "10.99.0.50 nas.lab.test", "10.99.0.99 tv.lab.test tv # upstairs"];
    assert_eq!(lists(), (hosts.map(str::to_string).to_vec(), vec!["files.lab.test,nas.lab.test".to_string()]));
    safe.world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    // It has two sessions, and each run gave back its own.
    assert_eq!(fake.state()["open"], json!({}), "sessions stay open");
    // A session that runs out between two requests is opened again.
    fake.change(|state| state["validity"] = json!(0));
    safe.world.run(&["plan"]).says("Unauthorized");
    fake.change(|state| state["validity"] = json!(1800));
    // An alias becomes an address, and an address another one.
    lab(&safe, AT_PIHOLE, "nas: 10.99.0.52, files: 10.99.0.53");
    safe.world.run(&["apply", "--yes"]).code(0);
    let (now, aliases) = lists();
    assert!(
        now.contains(&"10.99.0.52 nas.lab.test".to_string()) && now.contains(&"10.99.0.53 files.lab.test".to_string()),
        "{now:?}"
    );
    assert!(!now.contains(&"10.99.0.50 nas.lab.test".to_string()) && aliases.is_empty(), "{now:?} {aliases:?}");
    assert!(now.contains(&hosts[2].to_string()));
    // What it refuses is told in its own words, with what to do.
    let refused = |change: fn(&mut Json), words: &[&str]| {
        fake.change(change);
        lab(&safe, AT_PIHOLE, "nas: 10.99.0.52, files: 10.99.0.53, new: 10.99.0.60");
        let ran = safe.world.run(&["apply", "--yes"]).code(5).says_not(PASSWORD);
        words.iter().fold(ran, |ran, word| ran.says(word));
    };
    refused(
        |state| state["environment"] = json!(["hosts"]),
        &["environment variables cannot be changed", "FTLCONF_dns_hosts"],
    );
    refused(
        |state| {
            state["environment"] = json!([]);
            state["app"] = json!(true);
        },
        &["read-only", "webserver.api.app_sudo"],
    );
    let unseen = |change: fn(&mut Json), words: &[&str]| {
        fake.change(change);
        let ran = safe.world.run(&["plan"]).says_not(PASSWORD);
        words.iter().fold(ran, |ran, word| ran.says(word));
    };
    let full = |state: &mut Json| {
        state["app"] = json!(false);
        state["open"] = json!({ "a": 9e9, "b": 9e9 });
    };
    unseen(full, &["no session left", "max_sessions"]);
    unseen(|state| state["open"] = json!({}), &["record new.lab.test"]);
    safe.set("resolver", "canary-wrong");
    unseen(|_| {}, &["does not take the password", "labwright secret set"]);
    safe.set("resolver", PASSWORD);
    // A line of several names is not taken apart.
    fake.change(|state| {
        state["hosts"] = json!(["10.99.0.11 gate.lab.test", "10.99.0.98 nas.lab.test n", "10.99.0.53 files.lab.test"])
    });
    lab(&safe, AT_PIHOLE, "nas: 10.99.0.52, files: 10.99.0.53");
    safe.world.run(&["apply", "--yes"]).code(5).says("shares the entry `10.99.0.98 nas.lab.test n`");
}

/// A Pi-hole with the lab's password, told of one name and one alias.
fn pihole() -> (Safe, Fake) {
    let safe = Safe::new();
    let host = safe.world.net.light_host("gate").unwrap();
    let fake = Fake::start(&host, PIHOLE, "/run/fake-pihole.json", &["8053"]);
    fake.change(|state| state["password"] = json!(PASSWORD));
    safe.set("resolver", PASSWORD);
    lab(&safe, AT_PIHOLE, "nas: 10.99.0.50, files: { cname: nas }");
    (safe, fake)
}

#[test]
fn a_session_of_a_pihole_that_runs_out_in_the_middle_is_renewed() {
    let (safe, fake) = pihole();
    // Each is good for two requests: whatever is looked at or changed after that is refused once, and asked for again.
    fake.change(|state| state["uses"] = json!(2));
    safe.world.run(&["apply", "--yes"]).code(0).says_not(PASSWORD);
    let state = fake.state();
    // Which of two records is written first is nobody's promise.
    let mut hosts: Vec<&str> = state["hosts"].as_array().unwrap().iter().filter_map(Json::as_str).collect();
    hosts.sort_unstable();
    assert_eq!(hosts, ["10.99.0.11 gate.lab.test", "10.99.0.50 nas.lab.test"]);
    assert_eq!(state["cnameRecords"], json!(["files.lab.test,nas.lab.test"]));
    // Nothing was done twice for it, and no session is left open.
    let log = state["log"].as_array().unwrap();
    assert_eq!(log.len(), 3, "{log:?}");
    let (logins, sessions) = (state["logins"].as_u64().unwrap(), state["used"].as_object().unwrap().len());
    assert!(logins > 4 && sessions > 4, "{logins} logins, {sessions} sessions: none was renewed");
    assert_eq!(state["open"], json!({}), "sessions stay open");
    // One that is not good for a single request is no session: told, and nothing is taken for absent.
    fake.change(|state| state["uses"] = json!(0));
    safe.world.run(&["plan"]).says("401").says("Unauthorized");
}

#[test]
fn a_pihole_that_is_crowded_is_waited_for_and_not_for_ever() {
    let (safe, fake) = pihole();
    let crowd = |seconds: f64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        fake.change(|state| (state["crowd"], state["limited"]) = (json!(now + seconds), json!(0)));
    };
    let refused = || fake.state()["limited"].as_u64().unwrap();
    crowd(4.0);
    safe.world.run(&["apply", "--yes"]).code(0).says_not(PASSWORD);
    assert!(refused() > 0, "nobody was in the way");
    safe.world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    crowd(3600.0);
    let since = Instant::now();
    safe.world
        .run(&["plan"])
        .says("Pi-hole at `http://127.0.0.1:8053` lets nobody in: for 10 s more than three passwords a second")
        .says("find out who tries them")
        .says_not(PASSWORD);
    let took = since.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_secs(60)).contains(&took), "{took:?}");
    // All names wait once together, and what was there is still the lab's.
    assert!(refused() < 40, "{} logins", refused());
    crowd(0.0);
    safe.world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
}

#[test]
fn a_password_goes_over_no_network_in_the_clear() {
    let safe = Safe::new();
    let _host = safe.world.net.light_host("gate").unwrap();
    safe.set("resolver", PASSWORD);
    let away = AT_PIHOLE.replace("127.0.0.1:8053", "10.99.0.1:8053");
    lab(&safe, &away, "nas: 10.99.0.50");
    safe.world.run(&["plan"]).says("would be readable over the network").says_not(PASSWORD);
    // Where nobody is, nothing is taken for absent.
    lab(&safe, AT_PIHOLE, "nas: 10.99.0.50");
    safe.world.run(&["plan"]).says("Pi-hole at `http://127.0.0.1:8053` refuses connections");
    safe.world.run(&["dns", "status"]).code(2).says("`pihole` answers for this lab");
}
