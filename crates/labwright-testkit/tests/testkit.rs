//! Starts real labs and hosts and checks that they are what they claim to be, and that nothing of them stays behind.
//! Run as root. It does not test Labwright.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use labwright_testkit::{AptRepo, Host, HostOptions, Package, SUDO_PASSWORD, Sudo, TestLab};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn id_of(lab: &TestLab) -> String {
    let folder = lab.dir().file_name().unwrap().to_string_lossy().into_owned();
    folder.replace("labwright-test-", "lw")
}

/// Everything on the machine whose name or content holds one of the two names of a lab.
fn traces(id: &str) -> Vec<String> {
    let folder = id.replace("lw", "labwright-test-");
    let is_trace = |text: &str| {
        [id, folder.as_str()].iter().any(|name| {
            text.match_indices(name).any(|(at, _)| !text[at + name.len()..].starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    let mut found = Vec::new();
    let names =
        |path: &str| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    let mut paths = names("/run/netns");
    paths.extend(names(&std::env::temp_dir().to_string_lossy()));
    paths.extend(names("/run/systemd/nspawn"));
    paths.extend(names("/sys/fs/cgroup"));
    paths.extend(names("/sys/fs/cgroup").iter().flat_map(|path| names(&path.to_string_lossy())));
    found.extend(paths.iter().map(|path| path.display().to_string()).filter(|path| is_trace(path)));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| is_trace(line)).map(str::to_owned));
    for process in names("/proc") {
        let about = ["cmdline", "environ", "cgroup", "mountinfo"].map(|file| {
            let text = fs::read(process.join(file)).unwrap_or_default();
            String::from_utf8_lossy(&text).replace('\0', " ")
        });
        if process.join("exe").exists() && about.iter().any(|text| is_trace(text)) {
            found.push(format!("{}: {}", process.display(), about[0]));
        }
    }
    found
}

#[test]
fn a_light_host_is_reached_by_ssh_and_has_its_own_system() -> Result<()> {
    let lab = TestLab::new()?;
    let (one, two) = (lab.light_host("one")?, lab.light_host("two")?);
    assert_eq!(one.ssh_stdout("echo $((6 * 7)) $(hostname) $(whoami)")?, "42 one root\n");
    assert_eq!(one.ssh("exit 7")?.status.code(), Some(7));
    assert_eq!(one.address().to_string(), "10.99.0.11");
    assert_eq!(two.address().to_string(), "10.99.0.12");

    // No systemd, and nothing of the controller but its programs.
    assert_eq!(one.ssh_stdout("cat /proc/1/comm")?, "sshd\n");
    one.ssh_stdout("test ! -e /run/systemd/system")?;
    one.ssh_stdout(&format!("test ! -e {} && test ! -e {}", lab.dir().display(), env!("CARGO_MANIFEST_DIR")))?;
    assert_eq!(one.ssh_stdout("ls -A /root /home /tmp /var/tmp | grep -v -e : -e '^$'")?, ".ssh\n");
    assert_ne!(one.read("/etc/machine-id")?, two.read("/etc/machine-id")?);
    assert_eq!(one.ssh_stdout("ls /sys/class/net | sort | tr '\\n' ' '")?, "eth0 lo ");

    // Own /etc, /var, package database, firewall, users; the machine's kernel settings are out of reach.
    one.ssh_stdout("useradd visitor && nft add table inet mine && rm -r /var/lib/dpkg && echo x >/etc/mine")?;
    for gone in ["id visitor", "nft list table inet mine", "cat /etc/mine", "! test -d /var/lib/dpkg"] {
        assert!(!two.ssh(gone)?.status.success(), "`{gone}` on the other host");
        assert!(!Command::new("sh").args(["-c", gone]).output()?.status.success(), "`{gone}` on this machine");
    }
    // Neither check changes this machine where it fails: a value is written over itself, the rest is only read.
    let rewrite = "value=$(cat /proc/sys/vm/swappiness) && echo $value >/proc/sys/vm/swappiness";
    assert!(stderr(&one.ssh(rewrite)?).contains("Read-only file system"));
    let bounds = one.ssh_stdout("sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status")?;
    let bounds = u64::from_str_radix(bounds.trim(), 16)?;
    for (capability, bit) in [("sys_module", 16), ("sys_rawio", 17), ("sys_boot", 22), ("sys_time", 25), ("mknod", 27)]
    {
        assert_eq!(bounds >> bit & 1, 0, "{capability} reaches past the host");
    }
    assert_eq!(bounds >> 12 & 1, 1, "net_admin is the host's own");
    one.ssh_stdout("echo 1 >/proc/sys/net/ipv4/ip_forward")?;

    let terminal = lab.command("ssh").arg("-F").arg(lab.ssh_config()).args(["-tt", "one", "tty"]).output()?;
    assert_eq!(String::from_utf8(terminal.stdout)?, "/dev/pts/0\r\n");

    one.write("/srv/deep/file", "content\n")?;
    assert_eq!(one.ssh_stdout("stat -c %a /srv/deep/file && cat /srv/deep/file")?, "644\ncontent\n");
    one.ssh_stdout("echo changed >/srv/deep/file")?;
    assert_eq!(one.read("/srv/deep/file")?, "changed\n");
    assert_eq!(fs::read_to_string(one.root_path().unwrap().join("srv/deep/file"))?, "changed\n");
    assert!(one.read("/srv/absent").unwrap_err().to_string().contains("No such file"));
    assert!(one.log().contains("Accepted publickey for root from 10.99.0.1"));
    Ok(())
}

#[test]
fn the_controller_has_a_clean_environment_and_no_way_out() -> Result<()> {
    let lab = TestLab::new()?;
    let environment = String::from_utf8(lab.command("env").output()?.stdout)?;
    let mut names: Vec<&str> = environment.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LANG", "PATH"]);
    assert!(environment.contains(&format!("HOME={}/home\n", lab.dir().display())));
    let routes = String::from_utf8(lab.command("ip").args(["route", "show"]).output()?.stdout)?;
    assert_eq!(routes.trim(), "10.99.0.0/24 dev eth0 proto kernel scope link src 10.99.0.1");
    Ok(())
}

#[test]
fn two_labs_at_once_use_the_same_addresses_and_do_not_meet() -> Result<()> {
    let (left, right) = (TestLab::new()?, TestLab::new()?);
    let hosts = thread::scope(|scope| {
        let starts = [&left, &right].map(|lab| scope.spawn(|| lab.light_host("same")));
        starts.map(|start| start.join().unwrap())
    });
    let [one, two] = hosts.map(|host| host.unwrap());
    assert_eq!(one.address(), two.address());
    one.write("/srv/which", "left")?;
    two.write("/srv/which", "right")?;
    assert_eq!(one.ssh_stdout("cat /srv/which")?, "left");
    assert_eq!(two.ssh_stdout("cat /srv/which")?, "right");
    drop(left);
    assert_eq!(two.ssh_stdout("cat /srv/which")?, "right");
    assert!(one.read("/srv/which").is_err());
    Ok(())
}

#[test]
fn options_set_the_port_the_user_and_what_sudo_allows() -> Result<()> {
    let lab = TestLab::new()?;
    let start = |name: &str, sudo| {
        let options = HostOptions::new().port(2222).user("ops", sudo).sshd_line("PermitRootLogin no");
        lab.light_host_with(name, options)
    };
    let free = start("free", Sudo::Passwordless)?;
    assert_eq!(free.ssh_stdout("whoami && sudo -n whoami")?, "ops\nroot\n");
    assert!(free.ssh_stdout("echo $SSH_CONNECTION")?.ends_with(" 2222\n"));
    let root = lab.command("ssh").arg("-F").arg(lab.ssh_config()).args(["-l", "root", "free", "true"]).output()?;
    assert!(stderr(&root).contains("Permission denied"), "{}", stderr(&root));

    let asking = start("asking", Sudo::AsksPassword)?;
    assert!(stderr(&asking.ssh("sudo -n true")?).contains("a password is required"));
    assert_eq!(asking.ssh_stdout(&format!("echo {SUDO_PASSWORD} | sudo -S whoami"))?, "root\n");

    let denied = start("denied", Sudo::Denied)?;
    assert_eq!(denied.ssh_stdout("whoami")?, "ops\n");
    assert!(!denied.ssh(&format!("echo {SUDO_PASSWORD} | sudo -S true"))?.status.success());
    Ok(())
}

#[test]
fn a_host_with_a_bad_sshd_line_says_why_it_did_not_start() -> Result<()> {
    let lab = TestLab::new()?;
    let error = lab.light_host_with("bad", HostOptions::new().sshd_line("NoSuchKeyword yes")).unwrap_err();
    assert!(format!("{error:#}").contains("NoSuchKeyword"), "{error:#}");
    let error = lab.light_host_with("match", HostOptions::new().sshd_line("Match User x")).unwrap_err();
    assert!(format!("{error:#}").contains("Match"), "{error:#}");
    let error = lab.light_host("bad").unwrap_err();
    assert!(format!("{error:#}").contains("is there one of that name"), "{error:#}");
    Ok(())
}

#[test]
fn ssh_refuses_a_changed_key_and_an_unknown_host() -> Result<()> {
    let lab = TestLab::new()?;
    let light = lab.light_host("light")?;
    let full = lab.systemd_host_with("full", HostOptions::new().port(2200))?;
    for host in [&light, &full] {
        host.rekey()?;
        let refused = host.ssh("true")?;
        assert_eq!(refused.status.code(), Some(255));
        assert!(stderr(&refused).contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{}", stderr(&refused));
        host.forget()?;
        let refused = host.ssh("true")?;
        assert_eq!(refused.status.code(), Some(255));
        assert!(stderr(&refused).contains("No ED25519 host key is known for"), "{}", stderr(&refused));
        host.trust()?;
        assert_eq!(host.ssh_stdout("echo again")?, "again\n");
    }
    Ok(())
}

#[test]
fn a_full_disk_takes_no_writes_until_it_is_freed() -> Result<()> {
    let lab = TestLab::new()?;
    let full = lab.light_host_with("full", HostOptions::new().disk_mib(24))?;
    full.ssh_stdout("echo before >/srv/file")?;
    full.fill_disk()?;
    let refused = full.ssh("echo more >/srv/other && sync /srv/other")?;
    assert!(!refused.status.success() && stderr(&refused).contains("No space left on device"), "{}", stderr(&refused));
    assert!(full.write("/etc/labwright", "x").is_err());
    assert_eq!(full.ssh_stdout("cat /srv/file")?, "before\n");
    full.free_disk()?;
    full.ssh_stdout("echo more >/srv/other")?;

    let systemd = lab.systemd_host_with("systemd", HostOptions::new().disk_mib(64))?;
    systemd.fill_disk()?;
    assert!(stderr(&systemd.ssh("echo more >/srv/other")?).contains("No space left on device"));

    let unlimited = lab.light_host("unlimited")?;
    assert!(unlimited.fill_disk().unwrap_err().to_string().contains("disk_mib"));
    Ok(())
}

#[test]
fn a_read_only_root_takes_no_writes() -> Result<()> {
    let lab = TestLab::new()?;
    let host = lab.light_host_with("sealed", HostOptions::new().read_only_root().user("ops", Sudo::Passwordless))?;
    assert_eq!(host.ssh_stdout("stat -c %a / /etc /etc/hosts /etc/machine-id")?, "755\n755\n644\n644\n");
    for path in ["/etc/new", "/srv/new", "/tmp/new", "/root/new"] {
        let refused = host.ssh(&format!("sudo -n touch {path}"))?;
        assert!(stderr(&refused).contains("Read-only file system"), "{path}: {}", stderr(&refused));
    }
    host.ssh_stdout("sudo -n touch /run/new /dev/shm/new")?;
    Ok(())
}

#[test]
fn an_unplugged_host_comes_back_and_a_stopped_one_does_not() -> Result<()> {
    let lab = TestLab::new()?;
    let host = lab.light_host("web")?;
    let is_unreachable = |host: &Host| -> Result<bool> {
        let output = host.ssh("true")?;
        Ok(output.status.code() == Some(255) && stderr(&output).contains("No route to host"))
    };
    host.unplug()?;
    assert!(is_unreachable(&host)?);
    host.plug()?;
    assert_eq!(host.ssh_stdout("echo back")?, "back\n");
    host.stop()?;
    assert!(is_unreachable(&host)?);
    assert!(host.inside("true").unwrap_err().to_string().contains("not running"));
    Ok(())
}

#[test]
fn a_systemd_host_runs_and_reboots() -> Result<()> {
    let lab = TestLab::new()?;
    let host = lab.systemd_host_with(
        "full",
        HostOptions::new().user("ops", Sudo::Passwordless).nspawn_arg("--tmpfs=/srv/scratch"),
    )?;
    assert_eq!(host.ssh_stdout("stat -f -c %T /srv/scratch /srv")?, "tmpfs\noverlayfs\n");
    assert_eq!(host.ssh_stdout("systemctl is-system-running --wait")?, "running\n");
    assert_eq!(
        host.ssh_stdout("cat /proc/1/comm && hostname && whoami && sudo -n whoami")?,
        "systemd\nfull\nops\nroot\n"
    );
    assert_eq!(host.ssh_stdout("systemctl is-active cron ssh dbus")?, "active\nactive\nactive\n");
    host.ssh_stdout("sudo nft add table inet mine && sudo systemd-run --wait --quiet true")?;
    host.write("/srv/kept", "kept\n")?;

    let before = host.boot_id()?;
    // As a user does it: the connection may break before the answer.
    host.ssh("sudo systemctl reboot")?;
    host.wait_for_boot_after(&before)?;
    let between = host.ssh_stdout("cat /proc/sys/kernel/random/boot_id")?;
    assert_ne!(between.trim(), before);
    host.reboot()?;
    assert_ne!(host.ssh_stdout("cat /proc/sys/kernel/random/boot_id")?, between);
    assert_eq!(host.read("/srv/kept")?, "kept\n");
    assert_eq!(host.ssh_stdout("systemctl is-system-running --wait")?, "running\n");

    host.stop()?;
    assert_eq!(host.ssh("true")?.status.code(), Some(255));
    Ok(())
}

#[test]
fn two_systemd_hosts_do_not_touch_each_others_units() -> Result<()> {
    let lab = TestLab::new()?;
    let hosts = thread::scope(|scope| {
        let starts = ["one", "two"].map(|name| {
            let lab = &lab;
            scope.spawn(move || lab.systemd_host(name))
        });
        starts.map(|start| start.join().unwrap())
    });
    let [one, two] = hosts.map(|host| host.unwrap());
    for host in [&one, &two] {
        let process = host.root_path().unwrap().parent().unwrap().to_owned();
        let groups = fs::read_to_string(process.join("cgroup"))?;
        let own = format!(":/{}-{}", id_of(&lab), host.name());
        assert!(groups.lines().all(|line| line.contains(&own)), "{groups}");
        host.ssh_stdout("systemd-run --quiet --unit lasting sleep infinity")?;
    }
    one.reboot()?;
    assert_eq!(one.ssh("systemctl is-active lasting")?.stdout, b"inactive\n");
    assert_eq!(two.ssh_stdout("systemctl is-active lasting")?, "active\n");
    assert_eq!(two.ssh_stdout("systemctl --failed --quiet")?, "");
    Ok(())
}

#[test]
fn apt_installs_and_upgrades_from_the_repository_on_both_kinds_of_host() -> Result<()> {
    let lab = TestLab::new()?;
    let repo = AptRepo::new(&lab)?;
    let unit = "[Service]\nExecStart=/usr/bin/demo\n[Install]\nWantedBy=multi-user.target\n";
    let demo = |version: &str| {
        let program = format!("#!/bin/sh\necho {version} >/var/lib/demo-ran\nexec sleep infinity\n");
        let package = Package::new("demo", version).executable("/usr/bin/demo", program).unit("demo.service", unit);
        package.file("/etc/demo.conf", format!("version={version}\n")).depends("demo-data (>= 1)")
    };
    repo.publish(&Package::new("demo-data", "1:1.0+a~b").file("/usr/share/demo/data", "data\n"))?;
    repo.publish(&demo("1.0"))?;
    let (light, full) = (lab.light_host("light")?, lab.systemd_host("full")?);
    for host in [&light, &full] {
        repo.enable_on(host)?;
        let indexed = host.ssh_stdout("apt-get indextargets --format '$(SITE)' | sort -u")?;
        assert_eq!(indexed.trim(), repo.url());
        host.ssh_stdout("DEBIAN_FRONTEND=noninteractive apt-get install -q -y demo")?;
        let state = "dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\\n' demo demo-data";
        assert_eq!(host.ssh_stdout(state)?, "demo 1.0 installed\ndemo-data 1:1.0+a~b installed\n");
        assert_eq!(host.ssh_stdout("cat /usr/share/demo/data /etc/demo.conf")?, "data\nversion=1.0\n");
    }
    assert!(!light.ssh("test -e /var/lib/demo-ran")?.status.success());
    assert_eq!(full.ssh_stdout("systemctl is-active demo && systemctl is-enabled demo")?, "active\nenabled\n");
    let first = full.ssh_stdout("systemctl show -P MainPID demo")?;

    assert_eq!(light.ssh_stdout("systemctl is-enabled demo")?, "enabled\n");

    repo.publish(&demo("1.1"))?;
    full.ssh_stdout("apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y upgrade")?;
    assert_eq!(full.ssh_stdout("dpkg-query -W -f '${Version}' demo")?, "1.1");
    assert_ne!(full.ssh_stdout("systemctl show -P MainPID demo")?, first);
    assert_eq!(full.ssh_stdout("sleep 0.2; cat /var/lib/demo-ran")?, "1.1\n");
    full.ssh_stdout("apt-get -q -y remove demo")?;
    assert_eq!(full.ssh("systemctl is-active demo")?.stdout, b"inactive\n");
    full.ssh_stdout("apt-get -q -y purge demo")?;
    assert_eq!(full.ssh("ls -d /etc/demo.conf /etc/systemd/system/*/demo.service")?.stdout, b"");
    assert!(stderr(&full.ssh("apt-get install -y no-such-package")?).contains("Unable to locate package"));
    Ok(())
}

#[test]
fn a_dropped_lab_leaves_nothing() -> Result<()> {
    let lab = TestLab::new()?;
    let id = id_of(&lab);
    let (light, full) = (lab.light_host("light")?, lab.systemd_host("full")?);
    let repo = AptRepo::new(&lab)?;
    repo.enable_on(&light)?;
    // Daemons that nobody ends.
    for host in [&light, &full] {
        host.ssh_stdout("setsid --fork sleep 98765 >/dev/null 2>&1 </dev/null")?;
    }
    // And what a test left running on the controller, such as an ssh that keeps its connection.
    assert!(lab.command("setsid").args(["--fork", "sleep", "98765"]).status()?.success());
    let before = traces(&id);
    assert!(before.iter().any(|trace| trace.ends_with("sleep 98765 ")), "{before:#?}");
    for kind in ["/run/netns/", "/sys/fs/cgroup/", "/proc/"] {
        assert!(before.iter().any(|trace| trace.starts_with(kind)), "no {kind} in {before:#?}");
    }
    let start = Instant::now();
    drop(lab);
    let took = start.elapsed();
    assert_eq!(traces(&id), Vec::<String>::new());
    assert!(took < Duration::from_secs(15), "took {took:?}");
    assert!(light.ssh("true")?.status.code() != Some(0));
    Ok(())
}

/// Starts itself again as a test process that is killed in the middle.
#[test]
fn a_killed_test_process_leaves_nothing() -> Result<()> {
    const VICTIM: &str = "LABWRIGHT_TESTKIT_VICTIM";
    if let Some(note) = std::env::var_os(VICTIM) {
        let lab = TestLab::new()?;
        let _hosts = (lab.light_host("light")?, lab.systemd_host("full")?);
        fs::write(note, id_of(&lab))?;
        thread::sleep(Duration::from_secs(600));
        return Ok(());
    }
    let lab = TestLab::new()?;
    let note = lab.dir().join("victim");
    let mut victim = Command::new(std::env::current_exe()?)
        .args(["--exact", "a_killed_test_process_leaves_nothing"])
        .env(VICTIM, &note)
        .stdin(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + Duration::from_secs(150);
    let id = loop {
        let id = fs::read_to_string(&note).unwrap_or_default();
        if !id.is_empty() || Instant::now() > deadline || victim.try_wait()?.is_some() {
            break id;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let living = traces(&id);
    victim.kill()?;
    victim.wait()?;
    let processes = || traces(&id).into_iter().filter(|trace| trace.starts_with("/proc/")).collect::<Vec<_>>();
    anyhow::ensure!(!id.is_empty(), "the victim did not start its hosts");
    for kind in ["/run/netns/", "/sys/fs/cgroup/", "/proc/"] {
        assert!(living.iter().any(|trace| trace.starts_with(kind)), "no {kind} in {living:#?}");
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while !processes().is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    // Its processes end by themselves; names and folders go when the next lab starts, here or in another test.
    assert_eq!(processes(), Vec::<String>::new());
    drop(TestLab::new()?);
    while !traces(&id).is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(traces(&id), Vec::<String>::new());
    lab.light_host("alive").context("the sweep spares the labs of living processes")?;
    Ok(())
}
