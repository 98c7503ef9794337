//! Certificates from a real directory, Let's Encrypt's own Pebble, with everything it can do wrong.

use std::process::{Command, Stdio};

use labwright_model::snapshot::proxy::{Acme, Binding, ProxySnapshot};
use tempfile::TempDir;

use crate::world::{Daemon, Nginx, Program, certify, free_port, site, tool, wait_for};

/// Pebble, and the name server that it asks.
pub struct Pebble {
    pub folder: TempDir,
    pub port: u16,
    pub management: u16,
    _pebble: Program,
    _names: Option<Program>,
}

pub struct Ports {
    pub http: u16,
    pub tls: u16,
}

impl Pebble {
    pub fn start(ports: &Ports, environment: &[(&str, &str)]) -> Pebble {
        Pebble::asking(None, ports, environment)
    }

    /// `dns`: the name server that it asks, where it is not its own.
    pub fn asking(dns: Option<u16>, ports: &Ports, environment: &[(&str, &str)]) -> Pebble {
        Pebble::with(dns, ports, environment, false)
    }

    /// `bound`: it takes accounts that are bound to one of its own only.
    fn with(dns: Option<u16>, ports: &Ports, environment: &[(&str, &str)], bound: bool) -> Pebble {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display().to_string();
        certify(folder.path(), "localhost", "DNS:localhost,IP:127.0.0.1");
        let (port, management, own) = (free_port(), free_port(), free_port());
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": format!("{at}/cert.pem"),
            "privateKey": format!("{at}/key.pem"),
            "httpPort": ports.http,
            "tlsPort": ports.tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": bound,
            "externalAccountMACKeys": { "kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W" },
        } });
        let config = match bound {
            true => config,
            false => {
                let mut config = config;
                config["pebble"].as_object_mut().unwrap().remove("externalAccountMACKeys");
                config
            }
        };
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let names = dns.is_none().then(|| {
            let address = format!("127.0.0.1:{own}");
            let mut command = Command::new(tool("pebble-challtestsrv", "pebble"));
            command.args(["-defaultIPv6", "", "-dns01", &address, "-http01", "", "-https01", "", "-tlsalpn01", ""]);
            command.args(["-management", &format!("127.0.0.1:{}", free_port())]);
            Program(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        });
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(tool("pebble", "pebble"));
        command.args(["-config", &format!("{at}/config.json"), "-strict"]);
        command.args(["-dnsserver", &format!("127.0.0.1:{}", dns.unwrap_or(own))]);
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0").envs(environment.iter().copied());
        let pebble = Program(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        wait_for("Pebble", || std::net::TcpStream::connect(("127.0.0.1", management)).is_ok());
        Pebble { folder, port, management, _pebble: pebble, _names: names }
    }

    pub fn acme(&self) -> Acme {
        Acme {
            directory: format!("https://localhost:{}/dir", self.port),
            email: Some("ada@lab.test".into()),
            directory_ca: Some(format!("{}/cert.pem", self.folder.path().display())),
            wildcard: vec![],
            dns: None,
            binding: None,
        }
    }

    /// The root that its certificates lead to, as a file.
    pub fn root(&self) -> String {
        let path = format!("{}/root.pem", self.folder.path().display());
        let url = format!("https://localhost:{}/roots/0", self.management);
        let got = Command::new("curl").args(["-sk", "-o", &path, &url]).status();
        assert!(got.unwrap().success());
        path
    }
}

fn with(daemon: &Daemon, acme: Acme, names: &[&str], nginx: &Nginx) -> ProxySnapshot {
    let sites = names.iter().map(|name| site(name, &[nginx.url()])).collect();
    let mut snapshot = daemon.snapshot(sites);
    snapshot.certificates.acme = Some(acme);
    snapshot
}

fn has_all(daemon: &Daemon) -> bool {
    daemon.status().certificates.iter().all(|one| one.not_after.is_some())
}

#[test]
fn a_directory_is_asked_over_http_and_its_certificates_are_kept() {
    let (mut daemon, nginx) = (Daemon::start(), Nginx::start(""));
    // A directory that refuses every third nonce, as the specification lets it.
    let ports = Ports { http: daemon.http, tls: free_port() };
    let pebble = Pebble::start(&ports, &[("PEBBLE_WFE_NONCEREJECT", "30")]);
    let mut snapshot = with(&daemon, pebble.acme(), &["wiki", "photos"], &nginx);
    // Clear text is sent to HTTPS, but for the proof.
    snapshot.sites.iter_mut().for_each(|site| site.clear_text = false);
    daemon.apply(&snapshot);
    // Until it is there, one of the lab's own stands in.
    daemon.curl("wiki.lab.test", "/", &["-k"]).is(200);
    wait_for("both certificates", || has_all(&daemon));
    let root = pebble.root();
    daemon.curl("wiki.lab.test", "/", &["--cacert", &root]).is(200);
    daemon.curl("photos.lab.test", "/", &["--cacert", &root]).is(200);
    for one in daemon.status().certificates {
        let (ends, next) = (one.not_after.unwrap(), one.next.unwrap());
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
        // Two thirds of its life, whatever that is.
        let share = (next - now) as f64 / (ends - now) as f64;
        assert!((0.6..0.7).contains(&share), "{share}");
    }
    // A restart asks nobody: the directory may be gone.
    let before = daemon.status().certificates;
    drop(pebble);
    daemon.kill();
    daemon.restart();
    assert_eq!(daemon.status().certificates, before);
    daemon.curl("wiki.lab.test", "/", &["--cacert", "/dev/null", "-k"]).is(200);
}

#[test]
fn where_http_does_not_reach_the_handshake_is_the_proof() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(""));
    let ports = Ports { http: daemon.http, tls: daemon.https };
    let pebble = Pebble::start(&ports, &[]);
    let mut snapshot = with(&daemon, pebble.acme(), &["wiki"], &nginx);
    // Nothing listens on the port for HTTP: the second way is tried after the first has failed.
    snapshot.listen.http = 0;
    daemon.apply(&snapshot);
    wait_for("the first refusal", || daemon.status().certificates[0].error.is_some());
    let error = daemon.status().certificates[0].error.clone().unwrap();
    assert!(error.contains("wiki.lab.test") && error.contains("connection refused"), "{error}");
    let faults = daemon.status().faults.join("\n");
    assert!(faults.contains("one of the lab's own stands in for it"), "{faults}");
    daemon.curl("wiki.lab.test", "/", &[]).is(200);
    // The next try is a minute away.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(90);
    while !has_all(&daemon) {
        assert!(std::time::Instant::now() < until, "{:?}\n{}", daemon.status().certificates, daemon.log());
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    daemon.curl("wiki.lab.test", "/", &["--cacert", &pebble.root()]).is(200);
}

#[test]
fn a_directory_that_cannot_be_reached_or_believed_is_told() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(""));
    let ports = Ports { http: daemon.http, tls: daemon.https };
    let pebble = Pebble::start(&ports, &[]);
    let mut acme = pebble.acme();
    acme.directory_ca = None;
    let error = |acme: Acme| {
        daemon.apply(&with(&daemon, acme, &["wiki"], &nginx));
        wait_for("an error", || daemon.status().certificates[0].error.is_some());
        let one = daemon.status().certificates[0].clone();
        assert!(
            one.next.unwrap() > std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64 + 30,
            "asked again at once"
        );
        one.error.unwrap()
    };
    let distrusted = error(acme.clone());
    assert!(distrusted.contains("no TLS with it") && distrusted.contains("UnknownIssuer"), "{distrusted}");
    acme.directory = format!("https://localhost:{}/dir", free_port());
    let gone = error(acme);
    assert!(gone.contains("it refuses connections"), "{gone}");
    daemon.curl("wiki.lab.test", "/", &[]).is(200);
}

#[test]
fn an_account_is_bound_to_one_at_the_authority() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(""));
    let ports = Ports { http: daemon.http, tls: daemon.https };
    let pebble = Pebble::with(None, &ports, &[], true);
    let key = |text: &str| std::fs::write(daemon.folder.path().join("credentials/proxy.acme-account"), text).unwrap();
    let bound = |id: &str| {
        let mut acme = pebble.acme();
        acme.binding = Some(Binding { id: id.into(), key: "proxy.acme-account".into() });
        acme
    };
    // A name of its own for each: one that was refused waits before it is asked for again.
    let refused = |acme: Acme, name: &str| {
        daemon.apply(&with(&daemon, acme, &[name], &nginx));
        wait_for("a refusal", || daemon.status().certificates[0].error.is_some());
        daemon.status().certificates[0].error.clone().unwrap()
    };
    // Without one, and with a key that is another's, the authority says no in its own words.
    let without = refused(pebble.acme(), "first");
    assert!(without.contains("externalAccountBinding"), "{without}");
    key("not base64url!");
    let unreadable = refused(bound("kid-0"), "second");
    assert!(unreadable.contains("not base64url") && !unreadable.contains("not base64url!"), "{unreadable}");
    key("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let other = refused(bound("kid-2"), "third");
    assert!(!other.contains("AAAA"), "{other}");
    // The right one, as a page shows it: with padding, and a line's end.
    key("zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W\n");
    daemon.apply(&with(&daemon, bound("kid-1"), &["photos"], &nginx));
    wait_for("the certificate", || has_all(&daemon));
    daemon.curl("photos.lab.test", "/", &["--cacert", &pebble.root()]).is(200);
    assert!(!daemon.log().contains("zWNDZM6e"), "the key is in the log");
}
