//! From where a service may be reached, as networks. The proxy enforces what `expose` says, beside any firewall.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::lab::{Expose, Lab, ReverseProxy, Zone};
use crate::units::Subnet;
use crate::{Parsed, Placement};

/// The host itself.
pub const LOOPBACK: &[&str] = &["127.0.0.0/8", "::1/128"];
/// Networks that no internet routes: RFC 1918, RFC 4193, link-local addresses.
const PRIVATE: &[&str] = &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"];
/// Addresses that Tailscale gives out; tailscale.com/kb/1015.
const TAILSCALE: &[&str] = &["100.64.0.0/10", "fd7a:115c:a1e0::/48"];

fn nets(texts: &[&str]) -> Vec<Subnet> {
    texts.iter().filter_map(|text| text.parse::<IpNet>().ok()).map(Subnet).collect()
}

/// The networks that no internet routes, and the host itself.
pub fn private() -> Vec<Subnet> {
    let mut all = nets(LOOPBACK);
    all.extend(nets(PRIVATE));
    all
}

fn of_address(address: IpAddr) -> Subnet {
    Subnet(IpNet::from(address))
}

/// Every zone with its name.
pub fn zones(lab: &Lab) -> impl Iterator<Item = (&str, &Zone)> {
    lab.network.zones.iter().map(|(name, zone)| (name.as_str(), &zone.value))
}

fn words(name: &str) -> impl Iterator<Item = String> {
    name.to_lowercase().split(|c: char| !c.is_ascii_alphabetic()).map(str::to_string).collect::<Vec<_>>().into_iter()
}

/// Whether a zone is a VPN: as its interface says, or as its name does.
pub fn is_vpn(name: &str, zone: &Zone) -> bool {
    match &zone.interface {
        Some(interface) => ["tailscale", "wg", "zt", "tun"].iter().any(|vpn| interface.starts_with(vpn)),
        None => words(name).any(|word| {
            matches!(word.as_str(), "vpn" | "wireguard" | "wg" | "tailscale" | "tailnet" | "headscale" | "zerotier")
        }),
    }
}

/// Zones of people who are not the lab's own, as their names say: visitors, and devices that nobody logs in to.
fn is_foreign(name: &str) -> bool {
    words(name).any(|word| {
        matches!(
            word.as_str(),
            "guest"
                | "guests"
                | "visitor"
                | "visitors"
                | "iot"
                | "things"
                | "camera"
                | "cameras"
                | "cctv"
                | "cams"
                | "smarthome"
        )
    })
}

/// The networks that a service may be reached from; `None`: from everywhere.
pub fn from(parsed: &Parsed, placement: &Placement) -> Option<Vec<Subnet>> {
    let lab = &parsed.lab;
    let mut all = match placement.entry.expose {
        Expose::Public => return None,
        Expose::Lan => lan(lab),
        Expose::Vpn => vpn(lab),
        Expose::Nowhere => users(parsed, &placement.service),
    };
    all.extend(nets(LOOPBACK));
    all.sort();
    all.dedup();
    Some(all)
}

/// The lab's own zones, VPNs among them; guests and things are not users of the lab. Without zones: all that is private.
fn lan(lab: &Lab) -> Vec<Subnet> {
    let own = zones(lab).filter(|(name, _)| !is_foreign(name));
    let mut all: Vec<Subnet> = own.flat_map(|(_, zone)| zone.subnet.iter().map(|net| net.value)).collect();
    if all.is_empty() {
        all = private();
    }
    all.extend(vpn(lab));
    all
}

fn vpn(lab: &Lab) -> Vec<Subnet> {
    let zones = zones(lab).filter(|(name, zone)| is_vpn(name, zone));
    let mut all: Vec<Subnet> = zones.flat_map(|(_, zone)| zone.subnet.iter().map(|net| net.value)).collect();
    let Some(declared) = &lab.edge.vpn else { return all };
    if declared.tailscale.is_some() && all.is_empty() {
        all = nets(TAILSCALE);
    }
    if let Some(wireguard) = &declared.wireguard {
        let peers = wireguard.peers.values().filter_map(|peer| peer.address.as_ref());
        all.extend(peers.map(|address| of_address(address.value)));
    }
    all
}

/// The hosts of the services that need one.
fn users(parsed: &Parsed, service: &str) -> Vec<Subnet> {
    let needing = parsed.placements.iter().filter(|other| other.entry.needs.iter().any(|need| need.value == service));
    let hosts = needing.flat_map(|other| other.entry.on.iter()).filter_map(|on| parsed.lab.host(on));
    hosts.flat_map(|host| host.address.iter().map(|address| of_address(address.value))).collect()
}

/// Proxies whose word about a client is believed: those named, and the host of the tunnel.
pub fn trusted(parsed: &Parsed, proxy: &ReverseProxy) -> Vec<Subnet> {
    let lab = &parsed.lab;
    let mut all: Vec<Subnet> = proxy.trusted.iter().map(|net| net.value).collect();
    let cloudflare = lab.edge.public.as_ref().and_then(|public| public.cloudflare.as_ref());
    let tunnel = cloudflare.and_then(|cloudflare| cloudflare.tunnel.as_ref()).and_then(|tunnel| tunnel.on.as_ref());
    if let Some(on) = tunnel {
        let addresses = lab.host(on).into_iter().flat_map(|host| host.address.iter());
        all.extend(addresses.map(|address| of_address(address.value)));
        if proxy.on.iter().any(|host| host.value == on.value) {
            all.extend(nets(LOOPBACK));
        }
    }
    all.sort();
    all.dedup();
    all
}
