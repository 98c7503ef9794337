//! A host that is full, read-only, busy or in somebody else's hands.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use labwright_testkit::{Host, HostOptions};

use crate::json::holds;
use crate::world::{Ran, World};

/// Begins an apply of a user and of a file that comes after it, and returns once it holds the host. The host's `useradd`
/// takes its time from now on; what it was before stands beside it as `useradd.real`.
fn slow_apply(world: &World, host: &Host, seconds: u32) -> Child {
    let slow = format!("#!/bin/sh\nsleep {seconds}\nexec /usr/sbin/useradd.real \"$@\"\n");
    host.ssh_stdout("mv /usr/sbin/useradd /usr/sbin/useradd.real").unwrap();
    host.write("/usr/sbin/useradd", slow).unwrap();
    host.ssh_stdout("chmod 755 /usr/sbin/useradd").unwrap();
    world.lab("lab: test\ncompute: { hosts: { web: { users: { ada: { uid: 7001 } }, files: { /etc/lw: { content: x, owner: ada } } } } }\n");
    // Puts the program on the host, so that the time goes into the work and not into the upload.
    world.run(&["plan"]).code(0);
    let mut apply = world.with_ssh(&["apply", "--yes"]);
    let mut child = apply.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !world.run(&["locks"]).out.contains("held") {
        if child.try_wait().unwrap().is_some() {
            let ran: Ran = child.wait_with_output().unwrap().into();
            panic!("the run is over already\n{}{}", ran.out, ran.err);
        }
        assert!(Instant::now() < deadline, "nobody holds it");
    }
    child
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing_half_written() {
    let world = World::new();
    let host = world.net.light_host_with("web", HostOptions::new().disk_mib(400)).unwrap();
    let old = "o".repeat(4000);
    world.lab(&format!(
        "lab: test\ncompute: {{ hosts: {{ web: {{ files: {{ /srv/lw: {{ content: \"{old}\" }} }} }} }} }}\n"
    ));
    world.apply().code(0);
    host.fill_disk().unwrap();
    let new = "n".repeat(400_000);
    world.lab(&format!(
        "lab: test\ncompute: {{ hosts: {{ web: {{ files: {{ /srv/lw: {{ content: \"{new}\" }} }} }} }} }}\n"
    ));
    let ran = world.apply();
    assert_ne!(ran.code, 0, "{}", ran.out);
    let all = format!("{}{}", ran.out, ran.err);
    assert!(all.contains("no space left") || all.contains("No space left"), "{all}");
    host.free_disk().unwrap();
    assert_eq!(host.read("/srv/lw").unwrap(), old);
    assert_eq!(host.ssh_stdout("ls -A /srv").unwrap().trim(), "lw", "a leftover");
    world.apply().code(0);
    assert_eq!(host.read("/srv/lw").unwrap(), new);
}

#[test]
fn a_read_only_root_is_told() {
    let world = World::new();
    let _host = world.net.light_host_with("web", HostOptions::new().read_only_root()).unwrap();
    world.lab("lab: test\ncompute: { hosts: { web: { files: { /srv/lw: { content: x } } } } }\n");
    let ran = world.apply();
    assert_ne!(ran.code, 0);
    ran.says("ead-only file system");
}

#[test]
fn two_applies_at_once_one_is_told_who_holds_it() {
    let world = World::new();
    let host = world.net.light_host("web").unwrap();
    let first = slow_apply(&world, &host, 4);
    world.run(&["locks"]).code(0).says("held").says("@");
    holds("locks", &world.run(&["locks", "--json"]));
    world.apply().code(5).says("`web` is held by").says("labwright locks");
    let first: Ran = first.wait_with_output().unwrap().into();
    first.code(0).says("2 of 2 steps done");
    world.run(&["locks"]).code(0).says("free");
    world.apply().code(0).says("nothing to do");
}

#[test]
fn a_holder_can_be_ended_safely() {
    let world = World::new();
    let host = world.net.light_host("web").unwrap();
    let first = slow_apply(&world, &host, 20);
    world.run(&["locks", "--break", "web"]).code(0).says("ended, and gone");
    world.run(&["locks"]).code(0).says("free");
    let first: Ran = first.wait_with_output().unwrap().into();
    first.code(5).says("unknown").says("not started");
    host.ssh_stdout("mv /usr/sbin/useradd.real /usr/sbin/useradd").unwrap();
    world.run(&["plan"]).says("was cut off").says("begun with unknown outcome");
    world.apply().code(0);
    assert_eq!(host.ssh_stdout("stat -c %U /etc/lw").unwrap(), "ada\n");
}

#[test]
fn a_host_changed_after_the_plan_is_not_touched() {
    let world = World::new();
    let host = world.net.light_host("web").unwrap();
    world.lab(
        "lab: test\ncompute: { hosts: { web: { files: { /etc/lw: { content: x }, /etc/lw2: { content: y } } } } }\n",
    );
    world.run(&["plan", "--out", "plan.json"]).code(0);
    host.write("/etc/lw", "by hand").unwrap();
    world.run(&["apply", "--yes", "--plan", "plan.json"]).code(5).says("changed since the plan was made");
    assert_eq!((host.read("/etc/lw").unwrap(), host.read("/etc/lw2").unwrap()), ("by hand".into(), "y".into()));
}

#[test]
fn an_interrupt_ends_what_was_begun_and_begins_nothing_more() {
    let world = World::new();
    let host = world.net.light_host("web").unwrap();
    let first = slow_apply(&world, &host, 3);
    // The program runs under `ip netns exec`, which becomes it: the child is the program itself.
    Command::new("kill").args(["-INT", &first.id().to_string()]).status().unwrap();
    let first: Ran = first.wait_with_output().unwrap().into();
    first.code(5).says("stopping").says("not started").says("1 of 2 steps done");
    holds("run", &world.run_offline(&["history", "--run", "last", "--json"]).says("not_started"));
    assert_eq!(host.ssh_stdout("id -un 7001; test -e /etc/lw || echo not there").unwrap(), "ada\nnot there\n");
    world.run(&["plan"]).says_not("was cut off");
    world.apply().code(0).says("1 of 1 step done");
}
