//! What of a lab is behind its uplink, and what it needs on the other side: who is told of alerts, whose certificates, whose
//! coordination. Says where things are; what follows is for `spread` and `effects`.

use std::collections::HashMap;

use labwright_model::compose::mounts::MountType;
use labwright_model::lab::{Lab, Tls};
use labwright_model::snapshot::proxy::full_name;
use labwright_model::{Parsed, Placement};

use crate::application;
use crate::check::is_public;
use crate::mounted::Servers;

/// Somebody who is told of alerts.
pub struct Receiver<'a> {
    pub name: &'a str,
    pub way: Way,
}

/// How an alert gets to its receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Over the internet.
    Outside,
    /// Through a service of the lab: one of the placements is enough.
    Placed(Vec<usize>),
    /// To a machine of the lab.
    Host(usize),
    /// The address is a secret.
    Unknown,
}

/// The receivers of a lab's alerts, by the addresses that the file gives them.
pub fn receivers<'a>(
    lab: &'a Lab,
    hosts: &HashMap<&'a str, usize>,
    services: &HashMap<&'a str, Vec<usize>>,
    servers: &Servers<'a>,
) -> Vec<Receiver<'a>> {
    let mut names: HashMap<String, &str> = HashMap::new();
    for (name, service) in lab.services.iter() {
        names.extend(service.url.iter().map(|url| (full_name(lab, url), name.as_str())));
    }
    let notify = lab.platform.monitoring.iter().flat_map(|monitoring| monitoring.notify.iter());
    let way = |url: &str| {
        let Some((_, rest)) = url.split_once("://") else { return Way::Unknown };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        if host.contains('$') {
            return Way::Unknown;
        }
        let service = names.get(&full_name(lab, host)).copied().or(Some(host));
        match service.and_then(|service| services.get(service)) {
            Some(placed) => Way::Placed(placed.clone()),
            None => match servers.host(host).and_then(|host| hosts.get(host)) {
                Some(host) => Way::Host(*host),
                None => Way::Outside,
            },
        }
    };
    notify.map(|(name, url)| Receiver { name, way: way(&url.value) }).collect()
}

/// Which hosts are at the other end of the lab's uplink: at another site than the router's (or where most hosts are), with a
/// provider, or with an address of the internet and no site.
pub fn beyond(parsed: &Parsed, router: Option<usize>, guests: &[Vec<usize>]) -> Vec<bool> {
    let hosts: Vec<_> = parsed.lab.compute.hosts.values().collect();
    let site = |n: usize| hosts[n].site.as_ref().map(|site| site.value.as_str());
    let mut sites: HashMap<&str, usize> = HashMap::new();
    for site in (0..hosts.len()).filter(|n| hosts[*n].provider.is_none()).filter_map(site) {
        *sites.entry(site).or_default() += 1;
    }
    let most = sites.iter().max_by_key(|(name, count)| (**count, std::cmp::Reverse(**name))).map(|(name, _)| *name);
    let home = router.and_then(site).or(most);
    let mut beyond: Vec<bool> = (0..hosts.len())
        .map(|n| match site(n) {
            _ if router == Some(n) => false,
            Some(site) => home.is_some_and(|home| home != site),
            None => hosts[n].provider.is_some() || hosts[n].address.iter().any(|address| is_public(&address.value)),
        })
        .collect();
    for (on, guests) in guests
        .iter()
        .enumerate()
        .filter(|(on, _)| beyond[*on])
        .map(|(on, guests)| (on, guests.clone()))
        .collect::<Vec<_>>()
    {
        for guest in guests.into_iter().filter(|guest| site(*guest).is_none()) {
            beyond[guest] = beyond[on];
        }
    }
    beyond
}

/// The router of a zone that has another one than the lab's: a machine of another zone has the first address of its subnet,
/// as routers do, and the lab's router has no address there.
pub fn own_router(lab: &Lab, zone: &str, router: usize) -> Option<usize> {
    let entry = lab.network.zones.get(zone)?;
    let hosts: Vec<_> = lab.compute.hosts.values().collect();
    let within = |n: usize| {
        let inside = |address: &std::net::IpAddr| entry.subnet.iter().any(|subnet| subnet.value.0.contains(address));
        hosts[n].address.iter().any(|address| inside(&address.value))
    };
    let first = |n: usize| {
        let is_first = |address: &std::net::IpAddr| {
            entry.subnet.iter().any(|subnet| subnet.value.0.hosts().next().as_ref() == Some(address))
        };
        hosts[n].address.iter().any(|address| is_first(&address.value))
    };
    if within(router) {
        return None;
    }
    let elsewhere = |n: &usize| hosts[*n].zone.as_ref().is_some_and(|own| own.value != zone);
    (0..hosts.len()).filter(|n| *n != router).filter(elsewhere).find(|n| first(*n))
}

/// The authority outside that the lab's certificates come from.
pub fn authority(lab: &Lab) -> Option<&str> {
    let proxy = lab.platform.reverse_proxy.as_ref()?;
    let Tls { acme, off, .. } = &proxy.tls;
    let acme = acme.as_ref().filter(|_| !off)?;
    let host = acme.split_once("://").map(|(_, rest)| rest.split(['/', ':']).next().unwrap_or_default());
    // A directory of the lab's own (step-ca) needs no uplink.
    let own = host.is_some_and(|host| {
        let domain = lab.domain.to_lowercase();
        host == domain || host.ends_with(&format!(".{domain}")) || lab.host(host).is_some()
    });
    (!own).then_some(acme.value.as_str())
}

/// Whether a placed service is this application, by whatever the file says of it.
pub fn is_application(parsed: &Parsed, placement: &Placement, known: &[&str]) -> bool {
    let entry = &placement.entry;
    let is = |name: &str| known.contains(&name.to_lowercase().as_str());
    let program = |run: &labwright_model::lab::Run| {
        run.command.first().is_some_and(|command| {
            is(command.split_whitespace().next().unwrap_or_default().rsplit('/').next().unwrap_or_default())
        })
    };
    let image = |image: &str| {
        let name = image.split('@').next().unwrap_or(image);
        let last = name.rfind('/').map_or(0, |at| at + 1);
        let repository = name[last..].find(':').map_or(name, |colon| &name[..last + colon]);
        is(&application::of_image(repository))
    };
    entry.catalogue.as_ref().is_some_and(|name| is(name))
        || entry.run.as_ref().is_some_and(program)
        || parsed.project(placement).is_some_and(|project| {
            project.enabled().filter_map(|(_, service)| service.image.as_ref()).any(|name| image(name))
        })
}

/// Whether something of the lab is fetched from outside when it is deployed: an image of a registry that is not the lab's.
pub fn fetches(parsed: &Parsed) -> bool {
    let registry = parsed.lab.platform.registry.is_some();
    let domain = parsed.lab.domain.to_lowercase();
    let mut images = parsed.placements.iter().flat_map(|placement| {
        let project = parsed.project(placement).into_iter();
        project.flat_map(|project| project.enabled()).filter_map(|(_, service)| service.image.as_ref())
    });
    images.any(|image| {
        let from = image.split('/').next().unwrap_or_default();
        !(registry && from.contains('.') && from.to_lowercase().ends_with(&domain))
    })
}

/// The folders of its host that a placement's containers see.
pub fn folders<'a>(parsed: &'a Parsed, placement: &Placement) -> Vec<&'a str> {
    let Some(project) = parsed.project(placement) else { return Vec::new() };
    let mounts = project.enabled().flat_map(|(_, service)| service.volumes.iter());
    let bound = mounts.filter(|mount| mount.kind == MountType::Bind).filter_map(|mount| mount.source.as_ref());
    let paths = bound.map(|source| source.value.as_str());
    // Who sees the whole machine uses no part of it, and what is beside a Compose file is on no host.
    paths.filter(|path| path.len() > 1 && path.starts_with('/')).collect()
}
