//! Starting a process of a unit, in a group of its own, and ending that group.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use labwright_model::reference;
use rustix::process::{Pid, Signal, WaitStatus};

use super::kin;

/// A process that was started.
pub struct Started {
    pub pid: Pid,
    pub out: OwnedFd,
    pub err: OwnedFd,
}

/// What a process is started with.
pub struct Asked<'a> {
    pub unit: &'a str,
    pub mark: &'a str,
    pub command: &'a [String],
    pub directory: PathBuf,
    pub environment: &'a BTreeMap<String, String>,
    pub secrets: &'a BTreeMap<String, String>,
    pub stdin: Option<std::fs::File>,
}

/// Starts it. Whoever reaps children reaps it.
///
/// # Errors
/// Why it cannot be started, in words.
pub fn start(asked: Asked<'_>) -> Result<Started, String> {
    let Some((program, arguments)) = asked.command.split_first() else { return Err("its command is empty".into()) };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&asked.directory).process_group(0);
    for (name, value) in asked.environment {
        command.env(name, put_in(value, asked.secrets)?);
    }
    command.env(kin::MARK, asked.mark).env(kin::UNIT, asked.unit);
    command.stdin(asked.stdin.map_or_else(Stdio::null, Stdio::from)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| why(program, &asked.directory, &error))?;
    let pid = Pid::from_child(&child);
    match (child.stdout.take(), child.stderr.take()) {
        (Some(out), Some(err)) => Ok(Started { pid, out: out.into(), err: err.into() }),
        _ => Err("its output cannot be read".into()),
    }
}

use std::os::unix::process::CommandExt;

/// A value with the secrets that it refers to.
fn put_in(value: &str, secrets: &BTreeMap<String, String>) -> Result<String, String> {
    let names = reference::secrets(value);
    if names.is_empty() {
        return Ok(value.to_string());
    }
    let mut out = String::new();
    for part in reference::parts(value) {
        match part {
            reference::Part::Literal(text) => out.push_str(text),
            reference::Part::Escape | reference::Part::Unclosed => out.push_str("${"),
            reference::Part::Reference(reference) => {
                let name = reference.strip_prefix("secret.").unwrap_or(reference);
                let secret = secrets.get(name);
                out.push_str(secret.ok_or_else(|| {
                    format!(
                        "it needs the secret `{name}`, which could not be read; say what it is here: \
                         `up: {{ environment: {{ … }} }}`"
                    )
                })?);
            }
        }
    }
    Ok(out)
}

fn why(program: &str, directory: &Path, error: &std::io::Error) -> String {
    if !directory.is_dir() {
        return format!("its folder `{}` is not there", directory.display());
    }
    let at = Path::new(program);
    match error.kind() {
        ErrorKind::NotFound if program.contains('/') && at.exists() => {
            format!("`{program}` cannot be started: the interpreter that its first line names is not there")
        }
        ErrorKind::NotFound if program.contains('/') => format!("there is no `{program}`"),
        ErrorKind::NotFound => format!("there is no program `{program}` in any folder of PATH"),
        ErrorKind::PermissionDenied if at.is_dir() => format!("`{program}` is a folder"),
        ErrorKind::PermissionDenied => format!("`{program}` may not be executed: `chmod +x {program}`"),
        // ENOEXEC
        _ if error.raw_os_error() == Some(8) => {
            format!("`{program}` is no program for this machine; a script begins with `#!/bin/sh`")
        }
        _ => format!("`{program}` cannot be started: {error}"),
    }
}

/// Sends a signal to a process's whole group.
pub fn signal(pid: Pid, signal: Signal) {
    // It may have ended in this very moment.
    let _ = rustix::process::kill_process_group(pid, signal);
}

/// How a process ended, in words.
pub fn ending(status: WaitStatus) -> String {
    const NAMES: &[(i32, &str)] = &[
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (11, "SIGSEGV"),
        (13, "SIGPIPE"),
        (14, "SIGALRM"),
        (15, "SIGTERM"),
        (24, "SIGXCPU"),
        (25, "SIGXFSZ"),
        (31, "SIGSYS"),
    ];
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("it ended with exit code {code}"),
        (None, Some(signal)) => match NAMES.iter().find(|(number, _)| *number == signal) {
            Some((_, name)) => format!("it was ended by {name}"),
            None => format!("it was ended by signal {signal}"),
        },
        (None, None) => "it ended".to_string(),
    }
}

/// What of a unit still runs beside its first process, or after it: what left its group, too. All of it is a child of this
/// process once its own parent is gone.
pub fn left(unit: &str, mark: &str, group: Option<Pid>, known: impl Fn(Pid) -> bool) -> Vec<Pid> {
    let of_unit = |pid: &Pid| {
        let number = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or_default();
        let of_group = group.is_some() && rustix::process::getpgid(Some(*pid)).ok() == group;
        let marks = || kin::marks(number);
        // What has ended together with it is only not asked after yet.
        !kin::is_ended(number)
            && (of_group || marks().is_some_and(|(lab, of)| lab == mark && of.as_deref() == Some(unit)))
    };
    kin::children().into_iter().filter(|pid| !known(*pid)).filter(of_unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_put_in_and_escapes_taken_out() {
        let secrets = BTreeMap::from([("pg".to_string(), "s3".to_string())]);
        assert_eq!(put_in("postgres://u:${secret.pg}@h/$${x}", &secrets), Ok("postgres://u:s3@h/${x}".into()));
        assert_eq!(put_in("plain ${x}", &secrets), Ok("plain ${x}".into()));
        assert!(put_in("${secret.no}", &secrets).unwrap_err().contains("secret `no`"));
    }

    #[test]
    fn what_cannot_be_started_says_why() {
        let none = BTreeMap::new();
        let fault = |command: &[&str], directory: &str| {
            let command: Vec<String> = command.iter().map(ToString::to_string).collect();
            let asked = Asked {
                unit: "u",
                mark: "m",
                command: &command,
                directory: directory.into(),
                environment: &none,
                secrets: &none,
                stdin: None,
            };
            start(asked).err().unwrap()
        };
        assert!(fault(&["no-such-program-here"], "/").contains("in any folder of PATH"));
        assert!(fault(&["/no/such"], "/").contains("there is no `/no/such`"));
        assert!(fault(&["/etc/passwd"], "/").contains("chmod +x"));
        assert!(fault(&["true"], "/no/folder").contains("`/no/folder` is not there"));
    }
}
