//! The work order: what a router has to be set to that Labwright does not set, rule by rule, in the words of its trade.

use std::fmt::Write;

use serde::Serialize;

use super::allowed::Allowed;
use super::matrix::{Matrix, Why};
use super::nft::forwards;
use super::parties::{End, Party};
use super::ranges::Family;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkOrder {
    pub lab: String,
    /// The router's name, where the lab has one.
    pub router: Option<String>,
    pub zones: Vec<OrderedZone>,
    /// Hosts that rules name, with their addresses.
    pub hosts: Vec<OrderedHost>,
    /// In this order; the last one denies and logs everything else.
    pub rules: Vec<Rule>,
    /// Static routes: networks behind a host that a VPN ends at.
    pub routes: Vec<OrderedRoute>,
    /// Ports of the public address that lead inside.
    pub forwards: Vec<PortForward>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderedZone {
    pub name: String,
    pub vlan: Option<u16>,
    pub interface: Option<String>,
    pub subnets: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderedHost {
    pub name: String,
    pub addresses: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    pub number: usize,
    pub from: String,
    pub to: String,
    pub allows: Allowed,
    pub because: String,
    pub place: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderedRoute {
    pub to: String,
    pub via: String,
    pub host: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortForward {
    pub ports: Allowed,
    pub to: String,
    pub address: String,
}

/// Everything that crosses the router, and nothing that does not.
pub fn work_order(matrix: &Matrix<'_>) -> WorkOrder {
    let parties = &matrix.parties;
    let party = super::matrix::party;
    let mut rules: Vec<Rule> = Vec::new();
    let mut named: Vec<usize> = Vec::new();
    for grant in &matrix.grants {
        let (from, to) = (party(grant.from), party(grant.to));
        let own = parties.router.map(Party::Host);
        // Peers of a VPN that ends at the router meet there.
        let meet = parties.meets_at(from, to).is_some_and(|hub| parties.router == Some(hub));
        if from == to && !meet {
            continue;
        }
        let at_router = meet || own == Some(to) || own == Some(from);
        if !at_router && (parties.router.is_some() && !matrix.crosses_router(from, to)) {
            continue;
        }
        if parties.router.is_none() && !parties.zones_of(from).is_disjoint(&parties.zones_of(to)) {
            continue;
        }
        for end in [grant.from, grant.to] {
            if let End::Host(host) = end
                && !named.contains(&host)
            {
                named.push(host);
            }
        }
        let mut allowed = grant.allowed.clone();
        // DHCPv6 is asked for from addresses of the link, which no set of a host's own firewall has.
        let six = |zone: usize| !parties.ranges(zone, Family::V6).is_empty();
        if grant.why == Why::Addresses && allowed.udp.contains(67) && matches!(from, Party::Device(zone) if six(zone)) {
            allowed.extend(&Allowed::udp([547]));
        }
        rules.push(Rule {
            number: rules.len() + 1,
            from: parties.name(grant.from).to_string(),
            to: parties.name(grant.to).to_string(),
            allows: allowed,
            because: grant.reason.clone(),
            place: matrix.place(grant.span),
        });
    }
    named.sort_unstable();
    let hosts = named.into_iter().map(|host| OrderedHost {
        name: parties.hosts[host].name.to_string(),
        addresses: parties.hosts[host].addresses.iter().map(ToString::to_string).collect(),
    });
    let zones = parties.zones.iter().map(|zone| OrderedZone {
        name: zone.name.to_string(),
        vlan: zone.entry.vlan.as_ref().map(|vlan| vlan.value),
        interface: zone.entry.interface.as_ref().map(|interface| interface.value.clone()),
        subnets: zone.subnets().map(|subnet| subnet.to_string()).collect(),
    });
    let forwards = forwards(matrix).0.into_iter().map(|one| PortForward {
        ports: one.allowed,
        to: parties.hosts[one.host].name.to_string(),
        address: one.address.to_string(),
    });
    WorkOrder {
        lab: parties.lab().lab.value.clone(),
        router: parties.router.map(|router| parties.hosts[router].name.to_string()),
        zones: zones.collect(),
        hosts: hosts.collect(),
        rules,
        routes: routes(matrix),
        forwards: forwards.collect(),
    }
}

/// A tailnet needs none: what it opens comes from the address of its subnet router.
fn routes(matrix: &Matrix<'_>) -> Vec<OrderedRoute> {
    let parties = &matrix.parties;
    let mut all = Vec::new();
    for gate in parties.gates.iter().filter(|gate| gate.hub) {
        for subnet in parties.zones[gate.zone].subnets() {
            let family = Family::of(subnet.0.network());
            let mut own = parties.host_addresses(gate.host, family);
            if let Some(via) = own.find(|address| !subnet.0.contains(address)) {
                let host = parties.hosts[gate.host].name.to_string();
                all.push(OrderedRoute { to: subnet.to_string(), via: via.to_string(), host });
            }
        }
    }
    all
}

/// The same as Markdown, for whoever clicks it together.
pub fn markdown(order: &WorkOrder) -> String {
    let dash = |text: String| if text.is_empty() { "-".to_string() } else { text.replace('|', "\\|") };
    let router = order.router.as_ref().map_or("the router".to_string(), |router| format!("`{router}`"));
    let mut out = format!(
        "# Firewall of {router}, lab `{}`\n\nSet these rules in this order, for IPv4 and IPv6 alike. Answers to what is \
         allowed come back by themselves (a stateful firewall); everything that is not listed is denied and logged. Traffic \
         inside one zone does not pass the router: there each host's own firewall decides, or nobody.\n\n## Zones\n\n\
         | zone | VLAN | interface | subnets |\n|---|---|---|---|\n",
        order.lab
    );
    for zone in &order.zones {
        let vlan = zone.vlan.map_or("-".to_string(), |vlan| vlan.to_string());
        let interface = dash(zone.interface.clone().unwrap_or_default());
        let _ =
            writeln!(out, "| {} | {vlan} | {interface} | {} |", dash(zone.name.clone()), dash(zone.subnets.join(", ")));
    }
    if !order.hosts.is_empty() {
        out.push_str("\n## Aliases\n\n| host | addresses |\n|---|---|\n");
        for host in &order.hosts {
            let _ = writeln!(out, "| {} | {} |", dash(host.name.clone()), dash(host.addresses.join(", ")));
        }
    }
    out.push_str("\n## Rules\n\n| no. | from | to | allow | because |\n|---|---|---|---|---|\n");
    for rule in &order.rules {
        let place = if rule.place.is_empty() { String::new() } else { format!(" ({})", rule.place) };
        let because = dash(format!("{}{place}", rule.because));
        let (from, to) = (dash(rule.from.clone()), dash(rule.to.clone()));
        let _ = writeln!(out, "| {} | {from} | {to} | {} | {because} |", rule.number, rule.allows);
    }
    let _ = writeln!(out, "| {} | any | any | deny, and log | what is not listed is denied |", order.rules.len() + 1);
    if !order.routes.is_empty() {
        out.push_str("\n## Static routes\n\n| network | gateway | host |\n|---|---|---|\n");
        for one in &order.routes {
            let _ = writeln!(out, "| {} | {} | {} |", one.to, one.via, dash(one.host.clone()));
        }
    }
    if !order.forwards.is_empty() {
        out.push_str("\n## Port forwards, with hairpin\n\n| public ports | to | address |\n|---|---|---|\n");
        for one in &order.forwards {
            let _ = writeln!(out, "| {} | {} | {} |", one.ports, dash(one.to.clone()), one.address);
        }
    }
    out
}
