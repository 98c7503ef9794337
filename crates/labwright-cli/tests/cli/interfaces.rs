//! Addresses and routes of real hosts: kept by systemd-networkd and by ifupdown, changed under the very connection that changes
//! them, confirmed where the host then is, and taken back where nobody finds it.

use labwright_testkit::Host;

use crate::reverts::{APPLY, armed, begun, inside, wait_until};
use crate::world::World;

/// The addresses and default routes in the kernel, as far as somebody set them.
const LIVE: &str = "ip -4 -o address show dev eth0 scope global | awk '{print $4}'; ip -4 route show default dev eth0 | awk '{print $3}'; \
    ip -4 route show dev eth0 | grep -v 'proto kernel' | grep -v ^default | awk '{print $1, $3}'";

/// The network of a machine goes with a reboot; that of a test host stays in its namespace, unless somebody clears it.
const FORGET: &str = "[Unit]\nDescription=The kernel forgets\nBefore=network-pre.target systemd-networkd.service networking.service\nDefaultDependencies=no\n\
    [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\nExecStop=/sbin/ip address flush dev eth0\n[Install]\nWantedBy=sysinit.target\n";

fn lab(world: &World, within: u32, address: &str, eth0: &str) {
    world.lab(&format!(
        "lab: test\ncompute:\n  confirm_within: {within}s\n  hosts:\n    db:\n      address: {address}\n      interfaces: {{ eth0: {eth0} }}\n"
    ));
}

/// A host whose network systemd-networkd keeps, as on Debian's cloud images, with something that is not ours to lose.
fn networkd(world: &World) -> Host {
    let host = world.net.systemd_host("db").unwrap();
    host.write(
        "/etc/systemd/network/10-lan.network",
        "[Match]\nName=eth0\n\n[Link]\nMTUBytes=1400\n\n[Network]\nAddress=10.99.0.11/24\nGateway=10.99.0.1\nIPv6AcceptRA=no\n",
    )
    .unwrap();
    host.write("/etc/systemd/system/forget.service", FORGET).unwrap();
    inside(
        &host,
        "systemctl daemon-reload; systemctl enable --now forget.service; systemctl enable systemd-networkd.service; systemctl restart systemd-networkd.service; networkctl reload",
    );
    let set = || inside(&host, "networkctl status eth0; ip route show default").contains("10.99.0.1");
    wait_until("systemd-networkd keeps eth0", 30, || set() && inside(&host, LIVE) == "10.99.0.11/24\n10.99.0.1\n");
    host
}

/// A host whose network ifupdown keeps, as Debian's installer leaves it.
fn ifupdown(world: &World) -> Host {
    let host = world.net.systemd_host("db").unwrap();
    let root = host.root_path().unwrap().display().to_string();
    let copy = format!(
        "test -x /sbin/ifup || {{ echo 'missing: `ifup` (package ifupdown); run scripts/test-deps' >&2; exit 1; }}; \
         dpkg -L ifupdown | grep -v '^/\\.$' | sed 's|^/||' | tar -C / --no-recursion -cf - -T - | \
         tar -C {root} --keep-directory-symlink -xf - && mkdir -p {root}/etc/network/interfaces.d {root}/run/network"
    );
    let output = std::process::Command::new("sh").args(["-c", &copy]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    host.write(
        "/etc/network/interfaces",
        "# This file describes the network interfaces\nsource /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n\n\
         # The primary network interface\nauto eth0\niface eth0 inet static\n\taddress 10.99.0.11/24\n\tgateway 10.99.0.1\n\tmtu 1400\n",
    )
    .unwrap();
    host.write("/etc/systemd/system/forget.service", FORGET).unwrap();
    inside(
        &host,
        "systemctl daemon-reload; systemctl enable --now forget.service; systemctl enable networking.service; ip address flush dev eth0; ifup --force -a",
    );
    wait_until("ifupdown keeps eth0", 30, || inside(&host, LIVE) == "10.99.0.11/24\n10.99.0.1\n");
    host
}

/// Gives out this test's one address, from the controller; ends with the test.
struct Leases(std::process::Child);

impl Drop for Leases {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn leases(world: &World) -> Leases {
    let kept = format!("--dhcp-leasefile={}", world.desk.path("leases").display());
    let mut server = world.net.command("dnsmasq");
    server.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--pid-file=",
        "--interface=eth0",
    ]);
    server.args([
        "--bind-interfaces",
        "--dhcp-range=10.99.0.11,10.99.0.11,255.255.255.0,1h",
        "--dhcp-option=3,10.99.0.1",
    ]);
    Leases(server.args(["--dhcp-authoritative", &kept]).spawn().unwrap())
}

/// A host whose address a client of ifupdown's leases, as Debian's installer leaves it where there is a DHCP server.
fn leased(world: &World) -> Host {
    let host = ifupdown(world);
    let root = host.root_path().unwrap().display().to_string();
    let copy = format!(
        "test -x /sbin/dhclient || {{ echo 'missing: `dhclient` (package isc-dhcp-client); run scripts/test-deps' >&2; exit 1; }}; \
         dpkg -L isc-dhcp-client | grep -v '^/\\.$' | sed 's|^/||' | tar -C / --no-recursion -cf - -T - | \
         tar -C {root} --keep-directory-symlink -xf - && mkdir -p {root}/var/lib/dhcp"
    );
    let output = std::process::Command::new("sh").args(["-c", &copy]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    host.write(
        "/etc/network/interfaces",
        "source /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n\nallow-hotplug eth0\niface eth0 inet dhcp\n\tmtu 1400\n",
    )
    .unwrap();
    inside(&host, "ip address flush dev eth0; ifup --force eth0");
    wait_until("it has a lease", 30, || leases_on(&host));
    host
}

/// Whether it has its address and a client that renews its lease.
fn leases_on(host: &Host) -> bool {
    inside(host, LIVE) == "10.99.0.11/24\n10.99.0.1\n" && !inside(host, "pgrep -x dhclient").is_empty()
}

/// Reboots a host that is elsewhere than the test lab believes.
fn reboot(host: &Host) {
    let before = host.boot_id().unwrap();
    inside(host, "systemctl --no-block reboot");
    wait_until("it started again", 60, || host.boot_id().is_ok_and(|id| id != before));
    wait_until("it is up", 60, || inside(host, "systemctl is-active ssh.service").starts_with("active"));
}

/// The whole life of an address: taken over, moved, kept over a reboot, not moved where nobody finds it.
fn moves(world: &World, host: &Host) {
    // Taken over as it is: nothing in the kernel changes, and the file of before is left alone or commented out.
    lab(world, 30, "10.99.0.11", "{ addresses: 10.99.0.11/24, gateway: 10.99.0.1 }");
    world.run(&["plan"]).code(0).says("interface eth0 [cuts-management]");
    world.run(&["apply", "--yes"]).says("cuts-management");
    world.run(&APPLY).code(0);
    assert_eq!(inside(host, LIVE), "10.99.0.11/24\n10.99.0.1\n");
    world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");

    // To another address, a second one and a route: in one apply, confirmed where the host is then.
    let moved =
        "{ addresses: [10.99.0.12/24, 10.99.0.13/24], gateway: 10.99.0.1, routes: { 10.50.0.0/16: 10.99.0.77 } }";
    lab(world, 30, "[10.99.0.12, 10.99.0.11]", moved);
    // That it is not written down so yet is nobody's doing.
    world.run(&["plan"]).code(0).says("addresses").says("persisted").says("differs").says_not("by hand");
    world.run(&["drift"]).code(0).says_not("by hand");
    world
        .run(&APPLY)
        .code(0)
        .says("this takes the connection with it; a new connection to `10.99.0.12` has 30 s to confirm it")
        .says("1 of 1 step done");
    let now = "10.99.0.12/24\n10.99.0.13/24\n10.99.0.1\n10.50.0.0/16 10.99.0.77\n";
    assert_eq!(inside(host, LIVE), now);
    assert_eq!(armed(host), "");
    world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    reboot(host);
    wait_until("the new addresses are there after a reboot", 30, || inside(host, LIVE) == now);
    assert!(inside(host, "ip link show eth0").contains("mtu 1400"), "what the file of before said as well is lost");
    world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");

    // Where nobody finds it: back by itself, and it says so.
    lab(world, 8, "[10.99.0.12, 10.99.0.11]", "{ addresses: 10.77.0.5/24, gateway: 10.77.0.1 }");
    world.run(&APPLY).code(5).says("no new connection confirmed it within 8 s").says("reverted db/host/interface/eth0");
    assert_eq!(inside(host, LIVE), now);
    wait_until("nothing is armed any more", 10, || armed(host).is_empty());
    // Nothing of it is in the way of the next.
    lab(world, 30, "[10.99.0.11, 10.99.0.12]", "{ addresses: 10.99.0.11/24, gateway: 10.99.0.1 }");
    world.run(&APPLY).code(0).says("a new connection to `10.99.0.11`");
    assert_eq!(inside(host, LIVE), "10.99.0.11/24\n10.99.0.1\n");
    world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    host.ssh_stdout("true").unwrap();
}

/// Cut off inside the window by a reboot: the host boots where it was.
fn boots_where_it_was(world: &World, host: &Host) {
    lab(world, 3600, "10.99.0.11", "{ addresses: 10.77.0.5/24 }");
    let mut run = begun(&mut world.with_ssh(&APPLY), host);
    run.kill().unwrap();
    run.wait().unwrap();
    assert_eq!(inside(host, LIVE), "10.77.0.5/24\n");
    // It waits until SSH answers where it did.
    host.reboot().unwrap();
    assert_eq!(inside(host, LIVE), "10.99.0.11/24\n10.99.0.1\n");
    wait_until("nothing is armed any more", 10, || armed(host).is_empty());
    let said = inside(host, "journalctl -b -o cat --no-pager | grep 'taken back'");
    assert!(said.contains("the host started again before anybody confirmed it"), "{said}");
}

#[test]
fn an_address_that_networkd_keeps_moves_and_is_confirmed_where_it_moved_to() {
    let world = World::new();
    moves(&world, &networkd(&world));
}

#[test]
fn an_address_that_ifupdown_keeps_moves_and_is_confirmed_where_it_moved_to() {
    let world = World::new();
    let host = ifupdown(&world);
    moves(&world, &host);
    let main = host.read("/etc/network/interfaces").unwrap();
    assert!(
        main.contains("# labwright: iface eth0 inet static") && main.contains("\niface lo inet loopback\n"),
        "{main}"
    );
}

#[test]
fn a_leased_address_becomes_a_fixed_one_and_its_client_ends() {
    let world = World::new();
    let _leases = leases(&world);
    let host = leased(&world);
    // Where nobody finds it, the client is back with its lease.
    lab(&world, 8, "10.99.0.11", "{ addresses: 10.77.0.5/24, gateway: 10.77.0.1 }");
    world.run(&APPLY).code(5).says("no new connection confirmed it within 8 s").says("reverted db/host/interface/eth0");
    wait_until("the lease is back", 30, || leases_on(&host));
    wait_until("nothing is armed any more", 10, || armed(&host).is_empty());

    // The very address that was leased, fixed: the client that would let it run out is gone.
    lab(&world, 30, "10.99.0.11", "{ addresses: 10.99.0.11/24, gateway: 10.99.0.1 }");
    world.run(&["plan"]).code(0).says("interface eth0").says("persisted");
    world.run(&APPLY).code(0);
    let fixed = || {
        inside(&host, LIVE) == "10.99.0.11/24\n10.99.0.1\n"
            && inside(&host, "pgrep -x dhclient").is_empty()
            && inside(&host, "ip -4 address show dev eth0").contains("valid_lft forever")
    };
    assert!(fixed(), "{}", inside(&host, "pgrep -ax dhclient; ip -4 address show dev eth0"));
    world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    host.reboot().unwrap();
    wait_until("it is fixed after a reboot", 30, fixed);
    world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    let main = host.read("/etc/network/interfaces").unwrap();
    assert!(main.contains("# labwright: iface eth0 inet dhcp"), "{main}");
    assert!(inside(&host, "cat /etc/network/interfaces.d/labwright-eth0").contains("mtu 1400"));
}

#[test]
fn a_reboot_inside_the_window_boots_with_the_old_address_of_networkd() {
    let world = World::new();
    boots_where_it_was(&world, &networkd(&world));
}

#[test]
fn a_reboot_inside_the_window_boots_with_the_old_address_of_ifupdown() {
    let world = World::new();
    let host = ifupdown(&world);
    let before = host.read("/etc/network/interfaces").unwrap();
    boots_where_it_was(&world, &host);
    assert_eq!(host.read("/etc/network/interfaces").unwrap(), before);
    assert_eq!(inside(&host, "ls /etc/network/interfaces.d"), "");
}

#[test]
fn everything_killed_inside_the_window_leaves_a_timer_that_brings_the_old_address_back() {
    let world = World::new();
    let host = networkd(&world);
    lab(&world, 25, "10.99.0.11", "{ addresses: 10.77.0.5/24 }");
    let mut run = begun(&mut world.with_ssh(&APPLY), &host);
    host.inside("pkill").unwrap().args(["-KILL", "labwright"]).status().unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    wait_until("the old address is back", 70, || inside(&host, LIVE) == "10.99.0.11/24\n10.99.0.1\n");
    wait_until("nothing is armed any more", 10, || armed(&host).is_empty());
    host.ssh_stdout("true").unwrap();
}

#[test]
fn a_host_that_nobody_would_set_up_after_a_boot_is_left_alone() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    lab(&world, 30, "10.99.0.11", "{ addresses: 10.99.0.12/24 }");
    world
        .run(&["plan"])
        .says("nobody there would set `eth0` up after a boot")
        .says("systemctl enable --now systemd-networkd");
    lab(&world, 30, "10.99.0.11", "{ addresses: 10.99.0.12/24 }");
    inside(&host, "systemctl start systemd-networkd");
    world.lab("lab: test\ncompute: { hosts: { db: { address: 10.99.0.11, interfaces: { ens18: { addresses: 10.99.0.11/24 } } } } }\n");
    world.run(&["plan"]).says("it has no interface `ens18`; it has `eth0`");
}
