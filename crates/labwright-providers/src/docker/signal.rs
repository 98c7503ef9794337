//! Signals for a command that runs in a container. The engine has no word for them, so its processes are told by the agent,
//! beside which they run. Only those that are the command's: numbers are used again, and may mean something else where the
//! engine has processes of its own.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use bollard::Docker;
use labwright_plan::ProviderError;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::OnceCell;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};

use super::engine::told;
use crate::host::errors::has_ended;

/// How long the engine may take to note the number of a process that it began, and to say it.
const NOTED: Duration = Duration::from_secs(10);
/// How long a command that was hung up may take to end.
const ENDS: Duration = Duration::from_secs(2);
/// Signals that tell a command to end.
const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// A command in a container, by the engine's numbers of both.
pub struct Inside<'a> {
    docker: &'a Docker,
    exec: &'a str,
    container: &'a str,
    held: OnceCell<Held>,
}

/// Its first process.
enum Held {
    /// Held, so that its number cannot become another's unnoticed; readable once it has ended, pidfd_open(2).
    Here(Pid, AsyncFd<OwnedFd>),
    /// The engine has it, and it is not among the processes here.
    Elsewhere,
}

impl<'a> Inside<'a> {
    pub fn new(docker: &'a Docker, exec: &'a str, container: &'a str) -> Inside<'a> {
        Inside { docker, exec, container, held: OnceCell::new() }
    }

    /// Passes signals on for as long as any come, and then waits for ever. Returns only where one cannot be passed on.
    pub async fn pass_on(&self, mut signals: UnboundedReceiver<i32>) -> ProviderError {
        let mut told_to_end = false;
        let mut has_ended = false;
        loop {
            tokio::select! {
                Some(number) = signals.recv() => {
                    let Some(signal) = Signal::from_named_raw(number) else { continue };
                    if let Err(error) = self.signal(signal).await {
                        return error;
                    }
                    told_to_end |= ENDING.contains(&signal);
                }
                () = self.ended(), if !has_ended => has_ended = true,
                else => std::future::pending().await,
            }
            // What it began and left behind, such as what a shell runs with `&`, would hold its output open.
            if has_ended
                && told_to_end
                && let Err(error) = self.hang_up().await
            {
                return error;
            }
        }
    }

    /// Ends a command that was left, and what it left behind.
    ///
    /// # Errors
    /// It runs, and cannot be told.
    pub async fn hang_up(&self) -> Result<(), ProviderError> {
        self.signal(Signal::HUP).await
    }

    /// What is to be told of a command that was hung up and runs on all the same; `None` where it has ended.
    pub async fn outlived(&self) -> Option<ProviderError> {
        timeout(ENDS, self.ended()).await.err()?;
        let message = "the command was hung up (SIGHUP), does not listen, and runs on";
        Some(ProviderError::rejected(message).help(self.by_hand("kill -9")))
    }

    /// Waits until its first process has ended; for ever where that is not seen from here. The engine is not asked: until all that
    /// the command printed has been taken, some releases answer nothing about its container.
    pub async fn ended(&self) {
        match self.hold().await {
            Ok(Some(Held::Here(_, process))) if process.readable().await.is_ok() => {}
            Ok(None) => {}
            _ => std::future::pending().await,
        }
    }

    /// Signals a command and all that it began: what the engine runs leads a group of its own, and what a shell began ends with
    /// the shell. Nothing left to tell is as good.
    async fn signal(&self, signal: Signal) -> Result<(), ProviderError> {
        let (leader, process) = match self.hold().await? {
            Some(Held::Here(leader, process)) => (*leader, process),
            None => return Ok(()),
            Some(Held::Elsewhere) => return Err(self.unheard(signal, "its process is not among those of this host")),
        };
        // All are found before the first is told: what it starts to tidy up is not meant.
        let others = self.others(leader).map_err(|error| self.unheard(signal, &error.to_string()))?;
        match pidfd_send_signal(process.as_fd(), signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(self.unheard(signal, &std::io::Error::from(errno).to_string())),
        }
        for process in others {
            let _ = pidfd_send_signal(process, signal);
        }
        Ok(())
    }

    fn unheard(&self, signal: Signal, why: &str) -> ProviderError {
        let name = format!("{signal:?}").trim_matches('"').replace("Signal::", "SIG");
        let message = format!("{name} cannot be passed on to the command, which runs on: {why}");
        ProviderError::rejected(message).help(self.by_hand("kill"))
    }

    fn by_hand(&self, kill: &str) -> String {
        let short = &self.container[..12.min(self.container.len())];
        format!(
            "end it inside: `docker exec {short} ps` names it and `docker exec {short} {kill} NUMBER` ends it; or where the \
             engine itself runs: `docker top {short}`, and `{kill} NUMBER`"
        )
    }

    /// Finds its first process, and holds it; `None` where it had ended before it was looked for.
    ///
    /// # Errors
    /// The engine does not say which it is, or this host does not say whose that process is.
    async fn hold(&self) -> Result<Option<&Held>, ProviderError> {
        let unknown = |error: std::io::Error| {
            let message = format!("cannot tell which process the command is: {error}");
            Some(ProviderError::rejected(message).help("`docker top` on the host shows what runs in the container"))
        };
        let find = async || {
            let Some(pid) = self.number().await.map_err(Some)? else { return Err(None) };
            if let Some(process) = self.held(pid).map_err(unknown)? {
                #[expect(
                    deprecated,
                    reason = "unsound with what closes its descriptor meanwhile, which an `OwnedFd` does not"
                )]
                let process = AsyncFd::with_interest(process, Interest::READABLE).map_err(unknown)?;
                return Ok(Held::Here(pid, process));
            }
            // It may have ended in this very moment.
            self.number().await.map_err(Some)?.map(|_| Held::Elsewhere).ok_or(None)
        };
        match self.held.get_or_try_init(find).await {
            Ok(held) => Ok(Some(held)),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    /// The number of its process; `None` where it has ended. The engine says that it begins a command before it does, and what
    /// the command prints can come before the engine has noted its number.
    async fn number(&self) -> Result<Option<Pid>, ProviderError> {
        let ask = async {
            loop {
                let state = self.docker.inspect_exec(self.exec).await;
                let state = state.map_err(|error| told("look at a command in", self.container, error))?;
                let number = state.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1);
                match (state.running, state.exit_code, number.and_then(Pid::from_raw)) {
                    (Some(true), _, Some(pid)) => return Ok(Some(pid)),
                    (Some(true), ..) | (_, None, _) => {}
                    _ => return Ok(None),
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(NOTED, ask).await.unwrap_or_else(|_| {
            let message = format!("the engine does not say within {} s which process the command is", NOTED.as_secs());
            Err(ProviderError::rejected(message).help("`docker top` on the host shows what runs in the container"))
        })
    }

    /// Holds a process, if it is one of the container's; `None` where there is none of that number, or where it is another's.
    fn held(&self, pid: Pid) -> std::io::Result<Option<OwnedFd>> {
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(None),
            process => process?,
        };
        match std::fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero())) {
            Ok(group) => Ok(group.contains(self.container).then_some(process)),
            Err(error) if has_ended(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The other processes of its group that are in the container.
    fn others(&self, leader: Pid) -> std::io::Result<Vec<OwnedFd>> {
        let mut others = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let pid = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            let Some(pid) = pid.filter(|pid| *pid != leader) else { continue };
            // Asked again once it is held: the number may have become another's in between.
            let is_own = || group(pid) == Some(leader.as_raw_nonzero().get());
            if is_own()
                && let Some(process) = self.held(pid)?.filter(|_| is_own())
            {
                others.push(process);
            }
        }
        Ok(others)
    }
}

/// The process group of a process, the fifth field of its `stat`; proc_pid_stat(5). That of a kernel thread is 0. `None` where it
/// has ended, or is nobody's business here.
fn group(pid: Pid) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}
