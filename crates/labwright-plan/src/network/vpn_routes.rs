//! The way back into a VPN that ends at a host beside the router: who stands in that host's network has to know that the
//! VPN is behind it, or answers by the router, which saw no question. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use labwright_model::Parsed;
use labwright_model::lab::{Host, Interface};
use labwright_model::units::{InterfaceAddress, Subnet};

use super::matrix::Matrix;
use super::parties::{Gate, Guard, Parties, Party, guard};
use super::ranges::Family;
use crate::check::network::reach::{sites, wireguard_zone};

/// Somebody whose half of a connection takes another way than the other half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Astray {
    pub who: Party,
    /// The host that the VPN ends at.
    pub gate: usize,
    /// The routes that are missing: network, and the gate's address.
    pub routes: Vec<(Subnet, IpAddr)>,
}

/// A route that a host gets on an interface that the lab sets up, because a VPN ends beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Implied {
    pub interface: String,
    pub to: Subnet,
    pub via: IpAddr,
}

impl Parties<'_> {
    /// The routes by which a host in the network of a VPN's end, or the router, reaches the VPN. None for the end itself.
    pub fn routes_into(&self, gate: Gate, host: usize) -> Vec<(Subnet, IpAddr)> {
        if !gate.hub || host == gate.host {
            return Vec::new();
        }
        self.zones[gate.zone].subnets().filter_map(|net| Some((net, self.beside(gate, host, net)?))).collect()
    }

    /// The gate's address in a network that the host has an address in, outside of the VPN.
    fn beside(&self, gate: Gate, host: usize, net: Subnet) -> Option<IpAddr> {
        let family = Family::of(net.0.network());
        let own: Vec<IpAddr> = self.host_addresses(host, family).collect();
        self.host_addresses(gate.host, family)
            .find(|via| self.networks(gate, *via).any(|it| own.iter().any(|a| it.0.contains(a))))
    }

    /// The networks of zones, other than the VPN, that an address is in.
    fn networks(&self, gate: Gate, via: IpAddr) -> impl Iterator<Item = Subnet> + '_ {
        let zones = self.zones.iter().enumerate().filter(move |(number, _)| *number != gate.zone);
        zones
            .flat_map(|(_, zone)| zone.entry.subnet.iter().map(|one| one.value))
            .filter(move |net| net.0.contains(&via))
    }

    /// As `routes_into`, without those that it has: written in the lab file, or given to it because of that.
    pub fn routes_lacking(&self, gate: Gate, host: usize) -> Vec<(Subnet, IpAddr)> {
        let party = &self.hosts[host];
        let implied = implied(self.parsed, party.name, party.entry);
        let gates: Vec<IpAddr> = self.hosts[gate.host].addresses.clone();
        let mut lacking = self.routes_into(gate, host);
        lacking.retain(|(net, via)| {
            let given = implied.iter().any(|one| (one.to, one.via) == (*net, *via));
            !given && !leads(party.entry, *net, &gates)
        });
        lacking
    }
}

impl Matrix<'_> {
    /// Who of the two sends its half of a connection by the router although the other half does not pass it. Only told where
    /// the router has a firewall of ours, which takes no half.
    pub fn unanswered(&self, from: Party, to: Party) -> Option<Astray> {
        self.parties.guarding_router()?;
        self.astray(from, to)
    }

    /// As `unanswered`, whatever the router is.
    pub fn astray(&self, from: Party, to: Party) -> Option<Astray> {
        let parties = &self.parties;
        if parties.meets_at(from, to).is_some() {
            return None;
        }
        let (host, first) = parties.gate(from, to)?;
        let gate = *parties.gates.iter().find(|gate| gate.host == host && gate.hub)?;
        let who = if first { to } else { from };
        let routes = match who {
            Party::Internet => Vec::new(),
            Party::Host(one) if parties.router == Some(one) => Vec::new(),
            Party::Host(one) => parties.routes_lacking(gate, one),
            Party::Device(zone) => {
                let nets = parties.zones[gate.zone].subnets();
                let via = |net: Subnet| {
                    let own = parties.host_addresses(gate.host, Family::of(net.0.network()));
                    own.into_iter()
                        .find(|via| parties.zones[zone].entry.subnet.iter().any(|it| it.value.0.contains(via)))
                };
                nets.filter_map(|net| Some((net, via(net)?))).collect()
            }
        };
        (!routes.is_empty()).then_some(Astray { who, gate: gate.host, routes })
    }
}

/// Whether a host says itself that one of these addresses leads to a network: by a route, or by its gateway where it has no
/// nearer route.
fn leads(host: &Host, net: Subnet, gates: &[IpAddr]) -> bool {
    let interfaces = || host.interfaces.values();
    let routed = |interface: &Interface| {
        interface.routes.iter().any(|(to, route)| {
            let within = to.parse::<InterfaceAddress>().is_ok_and(|to| to.0.contains(&net.0));
            within && route.via.as_ref().is_some_and(|via| gates.contains(&via.value))
        })
    };
    let gateway = |interface: &Interface| interface.gateway.iter().any(|gateway| gates.contains(&gateway.value));
    interfaces().any(|one| routed(&one.value) || gateway(&one.value))
}

/// Routes into the lab's VPN that a host gets, because Labwright sets up its interfaces and WireGuard ends at a host beside
/// it. A route that the lab file writes for the same network counts instead.
pub fn implied(parsed: &Parsed, name: &str, host: &Host) -> Vec<Implied> {
    let lab = &parsed.lab;
    let Some(wireguard) = lab.edge.vpn.as_ref().and_then(|vpn| vpn.wireguard.as_ref()) else { return Vec::new() };
    let router = lab.edge.router.as_ref().and_then(|router| router.on.as_ref()).map(|on| on.value.as_str());
    let end = wireguard.on.as_ref().map(|on| on.value.as_str()).filter(|end| Some(*end) != router && *end != name);
    let (Some(end), Some(zone)) = (end.and_then(|end| lab.host(end)), wireguard_zone(lab)) else { return Vec::new() };
    if host.interfaces.is_empty() || guard(lab, host) == Guard::Foreign {
        return Vec::new();
    }
    let own = lab.network.zones.get(zone).into_iter().flat_map(|zone| zone.subnet.iter().map(|subnet| subnet.value));
    let nets: BTreeSet<Subnet> = own.chain(sites(lab)).collect();
    // A peer of the VPN is in it, and needs no way there.
    let within = |net: &Subnet| host.address.iter().any(|address| net.0.contains(&address.value));
    let said = |net: &Subnet| {
        host.interfaces
            .values()
            .any(|one| one.routes.keys().any(|to| to.parse::<InterfaceAddress>().is_ok_and(|to| to.0.trunc() == net.0)))
    };
    let mut all = Vec::new();
    for net in nets.iter().filter(|net| !within(net) && !said(net)) {
        let family = Family::of(net.0.network());
        let vias = || end.address.iter().map(|one| one.value).filter(|via| Family::of(*via) == family);
        let found = host.interfaces.iter().find_map(|(interface, entry)| {
            let via = vias().find(|via| entry.addresses.iter().any(|own| own.value.0.contains(via)))?;
            Some(Implied { interface: interface.clone(), to: *net, via })
        });
        all.extend(found);
    }
    all
}
