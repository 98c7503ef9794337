//! Whether the connection that this process serves is younger than a change.
//! A session over an older, shared connection shows only that open connections stay open.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

/// What the kernel counts processes' starts in, on every architecture: `USER_HZ`, from proc(5) and time(7).
const TICKS_PER_SECOND: u64 = 100;

/// Now, in ticks since the kernel started.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * TICKS_PER_SECOND + now.tv_nsec as u64 / (1_000_000_000 / TICKS_PER_SECOND)
}

/// When the SSH connection began that this process serves, in the same ticks: its server has a process for each. `None`
/// where no SSH server stands above this process.
pub fn connection_began() -> Option<u64> {
    let mut pid = std::process::id();
    while pid > 1 {
        let (name, parent, began) = process(pid)?;
        if name.starts_with("sshd") || name == "dropbear" {
            return Some(began);
        }
        pid = parent;
    }
    None
}

/// Name, parent and start of a process. From proc_pid_stat(5): the name is the second field and may hold anything.
fn process(pid: u32) -> Option<(String, u32, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_string();
    let fields: Vec<&str> = tail.split_whitespace().collect();
    Some((name, fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_starts_now_is_as_young_as_now() {
        let before = now();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (name, parent, began) = process(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(name == "sleep" || name.starts_with("labwright"), "{name}");
        assert_eq!(parent, std::process::id());
        assert!(began + 1 >= before && began <= now() + 1, "{before} {began}");
    }
}
