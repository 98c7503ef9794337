//! `labwright rehearse`: the lab's network on this machine, and everybody really tries everybody.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use labwright_model::Parsed;
use labwright_model::lab::Firewall;
use labwright_model::{Span, Spanned};
use labwright_plan::network::Matrix;
use labwright_providers::rehearsal::{self, Report};

use super::reading::{self, Format};
use crate::error::{CliError, Exit};
use crate::lab::LabArg;
use crate::render::rehearsal as words;
use crate::terminal::Terminal;

/// Builds the lab's network on this machine and really connects everybody with everybody, TCP and UDP, IPv4 and IPv6.
///
/// A bridge for each zone, a namespace for each host and for one more device of each zone, the router with the very rulesets
/// that an apply would load, listeners on every port that a flow or a service names. What gets through although it is
/// denied is a leak, what does not although it is allowed a false block; what nothing enforces is told apart. Nothing of
/// this machine is touched, and nothing stays, whatever ends it. Exits with 3 when there is a leak or a false block.
#[derive(clap::Args)]
pub struct Rehearse {
    #[command(flatten)]
    lab: LabArg,
    /// Pulls the cables of this host first, and tells which open ways do not work without it.
    #[arg(long, value_name = "HOST")]
    fault: Option<String>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
    /// The same as `--format json`.
    #[arg(long)]
    json: bool,
    /// Set by itself: this process has the namespaces.
    #[arg(long, hide = true)]
    inside: bool,
}

impl Rehearse {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        if !self.inside {
            return outside(terminal);
        }
        end_with_the_parent();
        let mut parsed = reading::lab(&self.lab, terminal)?;
        if let Some(fault) = &self.fault
            && !parsed.lab.compute.hosts.contains_key(fault)
        {
            let names = parsed.lab.compute.hosts.keys().map(String::as_str);
            let near = labwright_model::finding::nearest(fault, names).map(|near| format!("did you mean `{near}`?"));
            return Err(CliError::usage(format!("there is no host `{fault}`")).hint(near.unwrap_or_default()));
        }
        let supposed = suppose(&mut parsed);
        let matrix = Matrix::of(&parsed);
        let report = rehearsal::run_here(&matrix, self.fault.as_deref(), &|what| terminal.say(what))?;
        match self.format {
            Format::Json => terminal.document(&report)?,
            _ if self.json => terminal.document(&report)?,
            Format::Markdown => terminal.data(&words::markdown(&report)),
            Format::Table => terminal.data(&words::text(&report, terminal.out_color, terminal.width)),
        }
        terminal.say(&words::summary(&report));
        if supposed {
            terminal.say("no firewall is asked for yet: this was as with `network: { firewall: enforce }`");
        }
        Ok(if failed(&report) { Exit::Findings } else { Exit::Done })
    }
}

fn failed(report: &Report) -> bool {
    !report.leaks.is_empty() || !report.false_blocks.is_empty()
}

/// Where the lab asks for no firewall anywhere, it is rehearsed as if it did: that is what one wants to know before.
fn suppose(parsed: &mut Parsed) -> bool {
    let said =
        parsed.lab.network.firewall.is_some() || parsed.lab.compute.hosts.values().any(|host| host.firewall.is_some());
    if !said {
        parsed.lab.network.firewall = Some(Spanned::new(Firewall::Enforce, Span::NONE));
    }
    !said
}

/// Starts itself again in namespaces of its own, which go with it.
fn outside(terminal: &Terminal) -> Result<Exit, CliError> {
    let missing = rehearsal::missing();
    if !missing.is_empty() {
        return Err(CliError::usage(format!("a rehearsal needs {}", missing.join(", ")))
            .hint("install what is missing; nothing else of this machine is used"));
    }
    let own = std::env::current_exe().map_err(CliError::bug)?;
    let mut flags = vec!["--net", "--mount", "--pid", "--fork", "--kill-child"];
    if !rustix::process::geteuid().is_root() {
        flags.extend(["--user", "--map-root-user"]);
    }
    // A way of asking that costs nothing, so that a refusal is told in our words.
    let asked = Command::new("unshare").args(&flags).arg("true").stdin(Stdio::null()).output();
    let asked = asked.map_err(|error| CliError::usage(format!("cannot start `unshare`: {error}")))?;
    if !asked.status.success() {
        let said = String::from_utf8_lossy(&asked.stderr);
        let said = said.trim().lines().last().unwrap_or_default().to_string();
        return Err(CliError::new(Exit::Unreachable, format!("this machine does not let the rehearsal make namespaces: {said}"))
            .hint("run it as root (`sudo labwright rehearse`)")
            .hint("or allow user namespaces: `sysctl user.max_user_namespaces kernel.unprivileged_userns_clone kernel.apparmor_restrict_unprivileged_userns` shows what forbids them"));
    }
    let mut command = Command::new("unshare");
    command.args(&flags).arg("--").arg(own).args(std::env::args_os().skip(1)).arg("--inside");
    // The pipe is the thread that it hangs on: however this process ends, the other end sees it close, and ends too.
    command.stdin(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|error| CliError::usage(format!("cannot start `unshare`: {error}")))?;
    let interrupted = interrupts(child.id());
    let ended = {
        let pipe = child.stdin.take();
        // `wait` would close the pipe first.
        let ended = child.wait();
        drop(pipe);
        ended.map_err(CliError::bug)?
    };
    if interrupted.load(std::sync::atomic::Ordering::Relaxed) {
        terminal.say("interrupted: the network is taken down, nothing stays");
        return Ok(Exit::Partly);
    }
    Ok(match ended.code() {
        Some(0) => Exit::Done,
        Some(2) => Exit::Usage,
        Some(3) => Exit::Findings,
        Some(6) => Exit::Unreachable,
        _ => Exit::Internal,
    })
}

/// An interrupt ends what was started, and says so.
fn interrupts(child: u32) -> std::sync::Arc<std::sync::atomic::AtomicBool> {
    use rustix::process::{Pid, Signal, kill_process_group};
    let interrupted = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = interrupted.clone();
    if let Ok(mut signals) = signal_hook::iterator::Signals::new([2, 15]) {
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                flag.store(true, std::sync::atomic::Ordering::Relaxed);
                if let Some(group) = i32::try_from(child).ok().and_then(Pid::from_raw) {
                    // It may have ended by itself at this very moment.
                    let _ = kill_process_group(group, Signal::KILL);
                }
            }
        });
    }
    interrupted
}

/// Ends this process, and with it the namespaces, when the one that started it is gone.
fn end_with_the_parent() {
    std::thread::spawn(|| {
        let mut nothing = [0u8; 1];
        let _ = std::io::Read::read(&mut std::io::stdin(), &mut nothing);
        std::process::exit(Exit::Internal as i32);
    });
}
