//! Who listens on what on this host, for questions that the engine does not answer: read from `/proc`, as `ss -ltnp` does, or
//! asked of a process's own sockets.
//! proc(5), `net/tcp`: `sl local_address rem_address st … inode`, addresses in the order of the machine's bytes.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;

use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::host::errors::has_ended;

/// A socket that somebody listens at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    pub port: u16,
    pub inode: u64,
}

/// What is listened at in the network of a process; `self` is this one's. TCP, and UDP where `udp`. Nothing where it has ended,
/// and where the kernel has no IPv6 nothing of that.
///
/// # Errors
/// The kernel's table cannot be read: somebody may listen.
pub fn listening(process: &str, udp: bool) -> io::Result<Vec<Listening>> {
    // 0A is LISTEN; a UDP socket that is bound and connected to nobody is 07.
    let (tables, state) = if udp { (["udp", "udp6"], "07") } else { (["tcp", "tcp6"], "0A") };
    let mut all = Vec::new();
    for table in tables {
        let text = match fs::read_to_string(format!("/proc/{process}/net/{table}")) {
            Err(error) if has_ended(&error) => continue,
            text => text?,
        };
        all.extend(text.lines().skip(1).filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let port = u16::from_str_radix(words.get(1)?.rsplit(':').next()?, 16).ok()?;
            let inode = words.get(9)?.parse().ok()?;
            (*words.get(3)? == state).then_some(Listening { port, inode })
        }));
    }
    Ok(all)
}

/// The sockets that a process has open, by inode; none of one that has ended.
///
/// # Errors
/// They cannot be seen: it may have any.
pub fn open(process: &str) -> io::Result<BTreeSet<u64>> {
    match opened(process) {
        Err(error) if has_ended(&error) => Ok(BTreeSet::new()),
        sockets => Ok(sockets?.into_iter().map(|(_, inode)| inode).collect()),
    }
}

/// The same with its numbers of them.
fn opened(process: &str) -> io::Result<Vec<(RawFd, u64)>> {
    let mut all = Vec::new();
    for file in fs::read_dir(format!("/proc/{process}/fd"))? {
        let file = file?;
        let target = match fs::read_link(file.path()) {
            // Closed since.
            Err(error) if has_ended(&error) => continue,
            target => target?,
        };
        let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        let number = file.file_name().to_str().and_then(|name| name.parse().ok());
        all.extend(number.zip(inode));
    }
    Ok(all)
}

/// The TCP sockets that a process listens at, by inode; those in `known` are not asked again. Each socket is asked itself
/// (pidfd_getfd(2), `SO_ACCEPTCONN` of socket(7)): the kernel's table is walked from end to end, which takes milliseconds
/// where it was made for many connections, and all that is wanted here is of one process. An error where the kernel lets
/// nobody ask, and nothing of a process that has ended.
pub fn listened(process: u32, known: &BTreeSet<u64>) -> io::Result<BTreeSet<u64>> {
    let sockets = match opened(&process.to_string()) {
        Err(error) if has_ended(&error) => return Ok(BTreeSet::new()),
        sockets => sockets?,
    };
    let (mut all, unknown): (BTreeSet<u64>, Vec<(RawFd, u64)>) = (
        sockets.iter().map(|(_, inode)| *inode).filter(|inode| known.contains(inode)).collect(),
        sockets.into_iter().filter(|(_, inode)| !known.contains(inode)).collect(),
    );
    let number = i32::try_from(process).ok().and_then(Pid::from_raw);
    let (Some(number), false) = (number, unknown.is_empty()) else { return Ok(all) };
    let process = match pidfd_open(number, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(BTreeSet::new()),
        process => process?,
    };
    for (file, inode) in unknown {
        match pidfd_getfd(&process, file, PidfdGetfdFlags::empty()) {
            // Closed since.
            Err(rustix::io::Errno::BADF | rustix::io::Errno::SRCH) => {}
            socket => {
                let socket = socket?;
                let is_tcp = matches!(sockopt::socket_domain(&socket), Ok(AddressFamily::INET | AddressFamily::INET6))
                    && sockopt::socket_type(&socket) == Ok(SocketType::STREAM);
                if is_tcp && sockopt::socket_acceptconn(&socket) == Ok(true) {
                    all.insert(inode);
                }
            }
        }
    }
    Ok(all)
}

/// The program that listens on a port of this host, with its process number: ``nginx` (process 812)`; `None`: nobody does.
///
/// # Errors
/// Whether anybody does cannot be told, or it is not seen who.
pub fn listener(port: u16, udp: bool) -> io::Result<Option<String>> {
    let wanted: BTreeSet<u64> =
        listening("self", udp)?.into_iter().filter(|socket| socket.port == port).map(|socket| socket.inode).collect();
    if wanted.is_empty() {
        return Ok(None);
    }
    let (mut hidden, mut unread) = (false, None);
    for process in fs::read_dir("/proc")? {
        let name = process?.file_name();
        let Some(number) = name.to_str().filter(|name| name.parse::<u32>().is_ok()) else { continue };
        match open(number) {
            Ok(sockets) if sockets.is_disjoint(&wanted) => {}
            Ok(_) => {
                let name = fs::read_to_string(Path::new("/proc").join(number).join("comm"));
                return Ok(Some(match name {
                    Ok(name) => format!("`{}` (process {number})", name.trim()),
                    Err(_) => format!("process {number}"),
                }));
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => hidden = true,
            Err(error) => unread = Some(error),
        }
    }
    match unread {
        Some(error) => Err(error),
        // Whoever is not root sees that a port is taken, and not by whom.
        None if hidden => Ok(Some("a process that you may not look into (`sudo ss -ltnup` names it)".to_string())),
        None => Ok(Some("the kernel itself, or a process that is not seen from here,".to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_port_is_found() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = std::net::UdpSocket::bind("[::1]:0").unwrap();
        let own = format!("(process {})", std::process::id());
        for (port, is_udp) in [(tcp.local_addr().unwrap().port(), false), (udp.local_addr().unwrap().port(), true)] {
            let found = listener(port, is_udp).unwrap().unwrap();
            assert!(found.ends_with(&own), "{found}");
            let all = listening("self", is_udp).unwrap();
            assert!(!open("self").unwrap().is_disjoint(&all.iter().map(|one| one.inode).collect()));
        }
        let port = tcp.local_addr().unwrap().port();
        drop(tcp);
        assert_eq!(listener(port, false).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        // A file where a process's folder would be: neither ended nor empty.
        for error in [open("version").unwrap_err(), listening("version", false).unwrap_err()] {
            assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
        }
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let number = child.id().to_string();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((open(&number).unwrap(), listening(&number, false).unwrap()), (BTreeSet::new(), Vec::new()));
    }

    #[test]
    fn a_process_is_asked_for_what_it_listens_at_and_nothing_else_counts() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("python3")
            .args(["-c", PROGRAM, folder.path().join("s").to_str().unwrap()])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("python3, which scripts/test-deps installs");
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let mut inodes = || -> BTreeSet<u64> {
            lines.next().unwrap().unwrap().split_whitespace().map(|inode| inode.parse().unwrap()).collect()
        };
        let mut stdin = child.stdin.take().unwrap();
        let pid = child.id();
        // A socket that is bound, one that is connected, one of UDP, and one of this machine alone that is listened at.
        assert_eq!(inodes(), BTreeSet::new());
        assert_eq!(listened(pid, &BTreeSet::new()).unwrap(), BTreeSet::new());
        std::io::Write::write_all(&mut stdin, b"\n").unwrap();
        let two = inodes();
        assert_eq!(two.len(), 2);
        assert_eq!(listened(pid, &BTreeSet::new()).unwrap(), two);
        assert_eq!(listened(pid, &two).unwrap(), two, "and what is known stays");
        // What the kernel's table says of them is the same.
        let table: BTreeSet<u64> =
            listening(&pid.to_string(), false).unwrap().into_iter().map(|one| one.inode).collect();
        assert!(two.is_subset(&table), "{two:?} {table:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(listened(pid, &two).unwrap(), BTreeSet::new(), "it has ended");
    }

    /// Opens sockets of all kinds, says nothing is listened at, and on a line from outside listens at two of them.
    const PROGRAM: &str = "
import os, socket, sys
say = lambda all: print(*(os.fstat(one.fileno()).st_ino for one in all), flush=True)
four, six = socket.socket(), socket.socket(socket.AF_INET6)
four.bind(('127.0.0.1', 0)); six.bind(('::1', 0))
udp = socket.socket(type=socket.SOCK_DGRAM); udp.bind(('127.0.0.1', 0))
own = socket.socket(socket.AF_UNIX); own.bind(sys.argv[1]); own.listen()
pair = socket.socketpair()
say([]); sys.stdin.readline()
four.listen(); six.listen()
say([four, six]); sys.stdin.readline()
";
}
