//! Wildcards by proofs in DNS: a real name server that takes updates, and the three services, each by its published API.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use labwright_model::snapshot::proxy::{Dns01, ProxySnapshot};

use crate::acme::{Pebble, Ports};
use crate::world::{Daemon, Nginx, Program, free_port, site, tool, wait_for};

fn dns01(provider: &str) -> Dns01 {
    Dns01 {
        provider: provider.into(),
        token: Some("proxy.dns01".into()),
        server: None,
        key: None,
        algorithm: "hmac-sha256".into(),
        account: None,
        subdomain: None,
        zone: None,
        wait: 0,
    }
}

fn snapshot(daemon: &Daemon, pebble: &Pebble, dns: Dns01, nginx: &Nginx) -> ProxySnapshot {
    let mut deep = site("deep", &[nginx.url()]);
    deep.names = vec!["lab.test".into()];
    let mut snapshot = daemon.snapshot(vec![site("wiki", &[nginx.url()]), site("photos", &[nginx.url()]), deep]);
    let mut acme = pebble.acme();
    acme.wildcard = vec!["lab.test".into()];
    acme.dns = Some(dns);
    snapshot.certificates.acme = Some(acme);
    snapshot
}

fn token(daemon: &Daemon, token: &str) {
    std::fs::write(daemon.folder.path().join("credentials/proxy.dns01"), token).unwrap();
}

fn one_wildcard(daemon: &Daemon, pebble: &Pebble) {
    wait_for("the wildcard", || {
        let all = daemon.status().certificates;
        assert!(all.iter().all(|one| one.error.is_none()), "{all:?}\n{}", daemon.log());
        all.iter().all(|one| one.not_after.is_some())
    });
    let all = daemon.status().certificates;
    assert_eq!(all.len(), 1, "{all:?}");
    let root = pebble.root();
    for name in ["wiki.lab.test", "photos.lab.test", "lab.test"] {
        daemon.curl(name, "/", &["--cacert", &root]).is(200);
    }
}

#[test]
fn a_name_server_takes_signed_updates() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(""));
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display().to_string();
    let secret = "c2VjcmV0LW9mLXRoZS1rZXktb2YtdGhpcy10ZXN0ISE=";
    std::fs::write(
        folder.path().join("lab.test.zone"),
        "$TTL 60\n@ IN SOA ns.lab.test. root.lab.test. 1 60 60 60 60\n@ IN NS ns.lab.test.\nns IN A 127.0.0.1\n",
    )
    .unwrap();
    std::fs::write(
        folder.path().join("named.conf"),
        format!(
            "key \"lab\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n\
             options {{ directory \"{at}\"; pid-file none; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; \
             recursion no; session-keyfile none; }};\ncontrols {{ }};\n\
             zone \"lab.test\" {{ type primary; file \"{at}/lab.test.zone\"; allow-update {{ key lab; }}; }};\n"
        ),
    )
    .unwrap();
    let mut command = Command::new(tool("named", "bind9"));
    command.args(["-g", "-c", &format!("{at}/named.conf")]).stdout(Stdio::null()).stderr(Stdio::null());
    let _named = Program(command.spawn().unwrap());
    wait_for("named", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let pebble = Pebble::asking(Some(port), &Ports { http: daemon.http, tls: daemon.https }, &[]);
    token(&daemon, "d3Jvbmc=");
    let dns = Dns01 { server: Some(format!("127.0.0.1:{port}")), key: Some("lab".into()), ..dns01("rfc2136") };
    let snapshot = snapshot(&daemon, &pebble, dns, &nginx);
    daemon.apply(&snapshot);
    // A wrong key is told in the server's own word.
    wait_for("an error", || daemon.status().certificates[0].error.is_some());
    let error = daemon.status().certificates[0].error.clone().unwrap();
    assert!(error.contains("no proof of `lab.test` at `rfc2136`"), "{error}");
    drop(daemon);
    let daemon = Daemon::start();
    token(&daemon, secret);
    let pebble = Pebble::asking(Some(port), &Ports { http: daemon.http, tls: daemon.https }, &[]);
    let dns = Dns01 { server: Some(format!("127.0.0.1:{port}")), key: Some("lab".into()), ..dns01("rfc2136") };
    daemon.apply(&self::snapshot(&daemon, &pebble, dns, &nginx));
    one_wildcard(&daemon, &pebble);
    let left = Command::new(tool("dig", "bind9-dnsutils"))
        .args(["+short", "@127.0.0.1", "-p", &port.to_string(), "TXT", "_acme-challenge.lab.test"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "a proof was left behind");
}

/// A provider of DNS: an API that changes records, and a name server that has them.
struct Provider {
    api: u16,
    dns: u16,
    texts: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

type Texts = BTreeMap<String, Vec<String>>;

impl Provider {
    /// `answer` gets method and path, headers and body, and changes the records.
    fn start(answer: fn(&str, &str, &str, &serde_json::Value, &mut Texts) -> (u16, serde_json::Value)) -> Provider {
        let texts: Arc<Mutex<Texts>> = Arc::default();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = listener.local_addr().unwrap().port();
        let (records, log) = (texts.clone(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream);
                let (mut first, mut head, mut length) = (String::new(), String::new(), 0);
                reader.read_line(&mut first).unwrap();
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                    head.push_str(&line);
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let body = serde_json::from_slice(&body).unwrap_or(serde_json::Value::Null);
                let mut words = first.split(' ');
                let (method, path) = (words.next().unwrap(), words.next().unwrap());
                log.lock().unwrap().push(format!("{method} {path}"));
                let (status, value) = answer(method, path, &head, &body, &mut records.lock().unwrap());
                let text = value.to_string();
                let answer =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len());
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        });
        Provider { api, dns: serve(texts.clone()), texts, asked }
    }
}

/// A name server that knows TXT records, and nothing else.
fn serve(texts: Arc<Mutex<Texts>>) -> u16 {
    use hickory_proto::op::{Message, MessageType, ResponseCode};
    use hickory_proto::rr::rdata::{A, TXT};
    use hickory_proto::rr::{RData, Record, RecordType};
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((count, peer)) = socket.recv_from(&mut buffer) {
            let Ok(mut message) = Message::from_vec(&buffer[..count]) else { continue };
            let Some(query) = message.queries.first().cloned() else { continue };
            message.metadata.message_type = MessageType::Response;
            message.metadata.response_code = ResponseCode::NoError;
            let name = query.name().to_string().trim_end_matches('.').to_ascii_lowercase();
            match query.query_type() {
                RecordType::TXT => {
                    for text in texts.lock().unwrap().get(&name).into_iter().flatten() {
                        let data = RData::TXT(TXT::new(vec![text.clone()]));
                        message.answers.push(Record::from_rdata(query.name().clone(), 1, data));
                    }
                }
                RecordType::A => {
                    let data = RData::A(A::new(127, 0, 0, 1));
                    message.answers.push(Record::from_rdata(query.name().clone(), 1, data));
                }
                _ => {}
            }
            let _ = socket.send_to(&message.to_vec().unwrap(), peer);
        }
    });
    port
}

fn wildcard_at(provider: &Provider, mut dns: Dns01) {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(""));
    token(&daemon, "the-token");
    let pebble = Pebble::asking(Some(provider.dns), &Ports { http: daemon.http, tls: daemon.https }, &[]);
    dns.server = Some(format!("http://127.0.0.1:{}", provider.api));
    daemon.apply(&snapshot(&daemon, &pebble, dns, &nginx));
    one_wildcard(&daemon, &pebble);
    assert!(!daemon.log().contains("the-token"));
}

#[test]
fn cloudflare() {
    let provider = Provider::start(|method, path, head, body, texts| {
        if !head.to_ascii_lowercase().contains("authorization: bearer the-token") {
            return (403, serde_json::json!({ "success": false }));
        }
        match (method, path) {
            ("GET", "/zones?name=lab.test") => (200, serde_json::json!({ "result": [{ "id": "z1" }] })),
            ("GET", _) => (200, serde_json::json!({ "result": [] })),
            ("POST", "/zones/z1/dns_records") => {
                let text = |key: &str| body[key].as_str().unwrap().to_string();
                assert_eq!(text("type"), "TXT");
                let value = text("content").trim_matches('"').to_string();
                let all = texts.entry(text("name")).or_default();
                all.push(value.clone());
                (200, serde_json::json!({ "result": { "id": value } }))
            }
            ("DELETE", path) => {
                let id = path.rsplit('/').next().unwrap();
                texts.values_mut().for_each(|all| all.retain(|value| value != id));
                (200, serde_json::json!({ "result": {} }))
            }
            _ => (404, serde_json::Value::Null),
        }
    });
    wildcard_at(&provider, dns01("cloudflare"));
    assert!(provider.texts.lock().unwrap().values().all(Vec::is_empty), "a proof was left behind");
}

#[test]
fn desec() {
    let provider = Provider::start(|method, path, head, body, texts| {
        if !head.to_ascii_lowercase().contains("authorization: token the-token") {
            return (401, serde_json::json!({ "detail": "Invalid token." }));
        }
        let of = |texts: &Texts| {
            let quoted = texts.get("_acme-challenge.lab.test").into_iter().flatten().map(|text| format!("\"{text}\""));
            quoted.collect::<Vec<_>>()
        };
        match (method, path) {
            ("GET", path) if path.starts_with("/domains/?owns_qname=") => {
                (200, serde_json::json!([{ "name": "lab.test" }]))
            }
            ("GET", "/domains/lab.test/rrsets/_acme-challenge/TXT/") => {
                (200, serde_json::json!({ "records": of(texts) }))
            }
            ("PUT", "/domains/lab.test/rrsets/") => {
                let records = body[0]["records"].as_array().unwrap().iter();
                let records = records.map(|text| text.as_str().unwrap().trim_matches('"').to_string()).collect();
                texts.insert(format!("{}.lab.test", body[0]["subname"].as_str().unwrap()), records);
                (200, serde_json::json!([]))
            }
            _ => (404, serde_json::Value::Null),
        }
    });
    wildcard_at(&provider, dns01("desec"));
    assert!(provider.texts.lock().unwrap().values().all(Vec::is_empty), "a proof was left behind");
}

#[test]
fn acme_dns() {
    let provider = Provider::start(|method, path, head, body, texts| {
        let head = head.to_ascii_lowercase();
        if (method, path) != ("POST", "/update")
            || !head.contains("x-api-user: me")
            || !head.contains("x-api-key: the-token")
        {
            return (401, serde_json::json!({ "error": "unauthorized" }));
        }
        assert_eq!(body["subdomain"], "sub");
        let all = texts.entry("_acme-challenge.lab.test".into()).or_default();
        all.push(body["txt"].as_str().unwrap().to_string());
        // It keeps two, for a domain and its wildcard.
        let surplus = all.len().saturating_sub(2);
        all.drain(..surplus);
        (200, body.clone())
    });
    let dns = dns01("acme-dns");
    wildcard_at(&provider, Dns01 { account: Some("me".into()), subdomain: Some("sub".into()), ..dns });
    assert!(provider.asked.lock().unwrap().len() >= 2);
}
