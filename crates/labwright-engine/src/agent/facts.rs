//! What this host is. Read when an agent starts; changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use labwright_plan::Facts;

use crate::clock;

pub fn gather() -> Facts {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_string()).unwrap_or_default()
    };
    let uname = rustix::system::uname();
    let root = rustix::process::geteuid().is_root();
    Facts {
        hostname: uname.nodename().to_string_lossy().into_owned(),
        os: field("PRETTY_NAME"),
        os_id: field("ID"),
        kernel: uname.release().to_string_lossy().into_owned(),
        systemd: Path::new("/run/systemd/system").is_dir(),
        apt: Path::new("/usr/bin/apt-get").exists(),
        root,
        user: user_name(),
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_string(),
        clock: clock::now().as_second(),
    }
}

/// The name of the user we run as, from `/etc/passwd`; its number where it has no name.
pub fn user_name() -> String {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid));
    line.and_then(|line| line.split(':').next()).map_or(uid, str::to_string)
}

/// Where Labwright keeps its own things on a host: marks, journals, leases.
pub fn state_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("LABWRIGHT_STATE_DIR") {
        return dir.into();
    }
    if rustix::process::geteuid().is_root() {
        return "/var/lib/labwright".into();
    }
    let home = || std::env::var_os("HOME").map_or_else(|| "/tmp".into(), PathBuf::from).join(".local/state");
    std::env::var_os("XDG_STATE_HOME").map_or_else(home, PathBuf::from).join("labwright")
}
