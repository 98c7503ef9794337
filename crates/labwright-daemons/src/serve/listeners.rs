//! Listening sockets by address. They outlive snapshots, and through a successor or the service manager the process too.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use sd_notify::NotifyState;
use socket2::{Domain, Protocol, Socket, Type};

/// As deep as the kernel lets a queue be where nobody changed that; net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// What the service manager keeps the sockets under.
const STORED: &str = "listener";

/// The listening sockets of this process, shared by all of its roles.
#[derive(Clone, Default)]
pub struct Sockets(Arc<Mutex<BTreeMap<SocketAddr, Place>>>);

/// The sockets of one address, and whether anybody listens on them: those that came from elsewhere may be for nobody.
#[derive(Default)]
struct Place {
    listeners: Vec<Arc<TcpListener>>,
    used: bool,
}

impl Sockets {
    pub fn of(listeners: Vec<TcpListener>) -> Sockets {
        let sockets = Sockets::default();
        for listener in listeners {
            if let Ok(address) = listener.local_addr() {
                sockets.locked().entry(address).or_default().listeners.push(Arc::new(listener));
            }
        }
        sockets
    }

    /// Those that the service manager kept while this service was away, or made for it.
    pub fn from_manager() -> Sockets {
        let mut given = listenfd::ListenFd::from_env();
        let taken = (0..given.len()).filter_map(|number| given.take_tcp_listener(number).ok().flatten());
        Sockets::of(taken.collect())
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<SocketAddr, Place>> {
        // A thread that panicked with the lock left a map that is whole: each change is one insertion.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// At least `count` sockets of one address: those that are there, and new ones beside them. The kernel spreads
    /// connections over them (SO_REUSEPORT), so all that are returned must be accepted from.
    ///
    /// # Errors
    /// The address is taken, or is not this host's, or may not be used.
    pub fn listen(&self, address: SocketAddr, count: usize) -> io::Result<Vec<Arc<TcpListener>>> {
        let mut all = self.locked();
        let mut listeners = all.get(&address).map(|place| place.listeners.clone()).unwrap_or_default();
        while listeners.len() < count {
            listeners.push(Arc::new(bind(address)?));
        }
        all.insert(address, Place { listeners: listeners.clone(), used: true });
        Ok(listeners)
    }

    /// Lets an address go.
    pub fn close(&self, address: SocketAddr) {
        self.locked().remove(&address);
    }

    /// Lets addresses go that came from elsewhere and that nobody here listens on.
    pub fn sweep(&self) {
        self.locked().retain(|_, place| place.used);
    }

    pub fn all(&self) -> Vec<Arc<TcpListener>> {
        self.locked().values().flat_map(|place| &place.listeners).cloned().collect()
    }

    /// Leaves copies with the service manager, so that a crash or a restart refuses nobody.
    pub fn store(&self) {
        let all = self.all();
        let fds: Vec<_> = all.iter().map(|listener| listener.as_fd()).collect();
        let told = [NotifyState::FdStore, NotifyState::FdName(STORED)];
        // A message carries 253 at most.
        for fds in fds.chunks(64) {
            if let Err(error) = sd_notify::notify_with_fds(&told, fds) {
                tracing::debug!(%error, "the service manager keeps no listeners");
            }
        }
    }

    /// Takes back what was left there, before something else is.
    pub fn forget(&self) {
        let _ = sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(STORED)]);
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 as well; one address takes its own alone.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
