//! Nobody is refused while a snapshot, or the program itself, takes the place of the one before.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use labwright_model::snapshot::control::{Reply, Request};

use crate::world::{Daemon, Nginx, Program, site, tool, wait_for};

struct Load(Program);

impl Load {
    fn start(daemon: &Daemon, seconds: u32, arguments: &[&str]) -> Load {
        let mut command = Command::new(tool("h2load", "nghttp2-client"));
        command.args(["-t1", "-c16", &format!("-D{seconds}"), &format!("--connect-to=127.0.0.1:{}", daemon.https)]);
        command.args(arguments).arg(format!("https://wiki.lab.test:{}/", daemon.https));
        Load(Program(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()))
    }

    /// Requests that were answered, and those that were not.
    fn ended(mut self) -> (u64, u64, String) {
        let mut text = String::new();
        self.0.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let line = text.lines().find(|line| line.starts_with("requests:")).unwrap().to_string();
        let number = |word: &str| {
            let before = line.split(&format!(" {word}")).next().unwrap();
            before.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
        };
        let codes = text.lines().find(|line| line.starts_with("status codes:")).unwrap();
        (number("succeeded"), number("failed"), codes.to_string())
    }
}

#[test]
fn two_hundred_services_are_reloaded_under_load() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(""));
    let snapshot = |round: u64| {
        let mut sites: Vec<_> = (0..199).map(|n| site(&format!("s{n}"), &[nginx.url()])).collect();
        sites.push(site("wiki", &[nginx.url()]));
        sites.iter_mut().for_each(|site| site.limits.time = 60_000 + round);
        daemon.snapshot(sites)
    };
    daemon.apply(&snapshot(0));
    let loads = [Load::start(&daemon, 5, &["-m4"]), Load::start(&daemon, 5, &["--h1"])];
    std::thread::sleep(Duration::from_millis(700));
    for round in 1..8 {
        daemon.apply(&snapshot(round));
        std::thread::sleep(Duration::from_millis(300));
    }
    for load in loads {
        let (succeeded, failed, codes) = load.ended();
        assert!(succeeded > 100 && failed == 0 && codes.contains("0 4xx, 0 5xx"), "{succeeded} {failed} {codes}");
    }
}

#[test]
fn a_new_program_takes_over_and_no_connection_is_refused() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(""));
    daemon.apply(&daemon.snapshot(vec![site("wiki", &[nginx.url()])]));
    // What is under way stays where it is: this answer is fetched slowly, over both programs' lives.
    std::fs::write(nginx.folder.path().join("www/big"), vec![b'x'; 40 << 20]).unwrap();
    let mut slow = TcpStream::connect(("127.0.0.1", daemon.http)).unwrap();
    slow.write_all(b"GET /big HTTP/1.1\r\nHost: wiki.lab.test\r\n\r\n").unwrap();
    let mut begun = [0; 4096];
    let mut got = slow.read(&mut begun).unwrap();
    let head = String::from_utf8_lossy(&begun[..got]).find("\r\n\r\n").unwrap() + 4;
    let loads = [Load::start(&daemon, 6, &["--h1"]), Load::start(&daemon, 6, &["-m4"])];
    std::thread::sleep(Duration::from_secs(1));
    let before = daemon.status().pid;
    let _second = daemon.second();
    wait_for("the second", || daemon.status().pid != before);
    // Every new connection is the second's, and none was refused.
    for _ in 0..50 {
        daemon.curl("wiki.lab.test", "/", &[]).is(200);
    }
    for load in loads {
        let (succeeded, failed, codes) = load.ended();
        assert!(succeeded > 100 && failed == 0 && codes.contains("0 4xx, 0 5xx"), "{succeeded} {failed} {codes}");
    }
    assert_eq!(daemon.status().snapshot.unwrap().generation, 1);
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = slow.read(&mut buffer) {
        got += count;
        if got - head == 40 << 20 {
            break;
        }
    }
    assert_eq!(got - head, 40 << 20, "the answer that was under way broke off");
}

#[test]
fn somebody_else_may_not_speak_to_the_daemon() {
    let daemon = Daemon::start();
    let socket = daemon.folder.path().join("run/control.sock");
    // The folder keeps others out, and so does the socket; here both are opened wide.
    for path in [daemon.folder.path(), &daemon.folder.path().join("run"), &socket] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(path, mode).unwrap();
    }
    let script = format!(
        "import socket; s=socket.socket(socket.AF_UNIX); s.connect('{}'); s.sendall(b'{{\"ask\":\"status\"}}\\n'); print(len(s.recv(10)))",
        socket.display()
    );
    let other = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", &script])
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&other.stdout), String::from_utf8_lossy(&other.stderr));
    assert!(text.trim() == "0" || text.contains("ConnectionReset") || text.contains("BrokenPipe"), "{text}");
    assert!(matches!(daemon.ask(&Request::Status), Reply::Status(_)));
}
