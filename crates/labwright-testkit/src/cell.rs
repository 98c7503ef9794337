//! A process in a pid and mount namespace of its own: when its first process ends, all of them end and every mount goes.
//! It does not know what runs inside. Beyond the child that it started it signals only what descends from that child.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The child holds the read end of a pipe as standard input. When the test process dies, however it dies, the kernel closes
/// the other end, and the scripts in the cells end themselves. (A parent-death signal would come when the *thread* ends.)
#[derive(Debug)]
pub(crate) struct Cell {
    child: Child,
}

impl Cell {
    /// `command` has to end up as `unshare --fork --pid …`, whose child is the first process of the cell.
    pub(crate) fn spawn(command: &mut Command, log: &Path) -> Result<Self> {
        let log =
            File::options().create(true).append(true).open(log).with_context(|| format!("open `{}`", log.display()))?;
        // A group of its own: Ctrl-C reaches the test process alone, which then ends the cell, or the closed pipe does.
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).process_group(0);
        Ok(Self { child: command.spawn().with_context(|| format!("start `{}`", command.get_program().display()))? })
    }

    /// The first process of the cell, as a pid of this machine.
    pub(crate) fn first(&self) -> Option<u32> {
        children(self.child.id()).first().copied()
    }

    pub(crate) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("ask for the state of a host's process")
    }

    /// Whether the cell ended in time. Never `Child::wait` here: it would close the pipe first, and so kill the cell.
    pub(crate) fn ends_by(&mut self, deadline: Instant) -> bool {
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                Ok(None) => return false,
                Ok(Some(_)) | Err(_) => return true,
            }
        }
    }

    /// Ends all processes of the cell and returns when they are gone.
    pub(crate) fn kill(&mut self) {
        // `unshare` gets the end of its child reported only when every process of the namespace is gone, so kill that child
        // and wait; killing `unshare` itself would return too early.
        match self.first() {
            Some(first) if signal_child(self.child.id(), first, Signal::KILL) => {}
            _ => {
                let _ = self.child.kill();
            }
        }
        let _ = self.child.wait();
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The pids of the children, oldest first; empty when the process is gone.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Signals `child` only if it is still a child of `parent`: the pidfd is taken first, so a reused pid is never hit.
pub(crate) fn signal_child(parent: u32, child: u32, signal: Signal) -> bool {
    let Some(pid) = i32::try_from(child).ok().and_then(Pid::from_raw) else { return false };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    children(parent).contains(&child) && pidfd_send_signal(handle, signal).is_ok()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::run::tool;

    fn crowd() -> Cell {
        let mut command = tool("unshare");
        let script = "for _ in $(seq 30); do sleep 600 & done; read -r _";
        command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]);
        Cell::spawn(&mut command, Path::new("/dev/null")).unwrap()
    }

    fn members(cell: &Cell) -> Vec<u32> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let first = cell.first().unwrap_or_default();
            let all = [vec![first], children(first)].concat();
            if all.len() > 30 || Instant::now() > deadline {
                return all;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn alive(pids: &[u32]) -> Vec<&u32> {
        pids.iter().filter(|pid| Path::new("/proc").join(pid.to_string()).exists()).collect()
    }

    #[test]
    fn a_killed_cell_has_no_process_left() {
        let mut cell = crowd();
        let members = members(&cell);
        assert_eq!(alive(&members).len(), 31);
        cell.kill();
        assert_eq!(alive(&members), Vec::<&u32>::new());
    }

    #[test]
    fn only_a_child_of_the_given_parent_is_signalled() {
        let cell = crowd();
        let members = members(&cell);
        assert!(!signal_child(std::process::id(), members[1], Signal::KILL));
        assert!(alive(&members[1..2]).len() == 1);
        assert!(signal_child(members[0], members[1], Signal::KILL));
    }
}
