//! Really connecting: listeners in every namespace, TCP handshakes, UDP datagrams that are counted where they arrive and
//! answered, and echo requests. What is not as expected is tried again, with more patience.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use labwright_plan::ProviderError;
use labwright_plan::network::Try;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recv, sendto, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::stage::{Stage, inside};
use super::tries::{Expected, Outcome, Tried};

/// Hardly anything is waited for: what is denied in the lab is told so. What the internet tries is not.
const SOON: Duration = Duration::from_millis(300);
const PATIENT: Duration = Duration::from_secs(3);
/// Tries that sleep side by side; nearly all of them only wait.
const THREADS: usize = 128;
const CHUNK: usize = 6;
/// How often a datagram is tried that finds no room on the way out.
const ROOM_TRIES: usize = 200;
/// Connections that may wait at a door.
const QUEUE: i32 = 4096;

/// Everybody's open doors. Connections wait in the queue: that they came is all there is to know.
struct Doors {
    _tcp: Vec<TcpListener>,
    udp: Vec<(usize, u16, UdpSocket)>,
}

/// Tries everything; one outcome for each try, in order.
pub fn all(stage: &Stage, expected: &Expected, stopped: Option<usize>) -> Result<Vec<Outcome>, ProviderError> {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, opening the doors says what is missing.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let doors = open(stage, expected)?;
    let mut outcomes = vec![Outcome::Blocked; expected.tries.len()];
    // Nothing comes from a machine without cables, and nothing is worth waiting for at it.
    let idle = |n: &usize| stopped.is_some_and(|node| [expected.tries[*n].from, expected.tries[*n].to].contains(&node));
    let numbers: Vec<usize> = (0..expected.tries.len()).filter(|n| !idle(n)).collect();
    round(stage, expected, &doors, &numbers, SOON, &mut outcomes)?;
    for _ in 0..2 {
        let doubted: Vec<usize> = numbers
            .iter()
            .copied()
            .filter(|n| expected.tries[*n].allowed && expected.tries[*n].reliable && outcomes[*n] == Outcome::Blocked)
            .collect();
        // Where this many are as they should not be, it is no accident.
        if doubted.is_empty() || doubted.len() > 500 {
            break;
        }
        round(stage, expected, &doors, &doubted, PATIENT, &mut outcomes)?;
    }
    Ok(outcomes)
}

fn round(
    stage: &Stage,
    expected: &Expected,
    doors: &Doors,
    numbers: &[usize],
    patience: Duration,
    outcomes: &mut [Outcome],
) -> Result<(), ProviderError> {
    for (number, outcome) in streams_and_echoes(stage, expected, numbers, patience)? {
        outcomes[number] = outcome;
    }
    for number in datagrams(stage, expected, doors, numbers)? {
        outcomes[number] = Outcome::Through;
    }
    Ok(())
}

fn open(stage: &Stage, expected: &Expected) -> Result<Doors, ProviderError> {
    let mut doors = Doors { _tcp: Vec::new(), udp: Vec::new() };
    for (n, node) in stage.nodes.iter().enumerate() {
        let (tcp, udp) = inside(&node.namespace, || {
            let failed = |port: &u16, error: io::Error| {
                ProviderError::rejected(format!("cannot listen on port {port} of `{}`: {error}", node.name))
                    .help("`ulimit -n` says how many sockets may be open")
            };
            let any = |port: &u16| SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
            let any4 = |port: &u16| SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port));
            let mut tcp = Vec::new();
            for port in &expected.tcp {
                tcp.push(
                    TcpListener::bind(any(port))
                        .or_else(|_| TcpListener::bind(any4(port)))
                        // More wait than the standard library lets: everybody comes, to each address.
                        .and_then(|door| Ok(rustix::net::listen(&door, QUEUE).map(|()| door)?))
                        .map_err(|e| failed(port, e))?,
                );
            }
            // One for each address: an answer has to come from where the question went.
            let public = stage.public.iter().filter(|_| node.is_router);
            let mut udp = Vec::new();
            for address in node.addresses.iter().chain(public) {
                for port in &expected.udp {
                    let socket = UdpSocket::bind(SocketAddr::from((*address, *port)));
                    let socket = socket.and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
                    udp.push((n, *port, socket.map_err(|error| failed(port, error))?));
                }
            }
            Ok((tcp, udp))
        })?;
        doors._tcp.extend(tcp);
        doors.udp.extend(udp);
    }
    Ok(doors)
}

fn streams_and_echoes(
    stage: &Stage,
    expected: &Expected,
    numbers: &[usize],
    patience: Duration,
) -> Result<Vec<(usize, Outcome)>, ProviderError> {
    let mut by_source: HashMap<usize, Vec<usize>> = HashMap::new();
    for number in numbers.iter().filter(|number| !matches!(expected.tries[**number].what, Try::Udp(_))) {
        by_source.entry(expected.tries[*number].from).or_default().push(*number);
    }
    let mut chunks: Vec<(usize, &[usize])> = Vec::new();
    for (source, numbers) in &by_source {
        chunks.extend(numbers.chunks(CHUNK).map(|chunk| (*source, chunk)));
    }
    let (next, found) = (AtomicUsize::new(0), Mutex::new((Vec::new(), None::<ProviderError>)));
    let worker = || {
        while let Some((source, chunk)) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let work = || {
                let one = |number: &usize| {
                    let tried = &expected.tries[*number];
                    one(tried, patience).map(|outcome| (*number, outcome)).map_err(|error| untried(tried, &error))
                };
                chunk.iter().map(one).collect::<Result<Vec<_>, _>>()
            };
            let done = inside(&stage.nodes[*source].namespace, work);
            let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match done {
                Ok(outcomes) => found.0.extend(outcomes),
                Err(error) => found.1 = Some(error),
            }
        }
    };
    std::thread::scope(|scope| (0..THREADS.min(chunks.len())).for_each(|_| drop(scope.spawn(worker))));
    match found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        (_, Some(error)) => Err(error),
        (outcomes, None) => Ok(outcomes),
    }
}

fn one(tried: &Tried, patience: Duration) -> io::Result<Outcome> {
    let through = match tried.what {
        Try::Tcp(port) => match TcpStream::connect_timeout(&SocketAddr::from((tried.address, port)), patience) {
            Ok(_) => true,
            // Somebody there said no: it came as far as that.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => true,
            Err(error) => nothing_went_out(error)?,
        },
        Try::Ping => match echo(tried.address, patience)? {
            Ok(answered) => answered,
            Err(errno) => nothing_went_out(errno.into())?,
        },
        Try::Udp(_) => false,
    };
    Ok(if through { Outcome::Through } else { Outcome::Blocked })
}

/// What was never sent was not blocked by anybody: too few sockets or too little memory say nothing about the rules. All else, such
/// as no route, no address to send from, or a packet that the own ruleset drops, is what is asked for: it did not come through.
fn nothing_went_out(error: io::Error) -> io::Result<bool> {
    let own = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::AFNOSUPPORT];
    match Errno::from_io_error(&error) {
        Some(errno) if own.contains(&errno) => Err(error),
        _ => Ok(false),
    }
}

fn untried(tried: &Tried, error: &io::Error) -> ProviderError {
    ProviderError::rejected(format!("cannot try {:?} to `{}`: {error}", tried.what, tried.address))
        .help("`ulimit -n` says how many sockets may be open; `free -m` shows the memory")
}

/// An echo request over a socket that needs no right of its own. The outer error: there is none to ask with.
fn echo(address: IpAddr, patience: Duration) -> io::Result<rustix::io::Result<bool>> {
    let (family, protocol, kind) = match address {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, 8),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, 128),
    };
    let socket: OwnedFd = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(protocol))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(patience))?;
    let asked = || {
        sendto(&socket, &[kind, 0, 0, 0, 0, 0, 0, 1], SendFlags::empty(), &SocketAddr::from((address, 0)))?;
        let mut answer = [0u8; 64];
        let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
        Ok(length >= 8 && answer[0] == if kind == 8 { 0 } else { 129 })
    };
    Ok(asked())
}

/// Sends everything, then looks what has come, answers it, and looks which answers came back.
fn datagrams(
    stage: &Stage,
    expected: &Expected,
    doors: &Doors,
    numbers: &[usize],
) -> Result<Vec<usize>, ProviderError> {
    let mut by_source: HashMap<usize, Vec<usize>> = HashMap::new();
    for number in numbers.iter().filter(|number| matches!(expected.tries[**number].what, Try::Udp(_))) {
        by_source.entry(expected.tries[*number].from).or_default().push(*number);
    }
    let mut clients: Vec<UdpSocket> = Vec::new();
    let mut arrived: HashSet<usize> = HashSet::new();
    for (source, numbers) in &by_source {
        let wants = |is_v4: bool| numbers.iter().find(|number| expected.tries[**number].address.is_ipv4() == is_v4);
        let sockets = inside(&stage.nodes[*source].namespace, || {
            // One for each family that anything is sent in.
            let client = |any: IpAddr| {
                let Some(number) = wants(any.is_ipv4()) else { return Ok(None) };
                let socket = UdpSocket::bind(SocketAddr::from((any, 0)));
                let socket = socket.and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
                socket.map(Some).map_err(|error| untried(&expected.tries[*number], &error))
            };
            Ok((client(Ipv4Addr::UNSPECIFIED.into())?, client(Ipv6Addr::UNSPECIFIED.into())?))
        })?;
        // In portions: what waits to be read at a door is bounded.
        for portion in numbers.chunks(2048) {
            for number in portion {
                let tried = &expected.tries[*number];
                let Try::Udp(port) = tried.what else { continue };
                let socket = if tried.address.is_ipv4() { &sockets.0 } else { &sockets.1 };
                if let Some(socket) = socket {
                    let to = SocketAddr::from((tried.address, port));
                    send(socket, *number, to).map_err(|error| untried(tried, &error))?;
                }
            }
            std::thread::sleep(Duration::from_millis(5));
            collect(expected, doors, &mut arrived);
        }
        clients.extend([sockets.0, sockets.1].into_iter().flatten());
    }
    // Neighbours that were not known yet are asked for first; that takes a moment.
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(50));
        collect(expected, doors, &mut arrived);
    }
    std::thread::sleep(Duration::from_millis(50));
    let mut answered: HashSet<usize> = HashSet::new();
    let mut buffer = [0u8; 64];
    for client in &clients {
        while let Ok((length, _)) = client.recv_from(&mut buffer) {
            answered.extend(number_in(&buffer[..length]));
        }
    }
    // What arrived where it may not is a leak, answer or none; what may, has to come back as well.
    let ok = |number: &usize| !expected.tries[*number].allowed || answered.contains(number);
    Ok(arrived.into_iter().filter(ok).collect())
}

/// Sends a datagram. What is refused at once has not arrived; what finds no room on the way out waits for it.
fn send(socket: &UdpSocket, number: usize, to: SocketAddr) -> io::Result<()> {
    for _ in 0..ROOM_TRIES {
        match socket.send_to(&(number as u64).to_be_bytes(), to) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return nothing_went_out(error).map(drop),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// Reads every door, and answers.
fn collect(expected: &Expected, doors: &Doors, arrived: &mut HashSet<usize>) {
    let mut buffer = [0u8; 64];
    for (node, port, socket) in &doors.udp {
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let number = number_in(&buffer[..length]).filter(|number| {
                let tried = expected.tries.get(*number);
                tried.is_some_and(|tried| tried.to == *node && tried.what == Try::Udp(*port))
            });
            if let Some(number) = number {
                arrived.insert(number);
                // An answer that does not go out does not come back, and that is seen.
                let _ = socket.send_to(&buffer[..length], from);
            }
        }
    }
}

fn number_in(bytes: &[u8]) -> Option<usize> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_sent_is_not_called_blocked() {
        for errno in [Errno::HOSTUNREACH, Errno::NETUNREACH, Errno::PERM, Errno::ACCESS, Errno::TIMEDOUT, Errno::AGAIN]
        {
            assert!(!nothing_went_out(errno.into()).unwrap(), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS] {
            assert!(nothing_went_out(errno.into()).is_err(), "{errno}");
        }
        // A socket of one family cannot send in the other: nothing goes out, and that is told.
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(send(&socket, 1, "[::1]:9".parse().unwrap()).is_err());
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        send(&socket, 7, other.local_addr().unwrap()).unwrap();
        let mut bytes = [0; 8];
        other.recv(&mut bytes).unwrap();
        assert_eq!(number_in(&bytes), Some(7));
    }
}
