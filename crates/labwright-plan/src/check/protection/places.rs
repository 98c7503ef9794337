//! On which machine a path, an address or a repository is, and what two machines have in common.
//! Answers "unknown" where the lab file does not tell; judges nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use labwright_model::lab::{Repository, Zone};
use labwright_model::{Parsed, Placement};

use crate::mounted::{Servers, bare, server, shares};
use crate::topology::{Domain, Topology};

pub struct Places<'a> {
    topology: Arc<Topology<'a>>,
    /// Hosts by their names and addresses, and by those of the services on them.
    names: HashMap<String, &'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place<'a> {
    /// On a machine of the lab.
    Host(&'a str),
    /// With somebody else.
    Away,
    Unknown,
}

/// What two machines fail together with, the nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shared<'a> {
    Machine(&'a str),
    /// A hypervisor and its storage.
    Storage(&'a str, &'a str),
    Hypervisor(&'a str),
    Domain(&'a str),
}

/// The host of the lab that each repository is on, in the order of the file, whether it says so by name or by address.
pub fn repository_hosts(parsed: &Parsed) -> Vec<Option<&str>> {
    let repositories = parsed.lab.protection.repositories.values();
    // Most name their host, and then nobody has to look for it.
    let places = repositories
        .clone()
        .any(|repository| repository.url.is_some())
        .then(|| Places::of(parsed, Arc::new(Topology::of(parsed))));
    let on = |repository: &'_ Repository| match places.as_ref().map(|places| places.repository(repository)) {
        Some(Place::Host(host)) if repository.on.is_none() => Some(host),
        _ => None,
    };
    let named = |name: &str| parsed.lab.compute.hosts.get_key_value(name).map(|(name, _)| name.as_str());
    repositories.map(|repository| repository.on.as_ref().map_or_else(|| on(repository), |name| named(name))).collect()
}

impl<'a> Places<'a> {
    pub fn of(parsed: &'a Parsed, topology: Arc<Topology<'a>>) -> Places<'a> {
        let lab = &parsed.lab;
        let mut names = Servers::of(lab).0;
        for placement in parsed.placements.iter().filter(|placement| placement.environment.is_none()) {
            let [on] = placement.entry.on.as_slice() else { continue };
            let Some((host, _)) = lab.compute.hosts.get_key_value(&on.value) else { continue };
            let service = placement.service.as_str();
            let urls = placement.entry.url.iter().map(|url| lab.fqdn(url));
            for known in [service.to_string(), lab.fqdn(service)].into_iter().chain(urls) {
                names.entry(known.to_lowercase()).or_insert(host);
            }
        }
        Places { topology, names }
    }

    pub fn repository(&self, repository: &Repository) -> Place<'a> {
        match (&repository.on, &repository.url) {
            (Some(on), None) => self.path(on, repository.path.as_ref().map_or("", |path| path.as_str())),
            (None, Some(url)) => self.url(url),
            _ => Place::Unknown,
        }
    }

    /// Where the data of a service on a host is: its paths, each with its machine; the host itself for all else.
    pub fn data(&self, placement: &'a Placement, host: &str) -> Vec<(Place<'a>, Option<&'a str>)> {
        let mut places: Vec<(Place<'_>, Option<&str>)> = Vec::new();
        for data in placement.entry.data.iter().map(|data| data.value.as_str()).filter(|data| data.starts_with('/')) {
            let place = self.path(host, data);
            if !places.iter().any(|(known, _)| *known == place) {
                places.push((place, Some(data)));
            }
        }
        // A volume may be mounted over the network, as a path may be.
        let shares: Vec<(&str, &str)> =
            shares(self.topology.parsed, placement).map(|share| (share.path, share.server)).collect();
        let share = |data: &str| shares.iter().find(|(name, _)| *name == data).map(|(_, server)| *server);
        for (data, server) in placement.entry.data.iter().filter_map(|data| Some((data.value.as_str(), share(data)?))) {
            let place = self.served(server);
            if !places.iter().any(|(known, _)| *known == place) {
                places.push((place, Some(data)));
            }
        }
        let is_own = |data: &str| !data.starts_with('/') && share(data).is_none();
        if places.is_empty() || placement.entry.data.iter().any(|data| is_own(data)) {
            let own = self.path(host, "");
            if !places.iter().any(|(known, _)| *known == own) {
                places.push((own, None));
            }
        }
        places
    }

    /// The machine that something is mounted from.
    fn served(&self, server: &str) -> Place<'a> {
        let known = self.names.get(&bare(server).to_lowercase());
        known.map_or(Place::Unknown, |server| Place::Host(server))
    }

    /// The machine that a path of a host is on: another one, where it is mounted from there.
    fn path(&self, host: &str, path: &str) -> Place<'a> {
        let Some((name, entry)) = self.topology.parsed.lab.compute.hosts.get_key_value(host) else {
            return Place::Unknown;
        };
        let below = |mount: &str| {
            let mount = mount.trim_end_matches('/');
            path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) && !path.is_empty()
        };
        let mounts = entry.mounts.iter().filter(|(mount, _)| below(mount));
        match mounts.max_by_key(|(mount, _)| mount.len()).and_then(|(_, mount)| server(mount)) {
            Some(server) => self.served(server),
            None => Place::Host(name),
        }
    }

    fn url(&self, url: &str) -> Place<'a> {
        let after_scheme = url.split_once("://").map(|(_, rest)| rest);
        let host = match (after_scheme, url.split_once(':')) {
            (Some(rest), _) => rest.split('/').next().and_then(|authority| authority.rsplit('@').next()),
            (None, Some(("b2" | "azure" | "gs" | "swift", _))) => return Place::Away,
            (None, Some(("s3", rest))) => rest.split('/').next(),
            (None, Some(("sftp", rest))) => rest.rsplit('@').next().and_then(|rest| rest.split([':', '/']).next()),
            (None, Some((login, _))) if login.contains('@') => login.rsplit('@').next(),
            _ => None,
        };
        let host = host.map(|host| host.split(':').next().unwrap_or(host).to_lowercase());
        match host {
            Some(host) => match self.names.get(&host) {
                Some(known) => Place::Host(known),
                None if self.is_public(&host) => Place::Away,
                None => Place::Unknown,
            },
            None => Place::Unknown,
        }
    }

    /// Whether a name or an address is of the world: neither private nor of the lab's own domain.
    fn is_public(&self, host: &str) -> bool {
        match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => !(address.is_private() || address.is_loopback() || address.is_link_local()),
            Ok(IpAddr::V6(_)) => false,
            Err(_) => {
                let domain = self.topology.parsed.lab.domain.to_lowercase();
                let own = [domain.as_str(), "local", "lan", "arpa", "internal", "home"];
                host.contains('.') && !own.iter().any(|own| host.ends_with(&format!(".{own}")) || host == *own)
            }
        }
    }

    /// The nearest thing that takes both machines with it when it fails; a common site is asked for apart from that.
    pub fn shared(&self, a: &'a str, b: &str) -> Option<Shared<'a>> {
        if a == b {
            return Some(Shared::Machine(a));
        }
        let theirs = self.topology.domains(b);
        let common = self.topology.domains(a).into_iter().filter(|domain| theirs.contains(domain));
        let named = common.filter_map(|domain| match domain {
            Domain::Host(host) => Some(Shared::Hypervisor(host)),
            Domain::Storage(host, storage) => Some(Shared::Storage(host, storage)),
            Domain::Shared(name) => Some(Shared::Domain(name)),
            Domain::Site(_) => None,
        });
        named.min()
    }

    /// Whether two machines stand in one place: by their sites, or because one cable reaches both.
    pub fn one_site(&self, a: &'a str, b: &str) -> Option<bool> {
        match (self.topology.site(a), self.topology.site(b)) {
            (Some(a), Some(b)) => Some(a == b),
            (None, None) if self.shared(a, b).is_some() => Some(true),
            (None, None) => (self.is_beside(a, b) || (self.is_wired(a)? && self.is_wired(b)?)).then_some(true),
            _ => None,
        }
    }

    /// Whether two machines that no zone holds have addresses of one home network: the same 192.168.N.0/24. Other private
    /// ranges are those that VPNs lie in, and a VPN reaches any place.
    fn is_beside(&self, a: &str, b: &str) -> bool {
        let network = |host: &str| -> Option<[u8; 3]> {
            let host = self.topology.host(host).filter(|host| host.zone.is_none())?;
            host.address.iter().find_map(|address| match address.value {
                IpAddr::V4(address) => match address.octets() {
                    [192, 168, network, _] => Some([192, 168, network]),
                    _ => None,
                },
                IpAddr::V6(_) => None,
            })
        };
        network(a).is_some_and(|own| network(b) == Some(own))
    }

    pub fn site(&self, host: &str) -> Option<&'a str> {
        self.topology.site(host)
    }

    /// Whether a machine is in a VLAN of the lab, which ends where the house ends.
    fn is_wired(&self, host: &str) -> Option<bool> {
        let zone = self.topology.host(host)?.zone.as_ref()?;
        let zone: &Zone = self.topology.parsed.lab.network.zones.get(&zone.value)?;
        Some(zone.vlan.is_some() && zone.interface.is_none())
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
    fn where_things_are() {
        let parsed = parse(
            "lab.yaml",
            &One(r#"
network: { zones: { servers: { vlan: 20 }, vpn: { interface: wg0 } } }
compute:
  hosts:
    nas: { address: 10.0.0.5, zone: servers }
    pve: { site: home, failure_domain: ups }
    a:
      vm: { on: pve, storage: fast }
      mounts: { /mnt: "nas:/v", /mnt/usb: { device: LABEL=usb, fstype: ext4 }, /far: "10.8.8.8:/x", /cifs: { device: //NAS/x, fstype: cifs } }
    b: { vm: { on: pve, storage: fast } }
    c: { vm: { on: pve, storage: slow } }
    d: { failure_domain: ups }
    e: { zone: servers }
    f: { zone: vpn }
services:
  store: { external: x, on: e, url: s3 }
"#),
        );
        let places = Places::of(&parsed, Arc::new(Topology::of(&parsed)));
        for (path, place) in [
            ("/srv", Place::Host("a")),
            ("", Place::Host("a")),
            ("/mnt/photos", Place::Host("nas")),
            ("/mnt", Place::Host("nas")),
            ("/mntx", Place::Host("a")),
            ("/mnt/usb/x", Place::Host("a")),
            ("/cifs/x", Place::Host("nas")),
            ("/far/x", Place::Unknown),
        ] {
            assert_eq!(places.path("a", path), place, "{path}");
        }
        for (url, place) in [
            ("s3:https://s3.example.net/bucket", Place::Away),
            ("s3:s3.amazonaws.com/bucket", Place::Away),
            ("b2:bucket:path", Place::Away),
            ("rest:http://u:p@NAS:8000/", Place::Host("nas")),
            ("sftp:u@10.0.0.5:/x", Place::Host("nas")),
            ("u@nas.lab.home.arpa:/x", Place::Host("nas")),
            ("ssh://u@u1.example.org:23/./x", Place::Away),
            ("s3:http://s3.lab.home.arpa:9000/x", Place::Host("e")),
            ("rest:http://10.9.9.9/", Place::Unknown),
            ("rest:http://other.lab.home.arpa/", Place::Unknown),
            ("rclone:remote:path", Place::Unknown),
            ("/mnt/usb", Place::Unknown),
        ] {
            assert_eq!(places.url(url), place, "{url}");
        }
        assert_eq!(places.shared("a", "a"), Some(Shared::Machine("a")));
        assert_eq!(places.shared("a", "b"), Some(Shared::Storage("pve", "fast")));
        assert_eq!(places.shared("a", "c"), Some(Shared::Hypervisor("pve")));
        assert_eq!(places.shared("a", "pve"), Some(Shared::Hypervisor("pve")));
        assert_eq!(places.shared("a", "d"), Some(Shared::Domain("ups")));
        assert_eq!(places.shared("a", "e"), None);
        let sites = [("a", "b"), ("nas", "e"), ("nas", "a"), ("e", "f"), ("d", "e")];
        assert_eq!(sites.map(|(a, b)| places.one_site(a, b)), [Some(true), Some(true), None, None, None]);
    }
}
