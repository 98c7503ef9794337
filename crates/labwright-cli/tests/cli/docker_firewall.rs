//! A real engine behind a host's ruleset: what it publishes stays closed to whom the matrix denies, before it starts anew,
//! while it is away, and after it is back.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::docker::Dock;
use crate::world::Ran;

const LAB: &str = "lab: home
network:
  firewall: enforce
  zones: { servers: { subnet: [10.6.1.0/24, \"fd00:6:1::/64\"] }, clients: { subnet: 10.6.2.0/24 } }
  flows:
    - { from: servers, to: web, allow: ssh }
    - { from: clients, to: web, allow: 8080/tcp }
compute:
  docker_hosts: web
  hosts: { web: { zone: servers, address: [10.6.1.5, \"fd00:6:1::5\"] } }
";

/// A machine on a cable to the engine's host: a network namespace that a process holds.
struct Neighbour {
    holder: Child,
    pid: String,
}

impl Neighbour {
    fn new(dock: &Dock, name: &str) -> Neighbour {
        let mut command = dock.engine.inside().unwrap();
        command.args(["unshare", "--net", "sh", "-c", "ip link set lo up; echo $$; exec sleep 600"]);
        let mut holder = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = line.trim().to_string();
        dock.engine
            .within(&["ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", &pid])
            .unwrap();
        dock.engine.within(&["ip", "link", "set", name, "up"]).unwrap();
        Neighbour { holder, pid }
    }

    fn sh(&self, dock: &Dock, script: &str) -> bool {
        let net = format!("--net=/proc/{}/ns/net", self.pid);
        dock.engine.within(&["nsenter", &net, "sh", "-ec", script]).is_ok()
    }

    /// Whether somebody answers there.
    fn reaches(&self, dock: &Dock, address: &str, port: u16) -> bool {
        let script = format!("exec timeout 2 bash -c 'exec 3<>/dev/tcp/{address}/{port}'");
        self.sh(dock, &script)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn an_engine_that_starts_anew_opens_nothing_that_no_flow_allows() {
    let mut dock = Dock::new();
    dock.desk.lab(LAB);
    let (neighbour, client) = (Neighbour::new(&dock, "lan"), Neighbour::new(&dock, "wan"));
    for line in
        ["addr add 10.6.1.5/24 dev lan", "addr add fd00:6:1::5/64 dev lan nodad", "route add 10.6.2.0/24 dev wan"]
    {
        dock.engine.within(&[&["ip"][..], &line.split(' ').collect::<Vec<_>>()].concat()).unwrap();
    }
    let at = "ip link set eth0 up; ip addr add";
    assert!(neighbour.sh(
        &dock,
        &format!("{at} 10.6.1.77/24 dev eth0; ip addr add fd00:6:1::77/64 dev eth0 nodad; ip route add 172.17.0.0/16 via 10.6.1.5")
    ));
    assert!(client.sh(&dock, &format!("{at} 10.6.2.50/24 dev eth0; ip route add 10.6.1.0/24 dev eth0; ip route add 172.17.0.0/16 via 10.6.1.5 onlink dev eth0")));
    let changes = [r#"CMD ["/bin/httpd","-f","-p","80","-h","/etc"]"#];
    let digest = dock.engine.publish("app:1", &changes).unwrap();
    let image = format!("{}/app@{digest}", labwright_testkit::engine::REGISTRY);
    dock.engine
        .docker(&["run", "-d", "--name", "app", "--restart", "always", "-p", "8080:80", "-p", "9090:80", &image])
        .unwrap();
    let inner = dock.inspect("{{.NetworkSettings.IPAddress}}", "app");
    let who = |dock: &Dock, from: &Neighbour| [8080, 9090].map(|port| from.reaches(dock, "10.6.1.5", port));
    let started = || {
        let begun = std::time::Instant::now();
        while !client.reaches(&dock, "10.6.1.5", 8080) {
            assert!(begun.elapsed().as_secs() < 30, "the container does not answer");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    };
    started();
    assert_eq!(
        (who(&dock, &client), who(&dock, &neighbour)),
        ([true; 2], [true; 2]),
        "without rules, everybody comes in"
    );
    assert!(neighbour.reaches(&dock, "fd00:6:1::5", 8080), "over IPv6 by the engine's own proxy, too");

    let ran: Ran = dock.desk.run(&["flows", "--ruleset", "web"]).code(0);
    dock.desk.write("web.nft", &ran.out);
    let rules = dock.desk.path("web.nft").display().to_string();
    dock.engine.within(&["nft", "-f", &rules]).unwrap();
    let ours = |dock: &Dock| {
        dock.engine.within(&["nft", "--stateless", "list", "chain", "inet", "labwright", "forward"]).unwrap()
    };
    let before = ours(&dock);
    let judged = |dock: &Dock, when: &str, up: bool| {
        assert_eq!(
            who(dock, &client),
            [up, false],
            "{when}: clients come in at the port of their flow, and at no other"
        );
        assert_eq!(who(dock, &neighbour), [false; 2], "{when}: nobody else does");
        assert!(
            !neighbour.reaches(dock, &inner, 80) && !client.reaches(dock, &inner, 80),
            "{when}: past the published port"
        );
        assert!(!neighbour.reaches(dock, "fd00:6:1::5", 8080), "{when}: nor over IPv6");
        assert_eq!(ours(dock), before, "{when}: our rules were changed");
    };
    judged(&dock, "with the engine running", true);
    dock.engine.stop_dockerd().unwrap();
    judged(&dock, "while it is away", false);
    dock.engine.start_dockerd().unwrap();
    let begun = std::time::Instant::now();
    while !client.reaches(&dock, "10.6.1.5", 8080) {
        assert!(begun.elapsed().as_secs() < 30, "the container does not come back");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    judged(&dock, "after it came back", true);
    // A port that is published later is judged like any other.
    dock.engine.docker(&["run", "-d", "--name", "late", "-p", "9999:80", &image]).unwrap();
    assert!(!client.reaches(&dock, "10.6.1.5", 9999) && !neighbour.reaches(&dock, "10.6.1.5", 9999));
    judged(&dock, "with one more container", true);
}
