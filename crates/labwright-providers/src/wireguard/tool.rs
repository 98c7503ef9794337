//! `wg` and `ip`, and what they say. Keys go in by standard input, which is memory, and never by an argument.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use labwright_plan::{ProviderError, Spec, Value};
use zeroize::Zeroizing;

use crate::host::command::{Output, SHORT, feed, run};

/// How long the program in place of the kernel may take to make an interface.
const USERSPACE_LIMIT: Duration = Duration::from_secs(10);

/// An interface as `wg show NAME dump` tells it.
pub struct Dump {
    pub private: Zeroizing<String>,
    pub port: i64,
    pub peers: BTreeMap<String, Value>,
}

/// From wg(8): tab-separated; first private key, public key, port, mark; then for each peer public key, preshared key,
/// endpoint, allowed addresses, last handshake, bytes in and out, keepalive.
pub fn parse_dump(text: &str) -> Option<Dump> {
    let mut lines = text.lines();
    let own: Vec<&str> = lines.next()?.split('\t').collect();
    let peer = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let mut allowed: Vec<&str> = fields.get(3)?.split(',').filter(|one| *one != "(none)").collect();
        allowed.sort_unstable();
        let mut peer = Spec::from([("allowed".to_string(), allowed.into_iter().collect::<Value>())]);
        if let Some(seconds) = fields.get(7).and_then(|seconds| seconds.parse::<i64>().ok()) {
            peer.insert("keepalive".into(), Value::Int(seconds));
        }
        Some((fields.first()?.to_string(), Value::Map(peer)))
    };
    Some(Dump {
        private: Zeroizing::new(own.first()?.to_string()),
        port: own.get(2)?.parse().ok()?,
        peers: lines.map(peer).collect::<Option<_>>()?,
    })
}

/// The interface, or `None` where there is none of that name, or nothing that could have made one.
pub fn dump(name: &str) -> Result<Option<Dump>, ProviderError> {
    if !has("wg") || !exists(name)? {
        return Ok(None);
    }
    let output = run("wg", &["show", name, "dump"], SHORT)?;
    if !output.ok() {
        return Err(output.error().help(format!("look at it by hand: `ip link show {name}`; `wg show {name}`")));
    }
    let told = Zeroizing::new(output.stdout);
    let fault = || ProviderError::rejected(format!("what `wg show {name} dump` says cannot be understood"));
    parse_dump(&told).map(Some).ok_or_else(fault)
}

/// Asked of the kernel itself: in a container, `/sys` may be that of another network.
fn exists(name: &str) -> Result<bool, ProviderError> {
    let output = run("ip", &["-o", "link", "show", "dev", name], SHORT)?;
    match output.ok() || output.stderr.contains("does not exist") {
        true => Ok(output.ok()),
        false => Err(output.error()),
    }
}

pub fn has(program: &str) -> bool {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|folder| Path::new(folder).join(program).is_file())
}

/// The addresses that somebody gave it, `10.8.0.1/24`, sorted.
pub fn addresses(name: &str) -> Result<Vec<String>, ProviderError> {
    let output = run("ip", &["-o", "address", "show", "dev", name, "scope", "global"], SHORT)?.require()?;
    let address = |line: &str| Some(line.split_whitespace().nth(3)?.to_string());
    let mut found: Vec<String> = output.stdout.lines().filter_map(address).collect();
    found.sort_unstable();
    Ok(found)
}

/// The routes over it that the kernel did not make by itself, sorted.
pub fn routes(name: &str) -> Result<Vec<String>, ProviderError> {
    let mut found = Vec::new();
    for family in ["-4", "-6"] {
        let output = run("ip", &[family, "-o", "route", "show", "dev", name, "proto", "static"], SHORT)?.require()?;
        found.extend(output.stdout.lines().filter_map(|line| line.split_whitespace().next()).map(with_length));
    }
    found.sort_unstable();
    Ok(found)
}

/// `ip` leaves out the length of what is one address.
fn with_length(net: &str) -> String {
    match net {
        net if net.contains('/') => net.to_string(),
        net if net.contains(':') => format!("{net}/128"),
        net => format!("{net}/32"),
    }
}

pub fn is_up(name: &str) -> Result<bool, ProviderError> {
    let output = run("ip", &["-o", "link", "show", "dev", name], SHORT)?.require()?;
    let flags = output.stdout.split(['<', '>']).nth(1).unwrap_or_default();
    Ok(flags.split(',').any(|flag| flag == "UP"))
}

/// Makes the interface: in the kernel, and where that has no WireGuard, by a program.
pub fn create(name: &str, systemd: bool) -> Result<(), ProviderError> {
    let output = run("ip", &["link", "add", "dev", name, "type", "wireguard"], SHORT)?;
    if output.ok() {
        return Ok(());
    }
    if !lacks(&output) {
        return Err(output.error());
    }
    if !has("wireguard-go") {
        return Err(ProviderError::rejected(
            "the kernel of this host has no WireGuard, and `wireguard-go` is not installed",
        )
        .help("add `wireguard-go` to `packages` of this host, or install a kernel of 5.6 or newer with its modules"));
    }
    match systemd {
        true => {
            let unit = format!("--unit={}", unit(name));
            // At boot this is called before `sysinit.target`, which a service waits for unless it is told not to.
            let early = "--property=DefaultDependencies=no";
            let how = ["--quiet", "--collect", "--no-block", unit.as_str(), early];
            let args: Vec<&str> = how.into_iter().chain(["--", "wireguard-go", "-f", name]).collect();
            run("systemd-run", &args, SHORT)?.require()?;
        }
        // It goes into the background by itself.
        false => drop(run("wireguard-go", &[name], SHORT)?.require()?),
    }
    let since = Instant::now();
    // Its socket is what `wg` speaks to; the interface may be there a moment before.
    while since.elapsed() < USERSPACE_LIMIT {
        if Path::new(&format!("/var/run/wireguard/{name}.sock")).exists() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let said = crate::host::systemd::last_words(&unit(name));
    Err(ProviderError::rejected(format!("`wireguard-go` made no interface `{name}`: {said}"))
        .help("it needs `/dev/net/tun`: in a container, pass that device in"))
}

/// The unit of the program that stands in for the kernel.
pub fn unit(name: &str) -> String {
    format!("labwright-wireguard-{name}.service")
}

/// Whether the kernel knows no such kind of interface.
fn lacks(output: &Output) -> bool {
    ["Unknown device type", "Operation not supported", "not supported"].iter().any(|said| output.stderr.contains(said))
}

/// Gives the interface its keys and peers, and takes away every other peer. Sessions that stay are not cut.
pub fn configure(name: &str, config: &str) -> Result<(), ProviderError> {
    feed("wg", &["syncconf", name, "/dev/stdin"], config.as_bytes(), SHORT)?.require().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `wg show wg0 dump` of wireguard-tools 1.0.20210914.
    const DUMP: &str = "UEFJA2VxBnFrZXkAAAAAAAAAAAAAAAAAAAAAAAAAAEA=\tcHVi\t51820\toff\n\
        peer1=\t(none)\t192.0.2.7:40000\t10.8.0.3/32,10.8.0.2/32\t1700000000\t92\t180\t25\n\
        peer2=\t(none)\t(none)\t(none)\t0\t0\t0\toff\n";

    #[test]
    fn what_wg_says_is_read() {
        let dump = parse_dump(DUMP).unwrap();
        assert_eq!((dump.port, dump.peers.len()), (51820, 2));
        let Value::Map(first) = &dump.peers["peer1="] else { panic!("no map") };
        assert_eq!(first["allowed"], ["10.8.0.2/32", "10.8.0.3/32"].into_iter().collect::<Value>());
        assert_eq!(first["keepalive"], Value::Int(25));
        let Value::Map(second) = &dump.peers["peer2="] else { panic!("no map") };
        assert_eq!((second["allowed"].list().map(<[_]>::len), second.get("keepalive")), (Some(0), None));
        assert!(parse_dump("").is_none() && parse_dump("a\tb\n").is_none());
    }

    #[test]
    fn one_address_has_a_length_too() {
        assert_eq!(
            ["10.0.0.1", "fd00::1", "10.1.0.0/16"].map(with_length),
            ["10.0.0.1/32", "fd00::1/128", "10.1.0.0/16"]
        );
    }
}
