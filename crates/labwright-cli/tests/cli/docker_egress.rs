//! `egress:` on a real engine, with real connections: through the gateway or not at all.

use std::time::Duration;

use crate::docker::{CHECK, Dock, SERVE};
use crate::docker_faults::until;

/// What stands for the internet: an address in the engine's own network, with a web server at it.
const OUTSIDE: &str = "198.51.100.1";

fn outside(dock: &Dock) {
    let page = dock.desk.path("page");
    std::fs::create_dir_all(&page).unwrap();
    std::fs::write(page.join("index.html"), "the world\n").unwrap();
    dock.engine.within(&["ip", "address", "add", &format!("{OUTSIDE}/32"), "dev", "lo"]).unwrap();
    let page = page.display().to_string();
    dock.engine.within(&["busybox", "httpd", "-p", &format!("{OUTSIDE}:80"), "-h", &page]).unwrap();
}

/// Whether a container reaches the world.
fn reaches(dock: &Dock, container: &str) -> bool {
    let url = format!("http://{OUTSIDE}/");
    let wget = ["exec", container, "/bin/busybox", "timeout", "3", "/bin/busybox", "wget", "-q", "-O-", &url];
    dock.engine.docker(&wget).is_ok_and(|page| page == "the world")
}

fn lives_with(dock: &Dock, container: &str, gateway: &str) {
    let mode = dock.inspect("{{.HostConfig.NetworkMode}}", container);
    assert_eq!(mode, format!("container:{}", dock.inspect("{{.Id}}", gateway)));
}

/// A gateway, a service that leaves through it, one that needs that.
fn lab(dock: &Dock, gateway: &str, colour: &str) {
    lab_of(dock, gateway, colour, "app:1", "\"data:/data\"");
}

fn lab_of(dock: &Dock, gateway: &str, colour: &str, app: &str, mounts: &str) {
    dock.lab(&format!(
        "vpn: {{ on: here, containers: {{ tunnel: {{ image: \"REG/{gateway}\", cap_add: [NET_ADMIN], environment: {{ COLOUR: {colour} }} }} }} }}
seeds:
  on: here
  egress: vpn
  containers:
    app: {{ image: \"REG/{app}\", ports: [\"8080:80\"], volumes: [{mounts}], stop_grace_period: 1s }}
    side: {{ image: \"REG/app:1\", command: [/bin/sleep, \"1000\"], stop_grace_period: 1s, network_mode: \"service:app\" }}
arr: {{ on: here, needs: [seeds], containers: {{ web: {{ image: \"REG/app:1\", stop_grace_period: 1s }} }} }}"
    ));
}

#[test]
fn it_leaves_through_its_gateway_or_not_at_all() {
    let dock = Dock::new();
    outside(&dock);
    dock.engine.publish("vpn:1", &[SERVE, CHECK]).unwrap();
    dock.engine
        .publish("app:1", &[r#"CMD ["/bin/sh","-c","mkdir -p /tmp/www; echo seeds > /tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www || exec sleep 1000"]"#])
        .unwrap();
    lab(&dock, "vpn:1", "red");
    dock.apply().code(0);
    dock.settled();
    lives_with(&dock, "seeds-app-1", "vpn-tunnel-1");
    assert!(reaches(&dock, "seeds-app-1"));
    // Its port is the gateway's, and who needs it finds it there by its name.
    assert!(dock.inspect("{{.HostConfig.PortBindings}}", "vpn-tunnel-1").contains("8080"));
    assert_eq!(dock.inspect("{{.HostConfig.PortBindings}}", "seeds-app-1"), "map[]");
    let page = dock.engine.within(&["busybox", "wget", "-q", "-O-", "http://127.0.0.1:8080/"]).unwrap();
    assert_eq!(page.trim(), "seeds");
    let asked = ["exec", "arr-web-1", "/bin/busybox", "wget", "-q", "-O-", "http://seeds-app/"];
    assert_eq!(dock.engine.docker(&asked).unwrap(), "seeds");

    // The gateway dies: nothing leaves, though the service runs on.
    dock.engine.docker(&["kill", "vpn-tunnel-1"]).unwrap();
    until("the gateway is gone", || dock.inspect("{{.State.Running}}", "vpn-tunnel-1") == "false");
    assert_eq!(dock.inspect("{{.State.Running}}", "seeds-app-1"), "true");
    assert!(!reaches(&dock, "seeds-app-1"));
    dock.desk.run(&["drift"]).code(4).says("cut off");
    dock.apply().code(0);
    dock.settled();
    assert!(reaches(&dock, "seeds-app-1"));

    // Somebody starts it again by hand: it has a network anew, and those in the old one are cut off until they join it.
    dock.engine.docker(&["restart", "-t", "0", "vpn-tunnel-1"]).unwrap();
    assert!(!reaches(&dock, "seeds-app-1"));
    dock.desk.run(&["drift"]).code(4).says("cut off");
    dock.apply().code(0).says("starting it again");
    dock.settled();
    assert!(reaches(&dock, "seeds-app-1"));

    // Another setting makes the gateway anew, and with it whoever lives in its network: the plan says so.
    let old = dock.inspect("{{.Id}}", "vpn-tunnel-1");
    lab(&dock, "vpn:1", "green");
    let plan = dock.desk.run(&["plan"]).code(0).says("container vpn-tunnel-1").says("container seeds-app-1");
    plan.says("container seeds-side-1").says("beside").says_not("container arr-web-1");
    dock.apply().code(0);
    dock.settled();
    assert_ne!(dock.inspect("{{.Id}}", "vpn-tunnel-1"), old);
    lives_with(&dock, "seeds-app-1", "vpn-tunnel-1");
    lives_with(&dock, "seeds-side-1", "vpn-tunnel-1");
    assert!(reaches(&dock, "seeds-app-1") && reaches(&dock, "seeds-side-1"));

    // An update of the gateway that falls ill comes back, and those in its network have one again.
    let good = dock.inspect("{{.Id}}", "vpn-tunnel-1");
    dock.engine.publish("vpn:2", &[r#"CMD ["/bin/sh","-c","touch /broken; exec sleep 1000"]"#, CHECK]).unwrap();
    lab(&dock, "vpn:2", "green");
    dock.apply().code(5).says("reverted").says("runs again").says("starting `seeds-app-1` again").says("skipped");
    assert_eq!(dock.inspect("{{.Id}}", "vpn-tunnel-1"), good);
    assert!(reaches(&dock, "seeds-app-1"));
    lab(&dock, "vpn:1", "green");
    dock.apply().code(0);
    dock.settled();

    // It is gone altogether: whoever lived there is made anew with it.
    dock.engine.docker(&["rm", "-f", "vpn-tunnel-1"]).unwrap();
    assert!(!reaches(&dock, "seeds-app-1"));
    dock.apply().code(0);
    dock.settled();
    assert!(reaches(&dock, "seeds-app-1"));
}

/// The gateway gets a new container and so its network is another one, while what lives in it cannot be changed as asked: it
/// comes back by itself all the same, into the new network, with what it had.
#[test]
fn what_cannot_follow_its_gateway_comes_back_into_the_new_network() {
    let dock = Dock::new();
    outside(&dock);
    dock.engine.publish("vpn:1", &[SERVE, CHECK]).unwrap();
    let good = dock.engine.publish("app:1", &["VOLUME /unnamed", SERVE]).unwrap();
    dock.engine
        .publish("app:2", &["VOLUME /unnamed", r#"CMD ["/bin/sh","-c","echo no such option; exit 3"]"#])
        .unwrap();
    lab(&dock, "vpn:1", "red");
    dock.apply().code(0);
    dock.settled();
    dock.engine.docker(&["exec", "seeds-app-1", "touch", "/data/precious", "/unnamed/precious"]).unwrap();
    let nowhere = r#""data:/data", { type: bind, source: /no/such, target: /x, bind: { create_host_path: false } }"#;
    // One that does not stay up, and one that the engine does not even make.
    for (colour, app, mounts, says) in
        [("green", "app:2", "\"data:/data\"", "no such option"), ("blue", "app:1", nowhere, "/no/such")]
    {
        let before = dock.inspect("{{.Id}}", "vpn-tunnel-1");
        lab_of(&dock, "vpn:1", colour, app, mounts);
        let ran = dock.apply().code(5).says(says).says("reverted").says("making `seeds-app-1` again as it was");
        ran.says("making `seeds-side-1` again as it was").says("with the new one of what it lives with");
        assert_ne!(dock.inspect("{{.Id}}", "vpn-tunnel-1"), before);
        for container in ["seeds-app-1", "seeds-side-1"] {
            lives_with(&dock, container, "vpn-tunnel-1");
            assert!(reaches(&dock, container), "{container}");
            assert!(dock.inspect("{{.Config.Image}}", container).ends_with(&good));
        }
        dock.engine.docker(&["exec", "seeds-app-1", "ls", "/data/precious", "/unnamed/precious"]).unwrap();
        let names = dock.engine.docker(&["ps", "-a", "--format", "{{.Names}}"]).unwrap();
        let mut names: Vec<&str> = names.lines().collect();
        names.sort_unstable();
        assert_eq!(names, ["arr-web-1", "seeds-app-1", "seeds-side-1", "vpn-tunnel-1"]);
    }
    lab(&dock, "vpn:1", "blue");
    dock.apply().code(0);
    dock.settled();
    assert!(reaches(&dock, "seeds-app-1") && reaches(&dock, "seeds-side-1"));
    dock.engine.docker(&["exec", "seeds-app-1", "ls", "/data/precious", "/unnamed/precious"]).unwrap();
}

#[test]
fn behind_a_gateway_that_is_ill_nothing_starts() {
    let dock = Dock::new();
    dock.engine.publish("vpn:1", &[r#"CMD ["/bin/sh","-c","touch /broken; exec sleep 1000"]"#, CHECK]).unwrap();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    lab(&dock, "vpn:1", "red");
    dock.apply().code(5).says("container `vpn-tunnel-1` is unhealthy").says("skipped");
    assert_eq!(dock.engine.docker(&["ps", "-a", "--format", "{{.Names}}"]).unwrap(), "vpn-tunnel-1");
    // One that falls ill later holds back whoever is stopped, and what is to be changed.
    dock.engine.publish("vpn:2", &[SERVE, CHECK]).unwrap();
    lab(&dock, "vpn:2", "red");
    dock.apply().code(0);
    dock.settled();
    dock.engine.docker(&["stop", "-t", "0", "seeds-app-1"]).unwrap();
    dock.engine.docker(&["exec", "vpn-tunnel-1", "touch", "/broken"]).unwrap();
    until("the gateway is ill", || dock.inspect("{{.State.Health.Status}}", "vpn-tunnel-1") == "unhealthy");
    dock.apply().code(5).says("skipped");
    assert_eq!(dock.inspect("{{.State.Running}}", "seeds-app-1"), "false");
    dock.engine.docker(&["exec", "vpn-tunnel-1", "rm", "/broken"]).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    dock.apply().code(0);
    dock.settled();
}
