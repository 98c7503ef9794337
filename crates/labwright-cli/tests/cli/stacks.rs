//! Secrets of containers on a real Docker engine: what goes along, what comes back; and probes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use labwright_testkit::engine::REGISTRY;

use crate::docker::{Dock, SERVE};
use crate::secrets::{ADA, feed};
use crate::world::Ran;

/// A dock whose lab has a store of secrets, with a folder in memory of its own.
pub struct Safe {
    pub dock: Dock,
    memory: tempfile::TempDir,
}

impl Safe {
    pub fn new() -> Safe {
        let safe = Safe { dock: Dock::new(), memory: tempfile::tempdir_in("/dev/shm").unwrap() };
        fs::set_permissions(safe.memory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let key = "home/.config/sops/age/keys.txt";
        safe.dock.desk.write(key, format!("{}\n", ADA.private));
        fs::set_permissions(safe.dock.desk.path(key), fs::Permissions::from_mode(0o600)).unwrap();
        safe
    }

    /// `generate`: what the store makes by itself; the services stand below `services`.
    pub fn lab(&self, generate: &str, services: &str) {
        let socket = self.dock.engine.socket().display().to_string();
        let services: String = services.lines().map(|line| format!("  {line}\n")).collect();
        self.dock.desk.lab(&format!(
            "lab: home\nplatform: {{ secrets: {{ age: secrets.yaml, generate: {generate} }} }}\ncompute:\n  docker_hosts: [here]\n  hosts:\n    here: {{ local: true, docker_socket: {socket} }}\nservices:\n{}",
            services.replace("REG", REGISTRY).replace("FOLDER", &self.dock.desk.path("stack").display().to_string())
        ));
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.dock.desk.command();
        command.env("LABWRIGHT_RUN_DIR", self.memory.path().join("run")).args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    pub fn set(&self, name: &str, value: &str) {
        feed(self.command(&["secret", "set", name]), value).code(0);
    }

    pub fn apply(&self) -> Ran {
        self.run(&["apply", "--yes"])
    }

    pub fn settled(&self) {
        self.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    }

    pub fn exec(&self, container: &str, command: &[&str]) -> String {
        self.dock.engine.docker(&[&["exec", container], command].concat()).unwrap()
    }

    /// Every file with a secret in it that is in memory.
    pub fn kept(&self) -> Vec<PathBuf> {
        fn below(folder: PathBuf, out: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.path() {
                    path if path.is_dir() => below(path, out),
                    path => out.push(path),
                }
            }
        }
        let mut out = Vec::new();
        below(self.memory.path().join("run"), &mut out);
        out.sort();
        out
    }
}

/// Takes only tokens with letters in them, and says so.
const PICKY: &str = r#"HEALTHCHECK --interval=200ms --timeout=2s --retries=2 CMD ["/bin/sh","-c","case $(cat /run/secrets/token) in *[a-z]*) ;; *) echo such a token is not for us; exit 1;; esac"]"#;

const APP: &str = "app:
  on: here
  containers:
    web:
      image: REG/app:1
      secrets: [token]
      environment: { PG_PASSWORD_FILE: \"${secret.pg}\" }
      volumes: [\"data:/data\"]";

#[test]
fn secrets_are_files_in_memory_that_the_containers_user_reads() {
    let safe = Safe::new();
    safe.dock.engine.publish("app:1", &["USER app", SERVE, PICKY]).unwrap();
    safe.lab("{}", APP);
    safe.run(&["secret", "init"]).code(0);
    safe.set("token", "first-canary-token");
    safe.set("pg", "canary-of-postgres");
    safe.apply().code(0).says_not("canary");
    safe.settled();
    assert_eq!(safe.exec("app-web-1", &["/bin/cat", "/run/secrets/token"]), "first-canary-token");
    assert_eq!(safe.exec("app-web-1", &["/bin/sh", "-c", "cat $PG_PASSWORD_FILE"]), "canary-of-postgres");
    assert_eq!(safe.exec("app-web-1", &["/bin/stat", "-c", "%u:%g %a", "/run/secrets/token"]), "70:71 400");
    for path in safe.kept() {
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (70, 71, 0o400), "{}", path.display());
    }
    assert!(!safe.dock.inspect("{{json .}}", "app-web-1").contains("canary"));
    let said =
        Command::new("grep").args(["-rl", "canary", "--include=*"]).arg(safe.dock.desk.path("state")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "", "a secret is on the disk");

    // A new value is a new container, and nothing else is.
    safe.set("token", "second-canary-token");
    safe.run(&["plan"]).code(0).says("1 to replace").says("`/run/secrets/token` changes").says_not("second-canary");
    safe.apply().code(0);
    safe.settled();
    assert_eq!(safe.exec("app-web-1", &["/bin/cat", "/run/secrets/token"]), "second-canary-token");
    assert_eq!(safe.kept().len(), 2, "{:?}", safe.kept());

    // One that it refuses: the container before it comes back, and has what it had.
    let id = safe.dock.inspect("{{.Id}}", "app-web-1");
    safe.set("token", "333333333333333333");
    safe.apply().code(5).says("such a token is not for us").says("reverted").says("runs again");
    assert_eq!(safe.dock.inspect("{{.Id}}", "app-web-1"), id);
    assert_eq!(safe.exec("app-web-1", &["/bin/cat", "/run/secrets/token"]), "second-canary-token");
    safe.set("token", "second-canary-token");
    safe.apply().code(0);
    safe.settled();
    assert_eq!(safe.dock.inspect("{{.Id}}", "app-web-1"), id);
}

#[test]
fn a_rotation_takes_containers_along_or_back() {
    let safe = Safe::new();
    safe.dock.engine.publish("app:1", &["USER 1000", SERVE, PICKY]).unwrap();
    let lab = |alphabet: &str| {
        safe.lab(&format!("{{ token: {{ kind: password, length: 32, alphabet: {alphabet} }}, pg: password }}"), APP)
    };
    lab("letters");
    safe.run(&["secret", "init"]).code(0);
    safe.run(&["secret", "generate"]).code(0);
    safe.apply().code(0);
    let token = || safe.exec("app-web-1", &["/bin/cat", "/run/secrets/token"]);
    let value = || safe.run(&["secret", "get", "-n", "token"]).code(0).out;
    let old = value();
    assert_eq!(token(), old);
    safe.run(&["secret", "rotate", "--yes", "token"]).code(0).says("`token`: rotated").says("app-web-1");
    assert!(value() != old && token() == value());
    safe.settled();
    let (id, new) = (safe.dock.inspect("{{.Id}}", "app-web-1"), value());
    lab("digits");
    safe.run(&["secret", "rotate", "--yes", "token"])
        .code(5)
        .says("such a token is not for us")
        .says("the old values are back, in the store and on every host that read them");
    assert_eq!((value(), token(), safe.dock.inspect("{{.Id}}", "app-web-1")), (new.clone(), new, id));
    safe.settled();
}

#[test]
fn what_lives_in_the_network_of_one_that_is_made_anew_comes_along() {
    let safe = Safe::new();
    safe.dock.engine.publish("app:1", &[SERVE]).unwrap();
    let lab = |colour: &str| {
        safe.lab(
            "{ token: password }",
            &format!(
                "app:
  on: here
  containers:
    web: {{ image: \"REG/app:1\", secrets: [token], environment: {{ COLOUR: {colour} }}, stop_grace_period: 1s }}
    side: {{ image: \"REG/app:1\", network_mode: \"service:web\", stop_grace_period: 1s }}
    next: {{ image: \"REG/app:1\", pid: \"service:side\", stop_grace_period: 1s }}
    apart: {{ image: \"REG/app:1\", environment: {{ COLOUR: {colour} }} }}"
            ),
        );
    };
    lab("red");
    safe.run(&["secret", "init"]).code(0);
    safe.run(&["secret", "generate"]).code(0);
    safe.apply().code(0);
    let id = |name: &str| safe.dock.inspect("{{.Id}}", name);
    let ids = || ["app-web-1", "app-side-1", "app-next-1", "app-apart-1"].map(id);
    let lives_well = || {
        let mode = |field: &str, name: &str| safe.dock.inspect(&format!("{{{{.HostConfig.{field}}}}}"), name);
        assert_eq!(mode("NetworkMode", "app-side-1"), format!("container:{}", id("app-web-1")));
        assert_eq!(mode("PidMode", "app-next-1"), format!("container:{}", id("app-side-1")));
    };
    lives_well();
    let before = ids();
    safe.run(&["secret", "rotate", "--yes", "token"])
        .code(0)
        .says("app-side-1")
        .says("app-next-1")
        .says_not("app-apart-1");
    lives_well();
    let after = ids();
    assert!(before[..3].iter().zip(&after).all(|(before, after)| before != after) && before[3] == after[3]);
    safe.settled();
    // Asked for by its name alone, it takes them along as well; the rest waits.
    lab("green");
    let only = ["--only", "here/docker/container/app-web-1"];
    safe.run(&[&["plan"], &only[..]].concat()).code(0).says("app-side-1").says("app-next-1").says_not("app-apart-1");
    safe.run(&[&["apply", "--yes"], &only[..]].concat()).code(0);
    lives_well();
    assert_eq!(id("app-apart-1"), after[3]);
    safe.run(&["plan"]).code(0).says("1 to replace").says("app-apart-1");
}

#[test]
fn after_a_reboot_a_container_finds_its_secrets() {
    let safe = Safe::new();
    safe.dock.engine.publish("app:1", &["USER app:keys", SERVE]).unwrap();
    safe.lab(
        "{}",
        &APP.replace("secrets: [token]", "secrets: [token, { source: tls, target: /tls.key, uid: \"5\", gid: \"6\" }]"),
    );
    safe.run(&["secret", "init"]).code(0);
    for name in ["token", "pg", "tls"] {
        safe.set(name, &format!("value-of-{name}"));
    }
    safe.apply().code(0);
    let owners = || -> Vec<String> {
        let one = |path: PathBuf| {
            let found = fs::metadata(&path).unwrap();
            format!("{}:{} {:o} {}", found.uid(), found.gid(), found.mode() & 0o7777, fs::read_to_string(path).unwrap())
        };
        let mut all: Vec<String> = safe.kept().into_iter().map(one).collect();
        all.sort();
        all
    };
    let before = owners();
    assert_eq!(before, ["5:6 400 value-of-tls", "70:72 400 value-of-pg", "70:72 400 value-of-token"]);
    safe.dock.engine.docker(&["stop", "-t", "1", "app-web-1"]).unwrap();
    fs::remove_dir_all(safe.memory.path().join("run")).unwrap();
    let ran: Ran = safe.command(&["agent", "--unseal"]).output().unwrap().into();
    ran.code(0);
    assert_eq!(owners(), before);
    safe.dock.engine.docker(&["start", "app-web-1"]).unwrap();
    assert_eq!(safe.exec("app-web-1", &["/bin/cat", "/run/secrets/token"]), "value-of-token");
    // With the container goes what it had.
    safe.lab("{}", "other: { external: someone }");
    safe.run(&["apply", "--yes", "--prune", "--approve", "downtime"])
        .code(5)
        .says("volume app_data: costs destroys-data");
    assert_eq!(safe.kept(), Vec::<PathBuf>::new());
}

#[test]
fn a_secret_in_the_environment_is_told_of_and_leaves_no_trace_of_ours() {
    let safe = Safe::new();
    safe.dock.engine.publish("app:1", &[SERVE]).unwrap();
    let lab = |environment: &str| {
        safe.lab(
            "{}",
            &format!(
                "app: {{ on: here, containers: {{ web: {{ image: \"REG/app:1\", environment: {environment} }} }} }}"
            ),
        );
    };
    lab("{ URL: \"pg://u:${secret.pg}@db/x\" }");
    safe.run(&["secret", "init"]).code(0);
    safe.set("pg", "canary-in-a-url");
    // The engine would write it to its disk: not unless somebody says that it shall.
    for verb in [&["check"][..], &["plan"], &["apply", "--yes"]] {
        safe.run(verb)
            .code(3)
            .says("error[LW-SVC-112]: `URL` of `web` is a secret in an environment")
            .says("`URL_FILE");
    }
    assert_eq!(safe.dock.engine.docker(&["ps", "-aq"]).unwrap(), "");
    let told = "# labwright: allow LW-SVC-111 because I want to";
    safe.lab("{}", &format!("app: {{ on: here, containers: {{ web: {{ image: \"REG/app:1\",\n  {told}\n  command: [sh, \"${{secret.pg}}\"] }} }} }}"));
    safe.run(&["check"])
        .code(3)
        .says("error[LW-SVC-111]: a secret in `command`")
        .says("`LW-SVC-111` cannot be accepted");
    safe.run(&["plan"]).code(3).says("error[LW-SVC-111]: a secret in `command`");
    lab(
        "\n  # labwright: allow LW-SVC-112 because the program reads it from nowhere else\n  { URL: \"pg://u:${secret.pg}@db/x\" }",
    );
    safe.run(&["check"]).code(0).says_not("LW-SVC-112");
    safe.run(&["plan"]).code(0).says_not("canary");
    safe.apply().code(0).says_not("canary");
    safe.settled();
    assert_eq!(safe.exec("app-web-1", &["/bin/sh", "-c", "echo $URL"]), "pg://u:canary-in-a-url@db/x");
    safe.set("pg", "canary-of-another");
    safe.run(&["plan", "--json"]).code(0).says_not("canary").says("replace");
    safe.apply().code(0).says_not("canary");
    safe.settled();
    assert!(safe.exec("app-web-1", &["/bin/env"]).contains("canary-of-another"));
    lab("{ OTHER: plain }");
    safe.run(&["plan", "--json"]).code(0).says_not("canary");
    safe.apply().code(0).says_not("canary");
    let said = Command::new("grep").args(["-rl", "canary"]).arg(safe.dock.desk.path("state")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "", "a secret is on the disk");
}

/// Without a health check of its own, a container is up when it answers its service's probe; what needs it waits.
#[test]
fn a_probe_says_when_a_service_is_up() {
    let safe = Safe::new();
    // The page is there after a second and a half.
    let slow = r#"CMD ["/bin/sh","-c","mkdir -p /tmp/w; httpd -p 80 -h /tmp/w; sleep 1.5; test -n \"$NEVER\" || echo yes > /tmp/w/up; exec sleep 1000"]"#;
    safe.dock.engine.publish("slow:1", &[slow]).unwrap();
    safe.dock.engine.publish("app:1", &[SERVE]).unwrap();
    let apply = |never: &str| -> Ran {
        safe.lab("{}", &format!("slow: {{ on: here, port: 80, probe: /up, containers: {{ web: {{ image: \"REG/slow:1\", environment: {{ NEVER: \"{never}\" }} }} }} }}\napp: {{ on: here, needs: [slow], containers: {{ a: {{ image: \"REG/app:1\" }} }} }}"));
        let mut command = safe.dock.engine.beside(env!("CARGO_BIN_EXE_labwright").as_ref()).unwrap();
        command.args(["apply", "--yes"]).current_dir(safe.dock.desk.dir.path());
        for (name, value) in safe.command(&[]).get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command.output().unwrap().into()
    };
    safe.lab("{}", "x: { external: y }");
    safe.run(&["secret", "init"]).code(0);
    apply("").code(0);
    let started = |name: &str| safe.dock.inspect("{{.State.StartedAt}}", name);
    let (slow, app) = (started("slow-web-1"), started("app-a-1"));
    let seconds = |time: &str| {
        time[17..].trim_end_matches('Z').parse::<f64>().unwrap() + 60.0 * time[14..16].parse::<f64>().unwrap()
    };
    assert!(seconds(&app) - seconds(&slow) > 1.4, "{slow} {app}");
    assert_eq!(safe.exec("app-a-1", &["/bin/wget", "-qO-", "http://slow/up"]), "yes");
}
