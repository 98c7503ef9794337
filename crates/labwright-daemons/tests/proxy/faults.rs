//! What clients, upstreams and disks do wrong, and what then does not happen.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use labwright_model::snapshot::control::{Reply, Request};

use crate::world::{Daemon, Nginx, liar, read_all, silent, site, wait_for};

#[test]
fn smuggled_and_broken_requests_reach_nobody_twice() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(""));
    daemon.apply(&daemon.snapshot(vec![site("wiki", &[nginx.url()])]));
    let host = "Host: wiki.lab.test\r\n";
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: wiki.lab.test\r\n\r\n";
    // Both lengths: the chunks count (RFC 9112, 6.1), and the connection ends with the answer.
    for order in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", 5 + smuggled.len()),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", 5 + smuggled.len()),
    ] {
        let answer = daemon.raw(format!("POST /both HTTP/1.1\r\n{host}{order}\r\n0\r\n\r\n{smuggled}").as_bytes());
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    }
    let refused = [
        ("folded header", format!("GET /fold HTTP/1.1\r\n{host}X-A: b\r\n c: d\r\n\r\n")),
        ("two lengths", format!("POST /two HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab")),
        ("a length that is none", format!("POST /sign HTTP/1.1\r\n{host}Content-Length: +2\r\n\r\nab")),
        (
            "an encoding that does not end in chunks",
            format!("POST /te HTTP/1.1\r\n{host}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
        ),
        ("chunks in HTTP/1.0", format!("POST /old HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("a space before the colon", format!("GET /space HTTP/1.1\r\n{host}X-A : b\r\n\r\n")),
        ("no host", "GET /none HTTP/1.1\r\n\r\n".to_string()),
        ("two hosts", format!("GET /hosts HTTP/1.1\r\n{host}{host}\r\n")),
        ("a null in a header", format!("GET /null HTTP/1.1\r\n{host}X-A: \0\r\n\r\n")),
    ];
    for (what, text) in refused {
        let answer = daemon.raw(text.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.0 400"), "{what}: {answer}");
    }
    let answer = daemon.raw(
        format!("POST /chunk HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\nZZ\r\nab\r\n0\r\n\r\n").as_bytes(),
    );
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    let access = nginx.access();
    for never in ["smuggled", "fold", "/two", "/sign", "/te", "/old", "/space", "/none", "/hosts", "/null"] {
        assert!(!access.contains(never), "{never} arrived:\n{access}");
    }
    daemon.curl("wiki.lab.test", "/", &[]).is(200);
}

#[test]
fn what_is_too_large_is_refused() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(""));
    let mut small = site("small", &[nginx.url()]);
    (small.limits.body, small.limits.header) = (Some(1000), 2000);
    small.limits.rate = None;
    daemon.apply(&daemon.snapshot(vec![small, site("large", &[nginx.url()])]));
    let file = daemon.folder.path().join("body");
    std::fs::write(&file, vec![b'x'; 5000]).unwrap();
    let data = format!("@{}", file.display());
    for protocol in ["--http1.1", "--http2"] {
        daemon.curl("small.lab.test", "/", &["--data-binary", &data, protocol]).is(413).says("may have 1000 bytes");
        // Without a length it is found out on the way.
        let arguments = ["-H", "Transfer-Encoding: chunked", "--data-binary", &data, "--http1.1"];
        daemon.curl("small.lab.test", "/", &arguments).is(413);
        daemon.curl("small.lab.test", "/", &["-H", &format!("X-A: {}", "a".repeat(3000)), protocol]).is(431);
        daemon.curl("large.lab.test", "/", &["-H", &format!("X-A: {}", "a".repeat(3000)), protocol]).is(200);
    }
    // A bomb of headers: many, and large.
    let many: String = (0..1000).map(|n| format!("X-{n}: a\r\n")).collect();
    let answer = daemon.raw(format!("GET / HTTP/1.1\r\nHost: large.lab.test\r\n{many}\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let answer =
        daemon.raw(format!("GET / HTTP/1.1\r\nHost: large.lab.test\r\nX: {}\r\n\r\n", "a".repeat(1 << 20)).as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{}", &answer[..answer.len().min(200)]);
    daemon.curl("large.lab.test", "/", &[]).is(200);
}

#[test]
fn one_client_is_not_let_ask_without_end() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(""));
    let mut limited = site("limited", &[nginx.url()]);
    limited.limits.rate = Some(1);
    daemon.apply(&daemon.snapshot(vec![limited]));
    let url = format!("https://limited.lab.test:{}/?[1-30]", daemon.https);
    let all = daemon.curl_url("limited.lab.test", &url, &["-w", "%{http_code}\n", "-o", "/dev/null"]);
    let _ = all;
    daemon.curl("limited.lab.test", "/", &[]).is(429).says("retry-after: ");
    assert!(nginx.access().lines().count() <= 13, "{}", nginx.access());
}

#[test]
fn slow_clients_are_let_go() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(""));
    let mut slow = site("slow", &[nginx.url()]);
    (slow.limits.header_time, slow.limits.idle) = (1000, 1000);
    let mut taking = slow.clone();
    (taking.service, taking.names) = ("taking".into(), vec!["taking.lab.test".into()]);
    taking.answer = site("taking", &[format!("http://127.0.0.1:{}", silent())]).answer;
    daemon.apply(&daemon.snapshot(vec![slow, taking]));
    let open = || {
        let stream = TcpStream::connect(("127.0.0.1", daemon.http)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    };
    // A head that comes a byte at a time.
    let mut drip = open();
    let begun = Instant::now();
    for byte in b"GET / HTTP/1.1\r\nHost: slow.lab.test\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaa" {
        if drip.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut rest = Vec::new();
    let _ = drip.read_to_end(&mut rest);
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    // A body that stops in the middle.
    let mut half = open();
    half.write_all(b"POST / HTTP/1.1\r\nHost: taking.lab.test\r\nContent-Length: 100\r\n\r\nabc").unwrap();
    let answer = read_all(&mut half);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    // Many of them keep nobody else out.
    let many: Vec<TcpStream> = (0..300).map(|_| open()).collect();
    daemon.curl("slow.lab.test", "/", &[]).is(200);
    drop(many);
}

#[test]
fn upstreams_that_are_dead_slow_or_lie() {
    let daemon = Daemon::start();
    let local = |port: u16| vec![format!("http://127.0.0.1:{port}")];
    let mut slow = site("slow", &local(silent()));
    slow.limits.time = 700;
    let sites = vec![
        site("dead", &local(1)),
        slow,
        site("garbage", &local(liar(b"SSH-2.0-OpenSSH_9.2\r\n"))),
        site("short", &local(liar(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"))),
        site("mute", &local(liar(b""))),
        site("both", &local(liar(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 30\r\n\r\nabc"))),
        site(
            "split",
            &local(liar(
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother",
            )),
        ),
        site("switch", &local(liar(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"))),
    ];
    daemon.apply(&daemon.snapshot(sites));
    let ask = |name: &str| daemon.curl(&format!("{name}.lab.test"), "/", &["--http1.1"]);
    ask("dead").is(502).says("dead does not answer").says("it refuses connections: nothing listens there");
    let begun = Instant::now();
    ask("slow").is(504).says("slow is too slow");
    assert!(begun.elapsed() < Duration::from_secs(5));
    ask("garbage").is(502).says("garbage did not answer properly").says("is no HTTP");
    // It began well: what is missing is told by the length.
    assert!(
        ask("short").error.contains("outstanding read data remaining")
            || ask("short").error.contains("transfer closed")
    );
    ask("mute").is(502).says("closed the connection without an answer");
    ask("both").is(502);
    // What an upstream says unasked is nobody's answer.
    for _ in 0..5 {
        assert_eq!(ask("split").is(200).body, "abc");
    }
    ask("switch").is(502);
    let page = daemon.curl("dead.lab.test", "/", &["-H", "Accept: text/html"]);
    page.is(502).says("<h1>dead does not answer</h1>").says("http-equiv=\"refresh\"");
}

#[test]
fn what_must_not_be_sent_twice_is_not() {
    let daemon = Daemon::start();
    // It closes each connection after one answer without saying so, as servers do that restart.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (count, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for (number, mut stream) in listener.incoming().flatten().enumerate() {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).unwrap_or(0);
            let _ =
                count.send(String::from_utf8_lossy(&buffer[..read]).split(' ').next().unwrap_or_default().to_string());
            if number % 2 == 0 {
                // It takes the request and dies.
                continue;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    daemon.apply(
        &daemon.snapshot(vec![site("app", &[format!("http://127.0.0.1:{port}"), format!("http://localhost:{port}")])]),
    );
    daemon.curl("app.lab.test", "/", &[]).is(200).says("ok");
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["GET", "GET"]);
    daemon.curl("app.lab.test", "/", &["-d", "buy=1"]).is(502);
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["POST"]);
}

#[test]
fn a_snapshot_that_cannot_be_served_changes_nothing() {
    let (mut daemon, nginx) = (Daemon::start(), Nginx::start(""));
    let good = daemon.snapshot(vec![site("wiki", &[nginx.url()])]);
    assert_eq!(daemon.push(5, &good), Reply::Applied { generation: 5 });
    assert_eq!(daemon.push(5, &good), Reply::AlreadyAt { generation: 5 });
    assert_eq!(daemon.push(4, &good), Reply::Stale { have: 5 });
    let refused = |change: &dyn Fn(&mut labwright_model::snapshot::proxy::ProxySnapshot)| {
        let mut bad = good.clone();
        change(&mut bad);
        match daemon.push(6, &bad) {
            Reply::Refused { reason } => reason,
            other => panic!("{other:?}"),
        }
    };
    let says = |reason: String, text: &str| assert!(reason.contains(text), "{reason}");
    says(refused(&|bad| bad.sites[0] = site("wiki", &["ftp://x".into()])), "does not begin with `http://`");
    says(refused(&|bad| bad.sites.push(site("wiki", &[nginx.url()]))), "stands in two sites");
    says(refused(&|bad| bad.certificates.authority.key = Some("none".into())), "the credential `none` cannot be read");
    says(refused(&|bad| drop(bad.sites[0].auth.basic.insert("a".into(), "none".into()))), "credential `none`");
    says(refused(&|bad| bad.listen.http = nginx.port), "another program has port");
    says(refused(&|bad| bad.listen.addresses = vec!["192.0.2.1".parse().unwrap()]), "this host has no such address");
    let status = daemon.status();
    assert_eq!(status.snapshot.unwrap().generation, 5);
    assert!(status.refused.is_some());
    daemon.curl("wiki.lab.test", "/", &[]).is(200);
    // Nobody who pushes, and no warning: what was served last is served again.
    daemon.kill();
    daemon.restart();
    daemon.curl("wiki.lab.test", "/", &[]).is(200);
    assert_eq!(daemon.status().snapshot.unwrap().generation, 5);
    // At boot somebody else may have the port for a while: it is told, and served as soon as they go.
    daemon.kill();
    let other = std::net::TcpListener::bind(("127.0.0.1", daemon.https)).unwrap();
    daemon.restart();
    let told = daemon.status().faults.join("\n");
    assert!(told.contains("cannot be served") && told.contains("another program has port"), "{told}");
    drop(other);
    wait_for("the last good snapshot", || daemon.status().snapshot.is_some());
    daemon.curl("wiki.lab.test", "/", &[]).is(200);
}

#[test]
fn a_kill_at_any_time_leaves_whole_certificates() {
    let (mut daemon, nginx) = (Daemon::start(), Nginx::start(""));
    let sites = |round: u32| (0..30).map(|n| site(&format!("s{round}-{n}"), &[nginx.url()])).collect::<Vec<_>>();
    for round in 1..6 {
        let snapshot = daemon.snapshot(sites(round));
        let socket = daemon.folder.path().join("run/control.sock");
        // Pushed without waiting, and killed in the middle of thirty signatures.
        let pushed = std::thread::spawn(move || {
            let roles = [("proxy".to_string(), serde_json::to_value(snapshot).unwrap())].into();
            let snapshot = labwright_model::snapshot::Snapshot {
                version: 1,
                generation: u64::from(round),
                lab: "test".into(),
                host: "gate".into(),
                roles,
            };
            let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
            let mut text = serde_json::to_vec(&Request::Apply { snapshot: Box::new(snapshot) }).unwrap();
            text.push(b'\n');
            let _ = stream.write_all(&text);
            let _ = stream.read(&mut [0; 16]);
        });
        std::thread::sleep(Duration::from_millis(u64::from(round) * 7));
        daemon.kill();
        pushed.join().unwrap();
        let state = daemon.folder.path().join("state/proxy");
        let files = std::fs::read_dir(&state).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "pem")) {
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
                continue;
            }
            let checked = Command::new("openssl").args(["x509", "-noout", "-in"]).arg(&path).output().unwrap();
            assert!(checked.status.success(), "{} is no certificate", path.display());
        }
        daemon.restart();
    }
    daemon.push(100, &daemon.snapshot(sites(9)));
    daemon.curl("s9-3.lab.test", "/", &[]).is(200);
}

#[test]
fn a_full_disk_is_told_and_serving_goes_on() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(""));
    daemon.apply(&daemon.snapshot(vec![site("a", &[nginx.url()])]));
    // A file system with room for nothing is put over the folder of certificates.
    let folder = daemon.folder.path().join("state/proxy");
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4k,nr_inodes=2", "none"]).arg(&folder).status();
    assert!(mount.unwrap().success(), "needs root");
    std::fs::write(folder.join("full"), vec![b'x'; 4096]).unwrap();
    let sites = vec![site("a", &[nginx.url()]), site("b", &[nginx.url()])];
    let reply = daemon.push(9, &daemon.snapshot(sites));
    let status = daemon.status();
    assert!(Command::new("umount").arg("-l").arg(&folder).status().unwrap().success());
    assert_eq!(reply, Reply::Applied { generation: 9 });
    let told = status.faults.join("\n");
    assert!(told.contains("make room on the disk") && told.contains("cannot be kept"), "{told}");
    daemon.curl("b.lab.test", "/", &[]).is(200);
}
