//! Starts a light host: sshd as the first process of its namespaces, on an overlay of this machine's root.
//! There is no systemd in it and no boot; what the overlay shows and hides is said in `light.sh`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cell::Cell;
use crate::options::HostOptions;
use crate::run::tool;

const SCRIPT: &str = include_str!("light.sh");

/// `dir` is the host's folder, with its seed in it.
pub(crate) fn start(dir: &Path, name: &str, namespace: &str, options: &HostOptions) -> Result<Cell> {
    for folder in ["disk", "root"] {
        fs::create_dir(dir.join(folder)).with_context(|| format!("make folder `{folder}` of host `{name}`"))?;
    }
    // A file, since what `sh -c` runs would be shown whole in the host's process list.
    let script = dir.join("light.sh");
    fs::write(&script, SCRIPT).context("write light.sh")?;
    let mut command = tool("ip");
    command.args([
        "netns",
        "exec",
        namespace,
        "unshare",
        "--mount",
        "--pid",
        "--ipc",
        "--uts",
        "--fork",
        "--kill-child",
        "sh",
    ]);
    command.arg(&script).arg(dir).arg(name).arg(format!("{}m", options.disk_mib.unwrap_or(DISK_MIB)));
    command.arg(if options.read_only_root { "ro" } else { "rw" });
    Cell::spawn(&mut command, &dir.join("log"))
}

/// Enough for any package, little enough that a runaway test does not fill the machine's memory.
pub(crate) const DISK_MIB: u32 = 2048;
