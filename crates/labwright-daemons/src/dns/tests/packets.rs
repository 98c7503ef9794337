//! Datagrams that are no queries, and queries that are not quite: nothing falls over, and what is sent back is DNS.

use proptest::prelude::*;

use super::*;
use crate::dns::wire::{Fault, Query as Taken};

fn lab_core() -> (Arc<Core>, Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let rules = with_rules(snapshot(&[]), &["ads.example"]);
    let view = View::new(1, rules, &Trust::default(), None).unwrap();
    (Arc::new(Core::new(view, runtime.handle().clone())), runtime)
}

/// Gives a datagram to the resolver as a thread of sockets would, and looks at what it would send.
fn answered(core: &Core, datagram: &[u8]) -> Option<Message> {
    let mut seat = core.seat_of_stream();
    let mut out = Vec::new();
    let source = answer::Source { client: IpAddr::from([10, 0, 0, 1]), stream: false, began: Instant::now(), at: 0 };
    match core.answer(&mut seat, &mut Box::new(Taken::default()), datagram, source, &mut out) {
        answer::Done::Reply => {
            assert_eq!(out[..2], datagram[..2], "a reply has the number of its query");
            assert!(out[2] & 0x80 != 0, "and says that it is one");
            assert!(out.len() <= wire::MAX_UDP);
            Some(Message::from_vec(&out).expect("what is sent is a message"))
        }
        answer::Done::Silence => None,
        answer::Done::Later => Some(Message::response(0, OpCode::Query)),
    }
}

#[test]
fn what_is_no_query_is_told_apart() {
    let good = query("nas.lab.home.arpa.", RecordType::A, 7);
    let read = |bytes: &[u8]| Taken::default().read(bytes);
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        read(&bytes)
    };
    let form = Err(Fault::Answer(wire::Code::FormErr));
    assert_eq!(read(&good), Ok(()));
    assert_eq!(read(&[]), Err(Fault::Silence));
    assert_eq!(read(&good[..11]), Err(Fault::Silence));
    assert_eq!(changed(&|b| b[2] |= 0x80), Err(Fault::Silence), "a reply");
    assert_eq!(changed(&|b| b[2] |= 0x28), Err(Fault::Answer(wire::Code::NotImp)), "an update");
    assert_eq!(changed(&|b| b[5] = 0), form, "no question");
    assert_eq!(changed(&|b| b[5] = 2), form, "two questions");
    assert_eq!(changed(&|b| b[7] = 1), form, "an answer in a query");
    assert_eq!(changed(&|b| b[12] = 0xc0), form, "a question that points");
    assert_eq!(changed(&|b| b[12] = 0x40), form, "a label of a kind that there is not");
    assert_eq!(changed(&|b| b.truncate(20)), form, "a question that breaks off");
    assert_eq!(changed(&|b| b[11] = 1), form, "an additional record that is not there");
    let mut long = good[..12].to_vec();
    for _ in 0..5 {
        long.push(63);
        long.extend([b'x'; 63]);
    }
    long.extend([0, 0, 1, 0, 1]);
    assert_eq!(read(&long), form, "a name of more than 255 octets");
    let opt = [0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        changed(&|b| {
            b[11] = 1;
            b.extend(opt);
        }),
        Ok(())
    );
    assert_eq!(
        changed(&|b| {
            b[11] = 2;
            b.extend(opt);
            b.extend(opt);
        }),
        form,
        "EDNS twice"
    );
    assert_eq!(
        changed(&|b| {
            b[11] = 1;
            b.extend(opt);
            b.pop();
        }),
        form,
        "EDNS that breaks off"
    );
}

#[test]
fn a_name_of_the_longest_kind_is_answered() {
    let (core, _runtime) = lab_core();
    let name = format!("{0}.{0}.{0}.{1}.", "a".repeat(63), "b".repeat(61));
    assert_eq!(answered(&core, &query(&name, RecordType::A, 9)).unwrap().id, 0, "it is asked of others");
    let name = format!("{}lab.home.arpa.", "a.".repeat(120));
    let message = answered(&core, &query(&name, RecordType::A, 9)).unwrap();
    assert_eq!(message.metadata.response_code, hickory_proto::op::ResponseCode::NXDomain);
}

#[test]
fn random_datagrams_and_queries_with_a_few_octets_changed() {
    let (core, _runtime) = lab_core();
    let mut config = ProptestConfig::with_cases(3000);
    config.failure_persistence = None;
    let names =
        prop::sample::select(vec!["nas.lab.home.arpa.", "x.lab.home.arpa.", "ads.example.", "www.example.org.", "."]);
    proptest!(config.clone(), |(bytes in prop::collection::vec(any::<u8>(), 0..600))| {
        answered(&core, &bytes);
    });
    proptest!(config, |(
        name in names, kind in any::<u16>(), edns in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in 0..80_usize
    )| {
        let mut message = Message::from_vec(&query(name, RecordType::from(kind), 7)).unwrap();
        if edns {
            message.set_edns(hickory_proto::op::Edns::new());
        }
        let mut bytes = message.to_vec().unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let length = bytes.len();
        bytes.truncate(length.saturating_sub(cut / 4).max(1));
        answered(&core, &bytes);
    });
}

#[test]
fn a_socket_that_gets_rubbish_goes_on_answering() {
    let lab = Lab::new(snapshot(&[]));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for n in 0..2000_u32 {
        let bytes: Vec<u8> = (0..n % 700).map(|i| (i.wrapping_mul(n).wrapping_add(n >> 3)) as u8).collect();
        socket.send_to(&bytes, lab.address).unwrap();
    }
    assert_eq!(lab.short("nas.lab.home.arpa"), "10.0.20.5");
    let mut stream = std::net::TcpStream::connect(lab.address).unwrap();
    stream.write_all(&[0, 3, 1, 2, 3]).unwrap();
    let mut left = Vec::new();
    stream.read_to_end(&mut left).unwrap();
    assert!(left.is_empty(), "a message without a header ends the connection");
    assert_eq!(lab.short("+tcp nas.lab.home.arpa"), "10.0.20.5");
}
