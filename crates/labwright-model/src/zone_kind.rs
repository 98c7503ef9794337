//! What kind a zone is where the file does not say: as its interface, its name and its hosts tell. The one place that
//! guesses. A zone that tells nothing has no kind, and no rule says anything of it.

use std::collections::HashSet;

use crate::lab::{Host, Lab, Os, Zone, ZoneKind};
use crate::resolve::{Derived, Placement, role_hosts};
use crate::span::Spanned;

const WORDS: &[(ZoneKind, &[&str])] = &[
    (ZoneKind::Vpn, &["vpn", "wireguard", "wg", "tailscale", "tailnet", "headscale", "zerotier"]),
    (ZoneKind::Management, &["management", "mgmt", "mgt", "admin", "ipmi", "bmc", "oob", "hypervisors", "proxmox"]),
    (ZoneKind::Guest, &["guest", "guests", "visitor", "visitors"]),
    (ZoneKind::Iot, &["iot", "things", "camera", "cameras", "cctv", "cams", "smarthome", "smart", "untrusted"]),
    (ZoneKind::Dmz, &["dmz"]),
    (ZoneKind::Lab, &["lab", "labs", "sandbox", "experiments", "playground"]),
    (
        ZoneKind::Clients,
        &[
            "client",
            "clients",
            "user",
            "users",
            "desktop",
            "desktops",
            "workstations",
            "laptops",
            "trusted",
            "lan",
            "wlan",
            "wifi",
            "family",
            "kids",
            "office",
        ],
    ),
    (ZoneKind::Servers, &["server", "servers", "services", "apps", "docker", "containers", "data", "databases"]),
];

/// Gives each zone without a kind the one that is guessed, and notes why.
pub(crate) fn guess(lab: &mut Lab, placements: &[Placement], derived: &mut Vec<Derived>) {
    let hosts = by_hosts(lab, placements);
    for (name, zone) in &mut lab.network.zones.0 {
        if zone.kind.is_some() {
            continue;
        }
        let word = by_word(name);
        // An interface says more than a name: `vpn` on `eth5` is none.
        let guessed = match &zone.value {
            Zone { interface: Some(interface), .. } if carries_vpn(interface) => {
                Some((ZoneKind::Vpn, "guessed from its interface"))
            }
            Zone { interface: Some(_), .. } if word == Some(ZoneKind::Vpn) => None,
            _ => word.map(|kind| (kind, "guessed from its name")),
        };
        let Some((kind, because)) =
            guessed.or_else(|| hosts(name, &zone.value).map(|kind| (kind, "guessed from its hosts")))
        else {
            continue;
        };
        zone.value.kind = Some(Spanned::from(kind));
        derived.push(Derived { at: format!("network.zones.{name}.kind"), because: because.into() });
    }
}

fn carries_vpn(interface: &str) -> bool {
    ["tailscale", "wg", "zt", "tun"].iter().any(|vpn| interface.starts_with(vpn))
}

fn by_word(name: &str) -> Option<ZoneKind> {
    let name = name.to_lowercase();
    // The order of the kinds decides: `guest-wifi` is for guests.
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty()).collect();
    WORDS.iter().find(|(_, known)| words.iter().any(|word| known.contains(word))).map(|(kind, _)| *kind)
}

/// What the hosts of a zone tell: nothing but hypervisors and the router manage, and one that serves makes it servers'.
fn by_hosts(lab: &Lab, placements: &[Placement]) -> impl Fn(&str, &Zone) -> Option<ZoneKind> + use<> {
    let managing: HashSet<&str> = hypervisors(lab).into_iter().chain(router(lab)).collect();
    let serving: HashSet<String> = role_hosts(lab)
        .into_iter()
        .filter(|(_, _, role)| role.starts_with("platform.") || *role == "compute.docker_hosts")
        .map(|(host, _, _)| host)
        .chain(placements.iter().flat_map(|placement| placement.entry.on.iter().map(|on| on.value.clone())))
        .collect();
    struct Seen {
        zone: Option<String>,
        addresses: Vec<std::net::IpAddr>,
        manages: bool,
        serves: bool,
    }
    let hosts = lab.compute.hosts.iter().map(|(name, host)| Seen {
        zone: host.zone.as_ref().map(|zone| zone.value.clone()),
        addresses: host.address.iter().map(|address| address.value).collect(),
        manages: managing.contains(name.as_str()),
        serves: serving.contains(name),
    });
    let hosts: Vec<Seen> = hosts.collect();
    move |name, zone| {
        let inside = |address: &std::net::IpAddr| zone.subnet.iter().any(|subnet| subnet.value.0.contains(address));
        let mut here = hosts.iter().filter(|host| match &host.zone {
            Some(zone) => zone == name,
            None => host.addresses.iter().any(inside),
        });
        let first = here.next()?;
        let (manages, serves) = here.fold((first.manages, first.serves), |(manages, serves), host| {
            (manages && host.manages, serves || host.serves)
        });
        match manages {
            true => Some(ZoneKind::Management),
            false => serves.then_some(ZoneKind::Servers),
        }
    }
}

/// The host that routes, where the lab names one.
pub fn router(lab: &Lab) -> Option<&str> {
    lab.edge.router.as_ref()?.on.as_ref().map(|on| on.value.as_str())
}

/// Hosts that carry others: listed, by their system, or because a guest is on them.
pub fn hypervisors(lab: &Lab) -> HashSet<&str> {
    let hosts = lab.compute.hosts.iter();
    let listed = lab.compute.proxmox.iter().map(|host| host.value.as_str());
    let by_os = hosts.clone().filter(|(_, host)| host.os == Os::Proxmox).map(|(name, _)| name.as_str());
    listed.chain(by_os).chain(hosts.filter_map(|(_, host)| carrier(host))).collect()
}

/// The hypervisor that a host is a guest of.
pub fn carrier(host: &Host) -> Option<&str> {
    host.vm.iter().chain(&host.lxc).find_map(|guest| guest.on.as_ref()).map(|on| on.value.as_str())
}
