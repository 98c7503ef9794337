//! Who listens where on this machine.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// TCP_LISTEN, as `/proc/net/tcp` writes it; proc_pid_net(5).
const LISTENS: &str = "0A";

/// The TCP ports that somebody listens on, and who, in words.
pub fn listening() -> BTreeMap<u16, String> {
    let sockets = sockets();
    let owners = owners(&sockets.values().copied().collect::<Vec<_>>());
    sockets.into_iter().map(|(port, inode)| (port, owner(owners.get(&inode)))).collect()
}

/// The first and the last port that the kernel gives to connections that this machine makes; ip(7). `None` where it does not say.
pub fn passing() -> Option<(u16, u16)> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let (first, last) = text.trim().split_once(char::is_whitespace)?;
    Some((first.parse().ok()?, last.trim().parse().ok()?))
}

/// Who has one port; `None` where nobody listens there.
pub fn holder(port: u16) -> Option<String> {
    let inode = *sockets().get(&port)?;
    Some(owner(owners(&[inode]).get(&inode)))
}

fn owner(found: Option<&u32>) -> String {
    match found {
        Some(pid) => format!("`{}` (process {pid})", super::kin::name(*pid)),
        None => "a process of another user".to_string(),
    }
}

/// Whether a server could listen on a port now.
pub fn is_free(port: u16) -> bool {
    let bound = |address: SocketAddr| -> std::io::Result<()> {
        let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        // Connections of before that are not forgotten yet are no server.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())
    };
    let taken = |result: std::io::Result<()>| result.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse);
    // A kernel without IPv6 has nobody there.
    !taken(bound((Ipv4Addr::UNSPECIFIED, port).into())) && !taken(bound((Ipv6Addr::UNSPECIFIED, port).into()))
}

/// Listening sockets, by port: their inodes.
fn sockets() -> BTreeMap<u16, u64> {
    let mut all = BTreeMap::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(file).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(&LISTENS), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9)) else {
                continue;
            };
            let port = local.rsplit(':').next().and_then(|port| u16::from_str_radix(port, 16).ok());
            if let (Some(port), Ok(inode)) = (port, inode.parse()) {
                all.insert(port, inode);
            }
        }
    }
    all
}

/// The processes that have sockets open, by inode.
fn owners(inodes: &[u64]) -> HashMap<u64, u32> {
    let mut all = HashMap::new();
    for pid in super::kin::processes() {
        if all.len() == inodes.len() {
            break;
        }
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            let Ok(link) = fs::read_link(entry.path()) else { continue };
            let inode = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode.filter(|inode| inodes.contains(inode)) {
                all.entry(inode).or_insert(pid);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_until_somebody_listens() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free(port));
        let who = holder(port).unwrap();
        assert!(who.contains(&format!("process {}", std::process::id())), "{who}");
        assert_eq!(listening().get(&port), Some(&who));
        drop(listener);
        assert!(is_free(port) && holder(port).is_none());
    }
}
