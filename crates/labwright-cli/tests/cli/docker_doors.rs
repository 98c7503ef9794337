//! A container behind the proxy of its own host is made anew under load. Upstreams are published ports, so nothing has to be
//! followed: the proxy is told nothing, and finds the new container at its new address.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value as Json, json};

use crate::docker::Dock;
use crate::docker_faults::until;
use crate::world::Desk;

/// A program of the test, ended with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn app(says: &str) -> String {
    format!(
        r#"CMD ["/bin/sh","-c","mkdir -p /tmp/www; echo {says} > /tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www"]"#
    )
}

fn lab(dock: &Dock, image: &str) {
    dock.lab(&format!(
        "wiki: {{ on: here, url: wiki, expose: lan, port: \"app:80\", containers: {{ app: {{ image: \"REG/{image}\", \
         ports: [\"127.0.0.1:8080:80\"], stop_grace_period: 1s }} }} }}"
    ));
}

fn ask(socket: &Path, request: &Json) -> Option<Json> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.write_all(format!("{request}\n").as_bytes()).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

#[test]
fn a_container_that_is_made_anew_is_found_at_its_new_address() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[&app("one")]).unwrap();
    dock.engine.publish("app:2", &[&app("two")]).unwrap();
    lab(&dock, "app:1");
    dock.apply().code(0);
    // The proxy of the same host, as it would be told; it has the engine's network, which is the host's.
    let doors = Desk::new(
        "lab: home\ndomain: lab.test\nplatform: { reverse_proxy: { on: here, tls: none, http: 8088 } }\n\
         compute: { hosts: { here: { local: true } } }\nservices:\n  wiki: { on: here, url: wiki, expose: lan, port: \"app:80\", \
         containers: { app: { image: \"x:1\", ports: [\"127.0.0.1:8080:80\"] } } }\n",
    );
    let snapshot: Json = serde_json::from_str(&doors.run(&["proxy", "export", "snapshot"]).code(0).out).unwrap();
    assert_eq!(snapshot["sites"][0]["answer"]["upstreams"]["urls"], json!(["http://127.0.0.1:8080"]));
    let (state, runtime) = (doors.path("serve-state"), doors.path("serve-run"));
    let mut serve = dock.engine.beside(Path::new(env!("CARGO_BIN_EXE_labwright"))).unwrap();
    serve.arg("serve").arg("--state").arg(&state).arg("--runtime").arg(&runtime);
    let _serve = Running(serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let socket = runtime.join("control.sock");
    until("the daemon", || ask(&socket, &json!({ "ask": "status" })).is_some());
    let told = json!({ "ask": "apply", "snapshot":
        { "version": 1, "generation": 1, "lab": "home", "host": "here", "roles": { "proxy": snapshot } } });
    assert_eq!(ask(&socket, &told).unwrap()["answer"], "applied");

    let get = || {
        let mut curl = dock.engine.beside(Path::new("/usr/bin/curl")).unwrap();
        curl.args(["-s", "-m", "10", "-w", " %{http_code}", "-H", "Host: wiki.lab.test", "http://127.0.0.1:8088/"]);
        String::from_utf8_lossy(&curl.output().unwrap().stdout).replace('\n', "")
    };
    until("the first answer", || get() == "one 200");
    let address = || dock.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "wiki-app-1");
    let network = dock.inspect("{{range $name, $net := .NetworkSettings.Networks}}{{$name}}{{end}}", "wiki-app-1");
    let first = address();

    let stop = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut all = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                all.push((Instant::now(), get()));
            }
            all
        });
        // Made anew by the lab, with another image.
        lab(&dock, "app:2");
        dock.apply().code(0);
        let anew = Instant::now();
        until("the new container's answer", || get() == "two 200");
        // And somewhere else: what was its address is somebody else's now.
        dock.engine.docker(&["stop", "-t", "1", "wiki-app-1"]).unwrap();
        dock.engine
            .docker(&[
                "run",
                "-d",
                "--name",
                "squatter",
                "--network",
                &network,
                &format!("{}/app:1", labwright_testkit::engine::REGISTRY),
            ])
            .unwrap();
        dock.engine.docker(&["start", "wiki-app-1"]).unwrap();
        until("an answer from the new address", || get() == "two 200");
        let moved = Instant::now();
        std::thread::sleep(std::time::Duration::from_secs(3));
        stop.store(true, Ordering::Relaxed);
        let all = load.join().unwrap();
        assert_ne!(address(), first, "the container came back at the same address, and nothing is proven");
        // Every request is answered by a container that runs, or told why not; from the moment that it is there, all are served.
        for (at, answer) in &all {
            let told = answer.ends_with(" 502") || answer.ends_with(" 503") || answer.ends_with(" 504");
            assert!(answer == "one 200" || answer == "two 200" || told, "{answer}");
            assert!(!(*at > anew && answer == "one 200"), "the old container, or who has its address now, answered");
            assert!(*at < moved || answer == "two 200", "{answer}");
        }
        let served = all.iter().filter(|(at, _)| *at >= moved).count();
        assert!(served > 3, "there was no load: {served}");
    });
    assert_eq!(ask(&socket, &json!({ "ask": "status" })).unwrap()["generation"], 1, "the proxy was told something");
}
