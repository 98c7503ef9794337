//! A hunt: values that stand nowhere else go wherever a secret can go, and are looked for wherever one could end up.
//!
//! Looked for are also their base64 and hexadecimal forms. Every value begins with the same plain letters, which no escape
//! of JSON, YAML or a shell changes.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use labwright_testkit::{Host, HostOptions};

use crate::secrets::until;
use crate::secrets_hosts::{MEMORY, ODD, Safe};
use crate::world::Ran;

/// What every value of one hunt begins with. Another hunt on this machine has another.
fn mark() -> String {
    format!("LWCANARY{:07}", std::process::id())
}

/// Knows what to look for.
#[derive(Clone)]
struct Hunter {
    needles: Arc<Vec<String>>,
    /// The same, one a line, where no hunt goes.
    list: Arc<tempfile::NamedTempFile>,
}

/// A text as it is and as base64 or hexadecimal digits would have it, at whatever place in a longer text.
fn forms(text: &str) -> Vec<String> {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64 = (0..3).map(|shift| {
        let all = BASE64.encode([vec![0; shift], text.as_bytes().to_vec()].concat());
        // The first and the last digits depend on what stands before and after.
        all[[0, 2, 3][shift]..(shift + text.len()) / 3 * 4].to_string()
    });
    [text.to_string(), hex.to_uppercase(), hex.clone()].into_iter().chain(base64).collect()
}

impl Hunter {
    fn new(values: &[&str]) -> Hunter {
        let needles: Vec<String> = values.iter().flat_map(|value| forms(value)).collect();
        let list = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
        fs::write(list.path(), needles.join("\n") + "\n").unwrap();
        Hunter { needles: Arc::new(needles), list: Arc::new(list) }
    }

    fn finds(&self, text: &[u8]) -> bool {
        let text = String::from_utf8_lossy(text);
        self.needles.iter().any(|needle| text.contains(needle.as_str()))
    }

    /// Files with any of it: everything below these places, or what is younger than `since`.
    fn files(&self, places: &[PathBuf], since: Option<&Path>) -> BTreeSet<String> {
        let mut find = Command::new("find");
        find.args(places).args(["(", "-name", "proc", "-o", "-name", "sys", ")", "-prune", "-o", "-type", "f"]);
        if let Some(since) = since {
            find.arg("-newer").arg(since);
        }
        find.args(["-exec", "grep", "-laF", "-f"]).arg(self.list.path()).args(["{}", "+"]);
        let found = String::from_utf8(find.output().unwrap().stdout).unwrap();
        let own = self.list.path().display().to_string();
        found.lines().filter(|path| *path != own).map(str::to_string).collect()
    }

    /// Files of a host with any of it, its memory included.
    fn host_files(&self, host: &Host) -> BTreeSet<String> {
        let root = host.root_path().unwrap();
        let places: Vec<PathBuf> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
        let places: Vec<PathBuf> = places.into_iter().filter(|path| path.is_dir() && !path.is_symlink()).collect();
        let root = root.display().to_string();
        self.files(&places, None).iter().map(|path| path.strip_prefix(&root).unwrap().to_string()).collect()
    }

    /// Command lines and environments of all processes of this machine, and of the hosts on it, with any of it.
    fn processes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let process = entry.path();
            let name = entry.file_name();
            if !name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            // First, since a process may end at any time and then tells nothing more.
            let group = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
            let command = fs::read_to_string(process.join("comm")).unwrap_or_default();
            // A unit's own processes have what the lab declares for it.
            for (what, allowed) in [("cmdline", &[][..]), ("environ", &["TOKEN=", "ODD="][..])] {
                let Ok(bytes) = fs::read(process.join(what)) else { continue };
                for part in bytes.split(|byte| *byte == 0).filter(|part| self.finds(part)) {
                    let unit = ["/app.service", "/slow.service"].iter().any(|unit| group.contains(unit));
                    let own = unit && allowed.iter().any(|name| part.starts_with(name.as_bytes()));
                    if !own {
                        found.push(format!(
                            "{what} of {}: {}",
                            command.trim(),
                            String::from_utf8_lossy(&part[..part.len().min(60)])
                        ));
                    }
                }
            }
        }
        found
    }

    /// Looks at all processes again and again.
    fn watch(&self) -> Watch {
        let (hunter, stop, rounds) = (self.clone(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (stopped, counted) = (stop.clone(), rounds.clone());
        let thread = std::thread::spawn(move || {
            let mut found = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                found.extend(hunter.processes());
                counted.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(4));
            }
            found
        });
        Watch { stop, rounds, thread }
    }
}

struct Watch {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU32>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl Watch {
    /// What was found, and how often it was looked for.
    fn end(self) -> (BTreeSet<String>, u32) {
        self.stop.store(true, Ordering::Relaxed);
        (self.thread.join().unwrap(), self.rounds.load(Ordering::Relaxed))
    }
}

#[test]
fn the_hunter_finds_what_is_planted() {
    let mark = format!("control-{}", mark());
    let hunter = Hunter::new(&[&mark, "another-value"]);
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{{\"a\":\"{mark}-1\\n\\\"\"}}");
    for before in ["", "x", "xy", "xyz"] {
        let text = format!("{before}{text}");
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        for (name, form) in [
            ("plain", text.clone()),
            ("base64", BASE64.encode(&text)),
            ("hex", hex.clone()),
            ("HEX", hex.to_uppercase()),
        ] {
            assert!(hunter.finds(form.as_bytes()), "{name} behind {before:?}");
            let path = folder.path().join("deep").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, [b"\0\xff", form.as_bytes(), b"\0"].concat()).unwrap();
            assert_eq!(hunter.files(&[folder.path().to_path_buf()], None), [path.display().to_string()].into());
            fs::remove_file(path).unwrap();
        }
    }
    assert!(!hunter.finds(&mark.as_bytes()[1..]));

    let quiet = hunter.processes();
    assert!(quiet.is_empty(), "{quiet:?}");
    let watch = hunter.watch();
    let mut told = Command::new("sh").args(["-c", "read never", &mark]).stdin(Stdio::piped()).spawn().unwrap();
    let mut given = Command::new("sh");
    given.args(["-c", "read never"]).env("OTHER", format!("x{mark}")).stdin(Stdio::piped());
    let mut given = given.spawn().unwrap();
    until("both are seen", || hunter.processes().len() >= 2);
    std::thread::sleep(Duration::from_millis(50));
    for child in [&mut told, &mut given] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (found, _) = watch.end();
    let found: Vec<&str> = found.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert!(found.contains(&"cmdline of sh") && found.contains(&"environ of sh"), "{found:?}");
}

#[test]
fn nothing_of_the_same_user_looks_into_the_program() {
    // Linux gives the `/proc` of what may not be dumped to root, whoever runs it.
    let owner = |program: &str, args: &[&str]| {
        let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
        let mut command = Command::new("setpriv");
        command.args(user).arg(program).args(args).env("LABWRIGHT_STATE_DIR", "/nowhere").stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let exe = || fs::read_link(format!("/proc/{}/exe", child.id())).unwrap_or_default();
        let real = fs::canonicalize(program).unwrap();
        until("it runs", || exe() == real);
        std::thread::sleep(Duration::from_millis(100));
        let owner = fs::metadata(format!("/proc/{}/environ", child.id())).unwrap().uid();
        drop(child.kill());
        child.wait().unwrap();
        owner
    };
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("labwright");
    fs::copy(env!("CARGO_BIN_EXE_labwright"), &program).unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(owner("/usr/bin/sleep", &["30"]), 65534, "so that the next line means something");
    assert_eq!(owner(&program.display().to_string(), &["agent"]), 0);
}

/// The lab of the hunt. `more` stands among its units.
fn lab(more: &str) -> (String, String) {
    let secrets = "    generate:\n      made: { kind: password, length: 40 }\n      wg: wireguard\n".to_string();
    let hosts = format!(
        r#"compute:
  hosts:
    web:
      users: {{ app: {{ system: true, shell: /usr/sbin/nologin }} }}
      directories: {{ /etc/app: {{}} }}
      files:
        /etc/app/conf: {{ content: "a=${{secret.file}}\nb=${{secret.odd}}\nc=${{secret.made}}\n", owner: app }}
        /etc/app/wg.key: {{ content: "${{secret.wg}}" }}
        /etc/app/wg.pub: {{ content: "${{public.wg}}" }}
      units:
        app.service:
          content: |
            [Service]
            User=app
            ExecStart=/bin/sh -c 'test -s "$CREDENTIALS_DIRECTORY/key" && exec sleep infinity'
          running: true
          environment: {{ TOKEN: "${{secret.env}}", ODD: "${{secret.odd}}" }}
          credentials: {{ key: "${{secret.cred}}", made: "${{secret.made}}" }}
{more}"#
    );
    (secrets, hosts)
}

#[test]
fn no_secret_is_anywhere_but_where_it_belongs() {
    let (safe, mark) = (Safe::new(), mark());
    let host =
        safe.world.net.systemd_host_with("web", HostOptions::new().disk_mib(900).sshd_line("LogLevel DEBUG3")).unwrap();
    let desk = &safe.world.desk;
    let stamp = desk.path("stamp");
    fs::write(&stamp, "").unwrap();
    fs::create_dir(desk.path("tmp")).unwrap();
    let verbose = format!("LogLevel DEBUG3\n{}", fs::read_to_string(safe.world.net.ssh_config()).unwrap());
    desk.write("ssh_config", verbose);
    // Cores are written where nobody forbids it.
    host.write("/etc/security/limits.d/test.conf", "root soft core unlimited\nroot hard core unlimited\n").unwrap();
    let cores = || {
        host.ssh_stdout("find / -xdev -name 'core*' -type f -newer /etc/machine-id -size +0 -not -path '/sys/*'")
            .unwrap()
    };
    let piped = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap().starts_with('|');
    host.ssh_stdout("cd /root && sh -c 'kill -SEGV $$'; true").unwrap();
    assert!(
        piped || cores().contains("/root/core"),
        "cores are not written here, so that none of ours means nothing: {}",
        cores()
    );
    host.ssh_stdout("rm -f /root/core*").unwrap();

    let write = |more: &str| {
        let (secrets, hosts) = lab(more);
        safe.lab(&secrets, &hosts);
    };
    write("");
    for name in ["file", "env", "cred"] {
        safe.set(name, &format!("{mark}-{name}-0123456789"));
    }
    safe.set("odd", &format!("{mark}-odd-{ODD}\u{7f}\u{1}\u{feff}\u{202e}"));
    safe.set("spoken", "what-a-service-says-aloud");
    safe.run(&["secret", "generate"]).code(0);
    let (made, wg) = (safe.get("made"), safe.get("wg"));
    let hunter = Hunter::new(&[&mark, &made[..20], &wg[..20]]);
    let spoken = Hunter::new(&["what-a-service-says-aloud"]);
    assert_eq!((hunter.processes(), hunter.host_files(&host)), (Vec::new(), BTreeSet::new()));

    let mut heard = String::new();
    let mut hear = |ran: Ran| {
        assert!(
            !hunter.finds(ran.out.as_bytes()) && !hunter.finds(ran.err.as_bytes()),
            "it is told:\n{}\n{}",
            ran.out,
            ran.err
        );
        assert!(
            !spoken.finds(ran.out.as_bytes()) && !spoken.finds(ran.err.as_bytes()),
            "it is told:\n{}\n{}",
            ran.out,
            ran.err
        );
        heard.push_str(&ran.out);
        heard.push_str(&ran.err);
        ran
    };
    let command = |args: &[&str]| {
        let mut command = safe.world.command();
        command.args(args).env("TMPDIR", desk.path("tmp")).env("RUST_BACKTRACE", "full");
        if !matches!(args[0], "check" | "inventory" | "secret" | "history") {
            command.arg("--ssh-config").arg(desk.path("ssh_config"));
        }
        command
    };
    let run = |args: &[&str]| -> Ran { command(args).output().unwrap().into() };

    let watch = hunter.watch();
    let looks: &[&[&str]] = &[
        &["check"],
        &["check", "--json"],
        &["plan"],
        &["plan", "--json"],
        &["plan", "--format", "markdown"],
        &["plan", "--full"],
        &["plan", "--out", "plan.json"],
        &["drift"],
        &["drift", "--json"],
        &["show", "desired"],
        &["show", "desired", "--json"],
        &["show", "observed"],
        &["show", "plan"],
        &["show", "model"],
        &["show", "model", "--json"],
        &["history"],
        &["inventory", "--json"],
        &["secret", "list"],
        &["secret", "list", "--json"],
        &["secret", "doctor"],
        &["secret", "doctor", "--json"],
        &["locks"],
    ];
    for args in looks {
        let ran = hear(run(args));
        assert!(matches!(ran.code, 0 | 3 | 4), "{args:?}: {}\n{}", ran.code, ran.err);
    }
    hear(run(&["apply", "--yes", "--plan", "plan.json", "--json"])).code(0);
    assert_eq!(host.ssh_stdout("systemctl is-active app").unwrap(), "active\n");
    let everything: BTreeSet<String> = [
        "etc/app/conf",
        "etc/app/wg.key",
        "etc/labwright/app.service.environment",
        "etc/labwright/app.service.credential.key",
        "etc/labwright/app.service.credential.made",
    ]
    .map(|path| format!("{MEMORY}/{path}"))
    .into();
    let elsewhere = |host: &Host| {
        let mut found = hunter.host_files(host);
        assert!(everything.is_subset(&found), "the search does not find what is there: {found:?}");
        // systemd's own copy of a credential, in memory and for the service alone.
        found.retain(|path| !everything.contains(path) && !path.starts_with("/run/credentials/app.service/"));
        found
    };
    assert_eq!(elsewhere(&host), BTreeSet::new());
    for args in looks {
        hear(run(args));
    }

    // An edit by hand, new values, an apply in words.
    host.ssh_stdout("echo by-hand >>/etc/app/conf").unwrap();
    hear(run(&["drift", "--json"])).code(4);
    hear(run(&["drift"])).code(4);
    hear(run(&["plan", "--full"])).code(0);
    safe.set("env", &format!("{mark}-env-9876543210"));
    safe.set("file", &format!("{mark}-file-{}", "long ".repeat(2000)));
    hear(run(&["plan", "--full"])).code(0).says("changed (not shown)");
    hear(run(&["apply", "--yes", "--full"])).code(0);

    // Applies that fail: a full disk, a service that repeats what it was given, an agent that dies at work.
    host.fill_disk().unwrap();
    safe.set("cred", &format!("{mark}-cred-{}", "long ".repeat(20_000)));
    let full = hear(run(&["apply", "--yes"]));
    assert_ne!(full.code, 0, "{}", full.out);
    host.free_disk().unwrap();
    write(
        "        bad.service:\n          content: |\n            [Service]\n            ExecStart=/bin/sh -c 'echo \"I was given $TOKEN\"; exit 3'\n          running: true\n          environment: { TOKEN: \"${secret.spoken}\" }\n",
    );
    hear(run(&["apply", "--yes"])).code(5).says("I was given (secret `spoken`)");
    hear(run(&["apply", "--yes", "--json"])).code(5);
    write(
        "        slow.service:\n          content: |\n            [Service]\n            ExecStartPre=/bin/sleep 2\n            ExecStart=/bin/sleep infinity\n          running: true\n          environment: { TOKEN: \"${secret.cred}\" }\n",
    );
    let begun = command(&["apply", "--yes"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let starting = || host.ssh_stdout("systemctl is-active slow; true").unwrap() == "activating\n";
    until("the unit starts", starting);
    let agent = host.ssh_stdout("pkill -ABRT -f 'labwright-[0-9a-f]* agent' && echo ended").unwrap();
    assert_eq!(agent, "ended\n");
    hear(Ran::from(begun.wait_with_output().unwrap())).code(5).says("unknown");
    assert_eq!(cores(), "", "the agent left its memory on the disk");
    for args in
        [&["history"][..], &["history", "--run", "last", "--json"], &["plan"], &["show", "observed"], &["drift"]]
    {
        hear(run(args));
    }
    until("the slow unit is up", || host.ssh_stdout("systemctl is-active slow; true").unwrap() == "active\n");
    hear(run(&["apply", "--yes"])).code(0);
    write("");
    hear(run(&["apply", "--yes", "--prune", "--release-brake", "--approve", "downtime"])).code(0);
    hear(run(&["plan", "--exit-code"])).code(0);

    let (seen, rounds) = watch.end();
    assert_eq!(seen, BTreeSet::new());
    assert!(rounds > 100, "looked only {rounds} times");
    assert!(heard.len() > 50_000, "too little was said to mean anything: {} bytes", heard.len());
    assert_eq!(elsewhere(&host), BTreeSet::new());
    let places = [desk.dir.path().to_path_buf(), safe.world.net.dir().to_path_buf()];
    assert_eq!(hunter.files(&places, None), BTreeSet::new());
    assert_eq!(spoken.files(&places, None), BTreeSet::new(), "the journal of the service is its own; this is ours");
    assert_eq!(
        hunter.files(&["/tmp", "/dev/shm", "/run", "/var/tmp"].map(PathBuf::from), Some(&stamp)),
        BTreeSet::new()
    );
    // Journals are packed on the disk: as texts too.
    let journal = host.inside("journalctl").unwrap().args(["--no-pager", "-o", "export"]).output().unwrap().stdout;
    assert!(String::from_utf8_lossy(&journal).contains("debug3"), "sshd was to say all it can");
    assert!(
        spoken.finds(&journal) && !hunter.finds(&journal),
        "the journal has one of ours, or not even what a service said"
    );
    desk.write("control", format!("x{mark}"));
    assert_eq!(hunter.files(&places, None).len(), 1);
}
