//! What a rehearsal's own links do not show, tried with plain sockets: bridges by name, guests beside containers, a host in
//! two zones, a router's public address, and who gives out addresses.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use labwright_plan::network::Matrix;
use labwright_plan::network::nft::ruleset;

use crate::docker::{connects, listen, load_in, sh, within};
use crate::{inside, lab};

/// Namespaces with a link into each of the zones of a router `gw`: `NAME LINK-AT-THE-ROUTER ADDRESS GATEWAY`.
fn around_a_router(hosts: &[[&str; 4]]) {
    sh("mount -t tmpfs test /run; mkdir -p /run/netns; ip netns add gw; ip -n gw link set lo up
        nsenter --net=/run/netns/gw sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    for [name, link, address, gateway] in hosts {
        sh(&format!(
            "ip netns add {name}; ip -n {name} link set lo up
             ip -n gw link add {link} type bridge; ip -n gw link add p-{name} type veth peer name eth0 netns {name}
             ip -n gw link set p-{name} master {link}; ip -n gw link set p-{name} up; ip -n gw link set {link} up
             ip -n gw addr add {gateway}/24 dev {link}
             ip -n {name} addr add {address}/24 dev eth0; ip -n {name} link set eth0 up
             ip -n {name} route add default via {gateway}"
        ));
    }
}

fn load_of(text: &str, host: &str) {
    let parsed = lab(text);
    load_in(host, &ruleset(&Matrix::of(&parsed), host).unwrap());
}

#[test]
fn a_zone_on_a_bridge_called_as_those_of_containers_is_a_zone() {
    inside("bridges::a_zone_on_a_bridge_called_as_those_of_containers_is_a_zone", || {
        around_a_router(&[
            ["pc", "br-lan", "10.1.1.50", "10.1.1.1"],
            ["cam", "br-iot", "10.1.2.50", "10.1.2.1"],
            ["web", "br-wan", "203.0.113.9", "203.0.113.1"],
        ]);
        // A container of the router's own, on a network that Docker named.
        sh("ip netns add box; ip -n box link set lo up; ip -n gw link add br-0123456789ab type bridge
            ip -n gw link add p-box type veth peer name eth0 netns box; ip -n gw link set p-box master br-0123456789ab
            ip -n gw link set p-box up; ip -n gw link set br-0123456789ab up; ip -n gw addr add 172.18.0.1/16 dev br-0123456789ab
            ip -n box addr add 172.18.0.2/16 dev eth0; ip -n box link set eth0 up; ip -n box route add default via 172.18.0.1
            ip -n pc route add 172.18.0.0/16 via 10.1.1.1");
        let _doors: Vec<_> = [
            ("pc", "0.0.0.0:22"),
            ("cam", "0.0.0.0:443"),
            ("gw", "0.0.0.0:22"),
            ("gw", "0.0.0.0:8080"),
            ("web", "0.0.0.0:443"),
            ("box", "0.0.0.0:80"),
        ]
        .map(|(host, door)| listen(host, door))
        .into();
        assert!(connects("cam", "10.1.1.50:22"), "without rules everybody passes");
        load_of(
            r#"
edge: { router: gw }
network:
  firewall: enforce
  zones:
    lan: { subnet: 10.1.1.0/24, interface: br-lan, kind: clients }
    iot: { subnet: 10.1.2.0/24, interface: br-iot, kind: iot }
  flows: [{ from: lan, to: [gw, iot], allow: [ssh, https] }, { from: gw, to: internet, allow: https }]
compute: { hosts: { gw: { zone: lan, address: [10.1.1.1, 10.1.2.1] } } }
services: { admin: { run: x, on: gw, port: 8080 } }
"#,
            "gw",
        );
        assert!(!connects("cam", "10.1.1.50:22"), "from zone to zone, where no flow leads");
        assert!(
            !connects("cam", "10.1.2.1:22") && !connects("cam", "10.1.2.1:8080"),
            "to the router, where no flow leads"
        );
        assert!(
            !connects("cam", "203.0.113.9:443") && !connects("pc", "203.0.113.9:443"),
            "to the internet, as the router may"
        );
        assert!(!connects("gw", "10.1.1.50:22"), "from the router into a zone, where no flow leads");
        assert!(!connects("web", "10.1.1.50:22") && !connects("web", "203.0.113.1:8080"), "from the internet");
        assert!(connects("pc", "10.1.2.50:443") && connects("pc", "10.1.1.1:22"), "where a flow leads");
        assert!(
            connects("box", "203.0.113.9:443") && connects("box", "172.18.0.1:8080"),
            "a container, as the router may"
        );
        assert!(
            !connects("box", "10.1.1.50:22") && !connects("pc", "172.18.0.2:80"),
            "a container, as the router may not"
        );
        assert!(connects("gw", "172.18.0.2:80"), "the router and its own containers");
    });
}

#[test]
fn guests_of_a_hypervisor_pass_and_its_containers_keep_their_published_ports() {
    inside("bridges::guests_of_a_hypervisor_pass_and_its_containers_keep_their_published_ports", || {
        // The bridge of the guests is called as Docker's are, which is the harder case.
        for bridge in ["vmbr0", "br-lan"] {
            sh(&format!(
                "mountpoint -q /run/netns-test || {{ mount -t tmpfs test /run; mkdir -p /run/netns /run/netns-test; mount -t tmpfs test /run/netns-test; }}
                 for n in box pc vm container; do ip netns add $n; ip -n $n link set lo up; done
                 ip -n box link add {bridge} type bridge; ip -n box link add docker0 type bridge
                 for n in pc vm; do ip -n box link add p-$n type veth peer name eth0 netns $n; ip -n box link set p-$n master {bridge}; done
                 ip -n box link add p-c type veth peer name eth0 netns container; ip -n box link set p-c master docker0
                 for l in {bridge} docker0 p-pc p-vm p-c; do ip -n box link set $l up; done
                 ip -n box addr add 10.1.1.10/24 dev {bridge}; ip -n box addr add 172.17.0.1/16 dev docker0
                 ip -n pc addr add 10.1.1.50/24 dev eth0; ip -n vm addr add 10.1.1.11/24 dev eth0
                 ip -n container addr add 172.17.0.2/16 dev eth0
                 for n in pc vm container; do ip -n $n link set eth0 up; done
                 ip -n container route add default via 172.17.0.1; ip -n pc route add 172.17.0.0/16 via 10.1.1.10
                 nsenter --net=/run/netns/box sysctl -qw net.ipv4.ip_forward=1"
            ));
            let doors: Vec<_> =
                [("container", "0.0.0.0:5432"), ("pc", "0.0.0.0:9999"), ("vm", "0.0.0.0:22"), ("box", "0.0.0.0:22")]
                    .map(|(host, door)| listen(host, door))
                    .into();
            load_in(
                "box",
                "table ip nat { chain PREROUTING { type nat hook prerouting priority dstnat; fib daddr type local tcp dport 5432 dnat to 172.17.0.2:5432; }; }",
            );
            assert!(connects("pc", "10.1.1.10:5432"), "without a firewall, Docker publishes to everybody");
            load_of(
                r#"
network:
  firewall: enforce
  zones: { lan: { subnet: 10.1.1.0/24, kind: clients } }
  flows: [{ from: lan, to: box, allow: ssh }]
compute:
  hosts:
    box: { zone: lan, address: 10.1.1.10, os: proxmox }
    guest: { zone: lan, address: 10.1.1.11, vm: { on: box } }
services: { db: { on: box, containers: { db: { image: "postgres:16.4", ports: ["5432:5432"] } } } }
"#,
                "box",
            );
            assert!(
                !connects("pc", "10.1.1.10:5432") && !connects("vm", "10.1.1.10:5432"),
                "{bridge}: published, and no flow leads to it"
            );
            assert!(!connects("pc", "172.17.0.2:5432"), "{bridge}: past the published port, by a route");
            assert!(!connects("container", "10.1.1.50:9999"), "{bridge}: out of a container, as the host may not");
            assert!(
                connects("pc", "10.1.1.11:22") && connects("pc", "10.1.1.10:22"),
                "{bridge}: guests, and what a flow allows"
            );
            drop(doors);
            sh("for n in box pc vm container; do ip netns del $n; done");
        }
    });
}

#[test]
fn a_host_in_two_zones_answers_and_nobody_else_has_its_addresses() {
    inside("bridges::a_host_in_two_zones_answers_and_nobody_else_has_its_addresses", || {
        around_a_router(&[["pc", "lan0", "10.1.1.50", "10.1.1.1"], ["nas", "srv0", "10.1.2.5", "10.1.2.1"]]);
        sh("ip -n gw link add mgmt0 type veth peer name eth1 netns nas; ip -n gw link set mgmt0 up; ip -n gw addr add 10.1.3.1/24 dev mgmt0
            ip -n nas link set eth1 up; ip -n nas addr add 10.1.3.5/24 dev eth1");
        let _doors = [listen("nas", "0.0.0.0:22"), listen("gw", "0.0.0.0:22")];
        load_of(
            r#"
edge: { router: gw }
network:
  firewall: enforce
  zones: { lan: { subnet: 10.1.1.0/24, kind: clients }, srv: { subnet: 10.1.2.0/24 }, mgmt: { subnet: 10.1.3.0/24, kind: management } }
  flows: [{ from: lan, to: [gw, nas], allow: ssh }, { from: mgmt, to: [gw, srv], allow: ssh }]
compute:
  hosts:
    gw: { zone: lan, address: [10.1.1.1, 10.1.2.1, 10.1.3.1] }
    nas: { zone: srv, address: [10.1.2.5, 10.1.3.5] }
"#,
            "gw",
        );
        // The answer of the second comes by the way that the host's default route takes, which is another zone's.
        assert!(connects("pc", "10.1.2.5:22") && connects("pc", "10.1.3.5:22"));
        // Whoever takes an address of another zone is not believed: the router answers nobody there.
        sh("ip -n pc addr add 10.1.3.5/32 dev eth0; ip -n pc route add 10.1.2.5/32 via 10.1.1.1 src 10.1.3.5");
        assert!(!connects("pc", "10.1.2.5:22"), "a source that is another host's");
    });
}

#[test]
fn a_public_address_that_is_declared_forwards_its_ports() {
    inside("bridges::a_public_address_that_is_declared_forwards_its_ports", || {
        around_a_router(&[
            ["pc", "lan0", "10.1.1.50", "10.1.1.1"],
            ["web", "srv0", "10.1.2.5", "10.1.2.1"],
            ["out", "wan0", "198.51.100.9", "198.51.100.7"],
        ]);
        let _doors = [listen("web", "0.0.0.0:443"), listen("web", "0.0.0.0:22"), listen("gw", "0.0.0.0:22")];
        let text = |public: &str| {
            format!(
                r#"
edge: {{ router: gw }}
network:
  firewall: enforce
  zones: {{ lan: {{ subnet: 10.1.1.0/24, kind: clients }}, srv: {{ subnet: 10.1.2.0/24, kind: servers }} }}
  flows: [{{ from: lan, to: [gw, srv], allow: [ssh, https] }}, {{ from: internet, to: web, allow: https }}]
compute:
  hosts:
    gw: {{ zone: lan, address: [10.1.1.1, 10.1.2.1{public}] }}
    web: {{ zone: srv, address: 10.1.2.5 }}
"#
            )
        };
        for public in ["", ", 198.51.100.7"] {
            load_of(&text(public), "gw");
            assert!(connects("out", "198.51.100.7:443"), "from the internet, declared: {public}");
            assert!(connects("pc", "198.51.100.7:443"), "from inside, declared: {public}");
            assert!(!connects("out", "198.51.100.7:22") && !connects("out", "10.1.2.5:22"), "declared: {public}");
        }
    });
}

/// Somebody's address on a link, and a port.
type Door<'a> = (&'a str, &'a str, &'a str, u16);

/// The number of a link, without which nobody knows which `fe80::1` is meant; 0 where an address needs none.
fn scope((host, link, address, _): Door<'_>) -> u32 {
    let output = Command::new("ip").args(["-n", host, "-o", "link", "show", link]).output().unwrap();
    let number = String::from_utf8(output.stdout).unwrap().split(':').next().unwrap().trim().parse().unwrap();
    if address.starts_with("fe80") { number } else { 0 }
}

fn socket_address((_, _, address, port): Door<'_>, scope: u32) -> SocketAddr {
    let mut address = SocketAddr::new(address.parse().unwrap(), port);
    if let SocketAddr::V6(address) = &mut address {
        address.set_scope_id(scope);
    }
    address
}

/// Whether one datagram from a port to a port arrives.
fn arrives(from: Door<'_>, to: Door<'_>) -> bool {
    let bound = |door: Door<'_>| {
        let address = socket_address(door, scope(door));
        within(door.0, || UdpSocket::bind(address).unwrap_or_else(|error| panic!("{} {address}: {error}", door.0)))
    };
    let (sender, taker) = (bound(from), bound(to));
    taker.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    // A firewall of the sender's own says so at once.
    let _ = sender.send_to(b"addresses", socket_address(to, scope(from)));
    taker.recv_from(&mut [0; 64]).is_ok()
}

#[test]
fn a_router_gives_addresses_and_is_given_one() {
    inside("bridges::a_router_gives_addresses_and_is_given_one", || {
        around_a_router(&[["pc", "lan0", "10.1.1.50", "10.1.1.1"], ["isp", "wan0", "198.51.100.9", "198.51.100.7"]]);
        sh("for n in pc isp; do ip -n $n addr add fe80::50/64 dev eth0 nodad; done
            for l in lan0 wan0; do ip -n gw addr add fe80::1/64 dev $l nodad; done");
        load_of(
            r#"
edge: { router: gw }
network:
  firewall: enforce
  zones: { lan: { subnet: [10.1.1.0/24, "fd00:1:1::/64"], kind: clients } }
  flows: [{ from: lan, to: gw, allow: ssh }]
compute: { hosts: { gw: { zone: lan, address: [10.1.1.1, "fd00:1:1::1"] } } }
"#,
            "gw",
        );
        let (device, inside) = (|port| ("pc", "eth0", "10.1.1.50", port), |port| ("gw", "lan0", "10.1.1.1", port));
        let (provider, outside) =
            (|port| ("isp", "eth0", "198.51.100.9", port), |port| ("gw", "wan0", "198.51.100.7", port));
        assert!(arrives(device(68), inside(67)), "a device asks for its lease again");
        assert!(arrives(outside(68), provider(67)) && arrives(provider(67), outside(68)), "the router's own lease");
        assert!(!arrives(provider(999), outside(999)) && !arrives(device(999), inside(999)), "and nothing else");
        let (device, inside) = (|port| ("pc", "eth0", "fe80::50", port), |port| ("gw", "lan0", "fe80::1", port));
        let (provider, outside) = (|port| ("isp", "eth0", "fe80::50", port), |port| ("gw", "wan0", "fe80::1", port));
        assert!(arrives(device(546), inside(547)) && arrives(inside(547), device(546)), "a device asks over IPv6");
        assert!(
            arrives(outside(546), provider(547)) && arrives(provider(547), outside(546)),
            "the router's own prefix"
        );
        assert!(
            !arrives(provider(999), outside(999)) && !arrives(device(999), inside(999)),
            "and nothing else over IPv6"
        );
    });
}
