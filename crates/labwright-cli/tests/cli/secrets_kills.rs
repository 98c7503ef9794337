//! Killed at random points while secrets change: the store is the old one or the new one, and nothing is in the clear.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::kills::Dice;
use crate::secrets::{ADA, BOB, Book, two_admins};
use crate::secrets_hosts::Safe;

/// How long it takes when nobody kills it.
fn whole(command: &mut Command) -> u64 {
    let begun = Instant::now();
    let ended = command.stdin(Stdio::null()).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    begun.elapsed().as_micros() as u64
}

/// Kills at random points of a run, wherever those are: how long a run takes depends on what else this machine does.
struct Kills {
    dice: Dice,
    length: u64,
    cut_off: u32,
}

impl Kills {
    fn new(seed: u64, length: u64) -> Kills {
        Kills { dice: Dice(seed), length, cut_off: 0 }
    }

    /// Starts it in a process group of its own, and kills all of that after a while.
    fn next(&mut self, command: &mut Command) {
        use std::os::unix::process::CommandExt;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child: Child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_micros(self.dice.roll(self.length)));
        // One that ended meanwhile has no group to kill.
        drop(Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).stderr(Stdio::null()).status());
        let in_time = !child.wait().unwrap().success();
        self.cut_off += u32::from(in_time);
        self.length = if in_time { self.length + self.length / 100 } else { self.length - self.length / 20 };
    }
}

/// The files below a folder that hold this text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let found = Command::new("grep").args(["-rlF", "--", text]).arg(folder).output().unwrap();
    String::from_utf8(found.stdout).unwrap().lines().map(str::to_string).collect()
}

#[test]
fn fifty_kills_of_an_edit() {
    let book = Book::new(&two_admins());
    book.run(&["secret", "init"]).code(0);
    book.set("a", "canary-of-the-edit-0").code(0);
    let temporary = book.desk.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let edit = |round: u64| {
        let editor =
            book.editor(&format!("sleep 0.01\nsed -i 's/canary-of-the-edit-.*/canary-of-the-edit-{round}/' \"$1\""));
        let mut command = book.command(&["secret", "edit"]);
        command.env("EDITOR", editor).env("TMPDIR", &temporary);
        command
    };
    let length = whole(&mut edit(1));
    let mut now = book.get("a");
    assert_eq!(now, "canary-of-the-edit-1");
    let (mut kills, mut round, mut changed) = (Kills::new(0xed17, length), 1, 0);
    while kills.cut_off < 50 {
        round += 1;
        let before = book.store();
        kills.next(&mut edit(round));
        // To open it is to check every value and the seal over all of them.
        let value = book.get("a");
        assert!(value == now || value == format!("canary-of-the-edit-{round}"), "{value:?} after {now:?}");
        assert!(value != now || book.store() == before, "half of it was written");
        changed += u32::from(value != now);
        now = value;
    }
    assert!(changed >= 3 && round < 200, "{changed} of {round} went through: the kills come at the wrong time");
    // The editor's script has the value in the clear, which shows that this search finds it.
    assert_eq!(
        files_with(book.desk.dir.path(), "canary-of-the-edit"),
        [book.desk.path("editor").display().to_string()]
    );
    whole(&mut edit(round + 1));
    let beside = book.beside();
    assert!(beside.is_empty(), "the next edit sweeps what the kills left beside the store: {beside:?}");
    assert!(
        files_with(book.memory.path(), "canary-of-the-edit").is_empty(),
        "the next edit wipes what the kills left in memory"
    );
}

#[test]
fn fifty_kills_of_a_rekey() {
    let both = two_admins();
    let alone = format!("    admins: {{ ada: {} }}\n", ADA.public);
    let book = Book::new(&both);
    book.run(&["secret", "init"]).code(0);
    book.set("a", "canary-of-the-rekey").code(0);
    let length = whole(&mut book.command(&["secret", "rekey", "--fresh"]));
    let (mut kills, mut round, mut changed) = (Kills::new(0x4e1, length), 0, 0);
    while kills.cut_off < 50 {
        round += 1;
        book.lab(if round % 2 == 0 { &alone } else { &both });
        let before = book.store();
        kills.next(&mut book.command(&["secret", "rekey", "--fresh"]));
        assert_eq!(book.get("a"), "canary-of-the-rekey");
        let after = book.store();
        if after != before {
            changed += 1;
            assert_eq!(after.contains(BOB.public), round % 2 == 1, "it is neither the old nor the new one");
        }
    }
    assert!(changed >= 3 && round < 200, "{changed} of {round} went through: the kills come at the wrong time");
    assert!(files_with(book.desk.dir.path(), "canary-of-the-rekey").is_empty());
    book.desk.write("control", "canary-of-the-rekey");
    assert_eq!(files_with(book.desk.dir.path(), "canary-of-the-rekey").len(), 1);
    book.lab(&alone);
    book.run(&["secret", "rekey"]).code(0);
    book.key(&BOB);
    book.run(&["secret", "get", "a"]).code(2);
}

#[test]
fn thirty_kills_of_a_rotation() {
    let safe = Safe::new();
    let host = safe.world.net.systemd_host("web").unwrap();
    // Units that are up as soon as they have said what they were given.
    let unit = |name: &str, more: &str| {
        format!(
            "        {name}.service:\n          content: |\n            {more}[Service]\n            Type=oneshot\n            RemainAfterExit=yes\n            ExecStart=/bin/sh -c 'printf %%s \"$TOKEN\" >/run/{name}.token'\n          running: true\n          environment: {{ TOKEN: \"${{secret.token}}\" }}\n"
        )
    };
    let (first, second) = (unit("first", ""), unit("second", "[Unit]\n            After=first.service\n            "));
    safe.lab(
        "    generate: { token: { kind: password, length: 32 } }\n",
        &format!("compute:\n  hosts:\n    web:\n      units:\n{first}{second}"),
    );
    safe.run(&["secret", "generate"]).code(0);
    safe.world.apply().code(0);
    let rotate = || safe.world.with_ssh(&["secret", "rotate", "--yes", "token"]);
    let length = whole(&mut rotate());
    let left = safe.world.desk.path("secrets.yaml.before-rotation");
    let (mut kills, mut round, mut taken_up) = (Kills::new(0x707a7e, length), 0, [0, 0]);
    while kills.cut_off < 30 {
        round += 1;
        let (before, old) = (safe.store(), safe.get("token"));
        kills.next(&mut rotate());
        let new = safe.get("token");
        assert!(new.len() == 32 && (new != old || safe.store() == before), "half of the store is new");
        if left.exists() {
            assert_eq!(fs::read_to_string(&left).unwrap(), before, "what it goes back to is not what was there");
            let (how, expected) = if round % 2 == 0 { ("--undo", &old) } else { ("--finish", &new) };
            taken_up[round % 2] += 1;
            let refused = safe.run(&["secret", "generate"]).code(2);
            refused.says("a rotation did not come to its end").says(how);
            // The host may still be at what the killed run had begun.
            let resume = || safe.world.run(&["secret", "rotate", "--yes", how]);
            let mut last = resume();
            for _ in 0..20 {
                if last.code == 0 {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
                last = resume();
            }
            last.code(0).says("and the hosts agree again");
            assert_eq!(&safe.get("token"), expected);
        }
        let now = safe.get("token");
        assert_eq!(host.read("/run/first.token").unwrap(), now, "round {round}");
        assert_eq!(host.read("/run/second.token").unwrap(), now, "round {round}");
        assert!(!left.exists());
        if round % 5 == 4 {
            safe.world.run(&["plan", "--exit-code"]).code(0);
            assert_eq!(host.ssh_stdout("systemctl is-active first second").unwrap(), "active\nactive\n");
        }
    }
    assert!(
        taken_up.iter().all(|n| *n >= 4) && round < 90,
        "{taken_up:?} of {round} taken up: the kills come at the wrong time"
    );
    safe.world.run(&["plan", "--exit-code"]).code(0);
}
