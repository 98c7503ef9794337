//! Names, routes, protocols, who may in.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use labwright_model::snapshot::control::Reply;
use labwright_model::snapshot::proxy::{Answer, Auth, Forward, Port, Route, Upstreams};

use crate::world::{Daemon, Nginx, free_port, net, own_certificate, passed_through, site, site_of, tool, wait_for};

const SHOW: &str = "location /show { return 200 'for=$http_x_forwarded_for real=$http_x_real_ip proto=$http_x_forwarded_proto \
                    host=$host fwd=$http_forwarded conn=$http_connection user=$http_remote_user auth=$http_authorization \
                    secret=$http_x_secret via=$server_protocol cookie=$http_cookie'; }";

#[test]
fn a_name_leads_to_its_service_over_both_protocols() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(SHOW));
    let mut plain = site("plain", &[nginx.url()]);
    plain.clear_text = false;
    plain.hsts = Some(3600);
    daemon.apply(&daemon.snapshot(vec![site("wiki", &[nginx.url()]), plain]));
    daemon.curl("wiki.lab.test", "/", &["--http1.1"]).is(200).says("from nginx").says("http/1.1 200");
    daemon.curl("wiki.lab.test", "/", &["--http2"]).is(200).says("from nginx").says("http/2 200");
    let to = format!("location: https://plain.lab.test:{}/a?b=c", daemon.https);
    let http = format!("http://plain.lab.test:{}/a?b=c", daemon.http);
    daemon.curl_url("plain.lab.test", &http, &[]).is(308).says(&to);
    daemon.curl("plain.lab.test", "/", &[]).says("strict-transport-security: max-age=3600");
    let other = format!("http://other.lab.test:{}/", daemon.http);
    daemon.curl_url("other.lab.test", &other, &[]).is(404).says("Nothing here is called other.lab.test");
    daemon.curl("other.lab.test", "/", &[]).is(0);
}

#[test]
fn upstreams_learn_who_asks_and_clients_cannot_lie() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(SHOW));
    let mut snapshot = daemon.snapshot(vec![site("wiki", &[nginx.url()])]);
    daemon.apply(&snapshot);
    let lies = [
        "-H",
        "X-Forwarded-For: 6.6.6.6",
        "-H",
        "X-Forwarded-Proto: ftp",
        "-H",
        "Forwarded: for=6.6.6.6",
        "-H",
        "X-Real-IP: 6.6.6.6",
        "-H",
        "Connection: X-Secret, close",
        "-H",
        "X-Secret: 1",
        "-H",
        "Cookie: a=1",
        "-H",
        "Cookie: b=2",
    ];
    for protocol in ["--http1.1", "--http2"] {
        let arguments: Vec<&str> = lies.iter().copied().chain([protocol]).collect();
        let seen = daemon.curl("wiki.lab.test", "/show", &arguments);
        seen.is(200)
            .says("for=127.0.0.1 real=127.0.0.1 proto=https host=wiki.lab.test fwd= conn= ")
            .says_not("6.6.6.6");
        seen.says("a=1").says("b=2");
    }
    snapshot.trusted = vec![net("127.0.0.1/32")];
    daemon.apply(&snapshot);
    let arguments = ["-H", "X-Forwarded-For: 6.6.6.6, 1.2.3.4"];
    daemon.curl("wiki.lab.test", "/show", &arguments).says("for=1.2.3.4, 127.0.0.1 real=1.2.3.4");
}

#[test]
fn expose_is_enforced_by_address() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(""));
    let mut inner = site("inner", &[nginx.url()]);
    inner.from = Some(vec![net("10.0.0.0/8")]);
    inner.expose = "lan".into();
    let mut snapshot = daemon.snapshot(vec![inner]);
    daemon.apply(&snapshot);
    daemon.curl("inner.lab.test", "/", &[]).is(403).says("from the lab's own networks, and 127.0.0.1 is not");
    // Nobody gets in by saying where they are, but for proxies that are trusted.
    daemon.curl("inner.lab.test", "/", &["-H", "X-Forwarded-For: 10.0.0.1"]).is(403);
    snapshot.trusted = vec![net("127.0.0.1/32")];
    daemon.apply(&snapshot);
    daemon.curl("inner.lab.test", "/", &["-H", "X-Forwarded-For: 10.0.0.1"]).is(200);
    daemon.curl("inner.lab.test", "/", &["-H", "X-Forwarded-For: 10.0.0.1, 9.9.9.9"]).is(403);
}

#[test]
fn headers_choose_the_service_and_several_upstreams_take_turns() {
    let daemon = Daemon::start();
    let say = |text: &str| Nginx::start(&format!("location / {{ return 200 '{text}'; }}"));
    let (mono, micro, other) = (say("monolith"), say("micro-a"), say("micro-b"));
    let mut gateway = site("gateway", &[mono.url()]);
    let urls = vec![micro.url(), other.url()];
    let answer =
        Answer::Upstreams(Upstreams { service: "micro".into(), urls, verify: "system".into(), ..Default::default() });
    gateway.routes = vec![Route { headers: [("x-mode".to_string(), "micro".to_string())].into(), answer }];
    daemon.apply(&daemon.snapshot(vec![gateway]));
    daemon.curl("gateway.lab.test", "/", &[]).says("monolith");
    daemon.curl("gateway.lab.test", "/", &["-H", "X-Mode: other"]).says("monolith");
    let ask = || daemon.curl("gateway.lab.test", "/", &["-H", "X-Mode: micro"]).body;
    let all: Vec<String> = (0..8).map(|_| ask()).collect();
    assert!(all.iter().any(|body| body == "micro-a") && all.iter().any(|body| body == "micro-b"), "{all:?}");
    // One of the two goes: nobody notices, and it comes back by itself.
    drop(other.process);
    for _ in 0..8 {
        daemon.curl("gateway.lab.test", "/", &["-H", "X-Mode: micro"]).is(200).says("micro-a");
    }
    wait_for("the other to be told down", || daemon.status().upstreams.values().flatten().any(|one| !one.up));
}

#[test]
fn passwords_and_forward_auth() {
    let daemon = Daemon::start();
    let app = Nginx::start(SHOW);
    let auth = Nginx::start(
        "location /api/authz/forward-auth { if ($http_x_forwarded_uri ~ login-ok) { add_header Remote-User ada always; return 200; } \
         return 302 https://auth.lab.test/?rd=$http_x_forwarded_host$http_x_forwarded_uri&m=$http_x_forwarded_method; }",
    );
    let hash =
        Command::new(tool("htpasswd", "apache2-utils")).args(["-nbBC", "5", "ada", "pass:word"]).output().unwrap();
    let hash = String::from_utf8(hash.stdout).unwrap();
    std::fs::write(daemon.folder.path().join("credentials/proxy.basic.ada"), hash.trim().trim_start_matches("ada:"))
        .unwrap();
    let mut basic = site("basic", &[app.url()]);
    basic.auth = Auth {
        basic: [("ada".to_string(), "proxy.basic.ada".to_string())].into(),
        open: vec!["/open".into()],
        ..Auth::default()
    };
    let mut forwarded = site("forwarded", &[app.url()]);
    forwarded.auth = Auth { forward: true, open: vec!["/open".into()], ..Auth::default() };
    let mut snapshot = daemon.snapshot(vec![basic, forwarded]);
    assert!(matches!(daemon.push(1, &snapshot), Reply::Refused { reason } if reason.contains("nobody to ask")));
    snapshot.forward = Some(Forward {
        to: Upstreams { service: "auth".into(), urls: vec![auth.url()], ..Default::default() },
        path: "/api/authz/forward-auth".into(),
        pass: vec![],
        headers: vec!["Remote-User".into()],
    });
    daemon.apply(&snapshot);
    daemon.curl("basic.lab.test", "/show", &[]).is(401).says("www-authenticate: basic realm=\"basic\"");
    daemon.curl("basic.lab.test", "/show", &["-u", "ada:wrong"]).is(401);
    daemon.curl("basic.lab.test", "/show", &["-u", "eve:pass:word"]).is(401);
    // What was for the door is not told behind it.
    daemon.curl("basic.lab.test", "/show", &["-u", "ada:pass:word"]).is(200).says("auth= ");
    daemon.curl("basic.lab.test", "/open/x", &[]).is(404);
    let stopped = daemon.curl("forwarded.lab.test", "/show?x", &["-X", "PUT", "-H", "Remote-User: root"]);
    stopped.is(302).says("location: https://auth.lab.test/?rd=forwarded.lab.test/show?x&m=put");
    daemon.curl("forwarded.lab.test", "/show?login-ok", &["-H", "Remote-User: root"]).is(200).says("user=ada ");
    // An open path tells no user either.
    daemon.curl("forwarded.lab.test", "/open/../show", &["--path-as-is", "-H", "Remote-User: root"]).is(302);
    daemon.curl("forwarded.lab.test", "/open", &["-H", "Remote-User: root"]).is(404);
    drop(auth.process);
    daemon.curl("forwarded.lab.test", "/show?login-ok", &[]).is(502).says("auth does not answer");
}

#[test]
fn static_sites() {
    let daemon = Daemon::start();
    let folder = daemon.folder.path().join("site");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    std::fs::write(folder.join("index.html"), "0123456789").unwrap();
    std::fs::write(folder.join("sub/index.html"), "sub").unwrap();
    std::fs::write(folder.join("404.html"), "own page").unwrap();
    let big: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(folder.join("big.bin"), &big).unwrap();
    daemon.apply(&daemon.snapshot(vec![site_of("pages", Answer::Folder(folder.display().to_string()))]));
    let first = daemon.curl("pages.lab.test", "/", &[]);
    first.is(200).says("0123456789").says("content-type: text/html; charset=utf-8");
    let tag = first.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_string();
    daemon.curl("pages.lab.test", "/", &["-H", &format!("If-None-Match: {tag}")]).is(304);
    daemon.curl("pages.lab.test", "/", &["-r", "2-4"]).is(206).says("content-range: bytes 2-4/10");
    assert_eq!(daemon.curl("pages.lab.test", "/", &["-r", "2-4"]).body, "234");
    daemon.curl("pages.lab.test", "/", &["-r", "20-"]).is(416);
    daemon.curl("pages.lab.test", "/sub", &[]).is(308).says("location: /sub/");
    daemon.curl("pages.lab.test", "//evil.example/%2e%2e", &["--path-as-is"]).is(404);
    daemon.curl("pages.lab.test", "/%2e%2e/log", &["--path-as-is"]).is(404).says("own page");
    daemon.curl("pages.lab.test", "/", &["-X", "POST"]).is(405).says("allow: get, head");
    let out = daemon.folder.path().join("big.out");
    let got = daemon.curl("pages.lab.test", "/big.bin", &["-I"]);
    got.is(200).says("content-length: 1000000");
    let url = format!("https://pages.lab.test:{}/big.bin", daemon.https);
    let status = Command::new(tool("curl", "curl"))
        .args(["-s", "--cacert", daemon.ca().to_str().unwrap(), "--resolve"])
        .args([&format!("pages.lab.test:{}:127.0.0.1", daemon.https), "-o", out.to_str().unwrap(), &url])
        .status();
    assert!(status.unwrap().success());
    assert_eq!(std::fs::read(out).unwrap(), big);
}

#[test]
fn upgrades_go_through_both_ways() {
    let daemon = Daemon::start();
    // A server of some protocol: after the handshake it says everything back in capitals.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                let count = stream.read(&mut buffer).unwrap();
                let head = String::from_utf8_lossy(&buffer[..count]).to_ascii_lowercase();
                assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
                let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Key: k\r\n\r\nhello ";
                stream.write_all(answer).unwrap();
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    buffer[..count].make_ascii_uppercase();
                    stream.write_all(&buffer[..count]).unwrap();
                }
            });
        }
    });
    daemon.apply(&daemon.snapshot(vec![site("chat", &[format!("http://127.0.0.1:{port}")])]));
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.http)).unwrap();
    stream
        .write_all(
            b"GET /ws HTTP/1.1\r\nHost: chat.lab.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    while !seen.contains("hello ") {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(seen.starts_with("HTTP/1.1 101") && seen.to_ascii_lowercase().contains("upgrade: websocket"), "{seen}");
    stream.write_all(b"abc").unwrap();
    let mut back = [0; 3];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ABC");
}

#[test]
fn ports_and_names_are_handed_through() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(""));
    let (own, certificate) = own_certificate(daemon.folder.path(), "tls.lab.test");
    let tls = Nginx::listening(
        &format!("{} ssl", free_port()),
        &format!("{certificate} location / {{ return 200 'own tls'; }}"),
    );
    let through = passed_through("tls", tls.port);
    let mut ended = through.clone();
    (ended.service, ended.names, ended.passthrough) = ("ended".into(), vec!["ended.lab.test".into()], false);
    let mut snapshot = daemon.snapshot(vec![through, ended, site("wiki", &[nginx.url()])]);
    let port = free_port();
    let to = vec![format!("127.0.0.1:{}", nginx.port)];
    snapshot.ports = vec![Port { service: "wiki".into(), port, to, from: None, proxy_protocol: false }];
    daemon.apply(&snapshot);
    daemon.curl("tls.lab.test", "/", &["--cacert", &own]).is(200).says("own tls");
    daemon.curl("ended.lab.test", "/", &[]).is(200).says("own tls");
    daemon.curl("wiki.lab.test", "/", &[]).is(200).says("from nginx");
    let url = format!("http://127.0.0.1:{port}/");
    daemon.curl_url("wiki.lab.test", &url, &[]).is(200).says("from nginx");
    snapshot.ports[0].from = Some(vec![net("10.0.0.0/8")]);
    daemon.apply(&snapshot);
    daemon.curl_url("wiki.lab.test", &url, &[]).is(0);
}

#[test]
fn http2_upstreams_and_trailers_as_grpc_has_them() {
    let daemon = Daemon::start();
    // nginx speaks HTTP/2 in clear text; what it is told says which protocol it was asked in.
    let nginx = Nginx::listening(&format!("{} http2", free_port()), SHOW);
    daemon.apply(&daemon.snapshot(vec![site("rpc", &[format!("h2c://127.0.0.1:{}", nginx.port)])]));
    for protocol in ["--http1.1", "--http2"] {
        daemon.curl("rpc.lab.test", "/show", &[protocol]).is(200).says("via=HTTP/2.0").says("host=rpc.lab.test");
    }
    let trailing = crate::world::liar(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n3\r\nabc\r\n0\r\ngrpc-status: 0\r\n\r\n",
    );
    daemon.apply(&daemon.snapshot(vec![site("rpc", &[format!("http://127.0.0.1:{trailing}")])]));
    daemon.curl("rpc.lab.test", "/", &["--http2", "-H", "TE: trailers"]).is(200).says("abc").says("grpc-status: 0");
}

#[test]
fn other_origins_are_let_in_by_name() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(""));
    let mut api = site("api", &[nginx.url()]);
    api.cors = vec!["https://app.example".into()];
    daemon.apply(&daemon.snapshot(vec![api]));
    let allowed = "access-control-allow-origin: https://app.example";
    daemon.curl("api.lab.test", "/", &["-H", "Origin: https://app.example"]).is(200).says(allowed);
    daemon.curl("api.lab.test", "/", &["-H", "Origin: https://evil.example"]).is(200).says_not("access-control");
    let ask = ["-X", "OPTIONS", "-H", "Origin: https://app.example", "-H", "Access-Control-Request-Method: PUT"];
    daemon.curl("api.lab.test", "/", &ask).is(204).says(allowed).says("access-control-allow-methods: put");
}
