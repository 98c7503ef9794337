//! The resolver on loopback, asked by dig, with Unbound behind it; and upstreams that lie, made for the purpose.

mod faults;
mod fetching;
mod packets;
mod real;
mod serving;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, OpCode, Query as Question};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record as Row, RecordType};
use labwright_model::snapshot::dns::{
    Access, Data, DnsSnapshot, Filter, Forward, Group, List, ListSource, Record, Transport, Upstream,
};

use super::*;

/// A resolver with a folder of its own.
struct Lab {
    server: Server,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

fn upstream(address: SocketAddr) -> Upstream {
    Upstream {
        transport: Transport::Udp,
        host: address.ip().to_string(),
        port: address.port(),
        tls_name: address.ip().to_string(),
        path: String::new(),
    }
}

fn record(name: &str, address: &str) -> Record {
    Record { name: name.into(), ttl: 60, data: Data::Address(address.parse().unwrap()) }
}

/// A small lab: two names, one zone, everything else asked of `upstreams`.
fn snapshot(upstreams: &[SocketAddr]) -> DnsSnapshot {
    DnsSnapshot {
        servers: vec!["d.lab.home.arpa".into()],
        zones: vec!["lab.home.arpa".into()],
        negative_ttl: 60,
        records: vec![record("nas.lab.home.arpa", "10.0.20.5"), record("wiki.example.net", "10.0.20.80")],
        forward: Forward { upstreams: upstreams.iter().map(|at| upstream(*at)).collect(), ..Forward::default() },
        filter: Filter {
            groups: vec![Group { name: "everyone".into(), ..Group::default() }],
            refresh: 86400,
            canary: true,
            ..Filter::default()
        },
        access: Access { rate_limit: 0, networks: Vec::new() },
        ..DnsSnapshot::default()
    }
}

/// Rules that hold for everybody.
fn with_rules(mut snapshot: DnsSnapshot, rules: &[&str]) -> DnsSnapshot {
    let rules = rules.iter().map(|rule| rule.to_string()).collect();
    snapshot.filter.lists = vec![List { name: "rules".into(), source: ListSource::Rules(rules), allow: false }];
    snapshot.filter.groups[0].lists = vec![0];
    snapshot
}

impl Lab {
    fn new(snapshot: DnsSnapshot) -> Lab {
        Lab::with(snapshot, |_| {})
    }

    fn with(snapshot: DnsSnapshot, change: impl FnOnce(&mut Settings)) -> Lab {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::below(folder.path());
        change(&mut settings);
        let sockets = listen("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let address = sockets[0].0.local_addr().unwrap();
        let server = Server::start_with(sockets, snapshot, 1, &settings).unwrap();
        let lab = Lab { server, address, folder };
        lab.wait("lists", || lab.server.lists_are_ready());
        lab
    }

    fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < Duration::from_secs(10), "waited ten seconds for {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// dig, with everything it says.
    fn dig(&self, arguments: &str) -> String {
        let port = self.address.port().to_string();
        let output = Command::new("dig")
            .args(["-p", &port, "@127.0.0.1", "+time=6", "+tries=1"])
            .args(arguments.split_whitespace())
            .output()
            .expect("missing: `dig` (package bind9-dnsutils); run scripts/test-deps");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What stands in dig's answer alone: its data, line by line.
    fn short(&self, arguments: &str) -> String {
        self.dig(&format!("+short {arguments}")).trim().replace('\n', " ")
    }

    /// The code of the reply, and its answers.
    fn says(&self, arguments: &str) -> String {
        let text = self.dig(&format!("+noall +comments +answer {arguments}"));
        let code = text.split_once("status: ").map_or("no answer", |(_, rest)| rest.split(',').next().unwrap_or(""));
        let rows = text.lines().filter(|line| !line.starts_with(';') && !line.is_empty());
        let rows: Vec<String> = rows.map(|row| row.split_whitespace().skip(3).collect::<Vec<_>>().join(" ")).collect();
        format!("{code} [{}]", rows.join("; "))
    }

    fn count(&self, outcome: Outcome) -> u64 {
        self.server.core.tallies.total(outcome)
    }

    fn apply(&self, generation: u64, snapshot: DnsSnapshot) -> Applied {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.server.apply(generation, snapshot))
    }
}

/// A process of a test, ended with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago, for UDP and TCP.
fn free_port(ip: &str) -> u16 {
    loop {
        let tcp = TcpListener::bind((ip, 0)).unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind((ip, port)).is_ok() {
            return port;
        }
    }
}

/// Unbound on an address of its own, with what else its configuration says.
fn unbound(ip: &str, folder: &std::path::Path, more: &str) -> (Running, SocketAddr) {
    let port = free_port(ip);
    let file = folder.join(format!("unbound-{port}.conf"));
    let text = format!(
        "server:\n directory: \"{0}\"\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n use-syslog: no\n interface: {ip}@{port}\n \
         num-threads: 1\n do-not-query-localhost: no\n access-control: 127.0.0.0/8 allow\n module-config: \"iterator\"\n{more}\
         remote-control:\n control-enable: no\n",
        folder.display()
    );
    std::fs::write(&file, text).unwrap();
    let child = Command::new("unbound")
        .arg("-d")
        .arg("-c")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("missing: `unbound` (package unbound); run scripts/test-deps");
    let mut running = Running(child);
    let begun = Instant::now();
    while std::net::TcpStream::connect((ip, port)).is_err() {
        if begun.elapsed() > Duration::from_secs(10) || running.0.try_wait().unwrap().is_some() {
            let _ = running.0.kill();
            let mut said = String::new();
            running.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("unbound did not start: {said}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    (running, SocketAddr::new(ip.parse().unwrap(), port))
}

/// An upstream that does with each query what a test wants. It ends with the process of the test.
struct Fake {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Fake {
    /// `act` gets the socket, the query, and who asked.
    fn new(ip: &str, act: impl Fn(&UdpSocket, Message, SocketAddr) + Send + 'static) -> Fake {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                count.fetch_add(1, Ordering::SeqCst);
                if let Ok(query) = Message::from_vec(&buffer[..length]) {
                    act(&socket, query, from);
                }
            }
        });
        Fake { address, asked }
    }

    /// Answers each question for an address with this one.
    fn answering(ip: &str, address: [u8; 4], ttl: u32) -> Fake {
        Fake::new(ip, move |socket, query, from| {
            let _ = socket.send_to(&reply(&query, address, ttl).to_vec().unwrap(), from);
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn reply(query: &Message, address: [u8; 4], ttl: u32) -> Message {
    let mut message = Message::response(query.id, OpCode::Query);
    message.queries = query.queries.clone();
    let name = query.queries[0].name().clone();
    if query.queries[0].query_type() == RecordType::A {
        message.answers.push(Row::from_rdata(name, ttl, RData::A(A(address.into()))));
    }
    message
}

/// A query in wire form.
fn query(name: &str, kind: RecordType, id: u16) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = id;
    message.metadata.recursion_desired = true;
    message.queries.push(Question::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}
