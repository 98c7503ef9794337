//! Unbound behind the resolver, over every transport; zones that are signed, and one that is signed wrongly.

use std::path::Path;

use hickory_proto::dnssec::PublicKeyBuf;

use super::*;

fn tool(name: &str, package: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(name)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|_| panic!("missing: `{name}` (package {package}); run scripts/test-deps"));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_transport_to_unbound_and_a_certificate_that_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = authority.self_signed(&key).unwrap();
    let own = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".into(), "dns.example".into()]).unwrap();
    let leaf = leaf.signed_by(&own, &rcgen::Issuer::new(authority, &key)).unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("root.pem"), root.pem()).unwrap();
    std::fs::write(path("leaf.pem"), leaf.pem()).unwrap();
    std::fs::write(path("leaf.key"), own.serialize_pem()).unwrap();
    let (tls, https) = (free_port("127.0.0.1"), free_port("127.0.0.1"));
    let more = format!(
        " local-zone: \"example.org.\" static\n local-data: \"www.example.org. 300 IN A 192.0.2.7\"\n \
         local-data: \"www.example.org. 300 IN AAAA 2001:db8::7\"\n interface: 127.0.0.1@{tls}\n interface: 127.0.0.1@{https}\n \
         tls-port: {tls}\n https-port: {https}\n tls-service-key: \"leaf.key\"\n tls-service-pem: \"leaf.pem\"\n"
    );
    let (_unbound, plain) = unbound("127.0.0.1", folder.path(), &more);
    let spec = |transport, port, tls_name: &str| Upstream {
        transport,
        host: "127.0.0.1".into(),
        port,
        tls_name: tls_name.into(),
        path: if transport == Transport::Https { "/dns-query".into() } else { String::new() },
    };
    for (transport, port) in [
        (Transport::Udp, plain.port()),
        (Transport::Tcp, plain.port()),
        (Transport::Tls, tls),
        (Transport::Https, https),
    ] {
        for name in ["127.0.0.1", "dns.example"] {
            let mut snapshot = snapshot(&[]);
            snapshot.forward.upstreams = vec![spec(transport, port, name)];
            let lab = Lab::with(snapshot, |settings| settings.roots = Some(path("root.pem")));
            assert_eq!(lab.says("www.example.org"), "NOERROR [A 192.0.2.7]", "{transport:?} {name}");
            assert_eq!(lab.says("www.example.org AAAA"), "NOERROR [AAAA 2001:db8::7]", "{transport:?} {name}");
            assert_eq!(lab.says("nope.example.org"), "NXDOMAIN []", "{transport:?} {name}");
            assert_eq!(lab.says("www.example.org MX"), "NOERROR []", "{transport:?} {name}");
        }
    }
    for (transport, port) in [(Transport::Tls, tls), (Transport::Https, https)] {
        let mut snapshot = snapshot(&[]);
        snapshot.forward.upstreams = vec![spec(transport, port, "127.0.0.1")];
        let stranger = Lab::new(snapshot.clone());
        assert_eq!(stranger.says("www.example.org"), "SERVFAIL []", "{transport:?}: nobody vouches for it");
        snapshot.forward.upstreams = vec![spec(transport, port, "other.example")];
        let other = Lab::with(snapshot, |settings| settings.roots = Some(path("root.pem")));
        assert_eq!(other.says("www.example.org"), "SERVFAIL []", "{transport:?}: it is somebody else's");
    }
    // An upstream that has a name is found by asking another one.
    let mut snapshot = snapshot(&[]);
    let named = Upstream { host: "dns.example".into(), ..spec(Transport::Tls, tls, "dns.example") };
    let knows = Fake::answering("127.0.0.2", [127, 0, 0, 1], 300);
    snapshot.forward.order = labwright_model::snapshot::dns::Order::Given;
    snapshot.forward.upstreams = vec![named, upstream(knows.address)];
    let lab = Lab::with(snapshot, |settings| settings.roots = Some(path("root.pem")));
    assert_eq!(lab.short("www.example.org"), "192.0.2.7");
}

#[test]
fn signatures_are_checked_and_a_name_that_fails_is_not_given() {
    let folder = tempfile::tempdir().unwrap();
    // The root itself, so that the chain of signatures begins and ends here. `example.org` has a record: Unbound proves no
    // absence below a name that is only above others.
    let text = "$ORIGIN .\n$TTL 300\n. SOA ns. hostmaster. 1 3600 600 86400 60\n. NS ns.\nns. A 192.0.2.1\nexample.org. TXT here\n\
                www.example.org. A 192.0.2.7\nforged.example.org. A 192.0.2.8\n";
    std::fs::write(folder.path().join("zone"), text).unwrap();
    let run = |name: &str, arguments: &[&str]| tool(name, "bind9-utils", arguments, folder.path());
    let ksk = run("dnssec-keygen", &["-a", "ECDSAP256SHA256", "-f", "KSK", "."]);
    run("dnssec-keygen", &["-a", "ECDSAP256SHA256", "."]);
    run("dnssec-signzone", &["-S", "-O", "full", "-o", ".", "-f", "signed", "zone"]);
    let signed = std::fs::read_to_string(folder.path().join("signed")).unwrap();
    std::fs::write(folder.path().join("signed"), signed.replace("192.0.2.8", "198.51.100.8")).unwrap();
    let more = "auth-zone:\n name: \".\"\n zonefile: \"signed\"\n for-downstream: yes\n for-upstream: no\n";
    let (_unbound, address) = unbound("127.0.0.1", folder.path(), more);
    let key = std::fs::read_to_string(folder.path().join(format!("{}.key", ksk.trim()))).unwrap();
    let public: String = key.lines().filter(|line| !line.starts_with(';')).collect();
    let public: String = public.split_whitespace().skip_while(|word| *word != "DNSKEY").skip(4).collect();
    let mut anchors = TrustAnchors::empty();
    let bytes = base64(&public);
    let key = PublicKeyBuf::new(bytes, hickory_proto::dnssec::Algorithm::ECDSAP256SHA256);
    anchors.insert(&key);
    let anchors = Arc::new(anchors);
    let mut snapshot = snapshot(&[address]);
    snapshot.forward.dnssec = true;
    let lab = Lab::with(snapshot.clone(), |settings| settings.anchors = Some(anchors.clone()));
    assert_eq!(lab.says("www.example.org"), "NOERROR [A 192.0.2.7]");
    assert!(lab.dig("+adflag www.example.org").contains("flags: qr rd ra ad;"));
    let with_signatures = lab.dig("+dnssec www.example.org");
    assert!(with_signatures.contains("RRSIG") && with_signatures.contains("ra ad;"), "{with_signatures}");
    assert!(!lab.dig("+noadflag www.example.org").contains(" ad;"));
    assert_eq!(lab.says("nope.example.org"), "NXDOMAIN []");
    assert_eq!(lab.says("forged.example.org"), "SERVFAIL []");
    assert!(lab.dig("forged.example.org").contains("EDE: 6 (DNSSEC Bogus)"));
    assert_eq!(lab.says("+cdflag forged.example.org"), "NOERROR [A 198.51.100.8]");
    snapshot.forward.dnssec = false;
    let trusting = Lab::new(snapshot);
    assert_eq!(trusting.says("forged.example.org"), "NOERROR [A 198.51.100.8]");
    assert!(!trusting.dig("+adflag www.example.org").contains(" ad;"), "what was not checked is not called so");
}

/// The octets of a key, by coreutils.
fn base64(text: &str) -> Vec<u8> {
    let mut child = Command::new("base64")
        .arg("-d")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("missing: `base64` (package coreutils)");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap().stdout
}

#[test]
fn dnsperf_loses_nothing_of_a_mixed_load() {
    let folder = tempfile::tempdir().unwrap();
    let more = " local-zone: \"n.example.\" redirect\n local-data: \"n.example. 3600 IN A 192.0.2.7\"\n";
    let (_unbound, address) = unbound("127.0.0.1", folder.path(), more);
    let lab = Lab::new(with_rules(snapshot(&[address]), &["ads.example"]));
    let mut queries = String::new();
    for n in 0..5000 {
        queries.push_str(&match n % 3 {
            0 => "nas.lab.home.arpa A\n".to_string(),
            1 => format!("x{n}.ads.example A\n"),
            _ => format!("h{}.n.example A\n", n % 50),
        });
    }
    std::fs::write(folder.path().join("queries"), queries).unwrap();
    let port = lab.address.port().to_string();
    let said = tool(
        "dnsperf",
        "dnsperf",
        &["-s", "127.0.0.1", "-p", &port, "-d", "queries", "-l", "2", "-c", "4", "-q", "50"],
        folder.path(),
    );
    assert!(said.contains("Queries lost:         0 "), "{said}");
    assert!(said.contains("NOERROR"), "{said}");
    let statistics = lab.server.statistics(1);
    let sent: u64 = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("Queries completed:"))
        .unwrap()
        .trim()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(statistics.queries, sent, "each query is counted once");
}
