//! What a resolver of the lab serves: its zones, where else it asks, what it does not answer.
//! Says nothing about sockets, files or threads: those are the daemon's.

mod names;
pub mod told;
mod upstream;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use names::{host_of_url, in_domain, mx, record_name, service_names, srv};
pub use upstream::{Transport, Upstream, upstream};

use crate::Parsed;
use crate::lab::{BlockedAnswer, Dns, DnsGroup, DnsSoftware, UpstreamOrder};
use crate::span::Spanned;

/// Everything that one resolver serves. Names are lower-case, absolute, without the last dot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsSnapshot {
    pub listen: Listen,
    /// The resolvers' own names; the first one is this host's. The zones' NS records.
    pub servers: Vec<String>,
    /// Domains that are answered from the records here and from nowhere else.
    pub zones: Vec<String>,
    /// How long others may remember that a name of the zones is not there, in seconds.
    pub negative_ttl: u32,
    pub records: Vec<Record>,
    /// What the query log calls clients.
    pub clients: Vec<Client>,
    pub forward: Forward,
    pub cache: Cache,
    pub filter: Filter,
    pub access: Access,
    pub log: Log,
}

/// Where it listens, for UDP and TCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listen {
    /// Empty: all addresses.
    pub addresses: Vec<IpAddr>,
    pub port: u16,
}

impl Default for Listen {
    fn default() -> Self {
        Listen { addresses: Vec::new(), port: PORT }
    }
}

/// The port of DNS; RFC 1035, 4.2.
pub const PORT: u16 = 53;

/// One record of one name; `*.` in front stands for every name below that is not there itself (RFC 4592).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    /// Seconds.
    pub ttl: u32,
    pub data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// A or AAAA.
    Address(IpAddr),
    Cname(String),
    Ptr(String),
    Txt(String),
    Mx {
        preference: u16,
        exchange: String,
    },
    Srv {
        priority: u16,
        weight: u16,
        port: u16,
        target: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    pub address: IpAddr,
    pub name: String,
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Net {
    pub address: IpAddr,
    pub bits: u8,
}

impl Net {
    pub fn contains(&self, address: IpAddr) -> bool {
        let kept = |bits: u8, width: u8| u128::MAX.checked_shl(u32::from(width - bits.min(width))).unwrap_or(0);
        match (self.address, address) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                (u128::from(u32::from(net)) ^ u128::from(u32::from(address))) & kept(self.bits, 32) & 0xffff_ffff == 0
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                (u128::from(net) ^ u128::from(address)) & kept(self.bits, 128) == 0
            }
            _ => false,
        }
    }
}

/// Where names of others are asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Forward {
    pub upstreams: Vec<Upstream>,
    pub order: Order,
    /// Who knows the names of upstreams.
    pub bootstrap: Vec<IpAddr>,
    /// Domains that are asked elsewhere.
    pub domains: Vec<ForwardDomain>,
    pub dnssec: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    #[default]
    Fastest,
    Race,
    Given,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForwardDomain {
    pub domain: String,
    pub upstreams: Vec<Upstream>,
}

/// What is remembered of others' answers. Times are seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cache {
    pub bytes: u64,
    pub stale: u32,
    pub prefetch: bool,
    pub at_least: u32,
    pub at_most: u32,
}

impl Default for Cache {
    fn default() -> Self {
        Cache { bytes: 16 << 20, stale: 86400, prefetch: true, at_least: 0, at_most: 86400 }
    }
}

/// What is not answered, to whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Lists by their place here, which groups refer to.
    pub lists: Vec<List>,
    /// Who is filtered how; the group without clients is for everybody else.
    pub groups: Vec<Group>,
    pub blocked: Blocked,
    /// Seconds between two fetches of a list.
    pub refresh: u32,
    pub canary: bool,
    /// Domains of others whose names may lead to private addresses.
    pub private_answers: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// What findings, log and metrics call it.
    pub name: String,
    pub source: ListSource,
    /// What is on the list is answered, whatever other lists say.
    pub allow: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListSource {
    Url(String),
    /// A path on the resolver's host.
    File(String),
    /// A file beside the lab file, kept on the resolver's host under this name in the folder of its lists.
    Shipped(String),
    Rules(Vec<String>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    pub name: String,
    pub clients: Vec<Net>,
    /// Places in `Filter::lists`.
    pub lists: Vec<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blocked {
    #[default]
    Zero,
    Nxdomain,
    Refused,
}

/// Who may ask, and how much.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Access {
    /// Subnets of the lab, beside the private ones, which may always.
    pub networks: Vec<Net>,
    /// Queries a second of one client; 0 is without limit.
    pub rate_limit: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Log {
    /// 0 writes none down.
    pub keep_days: u32,
    pub clients: bool,
}

/// Where copies of lists beside the lab file stand on a resolver's host.
pub const LISTS: &str = "/var/lib/labwright-lists";

/// The folder of a lab's lists on a resolver's host.
pub fn folder(lab: &str) -> String {
    format!("{LISTS}/{lab}")
}

/// The lab's resolvers, where they are Labwright's own.
pub fn declared(parsed: &Parsed) -> Option<&Dns> {
    let own = |dns: &&Dns| dns.service.is_none() && dns.software == DnsSoftware::Labwright;
    parsed.lab.platform.dns.as_ref().filter(own)
}

/// Whether a host runs one of the lab's resolvers.
pub fn is_resolver(parsed: &Parsed, host: &str) -> bool {
    declared(parsed).is_some_and(|dns| dns.on.iter().any(|on| on.value == host))
}

/// Lists that one resolver can tell apart: a bit each in the table of names.
pub const MAX_LISTS: usize = 64;

/// What the resolver on `host` serves; `None` where the lab has no DNS.
pub fn dns(parsed: &Parsed, host: &str) -> Option<DnsSnapshot> {
    let lab = &parsed.lab;
    let dns = lab.platform.dns.as_ref()?;
    let fqdn = |name: &str| lab.fqdn(name).to_lowercase();
    let mut servers: Vec<String> = dns.on.iter().map(|on| fqdn(on)).collect();
    servers.sort_by_key(|server| *server != fqdn(host));
    let seconds = |period: crate::units::Period| u32::try_from(period.0.as_secs()).unwrap_or(u32::MAX);
    let all = |many: &[Spanned<String>]| many.iter().filter_map(|text| upstream(text).ok()).collect::<Vec<_>>();
    let domains = dns.forward.iter().map(|(domain, to)| ForwardDomain {
        domain: domain.trim_start_matches("*.").trim_matches('.').to_lowercase(),
        upstreams: all(&to.value),
    });
    Some(DnsSnapshot {
        listen: Listen { addresses: dns.listen.iter().map(|address| address.value).collect(), port: PORT },
        servers,
        zones: names::zones(parsed),
        negative_ttl: seconds(dns.ttl).min(300),
        records: names::records(parsed, dns, seconds(dns.ttl)),
        clients: names::clients(lab),
        forward: Forward {
            upstreams: all(&dns.upstream),
            order: match dns.order {
                UpstreamOrder::Fastest => Order::Fastest,
                UpstreamOrder::Race => Order::Race,
                UpstreamOrder::Given => Order::Given,
            },
            bootstrap: dns.bootstrap.iter().map(|address| address.value).collect(),
            domains: domains.collect(),
            dnssec: dns.dnssec,
        },
        cache: Cache {
            bytes: dns.cache.size.0,
            stale: seconds(dns.cache.stale),
            prefetch: dns.cache.prefetch,
            at_least: seconds(dns.cache.at_least),
            at_most: seconds(dns.cache.at_most),
        },
        filter: filter(parsed, dns),
        access: Access {
            networks: lab.network.zones.values().flat_map(|zone| zone.subnet.iter()).map(|net| net_of(net.0)).collect(),
            rate_limit: dns.rate_limit,
        },
        log: Log { keep_days: seconds(dns.log.keep).div_ceil(86400), clients: dns.log.clients },
    })
}

fn net_of(net: ipnet::IpNet) -> Net {
    Net { address: net.network(), bits: net.prefix_len() }
}

/// Where the text of a list comes from: a URL, a path on the host, a file beside the lab file.
fn source(list: &str) -> ListSource {
    if list.starts_with("http://") || list.starts_with("https://") {
        ListSource::Url(list.to_string())
    } else if list.starts_with('/') {
        ListSource::File(list.to_string())
    } else {
        ListSource::Shipped(list.trim_start_matches("./").replace('/', "_"))
    }
}

/// Lists beside the lab file, which a resolver needs on its own disk: as the file spells each, with the name that it has in
/// the folder of lists. Each once.
pub fn shipped(parsed: &Parsed) -> Vec<(&Spanned<String>, String)> {
    let Some(dns) = &parsed.lab.platform.dns else { return Vec::new() };
    let of_groups = dns.groups.values().flat_map(|group| group.block.iter().flat_map(|many| many.iter()));
    let shipped = dns.block.iter().chain(of_groups).filter_map(|list| match source(list) {
        ListSource::Shipped(name) => Some((list, name)),
        _ => None,
    });
    let mut all: Vec<(&Spanned<String>, String)> = shipped.collect();
    all.sort_by(|(_, a), (_, b)| a.cmp(b));
    all.dedup_by(|(_, a), (_, b)| a == b);
    all
}

fn filter(parsed: &Parsed, dns: &Dns) -> Filter {
    let mut lists: Vec<List> = Vec::new();
    let mut place = |name: &str, source: ListSource, allow: bool| {
        let list = List { name: name.to_string(), source, allow };
        lists.iter().position(|known| *known == list).unwrap_or_else(|| {
            lists.push(list);
            lists.len() - 1
        })
    };
    let texts = |many: &[Spanned<String>]| many.iter().map(|text| text.value.clone()).collect::<Vec<_>>();
    let mut own = |of: &str, allow: &[Spanned<String>], rules: &[Spanned<String>], lists: &mut Vec<usize>| {
        if !allow.is_empty() {
            lists.push(place(&format!("allow{of}"), ListSource::Rules(texts(allow)), true));
        }
        if !rules.is_empty() {
            lists.push(place(&format!("rules{of}"), ListSource::Rules(texts(rules)), false));
        }
    };
    let mut common = Vec::new();
    own("", &dns.allow, &dns.rules, &mut common);
    let mut of_groups: Vec<Vec<usize>> = Vec::new();
    for (name, group) in dns.groups.iter() {
        let mut lists = common.clone();
        own(&format!(" of {name}"), &group.allow, &group.rules, &mut lists);
        of_groups.push(lists);
    }
    let blocking = |many: &[Spanned<String>], place: &mut dyn FnMut(&str, ListSource, bool) -> usize| {
        many.iter().map(|list| place(list, source(list), false)).collect::<Vec<_>>()
    };
    let everyone = blocking(&dns.block, &mut place);
    let mut groups = Vec::new();
    for ((name, group), mut lists) in dns.groups.iter().zip(of_groups) {
        match &group.block {
            Some(block) => lists.extend(blocking(block, &mut place)),
            None => lists.extend(&everyone),
        }
        if group.unfiltered {
            lists.clear();
        }
        groups.push(Group { name: name.clone(), clients: members(parsed, group), lists });
    }
    common.extend(everyone);
    groups.push(Group { name: "everyone".into(), clients: Vec::new(), lists: common });
    Filter {
        lists,
        groups,
        blocked: match dns.blocked {
            BlockedAnswer::Zero => Blocked::Zero,
            BlockedAnswer::Nxdomain => Blocked::Nxdomain,
            BlockedAnswer::Refused => Blocked::Refused,
        },
        refresh: u32::try_from(dns.refresh.0.as_secs()).unwrap_or(u32::MAX),
        canary: dns.canary,
        private_answers: dns.private_answers.iter().map(|domain| domain.trim_matches('.').to_lowercase()).collect(),
    }
}

/// The addresses of a group: of hosts, of zones, or as they are written.
fn members(parsed: &Parsed, group: &DnsGroup) -> Vec<Net> {
    let lab = &parsed.lab;
    let alone = |address: IpAddr| Net { address, bits: if address.is_ipv4() { 32 } else { 128 } };
    let of = |client: &Spanned<String>| -> Vec<Net> {
        if let Ok(address) = client.parse::<IpAddr>() {
            return vec![alone(address)];
        }
        if let Ok(net) = client.parse::<ipnet::IpNet>() {
            return vec![net_of(net.trunc())];
        }
        let host =
            lab.host(client).into_iter().flat_map(|host| host.address.iter().map(|address| alone(address.value)));
        let zone = lab.network.zones.get(&client.value);
        host.chain(zone.into_iter().flat_map(|zone| zone.subnet.iter().map(|net| net_of(net.0)))).collect()
    };
    group.clients.iter().flat_map(of).collect()
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
