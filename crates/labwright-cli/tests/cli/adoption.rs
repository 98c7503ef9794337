//! Stacks that ran before the lab knew of them: what `import` writes, and that an apply takes them over as they run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use labwright_testkit::engine::REGISTRY;

use crate::docker::{CHECK, Dock, SERVE};
use crate::secrets::{ADA, feed};
use crate::world::Ran;

/// A Compose file as people have it: networks and ports without a word of isolation, data beside it, an env file.
const WIKI: &str = "
services:
  web:
    image: REG/app:1
    restart: unless-stopped
    env_file: web.env
    environment: { DB_HOST: db, DB_PASSWORD: canary-in-compose }
    depends_on: [db]
    ports: ['8080:80']
    volumes: ['./data:/data', './settings.ini:/etc/settings.ini:ro', 'cache:/cache', '/etc/hostname:/etc/host:ro']
    labels:
      traefik.http.routers.wiki.rule: 'Host(`wiki.example.org`)'
      traefik.http.services.wiki.loadbalancer.server.port: '80'
    networks: [default, back]
    secrets: [key]
  db:
    image: REG/app:1
    restart: unless-stopped
    volumes: ['pg:/var/lib/postgresql/data']
    networks: [back]
    healthcheck: { test: [CMD, /bin/true], interval: 300ms, timeout: 2s, retries: 3 }
networks: { back: {} }
volumes: { cache: {}, pg: {} }
secrets: { key: { file: ./key.txt } }
";

fn compose(dock: &Dock, program: &Path, folder: &Path, args: &[&str]) {
    let mut command = Command::new(program);
    command.current_dir(folder).args(args);
    command.env("DOCKER_HOST", format!("unix://{}", dock.engine.socket().display()));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn both() -> [PathBuf; 2] {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    ["docker-compose".into(), labwright_testkit::engine::compose_5(folder).unwrap()]
}

fn write_wiki(dock: &Dock, folder: &str) {
    // Compose of old wants a version before it knows the rest.
    dock.desk
        .write(&format!("{folder}/docker-compose.yml"), format!("version: '3.8'{}", WIKI.replace("REG", REGISTRY)));
    dock.desk.write(&format!("{folder}/web.env"), "MODE=fancy\nAPI_TOKEN=canary0d9f8a7b6c5e4d3f2a1b\n");
    dock.desk.write(&format!("{folder}/settings.ini"), "[a]\n");
    dock.desk.write(&format!("{folder}/key.txt"), "canary-in-a-file\n");
    fs::create_dir_all(dock.desk.path(&format!("{folder}/data"))).unwrap();
}

/// Where secrets are in memory: a folder of the test's own.
struct Memory(tempfile::TempDir);

impl Memory {
    fn new() -> Memory {
        Memory(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    fn command(&self, dock: &Dock, args: &[&str]) -> Command {
        let mut command = dock.desk.command();
        command.env("LABWRIGHT_RUN_DIR", self.0.path().join("run")).args(args);
        command
    }

    fn run(&self, dock: &Dock, args: &[&str]) -> Ran {
        self.command(dock, args).output().unwrap().into()
    }

    fn adopt(&self, dock: &Dock) -> Ran {
        self.run(dock, &["apply", "--yes", "--adopt", "all"])
    }

    fn settled(&self, dock: &Dock) {
        self.run(dock, &["plan", "--exit-code"]).code(0).says("nothing to do");
    }
}

/// Which containers run, since when.
fn running(dock: &Dock) -> Vec<String> {
    let ids = dock.engine.docker(&["ps", "-aq", "--no-trunc"]).unwrap();
    let mut all: Vec<String> =
        ids.lines().map(|id| dock.inspect("{{.Name}} {{.Id}} {{.State.StartedAt}}", id)).collect();
    all.sort();
    all
}

#[test]
fn what_compose_made_is_imported_from_its_folder_and_taken_over_as_it_runs() {
    for program in both() {
        let (dock, memory) = (Dock::new(), Memory::new());
        dock.engine.publish("app:1", &[SERVE, CHECK]).unwrap();
        write_wiki(&dock, "stacks/wiki");
        compose(&dock, &program, &dock.desk.path("stacks/wiki"), &["up", "-d"]);
        let before = running(&dock);
        assert_eq!(before.len(), 2);
        // The tag moves on: what runs counts.
        dock.engine.publish("app:1", &["ENV NEW=1", SERVE, CHECK]).unwrap();
        dock.lab("other: { external: someone }");
        let lab = fs::read_to_string(dock.desk.path("lab.yaml")).unwrap();
        let folder = dock.desk.path("stacks/wiki");
        let ran = dock.desk.run(&["import", "compose", folder.to_str().unwrap()]).code(0);
        for line in
            ["compose: stacks/wiki/docker-compose.yml", "url: wiki.example.org", "port: \"web:80\"", "\"on\": here"]
        {
            assert!(ran.out.contains(line), "{line}\n{}", ran.out);
        }
        assert!(
            ran.out.contains(&format!("folder: {}", folder.display())) && ran.out.contains("stacks/wiki/data"),
            "{}",
            ran.out
        );
        assert!(!ran.out.contains("cache") && !ran.out.contains("hostname"), "{}", ran.out);
        assert!(!dock.desk.path("wiki.yaml").exists());
        dock.desk
            .run(&["import", "compose", "stacks/wiki", "--write"])
            .code(0)
            .says("add `include: [wiki.yaml]`")
            .says_not("canary");
        assert_eq!(fs::read_to_string(dock.desk.path("lab.yaml")).unwrap(), lab, "a file of the user's was changed");
        dock.desk.run(&["import", "compose", "stacks/wiki", "--write"]).code(2).says("not written over");
        dock.desk.lab(&format!("include: [wiki.yaml]\n{lab}"));
        dock.desk.run(&["check"]).says_not("canary");
        memory.run(&dock, &["plan"]).says("to adopt").says_not("to replace").says_not("conflict");
        memory.adopt(&dock).code(0);
        assert_eq!(running(&dock), before, "{}", program.display());
        memory.settled(&dock);
        // It is the lab's now: what is changed by hand is seen, and a new setting makes it anew, with its data.
        dock.engine
            .docker(&["exec", before[1].split(' ').next().unwrap().trim_start_matches('/'), "touch", "/data/precious"])
            .unwrap();
        dock.desk.write("stacks/wiki/web.env", "MODE=plain\n");
        memory.run(&dock, &["plan"]).says("1 to replace");
        memory.run(&dock, &["apply", "--yes"]).code(0);
        memory.settled(&dock);
        assert!(dock.desk.path("stacks/wiki/data/precious").exists());
        assert_eq!(dock.engine.docker(&["ps", "-aq"]).unwrap().lines().count(), 2);
    }
}

#[test]
fn an_engine_is_asked_for_what_runs_and_tells_no_secret() {
    let (dock, memory) = (Dock::new(), Memory::new());
    dock.engine.publish("app:1", &["ENV FROM=image", "EXPOSE 80", "VOLUME /image-data", SERVE]).unwrap();
    let image = format!("{REGISTRY}/app:1");
    write_wiki(&dock, "opt/wiki");
    compose(&dock, "docker-compose".as_ref(), &dock.desk.path("opt/wiki"), &["up", "-d"]);
    // A stack that joins the other's network, whose files somebody threw away.
    let gone = format!(
        "version: '3.8'\nservices:\n  job:\n    image: {image}\n    networks: [wiki]\n    volumes: ['spool:/spool']\nvolumes: {{ spool: {{}} }}\nnetworks: {{ wiki: {{ external: true, name: wiki_default }} }}\n"
    );
    dock.desk.write("gone/docker-compose.yml", gone);
    compose(&dock, "docker-compose".as_ref(), &dock.desk.path("gone"), &["up", "-d"]);
    fs::remove_file(dock.desk.path("gone/docker-compose.yml")).unwrap();
    // Two by themselves, one with a secret in its environment.
    dock.engine.docker(&["network", "create", "shared"]).unwrap();
    let plex = [
        "run",
        "-d",
        "--name",
        "plex",
        "--restart",
        "unless-stopped",
        "-p",
        "32400:80",
        "-p",
        "127.0.0.1:53:53/udp",
        "-e",
        "TZ=UTC",
        "-v",
        "plexdata:/config",
        "-v",
        "/srv/lw-media:/media:ro",
        "--cap-drop",
        "ALL",
        "--cap-add",
        "CHOWN",
        "--memory",
        "64m",
        "--cpus",
        "0.5",
        "--device",
        "/dev/null:/dev/lw:r",
        "--tmpfs",
        "/transcode:size=1m",
        "--add-host",
        "nas:10.0.0.9",
        "--ulimit",
        "nofile=1024:2048",
        "--hostname",
        "plexbox",
        "--user",
        "0:0",
        "--label",
        "team=tv",
        "--health-cmd",
        "true",
        "--health-interval",
        "300ms",
        "--stop-timeout",
        "3",
        "--network",
        "shared",
        "--network-alias",
        "media",
        "--init",
        "--log-opt",
        "max-size=1m",
        "--shm-size",
        "32m",
        "--pids-limit",
        "50",
        "--read-only",
        "--security-opt",
        "no-new-privileges",
        "--sysctl",
        "net.core.somaxconn=512",
    ];
    dock.engine
        .docker(&[&plex[..], &[&image, "/bin/sh", "-c", "trap exit TERM; while true; do sleep 0.1; done"]].concat())
        .unwrap();
    dock.engine
        .docker(&[
            "run",
            "-d",
            "--name",
            "db_1",
            "-e",
            "POSTGRES_PASSWORD=canary-of-postgres",
            &image,
            "/bin/sleep",
            "1000",
        ])
        .unwrap();
    dock.engine.docker(&["run", "-d", "--name", "bare", &image]).unwrap();
    let before = running(&dock);
    dock.lab("other: { external: someone }");
    let lab = fs::read_to_string(dock.desk.path("lab.yaml")).unwrap();

    let ran = dock.desk.run(&["import", "docker", "here"]).code(0).says_not("canary");
    for line in [
        "${secret.db_1_postgres_password}",
        "# labwright: allow LW-SVC-112 because it runs like this",
        "labwright secret set db_1_postgres_password",
        "external: true",
        "container_name: plex",
        "put together from its containers",
        "compose: opt/wiki/docker-compose.yml",
    ] {
        let all = format!("{}{}", ran.out, ran.err);
        assert!(all.contains(line), "{line}\n{all}");
    }
    dock.desk.run(&["import", "docker", "nowhere"]).code(2).says("there are here");
    dock.desk.run(&["import", "docker", "here", "--only", "nothing"]).code(2).says("bare, db-1, plex");
    for name in ["wiki", "gone", "plex", "bare"] {
        dock.desk.run(&["import", "docker", "here", "--only", name, "--write"]).code(0).says_not("canary");
    }
    assert_eq!(fs::read_to_string(dock.desk.path("lab.yaml")).unwrap(), lab);
    dock.desk.lab(&format!("include: [wiki.yaml, gone.yaml, plex.yaml, bare.yaml]\n{lab}"));
    let plan = dock
        .desk
        .run(&["plan"])
        .says_not("canary")
        .says_not("to replace")
        .says_not("to create")
        .says_not("is not the lab's");
    assert!(plan.out.contains("to adopt"), "{}{}", plan.out, plan.err);
    memory.adopt(&dock).code(0).says_not("canary");
    assert_eq!(running(&dock), before);
    memory.settled(&dock);
    dock.desk.run(&["status"]).code(0).says("plex").says("4 of 4 services well");
    // What the lab has is not found again; only the one with the secret is left.
    let left = dock.desk.run(&["import", "docker", "here"]).code(0);
    assert!(left.out.contains("db-1:") && !left.out.contains("plex:") && !left.out.contains("wiki:"), "{}", left.out);

    // That one as well, once the lab keeps its secret: what it has is recognised by its hash.
    let key = "home/.config/sops/age/keys.txt";
    dock.desk.write(key, format!("{}\n", ADA.private));
    fs::set_permissions(dock.desk.path(key), fs::Permissions::from_mode(0o600)).unwrap();
    let ran = |args: &[&str]| memory.run(&dock, args);
    ran(&["import", "docker", "here", "--write"]).code(0);
    let text = fs::read_to_string(dock.desk.path("lab.yaml")).unwrap();
    let text = text.replace("bare.yaml]", "bare.yaml, db-1.yaml]");
    dock.desk.lab(&format!("{text}platform: {{ secrets: {{ age: secrets.yaml }} }}\n"));
    ran(&["secret", "init"]).code(0);
    feed(memory.command(&dock, &["secret", "set", "db_1_postgres_password"]), "canary-of-postgres").code(0);
    memory.adopt(&dock).code(0).says_not("canary");
    assert_eq!(running(&dock), before);
    memory.settled(&dock);
}

#[test]
fn files_are_copied_from_the_host_beside_the_lab() {
    let (dock, memory) = (Dock::new(), Memory::new());
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    write_wiki(&dock, "host/opt/wiki_box");
    dock.desk.write("host/opt/wiki_box/.env", "UNUSED=1\n");
    compose(&dock, "docker-compose".as_ref(), &dock.desk.path("host/opt/wiki_box"), &["up", "-d"]);
    let before = running(&dock);
    dock.lab("other: { external: someone }");
    let lab = fs::read_to_string(dock.desk.path("lab.yaml")).unwrap();
    dock.desk.run(&["import", "docker", "here", "--copy"]).code(2);
    dock.desk
        .run(&["import", "docker", "here", "--write", "--copy"])
        .code(0)
        .says("`web.env` holds API_TOKEN in the clear")
        .says_not("canary");
    let mut copied: Vec<String> = fs::read_dir(dock.desk.path("wiki-box"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    copied.sort();
    assert_eq!(copied, [".env", "docker-compose.yml", "key.txt", "settings.ini", "web.env"]);
    dock.desk.lab(&format!("include: [wiki-box.yaml]\n{lab}"));
    let entry = fs::read_to_string(dock.desk.path("wiki-box.yaml")).unwrap();
    assert!(entry.contains("compose: wiki-box/docker-compose.yml") && entry.contains("project: wiki_box"), "{entry}");
    memory.adopt(&dock).code(0);
    assert_eq!(running(&dock), before);
    memory.settled(&dock);
    // The copy is what counts from here on: a new secret in it is a new container, with the lab's own file.
    let key = |content: &str| {
        let container = dock.engine.docker(&["ps", "-q", "--filter", "label=com.docker.compose.service=web"]).unwrap();
        assert_eq!(dock.engine.docker(&["exec", &container, "cat", "/run/secrets/key"]).unwrap(), content);
    };
    key("canary-in-a-file");
    dock.desk.write("wiki-box/key.txt", "canary-of-another-one\n");
    memory.run(&dock, &["plan"]).code(0).says("1 to replace").says("`/run/secrets/key` changes").says_not("canary");
    memory.run(&dock, &["apply", "--yes"]).code(0).says_not("canary");
    memory.settled(&dock);
    key("canary-of-another-one");
}

/// What Compose 5 gives a container as files: mounted, or put into it where no file of the host is meant.
const GIVEN: &str = "
services:
  app:
    image: REG/app:1
    secrets: [mounted, put]
    configs: [{ source: motd, target: /etc/motd }, { source: rules, target: /etc/rules }]
secrets: { mounted: { file: ./key.txt }, put: { environment: TOKEN } }
configs: { motd: { content: \"welcome\\n\" }, rules: { file: ./rules.txt } }
";

#[test]
fn files_that_compose_gave_are_recognised_by_what_they_hold() {
    let (dock, memory) = (Dock::new(), Memory::new());
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    let write = |motd: &str| {
        dock.desk.write("given/compose.yaml", GIVEN.replace("REG", REGISTRY).replace("welcome", motd));
    };
    write("welcome");
    dock.desk.write("given/key.txt", "canary-that-is-mounted\n");
    dock.desk.write("given/.env", "TOKEN=canary-that-is-put\n");
    dock.desk.write("given/rules.txt", "be kind\n");
    let folder = dock.desk.path("given");
    compose(&dock, &both()[1], &folder, &["up", "-d"]);
    let before = running(&dock);
    dock.lab(&format!("given: {{ on: here, compose: given/compose.yaml, folder: {} }}", folder.display()));
    memory.run(&dock, &["plan"]).says("to adopt").says_not("to replace").says_not("canary");
    memory.adopt(&dock).code(0).says_not("canary");
    assert_eq!(running(&dock), before);
    memory.settled(&dock);
    let cat = |path: &str| dock.engine.docker(&["exec", "given-app-1", "cat", path]).unwrap();
    // What Compose made holds something else than the lab says by now: it is made anew, for each of them by itself.
    let edits: [(&str, &dyn Fn()); 2] = [
        ("/run/secrets/put", &|| dock.desk.write("given/.env", "TOKEN=canary-of-the-next\n")),
        ("/etc/motd", &|| write("goodbye")),
    ];
    for (path, edit) in edits {
        dock.engine.docker(&["rm", "-f", "given-app-1"]).unwrap();
        compose(&dock, &both()[1], &folder, &["up", "-d"]);
        memory.settled(&dock);
        let (id, held) = (dock.inspect("{{.Id}}", "given-app-1"), cat(path));
        edit();
        memory.run(&dock, &["plan"]).says("1 to replace").says_not("canary");
        memory.run(&dock, &["apply", "--yes"]).code(0);
        memory.settled(&dock);
        assert_ne!(dock.inspect("{{.Id}}", "given-app-1"), id, "{path}");
        assert_ne!(cat(path), held, "{path}");
    }
    // What is mounted from where the lab reads it is the same at once; a container of the lab's own has a copy.
    dock.engine.docker(&["rm", "-f", "given-app-1"]).unwrap();
    compose(&dock, &both()[1], &folder, &["up", "-d"]);
    let id = dock.inspect("{{.Id}}", "given-app-1");
    dock.desk.write("given/rules.txt", "be kinder\n");
    memory.run(&dock, &["plan"]).says_not("to replace");
    memory.run(&dock, &["apply", "--yes"]).code(0);
    memory.settled(&dock);
    assert_eq!((dock.inspect("{{.Id}}", "given-app-1"), cat("/etc/rules")), (id, "be kinder".to_string()));
    assert_eq!(cat("/run/secrets/mounted"), "canary-that-is-mounted");
}
