//! From which machine a file system comes that is mounted over the network: NFS, SMB and SSHFS, by a host or by a volume of a
//! container. The one reader of that for rules, for the matrix, for `blast` and for what is backed up where. Judges nothing.

use std::collections::HashMap;

use labwright_model::lab::{Host, Lab, Mount};
use labwright_model::{Parsed, Placement, Span, compose};

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
        self.0.get(bare(server).to_lowercase().as_str()).copied()
    }
}

/// A server as it is called elsewhere: without the brackets of an IPv6 address and the dot that ends a full name.
pub fn bare(server: &str) -> &str {
    server.trim_matches(['[', ']']).trim_end_matches('.')
}

/// How a file system is got over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Nfs,
    Smb,
    Ssh,
    /// Another one (`ceph`, `glusterfs`), whose ports are not known here.
    Other,
}

impl Protocol {
    /// The TCP port of the server. NFS before version 4 asks for more than this one.
    pub fn port(self) -> Option<u16> {
        match self {
            Protocol::Nfs => Some(2049),
            Protocol::Smb => Some(445),
            Protocol::Ssh => Some(22),
            Protocol::Other => None,
        }
    }

    /// As a flow names it.
    pub fn allow(self) -> Option<&'static str> {
        match self {
            Protocol::Nfs => Some("nfs"),
            Protocol::Smb => Some("445/tcp"),
            Protocol::Ssh => Some("ssh"),
            Protocol::Other => None,
        }
    }

    fn of(kind: &str) -> Option<Protocol> {
        match kind {
            "nfs" | "nfs4" => Some(Protocol::Nfs),
            "cifs" | "smb3" => Some(Protocol::Smb),
            "sshfs" | "fuse.sshfs" => Some(Protocol::Ssh),
            _ => None,
        }
    }
}

/// What a host mounts from another machine, by itself or as a volume of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<'a> {
    /// Where it is seen, or the volume's name.
    pub path: &'a str,
    /// The other machine, as it is written there: a name or an address.
    pub server: &'a str,
    pub protocol: Protocol,
    /// Where the file says so.
    pub span: Span,
    /// Whether it is mounted when it is used, and not at the start of the host.
    pub automount: bool,
}

/// All that a host mounts over the network.
pub fn over_network(host: &Host) -> impl Iterator<Item = Share<'_>> {
    host.mounts.iter().filter_map(|(path, mount)| {
        let (source, protocol) = source(mount)?;
        let span = mount.nfs.as_ref().or(mount.device.as_ref()).map_or(mount.span, |source| source.span);
        Some(Share { path, server: source, protocol, span, automount: mount.automount })
    })
}

/// The machine that a host mounts a file system from, as it is written there; `None` for a disk of its own.
pub fn server(mount: &Mount) -> Option<&str> {
    source(mount).map(|(server, _)| server)
}

fn source(mount: &Mount) -> Option<(&str, Protocol)> {
    match (&mount.nfs, &mount.device) {
        (Some(nfs), _) => Some((exporter(nfs)?, Protocol::Nfs)),
        (None, Some(device)) => {
            let said = mount.fstype.as_ref().and_then(|kind| Protocol::of(kind));
            let protocol = said.unwrap_or(match (device.starts_with("//"), device.contains('@')) {
                (true, _) => Protocol::Smb,
                (false, true) => Protocol::Ssh,
                (false, false) => Protocol::Other,
            });
            Some((exporter(device)?, protocol))
        }
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

/// The machine that a volume is mounted from, and how: Docker's `local` driver takes what `mount` takes, with the address of
/// an NFS server among its options (`o: addr=…`).
pub fn volume_server(volume: &compose::Volume) -> Option<(&str, Protocol)> {
    let option = |name: &str| volume.driver_opts.get(name).and_then(|value| value.value.as_deref());
    let protocol = Protocol::of(option("type")?)?;
    let addressed = option("o").and_then(|options| options.split(',').find_map(|one| one.trim().strip_prefix("addr=")));
    Some((addressed.or_else(|| exporter(option("device")?))?, protocol))
}

/// The volumes of a placed service that its hosts mount over the network.
pub fn shares<'a>(parsed: &'a Parsed, placement: &Placement) -> impl Iterator<Item = Share<'a>> + use<'a> {
    let volumes = parsed.project(placement).into_iter().flat_map(|project| project.volumes.iter());
    volumes.filter_map(|(name, volume)| {
        let (server, protocol) = volume_server(volume)?;
        Some(Share { path: name, server, protocol, span: volume.span, automount: true })
    })
}
