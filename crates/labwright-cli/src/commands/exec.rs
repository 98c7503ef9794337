//! `labwright exec`: a command in a container of a service.

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use labwright_engine::Word;
use labwright_plan::{ErrorKind, ExecAsk, Part, Told, Typed};

use super::looking;
use crate::error::CliError;
use crate::lab::{self, LabOption, PROVIDERS, SshArgs};
use crate::raw::{self, Raw};
use crate::terminal::Terminal;

/// Runs a command in a container of a service, as if you sat there.
///
/// Input, output and errors go through, and the exit code is the command's. With a terminal on both ends, it has one of its
/// own, and keys go to it as they are: Ctrl-C is a key then. Without one, signals to this program (SIGINT, SIGTERM, SIGHUP,
/// SIGQUIT, SIGUSR1, SIGUSR2) go to the command, and what it does then counts; told to end a second time, it is hung up. When
/// you are cut off, the command is hung up.
#[derive(clap::Args)]
pub struct Exec {
    /// `SERVICE`, `SERVICE/CONTAINER` where it has several, with `SERVICE@ENVIRONMENT` where it has those.
    #[arg(value_name = "SERVICE[/CONTAINER]")]
    service: String,
    /// The command and its arguments, behind `--`.
    #[arg(value_name = "COMMAND", last = true, required = true)]
    command: Vec<String>,
    /// The host, where it runs on several.
    #[arg(long, value_name = "HOST")]
    on: Option<String>,
    /// Run it as this user; `root`, or a number. Without it, as the container does.
    #[arg(long, short, value_name = "USER")]
    user: Option<String>,
    /// Run it in this folder of the container.
    #[arg(long, short = 'w', value_name = "FOLDER")]
    workdir: Option<String>,
    /// Give it no terminal, although there is one.
    #[arg(long, short = 'T')]
    no_tty: bool,
    /// Give it no input.
    #[arg(long, short = 'n')]
    no_stdin: bool,
    #[command(flatten)]
    lab: LabOption,
    #[command(flatten)]
    ssh: SshArgs,
}

/// How much is read and sent at once.
const PIECE: usize = 16 << 10;

impl Exec {
    pub fn run(self, terminal: &Terminal) -> Result<ExitCode, CliError> {
        let looked = looking::read(&self.lab, terminal)?;
        let part = self.one(looked.named(&self.service)?)?;
        let targets = looked.targets(std::slice::from_ref(&part), &self.ssh)?;
        let Some(target) = targets.first() else {
            return Err(CliError::usage(format!("`{}` is not in the lab", part.id.host())));
        };
        let on_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        let tty = (on_terminal && !self.no_tty && !self.no_stdin).then(|| raw::size().unwrap_or_default());
        let ask = ExecAsk {
            command: self.command.clone(),
            user: self.user.clone(),
            directory: self.workdir.clone(),
            tty,
            stdin: !self.no_stdin,
        };
        let (send, typed) = mpsc::sync_channel(1);
        let told_to_end = Arc::new(AtomicI32::new(0));
        let (gone, words) = mpsc::channel();
        let begun = Arc::new(AtomicBool::new(false));
        watch(send.clone(), gone.clone(), tty.is_some(), (told_to_end.clone(), begun.clone()))?;
        let raw = tty.map(|_| Raw::enter()).transpose();
        let raw = raw.map_err(|error| CliError::usage(format!("cannot use this terminal: {error}")))?;
        if !self.no_stdin {
            std::thread::spawn(move || read_stdin(&send));
        }
        let (mut out, mut err) = (io::stdout(), io::stderr());
        let mut unread = false;
        let mut tell = |told: Told<'_>| {
            let written = match told {
                Told::Stdout(bytes) => out.write_all(bytes).and_then(|()| out.flush()),
                Told::Stderr(bytes) => err.write_all(bytes).and_then(|()| err.flush()),
                Told::Taken(_) => Ok(()),
            };
            if written.is_err() && !unread {
                // Whoever read it is gone, as with any program in a pipe. A link that is over by now ends the command as well.
                unread = true;
                first(&told_to_end, signal_hook::consts::SIGPIPE);
                // A command that has ended has nobody left to hear it.
                let _ = gone.send(Word::HangUp);
            }
        };
        let ended = labwright_engine::exec(target, &part, &ask, PROVIDERS, (typed, words, &begun), &mut tell);
        drop(raw);
        match (ended, told_to_end.load(Ordering::Acquire)) {
            (Ok(code), _) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(255))),
            // It runs on, and whoever told it to end has to know.
            (Err(error), _) if error.kind == ErrorKind::Rejected => Err(error.into()),
            // As a shell tells it of any program that a signal ended.
            (Err(_), signal @ 1..) => Ok(ExitCode::from(u8::try_from(128 + signal).unwrap_or(255))),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// The one container that is meant; of several, the choice is not ours.
    fn one(&self, parts: Vec<Part>) -> Result<Part, CliError> {
        let mut here: Vec<Part> =
            parts.into_iter().filter(|part| self.on.as_ref().is_none_or(|on| part.id.host() == on)).collect();
        match (here.len(), &self.on) {
            (0, Some(on)) => Err(CliError::usage(format!("nothing of `{}` runs on `{on}`", self.service))),
            (1, _) => Ok(here.remove(0)),
            _ => {
                let line = |part: &Part| {
                    format!("labwright exec {}/{} --on {} -- …", looking::address(part), part.name, part.id.host())
                };
                let error = CliError::usage(format!("`{}` is {} containers; say which", self.service, here.len()));
                Err(here.iter().map(line).fold(error, CliError::hint))
            }
        }
    }
}

fn read_stdin(send: &mpsc::SyncSender<Typed>) {
    let mut stdin = io::stdin().lock();
    let mut piece = vec![0; PIECE];
    loop {
        let next = match stdin.read(&mut piece) {
            Ok(0) => Typed::End,
            Ok(n) => Typed::Bytes(piece[..n].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => Typed::End,
        };
        let last = next == Typed::End;
        if send.send(next).is_err() || last {
            break;
        }
    }
}

/// Notes the first signal that anybody's wish to end was: the exit code tells it where nothing better is known.
fn first(told_to_end: &AtomicI32, signal: i32) {
    let _ = told_to_end.compare_exchange(0, signal, Ordering::AcqRel, Ordering::Acquire);
}

/// How long a command that is hung up may take to end.
const PATIENCE: Duration = Duration::from_secs(3);

/// Passes on the terminal's size, and signals. Keys of a terminal are the command's: Ctrl-C is no signal then, and what ends
/// this program hangs the command up. Without a terminal the command decides what a signal means, and is hung up when it is told
/// to end once more.
fn watch(
    send: mpsc::SyncSender<Typed>,
    gone: mpsc::Sender<Word>,
    tty: bool,
    (told_to_end, begun): (Arc<AtomicI32>, Arc<AtomicBool>),
) -> Result<(), CliError> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
    let all = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH];
    let mut signals = signal_hook::iterator::Signals::new(all).map_err(CliError::bug)?;
    let end = |signal: i32| -> ! {
        raw::restore();
        lab::sweep();
        std::process::exit(128 + signal);
    };
    std::thread::spawn(move || {
        let mut times = 0;
        for signal in signals.forever() {
            match signal {
                SIGWINCH => {
                    if let Some(size) = raw::size().filter(|_| tty) {
                        // Not waited for: one that takes nothing that is typed looks at no size either, and signals go on.
                        drop(send.try_send(Typed::Resized(size)));
                    }
                    continue;
                }
                SIGUSR1 | SIGUSR2 => {
                    // A command that has ended has nobody left to hear it.
                    let _ = gone.send(Word::Signal(signal));
                    continue;
                }
                _ => times += 1,
            }
            first(&told_to_end, signal);
            if !begun.load(Ordering::Acquire) {
                // A host that does not answer yet is not waited for.
                end(signal);
            }
            let _ = match (times, tty) {
                (1, false) => gone.send(Word::Signal(signal)),
                (1, true) => gone.send(Word::HangUp),
                (2, false) => {
                    std::thread::spawn(move || {
                        std::thread::sleep(PATIENCE);
                        end(signal)
                    });
                    gone.send(Word::HangUp)
                }
                _ => end(signal),
            };
        }
    });
    Ok(())
}
