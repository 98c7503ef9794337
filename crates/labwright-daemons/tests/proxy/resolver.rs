//! The resolver beside the proxy, in one daemon: asked by dig, kept under load by dnsperf.

use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use labwright_model::snapshot::control::{Reply, Request};
use labwright_model::snapshot::dns::told::{Ask, QueriesAsk, Statistics, Told};
use labwright_model::snapshot::dns::{
    Access, Data, DnsSnapshot, Filter, Forward, Group, List, ListSource, Listen, Log, Record, Transport, Upstream,
};
use labwright_model::snapshot::{DNS, PROXY};

use crate::world::{Daemon, Nginx, Program, site, tool, wait_for};

/// A port that was free a moment ago, for UDP and TCP.
fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A lab of one name, `nas`, at the last octet `last`; what is below `ads.example` is blocked.
fn names(port: u16, last: u8) -> DnsSnapshot {
    let record = |name: String, last: u8| Record {
        name,
        ttl: 60,
        data: Data::Address(std::net::Ipv4Addr::new(10, 0, 20, last).into()),
    };
    let mut records: Vec<Record> = (0..200).map(|n| record(format!("svc{n}.lab.test"), 80)).collect();
    records.push(record("nas.lab.test".into(), last));
    let rules = vec!["||ads.example^".to_string()];
    DnsSnapshot {
        listen: Listen { addresses: vec!["127.0.0.1".parse().unwrap()], port },
        servers: vec!["gate.lab.test".into()],
        zones: vec!["lab.test".into()],
        negative_ttl: 60,
        records,
        filter: Filter {
            lists: vec![List { name: "rules".into(), source: ListSource::Rules(rules), allow: false }],
            groups: vec![Group { name: "everyone".into(), clients: Vec::new(), lists: vec![0] }],
            refresh: 86400,
            ..Filter::default()
        },
        access: Access { networks: Vec::new(), rate_limit: 0 },
        log: Log { keep_days: 2, clients: true },
        ..DnsSnapshot::default()
    }
}

fn dig(port: u16, arguments: &str) -> String {
    let output = Command::new(tool("dig", "bind9-dnsutils"))
        .args(["-p", &port.to_string(), "@127.0.0.1", "+time=2", "+tries=1", "+short"])
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    // Who does not answer is told in comments.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| !line.starts_with(';')).collect::<Vec<_>>().join(" ")
}

fn json(snapshot: &DnsSnapshot) -> serde_json::Value {
    serde_json::to_value(snapshot).unwrap()
}

fn taken(daemon: &Daemon, generation: u64, roles: &[(&str, serde_json::Value)]) {
    let reply = daemon.push_roles(generation, roles);
    assert_eq!(reply, Reply::Applied { generation }, "{}", daemon.log());
}

fn told(daemon: &Daemon, dns: Ask) -> Told {
    match daemon.ask(&Request::Dns { dns }) {
        Reply::Dns { dns } => dns,
        other => panic!("{other:?}\n{}", daemon.log()),
    }
}

fn statistics(daemon: &Daemon) -> Statistics {
    match told(daemon, Ask::Statistics { tops: 3 }) {
        Told::Statistics(statistics) => *statistics,
        other => panic!("{other:?}"),
    }
}

fn observed(daemon: &Daemon, path: &str) -> String {
    let output = Command::new(tool("curl", "curl"))
        .args(["--silent", "--max-time", "5", "--unix-socket"])
        .arg(daemon.folder.path().join("run/observe.sock"))
        .arg(format!("http://daemon{path}"))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Queries of the lab's names, of blocked ones, and of some that are asked elsewhere.
struct Load(Program);

impl Load {
    fn start(folder: &Path, port: u16, seconds: u32, more: &[&str]) -> Load {
        let mut queries = String::new();
        for n in 0..5000 {
            queries.push_str(&match n % 4 {
                0 => "nas.lab.test A\n".to_string(),
                1 => format!("svc{}.lab.test A\n", n % 200),
                2 => format!("h{}.n.example A\n", n % 50),
                _ => format!("x{n}.ads.example A\n"),
            });
        }
        std::fs::write(folder.join("queries"), queries).unwrap();
        let mut command = Command::new(tool("dnsperf", "dnsperf"));
        command.args([
            "-s",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-d",
            "queries",
            "-c",
            "8",
            "-q",
            "40",
            "-Q",
            "4000",
        ]);
        command.args(["-l", &seconds.to_string(), "-t", "4"]).args(more).current_dir(folder);
        Load(Program(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()))
    }

    /// Queries that were answered, and those that were not; and all that dnsperf says.
    fn ended(mut self) -> (u64, u64, String) {
        let mut text = String::new();
        self.0.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let number = |word: &str| -> u64 {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(word)).unwrap_or_else(|| panic!("{text}"));
            line.trim().split(' ').next().unwrap().parse().unwrap()
        };
        (number("Queries completed:"), number("Queries lost:"), text)
    }
}

/// unbound, which knows all names of `n.example`.
fn unbound(folder: &Path) -> (Program, Upstream) {
    let port = free_port();
    let file = folder.join("unbound.conf");
    let text = format!(
        "server:\n directory: \"{0}\"\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n use-syslog: no\n interface: 127.0.0.1@{port}\n \
         num-threads: 1\n access-control: 127.0.0.0/8 allow\n module-config: \"iterator\"\n \
         local-zone: \"n.example\" redirect\n local-data: \"n.example 300 A 192.0.2.7\"\nremote-control:\n control-enable: no\n",
        folder.display()
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(tool("unbound", "unbound"));
    let child = command.arg("-d").arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("unbound", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let upstream = Upstream {
        transport: Transport::Udp,
        host: "127.0.0.1".into(),
        port,
        tls_name: "127.0.0.1".into(),
        path: String::new(),
    };
    (Program(child), upstream)
}

#[test]
fn one_process_answers_names_and_requests() {
    let (daemon, nginx, port) = (Daemon::start(), Nginx::start(""), free_port());
    let proxy = serde_json::to_value(daemon.snapshot(vec![site("wiki", &[nginx.url()])])).unwrap();
    assert!(
        matches!(daemon.ask(&Request::Dns { dns: Ask::Refresh }), Reply::Refused { reason } if reason.contains("resolves nothing"))
    );
    taken(&daemon, 1, &[(DNS, json(&names(port, 5))), (PROXY, proxy.clone())]);
    assert_eq!(dig(port, "nas.lab.test"), "10.0.20.5");
    assert_eq!(dig(port, "+tcp nas.lab.test"), "10.0.20.5");
    daemon.curl("wiki.lab.test", "/", &[]).is(200);
    assert_eq!(observed(&daemon, "/healthz"), "serving generation 1: dns, proxy\n");
    let metrics = observed(&daemon, "/metrics");
    for line in ["labwright_dns_queries_total{outcome=\"local\"} 2", "labwright_proxy_", "labwright_dns_generation 1.0"]
    {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    wait_for("lists", || dig(port, "x.ads.example") == "0.0.0.0");

    // What only the resolver knows.
    let one = statistics(&daemon);
    assert!(one.lists_ready && one.local_names >= 201 && one.outcomes["local"] == 2, "{one:?}");
    assert_eq!(one.listening, [format!("127.0.0.1:{port}")]);
    assert_eq!(told(&daemon, Ask::Pause { group: None, seconds: 60 }), Told::Done);
    assert_eq!(dig(port, "x.ads.example"), "", "there is no upstream to ask");
    assert_eq!(statistics(&daemon).paused[0].group, "everyone");
    assert_eq!(told(&daemon, Ask::Pause { group: Some("everyone".into()), seconds: 0 }), Told::Done);
    assert_eq!(dig(port, "x.ads.example"), "0.0.0.0");
    let refused = daemon.ask(&Request::Dns { dns: Ask::Pause { group: Some("kids".into()), seconds: 9 } });
    assert!(
        matches!(&refused, Reply::Refused { reason } if reason.contains("there is no group `kids`, only `everyone`")),
        "{refused:?}"
    );
    for since in [None, Some("2020-01-01T00:00:00Z".to_string())] {
        let ask = QueriesAsk { count: 2, name: Some("nas".into()), since, ..QueriesAsk::default() };
        let Told::Queries(lines) = told(&daemon, Ask::Queries(ask)) else { panic!() };
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].client.as_deref(), lines[0].outcome.as_str()), (Some("127.0.0.1"), "local"));
    }

    // A role goes, and the other stays; it comes back.
    taken(&daemon, 2, &[(PROXY, proxy.clone())]);
    assert!(UdpSocket::bind(("127.0.0.1", port)).is_ok() && daemon.status().resolver.is_none());
    assert!(!observed(&daemon, "/metrics").contains("labwright_dns_"));
    daemon.curl("wiki.lab.test", "/", &[]).is(200);
    taken(&daemon, 3, &[(DNS, json(&names(port, 6)))]);
    assert_eq!(dig(port, "nas.lab.test"), "10.0.20.6");
    assert_eq!(daemon.curl("wiki.lab.test", "/", &[]).status, 0);
}

#[test]
fn no_role_changes_where_another_refuses() {
    let (daemon, nginx, port) = (Daemon::start(), Nginx::start(""), free_port());
    let doors = |service: &str| serde_json::to_value(daemon.snapshot(vec![site(service, &[nginx.url()])])).unwrap();
    taken(&daemon, 1, &[(DNS, json(&names(port, 5))), (PROXY, doors("wiki"))]);
    let as_before = || {
        assert_eq!(dig(port, "nas.lab.test"), "10.0.20.5");
        daemon.curl("wiki.lab.test", "/", &[]).is(200);
        assert_eq!(daemon.status().snapshot.unwrap().generation, 1);
    };
    // The resolver's port is somebody else's.
    let (held, more) = (UdpSocket::bind("127.0.0.1:0").unwrap(), free_port());
    let mut elsewhere = names(held.local_addr().unwrap().port(), 6);
    let reply = daemon.push_roles(2, &[(DNS, json(&elsewhere)), (PROXY, doors("other"))]);
    assert!(
        matches!(&reply, Reply::Refused { reason } if reason.contains("another program answers there")),
        "{reply:?}"
    );
    as_before();
    // A record is none.
    let mut bad = names(port, 6);
    bad.records[0].name = "a..b".into();
    let reply = daemon.push_roles(2, &[(DNS, json(&bad)), (PROXY, doors("other"))]);
    assert!(matches!(&reply, Reply::Refused { reason } if reason.contains("`a..b` is no name")), "{reply:?}");
    as_before();
    // The proxy cannot; the resolver had its new port already, and lets it go.
    elsewhere.listen.port = more;
    let mut nowhere = daemon.snapshot(vec![site("other", &[nginx.url()])]);
    nowhere.listen.addresses = vec!["192.0.2.1".parse().unwrap()];
    let roles = [(DNS, json(&elsewhere)), (PROXY, serde_json::to_value(nowhere).unwrap())];
    let reply = daemon.push_roles(2, &roles);
    assert!(matches!(&reply, Reply::Refused { reason } if reason.contains("no such address")), "{reply:?}");
    as_before();
    assert!(UdpSocket::bind(("127.0.0.1", more)).is_ok() && TcpListener::bind(("127.0.0.1", more)).is_ok());
    // What is good for both is taken, and the old port is free.
    elsewhere.listen.port = more;
    taken(&daemon, 2, &[(DNS, json(&elsewhere)), (PROXY, doors("other"))]);
    assert_eq!((dig(more, "nas.lab.test").as_str(), dig(port, "nas.lab.test").as_str()), ("10.0.20.6", ""));
    assert!(UdpSocket::bind(("127.0.0.1", port)).is_ok());
    daemon.curl("other.lab.test", "/", &[]).is(200);
}

#[test]
fn changes_and_new_programs_lose_no_query() {
    for more in [&["-m", "udp"][..], &["-m", "tcp"]] {
        let (daemon, port, folder) = (Daemon::start(), free_port(), tempfile::tempdir().unwrap());
        let (_unbound, upstream) = unbound(folder.path());
        let snapshot = |last: u8| {
            let forward = Forward { upstreams: vec![upstream.clone()], ..Forward::default() };
            json(&DnsSnapshot { forward, ..names(port, last) })
        };
        taken(&daemon, 1, &[(DNS, snapshot(1))]);
        wait_for("lists", || dig(port, "x.ads.example") == "0.0.0.0");
        let load = Load::start(folder.path(), port, 9, more);
        std::thread::sleep(Duration::from_millis(700));
        for generation in 2..8 {
            taken(&daemon, generation, &[(DNS, snapshot(generation as u8))]);
            assert_eq!(dig(port, "nas.lab.test"), format!("10.0.20.{generation}"));
        }
        // Two programs after the first, each from the one before; nothing is unblocked meanwhile.
        let mut programs = Vec::new();
        for _ in 0..2 {
            let before = daemon.status().pid;
            programs.push(daemon.second());
            wait_for("the next program", || {
                assert_eq!(dig(port, "x.ads.example"), "0.0.0.0");
                daemon.status().pid != before
            });
            assert_eq!(dig(port, "nas.lab.test"), "10.0.20.7");
        }
        let (completed, lost, text) = load.ended();
        assert!(completed > 5000 && lost == 0, "{more:?} {text}\n{}", daemon.log());
        let codes = text.lines().find(|line| line.contains("Response codes")).unwrap();
        assert!(codes.contains("NOERROR") && !codes.contains("SERVFAIL"), "{codes}");
    }
}

#[test]
fn the_last_good_snapshot_comes_back_after_a_kill() {
    let (mut daemon, port) = (Daemon::start(), free_port());
    taken(&daemon, 4, &[(DNS, json(&names(port, 5)))]);
    daemon.kill();
    assert_eq!(dig(port, "nas.lab.test"), "");
    daemon.restart();
    assert_eq!(dig(port, "nas.lab.test"), "10.0.20.5");
    assert_eq!(daemon.status().snapshot.unwrap().generation, 4);
    let old = daemon.push_roles(3, &[(DNS, json(&names(port, 6)))]);
    assert_eq!(old, Reply::Stale { have: 4 });
}

#[test]
fn at_boot_a_port_that_is_held_keeps_only_its_own_role_away() {
    let (mut daemon, nginx, port) = (Daemon::start(), Nginx::start(""), free_port());
    let proxy = serde_json::to_value(daemon.snapshot(vec![site("wiki", &[nginx.url()])])).unwrap();
    taken(&daemon, 1, &[(DNS, json(&names(port, 5))), (PROXY, proxy)]);
    daemon.kill();
    let held = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    daemon.restart();
    daemon.curl("wiki.lab.test", "/", &[]).is(200);
    let faults = daemon.status().faults.join("\n");
    assert!(faults.contains(&format!("cannot answer on 127.0.0.1:{port}")), "{faults}");
    assert!(observed(&daemon, "/healthz").contains("another program answers there"));
    drop(held);
    wait_for("the resolver", || dig(port, "nas.lab.test") == "10.0.20.5");
    wait_for("health", || observed(&daemon, "/healthz") == "serving generation 1: dns, proxy\n");
    assert!(daemon.status().faults.is_empty());
}
