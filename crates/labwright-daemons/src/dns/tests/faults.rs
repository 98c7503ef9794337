//! Upstreams that are dead, slow or lie; no internet; old answers that stand in.

use std::io::BufReader;

use labwright_model::snapshot::dns::Order;

use super::*;

/// An address that takes questions and never says anything.
fn silent(ip: &str) -> Fake {
    Fake::new(ip, |_, _, _| {})
}

fn took(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

#[test]
fn a_dead_upstream_costs_a_moment_once() {
    for order in [Order::Fastest, Order::Given, Order::Race] {
        let (dead, well) = (silent("127.0.0.2"), Fake::answering("127.0.0.1", [192, 0, 2, 7], 300));
        let mut snapshot = snapshot(&[dead.address, well.address]);
        snapshot.forward.order = order;
        let lab = Lab::new(snapshot);
        let first = took(|| assert_eq!(lab.short("one.example"), "192.0.2.7"));
        assert!(first < Duration::from_millis(1500), "{order:?} {first:?}");
        // The dead one's three seconds are over by then, and it is known to be slow.
        std::thread::sleep(Duration::from_millis(100));
        let second = took(|| assert_eq!(lab.short("two.example"), "192.0.2.7"));
        assert!(second < Duration::from_millis(1000), "{order:?} {second:?}");
    }
}

#[test]
fn an_upstream_that_refuses_or_is_not_there_is_passed_over_at_once() {
    let refusing = Fake::new("127.0.0.2", |socket, query, from| {
        let mut message = Message::response(query.id, OpCode::Query);
        message.queries = query.queries.clone();
        message.metadata.response_code = hickory_proto::op::ResponseCode::Refused;
        let _ = socket.send_to(&message.to_vec().unwrap(), from);
    });
    let nobody: SocketAddr = format!("127.0.0.3:{}", free_port("127.0.0.3")).parse().unwrap();
    let well = Fake::answering("127.0.0.1", [192, 0, 2, 7], 300);
    let mut snapshot = snapshot(&[refusing.address, nobody, well.address]);
    snapshot.forward.order = Order::Given;
    let lab = Lab::new(snapshot);
    for name in ["one.example", "two.example", "three.example"] {
        let time = took(|| assert_eq!(lab.short(name), "192.0.2.7"));
        assert!(time < Duration::from_millis(1500), "{time:?}");
    }
    assert_eq!(refusing.asked(), 3);
}

#[test]
fn the_answer_of_a_slow_upstream_is_not_waited_for() {
    let slow = Fake::new("127.0.0.2", |socket, query, from| {
        std::thread::sleep(Duration::from_millis(900));
        let _ = socket.send_to(&reply(&query, [192, 0, 2, 1], 300).to_vec().unwrap(), from);
    });
    let well = Fake::answering("127.0.0.1", [192, 0, 2, 7], 300);
    let lab = Lab::new(snapshot(&[slow.address, well.address]));
    for n in 0..5 {
        let time = took(|| assert_eq!(lab.short(&format!("n{n}.example")), "192.0.2.7"));
        assert!(time < Duration::from_millis(600), "{time:?}");
    }
}

#[test]
fn lies_are_passed_over_until_the_truth_comes() {
    let liar = Fake::new("127.0.0.1", |socket, query, from| {
        let send = |message: &Message| socket.send_to(&message.to_vec().unwrap(), from).map(|_| ()).unwrap();
        // Another number, another question, another sender, no message at all; and then the answer.
        let mut wrong = reply(&query, [198, 51, 100, 1], 300);
        wrong.metadata.id = query.id.wrapping_add(1);
        send(&wrong);
        let mut other = reply(&query, [198, 51, 100, 2], 300);
        other.queries[0].set_name(Name::from_ascii("bank.example.").unwrap());
        send(&other);
        let spoofed = UdpSocket::bind("127.0.0.9:0").unwrap();
        spoofed.send_to(&reply(&query, [198, 51, 100, 3], 300).to_vec().unwrap(), from).unwrap();
        send(&reply(&query, [192, 0, 2, 7], 300));
    });
    let lab = Lab::new(snapshot(&[liar.address]));
    assert_eq!(lab.short("www.example.org"), "192.0.2.7");
    assert_eq!(lab.short("www.example.org"), "192.0.2.7");
    assert_eq!(liar.asked(), 1);
}

#[test]
fn numbers_and_ports_of_questions_cannot_be_foreseen() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = seen.clone();
    let fake = Fake::new("127.0.0.1", move |socket, query, from| {
        notes.lock().unwrap().push((query.id, from.port()));
        let _ = socket.send_to(&reply(&query, [192, 0, 2, 7], 300).to_vec().unwrap(), from);
    });
    let lab = Lab::new(snapshot(&[fake.address]));
    for n in 0..30 {
        lab.short(&format!("n{n}.example"));
    }
    let seen = seen.lock().unwrap();
    let count =
        |each: &dyn Fn(&(u16, u16)) -> u16| seen.iter().map(each).collect::<std::collections::BTreeSet<_>>().len();
    assert!(count(&|(id, _)| *id) >= 29 && count(&|(_, port)| *port) >= 29, "{seen:?}");
    let steps = seen.windows(2).filter(|pair| pair[1].0 == pair[0].0.wrapping_add(1) || pair[1].1 == pair[0].1 + 1);
    assert!(steps.count() < 3, "{seen:?}");
}

#[test]
fn an_answer_that_was_cut_is_asked_for_by_tcp() {
    let port = free_port("127.0.0.4");
    let listener = TcpListener::bind(("127.0.0.4", port)).unwrap();
    let udp = UdpSocket::bind(("127.0.0.4", port)).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let mut message = reply(&query, [198, 51, 100, 1], 300);
            message.answers.clear();
            message.metadata.truncation = true;
            udp.send_to(&message.to_vec().unwrap(), from).unwrap();
        }
    });
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = [0; 2];
            while reader.read_exact(&mut length).is_ok() {
                let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
                reader.read_exact(&mut bytes).unwrap();
                let mut message = reply(&Message::from_vec(&bytes).unwrap(), [192, 0, 2, 7], 300);
                for last in 0..200 {
                    let mut row = message.answers[0].clone();
                    row.data = RData::A(A([192, 0, 3, last].into()));
                    message.answers.push(row);
                }
                let bytes = message.to_vec().unwrap();
                stream.write_all(&(bytes.len() as u16).to_be_bytes()).unwrap();
                stream.write_all(&bytes).unwrap();
            }
        }
    });
    let lab = Lab::new(snapshot(&[SocketAddr::new("127.0.0.4".parse().unwrap(), port)]));
    // It is too long for our client's datagram as well: dig comes back by TCP.
    assert_eq!(lab.dig("+short www.example.org").lines().count(), 201);
    assert!(lab.dig("+ignore +notcp www.example.org").contains("flags: qr tc rd ra;"));
}

#[test]
fn with_no_upstream_at_all_local_names_are_answered_and_others_fail_soon() {
    let nobody: Vec<SocketAddr> =
        (0..2).map(|_| format!("127.0.0.5:{}", free_port("127.0.0.5")).parse().unwrap()).collect();
    let lab = Lab::new(snapshot(&nobody));
    assert_eq!(lab.says("nas.lab.home.arpa"), "NOERROR [A 10.0.20.5]");
    let time = took(|| assert_eq!(lab.says("www.example.org"), "SERVFAIL []"));
    assert!(time < Duration::from_secs(5), "{time:?}");
    assert!(lab.dig("www.example.org").contains("EDE: 22 (No Reachable Authority)"));
    // The failure is remembered for a moment: a client that insists does not wait again.
    assert!(took(|| assert_eq!(lab.says("www.example.org"), "SERVFAIL []")) < Duration::from_millis(500));
    let none = Lab::new(snapshot(&[]));
    assert_eq!(none.says("www.example.org"), "SERVFAIL []");
}

#[test]
fn an_old_answer_stands_in_while_upstreams_are_away_and_goes_when_they_are_back() {
    let well = Arc::new(AtomicBool::new(true));
    let is_well = well.clone();
    let fake = Fake::new("127.0.0.1", move |socket, query, from| {
        if is_well.load(Ordering::SeqCst) {
            let _ = socket.send_to(&reply(&query, [192, 0, 2, 7], 1).to_vec().unwrap(), from);
        }
    });
    let mut snapshot = snapshot(&[fake.address]);
    snapshot.cache.stale = 3600;
    let lab = Lab::new(snapshot.clone());
    assert_eq!(lab.short("www.example.org"), "192.0.2.7");
    well.store(false, Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(1600));
    let mut text = String::new();
    let first = took(|| text = lab.dig("www.example.org"));
    assert!(first > Duration::from_millis(1500) && first < Duration::from_millis(3000), "{first:?}");
    assert!(text.contains("EDE: 3 (Stale Answer)") && text.contains("30\tIN\tA\t192.0.2.7"), "{text}");
    // The next ones do not wait, and do not ask for half a minute.
    let asked = fake.asked();
    assert!(took(|| assert_eq!(lab.short("www.example.org"), "192.0.2.7")) < Duration::from_millis(500));
    assert_eq!(lab.count(Outcome::Stale), 2);
    assert!(fake.asked() <= asked + 3, "one question, and what hickory repeats of it");
    // Without serve-stale the same is a failure.
    snapshot.cache.stale = 0;
    assert_eq!(lab.apply(2, snapshot), Applied::Now);
    assert_eq!(lab.says("www.example.org"), "SERVFAIL []");
    well.store(true, Ordering::SeqCst);
    lab.wait("the upstream to be asked again", || lab.short("www.example.org") == "192.0.2.7");
}

#[test]
fn names_without_addresses_and_broken_messages_are_no_answers() {
    let broken = Fake::new("127.0.0.2", |socket, _, from| {
        let _ = socket.send_to(b"\x00", from);
        let _ = socket.send_to(&[0xff; 600], from);
    });
    let nxdomain = Fake::new("127.0.0.1", |socket, query, from| {
        let mut message = Message::response(query.id, OpCode::Query);
        message.queries = query.queries.clone();
        message.metadata.response_code = hickory_proto::op::ResponseCode::NXDomain;
        let soa = hickory_proto::rr::rdata::SOA::new(Name::root(), Name::root(), 1, 1, 1, 1, 77);
        message.authorities.push(Row::from_rdata(Name::root(), 3600, RData::SOA(soa)));
        let _ = socket.send_to(&message.to_vec().unwrap(), from);
    });
    let lab = Lab::new(snapshot(&[broken.address, nxdomain.address]));
    assert_eq!(lab.says("nope.example"), "NXDOMAIN []");
    let asked = nxdomain.asked();
    let text = lab.dig("nope.example");
    assert!(text.contains("\t77\tIN\tSOA") || text.contains("\t76\tIN\tSOA"), "the lesser of both times: {text}");
    assert_eq!(nxdomain.asked(), asked, "it is remembered");
}
