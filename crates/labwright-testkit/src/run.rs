//! Runs the system's tools and turns a failure into an error that says which command failed and what it printed.
//! It does not enter namespaces: `site` does for the controller, `host` for a host.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command with nothing of the caller's environment, so that no test depends on who runs it.
pub(crate) fn tool(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8");
    command
}

/// Runs to the end and returns standard output; anything but exit status 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output();
    checked(command, output.with_context(|| unstarted(command))?)
}

/// Like [`run`], with `input` on standard input. For commands that read all input before they print much.
pub(crate) fn feed(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| unstarted(command))?;
    let mut stdin = child.stdin.take().context("take standard input")?;
    // A command that fails early closes its end; what it printed says more than the broken pipe.
    let written = stdin.write_all(input);
    drop(stdin);
    let stdout = checked(command, child.wait_with_output()?)?;
    written.with_context(|| format!("write to `{}`", shown(command)))?;
    Ok(stdout)
}

fn checked(command: &Command, output: Output) -> Result<Vec<u8>> {
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("run `{}`: {}: {}", shown(command), output.status, stderr.trim());
    }
    Ok(output.stdout)
}

fn unstarted(command: &Command) -> String {
    format!("start `{}`", shown(command))
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().map(OsStr::to_string_lossy));
    words.join(" ")
}
