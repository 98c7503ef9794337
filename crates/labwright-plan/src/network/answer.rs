//! `reach`: whether one may open a connection to another, by which flow, through which hops, and what would turn it.
//! Judged from the model alone; that a machine is up or a program listens is not known here.

use labwright_model::Spanned;
use labwright_model::finding::nearest;
use serde::Serialize;

use super::allowed::{Allowed, Try};
use super::known::Unknown;
use super::matrix::{Grant, Matrix, Why};
use super::parties::{End, Party};
use super::ports;
use super::vpn_routes::Astray;
use crate::check::containers::containers;
use crate::check::network::reach::End as Named;

/// A grant as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    pub from: String,
    pub to: String,
    pub allows: Allowed,
    pub why: Why,
    pub because: String,
    /// `lab.yaml:29`; empty where no file says it.
    pub place: String,
}

/// A machine that looks at the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hop {
    pub name: String,
    /// `opens`, `forwards`, `takes`.
    pub does: &'static str,
    /// Whether it denies what no flow allows.
    pub enforces: bool,
}

/// The answer about one pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    pub from: String,
    pub to: String,
    /// What was asked about; absent: anything at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    pub allowed: bool,
    /// Everything that is open between the two.
    pub open: Allowed,
    pub because: Vec<Told>,
    pub hops: Vec<Hop>,
    /// The nearest change that would turn the answer.
    pub turn: String,
    /// Whether anything on the way denies what is not allowed.
    pub enforced: bool,
}

/// Why a name is nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nobody {
    Unknown {
        near: Option<String>,
    },
    Ambiguous(Vec<String>),
    /// What stands behind the colon is no port.
    Port {
        near: Option<&'static str>,
    },
    /// A service without a host of this lab.
    Homeless,
    /// An address of a VPN that is no zone of the lab; the VPN's interface.
    Zoneless(String),
}

/// Who is meant, and the ports that a service says.
pub struct Somebody {
    pub party: Party,
    pub ports: Allowed,
    /// Whether it is what runs in containers of a host, and not the host itself.
    pub contained: bool,
}

/// How a service is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// The hosts that it runs on.
    AtHome,
    /// By its name, where a reverse proxy answers to it.
    ByName,
}

/// Whom a name, a `kind/name` or an address means.
pub fn somebody(matrix: &Matrix<'_>, name: &str, sought: Sought) -> Result<Vec<Somebody>, Nobody> {
    let plain = |party| Somebody { party, ports: Allowed::default(), contained: false };
    if let Ok(address) = name.trim_matches(['[', ']']).parse() {
        let wireguard = matrix.parties.lab().edge.vpn.as_ref().and_then(|vpn| vpn.wireguard.as_ref());
        if let Some(wireguard) = wireguard.filter(|_| matrix.parties.is_zoneless(address)) {
            return Err(Nobody::Zoneless(wireguard.interface.value.clone()));
        }
        return Ok(vec![plain(matrix.parties.who(address))]);
    }
    let lab = matrix.parties.lab();
    let spelled = Spanned::from(name.to_string());
    let ends = crate::check::network::reach::ends(lab, &spelled);
    match ends.as_slice() {
        [] => {
            let names = lab.network.zones.keys().chain(lab.compute.hosts.keys()).chain(lab.services.keys());
            let near = nearest(name, names.map(String::as_str).chain(["internet"])).map(str::to_string);
            Err(Nobody::Unknown { near })
        }
        [Named::Internet] => Ok(vec![plain(Party::Internet)]),
        [Named::Zone(zone)] => Ok(matrix.parties.zone(zone).map(Party::Device).map(plain).into_iter().collect()),
        [Named::Host(host)] => Ok(matrix.parties.host(host).map(Party::Host).map(plain).into_iter().collect()),
        [Named::Service(service)] => {
            let mut ports = Allowed::default();
            let named = matrix.placed(service).iter().any(|placement| !placement.entry.url.is_empty());
            let doors = lab.platform.reverse_proxy.iter().flat_map(|proxy| proxy.on.iter());
            let doors: Vec<usize> = doors.filter_map(|on| matrix.parties.host(on)).collect();
            if sought == Sought::ByName && named && !doors.is_empty() {
                let door = |host| Somebody { party: Party::Host(host), ports: Allowed::tcp([443]), contained: false };
                return Ok(doors.into_iter().map(door).collect());
            }
            matrix
                .placed(service)
                .iter()
                .for_each(|placement| ports.extend(&ports::of(matrix.parties.parsed, placement)));
            let contained = matrix
                .placed(service)
                .iter()
                .any(|placement| containers(matrix.parties.parsed, placement).any(|one| one.has_own_network()));
            let of_home = |end| match end {
                End::Host(host) => Some(Somebody { party: Party::Host(host), ports: ports.clone(), contained }),
                _ => None,
            };
            let homes: Vec<Somebody> = matrix.homes(service).into_iter().filter_map(of_home).collect();
            if homes.is_empty() { Err(Nobody::Homeless) } else { Ok(homes) }
        }
        several => {
            let ways = several.iter().map(|end| match end {
                Named::Zone(name) => format!("zone/{name}"),
                Named::Host(name) => format!("host/{name}"),
                Named::Service(name) => format!("service/{name}"),
                Named::Internet => "internet".to_string(),
            });
            Err(Nobody::Ambiguous(ways.collect()))
        }
    }
}

/// A target with its port, taken apart: `proxy-01:443`, `proxy-01:https`, `dns-01:53/udp`, `[fd00::1]:22`, `mon-01:icmp`.
pub fn target(text: &str) -> Result<(&str, Vec<Try>), Nobody> {
    let bare = text.parse::<std::net::IpAddr>().is_ok() || text.ends_with(']');
    let Some((name, port)) = text.rsplit_once(':').filter(|_| !bare) else { return Ok((text, Vec::new())) };
    let traffic = port.parse().map_err(|near| Nobody::Port { near })?;
    let mut asked = Allowed::default();
    asked.add(&traffic);
    let mut tries: Vec<Try> = Vec::new();
    tries.extend(asked.tcp.iter().flat_map(|(first, last)| [first, last]).map(|port| Try::Tcp(port as u16)));
    tries.extend(asked.udp.iter().flat_map(|(first, last)| [first, last]).map(|port| Try::Udp(port as u16)));
    tries.extend(asked.ping.then_some(Try::Ping));
    tries.dedup();
    // A number alone means TCP, as it does everywhere that a port is typed; `dns` means what it is.
    if port.bytes().all(|byte| byte.is_ascii_digit()) {
        tries.retain(|one| matches!(one, Try::Tcp(_)));
    }
    if tries.is_empty() { Err(Nobody::Port { near: None }) } else { Ok((name, tries)) }
}

impl Matrix<'_> {
    /// The machines that see a connection, in its order.
    pub fn hops(&self, from: Party, to: Party) -> Vec<Hop> {
        let parties = &self.parties;
        let hop = |party: Party, does| Hop {
            name: parties.party_name(party),
            does,
            enforces: matches!(party, Party::Host(host) if parties.guards(host)),
        };
        let mut hops = vec![hop(from, "opens")];
        hops.extend(self.forwarders(from, to).into_iter().map(|host| hop(Party::Host(host), "forwards")));
        hops.push(hop(to, "takes"));
        hops
    }

    /// Whether a connection passes through the router: its ends have no zone in common, and neither is the router.
    pub fn crosses_router(&self, from: Party, to: Party) -> bool {
        let router = self.parties.router.map(Party::Host);
        if router.is_none() || router == Some(from) || router == Some(to) {
            return false;
        }
        // What stands on the internet speaks with it, and with its like there, past the lab.
        let outside = |party: Party| match party {
            Party::Internet => true,
            Party::Device(_) => false,
            Party::Host(host) => self.parties.is_outside(host),
        };
        !(outside(from) && outside(to)) && self.parties.zones_of(from).is_disjoint(&self.parties.zones_of(to))
    }

    /// The hosts that pass a connection on.
    pub fn forwarders(&self, from: Party, to: Party) -> Vec<usize> {
        if let Some(hub) = self.parties.meets_at(from, to) {
            return vec![hub];
        }
        let router = |from, to| self.parties.router.filter(|_| self.crosses_router(from, to));
        match self.parties.gate(from, to) {
            None => router(from, to).into_iter().collect(),
            Some((gate, true)) => std::iter::once(gate).chain(router(Party::Host(gate), to)).collect(),
            Some((gate, false)) => router(from, Party::Host(gate)).into_iter().chain([gate]).collect(),
        }
    }

    /// The host that passes a connection on and denies what is not allowed, else any that passes it on.
    pub fn forwarder(&self, from: Party, to: Party) -> Option<usize> {
        let all = self.forwarders(from, to);
        all.iter().copied().find(|host| self.parties.guards(*host)).or(all.first().copied())
    }

    /// Whether anything on the way denies what is not allowed.
    pub fn is_enforced(&self, from: Party, to: Party) -> bool {
        let guards = |party: Party| matches!(party, Party::Host(host) if self.parties.guards(host));
        guards(from) || guards(to) || self.forwarder(from, to).is_some_and(|host| self.parties.guards(host))
    }

    pub fn told(&self, grant: &Grant) -> Told {
        Told {
            from: self.parties.name(grant.from).to_string(),
            to: self.parties.name(grant.to).to_string(),
            allows: grant.allowed.clone(),
            why: grant.why,
            because: grant.reason.clone(),
            place: self.place(grant.span),
        }
    }

    /// Whether `from` may open a connection to `to`; without anything asked about, whether it may open any at all.
    pub fn answer(&self, who: &Somebody, to: &Somebody, asked: &[Try]) -> Answer {
        let from = who.party;
        let itself = from == to.party && matches!(from, Party::Host(_));
        // From a container its own host is another machine, behind the host's firewall.
        let within = who.contained && matches!(from, Party::Host(host) if itself && self.parties.guards(host));
        let myself = itself && !within;
        let open = match from {
            Party::Host(host) if within => self.for_its_containers(host),
            _ if itself => Allowed::any(),
            _ => self.open(from, to.party),
        };
        let wanted = if asked.is_empty() { &to.ports } else { &Allowed::default() };
        let grants = self.working(from, to.party);
        let serves = |allowed: &Allowed| match (asked.is_empty(), wanted.is_empty()) {
            (false, _) => asked.iter().any(|one| allowed.lets(*one)),
            (true, true) => !allowed.is_empty(),
            (true, false) => allowed.covers(wanted),
        };
        let opened = myself
            || match asked.is_empty() {
                false => asked.iter().all(|one| open.lets(*one)),
                true => serves(&open),
            };
        let unanswered = if itself { None } else { self.unanswered(from, to.party) };
        let allowed = opened && unanswered.is_none();
        let overlaps = |grant: &&Grant| match (asked.is_empty(), wanted.is_empty()) {
            (true, false) => grant.allowed.any || grant.allowed.minus(wanted) != grant.allowed,
            _ => serves(&grant.allowed),
        };
        let because: Vec<&Grant> = grants
            .into_iter()
            .filter(overlaps)
            .filter(|grant| match from {
                Party::Host(host) if within => self.is_for_containers(grant, host),
                _ => !itself,
            })
            .collect();
        let port = match (asked, wanted.is_empty()) {
            ([], true) => None,
            ([], false) => Some(wanted.to_string()),
            (asked, _) => Some(asked.iter().map(Try::to_string).collect::<Vec<_>>().join(", ")),
        };
        let turn = match (myself, opened) {
            (false, true) if let Some(astray) = &unanswered => self.bring_back(astray),
            (true, _) => "nothing: a host is never denied to itself".to_string(),
            (false, true) if within && because.is_empty() => {
                "nothing: what runs on a host is open to the containers on it".to_string()
            }
            (false, true) => self.close(&because),
            (false, false) => {
                let vain = self.grants_between(from, to.party).into_iter().filter(overlaps);
                let why = vain.filter_map(|grant| self.unknown(grant, from, to.party)).min();
                why.map_or_else(
                    || self.open_up(from, to.party, port.as_deref()),
                    |why| self.make_known(why, to.party, port.as_deref()),
                )
            }
        };
        let enforced = itself || self.is_enforced(from, to.party);
        Answer {
            from: self.parties.party_name(from),
            to: self.parties.party_name(to.party),
            port,
            allowed,
            open,
            because: because.into_iter().map(|grant| self.told(grant)).collect(),
            hops: self.hops(from, to.party),
            turn,
            enforced,
        }
    }

    /// What to take out of the file so that the way is shut.
    fn close(&self, grants: &[&Grant]) -> String {
        let mut all: Vec<String> = Vec::new();
        for grant in grants {
            let place = self.place(grant.span);
            let at = if place.is_empty() { String::new() } else { format!(" at {place}") };
            let one = match grant.why {
                Why::Flow => format!("take out or narrow the flow{at}"),
                Why::Exposed | Why::Upstream | Why::Tunnel => {
                    format!("`expose: nowhere`{at}, where {}", grant.reason)
                }
                Why::Needs => format!("take out the need{at}: {}", grant.reason),
                _ => format!("take out what it follows from{at}: {}", grant.reason),
            };
            if !all.contains(&one) {
                all.push(one);
            }
        }
        all.join("; and ")
    }

    /// What is open from one party to another, as far as whoever looks on the way can know it.
    pub fn open(&self, from: Party, to: Party) -> Allowed {
        let mut open = Allowed::default();
        self.working(from, to).into_iter().for_each(|grant| open.extend(&grant.allowed));
        open
    }

    /// What to add so that an answer comes back the way that the question went.
    fn bring_back(&self, astray: &Astray) -> String {
        let router = self.parties.router.map_or("the router", |router| self.parties.hosts[router].name);
        let gate = self.parties.hosts[astray.gate].name;
        let who = self.parties.party_name(astray.who);
        let routes: Vec<String> = astray.routes.iter().map(|(net, via)| format!("\"{net}\": \"{via}\"")).collect();
        let routes = routes.join(", ");
        let what = match astray.who {
            Party::Host(_) => {
                format!("give `{who}` the way back: `interfaces: {{ NAME: {{ …, routes: {{ {routes} }} }} }}`")
            }
            _ => format!("give it the way back (a route, or DHCP option 121): `{routes}`"),
        };
        format!(
            "a flow allows it, but one way goes past `{router}`, which sees half of the connection and drops it: {what}; \
             or put `{gate}` into a zone of its own"
        )
    }

    /// What to add to the file so that a way that is allowed already works.
    fn make_known(&self, why: Unknown, to: Party, port: Option<&str>) -> String {
        match why {
            Unknown::Host(host) => {
                let name = self.parties.hosts[host].name;
                format!(
                    "a flow allows it, and no firewall knows `{name}`: give it `address: …`, and the same in the DHCP server"
                )
            }
            Unknown::Zone(zone) => {
                let name = self.parties.zones[zone].name;
                format!("a flow allows it, and no firewall knows who is in `{name}`: give the zone `subnet: …`")
            }
            Unknown::Public => {
                let to = match to {
                    Party::Host(host) => self.parties.spelled(End::Host(host)),
                    _ => "HOST".to_string(),
                };
                let port = port.unwrap_or("PORT/tcp");
                format!(
                    "a flow allows it, and the one public address does not know where to lead it: name the host and its \
                     ports: `- {{ from: internet, to: {to}, allow: {port} }}`"
                )
            }
        }
    }

    /// What to add to the file so that the way is open.
    fn open_up(&self, from: Party, to: Party, port: Option<&str>) -> String {
        let spelled = |party: Party| match party {
            Party::Internet => "internet".to_string(),
            Party::Device(zone) => self.parties.spelled(End::Zone(zone)),
            Party::Host(host) => self.parties.spelled(End::Host(host)),
        };
        let port = port.map_or("PORT/tcp".to_string(), |port| match port.contains(", ") {
            true => format!("[{port}]"),
            false => port.to_string(),
        });
        let flow = format!("- {{ from: {}, to: {}, allow: {port} }}", spelled(from), spelled(to));
        format!("add to `network: {{ flows: … }}`: `{flow}`")
    }
}

impl super::parties::Parties<'_> {
    /// A name as a flow would have to spell it: `host/immich` where `immich` is a service too.
    pub fn spelled(&self, end: End) -> String {
        let (kind, name) = match end {
            End::Internet => return "internet".to_string(),
            End::Zone(_) => ("zone", self.name(end)),
            End::Host(_) => ("host", self.name(end)),
        };
        let lab = self.lab();
        let meanings = usize::from(lab.network.zones.contains_key(name))
            + usize::from(lab.compute.hosts.contains_key(name))
            + usize::from(lab.services.contains_key(name));
        if meanings > 1 { format!("{kind}/{name}") } else { name.to_string() }
    }
}
