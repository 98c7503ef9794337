//! Random labs against a decision that knows nothing of the tool: what the generator declared, and what the words of a lab
//! file mean, spelled out once more as naively as can be. What plain sockets found has to agree with that, pair by pair and
//! port by port; the tool's own matrix is not asked.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use labwright_plan::network::Matrix;
use labwright_plan::network::nft::Compiler;
use labwright_providers::rehearsal::{Report, Socket, run_with};

use crate::{inside, lab};

/// A generator of labs that is the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // Knuth's multiplier for 64-bit congruential generators (The Art of Computer Programming 2, 3.3.4).
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % sides as u64) as usize
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())].clone()
    }

    fn likely(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }
}

/// One end of a flow, as the lab file names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Internet,
    Zone(usize),
    Host(usize),
    App,
}

/// Somebody who tries, or is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Internet,
    Device(usize),
    Host(usize),
}

struct Host {
    /// The zone that it names.
    zone: usize,
    addresses: Vec<IpAddr>,
    /// Labwright sets its firewall.
    ours: bool,
}

/// What the generator declared.
struct Declared {
    v6: bool,
    kinds: Vec<&'static str>,
    /// The router is the first.
    hosts: Vec<Host>,
    flows: Vec<(End, End, &'static str)>,
    dns: usize,
    app: (usize, u16, &'static str),
    /// The app needs it.
    store: (usize, u16),
}

const V4: fn(usize, usize) -> IpAddr = |zone, host| IpAddr::V4(Ipv4Addr::new(10, 77, zone as u8, host as u8));
const V6: fn(usize, usize) -> IpAddr =
    |zone, host| IpAddr::V6(Ipv6Addr::new(0xfd00, 0x77, zone as u16, 0, 0, 0, 0, host as u16));
const TRAFFIC: &[&str] = &["any", "icmp", "https", "dns", "8000-8010/tcp", "51820/udp", "[ssh, ntp, 5000-5005]"];

fn declare(seed: u64) -> Declared {
    let dice = &mut Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let words = ["management", "servers", "clients", "iot", "guest", "lab", "dmz"];
    let kinds: Vec<&str> = (0..2 + dice.roll(3)).map(|_| dice.of(&words)).collect();
    let v6 = dice.likely(60);
    let mut gateway: Vec<IpAddr> = (0..kinds.len()).map(|zone| V4(zone, 1)).collect();
    gateway.extend(v6.then(|| V6(0, 1)));
    let mut hosts = vec![Host { zone: 0, addresses: gateway, ours: true }];
    for zone in 0..kinds.len() {
        for number in 10..11 + dice.roll(2) {
            let mut addresses = vec![V4(zone, number)];
            addresses.extend((v6 && dice.likely(70)).then(|| V6(zone, number)));
            // A host in two zones has the rights of both.
            addresses.extend(dice.likely(15).then(|| V4((zone + 1) % kinds.len(), 40 + 10 * zone + number)));
            hosts.push(Host { zone, addresses, ours: !dice.likely(25) });
        }
    }
    let mut ends: Vec<End> = (0..kinds.len()).map(End::Zone).chain((0..hosts.len()).map(End::Host)).collect();
    ends.extend([End::Internet, End::App]);
    let flows = (0..3 + dice.roll(6)).map(|_| (dice.of(&ends), dice.of(&ends), dice.of(TRAFFIC))).collect();
    let any = |dice: &mut Dice| dice.roll(hosts.len());
    let (dns, app, store) = (any(dice), any(dice), any(dice));
    let expose = dice.of(&["nowhere", "lan", "public"]);
    let (app, store) = ((app, 3000 + dice.roll(900) as u16, expose), (store, 6000 + dice.roll(900) as u16));
    Declared { v6, kinds, hosts, flows, dns, app, store }
}

impl Declared {
    fn name(host: usize) -> String {
        if host == 0 { "gw".to_string() } else { format!("h{host}") }
    }

    fn named(end: End) -> String {
        match end {
            End::Internet => "internet".to_string(),
            End::Zone(zone) => format!("z{zone}"),
            End::Host(host) => Declared::name(host),
            End::App => "app".to_string(),
        }
    }

    /// The lab file that says so.
    fn text(&self) -> String {
        let mut lab = "lab: random\nedge: { router: gw }\nnetwork:\n  firewall: enforce\n  zones:\n".to_string();
        for (zone, kind) in self.kinds.iter().enumerate() {
            let six = if self.v6 { format!(", \"fd00:77:{zone}::/64\"") } else { String::new() };
            lab += &format!("    z{zone}: {{ kind: {kind}, subnet: [10.77.{zone}.0/24{six}] }}\n");
        }
        lab += "  flows:\n";
        for (from, to, allow) in &self.flows {
            let (from, to) = (Declared::named(*from), Declared::named(*to));
            lab += &format!("    - {{ from: {from}, to: {to}, allow: {allow} }}\n");
        }
        lab += &format!("platform: {{ dns: {} }}\ncompute:\n  hosts:\n", Declared::name(self.dns));
        for (number, host) in self.hosts.iter().enumerate() {
            let addresses: Vec<String> = host.addresses.iter().map(|address| format!("\"{address}\"")).collect();
            let os = if host.ours { "debian" } else { "other" };
            let (name, zone) = (Declared::name(number), host.zone);
            lab += &format!("    {name}: {{ zone: z{zone}, os: {os}, address: [{}] }}\n", addresses.join(", "));
        }
        let ((app, port, expose), (store, other)) = (self.app, self.store);
        let (app, store) = (Declared::name(app), Declared::name(store));
        lab += &format!("services:\n  app: {{ run: app, on: {app}, port: {port}, expose: {expose}, needs: store }}\n");
        lab + &format!("  store: {{ run: store, on: {store}, port: {other} }}\n")
    }

    /// The zones of somebody: the one that a host names, and those that its addresses are in; of a router, which is in
    /// every zone, the one that it names alone.
    fn zones(&self, who: Who) -> BTreeSet<usize> {
        match who {
            Who::Internet => BTreeSet::new(),
            Who::Device(zone) => BTreeSet::from([zone]),
            Who::Host(0) => BTreeSet::from([self.hosts[0].zone]),
            Who::Host(host) => {
                let addressed = self.hosts[host].addresses.iter().map(|address| zone_of(*address));
                addressed.chain([self.hosts[host].zone]).collect()
            }
        }
    }

    fn is(&self, who: Who, end: End) -> bool {
        match end {
            End::Internet => who == Who::Internet,
            End::Zone(zone) => self.zones(who).contains(&zone),
            End::Host(host) => who == Who::Host(host),
            End::App => who == Who::Host(self.app.0),
        }
    }

    /// Whether this may be opened by the words of the lab file.
    fn may(&self, from: Who, to: Who, port: &str) -> bool {
        let flow = self.flows.iter().any(|(source, target, allow)| {
            // Everything, to a service that says its port, is that port.
            let through = match (*target, *allow) {
                (End::App, "any") => port == format!("{}/tcp", self.app.1),
                _ => lets(allow, port),
            };
            self.is(from, *source) && self.is(to, *target) && through
        });
        flow || self.may_unasked(from, to, port)
    }

    /// As `may`, at one address: what the router gives out by DHCP it gives out over IPv4.
    fn may_at(&self, from: Who, to: Who, address: IpAddr, port: &str) -> bool {
        let flow = |(source, target, allow): &(End, End, &str)| {
            self.is(from, *source) && self.is(to, *target) && *target != End::App && lets(allow, port)
        };
        self.may(from, to, port) && (port != "67/udp" || address.is_ipv4() || self.flows.iter().any(flow))
    }

    /// What follows from the rest of the file.
    fn may_unasked(&self, from: Who, to: Who, port: &str) -> bool {
        // The router gives out addresses, and says that it is there, to everybody in a zone.
        if to == Who::Host(0) && from != Who::Internet && matches!(port, "67/udp" | "icmp") {
            return true;
        }
        // Guests and devices get nothing out of their zone that nobody asked for; each zone of somebody counts by itself.
        let names =
            |from: Who| to == Who::Host(self.dns) && matches!(port, "53/tcp" | "53/udp") && !self.is_shut_in(from, to);
        let time = |from: Who| to == Who::Internet && port == "123/udp" && !self.is_shut_in(from, to);
        let zones = || self.zones(from).into_iter().map(Who::Device);
        if zones().any(|zone| names(zone) || time(zone)) {
            return true;
        }
        let resolves = from == Who::Host(self.dns) && to == Who::Internet && matches!(port, "53/tcp" | "53/udp");
        if resolves && !self.is_shut_in(from, to) {
            return true;
        }
        let needs = from == Who::Host(self.app.0) && to == Who::Host(self.store.0);
        if needs && port == format!("{}/tcp", self.store.1) && !self.is_shut_in(from, to) && !self.is_walled(from, to) {
            return true;
        }
        let served = to == Who::Host(self.app.0) && port == format!("{}/tcp", self.app.1);
        let people = || zones().any(|zone| self.is_people(zone) && !self.is_walled(zone, to));
        match self.app.2 {
            "lan" => served && people(),
            "public" => from == Who::Internet && self.is_exposed_to_all(to, port),
            _ => false,
        }
    }

    fn is_exposed_to_all(&self, to: Who, port: &str) -> bool {
        let served = to == Who::Host(self.app.0) && port == format!("{}/tcp", self.app.1);
        served && self.app.2 == "public" && !self.is_walled(Who::Internet, to)
    }

    fn is_people(&self, zone: Who) -> bool {
        self.zones(zone).iter().all(|zone| self.kinds[*zone] == "clients")
    }

    /// Whether all of somebody's zones are for guests or devices, and somebody else is in none of them.
    fn is_shut_in(&self, from: Who, to: Who) -> bool {
        let (here, there) = (self.zones(from), self.zones(to));
        !here.is_empty()
            && here.iter().all(|zone| matches!(self.kinds[*zone], "guest" | "iot"))
            && here.is_disjoint(&there)
    }

    /// Whether somebody is in a management zone that the other is not in.
    fn is_walled(&self, from: Who, to: Who) -> bool {
        let here = self.zones(from);
        self.zones(to).iter().any(|zone| self.kinds[*zone] == "management" && !here.contains(zone))
    }

    fn who(&self, name: &str) -> Who {
        if let Some(zone) = name.strip_prefix("another device in z") {
            return Who::Device(zone.parse().unwrap());
        }
        match name {
            "internet" => Who::Internet,
            "gw" => Who::Host(0),
            host => Who::Host(host.strip_prefix('h').unwrap().parse().unwrap()),
        }
    }

    fn is_ours(&self, who: Who) -> bool {
        matches!(who, Who::Host(host) if self.hosts[host].ours)
    }

    /// Whether anything on the way has a firewall: one of the two, or the router where they share no network.
    fn is_enforced(&self, from: Who, to: Who, address: IpAddr) -> bool {
        let beside = to != Who::Internet
            && match from {
                Who::Internet => false,
                Who::Device(zone) => zone_of(address) == zone,
                Who::Host(host) => {
                    let like = |own: &&IpAddr| own.is_ipv4() == address.is_ipv4();
                    self.hosts[host].addresses.iter().filter(like).any(|own| zone_of(*own) == zone_of(address))
                }
            };
        self.is_ours(from) || self.is_ours(to) || !beside
    }

    /// Whether the way there and back is the same, so that what is allowed has to work: the address in a network that both
    /// are in, or the first of its family.
    fn is_straight(&self, from: Who, to: Who, address: IpAddr) -> bool {
        let Who::Host(host) = to else { return true };
        let all = || self.hosts[host].addresses.iter().filter(|other| other.is_ipv4() == address.is_ipv4());
        let here = self.zones(from);
        let best = all().find(|other| here.contains(&zone_of(**other))).or(all().next());
        host == 0 || best == Some(&address)
    }

    /// What this says otherwise than the sockets; and whether they tried what is spoken of here at all.
    fn against(&self, sockets: &[Socket]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut tried: BTreeSet<(String, String, String)> = BTreeSet::new();
        for socket in sockets {
            let (from, to) = (self.who(&socket.from), self.who(&socket.to));
            // The router's public address leads elsewhere, port by port: that is a question of its own.
            if to != Who::Internet && !self.is_inside(socket.address) {
                continue;
            }
            tried.insert((socket.from.clone(), socket.to.clone(), socket.what.clone()));
            let may = self.may_at(from, to, socket.address, &socket.what);
            // The router takes the public ways itself, for whoever comes by the public address.
            if from == Who::Host(0) && self.may(Who::Internet, to, &socket.what) {
                continue;
            }
            let fault = match (may, socket.through) {
                (false, true) if self.is_enforced(from, to, socket.address) => "is through and may not be",
                (true, false) if self.is_straight(from, to, socket.address) => "is not through and may be",
                _ => continue,
            };
            let Socket { from, to, address, what, .. } = socket;
            wrong.push(format!("{from} to {to} ({address}), {what}: {fault}"));
        }
        wrong.extend(self.untried(&tried));
        wrong
    }

    fn is_inside(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.octets()[..2] == [10, 77],
            IpAddr::V6(v6) => v6.segments()[..2] == [0xfd00, 0x77],
        }
    }

    /// What the words let through and nobody tried. What only "any" opens is tried by samples.
    fn untried(&self, tried: &BTreeSet<(String, String, String)>) -> Vec<String> {
        let mut ports: BTreeSet<String> = self.flows.iter().flat_map(|(_, _, allow)| ends_of(allow)).collect();
        ports.extend(["53/tcp", "53/udp", "123/udp", "67/udp", "icmp"].map(String::from));
        ports.extend([format!("{}/tcp", self.app.1), format!("{}/tcp", self.store.1)]);
        let mut people: Vec<String> = (0..self.hosts.len()).map(Declared::name).collect();
        people.extend((0..self.kinds.len()).map(|zone| format!("another device in z{zone}")));
        people.push("internet".to_string());
        let mut missing = Vec::new();
        for (from, to) in people.iter().flat_map(|from| people.iter().map(move |to| (from, to))) {
            let (source, target) = (self.who(from), self.who(to));
            for port in ports.iter().filter(|_| from != to && !self.may(source, target, "1/tcp")) {
                if self.may(source, target, port) && !tried.contains(&(from.clone(), to.clone(), port.clone())) {
                    missing.push(format!("{from} to {to}, {port}: nobody tried"));
                }
            }
        }
        missing
    }
}

/// The zone whose network an address is in, by its third number.
fn zone_of(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(v4) => v4.octets()[2].into(),
        IpAddr::V6(v6) => v6.segments()[2].into(),
    }
}

/// What the words of `allow` let through, of a port as sockets are told: `443/tcp`, `53/udp`, `icmp`.
fn lets(allow: &str, port: &str) -> bool {
    let number = || port.split('/').next().unwrap().parse::<u16>().unwrap_or_default();
    match allow {
        "any" => true,
        "icmp" => port == "icmp",
        "https" => port == "443/tcp",
        "dns" => number() == 53,
        "8000-8010/tcp" => port.ends_with("/tcp") && (8000..=8010).contains(&number()),
        "51820/udp" => port == "51820/udp",
        "[ssh, ntp, 5000-5005]" => port == "22/tcp" || port == "123/udp" || (5000..=5005).contains(&number()),
        other => panic!("`{other}` is no traffic that the generator makes"),
    }
}

/// Ports that those words name.
fn ends_of(allow: &str) -> Vec<String> {
    let all: &[&str] = match allow {
        "https" => &["443/tcp"],
        "dns" => &["53/tcp", "53/udp"],
        "8000-8010/tcp" => &["8000/tcp", "8010/tcp"],
        "51820/udp" => &["51820/udp"],
        "[ssh, ntp, 5000-5005]" => &["22/tcp", "123/udp", "5000/tcp", "5000/udp", "5005/tcp", "5005/udp"],
        _ => &[],
    };
    all.iter().map(|port| port.to_string()).collect()
}

/// Rehearses a text, with rulesets that are changed first.
fn rehearse(text: &str, change: impl Fn(String) -> String) -> Report {
    let parsed = lab(text);
    let matrix = Matrix::of(&parsed);
    let compiler = Compiler::new(&matrix);
    run_with(&matrix, None, &|_| {}, &|host| change(compiler.ruleset(host))).unwrap()
}

#[test]
fn sockets_agree_with_the_words_of_the_file() {
    inside("oracle::sockets_agree_with_the_words_of_the_file", || {
        for seed in 11..19 {
            let declared = declare(seed);
            let text = declared.text();
            let report = rehearse(&text, |ruleset| ruleset);
            assert!(report.sockets.len() > 300, "seed {seed}\n{text}");
            assert_eq!(declared.against(&report.sockets), [""; 0], "seed {seed}\n{text}");
        }
    });
}

/// A net that is never made to fail is none: a hole in the rules, and a word that the tool does not get to read.
#[test]
fn holes_and_lost_words_are_seen() {
    inside("oracle::holes_and_lost_words_are_seen", || {
        let mut declared = declare(11);
        let hole = |ruleset: String| ruleset.replace("goto denied", "accept").replace("jump between", "accept");
        let wrong = declared.against(&rehearse(&declared.text(), hole).sockets);
        assert!(wrong.iter().any(|one| one.ends_with("is through and may not be")), "{wrong:#?}");
        let text = declared.text();
        declared.flows.push((End::Internet, End::Zone(0), "51820/udp"));
        let wrong = declared.against(&rehearse(&text, |ruleset| ruleset).sockets);
        let lost = |one: &String| one.ends_with("is not through and may be") || one.ends_with("nobody tried");
        assert!(!wrong.is_empty() && wrong.iter().all(lost), "{wrong:#?}");
    });
}
