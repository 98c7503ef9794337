//! What fires on the host itself: a timer of systemd's and a unit for the next boot; elsewhere a process of our own.
//! Knows nothing of what is put back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use labwright_plan::Facts;

use super::record::{self, Record};

const UNITS: &str = "/etc/systemd/system";
const WANTS: &str = "/etc/systemd/system/sysinit.target.wants";
/// How long a watcher may take to say that it watches.
const WATCHER_LIMIT: Duration = Duration::from_secs(10);

fn timer_name(ticket: &str) -> String {
    format!("labwright-revert-{ticket}")
}

fn boot_name(ticket: &str) -> String {
    format!("labwright-boot-revert-{ticket}.service")
}

/// Starts what fires, and makes sure that it runs. An error leaves nothing to fire but what `disarm` takes away.
pub fn arm(state: &Path, facts: &Facts, record: &Record) -> io::Result<()> {
    let (ticket, program) = (&record.ticket, record::folder(state, &record.ticket).join("labwright"));
    if facts.systemd && facts.root {
        write_boot_unit(state, &program, ticket)?;
        return start_timer(state, &program, record);
    }
    start_watcher(state, &program, ticket)
}

fn start_timer(state: &Path, program: &Path, record: &Record) -> io::Result<()> {
    let name = timer_name(&record.ticket);
    let mut run = Command::new("systemd-run");
    run.args(["--quiet", "--collect", "--timer-property=AccuracySec=100ms"]);
    run.arg(format!("--unit={name}")).arg(format!("--on-active={}s", record.within));
    run.arg(format!("--description=Way back of {}, unless it is confirmed", record.id));
    // What it starts again stays, as a client that leases the host's address does: its end must not take that along.
    run.arg("--property=KillMode=process");
    run.arg(format!("--setenv=LABWRIGHT_STATE_DIR={}", state.display())).arg("--").arg(program);
    run.args(["agent", "--revert", &record.ticket]);
    require(&mut run)?;
    require(Command::new("systemctl").args(["is-active", "--quiet", &format!("{name}.timer")]))
}

fn require(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let said = match output {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_string(),
        Err(error) => error.to_string(),
    };
    let name = command.get_program().to_string_lossy().into_owned();
    Err(io::Error::other(format!("`{name}` could not set the timer of the way back: {said}")))
}

/// The unit that goes back at the next boot: before the network, its rules and the SSH server.
fn unit(state: &Path, program: &Path, ticket: &str) -> String {
    format!(
        "# Written by labwright; it goes once the change is confirmed or taken back.\n\
         [Unit]\n\
         Description=Way back of a change that nobody confirmed\n\
         DefaultDependencies=no\n\
         RequiresMountsFor={state}\n\
         After=local-fs.target\n\
         Wants=network-pre.target\n\
         Before=network-pre.target nftables.service labwright-firewall.service sysinit.target shutdown.target\n\
         Conflicts=shutdown.target\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         KillMode=process\n\
         Environment=LABWRIGHT_STATE_DIR={state}\n\
         ExecStart={program} agent --revert {ticket} --boot\n\
         \n\
         [Install]\n\
         WantedBy=sysinit.target\n",
        state = state.display(),
        program = program.display(),
    )
}

fn write_boot_unit(state: &Path, program: &Path, ticket: &str) -> io::Result<()> {
    let (unit_path, want) = boot_paths(ticket);
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o644).open(&unit_path)?;
    file.write_all(unit(state, program, ticket).as_bytes())?;
    file.sync_all()?;
    fs::create_dir_all(WANTS)?;
    drop(fs::remove_file(&want));
    symlink(&unit_path, &want)?;
    File::open(UNITS)?.sync_all()?;
    File::open(WANTS)?.sync_all()
}

fn boot_paths(ticket: &str) -> (PathBuf, PathBuf) {
    let name = boot_name(ticket);
    (Path::new(UNITS).join(&name), Path::new(WANTS).join(&name))
}

/// A process of its own session, that outlives the connection and whoever started it.
fn start_watcher(state: &Path, program: &Path, ticket: &str) -> io::Result<()> {
    let mut watcher = Command::new(program);
    watcher.args(["agent", "--revert", ticket, "--watch"]).env("LABWRIGHT_STATE_DIR", state);
    watcher.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    let mut child = watcher.spawn()?;
    let since = Instant::now();
    while since.elapsed() < WATCHER_LIMIT {
        if watching(state, ticket).exists() {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("the watcher of the way back ended with {status}")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(child.kill());
    Err(io::Error::other("the watcher of the way back did not start"))
}

fn watching(state: &Path, ticket: &str) -> PathBuf {
    record::folder(state, ticket).join("watcher")
}

/// Called by the watcher itself: from here on no hang-up and no end of a session reaches it.
pub fn say_watching(state: &Path, ticket: &str) {
    // It fails only for who leads a group already, and then nobody can hang up on it either.
    let _ = rustix::process::setsid();
    // Without this note nothing is touched, so a note that cannot be written is a change that does not happen.
    drop(fs::write(watching(state, ticket), std::process::id().to_string()));
}

/// Takes away what would fire. A watcher sees by itself that it has nothing left to watch.
pub fn disarm(systemd: bool, ticket: &str) {
    if !systemd {
        return;
    }
    let (unit, want) = boot_paths(ticket);
    // One of them may be gone already: after a boot there is no timer, and before it no unit was read.
    drop(fs::remove_file(want));
    drop(fs::remove_file(unit));
    let timer = format!("{}.timer", timer_name(ticket));
    drop(Command::new("systemctl").args(["stop", "--no-block", &timer]).stdin(Stdio::null()).output());
}
