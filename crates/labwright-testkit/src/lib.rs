//! Hosts to test against: a private network for each test, with real sshd, real systemd and real apt behind it.
//! It starts and ends hosts; it knows nothing of lab files, plans or providers, and it never skips a test.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use labwright_testkit::{AptRepo, Package, TestLab};
//!
//! let lab = TestLab::new()?;
//! let light = lab.light_host("web")?; // sshd on an overlay of this machine's root: no systemd, 0.1 s
//! let full = lab.systemd_host("db")?; // Debian 12 with systemd, apt, cron, journal: 0.5 s
//! full.ssh_stdout("systemctl is-system-running --wait")?;
//! let repo = AptRepo::new(&lab)?;
//! repo.publish(&Package::new("hello", "1.0").file("/usr/share/hello/text", "hello\n"))?;
//! repo.enable_on(&light)?;
//! light.ssh_stdout("apt-get install -y hello")?;
//! let status = lab.command("labwright").arg("--ssh-config").arg(lab.ssh_config()).status()?;
//! # Ok(()) }
//! ```
//!
//! What is deliberately absent: nothing is mounted, listens or gets an address outside namespaces that the lab made, but
//! for `fake_vault`, which listens on loopback and needs no lab; there is no global state, so any number of test processes
//! may run at once.

mod apt;
pub mod fake_vault;
mod host;
mod lab;
mod options;
mod program;
mod relay;

mod base;
mod cell;
mod cgroup;
pub mod engine;
mod http;
mod leftovers;
mod light;
mod missing;
mod network;
mod package;
mod run;
mod seed;
mod site;
mod systemd;

pub use apt::AptRepo;
pub use engine::Engine;
pub use host::Host;
pub use lab::TestLab;
pub use options::{HostOptions, SUDO_PASSWORD, Sudo};
pub use package::Package;
pub use program::program;
pub use relay::Relay;
