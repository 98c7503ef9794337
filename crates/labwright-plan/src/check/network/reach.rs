//! Which flow lets what through: the flows as an index, asked with everything that a host or service belongs to.
//! Answers questions of rules; judges nothing.

use std::collections::BTreeSet;

use foldhash::{HashMap, HashMapExt};
use labwright_model::lab::{Flow, Lab, Service, ZoneKind};
use labwright_model::units::{Protocol, Subnet, Traffic};
use labwright_model::{Placement, Spanned};

use crate::check::references::{Wanted, endpoint};

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End<'a> {
    Zone(&'a str),
    Host(&'a str),
    Service(&'a str),
    Internet,
}

impl<'a> End<'a> {
    pub fn name(self) -> &'a str {
        match self {
            End::Zone(name) | End::Host(name) | End::Service(name) => name,
            End::Internet => "internet",
        }
    }
}

/// The zones that hosts are in, and the flows by their ends.
pub struct Reach<'a> {
    lab: &'a Lab,
    zones: HashMap<&'a str, BTreeSet<&'a str>>,
    ends: HashMap<&'a str, Vec<End<'a>>>,
    from: HashMap<End<'a>, Row>,
    to: HashMap<End<'a>, Row>,
}

/// The numbers of the flows with one end, ascending: most ends are in few of many flows, so a bit for each flow would
/// grow with the square of the lab.
type Row = Vec<u32>;

/// Some of the lab's flows: a bit for each.
pub struct Flows(Vec<u64>);

impl Flows {
    fn has(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}

impl<'a> Reach<'a> {
    pub fn of(lab: &'a Lab) -> Reach<'a> {
        let zones = zones_of_hosts(lab);
        let of_host = |(host, zones): (&&'a str, &BTreeSet<&'a str>)| {
            let zones = zones.iter().map(|zone| End::Zone(zone));
            (*host, std::iter::once(End::Host(host)).chain(zones).collect())
        };
        let ends_of_hosts = zones.iter().map(of_host).collect();
        let mut reach = Reach { lab, zones, ends: ends_of_hosts, from: HashMap::new(), to: HashMap::new() };
        for (number, flow) in (0..).zip(lab.network.flows.iter()) {
            for (names, index) in [(&flow.from, &mut reach.from), (&flow.to, &mut reach.to)] {
                for end in names.iter().flat_map(|name| ends(lab, name)) {
                    let row: &mut Row = index.entry(end).or_default();
                    if row.last() != Some(&number) {
                        row.push(number);
                    }
                }
            }
        }
        reach
    }

    /// The zones that a host is in: as it says, as its addresses say, and as the VPN does that it joins.
    pub fn zones(&self, host: &str) -> Option<&BTreeSet<&'a str>> {
        self.zones.get(host).filter(|zones| !zones.is_empty())
    }

    /// The zone that a host is told by: the one that it names.
    pub fn zone(&self, host: &str) -> Option<&'a str> {
        let said = self.lab.host(host)?.zone.as_ref().map(|zone| zone.value.as_str());
        said.or_else(|| self.zones(host)?.first().copied())
    }

    /// Whether two hosts are the same, or have a zone in common.
    pub fn together(&self, a: &str, b: &str) -> bool {
        a == b || matches!((self.zones(a), self.zones(b)), (Some(a), Some(b)) if !a.is_disjoint(b))
    }

    /// Everything by which a flow could mean this host.
    pub fn host(&self, host: &str) -> &[End<'a>] {
        self.ends.get(host).map_or(&[], Vec::as_slice)
    }

    /// Everything by which a flow could mean this service on this host.
    pub fn service(&self, service: &'a str, host: &str) -> Vec<End<'a>> {
        [self.host(host), &[End::Service(service)]].concat()
    }

    /// The flows that let through traffic that will do.
    pub fn flows_for(&self, will_do: impl Fn(&Traffic) -> bool) -> Flows {
        let flows = &self.lab.network.flows;
        let mut bits = vec![0; flows.len().div_ceil(64)];
        for (number, flow) in flows.iter().enumerate() {
            if flow.allow.is_empty() || flow.allow.iter().any(|traffic| will_do(&traffic.value)) {
                bits[number / 64] |= 1 << (number % 64);
            }
        }
        Flows(bits)
    }

    /// Whether one of these flows leads from one of these ends to one of those.
    pub fn allows(&self, from: &[End<'_>], to: &[End<'_>], flows: &Flows) -> bool {
        let (from, to) = (rows(&self.from, from), rows(&self.to, to));
        let flows_in = |rows: &[&Row]| rows.iter().map(|row| row.len()).sum::<usize>();
        let (few, many) = if flows_in(&from) <= flows_in(&to) { (from, to) } else { (to, from) };
        few.into_iter()
            .flatten()
            .any(|number| flows.has(*number) && many.iter().any(|row| row.binary_search(number).is_ok()))
    }

    /// A name as a flow would have to spell it: `host/immich` where `immich` is a service too.
    pub fn spelled(&self, end: End<'_>) -> String {
        let (kind, name) = match end {
            End::Zone(name) => ("zone", name),
            End::Host(name) => ("host", name),
            End::Service(name) => ("service", name),
            End::Internet => return end.name().into(),
        };
        match [Wanted::Zone, Wanted::Host, Wanted::Service].iter().filter(|kind| kind.has(self.lab, name)).count() {
            0 | 1 => name.to_string(),
            _ => format!("{kind}/{name}"),
        }
    }
}

fn rows<'r, 'e>(index: &'r HashMap<End<'e>, Row>, ends: &[End<'e>]) -> Vec<&'r Row> {
    ends.iter().filter_map(|end| index.get(end)).collect()
}

/// What the name in a flow means. An ambiguous one, which has a finding of its own, means all that it could.
pub fn ends<'a>(lab: &'a Lab, name: &'a Spanned<String>) -> Vec<End<'a>> {
    if name.value == "internet" {
        return vec![End::Internet];
    }
    let (kind, name) = endpoint(name);
    let mut ends = Vec::new();
    for (one, end) in
        [(Wanted::Zone, End::Zone(name)), (Wanted::Host, End::Host(name)), (Wanted::Service, End::Service(name))]
    {
        if (kind == one || kind == Wanted::Endpoint) && one.has(lab, name) {
            ends.push(end);
        }
    }
    ends
}

/// What the name means, where it means one thing.
pub fn sole<'a>(lab: &'a Lab, name: &'a Spanned<String>) -> Option<End<'a>> {
    match ends(lab, name)[..] {
        [end] => Some(end),
        _ => None,
    }
}

/// The zone that a WireGuard endpoint carries: that of its interface, else the one that its addresses are in.
pub fn wireguard_zone(lab: &Lab) -> Option<&str> {
    let wireguard = lab.edge.vpn.as_ref()?.wireguard.as_ref()?;
    let by_interface = lab.network.zones.iter().find(|(_, zone)| {
        zone.interface.as_ref().is_some_and(|interface| interface.value == wireguard.interface.value)
    });
    let addresses = || wireguard.address.iter().chain(wireguard.peers.values().flat_map(|peer| peer.address.iter()));
    let by_address = || {
        let zones = &mut lab.network.zones.iter();
        zones.find(|(_, zone)| {
            zone.subnet.iter().any(|subnet| addresses().any(|address| subnet.value.0.contains(&address.value)))
        })
    };
    let by_kind = || {
        let overlay = |zone: &labwright_model::lab::Zone| {
            zone.interface.as_ref().is_some_and(|interface| interface.starts_with("tailscale"))
        };
        let kind = |zone: &labwright_model::lab::Zone| zone.kind.as_ref().map(|kind| kind.value);
        lab.network.zones.iter().find(|(_, zone)| kind(zone) == Some(ZoneKind::Vpn) && !overlay(zone))
    };
    by_interface.or_else(by_address).or_else(by_kind).map(|(name, _)| name.as_str())
}

/// Networks behind the VPN's peers, which are the lab's and their VPN's. A peer that everything goes out by is no network
/// of the lab: the internet stays the internet.
pub fn sites(lab: &Lab) -> impl Iterator<Item = Subnet> + '_ {
    let wireguard = lab.edge.vpn.as_ref().and_then(|vpn| vpn.wireguard.as_ref());
    let peers = wireguard.into_iter().flat_map(|wireguard| wireguard.peers.values());
    peers.flat_map(|peer| peer.networks.iter()).map(|network| network.value).filter(|network| {
        let widest = if network.0.addr().is_ipv4() { 8 } else { 7 };
        network.0.prefix_len() >= widest
    })
}

fn zones_of_hosts(lab: &Lab) -> HashMap<&str, BTreeSet<&str>> {
    let far = wireguard_zone(lab).into_iter().flat_map(|zone| sites(lab).map(move |subnet| (subnet.0, zone)));
    let subnets: Vec<_> = lab
        .network
        .zones
        .iter()
        .flat_map(|(name, zone)| zone.subnet.iter().map(move |subnet| (subnet.value.0, name.as_str())))
        .chain(far)
        .collect();
    let mut zones: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for (name, host) in lab.compute.hosts.iter() {
        let said = host.zone.iter().map(|zone| zone.value.as_str()).filter(|zone| Wanted::Zone.has(lab, zone));
        let addressed = host.address.iter().flat_map(|address| {
            subnets.iter().filter(|(subnet, _)| subnet.contains(&address.value)).map(|(_, zone)| *zone)
        });
        zones.entry(name).or_default().extend(said.chain(addressed));
    }
    for (carrier, hosts) in overlays(lab) {
        for (zone, _) in lab
            .network
            .zones
            .iter()
            .filter(|(_, zone)| zone.interface.as_ref().is_some_and(|interface| interface.starts_with(carrier)))
        {
            for host in hosts.iter().filter_map(|host| lab.compute.hosts.get_key_value(host.as_str())) {
                zones.entry(host.0).or_default().insert(zone);
            }
        }
    }
    zones
}

/// Hosts that a VPN says it has, by what its interface is called.
fn overlays(lab: &Lab) -> Vec<(&'static str, Vec<&String>)> {
    let vpn = lab.edge.vpn.as_ref();
    let tailscale = vpn.and_then(|vpn| vpn.tailscale.as_ref());
    let wireguard = vpn.and_then(|vpn| vpn.wireguard.as_ref());
    let router = lab.edge.router.as_ref().and_then(|router| router.on.as_ref());
    let mut all = Vec::new();
    all.extend(tailscale.map(|vpn| ("tailscale", vpn.on.iter().map(|on| &on.value).collect())));
    all.extend(wireguard.map(|vpn| ("wg", vpn.on.as_ref().or(router).map(|on| &on.value).into_iter().collect())));
    all
}

/// What a flow lets through, `any` spelled out.
pub fn traffic(flow: &Flow) -> Vec<Traffic> {
    match flow.allow.is_empty() {
        true => vec![Traffic::Any],
        false => flow.allow.iter().map(|traffic| traffic.value.clone()).collect(),
    }
}

/// Whether this lets through one port.
pub fn lets(traffic: &Traffic, port: u16, protocol: Protocol) -> bool {
    match traffic {
        Traffic::Any => true,
        Traffic::Icmp => false,
        Traffic::Ports { first, last, protocol: only, .. } => {
            (*first..=*last).contains(&port) && only.is_none_or(|only| only == protocol)
        }
    }
}

/// Whether it is one of these ports alone, which serve a network and no application: a flow for them decides nothing else.
pub fn is_only(traffic: &Traffic, ports: &[u16]) -> bool {
    match traffic {
        Traffic::Any => false,
        Traffic::Icmp => true,
        Traffic::Ports { first, last, .. } => first == last && ports.contains(first),
    }
}

/// The hosts of a service as one environment has it, or as it is where it knows no environments.
pub fn hosts(service: &Service) -> impl Iterator<Item = &str> {
    service.on.iter().map(|on| on.value.as_str())
}

/// Placements of the services that another placement sees: those of its own environment, or those that have none.
pub struct Placed<'a> {
    by_name: HashMap<&'a str, Vec<&'a Placement>>,
}

impl<'a> Placed<'a> {
    pub fn of(placements: &'a [Placement]) -> Placed<'a> {
        let mut by_name: HashMap<&str, Vec<&Placement>> = HashMap::new();
        for placement in placements {
            by_name.entry(placement.service.as_str()).or_default().push(placement);
        }
        Placed { by_name }
    }

    /// What `service` is for something in `environment`.
    pub fn seen_from(&self, environment: Option<&str>, service: &str) -> Vec<&'a Placement> {
        let all = self.by_name.get(service).map_or(&[][..], Vec::as_slice);
        let same: Vec<_> = all.iter().copied().filter(|there| there.environment.as_deref() == environment).collect();
        if same.is_empty() { all.to_vec() } else { same }
    }
}

#[cfg(test)]
mod tests {
    use labwright_model::{Files, parse};

    use super::*;

    struct One(&'static str);

    impl Files for One {
        fn read(&self, _: &str) -> Result<Vec<u8>, String> {
            Ok(self.0.as_bytes().to_vec())
        }
        fn list(&self, _: &str) -> Option<Vec<String>> {
            None
        }
    }

    #[test]
    fn membership_prefixes_and_ports() {
        let parsed = parse(
            "lab.yaml",
            &One(r#"
edge: { vpn: { tailscale: { on: far } } }
network:
  zones: { a: { subnet: 10.0.1.0/24 }, b: { subnet: 10.0.2.0/24 }, vpn: { interface: tailscale0 } }
  flows:
    - { from: a, to: host/wiki, allow: [https, 8000-8010/tcp] }
    - { from: service/wiki, to: [internet, b], allow: icmp }
    - { from: internet, to: b }
compute:
  hosts:
    one: { zone: a, address: [10.0.1.5, 10.0.2.5] }
    wiki: { zone: b, address: 10.0.2.6 }
    far: { zone: a }
    nowhere: { address: 192.168.0.1 }
services:
  wiki: { run: wiki, on: wiki }
"#),
        );
        let reach = Reach::of(&parsed.lab);
        assert_eq!(reach.zones("one").map(|zones| zones.iter().copied().collect()), Some(vec!["a", "b"]));
        assert_eq!(reach.zones("far").map(|zones| zones.iter().copied().collect()), Some(vec!["a", "vpn"]));
        assert!(reach.zones("nowhere").is_none() && reach.together("one", "wiki") && !reach.together("far", "wiki"));
        let tcp = |port| reach.flows_for(|traffic| lets(traffic, port, Protocol::Tcp));
        let (one, wiki) = (reach.host("far").to_vec(), reach.service("wiki", "wiki"));
        assert!(reach.allows(&one, &wiki, &tcp(443)) && reach.allows(&one, &wiki, &tcp(8005)));
        assert!(!reach.allows(&one, &wiki, &tcp(22)) && !reach.allows(&one, &[End::Service("wiki")], &tcp(443)));
        assert!(reach.allows(&wiki, &[End::Internet], &reach.flows_for(|traffic| *traffic == Traffic::Icmp)));
        assert!(!reach.allows(reach.host("wiki"), &[End::Internet], &reach.flows_for(|_| true)));
        assert!(reach.allows(&[End::Internet], &wiki, &tcp(1)), "no `allow` is any");
        assert_eq!(reach.spelled(End::Host("wiki")), "host/wiki");
        assert_eq!(reach.spelled(End::Host("one")), "one");
    }
}
