//! The stage: who stands in which network, with which addresses and routes. Planned first, then built by `ip`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::AsFd;

use labwright_plan::ProviderError;
use labwright_plan::network::ranges::{Family, Ranges, number};
use labwright_plan::network::{Grant, Matrix, Party};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::tries::Tried;
use crate::host::command::{SHORT, run};

/// The namespace with all bridges.
const SWITCH: &str = "lw-switch";

/// Documentation networks that stand for the internet: the first that the lab does not use itself.
const OUTSIDE: [(&str, &str, u8); 3] =
    [("203.0.113.1", "203.0.113.10", 24), ("198.51.100.1", "198.51.100.10", 24), ("192.0.2.1", "192.0.2.10", 24)];
const OUTSIDE6: [(&str, &str, u8); 2] =
    [("2001:db8:ffff:ffff::1", "2001:db8:ffff:ffff::10", 64), ("3fff:ffff::1", "3fff:ffff::10", 64)];

/// One machine.
pub struct Node {
    /// As it is told.
    pub name: String,
    pub namespace: String,
    /// Whom of the matrix it is; a stand-in router is nobody.
    pub party: Option<Party>,
    links: Vec<Link>,
    routes: Vec<String>,
    pub is_router: bool,
    /// Whether it hands on what is not for itself.
    passes_on: bool,
    /// The host whose ruleset it loads.
    pub guarded: Option<usize>,
    /// Addresses that others try, its own best first.
    pub addresses: Vec<IpAddr>,
    /// The link that a tailnet comes in by: what is passed on from there gets the machine's own address, as Tailscale does.
    tailnet: Option<usize>,
}

struct Link {
    segment: usize,
    addresses: Vec<String>,
}

pub struct Stage {
    pub nodes: Vec<Node>,
    pub segments: usize,
    /// The router's public addresses, which lead to what is forwarded.
    pub public: Vec<IpAddr>,
}

/// Segment 0 is the internet; zone n is segment n + 1.
const INTERNET: usize = 0;

struct Plan<'m, 'a> {
    matrix: &'m Matrix<'a>,
    wan: Vec<(IpAddr, IpAddr, u8)>,
    nodes: Vec<Node>,
    segments: usize,
}

impl Stage {
    pub fn of(matrix: &Matrix<'_>) -> Stage {
        let parties = &matrix.parties;
        let free = |family: Family, address: &str| {
            address.parse().is_ok_and(|address| !parties.lab_ranges(family).contains(number(address)))
        };
        let mut wan = Vec::new();
        let outside = OUTSIDE.iter().find(|(_, node, _)| free(Family::V4, node));
        let outside6 = OUTSIDE6.iter().find(|(_, node, _)| free(Family::V6, node));
        let has_v6 = !parties.lab_ranges(Family::V6).is_empty();
        for (router, node, length) in outside.into_iter().chain(outside6.filter(|_| has_v6)) {
            if let (Ok(router), Ok(node)) = (router.parse(), node.parse()) {
                wan.push((router, node, *length));
            }
        }
        let mut plan = Plan { matrix, wan, nodes: Vec::new(), segments: parties.zones.len() + 1 };
        plan.router();
        plan.hosts();
        plan.devices();
        plan.wires();
        plan.tailnets();
        if !plan.nodes.is_empty() {
            plan.internet();
        }
        let alone = plan.nodes.iter().all(|node| node.party.is_none() || node.party == Some(Party::Internet));
        if alone {
            plan.nodes.clear();
        }
        for (n, node) in plan.nodes.iter_mut().enumerate() {
            node.namespace = format!("lw{n}");
        }
        let public = plan.wan.iter().map(|(router, ..)| *router).collect();
        Stage { nodes: plan.nodes, segments: plan.segments, public }
    }

    /// The grant that a try rests on.
    pub fn grant<'g>(&self, matrix: &'g Matrix<'_>, tried: &Tried) -> Option<&'g Grant> {
        let (from, to) = (self.nodes[tried.from].party?, self.nodes[tried.to].party?);
        matrix.decide(from, to, tried.what)
    }

    /// Makes all of it.
    pub fn build(&self) -> Result<(), ProviderError> {
        let names = std::iter::once(SWITCH).chain(self.nodes.iter().map(|node| node.namespace.as_str()));
        let made: String = names.map(|name| format!("netns add {name}\n")).collect();
        batch(None, &made).map_err(super::not_allowed)?;
        let mut switch = String::from("link set lo up\n");
        for segment in 0..self.segments {
            switch += &format!("link add br{segment} type bridge\nlink set br{segment} up\n");
        }
        for (n, node) in self.nodes.iter().enumerate() {
            for (m, link) in node.links.iter().enumerate() {
                let (port, inside) = (format!("p{n}-{m}"), &node.namespace);
                switch += &format!(
                    "link add {port} type veth peer name eth{m} netns {inside}\nlink set {port} master br{} up\n",
                    link.segment
                );
            }
        }
        batch(Some(SWITCH), &switch)?;
        for node in &self.nodes {
            self.settings(node)?;
            let mut lines = String::from("link set lo up\n");
            for (m, link) in node.links.iter().enumerate() {
                lines += &format!("link set eth{m} up\n");
                for address in &link.addresses {
                    let nodad = if address.contains(':') { " nodad" } else { "" };
                    lines += &format!("addr add {address} dev eth{m}{nodad}\n");
                }
            }
            node.routes.iter().for_each(|route| lines += &format!("route add {route}\n"));
            batch(Some(&node.namespace), &lines)?;
            if let Some(link) = node.tailnet {
                super::load(&node.namespace, &translated(link))?;
            }
        }
        Ok(())
    }

    /// What the kernel would do by itself in the way of a fair trial: tell of a refusal once a second only, for one.
    fn settings(&self, node: &Node) -> Result<(), ProviderError> {
        let forward = if node.passes_on { "1" } else { "0" };
        let settings = [
            ("ipv4/ip_forward", forward, true),
            ("ipv6/conf/all/forwarding", forward, false),
            ("ipv4/icmp_ratelimit", "0", true),
            ("ipv6/icmp/ratelimit", "0", false),
            ("ipv4/conf/all/rp_filter", "0", true),
            ("ipv4/conf/default/rp_filter", "0", true),
            ("ipv6/conf/all/accept_dad", "0", false),
            ("ipv6/conf/default/accept_dad", "0", false),
            ("ipv6/conf/default/accept_ra", "0", false),
            ("ipv4/ping_group_range", "0 0", true),
        ];
        // A redirect would mend a way that leads by the router and should not; many machines do not listen to any.
        let links = (0..node.links.len()).map(|m| format!("eth{m}")).chain(["all".to_string()]);
        let deaf: Vec<String> = links
            .flat_map(|link| ["ipv4", "ipv6"].map(|family| format!("{family}/conf/{link}/accept_redirects")))
            .collect();
        inside(&node.namespace, || {
            let deaf = deaf.iter().map(|name| (name.as_str(), "0", false));
            for (name, value, needed) in settings.into_iter().chain(deaf) {
                let path = format!("/proc/sys/net/{name}");
                if let Err(error) = fs::write(&path, value)
                    && needed
                {
                    return Err(ProviderError::rejected(format!("cannot set `{path}`: {error}")).help(
                        "a container with a read-only /proc does not let networks be set up: run it outside of it",
                    ));
                }
            }
            Ok(())
        })
    }

    /// Pulls every cable of a machine. Returns its number.
    pub fn stop(&self, name: &str) -> Result<usize, ProviderError> {
        let Some((n, node)) = self.nodes.iter().enumerate().find(|(_, node)| node.name == name) else {
            return Err(ProviderError::rejected(format!("`{name}` has no address, so it is not on the stage"))
                .help("give it `address: …`"));
        };
        let lines: String = (0..node.links.len()).map(|m| format!("link set p{n}-{m} down\n")).collect();
        batch(Some(SWITCH), &lines).map(|()| n)
    }
}

impl Plan<'_, '_> {
    fn node(&mut self, name: &str, party: Option<Party>) -> Node {
        Node {
            name: name.to_string(),
            namespace: String::new(),
            party,
            links: Vec::new(),
            routes: Vec::new(),
            is_router: false,
            passes_on: false,
            guarded: None,
            addresses: Vec::new(),
            tailnet: None,
        }
    }

    /// The zone whose subnets have an address, and the length of the prefix.
    fn home(&self, address: IpAddr) -> Option<(usize, u8)> {
        let zones = self.matrix.parties.zones.iter().enumerate();
        zones
            .flat_map(|(n, zone)| zone.entry.subnet.iter().map(move |subnet| (n, subnet.value.0)))
            .find_map(|(zone, subnet)| subnet.contains(&address).then(|| (zone, subnet.prefix_len())))
    }

    /// The router's address that a zone's machines go by: its own there, or its first one anywhere.
    fn gateway(&self, zone: usize, family: Family) -> Option<IpAddr> {
        if let Some(gate) = self.gate(zone) {
            return self.gate_address(gate, zone, family).map(|(address, _)| address);
        }
        let own = self.router_addresses(family);
        own.iter()
            .copied()
            .find(|address| self.home(*address).is_some_and(|(home, _)| home == zone))
            .or(own.first().copied())
    }

    /// The host that a VPN ends at, where that is not the router and it has an address in another zone.
    fn gate(&self, zone: usize) -> Option<usize> {
        let parties = &self.matrix.parties;
        let gate = parties.gates.iter().find(|gate| gate.zone == zone)?.host;
        let elsewhere = |address: &IpAddr| self.home(*address).is_some_and(|(home, _)| home != zone);
        parties.hosts[gate].addresses.iter().any(elsewhere).then_some(gate)
    }

    /// Its address in the VPN: one that the lab file says, or the first of the subnet.
    fn gate_address(&self, gate: usize, zone: usize, family: Family) -> Option<(IpAddr, u8)> {
        let parties = &self.matrix.parties;
        let subnets = parties.zones[zone].entry.subnet.iter().map(|subnet| subnet.value.0);
        let subnet = subnets.into_iter().find(|subnet| Family::of(subnet.network()) == family)?;
        let said = parties.host_addresses(gate, family).find(|address| subnet.contains(address));
        let free = |address: &IpAddr| parties.who(*address) == Party::Device(zone);
        let first = family.address(number(subnet.network()) + 1);
        Some((said.or(Some(first).filter(free))?, subnet.prefix_len()))
    }

    fn router_addresses(&self, family: Family) -> Vec<IpAddr> {
        let parties = &self.matrix.parties;
        let own = parties.router.map(|router| parties.host_addresses(router, family).collect::<Vec<_>>());
        let mut own = own.unwrap_or_default();
        if own.is_empty() && family == Family::V4 {
            // Machines need somebody to go by even where the lab does not say how the router is called.
            own.extend(self.wan.iter().map(|(router, ..)| *router).find(IpAddr::is_ipv4));
        }
        own
    }

    /// The lab's router, or a plain one where it has none: in every zone with a subnet, and on the internet.
    fn router(&mut self) {
        let parties = &self.matrix.parties;
        let zones: Vec<usize> =
            (0..parties.zones.len()).filter(|zone| !parties.zones[*zone].entry.subnet.is_empty()).collect();
        if zones.is_empty() && parties.hosts.iter().all(|host| host.addresses.is_empty()) {
            return;
        }
        let (party, name) = match parties.router {
            Some(router) => (Some(Party::Host(router)), parties.hosts[router].name),
            None => (None, "(a router that lets everything through)"),
        };
        let mut node = self.node(name, party);
        (node.is_router, node.passes_on) = (true, true);
        node.guarded = parties.guarding_router();
        node.addresses = parties.router.map(|router| parties.hosts[router].addresses.clone()).unwrap_or_default();
        let mut wan = Vec::new();
        for (router, _, length) in &self.wan {
            wan.push(format!("{router}/{length}"));
        }
        node.links.push(Link { segment: INTERNET, addresses: wan });
        for (_, outside, _) in &self.wan {
            node.routes.push(format!("default via {outside}"));
        }
        let mut behind = Vec::new();
        for zone in zones {
            // A VPN that ends elsewhere is reached by way of where it ends.
            if let Some(gate) = self.gate(zone) {
                for subnet in parties.zones[zone].entry.subnet.iter().map(|subnet| subnet.value.0) {
                    let mut own = parties.host_addresses(gate, Family::of(subnet.network()));
                    let via = own.find(|address| self.home(*address).is_some_and(|(home, _)| home != zone));
                    behind.extend(via.map(|via| format!("{subnet} via {via}")));
                }
                continue;
            }
            let device = format!("eth{}", node.links.len());
            let mut addresses = vec!["fe80::1/64".to_string()];
            for address in &node.addresses {
                if let Some((_, length)) = self.home(*address).filter(|(home, _)| *home == zone) {
                    addresses.push(format!("{address}/{length}"));
                }
            }
            for subnet in parties.zones[zone].entry.subnet.iter().map(|subnet| subnet.value.0) {
                let family = Family::of(subnet.network());
                let own = node.addresses.iter().any(|address| subnet.contains(address));
                let source = self.router_addresses(family).first().copied().filter(|_| !own);
                if !own {
                    let source = source.map(|source| format!(" src {source}")).unwrap_or_default();
                    node.routes.push(format!("{subnet} dev {device}{source}"));
                }
            }
            node.links.push(Link { segment: zone + 1, addresses });
        }
        // Addresses that are in no zone's subnet are on the internet, and the router speaks by them.
        let homeless: Vec<String> =
            node.addresses.iter().filter(|a| self.home(**a).is_none()).map(|a| format!("{a}/{}", bits(*a))).collect();
        node.links[0].addresses.extend(homeless);
        for host in (0..parties.hosts.len()).filter(|host| Some(*host) != parties.router) {
            for address in parties.hosts[host].addresses.iter().filter(|address| self.home(**address).is_none()) {
                node.routes.push(format!("{address}/{} dev eth0", bits(*address)));
            }
        }
        node.routes.extend(behind);
        // A source that is set has to be there first.
        node.routes.sort_by_key(|route| route.starts_with("default"));
        self.nodes.push(node);
    }

    fn hosts(&mut self) {
        let parties = &self.matrix.parties;
        for host in (0..parties.hosts.len()).filter(|host| Some(*host) != parties.router) {
            let entry = &parties.hosts[host];
            if entry.addresses.is_empty() {
                continue;
            }
            let mut node = self.node(entry.name, Some(Party::Host(host)));
            node.guarded = parties.guards(host).then_some(host);
            node.addresses = entry.addresses.clone();
            for address in &entry.addresses {
                let (segment, prefix) = match self.home(*address) {
                    Some((zone, length)) => (zone + 1, format!("{address}/{length}")),
                    None => (INTERNET, format!("{address}/{}", bits(*address))),
                };
                match node.links.iter_mut().find(|link| link.segment == segment) {
                    Some(link) => link.addresses.push(prefix),
                    None => node.links.push(Link { segment, addresses: vec![prefix] }),
                }
            }
            self.ways_out(&mut node);
            for gate in parties.gates.iter().filter(|gate| self.gate(gate.zone) == Some(gate.host)) {
                let lacking = parties.routes_lacking(*gate, host);
                let known = parties.routes_into(*gate, host).into_iter().filter(|route| !lacking.contains(route));
                node.routes.extend(known.map(|(net, via)| format!("{net} via {via}")));
            }
            for gate in parties.gates.iter().filter(|gate| self.gate(gate.zone) == Some(host)) {
                self.ends_at(&mut node, host, gate.zone);
            }
            self.nodes.push(node);
        }
    }

    /// The end of a VPN: it stands in the VPN as its router.
    fn ends_at(&self, node: &mut Node, host: usize, zone: usize) {
        node.passes_on = true;
        let own = Family::ALL.into_iter().filter_map(|family| self.gate_address(host, zone, family));
        let mut addresses: Vec<String> = own.map(|(address, length)| format!("{address}/{length}")).collect();
        addresses.push("fe80::1/64".to_string());
        match node.links.iter_mut().find(|link| link.segment == zone + 1) {
            Some(link) => {
                addresses.retain(|address| !link.addresses.contains(address));
                link.addresses.extend(addresses);
            }
            None => node.links.push(Link { segment: zone + 1, addresses }),
        }
    }

    /// Default routes of a machine, by the first network that it has an address of the family in.
    fn ways_out(&self, node: &mut Node) {
        for family in Family::ALL {
            let of_family = |address: &String| address.contains(':') == (family == Family::V6);
            let Some(n) = node.links.iter().position(|link| link.addresses.iter().any(of_family)) else { continue };
            let gateway = match node.links[n].segment {
                // Whoever stands on the internet goes by its provider, and not by the lab's router.
                INTERNET => self.wan.iter().map(|(_, node, _)| *node).find(|node| Family::of(*node) == family),
                _ if family == Family::V6 => "fe80::1".parse().ok(),
                segment => self.gateway(segment - 1, family),
            };
            let inet6 = if family == Family::V6 { "-6 " } else { "" };
            node.routes.extend(gateway.map(|gateway| format!("{inet6}default via {gateway} dev eth{n} onlink")));
        }
        // `ip -batch` takes no option inside a line; a family follows from the address.
        for route in &mut node.routes {
            *route = route.trim_start_matches("-6 ").to_string();
        }
    }

    /// One machine in each zone that the lab file does not name, at the highest address that nobody has; and one more where
    /// devices do not see each other without somebody in between.
    fn devices(&mut self) {
        let parties = &self.matrix.parties;
        for zone in 0..parties.zones.len() {
            let name = parties.zones[zone].name;
            let mut taken = BTreeSet::new();
            self.device(&format!("another device in {name}"), zone, &mut taken);
            if self.hub(zone).is_some() {
                self.device(&format!("one more device in {name}"), zone, &mut taken);
            }
        }
    }

    fn device(&mut self, name: &str, zone: usize, taken: &mut BTreeSet<IpAddr>) {
        let parties = &self.matrix.parties;
        let mut addresses: Vec<(IpAddr, u8)> = Vec::new();
        for subnet in parties.zones[zone].entry.subnet.iter().map(|subnet| subnet.value.0) {
            let family = Family::of(subnet.network());
            let (first, last) = (number(subnet.network()), number(subnet.broadcast()));
            let free = |at: &u128| {
                let address = family.address(*at);
                parties.ranges(zone, family).contains(*at)
                    && parties.who(address) == Party::Device(zone)
                    && !taken.contains(&address)
            };
            let highest = (first..last).rev().take(1 << 16).find(free);
            let one_already = addresses.iter().any(|(address, _)| Family::of(*address) == family);
            if let Some(at) = highest.filter(|_| !one_already) {
                addresses.push((family.address(at), subnet.prefix_len()));
            }
        }
        if addresses.is_empty() {
            return;
        }
        let mut node = self.node(name, Some(Party::Device(zone)));
        node.addresses = addresses.iter().map(|(address, _)| *address).collect();
        taken.extend(&node.addresses);
        let prefixes = addresses.iter().map(|(address, length)| format!("{address}/{length}")).collect();
        node.links.push(Link { segment: zone + 1, addresses: prefixes });
        self.ways_out(&mut node);
        self.nodes.push(node);
    }

    /// The host at which the peers of WireGuard meet, where the zone is that VPN and the host is on the stage as its end.
    fn hub(&self, zone: usize) -> Option<usize> {
        let parties = &self.matrix.parties;
        let (host, _) = parties.hub.filter(|(_, vpn)| *vpn == zone)?;
        (parties.router == Some(host) || self.gate(zone) == Some(host)).then_some(host)
    }

    /// Peers of WireGuard have a wire to its end each, and none to one another.
    fn wires(&mut self) {
        let parties = &self.matrix.parties;
        for zone in 0..parties.zones.len() {
            let Some(hub) = self.hub(zone) else { continue };
            let Some(end) = self.nodes.iter().position(|node| node.party == Some(Party::Host(hub))) else { continue };
            let speaks_as = |family: Family| match parties.router == Some(hub) {
                true => self.gateway(zone, family),
                false => self.gate_address(hub, zone, family).map(|(address, _)| address),
            };
            let own = Family::ALL.map(speaks_as);
            for n in (0..self.nodes.len()).filter(|n| *n != end) {
                let Some(m) = self.nodes[n].links.iter().position(|link| link.segment == zone + 1) else { continue };
                let segment = self.segments;
                self.segments += 1;
                let link = &mut self.nodes[n].links[m];
                link.segment = segment;
                let addresses: Vec<IpAddr> =
                    link.addresses.iter().filter_map(|one| one.split('/').next()?.parse().ok()).collect();
                link.addresses = addresses.iter().map(|address| format!("{address}/{}", bits(*address))).collect();
                let mut into = Vec::new();
                for subnet in parties.zones[zone].entry.subnet.iter().map(|subnet| subnet.value.0) {
                    let family = Family::of(subnet.network());
                    let via = match family {
                        Family::V6 => "fe80::1".parse().ok(),
                        Family::V4 => own[0],
                    };
                    if let Some(via) = via.filter(|_| addresses.iter().any(|one| Family::of(*one) == family)) {
                        into.push(format!("{subnet} via {via} dev eth{m} onlink"));
                    }
                }
                self.nodes[n].routes.extend(into);
                let wire = self.nodes[end].links.len();
                self.nodes[end].links.push(Link { segment, addresses: vec!["fe80::1/64".to_string()] });
                for address in addresses {
                    let source = own[usize::from(address.is_ipv6())];
                    let source = source.map(|source| format!(" src {source}")).unwrap_or_default();
                    self.nodes[end].routes.push(format!("{address}/{} dev eth{wire}{source}", bits(address)));
                }
            }
        }
    }

    /// Where a tailnet comes in to the rest of the lab.
    fn tailnets(&mut self) {
        for (host, zone) in &self.matrix.parties.subnet_routers {
            let Some(node) = self.nodes.iter_mut().find(|node| node.party == Some(Party::Host(*host))) else {
                continue;
            };
            node.tailnet = node.links.iter().position(|link| link.segment == zone + 1);
        }
    }

    fn internet(&mut self) {
        let mut node = self.node("internet", Some(Party::Internet));
        // What is not for itself it hands on: between the router and hosts that stand outside.
        node.passes_on = true;
        let own: Vec<String> = self.wan.iter().map(|(_, node, length)| format!("{node}/{length}")).collect();
        node.addresses = self.wan.iter().map(|(_, node, _)| *node).collect();
        for (router, ..) in &self.wan {
            node.routes.push(format!("default via {router}"));
        }
        let mut seen = BTreeSet::new();
        for other in &self.nodes {
            for address in other.addresses.iter().filter(|address| self.home(**address).is_none()) {
                if other.links.iter().any(|link| link.segment == INTERNET) && seen.insert(*address) {
                    node.routes.push(format!("{address}/{} dev eth0", bits(*address)));
                }
            }
        }
        node.links.push(Link { segment: INTERNET, addresses: own });
        self.nodes.push(node);
    }
}

/// What tailscaled adds on a subnet router: what comes out of the tailnet leaves under the router's own address.
fn translated(link: usize) -> String {
    format!(
        "table inet tailnet {{\n\tchain marked {{\n\t\ttype filter hook forward priority filter - 20; policy accept;\n\
         \t\tiifname \"eth{link}\" meta mark set 0x40000\n\t}}\n\tchain leaving {{\n\
         \t\ttype nat hook postrouting priority srcnat; policy accept;\n\
         \t\tmeta mark 0x40000 oifname != \"eth{link}\" masquerade\n\t}}\n}}\n"
    )
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// What is in both: the ports that a range begins and ends with, and those beside it.
pub fn edges(ranges: &Ranges) -> Vec<u16> {
    let mut all = BTreeSet::new();
    for (first, last) in ranges.iter() {
        all.extend([first, last]);
        if first != last {
            all.extend([first.saturating_sub(1).max(1), (last + 1).min(65535)]);
        }
    }
    all.into_iter().map(|port| port as u16).collect()
}

/// Does `work` on a thread inside a namespace. Sockets made there stay in it, on whatever thread they are used.
pub fn inside<T: Send>(
    namespace: &str,
    work: impl FnOnce() -> Result<T, ProviderError> + Send,
) -> Result<T, ProviderError> {
    let enter_and_work = || {
        let failed = |error: std::io::Error| {
            ProviderError::rejected(format!("cannot enter the network of `{namespace}`: {error}"))
        };
        let file = File::open(format!("/run/netns/{namespace}")).map_err(failed)?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| failed(error.into()))?;
        work()
    };
    let ended = std::thread::scope(|scope| scope.spawn(enter_and_work).join());
    ended.unwrap_or_else(|_| Err(ProviderError::bug(format!("work in the network of `{namespace}` ended badly"))))
}

fn batch(namespace: Option<&str>, lines: &str) -> Result<(), ProviderError> {
    let path = format!("/run/{}.ip", namespace.unwrap_or("all"));
    fs::write(&path, lines).map_err(|error| ProviderError::rejected(format!("cannot write `{path}`: {error}")))?;
    let args = match namespace {
        Some(namespace) => vec!["-n", namespace, "-batch", &path],
        None => vec!["-batch", &path],
    };
    run("ip", &args, SHORT)?.require().map(drop)
}
