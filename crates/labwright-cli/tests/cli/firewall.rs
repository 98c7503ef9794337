//! The firewall on a host over SSH: opt-in, loaded whole or not at all, its own table alone, and gone without a trace.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use labwright_testkit::Host;

use crate::world::World;

fn lab(world: &World, more: &str, flows: &str) {
    world.lab(&format!(
        "lab: test\nnetwork:\n  {more}\n  zones: {{ all: {{ subnet: 10.99.0.0/24 }} }}\n  flows:\n    - {{ from: all, to: web, allow: [{flows}] }}\ncompute:\n  hosts:\n    web: {{ zone: all, address: {} }}\n",
        Ipv4Addr::new(10, 99, 0, 11)
    ));
}

/// Whether the controller gets through to a port of the host, where `nc`-less listeners wait.
fn reaches(world: &World, host: &Host, port: u16) -> bool {
    let script = format!("exec 3<>/dev/tcp/{}/{port}", host.address());
    world.net.command("timeout").args(["2", "bash", "-c", &script]).output().unwrap().status.success()
}

/// Listens on the host, for as long as the test holds the child.
fn listen(host: &Host, port: u16) -> std::process::Child {
    let script = "import socket,sys,time\ns=socket.socket();s.setsockopt(1,2,1);s.bind(('0.0.0.0',int(sys.argv[1])));s.listen(50)\nprint('up',flush=True)\ntime.sleep(600)";
    let mut command: Command = host.inside("python3").unwrap();
    let mut child =
        command.args(["-c", script, &port.to_string()]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = [0u8; 2];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    child
}

const APPROVED: &[&str] = &["apply", "--yes", "--approve", "cuts-management"];

#[test]
fn a_host_denies_what_no_flow_allows_and_is_as_before_when_it_goes() {
    let world = World::new();
    let host = world.net.light_host("web").unwrap();
    assert_eq!(host.address(), Ipv4Addr::new(10, 99, 0, 11));
    let foreign =
        "table inet mine { chain c { type filter hook input priority 5; tcp dport 1 drop comment \"mine\"\n}\n}\n";
    host.write("/tmp/mine.nft", foreign).unwrap();
    host.ssh_stdout("nft -f /tmp/mine.nft").unwrap();
    let mine = || host.ssh_stdout("nft list table inet mine").unwrap();
    let before = mine();
    let mut listeners = [listen(&host, 8080), listen(&host, 9090)];
    assert!(reaches(&world, &host, 8080) && reaches(&world, &host, 9090));

    // Not asked for: nothing happens.
    lab(&world, "firewall: off", "ssh, 8080/tcp");
    world.run(&["plan"]).code(0).says_not("ruleset");

    lab(&world, "firewall: enforce", "ssh, 8080/tcp");
    world.run(&["plan"]).code(0).says("cuts-management");
    world.run(&["apply", "--yes"]).says("cuts-management");
    assert!(reaches(&world, &host, 9090), "a general yes must not load a firewall");
    world.run(APPROVED).code(0);
    assert!(reaches(&world, &host, 8080) && reaches(&world, &host, 22));
    assert!(!reaches(&world, &host, 9090), "what no flow allows got through");
    assert_eq!(mine(), before, "a table that is not ours was changed");
    world.run(&["plan"]).code(0).says("nothing to do");

    // A flow that moved by a line above it costs no approval of its own; a rule changed by hand is drift.
    lab(&world, "# a line\n  firewall: enforce", "ssh, 8080/tcp");
    world.run(&["plan"]).code(0).says("ruleset labwright [hot]");
    world.run(&["apply", "--yes"]).code(0);
    host.ssh_stdout("nft insert rule inet labwright input tcp dport 9090 accept").unwrap();
    assert!(reaches(&world, &host, 9090));
    world.run(&["drift"]).code(4).says("loaded: true -> false");
    world.run(APPROVED).code(0);
    assert!(!reaches(&world, &host, 9090));

    // What only goes out needs no approval of its own; what comes in does.
    lab(&world, "firewall: enforce", "ssh, 8080/tcp, 9090/tcp");
    world.run(&["plan"]).code(0).says("cuts-management");
    world.run(APPROVED).code(0);
    assert!(reaches(&world, &host, 9090));
    host.ssh_stdout("test -s /etc/labwright/firewall.previous.nft").unwrap();

    lab(&world, "firewall: off", "ssh");
    world.run(&["apply", "--yes", "--prune"]);
    assert_eq!(host.ssh_stdout("nft list tables").unwrap().trim(), "table inet mine");
    assert_eq!(mine(), before);
    assert!(host.ssh_stdout("ls /etc/labwright/firewall.nft").is_err());
    listeners.iter_mut().for_each(|child| {
        child.kill().unwrap();
        child.wait().unwrap();
    });
}

#[test]
fn a_lab_that_would_lock_its_administrator_out_is_not_planned() {
    let world = World::new();
    let _host = world.net.light_host("web").unwrap();
    lab(&world, "firewall: enforce", "https");
    world.run(&["plan"]).code(3).says("LW-NET-016").says("nobody could log in to `web` any more");
}

#[test]
fn a_ruleset_that_is_not_taken_changes_nothing() {
    let world = World::new();
    let host = world.net.light_host("web").unwrap();
    lab(&world, "firewall: enforce", "ssh");
    // An `nft` that checks badly stands for one that is too old.
    host.write("/usr/local/sbin/nft", "#!/bin/sh\ncase \"$*\" in --check*) echo 'Error: syntax error, unexpected comment' >&2; exit 1;; --version) echo 'nftables v0.8.0'; exit 0;; esac\nexec /usr/sbin/nft \"$@\"\n").unwrap();
    host.ssh_stdout("chmod 755 /usr/local/sbin/nft").unwrap();
    world
        .run(APPROVED)
        .code(5)
        .says("nftables does not take the ruleset, and nothing was changed")
        .says("this is nftables v0.8.0");
    assert_eq!(host.ssh_stdout("/usr/sbin/nft list tables").unwrap().trim(), "");
    let door = SocketAddr::from((host.address(), 22));
    assert!(reaches(&world, &host, 22), "{door}");
    host.ssh_stdout("rm /usr/local/sbin/nft").unwrap();
    world.run(APPROVED).code(0);
    drop(TcpStream::connect_timeout(&door, Duration::from_millis(1)));
}
