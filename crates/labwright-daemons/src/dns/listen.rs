//! Sockets for a resolver: one pair for each core on the same address, so that the kernel spreads clients over them.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen as accept, socket_with};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 256;

/// Why an address could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else answers there, or it is not this host's to take.
    #[error("cannot answer on {address}: {help}")]
    Taken { address: SocketAddr, help: String },
    #[error("{address} cannot be listened on: {error}")]
    System { address: SocketAddr, error: io::Error },
}

/// Binds `count` pairs of sockets to one address.
///
/// # Errors
/// Who is known to hold the port, and what to do about it.
pub fn listen(address: SocketAddr, count: usize) -> Result<Vec<(UdpSocket, TcpListener)>, ListenError> {
    // A port that others share would be taken from them in part: the first look is without sharing.
    let alone = one(address, SocketType::DGRAM, false).and_then(|udp| {
        let address = UdpSocket::from(udp).local_addr()?;
        one(address, SocketType::STREAM, false).map(|_| address)
    });
    let address = alone.map_err(|error| explain(address, error))?;
    let pair = |_| -> io::Result<(UdpSocket, TcpListener)> {
        let udp = one(address, SocketType::DGRAM, true)?;
        let tcp = one(address, SocketType::STREAM, true)?;
        accept(&tcp, BACKLOG)?;
        Ok((udp.into(), tcp.into()))
    };
    (0..count.max(1)).map(pair).collect::<io::Result<_>>().map_err(|error| explain(address, error))
}

fn one(address: SocketAddr, kind: SocketType, shared: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, true)?;
    }
    if kind == SocketType::STREAM {
        // A connection of a run before that is not forgotten yet is no other server.
        set_socket_reuseaddr(&socket, true)?;
    }
    if shared {
        set_socket_reuseport(&socket, true)?;
    }
    bind(&socket, &address)?;
    Ok(socket)
}

/// What is in the way of an address, and what to do about it.
pub fn explain(address: SocketAddr, error: io::Error) -> ListenError {
    match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::Taken { address, help: help(address, resolved_stub()) },
        io::ErrorKind::AddrNotAvailable => {
            ListenError::Taken { address, help: "this host has no such address; `platform.dns.listen` names it".into() }
        }
        io::ErrorKind::PermissionDenied => ListenError::Taken {
            address,
            help: "ports below 1024 need the capability CAP_NET_BIND_SERVICE; \
                   the unit that `labwright apply` writes gives it"
                .into(),
        },
        _ => ListenError::System { address, error },
    }
}

/// Whether systemd-resolved's stub is what holds port 53 of this machine: it listens on 127.0.0.53, as nobody else does.
fn resolved_stub() -> bool {
    // An address is written as the machine keeps it; proc_net_udp(5).
    let stub = format!(" {:08X}:{:04X} ", u32::from_ne_bytes([127, 0, 0, 53]), 53);
    std::fs::read_to_string("/proc/net/udp").is_ok_and(|sockets| sockets.contains(&stub))
}

fn help(address: SocketAddr, resolved: bool) -> String {
    if resolved && address.port() == 53 {
        return "systemd-resolved's stub listens on port 53 of this host; take it away with\n  \
                mkdir -p /etc/systemd/resolved.conf.d\n  \
                printf '[Resolve]\\nDNSStubListener=no\\n' > /etc/systemd/resolved.conf.d/labwright.conf\n  \
                ln -sf /run/systemd/resolve/resolv.conf /etc/resolv.conf\n  \
                systemctl restart systemd-resolved\n\
                or leave it there, and let this one listen on the address that the lab knows alone: \
                `platform: { dns: { on: …, listen: ADDRESS } }`"
            .into();
    }
    let port = address.port();
    format!(
        "another program answers there; `ss -lntup sport = :{port}` says which. \
         Stop it, or let one of the two listen on another address: `platform: {{ dns: {{ on: …, listen: ADDRESS }} }}`. \
         If it is the resolver that shall stay, name it: `platform.dns.service`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_pairs_share_one_port() {
        let sockets = listen("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let ports: Vec<u16> = sockets.iter().map(|(udp, _)| udp.local_addr().unwrap().port()).collect();
        assert_eq!(ports.len(), 3);
        assert!(ports.iter().all(|port| *port == ports[0]));
        assert!(sockets.iter().all(|(_, tcp)| tcp.local_addr().unwrap().port() == ports[0]));
    }

    #[test]
    fn a_port_that_is_held_is_told_with_the_way_to_the_holder() {
        for held in ["udp", "tcp"] {
            let (udp, tcp) = (UdpSocket::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
            let address = if held == "udp" { udp.local_addr() } else { tcp.local_addr() }.unwrap();
            let error = listen(address, 2).unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "cannot answer on {address}: another program answers there; `ss -lntup sport = :{}` says which. \
                     Stop it, or let one of the two listen on another address: `platform: {{ dns: {{ on: …, listen: ADDRESS }} }}`. \
                     If it is the resolver that shall stay, name it: `platform.dns.service`",
                    address.port()
                )
            );
        }
    }

    #[test]
    fn the_stub_of_systemd_is_named_with_its_drop_in() {
        let text = help("0.0.0.0:53".parse().unwrap(), true);
        assert!(text.contains("DNSStubListener=no") && text.contains("/etc/systemd/resolved.conf.d/labwright.conf"));
        assert!(!help("0.0.0.0:5353".parse().unwrap(), true).contains("DNSStubListener"));
    }
}
