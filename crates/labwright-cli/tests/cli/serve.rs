//! From a lab file to a door on a real host, with systemd, its sandbox and a reboot.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use labwright_testkit::Host;

use crate::world::World;

/// The lab; `proxy` is more of the proxy's own, `services` more services.
fn lab(world: &World, proxy: &str, services: &str) {
    world.lab(&format!(
        "lab: test\nplatform:\n  reverse_proxy: {{ on: gate{proxy} }}\ncompute: {{ hosts: {{ gate: {{}} }} }}\nservices:\n  \
         pages: {{ site: ./pages, url: pages, expose: lan }}\n  \
         gone: {{ run: {{ command: [/bin/sleep, infinity] }}, on: gate, url: gone, port: 9, expose: lan }}\n{services}"
    ));
}

fn curl(world: &World, host: &Host, name: &str, arguments: &[&str]) -> Command {
    let mut command = world.net.command("/usr/bin/curl");
    command.args(["--silent", "--show-error", "--max-time", "20"]);
    for port in [80, 443] {
        command.args(["--resolve", &format!("{name}.lab.home.arpa:{port}:{}", host.address())]);
    }
    command.args(arguments).arg(format!("https://{name}.lab.home.arpa/"));
    command
}

fn got(mut command: Command) -> String {
    let output = command.output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn one_service_entry_is_enough_for_a_door() {
    let world = World::new();
    let host = world.net.systemd_host("gate").unwrap();
    world.desk.write("pages/index.html", "first edition\n");
    world.desk.write("pages/sub/deep.txt", "deep\n");
    lab(&world, "", "");
    world.run(&["plan"]).code(0).says("daemon labwright-serve [hot]");
    world.apply().code(0);
    world.apply().code(0).says("nothing to do");
    world.run(&["ca", "export"]).code(0).says("BEGIN CERTIFICATE");
    let ca = world.desk.path("ca.pem");
    std::fs::write(&ca, world.run(&["ca", "export"]).out).unwrap();
    let ca = ["--cacert", ca.to_str().unwrap()];
    assert_eq!(got(curl(&world, &host, "pages", &ca)), "first edition\n");
    let gone = got(curl(&world, &host, "gone", &ca));
    assert!(gone.contains("gone does not answer") && gone.contains("nothing listens there"), "{gone}");
    // It is nobody special, and its folders are its own.
    let user = host.ssh_stdout("ps -o user= -p $(systemctl show -P MainPID labwright-serve)").unwrap();
    assert!(!user.contains("root"), "{user}");
    host.ssh_stdout("test $(stat -L -c %a /run/labwright-serve) = 700").unwrap();
    assert!(
        host.ssh_stdout("cat /proc/$(systemctl show -P MainPID labwright-serve)/status")
            .unwrap()
            .contains("CapEff:\t0000000000000400")
    );

    // A page changes, and a service comes: no restart, and the certificate stays.
    let process = || host.ssh_stdout("systemctl show -P MainPID labwright-serve").unwrap();
    let before = process();
    world.desk.write("pages/index.html", "second edition\n");
    lab(&world, "", "  more: { site: ./pages, url: more, expose: lan }\n");
    world.run(&["plan"]).code(0).says("+second edition");
    world.apply().code(0);
    assert_eq!(got(curl(&world, &host, "pages", &ca)), "second edition\n");
    assert_eq!(got(curl(&world, &host, "more", &ca)), "second edition\n");
    assert_eq!(process(), before);

    // What cannot be served is told, and the old goes on.
    lab(&world, ", listen: 192.0.2.1", "");
    world
        .apply()
        .code(5)
        .says("the daemon cannot serve that, and goes on with what it has")
        .says("this host has no such address");
    assert_eq!(got(curl(&world, &host, "more", &ca)), "second edition\n");
    lab(&world, "", "  more: { site: ./pages, url: more, expose: lan }\n");
    world.apply().code(0);
}

#[test]
fn crashes_restarts_and_reboots_refuse_nobody_for_long() {
    let world = World::new();
    let host = world.net.systemd_host("gate").unwrap();
    world.desk.write("pages/index.html", "page\n");
    lab(&world, "", "");
    world.apply().code(0);
    // Without a crash of the manager itself the listeners outlive everything: whoever comes meanwhile waits.
    let stop = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let mut answers = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                answers.push(got(curl(&world, &host, "pages", &["-k"])));
            }
            answers
        });
        let process = || host.ssh_stdout("systemctl show -P MainPID labwright-serve").unwrap();
        for action in ["systemctl restart labwright-serve", "kill -9 $(systemctl show -P MainPID labwright-serve)"] {
            let before = process();
            host.ssh_stdout(action).unwrap();
            let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
            while process() == before || host.ssh_stdout("systemctl is-active labwright-serve").is_err() {
                assert!(
                    std::time::Instant::now() < until,
                    "{}",
                    host.ssh_stdout("systemctl status labwright-serve || true").unwrap()
                );
            }
        }
        stop.store(true, Ordering::Relaxed);
        let answers = asked.join().unwrap();
        // A kill may cut an answer that was under way; nobody is refused.
        let refused: Vec<&String> =
            answers.iter().filter(|answer| answer.contains("refused") || answer.contains("timed out")).collect();
        assert!(answers.len() > 5 && refused.is_empty(), "{refused:?}");
    });
    let before = host.boot_id().unwrap();
    host.reboot().unwrap();
    host.wait_for_boot_after(&before).unwrap();
    // The control side is not there; the last good snapshot is.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while got(curl(&world, &host, "pages", &["-k"])) != "page\n" {
        assert!(
            std::time::Instant::now() < until,
            "{}",
            host.ssh_stdout("systemctl status labwright-serve || true").unwrap()
        );
    }
    world.apply().code(0).says("nothing to do");
}
