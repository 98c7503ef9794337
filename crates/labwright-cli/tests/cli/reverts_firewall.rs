//! Firewalls that would cut the way in: the old rules are back, whatever happens inside the window.

use std::process::Stdio;
use std::time::Duration;

use labwright_testkit::Host;

use crate::reverts::{APPLY, apply_hanging, armed, begun, inside, wait_until};
use crate::world::World;

/// The rules in the kernel, without what packets leave in its sets, and in no order.
const TABLE: &str = "nft --stateless list table inet labwright 2>/dev/null | awk '/^\tset (denied|moving)/{s=1} !s; /^\t}/{s=0}' | \
    tr ',' '\n' | tr -d ' \t' | sort";

/// A lab whose host takes SSH from these, and whatever else is added to its flows.
fn lab(world: &World, within: u32, from: &str, more: &str) {
    world.lab(&format!(
        "lab: test\nnetwork:\n  firewall: enforce\n  zones: {{ a: {{ subnet: 10.99.0.0/24 }} }}\n  flows:\n    - {{ from: {from}, to: db, allow: ssh }}\n{more}\
         compute:\n  confirm_within: {within}s\n  hosts:\n    elsewhere: {{ zone: a, address: 10.99.0.77, os: other }}\n    db: {{ zone: a, address: 10.99.0.11 }}\n"
    ));
}

fn back(host: &Host, rules: &str, limit: u64) {
    wait_until("the old rules are back", limit, || inside(host, TABLE) == rules);
    wait_until("nothing is armed any more", 10, || armed(host).is_empty());
}

#[test]
fn rules_that_cut_our_own_ssh_go_and_the_old_ones_are_back() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    inside(
        &host,
        "nft add table inet foreign; nft add chain inet foreign mine '{ type filter hook input priority 10; }'",
    );
    let foreign = "nft list table inet foreign";
    let before = inside(&host, foreign);
    lab(&world, 8, "elsewhere", "");
    // The first firewall of the host: what was there before is no firewall at all.
    world.run(&APPLY).code(5).says("no new connection confirmed it within 8 s").says("reverted db/firewall/ruleset");
    back(&host, "", 1);
    assert_eq!(inside(&host, "ls /etc/labwright /etc/systemd/system | grep -i firewall"), "");
    // One that lets us in stays, at once: nothing of the failed attempt is in its way.
    lab(&world, 30, "a", "");
    world.run(&APPLY).code(0);
    let good = inside(&host, TABLE);
    assert!(good.contains("chaininput{"), "{good}");
    world.apply().code(0).says("nothing to do");
    // And one that would cut us then goes back to exactly that one.
    lab(&world, 8, "elsewhere", "");
    world.run(&APPLY).code(5).says("reverted db/firewall/ruleset");
    back(&host, &good, 1);
    host.ssh_stdout("true").unwrap();
    lab(&world, 30, "a", "");
    world.apply().code(0).says("nothing to do");
    assert_eq!(inside(&host, foreign), before, "somebody else's table was touched");
}

#[test]
fn a_reboot_inside_the_window_boots_with_the_old_rules() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    lab(&world, 30, "a", "");
    world.run(&APPLY).code(0);
    let good = inside(&host, TABLE);
    lab(&world, 3600, "elsewhere", "");
    let mut run = begun(&mut world.with_ssh(&APPLY), &host);
    run.kill().unwrap();
    run.wait().unwrap();
    assert_ne!(inside(&host, TABLE), good);
    host.reboot().unwrap();
    back(&host, &good, 5);
    lab(&world, 30, "a", "");
    // What was cut off is looked at once more, and is as it shall be.
    world.apply().code(0).says("it is already as declared");
    world.apply().code(0).says("nothing to do");
}

#[test]
fn a_reboot_inside_the_window_of_the_first_rules_boots_without_any() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    lab(&world, 3600, "elsewhere", "");
    let mut run = begun(&mut world.with_ssh(&APPLY), &host);
    run.kill().unwrap();
    run.wait().unwrap();
    host.reboot().unwrap();
    back(&host, "", 5);
}

#[test]
fn everything_killed_inside_the_window_leaves_a_timer_that_brings_the_old_rules_back() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    lab(&world, 10, "elsewhere", "");
    let mut run = begun(&mut world.with_ssh(&APPLY), &host);
    host.inside("pkill").unwrap().args(["-KILL", "labwright"]).status().unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    back(&host, "", 30);
    host.ssh_stdout("true").unwrap();
}

#[test]
fn rules_that_cut_even_the_open_connection_are_told_of_as_reverted() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    lab(&world, 10, "elsewhere", "");
    // Packets of the run's own connection get lost from the moment at which the rules are loaded.
    let child = begun(&mut world.with_ssh(&APPLY), &host);
    host.unplug().unwrap();
    std::thread::sleep(Duration::from_secs(12));
    host.plug().unwrap();
    let ran: crate::world::Ran = child.wait_with_output().unwrap().into();
    ran.code(5).says("reverted db/firewall/ruleset");
    back(&host, "", 1);
}

#[test]
fn without_nft_or_with_one_that_is_too_old_nothing_is_touched() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    lab(&world, 30, "a", "");
    inside(&host, "mv /usr/sbin/nft /usr/sbin/nft.away");
    world.run(&APPLY).code(5).says("`nft` is not installed there").says_not("reverted db");
    // The words of nftables 0.9.3 for what it does not know yet.
    let old = "#!/bin/sh\ncase \"$*\" in *version*) echo 'nftables v0.9.3 (Topsy)';; *list*) exec /usr/sbin/nft.away \"$@\";; *) echo 'Error: syntax error, unexpected string' >&2; exit 1;; esac\n";
    host.write("/usr/sbin/nft", old).unwrap();
    inside(&host, "chmod 755 /usr/sbin/nft");
    world.run(&APPLY).code(5).says("nothing was changed").says("this is nftables v0.9.3");
    inside(&host, "mv /usr/sbin/nft.away /usr/sbin/nft");
    assert_eq!(inside(&host, TABLE), "");
    assert_eq!(armed(&host), "");
    world.run(&APPLY).code(0);
}

/// A lab whose host takes SSH at these ports from its own zone, with its SSH server at one of them.
fn moving(world: &World, within: u32, port: u16, allow: &str) {
    world.lab(&format!(
        "lab: test\nnetwork:\n  firewall: enforce\n  zones: {{ a: {{ subnet: 10.99.0.0/24 }} }}\n  flows:\n    - {{ from: a, to: db, allow: [{allow}] }}\n\
         compute:\n  confirm_within: {within}s\n  hosts:\n    db: {{ zone: a, address: 10.99.0.11, sshd: {{ settings: {{ Port: {port} }} }} }}\n"
    ));
}

#[test]
fn an_ssh_port_moves_behind_an_enforcing_firewall_in_one_apply() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    // For sshd every `Port` counts, not the first.
    inside(&host, "sed -i /^Port/d /etc/ssh/sshd_config.d/00-testkit.conf");
    moving(&world, 30, 22, "ssh");
    world.run(&APPLY).code(0);
    let lets = |port: u16| inside(&host, TABLE).lines().any(|line| line.contains(&format!(".{port}comment")));
    assert!(lets(22) && !lets(2222));

    // Something else sits at the new port: the server does not answer there. All is as before, and the rules are never tried.
    let good = inside(&host, TABLE);
    host.write("/etc/systemd/system/sitter.socket", "[Socket]\nListenStream=2222\nAccept=yes\n").unwrap();
    host.write("/etc/systemd/system/sitter@.service", "[Service]\nExecStart=/bin/true\n").unwrap();
    inside(&host, "systemctl daemon-reload; systemctl start sitter.socket");
    moving(&world, 60, 2222, "2222/tcp");
    world
        .run(&APPLY)
        .code(5)
        .says("reverted db/host/sshd/hardening: sshd does not answer at")
        .says("skipped db/firewall/ruleset");
    back(&host, &good, 5);
    host.ssh_stdout("true").unwrap();
    inside(&host, "systemctl stop sitter.socket");

    moving(&world, 30, 2222, "2222/tcp");
    world.run(&["plan"]).code(0).says("sshd").says("ruleset");
    world.run(&APPLY).code(0).says("lets `10.99.0.1` in at port 2222").says("port 2222 has 30 s to confirm it");
    assert_eq!(inside(&host, "ss -Hltn | grep -c :22[^2]; ss -Hltn | grep -q :2222 && echo moved"), "0\nmoved\n");
    assert!(!lets(22) && lets(2222), "{}", inside(&host, TABLE));
    assert!(
        !inside(&host, "nft list table inet labwright").contains("timeout 1h"),
        "the hole is closed with the new rules"
    );
    world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    assert_eq!(armed(&host), "");
}

/// A router that enforces, and a host behind it: all packets between the host and whoever applies go through the router.
fn behind_router(world: &World) -> (Host, Host) {
    let (db, gw) = (world.net.systemd_host("db").unwrap(), world.net.systemd_host("gw").unwrap());
    inside(&db, "sed -i /^Port/d /etc/ssh/sshd_config.d/00-testkit.conf; systemctl reload ssh");
    // Hosts may not write to `/proc/sys` by themselves.
    let set = |what: &str| format!("mount -t proc proc /mnt && cd /mnt/sys/net/ipv4 && {what}; cd /; umount /mnt");
    let refuse = "for conf in conf/*/accept_redirects; do echo 0 >$conf; done";
    inside(&gw, &set("for conf in conf/*/send_redirects; do echo 0 >$conf; done; echo 1 >ip_forward"));
    inside(&db, &format!("{}; ip route replace 10.99.0.1/32 via {}", set(refuse), gw.address()));
    assert_eq!(inside(&gw, "cat /proc/sys/net/ipv4/ip_forward"), "1\n");
    let refuse = format!("cd /proc/sys/net/ipv4; {refuse}");
    let route = format!("{refuse}; ip route replace {}/32 via {}", db.address(), gw.address());
    assert!(world.net.command("sh").args(["-c", &route]).status().unwrap().success());
    (db, gw)
}

fn moving_behind(world: &World, port: u16, allow: &str) {
    world.lab(&format!(
        "lab: test\nedge: {{ router: gw }}\nnetwork:\n  firewall: enforce\n  zones: {{ adm: {{ subnet: 10.99.0.0/29 }}, srv: {{ subnet: 10.99.0.8/29 }} }}\n  \
         flows:\n    - {{ from: adm, to: gw, allow: ssh }}\n    - {{ from: adm, to: db, allow: [{allow}] }}\n\
         compute:\n  confirm_within: 30s\n  hosts:\n    gw: {{ zone: srv, address: 10.99.0.12 }}\n    \
         db: {{ zone: srv, address: 10.99.0.11, sshd: {{ settings: {{ Port: {port} }} }} }}\n"
    ));
}

#[test]
fn an_ssh_port_moves_behind_a_router_that_enforces_in_one_apply() {
    let world = World::new();
    let (db, gw) = behind_router(&world);
    assert_eq!((db.address().to_string(), gw.address().to_string()), ("10.99.0.11".into(), "10.99.0.12".into()));
    moving_behind(&world, 22, "ssh");
    world.run(&APPLY).code(0);
    world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    let packets = || inside(&gw, "awk '/^Ip: [0-9]/{print $7}' /proc/net/snmp");
    let before = packets();
    db.ssh_stdout("true").unwrap();
    assert_ne!(packets(), before, "the router passes nothing on: this test tests nothing");

    // It does not get there: it is where it was, the router's rules know the new port alone, and whoever applies gets in.
    db.write("/etc/systemd/system/sitter.socket", "[Socket]\nListenStream=2222\nAccept=yes\n").unwrap();
    db.write("/etc/systemd/system/sitter@.service", "[Service]\nExecStart=/bin/true\n").unwrap();
    inside(&db, "systemctl daemon-reload; systemctl start sitter.socket");
    moving_behind(&world, 2222, "2222/tcp");
    let ran = world.run(&APPLY).code(5).says("reverted db/host/sshd/hardening");
    ran.says("lets `10.99.0.1` through to SSH of `db` at ports 22 and 2222 while it moves");
    db.ssh_stdout("true").unwrap();
    // Back to the old lab: all of it is as before.
    moving_behind(&world, 22, "ssh");
    world.run(&APPLY).code(0);
    world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    inside(&db, "systemctl stop sitter.socket");

    moving_behind(&world, 2222, "2222/tcp");
    world.run(&APPLY).code(0).says("through to SSH of `db`").says("port 2222 has 30 s to confirm it");
    assert_eq!(inside(&db, "ss -Hltn | grep -c :22[^2]; ss -Hltn | grep -q :2222 && echo moved"), "0\nmoved\n");
    world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    assert_eq!((armed(&db), armed(&gw)), (String::new(), String::new()));
}

#[test]
fn of_two_changes_pending_each_goes_back_by_itself() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    let drop_in = || inside(&host, "cat /etc/ssh/sshd_config.d/50-labwright.conf");
    let tickets = || inside(&host, "ls /var/lib/labwright/reverts | grep ^2").lines().count();
    // One lab sets the SSH server and waits for whoever confirms it; another one loads rules that cut everybody off.
    world.lab(
        "lab: test\ncompute: { confirm_within: 40s, hosts: { db: { sshd: { settings: { MaxAuthTries: 2 } } } } }\n",
    );
    let mut waiting = begun(&mut apply_hanging(&world), &host);
    world.desk.write(
        "two/lab.yaml",
        "lab: two\nnetwork:\n  firewall: enforce\n  zones: { a: { subnet: 10.99.0.0/24 } }\n  flows: [{ from: elsewhere, to: db, allow: ssh }]\n\
         compute:\n  confirm_within: 8s\n  hosts:\n    elsewhere: { zone: a, address: 10.99.0.77, os: other }\n    db: { zone: a, address: 10.99.0.11 }\n",
    );
    let mut second = world.with_ssh(&APPLY);
    let second = second.arg("two").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("both are pending", 30, || tickets() == 2);
    let ran: crate::world::Ran = second.wait_with_output().unwrap().into();
    ran.code(5).says("reverted db/firewall/ruleset");
    assert_eq!(inside(&host, TABLE), "");
    assert!(tickets() == 1 && drop_in().contains("MaxAuthTries 2"), "the other one is still waited for");
    wait_until("the first goes back too", 60, || drop_in().is_empty());
    wait_until("nothing is armed any more", 10, || armed(&host).is_empty());
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    host.ssh_stdout("true").unwrap();
    lab(&world, 30, "a", "");
    world.run(&APPLY).code(0);
}

#[test]
fn the_last_good_rules_are_loaded_at_boot_before_there_is_a_network() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    inside(&host, "systemctl enable systemd-networkd.service nftables.service");
    lab(&world, 30, "a", "");
    world.run(&APPLY).code(0);
    let good = inside(&host, TABLE);
    // The kernel of a machine forgets its rules; the network of a test host has to be told to.
    host.write(
        "/etc/systemd/system/forget.service",
        "[Unit]\nDefaultDependencies=no\nBefore=labwright-firewall.service nftables.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/sbin/nft flush ruleset\n[Install]\nWantedBy=sysinit.target\n",
    )
    .unwrap();
    inside(&host, "systemctl daemon-reload; systemctl enable forget.service");
    host.reboot().unwrap();
    assert_eq!(inside(&host, TABLE), good);
    let at = |unit: &str, property: &str| -> u64 {
        let shown = inside(&host, &format!("systemctl show -P {property} {unit}"));
        shown.trim().parse().unwrap_or_else(|_| panic!("{unit} {property}: {shown}"))
    };
    let loaded = at("labwright-firewall.service", "ActiveEnterTimestampMonotonic");
    assert!(at("forget.service", "ActiveEnterTimestampMonotonic") < loaded);
    for later in ["network-pre.target", "systemd-networkd.service", "ssh.service"] {
        let begun = at(later, "ActiveEnterTimestampMonotonic");
        assert!(loaded <= begun, "{later} at {begun}, the rules at {loaded}");
    }
    // Debian's own unit empties every table first, also when it is only told to read its file again.
    for verb in ["reload", "restart"] {
        inside(&host, &format!("systemctl {verb} nftables.service"));
        wait_until("the rules are back", 10, || inside(&host, TABLE) == good);
    }
    lab(&world, 30, "a", "");
    world.apply().code(0).says("nothing to do");
}
