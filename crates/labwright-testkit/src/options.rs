//! What can be different about a host: its port, sshd, login, disk. The default is a plain host with root's key.
//! It does not say which kind a host is: the lab's functions do.

use std::path::Path;

use anyhow::{Result, ensure};

/// The password of a user made with [`Sudo::AsksPassword`].
pub const SUDO_PASSWORD: &str = "labwright";

/// `openssl passwd -6 -salt labwright labwright`
const SUDO_PASSWORD_HASH: &str =
    "$6$labwright$P7BXIm2wSiPhQUn2PQ.scKQB1RgBhzWbPfwaTJz9oWwT6ATMjGgHga5VJpm4xAlT57r22T7ppIqcZRrzrvF6E/";

/// What `sudo` allows the user of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sudo {
    /// Everything, without a question.
    Passwordless,
    /// Everything, after the password [`SUDO_PASSWORD`]; so `sudo -n` fails.
    AsksPassword,
    /// Nothing: the user is in no sudoers file.
    Denied,
}

/// How a host differs from the default.
#[derive(Clone, Debug)]
pub struct HostOptions {
    pub(crate) port: u16,
    pub(crate) sshd_lines: Vec<String>,
    pub(crate) login: Option<(String, Sudo)>,
    pub(crate) disk_mib: Option<u32>,
    pub(crate) read_only_root: bool,
    pub(crate) nspawn_args: Vec<String>,
    pub(crate) clock: Option<String>,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            port: 22,
            sshd_lines: vec![],
            login: None,
            disk_mib: None,
            read_only_root: false,
            nspawn_args: vec![],
            clock: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Light,
    Systemd,
}

impl HostOptions {
    pub fn new() -> Self {
        Self::default()
    }

    /// The port of sshd; 22 if not said.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// A line for sshd's configuration, such as `MaxStartups 2`. It comes first, and for sshd the first value counts.
    /// `Match` is refused, since it would swallow the lines after it.
    pub fn sshd_line(mut self, line: &str) -> Self {
        self.sshd_lines.push(line.to_owned());
        self
    }

    /// A user whom ssh logs in as, instead of root, with the same key. Root's key keeps working (`ssh -l root`), unless an
    /// sshd line forbids it.
    pub fn user(mut self, name: &str, sudo: Sudo) -> Self {
        self.login = Some((name.to_owned(), sudo));
        self
    }

    /// The size of the disk in MiB: what can be written to the root file system in all. See [`Host::fill_disk`].
    ///
    /// [`Host::fill_disk`]: crate::Host::fill_disk
    pub fn disk_mib(mut self, size: u32) -> Self {
        self.disk_mib = Some(size);
        self
    }

    /// Light hosts only: the root file system takes no writes (`/run` and `/dev/shm` do).
    pub fn read_only_root(mut self) -> Self {
        self.read_only_root = true;
        self
    }

    /// Light hosts only: a clock that is off by as much as libfaketime's `FAKETIME` says: `+10m`, `-2h`. Whatever sshd starts
    /// sees it; hosts share the kernel's clock, so sshd itself and the dates of files do not.
    pub fn clock(mut self, offset: &str) -> Self {
        self.clock = Some(offset.to_owned());
        self
    }

    /// Systemd hosts only: one more argument for systemd-nspawn, such as `--bind=/dev/net/tun`.
    pub fn nspawn_arg(mut self, argument: &str) -> Self {
        self.nspawn_args.push(argument.to_owned());
        self
    }

    /// Whom ssh logs in as.
    pub(crate) fn user_name(&self) -> &str {
        self.login.as_ref().map_or("root", |(name, _)| name)
    }

    pub(crate) fn check(&self, kind: Kind) -> Result<()> {
        let is_match = |line: &String| line.trim_start().to_ascii_lowercase().starts_with("match");
        ensure!(!self.sshd_lines.iter().any(is_match), "an sshd line may not start with `Match`");
        match kind {
            Kind::Light => ensure!(self.nspawn_args.is_empty(), "only a systemd host takes arguments for nspawn"),
            Kind::Systemd => {
                ensure!(!self.read_only_root, "only a light host can have a read-only root");
                ensure!(self.clock.is_none(), "only a light host can have a clock that is off");
            }
        }
        let library = clock_library();
        ensure!(
            self.clock.is_none() || Path::new(&library).exists(),
            "missing: `{library}` (package faketime); run scripts/test-deps"
        );
        Ok(())
    }

    /// The line of sshd's configuration that puts the clock off; empty for a clock that is right.
    pub(crate) fn clock_line(&self) -> String {
        let Some(offset) = &self.clock else { return String::new() };
        // Waiting goes by the other clock, which stays as it is.
        format!("SetEnv LD_PRELOAD={} FAKETIME={offset} FAKETIME_DONT_FAKE_MONOTONIC=1\n", clock_library())
    }

    /// The shell commands that add the user, run as root inside the new root file system; empty without a user.
    pub(crate) fn preparation(&self) -> String {
        let Some((name, sudo)) = &self.login else { return String::new() };
        // `*` is no password; useradd's `!` means locked, and without PAM sshd refuses a locked user even with a key.
        let (password, sudoers) = match sudo {
            Sudo::Passwordless => ("*", format!("{name} ALL=(ALL:ALL) NOPASSWD: ALL")),
            Sudo::AsksPassword => (SUDO_PASSWORD_HASH, format!("{name} ALL=(ALL:ALL) ALL")),
            Sudo::Denied => ("*", format!("# {name} gets nothing")),
        };
        format!(
            "useradd --create-home --shell /bin/bash --password '{password}' {name}\n\
             install -d -m 700 -o {name} -g {name} /home/{name}/.ssh\n\
             install -m 600 -o {name} -g {name} /root/.ssh/authorized_keys /home/{name}/.ssh/authorized_keys\n\
             echo '{sudoers}' >/etc/sudoers.d/{name}\n\
             chmod 440 /etc/sudoers.d/{name}\n"
        )
    }
}

/// The library that puts clocks off in programs with threads, where Debian has it.
fn clock_library() -> String {
    format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH)
}
