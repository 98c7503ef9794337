//! Says which tools are missing and which Debian package has each, before anything is started.
//! It installs nothing: `scripts/test-deps` does.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::run::PATH;

/// (tool, Debian package). `faketime`, `nft` and `sudo` are for what tests do on light hosts, which have this machine's
/// /usr; `strace` is for tests that watch a program, `age` and `git` for those that look at secrets from outside, `dot` for those that
/// draw.
const TOOLS: &[(&str, &str)] = &[
    ("age", "age"),
    ("apt-ftparchive", "apt-utils"),
    ("busybox", "busybox-static"),
    ("docker-registry", "docker-registry"),
    ("docker", "docker.io"),
    ("dockerd", "docker.io"),
    ("dot", "graphviz"),
    ("faketime", "faketime"),
    ("git", "git"),
    ("ifup", "ifupdown"),
    ("ip", "iproute2"),
    ("mmdebstrap", "mmdebstrap"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("sshd", "openssh-server"),
    ("strace", "strace"),
    ("sudo", "sudo"),
    ("systemd-nspawn", "systemd-container"),
    ("unshare", "util-linux"),
    ("useradd", "passwd"),
];

/// Packages that no host asks for by a tool: mmdebstrap verifies Debian's archive with the keys in one, the language server
/// that a test starts as an editor would needs `nodejs` and `npm`, the reading of Compose files is compared with
/// docker-compose and with a newer one that pip installs, and the others judge what generators make and what the fake
/// Vault answers, or are clients, upstreams, judges and the directory of the proxy's tests, databases that are seeded, another engine of containers, and the browser that shows the dashboard; those tests name what they miss
/// themselves.
#[cfg(test)]
const SILENT_PACKAGES: &[&str] = &[
    "aardvark-dns",
    "apache2-utils",
    "bind9",
    "bind9-dnsutils",
    "bind9-utils",
    "caddy",
    "chromium",
    "curl",
    "debian-archive-keyring",
    "dnsmasq-base",
    "dnsperf",
    "docker-compose",
    "isc-dhcp-client",
    "libnss3-tools",
    "mariadb-client-core",
    "mariadb-server-core",
    "nghttp2-client",
    "netavark",
    "nginx-light",
    "nodejs",
    "npm",
    "openssl",
    "pebble",
    "podman",
    "postgresql",
    "python3-pip",
    "python3-venv",
    "redis-server",
    "unbound",
    "wireguard-go",
    "wireguard-tools",
];

/// Fails with one message that names everything that is missing.
pub(crate) fn check() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "start a test lab: namespaces and mounts need root");
    let missing = missing_from(PATH);
    ensure!(missing.is_empty(), "missing: {}; run scripts/test-deps", missing.join(", "));
    Ok(())
}

fn missing_from(path: &str) -> Vec<String> {
    let found = |tool: &str| path.split(':').any(|folder| Path::new(folder).join(tool).is_file());
    let absent = TOOLS.iter().filter(|(tool, _)| !found(tool));
    absent.map(|(tool, package)| format!("`{tool}` (package {package})")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_missing_tool_is_named_with_its_package() {
        let missing = missing_from("/nonexistent");
        assert_eq!(missing.len(), TOOLS.len());
        assert!(missing.contains(&"`systemd-nspawn` (package systemd-container)".to_owned()));
    }

    #[test]
    fn nothing_is_missing_where_the_tests_run() {
        assert_eq!(missing_from(PATH), Vec::<String>::new());
    }

    #[test]
    fn the_script_installs_exactly_the_packages_that_are_checked() {
        let script = include_str!("../../../scripts/test-deps");
        let list = script.split_once("packages=(").unwrap().1.split_once(')').unwrap().0;
        let installed: BTreeSet<&str> = list.split_whitespace().collect();
        let needed = TOOLS.iter().map(|(_, package)| *package);
        assert_eq!(installed, needed.chain(SILENT_PACKAGES.iter().copied()).collect());
    }
}
