//! From a lab file to a resolver on a real host: asked by dig, kept under load by dnsperf, with unbound behind it.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use labwright_testkit::Host;

use crate::world::World;

/// The lab. `dns` is more of the resolver's own, `records` more records.
fn lab(world: &World, host: &Host, dns: &str, records: &str) {
    world.lab(&format!(
        "lab: test\ndomain: lab.test\n\
         network: {{ zones: {{ lan: {{ subnet: 10.99.0.0/24 }} }} }}\n\
         platform:\n  reverse_proxy: gate\n  dns:\n    on: gate\n    upstream: 10.99.0.1:5353\n    block: lists/ads.txt\n    \
         rules: tracker.example\n    rate_limit: 0\n{dns}    records:\n      \"*.apps\": gate\n      printer: 10.99.0.77\n      \
         _sip._tcp: {{ srv: 0 5 5060 gate }}\n{records}\
         compute: {{ hosts: {{ gate: {{ zone: lan, address: {} }} }} }}\nservices:\n  \
         wiki: {{ run: {{ command: [/bin/sleep, infinity] }}, on: gate, url: wiki, port: 9, expose: lan }}\n",
        host.address()
    ));
}

fn output(mut command: Command) -> String {
    let output = command.output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)).trim().to_string()
}

fn dig(world: &World, host: &Host, arguments: &str) -> String {
    let mut command = world.net.command("/usr/bin/dig");
    command.arg(format!("@{}", host.address())).args(["+time=2", "+tries=1", "+short"]);
    command.args(arguments.split_whitespace());
    // Who does not answer is told in comments.
    output(command).lines().filter(|line| !line.starts_with(';')).collect::<Vec<_>>().join(" ")
}

/// A process of a test, ended with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// unbound on the controller's address, which knows what is on the internet here.
fn unbound(world: &World) -> Running {
    assert!(Path::new("/usr/sbin/unbound").exists(), "missing: `unbound` (package unbound); run scripts/test-deps");
    let folder = world.desk.dir.path();
    let text = format!(
        "server:\n directory: \"{}\"\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n use-syslog: no\n interface: 10.99.0.1@5353\n \
         num-threads: 1\n access-control: 10.99.0.0/24 allow\n module-config: \"iterator\"\n \
         local-zone: \"example.org\" redirect\n local-data: \"example.org 300 A 192.0.2.7\"\nremote-control:\n control-enable: no\n",
        folder.display()
    );
    world.desk.write("unbound.conf", text);
    let mut command = world.net.command("/usr/sbin/unbound");
    command.args(["-d", "-c", "unbound.conf"]).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running(command.spawn().unwrap());
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let mut ask = world.net.command("/usr/bin/dig");
        ask.args(["@10.99.0.1", "-p", "5353", "+time=1", "+tries=1", "+short", "www.example.org"]);
        if output(ask) == "192.0.2.7" {
            return running;
        }
        assert!(Instant::now() < until, "unbound does not answer");
    }
}

/// dnsperf for so many seconds; what it says of them.
fn load(world: &World, host: &Host, seconds: u32) -> Running {
    assert!(Path::new("/usr/bin/dnsperf").exists(), "missing: `dnsperf` (package dnsperf); run scripts/test-deps");
    let queries: String = (0..4000)
        .map(|n| match n % 4 {
            0 => "wiki.lab.test A\n".to_string(),
            1 => format!("h{}.example.org A\n", n % 60),
            2 => format!("x{n}.apps.lab.test A\n"),
            _ => format!("x{n}.tracker.example A\n"),
        })
        .collect();
    world.desk.write("queries", queries);
    let mut command = world.net.command("/usr/bin/dnsperf");
    command.args(["-s", &host.address().to_string(), "-d", "queries", "-c", "6", "-q", "30", "-Q", "1500", "-t", "4"]);
    command.args(["-l", &seconds.to_string()]).current_dir(world.desk.dir.path());
    Running(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
}

/// Queries that were answered, and those that were lost.
fn ended(mut load: Running) -> (u64, u64) {
    let mut text = String::new();
    load.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let number = |word: &str| -> u64 {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(word)).unwrap_or_else(|| panic!("{text}"));
        line.trim().split(' ').next().unwrap().parse().unwrap()
    };
    (number("Queries completed:"), number("Queries lost:"))
}

fn pid(host: &Host) -> String {
    host.ssh_stdout("systemctl show -P MainPID labwright-serve").unwrap().trim().to_string()
}

#[track_caller]
fn wait(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(90);
    while !is() {
        assert!(Instant::now() < until, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn one_entry_is_enough_for_a_name_that_a_real_host_answers() {
    let world = World::new();
    let host = world.net.systemd_host("gate").unwrap();
    let _unbound = unbound(&world);
    world.desk.write("lists/ads.txt", "0.0.0.0 ads.example.org\n||banners.example.org^\n");
    let at = host.address().to_string();
    lab(&world, &host, "", "");
    world
        .run(&["plan"])
        .code(0)
        .says("/var/lib/labwright-lists/test/lists_ads.txt")
        .says("daemon labwright-serve [hot]");
    world.apply().code(0);
    world.apply().code(0).says("nothing to do");
    let ask = |arguments: &str| dig(&world, &host, arguments);
    wait("lists", || ask("ads.example.org") == "0.0.0.0");
    for (arguments, answer) in [
        ("gate.lab.test", at.as_str()),
        ("wiki.lab.test", &at),
        ("+tcp wiki.lab.test", &at),
        ("anything.apps.lab.test", &at),
        ("printer.lab.test", "10.99.0.77"),
        ("SRV _sip._tcp.lab.test", "0 5 5060 gate.lab.test."),
        ("www.example.org", "192.0.2.7"),
        ("x.banners.example.org", "0.0.0.0"),
        ("x.tracker.example", "0.0.0.0"),
        ("nothere.lab.test", ""),
    ] {
        assert_eq!(ask(arguments), answer, "{arguments}");
    }
    assert_eq!(ask(&format!("-x {at}")), "gate.lab.test.");
    // It is nobody special.
    let status = host.ssh_stdout("cat /proc/$(systemctl show -P MainPID labwright-serve)/status").unwrap();
    assert!(status.contains("CapEff:\t0000000000000400"), "{status}");

    // What people see of it.
    world.run(&["status"]).code(0).says("platform.dns").says("queries").says("platform.reverse_proxy");
    world
        .run(&["dns", "status"])
        .code(0)
        .says("gate: generation")
        .says("lists/ads.txt: 2 rules")
        .says("10.99.0.1:5353");
    crate::json::holds("dns-status", &world.run(&["dns", "status", "--json"]).code(0));
    world.run(&["dns", "queries", "tracker", "--blocked"]).code(0).says("x.tracker.example").says("rules");
    world.run(&["dns", "queries", "--since", "1h", "printer"]).code(0).says("printer.lab.test");
    crate::json::holds("dns-queries", &world.run(&["dns", "queries", "--json"]).code(0));
    world.run(&["dns", "pause", "5"]).code(0).says("`gate` blocks nothing for everybody for 5 min");
    assert_eq!(ask("ads.example.org"), "192.0.2.7");
    world.run(&["dns", "status"]).code(0).says("nothing is blocked for `everyone`");
    world.run(&["dns", "resume"]).code(0);
    assert_eq!(ask("ads.example.org"), "0.0.0.0");
    world.run(&["dns", "pause", "5", "--group", "kids"]).code(5).says("there is no group `kids`, only `everyone`");
    world.run(&["dns", "refresh"]).code(0);
    world.run(&["logs", "platform.dns", "--tail", "5"]).code(0);

    // A list changes and nothing else: its file is read anew.
    world.desk.write("lists/ads.txt", "0.0.0.0 other.example.org\n");
    world.apply().code(0);
    wait("the new list", || ask("other.example.org") == "0.0.0.0");
    assert_eq!(ask("ads.example.org"), "192.0.2.7");
}

#[test]
fn changes_and_new_programs_under_load_lose_no_query() {
    let world = World::new();
    let host = world.net.systemd_host("gate").unwrap();
    let _unbound = unbound(&world);
    world.desk.write("lists/ads.txt", "ads.example.org\n");
    lab(&world, &host, "", "");
    world.apply().code(0);
    let ask = |arguments: &str| dig(&world, &host, arguments);
    assert_eq!(ask("wiki.lab.test"), host.address().to_string());

    // The lab changes, twice.
    let asked = load(&world, &host, 12);
    for n in 1..3 {
        lab(&world, &host, "", &format!("      new{n}: 10.99.0.{n}\n"));
        world.apply().code(0);
        assert_eq!(ask(&format!("new{n}.lab.test")), format!("10.99.0.{n}"));
    }
    let (completed, lost) = ended(asked);
    assert!(completed > 3000 && lost == 0, "{completed} completed, {lost} lost");

    // Another program runs there, of which a byte is other; the right one takes over from it under load.
    host.ssh_stdout(
        "cp /usr/local/lib/labwright/labwright /tmp/other && echo >> /tmp/other && \
         mv /tmp/other /usr/local/lib/labwright/labwright && systemctl restart labwright-serve",
    )
    .unwrap();
    wait("the other program", || ask("new2.lab.test") == "10.99.0.2");
    let before = pid(&host);
    world.run(&["plan"]).code(0).says("another labwright");
    let asked = load(&world, &host, 12);
    world.apply().code(0);
    wait("the next process", || pid(&host) != before);
    let (completed, lost) = ended(asked);
    assert!(completed > 3000 && lost == 0, "{completed} completed, {lost} lost");
    world.apply().code(0).says("nothing to do");

    // A snapshot that cannot be served: the old one goes on.
    lab(&world, &host, "    listen: 192.0.2.1\n", "");
    world
        .apply()
        .code(5)
        .says("the daemon cannot serve that, and goes on with what it has")
        .says("this host has no such address; `platform.dns.listen` names it");
    assert_eq!(ask("new2.lab.test"), "10.99.0.2");

    // A crash, and a restart: what is asked meanwhile waits in the sockets, which the manager keeps.
    let asked = load(&world, &host, 8);
    for action in ["kill -9 $(systemctl show -P MainPID labwright-serve)", "systemctl restart labwright-serve"] {
        let before = pid(&host);
        host.ssh_stdout(action).unwrap();
        wait("the next process", || pid(&host) != before && ask("new2.lab.test") == "10.99.0.2");
    }
    let (completed, lost) = ended(asked);
    // A killed process takes with it what it had read and not answered.
    assert!(completed > 2000 && lost < 50, "{completed} completed, {lost} lost");
    let before = host.boot_id().unwrap();
    host.reboot().unwrap();
    host.wait_for_boot_after(&before).unwrap();
    wait("the resolver", || ask("new2.lab.test") == "10.99.0.2");
}

#[test]
fn a_port_that_systemds_stub_holds_is_told_with_the_way_out() {
    let world = World::new();
    let host = world.net.systemd_host("gate").unwrap();
    // What the stub is to whoever wants the port: the package is not on this host, its address is.
    let stub = "systemd-run --unit stub --quiet perl -MIO::Socket::INET -e \
                'my $s = IO::Socket::INET->new(LocalAddr => \"127.0.0.53:53\", Proto => \"udp\") or die $!; sleep'";
    host.ssh_stdout(stub).unwrap();
    wait("the stub", || host.ssh_stdout("ss -lun sport = :53").unwrap().contains("127.0.0.53"));
    lab(&world, &host, "", "");
    world.desk.write("lists/ads.txt", "ads.example.org\n");
    world
        .apply()
        .code(5)
        .says("systemd-resolved's stub listens on port 53")
        .says("/etc/systemd/resolved.conf.d/labwright.conf")
        .says("listen: ADDRESS");
    // The other way out: this host's own address alone.
    lab(&world, &host, &format!("    listen: {}\n", host.address()), "");
    world.apply().code(0);
    assert_eq!(dig(&world, &host, "printer.lab.test"), "10.99.0.77");
}

#[test]
fn a_list_of_five_million_lines_goes_along() {
    use std::fmt::Write;
    let world = World::new();
    let host = world.net.systemd_host("gate").unwrap();
    let mut list = String::with_capacity(5_000_000 * 22);
    for n in 0..5_000_000 {
        let _ = writeln!(list, "||n{n}.ads.example^");
    }
    world.desk.write("lists/ads.txt", list);
    lab(&world, &host, "", "");
    world.apply().code(0);
    let ask = |arguments: &str| dig(&world, &host, arguments);
    assert_eq!(ask("printer.lab.test"), "10.99.0.77", "the lab's own names do not wait for a list");
    wait("the list", || ask("x.n4999999.ads.example") == "0.0.0.0");
    world.run(&["dns", "status"]).code(0).says("lists/ads.txt: 5000000 rules");
    world.run(&["plan"]).code(0).says("nothing to do");
}
