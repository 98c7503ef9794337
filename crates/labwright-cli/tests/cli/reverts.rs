//! Changes that may cut the way in: armed before they are made, confirmed by a fresh connection, or taken back. Each test makes
//! the net catch something, on a host with a real SSH server.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use labwright_testkit::{Host, HostOptions};

use crate::world::{Ran, World};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHwcdxhdGDcSGUfBRIcXUFU5PCqBv7tKUX7y0FtNq2cF ada@desk";
const DROP_IN: &str = "/etc/ssh/sshd_config.d/50-labwright.conf";
pub const APPLY: [&str; 4] = ["apply", "--yes", "--approve", "cuts-management"];

/// A lab of one host whose SSH server gets these settings, as lines of YAML in braces.
fn lab(world: &World, within: u32, sshd: &str) {
    world.lab(&format!(
        "lab: test\ncompute:\n  confirm_within: {within}s\n  hosts:\n    db:\n      users: {{ ada: [\"{KEY}\"] }}\n      sshd: {sshd}\n"
    ));
}

pub fn inside(host: &Host, script: &str) -> String {
    let output = host.inside("sh").unwrap().args(["-c", script]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What is armed on a host: tickets, timers, boot units, watchers.
pub fn armed(host: &Host) -> String {
    inside(
        host,
        "ls /var/lib/labwright/reverts 2>/dev/null | grep ^2; ls /etc/systemd/system /etc/systemd/system/sysinit.target.wants 2>/dev/null | grep labwright-boot-revert; \
         systemctl list-timers --all --no-legend 2>/dev/null | grep -o 'labwright-revert[^ ]*timer'",
    )
}

pub fn wait_until(what: &str, limit: u64, mut probe: impl FnMut() -> bool) {
    let since = Instant::now();
    while !probe() {
        assert!(since.elapsed() < Duration::from_secs(limit), "{what}: not within {limit} s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn gone_back(host: &Host, limit: u64) {
    wait_until("the settings are taken back", limit, || inside(host, &format!("cat {DROP_IN}")).is_empty());
    wait_until("nothing is armed any more", 10, || armed(host).is_empty());
}

/// Starts an apply and waits until its change is made and waits for its confirmation.
pub fn begun(command: &mut Command, host: &Host) -> Child {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let made = || !inside(host, "cat /var/lib/labwright/reverts/2*/made").is_empty();
    wait_until("the change is made", 60, || made() || child.try_wait().unwrap().is_some());
    if !made() {
        let ran: Ran = child.wait_with_output().unwrap().into();
        panic!(
            "the apply ended with {} before its change was made\n--- out\n{}\n--- err\n{}",
            ran.code, ran.out, ran.err
        );
    }
    child
}

/// SSH through which only the first connection comes: later ones hang until `hang` is removed.
fn hanging(world: &World) -> std::path::PathBuf {
    let flag = world.desk.path("hang");
    let config = format!(
        "Host *\n  ProxyCommand sh -c 'if [ -e {0} ]; then exec sleep 600; fi; touch {0}; exec busybox nc %h %p'\nInclude {1}\n",
        flag.display(),
        world.net.ssh_config().display()
    );
    world.desk.write("ssh_hanging", config);
    world.desk.path("ssh_hanging")
}

pub fn apply_hanging(world: &World) -> Command {
    let mut command = world.command();
    command.args(APPLY).arg("--ssh-config").arg(hanging(world));
    command
}

#[test]
fn settings_that_refuse_us_are_taken_back_at_once_and_the_next_attempt_goes_through() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    lab(&world, 90, "{ allow_users: [ada] }");
    let since = Instant::now();
    world
        .run(&APPLY)
        .code(5)
        .says("reverted db/host/sshd/hardening: `db` refused the login")
        .says("what was there before is back")
        .says("a new connection to `db` has 90 s to confirm it");
    assert!(since.elapsed() < Duration::from_secs(60), "a known failure waited for the end of its window");
    assert_eq!(inside(&host, &format!("cat {DROP_IN}; sshd -T | grep -i allowusers")), "");
    assert_eq!(armed(&host), "");
    host.ssh_stdout("true").unwrap();
    let journal = inside(&host, "cat /var/lib/labwright/labs/test/journal/*");
    assert!(journal.contains("\"reverted\""), "{journal}");
    let marks = inside(&host, "cat /var/lib/labwright/labs/test/marks.json");
    assert!(!marks.contains("sshd"), "what went back is nobody's again: {marks}");
    world.run_offline(&["history"]).code(0).says("reverted");
    // As events: the result says it too.
    let json = world.run(&["apply", "--yes", "--approve", "cuts-management", "--json"]).code(5);
    assert!(json.out.contains("\"outcome\":{\"reverted\""), "{}", json.out);
    lab(&world, 90, "{ allow_users: [ada, root] }");
    world.run(&APPLY).code(0);
    assert_eq!(armed(&host), "");
    assert!(inside(&host, &format!("cat {DROP_IN}")).contains("AllowUsers ada root"));
    world.apply().code(0).says("nothing to do");
}

#[test]
fn a_door_that_nobody_gets_through_is_opened_again_when_the_time_is_over() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    // sshd itself is content, and answers on the host: only from outside is it seen that nobody comes in.
    lab(&world, 8, "{ settings: { ListenAddress: 127.0.0.1 } }");
    world
        .run(&APPLY)
        .code(5)
        .says("no new connection confirmed it within 8 s")
        .says("does not answer")
        .says("reverted");
    gone_back(&host, 1);
    host.ssh_stdout("true").unwrap();
}

#[test]
fn a_port_that_moves_is_confirmed_where_it_moved_to() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    // For sshd every `Port` counts, not the first.
    inside(&host, "sed -i /^Port/d /etc/ssh/sshd_config.d/00-testkit.conf");
    lab(&world, 30, "{ settings: { Port: 2222 } }");
    world.run(&APPLY).code(0).says("port 2222 has 30 s to confirm it");
    assert_eq!(inside(&host, "ss -Hltn | grep -c :22[^2]; ss -Hltn | grep -q :2222 && echo moved"), "0\nmoved\n");
    world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    // And back, where it is reached by the new port while the lab says the old one.
    lab(&world, 30, "{ settings: { Port: 22 } }");
    world.run(&APPLY).code(6);
    lab(&world, 30, "{ settings: { Port: 22 } }\n      ssh: { port: 2222 }");
    world.run(&APPLY).code(0).says("port 22 has 30 s to confirm it");
    host.ssh_stdout("true").unwrap();
    assert_eq!(armed(&host), "");
}

#[test]
fn a_controller_killed_inside_the_window_leaves_a_host_that_goes_back() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    lab(&world, 12, "{ settings: { ListenAddress: 127.0.0.1 } }");
    let mut run = begun(&mut world.with_ssh(&APPLY), &host);
    assert_eq!(armed(&host).lines().count(), 4, "a record, a boot unit, its link and a timer: {}", armed(&host));
    run.kill().unwrap();
    run.wait().unwrap();
    gone_back(&host, 30);
    host.ssh_stdout("true").unwrap();
}

#[test]
fn agent_and_controller_killed_inside_the_window_leave_a_host_that_goes_back() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    lab(&world, 12, "{ settings: { ListenAddress: 127.0.0.1 } }");
    let mut run = begun(&mut world.with_ssh(&APPLY), &host);
    host.inside("pkill").unwrap().args(["-KILL", "labwright"]).status().unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    gone_back(&host, 30);
    host.ssh_stdout("true").unwrap();
    // What was cut off is known to be so, and nothing stands in the way of the next.
    lab(&world, 60, "{ settings: { MaxAuthTries: 3 } }");
    world.run(&APPLY).code(0);
}

#[test]
fn a_reboot_inside_the_window_goes_back_before_the_ssh_server_starts() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    // Far longer than the test: it is the boot that takes it back, no timer.
    lab(&world, 3600, "{ settings: { ListenAddress: 127.0.0.1 } }");
    let mut run = begun(&mut world.with_ssh(&APPLY), &host);
    run.kill().unwrap();
    run.wait().unwrap();
    // It waits until SSH answers from outside: with the new settings it never would.
    host.reboot().unwrap();
    gone_back(&host, 1);
    let said = inside(&host, "journalctl -b -o cat --no-pager | grep 'taken back'");
    assert!(said.contains("the host started again before anybody confirmed it"), "{said}");
}

#[test]
fn without_systemd_a_watcher_of_our_own_goes_back() {
    let world = World::new();
    let host = world.net.light_host_with("db", light()).unwrap();
    lab(&world, 8, "{ settings: { ListenAddress: 127.0.0.1 } }");
    world.run(&APPLY).code(5).says("no new connection confirmed it within 8 s").says("reverted");
    gone_back(&host, 1);
    host.ssh_stdout("true").unwrap();
    let mut run = begun(&mut world.with_ssh(&APPLY), &host);
    // All but the watcher.
    host.inside("pkill").unwrap().args(["-KILL", "-f", "agent --via"]).status().unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    gone_back(&host, 30);
    host.ssh_stdout("true").unwrap();
}

#[test]
fn with_everything_killed_the_next_start_goes_back() {
    let world = World::new();
    let host = world.net.light_host_with("db", light()).unwrap();
    lab(&world, 3600, "{ settings: { ListenAddress: 127.0.0.1 } }");
    let mut run = begun(&mut world.with_ssh(&APPLY), &host);
    host.inside("pkill").unwrap().args(["-KILL", "labwright"]).status().unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(inside(&host, &format!("cat {DROP_IN}")).contains("127.0.0.1"));
    inside(&host, "cd /var/lib/labwright/reverts/2* && ./labwright agent --revert $(basename $PWD) --boot");
    gone_back(&host, 1);
    inside(&host, "kill -HUP 1");
    wait_until("SSH answers", 10, || host.ssh("true").unwrap().status.success());
}

fn light() -> HostOptions {
    HostOptions::new().sshd_line("Include /etc/ssh/sshd_config.d/*.conf").sshd_line("PidFile /run/sshd.pid")
}

#[test]
fn what_a_killed_run_left_pending_is_taken_back_first_and_blocks_nothing() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    lab(&world, 3600, "{ settings: { MaxAuthTries: 2 } }");
    let mut run = begun(&mut apply_hanging(&world), &host);
    // While its run is there, others keep away.
    world.run(&APPLY).code(5).says("is held by");
    run.kill().unwrap();
    run.wait().unwrap();
    wait_until("it is seen that nobody waits", 10, || {
        let plan: Ran = world.run(&["plan"]);
        plan.err.contains("is not confirmed yet: it goes back in")
    });
    lab(&world, 60, "{ settings: { MaxAuthTries: 4 } }");
    world.run(&APPLY).code(0).says("left unconfirmed is taken back");
    assert_eq!(armed(&host), "");
    assert!(inside(&host, &format!("cat {DROP_IN}")).contains("MaxAuthTries 4"));
}

/// A frame as the two ends of a link speak it.
fn frame(json: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(json.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes
}

fn confirm_over(ssh: &mut Command, ticket: &str) -> Output {
    let agent = format!("exec /var/lib/labwright/reverts/{ticket}/labwright agent");
    let mut child = ssh.args(["db", "--", &agent]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&frame(&format!("{{\"confirm\":{{\"ticket\":\"{ticket}\"}}}}"))).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

#[test]
fn an_old_connection_that_others_share_confirms_nothing() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    let socket = world.desk.path("mux");
    let shared = |world: &World| {
        let mut ssh = world.net.command("ssh");
        ssh.arg("-F").arg(world.net.ssh_config()).arg(format!("-oControlPath={}", socket.display()));
        ssh
    };
    let mut master = shared(&world).args(["-M", "-N", "db"]).stdin(Stdio::null()).spawn().unwrap();
    wait_until("the shared connection stands", 20, || socket.exists());
    // The user shares connections, and one is open: settings that let nobody in anew go back all the same.
    let own = format!(
        "Host *\n  ControlMaster auto\n  ControlPath {}\n  ControlPersist yes\nInclude {}\n",
        socket.display(),
        world.net.ssh_config().display()
    );
    world.desk.write("ssh_shared", own);
    lab(&world, 60, "{ allow_users: [ada] }");
    let mut apply = world.command();
    let ran: Ran = apply.args(APPLY).arg("--ssh-config").arg(world.desk.path("ssh_shared")).output().unwrap().into();
    ran.code(5).says("reverted").says("refused the login");
    assert!(shared(&world).args(["db", "true"]).status().unwrap().success(), "the shared connection is gone");
    // And the host does not take it from one that is older than the change, whoever asks.
    lab(&world, 600, "{ settings: { MaxAuthTries: 2 } }");
    let run = begun(&mut apply_hanging(&world), &host);
    let ticket = inside(&host, "ls /var/lib/labwright/reverts | grep ^2").trim().to_string();
    let answer = confirm_over(&mut shared(&world), &ticket);
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(answer.contains("older than the change"), "{answer}");
    assert_eq!(armed(&host).lines().next(), Some(ticket.as_str()), "it still waits");
    // A new one does.
    let mut anew = world.net.command("ssh");
    anew.arg("-F").arg(world.net.ssh_config()).args(["-oControlPath=none"]);
    let answer = confirm_over(&mut anew, &ticket);
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(answer.contains("confirmed"), "{answer}");
    wait_until("nothing is armed any more", 10, || armed(&host).is_empty());
    std::fs::remove_file(world.desk.path("hang")).unwrap();
    let ran: Ran = run.wait_with_output().unwrap().into();
    ran.code(0).says("1 of 1 step done");
    master.kill().unwrap();
    master.wait().unwrap();
}

#[test]
fn a_way_back_that_cannot_be_prepared_is_a_change_that_does_not_happen() {
    let world = World::new();
    let host = world.net.systemd_host("db").unwrap();
    lab(&world, 60, "{ settings: { MaxAuthTries: 2 } }");
    inside(&host, "mv /usr/bin/systemd-run /usr/bin/systemd-run.away");
    world.run(&APPLY).code(5).says("nothing was touched").says("systemd-run");
    assert_eq!(inside(&host, &format!("cat {DROP_IN}")), "");
    assert_eq!(armed(&host), "");
    inside(&host, "mv /usr/bin/systemd-run.away /usr/bin/systemd-run");
    world.run(&APPLY).code(0);
}
