//! Sockets by address, for connections and for datagrams. They outlive snapshots, and through a successor or the service
//! manager the process too.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};

use rustix::net::SocketType;
use sd_notify::NotifyState;
use socket2::{Domain, Protocol, Socket, Type};

/// As deep as the kernel lets a queue be where nobody changed that; net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// What the service manager keeps the sockets under.
const STORED: &str = "listener";

/// The sockets of this process, shared by all of its roles.
#[derive(Clone, Default)]
pub struct Sockets(Arc<Mutex<Places>>);

#[derive(Default)]
struct Places {
    streams: BTreeMap<SocketAddr, Place<TcpListener>>,
    datagrams: BTreeMap<SocketAddr, Place<UdpSocket>>,
}

/// The sockets of one address, and whether anybody uses them: those that came from elsewhere may be for nobody.
struct Place<S> {
    sockets: Vec<Arc<S>>,
    used: bool,
}

impl<S> Default for Place<S> {
    fn default() -> Self {
        Place { sockets: Vec::new(), used: false }
    }
}

/// Sockets for connections and for datagrams of one address, two and two.
pub type Pairs = Vec<(Arc<UdpSocket>, Arc<TcpListener>)>;

/// Whether sockets of `[::]` take IPv4 in as well.
#[derive(Clone, Copy, PartialEq)]
enum Families {
    Both,
    Own,
}

impl Sockets {
    /// Sorts sockets by what they are for and where.
    pub fn of(sockets: Vec<OwnedFd>) -> Sockets {
        let all = Sockets::default();
        for socket in sockets {
            match rustix::net::sockopt::socket_type(&socket) {
                Ok(SocketType::DGRAM) => all.add_datagrams(socket.into()),
                _ => all.add_stream(socket.into()),
            }
        }
        all
    }

    /// Those that the service manager kept while this service was away, or made for it.
    pub fn from_manager() -> Sockets {
        let mut given = listenfd::ListenFd::from_env();
        let all = Sockets::default();
        for number in 0..given.len() {
            // Each stays where it is until it is asked for as what it is.
            if let Ok(Some(listener)) = given.take_tcp_listener(number) {
                all.add_stream(listener);
            } else if let Ok(Some(socket)) = given.take_udp_socket(number) {
                all.add_datagrams(socket);
            }
        }
        all
    }

    fn add_stream(&self, listener: TcpListener) {
        if let Ok(address) = listener.local_addr() {
            self.locked().streams.entry(address).or_default().sockets.push(Arc::new(listener));
        }
    }

    fn add_datagrams(&self, socket: UdpSocket) {
        if let Ok(address) = socket.local_addr() {
            self.locked().datagrams.entry(address).or_default().sockets.push(Arc::new(socket));
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Places> {
        // A thread that panicked with the lock left maps that are whole: each change is one insertion.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// At least `count` sockets of one address: those that are there, and new ones beside them. The kernel spreads
    /// connections over them (SO_REUSEPORT), so all that are returned must be accepted from.
    ///
    /// # Errors
    /// The address is taken, or is not this host's, or may not be used.
    pub fn listen(&self, address: SocketAddr, count: usize) -> io::Result<Vec<Arc<TcpListener>>> {
        more(&mut self.locked().streams, address, count, || stream(address, Families::Both))
    }

    /// At least `count` pairs of sockets of one address and its own family, for datagrams and for connections. A port that
    /// nobody here has yet must be nobody else's either: it would be shared, and queries with it.
    ///
    /// # Errors
    /// As `listen`.
    pub fn pairs(&self, address: SocketAddr, count: usize) -> io::Result<Pairs> {
        let mut all = self.locked();
        // Where this process has the port already, on all addresses or on another one, it would find itself.
        if !all.datagrams.keys().any(|known| known.port() == address.port()) {
            datagrams(address, Sharing::Alone)?;
            let alone = socket(address, Type::STREAM, Protocol::TCP, Families::Own)?;
            // A connection of a run before that is not forgotten yet is no other server.
            alone.set_reuse_address(true)?;
            alone.bind(&address.into())?;
        }
        let udp = more(&mut all.datagrams, address, count, || datagrams(address, Sharing::Port))?;
        let tcp = more(&mut all.streams, address, count, || stream(address, Families::Own));
        let tcp = tcp.inspect_err(|_| drop(all.datagrams.remove(&address)))?;
        // From a predecessor with more threads there may be more of one than of the other; each has to be read.
        let pairs = udp.len().max(tcp.len());
        Ok((0..pairs).map(|n| (udp[n % udp.len()].clone(), tcp[n % tcp.len()].clone())).collect())
    }

    /// Lets an address go.
    pub fn close(&self, address: SocketAddr) {
        let mut all = self.locked();
        all.streams.remove(&address);
        all.datagrams.remove(&address);
    }

    /// Lets addresses go that came from elsewhere and that nobody here uses.
    pub fn sweep(&self) {
        let mut all = self.locked();
        all.streams.retain(|_, place| place.used);
        all.datagrams.retain(|_, place| place.used);
    }

    /// Lets all go: what is still read from has copies of its own. One that nobody reads would swallow its share of
    /// queries when its address is bound anew.
    pub fn clear(&self) {
        let mut all = self.locked();
        all.streams.clear();
        all.datagrams.clear();
    }

    /// All of them, for whoever comes next.
    pub fn all(&self) -> Vec<Arc<dyn AsFd + Send + Sync>> {
        let all = self.locked();
        let streams = all.streams.values().flat_map(|place| &place.sockets).cloned();
        let streams = streams.map(|socket| socket as Arc<dyn AsFd + Send + Sync>);
        let datagrams = all.datagrams.values().flat_map(|place| &place.sockets).cloned();
        streams.chain(datagrams.map(|socket| socket as Arc<dyn AsFd + Send + Sync>)).collect()
    }

    /// Leaves copies with the service manager, so that a crash or a restart refuses nobody.
    pub fn store(&self) {
        let all = self.all();
        let fds: Vec<_> = all.iter().map(|socket| socket.as_fd()).collect();
        let told = [NotifyState::FdStore, NotifyState::FdName(STORED)];
        // A message carries 253 at most.
        for fds in fds.chunks(64) {
            if let Err(error) = sd_notify::notify_with_fds(&told, fds) {
                tracing::debug!(%error, "the service manager keeps no sockets");
            }
        }
    }

    /// Takes back what was left there, before something else is.
    pub fn forget(&self) {
        let _ = sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(STORED)]);
    }
}

/// The sockets of an address, made up to a number; they are in use from now on.
fn more<S>(
    all: &mut BTreeMap<SocketAddr, Place<S>>,
    address: SocketAddr,
    count: usize,
    make: impl Fn() -> io::Result<S>,
) -> io::Result<Vec<Arc<S>>> {
    let mut sockets = all.get(&address).map(|place| place.sockets.clone()).unwrap_or_default();
    while sockets.len() < count {
        sockets.push(Arc::new(make()?));
    }
    all.insert(address, Place { sockets: sockets.clone(), used: true });
    Ok(sockets)
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol, families: Families) -> io::Result<Socket> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, kind, Some(protocol))?;
    if address.is_ipv6() {
        // One address takes its own alone in any case.
        socket.set_only_v6(families == Families::Own || !address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn stream(address: SocketAddr, families: Families) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP, families)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether others of this user may have the same port.
#[derive(Clone, Copy, PartialEq)]
enum Sharing {
    Alone,
    Port,
}

fn datagrams(address: SocketAddr, sharing: Sharing) -> io::Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP, Families::Own)?;
    socket.set_reuse_port(sharing == Sharing::Port)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_known_again_for_what_they_are() {
        let sockets = Sockets::default();
        let pairs = sockets.pairs("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let (udp, tcp) = (pairs[0].0.local_addr().unwrap(), pairs[0].1.local_addr().unwrap());
        let copies = sockets.all().iter().map(|socket| socket.as_fd().try_clone_to_owned().unwrap()).collect();
        let next = Sockets::of(copies);
        assert_eq!(next.locked().datagrams.keys().collect::<Vec<_>>(), [&udp]);
        assert_eq!(next.locked().streams.keys().collect::<Vec<_>>(), [&tcp]);
        next.sweep();
        assert!(next.all().is_empty());
    }

    #[test]
    fn a_port_of_somebody_else_is_not_shared() {
        let held = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let sockets = Sockets::default();
        assert_eq!(sockets.pairs(address, 2).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // Another one that shares its port is somebody else all the same.
        let shared = datagrams("127.0.0.1:0".parse().unwrap(), Sharing::Port).unwrap();
        assert_eq!(sockets.pairs(shared.local_addr().unwrap(), 2).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(sockets.pairs(listener.local_addr().unwrap(), 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(sockets.all().is_empty());
    }
}
