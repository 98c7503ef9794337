//! Which processes belong to whom: those that a unit started, however far they went away from it.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// The variable that says which lab a process belongs to, and the one that says which unit.
pub const MARK: &str = "LABWRIGHT_UP";
pub const UNIT: &str = "LABWRIGHT_UP_UNIT";

/// The children of this process, those among them that were left to it.
pub fn children() -> Vec<Pid> {
    let own = std::process::id();
    let mut all = Vec::new();
    // Each thread has its own; the kernel may be built without these files, and then every process is looked at.
    let listed = fs::read_dir("/proc/self/task").ok().is_some_and(|threads| {
        threads.flatten().all(|thread| match fs::read_to_string(thread.path().join("children")) {
            Ok(text) => {
                all.extend(text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
                true
            }
            Err(_) => false,
        })
    });
    if listed {
        return all;
    }
    processes()
        .filter(|pid| parent(*pid) == Some(own))
        .filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
        .collect()
}

pub fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The parent of a process; proc_pid_stat(5): the name stands in brackets and may hold anything.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Whether a process is only a name that nobody has asked after yet.
pub fn is_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .is_none_or(|state| matches!(state, "Z" | "X"))
}

/// The values of our two variables in the environment that a process was started with.
pub fn marks(pid: u32) -> Option<(String, Option<String>)> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = |name: &str| {
        environment.split(|byte| *byte == 0).find_map(|pair| {
            let rest = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(String::from_utf8_lossy(rest).into_owned())
        })
    };
    Some((value(MARK)?, value(UNIT)))
}

/// What a process is called.
pub fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).map(|name| name.trim_end().to_string()).unwrap_or_default()
}

/// Ends everything that carries a lab's mark: what a run that was killed together with its guard has left. Returns what it
/// ended, by unit.
pub fn sweep(mark: &str) -> BTreeMap<String, usize> {
    let mut ended = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let mut left = false;
        for pid in processes() {
            let Some((_, unit)) = marks(pid).filter(|(found, _)| found == mark) else { continue };
            if is_ended(pid) {
                continue;
            }
            left = true;
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            if seen.insert(pid) {
                *ended.entry(unit.unwrap_or_default()).or_default() += 1;
            }
        }
        if !left || Instant::now() > until {
            return ended;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
