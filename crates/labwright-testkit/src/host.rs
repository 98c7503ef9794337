//! A running host: log in, read and write its files, change its key, fill its disk, unplug it, reboot it, stop it.
//! A handle only: the lab owns the host and ends it. Nothing here is how Labwright itself works on hosts.

use std::ffi::OsStr;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::cell::{Cell, children, signal_child};
use crate::options::Kind;
use crate::run::{feed, run, tool};
use crate::seed::HOST_KEY;
use crate::site::Site;
use crate::{network, systemd};

/// How long a host may take to start, or to start again. A hundred times what it takes on an idle machine.
const START: Duration = Duration::from_secs(60);
/// How long a systemd host may take to power off before it is killed. Its disk is thrown away, so nothing is lost.
pub(crate) const POWER_OFF: Duration = Duration::from_secs(3);

const FILLER: &str = "/var/filler";

/// A host of a [`TestLab`](crate::TestLab). Clones are handles to the same host; after the lab is dropped every call fails.
#[derive(Clone, Debug)]
pub struct Host(pub(crate) Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) disk_is_limited: bool,
    /// The host's plug in the switch.
    pub(crate) plug: String,
    pub(crate) dir: PathBuf,
    pub(crate) site: Arc<Site>,
    pub(crate) cell: Mutex<Option<Cell>>,
}

impl Host {
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn address(&self) -> Ipv4Addr {
        self.0.address
    }

    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Runs `command` by the user's shell over ssh from the controller. An exit status other than 0 is not an error; 255 is
    /// what ssh says when it could not connect or log in.
    pub fn ssh(&self, command: &str) -> Result<Output> {
        self.ssh_command(command).output().with_context(|| format!("start ssh to `{}`", self.name()))
    }

    /// Like [`Host::ssh`], but any exit status other than 0 is an error; returns what the command printed.
    pub fn ssh_stdout(&self, command: &str) -> Result<String> {
        Ok(String::from_utf8(run(&mut self.ssh_command(command))?)?)
    }

    fn ssh_command(&self, command: &str) -> Command {
        let mut ssh = self.0.site.command("ssh");
        ssh.stdin(Stdio::null()).arg("-F").arg(&self.0.site.ssh_config).args([
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=10",
        ]);
        ssh.args([self.name(), "--", command]);
        ssh
    }

    /// A command that runs as root on the host without ssh, through its namespaces: it works whatever sshd does. Not for
    /// use while the host reboots: systemd stops all processes then, and the command would wait for ever.
    pub fn inside(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let mut command = self.in_file_system()?;
        command.args(["--uts", "--ipc", "--net", "--pid", "--"]).arg(program);
        Ok(command)
    }

    /// The start of a command that sees the host's files but is none of its processes, so that no reboot stops it.
    fn in_file_system(&self) -> Result<Command> {
        let first = self.first_process().with_context(|| format!("enter host `{}`: it is not running", self.name()))?;
        let mut command = tool("nsenter");
        command.env("HOME", "/root").args(["--target", &first.to_string(), "--mount", "--root", "--wd"]);
        Ok(command)
    }

    /// The content of a text file.
    pub fn read(&self, path: &str) -> Result<String> {
        Ok(String::from_utf8(run(self.in_file_system()?.args(["--", "cat", path]))?)?)
    }

    /// Writes a file as root (mode 0644 if it is new), and makes the folders above it.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let script = "umask 022 && mkdir -p \"$(dirname \"$1\")\" && cat >\"$1\"";
        feed(self.in_file_system()?.args(["--", "sh", "-c", script, "sh", path]), content.as_ref()).map(drop)
    }

    /// The root file system as the controller sees it, while the host runs. A symbolic link with an absolute target leads out
    /// of it, to the controller's file: prefer [`Host::read`] and [`Host::write`].
    pub fn root_path(&self) -> Option<PathBuf> {
        Some(PathBuf::from(format!("/proc/{}/root", self.first_process()?)))
    }

    /// What the host said: sshd's log of a light host, the console of a systemd host.
    pub fn log(&self) -> String {
        fs::read(self.0.dir.join("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Gives the host a new key, with sshd restarted; known_hosts keeps the old one, so ssh refuses the host from now on.
    pub fn rekey(&self) -> Result<()> {
        let script =
            format!("rm -f {HOST_KEY} {HOST_KEY}.pub && ssh-keygen -q -t ed25519 -N '' -C rekeyed -f {HOST_KEY}");
        run(self.inside("sh")?.args(["-c", &script]))?;
        match self.0.kind {
            Kind::Light => run(self.inside("kill")?.args(["-HUP", "1"]))?,
            Kind::Systemd => run(self.inside("systemctl")?.args(["restart", "ssh.service"]))?,
        };
        let fresh = self.public_key()?;
        let key = fresh.split(' ').nth(1).context("read the new host key")?;
        let (port, address) = (self.port().to_string(), self.address().to_string());
        until(Instant::now() + START, &format!("show the new key of host `{}`", self.name()), || {
            let scan = self
                .0
                .site
                .command("ssh-keyscan")
                .args(["-T", "2", "-t", "ed25519", "-p", &port, &address])
                .output()?;
            Ok(String::from_utf8_lossy(&scan.stdout).contains(key))
        })
    }

    /// Takes the host out of known_hosts: ssh does not know it any more.
    pub fn forget(&self) -> Result<()> {
        self.0.site.forget(self.address(), self.port())
    }

    /// Puts the host's present key into known_hosts, in place of any other.
    pub fn trust(&self) -> Result<()> {
        self.forget()?;
        self.0.site.trust(self.address(), self.port(), &self.public_key()?)
    }

    fn public_key(&self) -> Result<String> {
        self.read(&format!("{HOST_KEY}.pub"))
    }

    /// Fills the disk to the last byte. Only where `HostOptions::disk_mib` limits it, since the disk is the machine's memory.
    pub fn fill_disk(&self) -> Result<()> {
        ensure!(
            self.0.disk_is_limited,
            "fill the disk of host `{}`: start it with `HostOptions::disk_mib`",
            self.name()
        );
        let filled = self.inside("dd")?.args(["if=/dev/zero", &format!("of={FILLER}"), "bs=1M"]).output()?;
        let message = String::from_utf8_lossy(&filled.stderr).into_owned();
        ensure!(message.contains("No space left on device"), "fill the disk of host `{}`: {message}", self.name());
        Ok(())
    }

    /// Takes back what [`Host::fill_disk`] wrote.
    pub fn free_disk(&self) -> Result<()> {
        run(self.inside("rm")?.args(["-f", FILLER])).map(drop)
    }

    /// Pulls the network cable: packets get lost, connections hang, new ones fail after 3 s with "No route to host".
    pub fn unplug(&self) -> Result<()> {
        network::unplug(&self.0.site.switch(), &self.0.plug, &self.0.site.controller())
    }

    /// Puts the cable back.
    pub fn plug(&self) -> Result<()> {
        network::plug(&self.0.site.switch(), &self.0.plug)
    }

    /// Ends the host for good: powered off and unreachable.
    pub fn stop(&self) -> Result<()> {
        self.ask_to_power_off();
        self.end_by(Instant::now() + POWER_OFF);
        self.unplug()
    }

    /// The id of this boot; it changes with every [`Host::reboot`] of a systemd host.
    pub fn boot_id(&self) -> Result<String> {
        Ok(self.read("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
    }

    /// Reboots a systemd host by `systemctl reboot` and waits until ssh answers again.
    pub fn reboot(&self) -> Result<()> {
        ensure!(self.0.kind == Kind::Systemd, "reboot host `{}`: a light host does not boot", self.name());
        let before = self.boot_id()?;
        run(self.in_file_system()?.args(["--", "systemctl", "reboot"]))?;
        self.wait_for_boot_after(&before)
    }

    /// Waits until a systemd host runs in another boot than `before` and ssh answers.
    pub fn wait_for_boot_after(&self, before: &str) -> Result<()> {
        let changed = || Ok(self.boot_id().is_ok_and(|id| id != before));
        until(Instant::now() + START, &format!("reboot host `{}`", self.name()), changed)?;
        self.wait_until_ready()
    }

    /// Waits until sshd answers; for a systemd host, until it lets the user in. Fails at once if the host ended.
    pub fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + START;
        let target = SocketAddr::from((self.address(), self.port()));
        let what = format!("start host `{}`", self.name());
        let greets = || network::inside(&self.0.site.controller(), || until(deadline, &what, || self.greets(target)));
        let lets_in = || self.check_running().and_then(|()| Ok(self.ssh("true")?.status.success()));
        let ready = match self.0.kind {
            Kind::Light => greets(),
            // Systemd has sshd listening before everybody may log in.
            Kind::Systemd => greets().and_then(|()| until(deadline, &what, lets_in)),
        };
        ready.with_context(|| format!("host `{}` is not ready; its log ends: {}", self.name(), self.end_of_log()))
    }

    /// Whether an sshd answers at `target`; called from within the controller's namespace.
    fn greets(&self, target: SocketAddr) -> Result<bool> {
        self.check_running()?;
        let greeting = || {
            let mut stream = TcpStream::connect_timeout(&target, Duration::from_millis(500)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
            let mut start = [0; 4];
            stream.read_exact(&mut start).ok()?;
            Some(start)
        };
        Ok(greeting() == Some(*b"SSH-"))
    }

    fn check_running(&self) -> Result<()> {
        match self.cell().as_mut() {
            None => bail!("it was stopped"),
            Some(cell) => match cell.exited()? {
                Some(status) => bail!("it ended with {status}"),
                None => Ok(()),
            },
        }
    }

    fn end_of_log(&self) -> String {
        let journal =
            || run(self.in_file_system()?.args(["--", "journalctl", "--no-pager", "--output=cat", "--lines=15"]));
        let log = match self.0.kind {
            Kind::Light => self.log(),
            // The console is all but silent.
            Kind::Systemd => self.log() + &String::from_utf8_lossy(&journal().unwrap_or_default()),
        };
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// The pid, on this machine, of the host's process 1.
    fn first_process(&self) -> Option<u32> {
        let first = self.cell().as_ref()?.first()?;
        match self.0.kind {
            Kind::Light => Some(first),
            Kind::Systemd => children(systemd::nspawn(first)?).first().copied(),
        }
    }

    /// Asks a systemd host to power off, and does not wait. A light host has nothing to ask.
    pub(crate) fn ask_to_power_off(&self) {
        let keeper = self.cell().as_ref().filter(|_| self.0.kind == Kind::Systemd).and_then(Cell::first);
        if let Some(keeper) = keeper
            && let Some(nspawn) = systemd::nspawn(keeper)
        {
            signal_child(keeper, nspawn, Signal::TERM);
        }
    }

    /// Ends the host's processes: at once, or, if it was asked to power off, at the latest by `deadline`.
    pub(crate) fn end_by(&self, deadline: Instant) {
        if let Some(mut cell) = self.cell().take() {
            if self.0.kind == Kind::Systemd {
                cell.ends_by(deadline);
            }
            cell.kill();
        }
    }

    fn cell(&self) -> MutexGuard<'_, Option<Cell>> {
        self.0.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks again every few milliseconds until the answer is yes; an error or the deadline ends it.
fn until(deadline: Instant, what: &str, mut probe: impl FnMut() -> Result<bool>) -> Result<()> {
    while !probe()? {
        ensure!(Instant::now() < deadline, "{what}: still not after {} s", START.as_secs());
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
