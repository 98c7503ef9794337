//! Hosts over SSH that nobody prepared: first apply, second apply, ways in, refusals.

use labwright_testkit::{HostOptions, Sudo};

use crate::world::{Ran, World};

/// Twenty-odd resources of every kind that needs no systemd.
pub fn many(host: &str, extra: &str) -> String {
    let mut lab = format!(
        "lab: test\ncompute:\n  hosts:\n    {host}:{extra}\n      groups: {{ media: {{ gid: 7001 }} }}\n      users:\n        ada: {{ uid: 7001, group: media, shell: /bin/sh, home: /home/ada, comment: Ada }}\n      directories:\n        /srv/lw: {{ mode: \"0750\", owner: ada, group: media }}\n      symlinks:\n        /srv/lw/link: f0\n      files:\n"
    );
    for i in 0..20 {
        lab.push_str(&format!("        /srv/lw/f{i}: {{ content: \"file {i}\\n\", mode: \"0640\", owner: ada }}\n"));
    }
    lab
}

#[test]
fn a_host_that_nobody_prepared_becomes_as_declared_and_stays() {
    let world = World::new();
    let host = world.net.light_host("web").unwrap();
    world.lab(&many("web", ""));
    let first = world.run(&["plan", "--exit-code"]).code(4).says("24 to create");
    assert!(first.err.contains("put this program on `web` to look from there"), "{}", first.err);
    world.run(&["plan"]).code(0).says_not("put this program");
    assert_eq!(
        host.ssh_stdout("ls /srv; ls -A /var/lib/labwright").unwrap().trim(),
        "bin",
        "a plan leaves nothing but the program itself"
    );
    world.apply().code(0).says("24 of 24 steps done");
    assert_eq!(host.ssh_stdout("stat -c '%a %U %G' /srv/lw /srv/lw/f7").unwrap(), "750 ada media\n640 ada media\n");
    assert_eq!(
        host.ssh_stdout("cat /srv/lw/link; id -un 7001; getent passwd ada").unwrap(),
        "file 0\nada\nada:x:7001:7001:Ada:/home/ada:/bin/sh\n"
    );
    let before = host.ssh_stdout("stat -c '%n %y %i' /srv/lw /srv/lw/*").unwrap();
    world.apply().code(0).says("nothing to do, 24 unchanged");
    assert_eq!(
        host.ssh_stdout("stat -c '%n %y %i' /srv/lw /srv/lw/*").unwrap(),
        before,
        "the second apply touched something"
    );
}

#[test]
fn nothing_is_left_on_the_controller_however_a_plan_ends() {
    let world = World::new();
    let host = world.net.light_host("web").unwrap();
    let key = host.read("/etc/ssh/ssh_host_ed25519_key.pub").unwrap();
    let key = key.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let folder = world.desk.path("tmp");
    let left = |lab: &str, args: &[&str]| {
        world.lab(lab);
        std::fs::create_dir_all(&folder).unwrap();
        let ran: Ran = world.with_ssh(args).env("TMPDIR", &folder).output().unwrap().into();
        (ran, std::fs::read_dir(&folder).unwrap().count())
    };
    let declared = format!(
        "lab: test\ncompute: {{ hosts: {{ web: {{ ssh: {{ host_key: \"{key}\" }}, files: {{ /etc/lw: {{ content: x }} }} }} }} }}\n"
    );
    for (args, code) in [(&["plan"][..], 0), (&["plan", "--adopt", "web/host/file//etc/typo"], 2), (&["locks"], 0)] {
        let (ran, count) = left(&declared, args);
        ran.code(code);
        assert_eq!(count, 0, "{args:?}");
    }
}

#[test]
fn several_hosts_go_at_once_and_one_that_is_away_stops_no_other() {
    let world = World::new();
    let (one, two) = (world.net.light_host("one").unwrap(), world.net.light_host("two").unwrap());
    let gone = world.net.light_host("gone").unwrap();
    gone.stop().unwrap();
    let file = "files: { /etc/lw: { content: x } }";
    world.lab(&format!(
        "lab: test\ncompute:\n  hosts:\n    one: {{ {file} }}\n    two: {{ {file} }}\n    gone: {{ {file} }}\n"
    ));
    world.run(&["plan"]).code(6).says("not reached").says("gone");
    world.apply().code(6).says("2 of 2 steps done");
    for host in [&one, &two] {
        assert_eq!(host.read("/etc/lw").unwrap(), "x");
    }
    world.lab(&format!(
        "lab: test\ncompute:\n  hosts:\n    one: {{ {file} }}\n    gone: {{ {file}, intermittent: true }}\n"
    ));
    world.apply().code(0).says("away, as they may be");
}

#[test]
fn an_unknown_or_changed_host_key_stops_that_host_and_says_how_to_go_on() {
    let world = World::new();
    let host = world.net.light_host("web").unwrap();
    world.lab("lab: test\ncompute: { hosts: { web: { files: { /etc/lw: { content: x } } } } }\n");
    host.forget().unwrap();
    world.run(&["apply", "--yes"]).code(6).says("is not known yet").says("host_key");
    host.trust().unwrap();
    host.rekey().unwrap();
    world.run(&["apply", "--yes"]).code(6).says("has changed").says("ssh-keygen -R");
    assert!(host.inside("test").unwrap().args(["-e", "/etc/lw"]).status().is_ok_and(|status| !status.success()));
    // A key that the lab file declares is enough, and a wrong one is not.
    let key = String::from_utf8(
        host.inside("sh").unwrap().args(["-c", "cat /etc/ssh/ssh_host_ed25519_key.pub"]).output().unwrap().stdout,
    )
    .unwrap();
    let key: Vec<&str> = key.split_whitespace().take(2).collect();
    if key.len() == 2 {
        world.lab(&format!("lab: test\ncompute: {{ hosts: {{ web: {{ ssh: {{ host_key: \"{}\" }}, files: {{ /etc/lw: {{ content: x }} }} }} }} }}\n", key.join(" ")));
        world.apply().code(0);
    }
}

#[test]
fn a_login_that_is_not_root_works_with_sudo_and_is_told_without() {
    let world = World::new();
    let _may = world.net.light_host_with("may", HostOptions::new().user("ada", Sudo::Passwordless)).unwrap();
    let _asks = world.net.light_host_with("asks", HostOptions::new().user("ada", Sudo::AsksPassword)).unwrap();
    world.lab("lab: test\ncompute:\n  hosts:\n    may: { files: { /etc/lw: { content: x } } }\n    asks: { files: { /etc/lw: { content: x } } }\n");
    world.apply().code(6).says("`asks` let us in").says("sudo").says("1 of 1 step done");
}

#[test]
fn addresses_are_tried_in_order_and_ports_and_jumps_hold() {
    let world = World::new();
    let gate = world.net.light_host("gate").unwrap();
    let deep = world.net.light_host_with("deep", HostOptions::new().port(2222)).unwrap();
    let wrong = "10.99.0.250";
    world.lab(&format!(
        "lab: test\ncompute:\n  hosts:\n    gate: {{ address: [{wrong}, {}] , files: {{ /etc/lw: {{ content: gate }} }} }}\n    deep: {{ address: {}, ssh: {{ port: 2222, user: root, jump: gate }}, files: {{ /etc/lw: {{ content: deep }} }} }}\n",
        gate.address(),
        deep.address()
    ));
    // The jump goes to the first address of the gate, which is wrong here: told, and the gate itself is reached.
    let ran = world.apply();
    assert_eq!(gate.read("/etc/lw").unwrap(), "gate", "{}{}", ran.out, ran.err);
    world.lab(&format!(
        "lab: test\ncompute:\n  hosts:\n    gate: {{ address: {}, files: {{ /etc/lw: {{ content: gate }} }} }}\n    deep: {{ address: {}, ssh: {{ port: 2222, user: root, jump: gate }}, files: {{ /etc/lw: {{ content: deep }} }} }}\n",
        gate.address(),
        deep.address()
    ));
    world.apply().code(0);
    assert_eq!(deep.read("/etc/lw").unwrap(), "deep");
}

#[test]
fn a_unit_on_a_host_without_systemd_is_refused_in_the_plan() {
    let world = World::new();
    let host = world.net.light_host("web").unwrap();
    world.lab("lab: test\ncompute: { hosts: { web: { files: { /etc/lw: { content: x } }, units: { x.service: { running: true } } } } }\n");
    world.run(&["plan"]).code(0).says("`web` does not run systemd").says("1 blocked");
    world.apply().code(5).says("1 of 1 step done");
    assert_eq!(host.read("/etc/lw").unwrap(), "x");
}

#[test]
fn drift_over_ssh_shows_the_edit() {
    let world = World::new();
    let host = world.net.light_host("web").unwrap();
    world.lab("lab: test\ncompute: { hosts: { web: { files: { /etc/lw: { content: \"one\\n\" } } } } }\n");
    world.apply().code(0);
    host.write("/etc/lw", "two\n").unwrap();
    world.run(&["drift"]).code(4).says("+two").says("-one");
    host.ssh_stdout("rm /etc/lw").unwrap();
    world.run(&["drift"]).code(4).says("gone since the last apply");
    world.apply().code(0).says("it is gone since the last apply");
}

#[test]
fn kernel_parameters_count_now_and_after_a_boot() {
    let world = World::new();
    let host = world.net.light_host("web").unwrap();
    world.lab("lab: test\ncompute: { hosts: { web: { sysctl: { net.ipv4.ip_forward: \"1\" } } } }\n");
    world.apply().code(0);
    assert_eq!(
        host.ssh_stdout("cat /proc/sys/net/ipv4/ip_forward; cat /etc/sysctl.d/*labwright*").unwrap(),
        "1\nnet.ipv4.ip_forward = 1\n"
    );
    world.apply().code(0).says("nothing to do, 1 unchanged");
    world.lab("lab: test\ncompute: { hosts: { web: { sysctl: { net.ipv4.no_such: \"1\" } } } }\n");
    let ran = world.apply();
    assert_ne!(ran.code, 0);
    ran.says("net.ipv4.no_such");
}
