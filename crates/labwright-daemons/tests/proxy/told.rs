//! What is said of a visitor: to services (where they are, who they are behind another proxy), and in the access log.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use labwright_model::snapshot::proxy::Port;

use crate::world::{
    Answered, Daemon, Nginx, free_port, net, own_certificate, passed_through, read_all, site, wait_for,
};

/// Databases of one made-up network, written by the PyPI package `mmdb_writer` in the form of GeoIP2 City.
const FIRST: &[u8] = include_bytes!("geo/first.mmdb");
const SECOND: &[u8] = include_bytes!("geo/second.mmdb");

const SHOW: &str = "location / { return 200 'geo=$http_x_geo_country/$http_x_geo_region/$http_x_geo_city/$http_x_geo_latitude \
                    for=$http_x_forwarded_for real=$http_x_real_ip'; }";

#[test]
fn a_service_learns_where_a_visitor_is_and_a_new_edition_is_taken_by_itself() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(SHOW));
    let file = daemon.folder.path().join("city.mmdb");
    let mut told = site("map", &[nginx.url()]);
    told.geo = true;
    let mut snapshot = daemon.snapshot(vec![told, site("wiki", &[nginx.url()])]);
    snapshot.geo = Some(file.display().to_string());
    daemon.apply(&snapshot);
    // Without a file it is told, and people are let in all the same; a visitor cannot say where they are.
    let lie = ["-H", "X-Geo-Country: ZZ"];
    daemon.curl("map.lab.test", "/", &lie).is(200).says("geo=///");
    let faults = daemon.status().faults.join("\n");
    assert!(faults.contains("the geo database") && faults.contains("city.mmdb"), "{faults}");
    std::fs::write(&file, FIRST).unwrap();
    let shows = |text: &str| daemon.curl("map.lab.test", "/", &lie).body.contains(text);
    wait_for("the first edition", || shows("geo=NO/54/Troms"));
    assert!(shows("/69.65 "), "{:?}", daemon.curl("map.lab.test", "/", &[]));
    // A service that did not ask for it is told nothing.
    daemon.curl("wiki.lab.test", "/", &[]).is(200).says("geo=///");
    // A broken edition is told, and the one before stays in use.
    let put = |bytes: &[u8]| {
        let new = file.with_extension("new");
        std::fs::write(&new, bytes).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    put(&FIRST[..100]);
    wait_for("its fault", || daemon.log().contains("the new geo database is not used"));
    assert!(shows("geo=NO/54/Troms"));
    put(SECOND);
    wait_for("the second edition", || shows("geo=NO/54/Bergen"));
}

/// The lines of the access log.
fn lines(daemon: &Daemon) -> Vec<serde_json::Value> {
    let all = daemon.log();
    let json = all.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    json.filter(|line| line.get("status").is_some() && line.get("method").is_some()).collect()
}

#[test]
fn every_request_is_a_line_of_the_access_log_and_no_line_tells_a_secret() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(""));
    let sites = vec![site("wiki", &[nginx.url()]), site("dead", &[format!("http://127.0.0.1:{}", free_port())])];
    let mut snapshot = daemon.snapshot(sites);
    daemon.apply(&snapshot);
    daemon.curl("wiki.lab.test", "/quiet", &[]);
    snapshot.access_log = true;
    daemon.apply(&snapshot);
    let secrets = ["-H", "Authorization: Bearer canary-token", "-H", "Cookie: session=canary-cookie"];
    let agent = ["-A", "a \"quoted\" agent"];
    daemon.curl("wiki.lab.test", "/", &[&secrets[..], &agent[..]].concat()).is(200);
    daemon.curl("wiki.lab.test", "/missing", &["--http2"]).is(404);
    daemon.curl("dead.lab.test", "/", &["--http1.1", "-X", "POST", "-d", "x=canary-body"]);
    wait_for("three lines", || lines(&daemon).len() >= 3);
    let lines = lines(&daemon);
    assert_eq!(lines.len(), 3, "{lines:?}");
    let text = |line: usize, key: &str| lines[line][key].as_str().unwrap_or_default().to_string();
    let shape = |line: usize| {
        (text(line, "service"), text(line, "method"), text(line, "path"), lines[line]["status"].as_u64().unwrap())
    };
    assert_eq!(shape(0), ("wiki".into(), "GET".into(), "/".into(), 200));
    assert_eq!(shape(1), ("wiki".into(), "GET".into(), "/missing".into(), 404));
    assert_eq!((text(2, "service"), text(2, "method")), ("dead".into(), "POST".into()));
    assert!(lines[2]["status"].as_u64().unwrap() >= 500, "{lines:?}");
    assert_eq!(lines[0]["bytes"], "from nginx\n".len());
    assert_eq!(text(0, "client"), "127.0.0.1");
    assert_eq!((text(0, "host"), text(1, "version")), ("wiki.lab.test".into(), "HTTP/2.0".into()));
    assert!(text(0, "user_agent").contains("a \"quoted\" agent"), "{lines:?}");
    assert!(lines[0]["seconds"].as_f64().unwrap() < 20.0);
    assert!(!daemon.log().contains("canary"), "the access log tells a secret");
}

/// A header of the PROXY protocol, version 2 (section 2.2), for TCP over IPv4.
fn second_version(from: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(from);
    header.extend([127, 0, 0, 1]);
    header.extend(4000_u16.to_be_bytes());
    header.extend(443_u16.to_be_bytes());
    header
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: wiki.lab.test\r\nConnection: close\r\n\r\n";
const FIRST_VERSION: &[u8] = b"PROXY TCP4 203.0.113.9 127.0.0.1 4000 80\r\n";

#[test]
fn a_load_balancer_in_front_says_who_comes_and_nobody_else_may() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(SHOW));
    let mut inside = site("inside", &[nginx.url()]);
    inside.from = Some(vec![net("10.0.0.0/8")]);
    let mut snapshot = daemon.snapshot(vec![site("wiki", &[nginx.url()]), inside]);
    snapshot.trusted = vec![net("127.0.0.0/8")];
    snapshot.proxy_protocol = true;
    daemon.apply(&snapshot);
    let says = |header: &[u8], text: &str| {
        let answer = daemon.raw(&[header, REQUEST].concat());
        assert!(answer.contains(text), "no `{text}` in {answer:?}");
    };
    says(FIRST_VERSION, "for=203.0.113.9 real=203.0.113.9");
    says(&second_version([203, 0, 113, 10]), "for=203.0.113.10 real=203.0.113.10");
    // What it says of itself: a check of its own health.
    says(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "for=127.0.0.1");
    // Who may in is decided by whoever it is from.
    let inside = String::from_utf8_lossy(REQUEST).replace("wiki", "inside");
    let at_inside = |from: [u8; 4]| daemon.raw(&[&second_version(from), inside.as_bytes()].concat());
    assert!(at_inside([10, 1, 2, 3]).starts_with("HTTP/1.1 200"), "{}", at_inside([10, 1, 2, 3]));
    assert!(at_inside([203, 0, 113, 9]).starts_with("HTTP/1.1 403"), "{}", at_inside([203, 0, 113, 9]));
    // In pieces, as networks may have it.
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.http)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for byte in second_version([203, 0, 113, 11]) {
        stream.write_all(&[byte]).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    stream.write_all(REQUEST).unwrap();
    let answer = read_all(&mut stream);
    assert!(answer.contains("for=203.0.113.11"), "{answer}");
    // Without a header, or with half of one, nobody is let in: it must not be guessed.
    for bytes in [REQUEST, b"PROXY TCP4 nonsense\r\n".as_slice(), b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"] {
        assert_eq!(daemon.raw(&[bytes, &[b' '; 4096]].concat()), "", "{bytes:?}");
    }
    // Over TLS the header comes before the handshake; curl says its own address.
    daemon.curl("wiki.lab.test", "/", &["--haproxy-protocol", "--http2"]).is(200).says("for=127.0.0.1");
    daemon.curl("wiki.lab.test", "/", &[]).is(0);
    // From somebody who is not trusted it is no header, and whoever does not ask for it gets none.
    snapshot.trusted = vec![net("10.0.0.0/8")];
    daemon.apply(&snapshot);
    let answer = daemon.raw(&[FIRST_VERSION, REQUEST].concat());
    assert!(!answer.contains("203.0.113.9") && !answer.starts_with("HTTP/1.1 200"), "{answer}");
    daemon.curl("wiki.lab.test", "/", &[]).is(200).says("for=127.0.0.1");
}

#[test]
fn a_service_behind_a_port_learns_who_connects() {
    let daemon = Daemon::start();
    let (own, certificate) = own_certificate(daemon.folder.path(), "tls.lab.test");
    let told = "location / { return 200 'from=$proxy_protocol_addr at=$proxy_protocol_server_port'; }";
    let plain = Nginx::listening(&format!("{} proxy_protocol", free_port()), told);
    let tls = Nginx::listening(&format!("{} ssl proxy_protocol", free_port()), &format!("{certificate} {told}"));
    let mut through = passed_through("tls", tls.port);
    through.proxy_protocol = true;
    let mut snapshot = daemon.snapshot(vec![through]);
    let port = free_port();
    let to = vec![format!("127.0.0.1:{}", plain.port)];
    snapshot.ports = vec![Port { service: "db".into(), port, to, from: None, proxy_protocol: true }];
    daemon.apply(&snapshot);
    let url = format!("http://127.0.0.1:{port}/");
    let at = format!("from=127.0.0.1 at={port}");
    daemon.curl_url("db.lab.test", &url, &[]).is(200).says(&at);
    let said: Answered = daemon.curl("tls.lab.test", "/", &["--cacert", &own]);
    said.is(200).says(&format!("from=127.0.0.1 at={}", daemon.https));
    // Told on from a load balancer in front.
    snapshot.trusted = vec![net("127.0.0.0/8")];
    snapshot.proxy_protocol = true;
    daemon.apply(&snapshot);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(&[FIRST_VERSION, REQUEST].concat()).unwrap();
    let mut answer = [0; 4096];
    let count = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
    let rest = read_all(&mut stream);
    assert!(format!("{answer}{rest}").contains("from=203.0.113.9"), "{answer}{rest}");
}
