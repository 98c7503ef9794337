//! What a lab on this machine has of the real one: names and doors, references, secrets, seeds, files that are watched; and what is
//! left out, with the reason.

use std::fs;
use std::process::Command;

use crate::up::{Here, noting, server, until};

#[test]
fn seeds_are_loaded_once_for_each_copy_of_the_data_and_dependents_wait() {
    let here = Here::new("");
    let folder = here.desk.dir.path().display().to_string();
    here.desk.write("seed.sh", format!("sleep 0.3; echo seeded $LABWRIGHT_PORT >> {folder}/log\n"));
    here.desk.lab(&format!(
        "lab: test\ncompute: {{ hosts: {{ box: {{ address: 10.9.9.9 }} }} }}\nservices:\n{}{}",
        server("seeded-db", ", seed: seed.sh"),
        noting(&folder, "reader", ", needs: [seeded-db]")
    ));
    here.up(&[]).code(0).says("3 of 3 are well");
    let port = here.unit("seeded-db")["port"].as_i64().unwrap();
    assert_eq!(here.read("log"), format!("seeded {port}\nstart reader\n"));
    here.down().code(0);
    fs::remove_file(here.desk.path("log")).unwrap();
    here.up(&[]).code(0);
    assert_eq!(here.read("log"), "start reader\n", "the same content is loaded once");
    here.down().code(0);
    fs::remove_dir_all(here.folder().join("data/seeded-db")).unwrap();
    fs::remove_file(here.desk.path("log")).unwrap();
    here.up(&[]).code(0);
    assert!(here.read("log").starts_with("seeded"), "a fresh copy is loaded");
    here.down().code(0);
    here.desk.write("seed.sh", "echo no table of that name >&2; exit 4\n");
    here.up(&[])
        .code(7)
        .says("was not loaded: it ended with exit code 4")
        .says("no table of that name")
        .says("reader is waiting");
}

#[test]
fn a_change_of_a_file_restarts_and_a_rebuild_that_fails_does_not() {
    let here = Here::new(
        "  app: { on: box, run: { command: [/bin/sleep, infinity] }, up: { directory: ., watch: [\"src/**/*.txt\"], rebuild: [/bin/sh, build.sh] } }\n\
         \x20 plain: { on: box, run: { command: [/bin/sleep, infinity] }, up: { watch: plain.conf } }\n",
    );
    here.desk.write("src/deep/a.txt", "1");
    here.desk.write("plain.conf", "1");
    here.desk.write("build.sh", "echo building; exit 0\n");
    here.up(&[]).code(0);
    here.desk.write("src/deep/b.md", "no");
    here.desk.write("src/deep/a.txt", "2");
    until("it is built and started again", || {
        here.unit("app")["restarts"] == 1 && here.unit("app")["phase"] == "ready"
    });
    assert_eq!(here.unit("plain")["restarts"], 0);
    let pid = here.pid("app");
    here.desk.write("build.sh", "echo syntax error >&2; exit 1\n");
    here.desk.write("src/deep/a.txt", "3");
    until("it is told", || here.desk.run(&["logs", "--here", "app"]).err.contains("what runs goes on"));
    assert_eq!(here.pid("app"), pid);
    here.desk.write("plain.conf", "2");
    until("it is started again", || here.unit("plain")["restarts"] == 1);
}

#[test]
fn names_and_doors_are_served_as_in_the_real_lab() {
    let here = Here::of(&format!(
        "lab: test\nplatform:\n  dns: {{ on: box, block: [blocked.txt], upstream: [192.0.2.1] }}\n  reverse_proxy: {{ on: box, http: 28480, https: 28443 }}\n\
         compute: {{ hosts: {{ box: {{ address: 10.9.9.9 }} }} }}\nservices:\n{}\
         \x20 pages: {{ site: ./pages, url: pages, expose: lan }}\n",
        server("answering", ", url: app, expose: lan, needs: [pages]")
    ));
    here.desk.write("pages/index.html", "pages from here\n");
    here.desk.write("blocked.txt", "ads.example.com\n");
    here.up(&[])
        .code(0)
        .says("https://pages.lab.home.arpa:28443/")
        .says("https://pages.localhost:28443/")
        .says("4 of 4 are well");
    let ca = here.folder().join("ca.pem").display().to_string();
    let curl = |url: &str, arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20", "--cacert", &ca]).args(arguments).arg(url);
        let output = command.output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let to = "pages.lab.home.arpa:28443:127.0.0.1";
    assert_eq!(curl("https://pages.lab.home.arpa:28443/", &["--resolve", to]), "pages from here\n");
    assert_eq!(
        curl("https://pages.localhost:28443/", &["--resolve", "pages.localhost:28443:127.0.0.1"]),
        "pages from here\n"
    );
    let listing = curl("https://app.lab.home.arpa:28443/", &["--resolve", "app.lab.home.arpa:28443:127.0.0.1"]);
    assert!(listing.contains("Directory listing"), "{listing}");
    let moved = curl("http://app.lab.home.arpa:28480/x", &["-i", "--resolve", "app.lab.home.arpa:28480:127.0.0.1"]);
    assert!(moved.contains("https://app.lab.home.arpa:28443/x"), "{moved}");
    let port = here.unit("dns")["port"].to_string();
    let dig = |name: &str| {
        let output =
            Command::new("dig").args(["@127.0.0.1", "-p", &port, "+short", "+tries=1", name]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    };
    assert_eq!(dig("app.lab.home.arpa"), "127.0.0.1");
    until("the list holds", || dig("ads.example.com") == "0.0.0.0");
    here.desk.run(&["open", "--print", "pages"]).code(0).says("https://pages.localhost:28443/");
    here.down().code(0);
}

#[test]
fn what_cannot_be_here_is_left_out_with_the_reason() {
    let here = Here::of(
        "lab: test\nedge: { vpn: tailscale }\ncompute: { proxmox: [pve], docker_hosts: [box], hosts: { box: { address: 10.9.9.9 } } }\nservices:\n\
         \x20 db: { on: box, containers: { db: { image: postgres:16 } } }\n\
         \x20 wiki: { on: box, run: { command: [/bin/sleep, infinity] }, needs: [db] }\n\
         \x20 seeds: { on: box, containers: { app: { image: seeds:1 } }, egress: db }\n\
         \x20 mail: { external: fastmail }\n\
         \x20 skipped: { on: box, containers: { app: { image: heavy:1 } }, up: { skip: true } }\n\
         \x20 instead: { on: box, containers: { app: { image: app:1 } }, port: \"app:80\", needs: [mail, skipped], up: { run: [/bin/sleep, infinity] } }\n",
    );
    here.up(&[])
        .code(5)
        .says("`db` is left out: it runs in containers")
        .says("hint: say what stands in for it: `up: { run: [PROGRAM, …] }`")
        .says("`wiki` is left out: it needs `db`, which is left out")
        .says("`seeds` is left out: its traffic may leave through `db` or not at all, and nothing sees to that here")
        .says("not here: mail (fastmail runs it, not the lab)")
        .says("not here: VPN")
        .says("not here: virtual machines")
        .says("1 of 1 are well");
    here.desk.run(&["restart", "db"]).code(2).says("`db` is left out here");
}

#[test]
fn references_stand_for_what_is_here() {
    let here = Here::of(
        "lab: test\nenvironments: [dev, prod]\ncompute: { hosts: { one: { address: 10.9.9.1 }, two: { address: 10.9.9.2 } } }\nservices:\n\
         \x20 api-of-two: { on: two, run: { command: [python3, -m, http.server, --bind, 127.0.0.1, \"${port}\"] }, url: api }\n\
         \x20 shows: { on: one, environments: { dev: {}, prod: {} }, run: { command: [/bin/sh, -c, 'echo $A $B $C; exec sleep infinity'], environment: { A: \"${service.api-of-two.url}\", B: \"${host.two.address}\", C: \"${env}\" } } }\n\
         \x20 live: { on: two, environments: { prod: {} }, run: { command: [/bin/sleep, infinity] } }\n",
    );
    here.up(&[]).code(0).says("not here: `live` (not in the environment `dev`)");
    let port = here.unit("api-of-two")["port"].as_i64().unwrap();
    here.desk.run(&["logs", "--here", "shows"]).code(0).says(&format!("http://localhost:{port} 127.0.0.1 dev"));
    here.down().code(0);
    here.up(&["--env", "prod", "shows"]).code(0);
    until("it says so", || here.desk.run(&["logs", "--here", "shows"]).out.contains("127.0.0.1 prod"));
    here.down().code(0);
    here.up(&["--env", "test"]).code(2).says("has no environment `test`").says("`dev`, `prod`");
}

#[test]
fn a_secret_reaches_its_process_and_nobody_else() {
    let here = Here::of(
        "lab: test\nplatform: { secrets: { age: secrets.yaml } }\ncompute: { hosts: { box: { address: 10.9.9.9 } } }\nservices:\n\
         \x20 app: { on: box, run: { command: [/bin/sh, -c, 'test \"$PASSWORD\" = canary-in-a-mine && echo it is the one; exec sleep infinity'], environment: { PASSWORD: \"${secret.pw}\" } } }\n",
    );
    here.desk.run(&["secret", "init"]).code(0);
    let mut set = here.desk.command();
    set.args(["secret", "set", "pw"]);
    crate::secrets::feed(set, "canary-in-a-mine").code(0);
    let up = here.up(&[]).code(0).says_not("canary-in-a-mine");
    drop(up);
    here.desk.run(&["logs", "--here", "app"]).code(0).says("it is the one");
    here.desk.run(&["ps", "--json"]).code(0).says_not("canary-in-a-mine");
    let supervisor = here.state()["pid"].to_string();
    for file in ["cmdline", "environ"] {
        let bytes = fs::read(format!("/proc/{supervisor}/{file}")).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("canary-in-a-mine"), "{file}");
    }
    let found = Command::new("grep").args(["-rl", "canary-in-a-mine"]).arg(here.desk.path("state")).output().unwrap();
    assert!(found.stdout.is_empty(), "{found:?}");
    here.down().code(0);
    // Without a key there is no value, and the process says what it waits for.
    fs::remove_dir_all(here.desk.path("home")).unwrap();
    here.up(&[]).code(7).says("it needs the secret `pw`, which could not be read");
}

/// The example as its readers meet it: our own small application, pages, names, doors.
#[test]
fn the_starter_runs_on_a_bare_machine() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/starter");
    let here = Here::of("lab: empty\n");
    let copy = Command::new("cp").arg("-r").arg(folder.join(".")).arg(here.desk.dir.path()).status().unwrap();
    assert!(copy.success());
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_labwright")).parent().unwrap().join("examples/guestbook");
    assert!(program.is_file(), "cargo builds examples together with tests: {}", program.display());
    let lab = here.read("lab.yaml").replace("../../target/debug/examples/guestbook", &program.display().to_string());
    here.desk.lab(&lab.replace("tls: internal }", "tls: internal, http: 28580, https: 28543 }"));
    here.up(&[]).code(0).says("https://guestbook.localhost:28543/").says("5 of 5 are well");
    let ca = here.folder().join("ca.pem").display().to_string();
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20", "--cacert", &ca]);
        command.args(["--resolve", "guestbook.localhost:28543:127.0.0.1"]).args(arguments);
        let output = command.arg("https://guestbook.localhost:28543/").output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let page = curl(&[]);
    assert!(page.contains("be the first to write <b>the lab</b>"), "{page}");
    curl(&["--data-urlencode", "name=<me>", "--data-urlencode", "text=I was here & left"]);
    let page = curl(&[]);
    assert!(page.contains("I was here &amp; left <b>&lt;me&gt;</b>"), "{page}");
    here.down().code(0);
    here.up(&[]).code(0);
    assert_eq!(curl(&[]).matches("<li>").count(), 2, "the data stays, and the first entry is not made twice");
    here.down().code(0);
}
