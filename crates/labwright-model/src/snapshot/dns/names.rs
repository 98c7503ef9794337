//! The lab's own names: of hosts, of services, of declared records, and the way back from addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Client, Data, Record};
use crate::Parsed;
use crate::lab::{Dns, DnsRecord, Expose, Lab};
use crate::resolve::Placement;

/// Subnets wider than this many zones are answered by their hosts alone: 256 reverse zones are one /16 in /24s.
const MAX_REVERSE_ZONES: usize = 256;

/// `https://Wiki.example.net:8443/path` as `wiki.example.net`, `wiki` as the name in the lab's domain.
pub fn host_of_url(lab: &Lab, url: &str) -> String {
    let name = url.split_once("://").map_or(url, |(_, rest)| rest);
    let name = name.split(['/', ':']).next().unwrap_or_default();
    lab.fqdn(name.trim_end_matches('.')).to_lowercase()
}

/// Whether a name is a domain, or one within it. Both in lower case.
pub fn in_domain(name: &str, domain: &str) -> bool {
    name == domain || name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

/// The names that lead to a placed service inside the lab: those of its `url`, or its own where it has none.
///
/// What someone else runs has none: its names are theirs.
pub fn service_names(lab: &Lab, placement: &Placement) -> Vec<String> {
    if placement.entry.external.is_some() {
        return Vec::new();
    }
    let urls = placement.entry.url.iter().filter(|url| !url.is_empty() && !url.contains('$'));
    let mut names: Vec<String> = urls.map(|url| host_of_url(lab, url)).collect();
    if placement.entry.url.is_empty() {
        let own = match &placement.environment {
            Some(environment) => format!("{}-{environment}", placement.service),
            None => placement.service.clone(),
        };
        names.push(lab.fqdn(&own).to_lowercase());
    }
    names
}

/// The domains that the lab answers alone: its own, and those of its subnets' addresses.
pub(super) fn zones(parsed: &Parsed) -> Vec<String> {
    let lab = &parsed.lab;
    let mut zones = BTreeSet::new();
    for net in lab.network.zones.values().flat_map(|zone| zone.subnet.iter()) {
        let of_net = reverse_zones(net.0);
        if of_net.len() <= MAX_REVERSE_ZONES {
            zones.extend(of_net);
        }
    }
    let mut all = vec![lab.domain.trim_matches('.').to_lowercase()];
    all.extend(zones);
    all
}

/// The reverse zones that cover a subnet, cut at octets (RFC 1035) or nibbles (RFC 3596).
fn reverse_zones(net: ipnet::IpNet) -> Vec<String> {
    let (step, bits) = match net {
        ipnet::IpNet::V4(_) => (8, net.prefix_len().clamp(8, 24).div_ceil(8) * 8),
        ipnet::IpNet::V6(_) => (4, net.prefix_len().clamp(16, 124).div_ceil(4) * 4),
    };
    let labels = usize::from(bits / step);
    let suffix = |address: IpAddr| {
        let whole = reverse_name(address);
        let all = whole.split('.').count() - 2;
        whole.split('.').skip(all - labels).collect::<Vec<_>>().join(".")
    };
    if bits <= net.prefix_len() {
        return vec![suffix(net.network())];
    }
    match net.subnets(bits) {
        Ok(subnets) => subnets.take(MAX_REVERSE_ZONES + 1).map(|net| suffix(net.network())).collect(),
        Err(_) => vec![suffix(net.network())],
    }
}

/// `5.20.0.10.in-addr.arpa`, or its like in `ip6.arpa`.
pub(super) fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

pub(super) fn clients(lab: &Lab) -> Vec<Client> {
    let of = |(name, host): (&String, &crate::Spanned<crate::lab::Host>)| {
        host.address.iter().map(|address| Client { address: address.value, name: name.clone() }).collect::<Vec<_>>()
    };
    lab.compute.hosts.iter().flat_map(of).collect()
}

pub(super) fn records(parsed: &Parsed, dns: &Dns, ttl: u32) -> Vec<Record> {
    let lab = &parsed.lab;
    let mut names: BTreeMap<String, Vec<(u32, Data)>> = BTreeMap::new();
    let mut put = |name: String, ttl: u32, data: Data| names.entry(name).or_default().push((ttl, data));
    let mut reverse: BTreeMap<IpAddr, String> = BTreeMap::new();
    // What the file says of a name outright comes before what follows from hosts and services.
    let declared: BTreeSet<String> = dns.records.keys().map(|name| record_name(lab, name)).collect();
    for (name, record) in dns.records.iter() {
        let ttl = record.ttl.map_or(ttl, |ttl| u32::try_from(ttl.0.as_secs()).unwrap_or(u32::MAX));
        for data in of_record(parsed, dns, record) {
            put(record_name(lab, name), ttl, data);
        }
    }
    let hosts: BTreeSet<String> = lab.compute.hosts.keys().map(|name| record_name(lab, name)).collect();
    for (name, host) in lab.compute.hosts.iter() {
        let name = record_name(lab, name);
        for address in host.address.iter() {
            reverse.entry(address.value).or_insert_with(|| name.clone());
            if !declared.contains(&name) {
                put(name.clone(), ttl, Data::Address(address.value));
            }
        }
    }
    let mut taken = BTreeSet::new();
    for placement in &parsed.placements {
        let addresses = addresses_of(lab, placement);
        for name in service_names(lab, placement) {
            // A service with the name of its host is the host's, unless its `url` says so.
            let is_hosts = placement.entry.url.is_empty() && hosts.contains(&name);
            if !declared.contains(&name) && !is_hosts && taken.insert(name.clone()) {
                for address in &addresses {
                    put(name.clone(), ttl, Data::Address(*address));
                }
            }
        }
    }
    for (address, name) in reverse {
        put(reverse_name(address), ttl, Data::Ptr(name));
    }
    let mut records = Vec::new();
    for (name, mut all) in names {
        all.sort_by(|(_, a), (_, b)| a.cmp(b));
        all.dedup();
        records.extend(all.into_iter().map(|(ttl, data)| Record { name: name.clone(), ttl, data }));
    }
    records
}

/// A record's name in full. Labels such as `*` and `_tcp` stand before a name and are none of it, so `_sip._tcp` and
/// `*.apps` are in the lab's domain as `apps` is, and `*.example.net` is not. `@` is the domain itself.
pub fn record_name(lab: &Lab, name: &str) -> String {
    let mut rest = name.trim_end_matches('.');
    let mut before = String::new();
    while rest.starts_with(['*', '_']) {
        let (label, after) = rest.split_once('.').unwrap_or((rest, ""));
        before.push_str(label);
        before.push('.');
        rest = after;
    }
    let domain = lab.domain.trim_matches('.');
    let of = if rest.is_empty() || rest == "@" { domain.to_string() } else { lab.fqdn(rest) };
    (before + &of).to_lowercase()
}

/// Where people are led who come to a service by a name: to the proxy where there is one and it is exposed, else to its
/// own hosts. Public names are led there as well, so that nobody inside goes out and back in.
fn addresses_of(lab: &Lab, placement: &Placement) -> Vec<IpAddr> {
    let proxies: Vec<&str> = match &lab.platform.reverse_proxy {
        Some(proxy) if placement.entry.expose != Expose::Nowhere => {
            proxy.on.iter().map(|on| on.value.as_str()).collect()
        }
        _ => Vec::new(),
    };
    let hosts = match proxies.is_empty() {
        true => placement.entry.on.iter().map(|on| on.value.as_str()).collect(),
        false => proxies,
    };
    hosts.iter().filter_map(|host| lab.host(host)).flat_map(|host| host.address.iter()).map(|a| a.value).collect()
}

fn of_record(parsed: &Parsed, dns: &Dns, record: &DnsRecord) -> Vec<Data> {
    let lab = &parsed.lab;
    let mut all = Vec::new();
    for to in record.to.iter() {
        if let Ok(address) = to.parse::<IpAddr>() {
            all.push(Data::Address(address));
            continue;
        }
        let host = lab.host(to).map(|host| host.address.iter().map(|a| a.value).collect::<Vec<_>>());
        let service = || {
            let placement = parsed.placements.iter().find(|placement| placement.service == to.value)?;
            Some(addresses_of(lab, placement))
        };
        match host.or_else(service).filter(|addresses| !addresses.is_empty() && !dns.records.contains_key(&to.value)) {
            Some(addresses) => all.extend(addresses.into_iter().map(Data::Address)),
            None => all.push(Data::Cname(record_name(lab, to))),
        }
    }
    all.extend(record.cname.iter().map(|cname| Data::Cname(record_name(lab, cname))));
    all.extend(record.txt.iter().map(|text| Data::Txt(text.value.clone())));
    all.extend(record.mx.iter().filter_map(|text| mx(lab, text)));
    all.extend(record.srv.iter().filter_map(|text| srv(lab, text)));
    all
}

/// `10 mail.example.net`; the preference is 10 where none is said.
pub fn mx(lab: &Lab, text: &str) -> Option<Data> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        [preference, exchange] => {
            Some(Data::Mx { preference: preference.parse().ok()?, exchange: record_name(lab, exchange) })
        }
        [exchange] => Some(Data::Mx { preference: 10, exchange: record_name(lab, exchange) }),
        _ => None,
    }
}

/// `0 5 5060 sip.example.net`.
pub fn srv(lab: &Lab, text: &str) -> Option<Data> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [priority, weight, port, target] = words[..] else { return None };
    Some(Data::Srv {
        priority: priority.parse().ok()?,
        weight: weight.parse().ok()?,
        port: port.parse().ok()?,
        target: record_name(lab, target),
    })
}
