//! The process above the supervisor. It does nothing but wait: what the supervisor leaves behind when it is killed becomes
//! its own, and is ended. The other way round the supervisor ends everything when this one goes.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, WaitOptions};

use super::Folder;
use crate::serve::ServeError;

/// Starts the supervisor (this program with `arguments`) in a session of its own, and outlives it. `then` takes away what is no
/// process of this machine.
///
/// # Errors
/// Another one has the folder, or the program cannot be started again.
pub fn guard(folder: &Folder, arguments: &[String], then: &dyn Fn()) -> Result<(), ServeError> {
    // A terminal that is closed is none of ours.
    let _ = rustix::process::setsid();
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let _lock = folder.lock("guard.lock")?;
    let failed = |error: std::io::Error| ServeError::new(format!("failed to start the supervisor: {error}"), "");
    let program = std::env::current_exe().map_err(failed)?;
    let child = Command::new(program).args(arguments).stdin(Stdio::inherit()).spawn().map_err(failed)?;
    let supervisor = Pid::from_child(&child);
    let mut gone = false;
    // All that is left of it becomes a child of this process; without children there is nothing to wait for.
    while let Ok(ended) = rustix::process::wait(WaitOptions::empty()) {
        gone |= ended.is_some_and(|(pid, _)| pid == supervisor);
        if gone {
            for pid in super::kin::children() {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }
    then();
    Ok(())
}
