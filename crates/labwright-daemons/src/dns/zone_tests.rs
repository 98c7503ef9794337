//! What the lab's own zones say, question by question.

use hickory_proto::op::Message;
use labwright_model::snapshot::dns::{Forward, ForwardDomain, Transport, Upstream};

use super::*;
use crate::dns::wire::{MAX_UDP, Reply, write};

fn record(name: &str, data: Data) -> Record {
    Record { name: name.into(), ttl: 60, data }
}

fn address(name: &str, address: &str) -> Record {
    record(name, Data::Address(address.parse().unwrap()))
}

fn snapshot() -> DnsSnapshot {
    let cname = |name: &str, to: &str| record(name, Data::Cname(to.into()));
    let mut records = vec![
        address("lab.home.arpa", "10.0.20.80"),
        address("nas.lab.home.arpa", "10.0.20.5"),
        address("nas.lab.home.arpa", "fd00::5"),
        address("*.apps.lab.home.arpa", "10.0.20.80"),
        address("special.apps.lab.home.arpa", "10.0.20.81"),
        address("a.b.c.lab.home.arpa", "10.0.20.1"),
        cname("files.lab.home.arpa", "nas.lab.home.arpa"),
        cname("more.lab.home.arpa", "files.lab.home.arpa"),
        cname("through.lab.home.arpa", "x.apps.lab.home.arpa"),
        cname("broken.lab.home.arpa", "gone.lab.home.arpa"),
        cname("out.lab.home.arpa", "www.example.org"),
        cname("corp.lab.home.arpa", "www.corp.example"),
        address("wiki.example.net", "10.0.20.80"),
        address("*.eelk.example", "10.0.20.80"),
        record("long.lab.home.arpa", Data::Txt("x".repeat(300))),
        record("nas.lab.home.arpa", Data::Mx { preference: 10, exchange: "nas.lab.home.arpa".into() }),
        record("5.20.0.10.in-addr.arpa", Data::Ptr("nas.lab.home.arpa".into())),
    ];
    records.sort();
    DnsSnapshot {
        servers: vec!["d.lab.home.arpa".into(), "e.lab.home.arpa".into()],
        zones: vec!["lab.home.arpa".into(), "20.0.10.in-addr.arpa".into()],
        negative_ttl: 60,
        records,
        forward: Forward {
            domains: vec![ForwardDomain {
                domain: "corp.example".into(),
                upstreams: vec![Upstream {
                    transport: Transport::Udp,
                    host: "10.9.0.1".into(),
                    port: 53,
                    tls_name: "10.9.0.1".into(),
                    path: String::new(),
                }],
            }],
            ..Forward::default()
        },
        ..DnsSnapshot::default()
    }
}

/// A question as it comes over the wire.
fn question(name: &str, kind: u16) -> Query {
    let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    bytes.extend(wire::wire(name).unwrap());
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    let mut query = Query::default();
    query.read(&bytes).unwrap();
    query
}

/// The answer in one line, read by hickory from what would be sent.
fn says(zones: &Zones, name: &str, kind: u16) -> String {
    let query = question(name, kind);
    let mut out = Vec::new();
    let (reply, prefix) = match zones.answer(&query) {
        Local::Elsewhere(None) => return "elsewhere".into(),
        Local::Elsewhere(Some(domain)) => return format!("elsewhere {domain}"),
        Local::Alias { records, answers, target } => {
            (Reply { answers, records, ..Reply::default() }, format!("alias of {}: ", wire::shown(target)))
        }
        Local::Answer(reply) => (reply, String::new()),
    };
    write(&query, &reply, usize::from(u16::MAX), &mut out);
    let message = Message::from_vec(&out).unwrap();
    let shown = |records: &[hickory_proto::rr::Record]| {
        let one =
            |record: &hickory_proto::rr::Record| format!("{} {} {}", record.name, record.record_type(), record.data);
        records.iter().map(one).collect::<Vec<_>>().join("; ")
    };
    let authority = message.authorities.iter().map(|record| format!("{} {}", record.name, record.record_type()));
    let authority: Vec<String> = authority.collect();
    format!("{prefix}{} [{}] [{}]", message.metadata.response_code, shown(&message.answers), authority.join("; "))
}

fn all(questions: &[(&str, u16, &str)]) {
    let zones = Zones::new(&snapshot(), 42).unwrap();
    for (name, kind, expected) in questions {
        assert_eq!(says(&zones, name, *kind), *expected, "{name} {kind}");
    }
}

#[test]
fn names_and_their_types() {
    all(&[
        ("nas.lab.home.arpa", 1, "No Error [nas.lab.home.arpa. A 10.0.20.5] []"),
        ("NAS.lab.home.ARPA", 28, "No Error [nas.lab.home.arpa. AAAA fd00::5] []"),
        ("nas.lab.home.arpa", 15, "No Error [nas.lab.home.arpa. MX 10 nas.lab.home.arpa.] []"),
        ("lab.home.arpa", 1, "No Error [lab.home.arpa. A 10.0.20.80] []"),
        ("lab.home.arpa", 2, "No Error [lab.home.arpa. NS d.lab.home.arpa.; lab.home.arpa. NS e.lab.home.arpa.] []"),
        (
            "lab.home.arpa",
            6,
            "No Error [lab.home.arpa. SOA d.lab.home.arpa. hostmaster.lab.home.arpa. 42 3600 600 604800 60] []",
        ),
        ("5.20.0.10.in-addr.arpa", 12, "No Error [5.20.0.10.in-addr.arpa. PTR nas.lab.home.arpa.] []"),
    ]);
}

#[test]
fn what_is_not_there_and_what_has_no_such_record() {
    all(&[
        ("nas.lab.home.arpa", 16, "No Error [] [lab.home.arpa. SOA]"),
        ("nope.lab.home.arpa", 1, "Non-Existent Domain [] [lab.home.arpa. SOA]"),
        ("below.nas.lab.home.arpa", 1, "Non-Existent Domain [] [lab.home.arpa. SOA]"),
        // Names above others are there, without records.
        ("b.c.lab.home.arpa", 1, "No Error [] [lab.home.arpa. SOA]"),
        ("c.lab.home.arpa", 1, "No Error [] [lab.home.arpa. SOA]"),
        ("x.c.lab.home.arpa", 1, "Non-Existent Domain [] [lab.home.arpa. SOA]"),
        ("6.20.0.10.in-addr.arpa", 12, "Non-Existent Domain [] [20.0.10.in-addr.arpa. SOA]"),
    ]);
}

#[test]
fn wildcards_take_every_depth_and_give_way_to_names_that_are_there() {
    all(&[
        ("x.apps.lab.home.arpa", 1, "No Error [x.apps.lab.home.arpa. A 10.0.20.80] []"),
        ("y.x.apps.lab.home.arpa", 1, "No Error [y.x.apps.lab.home.arpa. A 10.0.20.80] []"),
        ("x.apps.lab.home.arpa", 28, "No Error [] [lab.home.arpa. SOA]"),
        ("apps.lab.home.arpa", 1, "No Error [] [lab.home.arpa. SOA]"),
        ("special.apps.lab.home.arpa", 1, "No Error [special.apps.lab.home.arpa. A 10.0.20.81] []"),
        // RFC 4592, 2.2.1: a name that is there keeps the wildcard from what is below it.
        ("x.special.apps.lab.home.arpa", 1, "Non-Existent Domain [] [lab.home.arpa. SOA]"),
    ]);
}

#[test]
fn aliases_are_followed_as_far_as_the_lab_goes() {
    all(&[
        (
            "more.lab.home.arpa",
            1,
            "No Error [more.lab.home.arpa. CNAME files.lab.home.arpa.; files.lab.home.arpa. CNAME nas.lab.home.arpa.; \
             nas.lab.home.arpa. A 10.0.20.5] []",
        ),
        ("files.lab.home.arpa", 5, "No Error [files.lab.home.arpa. CNAME nas.lab.home.arpa.] []"),
        ("files.lab.home.arpa", 16, "No Error [files.lab.home.arpa. CNAME nas.lab.home.arpa.] []"),
        (
            "through.lab.home.arpa",
            1,
            "No Error [through.lab.home.arpa. CNAME x.apps.lab.home.arpa.; x.apps.lab.home.arpa. A 10.0.20.80] []",
        ),
        ("broken.lab.home.arpa", 1, "No Error [broken.lab.home.arpa. CNAME gone.lab.home.arpa.] []"),
        ("out.lab.home.arpa", 1, "alias of www.example.org: No Error [out.lab.home.arpa. CNAME www.example.org.] []"),
        (
            "corp.lab.home.arpa",
            1,
            "alias of www.corp.example: No Error [corp.lab.home.arpa. CNAME www.corp.example.] []",
        ),
    ]);
}

#[test]
fn names_of_the_world_that_the_lab_answers_in_its_place() {
    all(&[
        ("wiki.example.net", 1, "No Error [wiki.example.net. A 10.0.20.80] []"),
        // No address of the world's comes in by another type.
        ("wiki.example.net", 65, "No Error [] [wiki.example.net. SOA]"),
        ("example.net", 1, "elsewhere"),
        ("other.example.net", 1, "elsewhere"),
        ("a.b.eelk.example", 1, "No Error [a.b.eelk.example. A 10.0.20.80] []"),
        ("eelk.example", 1, "elsewhere"),
    ]);
}

#[test]
fn what_never_leaves_the_lab_and_what_goes_elsewhere() {
    all(&[
        ("localhost", 1, "No Error [localhost. A 127.0.0.1] []"),
        ("x.localhost", 28, "No Error [x.localhost. AAAA ::1] []"),
        ("printer.local", 1, "Non-Existent Domain [] [local. SOA]"),
        ("x.onion", 1, "Non-Existent Domain [] [onion. SOA]"),
        ("other.home.arpa", 1, "Non-Existent Domain [] [home.arpa. SOA]"),
        ("7.7.168.192.in-addr.arpa", 12, "Non-Existent Domain [] [168.192.in-addr.arpa. SOA]"),
        ("1.1.20.172.in-addr.arpa", 12, "Non-Existent Domain [] [20.172.in-addr.arpa. SOA]"),
        ("8.8.8.8.in-addr.arpa", 12, "elsewhere"),
        ("corp.example", 1, "elsewhere 0"),
        ("a.b.corp.example", 1, "elsewhere 0"),
        ("notcorp.example", 1, "elsewhere"),
        (".", 2, "elsewhere"),
    ]);
}

#[test]
fn a_reverse_zone_that_is_asked_elsewhere_is_not_answered_here() {
    let mut snapshot = snapshot();
    snapshot.forward.domains[0].domain = "10.in-addr.arpa".into();
    let zones = Zones::new(&snapshot, 1).unwrap();
    assert_eq!(says(&zones, "1.2.3.10.in-addr.arpa", 12), "elsewhere 0");
    assert_eq!(says(&zones, "9.20.0.10.in-addr.arpa", 12), "Non-Existent Domain [] [20.0.10.in-addr.arpa. SOA]");
}

#[test]
fn a_text_longer_than_one_string_is_whole() {
    let zones = Zones::new(&snapshot(), 1).unwrap();
    let query = question("long.lab.home.arpa", 16);
    let Local::Answer(reply) = zones.answer(&query) else { panic!() };
    let mut out = Vec::new();
    write(&query, &reply, MAX_UDP, &mut out);
    let message = Message::from_vec(&out).unwrap();
    let RData::TXT(text) = &message.answers[0].data else { panic!() };
    assert_eq!(text.txt_data.iter().map(|part| part.len()).collect::<Vec<_>>(), [255, 45]);
}

#[test]
fn what_cannot_be_served_is_refused_with_its_name() {
    let refuses = |record: Vec<Record>| {
        let snapshot = DnsSnapshot { records: record, ..snapshot() };
        Zones::new(&snapshot, 1).err().unwrap()
    };
    let cname = |name: &str, to: &str| record(name, Data::Cname(to.into()));
    assert_eq!(
        refuses(vec![cname("a.lab.home.arpa", "b.lab.home.arpa"), cname("b.lab.home.arpa", "a.lab.home.arpa")]),
        "`a.lab.home.arpa` is an alias that leads back to itself"
    );
    assert_eq!(
        refuses(vec![cname("a.lab.home.arpa", "x.example"), address("a.lab.home.arpa", "10.0.0.1")]),
        "`a.lab.home.arpa` is an alias (CNAME) and has other records, which no name can"
    );
    assert!(refuses(vec![address("a..lab", "10.0.0.1")]).contains("`a..lab` is no name"));
    assert!(refuses(vec![cname("a.lab", &"x".repeat(64))]).contains("is no name"));
}
