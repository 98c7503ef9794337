//! What a resolver that is well does: names, lists, groups, memory, log, reload.

use super::*;

#[test]
fn the_labs_names_are_answered_with_authority_over_udp_and_tcp() {
    let lab = Lab::new(snapshot(&[]));
    for way in ["+notcp", "+tcp", "+noedns", "+dnssec"] {
        assert_eq!(lab.says(&format!("{way} nas.lab.home.arpa")), "NOERROR [A 10.0.20.5]", "{way}");
    }
    assert!(lab.dig("nas.lab.home.arpa").contains("flags: qr aa rd ra;"));
    assert!(lab.dig("nAs.LAB.home.arpa").contains("nAs.LAB.home.arpa."), "the case of the question is kept");
    assert_eq!(lab.says("nope.lab.home.arpa"), "NXDOMAIN []");
    assert_eq!(lab.says("nas.lab.home.arpa TXT"), "NOERROR []");
    assert_eq!(lab.says("wiki.example.net"), "NOERROR [A 10.0.20.80]");
    assert_eq!(lab.says("nas.lab.home.arpa ANY"), "NOERROR [HINFO \"RFC8482\" \"\"]");
    assert_eq!(lab.says("lab.home.arpa AXFR"), "REFUSED []");
    assert_eq!(lab.says("version.bind TXT CH"), "REFUSED []");
    assert_eq!(lab.says("+edns=1 +noednsneg nas.lab.home.arpa"), "BADVERS []");
    assert_eq!(lab.says("+norecurse www.example.org"), "REFUSED []");
    assert_eq!(lab.says("+norecurse nas.lab.home.arpa"), "NOERROR [A 10.0.20.5]");
    assert!(lab.count(Outcome::Local) >= 10);
}

#[test]
fn what_is_too_long_for_a_datagram_comes_by_tcp() {
    let mut snapshot = snapshot(&[]);
    for n in 0..40 {
        let text = format!("{n:03}{}", "x".repeat(80));
        snapshot.records.push(Record { name: "long.lab.home.arpa".into(), ttl: 60, data: Data::Txt(text) });
    }
    let lab = Lab::new(snapshot);
    let cut = lab.dig("+ignore +notcp long.lab.home.arpa TXT");
    assert!(cut.contains("flags: qr aa tc rd ra; QUERY: 1, ANSWER: 0"), "{cut}");
    assert_eq!(lab.dig("+short long.lab.home.arpa TXT").lines().count(), 40);
}

#[test]
fn blocked_names_in_each_way_of_saying_so() {
    use labwright_model::snapshot::dns::Blocked;
    let fake = Fake::answering("127.0.0.1", [192, 0, 2, 7], 300);
    let mut one = with_rules(snapshot(&[fake.address]), &["ads.example", "@@||good.ads.example^"]);
    let lab = Lab::new(one.clone());
    assert_eq!(lab.says("ads.example"), "NOERROR [A 0.0.0.0]");
    assert_eq!(lab.says("x.y.ads.example AAAA"), "NOERROR [AAAA ::]");
    assert_eq!(lab.says("ads.example HTTPS"), "NOERROR []");
    assert_eq!(lab.says("good.ads.example"), "NOERROR [A 192.0.2.7]");
    assert_eq!(lab.says("adsxexample.com"), "NOERROR [A 192.0.2.7]");
    assert!(lab.dig("ads.example").contains("EDE: 15 (Blocked)"));
    for (generation, blocked, expected) in [(2, Blocked::Nxdomain, "NXDOMAIN []"), (3, Blocked::Refused, "REFUSED []")]
    {
        one.filter.blocked = blocked;
        assert_eq!(lab.apply(generation, one.clone()), Applied::Now);
        assert_eq!(lab.says("ads.example"), expected);
    }
    assert_eq!(lab.says("use-application-dns.net"), "NXDOMAIN []");
    one.filter.canary = false;
    assert_eq!(lab.apply(4, one), Applied::Now);
    assert_eq!(lab.says("use-application-dns.net"), "NOERROR [A 192.0.2.7]");
}

#[test]
fn groups_have_lists_of_their_own_and_may_be_paused() {
    let fake = Fake::answering("127.0.0.1", [192, 0, 2, 7], 300);
    let mut snapshot = with_rules(snapshot(&[fake.address]), &["ads.example"]);
    let games = List { name: "games".into(), source: ListSource::Rules(vec!["games.example".into()]), allow: false };
    snapshot.filter.lists.push(games);
    let net = |address: &str| labwright_model::snapshot::dns::Net { address: address.parse().unwrap(), bits: 32 };
    let kids = Group { name: "kids".into(), clients: vec![net("127.0.0.2")], lists: vec![0, 1] };
    let free = Group { name: "free".into(), clients: vec![net("127.0.0.3")], lists: vec![] };
    snapshot.filter.groups.splice(0..0, [kids, free]);
    let lab = Lab::new(snapshot);
    let ask = |client: &str, name: &str| lab.short(&format!("-b {client} {name}"));
    let all = || {
        let names = ["ads.example", "games.example"];
        let of = |client: &str| names.map(|name| if ask(client, name) == "0.0.0.0" { 'x' } else { '.' });
        ["127.0.0.1", "127.0.0.2", "127.0.0.3"].map(|client| of(client).iter().collect::<String>()).join(" ")
    };
    assert_eq!(all(), "x. xx ..");
    assert!(lab.server.pause(Some("kids"), Duration::from_secs(60)));
    assert_eq!(all(), "x. .. ..");
    assert_eq!(lab.server.statistics(1).paused, [Paused { group: "kids".into(), left: 60 }]);
    assert!(lab.server.pause(None, Duration::from_secs(1)));
    assert_eq!(all(), ".. .. ..");
    lab.wait("the end of the pause", || lab.server.statistics(1).paused.is_empty());
    assert_eq!(all(), "x. xx ..");
    assert!(!lab.server.pause(Some("nobody"), Duration::from_secs(60)));
}

#[test]
fn an_alias_of_a_blocked_name_is_blocked() {
    let fake = Fake::new("127.0.0.1", |socket, query, from| {
        let mut message = reply(&query, [192, 0, 2, 7], 300);
        let name = query.queries[0].name().clone();
        let to = Name::from_ascii("collector.tracker.example.").unwrap();
        message.answers[0].name = to.clone();
        message.answers.insert(0, Row::from_rdata(name, 300, RData::CNAME(hickory_proto::rr::rdata::CNAME(to))));
        let _ = socket.send_to(&message.to_vec().unwrap(), from);
    });
    let lab = Lab::new(with_rules(snapshot(&[fake.address]), &["||tracker.example^", "@@||news.example^"]));
    for _ in 0..2 {
        assert_eq!(lab.short("metrics.shop.example"), "0.0.0.0");
        assert_eq!(lab.short("news.example"), "collector.tracker.example. 192.0.2.7");
    }
    assert_eq!(lab.count(Outcome::Blocked), 2);
}

#[test]
fn names_of_others_that_lead_inside_are_kept_back() {
    let fake = Fake::answering("127.0.0.1", [192, 168, 1, 1], 300);
    let mut snapshot = snapshot(&[fake.address]);
    snapshot.filter.private_answers = vec!["plex.example".into()];
    let lab = Lab::new(snapshot);
    for _ in 0..2 {
        assert_eq!(lab.says("attack.example"), "NOERROR []");
        assert_eq!(lab.says("notplex.example"), "NOERROR []");
        assert_eq!(lab.says("a.b.plex.example"), "NOERROR [A 192.168.1.1]");
    }
    assert!(lab.dig("attack.example").contains("EDE: 17 (Filtered)"));
}

#[test]
fn domains_that_are_asked_elsewhere() {
    let world = Fake::answering("127.0.0.1", [192, 0, 2, 7], 300);
    let inside = Fake::answering("127.0.0.2", [10, 9, 0, 8], 300);
    let mut snapshot = snapshot(&[world.address]);
    let domain = |domain: &str| labwright_model::snapshot::dns::ForwardDomain {
        domain: domain.into(),
        upstreams: vec![upstream(inside.address)],
    };
    snapshot.forward.domains = vec![domain("corp.example"), domain("9.10.in-addr.arpa")];
    let cname = Data::Cname("www.corp.example".into());
    snapshot.records.push(Record { name: "intra.lab.home.arpa".into(), ttl: 60, data: cname });
    let lab = Lab::new(snapshot);
    for _ in 0..2 {
        assert_eq!(lab.short("www.corp.example"), "10.9.0.8");
        assert_eq!(lab.short("www.example.org"), "192.0.2.7");
        assert_eq!(lab.short("intra.lab.home.arpa"), "www.corp.example. 10.9.0.8");
    }
    assert_eq!((world.asked(), inside.asked()), (1, 1));
    lab.dig("-x 10.9.0.8");
    assert_eq!(inside.asked(), 2);
    lab.dig("-x 10.8.0.8");
    assert_eq!(world.asked(), 1, "private addresses are not asked of the world");
}

#[test]
fn answers_are_remembered_with_the_time_that_is_left() {
    let fake = Fake::answering("127.0.0.1", [192, 0, 2, 7], 100);
    let lab = Lab::new(snapshot(&[fake.address]));
    let ttl = || {
        let text = lab.dig("+noall +answer www.example.org");
        text.split_whitespace().nth(1).unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(ttl(), 100);
    std::thread::sleep(Duration::from_millis(2100));
    assert!((97..=98).contains(&ttl()));
    assert_eq!(lab.short("+tcp WWW.example.ORG"), "192.0.2.7");
    assert_eq!(fake.asked(), 1);
    // "No such record" is remembered as well, and by type.
    assert_eq!(lab.says("www.example.org TXT"), "NOERROR []");
    assert_eq!(lab.says("www.example.org TXT"), "NOERROR []");
    assert_eq!(fake.asked(), 2);
}

#[test]
fn names_in_use_are_asked_again_before_they_are_out_of_date() {
    let fake = Fake::answering("127.0.0.1", [192, 0, 2, 7], 10);
    let lab = Lab::new(snapshot(&[fake.address]));
    lab.short("www.example.org");
    std::thread::sleep(Duration::from_millis(9_200));
    assert_eq!(lab.short("www.example.org"), "192.0.2.7");
    assert_eq!(lab.count(Outcome::Cached), 1);
    lab.wait("the second question", || fake.asked() == 2);
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(lab.short("www.example.org"), "192.0.2.7");
    assert_eq!(lab.count(Outcome::Cached), 2, "it was there already");
}

#[test]
fn one_question_at_a_time_is_asked_however_many_want_the_answer() {
    let fake = Fake::new("127.0.0.1", |socket, query, from| {
        std::thread::sleep(Duration::from_millis(300));
        let _ = socket.send_to(&reply(&query, [192, 0, 2, 7], 300).to_vec().unwrap(), from);
    });
    let lab = Lab::new(snapshot(&[fake.address]));
    let clients: Vec<UdpSocket> = (0..50).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for (id, client) in clients.iter().enumerate() {
        client.send_to(&query("www.example.org.", RecordType::A, id as u16), lab.address).unwrap();
    }
    for (id, client) in clients.iter().enumerate() {
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut buffer = [0; 512];
        let length = client.recv(&mut buffer).unwrap();
        let message = Message::from_vec(&buffer[..length]).unwrap();
        assert_eq!((message.id, message.answers.len()), (id as u16, 1));
    }
    assert_eq!(fake.asked(), 1);
}

#[test]
fn a_client_that_asks_too_much_is_slowed_down_and_others_are_not() {
    let mut snapshot = snapshot(&[]);
    snapshot.access.rate_limit = 20;
    let lab = Lab::new(snapshot);
    let core = &lab.server.core;
    let mut seat = core.seat();
    let (mut query_, mut out) = (Box::new(wire::Query::default()), Vec::new());
    let mut ask = |client: &str, stream| {
        let source = answer::Source { client: client.parse().unwrap(), stream, began: Instant::now(), at: 0 };
        let (mut answered, mut cut, mut silent) = (0, 0, 0);
        for id in 0..100 {
            match core.answer(&mut seat, &mut query_, &query("nas.lab.home.arpa.", RecordType::A, id), source, &mut out)
            {
                answer::Done::Reply if out[2] & 2 != 0 => cut += 1,
                answer::Done::Reply => answered += 1,
                _ => silent += 1,
            }
        }
        (answered, cut, silent)
    };
    assert_eq!(ask("10.0.30.7", false), (20, 40, 40));
    assert_eq!(ask("10.0.30.8", true), (20, 0, 80));
    // Whoever is no neighbour gets nothing at all: this is no open resolver.
    assert_eq!(ask("203.0.113.9", false).0, 100);
    assert_eq!(out[3] & 15, 5, "refused");
    assert_eq!(lab.count(Outcome::Refused), 100);
}

#[test]
fn statistics_log_and_metrics_say_what_happened() {
    let fake = Fake::answering("127.0.0.1", [192, 0, 2, 7], 300);
    let mut snapshot = with_rules(snapshot(&[fake.address]), &["ads.example"]);
    let client = |address: &str, name: &str| labwright_model::snapshot::dns::Client {
        address: address.parse().unwrap(),
        name: name.into(),
    };
    snapshot.clients = vec![client("127.0.0.1", "workbench")];
    snapshot.log = labwright_model::snapshot::dns::Log { keep_days: 7, clients: true };
    let lab = Lab::new(snapshot);
    for name in ["nas.lab.home.arpa", "ads.example", "ads.example", "www.example.org", "www.example.org"] {
        lab.short(name);
    }
    let statistics = lab.server.statistics(3);
    assert_eq!((statistics.queries, statistics.blocked, statistics.listed), (5, 2, 1));
    assert_eq!(statistics.top.blocked, [("ads.example".to_string(), 2)]);
    assert_eq!(statistics.top.names[0], ("www.example.org".to_string(), 2));
    assert_eq!(statistics.top.clients, [("workbench".to_string(), 5)]);
    let recent = lab.server.recent(2);
    assert_eq!((recent[0].outcome.as_str(), recent[1].outcome.as_str()), ("cached", "forwarded"));
    lab.wait("the log", || {
        let files = std::fs::read_dir(lab.folder.path().join("queries"));
        let text: String =
            files.into_iter().flatten().map(|f| std::fs::read_to_string(f.unwrap().path()).unwrap()).collect();
        text.lines().count() == 5 && text.contains("\"list\":\"rules\"") && text.contains("\"client\":\"workbench\"")
    });
    let mut registry = Registry::default();
    lab.server.metrics(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "labwright_dns_queries_total{outcome=\"blocked\"} 2",
        "labwright_dns_queries_total{outcome=\"cached\"} 1",
        "labwright_dns_blocklist_names 1.0",
        "labwright_dns_list_rules{list=\"rules\"} 1.0",
        "labwright_dns_generation 1.0",
        &format!("labwright_dns_upstream_queries_total{{upstream=\"{}\"}} 1", upstream(fake.address).shown()),
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn snapshots_go_only_forward_and_a_bad_one_changes_nothing() {
    let lab = Lab::new(snapshot(&[]));
    let mut next = snapshot(&[]);
    next.records[0] = record("nas.lab.home.arpa", "10.0.20.6");
    assert_eq!(lab.apply(7, next.clone()), Applied::Now);
    assert_eq!(lab.short("nas.lab.home.arpa"), "10.0.20.6");
    assert_eq!(lab.apply(7, next.clone()), Applied::AlreadyAt);
    assert_eq!(lab.apply(6, snapshot(&[])), Applied::Stale { have: 7 });
    assert!(
        matches!(lab.apply(7, snapshot(&[])), Applied::Refused(why) if why.contains("generation 7 is served already"))
    );
    let mut bad = next;
    bad.records[0] = record("a..b", "10.0.20.7");
    assert!(matches!(lab.apply(8, bad), Applied::Refused(why) if why.contains("`a..b` is no name")));
    assert_eq!(lab.short("nas.lab.home.arpa"), "10.0.20.6");
    assert_eq!(lab.server.generation(), 7);
}

#[test]
fn a_snapshot_that_comes_under_load_loses_no_query() {
    let lab = Lab::new(snapshot(&[]));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, to) = (stop.clone(), lab.address);
            std::thread::spawn(move || {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                let (mut asked, mut lost) = (0_u32, 0_u32);
                let mut buffer = [0; 512];
                while !stop.load(Ordering::Relaxed) {
                    socket.send_to(&query("nas.lab.home.arpa.", RecordType::A, asked as u16), to).unwrap();
                    asked += 1;
                    match socket.recv(&mut buffer) {
                        Ok(_) if buffer[7] == 1 => {}
                        _ => lost += 1,
                    }
                }
                (asked, lost)
            })
        })
        .collect();
    for generation in 2..60 {
        let mut next = with_rules(snapshot(&[]), &[&format!("ads{generation}.example")]);
        for n in 0..200 {
            next.records.push(record(&format!("svc{n}.lab.home.arpa"), "10.0.20.9"));
        }
        assert_eq!(lab.apply(generation, next), Applied::Now);
    }
    stop.store(true, Ordering::Relaxed);
    let (asked, lost) =
        clients.into_iter().map(|client| client.join().unwrap()).fold((0, 0), |(a, l), (x, y)| (a + x, l + y));
    assert!(asked > 500, "{asked}");
    assert_eq!(lost, 0, "of {asked}");
}

#[test]
fn another_process_takes_over_the_same_sockets_without_a_query_lost() {
    let folder = tempfile::tempdir().unwrap();
    let sockets = listen("127.0.0.1:0".parse().unwrap(), 2).unwrap();
    let address = sockets[0].0.local_addr().unwrap();
    let same = |sockets: &[(UdpSocket, TcpListener)]| -> Vec<(UdpSocket, TcpListener)> {
        sockets.iter().map(|(udp, tcp)| (udp.try_clone().unwrap(), tcp.try_clone().unwrap())).collect()
    };
    let mut server = Server::start(same(&sockets), snapshot(&[]), folder.path()).unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let of_client = stop.clone();
    let client = std::thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let (mut asked, mut buffer) = (0_u32, [0; 512]);
        while !of_client.load(Ordering::Relaxed) {
            socket.send_to(&query("nas.lab.home.arpa.", RecordType::A, asked as u16), address).unwrap();
            asked += 1;
            socket.recv(&mut buffer).unwrap_or_else(|error| panic!("query {asked}: {error}"));
        }
        asked
    });
    for _ in 0..5 {
        let next = Server::start(same(&sockets), snapshot(&[]), folder.path()).unwrap();
        std::mem::replace(&mut server, next).stop(Duration::from_secs(1));
    }
    stop.store(true, Ordering::Relaxed);
    assert!(client.join().unwrap() > 100);
}

#[test]
fn queries_on_one_connection_are_answered_as_they_are_ready() {
    let fake = Fake::new("127.0.0.1", |socket, query, from| {
        std::thread::sleep(Duration::from_millis(400));
        let _ = socket.send_to(&reply(&query, [192, 0, 2, 7], 300).to_vec().unwrap(), from);
    });
    let lab = Lab::new(snapshot(&[fake.address]));
    let mut stream = std::net::TcpStream::connect(lab.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for (id, name) in [(1, "slow.example."), (2, "nas.lab.home.arpa."), (3, "wiki.example.net.")] {
        let bytes = query(name, RecordType::A, id);
        stream.write_all(&(bytes.len() as u16).to_be_bytes()).unwrap();
        stream.write_all(&bytes).unwrap();
    }
    let order: Vec<u16> = (0..3)
        .map(|_| {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut bytes).unwrap();
            u16::from_be_bytes([bytes[0], bytes[1]])
        })
        .collect();
    assert_eq!(order, [2, 3, 1]);
}
