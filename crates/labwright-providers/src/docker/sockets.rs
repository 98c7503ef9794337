//! Who listens on what on this host: read from `/proc`, as `ss -ltnp` does, for questions that the engine does not answer.
//! proc(5), `net/tcp`: `sl local_address rem_address st … inode`, addresses in the order of the machine's bytes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A socket that somebody listens at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    pub port: u16,
    pub inode: u64,
}

/// What is listened at in the network of a process; `self` is this one's. TCP, and UDP where `udp`.
pub fn listening(process: &str, udp: bool) -> Vec<Listening> {
    // 0A is LISTEN; a UDP socket that is bound and connected to nobody is 07.
    let (tables, state) = if udp { (["udp", "udp6"], "07") } else { (["tcp", "tcp6"], "0A") };
    let mut all = Vec::new();
    for table in tables {
        let text = fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        all.extend(text.lines().skip(1).filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let port = u16::from_str_radix(words.get(1)?.rsplit(':').next()?, 16).ok()?;
            let inode = words.get(9)?.parse().ok()?;
            (*words.get(3)? == state).then_some(Listening { port, inode })
        }));
    }
    all
}

/// The sockets that a process has open, by inode.
pub fn open(process: &str) -> BTreeSet<u64> {
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return BTreeSet::new() };
    let inode = |file: fs::DirEntry| {
        let target = fs::read_link(file.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    files.flatten().filter_map(inode).collect()
}

/// The program that listens on a port of this host, with its process number: ``nginx` (process 812)`.
pub fn listener(port: u16, udp: bool) -> Option<String> {
    let wanted: BTreeSet<u64> =
        listening("self", udp).into_iter().filter(|socket| socket.port == port).map(|socket| socket.inode).collect();
    if wanted.is_empty() {
        return None;
    }
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(number) = process.file_name().to_str().filter(|name| name.parse::<u32>().is_ok()).map(str::to_string)
        else {
            continue;
        };
        if !open(&number).is_disjoint(&wanted) {
            let name = fs::read_to_string(Path::new("/proc").join(&number).join("comm")).unwrap_or_default();
            return Some(format!("`{}` (process {number})", name.trim()));
        }
    }
    None
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
            let found = listener(port, is_udp).unwrap();
            assert!(found.ends_with(&own), "{found}");
            assert!(!open("self").is_disjoint(&listening("self", is_udp).iter().map(|one| one.inode).collect()));
        }
        let port = tcp.local_addr().unwrap().port();
        drop(tcp);
        assert_eq!(listener(port, false), None);
    }
}
