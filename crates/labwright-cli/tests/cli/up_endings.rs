//! How a lab on this machine ends: asked to, cut off, killed; and what the output of its processes may cost it.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::up::{Here, in_order, is_alive, signal, until};

#[test]
fn in_the_foreground_it_follows_and_ends_with_ctrl_c() {
    let here = in_order("");
    let mut up = here.foreground(&[]);
    until("all are well", || here.read("err").contains("3 of 3 are well"));
    until("what they say", || here.read("out").contains("second | hello from second"));
    let pids: Vec<i64> = ["first", "second", "third"].iter().map(|name| here.pid(name)).collect();
    signal(i64::from(up.id()), "INT");
    assert_eq!(up.wait().unwrap().code(), Some(0), "{}", here.read("err"));
    assert!(here.read("err").contains("stopping everything in order"), "{}", here.read("err"));
    assert!(here.read("log").ends_with("stop third\nstop second\nstop first\n"));
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
}

#[test]
fn a_closed_terminal_ends_everything_and_a_second_signal_kills() {
    let here = in_order(
        "  stubborn: { on: box, run: { command: [/bin/sh, -c, \"trap '' TERM; while :; do sleep 0.1; done\"] } }\n",
    );
    let mut up = here.foreground(&[]);
    until("all are well", || here.read("err").contains("4 of 4 are well"));
    let pid = here.pid("stubborn");
    signal(i64::from(up.id()), "INT");
    until("it says so", || here.read("err").contains("stopping everything"));
    signal(i64::from(up.id()), "INT");
    let began = Instant::now();
    assert_eq!(up.wait().unwrap().code(), Some(0), "{}", here.read("err"));
    assert!(began.elapsed() < Duration::from_secs(8) && !is_alive(pid));

    let mut up = here.foreground(&[]);
    until("all are well again", || here.read("err").contains("4 of 4 are well"));
    let pids: Vec<i64> = ["first", "third"].iter().map(|name| here.pid(name)).collect();
    signal(i64::from(up.id()), "HUP");
    up.wait().unwrap();
    until("all are gone", || pids.iter().all(|pid| !is_alive(*pid)));
    until("it is down", || here.desk.run(&["ps"]).code == 7);
    assert!(here.read("log").ends_with("stop third\nstop second\nstop first\n"), "{}", here.read("log"));
}

#[test]
fn who_does_not_end_is_killed() {
    let here = Here::new(
        "  deaf: { on: box, up: { stop_within: 300ms }, run: { command: [/bin/sh, -c, \"trap '' TERM; while :; do sleep 0.1; done\"] } }\n",
    );
    here.up(&[]).code(0);
    let pid = here.pid("deaf");
    let began = Instant::now();
    here.down().code(0);
    assert!(!is_alive(pid) && began.elapsed() < Duration::from_secs(5));
    here.desk.run(&["logs", "--here", "deaf"]).says("it did not end when it was told to (SIGTERM), and is killed");
}

#[test]
fn a_flood_and_a_binary_log_hold_nobody_up() {
    let here = Here::new(
        "  flood: { on: box, run: { command: [/bin/sh, -c, 'exec yes a line that says nothing at all, over and over again'] } }\n\
         \x20 binary: { on: box, run: { command: [/bin/sh, -c, 'head -c 300000 /dev/urandom; exec sleep infinity'] } }\n\
         \x20 calm: { on: box, run: { command: [/bin/sh, -c, 'while :; do echo calm; sleep 0.05; done'] } }\n",
    );
    here.up(&[]).code(0);
    std::thread::sleep(Duration::from_secs(3));
    here.desk.run(&["logs", "--here", "calm", "-n", "3"]).code(0).says("calm | calm");
    let binary = here.desk.run(&["logs", "--here", "binary"]).code(0);
    assert!(!binary.out.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')), "nothing that a terminal obeys");
    let pid = here.state()["pid"].as_i64().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident: u64 =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok()).unwrap();
    assert!(resident < 120_000, "{resident} kB");
    let sizes: Vec<u64> = fs::read_dir(here.folder().join("logs"))
        .unwrap()
        .map(|file| file.unwrap())
        .filter(|file| file.file_name().to_string_lossy().starts_with("flood"))
        .map(|file| file.metadata().unwrap().len())
        .collect();
    assert!(sizes.iter().sum::<u64>() < 20 << 20, "{sizes:?}");
    here.down().code(0);
}

#[test]
fn a_supervisor_that_is_killed_leaves_nothing_behind() {
    let more = "  deep: { on: box, run: { command: [/bin/sh, -c, 'setsid sleep 8191 & sleep 8192 & while :; do sleep 0.1; done'] } }\n";
    let here = in_order(more);
    let deep = || {
        let found = Command::new("pgrep").args(["-f", "^sleep 819[12]$"]).output().unwrap();
        String::from_utf8_lossy(&found.stdout).lines().count()
    };
    let mut up = here.foreground(&[]);
    until("all are well", || here.read("err").contains("4 of 4 are well"));
    until("they are there", || deep() == 2);
    let pids: Vec<i64> = ["first", "second", "third", "deep"].iter().map(|name| here.pid(name)).collect();
    signal(here.state()["pid"].as_i64().unwrap(), "KILL");
    assert_eq!(up.wait().unwrap().code(), Some(1));
    assert!(here.read("err").contains("the supervisor was killed"), "{}", here.read("err"));
    until("all are gone", || pids.iter().all(|pid| !is_alive(*pid)) && deep() == 0);

    // Together with the process that sees to that: the next one does.
    here.up(&[]).code(0).says("4 of 4 are well");
    until("they are there", || deep() == 2);
    let pids: Vec<i64> = ["first", "second", "third", "deep"].iter().map(|name| here.pid(name)).collect();
    let supervisor = here.state()["pid"].as_i64().unwrap();
    let stat = fs::read_to_string(format!("/proc/{supervisor}/stat")).unwrap();
    let guard: i64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(
        Command::new("kill").args(["-KILL", &guard.to_string(), &supervisor.to_string()]).status().unwrap().success()
    );
    until("it is gone", || !is_alive(supervisor) && !is_alive(guard));
    assert!(pids.iter().any(|pid| is_alive(*pid)), "nobody was there to end them");
    here.up(&[]).code(0).says("the last run was killed; ended what it had left").says("`deep`").says("4 of 4 are well");
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    assert_eq!(deep(), 2, "those of the new run alone");
    here.down().code(0);
    until("all are gone", || deep() == 0);
}

#[test]
fn a_full_disk_costs_the_log_and_nothing_else() {
    let here = Here::new(
        "  loud: { on: box, run: { command: [/bin/sh, -c, 'while :; do head -c 20000 /dev/zero | tr \"\\\\0\" x; echo; sleep 0.02; done'] } }\n",
    );
    let state = here.desk.path("state");
    fs::create_dir_all(&state).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=400k", "none"]).arg(&state).status().unwrap();
    assert!(mounted.success(), "needs root");
    let up = here.up(&[]);
    let end = Instant::now() + Duration::from_secs(30);
    let mut files = 0;
    let mut full = || {
        files += 1;
        fs::write(state.join(format!("more-{files}")), vec![0; 8 << 10]).is_err()
    };
    while !full() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(500));
    let is_full = full();
    let (phase, log) = (here.unit("loud")["phase"].clone(), here.desk.run(&["logs", "--here", "loud", "-n", "2"]));
    let down = here.down();
    assert!(Command::new("umount").arg("-l").arg(&state).status().unwrap().success());
    up.code(0);
    assert!(is_full);
    assert_eq!(phase, "ready");
    log.code(0).says("xxxx");
    down.code(0);
}
