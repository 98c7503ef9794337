//! Runs the system's own programs: no shell, no terminal, no waiting without an end, and their own words on failure.
//! Decides nothing about what a failure means.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use labwright_plan::{ErrorKind, ProviderError};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, Signal};

/// For programs that only look, or change one record.
pub const SHORT: Duration = Duration::from_secs(60);

/// Debian's own, so that what is found does not depend on how the agent was started.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a program ended, and what it said.
#[derive(Debug)]
pub struct Output {
    /// The program and its first arguments, to be named in messages.
    pub called: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Whether it ended with 0.
    pub fn ok(&self) -> bool {
        self.status.success()
    }

    /// The failure as an error, with the program's last words; an output that is a success goes through.
    pub fn require(self) -> Result<Output, ProviderError> {
        if self.ok() { Ok(self) } else { Err(self.error()) }
    }

    /// The error that a failed program stands for.
    pub fn error(&self) -> ProviderError {
        let said = self.last_words(5);
        let ended = match self.status.code() {
            Some(code) => format!("ended with {code}"),
            None => "was killed".to_string(),
        };
        let colon = if said.is_empty() { "" } else { ": " };
        ProviderError::rejected(format!("`{}` {ended}{colon}{said}", self.called))
    }

    /// The last lines of stderr; of stdout where stderr is empty.
    pub fn last_words(&self, lines: usize) -> String {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        last_lines(text, lines)
    }
}

/// The last lines that are not blank.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Runs a program to its end. An exit status other than 0 is not an error here; not starting and not ending are.
pub fn run(program: &str, args: &[&str], limit: Duration) -> Result<Output, ProviderError> {
    run_with(program, args, &[], limit)
}

/// As `run`, with more environment.
pub fn run_with(program: &str, args: &[&str], env: &[(&str, &str)], limit: Duration) -> Result<Output, ProviderError> {
    start(program, args, env, None, limit)
}

/// As `run`, with something to read on standard input; it is in memory alone.
pub fn feed(program: &str, args: &[&str], input: &[u8], limit: Duration) -> Result<Output, ProviderError> {
    start(program, args, &[], Some(input), limit)
}

fn start(
    program: &str,
    args: &[&str],
    env: &[(&str, &str)],
    input: Option<&[u8]>,
    limit: Duration,
) -> Result<Output, ProviderError> {
    let called = called(program, args);
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ProviderError::rejected(format!("`{program}` is not installed there")),
        _ => ProviderError::rejected(format!("cannot run `{called}`: {error}")),
    };
    // Memory files, not pipes: a daemon that a program leaves behind holds its output open, and a pipe would wait for it.
    let (out, err) = (sink().map_err(failed)?, sink().map_err(failed)?);
    let mut command = Command::new(program);
    command.args(args).env("PATH", PATH).env("LC_ALL", "C").env_remove("LANGUAGE").envs(env.iter().copied());
    let stdin = input.map_or_else(|| Ok(Stdio::null()), |input| filled(input).map(Stdio::from)).map_err(failed)?;
    command.stdin(stdin).process_group(0);
    command.stdout(out.try_clone().map_err(failed)?).stderr(err.try_clone().map_err(failed)?);
    let mut child = command.spawn().map_err(failed)?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || drop(ended.send(child.wait())));
    match end.recv_timeout(limit) {
        Ok(status) => {
            let status = status.map_err(failed)?;
            let (stdout, stderr) = (text(out).map_err(failed)?, text(err).map_err(failed)?);
            Ok(Output { called, status, stdout, stderr })
        }
        Err(_) => {
            if let Some(group) = group {
                // It may end by itself at this very moment; either way it is gone then.
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
            }
            let said = last_lines(&text(err).unwrap_or_default(), 5);
            let colon = if said.is_empty() { "" } else { "; it last said: " };
            let message = format!("`{called}` did not end within {} s and was killed{colon}{said}", limit.as_secs());
            Err(ProviderError { retry: false, ..ProviderError::new(ErrorKind::Timeout, message) })
        }
    }
}

/// What was run, short enough for a message.
fn called(program: &str, args: &[&str]) -> String {
    let words: Vec<&str> = std::iter::once(program).chain(args.iter().copied()).collect();
    let full = words.join(" ");
    if full.chars().count() <= 80 { full } else { words[..words.len().min(2)].join(" ") + " …" }
}

fn sink() -> io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create("labwright", MemfdFlags::CLOEXEC)?))
}

fn filled(input: &[u8]) -> io::Result<File> {
    let mut file = sink()?;
    file.write_all(input)?;
    file.rewind()?;
    Ok(file)
}

fn text(mut sink: File) -> io::Result<String> {
    let mut bytes = Vec::new();
    sink.rewind()?;
    sink.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn output_and_status_are_kept_apart() {
        let output = run("sh", &["-c", "echo out; echo one >&2; echo two >&2; exit 3"], SHORT).unwrap();
        assert_eq!(output.stdout, "out\n");
        let error = output.require().unwrap_err();
        assert!(error.message.ends_with("ended with 3: one\ntwo"), "{}", error.message);
    }

    #[test]
    fn the_environment_is_plain_and_there_is_no_input() {
        let output = run_with("sh", &["-c", "echo $LC_ALL $MORE; cat"], &[("MORE", "more")], SHORT).unwrap();
        assert_eq!(output.stdout, "C more\n");
    }

    #[test]
    fn what_is_fed_is_read() {
        assert_eq!(feed("cat", &[], b"in\n", SHORT).unwrap().stdout, "in\n");
        assert_eq!(feed("cat", &["/dev/stdin"], b"in\n", SHORT).unwrap().stdout, "in\n");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        assert_eq!(run("no-such-program", &[], SHORT).unwrap_err().message, "`no-such-program` is not installed there");
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_with_its_children() {
        let begun = Instant::now();
        let script = "echo waiting >&2; sleep 600 & sleep 600";
        let error = run("sh", &["-c", script], Duration::from_millis(200)).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert_eq!((error.kind, error.retry), (ErrorKind::Timeout, false));
        assert!(error.message.ends_with("was killed; it last said: waiting"), "{}", error.message);
    }

    #[test]
    fn a_daemon_left_behind_is_not_waited_for() {
        let begun = Instant::now();
        let output = run("sh", &["-c", "sleep 20 & echo started"], Duration::from_secs(15)).unwrap();
        assert_eq!(output.stdout, "started\n");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
