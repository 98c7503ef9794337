//! The files that make a new host itself: host key, name, machine id, sshd's configuration, who may log in.
//! It only writes them to a folder on the controller; the scripts that start hosts copy them into the root file system.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::options::{HostOptions, Kind};
use crate::run::{run, tool};

pub(crate) const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

/// Writes `seed/` and `prepare.sh` in the host's folder and returns the public host key.
pub(crate) fn write(dir: &Path, name: &str, kind: Kind, options: &HostOptions, client_key: &Path) -> Result<String> {
    let seed = dir.join("seed");
    // The copy keeps modes, so these are the modes on the host, whatever umask the tests run with.
    let file = |path: &str, content: &str| {
        let path = seed.join(path);
        let written =
            fs::write(&path, content).and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o644)));
        written.with_context(|| format!("write `{}` of host `{name}`", path.display()))
    };
    for (folder, mode) in [
        ("", 0o755),
        ("etc", 0o755),
        ("etc/ssh", 0o755),
        ("etc/ssh/sshd_config.d", 0o755),
        ("root", 0o700),
        ("root/.ssh", 0o700),
    ] {
        fs::create_dir(seed.join(folder))?;
        fs::set_permissions(seed.join(folder), Permissions::from_mode(mode))?;
    }
    let host_key = seed.join(HOST_KEY.trim_start_matches('/'));
    run(tool("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&host_key))?;
    let public_key = fs::read_to_string(host_key.with_extension("pub")).context("read host key")?;

    file("root/.ssh/authorized_keys", &fs::read_to_string(client_key.with_extension("pub"))?)?;
    file("etc/hostname", &format!("{name}\n"))?;
    file("etc/hosts", &format!("127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost\n"))?;
    file("etc/resolv.conf", "")?;
    let machine_id = fs::read_to_string("/proc/sys/kernel/random/uuid").context("make machine id")?;
    file("etc/machine-id", &machine_id.replace('-', ""))?;
    match kind {
        // The machine's own sshd_config may say anything, so a light host gets a whole one.
        Kind::Light => file("etc/ssh/sshd_config", &format!("{}{LIGHT_SSHD}", sshd_lines(options)))?,
        Kind::Systemd => file("etc/ssh/sshd_config.d/00-testkit.conf", &sshd_lines(options))?,
    }
    fs::write(dir.join("prepare.sh"), options.preparation()).context("write prepare.sh")?;
    Ok(public_key)
}

/// What Debian's file says, but without PAM, which would ask for systemd-logind, and without a pid file.
const LIGHT_SSHD: &str = "UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPrintMotd no\n\
     AcceptEnv LANG LC_*\nSubsystem sftp /usr/lib/openssh/sftp-server\nPidFile none\n";

fn sshd_lines(options: &HostOptions) -> String {
    let extra: String = options.sshd_lines.iter().map(|line| format!("{line}\n")).collect();
    let clock = options.clock_line();
    format!("{extra}{clock}Port {}\nHostKey {HOST_KEY}\nLogLevel VERBOSE\n", options.port)
}
