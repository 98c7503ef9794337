//! "A plan writes nothing", watched call by call on a host with real systemd and real packages.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use labwright_testkit::{AptRepo, Host, Package};

use crate::trace::{OPTIONS, writes};
use crate::world::{Ran, World};

/// The program on the host, and its lab.
const PROGRAM: &str = "/usr/local/bin/labwright";
const LAB: &str = "/root/lab.yaml";

/// A run of labwright on the host itself, under strace.
struct Traced {
    ran: Ran,
    /// Every call that wrote.
    writes: Vec<String>,
    /// All that strace wrote down.
    trace: String,
}

fn traced(world: &World, host: &Host, args: &[&str]) -> Traced {
    let trace = world.desk.path("trace");
    let entered = host.inside(PROGRAM).unwrap();
    let mut command = Command::new("strace");
    command.args(OPTIONS).arg("-o").arg(&trace).arg(entered.get_program()).args(entered.get_args()).args(args).arg(LAB);
    command.env_clear().envs(entered.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("COLUMNS", OsStr::new("100")).stdin(Stdio::null());
    let output = command.output().expect("`strace` (package strace) is missing; run scripts/test-deps");
    let trace = String::from_utf8_lossy(&fs::read(&trace).unwrap()).into_owned();
    Traced { ran: output.into(), writes: writes(&trace, PROGRAM), trace }
}

fn host_with_the_program(world: &World) -> Host {
    let host = world.net.systemd_host("db").unwrap();
    let there = host.root_path().unwrap().join(PROGRAM.trim_start_matches('/'));
    fs::copy(env!("CARGO_BIN_EXE_labwright"), &there).unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o755)).unwrap();
    let repo = AptRepo::new(&world.net).unwrap();
    repo.publish(&Package::new("lw-hello", "1.0").file("/usr/share/lw-hello/text", "hello\n")).unwrap();
    repo.enable_on(&host).unwrap();
    host.write(LAB, LAB_TEXT).unwrap();
    host
}

/// Every kind of thing that a host can have.
const LAB_TEXT: &str = r#"lab: test
compute:
  hosts:
    db:
      local: true
      packages: [lw-hello, cron]
      groups: { media: { gid: 7001 } }
      users:
        ada: { uid: 7001, keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHwcdxhdGDcSGUfBRIcXUFU5PCqBv7tKUX7y0FtNq2cF ada@desk"] }
      directories: { /srv/lw: { mode: "0750", owner: ada, group: media } }
      files:
        /srv/lw/motd: { content: "hello\n", owner: ada }
        /srv/lw/key: { content: "private\n", mode: "0600" }
      symlinks: { /srv/lw/link: motd }
      units:
        lw.service:
          content: |
            [Service]
            ExecStart=/bin/sleep infinity
            [Install]
            WantedBy=multi-user.target
          enabled: true
          running: true
      mounts: { /mnt/scratch: { device: tmpfs, fstype: tmpfs, options: "size=1m" } }
      sysctl: { net.ipv4.ip_forward: "0" }
      hostname: db
      sshd: true
"#;

const QUIET: &[&[&str]] = &[
    &["plan"],
    &["plan", "--json"],
    &["plan", "--prune"],
    &["drift"],
    &["check"],
    &["show", "model"],
    &["show", "desired"],
    &["show", "observed"],
    &["show", "plan"],
    &["inventory"],
    &["history"],
    &["locks"],
];

#[test]
fn a_plan_writes_nothing_before_an_apply_and_after_it() {
    let world = World::new();
    let host = host_with_the_program(&world);
    let quiet = |when: &str| {
        for args in QUIET {
            let Traced { ran, writes, trace } = traced(&world, &host, args);
            let ran = ran.code(0);
            assert!(writes.is_empty(), "`{}` {when}\n{}\n{}", args.join(" "), writes.join("\n"), ran.out);
            // What it asks other programs is watched as well.
            for question in ["\"dpkg-query\", ", "\"systemctl\", \"show\", "] {
                assert!(*args != ["plan"] || trace.contains(question), "{question} was not asked {when}");
            }
        }
    };
    quiet("on a host that nobody prepared");
    let untouched = host.ssh_stdout("test ! -e /var/lib/labwright && test ! -e /srv/lw && echo untouched").unwrap();
    assert_eq!(untouched, "untouched\n");

    let Traced { ran, writes, .. } = traced(&world, &host, &["apply", "--yes", "--approve", "cuts-management"]);
    ran.code(0).says("steps done");
    // The net, made to fire: what an apply does is seen, each in its own way.
    for seen in
        ["useradd", "/srv/lw", "\"/var/lib/labwright", "daemon-reload", "renameat", "symlinkat", "apt-get", "AF_INET"]
    {
        assert!(writes.iter().any(|call| call.contains(seen)), "`{seen}` was not seen to write\n{}", writes.join("\n"));
    }

    traced(&world, &host, &["plan"]).ran.code(0).says("nothing to do");
    quiet("with nothing to do");
}
