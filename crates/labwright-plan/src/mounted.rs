//! From which machine of the lab a file system comes that is mounted over the network: NFS and SMB, by a host or by a
//! volume of a container. Judges nothing.

use std::collections::HashMap;

use labwright_model::lab::{Lab, Mount};
use labwright_model::{Parsed, Placement, compose};

/// Hosts by what they may be called where something is mounted: name, full name, address.
pub struct Servers<'a>(pub HashMap<String, &'a str>);

impl<'a> Servers<'a> {
    pub fn of(lab: &'a Lab) -> Servers<'a> {
        let mut names: HashMap<String, &str> = HashMap::new();
        for (name, host) in lab.compute.hosts.iter() {
            let addresses = host.address.iter().map(|address| address.value.to_string());
            for known in [name.to_lowercase(), lab.fqdn(name).to_lowercase()].into_iter().chain(addresses) {
                names.entry(known).or_insert(name);
            }
        }
        Servers(names)
    }

    /// The host of the lab that a server's name or address stands for.
    pub fn host(&self, server: &str) -> Option<&'a str> {
        self.0.get(server.trim_matches(['[', ']']).trim_end_matches('.').to_lowercase().as_str()).copied()
    }
}

/// The machine that a host mounts a file system from, as it is written there; `None` for a disk of its own.
pub fn server(mount: &Mount) -> Option<&str> {
    match (&mount.nfs, &mount.device) {
        (Some(nfs), _) => exporter(nfs),
        (None, Some(device)) => exporter(device),
        (None, None) => None,
    }
}

/// The machine of `//HOST/SHARE`, `HOST:/PATH` or `USER@HOST:/PATH`.
fn exporter(device: &str) -> Option<&str> {
    let server = match device.strip_prefix("//") {
        Some(share) => share.split('/').next()?,
        None => device.split_once(":/")?.0.rsplit('@').next()?,
    };
    (!server.is_empty() && !server.contains('/')).then_some(server)
}

/// The machine that a volume is mounted from: Docker's `local` driver takes what `mount` takes, with the address of an NFS
/// server among its options (`o: addr=…`).
pub fn volume_server(volume: &compose::Volume) -> Option<&str> {
    let option = |name: &str| volume.driver_opts.get(name).and_then(|value| value.value.as_deref());
    let over_network = |kind: &str| ["nfs", "nfs4", "cifs", "smb3"].contains(&kind);
    option("type").filter(|kind| over_network(kind))?;
    let addressed = option("o").and_then(|options| options.split(',').find_map(|one| one.trim().strip_prefix("addr=")));
    addressed.or_else(|| exporter(option("device")?))
}

/// The volumes of a placed service that are mounted over the network, by their names, each with its server.
pub fn shares<'a>(parsed: &'a Parsed, placement: &Placement) -> impl Iterator<Item = (&'a str, &'a str)> {
    let volumes = parsed.project(placement).into_iter().flat_map(|project| project.volumes.iter());
    volumes.filter_map(|(name, volume)| Some((name.as_str(), volume_server(volume)?)))
}
