//! `labwright exec`: a command in a container of a service.

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, mpsc};

use labwright_plan::{ExecAsk, Part, Told, Typed};

use super::looking;
use crate::error::CliError;
use crate::lab::{self, LabOption, PROVIDERS, SshArgs};
use crate::raw::{self, Raw};
use crate::terminal::Terminal;

/// Runs a command in a container of a service, as if you sat there.
///
/// Input, output and errors go through, and the exit code is the command's. With a terminal on both ends, it has one of its
/// own, and keys go to it as they are. When you are cut off, the command is hung up.
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
        let (gone, hang_up) = mpsc::channel();
        watch(send.clone(), gone.clone(), tty.is_some(), told_to_end.clone())?;
        let raw = tty.map(|_| Raw::enter()).transpose();
        let raw = raw.map_err(|error| CliError::usage(format!("cannot use this terminal: {error}")))?;
        if !self.no_stdin {
            std::thread::spawn(move || read_stdin(&send));
        }
        let (mut out, mut err) = (io::stdout(), io::stderr());
        let mut tell = |told: Told<'_>| {
            let written = match told {
                Told::Stdout(bytes) => out.write_all(bytes).and_then(|()| out.flush()),
                Told::Stderr(bytes) => err.write_all(bytes).and_then(|()| err.flush()),
                Told::Taken(_) => Ok(()),
            };
            let first = |signal| told_to_end.compare_exchange(0, signal, Ordering::AcqRel, Ordering::Acquire).is_ok();
            if written.is_err() && first(signal_hook::consts::SIGPIPE) {
                // Whoever read it is gone, as with any program in a pipe. A link that is over by now ends the command as well.
                let _ = gone.send(());
            }
        };
        let ended = labwright_engine::exec(target, &part, &ask, PROVIDERS, (typed, hang_up), &mut tell);
        drop(raw);
        match (ended, told_to_end.load(Ordering::Acquire)) {
            (Ok(code), _) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(255))),
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

/// Passes on the terminal's size, and hangs the command up when this program is told to end; the second time it ends at
/// once. Keys of a terminal are the command's: Ctrl-C is no signal then.
fn watch(
    send: mpsc::SyncSender<Typed>,
    gone: mpsc::Sender<()>,
    tty: bool,
    told_to_end: Arc<AtomicI32>,
) -> Result<(), CliError> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
    let mut signals =
        signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM, SIGWINCH]).map_err(CliError::bug)?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGWINCH {
                if let Some(size) = raw::size().filter(|_| tty) {
                    // Not waited for: one that takes nothing that is typed looks at no size either, and signals go on.
                    drop(send.try_send(Typed::Resized(size)));
                }
                continue;
            }
            if told_to_end.swap(signal, Ordering::AcqRel) != 0 {
                raw::restore();
                lab::sweep();
                std::process::exit(128 + signal);
            }
            let _ = gone.send(());
        }
    });
    Ok(())
}
