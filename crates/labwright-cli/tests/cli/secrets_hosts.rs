//! Secrets on real hosts over SSH: delivered to exactly whom they are for, kept in memory, back after a reboot, rotated.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use expect_test::expect;
use labwright_testkit::Host;

use crate::secrets::{ADA, feed};
use crate::world::{Ran, World};

/// A test lab with a store beside the lab file, and Ada's key where SOPS looks for it.
pub struct Safe {
    pub world: World,
}

/// Where hosts keep what is secret.
pub const MEMORY: &str = "/run/labwright/secrets/test";

impl Safe {
    pub fn new() -> Safe {
        let safe = Safe { world: World::new() };
        let folder = safe.world.net.dir().join("home/.config/sops/age");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("keys.txt"), ADA.private).unwrap();
        fs::set_permissions(folder.join("keys.txt"), fs::Permissions::from_mode(0o600)).unwrap();
        safe.lab("", "compute: {}\n");
        safe.run(&["secret", "init"]).code(0);
        safe
    }

    /// `secrets` stands below `platform.secrets`, the rest at the top.
    pub fn lab(&self, secrets: &str, rest: &str) {
        self.world.lab(&format!(
            "lab: test\nplatform:\n  secrets:\n    age: secrets.yaml\n    admins: {{ ada: {} }}\n{secrets}{rest}",
            ADA.public
        ));
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.world.run_offline(args)
    }

    pub fn set(&self, name: &str, value: &str) {
        let mut command = self.world.command();
        command.args(["secret", "set", name]);
        feed(command, value).code(0);
    }

    pub fn get(&self, name: &str) -> String {
        self.run(&["secret", "get", "-n", name]).code(0).out
    }

    pub fn store(&self) -> String {
        fs::read_to_string(self.world.desk.path("secrets.yaml")).unwrap()
    }
}

/// Everything that means something somewhere on the way: to a shell, to systemd, to YAML and JSON.
pub const ODD: &str = "quo\"te \\back $dollar ${brace} `tick` #hash 'single' %n\n second line\tü \u{1F600} ;end\\";

/// A service that goes on only if it was given exactly these values.
fn strict(token: &str, tls: &str, after: &str) -> String {
    let hash = |text: &str| sha256(text.as_bytes());
    format!(
        "#!/bin/sh\n[ \"$(printf %s \"$TOKEN\" | sha256sum)\" = '{}  -' ] || exit 11\n[ \"$(sha256sum <\"$CREDENTIALS_DIRECTORY/tls\")\" = '{}  -' ] || exit 12\n{after}exec sleep infinity\n",
        hash(token),
        hash(tls)
    )
}

fn sha256(bytes: &[u8]) -> String {
    feed(Command::new("sha256sum"), bytes).code(0).out.split(' ').next().unwrap().to_string()
}

/// A host with a user, a file of theirs, and a unit, all with secrets.
fn app(script: &str, file: &str) -> String {
    let script: String = script.lines().map(|line| format!("            {line}\n")).collect();
    format!(
        r#"compute:
  hosts:
    web:
      users:
        app: {{ system: true, shell: /usr/sbin/nologin }}
        other: {{ system: true, shell: /usr/sbin/nologin }}
      directories: {{ /etc/app: {{}} }}
      files:
        /etc/app/password: {{ content: "{file}", owner: app }}
        /usr/local/bin/app:
          mode: "0755"
          content: |
{script}      units:
        app.service:
          content: |
            [Service]
            User=app
            ExecStart=/usr/local/bin/app
            [Install]
            WantedBy=multi-user.target
          enabled: true
          running: true
          environment: {{ TOKEN: "${{secret.token}}", PLAIN: 'costs $5, "cheap" \o/', MIXED: "user=app;password=${{secret.password}}" }}
          credentials: {{ tls: "${{secret.tls}}" }}
"#
    )
}

/// The environment of a unit's main process.
fn environ(host: &Host, unit: &str) -> BTreeSet<String> {
    let pid = host.ssh_stdout(&format!("systemctl show -P MainPID {unit}")).unwrap();
    let raw = host.inside("cat").unwrap().arg(format!("/proc/{}/environ", pid.trim())).output().unwrap().stdout;
    raw.split(|byte| *byte == 0).map(|entry| String::from_utf8(entry.to_vec()).unwrap()).collect()
}

fn invocation(host: &Host, unit: &str) -> String {
    host.ssh_stdout(&format!("systemctl show -P InvocationID {unit}")).unwrap()
}

#[test]
fn a_service_sees_exactly_its_secrets_and_nobody_else_does() {
    let safe = Safe::new();
    let host = safe.world.net.systemd_host("web").unwrap();
    let tls = "-----BEGIN KEY-----\nAAAA\n-----END KEY-----\n";
    safe.set("token", ODD);
    safe.set("password", "correct-horse-7");
    let mut command = safe.world.command();
    command.args(["secret", "set", "tls", "--keep-newline"]);
    feed(command, tls).code(0);
    let lab = |token: &str| safe.lab("", &app(&strict(token, tls, ""), "user=app\\npassword=${secret.password}\\n"));
    lab(ODD);
    safe.world
        .run(&["plan"])
        .code(0)
        .says("secrets `password` and `token`")
        .says_not("correct-horse")
        .says_not("second line");
    safe.world.apply().code(0);

    // The service runs, so it was given exactly this; and its own environment says so.
    assert_eq!(host.ssh_stdout("systemctl is-active app").unwrap(), "active\n");
    let seen = environ(&host, "app");
    for expected in [
        format!("TOKEN={ODD}"),
        "PLAIN=costs $5, \"cheap\" \\o/".into(),
        "MIXED=user=app;password=correct-horse-7".into(),
    ] {
        assert!(seen.contains(&expected), "{expected:?} is not in {seen:?}");
    }
    // In memory, its owner's, and nobody else's.
    assert_eq!(host.ssh_stdout("cat /etc/app/password").unwrap(), "user=app\npassword=correct-horse-7\n");
    let stat = "for f in /etc/app/password /etc/labwright/app.service.environment /etc/labwright/app.service.credential.tls; do stat -c %F $f; stat -Lc '%a %U' $f; stat -Lfc %T $f; done";
    let link = "symbolic link\n400";
    assert_eq!(host.ssh_stdout(stat).unwrap(), format!("{link} app\ntmpfs\n{link} root\ntmpfs\n{link} root\ntmpfs\n"));
    assert_eq!(
        host.ssh_stdout(&format!("stat -c '%a %U' /run/labwright /run/labwright/secrets {MEMORY} {MEMORY}/etc"))
            .unwrap(),
        "711 root\n".repeat(4)
    );
    let as_user = |user: &str, command: &str| {
        host.ssh(&format!("setpriv --reuid {user} --regid {user} --clear-groups {command}")).unwrap().status.success()
    };
    assert!(as_user("app", "cat /etc/app/password"), "whom it is for cannot read it");
    assert!(!as_user("other", "cat /etc/app/password") && !as_user("other", &format!("ls {MEMORY}/etc/app")));
    assert!(as_user("other", "ls /etc/app"), "so that the refusals above mean something");
    assert!(!as_user("app", "cat /etc/labwright/app.service.environment"));
    // What everybody may ask systemd does not tell.
    let shown = host
        .ssh_stdout("systemctl show app; systemctl cat app; systemctl show-environment; journalctl -u app")
        .unwrap();
    assert!(shown.contains("EnvironmentFile") && shown.contains("/etc/labwright/app.service.environment"), "{shown}");
    for value in ["correct-horse", "second line", "AAAA"] {
        assert!(!shown.contains(value), "systemd tells `{value}`");
    }
    let before = invocation(&host, "app");
    safe.world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    safe.world.run(&["drift"]).code(0).says("0 drifted");
    safe.world.apply().code(0).says("nothing to do");
    assert_eq!(invocation(&host, "app"), before, "an apply with nothing to do restarted the unit");

    // A hand at the file in memory: told, and not shown.
    host.ssh_stdout("echo tampered-by-hand >/etc/app/password").unwrap();
    safe.world
        .run(&["drift"])
        .code(4)
        .says("/etc/app/password")
        .says("content")
        .says_not("tampered-by-hand")
        .says_not("correct-horse");
    safe.world.apply().code(0).says("changed since the last apply").says_not("tampered-by-hand");
    assert_eq!(host.ssh_stdout("cat /etc/app/password").unwrap(), "user=app\npassword=correct-horse-7\n");
    host.ssh_stdout("chmod 444 $(readlink /etc/app/password)").unwrap();
    safe.world.run(&["drift"]).code(4).says("mode");
    host.ssh_stdout("rm /etc/app/password && echo open >/etc/app/password").unwrap();
    safe.world.run(&["drift"]).code(4);
    safe.world.apply().code(0);
    assert_eq!(host.ssh_stdout(&format!("{stat} | head -3")).unwrap(), format!("{link} app\ntmpfs\n"));
    assert_eq!(invocation(&host, "app"), before, "a file that the unit does not read restarted it");

    // A new value restarts what reads it, once.
    safe.set("tls", "another");
    lab(ODD);
    let changed = safe.world.run(&["plan"]).code(0);
    let changed = changed.says("app.service [restart]").says("secret `tls`").says_not("another").says_not("AAAA");
    expect![[r#"
        web
          ~ file /etc/labwright/app.service.credential.tls  content differs
              content: secret `tls`, changed (not shown)
          ~ unit app.service [restart]  inputs differs
              inputs: `/etc/labwright/app.service.credential.tls` changes

        plan ID: 2 to update, 9 unchanged; costs at worst: restart
    "#]]
    .assert_eq(&without_ids(&changed.out));
    let starts =
        || host.ssh_stdout("journalctl -u app -o cat | grep -c '^Started'").unwrap().trim().parse::<u32>().unwrap();
    let so_far = starts();
    // The script wants the old value: the unit does not come up, and says so with its own words only.
    safe.world.apply().code(5).says_not("another");
    safe.lab("", &app(&strict(ODD, "another", ""), "user=app\\npassword=${secret.password}\\n"));
    safe.world.apply().code(0);
    let so_far = {
        assert!(starts() > so_far);
        starts()
    };
    safe.set("password", "a-new-password");
    safe.world.apply().code(0);
    assert_eq!(starts(), so_far + 1, "one restart for one change");
    assert!(environ(&host, "app").contains("MIXED=user=app;password=a-new-password"));
    safe.world.run(&["plan", "--exit-code"]).code(0);
}

/// A plan without its id.
fn without_ids(plan: &str) -> String {
    let line = |line: &str| match line.split_once(": ") {
        Some((start, rest)) if start.starts_with("plan ") => format!("plan ID: {rest}\n"),
        _ => format!("{line}\n"),
    };
    plan.lines().map(line).collect()
}

/// A host whose only unit needs a secret, and which keeps one in a file of its own.
fn keeper(more: &str) -> String {
    format!(
        "compute:\n  hosts:\n    web:\n      files: {{ /etc/keeper: {{ content: \"${{secret.password}}\" }} }}\n      units:\n        keeper.service:\n          content: |\n            [Service]\n            ExecStart=/bin/sh -c '[ \"$TOKEN\" = right ] && exec sleep infinity'\n            [Install]\n            WantedBy=multi-user.target\n          enabled: true\n          running: true\n          environment: {{ TOKEN: \"${{secret.token}}\" }}\n{more}"
    )
}

#[test]
fn after_a_reboot_secrets_are_there_before_whoever_needs_them() {
    let safe = Safe::new();
    let host = safe.world.net.systemd_host("web").unwrap();
    safe.set("token", "right");
    safe.set("password", "correct-horse-7");
    safe.lab("", &keeper(""));
    safe.world.apply().code(0);
    let comes_back = || {
        host.reboot().unwrap();
        let up = "systemctl is-system-running --wait; systemctl is-active keeper labwright-secrets; cat /etc/keeper";
        assert_eq!(
            host.ssh(up).map(|out| String::from_utf8(out.stdout).unwrap()).unwrap(),
            "running\nactive\nactive\ncorrect-horse-7"
        );
        assert_eq!(
            host.ssh_stdout(
                "systemctl show -P NRestarts keeper; stat -Lc '%a %U' /etc/keeper; stat -Lfc %T /etc/keeper"
            )
            .unwrap(),
            "0\n400 root\ntmpfs\n"
        );
    };
    comes_back();
    safe.world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    safe.world.run(&["drift"]).code(0);
    // The program that does it is not taken away by newer ones, which hosts keep few of.
    let newer = |n: u8| {
        let path = safe.world.desk.path(&format!("labwright-{n}"));
        fs::copy(env!("CARGO_BIN_EXE_labwright"), &path).unwrap();
        use std::io::Write;
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&[n]).unwrap();
        let mut command = safe.world.net.command(&path);
        command.env("LABWRIGHT_STATE_DIR", safe.world.desk.path("state")).current_dir(safe.world.desk.dir.path());
        let ran: Ran = command.args(["plan", "--ssh-config"]).arg(safe.world.net.ssh_config()).output().unwrap().into();
        ran.code(0).says("nothing to do");
        fs::remove_file(&path).unwrap();
    };
    let programs = || {
        host.ssh_stdout(
            "ls /var/lib/labwright/bin | grep -c '^labwright-'; readlink -e /var/lib/labwright/bin/labwright",
        )
        .unwrap()
    };
    let before = programs();
    (1..=3).for_each(newer);
    let after = programs();
    assert!(before.starts_with("1\n/") && after.starts_with("3\n/"), "{before}{after}");
    comes_back();
    // A host with another key cannot open what was sealed to the old one. It says so, and the next apply mends it.
    host.ssh_stdout(
        "cd /etc/ssh && rm ssh_host_ed25519_key* && ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key",
    )
    .unwrap();
    host.trust().unwrap();
    host.reboot().unwrap();
    let told = host.ssh_stdout("systemctl is-active keeper; journalctl -b -o cat -u labwright-secrets").unwrap();
    assert!(told.starts_with("failed\n") && told.contains("not for this host's key"), "{told}");
    assert!(told.contains("hint: the host's key has changed since they were sealed: plan and apply again"), "{told}");
    safe.world.run(&["plan"]).code(0).says("/etc/keeper");
    safe.world.apply().code(0);
    comes_back();
}

#[test]
fn a_file_may_become_secret_and_plain_again_and_the_last_secret_takes_all_with_it() {
    let safe = Safe::new();
    let host = safe.world.net.systemd_host("web").unwrap();
    safe.set("password", "correct-horse-7");
    let lab = |content: &str| {
        safe.lab(
            "",
            &format!("compute: {{ hosts: {{ web: {{ files: {{ /etc/app: {{ content: \"{content}\" }} }} }} }} }}\n"),
        )
    };
    let there = || host.ssh_stdout("stat -c '%F %a' /etc/app; cat /etc/app").unwrap();
    let kept = || {
        host.ssh_stdout(&format!("find {MEMORY} -type f; ls /var/lib/labwright/labs/test | grep sealed; ls /etc/systemd/system | grep labwright; true")).unwrap()
    };
    lab("open\\n");
    safe.world.apply().code(0);
    assert_eq!((there(), kept()), ("regular file 644\nopen\n".into(), String::new()));
    lab("${secret.password}\\n");
    safe.world.run(&["plan"]).code(0).says("secret `password`").says_not("correct-horse");
    safe.world.apply().code(0);
    assert_eq!(there(), "symbolic link 777\ncorrect-horse-7\n");
    assert_eq!(kept(), format!("{MEMORY}/etc/app\nsealed-web.age\nlabwright-secrets.service\n"));
    safe.world.run(&["plan", "--exit-code"]).code(0);
    lab("open again\\n");
    safe.world.run(&["plan"]).code(0).says_not("correct-horse");
    safe.world.apply().code(0);
    assert_eq!((there(), kept()), ("regular file 644\nopen again\n".into(), String::new()));
    safe.world.run(&["plan", "--exit-code"]).code(0);
    // A copy of what was replaced would be the secret on the disk.
    let everywhere = "grep -rl correct-horse /etc /var /root /tmp /home; true";
    host.write("/var/tmp/control", "correct-horse").unwrap();
    assert_eq!(host.ssh_stdout(everywhere).unwrap(), "/var/tmp/control\n");

    lab("${secret.password}\\n");
    safe.world.apply().code(0);
    safe.lab("", "compute: { hosts: { web: {} } }\n");
    safe.world.run(&["plan"]).code(0).says("no longer declared");
    assert_eq!(there(), "symbolic link 777\ncorrect-horse-7\n", "nothing goes unasked");
    host.reboot().unwrap();
    assert_eq!(there(), "symbolic link 777\ncorrect-horse-7\n", "what stays is there after a reboot too");
    safe.world.run(&["apply", "--yes", "--prune"]).code(0);
    assert_eq!(
        (host.ssh_stdout("ls /etc/app 2>&1; true").unwrap(), kept()),
        ("ls: cannot access '/etc/app': No such file or directory\n".into(), String::new())
    );
    assert!(!host.ssh("systemctl cat labwright-secrets").unwrap().status.success());
    host.reboot().unwrap();
    assert_eq!(
        host.ssh_stdout("systemctl is-system-running --wait; ls /run/labwright 2>&1; true").unwrap(),
        "running\nls: cannot access '/run/labwright': No such file or directory\n"
    );
}

/// The names in a host's sealed letter, opened from outside with a stolen host key; `None`: that key does not open it.
pub fn opened(safe: &Safe, letter_of: &Host, key_of: &Host) -> Option<BTreeSet<String>> {
    let folder = safe.world.desk.path("stolen");
    fs::create_dir_all(&folder).unwrap();
    let (key, letter) = (folder.join("key"), folder.join("letter"));
    fs::write(&key, key_of.read("/etc/ssh/ssh_host_ed25519_key").unwrap()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let path = format!("/var/lib/labwright/labs/test/sealed-{}.age", letter_of.name());
    fs::write(&letter, letter_of.inside("cat").unwrap().arg(path).output().unwrap().stdout).unwrap();
    let opened = Command::new("age").arg("-d").arg("-i").arg(&key).arg(&letter).output().unwrap();
    let letter: serde_json::Value = opened.status.success().then(|| serde_json::from_slice(&opened.stdout).unwrap())?;
    Some(letter["values"].as_object().unwrap().keys().cloned().collect())
}

/// The names that the program says a host reads.
fn listed(safe: &Safe, host: &str) -> BTreeSet<String> {
    let out = safe.run(&["secret", "list", "--host", host, "--json"]).code(0).out;
    let list: serde_json::Value = serde_json::from_str(&out).unwrap();
    list["secrets"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_string()).collect()
}

#[test]
fn a_host_can_open_what_it_reads_and_nothing_else() {
    let safe = Safe::new();
    let (one, two) = (safe.world.net.light_host("one").unwrap(), safe.world.net.light_host("two").unwrap());
    safe.set("mine", "value-of-one");
    safe.set("yours", "value-of-two");
    safe.set("both", "value-of-both");
    safe.set("nobodys", "value-of-nobody");
    let lab = |more: &str| {
        safe.lab("", &format!("compute:\n  hosts:\n    one: {{ files: {{ /etc/a: {{ content: \"${{secret.mine}}\" }}{more} }} }}\n    two: {{ files: {{ /etc/a: {{ content: \"${{secret.yours}} ${{secret.both}}\" }} }} }}\n"));
    };
    lab(", /etc/b: { content: \"${secret.both}\" }");
    safe.world.apply().code(0);
    let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<BTreeSet<String>>();
    assert_eq!(opened(&safe, &one, &one), Some(names(&["both", "mine"])));
    assert_eq!(opened(&safe, &two, &two), Some(names(&["both", "yours"])));
    assert_eq!(
        (opened(&safe, &one, &one), opened(&safe, &two, &two)),
        (Some(listed(&safe, "one")), Some(listed(&safe, "two")))
    );
    assert_eq!((opened(&safe, &one, &two), opened(&safe, &two, &one)), (None, None), "a key of another host opens it");
    // Wherever a value stands on a host, among everything that is younger than the host.
    let places = |host: &Host, value: &str| {
        let search = format!(
            "find /etc /run /dev/shm /root /tmp /home /srv /opt /var -type f -newer /etc/machine-id -exec grep -lF {value} {{}} +; true"
        );
        host.ssh_stdout(&search).unwrap().lines().map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(places(&one, "value-of-one"), [format!("{MEMORY}/etc/a")]);
    assert_eq!(places(&two, "value-of-two"), [format!("{MEMORY}/etc/a")]);
    assert_eq!((places(&two, "value-of-one").len(), places(&one, "value-of-two").len()), (0, 0));
    assert_eq!((places(&one, "value-of-nobody").len(), places(&two, "value-of-nobody").len()), (0, 0));
    two.write("/var/cache/control", "value-of-one").unwrap();
    assert_eq!(places(&two, "value-of-one"), ["/var/cache/control"]);
    // What a host reads no more it cannot open any more, and what it was given once is gone from its memory.
    lab("");
    safe.world.run(&["apply", "--yes", "--prune"]).code(0);
    assert_eq!((opened(&safe, &one, &one), listed(&safe, "one")), (Some(names(&["mine"])), names(&["mine"])));
    assert_eq!(places(&one, "value-of-both"), Vec::<String>::new());
}

/// Two units that read one generated secret, the second after the first; both refuse digits.
fn pair(alphabet: &str) -> (String, String) {
    let unit = |name: &str, more: &str| {
        format!(
            "        {name}.service:\n          content: |\n            {more}[Service]\n            ExecStart=/usr/local/bin/picky\n            [Install]\n            WantedBy=multi-user.target\n          enabled: true\n          running: true\n          environment: {{ TOKEN: \"${{secret.token}}\" }}\n"
        )
    };
    let secrets = format!("    generate: {{ token: {{ kind: password, length: 32, alphabet: {alphabet} }} }}\n");
    let hosts = format!(
        "compute:\n  hosts:\n    web:\n      files:\n        /usr/local/bin/picky:\n          mode: \"0755\"\n          content: |\n            #!/bin/sh\n            case \"$TOKEN\" in *[0-9]*) echo 'such a token is not for us'; exit 3; esac\n            exec sleep infinity\n      units:\n{}{}",
        unit("first", ""),
        unit("second", "[Unit]\n            After=first.service\n            Requires=first.service\n            "),
    );
    (secrets, hosts)
}

/// What the environment of a unit says.
fn token(host: &Host, unit: &str) -> String {
    let environ = environ(host, unit);
    environ.iter().find_map(|entry| entry.strip_prefix("TOKEN=")).unwrap_or_default().to_string()
}

#[test]
fn a_rotation_goes_through_everywhere_or_is_taken_back_everywhere() {
    let safe = Safe::new();
    let host = safe.world.net.systemd_host("web").unwrap();
    let lab = |alphabet: &str| {
        let (secrets, hosts) = pair(alphabet);
        safe.lab(&secrets, &hosts);
    };
    lab("letters");
    safe.run(&["secret", "generate"]).code(0);
    safe.world.apply().code(0);
    let old = safe.get("token");
    assert_eq!((token(&host, "first"), token(&host, "second")), (old.clone(), old.clone()));
    let since = host.ssh_stdout("systemctl show -P ActiveEnterTimestampMonotonic second").unwrap();

    let left = safe.world.desk.path("secrets.yaml.before-rotation");
    let rotate = || safe.world.run(&["secret", "rotate", "--yes", "token"]);
    let ran =
        rotate().code(0).says("`token`: rotated").says("first.service [restart]").says("second.service [restart]");
    let new = safe.get("token");
    assert!(new != old && new.len() == 32);
    assert!(![&ran.out, &ran.err].iter().any(|text| text.contains(&old) || text.contains(&new)), "it tells a value");
    assert_eq!((token(&host, "first"), token(&host, "second")), (new.clone(), new.clone()));
    assert!(!left.exists());
    let times = host.ssh_stdout("systemctl show -P ActiveEnterTimestampMonotonic first second | grep .").unwrap();
    let times: Vec<u64> = times.lines().map(|time| time.parse().unwrap()).collect();
    assert!(since.trim().parse::<u64>().unwrap() < times[0] && times[0] <= times[1], "{since} {times:?}");
    safe.world.run(&["plan", "--exit-code"]).code(0);

    // A value that the services refuse: they say why, and have the old one again.
    lab("digits");
    let store = safe.store();
    let ran = rotate().code(5).says("such a token is not for us").says("putting the old ones back");
    ran.says("the old values are back, in the store and on every host that read them");
    assert_eq!(safe.store(), store, "the store is another one");
    assert_eq!((token(&host, "first"), token(&host, "second")), (new.clone(), new.clone()));
    assert_eq!(host.ssh_stdout("systemctl is-active first second").unwrap(), "active\nactive\n");
    assert!(!left.exists());
    safe.world.run(&["plan", "--exit-code"]).code(0);

    // Nobody approves it, or nobody is there: nothing happened.
    lab("letters");
    safe.world.run(&["secret", "rotate", "token"]).code(2).says("nobody is there to approve this");
    assert_eq!(safe.store(), store);
    host.unplug().unwrap();
    rotate().code(6).says("`web` is away").says("the old values are back in the store");
    host.plug().unwrap();
    assert_eq!(safe.store(), store);
    assert!(!left.exists());
    safe.world.run(&["secret", "rotate", "--undo"]).code(2).says("no rotation was cut off");
    safe.world.run(&["secret", "rotate", "--yes", "tokne"]).code(2).says("tokne");
    // What nothing generates has to be given.
    safe.set("given", "by hand");
    safe.world
        .run(&["secret", "rotate", "--yes", "given"])
        .code(2)
        .says("nobody is there to type it")
        .says("labwright secret set given");
    safe.world.run(&["plan", "--exit-code"]).code(0);
    assert_eq!((token(&host, "first"), safe.get("token")), (new.clone(), new));
}

/// The machine stays the same, its name in the lab does not: nothing is made anew, and a reboot finds the secrets.
#[test]
fn a_host_with_a_new_name_keeps_its_things_and_its_secrets() {
    let safe = Safe::new();
    let host = safe.world.net.light_host("web").unwrap();
    safe.set("token", "canary-of-the-name");
    // The same machine answers to both names.
    let config = fs::read_to_string(safe.world.net.ssh_config()).unwrap();
    fs::write(safe.world.net.ssh_config(), config.replace("Host web\n", "Host web shop\n")).unwrap();
    let lab = |name: &str, more: &str, files: &str| {
        let plain = "        /etc/plain: { content: \"plain\\n\" }\n";
        safe.lab("", &format!("compute:\n  hosts:\n    {name}:\n{more}      files:\n{plain}{files}"));
    };
    let secret = "        /etc/secret: { content: \"T=${secret.token}\" }\n";
    lab("web", "", secret);
    safe.world.apply().code(0).says("2 of 2 steps done");
    let state = "stat -c '%n %i %z' /etc/plain /etc/secret; readlink -f /etc/secret";
    let before = host.ssh_stdout(state).unwrap();
    lab("shop", "      renamed_from: web\n", secret);
    safe.world.run(&["plan"]).code(0).says("2 to adopt").says("under the name `web`").says_not("no longer in the lab");
    safe.world.apply().code(0).says("2 of 2 steps done");
    assert_eq!(host.ssh_stdout(state).unwrap(), before, "something was touched");
    assert_eq!(host.read("/etc/secret").unwrap(), "T=canary-of-the-name");
    let kept = host.ssh_stdout("ls /var/lib/labwright/labs/test").unwrap();
    assert!(kept.contains("sealed-shop.age") && !kept.contains("sealed-web.age"), "{kept}");
    assert!(!host.read("/var/lib/labwright/labs/test/marks.json").unwrap().contains("web/"));
    safe.world.run(&["plan", "--prune", "--exit-code"]).code(0).says("nothing to do, 2 unchanged");
    safe.world.run(&["drift"]).code(0).says("0 drifted, 2 as applied");
    // A boot empties the memory, and knows the host by the name that the marks have.
    host.ssh_stdout("rm -rf /run/labwright && /var/lib/labwright/bin/labwright-* agent --unseal").unwrap();
    assert_eq!(host.read("/etc/secret").unwrap(), "T=canary-of-the-name");
}
