//! Starts a systemd host: systemd-nspawn on an overlay of the base root file system, in control groups of its own.
//! It is not registered with machined and shares no network with the machine; limits set inside are not enforced.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cell::{Cell, children};
use crate::light::DISK_MIB;
use crate::options::HostOptions;
use crate::run::tool;
use crate::{base, cgroup, network};

const SCRIPT: &str = include_str!("systemd.sh");

/// `dir` is the host's folder, with its seed in it; `machine` is unique on this machine.
pub(crate) fn start(dir: &Path, name: &str, machine: &str, namespace: &str, options: &HostOptions) -> Result<Cell> {
    let base = base::root_fs()?;
    for folder in ["disk", "root"] {
        fs::create_dir(dir.join(folder)).with_context(|| format!("make folder `{folder}` of host `{name}`"))?;
    }
    let script = dir.join("systemd.sh");
    fs::write(&script, SCRIPT).context("write systemd.sh")?;
    let groups = cgroup::create(machine)?;
    let mut command = tool("unshare");
    command.args(["--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc", "sh"]);
    command.arg(&script).arg(dir).arg(base).arg(network::path(namespace)).arg(name).arg(machine);
    command.arg(format!("{}m", options.disk_mib.unwrap_or(DISK_MIB)));
    command.arg(groups.len().to_string()).args(groups).args(&options.nspawn_args);
    Cell::spawn(&mut command, &dir.join("log"))
}

/// The pid of the systemd-nspawn that runs under the keeper, the cell's first process; none between two boots.
pub(crate) fn nspawn(keeper: u32) -> Option<u32> {
    let is_nspawn = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "systemd-nspawn")
    };
    children(keeper).into_iter().find(is_nspawn)
}
