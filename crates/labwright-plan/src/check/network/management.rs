//! What administers the lab, and which flow leads to it. Used by rules of the edge and of the network, so that one flow
//! is told once.

use labwright_model::lab::Lab;
use labwright_model::units::{Protocol, Traffic};

use super::reach::{End, Reach, is_only, lets};
use super::telling::Stake;
use super::zone_kind::{Kinds, ZoneKind, router};

/// Names, time, addresses, logs, and the VPN itself: what a management zone may be asked for without being administered.
pub const HARMLESS: &[u16] = &[53, 67, 123, 514, 5353, 51820];

/// Whether it is a way in for an administrator: SSH, or the web interface of Proxmox.
pub fn administers(traffic: &Traffic) -> bool {
    lets(traffic, 22, Protocol::Tcp) || lets(traffic, 8006, Protocol::Tcp)
}

/// Where the web interfaces and consoles of what stands in a management zone listen: switches, boards and consoles with HTTP
/// and HTTPS, UniFi 8443, Proxmox Backup Server 8007, Synology 5000 and 5001, Portainer 9443, Cockpit 9090, screens 3389 and 5900.
const INTERFACES: &[u16] = &[80, 443, 3389, 5000, 5001, 5900, 8007, 8443, 9090, 9443];

/// As `opened`, for whoever has no business there at all: users and the internet. A machine in a management zone that serves
/// nothing is there to be administered, and its web pages are for that.
pub fn opened_to_users(
    lab: &Lab,
    kinds: &Kinds<'_>,
    reach: &Reach<'_>,
    to: End<'_>,
    allow: &[Traffic],
) -> Option<(String, Stake)> {
    let managed = || {
        let End::Host(host) = to else { return None };
        let zone = reach.zone(host).filter(|zone| kinds.zone(zone) == Some(ZoneKind::Management))?;
        let page = |traffic: &Traffic| INTERFACES.iter().any(|port| lets(traffic, *port, Protocol::Tcp));
        let opened = !is_serving(lab, host) && router(lab) != Some(host) && allow.iter().any(page);
        opened.then(|| (format!("host `{host}` in management zone `{zone}`"), kinds.stake(host)))
    };
    opened(lab, kinds, reach, to, allow).or_else(managed)
}

/// The management interface that a flow to here opens, in words, with what hangs on it.
pub fn opened(
    lab: &Lab,
    kinds: &Kinds<'_>,
    reach: &Reach<'_>,
    to: End<'_>,
    allow: &[Traffic],
) -> Option<(String, Stake)> {
    let administered = allow.iter().any(administers);
    match to {
        End::Zone(zone) if kinds.zone(zone) == Some(ZoneKind::Management) => {
            let touched = allow.iter().any(|traffic| !is_only(traffic, HARMLESS));
            touched.then(|| (format!("management zone `{zone}`"), kinds.stake_in(zone)))
        }
        End::Zone(zone) => {
            let host = kinds.hypervisor_in(zone).filter(|_| administered)?;
            Some((format!("hypervisor `{host}` in zone `{zone}`"), kinds.stake(host)))
        }
        End::Host(host) if kinds.is_hypervisor(host) => {
            administered.then(|| (format!("hypervisor `{host}`"), kinds.stake(host)))
        }
        End::Host(host) if router(lab) == Some(host) => {
            let web = |traffic: &Traffic| lets(traffic, 443, Protocol::Tcp) || lets(traffic, 80, Protocol::Tcp);
            let opened = administered || (!is_serving(lab, host) && allow.iter().any(web));
            opened.then(|| (format!("router `{host}`"), kinds.stake(host)))
        }
        End::Host(host) => {
            let zone = reach.zone(host).filter(|zone| kinds.zone(zone) == Some(ZoneKind::Management))?;
            administered.then(|| (format!("host `{host}` in management zone `{zone}`"), kinds.stake(host)))
        }
        End::Service(_) | End::Internet => None,
    }
}

/// Whether the web ports of a router may be those of something else on it.
pub fn is_serving(lab: &Lab, host: &str) -> bool {
    let proxy = lab.platform.reverse_proxy.iter().flat_map(|proxy| proxy.on.iter());
    let services = lab.services.values().flat_map(|service| service.on.iter());
    proxy.chain(services).any(|on| on.value == host)
}
