//! A host with Docker's rules, as Docker itself writes them, and containers behind them. No Docker runs.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use labwright_plan::network::Matrix;
use labwright_plan::network::nft::ruleset;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{inside, lab};

const LAB: &str = r#"
network:
  firewall: enforce
  zones: { servers: { subnet: [10.6.1.0/24, "fd00:6:1::/64"] }, clients: { subnet: 10.6.2.0/24 } }
  flows:
    - { from: servers, to: web, allow: ssh }
    - { from: clients, to: web, allow: 8080/tcp }
    - { from: web, to: db, allow: 5432/tcp }
compute:
  hosts:
    web: { zone: servers, address: [10.6.1.5, "fd00:6:1::5"] }
    db: { zone: servers, address: 10.6.1.6 }
"#;

/// What Docker 28 makes of `-p 8080:80 -p 9090:90` over its iptables, in the words of nftables.
const DOCKER: &str = r#"
table ip nat {
  chain DOCKER {
    iifname != "docker0" tcp dport 8080 dnat to 172.17.0.2:80
    iifname != "docker0" tcp dport 9090 dnat to 172.17.0.2:90
  }
  chain PREROUTING { type nat hook prerouting priority dstnat; fib daddr type local jump DOCKER; }
  chain OUTPUT { type nat hook output priority -100; ip daddr != 127.0.0.0/8 fib daddr type local jump DOCKER; }
  chain POSTROUTING { type nat hook postrouting priority srcnat; ip saddr 172.17.0.0/16 oifname != "docker0" masquerade; }
}
table ip filter {
  chain FORWARD { type filter hook forward priority filter; policy drop;
    oifname "docker0" ct state related,established accept
    oifname "docker0" iifname != "docker0" ip daddr 172.17.0.2 tcp dport { 80, 90 } accept
    iifname "docker0" accept
  }
}
"#;

pub fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
}

pub fn within<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let entered = scope.spawn(|| {
            let file = File::open(format!("/run/netns/{namespace}")).unwrap();
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        });
        entered.join().unwrap()
    })
}

pub fn listen(namespace: &str, address: &str) -> TcpListener {
    within(namespace, || TcpListener::bind(address.parse::<SocketAddr>().unwrap()).unwrap())
}

pub fn connects(namespace: &str, address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    within(namespace, || TcpStream::connect_timeout(&address, Duration::from_millis(700)).is_ok())
}

/// The host, a neighbour in its zone, a client of another zone, and a container on the host.
fn stage() -> Vec<TcpListener> {
    sh("mount -t tmpfs test /run; mkdir -p /run/netns
        for n in web db client container; do ip netns add $n; ip -n $n link set lo up; done
        ip -n web link add eth0 type veth peer name eth0 netns db
        ip -n web link add eth1 type veth peer name eth0 netns client
        ip -n web link add docker0 type bridge
        ip -n web link add v0 type veth peer name eth0 netns container
        ip -n web link set v0 master docker0
        for l in eth0 eth1 docker0 v0; do ip -n web link set $l up; done
        ip -n web addr add 10.6.1.5/24 dev eth0; ip -n web addr add fd00:6:1::5/64 dev eth0 nodad
        ip -n web addr add 172.17.0.1/16 dev docker0; ip -n web route add 10.6.2.0/24 dev eth1
        ip -n web route add 2001:db8:66::/64 dev eth1
        ip -n db link set eth0 up; ip -n db addr add 10.6.1.6/24 dev eth0; ip -n db addr add 10.6.1.77/24 dev eth0
        ip -n db addr add fd00:6:1::77/64 dev eth0 nodad
        ip -n db route add 172.17.0.0/16 via 10.6.1.5
        ip -n client link set eth0 up; ip -n client addr add 10.6.2.50/24 dev eth0; ip -n client route add 10.6.1.0/24 dev eth0
        ip -n client addr add 2001:db8:66::50/64 dev eth0 nodad; ip -n client route add fd00:6:1::/64 dev eth0
        ip -n container link set eth0 up; ip -n container addr add 172.17.0.2/16 dev eth0
        ip -n container route add default via 172.17.0.1
        nsenter --net=/run/netns/web sysctl -qw net.ipv4.ip_forward=1");
    let mut doors = vec![listen("container", "0.0.0.0:80"), listen("container", "0.0.0.0:90")];
    doors.extend(["[::]:22", "[::]:8080", "[::]:7000"].map(|door| listen("web", door)));
    doors.extend([listen("db", "10.6.1.6:5432"), listen("db", "10.6.1.6:22")]);
    doors
}

fn load(text: &str) {
    load_in("web", text);
}

pub fn load_in(namespace: &str, text: &str) {
    std::fs::write("/run/rules.nft", text).unwrap();
    sh(&format!("nsenter --net=/run/netns/{namespace} nft -f /run/rules.nft"));
}

fn dockers_own() -> String {
    let output = Command::new("nsenter")
        .args(["--net=/run/netns/web", "sh", "-c", "nft list table ip nat; nft list table ip filter"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// What must hold with the firewall on, whatever Docker does.
fn judged() {
    assert!(connects("client", "10.6.1.5:8080"), "a published port that a flow allows");
    assert!(!connects("client", "10.6.1.5:9090"), "a published port that no flow allows");
    assert!(!connects("db", "10.6.1.5:8080"), "a published port, from where no flow allows it");
    assert!(
        !connects("db", "172.17.0.2:80") && !connects("db", "172.17.0.2:90"),
        "past the published port, by a route"
    );
    assert!(connects("container", "10.6.1.6:5432"), "out of a container, as the host may");
    assert!(!connects("container", "10.6.1.6:22"), "out of a container, as the host may not");
    assert!(connects("web", "172.17.0.2:80"), "the host and its own containers");
    assert!(connects("db", "10.6.1.5:22") && !connects("client", "10.6.1.5:22") && !connects("db", "10.6.1.5:7000"));
    assert!(connects("db", "[fd00:6:1::5]:22") && !connects("db", "[fd00:6:1::5]:8080"), "the same over IPv6");
    // The clients' zone has no IPv6: an address of another kind is not one of theirs, and opens nothing.
    assert!(!connects("client", "[fd00:6:1::5]:8080") && !connects("client", "[fd00:6:1::5]:22"));
}

#[test]
fn published_ports_are_covered_and_dockers_tables_stay() {
    inside("docker::published_ports_are_covered_and_dockers_tables_stay", || {
        let _doors = stage();
        load(DOCKER);
        for open in ["10.6.1.5:8080", "10.6.1.5:9090"] {
            assert!(
                connects("client", open) && connects("db", open),
                "without a firewall, Docker publishes to everybody"
            );
        }
        let before = dockers_own();
        let parsed = lab(LAB);
        let rules = ruleset(&Matrix::of(&parsed), "web").unwrap();
        load(&rules);
        judged();
        assert_eq!(dockers_own(), before, "Docker's tables were touched");
        // A daemon that starts anew takes its rules away and makes them again; ours stay.
        load("delete table ip nat\ndelete table ip filter\n");
        assert!(!connects("db", "10.6.1.5:8080") && !connects("db", "10.6.1.5:7000"));
        load(DOCKER);
        judged();
        // Loaded twice is loaded once.
        load(&rules);
        judged();
        assert_eq!(dockers_own(), before);
    });
}
