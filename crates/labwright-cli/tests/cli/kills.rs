//! Killed at random points, on either side: the next apply goes on from there, and no file is ever half-written.

use std::process::Stdio;
use std::time::Duration;

use crate::hosts::many;
use crate::world::{Desk, World};

/// A generator that gives the same numbers every time.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// Two hundred kills of the whole program, agent included, while it rewrites sixty files back and forth.
#[test]
fn two_hundred_kills_on_this_machine() {
    let desk = Desk::new("");
    let root = desk.path("things").display().to_string();
    let lab = |round: u64| {
        let mut lab = format!(
            "lab: home\ncompute:\n  hosts:\n    here:\n      local: true\n      directories:\n        {root}: {{}}\n      files:\n"
        );
        for i in 0..60 {
            lab.push_str(&format!("        {root}/f{i}: {{ content: \"{}\" }}\n", body(i, round)));
        }
        lab
    };
    fn body(i: u64, round: u64) -> String {
        format!("{i}-{round}-").repeat(2000)
    }
    let whole = |round: u64| {
        for i in 0..60u64 {
            let Ok(text) = std::fs::read_to_string(desk.path(&format!("things/f{i}"))) else { continue };
            let known = (0..=round).rev().any(|round| text == body(i, round));
            assert!(known, "f{i} is half-written in round {round}: {} bytes", text.len());
        }
    };
    let mut dice = Dice(0x5eed);
    let (mut cut_off, mut round) = (0, 0);
    for kill in 0..200 {
        if kill % 20 == 0 {
            round += 1;
            desk.lab(&lab(round));
        }
        let mut child =
            desk.command().args(["apply", "--yes"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(500 + dice.roll(60_000)));
        child.kill().unwrap();
        cut_off += u32::from(!child.wait().unwrap().success());
        whole(round);
        if kill % 20 == 19 {
            desk.run(&["apply", "--yes"]).code(0);
            desk.run(&["plan", "--exit-code"]).code(0).says("nothing to do, 61 unchanged");
            whole(round);
        }
    }
    assert!(cut_off > 100, "only {cut_off} of 200 runs were cut off: the kills come too late");
    let left: Vec<_> = std::fs::read_dir(desk.path("things"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .filter(|n| n.to_string_lossy().contains("labwright"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The same over SSH: the controller, or the agent on the host, dies while accounts and files are made.
#[test]
fn kills_of_controller_and_agent_over_ssh() {
    let world = World::new();
    let host = world.net.light_host("web").unwrap();
    world.lab(&many("web", ""));
    // Puts the program on the host, so that kills hit the work and not the upload.
    world.run(&["plan"]).code(0);
    let mut dice = Dice(0xface);
    for kill in 0..24 {
        host.ssh_stdout("rm -rf /srv/lw; userdel ada 2>/dev/null; groupdel media 2>/dev/null; true").unwrap();
        let mut child =
            world.with_ssh(&["apply", "--yes"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(60 + dice.roll(400)));
        if kill % 2 == 0 {
            child.kill().unwrap();
        } else {
            host.inside("pkill").unwrap().args(["-KILL", "-f", "labwright-[0-9a-f]* agent"]).status().unwrap();
        }
        child.wait().unwrap();
        // A useradd that was under way when its agent died may still be ending.
        let mut last = world.apply();
        for _ in 0..5 {
            if last.code == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(300));
            last = world.apply();
        }
        last.code(0);
        world.run(&["plan", "--exit-code"]).code(0).says("nothing to do, 24 unchanged");
        assert_eq!(
            host.ssh_stdout("cat /srv/lw/f*| wc -c; ls -A /srv/lw | wc -l; stat -c %U /srv/lw/f19").unwrap(),
            "150\n21\nada\n"
        );
    }
}
