//! What the lab and its hosts share: names, paths, commands on the controller, and the two files that ssh reads.
//! It owns no process and removes nothing: `lab` and `leftovers` do.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::run::{PATH, run, tool};

#[derive(Debug)]
pub(crate) struct Site {
    /// `lw<pid>-<n>`, the first part of every name that the lab leaves on the machine.
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
    pub(crate) ssh_config: PathBuf,
    pub(crate) known_hosts: PathBuf,
    /// Hosts may be started on several threads; each adds its lines to the same two files.
    files: Mutex<()>,
}

impl Site {
    /// Fills the new, empty folder `dir`.
    pub(crate) fn new(id: String, dir: PathBuf) -> Result<Self> {
        let site = Self {
            ssh_config: dir.join("ssh_config"),
            known_hosts: dir.join("known_hosts"),
            files: Mutex::new(()),
            id,
            dir,
        };
        for folder in ["home", "hosts"] {
            fs::create_dir(site.dir.join(folder)).with_context(|| format!("make folder `{folder}`"))?;
        }
        fs::write(&site.ssh_config, "")?;
        fs::write(&site.known_hosts, "")?;
        run(tool("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "labwright-testkit", "-f"])
            .arg(site.key()))?;
        Ok(site)
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.dir.join("id_ed25519")
    }

    pub(crate) fn switch(&self) -> String {
        format!("{}-sw", self.id)
    }

    pub(crate) fn controller(&self) -> String {
        format!("{}-ctl", self.id)
    }

    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").env("HOME", self.dir.join("home"));
        command.args(["netns", "exec", &self.controller()]).arg(program);
        command
    }

    pub(crate) fn add_to_ssh_config(&self, name: &str, address: Ipv4Addr, port: u16, user: &str) -> Result<()> {
        let (key, known_hosts) = (self.key(), self.known_hosts.clone());
        let block = format!(
            "Host {name}\n  HostName {address}\n  Port {port}\n  User {user}\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
             UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n\n",
            key.display(),
            known_hosts.display()
        );
        self.append(&self.ssh_config, &block)
    }

    /// `key` is the line of the `.pub` file.
    pub(crate) fn trust(&self, address: Ipv4Addr, port: u16, key: &str) -> Result<()> {
        let mut words = key.split_whitespace();
        let (kind, key) = (words.next().context("read host key")?, words.next().context("read host key")?);
        self.append(&self.known_hosts, &format!("{} {kind} {key}\n", known_as(address, port)))
    }

    pub(crate) fn forget(&self, address: Ipv4Addr, port: u16) -> Result<()> {
        let _held = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let name = known_as(address, port);
        let old = fs::read_to_string(&self.known_hosts)?;
        let kept = old.lines().filter(|line| line.split(' ').next() != Some(name.as_str()));
        // A rename, so that an ssh that starts meanwhile never reads half a file.
        let fresh = self.known_hosts.with_extension("new");
        fs::write(&fresh, kept.map(|line| format!("{line}\n")).collect::<String>())?;
        fs::rename(&fresh, &self.known_hosts).context("replace known_hosts")
    }

    fn append(&self, path: &Path, text: &str) -> Result<()> {
        let _held = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file =
            OpenOptions::new().append(true).open(path).with_context(|| format!("open `{}`", path.display()))?;
        file.write_all(text.as_bytes()).with_context(|| format!("write `{}`", path.display()))
    }
}

/// The name under which ssh looks a host up in known_hosts.
fn known_as(address: Ipv4Addr, port: u16) -> String {
    if port == 22 { address.to_string() } else { format!("[{address}]:{port}") }
}
