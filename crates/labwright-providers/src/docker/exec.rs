//! A command in a container: what is typed goes in, what it prints comes out, and its exit code is told.
//! A command that is left by whoever began it does not run on unseen.

use std::cell::RefCell;
use std::pin::pin;
use std::sync::mpsc;
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use labwright_plan::{ErrorKind, ExecAsk, Part, ProviderError, Size, Told, Typed};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::AsyncWriteExt;

use super::container;
use super::engine::{json, told};

/// Runs it to its end.
pub async fn run(
    docker: &Docker,
    part: &Part,
    ask: &ExecAsk,
    typed: mpsc::Receiver<Typed>,
    tell: &mut dyn FnMut(Told<'_>),
) -> Result<i64, ProviderError> {
    let name = part.id.name();
    let Some(there) = container::look(docker, name, &part.place).await? else {
        return Err(ProviderError::rejected(format!("there is no container `{name}`"))
            .help("`labwright status` tells what is there, `labwright apply` makes it"));
    };
    if there["State"]["Running"] != true {
        let state = there["State"]["Status"].as_str().unwrap_or_default();
        return Err(ProviderError::rejected(format!("`{name}` does not run: it is {state}"))
            .help("`labwright logs` tells what it said last"));
    }
    let id = there["Id"].as_str().unwrap_or(name);
    let failed = |error| told("run a command in", name, error);
    let options = CreateExecOptions {
        attach_stdin: Some(ask.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(ask.tty.is_some()),
        cmd: Some(ask.command.clone()),
        user: ask.user.clone(),
        working_dir: ask.directory.clone(),
        // What a shell with a terminal expects.
        env: ask.tty.map(|_| vec!["TERM=xterm".to_string()]),
        ..Default::default()
    };
    let made = docker.create_exec(id, options).await.map_err(failed)?.id;
    let options = StartExecOptions { tty: ask.tty.is_some(), ..Default::default() };
    let started = docker.start_exec(&made, Some(options)).await.map_err(failed)?;
    let StartExecResults::Attached { mut output, mut input } = started else {
        return Err(ProviderError::bug("the engine began a command and did not let us hear it"));
    };
    if let Some(size) = ask.tty {
        resize(docker, &made, size).await;
    }
    // What is typed comes from a thread that waits for it; here both directions are waited for, and neither holds up the other.
    let (forward, mut typed_here) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(next) = typed.recv() {
            if forward.send(next).is_err() {
                return;
            }
        }
    });
    let tell = RefCell::new(tell);
    let hear = async {
        while let Some(next) = output.next().await {
            match next.map_err(failed)? {
                LogOutput::StdErr { message } => (tell.borrow_mut())(Told::Stderr(&message)),
                other => (tell.borrow_mut())(Told::Stdout(other.as_ref())),
            }
        }
        Ok(())
    };
    let write = async {
        while let Some(next) = typed_here.recv().await {
            match next {
                Typed::Bytes(bytes) => {
                    // A command that reads no more is no fault: its end is what counts.
                    drop(input.write_all(&bytes).await);
                    drop(input.flush().await);
                    (tell.borrow_mut())(Told::Taken(bytes.len()));
                }
                Typed::End => drop(input.shutdown().await),
                Typed::Resized(size) => resize(docker, &made, size).await,
                Typed::HangUp => return,
            }
        }
    };
    match select(pin!(hear), pin!(write)).await {
        Either::Left((heard, _)) => heard?,
        Either::Right(_) => {
            hang_up(docker, &made, id).await;
            return Err(ProviderError::new(ErrorKind::Unreachable, "the command was hung up"));
        }
    }
    let ended = json(&docker.inspect_exec(&made).await.map_err(failed)?);
    Ok(ended["ExitCode"].as_i64().unwrap_or(-1))
}

/// The engine refuses until the command runs; one that has ended in this very moment needs no size.
async fn resize(docker: &Docker, exec: &str, size: Size) {
    for _ in 0..20 {
        let options = ResizeExecOptions { height: size.rows, width: size.columns };
        if docker.resize_exec(exec, options).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The engine has no word for ending a command, so its process is told. Only if it is the one: numbers are used again, and
/// may mean something else where the engine has processes of its own.
async fn hang_up(docker: &Docker, exec: &str, container: &str) {
    let Ok(state) = docker.inspect_exec(exec).await else { return };
    let Some(number) = state.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1) else { return };
    let Some(pid) = Pid::from_raw(number) else { return };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let group = std::fs::read_to_string(format!("/proc/{number}/cgroup")).unwrap_or_default();
    if group.contains(container) {
        // Gone already is as good.
        let _ = pidfd_send_signal(process, Signal::HUP);
    }
}
