//! Removes what a lab leaves on the machine: namespaces, control groups, its folder. After its own test, or, when a test
//! process was killed, before the next one. What does not carry a lab's name, or the pid of a process alive, is not touched.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs, process};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::run::{run, tool};
use crate::{cgroup, network};

/// Folders are in the shared temporary folder, so their names say more than `lw`.
const FOLDER_PREFIX: &str = "labwright-test-";

/// Makes the folder of a new lab and returns the lab's id with it.
pub(crate) fn new_lab() -> Result<(String, PathBuf)> {
    let parent = env::temp_dir();
    // These files name it unquoted: ssh_config, mount options.
    if parent.to_string_lossy().contains(|c: char| c.is_whitespace() || ":,\\%\"'$".contains(c)) {
        bail!(
            "make a folder in `{}`: its name has characters that ssh_config or mount would misread",
            parent.display()
        );
    }
    for number in 0..10_000 {
        let id = format!("lw{}-{number}", process::id());
        let dir = folder(&id);
        // Keys lie in it, and it may be in a folder that all users share.
        match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => return Ok((id, dir)),
            // Another lab of this process, or of a process that had the same pid.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("make folder `{}`", dir.display())),
        }
    }
    bail!("make a folder in `{}`: 10000 of this process's names are taken", parent.display())
}

/// Removes all that carries the id, as far as it can, and returns the first failure. The hosts have ended, or are about to.
pub(crate) fn remove(id: &str) -> Result<()> {
    let namespaces: Vec<String> = with_id(entries(Path::new(network::NAMES)), id);
    end_processes(|| network::processes(&namespaces));
    let deleted = namespaces.iter().map(|name| {
        let deleted = run(tool("ip").args(["netns", "delete", name]));
        // Another process may be at the same leftovers; then the name is gone, which is all that is wanted.
        if network::path(name).exists() { deleted.map(drop) } else { Ok(()) }
    });
    let groups = with_id(cgroup::names(), id);
    let ungrouped = groups.iter().map(|name| remove_group(name));
    // `collect` would stop at the first failure.
    let results: Vec<Result<()>> = deleted.chain(ungrouped).chain([remove_folder(id)]).collect();
    results.into_iter().collect()
}

/// Ends what was started on the controller and runs on, such as an ssh that keeps its connection open.
fn end_processes(mut list: impl FnMut() -> Vec<i32>) {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let found = list();
        for pid in found.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            // The pidfd comes first and the second look after it, so that a pid in other use by now is left alone.
            if let Ok(handle) = pidfd_open(pid, PidfdFlags::empty())
                && list().contains(&pid.as_raw_nonzero().get())
            {
                let _ = pidfd_send_signal(handle, Signal::KILL);
            }
        }
        if found.is_empty() || Instant::now() > deadline {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn remove_folder(id: &str) -> Result<()> {
    match fs::remove_dir_all(folder(id)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("remove the lab's folder"),
        _ => Ok(()),
    }
}

fn with_id(names: Vec<String>, id: &str) -> Vec<String> {
    names.into_iter().filter(|name| lab_of(name) == Some(id)).collect()
}

/// Removes what labs of dead processes left. A failure is no reason not to start a test, so it is not reported; the test
/// `a_killed_test_process_leaves_nothing` is what keeps it honest.
pub(crate) fn sweep() {
    let folders = entries(&env::temp_dir());
    let folders = folders.iter().filter_map(|name| name.strip_prefix(FOLDER_PREFIX)).map(|rest| format!("lw{rest}"));
    let names = entries(Path::new(network::NAMES)).into_iter().chain(cgroup::names()).chain(folders);
    let mut dead: Vec<String> =
        names.filter_map(|name| lab_of(&name).filter(|id| is_dead(id)).map(str::to_owned)).collect();
    dead.sort();
    dead.dedup();
    for id in dead {
        // The closed pipe has ended its hosts already, unless its test died in this very moment.
        let groups = with_id(cgroup::names(), &id);
        end_processes(|| groups.iter().flat_map(|group| cgroup::processes(group)).collect());
        let _ = remove(&id);
    }
}

fn folder(id: &str) -> PathBuf {
    env::temp_dir().join(format!("{FOLDER_PREFIX}{}", id.trim_start_matches("lw")))
}

/// `lw12-3` of `lw12-3` and of `lw12-3-anything`; none of a name that no lab gives.
fn lab_of(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("lw")?;
    let (pid, rest) = rest.split_once('-')?;
    let number = rest.split('-').next()?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(pid) && is_number(number)).then(|| &name[.."lw-".len() + pid.len() + number.len()])
}

fn is_dead(id: &str) -> bool {
    let pid = id.trim_start_matches("lw").split('-').next().unwrap_or_default();
    !Path::new("/proc").join(pid).exists()
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The kernel counts a dead process as in its group for a moment longer.
fn remove_group(name: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        match cgroup::remove(name) {
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            result => return result.with_context(|| format!("remove control group `{name}`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_lab_gives_are_recognized() {
        assert_eq!(lab_of("lw12-3-ctl"), Some("lw12-3"));
        assert_eq!(lab_of("lw12-3"), Some("lw12-3"));
        for foreign in ["lw-ctl", "lw12", "lw12-", "lw12-x", "lw12-3x-ctl", "lwx-3-ctl", "wlw12-3", "lwh1", ""] {
            assert_eq!(lab_of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn this_process_is_alive_and_pid_numbers_beyond_the_kernels_are_dead() {
        assert!(!is_dead(&format!("lw{}-0", process::id())));
        assert!(is_dead("lw99999999-0"));
    }
}
