//! A command in a container: what is typed goes in, what it prints comes out, and its exit code is told.
//! A command that is left by whoever began it does not run on unseen.

use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use futures_util::StreamExt;
use futures_util::future::{Either, join, select};
use labwright_plan::{ErrorKind, ExecAsk, Part, ProviderError, Size, Told, Typed};
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::engine::{self, json, told};
use super::{container, signal};

/// How many pieces of what a command prints wait for whoever reads them; the engine cuts them to 32 KiB at most.
const PIECES_HELD: usize = 32;
/// How many more are held once the command has ended. All that it left on the way here fits: the kernel and the engine keep a few
/// megabytes of it at most.
const PIECES_LEFT: usize = 1024;

/// What there is to tell.
enum Piece {
    /// Its place is free again when this goes.
    Printed {
        output: LogOutput,
        _place: OwnedSemaphorePermit,
    },
    Taken(usize),
}

/// Runs a command on the engine at `socket`, to its end. Telling has a thread to itself, this one: whoever does not read,
/// or is slow, holds up the command and not the word that ends it.
pub fn run(
    socket: &str,
    part: &Part,
    ask: &ExecAsk,
    typed: mpsc::Receiver<Typed>,
    tell: &mut dyn FnMut(Told<'_>),
) -> Result<i64, ProviderError> {
    let (say, said) = mpsc::channel();
    std::thread::scope(|scope| {
        let working =
            scope.spawn(move || engine::with(socket, async |docker| attend(docker, part, ask, typed, say).await));
        for piece in said {
            match &piece {
                Piece::Printed { output: LogOutput::StdErr { message }, .. } => tell(Told::Stderr(message)),
                Piece::Printed { output, .. } => tell(Told::Stdout(output.as_ref())),
                Piece::Taken(bytes) => tell(Told::Taken(*bytes)),
            }
        }
        working.join().unwrap_or_else(|_| Err(ProviderError::bug("what attends a command panicked")))
    })
}

async fn attend(
    docker: &Docker,
    part: &Part,
    ask: &ExecAsk,
    typed: mpsc::Receiver<Typed>,
    say: mpsc::Sender<Piece>,
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
    let (signal, signals) = tokio::sync::mpsc::unbounded_channel();
    let (hang, hung) = oneshot::channel();
    std::thread::spawn(move || {
        while let Ok(next) = typed.recv() {
            let taken = match next {
                // Not behind what was typed: a command that reads nothing may be told to end all the same.
                Typed::Signal(number) => signal.send(number).is_ok(),
                next => forward.send(next).is_ok(),
            };
            if !taken {
                return;
            }
        }
        // Nobody is left who began it. One that has ended by itself does not hear it.
        let _ = hang.send(());
    });
    let room = Arc::new(Semaphore::new(PIECES_HELD));
    let hear = async {
        while let Some(next) = output.next().await {
            let output = next.map_err(failed)?;
            let Ok(_place) = room.clone().acquire_owned().await else { break };
            // Whoever was told is gone with what began this.
            drop(say.send(Piece::Printed { output, _place }));
            // One that prints without a pause would leave the others no turn: what a task may do at a time is counted for
            // all of it together.
            tokio::task::yield_now().await;
        }
        Ok::<(), ProviderError>(())
    };
    let write = async {
        while let Some(next) = typed_here.recv().await {
            match next {
                Typed::Bytes(bytes) => {
                    // A command that reads no more is no fault: its end is what counts.
                    drop(input.write_all(&bytes).await);
                    drop(input.flush().await);
                    drop(say.send(Piece::Taken(bytes.len())));
                }
                Typed::End => drop(input.shutdown().await),
                Typed::Resized(size) => resize(docker, &made, size).await,
                Typed::Signal(_) => {}
            }
        }
        std::future::pending::<()>().await;
    };
    let inside = signal::Inside::new(docker, &made, id);
    // What is left of its output is taken whether or not somebody reads it: until then the engine keeps the whole container, and
    // nobody else can stop it or run anything in it.
    let take_the_rest = async {
        inside.ended().await;
        room.add_permits(PIECES_LEFT);
        std::future::pending::<()>().await;
    };
    // In a scope of their own: what one of them has begun to ask of the engine goes with it.
    let over = {
        // These go on for as long as the command does; only the last ends early, where it cannot be told anything.
        let (write, pass_on) = (pin!(join(write, take_the_rest)), pin!(inside.pass_on(signals)));
        match select(pin!(hear), select(select(write, pass_on), hung)).await {
            Either::Left((heard, _)) => Some(heard),
            Either::Right((Either::Left((Either::Right((unheard, _)), _)), _)) => Some(Err(unheard)),
            Either::Right(_) => None,
        }
    };
    let Some(over) = over else {
        inside.hang_up().await?;
        // One that waits to be read is not one that does not listen.
        drop((output, input));
        return Err(inside
            .outlived()
            .await
            .unwrap_or_else(|| ProviderError::new(ErrorKind::Unreachable, "the command was hung up")));
    };
    over?;
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
