//! Hosts with real systemd and apt: packages, units, mounts, SSH hardening, kernel parameters, the host name.

use labwright_testkit::{AptRepo, Package};

use crate::world::World;

#[test]
fn packages_files_and_units_come_about_in_one_run() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    let repo = AptRepo::new(&world.net).unwrap();
    repo.publish(
        &Package::new("lw-hello", "1.0")
            .file("/usr/share/lw-hello/text", "hello\n")
            .file("/etc/lw-hello.conf", "from the package\n"),
    )
    .unwrap();
    repo.publish(&Package::new("lw-other", "2.0").file("/usr/share/lw-other/text", "other\n")).unwrap();
    repo.enable_on(&host).unwrap();
    let lab = |text: &str| {
        world.lab(&format!(
            "lab: test\ncompute:\n  hosts:\n    db:\n      packages: [lw-hello, lw-other]\n      files:\n        /etc/lw-hello.conf: {{ content: \"{text}\\n\" }}\n      units:\n        lw-hello.service:\n          content: |\n            [Service]\n            ExecStart=/bin/sh -c 'cat /etc/lw-hello.conf; exec sleep infinity'\n            [Install]\n            WantedBy=multi-user.target\n          enabled: true\n          running: true\n"
        ));
    };
    lab("first");
    world.run(&["plan"]).code(0).says("4 to create");
    world.apply().code(0).says("4 of 4 steps done");
    assert_eq!(host.read("/etc/lw-hello.conf").unwrap(), "first\n");
    let state = || {
        host.ssh_stdout(
            "systemctl is-enabled lw-hello; systemctl is-active lw-hello; systemctl show -P MainPID lw-hello",
        )
        .unwrap()
    };
    let before = state();
    assert!(before.starts_with("enabled\nactive\n"), "{before}");
    world.apply().code(0).says("nothing to do, 4 unchanged");
    assert_eq!(state(), before, "an apply with nothing to do restarted the unit");
    lab("second");
    world.run(&["plan"]).code(0).says("lw-hello.service [restart]").says("-first").says("+second");
    world.apply().code(0);
    let after = state();
    assert!(after.starts_with("enabled\nactive\n") && after != before, "the unit was not restarted: {after}");
    host.ssh_stdout("systemctl stop lw-hello").unwrap();
    world.run(&["drift"]).code(4).says("running: true -> false");
    world.apply().code(0);
    host.ssh_stdout("systemctl is-active lw-hello").unwrap();
}

#[test]
fn a_unit_that_does_not_come_up_says_why_and_a_missing_package_names_itself() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    let repo = AptRepo::new(&world.net).unwrap();
    repo.publish(&Package::new("lw-good", "1.0").file("/usr/share/lw-good/text", "x")).unwrap();
    repo.enable_on(&host).unwrap();
    world.lab("lab: test\ncompute:\n  hosts:\n    db:\n      packages: [lw-good, lw-no-such]\n");
    world.apply().code(5).says("lw-no-such").says("1 of 2 steps done");
    world.lab("lab: test\ncompute:\n  hosts:\n    db:\n      units:\n        bad.service: { content: \"[Service]\\nExecStart=/bin/sh -c 'echo the reason stands here; exit 3'\\n\", running: true }\n");
    world.apply().code(5).says("the reason stands here");
}

#[test]
fn the_ssh_server_is_hardened_checked_and_never_locks_us_out() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    world.lab("lab: test\ncompute: { hosts: { db: { sshd: true } } }\n");
    world.run(&["plan"]).code(0).says("[cuts-management]");
    world.apply().code(5).says("costs cuts-management, which was not approved");
    world.run(&["apply", "--yes", "--approve", "cuts-management"]).code(0);
    let effective = host.ssh_stdout("sshd -T").unwrap();
    assert!(effective.contains("passwordauthentication no"), "{effective}");
    world.apply().code(0).says("nothing to do");
    // A setting that sshd refuses is taken back, and sshd's own words are shown.
    world.lab("lab: test\ncompute: { hosts: { db: { sshd: { settings: { NoSuchSetting: \"yes\" } } } } }\n");
    world.run(&["apply", "--yes", "--approve", "cuts-management"]).code(5).says("NoSuchSetting");
    assert!(host.ssh_stdout("sshd -t && sshd -T").unwrap().contains("passwordauthentication no"));
}

#[test]
fn an_ssh_server_that_gives_up_over_its_settings_gets_the_old_ones_back() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    world.lab("lab: test\ncompute: { hosts: { db: { sshd: true } } }\n");
    world.run(&["apply", "--yes", "--approve", "cuts-management"]).code(0);
    // An address that this host does not have: sshd takes the settings, and dies when it reads them.
    world.lab("lab: test\ncompute: { hosts: { db: { sshd: { settings: { ListenAddress: 10.255.255.1 } } } } }\n");
    world
        .run(&["apply", "--yes", "--approve", "cuts-management"])
        .code(5)
        .says("sshd does not answer at 10.255.255.1:22");
    assert_eq!(host.ssh_stdout("systemctl is-active ssh").unwrap(), "active\n");
    assert!(!host.ssh_stdout("sshd -T").unwrap().contains("10.255.255.1"));
    assert!(host.ssh_stdout("sshd -T").unwrap().contains("passwordauthentication no"));
}

#[test]
fn host_name_and_mounts() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    world.lab("lab: test\ncompute:\n  hosts:\n    db:\n      hostname: renamed\n      mounts: { /mnt/scratch: { device: tmpfs, fstype: tmpfs, options: \"size=1m\" } }\n");
    world.apply().code(0);
    assert_eq!(host.ssh_stdout("cat /etc/hostname; findmnt -n -o FSTYPE /mnt/scratch").unwrap(), "renamed\ntmpfs\n");
    world.apply().code(0).says("nothing to do, 2 unchanged");
}

#[test]
fn keys_of_users_are_theirs_alone() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHwcdxhdGDcSGUfBRIcXUFU5PCqBv7tKUX7y0FtNq2cF ada@desk";
    world.lab(&format!("lab: test\ncompute: {{ hosts: {{ db: {{ users: {{ ada: [\"{key}\"] }} }} }} }}\n"));
    world.apply().code(0);
    assert_eq!(host.read("/home/ada/.ssh/authorized_keys").unwrap(), format!("{key}\n"));
    assert_eq!(
        host.ssh_stdout("stat -c '%a %U' /home/ada/.ssh /home/ada/.ssh/authorized_keys").unwrap(),
        "700 ada\n600 ada\n"
    );
    world.apply().code(0).says("nothing to do");
}

#[test]
fn a_service_that_is_a_process_runs_as_its_own_user_at_its_own_port() {
    let world = World::new();
    let host = world.net.systemd_host("app").unwrap();
    let lab = |text: &str| {
        world.lab(&format!(
            "lab: test\ncompute:\n  hosts:\n    app: {{}}\nservices:\n  book:\n    on: app\n    run:\n      command: [/bin/sh, -c, \"echo $TEXT ${{port}} > /tmp/said; exec sleep infinity\"]\n      user: guestbook\n      environment: {{ TEXT: {text} }}\n"
        ));
    };
    lab("hello");
    world.apply().code(0);
    world.run(&["plan", "--exit-code"]).code(0);
    let said = || host.ssh_stdout("cat /proc/$(systemctl show -P MainPID lab-book)/root/tmp/said").unwrap();
    let first = said();
    let port: u16 = first.strip_prefix("hello ").unwrap().trim().parse().unwrap();
    assert!((20_000..30_000).contains(&port), "{first}");
    assert_eq!(host.ssh_stdout("ps -o user= -p $(systemctl show -P MainPID lab-book)").unwrap().trim(), "guestbook");
    lab("again");
    world.apply().code(0).says("lab-book.service [restart]");
    assert_eq!(said(), format!("again {port}\n"));
    world.run(&["plan", "--exit-code"]).code(0);
}
